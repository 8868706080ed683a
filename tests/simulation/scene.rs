//! One thing at a time: a [`Scene`] is an engine whose clients do exactly what a test tells them, on
//! either kind of stream.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::engine::{ClientId, Engine, Interest, Liveness, Registry};
use line_chat::{CloseReason, Config, Profile, Service};

use crate::journal::{self, Journal, Peer, Record};
use crate::listener::Descriptor;
use crate::socket::{Dialed, Faults, ServerEnd, Socket};
use crate::veil::{self, Veil};

pub(crate) const PLAIN: Service = Service::Chat(Profile::Plain);
pub(crate) const INTERACTIVE: Service = Service::Chat(Profile::Interactive);

/// More turns in a row than any scene needs.
const MOST_TURNS: usize = 10_000;

thread_local! {
    /// How many tokens were made in this scene.
    static TOKENS: Cell<u128> = const { Cell::new(0) };
}

/// The bytes of 1, 2 and so on.
#[expect(clippy::unnecessary_wraps, reason = "there may be no randomness")]
fn next_token() -> Option<[u8; 16]> {
    TOKENS.set(TOKENS.get() + 1);
    Some(TOKENS.get().to_be_bytes())
}

/// Plays a scene on plain streams and on veiled ones.
pub(crate) fn on_both(scene: impl Fn(bool)) {
    for is_veiled in [false, true] {
        println!("veiled: {is_veiled}");
        scene(is_veiled);
    }
}

pub(crate) struct Scene {
    pub(crate) engine: Engine<ServerEnd, Journal>,
    pub(crate) sockets: Vec<Rc<RefCell<Socket>>>,
    pub(crate) now: Instant,
    pub(crate) is_veiled: bool,
    /// What goes wrong on every stream from here on.
    pub(crate) faults: Faults,
    got: Vec<Vec<u8>>,
    reads: Vec<Reads>,
    pub(crate) left: Vec<Option<CloseReason>>,
    /// In the order in which they left.
    pub(crate) leavers: Vec<Peer>,
    pub(crate) freed: usize,
    /// How many lines were said, and how many of them by bulk speakers.
    pub(crate) said: usize,
    pub(crate) bulk: usize,
    /// How many lines clients were told they missed.
    pub(crate) skipped: u64,
    /// How many connections could not even be begun.
    pub(crate) dial_failed: usize,
    registry: Dialing,
}

/// What was read of a client.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// In bytes, since it came.
    pub(crate) bytes: usize,
    /// How many bytes were read each time that all output was with the kernel.
    answered: Vec<usize>,
    has_taken_all: bool,
}

impl Reads {
    fn sent(&mut self) {
        if self.has_taken_all {
            self.answered.push(self.bytes);
        }
    }

    /// How many bytes were read when the answer to the first `bytes` of them was with the kernel;
    /// `None` if it never was.
    pub(crate) fn at_answer(&self, bytes: usize) -> Option<usize> {
        let mut answered = self.answered.iter();
        answered.find(|&&read| read >= bytes).copied()
    }
}

/// The registrations are the sockets' own, and who is dialed next is known.
#[derive(Default)]
struct Dialing {
    /// How many peers were asked about in this turn, and in any turn at most.
    asked: usize,
    most_asked: usize,
    now: Option<Instant>,
    next: VecDeque<Rc<RefCell<Socket>>>,
}

impl Registry<ServerEnd> for Dialing {
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
        self.asked += 1;
        self.most_asked = self.most_asked.max(self.asked);
        let now = self.now.expect("a turn has begun");
        stream.socket.borrow_mut().liveness(now)
    }

    fn dial(&mut self, _: SocketAddr) -> io::Result<ServerEnd> {
        let socket = self.next.pop_front();
        let socket = socket.ok_or(io::ErrorKind::NetworkUnreachable)?;
        Ok(ServerEnd::new(socket, Descriptor::open()?))
    }
}

impl Scene {
    pub(crate) fn new(config: Config, is_veiled: bool) -> Self {
        journal::begin();
        Descriptor::allow(100);
        let now = Instant::now();
        let mut engine = Engine::new(config, Journal, now).expect("the config is sound");
        TOKENS.set(0);
        engine.set_random(next_token);
        Self {
            engine,
            sockets: Vec::new(),
            now,
            is_veiled,
            faults: Faults::NONE,
            got: Vec::new(),
            reads: Vec::new(),
            left: Vec::new(),
            leavers: Vec::new(),
            freed: 0,
            said: 0,
            bulk: 0,
            skipped: 0,
            dial_failed: 0,
            registry: Dialing::default(),
        }
    }

