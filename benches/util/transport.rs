//! What carries lines between a server and its clients. A load is the same on each [`Transport`], so that
//! what it costs on two of them can be compared; a [`Link`] is one client's end of a connection.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};

/// Of two servers that differ in nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    /// A Unix socket with an abstract name, which needs no file.
    Unix,
}

impl Transport {
    /// Its name in a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Unix => "Unix socket",
        }
    }

    /// Where a server is to listen, as an argument of it: nobody else listens there.
    pub(crate) fn listener(self) -> String {
        static LISTENERS: AtomicUsize = AtomicUsize::new(0);
        match self {
            Self::Tcp => "127.0.0.1:0".to_owned(),
            Self::Unix => {
                let number = LISTENERS.fetch_add(1, Ordering::Relaxed);
                format!("unix:@line-chat-bench-{}-{number}", process::id())
            }
        }
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// An abstract name.
    Unix(String),
}

/// As a server announces it.
impl FromStr for Address {
    type Err = <SocketAddr as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:@") {
            Some(name) => Ok(Self::Unix(name.to_owned())),
            None => text.parse().map(Self::Tcp),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl Address {
    /// Connects, and says each line at once.
    pub(crate) fn connect(&self, patience: Duration) -> io::Result<Link> {
        let (domain, addr) = match self {
            Self::Tcp(addr) => (Domain::for_address(*addr), SockAddr::from(*addr)),
            Self::Unix(name) => (Domain::UNIX, SockAddr::unix(format!("\0{name}"))?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        match self {
            Self::Tcp(_) => {
                socket.connect_timeout(&addr, patience)?;
                socket.set_tcp_nodelay(true)?;
            }
            // Never in progress: it waits for a place in the backlog, or is there.
            Self::Unix(_) => socket.connect(&addr)?,
        }
        socket.set_read_timeout(Some(patience))?;
        Ok(Link(socket))
    }
}

/// A client's end of a connection. It waits for its server until it is in a poll.
#[derive(Debug)]
pub(crate) struct Link(Socket);

impl Link {
    /// Does not wait any more, but is told by events when there is something to do.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.0.set_nonblocking(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.0.as_raw_fd()), token, interest)
    }
}

impl Read for Link {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Link {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
