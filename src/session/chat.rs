//! A client of the room: [`ChatSession`] decodes its input into lines. The [`Stage`] decides whether a
//! line is a password, a nick, a command or text for the room. The stages before membership are in
//! `login`, and commands are in `commands`.
//!
//! | [`Stage`] | right line | wrong line | last wrong line | too long | end of input |
//! |---|---|---|---|---|---|
//! | `Password` | `Nick` | stays, its rate pauses | closed | as a wrong line | closed |
//! | `Nick` | `Member` | `Refused`; at a prompt, stays | closed | as a wrong line | closed |
//! | `Refused` | closed | closed | closed | closed | closed |
//! | `Member` | said, or a command | - | - | told | closed, or goes on with [`Eof::Listen`] |
//! | `OpPassword` | `Member`, an operator | `Member` | - | `Member` | as a member |
//!
//! `Refused` becomes `Nick` again once the refusal was passed to the kernel, unless there is text in
//! the input that was received before.
//!
//! While the address of a client has no attempts left, its passwords are neither right nor wrong: they
//! are not checked, and the client stays where it is.

use std::time::Duration;

use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::config::Limits;
use crate::config::addr::Eof;
use crate::config::interactive::Profile;
use crate::conn::Env;
use crate::conn::overflow::Content;
use crate::conn::send_queue::SendQueue;
use crate::conn::timeouts::Timeout;
use crate::events::{Event, Heard};
use crate::metrics;
use crate::protocol::claim_token::Attempt;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::decoder::{Decoded, Decoder, Input, Next};
use crate::protocol::layout::Columns;
use crate::protocol::message::{Awaited, Message};
use crate::protocol::sniff::{self, Opening, OtherProtocol};
use crate::protocol::telnet::{NOP, TelnetDecoder};
use crate::room::{Room, Spoken};
#[cfg(feature = "relay")]
use crate::session::Effect;
use crate::session::commands::{self, COMMAND_BYTES};
use crate::session::login::{close_unless_full, has_text};
use crate::session::{Ctx, Flow, Lane, LongestLine, Step, Watch};
use crate::text;
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
    eof: Eof,
    pub(super) stage: Stage,
    sent: Sent,
    /// Its leaving was found in its input, behind lines that wait for the room.
    pub(super) leaves: bool,
    /// It was told that lines of it wait, and has not caught up since.
    pub(super) is_told_ahead: bool,
    /// It waits for other servers to say whether it can have a nick.
    pub(super) awaits_nick: bool,
    /// How many bytes at the head of the next input are known to hold no telnet command.
    pub(super) known_data: u16,
    /// Since when it has no nick; for a member, since when it has sent nothing.
    since: Moment,
    /// What it has said, in bytes, against what can be read.
    pub(super) said: TokenBucket,
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
    /// Its nick as well, but the last refusal was not passed to the kernel yet: a plain client that
    /// sends text now does not read answers, and the text was not meant as a nick.
    Refused { refusals: u8 },
    /// Something for the room.
    Member,
    /// The password of operators, which a member at a prompt does not want to be seen. `is_asked`: it was
    /// asked for it.
    OpPassword { is_asked: bool },
}

/// What a client has sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// Input that begins like this.
    Begun(Opening),
    /// Nothing since its last "are you there" (telnet's AYT).
    OnlyQuestions,
}

/// A client that sends AYT again within this time, and nothing else, is assumed to send it only to keep
/// its connection alive.
const KEEP_ALIVE: Duration = Duration::from_secs(300);