    /// `host` is the peer whose address it has.
    fn socket(
        &mut self,
        host: Option<Peer>,
        capacity: usize,
    ) -> (Peer, SocketAddr, Rc<RefCell<Socket>>) {
        let peer = Peer::try_from(self.sockets.len()).expect("a few");
        let mut addr = Self::addr(peer);
        addr.set_ip(Self::addr(host.unwrap_or(peer)).ip());
        journal::introduce(peer, addr);
        let rng = Rng::with_seed(u64::from(peer));
        let mut socket = Socket::new(peer, addr.ip(), capacity, self.faults, rng);
        if self.is_veiled {
            let is_calm = self.faults.short == 0.0;
            socket = socket.veiled(if is_calm { Veil::calm() } else { Veil::new(2) });
        }
        let socket = Rc::new(RefCell::new(socket));
        self.sockets.push(Rc::clone(&socket));
        self.got.push(Vec::new());
        self.reads.push(Reads::default());
        self.left.push(None);
        (peer, addr, socket)
    }

    /// Where a peer comes from: each has an address of its own, unless it comes from that of another.
    pub(crate) fn addr(peer: Peer) -> SocketAddr {
        let port = u16::try_from(peer).expect("a few");
        let [high, low] = port.to_be_bytes();
        SocketAddr::from(([198, 51, high, low], port))
    }

    /// A peer connects whose side of a handshake has not come yet, on a stream that takes so many bytes
    /// until they are read.
    pub(crate) fn connect_late(&mut self, service: Service, capacity: usize) -> Peer {
        self.connect_late_from(None, service, capacity)
    }

    fn connect_late_from(&mut self, host: Option<Peer>, service: Service, capacity: usize) -> Peer {
        let (peer, addr, socket) = self.socket(host, capacity);
        let stream = ServerEnd::new(socket, Descriptor::open().expect("there are many"));
        self.engine
            .accept(stream, addr, service, self.now, &mut self.registry);
        // Who is refused is written to at once.
        self.follow_all();
        peer
    }

    pub(crate) fn connect(&mut self, service: Service, capacity: usize) -> Peer {
        self.connect_from(None, service, capacity)
    }

    /// Somebody connects from the address of another one, or from one of its own.
    pub(crate) fn connect_from(
        &mut self,
        host: Option<Peer>,
        service: Service,
        capacity: usize,
    ) -> Peer {
        let peer = self.connect_late_from(host, service, capacity);
        self.greet(peer);
        peer
    }

    /// The handshake, where there is one.
    fn greet(&mut self, peer: Peer) {
        if self.is_veiled {
            self.send(peer, veil::HELLO);
        }
        self.settle();
    }

    /// Somebody joins who reads nothing, on a stream that takes so many bytes.
    pub(crate) fn join(&mut self, nick: &str, capacity: usize) -> Peer {
        let peer = self.connect(PLAIN, capacity.max(8));
        if self.is_veiled {
            // What the handshake has sent is read.
            self.peer(peer).peer_reads(usize::MAX);
        }
        self.say(peer, nick.as_bytes());
        peer
    }

    /// Somebody joins who reads everything at once.
    pub(crate) fn join_reading(&mut self, nick: &str) -> Peer {
        let peer = self.join(nick, 1000);
        self.peer(peer).read_greedily();
        self.settle();
        peer
    }

    /// Hands the engine a member of another one.
    pub(crate) fn adopt(&mut self, service: Service, nick: &str) -> io::Result<Peer> {
        let (peer, addr, socket) = self.socket(None, 1 << 20);
        let stream = ServerEnd::new(socket, Descriptor::open()?);
        self.registry.now = Some(self.now);
        let (now, registry) = (self.now, &mut self.registry);
        self.engine
            .adopt(stream, addr, service, nick, now, registry)?;
        Ok(peer)
    }

    /// Asks the engine to connect to somebody who has not answered.
    pub(crate) fn dial(&mut self, service: Service) -> Peer {
        let (peer, addr, socket) = self.socket(None, 1 << 20);
        let connecting = socket.replace(Socket::new(
            peer,
            addr.ip(),
            1 << 20,
            Faults::NONE,
            Rng::with_seed(7),
        ));
        *socket.borrow_mut() = connecting.dialed();
        self.registry.next.push_back(socket);
        self.engine.dial(addr, service);
        peer
    }

    pub(crate) fn answer(&mut self, peer: Peer, answer: Dialed) {
        self.peer(peer).answer(answer);
        self.settle();
    }

