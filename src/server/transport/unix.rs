//! A connection over a Unix socket (unix(7)). The kernel knows who is at its other end, notices at once when
//! that process ends, and delivers every write at once, so there is nothing to probe and no option to set.
//!
//! A read may end early where the peer has attached descriptors, which are discarded. No event tells of what
//! stands behind them, so such a peer's line may wait for its next one.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};

use mio::net::UnixStream;
use nix::sys::socket::{getsockopt, sockopt};

use crate::engine::Stream;
use crate::peer::Peer;

/// A connection over a Unix socket on a poll loop of mio's.
#[derive(Debug)]
pub(crate) struct Unix(UnixStream);

impl Unix {
    /// A connection that was accepted, with its peer as it was when it connected.
    ///
    /// # Errors
    /// The kernel does not tell who the peer is.
    pub(crate) fn accepted(socket: UnixStream) -> io::Result<(Self, Peer)> {
        let credentials = getsockopt(&socket, sockopt::PeerCredentials)?;
        let peer = Peer::Local {
            uid: credentials.uid(),
            // 0 if the process cannot be seen from here (pid_namespaces(7)), and never negative.
            pid: credentials.pid().unsigned_abs(),
        };
        Ok((Self(socket), peer))
    }

    /// One end of a pair, which is the same to the kernel as one that was accepted.
    ///
    /// # Errors
    /// As [`accepted`](Self::accepted).
    pub(crate) fn paired(socket: std::os::unix::net::UnixStream) -> io::Result<(Self, Peer)> {
        socket.set_nonblocking(true)?;
        Self::accepted(UnixStream::from_std(socket))
    }

    /// What a poll loop watches.
    pub(super) fn socket(&mut self) -> &mut UnixStream {
        &mut self.0
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Unix {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Unix {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Unix {
    fn check(&mut self) -> io::Result<()> {
        match self.0.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}
