//! Notices of renames: [`Renames`] gathers those of one member, so that somebody who takes one name after
//! the other does not fill everybody's screen. What is told is the name that the others were told before,
//! and the name that the member has when it is told; if that is the same one, nothing is.
//!
//! | what the member did lately | it takes another name |
//! |---|---|
//! | no rename | told at once: before anything else is said or anybody else is answered, so `/nick b` and `/nick c` in one read are one notice |
//! | was told of, less than a second ago | gathered, and told when that second is over |
//! | was gathered and told of | gathered for twice as long as before, at most ten seconds; refused from four seconds on |
//!
//! A gathering in which nothing was to be told ends, and the next rename is told at once again; if one was
//! refused in it, that begins a gathering of twice the length. What is told counts as one of the
//! [changes](crate::room::presence) that are told by name in a second, and of its origin, and is only
//! counted beyond those: so many connections, or such as come again and again, which have no gathering,
//! are limited as well. A member that leaves is told of by the name that it has, and before that by its
//! rename.
//!
//! The gatherings are as many as members have changed their names within ten seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client_id::ClientId;
use crate::peer::Origin;
use crate::text::nick::Nick;
use crate::time::moment::Moment;

/// How long the first gathering is, and every one at most.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);

/// While a gathering is as long as this, its member may not take another name: it has told the others three
/// within seconds, and nobody could type its name before it has another one.
const TOO_OFTEN: Duration = Duration::from_secs(4);

/// The members who have changed their names lately.
#[derive(Debug, Default)]
pub(super) struct Renames {
    /// By the serial number of the person.
    gatherings: BTreeMap<u64, Gathering>,
    /// Who is to be told of at once, in this order.
    fresh: Vec<Renamed>,
    /// When the first gathering ends, or earlier.
    next_end: Option<Moment>,
}

#[derive(Debug)]
struct Gathering {
    id: ClientId,
    /// Where the member is connected from, if what is told of that origin is limited.
    from: Option<Origin>,
    /// The name by which the others know the member.
    known_as: Nick,
    phase: Phase,
    length: Duration,
    ends_at: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Renames are gathered.
    Gathers,
    /// One was refused, because the gathering is long.
    Refuses,
    /// A gathering in which one was refused is over. The next rename is told at once, and begins one that
    /// is longer.
    Open,
}

impl Gathering {
    fn next_length(&self) -> Duration {
        self.length.saturating_mul(2).min(LONGEST)
    }
}

/// A member that may have another name than the others know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Renamed {
    pub(super) id: ClientId,
    pub(super) serial: u64,
}

impl Renames {
    /// A member has another name than `before`; `from` is its origin, if that is limited. Returns whether
    /// it is to be told at once, if at all.
    pub(super) fn gather(
        &mut self,
        who: Renamed,
        from: Option<Origin>,
        before: &Nick,
        now: Moment,
    ) -> bool {
        let length = match self.gatherings.get(&who.serial) {
            None => SHORTEST,
            Some(gathering) if gathering.phase == Phase::Open => gathering.next_length(),
            Some(_) => return false,
        };
        let gathering = Gathering {
            id: who.id,
            from,
            known_as: before.clone(),
            phase: Phase::Gathers,
            length,
            ends_at: now + length,
        };
        self.note_end(gathering.ends_at);
        self.gatherings.insert(who.serial, gathering);
        true
    }

    /// How long a member has to wait before it may take another name, if it has to.
    pub(super) fn wait(&mut self, serial: u64, now: Moment) -> Option<Duration> {
        let gathering = self.gatherings.get_mut(&serial)?;
        if gathering.length < TOO_OFTEN || gathering.phase == Phase::Open {
            return None;
        }
        gathering.phase = Phase::Refuses;
        Some(gathering.ends_at.saturating_since(now))
    }

    /// A member is to be told of before anything else is said.
    pub(super) fn tell_at_once(&mut self, who: Renamed) {
        self.fresh.push(who);
    }

    /// Whether nobody has changed its name lately.
    pub(super) fn is_empty(&self) -> bool {
        self.gatherings.is_empty()
    }

    /// Whether somebody is to be told of before anything else is said.
    #[inline]
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Whether that is somebody other than this member.
    #[inline]
    pub(super) fn has_fresh_for(&self, id: ClientId) -> bool {
        self.fresh.iter().any(|it| it.id != id)
    }

    /// Takes those who are to be told of before anything else is said.
    pub(super) fn take_fresh(&mut self) -> Vec<Renamed> {
        std::mem::take(&mut self.fresh)
    }

    /// The others know a member by this name now. Returns the one by which they knew it, if that was
    /// another.
    pub(super) fn set_known(&mut self, serial: u64, nick: &Nick) -> Option<Nick> {
        let gathering = self.gatherings.get_mut(&serial)?;
        let known_as = &mut gathering.known_as;
        (known_as != nick).then(|| std::mem::replace(known_as, nick.clone()))
    }

    /// Whether the others know a member by another name than this.
    pub(super) fn is_news(&self, serial: u64, nick: &Nick) -> bool {
        let gathering = self.gatherings.get(&serial);
        gathering.is_some_and(|it| it.known_as != *nick)
    }

    /// The origin of a member whose renames are gathered, if that is limited.
    pub(super) fn origin_of(&self, serial: u64) -> Option<Origin> {
        self.gatherings.get(&serial)?.from
    }

    /// When a gathering ends.
    pub(super) fn next_end(&self) -> Option<Moment> {
        self.next_end
    }

    /// Returns the members whose gatherings are over. Each of them is then to be
    /// [left alone](Self::rest), or [gathered on](Self::gather_on).
    pub(super) fn ended(&mut self, now: Moment) -> Vec<Renamed> {
        if self.next_end.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.next_end = None;
        let mut ended = Vec::new();
        for (&serial, gathering) in &self.gatherings {
            let (id, ends_at) = (gathering.id, gathering.ends_at);
            match ends_at <= now {
                true => ended.push(Renamed { id, serial }),
                false => self.next_end = Some(self.next_end.map_or(ends_at, |at| at.min(ends_at))),
            }
        }
        ended
    }

    /// Nothing was to be told: the next rename is told at once.
    pub(super) fn rest(&mut self, serial: u64, now: Moment) {
        match self.gatherings.get_mut(&serial) {
            Some(gathering) if gathering.phase == Phase::Refuses => {
                gathering.phase = Phase::Open;
                gathering.ends_at = now + gathering.length;
                let end = gathering.ends_at;
                self.note_end(end);
            }
            _ => self.forget(serial),
        }
    }

    /// Gathers on for twice as long.
    pub(super) fn gather_on(&mut self, serial: u64, now: Moment) {
        if let Some(gathering) = self.gatherings.get_mut(&serial) {
            gathering.phase = Phase::Gathers;
            gathering.length = gathering.next_length();
            gathering.ends_at = now + gathering.length;
            let end = gathering.ends_at;
            self.note_end(end);
        }
    }

    /// The member has left.
    pub(super) fn forget(&mut self, serial: u64) {
        self.gatherings.remove(&serial);
    }

    fn note_end(&mut self, end: Moment) {
        self.next_end = Some(self.next_end.map_or(end, |at| at.min(end)));
    }
}
