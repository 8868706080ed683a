//! What a line that begins with `/` asks for: [`Command::parse`] makes one enum of it, and [`HELP`]
//! is the one list of what there is. It knows words, not members: whether there is anybody of that
//! name, and whether this is allowed, is for others to say.

use std::net::IpAddr;
use std::time::Duration;

use crate::text::CleanText;
use crate::text::nick::is_invisible;

/// What a member asks of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// Not a command: a line that begins with a slash.
    Say(CleanText<'a>),
    Help,
    Who(CleanText<'a>),
    Nick(CleanText<'a>),
    Me(CleanText<'a>),
    Msg(CleanText<'a>, CleanText<'a>),
    Reply(CleanText<'a>),
    Ignore(CleanText<'a>),
    Unignore(CleanText<'a>),
    /// The last lines, all that are kept or so many.
    Last(Option<usize>),
    Time,
    Quit(CleanText<'a>),
    Op(CleanText<'a>),
    Kick(CleanText<'a>, CleanText<'a>),
    Ban(Whom<'a>, Option<Duration>),
    Unban(Whom<'a>),
    Mute(CleanText<'a>, Option<Duration>),
    Unmute(CleanText<'a>),
    Announce(CleanText<'a>),
}

/// Who is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom<'a> {
    Name(CleanText<'a>),
    Address(IpAddr),
}

/// Why a line is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandError<'a> {
    /// There is none of that name; the nearest one, if any is near.
    Unknown(CleanText<'a>, Option<&'static str>),
    /// It needs something else behind it.
    Usage(&'static Help),
}

/// What `/help` says of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Help {
    pub(crate) name: &'static str,
    /// What stands behind it.
    pub(crate) arguments: &'static str,
    pub(crate) what: &'static str,
    /// Only operators have it.
    pub(crate) is_for_operators: bool,
}

const fn help(name: &'static str, arguments: &'static str, what: &'static str) -> Help {
    Help {
        name,
        arguments,
        what,
        is_for_operators: false,
    }
}

const fn for_operators(name: &'static str, arguments: &'static str, what: &'static str) -> Help {
    Help {
        name,
        arguments,
        what,
        is_for_operators: true,
    }
}

/// The command that makes an operator; there is none where the server has no password for that.
pub(crate) const OP: &str = "op";

/// Every command, in the order in which they are listed.
pub(crate) const HELP: [Help; 18] = [
    help("help", "", "lists the commands"),
    help(
        "who",
        "[NAME]",
        "lists who is here, or whose names begin so",
    ),
    help("nick", "NAME", "changes your name"),
    help("me", "TEXT", "says what you do: ** bob waves"),
    help("msg", "NAME TEXT", "tells one person only"),
    help("reply", "TEXT", "answers whoever told you something last"),
    help(
        "ignore",
        "[NAME]",
        "hides what they say; without NAME, lists whom you ignore",
    ),
    help("unignore", "NAME", "shows what they say again"),
    help("last", "[N]", "shows the last lines again"),
    help("time", "", "tells the time"),
    help("quit", "[TEXT]", "leaves, with last words"),
    help(OP, "PASSWORD", "makes you an operator"),
    for_operators("kick", "NAME [WHY]", "closes their connection"),
    for_operators(
        "ban",
        "NAME|ADDRESS [MINUTES]",
        "keeps a name or an address out",
    ),
    for_operators("unban", "NAME|ADDRESS", "lets it in again"),
    for_operators("mute", "NAME [MINUTES]", "lets nobody hear them"),
    for_operators("unmute", "NAME", "lets them be heard again"),
    for_operators("announce", "TEXT", "tells everybody, as the server"),
];

const ESC: char = '\u{1b}';

/// The longest time that can be asked for: a year.
const MAX_MINUTES: u64 = 366 * 24 * 60;

/// The command that a line holds, from its slash on. What does not show may stand before that, and
/// what an arrow key sends: a slip of the finger must not tell everybody a password.
pub(crate) fn in_line(line: &[u8]) -> Option<&[u8]> {
    let text = line.utf8_chunks().next()?.valid();
    let hides = |c: char| c != ESC && (c.is_whitespace() || c.is_control() || is_invisible(c));
    let mut rest = text.trim_start_matches(hides);
    while let Some(sequence) = rest.strip_prefix(ESC) {
        // CSI and SS3 (ECMA-48, 5.4; xterm), as keys without a character send them.
        let behind = sequence.strip_prefix(['[', 'O']).map_or(sequence, |keys| {
            let end = keys.find(|c| ('@'..='~').contains(&c));
            &keys[end.map_or(keys.len(), |end| end + 1)..]
        });
        rest = behind.trim_start_matches(hides);
    }
    let start = text.len() - rest.len();
    rest.starts_with('/').then(|| &line[start..])
}

impl<'a> Command<'a> {
    /// Takes a line that begins with a slash. The second value is whether only operators may ask
    /// for that.
    pub(crate) fn parse(line: CleanText<'a>) -> Result<(Self, bool), CommandError<'a>> {
        let text = line.strip_prefix('/').unwrap_or(line);
        if text.as_str().starts_with('/') {
            return Ok((Self::Say(text), false));
        }
        let (name, rest) = text.split_word();
        if !text.as_str().starts_with(name.as_str()) {
            // White space behind the slash: that was not meant for us.
            return Err(CommandError::Unknown(name, None));
        }
        let help = find(name.as_str()).ok_or_else(|| unknown(name))?;
        let needed = help
            .arguments
            .split(' ')
            .filter(|it| it.starts_with(char::is_alphabetic));
        if rest.as_str().split_whitespace().count() < needed.count() {
            return Err(CommandError::Usage(help));
        }
        let command = Self::with(help, rest).ok_or(CommandError::Usage(help))?;
        Ok((command, help.is_for_operators))
    }

    /// `None` if that is not what should stand behind this command.
    fn with(help: &Help, rest: CleanText<'a>) -> Option<Self> {
        let (first, behind) = rest.split_word();
        let is_one_word = behind.as_str().is_empty();
        Some(match help.name {
            "help" => Self::Help,
            "who" if is_one_word => Self::Who(first),
            // What it may be is the nick's own to say.
            "nick" => Self::Nick(rest),
            "me" => Self::Me(rest),
            "msg" => Self::Msg(first, behind),
            "reply" => Self::Reply(rest),
            "ignore" if is_one_word => Self::Ignore(first),
            "unignore" if is_one_word => Self::Unignore(first),
            "last" if rest.as_str().is_empty() => Self::Last(None),
            "last" => Self::Last(Some(rest.as_str().parse().ok().filter(|&lines| lines > 0)?)),
            "time" => Self::Time,
            "quit" => Self::Quit(rest),
            OP => Self::Op(rest),
            "kick" => Self::Kick(first, behind),
            "ban" => Self::Ban(Whom::parse(first), minutes(behind)?),
            "unban" if is_one_word => Self::Unban(Whom::parse(first)),
            "mute" => Self::Mute(first, minutes(behind)?),
            "unmute" if is_one_word => Self::Unmute(first),
            "announce" => Self::Announce(rest),
            _ => return None,
        })
    }

    /// Whether others see something of it, which a member who is muted may not cause.
    pub(crate) fn is_speech(&self) -> bool {
        matches!(
            self,
            Self::Say(_)
                | Self::Nick(_)
                | Self::Me(_)
                | Self::Msg(..)
                | Self::Reply(_)
                | Self::Announce(_)
        )
    }
}

impl<'a> Whom<'a> {
    /// What can be an address is one. That somebody has it for a name is for others to see.
    fn parse(word: CleanText<'a>) -> Self {
        word.as_str()
            .parse()
            .map_or(Self::Name(word), |ip: IpAddr| {
                Self::Address(ip.to_canonical())
            })
    }
}

fn find(name: &str) -> Option<&'static Help> {
    HELP.iter()
        .find(|help| help.name.eq_ignore_ascii_case(name))
}

/// Nothing, or a number of minutes from 1 to a year.
fn minutes(text: CleanText<'_>) -> Option<Option<Duration>> {
    if text.as_str().is_empty() {
        return Some(None);
    }
    let minutes = text.as_str().parse().ok();
    let minutes = minutes.filter(|minutes| (1..=MAX_MINUTES).contains(minutes))?;
    Some(Some(Duration::from_secs(60 * minutes)))
}

fn unknown(name: CleanText<'_>) -> CommandError<'_> {
    // A long line is no slip of the finger, and costs more to compare.
    if name.as_str().len() > 16 {
        return CommandError::Unknown(name, None);
    }
    let typed = name.as_str().to_lowercase();
    let begins = HELP
        .iter()
        .find(|help| !typed.is_empty() && help.name.starts_with(&typed));
    let distance = |help: &&Help| strsim::osa_distance(&typed, help.name);
    let nearest = HELP.iter().min_by_key(distance);
    let near = nearest.filter(|help| distance(help) <= 2 && distance(help) < help.name.len());
    CommandError::Unknown(name, begins.or(near).map(|help| help.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    /// What a line is, in the words of `Debug`, without the wrapping of clean text.
    fn parsed(line: &str) -> String {
        let mut scratch = String::new();
        let text = text::clean(line.as_bytes(), &mut scratch);
        let command = Command::parse(text).map(|(command, _)| command);
        format!("{command:?}").replace("CleanText", "")
    }

    #[test]
    fn each_command_is_known_with_what_stands_behind_it() {
        for (line, command) in [
            ("/help", r#"Ok(Help)"#),
            ("/HELP me", r#"Ok(Help)"#),
            ("/who", r#"Ok(Who(("")))"#),
            ("/who al", r#"Ok(Who(("al")))"#),
            ("/nick two words", r#"Ok(Nick(("two words")))"#),
            ("/me  waves  twice ", r#"Ok(Me(("waves  twice")))"#),
            ("/msg bob  a  b", r#"Ok(Msg(("bob"), ("a  b")))"#),
            ("/reply a b", r#"Ok(Reply(("a b")))"#),
            ("/ignore", r#"Ok(Ignore(("")))"#),
            ("/unignore bob", r#"Ok(Unignore(("bob")))"#),
            ("/last", r#"Ok(Last(None))"#),
            ("/last 5", r#"Ok(Last(Some(5)))"#),
            ("/time", r#"Ok(Time)"#),
            ("/quit", r#"Ok(Quit(("")))"#),
            ("/quit see you", r#"Ok(Quit(("see you")))"#),
            ("/op a b", r#"Ok(Op(("a b")))"#),
            ("/kick bob", r#"Ok(Kick(("bob"), ("")))"#),
            ("/kick bob too loud", r#"Ok(Kick(("bob"), ("too loud")))"#),
            ("/ban bob 5", r#"Ok(Ban(Name(("bob")), Some(300s)))"#),
            (
                "/ban ::ffff:192.0.2.1",
                r#"Ok(Ban(Address(192.0.2.1), None))"#,
            ),
            ("/unban 2001:db8::1", r#"Ok(Unban(Address(2001:db8::1)))"#),
            ("/mute bob 1", r#"Ok(Mute(("bob"), Some(60s)))"#),
            ("/unmute bob", r#"Ok(Unmute(("bob")))"#),
            ("/announce a b", r#"Ok(Announce(("a b")))"#),
            ("//help", r#"Ok(Say(("/help")))"#),
            ("//", r#"Ok(Say(("/")))"#),
        ] {
            assert_eq!(parsed(line), command, "{line}");
        }
    }

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
    fn what_is_missing_or_wrong_is_a_question_of_usage() {
        for line in [
            "/nick",
            "/me",
            "/me  ",
            "/msg",
            "/msg bob",
            "/reply",
            "/unignore",
            "/op",
            "/kick",
            "/ban",
            "/mute",
            "/announce",
            "/last no",
            "/last 0",
            "/last -1",
            "/ban bob soon",
            "/ban bob 0",
            "/mute bob 99999999",
            "/who a b",
            "/unmute a b",
        ] {
            assert!(
                parsed(line).starts_with("Err(Usage("),
                "{line}: {}",
                parsed(line)
            );
        }
    }

    #[test]
    fn an_unknown_command_comes_with_the_nearest() {
        for (line, nearest) in [
            ("/hlep", Some("help")),
            ("/whom", Some("who")),
            ("/q", Some("quit")),
            ("/mgs bob hi", Some("msg")),
            ("/wave", None),
            ("/", None),
            ("/ help", None),
            ("/HLEP", Some("help")),
            ("/xyzzy", None),
        ] {
            let mut scratch = String::new();
            let text = text::clean(line.as_bytes(), &mut scratch);
            let Err(CommandError::Unknown(_, found)) = Command::parse(text) else {
                panic!("{line} is known");
            };
            assert_eq!(found, nearest, "{line}");
        }
        assert!(parsed(&format!("/{}", "a".repeat(4000))).ends_with("None))"));
    }

    #[test]
    fn every_command_that_is_listed_can_be_given() {
        for help in &HELP {
            let arguments = help
                .arguments
                .replace(['[', ']'], "")
                .replace("MINUTES", "5");
            let line = format!("/{} {}", help.name, arguments.replace('N', "n"));
            let line = if help.name == "last" {
                "/last 5".to_owned()
            } else {
                line
            };
            assert!(
                parsed(&line).starts_with("Ok("),
                "{line}: {}",
                parsed(&line)
            );
        }
    }
}
