//! The shadow of an engine: [`Model`] follows the journal, and knows what each client has said and what
//! each of them has to get.
//!
//! The engine chooses which client it hears first, and how much of it, and its events say what it chose.
//! All else are properties that need no copy of the engine: what is said is what was sent, in its order
//! and once; what was said is seen or told of as skipped; each client leaves once, for a reason that
//! holds, and in time; and no limit is passed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use line_chat::{CloseReason, Config, Eol, Lag, Metrics, Service};

use crate::admission::{Admission, has_one_to_make_room, may_make_room};
use crate::journal::{Peer, Record};
use crate::reference::{self, Decoded};
use crate::shadow::{Due, Shadow};
use crate::socket::Socket;
use crate::tally::Tally;
use crate::transcript::Transcript;

/// What a telnet answer may have beyond the limit of a queue, in bytes.
const ANSWER_BYTES: usize = 4096;

/// The notice of lines that were left out is no longer than this, in bytes.
const SKIPPED_NOTICE_BYTES: usize = 40;

/// The largest buffer that is kept for the next client, in bytes.
const POOLED_BYTES: usize = 64 << 10;

/// What a member may cost the room before it is a bulk speaker, in bytes.
const BULK_BYTES: u64 = 64 << 10;

const SECOND: Duration = Duration::from_secs(1);

/// How long an HTTP request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) config: Config,
    /// What stands before a line, `{nick}` not yet replaced.
    prefix: &'static str,
    has_people: bool,
    /// Who is on its way to which listener.
    arriving: BTreeMap<Peer, Arrival>,
    pub(crate) clients: BTreeMap<Peer, Shadow>,
    /// The nicks that are held.
    nicks: BTreeMap<String, Peer>,
    /// The time of the engine's clock, which leaves out what `left_out` is.
    pub(crate) now: Instant,
    /// How much longer than it was to wait the process has stood still.
    left_out: Duration,
    turn: Turn,
    /// Who was taken in with the spare descriptor and has to be refused.
    spared: Option<Peer>,
    /// Who was refused last.
    refused: Option<Refused>,
    admission: Admission,
    shutting_down: bool,
    accepted: u64,
    bytes_in: u64,
    bytes_out: u64,
    pub(crate) transcript: Transcript,
    pub(crate) tally: Tally,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) service: Service,
    pub(crate) is_veiled: bool,
    /// It was dialed or handed over, so no limit of clients keeps it out.
    pub(crate) is_let_in: bool,
}

/// A peer that is not let in has to be told why.
#[derive(Debug)]
struct Refused {
    peer: Peer,
    words: String,
    is_told: bool,
    is_shut: bool,
    failed: bool,
}

/// What one turn has done so far.
#[derive(Debug, Default)]
struct Turn {
    read: usize,
    /// What it has appended to one queue at most.
    output: usize,
    /// An operator has banned somebody.
    has_ban: bool,
}

impl Model {
    pub(crate) fn new(
        config: &Config,
        prefix: &'static str,
        has_people: bool,
        now: Instant,
    ) -> Self {
        Self {
            config: config.clone(),
            prefix,
            has_people,
            arriving: BTreeMap::new(),
            clients: BTreeMap::new(),
            nicks: BTreeMap::new(),
            now,
            left_out: Duration::ZERO,
            turn: Turn::default(),
            spared: None,
            refused: None,
            admission: Admission::default(),
            shutting_down: false,
            accepted: 0,
            bytes_in: 0,
            bytes_out: 0,
            transcript: Transcript::new(config.recorded),
            tally: Tally::default(),
        }
    }

    /// A peer is on its way.
    pub(crate) fn expect(&mut self, peer: Peer, arrival: Arrival) {
        self.arriving.insert(peer, arrival);
    }

    pub(crate) fn shut_down(&mut self) {
        self.shutting_down = true;
    }

    /// Whether a shutdown that ends now has waited for this peer: not for one that may send an HTTP request
    /// yet, nor for one whose own time ends now, because ending a stream may take another turn.
    pub(crate) fn is_waited_for(&self, peer: Peer) -> bool {
        let client = self.clients.get(&peer);
        client.is_none_or(|client| {
            client.service != Service::Http || client.left.is_some_and(|(_, at)| at < self.now)
        })
    }

    /// Time has come; the turn itself has not begun. The loop was to wait until this deadline; where work
    /// was left over, or the deadline has passed, it has a second for its last turn. If it comes over a
    /// second later, all that it is late does not count.
    pub(crate) fn tick(&mut self, now: Instant, polls_until: Option<Instant>) {
        let last = self.now + self.left_out;
        let due = polls_until.map(|at| if at > last { at } else { last + SECOND });
        if let Some(late) = due.and_then(|due| now.checked_duration_since(due))
            && late > SECOND
        {
            self.left_out += late;
            self.tally.stood_still += 1;
        }
        self.now = now - self.left_out;
    }

    pub(crate) fn begin_turn(&mut self, metrics: &Metrics) {
        self.turn = Turn::default();
        if metrics.held_bytes > 0 {
            // Whose input that is no event tells. It is heard in this turn, or later.
            let now = self.now;
            self.clients.values_mut().for_each(|it| it.told_at = now);
        }
    }

