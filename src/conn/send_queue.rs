//! The writing half of a [`Connection`]: what is appended to its queue, what is left out, and what
//! is written. The limit is checked at the append, so no queue grows beyond it (but by a few last
//! words, and where a room waits for its readers by what one turn says), and what does not fit is
//! decided line by line: a line is queued whole or not at all.

use std::io;

use bytes::Buf;

use crate::broadcast::batch::{Lines, Sort};
use crate::config::{Lag, Limits};
use crate::conn::overflow::{Skips, Voice};
use crate::conn::{Connection, Phase, STALLED_AFTER, Shared, Standing, Stream, retry};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::Message;
use crate::time::moment::Moment;

/// What a telnet answer may have beyond the limit of a queue, in bytes: a refusal that got lost
/// would leave its user deaf. 1365 of them are more than a telnet client can mean.
const ANSWER_BYTES: usize = 4 << 10;

/// What is to be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// A line of the room.
    Line(Voice),
    /// A line of the server's own.
    Notice,
    /// An answer to a telnet command.
    Answer,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    Appended,
    /// It was left out, and the reader will be told.
    LeftOut,
    /// It does not fit, and must not be left out.
    Full,
}

impl<S: Stream> Connection<S> {
    /// Queues lines of the room; gives whether each of them was queued or left out. One that is
    /// neither closes the reader.
    pub(crate) fn queue_lines(&mut self, lines: Lines<'_>, shared: &mut Shared) -> bool {
        if self.is_deaf {
            return true;
        }
        if self.admits_all(lines, &shared.limits) {
            self.append(lines.bytes(), shared);
            shared.metrics.deliveries += lines.count() as u64;
            return true;
        }
        lines.spans().all(|(span, sort, voice)| {
            let (queued, len) = (self.wr.len(), span.bytes().len());
            let skips = &self.skips;
            if skips.leaves_out_all(queued, len, voice, &shared.limits)
                || (sort == Sort::Notice && self.over_since.is_some())
            {
                self.skips.count(span.count());
                shared.metrics.lines_skipped += span.count() as u64;
                return true;
            }
            let mut each = span.each();
            each.all(|line| self.queue(line, Output::Line(voice), shared) != Queued::Full)
        })
    }

    /// Whether there is room for all of them, and nothing that was left out before them.
    fn admits_all(&self, lines: Lines<'_>, limits: &Limits) -> bool {
        let queued = self.wr.len() + lines.bytes().len();
        match limits.lag {
            Lag::Skip if lines.may_be_loud() => {
                self.skips.is_idle() && queued <= limits.max_pending_bytes / 2
            }
            Lag::Skip => self.skips.is_idle() && queued <= limits.max_pending_bytes,
            Lag::Disconnect => queued <= limits.max_pending_bytes,
            // While somebody holds up the room, only notices are said, and left out for that one.
            Lag::Wait => self.over_since.is_none() || !lines.may_be_notices(),
        }
    }

    /// Queues `bytes`, all of them or none.
    pub(crate) fn queue(&mut self, bytes: &[u8], output: Output, shared: &mut Shared) -> Queued {
        if self.is_deaf {
            return Queued::Appended;
        }
        match self.admit(bytes.len(), output, shared) {
            Queued::Appended => {
                self.append(bytes, shared);
                shared.metrics.deliveries += u64::from(matches!(output, Output::Line(_)));
                Queued::Appended
            }
            Queued::LeftOut => {
                shared.metrics.lines_skipped += 1;
                Queued::LeftOut
            }
            Queued::Full => Queued::Full,
        }
    }

    /// Whether `len` bytes may be queued. If they may, what the reader has to be told before them
    /// is queued already.
    fn admit(&mut self, len: usize, output: Output, shared: &mut Shared) -> Queued {
        let limits = &shared.limits;
        let queued = self.wr.len();
        let fits = queued + len <= limits.max_pending_bytes;
        let lag = if self.phase == Phase::Member {
            limits.lag
        } else {
            Lag::Disconnect
        };
        let most_with_answers = limits.max_pending_bytes.saturating_add(ANSWER_BYTES);
        match (output, lag) {
            (Output::Answer, _) if queued + len <= most_with_answers => Queued::Appended,
            (Output::Answer, _) => Queued::Full,
            (Output::Line(voice), Lag::Skip) => self.admit_or_skip(len, voice, shared),
            (Output::Notice, Lag::Skip) => self.admit_or_skip(len, Voice::Quiet, shared),
            (Output::Line(_), Lag::Wait) => Queued::Appended,
            (Output::Notice, Lag::Wait) if self.over_since.is_some() || !fits => Queued::LeftOut,
            (_, Lag::Wait | Lag::Disconnect) if fits => Queued::Appended,
            (_, Lag::Wait | Lag::Disconnect) => Queued::Full,
        }
    }

