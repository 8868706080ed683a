//! A member's name: [`Nick::parse`] turns a line into a nick. A nick is safe to show and cannot be
//! mistaken for a notice. Its [key](Nick::key) is shared by all nicks that differ only in case, width or
//! the like; [`alike`](crate::text::alike) decides which names look alike. An invalid line is refused
//! with a reason, worded for the person who typed it.

use std::cmp::Ordering;
use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::text::alike::{is_invisible, is_short, key};
use crate::text::shape::{is_colon, is_slash, is_star};
use crate::text::{self, Isolated};

/// The maximum number of consecutive combining marks. The letters of all languages need no more.
const MAX_MARKS: usize = 3;

/// From so many words on, a line is no name whose words were not joined.
const MAX_JOINED: usize = 4;

/// A valid nick: 1 to `max` characters ([at most four times as many](is_short) when it is decomposed),
/// none of which is white space, unsafe, or a colon of any shape. The first one is visible, and neither
/// a star nor a slash of any shape.
///
/// [`Display`](fmt::Display) is for a terminal: a nick that is written from right to left is
/// [isolated](Isolated). `{:#}` writes it bare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nick(
    /// Its key. If the nick differs, it follows behind a line feed, which no nick contains. The key is
    /// kept because it is needed often and takes long to make, and comes first because it is compared most.
    Box<str>,
);

impl Nick {
    /// Parses the first line of a client, without surrounding white space, as a nick of at most
    /// `max_chars` code points. Characters that are dropped from text are dropped from a nick as well.
    pub(crate) fn parse(line: &[u8], max_chars: usize) -> Result<Self, NickError> {
        let mut scratch = String::new();
        let text = text::clean(line, &mut scratch).as_str();
        let name = text.trim();
        if name.is_empty() {
            return Err(NickError::Empty);
        }
        let is_ascii = text.is_ascii();
        if !is_ascii && text.contains(char::REPLACEMENT_CHARACTER) {
            return Err(NickError::Unsafe);
        }
        if name.starts_with(['*', '/']) {
            return Err(NickError::Reserved);
        }
        if name.contains(':') {
            return Err(NickError::Colon);
        }
        if name.contains(char::is_whitespace) {
            let words: Vec<&str> = name.split_whitespace().take(MAX_JOINED).collect();
            let joined = Self::parse(words.join("_").as_bytes(), max_chars);
            let joined = joined.ok().filter(|_| words.len() < MAX_JOINED);
            return Err(NickError::WhiteSpace { joined });
        }
        // A key takes long to make, and may be many times as long as its name.
        if !is_short(name, max_chars) {
            return Err(NickError::TooLong { max_chars });
        }
        let key = key(name);
        if !is_ascii {
            check_shape(name, &key)?;
        }
        Ok(Self(if key == name {
            name.into()
        } else {
            [&key, "\n", name].concat().into()
        }))
    }

    /// This nick with a digit behind it. `None` if that is too long.
    pub(crate) fn with_digit(&self, digit: u8, max_chars: usize) -> Option<Self> {
        let (name, key) = self.with_key();
        let longer = format!("{name}{digit}");
        if !is_short(&longer, max_chars) {
            return None;
        }
        Some(Self(match key == name {
            true => longer.into(),
            // A digit joins with nothing before it, so the key needs not to be made.
            false => format!("{key}{digit}\n{longer}").into(),
        }))
    }

    /// The nick and its key.
    #[inline]
    pub(crate) fn with_key(&self) -> (&str, &str) {
        let whole = &*self.0;
        let Some(end) = self.end() else {
            return (whole, whole);
        };
        let name = whole.get(end.saturating_add(1)..);
        (
            name.unwrap_or_default(),
            whole.get(..end).unwrap_or_default(),
        )
    }

    #[inline]
    pub(crate) fn as_str(&self) -> &str {
        self.with_key().0
    }

    /// Returns the key that makes a nick unique. The key of a key is that key.
    #[inline]
    pub(crate) fn key(&self) -> &str {
        self.with_key().1
    }

    /// Compares the key of this nick with another key, in the order of their bytes.
    #[inline]
    pub(crate) fn cmp_key(&self, key: &str) -> Ordering {
        let (whole, key) = (self.0.as_bytes(), key.as_bytes());
        let (beginning, rest) = whole.split_at(key.len().min(whole.len()));
        // The line feed behind a key comes before any character of one.
        beginning.cmp(key).then(match rest {
            [] | [b'\n', ..] => Ordering::Equal,
            _ => Ordering::Greater,
        })
    }

    /// The index at which the key ends and the nick follows. Most nicks are so short that a loop finds
    /// it sooner than a search made for long texts.
    #[inline]
    fn end(&self) -> Option<usize> {
        self.0.bytes().position(|byte| byte == b'\n')
    }

