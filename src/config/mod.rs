//! Every value that an operator or an embedder can set, with its unit, its default and its reason.
//! The documentation of [`Limits`] is the text of `--help`, so neither can be wrong alone. Only
//! [`Config::check`] knows which values go together; all other code relies on it.

pub(crate) mod addr;
pub(crate) mod entrance;
pub(crate) mod interactive;
mod listener_words;
pub(crate) mod network;
pub(crate) mod password;
pub(crate) mod prefix;
pub(crate) mod relay;
pub(crate) mod tls;
pub(crate) mod unix_socket;
#[cfg(feature = "cli")]
mod values;

use std::fmt;
use std::time::Duration;

use crate::config::addr::{ListenAddr, Place, Service};
use crate::config::interactive::{Interactive, Profile};
use crate::config::network::Network;
use crate::config::prefix::Prefix;
use crate::config::relay::RelayConfig;
use crate::config::tls::TlsFiles;
use crate::text::ISOLATE_BYTES;
#[cfg(feature = "cli")]
use values::{positive, positive_size, rate, size, time};

/// The configuration of a server. Name the fields that matter and take the others from the default,
/// because later versions may add fields:
///
/// ```
/// use line_chat::{Config, Limits};
///
/// let config = Config {
///     listen: vec!["127.0.0.1:0".parse()?],
///     limits: Limits {
///         max_line_bytes: 512,
///         ..Limits::default()
///     },
///     ..Config::default()
/// };
/// assert_eq!(config.check(), Ok(()));
/// # Ok::<(), line_chat::ListenAddrError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen: at least one listener for each address. Default: port 6142 of 127.0.0.1 and
    /// `[::1]`, which only this machine can reach.
    pub listen: Vec<ListenAddr>,
    /// Where to listen as well, for clients of the same room that are plain whatever `interactive`
    /// says, except that they are asked for its password. Default: nowhere.
    pub listen_plain: Vec<ListenAddr>,
    /// From where proxies may connect to listeners that are for proxies (`proxy:ADDR`); a proxy on a Unix
    /// socket may in any case. Default: this machine.
    pub proxy_from: Vec<Network>,
    /// The certificate of listeners for TLS (`tls:ADDR`). Default: none.
    pub tls: Option<TlsFiles>,
    /// Where to answer HTTP requests for the metrics and the health of the server. Default: nowhere.
    /// Whoever can connect there can read them, so the log warns of an address that is not this
    /// machine's own.
    pub listen_metrics: Vec<ListenAddr>,
    /// The text before each line. Default: `{nick}: `.
    pub prefix: Prefix,
    /// How people are served. Default: like scripts.
    pub interactive: Interactive,
    /// The limits that keep one client from hurting another.
    pub limits: Limits,
    /// Whether SIGINT and SIGTERM shut the server down, SIGUSR1 logs its
    /// [metrics](crate::Metrics), and SIGHUP makes it read the files of `interactive` again; without
    /// any, SIGHUP shuts it down if the process has a terminal. Signals that the process ignores stay
    /// ignored. Default: no, because signals belong to the whole process, and so to the program and
    /// not to a library.
    pub handle_signals: bool,
    /// Whether there is a transcript, which people are told of: see
    /// [`Server::record`](crate::Server::record). Default: no.
    pub recorded: bool,
    /// The engine that joins this server and others in one room; needs the feature `relay`. Default: none.
    pub relay: Option<RelayConfig>,
    /// Whether the loop never sleeps. That saves a wake-up for each line and uses up a processor.
    /// Default: no.
    pub spin: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![DEFAULT_PLACE.into()],
            listen_plain: Vec::new(),
            proxy_from: Network::LOOPBACK.into(),
            tls: None,
            listen_metrics: Vec::new(),
            prefix: Prefix::default(),
            interactive: Interactive::default(),
            limits: Limits::default(),
            handle_signals: false,
            recorded: false,
            relay: None,
            spin: false,
        }
    }
}

const DEFAULT_PLACE: Place = Place::Loopback { port: 6142 };

/// The smallest limit of a queue, in bytes, for a server of people: it holds a greeting or an answer.
const INTERACTIVE_PENDING_BYTES: usize = 64 << 10;

