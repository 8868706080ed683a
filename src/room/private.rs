//! What concerns one member of another server and nobody else: private words, and what `/whois` asks. It does not
//! go through the log, but straight to that server, which answers. So whoever told somebody something is told so
//! when the words have arrived, and if no answer comes, that they may not have.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::peer::Peer;
use crate::protocol::message::{Link, Message, Whois};
use crate::protocol::relay_batch::{Batch, BatchWriter, Header, Kind, Line, NodeId};
use crate::room::Room;
use crate::room::elsewhere::Place;
use crate::room::members::Person;
use crate::text::nick::Nick;
use crate::text::{self, CleanText};
use crate::time::moment::Moment;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many questions may be without an answer.
const MAX_QUESTIONS: usize = 4096;

/// What goes to single servers, and what is to be answered.
#[derive(Debug, Default)]
pub(super) struct Private {
    outgoing: Vec<(NodeId, u64, Kind, String)>,
    /// What was asked, under the number that the answer has. They end in this order.
    questions: BTreeMap<u64, Question>,
    last_question: u64,
}

/// What a member here waits for.
#[derive(Debug)]
struct Question {
    /// The number of the member that asks.
    conn: u64,
    /// Whom it is about.
    nick: Nick,
    /// The words that are on their way; `None` if it is asked who that is.
    words: Option<Box<str>>,
    ends: Moment,
}

/// A question of another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    node: NodeId,
    conn: u64,
    number: u64,
    /// Whether an operator asks.
    by_operator: bool,
}

impl Private {
    fn ask(&mut self, question: Question) -> Option<u64> {
        if self.questions.len() >= MAX_QUESTIONS {
            return None;
        }
        self.last_question = self.last_question.saturating_add(1);
        self.questions.insert(self.last_question, question);
        Some(self.last_question)
    }

    fn send(&mut self, to: NodeId, conn: u64, kind: Kind, text: String) {
        self.outgoing.push((to, conn, kind, text));
    }

    /// When the first question is given up.
    pub(super) fn next_end(&self) -> Option<Moment> {
        Some(self.questions.first_key_value()?.1.ends)
    }
}

impl Room {
    /// A person tells a member of another server something. Returns whether that is on its way.
    pub(super) fn tell_elsewhere(
        &mut self,
        id: ClientId,
        to: ClientId,
        text: CleanText<'_>,
    ) -> bool {
        self.ask_elsewhere(id, to, Some(text)).is_some()
    }

    /// A member asks who a member of another server is.
    pub(crate) fn ask_whois(&mut self, id: ClientId, about: ClientId) {
        let _ = self.ask_elsewhere(id, about, None);
    }

    fn ask_elsewhere(
        &mut self,
        id: ClientId,
        to: ClientId,
        words: Option<CleanText<'_>>,
    ) -> Option<()> {
        let by_operator = self.is_operator(id);
        let place = self.members.elsewhere().place_of(to)?;
        let nick = self.members.get(to)?.nick.clone();
        let by = self.members.get(id)?.nick.clone();
        let shared = self.shared.as_mut()?;
        let conn = shared.conn_of(id)?;
        let question = Question {
            conn,
            nick: nick.clone(),
            words: words.map(|words| words.as_str().into()),
            ends: shared.now + PATIENCE,
        };
        let Some(number) = shared.private.ask(question) else {
            self.outbox.send(id, Message::NotReached(&nick));
            return None;
        };
        let (kind, words) = match words {
            Some(words) => (Kind::Word, words.as_str()),
            None if by_operator => (Kind::Ask, OPERATOR),
            None => (Kind::Ask, ""),
        };
        let text = format!("{} {number} {} {words}", place.conn, by.as_str());
        shared.private.send(place.node, conn, kind, text);
        Some(())
    }

    /// Gives up questions that were not answered in time.
    pub(super) fn give_up_questions(&mut self, now: Moment) {
        while let Some(shared) = &mut self.shared
            && shared.private.next_end().is_some_and(|at| at <= now)
        {
            let Some((_, question)) = shared.private.questions.pop_first() else {
                return;
            };
            if let Some(id) = self.member_here(question.conn) {
                self.outbox.send(id, Message::NotReached(&question.nick));
            }
        }
    }

