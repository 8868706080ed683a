//! Who is let in and for how long: `--max-clients`, `--max-clients-per-ip`, `--login-timeout`,
//! `--idle-timeout`, and peers that speak another protocol.

use std::net::IpAddr;
use std::time::Duration;

use line_chat::CloseReason;

use crate::support::rig::{Rig, Wire};
use crate::support::server::{HaltedServer, RunningServer};

const SECOND: Duration = Duration::from_secs(1);
const A_MOMENT: Duration = Duration::from_millis(10);
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

const FULL: &str = "* server is full, try again later";

// --max-clients.

#[test]
fn with_room_for_one_the_second_is_told_and_the_place_can_be_had_again() {
    let mut server = HaltedServer::bind_with(|config| config.limits.max_clients = Some(1));
    for _ in 0..3 {
        let mut alice = server.join("alice");
        let mut second = server.connect();
        // It may have sent something already.
        second.send("bob\r\n");
        server.turn_until_received(&mut second, FULL.len());
        assert_eq!(
            second.receive_to_end(),
            [FULL, "\r\n"].concat().into_bytes()
        );
        assert_eq!(server.clients(), 1);
        server.expect_silence_toward(&mut alice);
        alice.hang_up();
        server.turn_until(|server| server.clients() == 0);
    }
    let metrics = server.metrics();
    assert_eq!((metrics.accepted, metrics.refused()), (6, 3));
    assert_eq!(metrics.closed_for(CloseReason::ServerFull), 3);
}

#[test]
fn who_has_no_nick_yet_takes_a_place_as_well() {
    let mut rig = Rig::new(|config| config.limits.max_clients = Some(2));
    let [stranger, _] = ["192.0.2.1", "192.0.2.2"].map(|addr| rig.connect_from(ip(addr)));
    assert_eq!(rig.connect().received(), [FULL, "\r\n"].concat());
    stranger.hang_up();
    rig.settle();
    rig.join("alice");
}

// Places that are kept by clients without a nick.

const MADE_ROOM: &str = "* server is full and you have given no nick, goodbye\r\n";

#[test]
fn whoever_holds_most_places_without_a_nick_loses_the_oldest_to_a_newcomer() {
    let mut rig = Rig::new(|config| {
        config.limits.max_clients = Some(50);
        config.interactive.enabled = true;
    });
    let member = rig.join("alice");
    let person = rig.connect_from(ip("198.51.100.7"));
    // From each of the profiles.
    let idle: Vec<Wire> = (0..48)
        .map(|n| match n % 2 {
            0 => rig.connect(),
            _ => rig.connect_plainly(),
        })
        .collect();
    for (n, loser) in idle.iter().take(20).enumerate() {
        let newcomer = rig.connect_from(ip("192.0.2.1"));
        assert!(loser.received().ends_with(MADE_ROOM), "{n}");
        rig.settle();
        assert!(loser.is_freed() && loser.has_ended(), "{n}");
        newcomer.say(&format!("bob{n}"));
        rig.settle();
    }
    assert!(idle.iter().skip(20).all(|it| !it.is_freed()));
    assert!(!member.is_freed() && !person.is_freed());
    assert_eq!(rig.metrics().closed_for(CloseReason::MadeRoom), 20);
    assert_eq!(rig.metrics().clients, 50);
    person.say("carol");
    rig.settle();
    assert!(person.received().contains("* welcome, carol"));
}

#[test]
fn the_only_newcomer_of_an_address_has_ten_seconds_for_its_nick() {
    let mut rig = Rig::new(|config| config.limits.max_clients = Some(2));
    rig.join("alice");
    let slow = rig.connect_from(ip("192.0.2.1"));
    rig.advance(Duration::from_millis(9_999));
    let refused = rig.connect_from(ip("192.0.2.2"));
    assert_eq!(refused.received(), [FULL, "\r\n"].concat());
    rig.advance(Duration::from_millis(1));
    let next = rig.connect_from(ip("192.0.2.3"));
    assert_eq!(slow.received(), MADE_ROOM);
    next.say("bob");
    rig.settle();
    assert_eq!(rig.metrics().members, 2);
    // Members never make room.
    let refused = rig.connect_from(ip("192.0.2.4"));
    assert_eq!(refused.received(), [FULL, "\r\n"].concat());
}

