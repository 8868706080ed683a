//! Frames of a server: [`Decoder`] cuts them off the beginning of what was read. It copies nothing, and
//! keeps nothing but two lengths: whoever has the bytes keeps those that are no whole frame yet.
//!
//! ```text
//! INFO json␍␊                                   PING␍␊
//! MSG subject sid [reply] n␍␊payload␍␊          PONG␍␊
//! HMSG subject sid [reply] hn n␍␊payload␍␊      +OK␍␊
//!                                               -ERR 'text'␍␊
//! ```
//!
//! Operations are in either case, and what is behind them is separated by blanks and tabs. Everything else
//! is as strict as it can be, because nothing tells where the next frame begins after one that was not
//! understood.
//!
//! No byte is searched twice, however small the pieces are in which it comes: the search for a line end
//! goes on where it ended, and nothing is done until a payload is there whole. A control line is parsed
//! once, or once more when its payload has come.

use std::fmt;

use memchr::memchr;

use crate::protocol::nats::headers::{HeaderError, Headers};
use crate::protocol::nats::{is_blank, number, trim};

/// The longest control line but INFO, in bytes with its line end.
pub const MAX_LINE_BYTES: usize = 4 << 10;

/// The longest INFO, in bytes with its line end.
pub const MAX_INFO_BYTES: usize = 64 << 10;

/// The longest payload, in bytes with the headers before it.
pub const MAX_PAYLOAD_BYTES: usize = 32 << 10;

const LINE_END: &[u8] = b"\r\n";

/// A piece of the input, and what is behind it.
type Split<'i> = (&'i [u8], &'i [u8]);

/// One frame of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'i> {
    /// What the server is and wants, as JSON: see [`Info::parse`](super::Info::parse). It may come at any
    /// time.
    Info(&'i [u8]),
    /// A message to one of our subscriptions.
    Message(Message<'i>),
    /// To be answered with a PONG.
    Ping,
    /// The answer to our PING.
    Pong,
    /// The answer to everything, if it was asked for.
    Ok,
    /// The server refuses something.
    Error(ServerError<'i>),
}

/// A message to a subscription. What is in it was written by others, its subject included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'i> {
    /// The subject to which it was published, or to which the server republished it.
    pub subject: &'i [u8],
    /// The number that the subscription was given.
    pub sid: u64,
    /// Where an answer is wanted.
    pub reply: Option<&'i [u8]>,
    /// The headers as they came; empty if there are none.
    pub header_block: &'i [u8],
    /// What is behind the headers.
    pub payload: &'i [u8],
}

impl<'i> Message<'i> {
    /// Parses the headers. A message without any has none of them and no status.
    ///
    /// # Errors
    /// They are malformed. That is not the server's fault, who does not look at what is published.
    pub fn headers(&self) -> Result<Headers<'i>, HeaderError> {
        Headers::parse(self.header_block)
    }
}

/// The text of an -ERR, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerError<'i>(pub &'i [u8]);

/// What an -ERR is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerErrorKind {
    /// Who we are was not accepted, or not in time. The link ends.
    Authorization,
    /// We may not publish or subscribe to a subject. The link goes on.
    Permissions,
    /// Anything else. The link usually ends.
    Other,
}

impl ServerError<'_> {
    /// What it is about, as far as that makes a difference.
    pub fn kind(&self) -> ServerErrorKind {
        let begins = |with: &str| {
            let beginning = self.0.get(..with.len());
            beginning.is_some_and(|it| it.eq_ignore_ascii_case(with.as_bytes()))
        };
        match () {
            () if begins("Permissions Violation") => ServerErrorKind::Permissions,
            // Violation, Timeout; "User Authentication Expired", "Revoked" and "Account ..." likewise.
            () if begins("Authorization") || begins("Authentication") => {
                ServerErrorKind::Authorization
            }
            () if begins("User Authentication") || begins("Account Authentication") => {
                ServerErrorKind::Authorization
            }
            () => ServerErrorKind::Other,
        }
    }
}

