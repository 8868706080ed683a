//! One connection's bytes: [`Io`] owns a stream, what was read from it and may not be decoded yet, and
//! the [queue](send_queue) of what is to be written. It is the only place that reads or writes a
//! stream; it knows no protocol, no room and no other client.
//!
//! Readiness is edge-triggered: an event is reported once, so a reader or writer that stops before
//! `WouldBlock` has to remember that. [`ReadState`] and [`WriteState`] are this memory.
//!
//! | [`ReadState`] | readable event | read fills the buffer | short read | read blocks | no memory | end or error |
//! |---|---|---|---|---|---|---|
//! | `Dry` | `Ready` | - | - | - | - | - |
//! | `Ready` | stays, `to_the_end` if either says so | stays | `Dry`, unless `to_the_end` or the stream holds input | `Dry` | `Starved` | `Eof` |
//! | `Starved` | `Ready`, as it becomes after 100 ms | - | - | - | - | - |
//! | `EndHeld` | stays, until what is held is decoded: `Eof` | - | - | - | - | - |
//! | `Eof` | - | - | - | - | - | - |
//! | `Outlived` | `Outlived`, to be checked | - | - | - | - | - |
//!
//! `Dry` also becomes `Ready` when the pending output of a handshake is sent, and when the write half
//! breaks, because earlier input of the peer may still be there. `Eof` becomes `Outlived` for a client
//! that stays without input: it is not read any more, which would only find the same end again, but it
//! is checked for an error after each event, because otherwise the loss of a client to which nothing is
//! written would never be noticed.

pub(crate) mod liveness;
pub(crate) mod overflow;
pub(crate) mod pool;
pub(crate) mod send_queue;
pub(crate) mod stream;
pub(crate) mod timeouts;

use std::io;
use std::time::{Instant, SystemTime};

use bytes::{Buf, BytesMut};

use crate::broadcast::batch::Lines;
use crate::broadcast::personal::PersonalLine;
use crate::config::Limits;
use crate::metrics::{self, Metrics, ProcessStats, Survey};
use crate::peer::Peer;
use crate::time::moment::{Clock, Moment};
use crate::time::rate_limit::Rate;
use overflow::Overflow;
use pool::Pool;
use send_queue::{Blocked, Pushed, SendQueue, WriteState};
use stream::{Interest, Stream, is_shortage, retry};
use timeouts::STALLED_AFTER;

/// A limit of all buffers that is smaller than this would close clients for a line or two.
const MIN_TOTAL_BYTES: usize = 64 << 10;

/// How far that limit may be exceeded within a turn, in bytes.
const FAR_BYTES: usize = 1 << 20;

/// The shared state of all code that touches a buffer.
#[derive(Debug)]
pub(crate) struct Env {
    /// The time of this turn.
    pub(crate) now: Moment,
    pub(crate) instant: Instant,
    pub(crate) clock: Clock,
    /// Tells the time of day to people who ask for it.
    pub(crate) wall_clock: fn() -> SystemTime,
    /// Makes the tokens that people ask for; `None` where there is no randomness.
    pub(crate) random: fn() -> Option<[u8; 16]>,
    /// Tells what the system knows of the process.
    pub(crate) process_stats: fn() -> Option<ProcessStats>,
    /// Tells how many lines of the log were dropped.
    pub(crate) log_lines_dropped: fn() -> u64,
    pub(crate) limits: Limits,
    /// The rate of lines that `limits` allow.
    pub(crate) line_rate: Rate,
    pub(crate) pool: Pool,
    pub(crate) metrics: Metrics,
    /// The last look at all clients, until the session takes it that has asked for it.
    pub(crate) survey: Option<Survey>,
    /// The server shuts down.
    pub(crate) is_ending: bool,
    /// The memory of all sessions: lines and requests that are arriving.
    session_bytes: usize,
    /// What this turn has queued for single clients, in bytes: everything but the batch.
    pub(crate) turn_reply_bytes: usize,
    /// The number of skipped lines of which the present client was told just now. The caller that knows
    /// the client takes it, for the observer.
    pub(crate) told_skipped: u64,
    /// Where a line is written before it is queued. Empty between two uses.
    pub(crate) scratch_line: Vec<u8>,
}

