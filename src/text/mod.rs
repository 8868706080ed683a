//! [`clean`] is the only way from a peer's bytes to text that another terminal may see. A terminal
//! obeys control characters and reorders text at bidi controls, so a peer that could send them could
//! rewrite another person's screen. Each of them becomes U+FFFD, or is dropped if it is a harmless
//! mark; everything else arrives as it was sent.

pub(crate) mod alike;
pub(crate) mod nick;
pub(crate) mod shape;

use std::borrow::Cow;
use std::fmt;

use unicode_bidi::BidiClass;

use std::ops::RangeInclusive;

use unicode_normalization::char::is_combining_mark;

/// The mark that some programs write before UTF-8 text. It is not part of the text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The maximum number of consecutive blanks in text that is shown at a prompt.
const MAX_GAP: usize = 8;

/// The maximum number of combining marks on one base character. More of them pile up over other lines
/// of the screen.
const MAX_MARKS: u32 = 8;

/// Text that is safe to show on a terminal, on one line: a result of [`clean`], or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanText<'a>(&'a str);

impl<'a> CleanText<'a> {
    /// The text itself.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the text has more than eight consecutive blanks: a line can be padded with them until
    /// the rest wraps and looks like a line of its own.
    #[inline]
    pub(crate) fn has_wide_gap(self) -> bool {
        // Every run of more than eight blanks covers some index divisible by eight and the byte after
        // it.
        let may_be_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x80..);
        let mut places = self.0.as_bytes().chunks(MAX_GAP);
        let may_be_wide = places.any(|chunk| match chunk {
            [first, second, ..] => may_be_blank(first) && may_be_blank(second),
            _ => false,
        });
        may_be_wide && self.widest_gap() > MAX_GAP
    }

    #[cold]
    fn widest_gap(self) -> usize {
        let words = self.0.split(|c: char| !c.is_whitespace());
        words.map(|gap| gap.chars().count()).max().unwrap_or(0)
    }

    /// Returns this text with at most eight consecutive blanks; `scratch` is overwritten.
    pub(crate) fn narrowed(self, scratch: &mut String) -> CleanText<'_> {
        scratch.clear();
        let mut gap = 0_usize;
        for c in self.0.chars() {
            gap = if c.is_whitespace() {
                gap.saturating_add(1)
            } else {
                0
            };
            if gap <= MAX_GAP {
                scratch.push(c);
            }
        }
        CleanText(scratch)
    }

    /// No text at all.
    pub(crate) const EMPTY: Self = Self("");

    /// Returns the text after its first character. Part of a clean text is clean.
    pub(crate) fn without_first(self) -> Self {
        let mut rest = self.0.chars();
        rest.next();
        Self(rest.as_str())
    }

    /// The first word and the rest; both may be empty. White space before, between and behind them is
    /// left out.
    pub(crate) fn split_word(self) -> (Self, Self) {
        self.split_words(1)
    }

    /// The first `count` words, with the white space between them, and the rest; both may be empty. White
    /// space around either is left out.
    pub(crate) fn split_words(self, count: usize) -> (Self, Self) {
        let text = self.0.trim();
        let mut rest = text;
        for _ in 0..count {
            rest = rest
                .trim_start()
                .trim_start_matches(|c: char| !c.is_whitespace());
        }
        let words = text.strip_suffix(rest).unwrap_or(text);
        (Self(words), Self(rest.trim_start()))
    }
}

/// A name that is placed between U+2068 (first strong isolate) and U+2069 (pop directional isolate) if
/// it is written from right to left: otherwise a terminal that implements the bidirectional algorithm
/// ([UAX 9]) would reorder the text next to it. The text of a peer cannot contain either character.
///
/// [UAX 9]: https://www.unicode.org/reports/tr9/
#[derive(Debug, Clone, Copy)]
pub(crate) struct Isolated<'a>(pub(crate) &'a str);

/// The maximum number of bytes that [`Isolated`] adds to a name.
pub(crate) const ISOLATE_BYTES: usize = "\u{2068}\u{2069}".len();

impl fmt::Display for Isolated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_right_to_left(self.0) {
            write!(f, "\u{2068}{}\u{2069}", self.0)
        } else {
            f.write_str(self.0)
        }
    }
}

