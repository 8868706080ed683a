//! The command line: flags and environment variables become a [`Config`] and a log level.
//! Usage errors are clap's own text and exit with 2, and so are values that do not go together.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};
use log::LevelFilter;

use crate::cli::generate::Generate;
use crate::cli::log_format::{LogFormat, Style};
use line_chat::Interactive;
use line_chat::Prefix;
use line_chat::TlsFiles;
use line_chat::{Config, ConfigError, Limits};
use line_chat::{ListenAddr, ListenAddrError, Network, NetworkError};
#[cfg(feature = "relay")]
use line_chat::{RelayConfig, RelayRoom, RelayUrl};

const EXAMPLES: &str = "\
Examples:
  line-chat                          people on this machine can join
  line-chat 0.0.0.0:6142 [::]:6142   everybody who can reach this machine can join
  telnet localhost 6142              join: the first line that you type is your nick
  printf 'bot\\nhello\\n' | nc -N localhost 6142
                                     a script joins, says hello and leaves; without -N some nc stay
                                     for ever

Each flag can also be set by the environment variable named with it. Times are in seconds\n(1.5 will do) or like 5m and 1h30m, sizes in bytes or like 4k and 64M.";

/// A chat server for telnet, nc and scripts.
///
/// A client's first line is its nick; every later line goes to all the others as "nick: text".
#[derive(Debug, Parser)]
#[command(name = "line-chat", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    // Not a doc comment: rustdoc would take [::1] for a link.
    #[arg(
        help = "Where to listen: 127.0.0.1:6142, [::1]:6142, [fe80::1%eth0]:6142 or localhost:6142. A port alone, \
                6142 or :6142, means 127.0.0.1 and [::1]; port 0 lets the system choose. \
                unix:PATH,mode=0660,group=NAME is a Unix socket, and unix:@NAME one without a file. \
                A word before it says what clients get there: plain:, interactive: or http:; \
                words are joined with +, as in unix+plain:PATH",
        value_name = "ADDR",
        env = "LINE_CHAT_ADDR",
        default_value = "6142"
    )]
    addrs: Vec<ListenAddrs>,

    /// Whether somebody has said where to listen.
    #[arg(skip)]
    has_addrs: bool,

    /// The text before each line; {nick} stands for the speaker's nick, and white space or a colon has
    /// to stand behind it
    #[arg(
        long,
        env = "LINE_CHAT_PREFIX",
        value_name = "TEMPLATE",
        default_value = "{nick}: "
    )]
    prefix: Prefix,

    #[command(flatten)]
    interactive: Interactive,

    /// Listen here as well, for scripts: clients get the lines of the same room and nothing else,
    /// whatever the other flags say. ADDR,eof=listen: a client that closes its sending half goes on
    /// listening; ADDR,eol=lf: it gets lines that end with LF. May be given more than once
    #[arg(
        long,
        value_name = "ADDR",
        env = "LINE_CHAT_PLAIN",
        help_heading = "People at a prompt"
    )]
    plain: Vec<PlainAddrs>,

    /// Take the PROXY header on listeners of the kind proxy:ADDR from here: addresses or networks, such as
    /// 10.0.0.0/8. May be given more than once. [default: this machine]
    #[arg(long, value_name = "NETWORK", env = "LINE_CHAT_PROXY_FROM")]
    proxy_from: Vec<Networks>,

    /// Answer HTTP requests here: / is a page for people, /metrics one for Prometheus, and /healthz and
    /// /readyz say whether the server lives and has room. 127.0.0.1:9180, or a Unix socket; whoever can
    /// connect can read it. May be given more than once
    #[arg(long, value_name = "ADDR", env = "LINE_CHAT_METRICS")]
    metrics: Vec<MetricsAddrs>,

    #[command(flatten)]
    tls: TlsArgs,

    #[cfg(feature = "relay")]
    #[command(flatten)]
    relay: RelayArgs,

    #[command(flatten)]
    limits: Limits,

    /// Do not serve: ask the server at this address whether it is there, and exit with 0 or 1
    ///
    /// For containers and supervisors. 127.0.0.1:6142 or unix:PATH asks a listener of the room, where
    /// nobody hears of it; http:127.0.0.1:9180 asks one of --metrics.
    #[arg(long, value_name = "ADDR")]
    check: Option<ListenAddr>,

    /// Never sleep: saves the wake-up for each line, and uses up a processor
    ///
    /// For a machine that can spare a processor; see "Low latency" in the manual.
    #[arg(long, env = "LINE_CHAT_SPIN", value_parser = clap::builder::BoolishValueParser::new())]
    spin: bool,

    /// Log more: once adds each line that is said, twice adds everything. RUST_LOG chooses by target
    #[arg(short, long, env = "LINE_CHAT_VERBOSE", value_name = "COUNT", action = ArgAction::Count)]
    verbose: u8,

    /// Log less: once leaves warnings and errors, twice leaves errors, three times leaves nothing
    #[arg(short, long, env = "LINE_CHAT_QUIET", value_name = "COUNT", action = ArgAction::Count)]
    quiet: u8,

    /// Write what is said to the end of this file, with the time before each line. People are told that
    /// the room is recorded. SIGHUP opens the file anew
    #[arg(long, env = "LINE_CHAT_TRANSCRIPT", value_name = "FILE")]
    transcript: Option<PathBuf>,

    /// Keep bans and mutes in this file, so that they outlast the server
    #[arg(long, env = "LINE_CHAT_STATE", value_name = "FILE")]
    state: Option<PathBuf>,

    /// Be the writer of that file, which the server starts
    #[arg(long, value_name = "FILE", hide = true)]
    write_state: Option<PathBuf>,

    /// Be the transcript's writer, which the server starts
    #[arg(long, value_name = "FILE", hide = true)]
    write_transcript: Option<PathBuf>,

    /// How the log is written; text begins with a priority instead of the time where systemd's journal
    /// takes it
    #[arg(
        long,
        env = "LINE_CHAT_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    log_format: LogFormat,

    /// Print a file that comes with the program, and end
    #[arg(long, value_name = "FILE")]
    generate: Option<Generate>,
}

