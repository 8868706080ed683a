//! The room: who is in, under which nick, and what a line becomes. It knows members by id and hands
//! out deliveries (to whom, which bytes), so who sees what is decided here and nowhere else, and no
//! socket is needed to test it.

use std::collections::{BTreeMap, HashMap};

use log::{debug, log_enabled};

use crate::nick::{Nick, NickError};
use crate::prefix::Prefix;
use crate::text;

/// A client, from its connection's coming to its end. It is free for another one after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub usize);

/// The members and the line that is on its way to them.
#[derive(Debug)]
pub(crate) struct Room {
    prefix: Prefix,
    max_nick_chars: usize,
    /// Ordered, so that a run can be repeated; each nick's key is in `taken`.
    members: BTreeMap<ClientId, Nick>,
    /// The keys of all members' nicks. Only for look-ups: its order means nothing.
    taken: HashMap<String, ClientId>,
    /// Who speaks `line`.
    speaker: ClientId,
    /// What [`deliveries`](Self::deliveries) hands out: a whole line with its end, or nothing.
    line: Vec<u8>,
    /// Where unclean text is cleaned.
    scratch: String,
}

impl Room {
    pub(crate) fn new(prefix: Prefix, max_nick_chars: usize) -> Self {
        Self {
            prefix,
            max_nick_chars,
            members: BTreeMap::new(),
            taken: HashMap::new(),
            speaker: ClientId(usize::MAX),
            line: Vec::new(),
            scratch: String::new(),
        }
    }

    /// Makes `id` a member, under the nick that it asks for with this line.
    pub(crate) fn join(&mut self, id: ClientId, line: &[u8]) -> Result<&Nick, NickError> {
        let nick = Nick::parse(line, self.max_nick_chars)?;
        let key = nick.key();
        if self.taken.contains_key(&key) {
            return Err(NickError::Taken(nick));
        }
        self.taken.insert(key, id);
        Ok(self.members.entry(id).or_insert(nick))
    }

    /// Takes `id` out; its nick is free at once. `None` if it was no member.
    pub(crate) fn leave(&mut self, id: ClientId) -> Option<Nick> {
        let nick = self.members.remove(&id)?;
        self.taken.remove(&nick.key());
        Some(nick)
    }

    /// A member says a line: it becomes what [`deliveries`](Self::deliveries) hands out. An empty
    /// line says nothing.
    pub(crate) fn say(&mut self, id: ClientId, line: &[u8]) {
        self.line.clear();
        let Some(nick) = self.members.get(&id).filter(|_| !line.is_empty()) else {
            return;
        };
        let text = text::clean(line, &mut self.scratch);
        self.speaker = id;
        self.prefix.write(nick.as_str(), &mut self.line);
        self.line.extend_from_slice(text.as_str().as_bytes());
        if log_enabled!(log::Level::Debug) {
            debug!("{}", String::from_utf8_lossy(&self.line));
        }
        self.line.extend_from_slice(b"\r\n");
    }

    /// Who is to get the line that was just said. Every member but its speaker.
    pub(crate) fn deliveries(&self) -> impl Iterator<Item = (ClientId, &[u8])> {
        let members = self.members.keys().filter(|_| !self.line.is_empty());
        members
            .filter(|&&id| id != self.speaker)
            .map(|&id| (id, &*self.line))
    }
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

    fn said(room: &mut Room, id: usize, line: &[u8]) -> Vec<(usize, String)> {
        room.say(ClientId(id), line);
        let owned =
            |(id, line): (ClientId, &[u8])| (id.0, String::from_utf8_lossy(line).into_owned());
        room.deliveries().map(owned).collect()
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
