//! A run: [`World`] lets things happen in the order of their times, carries bytes between servers and the engine, and lets
//! people act. A server gets turns only when something reaches it, or when it has said that it wants one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use fastrand::Rng;
use line_chat::{Profile, RelayState};

use crate::checks;
use crate::client::{Client, Kind, Read, SIP, Said, Span, State};
use crate::nats::{MILLISECOND, Nats, SECOND, Time};
use crate::server::{self, Server};
use crate::tally::Tally;
use crate::wire::Wire;

/// For how long after a trouble of a server others may have taken it for gone.
const DOUBT: Time = 60 * SECOND;

/// How long a client waits for a nick.
const PATIENCE: Time = 45 * SECOND;

/// How many members speak at once, and how many lines of 200 bytes each of them says: more in one turn than a reader's
/// queue holds.
const CROWD: usize = 24;
const LINES_OF_EACH: usize = 100;

/// Nicks that several want.
const CONTESTED: [&str; 3] = ["kim", "lee", "max"];

/// What happens later.
#[derive(Debug)]
pub(crate) enum Coming {
    /// A connection reaches the engine, some bytes do, or its end.
    Connect(u64),
    ToEngine(u64, Vec<u8>),
    EngineSeesEnd(u64),
    ToServer(u64, Vec<u8>),
    ServerSeesEnd(u64),
    /// A connection takes nothing, which the engine bears for so long.
    EngineCuts(u64),
    EngineIsUp,
    Lead,
    /// The new leader has applied all that was stored.
    CaughtUp,
    /// Nothing is lost or late any more.
    Calm,
    Wake(usize),
    /// Connections to the engine are no longer refused.
    Accept,
    /// A server starts.
    Start,
    /// A slow reader reads.
    Sip(usize),
    /// Somebody connects, and does something.
    Join(usize),
    Act(usize),
    Trouble,
}

/// What becomes of the log in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It keeps everything.
    Whole,
    /// Its front is trimmed.
    Short,
    /// It loses its end, or is made anew.
    Broken,
}

/// One of our servers, or where one was.
pub(crate) struct Node {
    pub(crate) server: Option<Server>,
    pub(crate) witness: usize,
    pub(crate) is_from_start: bool,
    pub(crate) stopped_until: Time,
    /// No byte goes between it and the engine.
    pub(crate) parted_until: Time,
    pub(crate) refused_until: Time,
    /// Until when others may take it for gone, although it is there.
    pub(crate) unsure_until: Time,
    pub(crate) is_cut_off: bool,
}

/// A connection to the engine.
pub(crate) struct Link {
    pub(crate) node: usize,
    pub(crate) wire: Wire,
    pub(crate) has_ended: bool,
    /// When what was sent last arrives.
    pub(crate) to_engine_at: Time,
    to_server_at: Time,
}

/// Somebody who comes again.
pub(crate) struct Person {
    profile: Profile,
    pub(crate) nick: String,
    pub(crate) client: Option<usize>,
    /// Where it goes next, if it does not go anywhere.
    pub(crate) to: Option<usize>,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Time,
    start: Instant,
    pub(crate) coming: BTreeMap<(Time, u64), Coming>,
    count: u64,
    pub(crate) nats: Nats,
    pub(crate) engine_down_until: Time,
    pub(crate) engine_still_until: Time,
    pub(crate) replicas: u8,
    pub(crate) links: BTreeMap<u64, Link>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) people: Vec<Person>,
    pub(crate) said: Said,
    pub(crate) tally: Tally,
    pub(crate) fate: Fate,
    /// The log was broken so that lines may be told out of their order.
    pub(crate) is_broken: bool,
    /// Until when people act, and things go wrong.
    pub(crate) busy_until: Time,
    is_traced: bool,
    nicks: usize,
}

/// Makes a run of a seed.
pub(crate) fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    world.set_up();
    world.busy_until = world.now + world.rng.u64(30..70) * SECOND;
    world.later(world.now + SECOND, Coming::Trouble);
    world.run_until(world.busy_until);
    world.trace(|| "everything heals".into());
    world.run_until(world.now + 110 * SECOND);
    checks::check_members(&world);
    checks::check_journals(&world);
    checks::check_words(&mut world);
    checks::check_free_nicks(&mut world);
    world.note_metrics();
    world.tally
}

