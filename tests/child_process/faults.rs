//! What went wrong with other chat servers, and what a system can do to this one: crowds that come,
//! dawdle, break and go at once; signals in the middle of it; a log that nobody reads; system calls
//! that fail. The built binary runs as a child, one at a time. What holds is shown by counts and by
//! round trips, never by a clock, but for the time in which the server has promised to end.
//!
//! A server that is stopped (SIGSTOP) while a crowd acts finds all of it at once when it goes on.
//! The errors of system calls are injected by strace(1), where it is installed and may attach;
//! with `LINE_CHAT_CLIENTS=all` it has to. Figures are printed (`--nocapture`).

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::metrics::value;
use crate::support::child::{
    Client, Server, alone, await_until, command, command_after, raise_descriptor_limit,
};
use crate::support::http::get;
use crate::support::strace::Tracer;
use crate::support::{DEADLINE, YES, hello};
use crate::{GOODBYE, flood_line};

/// In what time a server that is told to end has ended, whatever its clients do: it writes what is
/// queued for 5 s.
const END: Duration = Duration::from_secs(6);

/// A server whose log tells its metrics, when asked, and else only what is wrong.
#[track_caller]
fn start_quiet() -> Server {
    start_with_log("warn,line_chat::server=info")
}

#[track_caller]
fn start_with_log(filter: &str) -> Server {
    Server::spawn(command(&["127.0.0.1:0"]).env("RUST_LOG", filter))
}

/// What the server answers to SIGUSR1: its metrics, in one line.
#[track_caller]
fn metrics(server: &Server) -> String {
    server.signal(Signal::USR1);
    loop {
        let line = server.log_line();
        if line.contains("] clients ") {
            return line;
        }
    }
}

/// The number behind `name` in a line of the log.
#[track_caller]
fn number(line: &str, name: &str) -> u64 {
    let number = line.split_once(&format!("{name} "));
    let number =
        number.and_then(|(_, rest)| rest.split([',', ';', ' ', '\n']).next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {line:?}"))
}

/// What the server finds all at once.
#[track_caller]
fn at_once<T>(server: &Server, act: impl FnOnce() -> T) -> T {
    server.signal(Signal::STOP);
    let result = act();
    server.signal(Signal::CONT);
    result
}

/// Shows that nothing was sent to a client until now.
#[track_caller]
fn expect_silence(client: &mut Client) {
    client.await_heard();
}

/// Shows that the server serves its members and whoever comes.
#[track_caller]
fn expect_service(server: &Server, alice: &mut Client, bob: &mut Client) {
    bob.say("still here");
    alice.expect("bob: still here");
    alice.say("so am I");
    bob.expect("alice: so am I");
    let mut newcomer = server.join("newcomer");
    newcomer.say("hello");
    for member in [&mut *alice, &mut *bob] {
        member.expect("newcomer: hello");
    }
    newcomer.leave();
}

// Crowds.

/// `most`, or as many as this process and the server may have descriptors for.
fn crowd_of(most: usize) -> usize {
    most.min(raise_descriptor_limit() - 200)
}

/// So many connections, which have said nothing yet.
#[track_caller]
fn connect_all(server: &Server, count: usize) -> Vec<TcpStream> {
    let connect = |_| TcpStream::connect(server.addr).expect("the server listens");
    let crowd: Vec<TcpStream> = (0..count).map(connect).collect();
    for stream in &crowd {
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    }
    crowd
}

/// Each says what `line` gives for its number.
#[track_caller]
fn all_say(crowd: &mut [TcpStream], line: impl Fn(usize) -> Vec<u8>) {
    for (number, stream) in crowd.iter_mut().enumerate() {
        stream.write_all(&line(number)).expect("the server lives");
    }
}

/// Each hears that it is a member, and nothing else.
#[track_caller]
fn all_are_welcome(crowd: &mut [TcpStream]) {
    for stream in crowd {
        let mut answer = [0; YES.len() + 2];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), format!("{YES}\r\n"));
    }
}

fn nick_of(number: usize) -> Vec<u8> {
    hello(&format!("user{number}"))
}

