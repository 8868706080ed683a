//! A bare client of the engine, with nothing but line-chat's codec.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use line_chat::RelayAuth;
use line_chat::protocol::nats::encode::{self, Connect};
use line_chat::protocol::nats::jetstream::{self, StreamConfig};
use line_chat::protocol::nats::{Decoder, Filter, Frame, Subject, names};
use line_chat::protocol::relay_batch::{Batch, BatchWriter, Header, Kind, NodeId};

use crate::util::dialect::{self, LINE_BYTES};

/// How many batches of a client may be out.
const MOST_OUT: usize = 16;

const DEADLINE: Duration = Duration::from_secs(5);

/// Where a client publishes, and where it listens.
#[derive(Debug, Clone)]
pub(crate) struct Subjects {
    pub(crate) said: Subject,
    pub(crate) heard: Subject,
}

impl Subjects {
    /// NATS alone, which keeps nothing and puts nothing in order.
    pub(crate) fn core() -> Self {
        let subject: Subject = "lc.bare.core".parse().expect("a subject");
        Self {
            said: subject.clone(),
            heard: subject,
        }
    }

    /// Through a stream as line-chat has it.
    pub(crate) fn stream() -> Self {
        let room = "bare".parse().expect("a name");
        Self {
            said: names::lines_in(&room),
            heard: names::lines_out(&room),
        }
    }
}

/// What a bare client knows.
#[derive(Debug)]
pub(crate) struct Bare {
    decoder: Decoder,
    subjects: Subjects,
    node: NodeId,
    /// The most lines of a batch.
    lines: u8,
    gathered: VecDeque<[u8; LINE_BYTES]>,
    /// The number of the next line, and how many batches are out.
    first: u64,
    out: usize,
}

impl Bare {
    pub(crate) fn new(subjects: Subjects, number: u64, lines: u8) -> Self {
        Self {
            decoder: Decoder::default(),
            subjects,
            node: NodeId(number),
            lines,
            gathered: VecDeque::new(),
            first: 0,
            out: 0,
        }
    }

    pub(crate) fn say(&mut self, line: &[u8; LINE_BYTES]) {
        self.gathered.push_back(*line);
    }

    /// Publishes what is gathered, as far as batches may be out.
    pub(crate) fn flush(&mut self, unsent: &mut Vec<u8>) {
        while self.out < MOST_OUT && !self.gathered.is_empty() {
            let count = self.gathered.len().min(self.lines.into());
            let mut writer = BatchWriter::default();
            for line in self.gathered.drain(..count) {
                let text = &line[dialect::TEXT.start..LINE_BYTES - 2];
                let text = std::str::from_utf8(text).expect("ASCII");
                assert!(writer.push(self.node.0, Kind::Say, text), "it fits");
            }
            let header = Header {
                node: self.node,
                first: self.first,
                open: 0,
                count: writer.len(),
            };
            encode::publish(unsent, &self.subjects.said, None, &writer.finish(header));
            self.first += count as u64;
            self.out += 1;
        }
    }

    /// Tells the lines that came, and returns how many bytes are no whole frame. What has to be answered
    /// goes to `unsent`.
    pub(crate) fn hear(
        &mut self,
        mut bytes: &[u8],
        unsent: &mut Vec<u8>,
        on_line: &mut impl FnMut(usize, u64),
    ) -> usize {
        while let Some(frame) = self.decoder.next(&mut bytes).expect("frames") {
            match frame {
                Frame::Message(message) => {
                    let batch = Batch::parse(message.payload).expect("a batch");
                    for line in batch.lines() {
                        let number = line_number(line.text.as_bytes()).expect("a line");
                        on_line(line.conn as usize, number);
                    }
                    self.out -= usize::from(batch.header().node == self.node);
                }
                Frame::Ping => encode::pong(unsent),
                Frame::Error(error) => panic!("{}", error.0.escape_ascii()),
                _ => {}
            }
        }
        bytes.len()
    }
}

/// The number in the text of a line, if the rest of it is as it was said.
pub(crate) fn line_number(text: &[u8]) -> Option<u64> {
    let (digits, filler) = text.split_at_checked(8)?;
    let is_whole = dialect::FILLER.strip_suffix(b"\r\n") == Some(filler);
    number(digits).filter(|_| is_whole)
}

pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        Some(number * 10 + u64::from(digit))
    })
}

/// A connection to the engine that hears what goes to a subject.
pub(crate) fn connect(engine: SocketAddr, heard: &Subject) -> TcpStream {
    let mut stream = TcpStream::connect(engine).expect("the engine listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let connect = Connect {
        name: "bench",
        auth: &RelayAuth::None,
        echo: true,
    };
    let mut out = Vec::new();
    encode::connect(&mut out, &connect);
    encode::subscribe(&mut out, &Filter::from(heard.clone()), 1);
    encode::ping(&mut out);
    stream.write_all(&out).expect("the engine reads");
    await_frame(&mut stream, |frame| matches!(frame, Frame::Pong));
    stream
}

/// Makes the stream of [`Subjects::stream`].
pub(crate) fn make_stream(engine: SocketAddr) {
    let inbox: Subject = "_INBOX.bench".parse().expect("a subject");
    let mut stream = connect(engine, &inbox);
    let config = StreamConfig::lines(&"bare".parse().expect("a name"), 1);
    let (request, mut out) = (jetstream::create_stream(&config), Vec::new());
    encode::publish(&mut out, &request.subject, Some(&inbox), &request.body);
    stream.write_all(&out).expect("the engine reads");
    await_frame(&mut stream, |frame| match frame {
        Frame::Message(answer) => {
            jetstream::parse_stream(answer.payload).expect("a stream");
            true
        }
        _ => false,
    });
}

/// Reads byte by byte up to a frame, so that nothing is taken that comes after it.
fn await_frame(stream: &mut TcpStream, is_it: impl Fn(Frame<'_>) -> bool) {
    let (mut decoder, mut bytes) = (Decoder::default(), Vec::new());
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the engine answers");
        bytes.extend(byte);
        let mut rest = &bytes[..];
        match decoder.next(&mut rest).expect("frames") {
            Some(frame) if is_it(frame) => return,
            Some(_) => bytes.clear(),
            None => {}
        }
    }
}

/// Asks for a page.
pub(crate) fn http(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    page
}
