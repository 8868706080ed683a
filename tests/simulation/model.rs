//! The shadow of a chat: [`Model`] follows the journal and knows what each client must have got,
//! byte for byte, what the chat has to do next, and what it may not do.
//!
//! The chat chooses whom it hears first, and how much of it; its log says what it chose. All else
//! follows: from what was read from a client follows what it said, from the order of the lines and
//! of the coming and going follows who gets which line. A client's own notices and telnet answers
//! stand between the room's lines, in their own order. Just where, the log does not say, so the
//! model derives one when it is written; when the chat has no work left, all of them are due.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use line_chat::Config;

use crate::journal::{Peer, Reason, Record};
use crate::reference::{self, Decoder, Heard};
use crate::socket::Socket;

const TOO_SLOW: &[u8] = b"* you are reading too slowly, goodbye\r\n";
const SHUTTING_DOWN: &[u8] = b"* server is shutting down\r\n";

/// More than any notice about a nick has besides the nick.
const REFUSAL_BYTES: usize = 100;

#[derive(Debug)]
pub(crate) struct Model {
    config: Config,
    /// What stands before a line, `{nick}` not yet replaced.
    prefix: &'static str,
    clients: BTreeMap<Peer, Client>,
    /// The keys of all nicks that were ever held: in which turn one was free again, or `None`.
    nicks: BTreeMap<String, Option<u64>>,
    /// Who has to leave before anything else happens, and why.
    due: Vec<(Peer, Reason)>,
    turn: u64,
    now: Instant,
    /// What this turn has appended to the queue of a member that was silent.
    turn_bytes: usize,
    turn_lines: usize,
    shutting_down: bool,
    pub(crate) seen: Seen,
}

/// How often something came about: a simulation that avoids the hard cases proves nothing.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) lines: usize,
    pub(crate) delivered_bytes: usize,
    pub(crate) notices: usize,
    pub(crate) joined: usize,
    pub(crate) hung_up: usize,
    pub(crate) broken: usize,
    pub(crate) too_slow: usize,
    pub(crate) no_nick: usize,
    pub(crate) ran_out_of_time: usize,
}

#[derive(Debug)]
struct Client {
    decoder: Decoder,
    /// What it said and the chat is not known to have heard, each with the turn of its reading.
    said: VecDeque<(u64, Heard)>,
    nick: Option<String>,
    /// What stands before its lines.
    prefix: String,
    refusals: u8,
    left: Option<Reason>,
    /// Lines of the room, and what answers the client itself, in the order of queueing each.
    room: VecDeque<Rc<[u8]>>,
    own: VecDeque<Vec<u8>>,
    /// What was written and is not yet a whole line or answer.
    begun: Vec<u8>,
    /// What was queued without the answers that are not yet derived, and what was written.
    queued: usize,
    written: usize,
    /// What may have been queued and was not written, when the turn began.
    pending_before: usize,
    written_this_turn: usize,
    /// Since it left: when it was, what was written, how much of the queue there was at most.
    deadline: Option<Instant>,
    pending_at_leave: usize,
    written_since: usize,
    lines_since: usize,
    got_goodbye: bool,
    ended: bool,
    failed: bool,
    shut: bool,
    discarded: usize,
}

impl Model {
    pub(crate) fn new(config: &Config, prefix: &'static str, now: Instant) -> Self {
        Self {
            config: config.clone(),
            prefix,
            clients: BTreeMap::new(),
            nicks: BTreeMap::new(),
            due: Vec::new(),
            turn: 0,
            now,
            turn_bytes: 0,
            turn_lines: 0,
            shutting_down: false,
            seen: Seen::default(),
        }
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn connect(&mut self, peer: Peer) {
        let client = Client::new(self.config.limits.max_line_bytes);
        self.clients.insert(peer, client);
    }

    pub(crate) fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.turn += 1;
        self.now = now;
        self.turn_bytes = 0;
        self.turn_lines = 0;
        let config = &self.config;
        for client in self.clients.values_mut() {
            client.pending_before = client.pending_at_most(config);
            client.written_this_turn = 0;
        }
    }

