//! The members by number, without gaps, and in the order of their names: [`Members`] finds a member in
//! each of these ways. Names are unique by their key, and a member can be found by a prefix of its
//! name, so they are kept sorted. The sorted list holds numbers, so each name is stored once. Where a
//! name is only compared, and its member may have left, its hash is stored instead.
//!
//! No two members have names that are [alike](crate::text::alike). As long as all names are ASCII,
//! comparing their keys is enough. An ASCII name is also compared with the non-ASCII ones, which are
//! found by their looks; a non-ASCII name also with every ASCII name, if it can look like one.
//!
//! What a delivery touches of a member is its [`Seat`]. Seats stand side by side, so a pass over all
//! readers walks through memory in order.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::broadcast::batch::{Cursor, Kind, Segment, Speaker};
use crate::broadcast::personal::Before;
use crate::client_id::ClientId;
use crate::peer::{Origin, Peer};
use crate::protocol::message::Mark;
use crate::room::MAX_NAMED;
use crate::room::claims::Gone;
use crate::room::elsewhere::{Elsewhere, Place};
use crate::room::given_up::{Doubt, GivenUp, GivenUpNames, Guess};
use crate::room::ignore_list::IgnoreList;
use crate::room::renames::Renamed;
use crate::room::settings::{Bell, Settings, is_named};
use crate::text;
use crate::text::alike::{Identity, NameHash, NameHasher, is_alike, is_short, key};
use crate::text::nick::{Nick, NickError};
use crate::time::moment::Moment;

/// What the delivery of a line touches of a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) id: ClientId,
    /// This member cannot be sent the segment that is shared by all readers, even of a batch that is
    /// for everyone: it has spoken in this batch, it ignores another member, or it is special.
    pub(super) is_filtered: bool,
    /// This member gets other bytes than all others, or fewer lines: its lines end with LF, or it has [a look
    /// of its own](Person::has_own_look).
    pub(super) is_special: bool,
    /// What it has been given.
    pub(super) cursor: Cursor,
}

/// A nick that is not available, and the member that it is like.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) nick: Nick,
    pub(super) owner: Nick,
    pub(super) holder: Option<ClientId>,
}

impl From<Taken> for NickError {
    fn from(taken: Taken) -> Self {
        let Taken { nick, owner, .. } = taken;
        Self::Taken {
            nick,
            owner,
            free: None,
        }
    }
}

/// A client that has a nick.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) nick: Nick,
    pub(super) name: NameHash,
    /// What the room knows of a member at a prompt; `None` for a plain member.
    pub(super) person: Option<Box<Person>>,
    /// Its lines end with LF alone.
    pub(super) ends_lines_with_lf: bool,
    /// It can talk while the room is moderated.
    pub(super) has_voice: bool,
    /// Where its seat is.
    seat: u32,
    /// Its nick is written from right to left.
    pub(super) is_right_to_left: bool,
}

/// What a member at a prompt has asked for.
#[derive(Debug)]
pub(super) struct Person {
    /// No two people have the same, ever, and nobody has 0.
    serial: u64,
    /// The other end of its connection.
    pub(super) from: Peer,
    /// Since when it is a member.
    pub(super) since: Moment,
    /// Whose lines are not shown to this one.
    pub(super) ignored: IgnoreList,
    /// What it has set; `None` if that is nothing.
    pub(super) settings: Option<Box<Settings>>,
    /// The member that last told this one something in private.
    pub(super) told_by: Option<Partner>,
    pub(super) is_operator: bool,
    /// Its window is too narrow for notices that fit most terminals.
    is_narrow: bool,
}

impl<'a> TypedName<'a> {
    /// As it was typed.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }
}

/// A person who may have left, and whose number may be another's by now.
#[derive(Debug, Clone)]
pub(super) struct Partner {
    pub(super) id: ClientId,
    pub(super) serial: u64,
    /// Its name then.
    pub(super) nick: Box<str>,
}

/// Why a name means nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotFound {
    Nobody,
    /// Several names begin with it, or are like it.
    Several(Candidates),
    /// Somebody else has given up that name, and there is a member whose name begins with it or is like
    /// it. That one may not be meant.
    HasLeft(ClientId),
    /// Somebody else has given up a name that begins so, as this member's name does.
    MayHaveLeft(ClientId),
}

/// The members that a name may mean: some of them, in the order of their names, and how many there are
/// in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidates {
    pub(super) some: Vec<ClientId>,
    pub(super) count: usize,
}

/// A name that somebody typed. Its key is made once, because that takes long.
#[derive(Debug)]
pub(super) struct TypedName<'a> {
    text: &'a str,
    key: String,
    /// Made when it is needed: an exact name needs none.
    hash: Option<NameHash>,
}

impl Member {
    /// A member without a seat.
    pub(super) fn new(nick: Nick, name: NameHash, person: Option<Box<Person>>) -> Self {
        Self {
            is_right_to_left: !name.is_ascii() && text::is_right_to_left(nick.as_str()),
            nick,
            name,
            person,
            ends_lines_with_lf: false,
            has_voice: false,
            seat: u32::MAX,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            name: self.name,
            serial: self.serial(),
        }
    }

    /// It has another name.
    pub(super) fn renamed(&self, id: ClientId) -> Renamed {
        let serial = self.serial();
        Renamed { id, serial }
    }

    pub(super) fn serial(&self) -> u64 {
        self.person.as_ref().map_or(0, |person| person.serial)
    }

    pub(super) fn speaker(&self, id: ClientId) -> Speaker {
        Speaker {
            id,
            identity: self.identity(),
        }
    }

    fn is_stamped(&self) -> bool {
        let settings = self.person.as_ref().and_then(|it| it.settings.as_ref());
        settings.is_some_and(|settings| settings.stamp.is_some())
    }

