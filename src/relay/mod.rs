//! Several servers, one room: what is said anywhere is an entry of one log, and every server does what the
//! log says, in its order. The log is kept by an engine, which is reached elsewhere: here are no sockets, no
//! clock and no members.
//!
//! Nobody hears a line before it was read from the log, not even on its own server. So all hear all lines in the
//! same order, as long as the engine can be reached; if it cannot, speakers wait for a while, and then the
//! room is split: lines are heard here only. [`Relay`] is in one of these states:
//!
//! | state | what comes | what happens |
//! |---|---|---|
//! | any but the last two | the link closes, or nothing comes back for a second | held: speakers wait, nobody is told |
//! | held | the link opens, and the log goes on where it was | `Resuming`: what was missed is fetched first |
//! | held | the link opens, and a log with copies ends before what was read | it is asked again, because a new leader may be behind |
//! | held | it lasts too long: 2 s, or 10 s if the log has copies | `Split`: what waits is shown here |
//! | held | the link opens to another log, or too much was trimmed | `Split`, and at once `Rejoining` |
//! | `Starting` | the end that the log had is read, and the first own beat | `Up` |
//! | `Resuming` | the end that the log had is read | what was not read back is published again; `Up` |
//! | `Up` | a server says that this one is gone | `Split`, and at once `Rejoining` |
//! | `Split` | the link opens, or the engine answers again | `Rejoining` |
//! | `Rejoining` | the end that the log had is read, and the first own beat | told what nobody else has heard; `Up` |
//! | `Rejoining` | the link closes, or nothing comes back | `Split`, which nobody is told again |
//!
//! After a split a server is another one to the others: it has another id, and its numbers begin at 0. Its first beat
//! says who it was, and whatever the log holds of that one behind this beat is dropped by everybody. So when the
//! beat is read, it is known which of its lines the others have heard. No line is published under an id before
//! the first beat under it was read here; until then an id is kept for the next try, if the log is the same.
//!
//! Where the log has another end than it had, or another entry where the last one was read, it was made anew or has lost
//! its end: all of it is read from where this server once began. What is known already is dropped by its numbers.
//!
//! A session calls [`Relay::flush`] at the end of each turn, [`Relay::on_time`] when [`Relay::next_deadline`] says so and
//! once at the beginning, and looks at [`Relay::node`] after each call: under that id others send what is for this
//! server alone. Lines that have waited for a split come as [`Event::HereOnly`].

#[cfg(feature = "relay")]
pub(crate) mod claims;
mod core;
mod nodes;
mod presence;
mod publisher;
mod sequencer;
#[cfg(test)]
mod tests;

use self::core::Core;
use crate::config::relay::RelayTimes as Times;
use crate::metrics::Histogram;
use crate::protocol::relay_batch::{Kind, Line, NodeId};
use crate::time::moment::Moment;
pub(crate) use sequencer::Entry;
use sequencer::{Ask, Read, Sequencer};

/// What the relay wants of the engine.
pub(crate) trait Engine {
    /// Appends a batch to the log. Whether it is stored is told only if an answer is wanted.
    fn publish(&mut self, batch: &[u8], wants_answer: bool);

    /// Asks for an entry of the log.
    fn fetch(&mut self, sequence: u64);

    /// Asks what the log holds.
    fn ask_info(&mut self);
}

/// What the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogInfo {
    /// When it was made: another time is another log.
    pub(crate) created: String,
    /// Its first and its last entry. One without entries has a last one before its first, or none: 0.
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// How many copies of it there are.
    pub(crate) replicas: u8,
}