impl Env {
    pub(crate) fn new(limits: Limits, instant: Instant) -> Self {
        let mut clock = Clock::default();
        Self {
            now: clock.moment(instant),
            instant,
            clock,
            wall_clock: || SystemTime::UNIX_EPOCH,
            random: || None,
            process_stats: || None,
            log_lines_dropped: || 0,
            survey: None,
            is_ending: false,
            line_rate: Rate::new(limits.lines_per_second, limits.burst_lines),
            pool: Pool::default(),
            limits,
            metrics: Metrics::default(),
            session_bytes: 0,
            turn_reply_bytes: 0,
            told_skipped: 0,
            scratch_line: Vec::new(),
        }
    }

    /// Whether all buffers together hold more memory than they may.
    #[inline]
    pub(crate) fn is_over_memory(&self) -> bool {
        let most = self.limits.max_pending_total_bytes;
        most > 0 && self.memory_bytes() > most.max(MIN_TOTAL_BYTES)
    }

    /// Whether they hold so much more that it cannot wait for the end of a pass over all readers. To look
    /// for the client that holds most takes a walk over all of them, which is not taken for each reader.
    #[inline]
    pub(crate) fn is_far_over_memory(&self) -> bool {
        let most = self.limits.max_pending_total_bytes;
        let most = most.max(MIN_TOTAL_BYTES).saturating_add(FAR_BYTES);
        self.limits.max_pending_total_bytes > 0 && self.memory_bytes() > most
    }

    /// How much memory all clients hold besides themselves, in bytes.
    #[inline]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.pool.lent_bytes().saturating_add(self.session_bytes)
    }

    /// A session holds this much memory now, and held that much before.
    #[inline]
    pub(crate) fn count_session(&mut self, before: usize, now: usize) {
        self.session_bytes = self
            .session_bytes
            .saturating_add(now)
            .saturating_sub(before);
    }
}

/// A stream and its two buffers.
#[derive(Debug)]
pub(crate) struct Io<S> {
    pub(crate) stream: S,
    pub(crate) peer: Peer,
    /// Input that was read and may not be decoded yet. While there is any, the stream is not read.
    rd: BytesMut,
    pub(crate) out: SendQueue,
    read: ReadState,
    /// What the poll loop was told last.
    registered: Interest,
}

/// What is known of a stream's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// There is none before the next readable event.
    Dry,
    /// There may be some. `to_the_end`: a short read does not mean that the stream is empty, because
    /// it may have stopped before the end of the stream or at urgent data (tcp(7), SO_OOBINLINE), of
    /// which no further event tells.
    Ready { to_the_end: bool },
    /// The system had no memory to read it (ENOBUFS, ENOMEM). It is tried again by the clock.
    Starved,
    /// The peer has closed its sending half.
    Eof,
    /// So it has, as was found while input was held that stands before the end.
    EndHeld,
    /// So it has, and goes on reading. `to_check`: an event may have told of the end of the connection.
    Outlived { to_check: bool },
}

/// What [`Io::fill`] came back with.
#[derive(Debug)]
pub(crate) enum Fill {
    /// This many bytes of input, at the beginning of the scratch buffer.
    Fresh(usize),
    /// Nothing before the next event.
    Nothing,
    /// The system had no memory for it. What there is has to be read later, to the end.
    Starved,
    /// The peer has sent all that it will ever send.
    End,
    Failed(io::Error),
}

/// What became of a delivery.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// All of it was written at once, as nearly always: nothing is queued or owed.
    AtOnce,
    /// The queue, the poll loop and the reader's state have to be looked at.
    Later(Pushed),
    /// The write half is broken.
    Failed(io::Error),
}

/// What is left after a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    All,
    Blocked,
}

