//! The entries of the log in their order: [`Sequencer`] is handed them as they are heard, late, twice, in any
//! order or not at all, and reads them out one behind the other. What is missing it asks for; of what the log
//! has given up it counts the entries, exactly, because a log has no holes but in front of its first entry.
//!
//! | what comes | what happens |
//! |---|---|
//! | an entry below the next one | dropped: it was read, or is lost |
//! | the next one | read out, and those that wait directly behind it, as far as one turn may |
//! | a later one | waits; what is missing before it is asked for after 50 ms |
//! | "missing", from a server that may be behind | what the log holds is asked, once; 50 ms later the entry again |
//! | "not fetched": nobody leads the log | asked again after 250 ms |
//! | no answer | asked again after 2 s |
//! | what the log holds | what is missing below its first entry is lost; nothing was ever behind its last one |
//! | too much waits | the latest is thrown away, and nothing later is asked for until half is read |
//! | the link is lost | nothing is known; what comes before it is open waits, because it may be of another log |
//!
//! An entry that was heard is not to be believed: on the subject on which the engine repeats its log somebody else
//! may publish as well, under any sequence. So what is not missing in the log is not waited for either.
//!
//! Nothing is asked for by itself: [`Sequencer::ask`] is called after whatever was heard, and when its time has
//! come. What waits behind a gap that is filled may be more than readers can take at once: [`Sequencer::read_on`] reads
//! out the next part of it, turn by turn.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::time::moment::Moment;

/// The most fetches that are out.
const MAX_FETCHES: usize = 1024;

/// The most entries that wait, and their bytes.
const MAX_WAITING: usize = 4096;
const MAX_WAITING_BYTES: usize = 4 << 20;

/// How much is read out at once, in bytes, unless a single entry is longer.
const READ_BYTES: usize = 8 << 10;

/// How far before the next entry something is asked for.
const MAX_AHEAD: u64 = 4096;

/// The most gaps with times of their own. More are joined.
const MAX_GAPS: usize = 4096;

/// How long nothing is asked of a log that nobody leads.
const NOT_FETCHED: Duration = Duration::from_millis(250);

/// How long an answer is waited for.
const NO_ANSWER: Duration = Duration::from_secs(2);

/// An entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) sequence: u64,
    pub(crate) payload: &'a [u8],
    /// When it was stored, as far as is known.
    pub(crate) stored_at: Moment,
}

/// What is read out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read<'a> {
    /// The next entry.
    Entry(Entry<'a>),
    /// So many entries the log does not hold any more.
    Lost { entries: u64 },
}

/// What is asked of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The entry with this sequence.
    Fetch(u64),
    /// Which entries there are.
    Info,
}

/// What was read, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// Entries that were asked for, and how often that was done again.
    pub(crate) fetches: u64,
    pub(crate) fetches_again: u64,
    /// Entries that were read or lost before.
    pub(crate) doubles: u64,
    /// Entries that were thrown away because too much waited.
    pub(crate) thrown: u64,
    /// Entries that are lost.
    pub(crate) lost_entries: u64,
}

/// The log in order, as far as it is known.
#[derive(Debug)]
pub(crate) struct Sequencer {
    /// How long a missing entry is expected to come by itself.
    gap: Duration,
    is_open: bool,
    /// The sequence that is read next.
    next: u64,
    /// The first sequence that the log holds: what is missing below it is lost.
    first: u64,
    /// The sequence behind the last one that is known of.
    end: u64,
    /// Entries behind the next one; while the link is not open, any.
    waiting: BTreeMap<u64, Waiting>,
    waiting_bytes: usize,
    /// Whether too much waited, and it is not yet half of that again.
    is_full: bool,
    /// Up to where something is missing, and since when it may be asked for; both ascend.
    gaps: VecDeque<Gap>,
    /// What is missing below this may be asked for.
    due_end: u64,
    /// What is missing below this was asked for, and is in `fetches` until it comes.
    asked_end: u64,
    fetches: BTreeMap<u64, Fetch>,
    info: Info,
    figures: Figures,
}

#[derive(Debug)]
struct Waiting {
    heard: Moment,
    stored_at: Moment,
    payload: Box<[u8]>,
}

#[derive(Debug)]
struct Gap {
    end: u64,
    due: Moment,
}

/// An entry that was asked for.
#[derive(Debug, Clone, Copy)]
enum Fetch {
    /// That is done again then.
    Asked { again: Moment },
    /// The server that was asked does not have it: what the log holds is asked first.
    Missing,
}

impl Fetch {
    fn due(self) -> Option<Moment> {
        match self {
            Self::Asked { again } => Some(again),
            Self::Missing => None,
        }
    }
}

/// Whether it has to be known what the log holds.
#[derive(Debug, Clone, Copy)]
enum Info {
    /// Not now; no more often than that.
    Idle { not_before: Moment },
    /// At this time.
    Wanted { at: Moment },
    /// It was asked then.
    Asked { at: Moment },
}

