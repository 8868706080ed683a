//! Asks the kernel about the state of a TCP connection, using netlink's sock_diag (netlink(7),
//! sock_diag(7)). [`SockDiag`] queries one connection at a time. getsockopt(2) with `TCP_INFO` reports
//! less (neither which timer is running nor how many probes are unanswered), and no crate offers it
//! without `unsafe`.
//!
//! A request is a header and 56 bytes, and its answer is ready on the socket when write(2) returns. An
//! answer is a header, 72 bytes and attributes, of which `INET_DIAG_INFO` holds a `tcp_info`. Numbers are
//! in the byte order of the machine, except for ports and addresses. The layouts are those of
//! `linux/netlink.h`, `linux/inet_diag.h` and `linux/tcp.h`, which the kernel extends only at the end;
//! every field is read at a checked offset.
//!
//! A query needs no privileges. Where it is refused (by seccomp(2), or by a kernel without sock_diag),
//! it is not tried again.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, read, write};
use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};

use crate::engine::Liveness;

// linux/netlink.h
const HEADER_BYTES: usize = 16;
const ERROR_TYPE: u16 = 2;
const DONE_TYPE: u16 = 3;
const REQUEST_FLAG: u16 = 0x001;
const DUMP_FLAGS: u16 = 0x300;

// linux/sock_diag.h, linux/inet_diag.h
const BY_FAMILY: u16 = 20;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_NOCOOKIE: u64 = u64::MAX;
const MESSAGE_BYTES: usize = 72;
const TIMER_AT: usize = 2;
const RETRANSMITS_AT: usize = 3;
const EXPIRES_AT: usize = 52;
const QUEUED_AT: usize = 60;

// linux/in.h, linux/socket.h
const IPPROTO_TCP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The values of `idiag_timer`, from `inet_sk_diag_fill` in net/ipv4/inet_diag.c.
const RETRANSMIT_TIMER: u8 = 1;
const KEEPALIVE_TIMER: u8 = 2;
const WINDOW_TIMER: u8 = 4;

/// Offsets of the fields of `tcp_info`. Times are in milliseconds, except for the retransmission timeout,
/// which is in microseconds.
const BACKOFF_AT: usize = 4;
const TIMEOUT_AT: usize = 8;
const UNACKED_AT: usize = 24;
const LAST_DATA_SENT_AT: usize = 44;
const LAST_DATA_RECEIVED_AT: usize = 52;
const LAST_ACK_RECEIVED_AT: usize = 56;

/// The longest answer that is read, in bytes. The kernel's answers have about 450.
const MOST_ANSWER_BYTES: usize = 4096;

/// How many answers to abandoned requests are skipped.
const MOST_STALE_ANSWERS: usize = 16;

/// A connection, with the fields by which the kernel looks it up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// The cookie that no other socket has (socket(7), `SO_COOKIE`). It keeps the kernel from returning
    /// another socket, even one of another network namespace.
    pub(crate) cookie: Option<u64>,
}

/// Queries the kernel about connections.
#[derive(Debug)]
pub(crate) struct SockDiag {
    /// `None` if the kernel does not answer.
    socket: Option<OwnedFd>,
    sequence: u32,
    refusal: Option<io::Error>,
}

impl SockDiag {
    /// Opens the netlink socket and tries it.
    pub(crate) fn open() -> Self {
        let mut system = Self {
            socket: None,
            sequence: 0,
            refusal: None,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = Some(netlink::SOCK_DIAG);
        match socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol) {
            Ok(socket) => system.socket = Some(socket),
            Err(error) => system.refuse(error),
        }
        // A list of the connections in no state at all: it is empty, and costs nothing.
        let nothing = Request {
            flags: REQUEST_FLAG | DUMP_FLAGS,
            states: 0,
            connection: None,
        };
        system.ask(&nothing);
        system
    }

    /// Whether the kernel answers, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Returns why the kernel does not answer, once.
    pub(crate) fn take_refusal(&mut self) -> Option<io::Error> {
        self.refusal.take()
    }

    /// Returns what the kernel knows of the peer of a connection.
    pub(crate) fn liveness(&mut self, connection: &Connection) -> Liveness {
        let request = Request {
            flags: REQUEST_FLAG,
            states: u32::MAX,
            connection: Some(connection),
        };
        let state = self.ask(&request);
        state.map_or(Liveness::Unknown, |state| state.liveness())
    }

    fn refuse(&mut self, error: Errno) {
        self.socket = None;
        self.refusal = Some(error.into());
    }

