//! The command line: flags and environment variables become a [`Config`] and a log level.
//! Usage errors are clap's own text and exit with 2; that includes values which do not go together.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};
use log::LevelFilter;

use crate::config::{Config, ConfigError, ListenAddr};
use crate::prefix::Prefix;

const EXAMPLES: &str = "\
Examples:
  line-chat                          people on this machine can join
  line-chat 0.0.0.0:6142 [::]:6142   everybody who can reach this machine can join
  telnet localhost 6142              join: the first line that you type is your nick
  printf 'bot\\nhello\\n' | nc localhost 6142
                                     a script joins, says hello and leaves

Each flag can also be set by the environment variable named with it. Sizes are in bytes.";

/// A chat server for telnet, nc and scripts.
///
/// A client's first line is its nick; every later line goes to all the others as "nick: text".
#[derive(Debug, Parser)]
#[command(name = "line-chat", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Args {
    // Not a doc comment: rustdoc would take [::1] for a link.
    #[arg(
        help = "Where to listen: 127.0.0.1:6142, [::1]:6142 or localhost:6142; port 0 lets the system choose",
        value_name = "ADDR",
        env = "LINE_CHAT_ADDR",
        value_delimiter = ' ',
        default_value = "127.0.0.1:6142"
    )]
    addrs: Vec<ListenAddr>,

    /// What stands before each line; {nick} becomes the speaker's nick
    #[arg(
        long,
        env = "LINE_CHAT_PREFIX",
        value_name = "TEMPLATE",
        default_value = "{nick}: "
    )]
    prefix: Prefix,

    /// The longest line that a client may send, in bytes
    #[arg(long, env = "LINE_CHAT_MAX_LINE", value_name = "BYTES", default_value = "4096", value_parser = positive)]
    max_line: usize,

    /// What may be queued for one client, in bytes; who is further behind is closed
    #[arg(long, env = "LINE_CHAT_MAX_PENDING", value_name = "BYTES", default_value = "1048576", value_parser = positive)]
    max_pending: usize,

    /// The longest nick, in characters
    #[arg(long, env = "LINE_CHAT_MAX_NICK", value_name = "CHARS", default_value = "32", value_parser = positive)]
    max_nick: usize,

    /// Log more: once for each line that is said, twice for everything. RUST_LOG can say it more
    /// finely
    #[arg(short, long, env = "LINE_CHAT_VERBOSE", value_name = "COUNT", action = ArgAction::Count)]
    verbose: u8,

    /// Log less: once for warnings and errors, twice for errors, three times for nothing
    #[arg(short, long, env = "LINE_CHAT_QUIET", value_name = "COUNT", action = ArgAction::Count)]
    quiet: u8,
}

impl Args {
    /// The arguments of this process. Ends the process for `--help`, `--version` and usage errors.
    pub fn of_process() -> Self {
        let args = Self::of(&Self::command().get_matches()).unwrap_or_else(|error| error.exit());
        if let Err(error) = args.config().check() {
            let text = match error {
                ConfigError::PendingTooSmall { needed } => format!(
                    "--max-pending is smaller than the longest line: \
                     make it {needed} or more, or --max-line smaller"
                ),
                other => other.to_string(),
            };
            Self::command()
                .error(ErrorKind::ValueValidation, text)
                .exit();
        }
        args
    }

    /// What was matched, with one of `-v` and `-q` at most. clap's own `conflicts_with` would also
    /// refuse a flag because of a variable, over which it wins.
    fn of(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::from_arg_matches(matches)?;
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

    /// The config that they ask for.
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.listen.clone_from(&self.addrs);
        config.prefix = self.prefix.clone();
        config.limits.max_line_bytes = self.max_line;
        config.limits.max_pending_bytes = self.max_pending;
        config.limits.max_nick_chars = self.max_nick;
        config.handle_signals = true;
        config
    }

    /// The log level that they ask for; `None` leaves it to `RUST_LOG`, or else to info.
    pub fn log_level(&self) -> Option<LevelFilter> {
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

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("0 would let nothing through; give 1 or more".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}; give a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        let args = [&["line-chat"], args].concat();
        Args::of(&Args::command().try_get_matches_from(args)?)
    }

    #[test]
    fn the_command_is_consistent() {
        Args::command().debug_assert();
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
            "9",
            "--max-nick",
            "5",
        ];
        let config = parse(&args).expect("valid flags").config();
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.prefix.to_string(), "<{nick}> ");
        assert_eq!(
            (config.limits.max_line_bytes, config.limits.max_nick_chars),
            (9, 5)
        );
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        for args in [
            &["6142"][..],
            &["--prefix", "no place"],
            &["--max-line", "0"],
            &["--max-line", "4k"],
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
