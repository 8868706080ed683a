//! Whether the poll loop has stood still: [`TurnClock`] knows when the last turn began and ended, and so how
//! much later than it was to the next one begins. It reads no clock, so a simulation can stop it.

use std::time::{Duration, Instant};

/// A turn that begins later than this after its time finds a server that was stopped, and not its
/// clients silent.
const MOST_LATE: Duration = Duration::from_secs(1);

/// When the last turn began and ended.
#[derive(Debug)]
pub struct TurnClock {
    began: Instant,
    ended: Instant,
}

impl TurnClock {
    /// A loop that takes no time to begin.
    pub fn new(now: Instant) -> Self {
        Self {
            began: now,
            ended: now,
        }
    }

    /// When the last turn began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// When the last turn ended.
    pub fn ended(&self) -> Instant {
        self.ended
    }

    /// A turn begins that has polled until this deadline. Returns how much later than it was to, if that is
    /// much: this is time that the engine [leaves out](crate::engine::Engine::leave_out). A deadline at the
    /// end of the last turn means that there was work to go on with; then the time that the last turn took
    /// is looked at as well, but a second of it always counts, so that a loop that is always busy has
    /// time-outs all the same.
    pub fn begin_turn(&mut self, deadline: Option<Instant>, now: Instant) -> Option<Duration> {
        let began = std::mem::replace(&mut self.began, now);
        let due = match deadline? {
            deadline if deadline > self.ended => deadline,
            _ => began.checked_add(MOST_LATE)?,
        };
        let late = now.saturating_duration_since(due);
        (late > MOST_LATE).then_some(late)
    }

    /// Returns how long the turn took that ends.
    pub fn end_turn(&mut self, now: Instant) -> Duration {
        self.ended = now;
        self.ended.saturating_duration_since(self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_late_by_what_goes_beyond_its_deadline_and_a_second() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        // Began and ended, deadline, now, and how late.
        for (turn, deadline, now, late) in [
            ((0, 1), None, 99_000, None),
            ((0, 1), Some(5000), 4000, None),
            ((0, 1), Some(5000), 6000, None),
            ((0, 1), Some(5000), 6001, Some(1001)),
            ((0, 1), Some(5000), 65_000, Some(60_000)),
            // There was work to go on with, before or after the pause.
            ((0, 1), Some(1), 2000, None),
            ((0, 1), Some(1), 7000, Some(6000)),
            ((0, 6999), Some(3000), 7000, Some(6000)),
        ] {
            let mut clock = TurnClock {
                began: at(turn.0),
                ended: at(turn.1),
            };
            let late = late.map(Duration::from_millis);
            assert_eq!(clock.begin_turn(deadline.map(at), at(now)), late, "{now}");
        }
    }
}
