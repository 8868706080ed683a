//! Where to listen and what for, as an operator writes it. [`ListenAddr`] is parsed once; from then on
//! it is known whether it is an address, a port, a host name or a Unix socket. The grammar is
//! `[WORD(+WORD)*:]WHERE[,KEY=VALUE]*`: the words and keys are in `config/listener_words.rs`, and the
//! places are here.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::config::interactive::Profile;
use crate::config::listener_words::{Keys, Words};
use crate::config::unix_socket::{UnixName, UnixSocket};

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
    /// What stands before a client's bytes on its connection.
    pub layers: Layers,
}

/// One or more socket addresses, or a Unix socket.
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
    /// `unix:/run/line-chat/chat.sock` or `unix:@name`.
    Unix(UnixSocket),
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

/// What stands before a client's bytes on a connection. By default nothing does.
///
/// ```
/// use line_chat::{Layers, ListenAddr};
///
/// let addr: ListenAddr = "proxy:10.0.0.1:6142".parse()?;
/// assert_eq!(addr.layers, Layers { proxy: true, ..Layers::default() });
/// # Ok::<(), line_chat::ListenAddrError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layers {
    /// A proxy sends a header with the client's address (HAProxy's proxy-protocol.txt, versions 1 and 2).
    pub proxy: bool,
    /// TLS, behind the header of a proxy where there is one. It needs [`Config::tls`](crate::Config::tls).
    pub tls: bool,
}

/// What a listener is for.
///
/// ```
/// use line_chat::{Profile, Role, Service};
///
/// let service = Service::Chat(Profile::Interactive);
/// assert_eq!(Role::from(service), Role { service, ..Role::default() });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Role {
    /// What its clients get.
    pub service: Service,
    /// What stands before their bytes.
    pub layers: Layers,
}

impl From<Service> for Role {
    fn from(service: Service) -> Self {
        Self {
            service,
            layers: Layers::default(),
        }
    }
}

impl Role {
    /// Returns the role that these words stand for, joined as in a [`ListenAddr`]. `usual` is the service
    /// where they name none, and the role if they are no such words.
    ///
    /// # Errors
    /// The words do not go together, or stand for something that is not supported.
    ///
    /// ```
    /// use line_chat::{Layers, Profile, Role, Service};
    ///
    /// let usual = Service::Chat(Profile::Interactive);
    /// let plain = Service::Chat(Profile::Plain);
    /// assert_eq!(Role::from_words("unix+plain", usual)?, plain.into());
    /// assert_eq!(Role::from_words("chat.socket", usual)?, usual.into());
    /// let proxied = Role::from_words("proxy", usual)?;
    /// assert_eq!((proxied.service, proxied.layers.proxy), (usual, true));
    /// # Ok::<(), line_chat::ListenAddrError>(())
    /// ```
    pub fn from_words(words: &str, usual: Service) -> Result<Self, ListenAddrError> {
        let before_nothing = format!("{words}:");
        let (words, _) = Words::split(&before_nothing)?;
        Ok(Self {
            service: words.service.unwrap_or(usual),
            layers: words.layers,
        })
    }
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

    pub(super) fn word(self) -> Option<&'static str> {
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
            layers: Layers::default(),
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(addr: &str) -> Result<Self, ListenAddrError> {
        Self::parse(addr, None)
    }
}

impl ListenAddr {
    /// What the log and the start of the server call it: everything but what clients get there.
    ///
    /// ```
    /// use line_chat::ListenAddr;
    ///
    /// let addr: ListenAddr = "proxy+plain:127.0.0.1:6143".parse()?;
    /// assert_eq!(addr.name(), "proxy:127.0.0.1:6143");
    /// # Ok::<(), line_chat::ListenAddrError>(())
    /// ```
    pub fn name(&self) -> String {
        let without_service = Self {
            service: None,
            ..self.clone()
        };
        without_service.to_string()
    }

    /// Parses an address as [`from_str`](Self::from_str) does, except that an address without a word
    /// for what clients get is that of a plain listener, and may have the keys of a [`Script`].
    ///
    /// # Errors
    /// See [`from_str`](Self::from_str).
    ///
    /// ```
    /// use line_chat::ListenAddr;
    ///
    /// let addr = ListenAddr::parse_plain("127.0.0.1:6143,eol=lf")?;
    /// assert_eq!(addr, "plain:127.0.0.1:6143,eol=lf".parse()?);
    /// let addr = ListenAddr::parse_plain("unix:@scripts")?;
    /// assert_eq!(addr, "unix+plain:@scripts".parse()?);
    /// # Ok::<(), line_chat::ListenAddrError>(())
    /// ```
    pub fn parse_plain(addr: &str) -> Result<Self, ListenAddrError> {
        Self::parse(addr, Some(Service::Chat(Profile::Plain)))
    }

