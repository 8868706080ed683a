//! What this server says: [`Publisher`] gathers lines, freezes them into numbered batches, and keeps each batch
//! until the log has shown it. The log is the only acknowledgement: a batch is settled once it and all
//! batches before it were read back.
//!
//! The engine takes what one connection publishes in order, or not at all. Publications are therefore
//! counted, and a batch that was published before one that the log already shows, but is not shown itself,
//! was lost. It is published again, unchanged, at once. If nothing comes back at all, the oldest batch alone
//! is published again each second with an answer wanted, because only an answer tells that nobody leads the
//! log; and what the answer says is stored proves as much as what was read back.
//!
//! A batch may so be stored twice. Readers drop the double by its numbers, so publishing too often costs
//! bytes and nothing else; that is why each doubt is decided for publishing again.
//!
//! | a batch | what comes | what happens |
//! |---|---|---|
//! | gathered | a flush, and fewer than 16 batches are out | numbered, frozen, published |
//! | out | it is read back | settled, if no older batch is out; else kept as read |
//! | out | a later publication is read back, or stored | published again |
//! | out, oldest | a second without news of it | published again, with an answer wanted |
//! | out, read | all older ones are read back | settled |
//! | any | the room is split | handed back, to be shown here only |

use std::collections::VecDeque;
use std::time::Duration;

use super::Engine;
use crate::protocol::relay_batch::{Batch, BatchWriter, Header, Kind, Line, NodeId};
use crate::time::moment::Moment;

/// How many batches may be out. What is said meanwhile gathers into fewer, longer ones.
const MOST_OUT: usize = 16;

/// How many bytes may wait to be read back before speakers are no longer read.
pub(crate) const MOST_WAITING_BYTES: usize = 1 << 20;

/// What a gathered line counts besides its text, in bytes.
const EACH_BYTES: usize = 32;

/// The lines of this server on their way into the log.
#[derive(Debug)]
pub(crate) struct Publisher {
    node: NodeId,
    /// How long the oldest batch may be out before it is published again.
    probe: Duration,
    /// Lines that have no number yet. None of it is empty.
    gathered: VecDeque<Gathered>,
    gathered_bytes: usize,
    /// When the oldest gathered line was first seen waiting.
    gathered_since: Option<Moment>,
    /// Batches that are out, in the order of their numbers. The first one has not been read back.
    out: VecDeque<Out>,
    out_bytes: usize,
    /// The number of the next line that gets one.
    next: u64,
    /// How many publications there were, and how many of them were not the first ones.
    published: u64,
    again: u64,
    /// The publication that last wanted an answer, and where the log holds it, if it said so.
    probed: u64,
    stored_at: Option<u64>,
}

/// A batch to be.
#[derive(Debug, Default)]
struct Gathered {
    writer: BatchWriter,
    /// What it counts.
    bytes: usize,
}

/// A batch that is out.
#[derive(Debug)]
struct Out {
    first: u64,
    count: u8,
    bytes: Vec<u8>,
    /// Its first and its last publication, and when they were.
    publications: (u64, u64),
    first_at: Moment,
    last_at: Moment,
    is_read: bool,
}

impl Gathered {
    fn push(&mut self, conn: u64, kind: Kind, text: &str) -> bool {
        let has_room = self.writer.push(conn, kind, text);
        if has_room {
            let bytes = text.len().saturating_add(EACH_BYTES);
            self.bytes = self.bytes.saturating_add(bytes);
        }
        has_room
    }
}

