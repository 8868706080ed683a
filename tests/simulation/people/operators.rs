//! The model of operators: how somebody becomes one, and what they do beside bans and mutes.

use super::{Kind, Room, asking::speaker_of};
use crate::reference::is_alike;

impl Room {
    pub(super) fn tell_operators(
        &mut self,
        number: usize,
        line: &str,
        tell: impl Fn(&mut Self, usize, &str),
    ) {
        for other in self.others(number) {
            if self.clients[other].is_operator {
                self.seen.insert("told of another operator");
                tell(self, other, line);
            }
        }
    }

    /// The other operators are told what this one has typed, but not the reason of one that is muted.
    pub(super) fn has_moderated(&mut self, number: usize, line: &str) {
        let words = match self.is_muted(number) {
            true => words_before_reason(line),
            false => usize::MAX,
        };
        let told: Vec<&str> = line.split(' ').take(words).collect();
        let line = format!("* operator {}: {}", self.nick(number), told.join(" "));
        self.tell_operators(number, &line, Self::quote);
    }

    pub(super) fn announces(&mut self, number: usize) {
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
    pub(super) fn is_voiceless(&self, number: usize) -> bool {
        let client = &self.clients[number];
        self.is_moderated && !client.is_operator && !client.has_voice
    }

    pub(super) fn tell_voiceless(&mut self, number: usize) {
        self.seen.insert("voiceless");
        let line = match self.clients[number].is_person {
            true => "* the room is moderated, that was not sent; you can /msg an operator",
            false => "* the room is moderated, that was not sent",
        };
        self.show(number, line);
    }

    pub(super) fn moderates(&mut self, number: usize, wish: &str) {
        let before = self.is_moderated;
        self.is_moderated = match wish {
            "on" => true,
            "off" => false,
            _ => !before,
        };
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
        if self.is_moderated == before {
            self.seen.insert("moderated as before");
            return;
        }
        self.tell_people(number, Kind::Notice, &others);
    }

    pub(super) fn gives_voice(&mut self, number: usize, name: &str) -> bool {
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

    pub(super) fn forgets_lines(&mut self, number: usize, name: &str) -> bool {
        let whom = match self.candidates(number, name)[..] {
            [it] => Some(it).filter(|&it| self.doubt(name, it).is_none()),
            _ => None,
        };
        let nick = whom.map(|it| self.nick(it));
        let person = whom.filter(|&it| self.clients[it].is_person);
        let before = self.history.len();
        self.history.retain(|it| {
            let said_as = speaker_of(&it.line);
            !(is_alike(&said_as, name)
                || nick.as_ref().is_some_and(|nick| is_alike(&said_as, nick))
                || Some(it.speaker) == person)
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

    pub(super) fn deops(&mut self, number: usize) {
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

    pub(super) fn kicks(&mut self, number: usize, name: &str) -> bool {
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
            self.show(number, "* you are muted: your reason was left out");
        }
        self.tell_where_from(number, other, &kicked);
        true
    }

    /// An operator is told where somebody came from whom it has closed.
    pub(super) fn tell_where_from(&mut self, number: usize, other: usize, nick: &str) {
        let ip = self.ip(other);
        let line = if ip == self.ip(number) {
            self.seen.insert("from the same address");
            format!("* {nick} comes from the same address as you")
        } else {
            format!("* {nick} came from {ip}; /ban {ip} keeps it out")
        };
        self.show(number, &line);
    }

    /// Nobody is shown again what this one said, or whoever had a name that is alike.
    pub(super) fn forgets(&mut self, number: usize) {
        let name = self.nick(number);
        let is_person = self.clients[number].is_person;
        self.history.retain(|it| {
            let is_name = is_alike(&speaker_of(&it.line), &name);
            !(is_name || is_person && it.speaker == number)
        });
    }
}

/// How many words of a command stand before the reason that an operator gives: the command, whom it concerns, and
/// for how long.
fn words_before_reason(line: &str) -> usize {
    let words: Vec<&str> = line.split(' ').collect();
    let has_reason = ["/kick", "/ban", "/mute"].contains(&words[0]);
    let whom = match words.get(1) {
        Some(&"uid") if words[0] != "/kick" => 2,
        _ => 1,
    };
    let is_time = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    let has_time = words[0] != "/kick" && words.get(1 + whom).is_some_and(is_time);
    match has_reason {
        true => 1 + whom + usize::from(has_time),
        false => usize::MAX,
    }
}
