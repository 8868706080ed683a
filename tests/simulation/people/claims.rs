//! The model of those who come back as the same person: `/claim`, and a name with a token as the first line.

use super::{Kind, NO_BREAK, Room, SHOWN, STEP_SECONDS, key};
use crate::reference::is_taken;

/// How long somebody who has gone can come back.
const KEPT_SECONDS: u64 = 600;

/// A token that a person was given.
pub(super) struct Claim {
    owner: usize,
    token: u128,
    /// The name that the person was told to type.
    shown: String,
    /// Its name when it went, and in which step.
    gone: Option<(String, u64)>,
}

impl Room {
    pub(super) fn asks_for_token(&mut self, number: usize) {
        self.tokens += 1;
        let (token, shown) = (self.tokens, self.nick(number));
        self.voids_claim(number);
        let told = "again after a lost connection, type";
        self.show(
            number,
            &format!("* to be {shown} {told} {shown}{NO_BREAK}{token:032x} as your nick"),
        );
        self.claims.push(Claim {
            owner: number,
            token,
            shown,
            gone: None,
        });
    }

    /// Somebody has lost its connection, or has left in a way that it cannot take back.
    pub(super) fn loses_claim(&mut self, number: usize, is_lost: bool) {
        let gone = Some((self.nick(number), self.step));
        match self.claims.iter_mut().find(|it| it.owner == number) {
            Some(claim) if is_lost => claim.gone = gone,
            _ => self.voids_claim(number),
        }
    }

    fn voids_claim(&mut self, owner: usize) {
        let void = self.claims.extract_if(.., |it| it.owner == owner);
        let typed = void.map(|it| format!("{} {:032x}", it.shown, it.token));
        self.void_claims.extend(typed);
    }

    /// What somebody types who wants to be one of those who have a token, or whether it has none.
    pub(super) fn typed_claim(&mut self) -> Option<String> {
        if self.rng.u8(..4) == 0 {
            return self.rng.choice(&self.void_claims).cloned();
        }
        let chosen = self.rng.choice(&self.claims)?;
        let name = match (&chosen.gone, self.rng.bool()) {
            (_, true) => chosen.shown.clone(),
            (None, false) => self.nick(chosen.owner),
            (Some((name, _)), false) => name.clone(),
        };
        let is_wrong = self.rng.u8(..6) == 0;
        let token = chosen.token ^ u128::from(is_wrong);
        Some(format!("{name} {token:032x}"))
    }

    fn is_valid(&self, claim: &Claim) -> bool {
        let gone = claim.gone.as_ref();
        gone.is_none_or(|(_, step)| (self.step - step) * STEP_SECONDS < KEPT_SECONDS)
    }

    /// Whose claim a line is, in the order of the claims. `None` if it is none.
    pub(super) fn claimed(&self, line: &str) -> Option<Option<usize>> {
        let (name, token) = line.split_once(' ')?;
        let token = u128::from_str_radix(token, 16).ok()?;
        Some(self.claims.iter().position(|claim| {
            let now = match &claim.gone {
                Some((name, _)) => name.clone(),
                None => self.nick(claim.owner),
            };
            let is_named = [&claim.shown, &now].iter().any(|it| key(it) == key(name));
            is_named && claim.token == token && self.is_valid(claim)
        }))
    }

    pub(super) fn comes_back(&mut self, number: usize, claim: Option<usize>) {
        if self.has_no_tries(number) {
            return;
        }
        let Some(claim) = claim else {
            self.seen.insert("wrong token");
            self.has_guessed(number);
            return self.refuse(
                number,
                "that token is wrong, used up or too old",
                ": type another nick",
            );
        };
        let owner = self.claims[claim].owner;
        let is_gone = self.claims[claim].gone.is_some();
        let name = match &self.claims[claim].gone {
            Some((name, _)) => name.clone(),
            None => self.nick(owner),
        };
        if let Some(banned) = self.banned(&name) {
            self.seen.insert("came back as a banned one");
            return self.refuse(number, &banned, ", choose another");
        }
        let holder = self.owner(&name).filter(|&holder| holder != owner);
        if let Some(holder) = holder {
            self.seen.insert("claimed in vain");
            let (taken, advice) = (is_taken(&name, &self.nick(holder)), self.advice(&name));
            return self.refuse(number, &taken, &advice);
        }
        self.voids_claim(owner);
        self.seen
            .insert(if is_gone { "came back" } else { "took over" });
        if !is_gone {
            let told = "* you are back over another connection, so this one ends";
            self.show(owner, told);
            self.gives_up(owner, &name);
            self.clients[owner].nick = None;
            self.clients[owner].is_open = false;
            let peer = self.clients[owner].peer;
            self.scene.peer(peer).hang_up();
        }
        let others = self.others_here();
        self.inherits(number, owner);
        self.clients[number].nick = Some(name.clone());
        if is_gone {
            self.clients[number].joined_in = self.step;
            self.moves(number);
            self.tell_people(number, Kind::Presence, &format!("* {name} joined"));
        } else if self.clients[owner].is_operator {
            let line = format!("* {name} is no longer an operator");
            self.tell_operators(number, &line, Self::show);
        }
        self.brings_mute(number, owner);
        self.recount(number, SHOWN, |_, _| true);
        self.is_welcome(
            number,
            &format!("* welcome back, {name}; /claim gives a new token. {others}"),
        );
    }

    /// A client is what another one was, in its own eyes and in those of the others.
    fn inherits(&mut self, number: usize, owner: usize) {
        let it = &mut self.clients[owner];
        let ignores = std::mem::take(&mut it.ignores);
        let (told_by, away) = (it.told_by.take(), it.away.take());
        let (is_quiet, bell, stamp) = (it.is_quiet, it.bell, it.stamp);
        let (has_voice, joined_in) = (it.has_voice, it.joined_in);
        let it = &mut self.clients[number];
        (it.ignores, it.told_by, it.away) = (ignores, told_by, away);
        (it.is_quiet, it.bell, it.stamp) = (is_quiet, bell, stamp);
        (it.has_voice, it.joined_in) = (has_voice, joined_in);
        let rename = |client: &mut usize| {
            if *client == owner {
                *client = number;
            }
        };
        for client in &mut self.clients {
            client
                .ignores
                .iter_mut()
                .for_each(|it| rename(&mut it.client));
            client.told_by.iter_mut().for_each(|it| rename(&mut it.0));
        }
        self.history
            .iter_mut()
            .for_each(|it| rename(&mut it.speaker));
        self.departed.iter_mut().for_each(|it| rename(&mut it.1));
    }
}