/// Cuts frames off the beginning of what a server sent.
///
/// ```
/// use line_chat::protocol::nats::{Decoder, Frame};
///
/// let mut decoder = Decoder::default();
/// let mut kept = b"PING\r\nMSG lc.lobby.out 1 5\r\nhe".to_vec();
/// let mut input = &kept[..];
/// assert_eq!(decoder.next(&mut input)?, Some(Frame::Ping));
/// assert_eq!(decoder.next(&mut input)?, None);
/// // What is left is kept, and decoded with what comes behind it.
/// kept = [input, b"llo\r\n"].concat();
/// let mut input = &kept[..];
/// let Some(Frame::Message(message)) = decoder.next(&mut input)? else {
///     panic!("it is whole");
/// };
/// assert_eq!((message.sid, message.payload), (1, &b"hello"[..]));
/// assert!(input.is_empty());
/// # Ok::<(), line_chat::protocol::nats::FrameError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    /// So many bytes of the input hold no line end.
    searched_bytes: usize,
    /// There is no whole frame in fewer bytes than these.
    needed_bytes: usize,
    /// How many bytes were searched in all.
    #[cfg(test)]
    looked_at: u64,
}

impl Decoder {
    /// Cuts the first frame off `input`. `None` if it is not there whole: then `input` is as before, and
    /// the next call gets the same bytes with more behind them.
    ///
    /// # Errors
    /// The input is not what a server sends, or is longer than what we take. There is no way to go on: the
    /// next call fails as well.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Frame<'i>>, FrameError> {
        if input.len() < self.needed_bytes {
            return Ok(None);
        }
        let Some((line, behind)) = self.control_line(input)? else {
            return Ok(None);
        };
        let (frame, rest) = match Operation::parse(line)? {
            Operation::Line(frame) => (frame, behind),
            Operation::Message(head) => match head.message(behind)? {
                Some((message, rest)) => (Frame::Message(message), rest),
                None => {
                    let line_bytes = input.len().saturating_sub(behind.len());
                    self.needed_bytes = line_bytes.saturating_add(head.body_bytes());
                    return Ok(None);
                }
            },
        };
        *input = rest;
        self.searched_bytes = 0;
        self.needed_bytes = 0;
        Ok(Some(frame))
    }

    /// Splits off the control line at the beginning, without its line end. `None` if it is not there whole.
    fn control_line<'i>(&mut self, input: &'i [u8]) -> Result<Option<Split<'i>>, FrameError> {
        let max_bytes = match input.split_first_chunk() {
            Some((word, [blank, ..])) if is_info(word) && is_blank(blank) => MAX_INFO_BYTES,
            _ => MAX_LINE_BYTES,
        };
        let line = input.get(..max_bytes).unwrap_or(input);
        let unsearched = line.get(self.searched_bytes..).unwrap_or_default();
        let found = memchr(b'\n', unsearched);
        #[cfg(test)]
        {
            let searched = found.map_or(unsearched.len(), |at| at + 1);
            self.looked_at += searched as u64;
        }
        let Some(at) = found else {
            self.searched_bytes = line.len();
            return match line.len() < max_bytes {
                true => Ok(None),
                false => Err(FrameError::LineTooLong { max_bytes }),
            };
        };
        // It is found again at once if the rest of the frame has to be waited for.
        self.searched_bytes = self.searched_bytes.saturating_add(at);
        let line = line.get(..self.searched_bytes).unwrap_or_default();
        let line = line.strip_suffix(b"\r").ok_or(FrameError::LineEnd)?;
        let behind = input.get(self.searched_bytes.saturating_add(1)..);
        Ok(Some((line, behind.unwrap_or_default())))
    }
}

fn is_info(word: &[u8; 4]) -> bool {
    word.eq_ignore_ascii_case(b"INFO")
}

/// What a control line says.
enum Operation<'i> {
    /// A whole frame.
    Line(Frame<'i>),
    /// A payload follows.
    Message(Head<'i>),
}

/// What stands before a payload.
#[derive(Clone, Copy)]
struct Head<'i> {
    subject: &'i [u8],
    sid: u64,
    reply: Option<&'i [u8]>,
    header_bytes: usize,
    /// With the headers.
    payload_bytes: usize,
}

