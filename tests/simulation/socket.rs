//! A TCP socket and its registration, as Linux has them: [`Socket`] is the kernel's state, shared
//! by the [`ServerEnd`] that the chat reads and writes, by the poll loop, and by the peer.
//!
//! An event comes once. A socket becomes `armed` by an edge: data, FIN or RST arrives, room comes
//! up that a write had found missing, or it is registered anew while it is ready. What the event
//! says is the readiness when it is taken (epoll(7), `EPOLLET`), so a FIN that was queued by then is
//! told together with the data before it, and never again.
//!
//! Each call also asserts what a chat owes to a stream: no call after an error, none after the end,
//! none before an event once it would block, and one a turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::rc::Rc;

use fastrand::Rng;
use line_chat::engine::{ClientId, Interest, Stream};

use crate::journal::{self, Peer, Record};
use crate::listener::Descriptor;

/// How often the world misbehaves, each a chance between 0 and 1 for a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    /// EINTR.
    pub(crate) interrupted: f64,
    /// WouldBlock although there is something, which an event makes good.
    pub(crate) falsely_blocked: f64,
    /// Less is taken or given than could be, which an event makes good.
    pub(crate) short: f64,
    /// The connection breaks under the call.
    pub(crate) broken: f64,
    /// It cannot be registered.
    pub(crate) unregistrable: f64,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        interrupted: 0.0,
        falsely_blocked: 0.0,
        short: 0.0,
        broken: 0.0,
        unregistrable: 0.0,
    };
}

/// What an event says, as `mark_client` of the poll loop tells it to the chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: ClientId,
    pub(crate) readable: bool,
    pub(crate) read_on: bool,
    pub(crate) writable: bool,
}

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) peer: Peer,
    pub(crate) ip: IpAddr,
    rng: Rng,
    faults: Faults,

    /// What has arrived and was not read.
    arrived: VecDeque<u8>,
    /// Where in `arrived` urgent data stands: a read stops before it.
    urgent_at: Option<usize>,
    /// The peer's FIN stands behind `arrived`.
    fin: bool,
    /// The peer has sent RST, or will answer the next byte with one.
    reset: bool,
    gone: bool,
    /// How much the server wrote that the peer has not read, and how much that may be; no limit for
    /// a peer that reads everything at once.
    unread_by_peer: usize,
    capacity: usize,

    /// A client's number, once it is registered.
    pub(crate) id: Option<ClientId>,
    pub(crate) interest: Interest,
    armed: bool,
    /// A write found no room: when there is some, that is an edge.
    no_space: bool,
    deregistered: bool,
    pub(crate) dropped: bool,

    /// What the chat may do without breaking its word.
    may_read: bool,
    may_write: bool,
    /// What the chat has to know of: it was told of input that it has not come to the end of.
    pub(crate) unread: bool,
    read_on: bool,
    ended: bool,
    failed: bool,
    /// A write has failed.
    is_deaf: bool,
    pub(crate) shut: bool,
    reads_this_turn: u32,
    writes_this_turn: u32,
}

/// The socket as the chat holds it: an open file.
#[derive(Debug)]
pub(crate) struct ServerEnd {
    pub(crate) socket: Rc<RefCell<Socket>>,
    #[expect(dead_code, reason = "it is held, not used")]
    descriptor: Descriptor,
}

impl ServerEnd {
    pub(crate) fn new(socket: Rc<RefCell<Socket>>, descriptor: Descriptor) -> Self {
        Self { socket, descriptor }
    }
}

impl Socket {
    pub(crate) fn new(peer: Peer, ip: IpAddr, capacity: usize, faults: Faults, rng: Rng) -> Self {
        Self {
            peer,
            ip: ip.to_canonical(),
            rng,
            faults,
            arrived: VecDeque::new(),
            urgent_at: None,
            fin: false,
            reset: false,
            gone: false,
            unread_by_peer: 0,
            capacity,
            id: None,
            interest: Interest::Readable,
            armed: false,
            no_space: false,
            deregistered: false,
            dropped: false,
            may_read: false,
            may_write: true,
            unread: false,
            read_on: false,
            ended: false,
            failed: false,
            is_deaf: false,
            shut: false,
            reads_this_turn: 0,
            writes_this_turn: 0,
        }
    }

    fn chance(&mut self, of: f64) -> bool {
        of > 0.0 && self.rng.f64() < of
    }

    // The peer's side.

    /// How many bytes the peer may send before its window is closed.
    pub(crate) fn window(&self) -> usize {
        const MOST: usize = 64 << 10;
        if self.fin || self.reset {
            0
        } else {
            MOST.saturating_sub(self.arrived.len())
        }
    }

