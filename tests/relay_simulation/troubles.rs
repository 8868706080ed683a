//! What goes wrong in a run: the engine, the ways to it, and servers.

use crate::client::{Kind, State};
use crate::nats::{Faults, MILLISECOND, SECOND, Time};
use crate::world::{Coming, Fate, World};

/// How long the engine bears that a connection takes nothing.
const WRITE_DEADLINE: Time = 10 * SECOND;

/// How long a line of a flood is, in bytes, and how many there are: more than a queue takes.
const FLOOD_PADDING: usize = 700;
const FLOOD_LINES: usize = 130;

impl World {
    pub(crate) fn trouble(&mut self) {
        if self.now >= self.busy_until {
            return;
        }
        let alive = self.alive();
        let node = self.rng.choice(alive).expect("one lives");
        match self.rng.u8(..16) {
            0 | 1 => self.cut_links(node),
            2 => {
                let time = self.rng.u64(50 * MILLISECOND..1500 * MILLISECOND);
                self.end_engine(time);
            }
            3 => {
                let time = self.rng.u64(3 * SECOND..25 * SECOND);
                self.end_engine(time);
            }
            4 => self.stop_engine(),
            5 | 6 => self.elect(),
            7 | 8 => self.disturb(),
            9 => self.part(node),
            10 | 11 => self.stop(node),
            12 => self.kill(node),
            13 => self.flood(node),
            14 => self.race(),
            _ if self.fate == Fate::Broken => self.break_log(),
            _ => self.cut_links(node),
        }
        let at = self.now + self.rng.u64(200 * MILLISECOND..8 * SECOND);
        self.later(at, Coming::Trouble);
    }

    fn cut_links(&mut self, node: usize) {
        self.trace(|| format!("the links of server {node} are cut"));
        for link in self.links_of(node) {
            self.cut(link);
        }
    }

    /// A link ends, with some of what is on the way.
    fn cut(&mut self, number: u64) {
        let bound = self.rng.usize(..4);
        let (mut delivered, mut to_engine) = (0, Vec::new());
        let coming = std::mem::take(&mut self.coming);
        for (key, it) in coming {
            match it {
                Coming::ToServer(link, bytes) if link == number => {
                    let wire = &self.links[&link].wire;
                    if delivered < bound {
                        wire.send(&bytes);
                    } else if delivered == bound {
                        wire.send(&bytes[..self.rng.usize(..bytes.len())]);
                        self.tally.note("a link is cut in the middle of a frame");
                    }
                    delivered += 1;
                }
                Coming::ToEngine(link, _) if link == number => to_engine.push((key, it)),
                it => {
                    self.coming.insert(key, it);
                }
            }
        }
        let keeps_requests = self.rng.bool();
        let last = to_engine.last().map(|it| it.0.0);
        if keeps_requests && !to_engine.is_empty() {
            self.coming.extend(to_engine);
            self.tally
                .note("a link is cut and the engine still gets requests");
        }
        let at = last.filter(|_| keeps_requests).unwrap_or(self.now);
        self.later(at, Coming::EngineSeesEnd(number));
        let is_reset = self.rng.bool();
        let link = self.links.get_mut(&number).expect("it stands");
        link.has_ended = true;
        match is_reset {
            true => link.wire.reset(),
            false => link.wire.hang_up(),
        }
    }

    /// The engine is killed, and started again with what it had stored.
    fn end_engine(&mut self, time: Time) {
        self.trace(|| format!("the engine is gone for {time} us"));
        for node in self.alive() {
            self.cut_links(node);
        }
        self.nats.crash();
        let is_request = |it: &Coming| matches!(it, Coming::ToEngine(..));
        self.coming.retain(|_, it| !is_request(it));
        self.engine_down_until = self.engine_down_until.max(self.now + time);
        self.refuse_dials();
        self.later(self.engine_down_until, Coming::EngineIsUp);
        self.tally
            .note_if(time > 3 * SECOND, "the engine is gone for long");
        if self.rng.bool() {
            self.elect();
        }
    }

