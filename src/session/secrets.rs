//! The greeting and the passwords: [`Secrets`] are read from files at the start and again at SIGHUP, or
//! are set by the embedding program. A file that cannot be used is an error that names it, so a server
//! never runs with less protection than was asked for.
//!
//! A FIFO, such as `<(pass show chat)` in a shell, can be read only once: at the start, where the
//! server waits for it, and never again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::config::interactive::Interactive;
use crate::config::password::Password;
use crate::text;

/// The longest greeting, in bytes: what a client that has not said a word is sent at once.
const MAX_GREETING_BYTES: usize = 4096;

/// No file is read beyond this, in bytes: the loop waits for it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// How long the start waits until a FIFO is written and closed, in seconds.
const FIFO_SECONDS: i64 = 5;

/// What the files hold.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// The lines of the greeting, clean; none if there is no such file.
    pub(crate) greeting: Vec<String>,
    /// The password of the room.
    pub(crate) password: Option<Password>,
    pub(crate) ops_password: Option<Password>,
    /// The files that were read.
    sources: Vec<Source>,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) is_fifo: bool,
    pub(crate) flaws: Vec<Flaw>,
}

/// A problem of a file that its owner should know about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It holds a password or a private key, and every user of this machine can read it.
    Readable,
    /// It holds a password or a private key, and its group or every user can write it.
    Writable,
    /// It holds a greeting with escape sequences, which are dropped.
    Escapes,
}

impl Secrets {
    /// Reads all files that are named. A password from the program itself wins over its file.
    ///
    /// # Errors
    /// The text names the file and says what to do.
    pub(crate) fn read(interactive: &Interactive) -> io::Result<Self> {
        Self::read_behind(None, interactive)
    }

    /// Reads all named files again. Values that came from a FIFO are kept.
    ///
    /// # Errors
    /// See [`read`](Self::read).
    pub(crate) fn read_again(&self, interactive: &Interactive) -> io::Result<Self> {
        Self::read_behind(Some(self), interactive)
    }

    /// Reads the files. `before`: what was read at the start, if this is a reload.
    fn read_behind(before: Option<&Self>, interactive: &Interactive) -> io::Result<Self> {
        let mut sources = Vec::new();
        // The source of a value that is kept, if it came from a FIFO.
        let kept = |path: &Path| {
            let sources = before.into_iter().flat_map(|before| &before.sources);
            let fifos = sources.filter(|source| source.is_fifo);
            fifos
                .into_iter()
                .find(|source| source.path == path)
                .cloned()
        };
        let wait = before.is_none();
        let mut password = |text: &Option<Password>,
                            path: &Option<PathBuf>,
                            old: Option<&Password>| match (text, path) {
            (Some(password), _) => Ok(Some(password.clone())),
            (None, Some(path)) => match kept(path) {
                Some(source) => {
                    sources.push(source);
                    Ok(old.cloned())
                }
                None => {
                    let (password, source) = read_password(path, wait)?;
                    sources.push(source);
                    Ok(Some(password))
                }
            },
            (None, None) => Ok::<_, io::Error>(None),
        };
        let old = before.and_then(|before| before.password.as_ref());
        let room = password(&interactive.password, &interactive.password_file, old)?;
        let old = before.and_then(|before| before.ops_password.as_ref());
        let ops = password(
            &interactive.ops_password,
            &interactive.ops_password_file,
            old,
        )?;
        if room.is_some() && room == ops {
            return Err(same_password(interactive));
        }
        let mut greeting = Vec::new();
        if let Some(path) = &interactive.motd_file {
            let (lines, source) = match kept(path) {
                Some(source) => {
                    let lines = before.map(|before| before.greeting.clone());
                    (lines.unwrap_or_default(), source)
                }
                None => read_greeting(path, wait)?,
            };
            greeting = lines;
            sources.push(source);
        }
        Ok(Self {
            greeting,
            password: room,
            ops_password: ops,
            sources,
        })
    }

    /// Whether there is a file that can be read again.
    pub(crate) fn has_files(&self) -> bool {
        self.sources.iter().any(|source| !source.is_fifo)
    }

    /// The problems that the owners of the files should know about.
    pub(crate) fn flaws(&self) -> impl Iterator<Item = (&Path, Flaw)> {
        self.sources.iter().flat_map(|source| {
            let flaws = source.flaws.iter();
            flaws.map(|&flaw| (source.path.as_path(), flaw))
        })
    }
}

