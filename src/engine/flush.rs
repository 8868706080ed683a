//! The second half of a turn: each member is given what was said, and its queue is written with one
//! system call. Both happen for one member after the other, so the memory in which a queue lies for
//! that moment is the next member's as well.
//!
//! What is queued keeps its order, because whatever else a client is told comes behind what was said
//! before: see [`catch_up`](Engine::catch_up).

use std::time::Duration;

use slab::Slab;

use crate::broadcast::batch::Cursor;
use crate::broadcast::outbox::EntryKind;
use crate::broadcast::personal::PersonalLine;
use crate::client_id::ClientId;
use crate::conn::overflow::Content;
use crate::conn::send_queue::Pushed;
use crate::conn::stream::Stream;
use crate::conn::{Delivered, Env, Flushed, Io, ReaderState};
use crate::engine::backpressure::Backpressure;
use crate::engine::run_queue::Failure;
use crate::engine::{Client, Engine, Registry};
use crate::events::{Event, Observer};
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::Link;
use crate::room::{Room, Share, SpecialPass};
use crate::session::closing::Closing;
use crate::session::{Effect, Session, Watch};
use crate::time::moment::Moment;

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Delivers and writes everything that is pending. That may close clients; the others are told in
    /// the same way, until nothing is left to say.
    pub(super) fn flush_all(&mut self, registry: &mut impl Registry<S>) {
        loop {
            self.observe_notices();
            self.deliver_batch(registry);
            if !self.sched.flush.is_empty() {
                self.flush_listed(registry);
            }
            if !self.sched.failed.is_empty() {
                self.handle_failed();
            }
            if self.env.is_over_memory() {
                shed_memory(&mut self.clients, &mut self.env, &mut self.effects);
                if self.effects.is_empty() {
                    // Nobody holds it, so nobody can give it back.
                    return;
                }
            }
            self.settle();
            if self.room.is_passed() && self.sched.flush.is_empty() {
                return;
            }
        }
    }

    fn observe_notices(&mut self) {
        if self.observer.listens() {
            let mut watch = Watch::new(&mut self.observer, self.env.instant);
            let notice = |line: &[u8]| watch.emit(|| Event::Noticed { line });
            self.room.take_notices(notice);
        }
    }

    /// One pass over all members: append, write, interest. It is a function of its own also in the
    /// machine code, where it has all registers.
    #[inline(never)]
    fn deliver_batch(&mut self, registry: &mut impl Registry<S>) {
        let Self {
            clients,
            room,
            sched,
            timers,
            pressure,
            env,
            effects,
            observer,
            ..
        } = self;
        let Some((seats, mut pass)) = room.pass() else {
            return;
        };
        let first = sched.first_served.checked_rem(seats.len()).unwrap_or(0);
        sched.first_served = sched.first_served.wrapping_add(1);
        let special = pass.special();
        let (later, sooner) = seats.split_at_mut(first);
        for seat in sooner.iter_mut().chain(later) {
            let id = seat.id;
            let Some(client) = clients.get_mut(id.index()) else {
                continue;
            };
            let delivered = match pass.share(seat) {
                Share::Nothing => continue,
                Share::Whole(lines) => client.io.deliver(lines, env),
                Share::Special(from) => deliver_special(&mut client.io, special, id, from, env),
                Share::Pieces { pieces, most_bytes } => {
                    client.io.deliver_pieces(pieces, most_bytes, env)
                }
            };
            // So it is for nearly every member.
            if matches!(delivered, Delivered::AtOnce) && client.reader == ReaderState::Current {
                continue;
            }
            let mut watch = Watch::new(observer, env.instant);
            let flushed = match delivered {
                Delivered::Later(Pushed::Full) => {
                    watch.emit_skipped(id, env);
                    effects.push(Effect::Close(id, CloseReason::TooSlow));
                    continue;
                }
                Delivered::AtOnce | Delivered::Later(_) => {
                    client.flush(id, env, pressure, &mut watch, registry)
                }
                Delivered::Failed(error) => Err(Failure::Write(error)),
            };
            match flushed {
                Ok(()) => client.schedule(id, timers, env),
                Err(failure) => sched.failed.push((id, failure)),
            }
            if env.is_far_over_memory() {
                shed_memory(clients, env, effects);
            }
        }
    }

    /// Writes the queues of clients that were listed for it.
    fn flush_listed(&mut self, registry: &mut impl Registry<S>) {
        let mut listed = std::mem::take(&mut self.sched.flush);
        for id in listed.drain(..) {
            let client = self.clients.get(id.index());
            let is_closing = client.is_some_and(|client| client.session.is_closing());
            if is_closing && !self.budget.may_flush_closing() {
                self.sched.flush_later.push(id);
            } else {
                self.flush_one(id, registry);
            }
        }
        if self.sched.flush.is_empty() {
            // The list keeps its memory for the next turn.
            self.sched.flush = listed;
        }
    }

    pub(super) fn flush_one(&mut self, id: ClientId, registry: &mut impl Registry<S>) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        client.needs_flush = false;
        if client.session.is_done() {
            return;
        }
        let mut watch = Watch::new(&mut self.observer, self.env.instant);
        let (env, pressure) = (&mut self.env, &mut self.pressure);
        if let Err(failure) = client.flush(id, env, pressure, &mut watch, registry) {
            return self.sched.failed.push((id, failure));
        }
        // What a stream owed may have kept its input back.
        self.wake(id);
        self.advance_closing(id, registry);
        self.schedule(id);
    }

    // What is not for everybody.

    /// Does what is to happen to clients, and delivers what is on its way to single ones. Last words
    /// come first, because a client that is closed gets nothing more; answers come behind what others
    /// are told of it.
    #[inline]
    pub(super) fn settle(&mut self) {
        while !self.room.outbox.is_empty() || !self.effects.is_empty() {
            self.settle_once();
        }
    }

    #[inline(never)]
    fn settle_once(&mut self) {
        if self.room.outbox.has_last_words() {
            self.deliver_outbox(true);
        }
        self.apply_effects();
        self.deliver_outbox(false);
    }

    /// Delivers the last words, or everything else.
    fn deliver_outbox(&mut self, last_words: bool) {
        let mut outbox = std::mem::take(&mut self.room.outbox);
        let entries = outbox.entries();
        for (to, kind, line) in entries.filter(|it| (it.1 == EntryKind::LastWords) == last_words) {
            self.catch_up(to);
            let Some(client) = self.clients.get_mut(to.index()) else {
                continue;
            };
            if client.session.is_closing() {
                continue;
            }
            let (out, env) = (&mut client.io.out, &mut self.env);
            let pushed = match kind {
                EntryKind::Reply => out.push_reply(line, env),
                EntryKind::Quote => out.push(line, Content::Reply, env),
                EntryKind::Words(class) => out.push(line, Content::Line(class), env),
                EntryKind::LastWords => {
                    out.push_last(line, env);
                    Pushed::Queued
                }
            };
            self.watch_skipped(to);
            if pushed == Pushed::Full {
                self.effects.push(Effect::Close(to, CloseReason::TooSlow));
            }
            self.list_flush(to);
        }
        if !last_words {
            outbox.clear();
        }
        self.room.outbox = outbox;
    }

    fn apply_effects(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Close(id, reason) => self.close_in_turn(id, reason),
                Effect::Expel { by, id } => self.expel(by, id),
                Effect::ClosePeers(peers) => self.close_peers(&peers),
                Effect::TellOrigin { by, id } => self.tell_origin(by, id, Room::tell_origin),
                Effect::TellMuted { by, id } => self.tell_origin(by, id, Room::tell_muted_at),
                Effect::Whois { to, id } => self.tell_whois(to, id),
                #[cfg(feature = "relay")]
                Effect::AnswerWhois { id, asked } => {
                    self.with_whois(id, |room, silent_for, from, now| {
                        room.answer_whois(id, asked, silent_for, from, now);
                    });
                }
                #[cfg(feature = "relay")]
                Effect::Resume(id) => {
                    if let Some(client) = self.clients.get_mut(id.index()) {
                        client.session.resume();
                    }
                    self.wake(id);
                }
                #[cfg(feature = "relay")]
                Effect::HoldSpeakers => self.pressure.is_relay_full = true,
                Effect::Dial(to, service) => self.upkeep.dials.push((to, service)),
            }
        }
        if self.effects.is_empty() {
            // The list keeps its memory.
            self.effects = effects;
        }
    }

    fn tell_origin(
        &mut self,
        by: ClientId,
        id: ClientId,
        tell: fn(&mut Room, ClientId, ClientId, Peer),
    ) {
        if let Some(client) = self.clients.get(id.index()) {
            tell(&mut self.room, by, id, client.io.peer);
        }
    }

    fn tell_whois(&mut self, to: ClientId, id: ClientId) {
        self.with_whois(id, |room, silent_for, from, now| {
            room.tell_whois(to, id, silent_for, from, now);
        });
    }

    /// Hands out what is known of a member besides its name: for how long it has been silent, and where it comes
    /// from by which kind of connection.
    fn with_whois(
        &mut self,
        id: ClientId,
        tell: impl FnOnce(&mut Room, Duration, (Peer, Link), Moment),
    ) {
        let Some(client) = self.clients.get(id.index()) else {
            return;
        };
        let (now, peer) = (self.env.now, client.io.peer);
        let last_input = client.session.last_input().unwrap_or(now);
        let silent_for = now.saturating_since(last_input);
        let link = match peer {
            Peer::Local { .. } => Link::UnixSocket,
            Peer::Ip(_) if client.io.stream.is_encrypted() => Link::Tls,
            Peer::Ip(_) => Link::WithoutTls,
        };
        tell(&mut self.room, silent_for, (peer, link), now);
    }

    /// Queues for a member what was said and it has not been given. That must happen before anything
    /// else is queued for it, so that everything keeps its order. If its queue is too full for that, the
    /// client is to be closed.
    pub(super) fn catch_up(&mut self, id: ClientId) -> Pushed {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return Pushed::Queued;
        };
        let (out, env) = (&mut client.io.out, &mut self.env);
        let mut worst = Pushed::Queued;
        let mut any = false;
        self.room.take_pending(id, |piece| {
            any = true;
            if worst != Pushed::Full {
                worst = out.push_piece(piece, env);
            }
        });
        if worst == Pushed::Full {
            self.effects.push(Effect::Close(id, CloseReason::TooSlow));
        }
        if any {
            self.watch_skipped(id);
            self.list_flush(id);
        }
        worst
    }

    /// Reports the number of skipped lines that this client was just told of.
    fn watch_skipped(&mut self, id: ClientId) {
        Watch::new(&mut self.observer, self.env.instant).emit_skipped(id, &mut self.env);
    }

    /// Ends a connection whose output is all written.
    fn advance_closing(&mut self, id: ClientId, registry: &mut impl Registry<S>) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        let Session::Closing(Closing::Draining { reason, .. }) = client.session else {
            return;
        };
        if !client.io.is_flushed() {
            return;
        }
        let can_linger = client.io.can_linger();
        if !can_linger && !client.io.announces_end() {
            return self.mark_closed(id);
        }
        match client.io.shut_down_write(&self.env) {
            Ok(Flushed::Blocked) => {
                if let Err(failure) = client.sync_interest(id, registry) {
                    self.sched.failed.push((id, failure));
                }
            }
            Ok(Flushed::All) if !can_linger => self.mark_closed(id),
            Ok(Flushed::All) => {
                client.session = Session::Closing(Closing::Lingering {
                    reason,
                    since: self.env.now,
                    discarded_bytes: 0,
                });
                // Input may have come while nobody read it.
                client.io.on_readable(true);
                self.wake(id);
            }
            Err(_) => self.mark_closed(id),
        }
    }
}

