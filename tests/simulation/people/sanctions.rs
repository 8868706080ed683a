//! The model of what operators forbid, for a time and for a reason: whose lines nobody gets, and who is
//! kept out.

use std::fmt;
use std::net::IpAddr;

use super::{Kept, Room, STEP_SECONDS, asking::speaker_of, key};
use crate::journal::Peer;
use crate::reference::{is_alike, is_like};
use crate::scene::Scene;

/// A mute or a ban.
pub(super) struct Sanction {
    whom: Whom,
    terms: Terms,
    by: String,
    /// Which one of those who have left its member was, and from which address.
    left: Option<(usize, Peer)>,
}

enum Whom {
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(ip) => ip.fmt(f),
        }
    }
}

/// For how long, and why.
#[derive(Clone)]
struct Terms {
    /// The step in which it ends.
    until: Option<u64>,
    why: String,
}

impl Sanction {
    fn is_of_name(&self, name: &str) -> bool {
        matches!(&self.whom, Whom::Name(whom) if is_alike(whom, name))
    }

    /// Whether it is replaced by one of this name.
    fn is_of_this(&self, name: &str) -> bool {
        matches!(&self.whom, Whom::Name(whom) if key(whom) == key(name))
    }

    fn is_of_address(&self, ip: IpAddr) -> bool {
        matches!(self.whom, Whom::Address(whom) if whom == ip)
    }

    /// The reason in parentheses, if there is one.
    fn because(&self) -> String {
        match &*self.terms.why {
            "" => String::new(),
            why => format!(" ({why})"),
        }
    }

    /// What a member is told of its mute.
    fn told(&self, step: u64) -> String {
        let (time, why) = (self.lasts(step), self.because());
        format!("* you are muted{time}{why}: nobody sees what you say")
    }

    /// How a list has it, with its time from this step on.
    fn listed(&self, what: &str, step: u64) -> String {
        format!("* {} is {what}{}", self.whom, self.in_force(step))
    }

    fn in_force(&self, step: u64) -> String {
        let why = match &*self.terms.why {
            "" => String::new(),
            why => format!(": {why}"),
        };
        format!("{}, by {}{why}", self.lasts(step), self.by)
    }

    /// The time that is left, in minutes.
    fn lasts(&self, step: u64) -> String {
        let Some(until) = self.terms.until else {
            return String::new();
        };
        let minutes = ((until - step) * STEP_SECONDS).div_ceil(60);
        let parts = [
            (minutes / (24 * 60), "day"),
            (minutes / 60 % 24, "hour"),
            (minutes % 60, "minute"),
        ];
        let parts = parts.into_iter().filter(|&(count, _)| count > 0);
        let parts = parts.map(|part| match part {
            (1, unit) => format!(" 1 {unit}"),
            (count, unit) => format!(" {count} {unit}s"),
        });
        match minutes {
            1 => " for a minute".to_owned(),
            _ => format!(" for{}", parts.collect::<String>()),
        }
    }
}

/// `time` and `why` as they are typed, where a word that begins with a digit is a time.
fn terms(typed: &str, step: u64) -> Terms {
    let (word, rest) = typed.split_once(' ').unwrap_or((typed, ""));
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return Terms {
            until: None,
            why: typed.to_owned(),
        };
    }
    let number: u64 = word
        .trim_end_matches(['m', 'h', 'd'])
        .parse()
        .expect("a number");
    let minutes = match word.chars().last() {
        Some('h') => number * 60,
        Some('d') => number * 24 * 60,
        _ => number,
    };
    Terms {
        until: Some(step + minutes * 60 / STEP_SECONDS),
        why: rest.to_owned(),
    }
}

impl Room {
    /// What is over ends, and nobody is told.
    pub(super) fn end_sanctions(&mut self) {
        let step = self.step;
        for (list, event) in [
            (&mut self.mutes, "a mute is over"),
            (&mut self.bans, "a ban is over"),
        ] {
            let before = list.len();
            list.retain(|it| it.terms.until.is_none_or(|until| step < until));
            if list.len() < before {
                self.seen.insert(event);
            }
        }
    }

    pub(super) fn lists_sanctions(&mut self, number: usize, what: &str) {
        let step = self.step;
        let list = match what {
            "muted" => self.mutes.iter().collect(),
            _ => {
                let of_names = |it: &&Sanction| matches!(it.whom, Whom::Name(_));
                let (names, addresses): (Vec<_>, Vec<_>) = self.bans.iter().partition(of_names);
                [names, addresses].concat()
            }
        };
        let lines: Vec<String> = list.iter().map(|it| it.listed(what, step)).collect();
        if lines.is_empty() {
            return self.show(number, &format!("* nobody is {what}"));
        }
        self.seen.insert(match what {
            "muted" => "mutes listed",
            _ => "bans listed",
        });
        for line in lines {
            self.show(number, &line);
        }
    }

