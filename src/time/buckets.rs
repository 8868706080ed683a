//! Token buckets by key, such as the address that something came from: [`Buckets`] keeps a bounded number
//! of them. Those that are full again are forgotten as new ones come; if there are too many all the
//! same, the one that was not used for the longest time is forgotten, so nobody pays for what others
//! have done.

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use lru::LruCache;

use crate::time::moment::Moment;
use crate::time::rate_limit::TokenBucket;

/// How many buckets are kept: about 400 KiB.
pub(crate) const MAX_BUCKETS: usize = 4096;

/// A bucket for each key; those that are not kept are full.
pub(crate) struct Buckets<K: Hash + Eq>(LruCache<K, TokenBucket>);

impl<K: Hash + Eq> Default for Buckets<K> {
    fn default() -> Self {
        // Without a capacity no memory is taken in advance; the bound is kept by `bucket`.
        Self(LruCache::unbounded())
    }
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    /// The bucket of this key, as it is.
    pub(crate) fn get(&self, key: &K) -> TokenBucket {
        self.0.peek(key).copied().unwrap_or_default()
    }

    /// The bucket of this key, to take from it.
    pub(crate) fn bucket(&mut self, key: K, now: Moment) -> &mut TokenBucket {
        if !self.0.contains(&key) {
            self.make_room(now);
        }
        self.0.get_or_insert_mut(key, TokenBucket::default)
    }

    /// Forgets two buckets that are full, if the least recently used are, and so in the end all of them;
    /// and one that is not, if there are too many.
    fn make_room(&mut self, now: Moment) {
        for _ in 0..2 {
            let oldest = self.0.peek_lru();
            if oldest.is_some_and(|(_, bucket)| bucket.missing(now) == Duration::ZERO) {
                self.0.pop_lru();
            }
        }
        if self.0.len() >= MAX_BUCKETS {
            self.0.pop_lru();
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K: Hash + Eq> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets")
            .field("kept", &self.0.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn take(buckets: &mut Buckets<u32>, key: u32, now: Moment) {
        buckets.bucket(key, now).take(now, SECOND, 10 * SECOND);
    }

    #[test]
    fn the_least_recently_used_is_forgotten_and_full_ones_go_first() {
        let now = Clock::default().moment(std::time::Instant::now());
        let mut buckets = Buckets::default();
        let most = u32::try_from(MAX_BUCKETS).expect("a few thousand");
        for key in 0..most {
            take(&mut buckets, key, now);
        }
        // The first is used again, so the second is the oldest.
        take(&mut buckets, 0, now);
        take(&mut buckets, most, now);
        assert_eq!(buckets.len(), MAX_BUCKETS);
        let missing = |buckets: &Buckets<u32>, key| buckets.get(&key).missing(now);
        assert_eq!(missing(&buckets, 0), 2 * SECOND);
        assert_eq!(missing(&buckets, 1), Duration::ZERO);
        assert_eq!(missing(&buckets, 2), SECOND);
        // Two that are full go for each that comes.
        let later = now + 10 * SECOND;
        for key in most + 1..=2 * most {
            take(&mut buckets, key, later);
            take(&mut buckets, key, later);
        }
        assert_eq!(buckets.len(), MAX_BUCKETS, "each of them is new");
        take(&mut buckets, 9 * most, later + 10 * SECOND);
        assert_eq!(buckets.len(), MAX_BUCKETS - 1);
    }
}
