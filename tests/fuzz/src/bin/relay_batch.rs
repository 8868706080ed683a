//! Whatever is no batch is refused as a whole; what is one is written again as it was, so there is one spelling;
//! and whatever text is put into a batch, it can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use line_chat::protocol::relay_batch::{
    Batch, BatchWriter, Header, Kind, MAX_BATCH_BYTES, MAX_LINES, MAX_TEXT_BYTES, NodeId,
};

fn assert_read_is_written(payload: &[u8]) {
    let batch = match Batch::parse(payload) {
        Ok(batch) => batch,
        Err(error) => return drop(error.to_string()),
    };
    let header = batch.header();
    assert!(header.floor() <= header.first && header.first <= header.end());
    assert_eq!(batch.beat().is_some(), header.count == 0);
    let mut writer = BatchWriter::default();
    for line in batch.lines() {
        assert!(line.text.len() <= MAX_TEXT_BYTES, "{line:?}");
        assert!(!line.text.contains(char::is_control), "{line:?}");
        // A batch that is read may be longer by what its header is shorter.
        if !writer.push(line.conn, line.kind, line.text) {
            return assert!(payload.len() > MAX_BATCH_BYTES - 64, "{line:?}");
        }
    }
    assert_eq!(writer.len(), header.count);
    assert_eq!(writer.finish(header), payload);
}

/// Puts each piece of the input into a line, and reads what comes of it.
fn assert_written_is_read(input: &[u8]) {
    let mut writer = BatchWriter::default();
    let mut count = 0;
    for piece in input.split(|&byte| byte == b'\n') {
        let (kind, _) = Kind::WORDS[piece.len() % Kind::WORDS.len()];
        let conn = u64::MAX >> (piece.len() % 64);
        let text = String::from_utf8_lossy(piece);
        let was = writer.len();
        if writer.push(conn, kind, &text) {
            count += u8::from(kind != Kind::Beat);
        }
        assert_eq!(writer.len(), count, "{was} before");
    }
    let is_empty = writer.is_empty();
    let header = Header {
        node: NodeId(input.len() as u64),
        first: u64::MAX - u64::from(MAX_LINES),
        open: u64::MAX,
        count: 0,
    };
    let payload = writer.finish(header);
    let batch = Batch::parse(&payload);
    assert_eq!(batch.is_err(), is_empty, "{batch:?}");
    if let Ok(batch) = batch {
        assert_eq!(batch.header().count, count);
        assert_eq!(batch.lines().count(), usize::from(count.max(1)));
    }
}

fuzz_target!(|input: &[u8]| {
    assert_read_is_written(input);
    assert_written_is_read(input);
});