/// Gives a member the lines that it has not been given, in bytes that only few get. A function of its own, so
/// that its machine code does not slow down the common case.
#[cold]
#[inline(never)]
fn deliver_special<S: Stream>(
    io: &mut Io<S>,
    pass: SpecialPass<'_>,
    id: ClientId,
    from: Cursor,
    env: &mut Env,
) -> Delivered {
    if !pass.ends_with_lf(id) {
        let (all, lines) = pass.personal_lines(id, from);
        let (count, bytes) = (all.count, all.bytes.len());
        let most_bytes = PersonalLine::most_bytes(count, bytes, io.out.columns());
        return io.deliver_personal(lines, most_bytes, env);
    }
    let pieces = pass.pieces_with_lf(id, from);
    let bytes = pieces.map(|lines| lines.bytes.len()).sum();
    match bytes {
        // No other member has spoken.
        0 => Delivered::AtOnce,
        bytes => io.deliver_pieces(pass.pieces_with_lf(id, from), bytes, env),
    }
}

impl<S: Stream> Client<S> {
    /// How much memory it holds besides itself, in bytes.
    fn memory_bytes(&self) -> usize {
        self.io
            .memory_bytes()
            .saturating_add(self.session.memory_bytes())
    }

    /// Gives back all memory that can be spared, and takes no more but last words.
    pub(super) fn shed(&mut self, env: &mut Env) {
        self.io.shed(env);
        let before = self.session.memory_bytes();
        self.session.forget_input();
        env.count_session(before, self.session.memory_bytes());
    }

