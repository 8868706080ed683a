//! The lines of one turn: [`Batch`] holds them in their order, formatted once, and hands them to each
//! reader in one piece, or in a few if some lines are not for that reader. So a reader costs one copy
//! and one write a turn, however many lines come together.
//!
//! Some readers want lines that end with LF alone. For them the batch is rendered a second time, when
//! the first of them needs it: a copy without the CRs, so every line is one byte shorter, and a
//! position in the copy is the position in the batch minus the number of lines before it.
//!
//! A reader need not wait for the end of the turn. What it was given is a [`Cursor`], a position in
//! the stream of all lines ever said, so nothing has to be reset when a turn ends.

use crate::broadcast::priority::Class;
use crate::client_id::ClientId;
use crate::text::alike::Identity;

/// The lines of this turn.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// A copy of the first lines, each ending with LF.
    with_lf: Vec<u8>,
    /// The number of bytes of `bytes` that are rendered in `with_lf`.
    rendered: usize,
    lines: usize,
    segments: Vec<Segment>,
    /// The end of the batch before.
    base: Cursor,
    /// The position after the last line.
    end: Cursor,
    /// The minute in which they are said, since 1970 (UTC), where somebody sees it.
    pub(crate) minute: i64,
    has_bulk: bool,
    /// Some lines are not for everybody.
    is_mixed: bool,
}

/// The author of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) id: ClientId,
    pub(crate) identity: Identity,
}

impl Speaker {
    /// The server, which nobody can ignore.
    pub(crate) const SERVER: Self = Self {
        id: ClientId::SERVER,
        identity: Identity::NONE,
    };
}

/// What a line is, which decides who gets it. Its speaker never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What a member said: for everybody who does not ignore it.
    Line,
    /// An action, or a line that is shown at a prompt in another form than to plain
    /// members: for people who do not ignore the member.
    Action,
    /// An action, or such a line, in the form for plain members, which are not at a prompt.
    PlainAction,
    /// The last words of a member: for people who do not ignore it.
    LastWords,
    /// The leaving of a member, without its last words: for people who ignore it.
    WordlessLeave,
    /// A member has another name: for people who do not ignore it.
    Rename,
    /// Somebody has joined or left: for people.
    Presence,
    /// What else the server says: for people.
    Notice,
    /// What an operator says to everybody, also to plain members.
    Announcement,
    /// An announcement in the form for people, where scripts get it in another one.
    AnnouncementToPeople,
    /// An announcement in the form for scripts, which are not at a prompt.
    AnnouncementToScripts,
}

impl Kind {
    /// Whether it tells who is here, and under which name.
    pub(crate) fn is_presence(self) -> bool {
        match self {
            Self::LastWords | Self::WordlessLeave | Self::Rename | Self::Presence => true,
            Self::Line | Self::Action | Self::PlainAction => false,
            Self::Notice | Self::Announcement => false,
            Self::AnnouncementToPeople | Self::AnnouncementToScripts => false,
        }
    }

    /// Whether the server words it; members word all others.
    pub(crate) fn is_notice(self) -> bool {
        match self {
            Self::Line | Self::Action | Self::PlainAction | Self::Announcement => false,
            Self::AnnouncementToPeople | Self::AnnouncementToScripts => false,
            Self::LastWords | Self::WordlessLeave => true,
            Self::Rename | Self::Presence | Self::Notice => true,
        }
    }
}

/// Lines of one speaker, kind and class that stand together. Its ends are relative to the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) speaker: Speaker,
    pub(crate) kind: Kind,
    class: Class,
    /// Where its bytes end.
    end: usize,
    /// How many lines of the batch there are up to its end.
    lines_end: usize,
}

/// How far a reader has got, in all that was ever said. The numbers wrap: every reader is given
/// everything before the next batch begins, so none is ever further behind than one batch is long.
#[derive(Debug, Default, Clone, Copy, Eq)]
pub(crate) struct Cursor {
    byte: u32,
    /// How many lines end up to that byte.
    line: u32,
}

impl PartialEq for Cursor {
    /// No line is empty, so the byte tells which line it is.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.byte == other.byte
    }
}

/// Lines that stand together and that one reader is to get.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'b> {
    /// All of them, each with its end.
    pub(crate) bytes: &'b [u8],
    /// How many they are.
    pub(crate) count: usize,
    /// Whether some of the batch is a bulk speaker's.
    pub(crate) has_bulk: bool,
    /// The segments that hold them. The first may begin before them.
    segments: &'b [Segment],
    /// The offset of the segment in the batch, or in its rendering with LF.
    offset: usize,
    /// How many lines of the batch come before them.
    lines_before: usize,
    /// Each line ends with LF alone, and so is one byte shorter than in the batch.
    is_with_lf: bool,
}