impl ChatSession {
    pub(super) fn new(profile: Profile, eof: Eof, env: &Env) -> Self {
        let decoder = Decoder::new(env.limits.max_line_bytes);
        Self {
            decoder: match profile {
                Profile::Interactive => decoder.with_line_editing(),
                Profile::Plain | Profile::History => decoder,
            },
            talk: Talk {
                profile,
                eof,
                stage: Stage::Nick { refusals: 0 },
                sent: Sent::Begun(Opening::Nothing),
                leaves: false,
                is_told_ahead: false,
                awaits_nick: false,
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

    /// Lays out what the client will be told, for a terminal if it is a person's.
    pub(super) fn lay_out(&mut self, out: &mut SendQueue) {
        if self.talk.is_interactive() {
            out.set_columns(Columns::TERMINAL);
            self.decoder.telnet().ask_for_columns();
        }
    }

    pub(super) fn on_input(&mut self, input: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
        let Self { decoder, talk } = self;
        let last_input = talk.since;
        talk.on_bytes(cx.env.now);
        let opening = talk.opening();
        if let Some(protocol) = opening.and_then(|it| it.protocol(input)) {
            talk.sent = Sent::Begun(Opening::Other);
            return Step::new(input.len(), refuse_protocol(protocol, out, cx));
        }
        let is_checked = decoder.has_checked();
        let next = decoder.next_of(input, talk.known_data);
        talk.known_data = next.known_data;
        let Next { found, used, .. } = next;
        let mut step = match found {
            // The common case.
            Some(Decoded::Line(line)) if talk.stage == Stage::Member => {
                let must_wait = talk.must_wait(line, out, cx);
                let step = match must_wait {
                    true => Step::new(used, Flow::Wait),
                    false => talk.on_member_line(line, is_checked, out, cx),
                };
                if matches!(step.flow, Flow::Wait) || step.flow.is_request() {
                    let line = line.to_vec();
                    decoder.postpone(line, step.flow.is_request());
                    talk.awaits_nick = matches!(step.flow, Flow::AwaitNick);
                }
                step
            }
            None => {
                let unfinished = decoder.unfinished();
                Step::new(used, talk.on_unfinished(unfinished, out, cx))
            }
            Some(Decoded::Negotiate(bytes)) => Step::new(used, negotiate(bytes, out, cx)),
            Some(Decoded::Columns(columns)) => {
                let columns = Columns::of_window(columns);
                out.set_columns(columns);
                cx.room.set_columns(cx.id, columns);
                Step::new(used, Flow::Continue)
            }
            Some(Decoded::AreYouThere) => {
                let is_keep_alive = talk.is_keep_alive(last_input, cx.env.now);
                Step::new(used, are_you_there(is_keep_alive, out, cx))
            }
            Some(Decoded::EndOfFile) => talk.on_end_of_file(out, cx),
            // Empty lines are not text.
            Some(Decoded::TooLong | Decoded::Line([_, ..])) if talk.sends_too_soon() => {
                Step::new(used, talk.close_too_soon(out, cx))
            }
            Some(Decoded::TooLong) => Step::new(used, talk.on_too_long(out, cx)),
            Some(Decoded::Line(line)) if matches!(talk.stage, Stage::Password { .. }) => {
                // Handling a password may also change the decoder: telnet's ECHO.
                let line = line.to_vec();
                talk.on_password(&line, decoder.telnet(), out, cx)
            }
            Some(Decoded::Line(line)) if matches!(talk.stage, Stage::OpPassword { .. }) => {
                let line = line.to_vec();
                talk.on_op_password(&line, decoder.telnet(), out, cx)
            }
            Some(Decoded::Line(line)) => {
                let step = talk.on_nick(line, is_checked, out, cx);
                if step.flow.is_request() {
                    let line = line.to_vec();
                    decoder.postpone(line, true);
                    talk.awaits_nick = matches!(step.flow, Flow::AwaitNick);
                }
                step
            }
        };
        step.used = used;
        if talk.stage == (Stage::OpPassword { is_asked: false }) {
            step.flow = talk.ask_op_password(decoder.telnet(), out, cx);
        }
        if let (Some(_), Sent::Begun(opening)) = (opening, &mut talk.sent) {
            opening.take(input.get(..used).unwrap_or_default());
        }
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
            (Stage::Member | Stage::OpPassword { .. }, Class::Sparse) => Lane::Sparse,
            (Stage::Member | Stage::OpPassword { .. }, Class::Bulk) => Lane::Bulk,
            (Stage::Password { .. } | Stage::Nick { .. } | Stage::Refused { .. }, _) => Lane::Login,
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
            Stage::Password { .. } | Stage::Nick { .. } | Stage::Refused { .. } => (
                limits.login_patience(self.talk.profile)?,
                CloseReason::LoginTimeout,
            ),
            Stage::Member | Stage::OpPassword { .. } => {
                (limits.idle_patience()?, CloseReason::Idle)
            }
        };
        Some((self.talk.since + patience, Timeout::Close(reason)))
    }

    /// What the client is told last. A person who has taken too long is told how long that was.
    pub(super) fn goodbye(&self, reason: CloseReason, limits: &Limits) -> Option<Message<'static>> {
        let words = reason.goodbye()?;
        let has_taken_too_long = reason == CloseReason::LoginTimeout && self.talk.is_interactive();
        let patience = limits.login_patience(self.talk.profile);
        let patience = patience.filter(|_| has_taken_too_long);
        let awaited = match self.talk.stage {
            Stage::Password { .. } => Awaited::Password,
            Stage::Nick { .. } | Stage::Refused { .. } => Awaited::Nick,
            Stage::Member | Stage::OpPassword { .. } => Awaited::Nick,
        };
        Some(match patience {
            Some(patience) => Message::TookTooLong(awaited, patience),
            None => Message::Goodbye(words),
        })
    }

    pub(super) fn last_input(&self) -> Option<Moment> {
        self.is_member().then_some(self.talk.since)
    }

    pub(super) fn touch(&mut self, now: Moment) {
        if self.is_member() {
            self.talk.since = now;
        }
    }

    /// All output was passed to the kernel; `held` is the input that was received before and is not
    /// decoded yet.
    pub(super) fn on_answered(&mut self, held: &[u8]) {
        if let Stage::Refused { refusals } = self.talk.stage
            && !has_text(self.decoder.clone(), held)
        {
            self.talk.stage = Stage::Nick { refusals };
        }
    }

    pub(super) fn forget_input(&mut self) {
        self.decoder.forget_line();
    }

    pub(super) fn passes_gate(&self, id: ClientId, room: &Room) -> bool {
        self.talk.passes_gate(id, room)
    }

    /// Lets its lines pass the room's gate if it leaves behind them: in this input, or at the end of it,
    /// as `has_ended` says. Returns whether it does.
    pub(super) fn look_for_leaving(&mut self, input: &[u8], has_ended: bool) -> bool {
        self.talk.leaves |= has_ended || self.leaves_in(input);
        self.talk.leaves
    }

    fn leaves_in(&self, input: &[u8]) -> bool {
        if !self.talk.is_interactive() {
            return false;
        }
        let (mut decoder, mut input) = (self.decoder.clone(), Input::new(input));
        while let Some(decoded) = decoder.next(&mut input) {
            if self.talk.leaves_by(&decoded) {
                return true;
            }
        }
        false
    }

    pub(super) fn is_member(&self) -> bool {
        self.talk.is_member()
    }

    pub(super) fn outlives_input(&self) -> bool {
        self.is_member() && self.talk.eof == Eof::Listen
    }

    pub(super) fn heard(&self) -> Heard {
        match self.talk.sent {
            Sent::Begun(Opening::Nothing) => Heard::Nothing,
            Sent::Begun(_) => Heard::Something,
            Sent::OnlyQuestions => Heard::OnlyQuestions,
        }
    }
}

/// Closes a client that speaks another protocol, after telling it what this server is.
fn refuse_protocol(protocol: OtherProtocol, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
    cx.watch.emit(|| Event::OtherProtocol {
        id: cx.id,
        peer: cx.peer,
        protocol: protocol.name(),
    });
    let told = cx.reply(out, Message::Goodbye(protocol.goodbye()));
    close_unless_full(told, CloseReason::OtherProtocol)
}

/// Answers a telnet command.
pub(super) fn negotiate(answer: [u8; 3], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
    let flow = cx.push(out, &answer, Content::Telnet);
    if flow == Flow::Continue {
        cx.watch.emit(|| Event::Negotiated {
            id: cx.id,
            peer: cx.peer,
            answer,
        });
    }
    flow
}

/// Answers AYT. The answer to a client that only keeps its connection alive shows nothing on a screen.
fn are_you_there(is_keep_alive: bool, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
    match is_keep_alive {
        true => cx.push(out, &NOP, Content::Telnet),
        false => cx.reply(out, Message::Yes),
    }
}

impl Talk {
    /// Since when it has no nick; for a member, since when it has sent nothing.
    pub(super) fn since(&self) -> Moment {
        self.since
    }

