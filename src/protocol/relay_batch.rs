//! What servers that share a room tell each other through the engine: a [`Batch`] is a header and up to 64
//! lines, of one server and one turn. A payload of the engine is a batch; [`Batch::parse`] checks all of it
//! before anybody sees a line, and [`BatchWriter`] writes nothing that it would refuse.
//!
//! ```text
//! 1 <node> <first> <open> <count>␊
//! <conn> <kind> <text>␊              as often as the count says
//! ```
//!
//! | field | what it is |
//! |---|---|
//! | `1` | the version of this format; any other is refused |
//! | node | 16 hexadecimal digits in lower case: a server, from one start or split to the next |
//! | first | the number of its first line; a server counts its lines from 0 |
//! | open | how many lines directly before it the server had not yet read back when it sent this |
//! | count | 1 to 64; 0 for a beat |
//! | conn | the number of the connection that the line is about |
//! | kind | a word of [`Kind`] |
//! | text | without control characters, at most 13 KiB; it may be empty |
//!
//! A beat is alone in its batch. It is no line: it takes no number, and `first` is the number of the next one. What
//! is for a single server is not counted either: its `first` and `open` are 0.
//!
//! There is one spelling only: one blank between fields, numbers without leading zeros, a line feed behind each
//! line and nothing behind the last.

use std::fmt::{self, Write};
use std::str::FromStr;

use memchr::memchr;

/// The longest batch, in bytes.
pub const MAX_BATCH_BYTES: usize = 16 << 10;

/// The most lines in a batch.
pub const MAX_LINES: u8 = 64;

/// The longest text of a line, in bytes: 4 KiB that are not UTF-8 become three times as long, and a nick is before them.
pub const MAX_TEXT_BYTES: usize = 13 << 10;

/// The longest header, in bytes, with its line feed: `first` and `open` may have 20 digits.
const MAX_HEADER_BYTES: usize = "1 ".len() + 16 + 3 + 20 + 20 + 2 + "\n".len();

const VERSION: &str = "1";

/// A server, from its start on, or from the end of a split on: 64 bits that it has drawn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = BatchError;

    fn from_str(text: &str) -> Result<Self, BatchError> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(BatchError::Node);
        }
        let number = u64::from_str_radix(text, 16);
        number.map(Self).map_err(|_| BatchError::Node)
    }
}

/// What a line is about. What its text means is the room's business, except for [`Kind::Beat`] and [`Kind::Gone`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(
    missing_docs,
    reason = "the names say it, and the room what is in the text"
)]
pub enum Kind {
    Say,
    /// A member says something that has said more than anybody can read.
    Flood,
    Act,
    Notice,
    Join,
    Here,
    Left,
    Renamed,
    Announce,
    Kick,
    Ban,
    Unban,
    Mute,
    Unmute,
    Forget,
    Voice,
    Moderate,
    /// A ban, a mute or another rule that is in force, for servers that have just come.
    Kept,
    /// The server lives; the text is a [`Beat`].
    Beat,
    /// The server of this [`NodeId`] lives no more.
    Gone,
    Word,
    Ask,
    Answer,
}

impl Kind {
    /// All kinds and their words.
    pub const WORDS: [(Self, &'static str); 23] = [
        (Self::Say, "say"),
        (Self::Flood, "flood"),
        (Self::Act, "act"),
        (Self::Notice, "notice"),
        (Self::Join, "join"),
        (Self::Here, "here"),
        (Self::Left, "left"),
        (Self::Renamed, "renamed"),
        (Self::Announce, "announce"),
        (Self::Kick, "kick"),
        (Self::Ban, "ban"),
        (Self::Unban, "unban"),
        (Self::Mute, "mute"),
        (Self::Unmute, "unmute"),
        (Self::Forget, "forget"),
        (Self::Voice, "voice"),
        (Self::Moderate, "moderate"),
        (Self::Kept, "kept"),
        (Self::Beat, "beat"),
        (Self::Gone, "gone"),
        (Self::Word, "word"),
        (Self::Ask, "ask"),
        (Self::Answer, "answer"),
    ];

    fn parse(word: &str) -> Option<Self> {
        let mut words = Self::WORDS.iter();
        words.find(|it| it.1 == word).map(|it| it.0)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        let mut words = Self::WORDS.iter();
        words.find(|it| it.0 == self).map_or("", |it| it.1)
    }
}

/// The text of a beat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beat {
    /// Nothing: the server lives.
    Alive,
    /// `new`, or `new` and a node: the server is new under this id, and asks who is here.
    New {
        /// The id that it had before.
        was: Option<NodeId>,
    },
}

