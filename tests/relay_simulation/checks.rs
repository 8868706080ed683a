//! What has to hold, read off what clients have read. One client of each server, its witness, is there as long as that
//! server and reads all: the witnesses are compared with each other, and everybody else with the witness of its server.

use std::collections::{BTreeMap, BTreeSet};

use line_chat::{Profile, RelayState};

use crate::client::{Client, Kind, LineId, Read};
use crate::nats::SECOND;
use crate::world::{Fate, World};

/// What a witness has read.
#[derive(Debug, Default)]
struct Journal {
    /// The lines that came by the log, in their order.
    heard: Vec<LineId>,
    /// Those that were read on the server of their speakers while it was cut off.
    alone: BTreeSet<LineId>,
    /// How many lines it was told to be lost.
    lost: u64,
    /// What was alone in each split that has ended, and how many of those lines nobody else has heard, as it was told.
    splits: Vec<(Vec<LineId>, u64)>,
    /// It was told that it was too slow, so counts cannot be checked.
    has_skipped: bool,
}

/// After some quiet time: all are up and know who is there.
pub(crate) fn check_members(world: &World) {
    let states = world.states();
    assert!(!states.is_empty(), "a server lives");
    for (node, state) in states {
        assert_eq!(state, RelayState::Up, "of server {node}");
    }
    let present = world.present();
    let connected = world.clients.iter().filter(|it| it.is_member());
    let mut connected: Vec<&str> = connected.map(|it| it.nick.as_str()).collect();
    connected.sort_unstable();
    assert_eq!(connected, Vec::from_iter(present), "a nick has one holder");
    for (node, server) in world.nodes.iter().enumerate() {
        if let Some(server) = &server.server {
            assert_eq!(server.members(), connected, "as server {node} knows them");
        }
    }
}

/// What is said now is read by all in one order, and private words arrive where they have to, and nowhere else.
pub(crate) fn check_words(world: &mut World) {
    let speakers = world.clients.iter().filter(|it| it.is_member());
    let speakers: Vec<usize> = speakers.map(|it| it.id).collect();
    let marks: BTreeMap<usize, usize> = speakers
        .iter()
        .map(|&id| (id, world.clients[id].read.len()))
        .collect();
    let said = speakers
        .iter()
        .map(|&id| world.clients[id].say(5, false, &mut world.said));
    let said: BTreeSet<LineId> = said.collect();
    let mut whispers = Vec::new();
    for &from in &speakers {
        for &to in &speakers {
            let are_people = [from, to].map(|id| world.clients[id].profile == Profile::Interactive);
            if from != to && are_people == [true; 2] {
                let nick = world.clients[to].nick.clone();
                whispers.push((
                    from,
                    to,
                    world.clients[from].whisper(&nick, &mut world.said),
                ));
            }
        }
    }
    world.run_until(world.now + 8 * SECOND);
    let mut orders: Vec<(usize, Vec<LineId>)> = Vec::new();
    for &id in &speakers {
        let read = &world.clients[id].read[marks[&id]..];
        let read = read.iter().map(|it| match it {
            Read::Line(id) => *id,
            other => panic!("client {id} reads {other:?} at the end"),
        });
        let read: Vec<LineId> = read.collect();
        let expected: BTreeSet<LineId> = said.iter().filter(|it| it.0 != id).copied().collect();
        let found: BTreeSet<LineId> = read.iter().copied().collect();
        assert_eq!(found, expected, "of client {id}, at the end");
        orders.push((id, read));
    }
    for pair in orders.windows(2) {
        let [(a, first), (b, second)] = pair else {
            continue;
        };
        let of_both = |read: &[LineId]| {
            let read = read.iter().filter(|it| it.0 != *a && it.0 != *b);
            read.copied().collect::<Vec<_>>()
        };
        assert_eq!(
            of_both(first),
            of_both(second),
            "of clients {a} and {b}, at the end"
        );
    }
    for (from, to, number) in whispers {
        assert!(
            world.clients[to].words.contains(&number),
            "client {to} reads what {from} tells it"
        );
        assert!(
            world.clients[from].told.contains(&number),
            "client {from} is told that it has arrived at {to}"
        );
    }
}

/// The nick of somebody who has left, or whose server was killed, is whoever's wants it.
pub(crate) fn check_free_nicks(world: &mut World) {
    let present = world.present();
    let names = world.clients.iter().flat_map(|it| it.names.iter());
    let free = names.filter(|it| !it.contains('~') && !present.contains(it.as_str()));
    // The nicks of witnesses and slow readers are those of their servers.
    let free = free.filter(|it| !it.starts_with(['w', 's']));
    let free: BTreeSet<String> = free.cloned().collect();
    let alive = world.alive();
    let nodes = alive.iter().cycle();
    let kind = (Kind::Talker, Profile::Interactive);
    let clients = free.iter().zip(nodes);
    let clients: Vec<usize> = clients
        .map(|(nick, &node)| world.connect(node, kind, nick))
        .collect();
    world.run_until(world.now + 8 * SECOND);
    for id in clients {
        let client = &world.clients[id];
        assert!(
            client.is_member(),
            "{} is free on server {}",
            client.nick,
            client.server
        );
    }
}

