//! What the handling of signals depends on: which signals the process was started with as ignored, and
//! whether it has a terminal that can hang up.

use std::fs::{self, File};

/// The set of ignored signals, one bit each. A program that is started in the background or under
/// nohup(1) inherits that SIGINT or SIGHUP is ignored (signal(7)), and that is intended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ignored(u64);

impl Ignored {
    /// Returns the signals that this process ignores now, according to proc(5), or none if there is no
    /// /proc.
    pub(super) fn of_process() -> Self {
        let status = fs::read_to_string("/proc/self/status");
        status.map_or(Self::default(), |status| Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        Self(mask.unwrap_or_default())
    }

    /// Whether the set contains this signal.
    pub(super) fn contains(self, signal: i32) -> bool {
        let bit = u32::try_from(signal).ok().and_then(|it| it.checked_sub(1));
        let bit = bit.and_then(|bit| 1_u64.checked_shl(bit));
        bit.is_some_and(|bit| self.0 & bit != 0)
    }
}

/// Whether this process has a controlling terminal, which sends SIGHUP when it is closed (tty(4)).
pub(super) fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    #[test]
    fn ignored_signals_are_read_as_proc_writes_them() {
        let status =
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\nSigCgt:\t0000000000004000\n";
        let ignored = Ignored::parse(status);
        assert!(ignored.contains(SIGHUP) && ignored.contains(SIGINT));
        assert!(!ignored.contains(SIGTERM) && !ignored.contains(0) && !ignored.contains(99));
        assert_eq!(Ignored::parse("SigIgn:\tnonsense\n"), Ignored::default());
    }
}