    pub(crate) fn peer(&self, peer: Peer) -> std::cell::RefMut<'_, Socket> {
        self.sockets[peer as usize].borrow_mut()
    }

    pub(crate) fn send(&mut self, peer: Peer, bytes: &[u8]) {
        self.peer(peer).arrive(bytes, false);
    }

    /// Somebody types a line, and what comes of it comes about.
    pub(crate) fn say(&mut self, peer: Peer, line: &[u8]) {
        self.send(peer, &[line, b"\n"].concat());
        self.settle();
    }

    /// Says so many KiB, as the others see them, at a nick of six bytes.
    pub(crate) fn flood(&mut self, peer: Peer, kibibytes: usize) {
        let line = [&[b'x'; 64 - 10] as &[u8], b"\n"].concat();
        self.send(peer, &line.repeat(kibibytes * (1024 / 64)));
        self.settle();
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.turn();
        self.settle();
    }

    /// Takes all turns that are due until then.
    pub(crate) fn wait_until(&mut self, end: Instant) {
        while let Some(deadline) = self.engine.next_deadline()
            && deadline <= end
        {
            self.now = self.now.max(deadline);
            self.turn();
            self.settle();
        }
        self.now = end;
        self.turn();
        self.settle();
    }

    /// The process is stopped while the poll loop waits, and goes on after so many milliseconds with the
    /// turn that finds what has arrived meanwhile.
    pub(crate) fn pause(&mut self, millis: u64) {
        let deadline = self.engine.next_deadline();
        self.now += Duration::from_millis(millis);
        if let Some(deadline) = deadline {
            self.engine.leave_out(self.now - deadline);
        }
        self.turn();
    }

    /// Turns until nothing is left to do. What hangs then hangs for ever.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            let any = self.sockets.iter().any(|socket| socket.borrow().is_armed());
            if !any && !self.engine.has_work() {
                return;
            }
            self.turn();
        }
        panic!("the loop spins");
    }

    pub(crate) fn turn(&mut self) {
        for socket in &self.sockets {
            let mut socket = socket.borrow_mut();
            socket.begin_turn(self.now);
            if let Some(event) = socket.take_event() {
                socket.told(event);
                drop(socket);
                if event.readable {
                    self.engine.on_readable(event.id, event.read_on);
                }
                if event.writable {
                    self.engine.on_writable(event.id);
                }
            }
        }
        self.registry.asked = 0;
        self.registry.now = Some(self.now);
        self.engine.turn(self.now, &mut self.registry);
        self.follow_all();
    }

    fn follow_all(&mut self) {
        for record in journal::take() {
            self.follow(record);
        }
    }

    fn follow(&mut self, record: Record) {
        match record {
            Record::Read { peer, bytes } => self.reads[peer as usize].bytes += bytes.len(),
            Record::Wrote {
                peer,
                offered,
                bytes,
                is_sent,
            } => {
                let reads = &mut self.reads[peer as usize];
                reads.has_taken_all = bytes.len() == offered;
                if is_sent {
                    reads.sent();
                }
                self.got[peer as usize].extend(bytes);
            }
            Record::Sent { peer } => self.reads[peer as usize].sent(),
            Record::Left { peer, reason, .. } => {
                let before = self.left[peer as usize].replace(reason);
                assert_eq!(before, None, "{peer} left again");
                self.leavers.push(peer);
            }
            Record::Refused { peer, reason, .. } => self.left[peer as usize] = Some(reason),
            Record::Freed { .. } => self.freed += 1,
            Record::Said { is_bulk, .. } => {
                self.said += 1;
                self.bulk += usize::from(is_bulk);
            }
            Record::Skipped { lines, .. } => self.skipped += lines,
            Record::DialFailed => self.dial_failed += 1,
            _ => {}
        }
    }

    /// Everybody reads what there is, until there is nothing more.
    pub(crate) fn read_all(&mut self) {
        for _ in 0..MOST_TURNS {
            for socket in &self.sockets {
                socket.borrow_mut().peer_reads(usize::MAX);
            }
            if !self.sockets.iter().any(|socket| socket.borrow().is_armed()) {
                return;
            }
            self.settle();
        }
        panic!("there is always more to read");
    }

    /// About how many peers the kernel was asked in one turn at most.
    pub(crate) fn most_asked(&self) -> usize {
        self.registry.most_asked
    }

    /// All that somebody got since the last time.
    pub(crate) fn got(&mut self, peer: Peer) -> String {
        let got = std::mem::take(&mut self.got[peer as usize]);
        String::from_utf8_lossy(&got).into_owned()
    }

    pub(crate) fn reads(&self, peer: Peer) -> &Reads {
        &self.reads[peer as usize]
    }

    pub(crate) fn left(&self, peer: Peer) -> Option<CloseReason> {
        self.left[peer as usize]
    }
}
