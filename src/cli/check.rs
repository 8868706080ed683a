//! `--check ADDR`, a probe for containers and supervisors: is there a server that answers? It asks telnet's
//! "are you there" (AYT, RFC 854), which is answered also before a nick is given, so nobody in the room
//! hears of it. Where HTTP is served it asks `/healthz`.
//!
//! The answer is the last that the server sends, so closing the connection is a hang-up and not a break.
//! The log of the server holds nothing of it but with `-v`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use line_chat::{ListenAddr, Place, Service, UnixName};

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most that is read before the answer, in bytes. A greeting has at most 4 KiB.
const MAX_ANSWER_BYTES: usize = 64 << 10;

const ARE_YOU_THERE: &[u8] = b"\xff\xf6";
const GET_HEALTH: &[u8] = b"GET /healthz HTTP/1.0\r\n\r\n";

/// Lines that only this server says. One that is full is there as well.
const ANSWERS: [&[u8]; 2] = [b"* yes", b"* server is full, try again later"];
const HEALTHY: [&[u8]; 1] = [b"HTTP/1.1 200 OK"];

/// Checks the server at this address.
///
/// # Errors
/// The text names the address and says what is wrong with it.
pub(crate) fn check(addr: &ListenAddr) -> io::Result<()> {
    if addr.layers.tls {
        let problem = format!(
            "cannot check {addr} by TLS: check a Unix socket or --metrics of the same server"
        );
        return Err(io::Error::new(ErrorKind::Unsupported, problem));
    }
    let began = Instant::now();
    let (question, answers): (_, &[&[u8]]) = match addr.service {
        Some(Service::Http) => (GET_HEALTH, &HEALTHY),
        _ => (ARE_YOU_THERE, &ANSWERS),
    };
    let asked = Connection::open(&addr.place, began)
        .and_then(|connection| ask(connection, question, answers, began));
    let problem = match asked {
        Ok(true) => return Ok(()),
        Ok(false) => format!("{addr} does not answer as line-chat does"),
        Err(error) if is_late(&error) => {
            format!("{addr} does not answer within {} s", PATIENCE.as_secs())
        }
        Err(error) => format!("{addr} does not answer: {error}"),
    };
    Err(io::Error::other(problem))
}

/// Whether the server has answered one of these lines.
fn ask(
    mut connection: Connection,
    question: &[u8],
    answers: &[&[u8]],
    began: Instant,
) -> io::Result<bool> {
    // One that refuses us does so without being asked, and may be gone already.
    let sent = connection.write_all(question, began);
    let mut answer = Vec::new();
    let is_answer = |answer: &[u8]| {
        let mut lines = answer.split(|&byte| byte == b'\n');
        lines.next_back();
        lines.any(|line| answers.contains(&line.trim_ascii_end()))
    };
    while !is_answer(&answer) {
        if answer.len() > MAX_ANSWER_BYTES || !connection.read_some(&mut answer, began)? {
            return sent.map(|()| false);
        }
    }
    Ok(true)
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// How long the rest may take.
fn time_left(began: Instant) -> io::Result<Duration> {
    let left = PATIENCE.saturating_sub(began.elapsed());
    match left.is_zero() {
        true => Err(ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn open(place: &Place, began: Instant) -> io::Result<Self> {
        match place {
            Place::Socket(addr) => Self::open_tcp([*addr], began),
            Place::Loopback { port } => Self::open_tcp(
                [
                    (Ipv4Addr::LOCALHOST, *port).into(),
                    (Ipv6Addr::LOCALHOST, *port).into(),
                ],
                began,
            ),
            Place::Unix(socket) => {
                let stream = match &socket.name {
                    UnixName::Path(path) => UnixStream::connect(path),
                    UnixName::Abstract(name) => {
                        let addr = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                        UnixStream::connect_addr(&addr)
                    }
                };
                stream.map(Self::Unix)
            }
            Place::Scoped {
                ip,
                interface,
                port,
            } => {
                let addrs = (format!("{ip}%{interface}"), *port).to_socket_addrs()?;
                Self::open_tcp(addrs, began)
            }
            other => Self::open_tcp(other.to_string().to_socket_addrs()?, began),
        }
    }

    /// Connects to the first of these addresses that accepts.
    fn open_tcp(addrs: impl IntoIterator<Item = SocketAddr>, began: Instant) -> io::Result<Self> {
        let mut refused = io::Error::from(ErrorKind::AddrNotAvailable);
        for addr in addrs {
            match TcpStream::connect_timeout(&addr, time_left(began)?) {
                Ok(stream) => return Ok(Self::Tcp(stream)),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn write_all(&mut self, bytes: &[u8], began: Instant) -> io::Result<()> {
        let left = Some(time_left(began)?);
        match self {
            Self::Tcp(stream) => {
                stream.set_write_timeout(left)?;
                stream.write_all(bytes)
            }
            Self::Unix(stream) => {
                stream.set_write_timeout(left)?;
                stream.write_all(bytes)
            }
        }
    }

    /// Reads what there is. Returns whether there may be more.
    fn read_some(&mut self, into: &mut Vec<u8>, began: Instant) -> io::Result<bool> {
        let left = Some(time_left(began)?);
        let mut chunk = [0; 4096];
        let read = match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(left)?;
                stream.read(&mut chunk)
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(left)?;
                stream.read(&mut chunk)
            }
        };
        let read = read?;
        into.extend_from_slice(chunk.get(..read).unwrap_or_default());
        Ok(read > 0)
    }
}
