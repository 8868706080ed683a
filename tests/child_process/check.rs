//! `--check`, as a container runs it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::FULL;
use crate::support::child::{Client, Remains, Server, await_until, command, run};
use crate::support::port::ReservedPort;
use crate::support::temp_file::{TempFile, TempFolder};

fn check(addr: &str) -> Remains {
    run(&mut command(&["--check", addr]))
}

#[track_caller]
fn expect_health(addr: &str) {
    let check = check(addr);
    let said = (check.status.code(), &*check.stdout, &*check.log);
    assert_eq!(said, (Some(0), "", ""), "{addr}");
}

#[track_caller]
fn expect_failure(addr: &str, problem: &str) {
    let check = check(addr);
    let text = format!("line-chat: {problem}\n");
    let said = (check.status.code(), &*check.stdout, &*check.log);
    assert_eq!(said, (Some(1), "", &*text), "{addr}");
}

#[test]
fn a_listener_for_tls_is_refused_before_anything_is_sent() {
    let problem =
        "cannot check tls:127.0.0.1:9 by TLS: check a Unix socket or --metrics of the same server";
    expect_failure("tls:127.0.0.1:9", problem);
}

#[test]
fn a_server_that_answers_is_healthy_and_neither_its_room_nor_its_log_notices() {
    let folder = TempFolder::new("check");
    let password = TempFile::new("check-password", "open sesame\n");
    let socket = format!("unix:{}", folder.path_of("chat.sock"));
    let abstract_socket = format!("unix+plain:@line-chat-check-{}", std::process::id());
    for secret in [&[][..], &["--password-file", password.path()]] {
        let args = [
            "--interactive",
            "127.0.0.1:0",
            "plain:127.0.0.1:0,eol=lf",
            &socket,
            &abstract_socket,
            "http:127.0.0.1:0",
        ];
        let server = Server::spawn(&mut command(&[&args[..], secret].concat()));
        let plain = server.announced();
        let unix = [server.printed(), server.printed()];
        assert!(unix[0].contains(&socket), "{unix:?}");
        let http = server.announced();
        let mut alice = server.connect();
        if !secret.is_empty() {
            alice.say("open sesame");
        }
        alice.say("alice");
        // Some lines have telnet commands before them.
        let is_other = |line: Vec<u8>| !line.starts_with(b"* welcome");
        while alice.line_as_sent().is_some_and(is_other) {}
        let descriptors = server.descriptors();
        for addr in [
            &server.addr.to_string(),
            &format!("interactive:{}", server.addr),
            &plain.to_string(),
            &socket,
            &abstract_socket,
            &format!("http:{http}"),
        ] {
            expect_health(addr);
        }
        await_until("all have gone", || server.descriptors() == descriptors);
        alice.await_heard();
        drop(alice);
        let log = server.stop().log;
        let lines: Vec<&str> = log
            .lines()
            .filter(|it| it.contains("connections]"))
            .collect();
        assert_eq!(lines, [""; 0], "{log}");
    }
}

#[test]
fn a_port_alone_is_that_of_this_machine_and_a_full_server_is_there() {
    let server = Server::start(&["--max-clients", "1", "-q"]);
    let _alice = server.join("alice");
    Client::connect(server.addr).expect(FULL);
    expect_health(&server.addr.port().to_string());
}

#[test]
fn what_does_not_answer_or_answers_something_else_is_a_failure_of_one_line() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("it is bound").to_string();
    let other = thread::spawn(move || {
        for words in [
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "* yes, but\r\n",
            "* yes",
        ] {
            let (mut stream, _) = listener.accept().expect("a check");
            stream.read_exact(&mut [0; 2]).expect("a question");
            stream.write_all(words.as_bytes()).expect("it reads");
        }
        listener
    });
    for _ in 0..3 {
        expect_failure(&addr, &format!("{addr} does not answer as line-chat does"));
    }
    // It still listens, and accepts nobody.
    let listener = other.join().expect("it does not panic");
    expect_failure(&addr, &format!("{addr} does not answer within 5 s"));
    drop(listener);
    let reserved = ReservedPort::new();
    let addr = format!("127.0.0.1:{}", reserved.number());
    let refused = "Connection refused (os error 111)";
    expect_failure(&addr, &format!("{addr} does not answer: {refused}"));
    let http = format!("http:{addr}");
    expect_failure(&http, &format!("{http} does not answer: {refused}"));
    let none = "unix:/nonexistent/chat.sock";
    let missing = "No such file or directory (os error 2)";
    expect_failure(none, &format!("{none} does not answer: {missing}"));
}
