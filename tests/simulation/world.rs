//! A run: [`World`] lets persons act and the engine take its turns, as the poll loop does, until it
//! ends in one of the two ways in which a server ends.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::engine::{ClientId, Engine, Interest, Liveness, Registry};
use line_chat::server::accept::Acceptor;
use line_chat::server::turn_clock::TurnClock;
use line_chat::{Config, Eof, Eol, Profile, Script, Service};

use crate::chances::{self, Chances};
use crate::journal::{self, Journal, Peer};
use crate::listener::{Backlog, Descriptor, Listener};
use crate::model::{Arrival, Model};
use crate::person::Person;
use crate::socket::{Event, Faults, ServerEnd, Socket};
use crate::tally::Tally;
use crate::transcript;
use crate::veil::{self, Veil};

/// More turns in a row than any work that is left over can need.
const MOST_TURNS: usize = 200_000;

pub(crate) struct World {
    rng: Rng,
    streams: Streams,
    services: &'static [Service],
    config: Config,
    engine: Engine<ServerEnd, Journal>,
    acceptor: Acceptor<Listener>,
    backlog: Rc<RefCell<Backlog>>,
    /// Descriptors that something else in the process has opened.
    elsewhere: Vec<Descriptor>,
    model: Model,
    persons: Vec<Person>,
    connected: Peer,
    chances: Chances,
    now: Instant,
    clock: TurnClock,
}

/// What stands between the engine and its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    Plain,
    Veiled,
    /// Some are plain and some are veiled.
    Both,
}

/// Where the clients of a run come in.
const FOR_SCRIPTS: &[Service] = &[
    Service::Chat(Profile::Plain),
    Service::Chat(Profile::Plain),
    LISTENING,
    WITH_LF,
    Service::Script(Script {
        eof: Eof::Listen,
        eol: Eol::Lf,
    }),
];
const FOR_ALL: &[Service] = &[
    LISTENING,
    WITH_LF,
    Service::Chat(Profile::Interactive),
    Service::Chat(Profile::Plain),
    Service::Chat(Profile::Interactive),
    Service::Chat(Profile::History),
    Service::Http,
];

const LISTENING: Service = Service::Script(Script {
    eof: Eof::Listen,
    eol: Eol::CrLf,
});
const WITH_LF: Service = Service::Script(Script {
    eof: Eof::Leave,
    eol: Eol::Lf,
});

/// The registrations are the sockets' own, and so is what the kernel knows of a peer at this time.
pub(crate) struct Registrations(pub(crate) Instant);

impl Registry<ServerEnd> for Registrations {
    fn register(&mut self, stream: &mut ServerEnd, id: ClientId) -> io::Result<()> {
        stream.socket.borrow_mut().register(id)
    }

    fn reregister(
        &mut self,
        stream: &mut ServerEnd,
        id: ClientId,
        interest: Interest,
    ) -> io::Result<()> {
        stream.socket.borrow_mut().reregister(id, interest)
    }

    fn deregister(&mut self, stream: &mut ServerEnd) {
        stream.socket.borrow_mut().deregister();
    }

    fn tells_liveness(&self) -> bool {
        true
    }

    fn liveness(&mut self, stream: &mut ServerEnd, _: ClientId) -> Liveness {
        stream.socket.borrow_mut().liveness(self.0)
    }
}

impl World {
    pub(crate) fn new(seed: u64, streams: Streams, has_people: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        journal::begin();
        let is_flooded = seed % 4 < 2;
        let chances = Chances::new(is_flooded, &mut rng);
        let (mut config, prefix) = chances::any_config(is_flooded, has_people, &mut rng);
        if seed % 3 == 2 {
            chances::set_recorded(&mut config);
        }
        Descriptor::allow(chances.descriptors);
        let now = Instant::now();
        let services = if has_people { FOR_ALL } else { FOR_SCRIPTS };
        let backlog = Backlog::new(services, chances.accept_faults, now, rng.fork());
        let backlog = Rc::new(RefCell::new(backlog));
        let mut engine = Engine::new(config.clone(), Journal, now).expect("there are no files");
        engine.set_wall_clock(transcript::wall_clock);
        let mut world = Self {
            acceptor: Acceptor::new(Backlog::listeners(&backlog), config.limits.accepts_per_turn),
            engine,
            model: Model::new(&config, prefix, has_people, now),
            config,
            backlog,
            elsewhere: Vec::new(),
            persons: Vec::new(),
            connected: 0,
            chances,
            now,
            clock: TurnClock::new(now),
            rng,
            streams,
            services,
        };
        if !has_people {
            world.connect_listener();
        }
        world
    }

