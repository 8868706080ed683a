//! What happens at the append when a queue is too full. [`Overflow`] is chosen once, when a client
//! becomes a member, and decides line by line; before that a client is simply closed when more than
//! 16 KiB are queued.
//!
//! With `skip`, a queue that was once too full takes nothing more before there is room for many lines
//! again, so a reader gets the conversation in stretches and not every tenth line of it. The lines of
//! bulk speakers stop at half of a queue: the other half is always there for sparse speakers, and a
//! flood never pushes out what somebody typed.
//!
//! | [`SkipLevel`] | a line that does not fit | a bulk line beyond half | queue below half | below a quarter, or empty |
//! |---|---|---|---|---|
//! | `Nothing` | `All` | `Bulk` | - | - |
//! | `Bulk` (bulk lines are skipped) | `All` | - | - | `Nothing` |
//! | `All` (every line is skipped) | - | - | `Bulk` | `Nothing` |
//!
//! Whatever was skipped is counted, and the reader is told how much before it gets another line.

use crate::broadcast::batch::{Kind, Lines};
use crate::broadcast::priority::Class;
use crate::config::{Lag, Limits};
use crate::protocol::layout::Columns;
use crate::protocol::message::Message;
use crate::time::moment::Moment;

/// What a telnet answer may take beyond the limit of a queue, in bytes: a refusal that got lost would
/// leave its user deaf. 1365 of them are more than a telnet client can mean.
pub(crate) const ANSWER_BYTES: usize = 4 << 10;

/// How much may be queued for a client that is no member, in bytes: several greetings, and all answers
/// that a person who reads them can cause.
const NEWCOMER_BYTES: usize = 16 << 10;

/// No notice of skipped lines is longer than this, in bytes.
const NOTICE_BYTES: usize = 80;

/// What is to be appended to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// A member's line.
    Line(Class),
    /// What the server says of a member.
    Notice,
    /// The server's answer to the client itself.
    Reply,
    /// An answer to a telnet command.
    Telnet,
}

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Append,
    /// It is left out and counted.
    Skip,
    /// It does not fit and must not be left out.
    Refuse,
}

/// The rule for a queue that is too full, with what the rule has to remember.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Overflow {
    /// Lines are left out: [`Lag::Skip`].
    Skip {
        /// Lines that were left out and of which the reader was not told.
        untold: u64,
        level: SkipLevel,
    },
    /// The client is closed: [`Lag::Disconnect`].
    Disconnect,
    /// The client is no member: it is closed as well, and much sooner.
    Newcomer,
    /// The room waits: [`Lag::Wait`]. Lines are appended beyond the limit, but none is said while
    /// there is such a queue, except by operators and by those who leave; with twice the limit the
    /// reader is closed. Notices of members who come and go cannot wait; they are left out.
    Wait {
        /// Skipped notices of which the reader was not told. Using four bytes fewer than for lines
        /// saves eight per client; a reader that overflows the counter is closed.
        untold: u32,
        /// Since when the queue exceeds the limit. It ends when half of the queue is free.
        over_since: Option<Moment>,
    },
    /// It is a connection of the server's own, which limits by itself what it queues.
    #[cfg_attr(
        not(feature = "relay"),
        allow(dead_code, reason = "nothing connects to other servers")
    )]
    Own,
    /// The client is about to be closed because of its memory: nothing more is appended but its last
    /// words.
    Sealed,
}

/// Which lines are left out. The order matters: each level includes the one before.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SkipLevel {
    #[default]
    Nothing,
    /// Those of bulk speakers, until three quarters of the queue are free.
    Bulk,
    /// All, until half of the queue is free.
    All,
}

impl Overflow {
    /// The rule for a member.
    pub(crate) fn for_member(lag: Lag) -> Self {
        match lag {
            Lag::Skip => Self::Skip {
                untold: 0,
                level: SkipLevel::Nothing,
            },
            Lag::Disconnect => Self::Disconnect,
            Lag::Wait => Self::Wait {
                untold: 0,
                over_since: None,
            },
        }
    }

