//! The binary's own: its command line and its log.

pub(crate) mod allocator;
pub(crate) mod args;
pub(crate) mod logging;
