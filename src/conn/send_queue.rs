//! What is to be written to one client: [`SendQueue`] holds it in order, whole lines and telnet
//! answers. The limit is checked at the append, by one verdict for each line or for a whole batch, so
//! no queue grows beyond it but by a few last words and by what a waiting room says in one turn.
//!
//! The queue has to know how its stream takes output:
//!
//! | [`WriteState`] | all taken, nothing owed | a rest or a debt | no memory | shutdown blocks | writable event | its time has come | error |
//! |---|---|---|---|---|---|---|---|
//! | `Open` | `Open` | `Blocked` since now | `Starved` since now | `Blocked` since now | - | - | `Closed` |
//! | `Blocked` | not tried | not tried | - | - | `Retry` | - | `Closed` |
//! | `Starved` | not tried | not tried | - | - | `Retry` | `Retry` | `Closed` |
//! | `Retry` | `Open` | `Blocked`, since now if bytes were taken, else since before | `Starved`, likewise | `Blocked` | - | - | `Closed` |
//! | `Closed` | what is pushed is dropped | - | - | - | - | - | - |

use std::time::Duration;

use bytes::{Buf, BytesMut};

use crate::broadcast::batch::{Lines, with_lf};
use crate::broadcast::personal::{PersonalLine, Piece};
use crate::config::addr::Eol;
use crate::conn::Env;
use crate::conn::overflow::{Content, Overflow, Verdict, content_of, skipped_in, skipped_notice};
use crate::metrics;
use crate::protocol::layout::{Columns, each_line};
use crate::protocol::message::Message;
use crate::protocol::telnet;
use crate::time::moment::Moment;

/// A buffer of at least this many bytes is exchanged for a smaller one when three quarters of it are
/// not needed any more.
const SHRINK_BYTES: usize = 32 << 10;

/// The shortest and the longest wait for the system to have memory again.
const MIN_STARVED: Duration = Duration::from_millis(10);
const MAX_STARVED: Duration = Duration::from_secs(1);

/// Output on its way to one client.
#[derive(Debug)]
pub(crate) struct SendQueue {
    /// In the order of pushing. It has memory only while there is something in it.
    pub(super) buf: BytesMut,
    pub(super) write: WriteState,
    overflow: Overflow,
    /// The line end. Lines of the room arrive with that end already.
    eol: Eol,
    /// How long lines of the server's own may be.
    columns: Columns,
    /// The memory of `buf`, in bytes. Its own capacity does not show what was consumed from the front.
    memory_bytes: u32,
}

/// How the write half of a stream takes output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteState {
    /// The stream is written as soon as there is something to write.
    Open,
    /// It has not taken everything, and is not tried before the next writable event. The queue may be
    /// empty all the same: the stream owes output, or shuts down.
    Blocked { since: Moment },
    /// The system had no memory for it. That is nobody's fault and no event tells when there is some, so
    /// it is tried again so many milliseconds after `since`.
    Starved { since: Moment, for_millis: u32 },
    /// The writable event has come. Whether it helps is not known yet.
    Retry { since: Moment },
    /// It is broken: whatever is pushed is dropped.
    Closed,
}

/// How a stream left something unwritten.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Blocked {
    /// It took some bytes.
    pub(super) progress: bool,
    /// The system had no memory for the rest.
    pub(super) is_starved: bool,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pushed {
    /// It is queued, or there is nobody to queue it for.
    Queued,
    /// It was left out, and the reader will be told.
    Skipped,
    /// It does not fit and must not be left out: the client must be closed.
    Full,
}

impl SendQueue {
    pub(crate) fn new(overflow: Overflow) -> Self {
        Self {
            buf: BytesMut::new(),
            write: WriteState::Open,
            overflow,
            eol: Eol::CrLf,
            columns: Columns::UNBROKEN,
            memory_bytes: 0,
        }
    }

    pub(crate) fn eol(&self) -> Eol {
        self.eol
    }