/// Returns a line without the characters with which [`Isolated`] encloses names.
pub(crate) fn without_isolates(line: &[u8]) -> Cow<'_, [u8]> {
    let isolates = ["\u{2068}".as_bytes(), "\u{2069}".as_bytes()];
    let is_isolate = |c: &[u8]| isolates.contains(&c);
    if !line.windows(3).any(is_isolate) {
        return Cow::Borrowed(line);
    }
    let text = String::from_utf8_lossy(line);
    let bare = text.replace(['\u{2068}', '\u{2069}'], "");
    Cow::Owned(bare.into_bytes())
}

/// Whether part of a text is written from right to left: it has a letter of such a script, or an Arabic
/// number.
pub(crate) fn is_right_to_left(text: &str) -> bool {
    use BidiClass::{AL, AN, R};
    let is_rtl = |c| matches!(unicode_bidi::bidi_class(c), R | AL | AN);
    !text.is_ascii() && text.chars().any(is_rtl)
}

/// Cleans one line. Text that needs no change is borrowed from `raw`; otherwise the result is written
/// to `scratch`, whose old content is dropped.
///
/// - Malformed UTF-8 becomes U+FFFD as in [`String::from_utf8_lossy`].
/// - Each of these characters becomes one U+FFFD: C0 controls except TAB, DEL, C1 controls, the line
///   and paragraph separators U+2028/2029, and the bidi controls U+202A-202E and U+2066-2069.
///
/// These are dropped: the bidi marks U+061C and U+200E/F, U+FEFF, the tag characters U+E0000-E007F that
/// are not part of the flag of a region (Unicode Technical Standard 51, C.1), and all combining marks
/// on one base character after the first eight.
///
/// A text of `n` bytes grows to at most `3 * n`.
///
/// ```
/// let mut scratch = String::new();
/// let text = line_chat::text::clean(b"\x1b[2Jhi", &mut scratch);
/// assert_eq!(text.as_str(), "\u{fffd}[2Jhi");
/// ```
pub fn clean<'a>(raw: &'a [u8], scratch: &'a mut String) -> CleanText<'a> {
    match std::str::from_utf8(raw) {
        Ok(text) if is_plain_ascii(raw) || is_clean(text) => CleanText(text),
        _ => {
            clean_into(raw, scratch);
            CleanText(scratch)
        }
    }
}

/// Whether a line contains only Unicode's White_Space.
#[inline]
pub(crate) fn is_blank(raw: &[u8]) -> bool {
    // The common case.
    if matches!(raw.first(), Some(b'!'..=b'~')) {
        return false;
    }
    let mut scratch = String::new();
    let CleanText(text) = clean(raw, &mut scratch);
    text.chars().all(char::is_whitespace)
}

/// Whether every byte is a printable ASCII character or TAB. That is true for most lines, and the
/// loop has no branch for each byte: it looks at 16 bytes at a time, and the last 16 may overlap the
/// ones before.
fn is_plain_ascii(raw: &[u8]) -> bool {
    let is_plain = |plain, &byte: &u8| plain & (matches!(byte, b' '..=b'~') | (byte == b'\t'));
    let Some(last) = raw.last_chunk::<16>() else {
        return raw.iter().fold(true, is_plain);
    };
    let (chunks, _) = raw.as_chunks::<16>();
    let mut chunks = chunks.iter().chain([last]);
    chunks.all(|chunk| chunk.iter().fold(true, is_plain))
}

/// Whether a text certainly needs no change. The answer is `false` for some clean texts with many
/// combining marks, which take the slow path.
fn is_clean(text: &str) -> bool {
    let mut marks = 0_u32;
    for c in text.chars() {
        match Treatment::of(c) {
            Treatment::Keep => {}
            Treatment::Mark => marks = marks.saturating_add(1),
            Treatment::Replace | Treatment::LeaveOut => return false,
        }
    }
    marks <= MAX_MARKS
}

fn clean_into(raw: &[u8], scratch: &mut String) {
    scratch.clear();
    // The number of marks on the current base character.
    let mut marks = 0_u32;
    for chunk in raw.utf8_chunks() {
        let mut rest = chunk.valid().chars();
        while let Some(c) = rest.next() {
            match Treatment::of(c) {
                Treatment::LeaveOut => continue,
                Treatment::Mark => {
                    marks = marks.saturating_add(1);
                    if marks <= MAX_MARKS {
                        scratch.push(c);
                    }
                    continue;
                }
                Treatment::Replace => scratch.push(char::REPLACEMENT_CHARACTER),
                Treatment::Keep => {
                    scratch.push(c);
                    if c == BLACK_FLAG
                        && let Some((tags, behind)) = split_region(rest.as_str())
                    {
                        scratch.push_str(tags);
                        rest = behind.chars();
                    }
                }
            }
            marks = 0;
        }
        if !chunk.invalid().is_empty() {
            scratch.push(char::REPLACEMENT_CHARACTER);
            marks = 0;
        }
    }
}

