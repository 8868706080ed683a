//! The load: members of several servers, or bare clients of the engine, on one thread in one poll loop. All of
//! them say and hear the same lines, so that what line-chat adds to the engine is what is left.
//!
//! A bare client does the least that a server has to: it publishes what was said in a batch, gathers while 16
//! of its batches are out, and reads every batch with the codec of line-chat. It neither sorts nor
//! fetches what it misses.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::bare::{self, Bare, Subjects};
use crate::util::dialect::{self, Dialect, LINE_BYTES, speaker_nick};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How many members connect before the first of them awaits its welcome.
const CONNECTS_AT_ONCE: usize = 64;

/// How many lines a speaker that says what it can is ahead of its slowest listener. Fewer than the megabyte that a
/// server keeps for a listener before it skips lines, but more than are on their way at any time.
const AHEAD: u64 = 4096;

const TICK: Token = Token(usize::MAX);

/// A line that was heard: at which end, and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) end: usize,
    pub(crate) number: u64,
}

/// All ends of one room.
#[derive(Debug)]
pub(crate) struct Load {
    poll: Poll,
    events: Events,
    ends: Vec<End>,
    /// Which end a speaker is, and how many lines it has said.
    speakers: Vec<usize>,
    said: Vec<u64>,
    /// The speakers of the lines in the order in which the first listener has heard them.
    order: Vec<u16>,
    /// How many lines are still to be heard, at all ends together.
    owed: u64,
    /// Whether lines may be lost, as beside an engine that is killed.
    pub(crate) may_lose: bool,
    timer: Option<OwnedFd>,
    scratch: Box<[u8]>,
}

/// One member or bare client.
#[derive(Debug)]
struct End {
    stream: TcpStream,
    /// What is said and the stream has not taken yet.
    unsent: Vec<u8>,
    /// What came and is not whole yet.
    torn: Vec<u8>,
    /// `None`: a member.
    bare: Option<Bare>,
    ear: Ear,
}

/// What an end has heard.
#[derive(Debug)]
struct Ear {
    /// The speaker that it is itself and does not hear.
    own: Option<usize>,
    /// The number of the next line of each speaker.
    next: Box<[u64]>,
    /// Where it is in the order of all lines; `None` if it is not compared, because it does not hear all, or
    /// because nothing puts what it hears in order.
    place: Option<usize>,
}

impl Load {
    pub(crate) fn new() -> Self {
        Self {
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(1024),
            ends: Vec::new(),
            speakers: Vec::new(),
            said: Vec::new(),
            order: Vec::new(),
            owed: 0,
            may_lose: false,
            timer: None,
            scratch: vec![0; 64 << 10].into(),
        }
    }

    /// Bare clients, all of which speak and listen.
    pub(crate) fn of_bare(
        engine: SocketAddr,
        subjects: &Subjects,
        clients: usize,
        lines: u8,
    ) -> Self {
        let mut load = Self::new();
        for speaker in 0..clients {
            let stream = bare::connect(engine, &subjects.heard);
            load.speakers.push(load.ends.len());
            let bare = Bare::new(subjects.clone(), speaker as u64, lines);
            load.enter(stream, Some(bare), None);
        }
        load.said = vec![0; clients];
        load.count_speakers();
        load
    }

    /// Has members join a server: those who listen, and then those who speak.
    pub(crate) fn join(&mut self, server: SocketAddr, speakers: usize, listeners: usize) {
        let listeners = (0..listeners).map(|_| None);
        let first = self.speakers.len();
        let speakers = (first..first + speakers).map(Some);
        let roles: Vec<Option<usize>> = listeners.chain(speakers).collect();
        for roles in roles.chunks(CONNECTS_AT_ONCE) {
            let first = self.ends.len();
            let hello = |(at, role): (usize, &Option<usize>)| {
                let nick = role.map_or_else(|| format!("l{:05}", first + at), speaker_nick);
                say_hello(server, &nick)
            };
            let streams: Vec<_> = roles.iter().enumerate().map(hello).collect();
            for (role, stream) in roles.iter().zip(streams) {
                self.speakers.extend(role.map(|_| self.ends.len()));
                self.said.extend(role.map(|_| 0));
                self.enter(await_welcome(stream), None, *role);
            }
        }
        self.count_speakers();
    }

