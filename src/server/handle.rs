//! How another thread speaks to a server: it leaves a request and wakes the loop, which heeds it at
//! the beginning of its next turn. [`Requests`] is all that the two share, and the only lock here.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use log::warn;

use crate::metrics::Metrics;

/// Shuts a server down, from any thread. Clones are for the same server.
#[derive(Debug, Clone)]
pub struct ShutdownHandle(pub(crate) Arc<Requests>);

impl ShutdownHandle {
    /// Tells every client, writes what is queued, for
    /// [`Limits::goodbye_timeout`](crate::Limits::goodbye_timeout) at most, and stops. A second
    /// call stops at once.
    pub fn shut_down(&self) {
        self.0.shut_down();
        self.0.wake();
    }
}

/// Reads a server's metrics, from any thread. Clones are for the same server.
#[derive(Debug, Clone)]
pub struct MetricsHandle(pub(crate) Arc<Requests>);

impl MetricsHandle {
    /// What the server has done so far, and how it stands between two turns: wakes its loop and
    /// waits for the answer, so the server must be taking turns, on another thread. `None` when it
    /// has stopped.
    pub fn metrics(&self) -> Option<Metrics> {
        let (asker, answer) = sync_channel(1);
        self.0.ask(asker);
        self.0.wake();
        answer.recv().ok()
    }
}

/// What has been asked of a server.
pub(crate) struct Requests {
    /// Wakes the loop.
    wake: Box<dyn Fn() -> io::Result<()> + Send + Sync>,
    shutdowns: AtomicUsize,
    /// Somebody waits for metrics: only then a turn takes the lock.
    is_asked: AtomicBool,
    /// Who waits for metrics; `None` when nobody will be answered any more.
    askers: Mutex<Option<Vec<SyncSender<Metrics>>>>,
}

impl Requests {
    pub(crate) fn new(wake: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            wake: Box::new(wake),
            shutdowns: AtomicUsize::new(0),
            is_asked: AtomicBool::new(false),
            askers: Mutex::new(Some(Vec::new())),
        }
    }

    /// Asks to shut down; a second time, to do so at once.
    pub(crate) fn shut_down(&self) {
        self.shutdowns.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a shutdown was asked for.
    pub(crate) fn shutdowns(&self) -> usize {
        self.shutdowns.load(Ordering::Relaxed)
    }

    /// Answers everybody who asked for metrics.
    pub(crate) fn answer(&self, metrics: impl Fn() -> Metrics) {
        if !self.is_asked.swap(false, Ordering::Acquire) {
            return;
        }
        for asker in self.askers().iter_mut().flat_map(|askers| askers.drain(..)) {
            // Who does not wait any more needs no answer.
            let _ = asker.send(metrics());
        }
    }

    /// Nobody will be answered any more.
    pub(crate) fn close(&self) {
        *self.askers() = None;
    }

    fn ask(&self, asker: SyncSender<Metrics>) {
        // Without a list, the asker is dropped, and its end of the channel says so.
        if let Some(askers) = self.askers().as_mut() {
            askers.push(asker);
        }
        self.is_asked.store(true, Ordering::Release);
    }

    fn wake(&self) {
        if let Err(error) = (self.wake)() {
            warn!("the server cannot be woken: {error}");
        }
    }

    fn askers(&self) -> MutexGuard<'_, Option<Vec<SyncSender<Metrics>>>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests")
            .field("shutdowns", &self.shutdowns)
            .finish_non_exhaustive()
    }
}