    fn mark(&self) -> Mark {
        let person = self.person.as_deref();
        Mark {
            is_operator: person.is_some_and(|person| person.is_operator),
            is_away: person.is_some_and(|person| person.away().is_some()),
        }
    }

    fn ignores_somebody(&self) -> bool {
        let person = self.person.as_ref();
        person.is_some_and(|person| !person.ignored.is_empty())
    }

    fn is_special(&self) -> bool {
        let has_own_look = self.person.as_ref().is_some_and(|it| it.has_own_look());
        self.ends_lines_with_lf || has_own_look
    }

    /// Whether it does not want to know who comes and goes.
    fn is_quiet(&self) -> bool {
        self.person.as_ref().is_some_and(|it| it.is_quiet())
    }

    /// What stands before a line of the room for it.
    pub(super) fn before(&self, line: &[u8], kind: Kind, minute: i64) -> Before {
        let Some(settings) = self.person.as_ref().and_then(|it| it.settings.as_deref()) else {
            return Before::default();
        };
        let is_said = matches!(kind, Kind::Line | Kind::Action);
        let is_named = || is_named(self.nick.as_str(), line);
        settings.before(settings.bell == Bell::Name && is_said && is_named(), minute)
    }

    /// Whether these lines are not for this member, if it is not special.
    pub(super) fn is_hidden(&self, id: ClientId, segment: &Segment) -> bool {
        if segment.speaker.id == id {
            return true;
        }
        let Some(person) = &self.person else {
            return !matches!(
                segment.kind,
                Kind::Line | Kind::PlainAction | Kind::Announcement | Kind::AnnouncementToScripts
            );
        };
        match segment.kind {
            Kind::Notice | Kind::Presence => false,
            Kind::Announcement | Kind::AnnouncementToPeople => false,
            Kind::Line | Kind::Action | Kind::LastWords | Kind::Rename => {
                person.ignores(segment.speaker.identity)
            }
            Kind::WordlessLeave => !person.ignores(segment.speaker.identity),
            Kind::PlainAction | Kind::AnnouncementToScripts => true,
        }
    }

    /// Returns which lines are not for this member, special or not.
    pub(super) fn hider(&self, id: ClientId) -> impl Fn(&Segment) -> bool {
        let is_quiet = self.is_quiet();
        move |segment| (is_quiet && segment.kind.is_presence()) || self.is_hidden(id, segment)
    }
}

impl Person {
    pub(super) fn new(serial: u64, from: Peer, since: Moment) -> Self {
        Self {
            serial,
            from,
            since,
            ignored: IgnoreList::default(),
            settings: None,
            told_by: None,
            is_operator: false,
            is_narrow: false,
        }
    }

    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.settings.as_ref().is_some_and(|it| it.is_quiet)
    }

    /// Whether it sees what is said in another form than all others, or less of it.
    fn has_own_look(&self) -> bool {
        self.is_narrow || self.settings.as_ref().is_some_and(|it| it.has_own_look())
    }

    /// Why it is away, if it is.
    pub(super) fn away(&self) -> Option<&str> {
        self.settings.as_ref()?.away.as_deref()
    }

    /// Changes what it has set.
    pub(super) fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings.take().unwrap_or_default();
        change(&mut settings);
        self.settings = Some(settings).filter(|it| **it != Settings::default());
    }

    /// Whether it sees nothing of what this one says.
    #[inline]
    pub(super) fn ignores(&self, other: Identity) -> bool {
        !self.ignored.is_empty() && self.ignored.holds(other)
    }
}

/// The most bytes of names on one line.
const MAX_NAMED_BYTES: usize = 4096;

/// The members.
#[derive(Debug)]
pub(crate) struct Members {
    /// No name is longer.
    max_nick_chars: usize,
    /// Each member under its client's number; `None` for a client that is no member.
    by_id: Vec<Option<Member>>,
    /// The seats of all members, in no particular order.
    seats: Vec<Seat>,
    /// Those who are connected to other servers of the room. They have no seats.
    elsewhere: Elsewhere,
    /// The members in the order of their keys, those of other servers included. Four bytes are enough for a number.
    by_name: Vec<u32>,
    /// Both looks of each member whose name is not ASCII, with the number of the member.
    by_look: BTreeSet<(u32, u32)>,
    hasher: NameHasher,
    /// Whether the hashes of the members' names include looks.
    knows_looks: bool,
    /// How many of them are people at a prompt.
    persons: usize,
    /// The number of readers whose lines end with LF alone.
    with_lf: usize,
    /// The number of people who see the time before each line.
    stamped: usize,
    /// The serial number of the last person.
    last_serial: u64,
    given_up: GivenUpNames,
    /// There are or may be people, who know names that are given up.
    remembers: bool,
}

impl Members {
    pub(super) fn new(max_nick_chars: usize) -> Self {
        Self {
            max_nick_chars,
            by_id: Vec::new(),
            seats: Vec::new(),
            elsewhere: Elsewhere::default(),
            by_name: Vec::new(),
            by_look: BTreeSet::new(),
            hasher: NameHasher::default(),
            knows_looks: false,
            persons: 0,
            with_lf: 0,
            stamped: 0,
            last_serial: 0,
            given_up: GivenUpNames::default(),
            remembers: false,
        }
    }

    /// Remembers names that are given up also while nobody is at a prompt: who comes back may still mean
    /// them. Looks are in all hashes from the beginning, because those of lines that are kept cannot be added
    /// later, and people ask for the lines of who looks like this.
    pub(super) fn expect_people(&mut self) {
        self.remembers = true;
        self.know_looks();
    }

