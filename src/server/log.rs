//! The log: [`Log`] is the observer that writes it, through the `log` crate. The target, the level and
//! the words of every line are decided here and nowhere else.
//!
//! | target | lines |
//! |---|---|
//! | `line_chat::connections` | clients that connect, are refused, or leave without a nick |
//! | `line_chat::members` | members that join, change their nick, or leave |
//! | `line_chat::lines` | what is said, to everybody or by the server to one client |
//! | `line_chat::readers` | readers that stall or miss lines |
//! | `line_chat::auth` | passwords and operators |
//! | `line_chat::server` | the server itself |
//!
//! Lines about one connection name the listener through which it came, and, once it is a client, its number:
//! `client 3 on 127.0.0.1:6142`. For logs that are read by machines both are keys, `client` and `listener`.
//! The engine tells of a listener only when a client connects; this log remembers it, in four bytes for each
//! number of a client.
//!
//! Every kind of event that a peer can cause at will is [`Throttled`]: above so many lines in ten seconds
//! they are counted, and one line tells how many. What members and operators do has [`MAX_LINES`], and
//! everything else a single line. So all that peers do is at most some 250 lines in ten seconds. A deadline
//! ensures that the end of a burst is logged even if no event follows it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use log::{Level, LevelFilter, debug, error, info, log, log_enabled, trace, warn};

use crate::client_id::ClientId;
use crate::events::{Event, Heard, Observer};
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::time::log_throttle::{Counted, LogThrottle};

const CONNECTIONS: &str = "line_chat::connections";
const MEMBERS: &str = "line_chat::members";
const LINES: &str = "line_chat::lines";
const READERS: &str = "line_chat::readers";
const AUTH: &str = "line_chat::auth";
const SERVER: &str = "line_chat::server";

/// How many lines there are in ten seconds about single joins, and leaves, and so on: more than a room
/// needs that people watch.
const MAX_LINES: u32 = 50;

/// Writes a line about a [`Client`], which is looked up only if the line is written.
macro_rules! about {
    ($level:ident, $target:expr, $it:ident = $client:expr, $($words:tt)+) => {
        if log_enabled!(target: $target, Level::$level) {
            let $it = $client;
            about!($level, $target, $it, $($words)+);
        }
    };
    ($level:ident, $target:expr, $it:ident, $($words:tt)+) => {
        log!(target: $target, Level::$level, client = $it.id, listener = $it.on.name(); $($words)+)
    };
}

/// Writes the log.
#[derive(Debug)]
pub(super) struct Log {
    listeners: Listeners,
    joined: LogThrottle<Joined>,
    left: LogThrottle<Left>,
    renamed: LogThrottle<Renamed>,
    operators: LogThrottle<OperatorMade>,
    commands: LogThrottle<OperatorCommand>,
    refused: LogThrottle<Refusal>,
    unregistrable: LogThrottle<Unregistrable>,
    strangers: LogThrottle<Stranger>,
    silent: LogThrottle<Silent>,
    nameless: LogThrottle<Nameless>,
    wrong_passwords: LogThrottle<WrongPassword>,
    accept_failures: LogThrottle<AcceptFailure>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            listeners: Listeners::default(),
            joined: LogThrottle::new(MAX_LINES),
            left: LogThrottle::new(MAX_LINES),
            renamed: LogThrottle::new(MAX_LINES),
            operators: LogThrottle::new(MAX_LINES),
            commands: LogThrottle::new(MAX_LINES),
            refused: LogThrottle::default(),
            unregistrable: LogThrottle::default(),
            strangers: LogThrottle::default(),
            silent: LogThrottle::default(),
            nameless: LogThrottle::default(),
            wrong_passwords: LogThrottle::default(),
            accept_failures: LogThrottle::default(),
        }
    }
}

impl Observer for Log {
    fn listens(&self) -> bool {
        log::max_level() > LevelFilter::Off
    }

