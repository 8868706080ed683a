//! The text before a line: a template such as `{nick}: `, parsed once at the start. A template that
//! could break a line, act on a terminal or pass for a notice is refused, so nothing is left to check
//! when a line is formatted.

use std::fmt;
use std::str::FromStr;

use crate::text;

const PLACE: &str = "{nick}";

/// A parsed template: at least one place for the nick, and the text around it. The default is
/// `{nick}: `.
///
/// ```
/// use line_chat::{Prefix, PrefixError};
///
/// assert_eq!("<{nick}> ".parse::<Prefix>()?.to_string(), "<{nick}> ");
/// assert_eq!("* {nick}: ".parse::<Prefix>(), Err(PrefixError::Notice));
/// # Ok::<(), PrefixError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// The text before the first nick.
    before: Box<str>,
    /// The text after each nick; never empty.
    after_each: Box<[Box<str>]>,
}

impl Prefix {
    /// Appends the prefix of a line that `nick` says to `line`.
    pub(crate) fn write(&self, nick: &str, line: &mut Vec<u8>) {
        line.extend_from_slice(self.before.as_bytes());
        for after in &self.after_each {
            line.extend_from_slice(nick.as_bytes());
            line.extend_from_slice(after.as_bytes());
        }
    }

    /// The length in bytes of the longest prefix, for nicks of at most `max_nick_bytes`.
    pub(crate) fn max_bytes(&self, max_nick_bytes: usize) -> usize {
        let literal = self
            .after_each
            .iter()
            .fold(self.before.len(), |sum, after| {
                sum.saturating_add(after.len())
            });
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
    /// The template has no `{nick}` in it.
    NoNick,
    /// The template holds a line end or another control character.
    Unsafe,
    /// The template begins with `* `, which marks notices of the server.
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
