//! Servers with people who speak, one engine, and the time: [`World`] lets things happen in the order of their
//! times, and calls a relay when something reaches it or when it wants to be called, and never else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::engine::{Answer, Faults, Log, MILLISECOND, Request, SECOND, Time, Wire};
use super::journal::Journal;
use super::tally::Tally;
use crate::protocol::relay_batch::{Batch, Kind, NodeId};
use crate::relay::{Entry, Heard, Phase, Relay, Said, Times};
use crate::time::moment::Moment;

/// More turns at one moment, and the relay spins.
const MOST_TURNS: usize = 1000;

/// One that happens later.
#[derive(Debug)]
enum Coming {
    /// Something reaches the engine over a link.
    Request(u64, Request),
    /// Something reaches a server.
    Answer(u64, Answer),
    /// A server is to connect.
    Connect(usize),
    /// A server wants to be called.
    Time(usize),
    /// A server goes on that stood still.
    Wake(usize),
    /// It reads that its link is closed.
    Closed(usize),
    Lead,
    /// The new leader has applied all that was stored.
    CaughtUp,
}

pub(super) struct Server {
    pub(super) relay: Relay,
    pub(super) journal: Journal,
    /// The process runs.
    pub(super) is_alive: bool,
    /// The number of the link that is open, or being opened.
    link: Option<u64>,
    /// When the last request of the link arrives.
    arrives: Time,
    /// Until when it cannot be reached, and until when it stands still.
    pub(super) cut_until: Time,
    still_until: Time,
    called_at: Option<Time>,
    /// What the people here have said, and how many lines each.
    pub(super) said: Vec<String>,
    spoken: Vec<u64>,
    last_phase: Phase,
    last_again: u64,
    last_node: NodeId,
    /// All ids that it has had.
    pub(super) ids: Vec<NodeId>,
    /// The highest sequence that it was told.
    highest: u64,
    /// The log had lost its front when it was first read.
    began_behind: Option<bool>,
}

pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) now: Time,
    coming: BTreeMap<(Time, u64), Coming>,
    count: u64,
    pub(super) log: Log,
    links: BTreeMap<u64, usize>,
    /// The first numbers of the batches that were ever stored.
    stored: BTreeMap<NodeId, BTreeSet<u64>>,
    pub(super) servers: Vec<Server>,
    pub(super) tally: Tally,
    /// The log was never trimmed, lost or made anew: what was said has one order.
    pub(super) is_clean: bool,
    /// It has lost its end, or was made anew.
    pub(super) is_broken: bool,
    /// It was broken so that lines may be told out of their order.
    pub(super) is_lax: bool,
    stopped_until: Time,
    keeps_events: bool,
}

