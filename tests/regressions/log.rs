//! What the log holds: what an operator has to know, in a number of lines that no peer decides.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::child::{Client, Server};

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
