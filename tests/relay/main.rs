//! Several servers that share a room, around a real nats-server: what their clients read, and what becomes
//! of it when the engine, a server or the way between them fails.
//!
//! | module | what it has |
//! |---|---|
//! | `nats` | nats-server as a child process, alone or as three; a client of it that says what a test wants |
//! | `node` | a server in this process, and one in a process of its own |
//! | `proxy` | the way between a server and its engine, which a test can hold and cut |
//! | `talker` | the clients |
//!
//! One nats-server serves the tests that leave it alone, each in a room of its own. A test that harms its engine
//! has one for itself. nats-server is a program of the distribution: where it is missing, the tests say so and pass; with
//! `LINE_CHAT_CLIENTS=all` that is a failure.
//!
//! The servers take a tenth of their usual times, or all of them with `LINE_CHAT_FULL_TIMES=1`. What a test waits for is
//! written as it is at a tenth, and [`scaled`].

#![cfg(feature = "relay")]
// A helper that cannot go on fails its test.
#![allow(clippy::expect_used, clippy::panic)]

mod commands;
mod engine;
mod hostile;
mod kills;
mod lines;
mod links;
mod nats;
mod node;
mod nodes;
mod proxy;
#[path = "../support/mod.rs"]
mod support;
mod talker;

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use line_chat::RelayTimes;

/// Leaves the test where the engine is missing, which is said.
macro_rules! needs_nats {
    () => {
        if !crate::support::tools::are_there(&["nats-server"]) {
            return;
        }
    };
}
pub(crate) use needs_nats;

/// How much shorter than usual the times of the servers are.
fn divisor() -> u32 {
    let is_full = env::var_os("LINE_CHAT_FULL_TIMES").is_some_and(|full| full == "1");
    if is_full { 1 } else { 10 }
}

/// The times of the servers.
fn times() -> RelayTimes {
    RelayTimes::default().divided_by(divisor())
}

/// As long a time, where the servers do not take a tenth of their usual times.
fn scaled(at_a_tenth: Duration) -> Duration {
    at_a_tenth * 10 / divisor()
}

/// How long a test waits before it fails: some times longer than until a server is gone.
fn deadline() -> Duration {
    support::DEADLINE + 2 * times().gone
}

/// Asks until the condition holds.
#[track_caller]
fn await_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < deadline(), "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
