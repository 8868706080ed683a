//! The model of coming and going: the password, the nick, the welcome, and how a member leaves.

use super::{Kind, LOGIN_STEPS, Room, SHOWN};
use crate::reference::is_taken;

impl Room {
    /// Who has no nick yet and has had its time is closed.
    pub(super) fn close_late(&mut self) {
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

    /// What a person asks for who has no nick. Returns whether that was no nick.
    pub(super) fn asks_before(&mut self, number: usize, line: &str) -> bool {
        match line.trim().to_lowercase().as_str() {
            "quit" | "exit" => {
                self.seen.insert("quit before a nick");
                self.show(number, "* goodbye");
                self.clients[number].is_open = false;
            }
            "who" | "/who" => {
                match self.members()[..] {
                    [] => self.show(number, "* nobody is here"),
                    _ => self.lists(number, ""),
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

    pub(super) fn tries(&mut self, number: usize, word: &str) {
        let is_person = self.clients[number].is_person;
        if self.wait_for_try(number).is_some() {
            if is_person {
                self.clients[number].expected += "\r\n";
            }
            self.has_no_tries(number);
            return;
        }
        if word == "sesame" {
            self.clients[number].knows_password = true;
            self.clients[number].refusals = 0;
            if is_person {
                self.withdraws_echo(number);
                self.clients[number].expected += "\r\n* what is your nick?\r\n";
            }
            return;
        }
        if is_person {
            self.clients[number].expected += "\r\n";
        }
        self.has_guessed(number);
        self.clients[number].refusals += 1;
        if self.clients[number].refusals < self.most_refusals(number) {
            return self.show(number, "* wrong password, try again");
        }
        let last = "* wrong password, and that was the last try, goodbye";
        self.seen.insert("last guess");
        self.show(number, last);
        self.clients[number].is_open = false;
    }

    pub(super) fn asks_for(&mut self, number: usize, name: &str) {
        if let Some(banned) = self.banned(name) {
            self.seen.insert("a banned nick");
            return self.refuse(number, &banned, ", choose another");
        }
        if let Some(owner) = self.owner(name) {
            let (taken, advice) = (is_taken(name, &self.nick(owner)), self.advice(name));
            return self.refuse(number, &taken, &advice);
        }
        let others = self.others_here();
        self.clients[number].nick = Some(name.to_owned());
        self.clients[number].joined_in = self.step;
        self.moves(number);
        self.takes_mute(number);
        self.tell_people(number, Kind::Presence, &format!("* {name} joined"));
        if self.clients[number].is_person {
            self.recount(number, SHOWN, |_, _| true);
            let welcome = format!("* welcome, {name}. /help lists the commands. {others}");
            self.is_welcome(number, &welcome);
        }
    }

    /// A line is not what lets a client in, with what it could type instead if it is a person.
    pub(super) fn refuse(&mut self, number: usize, why: &str, advice: &str) {
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
    pub(super) fn others_here(&self) -> String {
        let others = self.members();
        let names = self.names(&others);
        match others.len() {
            0 => "nobody else is here yet".to_owned(),
            1 => format!("1 other here: {names}"),
            n => format!("{n} others here: {names}"),
        }
    }

    pub(super) fn is_welcome(&mut self, number: usize, welcome: &str) {
        self.show(number, welcome);
        if self.is_moderated {
            let line = "* the room is moderated: you can listen, and /msg an operator";
            self.show(number, line);
        }
        if self.is_muted(number) {
            self.seen.insert("muted when it came back");
            self.tell_of_mute(number);
        }
    }

    /// How many lines of a client may be refused.
    pub(super) fn most_refusals(&self, number: usize) -> usize {
        let usual = if self.clients[number].is_person {
            10
        } else {
            3
        };
        self.most_refusals.unwrap_or(usual)
    }

    /// Nobody here has a name that ends with a digit.
    pub(super) fn advice(&self, name: &str) -> String {
        format!("; {name}2 is free")
    }

    pub(super) fn leaves(&mut self, number: usize, how: &str) {
        self.clients[number].is_open = false;
        if self.clients[number].nick.is_some() {
            let nick = self.nick(number);
            let kind = match how.starts_with("was kicked") {
                true => Kind::Notice,
                false => Kind::Presence,
            };
            self.tell_people(number, kind, &format!("* {nick} {how}"));
            self.loses_claim(number, how == "left");
            self.has_left(number, &nick);
        }
    }

    fn has_left(&mut self, number: usize, nick: &str) {
        self.moves(number);
        self.leaves_mute(number);
        self.gives_up(number, nick);
        self.clients[number].nick = None;
    }

    pub(super) fn quits(&mut self, number: usize, words: &str) {
        self.seen.insert("quit");
        let nick = self.nick(number);
        let left = format!("* {nick} left");
        match words.is_empty() || self.is_muted(number) || self.is_voiceless(number) {
            true => self.tell_people(number, Kind::Presence, &left),
            false => self.tell_friends(number, &format!("{left}: {words}"), Some(&left)),
        }
        self.show(number, "* goodbye");
        self.clients[number].is_open = false;
        self.loses_claim(number, false);
        self.has_left(number, &nick);
    }
}
