//! Headers of a message: [`Headers`] finds what it is asked for in the bytes as they came.
//!
//! ```text
//! NATS/1.0[ status[ description]]␍␊
//! Key: value␍␊
//! ␍␊
//! ```
//!
//! Keys are compared byte for byte, as NATS's own server and clients do: `nats-sequence` is another key than
//! `Nats-Sequence`. Blanks and tabs around a value and around a status do not belong to it; those before
//! a colon belong to the key.
//!
//! Of a key that comes more than once the last value counts. The server puts its own headers behind those of
//! whoever published the message, so nobody else can say what a sequence is.

use std::fmt;

use memchr::memchr;

use crate::protocol::nats::{is_blank, number, trim};

const VERSION: &[u8] = b"NATS/1.0";

/// The place of a message in its stream.
pub const SEQUENCE: &str = "Nats-Sequence";
/// When the message was stored (RFC 3339). Only answers to a request for a message have it.
pub const TIME_STAMP: &str = "Nats-Time-Stamp";
/// The place of the message before it with the same subject, in the stream; 0 if there is none.
pub const LAST_SEQUENCE: &str = "Nats-Last-Sequence";
/// The subject to which a message was published that was stored or republished.
pub const SUBJECT: &str = "Nats-Subject";
/// The stream in which it is stored.
pub const STREAM: &str = "Nats-Stream";

/// The headers of a message that were checked. By default there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'i> {
    status: Option<Status<'i>>,
    /// Lines with a colon in each.
    fields: &'i [u8],
}

/// The status of a message that a server made itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'i> {
    /// Three digits: see the constants.
    pub code: u16,
    /// What it means, in words; it may be empty.
    pub description: &'i [u8],
}

impl Status<'_> {
    /// Something idle is alive.
    pub const HEARTBEAT: u16 = 100;
    /// There is no such message.
    pub const NOT_FOUND: u16 = 404;
    /// The request is not understood.
    pub const TIMEOUT: u16 = 408;
    /// The stream has too much to do.
    pub const TOO_MANY_REQUESTS: u16 = 429;
    /// Nobody listens to what was published with a reply subject.
    pub const NO_RESPONDERS: u16 = 503;
}

impl<'i> Headers<'i> {
    /// Parses the headers of a message as they came; nothing at all is no headers.
    ///
    /// # Errors
    /// They are malformed.
    pub fn parse(block: &'i [u8]) -> Result<Self, HeaderError> {
        if block.is_empty() {
            return Ok(Self::default());
        }
        let (first, fields) = split_line(block).ok_or(HeaderError)?;
        let status = Status::parse(first.strip_prefix(VERSION).ok_or(HeaderError)?)?;
        let mut rest = fields;
        loop {
            let (line, behind) = split_line(rest).ok_or(HeaderError)?;
            match (line, behind) {
                ([], []) => break,
                _ if line.contains(&b':') => rest = behind,
                _ => return Err(HeaderError),
            }
        }
        let fields_bytes = fields.len().saturating_sub(rest.len());
        let fields = fields.get(..fields_bytes).unwrap_or_default();
        Ok(Self { status, fields })
    }

    /// What the server says of the message.
    pub fn status(&self) -> Option<Status<'i>> {
        self.status
    }

    /// Returns the last value of a key.
    pub fn get(&self, key: &str) -> Option<&'i [u8]> {
        let mut found = None;
        for (name, value) in self.iter() {
            if name == key.as_bytes() {
                found = Some(value);
            }
        }
        found
    }

    /// Returns the last value of a key as a number. `None` if it is anything but digits.
    pub fn number(&self, key: &str) -> Option<u64> {
        number(self.get(key)?)
    }

    /// All keys and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'i [u8], &'i [u8])> + use<'i> {
        let mut rest = self.fields;
        std::iter::from_fn(move || {
            let (line, behind) = split_line(rest)?;
            rest = behind;
            let (key, value) = line.split_at_checked(memchr(b':', line)?)?;
            Some((key, trim(value.get(1..).unwrap_or_default())))
        })
    }
}