    pub(crate) fn follow(&mut self, journal: Vec<Record>) {
        for record in journal {
            let is_going = matches!(
                record,
                Record::LeftAs { .. } | Record::LeftWithoutNick { .. }
            );
            assert!(
                self.due.is_empty() || is_going,
                "{:?} before {record:?}",
                self.due
            );
            self.follow_one(record);
        }
        assert!(self.due.is_empty(), "{:?} at the end of a turn", self.due);
    }

    fn follow_one(&mut self, record: Record) {
        match record {
            Record::Read { peer, bytes } => self.read(peer, &bytes),
            Record::Ended { peer } => {
                let client = self.client(peer);
                client.ended = true;
                if client.left.is_none() {
                    self.due.push((peer, Reason::HungUp));
                }
            }
            Record::Failed { peer } => {
                let client = self.client(peer);
                client.failed = true;
                if client.left.is_none() {
                    self.due.push((peer, Reason::Broken));
                }
            }
            Record::Wrote { peer, bytes } => self.wrote(peer, &bytes),
            Record::ShutDownWrite { peer } => self.shut_write(peer),
            Record::Deregistered { peer } => self.deregistered(peer),
            Record::Joined { peer, nick } => self.joined(peer, nick),
            Record::LeftAs { nick, reason } => self.left_as(&nick, reason),
            Record::LeftWithoutNick { peer, reason } => {
                assert!(self.client(peer).nick.is_none(), "{peer} has a nick");
                self.left(peer, reason);
            }
            Record::Spoke { line } => self.spoke(&line),
        }
    }

    #[track_caller]
    fn client(&mut self, peer: Peer) -> &mut Client {
        let client = self.clients.get_mut(&peer);
        client.unwrap_or_else(|| panic!("peer {peer} is no client"))
    }

    // Hearing.

    fn read(&mut self, peer: Peer, bytes: &[u8]) {
        let turn = self.turn;
        let client = self.client(peer);
        if client.left.is_some() {
            client.discarded += bytes.len();
            return;
        }
        let mut heard = VecDeque::new();
        for &byte in bytes {
            client.decoder.hear(byte, &mut heard);
        }
        client.said.extend(heard.into_iter().map(|it| (turn, it)));
    }

    /// Derives what the next thing that a client said brings it, if that can be known without the
    /// log: a line that the room hears cannot, and a nick only if it was taken.
    fn hear_next(&mut self, peer: Peer) -> bool {
        let limits = self.config.limits.clone();
        let nicks = &self.nicks;
        let Some(client) = self.clients.get_mut(&peer) else {
            return false;
        };
        let is_member = client.nick.is_some();
        let is_refused = client.refusals == limits.max_refusals;
        let Some((turn, heard)) = client.said.front().filter(|_| !is_refused) else {
            return false;
        };
        match heard {
            Heard::Asked(answer) => client.answer(answer.clone()),
            Heard::TooLong if is_member => {
                client.answer(reference::was_not_sent(limits.max_line_bytes).into());
            }
            Heard::TooLong => {
                let why = reference::is_no_nick(limits.max_line_bytes);
                client.refuse(&why, limits.max_refusals);
            }
            Heard::Line(line) if line.is_empty() => {}
            Heard::Line(_) if is_member => return false,
            Heard::Line(line) => match reference::nick(line, limits.max_nick_chars) {
                Err(why) => client.refuse(&why, limits.max_refusals),
                Ok(nick) => {
                    let held = nicks.get(&reference::key(&nick));
                    if held.is_none_or(|until| until.is_some_and(|until| until < *turn)) {
                        return false;
                    }
                    client.refuse(&reference::is_taken(&nick), limits.max_refusals);
                }
            },
        }
        client.said.pop_front();
        true
    }

    fn joined(&mut self, peer: Peer, nick: String) {
        let key = reference::key(&nick);
        let held = matches!(self.nicks.get(&key), Some(None));
        assert!(!held, "peer {peer} got {nick:?}, which is taken");
        let max_chars = self.config.limits.max_nick_chars;
        while !self.client(peer).asks_for(&nick, max_chars) {
            let went_on = self.hear_next(peer);
            assert!(went_on, "peer {peer} did not ask to be {nick:?}");
        }
        let prefix = self.prefix.replace("{nick}", &nick);
        let client = self.client(peer);
        assert!(
            client.nick.is_none() && client.left.is_none(),
            "peer {peer} joined again"
        );
        client.said.pop_front();
        client.prefix = prefix;
        client.nick = Some(nick);
        self.nicks.insert(key, None);
        self.seen.joined += 1;
    }

