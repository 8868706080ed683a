//! Who may do what: [`Password`]s, how often one may be tried ([`Attempts`]), and lists of those who
//! are kept out or kept silent ([`Bans`]). A password is compared in constant time, is never shown,
//! and a wrong one costs time: its connection waits a second, and its address has ten, and another
//! one each six seconds.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::session::admission::subscriber;
use crate::text;
use crate::time::moment::Moment;
use crate::time::rate_limit::Bucket;

/// The longest password, in bytes.
const MAX_PASSWORD_BYTES: usize = 256;

/// For how long nothing is heard from a connection that sent a wrong password.
pub(crate) const WRONG_PASSWORD_PAUSE: Duration = Duration::from_secs(1);

/// In how long an address gets another try, and how many it has at first.
const TRY_INTERVAL: Duration = Duration::from_secs(6);
const TRIES_AT_ONCE: u32 = 10;

/// Of so many addresses the tries are counted one by one; all others share one count.
const MAX_ADDRESSES: usize = 4096;

/// How many names may be banned at a time, how many muted, and how many addresses banned.
pub(crate) const MAX_BANS: usize = 1000;

/// A password that is not empty.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(Box<[u8]>);

/// Why a text is no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordError {
    Empty,
    TooLong,
    /// Nobody could type it: what is typed behind a command is cleaned.
    Unsafe,
}

impl Password {
    /// Takes the first line of a file.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, PasswordError> {
        let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        match line.trim_ascii() {
            [] => Err(PasswordError::Empty),
            line if line.len() > MAX_PASSWORD_BYTES => Err(PasswordError::TooLong),
            line if text::clean(line, &mut String::new()).as_str().as_bytes() != line => {
                Err(PasswordError::Unsafe)
            }
            line => Ok(Self(line.into())),
        }
    }

    /// Whether this is it. How long that takes depends on the length of `attempt` alone.
    pub(crate) fn is(&self, attempt: &[u8]) -> bool {
        let attempt = attempt.trim_ascii();
        let is_equal = padded(&self.0).ct_eq(&padded(attempt));
        let is_as_long = self.0.len().ct_eq(&attempt.len());
        (is_equal & is_as_long).into()
    }
}

/// All passwords and attempts of one length, so that none is compared faster than another.
fn padded(text: &[u8]) -> [u8; MAX_PASSWORD_BYTES] {
    let mut padded = [0; MAX_PASSWORD_BYTES];
    let len = text.len().min(MAX_PASSWORD_BYTES);
    padded[..len].copy_from_slice(&text[..len]);
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

/// Wrong passwords, by the address that they came from.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// Only for look-ups: its order means nothing.
    by_address: HashMap<IpAddr, Bucket>,
    /// Of those for whom there is no room.
    others: Bucket,
}

impl Attempts {
    /// How long an address has to wait before it may try again, if it has to.
    pub(crate) fn wait(&self, ip: IpAddr, now: Moment) -> Option<Duration> {
        let bucket = match self.by_address.get(&subscriber(ip)) {
            Some(bucket) => bucket,
            None if self.by_address.len() < MAX_ADDRESSES => return None,
            None => &self.others,
        };
        let slack = TRY_INTERVAL * (TRIES_AT_ONCE - 1);
        let at = bucket.refilled_to(slack).filter(|&at| at > now)?;
        Some(at.saturating_since(now))
    }

    /// A wrong password came from this address.
    pub(crate) fn count_wrong(&mut self, ip: IpAddr, now: Moment) {
        if self.by_address.len() >= MAX_ADDRESSES {
            self.by_address
                .retain(|_, bucket| !bucket.missing(now).is_zero());
        }
        let has_room = self.by_address.len() < MAX_ADDRESSES;
        let bucket = match self.by_address.get_mut(&subscriber(ip)) {
            Some(bucket) => bucket,
            None if has_room => self.by_address.entry(subscriber(ip)).or_default(),
            None => &mut self.others,
        };
        bucket.take(now, TRY_INTERVAL, TRY_INTERVAL * TRIES_AT_ONCE);
    }
}

/// Who is kept out, or silent, and until when.
#[derive(Debug)]
pub(crate) struct Bans<K>(Vec<Ban<K>>);

#[derive(Debug)]
struct Ban<K> {
    whom: K,
    until: Option<Moment>,
}

impl<K> Default for Bans<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq> Bans<K> {
    /// Adds one, for a time or as long as the server runs. Whether there was room.
    pub(crate) fn add(&mut self, whom: K, time: Option<Duration>, now: Moment) -> bool {
        self.0.retain(|ban| ban.whom != whom && ban.is_on(now));
        let has_room = self.0.len() < MAX_BANS;
        if has_room {
            let until = time.map(|time| now + time);
            self.0.push(Ban { whom, until });
        }
        has_room
    }

