//! People and scripts who do everything in any order, many of them in one turn, beside a model that
//! knows what each of them has to see. It is as plain as can be: whoever may see something is given
//! it at once, in the order in which it happens.
//!
//! `LINE_CHAT_SEED=7` runs one seed.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;

const SEEDS: std::ops::Range<u64> = 0..300;
const TURNS: usize = 120;

/// Names of which some begin others, and some are the same.
const NAMES: [&str; 7] = ["bob", "BOB", "bobby", "ann", "anna", "zoë", "Zoe"];

/// Somebody in the model.
struct Client {
    wire: Wire,
    is_person: bool,
    nick: Option<String>,
    /// In which order it joined.
    place: usize,
    /// Its line ends are still heard.
    is_open: bool,
    ignored: Vec<Ignored>,
    told_by: Option<(usize, String)>,
    /// What it has to see.
    expected: String,
    refusals: usize,
}

/// Whom somebody ignores: a name, and whoever had it.
struct Ignored {
    nick: String,
    client: usize,
}

struct World {
    rig: Rig,
    chance: Rng,
    clients: Vec<Client>,
    /// The keys of names that were given up, and the client that had it. No run is longer than they are
    /// remembered.
    departed: Vec<(String, usize)>,
    /// Those who have changed their names lately, in the order of their joining.
    gatherings: BTreeMap<usize, Gathering>,
    /// Whose rename is told before anything else.
    fresh: Vec<usize>,
    /// Since the beginning, in seconds.
    now: u64,
    joined: usize,
    /// How many renames were told late, and how many not at all.
    told_late: usize,
    not_told: usize,
}

/// The renames of one member.
struct Gathering {
    client: usize,
    known_as: String,
    has_refused: bool,
    is_open: bool,
    seconds: u64,
    ends_at: u64,
}

#[test]
fn everybody_sees_what_the_model_says() {
    let seed = std::env::var("LINE_CHAT_SEED").ok();
    let seed = seed.map(|seed| seed.parse().expect("a number"));
    let is_whole = seed.is_none();
    let (mut told_late, mut not_told) = (0, 0);
    for seed in seed.map_or(SEEDS, |seed| seed..seed + 1) {
        println!("LINE_CHAT_SEED={seed}");
        let mut world = World {
            rig: room_with(|config| config.interactive.history_lines = Some(0)),
            chance: Rng::with_seed(seed),
            clients: Vec::new(),
            departed: Vec::new(),
            gatherings: BTreeMap::new(),
            fresh: Vec::new(),
            now: 0,
            joined: 0,
            told_late: 0,
            not_told: 0,
        };
        let mut most_members = 0;
        for _ in 0..TURNS {
            world.step();
            let members = world.clients.iter().filter(|it| it.nick.is_some());
            most_members = most_members.max(members.count());
        }
        assert!(most_members > 2);
        told_late += world.told_late;
        not_told += world.not_told;
    }
    if is_whole {
        assert!(told_late > 0 && not_told > 0, "{told_late}, {not_told}");
    }
}

fn key(name: &str) -> String {
    name.to_lowercase()
}

/// Whether two of the names are alike: an accent counts for nothing.
fn is_alike(one: &str, other: &str) -> bool {
    let look = |name: &str| key(name).replace('ë', "e");
    look(one) == look(other)
}

fn is_taken(name: &str, owner: &str) -> String {
    match name.eq_ignore_ascii_case(owner) {
        true => format!("* nick \"{name}\" is taken"),
        false => format!("* nick \"{name}\" looks like \"{owner}\", which is taken"),
    }
}

