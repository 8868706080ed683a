//! People at a prompt beside plain clients, against a model that knows the room only as its rules say:
//! whatever is typed is seen at once by those who should see it, in the order in which it happens, and by
//! nobody else. Streams are plain or veiled, take output and give input in pieces, and fail in every way
//! that they can recover from; who is behind reads on, so nothing is ever left out.
//!
//! The model hears a client when the engine has, because one thing depends on how much each read took:
//! whether a script that is refused a nick had sent more before it could know.

mod claims;

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use line_chat::{Config, Service};

use crate::journal::Peer;
use crate::reference::{is_alike, is_taken};
use crate::scene::{INTERACTIVE, PLAIN, Scene};
use crate::socket::Faults;
use claims::Claim;

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

/// How many steps nobody does anything, once in a while.
const PAUSE: u64 = 150;

/// A client in the model.
struct Client {
    peer: Peer,
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

struct Room {
    scene: Scene,
    rng: Rng,
    has_password: bool,
    has_login_timeout: bool,
    is_moderated: bool,
    /// How many lines of a client are refused, if that is set.
    most_refusals: Option<usize>,
    clients: Vec<Client>,
    /// What was said, and in which step.
    history: Vec<(u64, String, usize)>,
    /// Names that nobody hears.
    /// Whose lines nobody gets, and by whom that is so.
    muted: Vec<(String, String)>,
    /// Names that were given up, who had it, and in which step.
    departed: Vec<(String, usize, u64)>,
    /// The tokens that are valid, and how many were given out.
    claims: Vec<Claim>,
    tokens: u128,
    step: u64,
    /// What came about.
    seen: BTreeSet<&'static str>,
}

/// How often a stream does something else than expected.
const OFTEN: f64 = 0.1;

/// What has to come about, or nothing is shown.
const EVENTS: [&str; 47] = [
    "announced",
    "came back",
    "claimed in vain",
    "took over",
    "wrong token",
    "voiceless",
    "voiced",
    "lines forgotten",
    "asked about",
    "broken at 24 columns",
    "broken at 40 columns",
    "broken at 80 columns",
    "another left",
    "another may have left",
    "did not wait",
    "forgotten",
    "shortened",
    "history",
    "ignored",
    "kicked",
    "kicked by a muted operator",
    "last guess",
    "last nick",
    "last of one",
    "made room",
    "not itself",
    "notice broken",
    "searched",
    "muted",
    "muted when it came back",
    "renamed",
    "replied",
    "silenced",
    "too late",
    "unmuted",
    "ignored under another name",
    "quit",
    "quiet",
    "quit before a nick",
    "rung for a name",
    "rung for a private word",
    "stamped",
    "told of another operator",
    "no operator any more",
    "told somebody away",
    "said a command",
    "waited by a short read",
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

/// A line of the server's own on a terminal: where it is too long it goes on with its last words on a
/// line below.
fn broken(line: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![line.to_owned()];
    loop {
        let last = lines.pop().expect("one is there");
        let is_short = last.chars().count() <= columns;
        let room: String = last.chars().take(columns + 1).collect();
        // A word that is too long for a line has one for itself.
        let at = room.rfind(' ').filter(|&at| at > 4);
        let behind = || Some(room.len() + last.get(room.len()..)?.find(' ')?);
        let at = at.or_else(behind).filter(|_| !is_short);
        let Some(at) = at else {
            lines.push(last);
            return lines;
        };
        lines.push(last[..at].to_owned());
        lines.push(format!("*   {}", &last[at + 1..]));
    }
}

/// The nick under which a line was said.
fn speaker_of(line: &str) -> String {
    let name = line.trim_start_matches("** ").trim_start_matches("* ");
    name.chars().take_while(|c| !": ".contains(*c)).collect()
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
            muted: Vec::new(),
            departed: Vec::new(),
            claims: Vec::new(),
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
        self.close_late();
        self.compare();
    }

    /// Who has no nick yet and has had its time is closed.
    fn close_late(&mut self) {
        for number in 0..self.clients.len() {
            let client = &self.clients[number];
            let is_late = self.step >= client.came_in + LOGIN_STEPS;
            let has_to_log_in = client.is_open && client.nick.is_none();
            if self.has_login_timeout && has_to_log_in && is_late {
                self.seen.insert("too late");
                let client = &self.clients[number];
                let told = match (client.is_person, client.knows_password) {
                    (false, _) => "* no nick came in time, goodbye",
                    (true, true) => "* you have taken longer than 12 s, goodbye: connect again",
                    (true, false) => {
                        "* you have taken longer than 12 s for the password, goodbye: connect again"
                    }
                };
                self.show(number, told);
                self.clients[number].is_open = false;
                self.scene.peer(self.clients[number].peer).hang_up();
            }
        }
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
        // For a script it matters where a read stops.
        self.scene.faults.short = if is_person { OFTEN } else { 0.5 };
        let peer = self.scene.connect(service, capacity);
        let mut expected = String::new();
        if is_person {
            // IAC DO BINARY, and what hides it.
            expected += "\u{fffd}\u{fffd}\0\r\0";
            expected += GREETING;
        }
        match (self.has_password, is_person) {
            (true, true) => expected += "\u{fffd}\u{fffd}\u{1}* password?\r\n",
            (true, false) => expected += "* password?\r\n",
            (false, true) => expected += "* what is your nick?\r\n",
            (false, false) => {}
        }
        let window = [40, 24][self.rng.usize(..2)];
        let is_narrow = is_person && self.rng.bool();
        if is_narrow {
            // It tells the size of its window, which has 20 rows.
            let size = [
                b"\xff\xfb\x1f\xff\xfa\x1f\0",
                &[window][..],
                b"\0\x14\xff\xf0",
            ];
            self.scene.send(peer, &size.concat());
            expected += "\u{fffd}\u{fffd}\u{1f}";
        }
        self.clients.push(Client {
            peer,
            is_quiet: false,
            bell: Bell::Off,
            stamp: "",
            away: None,
            is_person,
            knows_password: !self.has_password,
            nick: None,
            is_open: true,
            is_operator: false,
            has_voice: false,
            ignores: Vec::new(),
            told_by: None,
            refusals: 0,
            columns: is_person.then_some(if is_narrow {
                usize::from(window) - 1
            } else {
                79
            }),
            came_in: self.step,
            joined_in: 0,
            heard_in: self.step,
            expected,
        });
        self.compare();
    }

    /// A client sends a few lines at once, and what comes of them is known.
    fn act(&mut self, number: usize) {
        let mut lines = Vec::new();
        let mut is_paused = false;
        let mut knows_password = self.clients[number].knows_password;
        for _ in 0..self.rng.usize(1..4) {
            let mut line = self.next_line(number, knows_password);
            while line.starts_with("/nick")
                && lines.iter().any(|it: &String| it.starts_with("/nick"))
            {
                // Which renames are told together depends on what is read at once.
                line = self.next_line(number, knows_password);
            }
            knows_password |= line == "sesame";
            is_paused = line.ends_with("guess") || self.claimed(&line) == Some(None);
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

    fn name(&mut self) -> &'static str {
        NAMES[self.rng.usize(..NAMES.len())]
    }

    fn next_line(&mut self, number: usize, knows_password: bool) -> String {
        let name = self.name();
        if !knows_password {
            let word = if self.rng.u8(..3) > 0 {
                "sesame"
            } else {
                "a guess"
            };
            return word.to_owned();
        }
        if self.clients[number].nick.is_none() {
            let asked = ["who", "HELP", "?", "/who", "/me waves", "quit", " exit"];
            let is_person = self.clients[number].is_person;
            let asks = match self.rng.u8(..5) {
                0 if is_person => Some(asked[self.rng.usize(..asked.len())].to_owned()),
                1 if is_person => self.typed_claim(),
                _ => None,
            };
            return asks.unwrap_or_else(|| name.to_owned());
        }
        let most = self.rng.usize(1..12);
        let short: String = name.chars().take(most).collect();
        match self.rng.u8(..32) {
            0 => ["help", "Bye", ":q", "who", "EXIT", "quit"][self.rng.usize(..6)].to_owned(),
            1 => match self.rng.u8(..4) {
                0 => "/quiet".to_owned(),
                1 => ["/bell off", "/bell private", "/bell name"][self.rng.usize(..3)].to_owned(),
                2 => ["/stamp", "/stamp +5h45m", "/stamp off"][self.rng.usize(..3)].to_owned(),
                _ => ["/away", "/away tea"][self.rng.usize(..2)].to_owned(),
            },
            2 => format!("hi {name}, line 1"),
            3..9 => format!("line {}", self.rng.u16(..)),
            9..11 => "/me waves".to_owned(),
            11 => {
                let [at, colon] = [["", "@"], ["", ":"]].map(|it| it[self.rng.usize(..2)]);
                format!("/msg {at}{short}{colon} psst")
            }
            12 => format!("/tell {short} psst"),
            13 => ["/reply psst", "/r psst"][self.rng.usize(..2)].to_owned(),
            14 | 15 => format!("/ignore {short}"),
            16 => match self.clients[number].ignores.first() {
                Some(ignored) if self.rng.u8(..8) > 0 => format!("/unignore {}", ignored.nick),
                _ => format!("/unignore {short}"),
            },
            17 | 18 => format!("/nick {name}"),
            19 => "//who".to_owned(),
            20 => match self.rng.u8(..4) {
                0 => "/last 2".to_owned(),
                1 => "/last".to_owned(),
                2 => "/find E 1".to_owned(),
                _ => format!("/last 2 {name}"),
            },
            21 if self.rng.bool() => "/time".to_owned(),
            21 => "/claim".to_owned(),
            22 => ["/op mustard", "/deop"][self.rng.usize(..2)].to_owned(),
            23 | 24 => "/op mustard".to_owned(),
            25 => "/op guess".to_owned(),
            26 => format!("/kick {short} rude"),
            27 => format!("/mute {short}"),
            28 => format!("/unmute {short}"),
            29 => match self.rng.u8(..8) {
                0 => "/moderate".to_owned(),
                1 | 2 => format!("/voice {short}"),
                3 | 4 => format!("/forget {short}"),
                _ => "/announce tea".to_owned(),
            },
            30 if self.rng.bool() => format!("/whois {short}"),
            30 => ["/who", "/names"][self.rng.usize(..2)].to_owned(),
            _ => ["/quit bye", "/exit bye"][self.rng.usize(..2)].to_owned(),
        }
    }

    fn hears(&mut self, number: usize, line: &str) {
        let client = &self.clients[number];
        if !client.knows_password {
            return self.tries(number, line);
        }
        if client.nick.is_none() {
            if client.is_person && self.asks_before(number, line) {
                return;
            }
            return match self.claimed(line) {
                Some(claim) => self.comes_back(number, claim),
                None => self.asks_for(number, line),
            };
        }
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let command = match command {
            "/tell" => "/msg",
            "/r" => "/reply",
            "/names" => "/who",
            "/exit" => "/quit",
            command => command,
        };
        if !client.is_person || !line.starts_with('/') {
            self.says(number, line);
            return self.is_told_what_it_said(number, line);
        }
        let first = rest.split(' ').next().unwrap_or_default();
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
            "/who" => self.lists(number),
            "/quiet" | "/bell" | "/stamp" | "/away" => self.sets(number, command, first),
            "/whois" => self.asks_about(number, first),
            "/op" => self.op(number, first),
            "/quit" => self.quits(number),
            _ if !self.clients[number].is_operator => {
                self.show(number, "* only operators can do that");
            }
            "/deop" => self.deops(number),
            "/moderate" => self.moderates(number),
            "/forget" | "/voice" => {
                let is_done = match command {
                    "/forget" => self.forgets_lines(number, first),
                    _ => self.gives_voice(number, first),
                };
                if is_done {
                    self.has_moderated(number, line);
                }
            }
            "/kick" | "/mute" | "/unmute" => {
                let is_done = match command {
                    "/kick" => self.kicks(number, first),
                    "/mute" => self.mutes(number, first),
                    _ => self.unmutes(number, first),
                };
                if is_done {
                    self.has_moderated(number, line);
                }
            }
            _ if self.is_muted(number) => self.tell_muted(number),
            _ => self.announces(number),
        }
    }

    /// What a person asks for who has no nick. Returns whether that was no nick.
    fn asks_before(&mut self, number: usize, line: &str) -> bool {
        match line.trim().to_lowercase().as_str() {
            "quit" | "exit" => {
                self.seen.insert("quit before a nick");
                self.show(number, "* goodbye");
                self.clients[number].is_open = false;
            }
            "who" | "/who" => {
                match self.members()[..] {
                    [] => self.show(number, "* nobody is here"),
                    _ => self.lists(number),
                }
                self.show(number, "* what is your nick?");
            }
            "help" | "?" => {
                let how = "* type a one-word name and press Enter; or type who, or quit";
                self.show(number, how);
            }
            "/me waves" => {
                let later = "* commands come later: choose a nick first, or /quit";
                self.show(number, later);
            }
            _ => return false,
        }
        true
    }

    /// Who says nothing but the name of a command may have meant that.
    fn is_told_what_it_said(&mut self, number: usize, line: &str) {
        let is_heard = !self.is_muted(number) && !self.is_voiceless(number);
        if !self.clients[number].is_person || !is_heard {
            return;
        }
        let meant = match line.trim().to_lowercase().as_str() {
            "help" | "?" => "help lists the commands",
            "who" => "who lists who is here",
            "quit" | "exit" | "bye" | ":q" => "quit leaves",
            _ => return,
        };
        self.seen.insert("said a command");
        self.show(number, &format!("* everybody saw that; /{meant}"));
    }

    // What is shown to whom.

    fn show(&mut self, number: usize, line: &str) {
        let lines = match self.clients[number].columns {
            Some(columns) => broken(line, columns),
            None => vec![line.to_owned()],
        };
        if lines.len() > 1 {
            self.seen.insert(match self.clients[number].columns {
                Some(39) => "broken at 40 columns",
                Some(23) => "broken at 24 columns",
                _ => "broken at 80 columns",
            });
        }
        for line in lines {
            self.clients[number].expected += &line.replace(NO_BREAK, " ");
            self.clients[number].expected += "\r\n";
        }
    }

    /// Shows what somebody has written, which is not broken.
    fn quote(&mut self, number: usize, line: &str) {
        self.clients[number].expected += &format!("{line}\r\n");
    }

    fn nick(&self, number: usize) -> String {
        self.clients[number].nick.clone().expect("a member")
    }

    fn members(&self) -> Vec<usize> {
        let clients = 0..self.clients.len();
        clients
            .filter(|&it| self.clients[it].nick.is_some())
            .collect()
    }

    fn others(&self, number: usize) -> Vec<usize> {
        let mut members = self.members();
        members.retain(|&other| other != number);
        members
    }

    fn hides(&self, listener: usize, speaker: usize) -> bool {
        let name = self.nick(speaker);
        let is_person = self.clients[speaker].is_person;
        let mut ignored = self.clients[listener].ignores.iter();
        ignored.any(|it| is_alike(&it.nick, &name) || (is_person && it.client == speaker))
    }

    /// Somebody sees a line that others cause.
    fn hear(&mut self, number: usize, kind: Kind, line: &str) {
        let client = &self.clients[number];
        if kind == Kind::Presence && client.is_quiet {
            self.seen.insert("quiet");
            return;
        }
        let nick = client.nick.clone().unwrap_or_default();
        let mut words = line.split(|c: char| !c.is_alphanumeric());
        let rings = match client.bell {
            Bell::Off => false,
            Bell::Private => kind == Kind::Private,
            Bell::Name if kind == Kind::Said => words.any(|it| it.eq_ignore_ascii_case(&nick)),
            Bell::Name => kind == Kind::Private,
        };
        if rings {
            self.seen.insert(match kind {
                Kind::Private => "rung for a private word",
                _ => "rung for a name",
            });
        }
        if !client.stamp.is_empty() {
            self.seen.insert("stamped");
        }
        let bell = if rings { "\u{7}" } else { "" };
        let before = bell.to_owned() + self.clients[number].stamp;
        let columns = self.clients[number].columns.unwrap_or(usize::MAX);
        let lines = match kind {
            Kind::Presence | Kind::Notice => broken(line, columns - before.len()),
            Kind::Said | Kind::Announced | Kind::Private => vec![line.to_owned()],
        };
        if lines.len() > 1 {
            self.seen.insert("notice broken");
        }
        for line in lines {
            self.clients[number].expected += &format!("{before}{line}\r\n");
        }
    }

    fn tell_people(&mut self, number: usize, kind: Kind, line: &str) {
        for other in self.others(number) {
            if self.clients[other].is_person {
                self.hear(other, kind, line);
            }
        }
    }

    /// `line` to people, or to those who ignore the speaker `instead`, if anything.
    fn tell_friends(&mut self, number: usize, line: &str, instead: Option<&str>) {
        for other in self.others(number) {
            let is_hidden = self.hides(other, number);
            match instead {
                _ if !self.clients[other].is_person => {}
                Some(instead) if is_hidden => self.hear(other, Kind::Presence, instead),
                None if is_hidden => {}
                _ => self.hear(other, Kind::Presence, line),
            }
        }
    }

    fn owner(&self, name: &str) -> Option<usize> {
        let mut members = self.members().into_iter();
        members.find(|&it| is_alike(&self.nick(it), name))
    }

    fn names(&self, members: &[usize]) -> String {
        let mut nicks: Vec<String> = members.iter().map(|&it| self.nick(it)).collect();
        nicks.sort_by_key(|nick| key(nick));
        nicks.join(", ")
    }

    // Coming.

    fn tries(&mut self, number: usize, word: &str) {
        let is_person = self.clients[number].is_person;
        if word == "sesame" {
            self.clients[number].knows_password = true;
            self.clients[number].refusals = 0;
            if is_person {
                let asked = "\u{fffd}\u{fffd}\u{1}\r\n* what is your nick?\r\n";
                self.clients[number].expected += asked;
            }
            return;
        }
        if is_person {
            self.clients[number].expected += "\r\n";
        }
        self.clients[number].refusals += 1;
        if self.clients[number].refusals < self.most_refusals(number) {
            return self.show(number, "* wrong password, try again");
        }
        let last = "* wrong password, and that was the last try, goodbye";
        self.seen.insert("last guess");
        self.show(number, last);
        self.clients[number].is_open = false;
    }

    fn asks_for(&mut self, number: usize, name: &str) {
        if let Some(owner) = self.owner(name) {
            let (taken, advice) = (is_taken(name, &self.nick(owner)), self.advice(name));
            return self.refuse(number, &taken, &advice);
        }
        let others = self.others_here();
        let mut muted = self.muted.iter_mut();
        if let Some((muted, _)) = muted.find(|(muted, _)| is_alike(muted, name)) {
            name.clone_into(muted);
        }
        self.clients[number].nick = Some(name.to_owned());
        self.clients[number].joined_in = self.step;
        self.tell_people(number, Kind::Presence, &format!("* {name} joined"));
        if self.clients[number].is_person {
            self.recount(number, SHOWN, |_, _| true);
            let welcome = format!("* welcome, {name}. /help lists the commands. {others}");
            self.is_welcome(number, &welcome);
        }
    }

    /// A line is not what lets a client in, with what it could type instead if it is a person.
    fn refuse(&mut self, number: usize, why: &str, advice: &str) {
        self.clients[number].refusals += 1;
        let is_last = self.clients[number].refusals == self.most_refusals(number);
        let what = match is_last {
            true => ", and that was the last try, goodbye",
            false if self.clients[number].is_person => advice,
            false => ", choose another",
        };
        self.show(number, &format!("* {why}{what}"));
        self.clients[number].is_open = !is_last;
        if is_last {
            self.seen.insert("last nick");
        }
    }

    /// Who is here, for somebody who is about to be.
    fn others_here(&self) -> String {
        let others = self.members();
        let names = self.names(&others);
        match others.len() {
            0 => "nobody else is here yet".to_owned(),
            1 => format!("1 other here: {names}"),
            n => format!("{n} others here: {names}"),
        }
    }

    fn is_welcome(&mut self, number: usize, welcome: &str) {
        self.show(number, welcome);
        if self.is_moderated {
            let line = "* the room is moderated: you can listen, and /msg an operator";
            self.show(number, line);
        }
        if self.is_muted(number) {
            self.seen.insert("muted when it came back");
            self.show(number, "* you are muted: nobody sees what you say");
        }
    }

    /// How many lines of a client may be refused.
    fn most_refusals(&self, number: usize) -> usize {
        let usual = if self.clients[number].is_person {
            10
        } else {
            3
        };
        self.most_refusals.unwrap_or(usual)
    }

    /// Nobody here has a name that ends with a digit.
    fn advice(&self, name: &str) -> String {
        format!("; {name}2 is free")
    }

    /// Shows the last of those lines that a client may see and that are wanted. Returns whether there was
    /// any.
    fn recount(
        &mut self,
        number: usize,
        most: usize,
        is_wanted: impl Fn(usize, &str) -> bool,
    ) -> bool {
        let (ignores, clients) = (&self.clients[number].ignores, &self.clients);
        let is_hidden = |line: &str, speaker: usize| {
            ignores.iter().any(|it| {
                is_alike(&it.nick, &speaker_of(line))
                    || (clients[speaker].is_person && it.client == speaker)
            })
        };
        let kept = self.history.iter().rev();
        let mut hidden = 0;
        let mut shown = Vec::new();
        for (said_in, line, speaker) in kept {
            match is_hidden(line, *speaker) {
                true => hidden += 1,
                false if is_wanted(*speaker, line) && shown.len() < most => {
                    let age = (self.step - said_in) * STEP_SECONDS;
                    shown.push(match age {
                        0..60 => format!("* {age} s ago, {line}"),
                        _ => format!("* {} min ago, {line}", age / 60),
                    });
                }
                false => {}
            }
        }
        if hidden > 0 && shown.len() == most {
            self.seen.insert("made room");
        }
        for line in shown.iter().rev() {
            self.seen.insert("history");
            self.quote(number, line);
        }
        !shown.is_empty()
    }

    fn keep(&mut self, number: usize, line: String) {
        self.history.push((self.step, line, number));
        let over = self.history.len().saturating_sub(KEPT);
        self.history.drain(..over);
    }

    // Going.

    fn leaves(&mut self, number: usize, how: &str) {
        self.clients[number].is_open = false;
        if self.clients[number].nick.is_some() {
            let nick = self.nick(number);
            let kind = match how.starts_with("was kicked") {
                true => Kind::Notice,
                false => Kind::Presence,
            };
            self.tell_people(number, kind, &format!("* {nick} {how}"));
            self.loses_claim(number, how == "left");
            self.gives_up(number, &nick);
            self.clients[number].nick = None;
        }
    }

    fn quits(&mut self, number: usize) {
        self.seen.insert("quit");
        let nick = self.nick(number);
        let left = format!("* {nick} left");
        match self.is_muted(number) || self.is_voiceless(number) {
            true => self.tell_people(number, Kind::Presence, &left),
            false => self.tell_friends(number, &format!("{left}: bye"), Some(&left)),
        }
        self.show(number, "* goodbye");
        self.clients[number].is_open = false;
        self.loses_claim(number, false);
        self.gives_up(number, &nick);
        self.clients[number].nick = None;
    }

    // Talking.

    fn is_muted(&self, number: usize) -> bool {
        let nick = self.nick(number);
        self.is_muted_name(&nick)
    }

    fn tell_cannot(&mut self, number: usize) {
        self.show(number, "* you are muted: you cannot do that");
    }

    fn tell_muted(&mut self, number: usize) {
        self.seen.insert("silenced");
        self.show(number, "* you are muted, that was not sent");
    }

    fn says(&mut self, number: usize, text: &str) {
        if self.is_muted(number) {
            return self.tell_muted(number);
        }
        if self.is_voiceless(number) {
            return self.tell_voiceless(number);
        }
        let line = format!("{}: {text}", self.nick(number));
        for other in self.others(number) {
            if !self.hides(other, number) {
                self.hear(other, Kind::Said, &line);
            }
        }
        self.keep(number, line);
    }

    fn waves(&mut self, number: usize) {
        if self.is_voiceless(number) {
            return self.tell_voiceless(number);
        }
        let nick = self.nick(number);
        let line = format!("** {nick} waves");
        for other in self.others(number) {
            match self.clients[other].is_person {
                true if self.hides(other, number) => {}
                true => self.hear(other, Kind::Said, &line),
                false => self.hear(other, Kind::Said, &format!("{nick}: /me waves")),
            }
        }
        self.keep(number, line);
    }

    /// Who may be meant by a name: whoever has it, or else all whose names begin so.
    fn candidates(&mut self, number: usize, name: &str) -> Vec<usize> {
        if let Some(owner) = self.owner(name) {
            return vec![owner];
        }
        let mut members = self.members();
        members.retain(|&it| key(&self.nick(it)).starts_with(&key(name)));
        if members.len() > 1 && members.contains(&number) {
            self.seen.insert("not itself");
            members.retain(|&it| it != number);
        }
        members.sort_by_key(|&it| key(&self.nick(it)));
        members
    }

    fn meant(&mut self, number: usize, name: &str) -> Option<usize> {
        let bare = name.trim_start_matches('@').trim_end_matches([':', ',']);
        let name = match self.candidates(number, name).is_empty() {
            true if bare.is_empty() => name,
            true => bare,
            false => name,
        };
        let line = match self.candidates(number, name)[..] {
            [] => format!("* nobody here is called \"{name}\"; /who lists who is here"),
            [it] => match self.doubt(name, it) {
                None => {
                    if self.owner(name).is_none() {
                        self.seen.insert("shortened");
                    }
                    return Some(it);
                }
                Some("another left") => {
                    let nick = self.nick(it);
                    self.seen.insert("another left");
                    format!("* {name} has left; if you mean {nick}, type more of it")
                }
                Some(doubt) => {
                    let nick = self.nick(it);
                    self.seen.insert(doubt);
                    format!(
                        "* \"{name}\" may be somebody who has left; if you mean {nick}, type it all"
                    )
                }
            },
            [ref others @ .., last] => {
                let (others, last) = (self.names(others), self.nick(last));
                format!("* \"{name}\" may be {others} or {last}: type more of the name")
            }
        };
        self.show(number, &line);
        None
    }

    /// Why a name that is not the whole one of a member may mean somebody else, who has given it up or
    /// one that begins so.
    fn doubt(&mut self, name: &str, owner: usize) -> Option<&'static str> {
        if key(name) == key(&self.nick(owner)) {
            return None;
        }
        let (now, before) = (self.step, self.departed.len());
        let is_remembered = |since: u64| (now - since) * STEP_SECONDS < REMEMBERED_SECONDS;
        self.departed.retain(|&(_, _, since)| is_remembered(since));
        if self.departed.len() < before {
            self.seen.insert("forgotten");
        }
        let others = self.departed.iter().filter(|it| it.1 != owner);
        let had = |is_such: &dyn Fn(&str) -> bool| others.clone().any(|(it, _, _)| is_such(it));
        match () {
            () if had(&|it| is_alike(it, name)) => Some("another left"),
            () if had(&|it| key(it).starts_with(&key(name))) => Some("another may have left"),
            () => None,
        }
    }