/// A server with alice in it and a crowd of members.
#[track_caller]
fn alice_and_a_crowd(most: usize) -> (Server, Client, Vec<TcpStream>) {
    let server = start_quiet();
    let alice = server.join("alice");
    let mut crowd = connect_all(&server, crowd_of(most));
    all_say(&mut crowd, nick_of);
    all_are_welcome(&mut crowd);
    (server, alice, crowd)
}

#[test]
fn nine_thousand_half_lines_do_not_keep_a_newcomer_waiting() {
    let _alone = alone();
    let server = start_quiet();
    let mut alice = server.join("alice");
    let before = server.memory();
    let mut crowd = connect_all(&server, crowd_of(9000));
    all_say(&mut crowd, |_| b"half a ni".to_vec());
    let mut bob = server.join("bob");
    let each = (server.memory() - before) / crowd.len() as u64;
    println!("{} half lines: {each} bytes each", crowd.len());
    // They go on dripping, each a byte before the newcomer's first.
    let begin = number(&metrics(&server), "turns");
    let mut newcomer = at_once(&server, || {
        all_say(&mut crowd, |_| b"c".to_vec());
        let mut newcomer = server.connect();
        newcomer.send(&hello("newcomer"));
        newcomer
    });
    newcomer.expect(YES);
    let turns = number(&metrics(&server), "turns") - begin;
    println!("a newcomer among them: {turns} turns");
    expect_silence(&mut alice);
    expect_silence(&mut bob);
    // A turn reads 128 of those who have no nick, so that members do not wait for all of them.
    let most = crowd.len() as u64 / 128 + 10;
    assert!(turns <= most, "the newcomer waited for {turns} turns");
    assert!(each < 1024, "{each} bytes each");
}

#[test]
fn five_thousand_who_come_at_once_are_all_served_and_members_do_not_wait_for_them() {
    let _alone = alone();
    let server = start_with_log("line_chat::connections=debug,line_chat::lines=debug");
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    let count = crowd_of(5000);
    // As many as can wait to be accepted, and the others when they can.
    let first = count.min(backlog() * 9 / 10);
    let mut crowd = at_once(&server, || {
        let mut crowd = connect_all(&server, first);
        all_say(&mut crowd, nick_of);
        bob.say("not behind them");
        crowd
    });
    crowd.extend(connect_all(&server, count - first));
    all_say(&mut crowd[first..], |number| nick_of(first + number));
    all_are_welcome(&mut crowd);
    alice.expect("bob: not behind them");
    expect_silence(&mut alice);
    drop(crowd);
    let log = server.stop().log;
    let (before, _) = log.split_once("bob: not behind them").expect("his line");
    let before = before.matches(" connected as client ").count() - 2;
    println!("{before} of {count} were accepted before a member's line was heard");
    assert!(before <= 200, "a member waited until {before} had come");
}

/// How many connections can wait to be accepted: what the server asks for, or the system's limit.
fn backlog() -> usize {
    let limit = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a limit");
    limit.trim().parse::<usize>().expect("a number").min(4096)
}

#[test]
fn ten_thousand_joins_are_not_a_line_to_anybody() {
    let _alone = alone();
    let (server, mut alice, mut crowd) = alice_and_a_crowd(9900);
    let joins = crowd.len() as u64;
    let told = number(&metrics(&server), "bytes out");
    expect_silence(&mut alice);
    // Everybody was told that it is a member, and nothing else.
    assert_eq!(told, (joins + 1) * (YES.len() as u64 + 2));
    // And they are members: one line reaches all.
    alice.say("welcome");
    for member in &mut crowd {
        let mut line = [0; "alice: welcome\r\n".len()];
        member.read_exact(&mut line).expect("a line");
        assert_eq!(&line, b"alice: welcome\r\n");
    }
}

#[test]
fn nine_thousand_who_leave_at_once_go_in_turns_of_256() {
    let _alone = alone();
    let (server, mut alice, crowd) = alice_and_a_crowd(9000);
    let before = metrics(&server);
    let cpu = server.cpu_time();
    let count = crowd.len() as u64;
    let with_alice_alone = server.descriptors() - crowd.len();
    at_once(&server, || drop(crowd));
    await_until("all are gone", || server.descriptors() == with_alice_alone);
    let after = metrics(&server);
    let turns = number(&after, "turns") - number(&before, "turns");
    let longest = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
    println!(
        "{count} left in {turns} turns, {:?}, longest turn {} (before {})",
        server.cpu_time() - cpu,
        longest(&after),
        longest(&before)
    );
    expect_silence(&mut alice);
    assert_eq!(number(&after, "members"), 1);
    assert_eq!(number(&after, "closed") - number(&before, "closed"), count);
    let least = count / 256;
    assert!(
        (least..=least + 20).contains(&turns),
        "it took {turns} turns"
    );
    server.join("user1");
}

