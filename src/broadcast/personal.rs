//! Lines as one person gets them: the bytes that everybody gets, and a few of its own [before](Before) each.
//! Notices are broken where its window is too narrow for them.

use crate::broadcast::batch::{Kind, Lines};
use crate::broadcast::priority::Class;
use crate::protocol::layout::{Columns, each_line};

/// What one member is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'b> {
    /// Lines that others get as well.
    Lines(Lines<'b>),
    Personal(PersonalLine<'b>),
}

/// A line of the room for one person.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PersonalLine<'b> {
    pub(crate) before: Before,
    /// With its end.
    pub(crate) line: &'b [u8],
    pub(crate) kind: Kind,
    pub(crate) class: Class,
}

impl PersonalLine<'_> {
    /// Hands out its bytes, in pieces, for a window of this width.
    #[inline]
    pub(crate) fn write(&self, columns: Columns, mut piece: impl FnMut(&[u8])) {
        let before = self.before.as_bytes();
        let columns = match self.kind.is_notice() {
            true => columns.behind(before.len()),
            false => Columns::UNBROKEN,
        };
        each_line(self.line, columns, |line| {
            piece(before);
            piece(line);
        });
    }

    /// How many bytes lines take at most that are so long without what stands before them.
    pub(crate) fn most_bytes(count: usize, bytes: usize, columns: Columns) -> usize {
        let unbroken = bytes.saturating_add(count.saturating_mul(Before::MOST));
        match columns.is_narrow() {
            true => unbroken.saturating_mul(BROKEN_BYTES_EACH),
            false => unbroken,
        }
    }
}

/// How many bytes a byte takes at most in a line that is broken behind every word: each piece has at least two
/// bytes of the line, and besides them an end, what it begins with, and what stands before it.
const BROKEN_BYTES_EACH: usize = 8;

/// A few bytes that one person gets before a line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Before {
    bytes: [u8; Before::MOST],
    len: u8,
}

impl Before {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// No more bytes than these stand before a line.
    pub(crate) const MOST: usize = 7;

    pub(crate) fn push(&mut self, byte: u8) {
        if let Some(to) = self.bytes.get_mut(usize::from(self.len)) {
            *to = byte;
            self.len = self.len.saturating_add(1);
        }
    }

    pub(crate) fn push_digit(&mut self, digit: i64) {
        self.push(u8::try_from(digit).map_or(b'?', |digit| b'0'.saturating_add(digit)));
    }
}
