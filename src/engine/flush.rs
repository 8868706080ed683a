//! The second half of a turn: each member's queue gets what was said, and is written with one system
//! call. Both happen for one member after the other, so the memory in which a queue lies for that
//! moment is the next one's as well.
//!
//! Everything that is queued keeps its order, because whatever else a member is told comes after
//! what was said before: see [`catch_up`](Chat::catch_up).

use log::{Level, debug, log_enabled, trace};

use crate::broadcast::outbox::Author;
use crate::conn::Phase;
use crate::conn::send_queue::{Output, Queued};
use crate::engine::{Chat, ClientId, Registry, Stream};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::Message;
use crate::time::moment::Moment;

impl<S: Stream> Chat<S> {
    /// Appends what was said to each queue, and writes it. That may close somebody, of which the
    /// others are told in the same way, until there is nothing more to say.
    pub(crate) fn write_all(&mut self, now: Moment, registry: &mut impl Registry<S>) {
        self.list_audience();
        while !self.dirty.is_empty() {
            self.flush_dirty(now, registry);
            self.list_audience();
        }
    }

    /// Lists all members for what was said since they were listed last.
    fn list_audience(&mut self) {
        if self.room.take_news() {
            for &id in self.room.audience() {
                let connection = &mut self.connections[id.0];
                if !connection.listed_dirty {
                    connection.listed_dirty = true;
                    self.dirty.push(id);
                }
            }
        }
    }

    /// Appends to a member's queue what was said and it has not been given. That happens when the
    /// queue is written, or before something else is queued, so that everything keeps its order.
    /// Whether the client is still there: it leaves if there was no room.
    pub(crate) fn catch_up(&mut self, id: ClientId, now: Moment) -> bool {
        let connection = &mut self.connections[id.0];
        if !self.room.has_talk() || connection.phase != Phase::Member {
            return true;
        }
        let mut has_room = true;
        for lines in self.room.unheard(id) {
            has_room = connection.queue_lines(lines, &mut self.shared);
            if connection.holds_up(&self.shared.limits, now) {
                self.pressure.hold_up();
            }
            if !has_room {
                break;
            }
        }
        self.room.mark_heard(id);
        if !has_room {
            self.part(id, CloseReason::TooSlow, now);
        }
        has_room
    }

    /// Queues a line of the server's own, and logs it; gives its length in bytes.
    pub(crate) fn notify(&mut self, id: ClientId, message: Message<'_>, now: Moment) -> usize {
        if !self.catch_up(id, now) {
            return 0;
        }
        if log_enabled!(Level::Debug) {
            let mut line = Vec::new();
            message.write(&mut line);
            let peer = self.connections[id.0].peer;
            debug!(
                "to {peer}: {}",
                String::from_utf8_lossy(line.trim_ascii_end())
            );
        }
        self.tell(id, message, now)
    }

    /// The same for what is not worth a line of the log.
    pub(crate) fn tell(&mut self, id: ClientId, message: Message<'_>, now: Moment) -> usize {
        if !self.catch_up(id, now) {
            return 0;
        }
        let mut line = std::mem::take(&mut self.notice);
        line.clear();
        message.write(&mut line);
        let bytes = self.queue(id, &line, Output::Notice, now);
        self.notice = line;
        bytes
    }

    /// Queues an answer to a telnet command; gives its length in bytes.
    pub(crate) fn answer(&mut self, id: ClientId, bytes: [u8; 3], now: Moment) -> usize {
        if !self.catch_up(id, now) {
            return 0;
        }
        trace!("to {}: {bytes:?}", self.connections[id.0].peer);
        self.queue(id, &bytes, Output::Answer, now)
    }

    /// Delivers what the room has to say to single members; gives its length in bytes. It is no
    /// business of the log's.
    pub(crate) fn deliver(&mut self, now: Moment) -> usize {
        if self.room.mail.is_empty() {
            return 0;
        }
        let mut mail = std::mem::take(&mut self.room.mail);
        let mut bytes = 0;
        for (to, author, line) in mail.letters() {
            let output = match author {
                Author::Server => Output::Notice,
                Author::Member(voice) => Output::Line(voice),
            };
            if self.connections[to.0].phase == Phase::Member && self.catch_up(to, now) {
                bytes += self.queue(to, line, output, now);
            }
        }
        debug_assert!(self.room.mail.is_empty(), "to deliver says nothing new");
        mail.clear();
        self.room.mail = mail;
        bytes
    }

    pub(crate) fn queue(
        &mut self,
        id: ClientId,
        bytes: &[u8],
        output: Output,
        now: Moment,
    ) -> usize {
        self.turn_output += bytes.len();
        let connection = &mut self.connections[id.0];
        match connection.queue(bytes, output, &mut self.shared) {
            Queued::Appended => {
                let is_line = matches!(output, Output::Line(_));
                if is_line && connection.holds_up(&self.shared.limits, now) {
                    self.pressure.hold_up();
                }
                self.list_dirty(id);
            }
            Queued::LeftOut => {}
            Queued::Full => self.part(id, CloseReason::TooSlow, now),
        }
        bytes.len()
    }