    /// The engine is told that this peer has sent something.
    pub(crate) fn told_of_input(&mut self, peer: Peer) {
        let now = self.now;
        if let Some(client) = self.clients.get_mut(&peer) {
            client.told_at = now;
        }
    }

    pub(crate) fn follow(&mut self, journal: Vec<Record>) {
        for record in journal {
            self.follow_one(record);
        }
        assert_eq!(self.spared, None, "neither in nor refused");
        self.assert_refused_is_told();
    }

    fn follow_one(&mut self, record: Record) {
        if record
            .peer()
            .is_some_and(|it| self.transcript.is_writer(it))
        {
            if let Record::Wrote { bytes, .. } = &record {
                self.bytes_out += bytes.len() as u64;
            }
            return self.transcript.follow(&record);
        }
        match record {
            Record::Spared { peer } => self.spared = Some(peer),
            Record::Registered { peer, ip } => self.registered(peer, ip),
            Record::Connected { peer } => self.connected(peer),
            Record::Unregistrable { peer, ip } => self.lost(peer, ip),
            Record::Refused { peer, ip, reason } => self.refuse(peer, ip, reason),
            Record::Read { peer, bytes } => self.read(peer, &bytes),
            Record::Bounded { peer, excess } => self.client(peer).cost += excess,
            Record::Shaken { peer } => self.client(peer).is_shaken = true,
            Record::Ended { peer } => self.ended(peer),
            Record::Failed { peer } => self.failed(peer),
            Record::Vanished { peer, at } => {
                if let Some(client) = self.clients.get_mut(&peer) {
                    client.vanished_at = at;
                }
            }
            Record::Deafened { peer } => self.client(peer).deafen(),
            Record::Wrote {
                peer,
                offered,
                bytes,
                is_sent,
            } => self.wrote(peer, offered, &bytes, is_sent),
            Record::Sent { peer } => self.client(peer).sent(),
            Record::ShutDownWrite { peer } => self.shut_write(peer),
            Record::Deregistered { peer } => self.deregistered(peer),
            Record::Freed { peer } => {
                assert!(!self.clients.contains_key(&peer), "{peer} is not closed");
            }
            Record::Joined { peer, nick } => self.joined(peer, nick),
            Record::Renamed { peer, old, new } => self.renamed(peer, &old, new),
            Record::Left {
                peer,
                nick,
                has_sent,
                reason,
            } => self.left(peer, nick.as_deref(), has_sent, reason),
            Record::Said {
                peer,
                line,
                is_bulk,
            } => self.said(peer, &line, is_bulk),
            Record::Acted { peer, text, line } => self.acted(peer, &text, &line),
            Record::Noticed { line } => {
                self.tally.noticed += 1;
                self.transcript.says(&line);
            }
            Record::Whispered => self.tally.whispered += 1,
            Record::Replied { peer, line } => self.replied(peer, &line),
            Record::Negotiated { peer, answer } => self.negotiated(peer, answer),
            Record::Skipped { peer, lines } => {
                assert!(lines > 0, "peer {peer} is told of nothing");
                self.client(peer).told_by_event += lines;
                self.tally.told_skipped += 1;
            }
            Record::Stalled { peer } => {
                assert!(self.client(peer).is_member(), "{peer} is no member");
                self.tally.stalled_readers += 1;
            }
            Record::TranscriptBegun { peer, lost_lines } => {
                self.transcript.begins(peer, lost_lines);
            }
            Record::TranscriptEnded { reason, lost_lines } => {
                self.transcript.ends(reason, lost_lines);
            }
            Record::DialFailed => self.tally.dial_failed += 1,
            Record::Banned => self.turn.has_ban = true,
        }
    }

