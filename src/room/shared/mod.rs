//! A room that several servers share: [`Shared`] gathers what is to be said everywhere, and
//! [`on_event`](crate::relay::Room::on_event) does what the log says, in its order, which is the same on all servers. So
//! a line of a member here is heard here as well only when it comes back.
//!
//! | state | a member says something | the log says something | cut off | back |
//! |---|---|---|---|---|
//! | `Joining` | waits | is kept for those who join later | `Alone` | - |
//! | `Together` | waits for the log | everybody hears it | `Alone`; those elsewhere leave | - |
//! | `Alone` | is heard here, and nowhere else | everybody hears it: it was said meanwhile | - | `Together` |
//!
//! In an entry of the log a nick stands before what its owner says, so a line can be shown whoever has left
//! meanwhile. What another server sends is checked as if it came from a client.

mod heard;

use std::collections::BTreeMap;

use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::config::prefix::Prefix;
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::Message;
use crate::protocol::relay_batch::{Kind, NodeId};
use crate::room::asking::Asking;
use crate::room::elsewhere::Place;
use crate::room::members::Member;
use crate::room::private::Private;
use crate::room::{Room, Spoken};
use crate::text::nick::Nick;
use crate::text::{self, CleanText};
use crate::time::moment::Moment;

/// How many members of other servers may wait for their nicks.
const MAX_DISPLACED: usize = 4096;

/// What a room keeps that is shared with other servers.
#[derive(Debug)]
pub(super) struct Shared {
    state: State,
    /// The time of this turn.
    pub(super) now: Moment,
    outgoing: Outgoing,
    /// The numbers under which other servers know the members here. No number is used twice.
    conn_of: BTreeMap<ClientId, u64>,
    by_conn: BTreeMap<u64, ClientId>,
    last_conn: u64,
    /// Somebody has asked who is here.
    is_asked: bool,
    /// A server is gone.
    has_gone: bool,
    /// How many lines of others were told since the room was cut off.
    missed: u64,
    /// How many lines were said here while it was.
    said_alone: u64,
    /// The last line that was passed on, as others will see it.
    line: Vec<u8>,
    pub(super) private: Private,
    /// Bans and mutes of which others have told.
    kept: Vec<String>,
    /// Members of other servers whose nicks are taken here, and whether they are people.
    displaced: BTreeMap<Place, (Nick, bool)>,
    pub(super) asking: Asking,
}

/// How the room stands to the other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Joining,
    Together,
    Alone,
}

/// What is to be said everywhere, in the order in which it was said here.
#[derive(Debug, Default)]
struct Outgoing {
    text: String,
    entries: Vec<(u64, Kind, usize)>,
}

impl Outgoing {
    /// Adds an entry whose text is these words with blanks between them.
    fn push(&mut self, conn: u64, kind: Kind, words: &[&str]) {
        for (n, word) in words.iter().enumerate() {
            if n > 0 {
                self.text.push(' ');
            }
            self.text.push_str(word);
        }
        self.entries.push((conn, kind, self.text.len()));
    }

    fn take(&mut self, mut each: impl FnMut(u64, Kind, &str)) {
        let mut from = 0;
        for (conn, kind, to) in self.entries.drain(..) {
            each(conn, kind, self.text.get(from..to).unwrap_or_default());
            from = to;
        }
        self.text.clear();
        self.text.shrink_to(64 << 10);
    }
}

impl Shared {
    fn new(now: Moment) -> Self {
        Self {
            state: State::Joining,
            now,
            outgoing: Outgoing::default(),
            conn_of: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            last_conn: 0,
            is_asked: false,
            has_gone: false,
            missed: 0,
            said_alone: 0,
            line: Vec::new(),
            private: Private::default(),
            kept: Vec::new(),
            displaced: BTreeMap::new(),
            asking: Asking::default(),
        }
    }

    /// The number under which others know a member here.
    pub(super) fn conn_of(&self, id: ClientId) -> Option<u64> {
        self.conn_of.get(&id).copied()
    }

    /// Whether the client is here that others know under this number.
    pub(super) fn is_here(&self, conn: u64) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// The number under which others know a client here, or will.
    pub(super) fn number(&mut self, id: ClientId) -> u64 {
        if let Some(conn) = self.conn_of(id) {
            return conn;
        }
        self.last_conn = self.last_conn.saturating_add(1);
        self.conn_of.insert(id, self.last_conn);
        self.by_conn.insert(self.last_conn, id);
        self.last_conn
    }

    fn remove(&mut self, id: ClientId) -> Option<u64> {
        let conn = self.conn_of.remove(&id)?;
        self.by_conn.remove(&conn);
        self.asking.leave(conn);
        Some(conn)
    }

