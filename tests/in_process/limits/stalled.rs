//! Readers that do not read, over real sockets, where the kernel hides some 256 KB of what they miss:
//! what they are told when they read again, and what it costs the others.

use std::time::Duration;

use line_chat::{CloseReason, Config, Lag};

use super::typists::{Tally, Typists};
use crate::support::server::{Client, HaltedServer};

/// Longer than any test takes.
const FOREVER: Duration = Duration::from_secs(3600);

const KIB: usize = 1 << 10;
const LIMIT: usize = 64 * KIB;

fn small_queues(config: &mut Config) {
    config.limits.max_line_bytes = 512;
    config.limits.max_pending_bytes = LIMIT;
    config.limits.goodbye_timeout = FOREVER;
}

/// Reads until nothing more is queued for anybody.
#[track_caller]
fn read_all(server: &mut HaltedServer, client: &mut Client) -> Vec<u8> {
    server.turn_until(|server| {
        client.read_what_is_there();
        server.metrics().pending_bytes == 0
    });
    server.turn_until_heard(client)
}

/// Reads until it is told that lines were skipped; it sends nothing meanwhile.
#[track_caller]
fn read_until_told(server: &mut HaltedServer, client: &mut Client) -> Vec<u8> {
    server.turn_until(|_| {
        client.read_what_is_there();
        client.received().ends_with(b" lines skipped\r\n")
    });
    client.take_received()
}

// --lag skip.

#[test]
fn lines_seen_and_lines_skipped_are_the_lines_said_however_often_a_reader_stops() {
    let mut server = HaltedServer::bind_with(small_queues);
    let mut typists = Typists::join(&mut server, 20);
    let mut sleeper = server.join("sleeper");
    sleeper.shrink_buffer();
    let mut tally = Tally::default();
    for _ in 0..3 {
        let skipped = server.metrics().lines_skipped;
        while server.metrics().lines_skipped < skipped + 50 {
            typists.type_round(&mut server);
        }
        assert!(server.metrics().pending_bytes <= LIMIT);
        tally.read(&read_until_told(&mut server, &mut sleeper));
        assert_eq!(tally.total(), typists.said);
        assert_eq!(tally.skipped as u64, server.metrics().lines_skipped);
    }
    typists.type_round(&mut server);
    tally.read(&read_all(&mut server, &mut sleeper));
    assert_eq!(tally.total(), typists.said, "nothing more is missed");
}

#[test]
fn a_reader_that_stops_and_goes_on_while_others_talk_misses_no_line_unnoticed() {
    let mut server = HaltedServer::bind_with(small_queues);
    let mut typists = Typists::join(&mut server, 30);
    let mut sleeper = server.join("sleeper");
    sleeper.shrink_buffer();
    while server.metrics().lines_skipped == 0 {
        typists.type_round(&mut server);
    }
    // It never reads enough to catch up while they talk.
    for _ in 0..10 {
        sleeper.read_at_most(50 * KIB);
        typists.type_round(&mut server);
    }
    let mut tally = Tally::default();
    tally.read(&read_all(&mut server, &mut sleeper));
    assert_eq!(tally.total(), typists.said);
    assert_eq!(tally.skipped as u64, server.metrics().lines_skipped);
}

// --lag wait.

/// Bob says 2 MB to a carol who reads and to a sleeper who does not, until the room waits.
struct WaitingRoom {
    server: HaltedServer,
    bob: Client,
    carol: Client,
    sleeper: Client,
    typed: Vec<u8>,
    sent: usize,
}

impl WaitingRoom {
    fn new() -> Self {
        let mut server = HaltedServer::bind_with(|config| {
            small_queues(config);
            config.limits.lag = Lag::Wait;
            config.limits.stall_timeout = Some(Duration::ZERO);
        });
        let [bob, carol, sleeper] = ["bob", "carol", "sleeper"].map(|nick| server.join(nick));
        let typed = (0..10_000).map(|n| format!("{n:0200}\r\n"));
        Self {
            server,
            bob,
            carol,
            sleeper,
            typed: typed.collect::<String>().into_bytes(),
            sent: 0,
        }
    }

