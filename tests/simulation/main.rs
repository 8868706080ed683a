//! Everything that can happen to a chat, by the million: persons who type, stall and vanish, on
//! sockets that do all that Linux allows, against a model that knows what each of them must have
//! got, byte for byte. Nothing here sleeps, and no clock is read but once: time is handed in.
//!
//! A run follows from its seed, which a failure names. `LINE_CHAT_SEED=7 cargo test --test
//! simulation` repeats that run alone, and `LINE_CHAT_STEPS=1000000` makes the runs longer; a step
//! is one thing that a person does, or one turn of the chat. A million of them take some seconds.
//!
//! | module | its idea |
//! |---|---|
//! | `socket`, `listener` | a TCP socket, and one that listens, edge-triggered and with every fault |
//! | `person` | who sits at the other end |
//! | `journal` | what the chat does, in order: its calls on the sockets, and its log |
//! | `reference` | the wire, read off byte by byte |
//! | `client`, `queue`, `amounts` | the shadow of one client: its rules, its queue, how much it has said |
//! | `model`, `hearing`, `checks` | the shadow of the chat: who comes and goes, who is heard, what always holds |
//! | `world`, `chances` | a run: who acts next, the poll loop, and what a seed makes of it |
//! | `tally` | whether the hard cases came about |
//! | `fairness` | who types, beside every kind of flood |
//! | `exodus` | ten thousand members that leave at once |
//! | `rare` | what one seed in a thousand sees |

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failed run panics; clippy knows by itself only that a function marked as a test may"
)]

mod amounts;
mod chances;
mod checks;
mod client;
mod exodus;
mod fairness;
mod hearing;
mod journal;
mod listener;
mod model;
mod person;
mod queue;
mod rare;
mod reference;
mod socket;
mod tally;
mod world;

use std::panic::{self, AssertUnwindSafe};

use tally::Tally;
use world::World;

const SEEDS: u64 = 100;
const STEPS: u64 = 10_000;

// Two tests, because they run side by side.

#[test]
fn no_line_is_lost_torn_doubled_or_misplaced_in_even_seeds() {
    simulate_each(0);
}

#[test]
fn no_line_is_lost_torn_doubled_or_misplaced_in_odd_seeds() {
    simulate_each(1);
}

#[track_caller]
fn simulate_each(remainder: u64) {
    let one = from_env("LINE_CHAT_SEED");
    let seeds = one.map_or(0..SEEDS, |seed| seed..seed + 1);
    let steps = from_env("LINE_CHAT_STEPS").unwrap_or(STEPS);
    let mut tally = Tally::default();
    for seed in seeds.filter(|seed| seed % 2 == remainder) {
        let run = || World::new(seed).run(steps);
        match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(seen) => tally.add(&seen),
            Err(_) => panic!("LINE_CHAT_SEED={seed} fails, for the reason above"),
        }
    }
    println!("{tally:?}");
    if one.is_none() && steps >= STEPS {
        tally.assert_complete();
    }
}

/// A number that the environment sets.
fn from_env(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    let parsed = number.parse();
    assert!(parsed.is_ok(), "{name}={number} is no number");
    parsed.ok()
}
