//! The order in which clients are read: [`Scheduler`] has four run queues, for sparse speakers, for
//! clients on their way in or out, for bulk speakers, and for clients in a handshake, and in each of them
//! the client that has waited longest comes first. So a flood, however large, never stands before what
//! somebody typed.
//!
//! The queues of speakers have a gate, which belongs to the room. A closed gate stops lines, not
//! clients: a client is decoded up to the first line that must wait, and then stands behind the gate,
//! where it takes no turns.
//!
//! Lists are hints and the client is the truth (its `TurnState`, `needs_flush` and place), so an id that
//! stays in a list after its client has gone does no harm. A client knows its last [`Place`] in a run queue
//! and is read at no other. An earlier place, its own or that of a client that had its number before, is
//! stale: it would give the client another turn.

use std::collections::VecDeque;

use crate::client_id::ClientId;
use crate::protocol::close_reason::CloseReason;
use crate::session::Lane;

/// What is to be looked at in this turn and the next.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    lanes: [RunQueue; 4],
    last_place: Place,
    /// The part of the turn.
    pub(super) part: Part,
    /// Clients whose queue may be written and that are not served by the batch.
    pub(super) flush: Vec<ClientId>,
    /// Clients that are being closed, and are written in the next turn.
    pub(super) flush_later: Vec<ClientId>,
    /// Clients that are to be closed, in this turn or a later one.
    pub(super) to_close: VecDeque<(ClientId, CloseReason)>,
    /// Clients that have left the room in this turn. Some of them stay until they have taken their last
    /// lines.
    pub(super) left: Vec<ClientId>,
    /// Closed clients, to be freed at the end of the turn.
    pub(super) closed: Vec<ClientId>,
    /// Clients behind a gate, whose input may end with their leaving.
    pub(super) waiting: Vec<ClientId>,
    /// The one that was searched last.
    pub(super) last_searched: Option<ClientId>,
    /// Clients whose lines wait for their rate, and are to be looked through.
    pub(super) ahead: Vec<ClientId>,
    /// Clients whose stream the system had no memory to read.
    pub(super) starved: Vec<ClientId>,
    /// Clients whose stream failed while others were served.
    pub(super) failed: Vec<(ClientId, Failure)>,
    /// Which member is served first, another one each time, so that nobody always comes last.
    pub(super) first_served: usize,
}

/// What failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The write half: what the client has sent before may still be there.
    Write(std::io::Error),
    /// The poll loop cannot watch it.
    Watch(std::io::Error),
}

/// The number of a place in a run queue. Numbers repeat after 65 536 places. A client that has a stale place
/// of the same number is read once more than its share, which uses that place up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u16);

#[derive(Debug, Default)]
struct RunQueue {
    ready: VecDeque<(ClientId, Place)>,
    /// Clients with a line that waits for the gate.
    gated: VecDeque<(ClientId, Place)>,
    /// How many of `ready` are still to be read in this turn: a client that is queued again has to wait
    /// for the next one.
    quota: usize,
}

/// How many clients on their way in, or out, are read in a turn. Each takes a few microseconds.
const LOGINS: usize = 128;

/// How many steps of handshakes are taken in a turn. Each may take as long as a thousand lines.
const HANDSHAKES: usize = 1;

/// A part of a turn. What the first part says is written before the second begins.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Clients on their way in, and sparse speakers.
    #[default]
    Sparse,
    /// Everybody who is left.
    Bulk,
    /// A client whose handshake is not over.
    Handshake,
}

/// Which gates are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gates {
    pub(super) sparse: bool,
    pub(super) bulk: bool,
}

impl Gates {
    pub(super) fn is_open(self, lane: Lane) -> bool {
        match lane {
            Lane::Handshake | Lane::Login => true,
            Lane::Sparse => self.sparse,
            Lane::Bulk => self.bulk,
        }
    }
}

const LANES: [Lane; 4] = [Lane::Handshake, Lane::Login, Lane::Sparse, Lane::Bulk];

impl Scheduler {
    fn lane(&mut self, lane: Lane) -> &mut RunQueue {
        let [handshake, login, sparse, bulk] = &mut self.lanes;
        match lane {
            Lane::Handshake => handshake,
            Lane::Login => login,
            Lane::Sparse => sparse,
            Lane::Bulk => bulk,
        }
    }

    /// Queues a client that may have something to be decoded. Returns its place, the only one from now on.
    pub(super) fn push(&mut self, id: ClientId, lane: Lane) -> Place {
        let place = self.next_place();
        self.lane(lane).ready.push_back((id, place));
        place
    }

    /// Queues a client whose next line waits for the gate.
    pub(super) fn push_gated(&mut self, id: ClientId, lane: Lane) -> Place {
        let place = self.next_place();
        self.lane(lane).gated.push_back((id, place));
        place
    }

    fn next_place(&mut self) -> Place {
        self.last_place = Place(self.last_place.0.wrapping_add(1));
        self.last_place
    }

    /// How many places there are behind gates.
    pub(super) fn gated_places(&self) -> usize {
        self.lanes.iter().map(|queue| queue.gated.len()).sum()
    }

    /// Removes places behind gates for which `is_kept` returns false.
    pub(super) fn retain_gated(&mut self, is_kept: impl Fn(ClientId, Place) -> bool) {
        for queue in &mut self.lanes {
            queue.gated.retain(|&(id, place)| is_kept(id, place));
        }
    }

