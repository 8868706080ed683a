//! Where to listen and what for, as an operator writes it. [`ListenAddr`] is parsed once; from then on
//! it is known whether it is an address, a port or a host name. The grammar is
//! `[WORD:]WHERE[,ATTRIBUTE]...`. A new word is added to [`Service`] and a new attribute to [`Script`],
//! and nowhere else.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
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

/// One or more socket addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// `127.0.0.1:6142` or `[::1]:6142`.
    Socket(SocketAddr),
    /// `6142` or `:6142`: that port on this machine, on 127.0.0.1 and, if the machine has IPv6, on
    /// `[::1]`. No name is looked up.
    Loopback {
        /// The TCP port; 0 lets the kernel choose one, which both addresses share.
        port: u16,
    },
    /// `[fe80::1%eth0]:6142`, an address that is valid on one interface only (RFC 4007, section 11).
    /// With the number of the interface, `[fe80::1%2]:6142`, it is a [`Socket`](Self::Socket).
    Scoped {
        /// The address.
        ip: Ipv6Addr,
        /// The name of the interface, to be looked up when the server is bound.
        interface: String,
        /// The TCP port; 0 lets the kernel choose one.
        port: u16,
    },
    /// `localhost:6142`: every address that the name resolves to.
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
    /// The room as [`Profile::Plain`] serves it, for scripts with special needs.
    Script(Script),
    /// HTTP: `GET` of `/healthz`, `/readyz` and `/metrics` is answered, and nothing else.
    Http,
}

/// Settings for scripts that read or are piped with simple tools. The default is what every other
/// client gets.
///
/// ```
/// use line_chat::{Eof, Eol, ListenAddr, Script, Service};
///
/// let addr: ListenAddr = "plain:127.0.0.1:6143,eof=listen,eol=lf".parse()?;
/// let script = Script { eof: Eof::Listen, eol: Eol::Lf };
/// assert_eq!(addr.service, Some(Service::Script(script)));
/// # Ok::<(), line_chat::ListenAddrError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Script {
    /// What happens to a member that closes its sending half.
    pub eof: Eof,
    /// The line end of the lines that it receives.
    pub eol: Eol,
}

/// What happens to a member that closes its sending half (shutdown(2), `SHUT_WR`) while it still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eof {
    /// It gets what was said before, and leaves.
    #[default]
    Leave,
    /// It stays and listens until its connection ends: `eof=listen`.
    Listen,
}

/// The line end of the lines that a client receives. Lines that it sends may end with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eol {
    /// CR LF, as telnet requires (RFC 854).
    #[default]
    CrLf,
    /// LF alone, as Unix tools expect: `eol=lf`.
    Lf,
}

impl Service {
    /// Returns how clients of the room are served; `None` for services other than the room.
    pub(crate) fn chat(self) -> Option<(Profile, Script)> {
        match self {
            Self::Chat(profile) => Some((profile, Script::default())),
            Self::Script(script) => Some((Profile::Plain, script)),
            Self::Http => None,
        }
    }

    /// Returns the line end of the lines that its clients receive.
    pub(crate) fn eol(self) -> Eol {
        self.chat().map_or(Eol::CrLf, |(_, script)| script.eol)
    }

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
            Self::Chat(Profile::Plain) | Self::Script(_) => Some("plain"),
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
        // A word wins over a host of that name: `plain:6142` is a port.
        let word = addr.split_once(':');
        let word = word.and_then(|(word, place)| Some((Service::from_word(word)?, place)));
        let (service, rest) = word.map_or((None, addr), |(service, place)| (Some(service), place));
        let (place, attributes) = split_attributes(rest);
        let place = place.parse()?;
        let service = match attributes {
            None => service,
            Some(attributes) if service == Some(Service::Chat(Profile::Plain)) => {
                Some(Service::Script(attributes.parse()?))
            }
            Some(_) => return Err(ListenAddrError::NotForScripts),
        };
        Ok(Self { place, service })
    }
}

