//! What a client said: telnet's commands taken out, then lines. [`Decoder`] joins the two, so that
//! everything behind it sees lines, answers to send and nothing else.

use crate::protocol::line::{Found, LineDecoder};
use crate::protocol::telnet::{Telnet, TelnetDecoder};

/// One thing that a client said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A complete line, without its end.
    Line(&'a [u8]),
    /// The line that is arriving is longer than the limit; the rest of it is thrown away.
    TooLong,
    /// A telnet option was asked for: these bytes refuse it.
    Refuse([u8; 3]),
    /// Telnet's AYT: a sign of life is wanted.
    AreYouThere,
}

/// Turns the bytes of one client into what it said, however they were split.
#[derive(Debug)]
pub struct Decoder {
    telnet: TelnetDecoder,
    lines: LineDecoder,
}

/// Bytes on their way through a [`Decoder`].
#[derive(Debug)]
pub struct Input<'i> {
    whole: &'i [u8],
    /// Not yet seen by the telnet decoder: an end of `whole`.
    raw: &'i [u8],
    /// Data that telnet passed and that is not yet a line; it stands in `whole` directly before
    /// `raw`.
    data: &'i [u8],
}

impl<'i> Input<'i> {
    /// All of `bytes` is still to be decoded.
    pub fn new(bytes: &'i [u8]) -> Self {
        Self {
            whole: bytes,
            raw: bytes,
            data: &[],
        }
    }

    /// What is still to be decoded. It can be decoded later, as a new input.
    pub fn rest(&self) -> &'i [u8] {
        // Data that is left over is a run without IAC: a doubled one is a run of its own, and no
        // line ends in it.
        &self.whole[self.whole.len() - self.raw.len() - self.data.len()..]
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

    /// The same for a client at which somebody types, who can erase a word and the line.
    #[must_use]
    pub fn with_line_editing(mut self) -> Self {
        self.lines = self.lines.with_line_editing();
        self
    }

    /// Offers to echo what the client types, as telnet's ECHO; gives the bytes that say so.
    pub fn offer_echo(&mut self) -> [u8; 3] {
        self.telnet.offer_echo()
    }

    /// The line that is arriving, as far as it has come.
    pub fn unfinished(&self) -> &[u8] {
        self.lines.unfinished()
    }

    /// The next thing that the client said, or `None` when all of `input` is used up.
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut Input<'i>) -> Option<Heard<'s>> {
        self.lines.forget_handed_out();
        loop {
            if let Some(found) = self.lines.advance(&mut input.data) {
                return Some(match found {
                    Found::Whole(line) => Heard::Line(line),
                    Found::Assembled => Heard::Line(self.lines.assembled()),
                    Found::TooLong => Heard::TooLong,
                });
            }
            match self.telnet.next(&mut input.raw)? {
                Telnet::Data(data) => input.data = data,
                Telnet::EraseCharacter => self.lines.erase_character(),
                Telnet::EraseLine => self.lines.erase_line(),
                Telnet::AreYouThere => return Some(Heard::AreYouThere),
                Telnet::Refuse(bytes) => return Some(Heard::Refuse(bytes)),
            }
        }
    }
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
            while let Some(heard) = decoder.next(&mut input) {
                said.push(format!("{heard:?}"));
            }
            assert!(input.rest().is_empty());
        }
        said
    }

    /// Stops after each thing heard, and goes on with what is left as a new input.
    fn decode_with_pauses(max: usize, bytes: &[u8]) -> Vec<String> {
        let mut decoder = Decoder::new(max);
        let mut said = Vec::new();
        let mut rest = bytes;
        loop {
            let mut input = Input::new(rest);
            let Some(heard) = decoder.next(&mut input) else {
                return said;
            };
            said.push(format!("{heard:?}"));
            rest = input.rest();
        }
    }

    #[test]
    fn a_line_survives_a_telnet_command_inside_it() {
        let said = decode(
            99,
            [&b"he\xff\xf1l\xff\xfd\x06lo\r\xff\xf1\nx\xff\xf7y\n"[..]],
        );
        let expected = [
            Heard::Refuse([255, 252, 6]),
            Heard::Line(b"hello"),
            Heard::Line(b"y"),
        ];
        assert_eq!(said, expected.map(|heard| format!("{heard:?}")));
    }

    #[test]
    fn erase_character_and_erase_line_edit_what_is_pending() {
        let said = decode(99, [&b"wrong\xff\xf8righd\xff\xf7t\r\n"[..]]);
        assert_eq!(said, [format!("{:?}", Heard::Line(b"right"))]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn neither_a_split_nor_a_pause_changes_what_is_heard(
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
            prop_assert_eq!(&decode_with_pauses(max, &bytes), &whole);
        }
    }
}
