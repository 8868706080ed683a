//! The members by number, without gaps, and in the order of their names: [`Members`] finds a member in
//! each of these ways. Names are unique by their key, and a person finds another by the beginning of a
//! name, so they are kept sorted; what is sorted are numbers, so a name is held once. Where only
//! equality matters, and the member may have left, a hash stands for a name.
//!
//! What a delivery touches of a member is its [`Seat`]. Seats stand side by side, so a pass over all
//! readers walks through memory in order.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use crate::broadcast::batch::{Cursor, Kind, Segment, Speaker};
use crate::client_id::ClientId;
use crate::text::nick::{Identity, NameHash, Nick, NickError, key};

/// What the delivery of a line touches of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) id: ClientId,
    /// Some lines are not for this member, even of a batch that is for everybody: it has spoken in
    /// this batch, or it ignores somebody.
    pub(super) is_filtered: bool,
    /// What it has been given.
    pub(super) cursor: Cursor,
}

/// A client that has a nick.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) nick: Nick,
    pub(super) name: NameHash,
    /// What the room knows of a member at a prompt; `None` for a plain member.
    pub(super) person: Option<Box<Person>>,
    /// Where its seat is.
    seat: u32,
}

/// What a member at a prompt has asked for.
#[derive(Debug, Default)]
pub(super) struct Person {
    /// No two people have the same, ever, and nobody has 0.
    serial: u64,
    /// Whose lines are not shown to this one.
    pub(super) ignored: Vec<Ignored>,
    /// The member that last told this one something in private.
    pub(super) told_by: Option<Partner>,
    pub(super) is_operator: bool,
}

#[derive(Debug)]
pub(super) struct Ignored {
    pub(super) whom: Identity,
    pub(super) nick: Nick,
}

/// A person who may have left, and whose number may be another's by now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partner {
    pub(super) id: ClientId,
    pub(super) serial: u64,
}

/// Why a name means nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotFound {
    Nobody,
    /// More than one name begins with it; two of them.
    Several(ClientId, ClientId),
    /// The member that had it has left, and there is another whose name begins with it. That one may
    /// not be meant.
    HasLeft(ClientId),
}

impl Member {
    pub(super) fn identity(&self) -> Identity {
        Identity {
            name: self.name,
            serial: self.serial(),
        }
    }

    fn serial(&self) -> u64 {
        self.person.as_ref().map_or(0, |person| person.serial)
    }

    pub(super) fn speaker(&self, id: ClientId) -> Speaker {
        Speaker {
            id,
            identity: self.identity(),
        }
    }

    fn ignores_somebody(&self) -> bool {
        let person = self.person.as_ref();
        person.is_some_and(|person| !person.ignored.is_empty())
    }

    /// Whether these lines are not for this member.
    pub(super) fn is_hidden(&self, id: ClientId, segment: &Segment) -> bool {
        if segment.speaker.id == id {
            return true;
        }
        let Some(person) = &self.person else {
            return !matches!(segment.kind, Kind::Line | Kind::PlainAction);
        };
        match segment.kind {
            Kind::Notice => false,
            Kind::Line | Kind::Action => person.ignores(segment.speaker.identity),
            Kind::WordlessLeave => !person.ignores(segment.speaker.identity),
            Kind::PlainAction => true,
        }
    }
}

impl Person {
    /// Whether it sees nothing of what this one says.
    pub(super) fn ignores(&self, other: Identity) -> bool {
        self.ignored.iter().any(|it| it.whom.is(other))
    }
}

/// The most bytes of names on one line.
const MAX_NAMED_BYTES: usize = 4096;

/// How many names that were given up are remembered, and how many of one member's.
const MAX_GIVEN_UP: usize = 1024;
const MAX_GIVEN_UP_BY_ONE: usize = 4;

/// A name that a member had and has no longer.
#[derive(Debug, Clone, Copy)]
struct GivenUp {
    name: NameHash,
    /// The person who had it; 0 for a plain member, which has only one name.
    serial: u64,
}

