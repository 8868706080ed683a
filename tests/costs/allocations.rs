//! A busy server allocates nothing: a hundred members hear a hundred thousand lines, and the memory
//! that was there at the beginning is all that it takes. Streams are fakes, so that nobody else
//! allocates; a counting allocator sees every call of this thread.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use line_chat::engine::{ClientId, Engine, Interest, Registry, Stream};
use line_chat::{Config, Profile, Service};

const MEMBERS: usize = 100;
const LINES: usize = 100_000;

/// What a stream has to read, and how much was written to it.
#[derive(Debug, Default)]
struct Wire {
    input: &'static [u8],
    taken: usize,
    has_ended: bool,
    /// The most that a write is taken of; everything, if it is 0.
    narrow: usize,
}

#[derive(Debug, Clone, Default)]
struct Fake(Rc<RefCell<Wire>>);

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        match wire.input.read(buffer)? {
            0 if !wire.has_ended => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        let n = match wire.narrow {
            0 => bytes.len(),
            most => bytes.len().min(most),
        };
        wire.taken += n;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Fake {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Deaf;

impl Registry<Fake> for Deaf {
    fn register(&mut self, _: &mut Fake, _: ClientId) -> io::Result<()> {
        Ok(())
    }

    fn reregister(&mut self, _: &mut Fake, _: ClientId, _: Interest) -> io::Result<()> {
        Ok(())
    }

    fn deregister(&mut self, _: &mut Fake) {}
}

struct Busy {
    engine: Engine<Fake>,
    members: Vec<Fake>,
    now: Instant,
}

impl Busy {
    fn new() -> Self {
        let now = Instant::now();
        let mut busy = Self {
            engine: Engine::new(Config::default(), (), now).expect("the default works"),
            members: Vec::new(),
            now,
        };
        for n in 0..MEMBERS {
            let addr = SocketAddr::from(([127, 0, 0, 1], 1));
            let member = Fake::default();
            let service = Service::default();
            busy.engine
                .accept(member.clone(), addr, service, busy.now, &mut Deaf);
            busy.members.push(member);
            busy.say(n, format!("user{n}\r\n").leak().as_bytes());
        }
        busy.turn();
        busy
    }

    fn say(&mut self, member: usize, input: &'static [u8]) {
        self.members[member].0.borrow_mut().input = input;
        self.engine.on_readable(ClientId::from_index(member), false);
    }

    fn turn(&mut self) {
        self.now += Duration::from_millis(1);
        self.engine.turn(self.now, &mut Deaf);
    }

    /// Everybody says `lines` lines in turn, each turn `at_once` members.
    fn talk(&mut self, lines: usize, at_once: usize) {
        for line in 0..lines {
            self.say(
                line % MEMBERS,
                b"the quick brown fox jumps over the lazy dog\r\n",
            );
            if line % at_once == at_once - 1 {
                self.turn();
            }
        }
    }

    /// A member takes only a part of each write, and the rest when it is told to.
    fn dawdle(&mut self, turns: usize) {
        for turn in 0..turns {
            self.members[20].0.borrow_mut().narrow = 100;
            self.talk(8, 8);
            self.members[20].0.borrow_mut().narrow = 0;
            self.engine.on_writable(ClientId::from_index(20));
            self.now += Duration::from_millis(turn as u64 % 3);
            self.turn();
        }
    }

    fn deliveries(&self) -> u64 {
        self.engine.metrics().deliveries
    }
}

#[test]
fn a_hundred_thousand_lines_to_a_hundred_members_allocate_nothing() {
    let mut busy = Busy::new();
    for at_once in [1, 10, 64] {
        busy.talk(LINES / 10, at_once);
    }
    busy.turn();
    let before = busy.deliveries();
    let counted = allocation_counter::measure(|| {
        for at_once in [1, 10, 64] {
            busy.talk(LINES / 3, at_once);
            busy.turn();
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    let deliveries = busy.deliveries() - before;
    let lines = LINES / 3 * 3;
    assert_eq!(deliveries, (lines * (MEMBERS - 1)) as u64);
}

#[test]
fn a_member_that_takes_a_part_of_each_write_costs_no_allocation() {
    let mut busy = Busy::new();
    busy.dawdle(100);
    let counted = allocation_counter::measure(|| busy.dawdle(1000));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    let taken = busy.members[20].0.borrow().taken;
    assert_eq!(
        taken,
        busy.members[21].0.borrow().taken,
        "it gets all lines"
    );
}

/// People at a prompt, each from an address of its own.
struct People {
    engine: Engine<Fake>,
    streams: Vec<Fake>,
    now: Instant,
    /// From one line to the next.
    pause: Duration,
}

impl People {
    fn new() -> Self {
        let mut config = Config::default();
        config.interactive.enabled = true;
        let now = Instant::now();
        Self {
            engine: Engine::new(config, (), now).expect("the default works"),
            streams: Vec::new(),
            now,
            pause: Duration::from_secs(1),
        }
    }

    /// Somebody joins from an address, and has the number that was free.
    fn join(&mut self, address: u16, nick: &'static str) -> usize {
        let [high, low] = address.to_be_bytes();
        let stream = Fake::default();
        let number = self.engine.clients();
        self.engine.accept(
            stream.clone(),
            SocketAddr::from(([198, 51, high, low], 1)),
            Service::Chat(Profile::Interactive),
            self.now,
            &mut Deaf,
        );
        self.streams.truncate(number);
        self.streams.push(stream);
        self.say(number, nick);
        number
    }

    fn say(&mut self, number: usize, line: &'static str) {
        self.streams[number].0.borrow_mut().input = line.as_bytes();
        self.engine.on_readable(ClientId::from_index(number), false);
        self.now += self.pause;
        self.engine.turn(self.now, &mut Deaf);
    }
}

/// A nick of 94 bytes whose key has 373.
fn long_nick(first: char) -> &'static str {
    format!("{first}{}\r\n", "\u{337f}".repeat(31)).leak()
}

/// For 352 bytes of `/ignore` the server kept 37 kB.
#[test]
fn what_a_person_ignores_takes_at_most_four_kibibytes() {
    let mut people = People::new();
    let eve = people.join(0, "eve\r\n");
    let firsts: Vec<char> = ('a'..='z').chain('0'..='9').filter(|&c| c != 'e').collect();
    for (&first, address) in firsts.iter().zip(1..) {
        people.join(address, long_nick(first));
    }
    // What the turns before needed is given back.
    (0..100).for_each(|_| people.say(eve, "/ignore nobody\r\n"));
    let typed = |command: &str| -> Vec<&'static str> {
        let lines = firsts.iter().map(|first| format!("{command} {first}\r\n"));
        lines.map(|line| &*line.leak()).collect()
    };
    let (ignore, rename) = (typed("/ignore"), typed("/nick"));
    let ignore_all = |people: &mut People| ignore.iter().for_each(|line| people.say(eve, line));
    let kept = allocation_counter::measure(|| ignore_all(&mut people)).bytes_current;
    println!("{kept} bytes for {}", ignore.concat().len());
    assert!((2 << 10..=4 << 10).contains(&kept), "{kept}");
    // The others take new names, under which they are ignored as well, and it tries them all again.
    let again = allocation_counter::measure(|| {
        for (number, line) in rename.iter().enumerate() {
            people.say(number + 1, line);
        }
        ignore_all(&mut people);
    });
    let kept = kept + again.bytes_current;
    assert!(
        kept <= 16 << 10,
        "{kept}, with the names that were given up"
    );
}

/// However long their keys are.
#[test]
fn names_that_were_given_up_take_at_most_a_mebibyte() {
    let mut people = People::new();
    people.pause = Duration::from_millis(1);
    let nicks: Vec<&str> = ('a'..='t').map(long_nick).collect();
    let kept = allocation_counter::measure(|| {
        for address in 0..300 {
            for nick in &nicks {
                let guest = people.join(address, nick);
                people.say(guest, "/quit\r\n");
                people.streams[guest].0.borrow_mut().has_ended = true;
                people.say(guest, "");
            }
        }
        // What the turns before needed is given back.
        people.pause = Duration::from_secs(1);
        let eve = people.join(999, "eve\r\n");
        (0..100).for_each(|_| people.say(eve, "/ignore nobody\r\n"));
    });
    assert_eq!(people.engine.clients(), 1);
    let kept = kept.bytes_current;
    println!("{kept} bytes");
    assert!((100 << 10..1 << 20).contains(&kept), "{kept}");
}