    /// Whether nothing was left out, and nothing is about to be.
    #[inline]
    pub(super) fn is_calm(&self) -> bool {
        match self {
            Self::Skip { untold, level } => *untold == 0 && *level == SkipLevel::Nothing,
            Self::Disconnect | Self::Newcomer | Self::Own => true,
            Self::Wait { untold, over_since } => *untold == 0 && over_since.is_none(),
            Self::Sealed => false,
        }
    }

    /// Whether all of these lines are appended without a look at any of them: the common case.
    #[inline]
    pub(super) fn admits_all(&self, queued: usize, lines: &Lines<'_>, limits: &Limits) -> bool {
        let with = queued.saturating_add(lines.bytes.len());
        // Bulk lines may fill only half of the queue of a reader that skips.
        let most = match self {
            Self::Skip { .. } if lines.has_bulk => limits.max_pending_bytes / 2,
            _ => limits.max_pending_bytes,
        };
        with <= most && self.is_calm()
    }

    /// Whether each of some lines of this class, `len` bytes together, is left out, and that changes
    /// nothing for what comes behind them. If one of the lines had no room even in the whole queue,
    /// everything would be left out from there on, so that has to be found line by line.
    pub(super) fn skips_all(&self, queued: usize, len: usize, class: Class, limit: usize) -> bool {
        let with = queued.saturating_add(len).saturating_add(NOTICE_BYTES);
        match self {
            Self::Skip { level, .. } => {
                *level == SkipLevel::All || (level.skips(class) && with <= limit)
            }
            Self::Disconnect | Self::Newcomer | Self::Own | Self::Wait { .. } => false,
            Self::Sealed => true,
        }
    }

    /// Decides about one line of `len` bytes for a queue of `queued` bytes. What is left out is
    /// counted here.
    pub(super) fn verdict(
        &mut self,
        queued: usize,
        len: usize,
        content: Content,
        now: Moment,
        limit: usize,
        columns: Columns,
    ) -> Verdict {
        let with = queued.saturating_add(len);
        let limit = match self {
            Self::Newcomer => limit.min(NEWCOMER_BYTES),
            _ => limit,
        };
        let class = match content {
            Content::Telnet => return append_or_refuse(with, limit.saturating_add(ANSWER_BYTES)),
            Content::Line(class) => class,
            Content::Notice | Content::Reply => Class::Sparse,
        };
        let verdict = match self {
            Self::Skip { untold, level } => {
                // The reader is told before it gets another line, and that takes room as well.
                let notice = match *untold {
                    0 => 0,
                    count => skipped_notice(count, columns).len(),
                };
                level.verdict(queued, with.saturating_add(notice), class, limit)
            }
            Self::Disconnect | Self::Newcomer => append_or_refuse(with, limit),
            Self::Wait { over_since, .. } => wait_verdict(over_since, with, content, now, limit),
            Self::Own => Verdict::Append,
            Self::Sealed => Verdict::Skip,
        };
        match verdict {
            Verdict::Skip if !self.count_skipped(1) => Verdict::Refuse,
            verdict => verdict,
        }
    }

    /// Counts skipped lines. Returns `false` if the counter would overflow.
    pub(super) fn count_skipped(&mut self, lines: usize) -> bool {
        match self {
            Self::Skip { untold, .. } => {
                *untold = untold.saturating_add(lines as u64);
                true
            }
            Self::Wait { untold, .. } => {
                let sum = u32::try_from(lines)
                    .ok()
                    .and_then(|n| untold.checked_add(n));
                *untold = sum.unwrap_or(*untold);
                sum.is_some()
            }
            Self::Disconnect | Self::Newcomer | Self::Own | Self::Sealed => true,
        }
    }

    /// The number of lines that were left out and of which the reader was not told.
    #[inline]
    pub(super) fn untold(&self) -> u64 {
        match self {
            Self::Skip { untold, .. } => *untold,
            Self::Wait { untold, .. } => u64::from(*untold),
            Self::Disconnect | Self::Newcomer | Self::Own | Self::Sealed => 0,
        }
    }

