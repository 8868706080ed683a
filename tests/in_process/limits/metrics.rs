//! What can be seen of all that: the counters, for whoever embeds the server, for another thread, and
//! for whoever has only a shell.

use std::sync::mpsc;
use std::thread;

use line_chat::{CloseReason, Handle, Metrics, Status};

use crate::support::DEADLINE;
use crate::support::server::{HaltedServer, RunningServer};

/// As [`HaltedServer::metrics`], checked.
#[track_caller]
fn metrics(server: &HaltedServer) -> Metrics {
    let metrics = server.metrics();
    let open = metrics.clients as u64;
    assert_eq!(metrics.accepted, open + metrics.closed(), "{metrics}");
    let by_reason = CloseReason::ALL.map(|reason| metrics.closed_for(reason));
    assert_eq!(by_reason.iter().sum::<u64>(), metrics.closed());
    metrics
}

#[test]
fn accepted_is_open_and_closed_at_every_step() {
    let mut server = HaltedServer::bind_with(|config| config.limits.max_clients = Some(3));
    assert_eq!(metrics(&server).accepted, 0);
    let mut alice = server.join("alice");
    let bob = server.join("bob");
    let mut stranger = server.connect();
    stranger.send(":\r\n:\r\n:\r\n");
    let mut refused = Vec::new();
    for accepted in 3..20 {
        // Between two turns there may be any of it on its way.
        refused.push(server.connect());
        server.turn_until(|server| server.metrics().accepted > accepted);
        metrics(&server);
    }
    stranger.receive_to_end();
    bob.reset();
    alice.hang_up();
    while metrics(&server).clients > 0 {
        server.turn();
    }
    let metrics = metrics(&server);
    assert_eq!(
        (metrics.accepted, metrics.closed(), metrics.members),
        (20, 20, 0)
    );
    assert_eq!(metrics.closed_for(CloseReason::NoNick), 1);
    assert_eq!(metrics.closed_for(CloseReason::Broken), 1);
    assert_eq!(metrics.closed_for(CloseReason::HungUp), 1);
    assert_eq!((metrics.refused(), refused.len()), (17, 17));
}

#[test]
fn lines_and_bytes_are_counted_in_and_out() {
    let mut server = HaltedServer::bind();
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|nick| server.join(nick));
    let _stranger = server.connect();
    server.turn_until(|server| server.clients() == 4);
    let before = metrics(&server);
    assert_eq!((before.clients, before.members), (4, 3));
    assert_eq!((before.lines_in, before.deliveries), (0, 0));
    bob.say("hello");
    bob.send("\r\n");
    let heard = b"bob: hello\r\n";
    for client in [&mut alice, &mut carol] {
        server.turn_until_received(client, heard.len());
        client.expect(heard);
    }
    server.expect_silence_toward(&mut bob);
    let after = metrics(&server);
    assert_eq!(
        (after.lines_in, after.deliveries, after.lines_skipped),
        (1, 2, 0)
    );
    // AYT and its answer, too.
    assert_eq!(after.bytes_in - before.bytes_in, 9 + 2);
    assert_eq!(
        after.bytes_out - before.bytes_out,
        2 * heard.len() as u64 + 7
    );
    assert_eq!((after.pending_bytes, after.held_bytes), (0, 0));
    assert!(after.turns > before.turns);
    assert!(!after.longest_turn.is_zero());
}

#[test]
fn another_thread_sees_the_same_as_the_loop() {
    let server = RunningServer::start();
    let handle = server.handle();
    let mut alice = server.join("alice");
    let _bob = server.join("bob");
    alice.say("hello");
    alice.expect_silence();
    // The loop sleeps, and is woken for each of these.
    let (tell, told) = mpsc::channel();
    for _ in 0..4 {
        let (handle, tell) = (handle.clone(), tell.clone());
        thread::spawn(move || (0..100).all(|_| tell.send(Box::new(handle.metrics())).is_ok()));
    }
    for _ in 0..400 {
        let answer = told.recv_timeout(DEADLINE).expect("an answer");
        let metrics = answer.expect("the server runs");
        assert_eq!((metrics.clients, metrics.members), (2, 2));
        assert_eq!((metrics.lines_in, metrics.deliveries), (1, 1));
    }
}

/// What a thread is told that asks while `end` happens, or has happened. It must not wait for ever.
#[track_caller]
fn ask(handle: Handle, end: impl FnOnce()) -> Option<Metrics> {
    let (tell, told) = mpsc::channel();
    // Nobody waits for it: if it waits for ever, the test fails all the same.
    thread::spawn(move || tell.send(Box::new(handle.metrics())));
    end();
    *told.recv_timeout(DEADLINE).expect("an answer")
}

#[test]
fn who_asks_a_server_that_has_stopped_is_told_so_and_does_not_wait_for_ever() {
    let mut server = RunningServer::start();
    let handle = server.handle();
    assert!(ask(handle.clone(), || {}).is_some());
    server.shut_down();
    server.expect_end();
    assert_eq!(ask(handle, || {}), None);
    // Nor does it help to ask one that has stopped and is still there.
    let mut server = HaltedServer::bind();
    server.handle().shut_down();
    assert_eq!(server.turn(), Status::Stopped);
    assert_eq!(ask(server.handle(), || {}), None);
    // Or one that was dropped before its first turn.
    let server = HaltedServer::bind();
    let handle = server.handle();
    drop(server);
    assert_eq!(ask(handle, || {}), None);
}

#[test]
fn who_asks_while_the_server_is_dropped_is_told_so_as_well() {
    let server = HaltedServer::bind();
    assert_eq!(ask(server.handle(), || drop(server)), None);
}