    fn on_event(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Connected { id, peer, listener } => {
                self.listeners.remember(id, listener);
                about!(
                    Debug,
                    CONNECTIONS,
                    it = self.listeners.client(id),
                    "{peer} connected as {it}"
                );
            }
            Event::Proxied {
                peer,
                proxy,
                listener,
            } => {
                let on = self.listeners.on(listener);
                debug!(target: CONNECTIONS, listener = on.name(); "{peer} comes through the proxy {proxy}{on}");
            }
            Event::Refused {
                peer,
                listener,
                reason,
            } => {
                let on = self.listeners.on(listener);
                self.refused.log(now, Refusal { peer, on, reason });
            }
            Event::Unregistrable {
                peer,
                listener,
                error,
            } => {
                let (on, error) = (self.listeners.on(listener), error.to_string());
                self.unregistrable
                    .log(now, Unregistrable { peer, on, error });
            }
            Event::StreamFailed {
                id,
                peer,
                is_write,
                error,
                ..
            } => {
                let half = if is_write { "write half" } else { "connection" };
                about!(
                    Debug,
                    CONNECTIONS,
                    it = self.listeners.client(id),
                    "{peer} ({it}): {half} broken: {error}"
                );
            }
            Event::OtherProtocol { id, peer, protocol } => {
                let it = self.listeners.client(id);
                self.strangers.log(now, Stranger { it, peer, protocol });
            }
            Event::Left {
                id,
                nick: Some(nick),
                reason,
                ..
            } => {
                let (it, nick) = (self.listeners.client(id), nick.to_owned());
                self.left.log(now, Left { it, nick, reason });
            }
            Event::Left {
                id,
                peer,
                heard,
                reason,
                ..
            } => {
                let it = self.listeners.client(id);
                self.left_without_nick(now, Nobody { it, peer, reason }, heard);
            }
            Event::Freed { id } => trace!(target: CONNECTIONS, "client {} freed", id.index()),
            Event::Joined { id, peer, nick } => {
                let (it, nick) = (self.listeners.client(id), nick.to_owned());
                self.joined.log(now, Joined { it, nick, peer });
            }
            Event::Renamed { id, old, new } => {
                let (it, old, new) = (self.listeners.client(id), old.to_owned(), new.to_owned());
                self.renamed.log(now, Renamed { it, old, new });
            }
            Event::Said { id, line, .. } | Event::Acted { id, line, .. } => {
                about!(
                    Debug,
                    LINES,
                    it = self.listeners.client(id),
                    "{}",
                    Text(line)
                );
            }
            Event::Noticed { line } => debug!(target: LINES, "{}", Text(line)),
            Event::Whispered { from, to } => {
                let (from, to) = (from.index(), to.index());
                trace!(target: LINES, "client {from} tells client {to} something");
            }
            Event::Replied { id, peer, line } => {
                about!(
                    Debug,
                    LINES,
                    it = self.listeners.client(id),
                    "to {peer} ({it}): {}",
                    Text(line)
                );
            }
            Event::Negotiated { id, peer, answer } => {
                about!(
                    Trace,
                    LINES,
                    it = self.listeners.client(id),
                    "to {peer} ({it}): {answer:?}"
                );
            }
            Event::Skipped { id, lines } => {
                about!(
                    Debug,
                    READERS,
                    it = self.listeners.client(id),
                    "{it} was told that lines were skipped: {lines}"
                );
            }
            Event::Stalled { id } => {
                about!(
                    Debug,
                    READERS,
                    it = self.listeners.client(id),
                    "{it} has read nothing for a second"
                );
            }
            Event::TranscriptBegun { lost_lines: 0, .. } => {
                info!(target: SERVER, "the transcript is written");
            }
            Event::TranscriptBegun { lost_lines, .. } => {
                warn!(target: SERVER, "the transcript is written again; lines lost: {lost_lines}");
            }
            Event::TranscriptEnded {
                reason: CloseReason::Shutdown,
                ..
            } => {}
            Event::TranscriptEnded { reason, lost_lines } => {
                error!(target: SERVER, "the transcript's writer has ended: {reason}; lines lost: {lost_lines}");
            }
            Event::Authenticated { id, peer } => {
                about!(
                    Debug,
                    AUTH,
                    it = self.listeners.client(id),
                    "{peer} knows the password ({it})"
                );
            }
            Event::WrongPassword { id, peer } => {
                let it = self.listeners.client(id);
                self.wrong_passwords.log(now, WrongPassword { it, peer });
            }
            Event::OperatorMade { id, nick } => {
                let (it, nick) = (self.listeners.client(id), nick.to_owned());
                self.operators.log(now, OperatorMade { it, nick });
            }
            Event::OperatorCommand { id, nick, command } => {
                let (nick, command) = (nick.to_owned(), command.to_owned());
                let it = self.listeners.client(id);
                self.commands
                    .log(now, OperatorCommand { it, nick, command });
            }
            Event::SecretExposed { path } => {
                let path = path.display();
                warn!(target: SERVER, "{path} can be read by everybody on this machine: chmod o-r it");
            }
            Event::SecretWritable { path } => {
                let path = path.display();
                warn!(target: SERVER, "{path} can be written by others than its owner: chmod go-w it");
            }
            Event::EscapesLeftOut { path } => {
                let path = path.display();
                warn!(target: SERVER, "{path} holds escape sequences (colours), which are left out");
            }
            Event::AcceptFailed { error, hint } => {
                let error = error.to_string();
                self.accept_failures.log(now, AcceptFailure { error, hint });
            }
            Event::DialFailed { peer, error } => {
                warn!(target: SERVER, "cannot connect to {peer}: {error}");
            }
            Event::ListenFailed { error } => warn!(target: SERVER, "{error}"),
            Event::OptionUnsupported {
                option,
                loss,
                error,
            } => warn!(target: SERVER, "this system has no {option} ({error}): {loss}"),
            Event::MetricsExposed { addr } => warn!(
                target: SERVER,
                "everybody who can reach {addr} can read the metrics: listen on 127.0.0.1 or a Unix \
                 socket, or let a firewall keep others out"
            ),
            Event::LivenessRefused { error } => warn!(
                target: SERVER,
                "the system does not tell which peers are gone (netlink's sock_diag: {error}): one that \
                 vanishes without a word is found by TCP keepalive, or after 15 minutes if something \
                 was written to it"
            ),
            Event::Capacity {
                max_clients,
                asked,
                open_files,
            } => capacity(max_clients, asked, open_files),
            Event::Late { by } => info!(
                target: SERVER,
                "stood still for {:.1} s: time-outs come later by as much",
                by.as_secs_f64()
            ),
            Event::Report { metrics } => info!(target: SERVER, "{metrics}"),
            // What comes of it is told.
            Event::Reloading => {}
            Event::Reloaded { error: None } => info!(target: SERVER, "the files were read again"),
            Event::Reloaded { error: Some(error) } => {
                error!(target: SERVER, "nothing was read again: {error}");
            }
            Event::NothingToReload => {
                info!(target: SERVER, "there is no file to read again at SIGHUP");
            }
            Event::ShuttingDown => info!(target: SERVER, "shutting down"),
            Event::Stopped { metrics } => {
                self.write_rest();
                info!(target: SERVER, "stopped: {metrics}");
            }
        }
    }
}

