//! What was said before, shown again: to who joins, and to who asks for it (`/last`, `/find`). Lines of
//! members that the reader ignores are left out first, and do not push others out of what is shown.

use memchr::memmem::Finder;

use crate::client_id::ClientId;
use crate::protocol::message::Message;
use crate::room::Room;
use crate::room::history::Remembered;
use crate::room::members::Member;
use crate::text;
use crate::text::CleanText;
use crate::text::alike::Identity;
use crate::time::moment::Moment;

/// How many lines `/find` shows at most, so that they fit on a screen.
const MAX_FOUND: usize = 20;

impl Room {
    /// Shows a member the last `most` of those lines that it may see and that are wanted. Returns how many
    /// there are.
    pub(super) fn replay(
        &mut self,
        id: ClientId,
        most: usize,
        now: Moment,
        is_wanted: impl Fn(&Remembered<'_>) -> bool,
    ) -> usize {
        let person = self.members.person(id);
        let is_hidden = |speaker| person.is_some_and(|person| person.ignores(speaker));
        let is_shown = |line: &Remembered<'_>| !is_hidden(line.speaker) && is_wanted(line);
        let mut shown = 0_usize;
        for line in self.history.last(most, now, is_shown) {
            let bare = person.is_none().then(|| text::without_isolates(line.text));
            let text = bare.as_deref().unwrap_or(line.text);
            self.outbox.send(id, Message::Remembered(line.age, text));
            shown = shown.saturating_add(1);
        }
        shown
    }

    /// Shows a person the last lines again, all that are kept or at most this many; with a name, those of
    /// whoever had it when they were said, or has it now.
    pub(crate) fn last(
        &mut self,
        id: ClientId,
        most: Option<usize>,
        name: CleanText<'_>,
        now: Moment,
    ) {
        let most = most.unwrap_or(usize::MAX);
        if name.as_str().is_empty() {
            if self.replay(id, most, now, |_| true) == 0 {
                self.outbox.send(id, Message::NothingKept);
            }
            return;
        }
        let shown = self.members.typed(name.as_str()).map(|mut typed| {
            let former = self.members.hash_of(&mut typed);
            let member = self.members.find(&mut typed, id, now).ok();
            let member = member.and_then(|id| self.members.get(id));
            let member = member.map(Member::identity);
            let is_meant = |it: Identity| {
                it.name.is_alike(former) || member.is_some_and(|member| it.is(member))
            };
            self.replay(id, most, now, |line| is_meant(line.speaker))
        });
        if shown.is_none_or(|shown| shown == 0) {
            self.outbox.send(id, Message::NothingOf(name.as_str()));
        }
    }

    /// Shows a person the last lines that hold this text, whatever the case of letters. Returns how many
    /// bytes were searched.
    pub(crate) fn find(&mut self, id: ClientId, text: CleanText<'_>, now: Moment) -> usize {
        let wanted = text.as_str().to_lowercase();
        let finder = Finder::new(&wanted);
        // To fold what is not ASCII takes ten times as long.
        let holds = |line: &Remembered<'_>| match wanted.is_ascii() {
            true => finder.find(&line.text.to_ascii_lowercase()).is_some(),
            false => {
                let line = String::from_utf8_lossy(line.text).to_lowercase();
                line.contains(&wanted)
            }
        };
        if self.replay(id, MAX_FOUND, now, holds) == 0 {
            self.outbox.send(id, Message::NothingFound(text.as_str()));
        }
        self.history.len_bytes()
    }
}
