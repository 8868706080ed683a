//! Timers: a [`TimerQueue`] knows which client has to be looked at next, and when. A client has at most
//! one timer. When its deadline moves to a later time the timer stays where it is; when the timer
//! fires, the client is asked for its real deadline. So traffic never touches this queue, and its
//! length is at most the number of clients.

use std::collections::BTreeSet;

use crate::time::moment::Moment;

/// The timers of all clients, the earliest first.
#[derive(Debug)]
pub(crate) struct TimerQueue<K> {
    timers: BTreeSet<(Moment, K)>,
}

/// A client's own side of its timer: the time at which it fires. It is kept with the client, so that
/// the timer can be found and cancelled.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct TimerHandle(Option<Moment>);

impl<K> Default for TimerQueue<K> {
    fn default() -> Self {
        Self {
            timers: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> TimerQueue<K> {
    /// Makes sure that the timer of `key` fires at `at` or earlier.
    pub(crate) fn set(&mut self, key: K, timer: &mut TimerHandle, at: Moment) {
        if timer.0.is_none_or(|earlier| at < earlier) {
            self.cancel(key, timer);
            self.timers.insert((at, key));
            timer.0 = Some(at);
        }
    }

    /// Cancels the timer of `key`, which must happen before `key` is another client's.
    pub(crate) fn cancel(&mut self, key: K, timer: &mut TimerHandle) {
        if let Some(at) = timer.0.take() {
            self.timers.remove(&(at, key));
        }
    }

    /// The time at which the next timer fires.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Takes a key whose timer has fired. The caller resets the handle.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<K> {
        let &(at, key) = self.timers.first()?;
        (at <= now).then(|| {
            self.timers.pop_first();
            key
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;
    use std::time::Duration;

    #[test]
    fn timers_fire_in_order_once_and_not_before_their_time() {
        let start = Clock::default().moment(std::time::Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut timers = TimerQueue::default();
        for (seconds, id) in [(3, 30), (1, 10), (2, 20)] {
            timers.set(id, &mut TimerHandle::default(), after(seconds));
        }
        assert_eq!(timers.next(), Some(after(1)));
        assert_eq!(timers.pop_due(start), None);
        assert_eq!(timers.pop_due(after(2)), Some(10));
        assert_eq!(timers.pop_due(after(2)), Some(20));
        assert_eq!(timers.pop_due(after(2)), None);
    }

    #[test]
    fn a_client_has_one_timer_the_earliest_it_was_set_to() {
        let start = Clock::default().moment(std::time::Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut timers = TimerQueue::default();
        let mut timer = TimerHandle::default();
        for seconds in [5, 9, 2, 7] {
            timers.set(1, &mut timer, after(seconds));
        }
        assert_eq!(timers.timers.len(), 1);
        assert_eq!(timers.next(), Some(after(2)));
        timers.cancel(1, &mut timer);
        assert_eq!(timers.next(), None);
    }
}
