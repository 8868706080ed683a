//! Who sits at the other end: a [`Person`] types, pauses, stops reading, and goes in every way
//! that there is to go.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use fastrand::Rng;
use line_chat::{Eof, Profile, Script, Service};

use crate::chances::{OPS_PASSWORD, PASSWORD};
use crate::socket::Socket;

/// Nicks that are good, look alike, or are none.
const NICKS: [&[u8]; 40] = [
    b"alice",
    b"bob",
    b"BOB",
    b" bob ",
    "b\u{ad}ob".as_bytes(),
    "ｂｏｂ".as_bytes(),
    b"carol",
    "Zo\u{eb}-\u{2603}".as_bytes(),
    b"dave",
    b"Dave",
    b"erin",
    b"frank",
    b"grace",
    b"heidi",
    b"ivan",
    b"judy",
    b"mallory",
    "\u{1f469}\u{200d}\u{1f467}".as_bytes(),
    b"x\x08niaj",
    b"two words",
    // Cyrillic letters in Latin names, accents, a dotless i.
    "d\u{430}ve".as_bytes(),
    "grac\u{435}".as_bytes(),
    "\u{131}van".as_bytes(),
    "HEIDI\u{323}".as_bytes(),
    "zo\u{eb}-\u{2603}".as_bytes(),
    "\u{412}\u{435}\u{440}\u{430}".as_bytes(),
    "\u{432}\u{435}\u{440}\u{430}".as_bytes(),
    b"bepa2",
    b"server",
    "Y\u{43e}u".as_bytes(),
    "\u{2217}olivia".as_bytes(),
    "rupert\u{ff1a}".as_bytes(),
    "\u{301}sybil".as_bytes(),
    "e\u{301}\u{301}\u{301}\u{301}".as_bytes(),
    b"*olivia",
    b"/peggy",
    b"rup:ert",
    b"sy\x1bbil",
    b"tr\xffudy",
    "\u{200b}\u{ad}".as_bytes(),
];

/// What a line may be made of.
const PIECES: [&[u8]; 31] = [
    b"hello",
    b" ",
    b"the quick brown fox jumps over the lazy dog",
    b"\t",
    b"* bob is a liar",
    b"bob: no, I am not",
    "f\u{fc}\u{df}e \u{6f22}\u{5b57}".as_bytes(),
    "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}".as_bytes(),
    b"\x08",
    b"\x7f\x7f",
    b"\x08\x08\x08\x08\x08\x08\x08\x08",
    b"\x1b]0;title\x07",
    b"\x1b[1;5D",
    b"\x1bOA\x1bx",
    b"\x1b[200~",
    b"\x03",
    b"\x12\x0c\x1a",
    b"\xffa",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}".as_bytes(),
    b"\0",
    "\u{85}".as_bytes(),
    "\u{2028}\u{202e}\u{feff}\u{e0041}".as_bytes(),
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\x80\x80\x80\x80\x80",
    b"\xff\xff",
    b"\xff\xf7",
    b"\xff\xf8",
    b"\xff\xf1",
    b"\xff\xf6",
];

/// What a telnet client sends besides what is typed.
const COMMANDS: [&[u8]; 19] = [
    b"\xff\xf1",
    b"\xff\xf6",
    b"\xff\xf7",
    b"\xff\xf8",
    b"\xff\xff",
    b"\xff\xfd\x06",
    b"\xff\xfd\x0a",
    b"\xff\xfb\x0d",
    b"\xff\xfc\xff",
    b"\xff\xfe\x01",
    b"\xff\xfd\x00",
    b"\xff\xfb\x00",
    b"\xff\xfe\x00",
    b"\xff\xfc\x00",
    b"\xff\xed",
    b"\xff\xf4\xff\xfd\x06",
    b"\xff\xfa\x1f\0\x50\xff\xff\r\n\xff\xf0",
    b"\xff\xfa\x18",
    b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03",
];

