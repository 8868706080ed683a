//! Bytes and their meaning: telnet, lines, commands, and the words that clients read. It is pure: no
//! sockets, no clock.

pub(crate) mod claim_token;
pub(crate) mod close_reason;
pub(crate) mod command;
pub mod decoder;
mod keys;
pub(crate) mod layout;
pub mod line;
pub(crate) mod message;
#[cfg(feature = "relay")]
pub mod nats;
mod negotiation;
pub(crate) mod proxy_header;
pub mod relay_batch;
pub(crate) mod sniff;
pub(crate) mod target;
pub mod telnet;
