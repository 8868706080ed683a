//! Listening sockets: [`BoundListener`] is one of the standard library's, as it was bound or handed in, and
//! [`Listener`] is the same on a poll loop of mio's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::peer::Peer;
use crate::server::transport::{Tcp, Transport, Unix};

/// A listener that is bound already, for [`Server::bind_with`](crate::Server::bind_with).
///
/// ```
/// use std::net::TcpListener;
///
/// use line_chat::BoundListener;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// assert!(matches!(listener.into(), BoundListener::Tcp(_)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub enum BoundListener {
    /// For clients that come by TCP.
    Tcp(std::net::TcpListener),
    /// For clients on this machine (unix(7)).
    Unix(std::os::unix::net::UnixListener),
}

impl From<std::net::TcpListener> for BoundListener {
    fn from(listener: std::net::TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<std::os::unix::net::UnixListener> for BoundListener {
    fn from(listener: std::os::unix::net::UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl AsFd for BoundListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl BoundListener {
    /// The TCP address on which it listens, if it has one.
    pub(crate) fn tcp_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

/// A listener on a poll loop of mio's.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

impl From<BoundListener> for Listener {
    /// The listener has to be in non-blocking mode.
    fn from(bound: BoundListener) -> Self {
        match bound {
            BoundListener::Tcp(socket) => Self::Tcp(mio::net::TcpListener::from_std(socket)),
            BoundListener::Unix(socket) => Self::Unix(mio::net::UnixListener::from_std(socket)),
        }
    }
}

impl Listener {
    /// Takes the next connection out of the queue, with its peer.
    ///
    /// # Errors
    /// As accept(2).
    pub(crate) fn accept(&self) -> io::Result<(Transport, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                Ok((Transport::Tcp(Tcp::accepted(socket)), peer.into()))
            }
            Self::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                let (unix, peer) = Unix::accepted(socket)?;
                Ok((Transport::Unix(unix), peer))
            }
        }
    }

    /// The TCP address on which it listens, if it has one.
    pub(crate) fn tcp_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Watches for connections that wait.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let source: &mut dyn Source = match self {
            Self::Tcp(socket) => socket,
            Self::Unix(socket) => socket,
        };
        registry.register(source, token, Interest::READABLE)
    }
}
