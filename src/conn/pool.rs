//! Buffers on loan: [`Pool`] lends memory to a connection that has something to hold and takes it back
//! when that is drained. So an idle client holds no buffer, and a busy server allocates none. Memory
//! that nobody has needed for a while goes back to the system.
//!
//! The pool knows how much memory is on loan, in capacity and not in length, because capacity is what
//! a process has to pay for.

use bytes::BytesMut;

/// The largest buffer that is kept, in bytes. A larger one is rarely needed; its memory goes back to
/// the system.
const MAX_BUFFER_BYTES: usize = 64 << 10;

/// The smallest buffer, in bytes: it holds ten lines of chat, and is a little larger than what
/// glibc's malloc keeps for each thread (1032 bytes), where a few freed buffers would keep the
/// memory of thousands from going back to the system.
const MIN_BUFFER_BYTES: usize = 1088;

/// What malloc puts before a piece of memory, in bytes: a buffer of whole pages has so much less, or it would
/// take one page more.
const MALLOC_BYTES: usize = 16;

/// What all buffers that are kept hold together at most, in bytes.
const MAX_POOL_BYTES: usize = 1 << 20;

/// Buffers are pooled by size, from below 2 KiB in steps of a power of two up to [`MAX_BUFFER_BYTES`].
const SIZE_CLASSES: usize = (MAX_BUFFER_BYTES.ilog2() - SMALLEST_CLASS + 1) as usize;

/// The binary logarithm of the capacity of the first class, rounded down.
const SMALLEST_CLASS: u32 = MIN_BUFFER_BYTES.ilog2();

/// Empty buffers that have memory.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    spare: [Vec<BytesMut>; SIZE_CLASSES],
    /// The memory of all buffers in `spare`.
    spare_bytes: usize,
    /// The buffer of the reader that is written to at this moment; empty between two. It is the same
    /// one for each reader of a batch, so it stays in the processor's cache and needs no list.
    pub(super) hot: BytesMut,
    /// The memory of all buffers that are on loan.
    lent_bytes: usize,
    /// A buffer was lent since the last trim.
    was_used: bool,
}

impl Pool {
    /// Appends `bytes` to a buffer that is to hold `most` bytes. It doubles up to there, in the same
    /// steps as all others, so that buffers are interchangeable, and beyond that grows by a quarter.
    /// What was consumed from the front is used again before it grows.
    #[inline]
    pub(crate) fn append(&mut self, buffer: &mut BytesMut, bytes: &[u8], most: usize) {
        if buffer.capacity().saturating_sub(buffer.len()) < bytes.len() {
            self.make_room(buffer, bytes.len(), most);
        }
        buffer.extend_from_slice(bytes);
    }

    /// Moves what is left in a buffer to a new one of the right size.
    #[cold]
    pub(crate) fn shrink(&mut self, buffer: &mut BytesMut) {
        let mut larger = std::mem::take(buffer);
        if !larger.is_empty() {
            let roomy = larger.len().saturating_add(larger.len() / 4);
            *buffer = BytesMut::with_capacity(roomy.max(MIN_BUFFER_BYTES));
            buffer.extend_from_slice(&larger);
            self.lent_bytes = self.lent_bytes.saturating_add(buffer.capacity());
        }
        self.take_back(&mut larger);
    }

    fn make_room(&mut self, buffer: &mut BytesMut, more: usize, most: usize) {
        if buffer.capacity() == 0
            && let Some(spare) = self.take_spare(more)
        {
            self.was_used = true;
            self.spare_bytes = self.spare_bytes.saturating_sub(spare.capacity());
            self.lent_bytes = self.lent_bytes.saturating_add(spare.capacity());
            *buffer = spare;
        }
        let needed = buffer.len().saturating_add(more);
        if buffer.capacity() >= needed || buffer.try_reclaim(more) {
            return;
        }
        let mut larger = BytesMut::with_capacity(capacity_for(needed, most));
        larger.extend_from_slice(buffer);
        self.lent_bytes = self.lent_bytes.saturating_add(larger.capacity());
        let smaller = std::mem::replace(buffer, larger);
        self.lent_bytes = self.lent_bytes.saturating_sub(whole(smaller).capacity());
    }