    fn is_alone(&self) -> bool {
        self.state == State::Alone
    }
}

/// What stands behind the nick of somebody who joins: whether it is a person or a script.
const PERSON: &str = "person";
const SCRIPT: &str = "script";

/// Behind that: it may talk in a moderated room.
const VOICE: &str = "voice";

/// The room is moderated.
const MODERATED: &str = "moderated";

/// What stands behind the nick of somebody who leaves: by itself, perhaps with words, or for a reason. Nothing
/// stands there if the others were told before.
const QUIT: &str = "quit";
const BECAUSE: &str = "because";

impl Room {
    /// Shares the room with other servers from now on.
    pub(crate) fn share(&mut self, now: Moment) {
        let mut shared = Shared::new(now);
        for seat in self.members.seats().0 {
            shared.number(seat.id);
        }
        self.is_watched = true;
        self.shared = Some(Box::new(shared));
    }

    /// Hands out what is to be said everywhere.
    pub(crate) fn take_outgoing(&mut self, each: impl FnMut(u64, Kind, &str)) {
        if let Some(shared) = &mut self.shared {
            shared.outgoing.take(each);
        }
    }

    /// How much is to be said everywhere, in bytes. It comes back to be heard here as well.
    #[cfg(feature = "relay")]
    #[inline]
    pub(crate) fn outgoing_bytes(&self) -> usize {
        let shared = self.shared.as_ref();
        shared.map_or(0, |shared| shared.outgoing.text.len())
    }

