//! A point in time in eight bytes: [`Moment`] counts nanoseconds from a year before its [`Clock`] was first
//! given a time, so that lines said before the start have a moment too. A client remembers several of them,
//! and an `Option` of one takes no more room, so ten thousand idle clients take half a megabyte less than
//! with `Instant`.

use std::num::NonZeroU64;
use std::ops::Add;
use std::time::{Duration, Instant};

/// A year, in nanoseconds.
const YEAR: u64 = 365 * 24 * 60 * 60 * 1_000_000_000;

/// A time, at most a year before the clock's start. Sums saturate after 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZeroU64);

/// Converts the times that are passed in to moments, and back. It never reads a clock: it remembers
/// only the first time that it was given, and how much has been left out since.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Clock {
    beginning: Option<Instant>,
    /// Time that does not count.
    left_out: Duration,
}

impl Clock {
    /// The moment of this time.
    pub(crate) fn moment(&mut self, now: Instant) -> Moment {
        let beginning = *self.beginning.get_or_insert(now);
        let since = now.saturating_duration_since(beginning);
        Moment::START + since.saturating_sub(self.left_out)
    }

    /// Leaves this much time out: all moments to come are earlier by it, so whatever was to happen at a
    /// moment happens later by it.
    pub(crate) fn leave_out(&mut self, time: Duration) {
        self.left_out = self.left_out.saturating_add(time);
    }

    /// The time of this moment, if it is now or still to come.
    pub(crate) fn instant(&self, moment: Moment) -> Option<Instant> {
        let since = moment.saturating_since(Moment::START);
        let since = since.saturating_add(self.left_out);
        self.beginning?.checked_add(since)
    }
}

impl Moment {
    /// The first moment of all.
    pub(crate) const BEGINNING: Self = Self(NonZeroU64::MIN);

    /// When a clock was first given a time.
    pub(crate) const START: Self = Self(NonZeroU64::MIN.saturating_add(YEAR));

    /// The time since `earlier`, or zero if that is still to come.
    pub(crate) fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }

    /// This much earlier, or the beginning if that is later.
    pub(crate) fn saturating_sub(self, time: Duration) -> Self {
        let nanos = self.0.get().saturating_sub(nanos(time));
        NonZeroU64::new(nanos).map_or(Self::BEGINNING, Self)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were_handed_in() {
        let start = Instant::now();
        let mut clock = Clock::default();
        for seconds in [0, 1, 1_000_000_000] {
            let time = start + Duration::from_secs(seconds) + Duration::from_nanos(7);
            let moment = clock.moment(time);
            assert_eq!(clock.instant(moment), Some(time));
        }
        assert_eq!(size_of::<Option<Moment>>(), 8);
    }

    #[test]
    fn what_was_before_the_start_has_a_moment() {
        let start = Clock::default().moment(Instant::now());
        assert_eq!(start, Moment::START);
        let hour = Duration::from_secs(3600);
        assert_eq!(start.saturating_since(start.saturating_sub(hour)), hour);
    }

    #[test]
    fn what_is_left_out_moves_what_is_still_to_come() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut clock = Clock::default();
        let deadline = clock.moment(start) + Duration::from_secs(60);
        clock.leave_out(Duration::from_secs(100));
        assert_eq!(clock.instant(deadline), Some(after(160)));
        assert!(clock.moment(after(159)) < deadline);
        assert_eq!(clock.moment(after(160)), deadline);
    }

    #[test]
    fn nothing_overflows() {
        let mut clock = Clock::default();
        clock.leave_out(Duration::MAX);
        clock.leave_out(Duration::MAX);
        assert_eq!(clock.instant(clock.clone().moment(Instant::now())), None);
        let mut clock = Clock::default();
        let start = clock.moment(Instant::now());
        let end = start + Duration::MAX;
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(start.saturating_sub(Duration::MAX), Moment::BEGINNING);
        assert_eq!(start.saturating_since(end), Duration::ZERO);
        assert!(end > start);
    }
}
