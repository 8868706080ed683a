//! Names that were given up, by leaving, by a rename or by vanishing: [`GivenUpNames`] knows whether a
//! shortened name may have been meant for somebody who has it no longer. Without it, `/msg bob` for a
//! bob who has just left would reach bobby, and `/kick tro` whoever took a name that begins so.
//!
//! Names are kept for ten minutes, at most 16 of each address and 4096 in all, and of each 64 bytes. So
//! an address makes the server keep at most about 3 KB, and all together less than 1 MB. What happens
//! where there is no room follows from one rule: a name that was given up may stop a shortened name that
//! nobody meant for it, but it is never forgotten before its time.
//!
//! * An address that has 16 already gives up another one: the two of its names that have the longest
//!   beginning in common become that beginning, which stands for all names that begin so. To forget the
//!   oldest instead would mislead, because somebody behind the same router decides when that happens.
//!   So whoever takes `eve1`, `eve2` and so on in a loop makes `eve` of them, and `bob` of the same
//!   address stays what it is. If an address gives up names that have nothing in common, its beginnings
//!   become short, in the end empty; then only whole names count until they expire.
//! * There are 4096 already: the name is not kept, and only whole names count until it would have
//!   expired, as they do while the table is full.
//! * A name is longer than 64 bytes: what is kept stands for all names that begin so.
//!
//! A name that its present holder had before misleads nobody. A holder is a connection: whoever comes
//! back is another one, because the server cannot know better.

use std::collections::VecDeque;
use std::time::Duration;

use crate::peer::Origin;
use crate::text::alike::NameHash;
use crate::time::moment::Moment;

/// How long a name is remembered.
const KEPT: Duration = Duration::from_secs(600);

/// How many names are kept of one origin, how many of all, and how many bytes of each.
const MAX_OF_ORIGIN: usize = 16;
const MAX_NAMES: usize = 4096;
const MAX_KEY_BYTES: usize = 64;

/// A holder that is nobody who is here, or several.
const NOBODY: u64 = 0;

/// A name that a member had and has no longer.
#[derive(Debug)]
pub(super) struct GivenUp<'n> {
    pub(super) key: &'n str,
    pub(super) name: NameHash,
    /// The serial number of the person who had it; 0 for a plain member.
    pub(super) holder: u64,
    pub(super) origin: Origin,
}

/// A name that was typed and that no member has, and the only member that it may mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guess<'n> {
    pub(super) key: &'n str,
    pub(super) name: NameHash,
    /// The serial number of that member.
    pub(super) holder: u64,
    /// The member's name only looks like what was typed.
    pub(super) is_by_look: bool,
}

/// Why a guess may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Somebody else had that very name, or one that is alike.
    Name,
    /// Somebody else had a name that begins so, or may have had one.
    Beginning,
}

/// One name, or all names with the same beginning.
#[derive(Debug)]
struct Entry {
    key: Box<str>,
    /// The hash of the one name; `None` if it stands for several.
    name: Option<NameHash>,
    holder: u64,
    origin: Origin,
    expires_at: Moment,
}

/// The names, in the order in which they expire.
#[derive(Debug, Default)]
pub(super) struct GivenUpNames {
    entries: VecDeque<Entry>,
    /// Until then a name is missing for which there was no room.
    incomplete_until: Option<Moment>,
}

impl GivenUpNames {
    /// Remembers a name from now on.
    pub(super) fn add(&mut self, it: &GivenUp<'_>, now: Moment) {
        self.expire(now);
        let mut new = Entry::new(it, now);
        if self.entries.len() >= MAX_NAMES {
            self.incomplete_until = Some(new.expires_at);
            return;
        }
        let is_own = |entry: &Entry| entry.origin == new.origin;
        let own = self.entries.iter().filter(|entry| is_own(entry)).count();
        if own == 0 {
            return self.entries.push_back(new);
        }
        let mut entries = self.entries.iter();
        let covering = entries.position(|entry| is_own(entry) && entry.covers(&new));
        if let Some(covering) = covering.and_then(|place| self.entries.remove(place)) {
            new = covering.joined(&new);
        } else if own >= MAX_OF_ORIGIN {
            new = self.join_closest(new);
        }
        self.entries.push_back(new);
    }

