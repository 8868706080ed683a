//! Events that can happen ten thousand times a second and still deserve a line in the log:
//! [`LogThrottle`] lets the first one through, or the first few, and then at most one line in ten seconds,
//! with a count and the last event. Without it, a peer that is refused could fill the disk by connecting
//! again and again.
//!
//! Ten seconds begin with a line. Each kind of event has its number of lines in them: one where a single
//! event is of no interest, and more where an operator wants to know each, as long as they are few. A line
//! with a count is one of them.
//!
//! A burst may end before its line is due, and nothing may follow it for hours. So the owner of a
//! throttle asks for its [deadline](LogThrottle::deadline), and [takes the line](LogThrottle::take_due)
//! at that time.

use std::time::{Duration, Instant};

/// The time for which the lines of a kind are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Events of one kind.
#[derive(Debug)]
pub(crate) struct LogThrottle<T> {
    /// The number of events that are not in the log yet.
    unlogged: u64,
    /// The last of them.
    last: Option<T>,
    /// How many lines there may be in a window, and how many there are in this one.
    max_lines: u32,
    lines: u32,
    window_since: Option<Instant>,
}

/// What happens to an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Counted<'t, T> {
    /// A line is due, for this many events. The last of them is returned with the count.
    Line(u64, T),
    /// It is too early for a line: the event is kept for the next one.
    Kept(&'t T),
}

impl<T> Default for LogThrottle<T> {
    fn default() -> Self {
        Self::new(1)
    }
}

impl<T> LogThrottle<T> {
    /// Events of which so many are logged each, before they are counted.
    pub(crate) fn new(max_lines: u32) -> Self {
        Self {
            unlogged: 0,
            last: None,
            max_lines,
            lines: 0,
            window_since: None,
        }
    }

    /// Counts one more event.
    pub(crate) fn count(&mut self, event: T, now: Instant) -> Counted<'_, T> {
        let is_over = self.window_end().is_none_or(|at| at <= now);
        // Behind events that are counted no single one is logged, so that lines are in order.
        let is_counted = self.unlogged > 0 || self.lines >= self.max_lines;
        self.unlogged = self.unlogged.saturating_add(1);
        if is_counted && !is_over {
            return Counted::Kept(self.last.insert(event));
        }
        self.last = None;
        if is_over {
            self.begin_window(now);
        }
        self.lines = self.lines.saturating_add(1);
        Counted::Line(std::mem::take(&mut self.unlogged), event)
    }

    fn begin_window(&mut self, now: Instant) {
        self.lines = 0;
        self.window_since = Some(now);
    }

    /// When the next line is due even if no event follows: `None` if all events have been logged.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.window_end().filter(|_| self.unlogged > 0)
    }

    /// Returns the line that is due: the number of its events, and the last of them.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(u64, T)> {
        self.deadline().filter(|&at| at <= now)?;
        self.begin_window(now);
        self.lines = 1;
        self.take_all()
    }

    /// Returns the events that are not in the log yet, whether a line is due or not: their number, and
    /// the last of them.
    pub(crate) fn take_all(&mut self) -> Option<(u64, T)> {
        let last = self.last.take()?;
        Some((std::mem::take(&mut self.unlogged), last))
    }

    fn window_end(&self) -> Option<Instant> {
        self.window_since?.checked_add(WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_event_is_logged_at_once_and_the_others_every_ten_seconds_with_a_count() {
        let mut events = LogThrottle::default();
        let start = Instant::now();
        let logged = [0, 1, 2, 9, 10, 11, 30].map(|seconds| {
            match events.count(seconds, start + seconds * SECOND) {
                Counted::Line(count, last) => Some((count, last)),
                Counted::Kept(_) => None,
            }
        });
        let expected = [
            Some((1, 0)),
            None,
            None,
            None,
            Some((4, 10)),
            None,
            Some((2, 30)),
        ];
        assert_eq!(logged, expected);
        assert_eq!(events.deadline(), None);
    }

    #[test]
    fn a_few_are_logged_each_and_the_others_are_counted() {
        let mut events = LogThrottle::new(3);
        let start = Instant::now();
        let times = [0, 1, 2, 3, 9, 10, 11, 12, 13, 20, 21, 99];
        let logged = times.map(
            |seconds| match events.count(seconds, start + seconds * SECOND) {
                Counted::Line(count, last) => Some((count, last)),
                Counted::Kept(_) => None,
            },
        );
        let expected = [
            Some((1, 0)),
            Some((1, 1)),
            Some((1, 2)),
            None,
            None,
            // The line with the count is one of the three.
            Some((3, 10)),
            Some((1, 11)),
            Some((1, 12)),
            None,
            Some((2, 20)),
            Some((1, 21)),
            Some((1, 99)),
        ];
        assert_eq!(logged, expected);
        for n in 0..3 {
            events.count(n, start + 100 * SECOND);
        }
        assert_eq!(events.deadline(), Some(start + 109 * SECOND));
        assert_eq!(events.take_due(start + 109 * SECOND), Some((1, 2)));
    }

    #[test]
    fn the_end_of_a_burst_is_logged_though_nothing_follows_it() {
        for burst in [2_u32, 3, 1000] {
            let mut events = LogThrottle::default();
            let start = Instant::now();
            assert_eq!(events.count(1, start), Counted::Line(1, 1));
            assert_eq!(events.deadline(), None, "all is told");
            for n in 2..=burst {
                assert_eq!(events.count(n, start + SECOND), Counted::Kept(&n));
            }
            let due = start + 10 * SECOND;
            assert_eq!(events.deadline(), Some(due));
            assert_eq!(events.take_due(due - SECOND), None, "too early");
            let count = u64::from(burst) - 1;
            assert_eq!(events.take_due(due), Some((count, burst)));
            assert_eq!(events.deadline(), None);
            assert_eq!(events.take_due(due + 99 * SECOND), None);
            // That line counts as well, so the next one is due ten seconds later.
            assert_eq!(events.count(7, due + 9 * SECOND), Counted::Kept(&7));
            assert_eq!(events.deadline(), Some(due + 10 * SECOND));
            assert_eq!(events.count(8, due + 10 * SECOND), Counted::Line(2, 8));
        }
    }

    #[test]
    fn at_the_end_nothing_is_left_untold() {
        let mut events = LogThrottle::default();
        assert_eq!(events.take_all(), None);
        let start = Instant::now();
        events.count('a', start);
        assert_eq!(events.take_all(), None);
        events.count('b', start);
        events.count('c', start);
        assert_eq!(events.take_all(), Some((2, 'c')));
        assert_eq!(events.take_all(), None);
        assert_eq!(events.deadline(), None);
    }
}