impl Args {
    /// The arguments of this process. Ends the process for `--help`, `--version` and usage errors.
    pub(crate) fn of_process() -> Self {
        let args = Self::of(&command().get_matches()).unwrap_or_else(|error| error.exit());
        let is_writer = args.write_transcript.is_some() || args.write_state.is_some();
        if args.generate.is_some() || is_writer {
            return args;
        }
        if let Err(error) = args.config().check() {
            let text = match error {
                ConfigError::PendingTooSmall { needed } => format!(
                    "--max-pending is smaller than the longest line: \
                     make it {needed} or more, or --max-line smaller"
                ),
                ConfigError::PendingTooSmallForPeople { needed } => format!(
                    "--max-pending is too small for --interactive: make it {needed} or more"
                ),
                ConfigError::TotalTooSmallForTranscript { needed } => format!(
                    "--max-pending-total is too small for --transcript: \
                     make it {needed} or more, or --max-pending smaller"
                ),
                ConfigError::NotInteractive(name) => {
                    let flag = match name {
                        "motd_file" => "--motd",
                        _ => "--ops-password-file",
                    };
                    format!("{flag} is for people at a prompt: add --interactive")
                }
                ConfigError::RelayWithWait => {
                    "--lag wait cannot be used with --relay, because one slow client \
                     would make all servers wait: use skip or disconnect"
                        .to_owned()
                }
                ConfigError::LineTooLongForRelay => {
                    "--max-line is too long for --relay: make it 4096 or less".to_owned()
                }
                other => other.to_string(),
            };
            Self::command()
                .error(ErrorKind::ValueValidation, text)
                .exit();
        }
        args
    }

