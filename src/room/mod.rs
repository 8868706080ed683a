//! The room: the members, what a line becomes, and who gets it. It knows members by number and hands
//! each of them what it has not been given yet, so it decides alone who sees what, and no socket is
//! needed to test it. What people can ask of it beside talking is in `commands`, and what operators
//! can in `moderation`.

#[cfg_attr(
    not(feature = "relay"),
    allow(dead_code, reason = "nothing connects to other servers")
)]
pub(crate) mod asking;
pub(crate) mod claims;
mod commands;
#[cfg_attr(
    not(feature = "relay"),
    allow(dead_code, reason = "nothing connects to other servers")
)]
mod elsewhere;
mod given_up;
mod history;
mod ignore_list;
pub(crate) mod kept;
mod members;
mod moderation;
mod presence;
#[cfg_attr(
    not(feature = "relay"),
    allow(dead_code, reason = "nothing connects to other servers")
)]
pub(crate) mod private;
mod recall;
mod renames;
pub(crate) mod sanction;
mod settings;
#[cfg_attr(
    not(feature = "relay"),
    allow(dead_code, reason = "nothing connects to other servers")
)]
mod shared;
mod voice;

use std::iter;
use std::time::Duration;

use crate::broadcast::batch::{Batch, Cursor, Kind, Lines, Speaker};
use crate::broadcast::outbox::{EntryKind, Outbox};
use crate::broadcast::personal::{PersonalLine, Piece};
use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::config::Config;
use crate::config::interactive::Profile;
use crate::config::prefix::Prefix;
use crate::peer::{Origin, Peer, PeerSet};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::layout::Columns;
use crate::protocol::message::{Message, Names};
use crate::protocol::relay_batch::Kind as Entry;
use crate::text::alike::{Identity, NameHash};
use crate::text::nick::{Nick, NickError};
use crate::text::{self, CleanText};
use crate::time::expiring_set::ExpiringSet;
use crate::time::moment::Moment;
use claims::Claims;
use history::{Author, History};
use members::{Member, Members, Seat, Taken};
use presence::{Change, Counted, Presence};
use renames::{Renamed, Renames};
use sanction::{BannedNick, Muted, Sanction};
use shared::{Shared, said_by};

/// The most bytes of old lines that are kept, and handed out at once.
const MAX_HISTORY_BYTES: usize = 64 << 10;

/// How long the notice of a rename is at most, in bytes, besides the names.
const RENAME_BYTES: usize = 32;

/// How many members are named where many are listed.
const MAX_NAMED: usize = 20;

/// How many of them in the welcome, which is to leave room for the last lines on a small screen.
const MAX_WELCOMED: usize = 10;

/// Words that cannot be nicks, because notices of the server begin with them.
const NOTICE_WORDS: [&str; 5] = ["server", "you", "nobody", "everybody", "operator"];

/// The members, and the lines that are on their way to them.
#[derive(Debug)]
pub(crate) struct Room {
    prefix: Prefix,
    max_nick_chars: usize,
    members: Members,
    /// What was said since the last [`end_turn`](Self::end_turn).
    batch: Batch,
    /// Up to where the last pass over all readers went.
    passed: Cursor,
    /// Up to where the observer knows the notices.
    observed: Cursor,
    /// What single clients are to be told.
    pub(crate) outbox: Outbox,
    history: History,
    /// How many lines of it a client is shown that joins.
    lines_shown: usize,
    presence: Presence,
    claims: Claims,
    renames: Renames,
    quiet_above_members: usize,
    /// There is a transcript, which is told what people are.
    is_recorded: bool,
    /// The hashes of [`NOTICE_WORDS`].
    notice_words: [NameHash; NOTICE_WORDS.len()],
    /// Names that nobody may take.
    banned: ExpiringSet<Sanction<BannedNick>>,
    /// Whose lines nobody gets.
    muted: ExpiringSet<Sanction<Muted>>,
    /// How often bans and mutes have changed.
    sanctions_version: u64,
    /// Only operators, and members with a voice, can talk to everybody.
    is_moderated: bool,
    /// Somebody may not be heard, or renames are to be told of at once: one look tells a line that nothing is
    /// in its way.
    is_watched: bool,
    /// What it keeps if it is shared with other servers.
    shared: Option<Box<Shared>>,
    /// Where unclean text is cleaned.
    scratch: String,
}

/// Why a client cannot have a nick.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) why: NickError,
    /// The member that has it.
    pub(crate) holder: Option<ClientId>,
}

impl From<NickError> for Refusal {
    fn from(why: NickError) -> Self {
        Self { why, holder: None }
    }
}

impl From<Taken> for Refusal {
    fn from(taken: Taken) -> Self {
        let holder = taken.holder;
        let why = taken.into();
        Self { why, holder }
    }
}

/// A line that was said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spoken<'a> {
    nick: &'a Nick,
    text: CleanText<'a>,
    /// As others see it.
    line: &'a [u8],
    /// The length of what one reader gets of it, in bytes.
    pub(crate) bytes: usize,
    /// People and scripts get different forms of it.
    pub(crate) is_written_twice: bool,
}

impl<'a> Spoken<'a> {
    pub(crate) fn nick(&self) -> &'a str {
        self.nick.as_str()
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text.as_str()
    }

    /// As others see it, without its end.
    pub(crate) fn line(&self) -> &'a [u8] {
        without_end(self.line)
    }
}

