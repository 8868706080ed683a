//! TLS in an engine, on a socket of which this test decides how much it takes and gives at once. The
//! socket is edge-triggered and holds its caller to that: whoever was told that there is no more, or read
//! less than asked for, waits for an event.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use line_chat::engine::{ClientId, Engine, Interest, Registry, Stream};
use line_chat::{CloseReason, Config, Entrance, Event, Observer, Profile, Service, Tls};
use rustls::{ClientConnection, ServerConfig};

use crate::certificates::Pair;

const PLAIN: Service = Service::Chat(Profile::Plain);
const HINT: &str = "* this port speaks TLS: openssl s_client -quiet -connect HOST:PORT\r\n";

/// What both ends of a socket share.
#[derive(Debug, Default)]
struct Wire {
    id: Option<ClientId>,
    to_server: VecDeque<u8>,
    fin: bool,
    to_client: Vec<u8>,
    /// How many bytes the kernel still takes.
    room: usize,
    /// An event is due.
    readable: bool,
    writable: bool,
    /// The server may read without another event.
    may_read: bool,
    /// The server has shut its half down.
    shut: bool,
    dropped: bool,
    /// How often it was read.
    reads: usize,
}

impl Wire {
    fn arrive(&mut self, bytes: &[u8]) {
        self.to_server.extend(bytes);
        self.readable = true;
    }

    fn hang_up(&mut self) {
        self.fin = true;
        self.readable = true;
    }

    fn make_room(&mut self, room: usize) {
        self.room += room;
        self.writable = true;
    }
}

