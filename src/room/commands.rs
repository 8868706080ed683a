//! What a person can ask of the room beside talking in it: who is here, another name, a word with one
//! of the others, and quiet from some. The room decides what comes of it; whoever asks, and whoever
//! else it concerns, is told by [mail](crate::broadcast::outbox).

use log::info;

use crate::broadcast::batch::Sort;
use crate::conn::overflow::Voice;
use crate::protocol::command::{HELP, OP};
use crate::protocol::message::{Message, Names};
use crate::room::members::{ClientId, Ignored, Member, NotFound, Partner};
use crate::room::{NAMED_AT_MOST, Room, speaker};
use crate::text::CleanText;
use crate::text::nick::{Nick, NickError};
use crate::time::moment::Moment;

/// So many can one person ignore.
const IGNORED_AT_MOST: usize = 32;

/// More are not named in one answer to `/who`; the rest is counted.
const LISTED_AT_MOST: usize = 5 * NAMED_AT_MOST;

impl Room {
    pub(crate) fn answer(&mut self, id: ClientId, message: Message<'_>) {
        self.mail.send(id, message);
    }

    pub(crate) fn help(&mut self, id: ClientId, has_operators: bool) {
        let is_operator = self.is_operator(id);
        for help in &HELP {
            let is_there = help.name != OP || has_operators;
            if is_there && (!help.is_for_operators || is_operator) {
                self.answer(id, Message::Command(help));
            }
        }
        self.answer(id, Message::HowToSaySlash);
    }

    pub(crate) fn who(&mut self, id: ClientId, name: CleanText<'_>) {
        let all = self.roster.beginning(name.as_str());
        let count = all.len();
        let some = self.roster.named(all.take(LISTED_AT_MOST));
        let more = count - some.len();
        self.mail
            .send(id, Message::Who(Names { some: &some, more }));
    }

    /// Whom a person means by a name. It is told if that is nobody.
    pub(crate) fn meant(&mut self, id: ClientId, name: CleanText<'_>) -> Option<ClientId> {
        let name = name.as_str();
        let message = match self.roster.find(name) {
            Ok(meant) => return Some(meant),
            Err(NotFound::Nobody) => Message::Nobody(name),
            Err(NotFound::HasLeft(other)) => {
                let other = self.roster.get(other)?;
                Message::HasLeftAlready(name, &other.nick)
            }
            Err(NotFound::Several(one, other)) => {
                let nick = |id| Some(&self.roster.get(id)?.nick);
                Message::Several(name, nick(one)?, nick(other)?)
            }
        };
        self.mail.send(id, message);
        None
    }

    /// The same, if that is not this person itself.
    pub(crate) fn meant_other(&mut self, id: ClientId, name: CleanText<'_>) -> Option<ClientId> {
        let meant = self.meant(id, name)?;
        if meant == id {
            self.answer(id, Message::ThatIsYou);
            return None;
        }
        Some(meant)
    }

    /// A member asks for another nick; gives how long what the others see of it is, in bytes.
    pub(crate) fn rename(
        &mut self,
        id: ClientId,
        name: CleanText<'_>,
        voice: Voice,
        now: Moment,
    ) -> usize {
        let Some(member) = self.roster.get(id) else {
            return 0;
        };
        let old = member.nick.clone();
        let new = match self.try_rename(id, name, now) {
            Ok(nick) => nick,
            Err(why) => {
                self.answer(id, Message::Refused(&why));
                return 0;
            }
        };
        let Some(member) = self.roster.get_mut(id) else {
            return 0;
        };
        member.has_spoken = true;
        let speaker = speaker(id, member);
        self.mail.send(id, Message::YouAreNow(&new));
        if old == new {
            return 0;
        }
        info!("{old} is now {new}");
        if !self.has_notices(self.audience().len()) {
            return 0;
        }
        let message = Message::IsNow(&old, &new);
        self.talk
            .say(speaker, voice, Sort::Action, |line| message.write(line))
            .len()
    }