    pub(crate) fn engine_is_up(&mut self) {
        self.refuse_dials();
        let is_calm = self.nodes.iter().all(|it| !it.is_cut_off);
        self.tally
            .note_if(is_calm, "the engine comes back and nobody was told");
    }

    fn stop_engine(&mut self) {
        let time = self.rng.u64(500 * MILLISECOND..12 * SECOND);
        self.trace(|| format!("the engine stands still for {time} us"));
        // What is sent behind other bytes does not overtake them.
        self.engine_still_until = self.engine_still_until.max(self.now + time);
        self.tally.note("the engine stands still");
    }

    fn elect(&mut self) {
        if self.replicas == 1 || self.nats.has_no_leader {
            return;
        }
        let time = self.rng.u64(SECOND..9 * SECOND);
        self.trace(|| format!("nobody leads for {time} us"));
        self.nats.has_no_leader = true;
        self.later(self.now + time, Coming::Lead);
    }

    pub(crate) fn lead(&mut self) {
        self.trace(|| "somebody leads".into());
        self.nats.has_no_leader = false;
        if self.rng.bool() {
            self.nats.behind = self.rng.u64(1..6);
            let at = self.now + self.rng.u64(..SECOND);
            self.later(at, Coming::CaughtUp);
        }
        let is_calm = self.nodes.iter().all(|it| !it.is_cut_off);
        self.tally.note(match is_calm {
            true => "an election ends without a split",
            false => "an election ends with a split",
        });
    }

    /// Entries and answers are lost, come twice, or late.
    fn disturb(&mut self) {
        let mut chance = |most: f64| match self.rng.bool() {
            true => self.rng.f64() * most,
            false => 0.0,
        };
        let faults = Faults {
            dropped: chance(0.5),
            doubled: chance(0.3),
            late: chance(0.5),
            unanswered: chance(0.6),
        };
        self.trace(|| format!("{faults:?}"));
        self.tally
            .note_if(faults.dropped > 0.0, "entries are not republished");
        self.tally
            .note_if(faults.unanswered > 0.0, "answers are lost");
        self.nats.faults = faults;
        let at = self.now + self.rng.u64(SECOND..6 * SECOND);
        self.later(at, Coming::Calm);
    }

    /// No byte goes between a server and the engine.
    fn part(&mut self, node: usize) {
        let until = self.now + self.rng.u64(SECOND..25 * SECOND);
        let is_hard = self.rng.bool();
        self.trace(|| {
            format!("server {node} is parted until {until}, with its links cut: {is_hard}")
        });
        self.nodes[node].unsure_until = until + 60 * SECOND;
        if is_hard {
            self.cut_links(node);
            self.nodes[node].refused_until = until;
            self.refuse_dials();
            self.later(until, Coming::Accept);
            return self.tally.note("a server that is parted cannot connect");
        }
        let parted_until = &mut self.nodes[node].parted_until;
        *parted_until = until.max(*parted_until);
        for link in self.links_of(node) {
            self.later(self.now + WRITE_DEADLINE, Coming::EngineCuts(link));
        }
        self.tally.note("a server is parted from the engine");
    }

    /// A server gets no turns.
    fn stop(&mut self, node: usize) {
        let time = self.rng.u64(SECOND..40 * SECOND);
        let until = self.now + time;
        self.trace(|| format!("server {node} stands still until {until}"));
        if self.nodes[node].stopped_until > self.now {
            return;
        }
        self.nodes[node].stopped_until = until;
        self.nodes[node].unsure_until = until + 60 * SECOND;
        self.later(until, Coming::Wake(node));
        if self.rng.bool() {
            for link in self.links_of(node) {
                self.later(self.now + WRITE_DEADLINE, Coming::EngineCuts(link));
            }
        }
        if time > 25 * SECOND && self.alive().len() > 1 {
            self.tally
                .note("a server stands still and is declared gone");
        }
    }

