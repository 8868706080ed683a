//! A line-based broadcast chat server: one mio poll loop, one thread, plain telnet clients.
//!
//! A client's first line is its nick; every later line goes to all the others as `nick: text\r\n`.
#![forbid(unsafe_code)]

pub mod chat;
mod close;
pub mod config;
mod connection;
mod deadlines;
pub mod decoder;
pub mod line;
mod message;
mod nick;
mod pool;
mod prefix;
mod room;
pub mod telnet;
pub mod text;

pub use config::{Config, ConfigError, Limits, ListenAddr, ListenAddrError};
pub use prefix::{Prefix, PrefixError};
