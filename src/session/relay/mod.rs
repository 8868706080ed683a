//! The connection to the engine that joins several servers: [`RelaySession`] makes of its bytes what the
//! [relay] hears, and writes what the relay asks for. [`link`] speaks NATS and JetStream; this
//! knows when a frame is whole, and how the session begins and ends. The relay itself outlives each of its
//! connections, so it is in the [context](Ctx) of a session.
//!
//! | | opened | a frame | nothing for too long | end of stream, or an error of the link |
//! |---|---|---|---|---|
//! | not open | waits for the engine's first word | the link goes on; it may be open then, which the relay is told | closed | closed, dialed anew |
//! | open | - | the relay is told | closed after two PINGs | closed, dialed anew |

pub(crate) mod link;
#[cfg(test)]
mod on_a_server;

pub(crate) mod dialer;
mod nicks;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use bytes::{Buf, BytesMut};

use crate::client_id::ClientId;
use crate::config::relay::RelayConfig;
use crate::conn::overflow::Content;
use crate::conn::send_queue::SendQueue;
use crate::conn::timeouts::Timeout;
use crate::events::Event;
use crate::metrics::{RelayMetrics, RelayState};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::nats::info::Info;
use crate::protocol::nats::jetstream::StreamInfo;
use crate::protocol::relay_batch::{Line, NodeId};
use crate::relay::{
    self, Engine, Entry, Event as LogEvent, Heard as RelayHeard, LogInfo, Phase, Relay, Said,
};
use crate::session::{Ctx, Effect, Env, Flow, Step, commands};
use crate::time::moment::Moment;
use dialer::Dialer;
use link::{Heard, Identity, LinkError, LinkOut, NatsLink};
use nicks::Nicks;

/// How long an engine may take until it can be used: to connect, to greet, and to make the streams.
const OPENING_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of the input is added at a time to a frame that was cut, in bytes.
const PIECE_BYTES: usize = 4096;

/// How many addresses of other servers of the engine are remembered.
const MOST_SERVERS: usize = 64;

/// What a server of several keeps beside its connection to the engine.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) core: Relay,
    pub(crate) dialer: Dialer,
    nicks: Nicks,
    /// The connection that stands, or is being made.
    pub(crate) link: Option<ClientId>,
    /// When the engine is asked next whether it is there.
    pub(crate) ping_at: Moment,
    identity: Identity,
    /// How it stands to the others, since when, and how long it was in each state before.
    state: RelayState,
    since: Moment,
    times: RelayMetrics,
}

/// One connection to the engine.
#[derive(Debug)]
pub(crate) struct RelaySession {
    link: NatsLink,
    since: Moment,
    /// The beginning of a frame that is not whole yet.
    partial: BytesMut,
    /// Where the link writes. Empty between two calls.
    written: BytesMut,
    /// Where else the engine is, as it has said.
    servers: Vec<SocketAddr>,
    /// Why the link has ended, if it was the link that ended it.
    error: Option<LinkError>,
}

impl Relayed {
    /// Nothing is connected yet. `random` is a number that no other server has drawn.
    pub(crate) fn new(config: &RelayConfig, random: u64, now: Moment) -> Self {
        let node = NodeId(random);
        Self {
            core: Relay::new(config.times, node),
            dialer: Dialer::new(now),
            nicks: Nicks::new(node, config.times),
            link: None,
            ping_at: now,
            identity: Identity {
                room: config.room.clone(),
                node: random,
                auth: config.url.auth.clone(),
                replicas: config.replicas,
            },
            state: RelayState::Starting,
            since: now,
            times: RelayMetrics::default(),
        }
    }

    /// The session of a connection that is being made.
    pub(crate) fn new_session(&self, salt: u64, now: Moment) -> RelaySession {
        let mut identity = self.identity.clone();
        identity.node = self.core.node().0;
        RelaySession::new(identity, salt, now)
    }

    /// Takes what is to be said everywhere, while there is no connection.
    pub(crate) fn gather(&mut self, cx: &mut Ctx<'_>) {
        say_outgoing(&mut self.core, cx);
        self.drive_claims(&mut NoEngine, cx);
    }

    /// Does what is due by the clock, while there is no connection.
    pub(crate) fn on_time_without_link(&mut self, cx: &mut Ctx<'_>) {
        self.core.on_time(cx.env.now, &mut NoEngine, cx);
        self.drive_claims(&mut NoEngine, cx);
    }

