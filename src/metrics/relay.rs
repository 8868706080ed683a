//! How a server of several stands to the others, in words and in numbers.

use std::fmt;
use std::time::Duration;

use crate::metrics::Histogram;

/// How a server of several stands to the others. [`Display`](fmt::Display) is the word for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RelayState {
    /// It has not heard of the others yet.
    #[default]
    Starting,
    /// What is said here is heard everywhere.
    Up,
    /// The engine does not answer, and what is said waits.
    Holding,
    /// The engine was away for so long that what is said here is heard here only.
    Split,
    /// It is back, and what was missed is fetched.
    Rejoining,
}

impl RelayState {
    /// All of them, in the order of declaration.
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Up,
        Self::Holding,
        Self::Split,
        Self::Rejoining,
    ];
}

impl fmt::Display for RelayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Holding => "holding",
            Self::Split => "split",
            Self::Rejoining => "rejoining",
        })
    }
}

/// What is counted of the relay, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RelayMetrics {
    /// How it stands to the others.
    pub state: RelayState,
    /// How long it was in each state, in their order.
    pub(crate) time_in: [Duration; RelayState::ALL.len()],
    /// Gauge: the servers that share the room, this one included.
    pub nodes: usize,
    /// Gauge: members that are connected to other servers.
    pub members_elsewhere: usize,
    /// How long it took until what was published was read back.
    pub round_trips: Histogram,
    /// Counter: batches that were published.
    pub batches: u64,
    /// Counter: the lines in them, and joins, leaves and the like.
    pub lines: u64,
    /// Gauge: lines that were published and not read back.
    pub unread_lines: u64,
    /// Counter: entries that did not come, and were fetched.
    pub fetched: u64,
    /// Counter: lines of others that can be had no more.
    pub lost_lines: u64,
    /// Counter: batches that the log holds twice, of which one was left out.
    pub doubles: u64,
    /// Counter: entries that are none of ours.
    pub malformed: u64,
    /// Gauge: batches that wait for one before them.
    pub parked: usize,
    /// Counter: how often the server was cut off.
    pub splits: u64,
}

impl RelayMetrics {
    /// How long it was in this state.
    pub fn time_in(&self, state: RelayState) -> Duration {
        let time = self.time_in.get(state as usize);
        time.copied().unwrap_or_default()
    }

    /// It was in this state for so long.
    #[cfg_attr(
        not(feature = "relay"),
        allow(dead_code, reason = "nothing connects to other servers")
    )]
    pub(crate) fn count_time(&mut self, state: RelayState, time: Duration) {
        if let Some(sum) = self.time_in.get_mut(state as usize) {
            *sum = sum.saturating_add(time);
        }
    }
}