/// The transcript's queue is never given up for other clients, so the limit of all buffers has to be at
/// least this many times the limit of one queue.
const TRANSCRIPT_SHARE: usize = 4;

/// The longest notice to a plain client, without the nick in it, in bytes.
const NOTICE_BYTES: usize = 128;

/// The longest line that goes through a relay, in bytes: each may become three bytes long there.
const MAX_RELAYED_BYTES: usize = 4096;

/// The longest time-out: 31 years, which overflows no clock in this crate.
const MAX_TIMEOUT: Duration = Duration::from_secs(1_000_000_000);

impl Config {
    /// Checks whether the values go together.
    ///
    /// # Errors
    /// Names the first value that does not fit, and says what to do.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let positive = [
            ("max_line_bytes", limits.max_line_bytes),
            ("max_nick_chars", limits.max_nick_chars),
            ("read_bytes", limits.read_bytes),
            ("turn_read_bytes", limits.turn_read_bytes),
            ("accepts_per_turn", limits.accepts_per_turn),
            ("max_clients", limits.max_clients.unwrap_or(usize::MAX)),
            ("max_http_connections", limits.max_http_connections),
            ("burst_lines", limits.burst_lines as usize),
            ("burst_connects", limits.burst_connects as usize),
            ("max_refusals", limits.max_refusals.map_or(1, usize::from)),
            (
                "max_unanswered_probes",
                limits.max_unanswered_probes as usize,
            ),
        ];
        if let Some((name, _)) = positive.into_iter().find(|&(_, value)| value == 0) {
            return Err(ConfigError::Zero(name));
        }
        if self.tls.is_none() && self.addrs().any(|addr| addr.layers.tls) {
            return Err(ConfigError::NoCertificate);
        }
        let endings = [
            ("goodbye_timeout", limits.goodbye_timeout),
            ("linger_timeout", limits.linger_timeout),
        ];
        if let Some((name, _)) = endings.into_iter().find(|&(_, time)| time.is_zero()) {
            return Err(ConfigError::NoTime(name));
        }
        let timeouts = [
            ("stall_timeout", limits.stall_timeout.unwrap_or_default()),
            ("login_timeout", limits.login_timeout.unwrap_or_default()),
            ("idle_timeout", limits.idle_timeout),
            ("goodbye_timeout", limits.goodbye_timeout),
            ("linger_timeout", limits.linger_timeout),
            ("liveness_interval", limits.liveness_interval),
            ("ack_timeout", limits.ack_timeout),
        ];
        if let Some((name, _)) = timeouts.into_iter().find(|&(_, time)| time > MAX_TIMEOUT) {
            return Err(ConfigError::TooLong(name));
        }
        limits.check_liveness()?;
        let rates = [
            ("lines_per_second", limits.lines_per_second),
            ("connects_per_second", limits.connects_per_second),
        ];
        let is_rate = |rate: f64| rate == 0.0 || RATES.contains(&rate);
        if let Some((name, _)) = rates.into_iter().find(|&(_, rate)| !is_rate(rate)) {
            return Err(ConfigError::Rate(name));
        }
        if !self.has_people() {
            let interactive = &self.interactive;
            let is_set = [
                ("motd_file", interactive.motd_file.is_some()),
                ("ops_password_file", interactive.ops_password_file.is_some()),
                ("ops_password", interactive.ops_password.is_some()),
            ];
            if let Some((name, _)) = is_set.into_iter().find(|&(_, is_set)| is_set) {
                return Err(ConfigError::NotInteractive(name));
            }
        } else if self.prefix.is_like_action() {
            return Err(ConfigError::PrefixIsAction);
        }
        if self.has_people() && limits.max_pending_bytes < INTERACTIVE_PENDING_BYTES {
            let needed = INTERACTIVE_PENDING_BYTES;
            return Err(ConfigError::PendingTooSmallForPeople { needed });
        }
        let total = limits.max_pending_total_bytes;
        let needed = limits.max_pending_bytes.saturating_mul(TRANSCRIPT_SHARE);
        if self.recorded && total > 0 && total < needed {
            return Err(ConfigError::TotalTooSmallForTranscript { needed });
        }
        if self.relay.is_some() {
            self.check_relay()?;
        }
        let needed = self.longest_line_bytes();
        if limits.max_pending_bytes < needed {
            return Err(ConfigError::PendingTooSmall { needed });
        }
        Ok(())
    }

    fn check_relay(&self) -> Result<(), ConfigError> {
        if !cfg!(feature = "relay") {
            return Err(ConfigError::NoRelay);
        }
        if self.limits.lag == Lag::Wait {
            return Err(ConfigError::RelayWithWait);
        }
        if self.limits.max_line_bytes > MAX_RELAYED_BYTES {
            return Err(ConfigError::LineTooLongForRelay);
        }
        Ok(())
    }

    /// How the room serves people, if any of its listeners does.
    pub(crate) fn interactive_if_any(&self) -> Interactive {
        Interactive {
            enabled: self.has_people(),
            ..self.interactive.clone()
        }
    }

    /// Prepares for people at a prompt who come to a listener that this configuration does not name. Its
    /// own listeners stay what they are.
    pub(crate) fn expect_people(&mut self) {
        let usual = Service::Chat(self.interactive.profile());
        for addr in &mut self.listen {
            addr.service.get_or_insert(usual);
        }
        self.interactive.enabled = true;
    }

    /// Whether there is a listener for people at a prompt.
    pub(crate) fn has_people(&self) -> bool {
        let people = Some(Service::Chat(Profile::Interactive));
        self.interactive.enabled || self.addrs().any(|addr| addr.service == people)
    }

    /// Every address to listen on.
    fn addrs(&self) -> impl Iterator<Item = &ListenAddr> {
        let rooms = self.listen.iter().chain(&self.listen_plain);
        rooms.chain(&self.listen_metrics)
    }

    /// The length in bytes of the longest line that can be sent to a client: each byte of a line
    /// may become U+FFFD, which is three bytes long.
    pub fn longest_line_bytes(&self) -> usize {
        let text = self.limits.max_line_bytes.saturating_mul(3);
        let line = self.prefix.max_bytes(self.longest_nick_bytes());
        line.saturating_add(b"\r\n".len())
            .saturating_add(text)
            .max(self.longest_notice_bytes())
    }

    /// The length in bytes of the longest line without a text, which may be a notice of the server.
    /// Longer answers to people are covered by [`INTERACTIVE_PENDING_BYTES`].
    pub(crate) fn longest_prefix_bytes(&self) -> usize {
        let prefix = self.prefix.max_bytes(self.longest_nick_bytes());
        prefix
            .saturating_add(b"\r\n".len())
            .max(self.longest_notice_bytes())
    }

    fn longest_notice_bytes(&self) -> usize {
        self.longest_nick_bytes().saturating_add(NOTICE_BYTES)
    }

    /// The longest nick in bytes: a character has up to four, and a nick is not longer than its line.
    /// People see it isolated.
    fn longest_nick_bytes(&self) -> usize {
        let nick = self.limits.max_nick_chars.saturating_mul(4);
        let nick = nick.min(self.limits.max_line_bytes);
        match self.has_people() {
            true => nick.saturating_add(ISOLATE_BYTES),
            false => nick,
        }
    }
}

