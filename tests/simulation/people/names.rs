//! The model of whom a name means that somebody has typed.

use super::{REMEMBERED_SECONDS, Room, STEP_SECONDS, key};
use crate::reference::is_alike;

impl Room {
    /// Who may be meant by a name: whoever has it, or else all whose names begin so.
    pub(super) fn candidates(&mut self, number: usize, name: &str) -> Vec<usize> {
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

    pub(super) fn meant(&mut self, number: usize, name: &str) -> Option<usize> {
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
    pub(super) fn doubt(&mut self, name: &str, owner: usize) -> Option<&'static str> {
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

    pub(super) fn gives_up(&mut self, number: usize, name: &str) {
        self.departed.push((name.to_owned(), number, self.step));
    }

    pub(super) fn meant_other(&mut self, number: usize, name: &str) -> Option<usize> {
        let owner = self.meant(number, name)?;
        if owner == number {
            self.show(number, "* that is you: name somebody else");
            return None;
        }
        Some(owner)
    }
}