/// The parts of the room that a line is written to.
struct Medium<'a> {
    batch: &'a mut Batch,
    history: &'a mut History,
    prefix: &'a Prefix,
    /// There is a member at a prompt, or one may see the line later.
    has_people: bool,
}

impl<'a> Medium<'a> {
    #[inline(always)]
    fn say(
        self,
        member: &'a Member,
        id: ClientId,
        from: &Peer,
        text: CleanText<'a>,
        class: Class,
        now: Moment,
    ) -> Spoken<'a> {
        if self.has_people && (member.is_right_to_left || text.has_wide_gap()) {
            return self.say_twice(member, id, from, text, class, now);
        }
        let message = Message::Line(self.prefix, &member.nick, text);
        let line = self
            .batch
            .say(member.speaker(id), class, Kind::Line, |line| {
                message.write(line);
            });
        keep(self.history, line, member, from, now);
        Spoken {
            nick: &member.nick,
            text,
            line,
            bytes: line.len(),
            is_written_twice: false,
        }
    }

    fn act(
        self,
        member: &'a Member,
        id: ClientId,
        from: &Peer,
        text: CleanText<'a>,
        class: Class,
        now: Moment,
    ) -> Spoken<'a> {
        let speaker = member.speaker(id);
        let message = Message::PlainAction(self.prefix, &member.nick, text);
        let plain = self
            .batch
            .say(speaker, class, Kind::PlainAction, |line| {
                message.write(line);
            })
            .len();
        let message = Message::Action(&member.nick, text);
        let line = self.batch.say(speaker, class, Kind::Action, |line| {
            message.write(line);
        });
        keep(self.history, line, member, from, now);
        Spoken {
            nick: &member.nick,
            text,
            line,
            bytes: line.len().max(plain),
            is_written_twice: true,
        }
    }

    /// Writes a line in the form that is shown at a prompt, if that differs from the one for scripts:
    /// with the nick isolated, if it is written from right to left, and with runs of blanks so short
    /// that wrapped text never looks like another line.
    #[cold]
    fn say_twice(
        self,
        member: &'a Member,
        id: ClientId,
        from: &Peer,
        text: CleanText<'a>,
        class: Class,
        now: Moment,
    ) -> Spoken<'a> {
        let speaker = member.speaker(id);
        let mut scratch = String::new();
        let narrow = text.narrowed(&mut scratch);
        let message = match member.is_right_to_left {
            true => Message::IsolatedLine(self.prefix, &member.nick, narrow),
            false => Message::Line(self.prefix, &member.nick, narrow),
        };
        let line = self.batch.say(speaker, class, Kind::Action, |line| {
            message.write_rare(line);
        });
        keep(self.history, line, member, from, now);
        let for_people = line.len();
        let message = Message::Line(self.prefix, &member.nick, text);
        let line = self.batch.say(speaker, class, Kind::PlainAction, |line| {
            message.write_rare(line);
        });
        Spoken {
            nick: &member.nick,
            text,
            line,
            bytes: for_people.max(line.len()),
            is_written_twice: true,
        }
    }
}

impl Room {
    pub(crate) fn new(config: &Config) -> Self {
        // A quarter of a queue is what a turn may add to it.
        let history_bytes = MAX_HISTORY_BYTES.min(config.limits.max_pending_bytes / 4);
        let interactive = config.interactive_if_any();
        let mut members = Members::new(config.limits.max_nick_chars);
        if config.has_people() {
            members.expect_people();
        }
        Self {
            prefix: config.prefix.clone(),
            max_nick_chars: config.limits.max_nick_chars,
            notice_words: NOTICE_WORDS.map(|word| members.hash_of_word(word)),
            members,
            batch: Batch::default(),
            passed: Cursor::default(),
            observed: Cursor::default(),
            outbox: Outbox::default(),
            history: History::new(interactive.lines_kept(), history_bytes),
            lines_shown: interactive.lines_shown(),
            presence: Presence::default(),
            claims: Claims::default(),
            renames: Renames::default(),
            quiet_above_members: config.interactive.quiet_above_members,
            is_recorded: config.recorded,
            banned: ExpiringSet::default(),
            muted: ExpiringSet::default(),
            sanctions_version: 0,
            is_moderated: false,
            is_watched: false,
            shared: None,
            scratch: String::new(),
        }
    }

    // Joins and leaves.

    /// Makes a client a member, under the nick that it asks for with this line.
    pub(crate) fn join(
        &mut self,
        id: ClientId,
        from: &Peer,
        line: &[u8],
        profile: Profile,
        now: Moment,
    ) -> Result<(), Refusal> {
        let nick = self.nick(line, now)?;
        let added = self.try_add(id, from, nick, profile, now);
        added.map_err(|refusal| match profile {
            Profile::Interactive => self.with_free(refusal, id, now),
            Profile::Plain | Profile::History => refusal,
        })?;
        self.announce_join(id, from, now);
        if profile != Profile::Plain {
            self.replay(id, self.lines_shown, now, |_| true);
        }
        if profile == Profile::Interactive {
            // Last, so that it is still on the screen.
            self.welcome(id, false);
        }
        self.mute_newcomer(id, from, now);
        Ok(())
    }

    /// Makes a client a member without a word to anybody: it was one before, in another process.
    pub(crate) fn add(
        &mut self,
        id: ClientId,
        from: &Peer,
        line: &[u8],
        profile: Profile,
        now: Moment,
    ) -> Result<(), NickError> {
        let nick = self.nick(line, now)?;
        let added = self.try_add(id, from, nick, profile, now);
        added.map_err(|refusal| refusal.why)?;
        self.share_return(id);
        self.mute_newcomer(id, from, now);
        Ok(())
    }