impl World {
    fn step(&mut self) {
        if self.clients.iter().filter(|it| it.is_open).count() < 6 {
            self.connect();
        }
        // Sparse speakers are read first, and then clients on their way in.
        let (newcomers, members): (Vec<usize>, Vec<usize>) =
            (0..self.clients.len()).partition(|&number| self.clients[number].nick.is_none());
        for number in members.into_iter().chain(newcomers) {
            if self.clients[number].is_open && self.chance.u8(..3) > 0 {
                self.act(number);
            }
        }
        self.tell_fresh();
        self.rig.settle();
        // So that no second has more than fifty who come and go.
        self.rig.advance(SECOND);
        self.now += 1;
        self.end_gatherings();
        for (number, client) in self.clients.iter_mut().enumerate() {
            let expected = std::mem::take(&mut client.expected);
            assert_eq!(
                unbroken(&client.wire),
                expected,
                "client {number}, {:?}",
                client.nick
            );
            assert_eq!(client.wire.is_freed(), !client.is_open, "client {number}");
        }
    }

    fn connect(&mut self) {
        let is_person = self.chance.u8(..4) > 0;
        let wire = match is_person {
            true => self.rig.connect(),
            false => self.rig.connect_plainly(),
        };
        let greeting = "* this is a chat room: what you type goes to everybody in it, line by line\r\n* what is your nick?\r\n";
        self.clients.push(Client {
            wire,
            is_person,
            nick: None,
            place: 0,
            is_open: true,
            ignored: Vec::new(),
            told_by: None,
            expected: if is_person { greeting } else { "" }.to_owned(),
            refusals: 0,
        });
    }

    /// Sends a few lines at once, and knows what comes of them.
    fn act(&mut self, number: usize) {
        for more in (0..self.chance.usize(1..4)).rev() {
            let line = match self.clients[number].nick {
                None => self.chance.choice(NAMES).expect("names").to_owned(),
                Some(_) => self.line(),
            };
            self.clients[number].wire.say(&line);
            if self.clients[number].is_open {
                let refusals = self.clients[number].refusals;
                self.hear(number, &line);
                if self.clients[number].refusals > refusals && more > 0 {
                    self.speak_too_soon(number);
                }
            }
        }
        if self.clients[number].is_open && self.chance.u8(..20) == 0 {
            self.clients[number].wire.hang_up();
            self.leave(number, "left");
        }
    }

    /// A script whose nick was refused and that has sent more.
    fn speak_too_soon(&mut self, number: usize) {
        let client = &self.clients[number];
        if client.is_open && !client.is_person {
            let told = "* you sent more without waiting for that answer, goodbye";
            self.show(number, told);
            self.clients[number].is_open = false;
        }
    }

    fn line(&mut self) -> String {
        let name = self.chance.choice(NAMES).expect("names");
        let name: String = name.chars().take(self.chance.usize(2..=3)).collect();
        match self.chance.u8(..20) {
            0..6 => format!("line {}", self.chance.u8(..)),
            6 | 7 => "/me waves".to_owned(),
            8 | 9 => format!("/msg {name} psst"),
            10 | 11 => "/reply psst".to_owned(),
            12 | 13 => format!("/ignore {name}"),
            14 => format!("/unignore {name}"),
            15 | 16 => format!("/nick {}", self.chance.choice(NAMES).expect("names")),
            17 => "//who".to_owned(),
            18 => "/last".to_owned(),
            _ => "/quit bye".to_owned(),
        }
    }

    fn hear(&mut self, number: usize, line: &str) {
        if self.clients[number].nick.is_none() {
            return self.ask_for(number, line);
        }
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !self.clients[number].is_person || !line.starts_with('/') {
            return self.say(number, line);
        }
        if self.fresh.iter().any(|&it| it != number) {
            self.tell_fresh();
        }
        match command {
            "/me" => self.wave(number),
            "/msg" => {
                let name = rest.split(' ').next().expect("a name");
                if let Some(other) = self.meant(number, name) {
                    self.tell(number, other);
                }
            }
            "/reply" => self.reply(number),
            "/ignore" => self.ignore(number, rest),
            "/unignore" => self.unignore(number, rest),
            "/nick" => self.rename(number, rest),
            "//who" => self.say(number, "/who"),
            "/last" => self.show(number, "* there is nothing to show"),
            _ => {
                self.show(number, "* goodbye");
                self.leave(number, "left: bye");
            }
        }
    }

    fn show(&mut self, number: usize, line: &str) {
        if self.fresh.iter().any(|&it| it != number) {
            self.tell_fresh();
        }
        self.clients[number].expected += line;
        self.clients[number].expected += "\r\n";
    }

