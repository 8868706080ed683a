//! The end of a client: why it is closed, what it is still told, and when its slot is free. It leaves the
//! room at once, but its connection ends in steps (see [`Closing`]), so that its last words arrive; and
//! its slot is freed at the end of a turn, so that no event of the same batch can meet a newcomer.
//!
//! What has to happen by the clock is here as well, because nearly all of it ends in a client's
//! leaving.

use std::io;

use crate::broadcast::batch::with_lf;
use crate::client_id::ClientId;
use crate::config::addr::{Eol, Service};
use crate::conn::send_queue::Pushed;
use crate::conn::stream::{Stream, retry};
use crate::conn::timeouts::Timeout;
use crate::conn::{Env, ReaderState};
use crate::engine::budget::CLOSES;
use crate::engine::handshakes::HANDSHAKE_TIMEOUT;
use crate::engine::transcript::stamp;
use crate::engine::{Client, Engine, Registry, TurnState};
use crate::events::{Event, Observer};
use crate::peer::{Peer, PeerSet};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::Message;
use crate::session::closing::Closing;
use crate::session::{Session, Watch};
use crate::text::nick::Nick;
use crate::time::moment::Moment;
use crate::time::timer_queue::{TimerHandle, TimerQueue};

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Closes a client: its nick is free at once, nothing more is decoded of what it sends or queued
    /// for it but a goodbye, and what is queued is written before the connection ends.
    pub(super) fn begin_close(&mut self, id: ClientId, reason: CloseReason) {
        if reason == CloseReason::Kicked {
            self.room.forget_lines_of(&[id]);
        }
        let is_full = self.catch_up(id) == Pushed::Full;
        // The output that does not fit was queued first, so the full queue is the reason. Not so if the member
        // is claimed: the others would see it leave and join, and a lost connection has a full queue.
        let reason = if is_full && reason != CloseReason::Claimed {
            CloseReason::TooSlow
        } else {
            reason
        };
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        if let Session::Closing(closing) = &client.session {
            if ends(closing.reason(), reason) {
                self.budget.count_close();
                self.mark_closed(id);
            }
            return;
        }
        let is_transcript = matches!(client.session, Session::Transcript);
        let is_http = matches!(client.session, Session::Http(_));
        let goodbye = client.session.goodbye(reason, &self.env.limits);
        let why = match reason {
            CloseReason::Banned => self.why_banned(id),
            _ => None,
        };
        self.leave(id, reason);
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        let is_handshaking = client.is_handshaking();
        let (io, env) = (&mut client.io, &mut self.env);
        io.drop_input(env);
        if reason.cuts_queue() {
            io.out.cut(env);
        } else {
            io.out.tell_skipped(env);
            Watch::new(&mut self.observer, env.instant).emit_skipped(id, env);
        }
        // These words are not for programs that speak HTTP.
        if let Some(words) = goodbye
            && !is_handshaking
            && !is_http
        {
            if is_transcript {
                let stamp = stamp((env.wall_clock)());
                io.out.push_last(stamp.as_bytes(), env);
            }
            let words = why.as_deref().map_or(words, Message::YouAreBanned);
            io.out.push_last_message(words, env);
        }
        let since = env.now;
        client.session = Session::Closing(Closing::Draining { reason, since });
        // After the flush its time is set.
        self.list_flush(id);
    }

    /// The reason that was given for the ban of a person who is closed for it.
    #[cold]
    fn why_banned(&self, id: ClientId) -> Option<Box<str>> {
        let client = self.clients.get(id.index())?;
        if !client.session.is_interactive() {
            return None;
        }
        let now = self.env.now;
        let of_name = self.room.why_banned(id, now);
        let of_peer = || Some(&*self.auth.ban_of(&client.io.peer, now)?.why);
        let why = of_name.or_else(of_peer)?;
        (!why.is_empty()).then(|| why.into())
    }

    /// Closes a client for which one line too many was said, or which holds too much memory. One line may do
    /// that to all members: what the turn may not close gives its memory back now, gets nothing more, and
    /// is closed in a later turn.
    pub(super) fn close_in_turn(&mut self, id: ClientId, reason: CloseReason) {
        let is_one_of_many = matches!(reason, CloseReason::TooSlow | CloseReason::OutOfMemory);
        if !is_one_of_many || !self.budget.is_closing_spent() {
            return self.begin_close(id, reason);
        }
        if let Some(client) = self.clients.get_mut(id.index())
            && !client.is_going
        {
            client.shed(&mut self.env);
            self.list_to_close(&[id], reason);
        }
    }

    /// Gives up a client whose connection is broken: there is nobody to write to.
    pub(super) fn abort(&mut self, id: ClientId, error: &io::Error) {
        let Some(client) = self.clients.get(id.index()) else {
            return;
        };
        let peer = client.io.peer;
        let is_closing = client.session.is_closing();
        let reason = if client.io.is_connecting() {
            CloseReason::Unreachable
        } else if client.is_handshaking() {
            CloseReason::HandshakeFailed
        } else {
            CloseReason::Broken
        };
        let is_write = false;
        self.watch().emit(|| match reason {
            CloseReason::HandshakeFailed => Event::HandshakeFailed { id, peer, error },
            _ => Event::StreamFailed {
                id,
                peer,
                is_write,
                error,
            },
        });
        if !is_closing {
            self.catch_up(id);
            self.leave(id, reason);
        }
        self.mark_closed(id);
    }

    /// Takes a client out of the room, if it was in, and reports that it leaves.
    fn leave(&mut self, id: ClientId, reason: CloseReason) {
        self.budget.count_close();
        let client = self.clients.get(id.index());
        let is_own = client.is_some_and(|client| client.session.is_own());
        if is_own {
            self.end_own(id, reason);
        }
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        let (peer, heard) = (client.io.peer, client.session.heard());
        // Connections for HTTP have places of their own.
        if matches!(client.session, Session::Chat(_)) {
            self.sched.left.push(id);
        }
        self.handshakes.end(id);
        let debt = client.session.debt();
        self.admission.keep_debt(&peer, &debt, self.env.now);
        self.pressure.change(client.reader, ReaderState::Current);
        client.reader = ReaderState::Current;
        client.turn = TurnState::Idle;
        (client.is_going, client.is_due) = (false, false);
        self.env.count_session(client.session.memory_bytes(), 0);
        client.session = Session::Closing(Closing::Done { reason });
        if is_own {
            return;
        }
        let nick = self.room.leave(id, &peer, reason, self.env.now);
        let nick = nick.as_ref().map(Nick::as_str);
        self.watch().emit(|| Event::Left {
            id,
            peer,
            nick,
            heard,
            reason,
        });
    }

    /// A connection of the server's own ends.
    fn end_own(&mut self, id: ClientId, reason: CloseReason) {
        let client = self.clients.get(id.index());
        match client.map(|client| &client.session) {
            Some(Session::Transcript) => self.forget_writer(id, reason),
            #[cfg(feature = "relay")]
            Some(Session::Relay(_)) => self.end_link(id, reason),
            _ => {}
        }
    }

    /// Closes a client at once that has no nick, is leaving, or speaks HTTP, because somebody else needs its
    /// place. It is told why if its stream takes that now.
    pub(super) fn make_room(&mut self, id: ClientId, registry: &mut impl Registry<S>) {
        self.begin_close(id, CloseReason::MadeRoom);
        if let Some(client) = self.clients.get_mut(id.index()) {
            // If one of these calls fails, its peer is gone, which changes nothing.
            let is_open = matches!(client.session, Session::Closing(Closing::Draining { .. }))
                && client.io.can_linger();
            let flushed = client.io.flush(&mut self.env);
            if is_open && flushed.is_ok() && client.io.is_flushed() {
                let _ = client.io.shut_down_write(&self.env);
            }
        }
        self.mark_closed(id);
        self.free(id, registry);
    }

    /// Lists a client to be freed at the end of the turn.
    pub(super) fn mark_closed(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        if let Session::Closing(closing) = &mut client.session {
            *closing = Closing::Done {
                reason: closing.reason(),
            };
            client.io.release(&mut self.env);
            self.sched.closed.push(id);
        }
    }

    /// Frees clients that are closed. What closes them has a budget, so they are not too many.
    pub(super) fn free_closed(&mut self, registry: &mut impl Registry<S>) {
        while let Some(id) = self.sched.closed.pop() {
            self.free(id, registry);
        }
        self.offer_places();
    }

    /// Offers newcomers the places of clients that have left the room and are not freed yet. Nearly all that
    /// leave are freed in the same turn, so only the rest is listed there.
    pub(super) fn offer_places(&mut self) {
        while let Some(id) = self.sched.left.pop() {
            if let Some(client) = self.clients.get(id.index())
                && client.session.is_closing()
            {
                let origin = client.io.peer.origin();
                self.reclaimable.add(id, origin, self.env.now);
            }
        }
    }

    /// Frees a client, if it is closed: it may be listed twice, and the number may be another client's
    /// already.
    fn free(&mut self, id: ClientId, registry: &mut impl Registry<S>) {
        let is_done = |client: &&Client<S>| client.session.is_done();
        if self.clients.get(id.index()).filter(is_done).is_some() {
            let mut client = self.clients.remove(id.index());
            self.timers.cancel(id, &mut client.timer);
            self.rounds.forget(id);
            self.reclaimable.remove(id);
            self.http_reclaimable.remove(id);
            registry.deregister(&mut client.io.stream);
            if let Session::Closing(closing) = client.session {
                self.count_end(id, &client.io.peer, closing.reason());
            }
            self.watch().emit(|| Event::Freed { id });
        }
    }

    /// Counts a connection that was let in and has ended.
    pub(super) fn count_end(&mut self, id: ClientId, peer: &Peer, reason: CloseReason) {
        if !self.admission.is_own(id) {
            self.env.metrics.count_closed(reason);
        }
        self.admission.leave(id, peer, &self.env.limits);
    }

    /// Closes a member whose name was banned, and tells the operator where it came from.
    pub(super) fn expel(&mut self, by: ClientId, id: ClientId) {
        if let Some(client) = self.clients.get(id.index()) {
            self.room.tell_origin(by, id, client.io.peer);
        }
        self.room.forget_lines_of(&[id]);
        self.begin_close(id, CloseReason::Banned);
    }

    /// Lists clients to be closed for this reason, within the budget of each turn. They are not heard any
    /// more. Clients that are closing already are listed if the reason makes them end at once.
    pub(super) fn list_to_close(&mut self, ids: &[ClientId], reason: CloseReason) {
        for &id in ids {
            let Some(client) = self.clients.get_mut(id.index()) else {
                continue;
            };
            if let Session::Closing(closing) = &client.session
                && !ends(closing.reason(), reason)
            {
                continue;
            }
            client.is_going = true;
            client.turn = TurnState::Idle;
            self.sched.to_close.push_back((id, reason));
        }
    }

    /// Closes clients that are listed for it, as many as a turn may.
    pub(super) fn close_listed(&mut self) {
        while !self.budget.is_closing_spent()
            && let Some((id, reason)) = self.sched.to_close.pop_front()
        {
            let client = self.clients.get(id.index());
            if client.is_some_and(|client| client.is_going) {
                self.begin_close(id, reason);
            }
        }
    }

    /// Closes all clients of these peers.
    pub(super) fn close_peers(&mut self, peers: &PeerSet) {
        let clients = self.clients.iter();
        let banned = clients.filter(|(_, client)| peers.contains(&client.io.peer));
        let banned: Vec<ClientId> = banned.map(|(id, _)| ClientId::from_index(id)).collect();
        self.room.forget_lines_of(&banned);
        self.list_to_close(&banned, CloseReason::Banned);
        self.close_listed();
    }

    // Time.

    /// Sees to it that a client is looked at when the next of its deadlines comes.
    pub(super) fn schedule(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id.index()) {
            client.schedule(id, &mut self.timers, &self.env);
        }
    }

    /// Does what is due, until that has closed as many clients as a turn may. Returns whether anything
    /// was. What is left is due still, so the next turn comes at once.
    pub(super) fn expire(&mut self) -> bool {
        let mut any = false;
        let most = self.budget.closes.saturating_add(CLOSES);
        while self.budget.closes < most
            && let Some(id) = self.timers.pop_due(self.env.now)
        {
            any = true;
            if let Some(client) = self.clients.get_mut(id.index()) {
                client.timer = TimerHandle::default();
            }
            self.expire_one(id, false);
        }
        any
    }

    /// Does what is due about one client. `is_heard`: its input was read since it is due.
    pub(super) fn expire_one(&mut self, id: ClientId, is_heard: bool) {
        while let Some((at, timeout)) = self.next_timeout(id)
            && at <= self.env.now
        {
            if !is_heard
                && timeout.may_be_met_by_input()
                && let Some(client) = self.clients.get_mut(id.index())
                && client.turn == TurnState::Queued
            {
                client.is_due = true;
                continue;
            }
            self.on_timeout(id, timeout);
        }
        self.schedule(id);
    }

    fn next_timeout(&self, id: ClientId) -> Option<(Moment, Timeout)> {
        let client = self.clients.get(id.index())?;
        client.next_timeout(&self.env)
    }

    fn on_timeout(&mut self, id: ClientId, timeout: Timeout) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        match timeout {
            // A member that waits to be read is not silent.
            Timeout::Close(CloseReason::Idle)
                if client.io.has_input() || client.session.has_waiting_line() =>
            {
                client.session.touch(self.env.now);
            }
            Timeout::Close(_) if client.io.is_connecting() => {
                self.begin_close(id, CloseReason::Unreachable);
            }
            Timeout::Close(reason) => self.begin_close(id, reason),
            Timeout::Drop => {
                self.budget.count_close();
                self.mark_closed(id);
            }
            Timeout::Stalled => {
                let mut watch = Watch::new(&mut self.observer, self.env.instant);
                client.assess(id, &self.env, &mut self.pressure, &mut watch);
            }
            Timeout::Wake => {
                client.turn = TurnState::Idle;
                self.wake(id);
            }
            Timeout::Retry => {
                client.io.on_writable();
                self.list_flush(id);
            }
        }
    }
}

