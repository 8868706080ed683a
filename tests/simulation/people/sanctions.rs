//! The model of what operators forbid: whose lines nobody gets.

use super::{Room, key};
use crate::reference::is_alike;
use crate::scene::Scene;

impl Room {
    pub(super) fn mutes(&mut self, number: usize, name: &str) -> bool {
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

    pub(super) fn unmutes(&mut self, number: usize, name: &str) -> bool {
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
    pub(super) fn mute_of(&self, name: &str) -> Option<String> {
        let mut muted = self.muted.iter();
        let (_, by) = muted.find(|(muted, _)| is_alike(muted, name))?;
        Some(by.clone())
    }

    pub(super) fn is_muted_name(&self, name: &str) -> bool {
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