    fn nick(&self, number: usize) -> String {
        self.clients[number].nick.clone().expect("a member")
    }

    /// The other members.
    fn others(&self, number: usize) -> Vec<usize> {
        let others = (0..self.clients.len()).filter(|&other| other != number);
        others
            .filter(|&other| self.clients[other].nick.is_some())
            .collect()
    }

    fn ignores(&self, listener: usize, speaker: usize) -> bool {
        let name = self.nick(speaker);
        let mut ignored = self.clients[listener].ignored.iter();
        let is_person = self.clients[speaker].is_person;
        ignored.any(|it| is_alike(&it.nick, &name) || (is_person && it.client == speaker))
    }

    fn owner(&self, name: &str) -> Option<usize> {
        let mut clients = self.clients.iter();
        clients.position(|it| {
            let nick = it.nick.as_ref();
            nick.is_some_and(|nick| is_alike(nick, name))
        })
    }

    fn tell_people(&mut self, number: usize, line: &str) {
        for other in self.others(number) {
            if self.clients[other].is_person {
                self.show(other, line);
            }
        }
    }

    fn tell_those_who_do_not_ignore(&mut self, number: usize, line: &str) {
        for other in self.others(number) {
            if self.clients[other].is_person && !self.ignores(other, number) {
                self.show(other, line);
            }
        }
    }

    fn tell_those_who_ignore(&mut self, number: usize, line: &str) {
        for other in self.others(number) {
            if self.clients[other].is_person && self.ignores(other, number) {
                self.show(other, line);
            }
        }
    }

    fn ask_for(&mut self, number: usize, name: &str) {
        if let Some(owner) = self.owner(name) {
            self.clients[number].refusals += 1;
            let most = if self.clients[number].is_person {
                10
            } else {
                3
            };
            let last = self.clients[number].refusals == most;
            let what = match last {
                true => ", and that was the last try, goodbye".to_owned(),
                false if self.clients[number].is_person => format!("; {name}2 is free"),
                false => ", choose another".to_owned(),
            };
            let taken = is_taken(name, &self.nick(owner));
            self.show(number, &format!("{taken}{what}"));
            self.clients[number].is_open = !last;
            return;
        }
        self.tell_fresh();
        let mut others: Vec<String> = self
            .others(number)
            .into_iter()
            .map(|it| self.nick(it))
            .collect();
        others.sort_by_key(|nick| key(nick));
        let others = match others.len() {
            0 => "nobody else is here yet".to_owned(),
            1 => format!("1 other here: {}", others[0]),
            n => format!("{n} others here: {}", others.join(", ")),
        };
        self.clients[number].nick = Some(name.to_owned());
        self.joined += 1;
        self.clients[number].place = self.joined;
        self.tell_people(number, &format!("* {name} joined"));
        if self.clients[number].is_person {
            self.show(
                number,
                &format!("* welcome, {name}. /help lists the commands. {others}"),
            );
        }
    }

    fn leave(&mut self, number: usize, how: &str) {
        self.clients[number].is_open = false;
        let Some(nick) = self.clients[number].nick.clone() else {
            return;
        };
        let line = format!("* {nick} {how}");
        self.tell_fresh();
        self.tell_gathered(number);
        self.gatherings.remove(&self.clients[number].place);
        if how == "left" {
            self.tell_people(number, &line);
        } else {
            self.tell_those_who_do_not_ignore(number, &line);
            self.tell_those_who_ignore(number, &format!("* {nick} left"));
        }
        self.give_up(number, &nick);
        self.clients[number].nick = None;
    }

    fn give_up(&mut self, number: usize, name: &str) {
        self.departed.push((key(name), number));
    }

    fn say(&mut self, number: usize, text: &str) {
        self.tell_fresh();
        let line = format!("{}: {text}", self.nick(number));
        for other in self.others(number) {
            if !self.ignores(other, number) {
                self.show(other, &line);
            }
        }
    }