    /// Parses an address as [`from_str`](Self::from_str) does, except that an address without a word
    /// for what clients get is that of a listener for HTTP.
    ///
    /// # Errors
    /// See [`from_str`](Self::from_str). A word for what else clients get does not fit.
    ///
    /// ```
    /// use line_chat::ListenAddr;
    ///
    /// assert_eq!(ListenAddr::parse_metrics("127.0.0.1:9180")?, "http:127.0.0.1:9180".parse()?);
    /// assert_eq!(ListenAddr::parse_metrics("unix:@metrics")?, "unix+http:@metrics".parse()?);
    /// # Ok::<(), line_chat::ListenAddrError>(())
    /// ```
    pub fn parse_metrics(addr: &str) -> Result<Self, ListenAddrError> {
        let this = Self::parse(addr, Some(Service::Http))?;
        match this.service.and_then(Service::word) {
            Some(word) if this.service != Some(Service::Http) => {
                Err(ListenAddrError::WordsConflict("metrics", word))
            }
            _ => Ok(this),
        }
    }

    /// Parses an address whose clients get `usual` where no word says what they get.
    fn parse(addr: &str, usual: Option<Service>) -> Result<Self, ListenAddrError> {
        let (words, rest) = Words::split(addr)?;
        let (place, keys) = if words.is_unix {
            rest.split_once(',')
                .map_or((rest, None), |(place, keys)| (place, Some(keys)))
        } else {
            split_keys(rest)
        };
        let listener_bytes = addr
            .len()
            .saturating_sub(keys.map_or(0, |keys| keys.len().saturating_add(1)));
        let mut this = Self {
            place: match words.is_unix {
                true => Place::Unix(
                    UnixName::parse(place)
                        .ok_or(ListenAddrError::NoPath)?
                        .into(),
                ),
                false => place.parse()?,
            },
            service: words.service.or(usual),
            layers: words.layers,
        };
        if let Some(keys) = keys {
            let given = Keys::parse(keys).and_then(|keys| keys.apply(&mut this));
            given.map_err(|(key, problem)| ListenAddrError::Key {
                listener: addr.get(..listener_bytes).unwrap_or(addr).to_owned(),
                key,
                problem,
            })?;
        }
        Ok(this)
    }
}

/// Splits at the first comma that begins the keys. The name of an interface may contain a comma.
fn split_keys(addr: &str) -> (&str, Option<&str>) {
    let (bracketed, rest) = match addr.rfind(']') {
        Some(end) => addr.split_at_checked(end).unwrap_or_default(),
        None => ("", addr),
    };
    match rest.split_once(',') {
        None => (addr, None),
        Some((place, keys)) => {
            let length = bracketed.len().saturating_add(place.len());
            (addr.get(..length).unwrap_or(addr), Some(keys))
        }
    }
}

impl fmt::Display for Script {
    /// Writes the keys that differ from the default, each after a comma.
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

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn has_blank(text: &str) -> bool {
    text.contains(char::is_whitespace)
}

pub(super) fn is_host(name: &str) -> bool {
    !name.is_empty() && !name.contains([':', '[', ']', '/', '%', ',']) && !has_blank(name)
}

/// Whether a name is four numbers with dots between them: an IPv4 address, or meant as one.
pub(super) fn is_like_ipv4(name: &str) -> bool {
    name.split('.').count() == 4 && name.split('.').all(is_number)
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            self.service.and_then(Service::word),
            self.layers.proxy.then_some("proxy"),
            self.layers.tls.then_some("tls"),
        ];
        let mut words = words.into_iter().flatten().peekable();
        // A Unix socket begins with a word of its own.
        let is_unix = matches!(self.place, Place::Unix(_));
        while let Some(word) = words.next() {
            let is_last = words.peek().is_none() && !is_unix;
            f.write_str(word)?;
            f.write_str(if is_last { ":" } else { "+" })?;
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
            Self::Unix(socket) => socket.fmt(f),
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
    /// The path or `@name` of a Unix socket is missing.
    NoPath,
    /// This is not a word for a listener, but stands beside one.
    NoWord(String),
    /// This word is given twice.
    WordTwice(&'static str),
    /// These two words do not go together.
    WordsConflict(&'static str, &'static str),
    /// This word stands for what this build of the server cannot do.
    NotSupported(&'static str),
    /// There is something wrong with a key.
    Key {
        /// The listener as it was written, without its keys.
        listener: String,
        /// The key, or what stands in its place.
        key: String,
        /// What is wrong with it.
        problem: KeyProblem,
    },
}

/// What is wrong with a key of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyProblem {
    /// There is no such key.
    Unknown,
    /// It is given twice.
    Twice,
    /// Its value is not one of these.
    Value(&'static str),
    /// It is for listeners of this kind only.
    Only(&'static str),
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("there is no such key; the keys are eof, eol, mode and group")
            }
            Self::Twice => f.write_str("it is given twice: give it once"),
            Self::Value(allowed) => write!(f, "its value is {allowed}"),
            Self::Only(kind) => write!(f, "it is only for {kind}"),
        }
    }
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
            Self::NoPath => f.write_str(
                "the path is missing: write for example unix:/run/line-chat/chat.sock or unix:@chat",
            ),
            Self::NoWord(word) => write!(
                f,
                "\"{word}\" is not a word for a listener: there are interactive, plain, http, proxy, tls and unix"
            ),
            Self::WordTwice(word) => write!(f, "{word} is given twice: give it once"),
            Self::WordsConflict(one, other) => {
                write!(f, "{one} and {other} do not go together: give one of them")
            }
            Self::NotSupported(word) => write!(
                f,
                "{word} is not supported: this program was built without it (feature \"{word}\")"
            ),
            Self::Key {
                listener,
                key,
                problem,
            } => write!(f, "{listener}: key \"{key}\": {problem}"),
        }
    }
}

