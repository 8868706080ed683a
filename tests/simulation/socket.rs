//! A TCP socket and its registration, as Linux has them: [`Socket`] is the kernel's state, shared
//! by the [`ServerEnd`] that the engine reads and writes, by the poll loop, and by the peer.
//!
//! An event comes once. A socket becomes `armed` by an edge: data, FIN or RST arrives, room comes
//! up that a write had found missing, or it is registered anew while it is ready. What the event
//! says is the readiness when it is taken (epoll(7), `EPOLLET`), so a FIN that was queued by then is
//! told together with the data before it, and never again.
//!
//! Each call also asserts what an engine owes to a stream, plain or [veiled](crate::veil): no call after
//! an error, none after the end, none before an event once it would block, and few a turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::engine::{ClientId, Interest, Liveness, Stream};
use rustix::io::Errno;

use crate::journal::{self, Peer, Record};
use crate::listener::Descriptor;
use crate::tally::Cases;
use crate::veil::Veil;

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
    /// ENOBUFS, ENOMEM: the system has no memory, and no event tells when it has.
    pub(crate) starved: f64,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        interrupted: 0.0,
        falsely_blocked: 0.0,
        short: 0.0,
        broken: 0.0,
        unregistrable: 0.0,
        starved: 0.0,
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
    pub(crate) rng: Rng,
    faults: Faults,
    /// What stands between the kernel and the engine, if anything does.
    veil: Option<Veil>,
    /// It was dialed, and this is how far that has got.
    dialed: Option<Dialed>,

    /// What has arrived and was not read.
    arrived: VecDeque<u8>,
    /// Where in `arrived` urgent data stands: a read stops before it.
    urgent_at: Option<usize>,
    /// The peer's FIN stands behind `arrived`.
    fin: bool,
    /// When the last turn began.
    now: Option<Instant>,
    /// The peer has vanished: nothing comes from it any more, and it has answered nothing since.
    vanished_at: Option<Instant>,
    /// How many keepalive probes it has left unanswered.
    probes: u32,
    /// Since when something is unacknowledged that was sent to it.
    unacknowledged: Option<Instant>,
    /// How often the kernel was asked about the peer.
    pub(crate) asked: u32,
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

    /// What the engine may do without breaking its word.
    may_read: bool,
    may_write: bool,
    may_flush: bool,
    may_shut: bool,
    /// What the engine has to know of: it was told of input that it has not come to the end of.
    pub(crate) unread: bool,
    read_on: bool,
    ended: bool,
    failed: bool,
    /// A write has failed.
    is_deaf: bool,
    pub(crate) shut: bool,
    reads_this_turn: u32,
    writes_this_turn: u32,
    /// The system has no memory for it, until somebody says so.
    pub(crate) is_starved: bool,
    /// When it last had none for a write, or for a read.
    write_starved_at: Option<Instant>,
    read_starved_at: Option<Instant>,
    /// How many calls failed for want of memory.
    pub(crate) starved_calls: u32,
}

/// Before this, trying again is spinning.
/// What a read counts at least that leaves input behind although there was room for it, in bytes.
const BOUNDED_READ_BYTES: u64 = 4096;

const STARVED: Duration = Duration::from_millis(10);

/// How far a connect(2) has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialed {
    InProgress,
    /// It is connected, which the next call finds out.
    Established,
    Refused,
}

