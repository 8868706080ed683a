//! Whatever a flooder sends, who only types is heard at once: flooders of every kind send as fast as
//! they are read, beside typists, readers that keep up, and one that has stopped reading. Counted
//! in turns, because a turn is what the loop owes; and no line of a typist, nor a flooder's, is left
//! out for a reader that keeps up. What a typist says is written before a line of a bulk speaker is even
//! heard.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::engine::Engine;
use line_chat::{Config, Entrance, Lag, Profile, Service};

use crate::journal::{self, Journal, Peer, Record};
use crate::listener::Descriptor;
use crate::socket::{Faults, ServerEnd, Socket};
use crate::veil::{self, Veil};
use crate::world::Registrations;

/// In how many turns a line is spoken at the latest, that of its event included.
const MOST_TURNS: u64 = 2;

/// What is sent again and again.
const FLOODS: [&[u8]; 8] = [
    b"x\n",
    b"\xff\xf6",
    b"\xff\xfd\x06",
    b"\r\n",
    b"endless",
    b"\x7f",
    b"\xff\xfa\x07\x07\x07\x07\x07\x07\x07\x07",
    b"the quick brown fox jumps over the lazy dog\r\n",
];

/// Commands, some of which take as long as a hundred lines.
const COMMANDS: &[u8] =
    "/who\n/unignore \u{fdfa}\u{fdfa}\u{fdfa}\n/msg nobody x\n/help\n".as_bytes();

/// A little less than what makes a bulk speaker, in bytes.
const BURST_BYTES: usize = 60_000;

/// Each character of it has three bytes: 32 of them make a line of two bytes one of a hundred.
const LONG_NICK: &str = "\u{20ac}";

struct Member {
    socket: Rc<RefCell<Socket>>,
    role: Role,
    /// What a reader got of the line that is arriving, and how many lines of each typist.
    begun: Vec<u8>,
    got: [u64; TYPISTS],
}

enum Role {
    /// Types, and reads; its lines that are not yet spoken, and in which turn each was told.
    Typist {
        typed: u64,
        waiting: VecDeque<(String, Option<u64>)>,
    },
    Reader,
    Stalled,
    Flooder {
        flood: Vec<u8>,
        reads: bool,
    },
}

const TYPISTS: usize = 3;

/// Who comes, perhaps says something, and goes, again and again.
#[derive(Debug, Clone)]
struct Visitors {
    count: usize,
    says: Vec<u8>,
    /// Where they come, one after the other.
    entrances: Vec<Entrance>,
}

struct Room {
    engine: Engine<ServerEnd, Journal>,
    is_veiled: bool,
    members: Vec<Member>,
    visitors: Option<Visitors>,
    present: Vec<Member>,
    visits: u16,
    /// A typist's line was heard in this turn that no reader was given yet.
    has_unwritten: bool,
    now: Instant,
    turn: u64,
    /// After how many turns the first line is typed: everybody is in.
    types_from: u64,
    longest_tick_micros: u64,
    spoken: [u64; TYPISTS],
    slowest: u64,
    most_turns: u64,
    /// How many commands of visitors were answered in this turn, and in the turn that had most.
    answered: usize,
    most_answered: usize,
    rng: Rng,
}

#[test]
fn a_typist_is_heard_within_two_turns_beside_any_flood() {
    for seed in 0..20 {
        let mut room = Room::new(seed, seed % 2 == 1);
        for _ in 0..100 {
            room.turn();
        }
        room.calm_down();
        let spoken: u64 = room.spoken.iter().sum();
        assert!(spoken > 50, "seed {seed}: {spoken} lines spoken");
        println!(
            "{seed}: {spoken} lines, the slowest in {} turns",
            room.slowest
        );
    }
}

/// Beside how many of a kind.
const CROWDS: [usize; 3] = [1, 16, 64];

#[test]
fn a_typist_is_heard_within_two_turns_beside_any_number_of_floods() {
    for (seed, count) in (0..).zip(CROWDS) {
        let mut room = Room::with_typists(seed, false, Lag::Skip);
        for flooder in 0..count {
            room.join(&format!("loud{flooder}"), Role::flooder(FLOODS[7], true));
        }
        room.expect_prompt_typists(&format!("{count} floods of lines"));
    }
}

