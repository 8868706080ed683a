//! The binary's own: its command line, its log, the sockets that it inherits, and what systemd is told.

pub(crate) mod allocator;
pub(crate) mod args;
pub(crate) mod check;
pub(crate) mod inherited;
pub(crate) mod logging;
pub(crate) mod systemd;
pub(crate) mod variables;
