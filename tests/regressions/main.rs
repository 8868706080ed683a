//! Faults that a review found. Each test is named for what it keeps out, and failed on the code that
//! had the fault; the number in `ignore` is the fault's number in the review. A test that is ignored
//! waits for its fault to be mended: `cargo test --test regressions -- --ignored`.
//!
//! The tests know the wire, the flags and the process, and of the library only what an embedder
//! uses, so that they hold whatever becomes of the code behind that.

// A helper that cannot go on fails its test.
#![allow(clippy::expect_used, clippy::panic)]

mod accept;
mod closing;
mod embedding;
mod files;
mod log;
mod memory;
mod people;
mod skipping;
#[path = "../support/mod.rs"]
mod support;

use std::iter;
use std::net::TcpStream;

use socket2::SockRef;

use support::child::{Client, Server};
use support::{ARE_YOU_THERE, YES};

/// A person at a prompt, who has joined and has read everything up to there.
#[track_caller]
fn person(server: &Server, nick: &str) -> Client {
    let mut person = server.connect();
    person.say(nick);
    lines_until_now(&mut person);
    person
}

/// A client without a nick, whose kernel takes little of what it does not read.
#[track_caller]
fn connect_with_small_buffer(server: &Server) -> Client {
    let stream = TcpStream::connect(server.addr).expect("the server listens");
    let socket = SockRef::from(&stream);
    socket.set_recv_buffer_size(32 << 10).expect("SO_RCVBUF");
    Client::new(stream)
}

/// Every line that the server has for a client when it has obeyed all that the client sent.
#[track_caller]
fn lines_until_now(client: &mut Client) -> Vec<String> {
    // A person that asks twice in a row is taken for a keep-alive.
    client.send(b"\r\n");
    client.send(ARE_YOU_THERE);
    let line = || next_line(client).expect("the server is there");
    iter::repeat_with(line)
        .take_while(|line| line != YES)
        .collect()
}

/// The next line, or `None` if the server has closed the connection.
#[track_caller]
fn next_line(client: &mut Client) -> Option<String> {
    let line = client.line_as_sent()?;
    Some(without_telnet(&line))
}

/// A line without its end, and without telnet's commands, each of which has three bytes here.
fn without_telnet(line: &[u8]) -> String {
    let mut text = Vec::new();
    let mut rest = line.trim_ascii_end();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == 0xff {
            rest = behind.get(2..).unwrap_or_default();
        } else {
            text.push(byte);
            rest = behind;
        }
    }
    let text = String::from_utf8(text).expect("UTF-8");
    text.trim_matches(['\0', '\r']).to_owned()
}
