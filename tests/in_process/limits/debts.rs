//! What somebody has said is not forgotten with the connection: a flood in bursts, each a little less
//! than what makes a loud speaker, from connections that come and go, never pushes out what others type.

use std::time::Duration;

use crate::support::rig::{Rig, Wire};

const ROUNDS: usize = 60;
const BURST_BYTES: usize = 60_000;
const A_MOMENT: Duration = Duration::from_millis(20);

/// How a flooder comes back, all from one address.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Reconnects,
    TakesAnotherNick,
    Renames,
    TakesTurnsBetweenProfiles,
    /// The next connection is there before the last one has ended.
    Overlaps,
}

const WAYS: [Way; 5] = [
    Way::Reconnects,
    Way::TakesAnotherNick,
    Way::Renames,
    Way::TakesTurnsBetweenProfiles,
    Way::Overlaps,
];

fn room() -> Rig {
    Rig::new(|config| config.interactive.enabled = true)
}

fn join_plainly(rig: &mut Rig, nick: &str) -> Wire {
    let wire = rig.connect_plainly();
    wire.say(nick);
    rig.settle();
    wire
}

fn burst(rig: &mut Rig, way: Way, round: usize) -> Wire {
    let nick = match way {
        Way::Reconnects => "flood".to_owned(),
        _ => format!("flood{round}"),
    };
    let is_plain = way == Way::TakesTurnsBetweenProfiles && round % 2 == 1;
    let wire = match is_plain {
        true => rig.connect_plainly(),
        false => rig.connect(),
    };
    wire.say(&nick);
    let lines = format!("{}\n", "x".repeat(99)).repeat(BURST_BYTES / 200);
    wire.send(&lines);
    if way == Way::Renames {
        wire.say("/nick other");
    }
    wire.send(&lines);
    wire
}

/// A typist of the same address says a line beside each burst. Returns how many lines a reader got that
/// took nothing meanwhile.
fn typed_lines_beside(way: Way) -> usize {
    let mut rig = room();
    let sleeper = join_plainly(&mut rig, "sleeper");
    let typist = join_plainly(&mut rig, "typist");
    sleeper.stop_reading();
    let mut last = None;
    for round in 0..ROUNDS {
        let flooder = burst(&mut rig, way, round);
        typist.say(&format!("no. {round}"));
        rig.advance(A_MOMENT);
        let gone = match way {
            Way::Overlaps => last.replace(flooder),
            _ => Some(flooder),
        };
        if let Some(gone) = gone {
            gone.hang_up();
        }
        rig.settle();
    }
    sleeper.read_on();
    rig.settle();
    sleeper.received().matches("typist: no. ").count()
}

#[test]
fn bursts_of_connections_that_come_and_go_push_out_nothing_that_is_typed() {
    for way in WAYS {
        assert_eq!(typed_lines_beside(way), ROUNDS, "{way:?}");
    }
}

#[test]
fn what_an_address_has_said_is_forgotten_as_soon_as_it_could_be_read() {
    let mut rig = room();
    let sleeper = join_plainly(&mut rig, "sleeper");
    sleeper.stop_reading();
    for round in 0..ROUNDS {
        let flooder = burst(&mut rig, Way::Reconnects, round);
        rig.advance(A_MOMENT);
        flooder.hang_up();
        rig.settle();
    }
    let newcomer = join_plainly(&mut rig, "newcomer");
    newcomer.say("too early");
    rig.advance(Duration::from_secs(2));
    join_plainly(&mut rig, "other").say("in time");
    rig.settle();
    sleeper.read_on();
    rig.settle();
    let received = sleeper.received();
    assert!(!received.contains("newcomer: too early"));
    assert!(received.contains("other: in time"));
}
