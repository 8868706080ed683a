//! What the log holds: what an operator has to know, in a number of lines that no peer decides.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

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

/// The largest number that stands by itself in a line, as no time and no address does.
fn largest_number(line: &str) -> usize {
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
    let expected = format!("5 wrong passwords, the last from {last}");
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
                .all(|(line, told)| line.ends_with(told)),
            "{log}"
        );
    }
}
