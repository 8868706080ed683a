//! The contract between a connection and whatever carries its bytes: [`Stream`]. TCP keeps all of it
//! without doing anything; a TLS stream needs every part, because it holds decoded input of its own,
//! owes records that the socket did not take, and cannot speak before its handshake is over.

use std::io::{self, Read, Write};

use rustix::io::Errno;

/// A non-blocking byte stream with two halves. "Blocks" below means
/// [`WouldBlock`](io::ErrorKind::WouldBlock).
///
/// 1. `read` that returns as much as was asked for may have left input behind. After a shorter read an
///    event tells of more input, unless [`holds_input`](Self::holds_input).
/// 2. `read` that blocks will be followed by a readable event, or it waits for the stream's own output
///    (see 7), or it [`holds_input`](Self::holds_input): it has done as much as one call may, and is called
///    again in a later turn.
/// 3. `write` returns what the stream accepted, which need not be sent yet. It has tried the transport:
///    if it accepts less than offered, or blocks, a writable event will follow, or it waits for input
///    (see 7).
/// 4. `flush` sends what the stream owes. `Ok`: it owes nothing. If it blocks, see 3. It is never called
///    on a stream that does not [owe output](Self::owes_output).
/// 5. `read`, `write` and `shutdown_write` may each leave the stream owing a bounded amount of output.
/// 6. `shutdown_write` is called when nothing is queued and nothing is owed. If it blocks, it is called
///    again after the next writable event. A handshake that is not over ends with it: nothing is owed any
///    more, and `read` returns whatever comes.
/// 7. While [`is_handshaking`](Self::is_handshaking), and only then, one half may wait for the other:
///    the write half is tried again after each `read`, and the read half when what was owed is gone, by
///    whichever call. The handshake of an accepted stream is completed by a `read`.
/// 8. An error of the write half says nothing about input that is still to be read, and what a broken
///    stream owes is void.
pub trait Stream: Read + Write {
    /// Whether a read that was short or blocked may have left input behind of which no event will tell.
    fn holds_input(&self) -> bool {
        false
    }

    /// Whether the stream has accepted or made output that it has not sent.
    fn owes_output(&self) -> bool {
        false
    }

    /// Whether one half may wait for the other: a TLS handshake, or a connect(2) in progress.
    fn is_handshaking(&self) -> bool {
        false
    }

    /// Whether the stream was dialed and its connect(2) is still in progress, or has failed: the peer
    /// was never reached. In that state it also [is handshaking](Self::is_handshaking).
    fn is_connecting(&self) -> bool {
        false
    }

    /// Whether `shutdown_write` tells the peer something that closing the transport does not. Where it does,
    /// it is called even for a peer that has ended its own half.
    fn announces_end(&self) -> bool {
        false
    }

    /// Whether the peer has proved who it is, with a certificate of TLS. Known when the handshake is over.
    fn is_authenticated(&self) -> bool {
        false
    }

    /// Whether the peer's bytes come encrypted.
    fn is_encrypted(&self) -> bool {
        false
    }

    /// Checks for an error that has ended the connection (socket(7), SO_ERROR), on a stream that was
    /// read to its end and is therefore not read again.
    ///
    /// # Errors
    /// The error of the connection.
    fn check(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Announces that nothing more will be written. What was written still arrives (shutdown(2),
    /// `SHUT_WR`).
    ///
    /// # Errors
    /// `WouldBlock` if it has to be called again after the next writable event. Any other error means
    /// that the peer is gone.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

/// The readiness that a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Input, or the end of it.
    Readable,
    /// Input, and room for output that could not be written.
    ReadableAndWritable,
}

/// Whether a call failed only because the system lacks memory or buffers now (ENOBUFS, ENOMEM). No event
/// tells when it can be made again, so it is made again by the clock.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOBUFS | Errno::NOMEM)
    )
}

/// Repeats a call that a signal interrupted (EINTR).
#[inline]
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