impl Batch {
    /// Appends a line, which `write` appends with its end. Returns all of it.
    #[inline(always)]
    pub(crate) fn say(
        &mut self,
        speaker: Speaker,
        class: Class,
        kind: Kind,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.has_bulk |= class == Class::Bulk;
        self.is_mixed |= kind != Kind::Line;
        let end = self.bytes.len();
        self.lines = self.lines.saturating_add(1);
        let lines_end = self.lines;
        self.end = Cursor {
            byte: self.base.byte.wrapping_add(number(end)),
            line: self.base.line.wrapping_add(number(lines_end)),
        };
        match self.segments.last_mut() {
            Some(last) if last.speaker == speaker && last.class == class && last.kind == kind => {
                last.end = end;
                last.lines_end = lines_end;
            }
            _ => self.segments.push(Segment {
                speaker,
                kind,
                class,
                end,
                lines_end,
            }),
        }
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Its length in bytes.
    #[inline]
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The position behind its last line.
    #[inline]
    pub(crate) fn end(&self) -> Cursor {
        self.end
    }

    /// Whether some of its lines are not for everybody.
    #[inline]
    pub(crate) fn is_mixed(&self) -> bool {
        self.is_mixed
    }

    /// All of it.
    pub(crate) fn all(&self) -> Lines<'_> {
        self.since(self.base)
    }

    /// Everything that was said after `from`, in one piece.
    #[inline]
    pub(crate) fn since(&self, from: Cursor) -> Lines<'_> {
        let offset = from.byte.wrapping_sub(self.base.byte) as usize;
        let lines_before = from.line.wrapping_sub(self.base.line) as usize;
        let (offset, lines_before) = (offset.min(self.bytes.len()), lines_before.min(self.lines));
        Lines {
            bytes: self.bytes.get(offset..).unwrap_or_default(),
            count: self.lines.saturating_sub(lines_before),
            has_bulk: self.has_bulk,
            segments: &self.segments,
            offset,
            lines_before,
            is_with_lf: false,
        }
    }

    /// Renders the lines that were added since the last call, with LF at their ends.
    #[cold]
    pub(crate) fn render_with_lf(&mut self) {
        let rest = self.bytes.get(self.rendered..).unwrap_or_default();
        for part in with_lf(rest) {
            self.with_lf.extend_from_slice(part);
        }
        self.rendered = self.bytes.len();
    }

    /// Returns everything that was said after `from` and before the batch was last
    /// [rendered](Self::render_with_lf), with LF at the ends of lines.
    #[cold]
    #[inline(never)]
    pub(crate) fn since_with_lf(&self, from: Cursor) -> Lines<'_> {
        let lines = self.since(from);
        let offset = lines.offset.saturating_sub(lines.lines_before);
        Lines {
            bytes: self.with_lf.get(offset..).unwrap_or_default(),
            offset,
            is_with_lf: true,
            ..lines
        }
    }

    /// The speakers of this turn, some more than once.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = ClientId> {
        self.segments.iter().map(|segment| segment.speaker.id)
    }

    /// What the server said to people after `from`, each line with its end.
    pub(crate) fn notices_since(&self, from: Cursor) -> impl Iterator<Item = &[u8]> {
        let notices = self.since(from).without(|segment| {
            matches!(
                segment.kind,
                Kind::Line | Kind::Action | Kind::PlainAction | Kind::WordlessLeave
            )
        });
        notices.flat_map(Lines::each)
    }

    /// Begins the next batch. Everybody has been given everything.
    pub(crate) fn clear(&mut self) {
        self.base = self.end;
        self.bytes.clear();
        self.with_lf.clear();
        self.rendered = 0;
        self.lines = 0;
        self.segments.clear();
        self.has_bulk = false;
        self.is_mixed = false;
    }
}

/// Four bytes are enough: a batch is as long as a part of a queue.
#[inline]
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Splits lines that end with CR LF into parts that leave out the CRs.
pub(crate) fn with_lf(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    lines.flat_map(|line| match line.strip_suffix(b"\r\n") {
        Some(text) => [text, b"\n"],
        None => [line, b""],
    })
}

