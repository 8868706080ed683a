//! How many lines a client may say, or how many connections an address may make, where there is a limit,
//! in fractions of what the engine counts in nanoseconds; so the answer is what is sure.

use std::time::{Duration, Instant};

/// What the engine's nanoseconds may make of a line.
const ROUNDING: f64 = 1e-3;

#[derive(Debug)]
pub(crate) struct Allowance {
    rate: f64,
    most: f64,
    lines: f64,
    at: Instant,
}

impl Allowance {
    pub(crate) fn new(rate: f64, most: u32, at: Instant) -> Self {
        let most = f64::from(most);
        Self {
            rate,
            most,
            lines: most,
            at,
        }
    }

    fn lines(&self, now: Instant) -> f64 {
        let come = now.duration_since(self.at).as_secs_f64() * self.rate;
        (self.lines + come).min(self.most)
    }

    /// Whether there is a limit.
    pub(crate) fn is_limited(&self) -> bool {
        self.rate > 0.0
    }

    /// Whether a line is surely not allowed.
    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.rate > 0.0 && self.lines(now) < 1.0 - ROUNDING
    }

    /// When a line is allowed, a little later than that, if it is not now.
    pub(crate) fn opens(&self, now: Instant) -> Option<Instant> {
        let missing = 1.0 + 2.0 * ROUNDING - self.lines(now);
        let is_open = self.rate == 0.0 || missing <= 0.0;
        (!is_open).then(|| now + Duration::from_secs_f64(missing / self.rate))
    }

    /// None is allowed for so long, and then one.
    pub(crate) fn pause(&mut self, now: Instant, time: Duration) {
        let paused = -time.as_secs_f64() * self.rate;
        self.lines = self.lines(now).min(paused);
        self.at = now;
    }

    pub(crate) fn take(&mut self, now: Instant) {
        self.lines = self.lines(now) - 1.0;
        self.at = now;
    }
}
