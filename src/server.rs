//! The poll loop: [`Server`] turns readiness into calls on a [`Chat`], and what the chat waits for
//! into registrations. This is the only file that knows mio, accepts connections, or reads the
//! clock, and it does so once a turn.
//!
//! mio is edge-triggered: an event comes once. So events only mark who is ready, and whatever a
//! budget or an error leaves undone stays marked until it is done.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use log::{info, warn};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll, Token, Waker};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use crate::chat::{Chat, ClientId, Interest, Registry, Stream};
use crate::config::Config;
use crate::listen;

/// How many events one poll takes; the others come with the next.
const EVENTS_PER_TURN: usize = 1024;

/// Tokens: clients count from 0, the others from the end.
const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const FIRST_LISTENER: usize = usize::MAX / 2;

/// A chat server on its listeners, run by whoever calls [`turn`](Self::turn) or [`run`](Self::run).
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use std::net::TcpStream;
///
/// let mut config = line_chat::Config::default();
/// config.listen = vec!["127.0.0.1:0".parse()?];
/// let mut server = line_chat::Server::bind(config)?;
/// let addr = server.local_addrs()[0];
/// let handle = server.shutdown_handle();
/// let thread = std::thread::spawn(move || server.run());
///
/// let mut alice = TcpStream::connect(addr)?;
/// alice.write_all(b"alice\r\n\xff\xf6")?; // telnet's "are you there"
/// let mut alice = BufReader::new(alice);
/// let mut line = String::new();
/// alice.read_line(&mut line)?;
/// assert_eq!(line, "* yes\r\n");
///
/// let mut bob = TcpStream::connect(addr)?;
/// bob.write_all(b"bob\r\nhello\r\n")?;
/// line.clear();
/// alice.read_line(&mut line)?;
/// assert_eq!(line, "bob: hello\r\n");
///
/// drop((alice, bob));
/// handle.shut_down();
/// thread.join().expect("the server does not panic")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    /// Which listener is asked first, a different one each turn.
    first_listener: usize,
    accepts_per_turn: usize,
    back_off: BackOff,
    signals: Option<Signals>,
    shutdown: Arc<Shared>,
    /// How many of the requests to shut down have been acted on.
    shutdowns_seen: usize,
    chat: Chat<TcpStream>,
    /// When the last turn began.
    now: Instant,
    status: Status,
}

/// Whether there will be another turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The server is up, or on its way down.
    Running,
    /// The server has shut down. A further turn does nothing.
    Stopped,
}

/// Shuts a server down, from any thread. Clones are for the same server.
#[derive(Debug, Clone)]
pub struct ShutdownHandle(Arc<Shared>);

impl ShutdownHandle {
    /// Tells every client, writes what is queued, for
    /// [`Limits::goodbye_timeout`](crate::Limits::goodbye_timeout) at most, and stops. A second
    /// call stops at once.
    pub fn shut_down(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.0.waker.wake() {
            warn!("the server cannot be woken to shut down: {error}");
        }
    }
}

#[derive(Debug)]
struct Shared {
    requests: AtomicUsize,
    waker: Waker,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// Connections may wait: there was no WouldBlock since the last event that said so.
    waiting: bool,
}

