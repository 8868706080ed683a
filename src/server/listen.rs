//! Turns the requested addresses into listening sockets with every option set. Options are set on the
//! listener, because Linux copies them to each accepted socket, so they cost no system call per
//! connection.
//!
//! A missing feature of the system does not keep the server from starting: a socket option that is not
//! supported (WSL 1, gVisor and old kernels answer ENOPROTOOPT), or missing IPv6, is a warning as long
//! as the server can listen on one address. A problem that the operator can fix, such as a port in use,
//! is an error.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::addr::{ListenAddr, Place, Service};
use crate::config::interactive::Profile;
use crate::config::{Config, Limits};
use crate::server::transport::Keepalive;

/// How many connections may wait to be accepted. The system cuts it down to its own limit
/// (`somaxconn`, 4096).
const BACKLOG: i32 = 4096;

/// How much a socket takes before it has sent it (tcp(7), `TCP_NOTSENT_LOWAT`), in bytes: what the
/// kernel would hide from us of a slow reader, some 4 MB, stays below 256 KB with it.
const NOT_SENT_BYTES: u32 = 128 << 10;

/// How often another port is tried if the kernel chose a port for the first of two addresses that is in
/// use on the second.
const PORT_TRIES: u32 = 16;

/// The listening sockets, each with the service for its clients, and the problems to report to the
/// operator.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) sockets: Vec<(TcpListener, Service)>,
    /// Errors of addresses that are not available and that the server can do without.
    pub(super) errors: Vec<io::Error>,
    /// Unsupported socket options, each once.
    pub(super) unsupported: Vec<Unsupported>,
}

/// A socket option that the system does not support.
#[derive(Debug)]
pub(super) struct Unsupported {
    /// The name of the option, as in socket(7), tcp(7) and ipv6(7).
    pub(super) option: &'static str,
    /// What is lost without it.
    pub(super) loss: &'static str,
    /// The error that the system returned.
    pub(super) error: io::Error,
}

/// A requested address, with the socket addresses that it stands for.
#[derive(Debug)]
struct Request<'c> {
    asked: &'c ListenAddr,
    service: Service,
    addrs: Vec<SocketAddr>,
}

impl Listening {
    /// Binds every address of `config`, and takes over `bound`.
    ///
    /// # Errors
    /// The text names the address and says what to do.
    pub(super) fn bind(config: &Config, bound: Vec<(TcpListener, Service)>) -> io::Result<Self> {
        let requests = requests(config)?;
        let all: Vec<SocketAddr> = requests.iter().flat_map(|it| &it.addrs).copied().collect();
        let handed_in = bound.iter().filter_map(|(it, _)| it.local_addr().ok());
        let all: Vec<SocketAddr> = all.into_iter().chain(handed_in).collect();
        check_overlaps(&requests, &all)?;
        let mut listening = Self::default();
        let mut missing = Vec::new();
        for request in &requests {
            listening.bind_request(request, &all, &config.limits, &mut missing)?;
        }
        for (socket, service) in bound {
            socket.set_nonblocking(true)?;
            listening.set_keepalive(&socket, &config.limits);
            listening.sockets.push((socket, service));
        }
        if listening.sockets.is_empty() && !missing.is_empty() {
            return Err(missing.swap_remove(0));
        }
        listening.errors.append(&mut missing);
        Ok(listening)
    }

    /// Binds one request. The errors of addresses that this machine does not have are added to
    /// `missing`.
    fn bind_request(
        &mut self,
        request: &Request<'_>,
        all: &[SocketAddr],
        limits: &Limits,
        missing: &mut Vec<io::Error>,
    ) -> io::Result<()> {
        if let Place::Loopback { port } = request.asked.place {
            return self.bind_loopback(port, request, all, limits, missing);
        }
        let mut errors = Vec::new();
        let mut is_served = false;
        for &addr in &request.addrs {
            match self.listen(addr, all, limits) {
                Ok(socket) => {
                    self.sockets.push((socket, request.service));
                    is_served = true;
                }
                Err(error) if self.is_missing(addr, &error, all) => {
                    missing.push(explain(addr, &error));
                    is_served = true;
                }
                Err(error) => errors.push(explain(addr, &error)),
            }
        }
        if !is_served && !errors.is_empty() {
            return Err(errors.swap_remove(0));
        }
        self.errors.append(&mut errors);
        Ok(())
    }