/// The server's end.
#[derive(Debug, Clone)]
struct End(Rc<RefCell<Wire>>);

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(wire.may_read, "read before its event");
        wire.reads += 1;
        if wire.to_server.is_empty() && !wire.fin {
            wire.may_read = false;
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = wire.to_server.read(buffer)?;
        wire.may_read = read == buffer.len() || wire.fin;
        Ok(read)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.shut, "written to after its end");
        let taken = bytes.len().min(wire.room);
        wire.to_client.extend(&bytes[..taken]);
        wire.room -= taken;
        // In a handshake a read may have waited for this (rule 7).
        wire.may_read |= taken > 0;
        match taken {
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for End {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shut = true;
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

/// The wires are their own registrations.
struct Poll;

impl Registry<Tls<End>> for Poll {
    fn register(&mut self, stream: &mut Tls<End>, id: ClientId) -> io::Result<()> {
        let wire = &mut *stream.get_mut().0.borrow_mut();
        (wire.id, wire.may_read) = (Some(id), true);
        Ok(())
    }

    fn reregister(&mut self, _: &mut Tls<End>, _: ClientId, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &mut Tls<End>) {}
}

/// Why clients left, in that order.
#[derive(Debug, Default)]
struct Leaving(Vec<CloseReason>);

impl Observer for Leaving {
    fn on_event(&mut self, _: Instant, event: Event<'_>) {
        if let Event::Left { reason, .. } = event {
            self.0.push(reason);
        }
    }
}

struct Room {
    engine: Engine<Tls<End>, Leaving>,
    now: Instant,
    config: Arc<ServerConfig>,
    pair: Pair,
    wires: Vec<Rc<RefCell<Wire>>>,
}

/// A client that speaks TLS.
struct Client {
    tls: ClientConnection,
    wire: Rc<RefCell<Wire>>,
    said: String,
}

impl Room {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(mut config: Config) -> Self {
        let pair = Pair::self_signed();
        let now = Instant::now();
        // So there may be 256 handshakes at once.
        config.limits.max_clients = Some(2048);
        let engine = Engine::new(config, Leaving::default(), now);
        Self {
            engine: engine.expect("the default works"),
            now,
            config: pair.server(),
            pair,
            wires: Vec::new(),
        }
    }

    /// Somebody connects, whose kernel takes this many bytes at first.
    fn connect(&mut self, room: usize) -> Rc<RefCell<Wire>> {
        let wire = Rc::new(RefCell::new(Wire {
            room,
            ..Wire::default()
        }));
        let stream = Tls::accepted(End(Rc::clone(&wire)), Arc::clone(&self.config));
        let peer = ([127, 0, 0, 1], 1);
        let entrance = Entrance::from(PLAIN);
        let peer = std::net::SocketAddr::from(peer);
        self.engine
            .accept(stream, peer, entrance, self.now, &mut Poll);
        self.wires.push(Rc::clone(&wire));
        wire
    }

    fn client(&mut self) -> Client {
        Client {
            tls: self.pair.client(None),
            wire: self.connect(1 << 20),
            said: String::new(),
        }
    }

    fn turn(&mut self) {
        for wire in &self.wires {
            let mut wire = wire.borrow_mut();
            let Some(id) = wire.id.filter(|_| !wire.dropped) else {
                continue;
            };
            if std::mem::take(&mut wire.readable) {
                wire.may_read = true;
                self.engine.on_readable(id, wire.fin);
            }
            if std::mem::take(&mut wire.writable) {
                self.engine.on_writable(id);
            }
        }
        self.engine.turn(self.now, &mut Poll);
    }

    /// Takes turns until there is nothing to do, which is soon.
    fn settle(&mut self) {
        for _ in 0..1000 {
            self.turn();
            let is_due = |wire: &Rc<RefCell<Wire>>| {
                let wire = wire.borrow();
                !wire.dropped && (wire.readable || wire.writable)
            };
            if !self.engine.has_work() && !self.wires.iter().any(is_due) {
                return;
            }
        }
        panic!("it spins");
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.settle();
    }

    /// Sends what a client has to send, and lets it read, until neither has anything.
    fn exchange(&mut self, client: &mut Client) {
        loop {
            let sent = client.take_output();
            client.wire.borrow_mut().arrive(&sent);
            self.settle();
            if !client.read() && !client.tls.wants_write() {
                return;
            }
        }
    }

    fn join(&mut self, nick: &str) -> Client {
        let mut client = self.client();
        self.exchange(&mut client);
        self.say(&mut client, nick);
        client
    }

    fn say(&mut self, client: &mut Client, line: &str) {
        client.write(line);
        self.exchange(client);
    }

    /// Everything that a client has been told so far.
    fn told(&mut self, client: &mut Client) -> String {
        self.exchange(client);
        std::mem::take(&mut client.said)
    }
}

impl Client {
    fn write(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        let mut writer = self.tls.writer();
        writer.write_all(line.as_bytes()).expect("there is room");
    }

    fn take_output(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut output).expect("memory takes it");
        }
        output
    }

    /// Reads what has come. Returns whether anything has.
    fn read(&mut self) -> bool {
        let came = std::mem::take(&mut self.wire.borrow_mut().to_client);
        self.take(&came);
        !came.is_empty()
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).expect("memory gives it");
            self.tls.process_new_packets().expect("the server is sound");
        }
        // It blocks where there is nothing.
        let _ = self.tls.reader().read_to_string(&mut self.said);
    }
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    let mut room = Room::new();
    let mut ann = room.join("ann");
    let mut at = 0;
    loop {
        let mut client = room.client();
        let mut cut = 0;
        // Whatever the client sends until it has said its line is one stream, which is cut once.
        while cut < 1000 {
            let mut output = client.take_output();
            if !client.tls.is_handshaking() {
                client.write(&format!("bob{at}"));
                client.write("hi");
                output.extend(client.take_output());
                cut += 1000;
            }
            let first = output.len().min(at.max(cut % 1000) - cut % 1000);
            client.wire.borrow_mut().arrive(&output[..first]);
            room.settle();
            client.wire.borrow_mut().arrive(&output[first..]);
            room.settle();
            client.read();
            cut += output.len();
        }
        assert_eq!(room.told(&mut ann), format!("bob{at}: hi\r\n"));
        client.wire.borrow_mut().hang_up();
        room.settle();
        at += 1;
        if at > cut - 1000 {
            assert!(at > 300, "{at} places");
            break;
        }
    }
}