    fn enter(&mut self, stream: std::net::TcpStream, bare: Option<Bare>, own: Option<usize>) {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_nonblocking(true).expect("a socket");
        let mut stream = TcpStream::from_std(stream);
        let token = Token(self.ends.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry
            .register(&mut stream, token, interest)
            .expect("a place in the poll");
        let hears_all_in_order = bare.is_none() && own.is_none();
        self.ends.push(End {
            stream,
            unsent: Vec::new(),
            torn: Vec::new(),
            bare,
            ear: Ear {
                own,
                next: Box::default(),
                place: hears_all_in_order.then_some(0),
            },
        });
    }

    /// Gives each end a number for each speaker.
    fn count_speakers(&mut self) {
        for end in &mut self.ends {
            end.ear.next = vec![0; self.speakers.len()].into();
        }
    }

    /// How many hear a line of a speaker.
    pub(crate) fn receivers(&self) -> usize {
        // A bare client hears itself.
        let deaf = self.ends.iter().filter(|end| end.ear.own.is_some());
        self.ends.len() - usize::from(deaf.count() > 0)
    }

    /// How many lines a speaker has said.
    pub(crate) fn said(&self, speaker: usize) -> u64 {
        self.said[speaker]
    }

    /// How many lines are still to be heard.
    pub(crate) fn owed(&self) -> u64 {
        self.owed
    }

    /// Forgets what was lost.
    pub(crate) fn forgive(&mut self) {
        self.owed = 0;
    }

    /// Says the next line of a speaker, which is [sent](Self::send) later. Returns its number.
    pub(crate) fn say(&mut self, speaker: usize) -> u64 {
        let number = self.said[speaker];
        self.said[speaker] += 1;
        self.owed += self.receivers() as u64;
        let line = dialect::line(speaker, number);
        let end = &mut self.ends[self.speakers[speaker]];
        match &mut end.bare {
            None => Dialect::LineChat.say(&line, &mut end.unsent),
            Some(bare) => bare.say(&line),
        }
        number
    }

    /// Sends what was said, as far as it can be now.
    pub(crate) fn send(&mut self) {
        for &speaker in &self.speakers {
            self.ends[speaker].send();
        }
    }

    /// Waits for a while, and takes what is there. Returns how often the timer has ticked since the last time.
    ///
    /// # Panics
    /// At any byte that is not what was said, and at any line out of the order in which others heard it.
    pub(crate) fn listen(
        &mut self,
        patience: Option<Duration>,
        mut on_line: impl FnMut(Heard),
    ) -> u64 {
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return 0,
            result => result.expect("a poll"),
        }
        let may_lose = self.may_lose;
        for event in &self.events {
            let Some(end) = self.ends.get_mut(event.token().0) else {
                continue;
            };
            let (order, owed) = (&mut self.order, &mut self.owed);
            let mut hear = |ear: &mut Ear, speaker, number| {
                ear.hear(speaker, number, may_lose, order);
                *owed = owed.saturating_sub(1);
                let end = event.token().0;
                on_line(Heard { end, number });
            };
            if event.is_readable() {
                end.listen(&mut self.scratch, &mut hear);
            }
            end.send();
        }
        self.ticks()
    }

    /// How often the timer has ticked, which goes on only when it is read.
    fn ticks(&self) -> u64 {
        let mut ticks = [0; 8];
        let read = self
            .timer
            .as_ref()
            .map(|timer| rustix::io::read(timer, &mut ticks));
        match read {
            Some(Ok(8)) => u64::from_ne_bytes(ticks),
            _ => 0,
        }
    }

    /// Listens until everybody has heard everything.
    pub(crate) fn finish(&mut self, mut on_line: impl FnMut(Heard)) {
        let start = Instant::now();
        while self.owed > 0 {
            let owed = self.owed;
            assert!(start.elapsed() < DEADLINE, "{owed} lines are missing");
            self.listen(Some(Duration::from_secs(1)), &mut on_line);
        }
        self.begin_again();
    }

    /// Forgets the order of what all have heard.
    fn begin_again(&mut self) {
        let places = self
            .ends
            .iter_mut()
            .filter_map(|end| end.ear.place.as_mut());
        for place in places {
            assert_eq!(*place, self.order.len(), "somebody has not heard all");
            *place = 0;
        }
        self.order.clear();
    }

    /// Each speaker says so many lines as fast as it can, and all of them are heard everywhere.
    pub(crate) fn flood(&mut self, lines: u64) -> Duration {
        let start = Instant::now();
        let mut left = vec![lines; self.speakers.len()];
        while left.iter().any(|&left| left > 0) {
            assert!(start.elapsed() < DEADLINE, "nothing goes on");
            for (speaker, left) in left.iter_mut().enumerate() {
                let ahead = self.said[speaker] - self.heard_by_all(speaker);
                let more = AHEAD.saturating_sub(ahead).min(*left);
                for _ in 0..more {
                    self.say(speaker);
                }
                *left -= more;
            }
            self.send();
            self.listen(Some(Duration::from_millis(100)), |_| ());
        }
        self.finish(|_| ());
        start.elapsed()
    }

