//! What measures a process: signals, descriptors, threads, memory, time on the processor, and
//! storms of connections. The built binary runs as a child, one at a time, so that nobody else's
//! load is in a figure. Figures are printed; `cargo test --test child_process process:: -- --nocapture`
//! shows them.
//!
//! `LINE_CHAT_LONG=1` makes the storms ten times as long.

use std::env;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::child::{
    Client, Server, alone, await_until, command, command_after, raise_descriptor_limit,
};
use crate::support::{ARE_YOU_THERE, YES, hello};
use crate::{FULL, GOODBYE, flood_line};

/// How long the server writes what is queued when it is told to end.
const GRACE: Duration = Duration::from_secs(5);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// `usual`, or ten times that if there is time.
fn many(usual: usize) -> usize {
    if is_long() { usual * 10 } else { usual }
}

fn is_long() -> bool {
    env::var_os("LINE_CHAT_LONG").is_some_and(|long| long == "1")
}

/// Members with these numbers in their nicks.
#[track_caller]
fn join_all(server: &Server, numbers: std::ops::Range<usize>) -> Vec<Client> {
    let mut members = Vec::with_capacity(numbers.len());
    for batch in numbers.collect::<Vec<_>>().chunks(500) {
        let first = members.len();
        for number in batch {
            let mut client = server.connect();
            client.send(&hello(&format!("user{number}")));
            members.push(client);
        }
        for client in &mut members[first..] {
            client.expect(YES);
        }
    }
    members
}

/// A server that is stopped (SIGSTOP) and goes on finds the time of everybody up, and all that was sent
/// meanwhile unread.
#[test]
fn after_a_pause_84_who_have_sent_something_in_it_keep_their_places() {
    let _alone = alone();
    let server = Server::start(&["--login-timeout", "2", "--idle-timeout", "2"]);
    let mut members = join_all(&server, 0..42);
    let mut strangers: Vec<Client> = (42..84).map(|_| server.connect()).collect();
    await_until("all are in", || server.descriptors() >= 84 + 8);
    server.signal(Signal::STOP);
    for member in &mut members {
        member.say("still here");
    }
    for (number, stranger) in strangers.iter_mut().enumerate() {
        stranger.send(&hello(&format!("late{number}")));
    }
    // The pause itself: too short to be left out of the time of those who sent nothing.
    thread::sleep(Duration::from_millis(2800));
    server.signal(Signal::CONT);
    for client in strangers.iter_mut().chain(&mut members) {
        client.send(ARE_YOU_THERE);
        while client.line().expect("it has its place") != YES {}
    }
    drop((strangers, members));
    let log = server.stop().log;
    assert!(!log.contains("no nick in time"), "{log}");
    assert!(!log.contains("left: idle"), "{log}");
}

#[test]
fn a_pause_takes_nothing_of_the_time_of_those_who_were_silent_in_it() {
    let server = Server::start(&["--login-timeout", "0.5", "--idle-timeout", "3"]);
    let mut bob = server.join("bob");
    let mut stranger = server.connect();
    bob.await_heard();
    server.signal(Signal::STOP);
    // The pause itself.
    thread::sleep(Duration::from_millis(3500));
    server.signal(Signal::CONT);
    stranger.expect("* no nick came in time, goodbye");
    // Bob has the time left that was between that deadline and his own.
    bob.await_heard();
    let log = server.stop().log;
    assert!(log.contains("] stood still for "), "{log}");
}

/// Bob says so many lines, all of which are in the queues when this returns.
#[track_caller]
fn flood(bob: &mut Client, lines: usize) {
    for n in 0..lines {
        bob.say(&flood_line(n));
    }
    bob.await_heard();
}

/// Lines of a flood that fit into a quarter of a large queue, so that nobody is behind and nothing is
/// left out, but not into what the kernel takes.
const FITTING_FLOOD: usize = 1000;

/// A server with large queues: 8 MiB.
#[track_caller]
fn server_with_large_queues(args: &[&str]) -> Server {
    Server::start(&[&["--max-pending", "8388608"], args].concat())
}

/// Bob, and somebody who does not read and has most of a megabyte queued; of a server with large
/// queues.
#[track_caller]
fn bob_and_a_stalled_member(server: &Server) -> (Client, Client) {
    let stalled = server.join_with_small_buffer("stalled");
    let mut bob = server.join("bob");
    flood(&mut bob, FITTING_FLOOD);
    (bob, stalled)
}

