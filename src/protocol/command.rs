//! Lines that begin with `/`: which command a line holds, and its arguments. [`Help`] describes a
//! command for `/help`. This module knows words, not members: whether a member of that name exists, and
//! whether a command is allowed, is decided elsewhere.
//!
//! A slash of another width or shape ([`is_slash`]), as some keyboards and input methods type it,
//! counts as a slash, so that `／op` does not send a password to the whole room. A character that
//! another keyboard layout has on the slash key ([`may_be_slash`]) counts only before the name of an
//! existing command, because ordinary text may begin with it.

use std::borrow::Cow;
use std::time::Duration;

use crate::text::CleanText;
use crate::text::alike::{decomposes_into, is_invisible, key};

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
    /// Whether a [folded] name is the name of this command or an alias of it.
    pub(crate) fn is_called(&self, folded: &str) -> bool {
        self.names().any(|it| it.eq_ignore_ascii_case(folded))
    }

    /// Its names, the one first that `/help` lists.
    fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        [self.name].into_iter().chain(self.aliases.iter().copied())
    }
}

/// Longer than every command name, with room for the typing errors that [`nearest`] corrects, in
/// characters.
const MAX_NAME_CHARS: usize = 16;

/// Returns a typed name in lower case and ordinary width, so that `ｗｈｏ` from an input method is `who`;
/// an ASCII name as it is, because it is compared without regard to case. `None` if the name is too long
/// to be that of a command, also when it is decomposed: folding it would waste time.
pub(crate) fn folded(name: &str) -> Option<Cow<'_, str>> {
    if name.is_ascii() {
        return (name.len() <= MAX_NAME_CHARS).then_some(Cow::Borrowed(name));
    }
    let is_short = name.chars().nth(MAX_NAME_CHARS).is_none();
    let is_short = is_short && decomposes_into(name, MAX_NAME_CHARS);
    is_short.then(|| Cow::Owned(key(name)))
}

/// Whether a character is a slash of any width or shape. Input methods for Chinese and Japanese type
/// the full-width one (U+FF0F); the others (U+2044, U+2215, U+29F8) come from copied text.
pub(crate) fn is_slash(c: char) -> bool {
    matches!(c, '/' | '\u{ff0f}' | '\u{2044}' | '\u{2215}' | '\u{29f8}')
}

/// Whether a character may stand for a slash because it is on the same key, or on a key easily confused
/// with it: the ideographic comma of Chinese input methods (U+3001, half-width U+FF64), and the
/// backslash, also full-width (U+FF3C), small (U+FE68), or as Japanese and Korean keyboards have it
/// (U+00A5, U+20A9, U+FFE5, U+FFE6).
fn may_be_slash(c: char) -> bool {
    matches!(
        c,
        '\\' | '\u{3001}'
            | '\u{ff64}'
            | '\u{ff3c}'
            | '\u{fe68}'
            | '\u{a5}'
            | '\u{20a9}'
            | '\u{ffe5}'
            | '\u{ffe6}'
    )
}

/// A parsed line that begins with a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Typed<'a> {
    /// Not a command: behind a doubled slash, a line that begins with one.
    Text(CleanText<'a>),
    /// The name of a command, and its arguments.
    Command(CleanText<'a>, CleanText<'a>),
}

impl<'a> Typed<'a> {
    /// Parses a clean line that begins with a slash or a substitute for one. White space may follow the
    /// slash.
    pub(crate) fn parse(line: CleanText<'a>) -> Self {
        let text = line.without_first();
        if line.as_str().starts_with(is_slash) && text.as_str().starts_with(is_slash) {
            return Self::Text(text);
        }
        let (name, arguments) = text.split_word();
        Self::Command(name, arguments)
    }
}

/// The longest time of a ban or a mute that has an end: a year.
const MAX_MINUTES: u64 = 366 * 24 * 60;

/// Splits a time, which may be missing and then is for ever, from the reason behind it. `5`, `5m`, `2h` and
/// `1d` are times, from a minute to a year. Returns `None` for a word that begins with a digit and is none.
pub(crate) fn time_and_reason(text: CleanText<'_>) -> Option<(Option<Duration>, CleanText<'_>)> {
    let (word, reason) = text.split_word();
    if !word.as_str().starts_with(|c: char| c.is_ascii_digit()) {
        return Some((None, text));
    }
    Some((Some(time(word.as_str())?), reason))
}

