//! `--state`: a file that keeps bans and mutes while the server is not there. [`Keeper`] reads it at the start.
//! When they have changed, it starts this program once more as a writer, because a disk may stall and the
//! server must not: the text is in memory behind the writer's standard input, so nobody waits to hand it over.
//! There is one writer at a time; what changes meanwhile is written by the next one, and what changes last is
//! waited for at the end. The writer replaces the file as a whole, so it is old or new, and never half.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use line_chat::{Observer, Server};
use log::error;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::cli::transcript::NOT_INHERITED;

/// How often a writer is looked after, and how long the next one waits for which the last one has failed.
const LOOK_AFTER: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_secs(10);

/// Nobody else needs to know who is banned.
const MODE: u32 = 0o600;

/// Sees to it that the file is up to date.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Nothing is kept without one.
    file: Option<PathBuf>,
    /// Where this program is, also after it was replaced by a newer one.
    program: PathBuf,
    /// What the last writer was given.
    given: u64,
    writer: Option<Child>,
    /// When there is something to do.
    next: Option<Instant>,
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
            let text = read(file)?;
            let restored = server.restore_sanctions(&text);
            restored.map_err(|error| named(file, &format!("{error}: mend or remove that line")))?;
            write(file, server.sanctions().as_bytes())?;
        }
        Ok(Self {
            file: file.map(Path::to_owned),
            program: env::current_exe().unwrap_or_default(),
            given: server.sanctions_version(),
            writer: None,
            next: None,
        })
    }

    /// When there is something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Looks after the writer, and starts one if bans or mutes have changed.
    pub(crate) fn on_turn<O: Observer>(&mut self, server: &Server<O>, now: Instant) {
        let has_changed = self.given != server.sanctions_version();
        if self.file.is_none() || (self.next.is_none() && !has_changed) {
            return;
        }
        if self.next.is_some_and(|at| at > now) {
            return;
        }
        self.next = match self.is_writing() {
            Ok(true) => now.checked_add(LOOK_AFTER),
            Ok(false) if has_changed => self.start_writer(server, now),
            Ok(false) => None,
            Err(error) => self.failed(&error, now),
        };
    }

    /// The server has ended: waits until everything is written.
    pub(crate) fn finish<O: Observer>(mut self, server: &Server<O>) {
        let has_failed = match &mut self.writer {
            Some(writer) => !writer.wait().is_ok_and(|status| status.success()),
            None => false,
        };
        if let Some(file) = &self.file
            && (has_failed || self.given != server.sanctions_version())
            && let Err(error) = write(file, server.sanctions().as_bytes())
        {
            error!(target: "line_chat::server", "{error}");
        }
    }

    fn is_writing(&mut self) -> io::Result<bool> {
        let Some(writer) = &mut self.writer else {
            return Ok(false);
        };
        let Some(status) = writer.try_wait()? else {
            return Ok(true);
        };
        self.writer = None;
        match status.success() {
            true => Ok(false),
            false => Err(io::Error::other("its writer has failed")),
        }
    }

    fn start_writer<O: Observer>(&mut self, server: &Server<O>, now: Instant) -> Option<Instant> {
        match self.spawn(server.sanctions().as_bytes()) {
            Ok(writer) => {
                self.writer = Some(writer);
                self.given = server.sanctions_version();
                now.checked_add(LOOK_AFTER)
            }
            Err(error) => self.failed(&error, now),
        }
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

    /// Bans and mutes were not written; that is tried again.
    fn failed(&mut self, error: &io::Error, now: Instant) -> Option<Instant> {
        let file = self.file.as_deref().unwrap_or(Path::new("")).display();
        error!(target: "line_chat::server", "cannot keep bans and mutes in {file}: {error}");
        // So it differs from what the server has.
        self.given = self.given.wrapping_sub(1);
        now.checked_add(PAUSE)
    }
}

/// Writes standard input to the file, as a process of its own.
///
/// # Errors
/// The file stays as it is.
pub(crate) fn run_writer(file: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    write(file, &text)
}

fn read(file: &Path) -> io::Result<String> {
    match fs::read(file) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| named(file, "it is not UTF-8")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(named(file, &error.to_string())),
    }
}

/// Replaces a file as a whole: after a crash it is the old one or the new one.
fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut new_name = file.as_os_str().to_owned();
    new_name.push(".new");
    let replace = || {
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(MODE);
        let mut new = options.open(&new_name)?;
        new.write_all(text)?;
        new.sync_all()?;
        fs::rename(&new_name, file)?;
        let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    replace().map_err(|error| named(file, &error.to_string()))
}

fn named(file: &Path, why: &str) -> io::Error {
    io::Error::other(format!("the state {}: {why}", file.display()))
}
