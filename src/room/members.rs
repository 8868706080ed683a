//! The members by number, without gaps, and in the order of their names: [`Roster`] finds a member
//! in each of these ways. Names are unique by their key, and a person finds another by the beginning
//! of a name, so they are kept sorted; what is sorted are numbers, so a name is held once. Where only
//! sameness matters, and whoever is meant may have left, a hash stands for a name.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use crate::broadcast::batch::Place;
use crate::text::nick::{Identity, NameHash, Nick, NickError, key};

/// A client, from its connection's coming to its end. It is free for another one after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub usize);

/// A client that has a nick.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) nick: Nick,
    pub(crate) name: NameHash,
    /// What it has been given.
    pub(crate) place: Place,
    /// What the room knows of somebody at a prompt; `None` for a member on the bare wire.
    pub(crate) person: Option<Box<Person>>,
    /// Where it stands in the audience.
    seat: u32,
    /// It has said something in this turn.
    pub(crate) has_spoken: bool,
}

/// What somebody has done at a prompt.
#[derive(Debug, Default)]
pub(crate) struct Person {
    /// No two persons have the same, ever, nor has any 0.
    serial: u64,
    /// Whose lines are not shown to this one.
    pub(crate) ignored: Vec<Ignored>,
    /// Who told this one something last.
    pub(crate) told_by: Option<Partner>,
    pub(crate) is_operator: bool,
}

impl Member {
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            name: self.name,
            serial: self.person.as_ref().map_or(0, |person| person.serial),
        }
    }
}

impl Person {
    /// Whether it sees nothing of what this one says.
    pub(crate) fn ignores(&self, other: Identity) -> bool {
        self.ignored.iter().any(|it| it.whom.is(other))
    }
}

#[derive(Debug)]
pub(crate) struct Ignored {
    pub(crate) whom: Identity,
    pub(crate) nick: Nick,
}

/// A person who may have left, and whose number may be another's by now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Partner {
    pub(crate) id: ClientId,
    pub(crate) serial: u64,
}

/// Why a name is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotFound {
    Nobody,
    /// More than one begins with it; two of them.
    Several(ClientId, ClientId),
    /// Who had it has left, and one is there whose name begins so: that one may not be meant.
    HasLeft(ClientId),
}

/// So many bytes of names stand on one line at most.
const NAMED_BYTES: usize = 4096;

/// So many names of those who have left are remembered.
const DEPARTED_AT_MOST: usize = 64;

/// The members.
#[derive(Debug)]
pub(crate) struct Roster {
    /// No name is longer.
    max_nick_chars: usize,
    /// Each member under its client's number; `None` for a client that is none.
    members: Vec<Option<Member>>,
    /// The members once more, without gaps.
    audience: Vec<ClientId>,
    /// And in the order of their keys. Four bytes are enough for a number.
    by_name: Vec<u32>,
    hasher: RandomState,
    /// How many of them are persons.
    persons: usize,
    /// The serial number of the last person.
    last_serial: u64,
    /// Names that were given up last, where there are persons who may still mean them.
    departed: VecDeque<NameHash>,
}

impl Roster {
    pub(crate) fn new(max_nick_chars: usize) -> Self {
        Self {
            max_nick_chars,
            members: Vec::new(),
            audience: Vec::new(),
            by_name: Vec::new(),
            hasher: RandomState::new(),
            persons: 0,
            last_serial: 0,
            departed: VecDeque::new(),
        }
    }

    /// A new member, who has been given everything up to `place`.
    pub(crate) fn add(
        &mut self,
        id: ClientId,
        nick: Nick,
        is_person: bool,
        place: Place,
    ) -> Result<(), NickError> {
        let key = nick.key();
        let Err(rank) = self.rank(key) else {
            return Err(NickError::Taken(nick));
        };
        self.by_name.insert(rank, number(id.0));
        self.persons += usize::from(is_person);
        self.last_serial += u64::from(is_person);
        let person = Person {
            serial: self.last_serial,
            ..Person::default()
        };
        let name = NameHash(self.hasher.hash_one(key));
        let member = Member {
            nick,
            name,
            place,
            person: is_person.then(|| Box::new(person)),
            seat: number(self.audience.len()),
            has_spoken: false,
        };
        self.audience.push(id);
        if self.members.len() <= id.0 {
            self.members.resize_with(id.0 + 1, || None);
        }
        self.members[id.0] = Some(member);
        Ok(())
    }

