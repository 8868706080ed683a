//! The transcript's writer, as the server's process sees it: this program once more, with one end of a pair
//! of sockets as its standard input, because a disk may stall and the server must not. [`Recorder`] starts
//! it, starts it again when it has ended, after a second and then after twice as long, and passes SIGHUP
//! on. What the writer does is in `transcript_writer`.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use line_chat::{Event, Observer};
use log::error;
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::transcript_writer;

/// How long a writer is waited for that has ended: at first, and at most. One that has lived for longer
/// than that counts as the first again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is the server's alone.
pub(super) const NOT_INHERITED: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Sees to it that there is a writer, as an observer of the server.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// Nothing is recorded without one.
    file: Option<PathBuf>,
    /// Where this program is, also after it was replaced by a newer one.
    program: PathBuf,
    writer: Option<Child>,
    started_at: Option<Instant>,
    /// When the next one is started, if there is none.
    next_start: Option<Instant>,
    pause: Duration,
}

impl Recorder {
    /// A recorder of this file, which can be written.
    ///
    /// # Errors
    /// The text names the file, and says what to do.
    pub(crate) fn new(file: Option<&Path>) -> io::Result<Self> {
        if let Some(file) = file {
            transcript_writer::open(file)?;
        }
        Ok(Self {
            file: file.map(Path::to_owned),
            program: env::current_exe().unwrap_or_default(),
            writer: None,
            started_at: None,
            next_start: None,
            pause: FIRST_PAUSE,
        })
    }

    /// When a writer is to be started.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next_start
    }

    /// A writer's other end, if one is to be started now. `is_recording`: there is one.
    pub(crate) fn socket(&mut self, is_recording: bool, now: Instant) -> Option<UnixStream> {
        if is_recording || self.file.is_none() {
            return None;
        }
        match self.next_start {
            Some(at) if at > now => return None,
            Some(_) => {}
            None if self.started_at.is_some() => {
                self.wait_to_start(now);
                return None;
            }
            None => {}
        }
        self.next_start = None;
        self.started_at = Some(now);
        match self.start() {
            Ok(socket) => Some(socket),
            Err(error) => {
                self.failed(&error, now);
                None
            }
        }
    }

    /// A writer could not be started, or its socket could not be used.
    pub(crate) fn failed(&mut self, error: &io::Error, now: Instant) {
        error!(target: "line_chat::server", "cannot start the transcript's writer: {error}");
        self.wait_to_start(now);
    }

    /// A writer has ended that was started before.
    fn wait_to_start(&mut self, now: Instant) {
        let lived = self.started_at.map(|at| now.saturating_duration_since(at));
        if lived.is_some_and(|lived| lived > LONGEST_PAUSE) {
            self.pause = FIRST_PAUSE;
        }
        self.next_start = now.checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    fn pass_on_hang_up(&mut self) {
        // Once it was waited for, its number may be another process's.
        if let Some(writer) = &mut self.writer
            && matches!(writer.try_wait(), Ok(None))
        {
            // One that has just ended needs no signal.
            let _ = kill_process(Pid::from_child(writer), Signal::HUP);
        }
    }

    fn start(&mut self) -> io::Result<UnixStream> {
        // The one before has ended, or will when it has read what there is. It is not waited for.
        if let Some(writer) = &mut self.writer {
            let _ = writer.try_wait();
        }
        let (ours, writers) = UnixStream::pair()?;
        let mut command = Command::new(&self.program);
        command
            .arg("--write-transcript")
            .args(&self.file)
            .stdin(Stdio::from(OwnedFd::from(writers)))
            .stdout(Stdio::null());
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        self.writer = Some(command.spawn()?);
        Ok(ours)
    }
}

impl Observer for Recorder {
    fn listens(&self) -> bool {
        self.file.is_some()
    }

    fn on_event(&mut self, _: Instant, event: Event<'_>) {
        match event {
            Event::Reloading => self.pass_on_hang_up(),
            // The writer ends with its input, and nothing is recorded any more.
            Event::ShuttingDown => self.file = None,
            _ => {}
        }
    }
}
