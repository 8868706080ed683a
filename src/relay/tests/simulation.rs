//! Everything that can happen to an engine and its servers, many times: links break, nobody leads the log, entries
//! come late, twice, or never; the log loses its end or is made anew; servers stand still, end, and begin. What has to
//! hold follows from what was said and what the log holds, and from nothing that a relay says of itself.
//!
//! A run follows from its seed, which a failure names: `LINE_CHAT_SEED=7 cargo test --lib relay` repeats it alone, and
//! `LINE_CHAT_SEEDS=2000` makes more runs. With both, so many runs are made from that seed on.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};

use super::engine::{Faults, MILLISECOND, SECOND};
use super::tally::Tally;
use super::world::World;
use crate::protocol::relay_batch::{Batch, Kind, NodeId};
use crate::relay::Phase;
use crate::relay::nodes::{Nodes, Told};

const SEEDS: u64 = 100;

#[test]
fn all_rooms_hear_the_same_in_the_same_order() {
    let one = from_env("LINE_CHAT_SEED");
    let many = from_env("LINE_CHAT_SEEDS");
    let count = many.unwrap_or(if one.is_some() { 1 } else { SEEDS });
    let mut tally = Tally::default();
    for seed in (one.unwrap_or(0)..).take(usize::try_from(count).expect("so many runs")) {
        match panic::catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(seen) => tally.add(&seen),
            Err(_) => panic!("LINE_CHAT_SEED={seed} fails, for the reason above"),
        }
    }
    println!("{tally:#?}");
    if count >= SEEDS {
        tally.assert_complete();
    }
}

fn from_env(name: &str) -> Option<u64> {
    let number = std::env::var(name).ok()?;
    let parsed = number.parse();
    assert!(parsed.is_ok(), "{name}={number} is no number");
    parsed.ok()
}

/// What becomes of the log in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It keeps everything.
    Whole,
    /// Its front is trimmed.
    Short,
    /// It loses its end, or is made anew.
    Broken,
}

fn run(seed: u64) -> Tally {
    let mut rng = fastrand::Rng::with_seed(seed);
    let fate = [Fate::Whole, Fate::Whole, Fate::Short, Fate::Broken][rng.usize(..4)];
    let limit = match fate {
        Fate::Short => rng.u64(20..200),
        _ => u64::MAX,
    };
    let replicas = if rng.bool() { 1 } else { 3 };
    let mut world = World::new(rng.u64(..), limit, replicas);
    world.log.faults = any_faults(&mut rng);
    for _ in 0..rng.u64(2..6) {
        let is_cut = rng.u32(..10) == 0;
        let cut = if is_cut { rng.u64(..20 * SECOND) } else { 0 };
        world.start(cut);
        world.run_for(rng.u64(..2 * SECOND));
    }
    let end = world.now + rng.u64(30 * SECOND..90 * SECOND);
    let mut trouble_at = world.now + rng.u64(..5 * SECOND);
    while world.now < end {
        talk(&mut world, &mut rng);
        if world.now >= trouble_at {
            make_trouble(&mut world, &mut rng, fate);
            trouble_at = world.now + rng.u64(..8 * SECOND);
        }
    }
    finish(&mut world, &mut rng, fate);
    std::mem::take(&mut world.tally)
}

fn any_faults(rng: &mut fastrand::Rng) -> Faults {
    let mut any = |of: &[u32]| of[rng.usize(..of.len())];
    Faults {
        drops: any(&[0, 0, 10, 200]),
        doubles: any(&[0, 20]),
        delays: any(&[0, 50, 300]),
        refusals: any(&[0, 0, 0, 100]),
        lies: any(&[0, 0, 200]),
        way: MILLISECOND * u64::from(any(&[1, 1, 20, 300])),
    }
}

fn talk(world: &mut World, rng: &mut fastrand::Rng) {
    let id = rng.usize(..world.servers.len());
    let (lines, turns) = match rng.u32(..150) {
        0 => (300, 8),
        1..5 => (1, 40),
        5..20 => (rng.u64(2..80), 1),
        _ => (1, 1),
    };
    for _ in 0..turns {
        world.speak(id, lines);
        if rng.bool() {
            world.run_for(rng.u64(..MILLISECOND));
        }
    }
    world.run_for(rng.u64(..400 * MILLISECOND));
}

