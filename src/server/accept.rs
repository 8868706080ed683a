//! How connections are accepted: [`Acceptor`] goes round its listeners within a budget, remembers
//! who may still have somebody waiting, and survives the want of descriptors and of memory. It
//! knows no sockets, only [`Listen`], so every error of accept(2) can be simulated.
//!
//! An event comes once, so a listener stays marked until accept(2) says that nobody waits. When the
//! process is out of descriptors, a spare one is given up to take each client in, say why it cannot
//! stay, and close it; otherwise it would hang in the queue and know nothing. When that does not
//! help either, those who wait go on waiting, and accepting is tried again by the clock, because no
//! event will tell when it can succeed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use log::warn;
use rustix::io::Errno;

use crate::config::interactive::Mode;
use crate::engine::{Chat, Registry, Stream};
use crate::protocol::close_reason::CloseReason;
use crate::time::log_throttle::Seldom;

/// A non-blocking listener.
pub trait Listen {
    /// What a connection is.
    type Stream: Stream;
    /// A descriptor that can be given up.
    type Spare;

    /// What its clients are sent beside what others say.
    fn mode(&self) -> Mode {
        Mode::Bare
    }

    /// Takes the next connection out of the queue, with its peer's address.
    ///
    /// # Errors
    /// As accept(2); [`WouldBlock`](io::ErrorKind::WouldBlock) if nobody waits.
    fn accept(&mut self) -> io::Result<(Self::Stream, SocketAddr)>;

    /// Takes a descriptor for later.
    ///
    /// # Errors
    /// If there is none.
    fn open_spare() -> io::Result<Self::Spare>;
}

/// Listeners, and what has to be remembered about them between two turns.
pub struct Acceptor<L: Listen> {
    listeners: Vec<Listener<L>>,
    /// Which one is asked first, a different one each turn.
    first: usize,
    per_turn: usize,
    spare: Option<L::Spare>,
    back_off: BackOff,
    /// Accepts that failed for want of something.
    shortages: Seldom,
}

#[derive(Debug)]
struct Listener<L> {
    socket: L,
    /// Connections may wait: there was no WouldBlock since the last event that said so.
    waiting: bool,
}

impl<L: Listen> Acceptor<L> {
    /// Accepts from `sockets`, `per_turn` connections a turn at most, 1 or more.
    pub fn new(sockets: Vec<L>, per_turn: usize) -> Self {
        let listener = |socket| Listener {
            socket,
            waiting: false,
        };
        Self {
            listeners: sockets.into_iter().map(listener).collect(),
            first: 0,
            per_turn,
            spare: L::open_spare().ok(),
            back_off: BackOff::default(),
            shortages: Seldom::default(),
        }
    }

    /// The listeners, in the order in which they were given.
    pub fn sockets(&self) -> impl Iterator<Item = &L> {
        self.listeners.iter().map(|listener| &listener.socket)
    }

    /// An event said that somebody waits at this listener.
    pub fn mark(&mut self, index: usize) {
        if let Some(listener) = self.listeners.get_mut(index) {
            listener.waiting = true;
        }
    }

    /// Accepts nobody any more; who waits is refused by the system.
    pub fn close(&mut self) {
        self.listeners.clear();
        self.back_off = BackOff::default();
    }

    /// Whether the last turn left somebody waiting who can be served at once.
    pub fn has_work(&self) -> bool {
        self.back_off.until.is_none() && self.listeners.iter().any(|listener| listener.waiting)
    }

    /// When accepting has to be tried again, or a shortage told of, though nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.back_off.until
    }

    /// Takes those who wait into the chat, within the budget of a turn.
    pub fn accept(
        &mut self,
        now: Instant,
        chat: &mut Chat<L::Stream>,
        registry: &mut impl Registry<L::Stream>,
    ) {
        if self.back_off.is_on(now) || self.listeners.is_empty() {
            return;
        }
        if self.spare.is_none() {
            self.spare = L::open_spare().ok();
        }
        let mut budget = self.per_turn;
        self.first = (self.first + 1) % self.listeners.len();
        let (later, first) = self.listeners.split_at_mut(self.first);
        for listener in first.iter_mut().chain(later) {
            while listener.waiting && budget > 0 {
                budget -= 1;
                let error = match listener.socket.accept() {
                    Ok((stream, peer)) => {
                        self.back_off = BackOff::default();
                        let mode = listener.socket.mode();
                        chat.accept(stream, canonical(peer), mode, now, registry);
                        continue;
                    }
                    Err(error) => error,
                };
                let mut what = AcceptError::of(&error);
                if what == AcceptError::NoDescriptor && self.spare.take().is_some() {
                    let refused = turn_away(listener, chat);
                    self.spare = L::open_spare().ok();
                    let Some(instead) = refused else {
                        tell_shortage(&mut self.shortages, now, &error);
                        continue;
                    };
                    what = instead;
                }
                match what {
                    AcceptError::NobodyWaits => listener.waiting = false,
                    AcceptError::ThatOneIsGone => {}
                    AcceptError::NoDescriptor | AcceptError::NoMemory => {
                        tell_shortage(&mut self.shortages, now, &error);
                        return self.back_off.failed(now);
                    }
                }
            }
        }
    }
}

/// Accepts one with the spare descriptor, only to tell it. `None` if that was done: the want of
/// descriptors is found before the queue is looked at (accept(2)), so perhaps nobody waits, and
/// something else may be wanting as well.
fn turn_away<L: Listen>(
    listener: &mut Listener<L>,
    chat: &mut Chat<L::Stream>,
) -> Option<AcceptError> {
    match listener.socket.accept() {
        Ok((stream, peer)) => {
            chat.refuse(stream, canonical(peer), CloseReason::ServerFull);
            None
        }
        Err(error) => Some(AcceptError::of(&error)),
    }
}

