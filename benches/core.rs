//! The cost of the core in memory: a room on streams that take all bytes at once, with no socket,
//! no system call and no second thread. What is left is decoding, the broadcast and the queues.
//!
//! `cargo bench --bench core` takes some seconds, or with a part of a name: `-- '64 lines'`. It ends
//! with a table of lines and deliveries a second. `cargo test --bench core` runs each row for two
//! rounds and compares what each member receives with a model.
//!
//! Times depend on the machine; instruction counts do not. `benches/instructions` prints them: it
//! runs this executable under callgrind as `core count ROW ROUNDS`. `benches/calls` counts the calls
//! between the library's own functions in the same way.
//!
//! Beware of times above 2 KiB a copy: with some processors and versions of glibc the time of a
//! `memcpy` depends on where both buffers lie in their pages (on Zen 3 with glibc 2.36, 4 KiB take
//! 90 ns or 2500). `GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=100000000` switches that off.
#![allow(clippy::expect_used, reason = "a bench stops at the first surprise")]

#[path = "core/model.rs"]
mod model;
#[path = "core/room.rs"]
mod room;

use std::env;
use std::fmt;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};

use model::Reader;
use room::{Client, Profile, Room};

const MEMBERS: [usize; 4] = [1, 10, 100, 1000];
const LINES_PER_TURN: [usize; 4] = [1, 16, 64, 256];

/// 63 bytes on the wire, so that 256 lines fit in one read of 16 KiB.
const INPUT: &str = "the quick brown fox jumps over the lazy dog, and then the cat\r\n";

/// What the others receive.
const LINE: &str = "n0: the quick brown fox jumps over the lazy dog, and then the cat\r\n";

/// A load on a room of `members` members and a speaker.
#[derive(Debug, Clone, Copy)]
struct Row {
    profile: Profile,
    load: Load,
    members: usize,
}

#[derive(Debug, Clone, Copy)]
enum Load {
    /// The speaker says this many lines in each turn, and the members take them at once.
    Lines(usize),
    /// The speaker says this many lines in each turn, and the members take nothing until their
    /// queues have overflowed. Then they take everything, and are told how many lines were skipped.
    BlockedReaders(usize),
    /// The speaker leaves, and joins again.
    LeaveAndJoin,
}

impl Row {
    fn all() -> Vec<Self> {
        let mut loads = Vec::from(LINES_PER_TURN.map(Load::Lines));
        loads.extend(LINES_PER_TURN.map(Load::BlockedReaders));
        loads.push(Load::LeaveAndJoin);
        let mut rows = Vec::new();
        for profile in [Profile::Plain, Profile::Interactive] {
            for &load in &loads {
                rows.extend(MEMBERS.map(|members| Self {
                    profile,
                    load,
                    members,
                }));
            }
        }
        rows
    }

    /// The limit of each queue, if it is not the default: a number of whole lines, so that the last
    /// one fits exactly. A turn fills at most a quarter of a queue.
    fn max_pending_bytes(self) -> Option<usize> {
        let Load::BlockedReaders(lines) = self.load else {
            return None;
        };
        let min_lines = self.profile.min_pending_bytes().div_ceil(LINE.len());
        Some(LINE.len() * min_lines.max(4 * lines + 64))
    }

    /// In how many turns of a round the speaker says something: where readers block, half as many
    /// again as fill their queues.
    fn speaking_turns(self) -> usize {
        match (self.load, self.max_pending_bytes()) {
            (Load::BlockedReaders(lines), Some(bytes)) => bytes * 3 / 2 / (lines * LINE.len()) + 1,
            _ => 1,
        }
    }

    /// How many lines are said in a round, or how often the speaker joins.
    fn lines(self) -> usize {
        match self.load {
            Load::Lines(lines) | Load::BlockedReaders(lines) => lines * self.speaking_turns(),
            Load::LeaveAndJoin => 1,
        }
    }

    /// How many lines are delivered or skipped in a round, or how often the speaker joins.
    fn deliveries(self) -> usize {
        match self.load {
            Load::Lines(_) | Load::BlockedReaders(_) => self.lines() * self.members,
            Load::LeaveAndJoin => 1,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile = match self.profile {
            Profile::Plain => "plain",
            Profile::Interactive => "interactive",
        };
        match self.load {
            Load::Lines(1) => write!(f, "{profile}: 1 line")?,
            Load::Lines(lines) => write!(f, "{profile}: {lines} lines")?,
            Load::BlockedReaders(1) => write!(f, "{profile}, blocked: 1 line")?,
            Load::BlockedReaders(lines) => write!(f, "{profile}, blocked: {lines} lines")?,
            Load::LeaveAndJoin => write!(f, "{profile}: leave and join")?,
        }
        write!(f, " to {}", self.members)
    }
}

/// A room under load.
struct Scene {
    row: Row,
    room: Room,
    speaker: Client,
    members: Vec<Client>,
    /// What the speaker says in one turn.
    input: &'static [u8],
    /// What each member must receive, where that is checked.
    model: Option<Reader>,
}

impl Scene {
    fn new(row: Row, is_checked: bool) -> Self {
        let mut room = Room::new(row.profile, row.max_pending_bytes());
        let speaker = room.connect();
        room.send(&speaker, b"n0\r\n");
        let members: Vec<Client> = (1..=row.members).map(|n| join(&mut room, n)).collect();
        // Those who joined in one second are announced together in the next one.
        room.turn();
        room.turn();
        let input = match row.load {
            Load::Lines(lines) | Load::BlockedReaders(lines) => INPUT.repeat(lines),
            Load::LeaveAndJoin => String::new(),
        };
        let model = is_checked.then(|| {
            members.iter().for_each(Client::start_checksum);
            let why = match row.profile {
                Profile::Interactive => ": your connection was too slow",
                Profile::Plain => "",
            };
            Reader::new(row.max_pending_bytes().unwrap_or(usize::MAX), why)
        });
        let mut scene = Self {
            row,
            room,
            speaker,
            members,
            input: input.leak().as_bytes(),
            model,
        };
        scene.round();
        scene
    }