    /// The matched arguments, with at most one of `-v` and `-q`. clap's own `conflicts_with` would
    /// also refuse a flag because of a variable, although a flag wins over a variable.
    fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::from_arg_matches(matches)?;
        args.has_addrs = matches.value_source("addrs") != Some(ValueSource::DefaultValue);
        let is_flag = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        match (is_flag("verbose"), is_flag("quiet")) {
            (true, false) => args.quiet = 0,
            (false, true) => args.verbose = 0,
            _ if args.verbose > 0 && args.quiet > 0 => {
                let text = "the argument '--verbose' cannot be used with '--quiet'";
                return Err(Self::command().error(ErrorKind::ArgumentConflict, text));
            }
            _ => {}
        }
        Ok(args)
    }

    /// The server that is to be checked, if that is what is to be done.
    pub(crate) fn check(&self) -> Option<&ListenAddr> {
        self.check.as_ref()
    }

    /// The names of all environment variables that stand for flags.
    pub(crate) fn variables() -> Vec<String> {
        let command = Self::command();
        let names = command.get_arguments().filter_map(clap::Arg::get_env);
        names.map(|it| it.to_string_lossy().into_owned()).collect()
    }

    /// Whether the arguments or the environment say where to listen.
    pub(crate) fn has_addrs(&self) -> bool {
        self.has_addrs
    }

    /// Where what is said is written to.
    pub(crate) fn transcript(&self) -> Option<&Path> {
        self.transcript.as_deref()
    }

    /// The file that this process writes instead of serving.
    pub(crate) fn write_transcript(&self) -> Option<&Path> {
        self.write_transcript.as_deref()
    }

    /// Where bans and mutes are kept.
    pub(crate) fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// The file of bans and mutes that this process writes instead of serving.
    pub(crate) fn write_state(&self) -> Option<&Path> {
        self.write_state.as_deref()
    }

    /// What the log on standard error looks like.
    pub(crate) fn log_style(&self) -> Style {
        Style::on_standard_error(self.log_format)
    }

    /// The file that is to be printed instead of serving.
    pub(crate) fn generate(&self) -> Option<Generate> {
        self.generate
    }

    /// The config that the arguments ask for.
    pub(crate) fn config(&self) -> Config {
        let addrs = self.addrs.iter().flat_map(|list| &list.0);
        let plain = self.plain.iter().flat_map(|list| &list.0);
        let proxies = self.proxy_from.iter().flat_map(|list| &list.0).copied();
        let default = Config::default();
        let metrics = self.metrics.iter().flat_map(|list| &list.0);
        Config {
            proxy_from: match self.proxy_from.is_empty() {
                true => default.proxy_from,
                false => proxies.collect(),
            },
            listen: addrs.cloned().collect(),
            listen_plain: plain.cloned().collect(),
            listen_metrics: metrics.cloned().collect(),
            tls: self.tls.files(),
            interactive: self.interactive.clone(),
            prefix: self.prefix.clone(),
            limits: self.limits.clone(),
            handle_signals: true,
            recorded: self.transcript.is_some(),
            #[cfg(feature = "relay")]
            relay: self.relay.config(),
            #[cfg(not(feature = "relay"))]
            relay: None,
            spin: self.spin,
        }
    }

    /// The log level that the arguments ask for; `None` leaves it to `RUST_LOG`, which defaults to
    /// info.
    pub(crate) fn log_level(&self) -> Option<LevelFilter> {
        match (self.verbose, self.quiet) {
            (0, 0) => None,
            (0, 1) => Some(LevelFilter::Warn),
            (0, 2) => Some(LevelFilter::Error),
            (0, _) => Some(LevelFilter::Off),
            (1, _) => Some(LevelFilter::Debug),
            (_, _) => Some(LevelFilter::Trace),
        }
    }
}

/// Variables that must not count as not set when they are blank.
const NEVER_BLANK: [&str; 3] = ["password_file", "ops_password_file", "tls_client_ca"];