/// How a reader keeps up with what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderState {
    Current,
    /// More than a quarter of its queue was left after a flush.
    Lagging,
    /// It has taken nothing of its queue for a second.
    Stalled,
    /// The room waits for it.
    HoldsUp,
}

impl<S: Stream> Io<S> {
    /// A connection whose stream may have input already: a peer may speak before the first event.
    pub(crate) fn new(stream: S, peer: Peer) -> Self {
        Self {
            stream,
            peer,
            rd: BytesMut::new(),
            out: SendQueue::new(Overflow::Newcomer),
            read: ReadState::Dry,
            registered: Interest::Readable,
        }
    }

    /// An event said that there is input. `to_the_end`: it may be followed by the end of the stream or
    /// by urgent data.
    pub(crate) fn on_readable(&mut self, to_the_end: bool) {
        self.read = match self.read {
            ReadState::Dry => ReadState::Ready { to_the_end },
            ReadState::Ready { to_the_end: before } => ReadState::Ready {
                to_the_end: before | to_the_end,
            },
            // It is not known where the last read would have stopped.
            ReadState::Starved => ReadState::Ready { to_the_end: true },
            ReadState::Eof => ReadState::Eof,
            ReadState::EndHeld => ReadState::EndHeld,
            ReadState::Outlived { .. } => ReadState::Outlived { to_check: true },
        };
    }

    /// Keeps a client whose peer has closed its sending half, and goes on writing to it. Returns
    /// whether that is possible.
    pub(crate) fn outlive_input(&mut self) -> bool {
        self.read = ReadState::Outlived { to_check: true };
        !self.is_write_closed()
    }

    /// An event said that the stream takes output again, or has failed.
    pub(crate) fn on_writable(&mut self) {
        if let WriteState::Blocked { since } | WriteState::Starved { since, .. } = self.out.write {
            self.out.write = WriteState::Retry { since };
        }
    }

    // Reading.

    /// Whether there may be something to decode: held input, or a stream that was not read to its end.
    #[inline]
    pub(crate) fn has_input(&self) -> bool {
        let is_read_due = match self.read {
            ReadState::Ready { .. } | ReadState::EndHeld => true,
            ReadState::Outlived { to_check } => to_check,
            ReadState::Dry | ReadState::Starved | ReadState::Eof => false,
        };
        !self.rd.is_empty() || is_read_due
    }

    /// Whether the system had no memory for the last read.
    pub(crate) fn is_read_starved(&self) -> bool {
        self.read == ReadState::Starved
    }

    /// Input that waits to be decoded.
    pub(crate) fn held(&self) -> &[u8] {
        &self.rd
    }

    /// Whether input waits to be decoded.
    #[inline]
    pub(crate) fn holds_input(&self) -> bool {
        !self.rd.is_empty()
    }

    /// Whether an event told of the end of the stream, or the write half is broken.
    #[inline]
    pub(crate) fn may_be_at_end(&self) -> bool {
        self.read == ReadState::Ready { to_the_end: true }
    }

    /// Whether the end of the stream may stand directly behind what was read last.
    pub(crate) fn may_end_now(&self) -> bool {
        self.rd.is_empty()
            && matches!(
                self.read,
                ReadState::Ready { to_the_end: true } | ReadState::EndHeld
            )
    }

