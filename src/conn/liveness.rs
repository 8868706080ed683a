//! Whether the peer of a connection is still there. A peer that vanishes sends no FIN and no RST, so only
//! its silence tells; but a listener is silent as well, and so is a client whose user has suspended it.
//! The difference is that the system of a peer that lives acknowledges what is sent to it. [`Liveness`]
//! is what our own system knows of that when it is asked, and [`Awaited`] judges it:
//!
//! | the system says | `since` becomes | dead |
//! |---|---|---|
//! | `Unknown`, `Answered`, `Pending` | none | never |
//! | `Unacknowledged`, and something came after `since` | as long ago as it `waited` | `ack_timeout` after `since` |
//! | `Unacknowledged`, nothing came after `since` | stays, or the same if that is earlier | the same |
//! | `Unanswered` | as for `Unacknowledged` | the same, from `max_unanswered_probes` probes on |
//!
//! So whenever a peer counts as dead, something has waited for the whole of
//! `ack_timeout`, and nothing has come from the peer in that time: a peer that was silent before, and is
//! written to just now, is not dead. Writing itself costs nothing for this.

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
        /// For how long the first of that data has waited at least, as far as the system can tell.
        waited: Duration,
    },
    /// Probes were sent since the peer was heard, of keepalive (RFC 1122, 4.2.3.6) or of a closed window
    /// (RFC 9293, 3.8.6.1).
    Unanswered {
        /// How many, one after the other.
        probes: u32,
        /// See above.
        heard: Duration,
        /// For how long the first of them has waited at least, as far as the system can tell.
        waited: Duration,
    },
}

/// Since when something is known to wait for an answer of a peer, without anything having come from it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Awaited {
    since: Option<Moment>,
}

impl Awaited {
    /// Whether nothing is known to wait.
    pub(crate) fn is_nothing(self) -> bool {
        self.since.is_none()
    }

    /// Takes note of what the system says. Returns whether the peer is dead.
    pub(crate) fn judge(&mut self, says: Liveness, now: Moment, limits: &Limits) -> bool {
        let before = self.since.take();
        let (heard, waited, is_enough) = match says {
            Liveness::Unknown | Liveness::Answered | Liveness::Pending => return false,
            Liveness::Unacknowledged { heard, waited } => (heard, waited, true),
            Liveness::Unanswered {
                probes,
                heard,
                waited,
            } => (heard, waited, probes >= limits.max_unanswered_probes),
        };
        // What waits now may be younger than what was heard last.
        let since = before.filter(|&since| heard >= now.saturating_since(since));
        let told = now.saturating_sub(waited.min(heard));
        let since = since.unwrap_or(now).min(told);
        self.since = Some(since);
        is_enough && heard.min(now.saturating_since(since)) >= limits.ack_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Moment {
        Moment::BEGINNING + Duration::from_secs(seconds)
    }

    fn unacknowledged(heard: u64, waited: u64) -> Liveness {
        Liveness::Unacknowledged {
            heard: Duration::from_secs(heard),
            waited: Duration::from_secs(waited),
        }
    }

    fn unanswered(probes: u32, heard: u64, waited: u64) -> Liveness {
        Liveness::Unanswered {
            probes,
            heard: Duration::from_secs(heard),
            waited: Duration::from_secs(waited),
        }
    }

    /// When a peer counts as dead, in seconds, if the system says this at those times; `None`: it never
    /// does.
    fn died_at(said: &[(u64, Liveness)]) -> Option<u64> {
        let mut awaited = Awaited::default();
        let limits = Limits::default();
        let mut said = said.iter();
        let death = said.find(|&&(at, says)| awaited.judge(says, after(at), &limits));
        death.map(|&(at, _)| at)
    }

    #[test]
    fn a_peer_is_dead_when_data_has_waited_for_the_whole_time() {
        for (said, expected) in [
            (&[(100, unacknowledged(29, 29))][..], None),
            (&[(100, unacknowledged(30, 30))], Some(100)),
            // It was silent before, which is no sin.
            (&[(100, unacknowledged(60, 29))], None),
            (&[(100, unacknowledged(60, 30))], Some(100)),
            // What waited before is seen again, and time has passed since.
            (
                &[
                    (100, unacknowledged(70, 12)),
                    (117, unacknowledged(87, 25)),
                    (118, unacknowledged(88, 25)),
                ],
                Some(118),
            ),
            // It was heard while something older waited.
            (&[(100, unacknowledged(29, 60))], None),
        ] {
            assert_eq!(died_at(said), expected, "{said:?}");
        }
    }

    #[test]
    fn where_the_system_cannot_tell_how_long_data_has_waited_it_is_seen() {
        use Liveness::{Answered, Pending, Unknown};
        let says = |heard| unacknowledged(heard, 0);
        for (said, expected) in [
            (
                &[(100, says(70)), (115, says(85)), (129, says(99))][..],
                None,
            ),
            (
                &[(100, says(70)), (115, says(85)), (130, says(100))],
                Some(130),
            ),
            // An acknowledgement came in between: the time counts from when that is seen.
            (&[(100, says(5)), (130, says(29)), (159, says(58))], None),
            (
                &[(100, says(5)), (130, says(29)), (160, says(59))],
                Some(160),
            ),
            // All was answered in between.
            (&[(100, says(70)), (115, Answered), (130, says(100))], None),
            (&[(100, says(70)), (115, Pending), (130, says(100))], None),
            (&[(100, says(70)), (115, Unknown), (130, says(100))], None),
            (
                &[
                    (100, says(70)),
                    (115, Answered),
                    (130, says(100)),
                    (160, says(130)),
                ],
                Some(160),
            ),
        ] {
            assert_eq!(died_at(said), expected, "{said:?}");
        }
    }

    #[test]
    fn a_peer_is_dead_when_three_probes_are_unanswered_and_time_has_passed() {
        for (said, expected) in [
            // Those of keepalive.
            (
                &[(180, unanswered(2, 79, 79)), (181, unanswered(3, 80, 80))][..],
                Some(181),
            ),
            // The first probes of a closed window come one upon the other.
            (
                &[(101, unanswered(3, 1, 0)), (130, unanswered(7, 30, 0))],
                None,
            ),
            (
                &[(101, unanswered(3, 1, 0)), (131, unanswered(7, 31, 0))],
                Some(131),
            ),
            // So do those for want of a carrier, after whatever silence.
            (
                &[(101, unanswered(3, 900, 0)), (130, unacknowledged(929, 3))],
                None,
            ),
            (
                &[(101, unanswered(3, 900, 0)), (131, unacknowledged(930, 3))],
                Some(131),
            ),
            // One that is lost is not enough, and it answers each time.
            (
                &[(101, unanswered(1, 90, 0)), (131, unanswered(1, 120, 0))],
                None,
            ),
            (
                &[(101, unanswered(2, 90, 0)), (131, unanswered(3, 20, 0))],
                None,
            ),
        ] {
            assert_eq!(died_at(said), expected, "{said:?}");
        }
    }
}
