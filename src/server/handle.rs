//! How another thread speaks to a server: a [`Handle`] leaves a request and wakes the loop, which acts
//! on it at the beginning of its next turn. [`ControlBlock`] is all that the two share, and the only
//! lock here.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::Metrics;

/// Asks something of a server, from any thread. Clones are for the same server.
///
/// The server must be taking turns, on another thread than the one that asks; a call that returns an
/// answer waits for the next turn. After the server has stopped there is no answer, `None`.
#[derive(Debug, Clone)]
pub struct Handle(pub(super) Arc<ControlBlock>);

impl Handle {
    /// Tells every client, writes what is queued, for
    /// [`Limits::goodbye_timeout`](crate::Limits::goodbye_timeout) at most, and stops. A second call
    /// stops at once.
    pub fn shut_down(&self) {
        self.0.shut_down();
        self.0.wake();
    }

    /// What the server has done so far, and how it stands between two turns.
    pub fn metrics(&self) -> Option<Metrics> {
        self.ask(Request::Metrics)
    }

    /// Says something as the server to all people at a prompt, as `* TEXT`. Control characters in it
    /// are replaced.
    pub fn announce(&self, text: impl Into<String>) {
        self.0.leave(Request::Announce(text.into()));
        self.0.wake();
    }

    /// The nicks of all members, in alphabetical order.
    pub fn members(&self) -> Option<Vec<String>> {
        self.ask(Request::Members)
    }

    /// Closes the member of exactly this nick, which is told why. Returns whether there is one.
    pub fn close(&self, nick: impl Into<String>, why: impl Into<String>) -> Option<bool> {
        let (nick, why) = (nick.into(), why.into());
        self.ask(|answer| Request::Close { nick, why, answer })
    }

    fn ask<T>(&self, request: impl FnOnce(SyncSender<T>) -> Request) -> Option<T> {
        let (asker, answer) = sync_channel(1);
        self.0.leave(request(asker));
        self.0.wake();
        answer.recv().ok()
    }
}

/// What can be asked of a server, with the way back for the answer.
#[derive(Debug)]
pub(super) enum Request {
    Metrics(SyncSender<Metrics>),
    Members(SyncSender<Vec<String>>),
    Announce(String),
    Close {
        nick: String,
        why: String,
        answer: SyncSender<bool>,
    },
}

/// What has been asked of a server.
pub(super) struct ControlBlock {
    /// Wakes the loop.
    wake: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
    shutdowns: AtomicUsize,
    /// There are requests: only then a turn takes the lock.
    has_requests: AtomicBool,
    /// `None` when nobody will be answered any more.
    requests: Mutex<Option<Vec<Request>>>,
}

impl ControlBlock {
    pub(super) fn new(wake: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            wake: Box::new(wake),
            shutdowns: AtomicUsize::new(0),
            has_requests: AtomicBool::new(false),
            requests: Mutex::new(Some(Vec::new())),
        }
    }

    /// Asks to shut down; a second time, to do so at once.
    pub(super) fn shut_down(&self) {
        self.shutdowns.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a shutdown was asked for.
    pub(super) fn shutdowns(&self) -> usize {
        self.shutdowns.load(Ordering::Relaxed)
    }

    /// Takes what was asked since the last time.
    pub(super) fn take(&self) -> Vec<Request> {
        if !self.has_requests.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        let mut requests = self.requests();
        requests.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Nobody will be answered any more.
    pub(super) fn close(&self) {
        *self.requests() = None;
    }

    fn leave(&self, request: Request) {
        // Without a list the request is dropped, and its end of the channel says so.
        if let Some(requests) = self.requests().as_mut() {
            requests.push(request);
        }
        self.has_requests.store(true, Ordering::Release);
    }

    fn wake(&self) {
        // A loop that cannot be woken acts on the request in its next turn all the same.
        let _ = (self.wake)();
    }

    fn requests(&self) -> MutexGuard<'_, Option<Vec<Request>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ControlBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlBlock")
            .field("shutdowns", &self.shutdowns)
            .finish_non_exhaustive()
    }
}
