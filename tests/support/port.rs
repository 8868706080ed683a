//! A port that nobody else gets and at which nobody listens, until the test does.
//!
//! A port of a listener that was dropped is neither: the kernel may give it to another test, and a child
//! process that another test starts at that moment holds the listener open until it is executed.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Bound to the port on all addresses, and never listening: a connection is refused, and a server that
/// sets SO_REUSEADDR may listen there (socket(7)).
pub(crate) struct ReservedPort(Socket);

impl ReservedPort {
    pub(crate) fn new() -> Self {
        // IPv6's wildcard takes in IPv4, where the machine has IPv6.
        let socket = reserve(Domain::IPV6, (Ipv6Addr::UNSPECIFIED, 0).into())
            .or_else(|_| reserve(Domain::IPV4, (Ipv4Addr::UNSPECIFIED, 0).into()));
        Self(socket.expect("a port"))
    }

    pub(crate) fn number(&self) -> u16 {
        let addr = self.0.local_addr().expect("it is bound");
        addr.as_socket().expect("it is a port").port()
    }
}

fn reserve(domain: Domain, addr: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM.cloexec(), None)?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}
