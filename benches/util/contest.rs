//! Several servers under one load, in alternating rounds: A B C A B C. Whatever disturbs the machine for
//! a second or a minute disturbs all of them, so the ratio within one round is more reliable than the
//! ratio of two averages, and the quartiles over all rounds show how reliable it is.

use std::time::{Duration, Instant};

use super::crowd::{Crowd, Scene};
use super::dialect::Dialect;
use super::figures::Quartiles;
use super::server::Server;
use super::transport::Transport;

/// A server and its clients.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) server: Server,
    pub(crate) crowd: Crowd,
}

/// What a delivery has cost, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    /// Of the server.
    pub(crate) cpu: f64,
}

impl Contestant {
    /// One of the servers that this crate brings along, on TCP.
    pub(crate) fn start(dialect: Dialect, scene: Scene) -> Self {
        Self::enter(Server::start(dialect, scene.members()), scene)
    }

    /// Ours, on a transport.
    pub(crate) fn start_on(transport: Transport, scene: Scene) -> Self {
        Self::enter(Server::start_on(transport, scene.members()), scene)
    }

    /// Any server.
    pub(crate) fn enter(server: Server, scene: Scene) -> Self {
        let crowd = Crowd::join(&server.addr, server.dialect, scene);
        Self { server, crowd }
    }

    /// Volleys of `lines` lines until `at_least` that time has gone by.
    pub(crate) fn round(&mut self, lines: usize, at_least: Duration) -> Cost {
        let (cpu, start) = (self.server.cpu.read(), Instant::now());
        let mut deliveries = 0;
        while start.elapsed() < at_least {
            deliveries += self.crowd.volley(lines);
        }
        let wall = start.elapsed();
        let cpu = self.server.cpu.read() - cpu;
        let per_delivery = |time: Duration| time.as_nanos() as f64 / deliveries as f64;
        Cost {
            wall: per_delivery(wall),
            cpu: per_delivery(cpu),
        }
    }
}

/// The longest that the rounds of one load may take altogether, once there are [`FEW_ROUNDS`].
const PATIENCE: Duration = Duration::from_secs(10);
const FEW_ROUNDS: usize = 5;

/// What each contestant had to pay in each round: `costs[round][contestant]`. A contestant that is
/// very slow gets fewer rounds than were asked for.
pub(crate) fn alternate(
    contestants: &mut [Contestant],
    rounds: usize,
    lines: usize,
    at_least: Duration,
) -> Vec<Vec<Cost>> {
    // The first volleys find cold caches and small windows.
    for contestant in &mut *contestants {
        contestant.round(lines, at_least / 2);
    }
    let (start, mut costs) = (Instant::now(), Vec::new());
    while costs.len() < rounds && (costs.len() < FEW_ROUNDS || start.elapsed() < PATIENCE) {
        let round = contestants.iter_mut();
        costs.push(round.map(|one| one.round(lines, at_least)).collect());
    }
    costs
}

/// What contestant `a` pays for each coin of contestant `b`.
pub(crate) fn ratio(
    costs: &[Vec<Cost>],
    (a, b): (usize, usize),
    by: impl Fn(&Cost) -> f64,
) -> Quartiles {
    Quartiles::of(costs.iter().map(|round| by(&round[a]) / by(&round[b])))
}

/// What a contestant pays.
pub(crate) fn price(costs: &[Vec<Cost>], a: usize, by: impl Fn(&Cost) -> f64) -> Quartiles {
    Quartiles::of(costs.iter().map(|round| by(&round[a])))
}
