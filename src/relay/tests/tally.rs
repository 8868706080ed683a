//! Whether the hard cases came about: [`Tally`] counts them by their names.

use std::collections::BTreeMap;

/// What has to come about in the default seeds.
pub(super) const CASES: &[&str] = &[
    "a room is split and back",
    "a room is split although its link stands",
    "a room is split before it was ever linked",
    "a split goes on after a try to rejoin",
    "a hold ends without a split, and lines are published again",
    "a server reads that it is gone",
    "a server that ended is gone",
    "a log is made anew",
    "a log is made anew under a standing link",
    "a log loses its end",
    "a log has lost its end and grown again",
    "a log was trimmed beyond what was read",
    "lines are lost",
    "lines said in a split are heard by nobody",
    "lines shown in a split are heard by others after all",
    "a batch is stored twice",
    "a batch is stored behind a later one",
    "parked lines are dropped, because their server is gone",
    "a hole is fetched",
    "an entry comes out of order",
    "an entry is asked for while nobody leads the log",
    "an entry is said to be missing that is not",
    "a new leader reports less than was read",
    "a probe is answered that nothing is stored",
    "a probe is answered that it is stored",
    "sixteen batches are out",
    "speakers are not read",
    "a server stands still",
    "a slow server is cut",
    "a late request reaches the engine after its link was cut",
];

#[derive(Debug, Default, Clone)]
pub(super) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(super) fn note(&mut self, case: &'static str) {
        assert!(CASES.contains(&case), "{case} is in no list");
        *self.0.entry(case).or_default() += 1;
    }

    pub(super) fn note_if(&mut self, it_is: bool, case: &'static str) {
        if it_is {
            self.note(case);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (case, times) in &other.0 {
            *self.0.entry(case).or_default() += times;
        }
    }

    pub(super) fn assert_complete(&self) {
        let missing: Vec<_> = CASES
            .iter()
            .filter(|it| !self.0.contains_key(**it))
            .collect();
        assert!(missing.is_empty(), "did not come about: {missing:?}");
    }
}
