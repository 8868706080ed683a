//! Buffers on loan: [`Pool`] gives memory to a connection that has something to hold and takes it
//! back when that is drained. So an idle client holds no buffer, and a busy server allocates none.
//! Memory that nobody has needed for a while goes back to the system.

use bytes::BytesMut;

/// The largest buffer that is kept, in bytes. A larger one was needed for an exception; its memory
/// goes back to the system.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// The smallest buffer, in bytes: it holds ten lines of chat, and is a little larger than what
/// glibc's malloc keeps for each thread (1032 bytes), where a few freed buffers would keep the
/// memory of thousands from going back to the system.
const MIN_BUFFER_BYTES: usize = 1088;

/// What all buffers that are kept hold together at most, in bytes.
const MAX_POOL_BYTES: usize = 1 << 20;

/// Empty buffers that have memory.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    spare: Vec<BytesMut>,
    /// The memory of all buffers in `spare`.
    bytes: usize,
    /// A buffer was lent since the last trim.
    used: bool,
}

impl Pool {
    /// Gives `buffer` memory if it has none and there is some to give.
    pub(crate) fn lend(&mut self, buffer: &mut BytesMut) {
        if buffer.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            self.used = true;
            self.bytes -= spare.capacity();
            *buffer = spare;
        }
    }

    /// Appends `bytes` to a buffer that is to hold `most` bytes. It doubles up to there, in the same
    /// steps as all others, so that they can stand in for each other, and beyond it grows by a
    /// quarter; what was consumed from the front is used again before it grows.
    pub(crate) fn append(&mut self, buffer: &mut BytesMut, bytes: &[u8], most: usize) {
        self.lend(buffer);
        let needed = buffer.len() + bytes.len();
        if buffer.capacity() < needed && !buffer.try_reclaim(bytes.len()) {
            let capacity = if needed <= most {
                // With room for half as much again, so that it need not be moved for each line.
                let roomy = needed.saturating_add(needed / 2);
                let rounded = roomy.checked_next_power_of_two().unwrap_or(roomy);
                rounded.max(MIN_BUFFER_BYTES).min(most)
            } else {
                needed + needed / 4
            };
            let mut larger = BytesMut::with_capacity(capacity);
            larger.extend_from_slice(buffer);
            *buffer = larger;
        }
        buffer.extend_from_slice(bytes);
    }

    /// Frees everything if nothing was lent since the last trim; whether there is nothing to free.
    pub(crate) fn trim(&mut self) -> bool {
        if !std::mem::take(&mut self.used) {
            *self = Self::default();
        }
        self.spare.is_empty()
    }

    /// Whether it holds no memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.spare.is_empty()
    }

    /// Takes the memory of a buffer that is drained. It must be empty; what is still in it is
    /// dropped.
    pub(crate) fn take_back(&mut self, buffer: &mut BytesMut) {
        let mut spare = std::mem::take(buffer);
        spare.clear();
        // What was consumed from the front is a part of it again after this; asking for less would
        // change nothing.
        let _ = spare.try_reclaim(spare.capacity() + 1);
        let capacity = spare.capacity();
        if capacity == 0 || capacity > MAX_BUFFER_BYTES || self.bytes + capacity > MAX_POOL_BYTES {
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
    fn a_buffer_that_was_used_up_comes_back_whole() {
        let mut pool = Pool::default();
        for consumed in [1, 50, 100] {
            let mut used = buffer(100);
            used.resize(100, 0);
            used.advance(consumed);
            pool.take_back(&mut used);
            let mut borrowed = BytesMut::new();
            pool.lend(&mut borrowed);
            assert_eq!(borrowed.capacity(), 100);
        }
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
    fn a_queue_that_is_never_drained_does_not_grow_beyond_its_limit() {
        // BytesMut alone would come to four times of it.
        let (most, line) = (100_000, [7; 125]);
        for lag in [1000, 30_000, 60_000, 99_000] {
            let mut pool = Pool::default();
            let mut queue = BytesMut::new();
            let mut moved = 0;
            for _ in 0..100_000 {
                if queue.len() + line.len() > lag {
                    queue.advance(line.len());
                }
                let before = queue.capacity();
                pool.append(&mut queue, &line, most);
                moved += usize::from(queue.capacity() > before);
                assert!(queue.capacity() <= most);
            }
            // Not for each line: that would be slow.
            assert!(moved < 20_000, "moved {moved} times at {lag}");
        }
    }

    #[test]
    fn a_queue_beyond_its_limit_is_not_moved_for_each_line() {
        let mut pool = Pool::default();
        let mut queue = BytesMut::new();
        let mut moved = 0;
        for _ in 0..4000 {
            let before = queue.capacity();
            pool.append(&mut queue, &[7; 100], 100_000);
            moved += usize::from(queue.capacity() > before);
        }
        assert!(moved < 20, "moved {moved} times");
    }

    #[test]
    fn what_nobody_has_needed_for_a_while_is_freed() {
        let mut pool = Pool::default();
        pool.take_back(&mut buffer(100));
        pool.lend(&mut BytesMut::new());
        pool.take_back(&mut buffer(100));
        assert!(!pool.trim(), "it was used");
        assert!(pool.trim() && pool.is_empty());
        assert_eq!(pool.bytes, 0);
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
