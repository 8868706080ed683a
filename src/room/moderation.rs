//! What an operator can do in the room: close a member, keep a name out, and hide what a member says.
//! Names are banned and muted, not connections, so joining again under the same name does not help.
//! Against other names there are bans of addresses and users, which are not part of the room.

use std::time::Duration;

use crate::broadcast::batch::Kind;
use crate::broadcast::outbox::EntryKind;
use crate::client_id::ClientId;
use crate::protocol::message::Message;
use crate::room::Room;
use crate::room::history::Author;
use crate::room::members::Members;
use crate::text::CleanText;
use crate::text::alike::NameHash;
use crate::text::nick::Nick;
use crate::time::expiring_set::MAX_ENTRIES;
use crate::time::moment::Moment;

/// A nick that is banned, with all nicks that are like it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BannedNick {
    pub(super) name: NameHash,
    pub(super) nick: Nick,
}

impl Room {
    pub(crate) fn is_operator(&self, id: ClientId) -> bool {
        let person = self.members.person(id);
        person.is_some_and(|person| person.is_operator)
    }

    pub(crate) fn make_operator(&mut self, id: ClientId) {
        let person = self.members.person_mut(id);
        let was = person.is_some_and(|person| std::mem::replace(&mut person.is_operator, true));
        self.outbox.send(id, Message::YouAreOperator);
        if !was {
            self.tell_other_operators(id, Message::IsOperator);
        }
    }

    pub(crate) fn unmake_operator(&mut self, id: ClientId) {
        if let Some(person) = self.members.person_mut(id) {
            person.is_operator = false;
        }
        self.outbox.send(id, Message::YouAreNoOperator);
        self.tell_other_operators(id, Message::IsNoOperator);
    }

    /// Tells all other operators that this one has given a command.
    pub(crate) fn tell_operators(&mut self, by: ClientId, command: &str) {
        self.tell_other_operators(by, |nick| Message::HasModerated(nick, command));
    }

    fn tell_other_operators<'a>(
        &'a mut self,
        by: ClientId,
        message: impl Fn(&'a Nick) -> Message<'a>,
    ) {
        let Some(nick) = self.members.get(by).map(|member| &member.nick) else {
            return;
        };
        for id in self.members.operators().filter(|&id| id != by) {
            self.outbox.send(id, message(nick));
        }
    }

    /// Tells a member that it is closed by an operator, and the others as well.
    pub(crate) fn say_kick(&mut self, by: ClientId, id: ClientId, why: CleanText<'_>, now: Moment) {
        self.tell_rename_of(id, now);
        let operator = self.members.get(by).map(|member| member.nick.clone());
        let member = self.members.get(id);
        let member = member.map(|member| (member.speaker(id), member.nick.clone()));
        let (Some(operator), Some((speaker, nick))) = (operator, member) else {
            return;
        };
        let why = self.unless_muted(by, &nick, why, now);
        let words = Message::YouWereKicked(&operator, why);
        self.outbox.push(id, EntryKind::LastWords, words);
        if self.is_named_after_leaving(None, now) {
            self.say_as(
                speaker,
                Kind::Notice,
                Message::WasKicked(&nick, &operator, why),
            );
        }
    }