    fn try_add(
        &mut self,
        id: ClientId,
        from: &Peer,
        (nick, name): (Nick, NameHash),
        profile: Profile,
        now: Moment,
    ) -> Result<(), Refusal> {
        let is_person = profile == Profile::Interactive;
        if self.renames.has_fresh() {
            // They are older than the member.
            self.tell_renames();
        }
        if self.shared.is_some() {
            self.take_answer(id, &nick)?;
        }
        let cursor = self.batch.end();
        let person_from = is_person.then_some(*from);
        let added = self.members.add(id, nick, name, person_from, (cursor, now));
        if added.is_err() {
            self.unclaim(id);
        }
        Ok(added?)
    }

    /// Ends the lines of this member with LF alone from now on.
    pub(crate) fn end_lines_with_lf(&mut self, id: ClientId) {
        self.members.end_lines_with_lf(id);
    }

    /// The window of this member has so many columns.
    pub(crate) fn set_columns(&mut self, id: ClientId, columns: Columns) {
        self.members.set_narrow(id, columns.is_narrow());
    }

    fn announce_join(&mut self, id: ClientId, from: &Peer, now: Moment) {
        if self.shared.is_some() && self.share_join(id) {
            return;
        }
        if self.is_named(Change::Joined, Some(from), now)
            && let Some(member) = self.members.get(id)
        {
            let (speaker, nick) = (member.speaker(id), member.nick.clone());
            self.say_presence(speaker, Message::HasJoined(&nick));
        }
    }

    /// Adds to the refusal of a nick one that begins with it and is free.
    fn with_free(&mut self, mut refusal: Refusal, id: ClientId, now: Moment) -> Refusal {
        if let NickError::Taken { nick, free, .. } = &mut refusal.why {
            *free = (2..=9).find_map(|digit| {
                let longer = nick.with_digit(digit, self.max_nick_chars)?;
                let (longer, name) = self.allow(longer, now).ok()?;
                let is_taken = self.members.holder(&longer, name, id).is_some();
                (!is_taken).then_some(longer)
            });
        }
        refusal
    }

    /// Parses a line as a nick that is allowed in this room. Whether a member has it is not checked.
    /// Returns it with its hash.
    fn nick(&mut self, line: &[u8], now: Moment) -> Result<(Nick, NameHash), NickError> {
        let nick = Nick::parse(line, self.max_nick_chars)?;
        self.allow(nick, now)
    }

    /// Returns a nick with its hash, unless nobody may have it in this room.
    fn allow(&mut self, nick: Nick, now: Moment) -> Result<(Nick, NameHash), NickError> {
        let name = self.members.hash_for_member(&nick);
        let mut words = self.notice_words.iter();
        if let Some(place) = words.position(|word| word.is_alike(name)) {
            let word = NOTICE_WORDS.get(place).copied().unwrap_or_default();
            return Err(NickError::NoticeWord { nick, word });
        }
        match self.banned.find(now, |it| it.whom.name.is_alike(name)) {
            Some(ban) => {
                let banned = ban.whom.nick.clone();
                Err(NickError::Banned { nick, banned })
            }
            None => Ok((nick, name)),
        }
    }

