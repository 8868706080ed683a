//! Keys that send more than one character: an arrow key, for example, arrives as ESC `[` `A`.
//! [`KeySequence`] finds the end of such a sequence (ECMA-48, 5.4 and 5.6; xterm's "Control
//! Sequences"), however the bytes are split, so that it can be dropped from a line. The length is
//! bounded, so a sequence that is begun by mistake costs a line at most [`MAX_SEQUENCE_BYTES`]; the end
//! of the line also ends it.
//!
//! | received | may be followed by | ends with |
//! |---|---|---|
//! | ESC `[` | parameters and intermediates, 0x20 to 0x3F | 0x40 to 0x7E |
//! | ESC `[` `[` (a function key of Linux's console), ESC `O` | | 0x40 to 0x7E |
//! | ESC `]` | anything but a control | BEL, or ESC `\\` |
//! | ESC | | any other character, or BS or DEL |
//!
//! Any other control, or a byte that does not fit, ends the sequence and is not part of it.

/// The longest sequence that is dropped, in bytes.
const MAX_SEQUENCE_BYTES: u8 = 32;

const BEL: u8 = 0x07;
const BS: u8 = 0x08;
const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;

/// A key sequence that is being received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeySequence {
    /// Key sequences are not recognised.
    Ignored,
    /// No sequence is in progress.
    None,
    Escape,
    /// ESC and part of a UTF-8 character, of which this many bytes are missing.
    Character {
        left: u8,
    },
    /// A sequence begun by ESC `[`, of which this many bytes were received.
    Control {
        bytes: u8,
    },
    /// ESC `O`, or ESC `[` `[`.
    Shift,
    /// A sequence begun by ESC `]`, of which this many bytes were received.
    Command {
        bytes: u8,
    },
}

/// How a byte relates to the sequence in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// It is part of the sequence, which continues.
    More,
    /// It ends the sequence and is part of it.
    Last,
    /// The sequence ended before it.
    NotMine,
}

impl KeySequence {
    pub(super) fn is_arriving(self) -> bool {
        !matches!(self, Self::Ignored | Self::None)
    }

    /// Starts a sequence at an ESC.
    pub(super) fn begin(&mut self) {
        *self = Self::Escape;
    }

    /// Ends the sequence at the end of the line.
    pub(super) fn end(&mut self) {
        if self.is_arriving() {
            *self = Self::None;
        }
    }

    /// Takes the next byte.
    pub(super) fn take(&mut self, byte: u8) -> Take {
        // NUL is ignored everywhere.
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
            // ESC ESC is Alt and another key.
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
            // ESC begins the terminator or another key. The terminator, ESC and a backslash, ends as a
            // key does.
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

/// The state after one more byte, unless the sequence has reached its maximum length.
fn within_bound(bytes: u8, state: impl FnOnce(u8) -> KeySequence) -> (KeySequence, Take) {
    match bytes.saturating_add(1) {
        MAX_SEQUENCE_BYTES.. => (KeySequence::None, Take::Last),
        bytes => (state(bytes), Take::More),
    }
}