impl<S: Stream> Client<S> {
    /// Sees to it that the timer fires when the next deadline comes.
    pub(super) fn schedule(&mut self, id: ClientId, timers: &mut TimerQueue<ClientId>, env: &Env) {
        if let Some((at, _)) = self.next_timeout(env) {
            timers.set(id, &mut self.timer, at);
        }
    }

    /// The end of its handshake.
    fn handshake_timeout(&self) -> Option<(Moment, Timeout)> {
        let timeout = Timeout::Close(CloseReason::HandshakeTimeout);
        Some((self.session.opened_at()? + HANDSHAKE_TIMEOUT, timeout))
    }

    /// What there is to do about it next, and when, if nothing happens until then.
    fn next_timeout(&self, env: &Env) -> Option<(Moment, Timeout)> {
        let limits = &env.limits;
        let phase = self.session.timeout(limits).filter(|_| !self.is_due);
        let phase = match self.is_handshaking() {
            true => self
                .handshake_timeout()
                .into_iter()
                .chain(phase)
                .min_by_key(|&(at, _)| at),
            false => phase,
        };
        if self.io.is_calm() && self.turn != TurnState::Throttled {
            // Nearly always nothing else has an end.
            return phase;
        }
        let may_stall = self.session.may_stall();
        let is_member = self.session.is_member();
        let throttled = match self.turn {
            TurnState::Throttled => self.session.next_line_at(env),
            TurnState::Idle | TurnState::Queued => None,
        };
        let throttled = throttled.map(|at| (at, Timeout::Wake));
        let timeouts = [
            phase,
            self.io.stall_timeout(limits).filter(|_| !may_stall),
            self.io.reader_timeout(self.reader).filter(|_| is_member),
            self.io.retry_timeout(),
            throttled,
        ];
        timeouts.into_iter().flatten().min_by_key(|&(at, _)| at)
    }
}

