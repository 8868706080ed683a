//! What is said in one turn: [`Talk`] gathers the lines in their order, formatted once, and hands
//! them to each listener in one piece, or in a few if it has spoken itself. So a listener costs one
//! copy and one write a turn, however many lines come together, and both happen while its buffer is
//! in the processor's cache.
//!
//! A listener need not wait for the end of the turn. What it was given is remembered as a number
//! that goes on from turn to turn, so nothing has to be reset.

use crate::conn::overflow::Voice;
use crate::text::nick::Identity;

/// The lines of this turn.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// How many spans there were in all turns before.
    before: u64,
    /// Somebody has been given a part of the last span: what is said next begins a new one.
    is_sealed: bool,
    is_loud: bool,
    /// Some of it is not for everybody.
    is_mixed: bool,
}

/// Who says a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speaker {
    pub(crate) id: usize,
    pub(crate) identity: Identity,
}

impl Speaker {
    /// The server, whom nobody can ignore.
    pub(crate) const SERVER: Self = Self {
        id: usize::MAX,
        identity: Identity::NONE,
    };
}

/// For whom a line is, its speaker aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// For everybody.
    Line,
    /// What somebody does, or says in leaving: for persons.
    Action,
    /// The same, for those on the bare wire.
    BareAction,
    /// What the server says of a member: for persons.
    Notice,
}

/// Lines of one speaker that stand together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) speaker: Speaker,
    pub(crate) sort: Sort,
    voice: Voice,
    /// Where its bytes begin and end.
    start: usize,
    end: usize,
    /// How many lines of the turn come before it, and with it.
    lines_before: usize,
    lines_with: usize,
}

/// How far a listener has got.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u64);

/// Lines that stand together and that one listener is to get; never empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'t> {
    talk: &'t Talk,
    spans: &'t [Span],
}

impl Talk {
    /// A line, which `write` appends with its end; gives all of it.
    pub(crate) fn say(
        &mut self,
        speaker: Speaker,
        voice: Voice,
        sort: Sort,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.is_loud |= voice == Voice::Loud;
        self.is_mixed |= sort != Sort::Line;
        let end = self.bytes.len();
        let lines = self.spans.last().map_or(0, |span| span.lines_with);
        let is_sealed = std::mem::take(&mut self.is_sealed);
        match self.spans.last_mut() {
            Some(last) if !is_sealed && last.is_like(speaker, voice, sort) => {
                last.end = end;
                last.lines_with += 1;
            }
            _ => self.spans.push(Span {
                speaker,
                sort,
                voice,
                start,
                end,
                lines_before: lines,
                lines_with: lines + 1,
            }),
        }
        &self.bytes[start..end]
    }

    /// The place of somebody who has been given everything so far.
    pub(crate) fn place(&mut self) -> Place {
        self.is_sealed = true;
        Place(self.before + self.spans.len() as u64)
    }

    /// What a listener has not been given. `hidden` are the spans that it is not to get, if any may
    /// be; otherwise it gets one piece without a look at them.
    pub(crate) fn since<F: Fn(&Span) -> bool>(
        &self,
        place: Place,
        hidden: Option<F>,
    ) -> impl Iterator<Item = Lines<'_>> {
        let given = usize::try_from(place.0.saturating_sub(self.before)).unwrap_or(usize::MAX);
        let pieces = Pieces {
            rest: self.spans.get(given..).unwrap_or_default(),
            hidden,
        };
        pieces.map(|spans| Lines { talk: self, spans })
    }

    /// How long all of it is, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many spans there are.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether some of it is not for everybody.
    pub(crate) fn is_mixed(&self) -> bool {
        self.is_mixed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Who has spoken in this turn, some more than once.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = usize> {
        self.spans.iter().map(|span| span.speaker.id)
    }

    /// Everybody has been given everything.
    pub(crate) fn end_turn(&mut self) {
        self.before += self.spans.len() as u64;
        self.spans.clear();
        self.bytes.clear();
        self.is_sealed = false;
        self.is_loud = false;
        self.is_mixed = false;
    }
}

impl Span {
    fn is_like(&self, speaker: Speaker, voice: Voice, sort: Sort) -> bool {
        self.speaker.id == speaker.id
            && self.speaker.identity == speaker.identity
            && self.voice == voice
            && self.sort == sort
    }
}

/// Cuts spans into pieces that hold nothing hidden.
struct Pieces<'t, F> {
    rest: &'t [Span],
    hidden: Option<F>,
}

impl<'t, F: Fn(&Span) -> bool> Iterator for Pieces<'t, F> {
    type Item = &'t [Span];

