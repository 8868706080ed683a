//! Where the engine is that joins several servers into one room, as an operator writes it: [`RelayUrl`],
//! and the name of that room there: [`RelayRoom`]. Both are parsed once. A secret in a URL is shown
//! neither by `Debug` nor by `Display` nor by an error.
//!
//! The grammar is `nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT][,HOST[:PORT]]*`. A `@`, `:`, `/` or `%` in
//! what stands before the hosts is written as in any URL (RFC 3986, section 2.1): `%40` is a `@`.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::config::addr::{is_host, is_like_ipv4, is_number};

/// The port of a NATS server for clients, where none is given.
const DEFAULT_PORT: u16 = 4222;

/// The longest user name, password or token, in bytes. NATS servers take CONNECT in 4096 bytes, in which
/// all of it may be escaped.
const MAX_CREDENTIAL_BYTES: usize = 512;

/// The longest name of a room, in bytes.
const MAX_ROOM_BYTES: usize = 32;

const SCHEME: &str = "nats://";

/// Where the servers of an engine are, and who this server is to them.
///
/// ```
/// use line_chat::{RelayAuth, RelayUrl};
///
/// let url: RelayUrl = "nats://chat:p%40ss@10.0.0.1,[2001:db8::1]:4333".parse()?;
/// assert_eq!(url.hosts.len(), 2);
/// assert_eq!(url.to_string(), "nats://10.0.0.1:4222,[2001:db8::1]:4333");
/// assert!(matches!(&url.auth, RelayAuth::User { password, .. } if password.reveal() == "p@ss"));
/// assert!(!format!("{url:?}").contains("p@ss"));
/// # Ok::<(), line_chat::RelayUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    /// The servers, at least one, in the order in which they were given.
    pub hosts: Vec<RelayHost>,
    /// How this server proves who it is.
    pub auth: RelayAuth,
}

/// One server of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RelayHost {
    /// `127.0.0.1:4222` or `[::1]:4222`.
    Addr(SocketAddr),
    /// `nats.example:4222`, to be resolved.
    Name {
        /// The name.
        name: String,
        /// The TCP port.
        port: u16,
    },
}

/// How this server proves to the engine who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RelayAuth {
    /// Not at all.
    #[default]
    None,
    /// By a name and a password.
    User {
        /// The name.
        user: String,
        /// The password; it may be empty.
        password: RelaySecret,
    },
    /// By a token.
    Token(RelaySecret),
}

/// A password or token for the engine, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct RelaySecret(Box<str>);

impl RelaySecret {
    /// Returns the secret itself, to be sent to the engine.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RelaySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelaySecret(..)")
    }
}

/// How a server joins others in one room: where the engine is, and which room.
///
/// ```
/// use line_chat::{Config, RelayConfig};
///
/// let relay = RelayConfig::new("nats://127.0.0.1".parse()?, "lobby".parse()?);
/// let config = Config {
///     relay: Some(relay),
///     ..Config::default()
/// };
/// assert_eq!(config.check(), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RelayConfig {
    /// Where the engine is, and who this server is to it.
    pub url: RelayUrl,
    /// The room there. Servers with the same one share it.
    pub room: RelayRoom,
    /// On how many servers of the engine the streams are kept, if this server makes them: 1, 3 or 5.
    pub replicas: u8,
    /// How long it waits for what.
    pub times: RelayTimes,
}

impl RelayConfig {
    /// One copy of the streams, and the usual times.
    pub fn new(url: RelayUrl, room: RelayRoom) -> Self {
        Self {
            url,
            room,
            replicas: 1,
            times: RelayTimes::default(),
        }
    }
}

/// How long a server of several waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayTimes {
    /// How often it says that it lives. Default: 5 s.
    pub beat: Duration,
    /// How long nobody is told that the engine is away, if it keeps one copy of the streams. Default: 2 s.
    pub hold_one: Duration,
    /// The same if it keeps several, because its servers may have to elect a leader. Default: 10 s.
    pub hold_more: Duration,
    /// After how long without a word another server is gone. Default: 15 s.
    pub gone: Duration,
    /// How long an entry that is missing in the middle may be late before it is fetched. Default: 50 ms.
    pub gap: Duration,
    /// How long what was published may take to come back before it is sent again. Default: 1 s.
    pub probe: Duration,
}

