//! What a server is to the others, and they to it: [`Core`] takes the steps between the states, reads entries that
//! are in order, and publishes. The table of its states is in the head of the [relay](super).

use std::collections::VecDeque;
use std::time::Duration;

#[cfg(feature = "relay")]
use super::claims::Life;
use super::nodes::{Nodes, Told};
use super::presence::Presence;
use super::publisher::{MOST_WAITING_BYTES, Publisher};
use super::sequencer::{Entry, Read};
use super::{Engine, Event, Figures, LogInfo, Phase, Room, Said, Times};
use crate::protocol::relay_batch::{Batch, Beat, Header, Kind, NodeId};
use crate::time::moment::Moment;

/// How long an engine that does not report what was read has to catch up before it is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How many entries are read as history at the start.
const HISTORY_ENTRIES: u64 = 1024;

/// How many own ids are remembered. An older one is of another log, or ended long ago.
const MOST_FORMERS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Up { since: Moment },
    Resuming,
    Split,
    Rejoining,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Nobody has told yet.
    Unknown,
    Closed {
        since: Moment,
    },
    Open,
}

/// The log that was read last.
#[derive(Debug)]
pub(super) struct Log {
    created: String,
    replicas: u8,
    /// Its first entry, and where it ended, when the link opened.
    pub(super) first: u64,
    until: u64,
    /// The lowest sequence that was ever read, or would have been.
    pub(super) read_from: u64,
}

/// A server's share in the log.
#[derive(Debug)]
pub(super) struct Core {
    times: Times,
    state: State,
    link: Link,
    pub(super) log: Option<Log>,
    pub(super) publisher: Publisher,
    /// The last entry that was read or is lost.
    position: u64,
    nodes: Nodes,
    presence: Presence,
    /// The id to go on with, if this one cannot be kept.
    fresh: NodeId,
    /// The id before this one, until the split is over.
    was: Option<NodeId>,
    /// The last ids before this one. All that was said under them was shown here.
    formers: VecDeque<NodeId>,
    /// The first beat under this id was read.
    is_born: bool,
    /// The log was read up to its end once.
    has_started: bool,
    /// How many lines were said here that nobody else has heard, since the split.
    unheard: u64,
    /// The last entry that was read, to find it again where it was.
    last_entry: Vec<u8>,
    /// While it is looked for, nothing is read: when it is to be asked for again.
    check_at: Option<Moment>,
    /// The engine reported an end before that entry, and is asked again.
    is_behind: bool,
    /// When the link was opened, or an entry was read that was there before.
    progress_at: Moment,
    /// Since when speakers wait for the engine.
    held_since: Option<Moment>,
    /// Something has waited for so long that nothing more is to be said.
    is_clogged: bool,
    /// When the next beat is due, and in a split the next question.
    beat_at: Moment,
    /// When it may be asked again whether the log was made anew.
    doubt_at: Moment,
    figures: Figures,
}

impl Core {
    pub(super) fn new(times: Times, node: NodeId) -> Self {
        Self {
            times,
            state: State::Starting,
            link: Link::Unknown,
            log: None,
            publisher: Publisher::new(node, times.probe),
            position: 0,
            nodes: Nodes::default(),
            presence: Presence::new(times.beat, times.gone),
            fresh: next_id(node),
            was: None,
            formers: VecDeque::new(),
            is_born: false,
            has_started: false,
            unheard: 0,
            last_entry: Vec::new(),
            check_at: None,
            is_behind: false,
            progress_at: Moment::BEGINNING,
            held_since: None,
            is_clogged: false,
            beat_at: Moment::BEGINNING,
            doubt_at: Moment::BEGINNING,
            figures: Figures::default(),
        }
    }

