//! People who type: [`Typists`] say numbered lines, a few at a time each, and read what the others say.
//! None of them ever says so much that it is a loud speaker, so all of them together can fill a queue
//! whose owner does not read, to its limit. [`Tally`] is what a reader makes of it.

use crate::support::server::{Client, HaltedServer};

/// How many lines each says before the next one is at it.
const LINES: usize = 20;

/// Who says less is quiet whatever the time is.
const QUIET_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Typists {
    clients: Vec<Client>,
    /// How many lines they have said, all together; each line is its number.
    pub(crate) said: usize,
    /// How much each has said at most, in bytes as the others see it.
    said_each: usize,
}

impl Typists {
    #[track_caller]
    pub(crate) fn join(server: &mut HaltedServer, count: usize) -> Self {
        let clients = (0..count).map(|n| server.join(&format!("typist{n}")));
        Self {
            clients: clients.collect(),
            said: 0,
            said_each: 0,
        }
    }

    /// Each says a few lines, which are in all queues, or left out, when this returns.
    #[track_caller]
    pub(crate) fn type_round(&mut self, server: &mut HaltedServer) {
        for typist in 0..self.clients.len() {
            let lines: String = (self.said..self.said + LINES)
                .map(|number| format!("{number:0200}\r\n"))
                .collect();
            self.clients[typist].send(lines);
            server.turn_until_heard(&mut self.clients[typist]);
            self.said += LINES;
            for client in &mut self.clients {
                client.read_what_is_there();
                client.take_received();
            }
        }
        self.said_each += LINES * (200 + "typist99: \r\n".len());
        assert!(self.said_each < QUIET_BYTES, "they have become loud");
    }
}

/// What a reader has seen of the numbered lines: each is the next one, unless a notice says that lines
/// were skipped.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Lines that were seen, and lines that were skipped.
    pub(crate) seen: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    /// Takes in whole lines.
    #[track_caller]
    pub(crate) fn read(&mut self, received: &[u8]) {
        let received = std::str::from_utf8(received).expect("UTF-8");
        for line in received.split_inclusive("\r\n") {
            let line = line.strip_suffix("\r\n").expect("a whole line");
            match line.strip_prefix("* ") {
                Some(notice) => self.skipped += skipped(notice),
                None => {
                    assert_eq!(number(line), self.total(), "{line}");
                    self.seen += 1;
                }
            }
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.seen + self.skipped
    }
}

#[track_caller]
pub(crate) fn skipped(notice: &str) -> usize {
    let count = notice.strip_suffix(" lines skipped");
    let count = count.and_then(|count| count.parse().ok());
    count.unwrap_or_else(|| panic!("another notice: {notice}"))
}

#[track_caller]
fn number(line: &str) -> usize {
    let text = line.split_once(": ").map(|(_, text)| text);
    let number = text.filter(|text| text.len() == 200);
    let number = number.and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("a torn line: {line:?}"))
}
