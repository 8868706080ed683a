//! The room: who is in, under which nick, what a line becomes, and who gets it. It knows members by
//! id and hands each of them what it has not been given yet, so who sees what is decided here and
//! nowhere else, and no socket is needed to test it.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use log::{debug, log_enabled};

use crate::nick::{Nick, NickError};
use crate::prefix::Prefix;
use crate::skip::Voice;
use crate::talk::{Lines, Place, Talk};
use crate::text;

/// A client, from its connection's coming to its end. It is free for another one after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub usize);

/// The members and the line that is on its way to them.
#[derive(Debug)]
pub(crate) struct Room {
    prefix: Prefix,
    max_nick_chars: usize,
    /// Each member under its client's number; `None` for a client that is none.
    members: Vec<Option<Member>>,
    /// The members once more, without gaps.
    audience: Vec<ClientId>,
    /// Whose nick has which key. It holds no keys, only their hashes; the key of the few that could
    /// be meant is made again. Only for look-ups: its order means nothing.
    taken: HashTable<Owner>,
    hasher: RandomState,
    /// What was said since the last [`end_turn`](Self::end_turn).
    talk: Talk,
    /// Where unclean text is cleaned.
    scratch: String,
}

#[derive(Debug)]
struct Member {
    nick: Nick,
    /// What it has been given.
    place: Place,
    /// Where it stands in the audience.
    seat: u32,
    /// It has said something in this turn.
    has_spoken: bool,
}

/// Who has a nick, and the hash of that nick's key.
#[derive(Debug, Clone, Copy)]
struct Owner {
    id: ClientId,
    hash: u64,
}

impl Room {
    pub(crate) fn new(prefix: Prefix, max_nick_chars: usize) -> Self {
        Self {
            prefix,
            max_nick_chars,
            members: Vec::new(),
            audience: Vec::new(),
            taken: HashTable::new(),
            hasher: RandomState::new(),
            talk: Talk::default(),
            scratch: String::new(),
        }
    }

    /// Makes `id` a member, under the nick that it asks for with this line.
    pub(crate) fn join(&mut self, id: ClientId, line: &[u8]) -> Result<&Nick, NickError> {
        let nick = Nick::parse(line, self.max_nick_chars)?;
        let key = nick.key();
        let hash = self.hasher.hash_one(&key);
        if self.owner(hash, &key).is_some() {
            return Err(NickError::Taken(nick));
        }
        self.taken
            .insert_unique(hash, Owner { id, hash }, |owner| owner.hash);
        let member = Member {
            nick,
            place: self.talk.place(),
            seat: seat(self.audience.len()),
            has_spoken: false,
        };
        self.audience.push(id);
        if self.members.len() <= id.0 {
            self.members.resize_with(id.0 + 1, || None);
        }
        Ok(&self.members[id.0].insert(member).nick)
    }

    /// Takes `id` out; its nick is free at once. `None` if it was no member.
    pub(crate) fn leave(&mut self, id: ClientId) -> Option<Nick> {
        let member = self.members.get_mut(id.0)?.take()?;
        self.audience.swap_remove(member.seat as usize);
        if let Some(moved) = self.audience.get(member.seat as usize)
            && let Some(Some(moved)) = self.members.get_mut(moved.0)
        {
            moved.seat = member.seat;
        }
        let hash = self.hasher.hash_one(member.nick.key());
        if let Ok(owner) = self.taken.find_entry(hash, |owner| owner.id == id) {
            owner.remove();
        }
        Some(member.nick)
    }

    /// Who has the nick with this key.
    fn owner(&self, hash: u64, key: &str) -> Option<ClientId> {
        let is_meant = |owner: &Owner| {
            owner.hash == hash && self.nick(owner.id).is_some_and(|nick| nick.key() == key)
        };
        self.taken.find(hash, is_meant).map(|owner| owner.id)
    }

    fn nick(&self, id: ClientId) -> Option<&Nick> {
        let member = self.members.get(id.0)?.as_ref();
        member.map(|member| &member.nick)
    }