impl std::error::Error for ListenAddrError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::unix_socket::Group;

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
            ("plain:70000,eol=lf", not_a_port("70000")),
            ("unix:", ListenAddrError::NoPath),
            ("unix:@", ListenAddrError::NoPath),
            ("unix:,mode=0600", ListenAddrError::NoPath),
        ] {
            assert_eq!(text.parse::<ListenAddr>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn words_and_keys_say_what_its_clients_get() {
        let script = |eof, eol| Some(Service::Script(Script { eof, eol }));
        let plain = Some(Service::Chat(Profile::Plain));
        let interactive = Some(Service::Chat(Profile::Interactive));
        let path = |path: &str| Place::Unix(UnixName::Path(path.into()).into());
        let abstract_name = |name: &str| Place::Unix(UnixName::Abstract(name.into()).into());
        let place = |text| place(text).expect("a place");
        for (text, service, place) in [
            ("plain:127.0.0.1:6142", plain, place("127.0.0.1:6142")),
            ("plain:6142", plain, place("6142")),
            ("interactive:[::1]:0", interactive, place("[::1]:0")),
            (
                "http:localhost:9180",
                Some(Service::Http),
                place("localhost:9180"),
            ),
            (
                "plain:6142,eof=listen",
                script(Eof::Listen, Eol::CrLf),
                place("6142"),
            ),
            (
                "plain:[fe80::1%a,b]:1,eol=lf",
                script(Eof::Leave, Eol::Lf),
                place("[fe80::1%a,b]:1"),
            ),
            (
                "plain:localhost:1,eof=listen,eol=lf",
                script(Eof::Listen, Eol::Lf),
                place("localhost:1"),
            ),
            ("unix:/run/chat", None, path("/run/chat")),
            ("unix:6142", None, path("6142")),
            ("unix:./a:b", None, path("./a:b")),
            ("unix:@chat", None, abstract_name("chat")),
            ("plain+unix:/run/chat", plain, path("/run/chat")),
            ("http+unix:@h", Some(Service::Http), abstract_name("h")),
            (
                "plain+unix:/run/chat,eol=lf",
                script(Eof::Leave, Eol::Lf),
                path("/run/chat"),
            ),
        ] {
            let addr: ListenAddr = text.parse().expect("an address");
            assert_eq!((addr.service, &addr.place), (service, &place), "{text}");
            assert_eq!(addr.to_string(), text);
        }
        let either: [ListenAddr; 2] =
            ["unix+plain:@a", "plain+unix:@a"].map(|text| text.parse().expect("an address"));
        assert_eq!(either[0], either[1]);
    }

    #[test]
    fn words_say_what_stands_before_its_clients() {
        let plain = Some(Service::Chat(Profile::Plain));
        for (text, service) in [
            ("proxy:10.0.0.1:6142", None),
            ("plain+proxy:6142", plain),
            ("proxy+unix:/run/chat", None),
            ("plain+proxy+unix:@a", plain),
        ] {
            let addr: ListenAddr = text.parse().expect("an address");
            assert_eq!((addr.service, addr.layers.proxy), (service, true), "{text}");
            assert_eq!(addr.to_string(), text);
        }
        let either: [ListenAddr; 2] =
            ["unix+proxy+plain:@a", "plain+proxy+unix:@a"].map(|text| text.parse().expect("one"));
        assert_eq!(either[0], either[1]);
    }

    #[test]
    fn the_file_of_a_unix_socket_has_permissions_and_a_group() {
        let chat = Group::Name("chat".into());
        for (keys, mode, group, permissions) in [
            ("", None, None, None),
            (",mode=0600", Some(0o600), None, Some(0o600)),
            (",mode=0000", Some(0), None, Some(0)),
            (",group=chat", None, Some(chat.clone()), Some(0o660)),
            (
                ",mode=0770,group=7",
                Some(0o770),
                Some(Group::Id(7)),
                Some(0o770),
            ),
        ] {
            let text = format!("unix:/run/chat{keys}");
            let addr: ListenAddr = text.parse().expect("an address");
            let Place::Unix(socket) = &addr.place else {
                panic!("{addr:?}");
            };
            assert_eq!((socket.mode, &socket.group), (mode, &group), "{text}");
            assert_eq!(socket.permissions(), permissions, "{text}");
            assert_eq!(addr.to_string(), text);
        }
        let either: [ListenAddr; 2] = ["unix:a,mode=0660,group=7", "unix:a,group=7,mode=660"]
            .map(|text| text.parse().expect("an address"));
        assert_eq!(either[0], either[1]);
    }

    #[test]
    fn what_is_wrong_with_words_and_keys_is_said() {
        const NO_KEY: &str = "there is no such key; the keys are eof, eol, mode and group";
        for (text, expected) in [
            ("plain+plain:1", "plain is given twice: give it once"),
            ("unix+plain+unix:a", "unix is given twice: give it once"),
            (
                "plain+http:1",
                "plain and http do not go together: give one of them",
            ),
            (
                "unix+interactive+plain:a",
                "interactive and plain do not go together: give one of them",
            ),
            (
                "plain+udp:1",
                "\"udp\" is not a word for a listener: there are interactive, plain, http, proxy, tls and unix",
            ),
            (
                "+plain:1",
                "\"\" is not a word for a listener: there are interactive, plain, http, proxy, tls and unix",
            ),
            ("tls+tls:0.0.0.0:6697", "tls is given twice: give it once"),
            (
                "tls+http:0.0.0.0:443",
                "http and tls do not go together: give one of them",
            ),
            ("plain+proxy+proxy:1", "proxy is given twice: give it once"),
            (
                "unix:",
                "the path is missing: write for example unix:/run/line-chat/chat.sock or unix:@chat",
            ),
        ] {
            assert_eq!(error(text), expected, "{text}");
        }
        for (text, listener, key, problem) in [
            ("plain:1,", "plain:1", "", NO_KEY),
            ("plain:1,x", "plain:1", "x", NO_KEY),
            ("plain:1,eol=lf,x=y", "plain:1", "x", NO_KEY),
            ("unix:/a,b,mode=0600", "unix:/a", "b", NO_KEY),
            (
                "plain:1,eol=cr",
                "plain:1",
                "eol",
                "its value is crlf or lf",
            ),
            (
                "plain:1,eof",
                "plain:1",
                "eof",
                "its value is leave or listen",
            ),
            (
                "plain:1,eol=lf,eol=lf",
                "plain:1",
                "eol",
                "it is given twice: give it once",
            ),
            (
                "unix:a,mode=0600,group=1,mode=0600",
                "unix:a",
                "mode",
                "it is given twice: give it once",
            ),
            (
                "127.0.0.1:1,eof=listen",
                "127.0.0.1:1",
                "eof",
                "it is only for plain listeners, such as plain:127.0.0.1:6143",
            ),
            (
                "interactive:[::1]:1,eol=lf",
                "interactive:[::1]:1",
                "eol",
                "it is only for plain listeners, such as plain:127.0.0.1:6143",
            ),
            (
                "http+unix:@a,eol=crlf",
                "http+unix:@a",
                "eol",
                "it is only for plain listeners, such as plain:127.0.0.1:6143",
            ),
            (
                "plain:1,mode=0600",
                "plain:1",
                "mode",
                "it is only for the path of a Unix socket, such as unix:/run/line-chat/chat.sock",
            ),
            (
                "unix:@a,group=chat",
                "unix:@a",
                "group",
                "it is only for the path of a Unix socket, such as unix:/run/line-chat/chat.sock",
            ),
            (
                "unix:a,group=",
                "unix:a",
                "group",
                "its value is a name or a number",
            ),
            (
                "unix:a,group=4294967295",
                "unix:a",
                "group",
                "its value is a name or a number",
            ),
        ] {
            assert_eq!(
                error(text),
                format!("{listener}: key \"{key}\": {problem}"),
                "{text}"
            );
        }
        for mode in ["", "rw", "0o660", "8", "1777", "00660", "+660"] {
            assert_eq!(
                error(&format!("unix:a,mode={mode}")),
                "unix:a: key \"mode\": its value is an octal number up to 0777",
                "{mode}"
            );
        }
    }

    fn error(text: &str) -> String {
        let error = text.parse::<ListenAddr>().expect_err("it is wrong");
        error.to_string()
    }
}