impl Default for RelayTimes {
    fn default() -> Self {
        Self {
            beat: Duration::from_secs(5),
            hold_one: Duration::from_secs(2),
            hold_more: Duration::from_secs(10),
            gone: Duration::from_secs(15),
            gap: Duration::from_millis(50),
            probe: Duration::from_secs(1),
        }
    }
}

impl RelayTimes {
    /// All of them divided by a number, for tests.
    #[doc(hidden)]
    pub fn divided_by(self, n: u32) -> Self {
        let part = |time: Duration| time.checked_div(n).unwrap_or(time);
        Self {
            beat: part(self.beat),
            hold_one: part(self.hold_one),
            hold_more: part(self.hold_more),
            gone: part(self.gone),
            gap: part(self.gap),
            probe: part(self.probe),
        }
    }
}

impl FromStr for RelayUrl {
    type Err = RelayUrlError;

    fn from_str(url: &str) -> Result<Self, RelayUrlError> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => return Err(RelayUrlError::NoScheme),
        };
        match scheme.as_str() {
            "nats" => {}
            "tls" | "nats+tls" | "nats+tls-first" => return Err(RelayUrlError::Tls),
            _ => return Err(RelayUrlError::NoScheme),
        }
        let (auth, hosts) = match rest.rsplit_once('@') {
            Some((auth, hosts)) => (RelayAuth::parse(auth)?, hosts),
            None => (RelayAuth::None, rest),
        };
        if hosts.contains("://") {
            return Err(RelayUrlError::SchemeAgain);
        }
        if hosts.contains(['/', '?', '#']) {
            return Err(RelayUrlError::Path);
        }
        let hosts = hosts.split(',').map(str::parse);
        let hosts = hosts.collect::<Result<_, _>>()?;
        Ok(Self { hosts, auth })
    }
}

impl fmt::Display for RelayUrl {
    /// Writes the hosts without what proves who this server is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        for (n, host) in self.hosts.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            host.fmt(f)?;
        }
        Ok(())
    }
}

impl RelayAuth {
    fn parse(text: &str) -> Result<Self, RelayUrlError> {
        let Some((user, password)) = text.split_once(':') else {
            return match credential(text)? {
                token if token.is_empty() => Err(RelayUrlError::NoUser),
                token => Ok(Self::Token(RelaySecret(token.into()))),
            };
        };
        match credential(user)? {
            user if user.is_empty() => Err(RelayUrlError::NoUser),
            user => Ok(Self::User {
                user,
                password: RelaySecret(credential(password)?.into()),
            }),
        }
    }
}

/// Decodes a user name, password or token.
fn credential(text: &str) -> Result<String, RelayUrlError> {
    let bytes = percent_decoded(text).ok_or(RelayUrlError::Escape)?;
    let text = String::from_utf8(bytes).map_err(|_| RelayUrlError::Credential)?;
    match text.len() > MAX_CREDENTIAL_BYTES || text.contains(char::is_control) {
        true => Err(RelayUrlError::Credential),
        false => Ok(text),
    }
}

/// `None` if a `%` is not followed by two hexadecimal digits.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split('%');
    let mut decoded: Vec<u8> = pieces.next().unwrap_or_default().into();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        decoded.push(byte);
        decoded.extend_from_slice(rest.as_bytes());
    }
    Some(decoded)
}

impl RelayHost {
    /// Returns the address, or `None` if the host has to be resolved first.
    pub fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Addr(addr) => Some(*addr),
            Self::Name { .. } => None,
        }
    }
}

impl FromStr for RelayHost {
    type Err = RelayUrlError;