    /// Does so many steps, then ends the engine. Returns what came about.
    pub(crate) fn run(mut self, steps: u64) -> Tally {
        for _ in 0..steps {
            self.step();
        }
        if self.rng.bool() {
            self.everybody_hangs_up();
        } else {
            self.shut_down();
        }
        let backlog = self.backlog.borrow();
        self.model.tally.spare += backlog.seen_spare;
        self.model.tally.short += backlog.seen_short;
        self.model.tally.transcript = self.model.transcript.counts;
        self.model.tally
    }

    fn step(&mut self) {
        if self.rng.f64() < self.chances.wait {
            return self.wait();
        }
        if self.rng.f64() < self.chances.stop {
            return self.stop();
        }
        match self.rng.u16(0..1000) {
            0..350 => self.turn(),
            350..370 if self.persons.len() < self.chances.most_persons => self.connect(),
            370..380 => self.settle(),
            380..385 => self.use_descriptors(),
            _ if self.persons.is_empty() => self.connect(),
            _ => {
                let person = self.rng.usize(..self.persons.len());
                self.persons[person].act(&mut self.rng);
            }
        }
    }

    // Coming.

    fn connect(&mut self) {
        let capacity = match self.rng.u8(0..4) {
            0 => 1 + self.rng.usize(..20),
            1 | 2 => self.rng.usize(20..2000),
            _ => self.rng.usize(2000..100_000),
        };
        let at = self.rng.usize(..self.services.len());
        let (socket, is_veiled) = self.dial(at, capacity, self.chances.faults);
        let hello = if is_veiled { veil::HELLO } else { b"" };
        let mut person = Person::new(socket, self.chances.manner, hello);
        let password = self.config.interactive.password.is_some();
        person.begin(self.services[at], password, &mut self.rng);
        self.persons.push(person);
    }

    fn connect_listener(&mut self) {
        let (socket, is_veiled) = self.dial(0, 1 << 30, Faults::NONE);
        let hello = if is_veiled { veil::HELLO } else { b"" };
        let person = Person::listener(socket, self.chances.manner, hello);
        self.persons.push(person);
    }

    /// Somebody writes the transcript, if the process can have one more file.
    fn record(&mut self) {
        let Ok(descriptor) = Descriptor::open() else {
            return;
        };
        self.connected += 1;
        let (peer, capacity) = (self.connected, self.rng.usize(1000..100_000));
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        let faults = Faults {
            unregistrable: 0.0,
            ..self.chances.faults
        };
        let socket = Socket::new(peer, addr.ip(), capacity, faults, self.rng.fork());
        let socket = Rc::new(RefCell::new(socket));
        let writer = Person::writer(Rc::clone(&socket), self.chances.manner);
        self.persons.push(writer);
        self.model.transcript.expect(peer);
        let (end, now) = (ServerEnd::new(socket, descriptor), self.now);
        self.engine.record(end, addr, now, &mut Registrations(now));
    }

    fn dial(&mut self, at: usize, capacity: usize, faults: Faults) -> (Rc<RefCell<Socket>>, bool) {
        self.connected += 1;
        let peer = self.connected;
        let addr = any_addr(peer, &mut self.rng);
        journal::introduce(peer, addr);
        let mut socket = Socket::new(peer, addr.ip(), capacity, faults, self.rng.fork());
        let is_veiled = match self.streams {
            Streams::Plain => false,
            Streams::Veiled => true,
            Streams::Both => self.rng.bool(),
        };
        if is_veiled {
            socket = socket.veiled(Veil::new(self.rng.usize(..4)));
        }
        let arrival = Arrival {
            service: self.services[at],
            is_veiled,
            is_let_in: false,
        };
        self.model.expect(peer, arrival);
        let socket = Rc::new(RefCell::new(socket));
        let mut backlog = self.backlog.borrow_mut();
        backlog.arrive(at, Rc::clone(&socket), addr);
        (socket, is_veiled)
    }

    /// Something else in the process opens files, or closes them, and wants one just when the
    /// spare one is opened again.
    fn use_descriptors(&mut self) {
        if self.rng.bool() {
            self.elsewhere.clear();
        } else {
            let more = self.rng.usize(..=self.chances.descriptors_elsewhere);
            let more = std::iter::repeat_with(Descriptor::open).take(more);
            self.elsewhere.extend(more.filter_map(Result::ok));
        }
        Descriptor::spare_is_taken(self.rng.u8(..) < self.chances.spare_taken);
    }