impl Server {
    /// Binds every address of `config`. The server is ready for connections when this returns; they
    /// are served from the first [`turn`](Self::turn) on. With [`Config::handle_signals`],
    /// SIGINT and SIGTERM are its from here on.
    ///
    /// # Errors
    /// The text names the address, and says what to do. `InvalidInput` if the config does not pass
    /// [`Config::check`].
    pub fn bind(config: Config) -> io::Result<Self> {
        config
            .check()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let poll = Poll::new()?;
        let listeners = bind_all(&config, &poll)?;
        let signals = if config.handle_signals {
            Some(watch_signals(&poll)?)
        } else {
            None
        };
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            listeners,
            first_listener: 0,
            accepts_per_turn: config.limits.accepts_per_turn,
            back_off: BackOff::default(),
            signals,
            shutdown: Arc::new(Shared {
                requests: AtomicUsize::new(0),
                waker,
            }),
            shutdowns_seen: 0,
            chat: Chat::new(config),
            now: Instant::now(),
            status: Status::Running,
        })
    }

    /// Where it listens, in the order of the config, with the ports that the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.socket.local_addr().ok())
            .collect()
    }

    /// A handle that shuts this server down.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle(Arc::clone(&self.shutdown))
    }

    /// How many clients are connected, members or not.
    pub fn clients(&self) -> usize {
        self.chat.clients()
    }

    /// Takes turns until the server has shut down.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn(None)? == Status::Running {}
        Ok(())
    }

    /// Waits for something to do, for at most `timeout` (`None`: as long as it takes), and does it.
    ///
    /// # Errors
    /// Fails if the system cannot poll, which no client can cause.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Status> {
        if self.status == Status::Stopped {
            return Ok(self.status);
        }
        let patience = self.patience(timeout);
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        self.now = Instant::now();
        self.mark_ready();
        self.heed_shutdown();
        self.accept_waiting();
        self.chat
            .turn(self.now, &mut Registrations(self.poll.registry()));
        if self.shutdowns_seen > 1 || self.chat.is_over(self.now) {
            info!("stopped");
            self.status = Status::Stopped;
        }
        Ok(self.status)
    }

    /// How long the next poll may sleep.
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.chat.has_work()
            || (self.back_off.until.is_none() && self.listeners.iter().any(|l| l.waiting))
        {
            return Some(Duration::ZERO);
        }
        let deadline = self
            .chat
            .next_deadline()
            .into_iter()
            .chain(self.back_off.until)
            .min();
        let until_deadline = deadline.map(|at| at.saturating_duration_since(self.now));
        until_deadline.into_iter().chain(timeout).min()
    }

    fn mark_ready(&mut self) {
        for event in &self.events {
            match event.token() {
                WAKER => {}
                SIGNALS => {
                    let signals = self.signals.iter_mut().flat_map(Signals::pending);
                    self.shutdown
                        .requests
                        .fetch_add(signals.count(), Ordering::Relaxed);
                }
                Token(token) if token >= FIRST_LISTENER => {
                    if let Some(listener) = self.listeners.get_mut(token - FIRST_LISTENER) {
                        listener.waiting = true;
                    }
                }
                Token(client) => mark_client(&mut self.chat, ClientId(client), event),
            }
        }
    }

    fn heed_shutdown(&mut self) {
        let requests = self.shutdown.requests.load(Ordering::Relaxed);
        if requests > 0 && self.shutdowns_seen == 0 {
            info!("shutting down");
            self.listeners.clear();
            self.back_off = BackOff::default();
            self.chat.shut_down(self.now);
        }
        self.shutdowns_seen = requests;
    }

    fn accept_waiting(&mut self) {
        if self.back_off.is_on(self.now) || self.listeners.is_empty() {
            return;
        }
        let mut budget = self.accepts_per_turn;
        self.first_listener = (self.first_listener + 1) % self.listeners.len();
        let (later, first) = self.listeners.split_at_mut(self.first_listener);
        for listener in first.iter_mut().chain(later) {
            while listener.waiting && budget > 0 {
                budget -= 1;
                match listener.socket.accept() {
                    Ok((stream, peer)) => {
                        self.back_off.succeeded();
                        self.chat.accept(
                            stream,
                            canonical(peer),
                            &mut Registrations(self.poll.registry()),
                        );
                    }
                    Err(error) => match AcceptError::of(&error) {
                        AcceptError::NobodyWaits => listener.waiting = false,
                        AcceptError::ThatOneIsGone => {}
                        AcceptError::OutOfResources => {
                            return self.back_off.failed(self.now, &error);
                        }
                    },
                }
            }
        }
    }
}

fn bind_all(config: &Config, poll: &Poll) -> io::Result<Vec<Listener>> {
    let mut sockets = Vec::new();
    let mut errors = Vec::new();
    for addr in &config.listen {
        let bound = listen::bind(addr, &config.limits)?;
        errors.extend(bound.errors);
        sockets.extend(bound.listeners);
    }
    // Only now: a log that begins before everything is bound would hide the one line that says what
    // is not. Registering comes after that as well, because mio logs it.
    for error in errors {
        warn!("{error}");
    }
    let register = |(index, socket)| {
        let mut socket = TcpListener::from_std(socket);
        let token = Token(FIRST_LISTENER + index);
        poll.registry()
            .register(&mut socket, token, mio::Interest::READABLE)?;
        Ok(Listener {
            socket,
            waiting: false,
        })
    };
    sockets.into_iter().enumerate().map(register).collect()
}

fn watch_signals(poll: &Poll) -> io::Result<Signals> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    poll.registry()
        .register(&mut signals, SIGNALS, mio::Interest::READABLE)?;
    Ok(signals)
}

fn mark_client(chat: &mut Chat<TcpStream>, id: ClientId, event: &Event) {
    let failed = event.is_error() || event.is_write_closed();
    if event.is_readable() || event.is_read_closed() || failed {
        // Behind what one read gives there may be the end of stream, an error, or urgent data: a
        // read stops at it (tcp(7)), and no further event tells of what stands behind.
        chat.readable(id, event.is_read_closed() || event.is_priority() || failed);
    }
    if event.is_writable() || failed {
        chat.writable(id);
    }
}

