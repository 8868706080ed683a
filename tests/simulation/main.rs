//! Everything that can happen to an engine, by the million: persons who type, stall and vanish, on
//! streams that do all that Linux and the contract of a stream allow, against a model that knows what each
//! of them must have got, byte for byte. Nothing here sleeps, and no clock is read but once: time is handed
//! in.
//!
//! A run follows from its seed, which a failure names. `LINE_CHAT_SEED=7 cargo test --test simulation`
//! repeats that run alone, `LINE_CHAT_SEEDS=2000` makes more runs, and `LINE_CHAT_STEPS=1000000` makes them
//! longer; a step is one thing that a person does, or one turn of the engine.
//!
//! Each seed runs on plain streams, on veiled ones, and with people and scripts together on both kinds.
//! The model copies nothing of the engine: what was said is due to each member from then on, in that
//! order, and whatever is written to a member is held against that. So it does not matter how queues,
//! gates and budgets work inside.
//!
//! | module | its idea |
//! |---|---|
//! | `socket`, `listener` | a TCP socket, and one that listens, edge-triggered and with every fault |
//! | `veil` | a stream around a socket that uses every freedom of the contract, as TLS would |
//! | `person` | who sits at the other end |
//! | `journal` | what the engine does, in order: its calls on the streams, and its events |
//! | `reference` | the wire, read off byte by byte |
//! | `shadow`, `amounts` | one client: what it said, what it has to get, and how many lines it may say |
//! | `model` | who comes and goes, who is heard, and what always holds |
//! | `world`, `chances` | a run: who acts next, the poll loop, and what a seed makes of it |
//! | `transcript` | what the transcript has to hold |
//! | `tally` | whether the hard cases came about |
//! | `people` | people at a prompt, against the rules of the room |
//! | `fairness` | who types, beside every kind of flood |
//! | `tls`, `handshakes` | TLS on sockets of every kind, and strangers beside a room |
//! | `exodus` | ten thousand members that leave at once |
//! | `names` | shortened names, and renames, whatever others do with their names |
//! | `holders` | a room that waits for its slowest reader |
//! | `pauses` | a process that is stopped for a while |
//! | `ghosts` | peers that vanish without a FIN or RST |
//! | `scene`, `rare`, `arrivals` | one thing at a time: what few seeds see, and how clients come beside accept(2) |

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a failed run panics; clippy knows by itself only that a function marked as a test may"
)]

mod admission;
mod amounts;
mod arrivals;
#[cfg(feature = "tls")]
#[path = "../support/tls.rs"]
mod certificates;
mod chances;
mod exodus;
mod fairness;
mod ghosts;
mod handshakes;
mod holders;
mod inputs;
mod journal;
mod listener;
mod model;
mod names;
mod pauses;
mod people;
mod person;
mod rare;
mod reference;
mod scene;
#[path = "../support/seeds.rs"]
mod seeds;
mod shadow;
mod socket;
mod tally;
#[cfg(feature = "tls")]
mod tls;
mod transcript;
mod veil;
mod world;

use std::panic::{self, AssertUnwindSafe};

use seeds::from_env;
use tally::Tally;
use world::{Streams, World};

/// How many seeds each kind of stream has, and people and scripts together.
const SEEDS: u64 = 100;
const SEEDS_WITH_PEOPLE: u64 = 200;
const STEPS: u64 = 10_000;

// Several tests, because they run side by side.

#[test]
fn no_line_is_lost_torn_doubled_or_misplaced_on_plain_streams() {
    simulate_each(Streams::Plain, false, SEEDS);
}

#[test]
fn no_line_is_lost_torn_doubled_or_misplaced_on_veiled_streams() {
    simulate_each(Streams::Veiled, false, SEEDS);
}

#[test]
fn people_and_scripts_get_what_is_said_on_both_kinds_of_stream() {
    simulate_each(Streams::Both, true, SEEDS_WITH_PEOPLE);
}

#[track_caller]
fn simulate_each(streams: Streams, has_people: bool, enough: u64) {
    let one = from_env("LINE_CHAT_SEED");
    let most = from_env("LINE_CHAT_SEEDS").unwrap_or(enough);
    let seeds = one.map_or(0..most, |seed| seed..seed + 1);
    let steps = from_env("LINE_CHAT_STEPS").unwrap_or(STEPS);
    let mut tally = Tally::default();
    for seed in seeds {
        let run = || World::new(seed, streams, has_people).run(steps);
        match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(seen) => tally.add(&seen),
            Err(_) => panic!("LINE_CHAT_SEED={seed} fails, for the reason above"),
        }
    }
    println!("{tally:?}");
    if one.is_none() && steps >= STEPS && most >= enough {
        tally.assert_complete(has_people, streams != Streams::Plain);
    }
}
