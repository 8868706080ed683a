//! Errors that no peer can cause at will, injected into a server's system calls by strace(1). A
//! [`Tracer`] is attached to a server that waits for something to do, so the next call that the server
//! makes is the first one that can fail, and the test decides which client it is for.
//!
//! A tracer can also only watch, so that system calls can be counted.
//!
//! strace can inject errors but no short writes: it would report bytes as sent that were not.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::child::{Lines, Server, await_until, bare};

/// The binary with these arguments, and with faults from its first call on, each as `--inject` takes it:
/// `CALL:error=ERROR:when=WHEN`. `None` as with [`Tracer::inject`].
#[track_caller]
pub(crate) fn command_with_faults(faults: &[String], args: &[&str]) -> Option<Command> {
    let calls = faults.iter().filter_map(|fault| fault.split(':').next());
    let calls = calls.collect::<Vec<_>>().join(",");
    let mut command = bare("strace");
    // The tracer is the grandchild, so our child is the server.
    command.args(["--daemonize", "-qq", "--output=/dev/null"]);
    command.arg(format!("--trace={calls}"));
    command.args(faults.iter().map(|fault| format!("--inject={fault}")));
    command.arg(env!("CARGO_BIN_EXE_line-chat")).args(args);
    is_there().then_some(command)
}

/// Whether strace is installed and may trace. With `LINE_CHAT_CLIENTS=all`, its absence is a failure.
#[track_caller]
pub(crate) fn is_there() -> bool {
    let strace = Command::new("strace")
        .args(["--output=/dev/null", "true"])
        .output();
    let missing = match strace {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    skip(&missing);
    false
}

/// The calls that a detached strace has written to a file, when the server that it watched has ended.
#[track_caller]
pub(crate) fn await_trace(path: &str) -> String {
    let read = || fs::read_to_string(path).expect("strace writes there");
    await_until("strace has written all", || {
        read().ends_with("+++ exited with 0 +++\n")
    });
    read()
}

/// Reports that a test is skipped, unless every test must run.
#[track_caller]
fn skip(missing: &str) {
    let is_required = env::var_os("LINE_CHAT_CLIENTS").is_some_and(|tools| tools == "all");
    assert!(!is_required, "strace: {missing}");
    // Not eprintln, whose output is hidden if the test passes.
    let test = thread::current();
    let test = test.name().unwrap_or_default();
    let _ = writeln!(io::stderr(), "{test} skipped, strace: {}", missing.trim());
}

/// How a call ends that was made to fail.
const FAILED: &str = "(INJECTED)";

/// An strace that is attached to a server.
pub(crate) struct Tracer {
    process: Child,
    /// What it writes: a line for each call that may fail.
    calls: Lines,
    has_failed: bool,
}

impl Tracer {
    /// Lets system calls fail with `error`: those of `calls` that `when` tells (as strace's manual
    /// has it: `1` is the first one from now on, `1..3` are three, `1+` are all). `None` where there
    /// is no strace or it is not allowed to attach. That is said on standard error, and fails if
    /// `LINE_CHAT_CLIENTS=all` says that every tool is there.
    #[track_caller]
    pub(crate) fn inject(server: &Server, calls: &str, error: &str, when: &str) -> Option<Self> {
        let fault = format!("--inject={calls}:error={error}:when={when}");
        Self::attach(server, calls, &[&fault])
    }

    /// Only watches these system calls. `None` as with [`inject`](Self::inject).
    #[track_caller]
    pub(crate) fn watch(server: &Server, calls: &str) -> Option<Self> {
        Self::attach(server, calls, &[])
    }

    #[track_caller]
    fn attach(server: &Server, calls: &str, args: &[&str]) -> Option<Self> {
        let strace = Command::new("strace")
            .arg(format!("--attach={}", server.pid().as_raw_nonzero()))
            .arg(format!("--trace={calls}"))
            .args(args)
            .stderr(Stdio::piped())
            .spawn();
        let missing = match strace.map(Self::of) {
            Ok(Ok(tracer)) => return Some(tracer),
            Ok(Err(line)) if line.contains("attach: ") => line,
            Ok(Err(line)) => panic!("{line}"),
            Err(error) => error.to_string(),
        };
        skip(&missing);
        None
    }

    /// The tracer, when it is attached, or else what it says.
    #[track_caller]
    fn of(mut process: Child) -> Result<Self, String> {
        let calls = Lines::of(process.stderr.take().expect("it is a pipe"));
        let first = calls.next().unwrap_or_default();
        let tracer = Self {
            process,
            calls,
            has_failed: false,
        };
        if first.ends_with(" attached\n") {
            Ok(tracer)
        } else {
            Err(first)
        }
    }

    /// Waits until a call has failed.
    #[track_caller]
    pub(crate) fn await_failure(&mut self) {
        while !self.has_failed {
            let call = self.calls.next().expect("strace goes on");
            self.has_failed = call.contains(FAILED);
        }
    }

    /// Detaches. Fails if no call has failed.
    #[track_caller]
    pub(crate) fn end(mut self) {
        self.detach();
        let calls = self.calls.rest();
        let has_failed = self.has_failed || calls.contains(FAILED);
        assert!(has_failed, "nothing has failed:\n{calls}");
    }

    /// Detaches, and returns the calls that were made, one a line.
    #[track_caller]
    pub(crate) fn calls(mut self) -> Vec<String> {
        self.detach();
        self.calls.rest().lines().map(str::to_owned).collect()
    }

    fn detach(&mut self) {
        // Not by SIGKILL, which would leave the server as it stands in its call.
        if let Ok(None) = self.process.try_wait() {
            let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        }
        let _ = self.process.wait();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.detach();
    }
}
