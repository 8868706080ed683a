//! How one line is sent to different servers, and what its receivers get.
//!
//! Everywhere the line is [`LINE_BYTES`] long with its end, and holds the speaker, the number of the line
//! and filler. A chat puts the nick before it, so there the speaker leaves it out; to the other servers
//! the line is sent as it shall arrive. Each server has its own wire around it.

use std::io::Write;
use std::ops::Range;

use memchr::memchr;

use super::tokio_chat::Writes;

/// A line as a person sees it, with its end, in bytes: a short sentence.
pub(crate) const LINE_BYTES: usize = 64;

/// Where in a line its speaker and its text stand: `s0042: 00000017 the quick ...`.
pub(crate) const SPEAKER: Range<usize> = 1..5;
pub(crate) const TEXT: Range<usize> = 7..LINE_BYTES;
pub(crate) const FILLER: &[u8] = b" the quick brown fox jumps over the lazy dog...\r\n";

/// The kinds of servers, by their wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    LineChat,
    Floor,
    Tokio(Writes),
    Redis,
    Nats,
    Ncat,
}

const REDIS_PUBLISH: &[u8] = b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$64\r\n";
const REDIS_MESSAGE: &[u8] = b"*3\r\n$7\r\nmessage\r\n$4\r\nroom\r\n$64\r\n";
const NATS_PUB: &[u8] = b"PUB room 64\r\n";
const NATS_MSG: &[u8] = b"MSG room 1 64\r\n";

impl Dialect {
    /// The name of the server in a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LineChat => "line-chat",
            Self::Floor => "floor",
            Self::Tokio(Writes::EachLine) => "tokio, unbatched",
            Self::Tokio(Writes::AllAtOnce) => "tokio, batched",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::Ncat => "ncat",
        }
    }

    /// Whether a client can both speak and listen. Redis has clients of two kinds.
    pub(crate) fn speakers_listen(self) -> bool {
        self != Self::Redis
    }

    /// What a listening client sends first.
    pub(crate) fn hello(self, nick: &str) -> Vec<u8> {
        let connect: &[u8] = b"CONNECT {\"verbose\":false,\"echo\":false}\r\n";
        match self {
            // The answer to telnet's "are you there" says that the nick was taken.
            Self::LineChat => [nick.as_bytes(), b"\r\n\xff\xf6"].concat(),
            Self::Tokio(_) => [nick.as_bytes(), b"\r\n"].concat(),
            Self::Floor | Self::Ncat => Vec::new(),
            Self::Redis => b"SUBSCRIBE room\r\n".to_vec(),
            Self::Nats => [connect, b"SUB room 1\r\nPING\r\n"].concat(),
        }
    }

    /// How the answer to it ends; nothing where there is no answer.
    pub(crate) fn end_of_welcome(self) -> &'static [u8] {
        match self {
            Self::LineChat | Self::Tokio(_) => b"* yes\r\n",
            Self::Floor | Self::Ncat => b"",
            Self::Redis => b":1\r\n",
            Self::Nats => b"PONG\r\n",
        }
    }

    /// Appends what a speaker sends to say a line.
    pub(crate) fn say(self, line: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::LineChat | Self::Tokio(_) => out.extend_from_slice(&line[TEXT]),
            Self::Floor | Self::Ncat => out.extend_from_slice(line),
            Self::Redis => frame(REDIS_PUBLISH, line, out),
            Self::Nats => frame(NATS_PUB, line, out),
        }
    }

    /// Appends what each receiver gets of a line.
    pub(crate) fn heard(self, line: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Redis => frame(REDIS_MESSAGE, line, out),
            Self::Nats => frame(NATS_MSG, line, out),
            _ => out.extend_from_slice(line),
        }
    }

    /// How long that is, in bytes.
    pub(crate) fn heard_bytes(self) -> usize {
        match self {
            Self::Redis => REDIS_MESSAGE.len() + LINE_BYTES + 2,
            Self::Nats => NATS_MSG.len() + LINE_BYTES + 2,
            _ => LINE_BYTES,
        }
    }

    /// The speaker of the line in `heard`, which may be anything of the right length.
    pub(crate) fn speaker_of(self, heard: &[u8]) -> Option<usize> {
        let head = match self {
            Self::Redis => REDIS_MESSAGE.len(),
            Self::Nats => NATS_MSG.len(),
            _ => 0,
        };
        let digits = heard.get(head..)?.get(SPEAKER)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// How many bytes at the beginning of what came are no line: a PING of NATS, and what ncat
    /// puts before what it read, lines or not, or announces to everybody. `None`: that has not
    /// come to its end yet.
    pub(crate) fn noise(self, bytes: &[u8]) -> Option<usize> {
        let up_to = |end| memchr(end, bytes).map(|at| at + 1);
        match self {
            Self::Nats if bytes.starts_with(b"PING\r\n") => Some(6),
            Self::Ncat if bytes.starts_with(b"<user") => up_to(b' '),
            Self::Ncat if bytes.starts_with(b"<announce>") => up_to(b'\n'),
            _ => Some(0),
        }
    }
}

fn frame(head: &[u8], line: &[u8], out: &mut Vec<u8>) {
    for part in [head, line, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The nick of a speaker, as it stands in its lines.
pub(crate) fn speaker_nick(speaker: usize) -> String {
    format!("s{speaker:04}")
}

/// Line `number` of a speaker.
pub(crate) fn line(speaker: usize, number: u64) -> [u8; LINE_BYTES] {
    let mut line = [0; LINE_BYTES];
    let (head, filler) = line.split_at_mut(LINE_BYTES - FILLER.len());
    filler.copy_from_slice(FILLER);
    write!(&mut *head, "s{speaker:04}: {:08}", number % 100_000_000).expect("it fits");
    line
}
