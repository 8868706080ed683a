//! What of the log is told, and in which order: [`Nodes`] is handed its entries one behind the other, and
//! tells each line of each server once, by number. A server is called a node here.
//!
//! A batch may be stored twice, because a node sends it again if it does not read it back; and over a change of the
//! engine's leader it may be stored behind one that was sent later. So each node has a number that is expected next,
//! and nothing but the log decides: whoever reads all of it tells the same in the same order.
//!
//! | a batch with the lines `first..end`, of which the node had read back all below `floor` | what happens |
//! |---|---|
//! | of a node that is unknown | `floor` is expected; it goes on below |
//! | of a node that is gone | dropped, unless it has read back lines that would have been dropped: see below |
//! | expected < floor | what is expected below `floor` was told to others: it is told if it is parked, else lost |
//! | end <= expected | a double: dropped |
//! | first <= expected | told from the expected line on, and whatever of the parked ones follows |
//! | first > expected | parked: what is in between will be sent again |
//!
//! | what else | what happens |
//! |---|---|
//! | a beat | has no lines, but a `floor` |
//! | a line `gone X` is told | what is parked of X is dropped, and whatever comes of it later |
//! | a beat `new X` | the same, but X is not said to be gone: that is up to a line |
//! | too much is parked | the node with the most batches waits no longer for what is missing before its first one |
//! | too many nodes are known | the one of which nothing was heard for longest is forgotten, those gone first |
//!
//! Whoever reads everything since the first entry of a node loses no line of it: a node has read back only
//! what such a reader was told, too. Whoever begins in the middle, or has missed entries, tells no line twice and keeps
//! the order of each node, but may tell a line later than the others do, behind those of other nodes, or tell what is
//! of a node whose `gone`, or whose next id, it has missed. It is again as the others when each node has sent a batch
//! or a beat behind that, for which everything before it was read back. What is missing below the first number that was
//! seen of a node is not counted as lost.
//!
//! Who has missed the `gone` of a node may hear it say that another one is gone, which nobody else heeds. But
//! a node that is gone reads no line of its own back any more. So one that does so is not gone: it is taken for a
//! new one. That does not happen to those who have read everything. Nodes that are unknown are not remembered
//! as gone, because that could not be told of them.
//!
//! A log that has lost its end does not say any more what it said there. It is read again: each line is told once, but
//! who is gone and what is parked is what it says now. From then on a `gone` is heeded even in a batch that is a double.

use std::collections::BTreeMap;

use crate::protocol::relay_batch::{Batch, Beat, Header, Kind, Line, NodeId};

/// The most nodes that are known, those included that are gone.
const MAX_NODES: usize = 1024;

/// The most batches that are parked, of all nodes together.
const MAX_PARKED_BATCHES: usize = 4096;

/// The most bytes of batches that are parked, of all nodes together.
const MAX_PARKED_BYTES: usize = 4 << 20;

/// What is told of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    /// A line of any kind but a beat. The sequence is the one of the entry for which it is told now: of a line that
    /// was parked, the one that it waited for.
    Line {
        node: NodeId,
        number: u64,
        sequence: u64,
        line: Line<'a>,
    },
    /// The node asks who is here. It may do so again.
    NewNode { node: NodeId, was: Option<NodeId> },
    /// The node is gone. It may be one that was never heard of.
    Gone { node: NodeId },
    /// So many lines of the node will never be told here.
    Lost { node: NodeId, lines: u64 },
}

/// What was read, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// Entries that are no batch.
    pub(crate) malformed: u64,
    /// Batches of which all lines had been told.
    pub(crate) doubles: u64,
    /// Batches of nodes that are gone.
    pub(crate) of_gone: u64,
    /// How often a node was not gone after all.
    pub(crate) returned: u64,
    /// How often a node did not wait any longer, because too much was parked.
    pub(crate) given_up: u64,
    /// Lines that were told to be lost.
    pub(crate) lost_lines: u64,
    /// Batches that are parked now.
    pub(crate) parked: usize,
    /// Their bytes.
    pub(crate) parked_bytes: usize,
}

/// The nodes of the log, as of some entry.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    nodes: BTreeMap<NodeId, Node>,
    figures: Figures,
    /// Who was gone is forgotten, once or more often.
    has_forgotten: bool,
}

#[derive(Debug)]
struct Node {
    state: State,
    /// The sequence of the last entry of it or about it.
    heard: u64,
}

#[derive(Debug)]
enum State {
    Living(Numbers),
    Gone {
        /// Whether that was told.
        is_told: bool,
        /// The number of the line that would have been the next.
        expected: u64,
    },
}

#[derive(Debug)]
struct Numbers {
    /// The number of the next line to be told.
    expected: u64,
    /// The first number that was seen: what is below is not counted as lost.
    seen_from: u64,
    /// Batches by their first number, all of them above the expected one.
    parked: BTreeMap<u64, Box<[u8]>>,
}

impl Numbers {
    fn new(header: Header) -> Self {
        Self {
            expected: header.floor(),
            seen_from: header.first,
            parked: BTreeMap::new(),
        }
    }

    /// Of a node of which all below that number is told or lost.
    fn from(expected: u64) -> Self {
        Self {
            expected,
            seen_from: expected,
            parked: BTreeMap::new(),
        }
    }

    /// Goes on at a later number. Returns how many lines are lost by that.
    fn skip_to(&mut self, number: u64) -> u64 {
        let from = self.expected.max(self.seen_from);
        self.expected = self.expected.max(number);
        self.expected.saturating_sub(from)
    }
}