    fn admit_or_skip(&mut self, len: usize, voice: Voice, shared: &mut Shared) -> Queued {
        let with_notice = self.skipped_notice().len() + len;
        let queued = self.wr.len();
        if !self.skips.admit(queued, with_notice, voice, &shared.limits) {
            return Queued::LeftOut;
        }
        self.tell_skipped(shared);
        Queued::Appended
    }

    /// Queues how many lines were left out, if the reader does not know of them yet. It may exceed
    /// the limit, as a telnet answer may.
    pub(crate) fn tell_skipped(&mut self, shared: &mut Shared) {
        let notice = self.skipped_notice();
        if !notice.is_empty() {
            self.append(&notice, shared);
            self.skips.forget_told();
        }
    }

    /// What a reader that does not know of all that was left out is told; empty for any other.
    fn skipped_notice(&self) -> Vec<u8> {
        let mut notice = Vec::new();
        if self.skips.untold() > 0 {
            Message::Skipped(self.skips.untold()).write(&mut notice);
        }
        notice
    }

    /// Queues the last words. They may exceed the limit, as a telnet answer may.
    pub(crate) fn queue_last_words(&mut self, words: Message<'_>, shared: &mut Shared) {
        let mut notice = Vec::new();
        words.write(&mut notice);
        self.append(&notice, shared);
    }

    fn append(&mut self, bytes: &[u8], shared: &mut Shared) {
        if self.is_deaf {
            return;
        }
        let most = shared.limits.max_pending_bytes;
        shared.pool.append(&mut self.wr, bytes, most);
        shared.metrics.pending_bytes += bytes.len();
    }

    /// Drops what is queued, up to the end of the line or telnet answer that may have been sent in
    /// part.
    pub(crate) fn cut_queue(&mut self, shared: &mut Shared) {
        // Where no line ends there are only telnet answers, of three bytes each: what is more than
        // whole ones is the end of the first.
        let torn_answer = self.wr.len() % 3;
        let keep = memchr::memchr(b'\n', &self.wr).map_or(torn_answer, |end| end + 1);
        shared.metrics.pending_bytes -= self.wr.len() - keep;
        self.wr.truncate(keep);
    }

