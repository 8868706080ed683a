//! What a chat does, in the order in which it does it: its calls on the streams, and what it says
//! in its log, because only there it tells in which order it hears those who are ready. The log is
//! process-wide and a simulation has a thread, so the journal is the thread's.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};

use log::{Level, LevelFilter, Log, Metadata};

/// A peer, in the order of connecting. No two of a run have the same number or address.
pub(crate) type Peer = u32;

#[derive(Debug)]
pub(crate) enum Record {
    /// A read gave these bytes; never empty.
    Read {
        peer: Peer,
        bytes: Vec<u8>,
    },
    /// A read gave the end of the stream.
    Ended {
        peer: Peer,
    },
    /// The stream took these bytes.
    Wrote {
        peer: Peer,
        bytes: Vec<u8>,
    },
    /// The stream or its registration gave an error.
    Failed {
        peer: Peer,
    },
    ShutDownWrite {
        peer: Peer,
    },
    /// The stream is about to be dropped.
    Deregistered {
        peer: Peer,
    },
    Joined {
        peer: Peer,
        nick: String,
    },
    LeftAs {
        nick: String,
        reason: Reason,
    },
    LeftWithoutNick {
        peer: Peer,
        reason: Reason,
    },
    /// A line for the room, without its end.
    Spoke {
        line: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    HungUp,
    Broken,
    TooSlow,
    NoNick,
    Shutdown,
}

impl Reason {
    fn parse(words: &str) -> Self {
        let reasons = [
            ("hung up", Self::HungUp),
            ("connection broken", Self::Broken),
            ("too slow", Self::TooSlow),
            ("no acceptable nick", Self::NoNick),
            ("server is shutting down", Self::Shutdown),
        ];
        let found = reasons.into_iter().find(|&(known, _)| known == words);
        assert!(found.is_some(), "no known reason: {words:?}");
        found.map_or(Self::Broken, |(_, reason)| reason)
    }
}

thread_local! {
    static JOURNAL: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn write(record: Record) {
    JOURNAL.with_borrow_mut(|journal| journal.push(record));
}

/// Takes what was written since the last time.
pub(crate) fn take() -> Vec<Record> {
    JOURNAL.take()
}

/// Makes the log of this process a part of the journals.
pub(crate) fn listen_to_the_log() {
    // Another thread may have done so.
    let _ = log::set_logger(&ChatLog);
    log::set_max_level(LevelFilter::Debug);
}

struct ChatLog;

impl Log for ChatLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let words = record.args().to_string();
        match (record.target(), record.level()) {
            ("line_chat::room", Level::Debug) => write(Record::Spoke { line: words }),
            ("line_chat::chat", Level::Info) => {
                if let Some(record) = coming_or_going(&words) {
                    write(record);
                }
            }
            _ => {}
        }
    }

    fn flush(&self) {}
}

fn coming_or_going(words: &str) -> Option<Record> {
    if let Some((nick, peer)) = words.split_once(" is joining the chat from ") {
        let nick = nick.to_owned();
        return peer_at(peer).map(|peer| Record::Joined { peer, nick });
    }
    if let Some((peer, reason)) = words.split_once(" is leaving without a nick: ") {
        let reason = Reason::parse(reason);
        return peer_at(peer).map(|peer| Record::LeftWithoutNick { peer, reason });
    }
    let (nick, reason) = words.split_once(" is leaving the chat: ")?;
    Some(Record::LeftAs {
        nick: nick.to_owned(),
        reason: Reason::parse(reason),
    })
}

pub(crate) fn addr_of(peer: Peer) -> SocketAddr {
    (Ipv4Addr::from_bits(peer), 6142).into()
}

fn peer_at(addr: &str) -> Option<Peer> {
    match addr.parse() {
        Ok(SocketAddr::V4(addr)) => Some(addr.ip().to_bits()),
        _ => None,
    }
}
