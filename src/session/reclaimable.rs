//! Clients whose place somebody else may have: [`Reclaimable`] knows which of them goes when a newcomer
//! comes to a full server. A server that is full of members refuses further clients; but the places of
//! those that have no nick yet, or have left the room and do not take their last lines, are not worth
//! keeping, and whoever holds many of them loses one first. So it is with connections of HTTP, which have
//! places of their own.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Duration;

use crate::client_id::ClientId;
use crate::peer::Origin;
use crate::time::moment::Moment;

/// How long the only such client of an origin keeps its place in any case: long enough to type a nick,
/// or to take what is queued. Otherwise people who come to a full server would push each other out for
/// ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for HTTP: no program thinks about its request.
pub(crate) const HTTP_PATIENCE: Duration = Duration::from_secs(1);

/// The clients without a nick and those that are leaving, by origin, and since when they are that.
#[derive(Debug)]
pub(crate) struct Reclaimable {
    patience: Duration,
    by_origin: BTreeMap<Origin, BTreeSet<(Moment, ClientId)>>,
    places: BTreeMap<ClientId, (Origin, Moment)>,
}

impl Default for Reclaimable {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

impl Reclaimable {
    /// Nobody yet. The only client of an origin keeps its place for so long.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            by_origin: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    /// A client has arrived, or stays although it has left the room.
    pub(crate) fn add(&mut self, id: ClientId, origin: Origin, now: Moment) {
        self.remove(id);
        self.by_origin.entry(origin).or_default().insert((now, id));
        self.places.insert(id, (origin, now));
    }

    /// A client has got a nick, or is freed.
    #[inline]
    pub(crate) fn remove(&mut self, id: ClientId) {
        if !self.places.is_empty() {
            self.remove_known(id);
        }
    }

    fn remove_known(&mut self, id: ClientId) {
        let Some((origin, since)) = self.places.remove(&id) else {
            return;
        };
        if let Entry::Occupied(mut clients) = self.by_origin.entry(origin) {
            clients.get_mut().remove(&(since, id));
            if clients.get().is_empty() {
                clients.remove();
            }
        }
    }

    /// Returns the client that has to make room for another one: the oldest of the origin that has most
    /// of them.
    pub(crate) fn to_make_room(&self, now: Moment) -> Option<ClientId> {
        let oldest = self.by_origin.values().filter_map(|clients| {
            let &(since, id) = clients.first()?;
            Some((clients.len(), since, id))
        });
        let most = oldest.max_by(|one, other| {
            // Of several origins with as many, the one whose client is oldest.
            one.0.cmp(&other.0).then(other.1.cmp(&one.1))
        });
        let (count, since, id) = most?;
        (count > 1 || now >= since + self.patience).then_some(id)
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
        let mut clients = Reclaimable::default();
        assert_eq!(clients.to_make_room(start), None);
        clients.add(client(7), origin(1), start);
        clients.add(client(5), origin(2), start + SECOND);
        clients.add(client(3), origin(2), start + 2 * SECOND);
        assert_eq!(clients.to_make_room(start), Some(client(5)));
        clients.remove(client(5));
        let almost = start + 9 * SECOND;
        assert_eq!(clients.to_make_room(almost), None);
        assert_eq!(clients.to_make_room(almost + SECOND), Some(client(7)));
        // It has left the room now.
        clients.add(client(7), origin(1), almost);
        assert_eq!(clients.to_make_room(almost + SECOND), None);
        clients.remove(client(7));
        clients.remove(client(7));
        clients.remove(client(3));
        assert!(clients.by_origin.is_empty() && clients.places.is_empty());
    }
}
