//! The only road from a peer's bytes to text that another terminal may see is [`clean`]. A terminal
//! obeys control characters and reorders text at bidi controls, so a peer that could send them could
//! rewrite another person's screen. Each of them becomes U+FFFD; everything else arrives as it was
//! sent.

pub(crate) mod alike;
pub(crate) mod nick;
pub(crate) mod shape;

use std::borrow::Cow;
use std::fmt;

use unicode_bidi::BidiClass;

/// Text that is safe to show on a terminal, on one line: a result of [`clean`], or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanText<'a>(&'a str);

impl<'a> CleanText<'a> {
    /// The text itself.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// No text at all.
    pub(crate) const EMPTY: Self = Self("");

    /// The text behind `prefix`, if it begins with `prefix`. A part of clean text is clean.
    pub(crate) fn strip_prefix(self, prefix: char) -> Option<Self> {
        self.0.strip_prefix(prefix).map(Self)
    }

    /// The first word and the rest; both may be empty. White space before, between and behind them is
    /// left out.
    pub(crate) fn split_word(self) -> (Self, Self) {
        let text = self.0.trim();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        (Self(word), Self(rest.trim_start()))
    }
}

/// A name between U+2068 (first strong isolate) and U+2069 (pop directional isolate), if it is written
/// from right to left: otherwise a terminal that knows the bidirectional algorithm ([UAX 9]) would
/// reorder what stands beside it. The text of a peer cannot hold either of them.
///
/// [UAX 9]: https://www.unicode.org/reports/tr9/
#[derive(Debug, Clone, Copy)]
pub(crate) struct Isolated<'a>(pub(crate) &'a str);

/// The longest that [`Isolated`] adds to a name, in bytes.
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

/// A line without the characters with which [`Isolated`] marks names.
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

/// Whether some of a text is written from right to left: a letter of such a script, or an Arabic
/// number.
pub(crate) fn is_right_to_left(text: &str) -> bool {
    use BidiClass::{AL, AN, R};
    let is_rtl = |c| matches!(unicode_bidi::bidi_class(c), R | AL | AN);
    !text.is_ascii() && text.chars().any(is_rtl)
}

/// Cleans one line. Text that needs no change is borrowed from `raw`; otherwise the result is written
/// to `scratch`, whose old content is dropped.
///
/// Malformed UTF-8 becomes U+FFFD as in [`String::from_utf8_lossy`]. Each of these characters becomes
/// one U+FFFD: C0 controls except TAB, DEL, C1 controls, the line and paragraph separators U+2028/2029,
/// the bidi controls U+061C, U+200E/F, U+202A-202E and U+2066-2069, U+FEFF, and the tag characters
/// U+E0000-E007F. A text of `n` bytes grows to at most `3 * n`.
///
/// ```
/// let mut scratch = String::new();
/// let text = line_chat::text::clean(b"\x1b[2Jhi", &mut scratch);
/// assert_eq!(text.as_str(), "\u{fffd}[2Jhi");
/// ```
pub fn clean<'a>(raw: &'a [u8], scratch: &'a mut String) -> CleanText<'a> {
    match std::str::from_utf8(raw) {
        Ok(text) if is_plain_ascii(raw) || !text.contains(is_unsafe) => CleanText(text),
        _ => {
            replace_unsafe(raw, scratch);
            CleanText(scratch)
        }
    }
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

fn replace_unsafe(raw: &[u8], scratch: &mut String) {
    scratch.clear();
    for chunk in raw.utf8_chunks() {
        let valid = chunk.valid().chars();
        scratch.extend(valid.map(|c| {
            if is_unsafe(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        }));
        if !chunk.invalid().is_empty() {
            scratch.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

fn is_unsafe(c: char) -> bool {
    match c {
        '\t' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        // Everything up to here is Latin, Greek or Cyrillic: no need to look at the rest of the
        // list.
        '\u{20}'..'\u{61c}' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        '\u{feff}' | '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
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
    fn each_character_that_could_act_on_a_terminal_is_replaced_by_one() {
        let ranges = [
            '\0'..='\u{8}',
            '\u{a}'..='\u{1f}',
            '\u{7f}'..='\u{9f}',
            '\u{61c}'..='\u{61c}',
            '\u{200e}'..='\u{200f}',
            '\u{2028}'..='\u{202e}',
            '\u{2066}'..='\u{2069}',
            '\u{feff}'..='\u{feff}',
            '\u{e0000}'..='\u{e007f}',
        ];
        for c in '\0'..=char::MAX {
            let expected = if ranges.iter().any(|range| range.contains(&c)) {
                '\u{fffd}'
            } else {
                c
            };
            assert_eq!(
                cleaned(format!("a{c}b").as_bytes()),
                format!("a{expected}b"),
                "{c:?}"
            );
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
    fn an_escape_sequence_loses_its_teeth() {
        assert_eq!(cleaned(b"\x1b]0;title\x07"), "\u{fffd}]0;title\u{fffd}");
        assert_eq!(cleaned("\u{9b}2J".as_bytes()), "\u{fffd}2J");
        // C1 as a single byte is not even UTF-8.
        assert_eq!(cleaned(b"\x9b2J"), "\u{fffd}2J");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn cleaning_is_lossy_decoding_and_one_replacement_a_character(
            raw in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select("é\u{202e}😀\u{85}".as_bytes().to_vec())], 0..60),
        ) {
            let naive: String = String::from_utf8_lossy(&raw)
                .chars()
                .map(|c| if is_unsafe(c) { '\u{fffd}' } else { c })
                .collect();
            let text = cleaned(&raw);
            prop_assert!(text.len() <= 3 * raw.len());
            prop_assert_eq!(cleaned(text.as_bytes()), text.clone());
            prop_assert_eq!(text, naive);
        }
    }
}