#[test]
fn whoever_leaves_and_does_not_take_its_last_lines_makes_room_as_well() {
    let mut rig = Rig::new(|config| {
        config.limits.max_clients = Some(50);
        config.limits.max_clients_per_ip = 0;
        config.limits.connects_per_second = 0.0;
    });
    let speaker = rig.join("speaker");
    let zombies: Vec<Wire> = (0..49)
        .map(|n| {
            let wire = rig.connect_from(ip("192.0.2.1"));
            wire.say(&format!("zombie{n}"));
            rig.settle();
            wire.stop_reading();
            wire
        })
        .collect();
    for _ in 0..100 {
        speaker.say(&"x".repeat(4000));
        rig.settle();
    }
    zombies.iter().for_each(Wire::hang_up);
    rig.settle();
    assert_eq!((rig.metrics().clients, rig.metrics().members), (50, 1));
    let newcomer = rig.connect_from(ip("198.51.100.7"));
    newcomer.say("bob");
    rig.settle();
    assert_eq!((rig.metrics().clients, rig.metrics().members), (50, 2));
    assert!(zombies[0].is_freed() && !zombies[1].is_freed());
}

// --connect-rate.

const TOO_FAST: &str = "* too many new connections from your address, try again in a moment\r\n";

#[test]
fn one_address_connects_fifty_times_at_once_and_then_twenty_times_a_second() {
    let mut rig = Rig::new(|config| config.limits.max_clients_per_ip = 0);
    let mut connect = |after, count: usize| {
        rig.advance(after);
        // Both listeners count together, and so do all addresses of a network.
        let mut connect = |n| {
            let wire = match n % 2 {
                0 => rig.connect_from(ip("2001:db8::1")),
                _ => rig.connect_plainly_from(ip("2001:db8::2")),
            };
            let received = wire.received();
            wire.hang_up();
            rig.settle();
            assert!(received.is_empty() || received == TOO_FAST, "{received}");
            received.is_empty()
        };
        (0..count).filter(|&n| connect(n)).count()
    };
    assert_eq!(connect(Duration::ZERO, 60), 50);
    assert_eq!(connect(SECOND, 60), 20);
    assert_eq!(connect(Duration::from_millis(50), 60), 1);
    assert_eq!(connect(60 * SECOND, 60), 50);
    assert_eq!(
        rig.metrics().closed_for(CloseReason::AddressTooFast),
        240 - 121
    );
    for _ in 0..100 {
        assert_eq!(rig.connect().received(), "", "this machine is exempt");
    }
}

// --max-clients-per-ip.

const CROWDED: &str = "* too many connections from your address, try again later\r\n";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn limited(max_clients_per_ip: usize) -> Rig {
    Rig::new(|config| {
        config.limits.max_clients_per_ip = max_clients_per_ip;
        config.limits.connects_per_second = 0.0;
    })
}

#[test]
fn one_address_gets_so_many_places_and_another_its_own() {
    for most in [1, 2, 64] {
        let mut rig = limited(most);
        let clients: Vec<Wire> = (0..most)
            .map(|_| rig.connect_from(ip("192.0.2.1")))
            .collect();
        assert!(clients.iter().all(|client| client.received().is_empty()));
        let refused = rig.connect_from(ip("192.0.2.1"));
        assert_eq!(refused.received(), CROWDED);
        assert!(refused.has_ended());
        assert_eq!(rig.connect_from(ip("192.0.2.2")).received(), "");
        clients[0].hang_up();
        rig.settle();
        assert_eq!(rig.connect_from(ip("192.0.2.1")).received(), "");
        assert_eq!(rig.connect_from(ip("192.0.2.1")).received(), CROWDED);
        assert_eq!(rig.metrics().closed_for(CloseReason::AddressFull), 2);
    }
}

#[test]
fn a_network_of_64_bits_and_a_mapped_address_are_one_address() {
    let mut rig = limited(1);
    for (first, same) in [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
    ] {
        assert_eq!(rig.connect_from(ip(first)).received(), "");
        assert_eq!(rig.connect_from(ip(same)).received(), CROWDED, "{same}");
    }
    for other in ["2001:db8:0:1::1", "::ffff:192.0.2.2"] {
        assert_eq!(rig.connect_from(ip(other)).received(), "", "{other}");
    }
}

