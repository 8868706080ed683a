//! What carries lines between a server and its clients. A load is the same on each [`Transport`], so that
//! what it costs on two of them can be compared; a [`Link`] is one client's end of a connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustls::ClientConnection;
use socket2::{Domain, SockAddr, Socket, Type};

use super::certificate::{self, Certificate};

/// Of two servers that differ in nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    /// A Unix socket with an abstract name, which needs no file.
    Unix,
    /// TLS 1.3 on TCP.
    Tls,
}

impl Transport {
    /// Its name in a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Unix => "Unix socket",
            Self::Tls => "TLS",
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
            Self::Tls => "tls:127.0.0.1:0".to_owned(),
        }
    }

    /// The certificate that a server needs for it.
    pub(crate) fn certificate(self) -> Option<&'static Certificate> {
        (self == Self::Tls).then(certificate::of_this_run)
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// An abstract name.
    Unix(String),
    Tls(SocketAddr),
}

/// As a server announces it.
impl FromStr for Address {
    type Err = <SocketAddr as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(name) = text.strip_prefix("unix:@") {
            return Ok(Self::Unix(name.to_owned()));
        }
        match text.strip_prefix("tls:") {
            Some(addr) => addr.parse().map(Self::Tls),
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
            Self::Tcp(addr) | Self::Tls(addr) => {
                (Domain::for_address(*addr), SockAddr::from(*addr))
            }
            Self::Unix(name) => (Domain::UNIX, SockAddr::unix(format!("\0{name}"))?),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        match self {
            Self::Tcp(_) | Self::Tls(_) => {
                socket.connect_timeout(&addr, patience)?;
                socket.set_tcp_nodelay(true)?;
            }
            // Never in progress: it waits for a place in the backlog, or is there.
            Self::Unix(_) => socket.connect(&addr)?,
        }
        socket.set_read_timeout(Some(patience))?;
        let mut link = Link { socket, tls: None };
        if matches!(self, Self::Tls(_)) {
            let mut tls = certificate::of_this_run().client();
            tls.complete_io(&mut link.socket)?;
            link.tls = Some(Box::new(tls));
        }
        Ok(link)
    }
}

/// A client's end of a connection. It waits for its server until it is in a poll.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

impl Link {
    /// Does not wait any more, but is told by events when there is something to do.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&self.socket.as_raw_fd()), token, interest)
    }
}

impl Read for Link {
    /// By TLS as well, a short read has taken all that had come.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buf);
        };
        let mut filled = 0;
        loop {
            match tls.reader().read(&mut buf[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(n) => filled += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if filled == buf.len() {
                return Ok(filled);
            }
            match tls.read_tls(&mut self.socket) {
                Ok(_) => {
                    tls.process_new_packets().map_err(io::Error::other)?;
                }
                Err(error) if filled > 0 && error.kind() == ErrorKind::WouldBlock => {
                    return Ok(filled);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Link {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(buf);
        };
        // What was encrypted before and not sent goes first.
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        let taken = tls.writer().write(buf)?;
        match tls.write_tls(&mut self.socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) if tls.wants_write() => tls.write_tls(&mut self.socket).map(drop),
            _ => self.socket.flush(),
        }
    }
}
