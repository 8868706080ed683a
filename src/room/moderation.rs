//! What an operator can ask of the room: to close somebody, to keep a name out, and to let nobody see
//! what somebody says. Names are banned and muted, not connections, so to come again under the same
//! name does not help; against another name there are addresses, about which see `obeying`.

use std::time::Duration;

use crate::protocol::message::Message;
use crate::room::members::ClientId;
use crate::room::{Room, speaker};
use crate::session::auth::MAX_BANS;
use crate::text::CleanText;
use crate::text::nick::Nick;
use crate::time::moment::Moment;

impl Room {
    pub(crate) fn is_operator(&self, id: ClientId) -> bool {
        self.roster
            .person(id)
            .is_some_and(|person| person.is_operator)
    }

    pub(crate) fn make_operator(&mut self, id: ClientId) {
        if let Some(person) = self.roster.person_mut(id) {
            person.is_operator = true;
        }
        self.answer(id, Message::YouAreOperator);
    }

    /// Nobody may have that name for a time; gives who has it now. A name is not completed here: who
    /// is meant may have left already, and another's name may begin so.
    pub(crate) fn ban_name(
        &mut self,
        by: ClientId,
        name: &str,
        time: Option<Duration>,
        now: Moment,
    ) -> Option<ClientId> {
        let nick = match Nick::parse(name.as_bytes(), self.max_nick_chars) {
            Ok(nick) => nick,
            Err(why) => {
                self.answer(by, Message::Refused(&why));
                return None;
            }
        };
        let member = self.roster.find_exact(name);
        if member == Some(by) {
            self.answer(by, Message::ThatIsYou);
            return None;
        }
        let has_room = (self.banned).add(self.roster.hash_of(name), time, now);
        self.answer_sanction(by, has_room, Message::IsBanned(nick.as_str(), time));
        member.filter(|_| has_room)
    }

    /// Tells whether there was room for one more.
    pub(crate) fn answer_sanction(&mut self, by: ClientId, has_room: bool, done: Message<'_>) {
        let too_many = Message::TooManySanctions(MAX_BANS);
        self.answer(by, if has_room { done } else { too_many });
    }

    pub(crate) fn unban_name(&mut self, by: ClientId, name: CleanText<'_>, now: Moment) {
        let name = name.as_str();
        let was_banned = self.banned.lift(&self.roster.hash_of(name), now);
        self.answer_unban(by, was_banned, name);
    }

    pub(crate) fn answer_unban(&mut self, by: ClientId, was_banned: bool, whom: &str) {
        let message = match was_banned {
            true => Message::IsNoLongerBanned(whom),
            false => Message::IsNotBanned(whom),
        };
        self.answer(by, message);
    }

    pub(crate) fn mute(
        &mut self,
        by: ClientId,
        name: CleanText<'_>,
        time: Option<Duration>,
        now: Moment,
    ) {
        let Some(id) = self.meant_other(by, name) else {
            return;
        };
        let member = self.roster.get(id);
        let Some((name, nick)) = member.map(|it| (it.name, it.nick.clone())) else {
            return;
        };
        let has_room = self.muted.add(name, time, now);
        self.answer_sanction(by, has_room, Message::IsMuted(&nick, time));
        if has_room && self.roster.person(id).is_some() {
            self.answer(id, Message::YouAreMuted(time));
        }
    }

    /// The one who is muted may have left.
    pub(crate) fn unmute(&mut self, by: ClientId, name: CleanText<'_>, now: Moment) {
        let exact = self.roster.find_exact(name.as_str());
        let former = self.roster.hash_of(name.as_str());
        if self.muted.lift(&former, now) {
            self.answer(by, Message::IsNoLongerMuted(name.as_str()));
            return self.tell_unmuted(exact);
        }
        let Some(id) = self.meant(by, name) else {
            return;
        };
        let member = self.roster.get(id);
        let Some((name, nick)) = member.map(|it| (it.name, it.nick.clone())) else {
            return;
        };
        if self.muted.lift(&name, now) {
            self.answer(by, Message::IsNoLongerMuted(nick.as_str()));
            self.tell_unmuted(Some(id));
        } else {
            self.answer(by, Message::IsNotMuted(nick.as_str()));
        }
    }

    fn tell_unmuted(&mut self, id: Option<ClientId>) {
        if let Some(id) = id.filter(|&id| self.roster.person(id).is_some()) {
            self.answer(id, Message::YouAreNoLongerMuted);
        }
    }

    /// An operator says something as the server, to all other persons.
    pub(crate) fn announce(&mut self, by: ClientId, text: CleanText<'_>) {
        let Some(member) = self.roster.get(by) else {
            return;
        };
        let (speaker, nick) = (speaker(by, member), member.nick.clone());
        self.say_notice(speaker, Message::Announcement(&nick, text));
    }
}