    /// The engine gives a connection up that takes nothing.
    pub(crate) fn cut_slow(&mut self, number: u64) {
        let link = &self.links[&number];
        let node = &self.nodes[link.node];
        let is_slow = node.stopped_until.max(node.parted_until) > self.now;
        if link.has_ended || !is_slow || !self.nats.knows(number) {
            return;
        }
        self.tally.note("a slow server is cut");
        self.nats.disconnect(number);
        self.later(self.now, Coming::ServerSeesEnd(number));
    }

    /// A server is killed, and another one starts after a while.
    fn kill(&mut self, node: usize) {
        if self.alive().len() < 2 {
            return;
        }
        self.trace(|| format!("server {node} is killed"));
        for link in self.links_of(node) {
            self.links.get_mut(&link).expect("it stands").has_ended = true;
            let at = self.links[&link].to_engine_at.max(self.now);
            self.later(at, Coming::EngineSeesEnd(link));
        }
        self.nodes[node].server = None;
        let read = self.clients[self.nodes[node].witness].read.len();
        for id in 0..self.clients.len() {
            let client = &mut self.clients[id];
            if client.server == node && client.state != State::Ended {
                client.state = State::Ended;
                client.went = Some((read, read));
                self.come_again(id);
            }
        }
        self.tally.note("a server is killed");
        let at = self.now + self.rng.u64(100 * MILLISECOND..20 * SECOND);
        self.later(at, Coming::Start);
    }

    /// Somebody says more than slow readers take, who do not read meanwhile.
    fn flood(&mut self, node: usize) {
        let until = self.now + self.rng.u64(SECOND..10 * SECOND);
        for client in self.clients.iter_mut().filter(|it| it.kind == Kind::Slow) {
            client.pauses_until = until;
        }
        let mut clients = self.clients.iter_mut();
        let speaker =
            clients.find(|it| it.kind == Kind::Talker && it.is_member() && it.server == node);
        if let Some(speaker) = speaker {
            for _ in 0..FLOOD_LINES {
                speaker.say(FLOOD_PADDING, false, &mut self.said);
            }
            let id = speaker.id;
            self.trace(|| format!("client {id} floods"));
        }
    }

    /// Two want one nick at the same moment, on two servers.
    fn race(&mut self) {
        let alive = self.alive();
        if alive.len() < 2 || self.people.len() < 2 {
            return;
        }
        let nodes = self.rng.choose_multiple(alive, 2);
        let people = self.rng.choose_multiple(0..self.people.len(), 2);
        let nick = format!("race{}q", self.clients.len());
        self.trace(|| format!("{people:?} want {nick} at {nodes:?}"));
        let at = self.now + 500 * MILLISECOND;
        for (&node, &person) in nodes.iter().zip(&people) {
            if let Some(id) = self.people[person].client {
                self.vanish(id);
            }
            let person_of = &mut self.people[person];
            person_of.nick.clone_from(&nick);
            person_of.to = Some(node);
            self.coming
                .retain(|_, it| !matches!(it, Coming::Join(it) if *it == person));
            self.later(at, Coming::Join(person));
        }
        self.tally.note("a nick is claimed on two servers at once");
    }

    fn break_log(&mut self) {
        self.is_broken = true;
        let (entries, with_claims) = (self.rng.u64(1..20), self.rng.bool());
        let time = self.rng.u64(50 * MILLISECOND..5 * SECOND);
        match self.rng.u8(..3) {
            0 => {
                self.trace(|| format!("the log is made anew, with the claims: {with_claims}"));
                self.nats.delete(with_claims);
                self.tally.note("a log is made anew");
            }
            _ => {
                self.trace(|| format!("the log loses {entries} entries"));
                self.nats
                    .lose_end(if with_claims { "LC" } else { "LC_" }, entries);
                self.tally.note("a log loses its end");
            }
        }
        self.end_engine(time);
    }
}