    /// Shows a person who else is here, and whether it can talk. `is_back`: it was here before.
    fn welcome(&mut self, id: ClientId, is_back: bool) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let others = self.members.beginning("").filter(|&other| other != id);
        let some = self.members.named(others.take(MAX_WELCOMED));
        let more = self
            .members
            .count_everywhere()
            .saturating_sub(some.len())
            .saturating_sub(1);
        let others = Names { some: &some, more };
        let message = match is_back {
            false => Message::Welcome(&member.nick, others),
            true => Message::WelcomeBack(&member.nick, others),
        };
        self.outbox.send(id, message);
        if self.is_moderated {
            self.outbox.send(id, Message::IsModerated);
        }
        if self.is_cut_off() {
            self.outbox.send(id, Message::CutOff(self.members.len()));
        }
    }

    /// The nick of a member; empty for a client that is none.
    pub(crate) fn nick_of(&self, id: ClientId) -> &str {
        self.members
            .get(id)
            .map_or("", |member| member.nick.as_str())
    }

    /// How many members there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// How many members are connected to other servers.
    #[cfg(feature = "relay")]
    pub(crate) fn len_elsewhere(&self) -> usize {
        self.members.elsewhere().len()
    }

    /// How many of them are people at a prompt.
    pub(crate) fn people(&self) -> usize {
        self.members.persons()
    }

    /// All nicks, in alphabetical order.
    pub(crate) fn nicks(&self) -> impl Iterator<Item = &str> {
        self.members.nicks().map(Nick::as_str)
    }

    /// The member of exactly this name.
    pub(crate) fn find_exact(&self, name: &str) -> Option<ClientId> {
        self.members.find_exact(name)
    }

    /// Returns the member because of which `asker` cannot have the nick that this line asks for.
    pub(crate) fn holder_of(&mut self, line: &[u8], asker: ClientId) -> Option<ClientId> {
        let nick = Nick::parse(line, self.max_nick_chars).ok()?;
        let name = self.members.hash_for_member(&nick);
        self.members.holder(&nick, name, asker)
    }

    /// Removes a member; its nick is free at once. `None` if it was no member.
    pub(crate) fn leave(
        &mut self,
        id: ClientId,
        from: &Peer,
        reason: CloseReason,
        now: Moment,
    ) -> Option<Nick> {
        if reason != CloseReason::Shutdown {
            self.tell_rename_of(id, now);
        }
        let Some(member) = self.members.remove(id, from.origin(), now) else {
            self.forget_asking(id);
            return None;
        };
        self.keep_muted(member.name, from, now);
        self.renames.forget(member.serial());
        let (speaker, nick) = (member.speaker(id), member.nick);
        if let Some(person) = member.person {
            let (member, person) = ((&nick, member.has_voice), person);
            self.claims.leave(member, person, reason, now);
        }
        let message = match reason {
            // At the end nobody needs to know, and of a claim only who has it.
            CloseReason::Shutdown | CloseReason::Claimed => None,
            // The others were told when it was asked for, with the words.
            CloseReason::Quit | CloseReason::Kicked => None,
            CloseReason::HungUp | CloseReason::Broken => Some(Message::HasLeft(&nick)),
            reason => Some(Message::HasLeftBecause(&nick, reason)),
        };
        if self.shared.is_some() {
            // On other servers nobody knows that this one shuts down.
            let is_told = message.is_some() || reason == CloseReason::Shutdown;
            if self.share_leave(id, &nick, is_told.then_some(reason)) {
                return Some(nick);
            }
        }
        if let Some(message) = message
            && self.is_named(Change::Left, Some(from), now)
        {
            self.say_presence(speaker, message);
        }
        Some(nick)
    }

    /// A member says why it leaves, which it is about to do.
    pub(crate) fn say_quit(
        &mut self,
        id: ClientId,
        from: &Peer,
        words: CleanText<'_>,
        now: Moment,
    ) {
        self.tell_rename_of(id, now);
        if self.shared.is_some() && self.share_quit(id, words) {
            return;
        }
        if !self.is_named_after_leaving(Some(from), now) {
            return;
        }
        let Some(member) = self.members.get(id) else {
            return;
        };
        let (speaker, nick) = (member.speaker(id), member.nick.clone());
        if words.as_str().is_empty() {
            return self.say_presence(speaker, Message::HasLeft(&nick));
        }
        self.say_last_words(speaker, &nick, words);
    }

    /// Those who ignore the member see that it leaves, but not its words.
    fn say_last_words(&mut self, of: Speaker, nick: &Nick, words: CleanText<'_>) {
        self.say_as(of, Kind::LastWords, Message::HasQuit(nick, words));
        self.say_as(of, Kind::WordlessLeave, Message::HasLeft(nick));
    }

    /// The server says something to all people.
    pub(crate) fn announce_as_server(&mut self, text: &str) {
        let mut scratch = String::new();
        let text = text::clean(text.as_bytes(), &mut scratch);
        self.say_notice(Speaker::SERVER, Message::Motd(text.as_str()));
    }

    /// A member is told that the server closes it, and why, which it is about to do.
    pub(crate) fn say_closed(&mut self, id: ClientId, why: &str, now: Moment) {
        self.tell_rename_of(id, now);
        let mut scratch = String::new();
        let why = text::clean(why.as_bytes(), &mut scratch);
        self.outbox
            .push(id, EntryKind::LastWords, Message::Motd(why.as_str()));
        let member = self.members.get(id);
        let member = member.map(|member| (member.speaker(id), member.nick.clone()));
        if let Some((speaker, nick)) = member
            && self.is_named_after_leaving(None, now)
        {
            self.say_presence(speaker, Message::HasLeftBecause(&nick, CloseReason::Kicked));
        }
    }

    /// Tells an operator where a member came from.
    pub(crate) fn tell_origin(&mut self, by: ClientId, id: ClientId, peer: Peer) {
        self.tell_peer(by, id, peer, |nick| Message::CameFrom(nick, peer));
    }

    /// Tells an operator where a member comes from that is muted.
    pub(crate) fn tell_muted_at(&mut self, by: ClientId, id: ClientId, peer: Peer) {
        self.tell_peer(by, id, peer, |nick| Message::MutedAt(nick, peer));
    }

    /// Tells an operator about the peer of a member. If it comes from there as well, it cannot ban or mute that.
    fn tell_peer<'a>(
        &'a mut self,
        by: ClientId,
        id: ClientId,
        peer: Peer,
        message: impl Fn(&'a Nick) -> Message<'a>,
    ) {
        let own = self.members.person(by).map(|person| person.from.origin());
        if let Some(member) = self.members.get(id) {
            let message = match own == Some(peer.origin()) {
                true => Message::ComesFromYours(&member.nick, peer),
                false => message(&member.nick),
            };
            self.outbox.send(by, message);
        }
    }

    /// Whether a member that is about to leave is named.
    fn is_named_after_leaving(&mut self, from: Option<&Peer>, now: Moment) -> bool {
        let remaining = self.members.len().saturating_sub(1);
        self.has_notices(remaining) && self.presence.is_named(Change::Left, limited(from), now)
    }

    /// Whether a member that has joined or left is named; otherwise it is counted.
    fn is_named(&mut self, change: Change, from: Option<&Peer>, now: Moment) -> bool {
        self.has_notices(self.members.len()) && self.presence.is_named(change, limited(from), now)
    }

    /// Whether there is anybody to tell what the server says of members, and the room is not too
    /// large for it.
    fn has_notices(&self, members: usize) -> bool {
        (self.members.has_persons() || self.is_recorded) && members <= self.quiet_above_members
    }

    /// When there is something to say, or to forget, although nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let private = self.shared.as_ref().and_then(|it| it.private.next_end());
        let ends = [
            self.presence.due(),
            self.renames.next_end(),
            self.claims.next_end(),
            self.members.next_forgotten(),
            private,
        ];
        ends.into_iter().flatten().min()
    }

    /// The moments of the engine leave this much time out; lines grow old all the same.
    pub(crate) fn leave_out(&mut self, time: Duration) {
        self.history.leave_out(time);
    }

    /// Says what is due, and forgets whose time is over.
    pub(crate) fn on_time(&mut self, now: Moment) {
        if let Some(shared) = &mut self.shared {
            shared.now = now;
            self.give_up_questions(now);
        }
        self.claims.expire(now);
        self.members.forget_given_up(now);
        if let Some(counted) = self.presence.take_due(now)
            && self.has_notices(self.members.len())
        {
            let Counted {
                joined,
                left,
                renamed,
            } = counted;
            let message = Message::CameAndWent {
                joined,
                left,
                renamed,
            };
            self.say_presence(Speaker::SERVER, message);
        }
        for who in self.renames.ended(now) {
            match self.tell_gathered(who, now) {
                true => self.renames.gather_on(who.serial, now),
                false => self.renames.rest(who.serial, now),
            }
        }
    }

    // Renames.

    /// A member has another nick than before. Returns how much every reader gets of it, in bytes.
    fn announce_rename(&mut self, id: ClientId, from: &Peer, old: &Nick, now: Moment) -> usize {
        let Some(member) = self.members.get(id) else {
            return 0;
        };
        let (who, nick) = (member.renamed(id), member.nick.clone());
        let from = limited(Some(from));
        // They are gathered where nobody is told as well: a member that is refused another name can be named.
        let is_at_once = self.renames.gather(who, from, old, now);
        if self.shared.is_some() && self.share_rename(id, old) {
            // Other servers have to know it at once, so nothing is gathered; the third one is the last for a while.
            if !is_at_once {
                self.renames.gather_on(who.serial, now);
            }
            self.renames.set_known(who.serial, &nick);
            return 0;
        }
        if !is_at_once || !self.has_notices(self.members.len()) {
            return 0;
        }
        if !self.presence.is_named(Change::Renamed, from, now) {
            self.renames.set_known(who.serial, &nick);
            return 0;
        }
        self.renames.tell_at_once(who);
        self.is_watched = true;
        let names = old.as_str().len().saturating_add(nick.as_str().len());
        names.saturating_add(RENAME_BYTES)
    }

    /// Tells of those who have changed their nicks since something was said.
    #[cold]
    fn tell_renames(&mut self) {
        for who in self.renames.take_fresh() {
            self.tell_rename(who);
        }
    }

    /// Tells the rename of a member that is about to leave, of which the others know nothing yet.
    fn tell_rename_of(&mut self, id: ClientId, now: Moment) {
        if self.renames.is_empty() {
            return;
        }
        self.tell_renames();
        let Some(who) = self.members.get(id).map(|member| member.renamed(id)) else {
            return;
        };
        // That it leaves is told of, or counted as well.
        if self.presence.has_room(now) {
            self.tell_gathered(who, now);
        }
    }

    /// Tells a rename that was gathered, or counts it. Returns whether there was one.
    fn tell_gathered(&mut self, who: Renamed, now: Moment) -> bool {
        let member = self.members.get(who.id);
        let Some(nick) = member.map(|member| member.nick.clone()) else {
            return false;
        };
        if !self.renames.is_news(who.serial, &nick) {
            return false;
        }
        let from = self.renames.origin_of(who.serial);
        let has_notices = self.has_notices(self.members.len());
        if has_notices && self.presence.is_named(Change::Renamed, from, now) {
            self.tell_rename(who);
        } else {
            self.renames.set_known(who.serial, &nick);
        }
        true
    }

    fn tell_rename(&mut self, who: Renamed) {
        let Some(member) = self.members.get(who.id) else {
            return;
        };
        let (speaker, nick) = (member.speaker(who.id), member.nick.clone());
        if let Some(known_as) = self.renames.set_known(who.serial, &nick) {
            self.say_as(
                speaker,
                Kind::Rename,
                Message::ChangesNick(&known_as, &nick),
            );
        }
    }

    // Talking.

    /// Whether a line has to be said with [`say_watched`](Self::say_watched): somebody may not be heard, renames are to be
    /// told of first, or lines go to other servers.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// A member that is connected from this peer says a line, to everybody else on all servers. `None` if nothing is
    /// said: the line is empty, or the member is muted.
    #[cold]
    #[inline(never)]
    pub(crate) fn say_watched<'a>(
        &'a mut self,
        id: ClientId,
        from: &Peer,
        line: &'a [u8],
        class: Class,
        now: Moment,
    ) -> Option<Spoken<'a>> {
        if line.is_empty() || !self.may_say(id, from, now) {
            return None;
        }
        if self.passes_on() {
            return self.share_line(id, line, class);
        }
        self.say(id, from, line, class, now)
    }

    /// A member says a line to everybody else here, in a room that is not [watched](Self::is_watched). `None` if the
    /// line is empty. It is inlined because what it returns is large, and nearly every line takes this way.
    #[inline(always)]
    pub(crate) fn say<'a>(
        &'a mut self,
        id: ClientId,
        from: &Peer,
        line: &'a [u8],
        class: Class,
        now: Moment,
    ) -> Option<Spoken<'a>> {
        if line.is_empty() {
            return None;
        }
        let (medium, members, scratch) = self.medium();
        let text = text::clean(line, scratch);
        let (member, seat) = members.seat_mut(id)?;
        seat.is_filtered = true;
        Some(medium.say(member, id, from, text, class, now))
    }

    /// Whether a member is not muted; it is told so otherwise. What is to be told before it says something
    /// is told.
    #[cold]
    fn may_say(&mut self, id: ClientId, from: &Peer, now: Moment) -> bool {
        if self.renames.has_fresh() {
            self.tell_renames();
        }
        self.is_watched = !self.muted.is_empty() || self.is_moderated || self.shared.is_some();
        let why = match self.is_muted_at(id, Some(from), now) {
            true => Message::MutedLine,
            false if self.is_voiceless(id) => {
                Message::VoicelessLine(self.members.person(id).is_some())
            }
            false => return true,
        };
        self.outbox.send(id, why);
        false
    }

    /// A member that is not muted says a clean text.
    pub(crate) fn say_text<'a>(
        &'a mut self,
        id: ClientId,
        from: &Peer,
        text: CleanText<'a>,
        class: Class,
        now: Moment,
    ) -> Option<Spoken<'a>> {
        if self.renames.has_fresh() {
            self.tell_renames();
        }
        if self.passes_on() {
            return self.share_words(id, text, said_by(class));
        }
        let (medium, members, _) = self.medium();
        let (member, seat) = members.seat_mut(id)?;
        seat.is_filtered = true;
        Some(medium.say(member, id, from, text, class, now))
    }

    /// Borrows what a line is written to, the members, and the buffer in which the line is cleaned.
    #[inline]
    fn medium(&mut self) -> (Medium<'_>, &mut Members, &mut String) {
        let has_people = self.members.has_persons() || self.history.is_kept() || self.is_recorded;
        let medium = Medium {
            batch: &mut self.batch,
            history: &mut self.history,
            prefix: &self.prefix,
            has_people,
        };
        (medium, &mut self.members, &mut self.scratch)
    }

    /// A member that is not muted does something. Plain members see a line like any other.
    pub(crate) fn act<'a>(
        &'a mut self,
        id: ClientId,
        from: &Peer,
        text: CleanText<'a>,
        class: Class,
        now: Moment,
    ) -> Option<Spoken<'a>> {
        if self.renames.has_fresh() {
            self.tell_renames();
        }
        if self.passes_on() {
            return self.share_words(id, text, Entry::Act);
        }
        let (medium, members, _) = self.medium();
        let (member, seat) = members.seat_mut(id)?;
        seat.is_filtered = true;
        Some(medium.act(member, id, from, text, class, now))
    }

    /// The server says to all other people that a member is here, or no longer.
    fn say_presence(&mut self, of: Speaker, message: Message<'_>) {
        self.say_as(of, Kind::Presence, message);
    }

    /// The server says something of a member to all other people.
    fn say_notice(&mut self, of: Speaker, message: Message<'_>) {
        self.say_as(of, Kind::Notice, message);
    }

    fn say_as(&mut self, of: Speaker, kind: Kind, message: Message<'_>) -> usize {
        if self.renames.has_fresh() {
            self.tell_renames();
        }
        self.members.set_spoken(of.id, true);
        let line = self
            .batch
            .say(of, Class::Sparse, kind, |line| message.write(line));
        line.len()
    }

    /// Whether nobody gets what this person says.
    pub(crate) fn is_muted(&self, id: ClientId, now: Moment) -> bool {
        let from = self.members.person(id).map(|person| &person.from);
        self.is_muted_at(id, from, now)
    }

    /// Removes from the history the lines of these members, under any name, and those of anyone with a
    /// name of theirs. It takes one pass over the members for each author, and not over the history for
    /// each member.
    pub(crate) fn forget_lines_of(&mut self, ids: &[ClientId]) {
        let members = ids.iter().filter_map(|&id| self.members.get(id));
        let whom: Vec<Identity> = members.map(Member::identity).collect();
        self.history
            .forget(|author| whom.iter().any(|&whom| author.identity.is(whom)));
    }

    /// Removes from the history the lines that these peers said.
    pub(crate) fn forget_lines_from(&mut self, peers: &PeerSet) {
        self.history.forget(|author| peers.contains(&author.peer));
    }

    // Delivery.

    /// How much was said in this turn, in bytes.
    #[inline]
    pub(crate) fn batch_bytes(&self) -> usize {
        self.batch.len_bytes()
    }

    /// Whether nothing was said since the last pass.
    #[inline]
    pub(crate) fn is_passed(&self) -> bool {
        self.passed == self.batch.end()
    }

    /// For the fan-out: all seats, and what their members read. `None` if nothing was said since the
    /// last pass.
    #[inline]
    pub(crate) fn pass(&mut self) -> Option<(&mut [Seat], Pass<'_>)> {
        if self.renames.has_fresh() {
            self.tell_renames();
        }
        let end = self.batch.end();
        let from = std::mem::replace(&mut self.passed, end);
        if from == end {
            return None;
        }
        if self.members.has_lf() {
            self.batch.render_with_lf();
        }
        let batch = &self.batch;
        let (seats, members) = self.members.seats();
        let pass = Pass {
            batch,
            members,
            end,
            from,
            piece: batch.since(from),
        };
        Some((seats, pass))
    }

    /// Gives one member what it has not been given, piece by piece.
    pub(crate) fn take_pending(&mut self, id: ClientId, mut deliver: impl FnMut(Piece<'_>)) {
        if self.renames.has_fresh_for(id) {
            self.tell_renames();
        }
        let end = self.batch.end();
        let Some((member, seat)) = self.members.seat_mut(id) else {
            return;
        };
        let from = std::mem::replace(&mut seat.cursor, end);
        if from != end {
            let lines = match member.ends_lines_with_lf {
                true => {
                    self.batch.render_with_lf();
                    self.batch.since_with_lf(from)
                }
                false => self.batch.since(from),
            };
            let pieces = lines.without(member.hider(id));
            match seat.is_special && !member.ends_lines_with_lf {
                false => pieces.map(Piece::Lines).for_each(deliver),
                true => {
                    let lines = pieces.flat_map(|piece| personal(piece, member, self.batch.minute));
                    lines.map(Piece::Personal).for_each(&mut deliver);
                }
            }
        }
    }

    /// Whether somebody sees the time before each line.
    #[inline]
    pub(crate) fn has_stamps(&self) -> bool {
        self.members.has_stamps()
    }

    /// Sets the time that stands before lines, in minutes since 1970 (UTC).
    pub(crate) fn set_minute(&mut self, minute: i64) {
        self.batch.minute = minute;
    }

    /// Hands out the notices that were said since the last time, without their ends.
    pub(crate) fn take_notices(&mut self, mut notice: impl FnMut(&[u8])) {
        if self.renames.has_fresh() {
            self.tell_renames();
        }
        let from = std::mem::replace(&mut self.observed, self.batch.end());
        for line in self.batch.notices_since(from) {
            notice(without_end(line));
        }
    }

    /// Whether there is a transcript.
    pub(crate) fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Hands out each line of this turn that a person who ignores nobody sees, with its line end.
    pub(crate) fn record(&self, mut line: impl FnMut(&[u8], Kind, Class)) {
        for (lines, kind, class) in self.batch.all().segments() {
            let is_for_others = matches!(
                kind,
                Kind::PlainAction | Kind::WordlessLeave | Kind::AnnouncementToScripts
            );
            if !is_for_others {
                lines.each().for_each(|it| line(it, kind, class));
            }
        }
    }

    /// Every member has been given everything.
    pub(crate) fn end_turn(&mut self) {
        if self.batch.len_bytes() == 0 {
            return;
        }
        for speaker in self.batch.speakers() {
            self.members.set_spoken(speaker, false);
        }
        self.batch.clear();
    }
}

