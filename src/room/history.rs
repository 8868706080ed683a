//! The last lines of the room: [`History`] keeps a limited number of them, as they were seen, and no
//! more bytes than may be handed to one reader at once. It is a queue of bytes and a queue of their
//! lengths, so a server that keeps nothing pays nothing. The author of each line is stored, so that the
//! lines of a banned member are not shown again, even after that member has left.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BytesMut};

use crate::peer::Peer;
use crate::text::alike::Identity;
use crate::time::moment::Moment;

/// What each line counts besides its text, in bytes: what marks it as old.
const EACH_BYTES: usize = 32;

/// The last lines.
#[derive(Debug)]
pub(crate) struct History {
    max_lines: usize,
    /// With [`EACH_BYTES`] for each line.
    max_bytes: usize,
    bytes: BytesMut,
    lines: VecDeque<Line>,
    /// Time that the moments of the engine leave out, and that passed for people all the same.
    left_out: Duration,
}

#[derive(Debug)]
struct Line {
    /// With what had been left out until then.
    said_at: Moment,
    speaker: Author,
    len: usize,
}

/// Who said a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author {
    pub(crate) identity: Identity,
    /// The other end of the author's connection.
    pub(crate) peer: Peer,
}

/// A line that is kept, without its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remembered<'h> {
    /// How long ago it was said.
    pub(crate) age: Duration,
    pub(crate) speaker: Identity,
    pub(crate) text: &'h [u8],
}

impl History {
    pub(crate) fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self {
            max_lines,
            max_bytes,
            bytes: BytesMut::new(),
            lines: VecDeque::new(),
            left_out: Duration::ZERO,
        }
    }

    /// The moments of the engine leave this much time out.
    pub(crate) fn leave_out(&mut self, time: Duration) {
        self.left_out = self.left_out.saturating_add(time);
    }

    /// Whether anything is ever kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.max_lines > 0
    }

    /// A line was said; `text` is without its end.
    pub(crate) fn remember(&mut self, said_at: Moment, speaker: Author, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.lines.push_back(Line {
            said_at: said_at + self.left_out,
            speaker,
            len: text.len(),
        });
        while self.lines.len() > self.max_lines || self.counted_bytes() > self.max_bytes {
            let Some(oldest) = self.lines.pop_front() else {
                break;
            };
            self.bytes.advance(oldest.len);
        }
    }

    /// Removes the lines of some authors.
    pub(crate) fn forget(&mut self, is_forgotten: impl Fn(&Author) -> bool) -> usize {
        if !self.lines.iter().any(|line| is_forgotten(&line.speaker)) {
            return 0;
        }
        let before = self.lines.len();
        let (mut rest, mut kept) = (&*self.bytes, BytesMut::new());
        self.lines.retain(|line| {
            let (text, behind) = rest.split_at_checked(line.len).unwrap_or_default();
            rest = behind;
            let is_kept = !is_forgotten(&line.speaker);
            if is_kept {
                kept.extend_from_slice(text);
            }
            is_kept
        });
        self.bytes = kept;
        before.saturating_sub(self.lines.len())
    }

    fn counted_bytes(&self) -> usize {
        self.bytes
            .len()
            .saturating_add(self.lines.len().saturating_mul(EACH_BYTES))
    }

    /// The last `most` of the lines that are wanted, the oldest first.
    pub(crate) fn last<'h>(
        &'h self,
        most: usize,
        now: Moment,
        is_wanted: impl FnMut(&Remembered<'h>) -> bool,
    ) -> impl Iterator<Item = Remembered<'h>> {
        let wanted = self.newest_first(now).filter(is_wanted).take(most);
        let wanted: Vec<_> = wanted.collect();
        wanted.into_iter().rev()
    }

    /// How much is kept, in bytes.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn newest_first(&self, now: Moment) -> impl Iterator<Item = Remembered<'_>> {
        let (now, mut rest) = (now + self.left_out, &*self.bytes);
        self.lines.iter().rev().map(move |line| {
            let start = rest.len().saturating_sub(line.len);
            let (before, text) = rest.split_at_checked(start).unwrap_or_default();
            rest = before;
            Remembered {
                age: now.saturating_since(line.said_at),
                speaker: line.speaker.identity,
                text,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::moment::Clock;

    fn kept(history: &History, most: usize) -> Vec<String> {
        let text = |line: Remembered<'_>| String::from_utf8_lossy(line.text).into_owned();
        let last = history.last(most, Moment::BEGINNING, |_| true);
        last.map(text).collect()
    }

    fn history_of(max_lines: usize, max_bytes: usize, lines: &[&str]) -> History {
        let now = Clock::default().moment(std::time::Instant::now());
        let mut history = History::new(max_lines, max_bytes);
        for line in lines {
            history.remember(now, author(0), line.as_bytes());
        }
        history
    }

    fn author(serial: u64) -> Author {
        let identity = Identity {
            serial,
            ..Identity::NONE
        };
        let peer = Peer::Local { uid: 0, pid: 1 };
        Author { identity, peer }
    }

    #[test]
    fn lines_are_forgotten_wherever_they_stand_and_the_others_stay_whole() {
        let now = Clock::default().moment(std::time::Instant::now());
        for authors in [
            [1, 2, 3, 2],
            [2, 1, 2, 3],
            [2, 2, 2, 2],
            [1, 3, 4, 5],
            [1, 1, 2, 2],
        ] {
            let mut history = History::new(9, 999);
            let mut expected = Vec::new();
            for (n, serial) in authors.into_iter().enumerate() {
                let text = "x".repeat(3 * n) + &serial.to_string();
                history.remember(now, author(serial), text.as_bytes());
                expected.extend((serial != 2).then_some(text));
            }
            history.forget(|author| author.identity.serial == 2);
            assert_eq!(kept(&history, 9), expected, "{authors:?}");
            history.remember(now, author(2), b"later");
            expected.push("later".to_owned());
            assert_eq!(kept(&history, 9), expected, "{authors:?}");
        }
    }

    #[test]
    fn the_last_lines_are_kept_in_their_order() {
        let history = history_of(2, 999, &["one", "", "three"]);
        assert_eq!(kept(&history, 9), ["", "three"]);
        assert_eq!(kept(&history, 1), ["three"]);
        assert!(kept(&history_of(9, 999, &[]), 9).is_empty());
    }

    #[test]
    fn lines_that_are_not_wanted_leave_room_for_others() {
        let history = history_of(9, 999, &["one", "two", "", "four", "five"]);
        let wanted = history.last(2, Moment::BEGINNING, |it| !it.text.ends_with(b"e"));
        let wanted: Vec<&[u8]> = wanted.map(|it| it.text).collect();
        assert_eq!(wanted, [&b""[..], b"four"]);
    }

    #[test]
    fn at_most_that_many_bytes_are_kept() {
        let lines = ["0123456789"; 9];
        assert_eq!(kept(&history_of(9, 3 * 42, &lines), 9).len(), 3);
        assert_eq!(kept(&history_of(9, 3 * 42 - 1, &lines), 9).len(), 2);
        assert_eq!(kept(&history_of(9, 41, &lines), 9).len(), 0, "not one fits");
    }

    #[test]
    fn without_lines_to_keep_it_holds_no_memory() {
        assert!(!history_of(0, 999, &[]).is_kept());
    }

    #[test]
    fn memory_stays_flat() {
        let history = history_of(20, 1000, &["0123456789"; 10_000]);
        assert!(
            history.bytes.capacity() < 4000,
            "{}",
            history.bytes.capacity()
        );
        assert!(history.lines.capacity() < 100);
    }
}