/// Many members speak at once on a server whose engine has just stopped, so that all their lines wait until the room is
/// cut off. Then every client that reads gets all of them.
pub(crate) fn run_crowd() {
    let mut world = World::new(0);
    world.start_server(true);
    world.run_until(5 * SECOND);
    let nicks = (0..CROWD).map(|number| format!("p{number}q"));
    let kind = (Kind::Talker, Profile::Plain);
    let crowd: Vec<usize> = nicks.map(|nick| world.connect(0, kind, &nick)).collect();
    world.run_until(10 * SECOND);
    assert!(world.clients.iter().all(Client::is_member), "all are in");
    world.engine_still_until = Time::MAX;
    for &id in &crowd {
        for _ in 0..LINES_OF_EACH {
            world.clients[id].say(200, false, &mut world.said);
        }
    }
    world.run_until(20 * SECOND);
    assert!(world.nodes[0].is_cut_off);
    let all = CROWD * LINES_OF_EACH;
    for id in [world.nodes[0].witness, crowd[0]] {
        let client = &world.clients[id];
        let own = usize::try_from(client.said).expect("so few");
        assert_eq!(client.lines().count(), all - own, "client {id}");
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        server::set_seed(seed);
        let fate = match rng.u8(..10) {
            0..7 => Fate::Whole,
            7 => Fate::Short,
            _ => Fate::Broken,
        };
        let limit = if fate == Fate::Short {
            rng.usize(20..60)
        } else {
            usize::MAX
        };
        let nats = Nats::new(limit, rng.fork());
        let is_traced = std::env::var_os("LINE_CHAT_SEED").is_some()
            && std::env::var_os("LINE_CHAT_SEEDS").is_none();
        Self {
            now: 0,
            start: Instant::now(),
            coming: BTreeMap::new(),
            count: 0,
            nats,
            engine_down_until: 0,
            engine_still_until: 0,
            replicas: if rng.bool() { 1 } else { 3 },
            links: BTreeMap::new(),
            nodes: Vec::new(),
            clients: Vec::new(),
            people: Vec::new(),
            said: Said::default(),
            tally: Tally::default(),
            fate,
            is_broken: false,
            busy_until: Time::MAX,
            is_traced,
            nicks: 0,
            rng,
        }
    }

    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            let now = self.now;
            println!("{:3}.{:06} {}", now / SECOND, now % SECOND, what());
        }
    }

    pub(crate) fn later(&mut self, at: Time, coming: Coming) {
        self.count += 1;
        self.coming.insert((at, self.count), coming);
    }

    /// All servers are up, and somebody listens on each of them, before anybody says anything.
    fn set_up(&mut self) {
        for _ in 0..self.rng.usize(2..=5) {
            self.start_server(true);
        }
        self.run_until(5 * SECOND);
        let is_in = |it: &Client| it.is_member();
        assert!(self.clients.iter().all(is_in), "all are let in");
        for _ in 0..self.rng.usize(3..=8) {
            let profile = match self.rng.u8(..3) {
                0 => Profile::Plain,
                _ => Profile::Interactive,
            };
            let nick = self.fresh_nick();
            self.people.push(Person {
                profile,
                nick,
                client: None,
                to: None,
            });
            let at = self.now + self.rng.u64(..SECOND);
            self.later(at, Coming::Join(self.people.len() - 1));
        }
    }

    pub(crate) fn start_server(&mut self, is_from_start: bool) {
        let number = self.nodes.len();
        self.trace(|| format!("server {number} starts"));
        let rng = self.rng.fork();
        let mut server = Server::new(self.replicas, self.start, self.now, rng);
        server.refuse_dials(self.engine_down_until > self.now);
        self.nodes.push(Node {
            server: Some(server),
            witness: self.clients.len(),
            is_from_start,
            stopped_until: 0,
            parted_until: 0,
            refused_until: 0,
            unsure_until: 0,
            is_cut_off: false,
        });
        self.connect(
            number,
            (Kind::Witness, Profile::Interactive),
            &format!("w{number}"),
        );
        self.connect(number, (Kind::Slow, Profile::Plain), &format!("s{number}"));
    }

    pub(crate) fn connect(&mut self, node: usize, kind: (Kind, Profile), nick: &str) -> usize {
        let id = self.clients.len();
        let room = if kind.0 == Kind::Slow {
            SIP
        } else {
            usize::MAX
        };
        let wire = Wire::new(room, self.rng.fork());
        if let Some(server) = &mut self.nodes[node].server {
            server.accept(wire.clone(), kind.1, self.now);
        }
        let client = Client::new(id, node, kind, nick, wire, self.now);
        self.clients.push(client);
        if kind.0 == Kind::Slow {
            self.later(self.now + SECOND, Coming::Sip(id));
        }
        id
    }

    fn fresh_nick(&mut self) -> String {
        self.nicks += 1;
        match self.rng.u8(..4) {
            0 => (*self.rng.choice(CONTESTED).as_ref().expect("some")).into(),
            _ => format!("p{}q", self.nicks),
        }
    }

    /// Servers that run.
    pub(crate) fn alive(&self) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        let alive = nodes.filter(|(_, node)| node.server.is_some());
        alive.map(|(number, _)| number).collect()
    }

    // Time.

    pub(crate) fn run_until(&mut self, end: Time) {
        loop {
            self.settle();
            let coming = self.coming.first_key_value().map(|(key, _)| key.0);
            let next = self.next_turn().into_iter().chain(coming).min();
            let Some(next) = next.filter(|&next| next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.coming.first_entry()
                && entry.key().0 <= self.now
            {
                let coming = entry.remove();
                self.happen(coming);
            }
        }
    }

    fn runs(&self, node: &Node) -> bool {
        node.stopped_until <= self.now
    }

    fn next_turn(&self) -> Option<Time> {
        let nodes = self.nodes.iter().filter(|it| self.runs(it));
        let servers = nodes.filter_map(|node| node.server.as_ref());
        servers.filter_map(|server| server.next(self.now)).min()
    }

    /// All servers take the turns of this moment.
    fn settle(&mut self) {
        for number in 0..self.nodes.len() {
            let now = self.now;
            let is_running = self.runs(&self.nodes[number]);
            let server = self.nodes[number].server.as_mut();
            let Some(server) =
                server.filter(|server| is_running && server.next(now).is_some_and(|at| at <= now))
            else {
                continue;
            };
            let begun = server.run(now);
            self.tally
                .note_if(server.check_bounds() > 0, "a batch is parked");
            for wire in begun {
                self.open_link(number, wire);
            }
            self.carry(number);
            self.read_all(number);
        }
    }

    fn delay(&mut self) -> Time {
        match self.rng.u8(..10) {
            0 => self.rng.u64(..20 * MILLISECOND),
            _ => self.rng.u64(100..500),
        }
    }

    fn open_link(&mut self, node: usize, wire: Wire) {
        self.count += 1;
        let number = self.count;
        let at = self.now + self.delay();
        self.later(at, Coming::Connect(number));
        let link = Link {
            node,
            wire,
            has_ended: false,
            to_engine_at: at,
            to_server_at: at,
        };
        self.links.insert(number, link);
    }

    /// The links of a server that stand.
    pub(crate) fn links_of(&self, node: usize) -> Vec<u64> {
        let links = self.links.iter();
        let links = links.filter(|(_, it)| it.node == node && !it.has_ended);
        links.map(|(number, _)| *number).collect()
    }

    /// What a server has written to the engine is on its way.
    fn carry(&mut self, node: usize) {
        for number in self.links_of(node) {
            let at = self.now + self.delay();
            let Some(link) = self.links.get_mut(&number) else {
                continue;
            };
            let bytes = link.wire.take(usize::MAX);
            let at = at.max(link.to_engine_at);
            link.to_engine_at = at;
            link.has_ended = link.wire.has_ended();
            let has_ended = link.has_ended;
            if !bytes.is_empty() {
                self.later(at, Coming::ToEngine(number, bytes));
            }
            if has_ended {
                self.later(at, Coming::EngineSeesEnd(number));
            }
        }
    }

    /// What the engine has sent is on its way.
    fn carry_back(&mut self) {
        for sent in self.nats.take_sent() {
            let at = self.now + self.delay();
            let late = self.rng.u64(MILLISECOND..120 * MILLISECOND);
            let Some(link) = self.links.get_mut(&sent.link).filter(|it| !it.has_ended) else {
                continue;
            };
            let mut at = at.max(link.to_server_at);
            match sent.is_late {
                true => at += late,
                false => link.to_server_at = at,
            }
            self.later(at, Coming::ToServer(sent.link, sent.bytes));
        }
    }

    /// Until when a link carries nothing.
    fn blocked_until(&self, coming: &Coming) -> Time {
        let parted = |link: &u64| {
            let link = self.links.get(link);
            link.map_or(0, |link| self.nodes[link.node].parted_until)
        };
        match coming {
            Coming::Connect(link) | Coming::ToEngine(link, _) | Coming::EngineSeesEnd(link) => {
                parted(link).max(self.engine_still_until)
            }
            Coming::ToServer(link, _) | Coming::ServerSeesEnd(link) => parted(link),
            _ => 0,
        }
    }

    fn happen(&mut self, coming: Coming) {
        let blocked_until = self.blocked_until(&coming);
        if blocked_until > self.now {
            return self.later(blocked_until, coming);
        }
        match coming {
            Coming::Connect(link) => {
                if self.engine_down_until > self.now {
                    self.links[&link].wire.reset();
                } else {
                    self.nats.connect(link);
                }
            }
            Coming::ToEngine(link, bytes) => self.nats.receive(link, &bytes),
            Coming::EngineSeesEnd(link) => self.nats.disconnect(link),
            Coming::ToServer(link, bytes) => {
                let link = &self.links[&link];
                if !link.has_ended {
                    link.wire.send(&bytes);
                }
            }
            Coming::ServerSeesEnd(link) => {
                let link = self.links.get_mut(&link).expect("it was there");
                if !std::mem::replace(&mut link.has_ended, true) {
                    link.wire.reset();
                }
            }
            Coming::EngineCuts(link) => self.cut_slow(link),
            Coming::EngineIsUp => self.engine_is_up(),
            Coming::Accept => self.refuse_dials(),
            Coming::Lead => self.lead(),
            Coming::CaughtUp => self.nats.behind = 0,
            Coming::Calm => self.nats.faults = crate::nats::Faults::default(),
            Coming::Wake(node) => self.wake(node),
            Coming::Start => self.start_server(false),
            Coming::Sip(client) => self.sip(client),
            Coming::Join(person) => self.join(person),
            Coming::Act(person) => self.act(person),
            Coming::Trouble => self.trouble(),
        }
        self.carry_back();
    }

    fn wake(&mut self, node: usize) {
        let now = self.now;
        self.trace(|| format!("server {node} goes on"));
        self.nodes[node].unsure_until = now + DOUBT;
        if let Some(server) = &mut self.nodes[node].server {
            server.wake(now);
        }
    }

    /// Servers connect, or are refused.
    pub(crate) fn refuse_dials(&mut self) {
        let (now, is_down) = (self.now, self.engine_down_until > self.now);
        for node in &mut self.nodes {
            let is_refused = is_down || node.refused_until > now;
            if let Some(server) = &mut node.server {
                server.refuse_dials(is_refused);
            }
        }
    }

    // What clients read.

    /// Who is connected to a server reads.
    fn read_all(&mut self, node: usize) {
        let witness = self.nodes[node].witness;
        let before = self.clients[witness].read.len();
        if self.read(witness, (before, before)) {
            self.check_holder(witness);
        }
        let span = (before, self.clients[witness].read.len());
        let is_back = self.note_cut(node, before);
        if is_back {
            self.nodes[node].unsure_until = self.now + DOUBT;
        }
        let mut have_new_nicks = Vec::new();
        for id in 0..self.clients.len() {
            let client = &self.clients[id];
            if client.server == node
                && client.kind == Kind::Talker
                && client.state != State::Ended
                && self.read(id, span)
            {
                have_new_nicks.push(id);
            }
        }
        // Only now, because one may have what another has given up in this turn.
        for id in have_new_nicks {
            self.check_holder(id);
        }
    }

    /// Whether the room is cut off or back since the witness has read so much.
    fn note_cut(&mut self, node: usize, before: usize) -> bool {
        let witness = &self.clients[self.nodes[node].witness];
        let mut is_back = false;
        for read in &witness.read[before..] {
            match read {
                Read::CutOff => self.nodes[node].is_cut_off = true,
                Read::Back(_) => {
                    self.nodes[node].is_cut_off = false;
                    is_back = true;
                }
                _ => {}
            }
        }
        is_back
    }

    /// A client reads what there is. Returns whether it has another nick than before.
    fn read(&mut self, id: usize, span: Span) -> bool {
        let has_witness = {
            let node = &self.nodes[self.clients[id].server];
            self.clients[node.witness].is_member()
        };
        let client = &mut self.clients[id];
        if !client.wire.has_output() && !client.wire.has_ended() {
            return false;
        }
        let (was, nick, lines) = (client.state, client.nick.clone(), client.transcript.len());
        client.take(&self.said, &mut self.tally);
        let is_new = client.is_member() && was != State::Member;
        if is_new {
            client.came = has_witness.then_some(span);
        }
        let is_renamed = client.nick != nick;
        let has_ended = client.wire.has_ended();
        if has_ended {
            client.state = State::Ended;
            client.went = Some(span);
            client.wire.hang_up();
        }
        if self.is_traced {
            let client = &self.clients[id];
            for line in &client.transcript[lines..] {
                let short: String = line.chars().take(100).collect();
                self.trace(|| format!("  {} {id} ({}) reads {short}", client.server, client.nick));
            }
        }
        if has_ended {
            self.come_again(id);
        }
        !has_ended && (is_new || is_renamed)
    }

    /// Nobody else has its nick, unless that may be.
    fn check_holder(&mut self, id: usize) {
        let client = &self.clients[id];
        let is_same = |it: &&Client| it.is_member() && it.id != id && it.nick == client.nick;
        for other in self.clients.iter().filter(is_same) {
            let is_unsure = |node: usize| {
                let node = &self.nodes[node];
                node.is_cut_off || node.unsure_until > self.now
            };
            let may_be = is_unsure(client.server) || is_unsure(other.server) || self.is_broken;
            assert!(
                may_be && client.server != other.server,
                "{} is client {id} of server {}, and client {} of server {}",
                client.nick,
                client.server,
                other.id,
                other.server
            );
            self.tally.note("two had one nick for a while");
        }
    }

    fn sip(&mut self, id: usize) {
        let client = &self.clients[id];
        if client.state == State::Ended || self.nodes[client.server].server.is_none() {
            return;
        }
        let next = self.now + 30 * MILLISECOND;
        if client.pauses_until > self.now {
            let until = client.pauses_until;
            return self.later(until, Coming::Sip(id));
        }
        let was_member = client.is_member();
        let read = self.clients[self.nodes[client.server].witness].read.len();
        if self.read(id, (read, read)) {
            self.check_holder(id);
        }
        let client = &mut self.clients[id];
        if !was_member && !self.said.lines.is_empty() {
            // It was let in some time ago.
            client.came = None;
        }
        if client.state == State::Refused {
            let nick = client.nick.clone();
            client.ask(&nick);
        }
        self.later(next, Coming::Sip(id));
    }

    // What people do.

    /// A client has ended; whoever that was comes again.
    pub(crate) fn come_again(&mut self, id: usize) {
        let person = self.people.iter().position(|it| it.client == Some(id));
        let Some(person) = person else {
            return;
        };
        self.people[person].client = None;
        let at = self.now + self.rng.u64(1..6 * SECOND);
        if at < self.busy_until {
            if self.rng.u8(..2) == 0 {
                self.people[person].nick = self.fresh_nick();
            }
            self.later(at, Coming::Join(person));
        }
    }

    fn join(&mut self, person: usize) {
        if self.people[person].client.is_some() {
            return;
        }
        let alive = self.alive();
        let Some(node) = self.rng.choice(alive) else {
            return self.later(self.now + SECOND, Coming::Join(person));
        };
        let Person {
            profile, nick, to, ..
        } = &mut self.people[person];
        let to = to.take().filter(|&to| self.nodes[to].server.is_some());
        let (profile, nick) = (*profile, nick.clone());
        let id = self.connect(to.unwrap_or(node), (Kind::Talker, profile), &nick);
        self.people[person].client = Some(id);
        let at = self.now + self.rng.u64(..SECOND);
        self.later(at, Coming::Act(person));
    }

    /// A client is gone without a word, with what it has sent, or not.
    pub(crate) fn vanish(&mut self, id: usize) {
        let client = &self.clients[id];
        let read = self.clients[self.nodes[client.server].witness].read.len();
        match self.rng.bool() {
            true => client.wire.reset(),
            false => client.wire.hang_up(),
        }
        let client = &mut self.clients[id];
        client.state = State::Ended;
        client.went = Some((read, read));
        self.come_again(id);
    }

    fn act(&mut self, person: usize) {
        let Some(id) = self.people[person].client else {
            return;
        };
        let is_over = self.now >= self.busy_until;
        match self.clients[id].state {
            State::Ended => return,
            State::Asking if self.clients[id].since + PATIENCE < self.now && !is_over => {
                return self.vanish(id);
            }
            State::Asking => {}
            State::Refused => {
                let nick = self.fresh_nick();
                self.people[person].nick.clone_from(&nick);
                self.clients[id].ask(&nick);
            }
            State::Member if is_over => return,
            State::Member => self.act_as_member(person, id),
        }
        let at = self.now + self.rng.u64(50 * MILLISECOND..1500 * MILLISECOND);
        self.later(at, Coming::Act(person));
    }

    fn act_as_member(&mut self, person: usize, id: usize) {
        let is_person = self.people[person].profile == Profile::Interactive;
        match self.rng.u8(..100) {
            0..3 => self.vanish(id),
            3..6 if is_person => self.clients[id].type_line("/quit"),
            6..12 if is_person => {
                let nick = self.fresh_nick();
                let client = &mut self.clients[id];
                client.names.insert(nick.clone());
                client.type_line(&format!("/nick {nick}"));
                self.people[person].nick = nick;
            }
            12..20 if is_person => {
                let is_other = |it: &&Client| it.is_member() && it.id != id;
                let others = self.clients.iter().filter(is_other);
                let others: Vec<String> = others.map(|it| it.nick.clone()).collect();
                if let Some(to) = self.rng.choice(others) {
                    self.clients[id].whisper(&to, &mut self.said);
                }
            }
            _ => {
                for _ in 0..self.rng.u8(1..=3) {
                    let (padding, is_act) = (self.rng.usize(..60), self.rng.u8(..8) == 0);
                    self.clients[id].say(padding, is_act, &mut self.said);
                }
            }
        }
    }

    fn note_metrics(&mut self) {
        for node in self.nodes.iter().filter_map(|it| it.server.as_ref()) {
            let metrics = node.metrics();
            let relay = metrics.relay.as_ref().expect("it has one");
            self.tally
                .note_if(relay.doubles > 0, "a batch is stored twice");
            self.tally.note_if(relay.fetched > 0, "a gap is fetched");
        }
    }

    /// Whether all servers are up, by their metrics.
    pub(crate) fn states(&self) -> Vec<(usize, RelayState)> {
        let alive = self.alive().into_iter();
        let state = |node: usize| {
            let server = self.nodes[node].server.as_ref()?;
            Some((node, server.metrics().relay?.state))
        };
        alive.filter_map(state).collect()
    }

    /// The nicks of all who are connected and were let in.
    pub(crate) fn present(&self) -> BTreeSet<&str> {
        let members = self.clients.iter().filter(|it| it.is_member());
        members.map(|it| it.nick.as_str()).collect()
    }
}