/// What everybody has read.
pub(crate) fn check_journals(world: &World) {
    for client in &world.clients {
        check_speakers(world, client);
    }
    let journals: Vec<Journal> = world
        .nodes
        .iter()
        .enumerate()
        .map(|(node, it)| journal(world, node, it.witness))
        .collect();
    for client in &world.clients {
        check_beside_witness(world, client);
    }
    check_private(world);
    // Whoever has missed entries may hear a line later than others do, and is not told how many are lost of a server that
    // has ended meanwhile.
    if world.fate != Fate::Whole {
        return;
    }
    for a in 0..journals.len() {
        for b in 0..journals.len() {
            if a != b {
                check_pair(world, &journals, a, b);
            }
        }
        check_unheard(world, &journals, a);
    }
}

/// No line comes twice, and those of one speaker in its order and under a nick of its own.
fn check_speakers(world: &World, client: &Client) {
    let mut last: BTreeMap<usize, u64> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for (line, nick) in client.shown() {
        assert!(
            all.insert(*line),
            "client {} reads {line:?} twice",
            client.id
        );
        let before = last.insert(line.0, line.1).unwrap_or(0);
        assert!(
            before < line.1 || world.is_broken,
            "client {} reads {line:?} behind {before}",
            client.id
        );
        let names = &world.clients[line.0].names;
        let is_own = |name: &String| {
            nick.strip_prefix(name.as_str())
                .is_some_and(|it| it.is_empty() || it.starts_with('~'))
        };
        assert!(
            names.iter().any(is_own),
            "client {} reads {line:?} of {nick}",
            client.id
        );
    }
}

/// Reads the journal of a witness, and checks what it was told was missed.
fn journal(world: &World, node: usize, witness: usize) -> Journal {
    let mut journal = Journal::default();
    let is_here = |line: &LineId| world.clients[line.0].server == node;
    let mut split: Option<Vec<LineId>> = None;
    let mut missed = 0;
    for read in &world.clients[witness].read {
        match *read {
            Read::Line(line) if split.is_some() && is_here(&line) => {
                journal.alone.insert(line);
                split.get_or_insert_default().push(line);
            }
            Read::Line(line) => {
                missed += 1;
                journal.heard.push(line);
            }
            Read::CutOff => {
                // What told that it is back may have been skipped.
                let was_cut_off = split.replace(Vec::new()).is_some();
                assert!(
                    !was_cut_off || journal.has_skipped,
                    "server {node} is cut off twice"
                );
                missed = 0;
            }
            Read::Back(count) => {
                let split = split.take();
                assert!(
                    count == missed || journal.has_skipped,
                    "{count} lines were said elsewhere, not {missed}, on server {node}"
                );
                journal.splits.push((split.unwrap_or_default(), 0));
            }
            Read::Unheard(count) => journal.splits.last_mut().expect("a split").1 = count,
            Read::Lost(count) => journal.lost += count,
            Read::Skipped(count) => {
                journal.has_skipped = true;
                journal.lost += count;
            }
        }
    }
    journal
}

/// Two servers have heard the same, in the same order.
fn check_pair(world: &World, journals: &[Journal], a: usize, b: usize) {
    let (first, second) = (&journals[a], &journals[b]);
    let is_alive = |node: usize| world.nodes[node].server.is_some();
    if !world.nodes[b].is_from_start || !is_alive(b) {
        return;
    }
    let of_both = |heard: &[LineId]| {
        let is_alone = |it: &LineId| first.alone.contains(it) || second.alone.contains(it);
        heard
            .iter()
            .filter(|it| !is_alone(it))
            .copied()
            .collect::<Vec<LineId>>()
    };
    let (short, long) = (of_both(&first.heard), of_both(&second.heard));
    if first.lost + second.lost > 0 {
        return check_lost(&short, &long, (b, second.lost));
    }
    if !world.nodes[a].is_from_start && short.is_empty() {
        return;
    }
    // A server that came later has the end of what the other one has; one that was killed, the beginning.
    let from = match (world.nodes[a].is_from_start, short.first()) {
        (true, _) | (false, None) => Some(0),
        (false, Some(begins)) => long.iter().position(|it| it == begins),
    };
    let from = from.unwrap_or_else(|| {
        panic!(
            "server {b} never hears {:?}, as server {a} does",
            short.first()
        )
    });
    let to = if is_alive(a) {
        long.len()
    } else {
        long.len().min(from + short.len())
    };
    check_same(&short, &long[from..to], a, b);
}

fn check_same(short: &[LineId], long: &[LineId], a: usize, b: usize) {
    let differ = short.iter().zip(long).position(|(a, b)| a != b);
    let at = differ.unwrap_or(short.len().min(long.len()));
    let around = |lines: &[LineId]| lines[at.saturating_sub(3)..lines.len().min(at + 5)].to_vec();
    assert!(
        differ.is_none() && short.len() == long.len(),
        "servers {a} and {b} differ at {at} of {} and {}: {:?} and {:?}",
        short.len(),
        long.len(),
        around(short),
        around(long)
    );
}