/// What somebody sends who wants no chat, but another protocol, or has mistaken the port.
const FOREIGN: [&[u8]; 22] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x0a\xff\xff\xf6",
    b"\x16\x03\x01\x02\xff\xf6",
    b"\x16\x03\x03\x00\x7a",
    b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\n",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
    b"\xff\xfeb\0o\0b\0\r\0\n\0",
    b"\xfe\xff\0b\0o\0b\0\r\0\n",
    b"\xff\xfeb\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"EHLO mail.example.org\r\n",
    b"USER anonymous\r\n",
    b"CAP LS 302\r\nNICK x\r\n",
    b"NICK x\r\nUSER x 0 * :x\r\n",
    b"USER x 0 * :x\r\n",
    // And what only looks like it.
    b"GET\r\n",
    b"SSH\r\n",
    b"Ehlo\r\n",
    b"PING\r\n",
    b"*1x\r\n",
    b"\x16\x7f",
];

/// What monitoring asks, and what it might.
const REQUESTS: [&[u8]; 4] = [
    b"GET /healthz HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"HEAD /healthz HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost:",
];

/// What a flood is made of.
const FLOODS: [&[u8]; 8] = [
    b"x\n",
    b"flood flood flood flood\n",
    b"\r\n",
    b"\xff\xf6",
    b"\xff\xfd\x06",
    b"\x7f",
    b"\xff\xfa\x07\x07\x07\x07",
    b"flood",
];

const LINE_ENDS: [&[u8]; 4] = [b"\r\n", b"\n", b"\r\0", b"\r"];

/// How a run's persons are: each seed has its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// How many pieces a line has at most.
    pub(crate) pieces: usize,
    /// How many lines are typed at once, once in a while.
    pub(crate) burst: usize,
    /// How often a telnet command comes between two bytes, and how often a reader stalls.
    pub(crate) telnet: f64,
    pub(crate) stall: f64,
    /// How often somebody floods the room, as a chance for each time of typing.
    pub(crate) flood: f64,
    /// How often one speaks another protocol, or says no nick.
    pub(crate) foreign: f64,
    pub(crate) nameless: f64,
    /// How often one goes, as a chance for each thing done.
    pub(crate) go: f64,
}

#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) socket: Rc<RefCell<Socket>>,
    manner: Manner,
    service: Service,
    /// Typed and not yet sent.
    typed: VecDeque<u8>,
    lines: u32,
    pub(crate) reads: bool,
    /// Only listens, and never fails.
    is_listener: bool,
    /// Writes the transcript.
    is_writer: bool,
    going: bool,
}

impl Person {
    /// Somebody who begins with this.
    pub(crate) fn new(socket: Rc<RefCell<Socket>>, manner: Manner, hello: &[u8]) -> Self {
        Self {
            socket,
            manner,
            service: Service::Chat(Profile::Plain),
            typed: hello.iter().copied().collect(),
            lines: 0,
            reads: true,
            is_listener: false,
            is_writer: false,
            going: false,
        }
    }

    /// Types what a listener of that kind wants to know first.
    pub(crate) fn begin(&mut self, service: Service, has_password: bool, rng: &mut Rng) {
        self.service = service;
        if service == Service::Http {
            return self.typed.extend(REQUESTS[rng.usize(..REQUESTS.len())]);
        }
        if rng.u8(..) < 20 {
            self.typed.extend(COMMANDS[13]);
        }
        if rng.f64() < self.manner.foreign {
            // Behind a nick that is none it is only another one.
            if rng.u8(..) < 60 {
                self.typed.extend(b"no nick\n");
            }
            self.typed.extend(FOREIGN[rng.usize(..FOREIGN.len())]);
        }
        while has_password && rng.u8(..) < 40 {
            self.typed.extend(b"a guess\n");
        }
        if has_password {
            self.typed.extend(PASSWORD.as_bytes());
            self.typed.push_back(b'\n');
        }
        if rng.f64() >= self.manner.nameless {
            self.type_nicks(rng);
        }
    }

    /// Joins, listens, and does nothing else.
    pub(crate) fn listener(socket: Rc<RefCell<Socket>>, manner: Manner, hello: &[u8]) -> Self {
        let mut window = socket.borrow_mut();
        window.read_greedily();
        window.arrive(hello, false);
        window.arrive(b"~\n", false);
        drop(window);
        Self {
            is_listener: true,
            ..Self::new(socket, manner, b"")
        }
    }

