//! The shadow of one client: what it said that was not heard yet, what is queued for it, byte for
//! byte, how far it is behind, and how much it has said. Here are the rules for one client alone;
//! `model` has those for the room. As `model` it is written from what the chat promises, and a queue
//! here is bytes that have to come out as they are.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use line_chat::engine::ClientId;
use line_chat::{CloseReason, Lag, Limits};

use crate::amounts::{Allowance, Said};
use crate::queue::{Queue, Seen};
use crate::reference::{self, Decoder, Heard};

/// What a telnet answer may have beyond the limit of a queue.
pub(crate) const ANSWER_BYTES: usize = 4096;

/// How a member reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    KeepsUp,
    Behind,
    Stalled,
}

/// What is to be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Line { loud: bool },
    Notice,
    Answer,
}

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Queued,
    /// Left out, and told in a notice.
    Skipped,
    /// Left out.
    Dropped,
    /// The client has to go.
    TooMuch,
    /// Nobody is there to hear it.
    Unheard,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) ip: IpAddr,
    pub(crate) decoder: Decoder,
    /// What it said and the chat has not heard, each with how many bytes of the same read follow.
    pub(crate) said: VecDeque<(Heard, usize)>,
    /// How many bytes of its last read follow what was heard last.
    pub(crate) unheard: usize,
    pub(crate) nick: Option<String>,
    /// What stands before its lines.
    pub(crate) prefix: String,
    pub(crate) refusals: u8,
    pub(crate) left: Option<CloseReason>,
    /// Since when its phase lasts, or a member is silent.
    pub(crate) since: Instant,

    pub(crate) queue: Queue,
    pub(crate) appended_this_turn: usize,
    is_written_this_turn: bool,
    /// Since when it has taken nothing of its queue.
    pub(crate) waiting_since: Option<Instant>,
    /// Since when it has been over the limit, where that holds up the room.
    pub(crate) over_since: Option<Instant>,
    pub(crate) standing: Standing,
    /// Left out, and not told of yet.
    pub(crate) untold: u64,
    skips_all: bool,
    skips_loud: bool,
    /// It has to be told at the beginning of the next turn.
    pub(crate) is_resumed: bool,

    pub(crate) has_said: Said,
    /// What it read and said in this turn, in bytes.
    pub(crate) read_this_turn: usize,
    pub(crate) caused_this_turn: usize,
    pub(crate) is_heard_this_turn: bool,
    has_said_something: bool,
    pub(crate) lines: Allowance,

    /// How many lines and notices it ought to know of.
    pub(crate) owed: u64,
    pub(crate) seen: Seen,

    pub(crate) ended: bool,
    pub(crate) failed: bool,
    /// It takes nothing any more.
    pub(crate) is_deaf: bool,
    /// It has to go for what was said in this turn.
    pub(crate) is_overflowed: bool,
    /// What was said and it may not have been given yet: lines that count as delivered, lines that
    /// count as skipped, and how long its queue was before.
    pub(crate) ungiven: (u64, u64, usize),
    /// It held up the room before this turn.
    pub(crate) was_over: bool,
    pub(crate) shut: bool,
    /// It had too long a queue when it was leaving already.
    pub(crate) is_dropped: bool,
    pub(crate) discarded: usize,
}

impl Client {
    pub(crate) fn new(id: ClientId, ip: IpAddr, limits: &Limits, now: Instant) -> Self {
        Self {
            id,
            ip,
            decoder: Decoder::new(limits.max_line_bytes),
            said: VecDeque::new(),
            unheard: 0,
            nick: None,
            prefix: String::new(),
            refusals: 0,
            left: None,
            since: now,
            queue: Queue::default(),
            appended_this_turn: 0,
            is_written_this_turn: false,
            waiting_since: None,
            over_since: None,
            standing: Standing::KeepsUp,
            untold: 0,
            skips_all: false,
            skips_loud: false,
            is_resumed: false,
            has_said: Said::new(now),
            read_this_turn: 0,
            caused_this_turn: 0,
            is_heard_this_turn: false,
            has_said_something: false,
            lines: Allowance::new(limits, now),
            owed: 0,
            seen: Seen::default(),
            ended: false,
            failed: false,
            is_deaf: false,
            is_overflowed: false,
            was_over: false,
            ungiven: (0, 0, 0),
            shut: false,
            is_dropped: false,
            discarded: 0,
        }
    }