/// The socket as the engine holds it: an open file.
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
            veil: None,
            dialed: None,
            arrived: VecDeque::new(),
            urgent_at: None,
            now: None,
            vanished_at: None,
            probes: 0,
            unacknowledged: None,
            asked: 0,
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
            may_flush: true,
            may_shut: true,
            unread: false,
            read_on: false,
            ended: false,
            failed: false,
            is_deaf: false,
            shut: false,
            reads_this_turn: 0,
            writes_this_turn: 0,
            is_starved: false,
            write_starved_at: None,
            read_starved_at: None,
            starved_calls: 0,
        }
    }

    /// Puts a veil around it.
    pub(crate) fn veiled(self, veil: Veil) -> Self {
        Self {
            veil: Some(veil),
            ..self
        }
    }

    /// A connection that the server begins.
    pub(crate) fn dialed(self) -> Self {
        Self {
            dialed: Some(Dialed::InProgress),
            ..self
        }
    }

    pub(crate) fn cases(&self) -> Cases {
        self.veil
            .as_ref()
            .map(|veil| veil.cases)
            .unwrap_or_default()
    }

    fn chance(&mut self, of: f64) -> bool {
        of > 0.0 && self.rng.f64() < of
    }

    /// A readiness comes up, and the next event tells of it.
    pub(crate) fn arm(&mut self) {
        self.armed = true;
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

    /// Whether the server has let go of it.
    pub(crate) fn is_gone(&self) -> bool {
        self.deregistered || self.dropped
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

    /// The peer of a client is gone without a FIN or RST.
    pub(crate) fn vanish(&mut self) {
        if self.id.is_some() && !self.has_hung_up() && self.vanished_at.is_none() {
            self.vanished_at = self.now;
            let (peer, at) = (self.peer, self.vanished_at);
            journal::write(Record::Vanished { peer, at });
        }
    }

    /// The peer is there again, and acknowledges what was sent to it.
    pub(crate) fn come_back(&mut self) {
        self.vanished_at = None;
        self.probes = 0;
        self.unacknowledged = None;
        let (peer, at) = (self.peer, None);
        journal::write(Record::Vanished { peer, at });
    }

    pub(crate) fn has_vanished(&self) -> bool {
        self.vanished_at.is_some()
    }

    /// Another keepalive probe stays unanswered.
    pub(crate) fn miss_probe(&mut self) {
        self.probes += 1;
    }

    /// What the kernel knows of the peer.
    pub(crate) fn liveness(&mut self, now: Instant) -> Liveness {
        assert!(!self.deregistered, "asked about after its end");
        self.asked += 1;
        let Some(vanished_at) = self.vanished_at else {
            return match self.unread_by_peer {
                0 => Liveness::Answered,
                _ => Liveness::Pending,
            };
        };
        let heard = now - vanished_at;
        match (self.unacknowledged, self.probes) {
            (Some(at), _) => Liveness::Unacknowledged {
                heard,
                // Not every system can tell that.
                waited: if self.peer.is_multiple_of(2) {
                    now - at
                } else {
                    Duration::ZERO
                },
            },
            (None, 0) => Liveness::Answered,
            (None, probes) => Liveness::Unanswered {
                probes,
                heard,
                waited: heard,
            },
        }
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

    /// The peer answers a connect(2).
    pub(crate) fn answer(&mut self, answer: Dialed) {
        self.dialed = Some(answer);
        self.armed = true;
    }

    // The kernel's side.

    /// As `sk_stream_is_writeable`: a little room does not count.
    pub(crate) fn has_space(&self) -> bool {
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
        if self.dialed == Some(Dialed::InProgress) {
            return None;
        }
        self.no_space |= !self.has_space();
        let is_refused = self.dialed == Some(Dialed::Refused);
        let is_over = self.reset || is_refused;
        let has_space = self.has_space();
        let has_partial = self.veil.as_ref().is_some_and(Veil::has_partial);
        let event = Event {
            id: self.id?,
            readable: !self.arrived.is_empty() || self.fin || is_over || has_partial,
            read_on: self.fin || is_over || self.urgent_at.is_some(),
            writable: is_over || (has_space && self.interest == Interest::ReadableAndWritable),
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
        journal::number(peer, id);
        journal::write(Record::Registered { peer, ip });
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

    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chance(self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.chance(self.faults.broken) {
            self.reset();
        }
        if self.arrived.is_empty() {
            return match (self.reset, self.fin) {
                (true, _) => Err(ErrorKind::ConnectionReset.into()),
                (false, true) => Ok(0),
                (false, false) => Err(ErrorKind::WouldBlock.into()),
            };
        }
        if self.chance(self.faults.falsely_blocked) {
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
        self.arrived.read_exact(&mut buffer[..most])?;
        Ok(most)
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chance(self.faults.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.chance(self.faults.broken) {
            self.reset();
        }
        if self.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = self.take(bytes.len());
        if self.vanished_at.is_some() && taken > 0 {
            self.unacknowledged = self.unacknowledged.or(self.now);
        }
        self.no_space |= taken < bytes.len();
        if self.gone {
            self.reset();
        }
        match taken {
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
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

    // The engine's side.

    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.now = Some(now);
        self.reads_this_turn = 0;
        self.writes_this_turn = 0;
    }

    /// The engine was told, truly or not, that the stream is ready.
    pub(crate) fn told(&mut self, event: Event) {
        self.may_read |= event.readable;
        self.may_write |= event.writable;
        self.may_flush |= event.writable;
        self.may_shut |= event.writable;
        self.unread |= event.readable && !self.ended;
        self.read_on |= event.readable && event.read_on;
    }

    /// Whether the engine knows that there is something to read, or may be: an event has told, or the system
    /// had no memory when it tried.
    pub(crate) fn is_to_be_read(&self) -> bool {
        self.unread || self.read_starved_at.is_some()
    }

    /// What the engine owes to this stream when no event is on its way and it says it has no work.
    /// `is_heard`: nothing keeps it from reading. `is_pending`: it has something to write.
    pub(crate) fn assert_nothing_is_forgotten(&self, is_heard: bool, is_pending: bool) {
        let peer = self.peer;
        let waits_for_output = self.veil.as_ref().is_some_and(Veil::waits_for_output);
        let holds = self.holds_input();
        let arrived = !self.arrived.is_empty() || self.fin && !self.ended || self.reset;
        let arrived = arrived && self.read_starved_at.is_none();
        let is_ours = is_heard || self.shut;
        let unread = holds || arrived && !waits_for_output;
        assert!(!(is_ours && unread), "peer {peer}: input forgotten");
        let is_dead = self.is_deaf || self.failed;
        let waits = self.is_handshaking() && !self.owes_output();
        let unsent = is_pending && !waits || self.owes_output();
        let is_starved = self.write_starved_at.is_some();
        let stuck = unsent && !is_starved && self.has_space() && !is_dead && self.dialed.is_none();
        assert!(!stuck, "peer {peer}: output forgotten");
        let is_watched = self.interest == Interest::ReadableAndWritable;
        let is_ending = !self.shut && self.veil.as_ref().is_some_and(Veil::is_ending);
        let unsent = is_pending || self.owes_output() || is_ending;
        let is_watched = is_watched || unsent && is_starved;
        assert!(is_watched || !unsent || is_dead, "peer {peer}: not watched");
        assert!(
            !is_watched || unsent || is_dead,
            "peer {peer}: watched for nothing"
        );
    }

    /// Whether it takes nothing now, so that whatever is queued may stay there.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.has_space() || self.is_handshaking() || self.write_starved_at.is_some()
    }

    /// Whether enough time has passed since memory was short.
    fn may_try_again(&self, starved_at: Option<Instant>) -> bool {
        starved_at.is_some_and(|at| self.now.is_some_and(|now| now >= at + STARVED))
    }

    /// Whether the system has no memory now. What stands between it and the engine says nothing of that.
    fn starves(&mut self) -> bool {
        let starves = self.veil.is_none() && self.id.is_some() && self.now.is_some();
        let starves = starves && (self.is_starved || self.chance(self.faults.starved));
        self.starved_calls += u32::from(starves);
        starves
    }

    fn no_memory(&mut self) -> io::Error {
        let errno = if self.rng.bool() {
            Errno::NOBUFS
        } else {
            Errno::NOMEM
        };
        errno.into()
    }

    fn holds_input(&self) -> bool {
        self.veil.as_ref().is_some_and(Veil::holds_input)
    }

    fn owes_output(&self) -> bool {
        self.dialed.is_some() || self.veil.as_ref().is_some_and(Veil::owes_output)
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.dialed.is_some() || self.veil.as_ref().is_some_and(Veil::is_handshaking)
    }

    /// A write has failed. What arrived before can still be read, with no further event.
    fn deafen(&mut self) {
        if self.id.is_none() {
            self.failed = true;
            let peer = self.peer;
            return journal::write(Record::Failed { peer });
        }
        self.is_deaf = true;
        self.may_read = true;
        self.unread = true;
        self.read_on = true;
        let peer = self.peer;
        journal::write(Record::Deafened { peer });
    }

    fn fail(&mut self, kind: ErrorKind) -> io::Error {
        self.failed = true;
        let peer = self.peer;
        journal::write(Record::Failed { peer });
        kind.into()
    }

    /// Lets the veil, if there is one, work on the socket.
    fn unveil<R>(&mut self, work: impl FnOnce(Option<&mut Veil>, &mut Self) -> R) -> R {
        let mut veil = self.veil.take();
        let result = work(veil.as_mut(), self);
        self.veil = veil;
        result
    }

    /// As a dialed connection answers each call.
    fn finish_connecting(&mut self) -> io::Result<()> {
        match self.dialed {
            None => Ok(()),
            Some(Dialed::InProgress) => Err(ErrorKind::WouldBlock.into()),
            Some(Dialed::Established) => {
                self.dialed = None;
                Ok(())
            }
            Some(Dialed::Refused) => Err(ErrorKind::ConnectionRefused.into()),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let peer = self.peer;
        // A peer that is refused is read once, whatever happened before, with no event.
        let is_client = self.id.is_some();
        let is_over = self.ended || is_client && self.failed;
        assert!(!is_over, "peer {peer}: read after end");
        // Reads that failed are made again together, so for some of them that is soon.
        let is_later = self.read_starved_at.is_some_and(|at| Some(at) < self.now);
        let may_read = self.may_read || is_later;
        assert!(!is_client || may_read, "peer {peer}: read before its event");
        if self.starves() {
            self.read_starved_at = self.now;
            self.may_read = false;
            self.unread = false;
            return Err(self.no_memory());
        }
        self.read_starved_at = None;
        self.may_read = true;
        let was_handshaking = self.is_handshaking();
        let result = self.finish_connecting().and_then(|()| {
            self.unveil(|veil, socket| match veil {
                Some(veil) => veil.read(socket, buffer),
                None => socket.receive(buffer),
            })
        });
        let is_interrupted = |error: &io::Error| error.kind() == ErrorKind::Interrupted;
        if result.as_ref().is_err_and(is_interrupted) {
            return result;
        }
        if was_handshaking {
            self.may_write = true;
            self.may_flush = true;
            if !self.is_handshaking() {
                journal::write(Record::Shaken { peer });
            }
        }
        self.reads_this_turn += 1;
        // The end of a stream is looked for behind its last line. And while the room waits, it is looked for
        // behind what is held.
        let most = 2 * (1 + u32::from(self.read_on));
        assert!(self.reads_this_turn <= most, "peer {peer}: reads in a turn");
        match result {
            Ok(0) => {
                self.ended = true;
                self.unread = false;
                journal::write(Record::Ended { peer });
                Ok(0)
            }
            Ok(n) => {
                self.unread = n == buffer.len() || self.read_on || self.holds_input();
                let bytes = buffer[..n].to_vec();
                journal::write(Record::Read { peer, bytes });
                if n < buffer.len() {
                    self.note_bounded(n);
                }
                Ok(n)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let held = self.holds_input();
                self.note_bounded(0);
                self.may_read = held;
                self.unread = held;
                self.read_on &= held;
                Err(error)
            }
            Err(error) => Err(self.fail(error.kind())),
        }
    }

    /// A read has given `n` bytes, and there was room for more.
    fn note_bounded(&mut self, n: usize) {
        if self.id.is_some() && self.holds_input() {
            let n = u64::try_from(n).expect("a small number");
            let excess = BOUNDED_READ_BYTES.saturating_sub(n);
            journal::write(Record::Bounded {
                peer: self.peer,
                excess,
            });
        }
    }

    /// As SO_ERROR (socket(7)): whoever has hung up may be gone.
    fn check(&mut self) -> io::Result<()> {
        let peer = self.peer;
        assert!(self.ended, "peer {peer}: checked before its end");
        assert!(!self.failed, "peer {peer}: checked after an error");
        match self.reset {
            true => Err(self.fail(ErrorKind::ConnectionReset)),
            false => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let peer = self.peer;
        assert!(!bytes.is_empty(), "peer {peer}: nothing written");
        let is_over = self.shut || self.failed || self.is_deaf;
        assert!(
            !is_over,
            "peer {peer}: write after end: {:?}",
            (self.shut, self.failed, self.is_deaf)
        );
        let may_write = self.may_write || self.may_try_again(self.write_starved_at);
        assert!(may_write, "peer {peer}: write before its event");
        if self.starves() {
            self.write_starved_at = self.now;
            self.may_write = false;
            let offered = bytes.len();
            journal::write(Record::Wrote {
                peer,
                offered,
                bytes: Vec::new(),
                is_sent: true,
            });
            return Err(self.no_memory());
        }
        self.write_starved_at = None;
        self.may_write = true;
        let owed_in_handshake = self.is_handshaking() && self.owes_output();
        let result = self.finish_connecting().and_then(|()| {
            self.unveil(|veil, socket| match veil {
                Some(veil) => veil.write(socket, bytes),
                None => socket.send(bytes),
            })
        });
        let taken = match result {
            Ok(taken) => taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                self.deafen();
                return Err(error);
            }
        };
        self.writes_this_turn += 1;
        // One for what was said, and one each time that somebody is found to be gone and is announced.
        let most = 8;
        assert!(
            self.writes_this_turn <= most,
            "peer {peer}: writes in a turn"
        );
        self.pay(owed_in_handshake);
        let is_sent = !self.owes_output();
        self.may_write = taken == bytes.len() && is_sent;
        self.may_flush = true;
        let offered = bytes.len();
        let bytes = bytes[..taken].to_vec();
        journal::write(Record::Wrote {
            peer,
            offered,
            bytes,
            is_sent,
        });
        match taken {
            0 => Err(ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    /// What it owed in its handshake may be gone, and the read half has waited for that.
    fn pay(&mut self, owed_in_handshake: bool) {
        if owed_in_handshake && !self.owes_output() {
            self.may_read = true;
            self.unread = true;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let peer = self.peer;
        let is_over = self.shut || self.failed || self.is_deaf;
        assert!(!is_over, "peer {peer}: flush after end");
        assert!(self.owes_output(), "peer {peer}: it owes nothing");
        assert!(self.may_flush, "peer {peer}: flush before its event");
        let owed_in_handshake = self.is_handshaking();
        let result = self.finish_connecting().and_then(|()| {
            self.unveil(|veil, socket| veil.map_or(Ok(()), |veil| veil.send(socket)))
        });
        match result {
            Ok(()) => {
                self.pay(owed_in_handshake);
                self.may_write = true;
                let peer = self.peer;
                journal::write(Record::Sent { peer });
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.may_flush = false;
                self.may_write = false;
                Err(error)
            }
            Err(error) => {
                self.deafen();
                Err(error)
            }
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let peer = self.peer;
        let is_client = self.id.is_some();
        let is_over = self.shut || is_client && (self.failed || self.is_deaf);
        assert!(!is_over, "peer {peer}: shut down twice");
        if is_client {
            assert!(!self.owes_output(), "peer {peer}: shut down with a debt");
            assert!(self.may_shut, "peer {peer}: shut down before its event");
            let announced =
                self.unveil(|veil, socket| veil.map_or(Ok(()), |veil| veil.announce_end(socket)));
            if announced.is_err() {
                self.may_shut = false;
                self.may_write = false;
                return announced;
            }
        }
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
        self.socket.borrow_mut().flush()
    }
}

impl Stream for ServerEnd {
    fn holds_input(&self) -> bool {
        self.socket.borrow().holds_input()
    }

    fn owes_output(&self) -> bool {
        self.socket.borrow().owes_output()
    }

    fn is_handshaking(&self) -> bool {
        self.socket.borrow().is_handshaking()
    }

    fn is_encrypted(&self) -> bool {
        self.socket.borrow().veil.is_some()
    }

    fn announces_end(&self) -> bool {
        let socket = self.socket.borrow();
        socket.veil.as_ref().is_some_and(Veil::announces_end)
    }

    fn is_connecting(&self) -> bool {
        self.socket.borrow().dialed.is_some()
    }

    fn check(&mut self) -> io::Result<()> {
        self.socket.borrow_mut().check()
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.borrow_mut().shutdown_write()
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        self.socket.borrow_mut().dropped = true;
    }
}