impl ListenAddr {
    /// Parses an address as [`from_str`](Self::from_str) does, except that an address without a word
    /// before it is that of a plain listener, and may have the attributes of a [`Script`].
    ///
    /// # Errors
    /// See [`from_str`](Self::from_str).
    ///
    /// ```
    /// use line_chat::ListenAddr;
    ///
    /// let addr = ListenAddr::parse_plain("127.0.0.1:6143,eol=lf")?;
    /// assert_eq!(addr, "plain:127.0.0.1:6143,eol=lf".parse()?);
    /// # Ok::<(), line_chat::ListenAddrError>(())
    /// ```
    pub fn parse_plain(addr: &str) -> Result<Self, ListenAddrError> {
        let word = addr.split_once(':').map(|(word, _)| word);
        match word.and_then(Service::from_word) {
            Some(_) => addr.parse(),
            None => format!("plain:{addr}").parse(),
        }
    }
}

/// Splits at the first comma that begins the attributes. The name of an interface may contain a comma.
fn split_attributes(addr: &str) -> (&str, Option<&str>) {
    let (bracketed, rest) = match addr.rfind(']') {
        Some(end) => addr.split_at_checked(end).unwrap_or_default(),
        None => ("", addr),
    };
    match rest.split_once(',') {
        None => (addr, None),
        Some((place, attributes)) => {
            let length = bracketed.len().saturating_add(place.len());
            (addr.get(..length).unwrap_or(addr), Some(attributes))
        }
    }
}

impl FromStr for Script {
    type Err = ListenAddrError;

    /// Parses attributes with commas between them.
    fn from_str(attributes: &str) -> Result<Self, ListenAddrError> {
        let mut script = Self::default();
        for attribute in attributes.split(',') {
            match attribute {
                "eof=leave" => script.eof = Eof::Leave,
                "eof=listen" => script.eof = Eof::Listen,
                "eol=crlf" => script.eol = Eol::CrLf,
                "eol=lf" => script.eol = Eol::Lf,
                unknown => return Err(ListenAddrError::NoAttribute(unknown.to_owned())),
            }
        }
        Ok(script)
    }
}

impl fmt::Display for Script {
    /// Writes the attributes that differ from the default, each after a comma.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.eof == Eof::Listen {
            f.write_str(",eof=listen")?;
        }
        if self.eol == Eol::Lf {
            f.write_str(",eol=lf")?;
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = ListenAddrError;

    fn from_str(place: &str) -> Result<Self, ListenAddrError> {
        if let Ok(addr) = place.parse() {
            return Ok(Self::Socket(addr));
        }
        let port_alone = place.strip_prefix(':').unwrap_or(place);
        if is_number(port_alone) {
            let port = port(port_alone)?;
            return Ok(Self::Loopback { port });
        }
        if let Some(rest) = place.strip_prefix('[') {
            return in_brackets(rest);
        }
        if place.parse::<Ipv6Addr>().is_ok() {
            return Err(ListenAddrError::NoBrackets);
        }
        let Some((name, port_text)) = place.rsplit_once(':') else {
            return Err(match is_host(place) {
                true => ListenAddrError::NoPort(place.to_owned()),
                false => ListenAddrError::NotAnAddress,
            });
        };
        if name.parse::<Ipv6Addr>().is_ok() {
            return Err(ListenAddrError::NoBrackets);
        }
        if !is_host(name) {
            return Err(ListenAddrError::NotAnAddress);
        }
        let port = port(port_text)?;
        // With a valid port it would have been parsed as an address.
        match is_like_ipv4(name) {
            true => Err(ListenAddrError::NoIpv4(name.to_owned())),
            false => Ok(Self::Host {
                name: name.to_owned(),
                port,
            }),
        }
    }
}

/// Parses a place that begins with a bracket; `rest` is what follows the bracket.
fn in_brackets(rest: &str) -> Result<Place, ListenAddrError> {
    let (inside, behind) = rest.split_once(']').ok_or(ListenAddrError::NotAnAddress)?;
    let (ip, interface) = match inside.split_once('%') {
        Some((ip, interface)) => (ip, Some(interface)),
        None => (inside, None),
    };
    let ip: Ipv6Addr = ip.parse().map_err(|_| ListenAddrError::NotAnAddress)?;
    if behind.is_empty() {
        return Err(ListenAddrError::NoPort(format!("[{inside}]")));
    }
    let port_text = behind.strip_prefix(':');
    let port = port(port_text.ok_or(ListenAddrError::NotAnAddress)?)?;
    match interface {
        None => Ok(Place::Socket(SocketAddr::new(IpAddr::V6(ip), port))),
        // The names that the kernel accepts (net/core/dev.c, dev_valid_name).
        Some(name) if !name.is_empty() && !name.contains(['/', ':']) && !has_blank(name) => {
            Ok(Place::Scoped {
                ip,
                interface: name.to_owned(),
                port,
            })
        }
        Some(_) => Err(ListenAddrError::NotAnAddress),
    }
}

