//! From a client's bytes to what it sent: telnet's commands are taken out, then lines are found.
//! [`Decoder`] joins the two decoders, so that all other code sees only lines and answers to send.

use crate::protocol::line::{Found, LineDecoder, Pending};
use crate::protocol::telnet::{Telnet, TelnetDecoder};

/// One thing that a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A complete line, without its end.
    Line(&'a [u8]),
    /// The line that is arriving is longer than the limit; the rest of it is thrown away.
    TooLong,
    /// No more input will follow: telnet's EOF or, with line editing, ^D at the beginning of a line.
    EndOfFile,
    /// Bytes to send: the answer to a request for a telnet option, or the offer of one.
    Negotiate([u8; 3]),
    /// Telnet's AYT: the client wants a sign of life.
    AreYouThere,
    /// Telnet's NAWS: the window of the user has so many columns; 0 means that the client does not know.
    Columns(u16),
}

/// Turns the bytes of one client into what it sent, however they are split.
///
/// ```
/// use line_chat::protocol::decoder::{Decoded, Decoder, Input};
///
/// let mut decoder = Decoder::new(4096);
/// let mut input = Input::new(b"hi\xff\xf6 there\r\n"); // IAC AYT in the middle of a line
/// assert_eq!(decoder.next(&mut input), Some(Decoded::AreYouThere));
/// assert_eq!(decoder.next(&mut input), Some(Decoded::Line(b"hi there")));
/// assert_eq!(decoder.next(&mut input), None);
/// ```
#[derive(Debug, Clone)]
pub struct Decoder {
    telnet: TelnetDecoder,
    lines: LineDecoder,
}

/// Bytes on their way through a [`Decoder`].
#[derive(Debug)]
pub struct Input<'i> {
    whole: &'i [u8],
    /// The end of `whole` that the telnet decoder has not seen.
    raw: &'i [u8],
    /// Data that passed the telnet decoder and is not a line yet. In `whole` it stands directly before
    /// `raw`.
    data: &'i [u8],
}

impl<'i> Input<'i> {
    /// An input of which nothing is decoded yet.
    pub fn new(bytes: &'i [u8]) -> Self {
        Self {
            whole: bytes,
            raw: bytes,
            data: &[],
        }
    }

    /// The part that is not decoded yet. It can be decoded later, as a new input.
    pub fn rest(&self) -> &'i [u8] {
        // Data that is left over is a run without IAC: a doubled IAC is a run of its own, and no line
        // ends in it.
        let start = self.used();
        self.whole.get(start..).unwrap_or_default()
    }

    /// How many bytes are decoded.
    pub(crate) fn used(&self) -> usize {
        let left = self.raw.len().saturating_add(self.data.len());
        self.whole.len().saturating_sub(left)
    }
}

impl Decoder {
    /// A decoder for a new client, with lines of at most `max_line_bytes`.
    pub fn new(max_line_bytes: usize) -> Self {
        Self {
            telnet: TelnetDecoder::default(),
            lines: LineDecoder::new(max_line_bytes),
        }
    }

    /// Turns line editing on: ^U, ^W, ^C and ^D work as in a terminal, and arrow keys are dropped.
    #[must_use]
    pub fn with_line_editing(mut self) -> Self {
        self.lines = self.lines.with_line_editing();
        self
    }

    /// The state of this client's telnet options.
    pub fn telnet(&mut self) -> &mut TelnetDecoder {
        &mut self.telnet
    }

    /// The line that is arriving, as far as it has come.
    pub fn unfinished(&self) -> &[u8] {
        self.lines.unfinished()
    }

