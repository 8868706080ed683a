//! Every number that an operator or an embedder can set, with its unit, its default and its reason.
//! [`Config::check`] is the only place that knows which values go together; everything behind it
//! can rely on them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::prefix::Prefix;

/// What a server is to do. Start from the default and set the fields that matter:
///
/// ```
/// let mut config = line_chat::Config::default();
/// config.listen = vec!["127.0.0.1:0".parse()?];
/// config.limits.max_line_bytes = 512;
/// # Ok::<(), line_chat::ListenAddrError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen, a listener or more for each. Default: `127.0.0.1:6142`, which only this
    /// machine can reach.
    pub listen: Vec<ListenAddr>,
    /// What stands before the text of a line. Default: `{nick}: `.
    pub prefix: Prefix,
    /// The limits that keep one client from hurting another.
    pub limits: Limits,
    /// Whether SIGINT and SIGTERM shut the server down. Default: no, because signals belong to the
    /// whole process and so to the program, not to a library in it.
    pub handle_signals: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddr::Socket(DEFAULT_ADDR)],
            prefix: Prefix::default(),
            limits: Limits::default(),
            handle_signals: false,
        }
    }
}

const DEFAULT_ADDR: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 6142);

impl Config {
    /// Whether the values go together.
    ///
    /// # Errors
    /// Names the first one that does not, and says what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("max_line_bytes", self.limits.max_line_bytes),
            ("max_nick_chars", self.limits.max_nick_chars),
            ("read_bytes", self.limits.read_bytes),
            ("accepts_per_turn", self.limits.accepts_per_turn),
        ];
        if let Some((name, _)) = positive.into_iter().find(|&(_, value)| value == 0) {
            return Err(ConfigError::Zero(name));
        }
        let needed = self.longest_line_bytes();
        if self.limits.max_pending_bytes < needed {
            return Err(ConfigError::PendingTooSmall { needed });
        }
        Ok(())
    }

    /// The length in bytes of the longest line that can be sent to a member: each byte of a line
    /// may become U+FFFD, which is three bytes long, and a character of a nick has up to four.
    pub fn longest_line_bytes(&self) -> usize {
        let text = self.limits.max_line_bytes.saturating_mul(3);
        let nick = self
            .limits
            .max_nick_chars
            .saturating_mul(4)
            .min(self.limits.max_line_bytes);
        text.saturating_add(self.prefix.max_bytes(nick))
            .saturating_add(b"\r\n".len())
    }
}

/// Why a [`Config`] cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// This limit must be at least one.
    Zero(&'static str),
    /// `max_pending_bytes` does not hold the longest line that can be sent to a member.
    PendingTooSmall {
        /// The least that does, in bytes.
        needed: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(name) => write!(f, "{name} is 0: set it to 1 or more"),
            Self::PendingTooSmall { needed } => write!(
                f,
                "the limit of pending bytes is smaller than the longest line: \
                 make it {needed} or more, or the longest line shorter"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The limits of a server. Nothing in it grows without one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// The longest line in bytes, without its end. 4096 is what a terminal's own line editor takes
    /// (`MAX_CANON`, termios(3)), so no line that a person typed is longer.
    pub max_line_bytes: usize,
    /// The longest nick in characters (code points). 32 leaves room for the text on a line of 80
    /// columns.
    pub max_nick_chars: usize,
    /// What may be queued for one client, in bytes. 1 MiB is some 15 000 lines of chat: who is
    /// further behind does not catch up by waiting.
    pub max_pending_bytes: usize,
    /// How many lines may be refused as a nick before the client is closed. Three tries are enough
    /// for a person.
    pub max_refusals: u8,
    /// The most that one read takes from a client, and so its share of a turn, in bytes. 16 KiB is
    /// where a larger read stops paying, and as much as a client can have read but not yet
    /// heard.
    pub read_bytes: usize,
    /// How many connections a turn accepts. 64 of them cost some 0.5 ms, which the members do not
    /// notice.
    pub accepts_per_turn: usize,
    /// How long a client that hung up may take nothing of what is queued for it. Half-closed
    /// clients (`printf ... | nc`) are still reading; five minutes are longer than a pager is
    /// left alone.
    pub stall_timeout: Duration,
    /// How long a client that the server closes has to take its last words. 5 s are several
    /// retransmissions.
    pub goodbye_timeout: Duration,
    /// How long a closed client's remaining input is read and thrown away, so that no RST
    /// overtakes the last words (RFC 1122, 4.2.2.13). A second is longer than a round trip.
    pub linger_timeout: Duration,
    /// How much of it is read at most, in bytes.
    pub linger_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_line_bytes: 4096,
            max_nick_chars: 32,
            max_pending_bytes: 1 << 20,
            max_refusals: 3,
            read_bytes: 16 << 10,
            accepts_per_turn: 64,
            stall_timeout: Duration::from_secs(300),
            goodbye_timeout: Duration::from_secs(5),
            linger_timeout: Duration::from_secs(1),
            linger_bytes: 64 << 10,
        }
    }
}

/// Where to listen: a socket address, or a host name with a port, which stands for every address
/// that it resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    #[test]
    fn the_limit_of_pending_bytes_holds_the_longest_line() {
        let mut config = Config::default();
        assert_eq!(config.check(), Ok(()));
        let needed = 3 * 4096 + 32 * 4 + ": ".len() + 2;
        assert_eq!(config.longest_line_bytes(), needed);
        config.limits.max_pending_bytes = needed;
        assert_eq!(config.check(), Ok(()));
        config.limits.max_pending_bytes = needed - 1;
        assert_eq!(config.check(), Err(ConfigError::PendingTooSmall { needed }));
    }

    #[test]
    fn a_limit_that_cannot_be_zero_is_named() {
        let mut config = Config::default();
        config.limits.max_line_bytes = 0;
        assert_eq!(config.check(), Err(ConfigError::Zero("max_line_bytes")));
        config.limits.max_line_bytes = usize::MAX;
        assert!(config.check().is_err(), "no overflow");
    }
}
