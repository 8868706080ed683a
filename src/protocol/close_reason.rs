//! Why a connection ends: [`CloseReason`] is the word in the log, the counter in the metrics and
//! the goodbye text in one, so that what the operator reads and what the client is told cannot
//! drift apart.

use std::fmt;

/// Why a connection ends. [`Display`](fmt::Display) is the word for the log and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client sent FIN: it has said all that it wanted to say.
    HungUp,
    /// The connection broke: reset by the peer, timed out, or refused by the poll loop.
    Broken,
    /// More was queued for the client than `max_pending_bytes`, and it could not be left out.
    TooSlow,
    /// The client took nothing of what is queued for it for `stall_timeout`.
    Stalled,
    /// The client held up the room for `stall_timeout`, where [`Lag::Wait`](crate::Lag) lets it.
    HeldUp,
    /// More was queued for all clients than `max_pending_total_bytes`, and most for this one.
    OutOfMemory,
    /// The client did not come up with a nick that could be accepted.
    NoNick,
    /// The client did not come up with the password of the room.
    WrongPassword,
    /// The client had no nick after `login_timeout`.
    LoginTimeout,
    /// The member sent nothing for `idle_timeout`.
    Idle,
    /// The client speaks TLS, HTTP or SSH.
    OtherProtocol,
    /// There were `max_clients` clients already, or no free descriptors.
    ServerFull,
    /// There were `max_clients_per_ip` clients from that address already.
    AddressFull,
    /// The member asked for it.
    Quit,
    /// An operator closed the member.
    Kicked,
    /// An operator banned the name or the address of the client.
    Banned,
    /// The client came from an address that was banned.
    AddressBanned,
    /// The server is shutting down.
    Shutdown,
}

impl CloseReason {
    /// Every reason, in the order of declaration, which is also that of the counters.
    pub const ALL: [Self; 18] = [
        Self::HungUp,
        Self::Broken,
        Self::TooSlow,
        Self::Stalled,
        Self::HeldUp,
        Self::OutOfMemory,
        Self::NoNick,
        Self::WrongPassword,
        Self::LoginTimeout,
        Self::Idle,
        Self::OtherProtocol,
        Self::ServerFull,
        Self::AddressFull,
        Self::Quit,
        Self::Kicked,
        Self::Banned,
        Self::AddressBanned,
        Self::Shutdown,
    ];

    /// The last notice for the client, without the `* ` before it; `None` where it hears nothing
    /// more or was told already.
    pub(crate) fn goodbye(self) -> Option<&'static str> {
        Some(match self {
            Self::HungUp | Self::Broken => return None,
            Self::NoNick | Self::WrongPassword | Self::Kicked => return None,
            Self::TooSlow => "you are reading too slowly, goodbye",
            Self::Stalled => "you have read nothing for too long, goodbye",
            Self::HeldUp => "you have held up the room for too long, goodbye",
            Self::OutOfMemory => "server is short of memory and you are furthest behind, goodbye",
            Self::LoginTimeout => "no nick came in time, goodbye",
            Self::Quit => "goodbye",
            Self::Banned => "you are banned from this room, goodbye",
            Self::AddressBanned => "your address is banned from this server",
            Self::Idle => "you have been silent for too long, goodbye",
            Self::OtherProtocol => "this is a chat server for telnet, goodbye",
            Self::ServerFull => "server is full, try again later",
            Self::AddressFull => "too many connections from your address, try again later",
            Self::Shutdown => "server is shutting down",
        })
    }

    /// Whether the client is so far behind that its queue is not worth writing.
    pub(crate) fn cuts_queue(self) -> bool {
        matches!(
            self,
            Self::TooSlow | Self::Stalled | Self::HeldUp | Self::OutOfMemory
        )
    }

    /// Whether the client was never let in.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::ServerFull | Self::AddressFull | Self::AddressBanned
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
            Self::Idle => "idle",
            Self::OtherProtocol => "other protocol",
            Self::ServerFull => "server is full",
            Self::AddressFull => "too many from one address",
            Self::Quit => "quit",
            Self::Kicked => "kicked",
            Self::Banned => "banned",
            Self::AddressBanned => "address is banned",
            Self::Shutdown => "server is shutting down",
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
