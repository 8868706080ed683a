//! The built binary as a child process, with real arguments, files, signals, and limits of the system; and
//! other tests that start processes.

// A helper that cannot go on fails its test.
#![allow(clippy::expect_used, clippy::panic)]

mod check;
mod command;
mod faults;
mod flags;
mod generate;
mod ghosts;
mod hosting;
mod inherited;
mod limits;
mod logging;
mod metrics;
mod process;
mod readme;
mod soak;
mod starting;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod systemd;
#[cfg(feature = "tls")]
mod tls;
mod transcript;
mod unix_sockets;

const GOODBYE: &str = "* server is shutting down";
const FULL: &str = "* server is full, try again later";

/// What bob says in a flood, a thousand bytes with what the server adds.
fn flood_line(n: usize) -> String {
    format!("{n:0>993}")
}
