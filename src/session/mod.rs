//! One protocol each, and who may do what.

pub(crate) mod admission;
pub(crate) mod auth;
mod commands;
mod login;
pub(crate) mod secrets;