fn make_trouble(world: &mut World, rng: &mut fastrand::Rng, fate: Fate) {
    let alive = world.alive();
    let id = alive[rng.usize(..alive.len())];
    let short = rng.u64(20 * MILLISECOND..1500 * MILLISECOND);
    let long = rng.u64(2 * SECOND..40 * SECOND);
    match rng.u32(..20) {
        0..5 => world.cut(id, short),
        5..7 => world.cut(id, long),
        7 => world.cut_all(2 * SECOND),
        8..10 => world.elect(rng.u64(SECOND..9 * SECOND)),
        10 => world.elect(rng.u64(9 * SECOND..20 * SECOND)),
        11 => world.stop_engine(rng.u64(..5 * SECOND)),
        12 => world.stop_server(id, long),
        13 => {
            world.stop_server(id, long);
            world.cut(id, short);
        }
        14 if alive.len() > 2 => world.kill(id),
        15 if alive.len() < 6 => {
            world.start(0);
        }
        _ if fate == Fate::Broken => break_log(world, rng),
        _ => world.log.faults = any_faults(rng),
    }
}

fn break_log(world: &mut World, rng: &mut fastrand::Rng) {
    world.is_lax |= !world.is_clean;
    world.is_clean = false;
    world.is_broken = true;
    match rng.u32(..4) {
        0 => {
            world.tally.note("a log is made anew under a standing link");
            world.log.make_anew();
            world.is_lax = true;
        }
        1 => {
            world.tally.note("a log is made anew");
            world.log.make_anew();
            world.cut_all(5 * SECOND);
        }
        _ => {
            world.tally.note("a log loses its end");
            world.log.lose_tail(rng.u64(1..20));
            world.cut_all([100 * MILLISECOND, 5 * SECOND][rng.usize(..2)]);
        }
    }
    for server in &mut world.servers {
        server.journal.is_lax = world.is_lax;
    }
}

/// Everything works again. After a while all servers are up, know each other, and hear the same.
fn finish(world: &mut World, rng: &mut fastrand::Rng, fate: Fate) {
    world.heal();
    world.run_for(90 * SECOND);
    let alive = world.alive();
    let marks: BTreeMap<_, _> = alive
        .iter()
        .map(|&id| {
            (
                id,
                (
                    world.servers[id].journal.told.len(),
                    world.servers[id].said.len(),
                ),
            )
        })
        .collect();
    for _ in 0..20 {
        let id = alive[rng.usize(..alive.len())];
        world.speak(id, rng.u64(1..5));
        world.run_for(rng.u64(..200 * MILLISECOND));
    }
    world.run_for(10 * SECOND);
    check_end(world, &marks);
    check_own(world);
    let canon = Canon::read(world);
    for id in world.alive() {
        if world.is_clean {
            check_whole(world, id, &canon);
            check_unheard(world, id, &canon);
        } else if fate == Fate::Short {
            check_lost(world, id, &canon);
        }
    }
    note_end(world);
}

/// All are up, know each other, and have heard the same since the marks: whatever was said.
fn check_end(world: &World, marks: &BTreeMap<usize, (usize, usize)>) {
    let ids = world.alive();
    let living: BTreeSet<NodeId> = ids
        .iter()
        .map(|&id| world.servers[id].relay.node())
        .collect();
    let mut first: Option<Vec<&str>> = None;
    for id in ids.iter().copied() {
        let server = &world.servers[id];
        let told = server.journal.told.iter().skip(marks[&id].0);
        let told: Vec<&str> = told.map(|told| &*told.text).collect();
        assert_eq!(server.relay.phase(), Phase::Up, "server {id}");
        assert_eq!(server.journal.known, living, "server {id} knows others");
        for said in &ids {
            for text in world.servers[*said].said.iter().skip(marks[said].1) {
                assert!(
                    told.contains(&&**text),
                    "server {id} has not heard {text}: {} {}",
                    server.journal.last_events(),
                    world.shown()
                );
            }
        }
        let first = first.get_or_insert_with(|| told.clone());
        assert_eq!(*first, told, "server {id} has another order");
    }
}

/// Who says something sees it, whatever happens, once.
fn check_own(world: &World) {
    for id in world.alive() {
        let server = &world.servers[id];
        for text in &server.said {
            assert!(
                server.journal.has_seen(text),
                "server {id} has lost its own {text}"
            );
        }
    }
}

/// What the log says to who reads all of it.
struct Canon {
    lines: Vec<(NodeId, u64, String, bool)>,
    places: BTreeMap<(NodeId, u64), usize>,
    texts: BTreeSet<String>,
}

