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
//! 4. `Room::say` puts the nick before the [cleaned text](text), once, at the end of what is said
//!    in this turn. (A person at a prompt may also ask for something: `obeying`.)
//! 5. When all ready clients were heard, `Connection::queue_lines` appends that talk to each
//!    member's write buffer, without the member's own lines,
//! 6. and `Connection::flush` writes the buffer with one system call. What the kernel does not take
//!    waits for a writable event, and only as long as there is such a rest does the client's
//!    registered interest include WRITABLE.
//!
//! So a line costs one read, and one write for each of its receivers, which lines that come
//! together share.
//!
//! # What holds everywhere
//!
//! * Every queue, buffer, loop and wait has a limit: in [`Limits`], or as a constant beside it.
//! * What a client sent is shown to nobody before [`text::clean`] was through it.
//! * One client's error is that client's alone. It is only marked where it happens, and acted on in
//!   one place.
//! * A slot of the slab is freed at the end of a turn, never in the middle of a batch of events, so
//!   that no stale event meets a newcomer.
//! * The clock is read in [`server`] only, and what a turn does it does at one time, which
//!   everybody else gets as `now`. (The time of day, too, is handed in from there, as a function.)
//!
//! # Where to read
//!
//! | module | its idea |
//! |---|---|
//! | [`server`] | poll, signals, the clock: events become calls, interest becomes registrations |
//! | [`accept`], `door` | how connections are accepted; who is let in |
//! | [`chat`] | the whole server but the readiness: the slab, the lists, the turn |
//! | `hearing` | the first half of a turn: who may be heard, and how much of each |
//! | `writing` | the second half: what was said is appended to each queue, and written |
//! | `leaving` | the last half of a client's life, and everything that happens by the clock |
//! | `connection`, `queueing` | one stream with its read and its write buffer; the only place that reads or writes it |
//! | `skip`, `pressure` | what is left out for a reader that is behind; when the speaker is to blame |
//! | `ready`, `bucket` | whose turn it is to be heard; how much of a rate is used up |
//! | `room`, `talk` | who is in; what a line becomes, and who gets it; the lines of a turn |
//! | `roster`, `nick` | the members by number and by name; what a name is |
//! | `greeting`, `command`, `obeying`, `conversing`, `moderating` | people at a prompt: the first words, what they ask for, and what comes of it |
//! | `history`, `comings`, `mail` | what was said last; who came and went, in few lines; what single members are told |
//! | [`hosting`], `files`, `access` | how people are received; greeting and passwords; who may do what |
//! | [`decoder`] | what a client said: [`telnet`] commands out, then [`line`](mod@line)s |
//! | [`text`] | the only road from a peer's bytes to another terminal |
//! | `prefix`, `foreign` | what stands before a line; what is no nick but another protocol |
//! | `message`, `close` | everything that a member can see, in words; why a connection ends |
//! | `pool` | buffers on loan |
//! | `due`, `deadlines`, `moment` | what there is to do by the clock; who is looked at when; a time in eight bytes |
//! | `metrics`, `handle`, `seldom` | what it has done, in numbers; how another thread asks for that; a line of the log for many events |
//! | [`config`], `addr`, `listen` | every number; where to listen; listening sockets |
//! | `cli`, `process` | the binary's own: the command line; its log and its limit of descriptors |
#![forbid(unsafe_code)]

mod broadcast;
pub mod config;
mod conn;
pub mod engine;
mod metrics;
pub mod protocol;
mod room;
pub mod server;
mod session;
pub mod text;
mod time;

pub use config::addr::{ListenAddr, ListenAddrError};
pub use config::interactive::{Hosting, Mode};
pub use config::prefix::{Prefix, PrefixError};
pub use config::{Config, ConfigError, Lag, Limits};
pub use metrics::Metrics;
pub use protocol::close_reason::CloseReason;
pub use server::handle::{MetricsHandle, ShutdownHandle};
pub use server::{Server, Status};

/// The example in the README is a test as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
