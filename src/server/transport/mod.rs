//! What carries the bytes of a connection: each transport keeps the contract of
//! [`Stream`] on a socket of mio's. There are TCP and Unix sockets; [`Transport`] is one of them, and TLS is
//! another file here.

mod listener;
mod sock_diag;
mod tcp;
mod unix;

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, recv};

use crate::engine::{Liveness, Stream};

pub use listener::BoundListener;
pub(super) use listener::Listener;
pub(super) use sock_diag::SockDiag;
pub(super) use tcp::{Keepalive, Tcp};
pub(super) use unix::Unix;

/// The connection of a client. It takes no more memory than a TCP connection alone.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(Tcp),
    Unix(Unix),
}

/// Calls a method of whichever transport it is.
macro_rules! on_each {
    ($transport:expr, $it:ident => $call:expr) => {
        match $transport {
            Transport::Tcp($it) => $call,
            Transport::Unix($it) => $call,
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
        let (read, _) = on_each!(self, it => recv(it.fd(), buffer, RecvFlags::PEEK))?;
        Ok(read)
    }

    /// Returns what the kernel knows of the peer. A local process that ends closes its sockets, so there is
    /// nothing to ask about one.
    pub(super) fn liveness(&self, system: &mut SockDiag) -> Liveness {
        match self {
            Self::Tcp(tcp) => tcp.liveness(system),
            Self::Unix(_) => Liveness::Unknown,
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
        on_each!(self, it => it.socket().register(registry, token, interest))
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        on_each!(self, it => it.socket().reregister(registry, token, interest))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        on_each!(self, it => it.socket().deregister(registry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_no_more_memory_than_one_of_tcp_alone() {
        assert_eq!(size_of::<Transport>(), size_of::<Tcp>());
    }
}