    /// Hands out what goes to single servers.
    pub(crate) fn take_private(&mut self, node: NodeId, mut each: impl FnMut(NodeId, &[u8])) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        for (to, conn, kind, text) in std::mem::take(&mut shared.private.outgoing) {
            // Its author has left while there was no connection: another server would list it again.
            if kind != Kind::Answer && !shared.is_here(conn) {
                continue;
            }
            let mut writer = BatchWriter::default();
            writer.push(conn, kind, &text);
            let header = Header {
                node,
                first: 0,
                open: 0,
                count: writer.len(),
            };
            each(to, &writer.finish(header));
        }
    }

    /// Another server has something for this one alone. `asked` is called for each question about a member here
    /// whose connection has to be looked at.
    pub(crate) fn on_private(&mut self, payload: &[u8], mut asked: impl FnMut(ClientId, Asked)) {
        let Ok(batch) = Batch::parse(payload) else {
            return;
        };
        let node = batch.header().node;
        for line in batch.lines() {
            match line.kind {
                Kind::Word | Kind::Ask => {
                    let asked = &mut asked;
                    self.on_question(node, line, asked);
                }
                Kind::Answer => {
                    self.on_answer(line);
                }
                _ => {}
            }
        }
    }

    fn on_question(
        &mut self,
        node: NodeId,
        line: Line<'_>,
        asked: &mut impl FnMut(ClientId, Asked),
    ) -> Option<()> {
        let mut words = line.text.splitn(4, ' ');
        let to = words.next()?.parse().ok()?;
        let number = words.next()?.parse().ok()?;
        let (by, words) = (words.next()?, words.next().unwrap_or_default());
        let conn = line.conn;
        let Some(to) = self.member_here(to) else {
            self.send_answer(node, conn, format!("{number} {GONE}"));
            return None;
        };
        if line.kind == Kind::Ask {
            let by_operator = words == OPERATOR;
            asked(
                to,
                Asked {
                    node,
                    conn,
                    number,
                    by_operator,
                },
            );
            return Some(());
        }
        if self.members.person(to).is_none() {
            // The other server does not know yet that this is a script, which gets no private words.
            self.send_answer(node, conn, format!("{number} {GONE}"));
            return None;
        }
        let known = self.members.elsewhere().at(Place { node, conn });
        let is_it = |id: &ClientId| self.nick_of(*id) == by;
        let id = known.filter(is_it).unwrap_or(ClientId::NOBODY);
        // It may have joined or left, of which the log has not told yet, or be of a server that is said to be gone.
        let stranger = self.stranger(by)?;
        let mut scratch = String::new();
        let text = text::clean(words.as_bytes(), &mut scratch);
        self.deliver_words((id, Some(&stranger)), to, text, Class::Sparse);
        let away = self.members.person(to).and_then(Person::away);
        let answer = match away {
            Some(why) => format!("{number} {AWAY} {why}"),
            None => format!("{number} {TOLD}"),
        };
        self.send_answer(node, conn, answer);
        Some(())
    }

    fn send_answer(&mut self, node: NodeId, conn: u64, text: String) {
        if let Some(shared) = &mut self.shared {
            shared.private.send(node, conn, Kind::Answer, text);
        }
    }

    /// Tells another server what it has asked of a member here.
    pub(crate) fn answer_whois(
        &mut self,
        id: ClientId,
        asked: Asked,
        silent_for: Duration,
        (peer, link): (Peer, Link),
        now: Moment,
    ) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let person = member.person.as_deref();
        let here_for = person.map(|person| now.saturating_since(person.since).as_secs());
        let here_for = here_for.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let is_operator = person.is_some_and(|person| person.is_operator);
        let away = person.and_then(Person::away);
        let peer = match (asked.by_operator, peer) {
            (true, Peer::Ip(addr)) => addr.to_string(),
            _ => "-".to_owned(),
        };
        let text = format!(
            "{} {WHOIS} {here_for} {} {} {is_operator} {peer} {}",
            asked.number,
            silent_for.as_secs(),
            link.word(),
            away.map_or_else(String::new, |why| format!("{AWAY} {why}")),
        );
        self.send_answer(asked.node, asked.conn, text);
    }

    /// Another server has answered.
    fn on_answer(&mut self, line: Line<'_>) -> Option<()> {
        let (number, answer) = line.text.split_once(' ')?;
        let shared = self.shared.as_mut()?;
        let question = shared.private.questions.remove(&number.parse().ok()?)?;
        let id = self.member_here(question.conn)?;
        let nick = &question.nick;
        let (word, rest) = answer.split_once(' ').unwrap_or((answer, ""));
        let mut scratch = String::new();
        let (words, rest) = (
            question.words.as_deref(),
            text::clean(rest.as_bytes(), &mut scratch),
        );
        let mut narrow = String::new();
        match (word, words) {
            (TOLD | AWAY, Some(words)) => {
                let words = text::clean(words.as_bytes(), &mut narrow);
                self.outbox.send(id, Message::YouTell(nick, words));
                if word == AWAY {
                    self.outbox.send(id, Message::IsAway(nick, rest.as_str()));
                }
            }
            (WHOIS, None) => {
                self.show_whois(id, nick, rest.as_str());
            }
            _ => self.outbox.send(id, Message::NotReached(nick)),
        }
        Some(())
    }

    fn show_whois(&mut self, id: ClientId, nick: &Nick, answer: &str) -> Option<()> {
        let mut words = answer.splitn(6, ' ');
        let seconds = |word: Option<&str>| word?.parse().ok().map(Duration::from_secs);
        let here_for = seconds(words.next());
        let silent_for = seconds(words.next())?;
        let link = Link::of_word(words.next()?)?;
        let is_operator = words.next()? == "true";
        let peer = words.next()?.parse().ok().map(Peer::Ip);
        let away = words.next().and_then(|rest| rest.strip_prefix(AWAY));
        let whois = Whois {
            nick,
            here_for,
            silent_for,
            link,
            is_operator,
            away: away.map(str::trim_start),
        };
        self.outbox.send(id, Message::Whois(whois));
        if let Some(peer) = peer.filter(|_| self.is_operator(id)) {
            self.outbox.send(id, Message::ComesFrom(nick, peer));
        }
        Some(())
    }
}

