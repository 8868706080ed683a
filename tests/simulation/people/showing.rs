//! Who sees what: how a line looks on the screen of each client, and which clients it reaches.

use super::{Bell, Kind, NO_BREAK, Room, key};
use crate::reference::is_alike;

/// A line of the server's own on a terminal: where it is too long it goes on with its last words on a
/// line below.
pub(super) fn broken(line: &str, columns: usize) -> Vec<String> {
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

impl Room {
    pub(super) fn show(&mut self, number: usize, line: &str) {
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
    pub(super) fn quote(&mut self, number: usize, line: &str) {
        self.clients[number].expected += &format!("{line}\r\n");
    }

    pub(super) fn nick(&self, number: usize) -> String {
        self.clients[number].nick.clone().expect("a member")
    }

    pub(super) fn members(&self) -> Vec<usize> {
        let clients = 0..self.clients.len();
        clients
            .filter(|&it| self.clients[it].nick.is_some())
            .collect()
    }

    pub(super) fn others(&self, number: usize) -> Vec<usize> {
        let mut members = self.members();
        members.retain(|&other| other != number);
        members
    }

    pub(super) fn hides(&self, listener: usize, speaker: usize) -> bool {
        let name = self.nick(speaker);
        let is_person = self.clients[speaker].is_person;
        let mut ignored = self.clients[listener].ignores.iter();
        ignored.any(|it| is_alike(&it.nick, &name) || (is_person && it.client == speaker))
    }

    /// Somebody sees a line that others cause.
    pub(super) fn hear(&mut self, number: usize, kind: Kind, line: &str) {
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

    pub(super) fn tell_people(&mut self, number: usize, kind: Kind, line: &str) {
        for other in self.others(number) {
            if self.clients[other].is_person {
                self.hear(other, kind, line);
            }
        }
    }

    /// `line` to people, or to those who ignore the speaker `instead`, if anything.
    pub(super) fn tell_friends(&mut self, number: usize, line: &str, instead: Option<&str>) {
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

    pub(super) fn owner(&self, name: &str) -> Option<usize> {
        let mut members = self.members().into_iter();
        members.find(|&it| is_alike(&self.nick(it), name))
    }

    pub(super) fn names(&self, members: &[usize]) -> String {
        let mut nicks: Vec<String> = members.iter().map(|&it| self.nick(it)).collect();
        nicks.sort_by_key(|nick| key(nick));
        nicks.join(", ")
    }
}
