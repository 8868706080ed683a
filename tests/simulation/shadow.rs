//! The shadow of one client: what it said and nobody has heard yet, and what it has to get. It knows
//! nothing of queues. What others say is *due* to a client from the moment at which it is said, in that
//! order, and what the client gets is held against that, byte for byte: each line is the next one that is
//! due, or there stands a notice before it that says exactly how many were left out. So nothing can be
//! lost, doubled, torn or misplaced, whatever the engine does on the way.
//!
//! Where people are in the room not all that is due is known, because the answers to commands are no
//! events. There a line that was left out is found by the next one that was not, and the sum of those is
//! never more than what the client was told by then.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use line_chat::{CloseReason, Eof, Eol, Limits, Profile, Script, Service};

use crate::amounts::Allowance;
use crate::reference::{self, Decoded, Decoder};

/// What a client has to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    /// A line with CR LF, whatever ends the lines of this client.
    Line(Rc<[u8]>),
    Answer([u8; 3]),
}

#[derive(Debug)]
pub(crate) struct Shadow {
    pub(crate) ip: IpAddr,
    pub(crate) service: Service,
    pub(crate) is_veiled: bool,
    /// It can be spoken to: it had no handshake, or that is over.
    pub(crate) is_shaken: bool,
    /// All that it gets is known.
    is_exact: bool,
    /// There is a limit of memory.
    may_be_shed: bool,
    pub(crate) decoder: Decoder,
    /// What it said and is not known to be heard.
    pub(crate) said: VecDeque<Decoded>,
    pub(crate) nick: Option<String>,
    pub(crate) refusals: u8,
    /// A refusal of its nick is not sent yet.
    refusal_is_open: bool,
    /// It sent text while that was so.
    pub(crate) is_too_soon: bool,
    pub(crate) lines: Allowance,
    /// What of them is left if all that it sent counts, and as late as it may have been heard.
    least_lines: Allowance,
    /// It may have sent a wrong password, after which it is not heard for a second.
    may_pause_until: Option<Instant>,
    /// The most that it may have cost the room, in bytes.
    pub(crate) cost: u64,
    /// What closed clients of its address may have cost it before.
    pub(crate) debt: u64,

    due: VecDeque<Due>,
    /// Lines that were due before an answer that it has got, and that were left out.
    untold: u64,
    /// Lines that it was told it missed, and lines that it is known to have missed.
    pub(crate) told: u64,
    /// Of how many the observer was told before.
    pub(crate) told_by_event: u64,
    missed: u64,
    /// Neither a whole line nor a whole answer.
    begun: Vec<u8>,
    /// Lines of the room that it got, and how many of them when it had hung up.
    pub(crate) seen: u64,
    pub(crate) seen_after_end: u64,
    /// Nothing may come behind its last words.
    is_finished: bool,

    pub(crate) left: Option<(CloseReason, Instant)>,
    pub(crate) connected_at: Instant,
    pub(crate) joined_at: Option<Instant>,
    /// When it was read last, and when the engine was told last that it can be.
    pub(crate) read_at: Instant,
    pub(crate) told_at: Instant,
    /// When it took something last, and since when it has taken nothing of what it was offered.
    pub(crate) took_at: Instant,
    pub(crate) blocked_since: Option<Instant>,
    has_taken_all: bool,
    pub(crate) ended: bool,
    pub(crate) failed: bool,
    /// It takes nothing any more.
    pub(crate) is_deaf: bool,
    /// Its peer is gone without a word since then.
    pub(crate) vanished_at: Option<Instant>,
    pub(crate) shut_at: Option<Instant>,
    /// Since when it has no nick though its time is up.
    pub(crate) late_since: Option<Instant>,
    /// In how many turns it stayed without a nick when its time was up.
    pub(crate) late_turns: u32,
    pub(crate) discarded: usize,
}

/// Whether this is an attempt to become an operator.
fn is_op(said: &Decoded) -> bool {
    matches!(said, Decoded::Line(line) if line.starts_with(b"/op"))
}

/// How long a client is not heard after a wrong password.
const WRONG_PASSWORD_PAUSE: Duration = Duration::from_secs(1);

