//! Characters that can be mistaken for a character with a meaning in a line: the star that begins a
//! notice, the slash that begins a command, and the colon after a nick. They come in other widths and
//! shapes.

use unicode_security::confusable_detection::skeleton;

/// Whether a character is a star or an asterisk of any width or shape, according to UTS 39 or its name
/// in the Unicode Character Database. Stars inside a circle or a picture do not count.
pub(crate) fn is_star(c: char) -> bool {
    matches!(
        c,
        '\u{2051}'
            | '\u{22c6}'
            | '\u{2363}'
            | '\u{2605}'..='\u{2606}'
            | '\u{269d}'
            | '\u{2721}'..='\u{2727}'
            | '\u{2729}'
            | '\u{272b}'..='\u{273d}'
            | '\u{2743}'
            | '\u{2749}'..='\u{274b}'
            | '\u{2a6e}'
            | '\u{2b50}'..='\u{2b52}'
            | '\u{2be8}'..='\u{2beb}'
            | '\u{a673}'
            | '\u{10af0}'
            | '\u{1f31f}'
            | '\u{1f7af}'..='\u{1f7d4}'
    ) || looks_like(c, '*')
}

/// Whether a character is a slash of any width or shape. Letters do not count, because names are
/// written with them: the `ノ` of Katakana looks like a slash.
pub(crate) fn is_slash(c: char) -> bool {
    !c.is_alphanumeric() && looks_like(c, '/')
}

/// Whether a character is a colon of any width or shape. Letters and the signs of Indic scripts do not
/// count.
pub(crate) fn is_colon(c: char) -> bool {
    c == 'ː' || (!c.is_alphanumeric() && looks_like(c, ':'))
}

/// Whether the skeleton of a character begins with `sign`.
fn looks_like(c: char, sign: char) -> bool {
    if c.is_ascii() {
        return c == sign;
    }
    skeleton(c.encode_utf8(&mut [0; 4])).next() == Some(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_known_in_every_width_and_shape() {
        for c in "*＊﹡∗⁎⁑٭✱✳✽★☆⭐🌟✶🞱⋆꙳".chars() {
            assert!(is_star(c), "{c}");
        }
        for c in "/／⁄∕⧸╱⟋⫽".chars() {
            assert!(is_slash(c), "{c}");
        }
        for c in ":：﹕︓∶꞉ː׃։˸⁚".chars() {
            assert!(is_colon(c), "{c}");
        }
    }

    #[test]
    fn letters_and_other_signs_are_not_taken_for_them() {
        for c in "xX+#✗☀❄°ノ丿あ\\;.⋮ः漢🦀".chars() {
            assert!(!is_star(c) && !is_slash(c) && !is_colon(c), "{c}");
        }
    }
}
