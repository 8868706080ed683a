//! Several servers around an engine: what it costs that all of them hear the same lines in the same order, beside
//! the engine alone. The engine is `nats-server` with JetStream; without it nothing is measured.
//!
//! The three that are compared in each round have the same lines and the same engine:
//!
//! | contestant | what a line passes |
//! |---|---|
//! | NATS core | a bare client, the engine, bare clients: no order, nothing is kept |
//! | JetStream | the same clients, through the stream that line-chat uses: one order for all |
//! | line-chat | a member, its server, the engine with that stream, all servers, their members |
//!
//! Nothing is pinned, because it is more processes than cores: what is printed at the end of each part is how
//! much of the machine others took meanwhile.
//!
//! `cargo bench --bench relay`, or with a part of a row's name: `-- flood`; `-- --quick` for a look.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a bench stops at the first surprise"
)]

#[path = "relay/bare.rs"]
mod bare;
#[path = "relay/engine.rs"]
mod engine;
#[path = "relay/load.rs"]
mod load;
mod util;

use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use bare::Subjects;
use engine::{Engine, Relayed};
use load::{Heard, Load};
use util::cpu::own_time;
use util::figures::{Quartiles, Table, percentile};
use util::server::Server;
use util::{cores, launch};

/// How many servers share the room.
const SERVERS: usize = 3;

/// How often the lines of the open load are due.
const TICK: Duration = Duration::from_millis(1);

/// Members of each server of a large room, and how many speak in all of it.
const LARGE: usize = 1000;
const SPEAKERS: usize = 10;

/// How long the last lines may take.
const DEADLINE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    launch::become_what_was_asked_for();
    cores::raise_descriptor_limit();
    let Some(engine) = Engine::start() else {
        return ExitCode::SUCCESS;
    };
    let mut bench = Bench {
        engine,
        table: Table::new(&["load", "figure", "target", "measured", "met"]),
        missed: 0,
        rounds: if util::is_quick() { 2 } else { 7 },
    };
    bench.one_line();
    bench.flood();
    bench.open_loop();
    bench.engine_ends();
    bench.large_room();
    println!(
        "\nmedian (quartiles) of alternating rounds\n\n{}",
        bench.table
    );
    match bench.missed > 0 && !util::is_test() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

struct Bench {
    engine: Engine,
    table: Table,
    /// How many targets are missed.
    missed: usize,
    rounds: usize,
}

/// One that is measured.
struct Contestant {
    name: &'static str,
    load: Load,
    servers: Vec<Relayed>,
}

/// What a round took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    /// CPU time of the engine, and of all servers together.
    engine: Duration,
    servers: Duration,
    lines: u64,
}

const CORE: usize = 0;
const STREAM: usize = 1;
const CHAT: usize = 2;

/// A server without an engine: what a line takes from a member to a server and from there to another member.
const ALONE: usize = 3;

impl Bench {
    fn figure(&mut self, load: &str, figure: &str, measured: impl std::fmt::Display) {
        self.row(load, figure, "", measured, "");
    }

    fn at_most(&mut self, load: &str, figure: &str, most: f64, measured: Quartiles) {
        let target = format!("at most {most}");
        self.target(load, figure, &target, measured, measured.median <= most);
    }

    fn at_least(&mut self, load: &str, figure: &str, least: f64, measured: Quartiles) {
        let target = format!("at least {least}");
        self.target(load, figure, &target, measured, measured.median >= least);
    }

    fn target(&mut self, load: &str, figure: &str, target: &str, measured: Quartiles, met: bool) {
        self.missed += usize::from(!met);
        self.row(
            load,
            figure,
            target,
            measured,
            if met { "yes" } else { "NO" },
        );
    }

    fn row(
        &mut self,
        load: &str,
        figure: &str,
        target: &str,
        measured: impl std::fmt::Display,
        met: &str,
    ) {
        eprintln!("{load}: {figure} {measured}");
        let cells = [load, figure, target, &measured.to_string(), met];
        self.table.row(cells.map(str::to_owned));
    }

