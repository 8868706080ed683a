//! The model of what members say, in the room and in private, and of whom they ignore.

use super::{Ignored, Kind, Room, key};
use crate::reference::{is_alike, is_taken};

impl Room {
    /// Who says nothing but the name of a command may have meant that.
    pub(super) fn is_told_what_it_said(&mut self, number: usize, line: &str) {
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

    pub(super) fn tell_cannot(&mut self, number: usize) {
        self.show(number, "* you are muted: you cannot do that");
    }

    pub(super) fn tell_muted(&mut self, number: usize) {
        self.seen.insert("silenced");
        self.show(number, "* you are muted, that was not sent");
    }

    pub(super) fn says(&mut self, number: usize, text: &str) {
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

    pub(super) fn waves(&mut self, number: usize) {
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

    pub(super) fn whispers(&mut self, number: usize, other: usize) {
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

    pub(super) fn replies(&mut self, number: usize) {
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

    pub(super) fn ignores(&mut self, number: usize, name: &str) {
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

    pub(super) fn lists_ignored(&mut self, number: usize) {
        let ignored = self.clients[number].ignores.iter();
        let names: Vec<&str> = ignored.map(|it| &*it.nick).collect();
        let line = match names[..] {
            [] => "* you ignore nobody".to_owned(),
            _ => format!("* you ignore {}", names.join(", ")),
        };
        self.seen.insert(match names.len() {
            0 => "ignores nobody",
            1 => "listed whom it ignores",
            _ => "listed several that it ignores",
        });
        self.show(number, &line);
    }

    pub(super) fn unignores(&mut self, number: usize, name: &str) {
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

    pub(super) fn renames(&mut self, number: usize, name: &str) {
        if let Some(owner) = self.owner(name).filter(|&owner| owner != number) {
            let taken = is_taken(name, &self.nick(owner));
            let advice = self.advice(name);
            return self.show(number, &format!("* {taken}{advice}"));
        }
        if let Some(banned) = self.banned(name) {
            self.seen.insert("renamed to a banned nick");
            return self.show(number, &format!("* {banned}"));
        }
        let old = self.nick(number);
        if old != name {
            self.moves(number);
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
}
