//! The floor: what is read from one socket is written to all the others, in the same poll loop and
//! with the same socket options as the real server, and that is all. There are no lines, no nicks,
//! no buffers but one to read into, and what a socket does not take is lost. No server that sends
//! each receiver its own copy can be cheaper for the same reads, so a ratio to it says what the
//! chat costs beside the system calls.
//!
//! A server can still be below it, by gathering in one write what came with several reads, which
//! takes a buffer.
//!
//! A ratio is worth something only if both servers send the same bytes and wait in the same way.
//! So what is said to the floor is what its receivers are to get ([`Dialect::say`]), and there are
//! floors of other [kinds](Kind) for a server that sends nothing and for one that never sleeps.
//!
//! [`Dialect::say`]: super::dialect::Dialect::say

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);
const STOP: Token = Token(usize::MAX - 1);

/// What a floor leaves out of what a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It copies to all others what it reads, and sleeps while there is nothing to read.
    Copying,
    /// It copies and never sleeps, like a server with `--spin`.
    Spinning,
    /// It reads and sends nothing, like a chat whose clients say their nick and leave.
    Mute,
}

#[derive(Debug)]
pub(crate) struct Floor {
    kind: Kind,
    poll: Poll,
    listener: TcpListener,
    clients: Slab<TcpStream>,
    scratch: Box<[u8]>,
    stop: Arc<Waker>,
}

impl Floor {
    pub(crate) fn bind(kind: Kind) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::from_std(listen()?);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            kind,
            stop: Arc::new(Waker::new(poll.registry(), STOP)?),
            poll,
            listener,
            clients: Slab::new(),
            scratch: vec![0; 64 << 10].into(),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Ends [`run`](Self::run), from any thread.
    pub(crate) fn stopper(&self) -> Arc<Waker> {
        Arc::clone(&self.stop)
    }

    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let patience = (self.kind == Kind::Spinning).then_some(Duration::ZERO);
        loop {
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    STOP => return Ok(()),
                    LISTENER => self.accept()?,
                    Token(client) => self.read(client, event.is_read_closed()),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let slot = self.clients.vacant_entry();
            let registry = self.poll.registry();
            registry.register(&mut stream, Token(slot.key()), Interest::READABLE)?;
            slot.insert(stream);
        }
    }

    /// Reads until a short read: what comes later comes with an event. Only the end of the stream may
    /// stand behind it, and has been told of.
    fn read(&mut self, from: usize, to_the_end: bool) {
        while let Some(client) = self.clients.get_mut(from) {
            let n = match client.read(&mut self.scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => return drop(self.clients.remove(from)),
                Ok(n) => n,
            };
            if self.kind != Kind::Mute {
                self.copy(from, n);
            }
            if n < self.scratch.len() && !to_the_end {
                return;
            }
        }
    }

    fn copy(&mut self, from: usize, n: usize) {
        for (to, other) in &mut self.clients {
            if to != from {
                // Whoever is gone is removed by its own event.
                let _ = other.write(&self.scratch[..n]);
            }
        }
    }
}

/// A listener on loopback as the real server has it: TCP_NODELAY for every accepted socket, and a
/// backlog that no burst of connects fills.
pub(crate) fn listen() -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}