    pub(crate) fn is_member(&self) -> bool {
        self.nick.is_some() && self.left.is_none()
    }

    // A turn.

    pub(crate) fn begin_turn(&mut self) {
        self.appended_this_turn = 0;
        self.is_written_this_turn = false;
        self.read_this_turn = 0;
        self.caused_this_turn = 0;
        self.is_heard_this_turn = false;
        self.has_said_something = false;
        self.was_over = self.over_since.is_some();
        self.is_given_all();
    }

    /// Everything that was said is in its queue.
    pub(crate) fn is_given_all(&mut self) {
        self.ungiven = (0, 0, self.queue.len());
    }

    /// It fails before it was given what was said in this turn.
    pub(crate) fn take_ungiven(&mut self) -> (u64, u64) {
        let (lines, skipped, queued) = self.ungiven;
        if lines + skipped > 0 {
            self.queue.shorten(queued);
        }
        (lines, skipped)
    }

    /// A write to it failed: nothing is queued for it any more.
    pub(crate) fn deafen(&mut self) {
        self.is_deaf = true;
        self.queue = Queue::default();
        self.waiting_since = None;
        self.over_since = None;
        self.standing = Standing::KeepsUp;
        self.untold = 0;
        self.skips_all = false;
        self.skips_loud = false;
        self.is_resumed = false;
    }

    pub(crate) fn end_turn(&mut self, limits: &Limits, now: Instant, has_talk: bool) {
        // Where something was said every member is looked at, even one who joined behind it. Otherwise
        // who had something queued is, though perhaps nothing could be written.
        let is_looked_at = has_talk || self.appended_this_turn > 0 || self.is_written_this_turn;
        if self.is_member() && is_looked_at {
            self.stand(limits, now);
            self.resume(limits);
        }
        if self.is_heard_this_turn && !self.has_said_more() {
            self.count_input(now);
        }
    }

    /// All that it said something with was heard, and perhaps what followed as well: what it read
    /// counts where it is more than what came of it.
    fn count_input(&mut self, now: Instant) {
        self.has_said.may_take(self.unheard, now);
        // Where nothing that was read said anything, all of it was heard.
        let rest = if self.has_said_something {
            self.unheard
        } else {
            0
        };
        let heard = self.read_this_turn.saturating_sub(rest);
        let silent = heard.saturating_sub(self.caused_this_turn);
        self.has_said.surely_take(silent, now);
    }

    // Hearing.

    pub(crate) fn has_said_more(&mut self) -> bool {
        self.skip_empty_lines();
        !self.said.is_empty()
    }

    /// Whether it may have said more, as far as that is known.
    pub(crate) fn may_have_more(&self) -> bool {
        self.unheard > 0
    }

    pub(crate) fn read(&mut self, bytes: &[u8], now: Instant) {
        // What was left of the read before may have been heard at any time since then.
        self.has_said.may_take(self.unheard, now);
        let mut heard = VecDeque::new();
        for (at, &byte) in bytes.iter().enumerate() {
            self.decoder.hear(byte, &mut heard);
            if let Some(heard) = heard.pop_front() {
                let rest = &bytes[at + 1..];
                let rest = match &heard {
                    // The rest of a line that is too long is thrown away at once, as far as it
                    // lies there.
                    Heard::TooLong if byte != 255 => reference::after_line(rest),
                    _ => rest.len(),
                };
                self.said.push_back((heard, rest));
            }
        }
        self.unheard = bytes.len();
        self.read_this_turn += bytes.len();
        if self.said.is_empty() {
            self.has_said.may_take(self.unheard, now);
        }
    }

