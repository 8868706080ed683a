//! The whole server but the readiness: [`Engine`] owns the slab of clients and the room, and does one
//! turn at a time. Streams, readiness and the time are handed in, so the same code runs under a poll
//! loop, in a unit test, and in a simulation that injects every fault. Nobody else sees the slab.
//!
//! A turn reads the clients that are ready (`read`); then it gives each member what was said and
//! writes it at once (`flush`). That happens twice in a turn that has bulk speakers: once for everybody
//! else, and then for them. One step of a handshake comes after all that (`handshakes`). A client that
//! fails or has to go is only marked on the way, and freed at the end (`close`). Nothing is written while
//! input is decoded and nothing is decoded while output is written, so a write that fails cannot disturb a
//! broadcast.
//!
//! | `TurnState` | wake (input, and the session listens) | popped from a run queue | timer | close begins |
//! |---|---|---|---|---|
//! | `Idle` | `Queued`, or `Throttled` by its rate | skipped | - | - |
//! | `Queued` | - | `Idle`, read, wake | - | `Idle` |
//! | `Throttled` | only when its rate allows | skipped | wake | `Idle` |

mod backpressure;
mod budget;
mod close;
mod flush;
mod handshakes;
mod liveness;
mod read;
#[cfg(feature = "relay")]
mod relay;
mod run_queue;
mod sanctions;
mod survey;
mod transcript;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;

pub use crate::client_id::ClientId;
use crate::config::Config;
use crate::config::addr::{Eol, Service};
use crate::config::entrance::Entrance;
use crate::config::interactive::{Interactive, Profile};
pub use crate::conn::liveness::Liveness;
use crate::conn::overflow::Overflow;
pub use crate::conn::stream::{Interest, Stream};
use crate::conn::{Env, Io, ReaderState};
pub use crate::engine::sanctions::SanctionsError;
use crate::events::{Event, Observer};
use crate::metrics::ProcessStats;
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::Message;
use crate::room::Room;
use crate::session::admission::Admission;
use crate::session::auth::Auth;
use crate::session::reclaimable::{HTTP_PATIENCE, Reclaimable};
#[cfg(feature = "relay")]
use crate::session::relay::Relayed;
use crate::session::secrets::{Flaw, Secrets};
use crate::session::{Ctx, Effect, LongestLine, Session, Watch};
use crate::time::minute_of;
use crate::time::moment::Moment;
use crate::time::timer_queue::{TimerHandle, TimerQueue};
use backpressure::Backpressure;
use budget::TurnBudget;
use handshakes::Handshakes;
use liveness::Rounds;
use run_queue::{Gates, Place, Scheduler};
use transcript::Transcript;

/// How many stale places may stand behind the gates, besides one for each client.
const OLD_PLACES: usize = 64;

/// For how long memory is kept that nobody needs.
const TRIM_AFTER: Duration = Duration::from_secs(1);

/// The side of the poll loop that an engine needs: where it says which readiness a client waits for.
/// Registering anew must report readiness that is there already, as epoll(7) does for
/// `EPOLL_CTL_MOD`.
pub trait Registry<S> {
    /// Watches a new client, with interest [`Interest::Readable`].
    ///
    /// # Errors
    /// The client is dropped.
    fn register(&mut self, stream: &mut S, id: ClientId) -> io::Result<()>;

    /// Watches a client for something else than before.
    ///
    /// # Errors
    /// The client's connection counts as broken.
    fn reregister(&mut self, stream: &mut S, id: ClientId, interest: Interest) -> io::Result<()>;

    /// Stops watching a client, whose stream is about to be dropped.
    fn deregister(&mut self, stream: &mut S);

    /// Whether [`liveness`](Self::liveness) can report anything. By default it cannot, and is not
    /// called.
    fn tells_liveness(&self) -> bool {
        false
    }

    /// Returns what the system knows of a client's peer. The client is closed if that shows that the
    /// peer is dead, by the limits [`ack_timeout`](crate::Limits::ack_timeout) and
    /// [`max_unanswered_probes`](crate::Limits::max_unanswered_probes). By default nothing is known.
    fn liveness(&mut self, stream: &mut S, id: ClientId) -> Liveness {
        let _ = (stream, id);
        Liveness::Unknown
    }

