//! A client of the room: [`ChatSession`] decodes what it sends and makes a line of it, which is a
//! password, a nick, a command or something said, by its [`Stage`]. The stages before a member are in
//! `login`, and commands are in `commands`.
//!
//! | [`Stage`] | right line | wrong line | last wrong line | too long | hangs up |
//! |---|---|---|---|---|---|
//! | `Password` | `Nick` | stays, its rate pauses | closed | as a wrong line | closed |
//! | `Nick` | `Member` | stays | closed | as a wrong line | closed |
//! | `Member` | said, or a command | - | - | told | closed |

use std::time::Duration;

use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::config::Limits;
use crate::config::interactive::Profile;
use crate::conn::Env;
use crate::conn::overflow::Content;
use crate::conn::send_queue::SendQueue;
use crate::conn::timeouts::Timeout;
use crate::events::Event;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::command;
use crate::protocol::decoder::{Decoded, Decoder, Next};
use crate::protocol::message::Message;
use crate::protocol::sniff::is_other_protocol;
use crate::session::commands;
use crate::session::{Ctx, Flow, Lane, LongestLine, Step};
use crate::time::moment::Moment;
use crate::time::rate_limit::TokenBucket;

/// How long it takes to read 64 KiB of chat, at 64 KiB a second: a member that has said more is a bulk
/// speaker.
const BULK_AFTER: Duration = Duration::from_secs(1);

/// A member that has been silent for the difference is sparse again, whatever it has said before.
const MOST_COUNTED: Duration = Duration::from_secs(2);

/// What a byte that was said costs: 1/65536 s.
const NANOS_PER_BYTE: u64 = 1_000_000_000 / (64 << 10);

/// What the server keeps of a client of the room, besides its connection.
#[derive(Debug)]
pub(crate) struct ChatSession {
    pub(super) decoder: Decoder,
    pub(super) talk: Talk,
}

/// What decides what becomes of a line.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) profile: Profile,
    pub(super) stage: Stage,
    /// It has sent something.
    has_sent: bool,
    /// The line that is kept asks for a nick that is taken, and the system was asked about its holder.
    pub(super) has_checked_holder: bool,
    /// How many bytes at the head of the next input hold no telnet command.
    known_data: u32,
    /// Since when it has no nick; for a member, since when it has sent nothing.
    since: Moment,
    /// What it has said, in bytes, against what can be read.
    said: TokenBucket,
    /// What it has said, in lines, against the rate that is allowed.
    pub(super) lines: TokenBucket,
}

/// What the next line is taken as. It only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The password of the room.
    Password { refusals: u8 },
    /// Its nick.
    Nick { refusals: u8 },
    /// Something for the room.
    Member,
}

impl ChatSession {
    pub(super) fn new(profile: Profile, env: &Env) -> Self {
        let decoder = Decoder::new(env.limits.max_line_bytes);
        Self {
            decoder: match profile {
                Profile::Interactive => decoder.with_line_editing(),
                Profile::Plain | Profile::History => decoder,
            },
            talk: Talk {
                profile,
                stage: Stage::Nick { refusals: 0 },
                has_sent: false,
                has_checked_holder: false,
                known_data: 0,
                since: env.now,
                said: TokenBucket::default(),
                lines: TokenBucket::default(),
            },
        }
    }

    /// A client that is a member already, under a nick that the room knows.
    pub(crate) fn into_member(mut self) -> Self {
        self.talk.stage = Stage::Member;
        self
    }