/// The error for equal passwords, which would make every member an operator.
fn same_password(interactive: &Interactive) -> io::Error {
    let files = [&interactive.password_file, &interactive.ops_password_file];
    let names = files.map(|file| match file {
        Some(file) => file.display().to_string(),
        None => "the program".to_owned(),
    });
    let [room, ops] = names;
    io::Error::other(format!(
        "the password of the room (from {room}) and that of operators (from {ops}) are the same: \
         everybody in the room could become an operator; choose two"
    ))
}

fn read_greeting(path: &Path, wait: bool) -> io::Result<(Vec<String>, Source)> {
    let (bytes, _, mut source) = read(path, wait)?;
    let (bytes, has_escapes) = text::without_escapes(&bytes);
    if has_escapes {
        source.flaws.push(Flaw::Escapes);
    }
    if bytes.len() > MAX_GREETING_BYTES {
        let text = format!("it is longer than {MAX_GREETING_BYTES} bytes: make it shorter");
        return Err(named(path, &text));
    }
    let mut scratch = String::new();
    let lines = bytes.trim_ascii_end().split(|&byte| byte == b'\n');
    let clean = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        text::clean(line, &mut scratch).as_str().to_owned()
    };
    let lines: Vec<String> = lines.map(clean).collect();
    if lines.iter().all(String::is_empty) {
        return Err(named(path, "it is empty: write the greeting there"));
    }
    Ok((lines, source))
}

/// Returns the content of a file that nobody else should read, and what others may do with it.
///
/// # Errors
/// The text names the file and says what to do.
pub(crate) fn read_secret(path: &Path, wait: bool) -> io::Result<(Vec<u8>, Source)> {
    let (bytes, file, mut source) = read(path, wait)?;
    source.flaws = exposure(&file)?;
    Ok((bytes, source))
}

fn read_password(path: &Path, wait: bool) -> io::Result<(Password, Source)> {
    let (bytes, source) = read_secret(path, wait)?;
    let password = Password::from_file(&bytes).map_err(|error| named(path, &error.to_string()))?;
    Ok((password, source))
}

/// Returns the content of a regular file, or of a FIFO if `wait` is set. Any other kind of file might
/// never end. The file is opened once, and all checks use its descriptor, so it cannot be exchanged or
/// grow in between.
fn read(path: &Path, wait: bool) -> io::Result<(Vec<u8>, File, Source)> {
    let read = || {
        let mut file = open(path)?;
        let kind = file.metadata()?.file_type();
        let mut content = Vec::new();
        if kind.is_file() {
            let mut beginning = (&mut file).take(MAX_FILE_BYTES + 1);
            beginning.read_to_end(&mut content)?;
        } else if !kind.is_fifo() {
            return Err(io::Error::other("it is not a file"));
        } else if wait {
            read_fifo(&mut file, FIFO_SECONDS, &mut content)?;
        } else {
            let text = "it is a FIFO, which is read at the start only";
            return Err(io::Error::other(text));
        }
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other("it is longer than a megabyte"));
        }
        if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
            return Err(io::Error::other("it is UTF-16: save it as UTF-8"));
        }
        if content.starts_with(text::BYTE_ORDER_MARK) {
            content.drain(..text::BYTE_ORDER_MARK.len());
        }
        let source = Source {
            path: path.to_owned(),
            is_fifo: kind.is_fifo(),
            flaws: Vec::new(),
        };
        Ok((content, file, source))
    };
    read().map_err(|error| named(path, &error.to_string()))
}