const BLACK_FLAG: char = '\u{1f3f4}';

/// Splits off the tags that turn a black flag into the flag of a region: three to six tags of letters
/// and digits, then the cancel tag.
fn split_region(text: &str) -> Option<(&str, &str)> {
    let is_tag = |c: &char| matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}');
    let tags = text.chars().take_while(is_tag).count();
    let mut rest = text.chars();
    let end = rest.nth(tags);
    if !(3..=6).contains(&tags) || end != Some('\u{e007f}') {
        return None;
    }
    let length = text.len().saturating_sub(rest.as_str().len());
    text.split_at_checked(length)
}

/// What `clean` does with a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Treatment {
    Keep,
    Replace,
    LeaveOut,
    /// It is kept unless its base character has too many.
    Mark,
}

impl Treatment {
    #[inline]
    fn of(c: char) -> Self {
        match c {
            '\t' => Self::Keep,
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Self::Replace,
            // Latin, Greek, Cyrillic and most of Chinese, Japanese and Korean: a short cut past the
            // rest of the list.
            '\u{20}'..='\u{2ff}' | '\u{370}'..='\u{482}' => Self::Keep,
            '\u{3100}'..='\u{a66e}' | '\u{ac00}'..='\u{d7a3}' => Self::Keep,
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Self::Replace,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => Self::LeaveOut,
            '\u{e0000}'..='\u{e007f}' => Self::LeaveOut,
            '\u{1f000}'..='\u{1ffff}' => Self::Keep,
            _ if is_combining_mark(c) => Self::Mark,
            _ => Self::Keep,
        }
    }
}

/// Removes the escape sequences that an operator's terminal would obey: colours, titles, cursor
/// movements (ECMA-48, 5.4 to 5.6). Returns whether there were any. A sequence without an end extends
/// to the end of its line.
pub(crate) fn without_escapes(text: &[u8]) -> (Vec<u8>, bool) {
    const ESC: u8 = 0x1b;
    let mut kept = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = memchr::memchr(ESC, rest) {
        let (before, sequence) = rest.split_at_checked(start).unwrap_or((rest, &[]));
        kept.extend_from_slice(before);
        let length = escape_bytes(sequence);
        rest = sequence.get(length..).unwrap_or_default();
    }
    let has_escapes = rest.len() < text.len();
    kept.extend_from_slice(rest);
    (kept, has_escapes)
}

/// Returns the length of the escape sequence with which this text begins, in bytes.
fn escape_bytes(text: &[u8]) -> usize {
    let behind = text.get(2..).unwrap_or_default();
    let count =
        |range: RangeInclusive<u8>| behind.iter().take_while(|it| range.contains(it)).count();
    // How many bytes stand before the final byte, and which that may be.
    let (before_final, is_final) = match text.get(1) {
        None | Some(b'\r' | b'\n') => return 1,
        Some(b'[') => (count(0x20..=0x3f), 0x40..=0x7e),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            return string_bytes(behind).saturating_add(2);
        }
        Some(0x20..=0x2f) => (count(0x20..=0x2f), 0x30..=0x7e),
        Some(_) => return 2,
    };
    let last = behind.get(before_final);
    let has_final = last.is_some_and(|byte| is_final.contains(byte));
    before_final.saturating_add(if has_final { 3 } else { 2 })
}

