//! The files that the server is told to read: the greeting and the passwords.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use line_chat::{Config, Server};

use crate::support::child::{self, Remains, command, command_after};
use crate::support::strace;

const FLAGS: [&str; 3] = ["--motd", "--password-file", "--ops-password-file"];

/// A path in the system's place for temporary files. What is there is gone when this is dropped.
struct TempPath(PathBuf);

impl TempPath {
    fn new(name: &str) -> Self {
        let name = format!("line-chat-regressions-{}-{name}", std::process::id());
        let path = Self(env::temp_dir().join(name));
        // Of a process of that number which was killed.
        let _ = fs::remove_file(&path.0);
        path
    }

    fn as_str(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for TempPath {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn args<'a>(flag: &'a str, path: &'a str) -> [&'a str; 4] {
    ["--interactive", flag, path, "127.0.0.1:0"]
}

/// Runs a command that must end by itself with one line that names `path`, and serves nobody.
#[track_caller]
fn expect_refusal(command: &mut Command, path: &str) -> String {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = child::Server::spawn_unannounced(command.stdout(Stdio::piped()), nowhere);
    let Remains {
        status,
        stdout,
        log,
    } = server.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(stdout, "", "it does not come up");
    assert!(log.contains(path) && log.lines().count() == 1, "{log}");
    log
}

// A file that may never come to an end, or that nobody wrote by hand, is refused.
#[test]
fn what_is_no_file_or_too_large_a_file_is_refused() {
    let huge = TempPath::new("huge");
    let file = fs::File::create(&huge.0).expect("a temporary file");
    file.set_len(1 << 40).expect("a file with holes");
    for flag in FLAGS {
        for path in [huge.as_str(), "/dev/zero", "/"] {
            expect_refusal(&mut command(&args(flag, path)), path);
        }
    }
}

// A file is read up to its limit and one byte more, whatever its size is said to be: this one is a
// regular file of 0 bytes, and has 256 GiB.
#[test]
fn a_file_that_is_longer_than_it_says_is_not_read_to_its_end() {
    let path = "/proc/self/pagemap";
    for flag in FLAGS {
        let mut command = command_after("ulimit -v 524288", &args(flag, path));
        let log = expect_refusal(&mut command, path);
        assert!(!log.contains("memory"), "it was read: {log}");
    }
}

// A file is opened once and looked at by its descriptor. What is looked at by name may be another
// file when it is read.
#[test]
fn a_file_is_opened_once_and_not_looked_at_by_name() {
    if !strace::is_there() {
        return;
    }
    let (file, calls) = (TempPath::new("file"), TempPath::new("calls"));
    fs::write(&file.0, "secret\n").expect("a temporary file");
    for flag in FLAGS {
        let strace = format!(
            r#"exec strace --daemonize --trace=%file --output={} "$0" "$@""#,
            calls.as_str()
        );
        let mut command = command_after(&strace, &args(flag, file.as_str()));
        assert!(child::Server::spawn(&mut command).stop().status.success());
        let calls = strace::await_trace(calls.as_str());
        // What a descriptor is called is asked of the descriptor.
        let by_name = calls
            .lines()
            .filter(|call| !call.contains("/proc/self/fd/"));
        let by_name = by_name.filter(|call| call.contains(file.as_str()));
        let by_name: Vec<&str> = by_name.filter(|call| !call.starts_with("exec")).collect();
        assert!(
            by_name.len() == 1 && by_name[0].starts_with("open"),
            "{flag}: {by_name:#?}"
        );
    }
}

// A server whose password file cannot be read does not come up, and never comes up open.
#[test]
fn a_server_without_the_password_that_it_was_told_of_does_not_come_up() {
    let path = "/nonexistent/password";
    for flag in ["--password-file", "--ops-password-file"] {
        expect_refusal(&mut command(&args(flag, path)), path);
    }
    expect_refusal(
        &mut command(&["--password-file", path, "127.0.0.1:0"]),
        path,
    );
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        ..Config::default()
    };
    config.interactive.password_file = Some(path.into());
    let error = Server::bind(config).expect_err("it has no password");
    assert!(error.to_string().contains(path), "{error}");
}