    fn sanction(&mut self, number: usize, whom: Whom, typed: &str) -> Sanction {
        let mut terms = terms(typed, self.step);
        // Nobody gets what a muted operator says, and a reason is something said.
        if self.is_muted(number) && !terms.why.is_empty() {
            self.seen.insert("a muted operator gave a reason");
            terms.why.clear();
        }
        Sanction {
            whom,
            terms,
            by: self.nick(number),
            left: None,
        }
    }

    /// A muted operator is told that its reason was left out, after a command that was carried out.
    fn tell_left_out(&mut self, number: usize, typed: &str) {
        if self.is_muted(number) && !terms(typed, self.step).why.is_empty() {
            self.show(number, "* you are muted: your reason was left out");
        }
    }

    // Mutes.

    /// The mute that a member is under.
    fn mute_of(&self, number: usize) -> Option<&Sanction> {
        let (nick, ip) = (self.nick(number), self.ip(number));
        let mut mutes = self.mutes.iter();
        let own = mutes.find(|it| it.is_of_name(&nick));
        own.or_else(|| self.mutes.iter().find(|it| it.is_of_address(ip)))
    }

    pub(super) fn is_muted(&self, number: usize) -> bool {
        self.mute_of(number).is_some()
    }

    /// What an operator is told of the mutes that a member is under.
    pub(super) fn mutes_in_force(&self, number: usize) -> Vec<String> {
        let (nick, ip) = (self.nick(number), self.ip(number));
        let mutes = self.mutes.iter();
        let own = mutes.filter(|it| it.is_of_name(&nick) || it.is_of_address(ip));
        own.map(|it| format!("* {nick} is muted{}", it.in_force(self.step)))
            .collect()
    }

    /// What a muted member is told, if it can be told anything.
    pub(super) fn tell_of_mute(&mut self, number: usize) {
        if self.clients[number].is_person
            && let Some(mute) = self.mute_of(number)
        {
            let line = mute.told(self.step);
            self.show(number, &line);
        }
    }

    pub(super) fn mutes(&mut self, number: usize, whom: &str, typed: &str) -> bool {
        if let Ok(ip) = whom.parse() {
            return self.mutes_address(number, ip, typed);
        }
        let Some(other) = self.meant_other(number, whom) else {
            return false;
        };
        let nick = self.nick(other);
        self.mutes.retain(|it| !it.is_of_this(&nick));
        let mute = self.sanction(number, Whom::Name(nick.clone()), typed);
        let (time, told) = (mute.lasts(self.step), mute.told(self.step));
        self.seen
            .insert(match (&mute.terms.until, &*mute.terms.why) {
                (Some(_), "") => "muted for a time",
                (Some(_), _) => "muted for a time and a reason",
                (None, _) => "muted",
            });
        self.mutes.push(mute);
        self.show(number, &format!("* {nick} is muted{time}"));
        self.tell_left_out(number, typed);
        self.tell_muted_anew(other, &told);
        let ip = self.ip(other);
        let address = match ip == self.ip(number) {
            true => format!("* {nick} comes from the same address as you"),
            false => format!("* {nick} comes from {ip}; /mute {ip} mutes it"),
        };
        self.show(number, &address);
        true
    }

    fn mutes_address(&mut self, number: usize, ip: IpAddr, typed: &str) -> bool {
        if ip == self.ip(number) {
            self.show(number, "* that is you: name somebody else");
            return false;
        }
        self.mutes.retain(|it| !it.is_of_address(ip));
        let mute = self.sanction(number, Whom::Address(ip), typed);
        let (time, told) = (mute.lasts(self.step), mute.told(self.step));
        self.mutes.push(mute);
        self.seen.insert("an address muted");
        self.show(number, &format!("* {ip} is muted{time}"));
        self.tell_left_out(number, typed);
        for member in self.members() {
            if self.ip(member) == ip && self.clients[member].is_person {
                self.seen.insert("muted by its address");
                self.tell_muted_anew(member, &told);
            }
        }
        true
    }

    /// A member is told of the last mute, unless it is under another one that lasts as long.
    fn tell_muted_anew(&mut self, member: usize, told: &str) {
        let (nick, ip) = (self.nick(member), self.ip(member));
        let until = |it: &Sanction| it.terms.until.unwrap_or(u64::MAX);
        let (new, others) = self.mutes.split_last().expect("the new one");
        let mut its = others
            .iter()
            .filter(|it| it.is_of_name(&nick) || it.is_of_address(ip));
        if its.any(|it| until(it) >= until(new)) {
            self.seen.insert("muted already for longer");
        } else if self.clients[member].is_person {
            self.show(member, told);
        }
    }