fn port(text: &str) -> Result<u16, ListenAddrError> {
    let port = text.parse().ok().filter(|_| is_number(text));
    port.ok_or_else(|| ListenAddrError::NotAPort(text.to_owned()))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_blank(text: &str) -> bool {
    text.contains(char::is_whitespace)
}

fn is_host(name: &str) -> bool {
    !name.is_empty() && !name.contains([':', '[', ']', '/', '%', ',']) && !has_blank(name)
}

/// Whether a name is four numbers with dots between them: an IPv4 address, or meant as one.
fn is_like_ipv4(name: &str) -> bool {
    name.split('.').count() == 4 && name.split('.').all(is_number)
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(word) = self.service.and_then(Service::word) {
            write!(f, "{word}:")?;
        }
        self.place.fmt(f)?;
        match self.service {
            Some(Service::Script(script)) => script.fmt(f),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(addr) => addr.fmt(f),
            Self::Loopback { port } => port.fmt(f),
            Self::Scoped {
                ip,
                interface,
                port,
            } => write!(f, "[{ip}%{interface}]:{port}"),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

/// Why a text is not an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddrError {
    /// The text is not an address, a port, or a host with a port.
    NotAnAddress,
    /// The port after this address or host is missing.
    NoPort(String),
    /// The text in the place of the port is not a number from 0 to 65535.
    NotAPort(String),
    /// This looks like an IPv4 address but is not a valid one.
    NoIpv4(String),
    /// An IPv6 address has no brackets, so its end cannot be told from a port.
    NoBrackets,
    /// The text in the place of an attribute is not an attribute.
    NoAttribute(String),
    /// An attribute of a [`Script`] follows an address whose clients are not plain.
    NotForScripts,
}

impl fmt::Display for ListenAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAddress => f.write_str(
                "not an address with a port: \
                 write for example 127.0.0.1:6142, [::1]:6142, localhost:6142 or 6142",
            ),
            Self::NoPort(host) => write!(f, "the port is missing: write for example {host}:6142"),
            Self::NotAPort(port) => write!(
                f,
                "\"{port}\" is not a port: write a number from 1 to 65535, \
                 or 0 to let the system choose"
            ),
            Self::NoIpv4(name) => write!(
                f,
                "\"{name}\" is not an IPv4 address: each of its numbers is at most 255"
            ),
            Self::NoBrackets => f.write_str(
                "an IPv6 address stands in brackets, with the port behind them: \
                 write for example [::1]:6142",
            ),
            Self::NoAttribute(attribute) => write!(
                f,
                "\"{attribute}\" is not an attribute: there are eof=leave, eof=listen, eol=crlf and eol=lf"
            ),
            Self::NotForScripts => f.write_str(
                "eof= and eol= are for scripts: write --plain ADDR,... or plain:ADDR,...",
            ),
        }
    }
}

