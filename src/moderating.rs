//! What an operator can ask of the room: to close somebody, to keep a name out, and to let nobody see
//! what somebody says. Names are banned and muted, not connections, so to come again does not help;
//! what is done about addresses is in `obeying`.

use std::time::Duration;

use crate::access::MAX_BANS;
use crate::comings::Coming;
use crate::message::Message;
use crate::moment::Moment;
use crate::nick::Nick;
use crate::room::{Room, speaker};
use crate::roster::{ClientId, NotFound};
use crate::text::CleanText;

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

    /// `by` is about to close `id`'s connection.
    pub(crate) fn kick(&mut self, by: ClientId, id: ClientId, why: CleanText<'_>, now: Moment) {
        let (Some(operator), Some(member)) = (self.roster.get(by), self.roster.get(id)) else {
            return;
        };
        let (speaker, nick, by) = (
            speaker(id, member),
            member.nick.clone(),
            operator.nick.clone(),
        );
        self.mail.send(id, Message::YouWereKicked(&by, why));
        if self.is_told_by_name(Coming::Left, self.audience().len() - 1, now) {
            self.say_notice(speaker, Message::WasKicked(&nick, &by, why));
        }
    }

    /// Nobody may have that name for a time; gives who has it now.
    pub(crate) fn ban_name(
        &mut self,
        by: ClientId,
        name: CleanText<'_>,
        time: Option<Duration>,
        now: Moment,
    ) -> Option<ClientId> {
        let meant = match self.roster.find(name.as_str()) {
            Err(NotFound::Nobody) => None,
            _ => Some(self.meant_other(by, name)?),
        };
        let nick = meant
            .and_then(|id| self.roster.get(id))
            .map(|member| member.nick.clone());
        let name = nick.as_ref().map_or(name.as_str(), Nick::as_str);
        let has_room = self.banned.add(self.roster.hash_of(name), time, now);
        self.answer_ban(by, has_room, Message::IsBanned(name, time));
        meant.filter(|_| has_room)
    }

    /// Tells whether there was room for one more.
    pub(crate) fn answer_ban(&mut self, by: ClientId, has_room: bool, done: Message<'_>) {
        let too_many = Message::TooManyBans(MAX_BANS);
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
        self.answer_ban(by, has_room, Message::IsMuted(&nick, time));
        if has_room && self.roster.person(id).is_some() {
            self.answer(id, Message::YouAreMuted(time));
        }
    }

    /// The one who is muted may have left.
    pub(crate) fn unmute(&mut self, by: ClientId, name: CleanText<'_>, now: Moment) {
        let whom = self.called(name).name;
        if !self.muted.lift(&whom, now) {
            return self.answer(by, Message::IsNotMuted(name.as_str()));
        }
        self.answer(by, Message::IsNoLongerMuted(name.as_str()));
        let found = self.roster.find(name.as_str()).ok();
        if let Some(id) = found.filter(|&id| self.roster.person(id).is_some()) {
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
