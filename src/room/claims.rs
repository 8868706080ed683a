//! Claims: a person who has asked for a token can come back over another connection as the same person, with
//! its name, its settings and the list of those whom it ignores. [`Claims`] knows the tokens, and what is kept
//! of people who have gone.
//!
//! | a person | its claim |
//! |---|---|
//! | asks for a token | is new; the token before it is void |
//! | loses its connection | is kept for ten minutes, with the person |
//! | quits, or is sent away by an operator | is void |
//! | is claimed while it is here | its connection is closed first, and it is kept as above |
//! | is claimed after it has gone | is used up: the newcomer is this person now |
//!
//! What is kept is bounded: at most 16 people of an address, of which the oldest makes room, and at most 1024
//! in all, which is less than 6 MB. It is freed when its time is over, also if nothing else happens then. No
//! name is reserved for anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::client_id::ClientId;
use crate::config::interactive::Profile;
use crate::peer::Peer;
use crate::protocol::claim_token::{Attempt, ClaimToken};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::Message;
use crate::room::members::Person;
use crate::room::{Refusal, Room};
use crate::text::alike::NameHash;
use crate::text::nick::{Nick, NickError};
use crate::time::moment::Moment;

/// How long somebody who has gone can come back.
const KEPT: Duration = Duration::from_secs(600);

/// How many people are kept of one address, and in all.
const MAX_OF_ORIGIN: usize = 16;
const MAX_KEPT: usize = 1024;

/// The claims, by the serial numbers of the people.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// The claims of members.
    present: BTreeMap<u64, Claim>,
    /// The claims of people who have gone.
    gone: BTreeMap<u64, (Claim, Gone)>,
    /// The serial numbers of both behind the hashes of their names, so that a wrong token is not compared with
    /// all.
    by_name: BTreeSet<(u64, u64)>,
    /// The connections of members who came back: others may know them by the number of the lost one.
    returned: BTreeMap<u64, ClientId>,
    /// When the first of those who have gone is forgotten, or earlier.
    next_end: Option<Moment>,
}

#[derive(Debug)]
struct Claim {
    token: ClaimToken,
    /// The hashes of the name that the person was told to type, and of the one that it has now.
    names: [u64; 2],
    /// The connection over which it is or was here.
    id: ClientId,
}

/// A person whose connection has ended, with what it gets back.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) nick: Nick,
    pub(super) person: Box<Person>,
    pub(super) has_voice: bool,
    /// The others were not told that it has gone.
    pub(super) is_secret: bool,
    expires_at: Moment,
}

/// What a name and a token stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// Nobody.
    Wrong,
    /// Somebody who is here, over this connection.
    Member(ClientId),
    /// Somebody who has gone, by its serial number.
    Gone(u64),
}

impl Claims {
    /// Gives a member a token, in place of the one that it may have.
    pub(super) fn add(&mut self, id: ClientId, serial: u64, name: NameHash, token: ClaimToken) {
        self.remove(serial);
        let name = name.number();
        let names = [name; 2];
        self.by_name.insert((name, serial));
        self.present.insert(serial, Claim { token, names, id });
    }

    /// A member has another name.
    pub(super) fn rename(&mut self, serial: u64, name: NameHash) {
        let Some(claim) = self.present.get_mut(&serial) else {
            return;
        };
        let [shown, now] = &mut claim.names;
        if now != shown {
            self.by_name.remove(&(*now, serial));
        }
        *now = name.number();
        self.by_name.insert((*now, serial));
    }

