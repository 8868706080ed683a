//! Several servers claim nicks on one stream, while everything goes wrong that may: requests and answers are lost with
//! a link or alone, links are lost for seconds and for long, servers die and come back, the stream has no leader, is
//! full, loses its last claims or is made anew. Whatever happens, what a connected server holds is stored in its name, and
//! when all is well again nothing else is stored.

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, VecDeque};
    use std::time::Duration;

    use crate::protocol::relay_batch::NodeId;
    use crate::relay::claims::{
        Answer, Because, ClaimEngine, ClaimTimes, Claims, KeyHash, Life, Outcome, State, Turn,
    };
    use crate::time::moment::Moment;

    /// Names that are their own keys.
    pub(in crate::relay::claims) const NAMES: [&str; 8] = [
        "bob", "alice", "carol", "dave", "eve", "frank", "grace", "heidi",
    ];

    /// A request as it was made.
    #[derive(Debug, Clone)]
    pub(in crate::relay::claims) enum Request {
        Claim(KeyHash, u64, Vec<u8>),
        Look(KeyHash),
        LookFrom(u64),
        GiveUp(u64),
    }

    #[derive(Default)]
    pub(in crate::relay::claims) struct Requests(
        pub(in crate::relay::claims) VecDeque<(u64, Request)>,
    );

    impl ClaimEngine for Requests {
        fn claim(&mut self, request: u64, key: KeyHash, expected: u64, payload: &[u8]) {
            let claim = Request::Claim(key, expected, payload.to_vec());
            self.0.push_back((request, claim));
        }

        fn look(&mut self, request: u64, key: KeyHash) {
            self.0.push_back((request, Request::Look(key)));
        }

        fn look_from(&mut self, request: u64, sequence: u64) {
            self.0.push_back((request, Request::LookFrom(sequence)));
        }

        fn give_up(&mut self, request: u64, sequence: u64) {
            self.0.push_back((request, Request::GiveUp(sequence)));
        }
    }

    const LOCAL: Duration = Duration::from_secs(10);
    const GONE: Duration = Duration::from_secs(15);

    /// An answer that is on its way.
    #[derive(Debug, Clone)]
    enum Sent {
        Holder(u64, KeyHash, Vec<u8>),
        Other(Answer<'static>),
    }

    /// What the engine does with a request.
    struct Stream {
        created: u32,
        last: u64,
        claims: BTreeMap<KeyHash, (u64, Vec<u8>)>,
        most: usize,
        has_leader: bool,
    }

    impl Stream {
        fn act(&mut self, request: &Request) -> Sent {
            if !self.has_leader {
                return Sent::Other(Answer::NotNow);
            }
            let holder = |(key, (sequence, payload)): (&KeyHash, &(u64, Vec<u8>))| {
                Sent::Holder(*sequence, *key, payload.clone())
            };
            let nobody = Sent::Other(Answer::Nobody);
            match request {
                Request::Claim(key, expected, payload) => {
                    let last = self.claims.get(key).map_or(0, |(sequence, _)| *sequence);
                    if last != *expected {
                        return Sent::Other(Answer::Taken { last: Some(last) });
                    }
                    if last == 0 && self.claims.len() >= self.most {
                        return Sent::Other(Answer::Full);
                    }
                    self.last += 1;
                    let sequence = self.last;
                    self.claims.insert(*key, (sequence, payload.clone()));
                    Sent::Other(Answer::Stored { sequence })
                }
                Request::Look(key) => self.claims.get_key_value(key).map_or(nobody, holder),
                Request::LookFrom(from) => {
                    let behind = self.claims.iter().filter(|(_, it)| it.0 >= *from);
                    behind.min_by_key(|(_, it)| it.0).map_or(nobody, holder)
                }
                Request::GiveUp(sequence) => {
                    self.claims.retain(|_, it| it.0 != *sequence);
                    Sent::Other(Answer::GivenUp)
                }
            }
        }
    }

    /// What the log says of a node.
    #[derive(Debug, Clone, Copy)]
    struct Known {
        born: Moment,
        gone: Option<Moment>,
    }

    struct Server {
        claims: Claims,
        node: NodeId,
        engine: Requests,
        answers: VecDeque<(u64, Sent)>,
        state: ServerState,
        /// Since when it hears of nodes.
        listens: Moment,
        /// What each member has, and what it wants, as it was told.
        members: BTreeMap<u64, (Option<&'static str>, Option<&'static str>)>,
        last_conn: u64,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum ServerState {
        Open,
        /// The link is lost since then, and comes back at a time.
        Closed {
            since: Moment,
            until: Moment,
            is_split: bool,
        },
        Dead {
            since: Moment,
            until: Moment,
        },
    }

    struct World {
        seed: u64,
        random: fastrand::Rng,
        now: Moment,
        stream: Stream,
        nodes: BTreeMap<NodeId, Known>,
        servers: Vec<Server>,
        /// How often what happened, so that nothing is missing unnoticed.
        seen: BTreeMap<&'static str, u32>,
        is_calm: bool,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let mut random = fastrand::Rng::with_seed(seed);
            let stream = Stream {
                created: 1,
                last: 0,
                claims: BTreeMap::new(),
                most: random.usize(4..12),
                has_leader: true,
            };
            let mut world = Self {
                seed,
                random,
                now: Moment::BEGINNING,
                stream,
                nodes: BTreeMap::new(),
                servers: Vec::new(),
                seen: BTreeMap::new(),
                is_calm: false,
            };
            for _ in 0..3 {
                let server = world.server();
                world.servers.push(server);
                world.open(world.servers.len() - 1);
            }
            world
        }

        fn server(&mut self) -> Server {
            let node = self.new_node();
            Server {
                claims: Claims::new(ClaimTimes::default(), node),
                node,
                engine: Requests::default(),
                answers: VecDeque::new(),
                state: ServerState::Open,
                listens: self.now,
                members: BTreeMap::new(),
                last_conn: 0,
            }
        }

        fn new_node(&mut self) -> NodeId {
            let node = NodeId(self.random.u64(..));
            let (born, gone) = (self.now, None);
            self.nodes.insert(node, Known { born, gone });
            node
        }

        fn count(&mut self, what: &'static str) {
            *self.seen.entry(what).or_default() += 1;
        }

        /// Does something with the claims of a server, and hears what becomes of them.
        fn with(
            &mut self,
            at: usize,
            act: impl FnOnce(&mut Claims, &mut Turn<'_, Requests, &dyn Fn(NodeId) -> Life>),
        ) {
            let Self {
                nodes,
                servers,
                now,
                seed,
                ..
            } = self;
            let server = &mut servers[at];
            let (now, listens) = (*now, server.listens);
            // Each node is heard when it beats for the first time while we listen.
            let life = |node: NodeId| match nodes.get(&node) {
                Some(Known {
                    gone: Some(gone), ..
                }) if *gone >= listens => Life::Gone,
                Some(Known { gone: None, born }) => {
                    let beats = (*born).max(listens) + Duration::from_millis(node.0 % 5000);
                    if beats <= now {
                        Life::Lives
                    } else {
                        Life::Unknown
                    }
                }
                _ => Life::Unknown,
            };
            let mut turn = Turn {
                now,
                engine: &mut server.engine,
                life: &life as &dyn Fn(NodeId) -> Life,
            };
            act(&mut server.claims, &mut turn);
            let mut outcomes = Vec::new();
            while let Some(outcome) = server.claims.next_outcome() {
                outcomes.push(outcome);
                let (Outcome::Granted { conn }
                | Outcome::Refused { conn, .. }
                | Outcome::Lost { conn }) = outcome;
                let member = server.members.get_mut(&conn);
                let (has, wants) = member.unwrap_or_else(|| panic!("seed {seed}: {outcome:?}"));
                match outcome {
                    Outcome::Granted { .. } => {
                        assert!(wants.is_some(), "seed {seed}: {outcome:?}");
                        *has = wants.take();
                    }
                    Outcome::Refused { .. } => {
                        assert!(wants.take().is_some(), "seed {seed}: {outcome:?}");
                        if has.is_none() {
                            server.members.remove(&conn);
                        }
                    }
                    Outcome::Lost { .. } => {
                        assert!(has.take().is_some(), "seed {seed}: {outcome:?}");
                    }
                }
            }
            for outcome in outcomes {
                self.count(match outcome {
                    Outcome::Granted { .. } => "granted",
                    Outcome::Refused { because, .. } => match because {
                        Because::Held => "held",
                        Because::Full => "full",
                        Because::NoAnswer => "no answer",
                    },
                    Outcome::Lost { .. } => "lost",
                });
            }
        }

        fn open(&mut self, at: usize) {
            let created = self.stream.created.to_string();
            let (last, node) = (self.stream.last, self.servers[at].node);
            self.servers[at].state = ServerState::Open;
            self.with(at, |claims, turn| {
                claims.on_open(node, &created, last, turn);
            });
        }

        /// The link is lost: of what is on its way the beginning arrives, and no answer comes.
        fn close(&mut self, at: usize) {
            let is_split = self.random.bool();
            let seconds = match is_split {
                true => self.random.u64(11..40),
                false => self.random.u64(1..10),
            };
            let until = self.now + Duration::from_secs(seconds);
            let server = &mut self.servers[at];
            server.state = ServerState::Closed {
                since: self.now,
                until,
                is_split: false,
            };
            let arrived = self.random.usize(0..=server.engine.0.len());
            for (_, request) in std::mem::take(&mut server.engine.0)
                .into_iter()
                .take(arrived)
            {
                self.stream.act(&request);
            }
            server.answers.clear();
            self.with(at, |claims, _| claims.on_closed());
            self.count("closed");
        }

        fn declare_gone(&mut self, node: NodeId) {
            let now = self.now;
            self.nodes
                .get_mut(&node)
                .expect("it is known")
                .gone
                .get_or_insert(now);
        }

        /// What follows for a server from the time.
        fn age(&mut self, at: usize) {
            let node = self.servers[at].node;
            match self.servers[at].state {
                ServerState::Open => {}
                ServerState::Closed {
                    since,
                    until,
                    is_split,
                } => {
                    if since + GONE <= self.now {
                        self.declare_gone(node);
                    }
                    if since + LOCAL <= self.now && !is_split {
                        self.servers[at].state = ServerState::Closed {
                            since,
                            until,
                            is_split: true,
                        };
                        self.with(at, |claims, _| claims.on_split());
                        self.count("split");
                    } else if until <= self.now {
                        if is_split {
                            self.declare_gone(node);
                            self.servers[at].node = self.new_node();
                        }
                        self.open(at);
                    }
                }
                ServerState::Dead { since, until } => {
                    if since + GONE <= self.now {
                        self.declare_gone(node);
                    }
                    if until <= self.now {
                        self.declare_gone(node);
                        self.servers[at] = self.server();
                        self.open(at);
                        self.with(at, |claims, turn| {
                            claims.sweep(turn);
                        });
                    }
                }
            }
        }

        fn step(&mut self) {
            self.now = self.now + Duration::from_millis(self.random.u64(0..400));
            for at in 0..self.servers.len() {
                self.age(at);
                if matches!(self.servers[at].state, ServerState::Dead { .. }) {
                    continue;
                }
                if !self.is_calm {
                    self.happen(at);
                }
                self.carry(at);
                let now = self.now;
                let due = self.servers[at].claims.next_deadline();
                if due.is_some_and(|due| due <= now) {
                    self.with(at, |claims, turn| {
                        claims.on_time(turn);
                    });
                    let due = self.servers[at].claims.next_deadline();
                    assert!(
                        due.is_none_or(|due| due > now),
                        "seed {}: {due:?}",
                        self.seed
                    );
                }
                self.check();
            }
        }

        /// Something that people do, or that breaks.
        fn happen(&mut self, at: usize) {
            match self.random.u32(0..1000) {
                0..100 => self.join(at),
                100..150 => self.rename(at),
                150..230 => self.leave(at),
                230..236 if self.servers[at].state == ServerState::Open => self.close(at),
                236..238 => self.die(at),
                238..239 => self.make_anew(),
                239..242 => self.stream.has_leader ^= true,
                242..246 => self.stream.has_leader = true,
                246..248 => self.with(at, |claims, turn| {
                    claims.sweep(turn);
                }),
                _ => {}
            }
        }

        /// A name that nobody has or wants on this server.
        fn free_name(&mut self, at: usize) -> Option<&'static str> {
            let name = NAMES[self.random.usize(..NAMES.len())];
            let mut members = self.servers[at].members.values();
            let is_free = members.all(|&(has, wants)| ![has, wants].contains(&Some(name)));
            is_free.then_some(name)
        }

        fn join(&mut self, at: usize) {
            if let Some(name) = self.free_name(at) {
                let server = &mut self.servers[at];
                server.last_conn += 1;
                let conn = server.last_conn;
                server.members.insert(conn, (None, Some(name)));
                self.with(at, |claims, turn| claims.claim(conn, name, name, turn));
            }
        }

        fn any_member(&mut self, at: usize) -> Option<u64> {
            let conns: Vec<_> = self.servers[at].members.keys().copied().collect();
            self.random.choice(conns)
        }

        fn rename(&mut self, at: usize) {
            if let (Some(conn), Some(name)) = (self.any_member(at), self.free_name(at)) {
                let member = self.servers[at].members.get_mut(&conn).expect("a member");
                member.1 = Some(name);
                self.with(at, |claims, turn| claims.claim(conn, name, name, turn));
            }
        }

        fn leave(&mut self, at: usize) {
            if let Some(conn) = self.any_member(at) {
                self.servers[at].members.remove(&conn);
                self.with(at, |claims, turn| claims.leave(conn, turn));
            }
        }

        fn die(&mut self, at: usize) {
            let until = self.now + Duration::from_secs(self.random.u64(1..40));
            let server = &mut self.servers[at];
            let arrived = self.random.usize(0..=server.engine.0.len());
            for (_, request) in std::mem::take(&mut server.engine.0)
                .into_iter()
                .take(arrived)
            {
                self.stream.act(&request);
            }
            server.state = ServerState::Dead {
                since: self.now,
                until,
            };
            self.count("died");
        }

        /// The engine has lost the stream, or its last claims.
        fn make_anew(&mut self) {
            for at in 0..self.servers.len() {
                if self.servers[at].state == ServerState::Open {
                    self.close(at);
                }
            }
            match self.random.bool() {
                true => {
                    self.stream.created += 1;
                    self.stream.last = 0;
                    self.stream.claims.clear();
                }
                false => {
                    self.stream.last = self.stream.last.saturating_sub(3);
                    let last = self.stream.last;
                    self.stream.claims.retain(|_, it| it.0 <= last);
                }
            }
            self.count("made anew");
        }

        /// Requests arrive, and answers.
        fn carry(&mut self, at: usize) {
            for _ in 0..self.random.usize(0..4) {
                if let Some((request, asked)) = self.servers[at].engine.0.pop_front() {
                    let sent = self.stream.act(&asked);
                    if self.is_calm || self.random.u32(0..50) > 0 {
                        self.servers[at].answers.push_back((request, sent));
                    }
                }
            }
            for _ in 0..self.random.usize(0..4) {
                let Some((request, sent)) = self.servers[at].answers.pop_front() else {
                    return;
                };
                self.with(at, |claims, turn| match &sent {
                    Sent::Other(answer) => claims.on_answer(request, *answer, turn),
                    Sent::Holder(sequence, key, payload) => {
                        let holder = Answer::Holder {
                            sequence: *sequence,
                            key: Some(*key),
                            payload,
                        };
                        claims.on_answer(request, holder, turn);
                    }
                });
            }
        }

        /// What a server holds and is connected it really has, so nobody else has.
        fn check(&self) {
            for server in &self.servers {
                if server.state != ServerState::Open || server.claims.check.is_some() {
                    continue;
                }
                for claim in server.claims.claims.values() {
                    if let (State::Held { sequence }, true) = (claim.state, claim.is_wanted) {
                        let payload = format!("1 {} {} {}", server.node, claim.conn, claim.nick);
                        let stored = self.stream.claims.get(&claim.key);
                        let expected = (sequence, payload.into_bytes());
                        assert_eq!(stored, Some(&expected), "seed {}", self.seed);
                    }
                }
            }
        }

        /// When all is well again, everybody has what they were told, and nobody else has anything.
        fn check_at_the_end(&mut self) {
            self.is_calm = true;
            self.stream.has_leader = true;
            self.stream.most = 1000;
            let later = self.now + Duration::from_secs(60);
            while self.now < later {
                self.step();
            }
            let later = self.now + Duration::from_secs(90);
            for at in 0..self.servers.len() {
                self.with(at, |claims, turn| {
                    claims.sweep(turn);
                });
            }
            while self.now < later {
                self.step();
            }
            let mut had = Vec::new();
            for server in &self.servers {
                assert_eq!(server.claims.out.len(), 0, "seed {}", self.seed);
                let mut claims = 0;
                for (conn, (has, wants)) in &server.members {
                    assert_eq!(*wants, None, "seed {}", self.seed);
                    if let Some(name) = has {
                        claims += 1;
                        let payload = format!("1 {} {conn} {name}", server.node);
                        had.push((KeyHash::of(name), payload));
                    }
                }
                assert_eq!(server.claims.claims.len(), claims, "seed {}", self.seed);
                assert_eq!(server.claims.by_key.len(), claims, "seed {}", self.seed);
                assert!(
                    server.claims.members.len() == server.members.len(),
                    "seed {}",
                    self.seed
                );
            }
            had.sort();
            let stored = self.stream.claims.iter();
            let stored = stored.map(|(key, (_, payload))| {
                let payload = String::from_utf8(payload.clone()).expect("text");
                (*key, payload)
            });
            assert_eq!(stored.collect::<Vec<_>>(), had, "seed {}", self.seed);
        }
    }

    #[test]
    fn a_nick_has_one_holder_whatever_breaks() {
        let mut seen = BTreeMap::new();
        for seed in 0..100 {
            let mut world = World::new(seed);
            for _ in 0..1500 {
                world.step();
            }
            world.check_at_the_end();
            for (what, count) in world.seen {
                *seen.entry(what).or_insert(0) += count;
            }
        }
        println!("{seen:?}");
        for what in [
            "granted",
            "held",
            "full",
            "no answer",
            "lost",
            "closed",
            "split",
            "died",
            "made anew",
        ] {
            assert!(seen.contains_key(what), "{what} never happens: {seen:?}");
        }
    }
}
