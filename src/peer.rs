//! The other end of a connection: [`Peer`] is an address or a local user, [`Origin`] is what limits and
//! wrong passwords are counted by, and [`PeerSet`] is what a ban covers. All code gets them from here, so a new
//! kind of peer is a new variant and no search through the code.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use rustix::process::geteuid;

/// The other end of a connection. [`Display`](fmt::Display) is what the log shows.
///
/// ```
/// use line_chat::Peer;
///
/// let peer = Peer::from("[::ffff:192.0.2.1]:7".parse::<std::net::SocketAddr>()?);
/// assert_eq!(peer.to_string(), "192.0.2.1:7");
/// assert_eq!(Peer::Local { uid: 1000, pid: 4711 }.to_string(), "uid 1000 (pid 4711)");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP peer. An IPv4 peer of a dual-stack socket is an IPv4 peer (RFC 4291, 2.5.5.2): use
    /// [`From`].
    Ip(SocketAddr),
    /// A process on this machine, as SO_PEERCRED reports it (unix(7)).
    Local {
        /// Its effective user.
        uid: u32,
        /// Its process.
        pid: u32,
    },
}

impl Peer {
    /// Whoever is connected to another server of the room: where from, only that one knows.
    pub(crate) const ELSEWHERE: Self =
        Self::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));

    /// What limits and wrong passwords are counted by.
    pub fn origin(&self) -> Origin {
        match *self {
            Self::Ip(addr) => Origin::of(addr.ip()),
            Self::Local { uid, .. } => Origin::User(uid),
        }
    }

    /// What its client is told it comes from.
    pub(crate) fn called_yours(&self) -> &'static str {
        match self {
            Self::Ip(_) => "your address",
            Self::Local { .. } => "your user",
        }
    }

    /// Whether its address is in this network. A network of IPv4-mapped addresses contains no peer.
    pub(crate) fn is_in(&self, network: &IpNet) -> bool {
        match *self {
            Self::Ip(addr) => network.contains(&addr.ip().to_canonical()),
            Self::Local { .. } => false,
        }
    }

    /// Whether the limits of clients and connections per address leave it out: this machine itself; of
    /// its users, root and the one that this process runs as.
    pub fn is_exempt(&self) -> bool {
        match *self {
            Self::Ip(addr) => addr.ip().is_loopback(),
            Self::Local { uid, .. } => uid == 0 || uid == geteuid().as_raw(),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Local { uid, pid } => write!(f, "uid {uid} (pid {pid})"),
        }
    }
}

/// One subscriber: an IPv4 address, an IPv6 network of 64 bits, or a local user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// An IPv4 address, or the first address of an IPv6 network: one subscriber has all addresses of
    /// a /64 (RFC 6177).
    Network(IpAddr),
    /// A user of this machine.
    User(u32),
}

impl Origin {
    /// The origin of this address.
    pub fn of(ip: IpAddr) -> Self {
        Self::Network(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
            ip => ip,
        })
    }
}

/// The peers that a ban covers. [`Display`](fmt::Display) writes them as an operator types them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerSet {
    /// All addresses of a network, which has no host bits. An IPv4-mapped network is stored as IPv4.
    Network(IpNet),
    /// All processes of a user of this machine.
    User(u32),
}

impl PeerSet {
    pub(crate) fn contains(&self, peer: &Peer) -> bool {
        match (self, peer) {
            (Self::Network(network), peer) => peer.is_in(network),
            (Self::User(user), Peer::Local { uid, .. }) => user == uid,
            (Self::User(_), Peer::Ip(_)) => false,
        }
    }

    /// Whether it contains every peer of the other set.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Network(network), Self::Network(other)) => network.contains(other),
            _ => self == other,
        }
    }
}

impl PeerSet {
    /// As an operator would type it: a single address without the length of its prefix.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().to_string()
            }
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for PeerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::User(uid) => write!(f, "uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(ip: &str) -> Origin {
        Peer::from(SocketAddr::new(ip.parse().expect("an address"), 7)).origin()
    }

    #[test]
    fn an_ipv6_network_is_one_origin_and_a_mapped_address_is_an_ipv4_address() {
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:0:0:1"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
    }

    #[test]
    fn this_machine_root_and_the_own_user_are_exempt() {
        let peer = |addr: &str| Peer::from(addr.parse::<SocketAddr>().expect("an address"));
        assert!(peer("127.0.0.1:7").is_exempt() && peer("[::1]:7").is_exempt());
        assert!(peer("[::ffff:127.0.0.7]:7").is_exempt());
        assert!(!peer("192.0.2.1:7").is_exempt());
        let own = geteuid().as_raw();
        let local = |uid| Peer::Local { uid, pid: 1 };
        assert!(local(0).is_exempt() && local(own).is_exempt());
        assert!(!local(own + 1).is_exempt());
    }

    #[test]
    fn a_set_contains_the_addresses_of_its_network_or_the_processes_of_its_user() {
        let network = PeerSet::Network("10.0.0.0/8".parse().expect("a network"));
        let part = PeerSet::Network("10.1.0.0/16".parse().expect("a network"));
        let user = PeerSet::User(1000);
        let inside = Peer::from(SocketAddr::from(([10, 1, 2, 3], 7)));
        let local = |uid, pid| Peer::Local { uid, pid };
        assert!(network.contains(&inside) && !user.contains(&inside));
        assert!(user.contains(&local(1000, 1)) && user.contains(&local(1000, 2)));
        assert!(!user.contains(&local(1001, 1)) && !network.contains(&local(1000, 1)));
        assert!(network.covers(&part) && !part.covers(&network));
        assert!(user.covers(&user) && !user.covers(&PeerSet::User(1001)));
        assert!(!user.covers(&network) && !network.covers(&user));
    }
}