    /// Reads what it is to write to a disk.
    pub(crate) fn writer(socket: Rc<RefCell<Socket>>, manner: Manner) -> Self {
        Self {
            is_writer: true,
            ..Self::new(socket, manner, b"")
        }
    }

    /// Does one thing.
    pub(crate) fn act(&mut self, rng: &mut Rng) {
        if self.is_listener {
            return;
        }
        if self.is_writer {
            return self.write_down(rng);
        }
        if self.socket.borrow().has_vanished() {
            if rng.u8(..) < 8 {
                self.socket.borrow_mut().come_back();
            }
            return;
        }
        if self.socket.borrow().is_finished() {
            return self.answer_the_end(rng);
        }
        if rng.f64() < self.manner.go {
            return self.go(rng);
        }
        if rng.f64() < self.manner.stall {
            self.reads = !self.reads;
        }
        match rng.u8(0..10) {
            0..=2 if self.typed.len() < 1000 && !self.going => self.type_lines(rng),
            0..=5 => self.send(rng),
            _ if self.reads => {
                let most = if rng.bool() {
                    rng.usize(1..200)
                } else {
                    1 << 20
                };
                self.socket.borrow_mut().peer_reads(most);
            }
            _ => {}
        }
    }

    /// A disk stalls, and a process is killed: nothing that it has not read is read by anybody then.
    fn write_down(&mut self, rng: &mut Rng) {
        let mut socket = self.socket.borrow_mut();
        match rng.u16(..) {
            0..200 => socket.go(),
            200..300 => socket.reset(),
            300..4000 => self.reads = !self.reads,
            _ if self.reads => socket.peer_reads(rng.usize(1..5000)),
            _ => {}
        }
        if socket.is_finished() {
            socket.hang_up();
        }
    }

    /// Reads everything, says what it still has to say, and hangs up.
    pub(crate) fn finish(&mut self, rng: &mut Rng) {
        if self.is_writer {
            return self.socket.borrow_mut().read_greedily();
        }
        if self.socket.borrow().has_vanished() {
            // Keepalive finds it.
            return self.socket.borrow_mut().reset();
        }
        self.reads = true;
        self.socket.borrow_mut().read_greedily();
        while !self.typed.is_empty() && self.socket.borrow().window() > 0 {
            self.send(rng);
        }
        let mut socket = self.socket.borrow_mut();
        if socket.has_hung_up() && self.listens_on() {
            return socket.reset();
        }
        if self.typed.is_empty() || socket.has_hung_up() {
            socket.hang_up();
        }
    }

    /// Whether it stays when it has hung up.
    fn listens_on(&self) -> bool {
        let listens = |script: Script| script.eof == Eof::Listen;
        matches!(self.service, Service::Script(script) if listens(script))
    }

    /// Reads everything, and closes when nothing follows.
    pub(crate) fn read_to_the_end(&mut self) {
        let mut socket = self.socket.borrow_mut();
        socket.read_greedily();
        if socket.is_finished() {
            socket.hang_up();
        }
    }

    /// A peer that has read the server's FIN: some close, some go on talking, some are dead.
    fn answer_the_end(&mut self, rng: &mut Rng) {
        match rng.u8(0..10) {
            0..=4 if self.reads => self.socket.borrow_mut().hang_up(),
            5 => self.socket.borrow_mut().reset(),
            6 => {
                self.type_lines(rng);
                self.send(rng);
            }
            _ => {}
        }
    }

    fn go(&mut self, rng: &mut Rng) {
        let mut socket = self.socket.borrow_mut();
        if socket.has_hung_up() && self.listens_on() {
            return socket.reset();
        }
        match rng.u8(0..8) {
            // After its last word, which may lack its end.
            0..=3 => self.going = true,
            // In the middle of it.
            4 => socket.hang_up(),
            5 => socket.go(),
            6 => socket.reset(),
            _ if rng.bool() => socket.vanish(),
            _ => self.reads = false,
        }
    }