impl<'b> Lines<'b> {
    /// The lines without the segments that `is_hidden` names, in pieces.
    pub(crate) fn without<F: Fn(&Segment) -> bool>(
        self,
        is_hidden: F,
    ) -> impl Iterator<Item = Self> + use<'b, F> {
        let mut rest = self.without_earlier_segments();
        std::iter::from_fn(move || {
            let hidden = rest.segments.iter().position(|it| !is_hidden(it))?;
            rest.take_segments(hidden);
            let shown = rest.segments.iter().position(&is_hidden);
            Some(rest.take_segments(shown.unwrap_or(rest.segments.len())))
        })
    }

    /// The lines of one segment after the other, with what they are.
    pub(crate) fn segments(self) -> impl Iterator<Item = (Self, Kind, Class)> + use<'b> {
        let mut rest = self.without_earlier_segments();
        std::iter::from_fn(move || {
            let first = rest.segments.first()?;
            Some((rest.take_segments(1), first.kind, first.class))
        })
    }

    /// These lines, without segments that end before them.
    fn without_earlier_segments(mut self) -> Self {
        let earlier = self
            .segments
            .partition_point(|segment| self.end_of(segment) <= self.offset);
        self.segments = self.segments.get(earlier..).unwrap_or_default();
        self
    }

    /// Returns where a segment ends in the rendering of these lines.
    fn end_of(&self, segment: &Segment) -> usize {
        match self.is_with_lf {
            true => segment.end.saturating_sub(segment.lines_end),
            false => segment.end,
        }
    }

    /// Takes the lines of the first `n` segments off.
    fn take_segments(&mut self, n: usize) -> Self {
        let (segments, segments_behind) = self.segments.split_at(n);
        let (end, lines_end) = segments
            .last()
            .map_or((self.offset, self.lines_before), |last| {
                (self.end_of(last), last.lines_end)
            });
        let (bytes, bytes_behind) = self.bytes.split_at(end.saturating_sub(self.offset));
        let taken = Self {
            bytes,
            count: lines_end.saturating_sub(self.lines_before),
            segments,
            ..*self
        };
        *self = Self {
            bytes: bytes_behind,
            count: self.count.saturating_sub(taken.count),
            segments: segments_behind,
            offset: end,
            lines_before: lines_end,
            ..*self
        };
        taken
    }

    /// The lines one by one, each with its end.
    pub(crate) fn each(self) -> impl Iterator<Item = &'b [u8]> {
        self.bytes.split_inclusive(|&byte| byte == b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn speaker(id: usize) -> Speaker {
        Speaker {
            id: ClientId::from_index(id),
            identity: Identity::NONE,
        }
    }

    fn say(batch: &mut Batch, id: usize, text: &str) {
        let said = batch.say(speaker(id), Class::Sparse, Kind::Line, |line| {
            line.extend_from_slice(text.as_bytes());
        });
        assert_eq!(said, text.as_bytes());
    }

    /// What a reader gets that does not get its own lines, checked for consistency.
    fn pieces(batch: &Batch, from: Cursor, reader: usize) -> Vec<String> {
        let own = speaker(reader).id;
        let is_own = |segment: &Segment| segment.speaker.id == own;
        let text = |lines: Lines<'_>| {
            assert_eq!(lines.count, lines.each().count());
            let joined: Vec<u8> = lines
                .segments()
                .flat_map(|it| it.0.bytes)
                .copied()
                .collect();
            assert_eq!(joined, lines.bytes);
            let count: usize = lines.segments().map(|it| it.0.count).sum();
            assert_eq!(count, lines.count);
            String::from_utf8_lossy(lines.bytes).into_owned()
        };
        let pieces: Vec<String> = batch.since(from).without(is_own).map(text).collect();
        if batch.rendered == batch.bytes.len() {
            let with_lf = batch.since_with_lf(from).without(is_own).map(text);
            let expected = pieces.iter().map(|piece| piece.replace("\r\n", "\n"));
            assert!(with_lf.eq(expected));
        }
        pieces
    }

    #[test]
    fn a_reader_gets_one_piece_and_a_speaker_gets_what_is_around_its_own_lines() {
        let mut batch = Batch::default();
        for (speaker, text) in [(1, "a\n"), (2, "b\n"), (2, "c\n"), (3, "d\n"), (2, "e\n")] {
            say(&mut batch, speaker, text);
        }
        let start = Cursor::default();
        assert_eq!(batch.since(start).bytes, b"a\nb\nc\nd\ne\n");
        assert_eq!(batch.since(start).count, 5);
        assert_eq!(pieces(&batch, start, 9), ["a\nb\nc\nd\ne\n"]);
        assert_eq!(pieces(&batch, start, 2), ["a\n", "d\n"]);
        assert_eq!(pieces(&batch, start, 1), ["b\nc\nd\ne\n"]);
    }

    #[test]
    fn a_reader_that_was_given_a_part_gets_the_rest_once() {
        let mut batch = Batch::default();
        say(&mut batch, 1, "a\n");
        let cursor = batch.end();
        assert!(pieces(&batch, cursor, 9).is_empty());
        say(&mut batch, 1, "b\n");
        assert_eq!(pieces(&batch, cursor, 9), ["b\n"], "from within a segment");
        assert_eq!(pieces(&batch, Cursor::default(), 8), ["a\nb\n"]);
        let cursor = batch.end();
        batch.clear();
        say(&mut batch, 1, "c\n");
        assert_eq!(pieces(&batch, cursor, 9), ["c\n"]);
    }

    #[test]
    fn lines_that_end_with_lf_are_rendered_as_far_as_they_are_asked_for() {
        let mut batch = Batch::default();
        for (speaker, text) in [(1, "a\r\n"), (2, "b\r\n"), (2, "c\r\n"), (1, "d\r\n")] {
            say(&mut batch, speaker, text);
        }
        batch.render_with_lf();
        let start = Cursor::default();
        assert_eq!(batch.since_with_lf(start).bytes, b"a\nb\nc\nd\n");
        let own = speaker(2).id;
        let others = batch
            .since_with_lf(start)
            .without(|segment| segment.speaker.id == own);
        let others: Vec<&[u8]> = others.map(|lines| lines.bytes).collect();
        assert_eq!(others, [b"a\n", b"d\n"]);
        let cursor = batch.end();
        say(&mut batch, 1, "e\r\n");
        batch.render_with_lf();
        assert_eq!(batch.since_with_lf(cursor).bytes, b"e\n");
        batch.clear();
        assert!(batch.since_with_lf(batch.end()).bytes.is_empty());
    }

    #[test]
    fn lines_have_their_speakers_class() {
        let mut batch = Batch::default();
        for (class, text) in [
            (Class::Sparse, "a\n"),
            (Class::Bulk, "b\n"),
            (Class::Bulk, "c\n"),
        ] {
            batch.say(speaker(1), class, Kind::Line, |line| {
                line.extend_from_slice(text.as_bytes());
            });
        }
        let lines = batch.since(Cursor::default());
        assert!(lines.has_bulk);
        let segments: Vec<_> = lines
            .segments()
            .map(|(lines, _, class)| (lines.count, class))
            .collect();
        assert_eq!(segments, [(1, Class::Sparse), (2, Class::Bulk)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Readers that catch up at any time get every line of the others once, in order.
        #[test]
        fn whenever_a_reader_catches_up_it_gets_every_line_of_the_others_once(
            steps in prop::collection::vec((0..4_usize, 0..4_usize, 0..9_u8), 0..60),
        ) {
            // Not far from where the numbers wrap.
            let base = Cursor {
                byte: u32::MAX - 20,
                line: u32::MAX - 3,
            };
            let mut batch = Batch {
                base,
                end: base,
                ..Batch::default()
            };
            let mut cursors = [batch.end(); 4];
            let mut got = [const { String::new() }; 4];
            let mut expected = [const { String::new() }; 4];
            let mut catch_up = |batch: &mut Batch, reader: usize, cursors: &mut [Cursor; 4]| {
                if reader < 2 {
                    batch.render_with_lf();
                }
                got[reader].push_str(&pieces(batch, cursors[reader], reader).concat());
                cursors[reader] = batch.end();
            };
            for (n, (speaker, reader, step)) in steps.into_iter().enumerate() {
                let text = format!("{speaker}:{n}\r\n");
                say(&mut batch, speaker, &text);
                for other in (0..4).filter(|&other| other != speaker) {
                    expected[other].push_str(&text);
                }
                if step < 4 {
                    catch_up(&mut batch, reader, &mut cursors);
                } else if step == 8 {
                    (0..4).for_each(|reader| catch_up(&mut batch, reader, &mut cursors));
                    batch.clear();
                }
            }
            (0..4).for_each(|reader| catch_up(&mut batch, reader, &mut cursors));
            prop_assert_eq!(got, expected);
        }
    }
}
