//! Commands, carried out: the room decides what can be decided without knowing connections
//! (`conversing`), and here is the rest: who leaves for it, which address is kept out, and who has
//! the password. A command is spoken by nobody, and counts like a line of a kilobyte, because that is
//! how much work it may be.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use log::{debug, info};

use crate::conn::overflow::Voice;
use crate::engine::{Chat, ClientId, Stream};
use crate::protocol::close_reason::CloseReason;
use crate::protocol::command::{Command, CommandError, Whom};
use crate::protocol::message::Message;
use crate::room::Departure;
use crate::session::admission::subscriber;
use crate::text::nick::Nick;
use crate::text::{self, CleanText};
use crate::time::moment::Moment;

/// What a command counts against the budget of a turn beside what comes of it, and at least against
/// its sender, in bytes: it may cost as much time as a line of that length does.
const COMMAND_BYTES: usize = 1 << 10;

impl<S: Stream> Chat<S> {
    /// A person's line that begins with a slash; gives what it counts against the person, in bytes.
    pub(crate) fn obey(&mut self, id: ClientId, line: &[u8], voice: Voice, now: Moment) -> usize {
        // What was said before is seen as it was then, whomever this one is about to ignore.
        if !self.catch_up(id, now) {
            return 0;
        }
        let mut scratch = String::new();
        let text = text::clean(line, &mut scratch);
        let parsed = Command::parse(text);
        let is_for_operators = match parsed {
            Ok((_, is_for_operators)) => is_for_operators,
            Err(CommandError::Usage(help)) => help.is_for_operators,
            Err(CommandError::Unknown(..)) => false,
        };
        let said = if is_for_operators && !self.room.is_operator(id) {
            self.refuse_operation(id)
        } else {
            self.act_on_command(id, text, parsed, voice, now)
        };
        self.turn_output += COMMAND_BYTES;
        (said + self.deliver(now)).max(COMMAND_BYTES)
    }

    fn refuse_operation(&mut self, id: ClientId) -> usize {
        let message = match self.files.ops_password {
            Some(_) => Message::NotOperator,
            None => Message::NoOperators,
        };
        self.room.answer(id, message);
        0
    }