    /// Notes that input was received.
    #[inline]
    fn on_bytes(&mut self, now: Moment) {
        if self.is_member() {
            self.since = now;
        }
    }

    #[inline]
    fn is_member(&self) -> bool {
        matches!(self.stage, Stage::Member | Stage::OpPassword { .. })
    }

    /// How its input begins, as long as that may become a signature.
    #[inline]
    fn opening(&self) -> Option<Opening> {
        match self.sent {
            Sent::Begun(Opening::Other) | Sent::OnlyQuestions => None,
            Sent::Begun(opening) => Some(opening),
        }
    }

    #[inline]
    fn says_something(&mut self) {
        if self.sent == Sent::OnlyQuestions {
            self.sent = Sent::Begun(Opening::Other);
        }
    }

    /// Handles the beginning of a line, which may be empty.
    fn on_unfinished(&mut self, begun: &[u8], out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        if begun.is_empty() {
            return Flow::Starved;
        }
        self.says_something();
        if self.sends_too_soon() {
            return self.close_too_soon(out, cx);
        }
        let other = self.is_first().then(|| sniff::of_line(begun, false));
        match other.flatten() {
            Some(protocol) => refuse_protocol(protocol, out, cx),
            None => Flow::Starved,
        }
    }

    /// Handles AYT. Returns whether a client at a prompt sends it only to keep its connection alive;
    /// `last_input` is the time of its last input.
    fn is_keep_alive(&mut self, last_input: Moment, now: Moment) -> bool {
        let before = std::mem::replace(&mut self.sent, Sent::OnlyQuestions);
        let has_asked = before == Sent::OnlyQuestions;
        self.is_interactive() && has_asked && now < last_input + KEEP_ALIVE
    }

