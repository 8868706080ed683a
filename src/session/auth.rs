//! Rights: [`Auth`] holds the passwords, counts wrong ones by origin, and holds the bans of networks. A
//! wrong password costs time: its connection waits a second, and its origin has ten attempts and one
//! more every six seconds.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::peer::{Origin, Peer};
use crate::session::secrets::Secrets;
use crate::time::expiring_set::ExpiringSet;
use crate::time::moment::Moment;
use crate::time::rate_limit::TokenBucket;

/// How long a connection that sent a wrong password is not read.
pub(crate) const WRONG_PASSWORD_PAUSE: Duration = Duration::from_secs(1);

/// How long it takes until an origin has another attempt, and how many it has at first.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(6);
const FIRST_ATTEMPTS: u32 = 10;

/// For this many origins attempts are counted one by one; all others share one count.
const MAX_ORIGINS: usize = 4096;

/// What there is to know about rights, but for those of members in the room.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    /// The greeting and the passwords.
    pub(crate) secrets: Secrets,
    pub(crate) throttle: AuthThrottle,
    /// Networks from which no client is admitted.
    pub(crate) banned: ExpiringSet<IpNet>,
}

impl Auth {
    /// Whether a peer comes from a banned network.
    pub(crate) fn is_banned(&self, peer: &Peer, now: Moment) -> bool {
        self.banned.in_force(now).any(|network| peer.is_in(network))
    }

    /// Returns a banned network that contains all of this one.
    pub(crate) fn banned_around(&self, network: &IpNet, now: Moment) -> Option<IpNet> {
        let mut banned = self.banned.in_force(now);
        banned.find(|banned| banned.contains(network)).copied()
    }
}

/// Wrong passwords, by the origin that they came from.
#[derive(Debug, Default)]
pub(crate) struct AuthThrottle {
    /// Only for look-ups: its order means nothing.
    by_origin: HashMap<Origin, TokenBucket>,
    /// Shared by the origins for which there is no room.
    others: TokenBucket,
}

impl AuthThrottle {
    /// How long an origin has to wait before its next attempt, if it has to.
    pub(crate) fn wait(&self, origin: Origin, now: Moment) -> Option<Duration> {
        let bucket = match self.by_origin.get(&origin) {
            Some(bucket) => bucket,
            None if self.by_origin.len() < MAX_ORIGINS => return None,
            None => &self.others,
        };
        let slack = ATTEMPT_INTERVAL.saturating_mul(FIRST_ATTEMPTS.saturating_sub(1));
        let at = bucket.refilled_to(slack).filter(|&at| at > now)?;
        Some(at.saturating_since(now))
    }

    /// A wrong password came from this origin.
    pub(crate) fn count_wrong(&mut self, origin: Origin, now: Moment) {
        if self.by_origin.len() >= MAX_ORIGINS {
            self.by_origin
                .retain(|_, bucket| !bucket.missing(now).is_zero());
        }
        let has_room = self.by_origin.len() < MAX_ORIGINS;
        let bucket = match self.by_origin.get_mut(&origin) {
            Some(bucket) => bucket,
            None if has_room => self.by_origin.entry(origin).or_default(),
            None => &mut self.others,
        };
        let most = ATTEMPT_INTERVAL.saturating_mul(FIRST_ATTEMPTS);
        bucket.take(now, ATTEMPT_INTERVAL, most);
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

    fn origin(n: u32) -> Origin {
        Origin::of(n.to_be_bytes().into())
    }

    #[test]
    fn an_origin_has_ten_attempts_and_then_one_every_six_seconds() {
        let (mut throttle, start) = (AuthThrottle::default(), start());
        for _ in 0..10 {
            assert_eq!(throttle.wait(origin(1), start), None);
            throttle.count_wrong(origin(1), start);
        }
        assert_eq!(throttle.wait(origin(1), start), Some(6 * SECOND));
        assert_eq!(throttle.wait(origin(2), start), None);
        assert_eq!(throttle.wait(origin(1), start + 6 * SECOND), None);
    }

    #[test]
    fn from_ever_more_origins_memory_stays_flat_and_guessing_is_still_limited() {
        let (mut throttle, start) = (AuthThrottle::default(), start());
        for n in 0..5000 {
            throttle.count_wrong(origin(n), start);
        }
        assert_eq!(throttle.by_origin.len(), MAX_ORIGINS);
        let wait = throttle.wait(origin(9999), start);
        assert!(wait.is_some(), "it shares the count of the others");
        let later = start + 60 * SECOND;
        throttle.count_wrong(origin(5000), later);
        assert_eq!(throttle.by_origin.len(), 1);
    }
}
