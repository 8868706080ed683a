//! Listening sockets, as Linux has them: [`Backlog`] has a queue for each, edge-triggered, and gives every
//! error of accept(2). [`Descriptor`] is what a process has only so many of, and what others take
//! away and give back while the chat runs.
//!
//! accept(2) takes the descriptor first: who has none gets EMFILE, whether somebody waits or not.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use line_chat::Service;
use line_chat::server::accept::Listen;
use rustix::io::Errno;

use crate::journal::{self, Record};
use crate::socket::{ServerEnd, Socket};

thread_local! {
    /// How many descriptors are free, and how many of the taken ones are spare.
    static FREE: Cell<usize> = const { Cell::new(0) };
    static SPARE: Cell<usize> = const { Cell::new(0) };
    /// A spare descriptor cannot be opened: something else was quicker.
    static IS_SPARE_TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// One open file.
#[derive(Debug)]
pub(crate) struct Descriptor(());

impl Descriptor {
    pub(crate) fn open() -> io::Result<Self> {
        let left = FREE.get().checked_sub(1).ok_or(Errno::MFILE)?;
        FREE.set(left);
        Ok(Self(()))
    }

    /// The whole process may open so many.
    pub(crate) fn allow(most: usize) {
        FREE.set(most);
        IS_SPARE_TAKEN.set(false);
    }

    pub(crate) fn spare_is_taken(is_taken: bool) {
        IS_SPARE_TAKEN.set(is_taken);
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        FREE.set(FREE.get() + 1);
    }
}

/// A descriptor that can be given up.
#[derive(Debug)]
pub(crate) struct Spare(Descriptor);

impl Drop for Spare {
    fn drop(&mut self) {
        SPARE.set(SPARE.get() - 1);
    }
}

/// How often accept(2) fails, each a chance for a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptFaults {
    /// EINTR.
    pub(crate) interrupted: f64,
    /// ECONNABORTED, EPROTO: the one that was first is gone.
    pub(crate) aborted: f64,
    /// ENFILE, ENOBUFS, ENOMEM, EPERM.
    pub(crate) short: f64,
}

#[derive(Debug)]
pub(crate) struct Backlog {
    listeners: Vec<Waiting>,
    faults: AcceptFaults,
    rng: Rng,
    now: Instant,
    /// Before this, trying again is spinning.
    not_before: Option<Instant>,
    /// How long the next wait is.
    back_off: Duration,
    calls_this_turn: usize,
    /// Accepting failed for want of a descriptor, and there was none to spare.
    pub(crate) seen_short: u64,
    /// Somebody was taken in with the spare descriptor.
    pub(crate) seen_spare: u64,
    is_spare_given_up: bool,
    /// The last call took somebody in with it.
    is_spare_used: bool,
}

/// The queue of one listener.
#[derive(Debug)]
struct Waiting {
    service: Service,
    queue: VecDeque<(Rc<RefCell<Socket>>, SocketAddr)>,
    /// An event is on its way.
    armed: bool,
    /// The acceptor was told, and has not been told that nobody waits.
    may_accept: bool,
}

/// A listener as the acceptor holds it.
pub(crate) struct Listener(Rc<RefCell<Backlog>>, usize);

const MIN_BACK_OFF: Duration = Duration::from_millis(10);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

impl Backlog {
    pub(crate) fn new(services: &[Service], faults: AcceptFaults, now: Instant, rng: Rng) -> Self {
        let listener = |&service| Waiting {
            service,
            queue: VecDeque::new(),
            armed: false,
            may_accept: false,
        };
        Self {
            listeners: services.iter().map(listener).collect(),
            faults,
            rng,
            now,
            not_before: None,
            back_off: MIN_BACK_OFF,
            calls_this_turn: 0,
            seen_short: 0,
            seen_spare: 0,
            is_spare_given_up: false,
            is_spare_used: false,
        }
    }

    /// The listeners, for an acceptor.
    pub(crate) fn listeners(this: &Rc<RefCell<Self>>) -> Vec<Listener> {
        let count = this.borrow().listeners.len();
        let listener = |index| Listener(Rc::clone(this), index);
        (0..count).map(listener).collect()
    }

