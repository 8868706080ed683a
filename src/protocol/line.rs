//! Turns bytes into lines: [`LineDecoder`] finds the line ends, applies erasures and discards over-long
//! lines. It looks at each byte once and keeps at most one unfinished line. Its result does not depend
//! on how the bytes were split, because TCP does not preserve the boundaries of writes.
//!
//! A line ends with `\r\n`, `\n`, `\r\0` (RFC 854, "The NVT Printer and Keyboard") or a lone `\r`. It
//! is complete at its `\r`; a `\n` or NUL that follows, however late, is swallowed. Any other NUL is
//! ignored (RFC 854): it is padding or a keep-alive. BS and DEL erase the code point before them, so a
//! terminal in character mode can be used.
//!
//! With line editing, more keys work as in a terminal's own line editor (termios(3)): ^U and ^C erase
//! the line, ^W erases its last word, and ^D at the beginning of a line ends the input. All other keys
//! that are not characters are dropped, such as arrow keys and the brackets around a paste.

use memchr::{memchr2, memchr3};

use crate::protocol::keys::{KeySequence, Take};

const NUL: u8 = 0x00;
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BS: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const CTRL_W: u8 = 0x17;
const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;

/// From this length on memchr is faster.
const LONG_LINE_BYTES: usize = 128;

/// What a [`LineDecoder`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A complete line: its bytes without the line end, erasures applied. It may be empty.
    Text(&'a [u8]),
    /// The line that is arriving passed the limit. This is reported once, when the limit is passed;
    /// the rest of that line is thrown away as it comes.
    TooLong,
    /// ^D at the beginning of a line: no more input will follow.
    EndOfFile,
}

/// Splits a stream of bytes into lines of at most `max_line_bytes`.
///
/// ```
/// use line_chat::protocol::line::{Line, LineDecoder};
///
/// let mut lines = LineDecoder::new(4096);
/// let mut data: &[u8] = b"hi\r\nwor";
/// assert_eq!(lines.next(&mut data), Some(Line::Text(b"hi")));
/// assert_eq!(lines.next(&mut data), None);
/// let mut data: &[u8] = b"m\x08ld\n";
/// assert_eq!(lines.next(&mut data), Some(Line::Text(b"world")));
/// ```
#[derive(Debug, Clone)]
pub struct LineDecoder {
    /// The unfinished line, erasures applied; at most `max_line_bytes` long. Its memory is freed with
    /// the line.
    pending: Vec<u8>,
    /// Only four bytes, because each connection has one.
    max_line_bytes: u32,
    /// What `pending` holds.
    pub(super) pending_is: Pending,
    /// The last byte was a CR: a LF or NUL that comes next belongs to it.
    after_cr: bool,
    /// The key sequence that is being received, if line editing is on.
    keys: KeySequence,
}

/// What the buffer of a decoder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    /// The beginning of a line.
    Unfinished,
    /// A complete line that was returned: it is dropped before the next byte.
    HandedOut,
    /// A complete line that is to be returned again. `is_checked`: it waited for a check of a peer,
    /// which was made.
    Postponed { is_checked: bool },
    /// Nothing to keep: the current line passed the limit, and everything up to its end is discarded.
    Discarded,
}

/// [`Line`] without a borrow of the decoder: an assembled line stays in `pending` until it is
/// fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'i> {
    /// The whole line lies in the input; nothing was copied.
    Whole(&'i [u8]),
    /// The line is in the decoder: [`LineDecoder::assembled`].
    Assembled,
    TooLong,
    EndOfFile,
}

/// Why the rest of a segment is not appended to the line.
enum Stop<'t> {
    TooLong,
    EndOfFile { rest: &'t [u8] },
}

impl LineDecoder {
    /// A decoder at the beginning of a line. A line's length is counted in bytes, without its end
    /// and after erasures.
    pub fn new(max_line_bytes: usize) -> Self {
        Self {
            pending: Vec::new(),
            max_line_bytes: u32::try_from(max_line_bytes).unwrap_or(u32::MAX),
            pending_is: Pending::Unfinished,
            after_cr: false,
            keys: KeySequence::Ignored,
        }
    }