#[test]
fn a_typist_is_heard_within_two_turns_beside_any_number_of_commands() {
    for (seed, count) in (0..).zip(CROWDS) {
        let mut room = Room::with_typists(seed, false, Lag::Skip);
        for flooder in 0..count {
            let service = Service::Chat(Profile::Interactive);
            let role = Role::flooder(COMMANDS, true);
            room.join_at(&format!("asks{flooder}"), role, service);
        }
        room.expect_prompt_typists(&format!("{count} floods of commands"));
    }
}

#[test]
fn a_typist_is_heard_within_two_turns_beside_any_number_of_visitors() {
    for says_bytes in [0, BURST_BYTES] {
        for (seed, count) in (0..).zip(CROWDS) {
            let mut room = Room::with_typists(seed, false, Lag::Skip);
            room.visitors = Some(Visitors {
                count,
                says: FLOODS[7].repeat(says_bytes / FLOODS[7].len()),
                entrances: vec![Service::Chat(Profile::Plain).into()],
            });
            room.expect_prompt_typists(&format!("{count} visitors, {says_bytes} bytes each"));
        }
    }
}

/// How many commands a turn runs, and how many more it may if the last client may run several.
const MOST_COMMANDS: usize = 64 + 7;

/// How each command of a visitor is answered.
const ANSWERS: [&str; 3] = [
    "you do not ignore",
    "you are now",
    "you change your nick too often",
];

/// A client runs few commands in a turn. Whoever comes again, at another listener, for another service or
/// under another name, has no more of the turn.
#[test]
fn commands_take_no_more_of_a_turn_by_another_way_in() {
    const PEOPLE: Service = Service::Chat(Profile::Interactive);
    let listener = |listener| Entrance {
        service: PEOPLE,
        listener: Some(listener),
    };
    let others = vec![PEOPLE.into(), Service::Chat(Profile::History).into()];
    let long_names = "/unignore \u{fdfa}\u{fdfa}\u{fdfa}\n".repeat(40);
    let renames = "/nick a\n/nick b\n".repeat(20);
    for (way, says, entrances) in [
        ("reconnect", &long_names, vec![listener(0)]),
        ("listener", &long_names, vec![listener(0), listener(1)]),
        ("profile", &long_names, others),
        ("rename", &renames, vec![listener(0)]),
    ] {
        for (seed, count) in (0..).zip(CROWDS) {
            let mut room = Room::with_typists(seed, false, Lag::Skip);
            room.visitors = Some(Visitors {
                count,
                says: says.as_bytes().to_vec(),
                entrances: entrances.clone(),
            });
            room.expect_prompt_typists(&format!("{count} visitors by {way}"));
            let most = room.most_answered;
            println!("at most {most} commands in a turn");
            assert!(most <= MOST_COMMANDS, "{way}: {most}");
            assert!(most >= 8, "{way}: they are answered");
        }
    }
}

/// They say less than makes them loud, but all at once.
#[test]
fn a_typist_is_heard_within_a_few_turns_beside_any_number_of_sparse_speakers_at_once() {
    for line in [&b"\n"[..], b"x\n", FLOODS[7]] {
        for (seed, count) in (0..).zip(CROWDS) {
            let mut room = Room::with_typists(seed, false, Lag::Skip);
            room.types_from = u64::MAX;
            for speaker in 0..count {
                room.join(&format!("at-once{speaker}"), Role::Reader);
            }
            for _ in 0..4 {
                room.turn();
            }
            let burst = line.repeat(16_000 / line.len());
            for speaker in room.members.iter().skip(TYPISTS + 2) {
                speaker.socket.borrow_mut().arrive(&burst, false);
            }
            room.most_turns = 4;
            room.types_from = room.turn;
            for _ in 0..60 {
                room.turn();
            }
            room.calm_down();
            let slowest = room.slowest;
            println!("{count} bursts of {line:?}: the slowest in {slowest} turns");
            assert!(room.spoken.iter().sum::<u64>() > 20);
        }
    }
}

