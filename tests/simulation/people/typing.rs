//! What the clients type: everything that is told apart in the rules, and often enough.

use super::{NAMES, Room};

const HELP: [&str; 6] = [
    "/help",
    "/help msg",
    "/h /who",
    "/? time",
    "/help dm",
    "/help quit",
];

impl Room {
    pub(super) fn name(&mut self) -> &'static str {
        NAMES[self.rng.usize(..NAMES.len())]
    }

    pub(super) fn next_line(
        &mut self,
        number: usize,
        knows_password: bool,
        is_asked: bool,
    ) -> String {
        let name = self.name();
        if !knows_password {
            let word = if self.rng.u8(..3) > 0 {
                "sesame"
            } else {
                "a guess"
            };
            return word.to_owned();
        }
        if is_asked {
            let words = ["mustard", "mustard", "a guess", "a guess", "", "/quit"];
            return self.one_of(words);
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
        if self.clients[number].is_guesser && self.rng.u8(..4) > 0 {
            return "/op guess".to_owned();
        }
        let most = self.rng.usize(1..12);
        let short: String = name.chars().take(most).collect();
        match self.rng.u8(..41) {
            0 => ["help", "Bye", ":q", "who", "EXIT", "quit"][self.rng.usize(..6)].to_owned(),
            1 => match self.rng.u8(..4) {
                0 => self.one_of(["/quiet", "/quiet", "/quiet on", "/quiet off"]),
                1 => self.one_of(["/bell off", "/bell private", "/bell name"]),
                2 => self.one_of(["/stamp", "/stamp +5h45m", "/stamp off"]),
                _ => self.one_of(["/away", "/away tea"]),
            },
            2 => format!("hi {name}, line 1"),
            3..9 => format!("line {}", self.rng.u16(..)),
            9..11 => "/me waves".to_owned(),
            11 => {
                let [at, colon] = [["", "@"], ["", ":"]].map(|it| it[self.rng.usize(..2)]);
                format!("/msg {at}{short}{colon} psst")
            }
            12 => {
                let msg = self.one_of(["/m", "/t", "/tell", "/pm", "/dm", "/whisper"]);
                format!("{msg} {short} psst")
            }
            13 => self.one_of(["/reply psst", "/r psst"]),
            14 if self.rng.u8(..4) == 0 => "/ignore".to_owned(),
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
            22 => self.one_of(["/op", "/op", "/deop"]),
            23 | 24 => "/op mustard".to_owned(),
            25 => "/op guess".to_owned(),
            26 => format!("/kick {short} rude"),
            27 => self.one_of(HELP),
            28 | 32.. => self.sanction_line(name, &short),
            29 => match self.rng.u8(..8) {
                0 => self.one_of(["/moderate", "/moderate", "/moderate on", "/moderate off"]),
                1 | 2 => format!("/voice {short}"),
                3 | 4 => format!("/forget {short}"),
                _ => "/announce tea".to_owned(),
            },
            30 => match self.rng.u8(..4) {
                0 => format!("/whois {}", self.nick(number)),
                1 => format!("/whois {short}"),
                2 => format!("/who {short}"),
                _ => self.one_of(["/who", "/w", "/names", "/list", "/users"]),
            },
            _ => self.one_of(["/quit", "/quit bye", "/exit bye", "/q bye", "/bye bye"]),
        }
    }

    fn one_of<const N: usize>(&mut self, lines: [&str; N]) -> String {
        lines[self.rng.usize(..N)].to_owned()
    }

    /// What operators type about bans and mutes.
    fn sanction_line(&mut self, name: &str, short: &str) -> String {
        let clients = self.clients.len();
        let number = self.rng.usize(clients.saturating_sub(8)..clients);
        let ip = self.ip(number);
        let terms = self.one_of([
            "",
            " 1",
            " 1 rude",
            " 5m too loud",
            " 2h",
            " 3d spam",
            " spam",
        ]);
        let whom = match self.rng.u8(..3) {
            0 => ip.to_string(),
            _ => short.to_owned(),
        };
        match self.rng.u8(..11) {
            10 => self.about_a_sanction("/whois"),
            0..3 => format!("/mute {whom}{terms}"),
            3 => format!("/unmute {whom}"),
            4 => self.about_a_sanction("/unmute"),
            5 => format!("/ban {name}{terms}"),
            6 => format!("/ban {ip}{terms}"),
            7 => format!("/unban {}", if whom == *short { name } else { &whom }),
            8 => self.about_a_sanction("/unban"),
            _ => self.one_of(["/mutes", "/bans"]),
        }
    }
}
