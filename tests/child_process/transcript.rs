//! The transcript: the file that a room leaves, and what becomes of it when its disk, its name or its
//! writer is gone.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::child::{Client, Server, await_until, bare, command, command_after, run};
use crate::support::temp_file::TempFolder;
use crate::support::tools::{are_there, output_of};

/// The length of `2026-11-26T20:15:03.123Z ` in bytes.
const STAMP_BYTES: usize = 25;

/// The name of a transcript in a folder of its own.
struct File {
    folder: TempFolder,
}

impl File {
    fn new(name: &str) -> Self {
        let folder = TempFolder::new(name);
        Self { folder }
    }

    fn path(&self) -> String {
        self.folder.path_of("room.log")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap_or_default()
    }

    /// The lines, without the time, once there is one that ends with `last`.
    #[track_caller]
    fn lines_until(&self, last: &str) -> Vec<String> {
        let end = format!("{last}\n");
        await_until(last, || self.text().ends_with(&end));
        self.text().lines().map(without_stamp).collect()
    }
}

/// A line without the time before it, which has to be one.
#[track_caller]
fn without_stamp(line: &str) -> String {
    if is_about_skipping(line) {
        return line.to_owned();
    }
    let (stamp, text) = line.split_at(STAMP_BYTES);
    let form = stamp.replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(form, "0000-00-00T00:00:00.000Z ", "{line}");
    text.to_owned()
}

fn is_about_skipping(line: &str) -> bool {
    line.starts_with("* ") && (line.ends_with(" lines skipped") || line == "* 1 line skipped")
}

/// How many lines are told of in a notice such as `* 132 lines skipped`.
fn told(line: &str) -> usize {
    let number = line.split(' ').nth(1).and_then(|it| it.parse().ok());
    number.unwrap_or_else(|| panic!("no number: {line}"))
}

/// A person who joined.
#[track_caller]
fn person(server: &Server, nick: &str) -> Client {
    let mut person = server.connect();
    person.say(nick);
    loop {
        let line = person.line().expect("it is let in");
        if line.starts_with(&format!("* welcome, {nick}.")) {
            return person;
        }
    }
}

/// The process that writes the transcript.
#[track_caller]
fn writer_of(server: &Server) -> Pid {
    let parent = server.pid().as_raw_nonzero().to_string();
    let mut found = None;
    await_until("there is a writer", || {
        let processes = fs::read_dir("/proc").expect("proc(5)");
        let pids = processes.filter_map(|it| it.ok()?.file_name().to_str()?.parse::<i32>().ok());
        found = pids.into_iter().find(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map(|it| it.1).unwrap_or_default();
            let mut fields = fields.split(' ');
            fields.next() != Some("Z") && fields.next() == Some(&parent)
        });
        found.is_some()
    });
    found.and_then(Pid::from_raw).expect("a process")
}

#[test]
fn it_has_what_people_see_with_the_time_and_no_private_words() {
    let file = File::new("recorded");
    let server = Server::start(&["--interactive", "--transcript", &file.path()]);
    let mut guest = server.connect();
    guest.expect("* this is a chat room: what you type goes to everybody in it, line by line");
    guest.expect("* this room is recorded");
    guest.expect("* what is your nick?");
    guest.leave();
    let mut alice = person(&server, "alice");
    let mut bob = person(&server, "bob");
    alice.say("hello");
    bob.expect("alice: hello");
    bob.say("/msg alice a secret");
    bob.expect("* you tell alice: a secret");
    bob.say("/me waves");
    alice.expect("* bob joined");
    alice.expect("* bob tells you: a secret");
    alice.expect("** bob waves");
    bob.say("/quit see you");
    alice.expect("* bob left: see you");
    alice.say("alone");
    let expected = [
        "* alice joined",
        "* bob joined",
        "alice: hello",
        "** bob waves",
        "* bob left: see you",
        "alice: alone",
    ];
    assert_eq!(file.lines_until("alice: alone"), expected);
    let remains = server.stop();
    assert!(remains.status.success(), "{}", remains.log);
    // The server has waited for the rest.
    assert!(!remains.log.contains("ERROR"), "{}", remains.log);
    assert!(!file.text().contains("secret"));
}

