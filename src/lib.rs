//! A line-based broadcast chat server: one mio poll loop, one thread, plain telnet clients.
//!
//! A client's first line is its nick; every later line goes to all the others as `nick: text\r\n`.
#![forbid(unsafe_code)]

pub mod decoder;
pub mod line;
pub mod telnet;
pub mod text;
