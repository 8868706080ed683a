//! Cleaned text holds nothing that a terminal obeys, is not changed by being cleaned again, has a
//! character for each that came, and grows to three times its length at most.
#![no_main]

use libfuzzer_sys::fuzz_target;
use line_chat::text::clean;

fn is_obeyed(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        )
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fuzz_target!(|raw: &[u8]| {
    // What another line has left there must not show.
    let mut scratch = "\x1b left over".to_owned();
    let text = clean(raw, &mut scratch).as_str().to_owned();
    assert!(!text.contains(is_obeyed), "{text:?}");
    assert!(text.len() <= 3 * raw.len(), "{} bytes", text.len());
    let lossy = String::from_utf8_lossy(raw);
    assert_eq!(text.chars().count(), lossy.chars().count());
    let changes = lossy.chars().zip(text.chars()).filter(|(a, b)| a != b);
    for (before, after) in changes {
        assert!(is_obeyed(before) && after == char::REPLACEMENT_CHARACTER);
    }
    assert_eq!(clean(text.as_bytes(), &mut String::new()).as_str(), text);
});
