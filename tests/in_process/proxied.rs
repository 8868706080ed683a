//! Listeners for proxies: the header of the PROXY protocol, and whose address counts behind it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixStream};
use std::time::{Duration, Instant};

use line_chat::{CloseReason, Config, Peer, Server};

use crate::support::server::{Client, HaltedServer, Joins};
use crate::support::{DEADLINE, YES_LINE, hello};

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 6142\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\xdc\x04\x17\xfe";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A header of version 1 for a client of this address.
fn header_of(ip: &str) -> String {
    format!("PROXY TCP4 {ip} 10.0.0.1 7 6142\r\n")
}

fn bind() -> HaltedServer {
    HaltedServer::bind_with(listen_for_proxies)
}

fn listen_for_proxies(config: &mut Config) {
    config.listen = vec!["proxy:127.0.0.1:0".parse().expect("an address")];
    // The clients that these tests name are not this machine, which is exempt.
    config.limits.connects_per_second = 0.0;
}

/// Waits until a client is told this, and nothing else, and its connection ends.
#[track_caller]
fn expect_told(server: &mut HaltedServer, client: &mut Client, words: &str) {
    let line = format!("* {words}\r\n");
    server.turn_until_received(client, line.len());
    assert_eq!(client.receive_to_end(), line.into_bytes());
}

const NO_HEADER: &str = "this port is only for proxies that send the PROXY header";

/// A server with [`Joins`], listening at `addr`.
fn observed(addr: &str) -> Server<Joins> {
    let config = Config {
        listen: vec![addr.parse().expect("an address")],
        ..Config::default()
    };
    Server::bind_with(config, Vec::new(), Joins::default()).expect("it binds")
}

/// Takes turns until somebody has joined, and returns the address of the last one.
fn address_of_next(server: &mut Server<Joins>) -> Peer {
    let start = Instant::now();
    loop {
        if let Some((_, peer)) = server.observer().0.pop() {
            return peer;
        }
        assert!(start.elapsed() < DEADLINE, "somebody joins");
        server.turn(Some(Duration::from_millis(5))).expect("a turn");
    }
}

#[test]
fn the_address_that_a_header_names_is_the_address_of_the_client() {
    let mut server = observed("proxy:127.0.0.1:0");
    let addr = server.local_addrs()[0];
    let ipv6 = b"PROXY TCP6 2001:db8::1 ::1 7 6142\r\n";
    for (header, expected) in [
        (V1, Some("192.0.2.1:56324")),
        (V2, Some("192.0.2.1:56324")),
        (ipv6, Some("[2001:db8::1]:7")),
        (V2_LOCAL, None),
        (b"PROXY UNKNOWN\r\n", None),
    ] as [(&[u8], _); 5]
    {
        let mut client = TcpStream::connect(addr).expect("the server listens");
        let sent = [header, &hello("alice")].concat();
        client.write_all(&sent).expect("the server reads");
        let own = client.local_addr().expect("it is connected");
        let expected = expected.map_or(own, |addr: &str| addr.parse().expect("an address"));
        assert_eq!(address_of_next(&mut server), Peer::from(expected));
    }
}

#[test]
fn a_proxy_on_a_unix_socket_needs_no_address() {
    let name = format!("line-chat-{}-proxied", std::process::id());
    let mut server = observed(&format!("proxy+unix:@{name}"));
    let name = unix::SocketAddr::from_abstract_name(name).expect("a short name");
    let mut client = UnixStream::connect_addr(&name).expect("the server listens");
    let sent = [V1, &hello("alice")].concat();
    client.write_all(&sent).expect("the server reads");
    let expected = "192.0.2.1:56324".parse().expect("an address");
    assert_eq!(address_of_next(&mut server), Peer::Ip(expected));
    client.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let mut received = [0; YES_LINE.len()];
    client.read_exact(&mut received).expect("the server writes");
    assert_eq!(received, YES_LINE);
}

