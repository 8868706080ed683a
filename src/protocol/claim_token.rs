//! A secret with which somebody who has lost the connection gets the name back: 128 random bits, shown as 32
//! hexadecimal digits. Comparing it takes as long for a wrong one as for the right one, and it is never
//! part of what is printed for debugging.

use std::fmt;

use subtle::ConstantTimeEq;

/// The length of the token as text, in characters.
const TEXT_BYTES: usize = 32;

/// What nobody types as part of a nick, and everybody who mistypes a token: so many digits at least.
const SHORTEST_ATTEMPT: usize = 20;

/// A token. There is no `PartialEq`, which would stop at the first difference.
#[derive(Clone, Copy)]
pub(crate) struct ClaimToken([u8; 16]);

/// What a line asks for that holds a name and a token.
#[derive(Debug)]
pub(crate) struct Attempt<'l> {
    pub(crate) name: &'l [u8],
    /// `None` if the token is malformed, so that it can only be wrong.
    pub(crate) token: Option<ClaimToken>,
}

impl ClaimToken {
    pub(crate) fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    fn parse(word: &[u8]) -> Option<Self> {
        let text = str::from_utf8(word).ok()?;
        let is_token = text.len() == TEXT_BYTES && text.bytes().all(|it| it.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_token)?;
        Some(Self(number.to_be_bytes()))
    }

    /// Whether both are the same. The time that it takes tells nothing of either.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimToken")
    }
}

impl<'l> Attempt<'l> {
    /// Parses a line that a person has typed instead of a nick. `None` if it is no name and token.
    pub(crate) fn parse(line: &'l [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let space = line.iter().rposition(u8::is_ascii_whitespace)?;
        let (name, word) = line.split_at_checked(space)?;
        let word = word.trim_ascii();
        let is_attempt = word.len() >= SHORTEST_ATTEMPT && word.iter().all(u8::is_ascii_hexdigit);
        is_attempt.then(|| Self {
            name: name.trim_ascii_end(),
            token: ClaimToken::parse(word),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00ff10203040506070809fa0b0c0d0e1";

    #[test]
    fn a_token_is_read_as_it_is_shown_and_is_not_shown_otherwise() {
        let bytes = *b"\x00\xff\x10\x20\x30\x40\x50\x60\x70\x80\x9f\xa0\xb0\xc0\xd0\xe1";
        let token = ClaimToken::new(bytes);
        assert_eq!(token.to_string(), TEXT);
        for text in [TEXT, &TEXT.to_uppercase()] {
            let read = ClaimToken::parse(text.as_bytes()).expect("a token");
            assert!(read.matches(&token));
        }
        for place in 0..16 {
            let mut other = bytes;
            other[place] ^= 1;
            assert!(!ClaimToken::new(other).matches(&token), "{place}");
        }
        assert!(!format!("{token:?}").contains("ff10"));
    }

    #[test]
    fn a_line_with_a_name_and_many_digits_is_an_attempt() {
        let long = format!("{TEXT}0");
        for (line, name, is_token) in [
            (format!("alice {TEXT}"), "alice", true),
            (format!("  alice \t {TEXT} "), "alice", true),
            (format!("Jean Luc {TEXT}"), "Jean Luc", true),
            (format!("alice {}", &TEXT[..31]), "alice", false),
            (format!("alice {}", &TEXT[..20]), "alice", false),
            (format!("alice {long}"), "alice", false),
        ] {
            let attempt = Attempt::parse(line.as_bytes()).expect("an attempt");
            assert_eq!(attempt.name, name.as_bytes(), "{line}");
            assert_eq!(attempt.token.is_some(), is_token, "{line}");
        }
        for line in [
            "alice".into(),
            String::from("max power"),
            TEXT.into(),
            format!(" {TEXT}"),
            format!("alice {}", &TEXT[..19]),
            format!("alice {}z", &TEXT[..31]),
            format!("alice {}\u{e9}", &TEXT[..30]),
        ] {
            assert!(Attempt::parse(line.as_bytes()).is_none(), "{line}");
        }
    }
}
