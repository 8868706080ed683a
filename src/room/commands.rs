//! What a person can ask of the room besides talking in it: who is here, another name, a private word
//! with one of the others, and not to see some of them. The room decides what comes of it; whoever
//! asked, and whoever else is concerned, is told by way of the [outbox](crate::broadcast::outbox).

use std::time::Duration;

use crate::broadcast::outbox::EntryKind;
use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::peer::Peer;
use crate::protocol::message::{Link, Listed, Message, Names, Whois};
use crate::room::members::{Member, NotFound, Partner, Person, TypedName};
use crate::room::{MAX_NAMED, Refusal, Room};
use crate::text::CleanText;
use crate::text::alike::Identity;
use crate::text::nick::{Nick, NickError};
use crate::time::moment::Moment;

/// How many members are named in one answer to `/who`; the others are counted.
const MAX_LISTED: usize = 5 * MAX_NAMED;

/// A nick that a member asked for and has.
#[derive(Debug)]
pub(crate) struct NewNick {
    pub(crate) old: Nick,
    pub(crate) is_another: bool,
    /// How much every reader gets of it, in bytes.
    pub(crate) said_bytes: usize,
}

impl Room {
    fn answer(&mut self, id: ClientId, message: Message<'_>) {
        self.outbox.send(id, message);
    }

    pub(crate) fn who(&mut self, id: ClientId, name: CleanText<'_>) {
        let (some, more) = self.members.listed_beginning(name.as_str(), MAX_LISTED);
        let elsewhere = self.count_elsewhere(name.as_str());
        let listed = Listed {
            some: &some,
            more,
            elsewhere,
        };
        self.outbox.send(id, Message::Who(name.as_str(), listed));
    }

    /// Writes who is here, for a client that is no member yet.
    pub(crate) fn write_who(&self, line: &mut Vec<u8>) {
        let (some, more) = self.members.listed_beginning("", MAX_LISTED);
        let elsewhere = self.count_elsewhere("");
        let listed = Listed {
            some: &some,
            more,
            elsewhere,
        };
        Message::Who("", listed).write(line);
    }

    /// How many of those whose names begin with this are connected to other servers.
    fn count_elsewhere(&self, name: &str) -> usize {
        let elsewhere = self.members.elsewhere();
        match elsewhere.len() {
            0 => 0,
            all if name.is_empty() => all,
            _ => {
                let beginning = self.members.beginning(name);
                beginning
                    .filter(|id| id.place_elsewhere().is_some())
                    .count()
            }
        }
    }