    fn gives_up(&mut self, number: usize, name: &str) {
        self.departed.push((name.to_owned(), number, self.step));
    }

    fn meant_other(&mut self, number: usize, name: &str) -> Option<usize> {
        let owner = self.meant(number, name)?;
        if owner == number {
            self.show(number, "* that is you: name somebody else");
            return None;
        }
        Some(owner)
    }

    fn whispers(&mut self, number: usize, other: usize) {
        let (nick, other_nick) = (self.nick(number), self.nick(other));
        if !self.clients[other].is_person {
            let refused = "is a script: it cannot be told anything in private";
            return self.show(number, &format!("* {other_nick} {refused}"));
        }
        self.quote(number, &format!("* you tell {other_nick}: psst"));
        if !self.hides(other, number) {
            self.hear(other, Kind::Private, &format!("* {nick} tells you: psst"));
            match self.clients[other].away {
                None => {}
                Some("") => self.show(number, &format!("* {other_nick} is away")),
                Some(why) => {
                    self.seen.insert("told somebody away");
                    self.show(number, &format!("* {other_nick} is away: {why}"));
                }
            }
            self.clients[other].told_by = Some((number, nick));
        }
    }

    fn replies(&mut self, number: usize) {
        match self.clients[number].told_by.clone() {
            None => {
                let nobody = "* nobody has told you anything yet: write /msg NAME TEXT";
                self.show(number, nobody);
            }
            Some((other, nick)) if self.clients[other].nick.is_none() => {
                let left = format!("* {nick}, who told you something last, has left");
                self.show(number, &left);
            }
            Some((other, _)) => {
                self.seen.insert("replied");
                self.whispers(number, other);
            }
        }
    }

