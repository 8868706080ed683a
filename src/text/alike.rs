//! Decides whether two names are alike. Each name has three keys: the [`key`] that makes it unique, and
//! two [`looks`], skeletons as defined by [UTS 39], in which look-alike letters of different scripts are
//! one letter. Two names are alike if their keys are equal or, unless both are ASCII, if one of their
//! looks is: so `аlice` with a Cyrillic `а` is alike `alice`, but `n1` is not alike `nl`.
//!
//! There are two looks because a skeleton is not stable under case: `В` looks like `B`, but `в` does
//! not look like `b`. One look is the skeleton in lower case, the other the skeleton of the name in
//! lower case.
//!
//! Being alike is not transitive: `ВЕРА` is alike `bepa` and `вера`, which are not alike. So there is no
//! single key, and a name is compared as a [`NameHash`], which holds the hashes of all three.
//!
//! [UTS 39]: https://www.unicode.org/reports/tr39/#Confusable_Detection

use std::hash::{BuildHasher, RandomState};
use std::slice;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_compatible, is_combining_mark};
use unicode_script::{Script, UnicodeScript};
use unicode_security::confusable_detection::skeleton;

/// How many characters each character of a name may become when the name is decomposed.
const MAX_DECOMPOSED_CHARS: usize = 4;

/// Whether a name has at most `max_chars` characters, and at most four times as many when it is
/// decomposed, which no letter of a language exceeds. Keys are made of such names only, because a
/// single U+FDFA decomposes into eighteen characters.
pub(crate) fn is_short(name: &str, max_chars: usize) -> bool {
    let max_decomposed = max_chars.saturating_mul(MAX_DECOMPOSED_CHARS);
    if name.is_ascii() {
        return name.len() <= max_chars;
    }
    name.chars().nth(max_chars).is_none() && decomposes_into(name, max_decomposed)
}

/// Whether a name has at most `most` characters when it is decomposed. They are counted one by one,
/// because to order them as the NFKD does would take as long as a key.
pub(crate) fn decomposes_into(name: &str, most: usize) -> bool {
    let mut left = most;
    name.chars().all(|c| {
        let mut has_room = true;
        decompose_compatible(c, |_| {
            has_room &= left > 0;
            left = left.saturating_sub(1);
        });
        has_room
    })
}

/// Returns the key of a name, or of a prefix of one: its NFKC in lower case, without invisible
/// characters. The key of a key is that key.
pub(crate) fn key(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    #[cfg(test)]
    KEYS_MADE.with(|keys| keys.set(keys.get() + 1));
    // Twice, because an invisible character may separate a letter from its accent, and the lower case
    // of one character may be two.
    fold(&fold(name))
}

#[cfg(test)]
thread_local! {
    /// How many keys of names were made that are not ASCII.
    static KEYS_MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Returns how many keys of names that are not ASCII were made since the last call.
#[cfg(test)]
pub(crate) fn take_keys_made() -> usize {
    KEYS_MADE.take()
}

fn fold(name: &str) -> String {
    let lower = name.nfkc().collect::<String>().to_lowercase();
    lower.chars().filter(|&c| !is_invisible(c)).collect()
}

/// Returns the two looks of a name: its skeleton in lower case, and the skeleton of its lower case.
fn looks(name: &str) -> [String; 2] {
    let bare = without_accents(name);
    let skeleton_of = |text: &str| skeleton(text).collect::<String>();
    [
        skeleton_of(&bare).to_lowercase(),
        skeleton_of(&bare.to_lowercase()),
    ]
}

/// Returns a name decomposed (the NFD of its NFKC, which is its NFKD), without invisible characters,
/// and without the marks U+0300-036F on Latin, Greek and Cyrillic letters.
fn without_accents(name: &str) -> String {
    let mut is_accented = false;
    let visible = name.chars().filter(|&c| !is_invisible(c));
    // No visible character decomposes into an invisible one.
    visible
        .nfkd()
        .filter(|&c| {
            if is_combining_mark(c) {
                return !(is_accented && ('\u{300}'..='\u{36f}').contains(&c));
            }
            let script = c.script();
            is_accented = c.is_alphabetic()
                && matches!(script, Script::Latin | Script::Greek | Script::Cyrillic);
            true
        })
        .collect()
}

/// Whether two names are alike.
pub(crate) fn is_alike(one: &str, other: &str) -> bool {
    if key(one) == key(other) {
        return true;
    }
    if one.is_ascii() && other.is_ascii() {
        return false;
    }
    let [lower_skeleton, skeleton_of_lower] = looks(one);
    let [its_lower_skeleton, its_skeleton_of_lower] = looks(other);
    lower_skeleton == its_lower_skeleton || skeleton_of_lower == its_skeleton_of_lower
}

/// Hashes of the three keys of a name, with the secret of one [`NameHasher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameHash {
    /// Two different keys have the same hash with a probability of 1 in 2^64.
    key: u64,
    /// A 31-bit hash of each look, above a flag in the lowest bit. The first flag says that the name is
    /// not ASCII, the second that an ASCII name may have one of these looks. Both are 0 if the looks
    /// were not computed: an ASCII name that is compared only with ASCII names needs none.
    looks: [u32; 2],
}

