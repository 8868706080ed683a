//! One client's end of the wire: [`Connection`] owns its stream, what was read from it and may not
//! be heard yet (`rd`), and what is queued for it (`wr`). It is the only place that reads or writes
//! a stream (the writing half is in `queueing`); it knows nothing of rooms, nicks or other clients.
//!
//! Readiness comes in edges: an event is said once, so whoever stops before WouldBlock has to
//! remember that. Here this memory is two flags, `unread` and `blocked`.

pub(crate) mod overflow;
pub(crate) mod pool;
pub(crate) mod send_queue;
pub(crate) mod timeouts;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;

use crate::config::Limits;
use crate::config::interactive::Mode;
use crate::conn::overflow::{Skips, Voice};
use crate::conn::pool::Pool;
use crate::metrics::Metrics;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::decoder::Decoder;
use crate::time::moment::Moment;
use crate::time::rate_limit::Bucket;
use crate::time::timer_queue::Alarm;

/// Who has taken nothing of its queue for so long is stalled: nobody waits for it.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(1);

/// How long it takes to read 64 KiB of chat, at 64 KiB a second: who has said more is loud.
const LOUD_AFTER: Duration = Duration::from_secs(1);

/// Who has been silent for the difference is no longer loud, whatever it has said before.
const LOUD_AT_MOST: Duration = Duration::from_secs(2);

/// What a byte that was said costs: 1/65536 s.
const SAYING_NANOS: u64 = 1_000_000_000 / (64 << 10);

/// A non-blocking byte stream with two halves, such as a TCP socket. `read` and `write` give
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when they have to wait for readiness.
pub trait Stream: Read + Write {
    /// Says that nothing more will be written; what was written still arrives (shutdown(2),
    /// `SHUT_WR`).
    ///
    /// # Errors
    /// Fails if the peer is gone already.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// The readiness that a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Input, or the end of it.
    Readable,
    /// That, and room for what could not be written.
    ReadableAndWritable,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) pool: Pool,
    pub(crate) metrics: Metrics,
}

/// Where a connection is in its life. It only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its next line is taken as the password of the room.
    Password { refusals: u8 },
    /// Its next line is taken as its nick.
    Login { refusals: u8 },
    /// Its lines go to the room.
    Member,
    /// It has left: nothing more is heard from it, and what is queued is written.
    Draining,
    /// All is written and our half is shut down. Input is thrown away until the peer closes as
    /// well, because a close with unread input sends RST, and the peer would lose what it has
    /// not read yet.
    Lingering { discarded_bytes: u32 },
    /// To be freed at the end of the turn.
    Closed,
}

/// How a member keeps up with what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    KeepsUp,
    /// More than a quarter of its queue was left after a flush.
    Behind,
    /// It has taken nothing of its queue for a second.
    Stalled,
}

/// What [`Connection::fill`] came back with.
#[derive(Debug)]
pub(crate) enum Fill {
    /// So many bytes of input, at the beginning of the scratch buffer.
    Bytes(usize),
    /// Nothing before the next readiness event.
    Nothing,
    /// The peer has sent all that it will ever send.
    End,
    Failed(io::Error),
}

/// A client's stream, its two buffers, and what has to be remembered between events.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) stream: S,
    pub(crate) peer: SocketAddr,
    /// Input that was read but may not be heard yet: at most one read of it. While there is any,
    /// the stream is not read.
    rd: BytesMut,
    /// Output in the order of its queueing, whole lines and telnet answers. It has memory only
    /// while there is some.
    pub(crate) wr: BytesMut,
    pub(crate) decoder: Decoder,
    pub(crate) phase: Phase,
    /// What it is sent beside what others say.
    pub(crate) mode: Mode,
    /// Why it ends, once that is known; the first reason counts.
    pub(crate) reason: Option<CloseReason>,
    /// The stream may hold input: there was no WouldBlock since the last event that said so.
    unread: bool,
    /// A short read does not mean that the stream is empty, because it may have stopped before an
    /// end of stream or at urgent data (tcp(7), SO_OOBINLINE), which no further event would
    /// tell.
    read_on: bool,
    /// The peer has sent FIN.
    ended: bool,
    /// The stream took less than it was offered; it is not tried again before its event.
    pub(crate) blocked: bool,
    /// The stream takes nothing any more. What the peer has sent before may still be there.
    pub(crate) is_deaf: bool,
    /// What the poll loop was told last.
    pub(crate) interest: Interest,
    /// On the chat's ready list.
    pub(crate) listed_ready: bool,
    /// On the chat's dirty list.
    pub(crate) listed_dirty: bool,
    /// Kept in the chat's [`Pressure`](crate::engine::backpressure::Pressure), if it is a member.
    pub(crate) standing: Standing,
    /// Since when its phase lasts; for a member, since when it has sent nothing.
    pub(crate) since: Moment,
    /// Since when it has taken nothing of what is queued for it, if anything is.
    pub(crate) waiting_since: Option<Moment>,
    /// Since when it has had more queued than the limit, where that holds up the room.
    pub(crate) over_since: Option<Moment>,
    /// When it may be heard again, if it has said more than it may.
    pub(crate) heard_at: Option<Moment>,
    pub(crate) skips: Skips,
    /// What it has said, in bytes, against what can be read.
    said: Bucket,
    /// What it has said, in lines, against the rate that is allowed.
    pub(crate) lines_said: Bucket,
    /// When its deadlines are looked at.
    pub(crate) alarm: Alarm,
}

