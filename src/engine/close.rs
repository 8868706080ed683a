//! The last half of a client's life: why it goes, what it is still told, and when its slot is free.
//! It leaves the room at once, but its connection goes in steps (draining, lingering, closed), so
//! that its last words arrive; and its slot is freed at the end of a turn, when no list names it
//! and no event of the same batch can meet a newcomer.
//!
//! Everything that has to happen by the clock is here as well, because nearly all of it ends in a
//! client's leaving.

use std::io;

use log::{debug, info};

use crate::conn::Phase;
use crate::conn::timeouts::Due;
use crate::engine::{Chat, Registry, Stream};
use crate::protocol::close_reason::CloseReason;
use crate::room::{ClientId, Departure};
use crate::time::moment::Moment;
use crate::time::timer_queue::Alarm;

impl<S: Stream> Chat<S> {
    /// A client leaves: its nick is free at once, nothing more is heard from it or queued for it
    /// but a goodbye, and what is queued is written before it is closed.
    pub(crate) fn part(&mut self, id: ClientId, reason: CloseReason, now: Moment) {
        self.depart(id, Departure::For(reason), now);
    }

    /// The same in whatever way.
    pub(crate) fn depart(&mut self, id: ClientId, departure: Departure<'_>, now: Moment) {
        if !self.connections[id.0].is_listened_to() {
            return;
        }
        if !self.catch_up(id, now) {
            // There was no room for what was said before, and that is why it goes.
            return;
        }
        self.leave_room(id, departure, now);
        let connection = &mut self.connections[id.0];
        connection.enter(Phase::Draining, now);
        connection.drop_input(&mut self.shared);
        if departure.reason().cuts_queue() {
            connection.cut_queue(&mut self.shared);
        } else {
            connection.tell_skipped(&mut self.shared);
        }
        if let Some(words) = departure.last_words() {
            connection.queue_last_words(words, &mut self.shared);
        }
        self.schedule(id);
        self.list_dirty(id);
    }

    /// A client's connection broke: there is nobody to write to.
    pub(crate) fn fail(&mut self, id: ClientId, error: &io::Error, now: Moment) {
        debug!("{}: {error}", self.connections[id.0].peer);
        self.leave_room(id, Departure::For(CloseReason::Broken), now);
        self.close(id);
    }

    /// A client takes nothing any more, as is found when it is written to. What it said before it
    /// went may still be there, and is heard first: that a script's last line arrives must not
    /// depend on whether somebody else spoke in the meantime.
    pub(crate) fn lose_reader(&mut self, id: ClientId, error: &io::Error, now: Moment) {
        let connection = &mut self.connections[id.0];
        if !connection.is_listened_to() {
            return self.fail(id, error, now);
        }
        debug!("{} takes nothing any more: {error}", connection.peer);
        connection.deafen(&mut self.shared);
        connection.mark_readable(true);
        if connection.phase == Phase::Member {
            self.assess(id, now);
        }
        self.list_ready(id, now);
    }

    /// The peer sent FIN, and all that stood before it was heard or thrown away.
    pub(crate) fn end(&mut self, id: ClientId, now: Moment) {
        match self.connections[id.0].phase {
            Phase::Lingering { .. } => self.close(id),
            _ => self.part(id, CloseReason::HungUp, now),
        }
    }

    /// Takes a client out of the room, if it was in, and says so in the log.
    fn leave_room(&mut self, id: ClientId, departure: Departure<'_>, now: Moment) {
        let reason = departure.reason();
        let connection = &mut self.connections[id.0];
        connection.reason.get_or_insert(reason);
        if !connection.is_listened_to() {
            return;
        }
        connection.heard_at = None;
        match self.room.leave(id, departure, now) {
            Some(nick) => {
                info!("{nick} is leaving the chat: {reason}");
                let held_up = connection.over_since.take().is_some();
                self.pressure.leave(connection.standing, held_up);
            }
            None => info!("{} is leaving without a nick: {reason}", connection.peer),
        }
    }