    fn ask(&mut self, request: &Request<'_>) -> Option<TcpState> {
        self.sequence = self.sequence.wrapping_add(1);
        let answer = exchange(self.socket.as_ref()?, request, self.sequence);
        match answer {
            Ok(state) => state,
            // The connection no longer exists, or is in another network namespace; or memory is short.
            Err(Errno::NOENT | Errno::STALE) if request.connection.is_some() => None,
            Err(Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN) => None,
            Err(error) => {
                self.refuse(error);
                None
            }
        }
    }
}

/// Sends a request and reads its answer.
fn exchange(
    socket: &OwnedFd,
    request: &Request<'_>,
    sequence: u32,
) -> Result<Option<TcpState>, Errno> {
    rustix::io::retry_on_intr(|| write(socket, &request.bytes(sequence)))?;
    let mut buffer = [0; MOST_ANSWER_BYTES];
    for _ in 0..MOST_STALE_ANSWERS {
        let length = rustix::io::retry_on_intr(|| read(socket, &mut buffer))?;
        let answer = buffer.get(..length).unwrap_or_default();
        if u32_at(answer, 8) == Some(sequence) {
            return parse(answer);
        }
    }
    Err(Errno::AGAIN)
}

/// A request to the kernel.
struct Request<'c> {
    flags: u16,
    /// One bit for each TCP state.
    states: u32,
    connection: Option<&'c Connection>,
}

impl Request<'_> {
    /// Encodes the request: an `nlmsghdr` and an `inet_diag_req_v2`.
    fn bytes(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 56);
        bytes.extend(72_u32.to_ne_bytes());
        bytes.extend(BY_FAMILY.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        let is_ipv6 = self.connection.is_some_and(|it| it.local.is_ipv6());
        let family = if is_ipv6 { AF_INET6 } else { AF_INET };
        bytes.extend([family, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
        bytes.extend(self.states.to_ne_bytes());
        match self.connection {
            Some(connection) => connection.write(&mut bytes),
            None => bytes.extend([0; 48]),
        }
        bytes
    }
}

impl Connection {
    /// Appends an `inet_diag_sockid`.
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.local.port().to_be_bytes());
        bytes.extend(self.peer.port().to_be_bytes());
        for addr in [self.local, self.peer] {
            match addr.ip() {
                IpAddr::V4(ip) => {
                    bytes.extend(ip.octets());
                    bytes.extend([0; 12]);
                }
                IpAddr::V6(ip) => bytes.extend(ip.octets()),
            }
        }
        // A link-local address is meaningful only with its interface (RFC 4007).
        let interface = match self.peer {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(peer) => peer.scope_id(),
        };
        bytes.extend(interface.to_ne_bytes());
        let cookie = self.cookie.unwrap_or(INET_DIAG_NOCOOKIE).to_le_bytes();
        let (low, high) = cookie.split_at(4);
        for half in [low, high] {
            bytes.extend(u32_le(half).to_ne_bytes());
        }
    }
}

fn u32_le(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

/// What the kernel reports about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TcpState {
    timer: u8,
    /// How often the data for which this timer runs was retransmitted, or how many probes are
    /// unanswered.
    retransmits: u8,
    /// The time until the timer fires.
    expires: Duration,
    /// The retransmission timeout, and how often it was doubled.
    timeout: Duration,
    backoff: u8,
    /// The number of bytes that were written and are not acknowledged, whether sent or not.
    queued_bytes: u32,
    /// The number of segments that were sent and are not acknowledged.
    unacked: u32,
    last_data_sent: Duration,
    last_data_received: Duration,
    last_ack_received: Duration,
}

impl TcpState {
    fn liveness(&self) -> Liveness {
        // A segment that carries new data and acknowledges nothing new counts as data only.
        let heard = self.last_ack_received.min(self.last_data_received);
        let is_probing = matches!(self.timer, KEEPALIVE_TIMER | WINDOW_TIMER);
        if is_probing && self.retransmits > 0 {
            let probes = self.retransmits.into();
            // Keepalive probes are sent at fixed intervals, the first one after a long silence. Window
            // probes follow each other quickly at first, and so do probes that are sent while there is
            // no carrier.
            let waited = match self.timer {
                KEEPALIVE_TIMER => heard,
                _ => Duration::ZERO,
            };
            return Liveness::Unanswered {
                probes,
                heard,
                waited,
            };
        }
        if self.unacked > 0 && self.last_data_sent < heard {
            let waited = self.waited();
            return Liveness::Unacknowledged { heard, waited };
        }
        match self.queued_bytes {
            0 => Liveness::Answered,
            _ => Liveness::Pending,
        }
    }
}

