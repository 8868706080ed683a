//! One client's end of the wire: [`Connection`] owns its stream, what was read from it and may not
//! be heard yet (`rd`), and what is queued for it (`wr`). It is the only place that reads or writes
//! a stream; it knows nothing of rooms, nicks or other clients.
//!
//! Readiness comes in edges: an event is said once, so whoever stops before WouldBlock has to
//! remember that. Here this memory is two flags, `unread` and `blocked`.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Buf, BytesMut};

use crate::close::CloseReason;
use crate::config::Limits;
use crate::deadlines::Alarm;
use crate::decoder::Decoder;
use crate::pool::Pool;

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

/// Where a connection is in its life. It only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its next line is taken as its nick.
    Login { refusals: u8 },
    /// Its lines go to the room.
    Member,
    /// It has left: nothing more is heard from it, and what is queued is written.
    Draining(CloseReason),
    /// All is written and our half is shut down. Input is thrown away until the peer closes as
    /// well, because a close with unread input sends RST, and the peer would lose what it has
    /// not read yet.
    Lingering { discarded_bytes: usize },
    /// To be freed at the end of the turn.
    Closed,
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

/// More would be queued than the limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// A client's stream, its two buffers, and what has to be remembered between events.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) stream: S,
    pub(crate) peer: SocketAddr,
    /// Input that was read but may not be heard yet: at most one read of it. While there is any,
    /// the stream is not read.
    rd: BytesMut,
    /// Output in the order of its queueing, whole lines and telnet answers; at most
    /// `max_pending_bytes`. It has memory only while there is some.
    wr: BytesMut,
    pub(crate) decoder: Decoder,
    pub(crate) phase: Phase,
    /// The stream may hold input: there was no WouldBlock since the last event that said so.
    unread: bool,
    /// A short read does not mean that the stream is empty, because it may have stopped before an
    /// end of stream or at urgent data (tcp(7), SO_OOBINLINE), which no further event would
    /// tell.
    read_on: bool,
    /// The peer has sent FIN.
    ended: bool,
    /// The stream took less than it was offered; it is not tried again before its event.
    blocked: bool,
    /// What the poll loop was told last.
    pub(crate) interest: Interest,
    /// On the chat's ready list.
    pub(crate) listed_ready: bool,
    /// On the chat's dirty list.
    pub(crate) listed_dirty: bool,
    /// When patience with it ends.
    pub(crate) deadline: Option<Instant>,
    /// When the deadline is looked at.
    pub(crate) alarm: Alarm,
}

impl<S: Stream> Connection<S> {
    pub(crate) fn new(stream: S, peer: SocketAddr, limits: &Limits) -> Self {
        Self {
            stream,
            peer,
            rd: BytesMut::new(),
            wr: BytesMut::new(),
            decoder: Decoder::new(limits.max_line_bytes),
            phase: Phase::Login { refusals: 0 },
            unread: false,
            read_on: false,
            ended: false,
            blocked: false,
            interest: Interest::Readable,
            listed_ready: false,
            listed_dirty: false,
            deadline: None,
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

    /// Whether its lines are heard.
    pub(crate) fn is_listened_to(&self) -> bool {
        matches!(self.phase, Phase::Login { .. } | Phase::Member)
    }

    /// Whether there may be something to [`fill`](Self::fill) with, and somebody to take it.
    pub(crate) fn wants_turn(&self) -> bool {
        match self.phase {
            Phase::Login { .. } | Phase::Member => self.unread || !self.rd.is_empty(),
            Phase::Lingering { .. } => self.unread,
            Phase::Draining(_) | Phase::Closed => false,
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

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The readiness that it waits for now.
    pub(crate) fn wanted_interest(&self) -> Interest {
        if self.blocked {
            Interest::ReadableAndWritable
        } else {
            Interest::Readable
        }
    }

    /// Puts the next input into `scratch`: what was held back before, or else one read of the
    /// stream.
    pub(crate) fn fill(&mut self, scratch: &mut [u8], pool: &mut Pool) -> Fill {
        if !self.rd.is_empty() {
            let held = self.rd.len();
            scratch[..held].copy_from_slice(&self.rd);
            pool.take_back(&mut self.rd);
            return Fill::Bytes(held);
        }
        self.read(scratch)
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
    pub(crate) fn hold(&mut self, input: &[u8], pool: &mut Pool) {
        debug_assert!(self.rd.is_empty(), "one read at a time");
        if !input.is_empty() {
            pool.lend(&mut self.rd);
            self.rd.extend_from_slice(input);
        }
    }

    /// Queues `bytes`, all of them or none.
    pub(crate) fn queue(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<(), QueueFull> {
        if self.wr.len() + bytes.len() > limits.max_pending_bytes {
            return Err(QueueFull);
        }
        pool.lend(&mut self.wr);
        self.wr.extend_from_slice(bytes);
        Ok(())
    }

    /// Drops what is queued, up to the end of the line or telnet answer that may have been sent in
    /// part.
    pub(crate) fn cut_queue(&mut self) {
        // Where no line ends there are only telnet answers, of three bytes each: what is more than
        // whole ones is the end of the first.
        let torn_answer = self.wr.len() % 3;
        let keep = memchr::memchr(b'\n', &self.wr).map_or(torn_answer, |end| end + 1);
        self.wr.truncate(keep);
    }

    /// Drops what was read and is not heard.
    pub(crate) fn drop_input(&mut self, pool: &mut Pool) {
        pool.take_back(&mut self.rd);
    }

    /// One write of all that is queued; gives how much the stream took. What it did not take waits
    /// for an event.
    pub(crate) fn flush(&mut self, pool: &mut Pool) -> io::Result<usize> {
        let taken = match retry(|| self.stream.write(&self.wr)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.wr.advance(taken);
        self.blocked = !self.wr.is_empty();
        if !self.blocked {
            pool.take_back(&mut self.wr);
        }
        Ok(taken)
    }

    /// Gives all memory back; what is in it is lost.
    pub(crate) fn release(&mut self, pool: &mut Pool) {
        pool.take_back(&mut self.rd);
        pool.take_back(&mut self.wr);
    }
}

/// Calls again what a signal interrupted (EINTR).
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// What a peer gets that takes `width` bytes of what is queued before the rest is cut.
    #[track_caller]
    fn cut_after(width: usize, queued: &[&[u8]]) -> Vec<u8> {
        let (limits, mut pool) = (Limits::default(), Pool::default());
        let stream = Narrow {
            width,
            taken: Vec::new(),
        };
        let mut connection = Connection::new(stream, ([127, 0, 0, 1], 1).into(), &limits);
        for bytes in queued {
            assert_eq!(connection.queue(bytes, &limits, &mut pool), Ok(()));
        }
        assert_eq!(connection.flush(&mut pool).ok(), Some(width));
        connection.cut_queue();
        connection.stream.width = usize::MAX;
        assert!(connection.is_drained() || connection.flush(&mut pool).is_ok());
        connection.stream.taken
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
