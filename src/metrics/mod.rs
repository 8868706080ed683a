//! What a server has done and its present state, in numbers: [`Metrics`] are plain counters and gauges
//! that the loop keeps. A copy of them can be read anywhere.

mod exposition;
mod histogram;

use std::fmt;
use std::time::Duration;

use crate::protocol::close_reason::CloseReason;
pub(crate) use exposition::CONTENT_TYPE;
pub use histogram::Histogram;

/// What the operating system tells of the process. A program that embeds the engine has nothing to tell
/// by default.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct ProcessStats {
    /// Time on a processor, in user and kernel mode.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Open descriptors, and how many there may be.
    pub open_fds: u64,
    /// The limit of open descriptors.
    pub max_fds: u64,
    /// When it was started, since 1970.
    pub started: Duration,
}

/// Counters since the start, and gauges of the moment between two turns.
/// [`Display`](fmt::Display) is one line for the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Gauge: clients that are connected, members or not, including those that are being closed.
    pub clients: usize,
    /// Gauge: clients that have a nick and are in the room.
    pub members: usize,
    /// Gauge: HTTP connections, which count as clients here but not for
    /// [`Limits::max_clients`](crate::Limits::max_clients).
    pub http_connections: usize,
    /// Counter: connections that were accepted, including those that were refused. It is always
    /// [`clients`](Self::clients) + [`closed`](Self::closed).
    pub accepted: u64,
    /// Connections that have ended, by reason.
    pub(crate) closed_by: [u64; CloseReason::ALL.len()],
    /// Counter: lines that members said to the room.
    pub lines_in: u64,
    /// Counter: lines of the room that were queued, for each member that gets one.
    pub deliveries: u64,
    /// Counter: lines and notices that were left out for a member that was too far behind.
    pub lines_skipped: u64,
    /// Counter: bytes that were read.
    pub bytes_in: u64,
    /// Counter: bytes that were written.
    pub bytes_out: u64,
    /// Gauge: bytes that are queued for all clients.
    pub pending_bytes: usize,
    /// Gauge: bytes that were read and may not be decoded yet.
    pub held_bytes: usize,
    /// Gauge: memory of the buffers that hold them, in bytes. It is what
    /// [`Limits::max_pending_total_bytes`](crate::Limits::max_pending_total_bytes) limits.
    pub buffer_bytes: usize,
    /// Counter: turns of the loop.
    pub turns: u64,
    /// The longest turn of all, without its wait for events.
    pub longest_turn: Duration,
    /// How long turns took, without their waits for events.
    pub turn_times: Histogram,
    /// How long lines took, from the beginning of the turn in which they were read to its end. Lines that
    /// wait in a queue after that are not in it.
    pub delivery_times: Histogram,
}

impl Metrics {
    /// Counter: connections that have ended, for whatever reason.
    pub fn closed(&self) -> u64 {
        self.closed_by.iter().sum()
    }

    /// Counter: connections that ended for this reason.
    pub fn closed_for(&self, reason: CloseReason) -> u64 {
        self.closed_by.get(reason as usize).copied().unwrap_or(0)
    }

    /// Counter: connections that were never let in.
    pub fn refused(&self) -> u64 {
        let refusals = CloseReason::ALL.into_iter().filter(|why| why.is_refusal());
        refusals.map(|why| self.closed_for(why)).sum()
    }

    /// Counts a turn, in which so many lines were said.
    pub(crate) fn count_turn(&mut self, took: Duration, lines: u64) {
        self.turns = self.turns.saturating_add(1);
        self.longest_turn = self.longest_turn.max(took);
        self.turn_times.record(took, 1);
        if lines > 0 {
            self.delivery_times.record(took, lines);
        }
    }

    /// The page of metrics, in the format of OpenMetrics 1.0.
    pub(crate) fn page(self, process: Option<ProcessStats>) -> String {
        exposition::page(self, process)
    }

    pub(crate) fn count_closed(&mut self, reason: CloseReason) {
        if let Some(count) = self.closed_by.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "clients {}, members {}, accepted {}, closed {}",
            self.clients,
            self.members,
            self.accepted,
            self.closed()
        )?;
        for reason in CloseReason::ALL {
            if self.closed_for(reason) > 0 {
                write!(f, ", {reason} {}", self.closed_for(reason))?;
            }
        }
        write!(
            f,
            "; lines in {}, deliveries {}, lines skipped {}, bytes in {}, bytes out {}, \
             pending bytes {}, held bytes {}, buffer bytes {}; turns {}, longest turn {:.1?}",
            self.lines_in,
            self.deliveries,
            self.lines_skipped,
            self.bytes_in,
            self.bytes_out,
            self.pending_bytes,
            self.held_bytes,
            self.buffer_bytes,
            self.turns,
            self.longest_turn
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_one_line_that_names_each_number() {
        let mut metrics = Metrics {
            clients: 2,
            accepted: 5,
            lines_in: 7,
            longest_turn: Duration::from_micros(1500),
            ..Metrics::default()
        };
        metrics.count_closed(CloseReason::HungUp);
        metrics.count_closed(CloseReason::ServerFull);
        metrics.count_closed(CloseReason::ServerFull);
        assert_eq!(metrics.closed(), 3);
        assert_eq!(metrics.refused(), 2);
        assert_eq!(
            metrics.to_string(),
            "clients 2, members 0, accepted 5, closed 3, hung up 1, server is full 2; \
             lines in 7, deliveries 0, lines skipped 0, bytes in 0, bytes out 0, \
             pending bytes 0, held bytes 0, buffer bytes 0; turns 0, longest turn 1.5ms"
        );
    }
}
