//! Frames to a server, appended to a buffer that grows. What could break a frame has a type that was
//! parsed: [`Subject`], [`Filter`], [`Header`].
//!
//! Whoever publishes keeps to the [`max_payload`](super::Info::max_payload) of the server, with the headers
//! counted: what is longer ends the link.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use bytes::BufMut;
use serde::Serialize;

use crate::config::relay::RelayAuth;
use crate::protocol::nats::subject::{Filter, Subject};

const HEADERS_BEGIN: &[u8] = b"NATS/1.0\r\n";
const LINE_END: &[u8] = b"\r\n";

/// What a client tells of itself.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'a> {
    /// Its name, for the logs of the server.
    pub name: &'a str,
    /// How it proves who it is.
    pub auth: &'a RelayAuth,
    /// Whether it gets what it publishes itself, where it listens.
    pub echo: bool,
}

/// [`Connect`] as a server reads it.
#[derive(Serialize)]
struct Options<'a> {
    verbose: bool,
    pedantic: bool,
    headers: bool,
    no_responders: bool,
    protocol: u8,
    echo: bool,
    lang: &'a str,
    version: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<&'a str>,
}

/// CONNECT: the answer to the first INFO.
pub fn connect(out: &mut impl BufMut, connect: &Connect<'_>) {
    let (user, pass, auth_token) = match connect.auth {
        RelayAuth::None => (None, None, None),
        RelayAuth::User { user, password } => (Some(user.as_str()), Some(password.reveal()), None),
        RelayAuth::Token(token) => (None, None, Some(token.reveal())),
    };
    let options = Options {
        verbose: false,
        pedantic: false,
        headers: true,
        no_responders: true,
        // The server tells of changes of its cluster.
        protocol: 1,
        echo: connect.echo,
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        name: connect.name,
        user,
        pass,
        auth_token,
    };
    out.put_slice(b"CONNECT ");
    // Text and flags always become JSON, and the buffer grows.
    let _ = serde_json::to_writer((&mut *out).writer(), &options);
    out.put_slice(LINE_END);
}

/// PING: whatever the server has sent before its PONG was sent before this came.
pub fn ping(out: &mut impl BufMut) {
    out.put_slice(b"PING\r\n");
}

/// PONG: the answer to a PING.
pub fn pong(out: &mut impl BufMut) {
    out.put_slice(b"PONG\r\n");
}

/// SUB: messages to `filter` come with the number `sid`.
pub fn subscribe(out: &mut impl BufMut, filter: &Filter, sid: u64) {
    put(out, format_args!("SUB {filter} {sid}\r\n"));
}

/// UNSUB: no more messages with that number, or none after `max` since it was subscribed.
pub fn unsubscribe(out: &mut impl BufMut, sid: u64, max: Option<u64>) {
    match max {
        Some(max) => put(out, format_args!("UNSUB {sid} {max}\r\n")),
        None => put(out, format_args!("UNSUB {sid}\r\n")),
    }
}

/// PUB: a message.
pub fn publish(out: &mut impl BufMut, subject: &Subject, reply: Option<&Subject>, payload: &[u8]) {
    put(out, format_args!("PUB {subject} "));
    put_reply(out, reply);
    put(out, format_args!("{}\r\n", payload.len()));
    out.put_slice(payload);
    out.put_slice(LINE_END);
}

/// HPUB: a message with headers.
pub fn publish_with_headers(
    out: &mut impl BufMut,
    subject: &Subject,
    reply: Option<&Subject>,
    headers: &[Header<'_>],
    payload: &[u8],
) {
    let ends = HEADERS_BEGIN.len().saturating_add(LINE_END.len());
    let fields = headers.iter().map(Header::bytes);
    let header_bytes = fields.fold(ends, usize::saturating_add);
    let bytes = header_bytes.saturating_add(payload.len());
    put(out, format_args!("HPUB {subject} "));
    put_reply(out, reply);
    put(out, format_args!("{header_bytes} {bytes}\r\n"));
    out.put_slice(HEADERS_BEGIN);
    for Header { name, value } in headers {
        put(out, format_args!("{name}: {value}\r\n"));
    }
    out.put_slice(LINE_END);
    out.put_slice(payload);
    out.put_slice(LINE_END);
}

fn put_reply(out: &mut impl BufMut, reply: Option<&Subject>) {
    if let Some(reply) = reply {
        put(out, format_args!("{reply} "));
    }
}

fn put(out: &mut impl BufMut, text: fmt::Arguments<'_>) {
    // A buffer that grows takes everything.
    let _ = out.writer().write_fmt(text);
}

/// A header of a message that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    name: &'a str,
    value: Cow<'a, str>,
}

