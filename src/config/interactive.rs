//! How people are served: [`Interactive`] holds what an operator sets for people at a prompt, and
//! [`Profile`] is what that means for the clients of one listener. By default every client is plain.

use std::path::PathBuf;

use crate::config::password::Password;

/// What a client gets besides the lines of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Profile {
    /// Nothing: for scripts.
    #[default]
    Plain,
    /// The last lines, when it joins.
    History,
    /// The last lines, a greeting, notices of joins and leaves, and the answers to commands: for people
    /// at a prompt.
    Interactive,
}

/// How people are served.
///
/// ```
/// use line_chat::{Config, Interactive};
///
/// let config = Config {
///     interactive: Interactive {
///         enabled: true,
///         password: Some("open sesame".parse()?),
///         ..Interactive::default()
///     },
///     ..Config::default()
/// };
/// assert_eq!(config.check(), Ok(()));
/// # Ok::<(), line_chat::PasswordError>(())
/// ```
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Interactive {
    /// Serve people at ADDR: greet them, tell them who joins and leaves, and take commands (lines that
    /// begin with /).
    ///
    /// Off by default, because a script then has to know nothing but its nick. --plain adds listeners
    /// for scripts.
    #[cfg_attr(feature = "cli", arg(long = "interactive", env = "LINE_CHAT_INTERACTIVE",
        value_parser = clap::builder::BoolishValueParser::new(), help_heading = PEOPLE))]
    pub enabled: bool,

    /// A file whose lines are the greeting, with --interactive; read again at SIGHUP.
    ///
    /// Every client that connects sees it, even before it is asked for a password.
    #[cfg_attr(feature = "cli", arg(long = "motd", env = "LINE_CHAT_MOTD", value_name = "FILE",
        help_heading = PEOPLE))]
    pub motd_file: Option<PathBuf>,

    /// How many of the last lines are shown to a client that joins, except at a --plain listener.
    /// [default: 20 with --interactive, else 0]
    ///
    /// The default fits a terminal of 24 lines.
    #[cfg_attr(feature = "cli", arg(long = "history", env = "LINE_CHAT_HISTORY",
        value_name = "LINES", help_heading = PEOPLE))]
    pub history_lines: Option<usize>,

    /// How many of the last lines are kept for /last and /find, with --interactive. [default: 500, and
    /// none with --history 0]
    ///
    /// At most 64 KiB are kept, and no fewer lines than --history shows.
    #[cfg_attr(feature = "cli", arg(long = "history-kept", env = "LINE_CHAT_HISTORY_KEPT",
        value_name = "LINES", help_heading = PEOPLE))]
    pub history_kept_lines: Option<usize>,

    /// In a room with more members than this, nobody is told who joins and leaves.
    ///
    /// In larger rooms such notices would be all that one reads.
    #[cfg_attr(feature = "cli", arg(long = "quiet-above", env = "LINE_CHAT_QUIET_ABOVE",
        value_name = "MEMBERS", default_value_t = QUIET_ABOVE, help_heading = PEOPLE))]
    pub quiet_above_members: usize,

    /// A file whose first line is the password of the room, asked for before the nick; read again
    /// at SIGHUP.
    ///
    /// Clients of a --plain listener are asked for it as well.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_PASSWORD_FILE", value_name = "FILE",
        value_parser = file_name(), help_heading = PEOPLE))]
    pub password_file: Option<PathBuf>,

    /// A file whose first line is the password of operators, with --interactive; read again at
    /// SIGHUP.
    ///
    /// An operator can disconnect, ban and mute others: see /help.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_OPS_PASSWORD_FILE",
        value_name = "FILE", value_parser = file_name(), help_heading = PEOPLE))]
    pub ops_password_file: Option<PathBuf>,

    /// The password of the room, from the program itself; it wins over `password_file`.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub password: Option<Password>,

    /// The password of operators, from the program itself; it wins over `ops_password_file`.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub ops_password: Option<Password>,
}

#[cfg(feature = "cli")]
const PEOPLE: &str = "People at a prompt";

/// Parses the name of a file with a password. An empty name is an error: it would open the room to
/// everyone, which is never intended.
#[cfg(feature = "cli")]
fn file_name() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::{OsStringValueParser, TypedValueParser};
    OsStringValueParser::new().try_map(|name| match name.to_string_lossy().trim() {
        "" => Err("no file is named; name one, or unset the variable to have no password"),
        _ => Ok(PathBuf::from(name)),
    })
}

const QUIET_ABOVE: usize = 1000;

/// How many lines are shown by default, where people are served, and how many are kept.
const HISTORY_LINES: usize = 20;
const HISTORY_KEPT_LINES: usize = 500;

impl Interactive {
    /// Whether there is a password of the room.
    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some() || self.password_file.is_some()
    }
}

impl Default for Interactive {
    fn default() -> Self {
        Self {
            enabled: false,
            motd_file: None,
            history_lines: None,
            history_kept_lines: None,
            quiet_above_members: QUIET_ABOVE,
            password_file: None,
            ops_password_file: None,
            password: None,
            ops_password: None,
        }
    }
}

impl Interactive {
    /// How many of the last lines are shown to a client that joins.
    pub(crate) fn lines_shown(&self) -> usize {
        let default = if self.enabled { HISTORY_LINES } else { 0 };
        self.history_lines.unwrap_or(default)
    }

    /// How many of the last lines are kept. Only people can ask for more than they were shown.
    pub(crate) fn lines_kept(&self) -> usize {
        let shown = self.lines_shown();
        let default = match shown {
            0 => 0,
            _ if self.enabled => HISTORY_KEPT_LINES,
            _ => shown,
        };
        self.history_kept_lines.unwrap_or(default).max(shown)
    }

    /// The profile of listeners whose address names none.
    pub fn profile(&self) -> Profile {
        match self.lines_shown() {
            _ if self.enabled => Profile::Interactive,
            0 => Profile::Plain,
            _ => Profile::History,
        }
    }
}
