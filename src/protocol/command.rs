//! Lines that begin with `/`: which command a line holds, and its arguments. [`Help`] describes a
//! command for `/help`. This module knows words, not members: whether a member of that name exists, and
//! whether a command is allowed, is decided elsewhere.

use std::net::IpAddr;
use std::time::Duration;

use crate::text::CleanText;
use crate::text::alike::is_invisible;

/// What `/help` says of a command, and who may give it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Help {
    pub(crate) name: &'static str,
    /// Other names for it.
    pub(crate) aliases: &'static [&'static str],
    /// Its arguments, as `/help` shows them.
    pub(crate) arguments: &'static str,
    /// What it does.
    pub(crate) what: &'static str,
    pub(crate) role: Role,
}

/// Who may give a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everybody at a prompt.
    Anybody,
    /// Everybody at a prompt, if the server has a password for operators.
    OperatorToBe,
    /// Operators.
    Operator,
}

impl Help {
    /// Whether `name` is its name or an alias of it.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let mut names = self.aliases.iter().chain([&self.name]);
        names.any(|it| it.eq_ignore_ascii_case(name))
    }
}

/// A parsed line that begins with a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typed<'a> {
    /// Not a command: behind a doubled slash, a line that begins with one.
    Text(CleanText<'a>),
    /// The name of a command, and its arguments.
    Command(CleanText<'a>, CleanText<'a>),
    /// No command, because white space stands behind the slash. Its first word.
    Nothing(CleanText<'a>),
}

impl<'a> Typed<'a> {
    /// Parses a clean line that begins with a slash.
    pub(crate) fn parse(line: CleanText<'a>) -> Self {
        let text = line.strip_prefix('/').unwrap_or(line);
        if text.as_str().starts_with('/') {
            return Self::Text(text);
        }
        let (name, arguments) = text.split_word();
        match text.as_str().starts_with(name.as_str()) {
            true => Self::Command(name, arguments),
            false => Self::Nothing(name),
        }
    }
}

/// The name or the address that a ban is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Name(CleanText<'a>),
    Address(IpAddr),
}

impl<'a> Target<'a> {
    /// A word that can be an address is one. Whether a member has it as a name is decided elsewhere.
    pub(crate) fn parse(word: CleanText<'a>) -> Self {
        word.as_str()
            .parse()
            .map_or(Self::Name(word), |ip: IpAddr| {
                Self::Address(ip.to_canonical())
            })
    }
}

/// The longest time of a ban or a mute that has an end: a year.
const MAX_MINUTES: u64 = 366 * 24 * 60;

/// Parses a number of minutes from 1 to a year, or nothing, which means for ever and is `Some(None)`.
/// Returns `None` if the text is neither.
pub(crate) fn minutes(text: CleanText<'_>) -> Option<Option<Duration>> {
    if text.as_str().is_empty() {
        return Some(None);
    }
    let minutes: Option<u64> = text.as_str().parse().ok();
    let minutes = minutes.filter(|minutes| (1..=MAX_MINUTES).contains(minutes))?;
    Some(Some(Duration::from_secs(minutes.saturating_mul(60))))
}

/// The command whose name is nearest to the typed word, if one is near.
pub(crate) fn nearest<'h>(
    typed: CleanText<'_>,
    commands: impl Iterator<Item = &'h Help> + Clone,
) -> Option<&'static str> {
    // A long word is no typing error, and costs more to compare.
    if typed.as_str().len() > 16 {
        return None;
    }
    let typed = typed.as_str().to_lowercase();
    let begins = commands
        .clone()
        .find(|help| !typed.is_empty() && help.name.starts_with(&typed));
    let distance = |help: &&Help| strsim::osa_distance(&typed, help.name);
    let nearest = commands.min_by_key(distance);
    let near = nearest.filter(|help| distance(help) <= 2 && distance(help) < help.name.len());
    begins.or(near).map(|help| help.name)
}

const ESC: char = '\u{1b}';

/// The command that a line holds, from its slash on. Invisible characters and the sequences of arrow
/// keys may stand before the slash: a slip of the finger must not show a password to everybody.
pub(crate) fn in_line(line: &[u8]) -> Option<&[u8]> {
    let text = line.utf8_chunks().next()?.valid();
    let hides = |c: char| c != ESC && (c.is_whitespace() || c.is_control() || is_invisible(c));
    let mut rest = text.trim_start_matches(hides);
    while let Some(sequence) = rest.strip_prefix(ESC) {
        // CSI and SS3 (ECMA-48, 5.4; xterm), as keys without a character send them.
        let behind = sequence.strip_prefix(['[', 'O']).map_or(sequence, |keys| {
            let end = keys.find(|c| ('@'..='~').contains(&c));
            keys.get(end.map_or(keys.len(), |end| end.saturating_add(1))..)
                .unwrap_or_default()
        });
        rest = behind.trim_start_matches(hides);
    }
    let start = text.len().saturating_sub(rest.len());
    line.get(start..).filter(|_| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    #[test]
    fn what_does_not_show_may_stand_before_a_command() {
        for (line, command) in [
            ("/who", Some("/who")),
            (" \t/who ", Some("/who ")),
            ("\u{a0}\u{200b}\u{feff}\u{3000}/who", Some("/who")),
            ("\u{c}/who", Some("/who")),
            ("\u{1b}[A/who", Some("/who")),
            ("\u{1b}[1;5C \u{1b}OH/who", Some("/who")),
            ("\u{1b}/who", Some("/who")),
            ("x /who", None),
            ("[A/who", None),
            ("\u{1b}[", None),
            ("", None),
        ] {
            let found = in_line(line.as_bytes());
            assert_eq!(found, command.map(str::as_bytes), "{line:?}");
        }
        assert_eq!(in_line(b"\xff/who"), None);
    }

    #[test]
    fn a_line_is_a_command_with_what_stands_behind_it_or_a_text() {
        for (line, typed) in [
            ("/help", "Command(help|)"),
            ("/me  waves  twice ", "Command(me|waves  twice)"),
            ("/msg bob  a  b", "Command(msg|bob  a  b)"),
            ("//help", "Text(/help)"),
            ("//", "Text(/)"),
            ("/", "Command(|)"),
            ("/ help", "Nothing(help)"),
        ] {
            let mut scratch = String::new();
            let found = match Typed::parse(text::clean(line.as_bytes(), &mut scratch)) {
                Typed::Text(text) => format!("Text({})", text.as_str()),
                Typed::Command(name, rest) => {
                    format!("Command({}|{})", name.as_str(), rest.as_str())
                }
                Typed::Nothing(name) => format!("Nothing({})", name.as_str()),
            };
            assert_eq!(found, typed, "{line}");
        }
    }

    #[test]
    fn a_time_is_a_number_of_minutes() {
        let parse = |line: &str| minutes(text::clean(line.as_bytes(), &mut String::new()));
        assert_eq!(parse(""), Some(None));
        assert_eq!(parse("5"), Some(Some(Duration::from_secs(300))));
        for wrong in ["soon", "0", "-1", "99999999"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
