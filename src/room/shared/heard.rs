//! What the log says, done in the room: lines are heard, members of other servers come and leave, and people are told
//! when their server is cut off and when it is back. It is not trusted: names and texts are checked as those of a client
//! are, and who another server speaks for is looked up by place.

use super::{BECAUSE, MAX_DISPLACED, MODERATED, SCRIPT, State, VOICE};
use crate::broadcast::batch::{Batch, Kind as LineKind, Speaker};
use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::message::Message;
use crate::protocol::relay_batch::{Kind, Line, NodeId};
use crate::relay::{self, Event};
use crate::room::Room;
use crate::room::elsewhere::Place;
use crate::room::members::Member;
use crate::room::presence::Change;
use crate::text;
use crate::text::nick::Nick;
use crate::time::expiring_set::MAX_ENTRIES;
use crate::time::moment::Moment;

impl relay::Room for Room {
    fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::Line {
                node,
                is_own,
                stored_at,
                line,
                is_late,
                ..
            } => self.on_line(node, is_own, line, stored_at, is_late),
            Event::HereOnly { line } => {
                self.on_line(NodeId(0), true, line, self.shared_now(), false);
            }
            Event::NewNode { node, was, is_own } => self.on_new_node(node, was, is_own),
            Event::Gone { node } => self.on_gone(node),
            Event::Lost { lines } => self.on_lost(lines),
            Event::Started => self.start(),
            Event::Split => self.on_split(),
            Event::Back { unheard } => self.on_back(unheard),
        }
    }
}

impl Room {
    /// The log was read up to its end once. A room that was cut off before stays so until it is back.
    fn start(&mut self) {
        if let Some(shared) = &mut self.shared
            && shared.state == State::Joining
        {
            shared.state = State::Together;
        }
    }

    pub(in crate::room) fn shared_now(&self) -> Moment {
        let shared = self.shared.as_ref();
        shared.map_or(Moment::BEGINNING, |shared| shared.now)
    }

    fn on_line(
        &mut self,
        node: NodeId,
        is_own: bool,
        line: Line<'_>,
        said_at: Moment,
        is_late: bool,
    ) {
        let place = Place {
            node,
            conn: line.conn,
        };
        match line.kind {
            Kind::Say | Kind::Flood | Kind::Act => {
                // Whatever is read before the room is back stands above what tells so.
                if let Some(shared) = self.shared.as_mut().filter(|it| it.is_alone() && !is_own) {
                    shared.missed = shared.missed.saturating_add(1);
                }
                let is_old = is_late && !self.is_started();
                self.hear(place, is_own, line, said_at, is_old);
            }
            _ => self.on_change(place, is_own, line, is_late),
        }
    }

    /// Somebody comes, goes or has another name, or a server tells who is there and what is in force.
    fn on_change(&mut self, place: Place, is_own: bool, line: Line<'_>, is_late: bool) {
        let (nick, rest) = line.words();
        match line.kind {
            Kind::Here if is_own => {}
            Kind::Join if is_own => self.came_here(line, nick),
            Kind::Join => self.came(place, nick, rest, !is_late),
            Kind::Here if nick.is_empty() => self.named_all(place.node),
            Kind::Here => self.came(place, nick, rest, false),
            Kind::Left if is_own => self.went_here(nick, rest),
            Kind::Left => self.went(place, rest, !is_late),
            Kind::Kept if !is_own => self.note_kept(line.text),
            Kind::Renamed => self.renamed(place, is_own, nick, rest),
            _ => {}
        }
    }

    /// Another server tells what is in force.
    fn note_kept(&mut self, line: &str) {
        if line == MODERATED {
            (self.is_moderated, self.is_watched) = (true, true);
        } else if let Some(shared) = &mut self.shared
            && shared.kept.len() < MAX_ENTRIES
        {
            shared.kept.push(line.to_owned());
        }
    }

