//! Lines are the same whatever way the bytes were split, with telnet's erasures between them, and
//! neither a line nor an unfinished one is ever longer than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use line_chat::protocol::line::{Line, LineDecoder};
use line_chat_fuzz::Case;

/// Bytes that stand for telnet's EC and EL, which reach the decoder as calls.
const ERASE_CHARACTER: u8 = 0xf7;
const ERASE_LINE: u8 = 0xf8;

/// Stands for the end of all lines, among the lines.
const END_OF_FILE: u8 = 4;

/// Each line that was said; `None` is one that was too long. The last one is unfinished.
fn decode(max: usize, edits: bool, pieces: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    let mut lines = LineDecoder::new(max);
    if edits {
        lines = lines.with_line_editing();
    }
    let mut said = Vec::new();
    for piece in pieces {
        for part in piece.split_inclusive(|&byte| matches!(byte, ERASE_CHARACTER | ERASE_LINE)) {
            hear(&mut lines, max, part, &mut said);
        }
    }
    said.push(Some(lines.unfinished().to_vec()));
    said
}

/// Decodes text that ends with an erasure at most.
fn hear(lines: &mut LineDecoder, max: usize, part: &[u8], said: &mut Vec<Option<Vec<u8>>>) {
    let erasure = part
        .last()
        .filter(|&&byte| byte == ERASE_CHARACTER || byte == ERASE_LINE);
    let mut text = &part[..part.len() - erasure.iter().count()];
    while let Some(line) = lines.next(&mut text) {
        if let Line::Text(text) = line {
            assert!(text.len() <= max, "a line of {} bytes", text.len());
        }
        said.push(match line {
            Line::Text(text) => Some(text.to_vec()),
            Line::TooLong => None,
            Line::EndOfFile => Some(vec![END_OF_FILE]),
        });
        assert!(lines.unfinished().is_empty(), "a line has just ended");
    }
    assert!(text.is_empty(), "all is decoded");
    match erasure {
        Some(&ERASE_CHARACTER) => lines.erase_character(),
        Some(_) => lines.erase_line(),
        None => {}
    }
    assert!(lines.unfinished().len() <= max, "an unfinished line");
}

fuzz_target!(|input: &[u8]| {
    if let Some(case) = Case::parse(input) {
        let max = case.max_line_bytes;
        for edits in [false, true] {
            case.assert_splits_agree(|pieces| decode(max, edits, pieces));
        }
    }
});