    fn spoke(&mut self, line: &str) {
        let speaks = |client: &Client| client.is_member() && line.starts_with(&client.prefix);
        let speaker = self.clients.iter().find(|(_, client)| speaks(client));
        let speaker = speaker.map(|(&peer, _)| peer);
        assert!(speaker.is_some(), "no member can have said {line:?}");
        let speaker = speaker.unwrap_or_default();
        while !self.client(speaker).speaks_next() {
            let went_on = self.hear_next(speaker);
            assert!(went_on, "peer {speaker} did not say {line:?}");
        }
        let client = self.client(speaker);
        if let Some((_, Heard::Line(said))) = client.said.pop_front() {
            let expected = client.prefix.clone() + &reference::clean(&said);
            assert_eq!(line, expected, "peer {speaker}");
        }
        self.deliver(speaker, line);
    }

    fn deliver(&mut self, speaker: Peer, line: &str) {
        let line: Rc<[u8]> = [line.as_bytes(), b"\r\n"].concat().into();
        let max_pending = self.config.limits.max_pending_bytes;
        let others = self
            .clients
            .iter_mut()
            .filter(|(peer, _)| **peer != speaker);
        let mut is_heard = false;
        for (&peer, client) in others.filter(|(_, client)| client.is_member()) {
            is_heard = true;
            client.room.push_back(Rc::clone(&line));
            client.queued += line.len();
            if client.queued > client.written + max_pending {
                self.due.push((peer, Reason::TooSlow));
            }
        }
        self.seen.lines += 1;
        self.turn_lines += usize::from(is_heard);
        self.turn_bytes += if is_heard { line.len() } else { 0 };
        let is_one_burst = self.turn_lines <= 1 || self.turn_bytes <= max_pending / 4;
        assert!(is_one_burst, "{} bytes in a turn", self.turn_bytes);
    }

    // Writing.

    fn wrote(&mut self, peer: Peer, bytes: &[u8]) {
        let stall_until = self.now + self.config.limits.stall_timeout;
        self.seen.delivered_bytes += bytes.len();
        let client = self.client(peer);
        client.written += bytes.len();
        client.written_this_turn += bytes.len();
        client.begun.extend_from_slice(bytes);
        if client.left.is_some() {
            client.written_since += bytes.len();
        }
        if client.left == Some(Reason::HungUp) {
            client.deadline = Some(stall_until);
        }
        while let Some(item) = self.client(peer).next_item() {
            self.got(peer, &item);
        }
    }

    /// A client got a whole line or answer.
    fn got(&mut self, peer: Peer, item: &[u8]) {
        let client = self.client(peer);
        assert!(!client.got_goodbye, "peer {peer}: words after the goodbye");
        let goodbye = client.goodbye();
        if goodbye == Some(item) {
            client.got_goodbye = true;
            let missed = client.left == Some(Reason::Shutdown) && !client.has_all();
            assert!(!missed, "peer {peer}: goodbye before the last line");
            return;
        }
        if client.left == Some(Reason::TooSlow) && item.ends_with(b"\n") {
            client.lines_since += 1;
            assert_eq!(client.lines_since, 1, "peer {peer}: lines after the cut");
        }
        if item[0] == 255 || item[0] == b'*' {
            while self.client(peer).own.is_empty() && self.hear_next(peer) {}
            let own = self.client(peer).own.pop_front();
            assert_eq!(show(own.as_deref()), show(Some(item)), "peer {peer}");
            self.seen.notices += 1;
        } else {
            let line = self.client(peer).room.pop_front();
            assert_eq!(show(line.as_deref()), show(Some(item)), "peer {peer}");
        }
    }

    // Leaving.

    fn left_as(&mut self, nick: &str, reason: Reason) {
        let is_it = |client: &Client| client.is_member() && client.nick.as_deref() == Some(nick);
        let found = self.clients.iter().find(|(_, client)| is_it(client));
        let found = found.map(|(&peer, _)| peer);
        assert!(found.is_some(), "{nick:?} left and is no member");
        let peer = found.unwrap_or_default();
        self.nicks.insert(reference::key(nick), Some(self.turn));
        self.left(peer, reason);
    }