fn tell_shortage(shortages: &mut Seldom, now: Instant, error: &io::Error) {
    if let Some(count) = shortages.count(now) {
        let what_to_do = match AcceptError::of(error) {
            AcceptError::NoDescriptor => {
                "raise the limit of open files (ulimit -n) or lower the number of clients"
            }
            _ => "it is tried again until the system has enough",
        };
        warn!(
            "cannot serve new connections ({count} times since this was last said): {error}; {what_to_do}"
        );
    }
}

/// An IPv4 peer on a dual-stack socket is an IPv4 peer (RFC 4291, 2.5.5.2).
fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

impl<L: Listen + fmt::Debug> fmt::Debug for Acceptor<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("listeners", &self.listeners)
            .field("has_spare", &self.spare.is_some())
            .field("back_off", &self.back_off)
            .finish_non_exhaustive()
    }
}

/// What an error of accept(2) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AcceptError {
    /// The queue is empty: an event will tell when it no longer is.
    NobodyWaits,
    /// The next one in the queue may be fine.
    ThatOneIsGone,
    /// The process has no descriptor left.
    NoDescriptor,
    /// The system is short of something. Those who wait go on waiting, and no event will tell when
    /// they can be served.
    NoMemory,
}

impl AcceptError {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::NobodyWaits,
            Some(Errno::MFILE) => Self::NoDescriptor,
            Some(Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) | None => Self::NoMemory,
            // ECONNABORTED, EINTR, EPROTO, and the network errors of the one connection
            // (accept(2)).
            Some(_) => Self::ThatOneIsGone,
        }
    }
}

/// The wait after an accept that failed for want of resources: 10 ms, doubled up to a second.
#[derive(Debug)]
struct BackOff {
    until: Option<Instant>,
    next: Duration,
}

const MIN_BACK_OFF: Duration = Duration::from_millis(10);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);

impl Default for BackOff {
    fn default() -> Self {
        Self {
            until: None,
            next: MIN_BACK_OFF,
        }
    }
}

impl BackOff {
    /// Whether there is still to be waited; forgets a wait that is over.
    fn is_on(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|&until| now < until);
        self.until.is_some()
    }

    fn failed(&mut self, now: Instant) {
        self.until = Some(now + self.next);
        self.next = (self.next * 2).min(MAX_BACK_OFF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{ClientId, Interest};

    /// A listener that gives these errors, the last one first.
    struct Failing(Vec<Errno>);

    /// A connection that never comes.
    enum Never {}

    impl io::Read for Never {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            match *self {}
        }
    }

    impl io::Write for Never {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            match *self {}
        }

        fn flush(&mut self) -> io::Result<()> {
            match *self {}
        }
    }

    impl Stream for Never {
        fn shutdown_write(&mut self) -> io::Result<()> {
            match *self {}
        }
    }

    impl Listen for Failing {
        type Stream = Never;
        type Spare = ();

        fn accept(&mut self) -> io::Result<(Never, SocketAddr)> {
            Err(self.0.pop().unwrap_or(Errno::AGAIN).into())
        }

        fn open_spare() -> io::Result<()> {
            Ok(())
        }
    }

    struct Unused;

    impl Registry<Never> for Unused {
        fn register(&mut self, stream: &mut Never, _: ClientId) -> io::Result<()> {
            match *stream {}
        }

        fn reregister(&mut self, stream: &mut Never, _: ClientId, _: Interest) -> io::Result<()> {
            match *stream {}
        }

        fn deregister(&mut self, stream: &mut Never) {
            match *stream {}
        }
    }

    #[test]
    fn what_the_spare_descriptor_does_not_help_against_is_waited_for() {
        let socket = Failing(vec![Errno::NFILE, Errno::MFILE]);
        let mut acceptor = Acceptor::new(vec![socket], 64);
        let mut chat = Chat::new(Default::default());
        let now = Instant::now();
        acceptor.mark(0);
        acceptor.accept(now, &mut chat, &mut Unused);
        assert!(!acceptor.has_work(), "it does not spin");
        assert_eq!(acceptor.next_deadline(), Some(now + MIN_BACK_OFF));
        acceptor.accept(now + MIN_BACK_OFF, &mut chat, &mut Unused);
        assert!(!acceptor.has_work() && acceptor.next_deadline().is_none());
    }

    #[test]
    fn the_back_off_doubles_up_to_a_second() {
        let mut back_off = BackOff::default();
        let now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..9 {
            back_off.failed(now);
            waits.push(back_off.until.map(|until| (until - now).as_millis()));
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(Some));
        assert!(back_off.is_on(now + Duration::from_millis(999)));
        assert!(!back_off.is_on(now + Duration::from_secs(1)));
    }

    #[test]
    fn accept_errors_are_told_apart() {
        let of = |errno: Errno| AcceptError::of(&errno.into());
        assert_eq!(of(Errno::AGAIN), AcceptError::NobodyWaits);
        assert_eq!(of(Errno::MFILE), AcceptError::NoDescriptor);
        for errno in [
            Errno::CONNABORTED,
            Errno::INTR,
            Errno::PROTO,
            Errno::HOSTUNREACH,
        ] {
            assert_eq!(of(errno), AcceptError::ThatOneIsGone);
        }
        for errno in [Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(of(errno), AcceptError::NoMemory);
        }
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let mapped = "[::ffff:192.0.2.1]:7".parse().expect("an address");
        assert_eq!(canonical(mapped).to_string(), "192.0.2.1:7");
        let other = "[2001:db8::1]:7".parse().expect("an address");
        assert_eq!(canonical(other), other);
    }
}
