//! The binary's own: its command line, its log, the sockets that it inherits, what systemd is told, and the
//! files that it prints.

pub(crate) mod allocator;
pub(crate) mod args;
pub(crate) mod check;
pub(crate) mod generate;
pub(crate) mod inherited;
pub(crate) mod log_format;
pub(crate) mod logging;
pub(crate) mod state;
pub(crate) mod systemd;
pub(crate) mod transcript;
pub(crate) mod transcript_writer;
pub(crate) mod variables;
