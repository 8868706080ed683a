//! Lines of the log about connections. [`Listeners`] knows what each line names: the number of the client
//! and the listener through which it came, `client 3 on 127.0.0.1:6142`. For logs that are read by machines
//! both are keys, `client` and `listener`. The engine names the listener only when a client connects, so it
//! is remembered here, in four bytes for each number of a client.
//!
//! [`Throttled`] is a kind of event that a peer can cause at will. It has the words for one event and the
//! words for a number of them; when which of them is written, and at which level, is the same for all.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use log::{Level, log, log_enabled};

use crate::client_id::ClientId;
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::server::log::{AUTH, CONNECTIONS, MEMBERS, SERVER};
use crate::time::log_throttle::{Counted, LogThrottle};

/// Writes a line, with the number of a client and the name of a listener if it is about one.
pub(super) fn write_about(
    level: Level,
    target: &str,
    client: Option<usize>,
    on: &On,
    text: fmt::Arguments<'_>,
) {
    match (client, on.name()) {
        (Some(client), Some(listener)) => {
            log!(target: target, level, client, listener; "{text}");
        }
        (Some(client), None) => log!(target: target, level, client; "{text}"),
        (None, Some(listener)) => log!(target: target, level, listener; "{text}"),
        (None, None) => log!(target: target, level, "{text}"),
    }
}

/// The listeners, and which client came through which.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    names: Vec<Arc<str>>,
    /// By the numbers of clients.
    of_clients: Vec<Option<u16>>,
}

impl Listeners {
    /// Listeners with these names, in their order.
    pub(super) fn named(names: impl Iterator<Item = String>) -> Self {
        Self {
            names: names.map(Arc::from).collect(),
            of_clients: Vec::new(),
        }
    }

    /// A client has come through this listener.
    pub(super) fn remember(&mut self, id: ClientId, listener: Option<u16>) {
        let index = id.index();
        if self.of_clients.len() <= index {
            self.of_clients.resize(index.saturating_add(1), None);
        }
        if let Some(of_client) = self.of_clients.get_mut(index) {
            *of_client = listener;
        }
    }

    pub(super) fn client(&self, id: ClientId) -> Client {
        let listener = self.of_clients.get(id.index()).copied().flatten();
        Client {
            id: id.index(),
            on: self.on(listener),
        }
    }

    pub(super) fn on(&self, listener: Option<u16>) -> On {
        On(listener.and_then(|it| self.names.get(usize::from(it)).cloned()))
    }
}

/// A client and its listener, shown as `client 3 on 127.0.0.1:6142`.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: usize,
    pub(super) on: On,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}{}", self.id, self.on)
    }
}

/// The listener of a connection, shown as ` on 127.0.0.1:6142`; none for a connection that was dialed.
#[derive(Debug)]
pub(super) struct On(Option<Arc<str>>);

impl On {
    const NONE: Self = Self(None);

    fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, " on {name}"),
            None => Ok(()),
        }
    }
}

/// A kind of event that a peer can cause again and again.
pub(super) trait Throttled {
    const TARGET: &'static str;
    const LEVEL: Level = Level::Info;

    /// Whether a log at level debug has a line for each event.
    const IS_KEPT: bool = true;

    /// The client that caused it, if it was one.
    fn client(&self) -> Option<&Client> {
        None
    }

    /// The listener of the connection.
    fn on(&self) -> &On {
        self.client().map_or(&On::NONE, |client| &client.on)
    }

    /// The words for this event alone.
    fn one(&self) -> String;

    /// The words for this many events, of which this is the last.
    fn many(&self, times: u64) -> String;
}

/// A kind of event that has a number of lines in ten seconds.
pub(super) trait Throttle<T> {
    fn log(&mut self, now: Instant, event: T);
    fn log_due(&mut self, now: Instant);
    fn log_rest(&mut self);
}

impl<T: Throttled> Throttle<T> for LogThrottle<T> {
    fn log(&mut self, now: Instant, event: T) {
        match self.count(event, now) {
            Counted::Line(times, event) => write(T::LEVEL, times, &event),
            Counted::Kept(event) if T::IS_KEPT => write(Level::Debug, 1, event),
            Counted::Kept(_) => {}
        }
    }

    fn log_due(&mut self, now: Instant) {
        if let Some((times, event)) = self.take_due(now) {
            write(T::LEVEL, times, &event);
        }
    }

    fn log_rest(&mut self) {
        if let Some((times, event)) = self.take_all() {
            write(T::LEVEL, times, &event);
        }
    }
}

