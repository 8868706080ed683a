//! What holds between two turns: the half of [`Model`] that looks at the whole. No limit is passed,
//! every number adds up, and who has nothing to wait for is not kept waiting.

use std::time::Instant;

use line_chat::{CloseReason, Lag, Limits, Metrics};

use crate::client::{ANSWER_BYTES, Client};
use crate::journal::Peer;
use crate::model::Model;
use crate::socket::Socket;

/// The notice of lines that were left out is no longer than this.
const SKIPPED_NOTICE_BYTES: usize = 40;

impl Model {
    pub(crate) fn end_turn(&mut self) {
        let longest = self.longest().to_vec();
        let limits = self.config.limits.clone();
        let longest_line = self.config.longest_line_bytes();
        let now = self.now;
        for (peer, has_stalled) in std::mem::take(&mut self.may_be_idle) {
            if let Some(client) = self.clients.get_mut(&peer).filter(|it| it.left.is_none()) {
                assert!(!has_stalled, "peer {peer} has taken nothing and stays");
                client.since = now;
            }
        }
        let has_talk = self.turn.has_talk;
        for (&peer, client) in &mut self.clients {
            client.end_turn(&limits, now, has_talk);
            assert_queue_is_within(client, peer, &limits, longest_line);
            let is_shed = longest.contains(&peer);
            assert!(
                !is_shed || client.left.is_some(),
                "peer {peer} has the longest queue"
            );
        }
        if limits.max_pending_total_bytes > 0 {
            let kept = longest.iter().filter_map(|peer| self.clients.get(peer));
            let kept: usize = kept.map(|client| client.queue.len()).sum();
            let pending = self.pending();
            let most = limits.max_pending_total_bytes + kept;
            assert!(pending <= most, "{pending} bytes in all, {most} allowed");
        }
    }

    fn pending(&self) -> usize {
        let queues = self.clients.values().map(|client| client.queue.len());
        queues.sum()
    }

    pub(crate) fn assert_adds_up(&mut self, metrics: &Metrics) {
        assert_eq!(metrics.accepted, metrics.clients as u64 + metrics.closed());
        assert_eq!(metrics.clients, self.clients.len(), "clients");
        assert_eq!(metrics.members, self.members().count(), "members");
        assert_eq!(metrics.accepted, self.accepted, "accepted");
        for reason in CloseReason::ALL {
            let closed = self.tally.closed[reason as usize];
            assert_eq!(metrics.closed_for(reason), closed, "{reason}");
        }
        assert_eq!(metrics.lines_in, self.tally.lines, "lines in");
        assert_eq!(metrics.deliveries, self.deliveries, "deliveries");
        assert_eq!(metrics.lines_skipped, self.tally.skipped, "lines skipped");
        assert_eq!(metrics.bytes_in, self.bytes_in, "bytes in");
        assert_eq!(metrics.bytes_out, self.bytes_out, "bytes out");
        assert_eq!(metrics.pending_bytes, self.pending(), "pending bytes");
        self.assert_held(metrics.held_bytes);
    }

    /// Whether the end of what was read was heard, where it says nothing, no log tells; so there
    /// are bounds of what is held.
    fn assert_held(&mut self, held: usize) {
        self.tally.held_turns += u64::from(held > 0);
        let (mut least, mut most) = (0, 0);
        for client in self.clients.values_mut() {
            most += client.unheard;
            least += if client.has_said_more() {
                client.unheard
            } else {
                0
            };
        }
        assert!(
            (least..=most).contains(&held),
            "{held} held, not {least} to {most}"
        );
        if held == least {
            let ends = self
                .clients
                .values_mut()
                .filter(|client| client.said.is_empty());
            ends.for_each(|client| client.unheard = 0);
        }
    }

