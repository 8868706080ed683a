//! A member's name: [`Nick::parse`] makes a nick of a line. A nick is safe to show, cannot be mistaken
//! for a notice, and has a [key](Nick::key) that it shares with all nicks that look alike. A line that
//! is not a nick is refused with the reason, in words for the person who typed it.

use std::fmt;

use memchr::memchr;
use unicode_normalization::UnicodeNormalization;

use crate::text;

/// A valid nick: 1 to `max` characters, none of them white space, `:` or unsafe, not beginning with
/// `*` or `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nick(
    /// The nick. If its key differs, the key follows behind a line feed, which no nick contains. It is
    /// kept because it is needed often and takes long to make.
    Box<str>,
);

impl Nick {
    /// Parses the first line of a client, without the white space around it, as a nick of at most
    /// `max_chars` code points.
    pub(crate) fn parse(line: &[u8], max_chars: usize) -> Result<Self, NickError> {
        let mut scratch = String::new();
        let text = text::clean(line, &mut scratch).as_str();
        let name = text.trim();
        if name.is_empty() {
            return Err(NickError::Empty);
        }
        if text.as_bytes() != line {
            return Err(NickError::Unsafe);
        }
        if name.starts_with(['*', '/']) {
            return Err(NickError::Reserved);
        }
        if name.contains(':') {
            return Err(NickError::Colon);
        }
        if name.contains(char::is_whitespace) {
            return Err(NickError::WhiteSpace);
        }
        if name.chars().count() > max_chars {
            return Err(NickError::TooLong { max_chars });
        }
        let key = key(name);
        if key.is_empty() {
            return Err(NickError::Invisible);
        }
        // Invisible characters may stand before a star or a slash.
        if key.starts_with(['*', '/']) {
            return Err(NickError::Reserved);
        }
        Ok(Self(if key == name {
            name.into()
        } else {
            [name, "\n", &key].concat().into()
        }))
    }

    pub(crate) fn as_str(&self) -> &str {
        let end = memchr(b'\n', self.0.as_bytes()).unwrap_or(self.0.len());
        self.0.get(..end).unwrap_or_default()
    }

    /// What makes a nick unique: its NFKC in lower case, without invisible characters. Two nicks with
    /// one key look the same, or nearly so. The key of a key is the key itself.
    pub(crate) fn key(&self) -> &str {
        let start = memchr(b'\n', self.0.as_bytes()).map_or(0, |end| end.saturating_add(1));
        self.0.get(start..).unwrap_or_default()
    }
}

/// A hash that stands for all names with one key. Another name has it with a chance of one in 2^64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameHash(pub(crate) u64);

/// The identity of a member: its name, on whatever connection, and its connection, under whatever name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: NameHash,
    /// The number of a connection, never used twice; 0 if only the name is known.
    pub(crate) serial: u64,
}

impl Identity {
    /// The identity of nobody.
    pub(crate) const NONE: Self = Self {
        name: NameHash(0),
        serial: 0,
    };

    /// Whether both are the same person, as far as that can be known.
    pub(crate) fn is(self, other: Self) -> bool {
        self.name == other.name || (self.serial != 0 && self.serial == other.serial)
    }
}

/// The key of a name, or of the beginning of one.
pub(crate) fn key(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Twice, because an invisible character may separate a letter from its accent, and lower case may
    // be two characters.
    fold(&fold(name))
}

impl fmt::Display for Nick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn fold(name: &str) -> String {
    let lower = name.nfkc().collect::<String>().to_lowercase();
    lower.chars().filter(|&c| !is_invisible(c)).collect()
}

/// Whether a character is invisible: Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt,
/// Unicode 17), the blank braille pattern, the marks of interlinear annotations, and the filler of
/// the Khitan script.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{16fe4}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Why a line is not a nick, or cannot be this client's. [`Display`](fmt::Display) is for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NickError {
    Empty,
    TooLong { max_chars: usize },
    WhiteSpace,
    Colon,
    Reserved,
    Unsafe,
    Invisible,
    Taken(Nick),
    Banned(Nick),
    LineTooLong { max_line_bytes: usize },
}