/// Writes one line for this many events, of which this is the last.
fn write<T: Throttled>(level: Level, times: u64, event: &T) {
    if !log_enabled!(target: T::TARGET, level) {
        return;
    }
    match times {
        1 => {
            let client = event.client().map(|client| client.id);
            write_about(
                level,
                T::TARGET,
                client,
                event.on(),
                format_args!("{}", event.one()),
            );
        }
        // They need not have come through one listener.
        n => log!(target: T::TARGET, level, "{}", event.many(n)),
    }
}

/// A member joined.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) client: Client,
    pub(super) nick: String,
    pub(super) peer: Peer,
}

impl Throttled for Joined {
    const TARGET: &'static str = MEMBERS;

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn one(&self) -> String {
        let Self { client, nick, peer } = self;
        format!("{nick} joined from {peer} as {client}")
    }

    fn many(&self, n: u64) -> String {
        let Self { client, nick, peer } = self;
        format!(
            "{n} members joined, the last {nick} from {peer}{}",
            client.on
        )
    }
}

/// A member left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) client: Client,
    pub(super) nick: String,
    pub(super) reason: CloseReason,
}

impl Throttled for Left {
    const TARGET: &'static str = MEMBERS;

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn one(&self) -> String {
        let Self {
            client,
            nick,
            reason,
        } = self;
        format!("{nick} left: {reason} ({client})")
    }

    fn many(&self, n: u64) -> String {
        let Self {
            client,
            nick,
            reason,
        } = self;
        format!("{n} members left, the last {nick}{}: {reason}", client.on)
    }
}

/// A member took another nick.
#[derive(Debug)]
pub(super) struct Renamed {
    pub(super) client: Client,
    pub(super) old: String,
    pub(super) new: String,
}

impl Throttled for Renamed {
    const TARGET: &'static str = MEMBERS;

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn one(&self) -> String {
        let Self { client, old, new } = self;
        format!("{old} is now {new} ({client})")
    }

    fn many(&self, n: u64) -> String {
        let Self { client, old, new } = self;
        format!("{n} renames, the last: {old} is now {new}{}", client.on)
    }
}

/// A member knew the password of operators.
#[derive(Debug)]
pub(super) struct OperatorMade {
    pub(super) client: Client,
    pub(super) nick: String,
}

impl Throttled for OperatorMade {
    const TARGET: &'static str = AUTH;

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn one(&self) -> String {
        let Self { client, nick } = self;
        format!("{nick} is an operator now ({client})")
    }

    fn many(&self, n: u64) -> String {
        let Self { client, nick } = self;
        format!(
            "{n} times the password of operators, the last from {nick}{}",
            client.on
        )
    }
}

/// An operator gave a command.
#[derive(Debug)]
pub(super) struct OperatorCommand {
    pub(super) client: Client,
    pub(super) nick: String,
    pub(super) command: String,
}

impl Throttled for OperatorCommand {
    const TARGET: &'static str = AUTH;

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn one(&self) -> String {
        let Self {
            client,
            nick,
            command,
        } = self;
        format!("{nick} ({client}) as an operator: {command}")
    }

    fn many(&self, n: u64) -> String {
        let Self {
            client,
            nick,
            command,
        } = self;
        format!(
            "{n} commands of operators, the last of {nick}{}: {command}",
            client.on
        )
    }
}

/// A connection was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) peer: Peer,
    pub(super) on: On,
    pub(super) reason: CloseReason,
}

impl Throttled for Refusal {
    const TARGET: &'static str = CONNECTIONS;

    fn on(&self) -> &On {
        &self.on
    }

    fn one(&self) -> String {
        let Self { peer, on, reason } = self;
        format!("refused {peer}{on}: {reason}")
    }

    fn many(&self, n: u64) -> String {
        let Self { peer, on, reason } = self;
        format!("refused {n} connections, the last {peer}{on}: {reason}")
    }
}

/// The poll loop could not watch a connection.
#[derive(Debug)]
pub(super) struct Unregistrable {
    pub(super) peer: Peer,
    pub(super) on: On,
    pub(super) error: String,
}

impl Throttled for Unregistrable {
    const TARGET: &'static str = CONNECTIONS;
    const LEVEL: Level = Level::Warn;

    fn on(&self) -> &On {
        &self.on
    }

    fn one(&self) -> String {
        let Self { peer, on, error } = self;
        format!("refused {peer}{on}: {error}")
    }

    fn many(&self, n: u64) -> String {
        let Self { peer, on, error } = self;
        format!("refused {n} connections, the last {peer}{on}: {error}")
    }
}

/// A client's handshake has failed.
#[derive(Debug)]
pub(super) struct FailedHandshake {
    pub(super) client: Client,
    pub(super) peer: Peer,
    pub(super) error: String,
}