    /// Adds a member that has been sent everything up to `cursor`. `name` is the hash of its nick.
    /// Returns the other member if the nick is like that of one.
    pub(super) fn add(
        &mut self,
        id: ClientId,
        nick: Nick,
        name: NameHash,
        person_from: Option<Peer>,
        (cursor, now): (Cursor, Moment),
    ) -> Result<(), Taken> {
        let is_person = person_from.is_some();
        let serial = self.insert_name(id, &nick, name, is_person)?;
        self.persons = self.persons.saturating_add(usize::from(is_person));
        let person = person_from.map(|from| Box::new(Person::new(serial, from, now)));
        let member = Member {
            seat: number(self.seats.len()),
            ..Member::new(nick, name, person)
        };
        self.seats.push(Seat {
            id,
            is_filtered: false,
            is_special: false,
            cursor,
        });
        if self.by_id.len() <= id.index() {
            self.by_id
                .resize_with(id.index().saturating_add(1), || None);
        }
        if let Some(slot) = self.by_id.get_mut(id.index()) {
            *slot = Some(member);
        }
        Ok(())
    }

    /// Notes that a member has this name. Returns the serial number that it has if it is a person, or the other
    /// member if the nick is like that of one.
    fn insert_name(
        &mut self,
        id: ClientId,
        nick: &Nick,
        name: NameHash,
        is_person: bool,
    ) -> Result<u64, Taken> {
        let rank = match self.rank(nick.key()) {
            Ok(rank) => return Err(self.taken(nick.clone(), self.id_at(rank))),
            Err(rank) => rank,
        };
        if let Some(owner) = self.looking_like(nick, name, id) {
            return Err(self.taken(nick.clone(), Some(owner)));
        }
        self.by_name.insert(rank, number(id.index()));
        self.insert_looks(id, name);
        self.remembers |= is_person;
        self.last_serial = self.last_serial.wrapping_add(u64::from(is_person));
        Ok(self.last_serial)
    }

    /// Adds a member of another server. Returns the other member if the nick is like that of one, and `None` if
    /// there is no number left.
    pub(super) fn add_elsewhere(
        &mut self,
        place: Place,
        nick: Nick,
        name: NameHash,
        is_person: bool,
        now: Moment,
    ) -> Result<Option<ClientId>, Taken> {
        let Some(id) = self.elsewhere.next_id() else {
            return Ok(None);
        };
        let serial = self.insert_name(id, &nick, name, is_person)?;
        let person = is_person.then(|| Box::new(Person::new(serial, Peer::ELSEWHERE, now)));
        let member = Member::new(nick, name, person);
        self.elsewhere.add(id, place, member);
        Ok(Some(id))
    }

    /// Removes a member of another server. `None` if there is none of this number. `is_news`: people here may have
    /// known it.
    pub(super) fn remove_elsewhere(
        &mut self,
        id: ClientId,
        is_news: bool,
        now: Moment,
    ) -> Option<Member> {
        if let Some(Ok(rank)) = self.get(id).map(|member| self.rank(member.nick.key())) {
            self.by_name.remove(rank);
        }
        let member = self.elsewhere.remove(id)?;
        self.remove_looks(id, member.name);
        if is_news {
            let origin = Peer::ELSEWHERE.origin();
            self.remember(member.name, &member.nick, member.serial(), origin, now);
        }
        Some(member)
    }

    /// Those who are connected to other servers.
    pub(super) fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    pub(super) fn elsewhere_mut(&mut self) -> &mut Elsewhere {
        &mut self.elsewhere
    }

    /// How many members there are, those of other servers included.
    pub(super) fn count_everywhere(&self) -> usize {
        self.by_name.len()
    }

    /// Removes a member; its nick is free at once. `None` if it was no member.
    pub(super) fn remove(&mut self, id: ClientId, origin: Origin, now: Moment) -> Option<Member> {
        if let Some(Ok(rank)) = self.get(id).map(|member| self.rank(member.nick.key())) {
            self.by_name.remove(rank);
        }
        let member = self.by_id.get_mut(id.index())?.take()?;
        self.remove_looks(id, member.name);
        self.remember(member.name, &member.nick, member.serial(), origin, now);
        self.persons = self
            .persons
            .saturating_sub(usize::from(member.person.is_some()));
        self.with_lf = self
            .with_lf
            .saturating_sub(usize::from(member.ends_lines_with_lf));
        self.stamped = self
            .stamped
            .saturating_sub(usize::from(member.is_stamped()));
        self.seats.swap_remove(member.seat as usize);
        if let Some(moved) = self.seats.get(member.seat as usize).map(|seat| seat.id)
            && let Some(moved) = self.get_mut(moved)
        {
            moved.seat = member.seat;
        }
        Some(member)
    }

    /// Changes the nick of a member, unless another member has one that is like it. `name` is the hash
    /// of the new nick.
    pub(super) fn rename(
        &mut self,
        id: ClientId,
        nick: Nick,
        name: NameHash,
        origin: Origin,
        now: Moment,
    ) -> Result<(), Taken> {
        if let Some(owner) = self.holder(&nick, name, id) {
            return Err(self.taken(nick, Some(owner)));
        }
        if let Some(Ok(rank)) = self.get(id).map(|member| self.rank(member.nick.key())) {
            self.by_name.remove(rank);
        }
        if let Err(rank) = self.rank(nick.key()) {
            self.by_name.insert(rank, number(id.index()));
        }
        if let Some(member) = self.get_mut(id) {
            member.is_right_to_left = !name.is_ascii() && text::is_right_to_left(nick.as_str());
            let old_nick = std::mem::replace(&mut member.nick, nick);
            let (old, serial) = (std::mem::replace(&mut member.name, name), member.serial());
            self.remove_looks(id, old);
            self.insert_looks(id, name);
            if !old.is_same(name) {
                self.remember(old, &old_nick, serial, origin, now);
            }
        }
        Ok(())
    }

    fn taken(&self, nick: Nick, holder: Option<ClientId>) -> Taken {
        let owner = holder.and_then(|id| self.get(id));
        let owner = owner.map_or_else(|| nick.clone(), |owner| owner.nick.clone());
        Taken {
            nick,
            owner,
            holder,
        }
    }

