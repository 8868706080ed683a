//! The link to the engine of a relay: [`link`] speaks NATS and JetStream over one connection.

pub(crate) mod link;
#[cfg(test)]
mod on_a_server;
