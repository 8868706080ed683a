//! What a chat does, in the order in which it does it: its calls on the streams, and what it says
//! in its log, because only there it tells in which order it hears those who are ready and queues
//! what they are to get. The log is process-wide and a simulation has a thread, so the journal is
//! the thread's.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use line_chat::CloseReason;
use line_chat::engine::ClientId;
use log::{Level, LevelFilter, Log, Metadata};

/// A peer, in the order of connecting. No two of a run have the same number.
pub(crate) type Peer = u32;

#[derive(Debug)]
pub(crate) enum Record {
    /// It was accepted with the spare descriptor.
    Spared {
        peer: Peer,
    },
    /// A new client, under its number.
    Registered {
        peer: Peer,
        id: ClientId,
        ip: IpAddr,
    },
    Connected {
        peer: Peer,
    },
    /// It was not let in, and is told why.
    Refused {
        peer: Peer,
        ip: IpAddr,
        reason: CloseReason,
    },
    /// It was let in, but could not be registered.
    Unregistrable {
        peer: Peer,
    },
    /// A read gave these bytes; never empty.
    Read {
        peer: Peer,
        bytes: Vec<u8>,
    },
    /// A read gave the end of the stream.
    Ended {
        peer: Peer,
    },
    /// The stream was offered so many bytes and took these, or none.
    Wrote {
        peer: Peer,
        offered: usize,
        bytes: Vec<u8>,
    },
    /// A write failed: the stream takes nothing more.
    Deafened {
        peer: Peer,
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
        reason: CloseReason,
    },
    LeftWithoutNick {
        peer: Peer,
        reason: CloseReason,
    },
    /// The line that follows counts as a loud speaker's.
    Loud {
        peer: Peer,
    },
    /// A line for the room, without its end.
    Spoke {
        line: String,
    },
    /// A line for this client alone, without its end.
    Noticed {
        peer: Peer,
        words: String,
    },
    /// A telnet answer for this client.
    Answered {
        peer: Peer,
        bytes: [u8; 3],
    },
}

thread_local! {
    static JOURNAL: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
    static IS_KEPT: Cell<bool> = const { Cell::new(false) };
    static PEERS: RefCell<HashMap<SocketAddr, Peer>> = RefCell::new(HashMap::new());
}

pub(crate) fn write(record: Record) {
    JOURNAL.with_borrow_mut(|journal| journal.push(record));
}

/// Takes what was written since the last time.
pub(crate) fn take() -> Vec<Record> {
    JOURNAL.take()
}

/// Whose address that is, from here on.
pub(crate) fn introduce(peer: Peer, addr: SocketAddr) {
    let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    PEERS.with_borrow_mut(|peers| peers.insert(addr, peer));
}

/// A new run begins: nothing is known of the one before.
pub(crate) fn begin() {
    // Another thread may have done so.
    let _ = log::set_logger(&ChatLog);
    log::set_max_level(LevelFilter::Trace);
    IS_KEPT.set(true);
    JOURNAL.take();
    PEERS.take();
}

struct ChatLog;

impl Log for ChatLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        IS_KEPT.get()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !IS_KEPT.get() {
            return;
        }
        let words = || record.args().to_string();
        let read = match (record.target(), record.level()) {
            ("line_chat::room", Level::Debug) => Some(Record::Spoke { line: words() }),
            ("line_chat::engine::flush", Level::Debug | Level::Trace) => to_one(&words()),
            // One line for many who were turned away, each of whom is told of as well.
            ("line_chat::engine", Level::Info | Level::Warn)
                if words().starts_with("turned away") =>
            {
                return;
            }
            ("line_chat::engine", Level::Info | Level::Debug) => coming(&words()),
            ("line_chat::engine::read", Level::Trace) => loud(&words()),
            ("line_chat::engine::read", Level::Info) => joining(&words()),
            ("line_chat::engine::close", Level::Info) => going(&words()),
            _ => return,
        };
        // An error that the leaving tells of stands in the journal already.
        if let Some(read) = read {
            write(read);
        } else {
            panic!("a log line that says nothing: {}", words());
        }
    }

    fn flush(&self) {}
}

fn coming(words: &str) -> Option<Record> {
    if let Some(peer) = words.strip_suffix(" connected") {
        return peer_at(peer).map(|peer| Record::Connected { peer });
    }
    let (addr, reason) = words.split_once(" turned away: ")?;
    let peer = peer_at(addr)?;
    if reason.starts_with("it cannot be registered") {
        return Some(Record::Unregistrable { peer });
    }
    let ip = addr.parse::<SocketAddr>().ok()?.ip();
    reason_of(reason).map(|reason| Record::Refused { peer, ip, reason })
}

fn joining(words: &str) -> Option<Record> {
    let (nick, peer) = words.split_once(" is joining the chat from ")?;
    let nick = nick.to_owned();
    peer_at(peer).map(|peer| Record::Joined { peer, nick })
}

fn going(words: &str) -> Option<Record> {
    if let Some((peer, reason)) = words.split_once(" is leaving without a nick: ") {
        let (peer, reason) = (peer_at(peer)?, reason_of(reason)?);
        return Some(Record::LeftWithoutNick { peer, reason });
    }
    let (nick, reason) = words.split_once(" is leaving the chat: ")?;
    let (nick, reason) = (nick.to_owned(), reason_of(reason)?);
    Some(Record::LeftAs { nick, reason })
}

fn loud(words: &str) -> Option<Record> {
    let peer = peer_at(words.strip_suffix(" is loud")?)?;
    Some(Record::Loud { peer })
}

/// `to 192.0.2.1:7: * yes`, or the three bytes of a telnet answer in brackets.
fn to_one(words: &str) -> Option<Record> {
    let (peer, what) = words.strip_prefix("to ")?.split_once(": ")?;
    let peer = peer_at(peer)?;
    if let Some(bytes) = what.strip_prefix('[') {
        let bytes = bytes.strip_suffix(']')?.split(", ");
        let bytes: Result<Vec<u8>, _> = bytes.map(str::parse).collect();
        let bytes = bytes.ok()?.try_into().ok()?;
        return Some(Record::Answered { peer, bytes });
    }
    let words = what.to_owned();
    Some(Record::Noticed { peer, words })
}

fn reason_of(words: &str) -> Option<CloseReason> {
    let mut reasons = CloseReason::ALL.into_iter();
    reasons.find(|reason| reason.to_string() == words)
}

fn peer_at(addr: &str) -> Option<Peer> {
    let addr = addr.parse().ok()?;
    PEERS.with_borrow(|peers| peers.get(&addr).copied())
}
