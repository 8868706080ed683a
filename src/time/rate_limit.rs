//! How much of a rate is used up: [`TokenBucket`] is a token bucket in one number, the time at which
//! it is full again (the "theoretical arrival time" of the generic cell rate algorithm, ITU-T I.371).
//! A withdrawal is measured as the time in which it comes back, so the bucket itself knows neither its
//! rate nor its size; [`Rate`] and its other users do.

use std::time::Duration;

use crate::time::moment::Moment;

/// A token bucket, full at first.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct TokenBucket {
    full_at: Option<Moment>,
}

impl TokenBucket {
    /// Takes out as much as comes back within `cost`, but never more than `most` in all.
    pub(crate) fn take(&mut self, now: Moment, cost: Duration, most: Duration) {
        let full_at = self.full_at.map_or(now, |at| at.max(now)) + cost;
        self.full_at = Some(full_at.min(now + most));
    }

    /// Makes it full no sooner than another one.
    pub(crate) fn fill_no_sooner(&mut self, other: &Self) {
        self.full_at = self.full_at.max(other.full_at);
    }

    /// How long it takes until it is full again.
    pub(crate) fn missing(&self, now: Moment) -> Duration {
        self.full_at
            .map_or(Duration::ZERO, |at| at.saturating_since(now))
    }

    /// Whether it takes longer than `missing` until it is full again.
    pub(crate) fn lacks_more_than(&self, missing: Duration, now: Moment) -> bool {
        self.full_at.is_some_and(|at| at > now + missing)
    }

    /// The time from which on at most `missing` is missing. `None` if nothing was ever taken.
    pub(crate) fn refilled_to(&self, missing: Duration) -> Option<Moment> {
        self.full_at.map(|at| at.saturating_sub(missing))
    }
}

/// A rate of things, such as lines, and how many may come at once. By default there is no limit.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Rate {
    /// The time in which one more is allowed.
    interval: Duration,
    /// How much may be missing when another one is allowed.
    slack: Duration,
}

impl Rate {
    /// A rate of zero a second is no limit.
    pub(crate) fn new(per_second: f64, burst: u32) -> Self {
        let interval = Duration::try_from_secs_f64(per_second.recip());
        interval.map_or_else(
            |_| Self::default(),
            |interval| Self {
                interval,
                slack: interval.saturating_mul(burst.saturating_sub(1)),
            },
        )
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        !self.interval.is_zero()
    }

    /// The time at which another one is allowed, if that is not now.
    pub(crate) fn next_at(&self, taken: &TokenBucket, now: Moment) -> Option<Moment> {
        taken.refilled_to(self.slack).filter(|&at| at > now)
    }

    /// The time from which on another one is allowed. `None` means always.
    pub(crate) fn allowed_at(&self, taken: &TokenBucket) -> Option<Moment> {
        taken.refilled_to(self.slack)
    }

    /// Counts one.
    pub(crate) fn count(&self, taken: &mut TokenBucket, now: Moment) {
        if !self.interval.is_zero() {
            taken.take(now, self.interval, Duration::MAX);
        }
    }

    /// Allows none for `time`, however much of the burst is left.
    pub(crate) fn pause(&self, taken: &mut TokenBucket, time: Duration, now: Moment) {
        let most = self.slack.saturating_add(time);
        taken.take(now, most, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_taken_comes_back_with_time() {
        let start = Clock::default().moment(std::time::Instant::now());
        let mut bucket = TokenBucket::default();
        assert_eq!(bucket.missing(start), Duration::ZERO);
        bucket.take(start, 2 * SECOND, 9 * SECOND);
        bucket.take(start, 3 * SECOND, 9 * SECOND);
        assert_eq!(bucket.missing(start), 5 * SECOND);
        assert_eq!(bucket.missing(start + SECOND), 4 * SECOND);
        assert_eq!(bucket.missing(start + 6 * SECOND), Duration::ZERO);
        assert_eq!(bucket.refilled_to(SECOND), Some(start + 4 * SECOND));
    }

    #[test]
    fn a_burst_is_let_through_and_then_a_line_in_each_interval() {
        let start = Clock::default().moment(std::time::Instant::now());
        let pace = Rate::new(2.0, 3);
        let mut said = TokenBucket::default();
        let mut now = start;
        for halves in [0, 0, 0, 1, 2, 3] {
            if let Some(at) = pace.next_at(&said, now) {
                now = at;
            }
            assert_eq!(now, start + halves * SECOND / 2);
            pace.count(&mut said, now);
        }
    }

    #[test]
    fn no_lines_a_second_are_no_limit_but_a_pause_is_one_all_the_same() {
        let start = Clock::default().moment(std::time::Instant::now());
        for pace in [Rate::new(0.0, 3), Rate::new(2.0, 3)] {
            let mut said = TokenBucket::default();
            pace.count(&mut said, start);
            assert_eq!(pace.next_at(&said, start), None);
            pace.pause(&mut said, SECOND, start);
            pace.pause(&mut said, SECOND, start);
            assert_eq!(pace.next_at(&said, start), Some(start + SECOND));
            assert_eq!(pace.next_at(&said, start + SECOND), None);
        }
    }

    #[test]
    fn a_full_bucket_saves_nothing_up_and_an_empty_one_owes_no_more_than_it_may() {
        let start = Clock::default().moment(std::time::Instant::now());
        let mut bucket = TokenBucket::default();
        bucket.take(start, SECOND, 9 * SECOND);
        bucket.take(start + 100 * SECOND, SECOND, 9 * SECOND);
        assert_eq!(bucket.missing(start + 100 * SECOND), SECOND);
        bucket.take(start + 100 * SECOND, 99 * SECOND, 9 * SECOND);
        assert_eq!(bucket.missing(start + 100 * SECOND), 9 * SECOND);
    }
}
