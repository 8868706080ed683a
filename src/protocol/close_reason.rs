//! Why a connection ends: each [`CloseReason`] has its word in the log, its counter in the metrics and
//! its goodbye, so the operator and the client cannot be told different things.

use std::fmt;

use crate::peer::Peer;

/// Why a connection ends. [`Display`](fmt::Display) is the word for the log and the metrics.
///
/// ```
/// use line_chat::CloseReason;
///
/// assert_eq!(CloseReason::TooSlow.to_string(), "too slow");
/// let refusals = CloseReason::ALL.into_iter().filter(|reason| reason.is_refusal());
/// assert_eq!(refusals.count(), 6);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed its sending half (FIN): it has sent everything.
    HungUp,
    /// The connection broke: reset by the peer, timed out, refused by the poll loop, or the peer
    /// vanished.
    Broken,
    /// The client's queue passed `max_pending_bytes`, and the lines could not be left out.
    TooSlow,
    /// The client took nothing of what is queued for it for `stall_timeout`.
    Stalled,
    /// The client held up the room for `stall_timeout`, with [`Lag::Wait`](crate::Lag::Wait).
    HeldUp,
    /// The buffers of all clients passed `max_pending_total_bytes`, and this one held most.
    OutOfMemory,
    /// No line of the client was an acceptable nick.
    NoNick,
    /// No line of the client was the password of the room.
    WrongPassword,
    /// The client had no nick after `login_timeout`.
    LoginTimeout,
    /// A connection for HTTP had sent no whole request after five seconds.
    RequestTimeout,
    /// The client's handshake was not over in time (TLS).
    HandshakeTimeout,
    /// The client's handshake failed (TLS).
    HandshakeFailed,
    /// The member sent nothing for `idle_timeout`.
    Idle,
    /// The client speaks another protocol, such as TLS, HTTP or IRC.
    OtherProtocol,
    /// There were `max_clients` clients already, or no free descriptor.
    ServerFull,
    /// There were `max_clients_per_ip` clients from that address already.
    AddressFull,
    /// More than `connects_per_second` connections came from that address.
    AddressTooFast,
    /// A connection on a listener for proxies came from an address that is none of theirs.
    UntrustedProxy,
    /// A connection on a listener for proxies did not begin with a header of the PROXY protocol.
    NoProxyHeader,
    /// The client had no nick, and another one needed its place.
    MadeRoom,
    /// The client gave the command `/quit`.
    Quit,
    /// The member came back over another connection, with a token of `/claim`.
    Claimed,
    /// An operator closed the member.
    Kicked,
    /// An operator banned the name or the address of the client.
    Banned,
    /// The client came from an address that was banned.
    AddressBanned,
    /// The server is shutting down.
    Shutdown,
    /// The HTTP request was answered.
    Answered,
    /// The server dialed a peer and could not connect to it.
    Unreachable,
    /// The engine that joins several servers does not take this one, or says what no engine does.
    EngineRefused,
    /// A server of that engine is about to end.
    EngineLeaves,
    /// Somebody on another server of the room has the member's nick.
    NickLost,
}

impl CloseReason {
    /// Every reason, in the order of declaration, which is also the order of the counters.
    pub const ALL: [Self; 31] = [
        Self::HungUp,
        Self::Broken,
        Self::TooSlow,
        Self::Stalled,
        Self::HeldUp,
        Self::OutOfMemory,
        Self::NoNick,
        Self::WrongPassword,
        Self::LoginTimeout,
        Self::RequestTimeout,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::Idle,
        Self::OtherProtocol,
        Self::ServerFull,
        Self::AddressFull,
        Self::AddressTooFast,
        Self::UntrustedProxy,
        Self::NoProxyHeader,
        Self::MadeRoom,
        Self::Quit,
        Self::Claimed,
        Self::Kicked,
        Self::Banned,
        Self::AddressBanned,
        Self::Shutdown,
        Self::Answered,
        Self::Unreachable,
        Self::EngineRefused,
        Self::EngineLeaves,
        Self::NickLost,
    ];

