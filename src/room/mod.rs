//! The room: who is in, what a line becomes, and who gets it. It knows members by id and hands each
//! of them what it has not been given yet, so who sees what is decided here and nowhere else, and no
//! socket is needed to test it. What persons can ask of it beside that is in `conversing`, and what
//! operators can in `moderating`.

mod commands;
mod history;
pub(crate) mod members;
mod moderation;
pub(crate) mod presence;

use log::{Level, debug, log_enabled};

use crate::broadcast::batch::{Lines, Sort, Span, Speaker, Talk};
use crate::broadcast::outbox::Mail;
use crate::config::Config;
use crate::config::interactive::Mode;
use crate::config::prefix::Prefix;
use crate::conn::overflow::Voice;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::{Message, Names};
use crate::room::history::History;
pub use crate::room::members::ClientId;
use crate::room::members::{Member, Roster};
use crate::room::presence::{Coming, Comings};
use crate::session::auth::Bans;
use crate::text::nick::{Identity, NameHash, Nick, NickError};
use crate::text::{self, CleanText};
use crate::time::moment::Moment;

/// The most bytes of old lines that are kept, and handed out at once.
const MAX_HISTORY_BYTES: usize = 64 << 10;

/// So many are named where many are listed.
pub(crate) const NAMED_AT_MOST: usize = 20;

/// The members and the lines that are on their way to them.
#[derive(Debug)]
pub(crate) struct Room {
    prefix: Prefix,
    pub(crate) max_nick_chars: usize,
    pub(crate) roster: Roster,
    /// What was said since the last [`end_turn`](Self::end_turn).
    pub(crate) talk: Talk,
    /// How much of it was listed for its readers.
    listed: usize,
    /// What single members are to be told.
    pub(crate) mail: Mail,
    history: History,
    comings: Comings,
    quiet_above_members: usize,
    /// Names that nobody may take.
    pub(crate) banned: Bans<NameHash>,
    /// Names whose lines nobody gets.
    pub(crate) muted: Bans<NameHash>,
    /// Where unclean text is cleaned.
    scratch: String,
}

impl Room {
    pub(crate) fn new(config: &Config) -> Self {
        // A quarter of a queue is what a turn may add to it.
        let history_bytes = MAX_HISTORY_BYTES.min(config.limits.max_pending_bytes / 4);
        Self {
            prefix: config.prefix.clone(),
            max_nick_chars: config.limits.max_nick_chars,
            roster: Roster::new(config.limits.max_nick_chars),
            talk: Talk::default(),
            listed: 0,
            mail: Mail::default(),
            history: History::new(config.hosting.lines_kept(), history_bytes),
            comings: Comings::default(),
            quiet_above_members: config.hosting.quiet_above_members,
            banned: Bans::default(),
            muted: Bans::default(),
            scratch: String::new(),
        }
    }

    // Coming and going.

    /// Makes `id` a member, under the nick that it asks for with this line.
    pub(crate) fn join(
        &mut self,
        id: ClientId,
        line: &[u8],
        mode: Mode,
        now: Moment,
    ) -> Result<(), NickError> {
        let nick = self.nick(line, now)?;
        let is_person = mode == Mode::Interactive;
        let place = self.talk.place();
        self.roster.add(id, nick, is_person, place)?;
        self.tell_joined(id, now);
        if is_person {
            self.welcome(id);
        }
        if mode != Mode::Bare {
            self.recount(id, usize::MAX, now);
        }
        Ok(())
    }

    fn tell_joined(&mut self, id: ClientId, now: Moment) {
        let members = self.audience().len();
        if self.is_told_by_name(Coming::Joined, members, now)
            && let Some(member) = self.roster.get(id)
        {
            let (speaker, nick) = (speaker(id, member), member.nick.clone());
            self.say_notice(speaker, Message::HasJoined(&nick));
        }
    }

    /// A line as a nick that may be had here, if nobody has it.
    pub(crate) fn nick(&self, line: &[u8], now: Moment) -> Result<Nick, NickError> {
        let nick = Nick::parse(line, self.max_nick_chars)?;
        if !self.banned.is_empty() && self.banned.has(&self.roster.hash_of(nick.as_str()), now) {
            return Err(NickError::Banned(nick));
        }
        Ok(nick)
    }

