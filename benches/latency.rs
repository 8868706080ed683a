//! The time that a line takes to its receivers, in an idle room and in a loud one, for people that speak
//! when they want to and not when the server is ready.
//!
//! The load is open: a line is due at a fixed rate, and its latency counts from the time when it
//! was due to the time when a receiver has read it. So a server that stalls is charged for every
//! line that would have been said meanwhile, and there is no coordinated omission. The load never
//! sleeps, because the clock of a timer is coarser than what is measured.
//!
//! In the loud room one member has stopped reading, and another keeps 100 lines in flight.
//!
//! `cargo bench --bench latency`, or with a word: `-- loud`; `-- --quick` for a look. It prints a
//! table and draws a chart under `target`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a bench stops at the first surprise"
)]

mod util;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use util::chart;
use util::crowd::{self, Crowd, Scene};
use util::dialect::Dialect;
use util::figures::Table;
use util::server::Server;
use util::tokio_chat::Writes;

const SERVERS: [Dialect; 4] = [
    Dialect::LineChat,
    Dialect::Floor,
    Dialect::Tokio(Writes::EachLine),
    Dialect::Tokio(Writes::AllAtOnce),
];

/// The members that receive the measured lines.
const MEMBERS: [usize; 4] = [1, 10, 100, 1000];

/// How many lines are due in a second, by the number of members: what keeps even a server that
/// needs a system call for each delivery mostly idle.
const DELIVERIES_A_SECOND: usize = 20_000;
const MOST_LINES_A_SECOND: usize = 1000;

/// How many lines the flooding member keeps in flight.
const FLOOD: u64 = 100;

/// How many lines more may be kept in the script than are in flight.
const LINES_KEPT: u64 = 10_000;

/// The speakers.
const MEASURED: usize = 0;
const FLOODER: usize = 1;

/// How long the last lines of a run may take.
const DEADLINE: Duration = Duration::from_secs(20);

const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

/// A room that is measured.
#[derive(Debug, Clone, Copy)]
struct Room {
    members: usize,
    is_loud: bool,
}

/// Latencies in nanoseconds, of each of the servers.
type Latencies = [Histogram<u64>; SERVERS.len()];

fn main() {
    util::begin();
    let rooms = [false, true].into_iter().flat_map(|is_loud| {
        let room = move |members| Room { members, is_loud };
        MEMBERS.into_iter().map(room)
    });
    let rooms: Vec<Room> = rooms.filter(|room| util::is_wanted(&room.name())).collect();
    let results: Vec<Latencies> = rooms.iter().map(|room| room.measure()).collect();
    println!("\nlatency in microseconds, from when a line was due\n");
    println!("{}", table(&rooms, &results));
    let chart = Path::new(env!("CARGO_TARGET_TMPDIR")).join("latency.svg");
    chart::draw(&chart, &panels(&rooms, &results)).expect("the chart can be written");
    println!("chart: {}", chart.display());
}

impl Room {
    fn name(self) -> String {
        let kind = if self.is_loud { "loud" } else { "idle" };
        let plural = if self.members == 1 { "" } else { "s" };
        format!("{kind}, {} member{plural}", self.members)
    }

    fn lines_a_second(self) -> usize {
        (DELIVERIES_A_SECOND / self.members).min(MOST_LINES_A_SECOND)
    }

    /// Rounds in which the servers take turns, each with a new server.
    fn measure(self) -> Latencies {
        let (rounds, seconds) = if util::is_quick() { (1, 0.3) } else { (3, 1.0) };
        let mut latencies = SERVERS.map(|_| nothing_yet());
        for round in 1..=rounds {
            for (dialect, latencies) in SERVERS.into_iter().zip(&mut latencies) {
                progress(&format!(
                    "{}, round {round} of {rounds}, {}",
                    self.name(),
                    dialect.name()
                ));
                self.measure_one(dialect, seconds, latencies);
            }
        }
        latencies
    }

    fn measure_one(self, dialect: Dialect, seconds: f64, latencies: &mut Histogram<u64>) {
        let server = Server::start(dialect, self.members);
        let scene = Scene {
            speakers: if self.is_loud { 2 } else { 1 },
            listeners: self.members,
        };
        let _stalled = self
            .is_loud
            .then(|| crowd::join_and_stall(&server.addr, dialect));
        let crowd = Crowd::join(&server.addr, dialect, scene);
        let lines = (self.lines_a_second() as f64 * seconds).ceil() as u64;
        let interval = Duration::from_secs(1) / self.lines_a_second() as u32;
        Run::new(crowd, scene, interval).measure(lines, latencies);
    }
}