impl Sequencer {
    /// Of an entry that is missing this is how long it may come by itself.
    pub(crate) fn new(gap: Duration) -> Self {
        Self {
            gap,
            is_open: false,
            next: 1,
            first: 1,
            end: 1,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            is_full: false,
            gaps: VecDeque::new(),
            due_end: 0,
            asked_end: 0,
            fetches: BTreeMap::new(),
            info: Info::Idle {
                not_before: Moment::BEGINNING,
            },
            figures: Figures::default(),
        }
    }

    /// The sequence that is read next: all before it are read or lost.
    #[cfg(test)]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// What was read, in numbers.
    pub(crate) fn figures(&self) -> Figures {
        self.figures
    }

    /// The number of entries that wait, and their bytes.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting_bytes)
    }

    /// The link is open, and the log holds `first..=last`: it is read from `next` on, and what was heard since the link
    /// was made counts. What is below `first` is lost, and the rest up to `last` is asked for at once.
    pub(crate) fn on_open(
        &mut self,
        next: u64,
        (first, last): (u64, u64),
        now: Moment,
        sink: &mut impl FnMut(Read<'_>),
    ) {
        self.is_open = true;
        self.next = next.max(1);
        let waiting = std::mem::take(&mut self.waiting).split_off(&self.next);
        self.waiting_bytes = 0;
        self.end = self.next.max(last.saturating_add(1));
        self.due_end = self.end;
        self.asked_end = self.next;
        for (sequence, waiting) in waiting {
            self.expect_up_to(sequence, now);
            self.keep(sequence, waiting);
        }
        self.first = 0;
        self.begin_at(first);
        self.read_on(sink);
    }

    /// The link is lost: what waits is asked for again when there is another one.
    pub(crate) fn on_closed(&mut self) {
        self.is_open = false;
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.is_full = false;
        self.gaps.clear();
        self.fetches.clear();
        self.info = Info::Idle {
            not_before: Moment::BEGINNING,
        };
    }

    /// An entry was heard or fetched.
    pub(crate) fn on_entry(
        &mut self,
        entry: Entry<'_>,
        now: Moment,
        sink: &mut impl FnMut(Read<'_>),
    ) {
        let Entry { sequence, .. } = entry;
        let mut read_bytes = 0;
        if self.is_open && sequence < self.next || self.waiting.contains_key(&sequence) {
            self.figures.doubles = self.figures.doubles.saturating_add(1);
        } else if self.is_open && sequence == self.next {
            self.expect_up_to(sequence, now);
            self.fetches.remove(&sequence);
            self.read(entry, sink);
            read_bytes = entry.payload.len();
        } else {
            if self.is_open {
                self.expect_up_to(sequence, now);
            }
            self.fetches.remove(&sequence);
            let waiting = Waiting {
                heard: now,
                stored_at: entry.stored_at,
                payload: entry.payload.into(),
            };
            self.keep(sequence, waiting);
        }
        self.read_behind(read_bytes, sink);
    }

    /// The server that was asked has no such entry.
    pub(crate) fn on_missing(&mut self, sequence: u64, now: Moment) {
        if let Some(fetch) = self.fetches.get_mut(&sequence) {
            *fetch = Fetch::Missing;
            if let Info::Idle { not_before } = self.info {
                let at = now.max(not_before);
                self.info = Info::Wanted { at };
            }
        }
    }

    /// Nobody could look for the entry.
    pub(crate) fn on_not_fetched(&mut self, sequence: u64, now: Moment) {
        if let Some(fetch) = self.fetches.get_mut(&sequence) {
            let again = now + NOT_FETCHED;
            *fetch = Fetch::Asked { again };
        }
    }

    /// The log holds `first..=last`.
    pub(crate) fn on_info(
        &mut self,
        (first, last): (u64, u64),
        now: Moment,
        sink: &mut impl FnMut(Read<'_>),
    ) {
        if !self.is_open {
            return;
        }
        self.begin_at(first);
        self.read_on(sink);
        let end = last.saturating_add(1);
        if end > self.end {
            self.open_gap(end, now);
            self.end = end;
        }
        if let Info::Asked { at } = self.info {
            self.info = Info::Idle {
                not_before: at + self.gap,
            };
            self.forget_behind(end, at);
        }
        let missing = self.fetches.values_mut().filter(|it| it.due().is_none());
        let again = now + self.gap;
        missing.for_each(|fetch| *fetch = Fetch::Asked { again });
    }

    /// Asks for what is due.
    pub(crate) fn ask(&mut self, now: Moment, engine: &mut impl FnMut(Ask)) {
        if !self.is_open {
            return;
        }
        while let Some(gap) = self
            .gaps
            .front()
            .filter(|gap| gap.due <= now || gap.end <= self.next)
        {
            self.due_end = self.due_end.max(gap.end);
            self.gaps.pop_front();
        }
        for (&sequence, fetch) in &mut self.fetches {
            if fetch.due().is_some_and(|due| due <= now) {
                let again = now + NO_ANSWER;
                *fetch = Fetch::Asked { again };
                self.figures.fetches_again = self.figures.fetches_again.saturating_add(1);
                engine(Ask::Fetch(sequence));
            }
        }
        self.fetch_more(now, engine);
        if self.info_due().is_some_and(|due| due <= now) {
            self.info = Info::Asked { at: now };
            engine(Ask::Info);
        }
    }

    /// When something is to be asked, or read out, if nothing is heard before.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let gap = self.gaps.front().map(|gap| gap.due);
        let fetch = self.fetches.values().filter_map(|it| it.due()).min();
        let at_once = self.has_more().then_some(Moment::BEGINNING);
        let deadlines = [gap, fetch, self.info_due(), at_once];
        deadlines.into_iter().flatten().min()
    }

    /// Whether something can be read out.
    pub(crate) fn has_more(&self) -> bool {
        let next = self.waiting.first_key_value().map(|(&next, _)| next);
        self.is_open && (self.next < self.first || next == Some(self.next))
    }

    fn info_due(&self) -> Option<Moment> {
        match self.info {
            Info::Idle { .. } => None,
            Info::Wanted { at } => Some(at),
            Info::Asked { at } => Some(at + NO_ANSWER),
        }
    }

    fn fetch_more(&mut self, now: Moment, engine: &mut impl FnMut(Ask)) {
        let mut end = self.due_end.min(self.next.saturating_add(MAX_AHEAD));
        if let Some((&last, _)) = self.waiting.last_key_value().filter(|_| self.is_full) {
            end = end.min(last);
        }
        self.asked_end = self.asked_end.max(self.next).max(self.first);
        while self.asked_end < end && self.fetches.len() < MAX_FETCHES {
            let sequence = self.asked_end;
            self.asked_end = self.asked_end.saturating_add(1);
            if !self.waiting.contains_key(&sequence) && !self.fetches.contains_key(&sequence) {
                let again = now + NO_ANSWER;
                self.fetches.insert(sequence, Fetch::Asked { again });
                self.figures.fetches = self.figures.fetches.saturating_add(1);
                engine(Ask::Fetch(sequence));
            }
        }
    }

    /// There is such an entry, so all before it have been there, too.
    fn expect_up_to(&mut self, sequence: u64, now: Moment) {
        if sequence > self.end {
            self.open_gap(sequence, now);
        }
        self.end = self.end.max(sequence.saturating_add(1));
    }

    /// What is missing below `end` is asked for if it does not come by itself.
    fn open_gap(&mut self, end: u64, now: Moment) {
        let is_full = self.gaps.len() >= MAX_GAPS;
        match self.gaps.back_mut().filter(|_| is_full) {
            Some(last) => last.end = last.end.max(end),
            None => self.gaps.push_back(Gap {
                end,
                due: now + self.gap,
            }),
        }
    }

    /// Lets an entry wait. If that is too much, the latest is thrown away.
    fn keep(&mut self, sequence: u64, waiting: Waiting) {
        self.waiting_bytes = self.waiting_bytes.saturating_add(waiting.payload.len());
        self.waiting.insert(sequence, waiting);
        while self.waiting.len() > MAX_WAITING || self.waiting_bytes > MAX_WAITING_BYTES {
            let Some((sequence, latest)) = self.waiting.pop_last() else {
                return;
            };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(latest.payload.len());
            self.figures.thrown = self.figures.thrown.saturating_add(1);
            self.is_full = true;
            self.asked_end = self.asked_end.min(sequence);
            self.due_end = self.due_end.max(sequence.saturating_add(1));
        }
    }

    fn read(&mut self, entry: Entry<'_>, sink: &mut impl FnMut(Read<'_>)) {
        self.next = entry.sequence.saturating_add(1);
        sink(Read::Entry(entry));
    }

    /// Reads out what waits directly behind what was read, as far as that may be done at once. What is missing below the
    /// first entry of the log is lost.
    pub(crate) fn read_on(&mut self, sink: &mut impl FnMut(Read<'_>)) {
        self.read_behind(0, sink);
    }

    /// Reads on, when so many bytes were read out at once already.
    fn read_behind(&mut self, mut bytes: usize, sink: &mut impl FnMut(Read<'_>)) {
        while self.has_more() {
            let first = self.waiting.first_entry();
            let next = first.as_ref().map(|first| *first.key());
            if let Some(first) = first.filter(|first| *first.key() == self.next) {
                let len = first.get().payload.len();
                if bytes > 0 && bytes.saturating_add(len) > READ_BYTES {
                    break;
                }
                let (sequence, waiting) = first.remove_entry();
                self.waiting_bytes = self.waiting_bytes.saturating_sub(len);
                bytes = bytes.saturating_add(len);
                let entry = Entry {
                    sequence,
                    payload: &waiting.payload,
                    stored_at: waiting.stored_at,
                };
                self.read(entry, sink);
            } else {
                let end = next.map_or(self.first, |next| next.min(self.first));
                let entries = end.saturating_sub(self.next);
                self.next = end;
                self.figures.lost_entries = self.figures.lost_entries.saturating_add(entries);
                sink(Read::Lost { entries });
            }
        }
        let is_half = self.waiting.len() <= MAX_WAITING / 2;
        if is_half && self.waiting_bytes <= MAX_WAITING_BYTES / 2 {
            self.is_full = false;
        }
    }

    /// The log begins there: what is missing below is not asked for any more.
    fn begin_at(&mut self, first: u64) {
        self.first = self.first.max(first);
        self.end = self.end.max(self.first);
        self.fetches = self.fetches.split_off(&self.first);
    }

    /// The log ended before `end` when that was asked: what was heard before that of later entries was never said by
    /// the engine.
    fn forget_behind(&mut self, end: u64, asked: Moment) {
        let (mut first_forgotten, mut behind_last) = (u64::MAX, 0);
        self.waiting.retain(|&sequence, waiting| {
            let is_there = sequence < end || waiting.heard >= asked;
            if !is_there {
                first_forgotten = first_forgotten.min(sequence);
                behind_last = sequence.saturating_add(1);
            }
            is_there
        });
        let bytes = self.waiting.values().map(|it| it.payload.len());
        self.waiting_bytes = bytes.fold(0, usize::saturating_add);
        let last = self.waiting.last_key_value().map_or(0, |(&last, _)| last);
        let end = self.next.max(end).max(last.saturating_add(1));
        self.end = self.end.min(end);
        // The leader that was asked may be behind. Entries that were forgotten before one that is kept are missing then.
        self.due_end = self.due_end.max(behind_last).min(end);
        self.asked_end = self.asked_end.min(first_forgotten).min(end);
        self.fetches.split_off(&end);
        for gap in &mut self.gaps {
            gap.end = gap.end.min(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const GAP: Duration = Duration::from_millis(50);

    fn at(ms: u64) -> Moment {
        Moment::BEGINNING + Duration::from_millis(ms)
    }

    /// The payload of an entry, of 1 to 100 bytes.
    fn entry(sequence: u64) -> Vec<u8> {
        let length = usize::try_from(sequence % 9).expect("a digit") * 10;
        let mut payload = sequence.to_string().into_bytes();
        payload.resize(payload.len() + length, b'.');
        payload
    }

    fn stored(sequence: u64, payload: &[u8], stored_at: Moment) -> Entry<'_> {
        Entry {
            sequence,
            payload,
            stored_at,
        }
    }

    /// A sequencer, and what it has read and asked, as words: `7` is an entry, `-3` entries that are lost, `7?` a fetch, `?`
    /// the question what the log holds.
    struct Scene {
        log: Sequencer,
        now: u64,
        words: Vec<String>,
    }

    impl Scene {
        fn new(next: u64, first: u64, last: u64) -> Self {
            let mut scene = Self {
                log: Sequencer::new(GAP),
                now: 0,
                words: Vec::new(),
            };
            scene.open(next, first, last);
            scene
        }

        fn open(&mut self, next: u64, first: u64, last: u64) {
            let Self { log, now, words } = self;
            log.on_open(next, (first, last), at(*now), &mut |read| {
                words.push(word(read));
            });
        }

        fn hear(&mut self, sequence: u64) {
            let Self { log, now, words } = self;
            let payload = entry(sequence);
            let stored = stored(sequence, &payload, at(*now));
            log.on_entry(stored, at(*now), &mut |read| {
                words.push(word(read));
            });
        }

        fn read_on(&mut self) {
            let Self { log, words, .. } = self;
            log.read_on(&mut |read| words.push(word(read)));
        }

        fn info(&mut self, first: u64, last: u64) {
            let Self { log, now, words } = self;
            log.on_info((first, last), at(*now), &mut |read| words.push(word(read)));
        }

        /// What was read and is asked now, since the last time.
        fn told(&mut self) -> String {
            while self.log.has_more() {
                self.read_on();
            }
            let Self { log, now, words } = self;
            log.ask(at(*now), &mut |ask| {
                words.push(match ask {
                    Ask::Fetch(sequence) => format!("{sequence}?"),
                    Ask::Info => "?".to_owned(),
                });
            });
            if let Some(due) = log.next_deadline() {
                assert!(due > at(*now), "it is asked at once");
            }
            std::mem::take(words).join(" ")
        }

        /// The same, after this time.
        fn told_after(&mut self, ms: u64) -> String {
            self.now += ms;
            self.told()
        }
    }

    fn word(read: Read<'_>) -> String {
        match read {
            Read::Entry(Entry {
                sequence, payload, ..
            }) => {
                assert_eq!(payload, entry(sequence), "{sequence}");
                sequence.to_string()
            }
            Read::Lost { entries } => format!("-{entries}"),
        }
    }

    #[test]
    fn entries_are_read_in_their_order() {
        let mut scene = Scene::new(1, 0, 0);
        assert_eq!(scene.told(), "");
        for sequence in [1, 3, 3, 5, 4, 1, 2, 2, 6] {
            scene.hear(sequence);
        }
        assert_eq!(scene.told(), "1 2 3 4 5 6");
        assert_eq!(scene.log.figures().doubles, 3);
        assert_eq!((scene.log.next(), scene.log.waiting()), (7, (0, 0)));
        assert_eq!(scene.told_after(1000), "", "nothing is missing");
        assert_eq!(scene.log.next_deadline(), None);
    }

    #[test]
    fn what_waits_behind_a_gap_is_read_out_in_parts() {
        let mut scene = Scene::new(1, 0, 0);
        for sequence in 2..1000 {
            scene.hear(sequence);
        }
        scene.hear(1);
        let mut parts = vec![scene.words.len()];
        while scene.log.next_deadline() == Some(Moment::BEGINNING) {
            scene.read_on();
            parts.push(scene.words.len());
        }
        assert_eq!(parts, [194, 384, 573, 762, 951, 999], "of 43 KiB");
        let all: Vec<String> = (1..1000).map(|it| it.to_string()).collect();
        assert_eq!(scene.told(), all.join(" "));
        assert_eq!(scene.log.waiting(), (0, 0));
        assert_eq!(scene.log.next_deadline(), None);
    }

    #[test]
    fn what_is_missing_is_asked_for_after_a_while() {
        let mut scene = Scene::new(1, 0, 0);
        scene.hear(3);
        assert_eq!(scene.told_after(20), "");
        scene.hear(6);
        assert_eq!(scene.log.next_deadline(), Some(at(50)));
        assert_eq!(scene.told_after(29), "");
        assert_eq!(scene.told_after(1), "1? 2?");
        assert_eq!(scene.log.next_deadline(), Some(at(70)));
        scene.hear(2);
        assert_eq!(scene.told_after(20), "4? 5?");
        scene.hear(5);
        scene.hear(1);
        assert_eq!(scene.told(), "1 2 3");
        assert_eq!(scene.told_after(1999), "");
        assert_eq!(scene.told_after(1), "4?", "there was no answer");
        scene.hear(4);
        assert_eq!(scene.told_after(9999), "4 5 6");
        assert_eq!(scene.log.next_deadline(), None);
    }

    #[test]
    fn what_the_log_has_given_up_is_lost_at_once() {
        let mut scene = Scene::new(1, 0, 0);
        scene.hear(4);
        scene.hear(9);
        assert_eq!(scene.told_after(50), "1? 2? 3? 5? 6? 7? 8?");
        for sequence in [1, 2, 6] {
            scene.log.on_missing(sequence, at(50));
        }
        assert_eq!(scene.told(), "?");
        assert_eq!(scene.told_after(49), "", "it is asked once");
        scene.info(7, 9);
        assert_eq!(scene.told(), "-3 4 -2");
        scene.hear(5);
        scene.hear(8);
        assert_eq!(scene.told(), "");
        scene.hear(7);
        assert_eq!(scene.told_after(9999), "7 8 9");
        assert_eq!(scene.log.figures().lost_entries, 5);
        scene.info(20, 30);
        assert_eq!(scene.told(), "-10", "nobody has to ask for that");
    }

    #[test]
    fn what_is_not_there_yet_is_asked_for_again() {
        let mut scene = Scene::new(1, 1, 2);
        assert_eq!(scene.told(), "1? 2?");
        scene.log.on_missing(1, at(0));
        scene.log.on_not_fetched(2, at(0));
        assert_eq!(scene.told(), "?");
        assert_eq!(scene.told_after(60), "", "not before it is known");
        scene.info(1, 2);
        assert_eq!(scene.told_after(49), "");
        assert_eq!(scene.told_after(1), "1?");
        scene.log.on_missing(1, at(110));
        assert_eq!(scene.told(), "?");
        assert_eq!(scene.told_after(139), "");
        assert_eq!(scene.told_after(1), "2?");
        assert_eq!(scene.told_after(1860), "?", "there was no answer");
        scene.log.on_missing(7, at(scene.now));
        scene.log.on_not_fetched(7, at(scene.now));
        assert_eq!(scene.log.fetches.len(), 2);
    }

    #[test]
    fn the_past_is_asked_for_at_once() {
        let mut scene = Scene::new(10, 5, 2000);
        let asked = scene.told();
        assert!(
            asked.starts_with("10? 11? ") && asked.ends_with(" 1033?"),
            "{asked}"
        );
        assert_eq!(asked.split(' ').count(), 1024);
        scene.hear(11);
        assert_eq!(scene.told(), "1034?");
        scene.hear(10);
        assert_eq!(scene.told(), "10 11 1035?");
        let mut scene = Scene::new(10, 20, 21);
        assert_eq!(scene.told(), "-10 20? 21?");
        let mut scene = Scene::new(0, 8, 7);
        assert_eq!(scene.told(), "-7");
        scene.hear(8);
        assert_eq!(scene.told(), "8");
    }

    #[test]
    fn the_end_of_the_log_is_not_missed() {
        let mut scene = Scene::new(3, 1, 2);
        scene.info(1, 4);
        assert_eq!(scene.told_after(49), "");
        scene.hear(3);
        assert_eq!(scene.told_after(1), "3 4?");
    }

    #[test]
    fn nothing_of_another_log_is_read() {
        let mut scene = Scene::new(1, 0, 0);
        scene.hear(2);
        scene.log.on_closed();
        assert_eq!(scene.log.waiting(), (0, 0));
        scene.hear(1);
        scene.hear(4);
        scene.info(3, 3);
        assert_eq!(scene.told_after(9999), "");
        scene.open(3, 1, 3);
        assert_eq!(scene.told(), "3?");
        scene.hear(3);
        assert_eq!(scene.told(), "3 4");
        scene.log.on_closed();
        scene.hear(1);
        scene.open(1, 1, 2);
        assert_eq!(scene.told(), "1 2?", "what came early counts");
    }

    #[test]
    fn what_waits_has_a_limit() {
        for bytes in [1, 16 << 10] {
            let mut log = Sequencer::new(GAP);
            log.on_open(1, (1, 0), at(0), &mut |read| panic!("{read:?}"));
            let payload = vec![b'x'; bytes];
            let mut read = Vec::new();
            let mut asked = Vec::new();
            for sequence in (2..6000).rev().chain(6000..6100) {
                log.on_entry(stored(sequence, &payload, at(0)), at(0), &mut |it| {
                    panic!("{it:?}")
                });
                let (entries, bytes) = log.waiting();
                assert!(entries <= 4096 && bytes <= 4 << 20, "{entries}, {bytes}");
            }
            let (entries, _) = log.waiting();
            assert_eq!(entries, 4096.min((4 << 20) / bytes));
            assert_eq!(log.figures().thrown, 6098 - entries as u64);
            log.ask(at(50), &mut |ask| asked.push(ask));
            assert_eq!(asked, [Ask::Fetch(1)], "the rest would be thrown away");
            let first = stored(1, &payload, at(7));
            log.on_entry(first, at(50), &mut |it| read.push(it == Read::Entry(first)));
            while log.has_more() {
                log.read_on(&mut |_| read.push(true));
            }
            assert_eq!(read.len(), 1 + entries);
            log.ask(at(50), &mut |ask| asked.push(ask));
            assert_eq!(asked[1], Ask::Fetch(2 + entries as u64));
            assert_eq!(asked.len(), 1 + 1024);
        }
    }

    #[test]
    fn an_entry_that_waits_to_be_read_out_and_comes_again_is_read_once() {
        let mut log = Sequencer::new(GAP);
        log.on_open(1, (1, 0), at(0), &mut |read| panic!("{read:?}"));
        let payload = vec![b'x'; READ_BYTES];
        let mut read = Vec::new();
        for sequence in [2, 3, 1, 2, 3] {
            log.on_entry(stored(sequence, &payload, at(0)), at(0), &mut |it| {
                read.extend(sequence_of(it));
            });
        }
        while log.has_more() {
            log.read_on(&mut |it| read.extend(sequence_of(it)));
        }
        assert_eq!(read, [1, 2, 3]);
        log.ask(at(50), &mut |ask| panic!("{ask:?}"));
        assert_eq!((log.waiting(), log.next_deadline()), ((0, 0), None));
    }

    fn sequence_of(read: Read<'_>) -> Option<u64> {
        match read {
            Read::Entry(entry) => Some(entry.sequence),
            Read::Lost { .. } => None,
        }
    }

    #[test]
    fn what_is_thrown_away_is_asked_for_again() {
        let mut log = Sequencer::new(GAP);
        let mut read = 0;
        log.on_open(1, (1, 600), at(0), &mut |read| panic!("{read:?}"));
        let payload = vec![b'x'; 16 << 10];
        for first in [1, 258, 515, 601] {
            let mut asked = Vec::new();
            log.ask(at(0), &mut |ask| asked.push(ask));
            let expected: Vec<_> = (first..=600).map(Ask::Fetch).collect();
            assert_eq!(asked, expected);
            // The first comes last, and only as much can wait for it as there is room for.
            for sequence in (first..=600).rev() {
                log.on_entry(stored(sequence, &payload, at(0)), at(0), &mut |_| read += 1);
            }
            while log.has_more() {
                log.read_on(&mut |_| read += 1);
            }
            assert_eq!(read, log.next() - 1);
        }
        assert_eq!(log.next(), 601);
    }

    #[test]
    fn who_says_that_there_is_more_is_not_believed() {
        let mut scene = Scene::new(1, 0, 0);
        scene.hear(u64::MAX);
        scene.hear(1 << 60);
        assert_eq!(scene.told_after(50).split(' ').count(), 1024);
        scene.log.on_missing(1, at(50));
        assert_eq!(scene.told(), "?");
        scene.hear(7);
        scene.info(0, 2);
        assert_eq!(scene.told_after(2000), "1? 2? 3? 4? 5? 6?");
        assert_eq!(scene.log.waiting().0, 1);
        for sequence in 1..7 {
            scene.hear(sequence);
        }
        assert_eq!(scene.told(), "1 2 3 4 5 6 7");
        assert_eq!(scene.log.next_deadline(), None);
        // Nothing overflows.
        scene.info(u64::MAX, u64::MAX);
        for _ in 0..2 {
            scene.hear(u64::MAX);
        }
        assert_eq!(scene.log.next(), u64::MAX);
    }

    // A new leader may report an end of the log before entries that were heard.
    #[test]
    fn what_is_forgotten_before_an_entry_that_is_there_is_asked_for() {
        let mut scene = Scene::new(1, 1, 0);
        scene.hear(3);
        scene.hear(4);
        assert_eq!(scene.told_after(50), "1? 2?");
        scene.log.on_missing(1, at(50));
        assert_eq!(scene.told(), "?");
        scene.now += 1;
        scene.hear(5);
        scene.info(1, 2);
        assert_eq!(scene.told(), "3? 4?");
        for sequence in [2, 1, 4, 3] {
            scene.hear(sequence);
        }
        assert_eq!(scene.told(), "1 2 3 4 5");
        assert_eq!(scene.log.next_deadline(), None);
    }

    #[test]
    fn gaps_have_a_limit() {
        let mut scene = Scene::new(1, 0, 0);
        for sequence in 1..5000 {
            scene.now = sequence / 100;
            scene.hear(2 * sequence);
        }
        assert!(scene.log.gaps.len() <= MAX_GAPS);
        scene.now = 99;
        assert_eq!(scene.told().split(' ').count(), 1024);
    }

    /// A log behind an engine with every weakness.
    struct Engine {
        rng: fastrand::Rng,
        now: u64,
        first: u64,
        last: u64,
        /// What is under way: when it comes, and what it is.
        under_way: Vec<(u64, Answer)>,
        /// Whether it is as it should be.
        is_well: bool,
        /// Until when nobody leads the log.
        leaderless: u64,
        asked: u64,
    }

    #[derive(Clone, Copy)]
    enum Answer {
        Entry(u64),
        Missing(u64),
        NotFetched(u64),
        Info(u64, u64),
    }

    impl Engine {
        fn send(&mut self, most_ms: u64, answer: Answer) {
            let at = self.now + self.rng.u64(0..=most_ms);
            self.under_way.push((at, answer));
        }

        fn append(&mut self, entries: u64) {
            for _ in 0..entries {
                self.last += 1;
                match self.rng.u8(0..20) {
                    0 | 1 if !self.is_well => {}
                    2 | 3 => self.send(120, Answer::Entry(self.last)),
                    _ => self.send(5, Answer::Entry(self.last)),
                }
            }
            if self.rng.u8(0..8) == 0 {
                self.first = self
                    .first
                    .max(self.last.saturating_sub(self.rng.u64(20..400)));
            }
        }

        fn answer(&mut self, ask: Ask) {
            self.asked += 1;
            if !self.is_well && self.rng.u8(0..20) == 0 {
                return;
            }
            match ask {
                Ask::Info if self.now < self.leaderless => {}
                Ask::Info => self.send(30, Answer::Info(self.first, self.last)),
                Ask::Fetch(it) if self.now < self.leaderless => {
                    self.send(5, Answer::NotFetched(it));
                }
                Ask::Fetch(it) => {
                    let is_there = (self.first..=self.last).contains(&it);
                    let is_behind = !self.is_well && self.rng.u8(0..6) == 0;
                    let answer = if is_there && !is_behind {
                        Answer::Entry(it)
                    } else {
                        Answer::Missing(it)
                    };
                    self.send(15, answer);
                }
            }
        }

        /// What comes by now, in the order of its coming.
        fn take(&mut self) -> Vec<Answer> {
            self.under_way.sort_by_key(|it| it.0);
            let ready = self
                .under_way
                .iter()
                .take_while(|it| it.0 <= self.now)
                .count();
            self.under_way.drain(..ready).map(|it| it.1).collect()
        }
    }

    fn seeds(default: u64) -> std::ops::Range<u64> {
        let number = |name| std::env::var(name).ok().and_then(|it| it.parse().ok());
        let first = number("LINE_CHAT_SEED").unwrap_or(0);
        first..first + number("LINE_CHAT_SEEDS").unwrap_or(default)
    }

    // Each entry is read once and in its order, or counted as lost, and then the log does not hold it any more. With an
    // engine that is well again all is read.
    #[test]
    fn what_is_read_and_what_is_lost_is_all_there_was() {
        let mut tally = [0; 9];
        for seed in seeds(100) {
            println!("seed {seed}");
            let rng = fastrand::Rng::with_seed(seed);
            let mut engine = Engine {
                rng,
                now: 0,
                first: 1,
                last: 0,
                under_way: Vec::new(),
                is_well: false,
                leaderless: 0,
                asked: 0,
            };
            let mut log = Sequencer::new(GAP);
            let mut next = 1;
            let mut lost = BTreeSet::new();
            let before = engine.rng.u64(0..2000);
            engine.append(before);
            log.on_open(1, (engine.first, engine.last), at(0), &mut |read| {
                next = check(next, read, &engine, &mut lost);
            });
            for step in 0..1200 {
                engine.now += 5;
                engine.is_well = step > 400;
                if step < 450 {
                    let entries = engine.rng.u64(0..12);
                    engine.append(entries);
                }
                match engine.rng.u16(0..300) {
                    0 if !engine.is_well => engine.leaderless = engine.now + 400,
                    1 if !engine.is_well => {
                        tally[0] += 1;
                        let fake = engine.last + engine.rng.u64(100_000..200_000);
                        let fake = stored(fake, b"false", at(engine.now));
                        log.on_entry(fake, at(engine.now), &mut |read| panic!("{read:?}"));
                    }
                    2 if !engine.is_well => {
                        tally[1] += 1;
                        engine.under_way.clear();
                        log.on_closed();
                        engine.append(20);
                        for answer in engine.take() {
                            if let Answer::Entry(it) = answer {
                                let payload = entry(it);
                                let stored = stored(it, &payload, at(engine.now));
                                log.on_entry(stored, at(engine.now), &mut |read| {
                                    panic!("{read:?}")
                                });
                            }
                        }
                        let holds = (engine.first, engine.last);
                        log.on_open(log.next(), holds, at(engine.now), &mut |read| {
                            next = check(next, read, &engine, &mut lost);
                        });
                    }
                    _ => {}
                }
                for answer in engine.take() {
                    let now = at(engine.now);
                    let mut sink = |read: Read<'_>| next = check(next, read, &engine, &mut lost);
                    match answer {
                        Answer::Entry(it) => {
                            log.on_entry(stored(it, &entry(it), now), now, &mut sink);
                        }
                        Answer::Missing(it) => {
                            tally[2] += u64::from(it >= engine.first);
                            log.on_missing(it, now);
                        }
                        Answer::NotFetched(it) => {
                            tally[3] += 1;
                            log.on_not_fetched(it, now);
                        }
                        Answer::Info(first, last) => log.on_info((first, last), now, &mut sink),
                    }
                }
                while log.has_more() {
                    let mut bytes = 0;
                    log.read_on(&mut |read| {
                        bytes += match read {
                            Read::Entry(entry) => entry.payload.len(),
                            Read::Lost { .. } => 0,
                        };
                        next = check(next, read, &engine, &mut lost);
                    });
                    assert!(bytes <= READ_BYTES, "{bytes} bytes at once");
                    tally[8] += u64::from(log.has_more());
                }
                log.ask(at(engine.now), &mut |ask| engine.answer(ask));
                let asked = log.fetches.len();
                assert!(asked <= MAX_FETCHES && log.next() == next, "{asked}");
                assert!(log.next_deadline().is_none_or(|it| it > at(engine.now)));
            }
            assert_eq!(next, engine.last + 1, "all is read");
            assert_eq!((log.waiting(), log.next_deadline()), ((0, 0), None));
            let figures = log.figures();
            assert_eq!(figures.lost_entries, lost.len() as u64);
            assert!(engine.asked < 12_000, "{} questions", engine.asked);
            tally[4] += figures.fetches;
            tally[5] += figures.fetches_again;
            tally[6] += figures.lost_entries;
            tally[7] += figures.doubles;
        }
        if std::env::var_os("LINE_CHAT_SEED").is_none() {
            assert!(
                tally.iter().all(|&it| it >= 20),
                "each came about: {tally:?}"
            );
        }
    }

    /// What is read next, after this.
    fn check(next: u64, read: Read<'_>, engine: &Engine, lost: &mut BTreeSet<u64>) -> u64 {
        match read {
            Read::Entry(Entry {
                sequence, payload, ..
            }) => {
                assert_eq!((sequence, payload), (next, &entry(next)[..]));
                next + 1
            }
            Read::Lost { entries } => {
                assert!(
                    next + entries <= engine.first,
                    "{entries} from {next} are there"
                );
                lost.extend(next..next + entries);
                next + entries
            }
        }
    }
}
