//! Connections on listeners for proxies that have not sent their header: [`Proxied`] waits for the header of
//! the PROXY protocol and hands the connection on under the client's address, so nothing behind it knows
//! that there was a proxy. Such a connection is no client yet: it has no place in the room, no limit of
//! clients counts it, and it has [`PATIENCE`] and not the time of a login.
//!
//! The header is looked at where it lies, in the kernel (recv(2), `MSG_PEEK`), and taken when it is whole.
//! So what follows it in the same segment, such as a nick, stays there for the next read, and nothing has
//! to be put back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use crate::config::entrance::Entrance;
use crate::config::network::Network;
use crate::conn::stream::retry;
use crate::peer::Peer;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::proxy_header::{self, Parsed};
use crate::server::transport::Transport;

/// How long a proxy may take for its header. The protocol asks for at least 3 s, the time of a lost packet.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many connections may wait for their header. A proxy sends it at once, so only what does not is in
/// the way of others here.
const MAX_WAITING: usize = 256;

/// How many of them a turn looks at. Each takes a few microseconds.
const LOOKS: usize = 64;

/// Connections that wait for their header.
#[derive(Debug)]
pub(super) struct Proxied {
    /// From where proxies connect.
    from: Vec<Network>,
    /// By numbers that only grow: the first one has waited longest.
    waiting: BTreeMap<usize, Waiting>,
    next: usize,
    /// Those that may have sent something.
    ready: BTreeSet<usize>,
}

/// A connection of a proxy.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) stream: Transport,
    pub(super) proxy: Peer,
    pub(super) entrance: Entrance,
    /// When its header has to be there.
    until: Instant,
}

/// A connection that waits no longer, and its client or what is wrong with it.
pub(super) type Ended = (Waiting, Result<Peer, CloseReason>);

impl Proxied {
    /// Nobody waits yet.
    pub(super) fn new(from: Vec<Network>) -> Self {
        Self {
            from,
            waiting: BTreeMap::new(),
            next: 0,
            ready: BTreeSet::new(),
        }
    }

    /// Lets a connection wait for its header, watched as `watch` does under its number. A proxy on a Unix
    /// socket was let in by the permissions of its file.
    ///
    /// # Errors
    /// The connection is none of a proxy's, too many wait, or it cannot be watched.
    pub(super) fn add(
        &mut self,
        mut stream: Transport,
        proxy: Peer,
        entrance: Entrance,
        now: Instant,
        watch: impl FnOnce(&mut Transport, usize) -> io::Result<()>,
    ) -> Result<(), Ended> {
        let is_local = matches!(proxy, Peer::Local { .. });
        let is_trusted = is_local || self.from.iter().any(|network| network.contains(&proxy));
        let number = self.next;
        let refusal = if !is_trusted {
            Some(CloseReason::UntrustedProxy)
        } else if self.waiting.len() >= MAX_WAITING {
            Some(CloseReason::ServerFull)
        } else {
            let is_watched = watch(&mut stream, number).is_ok();
            (!is_watched).then_some(CloseReason::Broken)
        };
        let waiting = Waiting {
            stream,
            proxy,
            entrance,
            until: now.checked_add(PATIENCE).unwrap_or(now),
        };
        if let Some(reason) = refusal {
            return Err((waiting, Err(reason)));
        }
        self.waiting.insert(number, waiting);
        // Its header has often come with it.
        self.ready.insert(number);
        self.next = number.wrapping_add(1);
        Ok(())
    }

    /// An event said that this connection has sent something.
    pub(super) fn mark(&mut self, number: usize) {
        if self.waiting.contains_key(&number) {
            self.ready.insert(number);
        }
    }

    /// Takes out a connection that has sent its header, or something else, or whose time is up. `looks`
    /// counts how many were looked at in this turn.
    pub(super) fn take(&mut self, now: Instant, looks: &mut usize) -> Option<Ended> {
        while *looks < LOOKS
            && let Some(number) = self.ready.pop_first()
        {
            *looks = looks.saturating_add(1);
            let waiting = self.waiting.get_mut(&number);
            if let Some(client) = waiting.and_then(Waiting::look) {
                return Some((self.waiting.remove(&number)?, client));
            }
        }
        let (&number, first) = self.waiting.first_key_value()?;
        // What it has sent is looked at before.
        let is_over = first.until <= now && !self.ready.contains(&number);
        let late = is_over.then(|| self.waiting.remove(&number)).flatten()?;
        Some((late, Err(CloseReason::NoProxyHeader)))
    }

    /// Whether the last turn left something to look at.
    pub(super) fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the time of the one that has waited longest is up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, first)| first.until)
    }

    /// Leaves time out in which nobody could be heard.
    pub(super) fn leave_out(&mut self, time: Duration) {
        for waiting in self.waiting.values_mut() {
            waiting.until = waiting.until.checked_add(time).unwrap_or(waiting.until);
        }
    }

    /// Drops every connection: the server accepts nobody any more.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
        self.ready.clear();
    }
}

impl Waiting {
    /// Takes the header, if it has come, and returns the client that it names. `None` if more has to come.
    fn look(&mut self) -> Option<Result<Peer, CloseReason>> {
        let mut head = [0; proxy_header::MAX_BYTES];
        let known = match retry(|| self.stream.peek(&mut head)) {
            Ok(known) => known,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => 0,
        };
        // A connection that has ended sends no header any more.
        let input = head.get(..known).filter(|input| !input.is_empty());
        match input.map(proxy_header::parse) {
            Some(Parsed::Partial) => None,
            Some(Parsed::Header { bytes, client }) => Some(match self.consume(bytes) {
                Ok(()) => Ok(client.map_or(self.proxy, Peer::from)),
                Err(_) => Err(CloseReason::Broken),
            }),
            Some(Parsed::NoHeader) | None => Some(Err(CloseReason::NoProxyHeader)),
        }
    }

    /// Reads this many bytes, which have arrived.
    fn consume(&mut self, bytes: usize) -> io::Result<()> {
        let mut header = [0; proxy_header::MAX_BYTES];
        let header = header.get_mut(..bytes).unwrap_or_default();
        match retry(|| self.stream.read_socket(header))? {
            read if read == bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