    /// A connection is complete.
    pub(crate) fn arrive(&mut self, at: usize, socket: Rc<RefCell<Socket>>, addr: SocketAddr) {
        let listener = &mut self.listeners[at];
        listener.queue.push_back((socket, addr));
        listener.armed = true;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listeners.iter().all(|it| it.queue.is_empty())
    }

    /// Connections that wait are refused by the system.
    pub(crate) fn close(&mut self) {
        for listener in &mut self.listeners {
            for (socket, _) in listener.queue.drain(..) {
                socket.borrow_mut().dropped = true;
            }
        }
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.listeners.iter().any(|it| it.armed)
    }

    /// Takes the events: which listeners have somebody waiting.
    pub(crate) fn take_events(&mut self) -> Vec<usize> {
        let mut told = Vec::new();
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if std::mem::take(&mut listener.armed) && !listener.queue.is_empty() {
                listener.may_accept = true;
                told.push(index);
            }
        }
        told
    }

    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
        self.calls_this_turn = 0;
        self.is_spare_used = false;
    }

    /// An accept with the spare descriptor does not count besides the one that it comes from.
    pub(crate) fn assert_turn_was_fair(&self, most: usize) {
        let calls = self.calls_this_turn;
        assert!(calls <= 2 * most, "{calls} calls of accept in a turn");
    }

    fn chance(&mut self, of: f64) -> bool {
        of > 0.0 && self.rng.f64() < of
    }

    fn accept(&mut self, at: usize) -> io::Result<(ServerEnd, line_chat::Peer)> {
        self.calls_this_turn += 1;
        assert!(self.listeners[at].may_accept, "accept before its event");
        let has_spare = SPARE.get() > 0 || IS_SPARE_TAKEN.get();
        let was_used = std::mem::take(&mut self.is_spare_used);
        assert!(has_spare || !was_used, "the spare descriptor is lost");
        if let Some(not_before) = self.not_before {
            assert!(self.now >= not_before, "accept in a wait");
        }
        let with_spare = std::mem::take(&mut self.is_spare_given_up);
        if self.chance(self.faults.interrupted) {
            return Err(Errno::INTR.into());
        }
        let descriptor = match Descriptor::open() {
            Ok(descriptor) => descriptor,
            Err(error) => {
                self.is_spare_given_up = SPARE.get() > 0;
                if !self.is_spare_given_up {
                    self.fall_short();
                }
                return Err(error);
            }
        };
        if self.chance(self.faults.short) {
            self.fall_short();
            let errors = [Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM];
            return Err(errors[self.rng.usize(..errors.len())].into());
        }
        let Some((socket, addr)) = self.listeners[at].queue.pop_front() else {
            self.listeners[at].may_accept = false;
            return Err(Errno::AGAIN.into());
        };
        if self.chance(self.faults.aborted) {
            socket.borrow_mut().dropped = true;
            let errors = [Errno::CONNABORTED, Errno::PROTO];
            return Err(errors[self.rng.usize(..errors.len())].into());
        }
        if with_spare {
            let peer = socket.borrow().peer;
            journal::write(Record::Spared { peer });
            self.is_spare_used = true;
            self.seen_spare += 1;
        } else {
            self.back_off = MIN_BACK_OFF;
        }
        Ok((ServerEnd::new(socket, descriptor), addr.into()))
    }

    /// Those who wait cannot be served: only time can help.
    fn fall_short(&mut self) {
        self.seen_short += 1;
        self.not_before = Some(self.now + self.back_off);
        self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
    }
}

impl Listen for Listener {
    type Stream = ServerEnd;
    type Spare = Spare;

    fn service(&self) -> Service {
        self.0.borrow().listeners[self.1].service
    }

    fn accept(&mut self) -> io::Result<(ServerEnd, line_chat::Peer)> {
        self.0.borrow_mut().accept(self.1)
    }

    fn open_spare() -> io::Result<Spare> {
        if IS_SPARE_TAKEN.get() {
            return Err(Errno::NFILE.into());
        }
        let descriptor = Descriptor::open()?;
        SPARE.set(SPARE.get() + 1);
        Ok(Spare(descriptor))
    }
}
