//! Where the engine is tried, and when: [`Dialer`] goes through all addresses that were given and told, and
//! waits longer after each round, but never long. The waits are random up to their limit ("full jitter"), so that
//! a hundred servers do not come back in one instant. Names are resolved by whoever hands in addresses.

use std::net::SocketAddr;
use std::time::Duration;

use crate::time::moment::Moment;

/// The first and the longest wait between two connections.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How many waits there are that are not longer than 400 ms: lines wait two seconds for an engine that is started
/// again, so it has to be found soon.
const SHORT_WAITS: u32 = 8;
const SHORT_DOUBLINGS: u32 = 3;

/// How many addresses are kept that an engine has told.
const MOST_TOLD: usize = 64;

/// The addresses of an engine, and which is tried next.
#[derive(Debug)]
pub(crate) struct Dialer {
    given: Vec<SocketAddr>,
    /// What the engine has told of its other servers.
    told: Vec<SocketAddr>,
    next: usize,
    /// How many connections have failed since the last one that could be used.
    failures: u32,
    /// When the next connection is begun; `None` while there is one.
    at: Option<Moment>,
}

impl Dialer {
    /// The first connection is begun at once.
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            given: Vec::new(),
            told: Vec::new(),
            next: 0,
            failures: 0,
            at: Some(now),
        }
    }

    /// Replaces the addresses that were given.
    pub(crate) fn set_given(&mut self, given: Vec<SocketAddr>) {
        self.given = given;
    }

    /// When a connection is to be begun.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.at
    }

    /// Takes the address to connect to, if it is time.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<SocketAddr> {
        self.at.filter(|&at| at <= now)?;
        let all = self.given.iter().chain(&self.told);
        let count = self.given.len().saturating_add(self.told.len());
        let place = self.next.checked_rem(count).unwrap_or(0);
        let addr = all.copied().nth(place);
        self.next = place.saturating_add(1);
        self.at = match addr {
            Some(_) => None,
            None => Some(now + LONGEST_WAIT),
        };
        addr
    }

    /// A connection can be used.
    pub(crate) fn on_open(&mut self) {
        self.failures = 0;
    }

    /// A connection has ended, or was not made. `random` is any number; `is_refused`: the engine has said that it
    /// does not want this server, so it is not asked again soon.
    pub(crate) fn on_end(
        &mut self,
        told: Vec<SocketAddr>,
        is_refused: bool,
        random: u64,
        now: Moment,
    ) {
        for addr in told {
            if !self.given.contains(&addr) && !self.told.contains(&addr) {
                self.told.push(addr);
            }
        }
        let excess = self.told.len().saturating_sub(MOST_TOLD);
        self.told.drain(..excess);
        let wait = match is_refused {
            true => LONGEST_WAIT,
            false => jittered(longest_wait(self.failures), random),
        };
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now + wait);
    }
}

/// The longest wait after so many failures.
fn longest_wait(failures: u32) -> Duration {
    let behind_short = failures.saturating_sub(SHORT_WAITS - SHORT_DOUBLINGS - 1);
    let doublings = behind_short.max(failures.min(SHORT_DOUBLINGS));
    let doubled = FIRST_WAIT.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
    doubled.min(LONGEST_WAIT)
}

/// Some part of a wait.
fn jittered(wait: Duration, random: u64) -> Duration {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let part = random.checked_rem(millis.saturating_add(1));
    Duration::from_millis(part.unwrap_or(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn all_addresses_are_tried_in_turn_with_longer_waits() {
        let start = Clock::default().moment(std::time::Instant::now());
        let mut dialer = Dialer::new(start);
        dialer.set_given(vec![addr(1), addr(2)]);
        let (mut now, mut tried, mut waits) = (start, Vec::new(), Vec::new());
        for round in 0..12 {
            let to = dialer.take_due(now).expect("it is time");
            assert_eq!(
                (dialer.due(), dialer.take_due(now)),
                (None, None),
                "one at a time"
            );
            tried.push(to.port());
            // The largest part of each wait.
            let told = if round == 0 {
                vec![addr(3), addr(1)]
            } else {
                vec![]
            };
            let most = u64::try_from(longest_wait(round).as_millis()).expect("it is short");
            dialer.on_end(told, false, most, now);
            let at = dialer.due().expect("it goes on");
            waits.push(at.saturating_since(now).as_millis());
            now = at;
        }
        assert_eq!(tried, [1, 2, 3].repeat(4));
        let short = [50, 100, 200, 400, 400, 400, 400, 400];
        assert_eq!(waits, [&short[..], &[800, 1600, 2000, 2000]].concat());
        dialer.take_due(now);
        dialer.on_open();
        dialer.on_end(vec![], false, 7, now);
        assert_eq!(
            dialer.due(),
            Some(now + Duration::from_millis(7)),
            "it begins anew"
        );
        now = now + Duration::from_millis(7);
        dialer.take_due(now);
        dialer.on_end(vec![], true, 0, now);
        assert_eq!(
            dialer.due(),
            Some(now + LONGEST_WAIT),
            "who is refused waits"
        );
    }

    #[test]
    fn without_an_address_it_waits_for_one() {
        let now = Clock::default().moment(std::time::Instant::now());
        let mut dialer = Dialer::new(now);
        assert_eq!(dialer.take_due(now), None);
        dialer.set_given(vec![addr(1)]);
        assert_eq!(dialer.take_due(now + LONGEST_WAIT), Some(addr(1)));
    }
}
