//! What there is to do about a connection though nothing happens, and when: [`Due`]. It follows from
//! where the connection is in its life and from how it takes what is queued for it, so it is never
//! kept but always derived, and a deadline that moves needs no bookkeeping.

use crate::config::{Lag, Limits};
use crate::conn::{Connection, Phase, STALLED_AFTER, Standing, Stream};
use crate::protocol::close_reason::CloseReason;
use crate::time::moment::Moment;

/// What there is to do about a connection when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// It is to be closed for this reason.
    Close(CloseReason),
    /// It has had its time to take its last words, or to close its end.
    Drop,
    /// It counts as stalled from now on.
    Stalled,
    /// It may be heard again.
    Heard,
}

impl<S: Stream> Connection<S> {
    /// What there is to do about it next, and when, if nothing happens until then.
    pub(crate) fn next_due(&self, limits: &Limits) -> Option<(Moment, Due)> {
        let dues = [
            self.phase_due(limits),
            self.stall_due(limits),
            self.standing_due(),
            self.heard_at.map(|at| (at, Due::Heard)),
        ];
        dues.into_iter().flatten().min_by_key(|&(at, _)| at)
    }

    /// The end of its phase.
    fn phase_due(&self, limits: &Limits) -> Option<(Moment, Due)> {
        let (patience, due) = match self.phase {
            Phase::Password { .. } | Phase::Login { .. } => (
                limits.login_patience()?,
                Due::Close(CloseReason::LoginTimeout),
            ),
            Phase::Member => (limits.idle_patience()?, Due::Close(CloseReason::Idle)),
            // Who hung up and still reads has not run out of time.
            Phase::Draining if self.reason == Some(CloseReason::HungUp) => return None,
            Phase::Draining => (limits.goodbye_timeout, Due::Drop),
            Phase::Lingering { .. } => (limits.linger_timeout, Due::Drop),
            Phase::Closed => return None,
        };
        Some((self.since + patience, due))
    }

    /// The end of the time in which it may take nothing, or may hold up the room.
    fn stall_due(&self, limits: &Limits) -> Option<(Moment, Due)> {
        let patience = limits.stall_patience()?;
        match (self.phase, limits.lag) {
            (Phase::Draining, _) if self.reason == Some(CloseReason::HungUp) => {
                Some((self.waiting_since? + patience, Due::Drop))
            }
            (
                Phase::Password { .. } | Phase::Login { .. } | Phase::Member,
                Lag::Skip | Lag::Disconnect,
            ) => Some((
                self.waiting_since? + patience,
                Due::Close(CloseReason::Stalled),
            )),
            (Phase::Member, Lag::Wait) => {
                Some((self.over_since? + patience, Due::Close(CloseReason::HeldUp)))
            }
            _ => None,
        }
    }

    fn standing_due(&self) -> Option<(Moment, Due)> {
        let counts = self.phase == Phase::Member && self.standing != Standing::Stalled;
        let since = self.waiting_since.filter(|_| counts)?;
        Some((since + STALLED_AFTER, Due::Stalled))
    }
}
