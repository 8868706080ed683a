//! Whether the hard cases came about: [`Tally`] counts them by their names.

use std::collections::BTreeMap;

use crate::client::Read;

/// What has to come about in the default seeds.
const CASES: &[&str] = &[
    // What clients read.
    "a room is cut off",
    "a room is back",
    "lines were said elsewhere meanwhile",
    "the others did not hear lines",
    "lines are lost",
    "a slow reader is told what it skipped",
    "people of a server that is gone",
    "a person loses its nick to one on another server",
    "a script is closed because its nick is lost",
    "a nick is refused",
    "private words have arrived",
    "private words without an answer",
    // What servers count.
    "a batch is stored twice",
    "a gap is fetched",
    "a batch is parked",
    // What goes wrong.
    "an election ends without a split",
    "an election ends with a split",
    "the engine comes back and nobody was told",
    "the engine is gone for long",
    "the engine stands still",
    "a link is cut in the middle of a frame",
    "a link is cut and the engine still gets requests",
    "entries are not republished",
    "answers are lost",
    "a server is parted from the engine",
    "a server that is parted cannot connect",
    "a server stands still and is declared gone",
    "a slow server is cut",
    "a server is killed",
    "a log loses its end",
    "a log is made anew",
    "a nick is claimed on two servers at once",
    "two had one nick for a while",
];

#[derive(Debug, Default, Clone)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn note(&mut self, case: &'static str) {
        assert!(CASES.contains(&case), "{case} is in no list");
        *self.0.entry(case).or_default() += 1;
    }

    pub(crate) fn note_if(&mut self, it_is: bool, case: &'static str) {
        if it_is {
            self.note(case);
        }
    }

    pub(crate) fn note_read(&mut self, read: Read) {
        match read {
            Read::Line(_) => {}
            Read::CutOff => self.note("a room is cut off"),
            Read::Back(count) => {
                self.note("a room is back");
                self.note_if(count > 0, "lines were said elsewhere meanwhile");
            }
            Read::Unheard(_) => self.note("the others did not hear lines"),
            Read::Lost(_) => self.note("lines are lost"),
            Read::Skipped(_) => self.note("a slow reader is told what it skipped"),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (case, times) in &other.0 {
            *self.0.entry(case).or_default() += times;
        }
    }

    pub(crate) fn assert_complete(&self) {
        let missing = CASES.iter().filter(|it| !self.0.contains_key(**it));
        let missing: Vec<_> = missing.collect();
        assert!(missing.is_empty(), "did not come about: {missing:?}");
    }
}