/// Breaks a connection with a RST, in one of the states that it can be in.
#[track_caller]
fn break_one(server: &Server, number: usize) {
    let nick = format!("storm{number}");
    let mut client = server.connect();
    match number % 4 {
        // Before it is accepted, or with half a nick read, or while it is answered, or as a member
        // who has not read what was said.
        0 => {}
        1 => client.send(b"half a ni"),
        2 => client.send(&hello(&nick)),
        _ => client.enter(&nick),
    }
    client.reset();
}

#[test]
fn members_who_talk_in_a_storm_of_resets_lose_no_line() {
    let _alone = alone();
    let server = start_quiet();
    let calm = server.descriptors() + 3;
    let nicks = ["alice", "bob", "carol"];
    let mut members = nicks.map(|nick| server.join(nick));
    let rounds = 1500;
    for round in 0..rounds {
        members[round % 3].say(&format!("{round}"));
        break_one(&server, 2 * round);
        break_one(&server, 2 * round + 1);
    }
    for (listener, member) in members.iter_mut().enumerate() {
        let mut next = [0, 1, 2];
        for _ in (0..rounds).filter(|round| round % 3 != listener) {
            let line = member.line().expect("a line");
            let speaker = nicks.iter().position(|nick| line.starts_with(nick));
            let speaker = speaker.unwrap_or_else(|| panic!("whose line is {line:?}?"));
            assert_eq!(line, format!("{}: {}", nicks[speaker], next[speaker]));
            next[speaker] += 3;
        }
        expect_silence(member);
    }
    await_until("the others are gone", || server.descriptors() == calm);
    let [mut alice, mut bob, _carol] = members;
    expect_silence(&mut alice);
    expect_silence(&mut bob);
}

// Signals.

/// Waits for the end of a server that got SIGTERM at this time; gives its log.
#[track_caller]
fn expect_end(server: Server, signalled: Instant) -> String {
    let remains = server.wait();
    let elapsed = signalled.elapsed();
    println!("ended after {elapsed:?}");
    assert_eq!(remains.status.code(), Some(0), "{}", remains.log);
    assert!(elapsed < END, "it took {elapsed:?}");
    remains.log
}

/// Two hundred connect and say their nicks, and the server gets SIGTERM when half of them have;
/// gives that time, and those who came through.
#[track_caller]
fn dial_through_a_signal(server: &Server) -> (Instant, Vec<TcpStream>) {
    let mut signalled = Instant::now();
    let mut callers = Vec::new();
    for number in 0..200 {
        if number == 100 {
            signalled = Instant::now();
            server.signal(Signal::TERM);
        }
        // It may be refused, or reset at once: who waits to be accepted when the listener closes is.
        let caller = TcpStream::connect(server.addr).and_then(|mut caller| {
            caller.set_read_timeout(Some(DEADLINE))?;
            caller.write_all(&nick_of(number))?;
            Ok(caller)
        });
        callers.extend(caller.ok());
    }
    (signalled, callers)
}

/// Whether a caller got its goodbye; otherwise it was never let in, and has heard nothing.
#[track_caller]
fn is_told(mut caller: TcpStream) -> bool {
    let mut heard = Vec::new();
    let end = caller.read_to_end(&mut heard).map_err(|error| error.kind());
    let heard = String::from_utf8(heard).expect("UTF-8");
    let words = heard.strip_prefix("* yes\r\n").unwrap_or(&heard);
    match end {
        Ok(_) => assert_eq!(words, format!("{GOODBYE}\r\n")),
        Err(kind) => assert_eq!((kind, &*heard), (io::ErrorKind::ConnectionReset, "")),
    }
    end.is_ok()
}