    /// Takes a spare buffer for this many bytes, from the smallest class that fits or the next.
    fn take_spare(&mut self, bytes: usize) -> Option<BytesMut> {
        let with_malloc = bytes.checked_add(MALLOC_BYTES)?;
        let least = with_malloc.checked_next_power_of_two()?;
        let class = size_class(least.saturating_sub(MALLOC_BYTES));
        let mut near = self.spare.iter_mut().skip(class).take(2);
        near.find_map(Vec::pop)
    }

    /// [`append`](Self::append) for the buffer of the moment.
    #[inline]
    pub(super) fn append_hot(&mut self, bytes: &[u8], most: usize) {
        self.was_used = true;
        if self.hot.capacity().saturating_sub(self.hot.len()) < bytes.len() {
            let mut hot = std::mem::take(&mut self.hot);
            self.make_room(&mut hot, bytes.len(), most);
            self.hot = hot;
        }
        self.hot.extend_from_slice(bytes);
    }

    /// Exchanges the buffer of the moment for one without memory: what is in it could not be written.
    pub(super) fn lend_hot(&mut self, buffer: &mut BytesMut) {
        std::mem::swap(&mut self.hot, buffer);
    }

    /// Takes the memory of a buffer. What is still in it is dropped.
    #[inline]
    pub(crate) fn take_back(&mut self, buffer: &mut BytesMut) {
        // One that was consumed to its end shows no capacity, and has memory all the same.
        let spare = whole(std::mem::take(buffer));
        if spare.capacity() > 0 {
            self.keep(spare);
        }
    }

    fn keep(&mut self, spare: BytesMut) {
        let capacity = spare.capacity();
        self.lent_bytes = self.lent_bytes.saturating_sub(capacity);
        let with_it = self.spare_bytes.saturating_add(capacity);
        if capacity <= MAX_BUFFER_BYTES && with_it <= MAX_POOL_BYTES {
            self.spare_bytes = with_it;
            if let Some(class) = self.spare.get_mut(size_class(capacity)) {
                class.push(spare);
            }
        }
    }

    /// How much memory is on loan, in bytes of capacity.
    #[inline]
    pub(crate) fn lent_bytes(&self) -> usize {
        self.lent_bytes.saturating_sub(self.hot.capacity())
    }

    /// Frees everything if nothing was lent since the last trim. Returns whether there is nothing to
    /// free.
    pub(crate) fn trim(&mut self) -> bool {
        if !std::mem::take(&mut self.was_used) {
            *self = Self {
                lent_bytes: self.lent_bytes.saturating_sub(self.hot.capacity()),
                ..Self::default()
            };
        }
        self.is_empty()
    }

    /// Whether it holds no memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.spare_bytes == 0 && self.hot.capacity() == 0
    }
}

/// Returns the class of a buffer of at least this many bytes.
fn size_class(bytes: usize) -> usize {
    let with_malloc = bytes.saturating_add(MALLOC_BYTES);
    with_malloc.ilog2().saturating_sub(SMALLEST_CLASS) as usize
}

fn capacity_for(needed: usize, most: usize) -> usize {
    if needed > most {
        return needed.saturating_add(needed / 4);
    }
    // With room for half as much again, so that it need not be moved for each line.
    let roomy = needed.saturating_add(needed / 2);
    let with_malloc = roomy.saturating_add(MALLOC_BYTES);
    let rounded = with_malloc.checked_next_power_of_two();
    let rounded = rounded.unwrap_or(with_malloc).saturating_sub(MALLOC_BYTES);
    rounded.max(MIN_BUFFER_BYTES).min(most)
}

