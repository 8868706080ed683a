//! Many who come and go at once, and big rooms: notices are gathered, and never quadratic.

use super::*;

/// How often it is told that somebody `joined`, or `left`, by name.
fn names_told(text: &str, what: &str) -> usize {
    let suffix = format!(" {what}");
    let lines = text.lines().filter(|line| line.ends_with(&suffix));
    lines.filter(|line| line.starts_with("* guest")).count()
}

fn guests(rig: &mut Rig, numbers: std::ops::Range<usize>) -> Vec<Wire> {
    numbers.map(|n| rig.join(&format!("guest{n}"))).collect()
}

#[test]
fn above_fifty_a_second_they_are_gathered_into_one_line() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    rig.advance(2 * SECOND);
    let guests = guests(&mut rig, 0..60);
    let told = alice.received();
    assert_eq!(names_told(&told, "joined"), 50);
    assert_eq!(told.lines().count(), 50);
    for guest in &guests[..7] {
        guest.hang_up();
    }
    rig.settle();
    assert_eq!(alice.received(), "", "not before the second is over");
    rig.advance(SECOND);
    assert_eq!(alice.received(), "* 10 joined, 7 left\r\n");
    rig.advance(MINUTE);
    assert_eq!(alice.received(), "");
}

#[test]
fn who_quits_or_is_kicked_counts_like_who_leaves() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    rig.advance(2 * SECOND);
    for n in 0..60 {
        let guest = rig.join(&format!("guest{n}"));
        guest.say("/quit I was here");
        rig.settle();
    }
    let told = alice.received();
    assert_eq!(told.lines().count(), 50, "{told}");
    rig.advance(SECOND);
    assert_eq!(alice.received(), "* 35 joined, 35 left\r\n");
}

#[test]
fn a_room_of_more_than_so_many_is_told_of_nobody() {
    let mut rig = room_with(|config| config.hosting.quiet_above_members = 3);
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    let carol = rig.join("carol");
    assert_eq!(alice.received(), "* carol joined\r\n");
    let dave = rig.join("dave");
    assert_eq!(alice.received(), "", "there are four now");
    bob.say("/nick rob");
    carol.say("/quit");
    rig.settle();
    assert_eq!(
        alice.received(),
        "* carol left\r\n",
        "now there are three again"
    );
    dave.hang_up();
    rig.settle();
    assert_eq!(alice.received(), "* dave left\r\n");
}

/// Ten thousand joins with a notice each would be fifty million lines.
#[test]
fn notices_are_not_quadratic() {
    let mut rig = room_with(|config| config.hosting.quiet_above_members = usize::MAX);
    let watcher = rig.join("watcher");
    rig.advance(2 * SECOND);
    let guests = guests(&mut rig, 0..2000);
    rig.advance(SECOND);
    for guest in &guests {
        guest.hang_up();
    }
    rig.settle();
    rig.advance(2 * SECOND);
    let told = watcher.received();
    let joined = names_told(&told, "joined");
    assert_eq!((joined, names_told(&told, "left")), (50, 0));
    assert!(told.ends_with("* 1950 joined\r\n* 2000 left\r\n"), "{told}");
    let deliveries = rig.metrics().deliveries;
    assert!(
        deliveries < 52 * 2001,
        "{deliveries} for 4000 who came and went"
    );
}
