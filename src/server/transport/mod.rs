//! What carries the bytes of a connection: each transport keeps the contract of
//! [`Stream`](crate::engine::Stream) on a socket of mio's. There is TCP; a Unix socket or TLS is another
//! file here.

mod sock_diag;
mod tcp;

pub(super) use sock_diag::SockDiag;
pub(super) use tcp::{Keepalive, Tcp};