    /// Tells a member about another one that has sent nothing for some time, and an operator also where it
    /// comes from and what is in force against it.
    pub(crate) fn tell_whois(
        &mut self,
        to: ClientId,
        id: ClientId,
        silent_for: Duration,
        (peer, link): (Peer, Link),
        now: Moment,
    ) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let person = member.person.as_deref();
        let whois = Whois {
            nick: &member.nick,
            here_for: person.map(|person| now.saturating_since(person.since)),
            silent_for,
            link,
            is_operator: person.is_some_and(|person| person.is_operator),
            away: person.and_then(Person::away),
        };
        self.outbox.send(to, Message::Whois(whois));
        if self.is_operator(to) {
            self.outbox.send(to, Message::ComesFrom(&member.nick, peer));
            self.tell_mutes(to, id, &peer, now);
        }
    }

    /// The member that a person means by a name. The person is told if that is nobody, or not certain.
    pub(crate) fn meant(
        &mut self,
        id: ClientId,
        name: CleanText<'_>,
        now: Moment,
    ) -> Option<ClientId> {
        let name = name.as_str();
        let Some(mut typed) = self.members.typed(name) else {
            return match bare_name(name).and_then(|bare| self.members.typed(bare)) {
                Some(mut typed) => self.meant_by(id, &mut typed, now),
                None => {
                    self.answer(id, Message::Nobody(name));
                    None
                }
            };
        };
        if let Some(bare) = bare_name(name)
            && self.members.find(&mut typed, id, now) == Err(NotFound::Nobody)
            && let Some(mut typed) = self.members.typed(bare)
        {
            return self.meant_by(id, &mut typed, now);
        }
        self.meant_by(id, &mut typed, now)
    }

    /// As [`meant`](Self::meant), by a name whose key was made.
    pub(super) fn meant_by(
        &mut self,
        id: ClientId,
        typed: &mut TypedName<'_>,
        now: Moment,
    ) -> Option<ClientId> {
        let (name, found) = (typed.text(), self.members.find(typed, id, now));
        let nick = |id| Some(&self.members.get(id)?.nick);
        match found {
            Ok(meant) => return Some(meant),
            Err(NotFound::Nobody) => self.outbox.send(id, Message::Nobody(name)),
            Err(NotFound::HasLeft(other)) => {
                let message = Message::HasLeftAlready(name, nick(other)?);
                self.outbox.send(id, message);
            }
            Err(NotFound::MayHaveLeft(other)) => {
                let message = Message::MayHaveLeft(name, nick(other)?);
                self.outbox.send(id, message);
            }
            Err(NotFound::Several(candidates)) => {
                let some = self.members.named(candidates.some.into_iter());
                let more = candidates.count.saturating_sub(some.len());
                let names = Names { some: &some, more };
                self.outbox.send(id, Message::Several(name, names));
            }
        }
        None
    }

    /// The member that a person means by a name, if that is another one. The person is told if it is
    /// not.
    pub(crate) fn meant_other(
        &mut self,
        id: ClientId,
        name: CleanText<'_>,
        now: Moment,
    ) -> Option<ClientId> {
        let meant = self.meant(id, name, now)?;
        if meant == id {
            self.answer(id, Message::ThatIsYou);
            return None;
        }
        Some(meant)
    }

    /// A member that is connected from this peer asks for another nick. It is answered if it gets it.
    pub(crate) fn rename(
        &mut self,
        id: ClientId,
        from: &Peer,
        name: CleanText<'_>,
        now: Moment,
    ) -> Result<NewNick, Refusal> {
        let renamed = self.try_rename(id, from, name, now);
        if renamed.is_err() {
            self.unclaim(id);
        }
        renamed
    }

    fn try_rename(
        &mut self,
        id: ClientId,
        from: &Peer,
        name: CleanText<'_>,
        now: Moment,
    ) -> Result<NewNick, Refusal> {
        if let Some((nick, wait)) = self.rename_wait(id, now) {
            // It may have asked before the room was one with other servers.
            self.unclaim(id);
            self.answer(id, Message::RenamesTooOften { wait });
            return Ok(NewNick {
                old: nick,
                is_another: false,
                said_bytes: 0,
            });
        }
        let (new, name) = self.nick(name.as_str().as_bytes(), now)?;
        self.take_answer(id, &new)?;
        let old = self.members.get(id).map_or(&new, |it| &it.nick).clone();
        let origin = from.origin();
        let renamed = self.members.rename(id, new.clone(), name, origin, now);
        renamed.map_err(|taken| self.with_free(taken.into(), id, now))?;
        self.rename_claim(id);
        self.answer(id, Message::YouAreNow(&new));
        let is_another = old != new;
        let said_bytes = match is_another {
            true => self.announce_rename(id, from, &old, now),
            false => 0,
        };
        Ok(NewNick {
            old,
            is_another,
            said_bytes,
        })
    }

    /// The nick of a member that has changed it too often, and how long it has to keep it.
    pub(super) fn rename_wait(&mut self, id: ClientId, now: Moment) -> Option<(Nick, Duration)> {
        let member = self.members.get(id)?;
        let wait = self.renames.wait(member.serial(), now)?;
        Some((member.nick.clone(), wait))
    }

    /// Tells a member why it cannot have the nick that it asked for.
    pub(crate) fn refuse_nick(&mut self, id: ClientId, why: &NickError) {
        self.answer(id, Message::NoSuchNick(why));
    }

    /// A person tells another something. Returns whether the other one gets it.
    pub(crate) fn tell(
        &mut self,
        id: ClientId,
        to: ClientId,
        text: CleanText<'_>,
        class: Class,
    ) -> bool {
        let Some(other) = self.members.get(to) else {
            return false;
        };
        if other.person.is_none() {
            self.outbox.send(id, Message::IsPlain(&other.nick));
            return false;
        }
        if to.place_elsewhere().is_some() {
            return self.tell_elsewhere(id, to, text);
        }
        self.outbox.send(id, Message::YouTell(&other.nick, text));
        self.deliver_words((id, None), to, text, class)
    }

    /// A person here gets what another one tells it in private; the other one is a member, or somebody of whom nothing
    /// is known but the name. Returns whether it does.
    pub(super) fn deliver_words(
        &mut self,
        (id, stranger): (ClientId, Option<&Member>),
        to: ClientId,
        text: CleanText<'_>,
        class: Class,
    ) -> bool {
        let by = self.members.get(id).or(stranger);
        let (Some(by), Some(other)) = (by, self.members.get(to)) else {
            return false;
        };
        let Some(person) = other.person.as_ref() else {
            return false;
        };
        if person.ignores(by.identity()) {
            // An ignored member is not told, or it would come back under another name.
            return false;
        }
        let nick = by.nick.as_str().into();
        let words = Message::Tells(&by.nick, text);
        let before = self.before_word(person);
        self.outbox
            .push_behind(before, to, EntryKind::Words(class), words);
        if let Some(why) = person.away() {
            self.outbox.send(id, Message::IsAway(&other.nick, why));
        }
        let serial = by.identity().serial;
        if let Some(person) = self.members.person_mut(to) {
            person.told_by = Some(Partner { id, serial, nick });
        }
        true
    }

    /// The member that last told this one something in private. It is told if there is none.
    pub(crate) fn told_by(&mut self, id: ClientId) -> Option<ClientId> {
        let person = self.members.person(id);
        let Some(partner) = person.and_then(|person| person.told_by.as_ref()) else {
            self.answer(id, Message::NobodyToldYou);
            return None;
        };
        let at = self.claims.returned(partner.serial).unwrap_or(partner.id);
        let member = self.members.get(at);
        if member.is_some_and(|member| member.identity().serial == partner.serial) {
            return Some(at);
        }
        self.outbox.send(id, Message::PartnerHasLeft(&partner.nick));
        None
    }

    /// Hides a member from a person. Without a name, lists the members that are hidden.
    pub(crate) fn ignore(&mut self, id: ClientId, name: CleanText<'_>, now: Moment) {
        if name.as_str().is_empty() {
            return self.list_ignored(id);
        }
        let Some(meant) = self.meant_other(id, name, now) else {
            return;
        };
        let Some(member) = self.members.get(meant) else {
            return;
        };
        let (mut whom, nick) = (member.identity(), member.nick.clone());
        whom.name = self.members.hash_of_member(member);
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
    pub(crate) fn unignore(&mut self, id: ClientId, name: CleanText<'_>, now: Moment) {
        let Some(mut typed) = self.members.typed(name.as_str()) else {
            return self.answer(id, Message::YouDoNotIgnore(name.as_str()));
        };
        let former = self.members.hash_of(&mut typed);
        let member = self.members.find(&mut typed, id, now).ok();
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
            Some((whom, nick)) => {
                let now = self.members.person_of(whom.serial).map(|it| &it.nick);
                let now = now.filter(|now| now.as_str() != &*nick);
                self.outbox.send(id, Message::YouHearAgain(&nick, now));
            }
            None => self.answer(id, Message::YouDoNotIgnore(name.as_str())),
        }
    }
}

