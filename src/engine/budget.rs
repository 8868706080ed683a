//! How much one turn may do: [`TurnBudget`] bounds what is read from all clients together, what comes
//! of it in each queue, and how many commands are run. What is left over is done in the next turn, so a
//! flood never keeps the loop from everybody else: what somebody types waits for the rest of one turn
//! at most, which is a few milliseconds.

use crate::config::Limits;

/// How many commands of one client a turn runs. Nobody types faster, and each may take as much time as
/// a hundred lines.
pub(super) const CLIENT_COMMANDS: usize = 8;

/// How many lines, or other things, of one client the first part of a turn handles while others wait for
/// theirs.
pub(super) const CLIENT_STEPS: usize = 64;

/// How many commands a turn runs. Most take 10 us at most, so this is less than a millisecond; one that takes
/// longer says so by its cost, and counts as several.
const COMMANDS: usize = 64;

/// How many lines, or other things that a client sends, a turn handles. Each takes some 100 ns, though
/// it may be an empty line that fills no queue.
const STEPS: usize = 8192;

/// The least cost of a step that says nothing to anybody, such as an empty line, in bytes.
pub(super) const STEP_BYTES: usize = 64;

/// How many clients a turn closes because they have ended, how many because their time is up, and to how
/// many it writes that are closing already. Each takes about 5 us, most of it in system calls.
pub(super) const CLOSES: usize = 256;

/// A turn searches input that waits for the room, to see who leaves: how much of it, in bytes, and the least
/// that each client counts. This input does not count as read, so it keeps nobody else from being read.
const SEARCHED_BYTES: usize = 64 << 10;
const SEARCH_BYTES: usize = 256;

/// How much a turn puts into all queues together, in bytes: it takes two milliseconds to copy and to
/// write it.
const DELIVERED_BYTES: usize = 4 << 20;

/// How much a turn may put into one queue, however many queues there are, in bytes. A system call that
/// writes this much takes little more time than one that writes a single line.
const WRITE_BYTES: usize = 8 << 10;

/// What this turn may do, and what it has done so far.
#[derive(Debug, Default)]
pub(super) struct TurnBudget {
    /// How much may be read, in bytes.
    most_input: usize,
    /// How much may be put into each queue, the next line included, in bytes.
    most_output: usize,
    /// How much may be put into each queue because of the limit for all queues together, in bytes.
    most_of_all: usize,
    /// How much was read, and how much held input was decoded, in bytes.
    pub(super) input_bytes: usize,
    pub(super) commands: usize,
    pub(super) steps: usize,
    /// How many clients it has begun to close, or found to have ended.
    pub(super) closes: usize,
    /// How much input it has searched for somebody's leaving, in bytes.
    searched_bytes: usize,
    /// How many connections it has brought nearer to their end.
    pub(super) closing_flushes: usize,
    /// The most that it has put into one queue, in bytes: the batch, and what single clients are told, as if
    /// all of that were for one client.
    pub(super) output_bytes: usize,
}

impl TurnBudget {
    /// The budget of a turn that begins with this number of members.
    pub(super) fn new(members: usize, limits: &Limits) -> Self {
        let mut budget = Self {
            most_input: limits.turn_read_bytes,
            ..Self::default()
        };
        budget.fit(members, limits);
        budget
    }

    /// Fits it to a number of members that has changed. A turn fills a quarter of what each queue holds,
    /// and of what all of them hold together, so a reader that keeps up is never pushed over its limit
    /// by one bulk speaker's burst.
    pub(super) fn fit(&mut self, members: usize, limits: &Limits) {
        let each = |all: usize| all.checked_div(members).unwrap_or(usize::MAX);
        let most_output = each(DELIVERED_BYTES).max(WRITE_BYTES);
        self.most_output = most_output.min(limits.max_pending_bytes / 4);
        self.most_of_all = match limits.max_pending_total_bytes {
            0 => usize::MAX,
            total => each(total / 4),
        };
    }

    /// Whether nothing more is to be read in this turn.
    pub(super) fn is_spent(&self) -> bool {
        self.input_bytes >= self.most_input
            || self.commands >= COMMANDS
            || self.steps >= STEPS
            || self.is_output_spent(0)
    }

    /// Whether this turn has filled the queues as far as it may, if `next` bytes more count. One line a
    /// turn is always possible.
    #[inline]
    pub(super) fn is_output_spent(&self, next: usize) -> bool {
        let with = self.output_bytes.saturating_add(next);
        self.output_bytes > self.most_of_all || (self.output_bytes > 0 && with > self.most_output)
    }

    /// Whether more input may be searched for somebody's leaving.
    pub(super) fn may_search(&self) -> bool {
        self.searched_bytes < SEARCHED_BYTES
    }

    /// Counts a client, and how much of its input is searched.
    pub(super) fn count_search(&mut self, bytes: usize) {
        let bytes = bytes.saturating_add(SEARCH_BYTES);
        self.searched_bytes = self.searched_bytes.saturating_add(bytes);
    }

    /// Whether clients that are about to end have to wait for the next turn.
    pub(super) fn is_closing_spent(&self) -> bool {
        self.closes >= CLOSES
    }

    /// Counts a client that begins to close, or ends.
    pub(super) fn count_close(&mut self) {
        self.closes = self.closes.saturating_add(1);
    }

    /// Counts a connection that is brought nearer to its end. Returns whether that may still be done in
    /// this turn.
    pub(super) fn may_flush_closing(&mut self) -> bool {
        let is_within = self.closing_flushes < CLOSES;
        self.closing_flushes = self.closing_flushes.saturating_add(1);
        is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_limits_of_all_do_not_overflow() {
        let limits = Limits {
            max_line_bytes: usize::MAX,
            max_pending_bytes: usize::MAX,
            ..Limits::default()
        };
        for members in [0, 1, usize::MAX] {
            let mut budget = TurnBudget::new(members, &limits);
            let is_spent = budget.is_output_spent(usize::MAX);
            assert!(!is_spent, "one line is always possible");
            budget.output_bytes = 1;
            assert!(budget.is_output_spent(usize::MAX));
        }
    }
}
