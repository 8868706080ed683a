//! How much somebody has said, and how much it may say, in fractions of it where the chat counts
//! nanoseconds; so whoever asks is told what is sure and what is not.

use std::time::{Duration, Instant};

use line_chat::Limits;

/// What the chat's nanoseconds may make of a second, or of a line.
const ROUNDING: f64 = 1e-3;

/// How much somebody has said, as far as it is known, against what can be read: 64 KiB a second.
#[derive(Debug)]
pub(crate) struct Said {
    least: Debt,
    most: Debt,
}

impl Said {
    pub(crate) fn new(now: Instant) -> Self {
        let debt = Debt {
            seconds: 0.0,
            at: now,
        };
        Self {
            least: debt,
            most: debt,
        }
    }

    pub(crate) fn take(&mut self, bytes: usize, now: Instant) {
        self.least.take(bytes, now);
        self.most.take(bytes, now);
    }

    /// So much was said earlier or later than now, or not at all.
    pub(crate) fn may_take(&mut self, bytes: usize, now: Instant) {
        self.most.take(bytes, now);
    }

    /// So much was said, and is in the most already.
    pub(crate) fn surely_take(&mut self, bytes: usize, now: Instant) {
        self.least.take(bytes, now);
    }

    pub(crate) fn is_loud(&self, now: Instant) -> bool {
        self.least.seconds(now) > LOUD_SECONDS + ROUNDING
    }

    /// Whether it may be loud, with so many bytes of which is not known whether they were said.
    pub(crate) fn may_be_loud(&self, unknown: usize, now: Instant) -> bool {
        self.most.seconds(now) + seconds(unknown) > LOUD_SECONDS - ROUNDING
    }

    /// When it is surely no longer loud, with as many bytes of which is not known.
    pub(crate) fn quiet_at_latest(&self, unknown: usize, now: Instant) -> Instant {
        let owed = self.most.seconds(now) + seconds(unknown) - LOUD_SECONDS + ROUNDING;
        now + Duration::from_secs_f64(owed.max(0.0))
    }

    /// Whether it may have been loud when it was heard last.
    pub(crate) fn may_have_been_loud(&self) -> bool {
        self.most.seconds > LOUD_SECONDS - ROUNDING
    }
}

/// Who has said more than can be read in this time is loud.
const LOUD_SECONDS: f64 = 1.0;

/// The time in which what was said can be read, two seconds at most, less what has gone since.
#[derive(Debug, Clone, Copy)]
struct Debt {
    seconds: f64,
    at: Instant,
}

impl Debt {
    fn seconds(&self, now: Instant) -> f64 {
        (self.seconds - now.duration_since(self.at).as_secs_f64()).max(0.0)
    }

    fn take(&mut self, bytes: usize, now: Instant) {
        if bytes > 0 {
            self.seconds = (self.seconds(now) + seconds(bytes)).min(2.0);
            self.at = now;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "what a client says in a turn")]
fn seconds(bytes: usize) -> f64 {
    bytes as f64 / 65536.0
}

/// How many lines somebody may say now, where there is a limit.
#[derive(Debug)]
pub(crate) struct Allowance {
    rate: f64,
    most: f64,
    lines: f64,
    at: Instant,
}

impl Allowance {
    pub(crate) fn new(limits: &Limits, at: Instant) -> Self {
        let most = f64::from(limits.burst_lines);
        Self {
            rate: limits.lines_per_second,
            most,
            lines: most,
            at,
        }
    }

    fn lines(&self, now: Instant) -> f64 {
        let come = now.duration_since(self.at).as_secs_f64() * self.rate;
        (self.lines + come).min(self.most)
    }

    /// Whether a line is surely allowed.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.rate == 0.0 || self.lines(now) >= 1.0 + ROUNDING
    }

    /// Whether a line is surely not allowed.
    pub(crate) fn is_closed(&self, now: Instant) -> bool {
        self.rate > 0.0 && self.lines(now) < 1.0 - ROUNDING
    }

    /// When a line is allowed, a little later than that.
    pub(crate) fn opens(&self, now: Instant) -> Instant {
        let missing = (1.0 + 2.0 * ROUNDING - self.lines(now)).max(0.0);
        now + Duration::from_secs_f64(missing / self.rate)
    }

    pub(crate) fn take(&mut self, now: Instant) {
        self.lines = self.lines(now) - 1.0;
        self.at = now;
    }
}