impl Shadow {
    pub(crate) fn new(ip: IpAddr, has_people: bool, limits: &Limits, now: Instant) -> Self {
        Self {
            ip,
            service: Service::Chat(Profile::Plain),
            is_veiled: false,
            is_shaken: true,
            is_exact: !has_people,
            may_be_shed: limits.max_pending_total_bytes > 0,
            decoder: Decoder::new(limits.max_line_bytes),
            said: VecDeque::new(),
            nick: None,
            refusals: 0,
            refusal_is_open: false,
            is_too_soon: false,
            lines: Allowance::new(limits.lines_per_second, limits.burst_lines, now),
            least_lines: Allowance::new(limits.lines_per_second, limits.burst_lines, now),
            may_pause_until: None,
            cost: 0,
            debt: 0,
            due: VecDeque::new(),
            untold: 0,
            told: 0,
            told_by_event: 0,
            missed: 0,
            begun: Vec::new(),
            seen: 0,
            seen_after_end: 0,
            is_finished: false,
            left: None,
            connected_at: now,
            joined_at: None,
            read_at: now,
            told_at: now,
            took_at: now,
            blocked_since: None,
            has_taken_all: true,
            ended: false,
            failed: false,
            is_deaf: false,
            vanished_at: None,
            shut_at: None,
            late_since: None,
            late_turns: 0,
            discarded: 0,
        }
    }

    /// Whether the limits of clients count it.
    pub(crate) fn is_limited(&self) -> bool {
        self.service != Service::Http
    }

    pub(crate) fn is_member(&self) -> bool {
        self.nick.is_some() && self.left.is_none()
    }

    pub(crate) fn is_person(&self) -> bool {
        self.service == Service::Chat(Profile::Interactive)
    }

    fn script(&self) -> Option<Script> {
        match self.service {
            Service::Chat(Profile::Plain) => Some(Script::default()),
            Service::Script(script) => Some(script),
            _ => None,
        }
    }

    /// Whether it is a script, whatever the settings of its listener.
    pub(crate) fn is_script(&self) -> bool {
        self.script().is_some()
    }

    pub(crate) fn has_lf(&self) -> bool {
        self.script().is_some_and(|script| script.eol == Eol::Lf)
    }

    /// Whether the end of what it sends is not its own end: where it comes in, a member goes on
    /// listening as long as it takes what is written to it.
    pub(crate) fn listens_on(&self) -> bool {
        let listens = self
            .script()
            .is_some_and(|script| script.eof == Eof::Listen);
        listens && self.is_member() && !self.is_deaf
    }

    // What it says.