    /// NATS core, JetStream and line-chat, with `listeners` beside one speaker on each of so many servers.
    fn contestants(&self, servers: usize, room: &str, batch: [u8; 2]) -> Vec<Contestant> {
        let engine = self.engine.addr;
        let bare = |name, subjects: Subjects, lines| Contestant {
            name,
            load: Load::of_bare(engine, &subjects, servers, lines),
            servers: Vec::new(),
        };
        let mut chat = Contestant {
            name: "line-chat",
            load: Load::new(),
            servers: (0..servers).map(|_| self.engine.server(room)).collect(),
        };
        for server in &chat.servers {
            chat.load.join(server.server.tcp_addr(), 1, 1);
        }
        let [core, stream] = batch;
        vec![
            bare("NATS core", Subjects::core(), core),
            bare("JetStream", Subjects::stream(), stream),
            chat,
        ]
    }

    /// What a round of a contestant takes, in which each speaker says so many lines.
    fn cost(&self, one: &mut Contestant, act: impl FnOnce(&mut Load) -> u64) -> Cost {
        let clock = self.engine.cpu();
        let (engine, servers, start) = (clock.read(), one.cpu(), Instant::now());
        let lines = act(&mut one.load);
        let wall = start.elapsed();
        Cost {
            wall,
            engine: clock.read() - engine,
            servers: one.cpu() - servers,
            lines,
        }
    }

    // The loads.

    /// The time until the line of a member is heard, on the same server and on another one.
    fn one_line(&mut self) {
        let name = "one line in flight";
        if !util::is_wanted(name) {
            return;
        }
        let others = Others::begin(&self.engine);
        let mut contestants = self.contestants(2, "one", [1, 1]);
        let single = Server::anywhere(&[]);
        let mut alone = Load::new();
        alone.join(single.tcp_addr(), 1, 2);
        contestants.push(Contestant {
            name: "line-chat alone",
            load: alone,
            servers: Vec::new(),
        });
        let (lines, rounds) = (if util::is_quick() { 100 } else { 400 }, 2 * self.rounds);
        let mut all = [(); 4].map(|()| [micros(), micros()]);
        let mut medians: Vec<[[f64; 2]; 4]> = Vec::new();
        for round in 0..=rounds {
            let mut round_medians = [[0.0; 2]; 4];
            for (who, one) in contestants.iter_mut().enumerate() {
                let times = one_by_one(&mut one.load, lines);
                round_medians[who] = times.each_ref().map(|times| percentile(times, 0.5));
                // The first round finds cold caches.
                for (histogram, times) in all[who].iter_mut().zip(&times).filter(|_| round > 0) {
                    times
                        .iter()
                        .for_each(|&time| histogram.saturating_record(time as u64));
                }
            }
            medians.extend((round > 0).then_some(round_medians));
        }
        for (who, one) in contestants.iter().enumerate() {
            let places = if who == ALONE { &PLACES[..1] } else { &PLACES };
            for (place, histogram) in places.iter().zip(&all[who]) {
                let figure = format!("{}, heard on {place}, us (p50, p99)", one.name);
                self.figure(name, &figure, percentiles(histogram));
            }
        }
        let elsewhere = |who: usize| medians.iter().map(move |round| round[who][1]);
        let ratio = |who| Quartiles::of(elsewhere(who).zip(elsewhere(CORE)).map(|(a, b)| a / b));
        self.figure(name, "JetStream / NATS core, p50", ratio(STREAM));
        self.at_most(name, "line-chat / NATS core, p50", 2.0, ratio(CHAT));
        let own = elsewhere(CHAT).zip(elsewhere(STREAM));
        let own = own.map(|(a, b)| (a - b) / 1e3);
        let own = Quartiles::of(own);
        self.at_most(name, "line-chat - JetStream, us, p50", 30.0, own);
        let ratio = medians
            .iter()
            .map(|round| (round[CHAT][1] - round[STREAM][1]) / round[ALONE][0]);
        let figure = "(line-chat - JetStream) / a server that is alone, p50";
        self.figure(name, figure, Quartiles::of(ratio));
        others.report(name, &self.engine, servers_of(&contestants));
    }

