//! What systemd is told of this process (sd_notify(3)), if it asked for it by `NOTIFY_SOCKET`: that every
//! listener is ready, how many clients there are, that the loop turns, and when files are read again or
//! the server ends.
//!
//! | when | datagram |
//! |---|---|
//! | every listener is bound | `READY=1` |
//! | SIGHUP | `RELOADING=1`, and `READY=1` when it was acted on |
//! | the shutdown begins | `STOPPING=1` |
//! | the counts have changed, at most every ten seconds | `STATUS=12 clients, 9 members` |
//! | half of `WATCHDOG_USEC` is over | `WATCHDOG=1` |
//!
//! `WATCHDOG=1` is sent between two turns and never from a thread, so a turn that hangs is noticed. The
//! server never waits for systemd: the socket is non-blocking, and what it does not take is lost, except
//! for `READY=1` and `STOPPING=1`, which are sent again. The crate sd-notify would wait, and knows no
//! abstract sockets.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::{Duration, Instant};

use line_chat::{Event, Metrics, Observer};
use rustix::time::{ClockId, clock_gettime};

/// Where systemd listens: a path, or an abstract name with `@` before it.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Within how many microseconds systemd expects a sign of life, and from which process.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

const READY: &str = "READY=1";
const STOPPING: &str = "STOPPING=1";

/// The shortest time between two counts.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// When a word is sent again that the socket did not take.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The connection to systemd, as an observer of the server.
#[derive(Debug)]
pub(crate) struct Systemd {
    /// Without one there is nothing to do, and no deadline.
    socket: Option<UnixDatagram>,
    /// The last of `READY=1` and `STOPPING=1` that was not sent yet.
    owed: Option<&'static str>,
    /// When to try that, once an attempt has failed.
    retry_at: Option<Instant>,
    watchdog: Option<Watchdog>,
    counts: Counts,
}

#[derive(Debug)]
struct Watchdog {
    interval: Duration,
    /// `None`: at once.
    next: Option<Instant>,
}

/// The counts that systemd knows.
#[derive(Debug)]
struct Counts {
    /// Somebody has come or gone since they were sent. A server begins with a count of nobody.
    has_changed: bool,
    /// `None`: at once.
    next: Option<Instant>,
}

impl Systemd {
    /// The connection that the environment asks for, if it does.
    ///
    /// # Errors
    /// The text says why systemd cannot be told anything; it would wait in vain.
    pub(crate) fn from_env() -> io::Result<Self> {
        let Some(name) = env::var_os(SOCKET).filter(|name| !name.is_empty()) else {
            return Ok(Self::new(None, None));
        };
        let socket = connect(&name).map_err(|error| {
            io::Error::other(format!(
                "cannot reach {SOCKET} {}: {error}; unset it if nobody waits for this server",
                name.display()
            ))
        })?;
        let microseconds = env::var(WATCHDOG_USEC).ok().and_then(|it| it.parse().ok());
        let is_meant = env::var(WATCHDOG_PID).map_or(true, |pid| pid == process::id().to_string());
        let limit = microseconds.map(Duration::from_micros).filter(|_| is_meant);
        Ok(Self::new(Some(socket), limit))
    }

    fn new(socket: Option<UnixDatagram>, watchdog: Option<Duration>) -> Self {
        let half = watchdog.and_then(|limit| limit.checked_div(2));
        let interval = half.filter(|it| !it.is_zero());
        Self {
            socket,
            owed: None,
            retry_at: None,
            watchdog: interval.map(|interval| Watchdog {
                interval,
                next: None,
            }),
            counts: Counts {
                has_changed: true,
                next: None,
            },
        }
    }

    /// Every listener is bound.
    pub(crate) fn ready(&mut self) {
        self.owe(READY);
    }

