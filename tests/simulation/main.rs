//! Everything that can happen to a chat, by the million: persons who type, stall and vanish, on
//! sockets that do all that Linux allows, against a model that knows what each of them must have
//! got, byte for byte. Nothing here sleeps, and no clock is read but once: time is handed in.
//!
//! A run follows from its seed, which a failure names. `LINE_CHAT_SEED=7 cargo test --test
//! simulation` repeats that run alone, and `LINE_CHAT_STEPS=100000` makes the runs longer; a step is
//! one thing that a person does, or one turn of the chat.
//!
//! | module | its idea |
//! |---|---|
//! | `socket` | a TCP socket and its edge-triggered registration, with every fault |
//! | `person` | who sits at the other end |
//! | `journal` | what the chat does, in order: its calls on the sockets, and its log |
//! | `reference` | the wire, read off byte by byte |
//! | `model` | what must come of it |
//! | `world` | a run: who acts next, and the poll loop |

// A failed run panics; clippy knows by itself only that a function marked as a test may.
#![allow(clippy::panic)]

mod journal;
mod model;
mod person;
mod reference;
mod socket;
mod world;

use std::panic::{self, AssertUnwindSafe};

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
    let seeds = from_env("LINE_CHAT_SEED").map_or(0..SEEDS, |seed| seed..seed + 1);
    let steps = from_env("LINE_CHAT_STEPS").unwrap_or(STEPS);
    for seed in seeds.filter(|seed| seed % 2 == remainder) {
        let run = || World::new(seed).run(steps);
        match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(seen) => println!("{seed} {seen:?}"),
            Err(_) => panic!("LINE_CHAT_SEED={seed} fails, for the reason above"),
        }
    }
}

/// A number that the environment sets.
fn from_env(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    let parsed = number.parse();
    assert!(parsed.is_ok(), "{name}={number} is no number");
    parsed.ok()
}
