//! What happens in one seed of a thousand only, as a scene of its own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::Config;
use line_chat::chat::Chat;

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
        self.chat.accept(stream, addr, self.now, &mut Registrations);
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
    scene.now += Duration::from_millis(1200);
    scene.turn();
    scene.sockets[0].borrow_mut().read_greedily();
    scene.turn();
    let last_words = "* you have read nothing for too long, goodbye";
    let expected = format!("writer: {line}\r\n{last_words}\r\n");
    assert_eq!(Scene::written_to(0), expected);
}
