//! `--rate` and `--burst`: a speaker within its rate is heard at once, and one beyond it later. Nothing
//! is refused and nothing is lost, whatever is pasted.

use std::time::{Duration, Instant};

use line_chat::CloseReason;

use crate::support::rig::{Rig, Wire};
use crate::support::server::RunningServer;

const SECOND: Duration = Duration::from_secs(1);
const A_MOMENT: Duration = Duration::from_millis(1);

struct Room {
    rig: Rig,
    bob: Wire,
    carol: Wire,
}

impl Room {
    fn new(lines_per_second: f64, burst_lines: u32) -> Self {
        let mut rig = Rig::new(|config| {
            config.limits.lines_per_second = lines_per_second;
            config.limits.burst_lines = burst_lines;
        });
        let [bob, carol] = ["bob", "carol"].map(|nick| rig.join(nick));
        Self { rig, bob, carol }
    }

    /// How many lines carol hears now that she has not heard before; none is lost or out of order.
    #[track_caller]
    fn hear(&mut self, from: usize) -> usize {
        let received = self.carol.received();
        let lines = received.matches("\r\n").count();
        assert_eq!(received, heard(from..from + lines));
        lines
    }
}

fn typed(lines: std::ops::Range<usize>) -> String {
    lines.map(|n| format!("line {n}\n")).collect()
}

fn heard(lines: std::ops::Range<usize>) -> String {
    lines.map(|n| format!("bob: line {n}\r\n")).collect()
}

#[test]
fn a_burst_is_heard_at_once_and_then_a_line_in_its_time() {
    for (rate, burst) in [(2.0, 3), (1.0, 1), (0.001, 2), (1_000_000.0, 1)] {
        let mut room = Room::new(rate, burst);
        room.bob.send(typed(0..20));
        room.rig.settle();
        let mut heard = room.hear(0);
        assert_eq!(heard, burst as usize);
        let interval = SECOND.div_f64(rate);
        while heard < 20 {
            room.rig.advance(interval - interval / 100);
            assert_eq!(room.hear(heard), 0, "line {heard} at {rate} a second");
            room.rig.advance(interval / 100);
            heard += room.hear(heard);
            assert!(heard > burst as usize);
        }
    }
}

#[test]
fn what_was_not_said_can_be_said_later_but_no_more_than_a_burst_of_it() {
    let mut room = Room::new(1.0, 5);
    room.bob.send(typed(0..5));
    room.rig.settle();
    assert_eq!(room.hear(0), 5);
    room.rig.advance(2 * SECOND);
    room.bob.send(typed(5..15));
    room.rig.settle();
    assert_eq!(room.hear(5), 2);
    room.rig.advance(8 * SECOND);
    assert_eq!(room.hear(7), 8);
    room.rig.advance(1000 * SECOND);
    room.bob.send(typed(15..30));
    room.rig.settle();
    assert_eq!(room.hear(15), 5);
}

#[test]
fn a_rate_of_0_and_the_largest_burst_are_no_limit() {
    for (rate, burst) in [(0.0, 1), (0.001, u32::MAX)] {
        let mut room = Room::new(rate, burst);
        room.bob.send(typed(0..1000));
        room.rig.settle();
        assert_eq!(room.hear(0), 1000);
    }
}

#[test]
fn who_has_said_too_much_is_not_read_and_holds_up_nobody_else() {
    let mut room = Room::new(1.0, 1);
    let all = typed(0..20_000);
    room.bob.send(&all);
    room.rig.settle();
    assert_eq!(room.hear(0), 1);
    // The server has read once, and keeps what it may not say yet: TCP pushes back the rest.
    let read = all.len() - room.bob.unread();
    assert_eq!(read, 16 << 10);
    assert_eq!(room.rig.metrics().held_bytes, read - typed(0..1).len());
    room.carol.say("I am heard");
    room.rig.settle();
    assert_eq!(room.bob.received(), "carol: I am heard\r\n");
    room.rig.advance(3 * SECOND);
    assert_eq!(room.hear(1), 3);
    assert_eq!(all.len() - room.bob.unread(), read, "a read at a time");
}

#[test]
fn who_pastes_and_hangs_up_is_heard_to_its_last_line_and_then_closed() {
    let mut room = Room::new(1.0, 2);
    room.bob.send(typed(0..5));
    room.bob.hang_up();
    room.rig.settle();
    room.rig.advance(3 * SECOND - A_MOMENT);
    assert_eq!(room.hear(0), 4);
    assert_eq!(room.rig.metrics().members, 2);
    room.rig.advance(2 * A_MOMENT);
    assert_eq!(room.hear(4), 1);
    // The end is read when another line could be.
    room.rig.advance(SECOND);
    assert_eq!(room.rig.metrics().closed_for(CloseReason::HungUp), 1);
}

