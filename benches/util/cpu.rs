//! The CPU time that a server has used so far, including its system calls.
//!
//! The scheduler counts it to the nanosecond and shows it in `/proc/PID/task/TID/schedstat`
//! (proc(5) calls it time spent on the CPU). It is up to date when the thread sleeps, and
//! [`CpuClock::read`] waits for that.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::Pid;
use rustix::time::{ClockId, clock_gettime};

/// How long a server may go on working after its last byte was received.
const SETTLING: Duration = Duration::from_secs(2);

/// The CPU time of one thread, or of all threads of a process.
#[derive(Debug)]
pub(crate) enum CpuClock {
    Thread(PathBuf),
    Process(PathBuf),
}

impl CpuClock {
    /// A thread of this process.
    pub(crate) fn of_thread(id: Pid) -> Self {
        Self::Thread(format!("/proc/self/task/{}", id.as_raw_nonzero()).into())
    }

    /// Another process, with all the threads that it has whenever the clock is read.
    pub(crate) fn of_process(id: u32) -> Self {
        Self::Process(format!("/proc/{id}/task").into())
    }

    /// The time so far. Waits until everything that was to be done is done.
    pub(crate) fn read(&self) -> Duration {
        let start = Instant::now();
        while self.tasks().iter().any(|task| is_running(task)) && start.elapsed() < SETTLING {
            thread::sleep(Duration::from_micros(50));
        }
        let nanoseconds = self.tasks().iter().map(|task| time_on_cpu(task)).sum();
        Duration::from_nanos(nanoseconds)
    }

    fn tasks(&self) -> Vec<PathBuf> {
        match self {
            Self::Thread(task) => vec![task.clone()],
            Self::Process(tasks) => {
                let entries = fs::read_dir(tasks).expect("the server lives");
                entries.flatten().map(|entry| entry.path()).collect()
            }
        }
    }
}

/// Whether a thread runs or waits for a core. One that has ended does not.
fn is_running(task: &Path) -> bool {
    let stat = fs::read_to_string(task.join("stat")).unwrap_or_default();
    // The name before the last parenthesis may hold anything.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| state.starts_with('R'))
}

/// In nanoseconds.
fn time_on_cpu(task: &Path) -> u64 {
    let stat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let time = stat.split(' ').next().and_then(|time| time.parse().ok());
    time.unwrap_or(0)
}

/// The CPU time of the calling thread so far, up to date.
pub(crate) fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().expect("it counts from zero")
}