    /// The next thing that it said, empty lines passed over.
    pub(crate) fn take_next(&mut self, now: Instant) -> Option<Heard> {
        self.skip_empty_lines();
        let (heard, rest) = self.said.pop_front()?;
        self.has_said.may_take(self.unheard - rest, now);
        self.unheard = rest;
        self.has_said_something = true;
        Some(heard)
    }

    /// Empty lines say nothing, so nothing tells that they were heard.
    pub(crate) fn skip_empty_lines(&mut self) {
        let is_empty =
            |said: &(Heard, usize)| matches!(&said.0, Heard::Line(line) if line.is_empty());
        while self.said.front().is_some_and(is_empty) {
            self.said.pop_front();
        }
    }

    /// What it said as far as it is known, if it has no nick yet and that is no nick, but another
    /// protocol.
    pub(crate) fn is_foreign(&mut self) -> bool {
        self.skip_empty_lines();
        let is_first = self.nick.is_none() && self.refusals == 0;
        is_first
            && match self.said.front() {
                Some((Heard::Line(line), _)) => reference::is_foreign(line, true),
                Some(_) => false,
                None => reference::is_foreign(self.decoder.unfinished(), false),
            }
    }

    // Queueing.

    /// Decides about `bytes`, and queues them if they are to be queued.
    pub(crate) fn queue(
        &mut self,
        bytes: &[u8],
        output: Output,
        limits: &Limits,
        now: Instant,
    ) -> Fate {
        if self.is_deaf {
            return Fate::Unheard;
        }
        let fate = self.fate_of(bytes.len(), output, limits);
        match fate {
            Fate::Queued => {
                if output != Output::Answer && self.untold > 0 {
                    self.tell_skipped();
                }
                self.append(bytes);
            }
            Fate::Skipped => self.untold += 1,
            Fate::Dropped | Fate::TooMuch | Fate::Unheard => {}
        }
        let is_line = matches!(output, Output::Line { .. });
        if limits.lag == Lag::Wait && is_line && self.queue.len() > limits.max_pending_bytes {
            self.over_since.get_or_insert(now);
        }
        let is_owed = output != Output::Answer && matches!(fate, Fate::Queued | Fate::Skipped);
        self.owed += u64::from(is_owed);
        fate
    }

    fn fate_of(&mut self, len: usize, output: Output, limits: &Limits) -> Fate {
        let queued = self.queue.len();
        let limit = limits.max_pending_bytes;
        if output == Output::Answer {
            let fits = queued + len <= limit + ANSWER_BYTES;
            return if fits { Fate::Queued } else { Fate::TooMuch };
        }
        let fits = queued + len <= limit;
        match (self.is_member().then_some(limits.lag), output) {
            (None | Some(Lag::Disconnect), _) if fits => Fate::Queued,
            (None | Some(Lag::Disconnect), _) => Fate::TooMuch,
            (Some(Lag::Wait), Output::Notice) if self.over_since.is_some() || !fits => {
                Fate::Dropped
            }
            (Some(Lag::Wait), _) => Fate::Queued,
            (Some(Lag::Skip), Output::Line { loud }) => self.queue_or_skip(len, loud, limit),
            (Some(Lag::Skip), _) => self.queue_or_skip(len, false, limit),
        }
    }

    fn queue_or_skip(&mut self, len: usize, loud: bool, limit: usize) -> Fate {
        let queued = self.queue.len();
        let with = queued + len + self.skipped_notice().len();
        self.skips_loud |= loud && queued > 0 && with > limit / 2;
        self.skips_all |= with > limit;
        self.skips_loud |= self.skips_all;
        if self.skips_all || loud && self.skips_loud {
            Fate::Skipped
        } else {
            Fate::Queued
        }
    }

    /// `* 7 lines skipped`, if it has to be told; empty otherwise.
    fn skipped_notice(&self) -> String {
        match self.untold {
            0 => String::new(),
            untold => format!("* {untold} lines skipped\r\n"),
        }
    }

    pub(crate) fn tell_skipped(&mut self) {
        let notice = self.skipped_notice();
        self.append(notice.as_bytes());
        self.untold = 0;
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.is_deaf {
            return;
        }
        self.queue.append(bytes);
        self.appended_this_turn += bytes.len();
    }

