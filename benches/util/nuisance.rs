//! People beside others who want all of the server: a [`Typist`] says a line now and then, a reader
//! waits for it, and [nuisances](Nuisance) load the server as fast as it lets them. What is measured
//! is how long the typist's lines take, in time and in turns of the loop.
//!
//! The load is open as in the bench of latencies: a line is due at a fixed rate, and its wait counts
//! from then. All of it is one thread that never sleeps, and looks at the reader after each step of a
//! nuisance, so that what the load itself does is not counted as the server's.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::net::TcpStream as Blocking;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::certificate;
use super::figures::milliseconds;
use super::server::{Server, Turns};

/// The time from one line of the typist to the next.
const INTERVAL: Duration = Duration::from_millis(5);

/// How long the nuisances go on before the first line.
const WARM_UP: Duration = Duration::from_millis(300);

/// When a line is lost.
const DEADLINE: Duration = Duration::from_secs(5);

/// How much a nuisance sends or reads in one step, in bytes.
const STEP_BYTES: usize = 16 << 10;

/// How much a burst is, in bytes: less than what makes a loud speaker of a member.
const BURST_BYTES: usize = 60_000;

/// What a nuisance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nuisance {
    /// Says lines.
    Lines,
    /// Gives commands.
    Commands,
    /// Joins, leaves, and comes again.
    Churn,
    /// Joins, says a little less than makes it a loud speaker, leaves, and comes again.
    Bursts,
    /// Begins a handshake by TLS, leaves, and comes again.
    Handshakes,
}

impl Nuisance {
    pub(crate) const ALL: [Self; 5] = [
        Self::Lines,
        Self::Commands,
        Self::Churn,
        Self::Bursts,
        Self::Handshakes,
    ];

    /// How many of them the typist is measured beside.
    pub(crate) fn counts(self) -> &'static [usize] {
        match self {
            Self::Handshakes => &[200],
            _ => &[1, 16, 64],
        }
    }

    /// How much later than in an idle room the typist's lines may come, p99, in milliseconds.
    pub(crate) fn most_milliseconds(self) -> f64 {
        match self {
            Self::Handshakes => 1.0,
            _ => 5.0,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lines => "line flood",
            Self::Commands => "command flood",
            Self::Churn => "churner",
            Self::Bursts => "burst of 60 kB and reconnect",
            Self::Handshakes => "handshake by TLS",
        }
    }

    /// Whether it stays and goes on.
    fn is_endless(self) -> bool {
        matches!(self, Self::Lines | Self::Commands)
    }

    /// What is sent over and over.
    fn flood(self) -> String {
        match self {
            Self::Lines | Self::Bursts => "the quick brown fox jumps over the lazy dog\r\n".into(),
            Self::Commands => {
                let name = "\u{fdfa}".repeat(32);
                format!(
                    "/unignore {name}\r\n/msg {name} x\r\n/who {name}\r\n/ignore {name}\r\n\
                     /who\r\n/help\r\n/msg nobody x\r\n/last\r\n"
                )
            }
            Self::Churn | Self::Handshakes => String::new(),
        }
    }

    /// What a client begins with.
    fn hello(self, number: usize, visits: usize) -> Vec<u8> {
        match self {
            Self::Handshakes => {
                let (mut tls, mut hello) = (certificate::of_this_run().client(), Vec::new());
                tls.write_tls(&mut hello).expect("memory takes it");
                hello
            }
            _ => format!("n{number}v{visits}\r\n").into_bytes(),
        }
    }

    /// Where it goes to.
    fn addr(self, server: &Server) -> SocketAddr {
        match self {
            Self::Handshakes => server.tls_addr.expect("it listens for TLS"),
            _ => server.tcp_addr(),
        }
    }
}

/// What the typist's lines have waited.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    pub(crate) milliseconds: Vec<f64>,
    pub(crate) turns: Vec<f64>,
    pub(crate) lost: usize,
    /// The CPU time of each turn that the server took meanwhile, in milliseconds.
    pub(crate) turn_milliseconds: Vec<f64>,
}