/// The origin of a member, if what is told of that is limited.
fn limited(from: Option<&Peer>) -> Option<Origin> {
    let from = from.filter(|from| !from.is_exempt());
    from.map(Peer::origin)
}

/// What a pass over all readers hands out. Nearly all of them get the same piece, which is found
/// once.
#[derive(Debug)]
pub(crate) struct Pass<'b> {
    batch: &'b Batch,
    members: &'b [Option<Member>],
    end: Cursor,
    /// Where `piece` begins.
    from: Cursor,
    piece: Lines<'b>,
}

/// Lines that stand together, as a member with a look of its own sees them.
fn personal<'b>(
    piece: Lines<'b>,
    member: &'b Member,
    minute: i64,
) -> impl Iterator<Item = PersonalLine<'b>> + use<'b> {
    piece.segments().flat_map(move |(lines, kind, class)| {
        lines.each().map(move |line| PersonalLine {
            before: member.before(line, kind, minute),
            line,
            kind,
            class,
        })
    })
}

/// The lines of a pass for the few who get other bytes than all others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpecialPass<'b> {
    batch: &'b Batch,
    members: &'b [Option<Member>],
}

impl<'b> SpecialPass<'b> {
    /// Whether the lines of this member end with LF; otherwise it is a person with a look of its own.
    pub(crate) fn ends_with_lf(self, id: ClientId) -> bool {
        let member = self.members.get(id.index()).and_then(Option::as_ref);
        member.is_some_and(|member| member.ends_lines_with_lf)
    }

