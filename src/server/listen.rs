//! Turns the requested addresses into listening sockets with every option set. Options are set on the
//! listener, because Linux copies them to each accepted socket, so they cost no system call per
//! connection.
//!
//! A missing feature of the system does not keep the server from starting: a socket option that is not
//! supported (WSL 1, gVisor and old kernels answer ENOPROTOOPT), or missing IPv6, is a warning as long
//! as the server can listen on one address. A problem that the operator can fix, such as a port in use,
//! is an error.

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::addr::{ListenAddr, Place, Role, Service};
use crate::config::interactive::Profile;
use crate::config::unix_socket::{UnixName, UnixSocket};
use crate::config::{Config, Limits};
use crate::server::transport::{BoundListener, Keepalive};
use crate::server::unix_socket::{self, SocketFile};

/// How many connections may wait to be accepted. The system cuts it down to its own limit
/// (`somaxconn`, 4096).
pub(super) const BACKLOG: i32 = 4096;

/// How much a socket takes before it has sent it (tcp(7), `TCP_NOTSENT_LOWAT`), in bytes: what the
/// kernel would hide from us of a slow reader, some 4 MB, stays below 256 KB with it.
const NOT_SENT_BYTES: u32 = 128 << 10;

/// How many ports are tried if the kernel chooses one for the first of two addresses that is in use on
/// the second.
const PORT_TRIES: u32 = 16;

/// The option by which an IPv6 listener leaves IPv4 clients to another one.
const ONLY_V6: &str = "IPV6_V6ONLY";

/// The listening sockets, and the problems to report to the operator.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) sockets: Vec<Bound>,
    /// Errors of addresses that are not available and that the server can do without.
    pub(super) errors: Vec<io::Error>,
    /// Unsupported socket options, each once.
    pub(super) unsupported: Vec<Unsupported>,
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Bound {
    /// The file of a Unix socket. It is dropped before the socket: until then no other file has its inode.
    pub(super) file: Option<SocketFile>,
    pub(super) socket: BoundListener,
    pub(super) role: Role,
    /// The name of a Unix socket. The kernel's is the one that it was bound to first.
    pub(super) name: Option<UnixName>,
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

impl Listening {
    /// Whether a listener answers HTTP requests.
    pub(super) fn has_http(&self) -> bool {
        let mut services = self.sockets.iter().map(|bound| bound.role.service);
        services.any(|service| service == Service::Http)
    }

    /// Binds every address of `config`, and takes over `bound`.
    ///
    /// # Errors
    /// The text names the address and says what to do.
    pub(super) fn bind(config: &Config, bound: Vec<(BoundListener, Role)>) -> io::Result<Self> {
        let requests = requests(config)?;
        check_overlaps(&requests)?;
        let requested = requests.iter().flat_map(|it| &it.addrs).copied();
        let handed_in = bound.iter().filter_map(|(it, _)| it.tcp_addr());
        let mut binder = Binder {
            limits: &config.limits,
            all: requested.chain(handed_in).collect(),
            missing: Vec::new(),
            listening: Self::default(),
        };
        for request in &requests {
            binder.bind(request)?;
        }
        for (socket, role) in bound {
            binder.take_over(socket, role)?;
        }
        binder.finish()
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
}

/// A requested address, with the socket addresses that it stands for.
#[derive(Debug)]
struct Request<'c> {
    asked: &'c ListenAddr,
    role: Role,
    addrs: Vec<SocketAddr>,
}

/// Binds one request after the other.
#[derive(Debug)]
struct Binder<'c> {
    limits: &'c Limits,
    /// Every address on which the server is to listen.
    all: Vec<SocketAddr>,
    /// The errors of addresses that this machine does not have. They are fatal only if there is no
    /// other address.
    missing: Vec<io::Error>,
    listening: Listening,
}

/// What became of an address.
#[derive(Debug)]
enum Outcome {
    Listening(TcpListener),
    /// This machine does not have it, for this reason.
    Missing(io::Error),
}