    /// Joins the two names of an origin that have most in common, of which one may be `new`. Returns
    /// what is to be added.
    fn join_closest(&mut self, new: Entry) -> Entry {
        let own = self.entries.iter().enumerate();
        let own = own.filter(|(_, entry)| entry.origin == new.origin);
        let mut own: Vec<(Option<usize>, &str)> =
            own.map(|(place, it)| (Some(place), &*it.key)).collect();
        own.push((None, &new.key));
        own.sort_unstable_by_key(|&(_, key)| key);
        // Of sorted names, neighbours have most in common; equal ones have everything.
        let pairs = own.iter().zip(own.iter().skip(1));
        let closest = pairs.max_by_key(|((_, one), (_, other))| {
            let common = common_bytes(one, other);
            (one == other, common)
        });
        let places = closest.map(|(one, other)| (one.0.max(other.0), one.0.min(other.0)));
        let Some((Some(last), first)) = places else {
            return new;
        };
        let Some(one) = self.entries.remove(last) else {
            return new;
        };
        match first.and_then(|first| self.entries.remove(first)) {
            None => one.joined(&new),
            Some(other) => {
                // Their time is prolonged, which is safe, and keeps the order.
                let mut joined = other.joined(&one);
                joined.expires_at = new.expires_at;
                self.entries.push_back(joined);
                new
            }
        }
    }

    /// Returns why a guess may be wrong; `None` if it counts.
    pub(super) fn doubt(&self, guess: Guess<'_>, now: Moment) -> Option<Doubt> {
        let latest_first = self.entries.iter().rev();
        let in_force = latest_first.take_while(|entry| now < entry.expires_at);
        let of_others =
            in_force.filter(|entry| entry.holder == NOBODY || entry.holder != guess.holder);
        let doubts = of_others.filter_map(|entry| entry.doubt(guess));
        let doubt = doubts.min_by_key(|&doubt| doubt == Doubt::Beginning);
        doubt.or_else(|| self.is_incomplete(now).then_some(Doubt::Beginning))
    }

    fn is_incomplete(&self, now: Moment) -> bool {
        let expired = self.entries.iter();
        let expired = expired.take_while(|it| it.expires_at <= now).count();
        self.entries.len().saturating_sub(expired) >= MAX_NAMES
            || self.incomplete_until.is_some_and(|until| now < until)
    }

    /// When a name is to be [forgotten](Self::expire).
    pub(super) fn next_end(&self) -> Option<Moment> {
        Some(self.entries.front()?.expires_at)
    }

    /// Forgets the names whose time is over.
    pub(super) fn expire(&mut self, now: Moment) {
        while self.entries.front().is_some_and(|it| it.expires_at <= now) {
            self.entries.pop_front();
        }
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }
}

impl Entry {
    fn new(it: &GivenUp<'_>, now: Moment) -> Self {
        let ends = it
            .key
            .char_indices()
            .map(|(at, c)| at.saturating_add(c.len_utf8()));
        let end = ends.take_while(|&end| end <= MAX_KEY_BYTES).last();
        let kept = it.key.get(..end.unwrap_or(0)).unwrap_or_default();
        Self {
            key: kept.into(),
            name: (kept == it.key).then_some(it.name),
            holder: it.holder,
            origin: it.origin,
            expires_at: now + KEPT,
        }
    }

    fn is_same_name(&self, other: &Self) -> bool {
        self.name.is_some() && other.name.is_some() && self.key == other.key
    }

    /// Whether nothing is lost if the other one becomes part of this one.
    fn covers(&self, other: &Self) -> bool {
        match self.name {
            Some(_) => {
                let is_kept = [NOBODY, other.holder].contains(&self.holder);
                is_kept && self.is_same_name(other)
            }
            None => other.key.starts_with(&*self.key),
        }
    }

