//! The whole server but the readiness: [`Chat`] owns the slab of connections and the room, and does
//! one turn at a time on whoever is ready. Streams, readiness and the time are handed in, so the
//! same code runs under a poll loop, in a unit test, and in a simulation that injects every fault.
//!
//! A turn hears the ready clients (`hearing`); then it appends what they have said to each member's
//! queue and writes that at once (`writing`); who fails or has to go is only marked on the way, and
//! freed at the end (`leaving`). Nothing is written while somebody is heard and nobody is heard
//! while something is written, so a write that fails cannot disturb a broadcast.

mod backpressure;
mod close;
mod flush;
mod read;
mod run_queue;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use log::{Level, debug, info, log};
use slab::Slab;

use crate::config::Config;
use crate::config::interactive::{Hosting, Mode};
use crate::conn::pool::Pool;
use crate::conn::send_queue::turn_away;
use crate::conn::{Connection, Shared};
pub use crate::conn::{Interest, Stream};
use crate::engine::backpressure::Pressure;
use crate::engine::run_queue::Ready;
use crate::metrics::Metrics;
use crate::protocol::close_reason::CloseReason;
pub use crate::room::ClientId;
use crate::room::Room;
use crate::session::admission::{Door, subscriber};
use crate::session::auth::{Attempts, Bans};
use crate::session::secrets::Files;
use crate::time::log_throttle::Seldom;
use crate::time::moment::{Clock, Moment};
use crate::time::rate_limit::Pace;
use crate::time::timer_queue::Deadlines;

/// For how long memory is kept that nobody needs.
const TRIM_AFTER: Duration = Duration::from_secs(1);

/// The side of the poll loop that a chat needs: where it says which readiness a client waits for.
/// Registering anew must report readiness that is there already, as epoll(7) does for
/// `EPOLL_CTL_MOD`.
pub trait Registry<S> {
    /// A new client, with interest [`Interest::Readable`].
    ///
    /// # Errors
    /// The client is turned away.
    fn register(&mut self, stream: &mut S, id: ClientId) -> io::Result<()>;

    /// A client waits for something else than before.
    ///
    /// # Errors
    /// The client's connection counts as broken.
    fn reregister(&mut self, stream: &mut S, id: ClientId, interest: Interest) -> io::Result<()>;

    /// A client's stream is about to be dropped.
    fn deregister(&mut self, stream: &mut S);
}

/// A chat room and its clients.
#[derive(Debug)]
pub struct Chat<S> {
    pub(crate) connections: Slab<Connection<S>>,
    pub(crate) room: Room,
    pub(crate) door: Door,
    /// How the members keep up.
    pub(crate) pressure: Pressure,
    pub(crate) shared: Shared,
    /// See [`Config::longest_line_bytes`].
    pub(crate) longest_line_bytes: usize,
    /// The same without its text; no notice to a script is longer.
    pub(crate) longest_prefix_bytes: usize,
    /// How many lines a client may say.
    pub(crate) pace: Pace,
    /// Clients for whom events came since the last turn, each once.
    pub(crate) woken: Vec<ClientId>,
    /// Clients that may have something to say, each once.
    pub(crate) ready: Ready,
    /// Clients whose queue may be written, each once.
    pub(crate) dirty: Vec<ClientId>,
    /// Which of them is written first, another one each time, so that nobody is always the last to
    /// hear.
    pub(crate) first_flushed: usize,
    /// Clients that have room again and have to be told how many lines they missed.
    pub(crate) resumed: Vec<ClientId>,
    /// Clients in `Phase::Closed`, to be freed.
    pub(crate) closed: Vec<ClientId>,
    pub(crate) deadlines: Deadlines,
    /// Peers that were not let in.
    turned_away: Seldom,
    /// The greeting and the passwords.
    pub(crate) files: Files,
    /// Wrong passwords, as far as they count against those who send them.
    pub(crate) attempts: Attempts,
    /// The same, as far as the log tells of them.
    pub(crate) wrong_passwords: Seldom,
    /// Addresses that nobody may come from, IPv6 ones by their network.
    pub(crate) banned: Bans<IpAddr>,
    /// Where input is read to.
    pub(crate) scratch: Box<[u8]>,
    /// Where a notice is written before it is queued.
    pub(crate) notice: Vec<u8>,
    /// How much this turn has read, in bytes.
    pub(crate) turn_input: usize,
    /// How much this turn has appended to one queue at most, what was said in the room aside, in
    /// bytes.
    pub(crate) turn_output: usize,
    /// When memory that was not needed since the last time goes back to the system, if there is
    /// any.
    trim_at: Option<Moment>,
    pub(crate) clock: Clock,
    /// What tells the time of day.
    pub(crate) wall_clock: fn() -> SystemTime,
    /// When a shutdown ends, once it has begun.
    shutdown: Option<Instant>,
}

