//! The poll loop: [`Server`] turns readiness into calls on a [`Chat`], and what the chat waits for
//! into registrations. This is the only file that knows mio or reads the clock, and it does so at
//! the beginning of a turn, for everybody, and at its end, for the longest turn.
//!
//! mio is edge-triggered: an event comes once. So events only mark who is ready, and whatever a
//! budget or an error leaves undone stays marked until it is done.

pub mod accept;
pub(crate) mod handle;
mod listen;

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::{error, info, warn};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Poll, Token, Waker};
use rustix::process::{Resource, getrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_mio::v1_0::Signals;

use crate::config::Config;
use crate::config::interactive::{Hosting, Mode};
use crate::engine::{Chat, ClientId, Interest, Registry, Stream};
use crate::metrics::Metrics;
use crate::server::accept::{Acceptor, Listen};
use crate::server::handle::{MetricsHandle, Requests, ShutdownHandle};
use crate::session::secrets::Files;

/// How many events one poll takes; the others come with the next.
const EVENTS_PER_TURN: usize = 4096;

/// Tokens: clients count from 0, the others from the end.
const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const FIRST_LISTENER: usize = usize::MAX / 2;

/// Descriptors that are not for clients: the standard streams, the poll, its waker, signals, the
/// listeners and the spare one.
const RESERVED_DESCRIPTORS: u64 = 16;

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
    acceptor: Acceptor<Listener>,
    signals: Option<Signals>,
    requests: Arc<Requests>,
    /// How many of the requests to shut down have been acted on.
    shutdowns_seen: usize,
    chat: Chat<TcpStream>,
    /// What says which files are read.
    hosting: Hosting,
    /// Never sleep.
    spin: bool,
    /// When the last turn began, and when it ended.
    now: Instant,
    ended: Instant,
    turns: u64,
    longest_turn: Duration,
    status: Status,
}

/// Whether there will be another turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The server is up, or on its way down.
    Running,
    /// The server has shut down. A further turn does nothing.
    Stopped,
}

impl Server {
    /// Binds every address of `config`. The server is ready for connections when this returns; they
    /// are served from the first [`turn`](Self::turn) on. With [`Config::handle_signals`],
    /// SIGINT, SIGTERM and SIGUSR1 are its from here on, and SIGHUP if there are files to be read
    /// again.
    ///
    /// # Errors
    /// The text names the address or the file, and says what to do. `InvalidInput` if the config does
    /// not pass [`Config::check`].
    pub fn bind(mut config: Config) -> io::Result<Self> {
        config
            .check()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        // Before anything is logged: one line is to say what cannot be read.
        let files = Files::read(&config.hosting)?;
        let poll = Poll::new()?;
        let listeners = bind_all(&config, &poll)?;
        files.warn();
        let signals = if config.handle_signals {
            Some(watch_signals(&poll, config.hosting.has_files())?)
        } else {
            None
        };
        let waker = Waker::new(poll.registry(), WAKER)?;
        config.limits.max_clients = Some(max_clients(config.limits.max_clients));
        let (hosting, spin) = (config.hosting.clone(), config.spin);
        let accepts_per_turn = config.limits.accepts_per_turn;
        let mut chat = Chat::new(config);
        chat.files = files;
        chat.set_wall_clock(SystemTime::now);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            acceptor: Acceptor::new(listeners, accepts_per_turn),
            signals,
            requests: Arc::new(Requests::new(move || waker.wake())),
            shutdowns_seen: 0,
            hosting,
            spin,
            chat,
            now: Instant::now(),
            ended: Instant::now(),
            turns: 0,
            longest_turn: Duration::ZERO,
            status: Status::Running,
        })
    }

    /// Where it listens, in the order of the config, plain listeners last, with the ports that the
    /// system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let sockets = self.acceptor.sockets();
        sockets
            .filter_map(|listener| listener.socket.local_addr().ok())
            .collect()
    }

    /// Reads the files of [`Config::hosting`] again, between two turns, as SIGHUP does.
    ///
    /// # Errors
    /// The text names the file, and says what to do. All of them stay what they were.
    pub fn reload(&mut self) -> io::Result<()> {
        self.chat.read_files(&self.hosting)
    }

    /// A handle that shuts this server down, from any thread.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle(Arc::clone(&self.requests))
    }

    /// A handle that reads this server's metrics from another thread.
    pub fn metrics_handle(&self) -> MetricsHandle {
        MetricsHandle(Arc::clone(&self.requests))
    }

    /// What it has done so far, and how it stands.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            turns: self.turns,
            longest_turn: self.longest_turn,
            ..self.chat.metrics()
        }
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
    /// The time from one turn to the next is not counted: time-outs come later by it.
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
        self.heed_requests();
        let registry = &mut Registrations(self.poll.registry());
        self.acceptor.accept(self.now, &mut self.chat, registry);
        self.chat.turn(self.now, registry);
        if self.shutdowns_seen > 1 || self.chat.is_over(self.now) {
            info!("stopped: {}", self.metrics());
            self.requests.close();
            self.status = Status::Stopped;
        }
        self.turns += 1;
        self.ended = Instant::now();
        self.longest_turn = self.longest_turn.max(self.ended - self.now);
        Ok(self.status)
    }

    /// How long the next poll may sleep.
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.spin || self.chat.has_work() || self.acceptor.has_work() {
            return Some(Duration::ZERO);
        }
        let deadlines = [self.chat.next_deadline(), self.acceptor.next_deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        let until_deadline = deadline.map(|at| at.saturating_duration_since(self.ended));
        until_deadline.into_iter().chain(timeout).min()
    }

    fn mark_ready(&mut self) {
        let (mut is_report_due, mut is_reload_due) = (false, false);
        for event in &self.events {
            match event.token() {
                WAKER => {}
                SIGNALS => {
                    for signal in self.signals.iter_mut().flat_map(Signals::pending) {
                        match signal {
                            SIGUSR1 => is_report_due = true,
                            SIGHUP => is_reload_due = true,
                            _ => self.requests.shut_down(),
                        }
                    }
                }
                Token(token) if token >= FIRST_LISTENER => {
                    self.acceptor.mark(token - FIRST_LISTENER);
                }
                Token(client) => mark_client(&mut self.chat, ClientId(client), event),
            }
        }
        if is_report_due {
            info!("{}", self.metrics());
        }
        if is_reload_due {
            match self.reload() {
                Ok(()) => info!("the files were read again"),
                Err(error) => error!("nothing was read again: {error}"),
            }
        }
    }

    fn heed_requests(&mut self) {
        self.requests.answer(|| self.metrics());
        let shutdowns = self.requests.shutdowns();
        if shutdowns > 0 && self.shutdowns_seen == 0 {
            info!("shutting down");
            self.acceptor.close();
            self.chat.shut_down(self.now);
        }
        self.shutdowns_seen = shutdowns;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.requests.close();
    }
}

