//! The protocol of [NATS](https://docs.nats.io/reference/reference-protocols/nats-protocol), as a client
//! of an engine that puts the lines of several servers in order. Bytes and their meaning, as everywhere in
//! [`protocol`](crate::protocol): whoever has a connection hands its bytes to a [`Decoder`], and appends to
//! its buffer with the functions of [`encode`].
//!
//! | direction | frames | file |
//! |---|---|---|
//! | from the engine | INFO, MSG, HMSG, PING, PONG, +OK, -ERR | [`decode`] |
//! | to the engine | CONNECT, PING, PONG, SUB, UNSUB, PUB, HPUB | [`encode`] |
//! | inside of a message | headers and a status | [`headers`] |
//! | inside of INFO | what the server can do and wants | [`info`] |
//! | inside of payloads | requests to JetStream and its answers, as JSON | [`jetstream`] |
//!
//! An engine is not trusted: each length has a limit, and what goes beyond it is an error that ends the
//! link.
//!
//! | limit | bytes | the server's own |
//! |---|---|---|
//! | control line, with its line end | 4096 | `max_control_line` 4096 |
//! | INFO, with its line end | 65 536 | none |
//! | headers and payload of a message | 32 768 | `max_payload` 1 MiB |
//! | subject | 1024 | what a control line has room for |

pub mod decode;
pub mod encode;
pub mod headers;
pub mod info;
pub mod jetstream;
pub mod names;
pub mod subject;

pub use decode::{Decoder, Frame, FrameError, Message, ServerError};
pub use headers::Headers;
pub use info::Info;
pub use subject::{Filter, Subject};

fn is_blank(byte: &u8) -> bool {
    matches!(*byte, b' ' | b'\t')
}

/// Cuts the blanks off both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let Some((_, rest)) = text.split_first().filter(|(first, _)| is_blank(first)) {
        text = rest;
    }
    while let Some((_, rest)) = text.split_last().filter(|(last, _)| is_blank(last)) {
        text = rest;
    }
    text
}

/// Parses a number of digits alone.
fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
