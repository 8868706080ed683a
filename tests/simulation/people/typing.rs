//! What the clients type: everything that is told apart in the rules, and often enough.

use super::{NAMES, Room};

impl Room {
    pub(super) fn name(&mut self) -> &'static str {
        NAMES[self.rng.usize(..NAMES.len())]
    }

    pub(super) fn next_line(&mut self, number: usize, knows_password: bool) -> String {
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
}