    fn act_on_command(
        &mut self,
        id: ClientId,
        text: CleanText<'_>,
        parsed: Result<(Command<'_>, bool), CommandError<'_>>,
        voice: Voice,
        now: Moment,
    ) -> usize {
        match parsed {
            Ok((command, is_for_operators)) => {
                if is_for_operators {
                    let nick = self.room.nick_of(id).map_or("", Nick::as_str);
                    info!("{nick} as an operator: {}", text.as_str());
                }
                return self.carry_out(id, command, voice, now);
            }
            Err(CommandError::Unknown(name, nearest)) => {
                let unknown = Message::UnknownCommand(name.as_str(), nearest);
                self.room.answer(id, unknown);
            }
            Err(CommandError::Usage(help)) => self.room.answer(id, Message::Usage(help)),
        }
        0
    }

    /// The same before there is a nick: who has come to the wrong place can leave.
    pub(crate) fn obey_nameless(&mut self, id: ClientId, line: &[u8], now: Moment) -> usize {
        let mut scratch = String::new();
        match Command::parse(text::clean(line, &mut scratch)) {
            Ok((Command::Quit(words), _)) => {
                self.depart(id, Departure::Quit(words), now);
                0
            }
            _ => self.notify(id, Message::NickFirst, now),
        }
    }

    /// Gives how long what the room sees of it is, in bytes.
    fn carry_out(
        &mut self,
        id: ClientId,
        command: Command<'_>,
        voice: Voice,
        now: Moment,
    ) -> usize {
        if command.is_speech() && self.room.is_muted(id, now) {
            self.room.answer(id, Message::MutedLine);
            return 0;
        }
        match command {
            Command::Say(text) => {
                self.shared.metrics.lines_in += 1;
                return self.room.say_text(id, text, voice, now);
            }
            Command::Me(text) => {
                self.shared.metrics.lines_in += 1;
                return self.room.act(id, text, voice, now);
            }
            Command::Nick(name) => return self.room.rename(id, name, voice, now),
            Command::Help => self.room.help(id, self.files.ops_password.is_some()),
            Command::Who(name) => self.room.who(id, name),
            Command::Msg(name, text) => {
                if let Some(to) = self.room.meant_other(id, name) {
                    self.room.tell(id, to, text, voice);
                }
            }
            Command::Reply(text) => self.room.reply(id, text, voice),
            Command::Ignore(name) => self.room.ignore(id, name),
            Command::Unignore(name) => self.room.unignore(id, name),
            Command::Last(most) => self.room.last(id, most, now),
            Command::Time => self.tell_time(id),
            Command::Quit(words) => self.quit(id, words, now),
            Command::Op(password) => self.make_operator(id, password, now),
            Command::Kick(name, why) => self.kick(id, name, why, now),
            Command::Ban(Whom::Name(name), time) => {
                if let Some(banned) = self.room.ban_name(id, name.as_str(), time, now) {
                    self.expel(id, banned, now);
                }
            }
            Command::Ban(Whom::Address(ip), time) => {
                // Somebody may have it for a name, to have somebody else's address banned.
                let text = ip.to_string();
                if self.room.roster.find_exact(&text).is_none() {
                    self.ban_address(id, ip, time, now);
                } else if let Some(banned) = self.room.ban_name(id, &text, time, now) {
                    self.expel(id, banned, now);
                }
            }
            Command::Unban(Whom::Name(name)) => self.room.unban_name(id, name, now),
            Command::Unban(Whom::Address(ip)) => {
                // It may also be a name that was banned.
                let text = ip.to_string();
                let name = self.room.roster.hash_of(&text);
                let was_banned = self.banned.lift(&subscriber(ip), now);
                let was_name_banned = self.room.banned.lift(&name, now);
                let was_any_banned = was_banned || was_name_banned;
                self.room.answer_unban(id, was_any_banned, &text);
            }
            Command::Mute(name, time) => self.room.mute(id, name, time, now),
            Command::Unmute(name) => self.room.unmute(id, name, now),
            Command::Announce(text) => self.room.announce(id, text),
        }
        0
    }

    fn tell_time(&mut self, id: ClientId) {
        let time = Timestamp::try_from((self.wall_clock)()).unwrap_or_default();
        let time = time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        self.room.answer(id, Message::Time(&time));
    }

    fn quit(&mut self, id: ClientId, words: CleanText<'_>, now: Moment) {
        let is_muted = self.room.is_muted(id, now);
        let words = if is_muted { CleanText::EMPTY } else { words };
        self.depart(id, Departure::Quit(words), now);
    }

    fn make_operator(&mut self, id: ClientId, password: CleanText<'_>, now: Moment) {
        let Some(right) = &self.files.ops_password else {
            return self.room.answer(id, Message::NoOperators);
        };
        let ip = self.connections[id.0].peer.ip();
        if let Some(wait) = self.attempts.wait(ip, now) {
            return self.room.answer(id, Message::TooManyTries(wait));
        }
        if right.is(password.as_str().as_bytes()) {
            let nick = self.room.nick_of(id).map_or("", Nick::as_str);
            info!("{nick} is an operator now");
            return self.room.make_operator(id);
        }
        self.punish_wrong_password(id, now);
        self.room.answer(id, Message::WrongPassword);
    }

    fn kick(&mut self, by: ClientId, name: CleanText<'_>, why: CleanText<'_>, now: Moment) {
        if let Some(id) = self.room.meant_other(by, name) {
            let operator = self.room.nick_of(by).cloned();
            if let Some(operator) = operator {
                self.depart(id, Departure::Kicked(&operator, why), now);
            }
        }
    }

    /// Closes a member whose name was banned, and tells the operator from where it came.
    fn expel(&mut self, by: ClientId, id: ClientId, now: Moment) {
        let ip = self.connections[id.0].peer.ip();
        if let Some(member) = self.room.roster.get(id) {
            self.room.mail.send(by, Message::CameFrom(&member.nick, ip));
        }
        self.part(id, CloseReason::Banned, now);
    }

    fn ban_address(&mut self, by: ClientId, ip: IpAddr, time: Option<Duration>, now: Moment) {
        let address = subscriber(ip);
        if address == subscriber(self.connections[by.0].peer.ip()) {
            return self.room.answer(by, Message::YourOwnAddress);
        }
        let has_room = self.banned.add(address, time, now);
        let text = ip.to_string();
        self.room
            .answer_sanction(by, has_room, Message::IsBanned(&text, time));
        if !has_room {
            return;
        }
        let clients = self.connections.iter();
        let banned = clients.filter(|(_, client)| subscriber(client.peer.ip()) == address);
        let banned: Vec<ClientId> = banned.map(|(id, _)| ClientId(id)).collect();
        debug!("{} clients have that address", banned.len());
        for id in banned {
            self.part(id, CloseReason::Banned, now);
        }
    }
}
