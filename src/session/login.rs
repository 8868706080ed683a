//! The first words with a client: a greeting, a password, a nick. A plain client gets none of them,
//! except that it is asked for a password where there is one, because it cannot know otherwise what
//! its first line should be.
//!
//! While somebody types a password the terminal must not show it. So telnet's ECHO is offered (RFC
//! 857), which means that we echo, and then we do not; it is withdrawn when the password was right. A
//! client that is no telnet client sees three odd bytes each time.

use std::time::Duration;

use crate::config::addr::Eol;
use crate::conn::overflow::{Content, Overflow};
use crate::conn::send_queue::SendQueue;
use crate::events::Event;
use crate::protocol::claim_token::Attempt;
use crate::protocol::close_reason::CloseReason;
use crate::protocol::decoder::{Decoded, Decoder, Input};
use crate::protocol::message::Message;
use crate::protocol::telnet::TelnetDecoder;
use crate::room::Room;
use crate::room::claims::Claimed;
use crate::session::auth::WRONG_PASSWORD_PAUSE;
use crate::session::chat::{ChatSession, Stage, Talk, negotiate};
use crate::session::commands::{self, COMMAND_BYTES};
use crate::session::{Ctx, Flow, Step};
use crate::text::nick::NickError;
use crate::time::rate_limit::TokenBucket;

/// What a person can ask for before it has a nick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Help,
    Who,
    Quit,
    /// Something that only members can ask for.
    Other,
}

impl ChatSession {
    /// The client has connected. If it has proved with a certificate who it is, it is not asked for the
    /// password of the room.
    pub(super) fn greet(&mut self, is_authenticated: bool, out: &mut SendQueue, cx: &mut Ctx<'_>) {
        let is_interactive = self.talk.is_interactive();
        self.lay_out(out);
        if is_interactive {
            let offer = self.decoder.telnet().offer_binary();
            negotiate(offer, out, cx);
            // A terminal without telnet may show the last byte of the command: CR and NUL let the next
            // text overwrite it.
            cx.push(out, b"\r\0", Content::Telnet);
            show_greeting(out, cx);
            if cx.room.is_recorded() {
                cx.reply(out, Message::Recorded);
            }
        }
        if cx.auth.secrets.password.is_some() && !is_authenticated {
            self.talk.stage = Stage::Password { refusals: 0 };
            if is_interactive {
                negotiate_if_new(self.decoder.telnet().offer_echo(), out, cx);
            }
        }
        self.talk.ask(out, cx);
    }
}

fn show_greeting(out: &mut SendQueue, cx: &mut Ctx<'_>) {
    let greeting = std::mem::take(&mut cx.auth.secrets.greeting);
    for line in &greeting {
        cx.reply(out, Message::Motd(line));
    }
    if greeting.is_empty() {
        cx.reply(out, Message::Greeting);
    }
    cx.auth.secrets.greeting = greeting;
}

impl Talk {
    /// Asks for what the next line should be, if the client has to be asked.
    fn ask(&self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        match self.stage {
            Stage::Password { .. } => cx.reply(out, Message::AskPassword),
            Stage::Nick { .. } if self.is_interactive() => cx.reply(out, Message::AskNick),
            Stage::OpPassword { .. } => cx.reply(out, Message::AskOpPassword),
            Stage::Nick { .. } | Stage::Refused { .. } | Stage::Member => Flow::Continue,
        }
    }

