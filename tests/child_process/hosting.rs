//! How people are received, by the built binary: its flags, its files, what a signal makes it read
//! again, and what its log never holds. What people see then is the business of
//! `tests/in_process/interactive`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::child::{Client, Server, command, run};
use crate::support::temp_file::TempFile;

const GREETING: &str = "* this is a chat room: what you type goes to everybody in it, line by line";
const ASK: &str = "* what is your nick?";

/// Somebody at a prompt, who has joined.
#[track_caller]
fn person(server: &Server, nick: &str) -> Client {
    let mut person = server.connect();
    person.expect(GREETING);
    person.expect(ASK);
    person.say(nick);
    let welcome = person.line().expect("a welcome");
    assert!(
        welcome.starts_with(&format!("* welcome, {nick}. ")),
        "{welcome}"
    );
    person
}

/// Reads up to this line, among others of which some have telnet commands before them.
#[track_caller]
fn read_until(client: &mut Client, line: &str) {
    let wanted = format!("{line}\r\n");
    while client.line_as_sent().expect("it comes") != wanted.as_bytes() {}
}

#[test]
fn plain_listeners_are_announced_behind_the_others_and_share_the_room() {
    let plain = ["--plain", "127.0.0.1:0", "--plain", "127.0.0.1:0"];
    let server = Server::start(&[&["--interactive"][..], &plain].concat());
    let mut alice = person(&server, "alice");
    for nick in ["one", "two"] {
        let mut script = Client::connect(server.announced());
        script.enter(nick);
        alice.expect(&format!("* {nick} joined"));
        script.say("/who");
        alice.expect(&format!("{nick}: /who"));
        alice.say("/me waves");
        script.expect("alice: /me waves");
        script.leave();
        alice.expect(&format!("* {nick} left"));
    }
}

#[test]
fn variables_make_people_welcome_as_well() {
    let mut command = command(&["127.0.0.1:0"]);
    command.env("LINE_CHAT_INTERACTIVE", "true");
    command.env("LINE_CHAT_PLAIN", "127.0.0.1:0 127.0.0.1:0");
    let server = Server::spawn(&mut command);
    person(&server, "alice");
    for nick in ["one", "two"] {
        Client::connect(server.announced()).enter(nick);
    }
}

#[test]
fn flags_that_do_not_go_together_are_usage_errors() {
    for (args, text) in [
        (
            &["--motd", "x"][..],
            "--motd is for people at a prompt: add --interactive",
        ),
        (
            &["--ops-password-file", "x"],
            "--ops-password-file is for people at a prompt: add --interactive",
        ),
        (
            &["--interactive", "--prefix", "** {nick} "],
            "the prefix begins with \"** \" as what members do is shown: begin it otherwise",
        ),
        (
            &["--interactive", "--max-pending", "65535"],
            "--max-pending is too small for --interactive: make it 65536 or more",
        ),
    ] {
        let remains = run(&mut command(args));
        assert!(
            remains.log.starts_with(&format!("error: {text}")),
            "{}",
            remains.log
        );
        assert_eq!(remains.status.code(), Some(2));
    }
}

#[test]
fn a_file_that_cannot_serve_is_one_line_that_names_it() {
    let empty = TempFile::new("empty", "\n");
    // Of that the log would tell, if it served.
    let everybodys = fs::Permissions::from_mode(0o644);
    fs::set_permissions(empty.path(), everybodys).expect("it is ours");
    for (flag, path, why) in [
        (
            "--motd",
            "/nonexistent/motd",
            "No such file or directory (os error 2)",
        ),
        ("--motd", "/dev/zero", "it is not a file"),
        (
            "--password-file",
            "/nonexistent/password",
            "No such file or directory (os error 2)",
        ),
        (
            "--ops-password-file",
            empty.path(),
            "its first line is empty: write the password there",
        ),
    ] {
        let remains = run(&mut command(&["--interactive", flag, path, "127.0.0.1:0"]));
        assert_eq!(
            remains.log,
            format!("line-chat: cannot use {path}: {why}\n")
        );
        assert_eq!(remains.stdout, "");
        assert_eq!(remains.status.code(), Some(1));
    }
}

#[test]
fn a_hang_up_signal_reads_the_files_again_and_a_bad_one_changes_nothing() {
    let motd = TempFile::new("motd", "old\n");
    let password = TempFile::new("password", "old secret\n");
    let args = [
        "--interactive",
        "--motd",
        motd.path(),
        "--password-file",
        password.path(),
        "--plain",
        "127.0.0.1:0",
    ];
    let server = Server::start(&args);
    let plain = server.announced();
    let old = |server: &Server| {
        let mut client = server.connect();
        client.expect("* old");
        client
    };
    old(&server);
    motd.write("new\nand longer\n");
    password.write("");
    server.signal(Signal::HUP);
    while !server.log_line().contains("ERROR") {}
    old(&server);
    password.write("new secret");
    server.signal(Signal::HUP);
    while !server.log_line().contains("the files were read again") {}
    let mut bob = server.connect();
    bob.expect("* new");
    bob.expect("* and longer");
    let mut script = Client::connect(plain);
    script.expect("* password?");
    script.say("new secret");
    script.enter("script");
    assert!(server.stop().status.success());
}