impl fmt::Display for NickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a nick needs at least one character"),
            Self::TooLong { max_chars } => write!(f, "a nick has at most {max_chars} characters"),
            Self::WhiteSpace => write!(f, "a nick has no white space inside"),
            Self::Colon => write!(f, "a nick has no \":\" in it"),
            Self::Reserved => write!(f, "a nick does not begin with \"*\" or \"/\""),
            Self::Unsafe => write!(f, "a nick has no control characters and is valid UTF-8"),
            Self::Invisible => write!(f, "a nick needs a character that shows"),
            Self::Taken(nick) => write!(f, "nick \"{nick}\" is taken"),
            Self::Banned(nick) => write!(f, "nick \"{nick}\" is banned from this room"),
            Self::LineTooLong { max_line_bytes } => {
                write!(
                    f,
                    "that line is longer than {max_line_bytes} bytes, which is no nick"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Nick, NickError> {
        Nick::parse(line.as_bytes(), 32)
    }

    #[track_caller]
    fn key(line: &str) -> String {
        let nick = parse(line).expect("a valid nick");
        assert_eq!(fold(&fold(nick.as_str())), nick.key());
        nick.key().to_owned()
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

    #[test]
    fn what_is_no_nick_is_refused_with_its_reason() {
        let long = "x".repeat(33);
        for (line, error) in [
            ("", NickError::Empty),
            (" \t ", NickError::Empty),
            (&*long, NickError::TooLong { max_chars: 32 }),
            ("two words", NickError::WhiteSpace),
            ("two\u{a0}words", NickError::WhiteSpace),
            ("tab\tbed", NickError::WhiteSpace),
            ("bob:", NickError::Colon),
            ("*bob", NickError::Reserved),
            (" /bob", NickError::Reserved),
            ("\u{200b}*bob", NickError::Reserved),
            ("\u{2800}\u{200b}**\u{2800}bob", NickError::Reserved),
            ("\u{ff0a}bob", NickError::Reserved),
            ("\u{1b}[31mbob", NickError::Unsafe),
            ("bob\u{202e}", NickError::Unsafe),
            ("\u{200b}", NickError::Invisible),
            ("\u{3164}", NickError::Invisible),
            ("\u{fe0f}\u{ad}", NickError::Invisible),
        ] {
            assert_eq!(parse(line), Err(error), "{line:?}");
        }
        assert_eq!(Nick::parse(b"b\xffb", 32), Err(NickError::Unsafe));
    }

    #[test]
    fn length_counts_code_points() {
        let name = "é".repeat(32);
        assert_eq!(parse(&name).expect("32 characters").as_str(), name);
        assert!(Nick::parse("ab".as_bytes(), 1).is_err());
    }

    #[test]
    fn look_alikes_share_a_key() {
        for (one, other) in [
            ("bob", "BOB"),
            ("bob", "b\u{ad}ob"),
            ("bob", "bo\u{200d}b\u{200b}"),
            ("bob", "ｂｏｂ"),
            ("bob", "bob\u{fe0f}"),
            ("é", "e\u{301}"),
            ("é", "e\u{200d}\u{301}"),
            ("file", "ﬁle"),
            ("ΟΔΟΣ", "οδος"),
            ("bob", "bob\u{3164}"),
            ("bob", "bob\u{fffb}"),
            ("bob", "b\u{16fe4}ob"),
        ] {
            assert_eq!(key(one), key(other), "{one:?} {other:?}");
        }
        assert_ne!(key("bob"), key("rob"));
        assert_ne!(key("bob"), key("bób"));
    }

    #[test]
    fn a_key_is_its_own_key() {
        for c in '\0'..=char::MAX {
            for name in [format!("e{c}\u{301}"), format!("a{c}b")] {
                let Ok(nick) = parse(&name) else { continue };
                assert_eq!(super::key(nick.key()), nick.key(), "{name:?}");
                assert!(!nick.key().contains(is_invisible), "{name:?}");
            }
        }
    }
}