    fn welcome(&mut self, id: ClientId) {
        let Some(member) = self.roster.get(id) else {
            return;
        };
        let others = self.roster.beginning("").filter(|&other| other != id);
        let some = self.roster.named(others.take(NAMED_AT_MOST));
        let more = self.roster.audience().len() - 1 - some.len();
        let others = Names { some: &some, more };
        self.mail.send(id, Message::Welcome(&member.nick, others));
    }

    /// The nick of a member.
    pub(crate) fn nick_of(&self, id: ClientId) -> Option<&Nick> {
        self.roster.get(id).map(|member| &member.nick)
    }

    /// Takes `id` out; its nick is free at once. `None` if it was no member.
    pub(crate) fn leave(
        &mut self,
        id: ClientId,
        departure: Departure<'_>,
        now: Moment,
    ) -> Option<Nick> {
        let member = self.roster.remove(id)?;
        let (nick, members) = (&member.nick, self.audience().len());
        let mut sort = Sort::Notice;
        let message = match departure {
            // At the end nobody needs to know.
            Departure::For(CloseReason::Shutdown) => return Some(member.nick),
            Departure::For(CloseReason::HungUp | CloseReason::Broken) => Message::HasLeft(nick),
            Departure::For(reason) => Message::HasLeftBecause(nick, reason),
            Departure::Quit(words) => {
                if !words.as_str().is_empty() {
                    sort = Sort::Action;
                }
                Message::HasQuit(nick, words)
            }
            Departure::Kicked(by, why) => Message::WasKicked(nick, by, why),
        };
        if self.is_told_by_name(Coming::Left, members, now) {
            self.say_of(speaker(id, &member), sort, message);
        }
        Some(member.nick)
    }

    /// Somebody comes or goes, and then there are so many members. Whether they are told the name,
    /// or only how many there were.
    fn is_told_by_name(&mut self, coming: Coming, members: usize, now: Moment) -> bool {
        self.has_notices(members) && self.comings.is_told_by_name(coming, now)
    }

    /// Whether there is anybody to tell what the server says of members, and so many are not too
    /// many for it.
    pub(crate) fn has_notices(&self, members: usize) -> bool {
        self.roster.has_persons() && members <= self.quiet_above_members
    }

