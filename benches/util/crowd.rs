//! The load: all the clients of a room, on one thread in one poll loop. It is one thread because a
//! delivery costs a receiver about as much as the server, so that a core for the load is enough,
//! and because nothing has to be handed from thread to thread before it can be compared.
//!
//! The load is closed: a [volley](Crowd::volley) says a number of lines at once and ends when everybody
//! has received all of them, so that many lines are in flight and no server is ever behind by more. The bench of latency drives the same crowd with an open load, by
//! [saying](Crowd::say) lines when they are due.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::dialect::{Dialect, speaker_nick};
use super::script::{Ear, Script};
use super::transport::{Address, Link};

/// How long anything may take. A healthy server never gets near it.
const DEADLINE: Duration = Duration::from_secs(30);

/// How many clients connect before the first of them awaits its welcome; fewer than any server
/// lets wait.
const CONNECTS_AT_ONCE: usize = 64;

/// Who is in the room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    /// They hear each other, but not themselves.
    pub(crate) speakers: usize,
    /// They only listen.
    pub(crate) listeners: usize,
}

impl Scene {
    pub(crate) fn members(self) -> usize {
        self.speakers + self.listeners
    }

    /// How many get a line.
    pub(crate) fn receivers(self) -> usize {
        self.members() - 1
    }
}

/// The clients of one server.
#[derive(Debug)]
pub(crate) struct Crowd {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    /// Which of the clients a speaker is.
    speakers: Vec<usize>,
    script: Script,
    receivers: usize,
    /// Whose turn it is to say a line.
    turn: usize,
    scratch: Box<[u8]>,
}

#[derive(Debug)]
struct Client {
    stream: Link,
    /// What is said and the stream has not taken yet.
    unsent: Vec<u8>,
    /// `None`: what comes are answers to what it says, which nobody compares.
    ear: Option<Ear>,
}

impl Crowd {
    /// Connects everybody and waits until all of them are in.
    pub(crate) fn join(addr: &Address, dialect: Dialect, scene: Scene) -> Self {
        let mut crowd = Self {
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            speakers: Vec::new(),
            script: Script::new(dialect, scene.speakers),
            receivers: scene.receivers(),
            turn: scene.speakers - 1,
            scratch: vec![0; 64 << 10].into(),
        };
        let roles = roles(dialect, scene);
        for roles in roles.chunks(CONNECTS_AT_ONCE) {
            let connect = |role: &Role| role.connect(addr, dialect);
            let streams: Vec<Link> = roles.iter().map(connect).collect();
            for (role, stream) in roles.iter().zip(streams) {
                crowd.welcome(*role, stream, dialect, scene.speakers);
            }
        }
        // A server that welcomes nobody accepts in the order of the connects, so when it hears the
        // last one everybody is in.
        crowd.volley(1);
        crowd
    }

    fn welcome(&mut self, role: Role, mut stream: Link, dialect: Dialect, speakers: usize) {
        if role.listens {
            await_welcome(&mut stream, dialect);
        }
        let token = Token(self.clients.len());
        stream
            .register(self.poll.registry(), token)
            .expect("a place in the poll");
        self.speakers.extend(role.speaker.map(|_| token.0));
        self.clients.push(Client {
            stream,
            unsent: Vec::new(),
            ear: role.listens.then(|| Ear::new(role.speaker, speakers)),
        });
    }

    /// Says `lines` lines at once, the speakers taking turns and each sending all of its own with
    /// one write, and waits until everybody has received them. Returns the number of deliveries.
    pub(crate) fn volley(&mut self, lines: usize) -> usize {
        for _ in 0..lines {
            self.say(self.turn);
            self.turn = (self.turn + 1) % self.speakers.len();
        }
        self.send();
        let deadline = Instant::now() + DEADLINE;
        let (all, mut heard) = (lines * self.receivers, 0);
        while heard < all {
            assert!(
                Instant::now() < deadline,
                "{heard} of {all} lines came within {DEADLINE:?}"
            );
            self.listen(Some(DEADLINE), |_, _| heard += 1);
        }
        self.script.forget_all();
        all
    }

