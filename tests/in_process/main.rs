//! The server as a library, in the process of the tests: over real sockets where the kernel matters,
//! and without any where a byte or a second does. No test here starts a process:
//! between fork and exec a child holds every socket of this one, so a socket closed meanwhile stays open.

// A helper that cannot go on fails its test.
#![allow(clippy::expect_used, clippy::panic)]

mod embedding;
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
