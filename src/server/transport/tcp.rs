//! A TCP connection, accepted or dialed. A connect(2) in progress is a handshake as far as the contract
//! of a stream goes: both halves block, and the stream owes output until it is connected.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::sockopt::socket_cookie;
use socket2::{SockRef, TcpKeepalive};

use crate::config::Limits;
use crate::engine::{Liveness, Stream};
use crate::server::transport::sock_diag::{Connection, SockDiag};

/// How the kernel probes a silent peer. These limits apply only without TCP_USER_TIMEOUT, which overrides
/// the number of probes (tcp(7)), and which also ends the connection of a live peer that does not read.
pub(crate) fn keepalive(limits: &Limits) -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(limits.keepalive_idle)
        .with_interval(limits.keepalive_interval)
        .with_retries(limits.keepalive_probes)
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
    pub(crate) fn dial(to: SocketAddr, keepalive: &TcpKeepalive) -> io::Result<Self> {
        let socket = TcpStream::connect(to)?;
        // Without these options the server still works: lines arrive late, or a dead peer is noticed
        // late.
        let _ = socket.set_nodelay(true);
        let _ = SockRef::from(&socket).set_tcp_keepalive(keepalive);
        Ok(Self {
            socket,
            is_connecting: true,
        })
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

impl Source for Tcp {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.socket.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.socket.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}
