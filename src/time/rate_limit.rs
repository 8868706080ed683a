//! How much of a rate has been used up: [`Bucket`] is a token bucket in one number, the time at
//! which it is full again (the "theoretical arrival time" of the generic cell rate algorithm, ITU-T
//! I.371). What is taken is a time, the one in which it comes back, so the bucket itself knows
//! neither its rate nor its size.

use std::time::Duration;

use crate::time::moment::Moment;

/// A token bucket, full at first.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Bucket {
    full_at: Option<Moment>,
}

impl Bucket {
    /// Takes out what comes back within `cost`; the bucket is never more than `most` from full.
    pub(crate) fn take(&mut self, now: Moment, cost: Duration, most: Duration) {
        let missing = (self.missing(now) + cost).min(most);
        self.full_at = Some(now + missing);
    }

    /// How long it is until it is full again.
    pub(crate) fn missing(&self, now: Moment) -> Duration {
        self.full_at
            .map_or(Duration::ZERO, |at| at.saturating_since(now))
    }

    /// When no more than `missing` will be missing; `None` if it has never been touched.
    pub(crate) fn refilled_to(&self, missing: Duration) -> Option<Moment> {
        self.full_at.map(|at| at.saturating_sub(missing))
    }
}

/// A rate of lines, and how many may be said at once. By default there is no limit.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pace {
    /// The time in which one more line is allowed.
    interval: Duration,
    /// What may be missing when another line is said.
    slack: Duration,
}

impl Pace {
    /// No lines a second are no limit.
    pub(crate) fn new(lines_per_second: f64, burst_lines: u32) -> Self {
        let interval = Duration::try_from_secs_f64(lines_per_second.recip());
        interval.map_or_else(
            |_| Self::default(),
            |interval| Self {
                interval,
                slack: interval * burst_lines.saturating_sub(1),
            },
        )
    }

    /// When another line may be said, if not now.
    pub(crate) fn next_line(&self, said: &Bucket, now: Moment) -> Option<Moment> {
        said.refilled_to(self.slack).filter(|&at| at > now)
    }

    /// A line is said.
    pub(crate) fn count_line(&self, said: &mut Bucket, now: Moment) {
        if !self.interval.is_zero() {
            said.take(now, self.interval, Duration::MAX);
        }
    }

    /// No line may be said for `time`, whatever was saved up.
    pub(crate) fn pause(&self, said: &mut Bucket, time: Duration, now: Moment) {
        let most = self.slack + time;
        said.take(now, most, most);
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
        let mut bucket = Bucket::default();
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
        let pace = Pace::new(2.0, 3);
        let mut said = Bucket::default();
        let mut now = start;
        for halves in [0, 0, 0, 1, 2, 3] {
            if let Some(at) = pace.next_line(&said, now) {
                now = at;
            }
            assert_eq!(now, start + halves * SECOND / 2);
            pace.count_line(&mut said, now);
        }
    }

    #[test]
    fn no_lines_a_second_are_no_limit_but_a_pause_is_one_all_the_same() {
        let start = Clock::default().moment(std::time::Instant::now());
        for pace in [Pace::new(0.0, 3), Pace::new(2.0, 3)] {
            let mut said = Bucket::default();
            pace.count_line(&mut said, start);
            assert_eq!(pace.next_line(&said, start), None);
            pace.pause(&mut said, SECOND, start);
            pace.pause(&mut said, SECOND, start);
            assert_eq!(pace.next_line(&said, start), Some(start + SECOND));
            assert_eq!(pace.next_line(&said, start + SECOND), None);
        }
    }

    #[test]
    fn a_full_bucket_saves_nothing_up_and_an_empty_one_owes_no_more_than_it_may() {
        let start = Clock::default().moment(std::time::Instant::now());
        let mut bucket = Bucket::default();
        bucket.take(start, SECOND, 9 * SECOND);
        bucket.take(start + 100 * SECOND, SECOND, 9 * SECOND);
        assert_eq!(bucket.missing(start + 100 * SECOND), SECOND);
        bucket.take(start + 100 * SECOND, 99 * SECOND, 9 * SECOND);
        assert_eq!(bucket.missing(start + 100 * SECOND), 9 * SECOND);
    }
}