    fn wave(&mut self, number: usize) {
        self.tell_fresh();
        let nick = self.nick(number);
        for other in self.others(number) {
            match self.clients[other].is_person {
                true if self.ignores(other, number) => {}
                true => self.show(other, &format!("** {nick} waves")),
                false => self.show(other, &format!("{nick}: /me waves")),
            }
        }
    }

    fn meant(&mut self, number: usize, name: &str) -> Option<usize> {
        let found = self.find(number, name);
        match found[..] {
            [] => self.show(
                number,
                &format!("* nobody here is called \"{name}\"; /who lists who is here"),
            ),
            [other] if self.has_left(name, other, is_alike) => {
                let other = self.nick(other);
                let line = format!("* {name} has left; if you mean {other}, type more of it");
                self.show(number, &line);
            }
            [other] if self.has_left(name, other, |it, name| it.starts_with(&key(name))) => {
                let other = self.nick(other);
                let line = format!(
                    "* \"{name}\" may be somebody who has left; if you mean {other}, type it all"
                );
                self.show(number, &line);
            }
            [one] if one == number => self.show(number, "* that is you: name somebody else"),
            [one] => return Some(one),
            [ref others @ .., last] => {
                let others: Vec<String> = others.iter().map(|&it| self.nick(it)).collect();
                let (others, last) = (others.join(", "), self.nick(last));
                self.show(
                    number,
                    &format!("* \"{name}\" may be {others} or {last}: type more of the name"),
                );
            }
        }
        None
    }

    /// Who has that name, or else all whose names begin so, by name.
    fn find(&self, number: usize, name: &str) -> Vec<usize> {
        if let Some(owner) = self.owner(name) {
            return vec![owner];
        }
        let members = (0..self.clients.len()).filter(|&it| self.clients[it].nick.is_some());
        let mut found: Vec<usize> = members
            .filter(|&it| key(&self.nick(it)).starts_with(&key(name)))
            .collect();
        if found.len() > 1 {
            // Nobody means itself.
            found.retain(|&it| it != number);
        }
        found.sort_by_key(|&it| key(&self.nick(it)));
        found
    }

    /// Whether somebody else than this one had such a name, and what was typed is not its whole name.
    fn has_left(&self, name: &str, owner: usize, is_such: impl Fn(&str, &str) -> bool) -> bool {
        let mut departed = self.departed.iter();
        key(&self.nick(owner)) != key(name)
            && departed.any(|(it, holder)| is_such(it, name) && *holder != owner)
    }

    fn tell(&mut self, number: usize, other: usize) {
        let (nick, other_nick) = (self.nick(number), self.nick(other));
        if !self.clients[other].is_person {
            let refused = "is a script: it cannot be told anything in private";
            return self.show(number, &format!("* {other_nick} {refused}"));
        }
        self.show(number, &format!("* you tell {other_nick}: psst"));
        if !self.ignores(other, number) {
            self.show(other, &format!("* {nick} tells you: psst"));
            self.clients[other].told_by = Some((number, nick));
        }
    }

    fn reply(&mut self, number: usize) {
        match self.clients[number].told_by.clone() {
            None => self.show(
                number,
                "* nobody has told you anything yet: write /msg NAME TEXT",
            ),
            Some((other, nick)) if self.clients[other].nick.is_none() => {
                let left = format!("* {nick}, who told you something last, has left");
                self.show(number, &left);
            }
            Some((other, _)) => self.tell(number, other),
        }
    }

    fn ignore(&mut self, number: usize, name: &str) {
        let Some(client) = self.meant(number, name) else {
            return;
        };
        let nick = self.nick(client);
        if !self.ignores(number, client) {
            let nick = nick.clone();
            self.clients[number].ignored.push(Ignored { nick, client });
        }
        self.show(
            number,
            &format!("* ignoring {nick}; /unignore {nick} undoes it"),
        );
    }

