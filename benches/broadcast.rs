//! Deliveries a second by the real server on loopback, beside those by the floor and by two chats
//! on tokio under the same load, and the ratios between them.
//!
//! One iteration is a volley: so many lines are said at once, and all of them are received and
//! compared with what was said. Criterion has its say about each server on its own; the table at
//! the end comes from rounds in which all take turns, and is what to look at.
//!
//! `cargo bench --bench broadcast`, or with a row's name: `-- '1 -> 100'`; `-- --quick` for a look.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a bench stops at the first surprise"
)]

mod util;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};

use util::contest::{Contestant, Cost, alternate, price, ratio};
use util::crowd::Scene;
use util::dialect::Dialect;
use util::figures::Table;
use util::tokio_chat::Writes;

const SERVERS: [Dialect; 4] = [
    Dialect::LineChat,
    Dialect::Floor,
    Dialect::Tokio(Writes::EachLine),
    Dialect::Tokio(Writes::AllAtOnce),
];

const LINES_IN_FLIGHT: [usize; 4] = [1, 16, 64, 256];

const SCENES: [(&str, Scene); 4] = [
    ("1 -> 10", one_to(10)),
    ("1 -> 100", one_to(100)),
    ("1 -> 1000", one_to(1000)),
    (
        "100 x 100",
        Scene {
            speakers: 100,
            listeners: 0,
        },
    ),
];

const fn one_to(listeners: usize) -> Scene {
    Scene {
        speakers: 1,
        listeners,
    }
}

fn main() {
    util::begin();
    let mut criterion = Criterion::default().configure_from_args();
    let mut table = Table::new(&[
        "room",
        "lines in flight",
        "CPU, ns a delivery",
        "CPU / floor's",
        "tokio's CPU / ours, unbatched",
        "batched",
        "wall / floor's",
        "tokio's wall / ours, unbatched",
        "batched",
    ]);
    for (name, scene) in SCENES {
        broadcast(&mut criterion, name, scene, &mut table);
    }
    criterion.final_summary();
    println!(
        "\nRatios of line-chat's cost to the others', median (quartiles) of alternating rounds:"
    );
    println!("\n{table}");
}

/// Measures one room. Its servers are started when the first of its rows is asked for.
fn broadcast(criterion: &mut Criterion, name: &str, scene: Scene, table: &mut Table) {
    let mut contestants = Vec::new();
    for lines in LINES_IN_FLIGHT {
        let mut group = criterion.benchmark_group(format!("{name}, {lines} in flight"));
        configure(&mut group, lines * scene.receivers());
        let mut is_wanted = false;
        for (index, dialect) in SERVERS.into_iter().enumerate() {
            group.bench_function(dialect.name(), |b| {
                is_wanted = true;
                start(&mut contestants, scene);
                b.iter_custom(|volleys| time(&mut contestants[index], volleys, lines));
            });
        }
        group.finish();
        if is_wanted {
            let rounds = if util::is_quick() { 3 } else { 11 };
            let costs = alternate(&mut contestants, rounds, lines, Duration::from_millis(25));
            report(table, name, lines, &costs);
        }
    }
}

fn configure(group: &mut BenchmarkGroup<'_, WallTime>, deliveries: usize) {
    group
        .throughput(Throughput::Elements(deliveries as u64))
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
}

fn start(contestants: &mut Vec<Contestant>, scene: Scene) {
    if contestants.is_empty() {
        contestants.extend(SERVERS.map(|dialect| Contestant::start(dialect, scene)));
    }
}

fn time(contestant: &mut Contestant, volleys: u64, lines: usize) -> Duration {
    let start = Instant::now();
    for _ in 0..volleys {
        contestant.crowd.volley(lines);
    }
    start.elapsed()
}

fn report(table: &mut Table, name: &str, lines: usize, costs: &[Vec<Cost>]) {
    let cpu = |cost: &Cost| cost.cpu;
    let wall = |cost: &Cost| cost.wall;
    table.row([
        name.to_owned(),
        lines.to_string(),
        price(costs, 0, cpu).to_string(),
        ratio(costs, (0, 1), cpu).to_string(),
        ratio(costs, (2, 0), cpu).to_string(),
        ratio(costs, (3, 0), cpu).to_string(),
        ratio(costs, (0, 1), wall).to_string(),
        ratio(costs, (2, 0), wall).to_string(),
        ratio(costs, (3, 0), wall).to_string(),
    ]);
}
