//! Admission: [`Admission`] counts the clients in all and by origin, and refuses a connection that
//! would be one too many, or too many in a short time. It remembers what closed connections of an origin
//! have said, so that nobody gets rid of that by a new connection. It knows peers and numbers, no
//! streams.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::client_id::ClientId;
use crate::config::Limits;
use crate::peer::{Origin, Peer};
use crate::protocol::close_reason::CloseReason;
use crate::time::buckets::Buckets;
use crate::time::moment::Moment;
use crate::time::rate_limit::{Rate, TokenBucket};

/// The clients that were let in and have not left, and what is known of origins.
#[derive(Debug)]
pub(crate) struct Admission {
    clients: usize,
    /// HTTP connections. They are no clients of the room, and whoever asks for its health in a full room
    /// has to be answered.
    http: BTreeSet<ClientId>,
    /// Connections of the server's own, such as that to the transcript's writer. They are no clients, and no
    /// limit counts them.
    own: BTreeSet<ClientId>,
    /// Only for look-ups: its order means nothing. Empty where origins are not limited.
    by_origin: HashMap<Origin, usize>,
    /// The rate at which one origin may connect, and how often each has.
    rate: Rate,
    arrivals: Buckets<Origin>,
    /// The most that a closed connection of an origin had said, in bytes, against what can be read. A
    /// new connection begins with it.
    debts: Buckets<Origin>,
}

impl Admission {
    /// Nobody is in yet.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            clients: 0,
            http: BTreeSet::new(),
            own: BTreeSet::new(),
            by_origin: HashMap::new(),
            rate: Rate::new(limits.connects_per_second, limits.burst_connects),
            arrivals: Buckets::default(),
            debts: Buckets::default(),
        }
    }

    /// Lets a client in, or says why not.
    pub(crate) fn enter(
        &mut self,
        peer: &Peer,
        limits: &Limits,
        now: Moment,
    ) -> Result<(), CloseReason> {
        let origin = peer.origin();
        let present = self.by_origin.get(&origin).copied().unwrap_or(0);
        if counted(peer, limits).is_some() && present >= limits.max_clients_per_ip {
            return Err(CloseReason::AddressFull);
        }
        let is_exempt = peer.is_exempt();
        let arrivals = self.arrivals.get(&origin);
        if !is_exempt && self.rate.next_at(&arrivals, now).is_some() {
            return Err(CloseReason::AddressTooFast);
        }
        if self.clients >= limits.max_clients.unwrap_or(usize::MAX) {
            return Err(CloseReason::ServerFull);
        }
        if !is_exempt {
            self.rate.count(self.arrivals.bucket(origin, now), now);
        }
        self.adopt(peer, limits);
        Ok(())
    }

    /// What a new connection of this peer begins with.
    pub(crate) fn debt(&self, peer: &Peer) -> TokenBucket {
        self.debts.get(&peer.origin())
    }

    /// A connection of this peer is closed, which had said so much.
    pub(crate) fn keep_debt(&mut self, peer: &Peer, said: &TokenBucket, now: Moment) {
        if said.missing(now) > Duration::ZERO {
            self.debts.bucket(peer.origin(), now).fill_no_sooner(said);
        }
    }

    /// Lets an HTTP connection in, or says why not.
    pub(crate) fn enter_http(&mut self, id: ClientId, limits: &Limits) -> Result<(), CloseReason> {
        if self.http.len() >= limits.max_http_connections {
            return Err(CloseReason::ServerFull);
        }
        self.http.insert(id);
        Ok(())
    }

    /// How many HTTP connections there are.
    pub(crate) fn http(&self) -> usize {
        self.http.len()
    }

    /// Lets a connection of the server's own in.
    pub(crate) fn enter_own(&mut self, id: ClientId) {
        self.own.insert(id);
    }

    /// How many connections of the server's own there are.
    pub(crate) fn own(&self) -> usize {
        self.own.len()
    }

    /// Whether this is a connection of the server's own.
    pub(crate) fn is_own(&self, id: ClientId) -> bool {
        self.own.contains(&id)
    }

    /// Counts a client that is let in whatever the limits say.
    pub(crate) fn adopt(&mut self, peer: &Peer, limits: &Limits) {
        if let Some(origin) = counted(peer, limits) {
            let count = self.by_origin.entry(origin).or_default();
            *count = count.saturating_add(1);
        }
        self.clients = self.clients.saturating_add(1);
    }

    /// A client that was let in is gone.
    pub(crate) fn leave(&mut self, id: ClientId, peer: &Peer, limits: &Limits) {
        if self.http.remove(&id) || self.own.remove(&id) {
            return;
        }
        self.clients = self.clients.saturating_sub(1);
        let Some(origin) = counted(peer, limits) else {
            return;
        };
        if let Some(count) = self.by_origin.get_mut(&origin) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_origin.remove(&origin);
            }
        }
    }
}

