//! Who is let in, and what is known of an address after its clients have gone: the naive model of the
//! limits for connections.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use line_chat::Limits;

use crate::amounts::Allowance;
use crate::journal::Peer;
use crate::reference;
use crate::shadow::Shadow;

/// How long the only client of an address that has no nick, or is leaving, keeps its place.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Admission {
    arrivals: BTreeMap<[u8; 8], Allowance>,
    /// The most that a client of an address may have cost the room, in bytes.
    debts: BTreeMap<[u8; 8], u64>,
}

impl Admission {
    /// Whether a connection from there may surely not be made.
    pub(crate) fn is_too_fast(&self, ip: IpAddr, now: Instant) -> bool {
        let arrivals = reference::address(ip).and_then(|address| self.arrivals.get(&address));
        arrivals.is_some_and(|arrivals| arrivals.is_closed(now))
    }

    /// Whether a connection from there may be refused.
    pub(crate) fn may_be_too_fast(&self, ip: IpAddr, now: Instant) -> bool {
        let arrivals = reference::address(ip).and_then(|address| self.arrivals.get(&address));
        arrivals.is_some_and(|arrivals| arrivals.opens(now).is_some())
    }

    pub(crate) fn enter(&mut self, ip: IpAddr, limits: &Limits, now: Instant) {
        if let Some(address) = reference::address(ip) {
            let (rate, most) = (limits.connects_per_second, limits.burst_connects);
            let arrivals = self.arrivals.entry(address);
            arrivals
                .or_insert_with(|| Allowance::new(rate, most, now))
                .take(now);
        }
    }

    pub(crate) fn debt(&self, ip: IpAddr) -> u64 {
        self.debts
            .get(&reference::network(ip))
            .copied()
            .unwrap_or(0)
    }

    pub(crate) fn keep_debt(&mut self, ip: IpAddr, cost: u64) {
        let debt = self.debts.entry(reference::network(ip)).or_default();
        *debt = cost.max(*debt);
    }
}

/// Since when a client has no nick, or is leaving.
fn since(client: &Shadow) -> Instant {
    client.left.map_or(client.connected_at, |(_, at)| at)
}

/// Whether a client may be the one that makes room for another.
pub(crate) fn may_make_room(clients: &BTreeMap<Peer, Shadow>, peer: Peer, now: Instant) -> bool {
    let may_go =
        |client: &&Shadow| client.is_limited() && (client.left.is_some() || !client.is_member());
    let candidates = || clients.values().filter(may_go);
    let of =
        |ip| candidates().filter(move |it| reference::network(it.ip) == reference::network(ip));
    // How many an address has, and since when the first of them.
    let rank = |ip| {
        let first = of(ip).map(since).min();
        (of(ip).count(), first.map(std::cmp::Reverse))
    };
    let best = candidates().map(|it| rank(it.ip)).max();
    clients.get(&peer).filter(may_go).is_some_and(|client| {
        let own = rank(client.ip);
        let is_old = own.0 > 1 || now >= since(client) + PATIENCE;
        let is_first = own.1.is_some_and(|it| it.0 == since(client));
        is_old && is_first && best == Some(own)
    })
}

/// Whether somebody can make room.
pub(crate) fn has_one_to_make_room(clients: &BTreeMap<Peer, Shadow>, now: Instant) -> bool {
    clients
        .keys()
        .any(|&peer| may_make_room(clients, peer, now))
}
