//! Whom a person ignores. This is all that a person can make the server keep for long, so it has a limit
//! of its own, in bytes of memory: a nick may take half a kilobyte with its key, and somebody could
//! choose long ones to be ignored. Therefore only the nick is kept, as it is shown, and the hashes by which
//! it is compared, and the list grows by one place at a time.

use std::mem::size_of;

use crate::text::alike::Identity;

/// How many members one person can ignore, and how many bytes of memory that may take.
const MAX_IGNORED: usize = 32;
const MAX_BYTES: usize = 4 << 10;

/// What an allocation costs besides its bytes.
const ALLOCATION_BYTES: usize = 16;

/// Whom a person ignores, in the order in which they were named.
#[derive(Debug, Default)]
pub(super) struct IgnoreList(Vec<Ignored>);

#[derive(Debug)]
struct Ignored {
    whom: Identity,
    nick: Box<str>,
}

impl IgnoreList {
    /// Returns whether there was room.
    pub(super) fn add(&mut self, whom: Identity, nick: &str) -> bool {
        let bytes = self.bytes().saturating_add(bytes_for(nick));
        // A single nick is not longer than the one of its member.
        let has_room = self.0.is_empty() || self.0.len() < MAX_IGNORED && bytes <= MAX_BYTES;
        if has_room {
            let nick = nick.into();
            self.0.reserve_exact(1);
            self.0.push(Ignored { whom, nick });
        }
        has_room
    }

    /// Removes the first one that is meant, and returns it with its nick.
    pub(super) fn remove(
        &mut self,
        is_meant: impl Fn(Identity) -> bool,
    ) -> Option<(Identity, Box<str>)> {
        let place = self.0.iter().position(|it| is_meant(it.whom))?;
        let Ignored { whom, nick } = self.0.remove(place);
        self.0.shrink_to_fit();
        Some((whom, nick))
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[cold]
    pub(super) fn holds(&self, other: Identity) -> bool {
        self.0.iter().any(|it| it.whom.is(other))
    }

    pub(super) fn nicks(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|it| &*it.nick)
    }

    /// The memory that it takes.
    fn bytes(&self) -> usize {
        self.0.iter().map(|it| bytes_for(&it.nick)).sum()
    }
}

fn bytes_for(nick: &str) -> usize {
    let fixed = size_of::<Ignored>().saturating_add(ALLOCATION_BYTES);
    fixed.saturating_add(nick.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::alike::NameHasher;

    fn person(hasher: &NameHasher, serial: u64) -> Identity {
        let name = hasher.hash_key(&serial.to_string());
        Identity { name, serial }
    }

    #[test]
    fn it_is_full_by_number_or_by_bytes_and_has_room_again_for_what_is_removed() {
        for (nick, most) in [
            ("bob", 32),
            ("\u{1d163}", 32),
            (&*"\u{1d163}".repeat(32), 22),
        ] {
            let (mut list, hasher) = (IgnoreList::default(), NameHasher::default());
            let person = |serial| person(&hasher, serial);
            for n in 0..most {
                assert!(list.add(person(n), nick), "{n} of {nick}");
            }
            assert!(!list.add(person(most), nick), "{nick}");
            assert!(list.bytes() <= MAX_BYTES && list.0.capacity() == list.len());
            let removed = list.remove(|it| it.serial == 7).expect("it is there");
            assert_eq!(&*removed.1, nick);
            assert!(!list.holds(person(7)) && list.holds(person(8)));
            assert!(list.add(person(most), nick));
            assert_eq!(list.nicks().count() as u64, most);
        }
    }
}
