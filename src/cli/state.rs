//! `--state`: a file that keeps bans and mutes while the server is not there. [`Keeper`] reads it at the start.
//! When they have changed, it starts this program once more as a writer, because a disk may stall and the
//! server must not: the text is in memory behind the writer's standard input, so nobody waits to hand it over.
//! There is one writer at a time and one a second; what changes meanwhile is written by the next one, and what
//! changes last is waited for at the end, but not for long. The writer replaces the file as a whole, so it is
//! old or new, and never half.
//!
//! A writer may outlive its server, which was killed or has not waited. So the new file is locked while it is
//! written: the next writer, and the next server before it reads the file, wait until it is in place.

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use line_chat::{Observer, Server};
use log::error;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, MemfdFlags, flock, memfd_create};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cli::transcript::NOT_INHERITED;

/// How often a running writer is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// How long after one writer the next is started, because a muted client that comes back again and again changes a
/// mute each time; and how long after one that has failed.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// How long a server that ends waits for a writer.
const LAST_WAIT: Timespec = Timespec {
    tv_sec: 3,
    tv_nsec: 0,
};

/// Nobody else needs to know who is banned.
const MODE: u32 = 0o600;

/// Sees to it that the file is up to date.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Nothing is kept without one.
    file: Option<PathBuf>,
    /// Where this program is, also after it was replaced by a newer one.
    program: PathBuf,
    /// The version of bans and mutes that the last writer was given; `None` if it has failed.
    given: Option<u64>,
    writer: Option<Child>,
    /// The earliest time at which the next writer is started.
    next_start: Option<Instant>,
    /// When there is something to do.
    next: Option<Instant>,
}

/// What came of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Written,
    Failed,
    /// It has not ended yet.
    Writes,
}

impl Keeper {
    /// A keeper of this file, whose bans and mutes the server takes back.
    ///
    /// # Errors
    /// The file cannot be read or written, or a line of it is wrong. The text says what to do.
    pub(crate) fn start<O: Observer>(
        file: Option<&Path>,
        server: &mut Server<O>,
    ) -> io::Result<Self> {
        if let Some(file) = file {
            let new = NewFile::create(file)?;
            match restore(file, server) {
                Ok(()) => new.replace_old(server.sanctions().as_bytes())?,
                Err(error) => {
                    new.discard();
                    return Err(error);
                }
            }
        }
        Ok(Self {
            file: file.map(Path::to_owned),
            program: env::current_exe().unwrap_or_default(),
            given: Some(server.sanctions_version()),
            writer: None,
            next_start: None,
            next: None,
        })
    }

    /// When there is something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Checks the writer, and starts one if bans or mutes have changed.
    pub(crate) fn on_turn<O: Observer>(&mut self, server: &Server<O>, now: Instant) {
        let has_changed = self.given != Some(server.sanctions_version());
        if self.file.is_none() || (self.next.is_none() && !has_changed) {
            return;
        }
        if self.next.is_some_and(|at| at > now) {
            return;
        }
        let too_early = self.next_start.filter(|&at| at > now);
        self.next = match self.check_writer() {
            Ending::Writes => now.checked_add(CHECK_INTERVAL),
            Ending::Failed => self.failed(&"its writer has failed", now),
            Ending::Written if !has_changed => None,
            Ending::Written if too_early.is_some() => too_early,
            Ending::Written => match self.start_writer(server) {
                Ok(()) => {
                    self.next_start = now.checked_add(WRITE_INTERVAL);
                    now.checked_add(CHECK_INTERVAL)
                }
                Err(error) => self.failed(&error, now),
            },
        };
    }

    /// The server has ended: has the last change written, and waits for that as long as it may.
    pub(crate) fn finish<O: Observer>(mut self, server: &Server<O>) {
        let Some(file) = self.file.clone() else {
            return;
        };
        let mut ending = self.await_writer();
        if ending == Ending::Failed || self.given != Some(server.sanctions_version()) {
            let before = ending;
            ending = match (self.start_writer(server), before) {
                // It waits for the one before, which is slow enough.
                (Ok(()), Ending::Writes) => Ending::Writes,
                (Ok(()), _) => self.await_writer(),
                (Err(_), _) => Ending::Failed,
            };
        }
        let file = file.display();
        match ending {
            Ending::Written => {}
            Ending::Failed => {
                error!(target: "line_chat::server", "cannot keep bans and mutes in {file}: its writer has failed");
            }
            Ending::Writes => {
                error!(target: "line_chat::server", "bans and mutes are still being written to {file}");
            }
        }
    }