    fn ignores(&mut self, number: usize, name: &str) {
        let Some(client) = self.meant_other(number, name) else {
            return;
        };
        let nick = self.nick(client);
        if !self.hides(number, client) {
            self.seen.insert("ignored");
            let nick = nick.clone();
            let ignored = Ignored { nick, client };
            self.clients[number].ignores.push(ignored);
        }
        self.show(
            number,
            &format!("* ignoring {nick}; /unignore {nick} undoes it"),
        );
    }

    fn unignores(&mut self, number: usize, name: &str) {
        let whom = match self.candidates(number, name)[..] {
            [it] => Some(it).filter(|&it| self.doubt(name, it).is_none()),
            _ => None,
        };
        let nick = whom.map(|it| self.nick(it));
        let person = whom.filter(|&it| self.clients[it].is_person);
        let ignored = &mut self.clients[number].ignores;
        let is_same = |it: &Ignored| key(&it.nick) == key(name);
        let is_like = |it: &Ignored| is_alike(&it.nick, name);
        let is_whom = |it: &Ignored| {
            let mut nicks = nick.iter();
            nicks.any(|nick| is_alike(&it.nick, nick)) || Some(it.client) == person
        };
        let place = ignored.iter().position(is_same);
        let place = place.or_else(|| ignored.iter().position(is_like));
        let place = place.or_else(|| ignored.iter().position(is_whom));
        match place {
            Some(place) => {
                let Ignored { nick, client } = ignored.remove(place);
                let line = format!("* you no longer ignore {nick}");
                let now = self.clients[client].nick.clone();
                let now = now.filter(|now| self.clients[client].is_person && *now != nick);
                let line = match now {
                    Some(now) => {
                        self.seen.insert("ignored under another name");
                        format!("{line} (who is {now} now)")
                    }
                    None => line,
                };
                self.show(number, &line);
            }
            None => {
                let nobody = format!("* you do not ignore \"{name}\"; /ignore lists whom you do");
                self.show(number, &nobody);
            }
        }
    }

