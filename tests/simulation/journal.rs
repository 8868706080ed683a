//! What an engine does, in the order in which it does it: its calls on the streams, and its events.
//! The events come from an [`Observer`] and the calls from the sockets themselves, so the journal is the
//! thread's, as a simulation is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use line_chat::engine::ClientId;
use line_chat::{CloseReason, Event, Heard, Observer};

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
        ip: IpAddr,
    },
    /// A read gave these bytes; never empty.
    Read {
        peer: Peer,
        bytes: Vec<u8>,
    },
    /// A read left input behind although there was room for it, and counts as so many bytes more.
    Bounded {
        peer: Peer,
        excess: u64,
    },
    /// The handshake of its stream is over.
    Shaken {
        peer: Peer,
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
        /// All that was accepted is sent.
        is_sent: bool,
    },
    /// All that the stream had accepted is sent.
    Sent {
        peer: Peer,
    },
    /// A write failed: the stream takes nothing more.
    Deafened {
        peer: Peer,
    },
    /// The peer sends nothing any more since then; `None`: it is there again.
    Vanished {
        peer: Peer,
        at: Option<Instant>,
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
    Freed {
        peer: Peer,
    },
    Joined {
        peer: Peer,
        nick: String,
    },
    Renamed {
        peer: Peer,
        old: String,
        new: String,
    },
    Left {
        peer: Peer,
        nick: Option<String>,
        has_sent: bool,
        reason: CloseReason,
    },
    /// A line for the room, without its end.
    Said {
        peer: Peer,
        line: Vec<u8>,
        is_bulk: bool,
    },
    /// What a member did, as people see it, without its end.
    Acted {
        peer: Peer,
        text: String,
        line: Vec<u8>,
    },
    /// A line of the server's for all people, without its end.
    Noticed {
        line: Vec<u8>,
    },
    Whispered,
    /// A line for this client alone, without its end.
    Replied {
        peer: Peer,
        line: Vec<u8>,
    },
    /// A telnet answer for this client.
    Negotiated {
        peer: Peer,
        answer: [u8; 3],
    },
    Skipped {
        peer: Peer,
        lines: u64,
    },
    Stalled {
        peer: Peer,
    },
    DialFailed,
    TranscriptBegun {
        peer: Peer,
        lost_lines: u64,
    },
    TranscriptEnded {
        reason: CloseReason,
        lost_lines: u64,
    },
    /// An operator bans somebody, or a network.
    Banned,
}

impl Record {
    /// Whose stream or number it is about.
    pub(crate) fn peer(&self) -> Option<Peer> {
        match *self {
            Self::Registered { peer, .. }
            | Self::Connected { peer }
            | Self::Read { peer, .. }
            | Self::Ended { peer }
            | Self::Wrote { peer, .. }
            | Self::Sent { peer }
            | Self::Deafened { peer }
            | Self::Failed { peer }
            | Self::ShutDownWrite { peer }
            | Self::Deregistered { peer }
            | Self::Freed { peer }
            | Self::Skipped { peer, .. } => Some(peer),
            _ => None,
        }
    }
}

thread_local! {
    static JOURNAL: RefCell<Vec<Record>> = const { RefCell::new(Vec::new()) };
    static PEERS: RefCell<HashMap<SocketAddr, Peer>> = RefCell::new(HashMap::new());
    static IDS: RefCell<HashMap<ClientId, Peer>> = RefCell::new(HashMap::new());
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

/// Whose number that is, from here on.
pub(crate) fn number(peer: Peer, id: ClientId) {
    IDS.with_borrow_mut(|ids| ids.insert(id, peer));
}

/// A new run begins: nothing is known of the one before.
pub(crate) fn begin() {
    JOURNAL.take();
    PEERS.take();
    IDS.take();
}

/// Writes the events of an engine into the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Journal;

impl Observer for Journal {
    fn on_event(&mut self, _: Instant, event: Event<'_>) {
        if let Some(record) = record(event) {
            write(record);
        }
    }
}

fn record(event: Event<'_>) -> Option<Record> {
    Some(match event {
        Event::Connected { id, .. } => Record::Connected { peer: by_id(id) },
        Event::Refused { peer, reason, .. } => Record::Refused {
            peer: by_addr(peer).0,
            ip: by_addr(peer).1,
            reason,
        },
        Event::Unregistrable { peer, .. } => {
            let (peer, ip) = by_addr(peer);
            Record::Unregistrable { peer, ip }
        }
        Event::Left {
            id,
            nick,
            heard,
            reason,
            ..
        } => Record::Left {
            peer: by_id(id),
            nick: nick.map(str::to_owned),
            has_sent: heard != Heard::Nothing,
            reason,
        },
        Event::Freed { id } => Record::Freed { peer: by_id(id) },
        Event::Joined { id, nick, .. } => Record::Joined {
            peer: by_id(id),
            nick: nick.to_owned(),
        },
        Event::Renamed { id, old, new } => Record::Renamed {
            peer: by_id(id),
            old: old.to_owned(),
            new: new.to_owned(),
        },
        Event::Said {
            id, line, is_bulk, ..
        } => Record::Said {
            peer: by_id(id),
            line: line.to_vec(),
            is_bulk,
        },
        Event::Acted { id, text, line, .. } => Record::Acted {
            peer: by_id(id),
            text: text.to_owned(),
            line: line.to_vec(),
        },
        Event::Noticed { line } => Record::Noticed {
            line: line.to_vec(),
        },
        Event::Whispered { .. } => Record::Whispered,
        Event::Replied { id, line, .. } => Record::Replied {
            peer: by_id(id),
            line: line.to_vec(),
        },
        Event::Negotiated { id, answer, .. } => Record::Negotiated {
            peer: by_id(id),
            answer,
        },
        Event::Skipped { id, lines } => Record::Skipped {
            peer: by_id(id),
            lines,
        },
        Event::Stalled { id } => Record::Stalled { peer: by_id(id) },
        Event::DialFailed { .. } => Record::DialFailed,
        Event::TranscriptBegun { id, lost_lines } => Record::TranscriptBegun {
            peer: by_id(id),
            lost_lines,
        },
        Event::TranscriptEnded { reason, lost_lines } => {
            Record::TranscriptEnded { reason, lost_lines }
        }
        Event::OperatorCommand { command, .. } if command.starts_with("/ban ") => Record::Banned,
        // A failed call stands in the journal already.
        _ => return None,
    })
}

fn by_id(id: ClientId) -> Peer {
    let peer = IDS.with_borrow(|ids| ids.get(&id).copied());
    peer.expect("a client that was registered")
}

fn by_addr(peer: line_chat::Peer) -> (Peer, IpAddr) {
    let line_chat::Peer::Ip(addr) = peer else {
        panic!("{peer} is no address");
    };
    let peer = PEERS.with_borrow(|peers| peers.get(&addr).copied());
    (peer.expect("a peer that was introduced"), addr.ip())
}
