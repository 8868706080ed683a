//! The first words with somebody who connects: a greeting, a password, a nick. On the bare wire
//! there are none, but for the password where there is one, because then a client cannot know what
//! its first line should be.
//!
//! While somebody types a password its terminal must not show it. So telnet's ECHO is offered (RFC
//! 857), which means that we echo, and then we do not; and it is withdrawn when the password was
//! right. Whoever is no telnet client sees three odd bytes each time.

use log::{debug, warn};

use crate::config::interactive::Mode;
use crate::conn::Phase;
use crate::conn::send_queue::Output;
use crate::engine::{Chat, ClientId, Stream};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::command::{self, Command};
use crate::protocol::message::Message;
use crate::protocol::telnet;
use crate::session::auth::WRONG_PASSWORD_PAUSE;
use crate::text;
use crate::time::moment::Moment;

impl<S: Stream> Chat<S> {
    /// A client has connected.
    pub(crate) fn greet(&mut self, id: ClientId, now: Moment) {
        let is_interactive = self.is_interactive(id);
        if is_interactive {
            let greeting = std::mem::take(&mut self.files.greeting);
            for line in &greeting {
                self.tell(id, Message::Motd(line), now);
            }
            if greeting.is_empty() {
                self.tell(id, Message::Greeting, now);
            }
            self.files.greeting = greeting;
        }
        if self.files.password.is_some() {
            self.connections[id.0].phase = Phase::Password { refusals: 0 };
            if is_interactive {
                let offer = self.connections[id.0].decoder.offer_echo();
                self.answer(id, offer, now);
            }
        }
        self.ask(id, now);
    }

    /// Asks for what its next line should be, if it has to be asked; gives the length in bytes.
    pub(crate) fn ask(&mut self, id: ClientId, now: Moment) -> usize {
        match self.connections[id.0].phase {
            Phase::Password { .. } => self.notify(id, Message::AskPassword, now),
            Phase::Login { .. } if self.is_interactive(id) => {
                self.notify(id, Message::AskNick, now)
            }
            _ => 0,
        }
    }

    /// A line that says nothing. Who has pressed Enter at a prompt wants to see it again.
    pub(crate) fn hear_nothing(&mut self, id: ClientId, now: Moment) -> usize {
        if !self.is_interactive(id) {
            return 0;
        }
        self.end_unechoed_line(id, now) + self.ask(id, now)
    }

    /// A line where a password was asked for; `None` if it was too long to be one.
    pub(crate) fn try_password(
        &mut self,
        id: ClientId,
        attempt: Option<&[u8]>,
        now: Moment,
    ) -> usize {
        let peer = self.connections[id.0].peer;
        let right = self.files.password.as_ref();
        // There may be none any more.
        let is_right = attempt.is_some_and(|it| right.is_none_or(|right| right.is(it)));
        if !is_right && self.is_interactive(id) && attempt.is_some_and(asks_to_leave) {
            let bytes = self.end_unechoed_line(id, now);
            self.part(id, CloseReason::Quit, now);
            return bytes;
        }
        if let Some(wait) = self.attempts.wait(peer.ip(), now) {
            return self.refuse_password(id, Message::TooManyTries(wait), now);
        }
        if !is_right {
            self.punish_wrong_password(id, now);
            return self.refuse_password(id, Message::WrongPassword, now);
        }
        debug!("{peer} knows the password");
        if self.is_interactive(id) {
            self.answer(id, telnet::WITHDRAW_ECHO, now);
        }
        let bytes = self.end_unechoed_line(id, now);
        self.connections[id.0].phase = Phase::Login { refusals: 0 };
        bytes + self.ask(id, now)
    }

    /// The Enter behind a password was not shown either.
    fn end_unechoed_line(&mut self, id: ClientId, now: Moment) -> usize {
        let is_unechoed = matches!(self.connections[id.0].phase, Phase::Password { .. });
        if is_unechoed && self.is_interactive(id) {
            return self.queue(id, b"\r\n", Output::Notice, now);
        }
        0
    }

    fn refuse_password(&mut self, id: ClientId, why: Message<'_>, now: Moment) -> usize {
        let bytes = self.end_unechoed_line(id, now);
        let Phase::Password { refusals } = &mut self.connections[id.0].phase else {
            return bytes;
        };
        *refusals += 1;
        if *refusals < self.shared.limits.max_refusals {
            return bytes + self.notify(id, why, now);
        }
        let bytes = bytes + self.notify(id, Message::WrongPasswordFinally, now);
        self.part(id, CloseReason::WrongPassword, now);
        bytes
    }

    /// A wrong password costs its client time, and its address one of its tries.
    pub(crate) fn punish_wrong_password(&mut self, id: ClientId, now: Moment) {
        let connection = &mut self.connections[id.0];
        self.attempts.count_wrong(connection.peer.ip(), now);
        self.pace
            .pause(&mut connection.lines_said, WRONG_PASSWORD_PAUSE, now);
        let peer = connection.peer;
        if let Some(now) = self.clock.instant(now)
            && let Some(count) = self.wrong_passwords.count(now)
        {
            warn!("wrong passwords: {count} since this was last said, at last from {peer}");
        }
    }

    pub(crate) fn is_interactive(&self, id: ClientId) -> bool {
        self.connections[id.0].mode == Mode::Interactive
    }
}

fn asks_to_leave(line: &[u8]) -> bool {
    let command = command::in_line(line).unwrap_or_default();
    let mut scratch = String::new();
    let command = Command::parse(text::clean(command, &mut scratch));
    matches!(command, Ok((Command::Quit(_), _)))
}