impl Publisher {
    pub(crate) fn new(node: NodeId, probe: Duration) -> Self {
        Self {
            node,
            probe,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            gathered_since: None,
            out: VecDeque::new(),
            out_bytes: 0,
            next: 0,
            published: 0,
            again: 0,
            probed: 0,
            stored_at: None,
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Goes on under another id, with the lines that are gathered. What is out is given up.
    pub(crate) fn start_over(&mut self, node: NodeId) {
        self.node = node;
        self.out.clear();
        self.out_bytes = 0;
        self.next = 0;
        self.stored_at = None;
    }

    /// Adds a line to those that are published next. Returns false if no batch can hold it.
    pub(crate) fn gather(&mut self, conn: u64, kind: Kind, text: &str) -> bool {
        let bytes = text.len().saturating_add(EACH_BYTES);
        let last = self.gathered.back_mut();
        if !last.is_some_and(|batch| batch.push(conn, kind, text)) {
            let mut batch = Gathered::default();
            if !batch.push(conn, kind, text) {
                return false;
            }
            self.gathered.push_back(batch);
        }
        self.gathered_bytes = self.gathered_bytes.saturating_add(bytes);
        true
    }

    /// How many bytes wait to be read back.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.gathered_bytes.saturating_add(self.out_bytes)
    }

    /// How many batches are out.
    pub(crate) fn out(&self) -> usize {
        self.out.len()
    }

    /// How often a batch was published again.
    pub(crate) fn published_again(&self) -> u64 {
        self.again
    }

    /// How many lines have a number and are not settled.
    pub(crate) fn unread_lines(&self) -> u64 {
        self.out
            .front()
            .map_or(0, |oldest| self.next.saturating_sub(oldest.first))
    }

    /// Since when the oldest line waits that is not settled.
    pub(crate) fn waiting_since(&self) -> Option<Moment> {
        let out = self.out.front().map(|oldest| oldest.first_at);
        out.or(self.gathered_since)
    }

    /// Since when the oldest batch is out.
    pub(crate) fn out_since(&self) -> Option<Moment> {
        self.out.front().map(|oldest| oldest.first_at)
    }

    /// Lines wait that cannot be published now.
    pub(crate) fn hold_back(&mut self, now: Moment) {
        if !self.gathered.is_empty() {
            self.gathered_since.get_or_insert(now);
        }
    }

    /// Publishes what is gathered, as far as batches may be out. Returns how many lines each new batch has.
    pub(crate) fn flush(
        &mut self,
        now: Moment,
        engine: &mut impl Engine,
        mut on_batch: impl FnMut(u8),
    ) {
        while self.out.len() < MOST_OUT {
            let Some(batch) = self.gathered.pop_front() else {
                break;
            };
            self.gathered_bytes = self.gathered_bytes.saturating_sub(batch.bytes);
            on_batch(self.freeze(batch.writer, now, engine));
        }
        self.gathered_since = self.gathered_since.filter(|_| !self.gathered.is_empty());
        self.hold_back(now);
    }

    fn freeze(&mut self, writer: BatchWriter, now: Moment, engine: &mut impl Engine) -> u8 {
        let count = writer.len();
        let bytes = writer.finish(self.header(count));
        engine.publish(&bytes, false);
        self.published = self.published.saturating_add(1);
        self.out_bytes = self.out_bytes.saturating_add(bytes.len());
        self.out.push_back(Out {
            first: self.next,
            count,
            bytes,
            publications: (self.published, self.published),
            first_at: now,
            last_at: now,
            is_read: false,
        });
        self.next = self.next.saturating_add(u64::from(count));
        count
    }

    fn header(&self, count: u8) -> Header {
        Header {
            node: self.node,
            first: self.next,
            open: self.unread_lines(),
            count,
        }
    }

    /// Publishes a beat. It takes no number, and is never published again.
    pub(crate) fn beat(&mut self, text: &str, engine: &mut impl Engine) {
        let mut writer = BatchWriter::default();
        if writer.push(0, Kind::Beat, text) {
            engine.publish(&writer.finish(self.header(0)), false);
        }
    }

    /// The log shows a batch of this server at `sequence`. Returns how long that took since it was first
    /// published, unless it is a double.
    pub(crate) fn on_read(
        &mut self,
        header: Header,
        now: Moment,
        engine: &mut impl Engine,
    ) -> Option<Duration> {
        let is_it = |out: &&mut Out| out.first == header.first && out.count == header.count;
        let out = self.out.iter_mut().find(is_it)?;
        if out.is_read {
            return None;
        }
        out.is_read = true;
        let took = now.saturating_since(out.first_at);
        // Which publication of it this is, is known only if there was one; the first one it is at least.
        let publication = out.publications.0;
        self.settle();
        self.publish_lost(publication, now, engine);
        Some(took)
    }

    fn settle(&mut self) {
        while let Some(oldest) = self.out.front().filter(|oldest| oldest.is_read) {
            self.out_bytes = self.out_bytes.saturating_sub(oldest.bytes.len());
            self.out.pop_front();
        }
    }

    /// The log holds what was published with an answer wanted.
    pub(crate) fn on_stored(&mut self, sequence: u64) {
        self.stored_at = Some(sequence);
    }

    /// The log was read up to `position`.
    pub(crate) fn on_position(&mut self, position: u64, now: Moment, engine: &mut impl Engine) {
        if self.stored_at.is_some_and(|at| at <= position) {
            self.stored_at = None;
            self.publish_lost(self.probed, now, engine);
        }
    }

    /// The log was read beyond this publication: what was published before it and was not read is lost.
    fn publish_lost(&mut self, publication: u64, now: Moment, engine: &mut impl Engine) {
        self.publish_again(now, engine, |out| out.publications.1 < publication);
    }

    /// Publishes everything again that is out and was not read.
    pub(crate) fn publish_all(&mut self, now: Moment, engine: &mut impl Engine) {
        self.publish_again(now, engine, |_| true);
    }

    fn publish_again(
        &mut self,
        now: Moment,
        engine: &mut impl Engine,
        which: impl Fn(&Out) -> bool,
    ) {
        for out in &mut self.out {
            if !out.is_read && which(out) {
                engine.publish(&out.bytes, false);
                self.published = self.published.saturating_add(1);
                self.again = self.again.saturating_add(1);
                out.publications.1 = self.published;
                out.last_at = now;
            }
        }
    }

    /// Publishes the oldest batch again, if that is due.
    pub(crate) fn on_time(&mut self, now: Moment, engine: &mut impl Engine) {
        if self.next_deadline().is_none_or(|at| now < at) {
            return;
        }
        if let Some(oldest) = self.out.front_mut() {
            engine.publish(&oldest.bytes, true);
            self.published = self.published.saturating_add(1);
            self.again = self.again.saturating_add(1);
            oldest.publications.1 = self.published;
            oldest.last_at = now;
            self.probed = self.published;
            self.stored_at = None;
        }
    }

    /// When the oldest batch is to be published again.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.out.front().map(|oldest| oldest.last_at + self.probe)
    }