/// How many clients there may be: what was asked for, or what the limit of descriptors allows.
fn max_clients(asked: Option<usize>) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let allowed = limit.saturating_sub(RESERVED_DESCRIPTORS.min(limit / 2));
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX).max(1);
    if let Some(asked) = asked.filter(|&asked| asked > allowed) {
        warn!(
            "room for {asked} clients was asked for, but the limit of {limit} open files allows \
             {allowed}: raise it (ulimit -n)"
        );
    }
    let max_clients = asked.unwrap_or(allowed);
    info!("room for {max_clients} clients");
    max_clients
}

fn bind_all(config: &Config, poll: &Poll) -> io::Result<Vec<Listener>> {
    let mut sockets = Vec::new();
    let mut errors = Vec::new();
    let mode = config.hosting.mode();
    let plain = config.listen_plain.iter().map(|addr| (addr, Mode::Bare));
    for (addr, mode) in config.listen.iter().map(|addr| (addr, mode)).chain(plain) {
        let bound = listen::bind(addr, &config.limits)?;
        errors.extend(bound.errors);
        sockets.extend(bound.listeners.into_iter().map(|socket| (socket, mode)));
    }
    // Only now: a log that begins before everything is bound would hide the one line that says what
    // is not. Registering comes after that as well, because mio logs it.
    for error in errors {
        warn!("{error}");
    }
    let register = |(index, (socket, mode))| {
        let mut socket = TcpListener::from_std(socket);
        let token = Token(FIRST_LISTENER + index);
        poll.registry()
            .register(&mut socket, token, mio::Interest::READABLE)?;
        Ok(Listener { socket, mode })
    };
    sockets.into_iter().enumerate().map(register).collect()
}

/// `has_files`: there is something to read again. Otherwise SIGHUP ends the process, as it does
/// when its terminal is closed.
fn watch_signals(poll: &Poll, has_files: bool) -> io::Result<Signals> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    if has_files {
        signals.add_signal(SIGHUP)?;
    }
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

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        server
            .field("acceptor", &self.acceptor)
            .field("clients", &self.clients());
        server.field("status", &self.status).finish_non_exhaustive()
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

/// A listening socket, and what its clients are sent.
#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    mode: Mode,
}

impl Listen for Listener {
    type Stream = TcpStream;
    type Spare = File;

    fn mode(&self) -> Mode {
        self.mode
    }

    fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept()
    }

    fn open_spare() -> io::Result<File> {
        File::open("/dev/null")
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
        is_send::<MetricsHandle>();
        is_sync::<MetricsHandle>();
    }
}