    // Writing.

    /// The stream took so much of the queue at that time.
    pub(crate) fn took(&mut self, taken: usize, now: Instant) {
        self.is_written_this_turn = true;
        self.is_given_all();
        self.queue.drop_first(taken);
        if self.queue.is_empty() {
            self.waiting_since = None;
        } else if taken > 0 || self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
    }

    fn resume(&mut self, limits: &Limits) {
        let queued = self.queue.len();
        let limit = limits.max_pending_bytes;
        let was = (self.skips_all, self.skips_loud);
        self.skips_all &= queued > 0 && queued >= limit / 2;
        self.skips_loud &= queued > 0 && queued >= limit / 4;
        self.is_resumed |= self.untold > 0 && (self.skips_all, self.skips_loud) != was;
        if queued < limit / 2 {
            self.over_since = None;
        }
    }

    fn stand(&mut self, limits: &Limits, now: Instant) {
        self.standing = if self.is_stalled(now) {
            Standing::Stalled
        } else if self.queue.len() > limits.max_pending_bytes / 4 {
            Standing::Behind
        } else {
            Standing::KeepsUp
        };
    }

    /// Nobody waits for a reader that has taken nothing for a second.
    pub(crate) fn look_for_stall(&mut self, limits: &Limits, now: Instant) {
        let is_new = self.standing != Standing::Stalled;
        if is_new && self.is_member() && self.is_stalled(now) {
            self.standing = Standing::Stalled;
            self.resume(limits);
        }
    }

    fn is_stalled(&self, now: Instant) -> bool {
        let second = Duration::from_secs(1);
        self.waiting_since
            .is_some_and(|since| since + second <= now)
    }

    /// It leaves for this reason: nothing that it said is heard any more.
    pub(crate) fn leave(&mut self, reason: CloseReason, now: Instant) {
        self.left = Some(reason);
        self.since = now;
        self.said.clear();
        self.over_since = None;
        self.is_resumed = false;
        if reason == CloseReason::Broken {
            // Nothing more is done about it, but to free it.
            return;
        }
        self.unheard = 0;
        if reference::is_cut(reason) {
            self.queue.cut();
        } else if self.untold > 0 {
            self.tell_skipped();
        }
        self.untold = 0;
        let goodbye = reference::goodbye(reason);
        self.owed += u64::from(!goodbye.is_empty());
        self.append(goodbye.as_bytes());
    }

    /// When it has taken nothing, or held up the room, for too long.
    pub(crate) fn stall_deadline(&self, limits: &Limits) -> Option<(Instant, CloseReason)> {
        let (since, why) = match limits.lag {
            Lag::Wait => (self.over_since?, CloseReason::HeldUp),
            Lag::Skip | Lag::Disconnect => (self.waiting_since?, CloseReason::Stalled),
        };
        Some((since + reference::stall_patience(limits)?, why))
    }

    /// What has to happen to it by the clock, and when: it is closed for this reason, or dropped.
    pub(crate) fn deadline(&self, limits: &Limits) -> Option<(Instant, Option<CloseReason>)> {
        let after = |since: Instant, patience: Duration| since + patience;
        let stall = reference::stall_patience(limits);
        let Some(left) = self.left else {
            let (patience, why) = if self.nick.is_none() {
                (limits.login_timeout, CloseReason::LoginTimeout)
            } else {
                (limits.idle_timeout, CloseReason::Idle)
            };
            let patience = reference::unless_never(patience);
            let phase = patience.map(|patience| (after(self.since, patience), why));
            let stalled = self.stall_deadline(limits);
            let first = phase.into_iter().chain(stalled).min_by_key(|&(at, _)| at);
            return first.map(|(at, why)| (at, Some(why)));
        };
        let at = if self.shut {
            after(self.since, limits.linger_timeout)
        } else if left == CloseReason::HungUp {
            after(self.waiting_since?, stall?)
        } else {
            after(self.since, limits.goodbye_timeout)
        };
        Some((at, None))
    }
}