/// What one of two has lost it was told of; the rest is in one order. Lost lines of a server that has ended, or has gone on
/// under another id, cannot be counted: nothing comes of it that would tell how many there were.
fn check_lost(first: &[LineId], second: &[LineId], (b, lost): (usize, u64)) {
    let [of_a, of_b] = [first, second].map(|it| it.iter().copied().collect::<BTreeSet<LineId>>());
    let both = |lines: &[LineId]| {
        let lines = lines
            .iter()
            .filter(|it| of_a.contains(it) && of_b.contains(it));
        lines.copied().collect::<Vec<_>>()
    };
    assert_eq!(
        both(first),
        both(second),
        "what server {b} and another one have heard"
    );
    let missing = of_a.difference(&of_b).count();
    assert!(
        missing == 0 || lost > 0,
        "server {b} was told of no loss, and misses {missing} lines"
    );
}

/// How many lines nobody else has heard is what was told.
fn check_unheard(world: &World, journals: &[Journal], node: usize) {
    let others = world.nodes.iter().zip(journals).enumerate();
    let others = others.filter(|(other, (it, journal))| {
        *other != node && it.is_from_start && it.server.is_some() && journal.lost == 0
    });
    let Some((_, (_, other))) = others.into_iter().next() else {
        return;
    };
    let heard: BTreeSet<&LineId> = other.heard.iter().collect();
    if journals[node].has_skipped {
        return;
    }
    for (alone, told) in &journals[node].splits {
        let unheard = alone.iter().filter(|it| !heard.contains(it)).count() as u64;
        assert_eq!(*told, unheard, "of {} lines, on server {node}", alone.len());
    }
}

/// Whoever reads all has read what the witness of its server has, from when it came to when it went; a slow reader was told
/// how much it skipped.
fn check_beside_witness(world: &World, client: &Client) {
    let witness = &world.clients[world.nodes[client.server].witness];
    let (Some(came), false) = (client.came, client.kind == Kind::Witness) else {
        return;
    };
    if skips(&witness.read) || client.kind == Kind::Talker && skips(&client.read) {
        return;
    }
    let all = witness.read.len();
    let went = client.went.unwrap_or((all, all));
    let is_others = |read: &Read| matches!(read, Read::Line(id) if id.0 != client.id);
    let lines = |from: usize, to: usize| {
        let part = witness.read.get(from..to).unwrap_or_default();
        part.iter()
            .copied()
            .filter(is_others)
            .collect::<Vec<Read>>()
    };
    let read: Vec<Read> = client.lines().map(Read::Line).collect();
    if client.kind == Kind::Slow {
        return check_slow(client, &read, &lines(came.0, went.1), client.went.is_none());
    }
    // Its first line may have been said in the moment in which it came, before or after.
    let most = lines(came.0, went.1);
    let least = lines(came.1, went.0.max(came.1));
    let earlier = most.len() - lines(came.1, went.1).len();
    let is_it = (0..=earlier).any(|from| {
        let rest = &most[from..];
        rest.starts_with(&read) && read.len() + from >= earlier + least.len().min(rest.len())
    });
    assert!(
        is_it,
        "client {} of server {} reads {} lines, and the witness {} to {}: {:?} of {:?}",
        client.id,
        client.server,
        read.len(),
        least.len(),
        most.len(),
        first_difference(&read, &most),
        (came, went),
    );
}

/// Whether lines were left out. What comes at once by the log, as when a gap is filled, may be more than a queue takes.
fn skips(read: &[Read]) -> bool {
    read.iter().any(|it| matches!(it, Read::Skipped(_)))
}

fn check_slow(client: &Client, read: &[Read], due: &[Read], is_there: bool) {
    let mut rest = due.iter();
    let is_part = read.iter().all(|it| rest.any(|due| due == it));
    assert!(
        is_part,
        "the slow client {} reads lines in another order",
        client.id
    );
    let skipped = client.read.iter().map(|it| match it {
        Read::Skipped(count) => *count,
        _ => 0,
    });
    let told = skipped.sum::<u64>() + read.len() as u64;
    assert!(
        !is_there || told == due.len() as u64,
        "the slow client {} reads {} lines, is told of {told} with those, and {} were said",
        client.id,
        read.len(),
        due.len()
    );
}

fn first_difference(read: &[Read], due: &[Read]) -> (usize, Option<Read>, Option<Read>) {
    let same = read.iter().zip(due).take_while(|(a, b)| a == b).count();
    (same, read.get(same).copied(), due.get(same).copied())
}

/// What has arrived, as was told, somebody has read.
fn check_private(world: &World) {
    let read: BTreeSet<usize> = world
        .clients
        .iter()
        .flat_map(|it| it.words.iter().copied())
        .collect();
    for client in &world.clients {
        for number in &client.told {
            let (_, to) = &world.said.words[*number];
            // Whoever has left meanwhile cannot tell.
            let is_gone = |it: &Client| it.went.is_some() && it.names.contains(to);
            let may_be = world.clients.iter().any(is_gone);
            assert!(
                read.contains(number) || may_be,
                "client {} is told that words for {to} have arrived",
                client.id
            );
        }
    }
}
