//! The end of a connection, from either side: what was said is heard, what was queued arrives, the
//! last words are not lost to an RST, and nobody else notices.

use std::net::TcpStream;
use std::time::Duration;

use line_chat::{Config, Status};

use crate::support::YES_LINE;
use crate::support::server::{Client, HaltedServer, RunningServer};

const SHUTTING_DOWN: &str = "* server is shutting down\r\n";

/// Longer than any test takes: a server that waits for it hangs.
const FOREVER: Duration = Duration::from_secs(3600);

/// Queues that hold everything that is said here, with room to spare: nobody is behind, so no line is
/// left out and no speaker is held back.
fn with_large_queues(config: &mut Config) {
    config.limits.max_pending_bytes = 8 << 20;
}

/// `count` lines of 200 bytes, as they are typed and as the others hear them of `nick`.
fn long_lines(nick: &str, count: usize) -> (String, String) {
    let texts = (0..count).map(|at| format!("{at:0200}"));
    let typed = texts.clone().map(|text| text + "\r\n").collect();
    let heard = texts.map(|text| format!("{nick}: {text}\r\n")).collect();
    (typed, heard)
}

/// Says lines until more is queued for the others than the kernel takes of them; gives what they
/// have to hear. The server must have large queues.
#[track_caller]
fn queue_much(server: &mut HaltedServer, speaker: &mut Client, nick: &str) -> String {
    let (typed, heard) = long_lines(nick, 4000);
    for piece in typed.as_bytes().chunks(50_000) {
        speaker.send(piece);
        server.turn();
    }
    server.expect_silence_toward(speaker);
    heard
}

// 6. End of stream.

#[test]
fn a_piped_clients_lines_are_heard_and_then_it_is_closed() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut piped = server.connect();
    piped.send("nc\none\ntwo\n");
    piped.hang_up();
    alice.expect("nc: one\r\nnc: two\r\n");
    piped.expect_end();
    alice.expect_silence();
}

#[test]
fn a_fin_that_waits_behind_the_lines_is_seen_whatever_their_length() {
    // One event tells of the lines and of the FIN, and a read that takes all there is, or exactly
    // as much as one read takes, sees no FIN yet.
    for typed in [10, 16 << 10, 32 << 10, 40_000] {
        let server = HaltedServer::bind();
        let mut piped = server.connect();
        let nick = "nc\n".to_owned();
        piped.send(nick + &"x".repeat(typed - 4) + "\n");
        piped.hang_up();
        let server = server.run();
        piped.receive_to_end();
        server.join("nc");
    }
}

#[test]
fn a_fin_alone_ends_a_connection() {
    let server = RunningServer::start();
    let mut client = server.connect();
    client.hang_up();
    client.expect_end();
    let mut member = server.join("bob");
    member.hang_up();
    member.expect_end();
}

#[test]
fn an_unfinished_line_is_dropped_at_the_end() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.send("finished\r\nunfinished");
    bob.hang_up();
    bob.expect_end();
    alice.expect("bob: finished\r\n");
    alice.expect_silence();
}

#[test]
fn who_leaves_before_a_nick_is_no_event() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    for typed in ["", "\r\n", "bob", "alice\r\n"] {
        let mut client = server.connect();
        client.send(typed);
        client.hang_up();
        client.receive_to_end();
        let client = server.connect();
        client.reset();
    }
    alice.expect_silence();
    server.join("bob");
}

#[test]
fn a_leaving_member_is_no_line_in_the_room() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.hang_up();
    bob.expect_end();
    server.join("carol").reset();
    alice.expect_silence();
}

#[test]
fn who_hung_up_gets_what_was_queued_and_nothing_that_is_said_later() {
    let mut server = HaltedServer::bind_with(with_large_queues);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    let queued = queue_much(&mut server, &mut alice, "alice");
    bob.hang_up();
    let mut server = server.run();
    // That the nick is free tells that the end was seen, long before the last byte is written.
    let mut new_bob = join_as_soon_as_free(&server, "bob");
    alice.say("too late");
    new_bob.expect("alice: too late\r\n");
    bob.expect(queued);
    bob.expect_end();
    drop((alice, new_bob));
    server.shut_down();
    server.expect_end();
}

/// Joins under a nick that is about to become free.
#[track_caller]
fn join_as_soon_as_free(server: &RunningServer, nick: &str) -> Client {
    let taken = format!("* nick \"{nick}\" is taken, choose another\r\n");
    loop {
        let mut client = server.connect();
        client.ask_for(nick);
        if client.receive(YES_LINE.len()) == YES_LINE {
            return client;
        }
        client.expect(&taken[YES_LINE.len()..]);
        client.expect(YES_LINE);
    }
}