    /// How many lines a second all can hear if each server has a member that says what it can.
    fn flood(&mut self) {
        let name = "a flood on each of 3 servers";
        if !util::is_wanted(name) {
            return;
        }
        let others = Others::begin(&self.engine);
        let mut contestants = self.contestants(SERVERS, "flood", [16, 64]);
        let lines = if util::is_quick() { 10_000 } else { 60_000 };
        let mut costs: Vec<Vec<Cost>> = Vec::new();
        let batches = |one: &Contestant| one.metric("line_chat_relay_batches_total");
        for round in 0..=self.rounds {
            let flood = |load: &mut Load| {
                load.flood(lines);
                lines * SERVERS as u64
            };
            let of_all = contestants.iter_mut().map(|one| self.cost(one, flood));
            let of_all = of_all.collect();
            if round > 0 {
                costs.push(of_all);
            }
        }
        let all_lines = contestants[CHAT].metric("line_chat_relay_lines_total");
        let in_batch = all_lines / batches(&contestants[CHAT]);
        for (who, one) in contestants.iter().enumerate() {
            let rate = Quartiles::of(costs.iter().map(|round| round[who].thousands_a_second()));
            self.figure(name, &format!("{}, 1000 lines/s", one.name), rate);
            let engine = Quartiles::of(costs.iter().map(|round| round[who].engine_per_million()));
            let figure = format!("{}, CPU s of the engine for 1 M lines", one.name);
            self.figure(name, &figure, engine);
        }
        let own = costs
            .iter()
            .map(|round| round[CHAT].servers_per_million() / SERVERS as f64);
        self.figure(
            name,
            "line-chat, CPU s of a server for 1 M lines",
            Quartiles::of(own),
        );
        self.figure(
            name,
            "line-chat, lines in a batch",
            format!("{in_batch:.1}"),
        );
        let rate = |who: usize| {
            costs
                .iter()
                .map(move |round| round[who].thousands_a_second())
        };
        let to = |who| Quartiles::of(rate(CHAT).zip(rate(who)).map(|(a, b)| a / b));
        self.at_least(name, "line-chat / JetStream, lines/s", 0.9, to(STREAM));
        self.at_least(
            name,
            "line-chat / NATS core with batches of 16, lines/s",
            0.2,
            to(CORE),
        );
        let engine = |who: usize| {
            costs
                .iter()
                .map(move |round| round[who].engine_per_million())
        };
        let engine = engine(CHAT).zip(engine(STREAM)).map(|(a, b)| a / b);
        let engine = Quartiles::of(engine);
        self.figure(name, "line-chat / JetStream, CPU of the engine", engine);
        others.report(name, &self.engine, servers_of(&contestants));
    }

    /// How long lines take that are said when they are due.
    fn open_loop(&mut self) {
        for rate in [3000, 10_000] {
            let name = format!("3 x {rate} lines/s");
            if !util::is_wanted(&name) {
                continue;
            }
            let others = Others::begin(&self.engine);
            let mut contestants = self.contestants(SERVERS, &format!("open{rate}"), [64, 64]);
            let ticks = if util::is_quick() { 200 } else { 1000 };
            let mut times = [(); 3].map(|()| micros());
            let mut costs: Vec<Vec<Cost>> = Vec::new();
            for one in &mut contestants {
                one.load.tick_every(TICK);
            }
            for _ in 0..self.rounds.div_ceil(2) {
                let both = contestants.iter_mut().zip(&mut times);
                let round = both.map(|(one, times)| {
                    self.cost(one, |load| open(load, rate / 1000, ticks, times))
                });
                costs.push(round.collect());
            }
            for (who, one) in contestants.iter().enumerate() {
                let figure = format!("{}, us from when it was due (p50, p99)", one.name);
                self.figure(&name, &figure, percentiles(&times[who]));
                let engine = costs.iter().map(|round| round[who].engine_per_million());
                let figure = format!("{}, CPU s of the engine for 1 M lines", one.name);
                self.figure(&name, &figure, Quartiles::of(engine));
            }
            let own = costs.iter().map(|round| round[CHAT].servers_per_million());
            let own = Quartiles::of(own.map(|all| all / SERVERS as f64));
            self.figure(&name, "line-chat, CPU s of a server for 1 M lines", own);
            others.report(&name, &self.engine, servers_of(&contestants));
        }
    }