/// Fails if the server does more than a few turns while nothing happens.
#[track_caller]
fn expect_idleness(server: &Server) {
    let (cpu, sleeps) = (server.cpu_time(), server.sleeps());
    thread::sleep(Duration::from_secs(1));
    let cpu = server.cpu_time() - cpu;
    let sleeps = server.sleeps() - sleeps;
    println!("idle for a second: {cpu:?} of processor, {sleeps} turns");
    assert!(cpu <= Duration::from_millis(50), "it spins: {cpu:?}");
    assert!(sleeps <= 20, "it wakes up all the time: {sleeps} times");
}

/// Waits until the first signal was heeded.
#[track_caller]
fn await_refusal(server: &Server) {
    await_until("it accepts nobody any more", || {
        TcpStream::connect(server.addr).is_err()
    });
}

// Signals.

#[test]
fn a_signal_says_goodbye_to_everybody_and_exits_with_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = Server::start(&[]);
        let mut clients = [server.join("alice"), server.connect(), server.connect()];
        clients[1].send(b"a nick without its e");
        // Whoever came before alice's answer is accepted.
        clients[0].await_heard();
        server.signal(signal);
        for mut client in clients {
            client.expect(GOODBYE);
            client.expect_end();
        }
        let remains = server.wait();
        assert_eq!(remains.status.code(), Some(0), "{}", remains.log);
    }
}

#[test]
fn a_signal_stops_accepting_and_hearing_but_not_writing_to_a_slow_reader() {
    let mut server = server_with_large_queues(&[]);
    let (mut bob, mut slow) = bob_and_a_stalled_member(&server);
    server.signal(Signal::TERM);
    await_refusal(&server);
    assert!(server.is_alive(), "somebody has not read all");
    bob.say("too late");
    bob.expect(GOODBYE);
    bob.expect_end();
    drop(bob);
    for n in 0..FITTING_FLOOD {
        slow.expect(&format!("bob: {}", flood_line(n)));
    }
    slow.expect(GOODBYE);
    slow.expect_end();
    drop(slow);
    let remains = server.wait();
    assert_eq!(remains.status.code(), Some(0), "{}", remains.log);
}

#[test]
fn a_second_signal_does_not_wait_for_a_client_that_never_reads() {
    let mut server = server_with_large_queues(&[]);
    let _clients = bob_and_a_stalled_member(&server);
    let first = Instant::now();
    server.signal(Signal::TERM);
    await_refusal(&server);
    assert!(server.is_alive(), "somebody has not read all");
    server.signal(Signal::INT);
    let remains = server.wait();
    assert!(first.elapsed() < GRACE, "it has waited to the end");
    assert_eq!(remains.status.code(), Some(0), "{}", remains.log);
}

#[test]
fn a_client_that_never_reads_cannot_keep_the_server_up() {
    let server = server_with_large_queues(&[]);
    let _clients = bob_and_a_stalled_member(&server);
    let first = Instant::now();
    server.signal(Signal::TERM);
    let remains = server.wait();
    println!("ended after {:?}", first.elapsed());
    assert!(first.elapsed() >= GRACE, "a slow reader gets its time");
    assert_eq!(remains.status.code(), Some(0), "{}", remains.log);
}

#[test]
fn a_server_that_never_sleeps_still_heeds_deadlines_and_signals() {
    let _alone = alone();
    let server = Server::start(&["--spin", "--login-timeout", "0.2"]);
    let mut alice = server.join("alice");
    let mut late = server.connect();
    late.expect("* no nick came in time, goodbye");
    late.expect_end();
    let cpu = server.cpu_time();
    await_until("it spins", || {
        server.cpu_time() > cpu + Duration::from_millis(50)
    });
    server.signal(Signal::TERM);
    alice.expect(GOODBYE);
    drop(alice);
    assert_eq!(server.wait().status.code(), Some(0));
}

// Threads, descriptors and the processor.

#[test]
fn the_process_has_one_thread() {
    let server = Server::start(&[]);
    let mut members = join_all(&server, 0..10);
    members[0].say("hello");
    members[9].expect("user0: hello");
    assert_eq!(server.threads(), 1);
}