#[test]
fn a_nick_is_free_when_its_owners_last_line_was_heard_before_a_fin() {
    let mut server = HaltedServer::bind();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    let mut heir = server.connect();
    heir.send("heir:\r\n");
    let refused = "* a nick has no \":\" in it, choose another\r\n";
    server.turn_until_received(&mut heir, refused.len());
    heir.expect(refused);
    // The last line of the one and its end take one turn, and the wish of the other comes behind it.
    bob.send("bye\r\n");
    bob.hang_up();
    server.turn();
    heir.send("bob\r\nhello\r\n");
    let _server = server.run();
    alice.expect("bob: bye\r\nbob: hello\r\n");
    bob.expect_end();
}

#[test]
fn who_hangs_up_behind_its_last_line_has_left_when_that_was_heard() {
    // Otherwise a script that runs twice in a row is told that its nick is taken.
    let mut server = HaltedServer::bind();
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    bob.say("bye");
    bob.hang_up();
    assert_eq!(server.metrics().members, 2);
    server.turn();
    assert_eq!(server.metrics().members, 1, "after one turn");
    server.turn_until_received(&mut alice, "bob: bye\r\n".len());
    alice.expect("bob: bye\r\n");
}

#[test]
fn a_nick_is_free_when_its_owner_was_reset() {
    let mut server = HaltedServer::bind();
    let mut alice = server.join("alice");
    for _ in 0..20 {
        server.join("bob").reset();
        // On a busy machine the reset may arrive behind the next connection.
        server.turn_until(|server| server.metrics().members == 1);
    }
    server.expect_silence_toward(&mut alice);
}

#[test]
fn one_clients_reset_is_no_others_concern() {
    // mio's own example server ends here.
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    for _ in 0..20 {
        server.connect().reset();
        let mut member = server.join("member");
        member.send("unfinished");
        bob.say("hi");
        alice.expect("bob: hi\r\n");
        // With unread output on its side and an unfinished line on ours.
        member.reset();
        bob.expect_silence();
    }
}

#[test]
fn a_broadcast_to_a_receiver_that_was_reset_closes_that_one_only() {
    // In one batch the receiver's RST and the speaker's lines, in either order, with a queue that
    // is empty and with one that could not be written.
    for stalled in [false, true] {
        for reset_first in [false, true] {
            let mut server = HaltedServer::bind_with(with_large_queues);
            let [mut speaker, victim, mut witness] =
                ["speaker", "victim", "witness"].map(|nick| server.join(nick));
            let mut heard = String::new();
            if stalled {
                heard = queue_much(&mut server, &mut speaker, "speaker");
            }
            broadcast_while_reset(&mut speaker, victim, reset_first);
            server.turn_until(|server| server.clients() == 2);
            let server = server.run();
            witness.expect(heard + "speaker: one\r\nspeaker: two\r\n");
            speaker.expect_silence();
            server.join("victim");
        }
    }
}

fn broadcast_while_reset(speaker: &mut Client, victim: Client, reset_first: bool) {
    if reset_first {
        victim.reset();
        speaker.send("one\r\ntwo\r\n");
    } else {
        speaker.send("one\r\ntwo\r\n");
        victim.reset();
    }
}

#[test]
fn who_takes_a_freed_slot_gets_nothing_of_its_forerunner() {
    let mut server = HaltedServer::bind();
    let mut alice = server.join("alice");
    for round in 0..50 {
        let old: Vec<Client> = ["a", "b", "c"].map(|nick| server.join(nick)).into();
        alice.say("to the old ones");
        // One batch: the end of the old ones, and the coming of the new ones.
        for mut client in old {
            client.send("unfinished");
            if round % 2 == 0 {
                client.hang_up();
            } else {
                client.reset();
            }
        }
        let mut new = server.connect();
        new.send("\r\n");
        new.ask_for(&format!("new{round}"));
        server.turn_until_received(&mut new, YES_LINE.len());
        new.expect(YES_LINE);
        new.hang_up();
        server.turn_until(|server| server.clients() == 1);
    }
    let _server = server.run();
    alice.expect_silence();
}

// The last words, and lingering.