    /// How soon a line is heard that was said while the engine was away, from when its port is open again.
    fn engine_ends(&mut self) {
        let name = "the engine is killed and comes back";
        if !util::is_wanted(name) {
            return;
        }
        let others = Others::begin(&self.engine);
        let mut one = self.contestants(2, "ends", [1, 1]).remove(CHAT);
        one.load.may_lose = true;
        let runs = if util::is_quick() { 2 } else { 10 };
        let splits = |one: &Contestant| one.metric("line_chat_relay_splits_total");
        let (mut times, mut lost) = (Vec::new(), 0);
        for run in 1..=runs {
            let before = splits(&one);
            let (time, missing) = self.kill_and_come_back(&mut one.load);
            let split = splits(&one) - before;
            eprintln!("{name}: {run}: {time:.0} ms, {missing} not heard, {split} splits");
            times.push(time);
            lost += missing;
        }
        let target = "ms until the first line is heard";
        self.at_most(name, target, 2100.0, Quartiles::of(times.iter().copied()));
        let worst = Quartiles::of([percentile(&times, 1.0)]);
        self.at_most(name, "ms until then, the longest", 2100.0, worst);
        self.figure(name, "splits of 2 servers, all runs", splits(&one));
        self.figure(name, "lines that were not heard everywhere, all runs", lost);
        others.report(name, &self.engine, servers_of(&[one]));
    }

    /// Returns the milliseconds, and how many deliveries never came.
    fn kill_and_come_back(&mut self, load: &mut Load) -> (f64, u64) {
        load.tick_every(Duration::from_millis(20));
        speak_until(load, |said, heard| said > 20 && heard.number + 5 > said);
        self.engine.kill();
        let (killed, first) = (Instant::now(), load.said(0));
        while killed.elapsed() < Duration::from_secs(1) {
            load.say(0);
            load.send();
            while load.listen(None, |_| ()) == 0 {}
        }
        self.engine.start_again();
        while !self.engine.is_listening() {
            thread::sleep(Duration::from_micros(500));
        }
        let open = Instant::now();
        let mut heard_after = None;
        speak_until(load, |said, heard| {
            let is_elsewhere = heard.end == ELSEWHERE && heard.number >= first;
            if is_elsewhere && heard_after.is_none() {
                heard_after = Some(open.elapsed().as_secs_f64() * 1e3);
            }
            // The round ends when the lines that are said just now are heard again.
            heard_after.is_some() && heard.end == ELSEWHERE && heard.number + 5 > said
        });
        let end = Instant::now();
        while load.owed() > 0 && end.elapsed() < Duration::from_secs(1) {
            load.listen(Some(Duration::from_millis(100)), |_| ());
        }
        let missing = load.owed();
        load.forgive();
        (heard_after.expect("it was heard"), missing)
    }

