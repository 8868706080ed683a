//! Helpers for all tests: a server in this process or in one of its own, a room without sockets, real
//! clients on terminals, and strace(1).
//!
//! | module | what it has |
//! |---|---|
//! | `server` | a server in this process, and clients on real sockets |
//! | `rig` | a room without sockets, under a clock that a test sets |
//! | `inputs` | what real clients send, and what has to come of it |
//! | `child` | the built binary as a child process, and clients on real sockets |
//! | `families` | the metrics of the page |
//! | `http` | requests of a page |
//! | `namespace` | two machines and a cable that can be pulled |
//! | `port` | a port at which nobody listens yet |
//! | `strace` | system calls of that process, counted or made to fail |
//! | `temp_file` | a file and a folder that are gone when they are dropped |
//! | `tls` | certificates, and both sides of TLS |
//! | `tools` | programs of the distribution that a test needs, or says that it lacks |
//! | `terminal` | a program on a pseudo-terminal, and what stands on its screen |

#![allow(
    dead_code,
    reason = "each test binary compiles all of this and uses a part of it"
)]

use std::time::Duration;

pub(crate) mod child;
pub(crate) mod families;
pub(crate) mod http;
pub(crate) mod inputs;
pub(crate) mod namespace;
pub(crate) mod port;
pub(crate) mod rig;
pub(crate) mod server;
pub(crate) mod strace;
pub(crate) mod temp_file;
pub(crate) mod terminal;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod tools;

/// How long a test waits before it fails. A test that passes does not get near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Telnet's AYT.
pub(crate) const ARE_YOU_THERE: &[u8] = b"\xff\xf6";

/// The server's answer to it, without and with its line end.
pub(crate) const YES: &str = "* yes";
pub(crate) const YES_LINE: &[u8] = b"* yes\r\n";

/// A client's nick, and telnet's "are you there", whose answer says that the nick was accepted.
pub(crate) fn hello(nick: &str) -> Vec<u8> {
    [nick.as_bytes(), b"\r\n", ARE_YOU_THERE].concat()
}
