//! The whole server but the readiness: [`Chat`] owns the slab of connections and the room, and does
//! one turn at a time on whoever is ready. Streams, readiness and the time are handed in, so the
//! same code runs under a poll loop, in a unit test, and in a simulation that injects every fault.
//!
//! A turn hears the ready clients, appends what they say to the members' queues, and writes each
//! queue once. Nothing is written while somebody is heard and nobody is heard while something is
//! written, so a write that fails cannot disturb a broadcast.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use slab::Slab;

use crate::close::CloseReason;
use crate::config::{Config, Limits};
use crate::connection::{Connection, Fill, Phase, QueueFull};
pub use crate::connection::{Interest, Stream};
use crate::deadlines::{Alarm, Deadlines};
use crate::decoder::{Heard, Input};
use crate::message::Notice;
use crate::nick::NickError;
use crate::pool::Pool;
pub use crate::room::ClientId;
use crate::room::Room;

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
    connections: Slab<Connection<S>>,
    room: Room,
    limits: Limits,
    /// See [`Config::longest_line_bytes`].
    longest_line_bytes: usize,
    /// Clients that may have something to say, each once, who waited longest first.
    ready: VecDeque<ClientId>,
    /// Clients whose queue may be written, each once.
    dirty: Vec<ClientId>,
    /// Clients for whom a line did not fit, until they are closed; empty between two lines.
    lagging: Vec<ClientId>,
    /// Clients in [`Phase::Closed`], to be freed.
    closed: Vec<ClientId>,
    deadlines: Deadlines,
    /// Where input is read to.
    scratch: Box<[u8]>,
    /// Where a notice is written before it is queued.
    notice: Vec<u8>,
    pool: Pool,
    /// How much this turn has appended to one queue at most, in bytes.
    turn_output: usize,
    /// When a shutdown ends, once it has begun.
    shutdown: Option<Instant>,
}

impl<S: Stream> Chat<S> {
    /// An empty room. `config` must have passed [`Config::check`].
    pub fn new(config: Config) -> Self {
        Self {
            connections: Slab::new(),
            longest_line_bytes: config.longest_line_bytes(),
            room: Room::new(config.prefix, config.limits.max_nick_chars),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            lagging: Vec::new(),
            closed: Vec::new(),
            deadlines: Deadlines::default(),
            scratch: vec![0; config.limits.read_bytes].into(),
            notice: Vec::new(),
            pool: Pool::default(),
            turn_output: 0,
            shutdown: None,
            limits: config.limits,
        }
    }

    /// Takes a new client in. Its address is kept for the log.
    pub fn accept(&mut self, mut stream: S, peer: SocketAddr, registry: &mut impl Registry<S>) {
        let slot = self.connections.vacant_entry();
        match registry.register(&mut stream, ClientId(slot.key())) {
            Ok(()) => {
                slot.insert(Connection::new(stream, peer, &self.limits));
                info!("{peer} connected");
            }
            Err(error) => warn!("{peer} turned away: it cannot be registered: {error}"),
        }
    }