    pub(super) fn on_input(&mut self, input: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
        let Self { decoder, talk } = self;
        talk.on_bytes(input, cx.env.now);
        let next = decoder.next_of(input, talk.known_data);
        talk.known_data = next.known_data;
        let Next { found, used, .. } = next;
        let mut step = match found {
            None => {
                let is_other = talk.is_first() && is_other_protocol(decoder.unfinished(), false);
                Step::new(
                    used,
                    if is_other {
                        OTHER_PROTOCOL
                    } else {
                        Flow::Starved
                    },
                )
            }
            Some(Decoded::Refuse(answer)) => Step::new(used, negotiate(answer, out, cx)),
            Some(Decoded::AreYouThere) => Step::new(used, cx.reply(out, Message::Yes)),
            Some(Decoded::TooLong) => Step::new(used, talk.on_too_long(out, cx)),
            Some(Decoded::Line(line)) if talk.must_wait(line, out, cx) => {
                let line = line.to_vec();
                decoder.postpone(line);
                Step::new(used, Flow::Wait)
            }
            Some(Decoded::Line(line)) => {
                let step = talk.on_line(line, out, cx);
                if matches!(step.flow, Flow::CheckPeer(_)) {
                    let line = line.to_vec();
                    decoder.postpone(line);
                }
                step
            }
        };
        step.used = used;
        if step.flow == Flow::Continue && used == input.len() && decoder.is_drained() {
            step.flow = Flow::Starved;
        }
        step
    }

    /// It has caused this much work for others, or for the server, in bytes.
    pub(super) fn charge(&mut self, cost: usize, now: Moment) {
        let cost = Duration::from_nanos((cost as u64).saturating_mul(NANOS_PER_BYTE));
        self.talk.said.take(now, cost, MOST_COUNTED);
    }

    pub(super) fn lane(&self, now: Moment) -> Lane {
        match (self.talk.stage, self.talk.class(now)) {
            (Stage::Member, Class::Sparse) => Lane::Sparse,
            (Stage::Member, Class::Bulk) => Lane::Bulk,
            (Stage::Password { .. } | Stage::Nick { .. }, _) => Lane::Login,
        }
    }

    /// When a bulk speaker is sparse again, if it says nothing more.
    pub(crate) fn sparse_at(&self) -> Option<Moment> {
        self.talk.said.refilled_to(BULK_AFTER)
    }

    pub(super) fn longest_output(&self, input_bytes: usize, longest: &LongestLine) -> usize {
        let kept = self.decoder.kept_bytes();
        let text = kept.saturating_add(input_bytes).saturating_mul(3);
        let line = longest.without_text.saturating_add(text);
        longest.with_text.min(line)
    }

    pub(super) fn timeout(&self, limits: &Limits) -> Option<(Moment, Timeout)> {
        let (patience, reason) = match self.talk.stage {
            Stage::Password { .. } | Stage::Nick { .. } => {
                (limits.login_patience()?, CloseReason::LoginTimeout)
            }
            Stage::Member => (limits.idle_patience()?, CloseReason::Idle),
        };
        Some((self.talk.since + patience, Timeout::Close(reason)))
    }

    pub(super) fn last_input(&self) -> Option<Moment> {
        self.is_member().then_some(self.talk.since)
    }

    pub(super) fn touch(&mut self, now: Moment) {
        if self.is_member() {
            self.talk.since = now;
        }
    }

    pub(super) fn forget_input(&mut self) {
        self.decoder.forget_line();
    }

    pub(super) fn is_member(&self) -> bool {
        self.talk.stage == Stage::Member
    }

    pub(super) fn has_sent(&self) -> bool {
        self.talk.has_sent
    }
}

const OTHER_PROTOCOL: Flow = Flow::Close(CloseReason::OtherProtocol);

/// Answers a telnet command.
pub(super) fn negotiate(answer: [u8; 3], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
    cx.watch.emit(|| Event::Negotiated {
        id: cx.id,
        peer: cx.peer,
        answer,
    });
    cx.push(out, &answer, Content::Telnet)
}

impl Talk {
    fn on_bytes(&mut self, input: &[u8], now: Moment) {
        self.has_sent |= !input.is_empty();
        if self.stage == Stage::Member {
            self.since = now;
        }
    }

    pub(super) fn class(&self, now: Moment) -> Class {
        if self.said.lacks_more_than(BULK_AFTER, now) {
            Class::Bulk
        } else {
            Class::Sparse
        }
    }