    /// How many lines of a speaker have been heard everywhere.
    fn heard_by_all(&self, speaker: usize) -> u64 {
        let ends = self.ends.iter().map(|end| &end.ear);
        let others = ends.filter(|ear| ear.own != Some(speaker));
        others.map(|ear| ear.next[speaker]).min().unwrap_or(0)
    }

    /// Ends a wait of [`listen`](Self::listen) each time that this has passed. The clock of a poll is too coarse.
    pub(crate) fn tick_every(&mut self, interval: Duration) {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK);
        let timer = timer.expect("a timer");
        let interval = Timespec::try_from(interval).expect("it is short");
        let times = Itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times).expect("it can be set");
        let registry = self.poll.registry();
        registry
            .register(&mut SourceFd(&timer.as_raw_fd()), TICK, Interest::READABLE)
            .expect("a place in the poll");
        self.timer = Some(timer);
    }
}

impl End {
    fn send(&mut self) {
        if let Some(bare) = &mut self.bare {
            bare.flush(&mut self.unsent);
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                // An event will come.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("nobody reads: {error}"),
            }
        }
    }

    fn listen(&mut self, scratch: &mut [u8], hear: &mut impl FnMut(&mut Ear, usize, u64)) {
        loop {
            let n = match self.stream.read(scratch) {
                Ok(0) => panic!("a connection was closed"),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("a connection was broken: {error}"),
            };
            self.torn.extend_from_slice(&scratch[..n]);
            let rest = match &mut self.bare {
                None => member(&self.torn, &mut |speaker, number| {
                    hear(&mut self.ear, speaker, number);
                }),
                Some(bare) => bare.hear(&self.torn, &mut self.unsent, &mut |speaker, number| {
                    hear(&mut self.ear, speaker, number);
                }),
            };
            self.torn.drain(..self.torn.len() - rest);
            if n < scratch.len() {
                return;
            }
        }
    }
}

impl Ear {
    fn hear(&mut self, speaker: usize, number: u64, may_lose: bool, order: &mut Vec<u16>) {
        let next = &mut self.next[speaker];
        let is_next = number == *next || may_lose && number > *next;
        assert!(is_next, "line {number} of {speaker} instead of {next}");
        *next = number + 1;
        assert_ne!(self.own, Some(speaker), "a member hears itself");
        let Some(place) = self.place.as_mut().filter(|_| !may_lose) else {
            return;
        };
        // As the lines of each speaker come in their own order, the speakers tell the order of all.
        match order.get(*place) {
            Some(&first) => assert_eq!(usize::from(first), speaker, "at place {place}"),
            None => order.push(speaker as u16),
        }
        *place += 1;
    }
}

/// Tells the lines that a member was sent, and returns how many bytes are no whole line.
fn member(mut bytes: &[u8], on_line: &mut impl FnMut(usize, u64)) -> usize {
    loop {
        if bytes.starts_with(b"*") {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                return bytes.len();
            };
            bytes = &bytes[end + 1..];
            continue;
        }
        let Some((line, rest)) = bytes.split_at_checked(LINE_BYTES) else {
            return bytes.len();
        };
        let (nick, text) = line.split_at(dialect::TEXT.start);
        let speaker = bare::number(&nick[dialect::SPEAKER]).map(|it| it as usize);
        let number = bare::line_number(&text[..text.len() - 2]).filter(|_| text.ends_with(b"\r\n"));
        match (speaker, number) {
            (Some(speaker), Some(number)) => on_line(speaker, number),
            _ => panic!("nobody's line: {}", line.escape_ascii()),
        }
        bytes = rest;
    }
}

fn say_hello(server: SocketAddr, nick: &str) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(server).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let hello = Dialect::LineChat.hello(nick);
    stream.write_all(&hello).expect("the server reads");
    stream
}

fn await_welcome(mut stream: std::net::TcpStream) -> std::net::TcpStream {
    let (end, mut welcome) = (Dialect::LineChat.end_of_welcome(), Vec::new());
    while !welcome.ends_with(end) {
        // Byte by byte, so that nothing is taken that comes after it.
        let mut byte = [0];
        if let Err(error) = stream.read_exact(&mut byte) {
            panic!("no welcome but {}: {error}", welcome.escape_ascii());
        }
        welcome.extend(byte);
    }
    stream
}
