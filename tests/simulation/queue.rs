//! What is queued for a client, and what its peer has seen of that.

/// What is queued.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    bytes: Vec<u8>,
    start: usize,
}

impl Queue {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn drop_first(&mut self, count: usize) {
        self.start += count;
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }

    pub(crate) fn shorten(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }

    /// Drops all but the line or answer that may have been written in part.
    pub(crate) fn cut(&mut self) {
        let torn_answer = self.len() % 3;
        let line_end = self.as_slice().iter().position(|&byte| byte == b'\n');
        let kept = line_end.map_or(torn_answer, |end| end + 1);
        self.bytes.truncate(self.start + kept);
    }
}

/// What the peer saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Not yet a whole line or answer.
    begun: Vec<u8>,
    /// Lines, and lines that it was told it missed.
    pub(crate) lines: u64,
    pub(crate) missed: u64,
}

impl Seen {
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&next) = rest.first() {
            let is_answer = self.begun.first().unwrap_or(&next) == &255;
            let len = if is_answer {
                3 - self.begun.len()
            } else {
                let end = rest.iter().position(|&byte| byte == b'\n');
                end.map_or(usize::MAX, |end| end + 1)
            };
            if len > rest.len() {
                self.begun.extend_from_slice(rest);
                return;
            }
            let (end, later) = rest.split_at(len);
            rest = later;
            if !is_answer {
                self.see_line(end);
            }
            self.begun.clear();
        }
    }

    fn see_line(&mut self, end: &[u8]) {
        self.begun.extend_from_slice(end);
        assert!(self.begun.ends_with(b"\r\n"), "a torn line");
        let told = self.begun.strip_prefix(b"* ").and_then(|words| {
            let count = words.strip_suffix(b" lines skipped\r\n")?;
            std::str::from_utf8(count).ok()?.parse::<u64>().ok()
        });
        match told {
            Some(count) => self.missed += count,
            None => self.lines += 1,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }
}