impl<'i> Status<'i> {
    /// Parses what is behind the version.
    fn parse(text: &'i [u8]) -> Result<Option<Self>, HeaderError> {
        let words = trim(text);
        if words.is_empty() {
            return Ok(None);
        }
        if !text.first().is_some_and(is_blank) {
            return Err(HeaderError);
        }
        let (code, description) = words.split_at_checked(3).ok_or(HeaderError)?;
        if !description.first().is_none_or(is_blank) {
            return Err(HeaderError);
        }
        let code = number(code).and_then(|code| u16::try_from(code).ok());
        Ok(Some(Self {
            code: code.ok_or(HeaderError)?,
            description: trim(description),
        }))
    }
}

/// Splits off the first line, without its line end.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, rest) = text.split_at_checked(memchr(b'\n', text)?)?;
    Some((line.strip_suffix(b"\r")?, rest.get(1..)?))
}

/// Headers that are malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderError;

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the headers of a message are malformed")
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed<'i> = (Option<(u16, &'i str)>, Vec<(&'i str, &'i str)>);

    fn parse(block: &str) -> Result<Parsed<'_>, HeaderError> {
        let text = |bytes| std::str::from_utf8(bytes).expect("a piece of a text");
        let headers = Headers::parse(block.as_bytes())?;
        let status = headers.status();
        let status = status.map(|status| (status.code, text(status.description)));
        let fields = headers.iter().map(|(key, value)| (text(key), text(value)));
        Ok((status, fields.collect()))
    }

    #[test]
    fn a_status_and_fields_are_read_with_odd_white_space() {
        for (block, status, fields) in [
            ("", None, &[][..]),
            ("NATS/1.0\r\n\r\n", None, &[]),
            ("NATS/1.0 \t\r\n\r\n", None, &[]),
            ("NATS/1.0 503\r\n\r\n", Some((503, "")), &[]),
            (
                "NATS/1.0 404 Message Not Found\r\n\r\n",
                Some((404, "Message Not Found")),
                &[],
            ),
            (
                "NATS/1.0\t 100  Idle  Heartbeat \r\nNats-Last-Consumer: 5\r\n\r\n",
                Some((100, "Idle  Heartbeat")),
                &[("Nats-Last-Consumer", "5")],
            ),
            (
                "NATS/1.0\r\na:1\r\nb:\t 2 \r\n c : 3:4\r\nd:\r\n:5\r\na: 6\r\n\r\n",
                None,
                &[
                    ("a", "1"),
                    ("b", "2"),
                    (" c ", "3:4"),
                    ("d", ""),
                    ("", "5"),
                    ("a", "6"),
                ],
            ),
        ] {
            assert_eq!(parse(block), Ok((status, fields.to_vec())), "{block:?}");
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for block in [
            "\r\n",
            "\r\n\r\n",
            "nats/1.0\r\n\r\n",
            "NATS/1.1\r\n\r\n",
            "NATS/1.0",
            "NATS/1.0\r\n",
            "NATS/1.0\n\n",
            "NATS/1.0503\r\n\r\n",
            "NATS/1.0 50\r\n\r\n",
            "NATS/1.0 5030\r\n\r\n",
            "NATS/1.0 +50\r\n\r\n",
            "NATS/1.0 é3\r\n\r\n",
            "NATS/1.0 Not Found\r\n\r\n",
            "NATS/1.0\r\na: 1\r\n",
            "NATS/1.0\r\na: 1\n\r\n",
            "NATS/1.0\r\na\r\n\r\n",
            "NATS/1.0\r\n\r\na: 1\r\n\r\n",
            "NATS/1.0\r\n\r\n ",
        ] {
            assert_eq!(parse(block), Err(HeaderError), "{block:?}");
        }
    }

    #[test]
    fn keys_are_compared_byte_for_byte_and_the_last_one_counts() {
        let block = b"NATS/1.0\r\nNats-Sequence: 99\r\nnats-sequence: 1\r\nNats-Sequence : 2\r\n\
            Nats-Sequence: 4\r\nNats-Last-Sequence: +3\r\nNats-Subject: \xff\r\n\r\n";
        let headers = Headers::parse(block).expect("headers");
        assert_eq!(headers.get(SEQUENCE), Some(&b"4"[..]));
        assert_eq!(headers.number(SEQUENCE), Some(4));
        assert_eq!(headers.number("nats-sequence"), Some(1));
        assert_eq!(headers.get(LAST_SEQUENCE), Some(&b"+3"[..]));
        assert_eq!(headers.number(LAST_SEQUENCE), None, "it has a sign");
        assert_eq!(headers.get(SUBJECT), Some(&b"\xff"[..]));
        assert_eq!(headers.get(STREAM), None);
    }
}
