//! Things that are in force for a time, or until they are lifted: [`ExpiringSet`] holds bans and
//! mutes. It is bounded; expired entries make room for new ones.

use std::time::Duration;

use crate::time::moment::Moment;

/// How many entries one set holds.
pub(crate) const MAX_ENTRIES: usize = 1000;

/// Keys, each with the time at which it expires.
#[derive(Debug)]
pub(crate) struct ExpiringSet<K>(Vec<Entry<K>>);

#[derive(Debug)]
struct Entry<K> {
    key: K,
    /// `None` means never.
    expires_at: Option<Moment>,
}

impl<K> Default for ExpiringSet<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq> ExpiringSet<K> {
    /// Adds a key for `time`, or until it is removed. An older entry of the same key is replaced.
    /// Returns whether there was room.
    pub(crate) fn add(&mut self, key: K, time: Option<Duration>, now: Moment) -> bool {
        self.0
            .retain(|entry| entry.key != key && entry.is_in_force(now));
        let has_room = self.0.len() < MAX_ENTRIES;
        if has_room {
            let expires_at = time.map(|time| now + time);
            self.0.push(Entry { key, expires_at });
        }
        has_room
    }

    /// Whether it holds nothing, in force or expired.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the keys for which `is_meant` is true. Returns whether one of them was in force.
    pub(crate) fn remove_if(&mut self, now: Moment, mut is_meant: impl FnMut(&K) -> bool) -> bool {
        let was = self.find(now, &mut is_meant).is_some();
        self.0.retain(|entry| !is_meant(&entry.key));
        was
    }

    /// The keys that are in force, the oldest first.
    pub(crate) fn in_force(&self, now: Moment) -> impl Iterator<Item = &K> {
        let entries = self.0.iter();
        let in_force = entries.filter(move |entry| entry.is_in_force(now));
        in_force.map(|entry| &entry.key)
    }

    /// Returns the first key in force for which `is_meant` is true.
    pub(crate) fn find(&self, now: Moment, mut is_meant: impl FnMut(&K) -> bool) -> Option<&K> {
        let mut entries = self.0.iter();
        let entry = entries.find(|entry| entry.is_in_force(now) && is_meant(&entry.key));
        entry.map(|entry| &entry.key)
    }
}

impl<K> ExpiringSet<K> {
    /// The keys that are in force, the oldest first, and how much longer each is; `None` means for ever.
    pub(crate) fn entries(&self, now: Moment) -> impl Iterator<Item = (&K, Option<Duration>)> {
        let in_force = self.0.iter().filter(move |entry| entry.is_in_force(now));
        in_force.map(move |entry| (&entry.key, entry.time_left(now)))
    }

    /// [`entries`](Self::entries), to be changed.
    pub(crate) fn entries_mut(
        &mut self,
        now: Moment,
    ) -> impl Iterator<Item = (&mut K, Option<Duration>)> {
        let in_force = self
            .0
            .iter_mut()
            .filter(move |entry| entry.is_in_force(now));
        in_force.map(move |entry| {
            let time_left = entry.time_left(now);
            (&mut entry.key, time_left)
        })
    }
}

impl<K> Entry<K> {
    fn time_left(&self, now: Moment) -> Option<Duration> {
        self.expires_at.map(|at| at.saturating_since(now))
    }

    fn is_in_force(&self, now: Moment) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Moment {
        Clock::default().moment(std::time::Instant::now())
    }

    #[test]
    fn an_entry_ends_by_its_time_or_when_it_is_removed() {
        let (mut set, start) = (ExpiringSet::default(), start());
        assert!(set.add("bob", Some(SECOND), start));
        assert!(set.add("eve", None, start));
        assert!(set.find(start, |&it| it == "bob").is_some());
        assert!(set.find(start + SECOND, |&it| it == "bob").is_none());
        assert!(set.find(start + 9999 * SECOND, |&it| it == "eve").is_some());
        assert!(set.in_force(start).eq(&["bob", "eve"]));
        let left = set.entries(start).map(|(_, left)| left);
        assert!(left.eq([Some(SECOND), None]));
        assert!(set.in_force(start + SECOND).eq(&["eve"]));
        assert!(set.remove_if(start, |&it| it == "eve"));
        assert!(!set.remove_if(start, |&it| it == "eve"));
        assert!(set.find(start, |&it| it == "eve").is_none());
    }

    #[test]
    fn the_set_is_bounded_and_a_new_entry_replaces_its_old() {
        let (mut set, start) = (ExpiringSet::default(), start());
        for n in 0..MAX_ENTRIES {
            assert!(set.add(n, Some(SECOND), start));
        }
        assert!(!set.add(MAX_ENTRIES, None, start));
        assert!(set.add(7, None, start));
        assert!(set.find(start + SECOND, |&it| it == 7).is_some());
        assert!(
            set.add(MAX_ENTRIES, None, start + SECOND),
            "the others are over"
        );
    }
}
