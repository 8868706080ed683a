//! Whether the peer of a connection is still there. A peer that vanishes sends no FIN and no RST, so only
//! its silence tells; but a listener is silent as well, and so is a client whose user has suspended it.
//! The difference is that the system of a peer that lives acknowledges what is sent to it. [`Liveness`]
//! is what our own system knows of that, and [`Awaited`] judges it:
//!
//! | the system says | `since` becomes | dead |
//! |---|---|---|
//! | `Unknown`, `Answered` | none | never |
//! | `Pending` | now | never |
//! | `Unacknowledged`, and something came after `since` | now | never |
//! | `Unacknowledged`, nothing came after `since` | stays, or now | `ack_timeout` after `since` |
//! | `Unanswered` | stays, or now | from `max_unanswered_probes` probes and `ack_timeout` of silence on |
//!
//! `since` is set by the first write after none, and input resets it to none. So whenever a peer counts
//! as dead, output has waited for it for the whole of `ack_timeout`, and nothing has come from it in that
//! time: a peer that was silent before, and is written to just now, is not.

use std::time::Duration;

use crate::config::Limits;
use crate::time::moment::Moment;

/// What the system knows of the peer of a connection. In each case `heard` is how long ago anything came
/// from it, an acknowledgement included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Liveness {
    /// Nothing.
    #[default]
    Unknown,
    /// All that was written was sent and acknowledged, and no probe waits for an answer.
    Answered,
    /// Something is left to be acknowledged, but nothing was sent since the peer was heard: its window
    /// is closed, and it has answered the last probe.
    Pending,
    /// Data was sent since the peer was heard, and is not acknowledged.
    Unacknowledged {
        /// See above.
        heard: Duration,
    },
    /// Probes were sent since the peer was heard, of keepalive (RFC 1122, 4.2.3.6) or of a closed window
    /// (RFC 9293, 3.8.6.1).
    Unanswered {
        /// How many, one after the other.
        probes: u32,
        /// See above.
        heard: Duration,
    },
}

/// Since when a peer is to show that it is there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Awaited {
    /// `None`: there is nothing that it would have to answer.
    since: Option<Moment>,
}

impl Awaited {
    /// Something was written to the peer.
    #[inline]
    pub(super) fn on_write(&mut self, now: Moment) {
        if self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// The peer has sent something.
    #[inline]
    pub(super) fn on_read(&mut self) {
        self.since = None;
    }

    /// Whether the peer was written to and has not been heard from since, as far as is known.
    pub(super) fn is_pending(self) -> bool {
        self.since.is_some()
    }

    /// Takes note of what the system says. Returns whether the peer is dead.
    pub(super) fn judge(&mut self, says: Liveness, now: Moment, limits: &Limits) -> bool {
        let since = self.since.unwrap_or(now);
        let (since, is_dead) = match says {
            Liveness::Unknown | Liveness::Answered => (None, false),
            Liveness::Pending => (Some(now), false),
            Liveness::Unacknowledged { heard } => {
                let waited = now.saturating_since(since);
                match heard < waited {
                    // What is unacknowledged now may be younger than `since`.
                    true => (Some(now), false),
                    false => (Some(since), waited >= limits.ack_timeout),
                }
            }
            Liveness::Unanswered { probes, heard } => {
                let are_enough = probes >= limits.max_unanswered_probes;
                (Some(since), are_enough && heard >= limits.ack_timeout)
            }
        };
        self.since = since;
        is_dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::BEGINNING;

    fn after(seconds: u64) -> Moment {
        START + Duration::from_secs(seconds)
    }

    fn unacknowledged(heard: u64) -> Liveness {
        Liveness::Unacknowledged {
            heard: Duration::from_secs(heard),
        }
    }

    fn unanswered(probes: u32, heard: u64) -> Liveness {
        Liveness::Unanswered {
            probes,
            heard: Duration::from_secs(heard),
        }
    }

    /// The seconds after which a peer counts as dead that is written to at 100 s, if the system says this
    /// at those times; `None`: it never does.
    fn died_at(said: &[(u64, Liveness)]) -> Option<u64> {
        let mut awaited = Awaited::default();
        awaited.on_write(after(100));
        let limits = Limits::default();
        let mut said = said.iter();
        let death = said.find(|&&(at, says)| awaited.judge(says, after(at), &limits));
        death.map(|&(at, _)| at)
    }

    #[test]
    fn a_peer_is_dead_when_data_has_waited_for_the_whole_time() {
        use Liveness::{Answered, Pending, Unknown};
        for (said, expected) in [
            // It was heard last when it was written to.
            (
                &[(129, unacknowledged(29)), (130, unacknowledged(30))][..],
                Some(130),
            ),
            // It was silent before, which is no sin.
            (
                &[(101, unacknowledged(60)), (129, unacknowledged(88))],
                None,
            ),
            (
                &[(101, unacknowledged(60)), (130, unacknowledged(89))],
                Some(130),
            ),
            // An acknowledgement came in between: the time counts from when that is seen.
            (
                &[(145, unacknowledged(40)), (160, unacknowledged(55))],
                None,
            ),
            (
                &[(145, unacknowledged(40)), (175, unacknowledged(70))],
                Some(175),
            ),
            // Everything was acknowledged, or nothing is known: another write has to come.
            (&[(115, Answered), (160, unacknowledged(45))], None),
            (&[(115, Unknown), (160, unacknowledged(45))], None),
            (
                &[
                    (115, Answered),
                    (160, unacknowledged(45)),
                    (190, unacknowledged(75)),
                ],
                Some(190),
            ),
            // The window is closed, and what was sent has been answered.
            (&[(115, Pending), (900, Pending)], None),
            (&[(900, Pending), (929, unacknowledged(700))], None),
            (&[(900, Pending), (930, unacknowledged(700))], Some(930)),
        ] {
            assert_eq!(died_at(said), expected, "{said:?}");
        }
    }

    #[test]
    fn a_peer_is_dead_when_three_probes_are_unanswered_and_time_has_passed() {
        for (said, expected) in [
            (
                &[(180, unanswered(2, 79)), (181, unanswered(3, 80))][..],
                Some(181),
            ),
            // The first probes of a closed window come one upon the other.
            (&[(101, unanswered(3, 1)), (129, unanswered(7, 29))], None),
            (
                &[(101, unanswered(3, 1)), (130, unanswered(7, 30))],
                Some(130),
            ),
            // It answers each time.
            (&[(130, unanswered(1, 60)), (190, unanswered(2, 90))], None),
        ] {
            assert_eq!(died_at(said), expected, "{said:?}");
        }
    }

    #[test]
    fn input_shows_that_the_peer_is_there() {
        let mut awaited = Awaited::default();
        assert!(!awaited.is_pending());
        awaited.on_write(after(1));
        awaited.on_write(after(2));
        assert!(awaited.is_pending());
        awaited.on_read();
        assert!(!awaited.is_pending());
        awaited.on_write(after(50));
        assert!(!awaited.judge(unacknowledged(40), after(79), &Limits::default()));
        assert!(awaited.judge(unacknowledged(41), after(80), &Limits::default()));
        assert_eq!(size_of::<Awaited>(), 8);
    }
}
