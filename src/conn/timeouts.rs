//! What there is to do about a client although nothing happens, and when: [`Timeout`]. It follows from
//! the states of the client and is never kept, so a deadline that moves needs no bookkeeping.

use std::time::Duration;

use crate::config::Limits;
use crate::conn::stream::Stream;
use crate::conn::{Io, ReaderState};
use crate::protocol::close_reason::CloseReason;
use crate::time::moment::Moment;

/// A reader that has taken nothing of its queue for this long is stalled: nobody waits for it.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(1);

/// What there is to do about a client when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// It is told why, and closed.
    Close(CloseReason),
    /// It has had its time to take its last words, or to close its end.
    Drop,
    /// It counts as stalled from now on.
    Stalled,
    /// It may be read again.
    Wake,
    /// The system may have memory again for what could not be written.
    Retry,
}

impl Timeout {
    /// Whether what the client has sent already may be what is waited for.
    pub(crate) fn may_be_met_by_input(self) -> bool {
        use CloseReason::{LoginTimeout, RequestTimeout};
        matches!(self, Self::Close(LoginTimeout | RequestTimeout))
    }
}

impl<S: Stream> Io<S> {
    /// The end of the time in which it may take nothing, or may hold up the room.
    pub(crate) fn stall_timeout(&self, limits: &Limits) -> Option<(Moment, Timeout)> {
        let patience = limits.stall_patience()?;
        if let Some(since) = self.out.overflow().holds_up_since() {
            return Some((since + patience, Timeout::Close(CloseReason::HeldUp)));
        }
        if self.out.overflow().waits() {
            return None;
        }
        let since = self.out.blocked_since()?;
        Some((since + patience, Timeout::Close(CloseReason::Stalled)))
    }

    /// When writing is to be tried again although no event says so.
    pub(crate) fn retry_timeout(&self) -> Option<(Moment, Timeout)> {
        Some((self.out.retry_at()?, Timeout::Retry))
    }

    /// When a reader in this state begins to count as stalled.
    pub(crate) fn reader_timeout(&self, state: ReaderState) -> Option<(Moment, Timeout)> {
        match state {
            ReaderState::Current | ReaderState::Lagging => {
                let since = self.out.blocked_since()?;
                Some((since + STALLED_AFTER, Timeout::Stalled))
            }
            ReaderState::Stalled | ReaderState::HoldsUp => None,
        }
    }
}