    pub(super) fn unmutes(&mut self, number: usize, whom: &str) -> bool {
        if self.is_muted(number) {
            self.show(number, "* you are muted: another operator has to do that");
            return false;
        }
        if let Ok(ip) = whom.parse() {
            return self.lifts_mutes(number, whom, |it| it.is_of_address(ip));
        }
        if self.mutes.iter().any(|it| it.is_of_name(whom)) {
            return self.lifts_mutes(number, whom, |it| it.is_of_name(whom));
        }
        match self.meant(number, whom) {
            Some(owner) => {
                let nick = self.nick(owner);
                self.lifts_mutes(number, &nick, |it| it.is_of_name(&nick))
            }
            None => false,
        }
    }

    fn lifts_mutes(
        &mut self,
        number: usize,
        whom: &str,
        is_lifted: impl Fn(&Sanction) -> bool,
    ) -> bool {
        let members = self.members();
        let muted: Vec<usize> = members
            .into_iter()
            .filter(|&it| self.is_muted(it))
            .collect();
        let before = self.mutes.len();
        self.mutes.retain(|it| !is_lifted(it));
        if self.mutes.len() == before {
            self.show(number, &format!("* {whom} is not muted"));
            return false;
        }
        self.seen.insert("unmuted");
        self.show(number, &format!("* {whom} is no longer muted"));
        for member in muted {
            if self.clients[member].is_person && !self.is_muted(member) {
                self.show(member, "* you are no longer muted");
            }
        }
        true
    }

    /// A member has left: a mute of its name waits for who comes next from its address.
    pub(super) fn leaves_mute(&mut self, number: usize) {
        let (nick, host) = (self.nick(number), self.clients[number].host);
        self.departures += 1;
        for mute in self.mutes.iter_mut().filter(|it| it.is_of_name(&nick)) {
            mute.left = Some((self.departures, host));
        }
    }

    /// A member has come: it is under the mute of its name, or else under that of who left its address
    /// first.
    pub(super) fn takes_mute(&mut self, number: usize) {
        let (nick, host) = (self.nick(number), self.clients[number].host);
        let named = self.mutes.iter().position(|it| it.is_of_name(&nick));
        let waiting = self.mutes.iter().enumerate().filter_map(|(place, it)| {
            let (order, _) = it.left.filter(|&(_, left)| left == host)?;
            Some((order, place))
        });
        let first = waiting.min().map(|(_, place)| place);
        if named.is_none() && first.is_some() {
            self.seen.insert("took over a mute");
        }
        if let Some(place) = named.or(first) {
            let mute = &mut self.mutes[place];
            mute.whom = Whom::Name(nick);
            mute.left = None;
        }
    }

    /// Somebody has come back, with the mute that it was under.
    pub(super) fn brings_mute(&mut self, number: usize, owner: usize) {
        let (nick, ip) = (self.nick(number), self.ip(owner));
        let mut mutes = self.mutes.iter_mut();
        if let Some(mute) = mutes.find(|it| it.is_of_name(&nick)) {
            mute.whom = Whom::Name(nick);
            mute.left = None;
        } else if self.is_muted(number) {
            self.seen.insert("came back from a muted address");
        } else if let Some(mute) = self.mutes.iter().find(|it| it.is_of_address(ip)) {
            self.seen.insert("brought the mute of an address");
            let mute = Sanction {
                whom: Whom::Name(nick),
                terms: mute.terms.clone(),
                by: mute.by.clone(),
                left: None,
            };
            self.mutes.push(mute);
        }
    }

    /// A command about somebody who is muted or banned.
    pub(super) fn about_a_sanction(&mut self, command: &str) -> String {
        let list = match command {
            "/unban" => &self.bans,
            _ => &self.mutes,
        };
        let whom = self.rng.choice(list).map(|it| it.whom.to_string());
        format!("{command} {}", whom.as_deref().unwrap_or("ann"))
    }

    // Bans.