    /// Takes all lines back that are not settled, in order, and forgets them.
    pub(crate) fn hand_back(&mut self, mut take: impl FnMut(Line<'_>)) {
        let header = self.header(0);
        let out = std::mem::take(&mut self.out);
        let gathered = std::mem::take(&mut self.gathered);
        let gathered = gathered
            .into_iter()
            .map(|batch| batch.writer.finish(header));
        for bytes in out.into_iter().map(|out| out.bytes).chain(gathered) {
            if let Ok(batch) = Batch::parse(&bytes) {
                batch.lines().for_each(&mut take);
            }
        }
        (self.out_bytes, self.gathered_bytes) = (0, 0);
        self.gathered_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(0xab);
    const SECOND: Duration = Duration::from_secs(1);
    const START: Moment = Moment::BEGINNING;

    /// What was published, and whether an answer was wanted.
    #[derive(Default)]
    struct Wire(Vec<(String, bool)>);

    impl Engine for Wire {
        fn publish(&mut self, batch: &[u8], wants_answer: bool) {
            let batch = String::from_utf8(batch.to_vec()).expect("UTF-8");
            self.0.push((batch, wants_answer));
        }

        fn fetch(&mut self, sequence: u64) {
            panic!("{sequence} is fetched");
        }

        fn ask_info(&mut self) {
            panic!("the engine is asked what the log holds");
        }
    }

    impl Wire {
        /// The numbers of what was published since the last call: first, open, count.
        fn headers(&mut self) -> Vec<(u64, u64, u8)> {
            let batches = std::mem::take(&mut self.0).into_iter();
            let batches = batches.map(|(batch, _)| {
                let batch = Batch::parse(batch.as_bytes()).expect("a batch");
                let header = batch.header();
                assert_eq!(header.node, NODE);
                (header.first, header.open, header.count)
            });
            batches.collect()
        }
    }

    fn publisher() -> Publisher {
        Publisher::new(NODE, SECOND)
    }

    /// Says that many lines, and flushes.
    fn say(publisher: &mut Publisher, lines: usize, engine: &mut Wire) {
        for n in 0..lines {
            assert!(publisher.gather(7, Kind::Say, &format!("line {n}")));
        }
        publisher.flush(START, engine, |_| ());
    }

    /// The batch that begins with this number comes back.
    fn read(
        publisher: &mut Publisher,
        first: u64,
        count: u8,
        engine: &mut Wire,
    ) -> Option<Duration> {
        let header = Header {
            node: NODE,
            first,
            open: 0,
            count,
        };
        publisher.on_read(header, START + SECOND, engine)
    }

    fn handed_back(publisher: &mut Publisher) -> Vec<String> {
        let mut lines = Vec::new();
        publisher.hand_back(|line| lines.push(line.text.to_owned()));
        lines
    }

    #[test]
    fn what_gathers_in_a_turn_is_one_batch() {
        let (mut publisher, mut wire) = (publisher(), Wire::default());
        publisher.flush(START, &mut wire, |_| ());
        assert_eq!(wire.0, []);
        publisher.gather(7, Kind::Say, "hello");
        publisher.gather(8, Kind::Act, "waves");
        publisher.flush(START, &mut wire, |_| ());
        publisher.gather(7, Kind::Left, "");
        publisher.flush(START, &mut wire, |_| ());
        let batches = [
            "1 00000000000000ab 0 0 2\n7 say hello\n8 act waves\n",
            "1 00000000000000ab 2 2 1\n7 left \n",
        ];
        assert_eq!(wire.0, batches.map(|batch| (batch.to_owned(), false)));
    }

    #[test]
    fn sixteen_batches_are_out_and_the_rest_gathers() {
        let (mut publisher, mut wire) = (publisher(), Wire::default());
        for _ in 0..20 {
            say(&mut publisher, 1, &mut wire);
        }
        assert_eq!(wire.headers().len(), 16);
        say(&mut publisher, 61, &mut wire);
        assert_eq!(read(&mut publisher, 0, 1, &mut wire), Some(SECOND));
        say(&mut publisher, 0, &mut wire);
        assert_eq!(wire.headers(), [(16, 15, 64)], "1 of 65 lines is left");
        for first in 1..16 {
            read(&mut publisher, first, 1, &mut wire);
        }
        say(&mut publisher, 0, &mut wire);
        assert_eq!(wire.headers(), [(80, 64, 1)]);
    }

    #[test]
    fn what_is_read_late_keeps_the_window_shut_and_the_header_open() {
        let (mut publisher, mut wire) = (publisher(), Wire::default());
        for _ in 0..3 {
            say(&mut publisher, 2, &mut wire);
        }
        wire.headers();
        assert_eq!(read(&mut publisher, 4, 2, &mut wire), Some(SECOND));
        assert_eq!(
            wire.headers(),
            [(0, 0, 2), (2, 2, 2)],
            "both were lost on the way"
        );
        assert_eq!(read(&mut publisher, 4, 2, &mut wire), None, "a double");
        say(&mut publisher, 1, &mut wire);
        assert_eq!(wire.headers(), [(6, 6, 1)]);
        read(&mut publisher, 6, 1, &mut wire);
        assert_eq!(wire.headers(), [(0, 0, 2), (2, 2, 2)], "lost again");
        read(&mut publisher, 0, 2, &mut wire);
        assert_eq!(wire.headers(), [], "it is not known when it was stored");
        read(&mut publisher, 2, 2, &mut wire);
        assert_eq!(
            (publisher.unread_lines(), publisher.waiting_bytes()),
            (0, 0)
        );
        publisher.beat("", &mut wire);
        assert_eq!(wire.headers(), [(7, 0, 0)]);
    }

    #[test]
    fn the_oldest_alone_is_probed_and_the_answer_tells_of_the_others() {
        let (mut publisher, mut wire) = (publisher(), Wire::default());
        for _ in 0..3 {
            say(&mut publisher, 1, &mut wire);
        }
        let first = wire.0[0].0.clone();
        wire.0.clear();
        let due = START + SECOND;
        publisher.on_time(due.saturating_sub(Duration::from_nanos(1)), &mut wire);
        assert_eq!(wire.0, []);
        publisher.on_time(due, &mut wire);
        assert_eq!(wire.0, [(first, true)]);
        wire.0.clear();
        publisher.on_time(due, &mut wire);
        assert_eq!(wire.0, []);
        assert_eq!(publisher.next_deadline(), Some(due + SECOND));
        publisher.on_stored(40);
        read(&mut publisher, 0, 1, &mut wire);
        publisher.on_position(39, due, &mut wire);
        assert_eq!(wire.headers(), [], "the log was not read so far");
        publisher.on_position(40, due, &mut wire);
        assert_eq!(wire.headers(), [(1, 1, 1), (2, 2, 1)]);
        publisher.on_position(41, due, &mut wire);
        assert_eq!(wire.headers(), []);
    }

    #[test]
    fn all_is_handed_back_in_order_and_forgotten() {
        let (mut publisher, mut wire) = (publisher(), Wire::default());
        say(&mut publisher, 2, &mut wire);
        say(&mut publisher, 1, &mut wire);
        read(&mut publisher, 2, 1, &mut wire);
        publisher.gather(7, Kind::Say, "last");
        let lines = ["line 0", "line 1", "line 0", "last"];
        assert_eq!(handed_back(&mut publisher), lines, "nobody has seen any");
        assert_eq!(handed_back(&mut publisher), [""; 0]);
        assert_eq!(publisher.next_deadline(), None);
        assert_eq!(publisher.waiting_bytes(), 0);
    }

    #[test]
    fn lines_that_are_gathered_go_on_under_another_id() {
        let (mut publisher, mut wire) = (Publisher::new(NodeId(1), SECOND), Wire::default());
        say(&mut publisher, 1, &mut wire);
        wire.0.clear();
        publisher.gather(7, Kind::Say, "later");
        publisher.start_over(NODE);
        publisher.flush(START, &mut wire, |_| ());
        assert_eq!(wire.headers(), [(0, 0, 1)]);
        assert_eq!(publisher.node(), NODE);
    }

    #[test]
    fn what_waits_is_counted_in_bytes_and_from_when() {
        let (mut publisher, mut wire) = (publisher(), Wire::default());
        let text = "x".repeat(4096);
        for _ in 0..300 {
            publisher.gather(7, Kind::Say, &text);
        }
        assert!(publisher.waiting_bytes() > MOST_WAITING_BYTES);
        assert_eq!(publisher.waiting_since(), None, "nobody has tried");
        publisher.hold_back(START);
        publisher.hold_back(START + SECOND);
        assert_eq!(publisher.waiting_since(), Some(START));
        publisher.flush(START + SECOND, &mut wire, |_| ());
        assert_eq!(publisher.out_since(), Some(START + SECOND));
        for n in 0..300 {
            read(&mut publisher, 3 * n, 3, &mut wire);
            publisher.flush(START + SECOND, &mut wire, |_| ());
        }
        assert_eq!(
            (publisher.waiting_bytes(), publisher.waiting_since()),
            (0, None)
        );
    }
}