    /// The connection has ended.
    pub(crate) fn on_closed(&mut self, now: Moment) {
        self.core.on_closed(now);
        self.nicks.on_closed();
    }

    /// When there is something to do although nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let deadlines = [self.core.next_deadline(), self.nicks.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Whether the engine has everything that was said here, and no nick of ours.
    pub(crate) fn is_drained(&self) -> bool {
        self.core.unacknowledged() == 0 && self.nicks.is_empty()
    }

    /// How it stands to the others, if that has changed since the last time. Before it was connected once, it
    /// is starting, whatever it waits for.
    pub(crate) fn new_state(&mut self, now: Moment) -> Option<RelayState> {
        let was = self.state;
        let state = match self.core.phase() {
            Phase::Holding | Phase::Starting if was == RelayState::Starting => was,
            Phase::Starting => RelayState::Starting,
            Phase::Up => RelayState::Up,
            Phase::Holding => RelayState::Holding,
            Phase::Split => RelayState::Split,
            Phase::Rejoining => RelayState::Rejoining,
        };
        if state == was {
            return None;
        }
        self.times.count_time(was, now.saturating_since(self.since));
        (self.state, self.since) = (state, now);
        Some(state)
    }

    /// What is counted.
    pub(crate) fn metrics(&self, members_elsewhere: usize, now: Moment) -> RelayMetrics {
        let figures = self.core.figures();
        let mut metrics = RelayMetrics {
            state: self.state,
            nodes: figures.living,
            members_elsewhere,
            round_trips: figures.round_trips,
            batches: figures.batches,
            lines: figures.lines,
            unread_lines: self.core.unacknowledged(),
            fetched: figures.sequencer.fetches,
            lost_lines: figures.nodes.lost_lines,
            doubles: figures.nodes.doubles,
            malformed: figures.nodes.malformed,
            parked: figures.nodes.parked,
            splits: figures.splits,
            ..self.times
        };
        metrics.count_time(self.state, now.saturating_since(self.since));
        metrics
    }
}

/// Has the relay say what is to be said everywhere, and shows what is to be heard here only.
fn say_outgoing(relay: &mut Relay, cx: &mut Ctx<'_>) {
    let mut here_only = Vec::new();
    cx.room.take_outgoing(|conn, kind, text| {
        if relay.say(conn, kind, text) == Said::HereOnly {
            here_only.push((conn, kind, text.to_owned()));
        }
    });
    for (conn, kind, text) in here_only {
        let line = Line {
            conn,
            kind,
            text: &text,
        };
        relay::Room::on_event(cx, LogEvent::HereOnly { line });
    }
}

/// The engine while there is no connection to it.
struct NoEngine;

impl Engine for NoEngine {
    fn publish(&mut self, _: &[u8], _: bool) {}

    fn fetch(&mut self, _: u64) {}

    fn ask_info(&mut self) {}
}

impl RelaySession {
    /// The session of a connection that was just dialed. `salt` makes its inbox one that nobody can guess.
    pub(crate) fn new(identity: Identity, salt: u64, now: Moment) -> Self {
        Self {
            link: NatsLink::new(identity, salt),
            since: now,
            partial: BytesMut::new(),
            written: BytesMut::new(),
            servers: Vec::new(),
            error: None,
        }
    }

    /// Takes the servers of which the engine has told, and why the link has ended.
    pub(crate) fn take_end(&mut self) -> (Vec<SocketAddr>, Option<LinkError>) {
        (std::mem::take(&mut self.servers), self.error.take())
    }

    /// Whether the relay can use it.
    pub(crate) fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Handles one frame of the input at most.
    pub(super) fn on_input(&mut self, input: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
        if self.partial.is_empty() {
            let (left, flow) = self.on_bytes(input, out, cx);
            if flow != Flow::Starved {
                return Step::new(input.len().saturating_sub(left), flow);
            }
            let rest = input.len().saturating_sub(left);
            self.partial
                .extend_from_slice(input.get(rest..).unwrap_or_default());
            return Step::new(input.len(), Flow::Starved);
        }
        // The frame is put together, piece by piece; what is behind it stays in the input.
        let piece = input.get(..PIECE_BYTES).unwrap_or(input);
        let mut whole = std::mem::take(&mut self.partial);
        let held = whole.len();
        whole.extend_from_slice(piece);
        let (left, flow) = self.on_bytes(&whole, out, cx);
        let used = whole.len().saturating_sub(left);
        if flow == Flow::Starved {
            whole.advance(used);
            self.partial = whole;
            let has_more = piece.len() < input.len();
            let flow = if has_more { Flow::Continue } else { flow };
            return Step::new(piece.len(), flow);
        }
        // Its memory is kept for the next one.
        whole.clear();
        self.partial = whole;
        Step::new(used.saturating_sub(held), flow)
    }

