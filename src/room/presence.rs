//! Notices of joins, leaves and renames: [`Presence`] lets each member be named as long as they
//! are few, and counts them in one line a second when they are many. Ten thousand members that join
//! with a notice each would be fifty million lines; so each member gets fifty names and then one line
//! a second. Of one origin five are named in ten seconds, so that a client that comes and goes all the
//! time, or many that change their names, are one line each ten seconds, and do not keep the others from
//! being named.

use std::time::Duration;

use crate::peer::Origin;
use crate::time::buckets::Buckets;
use crate::time::moment::Moment;
use crate::time::rate_limit::Rate;

/// How many joins, leaves and renames of one origin are told by name at once, and the time in which one
/// more is.
const NAMED_PER_ORIGIN: u32 = 5;
const NAMED_PER_ORIGIN_AND_SECOND: f64 = 0.5;

/// When what one origin does too often is told.
const OFTEN_WINDOW: Duration = Duration::from_secs(10);

/// How many joins, leaves and renames are told by name in a second.
const NAMED_PER_SECOND: u32 = 50;

const WINDOW: Duration = Duration::from_secs(1);

/// Joins, leaves and renames of the current second.
#[derive(Debug)]
pub(super) struct Presence {
    /// When the current second began.
    window_since: Option<Moment>,
    /// How many there were in it.
    changes: u32,
    /// The second before had too many, so all of this one are counted.
    is_crowded: bool,
    counted: Counted,
    /// When they are to be told, if there are any.
    due: Option<Moment>,
    rate_of_origin: Rate,
    by_origin: Buckets<Origin>,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            window_since: None,
            changes: 0,
            is_crowded: false,
            counted: Counted::default(),
            due: None,
            rate_of_origin: Rate::new(NAMED_PER_ORIGIN_AND_SECOND, NAMED_PER_ORIGIN),
            by_origin: Buckets::default(),
        }
    }
}

/// Members that were not named.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) joined: u32,
    pub(super) left: u32,
    pub(super) renamed: u32,
}

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Joined,
    Left,
    Renamed,
}

impl Presence {
    /// A member joins, leaves or takes another name; `from` is its origin, if that is limited. Returns
    /// whether it is named; otherwise it is counted.
    pub(super) fn is_named(&mut self, change: Change, from: Option<Origin>, now: Moment) -> bool {
        if from.is_some_and(|origin| self.is_too_often(origin, now)) {
            self.count(change, now + OFTEN_WINDOW);
            return false;
        }
        let is_named = self.has_room(now);
        self.changes = self.changes.saturating_add(1);
        if !is_named {
            let since = self.window_since.unwrap_or(now);
            self.count(change, since + WINDOW);
        }
        is_named
    }

    /// Whether an origin has done too much to be named once more.
    fn is_too_often(&mut self, origin: Origin, now: Moment) -> bool {
        let named = self.by_origin.get(&origin);
        let is_too_often = self.rate_of_origin.next_at(&named, now).is_some();
        if !is_too_often {
            let named = self.by_origin.bucket(origin, now);
            self.rate_of_origin.count(named, now);
        }
        is_too_often
    }

    fn count(&mut self, change: Change, due: Moment) {
        let count = match change {
            Change::Joined => &mut self.counted.joined,
            Change::Left => &mut self.counted.left,
            Change::Renamed => &mut self.counted.renamed,
        };
        *count = count.saturating_add(1);
        self.due = self.due.into_iter().chain([due]).min();
    }

    /// Whether one more would be named.
    pub(super) fn has_room(&mut self, now: Moment) -> bool {
        let since = *self.window_since.get_or_insert(now);
        if now >= since + WINDOW {
            let was_crowded = self.changes > NAMED_PER_SECOND;
            self.is_crowded = was_crowded && now < since + WINDOW + WINDOW;
            self.window_since = Some(now);
            self.changes = 0;
        }
        !self.is_crowded && self.changes < NAMED_PER_SECOND
    }

