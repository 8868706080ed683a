//! The poll loop: [`Server`] turns readiness into calls on an [`Engine`], and what the engine waits for
//! into registrations. Only this folder knows mio and reads the clock, at the beginning of a turn, for
//! everybody, and at its end, for the longest turn.
//!
//! mio is edge-triggered: an event comes once. So events only mark who is ready, and whatever a budget
//! or an error leaves undone stays marked until it is done.

pub mod accept;
#[cfg_attr(not(feature = "tls"), path = "no_certificates.rs")]
mod certificates;
pub(crate) mod handle;
mod listen;
mod log;
mod log_lines;
mod process;
mod proxied;
mod signals;
pub(crate) mod transport;
pub mod turn_clock;
mod unix_socket;

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "relay")]
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::event::Event as Readiness;
use mio::{Events, Poll, Token, Waker};
use rustix::process::{Resource, getrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_mio::v1_0::Signals;

use crate::client_id::ClientId;
use crate::config::addr::{ListenAddr, Place, Role, Service};
use crate::config::interactive::{Interactive, Profile};
#[cfg(feature = "relay")]
use crate::config::relay::{RelayConfig, RelayHost};
use crate::config::unix_socket::UnixName;
use crate::config::{Config, ConfigError};
use crate::engine::{Engine, Interest, Liveness, Registry, SanctionsError};
use crate::events::{Event, Observer};
use crate::metrics::Metrics;
use crate::peer::Peer;
use accept::{AcceptError, Acceptor, Listen};
use certificates::Certificates;
use handle::{ControlBlock, Handle, Request};
use listen::{Bound, Listening};
use log::Log;
use proxied::{Ended, Proxied, Waiting};
use signals::Ignored;
use transport::{BoundListener, Keepalive, SockDiag, Transport, Unix};
use turn_clock::TurnClock;
use unix_socket::SocketFile;

/// How many events one poll takes; the others come with the next.
const EVENTS_PER_TURN: usize = 4096;

/// Tokens: clients count from 0, the others from the end.
const WAKER: Token = Token(usize::MAX);
const SIGNALS: Token = Token(usize::MAX - 1);
const FIRST_LISTENER: usize = usize::MAX / 2;
const FIRST_PROXIED: usize = usize::MAX / 4;

/// The descriptors of a process, each as a file named by its number (proc(5)).
const DESCRIPTORS: &str = "/proc/self/fd";

/// How many descriptors are assumed to be open where that cannot be counted.
const ASSUMED_DESCRIPTORS: u64 = 16;

/// A chat server on its listeners, run by whoever calls [`turn`](Self::turn) or [`run`](Self::run). It
/// writes a log through the `log` crate; `O` looks on beside that.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use std::net::TcpStream;
///
/// let config = line_chat::Config {
///     listen: vec!["127.0.0.1:0".parse()?],
///     ..line_chat::Config::default()
/// };
/// let mut server = line_chat::Server::bind(config)?;
/// let addr = server.local_addrs()[0];
/// let handle = server.handle();
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
pub struct Server<O: Observer = ()> {
    poll: Poll,
    events: Events,
    acceptor: Acceptor<Listener>,
    proxied: Proxied,
    signals: Option<Signals>,
    /// Whether the process has a terminal, so that SIGHUP may mean that it was closed.
    has_terminal: bool,
    control: Arc<ControlBlock>,
    /// How many of the requests to shut down have been acted on.
    shutdowns_seen: usize,
    engine: Engine<Transport, (Log, O)>,
    /// Asks the kernel whether peers are alive.
    system: SockDiag,
    /// How the peers of dialed connections are probed.
    keepalive: Keepalive,
    /// Which files are read again.
    interactive: Interactive,
    /// Where the engine is that joins this server and others.
    #[cfg(feature = "relay")]
    relay: Option<RelayConfig>,
    /// What listeners for TLS have.
    certificates: Option<Arc<Certificates>>,
    /// Never sleep.
    spin: bool,
    clock: TurnClock,
    /// How many events the last poll returned.
    polled: usize,
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
    /// are served from the first [`turn`](Self::turn) on. With [`Config::handle_signals`], SIGINT,
    /// SIGTERM, SIGUSR1 and SIGHUP are the server's from here on, except those that the process
    /// ignores.
    ///
    /// # Errors
    /// The text names the address or the file, and says what to do. `InvalidInput` if the config does
    /// not pass [`Config::check`].
    pub fn bind(config: Config) -> io::Result<Self> {
        Self::bind_with(config, Vec::new(), ())
    }
}

impl<O: Observer> Server<O> {
    /// Binds every address of `config` and takes over listeners that are bound already, such as those
    /// that a supervisor hands down. `observer` is told what happens.
    ///
    /// # Errors
    /// As [`bind`](Server::bind).
    pub fn bind_with(
        mut config: Config,
        bound: Vec<(BoundListener, Role)>,
        observer: O,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let people = Service::Chat(Profile::Interactive);
        if bound.iter().any(|&(_, role)| role.service == people) {
            config.expect_people();
        }
        let interactive = config.interactive.clone();
        let tls_files = config.tls.clone();
        #[cfg(feature = "relay")]
        let relay = config.relay.clone();
        let (spin, handle_signals) = (config.spin, config.handle_signals);
        let accepts_per_turn = config.limits.accepts_per_turn;
        let keepalive = Keepalive::new(&config.limits);
        let proxied = Proxied::new(std::mem::take(&mut config.proxy_from));
        let listen = Listening::bind(&config, bound);
        // All that the server needs for itself is open before it is counted.
        let mut system = SockDiag::open();
        let signals = handle_signals.then(|| open_signals(Ignored::of_process()));
        let waker = Waker::new(poll.registry(), WAKER);
        let (asked, open_files) = (config.limits.max_clients, open_files());
        let allowed = {
            // The spare one, and the connection of a newcomer that is told that the server is full.
            let _besides = [Listener::open_spare(), Listener::open_spare()];
            allowed_clients(open_files)
        };
        let has_http = listen.as_ref().is_ok_and(Listening::has_http);
        let http = match has_http {
            true => http_share(config.limits.max_http_connections, asked, allowed),
            false => 0,
        };
        config.limits.max_http_connections = http.max(1);
        let allowed = allowed.saturating_sub(http);
        config.limits.max_clients = Some(asked.unwrap_or(allowed.max(1)));
        // Only now: a log that begins before everything is bound would hide the one line that says
        // what is not.
        let begun = Instant::now();
        let mut engine = Engine::new(config, (Log::default(), observer), begun)?;
        let Listening {
            sockets,
            errors,
            unsupported,
        } = listen?;
        let read = |files| Certificates::read(files, interactive.has_password()).map(Arc::new);
        let certificates = tls_files.map(read).transpose()?;
        if certificates.is_none() && sockets.iter().any(|bound| bound.role.layers.tls) {
            let error = ConfigError::NoCertificate;
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        if allowed == 0 {
            return Err(io::Error::other(format!(
                "the limit of {open_files} open files leaves no room for a client: raise it (ulimit -n)"
            )));
        }
        engine.set_wall_clock(SystemTime::now);
        engine.set_random(process::random);
        engine.set_process_stats(process::stats);
        #[cfg(feature = "relay")]
        if let Some(relay) = &relay {
            let addrs = relay_addrs(relay)?;
            engine.join_others(relay, addrs, begun);
        }
        for error in &errors {
            report(&mut engine, Event::ListenFailed { error });
        }
        for it in &unsupported {
            let (option, loss, error) = (it.option, it.loss, &it.error);
            let event = Event::OptionUnsupported {
                option,
                loss,
                error,
            };
            report(&mut engine, event);
        }
        for addr in sockets.iter().filter_map(exposed_metrics) {
            report(&mut engine, Event::MetricsExposed { addr });
        }
        let capacity = Event::Capacity {
            max_clients: allowed,
            asked,
            open_files,
        };
        report(&mut engine, capacity);
        report_certificates(&mut engine, certificates.as_deref());
        // Registering comes after that as well, because mio logs it.
        let listeners = register_all(sockets, certificates.as_ref(), &poll)?;
        let addrs = listeners.iter().map(Listener::addr);
        let names = addrs.map(|addr| addr.map(|addr| addr.name()).unwrap_or_default());
        engine.observer().0.name_listeners(names);
        report_refusal(&mut engine, &mut system);
        let signals = signals.map(|signals| watch_signals(&poll, signals?));
        let (signals, waker) = (signals.transpose()?, waker?);
        let now = Instant::now();
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            acceptor: Acceptor::new(listeners, accepts_per_turn),
            proxied,
            signals,
            has_terminal: handle_signals && signals::has_terminal(),
            control: Arc::new(ControlBlock::new(move || waker.wake())),
            shutdowns_seen: 0,
            engine,
            system,
            keepalive,
            interactive,
            #[cfg(feature = "relay")]
            relay,
            certificates,
            spin,
            clock: TurnClock::new(now),
            polled: 0,
            status: Status::Running,
        })
    }

    /// Where it listens by TCP, in the order of the config, `listen_plain` and `listen_metrics` next and
    /// listeners that were handed in last, with the ports that the system chose. Unix sockets are left
    /// out: see [`listeners`](Self::listeners).
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let sockets = self.acceptor.sockets();
        sockets
            .filter_map(|listener| listener.socket.tcp_addr())
            .collect()
    }

    /// Where it listens and what clients get there, in the same order, Unix sockets by their names.
    ///
    /// ```
    /// let config = line_chat::Config {
    ///     listen: vec!["plain+unix:@an-example".parse()?],
    ///     ..line_chat::Config::default()
    /// };
    /// let server = line_chat::Server::bind(config)?;
    /// assert_eq!(server.listeners(), ["plain+unix:@an-example".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listeners(&self) -> Vec<ListenAddr> {
        self.acceptor.sockets().filter_map(Listener::addr).collect()
    }

    /// Reads the files of [`Config::interactive`] and [`Config::tls`] again, between two turns, as SIGHUP
    /// does. Connections that are open keep the certificate that they have.
    ///
    /// # Errors
    /// The text names the file, and says what to do. Everything stays what it was.
    pub fn reload(&mut self) -> io::Result<()> {
        let certificates = self.certificates.as_deref();
        let certificates = certificates.map(Certificates::read_again).transpose()?;
        #[cfg(feature = "relay")]
        if let Some(relay) = &self.relay {
            let addrs = relay_addrs(relay)?;
            self.engine.set_relay_addrs(addrs);
        }
        self.engine.reload(&self.interactive)?;
        if let Some(certificates) = certificates.flatten() {
            let certificates = Arc::new(certificates);
            report_certificates(&mut self.engine, Some(&certificates));
            for listener in self.acceptor.sockets_mut() {
                listener.use_certificates(&certificates);
            }
            self.certificates = Some(certificates);
        }
        Ok(())
    }

    /// A handle for other threads.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.control))
    }

    /// Sets what tells how many lines of the log were dropped, for the metrics. By default none is.
    pub fn set_log_lines_dropped(&mut self, log_lines_dropped: fn() -> u64) {
        self.engine.set_log_lines_dropped(log_lines_dropped);
    }

    /// What it has done so far, and how it stands.
    pub fn metrics(&self) -> Metrics {
        self.engine.metrics()
    }

    /// How many clients are connected, members or not.
    pub fn clients(&self) -> usize {
        self.engine.clients()
    }

    /// The nicks of all members, in alphabetical order, those of other servers included.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.engine.members()
    }

    /// The observer that was handed in.
    pub fn observer(&mut self) -> &mut O {
        &mut self.engine.observer().1
    }

    /// Connects to this address at the end of the next turn, and gives the connection the same service
    /// as one that was accepted.
    pub fn dial(&mut self, to: SocketAddr, service: Service) {
        self.engine.dial(to, service);
    }

    /// Writes what is said from now on to the other end of this pair of sockets, each line with the time
    /// before it, as people see it. For a server whose [`Config::recorded`] is set.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn record(&mut self, socket: UnixStream) -> io::Result<()> {
        let (stream, peer) = Unix::paired(socket)?;
        let registry = &mut Registrations {
            poll: self.poll.registry(),
            system: &mut self.system,
            keepalive: self.keepalive,
        };
        self.engine
            .record(Transport::Unix(stream), peer, self.clock.ended(), registry);
        Ok(())
    }

    /// Whether the transcript is written: not before [`record`](Self::record), and not any more when the
    /// other end was closed.
    pub fn is_recording(&self) -> bool {
        self.engine.is_recording()
    }

    /// Another number whenever bans or mutes have changed.
    pub fn sanctions_version(&self) -> u64 {
        self.engine.sanctions_version()
    }

    /// All bans and mutes that are in force, as text that [`restore_sanctions`](Self::restore_sanctions) takes.
    pub fn sanctions(&self) -> String {
        self.engine.sanctions()
    }

    /// Adds bans and mutes that were in force before.
    ///
    /// # Errors
    /// A line is neither. Those before it were added.
    pub fn restore_sanctions(&mut self, text: &str) -> Result<(), SanctionsError> {
        self.engine.restore_sanctions(text)
    }

    /// Says something as the server to all people at a prompt, as `* TEXT`, in the next turn. Control
    /// characters in it are replaced.
    pub fn announce(&mut self, text: &str) {
        self.engine.announce(text);
    }

    /// Closes the member of exactly this nick in the next turn; it is told why. Returns whether there
    /// is one.
    pub fn close(&mut self, nick: &str, why: &str) -> bool {
        self.engine.close(nick, why)
    }

    /// Begins to shut down in the next turn, as [`Handle::shut_down`] does.
    pub fn shut_down(&mut self) {
        self.control.shut_down();
    }

    /// Takes turns until the server has shut down.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn(None)? == Status::Running {}
        Ok(())
    }

    /// The time at which the last turn ended, or the server was bound. [`turn`](Self::turn) waits from then
    /// on, so a program needs no clock of its own to come back in time.
    pub fn now(&self) -> Instant {
        self.clock.ended()
    }

    /// When the next turn is due although nothing happens: at once if work is left over, never if this
    /// is `None`. A loop of one's own waits until then, or until the server [is readable](AsFd).
    pub fn next_deadline(&self) -> Option<Instant> {
        let has_work =
            self.engine.has_work() || self.acceptor.has_work() || self.proxied.has_work();
        // Events that did not fit are still there, and an outer loop would not hear of them again.
        let has_more_events = self.polled >= EVENTS_PER_TURN;
        let is_ending = self.control.shutdowns() > self.shutdowns_seen;
        if self.spin || has_work || has_more_events || is_ending {
            return Some(self.clock.ended());
        }
        let deadlines = [
            self.engine.next_deadline(),
            self.acceptor.next_deadline(),
            self.proxied.next_deadline(),
            self.engine.observed_by().0.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Waits for something to do, for at most `timeout` (`None`: as long as it takes), and does it. A
    /// turn that begins more than a second after the [deadline](Self::next_deadline) that it was for
    /// finds a process that was stopped, or a loop that was busy elsewhere: what is late beyond the
    /// deadline does not count, and every time-out comes later by it.
    ///
    /// # Errors
    /// Fails if the system cannot poll, which no client can cause.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Status> {
        if self.status == Status::Stopped {
            return Ok(self.status);
        }
        let deadline = self.next_deadline();
        let until_deadline = deadline.map(|at| at.saturating_duration_since(self.clock.ended()));
        let patience = until_deadline.into_iter().chain(timeout).min();
        self.poll(patience)?;
        let now = Instant::now();
        if let Some(late) = self.clock.begin_turn(deadline, now) {
            self.engine.leave_out(late);
            self.proxied.leave_out(late);
            report(&mut self.engine, Event::Late { by: late });
        }
        self.mark_all_ready(now)?;
        self.answer_requests();
        let registry = &mut Registrations {
            poll: self.poll.registry(),
            system: &mut self.system,
            keepalive: self.keepalive,
        };
        let (proxied, poll) = (&mut self.proxied, self.poll.registry());
        self.acceptor.accept(
            now,
            &mut self.engine,
            |engine, stream, peer, entrance, listener| {
                if !listener.role.layers.proxy {
                    return engine.accept(stream, peer, entrance, now, registry);
                }
                let watch = |stream: &mut Transport, number| watch_proxied(stream, number, poll);
                if let Err(ended) = proxied.add(stream, peer, entrance, now, watch) {
                    end_waiting(ended, engine, now, registry);
                }
            },
        );
        let mut looks = 0;
        while let Some(mut ended) = self.proxied.take(now, &mut looks) {
            // From here on it has another number.
            let _ = poll.deregister(&mut ended.0.stream);
            end_waiting(ended, &mut self.engine, now, registry);
        }
        self.engine.turn(now, registry);
        self.engine.observer().0.on_time(now);
        report_refusal(&mut self.engine, &mut self.system);
        if self.shutdowns_seen > 1 || self.engine.is_over(now) {
            self.stop();
        }
        let took = self.clock.end_turn(Instant::now());
        self.engine.count_turn(took);
        Ok(self.status)
    }

    fn poll(&mut self, patience: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, patience) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// Marks who is ready. If a time-out is due, everybody who was ready before `now` is marked: it may
    /// be the time-out of a client whose event did not fit, or came after the poll, when the process was
    /// stopped before it looked at the clock.
    fn mark_all_ready(&mut self, now: Instant) -> io::Result<()> {
        self.mark_ready();
        if self.engine.next_deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        for _ in 0..=self.clients() / EVENTS_PER_TURN {
            self.poll(Some(Duration::ZERO))?;
            self.mark_ready();
            if self.polled < EVENTS_PER_TURN {
                break;
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        let metrics = &self.metrics();
        report(&mut self.engine, Event::Stopped { metrics });
        self.acceptor.close();
        self.control.close();
        self.status = Status::Stopped;
    }

    fn mark_ready(&mut self) {
        let mut signals = false;
        self.polled = 0;
        for event in &self.events {
            self.polled = self.polled.saturating_add(1);
            match event.token() {
                WAKER => {}
                SIGNALS => signals = true,
                Token(token) if token >= FIRST_LISTENER => {
                    self.acceptor.mark(token.saturating_sub(FIRST_LISTENER));
                }
                Token(token) if token >= FIRST_PROXIED => {
                    self.proxied.mark(token.saturating_sub(FIRST_PROXIED));
                }
                Token(client) => mark_client(&mut self.engine, client, event),
            }
        }
        if signals {
            self.heed_signals();
        }
    }

    fn heed_signals(&mut self) {
        let (mut is_report_due, mut has_hung_up) = (false, false);
        for signal in self.signals.iter_mut().flat_map(Signals::pending) {
            match signal {
                SIGUSR1 => is_report_due = true,
                SIGHUP => has_hung_up = true,
                _ => self.control.shut_down(),
            }
        }
        if is_report_due {
            let metrics = &self.metrics();
            report(&mut self.engine, Event::Report { metrics });
        }
        if has_hung_up {
            self.on_hang_up();
        }
    }

    /// Handles SIGHUP: a server that has read files reads them again. Without files, SIGHUP means that
    /// the terminal was closed. The kernel and the shell both send it then, so a second one does not
    /// count as a second request to shut down.
    fn on_hang_up(&mut self) {
        let has_files =
            self.engine.has_files() || self.engine.is_recorded() || self.certificates.is_some();
        if self.has_terminal && !has_files {
            if self.control.shutdowns() == 0 {
                self.control.shut_down();
            }
            return;
        }
        report(&mut self.engine, Event::Reloading);
        if has_files {
            let result = self.reload();
            let error = result.as_ref().err();
            report(&mut self.engine, Event::Reloaded { error });
        } else {
            report(&mut self.engine, Event::NothingToReload);
        }
    }

    fn answer_requests(&mut self) {
        for request in self.control.take() {
            // A thread that does not wait any more needs no answer.
            let _ = match request {
                Request::Metrics(answer) => answer.send(self.metrics()).ok(),
                Request::Members(answer) => {
                    let nicks = self.engine.members().map(str::to_owned);
                    answer.send(nicks.collect()).ok()
                }
                Request::Announce(text) => {
                    self.engine.announce(&text);
                    None
                }
                Request::Close { nick, why, answer } => {
                    answer.send(self.engine.close(&nick, &why)).ok()
                }
            };
        }
        let shutdowns = self.control.shutdowns();
        if shutdowns > 0 && self.shutdowns_seen == 0 {
            // Health checks are answered until the end.
            self.acceptor
                .retain(|listener| listener.role.service == Service::Http);
            self.proxied.close();
            self.engine.shut_down(self.clock.began());
        }
        self.shutdowns_seen = shutdowns;
    }
}

/// Watches a connection that waits for its proxy.
fn watch_proxied(stream: &mut Transport, number: usize, poll: &mio::Registry) -> io::Result<()> {
    let token = Token(FIRST_PROXIED.saturating_add(number));
    poll.register(stream, token, mio::Interest::READABLE)
}

/// Lets a client in whose proxy has named it, or tells a connection why it is refused.
fn end_waiting<O: Observer>(
    (waiting, client): Ended,
    engine: &mut Engine<Transport, O>,
    now: Instant,
    registry: &mut impl Registry<Transport>,
) {
    let Waiting {
        stream,
        proxy,
        entrance,
        ..
    } = waiting;
    match client {
        Ok(peer) => {
            let listener = entrance.listener;
            let event = Event::Proxied {
                peer,
                proxy,
                listener,
            };
            report(engine, event);
            engine.accept(stream, peer, entrance, now, registry);
        }
        Err(reason) => engine.refuse(stream, proxy, entrance, reason),
    }
}

/// The descriptor that becomes readable when there is something for the server to do: the poll loop's
/// own (epoll(7), "can be nested"). After that, or at [`next_deadline`](Server::next_deadline), call
/// [`turn`](Server::turn) with a time-out of zero.
impl<O: Observer> AsFd for Server<O> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

impl<O: Observer> Drop for Server<O> {
    fn drop(&mut self) {
        self.control.close();
    }
}

fn report<O: Observer>(engine: &mut Engine<Transport, O>, event: Event<'_>) {
    let observer = engine.observer();
    if observer.listens() {
        observer.on_event(Instant::now(), event);
    }
}

/// Reports, once, that the kernel does not answer queries about connections.
fn report_refusal<O: Observer>(engine: &mut Engine<Transport, O>, system: &mut SockDiag) {
    if let Some(error) = system.take_refusal() {
        report(engine, Event::LivenessRefused { error: &error });
    }
}

/// Reports what the owner of a certificate should know.
fn report_certificates<O: Observer>(
    engine: &mut Engine<Transport, O>,
    certificates: Option<&Certificates>,
) {
    if let Some(certificates) = certificates {
        certificates.report(SystemTime::now(), |event| report(engine, event));
    }
}

fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many clients the limit of open files allows beside what is open now.
fn allowed_clients(open_files: u64) -> usize {
    let open = open_descriptors(open_files);
    usize::try_from(open_files.saturating_sub(open)).unwrap_or(usize::MAX)
}

/// How many of the free descriptors are kept for HTTP: one for each connection that there may be, if clients
/// leave that many, or else an eighth.
fn http_share(most: usize, asked: Option<usize>, free: usize) -> usize {
    let left = free.saturating_sub(asked.unwrap_or(free));
    most.min(left.max(free / 8).max(1))
}

/// How many descriptors below this limit are open. Those above it, which are left from a higher limit,
/// take no room.
fn open_descriptors(limit: u64) -> u64 {
    let entries = match std::fs::read_dir(DESCRIPTORS) {
        Ok(entries) => entries,
        // There is not even one to count with.
        Err(error) if AcceptError::of(&error) == AcceptError::NoDescriptor => return limit,
        Err(_) => return ASSUMED_DESCRIPTORS.min(limit / 2),
    };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let open = numbers.filter(|&number: &u64| number < limit).count();
    // One of them is the folder itself.
    u64::try_from(open).unwrap_or(u64::MAX).saturating_sub(1)
}

/// Where a listener shows the metrics to other machines, if it does.
fn exposed_metrics(bound: &Bound) -> Option<SocketAddr> {
    let addr = bound.socket.tcp_addr()?;
    (bound.role.service == Service::Http && !addr.ip().to_canonical().is_loopback()).then_some(addr)
}

fn register_all(
    sockets: Vec<Bound>,
    certificates: Option<&Arc<Certificates>>,
    poll: &Poll,
) -> io::Result<Vec<Listener>> {
    let register = |(index, bound): (usize, Bound)| {
        let mut socket = transport::Listener::from(bound.socket);
        let token = Token(FIRST_LISTENER.saturating_add(index));
        socket.register(poll.registry(), token)?;
        Ok(Listener {
            _file: bound.file,
            socket,
            role: bound.role,
            certificates: certificates.filter(|_| bound.role.layers.tls).cloned(),
            name: bound.name,
        })
    };
    sockets.into_iter().enumerate().map(register).collect()
}

/// Takes the signals over, except those that were ignored when the process was started.
fn open_signals(ignored: Ignored) -> io::Result<Signals> {
    let all = [SIGINT, SIGTERM, SIGUSR1, SIGHUP];
    Signals::new(all.into_iter().filter(|&it| !ignored.contains(it)))
}

fn watch_signals(poll: &Poll, mut signals: Signals) -> io::Result<Signals> {
    poll.registry()
        .register(&mut signals, SIGNALS, mio::Interest::READABLE)?;
    Ok(signals)
}

fn mark_client<O: Observer>(engine: &mut Engine<Transport, O>, client: usize, event: &Readiness) {
    let id = ClientId::from_index(client);
    let failed = event.is_error() || event.is_write_closed();
    if event.is_readable() || event.is_read_closed() || failed {
        // Behind what one read returns there may be the end of stream, an error, or urgent data: a
        // read stops at it (tcp(7)), and no further event tells of what stands behind.
        engine.on_readable(id, event.is_read_closed() || event.is_priority() || failed);
    }
    if event.is_writable() || failed {
        engine.on_writable(id);
    }
}

impl<O: Observer> fmt::Debug for Server<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut server = f.debug_struct("Server");
        server
            .field("acceptor", &self.acceptor)
            .field("clients", &self.clients());
        server.field("status", &self.status).finish_non_exhaustive()
    }
}

