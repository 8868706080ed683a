//! How people are received: [`Hosting`] is what an operator sets for those who come with `telnet`
//! and type, and [`Mode`] is what that makes of one listener's clients. Without any of it every
//! client has the bare wire.

use std::path::PathBuf;

/// What a listener's clients are sent beside what others say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Nothing: the bare wire.
    #[default]
    Bare,
    /// The last lines, when they have joined.
    History,
    /// Those, a greeting, who comes and goes, and the answers to commands.
    Interactive,
}

/// How people are received.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[non_exhaustive]
pub struct Hosting {
    /// Receive people at ADDR: greet them, tell them who comes and goes, and take commands
    /// (lines that begin with /).
    ///
    /// Off by default, because a script has to know nothing but its nick. --plain adds listeners
    /// for scripts beside it.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_INTERACTIVE",
        value_parser = clap::builder::BoolishValueParser::new(), help_heading = PEOPLE))]
    pub interactive: bool,

    /// A file whose lines are the greeting, with --interactive; read again at SIGHUP.
    ///
    /// Everybody sees it who connects, also before a password.
    #[cfg_attr(feature = "cli", arg(long = "motd", env = "LINE_CHAT_MOTD", value_name = "FILE",
        help_heading = PEOPLE))]
    pub motd_file: Option<PathBuf>,

    /// How many of the last lines are shown to who joins, but for a --plain listener.
    /// [default: 20 with --interactive, else 0]
    ///
    /// The default is what fits a terminal of 24 lines. No more than 64 KiB are kept.
    #[cfg_attr(feature = "cli", arg(long = "history", env = "LINE_CHAT_HISTORY",
        value_name = "LINES", help_heading = PEOPLE))]
    pub history_lines: Option<usize>,

    /// In a room of more members nobody is told who comes and goes.
    ///
    /// The default is where that would be all that one reads.
    #[cfg_attr(feature = "cli", arg(long = "quiet-above", env = "LINE_CHAT_QUIET_ABOVE",
        value_name = "MEMBERS", default_value_t = QUIET_ABOVE, help_heading = PEOPLE))]
    pub quiet_above_members: usize,

    /// A file whose first line is the password of the room, asked for before the nick; read again
    /// at SIGHUP.
    ///
    /// At a --plain listener as well.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_PASSWORD_FILE", value_name = "FILE",
        help_heading = PEOPLE))]
    pub password_file: Option<PathBuf>,

    /// A file whose first line is the password of operators, with --interactive; read again at
    /// SIGHUP.
    ///
    /// An operator can close, ban and mute others: see /help.
    #[cfg_attr(feature = "cli", arg(long, env = "LINE_CHAT_OPS_PASSWORD_FILE",
        value_name = "FILE", help_heading = PEOPLE))]
    pub ops_password_file: Option<PathBuf>,
}

#[cfg(feature = "cli")]
const PEOPLE: &str = "People at a prompt";

const QUIET_ABOVE: usize = 1000;

/// How many lines are kept for people.
const HISTORY_LINES: usize = 20;

impl Default for Hosting {
    fn default() -> Self {
        Self {
            interactive: false,
            motd_file: None,
            history_lines: None,
            quiet_above_members: QUIET_ABOVE,
            password_file: None,
            ops_password_file: None,
        }
    }
}

impl Hosting {
    /// How many lines are kept.
    pub(crate) fn lines_kept(&self) -> usize {
        let default = if self.interactive { HISTORY_LINES } else { 0 };
        self.history_lines.unwrap_or(default)
    }

    /// The mode of the listeners that are not plain ones.
    pub fn mode(&self) -> Mode {
        match self.lines_kept() {
            _ if self.interactive => Mode::Interactive,
            0 => Mode::Bare,
            _ => Mode::History,
        }
    }

    /// Whether there is anything that is read again at SIGHUP.
    pub(crate) fn has_files(&self) -> bool {
        [
            &self.motd_file,
            &self.password_file,
            &self.ops_password_file,
        ]
        .into_iter()
        .any(Option::is_some)
    }
}
