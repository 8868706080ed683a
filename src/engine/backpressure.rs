//! Who keeps up and who does not, in numbers: [`Pressure`] counts the members by their standing, so
//! that whether a speaker may go on is a comparison and not a walk over all readers.
//!
//! When one reader in ten is behind, that reader is slow. When most of them are, the speaker is too
//! fast, and reading from a loud one stops until they have caught up: TCP pushes back.

use crate::conn::Standing;

/// How the members stand.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    keeping_up: usize,
    behind: usize,
    stalled: usize,
    /// Members that hold up the room: [`Lag::Wait`](crate::Lag).
    over: usize,
    /// Something may have become possible since this was last looked at.
    changed: bool,
}

impl Pressure {
    /// A member comes, with nothing queued.
    pub(crate) fn join(&mut self) {
        self.keeping_up += 1;
        self.changed = true;
    }

    /// A member goes.
    pub(crate) fn leave(&mut self, standing: Standing, was_over: bool) {
        *self.count(standing) -= 1;
        self.over -= usize::from(was_over);
        self.changed = true;
    }

    /// A member's standing changes.
    pub(crate) fn change(&mut self, from: Standing, to: Standing) {
        *self.count(from) -= 1;
        *self.count(to) += 1;
        self.changed = true;
    }

    /// A member begins to hold up the room.
    pub(crate) fn hold_up(&mut self) {
        self.over += 1;
    }

    /// A member no longer holds up the room.
    pub(crate) fn let_go(&mut self) {
        self.over -= 1;
        self.changed = true;
    }

    /// Something else has happened for which those who wait have to be asked again.
    pub(crate) fn look_again(&mut self) {
        self.changed = true;
    }

    pub(crate) fn members(&self) -> usize {
        self.keeping_up + self.behind + self.stalled
    }

    /// Whether a member holds up the room.
    pub(crate) fn is_held_up(&self) -> bool {
        self.over > 0
    }

    /// Whether a loud speaker of this standing has to wait: more than half of the others are behind,
    /// those who are stalled aside.
    pub(crate) fn is_too_fast_for_most(&self, speaker: Standing) -> bool {
        let others = |count: usize, standing| count - usize::from(speaker == standing);
        let behind = others(self.behind, Standing::Behind);
        behind > others(self.keeping_up, Standing::KeepsUp)
    }

    /// Whether something has changed since the last time that this was asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    fn count(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::KeepsUp => &mut self.keeping_up,
            Standing::Behind => &mut self.behind,
            Standing::Stalled => &mut self.stalled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressure(keeping_up: usize, behind: usize, stalled: usize) -> Pressure {
        Pressure {
            keeping_up,
            behind,
            stalled,
            ..Pressure::default()
        }
    }

    #[test]
    fn a_speaker_is_too_fast_when_more_than_half_of_the_others_are_behind() {
        use Standing::{Behind, KeepsUp, Stalled};
        // The speaker itself is one of those that keep up.
        for (others, too_fast) in [
            ((1, 1), false),
            ((1, 2), true),
            ((0, 1), true),
            ((0, 0), false),
        ] {
            let (keeping_up, behind) = others;
            for stalled in [0, 5] {
                let room = pressure(keeping_up + 1, behind, stalled);
                assert_eq!(room.is_too_fast_for_most(KeepsUp), too_fast, "{room:?}");
            }
        }
        // It is no reader of its own lines, whatever its standing.
        assert!(!pressure(1, 2, 0).is_too_fast_for_most(Behind));
        assert!(pressure(0, 1, 1).is_too_fast_for_most(Stalled));
    }

    #[test]
    fn every_way_to_become_possible_is_a_change() {
        let mut room = Pressure::default();
        room.join();
        assert!(room.take_changed() && !room.take_changed());
        room.change(Standing::KeepsUp, Standing::Behind);
        assert!(room.take_changed());
        room.hold_up();
        assert!(room.is_held_up() && !room.take_changed());
        room.let_go();
        assert!(room.take_changed() && !room.is_held_up());
        room.leave(Standing::Behind, false);
        assert!(room.take_changed());
        assert_eq!(room.members(), 0);
    }
}