    /// Begins a connection to a peer. The stream may still be connecting: it
    /// [is handshaking](Stream::is_handshaking) and owes output until it is connected, and its
    /// `flush`(io::Write::flush) fails if it never will be.
    ///
    /// # Errors
    /// No connection can be begun; by default none ever can.
    fn dial(&mut self, to: SocketAddr) -> io::Result<S> {
        let _ = to;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A chat room and its clients. `S` carries the bytes of one client, and `O` looks on.
pub struct Engine<S, O: Observer = ()> {
    clients: Slab<Client<S>>,
    room: Room,
    sched: Scheduler,
    timers: TimerQueue<ClientId>,
    rounds: Rounds,
    /// How the members keep up.
    pressure: Backpressure,
    admission: Admission,
    reclaimable: Reclaimable,
    /// The same for connections of HTTP, which have places of their own.
    http_reclaimable: Reclaimable,
    handshakes: Handshakes,
    auth: Auth,
    budget: TurnBudget,
    env: Env,
    /// What is to happen to connections when the present line has been handled.
    effects: Vec<Effect>,
    upkeep: Upkeep,
    transcript: Transcript,
    /// What joins this server and others, if there are any.
    #[cfg(feature = "relay")]
    relay: Option<Box<Relayed>>,
    observer: O,
}

/// What has to be remembered between two turns and belongs to no client.
#[derive(Debug)]
struct Upkeep {
    /// Where to dial at the end of the turn.
    dials: Vec<(SocketAddr, Service)>,
    /// Where input is read to.
    scratch: Box<[u8]>,
    longest_line: LongestLine,
    /// When memory that was not needed since the last time goes back to the system, if there is any.
    trim_at: Option<Moment>,
    /// When clients are read again that the system had no memory to read.
    read_again_at: Option<Moment>,
    /// When a shutdown ends, once it has begun.
    shutdown_ends: Option<Instant>,
    /// How many lines were said in the turns that are counted.
    lines_counted: u64,
}

/// A connection, what it speaks, and whose turn it is.
#[derive(Debug)]
struct Client<S> {
    io: Io<S>,
    session: Session,
    turn: TurnState,
    timer: TimerHandle,
    /// How it keeps up, as it is counted in [`Backpressure`] if it is a member.
    reader: ReaderState,
    /// Its place in a run queue, if it is queued.
    place: Place,
    /// It is listed for a flush of its own.
    needs_flush: bool,
    /// It is listed to be closed, and not heard any more.
    is_going: bool,
    /// The time of its phase was up while its input waited to be read. That is looked at again when its
    /// input was read.
    is_due: bool,
}

/// Whether a client is going to be read. A closed gate is a property of a run queue, not of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnState {
    Idle,
    /// In a run queue.
    Queued,
    /// Waits until its rate of lines allows; the session knows when.
    Throttled,
}

impl<S: Stream, O: Observer> Engine<S, O> {
    /// An empty room with the passwords and the greeting of `config`.
    ///
    /// # Errors
    /// `InvalidInput` if `config` does not pass [`Config::check`]; otherwise the text names the file
    /// that cannot be read, and says what to do.
    pub fn new(config: Config, observer: O, now: Instant) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        config.check().map_err(invalid)?;
        let secrets = Secrets::read(&config.interactive)?;
        let longest_line = LongestLine {
            with_text: config.longest_line_bytes(),
            without_text: config.longest_prefix_bytes(),
        };
        let scratch = vec![0; config.limits.read_bytes].into();
        let mut engine = Self {
            clients: Slab::new(),
            room: Room::new(&config),
            sched: Scheduler::default(),
            timers: TimerQueue::default(),
            rounds: Rounds::default(),
            pressure: Backpressure::default(),
            admission: Admission::new(&config.limits),
            reclaimable: Reclaimable::default(),
            http_reclaimable: Reclaimable::new(HTTP_PATIENCE),
            handshakes: Handshakes::default(),
            auth: Auth::default(),
            budget: TurnBudget::default(),
            env: Env::new(config.limits, now),
            effects: Vec::new(),
            upkeep: Upkeep {
                dials: Vec::new(),
                scratch,
                longest_line,
                trim_at: None,
                read_again_at: None,
                shutdown_ends: None,
                lines_counted: 0,
            },
            transcript: Transcript::default(),
            #[cfg(feature = "relay")]
            relay: None,
            observer,
        };
        engine.use_secrets(secrets);
        Ok(engine)
    }

