//! What the log looks like: for people, for systemd's journal, and for machines.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::process::geteuid;
use serde_json::Value;

use crate::support::child::{Client, Server, command, command_after, run};
use crate::support::hello;
use crate::support::temp_file::{TempFile, TempFolder};

fn log_of(mut server: Server) -> String {
    assert!(server.is_alive());
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.say("\"quoted\" \u{5}");
    alice.expect("bob: \"quoted\" \u{fffd}");
    bob.leave();
    server.stop().log
}

fn objects(log: &str) -> Vec<Value> {
    let object = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    log.lines().map(object).collect()
}

#[test]
fn each_line_of_a_log_for_machines_is_an_object() {
    let server = Server::start(&["-v", "--log-format", "json"]);
    let listener = server.addr.to_string();
    let objects = objects(&log_of(server));
    for object in &objects {
        for key in ["time", "level", "target", "message"] {
            assert!(object[key].is_string(), "{key}: {object}");
        }
    }
    let find = |part: &str| {
        let mut all = objects.iter();
        let found = all.find(|it| it["message"].as_str().is_some_and(|it| it.contains(part)));
        found.unwrap_or_else(|| panic!("no {part}: {objects:?}"))
    };
    let joined = find("bob joined from");
    assert_eq!(joined["level"], "info");
    assert_eq!(joined["target"], "line_chat::members");
    assert_eq!(joined["client"], 1);
    assert_eq!(find("bob left: hung up")["client"], 1);
    for part in ["bob joined from", "bob left: hung up", "quoted"] {
        assert_eq!(find(part)["listener"], listener, "{part}");
    }
    let said = find("quoted");
    assert_eq!(said["message"], "bob: \"quoted\" \u{fffd}");
}

// Whoever looks for what came in at one listener, or for what one client did, needs one word.
#[test]
fn each_line_about_a_client_has_its_number_and_its_listener() {
    let (folder, file) = (
        TempFolder::new("listeners"),
        TempFile::new("ops", "secret\n"),
    );
    let path = folder.path_of("chat");
    let unix = format!("plain+unix:{path}");
    let args = ["--interactive", "--ops-password-file", file.path()];
    let args = [&args[..], &["--max-clients", "2", "127.0.0.1:0", &unix]].concat();
    let server = Server::spawn(&mut command(&args));
    let stream = TcpStream::connect(server.addr).expect("it listens");
    let from = stream.local_addr().expect("an address");
    let mut alice = Client::new(stream);
    alice.send(b"alice\r\n/op secret\r\n/nick al\r\n/unmute x\r\n");
    let unknown = "* nobody here is called \"x\"; /who lists who is here";
    while alice.line().expect("an answer") != unknown {}
    let mut bot = UnixStream::connect(&path).expect("it listens");
    bot.write_all(&hello("bot")).expect("it reads");
    let mut yes = [0; 7];
    bot.read_exact(&mut yes).expect("an answer");
    let mut late = UnixStream::connect(&path).expect("it listens");
    let refusal = io::read_to_string(&mut late).expect("an end");
    assert!(refusal.starts_with("* server is full"), "{refusal}");
    bot.shutdown(Shutdown::Write).expect("it is open");
    bot.read_to_end(&mut Vec::new()).expect("an end");
    let tcp = format!("client 0 on {}", server.addr);
    let unix = format!("on unix:{path}");
    let us = format!("uid {} (pid {})", geteuid().as_raw(), std::process::id());
    let log = server.stop().log;
    for line in [
        format!("alice joined from {from} as {tcp}\n"),
        format!("alice is an operator now ({tcp})\n"),
        format!("alice is now al ({tcp})\n"),
        format!("al ({tcp}) as an operator: /unmute x\n"),
        format!("bot joined from {us} as client 1 {unix}\n"),
        format!("refused {us} {unix}: server is full\n"),
        format!("bot left: hung up (client 1 {unix})\n"),
    ] {
        assert!(log.contains(&line), "{line:?}: {log}");
    }
}

#[test]
fn what_keeps_a_server_from_starting_is_told_in_the_style_of_the_log() {
    let args = [
        "--log-format",
        "json",
        "--motd",
        "/nowhere/motd",
        "--interactive",
        "127.0.0.1:0",
    ];
    let remains = run(&mut command(&args));
    assert_eq!(remains.status.code(), Some(1));
    let objects = objects(&remains.log);
    let [failure] = &objects[..] else {
        panic!("one line: {objects:?}");
    };
    assert_eq!(failure["level"], "error");
    let message = failure["message"].as_str().expect("a text");
    assert!(message.contains("/nowhere/motd"), "{message}");
}

// The journal reads the priority, and has the time itself.
#[test]
fn in_the_journal_a_line_begins_with_its_priority() {
    let setup = "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)";
    let args = ["-v", "--max-clients", "4000000000", "127.0.0.1:0"];
    let log = log_of(Server::spawn(&mut command_after(setup, &args)));
    for line in [
        "<6>line_chat::members: bob joined from ",
        "<4>line_chat::server: room for 4000000000 clients was asked for",
        "<7>line_chat::lines: bob: ",
    ] {
        let mut lines = log.lines();
        assert!(lines.any(|it| it.starts_with(line)), "{line:?}: {log}");
    }
    let is_marked = |line: &str| line.starts_with('<');
    assert!(log.lines().all(is_marked), "{log}");
    // A variable that is left over, in a shell that the journal's service has started.
    let mut elsewhere = command(&["127.0.0.1:0"]);
    let log = log_of(Server::spawn(elsewhere.env("JOURNAL_STREAM", "8:1")));
    assert!(!log.lines().any(is_marked), "{log}");
}

#[test]
fn the_log_begins_with_what_is_served_and_warns_of_an_open_room() {
    let file = TempFile::new("public", "secret\n");
    let guarded = ["--password-file", file.path(), "0.0.0.0:0"];
    for (args, served, is_warned) in [
        (&["127.0.0.1:0"][..], "plain, no password, no TLS", false),
        (&["0.0.0.0:0"], "plain, no password, no TLS", true),
        (
            &["127.0.0.1:0", "http:127.0.0.1:0"],
            "plain, no password, no TLS",
            false,
        ),
        (&guarded, "plain, a password, no TLS", false),
        (
            &["--interactive", "127.0.0.1:0"],
            "interactive, no password, no TLS",
            false,
        ),
        (
            &["interactive:127.0.0.1:0", "http:127.0.0.1:0"],
            "interactive, no password, no TLS",
            false,
        ),
        (
            &["interactive:127.0.0.1:0", "127.0.0.1:0"],
            "interactive and plain, no password, no TLS",
            false,
        ),
    ] {
        let log = Server::spawn(&mut command(args)).stop().log;
        let begin = format!(
            "line-chat {}: {served}; max-line 4096, ",
            env!("CARGO_PKG_VERSION")
        );
        assert!(log.contains(&begin), "{begin}: {log}");
        assert_eq!(
            log.contains("everybody who reaches 0.0.0.0:"),
            is_warned,
            "{log}"
        );
        let in_clear = log.contains("WARN") && log.contains("what is said on 0.0.0.0:");
        assert_eq!(in_clear, args.contains(&"0.0.0.0:0"), "{log}");
        let warnings = usize::from(is_warned) + usize::from(in_clear);
        assert_eq!(log.matches("WARN").count(), warnings, "{log}");
    }
}