impl FromStr for Beat {
    type Err = BatchError;

    fn from_str(text: &str) -> Result<Self, BatchError> {
        match text {
            "" => Ok(Self::Alive),
            "new" => Ok(Self::New { was: None }),
            _ => {
                let was = text.strip_prefix("new ").ok_or(BatchError::Beat)?;
                let was = was.parse().map_err(|_| BatchError::Beat)?;
                Ok(Self::New { was: Some(was) })
            }
        }
    }
}

impl fmt::Display for Beat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => Ok(()),
            Self::New { was: None } => f.write_str("new"),
            Self::New { was: Some(was) } => write!(f, "new {was}"),
        }
    }
}

/// Whose batch it is, and which of its lines are in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The server.
    pub node: NodeId,
    /// The number of the first line.
    pub first: u64,
    /// How many lines directly before it the server had not yet read back; never more than `first`.
    pub open: u64,
    /// The number of lines that are counted.
    pub count: u8,
}

impl Header {
    /// The number behind the last line.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// The lowest number that the server had not yet read back.
    pub fn floor(&self) -> u64 {
        self.first.saturating_sub(self.open)
    }

    fn parse(text: &str) -> Result<Self, BatchError> {
        let fields = text
            .strip_prefix(VERSION)
            .and_then(|it| it.strip_prefix(' '));
        let mut fields = fields.ok_or(BatchError::Version)?.split(' ');
        let mut field = || fields.next().ok_or(BatchError::Header);
        let node = field()?.parse()?;
        let mut value = || number(field()?).ok_or(BatchError::Header);
        let (first, open) = (value()?, value()?);
        let count = value()?.try_into().map_err(|_| BatchError::Count)?;
        if fields.next().is_some() {
            return Err(BatchError::Header);
        }
        let is_in_range = open <= first && first.checked_add(u64::from(count)).is_some();
        let header = Self {
            node,
            first,
            open,
            count,
        };
        is_in_range.then_some(header).ok_or(BatchError::Range)
    }
}

/// One line of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line<'a> {
    /// The number of the connection that it is about, on its server.
    pub conn: u64,
    /// What it is about.
    pub kind: Kind,
    /// Free of control characters; whatever else it has to be is not checked yet.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// The first word of the text, and the rest: for most kinds the nick of the one who does something, and what.
    pub fn words(self) -> (&'a str, &'a str) {
        cut_field(self.text).unwrap_or((self.text, ""))
    }

    fn parse(text: &'a str) -> Result<Self, BatchError> {
        let line = Self::split(text)?;
        let text = line.text;
        if text.len() > MAX_TEXT_BYTES {
            return Err(BatchError::TextTooLong);
        }
        if has_control(text) {
            return Err(BatchError::Control);
        }
        if line.kind == Kind::Gone {
            text.parse::<NodeId>()?;
        }
        Ok(line)
    }

    /// Finds the fields, which may say anything.
    fn split(text: &'a str) -> Result<Self, BatchError> {
        let (conn, rest) = cut_field(text).ok_or(BatchError::Line)?;
        let conn = number(conn).ok_or(BatchError::Line)?;
        let (kind, rest) = match cut_field(rest) {
            Some((kind, text)) => (kind, Some(text)),
            None => (rest, None),
        };
        let kind = Kind::parse(kind).ok_or(BatchError::Kind)?;
        let text = rest.ok_or(BatchError::Line)?;
        Ok(Self { conn, kind, text })
    }
}

