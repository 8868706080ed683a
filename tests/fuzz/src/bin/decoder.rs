//! What a client said is the same whatever way its bytes were split, and if its decoder is stopped
//! after each thing heard and goes on later; and no line is longer than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use line_chat::protocol::decoder::{Decoded, Decoder, Input};
use line_chat_fuzz::Case;

/// What was said, and the line that is unfinished at the end.
fn decode(max: usize, pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut decoder = Decoder::new(max);
    let mut said = Vec::new();
    for piece in pieces {
        let mut input = Input::new(piece);
        while let Some(heard) = decoder.next(&mut input) {
            said.push(note(heard, max));
        }
        assert!(input.rest().is_empty(), "all is decoded");
        assert!(decoder.unfinished().len() <= max, "an unfinished line");
    }
    (said, decoder.unfinished().to_vec())
}

/// As [`decode`], but what is left after each thing heard comes as a new input.
fn decode_with_pauses(max: usize, pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut decoder = Decoder::new(max);
    let mut said = Vec::new();
    for mut rest in pieces.iter().copied() {
        loop {
            let mut input = Input::new(rest);
            let Some(heard) = decoder.next(&mut input) else {
                break;
            };
            said.push(note(heard, max));
            assert!(input.rest().len() <= rest.len(), "it goes forward");
            rest = input.rest();
        }
    }
    (said, decoder.unfinished().to_vec())
}

fn note(heard: Decoded<'_>, max: usize) -> String {
    if let Decoded::Line(line) = heard {
        assert!(line.len() <= max, "a line of {} bytes", line.len());
    }
    format!("{heard:?}")
}

fuzz_target!(|input: &[u8]| {
    let Some(case) = Case::parse(input) else {
        return;
    };
    let max = case.max_line_bytes;
    let said = case.assert_splits_agree(|pieces| decode(max, pieces));
    let paused = case.assert_splits_agree(|pieces| decode_with_pauses(max, pieces));
    assert_eq!(paused, said, "with pauses");
});
