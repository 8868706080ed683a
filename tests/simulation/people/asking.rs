//! The model of what a person asks for and sets for itself: the last lines, who is here, and its settings.

use super::{Bell, KEPT, Kept, Room, STEP_SECONDS, key};
use crate::reference::is_alike;

/// The nick under which a line was said.
pub(super) fn speaker_of(line: &str) -> String {
    let name = line.trim_start_matches("** ").trim_start_matches("* ");
    name.chars().take_while(|c| !": ".contains(*c)).collect()
}

impl Room {
    /// Shows the last of those lines that a client may see and that are wanted. Returns whether there was
    /// any.
    pub(super) fn recount(
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
        for Kept {
            line,
            step,
            speaker,
            ..
        } in kept
        {
            match is_hidden(line, *speaker) {
                true => hidden += 1,
                false if is_wanted(*speaker, line) && shown.len() < most => {
                    let age = (self.step - step) * STEP_SECONDS;
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

    pub(super) fn keep(&mut self, number: usize, line: String) {
        self.history.push(Kept {
            line,
            step: self.step,
            speaker: number,
            host: self.clients[number].host,
        });
        let over = self.history.len().saturating_sub(KEPT);
        self.history.drain(..over);
    }

    /// Shows the last lines: two, or all, or two of those that somebody of this name has said.
    pub(super) fn remembers(&mut self, number: usize, asked: &str) {
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

    pub(super) fn lists(&mut self, number: usize, beginning: &str) {
        let mut members = self.members();
        members.retain(|&it| key(&self.nick(it)).starts_with(&key(beginning)));
        if members.is_empty() {
            self.seen.insert("no name begins so");
            let none = format!("* nobody here has a name that begins with \"{beginning}\"");
            return self.show(number, &none);
        }
        if !beginning.is_empty() {
            self.seen.insert("listed by a beginning");
        }
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
    pub(super) fn sets(&mut self, number: usize, command: &str, value: &str) {
        let is_muted = self.is_muted(number);
        let client = &mut self.clients[number];
        let line = match (command, value) {
            ("/quiet", wish) => {
                client.is_quiet = match wish {
                    "on" => true,
                    "off" => false,
                    _ => !client.is_quiet,
                };
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
            _ if is_muted => {
                self.seen.insert("cannot be away");
                return self.tell_cannot(number);
            }
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

    pub(super) fn asks_about(&mut self, number: usize, name: &str) {
        let Some(other) = self.meant(number, name) else {
            return;
        };
        self.seen.insert(match other == number {
            true => "asked about itself",
            false => "asked about",
        });
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
            let ip = self.ip(other);
            self.show(number, &format!("* {nick} comes from {ip}"));
            let mutes = self.mutes_in_force(other);
            match mutes.len() {
                0 => {}
                1 => {
                    self.seen.insert("asked about a muted one");
                }
                _ => {
                    self.seen.insert("asked about one muted twice");
                }
            }
            for mute in mutes {
                self.show(number, &mute);
            }
        }
    }
}