    /// Writes down the next line of a speaker, to be [sent](Self::send), and returns its number.
    pub(crate) fn say(&mut self, speaker: usize) -> u64 {
        let client = &mut self.clients[self.speakers[speaker]];
        self.script.say(speaker, &mut client.unsent)
    }

    /// Sends what was said, as far as the streams take it.
    pub(crate) fn send(&mut self) {
        for &speaker in &self.speakers {
            self.clients[speaker].send();
        }
    }

    /// Waits for a while, reads what is there, compares it with what was said, and tells `on_line`
    /// the speaker and the number of every line.
    pub(crate) fn listen(
        &mut self,
        patience: Option<Duration>,
        mut on_line: impl FnMut(usize, u64),
    ) {
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            result => result.expect("a poll"),
        }
        for event in &self.events {
            let client = &mut self.clients[event.token().0];
            if event.is_writable() {
                client.send();
            }
            if event.is_readable() {
                client.listen(&mut self.scratch, &self.script, &mut on_line);
            }
        }
    }

    /// How many lines a speaker has said.
    pub(crate) fn said(&self, speaker: usize) -> u64 {
        self.script.said(speaker)
    }

    /// Forgets what everybody has received.
    pub(crate) fn forget_heard(&mut self) {
        for speaker in 0..self.speakers.len() {
            let heard = self.heard_by_all(speaker);
            self.script.forget(speaker, heard);
        }
    }

    fn heard_by_all(&self, speaker: usize) -> u64 {
        let own = self.speakers[speaker];
        let others = self.clients.iter().enumerate().filter(|&(id, _)| id != own);
        let ears = others.filter_map(|(_, client)| client.ear.as_ref());
        let heard = ears.map(|ear| ear.heard_of(speaker)).min();
        heard.unwrap_or_else(|| self.script.said(speaker))
    }
}

impl Client {
    fn send(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                // An event will come.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server does not read: {error}"),
            }
        }
    }

    fn listen(&mut self, scratch: &mut [u8], script: &Script, mut on_line: impl FnMut(usize, u64)) {
        loop {
            let n = match self.stream.read(scratch) {
                Ok(0) => panic!("the server has closed a connection"),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server has broken a connection: {error}"),
            };
            if let Some(ear) = &mut self.ear {
                ear.hear(&scratch[..n], script, &mut on_line);
            }
            // What comes after a short read comes with an event.
            if n < scratch.len() {
                return;
            }
        }
    }
}

/// What a client is there for.
#[derive(Debug, Clone, Copy)]
struct Role {
    speaker: Option<usize>,
    listens: bool,
    client: usize,
}

/// Everybody, speakers last.
fn roles(dialect: Dialect, scene: Scene) -> Vec<Role> {
    let together = dialect.speakers_listen();
    // Where a speaker cannot listen, somebody else does it for him.
    let listeners = if together {
        scene.listeners
    } else {
        scene.receivers()
    };
    let listeners = (0..listeners).map(|client| Role {
        speaker: None,
        listens: true,
        client,
    });
    let speakers = (0..scene.speakers).map(|speaker| Role {
        speaker: Some(speaker),
        listens: together,
        client: speaker,
    });
    listeners.chain(speakers).collect()
}

impl Role {
    fn connect(self, addr: &Address, dialect: Dialect) -> Link {
        let mut stream = addr.connect(DEADLINE).expect("the server listens");
        if self.listens {
            let nick = match self.speaker {
                Some(speaker) => speaker_nick(speaker),
                None => format!("l{:05}", self.client),
            };
            let hello = dialect.hello(&nick);
            stream.write_all(&hello).expect("the server reads");
        }
        stream
    }
}

/// Reads the answer to a hello.
fn await_welcome(stream: &mut Link, dialect: Dialect) {
    let end = dialect.end_of_welcome();
    let mut welcome = Vec::new();
    while !welcome.ends_with(end) {
        // Byte by byte, so that nothing is taken that comes after it.
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a welcome");
        welcome.extend(byte);
    }
}

/// A client that is in and will never read.
pub(crate) fn join_and_stall(addr: &Address, dialect: Dialect) -> Link {
    let role = Role {
        speaker: None,
        listens: true,
        client: 99_999,
    };
    let mut stream = role.connect(addr, dialect);
    await_welcome(&mut stream, dialect);
    stream
}