    fn type_nicks(&mut self, rng: &mut Rng) {
        // No nick twice: which of two equal ones was refused, nothing would tell.
        let mut first = rng.usize(..NICKS.len());
        for _ in 0..rng.usize(1..=3) {
            let nick = NICKS[first % NICKS.len()];
            self.type_bytes(nick, rng);
            self.end_line(rng);
            first += 7;
        }
    }

    fn type_lines(&mut self, rng: &mut Rng) {
        if self.service == Service::Http {
            return;
        }
        if self.service == Service::Chat(Profile::Interactive) && rng.u8(..) < 80 {
            return self.type_command(rng);
        }
        if rng.f64() < self.manner.flood {
            let flood = FLOODS[rng.usize(..FLOODS.len())];
            let times = rng.usize(1..=self.manner.burst);
            return self.typed.extend(flood.repeat(times));
        }
        let lines = match rng.u8(..) {
            0 => rng.usize(0..=self.manner.burst),
            1..30 => rng.usize(1..=20),
            _ => 1,
        };
        for _ in 0..lines {
            self.type_line(rng);
        }
    }

    /// What people type besides lines. Nobody ignores anybody, which no event tells of.
    fn type_command(&mut self, rng: &mut Rng) {
        let name = NICKS[rng.usize(..12)].escape_ascii().to_string();
        self.lines += 1;
        let command = match rng.u8(0..32) {
            0..8 => format!("/me waves {}", self.lines),
            8 | 9 => format!("/msg {name} psst"),
            10 => "/reply psst".to_owned(),
            11 => format!("/nick {name}"),
            12 | 13 => "/help".to_owned(),
            14 | 15 => "/who".to_owned(),
            16 | 17 => "/last".to_owned(),
            18 => "/time".to_owned(),
            19 => format!("//slash {}", self.lines),
            20..24 => format!("/op {OPS_PASSWORD}"),
            24 => "/op guess".to_owned(),
            25 => format!("/kick {name} go"),
            26 => format!("/ban {name} 1"),
            27 => format!("/mute {name} 1"),
            28 => format!("/unmute {name}"),
            29 => "/announce tea".to_owned(),
            30 => "/ban 192.0.2.2 1".to_owned(),
            _ => "/quit bye".to_owned(),
        };
        self.type_bytes(command.as_bytes(), rng);
        self.end_line(rng);
    }

    fn type_line(&mut self, rng: &mut Rng) {
        self.lines += 1;
        if rng.u8(..) > 20 {
            self.type_bytes(format!("{}#", self.lines).as_bytes(), rng);
            for _ in 0..rng.usize(0..=self.manner.pieces) {
                let piece = PIECES[rng.usize(..PIECES.len())];
                self.type_bytes(piece, rng);
            }
        }
        match rng.u16(..) {
            // More than any line may have, and a subnegotiation without an end.
            0..300 => self.typed.extend([b'l'; 250]),
            300..400 => self
                .typed
                .extend([b"\xff\xfa" as &[u8], &[7; 1100]].concat()),
            _ => {}
        }
        self.end_line(rng);
    }

    fn type_bytes(&mut self, bytes: &[u8], rng: &mut Rng) {
        for &byte in bytes {
            if rng.f64() < self.manner.telnet {
                self.typed.extend(COMMANDS[rng.usize(..COMMANDS.len())]);
            }
            self.typed.push_back(byte);
        }
    }

    fn end_line(&mut self, rng: &mut Rng) {
        let end = LINE_ENDS[rng.usize(..LINE_ENDS.len())];
        self.type_bytes(end, rng);
    }

    /// Sends a segment of what was typed.
    fn send(&mut self, rng: &mut Rng) {
        let mut socket = self.socket.borrow_mut();
        let most = match rng.u8(0..8) {
            0..=2 => 1,
            3..=5 => rng.usize(1..100),
            _ => usize::MAX,
        };
        let most = most.min(self.typed.len()).min(socket.window());
        if most > 0 {
            let segment: Vec<u8> = self.typed.drain(..most).collect();
            socket.arrive(&segment, rng.u8(..) < 10);
        }
        if self.going && self.typed.is_empty() {
            socket.hang_up();
        }
    }
}
