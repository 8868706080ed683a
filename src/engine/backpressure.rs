//! How the readers keep up, in numbers: [`Backpressure`] counts the members that do not, so that
//! whether a speaker may go on is a comparison and not a walk over all readers. All others are
//! current, so a member that joins need not be counted.
//!
//! When one reader in ten lags, that reader is slow. When most of them do, the speaker is too fast, and
//! the lines of bulk speakers wait until they have caught up: TCP pushes back.

use crate::conn::ReaderState;
use crate::engine::run_queue::Gates;

/// The members that are not current.
#[derive(Debug, Default)]
pub(super) struct Backpressure {
    pub(super) lagging: usize,
    pub(super) stalled: usize,
    /// The room waits for them: [`Lag::Wait`](crate::Lag).
    pub(super) holding_up: usize,
    /// Too much was said here that is not in the log of the other servers yet.
    pub(super) is_relay_full: bool,
}

impl Backpressure {
    /// A member's state has changed.
    pub(super) fn change(&mut self, from: ReaderState, to: ReaderState) {
        if let Some(count) = self.count(from) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.count(to) {
            *count = count.saturating_add(1);
        }
    }

    fn count(&mut self, state: ReaderState) -> Option<&mut usize> {
        match state {
            ReaderState::Current => None,
            ReaderState::Lagging => Some(&mut self.lagging),
            ReaderState::Stalled => Some(&mut self.stalled),
            ReaderState::HoldsUp => Some(&mut self.holding_up),
        }
    }

    /// Which lines may be said. Those of bulk speakers may not while, the speaker aside, more readers
    /// lag than are current; those who are stalled do not count.
    pub(super) fn gates(&self, members: usize) -> Gates {
        let behind = self
            .lagging
            .saturating_add(self.stalled)
            .saturating_add(self.holding_up);
        let others_current = members.saturating_sub(behind).saturating_sub(1);
        let sparse = self.holding_up == 0 && !self.is_relay_full;
        Gates {
            sparse,
            bulk: sparse && self.lagging <= others_current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_lines_wait_while_more_than_half_of_the_others_lag() {
        // The speaker itself is one of those that are current.
        for (current, lagging, is_open) in
            [(1, 1, true), (1, 2, false), (0, 1, false), (0, 0, true)]
        {
            for stalled in [0, 5] {
                let pressure = Backpressure {
                    lagging,
                    stalled,
                    ..Backpressure::default()
                };
                let gates = pressure.gates(1 + current + lagging + stalled);
                assert_eq!(gates.bulk, is_open, "{pressure:?}");
                assert!(gates.sparse);
            }
        }
    }

    #[test]
    fn everybody_waits_for_a_relay_that_is_full() {
        let pressure = Backpressure {
            is_relay_full: true,
            ..Backpressure::default()
        };
        let gates = pressure.gates(9);
        assert!(!gates.sparse && !gates.bulk);
    }

    #[test]
    fn everybody_waits_for_a_member_that_holds_up_the_room() {
        let mut pressure = Backpressure::default();
        pressure.change(ReaderState::Current, ReaderState::HoldsUp);
        let closed = Gates {
            sparse: false,
            bulk: false,
        };
        assert_eq!(pressure.gates(9), closed);
        pressure.change(ReaderState::HoldsUp, ReaderState::Lagging);
        pressure.change(ReaderState::Lagging, ReaderState::Stalled);
        pressure.change(ReaderState::Stalled, ReaderState::Current);
        assert!(pressure.gates(1).bulk);
        assert_eq!(
            (pressure.lagging, pressure.stalled, pressure.holding_up),
            (0, 0, 0)
        );
    }
}
