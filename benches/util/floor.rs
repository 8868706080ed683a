//! The floor: what is read from one socket is written to all the others, in the same poll loop and
//! with the same socket options as the real server, and that is all. There are no lines, no nicks,
//! no buffers but one to read into, and what a socket does not take is lost. No server that sends
//! each receiver its own copy can be cheaper for the same reads, so a ratio to it says what the
//! chat costs beside the system calls.
//!
//! A server can still be below it, by gathering in one write what came with several reads, which
//! takes a buffer.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);
const STOP: Token = Token(usize::MAX - 1);

#[derive(Debug)]
pub(crate) struct Floor {
    poll: Poll,
    listener: TcpListener,
    clients: Slab<TcpStream>,
    scratch: Box<[u8]>,
    stop: Arc<Waker>,
}

impl Floor {
    pub(crate) fn bind() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::from_std(listen()?);
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
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
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    STOP => return Ok(()),
                    LISTENER => self.accept()?,
                    Token(client) => self.copy(client),
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

    /// Reads until a short read: what comes later comes with an event.
    fn copy(&mut self, from: usize) {
        while let Some(client) = self.clients.get_mut(from) {
            let n = match client.read(&mut self.scratch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => return drop(self.clients.remove(from)),
                Ok(n) => n,
            };
            for (to, other) in &mut self.clients {
                if to != from {
                    // Whoever is gone is removed by its own event.
                    let _ = other.write(&self.scratch[..n]);
                }
            }
            if n < self.scratch.len() {
                return;
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
