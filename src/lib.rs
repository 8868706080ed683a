//! A line-based broadcast chat server: one mio poll loop, one thread, plain telnet clients.
//!
//! A client's first line is its nick; every later line goes to all the others as `nick: text\r\n`.
//! The [manual] has a page for each reader. This page is for those who read the code: it follows a
//! byte from one socket to another.
//!
//! # A byte's way
//!
//! A task-per-client chat server hides a state machine in each of its tasks. Here it is written out:
//! "poll" is a readiness event, "not ready" is `WouldBlock`, "wake me" is the interest that is
//! registered, and the channel to a peer's task is that peer's send queue.
//!
//! One line, from alice's socket to bob's, passes these stations. Each is one function.
//!
//! | | station | function | file |
//! |---|---|---|---|
//! | | **An event marks alice** | | |
//! | 1 | The poll returns: alice's socket is readable. The clock is read. | `Server::turn` | `server/mod.rs` |
//! | 2 | The event only marks the client, because events come once and work may have to wait. | `Server::mark_ready` | `server/mod.rs` |
//! | 3 | Her connection remembers that there is input. | `Engine::on_readable`, `Io::on_readable` | `engine/mod.rs`, `conn/mod.rs` |
//! | 4 | She is queued for reading, in the run queue of her class. | `Engine::wake`, `Scheduler::push` | `engine/mod.rs`, `engine/run_queue.rs` |
//! | | **The turn reads her** | | |
//! | 5 | The turn begins: new budgets. | `Engine::turn` | `engine/mod.rs` |
//! | 6 | Clients are taken from the run queues while the budget lasts: those who say little first, and what they said is written before the others are read. | `Engine::read_ready`, `Engine::read_part`, `Scheduler::pop` | `engine/read.rs`, `engine/run_queue.rs` |
//! | 7 | One read(2), into a scratch buffer that all clients share. | `Io::fill` | `conn/mod.rs` |
//! | 8 | Before each line: may it be said in this turn, by budget, rate and gate? | `Engine::decode` | `engine/read.rs` |
//! | 9 | The session takes one line at most from the input. | `Session::on_input`, `ChatSession::on_input` | `session/mod.rs`, `session/chat.rs` |
//! | 10 | Telnet's commands are taken out. | `TelnetDecoder::next` | `protocol/telnet.rs` |
//! | 11 | The line is cut off at its end. | `LineDecoder::advance` | `protocol/line.rs` |
//! | 12 | She is a member, so the line is a command or something said; before, it is a password or a nick. | `Talk::on_member_line`, `Talk::on_nick` | `session/chat.rs` |
//! | | **The room says it** | | |
//! | 13 | The room checks that the member is not muted. | `Room::say` | `room/mod.rs` |
//! | 14 | Whatever could act on a terminal is replaced. | `text::clean` | `text/mod.rs` |
//! | 15 | Prefix, text and line end are written once, behind what was said before in this turn; the line is kept for clients that join later. | `Batch::say`, `Message::write`, `History::remember` | `broadcast/batch.rs`, `protocol/message.rs`, `room/history.rs` |
//! | 16 | What the line asked for beside that is settled, and the line is charged to alice. | `Engine::finish_step`, `Engine::settle` | `engine/read.rs`, `engine/flush.rs` |
//! | | **Bob gets it** | | |
//! | 17 | All ready clients are read, or all who say little; one pass over the members begins, each time with another one. | `Engine::flush_all`, `Engine::deliver_batch` | `engine/flush.rs` |
//! | 18 | Bob's part of the batch: everything since his cursor, without his own lines. | `Pass::share`, `Batch::since` | `room/mod.rs`, `broadcast/batch.rs` |
//! | 19 | One verdict for the whole part: it fits into his queue and nothing stands before it. | `Io::deliver`, `SendQueue::admits_all` | `conn/mod.rs`, `conn/send_queue.rs` |
//! | 20 | The part is copied, into memory that is warm from the member before. | `Pool::append` | `conn/pool.rs` |
//! | 21 | One write(2). All taken: the memory is the next member's. | `Stream::write` in `Io::deliver` | `conn/mod.rs` |
//! | 22 | Not all taken: the rest stays queued, and bob waits for a writable event. | `Io::keep_rest`, `Client::sync_interest` | `conn/mod.rs`, `engine/flush.rs` |
//! | | **The turn ends** | | |
//! | 23 | Every member has been given everything. What is due by the clock is done only now, because whoever has sent something is not silent; then the batch is emptied. | `Engine::expire`, `Room::end_turn` | `engine/close.rs`, `room/mod.rs` |
//! | 24 | Closed clients are freed, only now: no event of this turn can meet a newcomer. | `Engine::free_closed` | `engine/close.rs` |
//! | 25 | The clock is read again, and the loop polls. | `TurnClock::end_turn` | `server/turn_clock.rs` |
//!
//! So a line costs one read, and one write for each of its receivers, which lines that come together
//! share; `tests/costs` counts both. From station 3 to 24 that is 235 calls between functions of this
//! crate for one line to one member, as `benches/calls` counts them in a debug build.
//!
//! Everything else is a way off this one: a queue that is too full (`conn/overflow.rs`), a room that
//! waits for its readers (`engine/backpressure.rs`), a client that ends (`engine/close.rs`,
//! `session/closing.rs`). Each state machine has its table in the head of its module.
//!
//! # Floors
//!
//! The folders are floors. A file uses its own folder and the floors below it; folders of one floor know
//! nothing of each other. `tests/tidy.rs` holds that.
//!
//! | floor | folder | what it is | what it may use besides the floors below |
//! |---|---|---|---|
//! | 11 | `cli`, `main` | the binary: arguments, its log on standard error, the limit of descriptors | the public items of the library |
//! | 10 | [`server`] | the poll loop: events become calls on the engine; listeners, signals, handles, the log | mio, the clock |
//! | 9 | [`engine`] | the slab of clients and one turn over them | the slab |
//! | 8 | `session` | one protocol each: the chat with its login and commands, HTTP, the end of a connection; who is let in, and passwords | one client's input and queue |
//! | 7 | `conn` | one connection's bytes: reading, the send queue, what happens when it is full | a stream |
//! | 7 | `room` | members, what a line becomes, who gets it, history, moderation | no socket |
//! | 6 | `broadcast` | what the room hands to connections: the batch of a turn, lines for single clients | |
//! | 6 | `events` | what happened, told to one observer | |
//! | 6 | `relay` | one room on several servers: the log that they share, read in order and written | no socket, no engine |
//! | 5 | `metrics` | what happened, in numbers | |
//! | 4 | [`protocol`] | bytes and their meaning: telnet, lines, commands, every text that a client reads, the frames of NATS, what servers tell each other | |
//! | 3 | `config` | every number, with its unit and its reason; addresses, prefix, passwords | clap, with the feature `cli` |
//! | 2 | [`text`] | the only road from a peer's bytes to another terminal; nicks | |
//! | 1 | `time` | moments in eight bytes, timers, rates, what expires | no clock |
//! | 1 | `client_id`, `peer` | a client's number; the other end of a connection | |
//!
//! # What holds everywhere
//!
//! * Every queue, buffer, loop and wait has a limit: in [`Limits`], or as a constant beside it. Memory is
//!   limited, not only length.
//! * What a client sent is shown to nobody before [`text::clean`] was through it.
//! * One client's error is that client's alone. It is only marked where it happens, and acted on in one
//!   place.
//! * A slot of the slab is freed at the end of a turn, never in the middle of a batch of events.
//! * Lists are hints and the client is the truth, so a stale number in a list does no harm.
//! * Nothing is written while input is decoded, and nothing is decoded while output is written.
//! * The clock is read in [`server`] only. What a turn does it does at one time, which everybody else is
//!   handed as `now`. The time of day is handed in from there as well, as a function.
//! * Nothing that a peer does makes the server panic, and there is no `unsafe` code.

