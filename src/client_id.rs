//! The number of a client: [`ClientId`] is its place in the engine's slab, and the token under which
//! the poll loop knows it.

/// The number of a client, from the beginning of its connection to its end. After that, another client
/// can get it.
///
/// ```
/// use line_chat::ClientId;
/// assert_eq!(ClientId::from_index(7).index(), 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(u32);

impl ClientId {
    /// The server itself, as the author of a line. No client has this number.
    pub(crate) const SERVER: Self = Self(u32::MAX);

    /// Somebody who has left, or was never here, as the author of a line. No client has this number.
    pub(crate) const NOBODY: Self = Self(u32::MAX - 1);

    /// From here on, numbers are those of members of other servers. No process has so many descriptors.
    const FIRST_ELSEWHERE: u32 = 1 << 31;

    /// The member of another server at this place of their list. `None` if there is no number left.
    pub(crate) fn elsewhere(place: usize) -> Option<Self> {
        let number = u32::try_from(place).ok()?;
        let number = number.checked_add(Self::FIRST_ELSEWHERE)?;
        (number < Self::NOBODY.0).then_some(Self(number))
    }

    /// Its place in the list of members of other servers, if it is one.
    pub(crate) fn place_elsewhere(self) -> Option<usize> {
        let place = self.0.checked_sub(Self::FIRST_ELSEWHERE)?;
        (self.0 < Self::NOBODY.0).then_some(place as usize)
    }

    /// The client at this place of the slab. Four bytes are enough, because no process can have 2^32
    /// descriptors.
    pub fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// Its place in the slab.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