/// The members.
#[derive(Debug)]
pub(crate) struct Members {
    /// No name is longer.
    max_nick_chars: usize,
    /// Each member under its client's number; `None` for a client that is no member.
    by_id: Vec<Option<Member>>,
    /// The seats of all members, in no particular order.
    seats: Vec<Seat>,
    /// The members in the order of their keys. Four bytes are enough for a number.
    by_name: Vec<u32>,
    hasher: RandomState,
    /// How many of them are people at a prompt.
    persons: usize,
    /// The serial number of the last person.
    last_serial: u64,
    /// Names that were given up, the latest first, where there are people who may still mean them.
    given_up: VecDeque<GivenUp>,
}

impl Members {
    pub(super) fn new(max_nick_chars: usize) -> Self {
        Self {
            max_nick_chars,
            by_id: Vec::new(),
            seats: Vec::new(),
            by_name: Vec::new(),
            hasher: RandomState::new(),
            persons: 0,
            last_serial: 0,
            given_up: VecDeque::new(),
        }
    }

    /// Adds a member, which has been given everything up to `cursor`.
    pub(super) fn add(
        &mut self,
        id: ClientId,
        nick: Nick,
        is_person: bool,
        cursor: Cursor,
    ) -> Result<(), NickError> {
        let key = nick.key();
        let Err(rank) = self.rank(key) else {
            return Err(NickError::Taken(nick));
        };
        self.by_name.insert(rank, number(id.index()));
        self.persons = self.persons.saturating_add(usize::from(is_person));
        self.last_serial = self.last_serial.wrapping_add(u64::from(is_person));
        let person = Person {
            serial: self.last_serial,
            ..Person::default()
        };
        let name = NameHash(self.hasher.hash_one(key));
        let member = Member {
            nick,
            name,
            person: is_person.then(|| Box::new(person)),
            seat: number(self.seats.len()),
        };
        self.seats.push(Seat {
            id,
            is_filtered: false,
            cursor,
        });
        if self.by_id.len() <= id.index() {
            self.by_id
                .resize_with(id.index().saturating_add(1), || None);
        }
        if let Some(slot) = self.by_id.get_mut(id.index()) {
            *slot = Some(member);
        }
        Ok(())
    }

    /// Removes a member; its nick is free at once. `None` if it was no member.
    pub(super) fn remove(&mut self, id: ClientId) -> Option<Member> {
        if let Some(Ok(rank)) = self.get(id).map(|member| self.rank(member.nick.key())) {
            self.by_name.remove(rank);
        }
        let member = self.by_id.get_mut(id.index())?.take()?;
        self.remember(member.name, member.serial());
        self.persons = self
            .persons
            .saturating_sub(usize::from(member.person.is_some()));
        self.seats.swap_remove(member.seat as usize);
        if let Some(moved) = self.seats.get(member.seat as usize).map(|seat| seat.id)
            && let Some(moved) = self.get_mut(moved)
        {
            moved.seat = member.seat;
        }
        Some(member)
    }

    /// Gives a member another nick, if nobody else has it.
    pub(super) fn rename(&mut self, id: ClientId, nick: Nick) -> Result<(), NickError> {
        let key = nick.key();
        if self.holder(&nick).is_some_and(|other| other != id) {
            return Err(NickError::Taken(nick));
        }
        if let Some(Ok(rank)) = self.get(id).map(|member| self.rank(member.nick.key())) {
            self.by_name.remove(rank);
        }
        if let Err(rank) = self.rank(key) {
            self.by_name.insert(rank, number(id.index()));
        }
        let name = NameHash(self.hasher.hash_one(key));
        if let Some(member) = self.get_mut(id) {
            member.nick = nick;
            let (old, serial) = (std::mem::replace(&mut member.name, name), member.serial());
            if old != name {
                self.remember(old, serial);
            }
        }
        Ok(())
    }