    fn unignore(&mut self, number: usize, name: &str) {
        let whom = match self.find(number, name)[..] {
            [one]
                if !self.has_left(name, one, is_alike)
                    && !self.has_left(name, one, |it, name| it.starts_with(&key(name))) =>
            {
                Some(one)
            }
            _ => None,
        };
        let whom_nick = whom.map(|it| self.nick(it));
        let person = whom.filter(|&it| self.clients[it].is_person);
        let ignored = &mut self.clients[number].ignored;
        let place = ignored.iter().position(|it| is_alike(&it.nick, name));
        let is_whom = |it: &Ignored| {
            let nick = whom_nick.as_ref();
            nick.is_some_and(|nick| is_alike(&it.nick, nick)) || Some(it.client) == person
        };
        let place = place.or_else(|| ignored.iter().position(is_whom));
        match place {
            Some(place) => {
                let Ignored { nick, client } = ignored.remove(place);
                let now = self.clients[client].nick.clone();
                let now = now.filter(|now| self.clients[client].is_person && *now != nick);
                let now = now.map_or_else(String::new, |now| format!(" (who is {now} now)"));
                self.show(number, &format!("* you no longer ignore {nick}{now}"));
            }
            None => self.show(
                number,
                &format!("* you do not ignore \"{name}\"; /ignore lists whom you do"),
            ),
        }
    }

    fn rename(&mut self, number: usize, name: &str) {
        let now = self.now;
        if let Some(gathering) = self.gatherings.get_mut(&self.clients[number].place)
            && gathering.seconds >= 4
            && !gathering.is_open
        {
            gathering.has_refused = true;
            let wait = gathering.ends_at - now;
            let often = format!("* you change your nick too often, try again in {wait} s");
            return self.show(number, &often);
        }
        if let Some(owner) = self.owner(name).filter(|&owner| owner != number) {
            let taken = is_taken(name, &self.nick(owner));
            return self.show(number, &format!("{taken}; {name}2 is free"));
        }
        let old = self.nick(number);
        self.clients[number].nick = Some(name.to_owned());
        if old == name {
            return self.show(number, &format!("* you are now {name}"));
        }
        if key(&old) != key(name) {
            self.give_up(number, &old);
        }
        self.show(number, &format!("* you are now {name}"));
        let place = self.clients[number].place;
        let seconds = match self.gatherings.get(&place) {
            None => 1,
            Some(gathering) if gathering.is_open => (2 * gathering.seconds).min(10),
            Some(_) => return,
        };
        self.fresh.push(number);
        let gathering = Gathering {
            client: number,
            known_as: old,
            has_refused: false,
            is_open: false,
            seconds,
            ends_at: self.now + seconds,
        };
        self.gatherings.insert(place, gathering);
    }

    fn tell_fresh(&mut self) {
        for number in std::mem::take(&mut self.fresh) {
            self.not_told += usize::from(!self.tell_gathered(number));
        }
    }

    /// Tells the others a name that they do not know. Returns whether there is one.
    fn tell_gathered(&mut self, number: usize) -> bool {
        let nick = self.nick(number);
        let Some(gathering) = self.gatherings.get_mut(&self.clients[number].place) else {
            return false;
        };
        let known_as = std::mem::replace(&mut gathering.known_as, nick.clone());
        if known_as == nick {
            return false;
        }
        let line = format!("* {known_as} changes nick to {nick}");
        self.tell_those_who_do_not_ignore(number, &line);
        true
    }

    fn end_gatherings(&mut self) {
        let ended = self.gatherings.iter();
        let ended = ended.filter(|(_, it)| it.ends_at <= self.now);
        let ended: Vec<(usize, usize)> = ended.map(|(&place, it)| (place, it.client)).collect();
        for (place, number) in ended {
            let is_told = self.tell_gathered(number);
            let Some(gathering) = self.gatherings.get_mut(&place) else {
                continue;
            };
            if !is_told && gathering.has_refused {
                // The next one is told at once.
                (gathering.has_refused, gathering.is_open) = (false, true);
                gathering.ends_at = self.now + gathering.seconds;
            } else if !is_told {
                self.gatherings.remove(&place);
            } else {
                self.told_late += 1;
                gathering.has_refused = false;
                gathering.seconds = (2 * gathering.seconds).min(10);
                gathering.ends_at = self.now + gathering.seconds;
            }
        }
    }
}