    /// Returns the lines that this member has not been given, as others get them and as it does; they begin at
    /// `from`.
    pub(crate) fn personal_lines(
        self,
        id: ClientId,
        from: Cursor,
    ) -> (Lines<'b>, impl Iterator<Item = PersonalLine<'b>> + use<'b>) {
        let member = self.members.get(id.index()).and_then(Option::as_ref);
        let all = self.batch.since(from);
        let lines = member.into_iter().flat_map(move |member| {
            let pieces = all.without(member.hider(id));
            pieces.flat_map(move |piece| personal(piece, member, self.batch.minute))
        });
        (all, lines)
    }

    /// Returns the lines that this member has not been given; they begin at `from`, and end with LF.
    pub(crate) fn pieces_with_lf(
        self,
        id: ClientId,
        from: Cursor,
    ) -> impl Iterator<Item = Lines<'b>> + use<'b> {
        let member = self.members.get(id.index()).and_then(Option::as_ref);
        let is_hidden =
            move |segment: &_| member.is_none_or(|member| member.is_hidden(id, segment));
        self.batch.since_with_lf(from).without(is_hidden)
    }
}

impl<'b> Pass<'b> {
    /// Returns this pass for the few who get other bytes than all others.
    pub(crate) fn special(&self) -> SpecialPass<'b> {
        SpecialPass {
            batch: self.batch,
            members: self.members,
        }
    }

    /// What the member of a seat has not been given, which it is given now.
    #[inline]
    pub(crate) fn share(
        &mut self,
        seat: &mut Seat,
    ) -> Share<'_, impl Iterator<Item = Lines<'b>> + use<'b>> {
        if seat.cursor == self.end {
            return Share::Nothing;
        }
        let from = std::mem::replace(&mut seat.cursor, self.end);
        if from != self.from {
            (self.from, self.piece) = (from, self.batch.since(from));
        }
        if !seat.is_filtered && !self.batch.is_mixed() {
            return Share::Whole(&self.piece);
        }
        if seat.is_special {
            return Share::Special(from);
        }
        let Some(Some(member)) = self.members.get(seat.id.index()) else {
            return Share::Nothing;
        };
        let id = seat.id;
        let mut pieces = self
            .piece
            .without(move |segment| member.is_hidden(id, segment));
        match pieces.next() {
            // Nobody else has spoken.
            None => Share::Nothing,
            Some(first) => Share::Pieces {
                pieces: iter::once(first).chain(pieces),
                most_bytes: self.piece.bytes.len(),
            },
        }
    }
}

