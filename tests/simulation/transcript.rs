//! What the transcript holds: all that was said, in its order and each line with the time of its turn, or
//! before it the number of lines that are missing. So what was seen and what was told of as skipped is at
//! every line all that was said before it, whichever writers came and went meanwhile; and the room never
//! waits, which is the model's to see.
//!
//! In which order a line and a notice of one turn were said no event tells, so each kind has its order, and
//! the count is of both.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use line_chat::CloseReason;

use crate::journal::{Peer, Record};
use crate::reference;

thread_local! {
    static MILLIS: Cell<u64> = const { Cell::new(0) };
}

/// The time of day: each turn has a millisecond of its own.
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(MILLIS.get())
}

pub(crate) fn next_turn() {
    MILLIS.set(MILLIS.get() + 1);
}

/// What a run shows of transcripts.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) seen: u64,
    /// Lines that were left out, and told of.
    pub(crate) skipped: u64,
    /// Times that a writer took nothing.
    pub(crate) stalled: u64,
    /// Writers that ended with lines in their queue.
    pub(crate) lost: u64,
    /// Writers that ended with a notice of skipped lines in their queue.
    pub(crate) lost_notices: u64,
    /// Lines that were said after a writer's stream broke, and before it had ended.
    pub(crate) not_taken: u64,
    /// Writers that were told of what others have lost.
    pub(crate) inherited: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// Whether the room is recorded.
    is_recorded: bool,
    writer: Option<Peer>,
    /// Those that are connected and have not begun, and those that have ended: what they take is not
    /// counted.
    others: BTreeSet<Peer>,
    /// What was said, without the turns of which all lines were seen or told of as skipped.
    turns: VecDeque<Turn>,
    /// How many lines were said in all.
    said: u64,
    /// How many lines were said in turns that are no longer in `turns`.
    passed: u64,
    /// How many lines writers got.
    seen: u64,
    /// How many lines writers got notices of, as skipped.
    told: u64,
    /// How many lines were skipped according to the events, which come when a notice is queued.
    told_by_event: u64,
    /// How many lines a notice tells of that was written in part before its writer ended.
    torn: u64,
    /// The part of a line that the writer got last.
    begun: Vec<u8>,
    /// How many lost lines a new writer is told of with the first line that it gets.
    inherited: u64,
    /// How many lines had been said when the shutdown began.
    ends_at: Option<u64>,
    /// Whether the writer got the goodbye.
    is_finished: bool,
    /// Whether the writer took only a part of what it was offered last.
    has_rest: bool,
    /// Whether the writer's stream is broken, though it has not ended yet.
    is_deaf: bool,
    pub(crate) counts: Counts,
}

/// What was said in one turn.
#[derive(Debug)]
struct Turn {
    millis: u64,
    lines: Sequence,
    notices: Sequence,
}

#[derive(Debug, Default)]
struct Sequence {
    lines: Vec<Vec<u8>>,
    /// How many of them were seen or left out.
    passed: usize,
}

impl Transcript {
    pub(crate) fn new(is_recorded: bool) -> Self {
        Self {
            is_recorded,
            ..Self::default()
        }
    }

    pub(crate) fn is_writer(&self, peer: Peer) -> bool {
        self.writer == Some(peer) || self.others.contains(&peer)
    }

    /// Whether this is the writer that gets what is said now.
    pub(crate) fn is_written_by(&self, peer: Peer) -> bool {
        self.writer == Some(peer)
    }

    /// A writer is connected, and will begin.
    pub(crate) fn expect(&mut self, peer: Peer) {
        self.others.insert(peer);
    }

    pub(crate) fn says(&mut self, line: &[u8]) {
        if !self.is_recorded {
            return;
        }
        let is_notice = line.starts_with(b"* ");
        let millis = MILLIS.get();
        self.said += 1;
        self.counts.not_taken += u64::from(self.is_deaf && self.writer.is_some());
        if self.turns.back().is_none_or(|turn| turn.millis != millis) {
            self.turns.push_back(Turn {
                millis,
                lines: Sequence::default(),
                notices: Sequence::default(),
            });
        }
        let turn = self.turns.back_mut().expect("it was pushed");
        let sequence = match is_notice {
            true => &mut turn.notices,
            false => &mut turn.lines,
        };
        sequence.lines.push(normal(line));
    }