    /// When there is something to say though nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.comings.due()
    }

    /// Says what is to be said by the clock.
    pub(crate) fn keep_time(&mut self, now: Moment) {
        if let Some(gathered) = self.comings.take_due(now)
            && self.has_notices(self.audience().len())
        {
            self.say_notice(Speaker::SERVER, Message::CameAndWent(gathered));
        }
    }

    // Talking.

    /// A member says a line, to everybody else; gives its length in bytes as they see it. An empty
    /// line says nothing.
    pub(crate) fn say(&mut self, id: ClientId, line: &[u8], voice: Voice, now: Moment) -> usize {
        if line.is_empty() {
            return 0;
        }
        if self.is_muted(id, now) {
            self.mail.send(id, Message::MutedLine);
            return 0;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let bytes = self.say_text(id, text::clean(line, &mut scratch), voice, now);
        self.scratch = scratch;
        bytes
    }

    /// The same with a text that was cleaned, by a member that is not muted.
    pub(crate) fn say_text(
        &mut self,
        id: ClientId,
        text: CleanText<'_>,
        voice: Voice,
        now: Moment,
    ) -> usize {
        let Some(member) = self.roster.get_mut(id) else {
            return 0;
        };
        member.has_spoken = true;
        let line = self
            .talk
            .say(speaker(id, member), voice, Sort::Line, |line| {
                Message::Line(&self.prefix, &member.nick, text).write(line);
            });
        keep(&mut self.history, line, member.identity(), now);
        line.len()
    }

    /// A member says what it does. On the bare wire that is a line like any other.
    pub(crate) fn act(
        &mut self,
        id: ClientId,
        text: CleanText<'_>,
        voice: Voice,
        now: Moment,
    ) -> usize {
        let Some(member) = self.roster.get_mut(id) else {
            return 0;
        };
        member.has_spoken = true;
        let speaker = speaker(id, member);
        let bare = self.talk.say(speaker, voice, Sort::BareAction, |line| {
            Message::BareAction(&self.prefix, &member.nick, text).write(line);
        });
        let bare = bare.len();
        let line = self.talk.say(speaker, voice, Sort::Action, |line| {
            Message::Action(&member.nick, text).write(line);
        });
        keep(&mut self.history, line, member.identity(), now);
        line.len().max(bare)
    }

    /// The server says something of a member to all other persons.
    pub(crate) fn say_notice(&mut self, of: Speaker, message: Message<'_>) {
        self.say_of(of, Sort::Notice, message);
    }

    fn say_of(&mut self, of: Speaker, sort: Sort, message: Message<'_>) {
        if let Some(member) = self.roster.get_mut(ClientId(of.id)) {
            member.has_spoken = true;
        }
        let line = self
            .talk
            .say(of, Voice::Quiet, sort, |line| message.write(line));
        debug_line(line);
    }

    /// Whether nobody gets what this member says.
    pub(crate) fn is_muted(&self, id: ClientId, now: Moment) -> bool {
        if self.muted.is_empty() {
            return false;
        }
        let name = self.roster.get(id).map(|member| member.name);
        name.is_some_and(|name| self.muted.has(&name, now))
    }

    /// Shows a member the last lines, without those of whom it ignores; gives how many.
    pub(crate) fn recount(&mut self, id: ClientId, most: usize, now: Moment) -> usize {
        let person = self.roster.person(id);
        let is_shown = |speaker| !person.is_some_and(|person| person.ignores(speaker));
        let mut shown = 0;
        for line in self.history.last(most) {
            if is_shown(line.speaker) {
                let age = now.saturating_since(line.said_at);
                self.mail.send(id, Message::Remembered(age, line.text));
                shown += 1;
            }
        }
        shown
    }

    // Handing out.

    /// How much was said in this turn, in bytes.
    pub(crate) fn talk_bytes(&self) -> usize {
        self.talk.bytes()
    }

    /// Whether something was said in this turn.
    pub(crate) fn has_talk(&self) -> bool {
        !self.talk.is_empty()
    }

    /// Whether something was said since this was last asked for.
    pub(crate) fn take_news(&mut self) -> bool {
        let listed = std::mem::replace(&mut self.listed, self.talk.len());
        listed < self.talk.len()
    }

    /// All members.
    pub(crate) fn audience(&self) -> &[ClientId] {
        self.roster.audience()
    }

    /// What a member has not been given of what was said, and is to get.
    pub(crate) fn unheard(&self, id: ClientId) -> impl Iterator<Item = Lines<'_>> {
        let talk = self.roster.get(id).map(|member| {
            let ignores = member
                .person
                .as_ref()
                .is_some_and(|it| !it.ignored.is_empty());
            let may_be_hidden = member.has_spoken || ignores || self.talk.is_mixed();
            let is_hidden = move |span: &Span| is_hidden(member, id, span);
            self.talk
                .since(member.place, may_be_hidden.then_some(is_hidden))
        });
        talk.into_iter().flatten()
    }

    /// A member has been given all that was said.
    pub(crate) fn mark_heard(&mut self, id: ClientId) {
        if let Some(member) = self.roster.get_mut(id) {
            member.place = self.talk.place();
        }
    }

    /// All members have been given all that was said.
    pub(crate) fn end_turn(&mut self) {
        for speaker in self.talk.speakers() {
            if let Some(member) = self.roster.get_mut(ClientId(speaker)) {
                member.has_spoken = false;
            }
        }
        self.talk.end_turn();
        self.listed = 0;
    }
}

/// How a member leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Departure<'a> {
    For(CloseReason),
    /// By itself, with these words.
    Quit(CleanText<'a>),
    /// By this operator, for this.
    Kicked(&'a Nick, CleanText<'a>),
}

impl Departure<'_> {
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::For(reason) => *reason,
            Self::Quit(_) => CloseReason::Quit,
            Self::Kicked(..) => CloseReason::Kicked,
        }
    }

    /// What the one who leaves is told.
    pub(crate) fn last_words(&self) -> Option<Message<'_>> {
        match self {
            Self::Kicked(by, why) => Some(Message::YouWereKicked(by, *why)),
            _ => self.reason().goodbye().map(Message::Goodbye),
        }
    }
}