    /// Binds a port on both loopback addresses. A missing `::1` needs no warning, but a port that
    /// another process has on `::1` is an error: clients that connect to `localhost` would reach that
    /// process.
    fn bind_loopback(
        &mut self,
        port: u16,
        request: &Request<'_>,
        all: &[SocketAddr],
        limits: &Limits,
        missing: &mut Vec<io::Error>,
    ) -> io::Result<()> {
        for tries_left in (0..PORT_TRIES).rev() {
            let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let first = match self.listen(v4, all, limits) {
                Ok(socket) => Some(socket),
                Err(error) if self.is_missing(v4, &error, all) => {
                    missing.push(explain(v4, &error));
                    None
                }
                Err(error) => return Err(explain(v4, &error)),
            };
            let chosen = first
                .as_ref()
                .and_then(|it| Some(it.local_addr().ok()?.port()));
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, chosen.unwrap_or(port)));
            let second = match self.listen(v6, all, limits) {
                Ok(socket) => Some(socket),
                Err(error) if self.is_missing(v6, &error, all) => {
                    if first.is_none() {
                        missing.push(explain(v6, &error));
                    }
                    None
                }
                Err(error) if port == 0 && tries_left > 0 && is_in_use(&error) => continue,
                Err(error) => return Err(explain(v6, &error)),
            };
            let sockets = first.into_iter().chain(second);
            self.sockets.extend(sockets.map(|it| (it, request.service)));
            return Ok(());
        }
        Ok(())
    }

    /// Opens a listening socket. Of its options, only non-blocking mode is required.
    fn listen(
        &mut self,
        addr: SocketAddr,
        all: &[SocketAddr],
        limits: &Limits,
    ) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if addr.is_ipv6() {
            let result = socket.set_only_v6(!serves_ipv4_too(addr, all));
            self.note(ONLY_V6, "IPv4 clients may reach an IPv6 listener", result);
        }
        self.set_options(&socket, limits);
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }

    fn set_options(&mut self, socket: &Socket, limits: &Limits) {
        self.note(
            "SO_REUSEADDR",
            "after a restart the port may be in use for a minute",
            socket.set_reuse_address(true),
        );
        self.note(
            "TCP_NODELAY",
            "lines may arrive late",
            socket.set_tcp_nodelay(true),
        );
        // Telnet's Synch sends a byte as urgent data; it must stay in its place in the stream (RFC
        // 1123, 3.2.4).
        self.note(
            "SO_OOBINLINE",
            "after telnet's Synch a character may be lost",
            socket.set_out_of_band_inline(true),
        );
        self.note(
            "TCP_NOTSENT_LOWAT",
            "a slow reader is noticed late",
            socket.set_tcp_notsent_lowat(NOT_SENT_BYTES),
        );
        self.set_keepalive(socket, limits);
    }

    fn set_keepalive(&mut self, socket: &impl AsFd, limits: &Limits) {
        let loss = "a client that is gone without a word is noticed late";
        let keepalive = Keepalive::new(limits);
        keepalive.set(socket, |option, result| self.note(option, loss, result));
    }

    /// Records an option that could not be set, unless it was recorded before.
    fn note(&mut self, option: &'static str, loss: &'static str, result: io::Result<()>) {
        if let Err(error) = result
            && !self.lacks(option)
        {
            self.unsupported.push(Unsupported {
                option,
                loss,
                error,
            });
        }
    }

    fn lacks(&self, option: &str) -> bool {
        self.unsupported.iter().any(|it| it.option == option)
    }

    /// Whether an address is not available because this machine lacks its address family, which the
    /// operator may not be able to change.
    fn is_missing(&self, addr: SocketAddr, error: &io::Error, all: &[SocketAddr]) -> bool {
        match Errno::from_io_error(error) {
            Some(Errno::AFNOSUPPORT) => true,
            // IPv6 is disabled (sysctl net.ipv6.conf.lo.disable_ipv6).
            Some(Errno::ADDRNOTAVAIL) => addr.ip() == Ipv6Addr::LOCALHOST,
            // Without `IPV6_V6ONLY`, `[::]` also takes the IPv4 port, which another listener has.
            Some(Errno::ADDRINUSE) => {
                self.lacks(ONLY_V6) && is_all_ipv6(addr) && !serves_ipv4_too(addr, all)
            }
            _ => false,
        }
    }
}

