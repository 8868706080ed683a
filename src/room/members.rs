//! The members by number, without gaps, and in the order of their names: [`Members`] finds a member in
//! each of these ways. Names are unique by their key, and a member can be found by a prefix of its
//! name, so they are kept sorted. The sorted list holds numbers, so each name is stored once. Where a
//! name is only compared, and its member may have left, its hash is stored instead.
//!
//! No two members have names that are [alike](crate::text::alike). As long as all names are ASCII,
//! comparing their keys is enough. An ASCII name is also compared with the non-ASCII ones, which are
//! found by their looks; a non-ASCII name also with every ASCII name, if it can look like one.
//!
//! What a delivery touches of a member is its [`Seat`]. Seats stand side by side, so a pass over all
//! readers walks through memory in order.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

use crate::broadcast::batch::{Cursor, Kind, Segment, Speaker};
use crate::client_id::ClientId;
use crate::room::ignore_list::IgnoreList;
use crate::text;
use crate::text::alike::{Identity, NameHash, NameHasher, is_alike, is_short, key};
use crate::text::nick::{Nick, NickError};

/// What the delivery of a line touches of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) id: ClientId,
    /// This member cannot be sent the segment that is shared by all readers, even of a batch that is
    /// for everyone: it has spoken in this batch, it ignores another member, or its lines end with LF.
    pub(super) is_filtered: bool,
    /// What it has been given.
    pub(super) cursor: Cursor,
}

/// A nick that is not available, and the nick of the member that it is like.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) nick: Nick,
    pub(super) owner: Nick,
}

impl From<Taken> for NickError {
    fn from(Taken { nick, owner }: Taken) -> Self {
        Self::Taken { nick, owner }
    }
}

/// A client that has a nick.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) nick: Nick,
    pub(super) name: NameHash,
    /// What the room knows of a member at a prompt; `None` for a plain member.
    pub(super) person: Option<Box<Person>>,
    /// Its lines end with LF alone.
    pub(super) ends_lines_with_lf: bool,
    /// Where its seat is.
    seat: u32,
    /// Its nick is written from right to left.
    pub(super) is_right_to_left: bool,
}

