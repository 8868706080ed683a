//! Where to listen and what for, as an operator writes it. [`ListenAddr`] is parsed once; from then on
//! it is known whether it is an address or a host name. The grammar is `[WORD:]WHERE`. A new word is
//! added to [`Service`] and nowhere else.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::config::interactive::Profile;

/// An address to listen on, and what its clients get.
///
/// ```
/// use line_chat::{ListenAddr, Profile, Service};
///
/// let addr: ListenAddr = "plain:[::1]:6142".parse()?;
/// assert_eq!(addr.service, Some(Service::Chat(Profile::Plain)));
/// assert_eq!(addr.to_string(), "plain:[::1]:6142");
/// let socket: std::net::SocketAddr = ([127, 0, 0, 1], 6142).into();
/// assert_eq!(ListenAddr::from(socket), "127.0.0.1:6142".parse()?);
/// # Ok::<(), line_chat::ListenAddrError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddr {
    /// Where to listen.
    pub place: Place,
    /// What its clients get. `None` leaves it to the rest of the configuration.
    pub service: Option<Service>,
}

/// A socket address, or a host name with a port, which stands for every address that it resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
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

/// What the clients of a listener get. It is the attribute of a listener that travels with each of its
/// connections to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Service {
    /// The room, as this profile serves it.
    Chat(Profile),
    /// HTTP: `GET /healthz` is answered, and nothing else.
    Http,
}

impl Service {
    fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "plain" => Self::Chat(Profile::Plain),
            "interactive" => Self::Chat(Profile::Interactive),
            "http" => Self::Http,
            _ => return None,
        })
    }

    fn word(self) -> Option<&'static str> {
        match self {
            Self::Chat(Profile::Plain) => Some("plain"),
            Self::Chat(Profile::Interactive) => Some("interactive"),
            Self::Chat(Profile::History) => None,
            Self::Http => Some("http"),
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::Chat(Profile::default())
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(addr: SocketAddr) -> Self {
        Place::Socket(addr).into()
    }
}

impl From<Place> for ListenAddr {
    fn from(place: Place) -> Self {
        Self {
            place,
            service: None,
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(addr: &str) -> Result<Self, ListenAddrError> {
        // A word wins over a host of that name: `plain:6142` lacks an address.
        let word = addr.split_once(':');
        let word = word.and_then(|(word, place)| Some((Service::from_word(word)?, place)));
        let (service, place) = word.map_or((None, addr), |(service, place)| (Some(service), place));
        let place = place.parse()?;
        Ok(Self { place, service })
    }
}

impl FromStr for Place {
    type Err = ListenAddrError;

    fn from_str(place: &str) -> Result<Self, ListenAddrError> {
        if let Ok(addr) = place.parse() {
            return Ok(Self::Socket(addr));
        }
        let (name, port) = place.rsplit_once(':').ok_or(ListenAddrError)?;
        let is_plausible = !name.is_empty()
            && !name.contains([':', '[', ']', '/'])
            && !name.contains(char::is_whitespace);
        match port.parse() {
            Ok(port) if is_plausible => Ok(Self::Host {
                name: name.to_owned(),
                port,
            }),
            _ => Err(ListenAddrError),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(word) = self.service.and_then(Service::word) {
            write!(f, "{word}:")?;
        }
        self.place.fmt(f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(addr) => addr.fmt(f),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

/// The text is no address to listen on.
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
        let socket = |addr: &str| Ok(Place::Socket(addr.parse().expect("a socket address")).into());
        let host = |name: &str, port| {
            let name = name.into();
            Ok(Place::Host { name, port }.into())
        };
        assert_eq!(
            "127.0.0.1:6142".parse::<ListenAddr>(),
            socket("127.0.0.1:6142")
        );
        assert_eq!("[::1]:0".parse::<ListenAddr>(), socket("[::1]:0"));
        assert_eq!(
            "localhost:6142".parse::<ListenAddr>(),
            host("localhost", 6142)
        );
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
            "plain:",
            "plain:6142",
            "plain:http:127.0.0.1:1",
            "http:",
        ] {
            assert_eq!(
                wrong.parse::<ListenAddr>(),
                Err(ListenAddrError),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_word_before_the_address_says_what_its_clients_get() {
        for (text, service) in [
            ("plain:127.0.0.1:6142", Service::Chat(Profile::Plain)),
            ("interactive:[::1]:0", Service::Chat(Profile::Interactive)),
            ("http:localhost:9180", Service::Http),
        ] {
            let addr: ListenAddr = text.parse().expect("an address");
            assert_eq!(addr.service, Some(service));
            assert_eq!(addr.to_string(), text);
        }
    }
}