/// mio's registry as the engine sees it, and what else the kernel must be asked for.
struct Registrations<'a> {
    poll: &'a mio::Registry,
    system: &'a mut SockDiag,
    keepalive: Keepalive,
}

impl Registry<Transport> for Registrations<'_> {
    fn register(&mut self, stream: &mut Transport, id: ClientId) -> io::Result<()> {
        self.poll
            .register(stream, Token(id.index()), readiness(Interest::Readable))
    }

    fn reregister(
        &mut self,
        stream: &mut Transport,
        id: ClientId,
        interest: Interest,
    ) -> io::Result<()> {
        self.poll
            .reregister(stream, Token(id.index()), readiness(interest))
    }

    fn deregister(&mut self, stream: &mut Transport) {
        // Dropping the stream takes it out of epoll in any case (epoll(7)).
        let _ = self.poll.deregister(stream);
    }

    fn tells_liveness(&self) -> bool {
        self.system.is_open()
    }

    fn liveness(&mut self, stream: &mut Transport, _: ClientId) -> Liveness {
        stream.liveness(self.system)
    }

    fn dial(&mut self, to: SocketAddr) -> io::Result<Transport> {
        Transport::dial(to, self.keepalive)
    }
}

/// The addresses of an engine. Its names are resolved, which may take seconds.
#[cfg(feature = "relay")]
fn relay_addrs(relay: &RelayConfig) -> io::Result<Vec<SocketAddr>> {
    let mut addrs = Vec::new();
    for host in &relay.url.hosts {
        match host {
            RelayHost::Addr(addr) => addrs.push(*addr),
            RelayHost::Name { name, port } => {
                let found = (name.as_str(), *port).to_socket_addrs();
                let found = found.map_err(|error| {
                    let text = format!("cannot find the engine of the relay, {name}: {error}");
                    io::Error::new(error.kind(), text)
                })?;
                addrs.extend(found);
            }
        }
    }
    Ok(addrs)
}