impl NameHash {
    /// The hash of no name.
    pub(crate) const NONE: Self = Self {
        key: 0,
        looks: [0; 2],
    };

    /// Whether the names are alike. Two names that are not are mistaken for it with a probability of
    /// about 1 in 2^30, and never if both are ASCII.
    #[inline]
    pub(crate) fn is_alike(self, other: Self) -> bool {
        self.is_same(other) || self.looks_like(other)
    }

    /// Whether the names have the same key.
    #[inline]
    pub(crate) fn is_same(self, other: Self) -> bool {
        self.key == other.key
    }

    #[inline]
    fn looks_like(self, other: Self) -> bool {
        let is_same_look = |one: u32, other: u32| one >> 1 == other >> 1;
        let ([a, b], [c, d]) = (self.looks, other.looks);
        let are_both_ascii = (a | c) & 1 == 0;
        !are_both_ascii && (is_same_look(a, c) || is_same_look(b, d))
    }

    /// The same number for names that [are the same](Self::is_same), and nearly always another one for others.
    pub(crate) fn number(self) -> u64 {
        self.key
    }

    #[inline]
    pub(crate) fn is_ascii(self) -> bool {
        self.looks[0] & 1 == 0
    }

    /// Whether an ASCII name may look like this one.
    pub(crate) fn has_look_of_ascii(self) -> bool {
        self.looks[1] & 1 != 0
    }

    /// The hashes of both looks, without the flags. They differ even if the two looks are equal.
    pub(crate) fn looks(self) -> [u32; 2] {
        self.looks.map(|look| look >> 1)
    }
}

/// The identity of a member: its name, on any connection, and its connection, under any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: NameHash,
    /// The number of a connection, never used twice; 0 if only the name is known.
    pub(crate) serial: u64,
}

impl Identity {
    /// The identity of no member.
    pub(crate) const NONE: Self = Self {
        name: NameHash::NONE,
        serial: 0,
    };

    /// Whether both are the same person, as far as the server can know.
    pub(crate) fn is(self, other: Self) -> bool {
        self.name.is_alike(other.name) || (self.serial != 0 && self.serial == other.serial)
    }
}

/// Hashes names with a random secret of its own.
#[derive(Debug)]
pub(crate) struct NameHasher {
    key: RandomState,
    /// The points at which the polynomials of the looks are evaluated.
    points: [u32; 2],
}

impl Default for NameHasher {
    fn default() -> Self {
        let key = RandomState::new();
        let below_2_to_30 = |n: u64| u32::try_from(n >> 34).unwrap_or_default();
        let points = [0_u8, 1].map(|n| below_2_to_30(key.hash_one(n)));
        Self { key, points }
    }
}

impl NameHasher {
    /// Hashes an ASCII name that is compared with ASCII names only, and so needs no looks.
    #[inline]
    pub(crate) fn hash_key(&self, key: &str) -> NameHash {
        let key = self.key.hash_one(key);
        NameHash { key, looks: [0; 2] }
    }

