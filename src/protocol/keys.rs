//! Keys that are no characters: an arrow key, say, arrives as ESC `[` `A`. [`KeySequence`] finds the
//! end of such a sequence (ECMA-48, 5.4 and 5.6; xterm's "Control Sequences"), so that it can be left
//! out of a line, however the bytes are split. It has a bound, so that one that is begun by mistake
//! costs a line no more than [`MAX_SEQUENCE_BYTES`]; the end of the line ends it as well.
//!
//! | what has come | is followed by | and ends with |
//! |---|---|---|
//! | ESC `[` | parameters and intermediates, 0x20 to 0x3F | 0x40 to 0x7E |
//! | ESC `[` `[` (a function key of Linux's console), ESC `O` | | 0x40 to 0x7E |
//! | ESC `]` | anything that is no control | BEL, or ESC `\\` |
//! | ESC | | any other character, or BS or DEL |
//!
//! Another control, or a byte that does not fit, ends the sequence and is not a part of it.

/// The longest sequence that is left out, in bytes.
const MAX_SEQUENCE_BYTES: u8 = 32;

const BEL: u8 = 0x07;
const BS: u8 = 0x08;
const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;

/// A key that is arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeySequence {
    /// Keys are not looked for.
    Ignored,
    /// No key is arriving.
    None,
    Escape,
    /// ESC and a part of a character, of which this many bytes are missing.
    Character {
        left: u8,
    },
    /// ESC `[`; with it, so many bytes have come.
    Control {
        bytes: u8,
    },
    /// ESC `O`, or ESC `[` `[`.
    Shift,
    /// ESC `]`; with it, so many bytes have come.
    Command {
        bytes: u8,
    },
}

/// What a byte is to a key that is arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// A part of it.
    More,
    /// Its last part.
    Last,
    /// The key has ended before it.
    NotMine,
}

impl KeySequence {
    pub(super) fn is_arriving(self) -> bool {
        !matches!(self, Self::Ignored | Self::None)
    }

    /// An ESC has come.
    pub(super) fn begin(&mut self) {
        *self = Self::Escape;
    }

    /// The line ends.
    pub(super) fn end(&mut self) {
        if self.is_arriving() {
            *self = Self::None;
        }
    }

    /// The next byte.
    pub(super) fn take(&mut self, byte: u8) -> Take {
        // NUL is no operation anywhere.
        if byte == 0 {
            return Take::More;
        }
        let (next, take) = self.after(byte);
        *self = next;
        take
    }

    fn after(self, byte: u8) -> (Self, Take) {
        const LAST: (KeySequence, Take) = (KeySequence::None, Take::Last);
        const NOT_MINE: (KeySequence, Take) = (KeySequence::None, Take::NotMine);
        match (self, byte) {
            (Self::Ignored | Self::None, _) => (self, Take::NotMine),
            // Two ESC are Alt and another key.
            (Self::Escape, ESC) => (Self::Escape, Take::More),
            (Self::Escape, b'[') => (Self::Control { bytes: 2 }, Take::More),
            (Self::Escape, b'O') => (Self::Shift, Take::More),
            (Self::Escape, b']') => (Self::Command { bytes: 2 }, Take::More),
            (Self::Escape, b' '..=DEL | BS) => LAST,
            (Self::Escape, 0xc2..=0xdf) => (Self::Character { left: 1 }, Take::More),
            (Self::Escape, 0xe0..=0xef) => (Self::Character { left: 2 }, Take::More),
            (Self::Escape, 0xf0..=0xf4) => (Self::Character { left: 3 }, Take::More),
            (Self::Character { left: 1 }, 0x80..=0xbf) => LAST,
            (Self::Character { left }, 0x80..=0xbf) => {
                let left = left.saturating_sub(1);
                (Self::Character { left }, Take::More)
            }
            (Self::Control { bytes: 2 }, b'[') => (Self::Shift, Take::More),
            (Self::Control { .. } | Self::Shift, b'@'..=b'~') | (Self::Command { .. }, BEL) => LAST,
            (Self::Control { bytes }, b' '..=b'?') => {
                within_bound(bytes, |bytes| Self::Control { bytes })
            }
            // It begins the end of this one, or another key; the end looks like one.
            (Self::Command { .. }, ESC) => (Self::Escape, Take::More),
            (Self::Command { bytes }, b' '..) => {
                within_bound(bytes, |bytes| Self::Command { bytes })
            }
            (
                Self::Escape
                | Self::Character { .. }
                | Self::Control { .. }
                | Self::Shift
                | Self::Command { .. },
                _,
            ) => NOT_MINE,
        }
    }
}

/// The state behind one more byte, unless the sequence is as long as it may be.
fn within_bound(bytes: u8, state: impl FnOnce(u8) -> KeySequence) -> (KeySequence, Take) {
    match bytes.saturating_add(1) {
        MAX_SEQUENCE_BYTES.. => (KeySequence::None, Take::Last),
        bytes => (state(bytes), Take::More),
    }
}