/// Clients without a nick who send empty lines without end keep nobody out.
#[test]
fn a_newcomer_is_let_in_within_a_few_turns_beside_any_number_of_nickless_floods() {
    let mut room = Room::with_typists(0, false, Lag::Skip);
    for flooder in 0..400 {
        let service = Service::Chat(Profile::Plain);
        room.join_nickless(flooder, Role::flooder(b"\n", true), service);
    }
    for _ in 0..20 {
        room.turn();
    }
    room.join("newcomer", Role::Reader);
    let mut turns = 0;
    while !room.engine.members().any(|nick| nick == "newcomer") {
        turns += 1;
        assert!(turns <= 8, "the newcomer waits");
        room.turn();
    }
}

impl Room {
    fn new(seed: u64, is_veiled: bool) -> Self {
        let mut rng = Rng::with_seed(!seed);
        let lag = [Lag::Skip, Lag::Disconnect, Lag::Wait][rng.usize(..3)];
        let mut room = Self::with_typists(seed, is_veiled, lag);
        // In a room that waits, one who does not read may stop it.
        if lag != Lag::Wait {
            room.join("stalled", Role::Stalled);
        }
        room.let_flooders_in(lag != Lag::Wait);
        room
    }

    /// Typists and readers.
    fn with_typists(seed: u64, is_veiled: bool, lag: Lag) -> Self {
        let mut rng = Rng::with_seed(seed);
        journal::begin();
        Descriptor::allow(1000);
        let mut config = Config::default();
        config.limits.max_pending_bytes = 300 << 10;
        config.limits.lag = lag;
        let now = Instant::now();
        let mut room = Self {
            engine: Engine::new(config, Journal, now).expect("the config is sound"),
            is_veiled,
            members: Vec::new(),
            visitors: None,
            present: Vec::new(),
            visits: 0,
            has_unwritten: false,
            now,
            turn: 0,
            types_from: u64::MAX,
            longest_tick_micros: [200, 5000][rng.usize(..2)],
            spoken: [0; TYPISTS],
            slowest: 0,
            most_turns: MOST_TURNS,
            answered: 0,
            most_answered: 0,
            rng,
        };
        for typist in 0..TYPISTS {
            let role = Role::Typist {
                typed: 0,
                waiting: VecDeque::new(),
            };
            room.join(&format!("typist{typist}"), role);
        }
        for reader in 0..2 {
            room.join(&format!("reader{reader}"), Role::Reader);
        }
        // A handshake takes some turns, and those of others come first.
        while room.engine.members().count() < room.members.len() {
            assert!(room.turn < 100, "all of them join");
            room.turn();
        }
        room.types_from = room.turn + 4;
        room
    }

    /// Lets the flood begin, and then the typists.
    fn expect_prompt_typists(&mut self, beside: &str) {
        // Whoever is loud is known to be so.
        let types = std::mem::replace(&mut self.types_from, u64::MAX);
        for _ in 0..60 {
            self.turn();
        }
        self.types_from = types + self.turn;
        for _ in 0..60 {
            self.turn();
        }
        self.calm_down();
        let spoken: u64 = self.spoken.iter().sum();
        println!(
            "{beside}: {spoken} lines, the slowest in {} turns",
            self.slowest
        );
        assert!(spoken > 20, "{beside}: {spoken} lines spoken");
    }

    /// One of a kind or several, of one kind or of all.
    fn let_flooders_in(&mut self, may_stall: bool) {
        let kinds = [1, FLOODS.len()][self.rng.usize(..2)];
        let first = self.rng.usize(..FLOODS.len());
        let each = self.rng.usize(1..=2);
        for flooder in 0..kinds * each {
            let kind = first + flooder % kinds;
            let flood = FLOODS[kind % FLOODS.len()];
            let reads = !may_stall || self.rng.bool();
            let nick = LONG_NICK.repeat(32 - flooder);
            self.join(&nick, Role::flooder(flood, reads));
            // Who begins is quiet, so several who begin together would take turns with the typists,
            // a turn each, before all of them count as loud.
            for _ in 0..5 {
                self.turn();
            }
        }
    }