    /// When the counts are to be told, if there are any.
    pub(super) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// Takes the counts, once their time is over.
    pub(super) fn take_due(&mut self, now: Moment) -> Option<Counted> {
        self.due.filter(|&at| at <= now)?;
        self.due = None;
        Some(std::mem::take(&mut self.counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn start() -> Moment {
        Clock::default().moment(std::time::Instant::now())
    }

    fn named(presence: &mut Presence, count: usize, change: Change, now: Moment) -> usize {
        (0..count)
            .filter(|_| presence.is_named(change, None, now))
            .count()
    }

    #[test]
    fn fifty_a_second_are_named_for_ever() {
        let (mut presence, start) = (Presence::default(), start());
        for second in 0..10 {
            let now = start + second * WINDOW;
            assert_eq!(named(&mut presence, 50, Change::Joined, now), 50);
            assert_eq!(presence.due(), None);
        }
    }

    #[test]
    fn the_others_are_counted_in_one_line_when_the_second_is_over() {
        let (mut presence, start) = (Presence::default(), start());
        assert_eq!(named(&mut presence, 60, Change::Joined, start), 50);
        assert_eq!(
            named(&mut presence, 7, Change::Left, start + 999 * MILLISECOND),
            0
        );
        assert_eq!(presence.due(), Some(start + WINDOW));
        assert_eq!(presence.take_due(start + 999 * MILLISECOND), None);
        let counted = Counted {
            joined: 10,
            left: 7,
            renamed: 0,
        };
        assert_eq!(presence.take_due(start + WINDOW), Some(counted));
        assert_eq!(presence.take_due(start + WINDOW), None);
    }

    #[test]
    fn while_a_crowd_comes_each_second_is_one_line_and_then_names_come_back() {
        let (mut presence, start) = (Presence::default(), start());
        assert_eq!(named(&mut presence, 60, Change::Joined, start), 50);
        assert!(presence.take_due(start + WINDOW).is_some());
        assert_eq!(named(&mut presence, 300, Change::Left, start + WINDOW), 0);
        let counted = Counted {
            joined: 0,
            left: 300,
            renamed: 0,
        };
        assert_eq!(presence.take_due(start + 2 * WINDOW), Some(counted));
        assert_eq!(named(&mut presence, 5, Change::Left, start + 2 * WINDOW), 0);
        assert!(presence.take_due(start + 3 * WINDOW).is_some());
        assert_eq!(named(&mut presence, 5, Change::Left, start + 3 * WINDOW), 5);
    }

    #[test]
    fn a_crowd_of_long_ago_is_forgotten() {
        let (mut presence, start) = (Presence::default(), start());
        named(&mut presence, 60, Change::Joined, start);
        presence.take_due(start + WINDOW);
        assert_eq!(
            named(&mut presence, 1, Change::Joined, start + 60 * WINDOW),
            1
        );
    }

    #[test]
    fn of_one_origin_five_are_named_and_the_others_are_one_line_in_ten_seconds() {
        let (mut presence, start) = (Presence::default(), start());
        let origin = |n: u8| Some(Origin::of([192, 0, 2, n].into()));
        let mut named = |n, count, now| {
            let is_named = |_: &i32| presence.is_named(Change::Joined, origin(n), now);
            let named = (0..count).filter(is_named).count();
            (named, presence.due())
        };
        assert_eq!(named(1, 5, start), (5, None));
        let due = Some(start + 10 * WINDOW);
        assert_eq!(named(1, 1000, start), (0, due));
        assert_eq!(named(2, 5, start), (5, due), "another one is named");
        let soon = start + 4 * WINDOW;
        assert_eq!(named(1, 1000, soon), (2, due));
        assert_eq!(presence.take_due(soon), None);
        let counted = Counted {
            joined: 1998,
            left: 0,
            renamed: 0,
        };
        assert_eq!(presence.take_due(start + 10 * WINDOW), Some(counted));
        assert_eq!(presence.due(), None);
    }
}
