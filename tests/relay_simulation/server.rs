//! One of our servers: a real engine, driven as the poll loop drives it. [`Server::run`] takes turns at one moment until
//! nothing is left to do, and a loop that spins ends the run.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use line_chat::engine::{ClientId, Engine, Interest, Registry};
use line_chat::{Config, Metrics, Profile, RelayConfig, Service};

use crate::nats::Time;
use crate::wire::Wire;

/// More turns at one moment, and the loop spins. What waits behind a gap takes up to a thousand.
const MOST_TURNS: usize = 2000;

/// How much may be queued for a client: as little as people can be given.
pub(crate) const MAX_PENDING: usize = 64 << 10;

/// How much may be queued for all.
const MAX_PENDING_TOTAL: usize = 16 << 20;

/// How late a turn may be before its server was stopped.
const MOST_LATE: Duration = Duration::from_secs(1);

thread_local! {
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// What the servers take for random follows from the seed.
pub(crate) fn set_seed(seed: u64) {
    RANDOM.set(seed);
}

#[expect(clippy::unnecessary_wraps, reason = "there may be no randomness")]
fn random() -> Option<[u8; 16]> {
    let mut rng = Rng::with_seed(RANDOM.get());
    RANDOM.set(rng.u64(..));
    Some(rng.u128(..).to_be_bytes())
}

/// What becomes of connections to the engine that are begun.
#[derive(Debug, Default)]
struct Dials {
    is_refused: bool,
    begun: Vec<Wire>,
    rng: Rng,
}

impl Registry<Wire> for Dials {
    fn register(&mut self, wire: &mut Wire, id: ClientId) -> io::Result<()> {
        let mut ends = wire.ends();
        ends.id = Some(id);
        ends.arm();
        Ok(())
    }

    fn reregister(&mut self, wire: &mut Wire, _: ClientId, _: Interest) -> io::Result<()> {
        wire.ends().arm();
        Ok(())
    }

    fn deregister(&mut self, wire: &mut Wire) {
        let mut ends = wire.ends();
        ends.id = None;
        ends.has_ended = true;
    }

    fn dial(&mut self, _: SocketAddr) -> io::Result<Wire> {
        if self.is_refused {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let wire = Wire::new(usize::MAX, self.rng.fork());
        self.begun.push(wire.clone());
        Ok(wire)
    }
}

pub(crate) struct Server {
    engine: Engine<Wire>,
    dials: Dials,
    wires: Vec<Wire>,
    start: Instant,
}

impl Server {
    pub(crate) fn new(replicas: u8, start: Instant, now: Time, mut rng: Rng) -> Self {
        let url = "nats://127.0.0.1".parse().expect("a URL");
        let mut relay = RelayConfig::new(url, "sim".parse().expect("a name"));
        relay.replicas = replicas;
        let mut config = Config {
            relay: Some(relay.clone()),
            ..Config::default()
        };
        config.interactive.enabled = true;
        config.limits.max_pending_bytes = MAX_PENDING;
        config.limits.max_pending_total_bytes = MAX_PENDING_TOTAL;
        let at = start + Duration::from_micros(now);
        let mut engine = Engine::new(config, (), at).expect("values that go together");
        engine.set_random(random);
        engine.set_wall_clock(|| SystemTime::UNIX_EPOCH);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 4222));
        engine.join_others(&relay, vec![addr], at);
        let dials = Dials {
            rng: rng.fork(),
            ..Dials::default()
        };
        Self {
            engine,
            dials,
            wires: Vec::new(),
            start,
        }
    }

    fn at(&self, now: Time) -> Instant {
        self.start + Duration::from_micros(now)
    }

    pub(crate) fn refuse_dials(&mut self, is_refused: bool) {
        self.dials.is_refused = is_refused;
    }

    pub(crate) fn accept(&mut self, wire: Wire, profile: Profile, now: Time) {
        self.wires.push(wire.clone());
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000));
        let (service, at) = (Service::Chat(profile), self.at(now));
        self.engine.accept(wire, addr, service, at, &mut self.dials);
    }

    /// Takes all turns of this moment. Returns the connections to the engine that were begun.
    pub(crate) fn run(&mut self, now: Time) -> Vec<Wire> {
        for _ in 0..MOST_TURNS {
            if !self.tell_events() && !self.engine.has_work() && !self.is_due(now) {
                return std::mem::take(&mut self.dials.begun);
            }
            self.engine.turn(self.at(now), &mut self.dials);
            let begun = &self.dials.begun;
            let is_new =
                |it: &&Wire| it.ends().id.is_some() && !self.wires.iter().any(|wire| wire.is(it));
            let new: Vec<Wire> = begun.iter().filter(is_new).cloned().collect();
            self.wires.extend(new);
            self.wires.retain(|wire| wire.ends().id.is_some());
        }
        panic!("a server spins");
    }

    /// Tells the engine what epoll would. Returns whether there was anything.
    fn tell_events(&mut self) -> bool {
        let mut any = false;
        for wire in &self.wires {
            let mut ends = wire.ends();
            let Some(id) = ends.id else {
                continue;
            };
            let readable = std::mem::take(&mut ends.is_readable);
            let writable = std::mem::take(&mut ends.is_writable);
            drop(ends);
            if readable {
                self.engine.on_readable(id, true);
            }
            if writable {
                self.engine.on_writable(id);
            }
            any |= readable || writable;
        }
        any
    }

    fn is_due(&self, now: Time) -> bool {
        self.engine
            .next_deadline()
            .is_some_and(|at| at <= self.at(now))
    }

    /// When it has something to do.
    pub(crate) fn next(&self, now: Time) -> Option<Time> {
        if self.wires.iter().any(Wire::is_ready) || self.engine.has_work() {
            return Some(now);
        }
        let deadline = self.engine.next_deadline()?;
        let nanos = deadline.saturating_duration_since(self.start).as_nanos();
        Some(u64::try_from(nanos.div_ceil(1000)).expect("a short run"))
    }

    /// It goes on after it was stopped. Its poll loop waited for this deadline.
    pub(crate) fn wake(&mut self, now: Time) {
        let deadline = self.engine.next_deadline();
        let late = deadline.map(|at| self.at(now).saturating_duration_since(at));
        if let Some(late) = late.filter(|&late| late > MOST_LATE) {
            self.engine.leave_out(late);
        }
    }

    pub(crate) fn metrics(&self) -> Metrics {
        self.engine.metrics()
    }

    pub(crate) fn members(&self) -> Vec<String> {
        let mut members: Vec<String> = self.engine.members().map(str::to_owned).collect();
        members.sort_unstable();
        members
    }

    /// What it keeps is within its bounds. Returns how many batches are parked.
    pub(crate) fn check_bounds(&self) -> usize {
        let metrics = self.metrics();
        let relay = metrics.relay.as_ref().expect("it has one");
        assert!(relay.parked <= 4096, "{} batches are parked", relay.parked);
        // A line counts 32 bytes at least, and one turn may add to a full MiB.
        let most_unread = (2 << 20) / 32;
        assert!(
            relay.unread_lines <= most_unread,
            "{} lines are unread",
            relay.unread_lines
        );
        let most = MAX_PENDING_TOTAL + (1 << 20);
        assert!(
            metrics.buffer_bytes <= most,
            "{} bytes",
            metrics.buffer_bytes
        );
        relay.parked
    }
}