    // The poll loop.

    fn turn(&mut self) {
        let polls_until = match self.engine.has_work() || self.acceptor.has_work() {
            true => Some(self.clock.ended()),
            false => self.next_deadline(),
        };
        self.now += Duration::from_micros(self.rng.u64(0..=self.chances.longest_tick_micros));
        if let Some(late) = self.clock.begin_turn(polls_until, self.now) {
            self.engine.leave_out(late);
        }
        self.model.tick(self.now, polls_until);
        transcript::next_turn();
        if self.config.recorded && !self.engine.is_recording() && self.rng.u8(..) < 20 {
            self.record();
        }
        self.backlog.borrow_mut().begin_turn(self.now);
        for person in &self.persons {
            person.socket.borrow_mut().begin_turn(self.now);
        }
        for event in self.poll() {
            self.tell(event);
            if self.rng.u8(..) < 4 {
                self.tell(event);
            }
        }
        if self.rng.u8(..) < 4 {
            let spurious = self.spurious_event();
            self.tell(spurious);
        }
        let told = self.backlog.borrow_mut().take_events();
        for listener in told {
            self.acceptor.mark(listener);
        }
        let now = self.now;
        self.acceptor.accept(
            now,
            &mut self.engine,
            |engine, stream, peer, entrance, _| {
                engine.accept(stream, peer, entrance, now, &mut Registrations(now));
            },
        );
        self.model.follow(journal::take());
        self.model.begin_turn(&self.engine.metrics());
        for socket in self.persons.iter().map(|person| person.socket.borrow()) {
            if socket.is_to_be_read() {
                self.model.told_of_input(socket.peer);
            }
        }
        self.engine.turn(self.now, &mut Registrations(self.now));
        self.model.follow(journal::take());
        self.model.end_turn();
        let budget = self.config.limits.accepts_per_turn;
        self.backlog.borrow().assert_turn_was_fair(budget);
        self.forget_those_who_are_gone();
        self.model.assert_adds_up(&self.engine.metrics());
        self.clock.end_turn(self.now);
    }

    fn forget_those_who_are_gone(&mut self) {
        let tally = &mut self.model.tally;
        self.persons.retain(|person| {
            let socket = person.socket.borrow();
            if socket.dropped {
                tally.cases.add(&socket.cases());
            }
            !socket.dropped
        });
    }

    /// The events of one poll, which may be not all that there are.
    fn poll(&mut self) -> Vec<Event> {
        let most = self.rng.usize(1..=32);
        let first = self.rng.usize(..=self.persons.len());
        let (later, sooner) = self.persons.split_at(first);
        let sockets = sooner.iter().chain(later).map(|person| &person.socket);
        sockets
            .filter_map(|socket| socket.borrow_mut().take_event())
            .take(most)
            .collect()
    }

    fn spurious_event(&mut self) -> Event {
        Event {
            id: ClientId::from_index(self.rng.usize(..self.chances.most_persons + 2)),
            readable: self.rng.bool(),
            read_on: self.rng.bool(),
            writable: self.rng.bool(),
        }
    }

    fn tell(&mut self, event: Event) {
        let mut sockets = self.persons.iter().map(|person| &person.socket);
        let told = sockets.find(|socket| socket.borrow().id == Some(event.id));
        if let Some(socket) = told {
            let mut socket = socket.borrow_mut();
            socket.told(event);
            if event.readable {
                self.model.told_of_input(socket.peer);
            }
        }
        if event.readable {
            self.engine.on_readable(event.id, event.read_on);
        }
        if event.writable {
            self.engine.on_writable(event.id);
        }
    }

    /// Turns until the engine has no work and no event is on its way; then nothing may be left over.
    fn settle(&mut self) {
        let mut turns = 0;
        while self.has_work() || self.is_event_on_its_way() {
            turns += 1;
            assert!(turns < MOST_TURNS, "the loop spins");
            self.turn();
            if self.engine.is_over(self.now) {
                return;
            }
        }
        let is_served = self.backlog.borrow().is_empty() || self.acceptor.next_deadline().is_some();
        assert!(is_served, "who dials is forgotten");
        let next = self.engine.next_deadline();
        let sockets = self.persons.iter().map(|person| person.socket.borrow());
        for socket in sockets.filter(|socket| socket.id.is_some()) {
            self.model.assert_nothing_is_forgotten(&socket, next);
        }
    }

