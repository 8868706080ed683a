//! What happens, for anybody who wants to know: one [`Event`] for each thing, handed to one
//! [`Observer`]. The log is an observer, and so are the journal of the tests and whatever a program
//! puts beside them; nothing else looks into the engine.
//!
//! Events are borrowed and never allocated. Where nobody listens none is built: see
//! [`Observer::listens`].

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::client_id::ClientId;
use crate::metrics::{Metrics, RelayState};
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;

/// What a client had sent when it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing at all.
    Nothing,
    /// Nothing since it asked whether the server is there (telnet's AYT), as a probe does.
    OnlyQuestions,
    /// A request, a part of one or nothing, on a listener for HTTP. Whether it was a request is told by the
    /// reason, [`CloseReason::Answered`].
    Http,
    /// Something else.
    Something,
}

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    // Connections.
    /// A client has connected, or a dialed connection was begun.
    Connected {
        /// The new client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
        /// The [listener](crate::Entrance::listener) through which it came.
        listener: Option<u16>,
    },
    /// A connection was refused: its peer was told why, and it never had a number.
    Refused {
        /// Its other end.
        peer: Peer,
        /// The [listener](crate::Entrance::listener) through which it came.
        listener: Option<u16>,
        /// Why.
        reason: CloseReason,
    },
    /// A proxy has given the address of its client.
    Proxied {
        /// The client, from here on the other end of the connection.
        peer: Peer,
        /// The proxy.
        proxy: Peer,
        /// The [listener](crate::Entrance::listener) through which it came.
        listener: Option<u16>,
    },
    /// A connection was dropped because the poll loop could not watch it.
    Unregistrable {
        /// Its other end.
        peer: Peer,
        /// The [listener](crate::Entrance::listener) through which it came.
        listener: Option<u16>,
        /// What the poll loop said.
        error: &'a io::Error,
    },
    /// An operation on a client's stream failed. It leaves for this, at once or when what it sent
    /// before has been read.
    StreamFailed {
        /// The client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
        /// Only the write half is known to be broken.
        is_write: bool,
        /// What the system said.
        error: &'a io::Error,
    },
    /// A client's handshake has failed. It leaves for this.
    HandshakeFailed {
        /// The client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
        /// What is wrong with it.
        error: &'a io::Error,
    },
    /// A client's first bytes are those of another protocol. It is closed for this reason.
    OtherProtocol {
        /// The client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
        /// The name of the protocol.
        protocol: &'static str,
    },
    /// A client leaves, for exactly one reason: nothing more is read from it as a client.
    Left {
        /// The client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
        /// Its nick, if it was a member.
        nick: Option<&'a str>,
        /// What it had sent.
        heard: Heard,
        /// Why.
        reason: CloseReason,
    },
    /// A client's connection is closed and its number is free.
    Freed {
        /// The number.
        id: ClientId,
    },

    // Members.
    /// A client has a nick and is a member.
    Joined {
        /// The new member.
        id: ClientId,
        /// Its other end.
        peer: Peer,
        /// Its nick.
        nick: &'a str,
    },
    /// A member has another nick.
    Renamed {
        /// The member.
        id: ClientId,
        /// The nick before.
        old: &'a str,
        /// The nick now.
        new: &'a str,
    },
    /// A member said a line to everybody.
    Said {
        /// The member.
        id: ClientId,
        /// Its nick.
        nick: &'a str,
        /// What it said, clean.
        text: &'a str,
        /// The line as others see it, without its end.
        line: &'a [u8],
        /// Whether the member had said more than anybody can read.
        is_bulk: bool,
    },
    /// A member did something (`/me`).
    Acted {
        /// The member.
        id: ClientId,
        /// Its nick.
        nick: &'a str,
        /// What it did, clean.
        text: &'a str,
        /// The line as people see it, without its end.
        line: &'a [u8],
        /// Whether the member had said more than anybody can read.
        is_bulk: bool,
    },
    /// The server said something to all people at a prompt: who came, has another nick or went, with last
    /// words or without; an announcement.
    Noticed {
        /// The line, without its end.
        line: &'a [u8],
    },
    /// A member told another something in private. The words are nobody else's.
    Whispered {
        /// The sender.
        from: ClientId,
        /// The receiver.
        to: ClientId,
    },

    // Single clients.
    /// The server said something to one client that is worth a line of a verbose log.
    Replied {
        /// The client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
        /// The line, without its end.
        line: &'a [u8],
    },
    /// A telnet command of a client was answered.
    Negotiated {
        /// The client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
        /// The answer: IAC, a verb, an option.
        answer: [u8; 3],
    },
    /// A client was told how many lines it did not get.
    Skipped {
        /// The client.
        id: ClientId,
        /// How many.
        lines: u64,
    },
    /// A client has taken nothing of what is queued for it for a second.
    Stalled {
        /// The client.
        id: ClientId,
    },

    // The transcript.
    /// The transcript is written from now on.
    TranscriptBegun {
        /// The client that stands for it.
        id: ClientId,
        /// How many lines were said that no transcript has.
        lost_lines: u64,
    },
    /// The transcript is not written any more.
    TranscriptEnded {
        /// Why.
        reason: CloseReason,
        /// How many lines were queued for it. Further ones are lost until it is written again.
        lost_lines: u64,
    },

    // Other servers.
    /// The engine that joins this server and others can be used.
    EngineOpen {
        /// Where it is.
        peer: Peer,
    },
    /// The server of the engine that this server is connected to says that it is about to end.
    EngineLeaves,
    /// The connection to it has ended, or was not made. Another one follows.
    EngineLost {
        /// Where it is.
        peer: Peer,
        /// Why.
        reason: CloseReason,
        /// What is wrong with the engine, and what to do, if that is known.
        error: Option<&'a str>,
    },
    /// The engine refuses a publication or a subscription.
    EngineForbids {
        /// Its words.
        words: &'a [u8],
    },
    /// How this server stands to the others has changed.
    RelayChanged {
        /// How it stands now.
        state: RelayState,
    },

    // Rights.
    /// A client knew the password of the room.
    Authenticated {
        /// The client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
    },
    /// A client sent a wrong password, for the room or for operators.
    WrongPassword {
        /// The client.
        id: ClientId,
        /// Its other end.
        peer: Peer,
    },
    /// A member became an operator.
    OperatorMade {
        /// The member.
        id: ClientId,
        /// Its nick.
        nick: &'a str,
    },
    /// An operator gave a command that only operators have.
    OperatorCommand {
        /// The operator.
        id: ClientId,
        /// Its nick.
        nick: &'a str,
        /// The command, as it was typed, clean.
        command: &'a str,
    },

    // The server.
    /// Everybody on this machine can read a file with a password or a private key.
    SecretExposed {
        /// The file.
        path: &'a Path,
    },
    /// Users other than its owner can write a file with a password or a private key, and so choose it.
    SecretWritable {
        /// The file.
        path: &'a Path,
    },
    /// The certificate of listeners for TLS ends soon, or has ended.
    CertificateEnds {
        /// The file.
        path: &'a Path,
        /// How many days are left; 0 if it has ended.
        days: u64,
    },
    /// The key of listeners for TLS is one of RSA, so handshakes take long.
    RsaKey {
        /// The file.
        path: &'a Path,
    },
    /// The greeting contains escape sequences, such as colours, which are dropped.
    EscapesLeftOut {
        /// The file.
        path: &'a Path,
    },
    /// accept(2) failed for want of something, and is tried again later.
    AcceptFailed {
        /// What the system said.
        error: &'a io::Error,
        /// What the operator can do.
        hint: &'static str,
    },
    /// A connection that was to be dialed could not even be begun.
    DialFailed {
        /// Where to.
        peer: Peer,
        /// What the system said.
        error: &'a io::Error,
    },
    /// One of several addresses was not available, and the server runs without it: a host name has
    /// other addresses, or this machine lacks the address family.
    ListenFailed {
        /// Which, and what to do.
        error: &'a io::Error,
    },
    /// The system does not support a socket option, and the server runs without it.
    OptionUnsupported {
        /// The name of the option.
        option: &'static str,
        /// What is lost without it.
        loss: &'static str,
        /// The error that the system returned.
        error: &'a io::Error,
    },
    /// A listener shows the metrics to other machines.
    MetricsExposed {
        /// Where it listens.
        addr: SocketAddr,
    },
    /// The kernel does not report the state of connections (netlink's sock_diag). Peers that vanish are
    /// detected by TCP alone.
    LivenessRefused {
        /// The error that the kernel returned.
        error: &'a io::Error,
    },
    /// The server is about to serve.
    Capacity {
        /// How many clients the limit of open files allows.
        max_clients: usize,
        /// How many were asked for.
        asked: Option<usize>,
        /// The limit of open files.
        open_files: u64,
    },
    /// A turn began late, because the process was stopped or the machine was suspended. Time-outs come
    /// later by as much.
    Late {
        /// How late.
        by: Duration,
    },
    /// A report was asked for (SIGUSR1).
    Report {
        /// Everything that is counted.
        metrics: &'a Metrics,
    },
    /// SIGHUP was received, and does not mean that the terminal was closed: [`Reloaded`](Self::Reloaded) or
    /// [`NothingToReload`](Self::NothingToReload) follows.
    Reloading,
    /// The files were read again (SIGHUP), or could not be.
    Reloaded {
        /// Which file, and what to do; then everything stays what it was.
        error: Option<&'a io::Error>,
    },
    /// SIGHUP was received, and there is no file to read again.
    NothingToReload,
    /// The server has begun to shut down.
    ShuttingDown,
    /// The server has shut down.
    Stopped {
        /// Everything that was counted.
        metrics: &'a Metrics,
    },
}

