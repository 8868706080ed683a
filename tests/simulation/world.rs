//! A run: [`World`] lets persons act and the chat take its turns, as the poll loop does, until it
//! ends in one of the two ways in which a server ends.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::Config;
use line_chat::chat::{Chat, ClientId, Interest, Registry};

use crate::journal::{self, Peer};
use crate::model::{Model, Seen};
use crate::person::{Manner, Person};
use crate::socket::{Event, Faults, ServerEnd, Socket};

/// More turns in a row than any work that is left over can need.
const MOST_TURNS: usize = 200_000;

const PREFIXES: [&str; 4] = ["{nick}: ", "[{nick}]: ", "<{nick}> ", "{nick}|{nick}: "];

pub(crate) struct World {
    rng: Rng,
    chat: Chat<ServerEnd>,
    model: Model,
    persons: Vec<Person>,
    most_persons: usize,
    connected: Peer,
    manner: Manner,
    faults: Faults,
    now: Instant,
}

/// The registrations are the sockets' own.
struct Registrations;

impl Registry<ServerEnd> for Registrations {
    fn register(&mut self, stream: &mut ServerEnd, id: ClientId) -> io::Result<()> {
        stream.0.borrow_mut().register(id)
    }

    fn reregister(
        &mut self,
        stream: &mut ServerEnd,
        id: ClientId,
        interest: Interest,
    ) -> io::Result<()> {
        stream.0.borrow_mut().reregister(id, interest)
    }

    fn deregister(&mut self, stream: &mut ServerEnd) {
        stream.0.borrow_mut().deregister();
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        journal::listen_to_the_log();
        journal::take();
        let prefix = PREFIXES[rng.usize(..PREFIXES.len())];
        let config = any_config(prefix, &mut rng);
        let now = Instant::now();
        let mut world = Self {
            chat: Chat::new(config.clone()),
            model: Model::new(&config, prefix, now),
            persons: Vec::new(),
            most_persons: rng.usize(3..20),
            connected: 0,
            manner: any_manner(&mut rng),
            faults: any_faults(&mut rng),
            now,
            rng,
        };
        world.connect_listener();
        world
    }

    /// Does so many steps, then ends the chat; gives what came about.
    pub(crate) fn run(mut self, steps: u64) -> Seen {
        for _ in 0..steps {
            self.step();
        }
        if self.rng.bool() {
            self.everybody_hangs_up();
        } else {
            self.shut_down();
        }
        self.model.seen
    }