impl Nodes {
    /// Reads the next entry. Returns whose it is, if it is a batch.
    pub(crate) fn on_entry(
        &mut self,
        sequence: u64,
        payload: &[u8],
        sink: &mut impl FnMut(Told<'_>),
    ) -> Option<Header> {
        let Ok(batch) = Batch::parse(payload) else {
            self.figures.malformed = self.figures.malformed.saturating_add(1);
            return None;
        };
        let header = batch.header();
        if !self.meet(sequence, header, sink) {
            self.figures.of_gone = self.figures.of_gone.saturating_add(1);
            return Some(header);
        }
        self.advance(header.node, header.floor(), sequence, sink);
        match batch.beat() {
            Some(beat) => self.on_beat(header.node, beat, sequence, sink),
            None => self.on_lines(&batch, payload, sequence, sink),
        }
        Some(header)
    }

    /// The number of the next line of a node, if it is known and not gone: all before are told or lost.
    pub(crate) fn expected(&self, node: NodeId) -> Option<u64> {
        match &self.nodes.get(&node)?.state {
            State::Living(numbers) => Some(numbers.expected),
            State::Gone { .. } => None,
        }
    }

    /// The log has lost its end, and is read again: nobody is gone, and nothing is parked, unless the log still says so.
    /// What was told is not told again.
    pub(crate) fn forget_end(&mut self) {
        for node in self.nodes.values_mut() {
            let expected = match node.state {
                State::Living(ref numbers) => numbers.expected,
                State::Gone { expected, .. } => expected,
            };
            node.state = State::Living(Numbers::from(expected));
        }
        (self.figures.parked, self.figures.parked_bytes) = (0, 0);
        self.has_forgotten = true;
    }

    /// The nodes that were not said to be gone, in their order.
    #[cfg(test)]
    pub(crate) fn living(&self) -> impl Iterator<Item = NodeId> {
        let is_gone = |node: &Node| matches!(node.state, State::Gone { is_told: true, .. });
        let living = self.nodes.iter().filter(move |(_, node)| !is_gone(node));
        living.map(|(&id, _)| id)
    }

    /// Whether a node was said to be gone.
    pub(crate) fn is_gone(&self, node: NodeId) -> bool {
        let node = self.nodes.get(&node);
        node.is_some_and(|node| matches!(node.state, State::Gone { .. }))
    }

    /// What was read, in numbers.
    pub(crate) fn figures(&self) -> Figures {
        self.figures
    }

    /// Whose entry it is. `false` if it is gone.
    fn meet(&mut self, sequence: u64, header: Header, sink: &mut impl FnMut(Told<'_>)) -> bool {
        if self.nodes.len() >= MAX_NODES && !self.nodes.contains_key(&header.node) {
            self.forget_one(sink);
        }
        let node = self.nodes.entry(header.node).or_insert_with(|| Node {
            state: State::Living(Numbers::new(header)),
            heard: sequence,
        });
        node.heard = sequence;
        match node.state {
            State::Living(_) => true,
            State::Gone { expected, .. } if header.floor() > expected => {
                node.state = State::Living(Numbers::new(header));
                self.figures.returned = self.figures.returned.saturating_add(1);
                true
            }
            State::Gone { .. } => false,
        }
    }

    fn on_beat(
        &mut self,
        node: NodeId,
        beat: Beat,
        sequence: u64,
        sink: &mut impl FnMut(Told<'_>),
    ) {
        let Beat::New { was } = beat else {
            return;
        };
        if let Some(was) = was.filter(|&was| was != node) {
            self.end(was, false, sequence, sink);
        }
        sink(Told::NewNode { node, was });
    }

    fn on_lines(
        &mut self,
        batch: &Batch<'_>,
        payload: &[u8],
        sequence: u64,
        sink: &mut impl FnMut(Told<'_>),
    ) {
        let header = batch.header();
        let Some(numbers) = self.numbers(header.node) else {
            return;
        };
        let is_parked = numbers.parked.contains_key(&header.first);
        let (expected, is_known) = (numbers.expected, header.first < numbers.expected);
        if is_known && self.has_forgotten {
            self.end_again(batch, expected, sequence, sink);
        }
        if header.end() <= expected || is_parked {
            self.figures.doubles = self.figures.doubles.saturating_add(1);
        } else if header.first > expected {
            if let Some(numbers) = self.numbers(header.node) {
                numbers.parked.insert(header.first, payload.into());
                self.count_parked(payload.len());
            }
            self.keep_limits(sequence, sink);
        } else {
            self.tell(batch, sequence, sink);
            self.advance(header.node, 0, sequence, sink);
        }
    }

    /// Lines that were told before are heeded again if they say that a node is gone: that may have been forgotten.
    fn end_again(
        &mut self,
        batch: &Batch<'_>,
        expected: u64,
        sequence: u64,
        sink: &mut impl FnMut(Told<'_>),
    ) {
        let header = batch.header();
        for (number, line) in (header.first..header.end()).zip(batch.lines()) {
            let gone = (line.kind == Kind::Gone).then(|| line.text.parse());
            if let Some(Ok(gone)) = gone.filter(|_| number < expected) {
                self.end(gone, true, sequence, sink);
            }
        }
    }

    /// Tells the lines of a batch that are not told yet. Each is counted before it is told, and any of them may say
    /// that a node is gone, even the one that it is of.
    fn tell(&mut self, batch: &Batch<'_>, sequence: u64, sink: &mut impl FnMut(Told<'_>)) {
        let header = batch.header();
        let Header { node, first, .. } = header;
        for (number, line) in (first..header.end()).zip(batch.lines()) {
            match self.numbers(node) {
                Some(numbers) if number == numbers.expected => {
                    numbers.expected = number.saturating_add(1);
                }
                Some(_) => continue,
                None => return,
            }
            sink(Told::Line {
                node,
                number,
                sequence,
                line,
            });
            let gone = (line.kind == Kind::Gone).then(|| line.text.parse());
            if let Some(Ok(gone)) = gone {
                self.end(gone, true, sequence, sink);
            }
        }
    }

    /// Tells whatever is parked and follows what was told; up to `floor` it waits for nothing that is missing.
    fn advance(
        &mut self,
        node: NodeId,
        floor: u64,
        sequence: u64,
        sink: &mut impl FnMut(Told<'_>),
    ) {
        while let Some(numbers) = self.numbers(node) {
            let parked = numbers.parked.first_entry();
            if let Some(parked) = parked.filter(|it| *it.key() <= numbers.expected) {
                let payload = parked.remove();
                self.count_unparked(&payload);
                if let Ok(batch) = Batch::parse(&payload) {
                    self.tell(&batch, sequence, sink);
                }
            } else if numbers.expected < floor {
                let next = numbers.parked.first_key_value().map(|(&first, _)| first);
                let lines = numbers.skip_to(next.map_or(floor, |next| next.min(floor)));
                self.tell_lost(node, lines, sink);
            } else {
                return;
            }
        }
    }

    fn tell_lost(&mut self, node: NodeId, lines: u64, sink: &mut impl FnMut(Told<'_>)) {
        if lines > 0 {
            self.figures.lost_lines = self.figures.lost_lines.saturating_add(lines);
            sink(Told::Lost { node, lines });
        }
    }

    /// Nothing more is told of a node.
    fn end(&mut self, id: NodeId, is_told: bool, sequence: u64, sink: &mut impl FnMut(Told<'_>)) {
        let mut was_told = false;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.heard = sequence;
            let expected = match node.state {
                State::Living(ref numbers) => numbers.expected,
                State::Gone { is_told, expected } => {
                    was_told = is_told;
                    expected
                }
            };
            let is_told = is_told || was_told;
            let gone = State::Gone { is_told, expected };
            let before = std::mem::replace(&mut node.state, gone);
            self.drop_parked(&before);
        }
        if is_told && !was_told {
            sink(Told::Gone { node: id });
        }
    }

    /// Makes room for another node.
    fn forget_one(&mut self, sink: &mut impl FnMut(Told<'_>)) {
        let rank = |node: &Node| (matches!(node.state, State::Living(_)), node.heard);
        let nodes = self.nodes.iter();
        let oldest = nodes.min_by_key(|(id, node)| (rank(node), **id));
        let Some(id) = oldest.map(|(&id, _)| id) else {
            return;
        };
        if let Some(node) = self.nodes.remove(&id) {
            self.drop_parked(&node.state);
            if !matches!(node.state, State::Gone { is_told: true, .. }) {
                sink(Told::Gone { node: id });
            }
        }
    }

    /// Waits for less as long as too much is parked. All who have read the same decide the same.
    fn keep_limits(&mut self, sequence: u64, sink: &mut impl FnMut(Told<'_>)) {
        while self.figures.parked > MAX_PARKED_BATCHES
            || self.figures.parked_bytes > MAX_PARKED_BYTES
        {
            let parked = |node: &Node| match &node.state {
                State::Living(numbers) => numbers.parked.len(),
                State::Gone { .. } => 0,
            };
            let nodes = self.nodes.iter();
            let most = nodes.max_by_key(|(id, node)| (parked(node), **id));
            let Some(id) = most.map(|(&id, _)| id) else {
                return;
            };
            let parked = self.numbers(id).map(|it| it.parked.first_key_value());
            let Some(Some((&first, _))) = parked else {
                return;
            };
            self.figures.given_up = self.figures.given_up.saturating_add(1);
            self.advance(id, first, sequence, sink);
        }
    }

    fn numbers(&mut self, node: NodeId) -> Option<&mut Numbers> {
        match &mut self.nodes.get_mut(&node)?.state {
            State::Living(numbers) => Some(numbers),
            State::Gone { .. } => None,
        }
    }

    fn drop_parked(&mut self, state: &State) {
        if let State::Living(numbers) = state {
            for payload in numbers.parked.values() {
                self.count_unparked(payload);
            }
        }
    }

    fn count_parked(&mut self, bytes: usize) {
        self.figures.parked = self.figures.parked.saturating_add(1);
        self.figures.parked_bytes = self.figures.parked_bytes.saturating_add(bytes);
    }

    fn count_unparked(&mut self, payload: &[u8]) {
        self.figures.parked = self.figures.parked.saturating_sub(1);
        let bytes = self.figures.parked_bytes.saturating_sub(payload.len());
        self.figures.parked_bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::relay_batch::BatchWriter;
    use std::collections::{BTreeSet, VecDeque};

    fn payload(node: NodeId, first: u64, open: u64, lines: &[(Kind, String)]) -> Vec<u8> {
        let mut writer = BatchWriter::default();
        for (kind, text) in lines {
            assert!(writer.push(1, *kind, text), "{kind:?} {text}");
        }
        writer.finish(Header {
            node,
            first,
            open,
            count: 0,
        })
    }

    /// The letter of a node of the scripts, or its number.
    fn name(node: NodeId) -> String {
        let letter = u8::try_from(node.0).ok().filter(u8::is_ascii_lowercase);
        letter.map_or_else(|| node.0.to_string(), |it| char::from(it).into())
    }

    fn node(name: &str) -> NodeId {
        NodeId(u64::from(name.as_bytes()[0]))
    }

    /// An entry as a script has it: `a 5/2 3` are the lines 5 to 7 of a, with two open before them; `a 5/2 gone b` is
    /// one line; `a 5/0 beat` and `a 5/0 beat new b` are no lines.
    fn entry(script: &str) -> Vec<u8> {
        let words: Vec<_> = script.split_whitespace().collect();
        let (first, open) = words[1].split_once('/').expect("first/open");
        let [first, open] = [first, open].map(|it| it.parse::<u64>().expect("a number"));
        let id = |at: usize| words.get(at).map(|name| node(name).to_string());
        let lines = match words[2] {
            "beat" => {
                let was = id(4).map(|was| format!(" {was}")).unwrap_or_default();
                let new = words.get(3).map_or("", |_| "new");
                vec![(Kind::Beat, format!("{new}{was}"))]
            }
            "gone" => vec![(Kind::Gone, id(3).expect("a node"))],
            count => {
                let count: u64 = count.parse().expect("a count");
                let line = |number| (Kind::Say, format!("{}{number}", words[0]));
                (first..first.saturating_add(count)).map(line).collect()
            }
        };
        payload(node(words[0]), first, open, &lines)
    }

    /// What is told, and that it is told in the order of the log.
    #[derive(Default)]
    struct Journal {
        told: Vec<String>,
        last: u64,
    }

    impl Journal {
        fn note(&mut self, told: Told<'_>) {
            self.told.push(match told {
                Told::Line {
                    node,
                    number,
                    sequence,
                    line,
                } => {
                    assert!(sequence >= self.last, "{told:?} after {}", self.last);
                    self.last = sequence;
                    if line.kind == Kind::Say {
                        assert_eq!(line.text, format!("{}{number}", name(node)));
                    }
                    format!("{}{number}", name(node))
                }
                Told::NewNode { node, was } => {
                    let was = was.map(|was| format!(" was {}", name(was)));
                    format!("new {}{}", name(node), was.unwrap_or_default())
                }
                Told::Gone { node } => format!("gone {}", name(node)),
                Told::Lost { node, lines } => format!("{}-{lines}", name(node)),
            });
        }
    }

    fn read(nodes: &mut Nodes, script: &[&str]) -> String {
        let mut journal = Journal::default();
        for (sequence, script) in (1..).zip(script) {
            nodes.on_entry(sequence, &entry(script), &mut |told| journal.note(told));
        }
        journal.told.join(" ")
    }

    #[test]
    fn a_log_is_told_by_its_numbers() {
        for (script, expected) in [
            // In order, from the beginning.
            (&["a 0/0 2", "b 0/0 1", "a 2/0 1"][..], "a0 a1 b0 a2"),
            // Twice, at once and later, and a part of it.
            (&["a 0/0 2", "a 0/0 2", "a 2/2 1", "a 0/0 2"], "a0 a1 a2"),
            (&["a 0/0 2", "a 1/0 3"], "a0 a1 a2 a3"),
            // Behind one that was sent later.
            (&["a 1/1 1", "b 0/0 1", "a 2/2 1", "a 0/0 1"], "b0 a0 a1 a2"),
            (&["a 2/2 1", "a 1/1 1", "a 2/2 1", "a 0/0 1"], "a0 a1 a2"),
            // Lines that will not come.
            (&["a 0/0 1", "a 5/0 1"], "a0 a-4 a5"),
            (&["a 0/0 1", "a 5/2 1", "a 3/0 2"], "a0 a-2 a3 a4 a5"),
            (&["a 0/0 1", "a 5/0 beat", "a 5/0 1"], "a0 a-4 a5"),
            (
                &["a 0/0 1", "a 3/2 1", "a 5/4 1", "a 6/0 1"],
                "a0 a-2 a3 a-1 a5 a6",
            ),
            (&["a 0/0 1", "a 3/2 1", "a 5/1 1"], "a0 a-2 a3"),
            (&["a 0/0 1", "a 3/2 4", "a 9/4 1"], "a0 a-2 a3 a4 a5 a6"),
            // From the middle: what came before is not lost.
            (&["a 7/0 1", "a 8/0 1"], "a7 a8"),
            (&["a 7/2 1", "a 8/1 1"], "a7 a8"),
            (&["a 7/3 1", "a 5/3 1", "a 6/3 1"], ""),
            (&["a 7/3 1", "a 5/3 1", "a 6/3 1", "a 4/0 1"], "a4 a5 a6 a7"),
            (&["a 7/3 1", "a 9/0 1"], "a7 a-1 a9"),
            (&["a 7/3 beat", "a 7/3 1", "a 8/0 1"], "a7 a8"),
            // Beats.
            (&["a 0/0 beat", "a 0/0 beat new", "a 0/0 1"], "new a a0"),
            (
                &["b 0/0 2", "a 0/0 beat new b", "b 2/0 1"],
                "b0 b1 new a was b",
            ),
            (
                &["b 0/0 1", "b 2/1 1", "a 0/0 beat new b", "b 1/0 1"],
                "b0 new a was b",
            ),
            (&["a 0/0 beat new a", "a 0/0 1"], "new a was a a0"),
            // Gone.
            (
                &["b 0/0 1", "a 0/0 gone b", "b 1/0 1", "a 1/0 1"],
                "b0 a0 gone b a1",
            ),
            (&["b 1/1 1", "a 0/0 gone b", "b 0/0 1"], "a0 gone b"),
            (
                &["a 0/0 gone b", "a 1/0 gone b", "b 0/0 1"],
                "a0 gone b a1 gone b b0",
            ),
            (
                &["a 1/1 gone b", "b 0/0 1", "a 0/0 1", "b 1/0 1"],
                "b0 a0 a1 gone b",
            ),
            (&["a 0/0 gone a", "a 1/0 1"], "a0 gone a"),
            (
                &["a 0/0 beat new b", "a 0/0 gone b"],
                "new a was b a0 gone b",
            ),
            (
                &["a 0/0 gone b", "a 1/0 beat new b"],
                "a0 gone b new a was b",
            ),
            // Numbers without end.
            (
                &["a 0/0 1", "a 18446744073709551614/0 1"],
                "a0 a-18446744073709551613 a18446744073709551614",
            ),
        ] {
            assert_eq!(read(&mut Nodes::default(), script), expected, "{script:?}");
        }
    }

    #[test]
    fn who_reads_back_is_not_gone() {
        let gone = ["b 0/0 2", "a 0/0 gone b"];
        for (later, expected) in [
            ("b 2/0 1", ""),
            ("b 2/0 beat", ""),
            ("b 7/5 1", ""),
            ("b 3/0 1", " b3"),
            ("b 4/1 beat new", " new b"),
        ] {
            let mut nodes = Nodes::default();
            let told = read(&mut nodes, &[gone[0], gone[1], later]);
            assert_eq!(told, format!("b0 b1 a0 gone b{expected}"), "{later}");
            let figures = nodes.figures();
            let returned = u64::from(!expected.is_empty());
            assert_eq!(
                (figures.returned, figures.of_gone),
                (returned, 1 - returned)
            );
            assert_eq!(
                nodes.living().count(),
                1 + usize::try_from(returned).expect("it is 1")
            );
        }
    }

    #[test]
    fn a_node_that_has_another_id_is_gone_in_silence_until_somebody_says_so() {
        let mut nodes = Nodes::default();
        let told = read(&mut nodes, &["b 1/1 1", "a 0/0 beat new b"]);
        assert_eq!(told, "new a was b");
        assert_eq!(nodes.figures().parked, 0);
        assert_eq!(nodes.expected(node("b")), None);
        assert_eq!(nodes.living().map(name).collect::<String>(), "ab");
        assert_eq!(read(&mut nodes, &["a 0/0 gone b"]), "a0 gone b");
        assert_eq!(nodes.living().map(name).collect::<String>(), "a");
    }

    #[test]
    fn who_begins_behind_another_id_of_a_node_may_tell_a_late_line_of_the_id_before() {
        let log = ["b 0/0 1", "a 0/0 beat new b", "a 0/0 1", "b 1/0 1"];
        let (mut all, mut rest) = (Nodes::default(), Nodes::default());
        assert_eq!(read(&mut all, &log), "b0 new a was b a0");
        assert_eq!(read(&mut rest, &log[2..]), "a0 b1");
    }

    #[test]
    fn what_is_no_batch_is_counted() {
        let mut nodes = Nodes::default();
        nodes.on_entry(1, b"hello", &mut |told| panic!("{told:?}"));
        assert_eq!(nodes.figures().malformed, 1);
    }

    #[test]
    fn who_has_most_parked_waits_no_longer_when_it_is_too_much() {
        for (lines, most) in [(1, 4096), (64, 256)] {
            let text = "x".repeat(if lines == 1 { 1 } else { 240 });
            let lines = vec![(Kind::Word, text); lines];
            let count = lines.len() as u64;
            let (a, b) = (node("a"), node("b"));
            let mut nodes = Nodes::default();
            let mut journal = Journal::default();
            let mut sequence = 0;
            let mut hear = |nodes: &mut Nodes, payload: &[u8]| {
                sequence += 1;
                nodes.on_entry(sequence, payload, &mut |told| journal.note(told));
                let figures = nodes.figures();
                assert!(figures.parked <= 4096 && figures.parked_bytes <= 4 << 20);
                std::mem::take(&mut journal.told)
            };
            hear(&mut nodes, &entry("a 0/0 beat"));
            hear(&mut nodes, &entry("b 0/0 beat"));
            assert!(hear(&mut nodes, &payload(b, 1, 1, &lines)).is_empty());
            let mut told = Vec::new();
            let mut at = 0;
            while told.is_empty() {
                let first = 1 + at * count;
                told = hear(&mut nodes, &payload(a, first, first, &lines));
                at += 1;
            }
            let most_bytes = at >= most && at < most + most / 10;
            assert!(most_bytes, "{at} batches of {count} lines");
            assert_eq!(told[0], "a-1");
            assert_eq!(told.len() as u64, 1 + at * count);
            let figures = nodes.figures();
            assert_eq!(
                (figures.given_up, figures.parked, figures.lost_lines),
                (1, 1, 1)
            );
            assert_eq!(hear(&mut nodes, &entry("b 0/0 1")).len() as u64, 1 + count);
            assert_eq!(
                (nodes.figures().parked, nodes.figures().parked_bytes),
                (0, 0)
            );
        }
    }

    #[test]
    fn the_node_of_which_nothing_was_heard_for_longest_is_forgotten() {
        let mut nodes = Nodes::default();
        let mut journal = Journal::default();
        let mut beat = |nodes: &mut Nodes, id: u64| {
            let beat = payload(NodeId(id), 5, 0, &[(Kind::Beat, String::new())]);
            nodes.on_entry(id, &beat, &mut |told| journal.note(told));
            std::mem::take(&mut journal.told)
        };
        for id in 1000..2024 {
            assert!(beat(&mut nodes, id).is_empty());
        }
        let gone = NodeId(1500).to_string();
        let gone = payload(NodeId(1000), 5, 0, &[(Kind::Gone, gone)]);
        nodes.on_entry(2024, &gone, &mut |_| ());
        assert!(beat(&mut nodes, 2025).is_empty(), "the one that is gone");
        assert_eq!(beat(&mut nodes, 2026), ["gone 1001"], "not 1000");
        assert_eq!(nodes.living().count(), 1024);
    }

    /// The same language, as plainly as it can be written: everything that was heard of a node is kept, and searched for
    /// the line that is expected.
    #[derive(Default, Clone)]
    struct Naive {
        nodes: BTreeMap<NodeId, NaiveNode>,
        told: Vec<String>,
    }

    #[derive(Default, Clone)]
    struct NaiveNode {
        expected: u64,
        seen_from: u64,
        lines: Vec<(u64, Option<NodeId>)>,
        is_gone: bool,
        is_told: bool,
    }

    impl Naive {
        fn hear(&mut self, payload: &[u8]) {
            let Ok(batch) = Batch::parse(payload) else {
                return;
            };
            let header = batch.header();
            let (id, floor) = (header.node, header.first - header.open);
            let begin = NaiveNode {
                expected: floor,
                seen_from: header.first,
                ..NaiveNode::default()
            };
            let node = self.nodes.entry(id).or_insert_with(|| begin.clone());
            if node.is_gone && floor > node.expected {
                *node = begin;
            }
            if node.is_gone {
                return;
            }
            if header.count > 0 {
                let lines = batch.lines().map(|line| line.text.parse().ok());
                node.lines.extend((header.first..).zip(lines));
            }
            let mut lost = 0;
            loop {
                let node = self.nodes.get_mut(&id).expect("it was heard");
                let found = node
                    .lines
                    .iter()
                    .find(|line| line.0 == node.expected && !node.is_gone);
                let found = found.copied();
                let may_skip = !node.is_gone && node.expected < floor;
                if lost > 0 && (found.is_some() || !may_skip) {
                    self.told.push(format!("{}-{lost}", name(id)));
                    lost = 0;
                }
                if let Some((number, gone)) = found {
                    node.expected += 1;
                    self.told.push(format!("{}{number}", name(id)));
                    if let Some(gone) = gone {
                        self.gone(gone, true);
                    }
                } else if may_skip {
                    lost += u64::from(node.expected >= node.seen_from);
                    node.expected += 1;
                } else {
                    break;
                }
            }
            if let Some(Beat::New { was }) = batch.beat() {
                if let Some(was) = was.filter(|&it| it != id) {
                    self.gone(was, false);
                }
                let was = was.map(|was| format!(" was {}", name(was)));
                self.told
                    .push(format!("new {}{}", name(id), was.unwrap_or_default()));
            }
        }

        fn gone(&mut self, id: NodeId, is_told: bool) {
            let mut was_told = false;
            if let Some(node) = self.nodes.get_mut(&id) {
                was_told = node.is_told;
                node.is_gone = true;
                node.is_told |= is_told;
                node.lines.clear();
            }
            if is_told && !was_told {
                self.told.push(format!("gone {}", name(id)));
            }
        }
    }

    /// A server that says something, as far as the log is concerned.
    struct Server {
        id: NodeId,
        next: u64,
        /// Batches that were sent and not read back: their ends, and what they are.
        unread: VecDeque<(u64, Vec<u8>)>,
        reader: Naive,
        /// How much of the log it has read.
        read: usize,
    }

    /// Servers and their log, over an engine that refuses batches, or stores them late.
    struct World {
        rng: fastrand::Rng,
        servers: Vec<Server>,
        log: Vec<Vec<u8>>,
        late: Vec<Vec<u8>>,
        next_id: u64,
        is_calm: bool,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let mut world = Self {
                rng: fastrand::Rng::with_seed(seed),
                servers: Vec::new(),
                log: Vec::new(),
                late: Vec::new(),
                next_id: 1000,
                is_calm: false,
            };
            for at in 0..world.rng.usize(2..5) {
                world.servers.push(Server {
                    id: NodeId(0),
                    next: 0,
                    unread: VecDeque::new(),
                    reader: Naive::default(),
                    read: 0,
                });
                world.begin_anew(at);
            }
            world
        }

        fn send(&mut self, payload: Vec<u8>) {
            match self.rng.u8(0..10) {
                0 | 1 if !self.is_calm => {}
                2 | 3 if !self.is_calm => self.late.push(payload),
                _ => self.log.push(payload),
            }
        }

        fn begin_anew(&mut self, at: usize) {
            self.next_id += 1;
            let server = &mut self.servers[at];
            let was = if server.id == NodeId(0) {
                String::new()
            } else {
                format!(" {}", server.id)
            };
            server.id = NodeId(self.next_id);
            server.next = 0;
            server.unread.clear();
            let beat = payload(server.id, 0, 0, &[(Kind::Beat, format!("new{was}"))]);
            self.send(beat);
        }

        fn read_on(&mut self, at: usize, entries: usize) {
            for _ in 0..entries {
                let server = &mut self.servers[at];
                let Some(entry) = self.log.get(server.read) else {
                    return;
                };
                server.read += 1;
                server.reader.hear(entry);
                let gone = format!("gone {}", name(server.id));
                let is_gone = server.reader.told.contains(&gone);
                server.reader.told.clear();
                if let Some(node) = server.reader.nodes.get(&server.id) {
                    server.unread.retain(|(end, _)| *end > node.expected);
                }
                if is_gone {
                    self.begin_anew(at);
                }
            }
        }

        fn say(&mut self, at: usize) {
            if self.servers[at].unread.len() >= 16 {
                return;
            }
            let other = self.servers[self.rng.usize(0..self.servers.len())].id;
            let is_gone = !self.is_calm && self.rng.u8(0..40) == 0;
            let count = self.rng.u64(1..4);
            let server = &mut self.servers[at];
            let text = |number| format!("{}{number}", server.id.0);
            let mut lines: Vec<_> = (0..count)
                .map(|it| (Kind::Say, text(server.next + it)))
                .collect();
            if is_gone {
                lines[0] = (Kind::Gone, other.to_string());
            }
            let payload = payload(server.id, server.next, server.open(), &lines);
            server.next += count;
            server.unread.push_back((server.next, payload.clone()));
            self.send(payload);
        }

        fn beat(&mut self, at: usize) {
            let server = &self.servers[at];
            let beat = payload(
                server.id,
                server.next,
                server.open(),
                &[(Kind::Beat, String::new())],
            );
            self.send(beat);
        }

        fn send_again(&mut self, at: usize, most: usize) {
            let unread = self.servers[at].unread.iter().take(most);
            for payload in unread.map(|it| it.1.clone()).collect::<Vec<_>>() {
                self.send(payload);
            }
        }

        fn step(&mut self) {
            let at = self.rng.usize(0..self.servers.len());
            match self.rng.u8(0..40) {
                0..15 => self.say(at),
                15..25 => {
                    let entries = self.rng.usize(0..12);
                    self.read_on(at, entries);
                }
                25..29 => self.send_again(at, 1),
                29 => self.send_again(at, 16),
                30..32 => self.beat(at),
                32 => self.log.push(b"1 nonsense".to_vec()),
                33 if self.rng.u8(0..8) == 0 => self.begin_anew(at),
                _ if !self.late.is_empty() => {
                    let late = self.rng.usize(0..self.late.len());
                    let late = self.late.swap_remove(late);
                    self.log.push(late);
                }
                _ => {}
            }
        }

        /// Nothing is under way any more, and all have read a line back and everything else. Returns what the log had
        /// before they say so.
        fn calm_down(&mut self) -> usize {
            self.is_calm = true;
            self.log.append(&mut self.late);
            for _ in 0..4 {
                for at in 0..self.servers.len() {
                    self.read_on(at, usize::MAX);
                    self.say(at);
                    self.send_again(at, 16);
                    self.read_on(at, usize::MAX);
                }
            }
            let calm = self.log.len();
            for at in 0..self.servers.len() {
                assert!(self.servers[at].unread.is_empty());
                self.beat(at);
            }
            self.is_calm = false;
            calm
        }
    }

    impl Server {
        fn open(&self) -> u64 {
            let node = self.reader.nodes.get(&self.id);
            self.next - node.map_or(0, |node| node.expected)
        }
    }

    /// Reads entries with both, and fails if they differ.
    fn read_both(nodes: &mut Nodes, naive: &mut Naive, log: &[(u64, &[u8])]) -> Vec<String> {
        let mut journal = Journal::default();
        for (sequence, entry) in log {
            let before = journal.told.len();
            nodes.on_entry(*sequence, entry, &mut |told| journal.note(told));
            naive.hear(entry);
            let told: Vec<_> = naive.told.drain(..).collect();
            assert_eq!(journal.told[before..], told, "at {sequence}");
        }
        journal.told
    }

    fn lines_of(told: &[String], node: NodeId) -> Vec<u64> {
        let lines = told.iter().filter_map(|it| it.strip_prefix(&*name(node)));
        lines.filter_map(|it| it.parse().ok()).collect()
    }

    fn losses_of(told: &[String], node: NodeId) -> u64 {
        let prefix = format!("{}-", name(node));
        let losses = told.iter().filter_map(|it| it.strip_prefix(&*prefix));
        losses.map(|it| it.parse::<u64>().expect("a number")).sum()
    }

    fn seeds(default: u64) -> std::ops::Range<u64> {
        let number = |name| std::env::var(name).ok().and_then(|it| it.parse().ok());
        let first = number("LINE_CHAT_SEED").unwrap_or(0);
        first..first + number("LINE_CHAT_SEEDS").unwrap_or(default)
    }

    #[test]
    fn all_tell_the_same_sooner_or_later() {
        let mut tally = [0; 8];
        for seed in seeds(300) {
            println!("seed {seed}");
            let mut world = World::new(seed);
            for _ in 0..world.rng.usize(10..400) {
                world.step();
            }
            let quiet = world.calm_down();
            let calm = world.log.len();
            for _ in 0..200 {
                world.step();
            }
            let log: Vec<_> = (1..).zip(world.log.iter().map(|it| &it[..])).collect();

            // Whoever reads everything loses nothing, and tells each line of those that are not gone once.
            let (mut full, mut naive) = (Nodes::default(), Naive::default());
            let told = read_both(&mut full, &mut naive, &log[..calm]);
            let before = full.figures();
            assert_eq!((before.lost_lines, before.returned), (0, 0), "seed {seed}");
            let batches = log.iter().filter_map(|it| Batch::parse(it.1).ok());
            let headers: Vec<_> = batches.map(|batch| batch.header()).collect();
            let ids: BTreeSet<_> = headers.iter().map(|it| it.node).collect();
            for &id in &ids {
                let lines = lines_of(&told, id);
                assert!(
                    (0..).zip(&lines).all(|(at, &line)| at == line),
                    "seed {seed}: {lines:?}"
                );
            }
            let later = read_both(&mut full, &mut naive, &log[calm..]);

            // Who begins in the middle, or misses entries, agrees from the calm on.
            let start = world.rng.usize(0..quiet);
            let end = world.rng.usize(start..=quiet);
            for is_known in [false, true] {
                let (mut nodes, mut naive) = (Nodes::default(), Naive::default());
                let mut mine = Vec::new();
                let mut known = BTreeSet::new();
                if is_known {
                    mine = read_both(&mut nodes, &mut naive, &log[..start]);
                    known = nodes
                        .living()
                        .filter(|&it| nodes.expected(it).is_some())
                        .collect();
                }
                mine.extend(read_both(&mut nodes, &mut naive, &log[end..calm]));
                for &id in &ids {
                    let lines = lines_of(&mine, id);
                    assert!(lines.is_sorted_by(|a, b| a < b), "seed {seed}: {lines:?}");
                }
                for id in world.servers.iter().map(|it| it.id) {
                    let first = headers.iter().find(|it| it.node == id);
                    let is_exact = first.is_some_and(|it| it.first == 0);
                    if known.contains(&id) && nodes.figures().returned == 0 && is_exact {
                        let lost = losses_of(&mine, id);
                        let count = lines_of(&mine, id).len() as u64 + lost;
                        assert_eq!(count, lines_of(&told, id).len() as u64, "{id}");
                        tally[0] += u64::from(lost > 0);
                    }
                }
                let agreed = read_both(&mut nodes, &mut naive, &log[calm..]);
                assert_eq!(agreed, later, "from {end}");
                tally[1] += nodes.figures().returned;
                tally[2] += u64::from(mine != told);
            }
            let figures = full.figures();
            tally[3] += figures.doubles;
            tally[4] += figures.of_gone;
            tally[5] += figures.malformed;
            tally[6] += u64::from(before.parked > 0);
            tally[7] += u64::from(told.iter().any(|it| it.starts_with("gone")));
        }
        if std::env::var_os("LINE_CHAT_SEED").is_none() {
            assert!(
                tally.iter().all(|&it| it >= 3),
                "each came about: {tally:?}"
            );
        }
    }

    // Whoever may publish on the engine may send what they like.
    #[test]
    fn whatever_is_sent_is_told_in_order_and_once() {
        for seed in seeds(500) {
            println!("seed {seed}");
            let rng = &mut fastrand::Rng::with_seed(seed);
            let mut nodes = Nodes::default();
            let mut journal = Journal::default();
            let mut next: BTreeMap<NodeId, u64> = BTreeMap::new();
            for sequence in 1..100 {
                let id = ["a", "b", "c"][rng.usize(0..3)];
                let first = if rng.u8(0..50) == 0 {
                    u64::MAX - rng.u64(3..9)
                } else {
                    rng.u64(0..30)
                };
                let open = rng.u64(0..=first.min(12));
                let what = match rng.u8(0..40) {
                    0 => "gone a".to_owned(),
                    1 => "beat".to_owned(),
                    2 => "beat new b".to_owned(),
                    it => (1 + it % 3).to_string(),
                };
                let entry = entry(&format!("{id} {first}/{open} {what}"));
                nodes.on_entry(sequence, &entry, &mut |told| {
                    journal.note(told);
                    match told {
                        Told::Line { node, number, .. } => {
                            let next = next.entry(node).or_insert(number);
                            assert!(number >= *next, "seed {seed}: {told:?} for {next}");
                            *next = number + 1;
                        }
                        Told::Gone { node } => drop(next.remove(&node)),
                        Told::NewNode { was: Some(was), .. } => drop(next.remove(&was)),
                        _ => {}
                    }
                });
                let (mut parked, mut bytes) = (0, 0);
                for node in nodes.nodes.values() {
                    if let State::Living(numbers) = &node.state {
                        parked += numbers.parked.len();
                        bytes += numbers.parked.values().map(|it| it.len()).sum::<usize>();
                        let first = numbers.parked.first_key_value();
                        assert!(
                            first.is_none_or(|it| *it.0 > numbers.expected),
                            "seed {seed}"
                        );
                    }
                }
                let figures = nodes.figures();
                assert_eq!(
                    (figures.parked, figures.parked_bytes),
                    (parked, bytes),
                    "seed {seed}"
                );
            }
        }
    }
}
