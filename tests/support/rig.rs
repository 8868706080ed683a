//! An engine without sockets, under a clock that a test sets: [`Rig`] does for an [`Engine`] what the
//! poll loop does, and [`Wire`] is a client whose kernel takes exactly as much as a test says. So a
//! time-out of five minutes takes no time, and a socket can block at any byte.
//!
//! Readiness is reported before every turn. That is more often than epoll(7) would, which an engine has
//! to bear; that one event is enough is shown by the simulation.
//!
//! A fuzz target includes this file as well, so it uses nothing else of `support`.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use line_chat::engine::{ClientId, Engine, Interest, Registry, Stream};
use line_chat::server::accept::{Acceptor, Listen};
use line_chat::{Config, Interactive, Metrics, Peer, Profile, Service};

/// More turns at one time are an endless loop.
const MAX_TURNS: usize = 100_000;

/// The bytes with which a person's greeting begins: IAC DO BINARY, and what hides it on a screen
/// without telnet.
pub(crate) const OFFER: &[u8] = b"\xff\xfd\0\r\0";

type Waiting = Rc<RefCell<VecDeque<(Wire, Peer)>>>;

pub(crate) struct Rig {
    engine: Engine<Wire>,
    interactive: Interactive,
    now: Instant,
    acceptor: Acceptor<Door>,
    /// Connections that wait at the listener, and at the one for scripts.
    waiting: [Waiting; 2],
    registered: Registered,
}

/// Bytes for a token, different ones each time.
#[expect(clippy::unnecessary_wraps, reason = "there may be no randomness")]
fn next_token() -> Option<[u8; 16]> {
    thread_local! {
        static LAST: Cell<u8> = const { Cell::new(0xa0) };
    }
    let next = LAST.get().wrapping_add(1);
    LAST.set(next);
    Some([next; 16])
}

/// A peer with this address.
fn at(ip: IpAddr) -> Peer {
    SocketAddr::new(ip, 50_000).into()
}

impl Rig {
    /// A room with the default configuration as `configure` changes it.
    pub(crate) fn new(configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        configure(&mut config);
        config.check().expect("values that go together");
        let waiting = [Waiting::default(), Waiting::default()];
        let profiles = [config.interactive.profile(), Profile::Plain];
        let doors = waiting.iter().cloned().zip(profiles.map(Service::Chat));
        let doors = doors.map(|(waiting, service)| Door { waiting, service });
        let acceptor = Acceptor::new(doors.collect(), config.limits.accepts_per_turn);
        let (interactive, now) = (config.interactive.clone(), Instant::now());
        let mut engine = Engine::new(config, (), now).expect("files that can serve");
        engine.set_random(next_token);
        Self {
            acceptor,
            engine,
            interactive,
            now,
            waiting,
            registered: Registered::default(),
        }
    }

    /// A client from this machine, which reads all that it gets.
    pub(crate) fn connect(&mut self) -> Wire {
        self.connect_from(Ipv4Addr::LOCALHOST.into())
    }

    pub(crate) fn connect_from(&mut self, ip: IpAddr) -> Wire {
        self.connect_at(0, at(ip))
    }

    /// A client of a Unix socket.
    pub(crate) fn connect_as(&mut self, uid: u32) -> Wire {
        self.connect_at(0, Peer::Local { uid, pid: 4711 })
    }

    /// A client that comes to the listener for scripts.
    pub(crate) fn connect_plainly(&mut self) -> Wire {
        self.connect_at(1, at(Ipv4Addr::LOCALHOST.into()))
    }

    /// Likewise, from elsewhere.
    pub(crate) fn connect_plainly_from(&mut self, ip: IpAddr) -> Wire {
        self.connect_at(1, at(ip))
    }

    fn connect_at(&mut self, door: usize, peer: Peer) -> Wire {
        let wire = Wire::new();
        self.waiting[door]
            .borrow_mut()
            .push_back((wire.clone(), peer));
        self.settle();
        wire
    }

    #[track_caller]
    pub(crate) fn join(&mut self, nick: &str) -> Wire {
        let wire = self.connect();
        let members = self.metrics().members;
        wire.say(nick);
        self.settle();
        assert_eq!(self.metrics().members, members + 1, "{nick} is a member");
        wire
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let metrics = self.engine.metrics();
        let open = metrics.clients as u64;
        assert_eq!(metrics.accepted, open + metrics.closed(), "{metrics}");
        metrics
    }

    /// Takes turns at the same time until there is nothing to do.
    #[track_caller]
    pub(crate) fn settle(&mut self) {
        for _ in 0..MAX_TURNS {
            self.turn();
            if !self.engine.has_work() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Lets time go by, with the turns that a loop would take for its deadlines.
    #[track_caller]
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..MAX_TURNS {
            match self.engine.next_deadline() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => {
                    self.now = end;
                    return self.settle();
                }
            }
            self.settle();
        }
        panic!("its deadlines never end");
    }

    /// Reads the greeting and the passwords again.
    pub(crate) fn read_files_again(&mut self) {
        let read = self.engine.reload(&self.interactive);
        read.expect("files that can serve");
    }