impl TcpState {
    /// Returns the minimum time for which the first segment has waited for its acknowledgement. It is
    /// retransmitted after the first timeout, after twice that time, and so on (RFC 6298, 5.5), so at the
    /// last retransmission it had waited for the present timeout minus the first one. If the timeout has a
    /// lower limit (`tcp_rto_max_ms`) or is not doubled (`tcp_thin_linear_timeouts`), the segment has
    /// waited longer.
    fn waited(&self) -> Duration {
        if self.timer != RETRANSMIT_TIMER || self.retransmits == 0 {
            return Duration::ZERO;
        }
        let doubled = 1_u32.checked_shl(self.backoff.into()).unwrap_or(u32::MAX);
        let first = self.timeout.checked_div(doubled).unwrap_or_default();
        let until_last = self.timeout.saturating_sub(first);
        until_last.saturating_add(self.timeout.saturating_sub(self.expires))
    }
}

/// Reads an answer: `None` at the end of a list.
fn parse(answer: &[u8]) -> Result<Option<TcpState>, Errno> {
    // A truncated answer, or one of another kind, is an error.
    let strange = Errno::PROTO;
    let payload = answer.get(HEADER_BYTES..).unwrap_or_default();
    match u16_at(answer, 4).ok_or(strange)? {
        ERROR_TYPE => Err(u32_at(payload, 0).and_then(errno).unwrap_or(strange)),
        DONE_TYPE => u32_at(payload, 0).and_then(errno).map_or(Ok(None), Err),
        BY_FAMILY => parse_state(payload).map(Some).ok_or(strange),
        _ => Err(strange),
    }
}

/// Converts a negated error number; zero is no error.
fn errno(number: u32) -> Option<Errno> {
    let number = number.cast_signed().checked_neg()?;
    (number > 0).then(|| Errno::from_raw_os_error(number))
}

/// Decodes an `inet_diag_msg` and its attributes.
fn parse_state(message: &[u8]) -> Option<TcpState> {
    let info = attribute(message.get(MESSAGE_BYTES..)?, INET_DIAG_INFO)?;
    let millis = |at| Some(Duration::from_millis(u32_at(info, at)?.into()));
    Some(TcpState {
        timer: *message.get(TIMER_AT)?,
        retransmits: *message.get(RETRANSMITS_AT)?,
        expires: Duration::from_millis(u32_at(message, EXPIRES_AT)?.into()),
        timeout: Duration::from_micros(u32_at(info, TIMEOUT_AT)?.into()),
        backoff: *info.get(BACKOFF_AT)?,
        queued_bytes: u32_at(message, QUEUED_AT)?,
        unacked: u32_at(info, UNACKED_AT)?,
        last_data_sent: millis(LAST_DATA_SENT_AT)?,
        last_data_received: millis(LAST_DATA_RECEIVED_AT)?,
        last_ack_received: millis(LAST_ACK_RECEIVED_AT)?,
    })
}