#[test]
fn a_signal_while_two_hundred_dial_ends_the_server_in_time() {
    let _alone = alone();
    for is_halted in [false, true] {
        let server = start_quiet();
        let mut alice = server.join("alice");
        let (signalled, callers) = if is_halted {
            at_once(&server, || dial_through_a_signal(&server))
        } else {
            dial_through_a_signal(&server)
        };
        alice.expect(GOODBYE);
        alice.expect_end();
        drop(alice);
        let came_through = callers.len();
        let told = callers.into_iter().map(is_told);
        let told = told.filter(|&is_told| is_told).count();
        println!("{told} of {came_through} callers were told");
        expect_end(server, signalled);
    }
}

/// How many lines bob says in one go: 60 KB.
const LINES_A_GO: usize = 1000;

fn speech(goes: std::ops::Range<usize>) -> Vec<u8> {
    let numbers = goes.start * LINES_A_GO..goes.end * LINES_A_GO;
    numbers
        .flat_map(|n| format!("{n:0>58}\r\n").into_bytes())
        .collect()
}

/// Reads what bob says to its end, and waits before each go for who holds `pace`, if there is one;
/// gives how many lines it was.
#[track_caller]
fn hear_out(mut reader: Client, pace: &mpsc::SyncSender<()>) -> usize {
    let mut heard = 0;
    loop {
        if heard % LINES_A_GO == 0 {
            let _ = pace.send(());
        }
        let line = reader.line().expect("last words");
        if line == GOODBYE {
            reader.expect_end();
            return heard;
        }
        assert_eq!(line, format!("bob: {heard:0>58}"));
        heard += 1;
    }
}

#[test]
fn a_signal_in_a_flood_loses_no_line_that_was_heard() {
    let _alone = alone();
    let server = start_quiet();
    let (readers, paces): (Vec<_>, Vec<_>) = ["alice", "carol"]
        .map(|nick| {
            let (send, pace) = mpsc::sync_channel(0);
            let reader = server.join_with_small_buffer(nick);
            (thread::spawn(move || hear_out(reader, &send)), pace)
        })
        .into_iter()
        .unzip();
    let mut bob = server.join("bob");
    for go in 0..20 {
        bob.send(&speech(go..go + 1));
        for pace in &paces {
            pace.recv_timeout(DEADLINE).expect("the readers keep up");
        }
    }
    // So much that some of it is in the queues, and then the flood goes on.
    bob.send(&speech(20..26));
    bob.await_heard();
    bob.send(&speech(26..27));
    let signalled = Instant::now();
    server.signal(Signal::TERM);
    bob.say("too late");
    drop((bob, paces));
    let heard = readers
        .into_iter()
        .map(|reader| reader.join().expect("each line in its place"));
    let heard: Vec<usize> = heard.collect();
    let log = expect_end(server, signalled);
    let said = number(&log, "lines in");
    println!("{said} lines were said, and heard: {heard:?}");
    assert!(heard.iter().all(|&heard| heard as u64 == said));
    assert!(said >= 26_000, "{said}");
}

// The log.

/// A server that logs to something of which the test has the other end.
#[track_caller]
fn start_with_stderr(stderr: impl Into<Stdio>) -> Server {
    let args = ["-vv", "127.0.0.1:0", "--metrics", "127.0.0.1:0"];
    let mut command = command_after("exec 2>&0 0</dev/null", &args);
    Server::spawn(command.stdin(stderr))
}

#[track_caller]
fn expect_service_and_a_good_end(server: Server) {
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    expect_service(&server, &mut alice, &mut bob);
    drop((alice, bob));
    assert_eq!(server.stop().status.code(), Some(0));
}

#[test]
fn a_broken_standard_error_is_no_reason_to_fail() {
    let _alone = alone();
    for setup in ["exec 2>&-", "exec 2>/dev/full"] {
        let mut command = command_after(setup, &["-vv", "127.0.0.1:0"]);
        expect_service_and_a_good_end(Server::spawn(&mut command));
    }
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    expect_service_and_a_good_end(start_with_stderr(writer));
}

/// More lines of the log than a pipe takes, and fewer than would make bob a loud speaker.
const LOGGED_LINES: usize = 600;

#[track_caller]
fn talk_much(bob: &mut Client, alice: &mut Client) {
    for n in 0..LOGGED_LINES {
        bob.say(&format!("{n:0>90}"));
        alice.expect(&format!("bob: {n:0>90}"));
    }
}

