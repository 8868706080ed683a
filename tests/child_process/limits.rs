//! The limits as they reach real clients of the built binary, and what a signal makes it say of them.
//! How they bite, to the byte and to the second, is the business of `tests/in_process/limits`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use rustix::process::Signal;

use crate::FULL;
use crate::support::child::{Server, await_until, command_after};
use crate::support::{YES, hello};

const NO_NICK: &str = "* no nick came in time, goodbye";
const IDLE: &str = "* you have been silent for too long, goodbye";

/// How many clients there is room for, as a server says in its log.
#[track_caller]
fn room(limit: &str, args: &[&str]) -> String {
    let args = [args, &["127.0.0.1:0"]].concat();
    let log = Server::spawn(&mut command_after(limit, &args)).stop().log;
    let (_, room) = log.split_once("] room for ").expect("it is logged");
    room.lines().next().expect("a line").to_owned()
}

#[test]
fn the_room_for_clients_is_what_the_limit_of_open_files_leaves() {
    let server = Server::spawn(&mut command_after("ulimit -n 100", &["127.0.0.1:0"]));
    // One is for a newcomer that is told that the server is full.
    let free = 99 - server.descriptors_below(100);
    let log = server.stop().log;
    let expected = format!("{free} clients");
    assert!(log.contains(&format!("] room for {expected}\n")), "{log}");
    // The soft limit is raised to the hard one.
    assert_eq!(room("ulimit -S -n 50; ulimit -H -n 100", &[]), expected);
    // One more listener is one client less.
    let fewer = format!("{} clients", free - 1);
    assert_eq!(room("ulimit -n 100", &["127.0.0.1:0"]), fewer);
    let asked = ["--max-clients", &free.to_string()];
    assert_eq!(room("ulimit -n 100", &asked), expected);
    assert_eq!(room("ulimit -n 100", &["--max-clients", "1"]), "1 clients");
}

#[test]
fn however_low_the_limit_of_open_files_is_the_room_that_is_told_is_there() {
    let mut served = 0;
    for limit in 6..24 {
        let setup = format!("ulimit -n {limit}");
        let mut command = command_after(&setup, &["127.0.0.1:0"]);
        let mut server = Server::spawn_unannounced(
            command.stdout(Stdio::piped()),
            SocketAddr::from(([127, 0, 0, 1], 0)),
        );
        let Some(addr) = server.announced_if_any() else {
            let log = server.wait().log;
            let is_told = log.contains("ulimit -n") || log.contains("Too many open files");
            assert!(is_told, "{limit}: {log}");
            continue;
        };
        server.addr = addr;
        let room = room_in(&server.log_line());
        assert!(room > 0, "{limit}");
        let members: Vec<_> = (0..room)
            .map(|n| server.join(&format!("user{n}")))
            .collect();
        let mut more = server.connect();
        more.expect(FULL);
        more.expect_end();
        served += members.len();
    }
    assert!(served > 20, "{served} were served in all");
}

/// How many clients a line of the log says there is room for.
fn room_in(line: &str) -> usize {
    let (_, room) = line.split_once("] room for ").expect("it is logged");
    let (room, _) = room.split_once(' ').expect("a number");
    room.parse().expect("a number")
}

/// Connections for HTTP are no clients, so what they take is not promised to clients; and somebody who asks
/// whether a full server is well is answered.
#[test]
fn connections_for_http_take_no_room_that_clients_are_told_of() {
    for idle in [1, 16] {
        let args = ["127.0.0.1:0", "http:127.0.0.1:0"];
        let server = Server::spawn(&mut command_after("ulimit -n 40", &args));
        let http = server.announced();
        let room = room_in(&server.log_line());
        let connect = || TcpStream::connect(http).expect("it listens");
        let asking: Vec<TcpStream> = (0..idle).map(|_| connect()).collect();
        let members: Vec<_> = (0..room)
            .map(|n| server.join(&format!("user{n}")))
            .collect();
        let mut more = server.connect();
        more.expect(FULL);
        more.expect_end();
        if asking.len() > 1 {
            continue;
        }
        let mut health = connect();
        health
            .write_all(b"GET /readyz HTTP/1.0\r\n\r\n")
            .expect("a connection");
        let mut answer = String::new();
        health.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
        drop(members);
    }
}

#[test]
fn room_for_more_clients_than_open_files_is_granted_with_one_warning() {
    let args = ["--max-clients", "99", "127.0.0.1:0"];
    let server = Server::spawn(&mut command_after("ulimit -n 100", &args));
    // One is for a newcomer that is told that the server is full.
    let free = 99 - server.descriptors_below(100);
    let log = server.stop().log;
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    let [warning] = warnings[..] else {
        panic!("one warning: {log}");
    };
    assert!(
        warning.contains("room for 99 clients was asked for"),
        "{log}"
    );
    let allows = format!("allows {free}: raise it (ulimit -n)");
    assert!(warning.contains(&allows), "{log}");
    assert!(log.contains("] room for 99 clients\n"), "{log}");
}

#[test]
fn a_server_that_is_full_by_its_limit_of_open_files_turns_away_and_goes_on() {
    let mut command = command_after("ulimit -n 40", &["-q", "127.0.0.1:0"]);
    let server = Server::spawn(&mut command);
    let calm = server.descriptors();
    let room = 39 - server.descriptors_below(40);
    let mut members: Vec<_> = (0..room)
        .map(|n| server.join(&format!("user{n}")))
        .collect();
    for _ in 0..10 {
        let mut client = server.connect();
        client.expect(FULL);
        client.expect_end();
    }
    members.pop().expect("a member").leave();
    await_until("its place is free", || {
        server.descriptors() == calm + room - 1
    });
    server.join("late");
    assert_eq!(server.stop().log, "", "to be full is worth no warning");
}

#[test]
fn time_outs_reach_real_clients_with_their_reasons() {
    let args = ["--login-timeout", "0.05", "--idle-timeout", "0.1"];
    let server = Server::start(&args);
    let mut stranger = server.connect();
    let mut alice = server.connect();
    alice.send(&hello("alice"));
    alice.expect(YES);
    for (client, words) in [(&mut stranger, NO_NICK), (&mut alice, IDLE)] {
        client.expect(words);
        client.expect_end();
    }
    let log = server.stop().log;
    assert!(
        log.contains(" left without a word: no nick in time (client "),
        "{log}"
    );
    assert!(log.contains("alice left: idle (client "), "{log}");
}

#[test]
fn sigusr1_writes_them_to_the_log_in_one_line_and_nothing_else_happens() {
    let server = Server::start(&[]);
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    let calm = server.descriptors();
    server.connect().reset();
    bob.say("hello");
    alice.expect("bob: hello");
    await_until("the other is gone", || server.descriptors() == calm);
    for _ in 0..3 {
        server.signal(Signal::USR1);
        // When the answer is there, so is the line: signals are heeded first.
        alice.await_heard();
        bob.await_heard();
    }
    alice.leave();
    let log = server.stop().log;
    let begin = "clients 2, members 2, people 0, lagging 0, stalled 0, holding up 0, accepted 3, \
                 accept failed 0, closed 1, connection broken 1; \
                 lines in 1, deliveries 1, lines skipped 0, bytes in ";
    let lines = log.lines().filter(|line| line.contains("] clients "));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines.iter().all(|line| line.contains(begin)), "{log}");
}
