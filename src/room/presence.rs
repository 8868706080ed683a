//! Who comes and who goes, as the room is told: [`Comings`] lets each be told by name as long as
//! they are few, and gathers them into one line a second when they are many. Ten thousand who join
//! with a notice each would be fifty million lines; so they are fifty for each member, and one for
//! each second.

use std::time::Duration;

use crate::time::moment::Moment;

/// So many a second are told by name.
const TOLD_BY_NAME: u32 = 50;

const WINDOW: Duration = Duration::from_secs(1);

/// Joins and leaves of the current second.
#[derive(Debug, Default)]
pub(crate) struct Comings {
    /// When the current second began.
    since: Option<Moment>,
    /// How many came or went in it.
    events: u32,
    /// The one before had too many, so all of this one are gathered.
    is_crowded: bool,
    gathered: Gathered,
}

/// Those who were not told by name.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub(crate) joined: u32,
    pub(crate) left: u32,
}

/// Which way somebody goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coming {
    Joined,
    Left,
}

impl Comings {
    /// Somebody comes or goes. Whether that is told by name.
    pub(crate) fn is_told_by_name(&mut self, coming: Coming, now: Moment) -> bool {
        let since = *self.since.get_or_insert(now);
        if now >= since + WINDOW {
            self.is_crowded = self.events > TOLD_BY_NAME && now < since + 2 * WINDOW;
            self.since = Some(now);
            self.events = 0;
        }
        self.events = self.events.saturating_add(1);
        if !self.is_crowded && self.events <= TOLD_BY_NAME {
            return true;
        }
        let count = match coming {
            Coming::Joined => &mut self.gathered.joined,
            Coming::Left => &mut self.gathered.left,
        };
        *count = count.saturating_add(1);
        false
    }

    /// When those who were gathered are to be told, if there are any.
    pub(crate) fn due(&self) -> Option<Moment> {
        let since = self.since.filter(|_| self.gathered != Gathered::default());
        since.map(|since| since + WINDOW)
    }

    /// Those who were gathered, once their second is over.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Gathered> {
        let is_due = self.due().is_some_and(|at| at <= now);
        is_due.then(|| std::mem::take(&mut self.gathered))
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

    fn told(comings: &mut Comings, count: usize, coming: Coming, now: Moment) -> usize {
        (0..count)
            .filter(|_| comings.is_told_by_name(coming, now))
            .count()
    }

    #[test]
    fn fifty_a_second_are_told_by_name_for_ever() {
        let (mut comings, start) = (Comings::default(), start());
        for second in 0..10 {
            let now = start + second * WINDOW;
            assert_eq!(told(&mut comings, 50, Coming::Joined, now), 50);
            assert_eq!(comings.due(), None);
        }
    }

    #[test]
    fn those_above_are_gathered_into_one_line_when_the_second_is_over() {
        let (mut comings, start) = (Comings::default(), start());
        assert_eq!(told(&mut comings, 60, Coming::Joined, start), 50);
        assert_eq!(
            told(&mut comings, 7, Coming::Left, start + 999 * MILLISECOND),
            0
        );
        assert_eq!(comings.due(), Some(start + WINDOW));
        assert_eq!(comings.take_due(start + 999 * MILLISECOND), None);
        let gathered = Gathered {
            joined: 10,
            left: 7,
        };
        assert_eq!(comings.take_due(start + WINDOW), Some(gathered));
        assert_eq!(comings.take_due(start + WINDOW), None);
    }

    #[test]
    fn while_a_crowd_comes_each_second_is_one_line_and_then_names_come_back() {
        let (mut comings, start) = (Comings::default(), start());
        assert_eq!(told(&mut comings, 60, Coming::Joined, start), 50);
        assert!(comings.take_due(start + WINDOW).is_some());
        assert_eq!(told(&mut comings, 300, Coming::Left, start + WINDOW), 0);
        let gathered = Gathered {
            joined: 0,
            left: 300,
        };
        assert_eq!(comings.take_due(start + 2 * WINDOW), Some(gathered));
        assert_eq!(told(&mut comings, 5, Coming::Left, start + 2 * WINDOW), 0);
        assert!(comings.take_due(start + 3 * WINDOW).is_some());
        assert_eq!(told(&mut comings, 5, Coming::Left, start + 3 * WINDOW), 5);
    }

    #[test]
    fn a_crowd_of_long_ago_is_forgotten() {
        let (mut comings, start) = (Comings::default(), start());
        told(&mut comings, 60, Coming::Joined, start);
        comings.take_due(start + WINDOW);
        assert_eq!(
            told(&mut comings, 1, Coming::Joined, start + 60 * WINDOW),
            1
        );
    }
}