    /// Parses a host with or without a port, as in a URL and as NATS servers tell of each other
    /// (`connect_urls`).
    fn from_str(text: &str) -> Result<Self, RelayUrlError> {
        let no_host = || RelayUrlError::NotAHost(text.to_owned());
        if let Some(rest) = text.strip_prefix('[') {
            let (ip, behind) = rest.split_once(']').ok_or_else(no_host)?;
            let ip: Ipv6Addr = ip.parse().map_err(|_| no_host())?;
            let port = match behind.strip_prefix(':') {
                None if behind.is_empty() => DEFAULT_PORT,
                None => return Err(no_host()),
                Some(port) => parse_port(port, &format!("[{ip}]"))?,
            };
            return Ok(Self::Addr((ip, port).into()));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        };
        if name.contains(':') {
            return Err(RelayUrlError::NoBrackets);
        }
        if !is_host(name) || name.contains('@') {
            return Err(no_host());
        }
        let port = port.map_or(Ok(DEFAULT_PORT), |port| parse_port(port, name))?;
        match name.parse() {
            Ok(ip) => Ok(Self::Addr(SocketAddr::new(ip, port))),
            Err(_) if is_like_ipv4(name) => Err(no_host()),
            Err(_) => Ok(Self::Name {
                name: name.to_owned(),
                port,
            }),
        }
    }
}

/// The text of the port is not in the error: it is a password if the host behind it was forgotten.
fn parse_port(text: &str, host: &str) -> Result<u16, RelayUrlError> {
    let port = text.parse().ok().filter(|_| is_number(text));
    port.filter(|&port| port > 0)
        .ok_or_else(|| RelayUrlError::NotAPort(host.to_owned()))
}

impl fmt::Display for RelayHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Name { name, port } => write!(f, "{name}:{port}"),
        }
    }
}

/// Why a text does not say where the engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayUrlError {
    /// The text does not begin with `nats://`.
    NoScheme,
    /// The scheme asks for TLS.
    Tls,
    /// A host behind the first one has a scheme.
    SchemeAgain,
    /// Something follows the hosts.
    Path,
    /// The user name, or the token, is empty.
    NoUser,
    /// A `%` is not followed by two hexadecimal digits.
    Escape,
    /// The user name, the password or the token is longer than 512 bytes, is not UTF-8, or holds a control
    /// character.
    Credential,
    /// This is not a host.
    NotAHost(String),
    /// What follows this host is not a port.
    NotAPort(String),
    /// An IPv6 address has no brackets, so its end cannot be told from a port.
    NoBrackets,
}

impl fmt::Display for RelayUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => {
                "the engine's URL does not begin with nats://: \
                 write for example nats://127.0.0.1:4222"
            }
            Self::Tls => {
                "TLS to the engine is not supported: run a nats-server on this machine that connects to \
                 it with TLS, as a leaf node, and write nats://127.0.0.1:4222"
            }
            Self::SchemeAgain => {
                "nats:// and the user stand before the first host only: \
                 write for example nats://10.0.0.1,10.0.0.2"
            }
            Self::Path => {
                "something follows the hosts: take it out, and write a \"/\" in a password as %2F"
            }
            Self::NoUser => {
                "the user is missing before the \"@\": \
                 write nats://USER:PASSWORD@HOST or nats://TOKEN@HOST"
            }
            Self::Escape => {
                "a \"%\" before the \"@\" is not followed by two hexadecimal digits: write it as %25"
            }
            Self::Credential => {
                return write!(
                    f,
                    "the user, the password or the token is longer than {MAX_CREDENTIAL_BYTES} bytes, \
                     is no UTF-8 or holds a control character: take another one"
                );
            }
            Self::NotAHost(text) if text.is_empty() => {
                "a host is missing: write for example nats://127.0.0.1:4222"
            }
            Self::NotAHost(text) => {
                return write!(
                    f,
                    "\"{text}\" is not a host: write for example 127.0.0.1:4222, [::1]:4222 or \
                     nats.example"
                );
            }
            Self::NotAPort(host) => {
                return write!(
                    f,
                    "what follows \"{host}:\" is not a port: write a number from 1 to 65535; a password \
                     has its host behind a \"@\""
                );
            }
            Self::NoBrackets => {
                "an IPv6 address stands in brackets: write for example nats://[::1]:4222"
            }
        })
    }
}