#![deny(
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::arithmetic_side_effects,
        reason = "a test may panic"
    )
)]
#![forbid(unsafe_code)]

mod broadcast;
mod client_id;
mod config;
mod conn;
pub mod engine;
mod events;
pub mod manual;
mod metrics;
mod peer;
pub mod protocol;
#[cfg_attr(
    not(feature = "relay"),
    allow(dead_code, reason = "nothing connects to the engine of other servers")
)]
mod relay;
mod room;
pub mod server;
mod session;
pub mod text;
mod time;

pub use client_id::ClientId;
pub use config::addr::{
    Eof, Eol, KeyProblem, Layers, ListenAddr, ListenAddrError, Place, Role, Script, Service,
};
pub use config::entrance::Entrance;
pub use config::interactive::{Interactive, Profile};
pub use config::network::{Network, NetworkError};
pub use config::password::{Password, PasswordError};
pub use config::prefix::{Prefix, PrefixError};
pub use config::relay::{
    RelayAuth, RelayConfig, RelayHost, RelayRoom, RelayRoomError, RelaySecret, RelayTimes,
    RelayUrl, RelayUrlError,
};
pub use config::tls::TlsFiles;
pub use config::unix_socket::{Group, UnixName, UnixSocket};
pub use config::{Config, ConfigError, Lag, Limits};
pub use events::{Event, Heard, Observer};
pub use metrics::{AcceptFailure, Histogram, Metrics, ProcessStats, RelayMetrics, RelayState};
pub use peer::{Origin, Peer};
pub use protocol::close_reason::CloseReason;
pub use server::handle::Handle;
pub use server::transport::BoundListener;
#[cfg(feature = "tls")]
pub use server::transport::tls::Tls;
pub use server::{Server, Status};

/// The code of the README is a test as well.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
