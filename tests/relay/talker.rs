//! A client: a person at a prompt, or a script.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::deadline;
use crate::support::rig::OFFER;
use crate::support::{ARE_YOU_THERE, YES, hello};

pub(crate) struct Talker {
    stream: TcpStream,
    received: Vec<u8>,
    has_ended: bool,
    is_plain: bool,
}

impl Talker {
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let wait = Some(Duration::from_millis(20));
        stream.set_read_timeout(wait).expect("a deadline");
        Self {
            stream,
            received: Vec::new(),
            has_ended: false,
            is_plain: false,
        }
    }

    /// A person who has read its welcome.
    #[track_caller]
    pub(crate) fn join(addr: SocketAddr, nick: &str) -> Self {
        let mut talker = Self::connect(addr);
        talker.say(nick);
        talker.until_any(|line| line.starts_with(&format!("* welcome, {nick}.")));
        talker.sync();
        talker
    }

    /// A script that was let in.
    #[track_caller]
    pub(crate) fn join_plainly(addr: SocketAddr, nick: &str) -> Self {
        let mut talker = Self::connect(addr);
        talker.is_plain = true;
        talker.send(&hello(nick));
        talker.until(YES);
        talker
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) {
        self.send(format!("{text}\r\n").as_bytes());
    }

    /// Reads all that its server has sent it until now, and returns it.
    #[track_caller]
    pub(crate) fn sync(&mut self) -> Vec<String> {
        if self.is_plain {
            self.send(ARE_YOU_THERE);
            return self.until(YES);
        }
        // A person that asks twice whether anybody is there gets no answer to read.
        self.say("/time");
        let mut read = self.until_any(|line| line.starts_with("* it is "));
        read.pop();
        read
    }

    /// Reads until this line, and returns those before it.
    #[track_caller]
    pub(crate) fn until(&mut self, line: &str) -> Vec<String> {
        let mut before = self.read_until(&format!("\"{line}\""), |it| it == line);
        before.pop();
        before
    }

    /// Reads until such a line, and returns what was read, that line last.
    #[track_caller]
    pub(crate) fn until_any(&mut self, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        self.read_until("such a line", is_it)
    }

    /// The next lines are these.
    #[track_caller]
    pub(crate) fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.until(line), [""; 0], "before \"{line}\"");
        }
    }

    /// Reads until the server closes, and returns what it has said.
    #[track_caller]
    pub(crate) fn until_end(&mut self) -> Vec<String> {
        let start = Instant::now();
        while !self.has_ended {
            assert!(
                start.elapsed() < deadline(),
                "it does not end: {:?}",
                self.lines()
            );
            self.read_some();
        }
        let lines = self.lines();
        self.received.clear();
        lines
    }

    #[track_caller]
    fn read_until(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        let start = Instant::now();
        loop {
            let mut lines = self.lines();
            if let Some(at) = lines.iter().position(|it| is_it(it)) {
                let rest = lines.split_off(at + 1);
                let rest = rest.iter().map(|line| format!("{line}\r\n"));
                let partial = self.received.rsplit(|&byte| byte == b'\n').next();
                let partial = partial.unwrap_or_default().to_vec();
                self.received = rest.collect::<String>().into_bytes();
                self.received.extend(partial);
                return lines;
            }
            assert!(start.elapsed() < deadline(), "no {what} in {lines:#?}");
            assert!(
                !self.has_ended,
                "the server has closed before {what}: {lines:#?}"
            );
            self.read_some();
        }
    }

    /// The whole lines that were received; those of the server that were broken for a terminal are joined again.
    fn lines(&self) -> Vec<String> {
        let whole = self.received.iter().rposition(|&byte| byte == b'\n');
        let whole = self.received.get(..whole.map_or(0, |it| it + 1));
        let mut bytes = whole.unwrap_or_default();
        let mut text = Vec::new();
        while let Some((first, rest)) = bytes.split_first() {
            bytes = match bytes.strip_prefix(OFFER) {
                Some(behind) => behind,
                None => {
                    text.push(*first);
                    rest
                }
            };
        }
        let text = String::from_utf8(text).expect("UTF-8");
        let text = text.replace("\r\n*   ", " ");
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }

    #[track_caller]
    fn read_some(&mut self) {
        let mut chunk = vec![0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.has_ended = true,
            Ok(n) => self.received.extend_from_slice(&chunk[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.has_ended = true,
            Err(error) => panic!("{error}"),
        }
    }
}