impl<'i> Operation<'i> {
    fn parse(line: &'i [u8]) -> Result<Self, FrameError> {
        let end = line.iter().position(is_blank).unwrap_or(line.len());
        let (word, arguments) = line.split_at_checked(end).unwrap_or_default();
        let is = |operation: &str| word.eq_ignore_ascii_case(operation.as_bytes());
        let arguments = trim(arguments);
        let alone = |frame, operation| match arguments.is_empty() {
            true => Ok(Self::Line(frame)),
            false => Err(FrameError::Malformed(operation)),
        };
        match () {
            () if is("MSG") => Head::parse(arguments, false).map(Self::Message),
            () if is("HMSG") => Head::parse(arguments, true).map(Self::Message),
            () if is("PING") => alone(Frame::Ping, "PING"),
            () if is("PONG") => alone(Frame::Pong, "PONG"),
            () if is("INFO") => Ok(Self::Line(Frame::Info(arguments))),
            () if is("+OK") => alone(Frame::Ok, "+OK"),
            () if is("-ERR") => {
                let error = ServerError(without_quotes(arguments));
                Ok(Self::Line(Frame::Error(error)))
            }
            () => Err(FrameError::UnknownOperation),
        }
    }
}

fn without_quotes(text: &[u8]) -> &[u8] {
    let inside = text.strip_prefix(b"'");
    inside
        .and_then(|text| text.strip_suffix(b"'"))
        .unwrap_or(text)
}

impl<'i> Head<'i> {
    /// Parses `subject sid [reply] n`, or with `has_headers` `subject sid [reply] hn n`.
    fn parse(arguments: &'i [u8], has_headers: bool) -> Result<Self, FrameError> {
        let malformed = FrameError::Malformed(if has_headers { "HMSG" } else { "MSG" });
        let words = arguments.split(is_blank).filter(|word| !word.is_empty());
        let words: Words<'_> = words.collect();
        let (subject, sid, reply, headers, payload) = match (has_headers, words.get()) {
            (false, &[subject, sid, payload]) => (subject, sid, None, None, payload),
            (false, &[subject, sid, reply, payload]) => (subject, sid, Some(reply), None, payload),
            (true, &[subject, sid, headers, payload]) => {
                (subject, sid, None, Some(headers), payload)
            }
            (true, &[subject, sid, reply, headers, payload]) => {
                (subject, sid, Some(reply), Some(headers), payload)
            }
            _ => return Err(malformed),
        };
        let (sid, bytes) = number(sid).zip(number(payload)).ok_or(malformed)?;
        let header_bytes = headers.map_or(Some(0), number).ok_or(malformed)?;
        if header_bytes > bytes {
            return Err(malformed);
        }
        let within = |bytes| {
            let bytes = usize::try_from(bytes).ok();
            bytes.filter(|&bytes| bytes <= MAX_PAYLOAD_BYTES)
        };
        let (payload_bytes, header_bytes) = within(bytes)
            .zip(within(header_bytes))
            .ok_or(FrameError::PayloadTooLong { bytes })?;
        Ok(Self {
            subject,
            sid,
            reply,
            header_bytes,
            payload_bytes,
        })
    }

    /// The length of what follows the control line.
    fn body_bytes(&self) -> usize {
        self.payload_bytes.saturating_add(LINE_END.len())
    }

    /// Splits the message off what follows its control line. `None` if it is not there whole.
    fn message(&self, behind: &'i [u8]) -> Result<Option<(Message<'i>, &'i [u8])>, FrameError> {
        let Some((body, rest)) = behind.split_at_checked(self.body_bytes()) else {
            return Ok(None);
        };
        let body = body.strip_suffix(LINE_END).ok_or(FrameError::PayloadEnd)?;
        let parts = body.split_at_checked(self.header_bytes);
        let (header_block, payload) = parts.unwrap_or_default();
        let message = Message {
            subject: self.subject,
            sid: self.sid,
            reply: self.reply,
            header_block,
            payload,
        };
        Ok(Some((message, rest)))
    }
}

/// The words of a control line, without memory of their own.
#[derive(Default)]
struct Words<'i> {
    /// One more than any operation has.
    words: [&'i [u8]; 6],
    count: usize,
}

impl<'i> Words<'i> {
    fn get(&self) -> &[&'i [u8]] {
        self.words.get(..self.count).unwrap_or_default()
    }
}