impl Log {
    /// Sets what the listeners are called, in their order.
    pub(super) fn name_listeners(&mut self, names: impl Iterator<Item = String>) {
        self.listeners.names = names.map(Arc::from).collect();
    }

    /// When a line is due even if no event follows.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.joined.deadline(),
            self.left.deadline(),
            self.renamed.deadline(),
            self.operators.deadline(),
            self.commands.deadline(),
            self.refused.deadline(),
            self.unregistrable.deadline(),
            self.strangers.deadline(),
            self.silent.deadline(),
            self.nameless.deadline(),
            self.wrong_passwords.deadline(),
            self.accept_failures.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Writes the lines that are due.
    pub(super) fn on_time(&mut self, now: Instant) {
        self.joined.log_due(now);
        self.left.log_due(now);
        self.renamed.log_due(now);
        self.operators.log_due(now);
        self.commands.log_due(now);
        self.refused.log_due(now);
        self.unregistrable.log_due(now);
        self.strangers.log_due(now);
        self.silent.log_due(now);
        self.nameless.log_due(now);
        self.wrong_passwords.log_due(now);
        self.accept_failures.log_due(now);
    }

    /// Writes the counted events that are not logged yet, because no more will follow.
    fn write_rest(&mut self) {
        self.joined.log_rest();
        self.left.log_rest();
        self.renamed.log_rest();
        self.operators.log_rest();
        self.commands.log_rest();
        self.refused.log_rest();
        self.unregistrable.log_rest();
        self.strangers.log_rest();
        self.silent.log_rest();
        self.nameless.log_rest();
        self.wrong_passwords.log_rest();
        self.accept_failures.log_rest();
    }

