//! How much one turn may do: [`TurnBudget`] bounds what is read from all clients together, and what
//! comes of it in each queue. What is left over is done in the next turn, so a flood never keeps the
//! loop from everybody else.

use crate::config::Limits;

/// What this turn has done so far.
#[derive(Debug, Default)]
pub(super) struct TurnBudget {
    /// How much was read, and how much held input was decoded, in bytes.
    pub(super) input_bytes: usize,
    /// What the commands of this turn cost at least, in bytes.
    pub(super) command_bytes: usize,
    /// How much it has put into one queue at most, in bytes: the batch, and everything for single
    /// clients as if it were for one, with what commands cost.
    pub(super) output_bytes: usize,
}

impl TurnBudget {
    /// Whether nothing more is to be read in this turn.
    pub(super) fn is_spent(&self, members: usize, limits: &Limits) -> bool {
        self.input_bytes >= limits.turn_read_bytes || self.is_output_spent(0, members, limits)
    }

    /// Whether this turn has filled the queues as far as it may, if `next` bytes more count: a quarter
    /// of what each of them holds, and of what all of them hold together. So a reader that keeps up is
    /// never pushed over its limit by one bulk speaker's burst. One line a turn is always possible.
    pub(super) fn is_output_spent(&self, next: usize, members: usize, limits: &Limits) -> bool {
        let each = limits.max_pending_bytes / 4;
        let all = match limits.max_pending_total_bytes {
            0 => usize::MAX,
            total => total / 4,
        };
        if self.output_bytes.saturating_mul(members) > all {
            return true;
        }
        self.output_bytes > 0 && self.output_bytes.saturating_add(next) > each
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
        let mut budget = TurnBudget::default();
        let is_spent = budget.is_output_spent(usize::MAX, 0, &limits);
        assert!(!is_spent, "one line is always possible");
        budget.output_bytes = 1;
        assert!(budget.is_output_spent(usize::MAX, 0, &limits));
    }
}
