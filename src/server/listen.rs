//! From a place that was asked for to listening sockets, with every option set. Options are set on the
//! listener, because Linux hands them down to each accepted socket, and so a connection costs no system
//! call for them.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Limits;
use crate::config::addr::Place;
use crate::server::transport::keepalive;

/// How many connections may wait to be accepted. The system cuts it down to its own limit
/// (`somaxconn`, 4096).
const BACKLOG: i32 = 4096;

/// How much a socket takes before it has sent it (tcp(7), `TCP_NOTSENT_LOWAT`), in bytes: what the
/// kernel would hide from us of a slow reader, some 4 MB, stays below 256 KB with it.
const NOT_SENT_BYTES: u32 = 128 << 10;

/// The listeners of one address, and the errors of those that it also stands for but that could not
/// be had.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) errors: Vec<io::Error>,
}

/// Binds an address: a listener for each address that it resolves to, of which at least one must
/// work.
pub(crate) fn bind(addr: &Place, limits: &Limits) -> io::Result<Bound> {
    let mut bound = Bound::default();
    for addr in resolve(addr)? {
        match listener(addr, limits) {
            Ok(listener) => bound.listeners.push(listener),
            Err(error) => bound.errors.push(explain(addr, &error)),
        }
    }
    if bound.listeners.is_empty() {
        let nothing = || io::Error::new(io::ErrorKind::NotFound, format!("{addr} has no address"));
        return Err(bound.errors.into_iter().next().unwrap_or_else(nothing));
    }
    Ok(bound)
}

fn resolve(addr: &Place) -> io::Result<Vec<SocketAddr>> {
    let (name, port) = match addr {
        Place::Socket(addr) => return Ok(vec![*addr]),
        Place::Host { name, port } => (name.as_str(), *port),
    };
    let resolved = (name, port).to_socket_addrs().map_err(|error| {
        let text = format!(
            "cannot resolve host \"{name}\": {error}; check its spelling or give an IP address"
        );
        io::Error::new(error.kind(), text)
    })?;
    let mut addrs = Vec::new();
    for addr in resolved {
        if !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    Ok(addrs)
}

fn listener(addr: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        // So that 0.0.0.0:p and [::]:p can both be had (ipv6(7)).
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for the connections of the run before (socket(7)).
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // Telnet's Synch sends a byte as urgent data; it belongs where it was sent (RFC 1123, 3.2.4).
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_notsent_lowat(NOT_SENT_BYTES)?;
    socket.set_tcp_keepalive(&keepalive(limits))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn is_mapped(addr: SocketAddr) -> bool {
    addr.ip() != addr.ip().to_canonical()
}

/// Says of an error which address it is about, and what to do.
fn explain(addr: SocketAddr, error: &io::Error) -> io::Error {
    let text = match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => "address already in use; stop the server that has it or choose another port".into(),
        Some(Errno::ACCESS | Errno::PERM) => {
            "permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE, so choose a higher one".into()
        }
        Some(Errno::ADDRNOTAVAIL) => {
            "no interface of this machine has that address; choose one that it has, or 0.0.0.0 or [::] for all".into()
        }
        Some(Errno::INVAL) if is_mapped(addr) => {
            "that is an IPv4 address in the form of an IPv6 one; give the IPv4 address".into()
        }
        Some(Errno::AFNOSUPPORT) => "this machine has no such addresses; choose one of the other IP version".into(),
        _ => format!("{error}; choose another address"),
    };
    io::Error::new(error.kind(), format!("cannot listen on {addr}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpStream;
    use std::time::Duration;

    use socket2::SockRef;

    /// Both ends of a connection, the accepted one first.
    fn connection(limits: &Limits) -> (TcpStream, TcpStream) {
        let addr = Place::Socket(([127, 0, 0, 1], 0).into());
        let bound = bind(&addr, limits).expect("a free port");
        let listener = &bound.listeners[0];
        // The accept is to wait for the connection.
        listener
            .set_nonblocking(false)
            .expect("a blocking listener");
        let addr = listener.local_addr().expect("an address");
        let peer = TcpStream::connect(addr).expect("a connection");
        let (accepted, _) = listener.accept().expect("a connection");
        (accepted, peer)
    }

    #[test]
    fn an_accepted_socket_inherits_every_option() {
        let (accepted, _peer) = connection(&Limits::default());
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().expect("TCP_NODELAY"));
        assert!(socket.out_of_band_inline().expect("SO_OOBINLINE"));
        assert!(socket.keepalive().expect("SO_KEEPALIVE"));
        let idle = socket.tcp_keepalive_time().expect("TCP_KEEPIDLE");
        let interval = socket.tcp_keepalive_interval().expect("TCP_KEEPINTVL");
        let probes = socket.tcp_keepalive_retries().expect("TCP_KEEPCNT");
        // A silent peer is given up after two minutes.
        assert_eq!(idle + interval * probes, Duration::from_secs(120));
        // It would switch the count of probes off (tcp(7)).
        let user_timeout = socket.tcp_user_timeout().expect("TCP_USER_TIMEOUT");
        assert_eq!(user_timeout, None);
        let not_sent = socket.tcp_notsent_lowat().expect("TCP_NOTSENT_LOWAT");
        assert_eq!(not_sent, NOT_SENT_BYTES);
    }

    #[test]
    fn the_kernel_hides_little_of_a_peer_that_does_not_read() {
        let (mut accepted, _peer) = connection(&Limits::default());
        accepted
            .set_nonblocking(true)
            .expect("a non-blocking socket");
        let mut taken = 0;
        while let Ok(n) = accepted.write(&[b'x'; 16 << 10]) {
            taken += n;
        }
        // It is some 4 MB without TCP_NOTSENT_LOWAT.
        assert!(taken < 1 << 20, "{taken} bytes");
    }

    #[test]
    fn an_ipv4_address_in_the_form_of_an_ipv6_one_is_named() {
        let addr = "[::ffff:127.0.0.1]:0".parse().expect("an address");
        let error = bind(&addr, &Limits::default()).expect_err("IPV6_V6ONLY");
        assert!(
            error.to_string().ends_with("give the IPv4 address"),
            "{error}"
        );
    }

    #[test]
    fn an_address_that_is_in_use_is_named_with_what_to_do() {
        let addr = Place::Socket(([127, 0, 0, 1], 0).into());
        let bound = bind(&addr, &Limits::default()).expect("a free port");
        let addr = bound.listeners[0].local_addr().expect("an address");
        let error = bind(&Place::Socket(addr), &Limits::default());
        let text = error.expect_err("it is in use").to_string();
        assert_eq!(
            text,
            format!(
                "cannot listen on {addr}: address already in use; \
                 stop the server that has it or choose another port"
            )
        );
    }
}