/// What the engine says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard<'i> {
    /// An entry that was just stored.
    Entry { sequence: u64, payload: &'i [u8] },
    /// An entry that was asked for.
    Fetched(Entry<'i>),
    /// There is no such entry, as far as who was asked knows.
    Missing { sequence: u64 },
    /// Nobody could look for it.
    NotFetched { sequence: u64 },
    /// What the log holds, which was asked for.
    Info(LogInfo),
    /// What was published with an answer wanted is stored there.
    Stored { sequence: u64 },
    /// It is not stored.
    NotStored,
}

/// Who is told what happens.
pub(crate) trait Room {
    fn on_event(&mut self, event: Event<'_>);
}

/// What happens in the room, in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'e> {
    /// A line of any server, this one included. `sequence` is where the log let it be told.
    Line {
        node: NodeId,
        is_own: bool,
        number: u64,
        sequence: u64,
        /// When that entry was stored, as far as is known.
        stored_at: Moment,
        line: Line<'e>,
        /// It was said before this server came, or came back.
        is_late: bool,
    },
    /// A server asks who is here; it may be this one. Of the one that it was nothing more comes.
    NewNode {
        node: NodeId,
        was: Option<NodeId>,
        is_own: bool,
    },
    /// A server is gone; nothing more comes of it.
    Gone { node: NodeId },
    /// So many lines of the log will never be seen here.
    Lost { lines: u64 },
    /// From now on lines are heard here only.
    Split,
    /// A line said here that has waited, right behind `Split` or the end of a try to rejoin: it is to be shown now.
    HereOnly { line: Line<'e> },
    /// The log was read up to where it ended when the link opened, for the first time.
    Started,
    /// The split is over, and all that was missed was told. So many lines said here nobody else has heard.
    Back { unheard: u64 },
}

/// What became of a line that was said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is told when it is read from the log.
    Waits,
    /// The room is split: it is to be shown here, at once.
    HereOnly,
}

/// The state, as others may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Up,
    /// Speakers wait for the engine.
    Holding,
    Split,
    Rejoining,
}

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// How long own batches took until they were read.
    pub(crate) round_trips: Histogram,
    /// Batches that were published, and the lines in them.
    pub(crate) batches: u64,
    pub(crate) lines: u64,
    /// Batches that were published again.
    pub(crate) again: u64,
    /// Batches that are out now.
    pub(crate) out: usize,
    /// How often the room was split.
    pub(crate) splits: u64,
    /// How often the log had another end than was read.
    pub(crate) other_ends: u64,
    /// What was read.
    pub(crate) nodes: nodes::Figures,
    pub(crate) sequencer: sequencer::Figures,
    /// The other servers and this one.
    pub(crate) living: usize,
}

/// One room's share in the log.
#[derive(Debug)]
pub(crate) struct Relay {
    sequencer: Sequencer,
    core: Core,
}

impl Relay {
    /// A server under the id `node`. Until the first call that tells the time, nothing is waited for.
    pub(crate) fn new(times: Times, node: NodeId) -> Self {
        Self {
            sequencer: Sequencer::new(times.gap),
            core: Core::new(times, node),
        }
    }

    /// The id of this server. It may be another one after any call.
    pub(crate) fn node(&self) -> NodeId {
        self.core.node()
    }

    /// Whether a server lives, as far as is known.
    #[cfg(feature = "relay")]
    pub(crate) fn life(&self, node: NodeId) -> claims::Life {
        self.core.life(node)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.core.phase()
    }

