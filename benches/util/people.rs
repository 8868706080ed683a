//! People in a room of a server of ours, each of whom has set something else for itself, or nothing at all; and
//! what a line to all of them costs.

use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use super::server::Server;
use super::transport::Link;

const DEADLINE: Duration = Duration::from_secs(20);

/// What they set, in turn.
const SETTINGS: [&str; 5] = [
    "/stamp +5h45m",
    "/bell name",
    "/stamp\r\n/bell name",
    "/stamp -3h\r\n/quiet",
    "/quiet\r\n/bell private",
];

pub(crate) struct People {
    server: Server,
    speaker: Person,
    listeners: Vec<Person>,
}

struct Person(BufReader<Link>);

impl People {
    /// A room of so many people and one who speaks.
    pub(crate) fn join(count: usize, has_settings: bool) -> Self {
        let server = Server::for_people();
        let enter = |n: usize| {
            let settings = SETTINGS[n % SETTINGS.len()];
            let settings = if has_settings { settings } else { "" };
            Person::enter(&server, &format!("l{n}"), settings)
        };
        let listeners = (0..count).map(enter).collect();
        let speaker = Person::enter(&server, "speaker", "");
        let mut people = Self {
            server,
            speaker,
            listeners,
        };
        // Everybody hears that the speaker has come, or is spared.
        people.say();
        people
    }

    /// What each of these lines costs the server for one person, in nanoseconds of CPU time.
    pub(crate) fn round(&mut self, lines: usize) -> f64 {
        let before = self.server.cpu.read();
        (0..lines).for_each(|_| self.say());
        let cpu = self.server.cpu.read() - before;
        cpu.as_nanos() as f64 / (lines * self.listeners.len()) as f64
    }

    /// One line, and everybody hears it.
    fn say(&mut self) {
        let line = "the quick brown fox jumps over the lazy dog, and then the cat";
        self.speaker.send(&format!("{line}\r\n"));
        for listener in &mut self.listeners {
            listener.await_end(line);
        }
    }
}

impl Person {
    fn enter(server: &Server, nick: &str, settings: &str) -> Self {
        let link = server.addr.connect(DEADLINE).expect("the server listens");
        let mut person = Self(BufReader::new(link));
        person.send(&format!("{nick}\r\n{settings}\r\n"));
        person.send_bytes(b"\xff\xf6");
        person.await_end("* yes");
        person
    }

    fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server reads");
    }

    /// Reads until a line ends with this.
    fn await_end(&mut self, end: &str) {
        let mut line = Vec::new();
        while !line.trim_ascii_end().ends_with(end.as_bytes()) {
            line.clear();
            let read = self.0.read_until(b'\n', &mut line);
            assert_ne!(read.expect("a line within the deadline"), 0);
        }
    }
}