#[test]
fn a_storm_of_resets_neither_ends_the_server_nor_leaks_a_descriptor() {
    let _alone = alone();
    let server = Server::start(&["-q"]);
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    let calm = server.descriptors();
    for n in 0..many(6000) {
        let mut client = server.connect();
        match n % 3 {
            // Gone before it is accepted, or with half a nick read, or while it is answered.
            0 => {}
            1 => client.send(b"half a ni"),
            _ => client.send(&hello(&format!("user{n}"))),
        }
        client.reset();
        if n % 100 == 0 {
            bob.say("still here");
            alice.expect("bob: still here");
        }
    }
    await_until("all of them are closed", || server.descriptors() == calm);
    server.join("carol").say("hello");
    alice.expect("carol: hello");
    let remains = server.stop();
    assert!(remains.status.success());
    assert_eq!(remains.log, "", "a peer's reset is worth no warning");
}

#[test]
fn who_comes_when_descriptors_have_run_out_is_told_and_costs_the_others_nothing() {
    let _alone = alone();
    // More clients were asked for than there are descriptors, so the server finds out by itself.
    let args = ["-q", "--max-clients", "1000", "127.0.0.1:0"];
    let mut server = Server::spawn(&mut command_after("ulimit -n 32", &args));
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    let served = join_until_full(&server);
    for _ in 0..100 {
        let mut client = server.connect();
        client.expect(FULL);
        client.expect_end();
    }
    expect_idleness(&server);
    assert!(server.is_alive());
    bob.say("still here");
    alice.expect("bob: still here");
    alice.say("so am I");
    bob.expect("alice: so am I");
    expect_places(&server, served);
    let log = server.stop().log;
    // The first time, and how often it was until the end.
    assert_eq!(
        log.matches("cannot accept connections:").count(),
        1,
        "{log}"
    );
    assert!(
        log.matches("cannot accept connections (").count() > 0,
        "{log}"
    );
}

#[test]
fn who_is_turned_away_again_and_again_does_not_fill_the_log() {
    let _alone = alone();
    let without_files = ["--max-clients", "1000", "127.0.0.1:0"];
    let start = Instant::now();
    for mut command in [
        command(&["--max-clients", "2", "127.0.0.1:0"]),
        command_after("ulimit -n 32", &without_files),
    ] {
        let server = Server::spawn(&mut command);
        let served = join_until_full(&server);
        for _ in 0..300 {
            server.connect().expect(FULL);
        }
        served.into_iter().for_each(Client::reset);
        let log = server.stop().log;
        // Of each kind one at once, one in each ten seconds, and one at the end.
        let most = 2 + start.elapsed().as_secs() / 10;
        for kind in ["refused ", "cannot accept connections"] {
            let lines = log.lines().filter(|line| line.contains(kind)).count() as u64;
            assert!(lines <= most, "{lines} lines: {log}");
        }
        assert!(log.contains("refused "), "{log}");
    }
}

/// Members, as many as there can be.
#[track_caller]
fn join_until_full(server: &Server) -> Vec<Client> {
    let mut served = Vec::new();
    loop {
        let mut client = server.connect();
        client.send(&hello(&format!("user{}", served.len())));
        match client.line().as_deref() {
            Some(YES) => served.push(client),
            other => {
                assert_eq!(other, Some(FULL));
                return served;
            }
        }
    }
}

/// Each place that a leaving client frees can be had.
#[track_caller]
fn expect_places(server: &Server, mut served: Vec<Client>) {
    for n in 0..3 {
        let taken = server.descriptors();
        served.pop().expect("somebody is served").reset();
        await_until("its place is free", || server.descriptors() < taken);
        served.insert(0, server.join(&format!("late{n}")));
    }
    server.connect().expect(FULL);
}

#[test]
fn a_hundred_silent_clients_cost_no_turns() {
    let _alone = alone();
    let server = Server::start(&["-q"]);
    let _members = join_all(&server, 0..100);
    expect_idleness(&server);
}

#[test]
fn a_client_that_is_never_writable_is_not_tried_again_and_again() {
    let _alone = alone();
    let server = server_with_large_queues(&["-q"]);
    let _clients = bob_and_a_stalled_member(&server);
    expect_idleness(&server);
}

#[test]
fn a_half_closed_client_with_a_full_queue_is_not_read_again_and_again() {
    let _alone = alone();
    let server = server_with_large_queues(&["-q"]);
    let (_bob, mut stalled) = bob_and_a_stalled_member(&server);
    stalled.say("farewell");
    stalled.hang_up();
    // Its nick is free when its end was read.
    await_until("it has left", || {
        let mut other = server.connect();
        other.send(&hello("stalled"));
        other.line().as_deref() == Some(YES)
    });
    expect_idleness(&server);
    for n in 0..FITTING_FLOOD {
        stalled.expect(&format!("bob: {}", flood_line(n)));
    }
    stalled.expect_end();
}