impl Outcome {
    /// Returns the port on which it listens.
    fn port(&self) -> Option<u16> {
        match self {
            Self::Listening(socket) => Some(socket.local_addr().ok()?.port()),
            Self::Missing(_) => None,
        }
    }
}

impl Binder<'_> {
    /// Binds the addresses of a request. The server can do without one that fails if it has another.
    fn bind(&mut self, request: &Request<'_>) -> io::Result<()> {
        match &request.asked.place {
            Place::Loopback { port } => return self.bind_loopback(*port, request.role),
            Place::Unix(asked) => return self.bind_unix(asked, request.role),
            _ => {}
        }
        let mut errors = Vec::new();
        let mut is_bound = false;
        for &addr in &request.addrs {
            match self.listen_on(addr) {
                Ok(outcome) => {
                    self.keep(outcome, request.role);
                    is_bound = true;
                }
                Err(error) => errors.push(explain(addr, &error)),
            }
        }
        if !is_bound && !errors.is_empty() {
            return Err(errors.swap_remove(0));
        }
        self.listening.errors.append(&mut errors);
        Ok(())
    }

    /// Binds a port on both loopback addresses. A missing `::1` needs no warning, but a port that
    /// another process has on `::1` is an error: clients that connect to `localhost` would reach that
    /// process.
    fn bind_loopback(&mut self, port: u16, role: Role) -> io::Result<()> {
        let v4_addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut tries_left = PORT_TRIES;
        loop {
            tries_left = tries_left.saturating_sub(1);
            let v4 = self.listen_on(v4_addr);
            let v4 = v4.map_err(|error| explain(v4_addr, &error))?;
            let port = v4.port().unwrap_or(port);
            let v6_addr = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
            match self.listen_on(v6_addr) {
                Ok(Outcome::Missing(_)) if matches!(v4, Outcome::Listening(_)) => {
                    self.keep(v4, role);
                    return Ok(());
                }
                Ok(v6) => {
                    self.keep(v4, role);
                    self.keep(v6, role);
                    return Ok(());
                }
                // The kernel chose the port, and may choose another one.
                Err(error) if v4_addr.port() == 0 && tries_left > 0 && is_in_use(&error) => {}
                Err(error) => return Err(explain(v6_addr, &error)),
            }
        }
    }

    fn bind_unix(&mut self, asked: &UnixSocket, role: Role) -> io::Result<()> {
        let (socket, file) = unix_socket::listen(asked)?;
        self.listening.sockets.push(Bound {
            file,
            socket: socket.into(),
            role,
            name: Some(asked.name.clone()),
        });
        Ok(())
    }

    fn keep(&mut self, outcome: Outcome, role: Role) {
        match outcome {
            Outcome::Listening(socket) => {
                self.listening.sockets.push(Bound {
                    file: None,
                    socket: socket.into(),
                    role,
                    name: None,
                });
            }
            Outcome::Missing(error) => self.missing.push(error),
        }
    }

    /// Takes over a socket that listens already.
    fn take_over(&mut self, socket: BoundListener, role: Role) -> io::Result<()> {
        let is_set = SockRef::from(&socket).set_nonblocking(true);
        is_set.map_err(|error| {
            let text = format!("cannot use a listener that was handed in: {error}");
            io::Error::new(error.kind(), text)
        })?;
        let name = match &socket {
            BoundListener::Tcp(socket) => {
                self.set_connection_options(socket);
                None
            }
            BoundListener::Unix(socket) => unix_socket::name_of(socket),
        };
        self.listening.sockets.push(Bound {
            file: None,
            socket,
            role,
            name,
        });
        Ok(())
    }

    fn finish(mut self) -> io::Result<Listening> {
        if self.listening.sockets.is_empty() && !self.missing.is_empty() {
            return Err(self.missing.swap_remove(0));
        }
        self.listening.errors.append(&mut self.missing);
        Ok(self.listening)
    }

    /// Listens on an address, unless this machine has no such address.
    fn listen_on(&mut self, addr: SocketAddr) -> io::Result<Outcome> {
        match self.listen(addr) {
            Ok(socket) => Ok(Outcome::Listening(socket)),
            Err(error) if self.is_missing(addr, &error) => {
                Ok(Outcome::Missing(explain(addr, &error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a listening socket. Of its options, only non-blocking mode is required.
    fn listen(&mut self, addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if addr.is_ipv6() {
            let result = socket.set_only_v6(!serves_ipv4_too(addr, &self.all));
            let loss = "IPv4 clients may reach an IPv6 listener";
            self.listening.note(ONLY_V6, loss, result);
        }
        self.set_options(&socket);
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }

    fn set_options(&mut self, socket: &Socket) {
        self.listening.note(
            "SO_REUSEADDR",
            "after a restart the port may be in use for a minute",
            socket.set_reuse_address(true),
        );
        self.set_connection_options(socket);
    }

    /// Sets the options that each accepted connection gets.
    fn set_connection_options(&mut self, socket: &impl AsFd) {
        let options = SockRef::from(socket);
        self.listening.note(
            "TCP_NODELAY",
            "lines may arrive late",
            options.set_tcp_nodelay(true),
        );
        // Telnet's Synch sends a byte as urgent data; it must stay in its place in the stream (RFC
        // 1123, 3.2.4).
        self.listening.note(
            "SO_OOBINLINE",
            "after telnet's Synch a character may be lost",
            options.set_out_of_band_inline(true),
        );
        self.listening.note(
            "TCP_NOTSENT_LOWAT",
            "a slow reader is noticed late",
            options.set_tcp_notsent_lowat(NOT_SENT_BYTES),
        );
        self.set_keepalive(socket);
    }

    fn set_keepalive(&mut self, socket: &impl AsFd) {
        let loss = "a client that is gone without a word is noticed late";
        let keepalive = Keepalive::new(self.limits);
        keepalive.set(socket, |option, result| {
            self.listening.note(option, loss, result);
        });
    }

    /// Whether an address is not available because this machine lacks its address family, which the
    /// operator may not be able to change.
    fn is_missing(&self, addr: SocketAddr, error: &io::Error) -> bool {
        match Errno::from_io_error(error) {
            Some(Errno::AFNOSUPPORT) => true,
            // IPv6 is disabled (sysctl net.ipv6.conf.lo.disable_ipv6).
            Some(Errno::ADDRNOTAVAIL) => addr.ip() == Ipv6Addr::LOCALHOST,
            // Without `IPV6_V6ONLY`, `[::]` also takes the IPv4 port, which another listener has.
            Some(Errno::ADDRINUSE) => {
                let takes_ipv4 = self.listening.lacks(ONLY_V6) && is_all_ipv6(addr);
                takes_ipv4 && !serves_ipv4_too(addr, &self.all)
            }
            _ => false,
        }
    }
}

fn is_in_use(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::ADDRINUSE)
}

fn is_all_ipv6(addr: SocketAddr) -> bool {
    addr.ip() == Ipv6Addr::UNSPECIFIED
}

/// Whether a listener on this address also accepts IPv4 clients (ipv6(7)): it is `[::]`, and no listener
/// of `all` has its port for IPv4. With port 0, each has a port of its own.
fn serves_ipv4_too(addr: SocketAddr, all: &[SocketAddr]) -> bool {
    let is_taken = |other: &SocketAddr| other.is_ipv4() && other.port() == addr.port();
    is_all_ipv6(addr) && (addr.port() == 0 || !all.iter().any(is_taken))
}

/// Returns the requests of the configuration, in the order in which they are bound.
fn requests(config: &Config) -> io::Result<Vec<Request<'_>>> {
    let usual = Service::Chat(config.interactive.profile());
    let plain = Service::Chat(Profile::Plain);
    let listen = config.listen.iter().map(|asked| (asked, usual));
    let scripts = config.listen_plain.iter().map(|asked| (asked, plain));
    let metrics = config.listen_metrics.iter();
    let all = listen
        .chain(scripts)
        .chain(metrics.map(|asked| (asked, Service::Http)));
    let mut requests = Vec::new();
    for (asked, default) in all {
        requests.push(Request {
            asked,
            role: Role {
                service: asked.service.unwrap_or(default),
                layers: asked.layers,
            },
            addrs: resolve(&asked.place)?,
        });
    }
    Ok(requests)
}

/// Returns the socket addresses that a place stands for: at least one, unless it is a Unix socket.
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
                io::Error::other(format!(
                    "cannot listen on {place}: there is no interface {interface}: {error}; \
                     ip link lists them"
                ))
            })?;
            Ok(vec![SocketAddrV6::new(*ip, *port, 0, scope).into()])
        }
        Place::Host { name, port } => resolve_host(name, *port),
        Place::Unix(_) => Ok(Vec::new()),
    }
}

