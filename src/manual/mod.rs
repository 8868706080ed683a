//! The manual: one page for each reader. The pages are also files beside this one, so that they can be
//! read without a browser.
//!
//! | page | for |
//! |---|---|
//! | [`protocol`] | whoever writes a client or a script |
//! | [`interactive`] | people at a prompt, and the operators among them |
//! | [`operating`] | whoever runs the server: flags, log, metrics, limits, a public port |
//! | [`packages`] | whoever installs it as a service, a package or a container |
//! | [`security`] | whoever wants to know what is protected, or has found that it is not |
//! | [`privacy`] | whoever is asked what is kept about people |
//! | [`performance`] | whoever needs low latency, or wants to measure |
//! | [`embedding`] | whoever puts a server into a program |
//! | [`testing`] | whoever runs the tests, the simulation, the fuzz targets and the benches |
//! | [`changing`] | whoever changes the code: which places are touched, and in which order |

// What the pages link to.
#[cfg(doc)]
use super::{
    CloseReason, Config, Event, Handle, Limits, ListenAddr, Metrics, Observer, Peer, Profile,
    Script, Server, Service, engine, engine::Engine, protocol as wire, server, text,
};

#[doc = include_str!("protocol.md")]
pub mod protocol {}

#[doc = include_str!("interactive.md")]
pub mod interactive {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("packages.md")]
pub mod packages {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("privacy.md")]
pub mod privacy {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("changing.md")]
pub mod changing {}