/// A member, as the speaker of a line.
pub(crate) fn speaker(id: ClientId, member: &Member) -> Speaker {
    Speaker {
        id: id.0,
        identity: member.identity(),
    }
}

/// Whether a line is not for this member: its own, one of somebody whom it ignores, and what is only
/// for those at a prompt, or only for the others.
fn is_hidden(member: &Member, id: ClientId, span: &Span) -> bool {
    if span.speaker.id == id.0 {
        return true;
    }
    match (span.sort, &member.person) {
        (Sort::Line | Sort::BareAction, None) | (Sort::Notice, Some(_)) => false,
        (Sort::Line | Sort::Action, Some(person)) => person.ignores(span.speaker.identity),
        (Sort::BareAction, Some(_)) | (Sort::Action | Sort::Notice, None) => true,
    }
}

/// A line of a member's was said: it is logged, and kept for those who come later.
fn keep(history: &mut History, line: &[u8], speaker: Identity, now: Moment) {
    debug_line(line);
    if history.is_kept() {
        history.remember(now, speaker, without_end(line));
    }
}

fn debug_line(line: &[u8]) {
    if log_enabled!(Level::Debug) {
        debug!("{}", String::from_utf8_lossy(without_end(line)));
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    fn start() -> Moment {
        Clock::default().moment(std::time::Instant::now())
    }

    fn room_of(nicks: &[&str]) -> Room {
        let mut room = Room::new(&Config::default());
        for (id, nick) in nicks.iter().enumerate() {
            room.join(ClientId(id), nick.as_bytes(), Mode::Bare, start())
                .expect("a free nick");
        }
        room
    }

    /// What each member hears when `id` says a line.
    fn said(room: &mut Room, id: usize, line: &[u8]) -> Vec<(usize, String)> {
        room.say(ClientId(id), line, Voice::Quiet, start());
        let text = |lines: Lines<'_>| String::from_utf8_lossy(lines.bytes()).into_owned();
        let heard = |&id: &ClientId| room.unheard(id).map(move |lines| (id.0, text(lines)));
        let heard = room.audience().iter().flat_map(heard).collect();
        room.end_turn();
        heard
    }

    #[test]
    fn a_line_goes_to_everybody_but_its_speaker() {
        let mut room = room_of(&["alice", "bob", "carol"]);
        let line = "bob: hi\r\n".to_owned();
        assert_eq!(said(&mut room, 1, b"hi"), [(0, line.clone()), (2, line)]);
    }

    #[test]
    fn an_empty_line_and_a_stranger_say_nothing() {
        let mut room = room_of(&["alice", "bob"]);
        assert_eq!(said(&mut room, 0, b"hi").len(), 1);
        assert_eq!(said(&mut room, 0, b""), []);
        assert_eq!(said(&mut room, 7, b"hi"), []);
    }

    #[test]
    fn text_is_cleaned_and_stays_one_line() {
        let mut room = room_of(&["alice", "bob"]);
        let line = said(
            &mut room,
            0,
            "\u{1b}[1mhi\u{2028}* bob is a liar".as_bytes(),
        );
        assert_eq!(
            line,
            [(
                1,
                "alice: \u{fffd}[1mhi\u{fffd}* bob is a liar\r\n".to_owned()
            )]
        );
    }

    #[test]
    fn a_nick_is_taken_until_its_owner_leaves() {
        let (mut room, now) = (room_of(&["alice", "bob"]), start());
        let taken = room.join(ClientId(9), b"BOB", Mode::Bare, now);
        assert_eq!(
            taken,
            Err(NickError::Taken(Nick::parse(b"BOB", 32).expect("a nick")))
        );
        let left = room.leave(ClientId(1), Departure::For(CloseReason::HungUp), now);
        assert_eq!(left.expect("a member").as_str(), "bob");
        assert_eq!(
            room.leave(ClientId(1), Departure::For(CloseReason::HungUp), now),
            None
        );
        assert!(room.join(ClientId(9), b"BOB", Mode::Bare, now).is_ok());
        assert_eq!(said(&mut room, 9, b"x"), [(0, "BOB: x\r\n".to_owned())]);
    }
}