    /// Reads the greeting and the passwords again, except those that came from a FIFO.
    ///
    /// # Errors
    /// The text names the file and says what to do. Everything stays what it was.
    pub fn reload(&mut self, interactive: &Interactive) -> io::Result<()> {
        let secrets = self.auth.secrets.read_again(interactive)?;
        self.use_secrets(secrets);
        Ok(())
    }

    /// Whether there is a file that [`reload`](Self::reload) would read again.
    pub fn has_files(&self) -> bool {
        self.auth.secrets.has_files()
    }

    fn use_secrets(&mut self, secrets: Secrets) {
        for (path, flaw) in secrets.flaws() {
            let mut watch = Watch::new(&mut self.observer, self.env.instant);
            watch.emit(|| match flaw {
                Flaw::Readable => Event::SecretExposed { path },
                Flaw::Writable => Event::SecretWritable { path },
                Flaw::Escapes => Event::EscapesLeftOut { path },
            });
        }
        self.auth.secrets = secrets;
    }

    /// Sets what tells the time of day to people who ask; by default it is 1970.
    pub fn set_wall_clock(&mut self, wall_clock: fn() -> SystemTime) {
        self.env.wall_clock = wall_clock;
    }

    /// Sets what makes the tokens of `/claim`: 128 bits each time that nobody can predict. By default nothing
    /// does, and nobody gets a token.
    pub fn set_random(&mut self, random: fn() -> Option<[u8; 16]>) {
        self.env.random = random;
    }

    /// Sets what tells of the process on the page of metrics; by default nothing does.
    pub fn set_process_stats(&mut self, process_stats: fn() -> Option<ProcessStats>) {
        self.env.process_stats = process_stats;
    }

    /// Sets what tells how many lines of the log were dropped; by default none is.
    pub fn set_log_lines_dropped(&mut self, log_lines_dropped: fn() -> u64) {
        self.env.log_lines_dropped = log_lines_dropped;
    }

    /// Counts the turn that has ended for the metrics. It took so long without its wait for events.
    pub fn count_turn(&mut self, took: Duration) {
        let metrics = &mut self.env.metrics;
        let lines = metrics.lines_in.saturating_sub(self.upkeep.lines_counted);
        self.upkeep.lines_counted = metrics.lines_in;
        metrics.count_turn(took, lines);
    }

    /// The observer that was handed in.
    pub fn observer(&mut self) -> &mut O {
        &mut self.observer
    }

    /// The observer, for calls that ask it something.
    pub(crate) fn observed_by(&self) -> &O {
        &self.observer
    }

    // How clients come.

    /// Takes a new connection in, or tells its peer why not.
    pub fn accept(
        &mut self,
        stream: S,
        peer: impl Into<Peer>,
        entrance: impl Into<Entrance>,
        now: Instant,
        registry: &mut impl Registry<S>,
    ) {
        self.set_now(now);
        let (peer, entrance) = (peer.into(), entrance.into());
        let service = entrance.service;
        let entered = match self.auth.ban_of(&peer, self.env.now).is_some() {
            true => Err(CloseReason::AddressBanned),
            false if service == Service::Http => self.enter_http(registry),
            false => self.enter(&peer, registry),
        };
        match entered {
            Ok(()) => {
                let mut session = Session::new(service, &self.env);
                session.begin_with_debt(self.admission.debt(&peer));
                self.open(
                    stream,
                    peer,
                    session,
                    service.eol(),
                    entrance.listener,
                    registry,
                );
            }
            Err(reason) => self.refuse(stream, peer, entrance, reason),
        }
    }

