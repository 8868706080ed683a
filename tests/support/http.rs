//! Requests by HTTP, each over a connection of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::DEADLINE;

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream
}

/// The head and the body of the answer.
#[track_caller]
pub(crate) fn get(addr: SocketAddr, path: &str) -> (String, String) {
    let mut stream = connect(addr);
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .expect("an answer, and the end");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}