const ONLY_V6: &str = "IPV6_V6ONLY";

fn is_in_use(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::ADDRINUSE)
}

fn is_all_ipv6(addr: SocketAddr) -> bool {
    addr.ip() == Ipv6Addr::UNSPECIFIED
}

/// Whether a listener on this address also accepts IPv4 clients (ipv6(7)): it is `[::]`, and no other
/// listener has its port for IPv4.
fn serves_ipv4_too(addr: SocketAddr, all: &[SocketAddr]) -> bool {
    let is_taken = |other: &SocketAddr| other.is_ipv4() && other.port() == addr.port();
    is_all_ipv6(addr) && (addr.port() == 0 || !all.iter().any(is_taken))
}

/// Returns the requests of the configuration, in the order in which they are bound.
fn requests(config: &Config) -> io::Result<Vec<Request<'_>>> {
    let usual = Service::Chat(config.interactive.profile());
    let plain = Service::Chat(Profile::Plain);
    let listen = config.listen.iter().map(|asked| (asked, usual));
    let all = listen.chain(config.listen_plain.iter().map(|asked| (asked, plain)));
    let mut requests = Vec::new();
    for (asked, default) in all {
        requests.push(Request {
            asked,
            service: asked.service.unwrap_or(default),
            addrs: resolve(&asked.place)?,
        });
    }
    Ok(requests)
}

/// Returns the addresses that a place stands for, at least one.
fn resolve(place: &Place) -> io::Result<Vec<SocketAddr>> {
    match place {
        Place::Socket(addr) => Ok(vec![*addr]),
        Place::Loopback { port } => Ok(vec![
            (Ipv4Addr::LOCALHOST, *port).into(),
            (Ipv6Addr::LOCALHOST, *port).into(),
        ]),
        Place::Scoped {
            ip,
            interface,
            port,
        } => {
            let scope = interface_number(interface).map_err(|error| {
                named(
                    place,
                    &format!("there is no interface {interface}: {error}; ip link lists them"),
                )
            })?;
            Ok(vec![SocketAddrV6::new(*ip, *port, 0, scope).into()])
        }
        Place::Host { name, port } => resolve_host(name, *port),
    }
}

/// Returns the index of a network interface (netdevice(7), SIOCGIFINDEX).
fn interface_number(name: &str) -> io::Result<u32> {
    let any = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    Ok(name_to_index(&any, name)?)
}

fn resolve_host(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
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
    match addrs.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{name} has no address"),
        )),
        false => Ok(addrs),
    }
}

