//! The first half of a turn: the ready clients are heard, and the room gathers what they say. Who
//! may be heard now, and how much of each, is decided here and nowhere else.
//!
//! Three things can stop a member: the budgets of the turn, for the next turn; its own rate of
//! lines, until a time; and the room, until readers have caught up. Whatever stopped it, what was
//! read stays in its `rd`, its stream is not read, and TCP pushes back.

use std::io;

use log::{info, trace};

use crate::config::interactive::Mode;
use crate::conn::overflow::Voice;
use crate::conn::{Fill, Phase};
use crate::engine::{Chat, Stream};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::command;
use crate::protocol::decoder::{Heard, Input};
use crate::protocol::message::Message;
use crate::protocol::sniff::is_foreign;
use crate::room::ClientId;
use crate::text::nick::{Nick, NickError};
use crate::time::moment::Moment;

/// Whether a client may be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    /// Not before the room has changed.
    Room,
    /// Not before this time.
    Rate(Moment),
}

impl<S: Stream> Chat<S> {
    pub(crate) fn hear_ready(&mut self, now: Moment) {
        let mut woken = std::mem::take(&mut self.woken);
        for id in woken.drain(..) {
            self.connections[id.0].listed_ready = false;
            self.list_ready(id, now);
        }
        self.woken = woken;
        if self.pressure.take_changed() {
            self.ready.recall();
        }
        self.ready.begin_turn();
        while !self.is_turn_spent()
            && let Some(id) = self.ready.pop()
        {
            self.connections[id.0].listed_ready = false;
            if self.gate(id, now) == Gate::Open {
                self.hear(id, now);
            }
            self.list_ready(id, now);
        }
    }

    /// Lists a client if it may have something to say; if it may not say it now, for when it may.
    pub(crate) fn list_ready(&mut self, id: ClientId, now: Moment) {
        let gate = self.gate(id, now);
        let connection = &mut self.connections[id.0];
        if connection.listed_ready {
            // Who is set aside keeps its time to be asked again.
            return;
        }
        connection.heard_at = None;
        if !connection.wants_turn() {
            return;
        }
        let voice = connection.voice(now);
        connection.listed_ready = true;
        match gate {
            Gate::Open => return self.ready.push(id, voice),
            Gate::Room => {
                self.ready.set_aside(id, voice);
                connection.heard_at = connection.quiet_at().filter(|&at| at > now);
            }
            Gate::Rate(at) => {
                connection.listed_ready = false;
                connection.heard_at = Some(at);
            }
        }
        self.schedule(id);
    }

    fn gate(&self, id: ClientId, now: Moment) -> Gate {
        let connection = &self.connections[id.0];
        if !connection.is_listened_to() {
            return Gate::Open;
        }
        if let Some(at) = self.pace.next_line(&connection.lines_said, now) {
            return Gate::Rate(at);
        }
        if connection.phase != Phase::Member {
            return Gate::Open;
        }
        let is_too_fast = connection.voice(now) == Voice::Loud
            && self.pressure.is_too_fast_for_most(connection.standing);
        if is_too_fast || self.pressure.is_held_up() {
            return Gate::Room;
        }
        Gate::Open
    }

    fn hear(&mut self, id: ClientId, now: Moment) {
        if !self.connections[id.0].wants_turn() {
            return;
        }
        self.read(id, now);
        if self.connections[id.0].must_read_on()
            && self.gate(id, now) == Gate::Open
            && !self.is_turn_spent()
        {
            // The end of the stream stands behind its last line, and who has hung up leaves at
            // once.
            self.read(id, now);
        }
    }