#[test]
fn this_machine_may_have_as_many_clients_as_it_likes() {
    let mut rig = limited(1);
    for address in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
        for _ in 0..3 {
            assert_eq!(rig.connect_from(ip(address)).received(), "", "{address}");
        }
    }
    let server = RunningServer::start_with(|config| config.limits.max_clients_per_ip = 1);
    let _members = ["alice", "bob"].map(|nick| server.join(nick));
}

#[test]
fn with_0_an_address_may_have_as_many_clients_as_it_likes() {
    let mut rig = limited(0);
    for _ in 0..1000 {
        assert_eq!(rig.connect_from(ip("192.0.2.1")).received(), "");
    }
}

// --login-timeout.

const NO_NICK: &str = "* no nick came in time, goodbye\r\n";

fn login_timeout(seconds: u32) -> Rig {
    Rig::new(|config| config.limits.login_timeout = Some(seconds * SECOND))
}

#[test]
fn a_byte_or_a_bad_nick_now_and_then_gains_no_time_to_log_in() {
    for sent in ["", "x", "\r\n", "\u{7f}"] {
        let mut rig = login_timeout(10);
        let client = rig.connect();
        for _ in 0..9 {
            rig.advance(SECOND);
            client.send(sent);
        }
        client.send(":\r\n");
        rig.advance(SECOND - A_MOMENT);
        assert!(!client.received().contains("goodbye"), "{sent:?}");
        rig.advance(2 * A_MOMENT);
        assert_eq!(client.received(), NO_NICK, "{sent:?}");
        rig.advance(2 * SECOND);
        assert_eq!(rig.metrics().closed_for(CloseReason::LoginTimeout), 1);
    }
}

#[test]
fn who_has_a_nick_has_logged_in_for_good() {
    let mut rig = login_timeout(1);
    rig.join("alice");
    rig.advance(A_YEAR);
    assert_eq!(rig.metrics().members, 1);
}

#[test]
fn a_login_takes_30_s_or_with_0_as_long_as_it_likes() {
    let mut rig = Rig::new(|_| {});
    rig.connect();
    rig.advance(30 * SECOND - A_MOMENT);
    assert_eq!(rig.metrics().clients, 1);
    rig.advance(2 * A_MOMENT + 2 * SECOND);
    assert_eq!(rig.metrics().clients, 0);
    let mut rig = login_timeout(0);
    rig.connect();
    assert!(!rig.has_deadline());
    rig.advance(A_YEAR);
    assert_eq!(rig.metrics().clients, 1);
}

// --idle-timeout.

const IDLE: &str = "* you have been silent for too long, goodbye\r\n";

#[test]
fn who_sends_nothing_for_the_idle_timeout_is_closed_whatever_it_hears() {
    let mut rig = Rig::new(|config| config.limits.idle_timeout = 10 * SECOND);
    let [listener, speaker, knocker] =
        ["listener", "speaker", "knocker"].map(|nick| rig.join(nick));
    for _ in 0..9 {
        rig.advance(SECOND);
        speaker.say("hello");
        // Telnet's NOP is something as well.
        knocker.send(b"\xff\xf1");
    }
    rig.advance(SECOND - A_MOMENT);
    assert_eq!(listener.received(), "speaker: hello\r\n".repeat(9));
    rig.advance(2 * A_MOMENT);
    assert_eq!(listener.received(), IDLE);
    assert_eq!(rig.metrics().members, 2);
    rig.advance(12 * SECOND);
    assert_eq!(rig.metrics().closed_for(CloseReason::Idle), 3);
}

#[test]
fn to_be_silent_is_allowed_unless_a_limit_is_set() {
    let mut rig = Rig::new(|_| {});
    rig.join("alice");
    assert!(!rig.has_deadline());
    rig.advance(A_YEAR);
    assert_eq!(rig.metrics().members, 1);
}

// Other protocols.

const OTHER: &str = "* this is a chat server for telnet, goodbye\r\n";

/// The first bytes of a TLS client, which has no line end to offer.
const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