    /// Returns the reason that an operator gives. Nobody gets what a muted one says, so its reason is left
    /// out, and it is told so.
    fn unless_muted<'a>(
        &mut self,
        by: ClientId,
        nick: &Nick,
        why: CleanText<'a>,
        now: Moment,
    ) -> CleanText<'a> {
        if why.as_str().is_empty() || !self.is_muted(by, now) {
            return why;
        }
        self.outbox.send(by, Message::MutedReason(nick));
        CleanText::EMPTY
    }

    /// Bans a name and all names that are like it for a time. Returns the members that have such a name
    /// now, or `None` if it is not banned. A name is not completed here: the intended member may have left already, and another
    /// member's name may begin with it.
    pub(crate) fn ban_name(
        &mut self,
        by: ClientId,
        name: &str,
        time: Option<Duration>,
        now: Moment,
    ) -> Option<Vec<ClientId>> {
        let nick = match Nick::parse(name.as_bytes(), self.max_nick_chars) {
            Ok(nick) => nick,
            Err(why) => {
                self.outbox.send(by, Message::NoSuchNick(&why));
                return None;
            }
        };
        let name = self.members.hash(&nick);
        let mut meant: Vec<ClientId> = self.members.alike(name).collect();
        if meant.contains(&by) {
            self.outbox.send(by, Message::ThatIsYou);
            return None;
        }
        self.banned.remove_if(now, |it| it.name.is_same(name));
        let banned = BannedNick {
            name,
            nick: nick.clone(),
        };
        let has_room = self.banned.add(banned, time, now);
        if has_room {
            let is_meant = |author: &Author| author.identity.name.is_alike(name);
            self.history.forget(is_meant);
        } else {
            meant.clear();
        }
        let done = match has_room {
            false => Message::TooManySanctions(MAX_ENTRIES),
            true if !meant.is_empty() => Message::IsBanned(nick.as_str(), time),
            true => {
                let other = only_beginning(&self.members, nick.key());
                Message::IsBannedUnmet(nick.as_str(), time, other)
            }
        };
        self.outbox.send(by, done);
        has_room.then_some(meant)
    }

    /// Answers `done`, or that there was no room for one more.
    pub(crate) fn answer_sanction(&mut self, by: ClientId, has_room: bool, done: Message<'_>) {
        let too_many = Message::TooManySanctions(MAX_ENTRIES);
        self.outbox.send(by, if has_room { done } else { too_many });
    }

    /// Lifts the ban of a name. Returns whether there was one.
    pub(crate) fn unban_name(&mut self, name: &str, now: Moment) -> bool {
        let Some(mut typed) = self.members.typed(name) else {
            return false;
        };
        let hash = self.members.hash_of(&mut typed);
        self.banned.remove_if(now, |it| it.name.is_alike(hash))
    }

    /// Mutes a member. Returns whether that was done.
    pub(crate) fn mute(
        &mut self,
        by: ClientId,
        name: CleanText<'_>,
        time: Option<Duration>,
        now: Moment,
    ) -> bool {
        let Some(id) = self.meant_other(by, name, now) else {
            return false;
        };
        let member = self.members.get(id);
        let Some(member) = member else {
            return false;
        };
        let (nick, name) = (member.nick.clone(), self.members.hash_of_member(member));
        self.muted.remove_if(now, |it| it.is_same(name));
        let has_room = self.muted.add(name, time, now);
        self.is_watched = true;
        self.answer_sanction(by, has_room, Message::IsMuted(&nick, time));
        if has_room && self.members.person(id).is_some() {
            self.outbox.send(id, Message::YouAreMuted(time));
        }
        has_room
    }

    /// Tells an operator that a member is muted, and for how long.
    pub(super) fn tell_mute(&mut self, by: ClientId, id: ClientId, now: Moment) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let name = member.name;
        if let Some(left) = self.muted.time_left(now, |it| it.is_alike(name)) {
            self.outbox.send(by, Message::IsMuted(&member.nick, left));
        }
    }

    /// Lifts the mute of a name, whose owner may have left. Returns whether there was one.
    pub(crate) fn unmute(&mut self, by: ClientId, name: CleanText<'_>, now: Moment) -> bool {
        if self.is_muted(by, now) {
            // Otherwise no operator could be muted.
            self.outbox.send(by, Message::MutedOperator);
            return false;
        }
        let Some(mut typed) = self.members.typed(name.as_str()) else {
            self.outbox.send(by, Message::Nobody(name.as_str()));
            return false;
        };
        let former = self.members.hash_of(&mut typed);
        if self.muted.remove_if(now, |it| it.is_alike(former)) {
            let done = Message::IsNoLongerMuted(name.as_str());
            self.outbox.send(by, done);
            let alike: Vec<ClientId> = self.members.alike(former).collect();
            alike.into_iter().for_each(|id| self.tell_unmuted(id, now));
            return true;
        }
        let Some(id) = self.meant_by(by, &mut typed, now) else {
            return false;
        };
        let member = self.members.get(id);
        let Some((name, nick)) = member.map(|it| (it.name, it.nick.clone())) else {
            return false;
        };
        let was_muted = self.muted.remove_if(now, |it| it.is_alike(name));
        if was_muted {
            let done = Message::IsNoLongerMuted(nick.as_str());
            self.outbox.send(by, done);
            self.tell_unmuted(id, now);
        } else {
            self.outbox.send(by, Message::IsNotMuted(nick.as_str()));
        }
        was_muted
    }

    fn tell_unmuted(&mut self, id: ClientId, now: Moment) {
        if self.members.person(id).is_some() && !self.is_muted(id, now) {
            self.outbox.send(id, Message::YouAreNoLongerMuted);
        }
    }

    /// An operator says something as the server, to all other people. Returns how much every reader
    /// gets of it, in bytes.
    pub(crate) fn announce(&mut self, by: ClientId, text: CleanText<'_>) -> usize {
        let Some(member) = self.members.get(by) else {
            return 0;
        };
        let (speaker, nick) = (member.speaker(by), member.nick.clone());
        self.say_as(speaker, Kind::Notice, Message::Announcement(&nick, text))
    }
}

/// Returns the nick of the only member whose name begins with this key.
fn only_beginning<'m>(members: &'m Members, key: &str) -> Option<&'m Nick> {
    let mut beginning = members.beginning_with(key);
    let only = beginning.next().filter(|_| beginning.len() == 0)?;
    Some(&members.get(only)?.nick)
}
