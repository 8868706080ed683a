//! What a line costs, counted exactly: calls of the allocator, and calls of the system.

// A helper that cannot go on fails its test.
#![allow(clippy::expect_used, clippy::panic)]

mod allocations;
#[path = "../support/mod.rs"]
mod support;
mod syscalls;
