//! What the room hands to connections: the [`batch`] of lines that were said in a turn, and the
//! [`outbox`] of lines for single clients. Both hold bytes that are formatted already, so neither side
//! has to know the other.

pub(crate) mod batch;
pub(crate) mod outbox;
pub(crate) mod personal;
pub(crate) mod priority;