/// Whether O_NONBLOCK is set where the server got its standard error from (proc(5)).
#[track_caller]
fn is_stderr_non_blocking(server: &Server) -> bool {
    let path = format!("/proc/{}/fdinfo/2", server.pid().as_raw_nonzero());
    let info = fs::read_to_string(path).expect("the server lives");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.expect("flags") & 0o4000 != 0
}

/// How many lines the log says were dropped, in all.
#[track_caller]
fn dropped(log: &str) -> usize {
    let told = log.lines().filter_map(|line| {
        let count = line.strip_prefix("line-chat: ")?;
        count.strip_suffix(" lines of this log were dropped")
    });
    told.map(|count| count.parse::<usize>().expect("a number"))
        .sum()
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nobody_and_what_it_misses_is_counted() {
    let _alone = alone();
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let server = start_with_stderr(writer);
    let http = server.announced();
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    talk_much(&mut bob, &mut alice);
    expect_service(&server, &mut alice, &mut bob);
    assert!(
        !is_stderr_non_blocking(&server),
        "it is the shell's as well"
    );
    let counted = value(
        &get(http, "/metrics").1,
        "line_chat_log_lines_dropped_total",
    );
    // There is room again, and somebody says something.
    let mut log = vec![0; 32 << 10];
    reader.read_exact(&mut log).expect("more is in the pipe");
    bob.say("and now?");
    alice.expect("bob: and now?");
    drop((alice, bob));
    server.signal(Signal::TERM);
    reader.read_to_end(&mut log).expect("the rest of the log");
    assert_eq!(server.wait().status.code(), Some(0));
    let log = String::from_utf8(log).expect("UTF-8");
    let logged = log.matches("] bob: 0").count();
    let dropped = dropped(&log);
    println!("{logged} lines were logged, {dropped} were dropped");
    assert!(
        log.contains("dropped\n[") && log.contains("bob: and now?\n"),
        "{log}"
    );
    // Of what else was said then a few lines were dropped as well.
    let missing = LOGGED_LINES - logged;
    assert!((missing..missing + 20).contains(&dropped), "{missing}");
    let expected = missing as f64..=dropped as f64;
    assert!(expected.contains(&counted), "{counted}");
}

#[test]
fn a_terminal_that_hangs_stops_nobody() {
    let _alone = alone();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    // Its window, so to say, of which nobody takes what is to be shown.
    let window = openpt(flags).expect("a terminal");
    unlockpt(&window).expect("it is ours");
    let terminal = ioctl_tiocgptpeer(&window, flags).expect("its other end");
    let server = start_with_stderr(terminal);
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    talk_much(&mut bob, &mut alice);
    assert!(
        !is_stderr_non_blocking(&server),
        "it is the shell's as well"
    );
    drop((alice, bob));
    expect_service_and_a_good_end(server);
}

#[test]
fn a_line_of_the_log_is_never_longer_than_a_pipe_takes_at_once() {
    let _alone = alone();
    let server = Server::start(&["-v", "--max-line", "100000"]);
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    for length in [4000, 4100, 100_000] {
        let line = "é".repeat(length / 2);
        bob.say(&line);
        alice.expect(&format!("bob: {line}"));
    }
    let log = server.stop().log;
    let lengths: Vec<usize> = log.lines().map(|line| line.len() + 1).collect();
    assert!(lengths.iter().all(|&length| length <= 4096), "{lengths:?}");
    assert_eq!(log.matches("...\n").count(), 2, "what is cut shows it");
}

// System calls that fail.

/// A server with alice and bob in it.
#[track_caller]
fn alice_and_bob() -> (Server, Client, Client) {
    let server = start_quiet();
    let [alice, bob] = ["alice", "bob"].map(|nick| server.join(nick));
    (server, alice, bob)
}

const ACCEPT: &str = "accept4";
const READ: &str = "recvfrom";
const WRITE: &str = "sendto";
const POLL: &str = "?epoll_wait,?epoll_pwait,?epoll_pwait2";
const REGISTER: &str = "epoll_ctl";

#[test]
fn an_accept_that_fails_is_made_again_and_costs_nobody_its_place() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    for (error, when) in [
        ("ECONNABORTED", "1..3"),
        ("EPROTO", "1..3"),
        ("EINTR", "1..3"),
        // It is tried again by the clock, though nobody comes any more.
        ("ENFILE", "1..3"),
        ("ENOBUFS", "1..3"),
        ("ENOMEM", "1..3"),
        // The spare descriptor does not help either.
        ("EMFILE", "1..4"),
        // The newcomer was accepted, and nobody waits any more.
        ("EMFILE", "2"),
        ("ENFILE", "2"),
    ] {
        let Some(tracer) = Tracer::inject(&server, ACCEPT, error, when) else {
            return;
        };
        server.join("newcomer").leave();
        tracer.end();
        expect_service(&server, &mut alice, &mut bob);
    }
    assert_eq!(number(&metrics(&server), "clients"), 2);
}

