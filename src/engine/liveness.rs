//! Detects peers that have vanished. Such a peer sends nothing at all, so no event reports it, and it
//! would keep its nick until the kernel gives up retransmitting. So the engine asks the kernel about
//! peers (see [`Registry::liveness`]) in two cases:
//!
//! * Every `liveness_interval` a [round](Rounds) checks the clients from which nothing was received since
//!   the last one. While nothing is written and no answer is outstanding there are no rounds, and nothing
//!   wakes an idle server.
//! * At once when a client asks for a nick that is taken: the holder may be a lost connection of the
//!   same person. If its peer is dead, the new client gets the nick.

use std::collections::BTreeMap;
use std::io;

use crate::client_id::ClientId;
use crate::conn::Env;
use crate::conn::liveness::{Awaited, Liveness};
use crate::conn::stream::Stream;
use crate::engine::{Engine, Registry};
use crate::events::Observer;
use crate::time::moment::Moment;

/// The maximum number of peers that a turn checks: at 10 µs each, members do not notice.
const CHECKS_PER_TURN: usize = 64;

/// The maximum number of clients that a turn visits to find them.
const LOOKS_PER_TURN: usize = 4096;

/// The state of the liveness checks.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    state: Round,
    /// The total of bytes written when the last round began.
    bytes_out: u64,
    /// The clients whose peers are known to owe an answer. They are few, so they are kept here and not
    /// in each connection.
    awaited: BTreeMap<ClientId, Awaited>,
}

/// | [`Round`] | output was written | its time comes | all clients were visited |
/// |---|---|---|---|
/// | `Idle` | `Due` | - | - |
/// | `Due` | - | `Running` | - |
/// | `Running` | - | - | `Due` if output was written, or a client must be checked again; else `Idle` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Round {
    #[default]
    Idle,
    Due(Moment),
    Running {
        began: Moment,
        /// The index of the next client to visit.
        next: usize,
        /// Whether a client that was visited must be checked again.
        any: bool,
    },
}

impl Rounds {
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.state == Round::Idle
    }

    /// Whether a round continues in the next turn.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, Round::Running { .. })
    }

    /// The engine's clock leaves time out. What the kernel says of peers does not, so nobody is judged by
    /// it before peers have had an interval to answer.
    pub(super) fn begin_anew(&mut self, env: &Env) {
        self.awaited.clear();
        if !self.is_idle() {
            self.state = Round::Due(env.now + env.limits.liveness_interval);
        }
    }

    /// A client is freed, and its number may become another's.
    #[inline]
    pub(super) fn forget(&mut self, id: ClientId) {
        if !self.awaited.is_empty() {
            self.awaited.remove(&id);
        }
    }

    /// Takes note of what the system says of a client's peer. Returns whether the peer is dead.
    fn judge(&mut self, id: ClientId, says: Liveness, env: &Env) -> bool {
        let mut awaited = self.awaited.remove(&id).unwrap_or_default();
        let is_dead = awaited.judge(says, env.now, &env.limits);
        if !awaited.is_nothing() {
            self.awaited.insert(id, awaited);
        }
        is_dead
    }

    /// When the next round begins.
    pub(super) fn next(&self) -> Option<Moment> {
        match self.state {
            Round::Due(at) => Some(at),
            Round::Idle | Round::Running { .. } => None,
        }
    }
}

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Begins a round that is due, and continues one that is running.
    #[inline]
    pub(super) fn check_peers(&mut self, registry: &mut impl Registry<S>) {
        if let Round::Due(at) = self.rounds.state
            && at <= self.env.now
        {
            self.rounds.bytes_out = self.env.metrics.bytes_out;
            self.rounds.state = Round::Running {
                began: self.env.now,
                next: 0,
                any: false,
            };
        }
        if self.rounds.is_running() {
            self.go_on_round(registry);
        }
    }

    /// Schedules a round, after output was written.
    pub(super) fn schedule_round(&mut self) {
        if self.rounds.bytes_out != self.env.metrics.bytes_out {
            self.rounds.state = Round::Due(self.env.now + self.env.limits.liveness_interval);
        }
    }

    #[cold]
    fn go_on_round(&mut self, registry: &mut impl Registry<S>) {
        let Round::Running {
            began,
            next,
            mut any,
        } = self.rounds.state
        else {
            return;
        };
        let most = self.clients.capacity();
        let end = next.saturating_add(LOOKS_PER_TURN).min(most);
        let mut checks = 0;
        for index in next..end {
            let Some(client) = self.clients.get(index) else {
                continue;
            };
            let heard_at = client.session.last_input();
            if heard_at.is_some_and(|at| at + self.env.limits.liveness_interval > self.env.now) {
                // It is alive, but output that was written before may still be unacknowledged.
                any = true;
                continue;
            }
            if checks == CHECKS_PER_TURN {
                let next = index;
                self.rounds.state = Round::Running { began, next, any };
                return;
            }
            checks = checks.saturating_add(1);
            any |= self.check_peer(ClientId::from_index(index), registry);
        }
        self.rounds.state = if end < most {
            Round::Running {
                began,
                next: end,
                any,
            }
        } else if registry.tells_liveness()
            && (any || self.env.metrics.bytes_out != self.rounds.bytes_out)
        {
            Round::Due(began + self.env.limits.liveness_interval)
        } else {
            Round::Idle
        };
    }

    /// Asks the kernel about one client, and closes it if its peer is dead. Returns whether it must be
    /// checked again even if nothing more is written.
    pub(super) fn check_peer(&mut self, id: ClientId, registry: &mut impl Registry<S>) -> bool {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return false;
        };
        // Closing and connecting have timeouts of their own.
        if client.session.is_closing() || client.io.is_connecting() {
            return false;
        }
        let says = registry.liveness(&mut client.io.stream, id);
        if self.rounds.judge(id, says, &self.env) {
            self.abort(id, &io::ErrorKind::TimedOut.into());
            return false;
        }
        !matches!(says, Liveness::Unknown | Liveness::Answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use std::time::{Duration, Instant};

    #[test]
    fn only_peers_that_owe_an_answer_are_kept_and_no_longer_than_their_clients() {
        let env = Env::new(Limits::default(), Instant::now());
        let owes = Liveness::Unacknowledged {
            heard: Duration::from_secs(2),
            waited: Duration::from_secs(1),
        };
        let mut rounds = Rounds::default();
        let [one, other] = [1, 2].map(ClientId::from_index);
        for id in [one, other] {
            assert!(!rounds.judge(id, owes, &env));
        }
        assert_eq!(rounds.awaited.len(), 2);
        rounds.judge(one, Liveness::Answered, &env);
        assert!(rounds.awaited.keys().eq([&other]));
        rounds.forget(other);
        assert!(rounds.awaited.is_empty());
    }
}