    /// When there is something to tell although nothing happens; a moment in the past if that is due
    /// at once.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.socket.as_ref()?;
        let owed = self.owed.map(|_| self.retry_at.unwrap_or(now));
        let watchdog = self.watchdog.as_ref().map(|it| it.next.unwrap_or(now));
        let counts = self
            .counts
            .has_changed
            .then_some(self.counts.next.unwrap_or(now));
        [owed, watchdog, counts].into_iter().flatten().min()
    }

    /// Whether there is something to tell.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next_deadline(now).is_some_and(|at| at <= now)
    }

    /// Tells what is due.
    pub(crate) fn on_time(&mut self, now: Instant, metrics: &Metrics) {
        if let Some(word) = self.owed
            && self.retry_at.is_none_or(|at| at <= now)
        {
            self.owe(word);
            self.retry_at = self.owed.and_then(|_| now.checked_add(RETRY_AFTER));
        }
        if let Some(watchdog) = &mut self.watchdog
            && watchdog.next.is_none_or(|at| at <= now)
        {
            watchdog.next = now.checked_add(watchdog.interval);
            self.send("WATCHDOG=1");
        }
        if self.counts.has_changed && self.counts.next.is_none_or(|at| at <= now) {
            self.counts.has_changed = false;
            self.counts.next = now.checked_add(STATUS_INTERVAL);
            self.send(&status(metrics));
        }
    }

    /// Sends one of the words that have to arrive.
    fn owe(&mut self, word: &'static str) {
        let is_sent = self.send(word);
        self.owed = Some(word).filter(|_| !is_sent);
    }

    /// Returns whether there is nothing to be sent again.
    fn send(&self, state: &str) -> bool {
        let sent = self
            .socket
            .as_ref()
            .map(|socket| socket.send(state.as_bytes()));
        // A manager that is gone will not come back to this socket.
        !matches!(sent, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Observer for Systemd {
    fn listens(&self) -> bool {
        self.socket.is_some()
    }

    fn on_event(&mut self, _: Instant, event: Event<'_>) {
        match event {
            Event::Connected { .. }
            | Event::Freed { .. }
            | Event::Joined { .. }
            | Event::Left { .. } => self.counts.has_changed = true,
            Event::Reloading => {
                let now = clock_gettime(ClockId::Monotonic);
                let micros = now.tv_sec.saturating_mul(1_000_000);
                let micros = micros.saturating_add(now.tv_nsec / 1000);
                self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
            }
            Event::Reloaded { .. } | Event::NothingToReload => self.owe(READY),
            Event::ShuttingDown => self.owe(STOPPING),
            _ => {}
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let addr = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    socket.connect_addr(&addr)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn status(metrics: &Metrics) -> String {
    let clients = metrics.clients.saturating_sub(metrics.http_connections);
    let count = |n: usize, noun| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    format!(
        "STATUS={}, {}",
        count(clients, "client"),
        count(metrics.members, "member")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends, the manager's second.
    fn systemd(watchdog: Option<Duration>) -> (Systemd, UnixDatagram) {
        let (ours, managers) = UnixDatagram::pair().expect("a pair of sockets");
        for socket in [&ours, &managers] {
            socket.set_nonblocking(true).expect("a socket");
        }
        (Systemd::new(Some(ours), watchdog), managers)
    }

    fn told(manager: &UnixDatagram) -> Vec<String> {
        let mut datagram = [0; 256];
        let next = || {
            let length = manager.recv(&mut datagram).ok()?;
            Some(String::from_utf8_lossy(&datagram[..length]).into_owned())
        };
        std::iter::from_fn(next).collect()
    }

    fn with_members(members: usize) -> Metrics {
        let mut metrics = Metrics::default();
        metrics.clients = members + 3;
        metrics.http_connections = 1;
        metrics.members = members;
        metrics
    }

    #[test]
    fn without_a_socket_there_is_no_deadline() {
        let mut systemd = Systemd::new(None, Some(Duration::from_secs(30)));
        let now = Instant::now();
        systemd.ready();
        systemd.counts.has_changed = true;
        assert!(!systemd.listens());
        assert_eq!(systemd.next_deadline(now), None);
    }

    #[test]
    fn counts_are_sent_when_they_change_and_at_most_every_ten_seconds() {
        let (mut systemd, manager) = systemd(None);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        systemd.on_time(start, &with_members(1));
        assert_eq!(told(&manager), ["STATUS=3 clients, 1 member"]);
        assert_eq!(systemd.next_deadline(at(60)), None, "nothing has changed");
        systemd.counts.has_changed = true;
        assert_eq!(systemd.next_deadline(at(3)), Some(at(10)));
        systemd.on_time(at(9), &with_members(2));
        assert_eq!(told(&manager), [""; 0]);
        systemd.on_time(at(10), &with_members(2));
        assert_eq!(told(&manager), ["STATUS=4 clients, 2 members"]);
    }

    #[test]
    fn a_sign_of_life_comes_at_half_of_the_limit() {
        let (mut systemd, manager) = systemd(Some(Duration::from_secs(30)));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        systemd.on_time(start, &with_members(0));
        assert_eq!(
            told(&manager),
            ["WATCHDOG=1", "STATUS=2 clients, 0 members"]
        );
        assert_eq!(systemd.next_deadline(start), Some(at(15)));
        for seconds in 1..60 {
            systemd.on_time(at(seconds), &with_members(0));
            let expected: &[&str] = if seconds % 15 == 0 {
                &["WATCHDOG=1"]
            } else {
                &[]
            };
            assert_eq!(told(&manager), expected, "{seconds} s");
        }
    }

    #[test]
    fn a_word_that_the_socket_does_not_take_is_sent_again() {
        let (mut systemd, manager) = systemd(None);
        let start = Instant::now();
        systemd.counts.has_changed = false;
        while systemd.send("STATUS=a stuck manager") {}
        systemd.ready();
        systemd.on_event(start, Event::ShuttingDown);
        systemd.on_time(start, &with_members(0));
        let retry_at = start + RETRY_AFTER;
        assert_eq!(systemd.next_deadline(start), Some(retry_at));
        told(&manager);
        systemd.on_time(retry_at, &with_members(0));
        assert_eq!(told(&manager), [STOPPING], "the last one");
        assert_eq!(systemd.next_deadline(retry_at), None);
    }
}
