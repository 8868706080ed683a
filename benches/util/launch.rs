//! The bench's own binary, run again: as one of the servers to compare with, or as something that
//! becomes another program.
//!
//! Every server process is started this way, because it can then pin itself to its core and ask the
//! kernel to be killed when the bench ends, however the bench ends, before it becomes what it is to
//! be. Both outlast an execve(2).

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{self, Command, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::sync::oneshot;

use super::cores;
use super::floor::{self, Floor, Kind};
use super::tokio_chat::{self, Writes};

const ROLE: &str = "LINE_CHAT_BENCH_ROLE";
const CORE: &str = "LINE_CHAT_BENCH_CORE";

/// The floor, in a process of its own, which prints where it listens.
pub(crate) fn floor() -> Command {
    this_binary("floor")
}

/// Likewise the chat on tokio.
pub(crate) fn tokio_chat(writes: Writes) -> Command {
    this_binary(match writes {
        Writes::EachLine => "tokio-unbatched",
        Writes::AllAtOnce => "tokio-batched",
    })
}

/// Another program.
pub(crate) fn program(path: impl Into<OsString>) -> Command {
    let mut command = this_binary("exec");
    command.arg(path.into());
    command
}

/// Another program, on whatever core the kernel finds for it: several that together need more than one.
pub(crate) fn anywhere(path: impl Into<OsString>) -> Command {
    let mut command = program(path);
    command.env_remove(CORE);
    command
}

fn this_binary(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a path"));
    command.env(ROLE, role).stdin(Stdio::null());
    if let Some(core) = cores::server_core() {
        command.env(CORE, core.to_string());
    }
    command
}

/// Becomes the server that a bench asked for, and does not come back; or does nothing.
pub(crate) fn become_what_was_asked_for() {
    let Some(role) = env::var_os(ROLE) else {
        return;
    };
    // Who cannot be killed by the kernel is killed by the bench.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let core = env::var(CORE).ok().and_then(|core| core.parse().ok());
    if let Some(core) = core {
        cores::pin_to(core);
    }
    let result = match role.to_str() {
        Some("floor") => run_floor(),
        Some("tokio-unbatched") => run_tokio_chat(Writes::EachLine),
        Some("tokio-batched") => run_tokio_chat(Writes::AllAtOnce),
        _ => exec(),
    };
    if let Err(error) = result {
        eprintln!("{}: {error}", role.display());
    }
    process::exit(1);
}

fn run_floor() -> io::Result<()> {
    let mut floor = Floor::bind(Kind::Copying)?;
    announce(floor.local_addr()?)?;
    floor.run()
}

fn run_tokio_chat(writes: Writes) -> io::Result<()> {
    let listener = floor::listen()?;
    announce(listener.local_addr()?)?;
    let (_never, stop) = oneshot::channel();
    tokio_chat::run(listener, writes, stop)
}

fn announce(addr: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "server running on {addr}")?;
    out.flush()
}

/// Becomes the program that is named by the arguments, with its own environment untouched by the
/// bench's.
fn exec() -> io::Result<()> {
    let mut args = env::args_os().skip(1);
    let mut command = Command::new(args.next().unwrap_or_default());
    for (name, _) in env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("LINE_CHAT_") {
            command.env_remove(name);
        }
    }
    Err(command.args(args).exec())
}
