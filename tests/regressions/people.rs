//! What people at a prompt see of each other.

use crate::support::child::Server;
use crate::{lines_until_now, person};

const SECRET: &str = "meet me at noon";

/// How often a member renames itself. The fault took 64 times.
const RENAMES: usize = 200;

/// Bob leaves, and bobby stays. Dave sends `renames`. What alice then tells bob must not reach
/// bobby: "bob" is still remembered as the name of somebody who left, so it does not stand for the
/// one member whose name begins with it.
#[track_caller]
fn expect_that_bob_is_remembered(renames: &str) {
    let server = Server::start(&["-q", "--interactive"]);
    let [mut alice, mut bob, mut bobby, mut dave] =
        ["alice", "bob", "bobby", "dave"].map(|nick| person(&server, nick));
    bob.say("/quit");
    while bob.line_as_sent().is_some() {}
    dave.send(renames.as_bytes());
    lines_until_now(&mut dave);
    lines_until_now(&mut alice);
    alice.say(&format!("/msg bob {SECRET}"));
    let answer = lines_until_now(&mut alice);
    let mut received = lines_until_now(&mut bobby);
    received.retain(|line| line.contains(SECRET));
    assert_eq!(received, [""; 0], "what was for bob reached bobby");
    let is_refusal = |line: &String| line.starts_with("* ") && !line.contains(SECRET);
    assert!(
        !answer.is_empty() && answer.iter().all(is_refusal),
        "alice is told that bob is not there: {answer:?}"
    );
}

// A rename to the same nick is no rename: it takes no place among the names that are remembered.
#[test]
fn a_rename_to_the_same_nick_does_not_displace_the_names_of_those_who_left() {
    expect_that_bob_is_remembered(&"/nick dave\r\n".repeat(RENAMES));
}

// One member cannot displace what others need remembered, whatever names it takes.
#[test]
fn one_member_that_renames_itself_does_not_displace_the_names_of_those_who_left() {
    let renames: String = (0..RENAMES).map(|n| format!("/nick dave{n}\r\n")).collect();
    expect_that_bob_is_remembered(&renames);
    expect_that_bob_is_remembered(&"/nick david\r\n/nick dave\r\n".repeat(RENAMES / 2));
}

// A rename to the same nick is no rename: nobody else is told of it.
#[test]
fn a_rename_to_the_same_nick_is_told_to_nobody_else() {
    let server = Server::start(&["-q", "--interactive"]);
    let [mut alice, mut dave] = ["alice", "dave"].map(|nick| person(&server, nick));
    lines_until_now(&mut alice);
    dave.say("/nick dave");
    lines_until_now(&mut dave);
    assert_eq!(lines_until_now(&mut alice), [""; 0]);
    dave.say("/nick david");
    lines_until_now(&mut dave);
    let told = lines_until_now(&mut alice);
    assert!(told.len() == 1 && told[0].contains("david"), "{told:?}");
}

// What an ignored member says is hidden, not that it is gone: its leaving is shown, its words are
// not.
#[test]
fn an_ignored_member_that_quits_with_words_is_shown_to_leave_without_them() {
    let server = Server::start(&["-q", "--interactive"]);
    let [mut alice, mut bob, mut carol] =
        ["alice", "bob", "carol"].map(|nick| person(&server, nick));
    alice.say("/ignore bob");
    lines_until_now(&mut alice);
    lines_until_now(&mut carol);
    bob.say(&format!("/quit {SECRET}"));
    while bob.line_as_sent().is_some() {}
    assert_eq!(
        lines_until_now(&mut carol),
        [format!("* bob left: {SECRET}")],
        "carol ignores nobody"
    );
    assert_eq!(lines_until_now(&mut alice), ["* bob left"]);
}
