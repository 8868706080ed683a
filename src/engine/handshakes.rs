//! Clients whose handshake is not over: [`Handshakes`] counts and limits them. A step of a handshake may
//! take as long as a thousand lines, so a turn takes at most one, after everything that was said in it is
//! written. A client in a handshake holds memory that nobody else counts, so their number is limited, and
//! where one origin has most of them its oldest makes room.

use std::collections::HashSet;
use std::time::Duration;

use crate::client_id::ClientId;
use crate::config::Limits;
use crate::conn::stream::Stream;
use crate::engine::run_queue::Part;
use crate::engine::{Client, Engine, Registry, TurnState};
use crate::events::Observer;
use crate::peer::Origin;
use crate::session::Lane;
use crate::session::reclaimable::Reclaimable;
use crate::time::moment::Moment;

/// How long a handshake may take, within the time to log in.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How many handshakes there may be in a small server; in a large one, an eighth of its clients.
const MIN_PENDING: usize = 64;

/// The handshakes that are going on.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Only for look-ups: its order means nothing.
    pending: HashSet<ClientId>,
    by_origin: Reclaimable,
}

impl Handshakes {
    /// A client begins a handshake. Returns whether there are too many now.
    pub(super) fn begin(
        &mut self,
        id: ClientId,
        origin: Origin,
        now: Moment,
        limits: &Limits,
    ) -> bool {
        self.pending.insert(id);
        self.by_origin.add(id, origin, now);
        let most = limits.max_clients.unwrap_or(0) / 8;
        self.pending.len() > most.max(MIN_PENDING)
    }

    /// A client's handshake is over, or it is gone. Returns whether it had one that was not.
    pub(super) fn end(&mut self, id: ClientId) -> bool {
        // Hashing costs more than the rest, and nearly always there is none.
        let was_pending = !self.pending.is_empty() && self.pending.remove(&id);
        if was_pending {
            self.by_origin.remove(id);
        }
        was_pending
    }
}

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Counts a client that has just come and begins with a handshake. If there are too many, the oldest
    /// of the origin that has most makes room, or the newcomer itself.
    pub(super) fn begin_handshake(&mut self, id: ClientId, registry: &mut impl Registry<S>) {
        let Some(client) = self.clients.get(id.index()) else {
            return;
        };
        let (origin, now) = (client.io.peer.origin(), self.env.now);
        let limits = &self.env.limits;
        if self.handshakes.begin(id, origin, now, limits) {
            let oldest = self.handshakes.by_origin.to_make_room(now);
            self.make_room(oldest.unwrap_or(id), registry);
        }
    }

    /// Takes the next step of one handshake.
    pub(super) fn step_handshake(&mut self, registry: &mut impl Registry<S>) {
        self.sched.part = Part::Handshake;
        let mut scratch = std::mem::take(&mut self.upkeep.scratch);
        while let Some((id, place)) = self.sched.pop() {
            if let Some(client) = self.clients.get_mut(id.index())
                && client.is_queued_at(place)
            {
                client.turn = TurnState::Idle;
                self.read(id, &mut scratch, registry);
                self.finish_handshake(id);
            }
        }
        self.upkeep.scratch = scratch;
    }

    /// Greets a client whose handshake was completed by the last step. What it has sent behind it waits
    /// for the next turn.
    fn finish_handshake(&mut self, id: ClientId) {
        let client = self.clients.get(id.index());
        let is_over = client.is_some_and(|client| {
            !client.io.stream.is_handshaking() && !client.session.is_closing()
        });
        if !is_over || !self.handshakes.end(id) {
            return;
        }
        self.env.metrics.handshakes = self.env.metrics.handshakes.saturating_add(1);
        self.greet(id);
    }
}

impl<S: Stream> Client<S> {
    /// Whether it has come, and cannot be spoken to yet.
    pub(super) fn is_handshaking(&self) -> bool {
        self.io.stream.is_handshaking() && !self.io.is_connecting()
    }

    /// The run queue that it belongs to now.
    pub(super) fn lane(&self, now: Moment) -> Lane {
        match self.is_handshaking() {
            true => Lane::Handshake,
            false => self.session.lane(now),
        }
    }
}
