//! The connection to the engine that joins this server and others: when it is dialed, when its session gets to
//! publish, and what the relay has to do by the clock. What is published, and what comes of it, is known to
//! [`relay`](crate::relay) and its session alone.
//!
//! | | dialed | open | ended |
//! |---|---|---|---|
//! | no connection, and it is time | one is begun | - | - |
//! | a connection | - | the relay hears what others say, and publishes once a turn | the relay is told; the next is dialed after a wait |
//!
//! The relay goes on without a connection: it is the relay that decides when members are told of it, and
//! whether lines wait or are said here alone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client_id::ClientId;
use crate::config::addr::Eol;
use crate::config::relay::RelayConfig;
use crate::conn::overflow::Overflow;
use crate::conn::send_queue::SendQueue;
use crate::conn::stream::Stream;
use crate::engine::{Engine, Registry};
use crate::events::{Event, Observer};
use crate::metrics::RelayMetrics;
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::session::relay::{RelaySession, Relayed, random_number};
use crate::session::{Ctx, Flow, Session, Watch};
use crate::time::moment::Moment;

/// What stands between the fields of a ban or a mute in the log, where a tabulator cannot. None of them has it, but for
/// the last one.
const BETWEEN: &str = "  ";

/// How often an engine is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(5);

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Joins other servers from now on, through the engine of this config, which is at these addresses. What makes
    /// random numbers [has to be set](Self::set_random) before.
    pub fn join_others(&mut self, config: &RelayConfig, addrs: Vec<SocketAddr>, now: Instant) {
        self.set_now(now);
        let mut relayed = Relayed::new(config, self.random(), self.env.now);
        relayed.dialer.set_given(addrs);
        self.room.share(self.env.now);
        self.relay = Some(Box::new(relayed));
    }

    /// Sets where the engine of the relay is: the addresses of the hosts that the config names.
    pub fn set_relay_addrs(&mut self, addrs: Vec<SocketAddr>) {
        if let Some(relay) = &mut self.relay {
            relay.dialer.set_given(addrs);
        }
    }

    /// Whether the room is shared with other servers.
    #[inline]
    pub(super) fn is_relayed(&self) -> bool {
        self.relay.is_some()
    }

    /// What is counted of it.
    pub(super) fn relay_metrics(&self) -> Option<RelayMetrics> {
        let relay = self.relay.as_ref()?;
        let elsewhere = self.room.len_elsewhere();
        Some(relay.metrics(elsewhere, self.env.now))
    }

    /// When the relay has something to do although nothing happens.
    pub(super) fn next_relay_deadline(&self) -> Option<Moment> {
        let relay = self.relay.as_ref()?;
        let ping_at = relay.link.is_some().then_some(relay.ping_at);
        let deadlines = [relay.dialer.due(), ping_at, relay.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due by the clock, at the beginning of a turn.
    #[cold]
    pub(super) fn relay_on_time(&mut self, registry: &mut impl Registry<S>) {
        let now = self.env.now;
        let Some(relay) = &mut self.relay else {
            return;
        };
        if self.env.is_ending {
            // Nobody is dialed any more.
        } else if let Some(addr) = relay.dialer.take_due(now) {
            self.dial_engine(addr, registry);
        }
        if !self.with_link(RelaySession::on_time) {
            self.without_link(Relayed::on_time_without_link);
        }
        if self.relay.as_ref().is_some_and(|it| it.ping_at <= now) {
            if let Some(relay) = &mut self.relay {
                relay.ping_at = now + PING_INTERVAL;
            }
            self.with_link(RelaySession::ping);
        }
        self.close_gate();
        // Lines read from the log count too.
        self.budget.output_bytes = self.room.batch_bytes();
    }

    /// Publishes what was said in this turn, before anybody is written to, because it has the longest way.
    #[cold]
    pub(super) fn relay_lines(&mut self, registry: &mut impl Registry<S>) {
        self.exchange_sanctions();
        if !self.with_link(RelaySession::flush) {
            self.without_link(Relayed::gather);
        }
        self.settle();
        if let Some(id) = self.relay.as_ref().and_then(|relay| relay.link) {
            self.flush_one(id, registry);
        }
        self.close_gate();
        self.watch_relay();
        self.end_relay();
    }

    /// The server shuts down: its connection ends when the other servers know that all members here have left.
    fn end_relay(&mut self) {
        if !self.env.is_ending || self.room.len() > 0 {
            return;
        }
        let relay = self.relay.as_ref().filter(|relay| relay.is_drained());
        if let Some(id) = relay.and_then(|relay| relay.link) {
            self.begin_close(id, CloseReason::Shutdown);
        }
    }

    /// Tells servers that have just come which bans and mutes are in force, and takes over what others tell.
    fn exchange_sanctions(&mut self) {
        if self.room.is_asked() {
            let sanctions = self.sanctions().replace('\t', BETWEEN);
            let lines = sanctions.lines().filter(|line| !line.starts_with('#'));
            self.room.name_all(lines);
        }
        let kept = self.room.take_kept();
        if !kept.is_empty() {
            for line in kept {
                // What is no ban and no mute here is none.
                let _ = self.restore_sanctions(&line.replacen(BETWEEN, "\t", 5));
            }
            self.room.note_sanction();
        }
    }

    /// While too much is not read back, nobody is read who would say more.
    fn close_gate(&mut self) {
        let most = self.env.limits.most_unheard_bytes();
        let is_full = self
            .relay
            .as_ref()
            .is_some_and(|relay| !relay.core.has_room(most));
        self.pressure.is_relay_full = is_full;
    }

    fn watch_relay(&mut self) {
        let Some(relay) = &mut self.relay else {
            return;
        };
        if let Some(state) = relay
            .new_state(self.env.now)
            .filter(|_| !self.env.is_ending)
        {
            self.watch().emit(|| Event::RelayChanged { state });
        }
    }

    /// Lets the session of the connection do something. `false` if there is no connection that can be used.
    fn with_link(
        &mut self,
        act: impl FnOnce(&mut RelaySession, &mut SendQueue, &mut Ctx<'_>) -> Flow,
    ) -> bool {
        let link = self.relay.as_ref().and_then(|relay| relay.link);
        let link = link.filter(|id| {
            let client = self.clients.get(id.index());
            client.is_some_and(|it| matches!(&it.session, Session::Relay(link) if link.is_open()))
        });
        let Some(id) = link else {
            return false;
        };
        let mut flow = Flow::Continue;
        self.with_session(id, |session, io, cx| {
            if let Session::Relay(session) = session {
                flow = act(session, &mut io.out, cx);
            }
        });
        if let Flow::Close(reason) = flow {
            self.begin_close(id, reason);
        }
        self.list_flush(id);
        true
    }

    /// Lets the relay do something while there is no connection.
    fn without_link(&mut self, act: impl FnOnce(&mut Relayed, &mut Ctx<'_>)) {
        let Some(mut relayed) = self.relay.take() else {
            return;
        };
        let instant = self.env.instant;
        let mut cx = Ctx {
            id: ClientId::NOBODY,
            peer: Peer::ELSEWHERE,
            may_say: true,
            room: &mut self.room,
            auth: &mut self.auth,
            env: &mut self.env,
            effects: &mut self.effects,
            relay: &mut self.relay,
            watch: Watch::new(&mut self.observer, instant),
        };
        act(&mut relayed, &mut cx);
        self.relay = Some(relayed);
    }

    fn dial_engine(&mut self, addr: SocketAddr, registry: &mut impl Registry<S>) {
        let peer = Peer::from(addr);
        let now = self.env.now;
        let random = self.random();
        match registry.dial(addr) {
            Ok(stream) => {
                let id = ClientId::from_index(self.clients.vacant_key());
                let Some(relay) = &mut self.relay else {
                    return;
                };
                relay.link = Some(id);
                relay.ping_at = now + PING_INTERVAL;
                let session = Session::Relay(Box::new(relay.new_session(random, now)));
                self.admission.enter_own(id);
                self.open(stream, peer, session, Eol::CrLf, None, registry);
                match self.clients.get_mut(id.index()) {
                    Some(client) => client.io.out.set_overflow(Overflow::Own),
                    None => self.redial(),
                }
            }
            Err(error) => {
                let error = &error;
                self.watch().emit(|| Event::DialFailed { peer, error });
                self.redial();
            }
        }
    }

    /// No connection was begun: the next one is, after a wait.
    fn redial(&mut self) {
        let (now, random) = (self.env.now, self.random());
        if let Some(relay) = &mut self.relay {
            relay.link = None;
            relay.dialer.on_end(Vec::new(), false, random, now);
        }
    }

    fn random(&self) -> u64 {
        random_number(self.env.random)
    }

    /// The connection ends for this reason. Called while its session is still there.
    pub(super) fn end_link(&mut self, id: ClientId, reason: CloseReason) {
        let (now, random) = (self.env.now, self.random());
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        let peer = client.io.peer;
        let Session::Relay(session) = &mut client.session else {
            return;
        };
        let (told, error) = session.take_end();
        let Some(relay) = self.relay.as_mut().filter(|relay| relay.link == Some(id)) else {
            return;
        };
        relay.link = None;
        relay.dialer.on_end(told, error.is_some(), random, now);
        relay.on_closed(now);
        let error = error.map(|error| error.to_string());
        let error = error.as_deref();
        self.watch().emit(|| Event::EngineLost {
            peer,
            reason,
            error,
        });
        self.watch_relay();
    }
}