impl Canon {
    fn read(world: &mut World) -> Self {
        let (mut nodes, mut lines) = (Nodes::default(), Vec::new());
        for (sequence, payload) in &world.log.all {
            let parked = nodes.figures().parked;
            let told = lines.len();
            nodes.on_entry(*sequence, payload, &mut |it| {
                if let Told::Line {
                    node, number, line, ..
                } = it
                {
                    let is_gone = line.kind == Kind::Gone;
                    lines.push((node, number, line.text.to_owned(), is_gone));
                }
            });
            let batch = Batch::parse(payload).expect("a batch");
            let ends_one =
                batch.header().count == 0 || batch.lines().any(|line| line.kind == Kind::Gone);
            let is_dropped = nodes.figures().parked < parked && ends_one;
            let is_told = lines.len() > told + usize::from(batch.header().count);
            world.tally.note_if(
                is_dropped && !is_told,
                "parked lines are dropped, because their server is gone",
            );
        }
        let places = lines.iter().enumerate();
        let places = places.map(|(at, line)| ((line.0, line.1), at)).collect();
        let texts = lines.iter().map(|line| line.2.clone()).collect();
        Self {
            lines,
            places,
            texts,
        }
    }
}

/// The log keeps everything: a room that began with it was told all of it, in its order.
fn check_whole(world: &World, id: usize, canon: &Canon) {
    let server = &world.servers[id];
    if server
        .relay
        .core
        .log
        .as_ref()
        .is_none_or(|log| log.read_from > 0)
    {
        return;
    }
    let mut told = server.journal.told.iter().peekable();
    for (node, number, text, is_gone) in &canon.lines {
        let is_it = told.next_if(|told| (told.node, told.number) == (*node, *number));
        let is_shown = server.ids.contains(node) && (server.journal.has_seen(text) || *is_gone);
        assert!(
            is_it.is_some() || is_shown,
            "server {id} was told {:?} instead of {text} ({node} {number})",
            told.peek()
        );
    }
    assert_eq!(
        told.next(),
        None,
        "server {id} was told what the log does not say"
    );
    assert_eq!(server.journal.lost, 0, "nothing is lost");
}

/// What was shown here only is counted as unheard if the log does not hold it.
fn check_unheard(world: &World, id: usize, canon: &Canon) {
    for (shown, unheard) in &world.servers[id].journal.splits {
        let is_unheard = |text: &&String| !canon.texts.contains(*text);
        let expected = shown.iter().filter(is_unheard).count() as u64;
        assert_eq!(*unheard, expected, "server {id} has said {shown:?}");
    }
}

/// The log was trimmed: what a room was not told is counted.
fn check_lost(world: &World, id: usize, canon: &Canon) {
    let server = &world.servers[id];
    if server.relay.figures().nodes.returned > 0 {
        // Who was taken to be gone, because what it has said meanwhile was trimmed, is a new one.
        return;
    }
    let told: BTreeSet<_> = server
        .journal
        .told
        .iter()
        .map(|told| (told.node, told.number))
        .collect();
    let is_other = |node: &NodeId| !server.ids.contains(node);
    let missing = canon
        .places
        .keys()
        .filter(|it| is_other(&it.0) && !told.contains(it));
    // What is missing at the end of a server is not known to be, nor at its beginning: that may be in doubt for as
    // many lines as can be out.
    let is_between = |it: &(NodeId, u64)| {
        let has_ended = told.range((it.0, it.1)..=(it.0, u64::MAX)).next().is_none();
        it.1 >= 16 * 64 && told.contains(&(it.0, 0)) && !has_ended
    };
    let missing: Vec<_> = missing.collect();
    let between: Vec<_> = missing.iter().filter(|it| is_between(it)).collect();
    let (least, most) = (between.len() as u64, missing.len() as u64);
    let lost = server.journal.lost;
    assert!(
        (least..=most).contains(&lost),
        "server {id}: {least} <= {lost} <= {most}: {between:?}{}",
        server.journal.last_events()
    );
}

fn note_end(world: &mut World) {
    let is_dead = world.servers.iter().any(|server| !server.is_alive);
    world.tally.note_if(is_dead, "a server that ended is gone");
    for server in &world.servers {
        let (journal, tally) = (&server.journal, &mut world.tally);
        let figures = server.relay.figures();
        tally.note_if(!journal.splits.is_empty(), "a room is split and back");
        tally.note_if(journal.lost > 0, "lines are lost");
        tally.note_if(figures.sequencer.fetches > 0, "a hole is fetched");
        tally.note_if(
            figures.other_ends > 0,
            "a log has lost its end and grown again",
        );
        for (shown, unheard) in &journal.splits {
            tally.note_if(*unheard > 0, "lines said in a split are heard by nobody");
            tally.note_if(
                *unheard < shown.len() as u64,
                "lines shown in a split are heard by others after all",
            );
        }
    }
}