#[test]
fn stray_browsers_and_scanners_are_told_where_they_are_and_never_become_members() {
    let mut server = HaltedServer::bind();
    let mut alice = server.join("alice");
    for first in [
        TLS_HELLO,
        b"GET / HTTP/1.1\r\nHost: localhost:6142\r\nUser-Agent: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
    ] {
        let mut client = server.connect();
        client.send(first);
        server.turn_until_received(&mut client, OTHER.len());
        assert_eq!(client.receive_to_end(), OTHER.as_bytes());
        assert_eq!(server.metrics().members, 1);
        server.turn_until(|server| server.clients() == 1);
    }
    server.expect_silence_toward(&mut alice);
    assert_eq!(server.metrics().closed_for(CloseReason::OtherProtocol), 4);
}

#[test]
fn programs_with_the_wrong_port_are_told_what_this_is() {
    let mut rig = Rig::new(|_| {});
    let alice = rig.join("alice");
    for (first, goodbye) in [
        (
            &b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nbob\r\n"[..],
            "this port takes no PROXY header",
        ),
        (b"PROXY UNKNOWN\r\n", "this port takes no PROXY header"),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb",
            "this port takes no PROXY header",
        ),
        (
            b"*1\r\n$4\r\nPING\r\n",
            "this is a chat server and no Redis server",
        ),
        (b"EHLO x\r\n", "this is a chat server and no mail server"),
        (b"USER x\r\n", "this is a chat server and no FTP server"),
        (
            b"CAP LS 302\r\nNICK x\r\n",
            "this is no IRC server but a chat server for telnet",
        ),
        (
            b"NICK x\r\nUSER x 0 * :x\r\n",
            "this is no IRC server but a chat server for telnet",
        ),
        (
            b"USER x 0 * :x\r\nNICK x\r\n",
            "this is no IRC server but a chat server for telnet",
        ),
    ] {
        let client = rig.connect();
        client.send(first);
        rig.settle();
        assert_eq!(client.received(), format!("* {goodbye}, goodbye\r\n"));
    }
    for nick in ["Ehlo", "PING", "QUIT", "PROXY", "USER", "Nick"] {
        rig.join(nick).say("hi");
        rig.settle();
        assert_eq!(alice.received(), format!("{nick}: hi\r\n"));
    }
}

#[test]
fn a_password_that_looks_like_a_protocol_is_a_password() {
    let mut rig = Rig::new(|config| {
        config.interactive.password = "NICK time".parse().ok();
    });
    let client = rig.connect();
    client.send(b"NICK time\r\nbob\r\n\xff\xf6");
    rig.settle();
    assert_eq!(client.received(), "* password?\r\n* yes\r\n");
    let client = rig.connect();
    client.send(b"NICK x\r\n");
    rig.settle();
    let goodbye = "* this is no IRC server but a chat server for telnet, goodbye\r\n";
    assert_eq!(client.received(), format!("* password?\r\n{goodbye}"));
}

#[test]
fn another_protocol_is_known_though_it_comes_a_byte_at_a_time() {
    for first in [TLS_HELLO, b"HEAD / HTTP/1.0\n", b"SSH-1.5-x\r"] {
        let mut rig = Rig::new(|_| {});
        let client = rig.connect();
        for byte in first {
            client.send([*byte]);
            rig.settle();
        }
        assert_eq!(client.received(), OTHER);
    }
}

// At a prompt the first bytes of TLS are keys that edit a line.
#[test]
fn tls_is_known_at_a_prompt_too() {
    for pieces in [1, TLS_HELLO.len()] {
        let mut rig = Rig::new(|config| config.interactive.enabled = true);
        let client = rig.connect();
        client.received();
        for piece in TLS_HELLO.chunks(pieces) {
            client.send(piece);
            rig.settle();
        }
        assert_eq!(client.received(), OTHER);
    }
}

#[test]
fn a_member_may_talk_of_protocols() {
    let mut rig = Rig::new(|_| {});
    let [alice, bob] = ["alice", "bob"].map(|nick| rig.join(nick));
    bob.say("GET / HTTP/1.1");
    rig.settle();
    assert_eq!(alice.received(), "bob: GET / HTTP/1.1\r\n");
}