    /// Remembers a name that was given up. A member that changes its name again and again displaces
    /// only its own.
    fn remember(&mut self, name: NameHash, serial: u64) {
        if !self.has_persons() {
            return;
        }
        self.given_up.retain(|it| it.name != name);
        let all = self.given_up.iter().enumerate();
        let own = all.filter(|(_, it)| serial != 0 && it.serial == serial);
        if let Some((oldest, _)) = own.skip(MAX_GIVEN_UP_BY_ONE - 1).last() {
            self.given_up.remove(oldest);
        }
        self.given_up.truncate(MAX_GIVEN_UP - 1);
        self.given_up.push_front(GivenUp { name, serial });
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Member> {
        self.by_id.get(id.index())?.as_ref()
    }

    fn get_mut(&mut self, id: ClientId) -> Option<&mut Member> {
        self.by_id.get_mut(id.index())?.as_mut()
    }

    pub(super) fn person(&self, id: ClientId) -> Option<&Person> {
        self.get(id)?.person.as_deref()
    }

    pub(super) fn person_mut(&mut self, id: ClientId) -> Option<&mut Person> {
        self.get_mut(id)?.person.as_deref_mut()
    }

    /// How many members there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there is anybody at a prompt.
    pub(super) fn has_persons(&self) -> bool {
        self.persons > 0
    }

    // Seats.

    /// All seats, and the members that sit there.
    #[inline]
    pub(super) fn seats(&mut self) -> (&mut [Seat], &[Option<Member>]) {
        (&mut self.seats, &self.by_id)
    }

    /// A member and its seat.
    #[inline]
    pub(super) fn seat_mut(&mut self, id: ClientId) -> Option<(&Member, &mut Seat)> {
        let member = self.by_id.get(id.index())?.as_ref()?;
        let seat = self.seats.get_mut(member.seat as usize)?;
        Some((member, seat))
    }

    /// A member has spoken in this batch, or no longer, or has changed whom it ignores.
    #[inline]
    pub(super) fn set_spoken(&mut self, id: ClientId, has_spoken: bool) {
        if let Some((member, seat)) = self.seat_mut(id) {
            seat.is_filtered = has_spoken || member.ignores_somebody();
        }
    }

    // Names.

    /// The key of what somebody typed. `None` if that is too long for a name, because making a key
    /// takes long.
    fn typed_key(&self, name: &str) -> Option<String> {
        let is_short = name.chars().nth(self.max_nick_chars).is_none();
        is_short.then(|| key(name))
    }

    /// The hash of this name; of nobody's name if it cannot be one.
    pub(super) fn hash_of(&self, name: &str) -> NameHash {
        let key = self.typed_key(name).unwrap_or_default();
        NameHash(self.hasher.hash_one(&*key))
    }

    /// The member because of which this nick is taken.
    pub(super) fn holder(&self, nick: &Nick) -> Option<ClientId> {
        self.find_key(nick.key())
    }

    fn find_key(&self, key: &str) -> Option<ClientId> {
        let rank = self.rank(key).ok()?;
        let index = *self.by_name.get(rank)?;
        Some(ClientId::from_index(index as usize))
    }

    /// The member of exactly this name.
    pub(super) fn find_exact(&self, name: &str) -> Option<ClientId> {
        self.find_key(&self.typed_key(name)?)
    }

    /// The member that is meant by a name: the one that has it, or else the only one whose name begins
    /// with it.
    pub(super) fn find(&self, name: &str) -> Result<ClientId, NotFound> {
        if let Some(id) = self.find_exact(name) {
            return Ok(id);
        }
        let is_name = self.typed_key(name).is_some_and(|key| !key.is_empty());
        let mut found = self.beginning(name).filter(|_| is_name);
        let first = found.next().ok_or(NotFound::Nobody)?;
        let given_up = self.hash_of(name);
        match found.next() {
            Some(second) => Err(NotFound::Several(first, second)),
            None if self.given_up.iter().any(|it| it.name == given_up) => {
                Err(NotFound::HasLeft(first))
            }
            None => Ok(first),
        }
    }

    /// The members whose names begin with this, in the order of their names; all if it is empty.
    /// Counting them takes no walk.
    pub(super) fn beginning(&self, name: &str) -> impl ExactSizeIterator<Item = ClientId> {
        let ids = self.typed_key(name).map_or(&[][..], |beginning| {
            let first = self.rank(&beginning).unwrap_or_else(|rank| rank);
            let rest = self.by_name.get(first..).unwrap_or_default();
            let begins = |id: &u32| {
                let member = self.get(ClientId::from_index(*id as usize));
                member.is_some_and(|member| member.nick.key().starts_with(&beginning))
            };
            let len = rest.partition_point(begins);
            rest.get(..len).unwrap_or_default()
        });
        ids.iter().map(|&id| ClientId::from_index(id as usize))
    }

    /// The nicks of these members, as many as there is room for on one line.
    pub(super) fn named(&self, members: impl Iterator<Item = ClientId>) -> Vec<&Nick> {
        let mut bytes = 0_usize;
        let nicks = members.filter_map(|id| Some(&self.get(id)?.nick));
        let has_room = |nick: &&Nick| {
            bytes = bytes
                .saturating_add(nick.as_str().len())
                .saturating_add(", ".len());
            bytes <= MAX_NAMED_BYTES
        };
        nicks.take_while(has_room).collect()
    }

    /// All nicks, in the order of their keys.
    pub(super) fn nicks(&self) -> impl Iterator<Item = &Nick> {
        let ids = self.by_name.iter();
        ids.filter_map(|&id| Some(&self.get(ClientId::from_index(id as usize))?.nick))
    }

    /// Where a key stands among all, or where it would.
    fn rank(&self, key: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&id| {
            let member = self.get(ClientId::from_index(id as usize));
            member.map_or(Ordering::Less, |member| member.nick.key().cmp(key))
        })
    }
}