    fn read(&mut self, id: ClientId, now: Moment) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let connection = &mut self.connections[id.0];
        match connection.fill(&mut scratch, &mut self.shared, now) {
            Fill::Bytes(n) if connection.is_listened_to() => self.decode(id, &scratch[..n], now),
            Fill::Bytes(n) => self.discard(id, n),
            Fill::Nothing if connection.is_deaf => {
                self.fail(id, &io::ErrorKind::BrokenPipe.into(), now);
            }
            Fill::Nothing => {}
            Fill::End => self.end(id, now),
            Fill::Failed(error) => self.fail(id, &error, now),
        }
        self.scratch = scratch;
    }

    /// Hears as much of `bytes` as may be heard now, and keeps the rest.
    fn decode(&mut self, id: ClientId, bytes: &[u8], now: Moment) {
        self.turn_input += bytes.len();
        let mut input = Input::new(bytes);
        let mut answered = 0;
        while self.connections[id.0].is_listened_to() {
            let may_go_on = !self.is_turn_output_spent(self.longest_output(id, input.rest().len()))
                && self.gate(id, now) == Gate::Open;
            // At the end of the input the decoder has nothing to say, but something to show.
            if !may_go_on && !input.rest().is_empty() {
                self.connections[id.0].hold(input.rest(), &mut self.shared);
                break;
            }
            let Some(bytes) = self.hear_next(id, &mut input, now) else {
                break;
            };
            answered += bytes;
            self.connections[id.0].has_said(bytes, now);
        }
        // Input that nobody hears is work for the server all the same.
        let heard = bytes.len() - input.rest().len();
        self.connections[id.0].has_said(heard.saturating_sub(answered), now);
    }

    /// Acts on the next thing that a client said; gives how many bytes that has queued for one
    /// client, or `None` when nothing is left.
    fn hear_next(&mut self, id: ClientId, input: &mut Input<'_>, now: Moment) -> Option<usize> {
        let connection = &mut self.connections[id.0];
        let voice = connection.voice(now);
        let heard = connection.decoder.next(input);
        Some(match (heard, connection.phase) {
            (None, phase) => {
                if is_first(phase) && is_foreign(connection.decoder.unfinished(), false) {
                    self.part(id, CloseReason::OtherProtocol, now);
                }
                return None;
            }
            (Some(Heard::Refuse(bytes)), _) => self.answer(id, bytes, now),
            (Some(Heard::AreYouThere), _) => self.notify(id, Message::Yes, now),
            (Some(Heard::TooLong), Phase::Member) => self.too_long(id, now),
            (Some(Heard::TooLong), Phase::Password { .. }) => self.try_password(id, None, now),
            (Some(Heard::TooLong), _) => {
                let max_line_bytes = self.shared.limits.max_line_bytes;
                self.refuse_nick(id, &NickError::LineTooLong { max_line_bytes }, now)
            }
            (Some(Heard::Line([])), _) => self.hear_nothing(id, now),
            (Some(Heard::Line(line)), phase) if is_first(phase) && is_foreign(line, true) => {
                self.part(id, CloseReason::OtherProtocol, now);
                return None;
            }
            (Some(Heard::Line(line)), Phase::Member) => {
                if voice == Voice::Loud {
                    trace!("{} is loud", connection.peer);
                }
                self.pace.count_line(&mut connection.lines_said, now);
                if connection.mode == Mode::Interactive
                    && let Some(command) = command::in_line(line)
                {
                    let command = command.to_vec();
                    return Some(self.obey(id, &command, voice, now));
                }
                let bytes = self.room.say(id, line, voice, now);
                self.shared.metrics.lines_in += u64::from(bytes > 0);
                bytes + self.deliver(now)
            }
            (Some(Heard::Line(line)), Phase::Password { .. }) => {
                let line = line.to_vec();
                self.try_password(id, Some(&line), now)
            }
            (Some(Heard::Line(line)), _) => {
                if connection.mode == Mode::Interactive
                    && let Some(command) = command::in_line(line)
                {
                    let command = command.to_vec();
                    return Some(self.obey_nameless(id, &command, now));
                }
                match self.room.join(id, line, connection.mode, now) {
                    Ok(()) => {
                        let nick = self.room.nick_of(id).map_or("", Nick::as_str);
                        info!("{nick} is joining the chat from {}", connection.peer);
                        self.enter_room(id, now)
                    }
                    Err(why) => self.refuse_nick(id, &why, now),
                }
            }
        })
    }

    fn enter_room(&mut self, id: ClientId, now: Moment) -> usize {
        let connection = &mut self.connections[id.0];
        connection.enter(Phase::Member, now);
        self.pressure.join();
        self.deadlines.cancel(id, &mut connection.alarm);
        self.schedule(id);
        self.deliver(now)
    }

    fn too_long(&mut self, id: ClientId, now: Moment) -> usize {
        self.pace
            .count_line(&mut self.connections[id.0].lines_said, now);
        let max_line_bytes = self.shared.limits.max_line_bytes;
        self.notify(id, Message::LineTooLong { max_line_bytes }, now)
    }

    fn refuse_nick(&mut self, id: ClientId, why: &NickError, now: Moment) -> usize {
        let Phase::Login { refusals } = &mut self.connections[id.0].phase else {
            return 0;
        };
        *refusals += 1;
        if *refusals < self.shared.limits.max_refusals {
            return self.notify(id, Message::Refused(why), now);
        }
        let bytes = self.notify(id, Message::RefusedFinally(why), now);
        self.part(id, CloseReason::NoNick, now);
        bytes
    }

    /// Throws the input of a lingering client away, until it has sent more than it may.
    fn discard(&mut self, id: ClientId, n: usize) {
        self.turn_input += n;
        if let Phase::Lingering { discarded_bytes } = &mut self.connections[id.0].phase {
            *discarded_bytes = discarded_bytes.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
            if *discarded_bytes as usize > self.shared.limits.linger_bytes {
                self.close(id);
            }
        }
    }

    fn is_turn_spent(&self) -> bool {
        self.turn_input >= self.shared.limits.turn_read_bytes || self.is_turn_output_spent(0)
    }

    /// The most that the next line of a client can put into a queue, given that `rest` bytes of
    /// input are left.
    fn longest_output(&self, id: ClientId, rest: usize) -> usize {
        let pending = self.connections[id.0].decoder.unfinished().len();
        let text = 3 * (pending + rest);
        self.longest_line_bytes
            .min(self.longest_prefix_bytes.saturating_add(text))
    }

    /// Whether the queues have got what one turn may give them, if `next` bytes more count: a
    /// quarter of what each of them holds, and of what all of them hold together. A reader that
    /// keeps up can so never be pushed over its limit by one loud speaker's burst. One line a turn is
    /// always possible.
    fn is_turn_output_spent(&self, next: usize) -> bool {
        let limits = &self.shared.limits;
        let each = limits.max_pending_bytes / 4;
        let all = match limits.max_pending_total_bytes {
            0 => usize::MAX,
            total => total / 4,
        };
        let output = self.turn_output + self.room.talk_bytes();
        if output.saturating_mul(self.pressure.members()) > all {
            return true;
        }
        output > 0 && output.saturating_add(next) > each
    }
}