/// Refuses two requests that overlap: the kernel would only report that the address is in use, as if
/// another process had it.
fn check_overlaps(requests: &[Request<'_>], all: &[SocketAddr]) -> io::Result<()> {
    let mut rest = requests;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        for other in others {
            for &a in &first.addrs {
                for &b in &other.addrs {
                    if let Some(text) = overlap((first.asked, a), (other.asked, b), all) {
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Returns why the server cannot listen on both addresses, if it cannot.
fn overlap(
    (first, a): (&ListenAddr, SocketAddr),
    (second, b): (&ListenAddr, SocketAddr),
    all: &[SocketAddr],
) -> Option<String> {
    if a.port() != b.port() || a.port() == 0 {
        return None;
    }
    if a == b {
        return Some(match first == second {
            true => format!("{first} is given twice: give it once"),
            false => format!("{a} is given twice, as {first} and as {second}: give it once"),
        });
    }
    let includes = |any: SocketAddr, one: SocketAddr| match (any.ip(), one.ip()) {
        (IpAddr::V4(any), IpAddr::V4(_)) => any.is_unspecified(),
        (IpAddr::V6(v6), IpAddr::V6(_)) => v6.is_unspecified(),
        (IpAddr::V6(_), IpAddr::V4(_)) => serves_ipv4_too(any, all),
        (IpAddr::V4(_), IpAddr::V6(_)) => false,
    };
    let (any, one) = match (includes(a, b), includes(b, a)) {
        (true, _) => (a, b),
        (false, true) => (b, a),
        (false, false) => return None,
    };
    Some(format!("{any} includes {one}: give only one of them"))
}

fn named(place: &Place, why: &str) -> io::Error {
    io::Error::other(format!("cannot listen on {place}: {why}"))
}

fn is_mapped(addr: SocketAddr) -> bool {
    addr.ip() != addr.ip().to_canonical()
}

/// Whether this is an address that needs an interface but has none (RFC 4007, section 6).
fn lacks_scope(addr: SocketAddr) -> bool {
    matches!(addr, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0)
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
        Some(Errno::INVAL) if lacks_scope(addr) => format!(
            "a link-local address belongs to an interface; name it, for example [{}%eth0]:{}",
            addr.ip(),
            addr.port()
        ),
        Some(Errno::NODEV) => "there is no such interface; ip link lists them".into(),
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

    fn bind(addrs: &[&str], limits: &Limits) -> io::Result<Listening> {
        let addr = |text: &&str| text.parse().expect("an address to listen on");
        let config = Config {
            listen: addrs.iter().map(addr).collect(),
            limits: limits.clone(),
            ..Config::default()
        };
        Listening::bind(&config, Vec::new())
    }

    /// Both ends of a connection, the accepted one first.
    fn connection(limits: &Limits) -> (TcpStream, TcpStream) {
        let listening = bind(&["127.0.0.1:0"], limits).expect("a free port");
        let (listener, _) = &listening.sockets[0];
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
        // A silent peer is closed after two minutes.
        assert_eq!(idle + interval * probes, Duration::from_secs(120));
        // TCP_USER_TIMEOUT would override the number of probes (tcp(7)).
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

    fn error_of(addrs: &[&str]) -> String {
        let error = bind(addrs, &Limits::default()).expect_err("it cannot be had");
        error.to_string()
    }

    #[test]
    fn an_ipv4_address_in_the_form_of_an_ipv6_one_is_named() {
        let error = error_of(&["[::ffff:127.0.0.1]:0"]);
        assert!(error.ends_with("give the IPv4 address"), "{error}");
    }

    #[test]
    fn an_address_that_is_in_use_is_named_with_what_to_do() {
        let listening = bind(&["127.0.0.1:0"], &Limits::default()).expect("a free port");
        let addr = listening.sockets[0].0.local_addr().expect("an address");
        assert_eq!(
            error_of(&[&addr.to_string()]),
            format!(
                "cannot listen on {addr}: address already in use; \
                 stop the server that has it or choose another port"
            )
        );
    }

    #[test]
    fn all_ipv6_addresses_include_ipv4_unless_a_listener_has_that_port() {
        let addr = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let any = addr("[::]:6142");
        for (other, expected) in [
            ("0.0.0.0:6142", false),
            ("127.0.0.1:6142", false),
            ("0.0.0.0:6143", true),
            ("[::1]:6143", true),
        ] {
            assert_eq!(
                serves_ipv4_too(any, &[any, addr(other)]),
                expected,
                "{other}"
            );
        }
        assert!(!serves_ipv4_too(addr("[::1]:6142"), &[]));
    }

    #[test]
    fn addresses_that_overlap_are_named() {
        for (addrs, expected) in [
            (
                ["127.0.0.1:7", "127.0.0.1:7"],
                "127.0.0.1:7 is given twice: give it once",
            ),
            (["7", ":7"], "7 is given twice: give it once"),
            (
                ["7", "[::1]:7"],
                "[::1]:7 is given twice, as 7 and as [::1]:7: give it once",
            ),
            (
                ["127.0.0.1:7", "plain:127.0.0.1:7"],
                "127.0.0.1:7 is given twice, as 127.0.0.1:7 and as plain:127.0.0.1:7: give it once",
            ),
            (
                ["127.0.0.1:7", "0.0.0.0:7"],
                "0.0.0.0:7 includes 127.0.0.1:7: give only one of them",
            ),
            (
                ["[::]:7", "[::1]:7"],
                "[::]:7 includes [::1]:7: give only one of them",
            ),
        ] {
            assert_eq!(error_of(&addrs), expected);
        }
        bind(&["127.0.0.1:0", "127.0.0.1:0"], &Limits::default()).expect("two ports");
    }
}