    pub(super) fn bans(&mut self, number: usize, whom: &str, typed: &str) -> bool {
        if let Ok(ip) = whom.parse() {
            return self.bans_address(number, ip, typed);
        }
        let owner = self.owner(whom);
        if owner == Some(number) {
            self.show(number, "* that is you: name somebody else");
            return false;
        }
        self.bans.retain(|it| !it.is_of_this(whom));
        let ban = self.sanction(number, Whom::Name(whom.to_owned()), typed);
        let (time, why) = (ban.lasts(self.step), ban.because());
        self.bans.push(ban);
        let Some(owner) = owner else {
            let unmet = match self.candidates(number, whom)[..] {
                [other] => {
                    self.seen.insert("banned another one, perhaps");
                    let other = self.nick(other);
                    format!("but is not here; did you mean {other}?")
                }
                _ => "but nobody here has that name".to_owned(),
            };
            let before = self.history.len();
            let is_its = |it: &Kept| is_alike(&speaker_of(&it.line), whom);
            self.history.retain(|it| !is_its(it));
            self.seen.insert(match before > self.history.len() {
                true => "banned when it had left",
                false => "banned before it came",
            });
            self.show(number, &format!("* {whom} is banned{time}, {unmet}"));
            self.tell_left_out(number, typed);
            return true;
        };
        self.seen.insert("banned");
        self.forgets(owner);
        let nick = self.nick(owner);
        self.is_banned(owner, &why);
        self.show(number, &format!("* {whom} is banned{time}"));
        self.tell_left_out(number, typed);
        self.tell_where_from(number, owner, &nick);
        true
    }

    fn bans_address(&mut self, number: usize, ip: IpAddr, typed: &str) -> bool {
        if ip == self.ip(number) {
            self.seen.insert("did not ban itself");
            self.show(number, "* that is your own address: it is not banned");
            return false;
        }
        self.bans.retain(|it| !it.is_of_address(ip));
        let ban = self.sanction(number, Whom::Address(ip), typed);
        let (time, why) = (ban.lasts(self.step), ban.because());
        self.bans.push(ban);
        self.seen.insert("an address banned");
        let open = (0..self.clients.len()).filter(|&it| self.clients[it].is_open);
        let mut closed: Vec<usize> = open.filter(|&it| self.ip(it) == ip).collect();
        // In which order they leave is not said.
        let order = |it: &usize| {
            self.scene
                .leavers
                .iter()
                .position(|peer| *peer == self.clients[*it].peer)
        };
        closed.sort_by_key(order);
        for &client in &closed {
            if self.clients[client].nick.is_some() {
                self.forgets(client);
            }
        }
        let before = self.history.len();
        self.history.retain(|it| Scene::addr(it.host).ip() != ip);
        if self.history.len() < before {
            self.seen.insert("forgot lines from an address");
        }
        for client in closed {
            if self.clients[client].nick.is_none() {
                self.seen.insert("banned without a nick");
            }
            self.is_banned(client, &why);
        }
        self.show(number, &format!("* {ip} is banned{time}"));
        self.tell_left_out(number, typed);
        true
    }

    /// A client is closed because its name or its address is banned.
    fn is_banned(&mut self, number: usize, why: &str) {
        let why = if self.clients[number].is_person {
            why
        } else {
            ""
        };
        self.show(
            number,
            &format!("* you are banned from this room{why}, goodbye"),
        );
        self.leaves(number, "left (banned)");
    }

    pub(super) fn unbans(&mut self, number: usize, whom: &str) -> bool {
        let before = self.bans.len();
        match whom.parse() {
            Ok(ip) => self.bans.retain(|it| !it.is_of_address(ip)),
            Err(_) => self.bans.retain(|it| !it.is_of_name(whom)),
        }
        let is_done = self.bans.len() < before;
        let line = match is_done {
            true => {
                self.seen.insert("unbanned");
                format!("* {whom} is no longer banned")
            }
            false => format!("* {whom} is not banned"),
        };
        self.show(number, &line);
        is_done
    }

    /// Why a name cannot be taken, if it is banned.
    pub(super) fn banned(&self, name: &str) -> Option<String> {
        let whom = self.bans.iter().find_map(|it| match &it.whom {
            Whom::Name(whom) if is_alike(whom, name) => Some(whom),
            _ => None,
        })?;
        Some(is_like(name, whom, "banned from this room"))
    }

    /// Over TLS there are no words before the handshake.
    pub(super) fn is_turned_away(&mut self, number: usize, told: &str) {
        if !self.scene.is_veiled {
            self.show(number, told);
        }
        self.scene.peer(self.clients[number].peer).hang_up();
    }

    /// What a newcomer from an address is told that is banned.
    pub(super) fn refused_from(&mut self, host: Peer, is_person: bool) -> Option<String> {
        let ip = Scene::addr(host).ip();
        let ban = self.bans.iter().find(|it| it.is_of_address(ip))?;
        self.seen.insert("not let in");
        let why = if is_person {
            ban.because()
        } else {
            String::new()
        };
        Some(format!("* your address is banned from this server{why}"))
    }
}
