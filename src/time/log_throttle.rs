//! Events that can happen ten thousand times a second and still deserve a line in the log:
//! [`LogThrottle`] lets the first one through, and then at most one line in ten seconds, with a count.
//! Without it, a peer that is refused could fill the disk by connecting again and again.

use std::time::{Duration, Instant};

/// The least time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Events of one kind.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle {
    /// Events that no line of the log has counted yet.
    unlogged: u64,
    logged_at: Option<Instant>,
}

impl LogThrottle {
    /// Counts one more event. If it is time for a line, returns how many events it stands for.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.unlogged = self.unlogged.saturating_add(1);
        let is_too_early = |at: Instant| now.saturating_duration_since(at) < BETWEEN_LINES;
        if self.logged_at.is_some_and(is_too_early) {
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_logged_at_once_and_the_others_every_ten_seconds_with_a_count() {
        let mut events = LogThrottle::default();
        let start = Instant::now();
        let logged = [0, 1, 2, 9, 10, 11, 30].map(|seconds| {
            let now = start + Duration::from_secs(seconds);
            events.count(now)
        });
        let expected = [Some(1), None, None, None, Some(4), None, Some(2)];
        assert_eq!(logged, expected);
    }
}