    /// Takes `id` out; its nick is free at once. `None` if it was no member.
    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Member> {
        if let Some(Ok(rank)) = self.get(id).map(|member| self.rank(member.nick.key())) {
            self.by_name.remove(rank);
        }
        let member = self.members.get_mut(id.0)?.take()?;
        self.remember_departed(member.name);
        self.persons -= usize::from(member.person.is_some());
        self.audience.swap_remove(member.seat as usize);
        if let Some(&moved) = self.audience.get(member.seat as usize)
            && let Some(moved) = self.get_mut(moved)
        {
            moved.seat = member.seat;
        }
        Some(member)
    }

    /// Gives a member another nick, if nobody else has it.
    pub(crate) fn rename(&mut self, id: ClientId, nick: Nick) -> Result<(), NickError> {
        let key = nick.key();
        if self
            .rank(key)
            .is_ok_and(|rank| self.by_name[rank] != number(id.0))
        {
            return Err(NickError::Taken(nick));
        }
        if let Some(Ok(rank)) = self.get(id).map(|member| self.rank(member.nick.key())) {
            self.by_name.remove(rank);
        }
        if let Err(rank) = self.rank(key) {
            self.by_name.insert(rank, number(id.0));
        }
        let name = NameHash(self.hasher.hash_one(key));
        if let Some(member) = self.get_mut(id) {
            member.nick = nick;
            let old_name = std::mem::replace(&mut member.name, name);
            self.remember_departed(old_name);
        }
        Ok(())
    }

