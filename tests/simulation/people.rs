//! People at a prompt beside plain clients, against a model that knows the room only as its rules say:
//! whatever is typed is seen at once by those who should see it, in the order in which it happens, and by
//! nobody else. Streams are plain or veiled, take output and give input in pieces, and fail in every way
//! that they can recover from; who is behind reads on, so nothing is ever left out.
//!
//! The model hears a client when the engine has, because one thing depends on how much each read took:
//! whether a script that is refused a nick had sent more before it could know.

mod admission;
mod asking;
mod claims;
mod coming;
mod help;
mod names;
mod operators;
mod sanctions;
mod showing;
mod talking;
mod typing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use fastrand::Rng;
use line_chat::{Config, Service};

use crate::journal::Peer;
use crate::scene::{INTERACTIVE, PLAIN, Scene};
use crate::socket::Faults;
use admission::Echo;
use claims::Claim;
use sanctions::Sanction;

const SEEDS: u64 = 60;
const STEPS: usize = 150;

/// Some are the same, and some begin others.
const NAMES: [&str; 10] = [
    "bob",
    "BOB",
    "ann",
    "carl",
    "zoë",
    "Zoe",
    "dora",
    "c\u{430}rl",
    "Carl",
    "carlos",
];

const GREETING: &str =
    "* this is a chat room: what you type goes to everybody in it, line by line\r\n";

/// A blank at which no line is broken.
const NO_BREAK: char = '\x1f';

/// How many lines are shown to who joins, and how many are kept.
const SHOWN: usize = 5;
const KEPT: usize = 9;

/// From one step to the next, in seconds.
const STEP_SECONDS: u64 = 2;

/// How many steps a client may take to its nick, in rooms that have a limit.
const LOGIN_STEPS: u64 = 6;

/// How many lines of a client may be refused, in rooms where that is set.
const FEW_REFUSALS: u8 = 3;

/// How long a name that was given up is remembered.
const REMEMBERED_SECONDS: u64 = 600;

/// How many clients come from an address, and how many lines one of them sends at once.
const MOST_OF_AN_ADDRESS: usize = 4;
const MOST_LINES: usize = 3;

/// Of an address, so many joins, leaves and renames are told by name in this time.
const TOLD_BY_NAME: usize = 5;
const TOLD_BY_NAME_SECONDS: u64 = 10;

/// How many steps nobody does anything, once in a while.
const PAUSE: u64 = 150;

/// A client in the model.
struct Client {
    peer: Peer,
    /// The first one that came from its address.
    host: Peer,
    is_quiet: bool,
    bell: Bell,
    /// What the time before its lines is.
    stamp: &'static str,
    away: Option<&'static str>,
    is_person: bool,
    knows_password: bool,
    nick: Option<String>,
    is_open: bool,
    is_operator: bool,
    /// It is asked for the password of operators.
    is_asked: bool,
    echo: Echo,
    /// It tries to guess that password most of the time.
    is_guesser: bool,
    has_voice: bool,
    ignores: Vec<Ignored>,
    /// Who told it something last, and the name that it had then.
    told_by: Option<(usize, String)>,
    refusals: usize,
    /// How long a line of the server's own may be; `None` for a script.
    columns: Option<usize>,
    /// The steps in which it connected, became a member, and last sent something.
    came_in: u64,
    joined_in: u64,
    heard_in: u64,
    /// What it has to see.
    expected: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bell {
    Off,
    Private,
    Name,
}

/// What a line is that others cause.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Said,
    /// Who is here, and under which name.
    Presence,
    Notice,
    Announced,
    Private,
}

/// Whom somebody ignores: a name, and whoever had it.
struct Ignored {
    nick: String,
    client: usize,
}

/// A line that was said.
struct Kept {
    line: String,
    step: u64,
    speaker: usize,
    /// Where it came from.
    host: Peer,
}