    fn try_rename(
        &mut self,
        id: ClientId,
        name: CleanText<'_>,
        now: Moment,
    ) -> Result<Nick, NickError> {
        // It was cleaned already, and a nick must not need that.
        if name.as_str().contains(char::REPLACEMENT_CHARACTER) {
            return Err(NickError::Unsafe);
        }
        let nick = self.nick(name.as_str().as_bytes(), now)?;
        self.roster.rename(id, nick.clone())?;
        Ok(nick)
    }

    /// A person tells another something.
    pub(crate) fn tell(&mut self, id: ClientId, to: ClientId, text: CleanText<'_>, voice: Voice) {
        let (Some(by), Some(other)) = (self.roster.get(id), self.roster.get(to)) else {
            return;
        };
        let Some(person) = other.person.as_ref() else {
            self.mail.send(id, Message::HasBareWire(&other.nick));
            return;
        };
        self.mail.send(id, Message::YouTell(&other.nick, text));
        if person.ignores(by.identity()) {
            // Who is ignored is not told so, or it would come again under another name.
            return;
        }
        self.mail
            .send_words(to, voice, Message::Tells(&by.nick, text));
        let serial = by.identity().serial;
        if let Some(person) = self.roster.person_mut(to) {
            person.told_by = Some(Partner { id, serial });
        }
    }

    /// The same to whoever told it something last.
    pub(crate) fn reply(&mut self, id: ClientId, text: CleanText<'_>, voice: Voice) {
        let Some(partner) = self.roster.person(id).and_then(|person| person.told_by) else {
            return self.answer(id, Message::NobodyToldYou);
        };
        let member = self.roster.get(partner.id);
        if member.is_some_and(|member| member.identity().serial == partner.serial) {
            self.tell(id, partner.id, text, voice);
        } else {
            self.answer(id, Message::PartnerHasLeft);
        }
    }

    pub(crate) fn ignore(&mut self, id: ClientId, name: CleanText<'_>) {
        if name.as_str().is_empty() {
            return self.list_ignored(id);
        }
        let Some(meant) = self.meant_other(id, name) else {
            return;
        };
        let member = self.roster.get(meant);
        let Some((whom, nick)) = member.map(|it| (it.identity(), it.nick.clone())) else {
            return;
        };
        let Some(person) = self.roster.person_mut(id) else {
            return;
        };
        if !person.ignores(whom) {
            if person.ignored.len() >= IGNORED_AT_MOST {
                return self.answer(id, Message::YouIgnoreTooMany(IGNORED_AT_MOST));
            }
            let nick = nick.clone();
            person.ignored.push(Ignored { whom, nick });
        }
        self.answer(id, Message::YouIgnore(&nick));
    }

    fn list_ignored(&mut self, id: ClientId) {
        let ignored = self
            .roster
            .person(id)
            .map_or(&[][..], |person| &person.ignored);
        let some: Vec<&Nick> = ignored.iter().map(|it| &it.nick).collect();
        let names = Names {
            some: &some,
            more: 0,
        };
        self.mail.send(id, Message::YouIgnoreAll(names));
    }

    /// The one whom it ignores may have left, or have another name by now.
    pub(crate) fn unignore(&mut self, id: ClientId, name: CleanText<'_>) {
        let former = self.roster.hash_of(name.as_str());
        let member = self.roster.find(name.as_str()).ok();
        let member = member.and_then(|id| self.roster.get(id));
        let member = member.map(Member::identity);
        let ignored = self.roster.person_mut(id).map(|person| &mut person.ignored);
        let place = ignored.as_ref().and_then(|ignored| {
            let is_former = |it: &Ignored| it.whom.name == former;
            let is_member = |it: &Ignored| member.is_some_and(|member| it.whom.is(member));
            let place = ignored.iter().position(is_former);
            place.or_else(|| ignored.iter().position(is_member))
        });
        match ignored.zip(place) {
            Some((ignored, place)) => {
                let nick = ignored.remove(place).nick;
                self.answer(id, Message::YouHearAgain(&nick));
            }
            None => self.answer(id, Message::YouDoNotIgnore(name.as_str())),
        }
    }

    pub(crate) fn last(&mut self, id: ClientId, most: Option<usize>, now: Moment) {
        if self.recount(id, most.unwrap_or(usize::MAX), now) == 0 {
            self.answer(id, Message::NothingKept);
        }
    }
}