/// The files of TLS. A certificate and its key are named together.
#[derive(Debug, clap::Args)]
struct TlsArgs {
    /// The certificate of listeners of the kind tls:ADDR, in PEM, with those that lead to its authority
    /// behind it; read again at SIGHUP
    #[arg(
        long,
        help_heading = "TLS",
        value_name = "FILE",
        env = "LINE_CHAT_TLS_CERT",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// Its private key, in PEM; read again at SIGHUP. With ECDSA (P-256) a handshake takes a quarter of
    /// the time that it takes with RSA
    #[arg(
        long,
        help_heading = "TLS",
        value_name = "FILE",
        env = "LINE_CHAT_TLS_KEY",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// The authorities of clients' certificates, in PEM; read again at SIGHUP. Whoever has a certificate
    /// of theirs is not asked for the password of the room; without such a password, every client of a
    /// TLS listener needs one
    #[arg(long, help_heading = "TLS", value_name = "FILE", env = "LINE_CHAT_TLS_CLIENT_CA", requires = "tls_cert",
        value_parser = file_name())]
    tls_client_ca: Option<PathBuf>,
}

impl TlsArgs {
    fn files(&self) -> Option<TlsFiles> {
        Some(TlsFiles {
            cert_file: self.tls_cert.clone()?,
            key_file: self.tls_key.clone()?,
            client_ca_file: self.tls_client_ca.clone(),
        })
    }
}

/// The engine that joins several servers.
#[cfg(feature = "relay")]
#[derive(Debug, clap::Args)]
struct RelayArgs {
    /// Share one room with other servers through NATS with JetStream at this URL:
    /// nats://[USER:PASSWORD@|TOKEN@]HOST[:PORT][,HOST[:PORT]]. Needs --relay-room. A secret in it is better
    /// given by the variable, because everybody on this machine can see the arguments of processes
    #[arg(
        long,
        help_heading = "Many servers",
        value_name = "URL",
        env = "LINE_CHAT_RELAY",
        hide_env_values = true,
        requires = "relay_room"
    )]
    relay: Option<RelayUrl>,

    /// The name of the room there, which all its servers are given: a-z, 0-9, _ and -
    #[arg(
        long,
        help_heading = "Many servers",
        value_name = "NAME",
        env = "LINE_CHAT_RELAY_ROOM",
        requires = "relay"
    )]
    relay_room: Option<RelayRoom>,

    /// On how many servers of the engine the room is kept, if it has to be made there: 3 in a cluster of
    /// three
    #[arg(
        long,
        help_heading = "Many servers",
        value_name = "COUNT",
        env = "LINE_CHAT_RELAY_COPIES",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=5)
    )]
    relay_copies: u8,
}

#[cfg(feature = "relay")]
impl RelayArgs {
    fn config(&self) -> Option<RelayConfig> {
        let (url, room) = (self.relay.clone()?, self.relay_room.clone()?);
        let mut config = RelayConfig::new(url, room);
        config.replicas = self.relay_copies;
        Some(config)
    }
}

/// Parses the name of a file. A blank one is an error: it would ask for less protection than was meant.
fn file_name() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::{OsStringValueParser, TypedValueParser};
    OsStringValueParser::new().try_map(|name| match name.to_string_lossy().trim() {
        "" => Err("no file is named; name one, or unset the variable"),
        _ => Ok(PathBuf::from(name)),
    })
}

/// Addresses separated by white space, as they stand in a variable.
#[derive(Debug, Clone)]
struct ListenAddrs(Vec<ListenAddr>);

impl FromStr for ListenAddrs {
    type Err = ListenAddrError;

    fn from_str(addrs: &str) -> Result<Self, ListenAddrError> {
        each(addrs, str::parse).map(Self)
    }
}

/// Addresses separated by white space. Without a word before them, they are addresses of plain
/// listeners.
#[derive(Debug, Clone)]
struct PlainAddrs(Vec<ListenAddr>);

impl FromStr for PlainAddrs {
    type Err = ListenAddrError;