struct Room {
    scene: Scene,
    rng: Rng,
    has_password: bool,
    has_login_timeout: bool,
    is_moderated: bool,
    /// How many lines of a client are refused, if that is set.
    most_refusals: Option<usize>,
    clients: Vec<Client>,
    history: Vec<Kept>,
    /// In the order in which they were given.
    mutes: Vec<Sanction>,
    bans: Vec<Sanction>,
    /// How many members have left.
    departures: usize,
    /// From which address somebody came, went or took another name, and in which step.
    moves: Vec<(Peer, u64)>,
    /// When an address has all its tries of a password again, in seconds.
    tries: BTreeMap<Peer, u64>,
    /// Names that were given up, who had it, and in which step.
    departed: Vec<(String, usize, u64)>,
    /// The tokens that are valid, and how many were given out.
    claims: Vec<Claim>,
    /// What to type for tokens that were valid once.
    void_claims: Vec<String>,
    tokens: u128,
    step: u64,
    /// What came about.
    seen: BTreeSet<&'static str>,
}

/// How often a stream does something else than expected.
const OFTEN: f64 = 0.1;

/// What has to come about, or nothing is shown.
const EVENTS: [&str; 94] = [
    "offered again",
    "a ban is over",
    "a banned nick",
    "a mute is over",
    "a muted operator gave a reason",
    "an address banned",
    "an address muted",
    "announced",
    "another left",
    "another may have left",
    "asked about",
    "asked about a muted one",
    "asked about itself",
    "asked about one muted twice",
    "asked for the password of operators",
    "banned",
    "banned another one, perhaps",
    "banned before it came",
    "banned when it had left",
    "banned without a nick",
    "bans listed",
    "broken at 24 columns",
    "broken at 40 columns",
    "broken at 80 columns",
    "brought the mute of an address",
    "came back",
    "came back as a banned one",
    "came back from a muted address",
    "cancelled",
    "cannot be away",
    "claimed in vain",
    "did not ban itself",
    "did not wait",
    "forgot lines from an address",
    "forgotten",
    "from the same address",
    "help",
    "help for a command",
    "help for operators",
    "history",
    "ignored",
    "ignored under another name",
    "ignores nobody",
    "kicked",
    "kicked by a muted operator",
    "last guess",
    "last nick",
    "last of one",
    "lines forgotten",
    "listed by a beginning",
    "listed several that it ignores",
    "listed whom it ignores",
    "made room",
    "moderated as before",
    "muted",
    "muted already for longer",
    "muted by its address",
    "muted for a time",
    "muted for a time and a reason",
    "muted when it came back",
    "mutes listed",
    "no name begins so",
    "no operator any more",
    "not itself",
    "not let in",
    "notice broken",
    "operator by an unseen password",
    "quiet",
    "quit",
    "quit before a nick",
    "renamed",
    "renamed to a banned nick",
    "replied",
    "rung for a name",
    "rung for a private word",
    "said a command",
    "searched",
    "shortened",
    "silenced",
    "stamped",
    "told of another operator",
    "told somebody away",
    "too late",
    "too many tries",
    "took over",
    "took over a mute",
    "unbanned",
    "unmuted",
    "void token",
    "voiced",
    "voiceless",
    "waited by a short read",
    "wrong token",
    "wrong unseen password",
];

#[test]
fn everybody_sees_what_the_rules_say_on_plain_streams() {
    play(false);
}

#[test]
fn everybody_sees_what_the_rules_say_on_veiled_streams() {
    play(true);
}

fn play(is_veiled: bool) {
    let mut seen = BTreeSet::new();
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut room = Room::new(seed, is_veiled);
        for _ in 0..STEPS {
            room.step();
        }
        seen.append(&mut room.seen);
    }
    let missing = EVENTS.iter().filter(|event| !seen.contains(*event));
    assert_eq!(missing.count(), 0, "only {seen:?}");
}

