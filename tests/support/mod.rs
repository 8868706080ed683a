//! What the tests stand on: a server in this process or in one of its own, a room without sockets,
//! real clients on terminals, and strace(1).
//!
//! | module | what it gives |
//! |---|---|
//! | `server` | a server in this process, and clients on real sockets |
//! | `rig` | a room without sockets, under a clock that a test sets |
//! | `child` | the built binary as a child process, and clients on real sockets |
//! | `strace` | system calls of that process, counted or made to fail |
//! | `terminal` | a program on a pseudo-terminal, and what stands on its screen |

#![allow(
    dead_code,
    reason = "each test binary compiles all of this and takes what it needs"
)]

pub(crate) mod child;
pub(crate) mod rig;
pub(crate) mod server;
pub(crate) mod strace;
pub(crate) mod terminal;