    /// All is written: what remains is the peer's own end.
    pub(crate) fn linger(&mut self, id: ClientId, now: Moment) {
        let connection = &mut self.connections[id.0];
        if !connection.shut_write() {
            return self.close(id);
        }
        connection.enter(Phase::Lingering { discarded_bytes: 0 }, now);
        // Input may have come while nobody listened.
        connection.mark_readable(true);
        self.schedule(id);
        self.list_ready(id, now);
    }

    pub(crate) fn close(&mut self, id: ClientId) {
        let connection = &mut self.connections[id.0];
        if connection.phase != Phase::Closed {
            connection.phase = Phase::Closed;
            self.closed.push(id);
            // It may have been set aside, and has to get off that list.
            self.pressure.look_again();
        }
    }

    pub(crate) fn free_closed(&mut self, registry: &mut impl Registry<S>) {
        let mut closed = std::mem::take(&mut self.closed);
        closed.retain(|&id| {
            let connection = &self.connections[id.0];
            if connection.listed_ready || connection.listed_dirty {
                // Its id stands in a list and must not be another's before it was taken out.
                return true;
            }
            self.free(id, registry);
            false
        });
        self.closed = closed;
    }

    fn free(&mut self, id: ClientId, registry: &mut impl Registry<S>) {
        let mut connection = self.connections.remove(id.0);
        self.deadlines.cancel(id, &mut connection.alarm);
        registry.deregister(&mut connection.stream);
        connection.release(&mut self.shared);
        self.door.leave(connection.peer.ip(), &self.shared.limits);
        let reason = connection.reason.unwrap_or(CloseReason::Broken);
        self.shared.metrics.count_closed(reason);
    }

    /// While all queues together are too long, who has the longest goes.
    pub(crate) fn shed_load(&mut self, now: Moment) {
        let most = self.shared.limits.max_pending_total_bytes;
        if most == 0 || self.shared.metrics.pending_bytes <= most {
            return;
        }
        let queues = self.connections.iter();
        let mut queues: Vec<(usize, ClientId)> = queues
            .map(|(id, connection)| (connection.pending_bytes(), ClientId(id)))
            .collect();
        queues.sort_unstable();
        let mut total = self.shared.metrics.pending_bytes;
        while total > most
            && let Some((bytes, id)) = queues.pop()
        {
            total -= bytes;
            if self.connections[id.0].is_listened_to() {
                self.part(id, CloseReason::OutOfMemory, now);
            } else {
                self.close(id);
            }
        }
    }

    // Time.

    /// Sees to it that the client is looked at when the next of its deadlines comes.
    pub(crate) fn schedule(&mut self, id: ClientId) {
        let connection = &mut self.connections[id.0];
        if let Some((at, _)) = connection.next_due(&self.shared.limits) {
            self.deadlines.set(id, &mut connection.alarm, at);
        }
    }

    pub(crate) fn expire(&mut self, now: Moment) {
        while let Some(id) = self.deadlines.pop_due(now) {
            self.connections[id.0].alarm = Alarm::default();
            while let Some((at, due)) = self.connections[id.0].next_due(&self.shared.limits)
                && at <= now
            {
                self.act_on(id, due, now);
            }
            self.schedule(id);
        }
    }

    fn act_on(&mut self, id: ClientId, due: Due, now: Moment) {
        match due {
            // Who waits to be heard is not silent.
            Due::Close(CloseReason::Idle) if self.connections[id.0].wants_turn() => {
                self.connections[id.0].be_active(now);
            }
            Due::Close(reason) => self.part(id, reason, now),
            Due::Drop => self.close(id),
            Due::Stalled => self.assess(id, now),
            Due::Heard => {
                let connection = &mut self.connections[id.0];
                connection.heard_at = None;
                if connection.listed_ready {
                    // It was set aside.
                    self.pressure.look_again();
                } else {
                    self.list_ready(id, now);
                }
            }
        }
    }
}