    /// Reads the stream once, into `scratch`.
    pub(crate) fn fill(&mut self, scratch: &mut [u8], env: &mut Env) -> Fill {
        let to_the_end = match self.read {
            ReadState::Ready { to_the_end } => to_the_end,
            ReadState::Outlived { to_check: true } => return self.check(),
            ReadState::EndHeld => {
                self.read = ReadState::Eof;
                return match self.is_write_closed() {
                    true => Fill::Nothing,
                    false => Fill::End,
                };
            }
            ReadState::Outlived { to_check: false }
            | ReadState::Dry
            | ReadState::Starved
            | ReadState::Eof => return Fill::Nothing,
        };
        let was_handshaking = self.stream.is_handshaking();
        let result = retry(|| self.stream.read(scratch));
        if was_handshaking {
            // The write half may have waited for this input.
            self.on_writable();
        }
        match result {
            Ok(0) => {
                self.read = ReadState::Eof;
                Fill::End
            }
            Ok(n) => {
                if n < scratch.len() && !to_the_end && !self.stream.holds_input() {
                    // A short read has emptied the stream: what comes later comes with an event.
                    self.read = ReadState::Dry;
                }
                metrics::count(&mut env.metrics.bytes_in, n as u64);
                Fill::Fresh(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !self.stream.holds_input() {
                    self.read = ReadState::Dry;
                }
                Fill::Nothing
            }
            Err(error) if is_shortage(&error) => {
                self.read = ReadState::Starved;
                Fill::Starved
            }
            Err(error) => {
                self.read = ReadState::Eof;
                Fill::Failed(error)
            }
        }
    }

    /// Reads on although input is held, up to as much as one read returns, because the end of the stream
    /// may stand behind it. Returns whether there may be more to read.
    #[cold]
    pub(crate) fn read_on(&mut self, scratch: &mut [u8], env: &mut Env) -> bool {
        let ReadState::Ready { to_the_end } = self.read else {
            return false;
        };
        let scratch = scratch.get_mut(self.rd.len()..).unwrap_or_default();
        if scratch.is_empty() || self.stream.is_handshaking() {
            return false;
        }
        match retry(|| self.stream.read(scratch)) {
            Ok(0) => self.read = ReadState::EndHeld,
            Ok(n) => {
                if n < scratch.len() && !to_the_end && !self.stream.holds_input() {
                    self.read = ReadState::Dry;
                }
                metrics::count(&mut env.metrics.bytes_in, n as u64);
                self.hold(scratch.get(..n).unwrap_or_default(), env);
                return n < scratch.len() && self.read != ReadState::Dry;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !self.stream.holds_input() {
                    self.read = ReadState::Dry;
                }
            }
            Err(error) if is_shortage(&error) => self.read = ReadState::Starved,
            Err(_) => {
                // What was sent before is decoded before the failure is found again.
                self.close_write(env);
                self.read = ReadState::EndHeld;
            }
        }
        false
    }

    /// Whether the end of the stream was found behind input that is held.
    pub(crate) fn has_end(&self) -> bool {
        self.read == ReadState::EndHeld
    }

    /// Whether the connection to a peer that is no longer read has ended.
    #[cold]
    fn check(&mut self) -> Fill {
        self.read = ReadState::Outlived { to_check: false };
        match retry(|| self.stream.check()) {
            Ok(()) => Fill::Nothing,
            Err(error) => Fill::Failed(error),
        }
    }

    /// Both halves at once: the input (what is held, or else `fresh`) and the queue for what comes of
    /// it.
    #[inline]
    pub(crate) fn halves<'a>(&'a mut self, fresh: &'a [u8]) -> (&'a [u8], &'a mut SendQueue) {
        let input = if self.rd.is_empty() { fresh } else { &self.rd };
        (input, &mut self.out)
    }

    /// The first `used` bytes of that input are decoded.
    #[inline]
    pub(crate) fn consume(&mut self, used: usize, fresh: &mut &[u8], env: &mut Env) {
        if self.rd.is_empty() {
            *fresh = fresh.get(used..).unwrap_or_default();
            return;
        }
        let used = used.min(self.rd.len());
        env.metrics.held_bytes = env.metrics.held_bytes.saturating_sub(used);
        self.rd.advance(used);
        if self.rd.is_empty() {
            env.pool.take_back(&mut self.rd);
        }
    }

    /// Keeps input that may not be decoded yet for a later turn. What is held already stays where it
    /// is.
    pub(crate) fn hold(&mut self, fresh: &[u8], env: &mut Env) {
        if !fresh.is_empty() {
            env.metrics.held_bytes = env.metrics.held_bytes.saturating_add(fresh.len());
            env.pool.append(&mut self.rd, fresh, env.limits.read_bytes);
        }
    }