impl World {
    pub(super) fn new(seed: u64, limit: u64, replicas: u8) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            now: 0,
            coming: BTreeMap::new(),
            count: 0,
            log: Log::new(limit, replicas),
            links: BTreeMap::new(),
            stored: BTreeMap::new(),
            servers: Vec::new(),
            tally: Tally::default(),
            keeps_events: std::env::var_os("LINE_CHAT_SEED").is_some(),
            is_broken: false,
            is_lax: false,
            is_clean: limit == u64::MAX,
            stopped_until: 0,
        }
    }

    fn moment(&self) -> Moment {
        Moment::BEGINNING + Duration::from_micros(self.now)
    }

    fn later(&mut self, at: Time, coming: Coming) {
        self.count += 1;
        self.coming.insert((at.max(self.now), self.count), coming);
    }

    /// A server is started. It connects when it can be reached.
    pub(super) fn start(&mut self, cut_until: Time) -> usize {
        let node = NodeId(self.rng.u64(..));
        let id = self.servers.len();
        let speakers = self.rng.usize(1..4);
        let relay = Relay::new(Times::default(), node);
        self.servers.push(Server {
            last_phase: relay.phase(),
            relay,
            journal: Journal::new(self.keeps_events, self.is_lax),
            is_alive: true,
            link: None,
            arrives: 0,
            cut_until,
            still_until: 0,
            called_at: None,
            said: Vec::new(),
            spoken: vec![0; speakers],
            last_node: node,
            last_again: 0,
            ids: vec![node],
            began_behind: None,
            highest: 0,
        });
        self.later(self.now, Coming::Time(id));
        self.servers[id].called_at = Some(self.now);
        self.later(cut_until, Coming::Connect(id));
        id
    }

    /// Lets things happen until then.
    pub(super) fn run_until(&mut self, end: Time) {
        while let Some(first) = self.coming.first_entry() {
            let (at, _) = *first.key();
            if at > end {
                break;
            }
            let coming = first.remove();
            self.now = self.now.max(at);
            self.happen(coming);
        }
        self.now = end;
    }

    pub(super) fn run_for(&mut self, time: Time) {
        self.run_until(self.now + time);
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Request(link, request) => {
                if self.now < self.stopped_until {
                    let at = self.stopped_until;
                    self.later(at, Coming::Request(link, request));
                } else {
                    self.on_request(link, request);
                }
            }
            Coming::Answer(link, answer) => self.on_answer(link, answer),
            Coming::Connect(id) => self.connect(id),
            Coming::Time(id) => self.on_time(id),
            Coming::Wake(id) => self.call(id, |_, _, _, _| ()),
            Coming::Closed(id) => self.call(id, |relay, _, now, _| relay.on_closed(now)),
            Coming::Lead => self.lead(),
            Coming::CaughtUp => self.log.behind = 0,
        }
    }

    fn on_request(&mut self, link: u64, request: Request) {
        let is_open = self.links.contains_key(&link);
        let answer = match request {
            Request::Publish(batch, wants_answer) => {
                if !is_open {
                    self.tally
                        .note("a late request reaches the engine after its link was cut");
                }
                let is_refused =
                    !self.log.has_leader || self.rng.u32(..1000) < self.log.faults.refusals;
                let stored = (!is_refused).then(|| self.store(&batch));
                wants_answer.then(|| match stored {
                    Some(sequence) => {
                        self.tally.note("a probe is answered that it is stored");
                        Answer::Stored(sequence)
                    }
                    None => {
                        self.tally
                            .note("a probe is answered that nothing is stored");
                        Answer::NotStored
                    }
                })
            }
            Request::Fetch(sequence) => {
                Some(self.log.fetch(sequence, &mut self.rng, &mut self.tally))
            }
            Request::Info => self.log.has_leader.then(|| Answer::Info(self.log.info())),
            Request::Open if self.log.has_leader => {
                self.note_behind(link);
                Some(Answer::Open(self.log.info()))
            }
            Request::Open => {
                let at = self.now + SECOND;
                self.later(at, Coming::Request(link, Request::Open));
                None
            }
        };
        if let Some(answer) = answer {
            let at = self.now + self.rng.u64(50..2000);
            self.later(at, Coming::Answer(link, answer));
        }
    }

    fn note_behind(&mut self, link: u64) {
        let id = self.links.get(&link);
        let read = id.map(|id| self.servers[*id].relay.core.position());
        let is_behind = read.is_some_and(|read| read > self.log.info().last);
        self.tally.note_if(
            is_behind && self.log.behind > 0,
            "a new leader reports less than was read",
        );
    }

    /// Stores a batch, and tells it to all that are linked, or nearly.
    fn store(&mut self, batch: &[u8]) -> u64 {
        self.note_stored(batch);
        let sequence = self.log.store(batch);
        let Faults {
            drops,
            doubles,
            delays,
            ..
        } = self.log.faults;
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            let is = |rng: &mut fastrand::Rng, of_1000| rng.u32(..1000) < of_1000;
            if is(&mut self.rng, drops) {
                continue;
            }
            let times = 1 + u32::from(is(&mut self.rng, doubles));
            for _ in 0..times {
                let is_late = is(&mut self.rng, delays);
                let most = if is_late { 200 * MILLISECOND } else { 500 };
                let at = self.now + 50 + self.rng.u64(..most);
                self.later(
                    at,
                    Coming::Answer(link, Answer::Entry(sequence, batch.to_vec())),
                );
            }
        }
        sequence
    }

    fn note_stored(&mut self, batch: &[u8]) {
        let header = Batch::parse(batch).expect("a batch").header();
        if header.count > 0 {
            let stored = self.stored.entry(header.node).or_default();
            let is_double = !stored.insert(header.first);
            let is_behind = stored.last().is_some_and(|last| *last > header.first);
            self.tally.note_if(is_double, "a batch is stored twice");
            self.tally.note_if(
                is_behind && !is_double,
                "a batch is stored behind a later one",
            );
        }
    }

    fn on_answer(&mut self, link: u64, answer: Answer) {
        let Some(&id) = self.links.get(&link) else {
            return;
        };
        let server = &self.servers[id];
        if self.now < server.still_until {
            let at = server.still_until;
            self.later(at, Coming::Answer(link, answer));
            return;
        }
        if let Answer::Open(info) = answer {
            let fresh = NodeId(self.rng.u64(..));
            self.note_opened(id, &info);
            self.call(id, |relay, journal, now, wire| {
                relay.on_open(info, fresh, now, wire, journal);
            });
            return;
        }
        if let Answer::Entry(sequence, _) = answer {
            let server = &mut self.servers[id];
            let is_late = sequence < server.highest;
            server.highest = server.highest.max(sequence);
            self.tally.note_if(is_late, "an entry comes out of order");
        }
        self.call(id, |relay, journal, now, wire| {
            let heard = match &answer {
                Answer::Entry(sequence, payload) => Heard::Entry {
                    sequence: *sequence,
                    payload,
                },
                Answer::Fetched(sequence, payload) => Heard::Fetched(Entry {
                    sequence: *sequence,
                    payload,
                    stored_at: now,
                }),
                Answer::Missing(sequence) => Heard::Missing {
                    sequence: *sequence,
                },
                Answer::NotFetched(sequence) => Heard::NotFetched {
                    sequence: *sequence,
                },
                Answer::Info(info) | Answer::Open(info) => Heard::Info(info.clone()),
                Answer::Stored(sequence) => Heard::Stored {
                    sequence: *sequence,
                },
                Answer::NotStored => Heard::NotStored,
            };
            relay.on_heard(heard, now, wire, journal);
        });
    }

    fn note_opened(&mut self, id: usize, info: &crate::relay::LogInfo) {
        let relay = &self.servers[id].relay;
        let position = relay.core.position();
        let is_trimmed = self.servers[id].journal.has_started && info.first > position + 1;
        self.tally
            .note_if(is_trimmed, "a log was trimmed beyond what was read");
    }

    fn connect(&mut self, id: usize) {
        let server = &self.servers[id];
        if !server.is_alive || server.link.is_some() {
            return;
        }
        let free_at = server.cut_until.max(server.still_until);
        if self.now < free_at {
            self.later(free_at, Coming::Connect(id));
            return;
        }
        self.count += 1;
        let link = self.count;
        self.links.insert(link, id);
        self.servers[id].link = Some(link);
        self.servers[id].arrives = self.now;
        self.send(id, Request::Open);
    }

    fn send(&mut self, id: usize, request: Request) {
        let Some(link) = self.servers[id].link else {
            let is_still = self.now < self.servers[id].still_until + MILLISECOND;
            assert!(is_still, "{request:?} without a link");
            return;
        };
        let at = self.now + self.rng.u64(50..=self.log.faults.way);
        let at = at.max(self.servers[id].arrives);
        self.servers[id].arrives = at;
        self.later(at, Coming::Request(link, request));
    }

    fn on_time(&mut self, id: usize) {
        let server = &self.servers[id];
        if !server.is_alive || server.called_at.is_none_or(|at| at > self.now) {
            return;
        }
        if self.now < server.still_until {
            let at = server.still_until;
            self.servers[id].called_at = Some(at);
            self.later(at, Coming::Time(id));
            return;
        }
        self.servers[id].called_at = None;
        for _ in 0..MOST_TURNS {
            self.call(id, |relay, journal, now, wire| {
                relay.on_time(now, wire, journal);
            });
            if self.servers[id].relay.next_deadline() != Some(Moment::BEGINNING) {
                break;
            }
        }
        let deadline = self.servers[id].relay.next_deadline();
        let is_passed = deadline.is_some_and(|at| at <= self.moment());
        assert!(
            !is_passed,
            "{deadline:?} has passed: {:?}",
            self.servers[id].relay.core.deadlines()
        );
    }

    /// Calls a relay, and does what it wants.
    fn call(&mut self, id: usize, call: impl FnOnce(&mut Relay, &mut Journal, Moment, &mut Wire)) {
        if !self.servers[id].is_alive {
            return;
        }
        let now = self.moment();
        let mut wire = Wire::default();
        let Server { relay, journal, .. } = &mut self.servers[id];
        call(relay, journal, now, &mut wire);
        relay.flush(now, &mut wire);
        for request in wire.0 {
            self.send(id, request);
        }
        self.note(id);
        let deadline = self.servers[id].relay.next_deadline();
        let beginning = Moment::BEGINNING;
        let micros = |at: Moment| {
            let nanos = at.saturating_since(beginning).as_nanos();
            u64::try_from(nanos.div_ceil(1000)).expect("not so late")
        };
        let at = deadline.map(micros);
        let server = &mut self.servers[id];
        if let Some(at) = at.filter(|at| server.called_at.is_none_or(|called| *at < called)) {
            server.called_at = Some(at);
            self.later(at, Coming::Time(id));
        }
    }

    /// What has come about, and what always holds.
    fn note(&mut self, id: usize) {
        let server = &mut self.servers[id];
        let (relay, tally) = (&server.relay, &mut self.tally);
        let figures = relay.figures();
        assert!(figures.nodes.parked <= 4096 && figures.nodes.parked_bytes <= 4 << 20);
        assert!(relay.unacknowledged() <= 16 * 64);
        if let Some(log) = &relay.core.log {
            let is_behind = log.read_from > 0 || log.first > 1;
            server.began_behind.get_or_insert(is_behind);
        }
        let has_read_all = !self.is_broken
            && server.began_behind == Some(false)
            && figures.sequencer.lost_entries == 0;
        let misplaced = &server.journal.misplaced;
        assert!(
            misplaced.is_empty() || !has_read_all,
            "server {id} sees {misplaced:?} behind later ones: {}",
            server.journal.last_events()
        );
        assert!(relay.core.publisher.waiting_bytes() < (1 << 20) + (64 << 10));
        tally.note_if(figures.out == 16, "sixteen batches are out");
        tally.note_if(!relay.has_room(usize::MAX), "speakers are not read");
        let phase = relay.phase();
        let (before, was) = (server.last_phase, server.last_node);
        if phase == Phase::Split && before == Phase::Holding {
            let is_linked = relay.core.is_open();
            tally.note_if(is_linked, "a room is split although its link stands");
            tally.note_if(
                !server.journal.has_started,
                "a room is split before it was ever linked",
            );
        }
        tally.note_if(
            phase == Phase::Split && before == Phase::Rejoining,
            "a split goes on after a try to rejoin",
        );
        tally.note_if(
            phase == Phase::Rejoining && before == Phase::Up && was != relay.node(),
            "a server reads that it is gone",
        );
        if phase == Phase::Up && before == Phase::Holding {
            tally.note_if(
                figures.again > server.last_again,
                "a hold ends without a split, and lines are published again",
            );
        }
        server.last_again = figures.again;
        (server.last_phase, server.last_node) = (phase, relay.node());
        if server.ids.last() != Some(&relay.node()) {
            server.ids.push(relay.node());
        }
    }

    /// Somebody says so many lines, if their server reads them.
    pub(super) fn speak(&mut self, id: usize, lines: u64) {
        let server = &mut self.servers[id];
        if !server.is_alive || self.now < server.still_until {
            return;
        }
        let speaker = self.rng.usize(..server.spoken.len());
        let long = self.rng.u32(..40) == 0;
        self.call(id, |_, _, _, _| ());
        for _ in 0..lines {
            let server = &mut self.servers[id];
            if !server.relay.has_room(usize::MAX) {
                break;
            }
            let number = server.spoken[speaker];
            server.spoken[speaker] += 1;
            let padding = if long { "x".repeat(900) } else { String::new() };
            let text = format!("{id}:{speaker}{padding} {number}");
            server.said.push(text.clone());
            match server.relay.say(speaker as u64, Kind::Say, &text) {
                Said::Waits => {}
                Said::HereOnly => server.journal.show(&text),
            }
        }
        self.call(id, |_, _, _, _| ());
    }

    /// The link of a server is closed; it can be reached again after that time.
    pub(super) fn cut(&mut self, id: usize, time: Time) {
        let until = self.now + time;
        let arrives_late = self.rng.bool();
        let server = &mut self.servers[id];
        server.cut_until = server.cut_until.max(until);
        let Some(link) = server.link.take() else {
            return;
        };
        self.links.remove(&link);
        // What is on its way to the engine may be lost, or come late.
        let is_of_link = |coming: &Coming| matches!(coming, Coming::Request(of, _) if *of == link);
        let late = self.rng.u64(..3 * SECOND);
        let keys: Vec<_> = self
            .coming
            .iter()
            .filter(|it| is_of_link(it.1))
            .map(|it| *it.0)
            .collect();
        for key in keys {
            let coming = self.coming.remove(&key);
            if let Some(coming) = coming.filter(|_| arrives_late && self.rng.bool()) {
                self.later(key.0 + late, coming);
            }
        }
        let read_at = self.servers[id].still_until;
        if self.now < read_at {
            self.tally.note("a slow server is cut");
            self.later(read_at, Coming::Closed(id));
        } else {
            self.happen(Coming::Closed(id));
        }
        let retry = self.rng.u64(50..500) * MILLISECOND;
        self.later(until.max(self.now + retry.min(time)), Coming::Connect(id));
    }

    /// A server stands still, as one does whose process is stopped.
    pub(super) fn stop_server(&mut self, id: usize, time: Time) {
        self.tally.note("a server stands still");
        let until = self.now + time;
        let until = until.max(self.servers[id].still_until);
        self.servers[id].still_until = until;
        self.later(until, Coming::Wake(id));
    }

    /// A server ends without a word.
    pub(super) fn kill(&mut self, id: usize) {
        let server = &mut self.servers[id];
        server.is_alive = false;
        if let Some(link) = server.link.take() {
            self.links.remove(&link);
        }
    }

    /// Nobody leads the log for that long.
    pub(super) fn elect(&mut self, time: Time) {
        self.log.has_leader = false;
        self.later(self.now + time, Coming::Lead);
    }

    /// The log has a leader again. If there are copies, the leader may not have applied all of it yet.
    fn lead(&mut self) {
        self.log.has_leader = true;
        if self.log.replicas > 1 && self.rng.bool() {
            self.log.behind = self.rng.u64(..10);
            let at = self.now + self.rng.u64(..SECOND);
            self.later(at, Coming::CaughtUp);
        }
    }

    /// The engine stands still.
    pub(super) fn stop_engine(&mut self, time: Time) {
        self.stopped_until = self.now + time;
    }

    /// All links are closed, as by a restart of the engine.
    pub(super) fn cut_all(&mut self, most: Time) {
        for id in 0..self.servers.len() {
            let time = self.rng.u64(20 * MILLISECOND..most);
            self.cut(id, time);
        }
    }

    pub(super) fn alive(&self) -> Vec<usize> {
        let servers = self.servers.iter().enumerate();
        let alive = servers.filter(|(_, server)| server.is_alive);
        alive.map(|(id, _)| id).collect()
    }

    /// Where everybody is.
    pub(super) fn shown(&self) -> String {
        let mut shown = format!(
            "\nlog {}: {}..={}",
            self.log.created, self.log.first, self.log.last
        );
        for id in self.alive() {
            let relay = &self.servers[id].relay;
            let (phase, node) = (relay.phase(), relay.node());
            let (log, position) = (&relay.core.log, relay.core.position());
            shown += &format!("\nserver {id}: {phase:?} {node} at {position} of {log:?}");
        }
        shown
    }

    /// Everything works again, and will.
    pub(super) fn heal(&mut self) {
        self.log.faults = Faults {
            delays: self.log.faults.delays,
            ..Faults::NONE
        };
        (self.log.has_leader, self.log.behind) = (true, 0);
        self.stopped_until = 0;
        for id in self.alive() {
            self.servers[id].cut_until = self.now;
            if self.servers[id].link.is_none() {
                self.later(self.now, Coming::Connect(id));
            }
        }
    }
}