    /// Checks whether the writer has ended. No writer has nothing to write.
    fn check_writer(&mut self) -> Ending {
        let Some(writer) = &mut self.writer else {
            return Ending::Written;
        };
        let ending = match writer.try_wait() {
            Ok(None) => return Ending::Writes,
            Ok(Some(status)) if status.success() => Ending::Written,
            Ok(Some(_)) | Err(_) => Ending::Failed,
        };
        self.writer = None;
        ending
    }

    /// Waits until the writer has ended, but not for ever.
    fn await_writer(&mut self) -> Ending {
        let pid = self.writer.as_ref().map(Pid::from_child);
        if let Some(Ok(process)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            let mut ends = [PollFd::new(&process, PollFlags::IN)];
            // A signal ends the wait: whoever stops a server twice is in a hurry.
            let _ = poll(&mut ends, Some(&LAST_WAIT));
        }
        self.check_writer()
    }

    fn start_writer<O: Observer>(&mut self, server: &Server<O>) -> io::Result<()> {
        self.writer = Some(self.spawn(server.sanctions().as_bytes())?);
        self.given = Some(server.sanctions_version());
        Ok(())
    }

    fn spawn(&self, text: &[u8]) -> io::Result<Child> {
        let mut memory = File::from(memfd_create("line-chat-state", MemfdFlags::CLOEXEC)?);
        memory.write_all(text)?;
        memory.rewind()?;
        let mut command = Command::new(&self.program);
        command
            .arg("--write-state")
            .args(&self.file)
            .stdin(Stdio::from(memory))
            .stdout(Stdio::null());
        for variable in NOT_INHERITED {
            command.env_remove(variable);
        }
        command.spawn()
    }

    /// Bans and mutes were not written. Returns when that is tried again.
    fn failed(&mut self, error: &dyn fmt::Display, now: Instant) -> Option<Instant> {
        let file = self.file.as_deref().unwrap_or(Path::new("")).display();
        error!(target: "line_chat::server", "cannot keep bans and mutes in {file}: {error}");
        self.given = None;
        now.checked_add(RETRY_PAUSE)
    }
}

/// Has the server take back what the file holds.
fn restore<O: Observer>(file: &Path, server: &mut Server<O>) -> io::Result<()> {
    let restored = server.restore_sanctions(&read(file)?);
    restored.map_err(|error| named(file, &format!("{error}: mend or remove that line")))
}

/// Writes standard input to the file, as a process of its own.
///
/// # Errors
/// The file stays as it is.
pub(crate) fn run_writer(file: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    NewFile::create(file)?.replace_old(&text)
}

fn read(file: &Path) -> io::Result<String> {
    match fs::read(file) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| named(file, "it is not UTF-8")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(named(file, &error.to_string())),
    }
}

/// The file that is about to replace another one, locked against other writers.
struct NewFile<'a> {
    old_name: &'a Path,
    name: PathBuf,
    file: File,
}

impl<'a> NewFile<'a> {
    /// Creates the file that is to replace this one. Waits until no other process writes it.
    fn create(old_name: &'a Path) -> io::Result<Self> {
        let mut name = old_name.as_os_str().to_owned();
        name.push(".new");
        let name = PathBuf::from(name);
        let file = lock(&name).map_err(|error| named(old_name, &error.to_string()))?;
        Ok(Self {
            old_name,
            name,
            file,
        })
    }

    /// Replaces the old file as a whole: after a crash it is the old one or the new one.
    fn replace_old(mut self, text: &[u8]) -> io::Result<()> {
        let old_name = self.old_name;
        let mut replace = || {
            // A crash may have left something.
            self.file.set_len(0)?;
            self.file.write_all(text)?;
            self.file.sync_all()?;
            fs::rename(&self.name, old_name)?;
            let folder = old_name.parent().filter(|it| !it.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        replace().map_err(|error| named(old_name, &error.to_string()))
    }

    /// The old file stays.
    fn discard(self) {
        // If this fails, the next writer finds it.
        let _ = fs::remove_file(&self.name);
    }
}

/// Opens and locks the file of this name. The one that was opened may have replaced another one meanwhile, and has
/// that one's name now.
fn lock(name: &Path) -> io::Result<File> {
    loop {
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(MODE);
        let file = options.open(name)?;
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        let locked = file.metadata()?;
        let is_same = |it: &fs::Metadata| (it.dev(), it.ino()) == (locked.dev(), locked.ino());
        if fs::metadata(name).is_ok_and(|it| is_same(&it)) {
            return Ok(file);
        }
    }
}

fn named(file: &Path, why: &str) -> io::Error {
    io::Error::other(format!("the state {}: {why}", file.display()))
}