// Memory.

/// What an idle client may cost, in bytes: 350, and what the standard library and mio keep with each
/// socket for their own checks in this profile.
const IDLE_CLIENT_BYTES: u64 = 380;

#[test]
fn an_idle_client_costs_little_and_no_more_after_a_burst() {
    let _alone = alone();
    let most = raise_descriptor_limit() - 200;
    let server = Server::start(&["-q"]);
    // The first ones bring lists and buffers into memory that are there once.
    let first = join_all(&server, 0..2000);
    let before = server.allocated_memory();
    let numbers = 2000..most.min(10_100);
    let count = numbers.len() as u64;
    let mut members = join_all(&server, numbers);
    let each = || (server.allocated_memory() - before) / count;
    println!("{count} idle members: {} bytes each", each());
    assert!(each() <= IDLE_CLIENT_BYTES, "{} bytes each", each());
    for _ in 0..3 {
        members[0].say(&flood_line(1));
        for member in &mut members[1..] {
            member.line().expect("a line");
        }
    }
    println!("after a burst: {} bytes each", each());
    await_until("memory goes back", || each() <= IDLE_CLIENT_BYTES);
    println!("and later: {} bytes each", each());
    first.into_iter().chain(members).for_each(Client::reset);
}

#[test]
fn a_hundred_megabytes_without_a_line_end_cost_next_to_nothing() {
    let _alone = alone();
    let server = Server::start(&["-q"]);
    let chunk = vec![b'x'; 1 << 20];
    for begin in [&b""[..], b"alice\r\n", b"bob\r\n\xff\xfa\x18"] {
        let mut client = server.connect();
        let before = server.memory();
        client.send(begin);
        for _ in 0..100 {
            client.send(&chunk);
        }
        // The end of the line, and of the negotiation.
        client.send(b"\xff\xf0\r\n");
        client.send(&hello("carol"));
        let mut lines = std::iter::from_fn(|| client.line());
        assert!(lines.any(|line| line == YES), "it is served afterwards");
        let more = server.peak_memory() - before;
        println!("100 MB after {begin:02x?}: {} KiB", more / KIB);
        assert!(more < 8 * MIB, "{more} bytes");
        client.leave();
    }
}

/// So many do not read.
const STALLED: usize = 16;

#[track_caller]
fn join_stalled(server: &Server) -> Vec<Client> {
    let nicks = (0..STALLED).map(|n| format!("stalled{n}"));
    nicks
        .map(|nick| server.join_with_small_buffer(&nick))
        .collect()
}

/// Fails if those who are stalled have cost more than a queue each.
#[track_caller]
fn expect_a_queue_each(server: &Server, before: u64) {
    let each = (server.peak_memory() - before) / STALLED as u64;
    println!("a stalled peer: {} KiB at most", each / KIB);
    assert!(each < MIB + 128 * KIB, "{each} bytes each");
}

/// Fails if those who were stalled have left much behind.
#[track_caller]
fn expect_memory_back(server: &Server, before: u64) {
    let left = server.memory().saturating_sub(before);
    println!("{STALLED} stalled peers leave behind {} KiB", left / KIB);
    assert!(left < 2 * MIB, "{left} bytes");
}

#[test]
fn a_stalled_peer_costs_its_queue_and_no_more() {
    let _alone = alone();
    let server = Server::start(&["--lag", "disconnect"]);
    let mut bob = server.join("bob");
    flood(&mut bob, 10);
    let calm = server.descriptors();
    let before = server.memory();
    let stalled = join_stalled(&server);
    flood(&mut bob, many(10_000));
    expect_a_queue_each(&server, before);
    stalled.into_iter().for_each(Client::reset);
    await_until("they are gone", || server.descriptors() == calm);
    expect_memory_back(&server, before);
    let log = server.stop().log;
    assert_eq!(log.matches(" left: too slow").count(), STALLED);
}