/// Is told what happens. Two observers are a tuple; `()` is none.
///
/// ```
/// use line_chat::{Event, Observer};
/// use std::time::Instant;
///
/// /// Counts the lines that members said.
/// #[derive(Default)]
/// struct Lines(u64);
///
/// impl Observer for Lines {
///     fn on_event(&mut self, _: Instant, event: Event<'_>) {
///         self.0 += u64::from(matches!(event, Event::Said { .. }));
///     }
/// }
/// # let mut lines = Lines::default();
/// # lines.on_event(Instant::now(), Event::ShuttingDown);
/// # assert_eq!(lines.0, 0);
/// ```
pub trait Observer {
    /// Something happened, in the turn that began at `now`.
    fn on_event(&mut self, now: Instant, event: Event<'_>);

    /// Whether it wants to be told at all. Where this is false no event is built.
    fn listens(&self) -> bool {
        true
    }
}

impl Observer for () {
    fn on_event(&mut self, _: Instant, _: Event<'_>) {}

    fn listens(&self) -> bool {
        false
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_event(&mut self, now: Instant, event: Event<'_>) {
        if self.0.listens() {
            self.0.on_event(now, event);
        }
        if self.1.listens() {
            self.1.on_event(now, event);
        }
    }

    fn listens(&self) -> bool {
        self.0.listens() || self.1.listens()
    }
}

impl<O: Observer + ?Sized> Observer for &mut O {
    fn on_event(&mut self, now: Instant, event: Event<'_>) {
        (**self).on_event(now, event);
    }

    fn listens(&self) -> bool {
        (**self).listens()
    }
}

impl<O: Observer + ?Sized> Observer for Box<O> {
    fn on_event(&mut self, now: Instant, event: Event<'_>) {
        (**self).on_event(now, event);
    }

    fn listens(&self) -> bool {
        (**self).listens()
    }
}
