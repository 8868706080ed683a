//! Telnet's commands and the data between them are the same whatever way the bytes were split, and
//! data is never more than what came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use line_chat::protocol::telnet::{Telnet, TelnetDecoder};
use line_chat_fuzz::Case;

/// The commands that were found, each with the data before it; at the end, data alone.
fn decode(pieces: &[&[u8]]) -> Vec<(Vec<u8>, Option<String>)> {
    let mut telnet = TelnetDecoder::default();
    let mut found = vec![(Vec::new(), None)];
    for mut piece in pieces.iter().copied() {
        while let Some(item) = telnet.next(&mut piece) {
            let (data, command) = found.last_mut().expect("one is there");
            if let Telnet::Data(more) = item {
                assert!(!more.is_empty(), "nothing is no data");
                data.extend_from_slice(more);
            } else {
                *command = Some(format!("{item:?}"));
                found.push((Vec::new(), None));
            }
        }
        assert!(piece.is_empty(), "all is decoded");
    }
    found
}

fuzz_target!(|input: &[u8]| {
    if let Some(case) = Case::parse(input) {
        let found = case.assert_splits_agree(decode);
        let data: usize = found.iter().map(|(data, _)| data.len()).sum();
        assert!(data <= case.bytes(), "{data} bytes of data");
    }
});