    /// How many lines were said, but for those of this turn, which are not written before its end.
    fn said_before(&self) -> u64 {
        let now = MILLIS.get();
        let present = self.turns.back().filter(|turn| turn.millis == now);
        self.said - present.map_or(0, Turn::len)
    }

    fn known(&self) -> u64 {
        self.seen + self.told
    }

    pub(crate) fn begins(&mut self, peer: Peer, lost: u64) {
        assert_eq!(self.writer, None, "a second transcript");
        self.others.remove(&peer);
        self.writer = Some(peer);
        let missing = self.said - self.known();
        assert!(
            (missing.saturating_sub(self.torn)..=missing).contains(&lost),
            "{lost} lines are said to be lost, and {missing} are"
        );
        if self.torn > 0 {
            // Nobody knows whether it was read.
            self.told = self.said - lost - self.seen;
        }
        self.torn = 0;
        self.counts.inherited += u64::from(lost > 0);
        self.told_by_event = self.told;
        self.begun.clear();
        (self.has_rest, self.is_deaf) = (false, false);
        self.inherited = lost;
    }

    pub(crate) fn ends(&mut self, reason: CloseReason, lost: u64) {
        let writer = self.writer.expect("there is one");
        let missing = self.said_before() - self.known();
        let most = self.said - self.known();
        if reason == CloseReason::Shutdown {
            self.ends_at = Some(self.said_before());
            return;
        }
        assert!(
            matches!(reason, CloseReason::HungUp | CloseReason::Broken),
            "a transcript ends: {reason}"
        );
        if self.begun.starts_with(b"*") {
            // A part of a notice was taken, and nobody knows whether it says how many.
            self.torn = self.told_by_event - self.told;
        }
        assert!(
            (missing.saturating_sub(self.torn)..=most).contains(&lost),
            "{lost} lines were queued, and {missing} to {most} were not written"
        );
        self.counts.lost += u64::from(lost > 0);
        let has_notice = self.told_by_event > self.told && self.torn == 0;
        self.counts.lost_notices += u64::from(has_notice);
        self.others.insert(writer);
        self.writer = None;
    }

    /// A record of a writer's.
    pub(crate) fn follow(&mut self, record: &Record) {
        match record {
            Record::Wrote {
                peer,
                offered,
                bytes,
                ..
            } if self.writer == Some(*peer) => {
                self.has_rest = bytes.len() < *offered;
                self.counts.stalled += u64::from(bytes.is_empty());
                self.gets(bytes);
            }
            Record::Deafened { peer } if self.writer == Some(*peer) => self.is_deaf = true,
            Record::Skipped { peer, lines } if self.writer == Some(*peer) => {
                self.told_by_event += lines;
            }
            Record::ShutDownWrite { peer } if self.writer == Some(*peer) => {
                assert!(self.is_finished, "its end is not written");
            }
            Record::Deregistered { peer } if self.ends_at.is_some() => {
                assert_eq!(self.writer.take(), Some(*peer), "it ended twice");
            }
            // What a writer takes that has ended, nobody reads.
            _ => {}
        }
    }