    /// The chat says that it has no work before this deadline, and no event is on its way to it.
    pub(crate) fn assert_nothing_is_forgotten(&mut self, socket: &Socket, next: Option<Instant>) {
        let peer = socket.peer;
        let is_held = self.is_held(peer, next);
        let limits = self.config.limits.clone();
        let now = self.now;
        let client = self.client(peer);
        client.skip_empty_lines();
        let deadline = client.deadline(&limits).map(|(at, _)| at);
        assert!(
            deadline.is_none_or(|at| at > now),
            "peer {peer} has had its time"
        );
        let is_awaited = next.is_some_and(|next| deadline.is_none_or(|at| next <= at));
        assert!(
            is_awaited || deadline.is_none(),
            "peer {peer}: {deadline:?} after {next:?}"
        );
        assert!(!client.failed, "peer {peer} failed and is not freed");
        assert!(!client.is_dropped, "peer {peer} was to be dropped");
        assert!(!client.is_resumed, "peer {peer} was not told");
        let is_heard = client.left.is_none() && !is_held;
        if is_heard {
            assert!(
                !client.is_deaf,
                "peer {peer} takes nothing and is not freed"
            );
            assert!(client.said.is_empty(), "peer {peer} unheard: {client:?}");
            assert!(!client.is_foreign(), "peer {peer} speaks another protocol");
        }
        let pending = client.queue.len();
        let is_drained = client.left.is_some() && !client.shut && pending == 0;
        assert!(!is_drained, "peer {peer} is drained and not shut");
        socket.assert_nothing_is_forgotten(is_heard, pending);
    }

    /// Whether a member may have something to say that it may not say yet.
    fn is_held(&mut self, peer: Peer, next: Option<Instant>) -> bool {
        let now = self.now;
        let limits = &self.config.limits;
        let is_held_up =
            limits.lag == Lag::Wait && self.members().any(|(_, it)| it.over_since.is_some());
        let Some(client) = self
            .clients
            .get_mut(&peer)
            .filter(|client| client.is_member())
        else {
            return false;
        };
        if is_held_up {
            return true;
        }
        if !client.lines.is_open(now) {
            let opens = client.lines.opens(now);
            let waits = client.has_said_more();
            let is_awaited = !waits || next.is_some_and(|next| next <= opens);
            assert!(
                is_awaited,
                "peer {peer} may go on at {opens:?}, after {next:?}"
            );
            self.tally.rate_held += u64::from(waits);
            return true;
        }
        // The end of a read that was held may have been heard by now.
        let has_said = &client.has_said;
        let may_be_loud = has_said.may_be_loud(limits.read_bytes, now);
        let quiet_at = has_said.quiet_at_latest(limits.read_bytes, now);
        let waits = client.has_said_more();
        let is_held = may_be_loud && self.is_too_fast_for_most(peer);
        let is_awaited = next.is_some_and(|next| next <= quiet_at);
        assert!(
            !(is_held && waits) || is_awaited,
            "peer {peer} is quiet at {quiet_at:?}, after {next:?}"
        );
        self.tally.too_fast += u64::from(is_held);
        is_held
    }
}

/// No queue is longer than it may be.
fn assert_queue_is_within(client: &Client, peer: Peer, limits: &Limits, longest_line: usize) {
    let queued = client.queue.len();
    let beyond = match (client.left, limits.lag) {
        // The room is held up when all that one turn says has been appended.
        (None, Lag::Wait) => ANSWER_BYTES + longest_line.max(limits.max_pending_bytes / 4),
        (None, Lag::Disconnect) => ANSWER_BYTES,
        // Who leaves is told why.
        (Some(_), Lag::Wait) => {
            let turn = longest_line.max(limits.max_pending_bytes / 4);
            ANSWER_BYTES + turn + longest_line
        }
        _ => ANSWER_BYTES + 2 * SKIPPED_NOTICE_BYTES + longest_line,
    };
    let most = limits.max_pending_bytes + beyond;
    assert!(queued <= most, "peer {peer}: {queued} bytes queued");
    let quarter = (limits.max_pending_bytes / 4).max(longest_line);
    let burst = quarter + 4 * SKIPPED_NOTICE_BYTES;
    let appended = client.appended_this_turn;
    assert!(appended <= burst, "peer {peer}: {appended} bytes in a turn");
}