    pub(crate) fn drop_input(&mut self, env: &mut Env) {
        if self.rd.is_empty() {
            return;
        }
        env.metrics.held_bytes = env.metrics.held_bytes.saturating_sub(self.rd.len());
        env.pool.take_back(&mut self.rd);
    }

    // Writing.

    /// Appends lines of the room and writes them if nothing stands before them: one copy, one write,
    /// and the memory is the next reader's. Everything unusual takes the long way, and what the stream
    /// does not take stays queued.
    #[inline]
    pub(crate) fn deliver(&mut self, lines: &Lines<'_>, env: &mut Env) -> Delivered {
        if !self.takes_at_once(lines.bytes.len(), env) {
            return Delivered::Later(self.out.push_batch(*lines, env));
        }
        let most = env.limits.max_pending_bytes;
        env.pool.append_hot(lines.bytes, most);
        self.write_hot(lines.count, env)
    }

    /// [`deliver`](Self::deliver) for lines that do not stand together, of at most `most_bytes`.
    #[inline(never)]
    pub(crate) fn deliver_pieces<'b>(
        &mut self,
        pieces: impl Iterator<Item = Lines<'b>>,
        most_bytes: usize,
        env: &mut Env,
    ) -> Delivered {
        if !self.takes_at_once(most_bytes, env) {
            return Delivered::Later(self.push_pieces(pieces, env));
        }
        let most = env.limits.max_pending_bytes;
        let mut count = 0_usize;
        for lines in pieces {
            env.pool.append_hot(lines.bytes, most);
            count = count.saturating_add(lines.count);
        }
        self.write_hot(count, env)
    }

    /// [`deliver`](Self::deliver) for lines as one person sees them, which take at most `most_bytes`.
    #[inline(never)]
    pub(crate) fn deliver_personal<'b>(
        &mut self,
        lines: impl Iterator<Item = PersonalLine<'b>>,
        most_bytes: usize,
        env: &mut Env,
    ) -> Delivered {
        let takes_at_once = self.takes_at_once(most_bytes, env);
        let (most, columns) = (env.limits.max_pending_bytes, self.out.columns());
        let (mut count, mut worst) = (0_usize, Pushed::Queued);
        for line in lines {
            if takes_at_once {
                line.write(columns, |piece| env.pool.append_hot(piece, most));
                count = count.saturating_add(1);
            } else if worst != Pushed::Full {
                worst = worst.max(self.out.push_personal(&line, env));
            }
        }
        match (takes_at_once, count) {
            // No line is for this reader.
            (true, 0) => Delivered::AtOnce,
            (true, _) => self.write_hot(count, env),
            (false, _) => Delivered::Later(worst),
        }
    }

    /// Whether that many bytes need not be queued. Even bulk lines may fill half of an empty queue.
    #[inline]
    fn takes_at_once(&self, bytes: usize, env: &Env) -> bool {
        self.out.is_calm()
            && !self.stream.owes_output()
            && bytes <= env.limits.max_pending_bytes / 2
    }

    /// Writes these lines, which were appended to a buffer that is lent to this reader. It becomes the
    /// reader's queue only if something is left.
    #[inline]
    fn write_hot(&mut self, lines: usize, env: &mut Env) -> Delivered {
        metrics::count(&mut env.metrics.deliveries, lines as u64);
        let hot = &mut env.pool.hot;
        match retry(|| self.stream.write(hot)) {
            Ok(n) if n == hot.len() && !self.stream.owes_output() => {
                hot.clear();
                metrics::count(&mut env.metrics.bytes_out, n as u64);
                Delivered::AtOnce
            }
            written => self.keep_rest(written, env),
        }
    }

    fn push_pieces<'b>(
        &mut self,
        pieces: impl Iterator<Item = Lines<'b>>,
        env: &mut Env,
    ) -> Pushed {
        let mut worst = Pushed::Queued;
        for lines in pieces {
            match self.out.push_batch(lines, env) {
                Pushed::Queued => {}
                Pushed::Skipped => worst = Pushed::Skipped,
                Pushed::Full => return Pushed::Full,
            }
        }
        worst
    }

    #[cold]
    fn keep_rest(&mut self, written: io::Result<usize>, env: &mut Env) -> Delivered {
        // It is queued, and counted, whatever came of the write.
        env.pool.lend_hot(&mut self.out.buf);
        env.metrics.pending_bytes = env.metrics.pending_bytes.saturating_add(self.out.buf.len());
        self.out.note_memory();
        match taken(written) {
            Ok(taken) => {
                self.out.consume(taken.bytes, env);
                self.out.block(taken.blocked(taken.bytes > 0), env.now);
                Delivered::Later(Pushed::Queued)
            }
            Err(error) => {
                self.out.write = WriteState::Closed;
                Delivered::Failed(error)
            }
        }
    }

    /// Whether there is something to write and a chance that the stream takes it.
    #[inline]
    pub(crate) fn can_flush(&self) -> bool {
        let is_tried = matches!(self.out.write, WriteState::Open | WriteState::Retry { .. });
        is_tried && (!self.out.buf.is_empty() || self.stream.owes_output())
    }

    /// Writes all that is queued with one call, and what the stream owes. What is not taken waits for
    /// an event.
    ///
    /// # Errors
    /// The write half is broken, and is not tried again.
    pub(crate) fn flush(&mut self, env: &mut Env) -> io::Result<Flushed> {
        if !self.can_flush() {
            return Ok(self.flushed());
        }
        let flushed = self.try_flush(env);
        flushed.inspect_err(|_| self.out.write = WriteState::Closed)
    }

    fn try_flush(&mut self, env: &mut Env) -> io::Result<Flushed> {
        let owed_in_handshake = self.stream.is_handshaking() && self.stream.owes_output();
        let mut blocked = Blocked::default();
        if !self.out.buf.is_empty() {
            let taken = taken(retry(|| self.stream.write(&self.out.buf)))?;
            blocked = taken.blocked(taken.bytes > 0);
            self.out.consume(taken.bytes, env);
        }
        if self.stream.owes_output() {
            match retry(|| self.stream.flush()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_shortage(&error) => blocked.is_starved = true,
                Err(error) => return Err(error),
            }
        }
        if owed_in_handshake && !self.stream.owes_output() {
            // The read half may have waited for this output, and no event tells.
            self.on_readable(false);
        }
        if self.out.buf.is_empty() && !self.stream.owes_output() {
            self.out.write = WriteState::Open;
        } else {
            self.out.block(blocked, env.now);
        }
        Ok(self.flushed())
    }

    fn flushed(&self) -> Flushed {
        match self.is_flushed() {
            true => Flushed::All,
            false => Flushed::Blocked,
        }
    }

    /// Whether nothing is left that can be written. What a broken stream owes never can.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.write == WriteState::Closed
            || (self.out.buf.is_empty() && !self.stream.owes_output())
    }

    /// After a flush: queues the notice of what was left out if there is room for more again.
    pub(crate) fn resume(&mut self, env: &mut Env) {
        self.out.resume(env);
    }

    /// Announces that nothing more will be written. `Blocked` if that takes another turn.
    ///
    /// # Errors
    /// The peer is gone.
    pub(crate) fn shut_down_write(&mut self, env: &Env) -> io::Result<Flushed> {
        let write = self.out.write;
        if matches!(
            write,
            WriteState::Blocked { .. } | WriteState::Starved { .. }
        ) {
            return Ok(Flushed::Blocked);
        }
        match retry(|| self.stream.shutdown_write()) {
            Ok(()) => {
                self.out.write = WriteState::Open;
                Ok(Flushed::All)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.out.block(Blocked::default(), env.now);
                Ok(Flushed::Blocked)
            }
            Err(error) if is_shortage(&error) => {
                let is_starved = true;
                let progress = false;
                let blocked = Blocked {
                    progress,
                    is_starved,
                };
                self.out.block(blocked, env.now);
                Ok(Flushed::Blocked)
            }
            Err(error) => Err(error),
        }
    }

    /// The write half is broken: what is queued is lost, and nothing more is queued. What the peer has
    /// sent before may still be there.
    pub(crate) fn close_write(&mut self, env: &mut Env) {
        self.out.drop_output(env);
        self.out.set_overflow(Overflow::Disconnect);
        self.out.write = WriteState::Closed;
        self.on_readable(true);
    }

    /// Whether the write half is broken.
    pub(crate) fn is_write_closed(&self) -> bool {
        self.out.write == WriteState::Closed
    }

    /// Whether the peer can be told that nothing more will come, and would not know it otherwise.
    pub(crate) fn announces_end(&self) -> bool {
        !self.is_write_closed() && self.stream.announces_end()
    }

    /// Whether there is a peer that may still send something.
    pub(crate) fn can_linger(&self) -> bool {
        let has_ended = matches!(
            self.read,
            ReadState::Eof | ReadState::EndHeld | ReadState::Outlived { .. }
        );
        !has_ended && !self.is_write_closed()
    }

    /// The readiness that it waits for, if the poll loop has to be told. It is computed, not
    /// remembered.
    #[inline]
    pub(crate) fn new_interest(&mut self) -> Option<Interest> {
        let wanted = match self.out.write {
            WriteState::Blocked { .. } => Interest::ReadableAndWritable,
            WriteState::Open
            | WriteState::Starved { .. }
            | WriteState::Retry { .. }
            | WriteState::Closed => Interest::Readable,
        };
        let registered = std::mem::replace(&mut self.registered, wanted);
        (wanted != registered).then_some(wanted)
    }

    /// Whether nothing is queued and left out, and nothing stands in the way of writing.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.out.is_calm()
    }

    /// How the reader keeps up, now that what could be written was written.
    #[inline]
    pub(crate) fn reader_state(&self, env: &Env) -> ReaderState {
        if self.out.holds_up() {
            return ReaderState::HoldsUp;
        }
        match self.out.blocked_since() {
            Some(since) if env.now >= since + STALLED_AFTER => ReaderState::Stalled,
            _ if self.out.len_bytes() > env.limits.max_pending_bytes / 4 => ReaderState::Lagging,
            _ => ReaderState::Current,
        }
    }

    /// Whether the peer was dialed and has not been reached.
    pub(crate) fn is_connecting(&self) -> bool {
        self.stream.is_connecting()
    }

    /// How much memory its buffers hold, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.rd.capacity().saturating_add(self.out.memory_bytes())
    }

    /// Gives back all memory that can be spared, and takes no more but last words.
    pub(crate) fn shed(&mut self, env: &mut Env) {
        self.drop_input(env);
        self.out.cut(env);
        self.out.set_overflow(Overflow::Sealed);
    }

    /// Whether all memory was given back that can be spared.
    pub(crate) fn is_shed(&self) -> bool {
        matches!(self.out.overflow(), Overflow::Sealed)
    }

    /// Gives up what is queued, last words included, and what is still to come.
    pub(crate) fn give_up(&mut self, env: &mut Env) {
        self.drop_input(env);
        self.close_write(env);
    }

    /// Gives all memory back; what is in it is lost.
    pub(crate) fn release(&mut self, env: &mut Env) {
        self.drop_input(env);
        self.out.drop_output(env);
    }
}

/// How much of what was offered a stream took.
struct Taken {
    bytes: usize,
    /// The system had no memory for more.
    is_starved: bool,
}

impl Taken {
    fn blocked(&self, progress: bool) -> Blocked {
        Blocked {
            progress,
            is_starved: self.is_starved,
        }
    }
}

fn taken(written: io::Result<usize>) -> io::Result<Taken> {
    let (bytes, is_starved) = match written {
        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
        Ok(bytes) => (bytes, false),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, false),
        Err(error) if is_shortage(&error) => (0, true),
        Err(error) => return Err(error),
    };
    Ok(Taken { bytes, is_starved })
}