    /// Lets a peer in if there is room for it, or if a client that has no nick or is leaving can make room.
    fn enter(&mut self, peer: &Peer, registry: &mut impl Registry<S>) -> Result<(), CloseReason> {
        let (now, limits) = (self.env.now, &self.env.limits);
        let entered = self.admission.enter(peer, limits, now);
        if entered != Err(CloseReason::ServerFull) {
            return entered;
        }
        self.offer_places();
        let Some(id) = self.reclaimable.to_make_room(now) else {
            return entered;
        };
        self.make_room(id, registry);
        self.admission.enter(peer, &self.env.limits, now)
    }

    /// Lets an HTTP connection in if there is room for it, or if another one can make room: whoever holds
    /// all of them with requests that never arrive must not hide how the server is.
    fn enter_http(&mut self, registry: &mut impl Registry<S>) -> Result<(), CloseReason> {
        let id = ClientId::from_index(self.clients.vacant_key());
        let entered = self.admission.enter_http(id, &self.env.limits);
        if entered.is_ok() {
            return entered;
        }
        let Some(oldest) = self.http_reclaimable.to_make_room(self.env.now) else {
            return entered;
        };
        self.make_room(oldest, registry);
        let id = ClientId::from_index(self.clients.vacant_key());
        self.admission.enter_http(id, &self.env.limits)
    }

    /// Tells a peer of this service why it is not admitted, and closes its connection. The metrics
    /// count it as accepted and closed.
    pub fn refuse(
        &mut self,
        mut stream: S,
        peer: impl Into<Peer>,
        entrance: impl Into<Entrance>,
        reason: CloseReason,
    ) {
        let (peer, Entrance { service, listener }) = (peer.into(), entrance.into());
        self.watch().emit(|| Event::Refused {
            peer,
            listener,
            reason,
        });
        self.env.metrics.accepted = self.env.metrics.accepted.saturating_add(1);
        self.env.metrics.count_closed(reason);
        let ban = match (reason, service) {
            (CloseReason::AddressBanned, Service::Chat(Profile::Interactive)) => {
                self.auth.ban_of(&peer, self.env.now)
            }
            _ => None,
        };
        let words = match ban.map(|ban| &*ban.why) {
            Some("") | None => reason.goodbye_to(&peer).map(Message::Goodbye),
            Some(why) => Some(Message::OriginIsBanned(peer, why)),
        };
        close::turn_away(&mut stream, words, service, &mut self.upkeep.scratch);
    }

    /// Asks for a connection to this address, which gets the same service as one that was accepted.
    /// It is begun at the end of the next turn.
    pub fn dial(&mut self, to: SocketAddr, service: Service) {
        self.effects.push(Effect::Dial(to, service));
    }

    /// Goes on with a connection that was a member's in another engine, without a word to anybody.
    ///
    /// # Errors
    /// The nick cannot be had here; the stream is dropped.
    pub fn adopt(
        &mut self,
        stream: S,
        peer: impl Into<Peer>,
        service: Service,
        nick: &str,
        now: Instant,
        registry: &mut impl Registry<S>,
    ) -> io::Result<()> {
        self.set_now(now);
        let peer = peer.into();
        let Some((profile, script)) = service.chat() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let id = ClientId::from_index(self.clients.vacant_key());
        let refused = |why| io::Error::new(io::ErrorKind::InvalidInput, format!("{why}"));
        if let Some(holder) = self.room.holder_of(nick.as_bytes(), id) {
            self.check_peer(holder, registry);
        }
        let now = self.env.now;
        let added = self.room.add(id, &peer, nick.as_bytes(), profile, now);
        added.map_err(refused)?;
        if script.eol == Eol::Lf {
            self.room.end_lines_with_lf(id);
        }
        self.admission.adopt(&peer, &self.env.limits);
        let session = Session::new_member(profile, script.eof, &self.env);
        self.open(stream, peer, session, script.eol, None, registry);
        Ok(())
    }