    /// Whether there is none, in force or over.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there was one.
    pub(crate) fn lift(&mut self, whom: &K, now: Moment) -> bool {
        let was = self.has(whom, now);
        self.0.retain(|ban| ban.whom != *whom);
        was
    }

    pub(crate) fn has(&self, whom: &K, now: Moment) -> bool {
        self.0.iter().any(|ban| ban.whom == *whom && ban.is_on(now))
    }
}

impl<K> Ban<K> {
    fn is_on(&self, now: Moment) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    const SECOND: Duration = Duration::from_secs(1);

    fn start() -> Moment {
        Clock::default().moment(std::time::Instant::now())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_password_is_the_first_line_without_the_space_around_it() {
        let password = Password::parse(b" open sesame\r\nnot this\n").expect("a password");
        assert!(password.is(b"open sesame"));
        assert!(password.is(b"open sesame "), "a terminal may add it");
        for wrong in [
            &b""[..],
            b"open",
            b"open sesame!",
            b"Open sesame",
            b"open sesame\0",
        ] {
            assert!(!password.is(wrong), "{}", wrong.escape_ascii());
        }
        assert_eq!(format!("{password:?}"), "Password(..)");
    }

    #[test]
    fn what_is_no_password_is_refused() {
        assert_eq!(Password::parse(b""), Err(PasswordError::Empty));
        assert_eq!(Password::parse(b" \nsecret"), Err(PasswordError::Empty));
        assert_eq!(Password::parse(b"a\x1bb"), Err(PasswordError::Unsafe));
        assert_eq!(Password::parse(b"caf\xe9"), Err(PasswordError::Unsafe));
        let long = [b'a'; MAX_PASSWORD_BYTES + 1];
        assert_eq!(Password::parse(&long), Err(PasswordError::TooLong));
        let longest = Password::parse(&long[1..]).expect("a password");
        assert!(longest.is(&long[1..]));
        assert!(!longest.is(&long), "not even with the same beginning");
    }

    #[test]
    fn an_address_has_ten_tries_and_then_one_each_six_seconds() {
        let (mut attempts, start) = (Attempts::default(), start());
        for _ in 0..10 {
            assert_eq!(attempts.wait(ip("192.0.2.1"), start), None);
            attempts.count_wrong(ip("192.0.2.1"), start);
        }
        assert_eq!(attempts.wait(ip("192.0.2.1"), start), Some(6 * SECOND));
        assert_eq!(attempts.wait(ip("192.0.2.2"), start), None);
        assert_eq!(attempts.wait(ip("192.0.2.1"), start + 6 * SECOND), None);
    }

    #[test]
    fn an_ipv6_subscriber_is_one_address() {
        let (mut attempts, start) = (Attempts::default(), start());
        for n in 0..10 {
            attempts.count_wrong(ip(&format!("2001:db8::{n}")), start);
        }
        assert!(attempts.wait(ip("2001:db8::ffff"), start).is_some());
        assert_eq!(attempts.wait(ip("2001:db8:0:1::1"), start), None);
    }

    #[test]
    fn from_ever_more_addresses_memory_stays_flat_and_guessing_is_still_limited() {
        let (mut attempts, start) = (Attempts::default(), start());
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..5000 {
            attempts.count_wrong(address(n), start);
        }
        assert_eq!(attempts.by_address.len(), MAX_ADDRESSES);
        assert!(
            attempts.wait(address(9999), start).is_some(),
            "one of the others"
        );
        let later = start + 60 * SECOND;
        attempts.count_wrong(address(5000), later);
        assert_eq!(attempts.by_address.len(), 1);
    }

    #[test]
    fn a_ban_ends_by_its_time_or_when_it_is_lifted() {
        let (mut bans, start) = (Bans::default(), start());
        assert!(bans.add("bob", Some(SECOND), start));
        assert!(bans.add("eve", None, start));
        assert!(bans.has(&"bob", start));
        assert!(!bans.has(&"bob", start + SECOND));
        assert!(bans.has(&"eve", start + 9999 * SECOND));
        assert!(bans.lift(&"eve", start));
        assert!(!bans.lift(&"eve", start));
        assert!(!bans.has(&"eve", start));
    }

    #[test]
    fn there_is_room_for_so_many_bans_and_a_new_one_replaces_its_old() {
        let (mut bans, start) = (Bans::default(), start());
        for n in 0..MAX_BANS {
            assert!(bans.add(n, Some(SECOND), start));
        }
        assert!(!bans.add(MAX_BANS, None, start));
        assert!(bans.add(7, None, start));
        assert!(bans.has(&7, start + SECOND));
        assert!(
            bans.add(MAX_BANS, None, start + SECOND),
            "the others are over"
        );
    }
}