/// A buffer without content and with all of its memory, of which `capacity` does not show what was
/// consumed from the front.
fn whole(mut buffer: BytesMut) -> BytesMut {
    buffer.clear();
    // This frees nothing and allocates nothing; asking for less would change nothing.
    let _ = buffer.try_reclaim(buffer.capacity().saturating_add(1));
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    fn buffer(capacity: usize) -> BytesMut {
        BytesMut::with_capacity(capacity)
    }

    /// A buffer from the pool, with one byte in it.
    fn borrow(pool: &mut Pool) -> BytesMut {
        let mut buffer = BytesMut::new();
        pool.append(&mut buffer, b"x", 1 << 20);
        buffer
    }

    #[test]
    fn memory_goes_round() {
        let mut pool = Pool::default();
        pool.take_back(&mut buffer(100));
        assert_eq!((pool.spare_bytes, pool.lent_bytes()), (100, 0));
        let borrowed = borrow(&mut pool);
        assert_eq!(borrowed.capacity(), 100);
        assert_eq!((pool.spare_bytes, pool.lent_bytes()), (0, 100));
    }

    #[test]
    fn little_is_not_lent_a_large_buffer() {
        let mut pool = Pool::default();
        for capacity in [MIN_BUFFER_BYTES, 4096, MAX_BUFFER_BYTES] {
            pool.take_back(&mut buffer(capacity));
        }
        let mut lent = |bytes| {
            let mut buffer = BytesMut::new();
            pool.append(&mut buffer, &vec![0; bytes], MAX_BUFFER_BYTES);
            buffer.capacity()
        };
        assert_eq!(lent(300), MIN_BUFFER_BYTES);
        assert_eq!(lent(300), MIN_BUFFER_BYTES, "a new one");
        assert_eq!(lent(3000), 4096);
        assert_eq!(lent(20_000), MAX_BUFFER_BYTES);
        assert_eq!(pool.spare_bytes, 0);
    }

    #[test]
    fn a_buffer_that_was_used_up_comes_back_whole() {
        let mut pool = Pool::default();
        for consumed in [1, 50, 100] {
            let mut used = buffer(100);
            used.resize(100, 0);
            used.advance(consumed);
            pool.take_back(&mut used);
            assert_eq!(borrow(&mut pool).capacity(), 100);
        }
    }

    #[test]
    fn what_a_buffer_holds_is_never_lent_to_the_next() {
        let mut pool = Pool::default();
        let mut used = buffer(100);
        used.extend_from_slice(b"secret");
        pool.take_back(&mut used);
        assert_eq!(borrow(&mut pool), &b"x"[..]);
    }

    #[test]
    fn a_large_buffer_is_freed_even_when_most_of_it_was_consumed() {
        let mut pool = Pool::default();
        let mut large = buffer(MAX_BUFFER_BYTES * 2);
        large.resize(MAX_BUFFER_BYTES * 2, 0);
        large.advance(MAX_BUFFER_BYTES * 2 - 10);
        assert!(large.capacity() < 100);
        pool.take_back(&mut large);
        assert!(pool.is_empty());
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
        let mut used = borrow(&mut pool);
        pool.take_back(&mut used);
        assert!(!pool.trim(), "it was used");
        assert!(pool.trim() && pool.is_empty());
        assert_eq!(pool.spare_bytes, 0);
    }

    #[test]
    fn the_pool_is_bounded() {
        let mut pool = Pool::default();
        for _ in 0..100 {
            pool.take_back(&mut buffer(MAX_BUFFER_BYTES));
        }
        assert!(pool.spare_bytes <= MAX_POOL_BYTES);
        assert_eq!(
            pool.spare_bytes,
            pool.spare
                .iter()
                .flatten()
                .map(BytesMut::capacity)
                .sum::<usize>()
        );
    }

    #[test]
    fn what_is_lent_is_counted_in_capacity() {
        let (mut pool, mut queue) = (Pool::default(), BytesMut::new());
        for round in 0..2000 {
            pool.append(&mut queue, &[7; 125], 100_000);
            if round % 3 > 0 {
                queue.advance(100);
            }
        }
        let lent = pool.lent_bytes();
        assert_eq!(lent, whole(std::mem::take(&mut queue)).capacity());
        let mut queue = BytesMut::with_capacity(lent);
        queue.resize(lent, 0);
        queue.advance(lent);
        pool.take_back(&mut queue);
        assert_eq!(pool.lent_bytes(), 0);
    }
}