#[test]
fn a_header_may_come_in_pieces_and_with_what_follows_it() {
    let mut server = bind();
    for header in [V1, V2, V2_LOCAL] {
        let sent = [header, &hello("alice")].concat();
        for cut in 1..sent.len() {
            let (first, rest) = sent.split_at(cut);
            let mut client = server.connect();
            client.send(first);
            server.turn();
            client.send(rest);
            server.turn_until_received(&mut client, YES_LINE.len());
            client.expect(YES_LINE);
            client.hang_up();
            server.turn_until(|server| server.clients() == 0);
        }
        let mut client = server.connect();
        client.send_bytewise(&sent);
        server.turn_until_received(&mut client, YES_LINE.len());
        client.expect(YES_LINE);
        client.hang_up();
        server.turn_until(|server| server.clients() == 0);
    }
}

#[test]
fn limits_count_the_clients_and_not_their_proxy() {
    let mut server = HaltedServer::bind_with(|config| {
        listen_for_proxies(config);
        config.limits.max_clients_per_ip = 1;
    });
    let mut join = |ip: &str, nick: &str| {
        let mut client = server.connect();
        client.send(header_of(ip));
        client.ask_for(nick);
        server.turn_until_received(&mut client, YES_LINE.len());
        client
    };
    let mut alice = join("192.0.2.1", "alice");
    alice.expect(YES_LINE);
    let mut bob = join("192.0.2.2", "bob");
    bob.expect(YES_LINE);
    let mut second = join("192.0.2.1", "carol");
    let words = "too many connections from your address, try again later";
    expect_told(&mut server, &mut second, words);
}

#[test]
fn whoever_sends_no_header_is_told_and_closed() {
    let mut server = bind();
    for input in [
        &b"alice\r\n"[..],
        b"PROXY UDP4 192.0.2.1 10.0.0.1 7 6142\r\nalice\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\xdc\x04\x17\xfe",
        b"\x16\x03\x01\x02\0",
    ] {
        let mut client = server.connect();
        client.send(input);
        expect_told(&mut server, &mut client, NO_HEADER);
    }
    let mut client = server.connect();
    client.hang_up();
    expect_told(&mut server, &mut client, NO_HEADER);
    let metrics = server.metrics();
    assert_eq!(metrics.closed_for(CloseReason::NoProxyHeader), 5);
    assert_eq!((metrics.clients, metrics.accepted), (0, 5));
}

#[test]
fn a_header_has_five_seconds_and_waits_for_nobody_else() {
    let mut server = bind();
    let start = Instant::now();
    let mut slow = server.connect();
    slow.send(&V1[..V1.len() - 1]);
    let mut silent = server.connect();
    server.turn();
    let mut client = server.connect();
    client.send([V1, &hello("alice")].concat());
    server.turn_until_received(&mut client, YES_LINE.len());
    expect_told(&mut server, &mut slow, NO_HEADER);
    expect_told(&mut server, &mut silent, NO_HEADER);
    assert!(start.elapsed() >= Duration::from_secs(5));
    client.expect(YES_LINE);
    server.expect_silence_toward(&mut client);
}

#[test]
fn a_proxy_has_to_come_from_where_proxies_are() {
    let mut server = HaltedServer::bind_with(|config| {
        listen_for_proxies(config);
        config.proxy_from = vec!["10.0.0.0/8".parse().expect("a network")];
    });
    let mut client = server.connect();
    client.send([V1, &hello("alice")].concat());
    let words = "this port is only for proxies that the server trusts";
    expect_told(&mut server, &mut client, words);
    let closed = server.metrics().closed_for(CloseReason::UntrustedProxy);
    assert_eq!(closed, 1);
}

#[test]
fn a_second_header_is_the_clients_own() {
    let mut server = bind();
    let mut client = server.connect();
    client.send([V1, V1].concat());
    expect_told(
        &mut server,
        &mut client,
        "this port takes no PROXY header, goodbye",
    );
}

#[test]
fn at_most_256_connections_wait_for_their_header() {
    let mut server = bind();
    let mut waiting: Vec<Client> = (0..257).map(|_| server.connect()).collect();
    let mut last = waiting.pop().expect("there are many");
    expect_told(&mut server, &mut last, "server is full, try again later");
    for mut client in waiting {
        client.send([V1, &hello("alice")].concat());
        server.turn_until_received(&mut client, YES_LINE.len());
        client.expect(YES_LINE);
        client.hang_up();
        server.turn_until(|server| server.clients() == 0);
    }
}