/// Why a [`Config`] cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The limit of this name must be at least one.
    Zero(&'static str),
    /// The time-out of this name must be longer than zero: every closing connection has an end.
    NoTime(&'static str),
    /// The time-out of this name is longer than 31 years.
    TooLong(&'static str),
    /// The time of this name must be longer than zero: no peer answers at once.
    TooShort(&'static str),
    /// The limit of this name is none that TCP keepalive can have (tcp(7)).
    Keepalive(&'static str),
    /// The rate of this name is neither 0 nor from 0.001 to 1000000.
    Rate(&'static str),
    /// The field of this name is for people at a prompt, and no listener serves them.
    NotInteractive(&'static str),
    /// There is a listener for TLS and no certificate.
    NoCertificate,
    /// The program was built without the feature `relay`.
    NoRelay,
    /// One slow member would make all servers of the room wait.
    RelayWithWait,
    /// A line is longer than an engine is given.
    LineTooLongForRelay,
    /// The prefix begins with `** `, which marks what members do (`/me`).
    PrefixIsAction,
    /// `max_pending_bytes` is too small for the greetings and answers that people get.
    PendingTooSmallForPeople {
        /// The smallest value that is allowed, in bytes.
        needed: usize,
    },
    /// `max_pending_total_bytes` is too small for the queue of the transcript beside those of clients.
    TotalTooSmallForTranscript {
        /// The smallest value that is allowed, in bytes.
        needed: usize,
    },
    /// `max_pending_bytes` is too small for the longest line that can be sent to a member.
    PendingTooSmall {
        /// The smallest value that is allowed, in bytes.
        needed: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(name) => write!(f, "{name} is 0: set it to 1 or more"),
            Self::NoTime(name) => {
                write!(
                    f,
                    "{name} is 0, which would keep no last words: set it to a second or more"
                )
            }
            Self::TooLong(name) => write!(
                f,
                "{name} is too long: set it to {} s or less",
                MAX_TIMEOUT.as_secs()
            ),
            Self::TooShort(name) => write!(
                f,
                "{name} is 0, in which no peer answers: set it to a second or more"
            ),
            Self::Keepalive(name) => write!(
                f,
                "{name} is no value for TCP keepalive: set times to 1 s to {} s, and probes to 1 to {}",
                KEEPALIVE_SECONDS.end(),
                KEEPALIVE_PROBES.end()
            ),
            Self::Rate(name) => write!(f, "{name}: {RATE_RANGE_HINT}"),
            Self::NotInteractive(name) => {
                write!(f, "{name} is set, but not interactive: set that as well")
            }
            Self::NoCertificate => f.write_str(
                "a listener for TLS needs a certificate and its key: name both (--tls-cert and --tls-key)",
            ),
            Self::NoRelay => f.write_str(
                "this program was built without the feature relay: build it with that, or leave the relay out",
            ),
            Self::RelayWithWait => f.write_str(
                "with a relay one slow client would make all servers wait: set lag to skip or disconnect",
            ),
            Self::LineTooLongForRelay => write!(
                f,
                "lines are too long for a relay: make the longest {MAX_RELAYED_BYTES} bytes or less"
            ),
            Self::PrefixIsAction => f.write_str(
                "the prefix begins with \"** \" as what members do is shown: begin it otherwise",
            ),
            Self::PendingTooSmallForPeople { needed } => write!(
                f,
                "the limit of pending bytes is too small for people: make it {needed} or more"
            ),
            Self::TotalTooSmallForTranscript { needed } => write!(
                f,
                "the limit of all buffers is too small for a transcript: make it {needed} or more, \
                 or the limit of pending bytes smaller"
            ),
            Self::PendingTooSmall { needed } => write!(
                f,
                "the limit of pending bytes is smaller than the longest line: \
                 make it {needed} or more, or the longest line shorter"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The rates that can be set: from one in a quarter of an hour to one a microsecond.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;
const RATE_RANGE_HINT: &str = "give 0.001 to 1000000 a second, or 0 for no limit";

/// What tcp(7) allows for `TCP_KEEPIDLE` and `TCP_KEEPINTVL`, and for `TCP_KEEPCNT`.
const KEEPALIVE_SECONDS: std::ops::RangeInclusive<u64> = 1..=32_767;
const KEEPALIVE_PROBES: std::ops::RangeInclusive<u32> = 1..=127;

/// What happens to a member whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Lag {
    /// Lines are left out until half of its queue is free again, and it is told how many.
    #[default]
    Skip,
    /// It is closed.
    Disconnect,
    /// No line is passed on until half of its queue is free again: for rooms whose members are
    /// trusted.
    Wait,
}

/// The limits of a server: nothing in it grows without one. Sizes are in bytes. A time-out of zero
/// never expires, except that [`goodbye_timeout`](Self::goodbye_timeout) and
/// [`linger_timeout`](Self::linger_timeout) cannot be zero.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Limits {
    /// The longest line that a client may send, in bytes without its line end.
    ///
    /// The default is as much as a terminal's own line editor takes (MAX_CANON, termios(3)), so no
    /// line that a person types is longer.
    #[cfg_attr(feature = "cli", arg(long = "max-line", env = "LINE_CHAT_MAX_LINE",
        value_name = "BYTES", default_value_t = DEFAULT.max_line_bytes, value_parser = positive_size))]
    pub max_line_bytes: usize,

    /// The longest nick, in characters (code points).
    ///
    /// The default leaves room for the text on a line of 80 columns.
    #[cfg_attr(feature = "cli", arg(long = "max-nick", env = "LINE_CHAT_MAX_NICK",
        value_name = "CHARS", default_value_t = DEFAULT.max_nick_chars, value_parser = positive))]
    pub max_nick_chars: usize,

    /// How much may be queued for one client, in bytes; --lag says what happens to a client that is
    /// further behind.
    ///
    /// The default is some 15 000 lines of chat: a client that is further behind does not catch up by
    /// waiting. A turn of the loop adds at most a quarter of it, so a reader that keeps up never
    /// gets near it.
    #[cfg_attr(feature = "cli", arg(long = "max-pending", env = "LINE_CHAT_MAX_PENDING",
        value_name = "BYTES", default_value_t = DEFAULT.max_pending_bytes,
        value_parser = positive_size,
        help_heading = SLOW_READERS))]
    pub max_pending_bytes: usize,

    /// How much memory the buffers of all clients may take together, in bytes; above it, the client
    /// that holds most is closed. 0: no limit; less than 64 KiB counts as 64 KiB.
    ///
    /// It counts what is queued, and input that was read and waits. Within a turn it may be exceeded by
    /// 1 MiB. The default is enough for 256 clients with full queues, and fits a small machine.
    #[cfg_attr(feature = "cli", arg(long = "max-pending-total",
        env = "LINE_CHAT_MAX_PENDING_TOTAL", value_name = "BYTES",
        default_value_t = DEFAULT.max_pending_total_bytes, value_parser = size, help_heading = SLOW_READERS))]
    pub max_pending_total_bytes: usize,

    /// What happens to a member that has more queued than --max-pending.
    ///
    /// The default is to skip, because a person who comes back to a terminal wants the room, not a
    /// closed connection. To disconnect suits scripts that must not miss a line unnoticed. To wait
    /// loses nothing, but lets one member hold up all others.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_LAG", value_name = "MODE", value_enum,
        default_value_t = DEFAULT.lag, help_heading = SLOW_READERS))]
    pub lag: Lag,

    /// How long a client may take nothing of what is queued for it, in seconds; with --lag wait,
    /// how long it may hold up the room. 0: for ever. [default: 300, with --lag wait 30]
    ///
    /// Five minutes are longer than a pager or a suspended terminal is left alone, and half a
    /// minute is as long as a room will wait for one member. A client that has closed its sending
    /// half (printf ... | nc -N) has this long to take the rest, or 300 seconds if this is 0.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_STALL_TIMEOUT", value_name = "SECONDS",
        value_parser = time, help_heading = SLOW_READERS))]
    pub stall_timeout: Option<Duration>,

    /// How many lines a second a client may say; further lines wait. 0: no limit.
    ///
    /// Off by default: a fast speaker hurts nobody, and which rate suits a room is a matter of taste.
    #[cfg_attr(feature = "cli", arg(long = "rate", env = "LINE_CHAT_RATE",
        value_name = "LINES_PER_S", default_value_t = DEFAULT.lines_per_second,
        value_parser = rate, help_heading = LOUD_SPEAKERS))]
    pub lines_per_second: f64,

    /// How many lines a client may say at once, where --rate is set.
    ///
    /// The default is a screenful, which people paste.
    #[cfg_attr(feature = "cli", arg(long = "burst", env = "LINE_CHAT_BURST", value_name = "LINES",
        default_value_t = DEFAULT.burst_lines, value_parser = clap::value_parser!(u32).range(1..),
        help_heading = LOUD_SPEAKERS))]
    pub burst_lines: u32,

    /// How many clients there may be; further ones are told that the server is full.
    /// [default: what the limit of open files (ulimit -n) allows beside what is open]
    ///
    /// Each client is an open file, beside those that the server itself has open and keeps for HTTP. It raises its
    /// soft limit to the hard one when it starts.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_MAX_CLIENTS", value_name = "CLIENTS",
        value_parser = positive, help_heading = CONNECTIONS))]
    pub max_clients: Option<usize>,

    /// How many connections for HTTP there may be at the same time, beside the clients; 1 or more. Where
    /// open files are few, a server takes fewer: an eighth of them, or what clients leave.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.max_http_connections))]
    pub max_http_connections: usize,

    /// How many clients one IPv4 address, or one IPv6 network of 64 bits, may have. 0: no limit.
    /// This machine itself is exempt.
    ///
    /// The default is a classroom behind one router.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_MAX_CLIENTS_PER_IP",
        value_name = "CLIENTS", default_value_t = DEFAULT.max_clients_per_ip,
        help_heading = CONNECTIONS))]
    pub max_clients_per_ip: usize,

    /// How many new connections a second one IPv4 address, or one IPv6 network of 64 bits, may make;
    /// further ones are refused. 0: no limit. This machine itself is exempt, and 50 may come at once.
    ///
    /// The default is a classroom that comes within a few seconds. Behind a proxy all clients share one
    /// address.
    #[cfg_attr(feature = "cli", arg(long = "connect-rate", env = "LINE_CHAT_CONNECT_RATE",
        value_name = "CONNECTIONS_PER_S", default_value_t = DEFAULT.connects_per_second,
        value_parser = rate, help_heading = CONNECTIONS))]
    pub connects_per_second: f64,

    /// How many new connections one address may make at once, where `connects_per_second` is set.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.burst_connects))]
    pub burst_connects: u32,

    /// How long a client may take from its connection to its nick, in seconds. 0: for ever. [default: 30,
    /// for people 120]
    ///
    /// The default is long enough to read a greeting, type a password and think of a name. The time counts
    /// from the connection, so sending a byte now and then does not prolong it.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_LOGIN_TIMEOUT", value_name = "SECONDS",
        value_parser = time, help_heading = CONNECTIONS))]
    pub login_timeout: Option<Duration>,

    /// How long a member may send nothing at all, in seconds. 0: for ever.
    ///
    /// Off by default: listeners are welcome, and a peer that has vanished is found without it after
    /// two minutes of silence.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_IDLE_TIMEOUT", value_name = "SECONDS",
        default_value = "0", value_parser = time, help_heading = CONNECTIONS))]
    pub idle_timeout: Duration,

    /// How many lines may be refused as a nick, or as the password, before the client is closed. `None`:
    /// 3, and 10 for people, who find out by trying.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.max_refusals))]
    pub max_refusals: Option<u8>,

    /// The most that one read takes from a client, and so its share of a turn, in bytes. Above 16 KiB
    /// a larger read gains nothing. It is also the most input of one client that is held undecoded.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.read_bytes))]
    pub read_bytes: usize,

    /// The most that a turn reads from all clients together, in bytes; the rest is read in the next
    /// turn. 1 MiB is decoded in a millisecond or two.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.turn_read_bytes))]
    pub turn_read_bytes: usize,

    /// How many connections a turn accepts. 64 of them take some 0.5 ms, which members do not notice.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.accepts_per_turn))]
    pub accepts_per_turn: usize,

    /// How long a client that the server closes has to take what is queued for it and the goodbye;
    /// longer than zero. 5 s are several retransmissions.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.goodbye_timeout))]
    pub goodbye_timeout: Duration,

    /// How long a closed client's remaining input is read and thrown away, so that no RST overtakes
    /// the goodbye (RFC 1122, 4.2.2.13); longer than zero. A second is longer than a round trip.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.linger_timeout))]
    pub linger_timeout: Duration,

    /// The most of a closed client's remaining input that is read, in bytes.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.linger_bytes))]
    pub linger_bytes: usize,

    /// The silence of a peer after which the kernel begins to probe it (tcp(7), `TCP_KEEPIDLE`): 1 s to
    /// 32767 s, in whole seconds. With the two limits below, a peer that has vanished is detected after
    /// two minutes of silence, which leaves time to change from one wireless network to another.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.keepalive_idle))]
    pub keepalive_idle: Duration,

    /// The time between two probes (tcp(7), `TCP_KEEPINTVL`): 1 s to 32767 s, in whole seconds.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.keepalive_interval))]
    pub keepalive_interval: Duration,

    /// The number of consecutive unanswered probes after which the kernel ends the connection (tcp(7),
    /// `TCP_KEEPCNT`): 1 to 127.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.keepalive_probes))]
    pub keepalive_probes: u32,

    /// The time between two rounds in which the kernel is asked about peers that were written to and
    /// from which nothing was received since; longer than zero. The kernel itself takes a quarter of an
    /// hour to end a connection with unacknowledged data (tcp(7), `tcp_retries2`), and sends no
    /// keepalive probes meanwhile. 10 000 such peers at 10 µs each every 15 s are 0.7 % of a processor.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.liveness_interval))]
    pub liveness_interval: Duration,

    /// The silence of a peer with unacknowledged data after which it counts as dead when the kernel is
    /// asked; longer than zero. In 30 s a segment is sent eight times (RFC 6298, 5.5).
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.ack_timeout))]
    pub ack_timeout: Duration,

    /// The number of consecutive unanswered probes, of keepalive or of a closed window, from which on a
    /// peer counts as dead when the kernel is asked; 1 or more.
    #[cfg_attr(feature = "cli", arg(skip = DEFAULT.max_unanswered_probes))]
    pub max_unanswered_probes: u32,
}