    /// All bans and mutes as text, and the number of their version. It is 1970.
    pub(crate) fn sanctions(&self) -> (String, u64) {
        let text = self.engine.sanctions();
        (text, self.engine.sanctions_version())
    }

    /// Takes bans and mutes back, or says what is wrong.
    pub(crate) fn restore(&mut self, sanctions: &str) -> Result<(), String> {
        let restored = self.engine.restore_sanctions(sanctions);
        restored.map_err(|error| error.to_string())
    }

    /// Shuts down, as far as that goes without time going by.
    pub(crate) fn shut_down(&mut self) {
        self.engine.shut_down(self.now);
        self.settle();
    }

    /// Whether it will do something even if nothing happens.
    pub(crate) fn has_deadline(&self) -> bool {
        self.engine.next_deadline().is_some()
    }

    pub(crate) fn turn(&mut self) {
        self.acceptor.mark(0);
        self.acceptor.mark(1);
        let (now, registered) = (self.now, &mut self.registered);
        self.acceptor
            .accept(now, &mut self.engine, |engine, wire, peer, entrance, _| {
                engine.accept(wire, peer, entrance, now, registered);
            });
        for (id, wire) in &self.registered.0 {
            if wire.has_input() {
                self.engine.on_readable(*id, true);
            }
            if wire.has_room() {
                self.engine.on_writable(*id);
            }
        }
        self.engine.turn(self.now, &mut self.registered);
    }
}

/// Both ends of a connection: the server reads and writes it, and a test sends and takes.
#[derive(Debug, Clone)]
pub(crate) struct Wire(Rc<Ends>);

#[derive(Debug)]
struct Ends {
    /// On its way to the server.
    sent: RefCell<VecDeque<u8>>,
    /// The client's FIN stands behind that.
    hung_up: Cell<bool>,
    /// What the server has written and no test has looked at.
    received: RefCell<Vec<u8>>,
    /// How many bytes more the client takes.
    room: Cell<usize>,
    /// The server's FIN has come.
    ended: Cell<bool>,
    /// The server has no such client any more.
    freed: Cell<bool>,
}

impl Wire {
    fn new() -> Self {
        Self(Rc::new(Ends {
            sent: RefCell::default(),
            hung_up: Cell::new(false),
            received: RefCell::default(),
            room: Cell::new(usize::MAX),
            ended: Cell::new(false),
            freed: Cell::new(false),
        }))
    }

    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        self.sent().extend(bytes.as_ref());
    }

    pub(crate) fn say(&self, text: &str) {
        self.send([text, "\r\n"].concat());
    }

    pub(crate) fn hang_up(&self) {
        self.0.hung_up.set(true);
    }

    /// Takes only so many bytes from now on.
    pub(crate) fn take(&self, bytes: usize) {
        self.0.room.set(bytes);
    }

    pub(crate) fn stop_reading(&self) {
        self.take(0);
    }

    pub(crate) fn read_on(&self) {
        self.take(usize::MAX);
    }

    /// Returns the output since the last call, without the offer with which every greeting begins.
    pub(crate) fn received(&self) -> String {
        let received = self.0.received.take();
        let text = received.strip_prefix(OFFER).unwrap_or(&received);
        String::from_utf8(text.to_vec()).expect("UTF-8")
    }

    /// [`received`](Self::received) for a client that speaks telnet.
    pub(crate) fn received_bytes(&self) -> Vec<u8> {
        self.0.received.take()
    }

    /// How much the server has not read yet.
    pub(crate) fn unread(&self) -> usize {
        self.sent().len()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.ended.get()
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.0.freed.get()
    }

    fn has_input(&self) -> bool {
        self.0.hung_up.get() || self.unread() > 0
    }

    fn has_room(&self) -> bool {
        self.0.room.get() > 0
    }

    fn sent(&self) -> RefMut<'_, VecDeque<u8>> {
        self.0.sent.borrow_mut()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.sent().read(buffer)? {
            0 if !self.0.hung_up.get() => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.0.room.get());
        if n == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.0.room.set(self.0.room.get() - n);
        self.0.received.borrow_mut().extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Wire {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.ended.set(true);
        Ok(())
    }
}

/// A listener whose waiting connections the acceptor takes one by one.
struct Door {
    waiting: Waiting,
    service: Service,
}

impl Listen for Door {
    type Stream = Wire;
    type Spare = ();

    fn service(&self) -> Service {
        self.service
    }

    fn accept(&mut self) -> io::Result<(Wire, Peer)> {
        let next = self.waiting.borrow_mut().pop_front();
        Ok(next.ok_or(rustix::io::Errno::AGAIN)?)
    }

    fn open_spare() -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Registered(Vec<(ClientId, Wire)>);

impl Registry<Wire> for Registered {
    fn register(&mut self, wire: &mut Wire, id: ClientId) -> io::Result<()> {
        self.0.push((id, wire.clone()));
        Ok(())
    }

    fn reregister(&mut self, _: &mut Wire, _: ClientId, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, wire: &mut Wire) {
        self.0.retain(|(_, other)| !Rc::ptr_eq(&wire.0, &other.0));
        wire.0.freed.set(true);
    }
}
