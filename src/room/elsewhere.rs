//! Members who are connected to other servers of the room: [`Elsewhere`] keeps them under numbers of their own,
//! which are no client's. So whoever is found by a name is found wherever it is, and what is queued for a member
//! by its number reaches nobody here by mistake. Which server has it, and under which number, is its [`Place`].

use std::collections::BTreeMap;

use crate::client_id::ClientId;
use crate::protocol::relay_batch::NodeId;
use crate::room::members::Member;

/// Where a member of another server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) node: NodeId,
    /// The number of its connection there, which no other one has had.
    pub(super) conn: u64,
}

/// The members of other servers.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    slots: Vec<Option<Away>>,
    free: Vec<usize>,
    by_place: BTreeMap<Place, ClientId>,
}

#[derive(Debug)]
struct Away {
    member: Member,
    place: Place,
    /// Its server has named it since it was asked who is there.
    is_named: bool,
}

impl Elsewhere {
    /// The number of the next member. `None` if there is none left.
    pub(super) fn next_id(&self) -> Option<ClientId> {
        let slot = self.free.last().copied();
        ClientId::elsewhere(slot.unwrap_or(self.slots.len()))
    }

    /// Adds a member under the [next number](Self::next_id).
    pub(super) fn add(&mut self, id: ClientId, place: Place, member: Member) {
        let Some(slot) = id.place_elsewhere() else {
            return;
        };
        self.free.pop_if(|free| *free == slot);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot.saturating_add(1), || None);
        }
        if let Some(free) = self.slots.get_mut(slot) {
            *free = Some(Away {
                member,
                place,
                is_named: true,
            });
            let before = self.by_place.insert(place, id);
            debug_assert_eq!(before, None, "{place:?} is listed");
        }
    }

    pub(super) fn remove(&mut self, id: ClientId) -> Option<Member> {
        let slot = id.place_elsewhere()?;
        let away = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        self.by_place.remove(&away.place);
        if self.by_place.is_empty() {
            *self = Self::default();
        }
        Some(away.member)
    }

    #[cold]
    pub(super) fn get(&self, id: ClientId) -> Option<&Member> {
        Some(&self.away(id)?.member)
    }

    #[cold]
    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Member> {
        let slot = self.slots.get_mut(id.place_elsewhere()?)?;
        Some(&mut slot.as_mut()?.member)
    }

    /// Where a member is.
    pub(super) fn place_of(&self, id: ClientId) -> Option<Place> {
        Some(self.away(id)?.place)
    }

    fn away(&self, id: ClientId) -> Option<&Away> {
        self.slots.get(id.place_elsewhere()?)?.as_ref()
    }

    /// The member at a place.
    pub(super) fn at(&self, place: Place) -> Option<ClientId> {
        self.by_place.get(&place).copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_place.len()
    }

    /// All of them, in the order of their places.
    pub(super) fn ids(&self) -> impl Iterator<Item = ClientId> {
        self.by_place.values().copied()
    }

    /// Those of one server.
    pub(super) fn of(&self, node: NodeId) -> impl Iterator<Item = ClientId> {
        let first = Place { node, conn: 0 };
        let last = Place {
            node,
            conn: u64::MAX,
        };
        self.by_place.range(first..=last).map(|(_, &id)| id)
    }

    /// The members listed under `from` whose connection numbers are listed under `as_of` too.
    pub(super) fn listed_twice(&self, from: NodeId, as_of: NodeId) -> Vec<ClientId> {
        let of_both = self.of(from).filter(|&id| {
            let conn = self.away(id).map(|away| away.place.conn);
            conn.is_some_and(|conn| self.at(Place { node: as_of, conn }).is_some())
        });
        of_both.collect()
    }

    /// A server has another id now, and its members stay. None of them may be listed under the new id yet.
    pub(super) fn move_all(&mut self, from: NodeId, to: NodeId) {
        let ids: Vec<ClientId> = self.of(from).collect();
        for id in ids {
            let slot = id
                .place_elsewhere()
                .and_then(|slot| self.slots.get_mut(slot));
            if let Some(Some(away)) = slot {
                self.by_place.remove(&away.place);
                away.place.node = to;
                let before = self.by_place.insert(away.place, id);
                debug_assert_eq!(before, None, "{:?} is listed", away.place);
            }
        }
    }

    /// A server is about to name its members: whoever is not named is not there any more.
    pub(super) fn begin_naming(&mut self, node: NodeId) {
        let ids: Vec<ClientId> = self.of(node).collect();
        ids.into_iter().for_each(|id| self.set_named(id, false));
    }

    /// All servers are about to name their members.
    pub(super) fn begin_naming_all(&mut self) {
        let ids: Vec<ClientId> = self.ids().collect();
        ids.into_iter().for_each(|id| self.set_named(id, false));
    }

    /// A server has named a member.
    pub(super) fn set_named(&mut self, id: ClientId, is_named: bool) {
        let slot = id
            .place_elsewhere()
            .and_then(|slot| self.slots.get_mut(slot));
        if let Some(Some(away)) = slot {
            away.is_named = is_named;
        }
    }

    /// The members of a server that it has not named.
    pub(super) fn unnamed(&self, node: NodeId) -> Vec<ClientId> {
        let is_unnamed = |&id: &ClientId| self.away(id).is_some_and(|away| !away.is_named);
        self.of(node).filter(is_unnamed).collect()
    }
}