/// Four bytes are enough to number clients.
fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(id: usize) -> ClientId {
        ClientId::from_index(id)
    }

    fn nick(name: &str) -> Nick {
        Nick::parse(name.as_bytes(), 32).expect("a nick")
    }

    fn members_of(names: &[&str]) -> Members {
        let mut members = Members::new(32);
        for (id, name) in names.iter().enumerate() {
            let added = members.add(client(id), nick(name), false, Cursor::default());
            assert!(added.is_ok());
        }
        members
    }

    fn names(members: &Members, beginning: &str) -> Vec<String> {
        let ids = members.beginning(beginning);
        ids.filter_map(|id| members.get(id))
            .map(|member| member.nick.to_string())
            .collect()
    }

    #[test]
    fn members_are_listed_by_name_and_found_by_its_beginning() {
        let members = members_of(&["carol", "Bob", "alice", "bonnie", "Ünal"]);
        assert_eq!(
            names(&members, ""),
            ["alice", "Bob", "bonnie", "carol", "Ünal"]
        );
        assert_eq!(names(&members, "BO"), ["Bob", "bonnie"]);
        assert!(names(&members, "x").is_empty());
        assert_eq!(members.find("c"), Ok(client(0)));
        assert_eq!(members.find("bob"), Ok(client(1)));
        assert_eq!(members.find("ü"), Ok(client(4)));
        assert_eq!(
            members.find("bo"),
            Err(NotFound::Several(client(1), client(3)))
        );
        assert_eq!(members.find("dave"), Err(NotFound::Nobody));
        assert_eq!(members.find(""), Err(NotFound::Nobody));
        assert_eq!(members.find("\u{200b}"), Err(NotFound::Nobody));
    }

    #[test]
    fn a_name_that_begins_another_can_be_meant() {
        let members = members_of(&["bob", "bobby"]);
        assert_eq!(members.find("bob"), Ok(client(0)));
        assert_eq!(members.find("bobb"), Ok(client(1)));
        assert_eq!(
            members.find("bo"),
            Err(NotFound::Several(client(0), client(1)))
        );
    }

    #[test]
    fn a_nick_can_be_changed_unless_it_is_another_ones() {
        let mut members = members_of(&["alice", "bob"]);
        let taken = members.rename(client(1), nick("ALICE"));
        assert_eq!(taken, Err(NickError::Taken(nick("ALICE"))));
        let old = members.hash_of("bob");
        assert_eq!(members.rename(client(1), nick("BOB")), Ok(()));
        assert_eq!(members.get(client(1)).expect("a member").name, old);
        assert_eq!(members.rename(client(1), nick("aaron")), Ok(()));
        assert_eq!(names(&members, ""), ["aaron", "alice"]);
        assert_ne!(members.get(client(1)).expect("a member").name, old);
        assert!(
            members
                .add(client(2), nick("bob"), false, Cursor::default())
                .is_ok()
        );
    }

    #[test]
    fn who_has_left_is_not_taken_for_somebody_whose_name_begins_so() {
        let mut members = members_of(&["bob", "bobby"]);
        let carol = members.add(client(2), nick("carol"), true, Cursor::default());
        assert!(carol.is_ok());
        assert!(members.remove(client(0)).is_some());
        assert_eq!(members.find("bob"), Err(NotFound::HasLeft(client(1))));
        assert_eq!(members.find("bobb"), Ok(client(1)));
        assert_eq!(members.find("bo"), Ok(client(1)));
        assert_eq!(members.rename(client(1), nick("bobbysox")), Ok(()));
        assert_eq!(members.find("bobby"), Err(NotFound::HasLeft(client(1))));
        for n in 0..MAX_GIVEN_UP {
            let name = nick(&format!("guest{n}"));
            assert!(
                members
                    .add(client(9), name, false, Cursor::default())
                    .is_ok()
            );
            assert!(members.remove(client(9)).is_some());
        }
        assert_eq!(members.given_up.len(), MAX_GIVEN_UP);
        assert_eq!(members.find("bob"), Ok(client(1)), "that is long ago");
    }

    #[test]
    fn what_is_too_long_for_a_name_is_nobodys() {
        let members = members_of(&["bob"]);
        let long = "\u{fdfa}".repeat(1300);
        assert_eq!(members.find(&long), Err(NotFound::Nobody));
        assert_eq!(members.beginning(&long).len(), 0);
        assert_eq!(members.hash_of(&long), members.hash_of(""));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn whoever_comes_and_goes_the_order_is_that_of_the_keys(
            steps in prop::collection::vec((0..8_usize, "[aAbBéÉ]{1,2}", 0..3_u8), 0..60),
        ) {
            let mut members = Members::new(32);
            let mut model: Vec<Option<Nick>> = vec![None; 8];
            for (id, name, step) in steps {
                let nick = nick(&name);
                let owner = model.iter().position(|it| it.as_ref().is_some_and(|it| it.key() == nick.key()));
                match (step, model[id].is_some()) {
                    (0, false) => {
                        let added = members.add(client(id), nick.clone(), true, Cursor::default());
                        prop_assert_eq!(added.is_ok(), owner.is_none());
                        if owner.is_none() {
                            model[id] = Some(nick);
                        }
                    }
                    (1, true) => {
                        let renamed = members.rename(client(id), nick.clone());
                        prop_assert_eq!(renamed.is_ok(), owner.is_none_or(|owner| owner == id));
                        if renamed.is_ok() {
                            model[id] = Some(nick);
                        }
                    }
                    _ => {
                        let left = members.remove(client(id)).map(|member| member.nick);
                        prop_assert_eq!(left, model[id].take());
                    }
                }
                let mut expected: Vec<&Nick> = model.iter().flatten().collect();
                expected.sort_by_key(|nick| nick.key());
                let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
                prop_assert_eq!(names(&members, ""), expected.clone());
                let mut audience: Vec<usize> = members.seats.iter().map(|seat| seat.id.index()).collect();
                audience.sort_unstable();
                let ids: Vec<usize> = (0..8).filter(|&id| model[id].is_some()).collect();
                prop_assert_eq!(audience, ids);
                prop_assert_eq!(members.has_persons(), !expected.is_empty());
            }
        }
    }

    #[test]
    fn a_member_that_changes_its_name_again_and_again_displaces_only_its_own() {
        let mut members = members_of(&["bob", "bobby"]);
        assert!(
            members
                .add(client(2), nick("dave"), true, Cursor::default())
                .is_ok()
        );
        assert!(members.remove(client(0)).is_some());
        for n in 0..MAX_GIVEN_UP {
            let name = nick(&format!("dave{n}"));
            assert_eq!(members.rename(client(2), name), Ok(()));
        }
        assert_eq!(members.find("bob"), Err(NotFound::HasLeft(client(1))));
        assert_eq!(members.given_up.len(), 1 + MAX_GIVEN_UP_BY_ONE);
    }
}