    /// Hashes a name whose key is known.
    pub(crate) fn hash(&self, name: &str, key: &str) -> NameHash {
        let looks = match name.is_ascii() {
            true => self.ascii_looks(name),
            false => self.other_looks(name),
        };
        let key = self.key.hash_one(key);
        NameHash { key, looks }
    }

    /// Adds the looks to a hash that may lack them, as that of an ASCII name may.
    pub(crate) fn with_looks(&self, hash: NameHash, name: &str) -> NameHash {
        match name.is_ascii() {
            true => NameHash {
                looks: self.ascii_looks(name),
                ..hash
            },
            false => hash,
        }
    }

    /// Hashes the looks of a name that is not ASCII.
    #[cold]
    fn other_looks(&self, name: &str) -> [u32; 2] {
        let looks = looks(name);
        let is_in_ascii = |look: &String| look.chars().all(is_in_looks_of_ascii);
        let may_be_ascii = looks.iter().any(is_in_ascii);
        let [mut first, mut second] = self.look_hashers();
        looks[0].bytes().for_each(|byte| first.push(byte));
        looks[1].bytes().for_each(|byte| second.push(byte));
        [first.finish(true), second.finish(may_be_ascii)]
    }

    /// Hashes the looks of an ASCII name without building them.
    fn ascii_looks(&self, name: &str) -> [u32; 2] {
        let [mut first, mut second] = self.look_hashers();
        for byte in name.as_bytes() {
            let small = byte.to_ascii_lowercase();
            if has_own_prototype(*byte) && has_own_prototype(small) {
                first.push(small);
                second.push(small);
                continue;
            }
            for byte in ascii_prototype(byte) {
                first.push(byte.to_ascii_lowercase());
            }
            for &byte in ascii_prototype(&small) {
                second.push(byte);
            }
        }
        [first.finish(false), second.finish(true)]
    }

    fn look_hashers(&self) -> [LookHasher; 2] {
        self.points.map(LookHasher::new)
    }
}

/// Returns what UTS 39 puts in a skeleton for an ASCII character.
fn ascii_prototype(byte: &u8) -> &[u8] {
    match byte {
        b'0' => b"O",
        b'1' | b'I' | b'|' => b"l",
        b'm' => b"rn",
        b'`' => b"'",
        b'"' => b"''",
        b'%' => "°/₀".as_bytes(),
        _ => slice::from_ref(byte),
    }
}

/// Whether an ASCII character is its own [prototype](ascii_prototype).
#[inline]
fn has_own_prototype(byte: u8) -> bool {
    !matches!(byte, b'0' | b'1' | b'I' | b'|' | b'm' | b'`' | b'"' | b'%')
}

/// Whether a character can be in a look of an ASCII name: it is ASCII, or in the prototype of `%`.
fn is_in_looks_of_ascii(c: char) -> bool {
    c.is_ascii() || matches!(c, '°' | '₀')
}

/// Hashes the bytes of a look as the coefficients of a polynomial, modulo the prime 2^31 - 1, at a
/// secret point. Two looks of `n` bytes have equal values at no more than `n` points, so a client
/// cannot choose names that collide, and a byte costs one multiplication.
#[derive(Debug, Clone, Copy)]
struct LookHasher {
    /// Below 2^30.
    point: u32,
    /// Below 2^33.
    sum: u64,
}

impl LookHasher {
    const PRIME: u64 = (1 << 31) - 1;

    /// `point` is below 2^30.
    fn new(point: u32) -> Self {
        // Not 0, so that the length counts as well.
        Self { point, sum: 1 }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        let product = self.sum.wrapping_mul(u64::from(self.point));
        self.sum = Self::reduce(product.wrapping_add(u64::from(byte)));
    }

    /// Reduces a number below 2^63 to a number below 2^33 that is congruent modulo the prime.
    #[inline]
    fn reduce(n: u64) -> u64 {
        (n & Self::PRIME).wrapping_add(n >> 31)
    }