#[test]
fn everything_may_come_and_go_byte_by_byte() {
    let mut room = Room::new();
    let mut ann = room.join("ann");
    let mut bob = Client {
        tls: room.pair.client(None),
        wire: room.connect(0),
        said: String::new(),
    };
    bob.write("bob");
    bob.write("hi");
    for _ in 0..20_000 {
        for byte in bob.take_output() {
            bob.wire.borrow_mut().arrive(&[byte]);
            room.turn();
        }
        bob.wire.borrow_mut().make_room(1);
        room.turn();
        if !bob.read() && !bob.tls.is_handshaking() {
            break;
        }
    }
    assert_eq!(room.told(&mut ann), "bob: hi\r\n");
    bob.wire.borrow_mut().room = 0;
    room.say(&mut ann, "hello bob");
    let mut bytes = 0;
    while !bob.said.ends_with("\r\n") {
        bob.wire.borrow_mut().make_room(1);
        room.turn();
        assert!(bob.read(), "a byte");
        bytes += 1;
    }
    // A record has 22 bytes beside its text (RFC 8446, section 5.2).
    assert_eq!((bob.said.as_str(), bytes), ("ann: hello bob\r\n", 38));
}

#[test]
fn a_member_that_ends_its_half_gets_the_answers_to_what_it_said() {
    let mut room = Room::new();
    let mut ann = room.join("ann");
    let mut bob = room.client();
    room.exchange(&mut bob);
    bob.write("bob");
    bob.write("hi");
    let mut tls = bob.tls.writer();
    tls.write_all(b"\xff\xf6").expect("there is room");
    bob.tls.send_close_notify();
    // All in one segment, and no FIN: no event follows.
    assert_eq!(room.told(&mut bob), "* yes\r\n");
    assert_eq!(room.told(&mut ann), "bob: hi\r\n");
    assert!(bob.wire.borrow().shut, "nothing else was to come");
    let state = bob.tls.process_new_packets().expect("the server is sound");
    assert!(state.peer_has_closed(), "and the server said so");
    bob.wire.borrow_mut().hang_up();
    room.settle();
    assert!(bob.wire.borrow().dropped);
    assert_eq!(room.engine.observer().0, [CloseReason::HungUp]);
}

#[test]
fn a_fin_without_close_notify_is_a_hang_up_behind_the_last_line() {
    let mut room = Room::new();
    let mut ann = room.join("ann");
    let mut bob = room.join("bob");
    bob.write("bye");
    let output = bob.take_output();
    bob.wire.borrow_mut().arrive(&output);
    bob.wire.borrow_mut().hang_up();
    room.settle();
    assert_eq!(room.told(&mut ann), "bob: bye\r\n");
    assert!(bob.wire.borrow().dropped);
    assert_eq!(room.engine.observer().0, [CloseReason::HungUp]);
}

#[test]
fn what_stands_before_a_broken_record_is_heard() {
    let mut room = Room::new();
    let mut ann = room.join("ann");
    let mut bob = room.join("bob");
    bob.write("the last");
    let mut output = bob.take_output();
    bob.write("broken");
    let mut broken = bob.take_output();
    *broken.last_mut().expect("a record") ^= 1;
    output.extend(broken);
    bob.wire.borrow_mut().arrive(&output);
    room.settle();
    assert_eq!(room.told(&mut ann), "bob: the last\r\n");
    let alert = std::mem::take(&mut bob.wire.borrow_mut().to_client);
    let mut alert = Cursor::new(alert);
    bob.tls.read_tls(&mut alert).expect("memory gives it");
    let error = bob.tls.process_new_packets().expect_err("an alert");
    assert!(error.to_string().contains("BadRecordMac"), "{error}");
    assert_eq!(room.engine.observer().0, [CloseReason::Broken]);
}

#[test]
fn a_peer_without_tls_is_told_in_plain_text_what_to_do() {
    let mut room = Room::new();
    for hello in [
        &b"alice\r\n"[..],
        b"\xff\xfb\x1f",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let peer = room.connect(1 << 20);
        peer.borrow_mut().arrive(hello);
        room.settle();
        assert_eq!(peer.borrow().to_client, HINT.as_bytes());
        assert_eq!(
            room.engine.observer().0.pop(),
            Some(CloseReason::HandshakeFailed)
        );
        peer.borrow_mut().hang_up();
        room.settle();
        assert!(peer.borrow().dropped && peer.borrow().to_server.is_empty());
    }
    // One who waits for a prompt is told when its time is over.
    let silent = room.connect(1 << 20);
    room.wait(Duration::from_millis(9999));
    assert_eq!(silent.borrow().to_client, b"");
    room.wait(Duration::from_millis(1));
    assert_eq!(silent.borrow().to_client, HINT.as_bytes());
    assert_eq!(room.engine.observer().0, [CloseReason::HandshakeTimeout]);
}