    /// Changes the line end.
    pub(crate) fn set_eol(&mut self, eol: Eol) {
        self.eol = eol;
    }

    /// How long lines of the server's own may be.
    pub(crate) fn columns(&self) -> Columns {
        self.columns
    }

    /// Changes how long lines of the server's own may be.
    pub(crate) fn set_columns(&mut self, columns: Columns) {
        self.columns = columns;
    }

    /// Changes the rule for a full queue, and resets the count of skipped lines.
    pub(crate) fn set_overflow(&mut self, overflow: Overflow) {
        self.overflow = overflow;
    }

    /// Whether the room waits for this reader.
    #[inline]
    pub(crate) fn holds_up(&self) -> bool {
        let Overflow::Wait { over_since, .. } = &self.overflow else {
            return false;
        };
        over_since.is_some()
    }

    pub(crate) fn overflow(&self) -> &Overflow {
        &self.overflow
    }

    /// How many bytes are queued.
    #[inline]
    pub(crate) fn len_bytes(&self) -> usize {
        self.buf.len()
    }

    /// How many lines are queued, or were left out without the reader being told. A queued notice counts
    /// as the lines of which it tells, unless a part of it was sent.
    pub(crate) fn lines_unwritten(&self) -> u64 {
        let lines = self.buf.split_inclusive(|&byte| byte == b'\n');
        let lines = lines.map(|line| skipped_in(line).unwrap_or(1));
        lines.fold(self.overflow.untold(), u64::saturating_add)
    }

