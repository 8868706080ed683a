//! A room in memory. Everything that the bench knows of the library is in this file: how a room is built,
//! how a client connects, and how a turn is taken.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use line_chat::engine::{ClientId, Engine, Interest, Registry, Stream};
use line_chat::{Config, Peer, Service};

use crate::model::Checksum;

/// Every turn is a second after the one before, so no speaker exceeds what a reader can read, and
/// every join is announced by name.
const TURN: Duration = Duration::from_secs(1);

/// On loopback, where clients are not counted by address: no row looks anything up in a map whose
/// hash seed is random, so instruction counts are repeatable.
const PEER: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 50_000);

/// What clients receive besides the lines of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Plain,
    Interactive,
}

impl Profile {
    /// The smallest limit of a queue that the configuration allows, in bytes.
    pub(crate) fn min_pending_bytes(self) -> usize {
        match self {
            Self::Plain => 4 << 10,
            Self::Interactive => 64 << 10,
        }
    }
}

pub(crate) struct Room {
    engine: Engine<Wire>,
    service: Service,
    registered: Registered,
    now: Instant,
}

impl Room {
    /// An empty room. `max_pending_bytes`: the limit of each queue, if it is not the default.
    pub(crate) fn new(profile: Profile, max_pending_bytes: Option<usize>) -> Self {
        let mut config = Config::default();
        config.interactive.enabled = profile == Profile::Interactive;
        config.interactive.quiet_above_members = usize::MAX;
        config.limits.max_line_bytes = 64;
        config.limits.stall_timeout = Some(Duration::ZERO);
        if let Some(bytes) = max_pending_bytes {
            config.limits.max_pending_bytes = bytes;
        }
        let now = Instant::now();
        Self {
            service: Service::Chat(config.interactive.profile()),
            engine: Engine::new(config, (), now).expect("values that go together"),
            registered: Registered(ClientId::from_index(0)),
            now,
        }
    }

    /// A client that has not sent anything yet.
    pub(crate) fn connect(&mut self) -> Client {
        let wire = Wire::default();
        self.engine.accept(
            wire.clone(),
            Peer::from(SocketAddr::from(PEER)),
            self.service,
            self.now,
            &mut self.registered,
        );
        Client {
            id: self.registered.0,
            wire,
        }
    }

    /// The client sends `input`, or hangs up if that is empty.
    pub(crate) fn send(&mut self, client: &Client, input: &'static [u8]) {
        client.wire.0.input.set(Some(input));
        self.engine.on_readable(client.id, input.is_empty());
    }

    /// The client takes nothing that is written to it from now on.
    pub(crate) fn block(&mut self, client: &Client) {
        client.wire.0.is_blocked.set(true);
    }

    /// The client takes everything again.
    pub(crate) fn unblock(&mut self, client: &Client) {
        client.wire.0.is_blocked.set(false);
        self.engine.on_writable(client.id);
    }

    /// Takes turns until there is nothing left to do: one, as a rule.
    pub(crate) fn turn(&mut self) {
        loop {
            self.now += TURN;
            self.engine.turn(self.now, &mut self.registered);
            if !self.engine.has_work() {
                return;
            }
        }
    }

    pub(crate) fn members(&self) -> usize {
        self.engine.metrics().members
    }
}

/// A client's handle on its end of the stream.
pub(crate) struct Client {
    id: ClientId,
    wire: Wire,
}

impl Client {
    /// Starts the checksum of what the client receives.
    pub(crate) fn start_checksum(&self) {
        self.wire.0.received.set(Some(Checksum::default()));
    }

    /// `None` if it was never started.
    pub(crate) fn checksum(&self) -> Option<Checksum> {
        self.wire.0.received.get()
    }
}

/// A stream that returns each input once and takes everything that is written, unless it is blocked.
#[derive(Clone, Default)]
struct Wire(Rc<Ends>);

#[derive(Default)]
struct Ends {
    /// What the next read returns; empty at the end of the stream.
    input: Cell<Option<&'static [u8]>>,
    is_blocked: Cell<bool>,
    received: Cell<Option<Checksum>>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = self.0.input.take().ok_or(ErrorKind::WouldBlock)?;
        buffer[..input.len()].copy_from_slice(input);
        Ok(input.len())
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.is_blocked.get() {
            return Err(ErrorKind::WouldBlock.into());
        }
        if let Some(checksum) = self.0.received.get() {
            self.0.received.set(Some(checksum.with(bytes)));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Wire {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The id of the client that was registered last. The bench itself says which client is ready.
struct Registered(ClientId);

impl Registry<Wire> for Registered {
    fn register(&mut self, _: &mut Wire, id: ClientId) -> io::Result<()> {
        self.0 = id;
        Ok(())
    }

    fn reregister(&mut self, _: &mut Wire, _: ClientId, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &mut Wire) {}
}