    #[inline]
    fn insert_looks(&mut self, id: ClientId, name: NameHash) {
        if !name.is_ascii() {
            let entries = name.looks().map(|look| (look, number(id.index())));
            self.by_look.extend(entries);
        }
    }

    #[inline]
    fn remove_looks(&mut self, id: ClientId, name: NameHash) {
        if !name.is_ascii() {
            for look in name.looks() {
                self.by_look.remove(&(look, number(id.index())));
            }
        }
    }

    /// Returns a member other than `id` whose nick has another key but looks like this one.
    #[inline]
    fn looking_like(&self, nick: &Nick, name: NameHash, id: ClientId) -> Option<ClientId> {
        if name.is_ascii() && self.by_look.is_empty() {
            return None;
        }
        self.find_looking_like(nick, name, id)
    }

    #[cold]
    fn find_looking_like(&self, nick: &Nick, name: NameHash, id: ClientId) -> Option<ClientId> {
        // Different names have equal hashes with a small probability, so the names themselves are
        // compared.
        self.with_look_of(name).find(|&other| {
            let other = self.get(other).filter(|_| other != id);
            other.is_some_and(|it| is_alike(it.nick.as_str(), nick.as_str()))
        })
    }

    /// Returns the members whose names have another key but a look of this one; a member may be returned
    /// twice. Only a name that is not ASCII and looks like one that is takes a walk over all members.
    fn with_look_of(&self, name: NameHash) -> impl Iterator<Item = ClientId> {
        let looks = name.looks().into_iter();
        let not_ascii = looks.flat_map(|look| self.by_look.range((look, 0)..=(look, u32::MAX)));
        let not_ascii = not_ascii.map(|&(_, other)| ClientId::from_index(other as usize));
        let is_compared = !name.is_ascii() && name.has_look_of_ascii();
        let here = self.seats.iter().map(|seat| seat.id);
        let ascii = here.chain(self.elsewhere.ids());
        let ascii = ascii.filter(move |_| is_compared);
        let all = not_ascii.chain(ascii);
        all.filter(move |&id| self.get(id).is_some_and(|it| it.name.is_alike(name)))
    }

    fn remember(&mut self, name: NameHash, nick: &Nick, holder: u64, origin: Origin, now: Moment) {
        if !self.remembers {
            return;
        }
        let given_up = GivenUp {
            key: nick.key(),
            name: self.hasher.with_looks(name, nick.as_str()),
            holder,
            origin,
        };
        self.given_up.add(&given_up, now);
    }

    /// When a name that was given up is to be [forgotten](Self::forget_given_up).
    pub(super) fn next_forgotten(&self) -> Option<Moment> {
        self.given_up.next_end()
    }

    /// Forgets names that were given up, when their time is over.
    pub(super) fn forget_given_up(&mut self, now: Moment) {
        self.given_up.expire(now);
    }

    #[inline]
    pub(crate) fn get(&self, id: ClientId) -> Option<&Member> {
        match self.by_id.get(id.index()) {
            Some(member) => member.as_ref(),
            None => self.elsewhere.get(id),
        }
    }

    /// The person of this serial number, if it is still a member.
    pub(super) fn person_of(&self, serial: u64) -> Option<&Member> {
        let here = self.seats.iter().map(|seat| seat.id);
        let members = here.chain(self.elsewhere.ids());
        let members = members.filter_map(|id| self.get(id));
        members
            .filter(|it| it.serial() != 0)
            .find(|it| it.serial() == serial)
    }

    fn get_mut(&mut self, id: ClientId) -> Option<&mut Member> {
        match self.by_id.get_mut(id.index()) {
            Some(member) => member.as_mut(),
            None => self.elsewhere.get_mut(id),
        }
    }

    pub(super) fn person(&self, id: ClientId) -> Option<&Person> {
        self.get(id)?.person.as_deref()
    }

    pub(super) fn person_mut(&mut self, id: ClientId) -> Option<&mut Person> {
        self.get_mut(id)?.person.as_deref_mut()
    }

    /// How many members there are on this server.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// The people among them, with their names and where they come from, in no particular order.
    pub(super) fn people(&self) -> impl Iterator<Item = (ClientId, NameHash, Peer)> {
        self.seats.iter().filter_map(|seat| {
            let member = self.get(seat.id)?;
            let person = member.person.as_ref()?;
            Some((seat.id, member.name, person.from))
        })
    }

    /// The members that are operators, in no particular order.
    pub(super) fn operators(&self) -> impl Iterator<Item = ClientId> {
        let members = self.seats.iter().map(|seat| seat.id);
        members.filter(|&id| self.person(id).is_some_and(|person| person.is_operator))
    }

    /// How many of them are people at a prompt.
    pub(super) fn persons(&self) -> usize {
        self.persons
    }

    /// Whether there is anybody at a prompt.
    pub(super) fn has_persons(&self) -> bool {
        self.persons > 0
    }

    // Seats.

    /// All seats, and the members that sit there.
    #[inline]
    pub(super) fn seats(&mut self) -> (&mut [Seat], &[Option<Member>]) {
        (&mut self.seats, &self.by_id)
    }

    /// A member and its seat.
    #[inline]
    pub(super) fn seat_mut(&mut self, id: ClientId) -> Option<(&Member, &mut Seat)> {
        let member = self.by_id.get(id.index())?.as_ref()?;
        let seat = self.seats.get_mut(member.seat as usize)?;
        Some((member, seat))
    }

    /// A member has spoken in this batch, or no longer, or has changed whom it ignores.
    #[inline]
    pub(super) fn set_spoken(&mut self, id: ClientId, has_spoken: bool) {
        if let Some((member, seat)) = self.seat_mut(id) {
            seat.is_filtered = has_spoken || seat.is_special || member.ignores_somebody();
        }
    }

    /// A member has changed what it sees, perhaps while a batch waits in which it has spoken.
    fn set_special(&mut self, id: ClientId) {
        if let Some((member, seat)) = self.seat_mut(id) {
            seat.is_special = member.is_special();
            seat.is_filtered = true;
        }
    }