#[test]
fn without_a_descriptor_a_newcomer_is_told_and_the_next_is_served() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    let Some(tracer) = Tracer::inject(&server, ACCEPT, "EMFILE", "1") else {
        return;
    };
    let mut newcomer = server.connect();
    newcomer.expect("* server is full, try again later");
    newcomer.expect_end();
    tracer.end();
    expect_service(&server, &mut alice, &mut bob);
}

#[test]
fn a_read_that_fails_ends_that_connection_only() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    for error in ["ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH"] {
        let mut victim = server.join("victim");
        let Some(tracer) = Tracer::inject(&server, READ, error, "1") else {
            return;
        };
        victim.say("nobody hears this");
        assert_eq!(victim.line_or_reset(), None, "{error}");
        tracer.end();
        expect_service(&server, &mut alice, &mut bob);
    }
}

#[test]
fn a_read_that_is_interrupted_or_comes_too_early_is_made_again() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    for (error, when) in [("EINTR", "1..5"), ("EAGAIN", "1")] {
        let mut victim = server.join("victim");
        let Some(mut tracer) = Tracer::inject(&server, READ, error, when) else {
            return;
        };
        victim.say("one");
        tracer.await_failure();
        // Nothing was there, the system said; that there is something now, it says anew.
        victim.say("two");
        for member in [&mut alice, &mut bob] {
            member.expect("victim: one");
            member.expect("victim: two");
        }
        tracer.end();
        victim.leave();
        expect_service(&server, &mut alice, &mut bob);
    }
}

#[test]
fn a_write_that_fails_ends_that_connection_and_not_the_speakers() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    for error in ["EPIPE", "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH"] {
        // Who is written to first is another one each time, so it may be anybody.
        for when in ["1", "2", "3"] {
            let members = ["carol", "dave", "erin"].map(|nick| server.join(nick));
            bob.leave();
            let Some(tracer) = Tracer::inject(&server, WRITE, error, when) else {
                return;
            };
            alice.say("who hears this?");
            let heard = members.map(|mut member| member.line_or_reset());
            tracer.end();
            let lost = heard.iter().filter(|line| line.is_none()).count();
            assert_eq!(lost, 1, "{error}: {heard:?}");
            let all = Some("alice: who hears this?");
            assert!(
                heard
                    .iter()
                    .flatten()
                    .all(|line| Some(line.as_str()) == all)
            );
            bob = server.join("bob");
        }
        expect_service(&server, &mut alice, &mut bob);
    }
}

#[test]
fn a_write_that_is_interrupted_or_finds_no_room_is_made_again() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    for (error, when) in [("EINTR", "1..5"), ("EAGAIN", "1+2")] {
        let Some(tracer) = Tracer::inject(&server, WRITE, error, when) else {
            return;
        };
        bob.say("one");
        bob.say("two");
        alice.expect("bob: one");
        alice.expect("bob: two");
        tracer.end();
        expect_service(&server, &mut alice, &mut bob);
    }
}

#[test]
fn a_write_or_read_for_which_the_system_has_no_memory_is_made_again_by_the_clock() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    for (calls, error) in [(WRITE, "ENOBUFS"), (WRITE, "ENOMEM"), (READ, "ENOBUFS")] {
        let Some(tracer) = Tracer::inject(&server, calls, error, "1..3") else {
            return;
        };
        bob.say("one");
        alice.expect("bob: one");
        tracer.end();
        expect_service(&server, &mut alice, &mut bob);
    }
}