    fn next(&mut self) -> Option<&'t [Span]> {
        let Some(is_hidden) = &self.hidden else {
            let all = std::mem::take(&mut self.rest);
            return (!all.is_empty()).then_some(all);
        };
        let first = self.rest.iter().position(|span| !is_hidden(span))?;
        let rest = &self.rest[first..];
        let len = rest.iter().position(is_hidden).unwrap_or(rest.len());
        let (piece, rest) = rest.split_at(len);
        self.rest = rest;
        Some(piece)
    }
}

impl<'t> Lines<'t> {
    /// All of them, each with its end.
    pub(crate) fn bytes(&self) -> &'t [u8] {
        let ends = self.spans.first().zip(self.spans.last());
        ends.map_or(&[], |(first, last)| &self.talk.bytes[first.start..last.end])
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        let ends = self.spans.first().zip(self.spans.last());
        ends.map_or(0, |(first, last)| last.lines_with - first.lines_before)
    }

    /// Whether some may be a loud speaker's.
    pub(crate) fn may_be_loud(&self) -> bool {
        self.talk.is_loud
    }

    /// Whether some may be the server's own.
    pub(crate) fn may_be_notices(&self) -> bool {
        self.talk.is_mixed
    }

    /// The lines of one speaker after the other, what they are, and its voice.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Lines<'t>, Sort, Voice)> {
        let talk = self.talk;
        let one = move |span: &'t Span| {
            let spans = std::slice::from_ref(span);
            (Lines { talk, spans }, span.sort, span.voice)
        };
        self.spans.iter().map(one)
    }

    /// One by one, each with its end.
    pub(crate) fn each(&self) -> impl Iterator<Item = &'t [u8]> {
        self.bytes().split_inclusive(|&byte| byte == b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(id: usize) -> Speaker {
        let identity = Identity::NONE;
        Speaker { id, identity }
    }

    fn say(talk: &mut Talk, id: usize, text: &str) {
        let said = talk.say(speaker(id), Voice::Quiet, Sort::Line, |line| {
            line.extend_from_slice(text.as_bytes());
        });
        assert_eq!(said, text.as_bytes());
    }

    fn heard(talk: &Talk, place: Place, listener: usize, has_spoken: bool) -> Vec<String> {
        let is_own = has_spoken.then_some(move |span: &Span| span.speaker.id == listener);
        let pieces = talk.since(place, is_own);
        let text = |lines: Lines<'_>| {
            assert_eq!(lines.count(), lines.each().count());
            let joined: Vec<u8> = lines.each().flat_map(<[u8]>::to_vec).collect();
            assert_eq!(joined, lines.bytes());
            String::from_utf8_lossy(lines.bytes()).into_owned()
        };
        pieces.map(text).collect()
    }

    #[test]
    fn a_listener_gets_one_piece_and_a_speaker_gets_what_is_around_its_own() {
        let mut talk = Talk::default();
        for (speaker, text) in [(1, "a\n"), (2, "b\n"), (2, "c\n"), (3, "d\n"), (2, "e\n")] {
            say(&mut talk, speaker, text);
        }
        let start = Place::default();
        assert_eq!(heard(&talk, start, 9, false), ["a\nb\nc\nd\ne\n"]);
        assert_eq!(heard(&talk, start, 2, true), ["a\n", "d\n"]);
        assert_eq!(heard(&talk, start, 1, true), ["b\nc\nd\ne\n"]);
    }

    #[test]
    fn who_was_given_a_part_gets_the_rest_once() {
        let mut talk = Talk::default();
        say(&mut talk, 1, "a\n");
        let place = talk.place();
        assert!(heard(&talk, place, 9, false).is_empty());
        say(&mut talk, 1, "b\n");
        assert_eq!(heard(&talk, place, 9, false), ["b\n"]);
        assert_eq!(heard(&talk, Place::default(), 8, false), ["a\nb\n"]);
        let place = talk.place();
        talk.end_turn();
        assert!(talk.is_empty());
        say(&mut talk, 1, "c\n");
        for listener in [place, Place::default()] {
            assert_eq!(heard(&talk, listener, 9, false), ["c\n"]);
        }
    }

    #[test]
    fn lines_have_their_speakers_voice() {
        let mut talk = Talk::default();
        for (voice, text) in [
            (Voice::Quiet, "a\n"),
            (Voice::Loud, "b\n"),
            (Voice::Loud, "c\n"),
        ] {
            talk.say(speaker(1), voice, Sort::Line, |line| {
                line.extend_from_slice(text.as_bytes());
            });
        }
        let lines = talk
            .since(Place::default(), None::<fn(&Span) -> bool>)
            .next()
            .expect("lines");
        assert!(lines.may_be_loud());
        let spans: Vec<_> = lines
            .spans()
            .map(|(span, _, voice)| (span.count(), voice))
            .collect();
        assert_eq!(spans, [(1, Voice::Quiet), (2, Voice::Loud)]);
    }
}
