//! How connections are accepted: [`Acceptor`] goes round its listeners within a budget, remembers which
//! of them may still have a connection waiting, and survives every error of accept(2). It knows no sockets,
//! only [`Listen`], so each of these errors can be simulated.
//!
//! An event comes once, so a listener stays marked until accept(2) says that nobody waits. When the
//! process is out of descriptors, a spare one is given up to take each client in, say why it cannot
//! stay, and close it; otherwise it would hang in the queue and know nothing. When that does not help
//! either, or when accept(2) fails in a way that lasts, it is tried again by the clock, because no event
//! will tell when it can succeed.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::config::addr::Service;
use crate::config::entrance::Entrance;
use crate::engine::{Engine, Stream};
use crate::events::{Event, Observer};
use crate::metrics::AcceptFailure;
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;

/// A non-blocking listener.
pub trait Listen {
    /// What a connection is.
    type Stream: Stream;
    /// A descriptor that can be given up.
    type Spare;

    /// What its connections get.
    fn service(&self) -> Service {
        Service::default()
    }

    /// Takes the next connection out of the queue, with its peer.
    ///
    /// # Errors
    /// As accept(2); [`WouldBlock`](io::ErrorKind::WouldBlock) if nobody waits.
    fn accept(&mut self) -> io::Result<(Self::Stream, Peer)>;

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
}

#[derive(Debug)]
struct Listener<L> {
    /// Its index in the order in which they were given.
    index: usize,
    socket: L,
    /// Connections may wait: there was no WouldBlock since the last event that said so.
    waiting: bool,
}

impl<L: Listen> Listener<L> {
    fn entrance(&self) -> Entrance {
        Entrance {
            service: self.socket.service(),
            listener: u16::try_from(self.index).ok(),
        }
    }
}

impl<L: Listen> Acceptor<L> {
    /// Accepts from `sockets`, `per_turn` connections a turn at most, 1 or more.
    pub fn new(sockets: Vec<L>, per_turn: usize) -> Self {
        let listener = |(index, socket)| Listener {
            index,
            socket,
            waiting: false,
        };
        Self {
            listeners: sockets.into_iter().enumerate().map(listener).collect(),
            first: 0,
            per_turn,
            spare: L::open_spare().ok(),
            back_off: BackOff::default(),
        }
    }

    /// The listeners, in the order in which they were given.
    pub fn sockets(&self) -> impl Iterator<Item = &L> {
        self.listeners.iter().map(|listener| &listener.socket)
    }

    /// The same, to be changed.
    pub fn sockets_mut(&mut self) -> impl Iterator<Item = &mut L> {
        let listeners = self.listeners.iter_mut();
        listeners.map(|listener| &mut listener.socket)
    }

    /// An event said that a connection waits at the listener that was given at this index.
    pub fn mark(&mut self, index: usize) {
        let mut listeners = self.listeners.iter_mut();
        if let Some(listener) = listeners.find(|listener| listener.index == index) {
            listener.waiting = true;
        }
    }

    /// Accepts nothing any more; the system refuses connections that wait.
    pub fn close(&mut self) {
        self.retain(|_| false);
    }

    /// Accepts nothing any more but at these listeners; the system refuses connections that wait elsewhere.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&L) -> bool) {
        self.listeners.retain(|listener| is_kept(&listener.socket));
        self.back_off = BackOff::default();
    }

    /// Whether the last turn left a connection waiting that can be accepted at once.
    pub fn has_work(&self) -> bool {
        self.back_off.until.is_none() && self.listeners.iter().any(|listener| listener.waiting)
    }

    /// When accepting has to be tried again although nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.back_off.until
    }

    /// Hands connections that wait to `admit`, with their peer, their entrance and the listener, within the
    /// budget of a turn. The engine is told of what goes wrong.
    pub fn accept<O: Observer>(
        &mut self,
        now: Instant,
        engine: &mut Engine<L::Stream, O>,
        mut admit: impl FnMut(&mut Engine<L::Stream, O>, L::Stream, Peer, Entrance, &L),
    ) {
        if self.back_off.is_on(now) || self.listeners.is_empty() {
            return;
        }
        if self.spare.is_none() {
            self.spare = L::open_spare().ok();
        }
        let mut budget = self.per_turn;
        let next = self.first.wrapping_add(1);
        self.first = next.checked_rem(self.listeners.len()).unwrap_or(0);
        let (later, first) = self.listeners.split_at_mut(self.first);
        for listener in first.iter_mut().chain(later) {
            while listener.waiting && budget > 0 {
                budget = budget.saturating_sub(1);
                let error = match listener.socket.accept() {
                    Ok((stream, peer)) => {
                        self.back_off = BackOff::default();
                        admit(engine, stream, peer, listener.entrance(), &listener.socket);
                        continue;
                    }
                    Err(error) => error,
                };
                let mut what = AcceptError::of(&error);
                if let Some(failure) = what.counted() {
                    engine.count_accept_failure(failure);
                }
                if what == AcceptError::NoDescriptor && self.spare.take().is_some() {
                    let refused = turn_away(listener, engine);
                    self.spare = L::open_spare().ok();
                    let Some(instead) = refused else {
                        report(engine, now, &error);
                        continue;
                    };
                    what = instead;
                }
                match what {
                    AcceptError::NobodyWaits => listener.waiting = false,
                    AcceptError::ThatOneIsGone => {}
                    AcceptError::NoDescriptor | AcceptError::NoMemory | AcceptError::Lasting => {
                        report(engine, now, &error);
                        return self.back_off.failed(now);
                    }
                }
            }
        }
    }
}

