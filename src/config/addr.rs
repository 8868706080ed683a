//! An address to listen on, as a person writes it: [`ListenAddr`] is parsed once, and whether it is an
//! address or a name is known from then on.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Where to listen: a socket address, or a host name with a port, which stands for every address
/// that it resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// `127.0.0.1:6142` or `[::1]:6142`.
    Socket(SocketAddr),
    /// `localhost:6142`.
    Host {
        /// The name, to be resolved when the server is bound.
        name: String,
        /// The TCP port; 0 lets the system choose one.
        port: u16,
    },
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(addr: &str) -> Result<Self, ListenAddrError> {
        if let Ok(addr) = addr.parse() {
            return Ok(Self::Socket(addr));
        }
        let (name, port) = addr.rsplit_once(':').ok_or(ListenAddrError)?;
        let plausible = !name.is_empty()
            && !name.contains([':', '[', ']', '/'])
            && !name.contains(char::is_whitespace);
        match port.parse() {
            Ok(port) if plausible => Ok(Self::Host {
                name: name.to_owned(),
                port,
            }),
            _ => Err(ListenAddrError),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(addr) => addr.fmt(f),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

/// A text is no address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddrError;

impl fmt::Display for ListenAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address with a port: write for example 127.0.0.1:6142, [::1]:6142 or localhost:6142")
    }
}

impl std::error::Error for ListenAddrError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_host_names() {
        let socket = |addr: &str| Ok(ListenAddr::Socket(addr.parse().expect("a socket address")));
        let host = |name: &str, port| {
            Ok(ListenAddr::Host {
                name: name.into(),
                port,
            })
        };
        assert_eq!("127.0.0.1:6142".parse(), socket("127.0.0.1:6142"));
        assert_eq!("[::1]:0".parse(), socket("[::1]:0"));
        assert_eq!("localhost:6142".parse(), host("localhost", 6142));
        for wrong in [
            "",
            "6142",
            ":6142",
            "localhost",
            "localhost:",
            "localhost:65536",
            "::1:6142",
            "[::1]",
            "a b:1",
        ] {
            assert_eq!(
                wrong.parse::<ListenAddr>(),
                Err(ListenAddrError),
                "{wrong:?}"
            );
        }
    }
}