    /// Whether nothing was taken as a password or a nick yet.
    fn is_first(&self) -> bool {
        matches!(
            self.stage,
            Stage::Password { refusals: 0 } | Stage::Nick { refusals: 0 }
        )
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.profile == Profile::Interactive
    }

    /// The command that a line holds, if commands are taken from this client.
    pub(super) fn command<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        match self.profile {
            Profile::Interactive => command::in_line(line),
            Profile::Plain | Profile::History => None,
        }
    }

    pub(super) fn enter(&mut self, stage: Stage, now: Moment) {
        self.stage = stage;
        if stage == Stage::Member {
            self.since = now;
        }
    }

    /// Whether a line must wait for the room's gate: what others would see of it must, and if the room
    /// waits for this client itself, so must what it would be told.
    fn must_wait(&self, line: &[u8], out: &SendQueue, cx: &Ctx<'_>) -> bool {
        if self.stage != Stage::Member || line.is_empty() {
            return false;
        }
        if out.holds_up() {
            return true;
        }
        !cx.may_say && self.command(line).is_none_or(commands::is_speech)
    }

    /// Who has the nick that a line asks for, the first time that the line is looked at: that one may be
    /// gone without a word.
    pub(super) fn unchecked_holder(&mut self, nick: &[u8], cx: &Ctx<'_>) -> Option<ClientId> {
        if std::mem::take(&mut self.has_checked_holder) {
            return None;
        }
        let holder = cx.room.holder_of(nick).filter(|&holder| holder != cx.id);
        self.has_checked_holder = holder.is_some();
        holder
    }

    /// A member's command.
    fn on_command(&mut self, line: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
        if let Some(nick) = commands::wanted_nick(line)
            && let Some(holder) = self.unchecked_holder(nick.as_bytes(), cx)
        {
            return Step::new(0, Flow::CheckPeer(holder));
        }
        let class = self.class(cx.env.now);
        cx.env.line_rate.count_line(&mut self.lines, cx.env.now);
        commands::run(line, class, &mut self.lines, out, cx)
    }

    fn on_line(&mut self, line: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
        if line.is_empty() {
            return Step::new(0, self.on_empty_line(out, cx));
        }
        match self.stage {
            Stage::Password { refusals: 0 } | Stage::Nick { refusals: 0 }
                if is_other_protocol(line, true) =>
            {
                Step::new(0, OTHER_PROTOCOL)
            }
            Stage::Password { .. } => Step::new(0, self.try_password(Some(line), out, cx)),
            Stage::Nick { .. } => {
                let flow = self.try_nick(line, out, cx);
                Step {
                    has_joined: self.stage == Stage::Member,
                    ..Step::new(0, flow)
                }
            }
            Stage::Member => match self.command(line) {
                Some(line) => self.on_command(line, out, cx),
                None => {
                    let class = self.class(cx.env.now);
                    cx.env.line_rate.count_line(&mut self.lines, cx.env.now);
                    say(line, class, cx)
                }
            },
        }
    }

    fn on_too_long(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        let max_line_bytes = cx.env.limits.max_line_bytes;
        match self.stage {
            Stage::Password { .. } => self.try_password(None, out, cx),
            Stage::Nick { .. } => self.refuse_long_nick(out, cx),
            Stage::Member => {
                cx.env.line_rate.count_line(&mut self.lines, cx.env.now);
                cx.reply(out, Message::LineTooLong { max_line_bytes })
            }
        }
    }
}

/// A member says a line to everybody else.
fn say(line: &[u8], class: Class, cx: &mut Ctx<'_>) -> Step {
    let mut step = Step::new(0, Flow::Continue);
    if let Some(spoken) = cx.room.say(cx.id, line, class, cx.env.now) {
        cx.env.metrics.lines_in = cx.env.metrics.lines_in.saturating_add(1);
        step.said_bytes = spoken.bytes;
        let (id, is_bulk) = (cx.id, class == Class::Bulk);
        cx.watch.emit(|| Event::Said {
            id,
            nick: spoken.nick(),
            text: spoken.text(),
            line: spoken.line(),
            is_bulk,
        });
    }
    step
}