    fn left(&mut self, peer: Peer, reason: Reason) {
        let claims = self.due.iter().position(|&(due, _)| due == peer);
        let due = claims.map(|at| self.due.remove(at));
        assert!(due.is_none_or(|due| due.1 == reason), "{reason:?}: {due:?}");
        if matches!(reason, Reason::HungUp | Reason::NoNick) {
            // It was heard to its end.
            while self.hear_next(peer) {}
        }
        let limits = self.config.limits.clone();
        let pending = self.clients[&peer].pending_at_most(&self.config);
        let shutting_down = self.shutting_down;
        let now = self.now;
        let client = self.client(peer);
        let is_right = match reason {
            Reason::HungUp => client.ended && client.said.is_empty(),
            Reason::Broken => client.failed,
            Reason::TooSlow => pending > limits.max_pending_bytes,
            Reason::NoNick => client.refusals == limits.max_refusals,
            Reason::Shutdown => shutting_down,
        };
        assert!(is_right, "peer {peer} left: {reason:?}: {client:?}");
        client.left = Some(reason);
        client.pending_at_leave = pending;
        client.deadline = Some(match reason {
            Reason::HungUp => now + limits.stall_timeout,
            _ => now + limits.goodbye_timeout,
        });
        let counter = match reason {
            Reason::HungUp => &mut self.seen.hung_up,
            Reason::Broken => &mut self.seen.broken,
            Reason::TooSlow => &mut self.seen.too_slow,
            Reason::NoNick => &mut self.seen.no_nick,
            Reason::Shutdown => return,
        };
        *counter += 1;
    }

    fn shut_write(&mut self, peer: Peer) {
        let until = self.now + self.config.limits.linger_timeout;
        self.assert_complete(peer);
        let client = self.client(peer);
        client.shut = true;
        client.deadline = Some(until);
    }

    fn deregistered(&mut self, peer: Peer) {
        let now = self.now;
        let linger_bytes = self.config.limits.linger_bytes;
        let client = self.client(peer);
        assert!(client.left.is_some(), "peer {peer} freed before it left");
        let out_of_time = client.deadline.is_some_and(|deadline| deadline <= now);
        let has_lingered = client.shut && (client.ended || client.discarded > linger_bytes);
        if !(client.failed || has_lingered || out_of_time) {
            assert!(client.ended, "peer {peer} closed too early");
            self.assert_complete(peer);
        } else if out_of_time && !self.client(peer).failed {
            self.seen.ran_out_of_time += 1;
        }
        self.clients.remove(&peer);
    }

    /// All that was queued for a client that left was written, to the last byte.
    fn assert_complete(&mut self, peer: Peer) {
        let max_pending = self.config.limits.max_pending_bytes;
        let client = self.client(peer);
        assert!(client.left.is_some(), "peer {peer} shut before it left");
        assert!(client.begun.is_empty(), "peer {peer}: torn: {client:?}");
        let is_cut = client.left == Some(Reason::TooSlow);
        assert!(is_cut || client.has_all(), "peer {peer}: {client:?}");
        if let Some(goodbye) = client.goodbye() {
            let kept = if is_cut {
                client.written_since
            } else {
                client.pending_at_leave
            };
            let no_room = kept + goodbye.len() > max_pending;
            assert!(client.got_goodbye || no_room, "peer {peer}: no goodbye");
        }
    }

    // What holds between two turns.

    pub(crate) fn assert_turn_was_fair(&self) {
        let max_pending = self.config.limits.max_pending_bytes;
        let longest = self.config.longest_line_bytes() + self.config.limits.max_nick_chars * 4;
        let burst = (max_pending / 4).max(longest) + REFUSAL_BYTES;
        for (peer, client) in &self.clients {
            if client.left.is_none() {
                let pending = client.queued.saturating_sub(client.written);
                assert!(pending <= max_pending, "peer {peer}: {pending} pending");
                let most = client.pending_before + burst;
                let wrote = client.written_this_turn;
                assert!(wrote <= most, "peer {peer}: {wrote} bytes in a turn");
            }
        }
    }