/// One server under the open load.
struct Run {
    crowd: Crowd,
    receivers: u64,
    is_loud: bool,
    /// When the first line is due, and the time from one to the next.
    start: Instant,
    interval: Duration,
    /// Lines that each speaker said before the start.
    said_before: Vec<u64>,
    /// How often a line of each speaker was received.
    heard: Vec<u64>,
    /// How many of the flooder's lines are no longer in the script.
    forgotten: u64,
}

impl Run {
    fn new(crowd: Crowd, scene: Scene, interval: Duration) -> Self {
        Self {
            receivers: scene.receivers() as u64,
            is_loud: scene.speakers > FLOODER,
            start: Instant::now(),
            interval,
            said_before: (0..scene.speakers).map(|one| crowd.said(one)).collect(),
            heard: vec![0; scene.speakers],
            forgotten: 0,
            crowd,
        }
    }

    /// Says `lines` lines when they are due, until everybody has received them.
    fn measure(mut self, lines: u64, latencies: &mut Histogram<u64>) {
        let end = self.start + self.interval * lines as u32;
        while self.heard[MEASURED] < lines * self.receivers {
            let now = Instant::now();
            assert!(now < end + DEADLINE, "lines are missing");
            while self.said(MEASURED) < lines && self.due(self.said(MEASURED)) <= now {
                self.crowd.say(MEASURED);
            }
            if self.is_loud {
                self.flood();
            }
            self.crowd.send();
            self.listen(latencies);
        }
    }

    fn said(&self, speaker: usize) -> u64 {
        self.crowd.said(speaker) - self.said_before[speaker]
    }

    /// When a line is to be said, counted from the start.
    fn due(&self, line: u64) -> Instant {
        self.start + self.interval * line as u32
    }

    fn flood(&mut self) {
        let heard_by_all = self.heard[FLOODER] / self.receivers;
        while self.said(FLOODER) < heard_by_all + FLOOD {
            self.crowd.say(FLOODER);
        }
        if heard_by_all > self.forgotten + LINES_KEPT {
            self.forgotten = heard_by_all;
            self.crowd.forget_heard();
        }
    }

    /// Takes what is there, without waiting.
    fn listen(&mut self, latencies: &mut Histogram<u64>) {
        let (start, interval, heard) = (self.start, self.interval, &mut self.heard);
        let first = self.said_before[MEASURED];
        self.crowd.listen(Some(Duration::ZERO), |speaker, number| {
            heard[speaker] += 1;
            if speaker == MEASURED {
                let due = start + interval * (number - first) as u32;
                latencies.saturating_record(due.elapsed().as_nanos() as u64);
            }
        });
    }
}

/// An empty histogram for whatever comes before the deadline, exact to three digits.
fn nothing_yet() -> Histogram<u64> {
    let most = 2 * DEADLINE.as_nanos() as u64;
    Histogram::new_with_bounds(1, most, 3).expect("a range")
}

/// Says on one line of the terminal what is being done; elsewhere on a line of its own.
fn progress(what: &str) {
    let mut err = io::stderr();
    let result = if err.is_terminal() {
        write!(err, "\r\x1b[K{what}")
    } else {
        writeln!(err, "{what}")
    };
    // Nobody has to see it.
    let _ = result;
}

fn table(rooms: &[Room], results: &[Latencies]) -> Table {
    let mut table = Table::new(&[
        "room", "lines/s", "server", "p50", "p90", "p99", "p99.9", "max",
    ]);
    for (room, results) in rooms.iter().zip(results) {
        for (server, latencies) in SERVERS.iter().zip(results) {
            let [p50, p90, p99, p999, max] = PERCENTILES.map(|percentile| {
                let nanoseconds = latencies.value_at_percentile(percentile);
                format!("{:.0}", nanoseconds as f64 / 1000.0)
            });
            table.row([
                room.name(),
                room.lines_a_second().to_string(),
                server.name().to_owned(),
                p50,
                p90,
                p99,
                p999,
                max,
            ]);
        }
    }
    table
}

/// What the chart is to show: one panel for each room, one curve for each server.
fn panels(rooms: &[Room], results: &[Latencies]) -> Vec<chart::Panel> {
    let curves = |latencies: &Latencies| {
        let pairs = SERVERS.iter().zip(latencies);
        pairs
            .map(|(server, latencies)| (server.name(), latencies.clone()))
            .collect()
    };
    let panel = |(room, latencies): (&Room, &Latencies)| chart::Panel {
        title: room.name(),
        curves: curves(latencies),
    };
    rooms.iter().zip(results).map(panel).collect()
}
