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