/// Cuts a text at its first line feed.
fn cut_line(text: &str) -> Option<(&str, &str)> {
    let (line, rest) = text.split_at_checked(memchr(b'\n', text.as_bytes())?)?;
    Some((line, rest.get(1..)?))
}

/// Cuts a text at its first blank. What stands before it is so short that memchr would take longer.
fn cut_field(text: &str) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == b' ')?;
    let (field, rest) = text.split_at_checked(at)?;
    Some((field, rest.get(1..)?))
}

/// Whether a text has control characters. Most have none, which a look at all bytes at once tells.
fn has_control(text: &str) -> bool {
    // The others, U+0080 to U+009F, begin with this byte.
    const C1: u8 = 0xc2;
    let is_suspect = |byte: u8| (byte < b' ') | (byte == 0x7f) | (byte == C1);
    let has_suspects = text
        .bytes()
        .fold(false, |found, byte| found | is_suspect(byte));
    has_suspects && text.contains(char::is_control)
}

/// A payload of the engine that was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch<'a> {
    header: Header,
    /// The lines, of which each was parsed once.
    body: &'a str,
}

impl<'a> Batch<'a> {
    /// Checks a payload from its first byte to its last.
    ///
    /// # Errors
    /// It is no batch: nothing in it can be used.
    pub fn parse(payload: &'a [u8]) -> Result<Self, BatchError> {
        if payload.len() > MAX_BATCH_BYTES {
            return Err(BatchError::TooLong);
        }
        let text = std::str::from_utf8(payload).map_err(|_| BatchError::Utf8)?;
        let (header, body) = cut_line(text).ok_or(BatchError::Header)?;
        let header = Header::parse(header)?;
        if header.count > MAX_LINES {
            return Err(BatchError::Count);
        }
        let is_beat = header.count == 0;
        let mut left = header.count.max(1);
        let mut rest = body;
        while !rest.is_empty() {
            let (line, behind) = cut_line(rest).ok_or(BatchError::Line)?;
            let line = Line::parse(line)?;
            if is_beat != (line.kind == Kind::Beat) {
                return Err(BatchError::Beat);
            }
            if is_beat && (line.conn != 0 || line.text.parse::<Beat>().is_err()) {
                return Err(BatchError::Beat);
            }
            left = left.checked_sub(1).ok_or(BatchError::Count)?;
            rest = behind;
        }
        let batch = Self { header, body };
        (left == 0).then_some(batch).ok_or(BatchError::Count)
    }

    /// Whose batch it is.
    pub fn header(&self) -> Header {
        self.header
    }

    /// What the beat says, if it is one.
    pub fn beat(&self) -> Option<Beat> {
        if self.header.count > 0 {
            return None;
        }
        let line = self.lines().next()?;
        Some(line.text.parse().unwrap_or(Beat::Alive))
    }

    /// The lines in their order: `count` of them, or the one of a beat.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            let (line, behind) = cut_line(rest)?;
            rest = behind;
            Line::split(line).ok()
        })
    }
}

/// A batch that is being gathered.
#[derive(Debug, Default)]
pub struct BatchWriter {
    body: String,
    count: u8,
    is_beat: bool,
}

impl BatchWriter {
    /// Adds a line. `false` if there is no room for it, and nothing is added: it belongs into the next batch. A beat
    /// has room in an empty batch alone, and whatever is put into one fits.
    ///
    /// What a text must not have is changed: tabulators become blanks, other control characters U+FFFD, and the text
    /// ends after 13 KiB. What is no node in a `gone`, or no [`Beat`] in a beat, never fits.
    pub fn push(&mut self, conn: u64, kind: Kind, text: &str) -> bool {
        let is_beat = kind == Kind::Beat;
        let is_understood = match kind {
            Kind::Beat => text.parse::<Beat>().is_ok(),
            Kind::Gone => text.parse::<NodeId>().is_ok(),
            _ => true,
        };
        let is_closed = self.is_beat || self.count >= MAX_LINES || (is_beat && !self.is_empty());
        if is_closed || !is_understood {
            return false;
        }
        let before = self.body.len();
        let conn = if is_beat { 0 } else { conn };
        // A string takes whatever is written to it.
        let _ = write!(self.body, "{conn} {} ", kind.word());
        push_text(&mut self.body, text);
        self.body.push('\n');
        if self.body.len() > MAX_BATCH_BYTES.saturating_sub(MAX_HEADER_BYTES) {
            self.body.truncate(before);
            return false;
        }
        self.is_beat = is_beat;
        self.count = self.count.saturating_add(u8::from(!is_beat));
        true
    }