/// Whether a client that is closing already ends at once for another `reason`, and loses what it has not read.
/// A ban does not cut off a client that an operator has closed: it has as much time to read why as a client
/// that is closed by the ban.
fn ends(closing: CloseReason, reason: CloseReason) -> bool {
    match reason {
        CloseReason::OutOfMemory => true,
        CloseReason::Banned => !matches!(closing, CloseReason::Kicked | CloseReason::Banned),
        _ => false,
    }
}

/// Tells a peer that is not let in why, and reads what it has sent already, because a close with
/// unread input sends RST, which may overtake what it was told.
pub(super) fn turn_away(
    stream: &mut impl Stream,
    words: Option<Message<'_>>,
    service: Service,
    scratch: &mut [u8],
) {
    let mut notice = Vec::new();
    if let Some(words) = words
        && service != Service::Http
    {
        words.write(&mut notice);
    }
    if service.eol() == Eol::Lf {
        notice = with_lf(&notice).collect::<Vec<_>>().concat();
    }
    if stream.is_handshaking() {
        // It cannot be spoken to before a step of its handshake, which takes too long for a refusal.
        return;
    }
    // If any of these calls fails, the peer is gone, which changes nothing.
    if !notice.is_empty() {
        let _ = retry(|| stream.write(&notice));
    }
    let _ = stream.shutdown_write();
    let _ = retry(|| stream.read(scratch));
}
