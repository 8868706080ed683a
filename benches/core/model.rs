//! A model of the rows of this bench: what each member must receive, byte by byte.

use std::mem;

/// FNV-1a: the same for the same bytes, however they were divided into writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    pub(crate) fn with(self, bytes: &[u8]) -> Self {
        let step = |sum: u64, &byte: &u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.iter().fold(self.0, step))
    }
}

/// A member that is given lines and takes them later.
#[derive(Debug)]
pub(crate) struct Reader {
    max_pending_bytes: usize,
    queue: Vec<u8>,
    skipped: usize,
    /// How the notice of skipped lines ends.
    why: &'static str,
    received: Checksum,
}

impl Reader {
    pub(crate) fn new(max_pending_bytes: usize, why: &'static str) -> Self {
        Self {
            max_pending_bytes,
            queue: Vec::new(),
            skipped: 0,
            why,
            received: Checksum::default(),
        }
    }

    /// A line is for this member. From the first one that does not fit, all are skipped.
    pub(crate) fn hear(&mut self, line: &str) {
        if self.skipped > 0 || self.queue.len() + line.len() > self.max_pending_bytes {
            self.skipped += 1;
        } else {
            self.queue.extend_from_slice(line.as_bytes());
        }
    }

    /// The member takes all that is queued, then learns what it missed. Returns how many lines that
    /// are.
    pub(crate) fn take(&mut self) -> usize {
        let skipped = mem::take(&mut self.skipped);
        if skipped > 0 {
            let notice = format!("* {skipped} lines skipped{}\r\n", self.why);
            self.queue.extend_from_slice(notice.as_bytes());
        }
        self.received = self.received.with(&self.queue);
        self.queue.clear();
        skipped
    }

    pub(crate) fn received(&self) -> Checksum {
        self.received
    }
}