fn time(word: &str) -> Option<Duration> {
    let units = [("m", 1), ("h", 60), ("d", 24 * 60)];
    let mut units = units.into_iter();
    let lower = word.to_ascii_lowercase();
    let (number, unit) = units
        .find_map(|(unit, minutes)| Some((lower.strip_suffix(unit)?, minutes)))
        .unwrap_or((&lower, 1));
    let number: u64 = number.parse().ok()?;
    let minutes = number.checked_mul(unit)?;
    let minutes = Some(minutes).filter(|minutes| (1..=MAX_MINUTES).contains(minutes))?;
    Some(Duration::from_secs(minutes.saturating_mul(60)))
}

/// Words for which other chats and shells have a command that has another name here. They are not
/// typing errors, however close they are to another name.
const ELSEWHERE: [(&str, &str); 11] = [
    ("action", "me"),
    ("block", "ignore"),
    ("emote", "me"),
    ("gag", "mute"),
    ("history", "last"),
    ("kill", "kick"),
    ("leave", "quit"),
    ("logout", "quit"),
    ("part", "quit"),
    ("query", "msg"),
    ("silence", "mute"),
];

/// An alias that is shorter is like too many words.
const SHORTEST_LIKE: usize = 4;

/// Returns the name or alias of the command that was probably meant by a typed word, of those that the
/// person can use, or `None` if none is close enough.
pub(crate) fn nearest<'h>(
    typed: CleanText<'_>,
    usable: impl Iterator<Item = &'h Help> + Clone,
) -> Option<&'static str> {
    // A long word is not a typing error, and comparing it would cost more.
    let typed = folded(typed.as_str()).filter(|typed| !typed.is_empty())?;
    let typed = typed.to_ascii_lowercase();
    let names = usable.clone().map(|help| help.name);
    if let Some((_, meant)) = ELSEWHERE.iter().find(|(word, _)| *word == typed) {
        return names.clone().find(|name| name == meant);
    }
    let all = usable.flat_map(|help| help.names().map(move |name| (help, name)));
    let is_name = |help: &Help, name: &str| help.name == name || name.len() >= SHORTEST_LIKE;
    let all = all.filter(|(help, name)| is_name(help, name));
    let mut begins = names.chain(all.clone().map(|(_, name)| name));
    let begins = begins.find(|name| name.starts_with(&typed));
    let slips = all.filter(|(help, name)| is_slip_of(&typed, help, name));
    let nearest = slips.min_by_key(|(_, name)| strsim::osa_distance(&typed, name));
    begins.or_else(|| nearest.map(|(_, name)| name))
}

/// Whether a typed word may be this name of a command with a typing error: one letter is wrong, missing, added or
/// swapped with its neighbour. A name of six letters or more may have two such errors.
fn is_slip_of(typed: &str, help: &Help, name: &str) -> bool {
    let most = if name.len() < 6 { 1 } else { 2 };
    let is_near = strsim::osa_distance(typed, name) <= most && name.len() > most;
    // `/quit` must not be suggested by accident: a word with a letter that is not in "quit", or in another
    // name of it, is another word.
    is_near && (help.name != "quit" || typed.chars().all(|c| name.contains(c)))
}

const ESC: char = '\u{1b}';