/// Returns the content of the first attribute of this type (rtnetlink(7)).
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    const ATTRIBUTE_HEADER_BYTES: usize = 4;
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        if u16_at(attributes, 2)? == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;
    use rustix::net::sockopt::socket_cookie;

    /// The answer of a kernel for a connection with these numbers.
    fn answer(timer: u8, retransmits: u8, queued_bytes: u32, info: &[(usize, u32)]) -> Vec<u8> {
        let mut message = vec![0; MESSAGE_BYTES];
        message[TIMER_AT] = timer;
        message[RETRANSMITS_AT] = retransmits;
        message[QUEUED_AT..QUEUED_AT + 4].copy_from_slice(&queued_bytes.to_ne_bytes());
        // Another attribute, with padding.
        message.extend(5_u16.to_ne_bytes());
        message.extend(8_u16.to_ne_bytes());
        message.extend([7, 0, 0, 0]);
        let mut bytes = vec![0; 248];
        for &(at, number) in info {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        message.extend(252_u16.to_ne_bytes());
        message.extend(INET_DIAG_INFO.to_ne_bytes());
        message.extend(bytes);
        let mut answer = Vec::new();
        answer.extend(
            u32::try_from(HEADER_BYTES + message.len())
                .expect("it is short")
                .to_ne_bytes(),
        );
        answer.extend(BY_FAMILY.to_ne_bytes());
        answer.extend([0; 10]);
        answer.extend(message);
        answer
    }

    fn liveness(timer: u8, retransmits: u8, queued_bytes: u32, info: &[(usize, u32)]) -> Liveness {
        let answer = answer(timer, retransmits, queued_bytes, info);
        let state = parse(&answer).expect("it is whole").expect("a connection");
        state.liveness()
    }

    #[test]
    fn timers_and_counts_are_read_as_the_kernel_means_them() {
        let millis = Duration::from_millis;
        let all = |unacked, sent, data, ack| {
            [
                (UNACKED_AT, unacked),
                (LAST_DATA_SENT_AT, sent),
                (LAST_DATA_RECEIVED_AT, data),
                (LAST_ACK_RECEIVED_AT, ack),
            ]
        };
        for (timer, retransmits, queued, info, expected) in [
            // Idle, with keepalive on.
            (
                KEEPALIVE_TIMER,
                0,
                0,
                all(0, 900, 50_000, 900),
                Liveness::Answered,
            ),
            (0, 0, 0, all(0, 900, 50_000, 900), Liveness::Answered),
            // A keepalive probe is unanswered.
            (
                KEEPALIVE_TIMER,
                2,
                0,
                all(0, 75_000, 75_000, 75_000),
                Liveness::Unanswered {
                    probes: 2,
                    heard: millis(75_000),
                    waited: millis(75_000),
                },
            ),
            // Data is in flight, and nothing was received since.
            (
                RETRANSMIT_TIMER,
                5,
                90,
                all(1, 6_000, 50_000, 12_000),
                Liveness::Unacknowledged {
                    heard: millis(12_000),
                    waited: Duration::ZERO,
                },
            ),
            // The peer was last heard by its data.
            (
                RETRANSMIT_TIMER,
                5,
                90,
                all(1, 6_000, 7_000, 12_000),
                Liveness::Unacknowledged {
                    heard: millis(7_000),
                    waited: Duration::ZERO,
                },
            ),
            // The peer has answered the last segment without accepting it: its window is closed.
            (
                RETRANSMIT_TIMER,
                9,
                90,
                all(1, 34_000, 50_000, 33_900),
                Liveness::Pending,
            ),
            // The window is closed, and the probes are answered or not.
            (
                WINDOW_TIMER,
                0,
                90,
                all(0, 90_000, 99_000, 60_000),
                Liveness::Pending,
            ),
            (
                WINDOW_TIMER,
                3,
                90,
                all(0, 90_000, 99_000, 60_000),
                Liveness::Unanswered {
                    probes: 3,
                    heard: millis(60_000),
                    waited: Duration::ZERO,
                },
            ),
        ] {
            let says = liveness(timer, retransmits, queued, &info);
            assert_eq!(says, expected, "{timer} {retransmits} {info:?}");
        }
    }

    #[test]
    fn the_time_that_data_has_waited_follows_from_the_timer() {
        let waited = |retransmits, expires: u32, timeout: u32, backoff| {
            let backoff = u32::from_ne_bytes([backoff, 0, 0, 0]);
            let info = [(TIMEOUT_AT, timeout), (BACKOFF_AT, backoff)];
            let mut answer = answer(RETRANSMIT_TIMER, retransmits, 90, &info);
            let at = HEADER_BYTES + EXPIRES_AT;
            answer[at..at + 4].copy_from_slice(&expires.to_ne_bytes());
            let state = parse(&answer).expect("it is whole");
            state.expect("a connection").waited().as_millis()
        };
        // Retransmitted after 0.2 s and 0.4 s; of the next 0.8 s, 0.7 s remain.
        assert_eq!(waited(2, 700, 800_000, 2), 200 + 400 + 100);
        assert_eq!(waited(8, 1_200, 51_200_000, 8), 51_000 + 50_000);
        // Without a retransmission, or without doubling, the result is only a minimum.
        assert_eq!(waited(0, 1_000, 200_000, 0), 0);
        assert_eq!(waited(5, 50, 200_000, 0), 150);
        assert_eq!(waited(255, 0, u32::MAX, 255), 2 * 4_294_967);
    }

    #[test]
    fn an_answer_that_is_cut_off_or_of_another_kind_says_nothing() {
        let whole = answer(KEEPALIVE_TIMER, 0, 0, &[]);
        for length in 0..whole.len() {
            // The end of the tcp_info is not needed, but its attribute must be complete.
            assert_eq!(parse(&whole[..length]), Err(Errno::PROTO), "{length}");
        }
        let mut other = whole;
        other[4] = 21;
        assert_eq!(parse(&other), Err(Errno::PROTO));
    }

    #[test]
    fn errors_have_their_names() {
        let with = |kind: u16, number: i32| {
            let mut answer = vec![0; HEADER_BYTES];
            answer[4..6].copy_from_slice(&kind.to_ne_bytes());
            answer.extend(number.to_ne_bytes());
            parse(&answer)
        };
        assert_eq!(with(ERROR_TYPE, -2), Err(Errno::NOENT));
        assert_eq!(with(ERROR_TYPE, -1), Err(Errno::PERM));
        assert_eq!(with(ERROR_TYPE, 0), Err(Errno::PROTO));
        assert_eq!(with(ERROR_TYPE, i32::MIN), Err(Errno::PROTO));
        assert_eq!(with(DONE_TYPE, 0), Ok(None));
        assert_eq!(with(DONE_TYPE, -2), Err(Errno::NOENT));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_answer_is_too_strange(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            at in 0..200_usize,
            strange in any::<u16>(),
        ) {
            let _ = parse(&bytes);
            let mut answer = answer(RETRANSMIT_TIMER, 1, 1, &[]);
            answer[at..at + 2].copy_from_slice(&strange.to_ne_bytes());
            if let Ok(Some(state)) = parse(&answer) {
                let _ = state.liveness();
            }
        }
    }

    /// Returns both ends of a connection to this address, the accepted one first.
    fn connect(addr: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(addr).expect("a free port");
        let peer = TcpStream::connect(listener.local_addr().expect("an address"));
        (
            listener.accept().expect("a connection").0,
            peer.expect("a connection"),
        )
    }

    fn of(socket: &TcpStream) -> Connection {
        Connection {
            local: socket.local_addr().expect("an address"),
            peer: socket.peer_addr().expect("an address"),
            cookie: socket_cookie(socket).ok(),
        }
    }

    #[test]
    fn the_kernel_tells_of_a_peer_that_answers_and_of_one_that_does_not_read() {
        for addr in ["127.0.0.1:0", "[::1]:0"] {
            let mut system = SockDiag::open();
            let (mut accepted, mut peer) = connect(addr);
            assert_eq!(system.liveness(&of(&accepted)), Liveness::Answered);
            accepted.write_all(b"hello").expect("there is room");
            peer.read_exact(&mut [0; 5]).expect("it arrives");
            let mut says = system.liveness(&of(&accepted));
            // An acknowledgement may be in flight.
            while says != Liveness::Answered {
                says = system.liveness(&of(&accepted));
            }
            accepted.set_nonblocking(true).expect("a socket option");
            while accepted.write(&[b'x'; 16 << 10]).is_ok() {}
            // The window is closed, and the peer is alive.
            while says != Liveness::Pending {
                says = system.liveness(&of(&accepted));
            }
            assert!(system.take_refusal().is_none());
        }
    }

    #[test]
    fn no_other_connection_is_found() {
        let mut system = SockDiag::open();
        let (accepted, _peer) = connect("127.0.0.1:0");
        let connection = of(&accepted);
        let other_cookie = connection.cookie.map(|cookie| cookie ^ 1 << 40);
        let unknown = Connection {
            cookie: other_cookie,
            ..connection
        };
        assert_eq!(system.liveness(&unknown), Liveness::Unknown);
        let gone = Connection {
            peer: ([127, 0, 0, 2], 1).into(),
            ..connection
        };
        assert_eq!(system.liveness(&gone), Liveness::Unknown);
        // A connection that is not found does not stop further queries.
        assert_eq!(system.liveness(&connection), Liveness::Answered);
        assert!(system.take_refusal().is_none());
    }

    #[test]
    fn who_is_refused_says_why_once_and_asks_no_more() {
        let mut system = SockDiag::open();
        let (accepted, _peer) = connect("127.0.0.1:0");
        // A file descriptor that cannot be written to, in place of the netlink socket.
        let (reader, _writer) = io::pipe().expect("a pipe");
        system.socket = Some(reader.into());
        assert_eq!(system.liveness(&of(&accepted)), Liveness::Unknown);
        let refusal = system.take_refusal().expect("it is told");
        assert_eq!(refusal.raw_os_error(), Some(Errno::BADF.raw_os_error()));
        assert_eq!(system.liveness(&of(&accepted)), Liveness::Unknown);
        assert!(system.take_refusal().is_none());
        assert!(!system.is_open());
    }
}