    fn round(&mut self) {
        match self.row.load {
            Load::Lines(lines) => self.speak(lines),
            Load::BlockedReaders(lines) => {
                for member in &self.members {
                    self.room.block(member);
                }
                for _ in 0..self.row.speaking_turns() {
                    self.speak(lines);
                }
                for member in &self.members {
                    self.room.unblock(member);
                }
                self.room.turn();
            }
            Load::LeaveAndJoin => self.leave_and_join(),
        }
        if let Some(model) = &mut self.model {
            let skipped = model.take();
            let blocks = matches!(self.row.load, Load::BlockedReaders(_));
            assert_eq!(skipped > 0, blocks, "{skipped} lines skipped");
        }
    }

    fn speak(&mut self, lines: usize) {
        self.room.send(&self.speaker, self.input);
        self.room.turn();
        if let Some(model) = &mut self.model {
            (0..lines).for_each(|_| model.hear(LINE));
        }
    }

    fn leave_and_join(&mut self) {
        self.room.send(&self.speaker, b"");
        self.room.turn();
        self.speaker = self.room.connect();
        self.room.send(&self.speaker, b"n0\r\n");
        self.room.turn();
        if let Some(model) = &mut self.model
            && self.row.profile == Profile::Interactive
        {
            model.hear("* n0 left\r\n");
            model.hear("* n0 joined\r\n");
        }
    }

    fn check(&self) {
        assert_eq!(self.room.members(), self.members.len() + 1, "{}", self.row);
        let Some(model) = &self.model else {
            return;
        };
        for (n, member) in self.members.iter().enumerate() {
            let (received, expected) = (member.checksum(), Some(model.received()));
            assert_eq!(received, expected, "{}: member {n}", self.row);
        }
    }
}

fn join(room: &mut Room, n: usize) -> Client {
    let client = room.connect();
    room.send(&client, format!("n{n}\r\n").leak().as_bytes());
    client
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let has = |flag| args.iter().any(|arg| arg == flag);
    match &args[..] {
        [mode, row, rounds] if mode == "count" => count(row, rounds),
        _ => measure(has("--test") || !has("--bench")),
    }
}

/// Runs one row for a number of rounds, for a tool that counts what is executed. Prints how many
/// deliveries a round has.
fn count(row: &str, rounds: &str) {
    let rows = Row::all();
    let row = rows.into_iter().find(|it| it.to_string() == row);
    let row = row.expect("the name of a row");
    let rounds: usize = rounds.parse().expect("a number of rounds");
    let mut scene = Scene::new(row, false);
    (0..rounds).for_each(|_| scene.round());
    scene.check();
    println!("{}", row.deliveries());
}

fn measure(is_test: bool) {
    let criterion = Criterion::default()
        .without_plots()
        .sample_size(10)
        .nresamples(1001)
        .warm_up_time(Duration::from_millis(20))
        .measurement_time(Duration::from_millis(100));
    let mut criterion = criterion.configure_from_args();
    let mut table = String::new();
    for row in Row::all() {
        if let Some(rounds) = measure_row(&mut criterion, row, is_test) {
            let (lines, deliveries) = (row.lines() as f64, row.deliveries() as f64);
            table += &format!(
                "| {row} | {:.0} | {:.0} |\n",
                rounds * lines,
                rounds * deliveries
            );
        }
    }
    criterion.final_summary();
    if !is_test {
        println!("\n| row | lines a second | deliveries a second |\n|---|---|---|\n{table}");
    }
}

/// Returns the rounds a second, or `None` for a row that was not asked for.
fn measure_row(criterion: &mut Criterion, row: Row, is_test: bool) -> Option<f64> {
    let mut scene = None;
    let (mut all_rounds, mut all_time) = (0, Duration::ZERO);
    let mut group = criterion.benchmark_group("core");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(row.deliveries() as u64));
    group.bench_function(row.to_string(), |b| {
        let scene = scene.get_or_insert_with(|| Scene::new(row, is_test));
        b.iter_custom(|rounds| {
            let start = Instant::now();
            (0..rounds).for_each(|_| scene.round());
            let time = start.elapsed();
            all_rounds += rounds;
            all_time += time;
            time
        });
    });
    group.finish();
    scene?.check();
    Some(all_rounds as f64 / all_time.as_secs_f64())
}