#[test]
fn a_peer_that_never_reads_has_ten_seconds_for_its_handshake() {
    let mut room = Room::new();
    let mut bob = Client {
        tls: room.pair.client(None),
        wire: room.connect(0),
        said: String::new(),
    };
    let hello = bob.take_output();
    bob.wire.borrow_mut().arrive(&hello);
    room.settle();
    room.wait(Duration::from_millis(9999));
    assert_eq!(room.engine.observer().0, []);
    room.wait(Duration::from_millis(1));
    assert_eq!(room.engine.observer().0, [CloseReason::HandshakeTimeout]);
    // What it has not read is given up after as long as any client's last lines are.
    room.wait(Config::default().limits.goodbye_timeout);
    assert!(bob.wire.borrow().dropped);
}

#[test]
fn a_flood_of_key_updates_ends_the_connection_that_sends_it() {
    let mut room = Room::new();
    let mut ann = room.join("ann");
    let mut bob = room.join("bob");
    for updates in 1..=40 {
        bob.tls.refresh_traffic_keys().expect("TLS 1.3");
        let output = bob.take_output();
        bob.wire.borrow_mut().arrive(&output);
        room.settle();
        bob.wire.borrow_mut().to_client.clear();
        if bob.wire.borrow().shut || bob.wire.borrow().dropped {
            assert!(updates > 30, "after {updates}");
            break;
        }
    }
    assert_eq!(room.engine.observer().0, [CloseReason::Broken]);
    room.say(&mut ann, "still here");
    assert_eq!(room.engine.members().collect::<Vec<_>>(), ["ann"]);
}

/// Each record takes as much work as a line, and holds a NUL, which says nothing.
#[test]
fn tiny_records_that_say_nothing_count_as_much_as_what_they_take() {
    let mut config = Config::default();
    // rustls reads 4 KiB each time.
    config.limits.turn_read_bytes = 20 * 4096;
    let mut room = Room::with(config);
    let mut ann = room.join("ann");
    let mut bob = room.join("bob");
    let mut floods: Vec<_> = (0..100).map(|n| room.join(&format!("flood{n}"))).collect();
    for flood in &mut floods {
        for _ in 0..2000 {
            flood.tls.writer().write_all(b"\0").expect("there is room");
        }
        let output = flood.take_output();
        flood.wire.borrow_mut().arrive(&output);
    }
    let reads = |floods: &[Client]| -> usize {
        let reads = floods.iter().map(|it| it.wire.borrow().reads);
        reads.sum()
    };
    // Before they are known as bulk speakers, a line waits until each of them was read once.
    let rounds = floods.len().div_ceil(20) + 1;
    for turn in 0..40 {
        ann.write("hello");
        let output = ann.take_output();
        ann.wire.borrow_mut().arrive(&output);
        let before = reads(&floods);
        room.turn();
        assert!(reads(&floods) - before <= 21, "in turn {turn}");
        bob.read();
        let heard = bob.said.matches("ann: hello\r\n").count();
        assert!(heard + rounds > turn, "{heard} in turn {turn}");
    }
}

#[test]
fn two_hundred_hellos_at_once_take_one_step_a_turn_behind_a_typist() {
    let mut room = Room::new();
    let mut ann = room.join("ann");
    let mut bob = room.join("bob");
    let mut strangers: Vec<_> = (0..200).map(|_| room.client()).collect();
    for stranger in &mut strangers {
        let hello = stranger.take_output();
        stranger.wire.borrow_mut().arrive(&hello);
    }
    let reads = |strangers: &[Client]| -> usize {
        let reads = strangers.iter().map(|it| it.wire.borrow().reads);
        reads.sum()
    };
    for turn in 0..220 {
        ann.write("hello");
        let output = ann.take_output();
        ann.wire.borrow_mut().arrive(&output);
        let before = reads(&strangers);
        room.turn();
        // The first byte, and the rest of the hello.
        assert!(reads(&strangers) - before <= 2, "in turn {turn}");
        bob.read();
        assert_eq!(std::mem::take(&mut bob.said), "ann: hello\r\n");
    }
    for stranger in &mut strangers {
        room.exchange(stranger);
        assert!(!stranger.tls.is_handshaking());
    }
}