    #[track_caller]
    pub(crate) fn client(&mut self, peer: Peer) -> &mut Shadow {
        let client = self.clients.get_mut(&peer);
        client.unwrap_or_else(|| panic!("peer {peer} is no client"))
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (Peer, &Shadow)> {
        let clients = self.clients.iter().map(|(&peer, client)| (peer, client));
        clients.filter(|(_, client)| client.is_member())
    }

    // Coming.

    fn is_full(&self) -> bool {
        let most = self.config.limits.max_clients;
        let clients = self.clients.values().filter(|it| it.is_limited());
        most.is_some_and(|most| clients.count() >= most)
    }

    fn is_address_full(&self, ip: IpAddr) -> bool {
        let most = self.config.limits.max_clients_per_ip;
        let address = reference::address(ip);
        let is_same =
            |client: &&Shadow| client.is_limited() && reference::address(client.ip) == address;
        most > 0 && address.is_some() && self.clients.values().filter(is_same).count() >= most
    }

    fn registered(&mut self, peer: Peer, ip: IpAddr) {
        assert_ne!(self.spared, Some(peer), "it has the spare descriptor");
        let arrival = self.arriving.remove(&peer).expect("it is on its way");
        if !arrival.is_let_in && arrival.service != Service::Http {
            assert!(!self.is_full(), "peer {peer} is one too many");
            assert!(!self.is_address_full(ip), "peer {peer}: too many at {ip}");
            let is_too_fast = self.admission.is_too_fast(ip, self.now);
            assert!(!is_too_fast, "peer {peer}: too fast at {ip}");
            self.admission.enter(ip, &self.config.limits, self.now);
        }
        let mut client = Shadow::new(ip, self.has_people, &self.config.limits, self.now);
        client.service = arrival.service;
        if !arrival.is_let_in {
            client.debt = self.admission.debt(ip);
        }
        if client.is_person() {
            client.decoder.is_a_persons();
        }
        client.is_veiled = arrival.is_veiled;
        client.is_shaken = !arrival.is_veiled;
        self.clients.insert(peer, client);
    }

    fn connected(&mut self, peer: Peer) {
        self.accepted += 1;
        self.client(peer);
    }

    /// A client could not be registered.
    fn lost(&mut self, peer: Peer, ip: IpAddr) {
        self.accepted += 1;
        let arrival = self.arriving.remove(&peer).expect("it is on its way");
        if !arrival.is_let_in && arrival.service != Service::Http {
            self.admission.enter(ip, &self.config.limits, self.now);
        }
        self.closed(CloseReason::Broken);
        self.tally.unregistrable += 1;
        let is_registered = self.clients.contains_key(&peer);
        assert!(!is_registered, "peer {peer} is registered");
    }

    fn refuse(&mut self, peer: Peer, ip: IpAddr, reason: CloseReason) {
        let is_spared = self.spared.take() == Some(peer);
        let arrival = self.arriving.remove(&peer).expect("it is on its way");
        let is_right = match reason {
            CloseReason::ServerFull => {
                let is_full = || self.is_full() && !has_one_to_make_room(&self.clients, self.now);
                is_spared || is_full() && arrival.service != Service::Http
            }
            CloseReason::AddressTooFast => self.admission.may_be_too_fast(ip, self.now),
            CloseReason::AddressFull => self.is_address_full(ip),
            CloseReason::AddressBanned => self.has_people,
            _ => false,
        };
        assert!(is_right, "peer {peer} was refused: {reason:?}");
        self.accepted += 1;
        self.closed(reason);
        self.assert_refused_is_told();
        let mut words = reference::goodbye(reason).to_owned();
        if let Service::Script(script) = arrival.service
            && script.eol == Eol::Lf
        {
            words = words.replace("\r\n", "\n");
        }
        // These words are not for programs that speak HTTP.
        let is_http = arrival.service == Service::Http;
        if is_http {
            words.clear();
        }
        self.refused = Some(Refused {
            peer,
            words,
            is_told: is_http,
            is_shut: false,
            // It is told nothing before its handshake.
            failed: arrival.is_veiled,
        });
    }

    fn assert_refused_is_told(&self) {
        let is_told = |it: &Refused| it.failed || it.is_told && it.is_shut;
        let is_right = self.refused.as_ref().is_none_or(is_told);
        assert!(is_right, "refused and not told: {:?}", self.refused);
    }

    fn closed(&mut self, reason: CloseReason) {
        self.tally.closed[reason as usize] += 1;
    }

    fn refused(&mut self, peer: Peer) -> Option<&mut Refused> {
        self.refused.as_mut().filter(|refused| refused.peer == peer)
    }

    // Hearing.

    fn read(&mut self, peer: Peer, bytes: &[u8]) {
        if self.refused(peer).is_some() {
            return;
        }
        let limits = &self.config.limits;
        assert!(
            bytes.len() <= limits.read_bytes,
            "peer {peer}: a large read"
        );
        // Input that must wait counts when it is decoded, and its client is not read before.
        let most = limits.turn_read_bytes + limits.read_bytes * self.clients.len();
        assert!(self.turn.read < most, "peer {peer}: one read too many");
        self.turn.read += bytes.len();
        self.bytes_in += bytes.len() as u64;
        let now = self.now;
        let is_exact = !self.has_people;
        // While the room waits, the end of a client's input is looked for behind what it holds.
        let may_look_on = self.config.limits.lag == Lag::Wait;
        let client = self.client(peer);
        if client.left.is_some() {
            client.discarded += bytes.len();
            return;
        }
        assert!(
            !is_exact || may_look_on || !client.has_said_more(),
            "peer {peer} is read while input is held"
        );
        client.read_at = now;
        client.told_at = now;
        client.cost += 1;
        if client.service != Service::Http {
            client.reads(bytes);
        }
    }

    fn ended(&mut self, peer: Peer) {
        if self.refused(peer).is_some() {
            return;
        }
        let is_exact = !self.has_people;
        // While the room waits, the end of a client's input is looked for behind what it holds.
        let may_look_on = self.config.limits.lag == Lag::Wait;
        let client = self.client(peer);
        client.ended = true;
        if client.left.is_none() && is_exact {
            let said_more = client.has_said_more();
            assert!(
                !said_more || may_look_on,
                "peer {peer} ended while input is held"
            );
        }
        let listens_on = client.listens_on();
        self.tally.listened_on += u64::from(listens_on);
    }

    /// Takes the next thing that a client said, which was heard just now.
    #[track_caller]
    fn take(&mut self, peer: Peer, is_it: impl Fn(&Decoded) -> bool) -> Decoded {
        let now = self.now;
        let client = self.client(peer);
        assert!(client.left.is_none(), "peer {peer} is heard after it left");
        assert!(
            !client.is_member() || !client.lines.is_closed(now),
            "peer {peer} is over its rate"
        );
        let Some(said) = client.take_said(is_it, now) else {
            panic!(
                "peer {peer} is heard and has not said that: {:?}",
                client.said
            );
        };
        said
    }

    /// The turn appends so many bytes to a queue, or several.
    fn put_out(&mut self, bytes: usize) {
        if self.has_people {
            return;
        }
        let limits = &self.config.limits;
        let members = self.members().count();
        let each = limits.max_pending_bytes / 4;
        let all = match limits.max_pending_total_bytes {
            0 => usize::MAX,
            total => total / 4,
        };
        let before = self.turn.output;
        let output = before + bytes;
        let is_in_budget = before == 0 || output <= each && before * members <= all;
        assert!(
            is_in_budget,
            "{output} bytes in a turn, {each} or {all} allowed"
        );
        self.turn.output = output;
    }

    /// The nick that is held and alike this one.
    fn owner(&self, nick: &str) -> Option<&str> {
        let mut nicks = self.nicks.keys();
        nicks
            .find(|held| reference::is_alike(held, nick))
            .map(String::as_str)
    }

    fn hold(&mut self, peer: Peer, nick: &str) {
        assert_eq!(
            self.owner(nick),
            None,
            "peer {peer} got {nick:?}, which is taken"
        );
        self.nicks.insert(nick.to_owned(), peer);
    }

    fn joined(&mut self, peer: Peer, nick: String) {
        let is_foreign = self.client(peer).is_foreign();
        assert!(!is_foreign, "peer {peer} joins with another protocol");
        let client = self.client(peer);
        assert!(!client.decoder.is_utf_16(), "peer {peer} joins with UTF-16");
        assert!(!client.is_too_soon, "peer {peer} joins and did not wait");
        let max_chars = self.config.limits.max_nick_chars;
        let is_nick = |said: &Decoded| match said {
            Decoded::Line(line) => reference::nick(line, max_chars).as_deref() == Ok(&*nick),
            _ => false,
        };
        self.take(peer, is_nick);
        self.hold(peer, &nick);
        let now = self.now;
        let client = self.client(peer);
        assert!(client.nick.is_none(), "peer {peer} joined again");
        client.nick = Some(nick);
        client.joined_at = Some(now);
        self.tally.joined += 1;
    }

    fn renamed(&mut self, peer: Peer, old: &str, new: String) {
        assert_eq!(self.nicks.remove(old), Some(peer));
        self.hold(peer, &new);
        let client = self.client(peer);
        assert_eq!(client.nick.as_deref(), Some(old));
        client.nick = Some(new);
        self.tally.renamed += 1;
    }

    /// What stands before the lines of a member.
    #[track_caller]
    fn prefix(&mut self, peer: Peer) -> String {
        let prefix = self.prefix;
        let client = self.client(peer);
        assert!(client.is_member(), "peer {peer} speaks and is no member");
        let nick = client.nick.as_deref().unwrap_or_default();
        prefix.replace("{nick}", nick)
    }

    fn said(&mut self, peer: Peer, line: &[u8], is_bulk: bool) {
        let prefix = self.prefix(peer);
        let is_person = self.client(peer).is_person();
        let is_it = |said: &Decoded| match said {
            Decoded::Line(said) => {
                let said = match said.strip_prefix(b"/") {
                    Some(rest) if is_person => rest,
                    _ => said,
                };
                line.strip_prefix(prefix.as_bytes()) == Some(reference::clean(said).as_bytes())
            }
            _ => false,
        };
        self.take(peer, is_it);
        self.tally.lines += 1;
        self.tally.bulk_lines += u64::from(is_bulk);
        self.transcript.says(line);
        let line: Rc<[u8]> = [line, b"\r\n"].concat().into();
        self.charge(peer, line.len() as u64, is_bulk);
        let due = Due::Line(line);
        self.owe_others(peer, |_| Some(due.clone()));
    }

    fn acted(&mut self, peer: Peer, text: &str, line: &[u8]) {
        let prefix = self.prefix(peer);
        // What does not show may stand before the slash.
        let is_it = |said: &Decoded| match said {
            Decoded::Line(said) => reference::clean(said)
                .split_once("/me")
                .is_some_and(|(_, words)| words.trim() == text.trim()),
            _ => false,
        };
        self.take(peer, is_it);
        self.tally.lines += 1;
        self.tally.acted += 1;
        self.transcript.says(line);
        let plain: Rc<[u8]> = format!("{prefix}/me {text}\r\n").as_bytes().into();
        let line: Rc<[u8]> = [line, b"\r\n"].concat().into();
        self.charge(peer, (plain.len() + line.len()) as u64, false);
        self.owe_others(peer, |other| {
            let line = if other.is_person() { &line } else { &plain };
            Some(Due::Line(Rc::clone(line)))
        });
    }

    /// A line costs its speaker one of its lines, and the room as many bytes.
    fn charge(&mut self, peer: Peer, bytes: u64, is_bulk: bool) {
        let now = self.now;
        self.put_out(usize::try_from(bytes).unwrap_or_default());
        let has_people = self.has_people;
        let client = self.client(peer);
        client.lines.take(now);
        // What it is told by commands of others is no event.
        assert!(
            !is_bulk || client.cost + client.debt > BULK_BYTES || has_people,
            "peer {peer} is no bulk speaker"
        );
        client.cost += bytes;
    }

    fn owe_others(&mut self, speaker: Peer, due: impl Fn(&Shadow) -> Option<Due>) {
        for (_, other) in self
            .clients
            .iter_mut()
            .filter(|(peer, other)| **peer != speaker && other.is_member())
        {
            if let Some(due) = due(other) {
                other.owe(due);
            }
        }
    }

    fn replied(&mut self, peer: Peer, line: &[u8]) {
        self.tally.replies += 1;
        let line = [line, b"\r\n"].concat();
        self.tally.did_not_wait += u64::from(line == reference::DID_NOT_WAIT);
        if self.has_people {
            return self.client(peer).owe(Due::Line(line.into()));
        }
        if line == reference::DID_NOT_WAIT {
            // Last words, in effect.
            let client = self.client(peer);
            assert!(client.is_too_soon, "peer {peer} has waited");
            client.owe(Due::Line(line.into()));
            return;
        }
        // The last line of a client is not counted, as no goodbye is.
        if !self.client(peer).is_foreign() {
            self.put_out(line.len());
        }
        let expected = self.reply(peer);
        assert_eq!(expected.as_bytes(), line, "peer {peer}");
        let client = self.client(peer);
        client.cost += line.len() as u64;
        client.owe(Due::Line(line.into()));
    }

    /// What a plain client is to be told for what it said.
    fn reply(&mut self, peer: Peer) -> String {
        let limits = self.config.limits.clone();
        let now = self.now;
        if let Some(goodbye) = self.client(peer).foreign() {
            return goodbye.to_owned();
        }
        let said = self.take(peer, |_| true);
        let is_member = self.client(peer).is_member();
        match said {
            Decoded::Asked(answer) => String::from_utf8_lossy(&answer).into_owned(),
            Decoded::TooLong if is_member => {
                self.client(peer).lines.take(now);
                reference::was_not_sent(limits.max_line_bytes)
            }
            Decoded::TooLong => self.refusal(peer, &reference::is_no_nick(limits.max_line_bytes)),
            Decoded::Line(line) if is_member => panic!("peer {peer} said {line:?}"),
            Decoded::Line(line) => match reference::nick(&line, limits.max_nick_chars) {
                Err(why) => self.refusal(peer, &why),
                Ok(nick) => {
                    let owner = self.owner(&nick).map(ToOwned::to_owned);
                    let owner = owner.unwrap_or_else(|| panic!("peer {peer} may be {nick:?}"));
                    self.refusal(peer, &reference::is_taken(&nick, &owner))
                }
            },
        }
    }

    fn refusal(&mut self, peer: Peer, why: &str) -> String {
        let max_refusals = reference::most_refusals(&self.config.limits);
        let client = self.client(peer);
        client.refuse();
        reference::refusal(why, client.refusals == max_refusals)
    }

    fn negotiated(&mut self, peer: Peer, answer: [u8; 3]) {
        self.tally.answers += 1;
        // The offer of BINARY comes once, behind an answer.
        if answer != [255, 253, 0] {
            self.put_out(answer.len());
        }
        if !self.has_people {
            let said = self.take(peer, |_| true);
            assert_eq!(said, Decoded::Asked(answer.to_vec()), "peer {peer}");
        }
        self.tally.binary += u64::from(answer[2] == 0);
        let client = self.client(peer);
        client.cost += 3;
        client.owe(Due::Answer(answer));
    }

    // Writing.

    fn wrote(&mut self, peer: Peer, offered: usize, bytes: &[u8], is_sent: bool) {
        if let Some(refused) = self.refused(peer) {
            refused.is_told = true;
            let words = refused.words.as_bytes();
            let is_right = words.len() == offered && words.starts_with(bytes);
            return assert!(is_right, "peer {peer} was refused");
        }
        self.bytes_out += bytes.len() as u64;
        self.assert_queue_is_within(peer, offered);
        let now = self.now;
        let over = offered > self.config.limits.max_pending_bytes;
        self.tally.over_limit += u64::from(over);
        let client = self.client(peer);
        client.wrote(offered, bytes, is_sent, now);
    }

    /// No queue is longer than it may be.
    fn assert_queue_is_within(&self, peer: Peer, queued: usize) {
        let limits = &self.config.limits;
        let longest_line = self.config.longest_line_bytes();
        let turn = longest_line.max(limits.max_pending_bytes / 4);
        let beyond = match limits.lag {
            // The room is held up when all that one turn says has been appended, and after that those
            // are heard who leave, and operators.
            Lag::Wait => (2 * turn).max(limits.max_pending_bytes),
            Lag::Skip | Lag::Disconnect => 2 * SKIPPED_NOTICE_BYTES,
        };
        let most = limits.max_pending_bytes + ANSWER_BYTES + beyond + longest_line;
        assert!(
            queued <= most,
            "peer {peer}: {queued} bytes queued, {most} allowed, {limits:?}"
        );
    }

    fn failed(&mut self, peer: Peer) {
        if let Some(refused) = self.refused(peer) {
            refused.failed = true;
            return;
        }
        let client = self.client(peer);
        client.failed = true;
        // Nothing is written to it any more. What it has sent before may wait for its rate.
        client.blocked_since = None;
    }

    // Leaving.

    fn left(&mut self, peer: Peer, nick: Option<&str>, has_sent: bool, reason: CloseReason) {
        let now = self.now;
        let is_right = self.may_leave(peer, reason);
        let shutting_down = self.shutting_down;
        let has_operators = self.config.interactive.ops_password.is_some();
        let client = self.client(peer);
        assert!(
            is_right,
            "peer {peer} left: {reason:?}, {now:?}, {client:?}"
        );
        assert!(client.left.is_none(), "peer {peer} left again");
        assert_eq!(client.nick.as_deref(), nick, "peer {peer}");
        let is_chat = client.service != Service::Http;
        assert!(!is_chat || !has_sent || client.cost > 0, "peer {peer}");
        let goes_at_once = shutting_down || reference::is_cut(reason);
        if matches!(reason, CloseReason::HungUp) && !has_operators {
            let said_more = client.has_said_more() && !goes_at_once;
            assert!(!said_more, "peer {peer} hung up and is not heard");
        }
        let is_broken = matches!(reason, CloseReason::Broken | CloseReason::HandshakeFailed);
        if is_broken && client.vanished_at.is_some() {
            // It is given up, as if it had failed.
            client.failed = true;
            self.tally.given_up += 1;
        }
        let client = self.client(peer);
        client.leave(reason, now);
        let (ip, cost) = (client.ip, client.debt + client.cost);
        self.admission.keep_debt(ip, cost);
        if let Some(nick) = nick {
            self.nicks.remove(nick);
        }
    }

    /// Whether a client may leave for this reason.
    fn may_leave(&self, peer: Peer, reason: CloseReason) -> bool {
        let limits = &self.config.limits;
        let Some(client) = self.clients.get(&peer) else {
            return false;
        };
        let is_past = |since: Instant, time: Option<Duration>| {
            time.is_some_and(|time| self.now >= since + time)
        };
        let is_http = client.service == Service::Http;
        let login = reference::login_patience(limits, client.is_person());
        let stall = reference::stall_patience(limits);
        match reason {
            CloseReason::HungUp => client.ended && !client.listens_on(),
            CloseReason::HandshakeTimeout => {
                !client.is_shaken && is_past(client.connected_at, Some(HANDSHAKE_TIMEOUT))
            }
            CloseReason::HandshakeFailed if client.is_shaken => false,
            CloseReason::Broken | CloseReason::HandshakeFailed => {
                let vanished_at = client.vanished_at;
                // The kernel's clock leaves nothing out.
                let is_dead = vanished_at
                    .is_some_and(|at| self.now + self.left_out >= at + limits.ack_timeout);
                client.failed || client.is_deaf || is_dead
            }
            CloseReason::Unreachable => client.failed || client.is_deaf,
            CloseReason::TooSlow => {
                !client.is_member() || limits.lag != Lag::Skip || client.is_owed()
            }
            CloseReason::Stalled => {
                let may_stall = limits.lag != Lag::Wait || !client.is_member();
                may_stall && is_past(client.took_at, stall)
            }
            CloseReason::HeldUp => limits.lag == Lag::Wait && stall.is_some() && client.is_owed(),
            CloseReason::OutOfMemory => limits.max_pending_total_bytes > 0,
            CloseReason::NoNick => {
                client.refusals == reference::most_refusals(limits)
                    || client.is_too_soon
                    || self.has_people
            }
            CloseReason::LoginTimeout => {
                !is_http && !client.is_member() && is_past(client.connected_at, login)
            }
            CloseReason::RequestTimeout => {
                is_http && is_past(client.connected_at, Some(REQUEST_TIMEOUT))
            }
            CloseReason::Idle => {
                let since = client
                    .read_at
                    .max(client.joined_at.unwrap_or(client.read_at));
                client.is_member() && is_past(since, reference::unless_never(limits.idle_timeout))
            }
            CloseReason::OtherProtocol => self.has_people || client.is_foreign(),
            CloseReason::MadeRoom => self.is_full() && may_make_room(&self.clients, peer, self.now),
            CloseReason::Shutdown => self.shutting_down,
            CloseReason::Answered => client.service == Service::Http,
            CloseReason::WrongPassword
            | CloseReason::Quit
            | CloseReason::Kicked
            | CloseReason::Banned => self.has_people,
            _ => false,
        }
    }

    fn shut_write(&mut self, peer: Peer) {
        if let Some(refused) = self.refused(peer) {
            refused.is_shut = true;
            return;
        }
        let now = self.now;
        let client = self.client(peer);
        assert!(client.left.is_some(), "peer {peer} shut before it left");
        client.assert_has_all();
        client.shut_at = Some(now);
        if client.service == Service::Http {
            let response = client.response();
            let is_http = response.is_empty() || response.starts_with(b"HTTP/1.1 ");
            assert!(is_http, "{}", response.escape_ascii());
            let is_ok = response.starts_with(b"HTTP/1.1 200 OK");
            self.tally.http_answers += u64::from(is_ok);
        }
    }

    fn deregistered(&mut self, peer: Peer) {
        let now = self.now;
        let limits = self.config.limits.clone();
        let goes_for_another = self.is_full() && may_make_room(&self.clients, peer, now);
        // Who is leaving goes at once when its network is banned.
        let has_ban = self.turn.has_ban;
        let client = self.client(peer);
        let Some((reason, left_at)) = client.left else {
            panic!("peer {peer} freed before it left");
        };
        let patience = reference::drain_patience(reason, &limits).min(limits.linger_timeout);
        let out_of_time = now >= left_at + patience;
        let has_lingered =
            client.shut_at.is_some() && (client.ended || client.discarded > limits.linger_bytes);
        // Who makes room goes at once.
        let makes_room = reason == CloseReason::MadeRoom || goes_for_another;
        // It was leaving already, and held the most memory: few seeds see that, so it has a scene in
        // `rare`.
        let is_shed = limits.max_pending_total_bytes > 0 && (client.is_owed() || !client.ended);
        let is_gone = client.failed || client.is_deaf;
        if is_gone || has_lingered || makes_room || has_ban {
        } else if out_of_time {
            self.tally.ran_out_of_time += 1;
        } else if !is_shed {
            // The write half is not shut down where the peer is gone.
            assert!(client.ended, "peer {peer} closed too early");
            client.assert_has_all();
        }
        self.closed(reason);
        if let Some(client) = self.clients.remove(&peer) {
            self.tally.seen_after_end += client.seen_after_end;
            self.tally.seen_with_lf += client.seen * u64::from(client.has_lf());
        }
    }

    // What holds between two turns.

    pub(crate) fn end_turn(&mut self) {
        let now = self.now;
        let limits = self.config.limits.clone();
        for (&peer, client) in &mut self.clients {
            if let Some((reason, at)) = client.left {
                // What it takes in its last turn is heard before its time is up.
                let ends = match client.shut_at {
                    Some(shut_at) => shut_at + limits.linger_timeout,
                    None => at + reference::drain_patience(reason, &limits),
                };
                assert!(now < ends, "peer {peer} has had its time");
                assert!(!client.failed, "peer {peer} failed and is not freed");
                continue;
            }
            let is_past = |since: Instant, time| {
                reference::unless_never(time).is_some_and(|time| now >= since + time)
            };
            if client.nick.is_none() {
                let is_late = match client.service {
                    Service::Http => is_past(client.connected_at, REQUEST_TIMEOUT),
                    _ => reference::login_patience(&limits, client.is_person())
                        .is_some_and(|time| now >= client.connected_at + time),
                };
                if is_late && client.late_since.is_none() {
                    client.late_since = Some(now);
                }
                // Whoever waits to be read when its time is up is read once more before it goes.
                let is_heard = client.late_since.is_some_and(|at| client.read_at > at);
                let waits = client.told_at == now && !is_heard;
                client.late_turns += u32::from(is_late && !waits);
                // What its stream owed may have kept input back, which is read in the next turn.
                let most = u32::from(client.is_veiled);
                assert!(
                    client.late_turns <= most,
                    "peer {peer} has no nick and stays"
                );
            } else {
                let since = client.told_at.max(client.joined_at.unwrap_or(now));
                let is_idle = is_past(since, limits.idle_timeout);
                // A member that waits to be heard is not silent.
                let waits = limits.lines_per_second > 0.0 || limits.lag == Lag::Wait;
                let is_silent = is_idle && !client.has_said_more() && !waits;
                assert!(
                    !is_silent || self.has_people,
                    "peer {peer} is idle and stays: {:?} of {:?}",
                    now - since,
                    limits.idle_timeout
                );
            }
            // Who has failed reads nothing any more; its lines may still wait for their rate.
            if let Some(since) = client.blocked_since
                && !client.failed
                && limits.lag != Lag::Wait
                && let Some(stall) = reference::stall_patience(&limits)
            {
                assert!(now < since + stall, "peer {peer} has stalled and stays");
            }
        }
    }

    pub(crate) fn assert_adds_up(&mut self, metrics: &Metrics) {
        assert_eq!(metrics.accepted, metrics.clients as u64 + metrics.closed());
        assert_eq!(metrics.clients, self.clients.len(), "clients");
        assert_eq!(metrics.members, self.members().count(), "members");
        assert_eq!(metrics.accepted, self.accepted, "accepted");
        for reason in CloseReason::ALL {
            let closed = self.tally.closed[reason as usize];
            assert_eq!(metrics.closed_for(reason), closed, "{reason}");
        }
        assert_eq!(metrics.lines_in, self.tally.lines, "lines in");
        assert_eq!(metrics.bytes_in, self.bytes_in, "bytes in");
        assert_eq!(metrics.bytes_out, self.bytes_out, "bytes out");
        let held = metrics.pending_bytes + metrics.held_bytes;
        assert!(held <= metrics.buffer_bytes, "{held} bytes without memory");
        self.tally.held_turns += u64::from(metrics.held_bytes > 0);
        self.tally.skipped = metrics.lines_skipped;
        let most = self.config.limits.max_pending_total_bytes;
        let longest_line = self.config.longest_line_bytes();
        // One read or one line, in the largest buffer that the pool may have lying there for it, and the
        // buffer in which a turn's lines are written to one member after the other.
        let turn = longest_line.max(self.config.limits.max_pending_bytes / 4);
        let beyond = POOLED_BYTES + self.config.limits.read_bytes + longest_line + 3 * turn;
        let memory = metrics.buffer_bytes;
        // A client that goes for its memory gets nothing more.
        let skips = self.has_people || self.config.recorded;
        let skips = skips || self.config.limits.lag == Lag::Skip || most > 0;
        assert!(skips || metrics.lines_skipped == 0, "a line is left out");
        assert!(
            most == 0 || memory <= most + beyond,
            "{memory} bytes of memory, {most} allowed: {:?}, {metrics:?}",
            self.config.limits
        );
    }

    fn assert_transcript_is_complete(&self, socket: &Socket) {
        if self.transcript.is_written_by(socket.peer) {
            if !socket.is_blocked() {
                self.transcript.assert_has_all();
            }
            socket.assert_nothing_is_forgotten(true, self.transcript.has_rest());
        }
    }

    /// The engine says that it has no work before this deadline, and no event is on its way to it.
    pub(crate) fn assert_nothing_is_forgotten(&mut self, socket: &Socket, next: Option<Instant>) {
        let peer = socket.peer;
        if self.transcript.is_writer(peer) {
            return self.assert_transcript_is_complete(socket);
        }
        let limits = self.config.limits.clone();
        let (now, has_people) = (self.now, self.has_people);
        let next = next.map(|at| at - self.left_out);
        let is_held_up = limits.lag == Lag::Wait && self.members().any(|(_, it)| it.is_owed());
        let has_operators = self.config.interactive.ops_password.is_some();
        let client = self.client(peer);
        let said_more = client.has_said_more();
        // What it said before may have to wait for its rate.
        let opens = client.lines.opens(now).filter(|_| client.is_member());
        // What a person has sent beyond its rate is read, and so the failure behind it is found, before it
        // is said.
        let is_ahead = client.is_member() && client.is_person() && client.may_wait_for_rate(now);
        let may_wait =
            (said_more || opens.is_some()) && limits.lag == Lag::Wait || is_ahead && next.is_some();
        let is_freed = !client.failed || may_wait;
        assert!(is_freed, "peer {peer} failed and is not freed");
        // Lines of a member that is muted are never heard, and no event tells which.
        let may_be_muted = has_operators && client.nick.is_some();
        if said_more && !may_be_muted {
            // Something keeps it back, and that has an end.
            let is_held = client.is_member() && (is_held_up || next.is_some());
            assert!(is_held, "peer {peer} is not heard: {client:?}");
            if let Some(opens) = opens.filter(|_| !is_held_up && !has_people) {
                let is_awaited = next.is_some_and(|next| next <= opens);
                assert!(is_awaited, "peer {peer} may go on at {opens:?}");
            }
        }
        let is_foreign = client.left.is_none() && client.is_foreign();
        assert!(
            !is_foreign || said_more || has_people,
            "peer {peer} speaks another protocol"
        );
        let is_blocked = socket.is_blocked();
        let is_done = client.is_deaf || client.failed;
        if !is_blocked && !is_done {
            client.assert_has_all();
        }
        if client.left.is_some() && !is_blocked {
            assert!(
                client.shut_at.is_some() || is_done,
                "peer {peer} is drained and not shut"
            );
        }
        let may_be_held =
            said_more || opens.is_some() || is_held_up || has_people && next.is_some();
        let is_heard = client.left.is_none() && !may_be_held;
        let is_owed = client.is_owed() && is_blocked;
        let is_script = client.is_script();
        let tally = &mut self.tally;
        tally.held_by_rate += u64::from(said_more && opens.is_some());
        tally.held_by_gate += u64::from(said_more && opens.is_none());
        if is_script && !has_people {
            socket.assert_nothing_is_forgotten(is_heard, is_owed);
        }
    }
}