    /// Whether another server has asked who is here, and what is in force. A room that is cut off answers when it is
    /// back: of whoever leaves before, the others would not hear.
    pub(crate) fn is_asked(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| shared.is_asked && !shared.is_alone())
    }

    /// Tells all servers who is here, and what is in force: each of these bans and mutes, and whether the room is
    /// moderated.
    pub(crate) fn name_all<'k>(&mut self, kept: impl Iterator<Item = &'k str>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        shared.is_asked = false;
        for line in kept {
            shared.outgoing.push(0, Kind::Kept, &[line]);
        }
        if self.is_moderated {
            shared.outgoing.push(0, Kind::Kept, &[MODERATED]);
        }
        for (&conn, &id) in &shared.by_conn {
            if let Some(member) = self.members.get(id) {
                let voice = if member.has_voice { VOICE } else { "" };
                let words = [member.nick.as_str(), kind_of(member), voice];
                shared.outgoing.push(conn, Kind::Here, &words);
            }
        }
        shared.outgoing.push(0, Kind::Here, &[]);
    }

    /// A client has become a member. Returns whether the others are told of it by the log.
    pub(super) fn share_join(&mut self, id: ClientId) -> bool {
        let (Some(shared), Some(member)) = (&mut self.shared, self.members.get(id)) else {
            return false;
        };
        let conn = shared.number(id);
        if shared.is_alone() {
            return false;
        }
        let words = [member.nick.as_str(), kind_of(member)];
        shared.outgoing.push(conn, Kind::Join, &words);
        true
    }

    /// A client has left that was no member, and may have asked for a nick.
    pub(super) fn forget_asking(&mut self, id: ClientId) {
        if let Some(shared) = &mut self.shared {
            shared.remove(id);
        }
    }

    /// A client is a member again, of which nobody is told: other servers have to know where it is.
    pub(super) fn share_return(&mut self, id: ClientId) {
        let (Some(shared), Some(member)) = (&mut self.shared, self.members.get(id)) else {
            return;
        };
        let conn = shared.number(id);
        if !shared.is_alone() {
            let words = [member.nick.as_str(), kind_of(member)];
            shared.outgoing.push(conn, Kind::Here, &words);
        }
    }

    /// A member is about to leave, with these words. Returns whether the others are told by the log.
    pub(super) fn share_quit(&mut self, id: ClientId, words: CleanText<'_>) -> bool {
        if !self.is_together() {
            return false;
        }
        self.share_order(id, Kind::Left, &[QUIT, words.as_str()]);
        true
    }

    /// A member has another nick. Returns whether the others are told by the log.
    pub(super) fn share_rename(&mut self, id: ClientId, old: &Nick) -> bool {
        if !self.is_together() {
            return false;
        }
        let (Some(shared), Some(member)) = (&mut self.shared, self.members.get(id)) else {
            return false;
        };
        if let Some(&conn) = shared.conn_of.get(&id) {
            let words = [old.as_str(), member.nick.as_str()];
            shared.outgoing.push(conn, Kind::Renamed, &words);
        }
        self.list_displaced();
        true
    }

    /// A member has left. `told`: why, if the others are told. Returns whether they are told by the log.
    pub(super) fn share_leave(
        &mut self,
        id: ClientId,
        nick: &Nick,
        told: Option<CloseReason>,
    ) -> bool {
        let Some(shared) = &mut self.shared else {
            return false;
        };
        let Some(conn) = shared.remove(id) else {
            return false;
        };
        if shared.is_alone() {
            return false;
        }
        let has_displaced = !shared.displaced.is_empty();
        let nick = nick.as_str();
        match told {
            None => shared.outgoing.push(conn, Kind::Left, &[nick]),
            Some(CloseReason::HungUp | CloseReason::Broken | CloseReason::Shutdown) => {
                shared.outgoing.push(conn, Kind::Left, &[nick, QUIT]);
            }
            Some(reason) => {
                let reason = reason.to_string();
                shared
                    .outgoing
                    .push(conn, Kind::Left, &[nick, BECAUSE, &reason]);
            }
        }
        if has_displaced {
            self.list_displaced();
        }
        true
    }

    /// An operator orders something on all servers.
    pub(crate) fn share_order(&mut self, by: ClientId, order: Kind, words: &[&str]) {
        let (Some(shared), Some(member)) = (&mut self.shared, self.members.get(by)) else {
            return;
        };
        if let Some(&conn) = shared.conn_of.get(&by) {
            let words = [&[member.nick.as_str()], words].concat();
            shared.outgoing.push(conn, order, &words);
        }
    }

    /// The author of an entry of the log, and the other end of its connection if that is here.
    pub(crate) fn author_of(
        &mut self,
        node: NodeId,
        is_own: bool,
        conn: u64,
        name: &str,
    ) -> (ClientId, Peer) {
        let id = match is_own {
            true => self.member_here(conn),
            false => self.member_elsewhere(Place { node, conn }, name),
        };
        let id = id.unwrap_or(ClientId::NOBODY);
        let person = self.members.person(id);
        (id, person.map_or(Peer::ELSEWHERE, |person| person.from))
    }

    /// Whether what is said here goes to other servers.
    pub(crate) fn is_together(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| !shared.is_alone())
    }

    /// Whether the other servers do not hear this one.
    pub(super) fn is_cut_off(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.is_alone())
    }

    /// Whether what a member says now goes to all servers first. While the room is cut off it does not, and is
    /// counted.
    pub(super) fn passes_on(&mut self) -> bool {
        let Some(shared) = &mut self.shared else {
            return false;
        };
        if shared.is_alone() {
            shared.said_alone = shared.said_alone.saturating_add(1);
            return false;
        }
        true
    }

    /// A member that may talk says a line to everybody on all servers.
    pub(super) fn share_line<'a>(
        &'a mut self,
        id: ClientId,
        line: &'a [u8],
        class: Class,
    ) -> Option<Spoken<'a>> {
        let text = text::clean(line, &mut self.scratch);
        let (members, prefix) = (&self.members, &self.prefix);
        let shared = self.shared.as_mut()?;
        shared.pass_on(members.get(id)?, prefix, id, text, said_by(class))
    }

    /// A member that may talk says or does something on all servers.
    pub(super) fn share_words<'a>(
        &'a mut self,
        id: ClientId,
        text: CleanText<'a>,
        kind: Kind,
    ) -> Option<Spoken<'a>> {
        let (members, prefix) = (&self.members, &self.prefix);
        let shared = self.shared.as_mut()?;
        shared.pass_on(members.get(id)?, prefix, id, text, kind)
    }
}

impl Shared {
    fn pass_on<'a>(
        &'a mut self,
        member: &'a Member,
        prefix: &Prefix,
        id: ClientId,
        text: CleanText<'a>,
        kind: Kind,
    ) -> Option<Spoken<'a>> {
        let conn = *self.conn_of.get(&id)?;
        let words = [member.nick.as_str(), text.as_str()];
        self.outgoing.push(conn, kind, &words);
        self.line.clear();
        let message = match kind {
            Kind::Act => Message::Action(&member.nick, text),
            _ => Message::Line(prefix, &member.nick, text),
        };
        message.write(&mut self.line);
        Some(Spoken {
            nick: &member.nick,
            text,
            line: &self.line,
            bytes: self.line.len(),
            is_written_twice: false,
        })
    }
}

/// The kind of entry for what a member of this class says.
pub(super) fn said_by(class: Class) -> Kind {
    match class {
        Class::Sparse => Kind::Say,
        Class::Bulk => Kind::Flood,
    }
}

/// The word for what a member is.
fn kind_of(member: &Member) -> &'static str {
    match member.person.is_some() {
        true => PERSON,
        false => SCRIPT,
    }
}