#[test]
fn an_interrupted_poll_is_no_error() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    let Some(tracer) = Tracer::inject(&server, POLL, "EINTR", "1..100") else {
        return;
    };
    expect_service(&server, &mut alice, &mut bob);
    tracer.end();
    expect_service(&server, &mut alice, &mut bob);
}

#[test]
fn a_newcomer_that_cannot_be_registered_is_turned_away_and_the_next_is_served() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    for error in ["ENOMEM", "ENOSPC"] {
        let Some(tracer) = Tracer::inject(&server, REGISTER, error, "1") else {
            return;
        };
        let mut newcomer = server.connect();
        newcomer.line_or_reset();
        tracer.end();
        expect_service(&server, &mut alice, &mut bob);
    }
    assert_eq!(number(&metrics(&server), "clients"), 2);
}

/// More than the kernel takes of what nobody reads, and less than what is queued of a loud speaker.
const FITTING_FLOOD: usize = 500;

#[test]
fn a_member_whose_interest_cannot_be_changed_is_lost_alone() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    let mut stalled = server.join_with_small_buffer("stalled");
    let Some(tracer) = Tracer::inject(&server, REGISTER, "ENOMEM", "1") else {
        return;
    };
    for n in 0..FITTING_FLOOD {
        bob.say(&flood_line(n));
        alice.expect(&format!("bob: {}", flood_line(n)));
    }
    tracer.end();
    let heard = std::iter::from_fn(|| stalled.line_or_reset()).count();
    assert!(heard < FITTING_FLOOD, "nothing has failed for it");
    expect_service(&server, &mut alice, &mut bob);
    server.join("stalled");
}

// Short writes.

#[test]
fn who_takes_little_at_a_time_gets_every_line_whole() {
    let _alone = alone();
    let (server, mut alice, mut bob) = alice_and_bob();
    let mut narrow = server.join_with_small_buffer("narrow");
    for n in 0..FITTING_FLOOD {
        bob.say(&flood_line(n));
        alice.expect(&format!("bob: {}", flood_line(n)));
    }
    for n in 0..FITTING_FLOOD {
        narrow.expect(&format!("bob: {}", flood_line(n)));
    }
    expect_silence(&mut narrow);
}

// The kernel does not tell which peers are gone.

/// The warnings in a log that say so.
fn refusals(log: &str) -> usize {
    let warnings = log.lines().filter(|line| line.contains(" WARN "));
    let refusals = warnings.filter(|line| {
        line.contains("the system does not tell which peers are gone (netlink's sock_diag: ")
            && line.contains("TCP keepalive")
    });
    refusals.count()
}

/// Somebody asks for bob's nick, and bob is there.
#[track_caller]
fn expect_bob_keeps_his_nick(server: &Server) {
    let mut other = server.connect();
    other.say("bob");
    other.expect("* nick \"bob\" is taken, choose another");
}

#[test]
fn a_server_that_may_not_ask_about_peers_warns_once_and_serves() {
    let (server, mut alice, mut bob) = alice_and_bob();
    expect_bob_keeps_his_nick(&server);
    let Some(tracer) = Tracer::inject(&server, "write", "EPERM", "1") else {
        return;
    };
    expect_bob_keeps_his_nick(&server);
    tracer.end();
    expect_bob_keeps_his_nick(&server);
    expect_service(&server, &mut alice, &mut bob);
    let log = server.stop().log;
    assert_eq!(refusals(&log), 1, "{log}");
}

#[test]
fn a_server_that_cannot_open_netlink_warns_once_and_serves() {
    let (server, ..) = alice_and_bob();
    // Whether there is an strace that may trace.
    if Tracer::watch(&server, "socket").is_none() {
        return;
    }
    for error in ["EAFNOSUPPORT", "EPROTONOSUPPORT", "EPERM"] {
        let strace = format!(
            r#"exec strace --daemonize --output=/dev/null --trace=socket \
               --inject=socket:error={error}:when=2 "$0" "$@""#
        );
        let server = Server::spawn(&mut command_after(&strace, &["-q", "127.0.0.1:0"]));
        let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
        expect_bob_keeps_his_nick(&server);
        expect_service(&server, &mut alice, &mut bob);
        drop((alice, bob));
        let log = server.stop().log;
        assert_eq!(refusals(&log), 1, "{error}: {log}");
    }
}