    /// The last notice for the client, without the `* ` before it. `None` if nothing can reach it any
    /// more, or if it was told already.
    pub(crate) fn goodbye(self) -> Option<&'static str> {
        Some(match self {
            Self::HungUp | Self::Broken | Self::Unreachable => return None,
            Self::EngineRefused | Self::EngineLeaves => return None,
            Self::Answered | Self::HandshakeTimeout | Self::HandshakeFailed => return None,
            Self::NoNick | Self::WrongPassword | Self::Kicked => return None,
            Self::OtherProtocol | Self::RequestTimeout => return None,
            Self::TooSlow => "you are reading too slowly, goodbye",
            Self::Stalled => "you have read nothing for too long, goodbye",
            Self::HeldUp => "you have held up the room for too long, goodbye",
            Self::OutOfMemory => "server is short of memory and you are furthest behind, goodbye",
            Self::LoginTimeout => "no nick came in time, goodbye",
            Self::Quit => "goodbye",
            Self::Claimed => "you are back over another connection, so this one ends",
            Self::Banned => "you are banned from this room, goodbye",
            Self::AddressBanned => "your address is banned from this server",
            Self::Idle => "you have been silent for too long, goodbye",
            Self::ServerFull => "server is full, try again later",
            Self::AddressFull => "too many connections from your address, try again later",
            Self::AddressTooFast => {
                "too many new connections from your address, try again in a moment"
            }
            Self::UntrustedProxy => "this port is only for proxies that the server trusts",
            Self::NoProxyHeader => "this port is only for proxies that send the PROXY header",
            Self::MadeRoom => "server is full and you have given no nick, goodbye",
            Self::Shutdown => "server is shutting down",
            Self::NickLost => "somebody on another server has your nick, goodbye",
        })
    }

    /// The last notice for a client that is not let in.
    pub(crate) fn goodbye_to(self, peer: &Peer) -> Option<&'static str> {
        match (self, peer) {
            (Self::AddressBanned, Peer::Local { .. }) => {
                Some("your user is banned from this server")
            }
            (Self::AddressFull, Peer::Local { .. }) => {
                Some("too many connections from your user, try again later")
            }
            (Self::AddressTooFast, Peer::Local { .. }) => {
                Some("too many new connections from your user, try again in a moment")
            }
            _ => self.goodbye(),
        }
    }

    /// Whether the client is so far behind, or lost, that its queue is not worth writing.
    pub(crate) fn cuts_queue(self) -> bool {
        matches!(
            self,
            Self::TooSlow | Self::Stalled | Self::HeldUp | Self::OutOfMemory | Self::Claimed
        )
    }

    /// Whether a person whose connection ends so may have lost it.
    pub(crate) fn may_be_lost(self) -> bool {
        matches!(
            self,
            Self::HungUp
                | Self::Broken
                | Self::TooSlow
                | Self::Stalled
                | Self::HeldUp
                | Self::OutOfMemory
                | Self::Idle
                | Self::Claimed
        )
    }

    /// Whether the client was never let in.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::ServerFull
                | Self::AddressFull
                | Self::AddressTooFast
                | Self::UntrustedProxy
                | Self::NoProxyHeader
                | Self::AddressBanned
        )
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::HungUp => "hung up",
            Self::Broken => "connection broken",
            Self::TooSlow => "too slow",
            Self::Stalled => "stalled",
            Self::HeldUp => "held up the room",
            Self::OutOfMemory => "longest queue of too many",
            Self::NoNick => "no acceptable nick",
            Self::WrongPassword => "wrong password",
            Self::LoginTimeout => "no nick in time",
            Self::RequestTimeout => "no request in time",
            Self::HandshakeTimeout => "no handshake in time",
            Self::HandshakeFailed => "handshake failed",
            Self::Idle => "idle",
            Self::OtherProtocol => "other protocol",
            Self::ServerFull => "server is full",
            Self::AddressFull => "too many from one address",
            Self::AddressTooFast => "too many new ones from one address",
            Self::UntrustedProxy => "untrusted proxy",
            Self::NoProxyHeader => "no PROXY header",
            Self::MadeRoom => "made room",
            Self::Quit => "quit",
            Self::Claimed => "claimed",
            Self::Kicked => "kicked",
            Self::Banned => "banned",
            Self::AddressBanned => "address is banned",
            Self::Shutdown => "server is shutting down",
            Self::Answered => "answered",
            Self::Unreachable => "unreachable",
            Self::EngineRefused => "engine refused",
            Self::EngineLeaves => "engine is shutting down",
            Self::NickLost => "nick lost",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_listed_once_at_its_own_place() {
        for (place, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{reason}");
        }
        let words: std::collections::BTreeSet<String> =
            CloseReason::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(words.len(), CloseReason::ALL.len(), "a word for each");
    }
}
