//! What carries the bytes of a connection: each transport keeps the contract of
//! [`Stream`] on a socket of mio's. There are TCP and Unix sockets, and TLS on either of them; [`Transport`]
//! is one of these.

mod listener;
mod sock_diag;
mod tcp;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod unix;

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, recv};

use crate::engine::{Liveness, Stream};

pub use listener::BoundListener;
pub(super) use listener::Listener;
pub(super) use sock_diag::SockDiag;
pub(super) use tcp::{Keepalive, Tcp};
pub(super) use unix::Unix;

/// The connection of a client.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(Tcp),
    Unix(Unix),
    /// In a box, because a client without TLS should not have the memory of one with it.
    #[cfg(feature = "tls")]
    Tls(Box<tls::Tls<Self>>),
}

/// Calls a method of whichever transport it is.
macro_rules! on_each {
    ($transport:expr, $it:ident => $call:expr) => {
        match $transport {
            Transport::Tcp($it) => $call,
            Transport::Unix($it) => $call,
            #[cfg(feature = "tls")]
            Transport::Tls($it) => $call,
        }
    };
}

impl Transport {
    /// Begins to connect by TCP.
    ///
    /// # Errors
    /// As [`Tcp::dial`].
    pub(super) fn dial(to: SocketAddr, keepalive: Keepalive) -> io::Result<Self> {
        Tcp::dial(to, keepalive).map(Self::Tcp)
    }

    /// Reads what has arrived, and leaves it there (recv(2), `MSG_PEEK`).
    ///
    /// # Errors
    /// As recv(2).
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, _) = recv(self.fd(), buffer, RecvFlags::PEEK)?;
        Ok(read)
    }

    /// Reads from the socket itself, below TLS.
    ///
    /// # Errors
    /// As recv(2).
    pub(super) fn read_socket(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.read(buffer),
            Self::Unix(unix) => unix.read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_mut().read_socket(buffer),
        }
    }

    /// Its descriptor.
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.fd(),
            Self::Unix(unix) => unix.fd(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_ref().fd(),
        }
    }

    /// What a poll loop watches.
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(tcp) => tcp.socket(),
            Self::Unix(unix) => unix.socket(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_mut().source(),
        }
    }

    /// Returns what the kernel knows of the peer. A local process that ends closes its sockets, so there is
    /// nothing to ask about one.
    pub(super) fn liveness(&self, system: &mut SockDiag) -> Liveness {
        match self {
            Self::Tcp(tcp) => tcp.liveness(system),
            Self::Unix(_) => Liveness::Unknown,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.get_ref().liveness(system),
        }
    }
}

impl Read for Transport {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        on_each!(self, it => it.read(buffer))
    }
}

impl Write for Transport {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        on_each!(self, it => it.write(bytes))
    }

    /// TLS makes several records at once in a handshake, and sends them with one call.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        on_each!(self, it => it.write_vectored(slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        on_each!(self, it => it.flush())
    }
}

impl Stream for Transport {
    #[inline]
    fn holds_input(&self) -> bool {
        on_each!(self, it => it.holds_input())
    }

    #[inline]
    fn owes_output(&self) -> bool {
        on_each!(self, it => it.owes_output())
    }

    #[inline]
    fn is_handshaking(&self) -> bool {
        on_each!(self, it => it.is_handshaking())
    }

    #[inline]
    fn is_connecting(&self) -> bool {
        on_each!(self, it => it.is_connecting())
    }

    fn announces_end(&self) -> bool {
        on_each!(self, it => it.announces_end())
    }

    fn is_authenticated(&self) -> bool {
        on_each!(self, it => it.is_authenticated())
    }

    fn is_encrypted(&self) -> bool {
        on_each!(self, it => it.is_encrypted())
    }

    fn check(&mut self) -> io::Result<()> {
        on_each!(self, it => it.check())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        on_each!(self, it => it.shutdown_write())
    }
}

impl Source for Transport {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.source().register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.source().reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source().deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_no_more_memory_than_a_pointer_beside_its_kind() {
        // With debug assertions, a socket of mio has a word more.
        let words = if cfg!(debug_assertions) { 3 } else { 2 };
        assert!(size_of::<Transport>() <= words * size_of::<usize>());
    }
}