    fn renames(&mut self, number: usize, name: &str) {
        if let Some(owner) = self.owner(name).filter(|&owner| owner != number) {
            let taken = is_taken(name, &self.nick(owner));
            let advice = self.advice(name);
            return self.show(number, &format!("* {taken}{advice}"));
        }
        let old = self.nick(number);
        if old != name {
            if key(&old) != key(name) {
                self.gives_up(number, &old);
            }
            // Those who ignored the name before see nothing of the new one, if it is a person.
            self.tell_friends_as(number, &old, name);
        }
        self.clients[number].nick = Some(name.to_owned());
        self.show(number, &format!("* you are now {name}"));
    }

    fn tell_friends_as(&mut self, number: usize, old: &str, name: &str) {
        self.seen.insert("renamed");
        self.clients[number].nick = Some(name.to_owned());
        self.tell_friends(number, &format!("* {old} changes nick to {name}"), None);
    }

    /// Shows the last lines: two, or all, or two of those that somebody of this name has said.
    fn remembers(&mut self, number: usize, asked: &str) {
        let name = asked.strip_prefix("2 ").unwrap_or_default();
        if name.is_empty() {
            let most = if asked.is_empty() { KEPT } else { 2 };
            if !self.recount(number, most, |_, _| true) {
                self.show(number, "* there is nothing to show");
            }
            return;
        }
        let whom = match self.candidates(number, name)[..] {
            [it] => Some(it).filter(|&it| self.doubt(name, it).is_none()),
            _ => None,
        };
        let nick = whom.map(|it| self.nick(it));
        let person = whom.filter(|&it| self.clients[it].is_person);
        let is_meant = |speaker: usize, line: &str| {
            let said_as = speaker_of(line);
            is_alike(&said_as, name)
                || nick.as_ref().is_some_and(|nick| is_alike(&said_as, nick))
                || Some(speaker) == person
        };
        match self.recount(number, 2, is_meant) {
            true => {
                self.seen.insert("last of one");
            }
            false => self.show(
                number,
                &format!("* nothing is kept that \"{name}\" has said"),
            ),
        }
    }

