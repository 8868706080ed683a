//! The built binary as a child process, with real arguments, files, signals, and limits of the system.

// A helper that cannot go on fails its test.
#![allow(clippy::expect_used, clippy::panic)]

mod command;
mod faults;
mod flags;
mod hosting;
mod limits;
mod process;
#[path = "../support/mod.rs"]
mod support;