    /// The reader was told, or never will be.
    pub(super) fn forget_untold(&mut self) {
        match self {
            Self::Skip { untold, .. } => *untold = 0,
            Self::Wait { untold, .. } => *untold = 0,
            Self::Disconnect | Self::Newcomer | Self::Own | Self::Sealed => {}
        }
    }

    /// The queue has shrunk to `queued` bytes. Returns whether the reader is to be told now what it
    /// missed, even if nothing more is said.
    pub(super) fn resume(&mut self, queued: usize, limit: usize) -> bool {
        match self {
            Self::Skip { untold, level } => {
                let was = *level;
                *level = was.after_flush(queued, limit);
                *untold > 0 && *level < was
            }
            Self::Wait { untold, over_since } => {
                let has_room = queued == 0 || queued < limit / 2;
                if has_room {
                    *over_since = None;
                }
                has_room && *untold > 0
            }
            Self::Disconnect | Self::Newcomer | Self::Own | Self::Sealed => false,
        }
    }

    /// Whether the room would wait for this reader.
    pub(crate) fn waits(&self) -> bool {
        matches!(self, Self::Wait { .. })
    }

    /// Since when the room waits for this reader, if it does.
    #[inline]
    pub(crate) fn holds_up_since(&self) -> Option<Moment> {
        match self {
            Self::Wait { over_since, .. } => *over_since,
            Self::Skip { .. } | Self::Disconnect | Self::Newcomer => None,
            Self::Own | Self::Sealed => None,
        }
    }
}

impl SkipLevel {
    fn skips(self, class: Class) -> bool {
        match self {
            Self::Nothing => false,
            Self::Bulk => class == Class::Bulk,
            Self::All => true,
        }
    }

    /// Decides about a line with which the queue, with what the reader has to be told before it, would
    /// be `with` bytes long.
    fn verdict(&mut self, queued: usize, with: usize, class: Class, limit: usize) -> Verdict {
        if class == Class::Bulk && queued > 0 && with > limit / 2 {
            *self = (*self).max(Self::Bulk);
        }
        if with > limit {
            *self = Self::All;
        }
        match self.skips(class) {
            true => Verdict::Skip,
            false => Verdict::Append,
        }
    }

    fn after_flush(self, queued: usize, limit: usize) -> Self {
        match self {
            _ if queued == 0 || queued < limit / 4 => Self::Nothing,
            Self::All if queued < limit / 2 => Self::Bulk,
            same => same,
        }
    }
}

fn append_or_refuse(with: usize, most: usize) -> Verdict {
    match with <= most {
        true => Verdict::Append,
        false => Verdict::Refuse,
    }
}

fn wait_verdict(
    over_since: &mut Option<Moment>,
    with: usize,
    content: Content,
    now: Moment,
    limit: usize,
) -> Verdict {
    let fits = with <= limit;
    if content == Content::Notice && (!fits || over_since.is_some()) {
        return Verdict::Skip;
    }
    if !fits {
        over_since.get_or_insert(now);
    }
    // What is said in the turn in which the room begins to wait fits into that. More comes only of those
    // who need not wait.
    append_or_refuse(with, limit.saturating_mul(2))
}

/// The kind of a line of the room, as a queue sees it.
pub(crate) fn content_of(kind: Kind, class: Class) -> Content {
    match kind {
        Kind::Line | Kind::Action | Kind::PlainAction => Content::Line(class),
        Kind::LastWords | Kind::Rename => Content::Line(class),
        Kind::WordlessLeave | Kind::Presence | Kind::Notice | Kind::Announcement => Content::Notice,
        Kind::AnnouncementToPeople | Kind::AnnouncementToScripts => Content::Notice,
    }
}

/// The line that tells a reader how many lines it did not get.
pub(super) fn skipped_notice(count: u64, columns: Columns) -> Vec<u8> {
    let mut notice = Vec::with_capacity(NOTICE_BYTES);
    let message = match columns.is_terminal() {
        true => Message::SkippedForPerson(count),
        false => Message::Skipped(count),
    };
    message.write(&mut notice);
    notice
}