fn key(name: &str) -> String {
    name.to_lowercase()
}
impl Room {
    fn new(seed: u64, is_veiled: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut config = Config::default();
        let has_password = rng.bool();
        let has_login_timeout = rng.bool();
        config.limits.login_timeout = match has_login_timeout {
            true => Some(Duration::from_secs(LOGIN_STEPS * STEP_SECONDS)),
            false => Some(Duration::ZERO),
        };
        let most_refusals = rng.bool().then_some(FEW_REFUSALS.into());
        config.limits.max_refusals = most_refusals.map(|_| FEW_REFUSALS);
        config.interactive.enabled = true;
        config.interactive.history_lines = Some(SHOWN);
        config.interactive.history_kept_lines = Some(KEPT);
        config.interactive.ops_password = "mustard".parse().ok();
        if has_password {
            config.interactive.password = "sesame".parse().ok();
        }
        let mut scene = Scene::new(config, is_veiled);
        scene.faults = Faults {
            interrupted: OFTEN,
            falsely_blocked: OFTEN,
            short: OFTEN,
            ..Faults::NONE
        };
        Self {
            scene,
            rng,
            has_password,
            has_login_timeout,
            is_moderated: false,
            most_refusals,
            clients: Vec::new(),
            history: Vec::new(),
            mutes: Vec::new(),
            bans: Vec::new(),
            departures: 0,
            moves: Vec::new(),
            tries: BTreeMap::new(),
            departed: Vec::new(),
            claims: Vec::new(),
            void_claims: Vec::new(),
            tokens: 0,
            step: 0,
            seen: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        let open: Vec<usize> = (0..self.clients.len())
            .filter(|&it| self.clients[it].is_open)
            .collect();
        if open.len() < 6 {
            self.connect();
        }
        for number in open {
            if self.rng.u8(..3) > 0 {
                self.act(number);
                self.compare();
            }
        }
        let steps = if self.rng.u8(..40) == 0 { PAUSE } else { 1 };
        self.step += steps;
        self.scene.wait(steps * STEP_SECONDS * 1000);
        self.end_sanctions();
        self.close_late();
        self.compare();
    }

    fn compare(&mut self) {
        self.scene.settle();
        self.scene.read_all();
        for (number, client) in self.clients.iter_mut().enumerate() {
            let expected = std::mem::take(&mut client.expected);
            let got = self.scene.got(client.peer);
            let nick = client.nick.as_deref();
            assert_eq!(got, expected, "client {number}, {nick:?}");
            let is_shut = self.scene.left(client.peer).is_some();
            assert_eq!(is_shut, !client.is_open, "client {number}, {nick:?}");
        }
    }

    fn connect(&mut self) {
        let is_person = self.rng.u8(..4) > 0;
        let service: Service = if is_person { INTERACTIVE } else { PLAIN };
        let capacity = self.rng.usize(10..400);
        let host = self.address();
        let refused = host.and_then(|host| self.refused_from(host, is_person));
        let faults = self.scene.faults;
        if refused.is_some() {
            // Who is not let in is told so by one attempt to write.
            self.scene.faults = Faults::NONE;
        } else {
            // For a script it matters where a read stops.
            self.scene.faults.short = if is_person { OFTEN } else { 0.5 };
        }
        let capacity = refused.as_ref().map_or(capacity, |_| 400);
        let peer = self.scene.connect_from(host, service, capacity);
        self.scene.faults = faults;
        let window = [40, 24][self.rng.usize(..2)];
        let is_narrow = is_person && self.rng.bool() && refused.is_none();
        let columns = match is_narrow {
            true => usize::from(window) - 1,
            false => 79,
        };
        let host = host.unwrap_or(peer);
        self.clients.push(Client {
            peer,
            host,
            is_quiet: false,
            bell: Bell::Off,
            stamp: "",
            away: None,
            is_person,
            knows_password: !self.has_password,
            nick: None,
            is_open: refused.is_none(),
            is_operator: false,
            is_asked: false,
            echo: Echo::new(is_narrow),
            is_guesser: self.rng.u8(..10) == 0,
            has_voice: false,
            ignores: Vec::new(),
            told_by: None,
            refusals: 0,
            columns: is_person.then_some(columns),
            came_in: self.step,
            joined_in: 0,
            heard_in: self.step,
            expected: String::new(),
        });
        let number = self.clients.len() - 1;
        match refused {
            Some(told) => self.is_turned_away(number, &told),
            None => self.greets(number),
        }
        if is_narrow {
            // It tells the size of its window, which has 20 rows.
            let size = [
                b"\xff\xfb\x1f\xff\xfa\x1f\0",
                &[window][..],
                b"\0\x14\xff\xf0",
            ];
            self.scene.send(peer, &size.concat());
            self.clients[number].expected += "\u{fffd}\u{fffd}\u{1f}";
        }
        self.answers_echo(number);
        self.compare();
    }

    fn greets(&mut self, number: usize) {
        let is_person = self.clients[number].is_person;
        if is_person {
            // IAC DO BINARY, and what hides it.
            let expected = &mut self.clients[number].expected;
            *expected += "\u{fffd}\u{fffd}\0\r\0";
            *expected += GREETING;
        }
        match (self.has_password, is_person) {
            (true, true) => self.asks_unseen(number, "* password?"),
            (true, false) => self.quote(number, "* password?"),
            (false, true) => self.quote(number, "* what is your nick?"),
            (false, false) => {}
        }
    }

    /// Where the next one comes from: from an address of its own, or from that of one before.
    fn address(&mut self) -> Option<Peer> {
        let hosts = self.clients.iter().map(|it| it.host);
        let hosts: Vec<Peer> = hosts.rev().take(8).collect();
        let is_used = |host: Peer| {
            let clients = self.clients.iter().filter(|it| it.host == host);
            clients.count() == MOST_OF_AN_ADDRESS
        };
        let host = self.rng.choice(hosts)?;
        Some(host).filter(|&host| self.rng.bool() && !is_used(host))
    }

    fn ip(&self, number: usize) -> IpAddr {
        Scene::addr(self.clients[number].host).ip()
    }

    /// Somebody comes, goes or takes another name.
    fn moves(&mut self, number: usize) {
        self.moves.push((self.clients[number].host, self.step));
    }

    /// Whether all that the lines of one client may bring about is told by name.
    fn is_calm(&self, number: usize) -> bool {
        let host = self.clients[number].host;
        let recent = |&&(it, step): &&(Peer, u64)| {
            it == host && (self.step - step) * STEP_SECONDS <= TOLD_BY_NAME_SECONDS
        };
        let count = self.moves.iter().filter(recent).count();
        count + MOST_LINES <= TOLD_BY_NAME
    }

    /// A client sends a few lines at once, and what comes of them is known.
    fn act(&mut self, number: usize) {
        if !self.is_calm(number) {
            return;
        }
        let mut lines = Vec::new();
        let mut is_paused = false;
        let mut knows_password = self.clients[number].knows_password;
        let mut is_asked = self.clients[number].is_asked;
        for _ in 0..self.rng.usize(1..=MOST_LINES) {
            let mut line = self.next_line(number, knows_password, is_asked);
            while line.starts_with("/nick")
                && lines.iter().any(|it: &String| it.starts_with("/nick"))
            {
                // Which renames are told together depends on what is read at once.
                line = self.next_line(number, knows_password, is_asked);
            }
            is_paused = self.pauses(number, &line);
            knows_password |= line == "sesame";
            is_asked = self.is_asked_after(number, &line, is_asked);
            // Behind a CR, the LF would be heard when the pause is over.
            lines.push(line + if is_paused { "\n" } else { "\r\n" });
            if is_paused {
                // Nothing behind a wrong password is read for a second.
                break;
            }
        }
        let sent = lines.concat();
        let at = self.rng.usize(..sent.len());
        let is_settled = self.rng.bool();
        let hangs_up = !is_paused && self.rng.u8(..20) == 0;
        self.clients[number].heard_in = self.step;
        let peer = self.clients[number].peer;
        let read_before = self.scene.reads(peer).bytes;
        let (begin, rest) = sent.as_bytes().split_at(at);
        self.scene.send(peer, begin);
        if is_settled {
            self.scene.settle();
            self.scene.read_all();
        }
        self.scene.send(peer, rest);
        if hangs_up {
            self.scene.peer(peer).hang_up();
        }
        self.scene.settle();
        self.scene.read_all();
        let mut ended = read_before;
        for line in &lines {
            ended += line.len();
            let refusals = self.clients[number].refusals;
            if self.clients[number].is_open {
                self.hears(number, line.trim_end());
            }
            if self.clients[number].refusals > refusals {
                self.is_refused(number, ended, is_settled);
            }
        }
        if !is_paused && !hangs_up {
            self.answers_echo(number);
        }
        if self.clients[number].is_open && hangs_up {
            self.leaves(number, "left");
        } else if !self.clients[number].is_open {
            self.scene.peer(peer).hang_up();
        }
    }

    /// A line was refused; `ended` is how many bytes the client has sent up to its end. A script whose
    /// text was read before the answer was with the kernel did not wait for it. That depends on how much
    /// each read took, which the model knows from the calls on the stream.
    fn is_refused(&mut self, number: usize, ended: usize, is_settled: bool) {
        let client = &self.clients[number];
        if !client.is_open || client.is_person || !client.knows_password {
            return;
        }
        let reads = self.scene.reads(client.peer);
        // A line is heard at its CR.
        let is_too_soon = reads.at_answer(ended - 1).is_none_or(|read| read > ended);
        if is_too_soon {
            self.seen.insert("did not wait");
            let told = "* you sent more without waiting for that answer, goodbye";
            self.show(number, told);
            self.clients[number].is_open = false;
        } else if reads.bytes > ended && !is_settled {
            self.seen.insert("waited by a short read");
        }
    }

    fn hears(&mut self, number: usize, line: &str) {
        let client = &self.clients[number];
        if !client.knows_password {
            return self.tries(number, line);
        }
        if client.is_asked {
            return self.tries_for_operator(number, line);
        }
        if client.nick.is_none() {
            if client.is_person && self.asks_before(number, line) {
                return;
            }
            return match self.claimed(line) {
                Some(claim) => {
                    if self.void_claims.iter().any(|it| it == line) {
                        self.seen.insert("void token");
                    }
                    self.comes_back(number, claim);
                }
                None => self.asks_for(number, line),
            };
        }
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let command = match command {
            "/h" | "/?" => "/help",
            "/m" | "/t" | "/tell" | "/pm" | "/dm" | "/whisper" => "/msg",
            "/r" => "/reply",
            "/w" | "/names" | "/list" | "/users" => "/who",
            "/q" | "/exit" | "/bye" => "/quit",
            command => command,
        };
        if !client.is_person || !line.starts_with('/') {
            self.says(number, line);
            return self.is_told_what_it_said(number, line);
        }
        let (first, others) = rest.split_once(' ').unwrap_or((rest, ""));
        match command {
            "/me" if self.is_muted(number) => self.tell_muted(number),
            "/me" => self.waves(number),
            "/msg" if self.is_muted(number) => self.tell_muted(number),
            "/msg" => {
                if let Some(other) = self.meant_other(number, first) {
                    self.whispers(number, other);
                }
            }
            "/reply" if self.is_muted(number) => self.tell_muted(number),
            "/reply" => self.replies(number),
            "/ignore" if first.is_empty() => self.lists_ignored(number),
            "/ignore" => self.ignores(number, first),
            "/unignore" => self.unignores(number, first),
            "/nick" if self.is_muted(number) => self.tell_cannot(number),
            "/nick" => self.renames(number, first),
            "//who" => self.says(number, "/who"),
            "/last" => self.remembers(number, rest),
            "/find" => {
                let found = |_: usize, line: &str| line.to_lowercase().contains("e 1");
                self.seen.insert("searched");
                if !self.recount(number, 20, found) {
                    self.show(number, "* no line that is kept has \"E 1\" in it");
                }
            }
            "/claim" => self.asks_for_token(number),
            "/time" => self.show(number, "* it is 1970-01-01 00:00:00 UTC"),
            "/who" => self.lists(number, first),
            "/help" => self.helps(number, first),
            "/quiet" | "/bell" | "/stamp" | "/away" => self.sets(number, command, first),
            "/whois" => self.asks_about(number, first),
            "/op" if first.is_empty() => self.asks_for_password(number),
            "/op" => self.op(number, first),
            "/quit" => self.quits(number, rest),
            _ if !self.clients[number].is_operator => {
                self.show(number, "* only operators can do that");
            }
            "/deop" => self.deops(number),
            "/moderate" => self.moderates(number, first),
            "/mutes" => self.lists_sanctions(number, "muted"),
            "/bans" => self.lists_sanctions(number, "banned"),
            "/announce" if self.is_muted(number) => self.tell_muted(number),
            "/announce" => self.announces(number),
            _ => {
                let is_done = match command {
                    "/forget" => self.forgets_lines(number, first),
                    "/voice" => self.gives_voice(number, first),
                    "/kick" => self.kicks(number, first),
                    "/mute" => self.mutes(number, first, others),
                    "/unmute" => self.unmutes(number, first),
                    "/ban" => self.bans(number, first, others),
                    _ => self.unbans(number, first),
                };
                if is_done {
                    self.has_moderated(number, line);
                }
            }
        }
    }
}