    /// Handles one frame at the beginning of some bytes. Returns how many are left, and `Starved` if there is no
    /// whole frame.
    fn on_bytes(&mut self, bytes: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> (usize, Flow) {
        let mut rest = bytes;
        let flow = match self.link.on_input(&mut rest, &mut self.written) {
            Ok(Some(heard)) => self.on_heard(heard, cx),
            Ok(None) if rest.len() < bytes.len() => Flow::Continue,
            Ok(None) => Flow::Starved,
            Err(error) => self.fail(error),
        };
        match self.write_out(out, cx) {
            Flow::Continue => (rest.len(), flow),
            failed => (rest.len(), failed),
        }
    }

    fn fail(&mut self, error: LinkError) -> Flow {
        self.error = Some(error);
        Flow::Close(CloseReason::EngineRefused)
    }

    fn on_heard(&mut self, heard: Heard<'_>, cx: &mut Ctx<'_>) -> Flow {
        let heard = match heard {
            Heard::Servers { info } => return self.on_servers(&info, cx),
            Heard::Forbidden(words) => {
                cx.watch.emit(|| Event::EngineForbids { words });
                return Flow::Continue;
            }
            Heard::Open(info) => {
                self.with_relay(cx, |cx, relayed, writer| {
                    let (fresh, now) = (NodeId(random_number(cx.env.random)), cx.env.now);
                    say_outgoing(&mut relayed.core, cx);
                    relayed.dialer.on_open();
                    let claims = &info.claims;
                    relayed
                        .nicks
                        .opened(claims.created.clone(), claims.last_seq);
                    let info = log_info(&info.lines);
                    relayed.core.on_open(info, fresh, now, writer, cx);
                });
                let peer = cx.peer;
                cx.watch.emit(|| Event::EngineOpen { peer });
                return Flow::Continue;
            }
            Heard::Private(payload) => {
                let effects = &mut *cx.effects;
                cx.room.on_private(payload, |id, asked| {
                    effects.push(Effect::AnswerWhois { id, asked });
                });
                return Flow::Continue;
            }
            Heard::Entry { sequence, payload } => RelayHeard::Entry { sequence, payload },
            Heard::Fetched {
                sequence,
                payload,
                stored_at,
            } => RelayHeard::Fetched(Entry {
                sequence,
                payload,
                stored_at: stored_at.map_or(cx.env.now, |at| moment_of(at, cx.env)),
            }),
            Heard::Missing { sequence } => RelayHeard::Missing { sequence },
            Heard::NotFetched { sequence } => RelayHeard::NotFetched { sequence },
            Heard::Info(info) => RelayHeard::Info(log_info(&info)),
            Heard::Stored { sequence } => RelayHeard::Stored { sequence },
            Heard::NotStored(_) => RelayHeard::NotStored,
            Heard::Claim { request, answer } => {
                self.with_relay(cx, |cx, relayed, writer| {
                    relayed.on_claim_answer(request, answer, writer, cx);
                });
                return Flow::Continue;
            }
        };
        self.with_relay(cx, |cx, relayed, writer| {
            let now = cx.env.now;
            // What was said in this turn comes before what will be said if the room is cut off by this.
            say_outgoing(&mut relayed.core, cx);
            relayed.core.on_heard(heard, now, writer, cx);
        });
        Flow::Continue
    }
}

impl RelaySession {
    /// Remembers where else the engine is.
    fn on_servers(&mut self, info: &Info, cx: &mut Ctx<'_>) -> Flow {
        for addr in info.literal_addrs() {
            if self.servers.len() < MOST_SERVERS && !self.servers.contains(&addr) {
                self.servers.push(addr);
            }
        }
        if info.ldm {
            // This server of the engine is about to end.
            cx.watch.emit(|| Event::EngineLeaves);
            return Flow::Close(CloseReason::EngineLeaves);
        }
        Flow::Continue
    }

