//! A run: [`World`] lets persons act and the chat take its turns, as the poll loop does, until it
//! ends in one of the two ways in which a server ends.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::Config;
use line_chat::engine::{Chat, ClientId, Interest, Registry};
use line_chat::server::accept::Acceptor;

use crate::chances::{self, Chances};
use crate::journal::{self, Peer};
use crate::listener::{Backlog, Descriptor, Listener};
use crate::model::Model;
use crate::person::Person;
use crate::socket::{Event, Faults, ServerEnd, Socket};
use crate::tally::Tally;

/// More turns in a row than any work that is left over can need.
const MOST_TURNS: usize = 200_000;

pub(crate) struct World {
    rng: Rng,
    config: Config,
    chat: Chat<ServerEnd>,
    acceptor: Acceptor<Listener>,
    backlog: Rc<RefCell<Backlog>>,
    /// Descriptors that something else in the process has opened.
    elsewhere: Vec<Descriptor>,
    model: Model,
    persons: Vec<Person>,
    connected: Peer,
    chances: Chances,
    now: Instant,
}

/// The registrations are the sockets' own.
pub(crate) struct Registrations;

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
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        journal::begin();
        let is_flooded = seed % 4 < 2;
        let chances = Chances::new(is_flooded, &mut rng);
        let (config, prefix) = chances::any_config(is_flooded, &mut rng);
        Descriptor::allow(chances.descriptors);
        let now = Instant::now();
        let backlog = Backlog::new(chances.accept_faults, now, rng.fork());
        let backlog = Rc::new(RefCell::new(backlog));
        let listener = Listener(Rc::clone(&backlog));
        let mut world = Self {
            acceptor: Acceptor::new(vec![listener], config.limits.accepts_per_turn),
            chat: Chat::new(config.clone()),
            model: Model::new(&config, prefix, now),
            config,
            backlog,
            elsewhere: Vec::new(),
            persons: Vec::new(),
            connected: 0,
            chances,
            now,
            rng,
        };
        world.connect_listener();
        world
    }

    /// Does so many steps, then ends the chat; gives what came about.
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
        self.model.tally
    }

    fn step(&mut self) {
        if self.rng.f64() < self.chances.pause {
            return self.wait();
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
        let socket = self.dial(capacity, self.chances.faults);
        let person = Person::new(socket, self.chances.manner, &mut self.rng);
        self.persons.push(person);
    }

    fn connect_listener(&mut self) {
        let socket = self.dial(1 << 30, Faults::NONE);
        let person = Person::listener(socket, self.chances.manner);
        self.persons.push(person);
    }

    fn dial(&mut self, capacity: usize, faults: Faults) -> Rc<RefCell<Socket>> {
        self.connected += 1;
        let peer = self.connected;
        let addr = any_addr(peer, &mut self.rng);
        journal::introduce(peer, addr);
        let socket = Socket::new(peer, addr.ip(), capacity, faults, self.rng.fork());
        let socket = Rc::new(RefCell::new(socket));
        self.backlog.borrow_mut().arrive(Rc::clone(&socket), addr);
        socket
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
        self.now += Duration::from_micros(self.rng.u64(0..=self.chances.longest_tick_micros));
        self.model.tick(self.now);
        self.backlog.borrow_mut().begin_turn(self.now);
        for person in &self.persons {
            person.socket.borrow_mut().begin_turn();
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
        if self.backlog.borrow_mut().take_event() {
            self.acceptor.mark(0);
        }
        self.acceptor
            .accept(self.now, &mut self.chat, &mut Registrations);
        self.model.follow(journal::take());
        self.model.begin_turn(|peer| is_unread(&self.persons, peer));
        self.chat.turn(self.now, &mut Registrations);
        self.model.follow(journal::take());
        self.model.end_turn();
        let budget = self.config.limits.accepts_per_turn;
        self.backlog.borrow().assert_turn_was_fair(budget);
        self.persons
            .retain(|person| !person.socket.borrow().dropped);
        self.model.assert_adds_up(&self.chat.metrics());
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
            id: ClientId(self.rng.usize(..self.chances.most_persons + 2)),
            readable: self.rng.bool(),
            read_on: self.rng.bool(),
            writable: self.rng.bool(),
        }
    }

    fn tell(&mut self, event: Event) {
        let mut sockets = self.persons.iter().map(|person| &person.socket);
        let told = sockets.find(|socket| socket.borrow().id == Some(event.id));
        if let Some(socket) = told {
            socket.borrow_mut().told(event);
        }
        if event.readable {
            self.chat.readable(event.id, event.read_on);
        }
        if event.writable {
            self.chat.writable(event.id);
        }
    }

    /// Turns until the chat has no work and no event is on its way; then nothing may be left over.
    fn settle(&mut self) {
        let mut turns = 0;
        while self.has_work() || self.is_event_on_its_way() {
            turns += 1;
            assert!(turns < MOST_TURNS, "the loop spins");
            self.turn();
            if self.chat.is_over(self.now) {
                return;
            }
        }
        let is_served = self.backlog.borrow().is_empty() || self.acceptor.next_deadline().is_some();
        assert!(is_served, "who dials is forgotten");
        let next = self.chat.next_deadline();
        let sockets = self.persons.iter().map(|person| person.socket.borrow());
        for socket in sockets.filter(|socket| socket.id.is_some()) {
            self.model.assert_nothing_is_forgotten(&socket, next);
        }
    }

    /// Whether the next poll would not wait.
    fn has_work(&self) -> bool {
        let deadline = self.next_deadline().is_some_and(|at| at <= self.now);
        deadline || self.chat.has_work() || self.acceptor.has_work()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [self.chat.next_deadline(), self.acceptor.next_deadline()];
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

    // Going.

    fn everybody_hangs_up(&mut self) {
        self.elsewhere.clear();
        let mut rounds = 0;
        while self.chat.clients() > 0 || !self.backlog.borrow().is_empty() {
            rounds += 1;
            assert!(rounds < MOST_TURNS, "{} stay", self.chat.clients());
            for person in &mut self.persons {
                person.finish(&mut self.rng);
            }
            self.wait();
        }
        // Memory that nobody needs goes back after a while, and then nothing is left to be done.
        for _ in 0..10 {
            self.wait();
        }
        assert_eq!(self.chat.next_deadline(), None);
        let metrics = self.chat.metrics();
        assert_eq!(metrics.pending_bytes + metrics.held_bytes, 0, "{metrics}");
        assert!(self.persons.is_empty(), "a stream was not closed");
    }

    fn shut_down(&mut self) {
        self.acceptor.close();
        self.backlog.borrow_mut().close();
        self.model.shut_down();
        self.chat.shut_down(self.now);
        self.model.follow(journal::take());
        let mut rounds = 0;
        while !self.chat.is_over(self.now) {
            rounds += 1;
            assert!(rounds < MOST_TURNS, "the shutdown does not end");
            for person in &mut self.persons {
                if person.reads {
                    person.read_to_the_end();
                }
            }
            self.wait();
        }
        self.persons
            .retain(|person| !person.socket.borrow().dropped);
        let stays = |person: &Person| person.reads && !person.socket.borrow().shut;
        assert!(!self.persons.iter().any(stays), "no last words");
    }
}

/// Whether the chat was told that this peer's stream has input, and has not come to its end.
fn is_unread(persons: &[Person], peer: Peer) -> bool {
    let mut sockets = persons.iter().map(|person| person.socket.borrow());
    sockets.any(|socket| socket.peer == peer && socket.unread)
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