#[test]
fn passwords_and_private_words_are_never_logged() {
    let password = TempFile::new("secrets", "room-secret\n");
    let ops = TempFile::new("ops", "ops-secret\n");
    let files = [
        "--password-file",
        password.path(),
        "--ops-password-file",
        ops.path(),
    ];
    let args = [&["--interactive", "127.0.0.1:0"][..], &files].concat();
    let mut command = command(&args);
    let server = Server::spawn(command.env("RUST_LOG", "trace"));
    let mut alice = server.connect();
    alice.send(b"wrong-secret\r\n");
    alice.send(b"room-secret\r\nalice\r\n/op ops-wrong-secret\r\n/op ops-secret\r\n");
    read_until(
        &mut alice,
        "* you are an operator; /help lists what you can do",
    );
    let mut bob = server.connect();
    bob.send(b"room-secret\r\nbob\r\n/msg alice whispered-secret\r\n/reply x\r\n");
    read_until(&mut alice, "* bob tells you: whispered-secret");
    alice.send(b"/msg bob another-secret\r\n/kick bob\r\n");
    read_until(&mut bob, "* alice has kicked you");
    let log = server.stop().log;
    assert!(
        log.contains("as an operator: /kick bob"),
        "what operators do is logged: {log}"
    );
    assert!(log.contains("wrong password from 127.0.0.1:"));
    let secrets = log.lines().filter(|line| line.contains("secret"));
    let secrets: Vec<&str> = secrets.collect();
    assert!(secrets.is_empty(), "{secrets:?}");
}

#[test]
fn tokens_are_random_and_never_logged() {
    let mut command = command(&["--interactive", "127.0.0.1:0"]);
    let server = Server::spawn(command.env("RUST_LOG", "trace"));
    let token = |server: &Server, nick: &str| {
        let mut person = person(server, nick);
        person.say("/claim");
        let told = person.line().expect("an answer") + &person.line().expect("the rest");
        let mut words = told.split_whitespace();
        let token = words.find(|word| word.len() == 32).expect("a token");
        (person, token.to_owned())
    };
    let ((_alice, of_alice), (_bob, of_bob)) = (token(&server, "alice"), token(&server, "bob"));
    let differ = |(one, other): (char, char)| usize::from(one != other);
    let differences: usize = of_alice.chars().zip(of_bob.chars()).map(differ).sum();
    // 32 random digits have 30 differences on average; fewer than 15 once in 10^13 times.
    assert!(differences > 14, "{of_alice} and {of_bob}");
    let wrong = of_alice.replace(['0', '1'], "f") + "0";
    let mut thief = server.connect();
    thief.send(format!("alice {wrong}\r\n").as_bytes());
    read_until(
        &mut thief,
        "* that token is wrong, used up or too old: type another nick",
    );
    let mut again = server.connect();
    again.send(format!("alice {of_alice}\r\n").as_bytes());
    read_until(
        &mut again,
        "* welcome back, alice; /claim gives a new token. 1 other here: bob",
    );
    let log = server.stop().log;
    assert!(log.contains("wrong password from 127.0.0.1:"), "{log}");
    assert!(log.contains("claimed"), "{log}");
    for secret in [of_alice, of_bob, wrong] {
        assert!(!log.contains(&secret), "{log}");
    }
}

#[test]
fn the_time_of_day_is_told() {
    let server = Server::start(&["--interactive"]);
    let mut alice = person(&server, "alice");
    alice.say("/time");
    let time = alice.line().expect("an answer");
    let parsed = time
        .strip_prefix("* it is ")
        .and_then(|time| time.strip_suffix(" UTC"));
    let year: u32 = parsed.expect(&time)[..4].parse().expect("a year");
    assert!(year > 2025, "{time}");
}

#[test]
fn a_password_that_everybody_can_read_is_warned_of() {
    let password = TempFile::new("open", "secret\n");
    fs::set_permissions(password.path(), fs::Permissions::from_mode(0o644)).expect("it is ours");
    let server = Server::start(&["--password-file", password.path()]);
    let log = server.stop().log;
    let warning = format!(
        "{} can be read by everybody on this machine: chmod o-r it",
        password.path()
    );
    assert!(log.contains(&warning), "{log}");
}