impl<S: Stream> Chat<S> {
    /// An empty room. `config` must have passed [`Config::check`].
    pub fn new(config: Config) -> Self {
        let room = Room::new(&config);
        let longest_line_bytes = config.longest_line_bytes();
        let longest_prefix_bytes = config.longest_prefix_bytes();
        let limits = config.limits;
        Self {
            connections: Slab::new(),
            longest_line_bytes,
            longest_prefix_bytes,
            room,
            door: Door::default(),
            pressure: Pressure::default(),
            pace: Pace::new(limits.lines_per_second, limits.burst_lines),
            woken: Vec::new(),
            ready: Ready::default(),
            dirty: Vec::new(),
            first_flushed: 0,
            resumed: Vec::new(),
            closed: Vec::new(),
            deadlines: Deadlines::default(),
            turned_away: Seldom::default(),
            files: Files::default(),
            attempts: Attempts::default(),
            wrong_passwords: Seldom::default(),
            banned: Bans::default(),
            scratch: vec![0; limits.read_bytes].into(),
            notice: Vec::new(),
            turn_input: 0,
            turn_output: 0,
            trim_at: None,
            clock: Clock::default(),
            wall_clock: || SystemTime::UNIX_EPOCH,
            shutdown: None,
            shared: Shared {
                limits,
                pool: Pool::default(),
                metrics: Metrics::default(),
            },
        }
    }

    /// Reads the greeting and the passwords, which are none before that.
    ///
    /// # Errors
    /// The text names the file, and says what to do. All of them stay what they were.
    pub fn read_files(&mut self, hosting: &Hosting) -> io::Result<()> {
        self.files = Files::read(hosting)?;
        self.files.warn();
        Ok(())
    }

    /// What tells the time of day to those who ask.
    pub fn set_wall_clock(&mut self, wall_clock: fn() -> SystemTime) {
        self.wall_clock = wall_clock;
    }

    /// Takes a new client in, or tells it why not.
    pub fn accept(
        &mut self,
        mut stream: S,
        peer: SocketAddr,
        mode: Mode,
        now: Instant,
        registry: &mut impl Registry<S>,
    ) {
        let moment = self.clock.moment(now);
        let is_banned = self.banned.has(&subscriber(peer.ip()), moment);
        let entered = match is_banned {
            true => Err(CloseReason::AddressBanned),
            false => self.door.enter(peer.ip(), &self.shared.limits),
        };
        if let Err(reason) = entered {
            self.tell_turned_away(Level::Info, now, peer, &reason);
            return self.refuse(stream, peer, reason);
        }
        self.shared.metrics.accepted += 1;
        let slot = self.connections.vacant_entry();
        let id = ClientId(slot.key());
        match registry.register(&mut stream, id) {
            Ok(()) => {
                let max_line_bytes = self.shared.limits.max_line_bytes;
                let connection = Connection::new(stream, peer, mode, max_line_bytes, moment);
                slot.insert(connection);
                info!("{peer} connected");
                self.schedule(id);
                self.greet(id, moment);
            }
            Err(error) => {
                debug!("{peer} turned away: it cannot be registered: {error}");
                self.tell_turned_away(Level::Warn, now, peer, &error);
                self.shared.metrics.count_closed(CloseReason::Broken);
                self.door.leave(peer.ip(), &self.shared.limits);
            }
        }
    }