    /// A segment arrives. With `urgent` its last byte is urgent data.
    pub(crate) fn arrive(&mut self, bytes: &[u8], urgent: bool) {
        self.arrived.extend(bytes);
        if urgent {
            self.urgent_at = self.arrived.len().checked_sub(1);
        }
        self.armed = true;
    }

    pub(crate) fn hang_up(&mut self) {
        if !self.fin && !self.reset {
            self.fin = true;
            self.armed = true;
        }
    }

    /// The peer closes both halves: the next byte that is sent to it is answered with RST.
    pub(crate) fn go(&mut self) {
        self.hang_up();
        self.gone = true;
        self.peer_reads(usize::MAX);
    }

    /// RST arrives; what arrived before it may be lost.
    pub(crate) fn reset(&mut self) {
        if self.rng.bool() {
            self.arrived.clear();
        }
        self.reset = true;
        self.armed = true;
    }

    pub(crate) fn has_hung_up(&self) -> bool {
        self.fin || self.reset
    }

    /// The peer has read everything, and knows that nothing follows.
    pub(crate) fn is_finished(&self) -> bool {
        self.shut && self.unread_by_peer == 0
    }

    /// From now on the peer reads at once whatever comes.
    pub(crate) fn read_greedily(&mut self) {
        self.capacity = usize::MAX;
        self.peer_reads(usize::MAX);
    }

    pub(crate) fn peer_reads(&mut self, most: usize) {
        self.unread_by_peer -= self.unread_by_peer.min(most);
        if self.no_space && self.has_space() {
            self.no_space = false;
            self.armed = true;
        }
    }

    // The kernel's side.

    /// As `sk_stream_is_writeable`: a little room does not count.
    fn has_space(&self) -> bool {
        self.capacity - self.unread_by_peer >= (self.capacity / 3).max(1)
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed && !self.deregistered && !self.dropped
    }

