//! Cleaned text holds nothing that a terminal obeys, is not changed by being cleaned again, is what
//! came but for what is replaced or left out, and grows to three times its length at most.
#![no_main]

use libfuzzer_sys::fuzz_target;
use line_chat::text::clean;

fn is_replaced(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_left_out(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
}

/// They stay where they make the flag of a region.
fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0000}'..='\u{e007f}')
}

fuzz_target!(|raw: &[u8]| {
    // What another line has left there must not show.
    let mut scratch = "\x1b left over".to_owned();
    let text = clean(raw, &mut scratch).as_str().to_owned();
    assert!(
        !text.contains(|c| is_replaced(c) || is_left_out(c)),
        "{text:?}"
    );
    assert!(text.len() <= 3 * raw.len(), "{} bytes", text.len());
    let mut before = 'x';
    for c in text.chars() {
        let is_in_flag = before == '\u{1f3f4}' || is_tag(before);
        assert!(!is_tag(c) || is_in_flag, "{text:?}");
        before = c;
    }
    // Combining marks may be left out, from the ninth on, and nothing else.
    let lossy = String::from_utf8_lossy(raw);
    let came = lossy.chars().filter(|&c| !is_left_out(c) && !is_tag(c));
    let mut came = came.map(|c| if is_replaced(c) { '\u{fffd}' } else { c });
    let mut marks = 0;
    for c in text.chars().filter(|&c| !is_tag(c)) {
        let mut next = came.next();
        while next != Some(c) {
            assert!(marks >= 8, "{next:?} is missing before {c:?} in {text:?}");
            next = Some(came.next().expect("it came"));
        }
        // Whatever is no letter of a few scripts counts as a mark here: less is asserted, then.
        let is_base = c.is_ascii() || c == '\u{fffd}' || matches!(c, '\u{a0}'..='\u{2ff}');
        marks = if is_base { 0 } else { marks + 1 };
    }
    assert!(marks >= 8 || came.next().is_none(), "the end is missing");
    assert_eq!(clean(text.as_bytes(), &mut String::new()).as_str(), text);
});
