//! Several servers with people, many times, around an engine that fails: what clients read, byte by byte, while links
//! break, nobody leads the log, entries come late, twice or never, and servers stand still, end and begin. The servers are
//! real ones without sockets; the engine is a model of nats-server that speaks its protocol. Nothing sleeps, and time is
//! handed in.
//!
//! What has to hold follows from what was said and from what was read, and from nothing that a server says of itself but
//! its members and its metrics.
//!
//! | module | its idea |
//! |---|---|
//! | `wire` | a connection in memory, edge-triggered, read in pieces |
//! | `nats` | the engine |
//! | `server` | one of our servers, and the poll loop |
//! | `client` | who is connected, what it reads, and what that tells it |
//! | `world` | a run: what happens when, and on which way bytes are |
//! | `troubles` | what goes wrong |
//! | `checks` | what has to hold |
//! | `tally` | whether the hard cases came about |
//!
//! A run follows from its seed, which a failure names: `LINE_CHAT_SEED=7 cargo test --test relay_simulation` repeats it,
//! `LINE_CHAT_SEEDS=2000` makes more runs, and both make so many from that seed on. With `LINE_CHAT_SEED` alone, what
//! goes wrong and what everybody reads is printed as well.

#![cfg(feature = "relay")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failed run panics; clippy knows by itself only that a function marked as a test may"
)]

mod checks;
mod client;
mod nats;
#[path = "../support/seeds.rs"]
mod seeds;
mod server;
mod tally;
mod troubles;
mod wire;
mod world;

use std::panic::{self, AssertUnwindSafe};

use seeds::from_env;
use tally::Tally;

const SEEDS: u64 = 100;

#[test]
fn people_on_all_servers_read_the_same_in_the_same_order() {
    let one = from_env("LINE_CHAT_SEED");
    let most = from_env("LINE_CHAT_SEEDS");
    let first = one.unwrap_or(0);
    let count = most.unwrap_or(if one.is_some() { 1 } else { SEEDS });
    let mut tally = Tally::default();
    for seed in first..first + count {
        match panic::catch_unwind(AssertUnwindSafe(|| world::run(seed))) {
            Ok(seen) => tally.add(&seen),
            Err(_) => panic!("LINE_CHAT_SEED={seed} fails, for the reason above"),
        }
    }
    println!("{tally:#?}");
    if one.is_none() && count >= SEEDS {
        tally.assert_complete();
    }
}

#[test]
fn what_a_crowd_says_before_the_room_is_cut_off_is_too_much_for_nobody_who_reads() {
    world::run_crowd();
}
