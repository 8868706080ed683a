//! The first half of a turn: clients that are ready are read, and the room gathers what they say. Which
//! client is read, and how much of it, is decided here and nowhere else.
//!
//! Three things can stop a member: the budget of the turn, until the next one; its own rate of lines,
//! until a time; and the room's gate, until readers have caught up. Whatever stops it, what was read
//! stays where it is, its stream is not read, and TCP pushes back.

use std::io;
use std::time::Duration;

use memchr::memchr2;

use crate::client_id::ClientId;
use crate::conn::stream::Stream;
use crate::conn::{Fill, ReaderState};
use crate::engine::budget::{CLIENT_COMMANDS, CLIENT_STEPS, STEP_BYTES};
use crate::engine::run_queue::{Failure, Part};
use crate::engine::{Engine, Registry, TurnState};
use crate::events::{Event, Observer};
use crate::protocol::close_reason::CloseReason;
use crate::session::commands::COMMAND_BYTES;
use crate::session::{Ctx, Flow, Lane, Session, Step, Watch};
use crate::time::moment::Moment;

/// How long the system has to find memory for a read that failed for want of it.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What a read counts at least, in bytes, that leaves input behind although there was room for more: it has done
/// as much as one call may, however little has come of it (rule 2 of [`Stream`]).
const BOUNDED_READ_BYTES: usize = 4 << 10;

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Reads the clients that have a place in this turn. What sparse speakers have said is written before
    /// any bulk speaker is read, so it takes no longer beside a flood.
    pub(super) fn read_ready(&mut self, registry: &mut impl Registry<S>) {
        self.settle();
        self.requeue_sparse();
        if !self.sched.waiting.is_empty() {
            self.let_leavers_pass();
        }
        if !self.sched.ahead.is_empty() {
            self.look_ahead();
        }
        let (pressure, room) = (&self.pressure, &self.room);
        self.sched.begin_turn(|| pressure.gates(room.len()));
        self.read_part(Part::Sparse, registry);
        if self.sched.has_bulk() {
            if self.room.batch_bytes() > 0 {
                self.flush_all(registry);
            }
            self.read_part(Part::Bulk, registry);
        }
    }

    fn read_part(&mut self, part: Part, registry: &mut impl Registry<S>) {
        self.sched.part = part;
        let mut scratch = std::mem::take(&mut self.upkeep.scratch);
        while !self.budget.is_spent()
            && let Some((id, place)) = self.sched.pop()
        {
            if let Some(client) = self.clients.get_mut(id.index())
                && client.is_queued_at(place)
            {
                if client.io.may_be_at_end() && self.budget.is_closing_spent() {
                    let lane = client.lane(self.env.now);
                    client.place = self.sched.push(id, lane);
                    continue;
                }
                client.turn = TurnState::Idle;
                self.read(id, &mut scratch, registry);
            }
        }
        self.upkeep.scratch = scratch;
    }

    /// While the room waits for a reader, searches the input of clients that wait for an end or a /quit, which
    /// would otherwise not be read before that reader has gone.
    fn let_leavers_pass(&mut self) {
        let mut scratch = std::mem::take(&mut self.upkeep.scratch);
        let mut waiting = std::mem::take(&mut self.sched.waiting);
        waiting.sort_unstable();
        waiting.dedup();
        // Those for whom the last turn had no time come first.
        let last = self.sched.last_searched;
        let next = waiting.partition_point(|&id| Some(id) <= last);
        waiting.rotate_left(next);
        let mut waiting = waiting.into_iter();
        while !self.gates().sparse
            && self.budget.may_search()
            && let Some(id) = waiting.next()
        {
            self.sched.last_searched = Some(id);
            let Some(client) = self.clients.get_mut(id.index()) else {
                continue;
            };
            if client.turn != TurnState::Queued || !client.session.is_member() {
                continue;
            }
            if client.io.read_on(&mut scratch, &mut self.env) {
                self.sched.waiting.push(id);
            }
            let is_starved = client.io.is_read_starved();
            let held = client.io.held();
            self.budget.count_search(held.len());
            // The reader that the room waits for may go on reading answers to what it has asked.
            let awaits_answers =
                client.io.out.holds_up() && (!held.is_empty() || client.session.has_waiting_line());
            let stays = client.session.outlives_input() || awaits_answers;
            let has_ended = client.io.has_end() && (client.io.is_write_closed() || !stays);
            let leaves = client.session.look_for_leaving(held, has_ended);
            if client.io.can_flush() {
                self.list_flush(id);
            }
            if leaves {
                self.requeue(id);
            }
            if is_starved {
                self.read_later(id);
            }
        }
        if !self.gates().sparse {
            self.sched.waiting.extend(waiting);
        }
        self.upkeep.scratch = scratch;
    }

    /// Looks through the input of people whose lines wait for their rate. Who leaves behind them is queued at
    /// once.
    #[cold]
    fn look_ahead(&mut self) {
        let mut scratch = std::mem::take(&mut self.upkeep.scratch);
        let mut ahead = std::mem::take(&mut self.sched.ahead);
        ahead.sort_unstable();
        ahead.dedup();
        let mut ahead = ahead.into_iter();
        while self.budget.may_search()
            && let Some(id) = ahead.next()
        {
            let Some(client) = self.clients.get_mut(id.index()) else {
                continue;
            };
            if client.turn != TurnState::Throttled {
                continue;
            }
            if client.io.read_on(&mut scratch, &mut self.env) {
                self.sched.ahead.push(id);
            }
            let is_starved = client.io.is_read_starved();
            self.budget.count_search(client.io.held().len());
            self.look_ahead_of(id);
            if is_starved {
                self.read_later(id);
            }
        }
        self.sched.ahead.extend(ahead);
        self.upkeep.scratch = scratch;
    }

    fn look_ahead_of(&mut self, id: ClientId) {
        let mut leaves = false;
        self.with_session(id, |session, io, cx| {
            let (held, out) = io.halves(&[]);
            let dropped = session.look_ahead(held, out, cx);
            io.consume(dropped, &mut &[][..], cx.env);
            leaves = session.throttled_until(cx.env).is_none();
        });
        if leaves {
            self.requeue(id);
        }
        self.list_flush(id);
    }

    /// Queues a client anew that is queued.
    fn requeue(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id.index()) {
            client.turn = TurnState::Idle;
            self.wake(id);
        }
    }

    /// Moves bulk speakers that stand behind their gate and have become sparse to the other queue.
    fn requeue_sparse(&mut self) {
        while let Some((id, place)) = self.sched.first_gated_bulk()
            && !self.gates().bulk
        {
            let now = self.env.now;
            let client = self.clients.get_mut(id.index());
            let client = client.filter(|client| client.is_queued_at(place));
            let lane = client.as_ref().map(|client| client.session.lane(now));
            if lane == Some(Lane::Bulk) {
                return;
            }
            self.sched.pop_gated_bulk();
            if let Some(client) = client {
                client.turn = TurnState::Idle;
                self.wake(id);
            }
        }
    }

    /// When the bulk speaker that has stood behind the gate longest becomes sparse.
    pub(super) fn first_bulk_is_sparse_at(&self) -> Option<Moment> {
        let (id, place) = self.sched.first_gated_bulk()?;
        let client = self.clients.get(id.index());
        match client.filter(|client| client.is_queued_at(place)) {
            Some(client) => match &client.session {
                Session::Chat(chat) => chat.sparse_at(),
                _ => None,
            },
            // A stale place hides the one behind it.
            None => Some(self.env.now),
        }
    }

    pub(super) fn read(
        &mut self,
        id: ClientId,
        scratch: &mut [u8],
        registry: &mut impl Registry<S>,
    ) {
        self.decode_next(id, scratch, registry);
        if self.may_end_now(id) {
            // The end of the stream may stand behind its last line, and a client that has hung up
            // leaves at once.
            self.decode_next(id, scratch, registry);
        }
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        let has_more = client.io.has_input() || client.session.has_waiting_line();
        let is_due = std::mem::take(&mut client.is_due);
        // What was decoded may have been answered, and a read may make a stream owe output or let its
        // write half go on. And the room may have to wait for a reader that takes nothing now.
        if client.io.can_flush() || client.io.out.holds_up() {
            self.list_flush(id);
        }
        if has_more {
            self.wake(id);
        }
        if is_due {
            self.expire_one(id, true);
        }
    }

    /// Whether a client may be read a second time in this turn, to find the end of its stream.
    fn may_end_now(&self, id: ClientId) -> bool {
        let client = self.clients.get(id.index());
        client.is_some_and(|client| {
            client.io.may_end_now()
                && client.session.listens()
                && !client.session.is_closing()
                && !client.session.has_waiting_line()
                && client.session.throttled_until(&self.env).is_none()
                && !self.budget.is_spent()
        })
    }

    /// Decodes what is held, or else what one read returns.
    fn decode_next(&mut self, id: ClientId, scratch: &mut [u8], registry: &mut impl Registry<S>) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        if !client.session.listens() {
            return;
        }
        if client.io.holds_input() || client.session.has_waiting_line() {
            return self.decode(id, &[], registry);
        }
        let fill = client.io.fill(scratch, &mut self.env);
        let read = match fill {
            Fill::Fresh(n) => n,
            _ => 0,
        };
        // What is read counts, decoded or not: it may have to be held.
        let mut counted = read;
        if read < scratch.len() && client.io.stream.holds_input() {
            counted = read.max(BOUNDED_READ_BYTES);
            let excess = counted.saturating_sub(read);
            client.session.charge(excess, self.env.now);
        }
        self.budget.input_bytes = self.budget.input_bytes.saturating_add(counted);
        match fill {
            Fill::Fresh(n) => {
                if self.sched.part == Part::Handshake {
                    // It has its place in the next turn, among its like.
                    return client
                        .io
                        .hold(scratch.get(..n).unwrap_or_default(), &mut self.env);
                }
                self.decode(id, scratch.get(..n).unwrap_or_default(), registry);
            }
            Fill::Nothing => self.on_nothing(id),
            Fill::Starved => self.read_later(id),
            Fill::End => self.on_end(id),
            Fill::Failed(error) => self.abort(id, &error),
        }
    }

    /// There is nothing to read, as far as is known. A client that cannot be written to either is gone.
    fn on_nothing(&mut self, id: ClientId) {
        let client = self.clients.get(id.index());
        if client.is_some_and(|client| client.io.is_write_closed() && !client.io.has_input()) {
            self.abort(id, &io::ErrorKind::BrokenPipe.into());
        }
    }

    /// The system has no memory to read a client: that is tried again by the clock, because no event tells
    /// when it has.
    fn read_later(&mut self, id: ClientId) {
        self.sched.starved.push(id);
        let at = self.env.now + READ_AGAIN_AFTER;
        self.upkeep.read_again_at.get_or_insert(at);
    }

    /// Marks the clients again that the system had no memory to read.
    pub(super) fn read_starved(&mut self) {
        let at = self.upkeep.read_again_at;
        if at.is_none_or(|at| at > self.env.now) {
            return;
        }
        self.upkeep.read_again_at = None;
        for id in std::mem::take(&mut self.sched.starved) {
            let client = self.clients.get(id.index());
            if client.is_some_and(|client| client.io.is_read_starved()) {
                self.on_readable(id, true);
            }
        }
    }

    /// Decodes as much of a client's input as may be decoded now, line by line, and keeps the rest. The
    /// input is `fresh`, or what is already held.
    fn decode(&mut self, id: ClientId, mut fresh: &[u8], registry: &mut impl Registry<S>) {
        let (commands_before, steps_before) = (self.budget.commands, self.budget.steps);
        loop {
            let steps = self.budget.steps.saturating_sub(steps_before);
            let commands = self.budget.commands.saturating_sub(commands_before);
            let members = self.room.len();
            let gates = self.pressure.gates(members);
            let Some(client) = self.clients.get_mut(id.index()) else {
                return;
            };
            let (io, session) = (&mut client.io, &mut client.session);
            let peer = io.peer;
            let (input, out) = io.halves(fresh);
            // At the end of the input nothing is left to be stopped, and the session may have something
            // to say about all of it.
            let has_more = !input.is_empty() || session.has_waiting_line();
            let longest = |bytes| session.longest_output(bytes, &self.upkeep.longest_line);
            // Where all that is left does not fit, its first line may.
            let budget = &self.budget;
            let is_full = budget.is_output_spent(longest(input.len()))
                && budget.is_output_spent(longest(first_line_bytes(input)));
            if has_more
                && (is_full
                    // It goes on in the other part of a turn.
                    || self.sched.part == Part::Sparse && session.lane(self.env.now) == Lane::Bulk
                    || commands >= CLIENT_COMMANDS
                    || steps >= CLIENT_STEPS && self.sched.has_others()
                    // The room waits for this client, which must not be sent still more.
                    || (out.holds_up() && !session.passes_gate(id, &self.room))
                    || session.throttled_until(&self.env).is_some())
            {
                return io.hold(fresh, &mut self.env);
            }
            let memory_before = session.memory_bytes();
            let replies_before = self.env.turn_reply_bytes;
            let instant = self.env.instant;
            let mut cx = Ctx {
                id,
                peer,
                may_say: gates.bulk || gates.is_open(session.lane(self.env.now)),
                room: &mut self.room,
                auth: &mut self.auth,
                env: &mut self.env,
                effects: &mut self.effects,
                #[cfg(feature = "relay")]
                relay: &mut self.relay,
                watch: Watch::new(&mut self.observer, instant),
            };
            let step = session.on_input(input, out, &mut cx);
            if step.has_joined {
                self.budget.fit(self.room.len(), &self.env.limits);
                self.reclaimable.remove(id);
                // The end of its time to log in concerns it no longer.
                self.timers.cancel(id, &mut client.timer);
                client.schedule(id, &mut self.timers, &self.env);
            }
            let memory = client.session.memory_bytes();
            if memory != memory_before {
                self.env.count_session(memory_before, memory);
            }
            let io = &mut client.io;
            if io.holds_input() {
                self.budget.input_bytes = self.budget.input_bytes.saturating_add(step.used);
            }
            io.consume(step.used, &mut fresh, &mut self.env);
            let goes_on = self.finish_step(id, step, replies_before);
            if step.flow.needs_engine() {
                self.serve_session(id, step.flow, fresh, registry);
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Does what a session needs before it can go on. `fresh` is the input that it has not used.
    #[cold]
    #[inline(never)]
    fn serve_session(
        &mut self,
        id: ClientId,
        flow: Flow,
        fresh: &[u8],
        registry: &mut impl Registry<S>,
    ) {
        match flow {
            // What stands behind a line that waits is handled after it.
            Flow::Wait | Flow::AwaitNick => {
                if let Some(client) = self.clients.get_mut(id.index()) {
                    client.io.hold(fresh, &mut self.env);
                }
            }
            Flow::CheckPeer(holder) => {
                self.check_peer(holder, registry);
            }
            Flow::TakeOver(id) => self.begin_close(id, CloseReason::Claimed),
            Flow::Survey => self.survey(),
            _ => {}
        }
    }

    /// Settles what came of a step and charges it. Returns whether the client may go on.
    fn finish_step(&mut self, id: ClientId, step: Step, replies_before: usize) -> bool {
        self.settle();
        let replies = self.env.turn_reply_bytes.saturating_sub(replies_before);
        let budget = &mut self.budget;
        budget.steps = budget.steps.saturating_add(1);
        let commands = step.least_cost.div_ceil(COMMAND_BYTES);
        budget.commands = budget.commands.saturating_add(commands);
        let said = self.room.batch_bytes();
        budget.output_bytes = said.saturating_add(self.env.turn_reply_bytes);
        // Input that nobody else sees is work for the server all the same.
        let output = step.said_bytes.saturating_add(replies);
        let least_cost = match step.said_bytes {
            0 => step.least_cost.max(STEP_BYTES),
            _ => step.least_cost,
        };
        let cost = output.max(step.used).max(least_cost);
        let Some(client) = self.clients.get_mut(id.index()) else {
            return false;
        };
        client.session.charge(cost, self.env.now);
        match step.flow {
            // The command may have closed the client.
            Flow::Continue | Flow::CheckPeer(_) | Flow::TakeOver(_) | Flow::Survey => {
                return client.session.listens();
            }
            Flow::Starved | Flow::Wait | Flow::AwaitNick => {}
            Flow::Close(reason) => self.begin_close(id, reason),
            Flow::Drop => self.mark_closed(id),
        }
        false
    }

    /// The peer has sent all that it will ever send, and all of it was decoded or thrown away.
    fn on_end(&mut self, id: ClientId) {
        let client = self.clients.get(id.index());
        match client.map(|client| client.session.is_closing()) {
            Some(true) => {
                self.budget.count_close();
                self.mark_closed(id);
            }
            Some(false) if self.outlives_input(id) => {}
            Some(false) => self.begin_close(id, CloseReason::HungUp),
            None => {}
        }
    }

    /// Whether a client stays although its peer has closed its sending half. If so, makes sure that the
    /// end of the connection is still noticed.
    fn outlives_input(&mut self, id: ClientId) -> bool {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return false;
        };
        if !client.session.outlives_input() || !client.io.outlive_input() {
            return false;
        }
        // The rest of an unfinished line will never arrive.
        let before = client.session.memory_bytes();
        client.session.forget_input();
        self.env
            .count_session(before, client.session.memory_bytes());
        true
    }

    /// Deals with the clients whose stream failed while others were served.
    pub(super) fn handle_failed(&mut self) {
        for (id, failure) in std::mem::take(&mut self.sched.failed) {
            match failure {
                Failure::Write(error) => self.lose_write_half(id, &error),
                Failure::Watch(error) => self.abort(id, &error),
            }
        }
    }

    /// A client's stream takes nothing any more, as is found when it is written to. What the client
    /// sent before may still be there and is decoded first: whether a script's last line arrives must
    /// not depend on whether somebody else spoke in the meantime.
    fn lose_write_half(&mut self, id: ClientId, error: &io::Error) {
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        if client.session.is_closing() {
            return self.abort(id, error);
        }
        let peer = client.io.peer;
        self.count_lost(id);
        let Some(client) = self.clients.get_mut(id.index()) else {
            return;
        };
        client.io.close_write(&mut self.env);
        if client.session.is_member() {
            self.pressure.change(client.reader, ReaderState::Current);
            client.reader = ReaderState::Current;
        }
        let is_write = true;
        self.watch().emit(|| Event::StreamFailed {
            id,
            peer,
            is_write,
            error,
        });
        self.wake(id);
    }
}

/// How much of some input its first line is at most, in bytes. A line end that belongs to the line before
/// may stand at the beginning.
#[cold]
fn first_line_bytes(input: &[u8]) -> usize {
    let behind = input.get(1..).unwrap_or_default();
    match memchr2(b'\r', b'\n', behind) {
        Some(end) => end.saturating_add(2),
        None => input.len(),
    }
}
