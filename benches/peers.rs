//! The load of `targets` against other servers, whichever of `redis-server`, `nats-server` and `ncat` are
//! on PATH. They do more than a chat or less, so this shows where line-chat stands among them, not which
//! is better: redis and nats know channels, nats knows clusters, and `ncat --chat` is a tool for a room
//! of ten.
//!
//! `cargo bench --bench peers`; `-- --quick` for a look.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a bench stops at the first surprise"
)]

mod util;

use std::time::Duration;

use util::contest::{Contestant, Cost, alternate, price, ratio};
use util::crowd::Scene;
use util::dialect::Dialect;
use util::figures::Table;
use util::peers::Peer;
use util::server::Server;

const PEERS: [Dialect; 3] = [Dialect::Redis, Dialect::Nats, Dialect::Ncat];

const ONE_TO_64: Scene = Scene {
    speakers: 1,
    listeners: 64,
};
const HUNDRED: Scene = Scene {
    speakers: 100,
    listeners: 0,
};

/// Name, room, lines in flight.
const LOADS: [(&str, Scene, usize); 3] = [
    ("1 -> 64, one line in flight", ONE_TO_64, 1),
    ("1 -> 64, 64 lines in flight", ONE_TO_64, 64),
    ("100 speakers x 100 members", HUNDRED, 100),
];

fn main() {
    util::begin();
    let peers: Vec<Peer> = PEERS.into_iter().filter_map(Peer::find).collect();
    let mut table = Table::new(&[
        "load",
        "server",
        "CPU, ns a delivery",
        "CPU / line-chat's",
        "wall / line-chat's",
    ]);
    for (name, scene, lines) in LOADS {
        if util::is_wanted(name) {
            compare(&mut table, &peers, name, scene, lines);
        }
    }
    println!("\nmedian (quartiles) of alternating rounds\n\n{table}");
}

/// All of them are processes here, so that none has its memory shared with the load.
fn compare(table: &mut Table, peers: &[Peer], name: &str, scene: Scene, lines: usize) {
    let ours = Server::in_a_process(Dialect::LineChat);
    let servers = peers.iter().map(Peer::start);
    let mut contestants: Vec<Contestant> = std::iter::once(ours)
        .chain(servers)
        .map(|server| Contestant::enter(server, scene))
        .collect();
    let rounds = if util::is_quick() { 3 } else { 11 };
    let costs = alternate(&mut contestants, rounds, lines, Duration::from_millis(100));
    let cpu = |cost: &Cost| cost.cpu;
    for (index, contestant) in contestants.iter().enumerate() {
        table.row([
            name.to_owned(),
            contestant.server.dialect.name().to_owned(),
            price(&costs, index, cpu).to_string(),
            ratio(&costs, (index, 0), cpu).to_string(),
            ratio(&costs, (index, 0), |cost| cost.wall).to_string(),
        ]);
    }
}
