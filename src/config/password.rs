//! A secret that a client has to know. A [`Password`] is never shown, and comparing it takes as long
//! for a wrong attempt as for the right one.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use crate::text;

/// The longest password, in bytes.
const MAX_PASSWORD_BYTES: usize = 256;

/// A password of 1 to 256 bytes, without control characters and without white space around it.
///
/// ```
/// let mut config = line_chat::Config::default();
/// config.interactive.password = Some("open sesame".parse()?);
/// assert!(!format!("{config:?}").contains("sesame"));
/// # Ok::<(), line_chat::PasswordError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<[u8]>);

/// Why a text is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordError {
    /// The text is empty, or the first line of the file is.
    Empty,
    /// The password is longer than 256 bytes.
    TooLong,
    /// The password holds a control character or is not UTF-8, so nobody could type it.
    Unsafe,
}

impl Password {
    /// Parses the first line of a file.
    pub(crate) fn from_file(content: &[u8]) -> Result<Self, PasswordError> {
        let line = content.split(|&byte| byte == b'\n').next();
        match line.unwrap_or_default().trim_ascii() {
            [] => Err(PasswordError::Empty),
            line if line.len() > MAX_PASSWORD_BYTES => Err(PasswordError::TooLong),
            line if text::clean(line, &mut String::new()).as_str().as_bytes() != line => {
                Err(PasswordError::Unsafe)
            }
            line => Ok(Self(line.into())),
        }
    }

    /// Whether `attempt` is this password. The time that it takes depends only on the length of
    /// `attempt`.
    pub(crate) fn matches(&self, attempt: &[u8]) -> bool {
        let attempt = attempt.trim_ascii();
        let is_equal = padded(&self.0).ct_eq(&padded(attempt));
        let is_as_long = self.0.len().ct_eq(&attempt.len());
        (is_equal & is_as_long).into()
    }
}

impl FromStr for Password {
    type Err = PasswordError;

    fn from_str(text: &str) -> Result<Self, PasswordError> {
        match text.contains('\n') {
            true => Err(PasswordError::Unsafe),
            false => Self::from_file(text.as_bytes()),
        }
    }
}

/// Pads passwords and attempts to one length, so that none is compared faster than another.
fn padded(text: &[u8]) -> [u8; MAX_PASSWORD_BYTES] {
    let mut padded = [0; MAX_PASSWORD_BYTES];
    for (to, &from) in padded.iter_mut().zip(text) {
        *to = from;
    }
    padded
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("its first line is empty: write the password there"),
            Self::TooLong => write!(
                f,
                "the password is longer than {MAX_PASSWORD_BYTES} bytes: make it shorter"
            ),
            Self::Unsafe => f.write_str(
                "the password holds a control character or is no UTF-8: write another one",
            ),
        }
    }
}

impl std::error::Error for PasswordError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_the_space_around_it() {
        let password = Password::from_file(b" open sesame\r\nnot this\n").expect("a password");
        assert!(password.matches(b"open sesame"));
        assert!(password.matches(b"open sesame "), "a terminal may add it");
        for wrong in [
            &b""[..],
            b"open",
            b"open sesame!",
            b"Open sesame",
            b"open sesame\0",
        ] {
            assert!(!password.matches(wrong), "{}", wrong.escape_ascii());
        }
        assert_eq!(format!("{password:?}"), "Password(..)");
        assert_eq!("open sesame".parse(), Ok(password));
    }

    #[test]
    fn what_is_no_password_is_refused() {
        assert_eq!(Password::from_file(b""), Err(PasswordError::Empty));
        assert_eq!(Password::from_file(b" \nsecret"), Err(PasswordError::Empty));
        assert_eq!("two\nlines".parse::<Password>(), Err(PasswordError::Unsafe));
        assert_eq!(Password::from_file(b"a\x1bb"), Err(PasswordError::Unsafe));
        assert_eq!(Password::from_file(b"caf\xe9"), Err(PasswordError::Unsafe));
        let long = [b'a'; MAX_PASSWORD_BYTES + 1];
        assert_eq!(Password::from_file(&long), Err(PasswordError::TooLong));
        let longest = Password::from_file(&long[1..]).expect("a password");
        assert!(longest.matches(&long[1..]));
        assert!(!longest.matches(&long), "not even with the same beginning");
    }
}
