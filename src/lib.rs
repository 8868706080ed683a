//! A line-based broadcast chat server: one mio poll loop, one thread, plain telnet clients.
//!
//! A client's first line is its nick; every later line goes to all the others as `nick: text\r\n`.
//!
//! # The life of a line
//!
//! A task-per-client chat server hides a state machine in each of its tasks. Here it is written
//! out: "poll" is a readiness event, "not ready" is `WouldBlock`, "wake me" is the interest that is
//! registered, and the channel to a peer's task is that peer's write buffer.
//!
//! 1. `poll` says that a client's socket is readable. [`Server::turn`](server::Server::turn) only
//!    marks the client as ready: events come once, work may have to wait for its turn.
//! 2. [`Chat::turn`](chat::Chat::turn) takes the client from the ready list. `Connection::fill`
//!    reads once, into a scratch buffer that all clients share.
//! 3. [`Decoder::next`](decoder::Decoder::next) takes [telnet's commands](telnet) out and finds the
//!    [line](mod@line).
//! 4. `Room::say` puts the nick before the [cleaned text](text), once, and says which members are
//!    to get it.
//! 5. `Connection::queue` appends those bytes to each such member's write buffer, and the member
//!    goes on the dirty list.
//! 6. When all ready clients were heard, `Connection::flush` writes each dirty buffer with one
//!    system call. What the kernel does not take waits for a writable event, and only as long as
//!    there is such a rest does the client's registered interest include WRITABLE.
//!
//! So a line costs one read, and one write for each of its receivers, which lines that come
//! together share.
//!
//! # What holds everywhere
//!
//! * Every queue, buffer, loop and wait has a limit: [`Limits`].
//! * What a client sent is shown to nobody before [`text::clean`] was through it.
//! * One client's error is that client's alone. It is only marked where it happens, and acted on in
//!   one place.
//! * A slot of the slab is freed at the end of a turn, never in the middle of a batch of events, so
//!   that no stale event meets a newcomer.
//! * The clock is read once a turn, in [`server`]; everybody else gets `now` as an argument.
//!
//! # Where to read
//!
//! | module | its idea |
//! |---|---|
//! | [`server`] | poll, listeners, signals, the clock: events become calls, interest becomes registrations |
//! | [`chat`] | the whole server but the readiness: the slab, the lists, the turn |
//! | `connection` | one stream with its read and its write buffer; the only place that reads or writes it |
//! | `room` | who is in, under which nick; what a line becomes, and who gets it |
//! | [`decoder`] | what a client said: [`telnet`] commands out, then [`line`](mod@line)s |
//! | [`text`] | the only road from a peer's bytes to another terminal |
//! | `nick`, `prefix` | what may stand before a line |
//! | `message`, `close` | what the server says itself; why a connection ends |
//! | `pool`, `deadlines` | buffers on loan; who has to be looked at when |
//! | [`config`], `listen`, `cli` | every number; listening sockets; the command line |
#![forbid(unsafe_code)]

pub mod chat;
#[cfg(feature = "cli")]
pub mod cli;
mod close;
pub mod config;
mod connection;
mod deadlines;
pub mod decoder;
pub mod line;
mod listen;
mod message;
mod nick;
mod pool;
mod prefix;
mod room;
pub mod server;
pub mod telnet;
pub mod text;

pub use config::{Config, ConfigError, Limits, ListenAddr, ListenAddrError};
pub use prefix::{Prefix, PrefixError};
pub use server::{Server, ShutdownHandle, Status};