    /// What stands for both, for as long as the other one.
    fn joined(self, other: &Self) -> Self {
        let common = common_bytes(&self.key, &other.key);
        let is_one = self.is_same_name(other);
        let is_same_holder = self.holder == other.holder;
        Self {
            key: self.key.get(..common).unwrap_or_default().into(),
            name: other.name.filter(|_| is_one),
            holder: if is_same_holder { other.holder } else { NOBODY },
            origin: other.origin,
            expires_at: other.expires_at,
        }
    }

    fn doubt(&self, guess: Guess<'_>) -> Option<Doubt> {
        if self.name.is_some_and(|name| name.is_alike(guess.name)) {
            return Some(Doubt::Name);
        }
        // What several names look like is not known.
        let is_several = self.name.is_none();
        let may_be = self.key.starts_with(guess.key)
            || is_several && (guess.is_by_look || guess.key.starts_with(&*self.key));
        may_be.then_some(Doubt::Beginning)
    }
}

/// How many bytes two names have in common at their beginning, in whole characters.
fn common_bytes(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    let common = pairs.take_while(|(one, other)| one == other);
    common.map(|(c, _)| c.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::alike::{NameHasher, key};

    const SECOND: Duration = Duration::from_secs(1);

    struct Table {
        names: GivenUpNames,
        hasher: NameHasher,
        now: Moment,
    }

    impl Table {
        fn new() -> Self {
            Self {
                names: GivenUpNames::default(),
                hasher: NameHasher::default(),
                now: Moment::BEGINNING,
            }
        }

        fn hash(&self, name: &str) -> NameHash {
            self.hasher.hash(name, &key(name))
        }

        /// A member from an address gives up a name.
        fn give_up(&mut self, name: &str, holder: u64, address: u32) {
            let key = key(name);
            let given_up = GivenUp {
                key: &key,
                name: self.hash(name),
                holder,
                origin: Origin::User(address),
            };
            self.names.add(&given_up, self.now);
        }

        /// Why what was typed may not be for this holder.
        fn doubt(&self, typed: &str, holder: u64) -> Option<Doubt> {
            let guess = Guess {
                key: &key(typed),
                name: self.hash(typed),
                holder,
                is_by_look: false,
            };
            self.names.doubt(guess, self.now)
        }

        fn keys(&self) -> Vec<&str> {
            let entries = self.names.entries.iter();
            entries.map(|it| &*it.key).collect()
        }
    }

    #[test]
    fn a_guess_is_in_doubt_for_ten_minutes() {
        let mut table = Table::new();
        table.give_up("Bob", 1, 1);
        table.now = table.now + 300 * SECOND;
        table.give_up("carol", 2, 2);
        let doubts = |table: &Table| ["b", "bob", "c", "bobb"].map(|it| table.doubt(it, 9));
        let (name, beginning) = (Some(Doubt::Name), Some(Doubt::Beginning));
        assert_eq!(doubts(&table), [beginning, name, beginning, None]);
        assert_eq!(table.doubt("bob", 1), None, "it was its own");
        table.now = table.now + 299 * SECOND;
        assert_eq!(doubts(&table), [beginning, name, beginning, None]);
        table.now = table.now + SECOND;
        assert_eq!(doubts(&table), [None, None, beginning, None]);
        table.now = table.now + 300 * SECOND;
        assert_eq!(doubts(&table), [None; 4]);
    }

    #[test]
    fn a_name_is_freed_when_its_time_is_over() {
        let mut table = Table::new();
        assert_eq!(table.names.next_end(), None);
        table.give_up("bob", 1, 1);
        let first = table.now + KEPT;
        table.now = table.now + SECOND;
        table.give_up("carol", 2, 2);
        assert_eq!(table.names.next_end(), Some(first));
        table.names.expire(first);
        assert_eq!(table.keys(), ["carol"]);
        assert_eq!(table.names.next_end(), Some(first + SECOND));
        table.names.expire(first + SECOND);
        assert_eq!(table.names.next_end(), None);
        assert_eq!(table.names.entries.capacity(), 0);
    }

    #[test]
    fn a_name_that_two_have_given_up_was_neithers_alone() {
        let mut table = Table::new();
        table.give_up("bob", 1, 1);
        table.give_up("bob", 2, 1);
        assert_eq!(table.keys(), ["bob", "bob"]);
        assert_eq!(table.doubt("bo", 1), Some(Doubt::Beginning));
        assert_eq!(table.doubt("bo", 2), Some(Doubt::Beginning));
        table.give_up("dave", 3, 1);
        table.give_up("dave", 3, 1);
        assert_eq!(table.keys(), ["bob", "bob", "dave"]);
        assert_eq!(table.doubt("da", 3), None);
        for holder in 4..40 {
            table.give_up("dave", holder, 1);
        }
        // Equal names are joined first, and lose nothing but their holders.
        assert_eq!(table.names.entries.len(), MAX_OF_ORIGIN);
        assert_eq!(table.doubt("dav", 39), Some(Doubt::Beginning));
        assert_eq!(table.doubt("dave", 9), Some(Doubt::Name));
        assert_eq!(table.doubt("davey", 9), None);
    }

    #[test]
    fn whoever_gives_up_many_names_makes_nobody_forget_another() {
        let mut table = Table::new();
        // Behind the same router, and before.
        table.give_up("bob", 1, 7);
        for n in 0..200 {
            table.now = table.now + SECOND;
            table.give_up(&format!("eve{n}"), 2, 7);
        }
        assert_eq!(table.doubt("bob", 2), Some(Doubt::Name));
        assert_eq!(table.doubt("bo", 9), Some(Doubt::Beginning));
        for typed in ["e", "eve", "eve7", "eve199", "eve1999"] {
            assert!(table.doubt(typed, 9).is_some(), "{typed}");
            assert_eq!(table.doubt(typed, 2), None, "{typed}: all were its own");
        }
        for typed in ["a", "alice", "d", "eva", "f", "bobb"] {
            assert_eq!(table.doubt(typed, 9), None, "{typed}");
        }
        assert_eq!(table.names.entries.len(), MAX_OF_ORIGIN);
        // What stands for several is as old as the latest of them.
        table.now = table.now + 401 * SECOND;
        assert_eq!(table.doubt("bob", 2), None);
        assert!(table.doubt("eve19", 9).is_some());
        table.now = table.now + 199 * SECOND;
        assert_eq!(table.doubt("e", 9), None);
    }

    #[test]
    fn names_without_a_common_beginning_leave_whole_names_only() {
        let mut table = Table::new();
        for name in 'a'..='p' {
            table.give_up(&String::from(name), 1, 7);
        }
        assert_eq!(table.doubt("z", 9), None);
        table.give_up("q", 1, 7);
        assert_eq!(table.names.entries.len(), MAX_OF_ORIGIN);
        assert_eq!(table.doubt("z", 9), Some(Doubt::Beginning));
        table.now = table.now + KEPT;
        assert_eq!(table.doubt("z", 9), None);
    }

    #[test]
    fn while_it_is_full_every_guess_is_in_doubt() {
        let mut table = Table::new();
        for n in 0..4095_u32 {
            table.give_up(&format!("guest{n}"), 1, n / 16);
        }
        assert_eq!(table.doubt("bob", 9), None);
        table.now = table.now + SECOND;
        table.give_up("last", 1, 255);
        let beginning = Some(Doubt::Beginning);
        assert_eq!(table.doubt("bob", 9), beginning, "full");
        table.give_up("carol", 1, 256);
        assert_eq!(table.names.entries.len(), MAX_NAMES);
        table.now = table.now + 599 * SECOND;
        assert_eq!(table.doubt("bob", 9), beginning, "carol is missing");
        table.now = table.now + SECOND;
        assert_eq!(table.doubt("bob", 9), None);
        table.give_up("dora", 1, 1);
        assert_eq!(table.keys(), ["dora"]);
    }

    #[test]
    fn of_a_long_name_the_beginning_is_kept() {
        let mut table = Table::new();
        let long = "é".repeat(40);
        table.give_up(&long, 1, 1);
        assert_eq!(table.keys(), [&*"é".repeat(32)]);
        for chars in [1, 32, 39, 40] {
            let typed = "é".repeat(chars);
            assert!(table.doubt(&typed, 9).is_some(), "{chars}");
        }
        assert_eq!(table.doubt("a", 9), None);
    }
}