    /// A peer that says nothing, or not who it is, can come again at once.
    fn left_without_nick(&mut self, now: Instant, nobody: Nobody, heard: Heard) {
        match (heard, nobody.reason) {
            (_, CloseReason::Answered) => nobody.write_kept("was answered"),
            // A probe asks again and again.
            (Heard::OnlyQuestions, CloseReason::HungUp) => {
                nobody.write_kept("has only asked whether we are here");
            }
            (Heard::Nothing, _) => self.silent.log(now, Silent(nobody)),
            _ => self.nameless.log(now, Nameless(nobody)),
        }
    }
}

/// The listeners, and which client came through which.
#[derive(Debug, Default)]
struct Listeners {
    names: Vec<Arc<str>>,
    /// By the numbers of clients.
    of_clients: Vec<Option<u16>>,
}

impl Listeners {
    fn remember(&mut self, id: ClientId, listener: Option<u16>) {
        let index = id.index();
        if self.of_clients.len() <= index {
            self.of_clients.resize(index.saturating_add(1), None);
        }
        if let Some(of_client) = self.of_clients.get_mut(index) {
            *of_client = listener;
        }
    }

    fn client(&self, id: ClientId) -> Client {
        let listener = self.of_clients.get(id.index()).copied().flatten();
        Client {
            id: id.index(),
            on: self.on(listener),
        }
    }

    fn on(&self, listener: Option<u16>) -> On {
        On(listener.and_then(|it| self.names.get(usize::from(it)).cloned()))
    }
}

/// A client and where it came in, as in `client 3 on 127.0.0.1:6142`.
#[derive(Debug)]
struct Client {
    id: usize,
    on: On,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}{}", self.id, self.on)
    }
}

/// The listener through which a connection came, if it did not come otherwise. It is shown as in
/// ` on 127.0.0.1:6142`.
#[derive(Debug)]
struct On(Option<Arc<str>>);

