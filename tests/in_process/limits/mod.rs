//! Every limit bites as its flag says, at 0, at 1 and at its maximum, and nobody else feels it.
//!
//! What happens at an exact byte or after an exact time is tested on a chat without sockets ([`rig`](crate::support::rig)),
//! where both are a test's own to say. That it is so in the kernel's presence, too, is tested over
//! real sockets, and that the flags reach it with the built binary.

mod connections;
mod debts;
mod loudness;
mod metrics;
mod rate;
mod readers;
mod stalled;
mod typists;