    /// Whether the nick is spelled like another one, except for the case of ASCII letters.
    fn is_spelled(&self, other: &str) -> bool {
        self.as_str().eq_ignore_ascii_case(other)
    }
}

/// Refuses a non-ASCII name that can be mistaken for something else.
fn check_shape(name: &str, key: &str) -> Result<(), NickError> {
    let Some(first) = key.chars().next() else {
        return Err(NickError::Invisible);
    };
    // Invisible characters may precede a star or a slash.
    let first_shown = name.chars().find(|&c| !is_invisible(c));
    let is_reserved = |c| is_star(c) || is_slash(c);
    if is_reserved(first) || first_shown.is_some_and(is_reserved) {
        return Err(NickError::Reserved);
    }
    if key.contains(':') || name.contains(is_colon) {
        return Err(NickError::Colon);
    }
    if name.starts_with(|c| is_invisible(c) || is_combining_mark(c)) || is_combining_mark(first) {
        return Err(NickError::Beginning);
    }
    if longest_run_of_marks(name) > MAX_MARKS {
        return Err(NickError::Marks);
    }
    Ok(())
}

fn longest_run_of_marks(name: &str) -> usize {
    let (mut longest, mut run) = (0_usize, 0_usize);
    for c in name.nfd().filter(|&c| !is_invisible(c)) {
        run = if is_combining_mark(c) {
            run.saturating_add(1)
        } else {
            0
        };
        longest = longest.max(run);
    }
    longest
}

impl fmt::Display for Nick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.as_str();
        if name.is_ascii() || f.alternate() {
            return f.write_str(name);
        }
        Isolated(name).fmt(f)
    }
}

/// Why a line is not a nick, or cannot be this client's nick. [`Display`](fmt::Display) is for a
/// person at a terminal; `{:#}` is for scripts, in words of their own, and writes nicks bare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NickError {
    Empty,
    TooLong {
        max_chars: usize,
    },
    WhiteSpace {
        /// The words of the line as one nick, if that can be one.
        joined: Option<Nick>,
    },
    Colon,
    Reserved,
    Unsafe,
    Invisible,
    Beginning,
    Marks,
    /// It is, or looks like, the nick of a member.
    Taken {
        nick: Nick,
        owner: Nick,
        /// One that begins with it and could be had.
        free: Option<Nick>,
    },
    /// It is, or looks like, a nick that is banned.
    Banned {
        nick: Nick,
        banned: Nick,
    },
    /// It is, or looks like, a word with which notices of the server begin.
    NoticeWord {
        nick: Nick,
        word: &'static str,
    },
    LineTooLong {
        max_line_bytes: usize,
    },
    /// A token came with it with which nobody can come back, or not any more.
    WrongToken,
    /// The engine that several servers share has no room for more nicks.
    TooMany,
    /// That engine has not said in time whether it can be had.
    NoAnswer,
}

impl fmt::Display for NickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a nick needs at least one character"),
            Self::TooLong { max_chars } => write!(f, "a nick has at most {max_chars} characters"),
            Self::WhiteSpace { .. } if f.alternate() => {
                write!(f, "a nick has no white space inside")
            }
            Self::WhiteSpace { .. } => write!(f, "a nick is one word"),
            Self::Colon => write!(f, "a nick has no \":\" in it"),
            Self::Reserved => write!(f, "a nick does not begin with \"*\" or \"/\""),
            Self::Unsafe if f.alternate() => {
                write!(f, "a nick has no control characters and is valid UTF-8")
            }
            Self::Unsafe => write!(
                f,
                "that line holds a key that is no letter (an arrow, ^D), or your client does not \
                 send UTF-8"
            ),
            Self::Invisible => write!(f, "a nick needs a character that shows"),
            Self::Beginning => {
                write!(
                    f,
                    "a nick begins with a letter, a digit or a symbol that shows"
                )
            }
            Self::Marks => write!(f, "a nick has at most {MAX_MARKS} accents in a row"),
            Self::Taken { nick, owner, .. } => refuse(f, nick, owner.as_str(), "taken"),
            Self::Banned { nick, banned } => {
                refuse(f, nick, banned.as_str(), "banned from this room")
            }
            Self::NoticeWord { nick, word } => refuse(f, nick, word, "reserved"),
            Self::WrongToken => write!(f, "that token is wrong, used up or too old"),
            Self::TooMany => write!(f, "there are as many nicks as there can be"),
            Self::NoAnswer => write!(f, "the servers cannot agree on nicks now"),
            Self::LineTooLong { max_line_bytes } => {
                write!(
                    f,
                    "that line is longer than {max_line_bytes} bytes, which is no nick"
                )
            }
        }
    }
}

