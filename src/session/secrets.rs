//! The greeting and the passwords: [`Secrets`] are read from files at the start and again at SIGHUP, or
//! come from the program. A file that cannot serve is an error that names it, so a server never runs
//! with less than it was asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::config::interactive::Interactive;
use crate::config::password::Password;
use crate::text;

/// The longest greeting, in bytes: what a client that has not said a word is sent at once.
const MAX_GREETING_BYTES: usize = 4096;

/// No file is read beyond this, in bytes: the loop waits for it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the files hold.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// The lines of the greeting, clean; none if there is no such file.
    pub(crate) greeting: Vec<String>,
    /// The password of the room.
    pub(crate) password: Option<Password>,
    pub(crate) ops_password: Option<Password>,
    /// Files with passwords that everybody on this machine can read.
    pub(crate) exposed: Vec<PathBuf>,
}

impl Secrets {
    /// Reads all files that are named. A password from the program itself wins over its file.
    ///
    /// # Errors
    /// The text names the file and says what to do.
    pub(crate) fn read(interactive: &Interactive) -> io::Result<Self> {
        let mut exposed = Vec::new();
        let mut password = |text: &Option<Password>, path: &Option<PathBuf>| match (text, path) {
            (Some(password), _) => Ok(Some(password.clone())),
            (None, Some(path)) => read_password(path, &mut exposed).map(Some),
            (None, None) => Ok(None),
        };
        let greeting = interactive.motd_file.as_deref().map(read_greeting);
        Ok(Self {
            greeting: greeting.transpose()?.unwrap_or_default(),
            password: password(&interactive.password, &interactive.password_file)?,
            ops_password: password(&interactive.ops_password, &interactive.ops_password_file)?,
            exposed,
        })
    }
}

fn read_greeting(path: &Path) -> io::Result<Vec<String>> {
    let (bytes, _) = read(path)?;
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
    Ok(lines)
}

fn read_password(path: &Path, exposed: &mut Vec<PathBuf>) -> io::Result<Password> {
    let (bytes, mode) = read(path)?;
    if mode & 0o004 != 0 {
        exposed.push(path.to_owned());
    }
    Password::from_file(&bytes).map_err(|error| named(path, &error.to_string()))
}

/// The content of a regular file and its permissions. Anything else might never come to an end. The
/// file is opened once, and everything that is asked of it is asked of the descriptor, so it cannot
/// be exchanged or grow in between.
fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let read = || {
        let file = open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut content = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content)?;
        if content.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other("it is longer than a megabyte"));
        }
        Ok((content, metadata.permissions().mode()))
    };
    read().map_err(|error| named(path, &error.to_string()))
}

/// Opens a file without waiting for a writer, if it is a FIFO (fifo(7)).
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn named(path: &Path, why: &str) -> io::Error {
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
        let lines = read_greeting(&path).map_err(|error| error.to_string());
        std::fs::remove_file(&path).expect("it is there");
        lines.map_err(|error| error.replace(&path.display().to_string(), "FILE"))
    }

    #[test]
    fn a_greeting_is_its_lines_and_clean() {
        let lines = greeting("lines", b"welcome\r\n\n \x1b[31mred\n\n");
        let expected = ["welcome", "", " \u{fffd}[31mred"].map(str::to_owned);
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
            let error = read_greeting(Path::new(path))
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
            let password = read_password(&path, &mut Vec::new());
            assert_eq!(password.is_ok(), is_read, "{bytes} bytes");
        }
        std::fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn a_password_file_that_is_empty_is_an_error() {
        let path = file("password", b"\nsecret\n");
        let error = read_password(&path, &mut Vec::new())
            .expect_err("an empty line")
            .to_string();
        std::fs::remove_file(&path).expect("it is there");
        assert!(error.ends_with("write the password there"), "{error}");
    }
}
