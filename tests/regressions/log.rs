//! What the log holds: what an operator has to know, in a number of lines that no peer decides.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::lines_until_now;
use crate::support::child::{Client, Server};
use crate::support::temp_file::TempFile;

/// How many clients connect, say nothing and close.
const SILENT: usize = 2000;

/// How many more come then, ten a second.
const MORE: usize = 200;

/// How many lines of the log they may cost, with what it says of the server's start.
const MOST_LINES: usize = 20;

#[track_caller]
fn connect_and_close(addr: SocketAddr, number: usize) {
    let client = Client::new(TcpStream::connect(addr).expect("the server listens"));
    if number.is_multiple_of(2) {
        client.leave();
    } else {
        client.reset();
    }
}

/// The largest number that stands by itself in a line, as no time and no address does. That of a client is
/// none.
fn largest_number(line: &str) -> usize {
    let line = line.split("(client ").next().unwrap_or_default();
    let words = line.split_whitespace();
    let words = words.map(|word| word.trim_matches(['(', ')', ',', ';', ':', '.']));
    let numbers = words.filter_map(|word| word.parse().ok());
    numbers.max().unwrap_or_default()
}

// A connection that never says anything is worth no line of its own: it is counted, and from time to
// time the log tells how many there were.
#[test]
fn connections_that_say_nothing_cost_few_lines_of_the_log_and_are_counted() {
    // The only other number in the log.
    let max_clients = 100;
    let server = Server::start(&["--max-clients", &max_clients.to_string()]);
    let addr = server.addr;
    (0..SILENT).for_each(|number| connect_and_close(addr, number));
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        // What was counted may be told when the next one comes.
        scope.spawn(|| {
            for _ in 0..MORE {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                connect_and_close(addr, 0);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let mut told = 0;
        for lines in 1.. {
            if told >= SILENT + max_clients || lines > MOST_LINES {
                break;
            }
            told += largest_number(&server.log_line());
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(told >= SILENT, "{told} were told of in {MOST_LINES} lines");
    });
    let log = server.stop().log;
    assert!(log.lines().count() <= MOST_LINES, "{log}");
}

/// A server whose room has a password, and clients that have sent this many wrong ones. Returns where the
/// last of them came from.
fn guarded_and_guessed(guesses: usize) -> (Server, TempFile, SocketAddr) {
    let file = TempFile::new(&format!("guessed-{guesses}"), "secret\n");
    let server = Server::start(&["--password-file", file.path()]);
    let mut last = server.addr;
    for _ in 0..guesses {
        let stream = TcpStream::connect(server.addr).expect("the server listens");
        last = stream.local_addr().expect("an address");
        let mut client = Client::new(stream);
        client.expect("* password?");
        client.say("wrong");
        client.expect("* wrong password, try again");
    }
    (server, file, last)
}

fn log_lines_until(server: &Server, is_last: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = server.log_line().trim_end().to_owned();
        let is_over = is_last(&line);
        lines.push(line);
        if is_over {
            return lines;
        }
    }
}

// What was counted was told with the next wrong password only, be that a day later.
#[test]
fn the_end_of_a_burst_reaches_the_log_though_nothing_follows_it() {
    let (server, _file, last) = guarded_and_guessed(6);
    let expected = format!("5 wrong passwords, the last from {last} on {}", server.addr);
    let lines = log_lines_until(&server, |line| line.contains("wrong passwords"));
    assert!(
        lines.last().is_some_and(|line| line.ends_with(&expected)),
        "{lines:?}"
    );
    let single = lines
        .iter()
        .filter(|line| line.contains("wrong password from"));
    assert_eq!(single.count(), 1, "{lines:?}");
    assert!(
        !server.stop().log.contains("wrong passwords"),
        "they are told of once"
    );
}

#[test]
fn what_was_counted_is_told_before_the_server_stops() {
    for (guesses, told) in [
        (1, None),
        (2, Some("wrong password from")),
        (4, Some("3 wrong passwords, the last from")),
    ] {
        let (server, _file, last) = guarded_and_guessed(guesses);
        log_lines_until(&server, |line| line.contains("wrong password from"));
        server.signal(Signal::TERM);
        let log = server.wait().log;
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("wrong password"))
            .collect();
        let expected: Vec<String> = told.iter().map(|told| format!("{told} {last}")).collect();
        assert_eq!(lines.len(), expected.len(), "{log}");
        assert!(
            lines
                .iter()
                .zip(&expected)
                .all(|(line, told)| line.contains(told)),
            "{log}"
        );
    }
}

