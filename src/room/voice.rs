//! A moderated room, for a class: only operators, and members to whom they have given a voice, can talk to
//! everybody. Private words, new names and commands that only ask something stay free to all.

use crate::broadcast::batch::Kind;
use crate::client_id::ClientId;
use crate::protocol::message::Message;
use crate::room::Room;
use crate::text::CleanText;
use crate::time::moment::Moment;

impl Room {
    /// Makes the room a moderated one, or ends that; by default whichever it is not yet. The others are told
    /// if that is news.
    pub(crate) fn set_moderated(&mut self, by: ClientId, is_on: Option<bool>) {
        let was_moderated = self.is_moderated;
        self.is_moderated = is_on.unwrap_or(!was_moderated);
        self.is_watched = true;
        self.outbox
            .send(by, Message::YouModerate(self.is_moderated));
        if self.is_moderated == was_moderated {
            return;
        }
        let member = self.members.get(by);
        if let Some((speaker, nick)) = member.map(|it| (it.speaker(by), it.nick.clone())) {
            let message = Message::Moderates(&nick, self.is_moderated);
            self.say_as(speaker, Kind::Notice, message);
        }
    }

    /// Gives a member a voice in a moderated room, or takes it back. Returns whether that was done.
    pub(crate) fn toggle_voice(&mut self, by: ClientId, name: CleanText<'_>, now: Moment) -> bool {
        let Some(id) = self.meant_other(by, name, now) else {
            return false;
        };
        let Some(has_voice) = self.members.toggle_voice(id) else {
            return false;
        };
        let Some(member) = self.members.get(id) else {
            return false;
        };
        self.outbox
            .send(by, Message::HasVoice(&member.nick, has_voice));
        if member.person.is_some() {
            self.outbox.send(id, Message::YouHaveVoice(has_voice));
        }
        true
    }

    /// Whether the room is moderated and this member has no voice.
    pub(crate) fn is_voiceless(&self, id: ClientId) -> bool {
        let has_voice = || self.members.get(id).is_some_and(|member| member.has_voice);
        self.is_moderated && !self.is_operator(id) && !has_voice()
    }
}
