//! Where messages go: a [`Subject`] names one place, a [`Filter`] may name many. Both are parsed once, so
//! nothing that is encoded with them can break a frame.
//!
//! They are tokens with dots between them. A token is not empty, and holds neither white space nor a control
//! character. `*` stands for any token, and `>` for all that follow; here they are nothing else, although
//! NATS takes `a*` for a token like others.

use std::fmt;
use std::str::FromStr;

/// The longest subject, in bytes: two of them, and numbers, have room in the 4096 bytes of a control line.
pub const MAX_SUBJECT_BYTES: usize = 1024;

/// A subject without wildcards, to publish to.
///
/// ```
/// use line_chat::protocol::nats::{Filter, Subject};
///
/// let subject: Subject = "lc.lobby.in".parse()?;
/// assert_eq!(Filter::from(subject), "lc.lobby.in".parse()?);
/// assert!("lc.*.in".parse::<Filter>().is_ok());
/// assert!("lc.*.in".parse::<Subject>().is_err());
/// # Ok::<(), line_chat::protocol::nats::subject::SubjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(Box<str>);

/// A subject that may have wildcards, to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter(Box<str>);

impl Subject {
    /// Makes a subject of a text that is known to be one.
    pub(super) fn known(text: String) -> Self {
        debug_assert_eq!(check(&text, false), Ok(()), "{text}");
        Self(text.into())
    }

    /// Returns the subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses the subject of a message, as where an answer is wanted.
    ///
    /// # Errors
    /// It is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SubjectError> {
        std::str::from_utf8(bytes)
            .map_err(|_| SubjectError::Character)?
            .parse()
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        check(text, false).map(|()| Self(text.into()))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Filter {
    /// Makes a filter of a text that is known to be one.
    pub(super) fn known(text: String) -> Self {
        debug_assert_eq!(check(&text, true), Ok(()), "{text}");
        Self(text.into())
    }

    /// Returns the filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Filter {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        check(text, true).map(|()| Self(text.into()))
    }
}

impl From<Subject> for Filter {
    fn from(subject: Subject) -> Self {
        Self(subject.0)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str, may_have_wildcards: bool) -> Result<(), SubjectError> {
    if text.len() > MAX_SUBJECT_BYTES {
        return Err(SubjectError::TooLong);
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(SubjectError::Character);
    }
    let mut tokens = text.split('.').peekable();
    while let Some(token) = tokens.next() {
        let is_last = tokens.peek().is_none();
        match token {
            "" => return Err(SubjectError::EmptyToken),
            "*" if may_have_wildcards => {}
            ">" if may_have_wildcards && is_last => {}
            _ if token.contains(['*', '>']) => return Err(SubjectError::Wildcard),
            _ => {}
        }
    }
    Ok(())
}

/// Why a text is no subject, or no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubjectError {
    /// A token is empty.
    EmptyToken,
    /// It holds white space or a control character, or is not UTF-8.
    Character,
    /// It has a wildcard where none may be.
    Wildcard,
    /// It is longer than [`MAX_SUBJECT_BYTES`].
    TooLong,
}

impl fmt::Display for SubjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyToken => f.write_str("a token of the subject is empty"),
            Self::Character => f.write_str("the subject has a blank or a control character in it"),
            Self::Wildcard => f.write_str("the subject has a * or > where none may be"),
            Self::TooLong => write!(f, "the subject is longer than {MAX_SUBJECT_BYTES} bytes"),
        }
    }
}

impl std::error::Error for SubjectError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_break_a_frame_or_means_something_else_is_no_subject() {
        use SubjectError::*;
        let longest = "a".repeat(MAX_SUBJECT_BYTES);
        let long = format!("{longest}a");
        // Text, as a subject, as a filter.
        for (text, subject, filter) in [
            ("a", Ok(()), Ok(())),
            ("lc.lobby.in", Ok(()), Ok(())),
            ("$JS.API.STREAM.INFO.LC_a-b", Ok(()), Ok(())),
            ("_INBOX.é.1", Ok(()), Ok(())),
            (&longest, Ok(()), Ok(())),
            (&long, Err(TooLong), Err(TooLong)),
            ("", Err(EmptyToken), Err(EmptyToken)),
            (".", Err(EmptyToken), Err(EmptyToken)),
            (".a", Err(EmptyToken), Err(EmptyToken)),
            ("a.", Err(EmptyToken), Err(EmptyToken)),
            ("a..b", Err(EmptyToken), Err(EmptyToken)),
            ("a b", Err(Character), Err(Character)),
            ("a\tb", Err(Character), Err(Character)),
            ("a\r\nPING", Err(Character), Err(Character)),
            ("a\n", Err(Character), Err(Character)),
            ("a\0", Err(Character), Err(Character)),
            ("a\u{a0}", Err(Character), Err(Character)),
            ("*", Err(Wildcard), Ok(())),
            ("a.*.b.*", Err(Wildcard), Ok(())),
            (">", Err(Wildcard), Ok(())),
            ("a.*.>", Err(Wildcard), Ok(())),
            (">.a", Err(Wildcard), Err(Wildcard)),
            ("a*", Err(Wildcard), Err(Wildcard)),
            ("a.b>", Err(Wildcard), Err(Wildcard)),
        ] {
            let parsed = text.parse::<Subject>();
            assert_eq!(
                parsed.as_ref().map(|_| ()),
                subject.as_ref().map(|_| ()),
                "{text:?}"
            );
            assert_eq!(
                parsed.map(|it| it.to_string()),
                subject.map(|()| text.to_owned())
            );
            let parsed = text.parse::<Filter>();
            assert_eq!(
                parsed.map(|it| it.to_string()),
                filter.map(|()| text.to_owned())
            );
        }
        assert_eq!(Subject::from_bytes(b"a\xff"), Err(Character));
    }
}
