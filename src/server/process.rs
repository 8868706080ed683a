//! What the system gives to this process: [`stats`] reads what proc(5) tells of it, for the page of metrics,
//! and [`random`] asks for bytes that nobody can predict.

use std::fs;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{Resource, getrlimit};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::metrics::ProcessStats;

/// USER_HZ, which is 100 wherever Linux runs (time(7)).
const TICKS_PER_SECOND: u64 = 100;

/// Asks the system for random bytes (getrandom(2)).
pub(super) fn random() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let filled = retry_on_intr(|| getrandom(&mut bytes, GetRandomFlags::empty())).ok()?;
    (filled == bytes.len()).then_some(bytes)
}

/// Reads the present values. `None` where there is no proc(5).
pub(super) fn stats() -> Option<ProcessStats> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before the last parenthesis is the only field that may contain blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let field = |number: usize| -> Option<u64> {
        // The first one behind the name is number 3.
        let mut fields = fields.split_whitespace();
        fields.nth(number.checked_sub(3)?)?.parse().ok()
    };
    let ticks = |ticks: u64| {
        let hundredths = ticks.saturating_mul(1000 / TICKS_PER_SECOND);
        Duration::from_millis(hundredths)
    };
    let (user, system, started) = (field(14)?, field(15)?, field(22)?);
    let open_fds = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(ProcessStats {
        cpu: ticks(user.saturating_add(system)),
        resident_bytes: resident_bytes()?,
        // The one that reads the folder is not counted.
        open_fds: u64::try_from(open_fds).ok()?.saturating_sub(1),
        max_fds: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        started: boot_time()?.saturating_add(ticks(started)),
    })
}

/// Resident memory, in bytes.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// When the system was started, since 1970.
fn boot_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_process_that_has_just_begun_has_used_little_and_holds_something() {
        let stats = stats().expect("proc(5)");
        assert!(stats.cpu < Duration::from_secs(3600));
        assert!(stats.resident_bytes > 1 << 20);
        assert!((3..10_000).contains(&stats.open_fds));
        assert!(stats.max_fds >= stats.open_fds);
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let age = now.saturating_sub(stats.started);
        assert!(
            stats.started <= now && age < Duration::from_secs(24 * 3600),
            "{age:?}"
        );
    }
}