    fn step(&mut self) {
        match self.rng.u16(0..1000) {
            0..350 => self.turn(),
            350..370 if self.persons.len() < self.most_persons => self.connect(),
            370..380 => self.settle(),
            380..385 => self.wait(),
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
        let (socket, is_accepted) = self.accept(capacity, self.faults);
        if is_accepted {
            let person = Person::new(socket, self.manner, &mut self.rng);
            self.persons.push(person);
        }
    }

    fn connect_listener(&mut self) {
        let (socket, _) = self.accept(1 << 30, Faults::NONE);
        self.persons.push(Person::listener(socket, self.manner));
    }

    fn accept(&mut self, capacity: usize, faults: Faults) -> (Rc<RefCell<Socket>>, bool) {
        self.connected += 1;
        let peer = self.connected;
        let socket = Socket::new(peer, capacity, faults, self.rng.fork());
        let socket = Rc::new(RefCell::new(socket));
        let stream = ServerEnd(Rc::clone(&socket));
        self.chat
            .accept(stream, journal::addr_of(peer), &mut Registrations);
        let is_accepted = !socket.borrow().dropped;
        if is_accepted {
            self.model.connect(peer);
        }
        (socket, is_accepted)
    }

    // The poll loop.

    fn turn(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(0..20));
        self.model.begin_turn(self.now);
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
        self.chat.turn(self.now, &mut Registrations);
        self.model.follow(journal::take());
        self.model.assert_turn_was_fair();
        self.persons
            .retain(|person| !person.socket.borrow().dropped);
        assert_eq!(self.chat.clients(), self.model.clients());
        assert_eq!(self.chat.clients(), self.persons.len());
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
            id: ClientId(self.rng.usize(..self.most_persons + 2)),
            readable: self.rng.bool(),
            read_on: self.rng.bool(),
            writable: self.rng.bool(),
        }
    }

    fn tell(&mut self, event: Event) {
        let mut sockets = self.persons.iter().map(|person| &person.socket);
        let told = sockets.find(|socket| socket.borrow().id == Some(event.id));
        if let Some(socket) = told {
            socket.borrow_mut().told(event.readable, event.writable);
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
        while self.chat.has_work() || self.is_event_on_its_way() {
            turns += 1;
            assert!(turns < MOST_TURNS, "the loop spins");
            self.turn();
        }
        for person in &self.persons {
            let socket = person.socket.borrow();
            self.model.assert_nothing_is_forgotten(&socket);
        }
    }

    fn is_event_on_its_way(&self) -> bool {
        let mut sockets = self.persons.iter().map(|person| &person.socket);
        sockets.any(|socket| socket.borrow().is_armed())
    }

    /// Nothing happens before the next deadline.
    fn wait(&mut self) {
        self.settle();
        if let Some(deadline) = self.chat.next_deadline() {
            self.now = self.now.max(deadline);
        }
        self.turn();
    }

    // Going.

    fn everybody_hangs_up(&mut self) {
        let mut rounds = 0;
        while self.chat.clients() > 0 {
            rounds += 1;
            assert!(rounds < MOST_TURNS, "{} stay", self.chat.clients());
            for person in &mut self.persons {
                person.finish(&mut self.rng);
            }
            self.wait();
        }
        assert!(!self.chat.has_work());
        assert_eq!(self.chat.next_deadline(), None);
    }

    fn shut_down(&mut self) {
        self.model.begin_turn(self.now);
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
        let stays = |person: &Person| person.reads && !person.socket.borrow().shut;
        assert!(!self.persons.iter().any(stays), "no last words");
    }
}

/// Limits that are hit all the time.
fn any_config(prefix: &str, rng: &mut Rng) -> Config {
    let mut config = Config::default();
    let parsed = prefix.parse();
    assert!(parsed.is_ok(), "{prefix:?} is no prefix");
    config.prefix = parsed.unwrap_or_default();
    let limits = &mut config.limits;
    limits.max_line_bytes = rng.usize(8..200);
    limits.max_nick_chars = rng.usize(4..=32);
    limits.max_refusals = rng.u8(1..=4);
    limits.read_bytes = match rng.u8(0..3) {
        0 => rng.usize(1..20),
        1 => rng.usize(20..500),
        _ => rng.usize(500..5000),
    };
    limits.linger_bytes = rng.usize(1..500);
    limits.stall_timeout = Duration::from_millis(rng.u64(1000..20_000));
    limits.goodbye_timeout = Duration::from_millis(rng.u64(500..5000));
    limits.linger_timeout = Duration::from_millis(rng.u64(100..1000));
    let needed = config.longest_line_bytes();
    config.limits.max_pending_bytes = match rng.u8(0..4) {
        0 => needed,
        1 => needed * rng.usize(2..6),
        _ => needed * rng.usize(6..60),
    };
    assert_eq!(config.check(), Ok(()));
    config
}

fn any_manner(rng: &mut Rng) -> Manner {
    Manner {
        pieces: rng.usize(0..8),
        burst: if rng.u8(0..4) == 0 { 2000 } else { 100 },
        telnet: [0.0, 0.001, 0.01, 0.05][rng.usize(..4)],
        stall: [0.0, 0.01, 0.05][rng.usize(..3)],
        go: [0.0, 0.002, 0.01, 0.03][rng.usize(..4)],
    }
}

fn any_faults(rng: &mut Rng) -> Faults {
    let often = [0.0, 0.01, 0.1][rng.usize(..3)];
    Faults {
        interrupted: often,
        falsely_blocked: often,
        short: often,
        broken: often / 50.0,
        unregistrable: often / 20.0,
    }
}