    fn join_nickless(&mut self, number: u16, role: Role, service: Service) {
        // A line that is empty is no nick.
        let member = self.connect(2000 + number, "", role, service);
        self.members.push(member);
    }

    fn join(&mut self, nick: &str, role: Role) {
        self.join_at(nick, role, Service::Chat(Profile::Plain));
    }

    fn join_at(&mut self, nick: &str, role: Role, service: Service) {
        let number = u16::try_from(self.members.len()).expect("a handful of members");
        let member = self.connect(number, nick, role, service);
        self.members.push(member);
    }

    fn connect(
        &mut self,
        number: u16,
        nick: &str,
        role: Role,
        entrance: impl Into<Entrance>,
    ) -> Member {
        let peer = Peer::from(number);
        let addr = SocketAddr::from(([127, 0, 0, 1], number));
        journal::introduce(peer, addr);
        let mut socket = Socket::new(peer, addr.ip(), 2000, Faults::NONE, self.rng.fork());
        if self.is_veiled {
            socket = socket.veiled(Veil::calm());
            socket.arrive(veil::HELLO, false);
        }
        let socket = Rc::new(RefCell::new(socket));
        let is_greedy = !matches!(role, Role::Stalled | Role::Flooder { reads: false, .. });
        if is_greedy {
            socket.borrow_mut().read_greedily();
        }
        let descriptor = Descriptor::open().expect("descriptors are left");
        let stream = ServerEnd::new(Rc::clone(&socket), descriptor);
        self.engine.accept(
            stream,
            addr,
            entrance,
            self.now,
            &mut Registrations(self.now),
        );
        socket.borrow_mut().arrive(nick.as_bytes(), false);
        socket.borrow_mut().arrive(b"\r\n", false);
        Member {
            socket,
            role,
            begun: Vec::new(),
            got: [0; TYPISTS],
        }
    }

    /// Those who have gone are replaced.
    fn let_visitors_in(&mut self) {
        /// Numbers that no member has.
        const FIRST: u16 = 1000;
        let Some(visitors) = self.visitors.take() else {
            return;
        };
        self.present
            .retain(|visitor| !visitor.socket.borrow().is_gone());
        while self.present.len() < visitors.count {
            self.visits += 1;
            let (number, nick) = (FIRST + self.visits, format!("visitor{}", self.visits));
            let role = Role::flooder(b"", true);
            let entrance = visitors.entrances[usize::from(self.visits) % visitors.entrances.len()];
            let visitor = self.connect(number, &nick, role, entrance);
            visitor.socket.borrow_mut().arrive(&visitors.says, false);
            visitor.socket.borrow_mut().hang_up();
            self.present.push(visitor);
        }
        self.visitors = Some(visitors);
    }

    fn turn(&mut self) {
        self.turn += 1;
        self.now += Duration::from_micros(self.rng.u64(0..=self.longest_tick_micros));
        self.has_unwritten = false;
        self.let_visitors_in();
        let types = self.turn > self.types_from;
        for (number, member) in self.members.iter_mut().chain(&mut self.present).enumerate() {
            member.act(number, types, self.now, &mut self.rng);
        }
        let mut events = Vec::new();
        for member in self.members.iter_mut().chain(&mut self.present) {
            events.extend(member.take_event(self.turn));
        }
        self.rng.shuffle(&mut events);
        for event in events {
            if event.readable {
                self.engine.on_readable(event.id, event.read_on);
            }
            if event.writable {
                self.engine.on_writable(event.id);
            }
        }
        self.engine.turn(self.now, &mut Registrations(self.now));
        self.answered = 0;
        for record in journal::take() {
            self.follow(&record);
        }
        self.most_answered = self.most_answered.max(self.answered);
        self.assert_nobody_waits();
    }

    fn follow(&mut self, record: &Record) {
        match record {
            Record::Said { is_bulk: true, .. } => {
                assert!(!self.has_unwritten, "a flood is heard before a typist");
            }
            Record::Said { line, .. } => self.spoke(&String::from_utf8_lossy(line)),
            Record::Wrote { peer, bytes, .. } => {
                self.has_unwritten = false;
                match self.members.get_mut(*peer as usize) {
                    Some(member) => member.get(bytes),
                    None => self.answered += count_answers(bytes),
                }
            }
            _ => {}
        }
    }