    /// Whether the next poll would not wait.
    fn has_work(&self) -> bool {
        let deadline = self.next_deadline().is_some_and(|at| at <= self.now);
        deadline || self.engine.has_work() || self.acceptor.has_work()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.engine.next_deadline(), self.acceptor.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn is_event_on_its_way(&self) -> bool {
        let mut sockets = self.persons.iter().map(|person| &person.socket);
        self.backlog.borrow().is_armed() || sockets.any(|socket| socket.borrow().is_armed())
    }

    /// Nothing happens before the next deadline.
    fn wait(&mut self) {
        self.settle();
        if let Some(deadline) = self.next_deadline() {
            self.now = self.now.max(deadline);
        }
        self.turn();
    }

    /// The process is stopped before its next turn. Persons go on, and do not know.
    fn stop(&mut self) {
        let time = Duration::from_millis(self.rng.u64(500..120_000));
        for _ in 0..self.rng.usize(..20) {
            match self.persons.len() {
                0 => self.connect(),
                some => {
                    let person = self.rng.usize(..some);
                    self.persons[person].act(&mut self.rng);
                }
            }
        }
        self.now += time;
        self.turn();
    }

    // Going.

    fn everybody_hangs_up(&mut self) {
        self.elsewhere.clear();
        let mut rounds = 0;
        while self.engine.clients() > 0 || !self.backlog.borrow().is_empty() {
            rounds += 1;
            assert!(rounds < MOST_TURNS, "{} stay", self.engine.clients());
            for person in &mut self.persons {
                person.finish(&mut self.rng);
            }
            self.wait();
        }
        self.end_transcript();
        // Memory that nobody needs goes back after a while, and names that were given up are forgotten one by
        // one. Then nothing is left to be done.
        let mut rounds = 0;
        while self.engine.next_deadline().is_some() {
            rounds += 1;
            assert!(rounds < MOST_TURNS, "something is left to be done");
            self.wait();
        }
        let metrics = self.engine.metrics();
        assert_eq!(metrics.pending_bytes + metrics.held_bytes, 0, "{metrics}");
        assert!(self.persons.is_empty(), "a stream was not closed");
    }

    /// The writer has got all that was said, or was told of it, and goes.
    fn end_transcript(&mut self) {
        self.config.recorded = false;
        while let Some(writer) = self.persons.first_mut() {
            writer.finish(&mut self.rng);
            if self.engine.is_recording() {
                self.wait();
                self.settle();
                self.model.transcript.assert_has_all();
            }
            if let Some(writer) = self.persons.first_mut() {
                writer.socket.borrow_mut().reset();
            }
            self.settle();
        }
    }

    fn shut_down(&mut self) {
        self.config.recorded = false;
        self.acceptor.close();
        self.backlog.borrow_mut().close();
        self.model.shut_down();
        self.engine.shut_down(self.now);
        self.model.follow(journal::take());
        let mut rounds = 0;
        while !self.engine.is_over(self.now) {
            rounds += 1;
            assert!(rounds < MOST_TURNS, "the shutdown does not end");
            for person in &mut self.persons {
                if person.socket.borrow().has_vanished() {
                    person.reads = false;
                }
                if person.reads {
                    person.read_to_the_end();
                }
            }
            self.wait();
        }
        self.forget_those_who_are_gone();
        let stays = |person: &Person| {
            let socket = person.socket.borrow();
            let is_waited_for = self.model.is_waited_for(socket.peer);
            person.reads && is_waited_for && !socket.shut && !socket.is_handshaking()
        };
        assert!(!self.persons.iter().any(stays), "no last words");
    }
}

/// Several peers share an address; no two have the same port.
fn any_addr(peer: Peer, rng: &mut Rng) -> SocketAddr {
    const ADDRESSES: [&str; 10] = [
        "192.0.2.1",
        "192.0.2.1",
        "192.0.2.2",
        "::ffff:192.0.2.1",
        "2001:db8::1",
        "2001:db8::ffff:0:0:1",
        "2001:db8:0:1::1",
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.7",
    ];
    let ip = ADDRESSES[rng.usize(..ADDRESSES.len())].parse::<IpAddr>();
    let [.., high, low] = peer.to_be_bytes();
    let port = u16::from_be_bytes([high, low]);
    SocketAddr::new(ip.unwrap_or(IpAddr::from([127, 0, 0, 1])), port)
}