    /// Takes the event, if there is one.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        if !std::mem::take(&mut self.armed) || self.deregistered {
            return None;
        }
        self.no_space |= !self.has_space();
        let writable = self.reset || self.has_space();
        let event = Event {
            id: self.id?,
            readable: !self.arrived.is_empty() || self.fin || self.reset,
            read_on: self.fin || self.reset || self.urgent_at.is_some(),
            writable: self.reset || (writable && self.interest == Interest::ReadableAndWritable),
        };
        (event.readable || event.writable).then_some(event)
    }

    pub(crate) fn register(&mut self, id: ClientId) -> io::Result<()> {
        assert!(self.id.is_none(), "registered twice");
        if self.chance(self.faults.unregistrable) {
            return Err(ErrorKind::OutOfMemory.into());
        }
        self.id = Some(id);
        self.armed = true;
        let (peer, ip) = (self.peer, self.ip);
        journal::write(Record::Registered { peer, id, ip });
        Ok(())
    }

    pub(crate) fn reregister(&mut self, id: ClientId, interest: Interest) -> io::Result<()> {
        assert_eq!(self.id, Some(id), "registered under another number");
        assert!(!self.deregistered, "registered anew after its end");
        assert_ne!(self.interest, interest, "registered anew for nothing");
        if self.chance(self.faults.unregistrable) {
            return Err(self.fail(ErrorKind::OutOfMemory));
        }
        self.interest = interest;
        self.armed = true;
        Ok(())
    }

    pub(crate) fn deregister(&mut self) {
        assert!(self.id.is_some(), "deregistered but never registered");
        assert!(!self.deregistered, "deregistered twice");
        self.deregistered = true;
        let peer = self.peer;
        journal::write(Record::Deregistered { peer });
    }

    // The chat's side.

    pub(crate) fn begin_turn(&mut self) {
        self.reads_this_turn = 0;
        self.writes_this_turn = 0;
    }

    /// The chat was told, truly or not, that the stream is ready.
    pub(crate) fn told(&mut self, event: Event) {
        self.may_read |= event.readable;
        self.may_write |= event.writable;
        self.unread |= event.readable;
        self.read_on |= event.readable && event.read_on;
    }

    /// What the chat owes to this stream when no event is on its way and it says it has no work.
    pub(crate) fn assert_nothing_is_forgotten(&self, is_heard: bool, pending: usize) {
        let peer = self.peer;
        let unread = !self.arrived.is_empty() || self.fin && !self.ended || self.reset;
        let reads = is_heard || self.shut;
        assert!(!(reads && unread), "peer {peer}: input forgotten");
        let stuck = pending > 0 && self.has_space();
        assert!(!stuck, "peer {peer}: {pending} bytes forgotten");
        let waits = self.interest == Interest::ReadableAndWritable;
        assert_eq!(waits, pending > 0, "peer {peer}: interest");
    }

    /// A write has failed. What arrived before can still be read, with no further event.
    fn deafen(&mut self, kind: ErrorKind) -> io::Error {
        if self.id.is_none() {
            return self.fail(kind);
        }
        self.is_deaf = true;
        self.may_read = true;
        self.unread = true;
        self.read_on = true;
        let peer = self.peer;
        journal::write(Record::Deafened { peer });
        kind.into()
    }

    fn fail(&mut self, kind: ErrorKind) -> io::Error {
        self.failed = true;
        let peer = self.peer;
        journal::write(Record::Failed { peer });
        kind.into()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let peer = self.peer;
        // Who is refused is read once, whatever happened before, with no event.
        let is_client = self.id.is_some();
        let is_over = self.ended || is_client && self.failed;
        assert!(!is_over, "peer {peer}: read after end");
        assert!(
            !is_client || self.may_read,
            "peer {peer}: read before its event"
        );
        if self.chance(self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        self.reads_this_turn += 1;
        // The end of a stream is looked for behind its last line.
        let most = 1 + u32::from(self.read_on);
        assert!(self.reads_this_turn <= most, "peer {peer}: reads in a turn");
        if self.chance(self.faults.broken) {
            self.reset();
        }
        if self.arrived.is_empty() {
            return self.read_nothing();
        }
        if self.chance(self.faults.falsely_blocked) {
            self.would_block();
            self.armed = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut most = buffer.len().min(self.arrived.len());
        if self.chance(self.faults.short) {
            // The rest arrives while the call returns.
            most = self.rng.usize(1..=most);
            self.armed = true;
        }
        if let Some(at) = self.urgent_at {
            most = if at == 0 { most } else { most.min(at) };
            self.urgent_at = (at != 0).then(|| at - most);
        }
        let bytes: Vec<u8> = self.arrived.drain(..most).collect();
        buffer[..most].copy_from_slice(&bytes);
        self.unread = most == buffer.len() || self.read_on;
        journal::write(Record::Read { peer, bytes });
        Ok(most)
    }

    fn read_nothing(&mut self) -> io::Result<usize> {
        let peer = self.peer;
        if self.reset {
            return Err(self.fail(ErrorKind::ConnectionReset));
        }
        if self.fin {
            self.ended = true;
            self.unread = false;
            journal::write(Record::Ended { peer });
            return Ok(0);
        }
        self.would_block();
        Err(ErrorKind::WouldBlock.into())
    }

    fn would_block(&mut self) {
        self.may_read = false;
        self.unread = false;
        self.read_on = false;
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let peer = self.peer;
        assert!(!bytes.is_empty(), "peer {peer}: nothing written");
        let is_over = self.shut || self.failed || self.is_deaf;
        assert!(!is_over, "peer {peer}: write after end");
        assert!(self.may_write, "peer {peer}: write before its event");
        if self.chance(self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        self.writes_this_turn += 1;
        assert_eq!(self.writes_this_turn, 1, "peer {peer}: writes in a turn");
        if self.chance(self.faults.broken) {
            self.reset();
        }
        if self.reset {
            return Err(self.deafen(ErrorKind::BrokenPipe));
        }
        let offered = bytes.len();
        let taken = self.take(offered);
        if taken < offered {
            self.may_write = false;
            self.no_space = true;
        }
        let bytes = bytes[..taken].to_vec();
        journal::write(Record::Wrote {
            peer,
            offered,
            bytes,
        });
        if taken == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.gone {
            self.reset();
        }
        Ok(taken)
    }

    /// How much of `offered` bytes the kernel takes.
    fn take(&mut self, offered: usize) -> usize {
        if self.gone {
            return offered;
        }
        let mut taken = offered.min(self.capacity - self.unread_by_peer);
        if taken > 0 && self.chance(self.faults.short + self.faults.falsely_blocked) {
            // Memory was short and is there again.
            taken = self.rng.usize(0..=taken);
            self.armed = true;
        }
        if self.capacity < usize::MAX {
            self.unread_by_peer += taken;
        }
        taken
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let peer = self.peer;
        let is_over = self.shut || self.id.is_some() && (self.failed || self.is_deaf);
        assert!(!is_over, "peer {peer}: shut down twice");
        if self.reset || self.chance(self.faults.broken) {
            return Err(self.fail(ErrorKind::NotConnected));
        }
        self.shut = true;
        // Input may have come while nobody listened.
        self.may_read = true;
        self.armed |= self.fin;
        journal::write(Record::ShutDownWrite { peer });
        Ok(())
    }
}

impl Read for ServerEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.borrow_mut().read(buffer)
    }
}

impl Write for ServerEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for ServerEnd {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.borrow_mut().shutdown_write()
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        self.socket.borrow_mut().dropped = true;
    }
}