    /// Whether text that is received now was sent before a refusal could be read.
    #[inline]
    fn sends_too_soon(&self) -> bool {
        matches!(self.stage, Stage::Refused { .. })
    }

    fn close_too_soon(&self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        let told = cx.reply(out, Message::DidNotWait);
        close_unless_full(told, CloseReason::NoNick)
    }

    pub(super) fn class(&self, now: Moment) -> Class {
        if self.said.lacks_more_than(BULK_AFTER, now) {
            Class::Bulk
        } else {
            Class::Sparse
        }
    }

    /// Whether a person leaves by this.
    pub(super) fn leaves_by(&self, decoded: &Decoded<'_>) -> bool {
        match decoded {
            Decoded::EndOfFile => true,
            Decoded::Line(line) => self.command(line).is_some_and(commands::is_quit),
            _ => false,
        }
    }

    /// Whether nothing was taken as a password or a nick yet.
    fn is_first(&self) -> bool {
        matches!(
            self.stage,
            Stage::Password { refusals: 0 } | Stage::Nick { refusals: 0 }
        )
    }

    /// Returns a line without the byte order mark that some programs write before the first one.
    fn without_mark<'l>(&self, line: &'l [u8]) -> &'l [u8] {
        match self.is_first() {
            true => line.strip_prefix(text::BYTE_ORDER_MARK).unwrap_or(line),
            false => line,
        }
    }

    /// Returns the protocol of a line, if it is the first one and neither a nick nor the password of
    /// the room.
    fn other_protocol(&self, line: &[u8], cx: &Ctx<'_>) -> Option<OtherProtocol> {
        if !self.is_first() {
            return None;
        }
        let password = cx.auth.secrets.password.as_ref();
        let is_asked = matches!(self.stage, Stage::Password { .. });
        let is_password = is_asked && password.is_some_and(|it| it.matches(line));
        sniff::of_line(line, true).filter(|_| !is_password)
    }

    pub(crate) fn is_interactive(&self) -> bool {
        self.profile == Profile::Interactive
    }

    /// The command that a line holds, if commands are taken from this client.
    pub(super) fn command<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        match self.profile {
            Profile::Interactive => commands::in_line(line),
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
        if self.stage != Stage::Member {
            return false;
        }
        let is_speech = || self.command(line).is_none_or(commands::is_speech);
        let waits = out.holds_up() || !cx.may_say && is_speech();
        waits && !text::is_blank(line) && !self.passes_gate(cx.id, cx.room)
    }

    /// Whether nothing of this client waits for the room: an operator must be able to end the wait, and
    /// nobody is kept who leaves.
    fn passes_gate(&self, id: ClientId, room: &Room) -> bool {
        self.leaves || room.is_operator(id)
    }

    /// Counts a line against the rate that is allowed.
    #[inline]
    pub(super) fn count_line(&mut self, cx: &Ctx<'_>) {
        if cx.env.line_rate.is_limited() {
            let has_caught_up = self.lines.missing(cx.env.now).is_zero();
            self.is_told_ahead &= !has_caught_up;
            cx.env.line_rate.count(&mut self.lines, cx.env.now);
        }
    }

    /// Handles a command of a member. `is_checked`: the peer of the member that holds the nick that it
    /// asks for was checked.
    pub(super) fn on_command(
        &mut self,
        line: &[u8],
        is_checked: bool,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Step {
        let class = self.class(cx.env.now);
        let lines_before = self.lines;
        self.count_line(cx);
        if commands::is_op_alone(line) && cx.auth.secrets.ops_password.is_some() {
            self.stage = Stage::OpPassword { is_asked: false };
            return Step::new(0, Flow::Continue);
        }
        let step = commands::run(line, class, is_checked, &mut self.lines, out, cx);
        if step.flow.is_request() {
            // It is counted when it is run.
            self.lines = lines_before;
            return Step::new(0, step.flow);
        }
        step
    }

    fn on_password(
        &mut self,
        line: &[u8],
        telnet: &mut TelnetDecoder,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Step {
        let line = self.without_mark(line);
        let flow = match line.is_empty() {
            true => self.on_empty_line(out, cx),
            false => match self.other_protocol(line, cx) {
                Some(protocol) => refuse_protocol(protocol, out, cx),
                None => self.try_password(line, telnet, out, cx),
            },
        };
        Step::new(0, flow)
    }

    /// Handles a line that asks for a nick. `is_checked`: the peer of the member that holds the nick was
    /// checked, or a member that is claimed was closed.
    fn on_nick(
        &mut self,
        line: &[u8],
        is_checked: bool,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Step {
        let line = self.without_mark(line);
        self.says_something();
        if line.is_empty() {
            return Step::new(0, self.on_empty_line(out, cx));
        }
        if let Some(protocol) = self.other_protocol(line, cx) {
            return Step::new(0, refuse_protocol(protocol, out, cx));
        }
        if let Some(asked) = self.asked_before_nick(line) {
            return self.answer_before_nick(asked, out, cx);
        }
        let claim = match self.is_interactive() {
            true => Attempt::parse(line),
            false => None,
        };
        let (flow, least_cost) = match claim {
            Some(attempt) => (self.try_claim(&attempt, is_checked, out, cx), COMMAND_BYTES),
            None => (self.try_nick(line, is_checked, out, cx), 0),
        };
        Step {
            has_joined: self.stage == Stage::Member,
            least_cost,
            ..Step::new(0, flow)
        }
    }

    #[inline]
    fn on_member_line(
        &mut self,
        line: &[u8],
        is_checked: bool,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Step {
        self.says_something();
        if text::is_blank(line) {
            return Step::new(0, self.on_empty_line(out, cx));
        }
        if let Some(line) = self.command(line) {
            return self.on_command(line, is_checked, out, cx);
        }
        let class = self.class(cx.env.now);
        self.count_line(cx);
        let step = say(line, class, cx);
        match self.is_interactive() && line.len() <= commands::LONGEST_BARE {
            true => tell_if_bare(line, step, out, cx),
            false => step,
        }
    }

    /// Handles an end of file: a person leaves. For a script, its meaning is not known.
    fn on_end_of_file(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
        if !self.is_interactive() {
            return Step::new(0, Flow::Continue);
        }
        self.end_unechoed_line(out, cx);
        if self.is_member() {
            return self.on_command(b"/quit", false, out, cx);
        }
        Step::new(0, Flow::Close(CloseReason::Quit))
    }

    fn on_too_long(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        let max_line_bytes = cx.env.limits.max_line_bytes;
        match self.stage {
            Stage::Password { .. } => self.refuse_long_password(out, cx),
            Stage::Nick { .. } | Stage::Refused { .. } => self.refuse_long_nick(out, cx),
            Stage::OpPassword { .. } | Stage::Member => {
                cx.env.line_rate.count(&mut self.lines, cx.env.now);
                cx.reply(out, Message::LineTooLong { max_line_bytes })
            }
        }
    }
}

/// Tells who has said nothing but the name of a command that everybody saw it.
#[cold]
fn tell_if_bare(line: &[u8], step: Step, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Step {
    let command = commands::bare(line).filter(|_| step.said_bytes > 0);
    let flow = command.map(|command| cx.reply(out, Message::EverybodySaw(command)));
    Step {
        flow: flow.unwrap_or(step.flow),
        ..step
    }
}

/// A member says a line to everybody else.
fn say(line: &[u8], class: Class, cx: &mut Ctx<'_>) -> Step {
    if cx.room.is_watched() {
        return say_watched(line, class, cx);
    }
    let spoken = cx.room.say(cx.id, &cx.peer, line, class, cx.env.now);
    said(spoken, cx.id, class, cx.env, &mut cx.watch)
}

#[cold]
#[inline(never)]
fn say_watched(line: &[u8], class: Class, cx: &mut Ctx<'_>) -> Step {
    let (id, now) = (cx.id, cx.env.now);
    let spoken = cx.room.say_watched(id, &cx.peer, line, class, now);
    let step = said(spoken, cx.id, class, cx.env, &mut cx.watch);
    #[cfg(feature = "relay")]
    if cx.room.outgoing_bytes() >= cx.env.limits.most_unheard_bytes() {
        cx.effects.push(Effect::HoldSpeakers);
    }
    step
}

/// Counts a line that a member has said, if it was said, and tells the observer.
#[inline]
fn said(
    spoken: Option<Spoken<'_>>,
    id: ClientId,
    class: Class,
    env: &mut Env,
    watch: &mut Watch<'_>,
) -> Step {
    let mut step = Step::new(0, Flow::Continue);
    let Some(spoken) = spoken else {
        return step;
    };
    metrics::count(&mut env.metrics.lines_in, 1);
    step.said_bytes = spoken.bytes;
    if spoken.is_written_twice {
        // Every reader has to be given one form and not the other.
        step.least_cost = COMMAND_BYTES;
    }
    watch.emit(|| Event::Said {
        id,
        nick: spoken.nick(),
        text: spoken.text(),
        line: spoken.line(),
        is_bulk: class == Class::Bulk,
    });
    step
}