/// How many lines were left out, if this line tells a reader of it.
pub(super) fn skipped_in(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let words = line.strip_suffix("s skipped");
    let words = words.or_else(|| line.strip_suffix(" skipped"))?;
    words
        .strip_prefix("* ")?
        .strip_suffix(" line")?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 100;
    const PLAIN: Columns = Columns::UNBROKEN;

    #[test]
    fn a_notice_is_read_as_it_is_written_and_nothing_else_is_one() {
        for count in [1, 2, 132, u64::MAX] {
            assert_eq!(skipped_in(&skipped_notice(count, PLAIN)), Some(count));
        }
        for line in [
            "* 1970-01-01T00:00:00.000Z * 5 lines skipped\n",
            "1970-01-01T00:00:00.000Z bob: * 5 lines skipped\n",
            "32 lines skipped\n",
            "* bob left: 5 lines skipped\n",
            "* lines skipped\n",
            "",
        ] {
            assert_eq!(skipped_in(line.as_bytes()), None, "{line:?}");
        }
    }

    fn skip() -> Overflow {
        Overflow::for_member(Lag::Skip)
    }

    /// Whether a line is appended, as if the reader had been told already what it missed, so that the
    /// notice takes no room.
    fn admits(overflow: &mut Overflow, queued: usize, len: usize, class: Class) -> bool {
        let untold = overflow.untold();
        overflow.forget_untold();
        let content = Content::Line(class);
        let verdict = overflow.verdict(queued, len, content, Moment::BEGINNING, LIMIT, PLAIN);
        assert!(overflow.count_skipped(usize::try_from(untold).expect("few")));
        verdict == Verdict::Append
    }

    #[test]
    fn from_the_first_line_that_does_not_fit_all_are_skipped_until_half_is_free() {
        let mut queue = skip();
        assert!(admits(&mut queue, 90, 10, Class::Sparse));
        assert!(!admits(&mut queue, 91, 10, Class::Sparse));
        assert!(!admits(&mut queue, 91, 1, Class::Sparse), "it would fit");
        assert!(!queue.resume(50, LIMIT));
        assert!(!admits(&mut queue, 50, 1, Class::Sparse));
        assert!(queue.resume(49, LIMIT));
        assert_eq!(queue.untold(), 3);
        assert!(admits(&mut queue, 49, 1, Class::Sparse));
    }

    #[test]
    fn a_bulk_speaker_fills_half_and_goes_on_below_a_quarter() {
        let mut queue = skip();
        assert!(admits(&mut queue, 40, 10, Class::Bulk));
        assert!(!admits(&mut queue, 41, 10, Class::Bulk));
        assert!(admits(&mut queue, 41, 10, Class::Sparse), "there is room");
        assert!(!queue.resume(25, LIMIT));
        assert!(!admits(&mut queue, 25, 1, Class::Bulk));
        assert!(queue.resume(24, LIMIT));
        assert!(admits(&mut queue, 24, 1, Class::Bulk));
        assert_eq!(queue.untold(), 2);
    }

    #[test]
    fn the_notice_takes_room_before_the_line() {
        let mut queue = skip();
        assert!(queue.count_skipped(1));
        let len = LIMIT - skipped_notice(1, PLAIN).len();
        let mut verdict = |len| {
            let content = Content::Line(Class::Sparse);
            queue.verdict(0, len, content, Moment::BEGINNING, LIMIT, PLAIN)
        };
        assert_eq!(verdict(len), Verdict::Append);
        assert_eq!(verdict(len + 1), Verdict::Skip);
        assert_eq!(verdict(1), Verdict::Skip, "until half is free");
    }

    #[test]
    fn lines_are_skipped_together_only_where_that_is_the_same_as_one_by_one() {
        let limit = 1000;
        for (queued, len, together) in [(500, 400, true), (900, 90, false), (900, 200, false)] {
            let mut queue = skip();
            let content = Content::Line(Class::Bulk);
            let verdict = queue.verdict(600, 1, content, Moment::BEGINNING, limit, PLAIN);
            assert_eq!(verdict, Verdict::Skip);
            assert!(!queue.skips_all(queued, len, Class::Sparse, limit));
            assert_eq!(queue.skips_all(queued, len, Class::Bulk, limit), together);
        }
        let mut queue = skip();
        let content = Content::Line(Class::Sparse);
        let verdict = queue.verdict(1000, 1, content, Moment::BEGINNING, limit, PLAIN);
        assert_eq!(verdict, Verdict::Skip);
        assert!(queue.skips_all(1000, 9999, Class::Sparse, limit));
    }

    #[test]
    fn a_bulk_line_that_no_queue_has_room_for_ends_everything_until_half_is_free() {
        let mut queue = skip();
        assert!(!admits(&mut queue, 60, 1, Class::Bulk));
        assert!(admits(&mut queue, 60, 1, Class::Sparse));
        assert!(!admits(&mut queue, 100, 1, Class::Bulk));
        assert!(!admits(&mut queue, 60, 1, Class::Sparse));
    }

    #[test]
    fn an_empty_queue_takes_any_line_that_it_can_hold() {
        let mut queue = skip();
        assert!(admits(&mut queue, 0, 100, Class::Bulk));
        assert!(!admits(&mut queue, 100, 1, Class::Bulk));
        assert!(queue.resume(0, LIMIT));
        assert!(!queue.resume(0, LIMIT), "nothing has changed since");
    }

    #[test]
    fn a_room_that_waits_leaves_out_notices_only_and_tells_of_them_when_half_is_free() {
        let mut queue = Overflow::for_member(Lag::Wait);
        let now = Moment::BEGINNING;
        let verdict =
            |queue: &mut Overflow, len, content| queue.verdict(0, len, content, now, LIMIT, PLAIN);
        let line = Content::Line(Class::Bulk);
        assert_eq!(verdict(&mut queue, 100, line), Verdict::Append);
        assert_eq!(verdict(&mut queue, 101, Content::Notice), Verdict::Skip);
        assert_eq!(queue.holds_up_since(), None);
        assert_eq!(verdict(&mut queue, 101, Content::Reply), Verdict::Append);
        assert_eq!(queue.holds_up_since(), Some(now));
        assert_eq!(verdict(&mut queue, 60, Content::Notice), Verdict::Skip);
        assert!(!queue.resume(50, LIMIT) && queue.holds_up_since().is_some());
        assert!(queue.resume(49, LIMIT) && queue.holds_up_since().is_none());
        assert_eq!(queue.untold(), 2);
    }

    #[test]
    fn no_count_is_ever_too_small() {
        let mut queue = skip();
        assert!(queue.count_skipped(u32::MAX as usize));
        assert!(queue.count_skipped(u32::MAX as usize));
        assert_eq!(queue.untold(), 2 * u64::from(u32::MAX));

        let mut queue = Overflow::for_member(Lag::Wait);
        assert!(queue.count_skipped(u32::MAX as usize));
        let verdict = queue.verdict(LIMIT, 1, Content::Notice, Moment::BEGINNING, LIMIT, PLAIN);
        assert_eq!(
            (verdict, queue.untold()),
            (Verdict::Refuse, u64::from(u32::MAX))
        );
    }

    #[test]
    fn the_rule_takes_two_words_of_each_client() {
        assert_eq!(size_of::<Overflow>(), 16);
    }

    #[test]
    fn a_telnet_answer_may_exceed_the_limit_a_little() {
        let limit = usize::MAX;
        for mut queue in [
            skip(),
            Overflow::Disconnect,
            Overflow::for_member(Lag::Wait),
        ] {
            let mut verdict = |queued, limit| {
                queue.verdict(queued, 3, Content::Telnet, Moment::BEGINNING, limit, PLAIN)
            };
            assert_eq!(verdict(LIMIT + ANSWER_BYTES - 3, LIMIT), Verdict::Append);
            assert_eq!(verdict(LIMIT + ANSWER_BYTES - 2, LIMIT), Verdict::Refuse);
            assert_eq!(verdict(usize::MAX, limit), Verdict::Append, "no overflow");
        }
    }
}
