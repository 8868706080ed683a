//! What is read from files, at the start and again at SIGHUP: [`Files`] are the greeting and the
//! passwords. A file that cannot serve is an error that names it, so that a server never runs with
//! less than it was asked for.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use log::warn;

use crate::config::interactive::Hosting;
use crate::session::auth::Password;
use crate::text;

/// The longest greeting, in bytes: what a client that has not said a word is sent at once.
const MAX_GREETING_BYTES: usize = 4096;

/// No file is read that is longer, in bytes: the loop waits for it.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the files hold.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// The lines of the greeting, cleaned; none if there is no such file.
    pub(crate) greeting: Vec<String>,
    /// Of the room.
    pub(crate) password: Option<Password>,
    pub(crate) ops_password: Option<Password>,
    /// Files of passwords that everybody on this machine can read.
    exposed: Vec<PathBuf>,
}

impl Files {
    /// Reads all of them.
    ///
    /// # Errors
    /// The text names the file, and says what to do.
    pub(crate) fn read(hosting: &Hosting) -> io::Result<Self> {
        let mut exposed = Vec::new();
        let mut password = |path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| read_password(path, &mut exposed))
                .transpose()
        };
        let greeting = hosting.motd_file.as_deref().map(read_greeting).transpose();
        Ok(Self {
            greeting: greeting?.unwrap_or_default(),
            password: password(&hosting.password_file)?,
            ops_password: password(&hosting.ops_password_file)?,
            exposed,
        })
    }

    /// Says in the log what is not as it should be, though it serves.
    pub(crate) fn warn(&self) {
        for path in &self.exposed {
            let path = path.display();
            warn!("{path} can be read by everybody on this machine: chmod o-r it");
        }
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
    Password::parse(&bytes).map_err(|error| named(path, &error.to_string()))
}

/// All of a regular file, and its permissions. Anything else might never come to an end.
fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let read = || {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(io::Error::other("it is longer than a megabyte"));
        }
        Ok((fs::read(path)?, metadata.permissions().mode()))
    };
    read().map_err(|error| named(path, &error.to_string()))
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
        fs::write(&path, content).expect("a temporary file");
        path
    }

    /// What comes of a greeting of this content.
    fn greeting(name: &str, content: &[u8]) -> Result<Vec<String>, String> {
        let path = file(name, content);
        let lines = read_greeting(&path).map_err(|error| error.to_string());
        fs::remove_file(&path).expect("it is there");
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
        let huge = fs::OpenOptions::new().write(true).open(&path);
        let huge = huge.expect("it is ours");
        for (bytes, is_read) in [(MAX_FILE_BYTES, true), (MAX_FILE_BYTES + 1, false)] {
            huge.set_len(bytes).expect("a file with holes");
            let password = read_password(&path, &mut Vec::new());
            assert_eq!(password.is_ok(), is_read, "{bytes} bytes");
        }
        fs::remove_file(&path).expect("it is there");
    }

    #[test]
    fn a_password_file_that_is_empty_is_an_error() {
        let path = file("password", b"\nsecret\n");
        let error = read_password(&path, &mut Vec::new())
            .expect_err("an empty line")
            .to_string();
        fs::remove_file(&path).expect("it is there");
        assert!(error.ends_with("write the password there"), "{error}");
    }
}
