//! How often something came about: a simulation that avoids the hard cases proves nothing.

use line_chat::CloseReason;

/// What happens only where people are received, and not on the bare wire.
const OF_PEOPLE: [CloseReason; 5] = [
    CloseReason::WrongPassword,
    CloseReason::Quit,
    CloseReason::Kicked,
    CloseReason::Banned,
    CloseReason::AddressBanned,
];

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) joined: u64,
    pub(crate) lines: u64,
    pub(crate) loud_lines: u64,
    pub(crate) skipped: u64,
    pub(crate) told_skipped: u64,
    pub(crate) notices: u64,
    pub(crate) answers: u64,
    pub(crate) answers_over_limit: u64,
    pub(crate) held_up: u64,
    pub(crate) held_turns: u64,
    pub(crate) too_fast: u64,
    pub(crate) rate_held: u64,
    pub(crate) unregistrable: u64,
    pub(crate) spare: u64,
    pub(crate) short: u64,
    pub(crate) ran_out_of_time: u64,
    pub(crate) shed_draining: u64,
    /// By reason, in its order.
    pub(crate) closed: [u64; CloseReason::ALL.len()],
}

impl Tally {
    /// Every number under its name.
    fn entries(&self) -> impl Iterator<Item = (String, u64)> {
        let numbers = [
            ("joined", self.joined),
            ("lines", self.lines),
            ("loud lines", self.loud_lines),
            ("skipped", self.skipped),
            ("told so", self.told_skipped),
            ("notices", self.notices),
            ("answers", self.answers),
            ("answers over the limit", self.answers_over_limit),
            ("lines that held up the room", self.held_up),
            ("turns with input held", self.held_turns),
            ("times too fast for most", self.too_fast),
            ("times over the rate", self.rate_held),
            ("unregistrable", self.unregistrable),
            ("taken in with the spare descriptor", self.spare),
            ("accepts that fell short", self.short),
            ("ran out of time", self.ran_out_of_time),
            ("longest queue of one that leaves", self.shed_draining),
        ];
        let numbers = numbers.map(|(name, number)| (name.to_owned(), number));
        let reasons = CloseReason::ALL.into_iter();
        let closed = reasons
            .filter(|reason| !OF_PEOPLE.contains(reason))
            .map(|reason| (reason.to_string(), self.closed[reason as usize]));
        numbers.into_iter().chain(closed)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.joined, other.joined),
            (&mut self.lines, other.lines),
            (&mut self.loud_lines, other.loud_lines),
            (&mut self.skipped, other.skipped),
            (&mut self.told_skipped, other.told_skipped),
            (&mut self.notices, other.notices),
            (&mut self.answers, other.answers),
            (&mut self.answers_over_limit, other.answers_over_limit),
            (&mut self.held_up, other.held_up),
            (&mut self.held_turns, other.held_turns),
            (&mut self.too_fast, other.too_fast),
            (&mut self.rate_held, other.rate_held),
            (&mut self.unregistrable, other.unregistrable),
            (&mut self.spare, other.spare),
            (&mut self.short, other.short),
            (&mut self.ran_out_of_time, other.ran_out_of_time),
            (&mut self.shed_draining, other.shed_draining),
        ];
        for (sum, more) in pairs
            .into_iter()
            .chain(self.closed.iter_mut().zip(other.closed))
        {
            *sum += more;
        }
    }

    /// Everything that can happen did.
    #[track_caller]
    pub(crate) fn assert_complete(&self) {
        let missing: Vec<_> = self.entries().filter(|(_, number)| *number == 0).collect();
        assert!(missing.is_empty(), "never seen: {missing:?}");
    }
}