    fn lists(&mut self, number: usize) {
        let mut members = self.members();
        members.sort_by_key(|&it| key(&self.nick(it)));
        let marked = members.iter().map(|&it| {
            let client = &self.clients[it];
            let mark = match (client.is_operator, client.away) {
                (false, None) => "",
                (true, None) => " (operator)",
                (false, Some(_)) => " (away)",
                (true, Some(_)) => " (operator, away)",
            };
            self.nick(it) + mark
        });
        let names: Vec<String> = marked.collect();
        let line = format!("* {} here: {}", names.len(), names.join(", "));
        self.show(number, &line);
    }

    /// What a person sets for itself.
    fn sets(&mut self, number: usize, command: &str, value: &str) {
        let is_muted = self.is_muted(number);
        let client = &mut self.clients[number];
        let line = match (command, value) {
            ("/quiet", _) => {
                client.is_quiet = !client.is_quiet;
                match client.is_quiet {
                    true => "* joins, leaves and renames are hidden; /quiet shows them again",
                    false => "* joins, leaves and renames are shown again",
                }
            }
            ("/bell", "off") => {
                client.bell = Bell::Off;
                "* the bell is off"
            }
            ("/bell", "private") => {
                client.bell = Bell::Private;
                "* the bell rings when somebody tells you something"
            }
            ("/bell", _) => {
                client.bell = Bell::Name;
                "* the bell rings when somebody tells you something or says your name"
            }
            ("/stamp", "off") => {
                client.stamp = "";
                "* lines begin without the time now"
            }
            ("/stamp", "") => {
                client.stamp = "00:00 ";
                "* lines begin with the time now, which is 00:00 for you"
            }
            ("/stamp", _) => {
                client.stamp = "05:45 ";
                "* lines begin with the time now, which is 05:45 for you"
            }
            _ if is_muted => return self.tell_cannot(number),
            (_, "") if client.away.is_some() => {
                client.away = None;
                "* you are back"
            }
            (_, "") => {
                client.away = Some("");
                "* you are away; /away again when you are back"
            }
            _ => {
                client.away = Some("tea");
                "* you are away: tea; /away again when you are back"
            }
        };
        self.show(number, line);
    }