    /// Changes what a person has set.
    pub(super) fn set(&mut self, id: ClientId, change: impl FnOnce(&mut Settings)) {
        let before = self.get(id).is_some_and(Member::is_stamped);
        if let Some(person) = self.person_mut(id) {
            person.set(change);
        }
        let after = self.get(id).is_some_and(Member::is_stamped);
        let stamped = self.stamped.saturating_add(usize::from(after));
        self.stamped = stamped.saturating_sub(usize::from(before));
        self.set_special(id);
    }

    /// Gives a member a voice in a moderated room, or takes it back. Returns whether it has one now.
    pub(super) fn toggle_voice(&mut self, id: ClientId) -> Option<bool> {
        let member = self.get_mut(id)?;
        member.has_voice = !member.has_voice;
        Some(member.has_voice)
    }

    /// A newcomer is a person who was here before, who keeps nothing of its old connection.
    pub(super) fn restore(&mut self, id: ClientId, gone: Gone) {
        let Gone {
            mut person,
            has_voice,
            is_secret,
            ..
        } = gone;
        let Some(new) = self.get(id).and_then(|member| member.person.as_deref()) else {
            return;
        };
        (person.from, person.is_narrow) = (new.from, new.is_narrow);
        person.is_operator = false;
        if !is_secret {
            person.since = new.since;
        }
        if let Some(member) = self.get_mut(id) {
            member.person = Some(person);
            member.has_voice = has_voice;
        }
        let is_stamped = self.get(id).is_some_and(Member::is_stamped);
        self.stamped = self.stamped.saturating_add(usize::from(is_stamped));
        self.set_special(id);
    }

    /// The window of a member is narrow, or no longer.
    pub(super) fn set_narrow(&mut self, id: ClientId, is_narrow: bool) {
        if let Some(person) = self.person_mut(id) {
            person.is_narrow = is_narrow;
            self.set_special(id);
        }
    }

    /// Whether anybody sees the time before each line.
    #[inline]
    pub(super) fn has_stamps(&self) -> bool {
        self.stamped > 0
    }

    /// Ends the lines of this member with LF alone from now on.
    pub(super) fn end_lines_with_lf(&mut self, id: ClientId) {
        if let Some(member) = self.get_mut(id)
            && !member.ends_lines_with_lf
        {
            member.ends_lines_with_lf = true;
            self.with_lf = self.with_lf.saturating_add(1);
            self.set_special(id);
        }
    }

    /// Whether a member's lines end with LF alone.
    #[inline]
    pub(super) fn has_lf(&self) -> bool {
        self.with_lf > 0
    }

    // Names.

    /// The key of what somebody typed. `None` if that is too long for a name, because making a key
    /// takes long.
    fn typed_key(&self, name: &str) -> Option<String> {
        is_short(name, self.max_nick_chars).then(|| key(name))
    }