#[test]
fn plain_clients_see_nothing_of_it() {
    let file = File::new("plain");
    let server = Server::start(&["--transcript", &file.path()]);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.say("hello");
    alice.expect("bob: hello");
    bob.leave();
    alice.await_heard();
    alice.leave();
    server.stop();
    let lines: Vec<String> = file.text().lines().map(without_stamp).collect();
    let expected = [
        "* alice joined",
        "* bob joined",
        "bob: hello",
        "* bob left",
        "* alice left",
        "* server is shutting down",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let path = "/nowhere/room.log";
    let remains = run(&mut command(&["--transcript", path, "127.0.0.1:0"]));
    assert_eq!(remains.status.code(), Some(1));
    let expected = format!("line-chat: cannot write the transcript {path}: ");
    assert!(remains.log.starts_with(&expected), "{}", remains.log);
}

#[test]
fn logrotate_moves_it_away_and_it_goes_on_under_its_name() {
    if !are_there(&["logrotate"]) {
        return;
    }
    let file = File::new("rotated");
    let mut command = bare("setsid");
    command.arg(env!("CARGO_BIN_EXE_line-chat"));
    let path = file.path();
    let server = Server::spawn(command.args(["--transcript", &path, "127.0.0.1:0"]));
    let mut alice = server.join("alice");
    alice.say("before");
    file.lines_until("alice: before");
    let pid = server.pid().as_raw_nonzero();
    let config = file.folder.path_of("logrotate.conf");
    let rules = format!(
        "{path} {{\n rotate 3\n create 0640\n postrotate\n kill -HUP {pid}\n endscript\n}}\n"
    );
    fs::write(&config, rules).expect("it is ours");
    let mut chmod = Command::new("chmod");
    // It refuses rules that others may write.
    output_of(chmod.args(["0644", &config]));
    let mut rotate = Command::new("logrotate");
    let state = file.folder.path_of("state");
    output_of(rotate.args(["--force", "--state", &state, &config]));
    loop {
        if server.log_line().contains("the files were read again") {
            break;
        }
    }
    alice.say("after");
    assert_eq!(file.lines_until("alice: after"), ["alice: after"]);
    let old = fs::read_to_string(format!("{path}.1")).expect("it is kept");
    assert!(old.ends_with("alice: before\n"), "{old}");
    server.stop();
}

// A limit of the size of files stands for a disk that is full: SIGXFSZ would end the writer.
#[test]
fn lines_without_space_are_dropped_whole_and_counted_when_there_is_space_again() {
    const LINES: usize = 400;
    let file = File::new("full");
    let path = file.path();
    // In units of 512 bytes, or of 1024 where /bin/sh is bash.
    let mut command = command_after("ulimit -f 4", &["--transcript", &path, "--history", "0"]);
    command.args(["--interactive", "127.0.0.1:0"]);
    let server = Server::spawn(&mut command);
    let mut alice = person(&server, "alice");
    for n in 0..LINES {
        alice.say(&format!("line {n}"));
    }
    alice.await_heard();
    // A writer that is behind fills the next file as well.
    let mut files = Vec::new();
    let is_over = || file.text().ends_with("alice: there is space\n");
    loop {
        await_until("the disk is full, or not", || {
            file.text().len() > 1900 || is_over()
        });
        if is_over() {
            break;
        }
        let old = file.folder.path_of(&format!("room.log.{}", files.len()));
        fs::rename(&path, &old).expect("it is ours");
        files.push(old);
        server.signal(Signal::HUP);
        while !server.log_line().contains("the files were read again") {}
        alice.say("there is space");
    }
    let said = LINES + files.len();
    files.push(path);
    let texts: Vec<String> = files
        .iter()
        .filter_map(|it| fs::read_to_string(it).ok())
        .collect();
    let (mut kept, mut dropped) = (Vec::new(), 0);
    for text in &texts {
        assert!(text.ends_with('\n'), "a torn line: {text}");
        let lines = text.lines();
        kept.push(
            lines
                .clone()
                .filter(|line| line.contains("alice: "))
                .count(),
        );
        let notices = lines
            .map(without_stamp)
            .filter(|line| line.ends_with(" could not be written"));
        dropped += notices.map(|line| told(&line)).sum::<usize>();
    }
    assert!(kept[0] > 10 && dropped > 0, "{texts:?}");
    assert_eq!(kept.iter().sum::<usize>() + dropped, said, "{texts:?}");
    server.stop();
}

// A stopped writer stands for a disk that stalls.
#[test]
fn a_stalled_writer_misses_lines_and_the_room_goes_on() {
    const LINES: usize = 20_000;
    let file = File::new("stalled");
    let path = file.path();
    // A disk may stall for longer than a client.
    let mut args = vec!["--transcript", &path, "--max-pending", "65536"];
    args.extend(["--stall-timeout", "0.2"]);
    let server = Server::start(&args);
    let mut alice = server.join("alice");
    alice.say("before");
    file.lines_until("alice: before");
    let writer = writer_of(&server);
    kill_process(writer, Signal::STOP).expect("it lives");
    let mut bob = server.join("bob");
    let text = "x".repeat(100);
    for n in 0..LINES {
        // Slowly enough not to be a bulk speaker, whose lines are skipped earlier.
        alice.say(&format!("{n} {text}"));
        if n % 100 == 0 {
            alice.await_heard();
        }
        bob.expect(&format!("alice: {n} {text}"));
    }
    kill_process(writer, Signal::CONT).expect("it lives");
    alice.await_heard();
    await_until("it goes on", || {
        alice.say("again");
        alice.await_heard();
        file.text().ends_with("alice: again\n")
    });
    let text = file.text();
    let seen = text.lines().filter(|line| line.contains("xxx")).count();
    let skipped: Vec<&str> = text
        .lines()
        .filter(|line| is_about_skipping(line))
        .collect();
    let [skipped] = skipped[..] else {
        panic!("told once: {skipped:?}");
    };
    let again = text
        .lines()
        .filter(|line| line.ends_with("alice: again"))
        .count();
    assert!(told(skipped) > 1000, "{skipped}");
    assert!(
        seen + told(skipped) >= LINES && seen < LINES,
        "{seen} and {skipped}"
    );
    assert!(again > 0);
    let log = server.stop().log;
    assert!(!log.contains("writer has ended"), "{log}");
}

#[test]
fn a_writer_that_dies_is_started_again_and_what_is_lost_is_counted() {
    let file = File::new("killed");
    let server = Server::start(&["--transcript", &file.path()]);
    let mut alice = server.join("alice");
    alice.say("before");
    file.lines_until("alice: before");
    let writer = writer_of(&server);
    kill_process(writer, Signal::KILL).expect("it lives");
    while !server
        .log_line()
        .contains("the transcript's writer has ended")
    {}
    alice.say("nobody writes this");
    alice.say("nor this");
    alice.await_heard();
    while !server
        .log_line()
        .contains("the transcript is written again; lines lost: 2")
    {}
    assert_ne!(writer_of(&server), writer);
    alice.say("after");
    let expected = [
        "* alice joined",
        "alice: before",
        "* 2 lines skipped",
        "alice: after",
    ];
    assert_eq!(file.lines_until("alice: after"), expected);
    server.stop();
}

// It ends by its input alone: signals that end the server reach the whole group, and come first.
#[test]
fn the_last_lines_are_written_although_the_writer_was_to_end() {
    let file = File::new("ended");
    let server = Server::start(&["--transcript", &file.path()]);
    let mut alice = server.join("alice");
    alice.say("before");
    file.lines_until("alice: before");
    let writer = writer_of(&server);
    for signal in [Signal::TERM, Signal::INT] {
        kill_process(writer, signal).expect("it lives");
    }
    alice.say("after");
    file.lines_until("alice: after");
    assert_eq!(writer_of(&server), writer);
    let remains = server.stop();
    assert!(remains.status.success(), "{}", remains.log);
    let stat = format!("/proc/{}", writer.as_raw_nonzero());
    await_until("the writer ends", || fs::metadata(&stat).is_err());
}