impl std::error::Error for ListenAddrError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<Place, ListenAddrError> {
        text.parse::<ListenAddr>().map(|addr| {
            assert_eq!(addr.service, None, "{text}");
            addr.place
        })
    }

    #[test]
    fn addresses_ports_and_host_names_are_told_apart() {
        let socket = |addr: &str| Ok(Place::Socket(addr.parse().expect("a socket address")));
        let host = |name: &str, port| {
            let name = name.into();
            Ok(Place::Host { name, port })
        };
        let scoped = |ip: &str, interface: &str, port| {
            Ok(Place::Scoped {
                ip: ip.parse().expect("an IPv6 address"),
                interface: interface.into(),
                port,
            })
        };
        for (text, expected) in [
            ("127.0.0.1:6142", socket("127.0.0.1:6142")),
            ("[::1]:0", socket("[::1]:0")),
            ("[fe80::1%2]:6142", socket("[fe80::1%2]:6142")),
            ("[fe80::1%eth0]:6142", scoped("fe80::1", "eth0", 6142)),
            ("[fe80::1%br-1.7]:0", scoped("fe80::1", "br-1.7", 0)),
            ("localhost:6142", host("localhost", 6142)),
            ("127.1:6142", host("127.1", 6142)),
            ("6142", Ok(Place::Loopback { port: 6142 })),
            (":6142", Ok(Place::Loopback { port: 6142 })),
            ("0", Ok(Place::Loopback { port: 0 })),
        ] {
            assert_eq!(place(text), expected, "{text}");
            if let Ok(place) = expected {
                assert_eq!(place.to_string(), text.trim_start_matches(':'));
            }
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_named() {
        let no_port = |host: &str| ListenAddrError::NoPort(host.into());
        let not_a_port = |port: &str| ListenAddrError::NotAPort(port.into());
        for (text, expected) in [
            ("", ListenAddrError::NotAnAddress),
            (":", ListenAddrError::NotAnAddress),
            ("localhost", no_port("localhost")),
            ("127.0.0.1", no_port("127.0.0.1")),
            ("[::1]", no_port("[::1]")),
            ("[fe80::1%eth0]", no_port("[fe80::1%eth0]")),
            ("localhost:", not_a_port("")),
            ("localhost:http", not_a_port("http")),
            ("localhost:65536", not_a_port("65536")),
            ("127.0.0.1:70000", not_a_port("70000")),
            ("127.0.0.1:-1", not_a_port("-1")),
            ("127.0.0.1:+6142", not_a_port("+6142")),
            ("[::1]:70000", not_a_port("70000")),
            ("[fe80::1%eth0]:70000", not_a_port("70000")),
            ("70000", not_a_port("70000")),
            (":70000", not_a_port("70000")),
            (
                "192.168.1.300:6142",
                ListenAddrError::NoIpv4("192.168.1.300".into()),
            ),
            ("::1", ListenAddrError::NoBrackets),
            ("::1:6142", ListenAddrError::NoBrackets),
            ("2001:db8:1:2:3:4:5:6:6142", ListenAddrError::NoBrackets),
            ("[::1]6142", ListenAddrError::NotAnAddress),
            ("[fe80::1%]:6142", ListenAddrError::NotAnAddress),
            ("[fe80::1%a b]:6142", ListenAddrError::NotAnAddress),
            ("[fe80::1%a/b]:6142", ListenAddrError::NotAnAddress),
            ("[127.0.0.1]:6142", ListenAddrError::NotAnAddress),
            ("a b:1", ListenAddrError::NotAnAddress),
            ("http://localhost:6142", ListenAddrError::NotAnAddress),
            ("plain:", ListenAddrError::NotAnAddress),
            ("plain:http:127.0.0.1:1", ListenAddrError::NotAnAddress),
            ("http:", ListenAddrError::NotAnAddress),
            ("127.0.0.1:1,eof=listen", ListenAddrError::NotForScripts),
            (
                "interactive:127.0.0.1:1,eol=lf",
                ListenAddrError::NotForScripts,
            ),
            ("http:1,eol=lf", ListenAddrError::NotForScripts),
            ("plain:1,", ListenAddrError::NoAttribute("".into())),
            (
                "plain:1,eol=cr",
                ListenAddrError::NoAttribute("eol=cr".into()),
            ),
            ("plain:1,eol=lf,x", ListenAddrError::NoAttribute("x".into())),
            ("plain:70000,eol=lf", not_a_port("70000")),
        ] {
            assert_eq!(text.parse::<ListenAddr>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_word_and_attributes_say_what_its_clients_get() {
        let script = |eof, eol| Service::Script(Script { eof, eol });
        for (text, service) in [
            ("plain:127.0.0.1:6142", Service::Chat(Profile::Plain)),
            ("plain:6142", Service::Chat(Profile::Plain)),
            ("interactive:[::1]:0", Service::Chat(Profile::Interactive)),
            ("http:localhost:9180", Service::Http),
            ("plain:6142,eof=listen", script(Eof::Listen, Eol::CrLf)),
            ("plain:[fe80::1%a,b]:1,eol=lf", script(Eof::Leave, Eol::Lf)),
            (
                "plain:localhost:1,eof=listen,eol=lf",
                script(Eof::Listen, Eol::Lf),
            ),
        ] {
            let addr: ListenAddr = text.parse().expect("an address");
            assert_eq!(addr.service, Some(service));
            assert_eq!(addr.to_string(), text);
        }
    }
}