    fn asks_about(&mut self, number: usize, name: &str) {
        let Some(other) = self.meant(number, name) else {
            return;
        };
        self.seen.insert("asked about");
        let (nick, client) = (self.nick(other), &self.clients[other]);
        let since = |step: u64| match (self.step - step) * STEP_SECONDS {
            seconds @ 0..60 => format!("{seconds} s"),
            seconds => format!("{} min", seconds / 60),
        };
        let (here, silent) = (since(client.joined_in), since(client.heard_in));
        let link = match self.scene.is_veiled {
            true => "over TLS",
            false => "without TLS",
        };
        let operator = if client.is_operator {
            ", an operator"
        } else {
            ""
        };
        let line = match client.is_person {
            true => {
                let away = match client.away {
                    None => String::new(),
                    Some("") => ", away".to_owned(),
                    Some(why) => format!(", away: {why}"),
                };
                format!(
                    "* {nick} has been here for {here}, silent for {silent}, {link}{operator}{away}"
                )
            }
            false => format!("* {nick} is a script, silent for {silent}, {link}"),
        };
        self.show(number, &line);
        if self.clients[number].is_operator {
            let ip = Scene::addr(self.clients[other].peer).ip();
            self.show(number, &format!("* {nick} comes from {ip}"));
            if let Some(by) = self.mute_of(&nick) {
                self.show(number, &format!("* {nick} is muted, by {by}"));
            }
        }
    }

