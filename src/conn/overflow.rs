//! What is left out for a reader that is behind: [`Skips`] decides line by line, counts what it
//! leaves out, and says when the reader has to be told. A queue that was once too full takes
//! nothing more before there is room for many lines again, so that a reader gets the talk in
//! stretches and not every tenth line of it.
//!
//! A loud speaker's lines stop at half of a queue. So the other half is always there for the quiet,
//! and a flood never pushes out what somebody typed.

use crate::config::Limits;

/// No longer than this is what tells how many lines were left out.
const NOTICE_BYTES: usize = 64;

/// Who says a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voice {
    /// A speaker within bounds, or the server itself.
    Quiet,
    /// A speaker who has said more than anybody can read.
    Loud,
}

/// What is left out for one reader.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Skips {
    /// Lines that were left out and of which the reader does not know yet.
    count: u64,
    /// Everything is left out, until half of the queue is free.
    all: bool,
    /// What loud speakers say is left out, until three quarters are free.
    loud: bool,
}

impl Skips {
    /// Whether a line of `len` bytes is appended to a queue of `queued` bytes. If not, it is
    /// counted.
    pub(crate) fn admit(
        &mut self,
        queued: usize,
        len: usize,
        voice: Voice,
        limits: &Limits,
    ) -> bool {
        let limit = limits.max_pending_bytes;
        if voice == Voice::Loud && queued > 0 && queued + len > limit / 2 {
            self.loud = true;
        }
        if queued + len > limit {
            self.all = true;
            self.loud = true;
        }
        let is_left_out = self.leaves_out(voice);
        self.count(usize::from(is_left_out));
        !is_left_out
    }

    /// Whether each of some lines of this voice, `len` bytes together, is left out, and that changes
    /// nothing for what comes behind them. If one of them had no room even in the whole queue,
    /// everything would be left out from there on, so that has to be found line by line.
    pub(crate) fn leaves_out_all(
        &self,
        queued: usize,
        len: usize,
        voice: Voice,
        limits: &Limits,
    ) -> bool {
        let with = queued.saturating_add(len).saturating_add(NOTICE_BYTES);
        self.all || (self.leaves_out(voice) && with <= limits.max_pending_bytes)
    }

    fn leaves_out(&self, voice: Voice) -> bool {
        self.all || (self.loud && voice == Voice::Loud)
    }

    /// So many lines are left out.
    pub(crate) fn count(&mut self, lines: usize) {
        self.count += lines as u64;
    }

    /// The queue has shrunk to `queued` bytes. Whether the reader has to be told what it missed
    /// even if nothing more is said.
    pub(crate) fn resume(&mut self, queued: usize, limits: &Limits) -> bool {
        let limit = limits.max_pending_bytes;
        let was = (self.all, self.loud);
        self.all &= queued > 0 && queued >= limit / 2;
        self.loud &= queued > 0 && queued >= limit / 4;
        self.count > 0 && (self.all, self.loud) != was
    }

    /// Whether nothing is left out, and nothing was of which the reader does not know.
    pub(crate) fn is_idle(&self) -> bool {
        self.count == 0 && !self.all && !self.loud
    }

    /// How many lines were left out that the reader does not know of.
    pub(crate) fn untold(&self) -> u64 {
        self.count
    }

    /// The reader was told.
    pub(crate) fn forget_told(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            max_pending_bytes: 100,
            ..Limits::default()
        }
    }

    #[test]
    fn from_the_first_line_that_does_not_fit_all_are_left_out_until_half_is_free() {
        let (mut skips, limits) = (Skips::default(), limits());
        assert!(skips.admit(90, 10, Voice::Quiet, &limits));
        assert!(!skips.admit(91, 10, Voice::Quiet, &limits));
        assert!(!skips.admit(91, 1, Voice::Quiet, &limits), "it would fit");
        assert!(!skips.resume(50, &limits));
        assert!(!skips.admit(50, 1, Voice::Quiet, &limits));
        assert!(skips.resume(49, &limits));
        assert_eq!(skips.untold(), 3);
        assert!(skips.admit(49, 1, Voice::Quiet, &limits));
    }

    #[test]
    fn a_loud_speaker_fills_half_and_goes_on_below_a_quarter() {
        let (mut skips, limits) = (Skips::default(), limits());
        assert!(skips.admit(40, 10, Voice::Loud, &limits));
        assert!(!skips.admit(41, 10, Voice::Loud, &limits));
        assert!(skips.admit(41, 10, Voice::Quiet, &limits), "there is room");
        assert!(!skips.resume(25, &limits));
        assert!(!skips.admit(25, 1, Voice::Loud, &limits));
        assert!(skips.resume(24, &limits));
        assert!(skips.admit(24, 1, Voice::Loud, &limits));
        assert_eq!(skips.untold(), 2);
    }

    #[test]
    fn lines_are_left_out_together_only_where_that_is_the_same_as_one_by_one() {
        let limits = Limits {
            max_pending_bytes: 1000,
            ..Limits::default()
        };
        for (queued, len, together) in [(500, 400, true), (900, 90, false), (900, 200, false)] {
            let mut skips = Skips::default();
            assert!(!skips.admit(600, 1, Voice::Loud, &limits));
            let is_quiet_left_out = skips.leaves_out_all(queued, len, Voice::Quiet, &limits);
            assert!(!is_quiet_left_out, "only the loud are");
            assert_eq!(
                skips.leaves_out_all(queued, len, Voice::Loud, &limits),
                together
            );
        }
        let mut skips = Skips::default();
        assert!(!skips.admit(1000, 1, Voice::Quiet, &limits));
        assert!(skips.leaves_out_all(1000, 9999, Voice::Quiet, &limits));
    }

    #[test]
    fn a_loud_line_that_no_queue_has_room_for_ends_everything_until_half_is_free() {
        let (mut skips, limits) = (Skips::default(), limits());
        assert!(!skips.admit(60, 1, Voice::Loud, &limits));
        assert!(skips.admit(60, 1, Voice::Quiet, &limits));
        assert!(!skips.admit(100, 1, Voice::Loud, &limits));
        assert!(!skips.admit(60, 1, Voice::Quiet, &limits));
    }

    #[test]
    fn an_empty_queue_takes_any_line_that_it_can_hold() {
        let (mut skips, limits) = (Skips::default(), limits());
        assert!(skips.admit(0, 100, Voice::Loud, &limits));
        assert!(!skips.admit(100, 1, Voice::Loud, &limits));
        assert!(skips.resume(0, &limits));
        assert!(!skips.resume(0, &limits), "nothing has changed since");
    }
}