    /// The chat says that it has no work, and no event is on its way to it.
    pub(crate) fn assert_nothing_is_forgotten(&mut self, socket: &Socket) {
        let peer = socket.peer;
        while self.clients[&peer].left.is_none() && self.hear_next(peer) {}
        let max_refusals = self.config.limits.max_refusals;
        let now = self.now;
        let client = self.client(peer);
        let overdue = client.deadline.is_some_and(|deadline| deadline <= now);
        assert!(!overdue, "peer {peer} has had its time");
        assert!(!client.failed, "peer {peer} failed and is not freed");
        let listened_to = client.left.is_none();
        if listened_to {
            assert!(client.said.is_empty(), "peer {peer} unheard: {client:?}");
            assert!(client.refusals < max_refusals, "peer {peer} was refused");
        }
        // What else there is to be written to a client that was too slow, only the chat knows.
        let is_cut = client.left == Some(Reason::TooSlow) && !client.shut;
        let unknown = client.left == Some(Reason::Shutdown) && !client.shut;
        if !(is_cut || unknown) {
            let pending = if client.shut {
                0
            } else {
                client.queued - client.written
            };
            let drained = client.left.is_some() && !client.shut && pending == 0;
            assert!(!drained, "peer {peer} is drained and not shut");
            socket.assert_nothing_is_forgotten(listened_to, pending);
        }
    }
}

impl Client {
    fn new(max_line_bytes: usize) -> Self {
        Self {
            decoder: Decoder::new(max_line_bytes),
            said: VecDeque::new(),
            nick: None,
            prefix: String::new(),
            refusals: 0,
            left: None,
            room: VecDeque::new(),
            own: VecDeque::new(),
            begun: Vec::new(),
            queued: 0,
            written: 0,
            pending_before: 0,
            written_this_turn: 0,
            deadline: None,
            pending_at_leave: 0,
            written_since: 0,
            lines_since: 0,
            got_goodbye: false,
            ended: false,
            failed: false,
            shut: false,
            discarded: 0,
        }
    }

    fn is_member(&self) -> bool {
        self.nick.is_some() && self.left.is_none()
    }

    fn answer(&mut self, answer: Vec<u8>) {
        self.queued += answer.len();
        self.own.push_back(answer);
    }

    fn refuse(&mut self, why: &str, max_refusals: u8) {
        self.refusals += 1;
        let is_final = self.refusals == max_refusals;
        self.answer(reference::refusal(why, is_final).into());
    }

    /// Whether the next thing it said asks for this nick.
    fn asks_for(&self, nick: &str, max_chars: usize) -> bool {
        matches!(self.said.front(), Some((_, Heard::Line(line)))
            if reference::nick(line, max_chars).as_deref() == Ok(nick))
    }

    /// Whether the next thing it said is a line for the room.
    fn speaks_next(&self) -> bool {
        matches!(self.said.front(), Some((_, Heard::Line(line))) if !line.is_empty())
    }

    /// What may be queued and is not written, with every answer that may have been given.
    fn pending_at_most(&self, config: &Config) -> usize {
        let refusal = REFUSAL_BYTES + 4 * config.limits.max_nick_chars;
        let answers = self.said.iter().map(|(_, heard)| match heard {
            Heard::Asked(answer) => answer.len(),
            Heard::Line(line) if line.is_empty() || self.nick.is_some() => 0,
            Heard::Line(_) | Heard::TooLong => refusal,
        });
        (self.queued + answers.sum::<usize>()).saturating_sub(self.written)
    }

    /// Takes the next whole line or answer from what was written.
    fn next_item(&mut self) -> Option<Vec<u8>> {
        let len = match self.begun.first()? {
            255 => 3,
            _ => self.begun.iter().position(|&byte| byte == b'\n')? + 1,
        };
        (len <= self.begun.len()).then(|| self.begun.drain(..len).collect())
    }

    fn goodbye(&self) -> Option<&'static [u8]> {
        match self.left {
            Some(Reason::TooSlow) => Some(TOO_SLOW),
            Some(Reason::Shutdown) => Some(SHUTTING_DOWN),
            _ => None,
        }
    }

    /// Whether all that is known to have been queued was written.
    fn has_all(&self) -> bool {
        self.room.is_empty() && self.own.is_empty()
    }
}

fn show(item: Option<&[u8]>) -> Option<String> {
    item.map(|item| item.escape_ascii().to_string())
}
