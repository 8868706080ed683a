//! Which client has to be looked at next, and when: [`Deadlines`] wakes the loop, a client at a
//! time. A client has at most one alarm, and moving its deadline to a later time leaves that alarm
//! where it is: when it rings, the client is asked for its real deadline. So traffic never touches
//! this queue, and clients bound it.

use std::collections::BTreeSet;

use crate::room::ClientId;
use crate::time::moment::Moment;

/// The alarms of all clients, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    alarms: BTreeSet<(Moment, ClientId)>,
}

/// A client's own side of its alarm: when it will ring. Kept with the client, so that it can be
/// found and taken back.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Alarm(Option<Moment>);

impl Deadlines {
    /// Makes sure that the alarm of `id` rings at `at` or earlier.
    pub(crate) fn set(&mut self, id: ClientId, alarm: &mut Alarm, at: Moment) {
        if alarm.0.is_none_or(|earlier| at < earlier) {
            self.cancel(id, alarm);
            self.alarms.insert((at, id));
            alarm.0 = Some(at);
        }
    }

    /// Takes the alarm of `id` back; to be called before `id` is another client's.
    pub(crate) fn cancel(&mut self, id: ClientId, alarm: &mut Alarm) {
        if let Some(at) = alarm.0.take() {
            self.alarms.remove(&(at, id));
        }
    }

    /// When the next alarm rings.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.alarms.first().map(|&(at, _)| at)
    }

    /// Takes a client whose alarm rings. The caller resets the client's side of it.
    pub(crate) fn pop_due(&mut self, now: Moment) -> Option<ClientId> {
        self.next().filter(|&at| at <= now)?;
        self.alarms.pop_first().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;
    use std::time::Duration;

    #[test]
    fn alarms_ring_in_order_once_and_not_before_their_time() {
        let start = Clock::default().moment(std::time::Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        for (seconds, id) in [(3, 30), (1, 10), (2, 20)] {
            deadlines.set(ClientId(id), &mut Alarm::default(), after(seconds));
        }
        assert_eq!(deadlines.next(), Some(after(1)));
        assert_eq!(deadlines.pop_due(start), None);
        assert_eq!(deadlines.pop_due(after(2)), Some(ClientId(10)));
        assert_eq!(deadlines.pop_due(after(2)), Some(ClientId(20)));
        assert_eq!(deadlines.pop_due(after(2)), None);
    }

    #[test]
    fn a_client_has_one_alarm_the_earliest_it_was_set_to() {
        let start = Clock::default().moment(std::time::Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        let mut alarm = Alarm::default();
        for seconds in [5, 9, 2, 7] {
            deadlines.set(ClientId(1), &mut alarm, after(seconds));
        }
        assert_eq!(deadlines.alarms.len(), 1);
        assert_eq!(deadlines.next(), Some(after(2)));
        deadlines.cancel(ClientId(1), &mut alarm);
        assert_eq!(deadlines.next(), None);
    }
}
