//! Why a connection ends: [`CloseReason`] is the word in the log and the goodbye text in one, so
//! that what the operator reads and what the client is told cannot drift apart.

use std::fmt;

/// Why a connection ends. [`Display`](fmt::Display) is the word for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client sent FIN: it has said all that it wanted to say.
    HungUp,
    /// The connection broke: reset by the peer, timed out, or refused by the poll loop.
    Broken,
    /// More was queued for the client than `max_pending_bytes`.
    TooSlow,
    /// The client did not come up with a nick that could be accepted.
    NoNick,
    /// The server is shutting down.
    Shutdown,
}

impl CloseReason {
    /// The last notice for the client, without the `* ` before it; `None` where it hears nothing
    /// more or was told already.
    pub(crate) fn goodbye(self) -> Option<&'static str> {
        match self {
            Self::HungUp | Self::Broken | Self::NoNick => None,
            Self::TooSlow => Some("you are reading too slowly, goodbye"),
            Self::Shutdown => Some("server is shutting down"),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HungUp => "hung up",
            Self::Broken => "connection broken",
            Self::TooSlow => "too slow",
            Self::NoNick => "no acceptable nick",
            Self::Shutdown => "server is shutting down",
        })
    }
}