    /// Whether a server is gone since the last time. Its nicks are free.
    pub(crate) fn take_gone(&mut self) -> bool {
        let shared = self.shared.as_mut();
        shared.is_some_and(|shared| std::mem::take(&mut shared.has_gone))
    }

    /// Takes the bans and mutes of which others have told.
    pub(crate) fn take_kept(&mut self) -> Vec<String> {
        let shared = self.shared.as_mut();
        shared.map_or_else(Vec::new, |shared| std::mem::take(&mut shared.kept))
    }

    /// Whether the log was read up to its end once.
    pub(crate) fn is_started(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| shared.state != State::Joining)
    }

    /// Somebody says or does something. `is_old`: before anybody here could hear it.
    fn hear(&mut self, place: Place, is_own: bool, line: Line<'_>, said_at: Moment, is_old: bool) {
        let (name, words) = line.words();
        let id = match is_own {
            true => self.member_here(place.conn),
            false => self.member_elsewhere(place, name),
        };
        let stranger = match id {
            Some(_) => None,
            None => self.stranger(name),
        };
        if is_own && let Some(id) = id {
            self.members.set_spoken(id, true);
        }
        let mut nowhere = Batch::default();
        let (mut medium, members, scratch) = self.medium();
        if is_old {
            medium.batch = &mut nowhere;
        }
        let member = id.and_then(|id| members.get(id)).or(stranger.as_ref());
        let text = text::clean(words.as_bytes(), scratch);
        let Some(member) = member.filter(|_| !text.as_str().is_empty()) else {
            return;
        };
        let (id, from) = (id.unwrap_or(ClientId::NOBODY), Peer::ELSEWHERE);
        let class = match line.kind {
            Kind::Flood => Class::Bulk,
            _ => Class::Sparse,
        };
        match line.kind {
            Kind::Act => medium.act(member, id, &from, text, class, said_at),
            _ => medium.say(member, id, &from, text, class, said_at),
        };
    }

    /// The member here that the others know under this number.
    pub(in crate::room) fn member_here(&self, conn: u64) -> Option<ClientId> {
        self.shared.as_ref()?.by_conn.get(&conn).copied()
    }

    /// The member of another server, which is added if it was not known: the entry with its joining is too old.
    pub(in crate::room) fn member_elsewhere(
        &mut self,
        place: Place,
        name: &str,
    ) -> Option<ClientId> {
        let known = self.members.elsewhere().at(place);
        let is_it = |id: &ClientId| {
            let member = self.members.get(*id);
            member.is_some_and(|member| member.nick.as_str() == name)
        };
        match known {
            Some(_) => known.filter(is_it),
            None => self.add_elsewhere(place, name, true),
        }
    }

    /// Adds a member of another server. `None` if its nick is none here, or is like that of somebody else.
    fn add_elsewhere(&mut self, place: Place, name: &str, is_person: bool) -> Option<ClientId> {
        let now = self.shared_now();
        let nick = Nick::parse(name.as_bytes(), self.max_nick_chars).ok()?;
        let name = self.members.hash_for_member(&nick);
        let added = self
            .members
            .add_elsewhere(place, nick.clone(), name, is_person, now);
        match added {
            Ok(id) => {
                self.forget_displaced(|it| *it == place);
                id
            }
            Err(_) => {
                self.displace(place, nick, is_person);
                None
            }
        }
    }

    /// A member of another server cannot be listed, because somebody here has its nick, or did not leave yet as far
    /// as is known here.
    fn displace(&mut self, place: Place, nick: Nick, is_person: bool) {
        if let Some(shared) = &mut self.shared
            && shared.displaced.len() < MAX_DISPLACED
        {
            shared.displaced.insert(place, (nick, is_person));
        }
    }

    /// A nick is free: whoever of another server has it is listed.
    pub(in crate::room) fn list_displaced(&mut self) {
        let shared = self.shared.as_mut();
        let displaced = shared.map(|shared| std::mem::take(&mut shared.displaced));
        for (place, (nick, is_person)) in displaced.into_iter().flatten() {
            let _ = self.add_elsewhere(place, nick.as_str(), is_person);
        }
    }

    /// Members of other servers that cannot be listed are forgotten: one, those of a server, or all.
    fn forget_displaced(&mut self, is_meant: impl Fn(&Place) -> bool) {
        if let Some(shared) = &mut self.shared {
            shared.displaced.retain(|place, _| !is_meant(place));
        }
    }

    /// Somebody of whom nothing is known but the name.
    pub(in crate::room) fn stranger(&mut self, name: &str) -> Option<Member> {
        let nick = Nick::parse(name.as_bytes(), self.max_nick_chars).ok()?;
        let name = self.members.hash_for_member(&nick);
        Some(Member::new(nick, name, None))
    }

    // Who is where.

    /// A member of ours is known to all.
    fn came_here(&mut self, line: Line<'_>, name: &str) {
        let now = self.shared_now();
        let id = self.member_here(line.conn);
        let speaker = id.and_then(|id| Some((id, self.members.get(id)?)));
        let speaker = speaker.map(|(id, member)| (member.speaker(id), member.nick.clone()));
        let from = id.and_then(|id| self.members.person(id)).map(|it| it.from);
        let speaker = speaker.or_else(|| Some((Speaker::SERVER, self.stranger(name)?.nick)));
        if let Some((speaker, nick)) = speaker
            && self.is_named(Change::Joined, from.as_ref(), now)
        {
            self.say_presence(speaker, Message::HasJoined(&nick));
        }
    }

    /// A member of another server is there. `is_told`: it has just come.
    fn came(&mut self, place: Place, name: &str, kind: &str, is_told: bool) {
        let now = self.shared_now();
        if let Some(id) = self.members.elsewhere().at(place) {
            self.members.elsewhere_mut().set_named(id, true);
            return self.take_over_nick(place, id, name);
        }
        let (kind, voice) = kind.split_once(' ').unwrap_or((kind, ""));
        let Some(id) = self.add_elsewhere(place, name, kind != SCRIPT) else {
            return;
        };
        if voice == VOICE {
            self.members.toggle_voice(id);
        }
        if is_told
            && self.is_named(Change::Joined, None, now)
            && let Some(member) = self.members.get(id)
        {
            let (speaker, nick) = (member.speaker(id), member.nick.clone());
            self.say_presence(speaker, Message::HasJoined(&nick));
        }
    }

    /// A member of another server that is known is named: while its server was cut off it may have taken another
    /// nick.
    fn take_over_nick(&mut self, place: Place, id: ClientId, name: &str) {
        let member = self.members.get(id);
        let old = member.map(|member| member.nick.as_str().to_owned());
        if let Some(old) = old.filter(|old| old != name) {
            self.renamed(place, false, &old, name);
        }
    }

    /// A server has named all its members: others are not there any more.
    fn named_all(&mut self, node: NodeId) {
        for id in self.members.elsewhere().unnamed(node) {
            self.remove_elsewhere(id, None);
        }
    }

    /// A member of ours has left, as all know.
    fn went_here(&mut self, name: &str, told: &str) {
        if let Some(member) = self.stranger(name) {
            self.tell_leave(Speaker::SERVER, &member.nick, told);
        }
    }

    /// A member of another server has left.
    fn went(&mut self, place: Place, told: &str, is_told: bool) {
        self.forget_displaced(|it| *it == place);
        if let Some(id) = self.members.elsewhere().at(place) {
            self.remove_elsewhere(id, is_told.then_some(told));
        }
    }

    fn remove_elsewhere(&mut self, id: ClientId, told: Option<&str>) {
        let now = self.shared_now();
        let is_news = self.is_started();
        let Some(member) = self.members.remove_elsewhere(id, is_news, now) else {
            return;
        };
        self.renames.forget(member.serial());
        self.list_displaced();
        if let Some(told) = told {
            self.tell_leave(member.speaker(id), &member.nick, told);
        }
    }

    /// Tells people that somebody has left, unless they were told before.
    fn tell_leave(&mut self, of: Speaker, nick: &Nick, told: &str) {
        let now = self.shared_now();
        let (how, words) = told.split_once(' ').unwrap_or((told, ""));
        if how.is_empty() || !self.is_named(Change::Left, None, now) {
            return;
        }
        let mut scratch = String::new();
        let words = text::clean(words.as_bytes(), &mut scratch);
        let reason = CloseReason::ALL.into_iter();
        let reason = reason.filter(|_| how == BECAUSE);
        let mut reason = reason.filter(|it| it.to_string() == words.as_str());
        match reason.next() {
            Some(reason) => self.say_presence(of, Message::HasLeftBecause(nick, reason)),
            None if how == BECAUSE || words.as_str().is_empty() => {
                self.say_presence(of, Message::HasLeft(nick));
            }
            None => self.say_last_words(of, nick, words),
        }
    }

    /// A member of another server, or of ours, has another nick.
    fn renamed(&mut self, place: Place, is_own: bool, old: &str, new: &str) {
        let now = self.shared_now();
        let Ok(nick) = Nick::parse(new.as_bytes(), self.max_nick_chars) else {
            return;
        };
        let id = match is_own {
            true => self.member_here(place.conn),
            false => self.member_elsewhere(place, old).or_else(|| {
                // Somebody here has the old one.
                self.forget_displaced(|it| *it == place);
                self.member_elsewhere(place, new)
            }),
        };
        if let Some(id) = id.filter(|_| !is_own) {
            let (name, origin) = (
                self.members.hash_for_member(&nick),
                Peer::ELSEWHERE.origin(),
            );
            let is_person = self.members.person(id).is_some();
            let renamed = self.members.rename(id, nick.clone(), name, origin, now);
            if renamed.is_err() {
                // Somebody has the new one, as far as is known here.
                self.remove_elsewhere(id, None);
                return self.displace(place, nick, is_person);
            }
            self.list_displaced();
        }
        let speaker = id.and_then(|id| Some(self.members.get(id)?.speaker(id)));
        let old = self.stranger(old).map(|member| member.nick);
        if let Some(old) = old
            && self.is_named(Change::Renamed, None, now)
        {
            let message = Message::ChangesNick(&old, &nick);
            self.say_as(
                speaker.unwrap_or(Speaker::SERVER),
                LineKind::Rename,
                message,
            );
        }
    }

    fn on_new_node(&mut self, node: NodeId, was: Option<NodeId>, is_own: bool) {
        self.forget_displaced(|it| it.node == node || Some(it.node) == was);
        if let Some(was) = was.filter(|&was| was != node) {
            // A late line may have listed a member under the old id again, after its server named it under the new one.
            for id in self.members.elsewhere().listed_twice(was, node) {
                self.remove_elsewhere(id, None);
            }
            self.members.elsewhere_mut().move_all(was, node);
        }
        self.members.elsewhere_mut().begin_naming(node);
        if is_own {
            // Of others it is known that they came, or that they said something, but not that they are still there.
            self.members.elsewhere_mut().begin_naming_all();
        }
        if let Some(shared) = &mut self.shared {
            shared.is_asked = true;
        }
    }

    /// A server is gone, and with it all its members.
    fn on_gone(&mut self, node: NodeId) {
        if let Some(shared) = &mut self.shared {
            shared.has_gone = true;
        }
        self.forget_displaced(|it| it.node == node);
        let ids: Vec<ClientId> = self.members.elsewhere().of(node).collect();
        let count = ids.len();
        for id in ids {
            self.remove_elsewhere(id, None);
        }
        if count > 0 && self.is_started() {
            self.say_notice(Speaker::SERVER, Message::ServerIsGone(count));
        }
    }

    fn on_lost(&mut self, lines: u64) {
        if lines > 0 && self.is_started() {
            self.say_notice(Speaker::SERVER, Message::LinesLost(lines));
        }
    }

    fn on_split(&mut self) {
        self.forget_displaced(|_| true);
        let ids: Vec<ClientId> = self.members.elsewhere().ids().collect();
        for id in ids {
            self.remove_elsewhere(id, None);
        }
        if let Some(shared) = &mut self.shared {
            shared.state = State::Alone;
            (shared.missed, shared.said_alone) = (0, 0);
        }
        let here = self.members.len();
        self.say_notice(Speaker::SERVER, Message::CutOff(here));
    }

    fn on_back(&mut self, unheard: u64) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        shared.state = State::Together;
        let (missed, alone) = (shared.missed, shared.said_alone.saturating_add(unheard));
        (shared.missed, shared.said_alone) = (0, 0);
        self.say_notice(Speaker::SERVER, Message::IsBack(missed));
        if alone > 0 {
            self.say_notice(Speaker::SERVER, Message::Unheard(alone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::interactive::Profile;
    use crate::relay::Room as _;

    const ELSEWHERE: NodeId = NodeId(9);
    const NEXT: NodeId = NodeId(10);

    /// A room with these people, who have been told nothing yet.
    fn room_of(people: &[&str]) -> Room {
        let from = Peer::Local { uid: 1000, pid: 1 };
        let mut room = Room::new(&Config::default());
        for (number, name) in people.iter().enumerate() {
            let id = ClientId::from_index(number);
            room.join(
                id,
                &from,
                name.as_bytes(),
                Profile::Interactive,
                Moment::START,
            )
            .expect("a free nick");
        }
        room.share(Moment::START);
        room.on_event(Event::Started);
        room
    }

    fn hear(room: &mut Room, node: NodeId, kind: Kind, text: &str) {
        let line = Line {
            conn: 4,
            kind,
            text,
        };
        room.on_event(Event::Line {
            node,
            is_own: false,
            number: 0,
            sequence: 1,
            stored_at: Moment::START,
            line,
            is_late: true,
        });
    }

    fn nicks(room: &Room) -> Vec<&str> {
        room.nicks().collect()
    }

    // The nick is taken here when the member is first named, and free when it is named again.
    #[test]
    fn a_member_that_could_not_be_listed_and_is_named_again_is_listed_once() {
        let mut room = room_of(&["ann", "bob"]);
        room.on_event(Event::Split);
        hear(&mut room, ELSEWHERE, Kind::Here, "bob person");
        assert_eq!(nicks(&room), ["ann", "bob"]);
        let (bob, from) = (ClientId::from_index(1), Peer::Local { uid: 1000, pid: 1 });
        room.leave(bob, &from, CloseReason::HungUp, Moment::START);
        hear(&mut room, ELSEWHERE, Kind::Here, "bob person");
        hear(&mut room, ELSEWHERE, Kind::Renamed, "bob bea");
        assert_eq!(nicks(&room), ["ann", "bea"]);
        room.on_event(Event::Gone { node: ELSEWHERE });
        assert_eq!(nicks(&room), ["ann"]);
    }

    // A server names its members under its new id, and then a late line is read that was said under the old one.
    #[test]
    fn a_member_that_is_heard_under_the_old_id_of_its_server_is_listed_once() {
        let mut room = room_of(&["ann"]);
        hear(&mut room, NEXT, Kind::Here, "bob person");
        hear(&mut room, ELSEWHERE, Kind::Here, "bea person");
        room.on_event(Event::NewNode {
            node: NEXT,
            was: Some(ELSEWHERE),
            is_own: false,
        });
        assert_eq!(nicks(&room), ["ann", "bob"]);
        room.on_event(Event::NewNode {
            node: NEXT,
            was: Some(NEXT),
            is_own: false,
        });
        assert_eq!(nicks(&room), ["ann", "bob"]);
        room.on_event(Event::Gone { node: NEXT });
        assert_eq!(nicks(&room), ["ann"]);
    }
}
