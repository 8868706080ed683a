//! Buffers on loan: [`Pool`] gives memory to a connection that has something to hold and takes it
//! back when that is drained. So an idle client holds no buffer, and a busy server allocates none.

use bytes::BytesMut;

/// The largest buffer that is kept, in bytes. A larger one was needed for an exception; its memory
/// goes back to the system.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// What all buffers that are kept hold together at most, in bytes.
const MAX_POOL_BYTES: usize = 1 << 20;

/// Empty buffers that have memory.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    spare: Vec<BytesMut>,
    /// The memory of all buffers in `spare`.
    bytes: usize,
}

impl Pool {
    /// Gives `buffer` memory if it has none and there is some to give.
    pub(crate) fn lend(&mut self, buffer: &mut BytesMut) {
        if buffer.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            self.bytes -= spare.capacity();
            *buffer = spare;
        }
    }

    /// Takes the memory of a buffer that is drained. It must be empty; what is still in it is
    /// dropped.
    pub(crate) fn take_back(&mut self, buffer: &mut BytesMut) {
        let mut spare = std::mem::take(buffer);
        spare.clear();
        // What was consumed from the front counts again after this, so that `capacity` tells all of
        // the memory.
        let too_large = spare.try_reclaim(MAX_BUFFER_BYTES + 1);
        if too_large || spare.capacity() == 0 || self.bytes + spare.capacity() > MAX_POOL_BYTES {
            return;
        }
        self.bytes += spare.capacity();
        self.spare.push(spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    fn buffer(capacity: usize) -> BytesMut {
        BytesMut::with_capacity(capacity)
    }

    #[test]
    fn memory_goes_round() {
        let mut pool = Pool::default();
        pool.take_back(&mut buffer(100));
        let mut borrowed = BytesMut::new();
        pool.lend(&mut borrowed);
        assert_eq!(borrowed.capacity(), 100);
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn what_a_buffer_holds_is_never_lent_to_the_next() {
        let mut pool = Pool::default();
        let mut used = buffer(100);
        used.extend_from_slice(b"secret");
        pool.take_back(&mut used);
        let mut borrowed = BytesMut::new();
        pool.lend(&mut borrowed);
        assert!(borrowed.is_empty());
    }

    #[test]
    fn a_large_buffer_is_freed_even_when_most_of_it_was_consumed() {
        let mut pool = Pool::default();
        let mut large = buffer(MAX_BUFFER_BYTES * 2);
        large.resize(MAX_BUFFER_BYTES * 2, 0);
        large.advance(MAX_BUFFER_BYTES * 2 - 10);
        assert!(large.capacity() < 100);
        pool.take_back(&mut large);
        assert!(pool.spare.is_empty());
        assert_eq!(large.capacity(), 0);
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = Pool::default();
        for _ in 0..100 {
            pool.take_back(&mut buffer(MAX_BUFFER_BYTES));
        }
        assert!(pool.bytes <= MAX_POOL_BYTES);
        assert_eq!(
            pool.bytes,
            pool.spare.iter().map(BytesMut::capacity).sum::<usize>()
        );
    }
}