    /// What somebody typed as a name. `None` if it cannot be one.
    pub(super) fn typed<'a>(&self, name: &'a str) -> Option<TypedName<'a>> {
        let key = self.typed_key(name).filter(|key| !key.is_empty())?;
        Some(TypedName {
            text: name,
            key,
            hash: None,
        })
    }

    /// Hashes a name that a person typed.
    pub(super) fn hash_of(&mut self, typed: &mut TypedName<'_>) -> NameHash {
        match typed.hash {
            Some(hash) => hash,
            None => *typed
                .hash
                .insert(self.hash_with_key(typed.text, &typed.key)),
        }
    }

    /// Hashes a nick that is to be remembered.
    pub(super) fn hash(&mut self, nick: &Nick) -> NameHash {
        let (name, key) = nick.with_key();
        self.hash_with_key(name, key)
    }

    fn hash_with_key(&mut self, name: &str, key: &str) -> NameHash {
        if !name.is_ascii() {
            self.know_looks();
        }
        self.hasher.hash(name, key)
    }

    /// Hashes the nick of a member. As long as all names are ASCII, and nobody is at a prompt, the hash has no
    /// looks, because they are not needed.
    pub(super) fn hash_for_member(&mut self, nick: &Nick) -> NameHash {
        let (name, key) = nick.with_key();
        if name.is_ascii() && !self.knows_looks {
            return self.hasher.hash_key(key);
        }
        self.hash(nick)
    }

    /// Adds the looks to the hashes of all names, once there is a name that is not ASCII. Stored lines
    /// of the history keep hashes without looks, which matters to nobody if there are no people.
    #[cold]
    fn know_looks(&mut self) {
        if !std::mem::replace(&mut self.knows_looks, true) {
            for member in self.by_id.iter_mut().flatten() {
                let (name, key) = member.nick.with_key();
                member.name = self.hasher.hash(name, key);
            }
        }
    }

    /// Hashes a word that no nick may be like.
    pub(super) fn hash_of_word(&self, word: &str) -> NameHash {
        self.hasher.hash(word, &key(word))
    }

    /// Hashes the nick of a member that is to be remembered.
    pub(super) fn hash_of_member(&self, member: &Member) -> NameHash {
        self.hasher.with_looks(member.name, member.nick.as_str())
    }

    /// Returns the members whose names are alike this one. They are several only if they are not alike
    /// each other.
    pub(super) fn alike(&self, name: NameHash) -> impl Iterator<Item = ClientId> {
        let ids = self.seats.iter().map(|seat| seat.id);
        ids.filter(move |&id| self.get(id).is_some_and(|it| it.name.is_alike(name)))
    }

    /// Returns the member other than `id` because of which this nick is taken; `name` is its hash.
    pub(super) fn holder(&self, nick: &Nick, name: NameHash, id: ClientId) -> Option<ClientId> {
        let same = self.find_key(nick.key()).filter(|&other| other != id);
        same.or_else(|| self.looking_like(nick, name, id))
    }

    fn find_key(&self, key: &str) -> Option<ClientId> {
        self.id_at(self.rank(key).ok()?)
    }

    fn id_at(&self, rank: usize) -> Option<ClientId> {
        let index = *self.by_name.get(rank)?;
        Some(ClientId::from_index(index as usize))
    }

    /// The member of exactly this name.
    pub(super) fn find_exact(&self, name: &str) -> Option<ClientId> {
        self.find_key(&self.typed_key(name)?)
    }

    /// Finds the member that a typed name means: the one with that name, or else the only one whose
    /// name is like it, or else the only one whose name begins with it. Where that is not its whole name,
    /// it counts only if no other name that is like it or begins so [was given up](GivenUpNames). The
    /// beginning of the asker's own name means another member, if there is one that it may mean.
    pub(super) fn find(
        &mut self,
        typed: &mut TypedName<'_>,
        asker: ClientId,
        now: Moment,
    ) -> Result<ClientId, NotFound> {
        if let Some(id) = self.find_key(&typed.key) {
            return Ok(id);
        }
        let name = self.hash_of(typed);
        let alike = self.with_this_look(name);
        let is_by_look = !alike.some.is_empty();
        let candidates = match is_by_look {
            true => alike,
            false => self.with_this_beginning(&typed.key, asker),
        };
        let first = *candidates.some.first().ok_or(NotFound::Nobody)?;
        if candidates.count > 1 {
            return Err(NotFound::Several(candidates));
        }
        let guess = Guess {
            key: &typed.key,
            name,
            holder: self.get(first).map_or(0, Member::serial),
            is_by_look,
        };
        match self.given_up.doubt(guess, now) {
            None => Ok(first),
            Some(Doubt::Name) => Err(NotFound::HasLeft(first)),
            Some(Doubt::Beginning) => Err(NotFound::MayHaveLeft(first)),
        }
    }

    fn with_this_look(&self, name: NameHash) -> Candidates {
        let mut some: Vec<ClientId> = self.with_look_of(name).collect();
        some.sort_unstable();
        some.dedup();
        let count = some.len();
        some.truncate(MAX_NAMED);
        Candidates { some, count }
    }

    fn with_this_beginning(&self, key: &str, asker: ClientId) -> Candidates {
        let beginning = self.beginning_with(key);
        let count = beginning.len();
        let is_asker_too = self
            .get(asker)
            .is_some_and(|it| count > 1 && it.nick.key().starts_with(key));
        let others = beginning.filter(|&id| !is_asker_too || id != asker);
        Candidates {
            some: others.take(MAX_NAMED).collect(),
            count: count.saturating_sub(usize::from(is_asker_too)),
        }
    }

    /// The members whose names begin with this, in the order of their names; all if it is empty.
    /// Counting them takes no walk.
    pub(super) fn beginning(&self, name: &str) -> impl ExactSizeIterator<Item = ClientId> {
        let key = self.typed_key(name);
        let ids = key.map_or(&[][..], |key| self.ranks_beginning_with(&key));
        ids.iter().map(|&id| ClientId::from_index(id as usize))
    }

    /// The members whose names begin with this key, in the order of their names.
    pub(super) fn beginning_with(&self, key: &str) -> impl ExactSizeIterator<Item = ClientId> {
        let ids = self.ranks_beginning_with(key);
        ids.iter().map(|&id| ClientId::from_index(id as usize))
    }

    fn ranks_beginning_with(&self, key: &str) -> &[u32] {
        let first = self.rank(key).unwrap_or_else(|rank| rank);
        let rest = self.by_name.get(first..).unwrap_or_default();
        let begins = |id: &u32| {
            let member = self.get(ClientId::from_index(*id as usize));
            member.is_some_and(|member| member.nick.key().starts_with(key))
        };
        let len = rest.partition_point(begins);
        rest.get(..len).unwrap_or_default()
    }

    /// The nicks of these members, as many as there is room for on one line.
    pub(super) fn named(&self, members: impl Iterator<Item = ClientId>) -> Vec<&Nick> {
        let mut bytes = 0_usize;
        let nicks = members.filter_map(|id| Some(&self.get(id)?.nick));
        let has_room = |nick: &&Nick| {
            bytes = bytes
                .saturating_add(nick.as_str().len())
                .saturating_add(", ".len());
            bytes <= MAX_NAMED_BYTES
        };
        nicks.take_while(has_room).collect()
    }

    /// At most so many of the members whose names begin with this, with what marks them, as many as there is
    /// room for on one line. Also returns how many others there are.
    pub(super) fn listed_beginning(&self, name: &str, most: usize) -> (Vec<(&Nick, Mark)>, usize) {
        let all = self.beginning(name);
        let count = all.len();
        let members: Vec<ClientId> = all.take(most).collect();
        let named = self.named(members.iter().copied());
        let marks = members.iter().filter_map(|&id| Some(self.get(id)?.mark()));
        let some: Vec<(&Nick, Mark)> = named.into_iter().zip(marks).collect();
        let more = count.saturating_sub(some.len());
        (some, more)
    }

    /// All nicks, in the order of their keys.
    pub(super) fn nicks(&self) -> impl Iterator<Item = &Nick> {
        let ids = self.by_name.iter();
        ids.filter_map(|&id| Some(&self.get(ClientId::from_index(id as usize))?.nick))
    }

    /// Where a key stands among all, or where it would.
    fn rank(&self, key: &str) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&id| {
            let member = self.get(ClientId::from_index(id as usize));
            member.map_or(Ordering::Less, |member| member.nick.cmp_key(key))
        })
    }
}

