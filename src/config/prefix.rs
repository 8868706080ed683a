//! What stands before the text of a line: a template such as `{nick}: `, parsed once at start.
//! A template that could break a line, act on a terminal or pass for a notice is refused there, so
//! that formatting a line has nothing left to check.

use std::fmt;
use std::str::FromStr;

use crate::text;

const PLACE: &str = "{nick}";

/// A parsed template: at least one place for the nick, and the text around it. The default is
/// `{nick}: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// What stands before the first nick.
    before: Box<str>,
    /// What stands after each nick; never empty.
    after_each: Box<[Box<str>]>,
}

impl Prefix {
    /// Appends the prefix of a line of `nick` to `line`.
    pub(crate) fn write(&self, nick: &str, line: &mut Vec<u8>) {
        line.extend_from_slice(self.before.as_bytes());
        for after in &self.after_each {
            line.extend_from_slice(nick.as_bytes());
            line.extend_from_slice(after.as_bytes());
        }
    }

    /// The length in bytes of the longest prefix, given the longest nick.
    pub(crate) fn max_bytes(&self, max_nick_bytes: usize) -> usize {
        let literal = self
            .after_each
            .iter()
            .fold(self.before.len(), |sum, after| sum + after.len());
        max_nick_bytes
            .saturating_mul(self.after_each.len())
            .saturating_add(literal)
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self {
            before: "".into(),
            after_each: [": ".into()].into(),
        }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(template: &str) -> Result<Self, PrefixError> {
        if text::clean(template.as_bytes(), &mut String::new()).as_str() != template {
            return Err(PrefixError::Unsafe);
        }
        if template.starts_with("* ") {
            return Err(PrefixError::Notice);
        }
        let mut pieces = template.split(PLACE).map(Box::from);
        let before = pieces.next().unwrap_or_default();
        let after_each: Box<[_]> = pieces.collect();
        if after_each.is_empty() {
            return Err(PrefixError::NoNick);
        }
        Ok(Self { before, after_each })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        self.after_each
            .iter()
            .try_for_each(|after| write!(f, "{PLACE}{after}"))
    }
}

/// Why a template cannot stand before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefixError {
    /// There is no `{nick}` in it.
    NoNick,
    /// It holds a line end or another control character.
    Unsafe,
    /// It begins with `* `, as only the server's notices may.
    Notice,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNick => "the prefix has no {nick} in it: write for example '{nick}: '",
            Self::Unsafe => "the prefix has a control character in it: take it out",
            Self::Notice => {
                "the prefix begins with \"* \" as the server's own notices do: begin it otherwise"
            }
        })
    }
}

impl std::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn written(template: &str) -> String {
        let mut line = Vec::new();
        let prefix: Prefix = template.parse().expect("a valid template");
        prefix.write("bob", &mut line);
        assert_eq!(prefix.max_bytes(3), line.len());
        assert_eq!(prefix.to_string(), template);
        String::from_utf8(line).expect("a template and a nick are UTF-8")
    }

    #[test]
    fn the_nick_stands_wherever_the_template_says() {
        assert_eq!(written("{nick}: "), "bob: ");
        assert_eq!(written("[{nick}]: "), "[bob]: ");
        assert_eq!(written("{nick}"), "bob");
        assert_eq!(written("{nick}|{nick}> "), "bob|bob> ");
        assert_eq!(written("*{nick}* "), "*bob* ");
        assert_eq!("{nick}: ".parse(), Ok(Prefix::default()));
    }

    #[test]
    fn a_template_that_cannot_serve_is_refused() {
        let parse = |template: &str| template.parse::<Prefix>();
        assert_eq!(parse(""), Err(PrefixError::NoNick));
        assert_eq!(parse("nick: "), Err(PrefixError::NoNick));
        assert_eq!(parse("{nick}\n"), Err(PrefixError::Unsafe));
        assert_eq!(parse("\u{1b}[1m{nick}"), Err(PrefixError::Unsafe));
        assert_eq!(parse("* {nick}: "), Err(PrefixError::Notice));
    }
}
