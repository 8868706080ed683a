//! Clients that have no nick yet: [`Newcomers`] knows which of them goes when somebody else needs the
//! place. A server that is full of members refuses further clients; but places of clients that do
//! nothing are not worth keeping, and whoever holds many of them loses one first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::client_id::ClientId;
use crate::peer::Origin;
use crate::time::moment::Moment;

/// How long the only newcomer of an origin keeps its place in any case: long enough to type a nick.
/// Otherwise people who come to a full server would push each other out for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The clients without a nick, by origin, and the time of their arrival.
#[derive(Debug, Default)]
pub(crate) struct Newcomers(BTreeMap<Origin, BTreeSet<(Moment, ClientId)>>);

impl Newcomers {
    /// A client has arrived.
    pub(crate) fn add(&mut self, origin: Origin, since: Moment, id: ClientId) {
        self.0.entry(origin).or_default().insert((since, id));
    }

    /// A client has got a nick, or is closed.
    pub(crate) fn remove(&mut self, origin: Origin, since: Moment, id: ClientId) {
        if let Some(clients) = self.0.get_mut(&origin) {
            clients.remove(&(since, id));
            if clients.is_empty() {
                self.0.remove(&origin);
            }
        }
    }

    /// Returns the client that has to make room for another one: the oldest of the origin that has most
    /// newcomers.
    pub(crate) fn to_make_room(&self, now: Moment) -> Option<ClientId> {
        let oldest = self.0.values().filter_map(|clients| {
            let &(since, id) = clients.first()?;
            Some((clients.len(), since, id))
        });
        let most = oldest.max_by(|one, other| {
            // Of several origins with as many, the one whose client is oldest.
            one.0.cmp(&other.0).then(other.1.cmp(&one.1))
        });
        let (count, since, id) = most?;
        (count > 1 || now >= since + PATIENCE).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_oldest_of_the_origin_with_most_makes_room_and_a_single_one_has_ten_seconds() {
        let start = Clock::default().moment(std::time::Instant::now());
        let origin = |n: u32| Origin::of(n.to_be_bytes().into());
        let client = ClientId::from_index;
        let mut newcomers = Newcomers::default();
        assert_eq!(newcomers.to_make_room(start), None);
        newcomers.add(origin(1), start, client(7));
        newcomers.add(origin(2), start + SECOND, client(5));
        newcomers.add(origin(2), start + 2 * SECOND, client(3));
        assert_eq!(newcomers.to_make_room(start), Some(client(5)));
        newcomers.remove(origin(2), start + SECOND, client(5));
        let almost = start + 9 * SECOND;
        assert_eq!(newcomers.to_make_room(almost), None);
        assert_eq!(newcomers.to_make_room(almost + SECOND), Some(client(7)));
        newcomers.remove(origin(1), start, client(7));
        newcomers.remove(origin(2), start + 2 * SECOND, client(3));
        assert!(newcomers.0.is_empty());
    }
}
