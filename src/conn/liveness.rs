//! Decides whether the peer of a connection is still alive. A peer that vanishes sends neither FIN nor
//! RST, so silence is the only sign of it; but a listener is silent as well, and so is a client whose
//! user has suspended it. The difference is that the kernel of a live peer acknowledges what is sent to
//! it. [`Liveness`] is what our own kernel reports about that, and [`Awaited`] judges the reports:
//!
//! | report | `since` becomes | dead |
//! |---|---|---|
//! | `Unknown`, `Answered`, `Pending` | none | never |
//! | `Unacknowledged`, and input arrived after `since` | now less `waited` | `ack_timeout` after `since` |
//! | `Unacknowledged`, no input after `since` | the earlier of `since` and now less `waited` | as above |
//! | `Unanswered` | as for `Unacknowledged` | as above, from `max_unanswered_probes` probes on |
//!
//! So when a peer is declared dead, data or a probe has waited for the whole of `ack_timeout`, and
//! nothing was received from the peer in that time: a peer that was silent for long and was written to
//! only now is not dead. Writing itself costs nothing extra.

use std::time::Duration;

use crate::config::Limits;
use crate::time::moment::Moment;

/// What the kernel reports about the peer of a connection. In each case `heard` is how long ago anything
/// was received from the peer, including acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Liveness {
    /// The kernel cannot tell.
    #[default]
    Unknown,
    /// Everything that was written was sent and acknowledged, and no probe is unanswered.
    Answered,
    /// Data is unacknowledged, but nothing was sent since the peer was last heard: its window is
    /// closed, and it has answered the last probe.
    Pending,
    /// Data was sent since the peer was last heard, and is not acknowledged.
    Unacknowledged {
        /// How long ago anything was received from the peer.
        heard: Duration,
        /// The minimum time for which the oldest of that data has waited, as far as the kernel can
        /// tell.
        waited: Duration,
    },
    /// Probes were sent since the peer was last heard: keepalive probes (RFC 1122, 4.2.3.6) or probes of
    /// a closed window (RFC 9293, 3.8.6.1).
    Unanswered {
        /// The number of consecutive unanswered probes.
        probes: u32,
        /// How long ago anything was received from the peer.
        heard: Duration,
        /// The minimum time for which the oldest of them has waited, as far as the kernel can tell.
        waited: Duration,
    },
}

/// The earliest known time from which data or a probe has waited for the peer, with nothing received
/// since.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Awaited {
    since: Option<Moment>,
}

impl Awaited {
    /// Whether nothing is known to wait.
    pub(crate) fn is_nothing(self) -> bool {
        self.since.is_none()
    }

    /// Records a report of the kernel. Returns whether the peer is dead.
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
        // The data that waits now may be younger than the last input.
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

    /// Returns the time in seconds at which a peer is declared dead, if the kernel reports this at
    /// those times, or `None` if it never is.
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
            // Silence before the data was sent does not count.
            (&[(100, unacknowledged(60, 29))], None),
            (&[(100, unacknowledged(60, 30))], Some(100)),
            // The data of the first report still waits, and more time has passed.
            (
                &[
                    (100, unacknowledged(70, 12)),
                    (117, unacknowledged(87, 25)),
                    (118, unacknowledged(88, 25)),
                ],
                Some(118),
            ),
            // Input was received while older data waited.
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
            // An acknowledgement arrived in between: the time counts from the report that shows it.
            (&[(100, says(5)), (130, says(29)), (159, says(58))], None),
            (
                &[(100, says(5)), (130, says(29)), (160, says(59))],
                Some(160),
            ),
            // Everything was acknowledged in between.
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
            // Keepalive probes.
            (
                &[(180, unanswered(2, 79, 79)), (181, unanswered(3, 80, 80))][..],
                Some(181),
            ),
            // The first probes of a closed window follow each other quickly.
            (
                &[(101, unanswered(3, 1, 0)), (130, unanswered(7, 30, 0))],
                None,
            ),
            (
                &[(101, unanswered(3, 1, 0)), (131, unanswered(7, 31, 0))],
                Some(131),
            ),
            // So do probes that are sent while there is no carrier, after a silence of any length.
            (
                &[(101, unanswered(3, 900, 0)), (130, unacknowledged(929, 3))],
                None,
            ),
            (
                &[(101, unanswered(3, 900, 0)), (131, unacknowledged(930, 3))],
                Some(131),
            ),
            // A single lost probe is not enough, and the peer answers each time.
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