    /// One write of all that is queued; what the stream does not take waits for an event.
    pub(crate) fn flush(&mut self, shared: &mut Shared, now: Moment) -> io::Result<()> {
        let taken = match retry(|| self.stream.write(&self.wr)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.wr.advance(taken);
        shared.metrics.bytes_out += taken as u64;
        shared.metrics.pending_bytes -= taken;
        self.blocked = !self.wr.is_empty();
        if !self.blocked {
            shared.pool.take_back(&mut self.wr);
            self.waiting_since = None;
        } else if taken > 0 || self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
        Ok(())
    }

    /// Nothing can be written any more: what is queued is lost, and nothing more is queued.
    pub(crate) fn deafen(&mut self, shared: &mut Shared) {
        self.is_deaf = true;
        self.blocked = false;
        self.waiting_since = None;
        self.skips = Skips::default();
        self.drop_output(shared);
    }

    /// Gives all memory back; what is in it is lost.
    pub(crate) fn release(&mut self, shared: &mut Shared) {
        self.drop_input(shared);
        self.drop_output(shared);
    }

    fn drop_output(&mut self, shared: &mut Shared) {
        shared.metrics.pending_bytes -= self.wr.len();
        shared.pool.take_back(&mut self.wr);
    }

    // Keeping up.

    /// How it keeps up, now that what could be written was written.
    pub(crate) fn current_standing(&self, limits: &Limits, now: Moment) -> Standing {
        match self.waiting_since {
            Some(since) if now >= since + STALLED_AFTER => Standing::Stalled,
            _ if self.wr.len() > limits.max_pending_bytes / 4 => Standing::Behind,
            _ => Standing::KeepsUp,
        }
    }

    /// Whether it begins to hold up the room, now that more was queued for it.
    pub(crate) fn holds_up(&mut self, limits: &Limits, now: Moment) -> bool {
        let begins = limits.lag == Lag::Wait
            && self.over_since.is_none()
            && self.wr.len() > limits.max_pending_bytes;
        if begins {
            self.over_since = Some(now);
        }
        begins
    }

    /// Whether it ceases to hold up the room, now that something was written.
    pub(crate) fn lets_go(&mut self, limits: &Limits) -> bool {
        let ceases = self.over_since.is_some() && self.wr.len() < limits.max_pending_bytes / 2;
        if ceases {
            self.over_since = None;
        }
        ceases
    }

    /// Whether its queue is so much shorter that it has to be told what was left out.
    pub(crate) fn resumes(&mut self, limits: &Limits) -> bool {
        self.skips.resume(self.wr.len(), limits)
    }
}

/// Tells a peer that is not let in why, and reads what it has sent already, because a close with
/// unread input sends RST, which may overtake what it was told.
pub(crate) fn turn_away(stream: &mut impl Stream, reason: CloseReason, scratch: &mut [u8]) {
    let mut notice = Vec::new();
    if let Some(words) = reason.goodbye() {
        Message::Goodbye(words).write(&mut notice);
    }
    // The peer is gone if any of these fails, which changes nothing.
    let _ = retry(|| stream.write(&notice));
    let _ = stream.shutdown_write();
    let _ = retry(|| stream.read(scratch));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;
    use std::io::{Read, Write};

    use crate::config::interactive::Mode;
    use crate::conn::pool::Pool;
    use crate::metrics::Metrics;

    /// Takes a few bytes a write, and has nothing to read.
    struct Narrow {
        width: usize,
        taken: Vec<u8>,
    }

    impl Read for Narrow {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.width);
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Narrow {
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shared(limits: Limits) -> Shared {
        Shared {
            limits,
            pool: Pool::default(),
            metrics: Metrics::default(),
        }
    }

    fn start() -> Moment {
        Clock::default().moment(std::time::Instant::now())
    }

    fn connection(width: usize, now: Moment) -> Connection<Narrow> {
        let stream = Narrow {
            width,
            taken: Vec::new(),
        };
        let peer = ([127, 0, 0, 1], 1).into();
        Connection::new(stream, peer, Mode::Bare, 99, now)
    }

    #[test]
    fn in_a_room_that_waits_a_notice_that_does_not_fit_closes_nobody() {
        let mut shared = shared(Limits {
            max_pending_bytes: 10,
            lag: Lag::Wait,
            ..Limits::default()
        });
        let mut member = connection(0, start());
        member.phase = Phase::Member;
        let line = Output::Line(Voice::Quiet);
        assert_eq!(
            member.queue(b"12345678", line, &mut shared),
            Queued::Appended
        );
        let notice = member.queue(b"* yes\r\n", Output::Notice, &mut shared);
        assert_eq!(notice, Queued::LeftOut);
    }

    /// What a peer gets that takes `width` bytes of what is queued before the rest is cut.
    #[track_caller]
    fn cut_after(width: usize, queued: &[&[u8]]) -> Vec<u8> {
        let now = start();
        let mut shared = shared(Limits::default());
        let mut connection = connection(width, now);
        for bytes in queued {
            let queued = connection.queue(bytes, Output::Notice, &mut shared);
            assert_eq!(queued, Queued::Appended);
        }
        assert!(connection.flush(&mut shared, now).is_ok());
        connection.cut_queue(&mut shared);
        assert_eq!(shared.metrics.pending_bytes, connection.pending_bytes());
        connection.stream.width = usize::MAX;
        assert!(connection.is_drained() || connection.flush(&mut shared, now).is_ok());
        connection.stream.taken
    }

    #[test]
    fn the_largest_limit_of_all_leaves_room_for_a_telnet_answer() {
        let mut shared = shared(Limits {
            max_pending_bytes: usize::MAX,
            ..Limits::default()
        });
        let mut connection = connection(0, start());
        let answers = b"\xff\xfc\x06".repeat(ANSWER_BYTES);
        let queued = connection.queue(&answers, Output::Answer, &mut shared);
        assert_eq!(queued, Queued::Appended);
    }

    #[test]
    fn neither_a_line_nor_a_telnet_answer_is_torn_by_a_cut() {
        let answer: &[u8] = b"\xff\xfc\x06";
        let lines: &[&[u8]] = &[b"one\r\n", b"two\r\n"];
        assert_eq!(cut_after(2, lines), b"one\r\n");
        assert_eq!(cut_after(7, lines), b"one\r\ntwo\r\n");
        assert_eq!(cut_after(2, &[answer, answer]), answer);
        assert_eq!(cut_after(3, &[answer, answer]), answer);
        assert_eq!(cut_after(4, &[answer, answer]), answer.repeat(2));
        let mixed = [answer, b"one\r\n", answer];
        assert_eq!(cut_after(1, &mixed), b"\xff\xfc\x06one\r\n");
        // An option whose number is that of a line feed.
        let line_feed: &[u8] = b"\xff\xfc\n";
        assert_eq!(
            cut_after(1, &[answer, line_feed, answer]),
            [answer, line_feed].concat()
        );
    }
}