    fn spoke(&mut self, line: &str) {
        let Some((nick, text)) = line.split_once(": ") else {
            return;
        };
        let Some(typist) = nick
            .strip_prefix("typist")
            .and_then(|it| it.parse::<usize>().ok())
        else {
            return;
        };
        let Role::Typist { waiting, .. } = &mut self.members[typist].role else {
            return;
        };
        let (typed, told) = waiting.pop_front().expect("it was typed");
        assert_eq!(text, typed, "{nick}");
        self.has_unwritten = true;
        let turns = self.turn - told.expect("it was told") + 1;
        self.slowest = self.slowest.max(turns);
        self.spoken[typist] += 1;
    }

    fn assert_nobody_waits(&self) {
        for (typist, member) in self.members.iter().enumerate() {
            if let Role::Typist { waiting, .. } = &member.role
                && let Some((line, Some(told))) = waiting.front()
            {
                let turns = self.turn - told + 1;
                assert!(
                    turns < self.most_turns,
                    "typist {typist}: {line:?} waits for {turns} turns"
                );
            }
        }
    }

    /// The flood ends; then each of those who kept up has got all that was typed.
    fn calm_down(&mut self) {
        for member in &mut self.members {
            if let Role::Flooder { flood, .. } = &mut member.role {
                flood.clear();
            }
        }
        self.visitors = None;
        for _ in 0..5 {
            self.turn();
        }
        for (number, member) in self.members.iter().enumerate() {
            if matches!(member.role, Role::Typist { .. } | Role::Reader) {
                let mut spoken = self.spoken;
                if let Some(own) = spoken.get_mut(number) {
                    *own = 0;
                }
                assert_eq!(member.got, spoken, "what {number} got");
            }
        }
    }
}

fn count_answers(written: &[u8]) -> usize {
    let written = String::from_utf8_lossy(written);
    let answers = ANSWERS.iter();
    answers.map(|answer| written.matches(answer).count()).sum()
}

impl Role {
    /// Sends this again and again, or nothing.
    fn flooder(flood: &[u8], reads: bool) -> Self {
        let times = (64_usize << 10).checked_div(flood.len());
        let flood = flood.repeat(times.unwrap_or(0));
        Self::Flooder { flood, reads }
    }
}

impl Member {
    fn act(&mut self, number: usize, types: bool, now: Instant, rng: &mut Rng) {
        let mut socket = self.socket.borrow_mut();
        socket.begin_turn(now);
        match &mut self.role {
            Role::Typist { typed, waiting } if types && rng.u8(..) < 60 => {
                *typed += 1;
                let line = format!("{typed} of {number}");
                socket.arrive(line.as_bytes(), false);
                socket.arrive(b"\r\n", false);
                waiting.push_back((line, None));
            }
            Role::Flooder { flood, .. } => {
                let most = socket.window().min(flood.len());
                if most > 0 {
                    socket.arrive(&flood[..most], false);
                    // The next segment goes on where this one ended.
                    flood.rotate_left(most);
                }
            }
            _ => {}
        }
    }

    fn take_event(&mut self, turn: u64) -> Option<crate::socket::Event> {
        let mut socket = self.socket.borrow_mut();
        let event = socket.take_event()?;
        socket.told(event);
        if let Role::Typist { waiting, .. } = &mut self.role {
            for (_, told) in waiting {
                told.get_or_insert(turn);
            }
        }
        Some(event)
    }

    fn get(&mut self, bytes: &[u8]) {
        if matches!(self.role, Role::Stalled | Role::Flooder { .. }) {
            return;
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if self.begun.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                assert!(!line.starts_with(b"* "), "a line was skipped");
                let typist = line.strip_prefix(b"typist").and_then(|it| it.first());
                if let Some(digit) = typist {
                    self.got[usize::from(digit - b'0')] += 1;
                }
            }
        }
    }
}
