//! Rights: [`Auth`] holds the passwords, counts wrong ones by origin, and holds the bans of peers. A
//! wrong password costs time: its connection waits a second, and its origin has ten attempts and one
//! more every six seconds.

use std::time::Duration;

use crate::peer::{Origin, Peer, PeerSet};
use crate::room::sanction::Sanction;
use crate::session::secrets::Secrets;
use crate::time::buckets::Buckets;
use crate::time::expiring_set::ExpiringSet;
use crate::time::moment::Moment;

/// How long a connection that sent a wrong password is not read.
pub(crate) const WRONG_PASSWORD_PAUSE: Duration = Duration::from_secs(1);

/// How long it takes until an origin has another attempt, and how many it has at first.
const ATTEMPT_INTERVAL: Duration = Duration::from_secs(6);
const FIRST_ATTEMPTS: u32 = 10;

/// What there is to know about rights, but for those of members in the room.
#[derive(Debug, Default)]
pub(crate) struct Auth {
    /// The greeting and the passwords.
    pub(crate) secrets: Secrets,
    pub(crate) throttle: AuthThrottle,
    /// Networks and users of this machine that are not admitted.
    pub(crate) banned: ExpiringSet<Sanction<PeerSet>>,
}

impl Auth {
    /// The ban because of which a peer may not come in, whatever its name.
    pub(crate) fn ban_of(&self, peer: &Peer, now: Moment) -> Option<&Sanction<PeerSet>> {
        self.banned.find(now, |banned| banned.whom.contains(peer))
    }

    /// Returns a banned set that contains all of this one.
    pub(crate) fn banned_around(&self, peers: &PeerSet, now: Moment) -> Option<PeerSet> {
        let mut banned = self.banned.in_force(now).map(|banned| banned.whom);
        banned.find(|banned| banned.covers(peers))
    }
}

/// Wrong passwords, by the origin that they came from.
#[derive(Debug, Default)]
pub(crate) struct AuthThrottle(Buckets<Origin>);

impl AuthThrottle {
    /// How long an origin has to wait before its next attempt, if it has to.
    pub(crate) fn wait(&self, origin: Origin, now: Moment) -> Option<Duration> {
        let slack = ATTEMPT_INTERVAL.saturating_mul(FIRST_ATTEMPTS.saturating_sub(1));
        let at = self.0.get(&origin).refilled_to(slack);
        let at = at.filter(|&at| at > now)?;
        Some(at.saturating_since(now))
    }

    /// A wrong password came from this origin.
    pub(crate) fn count_wrong(&mut self, origin: Origin, now: Moment) {
        let most = ATTEMPT_INTERVAL.saturating_mul(FIRST_ATTEMPTS);
        let bucket = self.0.bucket(origin, now);
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
    fn wrong_passwords_from_many_origins_keep_nobody_else_out() {
        let (mut throttle, start) = (AuthThrottle::default(), start());
        for n in 0..4200 {
            for _ in 0..10 {
                throttle.count_wrong(origin(n), start);
            }
        }
        assert_eq!(throttle.wait(origin(9999), start), None);
        assert_eq!(throttle.wait(origin(4199), start), Some(6 * SECOND));
        assert_eq!(throttle.wait(origin(104), start), Some(6 * SECOND));
        assert_eq!(throttle.wait(origin(103), start), None, "it was forgotten");
    }
}