    /// A turn, before which bob sends what he can, and after which carol reads.
    fn turn(&mut self) {
        self.sent += self.bob.send_what_fits(&self.typed[self.sent..]);
        self.server.turn();
        self.carol.read_what_is_there();
    }

    fn heard(&self) -> Vec<u8> {
        let lines = self.typed.split_inclusive(|&byte| byte == b'\n');
        let lines = lines.map(|line| [b"bob: ", line].concat());
        lines.collect::<Vec<_>>().concat()
    }
}

#[test]
fn a_room_that_waits_for_one_loses_nothing_for_anybody() {
    let mut room = WaitingRoom::new();
    while room.server.metrics().pending_bytes <= LIMIT {
        room.turn();
    }
    let lines_in = room.server.metrics().lines_in;
    // A stranger's refusal shows that turns go by in which somebody could have been heard.
    for _ in 0..10 {
        room.turn();
        let mut stranger = room.server.connect();
        stranger.send(":\r\n");
        room.server.turn_until_received(&mut stranger, 10);
    }
    assert_eq!(room.server.metrics().lines_in, lines_in, "nobody is heard");
    // What one turn appends is a quarter of the limit at most.
    assert!(room.server.metrics().pending_bytes <= LIMIT + LIMIT / 4);
    let heard = room.heard();
    while room.carol.received().len() < heard.len() || room.sleeper.received().len() < heard.len() {
        room.turn();
        room.sleeper.read_what_is_there();
    }
    room.carol.expect(&heard);
    room.sleeper.expect(&heard);
}

// --stall-timeout and --max-pending-total.

/// What a sleeper gets after bob has talked until it was closed for `reason`.
#[track_caller]
fn last_words(reason: CloseReason, configure: impl FnOnce(&mut Config)) -> String {
    let mut server = HaltedServer::bind_with(|config| {
        config.limits.goodbye_timeout = FOREVER;
        configure(config);
    });
    let [mut bob, mut sleeper] = ["bob", "sleeper"].map(|nick| server.join(nick));
    let typed = format!("{:0200}\r\n", 0).repeat(1000);
    let mut sent = 0;
    server.turn_until(|server| {
        sent += bob.send_what_fits(&typed.as_bytes()[sent % typed.len()..]);
        server.metrics().members == 1
    });
    server.turn_until(|server| {
        sleeper.read_what_is_there();
        server.clients() == 1 || sleeper.received().ends_with(b"goodbye\r\n")
    });
    let received = String::from_utf8(sleeper.receive_to_end()).expect("UTF-8");
    server.turn_until(|server| server.clients() == 1);
    assert_eq!(server.metrics().closed_for(reason), 1);
    let (lines, goodbye) = received.split_at(received.rfind("* ").unwrap_or(0));
    let line = format!("bob: {:0200}\r\n", 0);
    assert_eq!(lines, line.repeat(lines.len() / line.len()), "whole lines");
    goodbye.to_owned()
}

#[test]
fn who_takes_nothing_for_the_stall_timeout_is_told_why_it_is_closed() {
    let goodbye = last_words(CloseReason::Stalled, |config| {
        config.limits.stall_timeout = Some(Duration::from_millis(20));
    });
    assert_eq!(goodbye, "* you have read nothing for too long, goodbye\r\n");
}

#[test]
fn who_holds_up_the_room_is_told_why_it_is_closed() {
    let goodbye = last_words(CloseReason::HeldUp, |config| {
        config.limits.lag = Lag::Wait;
        config.limits.stall_timeout = Some(Duration::from_millis(20));
    });
    assert_eq!(
        goodbye,
        "* you have held up the room for too long, goodbye\r\n"
    );
}

#[test]
fn who_is_furthest_behind_when_memory_is_short_is_told_why_it_is_closed() {
    let goodbye = last_words(CloseReason::OutOfMemory, |config| {
        config.limits.max_pending_total_bytes = 64 * KIB;
    });
    assert_eq!(
        goodbye,
        "* server is short of memory and you are furthest behind, goodbye\r\n"
    );
}