    /// How much memory it holds, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes as usize
    }

    /// Since when the stream has taken nothing, if it was offered something.
    #[inline]
    pub(crate) fn blocked_since(&self) -> Option<Moment> {
        match self.write {
            WriteState::Blocked { since }
            | WriteState::Starved { since, .. }
            | WriteState::Retry { since } => Some(since),
            WriteState::Open | WriteState::Closed => None,
        }
    }

    /// When writing is to be tried again although no event says so.
    pub(crate) fn retry_at(&self) -> Option<Moment> {
        match self.write {
            WriteState::Starved { since, for_millis } => {
                Some(since + Duration::from_millis(for_millis.into()))
            }
            _ => None,
        }
    }

    /// The stream has not taken everything, or owes output.
    pub(super) fn block(&mut self, blocked: Blocked, now: Moment) {
        let since = self.blocked_since().filter(|_| !blocked.progress);
        let since = since.unwrap_or(now);
        self.write = match blocked.is_starved {
            false => WriteState::Blocked { since },
            // After 10 ms, and each time after twice as long, up to a second more.
            true => {
                let starved = now.saturating_since(since);
                let wait = starved.clamp(MIN_STARVED, MAX_STARVED);
                let wait = starved.saturating_add(wait).as_millis();
                // Rounded up, so that no wait is too short.
                let for_millis = u32::try_from(wait).unwrap_or(u32::MAX).saturating_add(1);
                WriteState::Starved { since, for_millis }
            }
        };
    }

    /// Whether nothing is queued and nothing stands in the way of writing: the common case, in which
    /// nothing else has to be looked at.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.buf.is_empty() && self.write == WriteState::Open && self.overflow.is_calm()
    }

    /// Queues all of `bytes` or none of them.
    pub(crate) fn push(&mut self, bytes: &[u8], content: Content, env: &mut Env) -> Pushed {
        env.turn_reply_bytes = env.turn_reply_bytes.saturating_add(bytes.len());
        self.push_one(bytes, content, env)
    }

    /// Queues a line of the server's own words, broken at words where it is too long for this client.
    pub(crate) fn push_reply(&mut self, line: &[u8], env: &mut Env) -> Pushed {
        let mut worst = Pushed::Queued;
        each_line(line, self.columns, |line| {
            if worst != Pushed::Full {
                worst = worst.max(self.push(line, Content::Reply, env));
            }
        });
        worst
    }

    fn push_one(&mut self, bytes: &[u8], content: Content, env: &mut Env) -> Pushed {
        if self.write == WriteState::Closed {
            return Pushed::Queued;
        }
        let (queued, limit) = (self.buf.len(), env.limits.max_pending_bytes);
        let overflow = &mut self.overflow;
        match overflow.verdict(queued, bytes.len(), content, env.now, limit, self.columns) {
            Verdict::Append => {
                if content != Content::Telnet {
                    self.tell_skipped(env);
                }
                self.append_lines(bytes, env);
                env.metrics.deliveries = env
                    .metrics
                    .deliveries
                    .saturating_add(u64::from(matches!(content, Content::Line(_))));
                Pushed::Queued
            }
            Verdict::Skip => {
                env.metrics.lines_skipped = env.metrics.lines_skipped.saturating_add(1);
                Pushed::Skipped
            }
            Verdict::Refuse => Pushed::Full,
        }
    }

    /// Queues what a member is given.
    pub(crate) fn push_piece(&mut self, piece: Piece<'_>, env: &mut Env) -> Pushed {
        match piece {
            Piece::Lines(lines) => self.push_batch(lines, env),
            Piece::Personal(line) => self.push_personal(&line, env),
        }
    }

    /// Queues a line as one person sees it.
    #[cold]
    pub(crate) fn push_personal(&mut self, line: &PersonalLine<'_>, env: &mut Env) -> Pushed {
        let mut whole = std::mem::take(&mut env.scratch_line);
        whole.clear();
        line.write(self.columns, |piece| whole.extend_from_slice(piece));
        let pushed = self.push_one(&whole, content_of(line.kind, line.class), env);
        env.scratch_line = whole;
        pushed
    }

    /// Queues lines of the room: all at once if all fit, counted if all are being left out, else line
    /// by line.
    #[inline]
    pub(crate) fn push_batch(&mut self, lines: Lines<'_>, env: &mut Env) -> Pushed {
        if self.write == WriteState::Closed {
            return Pushed::Queued;
        }
        if self.admits_all(&lines, env) {
            self.append(lines.bytes, env);
            metrics::count(&mut env.metrics.deliveries, lines.count as u64);
            return Pushed::Queued;
        }
        self.push_segments(lines, env)
    }

    #[inline]
    pub(super) fn admits_all(&self, lines: &Lines<'_>, env: &Env) -> bool {
        self.overflow.admits_all(self.buf.len(), lines, &env.limits)
    }

    #[cold]
    fn push_segments(&mut self, lines: Lines<'_>, env: &mut Env) -> Pushed {
        let mut worst = Pushed::Queued;
        for (lines, kind, class) in lines.segments() {
            let (queued, len) = (self.buf.len(), lines.bytes.len());
            let limit = env.limits.max_pending_bytes;
            if self.overflow.skips_all(queued, len, class, limit) {
                if !self.overflow.count_skipped(lines.count) {
                    return Pushed::Full;
                }
                env.metrics.lines_skipped =
                    env.metrics.lines_skipped.saturating_add(lines.count as u64);
                worst = Pushed::Skipped;
                continue;
            }
            for line in lines.each() {
                match self.push_one(line, content_of(kind, class), env) {
                    Pushed::Queued => {}
                    Pushed::Skipped => worst = Pushed::Skipped,
                    Pushed::Full => return Pushed::Full,
                }
            }
        }
        worst
    }

    /// Queues last words, even beyond the limit, because nothing comes behind them.
    pub(crate) fn push_last(&mut self, words: &[u8], env: &mut Env) {
        if self.write != WriteState::Closed {
            self.tell_skipped(env);
            each_line(words, self.columns, |line| self.append_lines(line, env));
        }
    }

    /// Queues a notice with the number of skipped lines, if the reader was not told yet. The notice may
    /// exceed the limit, as a telnet answer may.
    pub(crate) fn tell_skipped(&mut self, env: &mut Env) {
        let untold = self.overflow.untold();
        if untold > 0 && self.write != WriteState::Closed {
            let notice = skipped_notice(untold, self.columns);
            each_line(&notice, self.columns, |line| self.append_lines(line, env));
            self.overflow.forget_untold();
            env.told_skipped = env.told_skipped.saturating_add(untold);
        }
    }

    /// Queues a message as the last words to the client.
    pub(crate) fn push_last_message(&mut self, message: Message<'_>, env: &mut Env) {
        let mut words = std::mem::take(&mut env.scratch_line);
        words.clear();
        message.write(&mut words);
        self.push_last(&words, env);
        env.scratch_line = words;
    }

    /// After a flush: if there is room again, queues the notice of what was left out.
    pub(super) fn resume(&mut self, env: &mut Env) {
        let limit = env.limits.max_pending_bytes;
        if self.overflow.resume(self.buf.len(), limit) {
            self.tell_skipped(env);
        }
    }

    /// Appends lines of the server's own, with the line end of this client.
    #[inline]
    fn append_lines(&mut self, lines: &[u8], env: &mut Env) {
        match self.eol {
            Eol::CrLf => self.append(lines, env),
            Eol::Lf => with_lf(lines).for_each(|part| self.append(part, env)),
        }
    }

    #[inline]
    fn append(&mut self, bytes: &[u8], env: &mut Env) {
        env.pool
            .append(&mut self.buf, bytes, env.limits.max_pending_bytes);
        env.metrics.pending_bytes = env.metrics.pending_bytes.saturating_add(bytes.len());
        self.note_memory();
    }

    /// A buffer shows all of its memory when it has just been filled or moved.
    #[inline]
    pub(super) fn note_memory(&mut self) {
        let capacity = u32::try_from(self.buf.capacity()).unwrap_or(u32::MAX);
        self.memory_bytes = self.memory_bytes.max(capacity);
    }

    /// Drops what is queued, up to the end of the line or telnet answer that may have been sent in
    /// part, and gives the memory back. What was left out is no longer counted: nothing comes behind this.
    pub(crate) fn cut(&mut self, env: &mut Env) {
        let keep = match memchr::memchr(b'\n', &self.buf) {
            Some(end) => end.saturating_add(1),
            // Where no line ends there are only telnet commands.
            None => telnet::torn_bytes(&self.buf),
        };
        let dropped = self.buf.len().saturating_sub(keep);
        env.metrics.pending_bytes = env.metrics.pending_bytes.saturating_sub(dropped);
        self.buf.truncate(keep);
        self.shrink(env);
        self.overflow.forget_untold();
    }

    /// Gives all memory back; what is in it is lost.
    pub(super) fn drop_output(&mut self, env: &mut Env) {
        if self.buf.is_empty() {
            return;
        }
        env.metrics.pending_bytes = env.metrics.pending_bytes.saturating_sub(self.buf.len());
        self.take_back(env);
    }

    fn take_back(&mut self, env: &mut Env) {
        env.pool.take_back(&mut self.buf);
        self.memory_bytes = 0;
    }

    fn shrink(&mut self, env: &mut Env) {
        env.pool.shrink(&mut self.buf);
        self.memory_bytes = 0;
        self.note_memory();
    }

    /// The stream took `n` bytes.
    #[inline]
    pub(super) fn consume(&mut self, n: usize, env: &mut Env) {
        env.metrics.pending_bytes = env.metrics.pending_bytes.saturating_sub(n);
        metrics::count(&mut env.metrics.bytes_out, n as u64);
        let rest = self.buf.len().saturating_sub(n);
        if rest == 0 {
            return self.take_back(env);
        }
        self.buf.advance(n);
        if self.memory_bytes() >= SHRINK_BYTES && rest < self.memory_bytes() / 4 {
            self.shrink(env);
        }
    }
}
