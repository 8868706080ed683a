//! Points in time, rates, timers, and what expires. The clock itself is read in `server` only.

pub(crate) mod buckets;
pub(crate) mod expiring_set;
pub(crate) mod log_throttle;
pub(crate) mod moment;
pub(crate) mod rate_limit;
pub(crate) mod timer_queue;