/// What one member is given in a pass.
#[derive(Debug)]
pub(crate) enum Share<'p, P> {
    Nothing,
    /// What everybody is given.
    Whole(&'p Lines<'p>),
    /// Other bytes than all others get, which begin at this cursor: see [`Pass::special`].
    Special(Cursor),
    /// Some lines are not for this member.
    Pieces {
        pieces: P,
        /// How long all pieces are at most.
        most_bytes: usize,
    },
}

/// Keeps a member's line for those who join later.
#[inline]
fn keep(history: &mut History, line: &[u8], member: &Member, from: &Peer, now: Moment) {
    if history.is_kept() {
        let author = Author {
            identity: member.identity(),
            peer: *from,
        };
        history.remember(now, author, without_end(line));
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::claim_token::ClaimToken;
    use crate::time::moment::Clock;

    fn start() -> Moment {
        Clock::default().moment(std::time::Instant::now())
    }

    const FROM: Peer = Peer::Local { uid: 0, pid: 1 };

    fn room_of(nicks: &[&str]) -> Room {
        let mut room = Room::new(&Config::default());
        for (id, nick) in nicks.iter().enumerate() {
            room.join(client(id), &FROM, nick.as_bytes(), Profile::Plain, start())
                .expect("a free nick");
        }
        room
    }

    /// What each member gets when one says a line.
    fn said(room: &mut Room, id: usize, line: &[u8]) -> Vec<(usize, String)> {
        let from = Peer::Local { uid: 1000, pid: 1 };
        room.say(client(id), &from, line, Class::Sparse, start());
        let mut got = Vec::new();
        if let Some((seats, mut pass)) = room.pass() {
            for seat in seats {
                let pieces: Vec<Lines<'_>> = match pass.share(seat) {
                    Share::Nothing => Vec::new(),
                    Share::Whole(&lines) => vec![lines],
                    Share::Special(_) => panic!("nobody has asked for it"),
                    Share::Pieces { pieces, .. } => pieces.collect(),
                };
                let text = |lines: Lines<'_>| String::from_utf8_lossy(lines.bytes).into_owned();
                got.extend(pieces.into_iter().map(|it| (seat.id.index(), text(it))));
            }
        }
        room.end_turn();
        got
    }

    fn client(id: usize) -> ClientId {
        ClientId::from_index(id)
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
    fn a_person_and_a_name_are_each_forgotten_in_time_although_nothing_happens() {
        for is_person in [true, false] {
            let (mut room, now) = (room_of(&[]), start());
            let end = now + Duration::from_secs(600);
            room.join(client(0), &FROM, b"alice", Profile::Interactive, now)
                .expect("a free nick");
            if is_person {
                room.give_claim(client(0), ClaimToken::new([7; 16]));
            }
            room.leave(client(0), &FROM, CloseReason::Broken, now);
            if is_person {
                room.members.forget_given_up(end);
            }
            assert_eq!(room.next_deadline(), Some(end), "{is_person}");
            room.on_time(end);
            assert_eq!(room.next_deadline(), None, "{is_person}");
        }
    }

    #[test]
    fn a_nick_is_taken_until_its_owner_leaves() {
        let (mut room, now) = (room_of(&["alice", "bob"]), start());
        let taken = room.join(client(9), &FROM, b"BOB", Profile::Plain, now);
        let refusal = taken.expect_err("it is taken");
        let [nick, owner] = [b"BOB", b"bob"].map(|it| Nick::parse(it, 32).expect("a nick"));
        let free = None;
        assert_eq!(refusal.why, NickError::Taken { nick, owner, free });
        assert_eq!(refusal.holder, Some(client(1)));
        let left = room.leave(client(1), &FROM, CloseReason::HungUp, now);
        assert_eq!(left.expect("a member").as_str(), "bob");
        assert_eq!(room.leave(client(1), &FROM, CloseReason::HungUp, now), None);
        assert!(
            room.join(client(9), &FROM, b"BOB", Profile::Plain, now)
                .is_ok()
        );
        assert_eq!(said(&mut room, 9, b"x"), [(0, "BOB: x\r\n".to_owned())]);
    }
}
