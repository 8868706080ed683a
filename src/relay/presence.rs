//! Which servers live: [`Presence`] says of which of them nothing was heard for too long.
//!
//! A clock alone would take an engine that stands still for the death of all others. So silence is measured in
//! beats of this server that came back, too: who says nothing while three of them are read is silent, and the log
//! was not. Beats that come back in one heap, after a pause of the engine, count as one.
//!
//! All servers notice at about the same time. The one with the lowest id says so at once, each other one a second
//! later than the one before it, if it was not said by then.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::relay_batch::NodeId;
use crate::time::moment::Moment;

/// The most servers that are watched.
const MAX_NODES: usize = 1024;

/// How long each server waits for those before it, to say that another one is gone.
const STEP: Duration = Duration::from_secs(1);

/// The other servers, as far as they were heard of.
#[derive(Debug)]
pub(crate) struct Presence {
    beat: Duration,
    gone: Duration,
    nodes: BTreeMap<NodeId, Heard>,
    /// Beats of this server that were read, and when the last one was that counts.
    beats: u64,
    last_beat: Option<Moment>,
    /// When to look again who is silent.
    check_at: Option<Moment>,
}

#[derive(Debug)]
struct Heard {
    at: Moment,
    /// The number of our own beats by then.
    beats: u64,
    /// It has asked for the roster.
    is_new_told: bool,
    /// It was said to be gone, by us; that is not read yet.
    is_given_up: bool,
}

impl Presence {
    pub(crate) fn new(beat: Duration, gone: Duration) -> Self {
        Self {
            beat,
            gone,
            nodes: BTreeMap::new(),
            beats: 0,
            last_beat: None,
            check_at: None,
        }
    }

    /// How many servers are watched.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether something was heard of a server, and it is not gone.
    pub(crate) fn knows(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// A server has said something.
    pub(crate) fn on_heard(&mut self, node: NodeId, now: Moment) {
        let beats = self.beats;
        let is_known = self.nodes.contains_key(&node);
        if is_known || self.nodes.len() < MAX_NODES {
            let heard = self.nodes.entry(node).or_insert(Heard {
                at: now,
                beats,
                is_new_told: false,
                is_given_up: false,
            });
            (heard.at, heard.beats) = (now, beats);
        }
    }

    /// A server asks for the roster. Returns whether it is the first time.
    pub(crate) fn on_new(&mut self, node: NodeId, now: Moment) -> bool {
        self.on_heard(node, now);
        let heard = self.nodes.get_mut(&node);
        heard.is_none_or(|heard| !std::mem::replace(&mut heard.is_new_told, true))
    }

    /// The log is read again, and with it who was new.
    pub(crate) fn forget_new(&mut self) {
        for heard in self.nodes.values_mut() {
            heard.is_new_told = false;
        }
    }

    /// A server is no more. Returns whether it was known.
    pub(crate) fn remove(&mut self, node: NodeId) -> bool {
        self.nodes.remove(&node).is_some()
    }

    /// The link was closed for a while, or nothing was read: everybody lives again.
    pub(crate) fn reset(&mut self, now: Moment) {
        let beats = self.beats;
        for heard in self.nodes.values_mut() {
            (heard.at, heard.beats, heard.is_given_up) = (now, beats, false);
        }
        self.check_at = None;
    }

    /// A beat of this server was read.
    pub(crate) fn on_own_beat(&mut self, now: Moment) {
        let is_heap = |last: Moment| now.saturating_since(last).saturating_mul(2) < self.beat;
        if !self.last_beat.is_some_and(is_heap) {
            self.last_beat = Some(now);
            self.beats = self.beats.saturating_add(1);
            self.check_at = Some(now);
        }
    }

    /// Tells who is gone, if it is this server's turn to say so.
    pub(crate) fn on_time(&mut self, own: NodeId, now: Moment, mut is_gone: impl FnMut(NodeId)) {
        if self.check_at.is_none_or(|at| now < at) {
            return;
        }
        let most_beats = u64::from(beats_of(self.gone, self.beat));
        let (beats, gone) = (self.beats, self.gone);
        let is_silent = |heard: &Heard| {
            now.saturating_since(heard.at) >= gone
                && beats.saturating_sub(heard.beats) >= most_beats
        };
        let living = self.nodes.iter().filter(|(_, heard)| !is_silent(heard));
        let before = living.filter(|(id, _)| **id < own).count();
        let rank = u32::try_from(before).unwrap_or(u32::MAX);
        let wait = gone.saturating_add(STEP.saturating_mul(rank));
        let mut waits = false;
        let silent = self.nodes.iter_mut().filter(|(_, heard)| is_silent(heard));
        for (id, heard) in silent.filter(|(id, heard)| **id != own && !heard.is_given_up) {
            heard.is_given_up = now.saturating_since(heard.at) >= wait;
            waits |= !heard.is_given_up;
            if heard.is_given_up {
                is_gone(*id);
            }
        }
        self.check_at = waits.then(|| now + STEP);
    }

    /// When to look who is silent.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.check_at
    }
}