    /// Asks a member for the password of operators, which its terminal is not to show.
    pub(super) fn ask_op_password(
        &mut self,
        telnet: &mut TelnetDecoder,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Flow {
        self.stage = Stage::OpPassword { is_asked: true };
        negotiate_if_new(telnet.offer_echo(), out, cx);
        self.ask(out, cx)
    }

    /// Checks a line as the password of operators. An empty one is none, and asks for nothing any more.
    pub(super) fn on_op_password(
        &mut self,
        line: &[u8],
        telnet: &mut TelnetDecoder,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Step {
        self.end_unechoed_line(out, cx);
        if self.command(line).is_some_and(commands::is_quit) {
            return self.on_command(line, false, out, cx);
        }
        let mut step = Step::new(0, Flow::Continue);
        step.least_cost = COMMAND_BYTES;
        self.count_line(cx);
        if line.is_empty() {
            step.flow = cx.reply(out, Message::Cancelled);
        }
        // Who has mistyped it types it again, which must not be said to the room.
        if line.is_empty() || commands::try_op_password(line, &mut self.lines, cx) {
            negotiate_if_new(telnet.withdraw_echo(), out, cx);
            self.stage = Stage::Member;
        }
        step
    }

    /// An empty line says nothing. A person who presses Enter at a prompt wants to
    /// see the prompt again.
    pub(super) fn on_empty_line(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        if !self.is_interactive() {
            return Flow::Continue;
        }
        self.end_unechoed_line(out, cx);
        self.ask(out, cx)
    }

    /// The Enter behind a password was not shown either.
    pub(super) fn end_unechoed_line(&self, out: &mut SendQueue, cx: &mut Ctx<'_>) {
        let is_hidden = matches!(
            self.stage,
            Stage::Password { .. } | Stage::OpPassword { .. }
        );
        if self.is_interactive() && is_hidden {
            cx.push(out, b"\r\n", Content::Reply);
        }
    }

    /// Checks a line as the password of the room.
    pub(super) fn try_password(
        &mut self,
        attempt: &[u8],
        telnet: &mut TelnetDecoder,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Flow {
        // The password may have been taken away since it was asked for.
        let right = cx.auth.secrets.password.as_ref();
        let is_right = right.is_none_or(|right| right.matches(attempt));
        if !is_right && self.command(attempt).is_some_and(commands::is_quit) {
            self.end_unechoed_line(out, cx);
            return Flow::Close(CloseReason::Quit);
        }
        if let Some(wait) = cx.auth.throttle.wait(cx.peer.origin(), cx.env.now) {
            return self.refuse_unseen(wait, out, cx);
        }
        if !is_right {
            count_wrong_password(&mut self.lines, cx);
            return self.refuse_password(out, cx);
        }
        cx.watch.emit(|| Event::Authenticated {
            id: cx.id,
            peer: cx.peer,
        });
        if self.is_interactive() {
            negotiate_if_new(telnet.withdraw_echo(), out, cx);
        }
        self.end_unechoed_line(out, cx);
        self.enter(Stage::Nick { refusals: 0 }, cx.env.now);
        self.ask(out, cx)
    }

    /// Handles a line that is too long to be the password.
    pub(super) fn refuse_long_password(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        if let Some(wait) = cx.auth.throttle.wait(cx.peer.origin(), cx.env.now) {
            return self.refuse_unseen(wait, out, cx);
        }
        count_wrong_password(&mut self.lines, cx);
        self.refuse_password(out, cx)
    }

    /// Answers a password that was not checked, and does not count it as one of the client's attempts.
    /// It pauses the client all the same, or a flood of passwords would be answered line by line.
    fn refuse_unseen(&mut self, wait: Duration, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        let now = cx.env.now;
        let pause = wait.min(WRONG_PASSWORD_PAUSE);
        cx.env.line_rate.pause(&mut self.lines, pause, now);
        self.end_unechoed_line(out, cx);
        cx.reply(out, Message::TooManyTries(cx.peer, wait))
    }

    /// Answers a wrong password. The last allowed attempt closes the client.
    fn refuse_password(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        self.end_unechoed_line(out, cx);
        let most = cx.env.limits.most_refusals(self.profile);
        let Stage::Password { refusals } = &mut self.stage else {
            return Flow::Continue;
        };
        *refusals = refusals.saturating_add(1);
        if *refusals < most {
            return cx.reply(out, Message::WrongPassword);
        }
        let told = cx.reply(out, Message::WrongPasswordFinally);
        close_unless_full(told, CloseReason::WrongPassword)
    }

    /// What a person asks for who has no nick yet.
    pub(super) fn asked_before_nick(&self, line: &[u8]) -> Option<Asked> {
        let command = match self.command(line) {
            Some(command) => commands::name_in(command),
            None if self.is_interactive() => Some(commands::bare_at_first_prompt(line)?),
            None => return None,
        };
        Some(match command {
            Some("quit") => Asked::Quit,
            Some("help") => Asked::Help,
            Some("who") => Asked::Who,
            _ => Asked::Other,
        })
    }

    pub(super) fn answer_before_nick(
        &mut self,
        asked: Asked,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Step {
        let mut step = Step::new(0, Flow::Continue);
        step.least_cost = COMMAND_BYTES;
        match asked {
            Asked::Quit => step.flow = Flow::Close(CloseReason::Quit),
            Asked::Other => step.flow = cx.reply(out, Message::NickFirst),
            Asked::Help => step.flow = cx.reply(out, Message::HowToJoin),
            Asked::Who => {
                cx.reply_written(out, false, Room::write_who);
                step.flow = self.ask(out, cx);
            }
        }
        step
    }

    /// Takes a line as a nick, with which the client becomes a member.
    /// `is_checked`: the peer of a member that has that nick was checked.
    pub(super) fn try_nick(
        &mut self,
        line: &[u8],
        is_checked: bool,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Flow {
        if cx.room.must_wait_for_nick(cx.id, line, cx.env.now) {
            return Flow::AwaitNick;
        }
        if let Err(refusal) = cx
            .room
            .join(cx.id, &cx.peer, line, self.profile, cx.env.now)
        {
            return match refusal.holder.filter(|_| !is_checked) {
                Some(holder) => Flow::CheckPeer(holder),
                None => self.refuse_nick(&refusal.why, out, cx),
            };
        }
        self.become_member(out, cx);
        Flow::Continue
    }

    /// Takes a line as a name and a token, with which the client is somebody again who was here before.
    /// `is_checked`: a connection of that person was closed, or the peer of the member that has the name was
    /// checked.
    pub(super) fn try_claim(
        &mut self,
        attempt: &Attempt<'_>,
        is_checked: bool,
        out: &mut SendQueue,
        cx: &mut Ctx<'_>,
    ) -> Flow {
        let now = cx.env.now;
        if let Some(wait) = cx.auth.throttle.wait(cx.peer.origin(), now) {
            return self.refuse_unseen(wait, out, cx);
        }
        let serial = match cx.room.claimed(attempt, now) {
            Claimed::Member(id) if !is_checked => return Flow::TakeOver(id),
            Claimed::Member(_) | Claimed::Wrong => {
                count_wrong_password(&mut self.lines, cx);
                return self.refuse_nick(&NickError::WrongToken, out, cx);
            }
            Claimed::Gone(serial) => serial,
        };
        if cx.room.must_wait_for_nick(cx.id, attempt.name, now) {
            return Flow::AwaitNick;
        }
        if let Err(refusal) = cx.room.come_back(cx.id, &cx.peer, serial, now) {
            return match refusal.holder.filter(|_| !is_checked) {
                Some(holder) => Flow::CheckPeer(holder),
                None => self.refuse_nick(&refusal.why, out, cx),
            };
        }
        self.become_member(out, cx);
        Flow::Continue
    }

    /// The room has taken the client in.
    fn become_member(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) {
        if out.eol() == Eol::Lf {
            cx.room.end_lines_with_lf(cx.id);
        }
        if out.columns().is_narrow() {
            cx.room.set_columns(cx.id, out.columns());
        }
        self.enter(Stage::Member, cx.env.now);
        out.set_overflow(Overflow::for_member(cx.env.limits.lag));
        let nick = cx.room.nick_of(cx.id);
        cx.watch.emit(|| Event::Joined {
            id: cx.id,
            peer: cx.peer,
            nick,
        });
    }

    pub(super) fn refuse_long_nick(&mut self, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        let max_line_bytes = cx.env.limits.max_line_bytes;
        self.refuse_nick(&NickError::LineTooLong { max_line_bytes }, out, cx)
    }

    /// A plain client that sends text right behind its nick does not read answers: if the nick is
    /// refused, its next line would become a nick, and the lines after it would be said under that
    /// nick. So text that is found before the refusal was passed to the kernel closes the client.
    fn refuse_nick(&mut self, why: &NickError, out: &mut SendQueue, cx: &mut Ctx<'_>) -> Flow {
        let Stage::Nick { refusals } = self.stage else {
            return Flow::Continue;
        };
        let refusals = refusals.saturating_add(1);
        if refusals >= cx.env.limits.most_refusals(self.profile) {
            let told = cx.reply(out, Message::RefusedFinally(why, self.profile));
            return close_unless_full(told, CloseReason::NoNick);
        }
        self.stage = match self.is_interactive() {
            true => Stage::Nick { refusals },
            false => Stage::Refused { refusals },
        };
        cx.reply(out, Message::Refused(why, self.profile))
    }
}

/// Whether the input that follows in `decoder` has more than empty lines and telnet commands.
pub(super) fn has_text(mut decoder: Decoder, input: &[u8]) -> bool {
    let mut input = Input::new(input);
    while let Some(decoded) = decoder.next(&mut input) {
        if matches!(decoded, Decoded::TooLong | Decoded::Line([_, ..])) {
            return true;
        }
    }
    !decoder.unfinished().is_empty()
}

/// Sends what a telnet option has to say, unless the peer already knows.
fn negotiate_if_new(bytes: Option<[u8; 3]>, out: &mut SendQueue, cx: &mut Ctx<'_>) {
    if let Some(bytes) = bytes {
        negotiate(bytes, out, cx);
    }
}

/// Closes a client that was told why; if there was no room for that, it is too slow.
pub(super) fn close_unless_full(told: Flow, reason: CloseReason) -> Flow {
    match told {
        Flow::Continue => Flow::Close(reason),
        flow => flow,
    }
}

/// A wrong password costs its client time, and its origin one of its attempts.
pub(super) fn count_wrong_password(lines: &mut TokenBucket, cx: &mut Ctx<'_>) {
    let now = cx.env.now;
    cx.auth.throttle.count_wrong(cx.peer.origin(), now);
    cx.env.line_rate.pause(lines, WRONG_PASSWORD_PAUSE, now);
    cx.watch.emit(|| Event::WrongPassword {
        id: cx.id,
        peer: cx.peer,
    });
}
