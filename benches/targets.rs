//! The targets of the project: CPU time of the server per delivery, as a ratio to another server under
//! the same load in the same run, as the median of alternating rounds with its quartiles. Server and
//! load have a core each where there are two.
//!
//! `cargo bench --bench targets`, or with a word of a row's name: `-- '1 line'`; `-- --quick` for
//! a look. It exits with 1 if a target is missed, except where it only runs to show that it works
//! (`cargo test --benches`). The row with Redis needs `redis-server` on PATH.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a bench stops at the first surprise"
)]

mod util;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use util::contest::{Contestant, Cost, alternate, price, ratio};
use util::cores;
use util::crowd::{self, Scene};
use util::dialect::Dialect;
use util::figures::{Quartiles, Table, percentile};
use util::floor::Kind;
use util::nuisance::{self, Nuisance};
use util::peers::Peer;
use util::people::People;
use util::server::Server;
use util::tokio_chat::Writes;
use util::transport::{Link, Transport};

/// As many as the target asks for, if both ends of two such rooms fit into the descriptors.
const MANY: usize = 10_000;

/// The loads that are compared on all transports: the scene, and how many lines are in flight.
const LOADS: [(&str, Scene, usize); 4] = [
    ("1 -> 64, one line in flight", one_to(64), 1),
    ("1 -> 64, 64 lines in flight", one_to(64), 64),
    ("100 speakers x 100 members", ALL_OF_100, 100),
    ("1 -> 1000, 16 lines in flight", one_to(1000), 16),
];

const ALL_OF_100: Scene = Scene {
    speakers: 100,
    listeners: 0,
};

/// What a delivery may cost on another transport, as a ratio to TCP, load by load.
const TRANSPORTS: [(Transport, [f64; LOADS.len()]); 2] = [
    (Transport::Unix, [0.4, 0.5, 0.85, 0.45]),
    (Transport::Tls, [1.45, 1.3, 1.55, 1.5]),
];

/// Members with TLS whose memory is measured.
const ENCRYPTED: usize = 1000;

/// What a member with TLS may take that is idle, in bytes.
const ENCRYPTED_BYTES: f64 = 9000.0;

/// Guests that are there at the same time.
const VISITS_AT_ONCE: usize = 64;

/// `--max-pending-total` of the servers whose memory is measured, in bytes.
const MEMORY_LIMIT: u64 = 16 << 20;

const DEADLINE: Duration = Duration::from_secs(20);

const OURS_TO_FLOOR: &str = "line-chat / floor";
const UNBATCHED_TO_OURS: &str = "tokio, unbatched / line-chat";
const BATCHED_TO_OURS: &str = "tokio, batched / line-chat";

const OURS_AND_FLOOR: [Dialect; 2] = [Dialect::LineChat, Dialect::Floor];

const UNBATCHED: Dialect = Dialect::Tokio(Writes::EachLine);
const BATCHED: Dialect = Dialect::Tokio(Writes::AllAtOnce);

