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
//! Lines about one connection name its listener, and its number once it is a client: see `log_lines.rs`,
//! which has the lines of every kind of event that a peer can cause at will. Above a number of lines in ten
//! seconds such events are counted, and one line says how many there were. What members and operators do has
//! [`MAX_LINES`], and everything else a single line. So all that peers do is at most some 250 lines in ten
//! seconds. A deadline ensures that the end of a burst is logged even if no event follows it.

use std::fmt;
use std::time::Instant;

use log::{Level, LevelFilter, debug, error, info, log_enabled, trace, warn};

use crate::events::{Event, Heard, Observer};
use crate::metrics::RelayState;
use crate::protocol::close_reason::CloseReason;
use crate::server::log_lines::{
    AcceptFailure, EngineLost, FailedHandshake, Joined, Left, LeftWithout, Listeners, Nobody,
    OperatorCommand, OperatorMade, Refusal, Renamed, Stranger, Throttle, Unregistrable,
    WrongPassword, write_about,
};
use crate::time::log_throttle::LogThrottle;

pub(super) const CONNECTIONS: &str = "line_chat::connections";
pub(super) const MEMBERS: &str = "line_chat::members";
const LINES: &str = "line_chat::lines";
const READERS: &str = "line_chat::readers";
pub(super) const AUTH: &str = "line_chat::auth";
pub(super) const SERVER: &str = "line_chat::server";

/// How many lines there are in ten seconds about single joins, and leaves, and so on: more than a room
/// needs that people watch.
const MAX_LINES: u32 = 50;