impl NickError {
    /// What a person could type instead, as it is written behind the reason.
    pub(crate) fn advice(&self) -> Option<String> {
        match self {
            Self::WhiteSpace { joined } => Some(format!(": try {}", joined.as_ref()?)),
            Self::Taken { free, .. } => Some(format!("; {} is free", free.as_ref()?)),
            Self::Unsafe => Some(": type the nick again".to_owned()),
            Self::WrongToken => Some(": type another nick".to_owned()),
            Self::TooMany | Self::NoAnswer => Some(": try again later".to_owned()),
            _ => None,
        }
    }
}

/// Writes what is wrong with a nick and, if the other name is spelled differently, which one it looks
/// like.
fn refuse(f: &mut fmt::Formatter<'_>, nick: &Nick, like: &str, what: &str) -> fmt::Result {
    f.write_str("nick \"")?;
    fmt::Display::fmt(nick, f)?;
    if !nick.is_spelled(like) {
        f.write_str("\" looks like \"")?;
        match f.alternate() {
            true => f.write_str(like)?,
            false => fmt::Display::fmt(&Isolated(like), f)?,
        }
        return write!(f, "\", which is {what}");
    }
    write!(f, "\" is {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Nick, NickError> {
        Nick::parse(line.as_bytes(), 32)
    }

    #[test]
    fn a_nick_is_trimmed_and_kept_as_typed() {
        for (line, nick) in [
            ("bob", "bob"),
            (" \tBob\u{3000}", "Bob"),
            ("Zoë-☃", "Zoë-☃"),
            ("a*/", "a*/"),
        ] {
            assert_eq!(parse(line).expect("a valid nick").as_str(), nick);
        }
    }

    fn white_space(joined: Option<&str>) -> NickError {
        let joined = joined.map(|it| parse(it).expect("a valid nick"));
        NickError::WhiteSpace { joined }
    }

    #[test]
    fn keys_are_compared_without_being_looked_for() {
        let nicks = [
            "a",
            "ab",
            "B",
            "b",
            "Bo",
            "bob",
            "Bob",
            "bob2",
            "BOBBY",
            "Zo\u{eb}",
            "\u{ff42}ob",
        ];
        let nicks = nicks.map(|nick| parse(nick).expect("a valid nick"));
        for one in &nicks {
            for other in &nicks {
                let expected = one.key().cmp(other.key());
                assert_eq!(one.cmp_key(other.key()), expected, "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_digit_behind_a_nick_makes_another_one() {
        for (nick, longer) in [
            ("bob", "bob2"),
            ("Zo\u{eb}", "Zo\u{eb}2"),
            ("\u{ff42}ob", "\u{ff42}ob2"),
        ] {
            let made = parse(nick).expect("a nick").with_digit(2, 32);
            assert_eq!(made, parse(longer).ok(), "{nick}");
        }
        assert_eq!(parse("abc").expect("a nick").with_digit(2, 3), None);
    }

    #[test]
    fn what_is_no_nick_is_refused_with_its_reason() {
        let long = "x".repeat(33);
        for (line, error) in [
            ("", NickError::Empty),
            (" \t ", NickError::Empty),
            (&*long, NickError::TooLong { max_chars: 32 }),
            ("two words", white_space(Some("two_words"))),
            ("two\u{a0}words", white_space(Some("two_words"))),
            ("tab\tbed", white_space(Some("tab_bed"))),
            ("one two three", white_space(Some("one_two_three"))),
            ("I want to talk", white_space(None)),
            (
                &*format!("{} {}", "x".repeat(16), "y".repeat(16)),
                white_space(None),
            ),
            ("\u{1b}[31mbob", NickError::Unsafe),
            ("bob\u{202e}", NickError::Unsafe),
            // Typed, or the replacement for a byte that is not UTF-8.
            ("b\u{fffd}b", NickError::Unsafe),
            ("bob\u{fffd}", NickError::Unsafe),
            ("\u{200b}", NickError::Invisible),
            ("\u{3164}", NickError::Invisible),
            ("\u{fe0f}\u{ad}", NickError::Invisible),
        ] {
            assert_eq!(parse(line), Err(error), "{line:?}");
        }
        assert_eq!(Nick::parse(b"b\xffb", 32), Err(NickError::Unsafe));
    }

    #[test]
    fn what_is_left_out_of_text_is_left_out_of_a_nick() {
        for c in ['\u{200e}', '\u{200f}', '\u{61c}', '\u{feff}', '\u{e0061}'] {
            for (line, is_star) in [(format!("b{c}ob"), false), (format!("{c}*bob"), true)] {
                let mut scratch = String::new();
                let text = text::clean(line.as_bytes(), &mut scratch).as_str();
                let expected = match text.contains('\u{fffd}') {
                    true => Err(NickError::Unsafe),
                    false if is_star => Err(NickError::Reserved),
                    false => parse("bob"),
                };
                assert_eq!(parse(&line), expected, "{line:?}");
            }
        }
    }

    #[test]
    fn a_nick_begins_with_no_star_and_no_slash_of_any_shape() {
        for line in [
            "*bob",
            " /bob",
            "\u{200b}*bob",
            "\u{2800}\u{200b}**\u{2800}bob",
            "\u{ff0a}bob",
            "∗x",
            "⁎x",
            "﹡x",
            "٭x",
            "✱x",
            "★x",
            "⭐x",
            "\u{ad}∗x",
            "／x",
            "⁄x",
            "∕x",
            "⧸x",
            "╱x",
        ] {
            assert_eq!(parse(line), Err(NickError::Reserved), "{line:?}");
        }
        for line in [
            "x*", "b∗b", "☃★", "a/b", "ノア", "丿", "_bob_", "[bot]", "-", "(^_^)", "🦀", "#1",
            "+1",
        ] {
            assert!(parse(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn a_nick_has_no_colon_of_any_shape() {
        for line in [
            "bob:",
            "alice：",
            "alice﹕",
            "alice︓",
            "alice∶",
            "alice꞉x",
            "a⩴b",
            "aliceː",
        ] {
            assert_eq!(parse(line), Err(NickError::Colon), "{line:?}");
        }
        for line in ["दुःख", "bob;", "alice…", "a⋮"] {
            assert!(parse(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn a_nick_begins_with_what_shows() {
        for line in [
            "\u{301}bob",
            "\u{20dd}x",
            "\u{903}x",
            "\u{ff9e}x",
            "\u{200b}bob",
            "\u{2800}bob",
            "\u{fe0f}x",
        ] {
            assert_eq!(parse(line), Err(NickError::Beginning), "{line:?}");
        }
        for line in [
            "é",
            "e\u{301}",
            "1",
            "①",
            "~bob",
            "b\u{200d}ob",
            "❤\u{fe0f}",
            "เ",
            "¨x",
        ] {
            assert!(parse(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn a_nick_has_three_marks_in_a_row_at_most() {
        for line in [
            "x\u{301}\u{301}\u{301}\u{301}",
            "é\u{301}\u{301}\u{301}",
            "x\u{301}\u{301}\u{200b}\u{34f}\u{301}\u{301}",
            "bob\u{20dd}\u{300}\u{e34}\u{5b7}",
            "\u{1f82}\u{301}",
        ] {
            assert_eq!(parse(line), Err(NickError::Marks), "{line:?}");
        }
        for line in [
            "x\u{301}\u{301}\u{301}",
            "x\u{301}\u{301}\u{301}y\u{301}\u{301}\u{301}",
            "\u{1f82}",
            "ที่รัก",
            "1\u{fe0f}\u{20e3}",
            "Nguyễn",
        ] {
            assert!(parse(line).is_ok(), "{line:?}");
        }
    }

    #[test]
    fn length_counts_code_points() {
        let name = "é".repeat(32);
        assert_eq!(parse(&name).expect("32 characters").as_str(), name);
        assert!(Nick::parse("ab".as_bytes(), 1).is_err());
        // One character that decomposes into eighteen.
        assert!(parse("\u{fdfa}").is_ok());
        let long = "\u{fdfa}".repeat(8);
        assert_eq!(parse(&long), Err(NickError::TooLong { max_chars: 32 }));
    }

    #[test]
    fn a_refusal_says_whom_a_nick_looks_like_unless_it_is_the_same() {
        let taken = |nick, owner| {
            let [nick, owner] = [nick, owner].map(|it| parse(it).expect("a valid nick"));
            NickError::Taken {
                nick,
                owner,
                free: None,
            }
            .to_string()
        };
        assert_eq!(taken("Bob", "bob"), "nick \"Bob\" is taken");
        assert_eq!(
            taken("ｂｏｂ", "bob"),
            "nick \"ｂｏｂ\" looks like \"bob\", which is taken"
        );
        assert_eq!(
            taken("Zoe", "Zoë"),
            "nick \"Zoe\" looks like \"Zoë\", which is taken"
        );
        let word = NickError::NoticeWord {
            nick: parse("Server").expect("a nick"),
            word: "server",
        };
        assert_eq!(word.to_string(), "nick \"Server\" is reserved");
    }

    #[test]
    fn a_nick_from_right_to_left_is_isolated_on_a_terminal() {
        for (name, is_isolated) in [
            ("שלום", true),
            ("مريم", true),
            ("bob٣", true),
            ("bob", false),
            ("Zoë", false),
            ("漢字", false),
        ] {
            let nick = parse(name).expect("a valid nick");
            let shown = if is_isolated {
                format!("\u{2068}{name}\u{2069}")
            } else {
                name.to_owned()
            };
            assert_eq!(
                (nick.to_string(), format!("{nick:#}")),
                (shown, name.to_owned())
            );
        }
    }
}