impl On {
    /// What the listener is called, or an empty text.
    fn name(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
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

/// An event that a peer can cause again and again.
trait Throttled {
    /// Writes one line for this many events, of which this is the last.
    fn write(&self, times: u64);

    /// Writes a line for this single event, into a log that holds every one.
    fn write_kept(&self) {}
}

/// A kind of event that has a number of lines in ten seconds.
trait Throttle<T> {
    fn log(&mut self, now: Instant, event: T);
    fn log_due(&mut self, now: Instant);
    fn log_rest(&mut self);
}

impl<T: Throttled> Throttle<T> for LogThrottle<T> {
    fn log(&mut self, now: Instant, event: T) {
        match self.count(event, now) {
            Counted::Line(times, event) => event.write(times),
            Counted::Kept(event) => event.write_kept(),
        }
    }

    fn log_due(&mut self, now: Instant) {
        if let Some((times, event)) = self.take_due(now) {
            event.write(times);
        }
    }

    fn log_rest(&mut self) {
        if let Some((times, event)) = self.take_all() {
            event.write(times);
        }
    }
}

/// A member joined.
#[derive(Debug)]
struct Joined {
    it: Client,
    nick: String,
    peer: Peer,
}

impl Throttled for Joined {
    fn write(&self, times: u64) {
        let Self { it, nick, peer } = self;
        match times {
            1 => about!(Info, MEMBERS, it, "{nick} joined from {peer} as {it}"),
            n => {
                info!(target: MEMBERS, "{n} members joined, the last {nick} from {peer}{}", it.on);
            }
        }
    }

    fn write_kept(&self) {
        let Self { it, nick, peer } = self;
        about!(Debug, MEMBERS, it, "{nick} joined from {peer} as {it}");
    }
}

/// A member left.
#[derive(Debug)]
struct Left {
    it: Client,
    nick: String,
    reason: CloseReason,
}

impl Throttled for Left {
    fn write(&self, times: u64) {
        let Self { it, nick, reason } = self;
        match times {
            1 => about!(Info, MEMBERS, it, "{nick} left: {reason} ({it})"),
            n => {
                info!(target: MEMBERS, "{n} members left, the last {nick}{}: {reason}", it.on);
            }
        }
    }

    fn write_kept(&self) {
        let Self { it, nick, reason } = self;
        about!(Debug, MEMBERS, it, "{nick} left: {reason} ({it})");
    }
}

/// A member took another nick.
#[derive(Debug)]
struct Renamed {
    it: Client,
    old: String,
    new: String,
}

impl Throttled for Renamed {
    fn write(&self, times: u64) {
        let Self { it, old, new } = self;
        match times {
            1 => about!(Info, MEMBERS, it, "{old} is now {new} ({it})"),
            n => {
                info!(target: MEMBERS, "{n} renames, the last: {old} is now {new}{}", it.on);
            }
        }
    }

    fn write_kept(&self) {
        let Self { it, old, new } = self;
        about!(Debug, MEMBERS, it, "{old} is now {new} ({it})");
    }
}

/// A member knew the password of operators.
#[derive(Debug)]
struct OperatorMade {
    it: Client,
    nick: String,
}

impl Throttled for OperatorMade {
    fn write(&self, times: u64) {
        let Self { it, nick } = self;
        match times {
            1 => about!(Info, AUTH, it, "{nick} is an operator now ({it})"),
            n => {
                info!(target: AUTH, "{n} times the password of operators, the last from {nick}{}", it.on);
            }
        }
    }

    fn write_kept(&self) {
        let Self { it, nick } = self;
        about!(Debug, AUTH, it, "{nick} is an operator now ({it})");
    }
}

/// An operator gave a command.
#[derive(Debug)]
struct OperatorCommand {
    it: Client,
    nick: String,
    command: String,
}

impl Throttled for OperatorCommand {
    fn write(&self, times: u64) {
        let Self { it, nick, command } = self;
        match times {
            1 => about!(Info, AUTH, it, "{nick} ({it}) as an operator: {command}"),
            n => {
                info!(target: AUTH, "{n} commands of operators, the last of {nick}{}: {command}", it.on);
            }
        }
    }

    fn write_kept(&self) {
        let Self { it, nick, command } = self;
        about!(Debug, AUTH, it, "{nick} ({it}) as an operator: {command}");
    }
}

/// A connection was refused.
#[derive(Debug)]
struct Refusal {
    peer: Peer,
    on: On,
    reason: CloseReason,
}

impl Throttled for Refusal {
    fn write(&self, times: u64) {
        let Self { peer, on, reason } = self;
        match times {
            1 => info!(target: CONNECTIONS, listener = on.name(); "refused {peer}{on}: {reason}"),
            n => {
                info!(target: CONNECTIONS, "refused {n} connections, the last {peer}{on}: {reason}");
            }
        }
    }

    fn write_kept(&self) {
        let Self { peer, on, reason } = self;
        debug!(target: CONNECTIONS, listener = on.name(); "refused {peer}{on}: {reason}");
    }
}

/// The poll loop did not take a connection, which the operator may be able to change.
#[derive(Debug)]
struct Unregistrable {
    peer: Peer,
    on: On,
    error: String,
}

impl Throttled for Unregistrable {
    fn write(&self, times: u64) {
        let Self { peer, on, error } = self;
        match times {
            1 => warn!(target: CONNECTIONS, listener = on.name(); "refused {peer}{on}: {error}"),
            n => {
                warn!(target: CONNECTIONS, "refused {n} connections, the last {peer}{on}: {error}");
            }
        }
    }

    fn write_kept(&self) {
        let Self { peer, on, error } = self;
        debug!(target: CONNECTIONS, listener = on.name(); "refused {peer}{on}: {error}");
    }
}

/// A client speaks another protocol.
#[derive(Debug)]
struct Stranger {
    it: Client,
    peer: Peer,
    protocol: &'static str,
}

impl Throttled for Stranger {
    fn write(&self, times: u64) {
        let Self { it, peer, protocol } = self;
        match times {
            1 => about!(Info, CONNECTIONS, it, "{peer} speaks {protocol} ({it})"),
            n => info!(
                target: CONNECTIONS,
                "{n} clients speak other protocols, the last {peer}{}: {protocol}",
                it.on
            ),
        }
    }

    fn write_kept(&self) {
        let Self { it, peer, protocol } = self;
        about!(Debug, CONNECTIONS, it, "{peer} speaks {protocol} ({it})");
    }
}

/// A client left that had no nick.
#[derive(Debug)]
struct Nobody {
    it: Client,
    peer: Peer,
    reason: CloseReason,
}

impl Nobody {
    fn write(&self, times: u64, what: &str) {
        let Self { it, peer, reason } = self;
        match times {
            1 => about!(Info, CONNECTIONS, it, "{peer} {what}: {reason} ({it})"),
            n => info!(
                target: CONNECTIONS,
                "{n} clients {what}, the last {peer}{}: {reason}",
                it.on
            ),
        }
    }

    fn write_kept(&self, what: &str) {
        let Self { it, peer, reason } = self;
        about!(Debug, CONNECTIONS, it, "{peer} {what}: {reason} ({it})");
    }
}

/// A client left before it sent anything.
#[derive(Debug)]
struct Silent(Nobody);

/// A client left after it had sent something, but no nick.
#[derive(Debug)]
struct Nameless(Nobody);

impl Throttled for Silent {
    fn write(&self, times: u64) {
        self.0.write(times, "left without a word");
    }

    fn write_kept(&self) {
        self.0.write_kept("left without a word");
    }
}

impl Throttled for Nameless {
    fn write(&self, times: u64) {
        self.0.write(times, "left without a nick");
    }

    fn write_kept(&self) {
        self.0.write_kept("left without a nick");
    }
}

/// A client sent a wrong password.
#[derive(Debug)]
struct WrongPassword {
    it: Client,
    peer: Peer,
}

impl Throttled for WrongPassword {
    fn write(&self, times: u64) {
        let Self { it, peer } = self;
        match times {
            1 => about!(Warn, AUTH, it, "wrong password from {peer} ({it})"),
            n => warn!(target: AUTH, "{n} wrong passwords, the last from {peer}{}", it.on),
        }
    }
}

/// accept(2) failed.
#[derive(Debug)]
struct AcceptFailure {
    error: String,
    hint: &'static str,
}

impl Throttled for AcceptFailure {
    fn write(&self, times: u64) {
        let Self { error, hint } = self;
        match times {
            1 => warn!(target: SERVER, "cannot accept connections: {error}; {hint}"),
            n => warn!(target: SERVER, "cannot accept connections ({n} times): {error}; {hint}"),
        }
    }
}

fn capacity(max_clients: usize, asked: Option<usize>, open_files: u64) {
    if let Some(asked) = asked.filter(|&asked| asked > max_clients) {
        warn!(
            target: SERVER,
            "room for {asked} clients was asked for, but the limit of {open_files} open files allows \
             {max_clients}: raise it (ulimit -n)"
        );
    }
    let max_clients = asked.unwrap_or(max_clients);
    info!(target: SERVER, "room for {max_clients} clients");
}

/// A line, which is always UTF-8.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}
