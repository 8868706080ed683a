//! What can happen ten thousand times a second and is worth a line of the log all the same:
//! [`Seldom`] tells of it at once, and then in one line each ten seconds for all that has happened
//! since. Otherwise who is turned away could fill the disk by coming again.

use std::time::{Duration, Instant};

/// The least time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Events of one kind.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    untold: u64,
    told_at: Option<Instant>,
}

impl Seldom {
    /// One more has happened. If it is time for a line: for how many it stands.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now < at + BETWEEN_LINES) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_in_ten_seconds_with_their_count() {
        let mut events = Seldom::default();
        let start = Instant::now();
        let told = [0, 1, 2, 9, 10, 11, 30].map(|seconds| {
            let now = start + Duration::from_secs(seconds);
            events.count(now)
        });
        let expected = [Some(1), None, None, None, Some(4), None, Some(2)];
        assert_eq!(told, expected);
    }
}