    /// Tells a peer why it is not let in, and closes its connection. It counts as accepted and
    /// closed.
    pub fn refuse(&mut self, mut stream: S, peer: SocketAddr, reason: CloseReason) {
        debug!("{peer} turned away: {reason}");
        self.shared.metrics.accepted += 1;
        self.shared.metrics.count_closed(reason);
        turn_away(&mut stream, reason, &mut self.scratch);
    }

    /// Not a line for each: who is turned away can come again at once.
    fn tell_turned_away(
        &mut self,
        level: Level,
        now: Instant,
        peer: SocketAddr,
        why: &dyn fmt::Display,
    ) {
        if let Some(count) = self.turned_away.count(now) {
            log!(
                level,
                "turned away {count} since this was last said, at last {peer}: {why}"
            );
        }
    }

    /// An event said that a client has sent something. `read_on`: its end of stream or urgent data
    /// may stand behind what one read gives.
    pub fn readable(&mut self, id: ClientId, read_on: bool) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.mark_readable(read_on);
            if !connection.listed_ready && connection.wants_turn() {
                connection.listed_ready = true;
                self.woken.push(id);
            }
        }
    }

    /// An event said that a client's stream takes output again, or has failed.
    pub fn writable(&mut self, id: ClientId) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.mark_writable();
            self.list_dirty(id);
        }
    }

    /// Does what there is to do, within the budgets of one turn.
    pub fn turn(&mut self, now: Instant, registry: &mut impl Registry<S>) {
        let now = self.clock.moment(now);
        self.turn_input = 0;
        self.turn_output = 0;
        self.room.keep_time(now);
        self.expire(now);
        self.tell_resumed();
        self.hear_ready(now);
        self.write_all(now, registry);
        self.shed_load(now);
        // Closing a client may give it, and others, something to write.
        self.write_all(now, registry);
        self.room.end_turn();
        self.free_closed(registry);
        self.trim(now);
    }

    /// Whether the last turn left work that no event will ask for: the next one must not wait.
    pub fn has_work(&self) -> bool {
        !self.woken.is_empty()
            || !self.ready.is_empty()
            || (self.ready.is_anybody_aside() && self.pressure.has_changed())
            || !self.dirty.is_empty()
            || !self.resumed.is_empty()
            || !self.closed.is_empty()
    }

    /// When there is something to do even if nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.deadlines.next(),
            self.room.next_deadline(),
            self.trim_at,
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.and_then(|at| self.clock.instant(at));
        deadline.into_iter().chain(self.shutdown).min()
    }

    /// Tells every client that the server shuts down, and hears nothing more. Turns go on until
    /// [`is_over`](Self::is_over).
    pub fn shut_down(&mut self, now: Instant) {
        self.shutdown = Some(now + self.shared.limits.goodbye_timeout);
        let now = self.clock.moment(now);
        let ids: Vec<ClientId> = self
            .connections
            .iter()
            .map(|(id, _)| ClientId(id))
            .collect();
        for id in ids {
            self.part(id, CloseReason::Shutdown, now);
        }
    }

    /// Whether a shutdown has come to its end: all is written, or its time is up.
    pub fn is_over(&self, now: Instant) -> bool {
        self.shutdown
            .is_some_and(|end| self.connections.is_empty() || end <= now)
    }

    /// How many clients there are, members or not, those that are being closed included.
    pub fn clients(&self) -> usize {
        self.connections.len()
    }

    /// Everything that is counted here; turns are the poll loop's.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            clients: self.connections.len(),
            members: self.pressure.members(),
            ..self.shared.metrics
        }
    }

    /// Gives memory back to the system that a burst has needed and nobody needs any more.
    fn trim(&mut self, now: Moment) {
        match self.trim_at {
            Some(at) if at > now => {}
            None if self.shared.pool.is_empty() => {}
            None => self.trim_at = Some(now + TRIM_AFTER),
            Some(_) if self.shared.pool.trim() => {
                self.trim_at = None;
                self.dirty.shrink_to_fit();
                self.woken.shrink_to_fit();
                self.ready.shrink_to_fit();
            }
            Some(_) => self.trim_at = Some(now + TRIM_AFTER),
        }
    }
}
