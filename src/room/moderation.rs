//! What an operator can do in the room: close a member, keep a name out, and hide what a member says.
//! Names are banned and muted, not connections, so joining again under the same name does not help.
//! Against other names there are bans of addresses and users, which are not part of the room.

use std::time::Duration;

use crate::broadcast::batch::Kind;
use crate::broadcast::outbox::EntryKind;
use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::peer::{Origin, Peer, PeerSet};
use crate::protocol::message::Message;
use crate::room::history::Author;
use crate::room::members::{Member, Members};
use crate::room::sanction::{BannedNick, Muted, Order, Sanction};
use crate::room::{Room, keep};
use crate::text::CleanText;
use crate::text::alike::NameHash;
use crate::text::nick::Nick;
use crate::time::expiring_set::{ExpiringSet, MAX_ENTRIES};
use crate::time::moment::Moment;

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

    pub(super) fn tell_other_operators<'a>(
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

    /// Bans a name and all names that are like it for a time. Returns the members that have such a name
    /// now, or `None` if it is not banned. A name is not completed here: the intended member may have left
    /// already, and another member's name may begin with it.
    pub(crate) fn ban_name(
        &mut self,
        by: ClientId,
        name: &str,
        order: Order<'_>,
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
        let meant: Vec<ClientId> = self.members.alike(name).collect();
        if meant.contains(&by) {
            self.outbox.send(by, Message::ThatIsYou);
            return None;
        }
        self.banned.remove_if(now, |it| it.whom.name.is_same(name));
        let banned = BannedNick {
            name,
            nick: nick.clone(),
        };
        let ban = Sanction::new(banned, self.nick_of(by), order.why);
        if !self.banned.add(ban, order.time, now) {
            self.outbox.send(by, Message::TooManySanctions(MAX_ENTRIES));
            return None;
        }
        let is_meant = |author: &Author| author.identity.name.is_alike(name);
        self.history.forget(is_meant);
        let (nick, time) = (&nick, order.time);
        self.outbox.send(
            by,
            match meant.is_empty() {
                false => Message::IsBanned(nick.as_str(), time),
                true => {
                    let other = only_beginning(&self.members, nick.key());
                    Message::IsBannedUnmet(nick.as_str(), time, other)
                }
            },
        );
        Some(meant)
    }

    /// The reason, perhaps none, for which the name of a member is banned.
    pub(crate) fn why_banned(&self, id: ClientId, now: Moment) -> Option<&str> {
        let name = self.members.hash_of_member(self.members.get(id)?);
        let ban = self.banned.find(now, |it| it.whom.name.is_alike(name))?;
        Some(&*ban.why)
    }

    /// Lists the names that are banned. Returns whether there are any.
    pub(crate) fn list_banned(&mut self, id: ClientId, now: Moment) -> bool {
        let mut any = false;
        for (ban, time) in self.banned.entries(now) {
            any = true;
            let whom = ban.whom.nick.as_str();
            self.outbox.send(id, Message::Ban(whom, ban.terms(time)));
        }
        any
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
        self.banned.remove_if(now, |it| it.whom.name.is_alike(hash))
    }

    /// Mutes a member. Returns which one, or `None` if it is not muted.
    pub(crate) fn mute(
        &mut self,
        by: ClientId,
        name: CleanText<'_>,
        order: Order<'_>,
        now: Moment,
    ) -> Option<ClientId> {
        let id = self.meant_other(by, name, now)?;
        let member = self.members.get(id)?;
        let (nick, name) = (member.nick.clone(), self.members.hash_of_member(member));
        self.muted.remove_if(now, |it| it.whom.is_same(name));
        let whom = Muted::Name {
            name,
            nick: nick.as_str().into(),
            left: None,
        };
        self.add_mute(by, whom, nick.as_str(), order, now)
            .then_some(id)
    }

    /// Mutes everybody who comes from these peers. Returns whether that was done.
    pub(crate) fn mute_peers(
        &mut self,
        by: ClientId,
        peers: PeerSet,
        text: &str,
        order: Order<'_>,
        now: Moment,
    ) -> bool {
        self.add_mute(by, Muted::Peers(peers), text, order, now)
    }

    fn add_mute(
        &mut self,
        by: ClientId,
        whom: Muted,
        text: &str,
        order: Order<'_>,
        now: Moment,
    ) -> bool {
        let is_meant = |person: &(ClientId, NameHash, Peer)| {
            let (_, name, from) = person;
            whom.is_for(*name, Some(from))
                && !self.is_muted_longer(&whom, (*name, from), order.time, now)
        };
        let meant: Vec<_> = self.members.people().filter(is_meant).collect();
        let mute = Sanction::new(whom, self.nick_of(by), order.why);
        let has_room = self.muted.add(mute, order.time, now);
        self.is_watched = true;
        self.answer_sanction(by, has_room, Message::IsMuted(text, order.time));
        if has_room {
            let told = Message::YouAreMuted(order.time, order.why.as_str());
            meant
                .iter()
                .for_each(|&(id, ..)| self.outbox.send(id, told));
        }
        has_room
    }

    /// Whether a member is under another mute than this one that ends no sooner than in `time`. If it is, the
    /// new one changes nothing for it, and it would take the shorter time for its own.
    fn is_muted_longer(
        &self,
        whom: &Muted,
        (name, from): (NameHash, &Peer),
        time: Option<Duration>,
        now: Moment,
    ) -> bool {
        let mut mutes = find_mutes(&self.muted, name, Some(from), now);
        mutes.any(|(mute, left)| {
            let is_longer = left.is_none_or(|left| time.is_some_and(|time| time <= left));
            is_longer && mute.whom != *whom
        })
    }

    /// Lists the mutes that are in force.
    pub(crate) fn list_muted(&mut self, id: ClientId, now: Moment) {
        let mut any = false;
        for (mute, time) in self.muted.entries(now) {
            any = true;
            let peers;
            let whom = match &mute.whom {
                Muted::Name { nick, .. } => nick,
                Muted::Peers(it) => {
                    peers = it.in_short();
                    &*peers
                }
            };
            self.outbox.send(id, Message::Mute(whom, mute.terms(time)));
        }
        if !any {
            self.outbox.send(id, Message::NobodyIsMuted);
        }
    }

    /// Tells an operator of each mute that a member is under, by its name or by where it comes from.
    pub(super) fn tell_mutes(&mut self, by: ClientId, id: ClientId, from: &Peer, now: Moment) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        for (mute, time) in find_mutes(&self.muted, member.name, Some(from), now) {
            let whom = member.nick.as_str();
            let message = Message::Mute(whom, mute.terms(time));
            self.outbox.send(by, message);
        }
    }

    /// Whether a member that is connected from this peer is muted.
    pub(super) fn is_muted_at(&self, id: ClientId, from: Option<&Peer>, now: Moment) -> bool {
        if self.muted.is_empty() {
            return false;
        }
        let name = self.members.get(id).map(|member| member.name);
        name.is_some_and(|name| {
            let mut mutes = find_mutes(&self.muted, name, from, now);
            mutes.next().is_some()
        })
    }

    /// A member has left that may be muted. If it is, a newcomer from the same address takes the mute over.
    pub(super) fn keep_muted(&mut self, name: NameHash, from: &Peer, now: Moment) {
        if self.muted.is_empty() || from.is_exempt() {
            return;
        }
        for (mute, _) in self.muted.entries_mut(now) {
            if let Muted::Name {
                name: muted, left, ..
            } = &mut mute.whom
                && muted.is_alike(name)
            {
                *left = Some((from.origin(), now));
            }
        }
    }

    /// A member has joined that was no member before. It takes over the mute of its name, or else of the one
    /// who left first of those whose mutes wait for somebody of its address.
    pub(super) fn mute_newcomer(&mut self, id: ClientId, from: &Peer, now: Moment) {
        if !self.muted.is_empty() && !self.take_mute(id, Some(from.origin()), now) {
            self.tell_if_muted(id, now);
        }
    }

    /// Somebody is back that was connected from another place, perhaps. It brings the mute of its name. If it
    /// was muted because of that place, it is muted by its name now, if there is room for one more mute.
    pub(super) fn mute_again(&mut self, id: ClientId, was_from: &Peer, now: Moment) {
        if self.take_mute(id, None, now) || self.tell_if_muted(id, now) {
            return;
        }
        let Some(member) = self.members.get(id) else {
            return;
        };
        let first = find_mutes(&self.muted, member.name, Some(was_from), now).next();
        let Some((mute, time)) = first else {
            return;
        };
        let whom = Muted::Name {
            name: self.members.hash_of_member(member),
            nick: member.nick.as_str().into(),
            left: None,
        };
        let why = mute.why.clone();
        let mute = Sanction::kept(whom, &mute.by, &why);
        if self.muted.add(mute, time, now) {
            self.outbox.send(id, Message::YouAreMuted(time, &why));
            self.note_sanction();
        }
    }

    /// A member takes over the mute of its name, or else the first one that waits for somebody from `origin`.
    /// Returns whether there is one.
    fn take_mute(&mut self, id: ClientId, origin: Option<Origin>, now: Moment) -> bool {
        if self.muted.is_empty() {
            return false;
        }
        let Some(member) = self.members.get(id) else {
            return false;
        };
        let (is_person, nick) = (member.person.is_some(), member.nick.as_str());
        let new = self.members.hash_of_member(member);
        let mutes = self.muted.entries_mut(now);
        // `None` comes before every time: the mute of its own name is the first choice.
        let could_be_its = mutes.filter_map(|(mute, time)| {
            let left_at = match mute.whom.is_alike(new) {
                true => None,
                false => Some(mute.whom.left_at(origin?)?),
            };
            Some((left_at, mute, time))
        });
        let first = could_be_its.min_by_key(|&(left_at, ..)| left_at);
        let Some((_, mute, time)) = first else {
            return false;
        };
        mute.whom = Muted::Name {
            name: new,
            nick: nick.into(),
            left: None,
        };
        self.sanctions_version = self.sanctions_version.wrapping_add(1);
        if is_person {
            self.outbox.send(id, Message::YouAreMuted(time, &mute.why));
        }
        true
    }

    /// Tells a person that it is muted because of where it comes from. Returns whether it is.
    fn tell_if_muted(&mut self, id: ClientId, now: Moment) -> bool {
        let from = self.members.person(id).map(|person| &person.from);
        let (Some(member), Some(from)) = (self.members.get(id), from) else {
            return false;
        };
        let mut mutes = find_mutes(&self.muted, member.name, Some(from), now);
        let Some((mute, time)) = mutes.next() else {
            return false;
        };
        self.outbox.send(id, Message::YouAreMuted(time, &mute.why));
        true
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
        if self.muted.remove_if(now, |it| it.whom.is_alike(former)) {
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
        let was_muted = self.muted.remove_if(now, |it| it.whom.is_alike(name));
        if was_muted {
            let done = Message::IsNoLongerMuted(nick.as_str());
            self.outbox.send(by, done);
            self.tell_unmuted(id, now);
        } else {
            self.outbox.send(by, Message::IsNotMuted(nick.as_str()));
        }
        was_muted
    }

    /// Lifts the mute of peers. Returns whether there was one.
    pub(crate) fn unmute_peers(&mut self, peers: &PeerSet, now: Moment) -> bool {
        let people = self.members.people().map(|(id, ..)| id);
        let muted: Vec<ClientId> = people.filter(|&id| self.is_muted(id, now)).collect();
        let is_meant = |it: &Sanction<Muted>| matches!(&it.whom, Muted::Peers(it) if it == peers);
        let was_muted = self.muted.remove_if(now, is_meant);
        if was_muted {
            muted.into_iter().for_each(|id| self.tell_unmuted(id, now));
        }
        was_muted
    }

    fn tell_unmuted(&mut self, id: ClientId, now: Moment) {
        if self.members.person(id).is_some() && !self.is_muted(id, now) {
            self.outbox.send(id, Message::YouAreNoLongerMuted);
        }
    }

    /// An operator says something as the server, to all others, plain members too. Returns how much every
    /// reader gets of it, in bytes.
    pub(crate) fn announce(
        &mut self,
        by: ClientId,
        from: &Peer,
        text: CleanText<'_>,
        now: Moment,
    ) -> usize {
        if self.renames.has_fresh() {
            self.tell_renames();
        }
        self.members.set_spoken(by, true);
        let Some(member) = self.members.get(by) else {
            return 0;
        };
        let message = Message::Announcement(&member.nick, text);
        let (speaker, class) = (member.speaker(by), Class::Sparse);
        let kind = match member.is_right_to_left {
            true => Kind::AnnouncementToPeople,
            false => Kind::Announcement,
        };
        let line = self
            .batch
            .say(speaker, class, kind, |line| message.write(line));
        keep(&mut self.history, line, member, from, now);
        let said_bytes = line.len();
        if member.is_right_to_left {
            let message = Message::PlainAnnouncement(&member.nick, text);
            let kind = Kind::AnnouncementToScripts;
            self.batch
                .say(speaker, class, kind, |line| message.write(line));
        }
        let others = self.members.count_everywhere().saturating_sub(1);
        self.outbox.send(by, Message::Announced(others));
        said_bytes
    }

    /// Takes the lines of a member out of those that are kept, and of whoever had its name. Returns whether
    /// there were any.
    pub(crate) fn forget(&mut self, by: ClientId, name: CleanText<'_>, now: Moment) -> bool {
        let Some(mut typed) = self.members.typed(name.as_str()) else {
            self.outbox.send(by, Message::NothingOf(name.as_str()));
            return false;
        };
        let former = self.members.hash_of(&mut typed);
        let member = self.members.find(&mut typed, by, now).ok();
        let member = member.and_then(|id| self.members.get(id));
        let member = member.map(Member::identity);
        let forgotten = self.history.forget(|author| {
            let it = author.identity;
            it.name.is_alike(former) || member.is_some_and(|member| it.is(member))
        });
        self.outbox.send(
            by,
            match forgotten {
                0 => Message::NothingOf(name.as_str()),
                lines => Message::Forgotten(lines, name.as_str()),
            },
        );
        forgotten > 0
    }
}

/// The mutes of a member that has this name and is connected from this peer, and how much longer each lasts.
fn find_mutes<'m>(
    muted: &'m ExpiringSet<Sanction<Muted>>,
    name: NameHash,
    from: Option<&'m Peer>,
    now: Moment,
) -> impl Iterator<Item = (&'m Sanction<Muted>, Option<Duration>)> {
    let mutes = muted.entries(now);
    mutes.filter(move |(mute, _)| mute.whom.is_for(name, from))
}

/// Returns the nick of the only member whose name begins with this key.
fn only_beginning<'m>(members: &'m Members, key: &str) -> Option<&'m Nick> {
    let mut beginning = members.beginning_with(key);
    let only = beginning.next().filter(|_| beginning.len() == 0)?;
    Some(&members.get(only)?.nick)
}