/// PRIORITY, because only it tells that urgent data stands in the way of a read.
fn readiness(interest: Interest) -> mio::Interest {
    let readable = mio::Interest::READABLE | mio::Interest::PRIORITY;
    match interest {
        Interest::Readable => readable,
        Interest::ReadableAndWritable => readable | mio::Interest::WRITABLE,
    }
}

/// A listening socket, and what it is for.
#[derive(Debug)]
struct Listener {
    /// Removed with it, and before it.
    _file: Option<SocketFile>,
    socket: transport::Listener,
    role: Role,
    /// What its connections begin with, if they are encrypted.
    certificates: Option<Arc<Certificates>>,
    /// The name of a Unix socket.
    name: Option<UnixName>,
}

impl Listener {
    fn addr(&self) -> Option<ListenAddr> {
        let of_tcp = self.socket.tcp_addr().map(Place::Socket);
        let of_unix = || Some(Place::Unix(self.name.clone()?.into()));
        Some(ListenAddr {
            place: of_tcp.or_else(of_unix)?,
            service: Some(self.role.service),
            layers: self.role.layers,
        })
    }
}

impl Listener {
    /// Shows another certificate to connections from now on, if they are encrypted.
    fn use_certificates(&mut self, certificates: &Arc<Certificates>) {
        if self.certificates.is_some() {
            self.certificates = Some(Arc::clone(certificates));
        }
    }
}

impl Listen for Listener {
    type Stream = Transport;
    type Spare = File;

    fn service(&self) -> Service {
        self.role.service
    }

    fn accept(&mut self) -> io::Result<(Transport, Peer)> {
        let (stream, peer) = self.socket.accept()?;
        match &self.certificates {
            Some(certificates) => Ok((certificates.accepted(stream), peer)),
            None => Ok((stream, peer)),
        }
    }

    fn open_spare() -> io::Result<File> {
        File::open("/dev/null")
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
        is_send::<Handle>();
        is_sync::<Handle>();
    }
}
