//! The server as a library, in the process of the tests: over real sockets where the kernel matters,
//! and without any where a byte or a second does.

// A helper that cannot go on fails its test.
#![allow(clippy::expect_used, clippy::panic)]

mod embedding;
mod ghosts;
mod hangup;
mod inputs;
mod interactive;
mod laggards;
mod limits;
mod proxied;
#[path = "../support/mod.rs"]
mod support;
mod telnet;
mod wire;
