//! The engine: one log, a link to each server, and a time for whatever is on its way. It does nothing by itself;
//! the world hands it what arrives, and takes from it what is due.

use std::collections::BTreeMap;

use super::tally::Tally;
use crate::relay::{Engine, LogInfo};

/// Microseconds.
pub(super) type Time = u64;
pub(super) const MILLISECOND: Time = 1_000;
pub(super) const SECOND: Time = 1_000_000;

/// What a server asks of the engine.
#[derive(Debug)]
pub(super) enum Request {
    Publish(Vec<u8>, bool),
    Fetch(u64),
    Info,
    /// The first question of a link.
    Open,
}

/// What the engine says.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Entry(u64, Vec<u8>),
    Fetched(u64, Vec<u8>),
    Missing(u64),
    NotFetched(u64),
    Info(LogInfo),
    Open(LogInfo),
    Stored(u64),
    NotStored,
}

/// What a relay wants of the engine in one call.
#[derive(Debug, Default)]
pub(super) struct Wire(pub(super) Vec<Request>);

impl Engine for Wire {
    fn publish(&mut self, batch: &[u8], wants_answer: bool) {
        self.0.push(Request::Publish(batch.to_vec(), wants_answer));
    }

    fn fetch(&mut self, sequence: u64) {
        self.0.push(Request::Fetch(sequence));
    }

    fn ask_info(&mut self) {
        self.0.push(Request::Info);
    }
}

/// How bad the engine is.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    /// How many of 1000 entries do not reach a server, come twice, come late, or are not stored.
    pub(super) drops: u32,
    pub(super) doubles: u32,
    pub(super) delays: u32,
    pub(super) refusals: u32,
    /// How many of 1000 questions for an entry are answered wrongly.
    pub(super) lies: u32,
    /// How long a request is on its way at most.
    pub(super) way: Time,
}

impl Faults {
    pub(super) const NONE: Self = Self {
        drops: 0,
        doubles: 0,
        delays: 0,
        refusals: 0,
        lies: 0,
        way: MILLISECOND,
    };
}

/// The log and its leader.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) created: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) entries: BTreeMap<u64, Vec<u8>>,
    /// All entries since it was made, those included that were trimmed.
    pub(super) all: BTreeMap<u64, Vec<u8>>,
    /// How many entries it keeps.
    pub(super) limit: u64,
    pub(super) replicas: u8,
    pub(super) has_leader: bool,
    /// How many of the last entries the leader has not applied yet: it reports none of them.
    pub(super) behind: u64,
    pub(super) faults: Faults,
}

impl Log {
    pub(super) fn new(limit: u64, replicas: u8) -> Self {
        Self {
            created: 1,
            first: 1,
            last: 0,
            entries: BTreeMap::new(),
            all: BTreeMap::new(),
            limit,
            replicas,
            has_leader: true,
            behind: 0,
            faults: Faults::NONE,
        }
    }

    pub(super) fn info(&self) -> LogInfo {
        LogInfo {
            created: self.created.to_string(),
            first: self.first,
            last: self.told_last(),
            replicas: self.replicas,
        }
    }

    /// The last entry that the leader reports.
    fn told_last(&self) -> u64 {
        self.last.saturating_sub(self.behind).max(self.first - 1)
    }

    /// Stores an entry.
    pub(super) fn store(&mut self, payload: &[u8]) -> u64 {
        self.last += 1;
        self.entries.insert(self.last, payload.to_vec());
        self.all.insert(self.last, payload.to_vec());
        while self.entries.len() as u64 > self.limit {
            self.entries.remove(&self.first);
            self.first += 1;
        }
        self.last
    }

    /// It is deleted, and made anew.
    pub(super) fn make_anew(&mut self) {
        self.created += 1;
        (self.first, self.last) = (1, 0);
        self.entries.clear();
        self.all.clear();
    }

    /// It loses that many entries at its end.
    pub(super) fn lose_tail(&mut self, entries: u64) {
        for _ in 0..entries {
            if self.last >= self.first {
                self.entries.remove(&self.last);
                self.all.remove(&self.last);
                self.last -= 1;
            }
        }
    }

    /// Answers a question for an entry.
    pub(super) fn fetch(
        &self,
        sequence: u64,
        rng: &mut fastrand::Rng,
        tally: &mut Tally,
    ) -> Answer {
        if !self.has_leader {
            tally.note("an entry is asked for while nobody leads the log");
            return Answer::NotFetched(sequence);
        }
        if rng.u32(..1000) < self.faults.lies {
            tally.note("an entry is said to be missing that is not");
            return Answer::Missing(sequence);
        }
        let told = ..=self.told_last();
        match self
            .entries
            .get(&sequence)
            .filter(|_| told.contains(&sequence))
        {
            Some(payload) => Answer::Fetched(sequence, payload.clone()),
            None => Answer::Missing(sequence),
        }
    }
}