    /// The number of lines that are counted: none for a beat.
    pub fn len(&self) -> u8 {
        self.count
    }

    /// Whether there is nothing in it, not even a beat.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The payload. The count of the header is the one of what was added. An `open` of more than `first` is `first`.
    pub fn finish(self, header: Header) -> Vec<u8> {
        let Header {
            node, first, open, ..
        } = header;
        let open = open.min(first);
        let header = format!("{VERSION} {node} {first} {open} {}\n", self.count);
        [header, self.body].concat().into_bytes()
    }
}

/// Appends a text as it may be in a line.
fn push_text(body: &mut String, text: &str) {
    if text.len() <= MAX_TEXT_BYTES && !has_control(text) {
        return body.push_str(text);
    }
    let start = body.len();
    for c in text.chars() {
        let c = match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        let bytes = body
            .len()
            .saturating_sub(start)
            .saturating_add(c.len_utf8());
        if bytes > MAX_TEXT_BYTES {
            break;
        }
        body.push(c);
    }
}

/// Parses a number in its one spelling.
fn number(text: &str) -> Option<u64> {
    let is_plain = text == "0" || !text.starts_with('0');
    let is_number = is_plain && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Why a payload is no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchError {
    /// It has more than 16 KiB.
    TooLong,
    /// It is not UTF-8.
    Utf8,
    /// It is of another version.
    Version,
    /// The header is malformed.
    Header,
    /// An id of a server is no 16 digits.
    Node,
    /// More lines are open than there were, or the numbers have no end.
    Range,
    /// There are more or fewer lines than the header says, or more than 64.
    Count,
    /// A line is malformed.
    Line,
    /// A kind is unknown.
    Kind,
    /// A text is longer than 13 KiB.
    TextTooLong,
    /// A text has a control character.
    Control,
    /// A beat is not alone, or says something unknown.
    Beat,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the batch is too long",
            Self::Utf8 => "the batch is not UTF-8",
            Self::Version => "the batch is of another version",
            Self::Header => "the header of the batch is malformed",
            Self::Node => "the id of a server is malformed",
            Self::Range => "the numbers of the batch are impossible",
            Self::Count => "the batch has another number of lines than it says",
            Self::Line => "a line of the batch is malformed",
            Self::Kind => "the kind of a line is unknown",
            Self::TextTooLong => "the text of a line is too long",
            Self::Control => "the text of a line has a control character",
            Self::Beat => "a beat is not alone or says something unknown",
        })
    }
}

