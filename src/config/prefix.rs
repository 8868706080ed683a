//! The text before a line: a template such as `{nick}: `, parsed once at the start. A template that
//! could break a line, act on a terminal or pass for a notice is refused, and so is a template that
//! does not show where a nick begins or ends. So nothing is left to check when a line is formatted.

use std::fmt;
use std::str::FromStr;

use crate::text;
use crate::text::alike::is_invisible;
use crate::text::shape::is_star;

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

    /// Whether lines look like actions as they are shown at a prompt: `** bob waves`.
    pub(crate) fn is_like_action(&self) -> bool {
        stars(&self.before) == 2
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
        let mut pieces = template.split(PLACE).map(Box::from);
        let before: Box<str> = pieces.next().unwrap_or_default();
        let after_each: Box<[Box<str>]> = pieces.collect();
        if stars(&before) == 1 {
            return Err(PrefixError::Notice);
        }
        if after_each.is_empty() {
            return Err(PrefixError::NoNick);
        }
        if before.starts_with(char::is_whitespace) {
            return Err(PrefixError::Blank);
        }
        // No nick contains one of these characters, so the first of them shows where the nick ends.
        let ends = |c: char| c == ':' || c.is_whitespace();
        if !after_each.iter().any(|after| after.contains(ends)) {
            return Err(PrefixError::NoEnd);
        }
        Ok(Self { before, after_each })
    }
}

/// The number of stars of any shape with which a text begins. Blanks and invisible characters before or
/// between them are ignored. 0 if no blank follows.
fn stars(before: &str) -> usize {
    let shown = before.chars().filter(|&c| !is_invisible(c));
    let mut shown = shown.skip_while(|c| c.is_whitespace());
    let mut stars = 0_usize;
    let next = shown.find(|&c| {
        stars = stars.saturating_add(usize::from(is_star(c)));
        !is_star(c)
    });
    match next {
        Some(c) if c.is_whitespace() => stars,
        _ => 0,
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
    /// The template begins with a star of any shape and a blank, as notices of the server do.
    Notice,
    /// The template begins with white space.
    Blank,
    /// Nothing in the template shows where a nick ends and the text begins: neither white space nor a
    /// `:` follows `{nick}`.
    NoEnd,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNick => "the prefix has no {nick} in it: write for example '{nick}: '",
            Self::Unsafe => "the prefix has a control character in it: take it out",
            Self::Notice => {
                "the prefix begins with \"* \" as the server's own notices do: begin it otherwise"
            }
            Self::Blank => "the prefix begins with white space: begin it with {nick} or a sign",
            Self::NoEnd => {
                "the prefix does not show where the nick ends: write a blank or \":\" behind {nick}"
            }
        })
    }
}

impl std::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        assert_eq!(written("{nick} "), "bob ");
        assert_eq!(written("{nick}:"), "bob:");
        assert_eq!(written("{nick}\t"), "bob\t");
        assert_eq!(written("{nick}|{nick}> "), "bob|bob> ");
        assert_eq!(written("#{nick}: {nick}"), "#bob: bob");
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
    }

    #[test]
    fn a_template_that_looks_like_a_notice_is_refused() {
        for template in [
            "* {nick}: ",
            "* {nick} ",
            "*\t{nick} ",
            "\t* {nick}: ",
            " \t * {nick} ",
            "∗ {nick}: ",
            "\u{200b}* {nick}: ",
            "*\u{200b} {nick}: ",
            "＊\u{3000}{nick}: ",
            "* x",
        ] {
            assert_eq!(
                template.parse::<Prefix>(),
                Err(PrefixError::Notice),
                "{template:?}"
            );
        }
        for template in ["*{nick}* ", "*** {nick} ", "*:* {nick} "] {
            let prefix: Prefix = template.parse().expect("a valid template");
            assert!(!prefix.is_like_action(), "{template:?}");
        }
        for template in ["** {nick} ", "*∗ {nick} ", "**\u{200b}\t{nick} "] {
            let prefix: Prefix = template.parse().expect("a valid template");
            assert!(prefix.is_like_action(), "{template:?}");
        }
        for template in [
            "\t{nick}: ",
            " {nick}: ",
            "\u{3000}{nick}: ",
            "\t\t<{nick}> ",
        ] {
            assert_eq!(
                template.parse::<Prefix>(),
                Err(PrefixError::Blank),
                "{template:?}"
            );
        }
    }

    #[test]
    fn a_template_that_does_not_end_the_nick_is_refused() {
        for template in [
            "{nick}",
            "<{nick}>",
            "{nick}{nick}",
            "{nick}|{nick}",
            ": {nick}",
            "{nick}\u{200b}",
        ] {
            assert_eq!(
                template.parse::<Prefix>(),
                Err(PrefixError::NoEnd),
                "{template:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// No member can say a line that looks like another member's.
        #[test]
        fn two_nicks_never_make_the_same_line(
            template in "[<ab:| ]{0,2}[{]nick[}]([>ab:| ]{0,2}[{]nick[}])?[>ab:| ]{0,2}",
            nicks in ("[ab>|<]{1,5}", "[ab>|<]{1,5}"),
            texts in ("[ab>|<: ]{1,6}", "[ab>|<: ]{1,6}"),
        ) {
            prop_assume!(nicks.0 != nicks.1);
            if let Ok(prefix) = template.parse::<Prefix>() {
                let line = |nick: &str, text: &str| {
                    let mut line = Vec::new();
                    prefix.write(nick, &mut line);
                    line.extend_from_slice(text.as_bytes());
                    String::from_utf8(line)
                };
                prop_assert_ne!(line(&nicks.0, &texts.0), line(&nicks.1, &texts.1));
            }
        }
    }
}
