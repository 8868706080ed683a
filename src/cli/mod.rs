//! The binary's own: its command line, its log, and the sockets that it inherits.

pub(crate) mod allocator;
pub(crate) mod args;
pub(crate) mod check;
pub(crate) mod inherited;
pub(crate) mod logging;
pub(crate) mod variables;