/// Who asks is an operator.
const OPERATOR: &str = "operator";

/// Answers: the words were shown; they were, to somebody who is away; there is nobody of that number; what is
/// known of a member.
const TOLD: &str = "told";
const AWAY: &str = "away";
const GONE: &str = "gone";
const WHOIS: &str = "whois";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::interactive::Profile;
    use crate::relay::{Event, Room as _};
    use crate::room::Share;

    const ELSEWHERE: NodeId = NodeId(9);

    /// What people have read since the last time.
    fn read(room: &mut Room) -> String {
        let mut bytes: Vec<u8> = Vec::new();
        for (_, _, entry) in room.outbox.entries() {
            bytes.extend(entry);
        }
        room.outbox.clear();
        if let Some((seats, mut pass)) = room.pass() {
            for seat in seats {
                match pass.share(seat) {
                    Share::Nothing | Share::Special(_) => {}
                    Share::Whole(lines) => bytes.extend(lines.bytes),
                    Share::Pieces { pieces, .. } => pieces.for_each(|it| bytes.extend(it.bytes)),
                }
            }
        }
        room.end_turn();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn private_words_make_nobody_a_member_whose_joining_was_not_read() {
        let (now, id) = (Moment::BEGINNING, ClientId::from_index(0));
        let from = Peer::Local { uid: 1000, pid: 1 };
        let mut room = Room::new(&Config::default());
        room.join(id, &from, b"ann", Profile::Interactive, now)
            .expect("a free nick");
        room.share(now);
        room.on_event(Event::Started);
        read(&mut room);
        let mut words = BatchWriter::default();
        assert!(words.push(7, Kind::Word, "1 1 bob hello"));
        let header = Header {
            node: ELSEWHERE,
            first: 0,
            open: 0,
            count: 1,
        };
        room.on_private(&words.finish(header), |_, _| panic!("nobody asks"));
        assert_eq!(read(&mut room), "* bob tells you: hello\r\n");
        assert_eq!(room.len_elsewhere(), 0);
        let line = Line {
            conn: 7,
            kind: Kind::Join,
            text: "bob person",
        };
        room.on_event(Event::Line {
            node: ELSEWHERE,
            is_own: false,
            number: 0,
            sequence: 1,
            stored_at: now,
            line,
            is_late: false,
        });
        assert_eq!(read(&mut room), "* bob joined\r\n");
        assert_eq!(room.len_elsewhere(), 1);
    }
}