impl<'i> FromIterator<&'i [u8]> for Words<'i> {
    /// Takes as many as there is room for.
    fn from_iter<T: IntoIterator<Item = &'i [u8]>>(words: T) -> Self {
        let mut this = Self::default();
        for (place, word) in this.words.iter_mut().zip(words) {
            *place = word;
            this.count = this.count.saturating_add(1);
        }
        this
    }
}

/// Why the bytes of a server were not understood. Each ends the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A control line is longer than this, with its line end.
    LineTooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// A control line ends with a LF alone.
    LineEnd,
    /// A control line begins with a word that is no operation.
    UnknownOperation,
    /// What follows this operation does not fit.
    Malformed(&'static str),
    /// A message is longer than [`MAX_PAYLOAD_BYTES`].
    PayloadTooLong {
        /// Its length.
        bytes: u64,
    },
    /// A payload is not followed by CR LF.
    PayloadEnd,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong { max_bytes } => {
                write!(
                    f,
                    "the engine sent a control line of more than {max_bytes} bytes"
                )
            }
            Self::LineEnd => f.write_str("the engine ended a control line without a CR"),
            Self::UnknownOperation => {
                f.write_str("the engine sent what is not NATS: check its address")
            }
            Self::Malformed(operation) => write!(f, "the engine sent a malformed {operation}"),
            Self::PayloadTooLong { bytes } => write!(
                f,
                "the engine sent a message of {bytes} bytes, and {MAX_PAYLOAD_BYTES} are the limit"
            ),
            Self::PayloadEnd => f.write_str("the engine ended a message without CR LF"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as text, to compare and to read.
    fn note(frame: &Frame<'_>) -> String {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match frame {
            Frame::Info(json) => format!("INFO {}", text(json)),
            Frame::Message(message) => {
                let reply = message.reply.map_or("-".to_owned(), text);
                let (head, body) = (message.header_block, message.payload);
                let subject = text(message.subject);
                format!(
                    "MSG {subject} {} {reply} <{}> <{}>",
                    message.sid,
                    text(head),
                    text(body)
                )
            }
            Frame::Ping => "PING".to_owned(),
            Frame::Pong => "PONG".to_owned(),
            Frame::Ok => "+OK".to_owned(),
            Frame::Error(error) => format!("-ERR {}", text(error.0)),
        }
    }

    /// What a server said, and how many bytes are kept at the end, or why it ended.
    type Heard = (Vec<String>, Result<usize, FrameError>);

    /// Decodes as a connection does, which keeps what is no whole frame yet.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
        let (heard, _) = decode_and_count(pieces);
        heard
    }

    /// [`decode`], and how many bytes were searched for it.
    fn decode_and_count<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Heard, u64) {
        let mut decoder = Decoder::default();
        let mut kept: Vec<u8> = Vec::new();
        let mut frames = Vec::new();
        for piece in pieces {
            kept.extend_from_slice(piece);
            let mut input = &kept[..];
            loop {
                let before = input;
                match decoder.next(&mut input) {
                    Ok(Some(frame)) => frames.push(note(&frame)),
                    Ok(None) => {
                        assert_eq!(input, before, "nothing is consumed");
                        break;
                    }
                    Err(error) => {
                        assert_eq!(decoder.next(&mut input), Err(error), "it stays an error");
                        return ((frames, Err(error)), decoder.looked_at);
                    }
                }
            }
            let used = kept.len() - input.len();
            kept.drain(..used);
        }
        ((frames, Ok(kept.len())), decoder.looked_at)
    }

    /// INFO of so many bytes, with its line end.
    fn info(bytes: usize) -> Vec<u8> {
        let begin =
            br#"INFO {"server_id":"NA","unknown":{"a":[1]},"connect_urls":["10.0.0.1:4222"],"x":""#;
        let end = b"\"} \r\n";
        let filler = vec![b'x'; bytes - begin.len() - end.len()];
        [&begin[..], &filler, end].concat()
    }

    fn message(payload_bytes: usize) -> Vec<u8> {
        let payload = vec![b'\n'; payload_bytes];
        let head = format!("MSG a 1 {payload_bytes}\r\n");
        [head.as_bytes(), &payload, b"\r\n"].concat()
    }

    /// A control line of so many bytes, with its line end.
    fn long_line(bytes: usize) -> Vec<u8> {
        let mut line = b"-ERR '".to_vec();
        line.resize(bytes - 3, b'x');
        line.extend(b"'\r\n");
        line
    }

    /// Each frame alone, and what it is.
    const FRAMES: &[(&str, &str)] = &[
        ("PING\r\n", "PING"),
        ("ping \t\r\n", "PING"),
        ("PONG\r\n", "PONG"),
        ("+OK\r\n", "+OK"),
        ("+ok\r\n", "+OK"),
        ("INFO {\"a\":1} \r\n", r#"INFO {\"a\":1}"#),
        ("info\t{}\r\n", "INFO {}"),
        ("INFO\r\n", "INFO "),
        ("-ERR 'Stale Connection'\r\n", "-ERR Stale Connection"),
        ("-err  it's me \r\n", r"-ERR it\'s me"),
        ("-ERR\r\n", "-ERR "),
        ("-ERR '\r\n", r"-ERR \'"),
        ("MSG a.b 1 5\r\nhello\r\n", "MSG a.b 1 - <> <hello>"),
        (
            "msg a 18446744073709551615 r 0\r\n\r\n",
            "MSG a 18446744073709551615 r <> <>",
        ),
        ("MSG  a\t2  00002 \t\r\n\r\n\r\n", r"MSG a 2 - <> <\r\n>"),
        (
            "MSG \u{e9}.> 1 10\r\nPING\r\nPONG\r\n",
            r"MSG \xc3\xa9.> 1 - <> <PING\r\nPONG>",
        ),
        (
            "HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
            r"MSG a 1 - <NATS/1.0\r\n\r\n> <hi>",
        ),
        (
            "hmsg a 1 _INBOX.1  16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
            r"MSG a 1 _INBOX.1 <NATS/1.0 503\r\n\r\n> <>",
        ),
        ("HMSG a 1 0 1\r\nx\r\n", "MSG a 1 - <> <x>"),
        ("HMSG a 1 3 4\r\nabcd\r\n", "MSG a 1 - <abc> <d>"),
    ];

    #[test]
    fn a_frame_is_the_same_wherever_it_is_cut() {
        let whole: Vec<u8> = FRAMES.iter().flat_map(|(frame, _)| frame.bytes()).collect();
        let expected: Vec<_> = FRAMES.iter().map(|(_, note)| (*note).to_owned()).collect();
        let expected = (expected, Ok(0));
        assert_eq!(decode([&whole[..]]), expected);
        assert_eq!(decode(whole.chunks(1)), expected);
        for cut in 0..=whole.len() {
            let (head, tail) = whole.split_at(cut);
            assert_eq!(decode([head, tail]), expected, "cut at {cut}");
        }
        for (frame, note) in FRAMES {
            assert_eq!(
                decode([frame.as_bytes()]),
                (vec![(*note).to_owned()], Ok(0))
            );
            for cut in 0..frame.len() {
                let kept = decode([&frame.as_bytes()[..cut]]);
                assert_eq!(kept, (vec![], Ok(cut)), "{cut} of {frame:?}");
            }
        }
    }

    #[test]
    fn a_long_info_is_the_same_wherever_it_is_cut() {
        let long = info(60 << 10);
        let json = &long[5..long.len() - 3];
        assert_eq!(
            super::super::Info::parse(json).map(|it| it.server_id),
            Ok("NA".to_owned())
        );
        for cut in 0..=long.len() {
            let mut decoder = Decoder::default();
            if cut < long.len() {
                assert_eq!(decoder.next(&mut &long[..cut]), Ok(None), "{cut}");
            }
            let mut input = &long[..];
            assert_eq!(
                decoder.next(&mut input),
                Ok(Some(Frame::Info(json))),
                "{cut}"
            );
            assert!(input.is_empty());
        }
    }

    #[test]
    fn each_limit_is_reached_and_not_passed() {
        let line = |max_bytes| Err(FrameError::LineTooLong { max_bytes });
        for (input, expected) in [
            (info(MAX_INFO_BYTES), Ok(0)),
            (info(MAX_INFO_BYTES + 1), line(MAX_INFO_BYTES)),
            (
                info(MAX_INFO_BYTES)[..MAX_INFO_BYTES - 1].to_vec(),
                Ok(MAX_INFO_BYTES - 1),
            ),
            (
                info(MAX_INFO_BYTES + 9)[..MAX_INFO_BYTES].to_vec(),
                line(MAX_INFO_BYTES),
            ),
            (long_line(MAX_LINE_BYTES), Ok(0)),
            (long_line(MAX_LINE_BYTES + 1), line(MAX_LINE_BYTES)),
            (vec![b'x'; MAX_LINE_BYTES - 1], Ok(MAX_LINE_BYTES - 1)),
            (vec![b'x'; MAX_LINE_BYTES], line(MAX_LINE_BYTES)),
            (
                [b"INFO".to_vec(), vec![b'x'; MAX_LINE_BYTES]].concat(),
                line(MAX_LINE_BYTES),
            ),
            (message(MAX_PAYLOAD_BYTES), Ok(0)),
            (
                message(MAX_PAYLOAD_BYTES + 1),
                Err(FrameError::PayloadTooLong { bytes: 32_769 }),
            ),
            (
                b"HMSG a 1 12 1048576\r\n".to_vec(),
                Err(FrameError::PayloadTooLong { bytes: 1 << 20 }),
            ),
        ] {
            let (_, end) = decode([&input[..]]);
            assert_eq!(
                end,
                expected,
                "{:?}",
                input.escape_ascii().take(40).collect::<Vec<_>>()
            );
            let (_, end) = decode(input.chunks(1));
            assert_eq!(end, expected, "byte by byte");
        }
    }

    #[test]
    fn what_no_server_sends_ends_the_link() {
        use FrameError::*;
        let msg = Malformed("MSG");
        let hmsg = Malformed("HMSG");
        for (input, error) in [
            ("\r\n", UnknownOperation),
            (" PING\r\n", UnknownOperation),
            ("PINGS\r\n", UnknownOperation),
            ("INFO{}\r\n", UnknownOperation),
            ("OK\r\n", UnknownOperation),
            ("PUB a 1\r\nx\r\n", UnknownOperation),
            ("HTTP/1.1 400 Bad Request\r\n", UnknownOperation),
            ("PING\n", LineEnd),
            ("\n", LineEnd),
            ("PING\r\r\n", UnknownOperation),
            ("PING 1\r\n", Malformed("PING")),
            ("PONG \r \r\n", Malformed("PONG")),
            ("+OK fine\r\n", Malformed("+OK")),
            ("MSG\r\n", msg),
            ("MSG a 1\r\n", msg),
            ("MSG a 1 r 5 6\r\nhello\r\n", msg),
            ("MSG a x 5\r\nhello\r\n", msg),
            ("MSG a 18446744073709551616 5\r\nhello\r\n", msg),
            ("MSG a -1 5\r\nhello\r\n", msg),
            ("MSG a 1 +5\r\nhello\r\n", msg),
            ("MSG a 1 -0\r\n\r\n", msg),
            ("MSG a 1 0x5\r\nhello\r\n", msg),
            ("MSG a 1 99999999999999999999\r\n", msg),
            ("MSG a 1 32769\r\n", PayloadTooLong { bytes: 32_769 }),
            ("MSG a 1 4\r\nhello\r\n", PayloadEnd),
            ("MSG a 1 5\r\nhello\n\n", PayloadEnd),
            ("MSG a 1 6\r\nhello\r\nPING\r\n", PayloadEnd),
            ("HMSG a 1 5\r\nhello\r\n", hmsg),
            ("HMSG a 1 6 5\r\nhello\r\n", hmsg),
            ("HMSG a 1 r r 5 5\r\nhello\r\n", hmsg),
            ("HMSG a 1 -1 5\r\nhello\r\n", hmsg),
            ("HMSG a 1 99999 32769\r\n", hmsg),
            (
                "HMSG a 1 12 4294967308\r\n",
                PayloadTooLong {
                    bytes: 4_294_967_308,
                },
            ),
        ] {
            assert_eq!(
                decode([input.as_bytes()]),
                (vec![], Err(error)),
                "{input:?}"
            );
            assert_eq!(
                decode(input.as_bytes().chunks(1)),
                (vec![], Err(error)),
                "{input:?}"
            );
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }

    #[test]
    fn nothing_is_searched_twice() {
        // The bytes, and how many of them are in control lines with a payload, which are found again when
        // that has come.
        let with_payload = [message(MAX_PAYLOAD_BYTES), message(0)].concat();
        for (input, searched) in [
            (info(60 << 10), 60 << 10),
            (long_line(MAX_LINE_BYTES), 4096),
            (vec![b'x'; MAX_LINE_BYTES], 4096),
            (with_payload, 15 + 1 + 11 + 1),
        ] {
            let (_, count) = decode_and_count(input.chunks(1));
            assert_eq!(count, searched, "byte by byte");
            let (_, count) = decode_and_count([&input[..]]);
            assert!(count <= searched, "{count} at once");
        }
    }

    #[test]
    fn an_error_is_about_who_we_are_or_what_we_may() {
        use ServerErrorKind::*;
        for (text, kind) in [
            ("Authorization Violation", Authorization),
            ("authorization violation", Authorization),
            ("Authentication Timeout", Authorization),
            ("Authentication Expired", Authorization),
            ("User Authentication Expired", Authorization),
            ("User Authentication Revoked", Authorization),
            ("Account Authentication Expired", Authorization),
            ("Permissions Violation for Publish to \"a\"", Permissions),
            (
                "Permissions Violation for Subscription to \"a\"",
                Permissions,
            ),
            ("Stale Connection", Other),
            ("Maximum Payload Violation", Other),
            ("maximum control line exceeded", Other),
            ("", Other),
        ] {
            assert_eq!(ServerError(text.as_bytes()).kind(), kind, "{text}");
        }
    }

    /// The same language, as plainly as it can be written: the rest from its beginning, as words of a text.
    fn naive(input: &[u8]) -> Heard {
        let latin = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|&byte| char::from(byte))
                .collect::<String>()
        };
        let escape = |text: &str| {
            let bytes: Vec<u8> = text
                .chars()
                .map(|c| u8::try_from(c).expect("Latin-1"))
                .collect();
            bytes.escape_ascii().to_string()
        };
        let digits = |word: &str| {
            let is_number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
            let short = word.trim_start_matches('0');
            let value = format!("0{}", &short[..short.len().min(25)]);
            let value: u128 = value.parse().unwrap_or(u128::MAX);
            (is_number && value <= u128::from(u64::MAX)).then_some(value)
        };
        let mut text = latin(input);
        let mut frames = Vec::new();
        let error = loop {
            let upper = text.to_ascii_uppercase();
            let is_info = upper.starts_with("INFO ") || upper.starts_with("INFO\t");
            let max_bytes = if is_info { 65_536 } else { 4096 };
            let chars = text.chars().count();
            let end = text.chars().position(|c| c == '\n');
            let Some(end) = end.filter(|&end| end < max_bytes) else {
                match chars < max_bytes {
                    true => return (frames, Ok(chars)),
                    false => break FrameError::LineTooLong { max_bytes },
                }
            };
            let line: String = text.chars().take(end).collect();
            let Some(line) = line.strip_suffix('\r') else {
                break FrameError::LineEnd;
            };
            let behind: String = text.chars().skip(end + 1).collect();
            let first = line.split([' ', '\t']).next().expect("a word").to_owned();
            let arguments = line[first.len()..].trim_matches([' ', '\t']);
            let words = arguments.split([' ', '\t']).filter(|word| !word.is_empty());
            let words: Vec<&str> = words.collect();
            let operation = first.to_ascii_uppercase();
            match operation.as_str() {
                "PING" | "PONG" | "+OK" if words.is_empty() => frames.push(operation),
                "PING" => break FrameError::Malformed("PING"),
                "PONG" => break FrameError::Malformed("PONG"),
                "+OK" => break FrameError::Malformed("+OK"),
                "INFO" => frames.push(format!("INFO {}", escape(arguments))),
                "-ERR" => {
                    let quoted = arguments.len() >= 2
                        && arguments.starts_with('\'')
                        && arguments.ends_with('\'');
                    let inside = match quoted {
                        true => &arguments[1..arguments.len() - 1],
                        false => arguments,
                    };
                    frames.push(format!("-ERR {}", escape(inside)));
                }
                "MSG" | "HMSG" => {
                    let numbers = if operation == "MSG" { 1 } else { 2 };
                    let malformed = if numbers == 1 { "MSG" } else { "HMSG" };
                    let malformed = FrameError::Malformed(malformed);
                    if words.len() != 2 + numbers && words.len() != 3 + numbers {
                        break malformed;
                    }
                    let reply = match words.len() == 3 + numbers {
                        true => escape(words[2]),
                        false => "-".to_owned(),
                    };
                    let total = digits(words[words.len() - 1]);
                    let head = match numbers {
                        1 => Some(0),
                        _ => digits(words[words.len() - 2]),
                    };
                    let (Some(sid), Some(total), Some(head)) = (digits(words[1]), total, head)
                    else {
                        break malformed;
                    };
                    if head > total {
                        break malformed;
                    }
                    if total > 32_768 {
                        let bytes = u64::try_from(total).expect("it is no more");
                        break FrameError::PayloadTooLong { bytes };
                    }
                    let (head, total) = (head as usize, total as usize);
                    let body: Vec<char> = behind.chars().take(total + 2).collect();
                    if body.len() < total + 2 {
                        return (frames, Ok(chars));
                    }
                    if body[total..] != ['\r', '\n'] {
                        break FrameError::PayloadEnd;
                    }
                    let part = |range: &[char]| escape(&range.iter().collect::<String>());
                    frames.push(format!(
                        "MSG {} {sid} {reply} <{}> <{}>",
                        escape(words[0]),
                        part(&body[..head]),
                        part(&body[head..total])
                    ));
                    text = behind.chars().skip(total + 2).collect();
                    continue;
                }
                _ => break FrameError::UnknownOperation,
            }
            text = behind;
        };
        (frames, Err(error))
    }

    /// What a server may send, with a few changes at random.
    fn random_input(rng: &mut fastrand::Rng) -> Vec<u8> {
        let mut input = Vec::new();
        for _ in 0..rng.usize(1..6) {
            let (frame, _) = FRAMES[rng.usize(0..FRAMES.len())];
            match rng.u8(0..64) {
                0 => input.extend(message(rng.usize(32_760..32_772))),
                1 => input.extend(long_line(rng.usize(4090..4100))),
                2 => input.extend(info(rng.usize(65_530..65_540))),
                _ => input.extend_from_slice(frame.as_bytes()),
            }
        }
        for _ in 0..rng.usize(0..4) {
            let near = rng.bool();
            let at = rng.usize(
                0..=if near {
                    input.len().min(60)
                } else {
                    input.len()
                },
            );
            let odd = b" \t\r\n0129+-'.MHPINGO\0\xff";
            let byte = odd[rng.usize(0..odd.len())];
            match rng.u8(0..4) {
                0 => input.insert(at, byte),
                1 if at < input.len() => input[at] = byte,
                2 if at < input.len() => drop(input.remove(at)),
                3 => input.truncate(at.max(3)),
                _ => {}
            }
        }
        input
    }

    #[test]
    fn a_naive_parser_hears_the_same_in_whatever_pieces_it_comes() {
        let mut ends = [0; 8];
        for seed in 0..3000 {
            let rng = &mut fastrand::Rng::with_seed(seed);
            let input = random_input(rng);
            let expected = naive(&input);
            ends[match expected.1 {
                Ok(0) => 0,
                Ok(_) => 1,
                Err(FrameError::LineTooLong { .. }) => 2,
                Err(FrameError::LineEnd) => 3,
                Err(FrameError::UnknownOperation) => 4,
                Err(FrameError::Malformed(_)) => 5,
                Err(FrameError::PayloadTooLong { .. }) => 6,
                Err(FrameError::PayloadEnd) => 7,
            }] += 1;
            assert_eq!(decode([&input[..]]), expected, "seed {seed}");
            let (head, tail) = input.split_at(rng.usize(0..=input.len()));
            assert_eq!(decode([head, tail]), expected, "seed {seed}");
            if input.len() < 1000 {
                assert_eq!(decode(input.chunks(1)), expected, "seed {seed}");
            }
            let pieces = rng.usize(1..9000);
            assert_eq!(decode(input.chunks(pieces)), expected, "seed {seed}");
        }
        assert!(
            ends.iter().all(|&count| count >= 10),
            "each end came about: {ends:?}"
        );
    }
}