fn main() -> ExitCode {
    util::begin();
    let mut report = Report::new();
    report.one_to_64();
    report.hundred_by_hundred();
    report.transports();
    report.handshakes();
    report.one_line_to_many();
    report.ten_to_many();
    report.connect_and_leave();
    report.beside_a_stalled_reader();
    report.with_settings();
    report.latency();
    report.typists();
    report.memory();
    println!("{}", report.table);
    match report.missed > 0 && !util::is_test() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

struct Report {
    table: Table,
    /// How many targets are missed.
    missed: usize,
    rounds: usize,
    /// How long a round is at least.
    round: Duration,
    /// Guests a round.
    visits: usize,
    /// How many lines a typist says.
    typed: usize,
}

fn cpu(cost: &Cost) -> f64 {
    cost.cpu
}

/// How many receivers the largest room has.
fn many() -> usize {
    let for_two = cores::descriptor_limit().saturating_sub(100) / 2;
    MANY.min(for_two)
}

impl Report {
    fn new() -> Self {
        let quick = util::is_quick();
        Self {
            missed: 0,
            table: Table::new(&["load", "ratio", "target", "measured", "met"]),
            rounds: if quick { 3 } else { 75 },
            round: Duration::from_millis(20),
            visits: if quick { 256 } else { 640 },
            typed: if quick { 40 } else { 400 },
        }
    }

    fn at_most(&mut self, load: &str, ratio: &str, most: f64, measured: Quartiles) {
        let met = measured.median <= most;
        self.row(load, ratio, format!("at most {most:.2}"), measured, met);
    }

    fn at_least(&mut self, load: &str, ratio: &str, least: f64, measured: Quartiles) {
        let met = measured.median >= least;
        self.row(load, ratio, format!("at least {least:.1}"), measured, met);
    }

    fn row(
        &mut self,
        load: &str,
        ratio: &str,
        target: String,
        measured: impl std::fmt::Display,
        met: bool,
    ) {
        self.missed += usize::from(!met);
        let met = if met { "yes" } else { "NO" };
        eprintln!("{load}: {ratio} {measured}");
        self.table.row([
            load.into(),
            ratio.into(),
            target,
            measured.to_string(),
            met.into(),
        ]);
    }

    // The loads.

    fn one_to_64(&mut self) {
        let scene = one_to(64);
        let name = "1 -> 64, one line in flight";
        if util::is_wanted(name) {
            let costs = self.contest(&mut start(&OURS_AND_FLOOR, scene), 1);
            self.at_most(name, OURS_TO_FLOOR, 1.10, ratio(&costs, (0, 1), cpu));
        }
        let name = "1 -> 64, 64 lines in flight";
        if util::is_wanted(name) {
            let dialects = [Dialect::LineChat, Dialect::Floor, UNBATCHED, BATCHED];
            let costs = self.contest(&mut start(&dialects, scene), 64);
            self.at_most(name, OURS_TO_FLOOR, 1.05, ratio(&costs, (0, 1), cpu));
            self.at_least(name, UNBATCHED_TO_OURS, 10.0, ratio(&costs, (2, 0), cpu));
            self.at_least(name, BATCHED_TO_OURS, 1.3, ratio(&costs, (3, 0), cpu));
        }
    }

    /// Each of them says one line, so a hundred are in flight.
    fn hundred_by_hundred(&mut self) {
        let name = "100 speakers x 100 members";
        if !util::is_wanted(name) {
            return;
        }
        let mut contestants = start(&[Dialect::LineChat, UNBATCHED, BATCHED], ALL_OF_100);
        let redis = Peer::find(Dialect::Redis);
        contestants.extend(redis.map(|redis| Contestant::enter(redis.start(), ALL_OF_100)));
        let costs = self.contest(&mut contestants, 100);
        self.at_least(name, UNBATCHED_TO_OURS, 20.0, ratio(&costs, (1, 0), cpu));
        self.at_least(name, BATCHED_TO_OURS, 1.3, ratio(&costs, (2, 0), cpu));
        if contestants.len() > 3 {
            self.at_least(name, "redis / line-chat", 1.3, ratio(&costs, (3, 0), cpu));
        }
    }

    /// What a delivery costs on other transports beside TCP.
    fn transports(&mut self) {
        for (at, (load, scene, lines)) in LOADS.into_iter().enumerate() {
            let ratio_of =
                |transport: Transport| format!("{} / {}", transport.name(), Transport::Tcp.name());
            let is_wanted = |&(it, _): &_| util::is_wanted(&format!("{load}, {}", ratio_of(it)));
            let others: Vec<_> = TRANSPORTS.into_iter().filter(is_wanted).collect();
            if others.is_empty() {
                continue;
            }
            let all = [Transport::Tcp].into_iter();
            let all = all.chain(others.iter().map(|&(transport, _)| transport));
            let mut contestants: Vec<_> = all
                .map(|transport| Contestant::start_on(transport, scene))
                .collect();
            let costs = self.contest(&mut contestants, lines);
            let tcp = price(&costs, 0, cpu).median;
            eprintln!("{load}: {tcp:.0} ns for a delivery by TCP");
            for (contestant, (transport, most)) in (1..).zip(others) {
                let measured = ratio(&costs, (contestant, 0), cpu);
                self.at_most(load, &ratio_of(transport), most[at], measured);
            }
        }
    }

    /// How many handshakes a second of CPU time holds, and what a member with TLS takes that is idle.
    fn handshakes(&mut self) {
        let name = "handshakes by TLS, ECDSA with P-256";
        if util::is_wanted(name) {
            let server = Server::with(Transport::Tls, &[]);
            let rounds = (0..self.rounds.min(10)).map(|_| handshakes(&server, self.visits));
            let measured = Quartiles::of(rounds);
            self.at_least(name, "a second of CPU time", 3000.0, measured);
        }
        let name = "an idle member with TLS";
        if util::is_wanted(name) {
            let server = Server::with(Transport::Tls, &[]);
            let join = |number| enter(&server, number);
            // The first of them find room that was there before.
            let mut members: Vec<_> = (0..ENCRYPTED / 10).map(join).collect();
            let (before, _) = server.memory().expect("it is a process");
            members.extend((ENCRYPTED / 10..).map(join).take(ENCRYPTED));
            let (after, _) = server.memory().expect("it is a process");
            drop(members);
            let bytes = Quartiles::of([(after - before) as f64 / ENCRYPTED as f64]);
            self.at_most(name, "bytes of memory", ENCRYPTED_BYTES, bytes);
        }
    }

    fn one_line_to_many(&mut self) {
        let name = format!("1 line to {} members", many());
        if util::is_wanted(&name) {
            let costs = self.contest(&mut start(&OURS_AND_FLOOR, one_to(many())), 1);
            self.at_most(&name, OURS_TO_FLOOR, 1.2, ratio(&costs, (0, 1), cpu));
        }
    }

    /// Whether a delivery in a large room costs more of our own than in a small one.
    fn ten_to_many(&mut self) {
        let name = format!("10 to {} members, 64 lines in flight", many());
        if !util::is_wanted(&name) {
            return;
        }
        let mut contestants = start(&OURS_AND_FLOOR, one_to(10));
        contestants.extend(start(&OURS_AND_FLOOR, one_to(many())));
        let costs = self.contest(&mut contestants, 64);
        let (small, large) = (ratio(&costs, (0, 1), cpu), ratio(&costs, (2, 3), cpu));
        eprintln!("{OURS_TO_FLOOR} {small} at 10, {large} at {}", many());
        let growth =
            |round: &Vec<Cost>| (round[2].cpu / round[3].cpu) / (round[0].cpu / round[1].cpu);
        let growth = Quartiles::of(costs.iter().map(growth));
        self.at_most(&name, "growth of line-chat / floor", 1.15, growth);
    }

    fn connect_and_leave(&mut self) {
        let name = "connect + nick + leave";
        if !util::is_wanted(name) {
            return;
        }
        let ours = Server::on_a_thread(Dialect::LineChat);
        let servers = [ours, Server::floor(Kind::Mute)];
        let visits = |server| visits(server, self.visits);
        let _warm_up = servers.each_ref().map(visits);
        let ratio = |_| {
            let [ours, floor] = servers.each_ref().map(visits);
            ours / floor
        };
        let ratios = Quartiles::of((0..self.rounds).map(ratio));
        self.at_most(
            name,
            "line-chat / floor's accept + read + close",
            1.2,
            ratios,
        );
    }

    /// What the deliveries to ten readers cost beside one that never reads, and without it.
    fn beside_a_stalled_reader(&mut self) {
        let name = "1 -> 10, 64 lines in flight, beside a stalled reader";
        if !util::is_wanted(name) {
            return;
        }
        let mut contestants = start(&[Dialect::LineChat; 2], one_to(10));
        let addr = &contestants[0].server.addr;
        let _stalled = crowd::join_and_stall(addr, Dialect::LineChat);
        let costs = self.contest(&mut contestants, 64);
        self.at_most(name, "with / without it", 1.1, ratio(&costs, (0, 1), cpu));
    }

    /// What a line costs that 25 people see, each of whom has set something else, and if nobody has.
    fn with_settings(&mut self) {
        let name = "1 -> 25 people, one line in flight, each with other settings";
        if !util::is_wanted(name) {
            return;
        }
        let mut rooms = [true, false].map(|has_settings| People::join(25, has_settings));
        let lines = self.visits / 8;
        let mut round = || rooms.each_mut().map(|room| room.round(lines));
        let _warm_up = round();
        let ratios = (0..self.rounds).map(|_| {
            let [with, without] = round();
            with / without
        });
        let ratios = Quartiles::of(ratios);
        self.at_most(name, "with / without them", 1.1, ratios);
    }

    /// The time of a line from one to another and nobody else. A server is compared with a floor
    /// that waits as it does, because what a wake-up costs is the machine's. Each server is alone
    /// while it is measured, because one that spins leaves its core to nobody.
    fn latency(&mut self) {
        let name = "1 -> 1, latency p50";
        if !util::is_wanted(name) {
            return;
        }
        let start: [fn() -> Server; 4] = [
            || Server::floor(Kind::Copying),
            || Server::on_a_thread(Dialect::LineChat),
            || Server::floor(Kind::Spinning),
            Server::spinning,
        ];
        let lines = self.visits;
        let rounds = 0..self.rounds;
        let medians: Vec<[f64; 4]> = rounds
            .map(|_| start.map(|start| median_latency(start(), lines)))
            .collect();
        let servers = ["floor", "line-chat", "spinning floor", "line-chat --spin"];
        for (a, server) in servers.iter().enumerate() {
            let nanoseconds = Quartiles::of(medians.iter().map(|round| round[a]));
            eprintln!("{name}, {server}: {:.1} us", nanoseconds.median / 1000.0);
        }
        let ratio =
            |a: usize, b: usize| Quartiles::of(medians.iter().map(|round| round[a] / round[b]));
        self.at_most(name, OURS_TO_FLOOR, 1.15, ratio(1, 0));
        let spinning = "line-chat --spin / floor that spins";
        self.at_most(name, spinning, 1.15, ratio(3, 2));
    }

    /// How long the lines of a typist take beside those who want all of the server, over what they take
    /// in an idle room; and how long the server's turns take meanwhile. A line waits for the rest of one
    /// turn and for a part of the next. What it waits beyond that is the machine's: it lets the server or
    /// the load stand still, which CPU time does not count.
    fn typists(&mut self) {
        let wait = |nuisance, count| {
            let server = Server::for_people();
            nuisance::waits(&server, nuisance, count, self.typed)
        };
        let is_wanted = |kind: Nuisance, count| util::is_wanted(&beside(kind, count));
        let mut rows = Vec::new();
        for kind in Nuisance::ALL {
            let counts = kind.counts().iter().copied();
            for count in counts.filter(|&count| is_wanted(kind, count)) {
                rows.push((kind, count, wait(kind, 0), wait(kind, count)));
            }
        }
        for (kind, count, idle, loud) in rows {
            let (name, most) = (beside(kind, count), kind.most_milliseconds());
            let at = |waits: &[f64]| [0.5, 0.99, 1.0].map(|part| percentile(waits, part));
            let [p50, p99, worst] = at(&loud.milliseconds);
            let turns = at(&loud.turns)
                .map(|turns| format!("{turns:.0}"))
                .join(", ");
            let more = p99 - at(&idle.milliseconds)[1];
            let measured = format!(
                "{more:.1} ({p50:.1}, {p99:.1}, {worst:.1} ms; {turns} turns; {} lost)",
                loud.lost
            );
            let met = more <= most && loud.lost == 0;
            let ratio = "p99 over idle, ms (p50, p99, worst)";
            self.row(&name, ratio, format!("at most {most:.1}"), measured, met);
            let [p50, p99, longest] = at(&loud.turn_milliseconds);
            let measured = format!("{p99:.1} ({p50:.1}, {longest:.1})");
            let ratio = "CPU time of a turn, ms, p99 (p50, longest)";
            self.row(&name, ratio, "at most 5.0".to_owned(), measured, p99 <= 5.0);
        }
    }

    /// How much memory a server holds at the worst moment over its limit of all buffers, beside clients
    /// that read nothing.
    fn memory(&mut self) {
        let limit = MEMORY_LIMIT.to_string();
        let args = ["--max-pending-total", &limit, "--interactive"];
        let line_ends = "\r\n".repeat(30_000);
        let flood = format!("{}\r\n", "x".repeat(98)).repeat(600);
        let loads = [
            (
                "1000 clients without a nick that read nothing",
                1000,
                line_ends,
                0,
            ),
            ("300 members that flood and read nothing", 300, flood, 50),
        ];
        for (name, count, input, times) in loads {
            if !util::is_wanted(name) {
                continue;
            }
            let server = Server::with(Transport::Tcp, &args);
            let (before, _) = server.memory().expect("it is a process");
            let clients =
                (0..count).map(|n| nuisance::send_without_reading(server.tcp_addr(), n, &input));
            let mut clients: Vec<_> = clients.collect();
            for _ in 0..times {
                clients.iter_mut().for_each(|client| client.send(&input));
            }
            let (_, worst) = server.memory().expect("it is a process");
            let over = worst.saturating_sub(before + MEMORY_LIMIT) as f64 / f64::from(1 << 20);
            let measured = Quartiles::of([over]);
            let name = format!("{name}, with --max-pending-total 16 MiB");
            self.at_most(
                &name,
                "MiB over the limit at the worst moment",
                8.0,
                measured,
            );
        }
    }

    fn contest(&self, contestants: &mut [Contestant], lines: usize) -> Vec<Vec<Cost>> {
        alternate(contestants, self.rounds, lines, self.round)
    }
}

fn beside(kind: Nuisance, count: usize) -> String {
    format!("a typist beside {count} x {}", kind.name())
}

const fn one_to(listeners: usize) -> Scene {
    Scene {
        speakers: 1,
        listeners,
    }
}

fn start(dialects: &[Dialect], scene: Scene) -> Vec<Contestant> {
    let start = |&dialect| Contestant::start(dialect, scene);
    dialects.iter().map(start).collect()
}

/// The median of the times from saying a line to hearing it, in nanoseconds. The next is said when
/// one is heard. As in the bench of latencies, the load never sleeps: what it takes to wake a client
/// is not the server's.
fn median_latency(server: Server, lines: usize) -> f64 {
    let mut pair = Contestant::enter(server, one_to(1));
    let mut round_trip = |_| {
        let start = Instant::now();
        pair.crowd.say(0);
        pair.crowd.send();
        let mut is_heard = false;
        while !is_heard {
            assert!(start.elapsed() < DEADLINE, "a line is missing");
            let listen = |_, _| is_heard = true;
            pair.crowd.listen(Some(Duration::ZERO), listen);
        }
        start.elapsed().as_nanos() as f64
    };
    let _warm_up = (0..lines / 4).map(&mut round_trip).count();
    Quartiles::of((0..lines).map(round_trip)).median
}

/// What `visits` clients cost a server that come, say a nick and leave, in nanoseconds of CPU time.
fn visits(server: &Server, visits: usize) -> f64 {
    let before = server.cpu.read();
    for first in (0..visits).step_by(VISITS_AT_ONCE) {
        let guests = first..visits.min(first + VISITS_AT_ONCE);
        let arrive = |guest| arrive(server, guest);
        let guests: Vec<TcpStream> = guests.map(arrive).collect();
        guests.iter().for_each(leave);
        guests.iter().for_each(expect_end);
    }
    (server.cpu.read() - before).as_nanos() as f64
}

/// Clients that come, shake hands and go. Returns how many of them a second of the server's CPU time holds.
fn handshakes(server: &Server, visits: usize) -> f64 {
    let before = server.cpu.read();
    for _ in 0..visits {
        drop(server.addr.connect(DEADLINE).expect("a handshake"));
    }
    visits as f64 / (server.cpu.read() - before).as_secs_f64()
}

/// A member that is in.
fn enter(server: &Server, number: usize) -> Link {
    let mut link = server.addr.connect(DEADLINE).expect("the server listens");
    let hello = [format!("member{number}\r\n").as_bytes(), b"\xff\xf6"].concat();
    link.write_all(&hello).expect("the server reads");
    link.read_exact(&mut [0; 7]).expect("the answer, * yes");
    link
}

fn arrive(server: &Server, guest: usize) -> TcpStream {
    let mut stream =
        TcpStream::connect_timeout(&server.tcp_addr(), DEADLINE).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let nick = format!("guest{guest}\r\n");
    stream.write_all(nick.as_bytes()).expect("the server reads");
    stream
}

fn leave(guest: &TcpStream) {
    guest.shutdown(Shutdown::Write).expect("a connection");
}

/// Waits until the server has closed as well, and has said nothing.
fn expect_end(mut guest: &TcpStream) {
    let end = guest.read(&mut [0]);
    assert_eq!(end.expect("an end within the deadline"), 0);
}