    /// An event said that a client has sent something. `read_on`: its end of stream or urgent data
    /// may stand behind what one read gives.
    pub fn readable(&mut self, id: ClientId, read_on: bool) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.mark_readable(read_on);
            self.list_ready(id);
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
        self.turn_output = 0;
        self.expire(now);
        self.hear_ready(now);
        // Closing a client may give others something to write.
        while !self.dirty.is_empty() {
            self.flush_dirty(now, registry);
        }
        self.free_closed(registry);
    }

    /// Whether the last turn left work that no event will ask for: the next one must not wait.
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.dirty.is_empty() || !self.closed.is_empty()
    }

    /// When there is something to do even if nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next().into_iter().chain(self.shutdown).min()
    }

    /// Tells every client that the server shuts down, and hears nothing more. Turns go on until
    /// [`is_over`](Self::is_over).
    pub fn shut_down(&mut self, now: Instant) {
        self.shutdown = Some(now + self.limits.goodbye_timeout);
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

    // Hearing.

    fn hear_ready(&mut self, now: Instant) {
        for _ in 0..self.ready.len() {
            if self.is_output_spent() {
                return;
            }
            let Some(id) = self.ready.pop_front() else {
                return;
            };
            self.connections[id.0].listed_ready = false;
            self.hear(id, now);
            self.list_ready(id);
        }
    }

    fn hear(&mut self, id: ClientId, now: Instant) {
        let connection = &mut self.connections[id.0];
        if !connection.wants_turn() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        match connection.fill(&mut scratch, &mut self.pool) {
            Fill::Bytes(n) if connection.is_listened_to() => self.decode(id, &scratch[..n], now),
            Fill::Bytes(n) => self.discard(id, n),
            Fill::Nothing => {}
            Fill::End => self.end(id, now),
            Fill::Failed(error) => self.fail(id, &error),
        }
        self.scratch = scratch;
    }

    fn decode(&mut self, id: ClientId, bytes: &[u8], now: Instant) {
        let mut input = Input::new(bytes);
        while self.connections[id.0].is_listened_to() {
            if self.is_output_spent() {
                self.connections[id.0].hold(input.rest(), &mut self.pool);
                return;
            }
            let connection = &mut self.connections[id.0];
            match connection.decoder.next(&mut input) {
                None => return,
                Some(Heard::Line(line)) => match connection.phase {
                    Phase::Member => {
                        self.room.say(id, line);
                        self.deliver(now);
                    }
                    _ if line.is_empty() => {}
                    _ => {
                        let joined = self.room.join(id, line).map(|nick| {
                            info!("{nick} is joining the chat from {}", connection.peer);
                            connection.phase = Phase::Member;
                        });
                        if let Err(why) = joined {
                            self.refuse(id, &why, now);
                        }
                    }
                },
                Some(Heard::TooLong) => self.too_long(id, now),
                Some(Heard::Refuse(bytes)) => self.queue(id, &bytes, now),
                Some(Heard::AreYouThere) => self.notify(id, Notice::Yes, now),
            }
        }
    }

    fn too_long(&mut self, id: ClientId, now: Instant) {
        let max_line_bytes = self.limits.max_line_bytes;
        if self.connections[id.0].phase == Phase::Member {
            self.notify(id, Notice::LineTooLong { max_line_bytes }, now);
        } else {
            self.refuse(id, &NickError::LineTooLong { max_line_bytes }, now);
        }
    }

    fn refuse(&mut self, id: ClientId, why: &NickError, now: Instant) {
        let Phase::Login { refusals } = &mut self.connections[id.0].phase else {
            return;
        };
        *refusals += 1;
        if *refusals < self.limits.max_refusals {
            self.notify(id, Notice::Refused(why), now);
        } else {
            self.notify(id, Notice::RefusedFinally(why), now);
            self.part(id, CloseReason::NoNick, now);
        }
    }

    /// Throws the input of a lingering client away, until it has sent more than it may.
    fn discard(&mut self, id: ClientId, n: usize) {
        if let Phase::Lingering { discarded_bytes } = &mut self.connections[id.0].phase {
            *discarded_bytes += n;
            if *discarded_bytes > self.limits.linger_bytes {
                self.close(id);
            }
        }
    }

    /// Whether the queues have got what one turn may give them: a quarter of what they hold. A
    /// reader that keeps up can so never be pushed over its limit by one loud speaker's burst.
    /// One line a turn is always possible.
    fn is_output_spent(&self) -> bool {
        let most = self.limits.max_pending_bytes / 4;
        self.turn_output > 0 && self.turn_output + self.longest_line_bytes > most
    }

    // Queueing.

    /// Appends what the room has to say to the queues of those who are to get it.
    fn deliver(&mut self, now: Instant) {
        let mut bytes = 0;
        for (id, line) in self.room.deliveries() {
            bytes = line.len();
            let connection = &mut self.connections[id.0];
            match connection.queue(line, &self.limits, &mut self.pool) {
                Ok(()) if connection.listed_dirty => {}
                Ok(()) => {
                    connection.listed_dirty = true;
                    self.dirty.push(id);
                }
                Err(QueueFull) => self.lagging.push(id),
            }
        }
        self.turn_output += bytes;
        while let Some(id) = self.lagging.pop() {
            self.part(id, CloseReason::TooSlow, now);
        }
    }

    fn notify(&mut self, id: ClientId, notice: Notice<'_>, now: Instant) {
        let mut line = std::mem::take(&mut self.notice);
        notice.write(&mut line);
        self.queue(id, &line, now);
        self.notice = line;
    }

    fn queue(&mut self, id: ClientId, bytes: &[u8], now: Instant) {
        self.turn_output += bytes.len();
        match self.connections[id.0].queue(bytes, &self.limits, &mut self.pool) {
            Ok(()) => self.list_dirty(id),
            Err(QueueFull) => self.part(id, CloseReason::TooSlow, now),
        }
    }

    // Flushing.

    fn flush_dirty(&mut self, now: Instant, registry: &mut impl Registry<S>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.connections[id.0].listed_dirty = false;
            self.flush(id, now);
            self.sync_interest(id, registry);
        }
        if self.dirty.is_empty() {
            // The list keeps its memory for the next turn.
            self.dirty = dirty;
        }
    }

    fn flush(&mut self, id: ClientId, now: Instant) {
        let connection = &mut self.connections[id.0];
        if connection.can_flush() {
            match connection.flush(&mut self.pool) {
                Ok(0) => {}
                Ok(_) => self.extend_patience(id, now),
                Err(error) => return self.fail(id, &error),
            }
        }
        let connection = &self.connections[id.0];
        if matches!(connection.phase, Phase::Draining(_)) && connection.is_drained() {
            self.linger(id, now);
        }
    }

    /// Tells the poll loop which readiness the client waits for, if that has changed.
    fn sync_interest(&mut self, id: ClientId, registry: &mut impl Registry<S>) {
        let connection = &mut self.connections[id.0];
        let wanted = connection.wanted_interest();
        if wanted == connection.interest || connection.phase == Phase::Closed {
            return;
        }
        connection.interest = wanted;
        if let Err(error) = registry.reregister(&mut connection.stream, id, wanted) {
            self.fail(id, &error);
        }
    }

    // Leaving.

    /// A client leaves: its nick is free at once, nothing more is heard from it or queued for it
    /// but a goodbye, and what is queued is written before it is closed.
    fn part(&mut self, id: ClientId, reason: CloseReason, now: Instant) {
        let connection = &mut self.connections[id.0];
        if !connection.is_listened_to() {
            return;
        }
        leave_room(&mut self.room, id, connection, reason);
        connection.phase = Phase::Draining(reason);
        connection.drop_input(&mut self.pool);
        if reason == CloseReason::TooSlow {
            connection.cut_queue();
        }
        if let Some(words) = reason.goodbye() {
            Notice::Goodbye(words).write(&mut self.notice);
            // A client whose queue has no room for it finds out by itself.
            let _ = connection.queue(&self.notice, &self.limits, &mut self.pool);
        }
        self.set_deadline(id, now + self.patience(reason));
        self.list_dirty(id);
    }

    /// A client's connection broke: there is nobody to write to.
    fn fail(&mut self, id: ClientId, error: &io::Error) {
        let connection = &self.connections[id.0];
        debug!("{}: {error}", connection.peer);
        if connection.is_listened_to() {
            leave_room(&mut self.room, id, connection, CloseReason::Broken);
        }
        self.close(id);
    }

    /// The peer sent FIN, and all that stood before it was heard or thrown away.
    fn end(&mut self, id: ClientId, now: Instant) {
        match self.connections[id.0].phase {
            Phase::Lingering { .. } => self.close(id),
            _ => self.part(id, CloseReason::HungUp, now),
        }
    }

    /// How long a leaving client may take nothing of what is queued for it.
    fn patience(&self, reason: CloseReason) -> Duration {
        if reason == CloseReason::HungUp {
            self.limits.stall_timeout
        } else {
            self.limits.goodbye_timeout
        }
    }

    /// A client that hung up and still reads has not run out of time.
    fn extend_patience(&mut self, id: ClientId, now: Instant) {
        let connection = &mut self.connections[id.0];
        if connection.phase == Phase::Draining(CloseReason::HungUp) {
            connection.deadline = Some(now + self.limits.stall_timeout);
        }
    }

    fn linger(&mut self, id: ClientId, now: Instant) {
        let connection = &mut self.connections[id.0];
        if connection.has_ended() || connection.stream.shutdown_write().is_err() {
            return self.close(id);
        }
        connection.phase = Phase::Lingering { discarded_bytes: 0 };
        // Input may have come while nobody listened.
        connection.mark_readable(true);
        self.set_deadline(id, now + self.limits.linger_timeout);
        self.list_ready(id);
    }

    fn close(&mut self, id: ClientId) {
        let connection = &mut self.connections[id.0];
        if connection.phase != Phase::Closed {
            connection.phase = Phase::Closed;
            self.closed.push(id);
        }
    }

    fn free_closed(&mut self, registry: &mut impl Registry<S>) {
        let mut closed = std::mem::take(&mut self.closed);
        closed.retain(|&id| {
            let connection = &self.connections[id.0];
            if connection.listed_ready || connection.listed_dirty {
                // Its id stands in a list and must not be another's before it was taken out.
                return true;
            }
            let mut connection = self.connections.remove(id.0);
            self.deadlines.cancel(id, &mut connection.alarm);
            registry.deregister(&mut connection.stream);
            connection.release(&mut self.pool);
            false
        });
        self.closed = closed;
    }

    // Lists and time.

    fn list_ready(&mut self, id: ClientId) {
        let connection = &mut self.connections[id.0];
        if !connection.listed_ready && connection.wants_turn() {
            connection.listed_ready = true;
            self.ready.push_back(id);
        }
    }

    fn list_dirty(&mut self, id: ClientId) {
        let connection = &mut self.connections[id.0];
        if !connection.listed_dirty {
            connection.listed_dirty = true;
            self.dirty.push(id);
        }
    }

    fn set_deadline(&mut self, id: ClientId, at: Instant) {
        let connection = &mut self.connections[id.0];
        connection.deadline = Some(at);
        self.deadlines.set(id, &mut connection.alarm, at);
    }

    fn expire(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.pop_due(now) {
            let connection = &mut self.connections[id.0];
            connection.alarm = Alarm::default();
            match connection.deadline {
                Some(deadline) if deadline <= now => self.close(id),
                Some(deadline) => self.set_deadline(id, deadline),
                None => {}
            }
        }
    }
}

/// Takes a client out of the room, if it was in, and says so in the log.
fn leave_room<S>(room: &mut Room, id: ClientId, connection: &Connection<S>, reason: CloseReason) {
    match room.leave(id) {
        Some(nick) => info!("{nick} is leaving the chat: {reason}"),
        None => info!("{} is leaving without a nick: {reason}", connection.peer),
    }
}
