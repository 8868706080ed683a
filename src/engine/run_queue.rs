//! Whose turn it is to be heard: [`Ready`] lists each client that may have something to say, once,
//! the quiet before the loud, and in each of the two the one that has waited longest first. So a
//! flood, however large, never stands before what somebody typed.
//!
//! Who may not be heard until the room has changed is set aside, where it costs no turns.

use std::collections::VecDeque;

use crate::conn::overflow::Voice;
use crate::room::ClientId;

/// Clients that may have something to say.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    quiet: VecDeque<ClientId>,
    loud: VecDeque<ClientId>,
    aside: Vec<(ClientId, Voice)>,
    /// How many of each are still to be heard in this turn: who is listed anew has to wait for the
    /// next one.
    quiet_this_turn: usize,
    loud_this_turn: usize,
}

impl Ready {
    /// Lists a client that is not listed.
    pub(crate) fn push(&mut self, id: ClientId, voice: Voice) {
        match voice {
            Voice::Quiet => self.quiet.push_back(id),
            Voice::Loud => self.loud.push_back(id),
        }
    }

    /// Lists a client that is to be asked again when the room has changed.
    pub(crate) fn set_aside(&mut self, id: ClientId, voice: Voice) {
        self.aside.push((id, voice));
    }

    /// Asks those again who were set aside.
    pub(crate) fn recall(&mut self) {
        // The list keeps its memory.
        let mut aside = std::mem::take(&mut self.aside);
        for (id, voice) in aside.drain(..) {
            self.push(id, voice);
        }
        self.aside = aside;
    }

    /// Gives everybody who is listed now a place in this turn.
    pub(crate) fn begin_turn(&mut self) {
        self.quiet_this_turn = self.quiet.len();
        self.loud_this_turn = self.loud.len();
    }

    /// The next one of this turn, no longer listed.
    pub(crate) fn pop(&mut self) -> Option<ClientId> {
        if self.quiet_this_turn > 0 {
            self.quiet_this_turn -= 1;
            return self.quiet.pop_front();
        }
        self.loud_this_turn = self.loud_this_turn.checked_sub(1)?;
        self.loud.pop_front()
    }

    /// Whether nobody can be heard, as far as is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.quiet.is_empty() && self.loud.is_empty()
    }

    /// Frees memory that is not needed now.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.quiet.shrink_to_fit();
        self.loud.shrink_to_fit();
        self.aside.shrink_to_fit();
    }

    pub(crate) fn is_anybody_aside(&self) -> bool {
        !self.aside.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quiet_come_first_and_then_who_has_waited_longest() {
        let mut ready = Ready::default();
        for (id, voice) in [
            (1, Voice::Loud),
            (2, Voice::Quiet),
            (3, Voice::Loud),
            (4, Voice::Quiet),
        ] {
            ready.push(ClientId(id), voice);
        }
        ready.begin_turn();
        assert_eq!(ready.pop(), Some(ClientId(2)));
        // Its second try comes after everybody's first.
        ready.push(ClientId(2), Voice::Quiet);
        let order: Vec<_> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(order, [4, 1, 3].map(ClientId));
        ready.begin_turn();
        assert_eq!(ready.pop(), Some(ClientId(2)));
        assert!(ready.is_empty());
    }

    #[test]
    fn those_who_were_set_aside_come_back_in_their_order() {
        let mut ready = Ready::default();
        for id in 1..=3 {
            ready.set_aside(ClientId(id), Voice::Quiet);
        }
        ready.recall();
        ready.begin_turn();
        let order: Vec<_> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(order, [1, 2, 3].map(ClientId));
    }

    #[test]
    fn who_is_set_aside_is_not_heard_before_it_is_recalled() {
        let mut ready = Ready::default();
        ready.set_aside(ClientId(1), Voice::Loud);
        ready.begin_turn();
        assert!(ready.is_empty() && ready.pop().is_none());
        assert!(ready.is_anybody_aside());
        ready.recall();
        ready.begin_turn();
        assert_eq!(ready.pop(), Some(ClientId(1)));
        assert!(!ready.is_anybody_aside());
    }
}