/// How many lines the log has of one kind of event in ten seconds, if each is of interest.
const OF_A_KIND: usize = 50;

/// How many events of a kind the log tells of: each line that has `single` in it is one, and each that
/// has `several` is as many as it says.
fn told(log: &str, single: &str, several: &str) -> usize {
    let lines = log.lines();
    let of_kind = lines.filter_map(|line| {
        let is_several = line.contains(several);
        let is_single = || line.contains(single).then_some(1);
        if is_several {
            return Some(largest_number(line));
        }
        is_single()
    });
    of_kind.sum()
}

/// Closes the connection, and waits until the server has done so.
#[track_caller]
fn go(mut client: Client) {
    client.hang_up();
    while client.line_as_sent().is_some() {}
}

// A loop of `/nick a` and `/nick b` wrote 13.8 MB/s of log. What members and operators do has a number of
// lines, and then a count, however they do it: in a loop, on one connection after the other, under other
// names, as scripts, or at another listener.
#[test]
fn what_members_repeat_costs_few_lines_of_the_log_and_is_counted() {
    const RENAMES: usize = 4000;
    const COMMANDS: usize = 1000;
    const JOINS: usize = 150;
    let file = TempFile::new("repeated", "secret\n");
    let args = [
        "--interactive",
        "--ops-password-file",
        file.path(),
        "plain:127.0.0.1:0",
    ];
    let server = Server::start(&args);
    let (plain, people) = (server.addr, server.announced());
    let mut eve = Client::connect(people);
    eve.say("eve");
    eve.send("/nick a\r\n/nick b\r\n".repeat(RENAMES / 2).as_bytes());
    eve.send("/op secret\r\n".repeat(COMMANDS).as_bytes());
    eve.send("/unmute x\r\n".repeat(COMMANDS).as_bytes());
    lines_until_now(&mut eve);
    for n in 0..JOINS {
        for addr in [plain, people] {
            let mut guest = Client::connect(addr);
            guest.say(&format!("guest{}", n % 7));
            go(guest);
        }
    }
    let log = server.stop().log;
    let joins = 2 * JOINS + 1;
    for (single, several, count) in [
        (" is now ", " renames, the last: ", RENAMES),
        (
            " is an operator now",
            " times the password of operators, ",
            COMMANDS,
        ),
        (" as an operator: ", " commands of operators, ", COMMANDS),
        (" joined from ", " members joined, the last ", joins),
        (" left: ", " members left, the last ", joins),
    ] {
        assert_eq!(told(&log, single, several), count, "{single:?}: {log}");
    }
    let lines = log.lines().count();
    assert!(lines <= 5 * (OF_A_KIND + 1) + MOST_LINES, "{lines}: {log}");
}

// Forty health checks were eighty lines of log, whichever port they tried.
#[test]
fn probes_of_any_listener_are_counted() {
    const PROBES: usize = 40;
    let args = ["--interactive", "plain:127.0.0.1:0", "http:127.0.0.1:0"];
    let server = Server::start(&args);
    let addrs = [server.addr, server.announced(), server.announced()];
    for number in 0..PROBES {
        for addr in addrs {
            let probe = Client::connect(addr);
            match number % 2 {
                0 => probe.reset(),
                _ => go(probe),
            }
        }
    }
    let log = server.stop().log;
    let of_chat = told(
        &log,
        " left without a word: ",
        " clients left without a word, ",
    );
    let of_http = told(
        &log,
        " left without a request: ",
        " clients left without a request, ",
    );
    assert_eq!((of_chat, of_http), (2 * PROBES, PROBES), "{log}");
    assert!(log.lines().count() <= MOST_LINES, "{log}");
}