    /// What a delivery costs in a large room, beside a server that is alone with as many members.
    fn large_room(&mut self) {
        let name = "3 x 1000 members, 10 speakers";
        if !util::is_wanted(name) {
            return;
        }
        let others = Others::begin(&self.engine);
        let mut shared = Contestant {
            name: "3 servers",
            load: Load::new(),
            servers: (0..SERVERS).map(|_| self.engine.server("large")).collect(),
        };
        for (server, speakers) in shared.servers.iter().zip([4, 3, 3]) {
            let addr = server.server.tcp_addr();
            shared.load.join(addr, speakers, LARGE - speakers);
        }
        let single = Server::anywhere(&[]);
        let mut alone = Load::new();
        alone.join(single.tcp_addr(), SPEAKERS, LARGE - SPEAKERS);
        for (in_flight, most) in [(1, Some(1.1)), (SPEAKERS, None), (16 * SPEAKERS, None)] {
            let mut ratios = Vec::new();
            let mut price = Vec::new();
            for round in 0..=self.rounds {
                let least = Duration::from_millis(if util::is_quick() { 50 } else { 300 });
                let deliveries = (single.cpu.read(), volleys(&mut alone, in_flight, least));
                let alone = (single.cpu.read() - deliveries.0).as_secs_f64() / deliveries.1;
                let before = shared.cpu();
                let deliveries = volleys(&mut shared.load, in_flight, least);
                let cost = (shared.cpu() - before).as_secs_f64() / deliveries;
                if round > 0 {
                    ratios.push(cost / alone);
                    price.push(cost * 1e9);
                }
            }
            let figure = format!("{in_flight} lines in flight, CPU ns a delivery");
            self.figure(name, &figure, Quartiles::of(price));
            let figure =
                format!("{in_flight} lines in flight, CPU of a delivery / of a single server");
            match most {
                Some(most) => self.at_most(name, &figure, most, Quartiles::of(ratios)),
                None => self.figure(name, &figure, Quartiles::of(ratios)),
            }
        }
        let servers = shared.servers.iter().map(|one| &one.server);
        others.report(name, &self.engine, servers.chain([&single]));
    }
}

/// Where a line is listened for.
const PLACES: [&str; 2] = ["the same server", "another server"];

/// Which end of two servers with a listener and a speaker each is the listener of the second one.
const ELSEWHERE: usize = 2;

fn servers_of(contestants: &[Contestant]) -> impl Iterator<Item = &Server> {
    let servers = contestants.iter().flat_map(|one| &one.servers);
    servers.map(|one| &one.server)
}

impl Contestant {
    /// The CPU time of all its servers.
    fn cpu(&self) -> Duration {
        self.servers.iter().map(|one| one.server.cpu.read()).sum()
    }

    /// A metric of all its servers together.
    fn metric(&self, name: &str) -> f64 {
        self.servers.iter().map(|one| one.metric(name)).sum()
    }
}

impl Cost {
    fn thousands_a_second(self) -> f64 {
        self.lines as f64 / self.wall.as_secs_f64() / 1e3
    }

    fn engine_per_million(self) -> f64 {
        self.engine.as_secs_f64() * 1e6 / self.lines as f64
    }

    fn servers_per_million(self) -> f64 {
        self.servers.as_secs_f64() * 1e6 / self.lines as f64
    }
}

/// Says one line after the other, and returns the nanoseconds until each is heard: by a listener on the same
/// server, and by one on another. A bare client hears its own line there.
fn one_by_one(load: &mut Load, lines: u64) -> [Vec<f64>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    let is_bare = load.receivers() == 2;
    for _ in 0..lines {
        let start = Instant::now();
        load.say(0);
        load.send();
        load.finish(|heard: Heard| {
            let time = start.elapsed().as_nanos() as f64;
            match heard.end {
                0 => times[0].push(time),
                1 if is_bare => times[1].push(time),
                ELSEWHERE if !is_bare => times[1].push(time),
                _ => {}
            }
        });
    }
    times
}

