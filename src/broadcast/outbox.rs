//! Lines for single clients: [`Outbox`] is where the room puts its answers and what one member tells
//! another, until the engine, which knows connections, delivers them. It keeps their order.

use crate::broadcast::personal::Before;
use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::protocol::message::Message;

/// Lines, each for one client.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    has_last_words: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    to: ClientId,
    kind: EntryKind,
    /// Where it ends; the next one begins there.
    end: usize,
}

/// The author of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// The server's, in its own words: where it is too long for a terminal it is broken.
    Reply,
    /// The server's, which quotes somebody: it stays one line.
    Quote,
    /// A member's, which must not crowd others out of the queue.
    Words(Class),
    /// The server's, and nothing comes behind them: they may exceed the limit of the queue.
    LastWords,
}

impl Outbox {
    /// The server has something to say to a client.
    pub(crate) fn send(&mut self, to: ClientId, message: Message<'_>) {
        let kind = match message.is_quote() {
            true => EntryKind::Quote,
            false => EntryKind::Reply,
        };
        self.push(to, kind, message);
    }

    /// Adds a line.
    pub(crate) fn push(&mut self, to: ClientId, kind: EntryKind, message: Message<'_>) {
        self.push_behind(Before::default(), to, kind, message);
    }

    /// Adds a line, with something before it.
    pub(crate) fn push_behind(
        &mut self,
        before: Before,
        to: ClientId,
        kind: EntryKind,
        message: Message<'_>,
    ) {
        self.bytes.extend_from_slice(before.as_bytes());
        message.write(&mut self.bytes);
        let end = self.bytes.len();
        self.entries.push(Entry { to, kind, end });
        self.has_last_words |= kind == EntryKind::LastWords;
    }

    /// Whether somebody's last words are among them.
    pub(crate) fn has_last_words(&self) -> bool {
        self.has_last_words
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Everything, in the order in which it was sent.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (ClientId, EntryKind, &[u8])> {
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let line = self.bytes.get(start..entry.end).unwrap_or_default();
            start = entry.end;
            (entry.to, entry.kind, line)
        })
    }

    /// Forgets everything, and keeps the memory for the next lines.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.has_last_words = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_their_order_each_whole() {
        let [three, seven] = [3, 7].map(ClientId::from_index);
        let mut outbox = Outbox::default();
        outbox.send(seven, Message::Yes);
        outbox.send(three, Message::AskNick);
        outbox.push(seven, EntryKind::Words(Class::Bulk), Message::Yes);
        let entries: Vec<_> = outbox.entries().collect();
        let yes = &b"* yes\r\n"[..];
        let ask = &b"* what is your nick?\r\n"[..];
        let expected = [
            (seven, EntryKind::Reply, yes),
            (three, EntryKind::Reply, ask),
            (seven, EntryKind::Words(Class::Bulk), yes),
        ];
        assert_eq!(entries, expected);
        outbox.clear();
        assert!(outbox.is_empty());
        assert_eq!(outbox.entries().count(), 0);
    }
}