/// Lets the typist say `lines` lines beside `count` nuisances of a kind.
pub(crate) fn waits(server: &Server, nuisance: Nuisance, count: usize, lines: usize) -> Waits {
    let turns = &server.turns;
    let mut scene = Scene::new(server, nuisance, count, lines);
    let begin = Instant::now() + WARM_UP;
    while Instant::now() < begin {
        // What it is sent now must not be left for the first line.
        scene.disturb(|typist| typist.hear(turns));
    }
    let first_turn = turns.count();
    let start = Instant::now();
    let deadline = start + INTERVAL * u32::try_from(lines).expect("few") + DEADLINE;
    while scene.typist.heard.iter().any(Option::is_none) && Instant::now() < deadline {
        scene.disturb(|typist| typist.step(start, turns));
        scene.typist.step(start, turns);
    }
    Waits {
        turn_milliseconds: turns.since(first_turn),
        ..scene.typist.waits()
    }
}

struct Scene {
    typist: Typist,
    nuisances: Vec<Client>,
}

impl Scene {
    fn new(server: &Server, nuisance: Nuisance, count: usize, lines: usize) -> Self {
        Self {
            typist: Typist::new(server.tcp_addr(), lines),
            nuisances: (0..count)
                .map(|number| Client::new(nuisance.addr(server), nuisance, number))
                .collect(),
        }
    }

    /// One step of each nuisance.
    fn disturb(&mut self, mut between: impl FnMut(&mut Typist)) {
        for client in &mut self.nuisances {
            client.step();
            between(&mut self.typist);
        }
    }
}

/// One who types, and one who reads it.
struct Typist {
    out: Blocking,
    reader: Blocking,
    begun: Vec<u8>,
    scratch: Vec<u8>,
    /// For each line that was said, when it was due and in which turn it was said.
    said: Vec<(Instant, usize)>,
    /// For each line, its wait.
    heard: Vec<Option<(Duration, usize)>>,
}

impl Typist {
    fn new(addr: SocketAddr, lines: usize) -> Self {
        Self {
            out: join(addr, "typist"),
            reader: join(addr, "reader"),
            begun: Vec::new(),
            scratch: vec![0; 1 << 20],
            said: Vec::new(),
            heard: vec![None; lines],
        }
    }

    /// Says the next line if it is due, and hears what there is.
    fn step(&mut self, start: Instant, turns: &Turns) {
        let number = self.said.len();
        let due = start + INTERVAL * u32::try_from(number).expect("few");
        if number < self.heard.len() && due <= Instant::now() {
            self.said.push((due, turns.count()));
            let line = format!("no. {number}\r\n");
            let sent = self.out.write(line.as_bytes());
            assert_eq!(sent.ok(), Some(line.len()), "nobody types that much");
        }
        self.hear(turns);
    }

    /// Reads what there is, and looks for lines of its own.
    fn hear(&mut self, turns: &Turns) {
        self.read_all();
        let mut lines = self.begun.split_inclusive(|&byte| byte == b'\n');
        let mut used = 0;
        for line in lines.by_ref().filter(|line| line.ends_with(b"\n")) {
            used += line.len();
            let text = line.strip_prefix(b"typist: no. ").map(<[u8]>::trim_ascii);
            let text = text.and_then(|text| std::str::from_utf8(text).ok());
            if let Some(number) = text.and_then(|text| text.parse::<usize>().ok()) {
                let (due, said) = self.said[number];
                self.heard[number] = Some((due.elapsed(), turns.count() - said));
            }
        }
        self.begun.drain(..used);
    }

    fn read_all(&mut self) {
        // What the typist itself is told is of no interest.
        let _ = self.out.read(&mut self.scratch);
        while let Ok(n @ 1..) = self.reader.read(&mut self.scratch) {
            self.begun.extend_from_slice(&self.scratch[..n]);
        }
    }