/// Opens a file without waiting for a writer, if it is a FIFO (fifo(7)).
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads a FIFO until its last writer closes it, or until it is too long.
fn read_fifo(fifo: &mut File, seconds: i64, content: &mut Vec<u8>) -> io::Result<()> {
    let alarm = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    };
    timerfd_settime(&alarm, TimerfdTimerFlags::empty(), &once)?;
    let mut chunk = [0; 4096];
    while content.len() as u64 <= MAX_FILE_BYTES {
        // A FIFO without writers reads as end of file although a writer may still come (poll(2),
        // POLLHUP).
        let mut descriptors = [
            PollFd::new(&*fifo, PollFlags::IN),
            PollFd::from_borrowed_fd(alarm.as_fd(), PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut descriptors, None))?;
        let [of_fifo, of_alarm] = descriptors.map(|it| it.revents());
        if of_fifo.is_empty() && !of_alarm.is_empty() {
            let text = format!("it is a FIFO and was not written to its end within {seconds} s");
            return Err(io::Error::other(text));
        }
        match fifo.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => content.extend(chunk.iter().take(n)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::AGAIN) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns what other users may do with a file that holds a password. A user who cannot enter one of
/// the folders above it can do nothing: secrets are handed to containers that way.
fn exposure(file: &File) -> io::Result<Vec<Flaw>> {
    let mode = file.metadata()?.permissions().mode();
    let (others_read, others_write) = (mode & 0o004 != 0, mode & 0o002 != 0);
    let group_writes = mode & 0o020 != 0;
    if !(others_read || others_write || group_writes) {
        return Ok(Vec::new());
    }
    let folders = folders_of(file);
    let others_enter = folders.iter().all(|mode| mode & 0o001 != 0);
    let group_enters = folders.iter().all(|mode| mode & 0o011 != 0);
    let mut flaws = Vec::new();
    if others_read && others_enter {
        flaws.push(Flaw::Readable);
    }
    if (others_write && others_enter) || (group_writes && group_enters) {
        flaws.push(Flaw::Writable);
    }
    Ok(flaws)
}

/// Returns the permissions of the folders above an open file, as far as they can be known.
fn folders_of(file: &File) -> Vec<u32> {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let path = path.unwrap_or_default();
    let folders = path.ancestors().skip(1);
    let modes = folders.filter_map(|folder| fs::metadata(folder).ok());
    modes.map(|it| it.permissions().mode()).collect()
}

/// The error of a file that cannot be used.
pub(crate) fn named(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("cannot use {}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &[u8]) -> std::path::PathBuf {
        let name = format!("line-chat-files-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).expect("a temporary file");
        path
    }

    /// What comes of a greeting of this content.
    fn greeting(name: &str, content: &[u8]) -> Result<Vec<String>, String> {
        let path = file(name, content);
        let lines = read_greeting(&path, true)
            .map(|it| it.0)
            .map_err(|error| error.to_string());
        std::fs::remove_file(&path).expect("it is there");
        lines.map_err(|error| error.replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn a_greeting_is_its_lines_and_clean() {
        let lines = greeting("lines", b"welcome\r\n\n \x1b[31mred\x1b[0m \x07\n\n");
        let expected = ["welcome", "", " red \u{fffd}"].map(str::to_owned);
        assert_eq!(lines, Ok(expected.to_vec()));
    }

    #[test]
    fn a_greeting_that_cannot_serve_is_an_error_that_names_its_file() {
        let empty = greeting("empty", b" \n\n");
        assert_eq!(
            empty,
            Err("cannot use FILE: it is empty: write the greeting there".to_owned())
        );
        let long = greeting("long", &[b'a'; MAX_GREETING_BYTES + 1]);
        assert_eq!(
            long,
            Err("cannot use FILE: it is longer than 4096 bytes: make it shorter".to_owned())
        );
        for path in ["/nonexistent", "/dev/null", "/"] {
            let error = read_greeting(Path::new(path), true)
                .expect_err("no file")
                .to_string();
            assert!(
                error.starts_with(&format!("cannot use {path}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_nobody_wrote_by_hand_is_not_read() {
        let path = file("huge", b"secret\n");
        let huge = OpenOptions::new().write(true).open(&path);
        let huge = huge.expect("it is ours");
        for (bytes, is_read) in [(MAX_FILE_BYTES, true), (MAX_FILE_BYTES + 1, false)] {
            huge.set_len(bytes).expect("a file with holes");
            let password = read_password(&path, true);
            assert_eq!(password.is_ok(), is_read, "{bytes} bytes");
        }
        std::fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn a_password_file_that_is_empty_is_an_error() {
        let path = file("password", b"\nsecret\n");
        let error = read_password(&path, true)
            .expect_err("an empty line")
            .to_string();
        std::fs::remove_file(&path).expect("it is there");
        assert!(error.ends_with("write the password there"), "{error}");
    }
}
