//! What is said in one turn: [`Talk`] gathers the lines in their order, formatted once, and hands
//! them to each listener in one piece, or in a few if it has spoken itself. So a listener costs one
//! copy and one write a turn, however many lines come together, and both happen while its buffer is
//! in the processor's cache.
//!
//! A listener need not wait for the end of the turn. What it was given is remembered as a number
//! that goes on from turn to turn, so nothing has to be reset.

use crate::skip::Voice;

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
}

/// Lines of one speaker that stand together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    speaker: usize,
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
    /// Speaker `speaker` says a line, which `write` appends with its end; gives its length in
    /// bytes.
    pub(crate) fn say(
        &mut self,
        speaker: usize,
        voice: Voice,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.is_loud |= voice == Voice::Loud;
        let end = self.bytes.len();
        let lines = self.spans.last().map_or(0, |span| span.lines_with);
        let is_sealed = std::mem::take(&mut self.is_sealed);
        match self.spans.last_mut() {
            Some(last) if !is_sealed && last.speaker == speaker && last.voice == voice => {
                last.end = end;
                last.lines_with += 1;
            }
            _ => self.spans.push(Span {
                speaker,
                voice,
                start,
                end,
                lines_before: lines,
                lines_with: lines + 1,
            }),
        }
        end - start
    }

    /// The place of somebody who has been given everything so far.
    pub(crate) fn place(&mut self) -> Place {
        self.is_sealed = true;
        Place(self.before + self.spans.len() as u64)
    }

    /// What a listener has not been given, without its own lines. `has_spoken`: there are some.
    pub(crate) fn since(
        &self,
        place: Place,
        listener: usize,
        has_spoken: bool,
    ) -> impl Iterator<Item = Lines<'_>> {
        let given = usize::try_from(place.0.saturating_sub(self.before)).unwrap_or(usize::MAX);
        let spans = self.spans.get(given..).unwrap_or_default();
        let is_own = move |span: &Span| has_spoken && span.speaker == listener;
        // A listener that has not spoken gets one piece without a look at the spans.
        let pieces = Pieces {
            rest: spans,
            is_own,
            is_whole: !has_spoken,
        };
        pieces.map(|spans| Lines { talk: self, spans })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Who has spoken in this turn, some more than once.
    pub(crate) fn speakers(&self) -> impl Iterator<Item = usize> {
        self.spans.iter().map(|span| span.speaker)
    }

    /// Everybody has been given everything.
    pub(crate) fn end_turn(&mut self) {
        self.before += self.spans.len() as u64;
        self.spans.clear();
        self.bytes.clear();
        self.is_sealed = false;
        self.is_loud = false;
    }
}

/// Cuts spans into pieces that do not hold a listener's own.
struct Pieces<'t, F> {
    rest: &'t [Span],
    is_own: F,
    is_whole: bool,
}

impl<'t, F: Fn(&Span) -> bool> Iterator for Pieces<'t, F> {
    type Item = &'t [Span];

    fn next(&mut self) -> Option<&'t [Span]> {
        if self.is_whole {
            let all = std::mem::take(&mut self.rest);
            return (!all.is_empty()).then_some(all);
        }
        let first = self.rest.iter().position(|span| !(self.is_own)(span))?;
        let rest = &self.rest[first..];
        let len = rest.iter().position(&self.is_own).unwrap_or(rest.len());
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

    /// The lines of one speaker after the other, and its voice.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Lines<'t>, Voice)> {
        let talk = self.talk;
        let one = move |span: &'t Span| {
            let spans = std::slice::from_ref(span);
            (Lines { talk, spans }, span.voice)
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

    fn say(talk: &mut Talk, speaker: usize, text: &str) {
        let bytes = talk.say(speaker, Voice::Quiet, |line| {
            line.extend_from_slice(text.as_bytes());
        });
        assert_eq!(bytes, text.len());
    }

    fn heard(talk: &Talk, place: Place, listener: usize, has_spoken: bool) -> Vec<String> {
        let pieces = talk.since(place, listener, has_spoken);
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
            talk.say(1, voice, |line| line.extend_from_slice(text.as_bytes()));
        }
        let lines = talk
            .since(Place::default(), 9, false)
            .next()
            .expect("lines");
        assert!(lines.may_be_loud());
        let spans: Vec<_> = lines
            .spans()
            .map(|(span, voice)| (span.count(), voice))
            .collect();
        assert_eq!(spans, [(1, Voice::Quiet), (2, Voice::Loud)]);
    }
}
