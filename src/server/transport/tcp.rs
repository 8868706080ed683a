//! A TCP connection, accepted or dialed. A connect(2) in progress is a handshake as far as the contract
//! of a stream goes: both halves block, and the stream owes output until it is connected.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mio::net::TcpStream;
use rustix::net::sockopt::{set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl, socket_cookie};
use socket2::SockRef;

use crate::config::Limits;
use crate::engine::{Liveness, Stream};
use crate::server::transport::sock_diag::{Connection, SockDiag};

/// How the kernel probes a silent peer. These limits apply only without TCP_USER_TIMEOUT, which overrides
/// the number of probes (tcp(7)), and which also ends the connection of a live peer that does not read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keepalive {
    idle: Duration,
    interval: Duration,
    probes: u32,
}

impl Keepalive {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            idle: limits.keepalive_idle,
            interval: limits.keepalive_interval,
            probes: limits.keepalive_probes,
        }
    }

    /// Sets every option that the system supports, and tells `report` of each how that went.
    pub(crate) fn set(
        self,
        socket: &impl AsFd,
        mut report: impl FnMut(&'static str, io::Result<()>),
    ) {
        let is_on = SockRef::from(socket).set_keepalive(true);
        report("SO_KEEPALIVE", is_on);
        let idle = set_tcp_keepidle(socket, self.idle);
        report("TCP_KEEPIDLE", idle.map_err(io::Error::from));
        let interval = set_tcp_keepintvl(socket, self.interval);
        report("TCP_KEEPINTVL", interval.map_err(io::Error::from));
        let probes = set_tcp_keepcnt(socket, self.probes);
        report("TCP_KEEPCNT", probes.map_err(io::Error::from));
    }
}

/// A TCP connection on a poll loop of mio's.
#[derive(Debug)]
pub(crate) struct Tcp {
    socket: TcpStream,
    is_connecting: bool,
}

impl Tcp {
    /// A connection that was accepted.
    pub(crate) fn accepted(socket: TcpStream) -> Self {
        Self {
            socket,
            is_connecting: false,
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// As connect(2), but never because it is in progress.
    pub(crate) fn dial(to: SocketAddr, keepalive: Keepalive) -> io::Result<Self> {
        let socket = TcpStream::connect(to)?;
        // Without these options the server still works: lines arrive late, or a dead peer is noticed
        // late.
        let _ = socket.set_nodelay(true);
        keepalive.set(&socket, |_, _| {});
        Ok(Self {
            socket,
            is_connecting: true,
        })
    }

    /// What a poll loop watches.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Returns what the kernel knows of the peer.
    pub(crate) fn liveness(&self, system: &mut SockDiag) -> Liveness {
        let (Ok(local), Ok(peer)) = (self.socket.local_addr(), self.socket.peer_addr()) else {
            return Liveness::Unknown;
        };
        let cookie = socket_cookie(&self.socket).ok();
        system.liveness(&Connection {
            local,
            peer,
            cookie,
        })
    }

    /// Sees whether the connection has come about.
    fn finish_connecting(&mut self) -> io::Result<()> {
        if !self.is_connecting {
            return Ok(());
        }
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        match self.socket.peer_addr() {
            Ok(_) => {
                self.is_connecting = false;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }
}

impl Read for Tcp {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.finish_connecting()?;
        self.socket.read(buffer)
    }
}

impl Write for Tcp {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.finish_connecting()?;
        self.socket.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.finish_connecting()?;
        self.socket.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.finish_connecting()
    }
}

impl Stream for Tcp {
    fn owes_output(&self) -> bool {
        self.is_connecting
    }

    fn is_handshaking(&self) -> bool {
        self.is_connecting
    }

    fn is_connecting(&self) -> bool {
        self.is_connecting
    }

    fn check(&mut self) -> io::Result<()> {
        match self.socket.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_dialed_connection_is_probed_as_the_limits_say() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let limits = Limits {
            keepalive_idle: Duration::from_secs(7),
            keepalive_interval: Duration::from_secs(5),
            keepalive_probes: 3,
            ..Limits::default()
        };
        let dialed = Tcp::dial(addr, Keepalive::new(&limits)).expect("it is in progress");
        let socket = SockRef::from(&dialed.socket);
        assert!(socket.keepalive().expect("SO_KEEPALIVE"));
        let idle = socket.tcp_keepalive_time().expect("TCP_KEEPIDLE");
        let interval = socket.tcp_keepalive_interval().expect("TCP_KEEPINTVL");
        let probes = socket.tcp_keepalive_retries().expect("TCP_KEEPCNT");
        let seconds = Duration::from_secs;
        assert_eq!((idle, interval, probes), (seconds(7), seconds(5), 3));
    }
}