    /// Turns line editing on.
    #[must_use]
    pub fn with_line_editing(mut self) -> Self {
        self.keys = KeySequence::None;
        self
    }

    /// Consumes `data` up to the next line end and returns what it found, or consumes all of it and
    /// returns `None`.
    pub fn next<'s, 'i: 's>(&'s mut self, data: &mut &'i [u8]) -> Option<Line<'s>> {
        Some(match self.advance(data)? {
            Found::Whole(text) => Line::Text(text),
            Found::Assembled => Line::Text(self.assembled()),
            Found::TooLong => Line::TooLong,
            Found::EndOfFile => Line::EndOfFile,
        })
    }

    /// [`next`](Self::next) for callers that loop: its result does not borrow the decoder.
    pub(crate) fn advance<'i>(&mut self, data: &mut &'i [u8]) -> Option<Found<'i>> {
        match self.pending_is {
            Pending::Postponed { .. } => {
                self.pending_is = Pending::HandedOut;
                return Some(Found::Assembled);
            }
            Pending::HandedOut => self.forget_handed_out(),
            Pending::Unfinished | Pending::Discarded => {}
        }
        if self.after_cr {
            self.swallow_after_cr(data);
        }
        while !data.is_empty() {
            let whole = *data;
            let (text, ended) = self.take_segment(data);
            match self.accept(text, ended) {
                Ok(None) => {}
                Ok(found) => return found,
                Err(used) => {
                    // Everything after the ^D is still to be decoded, including the line end.
                    self.after_cr = false;
                    *data = whole.get(used..).unwrap_or_default();
                    return Some(Found::EndOfFile);
                }
            }
        }
        None
    }

    /// The line that [`advance`](Self::advance) called assembled; valid until the decoder is used
    /// again.
    pub(crate) fn assembled(&self) -> &[u8] {
        &self.pending
    }

    /// The line that is arriving, as far as it has come, erasures applied.
    pub fn unfinished(&self) -> &[u8] {
        match self.pending_is {
            Pending::Unfinished | Pending::Discarded => &self.pending,
            Pending::HandedOut | Pending::Postponed { .. } => &[],
        }
    }

    /// Whether no line is kept: neither one that is arriving nor one that was handed out.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.pending.is_empty()
            && matches!(self.pending_is, Pending::Unfinished | Pending::Discarded)
    }

    /// How much of a line is kept here that was not handed out for good, in bytes.
    pub(crate) fn kept_bytes(&self) -> usize {
        match self.pending_is {
            Pending::Unfinished | Pending::Postponed { .. } => self.pending.len(),
            Pending::HandedOut | Pending::Discarded => 0,
        }
    }

    /// Drops a line that was returned, and frees its memory.
    pub(crate) fn forget_handed_out(&mut self) {
        if self.pending_is == Pending::HandedOut {
            self.pending_is = Pending::Unfinished;
            self.pending = Vec::new();
        }
    }

    /// Frees whatever is kept.
    pub(crate) fn forget(&mut self) {
        if self.pending_is != Pending::Discarded {
            self.pending_is = Pending::Unfinished;
        }
        self.pending = Vec::new();
    }

    /// Keeps a line that was returned, to return it again before anything else.
    pub(crate) fn postpone(&mut self, line: Vec<u8>, is_checked: bool) {
        self.pending = line;
        self.pending_is = Pending::Postponed { is_checked };
    }

    #[inline]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.pending.capacity()
    }

    /// Erases the last code point of the unfinished line (telnet's EC, a terminal's BS and DEL). A
    /// malformed byte counts as in the standard library's lossy decoding.
    pub fn erase_character(&mut self) {
        self.forget_handed_out();
        let keep = self
            .pending
            .len()
            .saturating_sub(last_character_bytes(&self.pending));
        if keep == 0 {
            // The memory is freed with the line.
            self.pending = Vec::new();
        }
        self.pending.truncate(keep);
    }

    /// Erases the last word of the unfinished line, and the white space behind it.
    fn erase_word(&mut self) {
        let is_space = |byte: &u8| matches!(*byte, b' ' | b'\t');
        let end = self.pending.iter().rposition(|byte| !is_space(byte));
        let words = self.pending.get(..end.unwrap_or(0)).unwrap_or_default();
        match words.iter().rposition(is_space) {
            Some(space) => self.pending.truncate(space.saturating_add(1)),
            None => self.erase_line(),
        }
    }

    /// Erases the unfinished line (telnet's EL).
    pub fn erase_line(&mut self) {
        self.forget_handed_out();
        self.pending = Vec::new();
    }

    /// Drops a `\n` or NUL that belongs to the CR before it.
    fn swallow_after_cr(&mut self, data: &mut &[u8]) {
        if let Some((&byte, rest)) = data.split_first() {
            self.after_cr = false;
            if byte == b'\n' || byte == b'\0' {
                *data = rest;
            }
        }
    }

    /// Cuts off everything before the next line end, and that byte. Returns whether there was one.
    #[inline]
    fn take_segment<'i>(&mut self, data: &mut &'i [u8]) -> (&'i [u8], bool) {
        let end = memchr2(b'\r', b'\n', data);
        let Some((text, &byte, rest)) = end.and_then(|end| split_around(data, end)) else {
            return (std::mem::take(data), false);
        };
        self.after_cr = byte == b'\r';
        *data = rest;
        if self.after_cr {
            self.swallow_after_cr(data);
        }
        (text, true)
    }

    /// Takes a segment of a line, including the line end if it was received. Returns what was found, or
    /// `Err` with the number of bytes of the segment up to an end of file.
    #[inline]
    fn accept<'i>(&mut self, text: &'i [u8], ended: bool) -> Result<Option<Found<'i>>, usize> {
        if self.pending_is == Pending::Discarded {
            if ended {
                self.pending_is = Pending::Unfinished;
                self.keys.end();
            }
            return Ok(None);
        }
        if ended && self.pending.is_empty() && !self.keys.is_arriving() && !self.has_control(text) {
            return Ok(Some(if text.len() > self.max_line_bytes as usize {
                Found::TooLong
            } else {
                Found::Whole(text)
            }));
        }
        match self.append(text) {
            Ok(()) => {}
            Err(Stop::TooLong) => {
                self.pending = Vec::new();
                if !ended {
                    self.pending_is = Pending::Discarded;
                }
                self.keys.end();
                return Ok(Some(Found::TooLong));
            }
            Err(Stop::EndOfFile { rest }) => return Err(text.len().saturating_sub(rest.len())),
        }
        if ended {
            self.pending_is = Pending::HandedOut;
            self.keys.end();
        }
        Ok(ended.then_some(Found::Assembled))
    }

    /// Appends the characters to the unfinished line, and applies the keys that edit it.
    fn append<'t>(&mut self, mut text: &'t [u8]) -> Result<(), Stop<'t>> {
        loop {
            if self.keys.is_arriving() {
                text = self.take_key(text);
            }
            let place = self.find_control(text);
            let Some((before, &control, rest)) = place.and_then(|at| split_around(text, at)) else {
                return self.append_plain(text);
            };
            self.append_plain(before)?;
            text = rest;
            match control {
                BS | DEL => self.erase_character(),
                CTRL_U | CTRL_C => self.erase_line(),
                CTRL_W => self.erase_word(),
                CTRL_D if self.pending.is_empty() => return Err(Stop::EndOfFile { rest }),
                ESC => self.keys.begin(),
                // NUL is ignored, and so are keys that do not edit a line.
                _ => {}
            }
        }
    }

    /// Drops the bytes that belong to the key sequence in progress. Returns the rest.
    fn take_key<'t>(&mut self, mut text: &'t [u8]) -> &'t [u8] {
        while let Some((&byte, rest)) = text.split_first() {
            match self.keys.take(byte) {
                Take::More => text = rest,
                Take::Last => return rest,
                Take::NotMine => return text,
            }
        }
        text
    }

    /// Whether a line contains a byte that is not appended. Short lines do not go through
    /// [`find_control`](Self::find_control), which would cost them more than everything else together.
    #[inline]
    fn has_control(&self, text: &[u8]) -> bool {
        if text.len() > LONG_LINE_BYTES {
            return self.find_control(text).is_some();
        }
        // No branch per byte: 16 at a time, and the last 16 may overlap the ones before.
        let any = |found, &byte: &u8| found | (byte == NUL) | (byte == BS) | (byte == DEL);
        let is_plain = self.keys == KeySequence::Ignored;
        let Some(last) = text.last_chunk::<16>() else {
            return match is_plain {
                true => text.iter().fold(false, any),
                false => contains_control(text),
            };
        };
        let (chunks, _) = text.as_chunks::<16>();
        let mut chunks = chunks.iter().chain([last]);
        match is_plain {
            true => chunks.any(|chunk| chunk.iter().fold(false, any)),
            false => chunks.any(|chunk| contains_control(chunk)),
        }
    }

    /// Returns the position of the next byte that is not appended.
    fn find_control(&self, text: &[u8]) -> Option<usize> {
        if self.keys == KeySequence::Ignored {
            memchr3(NUL, BS, DEL, text)
        } else {
            first_control(text)
        }
    }

    fn append_plain<'t>(&mut self, text: &[u8]) -> Result<(), Stop<'t>> {
        if self.pending.len().saturating_add(text.len()) > self.max_line_bytes as usize {
            return Err(Stop::TooLong);
        }
        self.pending.extend_from_slice(text);
        Ok(())
    }
}