impl<'a> Header<'a> {
    /// Makes a header of a name and a value.
    ///
    /// # Errors
    /// They would be read as something else: the name is not visible ASCII without a colon, or the value
    /// has a control character in it or a blank around it.
    pub fn new(name: &'a str, value: &'a str) -> Result<Self, BadHeader> {
        let is_named =
            !name.is_empty() && name.bytes().all(|it| it.is_ascii_graphic() && it != b':');
        let is_outer_blank = value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']);
        let breaks = |c: char| c.is_control() && c != '\t';
        match is_named && !is_outer_blank && !value.contains(breaks) {
            true => Ok(Self {
                name,
                value: value.into(),
            }),
            false => Err(BadHeader),
        }
    }

    /// The message is stored only if the last one with its subject is at this place of the stream; at 0 if
    /// there is none.
    pub fn expected_last_subject_sequence(sequence: u64) -> Self {
        Self {
            name: "Nats-Expected-Last-Subject-Sequence",
            value: sequence.to_string().into(),
        }
    }

    /// Its length on the wire.
    fn bytes(&self) -> usize {
        let text = self.name.len().saturating_add(self.value.len());
        text.saturating_add(": \r\n".len())
    }
}

/// A name and a value that are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHeader;

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name or the value of a header would be read as something else")
    }
}