/// The name in a word by which people address somebody: `@oz`, `oz:` or `oz,`. `None` if the word has nothing
/// of that.
fn bare_name(word: &str) -> Option<&str> {
    let name = word.strip_prefix('@').unwrap_or(word);
    let name = name.trim_end_matches([':', ',']);
    (name != word && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::interactive::Profile;
    use crate::room::sanction::Order;
    use crate::text;
    use crate::text::alike::take_keys_made;

    const FROM: Peer = Peer::Local { uid: 1000, pid: 1 };

    const FOR_EVER: Order<'_> = Order {
        time: None,
        why: CleanText::EMPTY,
    };

    /// Runs what a person asks for with a name. Returns how many keys that made.
    fn keys_made(name: &str, ask: impl Fn(&mut Room, ClientId, CleanText<'_>, Moment)) -> usize {
        let (now, id) = (Moment::BEGINNING, ClientId::from_index(0));
        let mut room = Room::new(&Config::default());
        for (number, nick) in ["bob", "zo\u{eb}", "\u{fdfa}x"].into_iter().enumerate() {
            let id = ClientId::from_index(number);
            let joined = room.join(id, &FROM, nick.as_bytes(), Profile::Interactive, now);
            joined.expect("a free nick");
        }
        let mut scratch = String::new();
        let name = text::clean(name.as_bytes(), &mut scratch);
        take_keys_made();
        ask(&mut room, id, name, now);
        take_keys_made()
    }

    /// With the first name `/unignore` took 251 us, and a line 0.6.
    #[test]
    fn a_command_makes_one_key_at_most_and_none_of_what_is_too_long() {
        let long = "\u{fdfa}".repeat(32);
        for (name, keys) in [
            (&*long, 0),
            ("\u{fdfa}\u{fdfa}", 1),
            ("zo\u{eb}", 1),
            ("z\u{f6}", 1),
            ("\u{fdfa}", 1),
            ("\u{200b}", 1),
            ("bo", 0),
        ] {
            let made = [
                keys_made(name, |room, id, name, _| room.who(id, name)),
                keys_made(name, |room, id, name, now| {
                    room.meant_other(id, name, now);
                }),
                keys_made(name, Room::ignore),
                keys_made(name, Room::unignore),
                keys_made(name, |room, id, name, now| {
                    room.mute(id, name, FOR_EVER, now);
                }),
                keys_made(name, |room, id, name, now| {
                    room.unmute(id, name, now);
                }),
                keys_made(name, |room, id, name, now| {
                    room.ban_name(id, name.as_str(), FOR_EVER, now);
                }),
                keys_made(name, |room, _, name, now| {
                    room.unban_name(name.as_str(), now);
                }),
                keys_made(name, |room, id, name, now| {
                    let _ = room.rename(id, &FROM, name, now);
                }),
            ];
            assert_eq!(made, [keys; 9], "{name}");
        }
    }
}