    /// Returns the hash, above a flag in the lowest bit.
    #[inline]
    fn finish(self, flag: bool) -> u32 {
        let sum = self.sum % Self::PRIME;
        let sum = u32::try_from(sum).unwrap_or_default();
        sum << 1 | u32::from(flag)
    }
}

/// Whether a character is invisible: Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt,
/// Unicode 17), the blank braille pattern, the marks of interlinear annotations, and the filler of
/// the Khitan script.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{16fe4}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Checks that `is_alike` returns this, and that the hashes agree, in either order.
    #[track_caller]
    fn alike(one: &str, other: &str) -> bool {
        let hasher = NameHasher::default();
        let alike = is_alike(one, other);
        let [hash, another] = [one, other].map(|name| hasher.hash(name, &key(name)));
        assert_eq!(is_alike(other, one), alike, "{one:?} {other:?}");
        assert_eq!(hash.is_alike(another), alike, "{one:?} {other:?}");
        assert_eq!(another.is_alike(hash), alike, "{one:?} {other:?}");
        alike
    }

    #[test]
    fn letters_of_another_script_that_look_the_same_are_the_same() {
        for (one, other) in [
            // Cyrillic а and е, a Latin ı, a dot below.
            ("\u{430}lice", "alice"),
            ("alic\u{435}", "alice"),
            ("al\u{131}ce", "alice"),
            ("ALICE\u{323}", "alice"),
            // Cyrillic с, о, р; Greek ο; Armenian օ; the whole name in Cyrillic.
            ("\u{441}arol", "carol"),
            ("b\u{43e}b", "bob"),
            ("\u{440}eter", "peter"),
            ("b\u{3bf}b", "BOB"),
            ("b\u{585}b", "bob"),
            ("\u{430}\u{43d}\u{43d}\u{430}", "\u{430}нн\u{430}"),
            ("\u{420}\u{410}\u{423}\u{410}", "PAYA"),
            // Capitals of another script, whose small letters do not look alike.
            (
                "\u{412}\u{415}\u{420}\u{410}",
                "\u{432}\u{435}\u{440}\u{430}",
            ),
            ("\u{412}\u{415}\u{420}\u{410}", "BEPA"),
            ("\u{41d}ans", "Hans"),
            // Widths, styles and digits.
            ("ｂｏｂ", "bob"),
            ("𝐛𝐨𝐛", "bob"),
            ("ⓑⓞⓑ", "bob"),
            ("b०b", "bob"),
            ("n\u{217c}", "n1"),
            // Two characters that look like a single one.
            ("torn\u{e9}", "tomé"),
            ("rnark\u{e9}", "marké"),
        ] {
            assert!(alike(one, other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn accents_count_for_nothing_where_letters_have_them() {
        for (one, other) in [
            ("Zo\u{eb}", "Zoe"),
            ("Zo\u{eb}", "zoe\u{301}"),
            ("Jos\u{e9}", "JOSE"),
            (
                "\u{391}\u{3bd}\u{3bd}\u{3b1}",
                "\u{386}\u{3bd}\u{3bd}\u{3b1}",
            ),
            (
                "\u{435}\u{43b}\u{43a}\u{430}",
                "\u{451}\u{43b}\u{43a}\u{430}",
            ),
            ("a\u{200d}\u{323}\u{301}", "\u{e1}"),
            ("a\u{20dd}\u{301}", "a\u{20dd}"),
        ] {
            assert!(alike(one, other), "{one:?} {other:?}");
        }
        for (one, other) in [
            ("か", "が"),
            ("は", "ぱ"),
            ("ア", "ｱﾞ"),
            ("\u{5d0}", "\u{5d0}\u{5b7}"),
            ("1\u{301}x", "1x"),
        ] {
            assert!(!alike(one, other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_name_is_short_in_characters_and_when_it_is_decomposed() {
        for (name, is_short_enough) in [
            ("x".repeat(32), true),
            ("x".repeat(33), false),
            ("\u{fdfa}".repeat(7), true),
            ("\u{fdfa}".repeat(8), false),
            ("한".repeat(32), true),
            ("\u{1f82}".repeat(32), true),
            ("\u{fdfb}".repeat(32), false),
            ("\u{3300}".repeat(32), false),
        ] {
            assert_eq!(is_short(&name, 32), is_short_enough, "{name}");
        }
        assert!(is_short("", 0) && !is_short("x", 0) && !is_short("é", 0));
    }

    #[test]
    fn names_that_only_resemble_each_other_stay_two() {
        for (one, other) in [
            ("n1", "nl"),
            ("b0b", "bob"),
            ("rnary", "mary"),
            ("Ian", "lan"),
            ("a|b", "alb"),
            ("bob", "rob"),
            ("Zoë", "Zoey"),
            ("\u{432}\u{435}\u{440}\u{430}", "bepa"),
            ("вера", "вира"),
            ("漢字", "漢学"),
            ("🦀", "🐙"),
        ] {
            assert!(!alike(one, other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn names_that_differ_in_case_width_or_what_is_invisible_have_one_key() {
        for (one, other) in [
            ("bob", "BOB"),
            ("bob", "b\u{ad}ob"),
            ("bob", "bo\u{200d}b\u{200b}"),
            ("bob", "ｂｏｂ"),
            ("bob", "bob\u{fe0f}"),
            ("é", "e\u{301}"),
            ("é", "e\u{200d}\u{301}"),
            ("file", "ﬁle"),
            ("ΟΔΟΣ", "οδος"),
            ("bob", "bob\u{3164}"),
            ("bob", "bob\u{fffb}"),
            ("bob", "b\u{16fe4}ob"),
        ] {
            assert_eq!(key(one), key(other), "{one:?} {other:?}");
        }
        assert_ne!(key("bob"), key("rob"));
        assert_ne!(key("bob"), key("bób"));
    }

    #[test]
    fn no_visible_character_decomposes_into_an_invisible_one() {
        for c in ('\0'..=char::MAX).filter(|&c| !is_invisible(c)) {
            assert!(!c.nfkd().any(is_invisible), "{c:?}");
        }
    }

    #[test]
    fn a_key_is_its_own_key() {
        for c in '\0'..=char::MAX {
            for name in [format!("e{c}\u{301}"), format!("a{c}b")] {
                let made = key(&name);
                assert_eq!(key(&made), made, "{name:?}");
                assert!(!made.contains(is_invisible), "{name:?}");
            }
        }
    }

    #[test]
    fn an_ascii_character_has_the_prototype_that_the_tables_have() {
        for byte in b'!'..=b'~' {
            let prototype = String::from_utf8(ascii_prototype(&byte).to_vec());
            let c = char::from(byte).to_string();
            assert_eq!(prototype, Ok(skeleton(&c).collect()), "{c}");
            assert_eq!(has_own_prototype(byte), prototype.as_ref() == Ok(&c), "{c}");
            assert!(looks(&c).concat().chars().all(is_in_looks_of_ascii));
        }
    }

    /// Names that are easily confused with each other.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-cil1mrn0oIO|%]{1,4}",
            "[аеосрхВЕРАвераı\u{301}\u{323}ｂoléｌ%mrn０]{1,4}",
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn hashes_are_alike_where_names_are(one in name(), other in name()) {
            alike(&one, &other);
            prop_assert!(alike(&one, &one));
        }

        #[test]
        fn a_decomposed_name_is_counted_without_making_it(name in name(), most in 0..9_usize) {
            prop_assert_eq!(decomposes_into(&name, most), name.nfkd().count() <= most);
        }

        #[test]
        fn a_name_that_no_ascii_name_is_like_says_so(one in name(), other in "[a-cil1mrn0oIOBEPA|%]{1,4}") {
            let hash = NameHasher::default().hash(&one, &key(&one));
            let found_by_key = key(&one) == key(&other);
            if is_alike(&one, &other) && !found_by_key {
                prop_assert!(hash.has_look_of_ascii());
            }
        }
    }
}