    fn gets(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                assert!(!line.ends_with(b"\r\n"), "{}", line.escape_ascii());
                self.gets_line(line.strip_suffix(b"\n").unwrap_or_default());
            }
        }
    }

    fn gets_line(&mut self, line: &[u8]) {
        assert!(!self.is_finished, "{}", line.escape_ascii());
        self.inherited = 0;
        if line.starts_with(b"* ") {
            let with_end = [line, b"\r\n"].concat();
            let count = reference::skipped(&with_end).expect("a notice has no time");
            self.told += count;
            self.counts.skipped += count;
            assert!(self.told <= self.told_by_event, "no event for {count}");
            let all = self.ends_at.unwrap_or(self.said);
            assert!(self.known() <= all, "{count} lines skipped are too many");
            return;
        }
        let (millis, line) = stamped(line);
        let goodbye = reference::goodbye(CloseReason::Shutdown);
        if let Some(all) = self.ends_at
            && goodbye.strip_suffix("\r\n").map(str::as_bytes) == Some(line)
        {
            assert_eq!(self.known(), all, "some were neither seen nor told of");
            self.is_finished = true;
            return;
        }
        self.sees(millis, line);
    }

    /// A line is the next one, but for those that it was told of.
    fn sees(&mut self, millis: u64, line: &[u8]) {
        while let Some(turn) = self.turns.front()
            && turn.millis < millis
        {
            self.passed += turn.len();
            self.turns.pop_front();
        }
        let before = self.known().checked_sub(self.passed);
        let line = &normal(line)[..];
        let shown = || line.escape_ascii();
        let before = before.unwrap_or_else(|| panic!("before {} some are missing", shown()));
        let before = usize::try_from(before).expect("a few");
        let turn = self.turns.front_mut().filter(|it| it.millis == millis);
        let turn = turn.unwrap_or_else(|| panic!("{} was not said then", shown()));
        let (own, others) = match line.starts_with(b"* ") {
            true => (&mut turn.notices, &turn.lines),
            false => (&mut turn.lines, &turn.notices),
        };
        // Those before it were seen or left out, and so were some of the other kind.
        let first = before.saturating_sub(others.lines.len()).max(own.passed);
        let behind = (before + 1).saturating_sub(others.passed);
        let mut places = first..behind.min(own.lines.len());
        let at = places.find(|&at| own.lines[at] == line);
        let at = at.unwrap_or_else(|| panic!("{} behind {before} others", shown()));
        own.passed = at + 1;
        self.seen += 1;
        self.counts.seen += 1;
    }

    /// Whether its writer takes nothing now.
    pub(crate) fn has_rest(&self) -> bool {
        self.has_rest
    }

    /// A writer that takes what comes has everything, or was told of it.
    pub(crate) fn assert_has_all(&self) {
        if self.is_deaf {
            return;
        }
        let torn = self.begun.escape_ascii();
        assert!(self.begun.is_empty(), "a torn line: {torn}");
        let all = self.ends_at.unwrap_or(self.said);
        let missing = all - self.known();
        assert_eq!(missing, self.inherited, "some are missing");
    }
}

impl Turn {
    fn len(&self) -> u64 {
        (self.lines.lines.len() + self.notices.lines.len()) as u64
    }
}

/// What is the same whether people see a line or scripts: these get it as it was typed, and for people names
/// are isolated and long gaps are short.
fn normal(line: &[u8]) -> Vec<u8> {
    let has_gap = |line: &[u8]| line.windows(2).any(|two| two == b"  ") || line.ends_with(b" ");
    if line.is_ascii() && !line.contains(&b'\t') && !has_gap(line) {
        return line.to_vec();
    }
    let line = String::from_utf8_lossy(line);
    let is_isolate = |c: char| ('\u{2066}'..='\u{2069}').contains(&c);
    let line: String = line.chars().filter(|&c| !is_isolate(c)).collect();
    let words = line
        .split(char::is_whitespace)
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").into_bytes()
}

/// The millisecond that stands before a line, and the line.
fn stamped(line: &[u8]) -> (u64, &[u8]) {
    let shown = || line.escape_ascii();
    let (stamp, line) = line
        .split_at_checked(25)
        .unwrap_or_else(|| panic!("{} has no time", shown()));
    let stamp = std::str::from_utf8(stamp).expect("a time is ASCII");
    let time = stamp
        .strip_prefix("1970-01-01T")
        .and_then(|it| it.strip_suffix("Z "));
    let numbers = time.map(|it| it.split([':', '.']).map(|it| it.parse::<u64>().ok()));
    let numbers: Option<Vec<u64>> = numbers.and_then(Iterator::collect);
    let Some([h, m, s, millis]) = numbers.as_deref() else {
        panic!("{stamp:?} is no time")
    };
    (((h * 60 + m) * 60 + s) * 1000 + millis, line)
}