/// Accepts one connection with the spare descriptor, only to tell its peer. Returns `None` if that was
/// done. The lack of descriptors is found before the queue is looked at (accept(2)), so perhaps nobody
/// waits, and something else may be lacking as well.
fn turn_away<L: Listen, O: Observer>(
    listener: &mut Listener<L>,
    engine: &mut Engine<L::Stream, O>,
) -> Option<AcceptError> {
    match listener.socket.accept() {
        Ok((stream, peer)) => {
            let entrance = listener.entrance();
            engine.refuse(stream, peer, entrance, CloseReason::ServerFull);
            None
        }
        Err(error) => Some(AcceptError::of(&error)),
    }
}

fn report<S: Stream, O: Observer>(engine: &mut Engine<S, O>, now: Instant, error: &io::Error) {
    let hint = match AcceptError::of(error) {
        AcceptError::NoDescriptor => {
            "raise the limit of open files (ulimit -n) or lower the number of clients"
        }
        AcceptError::Lasting => "a security policy may forbid it; it is tried again each second",
        _ => "it is tried again until the system has enough",
    };
    let observer = engine.observer();
    if observer.listens() {
        observer.on_event(now, Event::AcceptFailed { error, hint });
    }
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
pub(super) enum AcceptError {
    /// The queue is empty: an event will tell when it no longer is.
    NobodyWaits,
    /// The connection is gone. The next one in the queue may be fine.
    ThatOneIsGone,
    /// The process has no descriptor left.
    NoDescriptor,
    /// The system lacks something. Connections that wait go on waiting, and no event will tell when
    /// they can be served.
    NoMemory,
    /// It will fail again: a security module or a seccomp filter forbids it, or the socket is gone.
    Lasting,
}

impl AcceptError {
    /// What it counts as. That nobody waits is no failure.
    fn counted(self) -> Option<AcceptFailure> {
        Some(match self {
            Self::NobodyWaits => return None,
            Self::ThatOneIsGone => AcceptFailure::Gone,
            Self::NoDescriptor => AcceptFailure::NoDescriptor,
            Self::NoMemory => AcceptFailure::NoMemory,
            Self::Lasting => AcceptFailure::Lasting,
        })
    }

    pub(super) fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::NobodyWaits,
            Some(Errno::MFILE) => Self::NoDescriptor,
            Some(Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) | None => Self::NoMemory,
            // A signal came, or the one connection has ended already, by the network errors of TCP
            // (accept(2), "Error handling").
            Some(Errno::INTR | Errno::CONNABORTED | Errno::PROTO | Errno::NOPROTOOPT) => {
                Self::ThatOneIsGone
            }
            Some(Errno::NETDOWN | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::HOSTUNREACH) => {
                Self::ThatOneIsGone
            }
            Some(Errno::NONET | Errno::OPNOTSUPP) => Self::ThatOneIsGone,
            Some(_) => Self::Lasting,
        }
    }
}

/// The wait after an accept that failed: 10 ms, doubled up to a second.
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
    /// Whether the wait is not over yet. A wait that is over is forgotten.
    fn is_on(&mut self, now: Instant) -> bool {
        self.until = self.until.filter(|&until| now < until);
        self.until.is_some()
    }

    fn failed(&mut self, now: Instant) {
        self.until = now.checked_add(self.next);
        self.next = self.next.saturating_mul(2).min(MAX_BACK_OFF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

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

        fn accept(&mut self) -> io::Result<(Never, Peer)> {
            Err(self.0.pop().unwrap_or(Errno::AGAIN).into())
        }

        fn open_spare() -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_spare_descriptor_does_not_help_against_is_waited_for() {
        let socket = Failing(vec![Errno::NFILE, Errno::MFILE]);
        let mut acceptor = Acceptor::new(vec![socket], 64);
        let mut engine =
            Engine::new(Config::default(), (), Instant::now()).expect("the default works");
        let now = Instant::now();
        acceptor.mark(0);
        let mut admit = |_: &mut _, stream: Never, _, _, _: &_| match stream {};
        acceptor.accept(now, &mut engine, &mut admit);
        assert!(!acceptor.has_work(), "it does not spin");
        assert_eq!(acceptor.next_deadline(), Some(now + MIN_BACK_OFF));
        let metrics = engine.metrics();
        let counted = metrics.accept_failed_for(AcceptFailure::NoDescriptor);
        assert_eq!((counted, metrics.accept_failed()), (1, 1));
        acceptor.accept(now + MIN_BACK_OFF, &mut engine, &mut admit);
        assert!(!acceptor.has_work() && acceptor.next_deadline().is_none());
        assert_eq!(engine.metrics().accept_failed(), 1, "nobody waits");
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
        for errno in [Errno::ACCESS, Errno::PERM, Errno::INVAL, Errno::BADF] {
            assert_eq!(of(errno), AcceptError::Lasting);
        }
    }
}
