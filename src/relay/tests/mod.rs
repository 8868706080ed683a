//! The relay of several servers on one engine, all of them simulated.
//!
//! | module | its idea |
//! |---|---|
//! | `engine` | a log, its links, and everything that goes wrong with them |
//! | `world` | servers with people who speak, and the time |
//! | `journal` | what a room is told, and what has to hold for it alone |
//! | `scenes` | one thing at a time |
//! | `simulation` | everything at once, many times |

#![allow(clippy::panic, clippy::expect_used, reason = "a failed run panics")]

mod engine;
mod journal;
mod scenes;
mod simulation;
mod tally;
mod world;