    /// How much memory the unfinished line holds, in bytes.
    #[inline]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.lines.memory_bytes()
    }

    /// Whether the decoder holds no state of earlier input: no line is incomplete, no line that was
    /// returned still occupies memory, and no offer is due.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.lines.is_drained() && !self.telnet.has_more()
    }

    /// How much of a line is kept here, unfinished or put back, in bytes.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.lines.kept_bytes()
    }

    /// Puts a line back that was decoded and must wait: [`next`](Self::next) returns it again before
    /// anything else.
    /// `is_checked` is kept with it.
    pub(crate) fn postpone(&mut self, line: Vec<u8>, is_checked: bool) {
        self.lines.postpone(line, is_checked);
    }

    /// Frees what is kept of a line.
    pub(crate) fn forget_line(&mut self) {
        self.lines.forget();
    }

    /// Whether there is a line that was put back with `is_checked`.
    #[inline]
    pub(crate) fn has_checked(&self) -> bool {
        self.lines.pending_is == Pending::Postponed { is_checked: true }
    }

    /// Whether there is a line that was put back.
    pub(crate) fn has_postponed(&self) -> bool {
        matches!(self.lines.pending_is, Pending::Postponed { .. })
    }

    /// Returns the next thing that the client sent, or `None` when all of `input` is used up.
    #[inline]
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut Input<'i>) -> Option<Decoded<'s>> {
        loop {
            if let Some(found) = self.lines.advance(&mut input.data) {
                return Some(match found {
                    Found::Whole(line) => Decoded::Line(line),
                    Found::Assembled => Decoded::Line(self.lines.assembled()),
                    Found::TooLong => Decoded::TooLong,
                    Found::EndOfFile => Decoded::EndOfFile,
                });
            }
            match self.telnet.next(&mut input.raw)? {
                Telnet::Data(data) => input.data = data,
                Telnet::EraseCharacter => self.lines.erase_character(),
                Telnet::EraseLine => self.lines.erase_line(),
                Telnet::AreYouThere => return Some(Decoded::AreYouThere),
                Telnet::EndOfFile => return Some(Decoded::EndOfFile),
                Telnet::Negotiate(bytes) => return Some(Decoded::Negotiate(bytes)),
                Telnet::Columns(columns) => return Some(Decoded::Columns(columns)),
            }
        }
    }

    /// [`next`](Self::next) for a caller that calls again with the rest of its input. The first
    /// `known_data` bytes are known from the last call to hold no telnet command, and are not searched
    /// again for each line.
    #[inline]
    pub(crate) fn next_of<'s, 'i: 's>(&'s mut self, bytes: &'i [u8], known_data: u16) -> Next<'s> {
        let known = bytes.split_at_checked(usize::from(known_data));
        let (data, raw) = known.unwrap_or((&[], bytes));
        let mut input = Input {
            whole: bytes,
            raw,
            data,
        };
        let found = self.next(&mut input);
        Next {
            found,
            used: input.used(),
            known_data: u16::try_from(input.data.len()).unwrap_or(u16::MAX),
        }
    }
}

/// What [`Decoder::next_of`] returns.
#[derive(Debug)]
pub(crate) struct Next<'s> {
    pub(crate) found: Option<Decoded<'s>>,
    /// How many bytes of the input are decoded.
    pub(crate) used: usize,
    /// How many bytes after those are known to hold no telnet command.
    pub(crate) known_data: u16,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode<'a>(max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut decoder = Decoder::new(max);
        let mut said = Vec::new();
        for piece in pieces {
            let mut input = Input::new(piece);
            while let Some(decoded) = decoder.next(&mut input) {
                said.push(format!("{decoded:?}"));
            }
            assert!(input.rest().is_empty());
        }
        said
    }

    /// Stops after each thing, and goes on with what is left as a new input. Some lines are put back
    /// first.
    fn decode_with_pauses(max: usize, bytes: &[u8], postpone_every: usize) -> Vec<String> {
        let mut decoder = Decoder::new(max);
        let mut said = Vec::new();
        let (mut rest, mut known_data) = (bytes, 0);
        for n in 1.. {
            let next = decoder.next_of(rest, known_data);
            (rest, known_data) = (&rest[next.used..], next.known_data);
            match next.found {
                None => break,
                Some(Decoded::Line(line)) if n % postpone_every == 0 => {
                    let line = line.to_vec();
                    decoder.postpone(line, false);
                    assert!(decoder.has_postponed() && decoder.unfinished().is_empty());
                }
                Some(decoded) => said.push(format!("{decoded:?}")),
            }
        }
        assert!(rest.is_empty());
        said
    }

    #[test]
    fn a_line_survives_a_telnet_command_inside_it() {
        let said = decode(
            99,
            [&b"he\xff\xf1l\xff\xfd\x06lo\r\xff\xf1\nx\xff\xf7y\n"[..]],
        );
        let expected = [
            Decoded::Negotiate([255, 252, 6]),
            Decoded::Negotiate([255, 253, 0]),
            Decoded::Line(b"hello"),
            Decoded::Line(b"y"),
        ];
        assert_eq!(said, expected.map(|decoded| format!("{decoded:?}")));
    }

    #[test]
    fn erase_character_and_erase_line_edit_what_is_pending() {
        let said = decode(99, [&b"wrong\xff\xf8righd\xff\xf7t\r\n"[..]]);
        assert_eq!(said, [format!("{:?}", Decoded::Line(b"right"))]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn neither_a_split_nor_a_pause_changes_what_is_decoded(
            bytes in prop::collection::vec(prop_oneof![
                3 => prop::sample::select(b"ab\r\n\0\x08\x7f".to_vec()),
                2 => Just(255u8),
                1 => 240u8..=254,
                1 => any::<u8>(),
            ], 0..120),
            cut in 0usize..120,
            max in 1usize..9,
        ) {
            let whole = decode(max, [&bytes[..]]);
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(&decode(max, [head, tail]), &whole);
            prop_assert_eq!(&decode(max, bytes.chunks(1)), &whole);
            prop_assert_eq!(&decode_with_pauses(max, &bytes, usize::MAX), &whole);
            prop_assert_eq!(&decode_with_pauses(max, &bytes, 2), &whole);
        }
    }
}