/// The length of a control string behind its opening, in bytes. It ends at BEL or at ST, which is ESC
/// and a backslash, or where the line ends.
fn string_bytes(text: &[u8]) -> usize {
    let mut before = 0;
    for (at, &byte) in text.iter().enumerate() {
        match (before, byte) {
            (_, b'\r' | b'\n') => return at,
            (_, 0x07) | (0x1b, b'\\') => return at.saturating_add(1),
            _ => before = byte,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cleaned(raw: &[u8]) -> String {
        clean(raw, &mut String::from("left over"))
            .as_str()
            .to_owned()
    }

    #[test]
    fn ordinary_text_arrives_as_it_was_sent() {
        for text in [
            "",
            "hello, world",
            "a\tb",
            "Füße, naïve, Ελληνικά, Русский",
            "漢字かな交じり文 한국어",
            "👩‍👩‍👧‍👦 🏳️‍🌈 ❤️ e\u{301}",
            "عربى עברית",
            "soft\u{ad}hyphen zero\u{200b}width \u{200c}\u{200d}",
            "\u{fffd}",
        ] {
            assert_eq!(cleaned(text.as_bytes()), text);
        }
    }

    #[test]
    fn each_character_that_could_act_on_a_terminal_is_replaced_by_one_or_left_out() {
        let replaced = [
            '\0'..='\u{8}',
            '\u{a}'..='\u{1f}',
            '\u{7f}'..='\u{9f}',
            '\u{2028}'..='\u{202e}',
            '\u{2066}'..='\u{2069}',
        ];
        let left_out = [
            '\u{61c}'..='\u{61c}',
            '\u{200e}'..='\u{200f}',
            '\u{feff}'..='\u{feff}',
            '\u{e0000}'..='\u{e007f}',
        ];
        for c in '\0'..=char::MAX {
            let expected = if replaced.iter().any(|range| range.contains(&c)) {
                "\u{fffd}".to_owned()
            } else if left_out.iter().any(|range| range.contains(&c)) {
                String::new()
            } else {
                c.to_string()
            };
            assert_eq!(
                cleaned(format!("a{c}b").as_bytes()),
                format!("a{expected}b"),
                "{c:?}"
            );
        }
    }

    #[test]
    fn nine_marks_on_one_base_are_one_too_many() {
        let marks = |count| "\u{301}".repeat(count);
        assert_eq!(
            cleaned(format!("e{}", marks(8)).as_bytes()),
            format!("e{}", marks(8))
        );
        for (piled, expected) in [
            (format!("e{}x", marks(9)), format!("e{}x", marks(8))),
            (
                format!("e{}o{}", marks(8), marks(20)),
                format!("e{}o{}", marks(8), marks(8)),
            ),
            (
                format!("e{}\u{200e}{}", marks(5), marks(5)),
                format!("e{}", marks(8)),
            ),
            (marks(10), marks(8)),
            ("\u{e34}".repeat(10), "\u{e34}".repeat(8)),
        ] {
            assert_eq!(cleaned(piled.as_bytes()), expected);
        }
        // Many marks, but few on any one base character.
        let hindi = "हिन्दी में बातचीत करते हैं और यह ठीक है";
        assert_eq!(cleaned(hindi.as_bytes()), hindi);
    }

    #[test]
    fn a_region_keeps_its_flag() {
        let tags = |letters: &str| -> String {
            let tag = |letter| char::from_u32(0xe0000 + u32::from(letter)).expect("a tag");
            letters.bytes().map(tag).collect()
        };
        let flag = |region: &str| format!("\u{1f3f4}{}\u{e007f}", tags(region));
        for region in ["gbeng", "gbsct", "gbwls", "ustx"] {
            let text = format!("a{}b", flag(region));
            assert_eq!(cleaned(text.as_bytes()), text);
        }
        for stray in [
            flag("gb"),
            flag("gbengland"),
            flag("GBENG"),
            format!("\u{1f3f4}{}", tags("gbeng")),
            format!("\u{1f3f4}\u{200e}{}\u{e007f}", tags("gbeng")),
        ] {
            assert_eq!(cleaned(stray.as_bytes()), "\u{1f3f4}", "{stray:?}");
        }
        assert_eq!(
            cleaned(format!("x{}\u{e007f}", tags("gbeng")).as_bytes()),
            "x"
        );
    }

    #[test]
    fn a_wide_gap_shrinks_to_eight_blanks() {
        for (text, narrow) in [
            ("a        b", None),
            ("a         b", Some("a        b")),
            ("  \t    \u{3000}  \u{a0}x", Some("  \t    \u{3000}x")),
            (
                "Grüße         an alle            !",
                Some("Grüße        an alle        !"),
            ),
            ("a b c d e f g h i j", None),
            ("a         b c d e f g", Some("a        b c d e f g")),
            ("abcdefgh         ", Some("abcdefgh        ")),
            ("         ", Some("        ")),
        ] {
            let text = CleanText(text);
            assert_eq!(text.has_wide_gap(), narrow.is_some(), "{text:?}");
            let mut scratch = String::from("left over");
            let shown = text.narrowed(&mut scratch);
            assert_eq!(shown.as_str(), narrow.unwrap_or(text.as_str()));
        }
    }

    #[test]
    fn a_gap_is_found_wherever_it_stands() {
        for before in 0..20 {
            for behind in 0..10 {
                for (gap, is_wide) in [(8, false), (9, true), (17, true)] {
                    for blank in [" ", "\t", "\u{a0}", "\u{3000}"] {
                        let text =
                            ["x".repeat(before), blank.repeat(gap), "y".repeat(behind)].concat();
                        assert_eq!(CleanText(&text).has_wide_gap(), is_wide, "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn blank_is_what_has_no_character_that_shows() {
        for blank in [
            "",
            " ",
            "\t ",
            "\u{a0}\u{3000}\u{2003}",
            "\u{feff} \u{200e}",
        ] {
            assert!(is_blank(blank.as_bytes()), "{blank:?}");
        }
        for text in ["a", " . ", "\u{2800}", "\u{200b}", "\x1b", " \u{301}"] {
            assert!(!is_blank(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn words_are_split_off_with_the_space_around_them() {
        for (text, word, rest) in [
            ("msg  bob \thi  there ", "msg", "bob \thi  there"),
            ("who", "who", ""),
            ("  ", "", ""),
        ] {
            let (first, other) = CleanText(text).split_word();
            assert_eq!((first.as_str(), other.as_str()), (word, rest));
        }
    }

    #[test]
    fn escape_sequences_are_left_out_whole() {
        for (text, kept) in [
            (&b"\x1b[1;31mred\x1b[0m"[..], &b"red"[..]),
            (b"a\x1b[2Jb\x1b[?25lc\x1b[ qd", b"abcd"),
            (b"\x1b]0;title\x07a\x1b]0;title\x1b\\b", b"ab"),
            (b"\x1bPdata\x1b\\a\x1b(Bb\x1b7c", b"abc"),
            (b"a\x1b[31", b"a"),
            (b"a\x1b]0;title\nb", b"a\nb"),
            (b"a\x1b\r\nb\x1b", b"a\r\nb"),
            ("a\x1b[1\u{e9} b".as_bytes(), "a\u{e9} b".as_bytes()),
            (b"a\x1b]x\x1b[y\x07b", b"ab"),
        ] {
            let shown = text.escape_ascii();
            assert_eq!(without_escapes(text), (kept.to_vec(), true), "{shown}");
        }
        for text in [&b""[..], b"plain\ntext", "\u{fc}ber \x07".as_bytes()] {
            assert_eq!(without_escapes(text), (text.to_vec(), false));
        }
    }

    /// The time for a file of nothing but escapes grows with its length, and not with its square: that
    /// would be minutes.
    #[test]
    fn a_megabyte_of_escapes_is_read_once() {
        for sequence in [&b"\x1b7"[..], b"\x1b[", b"\x1b]\x07", b"\x1b]"] {
            let text = sequence.repeat((1 << 20) / sequence.len());
            assert_eq!(without_escapes(&text), (Vec::new(), true));
        }
    }

    #[test]
    fn an_escape_sequence_loses_its_teeth() {
        assert_eq!(cleaned(b"\x1b]0;title\x07"), "\u{fffd}]0;title\u{fffd}");
        assert_eq!(cleaned("\u{9b}2J".as_bytes()), "\u{fffd}2J");
        // C1 as a single byte is not even UTF-8.
        assert_eq!(cleaned(b"\x9b2J"), "\u{fffd}2J");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn cleaning_is_lossy_decoding_and_then_character_by_character(
            raw in prop::collection::vec(prop_oneof![
                any::<u8>(),
                prop::sample::select("é\u{202e}😀\u{85}\u{200f}".as_bytes().to_vec()),
            ], 0..60),
            piled in prop::collection::vec(
                prop::sample::select("a\u{301}\u{301}\u{301}\u{483}\u{20dd}\u{200e}".chars().collect::<Vec<_>>()),
                0..40,
            ),
        ) {
            let raw = [&raw[..], String::from_iter(piled).as_bytes()].concat();
            let mut naive = String::new();
            for c in String::from_utf8_lossy(&raw).chars() {
                let (c, is_left_out) = match u32::from(c) {
                    0x61c | 0x200e | 0x200f | 0xfeff | 0xe0000..=0xe007f => (c, true),
                    0..=8 | 10..=31 | 0x7f..=0x9f | 0x2028..=0x202e | 0x2066..=0x2069 => ('\u{fffd}', false),
                    _ => (c, false),
                };
                let marks = naive.chars().rev().take_while(|&c| is_combining_mark(c)).count();
                let is_too_much = is_combining_mark(c) && marks == 8;
                if !is_left_out && !is_too_much {
                    naive.push(c);
                }
            }
            let text = cleaned(&raw);
            prop_assert!(text.len() <= 3 * raw.len());
            prop_assert_eq!(cleaned(text.as_bytes()), text.clone());
            prop_assert_eq!(text, naive);
        }
    }
}