/// An IPv4 peer on a dual-stack socket is an IPv4 peer (RFC 4291, 2.5.5.2).
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        server
            .field("listeners", &self.listeners)
            .field("clients", &self.clients());
        server.field("status", &self.status).finish_non_exhaustive()
    }
}

/// What an error of accept(2) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AcceptError {
    /// The queue is empty: an event will tell when it no longer is.
    NobodyWaits,
    /// The next one in the queue may be fine.
    ThatOneIsGone,
    /// No descriptors or no memory. Those who wait go on waiting, and no event will tell when they
    /// can be served.
    OutOfResources,
}

impl AcceptError {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::NobodyWaits,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) | None => {
                Self::OutOfResources
            }
            // ECONNABORTED, EINTR, EPROTO, and the network errors of the one connection
            // (accept(2)).
            Some(_) => Self::ThatOneIsGone,
        }
    }
}

/// The wait after an accept that failed for want of resources: 10 ms, doubled up to a second.
#[derive(Debug)]
struct BackOff {
    until: Option<Instant>,
    next: Duration,
}

const MIN_BACK_OFF: Duration = Duration::from_millis(10);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

impl Default for BackOff {
    fn default() -> Self {
        Self {
            until: None,
            next: MIN_BACK_OFF,
        }
    }
}

impl BackOff {
    /// Whether there is still to be waited; forgets a wait that is over.
    fn is_on(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|&until| now < until);
        self.until.is_some()
    }

    fn failed(&mut self, now: Instant, error: &io::Error) {
        if self.next == MIN_BACK_OFF {
            warn!("connections have to wait: {error}");
        }
        self.until = Some(now + self.next);
        self.next = (self.next * 2).min(MAX_BACK_OFF);
    }

    fn succeeded(&mut self) {
        self.next = MIN_BACK_OFF;
    }
}

/// mio's registry, as the chat sees it.
struct Registrations<'a>(&'a mio::Registry);

impl Registry<TcpStream> for Registrations<'_> {
    fn register(&mut self, stream: &mut TcpStream, id: ClientId) -> io::Result<()> {
        self.0
            .register(stream, Token(id.0), readiness(Interest::Readable))
    }

    fn reregister(
        &mut self,
        stream: &mut TcpStream,
        id: ClientId,
        interest: Interest,
    ) -> io::Result<()> {
        self.0.reregister(stream, Token(id.0), readiness(interest))
    }

    fn deregister(&mut self, stream: &mut TcpStream) {
        // Dropping the stream takes it out of epoll in any case (epoll(7)).
        let _ = self.0.deregister(stream);
    }
}

/// PRIORITY, because only it tells that urgent data stands in the way of a read.
fn readiness(interest: Interest) -> mio::Interest {
    let readable = mio::Interest::READABLE | mio::Interest::PRIORITY;
    match interest {
        Interest::Readable => readable,
        Interest::ReadableAndWritable => readable | mio::Interest::WRITABLE,
    }
}

impl Stream for TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_can_be_moved_to_another_thread() {
        fn is_send<T: Send>() {}
        fn is_sync<T: Sync>() {}
        is_send::<Server>();
        is_send::<ShutdownHandle>();
        is_sync::<ShutdownHandle>();
    }

    #[test]
    fn the_back_off_doubles_up_to_a_second_and_begins_anew_after_a_success() {
        let mut back_off = BackOff::default();
        let now = Instant::now();
        let error = io::Error::from(Errno::MFILE);
        let mut waits = Vec::new();
        for _ in 0..9 {
            back_off.failed(now, &error);
            waits.push(back_off.until.map(|until| (until - now).as_millis()));
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(Some));
        assert!(back_off.is_on(now + Duration::from_millis(999)));
        assert!(!back_off.is_on(now + Duration::from_secs(1)));
        back_off.succeeded();
        back_off.failed(now, &error);
        assert_eq!(back_off.until, Some(now + MIN_BACK_OFF));
    }

    #[test]
    fn accept_errors_are_told_apart() {
        let of = |errno: Errno| AcceptError::of(&errno.into());
        assert_eq!(of(Errno::AGAIN), AcceptError::NobodyWaits);
        for errno in [
            Errno::CONNABORTED,
            Errno::INTR,
            Errno::PROTO,
            Errno::HOSTUNREACH,
        ] {
            assert_eq!(of(errno), AcceptError::ThatOneIsGone);
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(of(errno), AcceptError::OutOfResources);
        }
    }
}
