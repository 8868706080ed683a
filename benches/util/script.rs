//! What was said, to compare what is received with it, byte for byte: [`Script`] keeps the lines of every
//! speaker as their receivers must get them, and an [`Ear`] knows for one receiver which line of each
//! speaker comes next.
//!
//! Lines of different speakers may arrive in any order, lines of one speaker only in their own. A line
//! that is lost, doubled, torn or changed is found at once, because the next bytes differ from the
//! script.

use super::dialect::{self, Dialect};

/// The lines that are on their way.
#[derive(Debug)]
pub(crate) struct Script {
    dialect: Dialect,
    speakers: Vec<Lines>,
}

/// The lines of one speaker.
#[derive(Debug, Default, Clone)]
struct Lines {
    /// From number `first` on, as they are received.
    heard: Vec<u8>,
    first: u64,
    /// The number of the next one.
    next: u64,
}

impl Script {
    pub(crate) fn new(dialect: Dialect, speakers: usize) -> Self {
        Self {
            dialect,
            speakers: vec![Lines::default(); speakers],
        }
    }

    /// Writes the next line of a speaker down, appends to `out` what is to be sent for it, and
    /// returns its number.
    pub(crate) fn say(&mut self, speaker: usize, out: &mut Vec<u8>) -> u64 {
        let lines = &mut self.speakers[speaker];
        let number = lines.next;
        let line = dialect::line(speaker, number);
        lines.next += 1;
        self.dialect.heard(&line, &mut lines.heard);
        self.dialect.say(&line, out);
        number
    }

    /// How many lines a speaker has said.
    pub(crate) fn said(&self, speaker: usize) -> u64 {
        self.speakers[speaker].next
    }

    /// Forgets a speaker's lines before number `before`, which everybody has received.
    pub(crate) fn forget(&mut self, speaker: usize, before: u64) {
        let lines = &mut self.speakers[speaker];
        let end = lines.place_of(before, self.dialect.heard_bytes());
        lines.heard.drain(..end);
        lines.first = before;
    }

    /// Forgets everything, when everybody has received it.
    pub(crate) fn forget_all(&mut self) {
        for lines in &mut self.speakers {
            lines.heard.clear();
            lines.first = lines.next;
        }
    }

    /// What line `number` of a speaker sounds like; nothing if it was not said.
    fn heard(&self, speaker: usize, number: u64) -> Option<&[u8]> {
        let bytes = self.dialect.heard_bytes();
        let lines = self.speakers.get(speaker)?;
        let start = lines.place_of(number, bytes);
        lines.heard.get(start..start + bytes)
    }
}

impl Lines {
    fn place_of(&self, number: u64, heard_bytes: usize) -> usize {
        usize::try_from(number - self.first).expect("a few lines") * heard_bytes
    }
}

/// What one receiver has received.
#[derive(Debug)]
pub(crate) struct Ear {
    /// The speaker whose lines it must not get: the receiver itself.
    own: Option<usize>,
    /// The number of the next line of each speaker.
    next: Box<[u64]>,
    /// The beginning of a line whose end has not come yet.
    torn: Vec<u8>,
}

impl Ear {
    pub(crate) fn new(own: Option<usize>, speakers: usize) -> Self {
        Self {
            own,
            next: vec![0; speakers].into(),
            torn: Vec::new(),
        }
    }

    /// How many lines of a speaker it has received.
    pub(crate) fn heard_of(&self, speaker: usize) -> u64 {
        self.next[speaker]
    }

    /// Takes what came, and tells `on_line` the speaker and the number of each line in it.
    ///
    /// # Panics
    /// If it is anything but what was said.
    pub(crate) fn hear(
        &mut self,
        bytes: &[u8],
        script: &Script,
        mut on_line: impl FnMut(usize, u64),
    ) {
        if self.torn.is_empty() {
            let rest = self.compare(bytes, script, &mut on_line);
            self.torn.extend_from_slice(rest);
            return;
        }
        let mut whole = std::mem::take(&mut self.torn);
        whole.extend_from_slice(bytes);
        let rest = self.compare(&whole, script, &mut on_line).len();
        whole.drain(..whole.len() - rest);
        self.torn = whole;
    }

    /// Compares all complete lines, and returns the rest.
    fn compare<'b>(
        &mut self,
        mut bytes: &'b [u8],
        script: &Script,
        on_line: &mut impl FnMut(usize, u64),
    ) -> &'b [u8] {
        loop {
            match script.dialect.noise(bytes) {
                None => return bytes,
                Some(0) => {}
                Some(noise) => {
                    bytes = &bytes[noise..];
                    continue;
                }
            }
            let Some((heard, rest)) = bytes.split_at_checked(script.dialect.heard_bytes()) else {
                return bytes;
            };
            let (speaker, number) = self.recognise(heard, script);
            on_line(speaker, number);
            bytes = rest;
        }
    }

    fn recognise(&mut self, heard: &[u8], script: &Script) -> (usize, u64) {
        let speaker = script.dialect.speaker_of(heard);
        let speaker =
            speaker.filter(|&speaker| Some(speaker) != self.own && speaker < self.next.len());
        let Some(speaker) = speaker else {
            panic!("nobody's line: {:?}", heard.escape_ascii().to_string());
        };
        let number = self.next[speaker];
        let said = script.heard(speaker, number);
        assert!(
            said == Some(heard),
            "said: {:?}, heard: {:?}",
            said.map(|said| said.escape_ascii().to_string()),
            heard.escape_ascii().to_string()
        );
        self.next[speaker] += 1;
        (speaker, number)
    }
}
