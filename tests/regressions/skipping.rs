//! What is left out for a reader that is too far behind is counted, and the reader is told.

use std::io;
use std::iter;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use line_chat::Lag;

use crate::support::child::{Client, Server};
use crate::support::rig::Rig;
use crate::support::server::HaltedServer;
use crate::support::{ARE_YOU_THERE, YES};
use crate::{connect_with_small_buffer, lines_until_now, next_line, person};

/// How many lines were skipped, if this line tells that.
fn skipped(line: &str) -> Option<usize> {
    let count = line.strip_prefix("* ")?;
    // A person is told why.
    let why = ": your connection was too slow";
    let count = count.strip_suffix(why).unwrap_or(count);
    let count = count
        .strip_suffix(" lines skipped")
        .or_else(|| count.strip_suffix(" line skipped"))?;
    count.parse().ok()
}

/// How many of these lines are wanted ones, and how many were skipped.
fn seen_and_skipped(lines: &[String], is_wanted: impl Fn(&str) -> bool) -> (usize, usize) {
    let seen = lines.iter().filter(|line| is_wanted(line)).count();
    let skipped = lines.iter().filter_map(|line| skipped(line)).sum();
    (seen, skipped)
}

/// A server for people with the smallest queues that it takes.
#[track_caller]
fn start(mode: &str) -> Server {
    let args = [
        "-q",
        "--interactive",
        "--max-pending",
        "65536",
        "--lag",
        mode,
    ];
    Server::start(&args)
}

/// Shows that each line of the answers to many questions is seen or told of as skipped, though a
/// client asks them all before it reads.
#[track_caller]
fn expect_every_answer(question: &[u8], answer: &[String], times: usize) {
    for mode in ["skip", "wait"] {
        let server = start(mode);
        let mut alice = person(&server, "alice");
        let mut asker = connect_with_small_buffer(&server);
        asker.send(&[b"asker\r\n", &*question.repeat(times)].concat());
        asker.hang_up();
        // With each of these the server takes a turn, in which it answers as much as it is to.
        for _ in 0..200 {
            lines_until_now(&mut alice);
        }
        let lines: Vec<String> = iter::from_fn(|| next_line(&mut asker)).collect();
        let is_answer = |line: &str| answer.iter().any(|it| it == line);
        let (seen, skipped) = seen_and_skipped(&lines, is_answer);
        assert_eq!(
            seen + skipped,
            times * answer.len(),
            "--lag {mode}: {seen} lines seen and {skipped} told of as skipped"
        );
    }
}

// Nothing is left out uncounted and untold in any mode: a client is answered, or it is told how many
// lines it missed.
#[test]
fn no_answer_to_a_command_is_lost_without_a_word() {
    let server = start("wait");
    let mut alice = person(&server, "alice");
    alice.say("/help");
    let help = lines_until_now(&mut alice);
    expect_every_answer(b"/help\r\n", &help, 1000);
}

// That holds for telnet's "are you there" as well.
#[test]
fn no_answer_to_telnet_is_lost_without_a_word() {
    // An empty line between, or it is taken for a keep-alive.
    let question = [b"\r\n", ARE_YOU_THERE].concat();
    expect_every_answer(&question, &[YES.to_owned()], 60_000);
}

/// How many come: fewer than are gathered into one notice for all.
const NEWCOMERS: usize = 40;

/// How many lines of a kilobyte each newcomer says: so few that it is not too loud. All of them
/// together are more than the reader's queue and its kernel hold.
const LINES_EACH: usize = 30;

/// A newcomer that reads all that it gets.
#[track_caller]
fn come_and_speak(server: &Server, nick: &str) -> Client {
    let stream = TcpStream::connect(server.addr).expect("the server listens");
    let mut everything = stream.try_clone().expect("a descriptor");
    let mut newcomer = Client::new(stream);
    newcomer.say(nick);
    // Not lines_until_now, because a question has to wait with the room.
    while !next_line(&mut newcomer).expect("a welcome").contains(nick) {}
    // The end of the test ends the connection, however that looks from here.
    thread::spawn(move || io::copy(&mut everything, &mut io::sink()));
    let line = ["x".repeat(1000), "\r\n".to_owned()].concat();
    newcomer.send(line.repeat(LINES_EACH).as_bytes());
    newcomer
}

// While a reader holds up the room, notices are left out for it. It is told how many before the next
// line that it gets.
#[test]
fn notices_that_are_left_out_for_one_that_holds_up_the_room_are_told_of_before_the_next_line() {
    let server = start("wait");
    let mut reader = connect_with_small_buffer(&server);
    reader.say("reader");
    lines_until_now(&mut reader);
    let newcomers = (0..NEWCOMERS).map(|n| come_and_speak(&server, &format!("newcomer{n}")));
    let _newcomers: Vec<Client> = newcomers.collect();
    let (mut received, mut said) = (Vec::new(), 0);
    while said < NEWCOMERS * LINES_EACH {
        let line = next_line(&mut reader).expect("the server is there");
        said += usize::from(line.starts_with("newcomer"));
        received.push(line);
    }
    let is_notice = |line: &str| line.starts_with("* newcomer") && line.ends_with(" joined");
    let (seen, skipped) = seen_and_skipped(&received, is_notice);
    assert_eq!(
        seen + skipped,
        NEWCOMERS,
        "{seen} notices seen and {skipped} told of as skipped"
    );
}

// The reader is told though nobody says anything more.
#[test]
fn notices_that_were_left_out_are_told_of_as_soon_as_there_is_room() {
    let mut rig = Rig::new(|config| {
        config.interactive.enabled = true;
        config.limits.lag = Lag::Wait;
        config.limits.max_pending_bytes = 64 << 10;
    });
    let [bob, reader] = ["bob", "reader"].map(|nick| rig.join(nick));
    reader.received();
    reader.stop_reading();
    for _ in 0..17 {
        bob.say(&"x".repeat(4000));
    }
    // The reader is stalled, so bob need not wait until it reads.
    rig.advance(Duration::from_secs(2));
    rig.join("carol");
    reader.read_on();
    rig.settle();
    let received = reader.received();
    let told = received.lines().filter(|line| !line.starts_with("bob: "));
    let told: Vec<String> = told.map(str::to_owned).collect();
    let (seen, skipped) = seen_and_skipped(&told, |line| line == "* carol joined");
    assert_eq!(seen + skipped, 1, "{told:?}");
}

// A number has its noun in the right form.
#[test]
fn one_line_that_was_skipped_is_one_line_and_two_are_two_lines() {
    let mut server = HaltedServer::bind_with(|config| config.limits.max_pending_bytes = 32 << 10);
    let [mut bob, mut reader] = ["bob", "reader"].map(|nick| server.join(nick));
    reader.shrink_buffer();
    let mut skipped = 0;
    for (more, told) in [(1, "* 1 line skipped"), (2, "* 2 lines skipped")] {
        skipped += more;
        while server.metrics().lines_skipped < skipped {
            bob.say(&"x".repeat(1000));
            server.turn_until_heard(&mut bob);
        }
        let mut received = Vec::new();
        server.turn_until(|_| {
            reader.read_what_is_there();
            received.extend(reader.take_received());
            received.ends_with(b"skipped\r\n")
        });
        let received = String::from_utf8(received).expect("UTF-8");
        assert_eq!(received.lines().last(), Some(told));
    }
}