    /// A member has left for this reason. If it has a claim and may have lost its connection, it is kept.
    pub(super) fn leave(
        &mut self,
        (nick, has_voice): (&Nick, bool),
        person: Box<Person>,
        reason: CloseReason,
        now: Moment,
    ) {
        let serial = person.serial();
        self.returned.remove(&serial);
        if !self.present.contains_key(&serial) {
            return;
        }
        if !reason.may_be_lost() || !self.make_room(&person, now) {
            return self.remove(serial);
        }
        if let Some(claim) = self.present.remove(&serial) {
            let expires_at = now + KEPT;
            let gone = Gone {
                nick: nick.clone(),
                person,
                has_voice,
                is_secret: reason == CloseReason::Claimed,
                expires_at,
            };
            // Time only grows, so an end that is there is the earlier one.
            self.next_end.get_or_insert(expires_at);
            self.gone.insert(serial, (claim, gone));
        }
    }

    fn remove(&mut self, serial: u64) {
        let gone = || Some(self.gone.remove(&serial)?.0);
        if let Some(claim) = self.present.remove(&serial).or_else(gone) {
            for name in claim.names {
                self.by_name.remove(&(name, serial));
            }
        }
    }

    /// When somebody who has gone is to be [forgotten](Self::expire).
    pub(super) fn next_end(&self) -> Option<Moment> {
        self.next_end
    }

    /// Forgets those whose time is over.
    #[inline]
    pub(super) fn expire(&mut self, now: Moment) {
        if self.next_end.is_some_and(|at| at <= now) {
            self.forget_expired(now);
        }
    }

    #[cold]
    fn forget_expired(&mut self, now: Moment) {
        let gone = self.gone.iter();
        let expired = gone.filter(|(_, (_, gone))| gone.expires_at <= now);
        let expired: Vec<u64> = expired.map(|(&serial, _)| serial).collect();
        expired.into_iter().for_each(|serial| self.remove(serial));
        self.next_end = self.gone.values().map(|(_, gone)| gone.expires_at).min();
    }

    /// Makes room for one more person who has gone. Returns whether there is room.
    fn make_room(&mut self, new: &Person, now: Moment) -> bool {
        self.expire(now);
        let origin = new.from.origin();
        let gone = self.gone.iter().map(|(&serial, (_, gone))| (serial, gone));
        let own = gone.filter(|(_, gone)| gone.person.from.origin() == origin);
        if own.clone().count() < MAX_OF_ORIGIN {
            return self.gone.len() < MAX_KEPT;
        }
        if let Some((oldest, _)) = own.min_by_key(|(_, gone)| gone.expires_at) {
            self.remove(oldest);
        }
        true
    }

    /// Returns whose name and token these are.
    pub(super) fn find(&self, name: NameHash, token: &ClaimToken, now: Moment) -> Claimed {
        let name = name.number();
        let named = self.by_name.range((name, 0)..=(name, u64::MAX));
        let mut found = named.filter_map(|&(_, serial)| {
            if let Some(claim) = self.present.get(&serial) {
                let it = Claimed::Member(claim.id);
                return claim.token.matches(token).then_some(it);
            }
            let (claim, gone) = self.gone.get(&serial)?;
            let is_it = claim.token.matches(token) && now < gone.expires_at;
            is_it.then_some(Claimed::Gone(serial))
        });
        found.next().unwrap_or(Claimed::Wrong)
    }

    /// The nick of somebody who has gone.
    pub(super) fn nick_of(&self, serial: u64) -> Option<&Nick> {
        Some(&self.gone.get(&serial)?.1.nick)
    }

    /// Somebody who had gone is back over this connection. Its claim is used up.
    pub(super) fn take(&mut self, serial: u64, id: ClientId) -> Option<Gone> {
        let (claim, gone) = self.gone.remove(&serial)?;
        for name in claim.names {
            self.by_name.remove(&(name, serial));
        }
        self.returned.insert(serial, id);
        Some(gone)
    }

    /// The connection of a person who came back and is still here.
    pub(super) fn returned(&self, serial: u64) -> Option<ClientId> {
        self.returned.get(&serial).copied()
    }
}

