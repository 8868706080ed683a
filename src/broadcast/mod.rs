//! What the room hands to connections.

pub(crate) mod batch;
pub(crate) mod outbox;