/// Each speaker says `each` lines a tick. Returns how many were said, and records how long they took from
/// when they were due.
fn open(load: &mut Load, each: usize, ticks: u64, times: &mut Histogram<u64>) -> u64 {
    let before = load.said(0);
    let start = Instant::now();
    let due = |number: u64| start + TICK * ((number - before) / each as u64 + 1) as u32;
    let mut record = |heard: Heard| {
        let late = Instant::now().saturating_duration_since(due(heard.number));
        times.saturating_record(late.as_nanos() as u64);
    };
    let mut said = 0;
    while said < ticks {
        load.listen(None, &mut record);
        let mut is_new = false;
        while said < ticks && start + TICK * (said + 1) as u32 <= Instant::now() {
            for speaker in 0..SERVERS {
                for _ in 0..each {
                    load.say(speaker);
                }
            }
            (said, is_new) = (said + 1, true);
        }
        if is_new {
            load.send();
        }
        assert!(start.elapsed() < DEADLINE, "the load cannot keep up");
    }
    load.finish(&mut record);
    ticks * (each * SERVERS) as u64
}

/// Says a line each time the load's timer ticks, until it is enough by the lines said and what is heard.
fn speak_until(load: &mut Load, mut is_enough: impl FnMut(u64, Heard) -> bool) {
    let start = Instant::now();
    let mut is_done = false;
    while !is_done {
        load.say(0);
        load.send();
        let said = load.said(0);
        while load.listen(None, |heard| is_done |= is_enough(said, heard)) == 0 {}
        assert!(start.elapsed() < DEADLINE, "nothing is heard");
    }
}

/// Volleys of so many lines for so long. Returns the number of deliveries.
fn volleys(load: &mut Load, lines: usize, at_least: Duration) -> f64 {
    let (start, mut volleys) = (Instant::now(), 0);
    while start.elapsed() < at_least {
        for line in 0..lines {
            load.say((volleys * lines + line) % SPEAKERS);
        }
        load.send();
        load.finish(|_| ());
        volleys += 1;
    }
    (volleys * lines * load.receivers()) as f64
}

/// A histogram of nanoseconds.
fn micros() -> Histogram<u64> {
    let most = 2 * DEADLINE.as_nanos() as u64;
    Histogram::new_with_bounds(1, most, 3).expect("a range")
}

fn percentiles(times: &Histogram<u64>) -> String {
    let at = |part| times.value_at_percentile(part) as f64 / 1e3;
    format!("{:.0}, {:.0}", at(50.0), at(99.0))
}

/// How much of the machine others take.
struct Others {
    start: Instant,
    /// What all cores had done at the start, and what the engine and the load had a part in.
    busy: Duration,
    engine: Duration,
    load: Duration,
}

impl Others {
    fn begin(engine: &Engine) -> Self {
        Self {
            start: Instant::now(),
            busy: busy_time(),
            engine: engine.cpu().read(),
            load: own_time(),
        }
    }

    /// Says it. `servers` were started since then, and took what they have taken in all. An engine that was
    /// killed meanwhile takes its time with it.
    fn report<'s>(
        self,
        name: &str,
        engine: &Engine,
        servers: impl IntoIterator<Item = &'s Server>,
    ) {
        let wall = self.start.elapsed();
        let servers: Duration = servers.into_iter().map(|one| one.cpu.read()).sum();
        let engine = engine.cpu().read().saturating_sub(self.engine);
        let own = servers + engine + (own_time() - self.load);
        let others = (busy_time() - self.busy).saturating_sub(own);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let all = wall.as_secs_f64() * cores as f64;
        let part = |time: Duration| time.as_secs_f64() / all * 100.0;
        eprintln!(
            "{name}: took {:.0} s; of {cores} cores it had {:.0} %, others {:.0} %",
            wall.as_secs_f64(),
            part(own),
            part(others)
        );
    }
}

/// How long all cores were busy since the start of the machine (proc(5)).
fn busy_time() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let all = stat.lines().next().unwrap_or_default().split_whitespace();
    let ticks: Vec<u64> = all.skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|&at| ticks.get(at));
    Duration::from_millis(busy.sum::<u64>() * 10)
}