    /// Writes what is queued, sees how the client keeps up, and tells the poll loop what it waits for.
    fn flush(
        &mut self,
        id: ClientId,
        env: &mut Env,
        pressure: &mut Backpressure,
        watch: &mut Watch<'_>,
        registry: &mut impl Registry<S>,
    ) -> Result<(), Failure> {
        watch.emit_skipped(id, env);
        self.io.flush(env).map_err(Failure::Write)?;
        self.io.resume(env);
        if watch.emit_skipped(id, env) {
            self.io.flush(env).map_err(Failure::Write)?;
        }
        if self.io.is_calm() {
            self.session.on_answered(self.io.held());
        }
        self.assess(id, env, pressure, watch);
        self.sync_interest(id, registry)
    }

    /// Sees how a member keeps up, after what could be written was written.
    pub(super) fn assess(
        &mut self,
        id: ClientId,
        env: &Env,
        pressure: &mut Backpressure,
        watch: &mut Watch<'_>,
    ) {
        let reader = match self.session.is_member() {
            true => self.io.reader_state(env),
            false => ReaderState::Current,
        };
        if reader != self.reader {
            pressure.change(self.reader, reader);
            self.reader = reader;
            if reader == ReaderState::Stalled {
                watch.emit(|| Event::Stalled { id });
            }
        }
    }

