//! What a program asks of a server that it runs itself, over real sockets.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use line_chat::{
    BoundListener, CloseReason, Config, Event, Observer, Peer, Profile, Server, Service,
};
use rustix::process::{geteuid, getpid};

use crate::support::DEADLINE;
use crate::support::server::Joins;

/// How long a turn waits for something to do.
const A_MOMENT: Duration = Duration::from_millis(5);

/// Who left, and why.
#[derive(Debug, Default)]
struct Departures(Vec<(Option<String>, CloseReason)>);

impl Observer for Departures {
    fn on_event(&mut self, _: Instant, event: Event<'_>) {
        match event {
            Event::Left { nick, reason, .. } => self.0.push((nick.map(str::to_owned), reason)),
            Event::DialFailed { .. } => self.0.push((None, CloseReason::Unreachable)),
            _ => {}
        }
    }
}

fn bind() -> Server<Departures> {
    let config = Config {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        ..Config::default()
    };
    Server::bind_with(config, Vec::new(), Departures::default()).expect("the server binds")
}

fn turn_until<O: Observer + Debug>(
    server: &mut Server<O>,
    is_over: impl Fn(&mut Server<O>) -> bool,
) {
    let start = Instant::now();
    while !is_over(server) {
        assert!(start.elapsed() < DEADLINE, "{:?}", server.observer());
        server.turn(Some(A_MOMENT)).expect("the poll loop works");
    }
}

#[test]
fn a_peer_that_is_dialed_is_a_client_like_any_other() {
    let peer = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut server = bind();
    let addr = peer.local_addr().expect("it is bound");
    server.dial(addr, Service::Chat(Profile::Interactive));
    turn_until(&mut server, |server| server.clients() == 1);
    let (mut peer, _) = peer.accept().expect("it is dialed");
    peer.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    peer.write_all(b"ann\r\n").expect("the server reads");
    turn_until(&mut server, |server| server.members().next() == Some("ann"));
    server.announce("welcome");
    server.turn(Some(A_MOMENT)).expect("the poll loop works");
    let mut told = Vec::new();
    while !told.ends_with(b"* welcome\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).expect("the server writes");
        told.extend(byte);
    }
    drop(peer);
    turn_until(&mut server, |server| server.clients() == 0);
    let left = (Some("ann".to_owned()), CloseReason::HungUp);
    assert_eq!(server.observer().0, [left]);
}

#[test]
fn a_peer_that_cannot_be_reached_leaves_as_unreachable() {
    // Nobody listens on this port any more.
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let closed: SocketAddr = closed.expect("a free port");
    let mut server = bind();
    server.dial(closed, Service::Chat(Profile::Plain));
    turn_until(&mut server, |server| !server.observer().0.is_empty());
    turn_until(&mut server, |server| server.clients() == 0);
    assert_eq!(server.observer().0, [(None, CloseReason::Unreachable)]);
}

#[test]
fn a_member_that_the_program_closes_is_told_why() {
    let mut server = bind();
    let mut client = TcpStream::connect(server.local_addrs()[0]).expect("the server listens");
    client.write_all(b"bob\r\n").expect("the server reads");
    turn_until(&mut server, |server| server.members().next() == Some("bob"));
    assert!(!server.close("nobody", "not here"));
    assert!(server.close("bob", "the table is closed"));
    turn_until(&mut server, |server| server.members().next().is_none());
    client.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let mut told = String::new();
    turn_until(&mut server, |server| !server.observer().0.is_empty());
    server.turn(Some(A_MOMENT)).expect("the poll loop works");
    client
        .read_to_string(&mut told)
        .expect("the server closes it");
    assert!(told.contains("the table is closed"), "{told}");
}

