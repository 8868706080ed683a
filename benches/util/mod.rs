//! What the benches share: servers of several kinds, one crowd of clients that loads them and
//! checks every byte that it gets, and ratios instead of absolute figures.
//!
//! A figure of one server on one machine says little, and tomorrow it is another one. So each load is
//! put on several servers in one run, in turns, and the ratios between them are reported: to
//! [the floor](floor), below which no server can come that sends each receiver its own copy, and to
//! [a task-per-client chat](tokio_chat), which is what most people would write.
//!
//! | module | its idea |
//! |---|---|
//! | [`dialect`] | how a line is sent to each kind of server, and what its receivers get |
//! | [`script`] | what was said, to compare what is received with it |
//! | [`crowd`] | the load: all clients of a room, on one thread in one poll loop |
//! | [`server`] | a server under load, on a thread or in a process of its own |
//! | [`launch`] | the bench's own binary, run again as a server |
//! | [`floor`], [`tokio_chat`], [`peers`] | the servers to compare with |
//! | [`cpu`], [`cores`] | the CPU time of a server; a core for each side |
//! | [`nuisance`] | a typist beside floods, commands and churners |
//! | [`transport`], [`certificate`] | TCP, a Unix socket or TLS, as a parameter of a load |
//! | [`people`] | a line to people, each of whom has set something else |
//! | [`contest`] | alternating rounds, and the ratios between them |
//! | [`figures`], [`chart`] | quartiles and tables; percentiles as a picture |
#![allow(
    dead_code,
    reason = "each bench compiles all of this and takes what it needs"
)]

pub(crate) mod certificate;
pub(crate) mod chart;
pub(crate) mod contest;
pub(crate) mod cores;
pub(crate) mod cpu;
pub(crate) mod crowd;
pub(crate) mod dialect;
pub(crate) mod figures;
pub(crate) mod floor;
pub(crate) mod launch;
pub(crate) mod nuisance;
pub(crate) mod peers;
pub(crate) mod people;
pub(crate) mod script;
pub(crate) mod server;
pub(crate) mod tokio_chat;
pub(crate) mod transport;

use std::env;

/// What every bench does first. A process that was started to be a server never comes back from it.
pub(crate) fn begin() {
    launch::become_what_was_asked_for();
    cores::raise_descriptor_limit();
    cores::pin_to_load_core();
}

/// Whether a look is enough: `cargo bench -- --quick`, or a test.
pub(crate) fn is_quick() -> bool {
    has_flag("--quick") || is_test()
}

/// Whether this is `cargo test --benches`, which only wants to see that a bench runs.
pub(crate) fn is_test() -> bool {
    has_flag("--test") || !has_flag("--bench")
}

fn has_flag(flag: &str) -> bool {
    env::args().any(|arg| arg == flag)
}

/// The rows that were asked for (`cargo bench --bench targets -- WORD`): those with the word in
/// their name, or all of them.
pub(crate) fn is_wanted(row: &str) -> bool {
    let word = env::args().skip(1).find(|arg| !arg.starts_with('-'));
    word.is_none_or(|word| row.contains(&word))
}