impl Room {
    /// Gives a person a token with which it can come back.
    pub(crate) fn give_claim(&mut self, id: ClientId, token: ClaimToken) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        self.claims.add(id, member.serial(), member.name, token);
        let message = Message::YourClaim(&member.nick, &token);
        self.outbox.send(id, message);
    }

    /// A member has another name.
    pub(super) fn rename_claim(&mut self, id: ClientId) {
        if let Some(member) = self.members.get(id) {
            self.claims.rename(member.serial(), member.name);
        }
    }

    /// Returns who is claimed.
    pub(crate) fn claimed(&mut self, attempt: &Attempt<'_>, now: Moment) -> Claimed {
        let nick = Nick::parse(attempt.name, self.max_nick_chars);
        let (Ok(nick), Some(token)) = (nick, &attempt.token) else {
            return Claimed::Wrong;
        };
        let name = self.members.hash_for_member(&nick);
        self.claims.find(name, token, now)
    }

    /// Makes a client the person of this serial number, who has gone, unless somebody else has its name by now.
    pub(crate) fn come_back(
        &mut self,
        id: ClientId,
        from: &Peer,
        serial: u64,
        now: Moment,
    ) -> Result<(), Refusal> {
        let nick = self.claims.nick_of(serial).cloned();
        let nick = nick.ok_or(NickError::WrongToken)?;
        let (nick, name) = self.allow(nick, now)?;
        let added = self.try_add(id, from, (nick, name), Profile::Interactive, now);
        added.map_err(|refusal| self.with_free(refusal, id, now))?;
        let Some(gone) = self.claims.take(serial, id) else {
            return Ok(());
        };
        let (was_from, was_operator) = (gone.person.from, gone.person.is_operator);
        let is_secret = gone.is_secret;
        self.members.restore(id, gone);
        match is_secret {
            true => {
                if was_operator {
                    self.tell_other_operators(id, Message::IsNoOperator);
                }
                self.share_return(id);
            }
            false => self.announce_join(id, from, now),
        }
        self.replay(id, self.lines_shown, now, |_| true);
        self.welcome(id, true);
        self.mute_again(id, &was_from, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::alike::NameHasher;

    fn token(n: u8) -> ClaimToken {
        ClaimToken::new([n; 16])
    }

    struct Table {
        claims: Claims,
        hasher: NameHasher,
        now: Moment,
    }

    impl Table {
        fn new() -> Self {
            Self {
                claims: Claims::default(),
                hasher: NameHasher::default(),
                now: Moment::BEGINNING,
            }
        }

        fn name(&self, name: &str) -> NameHash {
            self.hasher.hash_key(name)
        }

        fn add(&mut self, serial: u64, name: &str, n: u8) {
            let (id, name) = (ClientId::from_index(7), self.name(name));
            self.claims.add(id, serial, name, token(n));
        }

        fn leave(&mut self, serial: u64, uid: u32, reason: CloseReason) {
            let nick = Nick::parse(b"bob", 16).expect("a nick");
            let from = Peer::Local { uid, pid: 1 };
            let person = Box::new(Person::new(serial, from, self.now));
            self.claims.leave((&nick, false), person, reason, self.now);
        }

        fn find(&self, name: &str, n: u8) -> Claimed {
            self.claims.find(self.name(name), &token(n), self.now)
        }
    }

    #[test]
    fn a_claim_goes_by_either_name_and_by_the_last_token() {
        let mut table = Table::new();
        table.add(1, "bob", 1);
        let here = Claimed::Member(ClientId::from_index(7));
        assert_eq!(table.find("bob", 1), here);
        assert_eq!(table.find("bob", 2), Claimed::Wrong);
        assert_eq!(table.find("alice", 1), Claimed::Wrong);
        table.claims.rename(1, table.name("robert"));
        assert_eq!(table.find("bob", 1), here);
        assert_eq!(table.find("robert", 1), here);
        table.add(1, "robert", 2);
        assert_eq!(table.find("robert", 1), Claimed::Wrong);
        assert_eq!(table.find("bob", 2), Claimed::Wrong);
        assert_eq!(table.find("robert", 2), here);
        // Somebody else took the old name, and asked as well.
        table.add(2, "bob", 3);
        assert_eq!(table.find("bob", 3), here);
    }

    #[test]
    fn whoever_has_gone_is_kept_for_ten_minutes_and_used_once() {
        for reason in CloseReason::ALL {
            let mut table = Table::new();
            table.add(1, "bob", 1);
            table.leave(1, 5, reason);
            let is_kept = table.find("bob", 1) == Claimed::Gone(1);
            assert_eq!(is_kept, reason.may_be_lost(), "{reason}");
        }
        let mut table = Table::new();
        table.add(1, "bob", 1);
        table.leave(1, 5, CloseReason::Broken);
        table.now = table.now + (KEPT - Duration::from_nanos(1));
        assert_eq!(table.find("bob", 1), Claimed::Gone(1));
        let gone = table.claims.take(1, ClientId::from_index(9));
        assert!(gone.is_some_and(|gone| !gone.is_secret));
        assert_eq!(table.find("bob", 1), Claimed::Wrong);
        assert_eq!(table.claims.returned(1), Some(ClientId::from_index(9)));
        table.leave(1, 5, CloseReason::Broken);
        assert_eq!(table.claims.returned(1), None);
        assert!(table.claims.by_name.is_empty());
        table.add(2, "bob", 2);
        table.leave(2, 5, CloseReason::Broken);
        table.now = table.now + KEPT;
        assert_eq!(table.find("bob", 2), Claimed::Wrong);
    }

    #[test]
    fn nothing_is_left_of_whoever_has_gone_when_its_time_is_over() {
        let mut table = Table::new();
        let end = |table: &Table| table.claims.next_end();
        assert_eq!(end(&table), None);
        table.add(1, "bob", 1);
        table.leave(1, 5, CloseReason::Broken);
        let first = table.now + KEPT;
        table.now = table.now + Duration::from_secs(7);
        table.add(2, "eve", 2);
        table.leave(2, 5, CloseReason::Broken);
        let second = table.now + KEPT;
        assert_eq!(end(&table), Some(first));
        table.claims.expire(table.now);
        assert_eq!(table.claims.gone.len(), 2, "too early");
        table.claims.expire(first);
        assert_eq!(table.claims.gone.keys().collect::<Vec<_>>(), [&2]);
        assert_eq!(end(&table), Some(second));
        table.claims.expire(second);
        assert_eq!(end(&table), None);
        assert!(table.claims.gone.is_empty() && table.claims.by_name.is_empty());
    }

    #[test]
    fn an_address_keeps_16_and_all_together_1024() {
        let mut table = Table::new();
        for serial in 1..=17 {
            table.add(serial, "bob", u8::try_from(serial).expect("a byte"));
            table.leave(serial, 5, CloseReason::HungUp);
            table.now = table.now + Duration::from_secs(1);
        }
        assert_eq!(table.find("bob", 1), Claimed::Wrong, "the oldest");
        assert_eq!(table.find("bob", 2), Claimed::Gone(2));
        assert_eq!(table.find("bob", 17), Claimed::Gone(17));
        for uid in 1000..2008 {
            table.add(uid.into(), "eve", 0);
            table.leave(uid.into(), uid, CloseReason::HungUp);
        }
        assert_eq!(table.claims.gone.len(), MAX_KEPT);
        table.add(3000, "dora", 99);
        table.leave(3000, 3000, CloseReason::HungUp);
        assert_eq!(table.find("dora", 99), Claimed::Wrong, "no room");
        // The others of an address that has its share may still come and go.
        table.add(3001, "bob", 98);
        table.leave(3001, 5, CloseReason::HungUp);
        assert_eq!(table.find("bob", 98), Claimed::Gone(3001));
        table.now = table.now + KEPT;
        table.add(3002, "dora", 99);
        table.leave(3002, 3000, CloseReason::HungUp);
        assert_eq!(table.find("dora", 99), Claimed::Gone(3002));
        assert_eq!(table.claims.gone.len(), 1);
    }
}