    pub(crate) fn reads(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.decoder.hear(byte, &mut self.said);
        }
        // What says nothing to anybody costs 64 bytes.
        let is_end = |byte: &&u8| matches!(byte, b'\r' | b'\n' | 0xff);
        let steps = bytes.iter().filter(is_end).count() + 1;
        self.cost += (bytes.len() + 64 * steps) as u64;
        self.see_text();
    }

    /// Its nick was refused.
    pub(crate) fn refuse(&mut self) {
        assert!(
            !self.is_too_soon,
            "what it did not mean as a nick is refused"
        );
        self.refusals += 1;
        self.refusal_is_open = !self.is_person();
        self.see_text();
    }

    /// Looks for text that it sent before it could read a refusal.
    fn see_text(&mut self) {
        let is_text = |said: &Decoded| match said {
            Decoded::Line(line) => !line.is_empty(),
            Decoded::TooLong => true,
            Decoded::Asked(_) => false,
        };
        let has_text = self.said.iter().any(is_text) || !self.decoder.unfinished().is_empty();
        self.is_too_soon |= self.refusal_is_open && has_text;
    }

    pub(crate) fn skip_empty_lines(&mut self) {
        let is_member = self.is_member();
        let is_empty = |said: &Decoded| match said {
            Decoded::Line(line) => line.is_empty() || is_member && reference::is_blank(line),
            _ => false,
        };
        while self.said.front().is_some_and(is_empty) {
            self.said.pop_front();
        }
    }

    /// The next thing that it said for which `is_it` holds. What stands before that was heard as well,
    /// and said nothing that an event tells of; there is none of that in a room without people.
    pub(crate) fn take_said(
        &mut self,
        is_it: impl Fn(&Decoded) -> bool,
        now: Instant,
    ) -> Option<Decoded> {
        self.skip_empty_lines();
        let place = self.said.iter().position(is_it)?;
        if self.is_exact && place > 0 {
            return None;
        }
        for said in self.said.iter().take(place + 1) {
            self.least_lines.take(now);
            if self.nick.is_none() || is_op(said) {
                // It may have been a wrong password.
                self.least_lines.pause(now, WRONG_PASSWORD_PAUSE);
                self.may_pause_until = Some(now + WRONG_PASSWORD_PAUSE);
            }
        }
        self.said.drain(..place);
        self.said.pop_front()
    }

    /// Whether something that it sent may wait for its rate. No event tells when a command is heard.
    pub(crate) fn may_wait_for_rate(&self, now: Instant) -> bool {
        let is_limited = self.least_lines.is_limited();
        let is_paused = self.may_pause_until.is_some_and(|end| now < end);
        let waits = !self.said.is_empty() || self.least_lines.opens(now).is_some();
        is_limited && waits || is_paused || self.said.iter().any(is_op)
    }

    /// Whether it has said something that the room has to hear.
    pub(crate) fn has_said_more(&mut self) -> bool {
        self.skip_empty_lines();
        let is_person = self.is_person();
        if !self.is_exact && self.nick.is_none() {
            return false;
        }
        self.said.iter().any(|said| match said {
            Decoded::Line(line) if is_person => {
                !line.starts_with(b"/") && !reference::is_blank(line)
            }
            Decoded::Line(line) => !reference::is_blank(line),
            Decoded::TooLong | Decoded::Asked(_) => self.is_exact,
        })
    }

    /// What it said as far as it is known, if it has no nick yet and that is no nick, but another
    /// protocol.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign().is_some()
    }

    /// The goodbye for that.
    pub(crate) fn foreign(&self) -> Option<&'static str> {
        if self.decoder.is_utf_16() {
            return Some(reference::UTF_16);
        }
        let is_first = self.nick.is_none() && self.refusals == 0;
        let is_empty = |said: &&Decoded| matches!(said, Decoded::Line(line) if line.is_empty());
        match self.said.iter().find(|said| !is_empty(said)) {
            _ if !is_first => None,
            Some(Decoded::Line(line)) => reference::foreign(line, true),
            Some(_) => None,
            None => reference::foreign(self.decoder.unfinished(), false),
        }
    }

    // What it has to get.

    pub(crate) fn owe(&mut self, due: Due) {
        if !self.is_deaf && !self.failed {
            self.due.push_back(due);
        }
    }

    /// What it is told last. What a person reads who has taken too long depends on what it was asked for,
    /// which `people` knows.
    fn goodbye(&self, reason: CloseReason) -> &'static str {
        match reason {
            CloseReason::LoginTimeout if self.is_person() => "",
            _ => reference::goodbye(reason),
        }
    }

    /// It leaves: what is due stays due, and then come these words. If its queue is cut, only a line
    /// that was begun still comes before them.
    pub(crate) fn leave(&mut self, reason: CloseReason, now: Instant) {
        self.left = Some((reason, now));
        self.said.clear();
        let words = self.goodbye(reason);
        if !words.is_empty() && self.is_shaken {
            self.owe(Due::Line(words.as_bytes().into()));
        }
    }

    fn is_cut(&self) -> bool {
        self.left
            .is_some_and(|(reason, _)| reference::is_cut(reason))
    }

    /// A write to it failed: nothing is due to it any more.
    pub(crate) fn deafen(&mut self) {
        self.is_deaf = true;
        self.due.clear();
        self.blocked_since = None;
    }

    /// Its stream was offered `offered` bytes and took these.
    pub(crate) fn wrote(&mut self, offered: usize, bytes: &[u8], is_sent: bool, now: Instant) {
        self.has_taken_all = bytes.len() == offered;
        if self.has_taken_all && is_sent {
            self.blocked_since = None;
            self.refusal_is_open = false;
        } else if !bytes.is_empty() || self.blocked_since.is_none() {
            self.blocked_since = Some(now);
        }
        if !bytes.is_empty() {
            self.took_at = now;
        }
        self.gets(bytes);
    }

    /// Its stream has sent all that it had taken.
    pub(crate) fn sent(&mut self) {
        if self.has_taken_all {
            self.blocked_since = None;
            self.refusal_is_open = false;
        }
    }

    fn gets(&mut self, bytes: &[u8]) {
        if self.service == Service::Http {
            return self.begun.extend_from_slice(bytes);
        }
        let mut rest = bytes;
        while let Some(&next) = rest.first() {
            let is_answer = self.begun.first().unwrap_or(&next) == &255;
            let len = if is_answer {
                let mut bytes = self.begun.iter().chain(rest);
                let is_nop = bytes.nth(1) == Some(&241) && self.is_person();
                let len = if is_nop { 2 } else { 3 };
                len - self.begun.len()
            } else {
                let end = rest.iter().position(|&byte| byte == b'\n');
                end.map_or(usize::MAX, |end| end + 1)
            };
            if len > rest.len() {
                return self.begun.extend_from_slice(rest);
            }
            let (end, later) = rest.split_at(len);
            rest = later;
            self.begun.extend_from_slice(end);
            let mut whole = std::mem::take(&mut self.begun);
            if whole.starts_with(b"\r\0") {
                // It hides the offer of BINARY.
                whole.drain(..2);
            }
            assert!(
                !self.is_finished,
                "{:?} comes behind the last words",
                whole.escape_ascii().to_string()
            );
            match is_answer {
                true => self.gets_answer(&whole),
                false => self.gets_line(&whole),
            }
        }
    }

    fn gets_answer(&mut self, answer: &[u8]) {
        if answer == [255, 241] {
            // No event tells of it.
            return;
        }
        let is_it = |due: &Due| matches!(due, Due::Answer(bytes) if bytes == answer);
        let is_answer = |due: &Due| matches!(due, Due::Answer(_));
        let place = self.due.iter().position(is_answer);
        let place = place.filter(|&place| is_it(&self.due[place]));
        let Some(place) = place else {
            panic!("{answer:?} is no answer that is due");
        };
        if self.is_exact {
            // Lines that were due before it were left out, and are told of later.
            self.due.drain(..=place);
            self.untold += place as u64;
        } else {
            self.due.remove(place);
        }
    }

    fn gets_line(&mut self, line: &[u8]) {
        let text = || line.escape_ascii().to_string();
        let ended = match self.has_lf() {
            false => line.strip_suffix(b"\r\n"),
            true => line.strip_suffix(b"\n").filter(|it| !it.contains(&b'\r')),
        };
        assert!(ended.is_some(), "{:?} has another end", text());
        let line = &[ended.unwrap_or_default(), b"\r\n"].concat()[..];
        assert!(std::str::from_utf8(line).is_ok(), "{:?} is unclean", text());
        if let Some(count) = reference::skipped(line) {
            return self.is_told(count);
        }
        let is_last = self.last_words().is_some_and(|words| words == line);
        if is_last && (self.is_cut() || self.is_exact && self.due.len() == 1) {
            self.finish();
        } else if self.is_exact {
            self.gets_next(line);
        } else {
            self.gets_some(line);
            self.is_finished = is_last;
        }
    }

    fn last_words(&self) -> Option<&'static [u8]> {
        let (reason, _) = self.left?;
        let words = self.goodbye(reason);
        (!words.is_empty()).then_some(words.as_bytes())
    }

    /// Its last words have come. It was told of all that was left out, unless its queue was cut.
    fn finish(&mut self) {
        assert!(
            self.is_cut() || self.untold == 0,
            "{} lines are told of nowhere",
            self.untold
        );
        self.untold = 0;
        self.due.clear();
        self.is_finished = true;
    }

    /// It is told that so many lines were left out.
    fn is_told(&mut self, count: u64) {
        self.told += count;
        assert!(
            self.told <= self.told_by_event,
            "no event for {count} lines skipped"
        );
        if !self.is_exact {
            return;
        }
        let mut rest = count - count.min(self.untold);
        self.untold -= count - rest;
        while rest > 0 {
            let due = self.due.pop_front();
            let is_line = matches!(due, Some(Due::Line(_)));
            assert!(is_line, "{count} lines skipped, {rest} too many: {due:?}");
            rest -= 1;
        }
    }

    fn gets_next(&mut self, line: &[u8]) {
        assert_eq!(self.untold, 0, "lines are told of too late");
        let due = self.due.pop_front();
        let is_it = matches!(&due, Some(Due::Line(it)) if **it == *line);
        assert!(
            is_it,
            "got {:?} and {} was due",
            line.escape_ascii().to_string(),
            shown(due.as_ref())
        );
        self.sees(!line.starts_with(b"* "));
    }

    fn sees(&mut self, is_of_the_room: bool) {
        self.seen += u64::from(is_of_the_room);
        self.seen_after_end += u64::from(is_of_the_room && self.ended && self.listens_on());
    }

    fn gets_some(&mut self, line: &[u8]) {
        let is_own = line.starts_with(b"* ") || line == b"\r\n";
        let is_it = |due: &Due| matches!(due, Due::Line(it) if **it == *line);
        let place = self.due.iter().position(is_it);
        let Some(place) = place else {
            // The answer to a command, or news.
            let text = line.escape_ascii().to_string();
            return assert!(
                is_own && self.is_person() || self.may_be_told(line),
                "{text}"
            );
        };
        let is_line = |due: &Due| matches!(due, Due::Line(_));
        assert!(self.due.drain(..place).all(|due| is_line(&due)));
        self.due.pop_front();
        self.sees(!is_own);
        self.missed += place as u64;
        self.assert_told();
    }

    fn assert_told(&self) {
        assert!(
            self.missed <= self.told,
            "{} lines are missing, and {} were told of",
            self.missed,
            self.told
        );
    }

    /// What a plain client is told by operators.
    fn may_be_told(&self, line: &[u8]) -> bool {
        let words: [&[u8]; 4] = [
            b" has kicked you",
            b"* you are muted",
            b" ago, ",
            b" announces: ",
        ];
        let has = |words: &&[u8]| line.windows(words.len()).any(|part| part == *words);
        line.starts_with(b"* ") && words.iter().any(has)
    }

    /// Nothing is left that it could get.
    pub(crate) fn assert_has_all(&self) {
        // A client that is leaving and holds the most memory is told no more.
        let is_shed = self.may_be_shed && self.left.is_some();
        let is_silent = self.service == Service::Http || self.is_deaf || self.failed || is_shed;
        if is_silent || (self.is_cut() && self.is_finished) {
            return;
        }
        assert!(self.begun.is_empty(), "a torn line: {self:?}");
        if self.is_exact {
            assert_eq!(self.untold, 0, "lines are told of nowhere");
            let is_all = self.due.is_empty();
            let count = self.due.len();
            let first = || shown(self.due.front());
            let state = || {
                let me = format!("{self:?}");
                let (_, state) = me.split_once("untold").unwrap_or_default();
                state.to_owned()
            };
            assert!(
                is_all,
                "{count} are missing, {} at first: untold{}",
                first(),
                state()
            );
            return;
        }
        let is_line = |due: &&Due| matches!(due, Due::Line(_));
        let missing = self.due.iter().filter(is_line).count() as u64;
        assert!(
            self.missed + missing <= self.told,
            "{} lines are missing, and {} were told of: {}",
            self.missed + missing,
            self.told,
            shown(self.due.front())
        );
    }

    /// Whether it is known to have something queued.
    pub(crate) fn is_owed(&self) -> bool {
        !self.due.is_empty() || self.untold > 0 || self.blocked_since.is_some()
    }

    /// What an HTTP client has got.
    pub(crate) fn response(&self) -> &[u8] {
        &self.begun
    }
}

fn shown(due: Option<&Due>) -> String {
    match due {
        None => "nothing".to_owned(),
        Some(Due::Answer(answer)) => format!("{answer:?}"),
        Some(Due::Line(line)) => format!("{:?}", line.escape_ascii().to_string()),
    }
}
