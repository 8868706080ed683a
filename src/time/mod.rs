//! Points in time, rates, timers, and what expires. The clock itself is read in `server` only.

pub(crate) mod buckets;
pub(crate) mod expiring_set;
pub(crate) mod log_throttle;
pub(crate) mod moment;
pub(crate) mod rate_limit;
pub(crate) mod timer_queue;

use std::time::SystemTime;

/// A time of day in whole minutes since 1970 (UTC); 0 for one before that.
pub(crate) fn minute_of(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let minutes = since.unwrap_or_default().as_secs() / 60;
    i64::try_from(minutes).unwrap_or(i64::MAX)
}
