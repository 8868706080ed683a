//! What happens in few seeds or in one of a thousand, as a scene of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::engine::Chat;
use line_chat::{Config, Mode};

use crate::journal::{self, Peer, Record};
use crate::listener::Descriptor;
use crate::socket::{Faults, ServerEnd, Socket};
use crate::world::Registrations;

struct Scene {
    chat: Chat<ServerEnd>,
    sockets: Vec<Rc<RefCell<Socket>>>,
    now: Instant,
}

impl Scene {
    fn new(config: Config) -> Self {
        journal::begin();
        Descriptor::allow(10);
        assert_eq!(config.check(), Ok(()));
        Self {
            chat: Chat::new(config),
            sockets: Vec::new(),
            now: Instant::now(),
        }
    }

    /// Somebody joins who reads nothing, on a stream that takes so many bytes.
    fn join(&mut self, nick: &str, capacity: usize) {
        let peer = Peer::try_from(self.sockets.len()).unwrap_or_default();
        let addr = ([127, 0, 0, 1], 7).into();
        journal::introduce(peer, addr);
        let rng = Rng::with_seed(0);
        let socket = Socket::new(peer, addr.ip(), capacity, Faults::NONE, rng);
        let socket = Rc::new(RefCell::new(socket));
        let descriptor = Descriptor::open().expect("there are ten");
        let stream = ServerEnd::new(Rc::clone(&socket), descriptor);
        self.chat
            .accept(stream, addr, Mode::Bare, self.now, &mut Registrations);
        self.sockets.push(socket);
        self.say(peer, nick.as_bytes());
    }

    fn say(&mut self, peer: Peer, line: &[u8]) {
        let mut socket = self.sockets[peer as usize].borrow_mut();
        socket.arrive(line, false);
        socket.arrive(b"\n", false);
        drop(socket);
        self.turn();
    }

    /// So many KiB, as the others see them.
    fn flood(&mut self, peer: Peer, kibibytes: usize) {
        let line = [&[b'x'; 64 - 8] as &[u8], b"\n"].concat();
        let lines = line.repeat(kibibytes * (1024 / 64));
        self.sockets[peer as usize]
            .borrow_mut()
            .arrive(&lines, false);
        self.turn();
        while self.chat.has_work() {
            self.turn();
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.turn();
    }

    fn lines_in(&self) -> u64 {
        self.chat.metrics().lines_in
    }

    fn turn(&mut self) {
        for socket in &self.sockets {
            let mut socket = socket.borrow_mut();
            socket.begin_turn();
            if let Some(event) = socket.take_event() {
                socket.told(event);
                if event.readable {
                    self.chat.readable(event.id, event.read_on);
                }
                if event.writable {
                    self.chat.writable(event.id);
                }
            }
        }
        self.chat.turn(self.now, &mut Registrations);
    }

    /// All that was written to somebody.
    fn written_to(peer: Peer) -> String {
        let records = journal::take().into_iter();
        let bytes = records.flat_map(|record| match record {
            Record::Wrote {
                peer: to, bytes, ..
            } if to == peer => bytes,
            _ => Vec::new(),
        });
        String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
    }
}

/// A reader counts as stalled, and has to be told what it missed, in the turn in which it has to
/// go: its last words were followed by the count of lines skipped.
#[test]
fn nothing_is_told_after_the_last_words() {
    let mut config = Config::default();
    config.limits.max_line_bytes = 100;
    config.limits.max_nick_chars = 6;
    config.limits.max_pending_bytes = config.longest_line_bytes();
    config.limits.stall_timeout = Some(Duration::from_millis(1100));
    let mut scene = Scene::new(config);
    scene.join("reader", 1);
    scene.join("writer", 1000);
    let line = "something of some length";
    scene.say(1, line.as_bytes());
    // The longest there is, for each byte of it becomes three.
    scene.say(1, &[1; 100]);
    assert_eq!(scene.chat.metrics().lines_skipped, 1);
    scene.wait(1200);
    scene.sockets[0].borrow_mut().read_greedily();
    scene.turn();
    let last_words = "* you have read nothing for too long, goodbye";
    let expected = format!("writer: {line}\r\n{last_words}\r\n");
    assert_eq!(Scene::written_to(0), expected);
}

/// A speaker is too fast while most readers are behind, and no longer when these have stalled.
#[test]
fn nobody_waits_for_readers_that_have_taken_nothing_for_a_second() {
    let mut config = Config::default();
    config.limits.max_pending_bytes = 520 << 10;
    let mut scene = Scene::new(config);
    scene.join("loud", 1000);
    for reader in ["behind", "behind-too"] {
        scene.join(reader, 1);
    }
    scene.join("reader", 1000);
    scene.sockets[3].borrow_mut().read_greedily();
    scene.flood(0, 65);
    scene.wait(500);
    scene.flood(0, 80);
    let (heard, said) = (scene.lines_in(), (65 + 80) * 16);
    assert!(heard < said, "most are behind");
    scene.wait(400);
    assert_eq!(scene.lines_in(), heard, "most are still behind");
    scene.wait(150);
    while scene.chat.has_work() {
        scene.turn();
    }
    assert_eq!(scene.lines_in(), said, "most have stalled");
}

/// However much somebody has said, a second later it is quiet again.
#[test]
fn a_flood_is_forgiven_in_a_second() {
    let mut scene = Scene::new(Config::default());
    scene.join("loud", 1000);
    scene.join("reader", 1000);
    scene.sockets[1].borrow_mut().read_greedily();
    scene.flood(0, 500);
    journal::take();
    scene.wait(900);
    scene.say(0, b"a line");
    let is_loud = |record: &Record| matches!(record, Record::Loud { .. });
    assert!(journal::take().iter().any(is_loud));
    scene.wait(200);
    scene.say(0, b"a line");
    assert!(!journal::take().iter().any(is_loud));
}