    /// Tells those who have room again how many lines were left out, before anything else is said.
    pub(crate) fn tell_resumed(&mut self) {
        while let Some(id) = self.resumed.pop() {
            let connection = self.connections.get_mut(id.0);
            // Who has been told to go since then hears nothing after that.
            let Some(connection) = connection.filter(|it| it.phase == Phase::Member) else {
                continue;
            };
            connection.tell_skipped(&mut self.shared);
            self.list_dirty(id);
        }
    }

    // Flushing.

    fn flush_dirty(&mut self, now: Moment, registry: &mut impl Registry<S>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        let first = self.first_flushed.checked_rem(dirty.len()).unwrap_or(0);
        self.first_flushed = self.first_flushed.wrapping_add(1);
        let (later, sooner) = dirty.split_at(first);
        for &id in sooner.iter().chain(later) {
            self.connections[id.0].listed_dirty = false;
            self.catch_up(id, now);
            self.flush(id, now);
            self.sync_interest(id, now, registry);
        }
        dirty.clear();
        if self.dirty.is_empty() {
            // The list keeps its memory for the next turn.
            self.dirty = dirty;
        }
    }

    fn flush(&mut self, id: ClientId, now: Moment) {
        let connection = &mut self.connections[id.0];
        if connection.can_flush()
            && let Err(error) = connection.flush(&mut self.shared, now)
        {
            return self.lose_reader(id, &error, now);
        }
        match connection.phase {
            Phase::Member => self.assess(id, now),
            Phase::Draining if connection.is_drained() => return self.linger(id, now),
            _ => {}
        }
        if !self.connections[id.0].is_drained() {
            self.schedule(id);
        }
    }

    /// Sees how a member keeps up, after what could be written was written.
    pub(crate) fn assess(&mut self, id: ClientId, now: Moment) {
        let connection = &mut self.connections[id.0];
        let limits = &self.shared.limits;
        let standing = connection.current_standing(limits, now);
        if standing != connection.standing {
            self.pressure.change(connection.standing, standing);
            connection.standing = standing;
        }
        if connection.lets_go(limits) {
            self.pressure.let_go();
        }
        if connection.resumes(limits) {
            self.resumed.push(id);
        }
    }

    /// Tells the poll loop which readiness the client waits for, if that has changed.
    fn sync_interest(&mut self, id: ClientId, now: Moment, registry: &mut impl Registry<S>) {
        let connection = &mut self.connections[id.0];
        let wanted = connection.wanted_interest();
        if wanted == connection.interest || connection.phase == Phase::Closed {
            return;
        }
        connection.interest = wanted;
        if let Err(error) = registry.reregister(&mut connection.stream, id, wanted) {
            self.fail(id, &error, now);
        }
    }

    pub(crate) fn list_dirty(&mut self, id: ClientId) {
        let connection = &mut self.connections[id.0];
        if !connection.listed_dirty {
            connection.listed_dirty = true;
            self.dirty.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::io::{self, Read, Write};
    use std::rc::Rc;
    use std::time::Instant;

    use crate::config::Config;
    use crate::config::interactive::Mode;
    use crate::engine::Interest;

    /// Reads what is there, and notes when it is written to.
    struct Noted {
        number: usize,
        input: &'static [u8],
        written: Rc<RefCell<Vec<usize>>>,
    }

    impl Read for Noted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.input.read(buffer)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                n => Ok(n),
            }
        }
    }

    impl Write for Noted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.borrow_mut().push(self.number);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Noted {
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Unwatched;

    impl Registry<Noted> for Unwatched {
        fn register(&mut self, _: &mut Noted, _: ClientId) -> io::Result<()> {
            Ok(())
        }

        fn reregister(&mut self, _: &mut Noted, _: ClientId, _: Interest) -> io::Result<()> {
            Ok(())
        }

        fn deregister(&mut self, _: &mut Noted) {}
    }

    #[test]
    fn nobody_is_always_the_last_to_hear() {
        let (now, written) = (Instant::now(), Rc::default());
        let mut chat = Chat::new(Config::default());
        for (number, input) in [&b"a\n"[..], b"b\n", b"c\n", b"d\n"]
            .into_iter()
            .enumerate()
        {
            let written = Rc::clone(&written);
            let stream = Noted {
                number,
                input,
                written,
            };
            let peer = ([127, 0, 0, 1], 1).into();
            chat.accept(stream, peer, Mode::Bare, now, &mut Unwatched);
            chat.readable(ClientId(number), false);
        }
        chat.turn(now, &mut Unwatched);
        let mut last = Vec::new();
        for _ in 0..4 {
            chat.connections[0].stream.input = b"hi\n";
            chat.readable(ClientId(0), false);
            chat.turn(now, &mut Unwatched);
            let heard = std::mem::take(&mut *written.borrow_mut());
            assert_eq!(heard.len(), 3, "each once, and not the speaker: {heard:?}");
            last.extend(heard.last().copied());
        }
        last.sort_unstable();
        last.dedup();
        assert_eq!(last, [1, 2, 3]);
    }
}