    /// Tells the poll loop which readiness the client waits for, if that has changed.
    fn sync_interest(
        &mut self,
        id: ClientId,
        registry: &mut impl Registry<S>,
    ) -> Result<(), Failure> {
        match self.io.new_interest() {
            None => Ok(()),
            Some(interest) => registry
                .reregister(&mut self.io.stream, id, interest)
                .map_err(Failure::Watch),
        }
    }
}

/// While all clients together hold more memory than they may, takes it from the one that holds the
/// most, and closes that client. One that is being closed for this already, or whose last words would take
/// more than half of what it holds, goes without them: so each client gives at least half of its memory
/// back, however many there are.
fn shed_memory<S: Stream>(clients: &mut Slab<Client<S>>, env: &mut Env, effects: &mut Vec<Effect>) {
    let holders = clients.iter();
    // What serves the server itself holds at most a part of what there may be: see `Config::check`.
    let holders = holders.filter(|(_, client)| !client.session.is_own());
    let holders = holders.map(|(id, client)| (client.memory_bytes(), id));
    let mut holders: Vec<(usize, usize)> = holders.filter(|&(bytes, _)| bytes > 0).collect();
    holders.sort_unstable();
    while env.is_over_memory()
        && let Some((bytes, id)) = holders.pop()
    {
        if let Some(client) = clients.get_mut(id) {
            let was_shed = client.io.is_shed();
            client.shed(env);
            if was_shed || client.memory_bytes() > bytes / 2 {
                client.io.give_up(env);
            }
            let id = ClientId::from_index(id);
            effects.push(Effect::Close(id, CloseReason::OutOfMemory));
        }
    }
}