#[test]
fn an_empty_line_costs_nothing_and_one_that_is_too_long_as_much_as_another() {
    let mut room = Room::new(1.0, 2);
    room.bob.send("\r\n".repeat(100));
    room.bob.say(&"x".repeat(5000));
    room.bob.send(typed(0..2));
    room.rig.settle();
    assert_eq!(room.hear(0), 1);
    room.rig.advance(SECOND);
    assert_eq!(room.hear(1), 1);
}

/// A room for people, in which bob and carol are.
fn people(lines_per_second: f64, burst_lines: u32) -> Room {
    let mut rig = Rig::new(|config| {
        config.interactive.enabled = true;
        config.limits.lines_per_second = lines_per_second;
        config.limits.burst_lines = burst_lines;
    });
    let [bob, carol] = ["bob", "carol"].map(|nick| rig.join(nick));
    bob.received();
    carol.received();
    Room { rig, bob, carol }
}

#[test]
fn a_person_who_is_ahead_is_told_once_how_many_lines_wait() {
    let mut room = people(2.0, 3);
    room.bob.send(typed(0..32));
    room.rig.settle();
    assert_eq!(room.hear(0), 3);
    let told = "* 29 of your lines wait: 2 a second is the limit here\r\n";
    assert_eq!(room.bob.received(), told);
    room.bob.send(typed(32..34));
    for second in 0..15 {
        room.rig.advance(SECOND);
        assert_eq!(room.hear(3 + 2 * second), 2);
    }
    room.rig.advance(SECOND);
    room.hear(33);
    assert_eq!(room.bob.received(), "", "once");
    // Who has caught up is told the next time.
    room.rig.advance(2 * SECOND);
    room.bob.send(typed(34..39));
    room.rig.settle();
    assert_eq!(room.hear(34), 3);
    let told = "* 2 of your lines wait: 2 a second is the limit here\r\n";
    assert_eq!(room.bob.received(), told);
    // A line that waits alone is said before anybody could read of it.
    let mut room = people(2.0, 3);
    room.bob.send(typed(0..4));
    room.rig.settle();
    assert_eq!((room.hear(0), &*room.bob.received()), (3, ""));
}

#[test]
fn a_person_who_leaves_is_not_kept_by_the_lines_that_wait() {
    for (together, quit) in [
        (true, "/quit so long\r\n"),
        (false, "/q so long\r\n"),
        (false, "\x04"),
    ] {
        let mut room = people(0.5, 3);
        room.bob.send(typed(0..200));
        if !together {
            room.rig.settle();
        }
        room.bob.send(quit);
        room.rig.settle();
        let words = if quit == "\x04" { "" } else { ": so long" };
        let left = format!("* bob left{words}\r\n");
        assert_eq!(room.carol.received(), heard(0..3) + &left, "{quit:?}");
        assert!(room.bob.received().ends_with("* goodbye\r\n"));
        assert!(room.bob.has_ended());
    }
    // A script's lines are all meant.
    let mut room = Room::new(1.0, 2);
    room.bob.send(typed(0..4) + "/quit\n");
    room.rig.settle();
    assert_eq!((room.hear(0), &*room.bob.received()), (2, ""));
}

#[test]
fn the_rate_is_each_clients_own() {
    let mut room = Room::new(1.0, 1);
    let dave = room.rig.join("dave");
    room.bob.say("line 0");
    room.rig.settle();
    assert_eq!(room.hear(0), 1);
    dave.say("me too");
    room.rig.settle();
    assert_eq!(room.carol.received(), "dave: me too\r\n");
}

#[test]
fn a_pasted_screenful_is_heard_at_once_and_what_follows_later_and_whole() {
    // A line in 20 ms: the 5 lines beyond the burst cannot all be heard before 100 ms have passed.
    let server = RunningServer::start_with(|config| config.limits.lines_per_second = 50.0);
    let [mut bob, mut carol] = ["bob", "carol"].map(|nick| server.join(nick));
    let begin = Instant::now();
    bob.send(typed(0..30));
    carol.expect(heard(0..30));
    assert!(begin.elapsed() >= Duration::from_millis(100));
    bob.expect_silence();
}
