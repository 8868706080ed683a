//! What a server has done and its present state, in numbers: [`Metrics`] are plain counters and gauges
//! that the loop keeps. A copy of them can be read anywhere.

mod exposition;
mod histogram;
mod relay;

use std::fmt;
use std::time::Duration;

use crate::client_id::ClientId;
use crate::protocol::close_reason::CloseReason;
pub(crate) use exposition::{CONTENT_TYPE, page};
pub use histogram::Histogram;
pub use relay::{RelayMetrics, RelayState};

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

/// What a failure of accept(2) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptFailure {
    /// The one connection had ended already, or a signal came.
    Gone,
    /// The process has no descriptor left.
    NoDescriptor,
    /// The system has no memory or no descriptor left.
    NoMemory,
    /// It will fail again: a security policy forbids it, for instance.
    Lasting,
}

/// Counts so many more. No process lives long enough to fill a counter, so it need not stop at the end: that would
/// take four instructions instead of one, for each line that each member gets.
#[inline]
pub(crate) fn count(counter: &mut u64, more: u64) {
    *counter = counter.wrapping_add(more);
}

/// How the server stands at a moment, for an answer that needs a look at every client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Survey {
    pub(crate) metrics: Metrics,
    /// The members that take less than they are given, those with the longest queues first.
    pub(crate) slowest: Vec<SlowReader>,
    /// How long the server has run, without times in which it stood still.
    pub(crate) uptime: Duration,
}

/// A member that takes less than it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlowReader {
    pub(crate) id: ClientId,
    pub(crate) queued_bytes: usize,
    /// Since when it has taken nothing.
    pub(crate) blocked_for: Duration,
}

impl AcceptFailure {
    /// All of them, in the order of declaration, which is also the order of the counters.
    pub const ALL: [Self; 4] = [
        Self::Gone,
        Self::NoDescriptor,
        Self::NoMemory,
        Self::Lasting,
    ];
}

impl fmt::Display for AcceptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "gone",
            Self::NoDescriptor => "no descriptor",
            Self::NoMemory => "no memory",
            Self::Lasting => "lasting",
        })
    }
}

impl Survey {
    /// How many of the slowest members are named.
    pub(crate) const MOST_READERS: usize = 10;
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
    /// Gauge: members that are people at a prompt.
    pub people: usize,
    /// Gauge: members that read slowly: more than a quarter of their queue is full.
    pub lagging: usize,
    /// Gauge: members that have taken nothing of their queue for a second.
    pub stalled: usize,
    /// Gauge: members for which the room waits ([`Lag::Wait`](crate::Lag::Wait)).
    pub holding_up: usize,
    /// Gauge: HTTP connections, which count as clients here but not for
    /// [`Limits::max_clients`](crate::Limits::max_clients).
    pub http_connections: usize,
    /// Counter: connections that were accepted, including those that were refused. It is always
    /// [`clients`](Self::clients) + [`closed`](Self::closed).
    pub accepted: u64,
    /// Counter: handshakes of clients that were completed (TLS). Those that were not are closed for
    /// [`HandshakeFailed`](CloseReason::HandshakeFailed) or
    /// [`HandshakeTimeout`](CloseReason::HandshakeTimeout).
    pub handshakes: u64,
    /// Connections that have ended, by reason.
    pub(crate) closed_by: [u64; CloseReason::ALL.len()],
    /// Failures of accept(2), by what they mean.
    pub(crate) accept_failures: [u64; AcceptFailure::ALL.len()],
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
    /// Gauge: bytes that are queued for the client that has most.
    pub longest_queue_bytes: usize,
    /// Gauge: bytes that were read and may not be decoded yet.
    pub held_bytes: usize,
    /// Gauge: memory of the buffers that hold them, in bytes. It is what
    /// [`Limits::max_pending_total_bytes`](crate::Limits::max_pending_total_bytes) limits.
    pub buffer_bytes: usize,
    /// Counter: lines of the log that were dropped, because it was not read.
    pub log_lines_dropped: u64,
    /// Counter: turns of the loop.
    pub turns: u64,
    /// The longest turn of all, without its wait for events.
    pub longest_turn: Duration,
    /// How long turns took, without their waits for events.
    pub turn_times: Histogram,
    /// How long lines took, from the beginning of the turn in which they were read to its end. Lines that
    /// wait in a queue after that are not in it.
    pub delivery_times: Histogram,
    /// What is counted of the relay, if there is one.
    pub relay: Option<RelayMetrics>,
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

    /// Counter: connections that could not be accepted, for whatever reason.
    pub fn accept_failed(&self) -> u64 {
        self.accept_failures.iter().sum()
    }

    /// Counter: connections that could not be accepted for this reason.
    pub fn accept_failed_for(&self, failure: AcceptFailure) -> u64 {
        let count = self.accept_failures.get(failure as usize);
        count.copied().unwrap_or(0)
    }

    pub(crate) fn count_accept_failure(&mut self, failure: AcceptFailure) {
        if let Some(count) = self.accept_failures.get_mut(failure as usize) {
            *count = count.saturating_add(1);
        }
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
            "clients {}, members {}, people {}, lagging {}, stalled {}, holding up {}, accepted {}, \
             accept failed {}, closed {}",
            self.clients,
            self.members,
            self.people,
            self.lagging,
            self.stalled,
            self.holding_up,
            self.accepted,
            self.accept_failed(),
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
             pending bytes {}, longest queue {}, held bytes {}, buffer bytes {}; \
             log lines dropped {}, turns {}, longest turn {:.1?}",
            self.lines_in,
            self.deliveries,
            self.lines_skipped,
            self.bytes_in,
            self.bytes_out,
            self.pending_bytes,
            self.longest_queue_bytes,
            self.held_bytes,
            self.buffer_bytes,
            self.log_lines_dropped,
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
        metrics.count_accept_failure(AcceptFailure::NoMemory);
        assert_eq!(metrics.accept_failed_for(AcceptFailure::NoMemory), 1);
        metrics.count_closed(CloseReason::HungUp);
        metrics.count_closed(CloseReason::ServerFull);
        metrics.count_closed(CloseReason::ServerFull);
        assert_eq!(metrics.closed(), 3);
        assert_eq!(metrics.refused(), 2);
        assert_eq!(
            metrics.to_string(),
            "clients 2, members 0, people 0, lagging 0, stalled 0, holding up 0, accepted 5, \
             accept failed 1, closed 3, hung up 1, server is full 2; \
             lines in 7, deliveries 0, lines skipped 0, bytes in 0, bytes out 0, \
             pending bytes 0, longest queue 0, held bytes 0, buffer bytes 0; \
             log lines dropped 0, turns 0, longest turn 1.5ms"
        );
    }
}