    /// How many lines have been published and were not read.
    pub(crate) fn unacknowledged(&self) -> u64 {
        self.core.publisher.unread_lines()
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            sequencer: self.sequencer.figures(),
            ..self.core.figures()
        }
    }

    /// A line is said here.
    pub(crate) fn say(&mut self, conn: u64, kind: Kind, text: &str) -> Said {
        self.core.say(conn, kind, text)
    }

    /// Whether more may be said while so many bytes may wait, or 1 MiB if that is less. What is said all the same is
    /// taken, and not lost.
    pub(crate) fn has_room(&self, most: usize) -> bool {
        self.core.has_room(most)
    }

    /// Publishes what was said in this turn, if that can be.
    pub(crate) fn flush(&mut self, now: Moment, engine: &mut impl Engine) {
        self.core.flush(now, engine);
    }

    /// The link is open, and whatever is stored from now on is told. `fresh` is the id to go on with if this one cannot
    /// be kept; nobody else has ever had it.
    pub(crate) fn on_open(
        &mut self,
        info: LogInfo,
        fresh: NodeId,
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) {
        self.core.on_link(fresh);
        self.open(info, now, engine, room);
        self.core.hold(now);
    }

    /// The link is closed, or has failed before it was open: entries that wait are forgotten, because the next link may
    /// be to another log. A split that was about to end goes on with the next [`on_time`](Self::on_time).
    pub(crate) fn on_closed(&mut self, now: Moment) {
        self.sequencer.on_closed();
        self.core.on_closed(now);
    }

    /// The engine says something. An entry may come before the link is open.
    pub(crate) fn on_heard(
        &mut self,
        heard: Heard<'_>,
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) {
        match heard {
            Heard::Entry { sequence, payload } if !self.core.is_deaf() => {
                if self.core.is_open() {
                    self.core.doubt(sequence, now, engine);
                }
                let entry = Entry {
                    sequence,
                    payload,
                    stored_at: now,
                };
                self.on_entry(entry, now, engine, room);
            }
            _ if !self.core.is_open() => return,
            Heard::Info(info)
                if self.core.is_deaf() || self.core.is_behind() || self.core.is_other(&info) =>
            {
                self.sequencer.on_closed();
                self.open(info, now, engine, room);
            }
            _ if self.core.is_deaf() => return,
            Heard::Stored { sequence } => self.core.on_stored(sequence, now, engine),
            _ if self.core.is_checking() => self.on_check(&heard, now, engine, room),
            Heard::Fetched(entry) => self.on_entry(entry, now, engine, room),
            Heard::Missing { sequence } => self.sequencer.on_missing(sequence, now),
            Heard::NotFetched { sequence } => self.sequencer.on_not_fetched(sequence, now),
            Heard::Info(info) => {
                let core = &mut self.core;
                let mut read = |read: Read<'_>| core.on_read(read, now, engine, room);
                self.sequencer
                    .on_info((info.first, info.last), now, &mut read);
            }
            Heard::NotStored | Heard::Entry { .. } => {}
        }
        self.ask(now, engine);
        self.core.hold(now);
    }

    /// Time has passed.
    pub(crate) fn on_time(&mut self, now: Moment, engine: &mut impl Engine, room: &mut impl Room) {
        let core = &mut self.core;
        let mut read = |read: Read<'_>| core.on_read(read, now, engine, room);
        self.sequencer.read_on(&mut read);
        self.core.on_time(now, engine);
        self.ask(now, engine);
        if self.core.split_if_due(now, engine, room) {
            self.sequencer.on_closed();
        }
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        let sequencer = self.sequencer.next_deadline();
        let deadlines = [self.core.next_deadline(), sequencer];
        deadlines.into_iter().flatten().min()
    }

    /// The link was opened, or the engine answers again.
    fn open(&mut self, info: LogInfo, now: Moment, engine: &mut impl Engine, room: &mut impl Room) {
        self.core.open(info, now, engine, room);
        if !self.core.is_checking() {
            self.read_on(now, engine, room);
        }
    }

    /// The log is what it was, or is read again: it is read.
    fn read_on(&mut self, now: Moment, engine: &mut impl Engine, room: &mut impl Room) {
        let core = &mut self.core;
        let (next, ends) = (core.position().saturating_add(1), core.ends());
        let mut read = |read: Read<'_>| core.on_read(read, now, engine, room);
        self.sequencer.on_open(next, ends, now, &mut read);
        core.update(now, engine, room);
        self.ask(now, engine);
    }

    fn on_entry(
        &mut self,
        entry: Entry<'_>,
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) {
        let core = &mut self.core;
        let mut read = |read: Read<'_>| core.on_read(read, now, engine, room);
        self.sequencer.on_entry(entry, now, &mut read);
    }

    /// Something is heard while the last entry is looked for.
    fn on_check(
        &mut self,
        heard: &Heard<'_>,
        now: Moment,
        engine: &mut impl Engine,
        room: &mut impl Room,
    ) {
        match heard {
            Heard::Fetched(entry) if entry.sequence == self.core.position() => {
                self.core.on_last_entry(entry.payload, now, engine, room);
            }
            Heard::Missing { sequence } if *sequence == self.core.position() => engine.ask_info(),
            Heard::Info(info) => self.core.on_first(info.first, now, engine),
            _ => {}
        }
        if !self.core.is_checking() {
            self.read_on(now, engine, room);
        }
    }

    fn ask(&mut self, now: Moment, engine: &mut impl Engine) {
        self.sequencer.ask(now, &mut |ask| match ask {
            Ask::Fetch(sequence) => engine.fetch(sequence),
            Ask::Info => engine.ask_info(),
        });
    }
}
