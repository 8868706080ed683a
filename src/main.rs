//! The binary: arguments to config, a logger, one server, an exit code. What it does is in the
//! library.
#![deny(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        reason = "a test may panic"
    )
)]
#![forbid(unsafe_code)]

mod cli;

use std::io::{self, Write};
use std::process::ExitCode;

use line_chat::{Server, Service, Status};
use log::Level;

use cli::allocator::fix_threshold;
use cli::args::{Args, command};
use cli::check::check;
use cli::inherited;
use cli::logging::{announce, log_lines_dropped, log_start, raise_descriptor_limit, start_log};
use cli::state::{self, Keeper};
use cli::systemd::Systemd;
use cli::transcript::Recorder;
use cli::transcript_writer;
use cli::variables::warn_of_unknown;

fn main() -> ExitCode {
    let args = Args::of_process();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed, which is no reason to fail otherwise than we do anyway.
            let line = args.log_style().own_line(Level::Error, &error);
            let _ = io::stderr().write_all(&line);
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    if let Some(addr) = args.check() {
        return check(addr);
    }
    if let Some(file) = args.generate() {
        return file.print(&command());
    }
    if let Some(file) = args.write_transcript() {
        return transcript_writer::run(file);
    }
    if let Some(file) = args.write_state() {
        return state::run_writer(file);
    }
    fix_threshold();
    start_log(args.log_level(), args.log_style());
    warn_of_unknown(&Args::variables());
    raise_descriptor_limit();
    let mut config = args.config();
    let inherited = inherited::listeners(Service::Chat(config.interactive.profile()))?;
    if !inherited.is_empty() && !args.has_addrs() {
        config.listen.clear();
    }
    let observers = (Systemd::from_env()?, Recorder::new(args.transcript())?);
    let mut server = Server::bind_with(config.clone(), inherited, observers)?;
    server.set_log_lines_dropped(log_lines_dropped);
    let mut keeper = Keeper::start(args.state(), &mut server)?;
    log_start(&config, &server.listeners());
    announce(&server.listeners());
    server.observer().0.ready();
    let served = serve(&mut server, &mut keeper);
    keeper.finish(&server);
    served
}

/// Takes turns until the server has shut down. In between it tells systemd, and sees to it that the
/// transcript has a writer and bans and mutes are kept.
fn serve(server: &mut Server<(Systemd, Recorder)>, keeper: &mut Keeper) -> io::Result<()> {
    loop {
        let now = server.now();
        let is_recording = server.is_recording();
        if let Some(socket) = server.observer().1.socket(is_recording, now)
            && let Err(error) = server.record(socket)
        {
            server.observer().1.failed(&error, now);
        }
        keeper.on_turn(server, now);
        let (systemd, recorder) = server.observer();
        let deadlines = [
            systemd.next_deadline(now),
            recorder.next_deadline(),
            keeper.next_deadline(),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let patience = deadline.map(|at| at.saturating_duration_since(now));
        if server.turn(patience)? == Status::Stopped {
            return Ok(());
        }
        let now = server.now();
        if server.observer().0.is_due(now) {
            let metrics = server.metrics();
            server.observer().0.on_time(now, &metrics);
        }
    }
}
