//! A network of addresses, as an operator writes it: `10.0.0.0/8`, `2001:db8::/32`, or a single address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::peer::Peer;

/// A network of IPv4 or IPv6 addresses (RFC 4632, RFC 4291). An IPv4 peer is in no IPv6 network, whatever
/// socket it came by.
///
/// ```
/// use std::net::SocketAddr;
///
/// use line_chat::{Network, Peer};
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// let peer: SocketAddr = ([10, 0, 0, 1], 7).into();
/// assert!(network.contains(&Peer::from(peer)));
/// assert_eq!("192.0.2.1".parse::<Network>()?.to_string(), "192.0.2.1/32");
/// # Ok::<(), line_chat::NetworkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// The networks of this machine: 127.0.0.0/8 and `::1`.
    pub const LOOPBACK: [Self; 2] = [
        Self(IpNet::new_assert(
            IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
            8,
        )),
        Self(IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128)),
    ];

    /// Whether a peer has an address in it. A peer of a Unix socket has no address.
    pub fn contains(&self, peer: &Peer) -> bool {
        peer.is_in(&self.0)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = match text.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => IpNet::from(
                text.parse::<IpAddr>()
                    .map_err(|_| NetworkError::Malformed)?,
            ),
        };
        match network.addr().to_canonical() == network.addr() {
            true => Ok(Self(network.trunc())),
            false => Err(NetworkError::Mapped),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is not a [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkError {
    /// It is neither an address nor a network.
    Malformed,
    /// It is an IPv4 address in the form of an IPv6 one, which no peer has.
    Mapped,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "neither an address nor a network: write for example 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32"
            }
            Self::Mapped => "this is an IPv4 address in the form of an IPv6 one: give the IPv4 address",
        })
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn a_network_contains_the_peers_of_its_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1:7", "11.0.0.1:7"),
            ("10.1.2.3/8", "10.255.0.1:7", "11.0.0.1:7"),
            ("192.0.2.1", "[::ffff:192.0.2.1]:7", "192.0.2.2:7"),
            ("2001:db8::/32", "[2001:db8:1::1]:7", "[2001:db9::1]:7"),
            ("::1", "[::1]:7", "127.0.0.1:7"),
            ("::/0", "[2001:db8::1]:7", "192.0.2.1:7"),
        ] {
            let peer = |text: &str| Peer::from(text.parse::<SocketAddr>().expect("an address"));
            let parsed: Network = network.parse().expect("a network");
            assert!(parsed.contains(&peer(inside)), "{network}");
            assert!(!parsed.contains(&peer(outside)), "{network}");
        }
        let local = Peer::Local { uid: 0, pid: 1 };
        assert!(!Network::LOOPBACK.iter().any(|it| it.contains(&local)));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10",
            "10.0.0.0/33",
            "10.0.0.0/",
            "example.org",
            "::/129",
            "10.0.0.1:7",
        ] {
            assert_eq!(
                text.parse::<Network>(),
                Err(NetworkError::Malformed),
                "{text}"
            );
        }
        let mapped = "::ffff:10.0.0.0/104".parse::<Network>();
        assert_eq!(mapped, Err(NetworkError::Mapped));
    }
}
