//! What carries the bytes of a connection: each transport keeps the contract of
//! [`Stream`](crate::engine::Stream) on a socket of mio's. There is TCP; a Unix socket or TLS is another
//! file here.

mod tcp;

pub(super) use tcp::Tcp;