/// Writes a line about a client, which is looked up only if the line is written.
macro_rules! about {
    ($level:ident, $target:expr, $client:ident = $lookup:expr, $($words:tt)+) => {
        if log_enabled!(target: $target, Level::$level) {
            let $client = $lookup;
            let (id, on) = (Some($client.id), &$client.on);
            write_about(Level::$level, $target, id, on, format_args!($($words)+));
        }
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
    handshakes: LogThrottle<FailedHandshake>,
    silent: LogThrottle<LeftWithout>,
    nameless: LogThrottle<LeftWithout>,
    without_request: LogThrottle<LeftWithout>,
    wrong_passwords: LogThrottle<WrongPassword>,
    accept_failures: LogThrottle<AcceptFailure>,
    engine_losses: LogThrottle<EngineLost>,
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
            handshakes: LogThrottle::default(),
            silent: LogThrottle::default(),
            nameless: LogThrottle::default(),
            without_request: LogThrottle::default(),
            wrong_passwords: LogThrottle::default(),
            accept_failures: LogThrottle::default(),
            engine_losses: LogThrottle::default(),
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
                    client = self.listeners.client(id),
                    "{peer} connected as {client}"
                );
            }
            Event::Proxied {
                peer,
                proxy,
                listener,
            } => {
                let on = self.listeners.on(listener);
                let text = format_args!("{peer} comes through the proxy {proxy}{on}");
                write_about(Level::Debug, CONNECTIONS, None, &on, text);
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
                    client = self.listeners.client(id),
                    "{peer} ({client}): {half} broken: {error}"
                );
            }
            Event::HandshakeFailed { id, peer, error } => {
                let client = self.listeners.client(id);
                let error = error.to_string();
                let event = FailedHandshake {
                    client,
                    peer,
                    error,
                };
                self.handshakes.log(now, event);
            }
            Event::OtherProtocol { id, peer, protocol } => {
                let client = self.listeners.client(id);
                self.strangers.log(
                    now,
                    Stranger {
                        client,
                        peer,
                        protocol,
                    },
                );
            }
            Event::Left {
                id,
                nick: Some(nick),
                reason,
                ..
            } => {
                let (client, nick) = (self.listeners.client(id), nick.to_owned());
                self.left.log(
                    now,
                    Left {
                        client,
                        nick,
                        reason,
                    },
                );
            }
            Event::Left {
                id,
                peer,
                heard,
                reason,
                ..
            } => {
                let client = self.listeners.client(id);
                self.left_without_nick(
                    now,
                    Nobody {
                        client,
                        peer,
                        reason,
                    },
                    heard,
                );
            }
            Event::Freed { id } => trace!(target: CONNECTIONS, "client {} freed", id.index()),
            Event::Joined { id, peer, nick } => {
                let (client, nick) = (self.listeners.client(id), nick.to_owned());
                self.joined.log(now, Joined { client, nick, peer });
            }
            Event::Renamed { id, old, new } => {
                let (client, old, new) =
                    (self.listeners.client(id), old.to_owned(), new.to_owned());
                self.renamed.log(now, Renamed { client, old, new });
            }
            Event::Said { id, line, .. } | Event::Acted { id, line, .. } => {
                about!(
                    Debug,
                    LINES,
                    client = self.listeners.client(id),
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
                    client = self.listeners.client(id),
                    "to {peer} ({client}): {}",
                    Text(line)
                );
            }
            Event::Negotiated { id, peer, answer } => {
                about!(
                    Trace,
                    LINES,
                    client = self.listeners.client(id),
                    "to {peer} ({client}): {answer:?}"
                );
            }
            Event::Skipped { id, lines } => {
                about!(
                    Debug,
                    READERS,
                    client = self.listeners.client(id),
                    "{client} was told that lines were skipped: {lines}"
                );
            }
            Event::Stalled { id } => {
                about!(
                    Debug,
                    READERS,
                    client = self.listeners.client(id),
                    "{client} has read nothing for a second"
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
            Event::EngineOpen { peer } => {
                self.engine_losses.log_rest();
                info!(target: SERVER, "connected to the engine of the relay at {peer}");
            }
            Event::EngineLost {
                reason: CloseReason::Shutdown,
                ..
            } => {}
            Event::EngineLost {
                reason,
                error,
                peer,
            } => {
                let why = error.map_or_else(|| reason.to_string(), ToOwned::to_owned);
                self.engine_losses.log(now, EngineLost { peer, why });
            }
            Event::EngineLeaves => {
                info!(target: SERVER, "this server of the relay's engine is about to end");
            }
            Event::EngineForbids { words } => {
                warn!(target: SERVER, "the engine of the relay forbids something: {}", Text(words));
            }
            Event::RelayChanged { state } => match state {
                RelayState::Starting => {}
                RelayState::Up => {
                    info!(target: SERVER, "the relay is up: what is said here is heard everywhere");
                }
                RelayState::Holding => {
                    info!(target: SERVER, "the relay waits: the engine does not answer");
                }
                RelayState::Split => {
                    warn!(target: SERVER, "the relay is cut off: what is said here is heard here only");
                }
                RelayState::Rejoining => {
                    info!(target: SERVER, "the relay is back, and fetches what was said elsewhere");
                }
            },
            Event::Authenticated { id, peer } => {
                about!(
                    Debug,
                    AUTH,
                    client = self.listeners.client(id),
                    "{peer} knows the password ({client})"
                );
            }
            Event::WrongPassword { id, peer } => {
                let client = self.listeners.client(id);
                self.wrong_passwords
                    .log(now, WrongPassword { client, peer });
            }
            Event::OperatorMade { id, nick } => {
                let (client, nick) = (self.listeners.client(id), nick.to_owned());
                self.operators.log(now, OperatorMade { client, nick });
            }
            Event::OperatorCommand { id, nick, command } => {
                let (nick, command) = (nick.to_owned(), command.to_owned());
                let client = self.listeners.client(id);
                self.commands.log(
                    now,
                    OperatorCommand {
                        client,
                        nick,
                        command,
                    },
                );
            }
            Event::SecretExposed { path } => {
                let path = path.display();
                warn!(target: SERVER, "{path} can be read by everybody on this machine: chmod o-r it");
            }
            Event::SecretWritable { path } => {
                let path = path.display();
                warn!(target: SERVER, "{path} can be written by others than its owner: chmod go-w it");
            }
            Event::CertificateEnds { path, days: 0 } => {
                let path = path.display();
                warn!(target: SERVER, "the certificate in {path} has ended: renew it, then send SIGHUP");
            }
            Event::CertificateEnds { path, days } => {
                let (path, s) = (path.display(), if days == 1 { "" } else { "s" });
                warn!(target: SERVER, "the certificate in {path} ends in {days} day{s}: renew it, then send SIGHUP");
            }
            Event::RsaKey { path } => {
                let path = path.display();
                warn!(
                    target: SERVER,
                    "the key in {path} is one of RSA, and the room waits for each handshake: use ECDSA with P-256"
                );
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
        self.listeners = Listeners::named(names);
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
            self.handshakes.deadline(),
            self.silent.deadline(),
            self.nameless.deadline(),
            self.without_request.deadline(),
            self.wrong_passwords.deadline(),
            self.accept_failures.deadline(),
            self.engine_losses.deadline(),
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
        self.handshakes.log_due(now);
        self.silent.log_due(now);
        self.nameless.log_due(now);
        self.without_request.log_due(now);
        self.wrong_passwords.log_due(now);
        self.accept_failures.log_due(now);
        self.engine_losses.log_due(now);
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
        self.handshakes.log_rest();
        self.silent.log_rest();
        self.nameless.log_rest();
        self.without_request.log_rest();
        self.wrong_passwords.log_rest();
        self.accept_failures.log_rest();
        self.engine_losses.log_rest();
    }

    /// A peer that says nothing, or not who it is, can come again at once.
    fn left_without_nick(&mut self, now: Instant, nobody: Nobody, heard: Heard) {
        let (throttle, what) = match (heard, nobody.reason) {
            (_, CloseReason::Answered) => return nobody.write("was answered"),
            // Which error it was has a line already.
            (_, CloseReason::HandshakeFailed) => return nobody.write("is closed"),
            // A probe asks again and again.
            (Heard::OnlyQuestions, CloseReason::HungUp) => {
                return nobody.write("has only asked whether we are here");
            }
            (Heard::Http, _) => (&mut self.without_request, "left without a request"),
            (Heard::Nothing, _) => (&mut self.silent, "left without a word"),
            _ => (&mut self.nameless, "left without a nick"),
        };
        throttle.log(now, LeftWithout { nobody, what });
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