    fn waits(self) -> Waits {
        let heard = self.heard.iter().flatten();
        Waits {
            milliseconds: heard.clone().map(|it| milliseconds(it.0)).collect(),
            turns: heard.map(|it| it.1 as f64).collect(),
            lost: self.heard.iter().filter(|it| it.is_none()).count(),
            turn_milliseconds: Vec::new(),
        }
    }
}

/// A member that is in.
fn join(addr: SocketAddr, nick: &str) -> Blocking {
    let mut stream = Blocking::connect(addr).expect("the server listens");
    stream.set_nodelay(true).expect("a socket option");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    // The answer to "are you there" comes behind the greeting.
    let hello = [nick.as_bytes(), b"\r\n\xff\xf6"].concat();
    stream.write_all(&hello).expect("the server reads");
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"* yes\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a greeting");
        greeting.extend(byte);
    }
    stream.set_nonblocking(true).expect("a socket option");
    stream
}

/// One nuisance.
struct Client {
    addr: SocketAddr,
    nuisance: Nuisance,
    number: usize,
    visits: usize,
    stream: Option<TcpStream>,
    unsent: Vec<u8>,
    flood: Vec<u8>,
    scratch: Vec<u8>,
}

impl Client {
    /// Each has an address of the server's to itself. Thousands of connections to one address use up its
    /// ports, and then the kernel searches for milliseconds for a free one.
    fn new(mut addr: SocketAddr, nuisance: Nuisance, number: usize) -> Self {
        let own = u8::try_from(number + 2).expect("fewer than 250");
        addr.set_ip([127, 0, 0, own].into());
        let flood = nuisance.flood();
        let flood = match flood.len() {
            0 => flood,
            len => flood.repeat(STEP_BYTES / len),
        };
        Self {
            addr,
            nuisance,
            number,
            visits: 0,
            stream: None,
            unsent: Vec::new(),
            flood: flood.into_bytes(),
            scratch: vec![0; STEP_BYTES],
        }
    }

    /// Sends a little, reads a little, or comes again.
    fn step(&mut self) {
        let Some(stream) = &mut self.stream else {
            return self.arrive();
        };
        if self.unsent.is_empty() && self.nuisance.is_endless() {
            self.unsent.extend_from_slice(&self.flood);
        }
        if let Ok(n) = stream.write(&self.unsent[..self.unsent.len().min(STEP_BYTES)]) {
            self.unsent.drain(..n);
        }
        let end = match stream.read(&mut self.scratch) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => !is_temporary(&error),
        };
        if !self.nuisance.is_endless() && self.unsent.is_empty() {
            // It fails until it is connected.
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        if end {
            self.stream = None;
        }
    }

    fn arrive(&mut self) {
        self.visits += 1;
        let stream = TcpStream::connect(self.addr).expect("a descriptor");
        self.unsent = self.nuisance.hello(self.number, self.visits);
        if self.nuisance == Nuisance::Bursts {
            let burst = self.flood.iter().cycle().take(BURST_BYTES);
            self.unsent.extend(burst);
        }
        self.stream = Some(stream);
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
    )
}

/// A client that sends as much as its kernel takes, and never reads.
pub(crate) struct Deaf(Option<Blocking>);

/// Connects a client that begins with its nick, unless it sends only line ends.
pub(crate) fn send_without_reading(addr: SocketAddr, number: usize, input: &str) -> Deaf {
    let stream = Blocking::connect(addr).expect("a descriptor");
    stream.set_nonblocking(true).expect("a socket option");
    let mut client = Deaf(Some(stream));
    if !input.starts_with('\r') {
        client.send(&format!("deaf{number}\r\n"));
    }
    client.send(input);
    client
}

impl Deaf {
    pub(crate) fn send(&mut self, input: &str) {
        if let Some(stream) = &mut self.0
            && stream
                .write(input.as_bytes())
                .is_err_and(|error| !is_temporary(&error))
        {
            // The server has closed it.
            self.0 = None;
        }
    }
}