#[test]
fn the_goodbye_arrives_though_input_is_still_in_flight() {
    for _ in 0..20 {
        let server = RunningServer::start();
        let mut client = server.connect();
        let why = "* a nick has no \":\" in it, ";
        for _ in 0..2 {
            client.send(":\r\n");
            client.expect([why, "choose another\r\n"].concat());
        }
        client.send([":\r\n", &"x".repeat(50_000)].concat());
        client.expect([why, "and that was the last try, goodbye\r\n"].concat());
        // Still more that nobody reads: a close would answer it with an RST.
        client.send("y".repeat(5000));
        client.expect_end();
    }
}

#[test]
fn who_was_refused_and_does_not_leave_is_closed_all_the_same() {
    let mut server = HaltedServer::bind_with(|config| {
        config.limits.linger_timeout = Duration::from_millis(10);
    });
    let mut client = server.connect();
    client.send(":\r\n:\r\n:\r\n");
    server.turn_until(|server| server.clients() == 1);
    server.turn_until(|server| server.clients() == 0);
    client.receive_to_end();
}

#[test]
fn who_was_refused_and_sends_without_end_is_closed_all_the_same() {
    let mut server = HaltedServer::bind_with(|config| {
        config.limits.linger_timeout = FOREVER;
    });
    let mut client = server.connect();
    client.send(":\r\n:\r\n:\r\n");
    server.turn_until(|server| server.clients() == 1);
    server.turn_until(|server| {
        client.send_what_fits(&[b'x'; 1000]);
        server.clients() == 0
    });
}

// 12. Shutting down.

#[test]
fn a_shutdown_tells_every_client_and_ends() {
    let mut server = RunningServer::start();
    let mut clients = ["alice", "bob"].map(|nick| server.join(nick));
    let mut newcomer = server.connect();
    newcomer.expect_silence();
    server.shut_down();
    for client in clients.iter_mut().chain([&mut newcomer]) {
        client.expect(SHUTTING_DOWN);
        client.expect_end();
    }
    drop((clients, newcomer));
    server.expect_end();
}

#[test]
fn an_empty_server_shuts_down_at_once() {
    let mut server = HaltedServer::bind();
    server.handle().shut_down();
    assert_eq!(server.turn(), Status::Stopped);
    assert_eq!(server.turn(), Status::Stopped, "and stays so");
}

#[test]
fn no_line_is_heard_after_a_shutdown_began() {
    let mut server = HaltedServer::bind();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.say("too late");
    server.handle().shut_down();
    let _server = server.run();
    for client in [&mut alice, &mut bob] {
        client.expect(SHUTTING_DOWN);
        client.expect_end();
    }
}

#[test]
fn nobody_can_connect_after_a_shutdown_began() {
    let server = RunningServer::start_with(|config| config.limits.linger_timeout = FOREVER);
    let mut alice = server.join("alice");
    server.shut_down();
    alice.expect(SHUTTING_DOWN);
    // The server is still there: it waits for the client to close as well.
    let refused = TcpStream::connect(server.addrs()[0]);
    let kind = refused.map_err(|error| error.kind()).err();
    assert_eq!(kind, Some(std::io::ErrorKind::ConnectionRefused));
}

#[test]
fn a_shutdown_writes_what_is_queued_though_input_is_in_flight() {
    let mut server = HaltedServer::bind_with(|config| {
        with_large_queues(config);
        config.limits.goodbye_timeout = FOREVER;
        config.limits.linger_timeout = FOREVER;
    });
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    let queued = queue_much(&mut server, &mut alice, "alice");
    server.handle().shut_down();
    server.turn();
    bob.send("x".repeat(30_000));
    let mut server = server.run();
    bob.expect(queued);
    bob.expect(SHUTTING_DOWN);
    bob.expect_end();
    alice.expect(SHUTTING_DOWN);
    drop((alice, bob));
    server.expect_end();
}

#[test]
fn a_client_that_reads_nothing_delays_a_shutdown_only_for_its_time() {
    let mut server = HaltedServer::bind_with(|config| {
        with_large_queues(config);
        config.limits.goodbye_timeout = Duration::from_millis(50);
    });
    let mut alice = server.join("alice");
    let _bob = server.join("bob");
    queue_much(&mut server, &mut alice, "alice");
    server.handle().shut_down();
    server.run().expect_end();
}

#[test]
fn a_second_shutdown_waits_for_nobody() {
    let mut server = HaltedServer::bind_with(|config| {
        with_large_queues(config);
        config.limits.goodbye_timeout = FOREVER;
    });
    let mut alice = server.join("alice");
    let _bob = server.join("bob");
    queue_much(&mut server, &mut alice, "alice");
    let handle = server.handle();
    handle.shut_down();
    assert_eq!(server.turn(), Status::Running);
    handle.clone().shut_down();
    server.run().expect_end();
}