    // Operators.

    fn tell_operators(&mut self, number: usize, line: &str, tell: impl Fn(&mut Self, usize, &str)) {
        for other in self.others(number) {
            if self.clients[other].is_operator {
                self.seen.insert("told of another operator");
                tell(self, other, line);
            }
        }
    }

    /// The other operators are told what this one has typed, but not the words of one that is muted.
    fn has_moderated(&mut self, number: usize, line: &str) {
        let words = if self.is_muted(number) { 2 } else { usize::MAX };
        let told: Vec<&str> = line.split(' ').take(words).collect();
        let line = format!("* operator {}: {}", self.nick(number), told.join(" "));
        self.tell_operators(number, &line, Self::quote);
    }

    fn announces(&mut self, number: usize) {
        self.seen.insert("announced");
        let line = format!("* {} announces: tea", self.nick(number));
        let others = self.others(number);
        for &other in &others {
            self.hear(other, Kind::Announced, &line);
        }
        self.keep(number, line);
        let told = match others.len() {
            0 => "* announced, but nobody else is here".to_owned(),
            1 => "* announced to 1 other".to_owned(),
            n => format!("* announced to {n} others"),
        };
        self.show(number, &told);
    }

    /// Whether the room is moderated and this one has no voice.
    fn is_voiceless(&self, number: usize) -> bool {
        let client = &self.clients[number];
        self.is_moderated && !client.is_operator && !client.has_voice
    }

    fn tell_voiceless(&mut self, number: usize) {
        self.seen.insert("voiceless");
        let line = match self.clients[number].is_person {
            true => "* the room is moderated, that was not sent; you can /msg an operator",
            false => "* the room is moderated, that was not sent",
        };
        self.show(number, line);
    }

    fn moderates(&mut self, number: usize) {
        self.is_moderated = !self.is_moderated;
        let nick = self.nick(number);
        let (own, others) = match self.is_moderated {
            true => (
                "* only operators and those they /voice can talk; /moderate again ends it",
                format!("* {nick} moderates the room: only those with a voice can talk"),
            ),
            false => (
                "* everybody can talk again",
                format!("* {nick} lets everybody talk again"),
            ),
        };
        self.show(number, own);
        self.tell_people(number, Kind::Notice, &others);
    }