/// A C0 control other than TAB, or DEL.
fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == DEL
}

/// Whether a byte of `bytes` is a control. No branch per byte, so the compiler can look at all of them
/// at once.
#[inline]
fn contains_control(bytes: &[u8]) -> bool {
    let any = |found, &byte: &u8| found | is_control(byte);
    bytes.iter().fold(false, any)
}

/// Returns the position of the first control. Never inlined, because the short lines that do not need it
/// would pay for it.
#[inline(never)]
fn first_control(text: &[u8]) -> Option<usize> {
    let (chunks, _) = text.as_chunks::<16>();
    let is_plain = |chunk: &&[u8; 16]| !contains_control(*chunk);
    let plain = chunks.iter().take_while(is_plain).flatten().count();
    let at = text.get(plain..)?.iter().position(|&byte| is_control(byte));
    at.map(|at| plain.saturating_add(at))
}

/// What is before a byte, the byte, and what is behind it.
#[inline]
fn split_around(bytes: &[u8], place: usize) -> Option<(&[u8], &u8, &[u8])> {
    let (before, rest) = bytes.split_at_checked(place)?;
    let (byte, rest) = rest.split_first()?;
    Some((before, byte, rest))
}

/// How many bytes at the end of `text` are its last code point, or its last malformed sequence.
fn last_character_bytes(text: &[u8]) -> usize {
    let tail = text.last_chunk::<4>().map_or(text, |tail| tail.as_slice());
    let is_continuation = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let Some(lead) = tail.iter().rposition(|byte| !is_continuation(byte)) else {
        // Four continuation bytes: the last of them belongs to no code point.
        return tail.len().min(1);
    };
    let last = tail.get(lead..).unwrap_or_default();
    match last.utf8_chunks().last() {
        Some(chunk) if chunk.invalid().is_empty() => {
            chunk.valid().chars().next_back().map_or(0, char::len_utf8)
        }
        Some(chunk) => chunk.invalid().len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a decoder said, owned.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Said {
        Text(Vec<u8>),
        TooLong,
        EndOfFile,
    }

    fn decode<'a>(max: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Said> {
        decode_with(LineDecoder::new(max), pieces)
    }

    fn decode_with<'a>(
        mut lines: LineDecoder,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<Said> {
        let max = lines.max_line_bytes as usize;
        let mut said = Vec::new();
        for mut piece in pieces {
            while let Some(line) = lines.next(&mut piece) {
                said.push(match line {
                    Line::Text(text) => Said::Text(text.to_vec()),
                    Line::TooLong => Said::TooLong,
                    Line::EndOfFile => Said::EndOfFile,
                });
            }
            assert!(piece.is_empty());
            assert!(lines.pending.len() <= max);
        }
        said
    }

    /// Splits into lines first and then decodes each line alone, without any of the shortcuts.
    fn naive(max: usize, edits: bool, input: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        let mut line = Vec::new();
        let mut previous = 0;
        for &byte in input {
            let swallowed = previous == b'\r' && (byte == b'\n' || byte == 0);
            previous = if swallowed { 0 } else { byte };
            match byte {
                _ if swallowed => {}
                b'\r' | b'\n' => {
                    said.extend(naive_line(max, edits, &line, true));
                    line.clear();
                }
                0 => {}
                _ => line.push(byte),
            }
        }
        said.extend(naive_line(max, edits, &line, false));
        said
    }

    fn naive_line(max: usize, edits: bool, mut input: &[u8], ended: bool) -> Vec<Said> {
        let mut said = Vec::new();
        let mut line = Vec::new();
        while let Some((&byte, rest)) = input.split_first() {
            input = rest;
            match byte {
                BS | DEL => erase_naively(&mut line),
                CTRL_U | CTRL_C if edits => line.clear(),
                CTRL_W if edits => erase_word_naively(&mut line),
                CTRL_D if edits && line.is_empty() => said.push(Said::EndOfFile),
                ESC if edits => input = &rest[naive_key_bytes(rest)..],
                0..b' ' if edits && byte != b'\t' => {}
                _ => line.push(byte),
            }
            if line.len() > max {
                said.push(Said::TooLong);
                return said;
            }
        }
        said.extend(ended.then_some(Said::Text(line)));
        said
    }

    /// Returns how many bytes after an ESC belong to it, as ECMA-48 and xterm define its sequences.
    fn naive_key_bytes(rest: &[u8]) -> usize {
        let is_final = |byte: &u8| (b'@'..=b'~').contains(byte);
        let parameters = |bytes: &[u8]| {
            let is_parameter = |byte: &&u8| (b' '..=b'?').contains(*byte);
            bytes.iter().take(30).take_while(is_parameter).count()
        };
        match rest {
            [ESC, rest @ ..] => 1 + naive_key_bytes(rest),
            [b'[', b'[', last, ..] | [b'O', last, ..] if is_final(last) => {
                2 + usize::from(rest[0] == b'[')
            }
            [b'[', b'[', ..] => 2,
            [b'O', ..] => 1,
            [b'[', rest @ ..] => {
                let count = parameters(rest);
                let has_final = count < 30 && rest.get(count).is_some_and(is_final);
                1 + count + usize::from(has_final)
            }
            [b']', rest @ ..] => {
                for (at, byte) in rest.iter().enumerate() {
                    match byte {
                        _ if at == 30 => return 1 + at,
                        0x07 => return 2 + at,
                        &ESC if rest.get(at + 1) == Some(&b'\\') => return 3 + at,
                        &ESC => return 2 + at + naive_key_bytes(&rest[at + 1..]),
                        0..b' ' => return 1 + at,
                        _ => {}
                    }
                }
                1 + rest.len()
            }
            [b' '..=DEL | BS, ..] => 1,
            [0xc2..=0xf4, ..] => {
                let missing = match rest[0] {
                    0xc2..=0xdf => 1,
                    0xe0..=0xef => 2,
                    _ => 3,
                };
                let is_continuation = |byte: &&u8| (0x80..=0xbf).contains(*byte);
                let rest = rest[1..].iter().take(missing);
                1 + rest.take_while(is_continuation).count()
            }
            _ => 0,
        }
    }

    /// Decodes the whole line to find where its last character begins.
    fn erase_naively(line: &mut Vec<u8>) {
        let mut lengths = Vec::new();
        for chunk in line.utf8_chunks() {
            lengths.extend(chunk.valid().chars().map(char::len_utf8));
            lengths.extend(Some(chunk.invalid().len()).filter(|&length| length > 0));
        }
        line.truncate(line.len() - lengths.last().copied().unwrap_or(0));
    }

    fn erase_word_naively(line: &mut Vec<u8>) {
        while line.pop_if(|byte| b" \t".contains(byte)).is_some() {}
        while line.pop_if(|byte| !b" \t".contains(byte)).is_some() {}
    }

    fn texts(lines: &[&[u8]]) -> Vec<Said> {
        lines.iter().map(|line| Said::Text(line.to_vec())).collect()
    }

    #[test]
    fn each_line_end_ends_one_line() {
        let input: &[u8] = b"a\r\nb\nc\r\0d\re";
        assert_eq!(decode(9, [input]), texts(&[b"a", b"b", b"c", b"d"]));
    }

    #[test]
    fn a_line_is_complete_at_its_cr_and_a_late_lf_is_swallowed() {
        let mut lines = LineDecoder::new(9);
        let mut data: &[u8] = b"a\r";
        assert_eq!(lines.next(&mut data), Some(Line::Text(b"a")));
        assert_eq!(lines.next(&mut data), None);
        let mut data: &[u8] = b"\nb\r";
        assert_eq!(lines.next(&mut data), Some(Line::Text(b"b")));
        let mut data: &[u8] = b"\0\n";
        assert_eq!(lines.next(&mut data), Some(Line::Text(b"")));
    }

    #[test]
    fn a_line_of_the_limit_passes_and_one_byte_more_does_not() {
        assert_eq!(decode(3, [&b"abc\nd\n"[..]]), texts(&[b"abc", b"d"]));
        let said = vec![Said::TooLong, Said::Text(b"d".to_vec())];
        assert_eq!(decode(3, [&b"abcd\nd\n"[..]]), said);
        assert_eq!(
            decode(3, [&b"ab"[..], b"cd", b"efghijklmnop\n", b"d\n"]),
            said
        );
    }

    #[test]
    fn what_is_erased_of_an_over_long_line_does_not_bring_it_back() {
        let said = vec![Said::TooLong, Said::Text(b"x".to_vec())];
        assert_eq!(
            decode(3, [&b"abcd\x08\x08\x08\x08\x08\x08ok\nx\n"[..]]),
            said
        );
        let mut lines = LineDecoder::new(3);
        let mut data: &[u8] = b"abcd";
        assert_eq!(lines.next(&mut data), Some(Line::TooLong));
        lines.erase_line();
        let mut data: &[u8] = b"ok\nx\n";
        assert_eq!(lines.next(&mut data), Some(Line::Text(b"x")));
    }

    #[test]
    fn erasing_goes_by_code_point() {
        let cases: [(&str, &str); 5] = [
            ("ab\x08c", "ac"),
            ("a€\x7fb", "ab"),
            ("a\u{1F600}\x08b", "ab"),
            ("\x08\x08a", "a"),
            ("e\u{301}\x08", "e"),
        ];
        for (typed, line) in cases {
            let typed = format!("{typed}\n");
            assert_eq!(decode(99, [typed.as_bytes()]), texts(&[line.as_bytes()]));
        }
    }

    #[test]
    fn where_people_type_a_line_and_a_word_can_be_erased() {
        for (typed, line) in [
            ("wrong\x15right", "right"),
            ("two words\x17more", "two more"),
            ("two words  \x17\x17one", "one"),
            ("\x17\x15\x17a", "a"),
            ("  a\x17\x17b", "b"),
        ] {
            let typed = format!("{typed}\n");
            let lines = LineDecoder::new(99).with_line_editing();
            assert_eq!(
                decode_with(lines, [typed.as_bytes()]),
                texts(&[line.as_bytes()])
            );
            let plain = typed.trim_end().as_bytes();
            assert_eq!(
                decode(99, [typed.as_bytes()]),
                texts(&[plain]),
                "a script's are text"
            );
        }
    }

    #[test]
    fn keys_that_are_no_characters_are_left_out_for_people() {
        for (typed, line) in [
            ("\x1b[A", ""),
            ("abc\x1b[DX", "abcX"),
            ("\x1bOCx", "x"),
            ("\x1b[200~two words\x1b[201~", "two words"),
            ("\x1b[[Ax\x1b[1;5Cy", "xy"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1b]0;title\x1b\\x", "x"),
            ("\x1bb\x1bé\x1b\x7f\x1b\x1b[Ax", "x"),
            ("wrong\x03right", "right"),
            ("a\x12b\x0cc\x1ad\x01e\x05f", "abcdef"),
            ("not at the beginning\x04", "not at the beginning"),
            ("a\tb", "a\tb"),
            ("\x1b[\x03x", "x"),
            ("\x1b[é", "é"),
            ("\x1b", ""),
        ] {
            let typed = format!("{typed}\nnext\n");
            for piece_bytes in [1, 99] {
                let lines = LineDecoder::new(99).with_line_editing();
                let said = decode_with(lines, typed.as_bytes().chunks(piece_bytes));
                assert_eq!(said, texts(&[line.as_bytes(), b"next"]), "{typed:?}");
            }
        }
    }

    #[test]
    fn the_first_control_is_found_wherever_it_is() {
        for length in 0..50 {
            let mut text = vec![b'\t'; length];
            assert_eq!(first_control(&text), None);
            for at in (0..length).rev() {
                text[at] = CTRL_U;
                assert_eq!(first_control(&text), Some(at), "of {length}");
            }
        }
    }

    #[test]
    fn a_key_that_never_ends_costs_32_bytes() {
        let digits = "1".repeat(40);
        for begin in ["\x1b[", "\x1b]"] {
            let lines = LineDecoder::new(99).with_line_editing();
            let said = decode_with(lines, [format!("{begin}{digits}\n").as_bytes()]);
            assert_eq!(said, texts(&[&digits.as_bytes()[30..]]));
        }
    }

    #[test]
    fn the_end_of_file_at_the_beginning_of_a_line_is_told_and_nothing_else_is_lost() {
        let lines = || LineDecoder::new(99).with_line_editing();
        for piece_bytes in [1, 99] {
            let said = decode_with(lines(), b"a\x15\x04b\r\n\x04".chunks(piece_bytes));
            let expected = [Said::EndOfFile, Said::Text(b"b".to_vec()), Said::EndOfFile];
            assert_eq!(said, expected);
        }
        assert_eq!(decode(99, [&b"\x04\n"[..]]), texts(&[b"\x04"]));
    }

    #[test]
    fn nul_is_no_operation() {
        for line in [
            &b"\0\0hello\n"[..],
            b"hel\0lo\n",
            b"hello\0\n",
            b"hello\r\0",
        ] {
            for piece_bytes in [1, 99] {
                assert_eq!(decode(5, line.chunks(piece_bytes)), texts(&[b"hello"]));
            }
        }
    }

    #[test]
    fn erasing_a_malformed_sequence_takes_what_would_show_as_one_replacement() {
        for malformed in [&b"\xff"[..], b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xc0"] {
            let line = [b"a", malformed, b"\x08\n"].concat();
            assert_eq!(decode(99, [&line[..]]), texts(&[b"a"]), "{malformed:x?}");
        }
        assert_eq!(
            decode(99, [&b"\x80\x80\x80\x80\x80\x08\n"[..]]),
            texts(&[b"\x80\x80\x80\x80"])
        );
    }

    #[test]
    fn an_idle_decoder_holds_no_memory() {
        let mut lines = LineDecoder::new(99);
        for mut piece in [&b"half"[..], b" a line\n"] {
            while lines.next(&mut piece).is_some() {}
        }
        assert_eq!(lines.pending.capacity(), 0);
    }

    fn bytes_of_interest() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            8 => prop::sample::select(b"ab \t\r\n\0\x08\x7f\x15\x17\x03\x04".to_vec()),
            3 => prop::sample::select(b"\x1b\x1b\x1b[[O]\\\x07;1A~".to_vec()),
            2 => prop::sample::select("é€😀".as_bytes().to_vec()),
            1 => any::<u8>(),
        ];
        prop::collection::vec(byte, 0..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_split_says_what_a_naive_decoder_says(
            input in bytes_of_interest(),
            cuts in prop::collection::vec(0usize..200, 0..20),
            max in 1usize..12,
            edits: bool,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= input.len()).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]);
            let mut lines = LineDecoder::new(max);
            if edits {
                lines = lines.with_line_editing();
            }
            prop_assert_eq!(decode_with(lines, pieces), naive(max, edits, &input));
        }
    }
}