#[test]
fn a_unix_socket_and_a_tcp_socket_that_are_handed_in_share_a_room() {
    let name = format!("line-chat-{}-handed-in", std::process::id());
    let name = unix::SocketAddr::from_abstract_name(name).expect("a short name");
    let local = UnixListener::bind_addr(&name).expect("a name of our own");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let plain = Service::Chat(Profile::Plain);
    let bound: Vec<(BoundListener, _)> =
        vec![(local.into(), plain.into()), (tcp.into(), plain.into())];
    let config = Config {
        listen: Vec::new(),
        ..Config::default()
    };
    let mut server = Server::bind_with(config, bound, Joins::default()).expect("it binds");
    let addrs = server.local_addrs();
    assert_eq!(addrs.len(), 1, "a Unix socket has no such address");

    let mut alice = UnixStream::connect_addr(&name).expect("the server listens");
    alice.write_all(b"alice\r\n").expect("the server reads");
    let mut bob = TcpStream::connect(addrs[0]).expect("the server listens");
    bob.write_all(b"bob\r\n").expect("the server reads");
    turn_until(&mut server, |server| server.members().count() == 2);
    alice.write_all(b"hello\r\n").expect("the server reads");
    alice.shutdown(Shutdown::Write).expect("a connection");
    turn_until(&mut server, |server| server.clients() == 1);
    bob.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let mut heard = [0; 14];
    bob.read_exact(&mut heard).expect("the server writes");
    assert_eq!(&heard, b"alice: hello\r\n");
    let us = Peer::Local {
        uid: geteuid().as_raw(),
        pid: getpid().as_raw_pid().unsigned_abs(),
    };
    let joins = &server.observer().0;
    assert!(joins.contains(&("alice".to_owned(), us)), "{joins:?}");
}

#[test]
fn the_writer_of_the_transcript_is_no_client() {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        recorded: true,
        ..Config::default()
    };
    config.limits.max_clients = Some(1);
    let mut server = Server::bind(config).expect("it binds");
    let (ours, writers) = UnixStream::pair().expect("a pair of sockets");
    server.record(ours).expect("a socket");
    let mut alice = TcpStream::connect(server.local_addrs()[0]).expect("the server listens");
    alice.write_all(b"alice\r\n").expect("the server reads");
    turn_until(&mut server, |server| server.members().count() == 1);
    let numbers = |server: &Server| {
        let metrics = server.metrics();
        let numbers = (metrics.clients, metrics.accepted, metrics.closed());
        assert_eq!(server.clients(), metrics.clients);
        numbers
    };
    assert_eq!(numbers(&server), (1, 1, 0));
    drop(writers);
    turn_until(&mut server, |server| !server.is_recording());
    assert_eq!(numbers(&server), (1, 1, 0));
}

#[test]
fn a_transcript_that_nobody_reads_leaves_most_of_the_memory_to_others() {
    const EACH: usize = 64 << 10;
    const LINES: usize = 2000;
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        recorded: true,
        ..Config::default()
    };
    config.limits.max_pending_bytes = EACH;
    config.limits.max_pending_total_bytes = 4 * EACH;
    let mut server = Server::bind(config).expect("it binds");
    let (ours, mut writers) = UnixStream::pair().expect("a pair of sockets");
    server.record(ours).expect("a socket");
    let mut alice = TcpStream::connect(server.local_addrs()[0]).expect("the server listens");
    alice.write_all(b"alice\r\n").expect("the server reads");
    let line = format!("{}\r\n", "x".repeat(400));
    let mut most = 0;
    for said in 0..LINES as u64 {
        alice.write_all(line.as_bytes()).expect("the server reads");
        turn_until(&mut server, |server| server.metrics().lines_in > said);
        most = most.max(server.metrics().buffer_bytes);
    }
    assert!(most <= 2 * EACH, "{most} bytes");

    let mut seen = String::new();
    let mut chunk = [0; 64 << 10];
    while !seen.ends_with("alice: the end\n") {
        writers.set_nonblocking(true).expect("a socket");
        while let Ok(n @ 1..) = writers.read(&mut chunk) {
            seen.push_str(std::str::from_utf8(&chunk[..n]).expect("ASCII"));
        }
        if !seen.contains("the end") {
            alice.write_all(b"the end\r\n").expect("the server reads");
        }
        server.turn(Some(A_MOMENT)).expect("the poll loop works");
    }
    let kept = seen.lines().filter(|line| line.contains("xxx")).count();
    let told = seen.lines().filter_map(|line| {
        let (count, _) = line.strip_prefix("* ")?.split_once(" lines skipped")?;
        count.parse::<usize>().ok()
    });
    let told: usize = told.sum();
    assert!(told > 500 && kept > 0, "{kept} lines, and {told} skipped");
    assert_eq!(kept + told, LINES);
}