    fn gives_voice(&mut self, number: usize, name: &str) -> bool {
        let Some(other) = self.meant_other(number, name) else {
            return false;
        };
        self.seen.insert("voiced");
        let nick = self.nick(other);
        let client = &mut self.clients[other];
        client.has_voice = !client.has_voice;
        let is_heard = match client.has_voice {
            true => "can talk while the room is moderated",
            false => "can no longer talk while the room is moderated",
        };
        self.show(number, &format!("* {nick} {is_heard}"));
        if self.clients[other].is_person {
            self.show(other, &format!("* you {is_heard}"));
        }
        true
    }

    fn forgets_lines(&mut self, number: usize, name: &str) -> bool {
        let whom = match self.candidates(number, name)[..] {
            [it] => Some(it).filter(|&it| self.doubt(name, it).is_none()),
            _ => None,
        };
        let nick = whom.map(|it| self.nick(it));
        let person = whom.filter(|&it| self.clients[it].is_person);
        let before = self.history.len();
        self.history.retain(|(_, line, speaker)| {
            let said_as = speaker_of(line);
            !(is_alike(&said_as, name)
                || nick.as_ref().is_some_and(|nick| is_alike(&said_as, nick))
                || Some(*speaker) == person)
        });
        let line = match before - self.history.len() {
            0 => format!("* nothing is kept that \"{name}\" has said"),
            1 => format!("* 1 line by {name} is forgotten"),
            n => format!("* {n} lines by {name} are forgotten"),
        };
        self.show(number, &line);
        let is_done = before > self.history.len();
        if is_done {
            self.seen.insert("lines forgotten");
        }
        is_done
    }

    fn deops(&mut self, number: usize) {
        self.seen.insert("no operator any more");
        self.clients[number].is_operator = false;
        self.show(number, "* you are no longer an operator");
        let nick = self.nick(number);
        self.tell_operators(
            number,
            &format!("* {nick} is no longer an operator"),
            Self::show,
        );
    }

    fn op(&mut self, number: usize, word: &str) {
        if word == "mustard" {
            let was = std::mem::replace(&mut self.clients[number].is_operator, true);
            let line = "* you are an operator; /help lists what you can do";
            self.show(number, line);
            if !was {
                let nick = self.nick(number);
                self.tell_operators(number, &format!("* {nick} is an operator now"), Self::show);
            }
            return;
        }
        self.show(number, "* wrong password, try again");
    }

    fn kicks(&mut self, number: usize, name: &str) -> bool {
        let Some(other) = self.meant_other(number, name) else {
            return false;
        };
        let nick = self.nick(number);
        // Nobody gets what a muted operator says, and a reason is something said.
        let is_muted = self.is_muted(number);
        let why = if is_muted { "" } else { ": rude" };
        self.show(other, &format!("* {nick} has kicked you{why}"));
        self.seen.insert("kicked");
        self.forgets(other);
        let kicked = self.nick(other);
        self.leaves(other, &format!("was kicked by {nick}{why}"));
        if is_muted {
            self.seen.insert("kicked by a muted operator");
            let left_out = format!("* you are muted: {kicked} was kicked without your reason");
            self.show(number, &left_out);
        }
        let ip = Scene::addr(self.clients[other].peer).ip();
        let address = format!("* {kicked} came from {ip}; /ban {ip} keeps it out");
        self.show(number, &address);
        true
    }

    /// Nobody is shown again what this one said, or whoever had a name that is alike.
    fn forgets(&mut self, number: usize) {
        let name = self.nick(number);
        let is_person = self.clients[number].is_person;
        self.history.retain(|(_, line, speaker)| {
            let is_name = is_alike(&speaker_of(line), &name);
            !(is_name || is_person && *speaker == number)
        });
    }

    fn mutes(&mut self, number: usize, name: &str) -> bool {
        let Some(other) = self.meant_other(number, name) else {
            return false;
        };
        let nick = self.nick(other);
        let by = self.nick(number);
        self.muted.retain(|(muted, _)| key(muted) != key(&nick));
        self.muted.push((nick.clone(), by));
        self.seen.insert("muted");
        self.show(number, &format!("* {nick} is muted"));
        if self.clients[other].is_person {
            self.show(other, "* you are muted: nobody sees what you say");
        }
        let ip = Scene::addr(self.clients[other].peer).ip();
        let address = format!("* {nick} comes from {ip}; /mute {ip} mutes it");
        self.show(number, &address);
        true
    }

    fn unmutes(&mut self, number: usize, name: &str) -> bool {
        if self.is_muted_name(&self.nick(number)) {
            self.show(number, "* you are muted: another operator has to do that");
            return false;
        }
        if self.is_muted_name(name) {
            self.lifts(number, name);
            return true;
        }
        let Some(owner) = self.meant(number, name) else {
            return false;
        };
        let nick = self.nick(owner);
        let is_muted = self.is_muted_name(&nick);
        match is_muted {
            true => self.lifts(number, &nick),
            false => self.show(number, &format!("* {nick} is not muted")),
        }
        is_muted
    }

    /// By whom a name is muted.
    fn mute_of(&self, name: &str) -> Option<String> {
        let mut muted = self.muted.iter();
        let (_, by) = muted.find(|(muted, _)| is_alike(muted, name))?;
        Some(by.clone())
    }

    fn is_muted_name(&self, name: &str) -> bool {
        self.mute_of(name).is_some()
    }

    fn lifts(&mut self, number: usize, name: &str) {
        self.seen.insert("unmuted");
        self.muted.retain(|(muted, _)| !is_alike(muted, name));
        self.show(number, &format!("* {name} is no longer muted"));
        if let Some(owner) = self.owner(name)
            && self.clients[owner].is_person
        {
            self.show(owner, "* you are no longer muted");
        }
    }
}