impl Throttled for FailedHandshake {
    const TARGET: &'static str = CONNECTIONS;

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn one(&self) -> String {
        let Self {
            client,
            peer,
            error,
        } = self;
        format!("{peer} ({client}): handshake failed: {error}")
    }

    fn many(&self, n: u64) -> String {
        let Self { peer, error, .. } = self;
        format!("{n} handshakes failed, the last {peer}: {error}")
    }
}

/// A client speaks another protocol.
#[derive(Debug)]
pub(super) struct Stranger {
    pub(super) client: Client,
    pub(super) peer: Peer,
    pub(super) protocol: &'static str,
}

impl Throttled for Stranger {
    const TARGET: &'static str = CONNECTIONS;

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn one(&self) -> String {
        let Self {
            client,
            peer,
            protocol,
        } = self;
        format!("{peer} speaks {protocol} ({client})")
    }

    fn many(&self, n: u64) -> String {
        let Self {
            client,
            peer,
            protocol,
        } = self;
        let on = &client.on;
        format!("{n} clients speak other protocols, the last {peer}{on}: {protocol}")
    }
}

/// A client left that had no nick.
#[derive(Debug)]
pub(super) struct Nobody {
    pub(super) client: Client,
    pub(super) peer: Peer,
    pub(super) reason: CloseReason,
}

impl Nobody {
    /// Writes a line at level debug. `what` says what it did.
    pub(super) fn write(&self, what: &str) {
        let (id, on) = (Some(self.client.id), &self.client.on);
        write_about(
            Level::Debug,
            CONNECTIONS,
            id,
            on,
            format_args!("{}", self.one(what)),
        );
    }

    fn one(&self, what: &str) -> String {
        let Self {
            client,
            peer,
            reason,
        } = self;
        format!("{peer} {what}: {reason} ({client})")
    }

    fn many(&self, n: u64, what: &str) -> String {
        let Self {
            client,
            peer,
            reason,
        } = self;
        format!("{n} clients {what}, the last {peer}{}: {reason}", client.on)
    }
}

/// A client left without something that it should have sent.
#[derive(Debug)]
pub(super) struct LeftWithout {
    pub(super) nobody: Nobody,
    /// What it did, in words.
    pub(super) what: &'static str,
}

impl Throttled for LeftWithout {
    const TARGET: &'static str = CONNECTIONS;

    fn client(&self) -> Option<&Client> {
        Some(&self.nobody.client)
    }

    fn one(&self) -> String {
        self.nobody.one(self.what)
    }

    fn many(&self, n: u64) -> String {
        self.nobody.many(n, self.what)
    }
}

/// A client sent a wrong password.
#[derive(Debug)]
pub(super) struct WrongPassword {
    pub(super) client: Client,
    pub(super) peer: Peer,
}

impl Throttled for WrongPassword {
    const TARGET: &'static str = AUTH;
    const LEVEL: Level = Level::Warn;
    const IS_KEPT: bool = false;

    fn client(&self) -> Option<&Client> {
        Some(&self.client)
    }

    fn one(&self) -> String {
        let Self { client, peer } = self;
        format!("wrong password from {peer} ({client})")
    }

    fn many(&self, n: u64) -> String {
        let Self { client, peer } = self;
        format!("{n} wrong passwords, the last from {peer}{}", client.on)
    }
}

/// accept(2) failed.
#[derive(Debug)]
pub(super) struct AcceptFailure {
    pub(super) error: String,
    pub(super) hint: &'static str,
}

impl Throttled for AcceptFailure {
    const TARGET: &'static str = SERVER;
    const LEVEL: Level = Level::Warn;
    const IS_KEPT: bool = false;

    fn one(&self) -> String {
        let Self { error, hint } = self;
        format!("cannot accept connections: {error}; {hint}")
    }

    fn many(&self, n: u64) -> String {
        let Self { error, hint } = self;
        format!("cannot accept connections ({n} times): {error}; {hint}")
    }
}

/// A connection to the engine of the relay has ended, or was not made.
#[derive(Debug)]
pub(super) struct EngineLost {
    pub(super) peer: Peer,
    pub(super) why: String,
}

impl Throttled for EngineLost {
    const TARGET: &'static str = SERVER;
    const LEVEL: Level = Level::Warn;
    const IS_KEPT: bool = false;

    fn one(&self) -> String {
        let Self { peer, why } = self;
        format!("no connection to the engine of the relay at {peer}: {why}")
    }

    fn many(&self, n: u64) -> String {
        let Self { peer, why } = self;
        format!("no connection to the engine of the relay ({n} times), the last at {peer}: {why}")
    }
}