/// How many beats fit into this time.
fn beats_of(time: Duration, beat: Duration) -> u32 {
    let beats = time.as_nanos().checked_div(beat.as_nanos()).unwrap_or(0);
    u32::try_from(beats).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn presence() -> Presence {
        Presence::new(5 * SECOND, 15 * SECOND)
    }

    fn at(seconds: u32) -> Moment {
        Moment::BEGINNING + seconds * SECOND
    }

    /// Who is gone at that second.
    fn gone(presence: &mut Presence, second: u32) -> Vec<u64> {
        let mut gone = Vec::new();
        presence.on_time(OWN, at(second), |node| gone.push(node.0));
        gone
    }

    #[test]
    fn who_is_silent_while_the_log_is_read_is_gone() {
        let mut presence = presence();
        presence.on_heard(NodeId(7), at(0));
        presence.on_heard(OWN, at(0));
        for second in [5, 10, 15] {
            assert_eq!(gone(&mut presence, second), [0; 0]);
            presence.on_own_beat(at(second));
        }
        assert_eq!(gone(&mut presence, 14), [0; 0]);
        assert_eq!(gone(&mut presence, 15), [7]);
        presence.on_own_beat(at(20));
        assert_eq!(gone(&mut presence, 20), [0; 0], "it is said once");
    }

    #[test]
    fn nobody_is_gone_while_the_log_stands_still() {
        let mut presence = presence();
        presence.on_heard(NodeId(7), at(0));
        for _ in 0..4 {
            presence.on_own_beat(at(60));
        }
        assert_eq!(gone(&mut presence, 60), [0; 0], "4 beats came in a heap");
        presence.on_own_beat(at(65));
        presence.on_own_beat(at(70));
        assert_eq!(gone(&mut presence, 70), [7]);
    }

    #[test]
    fn servers_say_it_one_after_the_other() {
        let mut presence = presence();
        for node in [1, 2, 3, 9] {
            presence.on_heard(NodeId(node), at(0));
        }
        for second in [5, 10, 15] {
            presence.on_heard(NodeId(1), at(second));
            presence.on_heard(NodeId(2), at(second));
            presence.on_own_beat(at(second));
        }
        assert_eq!(gone(&mut presence, 15), [0; 0]);
        assert_eq!(presence.next_deadline(), Some(at(16)));
        assert_eq!(gone(&mut presence, 16), [0; 0]);
        presence.remove(NodeId(9));
        assert_eq!(gone(&mut presence, 17), [3], "two are before this one");
        assert_eq!(presence.next_deadline(), None);
    }

    #[test]
    fn after_a_pause_everybody_is_waited_for_anew() {
        let mut presence = presence();
        presence.on_heard(NodeId(7), at(0));
        for second in [5, 10, 15] {
            presence.on_own_beat(at(second));
        }
        presence.reset(at(15));
        assert_eq!(gone(&mut presence, 15), [0; 0]);
        presence.on_own_beat(at(20));
        assert_eq!(gone(&mut presence, 20), [0; 0]);
    }

    #[test]
    fn a_server_is_new_once_and_their_number_is_limited() {
        let mut presence = presence();
        assert!(presence.on_new(NodeId(7), at(0)));
        assert!(!presence.on_new(NodeId(7), at(1)));
        presence.remove(NodeId(7));
        assert!(presence.on_new(NodeId(7), at(1)));
        for node in 0..2000 {
            presence.on_heard(NodeId(node), at(0));
        }
        assert_eq!(presence.len(), MAX_NODES);
    }
}