impl std::error::Error for BadHeader {}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::config::relay::RelayUrl;
    use crate::protocol::nats::decode::{Decoder, Frame, MAX_LINE_BYTES};
    use crate::protocol::nats::subject::MAX_SUBJECT_BYTES;

    fn encoded(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.into()).expect("UTF-8")
    }

    fn subject(text: &str) -> Subject {
        text.parse().expect("a subject")
    }

    fn connected(url: &str, name: &str) -> String {
        let url: RelayUrl = url.parse().expect("a URL");
        let options = Connect {
            name,
            auth: &url.auth,
            echo: false,
        };
        encoded(|out| connect(out, &options))
    }

    const VERSION: &str = env!("CARGO_PKG_VERSION");

    #[test]
    fn connect_says_what_we_can_do_and_who_we_are() {
        let begin = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\
             \"protocol\":1,\"echo\":false,\"lang\":\"rust\",\"version\":\"{VERSION}\",\"name\":"
        );
        for (url, name, expected) in [
            ("nats://h", "n", r#""n"}"#),
            ("nats://u:p@h", "n", r#""n","user":"u","pass":"p"}"#),
            ("nats://t@h", "n", r#""n","auth_token":"t"}"#),
            (
                "nats://u%22:%5C%22%7D@h",
                "a\r\n\"b\"",
                r#""a\r\n\"b\"","user":"u\"","pass":"\\\"}"}"#,
            ),
        ] {
            assert_eq!(connected(url, name), format!("{begin}{expected}\r\n"));
        }
    }

    #[test]
    fn the_longest_connect_is_a_control_line() {
        let longest = "%5C".repeat(512);
        let line = connected(&format!("nats://{longest}:{longest}@h"), "line-chat");
        assert!(line.len() <= MAX_LINE_BYTES, "{}", line.len());
    }

    #[test]
    fn frames_are_what_the_protocol_says() {
        let (s, r) = (&subject("lc.t.in"), &subject("_INBOX.1"));
        let all: Filter = "lc.t.>".parse().expect("a filter");
        let headers = [
            Header::expected_last_subject_sequence(0),
            Header::new("X", "a\tb").expect("a header"),
        ];
        for (frame, expected) in [
            (encoded(ping), "PING\r\n"),
            (encoded(pong), "PONG\r\n"),
            (encoded(|out| subscribe(out, &all, 7)), "SUB lc.t.> 7\r\n"),
            (encoded(|out| unsubscribe(out, 7, None)), "UNSUB 7\r\n"),
            (encoded(|out| unsubscribe(out, 7, Some(1))), "UNSUB 7 1\r\n"),
            (
                encoded(|out| publish(out, s, None, b"hello\r\n")),
                "PUB lc.t.in 7\r\nhello\r\n\r\n",
            ),
            (
                encoded(|out| publish(out, s, Some(r), b"")),
                "PUB lc.t.in _INBOX.1 0\r\n\r\n",
            ),
            (
                encoded(|out| publish_with_headers(out, s, None, &[], b"x")),
                "HPUB lc.t.in 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
            ),
            (
                encoded(|out| publish_with_headers(out, s, Some(r), &headers, b"x")),
                "HPUB lc.t.in _INBOX.1 60 61\r\nNATS/1.0\r\n\
                 Nats-Expected-Last-Subject-Sequence: 0\r\nX: a\tb\r\n\r\nx\r\n",
            ),
        ] {
            assert_eq!(frame, expected);
        }
    }

    #[test]
    fn what_would_be_read_as_something_else_is_no_header() {
        for (name, value) in [
            ("", "a"),
            ("a b", "a"),
            ("a:", "a"),
            ("a\r\n", "a"),
            ("é", "a"),
            ("a", "b\r\nc: d"),
            ("a", "b\n"),
            ("a", "b\0"),
            ("a", " b"),
            ("a", "b\t"),
        ] {
            assert_eq!(
                Header::new(name, value),
                Err(BadHeader),
                "{name:?} {value:?}"
            );
        }
        for (name, value) in [("a", ""), ("Nats-Msg-Id", "é: 1")] {
            assert!(Header::new(name, value).is_ok(), "{name:?} {value:?}");
        }
    }

    /// A server sends what it got with another word before it and our number behind the subject.
    fn delivered(published: &[u8], sid: u64) -> Vec<u8> {
        let text = String::from_utf8(published.to_vec()).expect("UTF-8");
        let (operation, rest) = text.split_once(' ').expect("a blank");
        let (subject, rest) = rest.split_once(' ').expect("a blank");
        let operation = operation.replace("PUB", "MSG");
        format!("{operation} {subject} {sid} {rest}").into_bytes()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let pick = |rng: &mut fastrand::Rng, from: &str, max: usize| -> String {
                let chars: Vec<char> = from.chars().collect();
                let count = rng.usize(0..=max);
                (0..count)
                    .map(|_| chars[rng.usize(0..chars.len())])
                    .collect()
            };
            let token = |rng: &mut fastrand::Rng| {
                let long = if rng.u8(..) == 0 {
                    MAX_SUBJECT_BYTES / 4
                } else {
                    9
                };
                subject(&format!(
                    "x{}.{}y",
                    pick(rng, "aé$_-", long),
                    pick(rng, "01", 3)
                ))
            };
            let (to, reply) = (token(&mut rng), token(&mut rng));
            let reply = rng.bool().then_some(&reply);
            let payload = pick(&mut rng, "a\r\n é", 64);
            let names = ["Nats-Sequence", "a", "!"];
            let values: Vec<_> = (0..rng.usize(0..4))
                .map(|_| (names[rng.usize(0..3)], pick(&mut rng, "a:é'", 9)))
                .collect();
            let headers = values.iter().map(|(name, value)| Header::new(name, value));
            let headers: Vec<_> = headers.map(|it| it.expect("a header")).collect();
            let has_headers = rng.bool();
            let mut out = Vec::new();
            match has_headers {
                true => publish_with_headers(&mut out, &to, reply, &headers, payload.as_bytes()),
                false => publish(&mut out, &to, reply, payload.as_bytes()),
            }

            let sid = rng.u64(..);
            let bytes = delivered(&out, sid);
            let mut input = &bytes[..];
            let frame = Decoder::default().next(&mut input);
            let Ok(Some(Frame::Message(message))) = frame else {
                panic!("seed {seed}: {frame:?}");
            };
            assert!(input.is_empty(), "seed {seed}");
            assert_eq!(message.sid, sid);
            assert_eq!(message.subject, to.as_str().as_bytes());
            let expected = reply.map(|reply| reply.as_str().as_bytes());
            assert_eq!(message.reply, expected, "seed {seed}");
            assert_eq!(message.payload, payload.as_bytes(), "seed {seed}");
            let found = message.headers().expect("headers");
            let found: Vec<_> = found.iter().collect();
            let values = values
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let expected: Vec<_> = values.filter(|_| has_headers).collect();
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}