/// Four bytes are enough to number clients.
fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn client(id: usize) -> ClientId {
        ClientId::from_index(id)
    }

    fn nick(name: &str) -> Nick {
        Nick::parse(name.as_bytes(), 32).expect("a nick")
    }

    fn add(members: &mut Members, id: usize, name: &str, is_person: bool) -> Result<(), Taken> {
        let nick = nick(name);
        let hash = members.hash_for_member(&nick);
        members.add(
            client(id),
            nick,
            hash,
            is_person.then_some(Peer::Local { uid: 0, pid: 1 }),
            (Cursor::default(), start()),
        )
    }

    fn rename(members: &mut Members, id: usize, name: &str) -> Result<(), Taken> {
        let nick = nick(name);
        let hash = members.hash_for_member(&nick);
        let (origin, now) = (origin(id), start());
        members.rename(client(id), nick, hash, origin, now)
    }

    fn start() -> Moment {
        Moment::BEGINNING
    }

    /// Each client has an address of its own.
    fn origin(id: usize) -> Origin {
        Origin::User(u32::try_from(id).expect("a few"))
    }

    fn remove(members: &mut Members, id: usize) -> Option<Member> {
        members.remove(client(id), origin(id), start())
    }

    fn find(members: &mut Members, name: &str) -> Result<ClientId, NotFound> {
        find_at(members, name, start())
    }

    fn find_at(members: &mut Members, name: &str, now: Moment) -> Result<ClientId, NotFound> {
        let mut typed = members.typed(name).ok_or(NotFound::Nobody)?;
        // Nobody who asks is a member.
        members.find(&mut typed, client(1000), now)
    }

    fn several(ids: &[usize]) -> Result<ClientId, NotFound> {
        let some: Vec<ClientId> = ids.iter().map(|&id| client(id)).collect();
        let count = some.len();
        Err(NotFound::Several(Candidates { some, count }))
    }

    fn members_of(names: &[&str]) -> Members {
        let mut members = Members::new(32);
        for (id, name) in names.iter().enumerate() {
            assert_eq!(add(&mut members, id, name, false), Ok(()));
        }
        members
    }

    fn names(members: &Members, beginning: &str) -> Vec<String> {
        let ids = members.beginning(beginning);
        ids.filter_map(|id| members.get(id))
            .map(|member| member.nick.to_string())
            .collect()
    }

    #[test]
    fn members_are_listed_by_name_and_found_by_its_beginning() {
        let mut members = members_of(&["carol", "Bob", "alice", "bonnie", "Ünal"]);
        assert_eq!(
            names(&members, ""),
            ["alice", "Bob", "bonnie", "carol", "Ünal"]
        );
        assert_eq!(names(&members, "BO"), ["Bob", "bonnie"]);
        assert!(names(&members, "x").is_empty());
        assert_eq!(find(&mut members, "c"), Ok(client(0)));
        assert_eq!(find(&mut members, "bob"), Ok(client(1)));
        assert_eq!(find(&mut members, "ü"), Ok(client(4)));
        assert_eq!(find(&mut members, "bo"), several(&[1, 3]));
        assert_eq!(find(&mut members, "dave"), Err(NotFound::Nobody));
        assert_eq!(find(&mut members, ""), Err(NotFound::Nobody));
        assert_eq!(find(&mut members, "\u{200b}"), Err(NotFound::Nobody));
    }

    #[test]
    fn a_name_that_begins_another_can_be_meant() {
        let mut members = members_of(&["bob", "bobby"]);
        assert_eq!(find(&mut members, "bob"), Ok(client(0)));
        assert_eq!(find(&mut members, "bobb"), Ok(client(1)));
        assert_eq!(find(&mut members, "bo"), several(&[0, 1]));
    }

    #[test]
    fn a_nick_can_be_changed_unless_it_is_another_ones() {
        let mut members = members_of(&["alice", "bob"]);
        let taken = rename(&mut members, 1, "ALICE");
        let owner = nick("alice");
        assert_eq!(
            taken,
            Err(Taken {
                nick: nick("ALICE"),
                owner,
                holder: Some(client(0)),
            })
        );
        let old = members.get(client(1)).expect("a member").name;
        assert_eq!(rename(&mut members, 1, "BOB"), Ok(()));
        assert_eq!(members.get(client(1)).expect("a member").name, old);
        assert_eq!(rename(&mut members, 1, "aaron"), Ok(()));
        assert_eq!(names(&members, ""), ["aaron", "alice"]);
        assert_ne!(members.get(client(1)).expect("a member").name, old);
        assert_eq!(add(&mut members, 2, "bob", false), Ok(()));
    }

    #[test]
    fn who_has_left_is_not_taken_for_somebody_whose_name_begins_so() {
        let mut members = members_of(&["bob", "bobby"]);
        assert_eq!(add(&mut members, 2, "carol", true), Ok(()));
        assert!(remove(&mut members, 0).is_some());
        assert_eq!(find(&mut members, "bob"), Err(NotFound::HasLeft(client(1))));
        assert_eq!(find(&mut members, "bobby"), Ok(client(1)));
        assert_eq!(find(&mut members, "bobb"), Ok(client(1)));
        let bo = Err(NotFound::MayHaveLeft(client(1)));
        assert_eq!(find(&mut members, "bo"), bo);
        let ten_minutes = start() + Duration::from_secs(600);
        let before = ten_minutes.saturating_sub(Duration::from_nanos(1));
        assert_eq!(find_at(&mut members, "bo", before), bo);
        assert_eq!(find_at(&mut members, "bo", ten_minutes), Ok(client(1)));
        assert_eq!(find_at(&mut members, "bob", ten_minutes), Ok(client(1)));
    }

    #[test]
    fn a_name_that_its_holder_had_before_misleads_nobody() {
        let mut members = members_of(&["alice"]);
        assert_eq!(add(&mut members, 1, "bob", true), Ok(()));
        assert_eq!(rename(&mut members, 1, "bobby"), Ok(()));
        assert_eq!(rename(&mut members, 1, "bobbysox"), Ok(()));
        for typed in ["b", "bob", "bobby", "bobbys"] {
            assert_eq!(find(&mut members, typed), Ok(client(1)), "{typed}");
        }
        // Who comes back is another one.
        assert!(remove(&mut members, 1).is_some());
        assert_eq!(add(&mut members, 1, "bobbysox", true), Ok(()));
        assert_eq!(find(&mut members, "bobbysox"), Ok(client(1)));
        let may_have_left = Err(NotFound::MayHaveLeft(client(1)));
        assert_eq!(find(&mut members, "b"), may_have_left);
        assert_eq!(find(&mut members, "bob"), Err(NotFound::HasLeft(client(1))));
    }

    #[test]
    fn a_nick_that_looks_like_another_is_taken_in_either_order() {
        for (first, second) in [
            ("alice", "\u{430}lice"),
            ("\u{430}lice", "alice"),
            ("alic\u{435}", "\u{430}lice"),
            ("Zoë", "zoe"),
            ("ВЕРА", "вера"),
            ("ВЕРА", "bepa"),
        ] {
            let mut members = members_of(&["carol", first]);
            let expected = || Taken {
                nick: nick(second),
                owner: nick(first),
                holder: Some(client(1)),
            };
            assert_eq!(add(&mut members, 2, second, true), Err(expected()));
            assert_eq!(rename(&mut members, 0, second), Err(expected()));
            assert_eq!(rename(&mut members, 1, second), Ok(()), "its own");
            assert_eq!(rename(&mut members, 1, first), Ok(()));
            assert!(remove(&mut members, 1).is_some());
            assert_eq!(
                add(&mut members, 2, second, true),
                Ok(()),
                "{first} has left"
            );
            assert_eq!(members.by_look.is_empty(), second.is_ascii());
        }
    }

    #[test]
    fn nicks_that_are_not_alike_are_several() {
        members_of(&[
            "n1", "nl", "b0b", "bob", "か", "が", "вера", "bepa", "Zoë", "Zoey",
        ]);
    }

    #[test]
    fn a_member_is_found_by_what_its_name_looks_like() {
        let mut members = members_of(&["\u{430}lice", "bepa", "вера"]);
        assert_eq!(find(&mut members, "alice"), Ok(client(0)));
        assert_eq!(find(&mut members, "bepa"), Ok(client(1)));
        let several = several(&[1, 2]);
        assert_eq!(
            find(&mut members, "ВЕРА"),
            Ok(client(2)),
            "its key is the same"
        );
        assert_eq!(find(&mut members, "ВЕPА"), several);
        assert_eq!(add(&mut members, 3, "carol", true), Ok(()));
        assert!(remove(&mut members, 0).is_some());
        assert_eq!(add(&mut members, 4, "alicia", false), Ok(()));
        assert_eq!(find(&mut members, "alici"), Ok(client(4)));
        assert_eq!(add(&mut members, 5, "alice\u{2219}", false), Ok(()));
        assert_eq!(
            find(&mut members, "alice"),
            Err(NotFound::HasLeft(client(5)))
        );
    }

    #[test]
    fn names_in_ascii_have_no_looks_until_somebody_needs_them() {
        let mut members = members_of(&["alice", "bob"]);
        assert!(!members.knows_looks);
        assert_eq!(find(&mut members, "al"), Ok(client(0)));
        assert!(!members.knows_looks);
        assert_eq!(find(&mut members, "\u{430}lice"), Ok(client(0)));
        assert!(members.knows_looks);
        let mut members = members_of(&["alice", "bob"]);
        assert!(add(&mut members, 2, "\u{430}lice", false).is_err());
        let bob = members.get(client(1)).expect("a member");
        let typed = (bob.name, bob.nick.clone());
        assert_eq!(typed.0, members.hash(&typed.1));
    }

    #[test]
    fn what_is_too_long_for_a_name_is_nobodys() {
        let mut members = members_of(&["bob"]);
        let long = "\u{fdfa}".repeat(1300);
        assert_eq!(find(&mut members, &long), Err(NotFound::Nobody));
        assert_eq!(members.beginning(&long).len(), 0);
        assert!(members.typed(&long).is_none() && members.typed("").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn whoever_comes_and_goes_the_order_is_that_of_the_keys(
            steps in prop::collection::vec((0..8_usize, "[aAbBéÉeаВвlI1о]{1,2}", 0..3_u8), 0..60),
        ) {
            let mut members = Members::new(32);
            let mut model: Vec<Option<Nick>> = vec![None; 8];
            for (id, name, step) in steps {
                let nick = nick(&name);
                let is_owned = (0..8).any(|other| {
                    let held = model[other].as_ref().filter(|_| step == 0 || other != id);
                    held.is_some_and(|held| is_alike(held.as_str(), nick.as_str()))
                });
                match (step, model[id].is_some()) {
                    (0, false) => {
                        let added = add(&mut members, id, &name, true);
                        prop_assert_eq!(added.is_ok(), !is_owned);
                        if added.is_ok() {
                            model[id] = Some(nick);
                        }
                    }
                    (1, true) => {
                        let renamed = rename(&mut members, id, &name);
                        prop_assert_eq!(renamed.is_ok(), !is_owned);
                        if renamed.is_ok() {
                            model[id] = Some(nick);
                        }
                    }
                    _ => {
                        let left = remove(&mut members, id).map(|member| member.nick);
                        prop_assert_eq!(left, model[id].take());
                    }
                }
                let mut expected: Vec<&Nick> = model.iter().flatten().collect();
                expected.sort_by_key(|nick| nick.key());
                let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
                prop_assert_eq!(names(&members, ""), expected.clone());
                let mut audience: Vec<usize> = members.seats.iter().map(|seat| seat.id.index()).collect();
                audience.sort_unstable();
                let ids: Vec<usize> = (0..8).filter(|&id| model[id].is_some()).collect();
                prop_assert_eq!(audience, ids);
                prop_assert_eq!(members.has_persons(), !expected.is_empty());
            }
        }
    }
}