#[cfg(feature = "cli")]
const SLOW_READERS: &str = "Slow readers";
#[cfg(feature = "cli")]
const LOUD_SPEAKERS: &str = "Loud speakers";
#[cfg(feature = "cli")]
const CONNECTIONS: &str = "Connections";

const DEFAULT: Limits = Limits {
    max_line_bytes: 4096,
    max_nick_chars: 32,
    max_pending_bytes: 1 << 20,
    max_pending_total_bytes: 256 << 20,
    lag: Lag::Skip,
    stall_timeout: None,
    lines_per_second: 0.0,
    burst_lines: 25,
    max_clients: None,
    max_http_connections: 16,
    max_clients_per_ip: 64,
    connects_per_second: 20.0,
    burst_connects: 50,
    login_timeout: None,
    idle_timeout: Duration::ZERO,
    max_refusals: None,
    read_bytes: 16 << 10,
    turn_read_bytes: 1 << 20,
    accepts_per_turn: 64,
    goodbye_timeout: Duration::from_secs(5),
    linger_timeout: Duration::from_secs(1),
    linger_bytes: 64 << 10,
    keepalive_idle: Duration::from_secs(60),
    keepalive_interval: Duration::from_secs(10),
    keepalive_probes: 6,
    liveness_interval: Duration::from_secs(15),
    ack_timeout: Duration::from_secs(30),
    max_unanswered_probes: 3,
};

