//! The manual: one page for each reader. The pages are also files beside this one, so that they can be
//! read without a browser.
//!
//! | page | for |
//! |---|---|
//! | [`protocol`] | those who write a client or a script |
//! | [`interactive`] | people at a prompt, and the operators among them |
//! | [`operating`] | those who run the server: flags, log, metrics, limits, a public port |
//! | [`servers`] | those who run one room on many servers |
//! | [`packages`] | those who install it as a service, a package or a container |
//! | [`security`] | those who want to know what is protected, or have found that it is not |
//! | [`privacy`] | those who are asked what is kept about people |
//! | [`performance`] | those who need low latency, or want to measure |
//! | [`embedding`] | those who put a server into a program |
//! | [`testing`] | those who run the tests, the simulation, the fuzz targets and the benches |
//! | [`changing`] | those who change the code: which places are touched, and in which order |

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

#[doc = include_str!("servers.md")]
pub mod servers {}

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
