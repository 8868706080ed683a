//! What single members are to be told: [`Mail`] is where a room puts its answers, and what one member
//! tells another, until somebody who knows connections delivers them. It keeps their order.

use crate::conn::overflow::Voice;
use crate::protocol::message::Message;
use crate::room::members::ClientId;

/// Lines, each for one client.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    bytes: Vec<u8>,
    letters: Vec<Letter>,
}

#[derive(Debug, Clone, Copy)]
struct Letter {
    to: ClientId,
    author: Author,
    /// Where it ends; the next one begins there.
    end: usize,
}

/// Whose words a letter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    Server,
    Member(Voice),
}

impl Mail {
    /// The server has something to say.
    pub(crate) fn send(&mut self, to: ClientId, message: Message<'_>) {
        self.post(to, Author::Server, message);
    }

    /// A member tells another something, and must not crowd others out of its queue by that.
    pub(crate) fn send_words(&mut self, to: ClientId, voice: Voice, message: Message<'_>) {
        self.post(to, Author::Member(voice), message);
    }

    fn post(&mut self, to: ClientId, author: Author, message: Message<'_>) {
        message.write(&mut self.bytes);
        let end = self.bytes.len();
        self.letters.push(Letter { to, author, end });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Everything, in the order in which it was sent.
    pub(crate) fn letters(&self) -> impl Iterator<Item = (ClientId, Author, &[u8])> {
        let mut start = 0;
        self.letters.iter().map(move |letter| {
            let line = &self.bytes[start..letter.end];
            start = letter.end;
            (letter.to, letter.author, line)
        })
    }

    /// It was delivered. The memory is kept for the next.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.letters.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_come_in_their_order_each_whole() {
        let mut mail = Mail::default();
        mail.send(ClientId(7), Message::Yes);
        mail.send(ClientId(3), Message::AskNick);
        mail.send_words(ClientId(7), Voice::Loud, Message::Yes);
        let letters: Vec<_> = mail.letters().collect();
        let yes = &b"* yes\r\n"[..];
        let ask = &b"* what is your nick?\r\n"[..];
        let expected = [
            (ClientId(7), Author::Server, yes),
            (ClientId(3), Author::Server, ask),
            (ClientId(7), Author::Member(Voice::Loud), yes),
        ];
        assert_eq!(letters, expected);
        mail.clear();
        assert!(mail.is_empty());
        assert_eq!(mail.letters().count(), 0);
    }
}