impl Default for Limits {
    fn default() -> Self {
        DEFAULT
    }
}

impl Limits {
    /// How many bytes of lines said here may wait until other servers can hear them too. When the room is cut off from
    /// them, all of these lines are shown at once. So this is half of what a turn puts into a queue otherwise, because
    /// the turn may have put that there before.
    #[cfg(feature = "relay")]
    pub(crate) fn most_unheard_bytes(&self) -> usize {
        self.max_pending_bytes / 8
    }

    /// Checks the limits that decide whether a peer is alive.
    fn check_liveness(&self) -> Result<(), ConfigError> {
        let times = [
            ("liveness_interval", self.liveness_interval),
            ("ack_timeout", self.ack_timeout),
        ];
        if let Some((name, _)) = times.into_iter().find(|&(_, time)| time.is_zero()) {
            return Err(ConfigError::TooShort(name));
        }
        let keepalive = [
            ("keepalive_idle", self.keepalive_idle),
            ("keepalive_interval", self.keepalive_interval),
        ];
        let is_allowed = |time: Duration| KEEPALIVE_SECONDS.contains(&time.as_secs());
        if let Some((name, _)) = keepalive.into_iter().find(|&(_, time)| !is_allowed(time)) {
            return Err(ConfigError::Keepalive(name));
        }
        if !KEEPALIVE_PROBES.contains(&self.keepalive_probes) {
            return Err(ConfigError::Keepalive("keepalive_probes"));
        }
        Ok(())
    }