impl std::error::Error for BatchError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NODE: NodeId = NodeId(0xab);
    const HEAD: &str = "1 00000000000000ab";

    type Parsed<'a> = (Header, Vec<(u64, Kind, &'a str)>);

    fn parse(payload: &[u8]) -> Result<Parsed<'_>, BatchError> {
        let batch = Batch::parse(payload)?;
        let lines = batch.lines().map(|line| (line.conn, line.kind, line.text));
        Ok((batch.header(), lines.collect()))
    }

    fn header(first: u64, open: u64, count: u8) -> Header {
        Header {
            node: NODE,
            first,
            open,
            count,
        }
    }

    #[test]
    fn a_batch_is_a_header_and_lines() {
        for (payload, expected) in [
            (
                "1 00000000000000ab 7 2 2\n3 say hello  you \n18446744073709551615 left \n"
                    .to_owned(),
                (
                    header(7, 2, 2),
                    vec![(3, Kind::Say, "hello  you "), (u64::MAX, Kind::Left, "")],
                ),
            ),
            (
                format!(
                    "{HEAD} 18446744073709551614 18446744073709551614 1\n0 gone 00000000000000ff\n"
                ),
                (
                    header(u64::MAX - 1, u64::MAX - 1, 1),
                    vec![(0, Kind::Gone, "00000000000000ff")],
                ),
            ),
            (
                format!("{HEAD} 9 0 0\n0 beat \n"),
                (header(9, 0, 0), vec![(0, Kind::Beat, "")]),
            ),
            (
                format!("{HEAD} 9 9 0\n0 beat new\n"),
                (header(9, 9, 0), vec![(0, Kind::Beat, "new")]),
            ),
        ] {
            assert_eq!(parse(payload.as_bytes()), Ok(expected), "{payload}");
        }
    }

    #[test]
    fn a_beat_says_whether_its_server_is_new_and_who_it_was() {
        let was = |was| Some(Beat::New { was });
        for (payload, beat) in [
            ("0 0\n0 beat \n", Some(Beat::Alive)),
            ("0 0\n0 beat new\n", was(None)),
            (
                "0 0\n0 beat new 00000000000000ff\n",
                was(Some(NodeId(0xff))),
            ),
            ("0 1\n0 say new\n", None),
        ] {
            let payload = format!("{HEAD} 0 {payload}");
            let batch = Batch::parse(payload.as_bytes()).expect("it is a batch");
            assert_eq!(batch.beat(), beat, "{payload}");
            if let Some(beat) = beat {
                assert_eq!(beat.to_string().parse(), Ok(beat));
            }
        }
    }

    #[test]
    fn what_is_no_batch_is_refused_as_a_whole() {
        use BatchError::*;
        let many = |count: usize| format!(" 0 0 {count}\n{}", "0 say x\n".repeat(count));
        let text = |bytes: usize| format!(" 0 0 1\n0 say {}\n", "x".repeat(bytes));
        let ends = |behind: &str| format!(" 0 0 1\n0 say {behind}");
        for (behind, error) in [
            (many(65), Count),
            (many(256), Count),
            (format!("{}0 say x\n", many(1)), Count),
            (" 0 0 2\n0 say x\n".to_owned(), Count),
            (" 0 0 1\n".to_owned(), Count),
            (" 0 0 0\n".to_owned(), Count),
            (" 0 0 0\n0 beat \n0 beat \n".to_owned(), Count),
            (text(MAX_TEXT_BYTES + 1), TextTooLong),
            (text(16 << 10), TooLong),
            (ends("x"), Line),
            (ends("x\n\n"), Line),
            (ends("x\n0"), Line),
            (ends("a\tb\n"), Control),
            (ends("a\r\n"), Control),
            (ends("a\0\n"), Control),
            (ends("\x7f\n"), Control),
            (ends("\u{85}\n"), Control),
            (ends("\u{9b}\n"), Control),
            (String::new(), Header),
            ("\n".to_owned(), Header),
            (" 0 0\n0 say x\n".to_owned(), Header),
            (" 0 0 1 1\n0 say x\n".to_owned(), Header),
            (" 0 0 1 \n0 say x\n".to_owned(), Header),
            ("  0 0 1\n0 say x\n".to_owned(), Header),
            (" 00 0 1\n0 say x\n".to_owned(), Header),
            (" 0 0 01\n0 say x\n".to_owned(), Header),
            (" +0 0 1\n0 say x\n".to_owned(), Header),
            (" 0 -0 1\n0 say x\n".to_owned(), Header),
            (" 18446744073709551616 0 1\n0 say x\n".to_owned(), Header),
            (" 0 0 1\r\n0 say x\n".to_owned(), Header),
            ("0 0 0 1\n0 say x\n".to_owned(), Node),
            (" 18446744073709551615 0 1\n0 say x\n".to_owned(), Range),
            (" 5 6 1\n0 say x\n".to_owned(), Range),
            (" 0 0 1\nsay x\n".to_owned(), Line),
            (" 0 0 1\n0 say\n".to_owned(), Line),
            (" 0 0 1\n0\n".to_owned(), Line),
            (" 0 0 1\n\n".to_owned(), Line),
            (" 0 0 1\n01 say x\n".to_owned(), Line),
            (" 0 0 1\n 0 say x\n".to_owned(), Line),
            (" 0 0 1\n18446744073709551616 say x\n".to_owned(), Line),
            (" 0 0 1\n0 Say x\n".to_owned(), Kind),
            (" 0 0 1\n0  x\n".to_owned(), Kind),
            (" 0 0 1\n0 shout x\n".to_owned(), Kind),
            (" 0 0 1\n0 gone ff\n".to_owned(), Node),
            (" 0 0 1\n0 gone 00000000000000FF\n".to_owned(), Node),
            (" 0 0 1\n0 gone +0000000000000ff\n".to_owned(), Node),
            (" 0 0 1\n0 beat \n".to_owned(), Beat),
            (" 0 0 0\n0 say x\n".to_owned(), Beat),
            (" 0 0 0\n1 beat \n".to_owned(), Beat),
            (" 0 0 0\n0 beat old\n".to_owned(), Beat),
            (" 0 0 0\n0 beat new \n".to_owned(), Beat),
            (" 0 0 0\n0 beat new 0\n".to_owned(), Beat),
        ] {
            let payload = format!("{HEAD}{behind}");
            assert_eq!(parse(payload.as_bytes()), Err(error), "{payload:.80?}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
        for (payload, error) in [
            (&b""[..], Header),
            (b"2 00000000000000ab 0 0 1\n0 say x\n", Version),
            (b"10 0000000000000ab 0 0 1\n0 say x\n", Version),
            (b" 1 00000000000000ab 0 0 1\n0 say x\n", Version),
            (b"1 00000000000000AB 0 0 1\n0 say x\n", Node),
            (b"1 00000000000000a 0 0 1\n0 say x\n", Node),
            (b"1 00000000000000ab 0 0 1\n0 say \xff\n", Utf8),
            (b"1 00000000000000ab 0 0 1\n0 say \xc2", Utf8),
        ] {
            let shown = payload.escape_ascii();
            assert_eq!(parse(payload), Err(error), "{shown}");
        }
    }

    #[test]
    fn a_batch_is_full_by_lines_or_bytes() {
        let mut writer = BatchWriter::default();
        for _ in 0..64 {
            assert!(writer.push(1, Kind::Say, "x"));
        }
        assert!(!writer.push(1, Kind::Say, "x"));
        assert_eq!(writer.len(), 64);
        let mut writer = BatchWriter::default();
        let longest = "x".repeat(MAX_TEXT_BYTES);
        while writer.push(u64::MAX, Kind::Announce, &longest) {}
        assert_eq!(writer.len(), 1, "the longest line goes into an empty batch");
        while writer.push(0, Kind::Say, "") {}
        let batch = writer.finish(header(u64::MAX - 64, u64::MAX - 64, 0));
        assert!(batch.len() <= MAX_BATCH_BYTES, "{}", batch.len());
        assert_eq!(parse(&batch).map(|it| it.1.len()), Ok(64));
        // To the last byte, with the longest header.
        let mut writer = BatchWriter::default();
        for bytes in (0..=1200).rev() {
            writer.push(0, Kind::Say, &longest[..bytes]);
        }
        let count = u64::from(writer.len());
        assert!((10..64).contains(&count), "{count} lines");
        let batch = writer.finish(header(u64::MAX - count, u64::MAX - count, 0));
        assert_eq!(batch.len(), MAX_BATCH_BYTES);
        assert_eq!(parse(&batch).map(|it| it.1.len() as u64), Ok(count));
    }

    #[test]
    fn the_longest_header_is_as_long_as_it_is_reckoned() {
        let mut writer = BatchWriter::default();
        while writer.push(0, Kind::Say, "") {}
        let batch = writer.finish(header(u64::MAX, u64::MAX, 0));
        let line_feed = batch.iter().position(|&byte| byte == b'\n');
        assert_eq!(line_feed.expect("a header") + 1, MAX_HEADER_BYTES);
    }

    #[test]
    fn a_beat_stands_alone() {
        let mut writer = BatchWriter::default();
        assert!(!writer.push(0, Kind::Beat, "old"));
        assert!(writer.is_empty());
        assert!(writer.push(7, Kind::Beat, "new"));
        assert!(!writer.push(0, Kind::Say, "x"));
        assert!(!writer.push(0, Kind::Beat, ""));
        assert_eq!((writer.len(), writer.is_empty()), (0, false));
        let beat = writer.finish(header(3, 4, 9));
        assert_eq!(beat, format!("{HEAD} 3 3 0\n0 beat new\n").as_bytes());
        let mut writer = BatchWriter::default();
        assert!(writer.push(0, Kind::Say, "x"));
        assert!(!writer.push(0, Kind::Beat, ""));
        assert!(!writer.push(0, Kind::Gone, "ff"));
        assert_eq!(writer.len(), 1);
    }

    #[test]
    fn a_text_is_made_fit() {
        let fit = |text: &str| {
            let mut writer = BatchWriter::default();
            assert!(writer.push(0, Kind::Say, text));
            let batch = writer.finish(header(0, 0, 0));
            let (_, lines) = parse(&batch).expect("it is a batch");
            lines[0].2.to_owned()
        };
        let too_many = "é".repeat(MAX_TEXT_BYTES / 2 + 1);
        assert_eq!(fit("a\tb\nc\u{9b}"), "a b\u{fffd}c\u{fffd}");
        assert_eq!(fit(&too_many).len(), MAX_TEXT_BYTES);
        assert_eq!(fit(&format!("x{too_many}")).len(), MAX_TEXT_BYTES - 1);
    }

    fn any_kind() -> impl Strategy<Value = Kind> {
        let kinds = Kind::WORDS.into_iter().map(|it| it.0);
        let kinds = kinds.filter(|&it| it != Kind::Beat && it != Kind::Gone);
        prop::sample::select(kinds.collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn a_control_character_is_found_wherever_it_is(text in ".{0,20}", at: usize, c: char) {
            prop_assert_eq!(has_control(&text), text.contains(char::is_control));
            let mut text: Vec<char> = text.chars().collect();
            text.insert(at % (text.len() + 1), c);
            let text = String::from_iter(text);
            prop_assert_eq!(has_control(&text), text.contains(char::is_control));
        }

        #[test]
        fn no_control_character_is_overlooked(before in ".{0,20}", code in 0..0xa0_u8) {
            let c = char::from(code);
            prop_assert_eq!(has_control(&format!("{before}{c}")), has_control(&before) || c.is_control());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_written_is_read_as_it_was(
            node in any::<u64>(), first in 0..=u64::MAX - 64, open in any::<u64>(),
            lines in prop::collection::vec((any::<u64>(), any_kind(), "\\PC{0,40}"), 1..65),
        ) {
            let mut writer = BatchWriter::default();
            for (conn, kind, text) in &lines {
                prop_assert!(writer.push(*conn, *kind, text));
            }
            let header = Header { node: NodeId(node), first, open: open.min(first), count: writer.len() };
            let batch = writer.finish(header);
            let (parsed, again) = parse(&batch).expect("it was written");
            prop_assert_eq!(parsed, header);
            prop_assert_eq!(usize::from(header.count), lines.len());
            let lines: Vec<_> = lines.iter().map(|(conn, kind, text)| (*conn, *kind, &**text)).collect();
            prop_assert_eq!(again, lines);
        }

        #[test]
        fn what_is_read_is_written_as_it_was(
            mut payload in "1 [0-9a-f]{16} [0-9]{1,2} [0-9] [0-3]\n([0-9]{1,2} (say|act|beat|word) [a-c ]{0,3}\n){0,3}"
                .prop_map(String::into_bytes),
            at in any::<prop::sample::Index>(), byte in any::<u8>(), is_changed in any::<bool>(),
        ) {
            if is_changed {
                let at = at.index(payload.len());
                payload[at] = byte;
            }
            if let Ok((header, lines)) = parse(&payload) {
                let mut writer = BatchWriter::default();
                for (conn, kind, text) in lines {
                    prop_assert!(writer.push(conn, kind, text));
                }
                prop_assert_eq!(writer.len(), header.count);
                prop_assert_eq!(writer.finish(header), payload);
            }
        }
    }
}