    /// Publishes what was said here, and writes what waits for the engine.
    pub(crate) fn flush(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        if !self.is_open() {
            return Flow::Continue;
        }
        self.with_relay(cx, |cx, relayed, writer| {
            let relay = &mut relayed.core;
            say_outgoing(relay, cx);
            relay.flush(cx.env.now, writer);
            let node = relay.node();
            let (link, out) = writer.parts();
            cx.room
                .take_private(node, |to, payload| link.tell(to.0, payload, out));
        });
        self.write_out(out, cx)
    }

    /// Does what is due by the clock.
    pub(crate) fn on_time(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        self.with_relay(cx, |cx, relayed, writer| {
            let now = cx.env.now;
            relayed.core.on_time(now, writer, cx);
        });
        self.write_out(out, cx)
    }

    /// Asks whether the engine is there.
    pub(crate) fn ping(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        if let Err(error) = self.link.tick(&mut self.written) {
            return self.fail(error);
        }
        self.write_out(out, cx)
    }

    fn with_relay(
        &mut self,
        cx: &mut Ctx<'_>,
        act: impl FnOnce(&mut Ctx<'_>, &mut Relayed, &mut LinkOut<'_, BytesMut>),
    ) {
        let Some(mut relayed) = cx.relay.take() else {
            return;
        };
        let mut writer = self.link.with(&mut self.written);
        act(cx, &mut relayed, &mut writer);
        let (link, out) = writer.parts();
        link.go_on_as(relayed.core.node().0, out);
        relayed.drive_claims(&mut writer, cx);
        *cx.relay = Some(relayed);
    }

    fn write_out(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        if self.written.is_empty() {
            return Flow::Continue;
        }
        let flow = cx.push(out, &self.written, Content::Reply);
        self.written.clear();
        flow
    }

    /// When it is closed if it cannot be used by then.
    pub(crate) fn timeout(&self) -> Option<(Moment, Timeout)> {
        let timeout = Timeout::Close(CloseReason::Unreachable);
        (!self.is_open()).then_some((self.since + OPENING_TIMEOUT, timeout))
    }

    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.partial.capacity()
    }
}

/// Converts a past wall-clock time to a moment. A time in the future, by another machine's clock, counts as now.
fn moment_of(time: SystemTime, env: &Env) -> Moment {
    let age = (env.wall_clock)().duration_since(time);
    env.now.saturating_sub(age.unwrap_or_default())
}

/// A number that nobody can predict; 0 where there is no randomness.
pub(crate) fn random_number(random: fn() -> Option<[u8; 16]>) -> u64 {
    let drawn = random().unwrap_or_default();
    drawn
        .first_chunk()
        .map_or(0, |half| u64::from_ne_bytes(*half))
}

/// What the log says is done in the room. What operators order is a command, which may concern more than that.
impl relay::Room for Ctx<'_> {
    fn on_event(&mut self, event: LogEvent<'_>) {
        let order = match event {
            LogEvent::Line {
                node,
                is_own,
                line,
                is_late,
                ..
            } => (!is_late || self.room.is_started()).then_some((node, is_own, line)),
            LogEvent::HereOnly { line } => Some((NodeId(0), true, line)),
            _ => None,
        };
        if let Some((node, is_own, line)) = order
            && commands::is_order(line.kind)
        {
            let (nick, words) = line.words();
            let by = self.room.author_of(node, is_own, line.conn, nick);
            return commands::obey(by, line.kind, words, self);
        }
        self.room.on_event(event);
    }
}

impl Engine for LinkOut<'_, BytesMut> {
    fn publish(&mut self, batch: &[u8], wants_answer: bool) {
        let (link, out) = self.parts();
        link.publish(batch, wants_answer, out);
    }

    fn fetch(&mut self, sequence: u64) {
        let (link, out) = self.parts();
        link.fetch(sequence, out);
    }

    fn ask_info(&mut self) {
        let (link, out) = self.parts();
        link.ask_info(out);
    }
}

fn log_info(info: &StreamInfo) -> LogInfo {
    LogInfo {
        created: info.created.clone(),
        first: info.first_seq,
        last: info.last_seq,
        replicas: u8::try_from(info.replicas()).unwrap_or(u8::MAX),
    }
}
