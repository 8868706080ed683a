//! accept(2) that fails, made to by strace(1), where it is installed and may attach.

use std::env;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::child::{Lines, Server};
use crate::support::{YES, hello};

/// How many failures are waited for.
const FAILURES: usize = 6;

/// The least time from the first to the last of them: 10, 20, 40, 80 and 160 ms, as with ENFILE.
const BACK_OFF: Duration = Duration::from_millis(300);

/// How many turns of the loop they may cost.
const MOST_TURNS: usize = 30;

/// An strace whose server cannot accept anybody while it is attached.
struct Tracer {
    process: Child,
    /// The calls of accept(2) and of the poll, a line each.
    calls: Lines,
}

impl Tracer {
    /// `None` where there is no strace or it may not attach. That fails if `LINE_CHAT_CLIENTS=all`
    /// says that every tool is there.
    fn attach(server: &Server, error: &str) -> Option<Self> {
        let strace = Command::new("strace")
            .arg(format!("--attach={}", server.pid().as_raw_nonzero()))
            .arg("--trace=accept4,?epoll_wait,?epoll_pwait,?epoll_pwait2")
            .arg(format!("--inject=accept4:error={error}"))
            .stderr(Stdio::piped())
            .spawn();
        let missing = match strace.map(Self::of) {
            Ok(tracer) => match tracer.calls.next().unwrap_or_default() {
                line if line.ends_with(" attached\n") => return Some(tracer),
                line => line,
            },
            Err(error) => error.to_string(),
        };
        let is_required = env::var_os("LINE_CHAT_CLIENTS").is_some_and(|tools| tools == "all");
        assert!(!is_required, "strace: {missing}");
        // Not by eprintln, which a test that passes keeps to itself.
        let _ = writeln!(io::stderr(), "skipped, strace: {}", missing.trim());
        None
    }

    fn of(mut process: Child) -> Self {
        let calls = Lines::of(process.stderr.take().expect("it is a pipe"));
        Self { process, calls }
    }

    /// Waits for so many accepts that fail; returns how many turns the server took meanwhile.
    fn await_failures(&self, failures: usize) -> usize {
        let (mut failed, mut turns) = (0, 0);
        while failed < failures {
            let call = self.calls.next().expect("strace goes on");
            failed += usize::from(call.contains("(INJECTED)"));
            turns += usize::from(call.contains("epoll"));
        }
        turns
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Not by SIGKILL, which would leave the server as it stands in its call.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

// An error of accept(2) that lasts is waited for and warned of, like the want of descriptors: the
// loop does not try again at once, and a client that waits is served when the error is gone.
#[test]
fn an_accept_that_fails_for_good_backs_off_and_is_warned_of() {
    thread::scope(|scope| {
        for (error, text) in [
            ("EACCES", "Permission denied"),
            ("EPERM", "Operation not permitted"),
            ("EINVAL", "Invalid argument"),
            ("EBADF", "Bad file descriptor"),
        ] {
            scope.spawn(move || expect_back_off(error, text));
        }
    });
}

#[track_caller]
fn expect_back_off(error: &str, text: &str) {
    let server = Server::start(&[]);
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    let Some(tracer) = Tracer::attach(&server, error) else {
        return;
    };
    let start = Instant::now();
    let mut newcomer = server.connect();
    newcomer.send(&hello("newcomer"));
    let turns = tracer.await_failures(FAILURES);
    let elapsed = start.elapsed();
    bob.say("members talk on");
    alice.expect("bob: members talk on");
    drop(tracer);
    newcomer.expect(YES);
    let log = server.stop().log;
    assert!(
        elapsed >= BACK_OFF && turns <= MOST_TURNS,
        "{error}: {FAILURES} accepts and {turns} turns in {elapsed:?}"
    );
    let warnings = log.lines().filter(|line| line.contains(text));
    let warnings = warnings.count();
    assert!((1..FAILURES).contains(&warnings), "{error}: {log}");
}