    /// Whether a node lives, as far as is known.
    #[cfg(feature = "relay")]
    pub(super) fn life(&self, node: NodeId) -> Life {
        match (self.nodes.is_gone(node), self.presence.knows(node)) {
            (true, _) => Life::Gone,
            (false, true) => Life::Lives,
            (false, false) => Life::Unknown,
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.publisher.node()
    }

    pub(super) fn phase(&self) -> Phase {
        match self.state {
            State::Split => Phase::Split,
            State::Rejoining => Phase::Rejoining,
            State::Starting if self.held_since.is_none() => Phase::Starting,
            State::Up { .. } if self.held_since.is_none() => Phase::Up,
            State::Starting | State::Up { .. } | State::Resuming => Phase::Holding,
        }
    }

    pub(super) fn figures(&self) -> Figures {
        Figures {
            nodes: self.nodes.figures(),
            living: self.presence.len(),
            again: self.publisher.published_again(),
            out: self.publisher.out(),
            ..self.figures
        }
    }

    /// A line is said here.
    pub(super) fn say(&mut self, conn: u64, kind: Kind, text: &str) -> Said {
        if self.state == State::Split {
            self.unheard = self.unheard.saturating_add(u64::from(is_said(kind)));
            return Said::HereOnly;
        }
        self.publisher.gather(conn, kind, text);
        Said::Waits
    }

    /// Whether more may be said while so many bytes may wait. What is said all the same is taken, and not lost.
    pub(super) fn has_room(&self, most: usize) -> bool {
        !self.is_clogged && self.publisher.waiting_bytes() < most.min(MOST_WAITING_BYTES)
    }

    /// Publishes what was said in this turn, if that can be.
    pub(super) fn flush(&mut self, now: Moment, engine: &mut impl Engine) {
        if !self.is_open() || !matches!(self.state, State::Up { .. }) {
            self.publisher.hold_back(now);
            return;
        }
        let figures = &mut self.figures;
        self.publisher.flush(now, engine, |lines| {
            figures.batches = figures.batches.saturating_add(1);
            figures.lines = figures.lines.saturating_add(u64::from(lines));
        });
    }

    /// The link is open.
    pub(super) fn on_link(&mut self, fresh: NodeId) {
        self.fresh = fresh;
        self.link = Link::Open;
    }

    pub(super) fn on_closed(&mut self, now: Moment) {
        if self.is_open() {
            self.link = Link::Closed { since: now };
        }
        (self.check_at, self.is_behind) = (None, false);
        self.hold(now);
    }

    pub(super) fn is_open(&self) -> bool {
        self.link == Link::Open
    }

    /// Whether entries are not to be read, although the link is open.
    pub(super) fn is_deaf(&self) -> bool {
        self.is_open() && self.state == State::Split
    }

    /// Whether the last entry is looked for, and nothing is to be read before it is found.
    pub(super) fn is_checking(&self) -> bool {
        self.check_at.is_some()
    }

    /// Whether the engine reported an end of the log before what was read, and is asked again.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The last entry that was read, or is lost.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The first and the last entry of the log, as it was when the link opened.
    pub(super) fn ends(&self) -> (u64, u64) {
        let log = self.log.as_ref();
        log.map_or((0, 0), |log| (log.first, log.until))
    }

    /// An entry is stored where one was read already. It comes twice, or the log was made anew under the link.
    pub(super) fn doubt(&mut self, sequence: u64, now: Moment, engine: &mut impl Engine) {
        if sequence <= self.position && self.doubt_at <= now {
            self.doubt_at = now + self.times.probe;
            engine.ask_info();
        }
    }

    pub(super) fn on_stored(&mut self, sequence: u64, now: Moment, engine: &mut impl Engine) {
        self.publisher.on_stored(sequence);
        self.publisher.on_position(self.position, now, engine);
    }

    /// Does what is due, but for a split.
    pub(super) fn on_time(&mut self, now: Moment, engine: &mut impl Engine) {
        if self.link == Link::Unknown {
            self.link = Link::Closed { since: now };
        }
        self.publisher.hold_back(now);
        if self.is_open() {
            self.ask(now, engine);
        }
        if self.is_open() && matches!(self.state, State::Up { .. }) {
            self.publisher.on_time(now, engine);
            let publisher = &mut self.publisher;
            let own = publisher.node();
            self.presence.on_time(own, now, |node| {
                publisher.gather(0, Kind::Gone, &node.to_string());
            });
            self.flush(now, engine);
        }
        self.hold(now);
    }

    /// Splits the room if the engine was away for too long.
    pub(super) fn split_if_due(
        &mut self,
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) -> bool {
        let is_due = self.split_at().is_some_and(|at| at <= now);
        if is_due {
            self.split(room);
            self.beat_at = now;
            if self.is_open() {
                self.ask(now, engine);
            }
            self.hold(now);
        }
        is_due
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        self.deadlines().into_iter().flatten().min()
    }

    pub(super) fn deadlines(&self) -> [Option<Moment>; 6] {
        let mut deadlines = [None; 6];
        let [hold, split, clogged, open @ ..] = &mut deadlines;
        *hold = self.hold_at().filter(|_| self.held_since.is_none());
        *split = self.split_at();
        *clogged = self.clogged_at().filter(|_| !self.is_clogged);
        if self.is_open() {
            let is_up = matches!(self.state, State::Up { .. });
            let is_split = self.state == State::Split;
            *open = [
                Some(self.beat_at),
                self.check_at.filter(|_| !is_split),
                self.up_deadline().filter(|_| is_up),
            ];
        }
        deadlines
    }

    fn up_deadline(&self) -> Option<Moment> {
        let deadlines = [
            self.publisher.next_deadline(),
            self.presence.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The link was opened, or the engine answers again.
    pub(super) fn open(
        &mut self,
        info: LogInfo,
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) {
        if self.may_catch_up(&info) {
            return self.await_end(now);
        }
        // While this server waited, other entries may have been appended in place of lost ones. The last entry shows that
        // only if it has lines: all beats of a server look alike.
        let is_doubtful = std::mem::take(&mut self.is_behind) && !self.last_entry_has_lines();
        let goes_on = self.goes_on(&info) && !is_doubtful;
        self.follow(info, is_doubtful);
        self.progress_at = now;
        self.presence.reset(now);
        self.check_last_entry(now, engine);
        if !goes_on || self.is_split() && self.is_born {
            self.start_over(now, engine, room);
        } else {
            self.resume();
            self.beat(now, engine);
        }
    }

    /// Whether the log seems to end before what was read of it, but may still hold all of that. A new leader reports what
    /// it has applied, which may be less than what it has stored. The wait ends with a split at the latest.
    fn may_catch_up(&self, info: &LogInfo) -> bool {
        let is_early = info.last < self.position && !self.is_other(info);
        is_early && info.replicas > 1 && !self.is_split()
    }

    /// Reads nothing until the leader reports all that was read.
    fn await_end(&mut self, now: Moment) {
        if !self.is_behind {
            self.is_behind = true;
            self.progress_at = now;
            self.check_at = Some(now + ASK_AGAIN);
            self.resume();
        }
    }

    fn last_entry_has_lines(&self) -> bool {
        Batch::parse(&self.last_entry).is_ok_and(|batch| batch.header().count > 0)
    }

    /// Whether the log is the one that was read, and whatever may have been said of this server can be read.
    fn goes_on(&self, info: &LogInfo) -> bool {
        let is_trimmed = info.first > self.position && self.position > 0;
        self.log.is_none() || !self.is_other(info) && info.last >= self.position && !is_trimmed
    }

    /// Whether it is the log of another time.
    pub(super) fn is_other(&self, info: &LogInfo) -> bool {
        let log = self.log.as_ref();
        log.is_some_and(|log| log.created != info.created)
    }

    /// Goes on in this log, where it was left, or from where this server once began if it is not what was read, or may
    /// not be.
    fn follow(&mut self, info: LogInfo, is_doubtful: bool) {
        let before_first = info.first.saturating_sub(1);
        let history = info.last.saturating_sub(HISTORY_ENTRIES);
        let has_lost_its_end = info.last < self.position;
        let (read_from, is_new) = match &self.log {
            None => (history, true),
            Some(log) if log.created != info.created => (before_first, true),
            Some(log) => (log.read_from, has_lost_its_end || is_doubtful),
        };
        self.log = Some(Log {
            created: info.created,
            replicas: info.replicas,
            first: info.first,
            until: info.last,
            read_from,
        });
        if is_new {
            self.read_again();
        }
    }

    /// Reads the log from where this server once began.
    fn read_again(&mut self) {
        if let Some(log) = &self.log {
            let before_first = log.first.saturating_sub(1);
            self.position = log.read_from.max(before_first);
            self.last_entry.clear();
            self.nodes.forget_end();
            self.presence.forget_new();
        }
    }

    /// Where the log ended when the link opened.
    fn until(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.until)
    }

    fn resume(&mut self) {
        self.state = match self.state {
            State::Up { .. } => State::Resuming,
            State::Split => State::Rejoining,
            state => state,
        };
    }

    /// Goes on under another id. What was about to be said is shown here; that is nothing, if nobody here has read this
    /// id.
    fn start_over(&mut self, now: Moment, engine: &mut impl Engine, room: &mut impl Room) {
        if self.is_born {
            if !self.is_split() {
                self.split(room);
            }
            self.was = Some(self.node());
            self.formers.push_back(self.node());
            if self.formers.len() > MOST_FORMERS {
                self.formers.pop_front();
            }
            self.is_born = false;
        }
        self.publisher.start_over(self.fresh);
        // That somebody is gone may have been said under the id before, and not be read by anybody.
        self.presence.reset(now);
        self.fresh = next_id(self.fresh);
        self.resume();
        self.progress_at = now;
        self.beat(now, engine);
    }

    fn is_split(&self) -> bool {
        matches!(self.state, State::Split | State::Rejoining)
    }

    /// Lines are heard here only.
    fn split(&mut self, room: &mut impl Room) {
        if !self.is_split() {
            self.figures.splits = self.figures.splits.saturating_add(1);
            room.on_event(Event::Split);
        }
        self.state = State::Split;
        let unheard = &mut self.unheard;
        self.publisher.hand_back(|line| {
            *unheard = unheard.saturating_add(u64::from(is_said(line.kind)));
            if line.kind != Kind::Gone {
                room.on_event(Event::HereOnly { line });
            }
        });
    }

    fn beat(&mut self, now: Moment, engine: &mut impl Engine) {
        let (beat, wait) = if self.is_born {
            (Beat::Alive, self.times.beat)
        } else {
            (Beat::New { was: self.was }, self.times.probe)
        };
        self.publisher.beat(&beat.to_string(), engine);
        self.beat_at = now + wait;
    }

    /// Beats and asks, as far as that is due.
    fn ask(&mut self, now: Moment, engine: &mut impl Engine) {
        let is_split = self.state == State::Split;
        if self.beat_at <= now && is_split {
            engine.ask_info();
            self.beat_at = now + self.times.probe;
        } else if self.beat_at <= now {
            self.beat(now, engine);
        }
        if self.check_at.is_none_or(|at| now < at) || is_split {
            return;
        }
        if self.is_behind {
            engine.ask_info();
            self.check_at = Some(now + ASK_AGAIN);
        } else {
            self.check_last_entry(now, engine);
        }
    }

    /// Asks whether the last entry is still where it was read.
    fn check_last_entry(&mut self, now: Moment, engine: &mut impl Engine) {
        self.check_at = None;
        let position = self.position;
        let is_there = self.log.as_ref().is_some_and(|log| log.first <= position);
        if is_there && !self.last_entry.is_empty() {
            engine.fetch(position);
            self.check_at = Some(now + self.times.probe);
        }
    }

    pub(super) fn on_last_entry(
        &mut self,
        payload: &[u8],
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) {
        self.check_at = None;
        if *payload == *self.last_entry {
            return;
        }
        self.figures.other_ends = self.figures.other_ends.saturating_add(1);
        self.read_again();
        self.start_over(now, engine, room);
    }

    /// The log begins there, as it says while its last entry is looked for.
    pub(super) fn on_first(&mut self, first: u64, now: Moment, engine: &mut impl Engine) {
        if let Some(log) = &mut self.log {
            log.first = log.first.max(first);
        }
        if first > self.position {
            self.check_last_entry(now, engine);
        } else {
            self.check_at = Some(now + ASK_AGAIN);
        }
    }

    /// The next entry is read, or some are lost.
    pub(super) fn on_read(
        &mut self,
        read: Read<'_>,
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) {
        match read {
            Read::Entry(entry) => {
                self.position = entry.sequence;
                self.on_entry(entry, now, engine, room);
            }
            Read::Lost { entries } => {
                self.position = self.position.saturating_add(entries);
                self.last_entry.clear();
                // Among them may be one that says that this server is gone.
                self.start_over(now, engine, room);
            }
        }
        self.update(now, engine, room);
    }

    fn on_entry(
        &mut self,
        entry: Entry<'_>,
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) {
        let Entry { sequence, .. } = entry;
        entry.payload.clone_into(&mut self.last_entry);
        if sequence <= self.until() {
            self.progress_at = now;
        }
        let (header, is_gone) = self.tell(entry, now, room);
        if let Some(header) = header.filter(|header| header.node == self.node()) {
            self.on_own_batch(header, now, engine);
        }
        if let Some(header) = header.filter(|it| self.nodes.expected(it.node).is_some()) {
            self.presence.on_heard(header.node, now);
        }
        self.publisher.on_position(sequence, now, engine);
        if is_gone {
            self.start_over(now, engine, room);
        }
    }

    fn on_own_batch(&mut self, header: Header, now: Moment, engine: &mut impl Engine) {
        if header.count == 0 {
            self.presence.on_own_beat(now);
        } else if let Some(took) = self.publisher.on_read(header, now, engine) {
            self.figures.round_trips.record(took, 1);
        }
    }

    /// Tells what an entry lets be told. Returns whose it is, and whether it says that this server is gone.
    fn tell(
        &mut self,
        entry: Entry<'_>,
        now: Moment,
        room: &mut impl Room,
    ) -> (Option<Header>, bool) {
        let Entry {
            sequence,
            payload,
            stored_at,
        } = entry;
        let own = self.publisher.node();
        let is_late = self.is_reading_history() && sequence <= self.until();
        let mut is_gone = false;
        let Self {
            nodes,
            formers,
            presence,
            unheard,
            is_born,
            ..
        } = self;
        let header = nodes.on_entry(sequence, payload, &mut |told| match told {
            // It was shown here when the room was split.
            Told::Line { node, line, .. } if formers.contains(&node) => {
                *unheard = unheard.saturating_sub(u64::from(is_said(line.kind)));
            }
            Told::Line {
                node,
                number,
                sequence,
                line,
            } => room.on_event(Event::Line {
                node,
                is_own: node == own,
                number,
                sequence,
                stored_at,
                line,
                is_late,
            }),
            Told::NewNode { node, .. } | Told::Gone { node } if formers.contains(&node) => {}
            Told::NewNode { node, was } => {
                let mut is_news = false;
                if let Some(was) = was.filter(|&was| was != node) {
                    // A late line may have brought it back since the node said this for the first time.
                    is_news = presence.remove(was);
                    is_gone |= was == own;
                }
                *is_born |= node == own;
                is_news |= presence.on_new(node, now);
                if is_news {
                    let is_own = node == own;
                    room.on_event(Event::NewNode { node, was, is_own });
                }
            }
            Told::Gone { node } if node == own => is_gone = true,
            Told::Gone { node } => {
                presence.remove(node);
                room.on_event(Event::Gone { node });
            }
            Told::Lost { lines, .. } => room.on_event(Event::Lost { lines }),
        });
        (header, is_gone)
    }

    fn is_reading_history(&self) -> bool {
        matches!(self.state, State::Starting | State::Rejoining)
    }

    /// Takes the step to the next state, if it is due.
    pub(super) fn update(&mut self, now: Moment, engine: &mut impl Engine, room: &mut impl Room) {
        let is_read = self.position >= self.until() && self.check_at.is_none();
        if self.is_open() && is_read && self.log.is_some() {
            if self.is_reading_history() && !self.has_started {
                self.has_started = true;
                room.on_event(Event::Started);
            }
            match self.state {
                State::Resuming => self.come_up(now, engine),
                State::Starting if self.is_born => self.come_up(now, engine),
                State::Rejoining if self.is_born => self.come_back(now, engine, room),
                _ => {}
            }
        }
        self.hold(now);
    }

    fn come_up(&mut self, now: Moment, engine: &mut impl Engine) {
        self.state = State::Up { since: now };
        self.publisher.publish_all(now, engine);
        self.flush(now, engine);
    }

    fn come_back(&mut self, now: Moment, engine: &mut impl Engine, room: &mut impl Room) {
        let unheard = std::mem::take(&mut self.unheard);
        self.was = None;
        room.on_event(Event::Back { unheard });
        self.come_up(now, engine);
    }

    /// Notices that speakers have to wait for the engine, or no longer.
    pub(super) fn hold(&mut self, now: Moment) {
        self.held_since = self.hold_at().filter(|&at| at <= now);
        self.is_clogged = self.clogged_at().is_some_and(|at| at <= now);
    }

    /// Since when speakers wait, or from when on if nothing comes until then.
    fn hold_at(&self) -> Option<Moment> {
        if self.state == State::Split {
            return None;
        }
        let waiting_since = match (self.link, self.state) {
            (Link::Unknown, _) => return None,
            (Link::Closed { since }, _) => return Some(since),
            (Link::Open, State::Up { since }) => self.publisher.out_since()?.max(since),
            (Link::Open, _) => self.progress_at,
        };
        Some(waiting_since + self.times.probe)
    }

    /// When the room is to be split.
    fn split_at(&self) -> Option<Moment> {
        let held_since = self.held_since?;
        let has_copies = self.log.as_ref().is_some_and(|log| log.replicas > 1);
        let hold = match self.state {
            State::Rejoining if !self.is_open() => Duration::ZERO,
            _ if has_copies => self.times.hold_more,
            _ => self.times.hold_one,
        };
        Some(held_since + hold)
    }

    /// When something has waited for too long.
    fn clogged_at(&self) -> Option<Moment> {
        let waiting_since = self.publisher.waiting_since()?;
        self.held_since.map(|_| waiting_since + self.times.probe)
    }
}

/// Whether somebody has said it, so that others miss it if they do not hear it.
fn is_said(kind: Kind) -> bool {
    matches!(kind, Kind::Say | Kind::Flood | Kind::Act | Kind::Announce)
}

/// Another id, as random as this one.
fn next_id(id: NodeId) -> NodeId {
    let mut bits = id.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    NodeId(bits ^ (bits >> 31))
}