    fn remember_departed(&mut self, name: NameHash) {
        if self.has_persons() {
            self.departed.truncate(DEPARTED_AT_MOST - 1);
            self.departed.push_front(name);
        }
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Member> {
        self.members.get(id.0)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: ClientId) -> Option<&mut Member> {
        self.members.get_mut(id.0)?.as_mut()
    }

    pub(crate) fn person(&self, id: ClientId) -> Option<&Person> {
        self.get(id)?.person.as_deref()
    }

    pub(crate) fn person_mut(&mut self, id: ClientId) -> Option<&mut Person> {
        self.get_mut(id)?.person.as_deref_mut()
    }

    /// All members.
    pub(crate) fn audience(&self) -> &[ClientId] {
        &self.audience
    }

    pub(crate) fn has_persons(&self) -> bool {
        self.persons > 0
    }

    /// The key of what somebody typed; `None` if that is too long for a name, because to make a key
    /// takes long.
    fn typed_key(&self, name: &str) -> Option<String> {
        let is_short = name.chars().nth(self.max_nick_chars).is_none();
        is_short.then(|| key(name))
    }

    /// What stands for this name, whoever has it; for nobody's if it is none.
    pub(crate) fn hash_of(&self, name: &str) -> NameHash {
        let key = self.typed_key(name).unwrap_or_default();
        NameHash(self.hasher.hash_one(&*key))
    }

    /// Who has that name, whatever else begins so.
    pub(crate) fn find_exact(&self, name: &str) -> Option<ClientId> {
        let rank = self.rank(&self.typed_key(name)?).ok()?;
        Some(ClientId(self.by_name[rank] as usize))
    }

    /// Who is meant by a name: who has it, or else the only one whose name begins so.
    pub(crate) fn find(&self, name: &str) -> Result<ClientId, NotFound> {
        if let Some(id) = self.find_exact(name) {
            return Ok(id);
        }
        let is_name = self.typed_key(name).is_some_and(|key| !key.is_empty());
        let mut found = self.beginning(name).filter(|_| is_name);
        let first = found.next().ok_or(NotFound::Nobody)?;
        match found.next() {
            Some(second) => Err(NotFound::Several(first, second)),
            None if self.departed.contains(&self.hash_of(name)) => Err(NotFound::HasLeft(first)),
            None => Ok(first),
        }
    }

    /// Those whose names begin so, in the order of their names; all if that is nothing. How many
    /// they are is known without looking at each.
    pub(crate) fn beginning(&self, name: &str) -> impl ExactSizeIterator<Item = ClientId> {
        let ids = self.typed_key(name).map_or(&[][..], |beginning| {
            let first = self.rank(&beginning).unwrap_or_else(|rank| rank);
            let rest = &self.by_name[first..];
            let begins = |id: &u32| {
                let member = self.get(ClientId(*id as usize));
                member.is_some_and(|member| member.nick.key().starts_with(&beginning))
            };
            &rest[..rest.partition_point(begins)]
        });
        ids.iter().map(|&id| ClientId(id as usize))
    }

    /// The nicks of these members, as many as there is room for on one line.
    pub(crate) fn named(&self, members: impl Iterator<Item = ClientId>) -> Vec<&Nick> {
        let mut bytes = 0;
        let nicks = members.filter_map(|id| Some(&self.get(id)?.nick));
        let has_room = |nick: &&Nick| {
            bytes += nick.as_str().len() + ", ".len();
            bytes <= NAMED_BYTES
        };
        nicks.take_while(has_room).collect()
    }

    /// Where a key stands among all, or where it would.
    fn rank(&self, key: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&id| {
            let member = self.get(ClientId(id as usize));
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

    fn nick(name: &str) -> Nick {
        Nick::parse(name.as_bytes(), 32).expect("a nick")
    }

    fn roster_of(names: &[&str]) -> Roster {
        let mut roster = Roster::new(32);
        for (id, name) in names.iter().enumerate() {
            let added = roster.add(ClientId(id), nick(name), false, Place::default());
            assert!(added.is_ok());
        }
        roster
    }

    fn names(roster: &Roster, beginning: &str) -> Vec<String> {
        let ids = roster.beginning(beginning);
        ids.filter_map(|id| roster.get(id))
            .map(|member| member.nick.to_string())
            .collect()
    }

    #[test]
    fn members_are_listed_by_name_and_found_by_its_beginning() {
        let roster = roster_of(&["carol", "Bob", "alice", "bonnie", "Ünal"]);
        assert_eq!(
            names(&roster, ""),
            ["alice", "Bob", "bonnie", "carol", "Ünal"]
        );
        assert_eq!(names(&roster, "BO"), ["Bob", "bonnie"]);
        assert!(names(&roster, "x").is_empty());
        assert_eq!(roster.find("c"), Ok(ClientId(0)));
        assert_eq!(roster.find("bob"), Ok(ClientId(1)));
        assert_eq!(roster.find("ü"), Ok(ClientId(4)));
        assert_eq!(
            roster.find("bo"),
            Err(NotFound::Several(ClientId(1), ClientId(3)))
        );
        assert_eq!(roster.find("dave"), Err(NotFound::Nobody));
        assert_eq!(roster.find(""), Err(NotFound::Nobody));
        assert_eq!(roster.find("\u{200b}"), Err(NotFound::Nobody));
    }

    #[test]
    fn a_name_that_begins_another_can_be_meant() {
        let roster = roster_of(&["bob", "bobby"]);
        assert_eq!(roster.find("bob"), Ok(ClientId(0)));
        assert_eq!(roster.find("bobb"), Ok(ClientId(1)));
        assert_eq!(
            roster.find("bo"),
            Err(NotFound::Several(ClientId(0), ClientId(1)))
        );
    }

    #[test]
    fn a_nick_can_be_changed_unless_it_is_another_ones() {
        let mut roster = roster_of(&["alice", "bob"]);
        let taken = roster.rename(ClientId(1), nick("ALICE"));
        assert_eq!(taken, Err(NickError::Taken(nick("ALICE"))));
        let old = roster.hash_of("bob");
        assert_eq!(roster.rename(ClientId(1), nick("BOB")), Ok(()));
        assert_eq!(roster.get(ClientId(1)).expect("a member").name, old);
        assert_eq!(roster.rename(ClientId(1), nick("aaron")), Ok(()));
        assert_eq!(names(&roster, ""), ["aaron", "alice"]);
        assert_ne!(roster.get(ClientId(1)).expect("a member").name, old);
        assert!(
            roster
                .add(ClientId(2), nick("bob"), false, Place::default())
                .is_ok()
        );
    }

    #[test]
    fn who_has_left_is_not_taken_for_somebody_whose_name_begins_so() {
        let mut roster = roster_of(&["bob", "bobby"]);
        let carol = roster.add(ClientId(2), nick("carol"), true, Place::default());
        assert!(carol.is_ok());
        assert!(roster.remove(ClientId(0)).is_some());
        assert_eq!(roster.find("bob"), Err(NotFound::HasLeft(ClientId(1))));
        assert_eq!(roster.find("bobb"), Ok(ClientId(1)));
        assert_eq!(roster.find("bo"), Ok(ClientId(1)));
        assert_eq!(roster.rename(ClientId(1), nick("bobbysox")), Ok(()));
        assert_eq!(roster.find("bobby"), Err(NotFound::HasLeft(ClientId(1))));
        for n in 0..DEPARTED_AT_MOST {
            let name = nick(&format!("guest{n}"));
            assert!(
                roster
                    .add(ClientId(9), name, false, Place::default())
                    .is_ok()
            );
            assert!(roster.remove(ClientId(9)).is_some());
        }
        assert_eq!(roster.departed.len(), DEPARTED_AT_MOST);
        assert_eq!(roster.find("bob"), Ok(ClientId(1)), "that is long ago");
    }

    #[test]
    fn what_is_too_long_for_a_name_is_nobodys() {
        let roster = roster_of(&["bob"]);
        let long = "\u{fdfa}".repeat(1300);
        assert_eq!(roster.find(&long), Err(NotFound::Nobody));
        assert_eq!(roster.beginning(&long).len(), 0);
        assert_eq!(roster.hash_of(&long), roster.hash_of(""));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn whoever_comes_and_goes_the_order_is_that_of_the_keys(
            steps in prop::collection::vec((0..8_usize, "[aAbBéÉ]{1,2}", 0..3_u8), 0..60),
        ) {
            let mut roster = Roster::new(32);
            let mut model: Vec<Option<Nick>> = vec![None; 8];
            for (id, name, step) in steps {
                let nick = nick(&name);
                let owner = model.iter().position(|it| it.as_ref().is_some_and(|it| it.key() == nick.key()));
                match (step, model[id].is_some()) {
                    (0, false) => {
                        let added = roster.add(ClientId(id), nick.clone(), true, Place::default());
                        prop_assert_eq!(added.is_ok(), owner.is_none());
                        if owner.is_none() {
                            model[id] = Some(nick);
                        }
                    }
                    (1, true) => {
                        let renamed = roster.rename(ClientId(id), nick.clone());
                        prop_assert_eq!(renamed.is_ok(), owner.is_none_or(|owner| owner == id));
                        if renamed.is_ok() {
                            model[id] = Some(nick);
                        }
                    }
                    _ => {
                        let left = roster.remove(ClientId(id)).map(|member| member.nick);
                        prop_assert_eq!(left, model[id].take());
                    }
                }
                let mut expected: Vec<&Nick> = model.iter().flatten().collect();
                expected.sort_by_key(|nick| nick.key());
                let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
                prop_assert_eq!(names(&roster, ""), expected.clone());
                let mut audience: Vec<usize> = roster.audience().iter().map(|id| id.0).collect();
                audience.sort_unstable();
                let ids: Vec<usize> = (0..8).filter(|&id| model[id].is_some()).collect();
                prop_assert_eq!(audience, ids);
                prop_assert_eq!(roster.has_persons(), !expected.is_empty());
            }
        }
    }
}