    /// Gives every client that is ready a place in this turn. Clients behind a gate that has opened
    /// come first: they have waited longer.
    pub(super) fn begin_turn(&mut self, gates: impl Fn() -> Gates) {
        for (queue, lane) in self.lanes.iter_mut().zip(LANES) {
            if !queue.gated.is_empty() && gates().is_open(lane) {
                while let Some(place) = queue.gated.pop_back() {
                    queue.ready.push_front(place);
                }
            }
            let most = match lane {
                Lane::Handshake => HANDSHAKES,
                Lane::Login => LOGINS,
                Lane::Sparse | Lane::Bulk => usize::MAX,
            };
            queue.quota = queue.ready.len().min(most);
        }
    }

    /// Whether a bulk speaker has a place in this turn.
    pub(super) fn has_bulk(&self) -> bool {
        let [_, _, _, bulk] = &self.lanes;
        bulk.quota > 0
    }

    /// Whether a client in a handshake has a place in this turn.
    pub(super) fn has_handshake(&self) -> bool {
        let [handshake, ..] = &self.lanes;
        handshake.quota > 0
    }

    /// Whether this is the first part of a turn, and somebody still waits for a place in it.
    pub(super) fn has_others(&self) -> bool {
        let [_, login, sparse, _] = &self.lanes;
        self.part == Part::Sparse && (login.quota > 0 || sparse.quota > 0)
    }

    /// The next place in this part of the turn, no longer queued.
    pub(super) fn pop(&mut self) -> Option<(ClientId, Place)> {
        let [handshake, login, sparse, bulk] = &mut self.lanes;
        let queues = match self.part {
            Part::Sparse => [sparse, login].into_iter().find(|queue| queue.quota > 0),
            Part::Bulk => [sparse, login, bulk]
                .into_iter()
                .find(|queue| queue.quota > 0),
            Part::Handshake => Some(handshake).filter(|queue| queue.quota > 0),
        };
        let queue = queues?;
        queue.quota = queue.quota.saturating_sub(1);
        queue.ready.pop_front()
    }

    /// The bulk speaker that has stood behind the gate longest.
    pub(super) fn first_gated_bulk(&self) -> Option<(ClientId, Place)> {
        let [_, _, _, bulk] = &self.lanes;
        bulk.gated.front().copied()
    }

    /// Takes it away.
    pub(super) fn pop_gated_bulk(&mut self) {
        self.lane(Lane::Bulk).gated.pop_front();
    }

    /// Lists the clients whose last words had to wait for this turn.
    pub(super) fn begin_flushes(&mut self) {
        self.flush.append(&mut self.flush_later);
    }

    /// Whether there is work that no event will ask for.
    pub(super) fn has_work(&self, gates: impl Fn() -> Gates) -> bool {
        let mut lanes = self.lanes.iter().zip(LANES);
        lanes.any(|(queue, lane)| {
            !queue.ready.is_empty() || (!queue.gated.is_empty() && gates().is_open(lane))
        }) || !self.flush.is_empty()
            || !self.flush_later.is_empty()
            || !self.waiting.is_empty()
            || !self.ahead.is_empty()
            || !self.to_close.is_empty()
            || !self.closed.is_empty()
            || !self.failed.is_empty()
    }

    /// Frees memory that is not needed now.
    pub(super) fn shrink_to_fit(&mut self) {
        for queue in &mut self.lanes {
            queue.ready.shrink_to_fit();
            queue.gated.shrink_to_fit();
        }
        self.flush.shrink_to_fit();
        self.flush_later.shrink_to_fit();
        self.to_close.shrink_to_fit();
        self.left.shrink_to_fit();
        self.closed.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.ahead.shrink_to_fit();
        self.failed.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Gates = Gates {
        sparse: true,
        bulk: true,
    };

    fn client(id: usize) -> ClientId {
        ClientId::from_index(id)
    }

    fn order(queues: &mut Scheduler) -> Vec<usize> {
        queues.part = Part::Bulk;
        std::iter::from_fn(|| pop(queues)).collect()
    }

    fn pop(queues: &mut Scheduler) -> Option<usize> {
        Some(queues.pop()?.0.index())
    }

    #[test]
    fn sparse_speakers_come_first_and_then_the_one_that_has_waited_longest() {
        let mut queues = Scheduler::default();
        for (id, lane) in [
            (1, Lane::Bulk),
            (2, Lane::Sparse),
            (3, Lane::Bulk),
            (4, Lane::Sparse),
            (5, Lane::Login),
        ] {
            queues.push(client(id), lane);
        }
        queues.begin_turn(|| OPEN);
        queues.part = Part::Sparse;
        assert_eq!(pop(&mut queues), Some(2));
        // Its second try comes after everybody's first.
        queues.push(client(2), Lane::Sparse);
        assert_eq!(pop(&mut queues), Some(4));
        assert_eq!(pop(&mut queues), Some(5));
        assert_eq!(queues.pop(), None);
        assert_eq!(order(&mut queues), [1, 3]);
        queues.begin_turn(|| OPEN);
        assert_eq!(order(&mut queues), [2]);
        assert!(!queues.has_work(|| OPEN));
    }

    #[test]
    fn a_client_behind_a_gate_takes_no_turns_and_comes_first_when_it_opens() {
        let closed = Gates {
            bulk: false,
            ..OPEN
        };
        let mut queues = Scheduler::default();
        for id in 1..=3 {
            queues.push_gated(client(id), Lane::Bulk);
        }
        queues.begin_turn(|| closed);
        queues.part = Part::Bulk;
        assert_eq!(queues.pop(), None);
        assert!(!queues.has_work(|| closed) && queues.has_work(|| OPEN));
        queues.push(client(4), Lane::Bulk);
        let first = queues.first_gated_bulk().map(|it| it.0);
        assert_eq!(first, Some(client(1)));
        queues.pop_gated_bulk();
        queues.begin_turn(|| OPEN);
        assert_eq!(order(&mut queues), [2, 3, 4]);
    }
}
