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
//! Lines about one client have its number, and as key `client` for logs that are read by machines.
//!
//! Every kind of event that a peer can cause at will is [`Throttled`]: above so many lines in ten seconds
//! they are counted, and one line tells how many. What members and operators do has [`MAX_LINES`], and
//! everything else a single line. So all that peers do is at most some 250 lines in ten seconds. A deadline
//! ensures that the end of a burst is logged even if no event follows it.

use std::fmt;
use std::time::Instant;

use log::{LevelFilter, debug, error, info, trace, warn};

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

/// Writes the log.
#[derive(Debug)]
pub(super) struct Log {
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
            Event::Connected { id, peer } => {
                let id = id.index();
                debug!(target: CONNECTIONS, client = id; "{peer} connected as client {id}");
            }
            Event::Proxied { peer, proxy } => {
                debug!(target: CONNECTIONS, "{peer} comes through the proxy {proxy}");
            }
            Event::Refused { peer, reason } => self.refused.log(now, Refusal { peer, reason }),
            Event::Unregistrable { peer, error } => {
                let error = error.to_string();
                self.unregistrable.log(now, Unregistrable { peer, error });
            }
            Event::StreamFailed {
                peer,
                is_write,
                error,
                ..
            } => {
                let half = if is_write { "write half" } else { "connection" };
                debug!(target: CONNECTIONS, "{peer}: {half} broken: {error}");
            }
            Event::OtherProtocol { peer, protocol, .. } => {
                self.strangers.log(now, Stranger { peer, protocol });
            }
            Event::Left {
                id,
                nick: Some(nick),
                reason,
                ..
            } => {
                let (id, nick) = (id.index(), nick.to_owned());
                self.left.log(now, Left { id, nick, reason });
            }
            Event::Left {
                peer,
                heard,
                reason,
                ..
            } => self.left_without_nick(now, peer, heard, reason),
            Event::Freed { id } => trace!(target: CONNECTIONS, "client {} freed", id.index()),
            Event::Joined { id, peer, nick } => {
                let (id, nick) = (id.index(), nick.to_owned());
                self.joined.log(now, Joined { id, nick, peer });
            }
            Event::Renamed { old, new, .. } => {
                let (old, new) = (old.to_owned(), new.to_owned());
                self.renamed.log(now, Renamed { old, new });
            }
            Event::Said { line, .. } | Event::Acted { line, .. } | Event::Noticed { line } => {
                debug!(target: LINES, "{}", Text(line));
            }
            Event::Whispered { from, to } => {
                let (from, to) = (from.index(), to.index());
                trace!(target: LINES, "client {from} tells client {to} something");
            }
            Event::Replied { peer, line, .. } => debug!(target: LINES, "to {peer}: {}", Text(line)),
            Event::Negotiated { peer, answer, .. } => {
                trace!(target: LINES, "to {peer}: {answer:?}");
            }
            Event::Skipped { id, lines } => {
                debug!(target: READERS, "client {} was told that lines were skipped: {lines}", id.index());
            }
            Event::Stalled { id } => {
                debug!(target: READERS, "client {} has read nothing for a second", id.index());
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
            Event::Authenticated { peer, .. } => {
                debug!(target: AUTH, "{peer} knows the password");
            }
            Event::WrongPassword { peer, .. } => {
                self.wrong_passwords.log(now, WrongPassword { peer });
            }
            Event::OperatorMade { nick, .. } => {
                let nick = nick.to_owned();
                self.operators.log(now, OperatorMade { nick });
            }
            Event::OperatorCommand { nick, command, .. } => {
                let (nick, command) = (nick.to_owned(), command.to_owned());
                self.commands.log(now, OperatorCommand { nick, command });
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
    fn left_without_nick(&mut self, now: Instant, peer: Peer, heard: Heard, reason: CloseReason) {
        match (heard, reason) {
            (_, CloseReason::Answered) => debug!(target: CONNECTIONS, "{peer}: {reason}"),
            // A probe asks again and again.
            (Heard::OnlyQuestions, CloseReason::HungUp) => {
                debug!(target: CONNECTIONS, "{peer} has only asked whether we are here: {reason}");
            }
            (Heard::Nothing, _) => self.silent.log(now, Silent(peer, reason)),
            _ => self.nameless.log(now, Nameless(peer, reason)),
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
    id: usize,
    nick: String,
    peer: Peer,
}

impl Throttled for Joined {
    fn write(&self, times: u64) {
        let Self { id, nick, peer } = self;
        match times {
            1 => info!(target: MEMBERS, client = *id; "{nick} joined from {peer} as client {id}"),
            n => info!(target: MEMBERS, "{n} members joined, the last {nick} from {peer}"),
        }
    }

    fn write_kept(&self) {
        let Self { id, nick, peer } = self;
        debug!(target: MEMBERS, client = *id; "{nick} joined from {peer} as client {id}");
    }
}

/// A member left.
#[derive(Debug)]
struct Left {
    id: usize,
    nick: String,
    reason: CloseReason,
}

impl Throttled for Left {
    fn write(&self, times: u64) {
        let Self { id, nick, reason } = self;
        match times {
            1 => info!(target: MEMBERS, client = *id; "{nick} left: {reason} (client {id})"),
            n => info!(target: MEMBERS, "{n} members left, the last {nick}: {reason}"),
        }
    }

    fn write_kept(&self) {
        let Self { id, nick, reason } = self;
        debug!(target: MEMBERS, client = *id; "{nick} left: {reason} (client {id})");
    }
}

/// A member took another nick.
#[derive(Debug)]
struct Renamed {
    old: String,
    new: String,
}

impl Throttled for Renamed {
    fn write(&self, times: u64) {
        let Self { old, new } = self;
        match times {
            1 => info!(target: MEMBERS, "{old} is now {new}"),
            n => info!(target: MEMBERS, "{n} renames, the last: {old} is now {new}"),
        }
    }

    fn write_kept(&self) {
        let Self { old, new } = self;
        debug!(target: MEMBERS, "{old} is now {new}");
    }
}

/// A member knew the password of operators.
#[derive(Debug)]
struct OperatorMade {
    nick: String,
}

impl Throttled for OperatorMade {
    fn write(&self, times: u64) {
        let nick = &self.nick;
        match times {
            1 => info!(target: AUTH, "{nick} is an operator now"),
            n => info!(target: AUTH, "{n} times the password of operators, the last from {nick}"),
        }
    }

    fn write_kept(&self) {
        debug!(target: AUTH, "{} is an operator now", self.nick);
    }
}

/// An operator gave a command.
#[derive(Debug)]
struct OperatorCommand {
    nick: String,
    command: String,
}

impl Throttled for OperatorCommand {
    fn write(&self, times: u64) {
        let Self { nick, command } = self;
        match times {
            1 => info!(target: AUTH, "{nick} as an operator: {command}"),
            n => info!(target: AUTH, "{n} commands of operators, the last of {nick}: {command}"),
        }
    }

    fn write_kept(&self) {
        let Self { nick, command } = self;
        debug!(target: AUTH, "{nick} as an operator: {command}");
    }
}

/// A connection was refused.
#[derive(Debug)]
struct Refusal {
    peer: Peer,
    reason: CloseReason,
}

impl Throttled for Refusal {
    fn write(&self, times: u64) {
        let Self { peer, reason } = self;
        match times {
            1 => info!(target: CONNECTIONS, "refused {peer}: {reason}"),
            n => info!(target: CONNECTIONS, "refused {n} connections, the last {peer}: {reason}"),
        }
    }

    fn write_kept(&self) {
        let Self { peer, reason } = self;
        debug!(target: CONNECTIONS, "refused {peer}: {reason}");
    }
}

/// The poll loop did not take a connection, which the operator may be able to change.
#[derive(Debug)]
struct Unregistrable {
    peer: Peer,
    error: String,
}

impl Throttled for Unregistrable {
    fn write(&self, times: u64) {
        let Self { peer, error } = self;
        match times {
            1 => warn!(target: CONNECTIONS, "refused {peer}: {error}"),
            n => warn!(target: CONNECTIONS, "refused {n} connections, the last {peer}: {error}"),
        }
    }

    fn write_kept(&self) {
        let Self { peer, error } = self;
        debug!(target: CONNECTIONS, "refused {peer}: {error}");
    }
}

/// A client speaks another protocol.
#[derive(Debug)]
struct Stranger {
    peer: Peer,
    protocol: &'static str,
}

impl Throttled for Stranger {
    fn write(&self, times: u64) {
        let Self { peer, protocol } = self;
        match times {
            1 => info!(target: CONNECTIONS, "{peer} speaks {protocol}"),
            n => {
                info!(target: CONNECTIONS, "{n} clients speak other protocols, the last {peer}: {protocol}");
            }
        }
    }

    fn write_kept(&self) {
        let Self { peer, protocol } = self;
        debug!(target: CONNECTIONS, "{peer} speaks {protocol}");
    }
}

/// A client left before it sent anything.
#[derive(Debug)]
struct Silent(Peer, CloseReason);

/// A client left after it had sent something, but no nick.
#[derive(Debug)]
struct Nameless(Peer, CloseReason);

impl Throttled for Silent {
    fn write(&self, times: u64) {
        write_left(times, "left without a word", self.0, self.1);
    }

    fn write_kept(&self) {
        let Self(peer, reason) = self;
        debug!(target: CONNECTIONS, "{peer} left without a word: {reason}");
    }
}

impl Throttled for Nameless {
    fn write(&self, times: u64) {
        write_left(times, "left without a nick", self.0, self.1);
    }

    fn write_kept(&self) {
        let Self(peer, reason) = self;
        debug!(target: CONNECTIONS, "{peer} left without a nick: {reason}");
    }
}

fn write_left(times: u64, what: &str, peer: Peer, reason: CloseReason) {
    match times {
        1 => info!(target: CONNECTIONS, "{peer} {what}: {reason}"),
        n => info!(target: CONNECTIONS, "{n} clients {what}, the last {peer}: {reason}"),
    }
}

/// A client sent a wrong password.
#[derive(Debug)]
struct WrongPassword {
    peer: Peer,
}

impl Throttled for WrongPassword {
    fn write(&self, times: u64) {
        let peer = self.peer;
        match times {
            1 => warn!(target: AUTH, "wrong password from {peer}"),
            n => warn!(target: AUTH, "{n} wrong passwords, the last from {peer}"),
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