    /// Gives a connection that was let in a number, and its session the first word.
    fn open(
        &mut self,
        mut stream: S,
        peer: Peer,
        session: Session,
        eol: Eol,
        listener: Option<u16>,
        registry: &mut impl Registry<S>,
    ) {
        let slot = self.clients.vacant_entry();
        let id = ClientId::from_index(slot.key());
        if !self.admission.is_own(id) {
            self.env.metrics.accepted = self.env.metrics.accepted.saturating_add(1);
        }
        if let Err(error) = registry.register(&mut stream, id) {
            self.room
                .leave(id, &peer, CloseReason::Shutdown, self.env.now);
            self.count_end(id, &peer, CloseReason::Broken);
            let error = &error;
            return self.watch().emit(|| Event::Unregistrable {
                peer,
                listener,
                error,
            });
        }
        let (origin, now) = (peer.origin(), self.env.now);
        match session {
            Session::Chat(_) if !session.is_member() => self.reclaimable.add(id, origin, now),
            Session::Http(_) => self.http_reclaimable.add(id, origin, now),
            _ => {}
        }
        let mut io = Io::new(stream, peer);
        io.out.set_eol(eol);
        if session.is_member() {
            io.out
                .set_overflow(Overflow::for_member(self.env.limits.lag));
        }
        let client = slot.insert(Client::new(io, session));
        let is_handshaking = client.is_handshaking();
        self.watch()
            .emit(|| Event::Connected { id, peer, listener });
        match is_handshaking {
            true => self.begin_handshake(id, registry),
            false => self.greet(id),
        }
        self.schedule(id);
    }

    /// Gives a client's session the first word.
    fn greet(&mut self, id: ClientId) {
        self.with_session(id, |session, io, cx| {
            session.on_open(io.stream.is_authenticated(), &mut io.out, cx);
        });
        let client = self.clients.get(id.index());
        if client.is_some_and(|client| client.io.can_flush()) {
            self.list_flush(id);
        }
    }

    // Events of the poll loop, which only mark.

    /// An event said that a client has sent something. `to_the_end`: the end of the stream or urgent
    /// data may stand behind what one read returns.
    pub fn on_readable(&mut self, id: ClientId, to_the_end: bool) {
        if let Some(client) = self.clients.get_mut(id.index()) {
            client.io.on_readable(to_the_end);
            if client.turn == TurnState::Queued && client.waits_for_room() {
                self.sched.waiting.push(id);
            }
            if client.turn == TurnState::Throttled
                && client.session.is_to_look_ahead(&self.env, true)
            {
                self.sched.ahead.push(id);
            }
            self.wake(id);
        }
    }