/// Returns the index of a network interface (netdevice(7), SIOCGIFINDEX).
fn interface_number(name: &str) -> io::Result<u32> {
    // Any socket will do: not an IPv6 one, or a machine without IPv6 would seem to lack the interface.
    let any = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
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
    if addrs.is_empty() {
        let text = format!("host \"{name}\" has no address; give an IP address");
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    Ok(addrs)
}

/// Refuses two requests that overlap: the kernel would only report that the address is in use, as if
/// another process had it.
fn check_overlaps(requests: &[Request<'_>]) -> io::Result<()> {
    let mut rest = requests;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if let Some(text) = others.iter().find_map(|other| overlap(first, other)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    Ok(())
}

/// Returns why the server cannot listen for both requests, if it cannot.
fn overlap(first: &Request<'_>, second: &Request<'_>) -> Option<String> {
    let asked = (first.asked, second.asked);
    if let (Place::Unix(a), Place::Unix(b)) = (&asked.0.place, &asked.1.place) {
        return (a.name == b.name).then(|| given_twice(asked, &a.name));
    }
    first.addrs.iter().find_map(|&a| {
        let mut others = second.addrs.iter();
        others.find_map(|&b| conflict(asked, a, b))
    })
}

/// Returns why the server cannot listen on both addresses, if it cannot; `asked` is how they were given.
/// `[::]` and an IPv4 address do not conflict: see [`serves_ipv4_too`].
fn conflict(asked: (&ListenAddr, &ListenAddr), a: SocketAddr, b: SocketAddr) -> Option<String> {
    if a.port() != b.port() || a.port() == 0 {
        return None;
    }
    if a == b {
        return Some(given_twice(asked, &a));
    }
    let includes = |any: SocketAddr, one: SocketAddr| {
        any.ip().is_unspecified() && any.is_ipv4() == one.is_ipv4()
    };
    let (any, one) = match (includes(a, b), includes(b, a)) {
        (true, _) => (a, b),
        (false, true) => (b, a),
        (false, false) => return None,
    };
    Some(format!("{any} includes {one}: give only one of them"))
}

fn given_twice((first, second): (&ListenAddr, &ListenAddr), what: &dyn Display) -> String {
    match first == second {
        true => format!("{first} is given twice: give it once"),
        false => format!("{what} is given twice, as {first} and as {second}: give it once"),
    }
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
        let BoundListener::Tcp(listener) = &listening.sockets[0].socket else {
            panic!("a TCP listener was asked for");
        };
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
    fn a_listener_that_is_handed_in_gets_the_options_of_its_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let handed_in = listener.try_clone().expect("a descriptor");
        let config = Config {
            listen: Vec::new(),
            ..Config::default()
        };
        let service = Service::Chat(Profile::Plain);
        Listening::bind(&config, vec![(handed_in.into(), service.into())]).expect("it is bound");
        let socket = SockRef::from(&listener);
        assert!(socket.tcp_nodelay().expect("TCP_NODELAY"));
        assert!(socket.out_of_band_inline().expect("SO_OOBINLINE"));
        assert!(socket.keepalive().expect("SO_KEEPALIVE"));
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
        let addr = listening.sockets[0].socket.tcp_addr().expect("an address");
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
                ["unix:/nowhere/chat", "unix:/nowhere/chat"],
                "unix:/nowhere/chat is given twice: give it once",
            ),
            (
                ["unix:@chat", "http+unix:@chat"],
                "unix:@chat is given twice, as unix:@chat and as http+unix:@chat: give it once",
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