    /// A member says a line, to everybody else; gives its length in bytes as they see it. An empty
    /// line says nothing.
    pub(crate) fn say(&mut self, id: ClientId, line: &[u8], voice: Voice) -> usize {
        let Some(Some(member)) = self.members.get_mut(id.0) else {
            return 0;
        };
        if line.is_empty() {
            return 0;
        }
        member.has_spoken = true;
        let text = text::clean(line, &mut self.scratch);
        self.talk.say(id.0, voice, |line| {
            let start = line.len();
            self.prefix.write(member.nick.as_str(), line);
            line.extend_from_slice(text.as_str().as_bytes());
            if log_enabled!(log::Level::Debug) {
                debug!("{}", String::from_utf8_lossy(&line[start..]));
            }
            line.extend_from_slice(b"\r\n");
        })
    }

    /// Whether something was said in this turn.
    pub(crate) fn has_talk(&self) -> bool {
        !self.talk.is_empty()
    }

    /// All members.
    pub(crate) fn audience(&self) -> &[ClientId] {
        &self.audience
    }

    /// What a member has not been given of what was said: everything but its own lines.
    pub(crate) fn unheard(&self, id: ClientId) -> impl Iterator<Item = Lines<'_>> {
        let member = self.members.get(id.0).and_then(Option::as_ref);
        let talk = member.map(|member| self.talk.since(member.place, id.0, member.has_spoken));
        talk.into_iter().flatten()
    }

    /// A member has been given all that was said.
    pub(crate) fn mark_heard(&mut self, id: ClientId) {
        if let Some(Some(member)) = self.members.get_mut(id.0) {
            member.place = self.talk.place();
        }
    }

    /// All members have been given all that was said.
    pub(crate) fn end_turn(&mut self) {
        for speaker in self.talk.speakers() {
            if let Some(Some(member)) = self.members.get_mut(speaker) {
                member.has_spoken = false;
            }
        }
        self.talk.end_turn();
    }
}

/// Four bytes are enough for the seats of a room.
fn seat(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room_of(nicks: &[&str]) -> Room {
        let mut room = Room::new(Prefix::default(), 32);
        for (id, nick) in nicks.iter().enumerate() {
            room.join(ClientId(id), nick.as_bytes())
                .expect("a free nick");
        }
        room
    }

    /// What each member hears when `id` says a line.
    fn said(room: &mut Room, id: usize, line: &[u8]) -> Vec<(usize, String)> {
        room.say(ClientId(id), line, Voice::Quiet);
        let text = |lines: Lines<'_>| String::from_utf8_lossy(lines.bytes()).into_owned();
        let heard = |&id: &ClientId| room.unheard(id).map(move |lines| (id.0, text(lines)));
        let heard = room.audience().iter().flat_map(heard).collect();
        room.end_turn();
        heard
    }

    #[test]
    fn a_line_goes_to_everybody_but_its_speaker() {
        let mut room = room_of(&["alice", "bob", "carol"]);
        let line = "bob: hi\r\n".to_owned();
        assert_eq!(said(&mut room, 1, b"hi"), [(0, line.clone()), (2, line)]);
    }

    #[test]
    fn an_empty_line_and_a_stranger_say_nothing() {
        let mut room = room_of(&["alice", "bob"]);
        assert_eq!(said(&mut room, 0, b"hi").len(), 1);
        assert_eq!(said(&mut room, 0, b""), []);
        assert_eq!(said(&mut room, 7, b"hi"), []);
    }

    #[test]
    fn text_is_cleaned_and_stays_one_line() {
        let mut room = room_of(&["alice", "bob"]);
        let line = said(
            &mut room,
            0,
            "\u{1b}[1mhi\u{2028}* bob is a liar".as_bytes(),
        );
        assert_eq!(
            line,
            [(
                1,
                "alice: \u{fffd}[1mhi\u{fffd}* bob is a liar\r\n".to_owned()
            )]
        );
    }

    #[test]
    fn a_nick_is_taken_until_its_owner_leaves() {
        let mut room = room_of(&["alice", "bob"]);
        let taken = room.join(ClientId(9), b"BOB").cloned();
        assert_eq!(
            taken,
            Err(NickError::Taken(Nick::parse(b"BOB", 32).expect("a nick")))
        );
        assert_eq!(room.leave(ClientId(1)).expect("a member").as_str(), "bob");
        assert_eq!(room.leave(ClientId(1)), None);
        assert!(room.join(ClientId(9), b"BOB").is_ok());
        assert_eq!(said(&mut room, 9, b"x"), [(0, "BOB: x\r\n".to_owned())]);
    }
}
