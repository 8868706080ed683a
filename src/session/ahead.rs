//! A person who has sent more lines than its rate allows: what waits is looked through once, without being
//! said. The person is told how many lines wait, and one that wants to leave need not wait for them.
//!
//! A script's lines are all meant, so whatever it sends behind them waits with them.

use crate::conn::Env;
use crate::conn::send_queue::SendQueue;
use crate::protocol::decoder::{Decoded, Input};
use crate::protocol::message::Message;
use crate::session::Ctx;
use crate::session::chat::ChatSession;
use crate::time::rate_limit::TokenBucket;

/// What is found in input that waits.
struct Ahead {
    /// How many lines there are before the end, or before the command to leave.
    lines: u64,
    /// How many things were decoded before that command, if there is one.
    before_leaving: Option<usize>,
}

impl ChatSession {
    /// Whether its lines wait for the rate that the server has set, and are a person's.
    pub(super) fn is_ahead(&self, env: &Env) -> bool {
        let is_person = self.is_member() && self.talk.is_interactive();
        is_person && env.line_rate.is_limited() && !self.talk.leaves
    }

    /// Whether it was told so, and is not to be told again before it has caught up.
    pub(super) fn is_told_ahead(&self) -> bool {
        self.talk.is_told_ahead
    }

    /// Looks through input that waits. Returns how many bytes of it are to be dropped, because the person
    /// leaves behind them; then it is heard at once.
    pub(super) fn look_ahead(
        &mut self,
        input: &[u8],
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> usize {
        let ahead = self.what_waits(input);
        if let Some(before) = ahead.before_leaving {
            return self.drop_ahead(before, input);
        }
        if ahead.lines > 1 && !self.talk.is_told_ahead {
            self.talk.is_told_ahead = true;
            let lines_per_second = cx.env.limits.lines_per_second;
            let waiting = Message::LinesWait {
                count: ahead.lines,
                lines_per_second,
            };
            // If it does not fit, the reader is told what it has missed.
            cx.reply(out, waiting);
        }
        0
    }

    fn what_waits(&self, input: &[u8]) -> Ahead {
        let (mut decoder, mut input) = (self.decoder.clone(), Input::new(input));
        let (mut lines, mut decoded_things) = (0_u64, 0_usize);
        while let Some(decoded) = decoder.next(&mut input) {
            if self.talk.leaves_by(&decoded) {
                return Ahead {
                    lines,
                    before_leaving: Some(decoded_things),
                };
            }
            let is_line = matches!(decoded, Decoded::Line([_, ..]));
            lines = lines.saturating_add(is_line.into());
            decoded_things = decoded_things.saturating_add(1);
        }
        Ahead {
            lines,
            before_leaving: None,
        }
    }

    /// Drops the first so many things in the input, unsaid. Returns how many bytes those are.
    fn drop_ahead(&mut self, things: usize, input: &[u8]) -> usize {
        let mut input = Input::new(input);
        for _ in 0..things {
            self.decoder.next(&mut input);
        }
        self.talk.known_data = 0;
        self.talk.leaves = true;
        self.talk.lines = TokenBucket::default();
        input.used()
    }
}