/// Whether nothing that a client said was taken as a password or a nick yet.
fn is_first(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Password { refusals: 0 } | Phase::Login { refusals: 0 }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::{Duration, Instant};

    use crate::config::Config;
    use crate::engine::{Interest, Registry};
    use crate::time::moment::Clock;

    impl Stream for io::Empty {
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_largest_limits_of_all_do_not_overflow() {
        let mut config = Config::default();
        config.limits.max_line_bytes = usize::MAX;
        config.limits.max_pending_bytes = usize::MAX;
        let mut chat: Chat<io::Empty> = Chat::new(config);
        assert!(
            !chat.is_turn_output_spent(usize::MAX),
            "one line is always possible"
        );
        chat.turn_output = 1;
        assert!(chat.is_turn_output_spent(usize::MAX));
    }

    struct Unwatched;

    impl Registry<io::Empty> for Unwatched {
        fn register(&mut self, _: &mut io::Empty, _: ClientId) -> io::Result<()> {
            Ok(())
        }

        fn reregister(&mut self, _: &mut io::Empty, _: ClientId, _: Interest) -> io::Result<()> {
            Ok(())
        }

        fn deregister(&mut self, _: &mut io::Empty) {}
    }

    #[test]
    fn who_is_set_aside_and_listed_again_is_still_asked_at_its_time() {
        // Otherwise it is not heard before something else changes in the room.
        let (mut chat, start) = (Chat::new(Config::default()), Instant::now());
        let peer = ([127, 0, 0, 1], 1).into();
        chat.accept(io::empty(), peer, Mode::Bare, start, &mut Unwatched);
        let now = Clock::default().moment(start);
        let time = Some(now + Duration::from_secs(1));
        let client = &mut chat.connections[0];
        client.mark_readable(true);
        (client.listed_ready, client.heard_at) = (true, time);
        chat.list_ready(ClientId(0), now);
        assert_eq!(chat.connections[0].heard_at, time);
    }
}