    /// An event said that a client's stream takes output again, or has failed.
    pub fn on_writable(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id.index()) {
            client.io.on_writable();
            self.list_flush(id);
        }
    }

    // The turn.

    /// Takes one turn, within its budgets.
    pub fn turn(&mut self, now: Instant, registry: &mut impl Registry<S>) {
        self.set_now(now);
        self.env.turn_reply_bytes = 0;
        self.budget = TurnBudget::new(self.room.len(), &self.env.limits);
        self.sched.begin_flushes();
        if self.room.has_stamps() {
            self.room.set_minute(minute_of((self.env.wall_clock)()));
        }
        self.room.on_time(self.env.now);
        #[cfg(feature = "relay")]
        if self.is_relayed() {
            self.relay_on_time(registry);
        }
        self.close_listed();
        self.read_starved();
        self.read_ready(registry);
        #[cfg(feature = "relay")]
        if self.is_relayed() {
            self.relay_lines(registry);
        }
        self.check_peers(registry);
        self.flush_all(registry);
        // Only now: whoever has sent something, or takes output again, is not silent.
        if self.expire() {
            self.flush_all(registry);
        }
        if self.sched.has_handshake() {
            self.step_handshake(registry);
            self.flush_all(registry);
        }
        if self.rounds.is_idle() && registry.tells_liveness() {
            self.schedule_round();
        }
        if !self.upkeep.dials.is_empty() {
            self.dial_all(registry);
        }
        self.record_turn(registry);
        self.room.end_turn();
        self.free_closed(registry);
        self.trim();
    }

    /// Leaves time out of the engine's clock in which nobody could be heard, because the process was
    /// stopped: every deadline comes later by it. To be called before the next turn, and only with time
    /// that has passed since the last one.
    pub fn leave_out(&mut self, time: Duration) {
        self.env.clock.leave_out(time);
        self.room.leave_out(time);
        self.rounds.begin_anew(&self.env);
        let ends = self.upkeep.shutdown_ends;
        self.upkeep.shutdown_ends = ends.and_then(|ends| ends.checked_add(time));
    }

    fn set_now(&mut self, now: Instant) {
        self.env.now = self.env.clock.moment(now);
        self.env.instant = now;
    }

    /// Whether the last turn left work that no event will ask for: the next one must not wait.
    pub fn has_work(&self) -> bool {
        !self.effects.is_empty()
            || !self.room.outbox.is_empty()
            || self.room.batch_bytes() > 0
            || self.rounds.is_running()
            || self.sched.has_work(|| self.gates())
    }

    /// When there is something to do although nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.timers.next(),
            self.room.next_deadline(),
            self.upkeep.trim_at,
            self.upkeep.read_again_at,
            self.rounds.next(),
            self.first_bulk_is_sparse_at(),
            #[cfg(feature = "relay")]
            self.next_relay_deadline(),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.and_then(|at| self.env.clock.instant(at));
        deadline.into_iter().chain(self.upkeep.shutdown_ends).min()
    }

    fn gates(&self) -> Gates {
        self.pressure.gates(self.room.len())
    }

    fn watch(&mut self) -> Watch<'_> {
        Watch::new(&mut self.observer, self.env.instant)
    }

    // What a program can ask for between two turns.

    /// Tells every client of the room that the server shuts down, and reads nothing more from it. HTTP
    /// requests are still answered. Turns go on until [`is_over`](Self::is_over).
    pub fn shut_down(&mut self, now: Instant) {
        self.set_now(now);
        self.watch().emit(|| Event::ShuttingDown);
        self.upkeep.shutdown_ends = now.checked_add(self.env.limits.goodbye_timeout);
        self.env.is_ending = true;
        let clients = self.clients.iter();
        let clients = clients.filter(|(_, client)| !client.session.outlives_shutdown());
        let all: Vec<ClientId> = clients.map(|(id, _)| ClientId::from_index(id)).collect();
        self.list_to_close(&all, CloseReason::Shutdown);
    }

    /// Whether a shutdown has come to its end: all is written, or its time is up. It does not wait for HTTP
    /// requests that have not arrived.
    pub fn is_over(&self, now: Instant) -> bool {
        let ends = self.upkeep.shutdown_ends;
        ends.is_some_and(|ends| ends <= now || self.is_done())
    }

    /// Whether only HTTP connections are left, and none of them is being answered.
    fn is_done(&self) -> bool {
        let mut clients = self.clients.iter();
        // The count comes first, because there may be many clients.
        self.clients.len() <= self.admission.http()
            && clients.all(|(_, client)| matches!(client.session, Session::Http(_)))
    }

    /// The server says something to all people at a prompt, as `* TEXT`. Control characters in it are
    /// replaced. It is sent in the next turn.
    pub fn announce(&mut self, text: &str) {
        self.room.announce_as_server(text);
    }

    /// Closes the member of this server that has exactly this nick; it is told why, as are the others. Returns
    /// whether there is one. It leaves in the next turn.
    pub fn close(&mut self, nick: &str, why: &str) -> bool {
        let member = self.room.find_exact(nick);
        let Some(id) = member.filter(|id| id.place_elsewhere().is_none()) else {
            return false;
        };
        self.room.say_closed(id, why, self.env.now);
        let close = Effect::Close(id, CloseReason::Kicked);
        self.effects.push(close);
        true
    }

    /// The nicks of all members, in alphabetical order, those of other servers included.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.room.nicks()
    }

    /// How many clients there are, members or not, those that are being closed included.
    pub fn clients(&self) -> usize {
        self.clients.len().saturating_sub(self.admission.own())
    }

    /// The memory of one client without its buffers, in bytes.
    #[doc(hidden)]
    pub const CLIENT_BYTES: usize = size_of::<Client<S>>();

    // What several parts of a turn need.

    /// Lets a client's session do something.
    fn with_session(
        &mut self,
        id: ClientId,
        act: impl FnOnce(&mut Session, &mut Io<S>, &mut Ctx<'_>),
    ) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        let instant = self.env.instant;
        let mut cx = Ctx {
            id,
            peer: client.io.peer,
            may_say: true,
            room: &mut self.room,
            auth: &mut self.auth,
            env: &mut self.env,
            effects: &mut self.effects,
            #[cfg(feature = "relay")]
            relay: &mut self.relay,
            watch: Watch::new(&mut self.observer, instant),
        };
        act(&mut client.session, &mut client.io, &mut cx);
    }

    /// Queues a client for reading if it may have something to be decoded.
    fn wake(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        let session = &client.session;
        let has_work = client.io.has_input() || session.has_waiting_line();
        let is_heard = session.listens() && !client.is_going;
        if !has_work || client.turn == TurnState::Queued || !is_heard {
            return;
        }
        if session.throttled_until(&self.env).is_some() {
            let was = std::mem::replace(&mut client.turn, TurnState::Throttled);
            if was != TurnState::Throttled && client.session.is_to_look_ahead(&self.env, false) {
                self.sched.ahead.push(id);
            }
            return self.schedule(id);
        }
        client.turn = TurnState::Queued;
        let lane = client.lane(self.env.now);
        let waits = client.waits_for_room() && !client.session.passes_gate(id, &self.room);
        if waits && !self.pressure.gates(self.room.len()).is_open(lane) {
            client.place = self.sched.push_gated(id, lane);
            self.sched.waiting.push(id);
            self.forget_old_places();
        } else {
            client.place = self.sched.push(id, lane);
        }
    }

    /// Removes stale places from behind the gates once there are more of them than of clients: while the
    /// room waits, clients may come, say something and go.
    fn forget_old_places(&mut self) {
        let most = self.clients.len().saturating_mul(2);
        if self.sched.gated_places() > most.saturating_add(OLD_PLACES) {
            let clients = &self.clients;
            self.sched.retain_gated(|id, place| {
                let client = clients.get(id.index());
                client.is_some_and(|client| client.is_queued_at(place))
            });
        }
    }

    fn list_flush(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id.index())
            && !client.needs_flush
        {
            client.needs_flush = true;
            self.sched.flush.push(id);
        }
    }

    fn dial_all(&mut self, registry: &mut impl Registry<S>) {
        for (to, service) in std::mem::take(&mut self.upkeep.dials) {
            let peer = Peer::from(to);
            match registry.dial(to) {
                Ok(stream) => {
                    self.admission.adopt(&peer, &self.env.limits);
                    let session = Session::new(service, &self.env);
                    self.open(stream, peer, session, service.eol(), None, registry);
                }
                Err(error) => {
                    let error = &error;
                    self.watch().emit(|| Event::DialFailed { peer, error });
                }
            }
        }
    }

    /// Gives memory back to the system that a burst has needed and nobody needs any more.
    fn trim(&mut self) {
        let now = self.env.now;
        match self.upkeep.trim_at {
            Some(at) if at > now => {}
            None if self.env.pool.is_empty() => {}
            None => self.upkeep.trim_at = Some(now + TRIM_AFTER),
            Some(_) if self.env.pool.trim() => {
                self.upkeep.trim_at = None;
                self.sched.shrink_to_fit();
            }
            Some(_) => self.upkeep.trim_at = Some(now + TRIM_AFTER),
        }
    }
}

impl<S: Stream> Client<S> {
    /// Whether this is its place in a run queue.
    fn is_queued_at(&self, place: Place) -> bool {
        self.turn == TurnState::Queued && self.place == place
    }

    /// Whether a line of it waits for the room, or the room waits for it.
    fn waits_for_room(&self) -> bool {
        self.session.has_waiting_line() || self.io.out.holds_up()
    }
}

impl<S> Client<S> {
    fn new(io: Io<S>, session: Session) -> Self {
        Self {
            io,
            session,
            turn: TurnState::Idle,
            place: Place::default(),
            timer: TimerHandle::default(),
            reader: ReaderState::Current,
            needs_flush: false,
            is_going: false,
            is_due: false,
        }
    }
}

impl<S, O: Observer> fmt::Debug for Engine<S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("clients", &self.clients.len())
            .field("members", &self.room.len())
            .finish_non_exhaustive()
    }
}