/// What a member at a prompt has asked for.
#[derive(Debug, Default)]
pub(super) struct Person {
    /// No two people have the same, ever, and nobody has 0.
    serial: u64,
    /// Whose lines are not shown to this one.
    pub(super) ignored: IgnoreList,
    /// The member that last told this one something in private.
    pub(super) told_by: Option<Partner>,
    pub(super) is_operator: bool,
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
    #[inline]
    pub(super) fn ignores(&self, other: Identity) -> bool {
        !self.ignored.is_empty() && self.ignored.holds(other)
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
    /// Both looks of each member whose name is not ASCII, with the number of the member.
    by_look: BTreeSet<(u32, u32)>,
    hasher: NameHasher,
    /// Whether the hashes of the members' names include looks.
    knows_looks: bool,
    /// How many of them are people at a prompt.
    persons: usize,
    /// The number of readers whose lines end with LF alone.
    with_lf: usize,
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
            by_look: BTreeSet::new(),
            hasher: NameHasher::default(),
            knows_looks: false,
            persons: 0,
            with_lf: 0,
            last_serial: 0,
            given_up: VecDeque::new(),
        }
    }

    /// Adds a member that has been sent everything up to `cursor`. `name` is the hash of its nick.
    /// Returns the other member if the nick is like that of one.
    pub(super) fn add(
        &mut self,
        id: ClientId,
        nick: Nick,
        name: NameHash,
        is_person: bool,
        cursor: Cursor,
    ) -> Result<(), Taken> {
        let rank = match self.rank(nick.key()) {
            Ok(rank) => return Err(self.taken(nick, self.id_at(rank))),
            Err(rank) => rank,
        };
        if let Some(owner) = self.looking_like(&nick, name, id) {
            return Err(self.taken(nick, Some(owner)));
        }
        self.by_name.insert(rank, number(id.index()));
        self.persons = self.persons.saturating_add(usize::from(is_person));
        self.last_serial = self.last_serial.wrapping_add(u64::from(is_person));
        let person = Person {
            serial: self.last_serial,
            ..Person::default()
        };
        self.insert_looks(id, name);
        let member = Member {
            is_right_to_left: !name.is_ascii() && text::is_right_to_left(nick.as_str()),
            nick,
            name,
            person: is_person.then(|| Box::new(person)),
            ends_lines_with_lf: false,
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
        self.remove_looks(id, member.name);
        self.remember(member.name, &member.nick, member.serial());
        self.persons = self
            .persons
            .saturating_sub(usize::from(member.person.is_some()));
        self.with_lf = self
            .with_lf
            .saturating_sub(usize::from(member.ends_lines_with_lf));
        self.seats.swap_remove(member.seat as usize);
        if let Some(moved) = self.seats.get(member.seat as usize).map(|seat| seat.id)
            && let Some(moved) = self.get_mut(moved)
        {
            moved.seat = member.seat;
        }
        Some(member)
    }

    /// Changes the nick of a member, unless another member has one that is like it. `name` is the hash
    /// of the new nick.
    pub(super) fn rename(&mut self, id: ClientId, nick: Nick, name: NameHash) -> Result<(), Taken> {
        if let Some(owner) = self.holder(&nick, name, id) {
            return Err(self.taken(nick, Some(owner)));
        }
        if let Some(Ok(rank)) = self.get(id).map(|member| self.rank(member.nick.key())) {
            self.by_name.remove(rank);
        }
        if let Err(rank) = self.rank(nick.key()) {
            self.by_name.insert(rank, number(id.index()));
        }
        if let Some(member) = self.get_mut(id) {
            member.is_right_to_left = !name.is_ascii() && text::is_right_to_left(nick.as_str());
            let old_nick = std::mem::replace(&mut member.nick, nick);
            let (old, serial) = (std::mem::replace(&mut member.name, name), member.serial());
            self.remove_looks(id, old);
            self.insert_looks(id, name);
            if !old.is_same(name) {
                self.remember(old, &old_nick, serial);
            }
        }
        Ok(())
    }

    fn taken(&self, nick: Nick, owner: Option<ClientId>) -> Taken {
        let owner = owner.and_then(|id| self.get(id));
        let owner = owner.map_or_else(|| nick.clone(), |owner| owner.nick.clone());
        Taken { nick, owner }
    }

    #[inline]
    fn insert_looks(&mut self, id: ClientId, name: NameHash) {
        if !name.is_ascii() {
            let entries = name.looks().map(|look| (look, number(id.index())));
            self.by_look.extend(entries);
        }
    }

    #[inline]
    fn remove_looks(&mut self, id: ClientId, name: NameHash) {
        if !name.is_ascii() {
            for look in name.looks() {
                self.by_look.remove(&(look, number(id.index())));
            }
        }
    }

    /// Returns a member other than `id` whose nick has another key but looks like this one.
    #[inline]
    fn looking_like(&self, nick: &Nick, name: NameHash, id: ClientId) -> Option<ClientId> {
        if name.is_ascii() && self.by_look.is_empty() {
            return None;
        }
        self.find_looking_like(nick, name, id)
    }

    #[cold]
    fn find_looking_like(&self, nick: &Nick, name: NameHash, id: ClientId) -> Option<ClientId> {
        // Different names have equal hashes with a small probability, so the names themselves are
        // compared.
        self.with_look_of(name).find(|&other| {
            let other = self.get(other).filter(|_| other != id);
            other.is_some_and(|it| is_alike(it.nick.as_str(), nick.as_str()))
        })
    }

    /// Returns the members whose names have another key but a look of this one; a member may be returned
    /// twice. Only a name that is not ASCII and looks like one that is takes a walk over all members.
    fn with_look_of(&self, name: NameHash) -> impl Iterator<Item = ClientId> {
        let looks = name.looks().into_iter();
        let not_ascii = looks.flat_map(|look| self.by_look.range((look, 0)..=(look, u32::MAX)));
        let not_ascii = not_ascii.map(|&(_, other)| ClientId::from_index(other as usize));
        let is_compared = !name.is_ascii() && name.has_look_of_ascii();
        let ascii = self
            .seats
            .iter()
            .filter(move |_| is_compared)
            .map(|seat| seat.id);
        let all = not_ascii.chain(ascii);
        all.filter(move |&id| self.get(id).is_some_and(|it| it.name.is_alike(name)))
    }

    /// Remembers a name that was given up. A member that changes its name again and again displaces
    /// only its own.
    fn remember(&mut self, name: NameHash, nick: &Nick, serial: u64) {
        if !self.has_persons() {
            return;
        }
        let name = self.hasher.with_looks(name, nick.as_str());
        self.given_up.retain(|it| !it.name.is_same(name));
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
            seat.is_filtered = has_spoken || member.ignores_somebody() || member.ends_lines_with_lf;
        }
    }

    /// Ends the lines of this member with LF alone from now on.
    pub(super) fn end_lines_with_lf(&mut self, id: ClientId) {
        if let Some(member) = self.get_mut(id)
            && !member.ends_lines_with_lf
        {
            member.ends_lines_with_lf = true;
            self.with_lf = self.with_lf.saturating_add(1);
            self.set_spoken(id, false);
        }
    }

    /// Whether a member's lines end with LF alone.
    #[inline]
    pub(super) fn has_lf(&self) -> bool {
        self.with_lf > 0
    }

    // Names.

    /// The key of what somebody typed. `None` if that is too long for a name, because making a key
    /// takes long.
    fn typed_key(&self, name: &str) -> Option<String> {
        is_short(name, self.max_nick_chars).then(|| key(name))
    }

    /// Hashes a nick that is to be remembered.
    pub(super) fn hash(&mut self, nick: &Nick) -> NameHash {
        let (name, key) = nick.with_key();
        self.hash_with_key(name, key)
    }

    fn hash_with_key(&mut self, name: &str, key: &str) -> NameHash {
        if !name.is_ascii() {
            self.know_looks();
        }
        self.hasher.hash(name, key)
    }

    /// Hashes the nick of a member. As long as all names are ASCII the hash has no looks, because they
    /// are not needed.
    pub(super) fn hash_for_member(&mut self, nick: &Nick) -> NameHash {
        let (name, key) = nick.with_key();
        if name.is_ascii() && !self.knows_looks {
            return self.hasher.hash_key(key);
        }
        self.hash(nick)
    }

    /// Adds the looks to the hashes of all names, once there is a name that is not ASCII. Stored lines
    /// of the history keep hashes without looks, which are compared by key only.
    #[cold]
    fn know_looks(&mut self) {
        if !std::mem::replace(&mut self.knows_looks, true) {
            for member in self.by_id.iter_mut().flatten() {
                let (name, key) = member.nick.with_key();
                member.name = self.hasher.hash(name, key);
            }
        }
    }

    /// Hashes a name that a person typed; returns the hash of no name if it is not a possible one.
    pub(super) fn hash_of(&mut self, name: &str) -> NameHash {
        match self.typed_key(name) {
            Some(key) if !key.is_empty() => self.hash_with_key(name, &key),
            _ => NameHash::NONE,
        }
    }

    /// Returns the members whose names are alike this one. They are several only if they are not alike
    /// each other.
    pub(super) fn alike(&self, name: NameHash) -> impl Iterator<Item = ClientId> {
        let ids = self.seats.iter().map(|seat| seat.id);
        ids.filter(move |&id| self.get(id).is_some_and(|it| it.name.is_alike(name)))
    }

    /// Returns the member other than `id` because of which this nick is taken; `name` is its hash.
    pub(super) fn holder(&self, nick: &Nick, name: NameHash, id: ClientId) -> Option<ClientId> {
        let same = self.find_key(nick.key()).filter(|&other| other != id);
        same.or_else(|| self.looking_like(nick, name, id))
    }

    fn find_key(&self, key: &str) -> Option<ClientId> {
        self.id_at(self.rank(key).ok()?)
    }

    fn id_at(&self, rank: usize) -> Option<ClientId> {
        let index = *self.by_name.get(rank)?;
        Some(ClientId::from_index(index as usize))
    }

    /// The member of exactly this name.
    pub(super) fn find_exact(&self, name: &str) -> Option<ClientId> {
        self.find_key(&self.typed_key(name)?)
    }

    /// Finds the member that a typed name means: the one with that name, or else the only one whose
    /// name is like it, or else the only one whose name begins with it.
    pub(super) fn find(&mut self, name: &str) -> Result<ClientId, NotFound> {
        if let Some(id) = self.find_exact(name) {
            return Ok(id);
        }
        let typed = self.hash_of(name);
        if typed == NameHash::NONE {
            return Err(NotFound::Nobody);
        }
        let mut alike: Vec<ClientId> = self.with_look_of(typed).collect();
        alike.sort_unstable();
        alike.dedup();
        let is_alike = !alike.is_empty();
        let beginning = self.beginning(name).filter(|_| !is_alike);
        let mut found = alike.into_iter().chain(beginning);
        let first = found.next().ok_or(NotFound::Nobody)?;
        match found.next() {
            Some(second) => Err(NotFound::Several(first, second)),
            None if self.has_another_left(typed, first) => Err(NotFound::HasLeft(first)),
            None => Ok(first),
        }
    }

    /// Whether a person other than this member had a name that is like this one and has given it up.
    fn has_another_left(&self, name: NameHash, id: ClientId) -> bool {
        let own = self.get(id).map(|member| member.name);
        let is_own = |it: &GivenUp| own.is_some_and(|own| own.is_same(it.name));
        let mut given_up = self.given_up.iter();
        given_up.any(|it| it.name.is_alike(name) && !is_own(it))
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

    fn add(members: &mut Members, id: usize, name: &str, is_person: bool) -> Result<(), Taken> {
        let nick = nick(name);
        let hash = members.hash_for_member(&nick);
        members.add(client(id), nick, hash, is_person, Cursor::default())
    }

    fn rename(members: &mut Members, id: usize, name: &str) -> Result<(), Taken> {
        let nick = nick(name);
        let hash = members.hash_for_member(&nick);
        members.rename(client(id), nick, hash)
    }

    fn members_of(names: &[&str]) -> Members {
        let mut members = Members::new(32);
        for (id, name) in names.iter().enumerate() {
            assert_eq!(add(&mut members, id, name, false), Ok(()));
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
        let mut members = members_of(&["carol", "Bob", "alice", "bonnie", "Ünal"]);
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
        let mut members = members_of(&["bob", "bobby"]);
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
        let taken = rename(&mut members, 1, "ALICE");
        let owner = nick("alice");
        assert_eq!(
            taken,
            Err(Taken {
                nick: nick("ALICE"),
                owner
            })
        );
        let old = members.get(client(1)).expect("a member").name;
        assert_eq!(rename(&mut members, 1, "BOB"), Ok(()));
        assert_eq!(members.get(client(1)).expect("a member").name, old);
        assert_eq!(rename(&mut members, 1, "aaron"), Ok(()));
        assert_eq!(names(&members, ""), ["aaron", "alice"]);
        assert_ne!(members.get(client(1)).expect("a member").name, old);
        assert_eq!(add(&mut members, 2, "bob", false), Ok(()));
    }

    #[test]
    fn who_has_left_is_not_taken_for_somebody_whose_name_begins_so() {
        let mut members = members_of(&["bob", "bobby"]);
        assert_eq!(add(&mut members, 2, "carol", true), Ok(()));
        assert!(members.remove(client(0)).is_some());
        assert_eq!(members.find("bob"), Err(NotFound::HasLeft(client(1))));
        assert_eq!(members.find("bobb"), Ok(client(1)));
        assert_eq!(members.find("bo"), Ok(client(1)));
        assert_eq!(rename(&mut members, 1, "bobbysox"), Ok(()));
        assert_eq!(members.find("bobby"), Err(NotFound::HasLeft(client(1))));
        for n in 0..MAX_GIVEN_UP {
            assert_eq!(add(&mut members, 9, &format!("guest{n}"), false), Ok(()));
            assert!(members.remove(client(9)).is_some());
        }
        assert_eq!(members.given_up.len(), MAX_GIVEN_UP);
        assert_eq!(members.find("bob"), Ok(client(1)), "that is long ago");
    }

    #[test]
    fn a_nick_that_looks_like_another_is_taken_in_either_order() {
        for (first, second) in [
            ("alice", "\u{430}lice"),
            ("\u{430}lice", "alice"),
            ("alic\u{435}", "\u{430}lice"),
            ("Zoë", "zoe"),
            ("ВЕРА", "вера"),
            ("ВЕРА", "bepa"),
        ] {
            let mut members = members_of(&["carol", first]);
            let expected = || Taken {
                nick: nick(second),
                owner: nick(first),
            };
            assert_eq!(add(&mut members, 2, second, true), Err(expected()));
            assert_eq!(rename(&mut members, 0, second), Err(expected()));
            assert_eq!(rename(&mut members, 1, second), Ok(()), "its own");
            assert_eq!(rename(&mut members, 1, first), Ok(()));
            assert!(members.remove(client(1)).is_some());
            assert_eq!(
                add(&mut members, 2, second, true),
                Ok(()),
                "{first} has left"
            );
            assert_eq!(members.by_look.is_empty(), second.is_ascii());
        }
    }

    #[test]
    fn nicks_that_are_not_alike_are_several() {
        members_of(&[
            "n1", "nl", "b0b", "bob", "か", "が", "вера", "bepa", "Zoë", "Zoey",
        ]);
    }

    #[test]
    fn a_member_is_found_by_what_its_name_looks_like() {
        let mut members = members_of(&["\u{430}lice", "bepa", "вера"]);
        assert_eq!(members.find("alice"), Ok(client(0)));
        assert_eq!(members.find("bepa"), Ok(client(1)));
        let several = NotFound::Several(client(1), client(2));
        assert_eq!(members.find("ВЕРА"), Ok(client(2)), "its key is the same");
        assert_eq!(members.find("ВЕPА"), Err(several));
        assert_eq!(add(&mut members, 3, "carol", true), Ok(()));
        assert!(members.remove(client(0)).is_some());
        assert_eq!(add(&mut members, 4, "alicia", false), Ok(()));
        assert_eq!(members.find("alic"), Ok(client(4)));
        assert_eq!(add(&mut members, 5, "alice\u{2219}", false), Ok(()));
        assert_eq!(members.find("alice"), Err(NotFound::HasLeft(client(5))));
    }

    #[test]
    fn names_in_ascii_have_no_looks_until_somebody_needs_them() {
        let mut members = members_of(&["alice", "bob"]);
        assert!(!members.knows_looks);
        assert_eq!(members.find("al"), Ok(client(0)));
        assert!(!members.knows_looks);
        assert_eq!(members.find("\u{430}lice"), Ok(client(0)));
        assert!(members.knows_looks);
        let mut members = members_of(&["alice", "bob"]);
        assert!(add(&mut members, 2, "\u{430}lice", false).is_err());
        let bob = members.get(client(1)).expect("a member");
        let typed = (bob.name, bob.nick.clone());
        assert_eq!(typed.0, members.hash(&typed.1));
    }

    #[test]
    fn what_is_too_long_for_a_name_is_nobodys() {
        let mut members = members_of(&["bob"]);
        let long = "\u{fdfa}".repeat(1300);
        assert_eq!(members.find(&long), Err(NotFound::Nobody));
        assert_eq!(members.beginning(&long).len(), 0);
        assert_eq!(members.hash_of(&long), NameHash::NONE);
        assert_eq!(members.hash_of(""), NameHash::NONE);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn whoever_comes_and_goes_the_order_is_that_of_the_keys(
            steps in prop::collection::vec((0..8_usize, "[aAbBéÉeаВвlI1о]{1,2}", 0..3_u8), 0..60),
        ) {
            let mut members = Members::new(32);
            let mut model: Vec<Option<Nick>> = vec![None; 8];
            for (id, name, step) in steps {
                let nick = nick(&name);
                let is_owned = (0..8).any(|other| {
                    let held = model[other].as_ref().filter(|_| step == 0 || other != id);
                    held.is_some_and(|held| is_alike(held.as_str(), nick.as_str()))
                });
                match (step, model[id].is_some()) {
                    (0, false) => {
                        let added = add(&mut members, id, &name, true);
                        prop_assert_eq!(added.is_ok(), !is_owned);
                        if added.is_ok() {
                            model[id] = Some(nick);
                        }
                    }
                    (1, true) => {
                        let renamed = rename(&mut members, id, &name);
                        prop_assert_eq!(renamed.is_ok(), !is_owned);
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
        assert_eq!(add(&mut members, 2, "dave", true), Ok(()));
        assert!(members.remove(client(0)).is_some());
        for n in 0..MAX_GIVEN_UP {
            assert_eq!(rename(&mut members, 2, &format!("dave{n}")), Ok(()));
        }
        assert_eq!(members.find("bob"), Err(NotFound::HasLeft(client(1))));
        assert_eq!(members.given_up.len(), 1 + MAX_GIVEN_UP_BY_ONE);
    }
}