impl<S: Stream> Connection<S> {
    pub(crate) fn new(
        stream: S,
        peer: SocketAddr,
        mode: Mode,
        max_line_bytes: usize,
        now: Moment,
    ) -> Self {
        let mut decoder = Decoder::new(max_line_bytes);
        if mode == Mode::Interactive {
            decoder = decoder.with_line_editing();
        }
        Self {
            stream,
            peer,
            rd: BytesMut::new(),
            wr: BytesMut::new(),
            decoder,
            phase: Phase::Login { refusals: 0 },
            mode,
            reason: None,
            unread: false,
            read_on: false,
            ended: false,
            blocked: false,
            is_deaf: false,
            interest: Interest::Readable,
            listed_ready: false,
            listed_dirty: false,
            standing: Standing::KeepsUp,
            since: now,
            waiting_since: None,
            over_since: None,
            heard_at: None,
            skips: Skips::default(),
            said: Bucket::default(),
            lines_said: Bucket::default(),
            alarm: Alarm::default(),
        }
    }

    /// An event said that there is input. `read_on`: it may be followed by an end of stream or by
    /// urgent data.
    pub(crate) fn mark_readable(&mut self, read_on: bool) {
        self.unread = true;
        self.read_on |= read_on;
    }

    /// An event said that the stream takes output again.
    pub(crate) fn mark_writable(&mut self) {
        self.blocked = false;
    }

    /// It has something to say, now.
    pub(crate) fn be_active(&mut self, now: Moment) {
        self.since = now;
    }

    pub(crate) fn enter(&mut self, phase: Phase, now: Moment) {
        self.phase = phase;
        self.since = now;
    }

    /// Whether its lines are heard.
    pub(crate) fn is_listened_to(&self) -> bool {
        matches!(
            self.phase,
            Phase::Password { .. } | Phase::Login { .. } | Phase::Member
        )
    }

    /// Whether there may be something to [`fill`](Self::fill) with, and somebody to take it.
    pub(crate) fn wants_turn(&self) -> bool {
        match self.phase {
            Phase::Password { .. } | Phase::Login { .. } | Phase::Member => {
                self.unread || !self.rd.is_empty()
            }
            Phase::Lingering { .. } => self.unread,
            Phase::Draining | Phase::Closed => false,
        }
    }

    /// Whether something is queued and may be tried. A stream that failed or has had its time is
    /// not tried again, though it may still be on the dirty list.
    pub(crate) fn can_flush(&self) -> bool {
        !self.wr.is_empty() && !self.blocked && self.phase != Phase::Closed
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.wr.is_empty()
    }

    /// How many bytes are queued.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.wr.len()
    }

    /// Says that nothing more will be written. Whether there is a peer that may still write.
    pub(crate) fn shut_write(&mut self) -> bool {
        !self.ended && !self.is_deaf && self.stream.shutdown_write().is_ok()
    }

    /// Whether what was read last may not be all that is there, although it was less than was asked
    /// for.
    pub(crate) fn must_read_on(&self) -> bool {
        self.is_listened_to() && self.read_on && self.unread && self.rd.is_empty()
    }

    /// The readiness that it waits for now.
    pub(crate) fn wanted_interest(&self) -> Interest {
        if self.blocked {
            Interest::ReadableAndWritable
        } else {
            Interest::Readable
        }
    }

    // Reading.

    /// Puts the next input into `scratch`: what was held back before, or else one read of the
    /// stream.
    pub(crate) fn fill(&mut self, scratch: &mut [u8], shared: &mut Shared, now: Moment) -> Fill {
        if !self.rd.is_empty() {
            let held = self.rd.len();
            scratch[..held].copy_from_slice(&self.rd);
            self.drop_input(shared);
            return Fill::Bytes(held);
        }
        let filled = self.read(scratch);
        if let Fill::Bytes(n) = filled {
            shared.metrics.bytes_in += n as u64;
            if self.phase == Phase::Member {
                self.since = now;
            }
        }
        filled
    }

    fn read(&mut self, scratch: &mut [u8]) -> Fill {
        match retry(|| self.stream.read(scratch)) {
            Ok(0) => {
                self.unread = false;
                self.ended = true;
                Fill::End
            }
            Ok(n) => {
                // A short read has emptied the stream: what comes later comes with an event.
                self.unread = n == scratch.len() || self.read_on;
                Fill::Bytes(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.unread = false;
                self.read_on = false;
                Fill::Nothing
            }
            Err(error) => Fill::Failed(error),
        }
    }

    /// Keeps input that may not be heard yet for a later turn.
    pub(crate) fn hold(&mut self, input: &[u8], shared: &mut Shared) {
        debug_assert!(self.rd.is_empty(), "one read at a time");
        if !input.is_empty() {
            let most = shared.limits.read_bytes;
            shared.pool.append(&mut self.rd, input, most);
            shared.metrics.held_bytes += input.len();
        }
    }

    /// Drops what was read and is not heard.
    pub(crate) fn drop_input(&mut self, shared: &mut Shared) {
        shared.metrics.held_bytes -= self.rd.len();
        shared.pool.take_back(&mut self.rd);
    }

    // Speaking.

    /// It has caused `bytes` bytes of work for others, or for the server.
    pub(crate) fn has_said(&mut self, bytes: usize, now: Moment) {
        let cost = Duration::from_nanos((bytes as u64).saturating_mul(SAYING_NANOS));
        self.said.take(now, cost, LOUD_AT_MOST);
    }

    pub(crate) fn voice(&self, now: Moment) -> Voice {
        if self.said.missing(now) > LOUD_AFTER {
            Voice::Loud
        } else {
            Voice::Quiet
        }
    }

    /// When a loud speaker is quiet again, if it says nothing more.
    pub(crate) fn quiet_at(&self) -> Option<Moment> {
        self.said.refilled_to(LOUD_AFTER)
    }
}

/// Calls again what a signal interrupted (EINTR).
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