/// What a client counts as, if it is counted.
fn counted(peer: &Peer, limits: &Limits) -> Option<Origin> {
    let is_limited = limits.max_clients_per_ip > 0 && !peer.is_exempt();
    is_limited.then(|| peer.origin())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;
    use std::net::SocketAddr;

    fn limits(max_clients: Option<usize>, max_clients_per_ip: usize) -> Limits {
        Limits {
            max_clients,
            max_clients_per_ip,
            ..Limits::default()
        }
    }

    fn peer(ip: &str) -> Peer {
        SocketAddr::new(ip.parse().expect("an address"), 7).into()
    }

    fn admission() -> Admission {
        let limits = Limits {
            connects_per_second: 0.0,
            ..Limits::default()
        };
        Admission::new(&limits)
    }

    fn now() -> Moment {
        Clock::default().moment(std::time::Instant::now())
    }

    #[test]
    fn a_place_that_was_left_can_be_had_again() {
        let (mut admission, limits) = (admission(), limits(Some(2), 0));
        let peer = peer("192.0.2.1");
        assert_eq!(admission.enter(&peer, &limits, now()), Ok(()));
        assert_eq!(admission.enter(&peer, &limits, now()), Ok(()));
        let full = Err(CloseReason::ServerFull);
        assert_eq!(admission.enter(&peer, &limits, now()), full);
        admission.leave(ClientId::from_index(0), &peer, &limits);
        assert_eq!(admission.enter(&peer, &limits, now()), Ok(()));
        assert!(
            admission.by_origin.is_empty(),
            "nothing is kept for nothing"
        );
    }

    #[test]
    fn an_origin_is_an_ipv4_address_an_ipv6_network_or_a_local_user() {
        let (mut admission, limits) = (admission(), limits(None, 1));
        let full = Err(CloseReason::AddressFull);
        let own = rustix::process::geteuid().as_raw();
        let local = |more, pid| Peer::Local {
            uid: own + more,
            pid,
        };
        for (first, same, other) in [
            (peer("192.0.2.1"), peer("192.0.2.1"), peer("192.0.2.2")),
            (
                peer("2001:db8::1"),
                peer("2001:db8::ffff:0:0:1"),
                peer("2001:db8:0:1::1"),
            ),
            (local(1, 1), local(1, 2), local(2, 1)),
        ] {
            assert_eq!(admission.enter(&first, &limits, now()), Ok(()));
            assert_eq!(admission.enter(&same, &limits, now()), full, "{same}");
            assert_eq!(admission.enter(&other, &limits, now()), Ok(()));
            admission.leave(ClientId::from_index(0), &first, &limits);
            assert_eq!(admission.enter(&same, &limits, now()), Ok(()));
        }
        assert_eq!(admission.by_origin.len(), 6);
    }

    #[test]
    fn this_machine_is_exempt_and_zero_is_no_limit() {
        let mut admission = admission();
        for _ in 0..100 {
            for (ip, limit) in [("127.0.0.1", 1), ("::1", 1), ("192.0.2.1", 0)] {
                assert_eq!(
                    admission.enter(&peer(ip), &limits(None, limit), now()),
                    Ok(())
                );
            }
        }
        assert!(admission.by_origin.is_empty());
    }

    #[test]
    fn fifty_connections_come_at_once_and_then_twenty_a_second() {
        let limits = limits(None, 0);
        let mut admission = Admission::new(&limits);
        let start = now();
        let mut enter = |ip: &str, count: usize, after: Duration| {
            let now = start + after;
            let entered = (0..count).map(|_| admission.enter(&peer(ip), &limits, now));
            entered.filter(Result::is_ok).count()
        };
        assert_eq!(enter("192.0.2.1", 70, Duration::ZERO), 50);
        assert_eq!(enter("192.0.2.2", 70, Duration::ZERO), 50);
        assert_eq!(enter("127.0.0.1", 70, Duration::ZERO), 70);
        assert_eq!(enter("192.0.2.1", 70, Duration::from_secs(1)), 20);
        assert_eq!(enter("192.0.2.1", 70, Duration::from_millis(1050)), 1);
        assert_eq!(enter("192.0.2.1", 70, Duration::from_secs(60)), 50);
    }

    #[test]
    fn the_largest_debt_of_an_origin_is_kept_until_it_is_paid() {
        let mut admission = admission();
        let start = now();
        let said = |seconds| {
            let mut said = TokenBucket::default();
            said.take(start, Duration::from_secs(seconds), Duration::from_secs(9));
            said
        };
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "127.0.0.1"].map(peer);
        for (peer, seconds) in [(&one, 2), (&same, 1), (&other, 3)] {
            admission.keep_debt(peer, &said(seconds), start);
        }
        let missing = |peer, now| admission.debt(peer).missing(now);
        assert_eq!(missing(&same, start), Duration::from_secs(2));
        assert_eq!(missing(&other, start), Duration::from_secs(3));
        let later = start + Duration::from_secs(2);
        assert_eq!(missing(&one, later), Duration::ZERO);
    }
}