    fn from_str(addrs: &str) -> Result<Self, ListenAddrError> {
        each(addrs, ListenAddr::parse_plain).map(Self)
    }
}

/// Networks separated by white space.
#[derive(Debug, Clone)]
struct Networks(Vec<Network>);

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(networks: &str) -> Result<Self, NetworkError> {
        let networks = networks.split_whitespace().map(str::parse);
        let networks: Vec<Network> = networks.collect::<Result<_, _>>()?;
        match networks.is_empty() {
            true => Err(NetworkError::Malformed),
            false => Ok(Self(networks)),
        }
    }
}

/// Addresses separated by white space. Without a word before them, they are addresses of listeners for
/// HTTP.
#[derive(Debug, Clone)]
struct MetricsAddrs(Vec<ListenAddr>);

impl FromStr for MetricsAddrs {
    type Err = ListenAddrError;

    fn from_str(addrs: &str) -> Result<Self, ListenAddrError> {
        each(addrs, ListenAddr::parse_metrics).map(Self)
    }
}

/// At least one address, each as `parse` takes it.
fn each(
    addrs: &str,
    parse: fn(&str) -> Result<ListenAddr, ListenAddrError>,
) -> Result<Vec<ListenAddr>, ListenAddrError> {
    let addrs: Vec<ListenAddr> = addrs
        .split_whitespace()
        .map(parse)
        .collect::<Result<_, _>>()?;
    match addrs.is_empty() {
        true => Err(ListenAddrError::NotAnAddress),
        false => Ok(addrs),
    }
}

/// The command line. A negative number is a wrong value of its flag and not an unknown flag, and a
/// blank variable counts as not set, but for those without which everybody would be let in.
pub(crate) fn command() -> Command {
    Args::command().mut_args(|arg| {
        let takes_values = arg.get_action().takes_values();
        let arg = arg.allow_negative_numbers(takes_values);
        let value = arg.get_env().and_then(std::env::var_os);
        let is_blank = value.is_some_and(|value| value.to_string_lossy().trim().is_empty());
        if is_blank && !NEVER_BLANK.contains(&arg.get_id().as_str()) {
            arg.env(None)
        } else {
            arg
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        let args = [&["line-chat"], args].concat();
        Args::of(&command().try_get_matches_from(args)?)
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn without_flags_it_is_the_default_config() {
        let config = parse(&[]).expect("no flags are needed").config();
        let default = Config {
            handle_signals: true,
            ..Config::default()
        };
        assert_eq!(format!("{config:?}"), format!("{default:?}"));
    }

    #[test]
    fn flags_reach_the_config() {
        let args = [
            "[::1]:0",
            "localhost:1",
            "--prefix",
            "<{nick}> ",
            "--max-line",
            "2k",
            "--max-nick",
            "5",
            "--idle-timeout",
            "1h30m",
        ];
        let config = parse(&args).expect("valid flags").config();
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.prefix.to_string(), "<{nick}> ");
        assert_eq!(
            (config.limits.max_line_bytes, config.limits.max_nick_chars),
            (2048, 5)
        );
        assert_eq!(config.limits.idle_timeout, Duration::from_secs(5400));
    }

    #[test]
    fn a_negative_number_is_a_wrong_value_of_its_flag() {
        for flag in ["--max-pending", "--rate", "--burst", "--idle-timeout"] {
            let error = parse(&[flag, "-1"]).expect_err("nonsense").to_string();
            assert!(error.contains(&format!("'-1' for '{flag} ")), "{error}");
        }
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for args in [
            &["70000"][..],
            &["localhost"],
            &[""],
            &["127.0.0.1:0 here"],
            &["--prefix", "no place"],
            &["--max-line", "0"],
            &["--max-line", "4x"],
            &["--max-pending", "-1"],
            &["-v", "-q"],
            &["--max-line"],
            &["--unknown"],
        ] {
            assert_eq!(
                parse(args).expect_err("nonsense").exit_code(),
                2,
                "{args:?}"
            );
        }
    }
}
