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
//! What a peer can cause ten thousand times a second is counted, and logged at most every ten seconds.

use std::fmt;
use std::time::Instant;

use log::{Level, LevelFilter, debug, error, info, log, trace, warn};

use crate::events::{Event, Observer};
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::time::log_throttle::LogThrottle;

const CONNECTIONS: &str = "line_chat::connections";
const MEMBERS: &str = "line_chat::members";
const LINES: &str = "line_chat::lines";
const READERS: &str = "line_chat::readers";
const AUTH: &str = "line_chat::auth";
const SERVER: &str = "line_chat::server";

/// Writes the log.
#[derive(Debug, Default)]
pub(super) struct Log {
    refused: LogThrottle,
    silent: LogThrottle,
    nameless: LogThrottle,
    wrong_passwords: LogThrottle,
    accept_failures: LogThrottle,
}

impl Observer for Log {
    fn listens(&self) -> bool {
        log::max_level() > LevelFilter::Off
    }

    fn on_event(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Connected { id, peer } => {
                debug!(target: CONNECTIONS, "{peer} connected as client {}", id.index());
            }
            Event::Refused { peer, reason } => self.refused(now, Level::Info, peer, &reason),
            Event::Unregistrable { peer, error } => self.refused(now, Level::Warn, peer, error),
            Event::StreamFailed {
                peer,
                is_write,
                error,
                ..
            } => {
                let half = if is_write { "write half" } else { "connection" };
                debug!(target: CONNECTIONS, "{peer}: {half} broken: {error}");
            }
            Event::Left {
                nick: Some(nick),
                reason,
                ..
            } => info!(target: MEMBERS, "{nick} left: {reason}"),
            Event::Left {
                peer,
                has_sent,
                reason,
                ..
            } => self.left_without_nick(now, peer, has_sent, reason),
            Event::Freed { id } => trace!(target: CONNECTIONS, "client {} freed", id.index()),
            Event::Joined { peer, nick, .. } => {
                info!(target: MEMBERS, "{nick} joined from {peer}");
            }
            Event::Renamed { old, new, .. } => info!(target: MEMBERS, "{old} is now {new}"),
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
            Event::Authenticated { peer, .. } => {
                debug!(target: AUTH, "{peer} knows the password");
            }
            Event::WrongPassword { peer, .. } => match self.wrong_passwords.count(now) {
                None => {}
                Some(1) => warn!(target: AUTH, "wrong password from {peer}"),
                Some(n) => warn!(target: AUTH, "{n} wrong passwords, the last from {peer}"),
            },
            Event::OperatorMade { nick, .. } => info!(target: AUTH, "{nick} is an operator now"),
            Event::OperatorCommand { nick, command, .. } => {
                info!(target: AUTH, "{nick} as an operator: {command}");
            }
            Event::SecretExposed { path } => {
                let path = path.display();
                warn!(target: SERVER, "{path} can be read by everybody on this machine: chmod o-r it");
            }
            Event::AcceptFailed { error, hint } => self.accept_failed(now, error, hint),
            Event::DialFailed { peer, error } => {
                warn!(target: SERVER, "cannot connect to {peer}: {error}");
            }
            Event::ListenFailed { error } => warn!(target: SERVER, "{error}"),
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
            Event::Report { metrics } => info!(target: SERVER, "{metrics}"),
            Event::Reloaded { error: None } => info!(target: SERVER, "the files were read again"),
            Event::Reloaded { error: Some(error) } => {
                error!(target: SERVER, "nothing was read again: {error}");
            }
            Event::ShuttingDown => info!(target: SERVER, "shutting down"),
            Event::Stopped { metrics } => info!(target: SERVER, "stopped: {metrics}"),
        }
    }
}

impl Log {
    fn refused(&mut self, now: Instant, level: Level, peer: Peer, why: &dyn fmt::Display) {
        match self.refused.count(now) {
            None => debug!(target: CONNECTIONS, "refused {peer}: {why}"),
            Some(1) => log!(target: CONNECTIONS, level, "refused {peer}: {why}"),
            Some(n) => {
                log!(target: CONNECTIONS, level, "refused {n} connections, the last {peer}: {why}");
            }
        }
    }

    /// A peer that says nothing, or not who it is, can come again at once.
    fn left_without_nick(&mut self, now: Instant, peer: Peer, has_sent: bool, reason: CloseReason) {
        let (throttle, what) = match has_sent {
            _ if reason == CloseReason::Answered => {
                return debug!(target: CONNECTIONS, "{peer}: {reason}");
            }
            true => (&mut self.nameless, "left without a nick"),
            false => (&mut self.silent, "left without a word"),
        };
        match throttle.count(now) {
            None => debug!(target: CONNECTIONS, "{peer} {what}: {reason}"),
            Some(1) => info!(target: CONNECTIONS, "{peer} {what}: {reason}"),
            Some(n) => {
                info!(target: CONNECTIONS, "{n} clients {what}, the last {peer}: {reason}");
            }
        }
    }

    fn accept_failed(&mut self, now: Instant, error: &std::io::Error, hint: &str) {
        match self.accept_failures.count(now) {
            None => {}
            Some(1) => warn!(target: SERVER, "cannot accept connections: {error}; {hint}"),
            Some(n) => {
                warn!(target: SERVER, "cannot accept connections ({n} times): {error}; {hint}");
            }
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