#[test]
fn a_queue_that_lines_are_left_out_of_costs_no_more_and_is_given_back_when_it_is_read() {
    let _alone = alone();
    let server = Server::start(&["-q"]);
    let mut typists = join_all(&server, 0..TYPISTS);
    type_round(&mut typists);
    let before = server.memory();
    let mut stalled = join_stalled(&server);
    let rounds = 10;
    for _ in 0..rounds {
        type_round(&mut typists);
    }
    expect_a_queue_each(&server, before);
    let said = rounds * TYPISTS * LINES_TYPED;
    for client in &mut stalled {
        let skipped = read_up_to_skipped(client, said);
        assert!(skipped > 0, "they were to be too many for a queue");
        client.await_heard();
    }
    expect_memory_back(&server, before);
}

const TYPISTS: usize = 30;

/// What each of them says in a round. It is so little that the kernel takes it of those who read. Ten
/// rounds are less than what makes a loud speaker, and those of all together more than a queue and
/// the kernel hold.
const LINES_TYPED: usize = 5;

/// Each says something, and reads what the others say.
#[track_caller]
fn type_round(typists: &mut [Client]) {
    for typist in typists {
        for n in 0..LINES_TYPED {
            typist.say(&flood_line(n));
        }
        typist.send(ARE_YOU_THERE);
        while typist.line().expect("the server is there") != YES {}
    }
}

/// Reads what is left of so many lines; gives how many were skipped.
#[track_caller]
fn read_up_to_skipped(client: &mut Client, said: usize) -> usize {
    let mut seen = 0;
    loop {
        let line = client.line().expect("the server is there");
        let notice = line.strip_prefix("* ");
        let skipped = notice.and_then(|notice| notice.strip_suffix(" lines skipped"));
        if let Some(skipped) = skipped.and_then(|count| count.parse().ok()) {
            assert_eq!(seen + skipped, said, "seen and skipped");
            return skipped;
        }
        seen += 1;
    }
}

// Everybody at once.

const SPEAKERS: usize = 100;
const LINES_A_ROUND: usize = 100;

/// What each says in a round, in one piece.
fn speech(round: usize) -> Vec<u8> {
    let lines = (0..LINES_A_ROUND).map(|n| round * LINES_A_ROUND + n);
    lines
        .flat_map(|n| format!("{n} {:-<50}\r\n", "").into_bytes())
        .collect()
}

/// Who says the line, and which of its lines it is.
#[track_caller]
fn parse(line: &str) -> (usize, usize) {
    let parts = line.strip_prefix("user").and_then(|line| {
        let (speaker, text) = line.split_once(": ")?;
        let (n, dashes) = text.split_once(' ')?;
        let is_whole = dashes.len() == 50 && dashes.bytes().all(|byte| byte == b'-');
        Some((speaker.parse().ok()?, n.parse().ok()?)).filter(|_| is_whole)
    });
    parts.unwrap_or_else(|| panic!("a torn line: {line:?}"))
}

/// What a member hears in a round, checked: each line of each other member, in its order.
#[track_caller]
fn hear_round(member: &mut Client, number: usize, round: usize) -> Vec<(usize, usize)> {
    let mut next = vec![round * LINES_A_ROUND; SPEAKERS];
    let mut heard = Vec::new();
    for _ in 0..(SPEAKERS - 1) * LINES_A_ROUND {
        let (speaker, n) = parse(&member.line().expect("a line"));
        assert_ne!(speaker, number, "its own line");
        assert_eq!(n, next[speaker], "user{speaker}'s next line");
        next[speaker] += 1;
        heard.push((speaker, n));
    }
    heard
}

#[test]
fn a_hundred_speakers_lose_and_tear_no_line_and_all_see_one_order() {
    let _alone = alone();
    let server = Server::start(&["-q"]);
    let mut members = join_all(&server, 0..SPEAKERS);
    let rounds = many(3);
    for round in 0..rounds {
        let speech = speech(round);
        for cut in [0..speech.len() / 2 + 7, speech.len() / 2 + 7..speech.len()] {
            for member in &mut members {
                member.send(&speech[cut.clone()]);
            }
        }
        let mut reference = Vec::new();
        for (number, member) in members.iter_mut().enumerate() {
            let heard = hear_round(member, number, round);
            if number == 0 {
                reference = heard;
                continue;
            }
            // Each misses its own lines only.
            let others = |&&(speaker, _): &&(usize, usize)| speaker != 0 && speaker != number;
            let order = heard.iter().filter(others);
            assert!(order.eq(reference.iter().filter(others)), "another order");
        }
    }
    let lines = rounds * LINES_A_ROUND * SPEAKERS * (SPEAKERS - 1);
    println!("{lines} lines delivered, {:?}", server.cpu_time());
}