impl std::error::Error for RelayUrlError {}

/// The name of the room that several servers share, on their engine: 1 to 32 of `a` to `z`, `0` to `9`, `_`
/// and `-`.
///
/// ```
/// use line_chat::RelayRoom;
///
/// let room: RelayRoom = "lobby".parse()?;
/// assert_eq!(room.as_str(), "lobby");
/// assert!("The Lobby".parse::<RelayRoom>().is_err());
/// # Ok::<(), line_chat::RelayRoomError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayRoom(Box<str>);

impl RelayRoom {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RelayRoom {
    type Err = RelayRoomError;

    fn from_str(name: &str) -> Result<Self, RelayRoomError> {
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        match (1..=MAX_ROOM_BYTES).contains(&name.len()) && name.bytes().all(is_allowed) {
            true => Ok(Self(name.into())),
            false => Err(RelayRoomError),
        }
    }
}

impl fmt::Display for RelayRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a [`RelayRoom`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayRoomError;

impl fmt::Display for RelayRoomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the room's name is not 1 to {MAX_ROOM_BYTES} of a-z, 0-9, \"_\" and \"-\": \
             write for example lobby"
        )
    }
}

impl std::error::Error for RelayRoomError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, port: u16) -> RelayHost {
        let name = name.into();
        RelayHost::Name { name, port }
    }

    fn addr(addr: &str) -> RelayHost {
        RelayHost::Addr(addr.parse().expect("a socket address"))
    }

    fn user(user: &str, password: &str) -> RelayAuth {
        RelayAuth::User {
            user: user.into(),
            password: RelaySecret(password.into()),
        }
    }

    fn token(token: &str) -> RelayAuth {
        RelayAuth::Token(RelaySecret(token.into()))
    }

    #[test]
    fn a_url_names_the_hosts_and_who_we_are() {
        let none = || RelayAuth::None;
        for (url, auth, hosts) in [
            (
                "nats://127.0.0.1:4222",
                none(),
                vec![addr("127.0.0.1:4222")],
            ),
            (
                "NATS://localhost",
                none(),
                vec![named("localhost", DEFAULT_PORT)],
            ),
            ("nats://[::1]", none(), vec![addr("[::1]:4222")]),
            (
                "nats://a:1,10.0.0.1,[2001:db8::1]:65535,b.example",
                none(),
                vec![
                    named("a", 1),
                    addr("10.0.0.1:4222"),
                    addr("[2001:db8::1]:65535"),
                    named("b.example", 4222),
                ],
            ),
            (
                "nats://chat:secret@h:1",
                user("chat", "secret"),
                vec![named("h", 1)],
            ),
            ("nats://chat:@h", user("chat", ""), vec![named("h", 4222)]),
            (
                "nats://s3cr3t@h,i",
                token("s3cr3t"),
                vec![named("h", 4222), named("i", 4222)],
            ),
            (
                "nats://a%3Ab:%40%2F%25%c3%a9+:x@h",
                user("a:b", "@/%é+:x"),
                vec![named("h", 4222)],
            ),
            ("nats://a:b@c@h", user("a", "b@c"), vec![named("h", 4222)]),
            ("nats://a:b/c@h", user("a", "b/c"), vec![named("h", 4222)]),
        ] {
            assert_eq!(
                url.parse::<RelayUrl>(),
                Ok(RelayUrl { hosts, auth }),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_named() {
        let no_host = |text: &str| RelayUrlError::NotAHost(text.into());
        let no_port = |host: &str| RelayUrlError::NotAPort(host.into());
        let long = "x".repeat(MAX_CREDENTIAL_BYTES + 1);
        for (url, expected) in [
            ("", RelayUrlError::NoScheme),
            ("localhost:4222", RelayUrlError::NoScheme),
            ("ws://localhost", RelayUrlError::NoScheme),
            ("nats:localhost", RelayUrlError::NoScheme),
            ("tls://localhost", RelayUrlError::Tls),
            ("nats+tls-first://localhost", RelayUrlError::Tls),
            ("nats://a,nats://b", RelayUrlError::SchemeAgain),
            ("nats://a/", RelayUrlError::Path),
            ("nats://a:4222?tls=1", RelayUrlError::Path),
            ("nats://", no_host("")),
            ("nats://a,", no_host("")),
            ("nats://,a", no_host("")),
            ("nats://u:p@", no_host("")),
            ("nats://:4222", no_host(":4222")),
            ("nats://a b", no_host("a b")),
            ("nats://[::1", no_host("[::1")),
            ("nats://[::1]4222", no_host("[::1]4222")),
            ("nats://[127.0.0.1]:4222", no_host("[127.0.0.1]:4222")),
            ("nats://10.0.0.256", no_host("10.0.0.256")),
            ("nats://fe80::1:4222", RelayUrlError::NoBrackets),
            ("nats://::1", RelayUrlError::NoBrackets),
            (
                "nats://2001:db8:1:2:3:4:5:6:4222",
                RelayUrlError::NoBrackets,
            ),
            ("nats://a:", no_port("a")),
            ("nats://a:0", no_port("a")),
            ("nats://a:+1", no_port("a")),
            ("nats://a:65536", no_port("a")),
            ("nats://[::1]:x", no_port("[::1]")),
            ("nats://@h", RelayUrlError::NoUser),
            ("nats://:p@h", RelayUrlError::NoUser),
            ("nats://u:%@h", RelayUrlError::Escape),
            ("nats://u:%4@h", RelayUrlError::Escape),
            ("nats://u:%+4@h", RelayUrlError::Escape),
            ("nats://u:%é@h", RelayUrlError::Escape),
            ("nats://u:%ff@h", RelayUrlError::Credential),
            ("nats://u:a%0ab@h", RelayUrlError::Credential),
            (&format!("nats://{long}@h"), RelayUrlError::Credential),
        ] {
            assert_eq!(url.parse::<RelayUrl>(), Err(expected), "{url}");
        }
    }

    #[test]
    fn a_server_tells_of_others_without_a_scheme() {
        for (text, expected) in [
            ("172.17.0.2:4222", addr("172.17.0.2:4222")),
            ("[2001:db8::1]:4222", addr("[2001:db8::1]:4222")),
            ("nats-1.example:4223", named("nats-1.example", 4223)),
        ] {
            let host: RelayHost = text.parse().expect("a host");
            assert_eq!(host, expected);
            assert_eq!(host.to_string(), text);
            assert_eq!(host.addr().is_some(), matches!(host, RelayHost::Addr(_)));
        }
    }

    #[test]
    fn no_secret_is_shown() {
        for url in ["nats://chat:sesame@h:1,i", "nats://sesame@h:1,i"] {
            let url: RelayUrl = url.parse().expect("a URL");
            assert_eq!(url.to_string(), "nats://h:1,i:4222");
            assert!(!format!("{url:?}").contains("sesame"), "{url:?}");
        }
        for wrong in [
            "nats://chat:sesame",
            "nats://chat:sesame:street",
            "nats://chat:sesame%@h",
            "nats://chat:sesame@",
            "nats://chat:sesame@h/x",
            "nats://chat:sesame@::1",
            "tls://chat:sesame@h",
        ] {
            let error = wrong.parse::<RelayUrl>().expect_err("it is wrong");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("sesame"), "{wrong}: {shown}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }

    #[test]
    fn a_room_has_a_name_that_is_one_token_of_a_subject() {
        let longest = "a".repeat(MAX_ROOM_BYTES);
        for name in ["lobby", "a", "0-_z", &longest] {
            let room: RelayRoom = name.parse().expect("a name");
            assert_eq!(room.to_string(), name);
        }
        let long = format!("{longest}a");
        for name in ["", "Lobby", "a.b", "a b", "*", ">", "é", "a\n", &long] {
            assert_eq!(name.parse::<RelayRoom>(), Err(RelayRoomError), "{name:?}");
        }
    }
}