/// Returns the command that a line holds, from its slash on. Invisible characters and arrow-key
/// sequences may precede the slash, so that a stray key does not send a password to the whole room. A
/// substitute for a slash counts only before the name of a command, which `is_command` checks.
pub(crate) fn in_line(line: &[u8], is_command: impl FnOnce(&str) -> bool) -> Option<&[u8]> {
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
    let mut behind = rest.chars();
    let first = behind.next()?;
    let name = || behind.as_str().split_whitespace().next();
    let is_one = is_slash(first) || (may_be_slash(first) && name().is_some_and(is_command));
    let start = text.len().saturating_sub(rest.len());
    line.get(start..).filter(|_| is_one)
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
            let found = in_line(line.as_bytes(), |_| false);
            assert_eq!(found, command.map(str::as_bytes), "{line:?}");
        }
        assert_eq!(in_line(b"\xff/who", |_| false), None);
    }

    #[test]
    fn a_slash_of_any_shape_is_one_and_what_is_like_one_is_one_before_a_command() {
        let is_command = |name: &str| name == "who";
        for slash in ["/", "\u{ff0f}", "\u{2044}", "\u{2215}", "\u{29f8}"] {
            for rest in ["who", "op sesame", "", " who", "/x", "\u{ff0f}x", "漢字"] {
                let line = format!("{slash}{rest}");
                let padded = format!(" \u{1b}[A\u{200b}{line}");
                assert_eq!(in_line(line.as_bytes(), is_command), Some(line.as_bytes()));
                assert_eq!(
                    in_line(padded.as_bytes(), is_command),
                    Some(line.as_bytes())
                );
            }
        }
        for like in "\\\u{3001}\u{ff64}\u{ff3c}\u{fe68}\u{a5}\u{20a9}\u{ffe5}\u{ffe6}".chars() {
            for (rest, is_one) in [
                ("who", true),
                ("who is here", true),
                (" who", true),
                ("\u{3000}who", true),
                ("whom", false),
                ("o/", false),
                ("", false),
                ("你好", false),
                ("/who", false),
                ("\\who", false),
                ("server\\who", false),
            ] {
                let line = format!("{like}{rest}");
                let found = in_line(line.as_bytes(), is_command);
                assert_eq!(found, is_one.then_some(line.as_bytes()), "{line}");
            }
        }
        for other in ["|who", "÷who", ".who", "・who", "╲who", "¿who", "–who"] {
            assert_eq!(in_line(other.as_bytes(), is_command), None, "{other}");
        }
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
            ("/ help", "Command(help|)"),
            ("/ \t msg  bob hi", "Command(msg|bob hi)"),
            ("/\u{3000}help", "Command(help|)"),
            ("/ ", "Command(|)"),
            ("/ /x", "Command(/x|)"),
            ("\u{ff0f}msg bob\u{3000}hi", "Command(msg|bob\u{3000}hi)"),
            ("\u{2044}\u{2044}x", "Text(\u{2044}x)"),
            ("/\u{ff0f}x", "Text(\u{ff0f}x)"),
            ("\u{ff0f}/x", "Text(/x)"),
            ("\u{3001}who al", "Command(who|al)"),
            ("\\ who", "Command(who|)"),
        ] {
            let mut scratch = String::new();
            let found = match Typed::parse(text::clean(line.as_bytes(), &mut scratch)) {
                Typed::Text(text) => format!("Text({})", text.as_str()),
                Typed::Command(name, rest) => {
                    format!("Command({}|{})", name.as_str(), rest.as_str())
                }
            };
            assert_eq!(found, typed, "{line}");
        }
    }

    fn help(name: &'static str) -> Help {
        Help {
            name,
            aliases: &[],
            arguments: "",
            what: "",
            role: Role::Anybody,
        }
    }

    #[test]
    fn a_command_is_called_by_its_name_in_letters_of_any_case_and_width() {
        for (typed, is_it) in [
            ("who", true),
            ("WHO", true),
            ("ｗｈｏ", true),
            ("ＷＨＯ", true),
            ("w\u{200b}ho", true),
            ("wh0", false),
            ("", false),
            ("\u{200b}", false),
            ("ｗｈｏｍ", false),
        ] {
            let is_called = folded(typed).is_some_and(|typed| help("who").is_called(&typed));
            assert_eq!(is_called, is_it, "{typed}");
        }
    }

    #[test]
    fn what_is_too_long_for_a_command_is_not_folded() {
        for (typed, is_folded) in [
            ("x".repeat(16), true),
            ("x".repeat(17), false),
            ("ｘ".repeat(16), true),
            ("ｘ".repeat(17), false),
            // One character that decomposes into eighteen.
            ("\u{fdfa}".to_owned(), false),
            ("\u{fdfa}".repeat(1300), false),
        ] {
            assert_eq!(folded(&typed).is_some(), is_folded, "{typed}");
        }
    }

    #[test]
    fn what_is_suggested_is_near_and_can_be_used() {
        let everybody = [
            "help", "who", "nick", "me", "msg", "reply", "ignore", "unignore", "last", "time",
            "quit",
        ];
        let operators = ["op", "kick", "ban", "unban", "mute", "unmute", "announce"];
        let everybody: Vec<Help> = everybody.into_iter().map(help).collect();
        let operators: Vec<Help> = operators.into_iter().map(help).collect();
        let everybody = everybody.into_iter().map(|it| Help {
            aliases: match it.name {
                "quit" => &["exit", "q", "bye"],
                "msg" => &["dm", "tell", "whisper"],
                _ => &[],
            },
            ..it
        });
        let everybody: Vec<Help> = everybody.collect();
        for (typed, person, operator) in [
            ("hlep", Some("help"), Some("help")),
            ("hekp", Some("help"), Some("help")),
            ("HLEP", Some("help"), Some("help")),
            ("ｈｌｅｐ", Some("help"), Some("help")),
            ("wo", Some("who"), Some("who")),
            ("anounce", None, Some("announce")),
            ("unignroe", Some("unignore"), Some("unignore")),
            ("ignnroe", Some("ignore"), Some("ignore")),
            // A prefix of a name.
            ("qui", Some("quit"), Some("quit")),
            ("k", None, Some("kick")),
            ("mut", None, Some("mute")),
            ("o", None, Some("op")),
            // Typing errors for the one command that cannot be undone, and words that are not.
            ("quti", Some("quit"), Some("quit")),
            ("quitt", Some("quit"), Some("quit")),
            ("qit", Some("quit"), Some("quit")),
            ("silence", None, Some("mute")),
            ("SILENCE", None, Some("mute")),
            ("ｓｉｌｅｎｃｅ", None, Some("mute")),
            ("quite", None, None),
            ("quote", None, None),
            ("suit", None, None),
            ("quilt", None, None),
            ("quid", None, None),
            // Commands of operators, and words close to them, are suggested to operators only.
            ("kcik", None, Some("kick")),
            ("bann", None, Some("ban")),
            ("umnute", None, Some("unmute")),
            ("unkick", None, None),
            // The names that other chats use.
            ("leave", Some("quit"), Some("quit")),
            ("query", Some("msg"), Some("msg")),
            ("kill", None, Some("kick")),
            // Aliases, and words that are like a short one or one of /quit.
            ("tel", Some("tell"), Some("tell")),
            ("whsiper", Some("whisper"), Some("whisper")),
            ("exti", Some("exit"), Some("exit")),
            ("edit", None, None),
            ("dn", None, None),
            // A name comes before an alias.
            ("whi", Some("whisper"), Some("whisper")),
            ("w", Some("who"), Some("who")),
            ("", None, None),
            ("xyzzy", None, None),
            ("helphelphelphelphelp", None, None),
        ] {
            let mut scratch = String::new();
            let typed = text::clean(typed.as_bytes(), &mut scratch);
            assert_eq!(nearest(typed, everybody.iter()), person, "{typed:?}");
            let all = everybody.iter().chain(&operators);
            assert_eq!(nearest(typed, all), operator, "{typed:?}");
        }
    }

    #[test]
    fn a_time_stands_before_a_reason_and_both_may_be_missing() {
        const MINUTE: u64 = 60;
        for (text, parsed) in [
            ("", Some((None, ""))),
            ("5", Some((Some(5 * MINUTE), ""))),
            ("5m", Some((Some(5 * MINUTE), ""))),
            ("2H so rude", Some((Some(120 * MINUTE), "so rude"))),
            ("1d", Some((Some(24 * 60 * MINUTE), ""))),
            ("366d", Some((Some(366 * 24 * 60 * MINUTE), ""))),
            ("so rude", Some((None, "so rude"))),
            ("-1", Some((None, "-1"))),
            ("0", None),
            ("5x", None),
            ("367d", None),
            ("99999999999999999999d", None),
            ("5m30s", None),
        ] {
            let mut scratch = String::new();
            let found = time_and_reason(text::clean(text.as_bytes(), &mut scratch));
            let found = found.map(|(time, why)| (time.map(|it| it.as_secs()), why.as_str()));
            assert_eq!(found, parsed, "{text:?}");
        }
    }
}
