//! The end of a connection: [`Closing`] goes in steps, so that last words arrive. A close with unread
//! input sends RST, and the peer would lose what it has not read yet (RFC 1122, 4.2.2.13).
//!
//! | [`Closing`] | flushed | shutdown done | shutdown blocks | end of stream, or too much input | its time is up |
//! |---|---|---|---|---|---|
//! | `Draining` | shut down | `Lingering`, or `Done` if the peer has ended already | stays | not read | `Done` |
//! | `Lingering` | - | - | - | `Done` | `Done` |
//! | `Done` | - | - | - | - | freed at the end of the turn |

use std::time::Duration;

use crate::config::Limits;
use crate::conn::timeouts::Timeout;
use crate::protocol::close_reason::CloseReason;
use crate::session::{Flow, Step};
use crate::time::moment::Moment;

/// How long a client that has hung up may take to read the rest where it may stall for ever.
const HUNG_UP_TIMEOUT: Duration = Duration::from_secs(300);

/// How far a closing connection has got.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Closing {
    /// What is queued and owed is written. Nothing is read.
    Draining { reason: CloseReason, since: Moment },
    /// All is written and our half is shut down. Input is thrown away until the peer closes as well.
    Lingering {
        reason: CloseReason,
        since: Moment,
        discarded_bytes: usize,
    },
    /// To be freed at the end of the turn.
    Done { reason: CloseReason },
}

impl Closing {
    /// Throws input away, until it has been too much.
    pub(super) fn on_input(&mut self, input: &[u8], most: usize) -> Step {
        let flow = match self {
            Self::Lingering {
                discarded_bytes, ..
            } => {
                *discarded_bytes = discarded_bytes.saturating_add(input.len());
                match *discarded_bytes > most {
                    true => Flow::Drop,
                    false => Flow::Starved,
                }
            }
            Self::Draining { .. } | Self::Done { .. } => Flow::Starved,
        };
        Step::new(input.len(), flow)
    }

    /// Why the connection ends.
    pub(crate) fn reason(&self) -> CloseReason {
        match *self {
            Self::Draining { reason, .. }
            | Self::Lingering { reason, .. }
            | Self::Done { reason } => reason,
        }
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self, Self::Lingering { .. })
    }

    /// Every phase has an end. A client that has hung up and still reads has not run out of time as
    /// soon as one that was told to go.
    pub(super) fn timeout(&self, limits: &Limits) -> Option<(Moment, Timeout)> {
        let (since, patience) = match *self {
            Self::Draining {
                reason: CloseReason::HungUp,
                since,
            } => (since, limits.stall_patience().unwrap_or(HUNG_UP_TIMEOUT)),
            Self::Draining { since, .. } => (since, limits.goodbye_timeout),
            Self::Lingering { since, .. } => (since, limits.linger_timeout),
            Self::Done { .. } => return None,
        };
        Some((since + patience, Timeout::Drop))
    }
}
