//! What a person can ask of the room besides talking in it: who is here, another name, a private word
//! with one of the others, and not to see some of them. The room decides what comes of it; whoever
//! asked, and whoever else is concerned, is told by way of the [outbox](crate::broadcast::outbox).

use crate::broadcast::batch::Kind;
use crate::broadcast::outbox::EntryKind;
use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::config::interactive::Profile;
use crate::protocol::message::{Message, Names};
use crate::room::members::{Member, NotFound, Partner};
use crate::room::{MAX_NAMED, Room};
use crate::text::CleanText;
use crate::text::alike::Identity;
use crate::text::nick::{Nick, NickError};
use crate::time::moment::Moment;

/// How many members are named in one answer to `/who`; the others are counted.
const MAX_LISTED: usize = 5 * MAX_NAMED;

/// A nick that was changed.
#[derive(Debug)]
pub(crate) struct Renamed {
    pub(crate) old: Nick,
    /// How much every reader gets of it, in bytes.
    pub(crate) said_bytes: usize,
}

impl Room {
    fn answer(&mut self, id: ClientId, message: Message<'_>) {
        self.outbox.send(id, message);
    }

    pub(crate) fn who(&mut self, id: ClientId, name: CleanText<'_>) {
        let all = self.members.beginning(name.as_str());
        let count = all.len();
        let some = self.members.named(all.take(MAX_LISTED));
        let more = count.saturating_sub(some.len());
        let names = Names { some: &some, more };
        self.outbox.send(id, Message::Who(names));
    }

    /// The member that a person means by a name. The person is told if that is nobody.
    pub(super) fn meant(&mut self, id: ClientId, name: CleanText<'_>) -> Option<ClientId> {
        let name = name.as_str();
        let found = self.members.find(name);
        let nick = |id| Some(&self.members.get(id)?.nick);
        let message = match found {
            Ok(meant) => return Some(meant),
            Err(NotFound::Nobody) => Message::Nobody(name),
            Err(NotFound::HasLeft(other)) => Message::HasLeftAlready(name, nick(other)?),
            Err(NotFound::Several(one, other)) => Message::Several(name, nick(one)?, nick(other)?),
        };
        self.outbox.send(id, message);
        None
    }

    /// The member that a person means by a name, if that is another one. The person is told if it is
    /// not.
    pub(crate) fn meant_other(&mut self, id: ClientId, name: CleanText<'_>) -> Option<ClientId> {
        let meant = self.meant(id, name)?;
        if meant == id {
            self.answer(id, Message::ThatIsYou);
            return None;
        }
        Some(meant)
    }

    /// A member asks for another nick. `None` if it keeps the one that it has.
    pub(crate) fn rename(
        &mut self,
        id: ClientId,
        name: CleanText<'_>,
        now: Moment,
    ) -> Option<Renamed> {
        let old = self.members.get(id)?.nick.clone();
        let new = match self.try_rename(id, name, now) {
            Ok(nick) => nick,
            Err(why) => {
                self.answer(id, Message::Refused(&why, Profile::Interactive));
                return None;
            }
        };
        let speaker = self.members.get(id)?.speaker(id);
        self.answer(id, Message::YouAreNow(&new));
        if old == new {
            return None;
        }
        let mut said_bytes = 0;
        if self.has_notices(self.members.len()) {
            said_bytes = self.say_as(speaker, Kind::Action, Message::ChangesNick(&old, &new));
        }
        Some(Renamed { old, said_bytes })
    }

    fn try_rename(
        &mut self,
        id: ClientId,
        name: CleanText<'_>,
        now: Moment,
    ) -> Result<Nick, NickError> {
        let (nick, name) = self.nick(name.as_str().as_bytes(), now)?;
        self.members.rename(id, nick.clone(), name)?;
        Ok(nick)
    }

    /// A person tells another something. Returns whether the other one gets it.
    pub(crate) fn tell(
        &mut self,
        id: ClientId,
        to: ClientId,
        text: CleanText<'_>,
        class: Class,
    ) -> bool {
        let (Some(by), Some(other)) = (self.members.get(id), self.members.get(to)) else {
            return false;
        };
        let Some(person) = other.person.as_ref() else {
            self.outbox.send(id, Message::IsPlain(&other.nick));
            return false;
        };
        self.outbox.send(id, Message::YouTell(&other.nick, text));
        if person.ignores(by.identity()) {
            // An ignored member is not told, or it would come back under another name.
            return false;
        }
        let words = Message::Tells(&by.nick, text);
        self.outbox.push(to, EntryKind::Words(class), words);
        let serial = by.identity().serial;
        if let Some(person) = self.members.person_mut(to) {
            person.told_by = Some(Partner { id, serial });
        }
        true
    }

    /// The member that last told this one something in private. It is told if there is none.
    pub(crate) fn told_by(&mut self, id: ClientId) -> Option<ClientId> {
        let Some(partner) = self.members.person(id).and_then(|person| person.told_by) else {
            self.answer(id, Message::NobodyToldYou);
            return None;
        };
        let member = self.members.get(partner.id);
        if member.is_some_and(|member| member.identity().serial == partner.serial) {
            return Some(partner.id);
        }
        self.answer(id, Message::PartnerHasLeft);
        None
    }

    /// Hides a member from a person. Without a name, lists the members that are hidden.
    pub(crate) fn ignore(&mut self, id: ClientId, name: CleanText<'_>) {
        if name.as_str().is_empty() {
            return self.list_ignored(id);
        }
        let Some(meant) = self.meant_other(id, name) else {
            return;
        };
        let member = self.members.get(meant);
        let Some((mut whom, nick)) = member.map(|it| (it.identity(), it.nick.clone())) else {
            return;
        };
        whom.name = self.members.hash(&nick);
        let Some(person) = self.members.person_mut(id) else {
            return;
        };
        if !person.ignores(whom) {
            if !person.ignored.add(whom, nick.as_str()) {
                let ignored = person.ignored.len();
                return self.answer(id, Message::YouIgnoreTooMany(ignored));
            }
            self.members.set_spoken(id, true);
        }
        self.answer(id, Message::YouIgnore(&nick));
    }

    fn list_ignored(&mut self, id: ClientId) {
        let person = self.members.person(id);
        let nicks: Vec<&str> = person.map_or_else(Vec::new, |it| it.ignored.nicks().collect());
        self.outbox.send(id, Message::YouIgnoreAll(&nicks));
    }

    /// Shows a member to a person again, which may have left or have another name by now.
    pub(crate) fn unignore(&mut self, id: ClientId, name: CleanText<'_>) {
        let former = self.members.hash_of(name.as_str());
        let member = self.members.find(name.as_str()).ok();
        let member = member.and_then(|id| self.members.get(id));
        let member = member.map(Member::identity);
        let removed = self.members.person_mut(id).and_then(|person| {
            let ignored = &mut person.ignored;
            let removed = ignored.remove(|it| it.name.is_same(former));
            let removed = removed.or_else(|| ignored.remove(|it| it.name.is_alike(former)));
            let is_member = |it: Identity| member.is_some_and(|member| it.is(member));
            removed.or_else(|| ignored.remove(is_member))
        });
        match removed {
            Some(nick) => self.answer(id, Message::YouHearAgain(&nick)),
            None => self.answer(id, Message::YouDoNotIgnore(name.as_str())),
        }
    }

    /// Shows a person the last lines again, all that are kept or at most this many.
    pub(crate) fn last(&mut self, id: ClientId, most: Option<usize>, now: Moment) {
        if self.replay(id, most.unwrap_or(usize::MAX), now) == 0 {
            self.answer(id, Message::NothingKept);
        }
    }
}
