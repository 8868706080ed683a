//! What the process was started with and its signals depend on: which of them it was told to ignore,
//! and whether there is a terminal that can hang up.

use std::fs::{self, File};

/// The signals that are ignored, a bit each. Who starts a program in the background or under nohup(1)
/// has it ignore SIGINT or SIGHUP (signal(7): that is inherited), and means it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ignored(u64);

impl Ignored {
    /// What this process ignores now, as proc(5) tells it; nothing where there is no proc.
    pub(super) fn of_process() -> Self {
        let status = fs::read_to_string("/proc/self/status");
        status.map_or(Self::default(), |status| Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        Self(mask.unwrap_or_default())
    }

    /// Whether this signal is among them.
    pub(super) fn contains(self, signal: i32) -> bool {
        let bit = u32::try_from(signal).ok().and_then(|it| it.checked_sub(1));
        let bit = bit.and_then(|bit| 1_u64.checked_shl(bit));
        bit.is_some_and(|bit| self.0 & bit != 0)
    }
}

/// Whether this process has a controlling terminal, whose end is told by SIGHUP (tty(4)).
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