    /// How long a client may take nothing of what is queued for it. `None` means for ever.
    pub fn stall_patience(&self) -> Option<Duration> {
        let default = match self.lag {
            Lag::Skip | Lag::Disconnect => Duration::from_secs(300),
            Lag::Wait => Duration::from_secs(30),
        };
        unless_zero(self.stall_timeout.unwrap_or(default))
    }

    /// How long a client of this profile may be without a nick. `None` means for ever.
    pub fn login_patience(&self, profile: Profile) -> Option<Duration> {
        let default = match profile {
            Profile::Interactive => Duration::from_secs(120),
            Profile::Plain | Profile::History => Duration::from_secs(30),
        };
        unless_zero(self.login_timeout.unwrap_or(default))
    }

    /// How many lines of a client of this profile may be refused before it is closed.
    pub(crate) fn most_refusals(&self, profile: Profile) -> u8 {
        self.max_refusals.unwrap_or(match profile {
            Profile::Interactive => 10,
            Profile::Plain | Profile::History => 3,
        })
    }

    /// How long a member may send nothing. `None` means for ever.
    pub fn idle_patience(&self) -> Option<Duration> {
        unless_zero(self.idle_timeout)
    }
}

fn unless_zero(time: Duration) -> Option<Duration> {
    (time > Duration::ZERO).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    #[cfg(feature = "relay")]
    fn a_relay_waits_for_no_reader_and_takes_no_longer_lines() {
        let url = "nats://127.0.0.1".parse().expect("a URL");
        let room = "lobby".parse().expect("a name");
        let mut config = Config {
            relay: Some(RelayConfig::new(url, room)),
            ..Config::default()
        };
        assert_eq!(config.check(), Ok(()));
        config.limits.max_line_bytes = 4097;
        assert_eq!(config.check(), Err(ConfigError::LineTooLongForRelay));
        config.limits.max_line_bytes = 4096;
        config.limits.lag = Lag::Wait;
        assert_eq!(config.check(), Err(ConfigError::RelayWithWait));
        config.relay = None;
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_transcript_leaves_most_of_the_memory_to_clients() {
        let mut config = Config {
            recorded: true,
            ..Config::default()
        };
        let needed = 4 * config.limits.max_pending_bytes;
        for (total, expected) in [
            (0, Ok(())),
            (needed, Ok(())),
            (
                needed - 1,
                Err(ConfigError::TotalTooSmallForTranscript { needed }),
            ),
        ] {
            config.limits.max_pending_total_bytes = total;
            assert_eq!(config.check(), expected, "{total}");
        }
        config.recorded = false;
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_limit_that_cannot_be_zero_is_named() {
        let mut config = Config::default();
        config.limits.max_line_bytes = 0;
        assert_eq!(config.check(), Err(ConfigError::Zero("max_line_bytes")));
        config.limits.max_line_bytes = usize::MAX;
        assert!(config.check().is_err(), "no overflow");
    }

    #[test]
    fn what_tells_a_dead_peer_is_neither_zero_nor_beyond_what_tcp_knows() {
        let check = |set: &dyn Fn(&mut Limits)| {
            let mut config = Config::default();
            set(&mut config.limits);
            config.check()
        };
        let second = Duration::from_secs(1);
        for (set, expected) in [
            (
                &|limits: &mut Limits| limits.ack_timeout = Duration::ZERO,
                Err(ConfigError::TooShort("ack_timeout")),
            ),
            (
                &|limits: &mut Limits| limits.liveness_interval = Duration::ZERO,
                Err(ConfigError::TooShort("liveness_interval")),
            ),
            (
                &|limits: &mut Limits| limits.ack_timeout = MAX_TIMEOUT * 2,
                Err(ConfigError::TooLong("ack_timeout")),
            ),
            (
                &|limits: &mut Limits| limits.max_unanswered_probes = 0,
                Err(ConfigError::Zero("max_unanswered_probes")),
            ),
            (
                &|limits: &mut Limits| limits.keepalive_idle = Duration::from_millis(999),
                Err(ConfigError::Keepalive("keepalive_idle")),
            ),
            (
                &|limits: &mut Limits| limits.keepalive_interval = Duration::from_secs(32_768),
                Err(ConfigError::Keepalive("keepalive_interval")),
            ),
            (
                &|limits: &mut Limits| limits.keepalive_probes = 128,
                Err(ConfigError::Keepalive("keepalive_probes")),
            ),
            (
                &|limits: &mut Limits| {
                    limits.keepalive_idle = Duration::from_secs(1);
                    limits.keepalive_interval = Duration::from_secs(32_767);
                    limits.keepalive_probes = 127;
                },
                Ok(()),
            ),
        ] as [(&dyn Fn(&mut Limits), _); 8]
        {
            assert_eq!(check(set), expected);
        }
        assert_eq!(check(&|limits| limits.ack_timeout = second), Ok(()));
    }
}
