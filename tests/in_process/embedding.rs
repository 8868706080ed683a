//! What a program asks of a server that it runs itself, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use line_chat::{CloseReason, Config, Event, Observer, Profile, Server, Service};

use crate::support::DEADLINE;

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

fn turn_until(server: &mut Server<Departures>, is_over: impl Fn(&mut Server<Departures>) -> bool) {
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
