//! The last lines, for who comes late.

use super::*;

#[test]
fn who_joins_is_shown_the_last_lines_with_their_age() {
    let mut rig = room_with(|config| config.interactive.history_lines = Some(2));
    let [alice] = people(&mut rig, ["alice"]);
    alice.say("one");
    alice.say("two");
    rig.settle();
    rig.advance(5 * MINUTE);
    alice.say("/me waves");
    rig.settle();
    rig.advance(3 * SECOND);
    let bob = rig.connect();
    bob.received();
    let expected = "* 5 min ago, alice: two\r\n\
        * 3 s ago, ** alice waves\r\n\
        * welcome, bob. /help lists the commands. 1 other here: alice\r\n";
    expect_answer(&mut rig, &bob, "bob", expected);
    let last = "* 3 s ago, ** alice waves\r\n";
    expect_answer(&mut rig, &bob, "/last 1", last);
}

// The first name that is not ASCII found no lines that were kept before it.
#[test]
fn the_lines_of_a_name_are_found_by_one_that_is_alike() {
    let mut rig = room();
    let [_alice, carl] = people(&mut rig, ["alice", "Carl"]);
    carl.say("hi");
    carl.say("/quit");
    rig.settle();
    let [bob] = people(&mut rig, ["bob"]);
    expect_answer(
        &mut rig,
        &bob,
        "/last 2 c\u{430}rl",
        "* 0 s ago, Carl: hi\r\n",
    );
}

#[test]
fn twenty_lines_are_kept_for_people_and_none_for_scripts() {
    for (is_interactive, kept) in [(true, 20), (false, 0)] {
        let mut rig = Rig::new(|config| config.interactive.enabled = is_interactive);
        let alice = rig.join("alice");
        for n in 0..30 {
            alice.say(&n.to_string());
        }
        rig.settle();
        let bob = rig.join("bob");
        assert_eq!(bob.received().matches("s ago, alice: ").count(), kept);
    }
}

#[test]
fn scripts_can_have_a_history_and_nothing_else_changes_for_them() {
    let mut rig = Rig::new(|config| config.interactive.history_lines = Some(2));
    let alice = rig.join("alice");
    for line in ["one", "/help", "three"] {
        alice.say(line);
    }
    rig.settle();
    let bob = rig.connect();
    assert_eq!(bob.received(), "");
    expect_answer(
        &mut rig,
        &bob,
        "bob",
        "* 0 s ago, alice: /help\r\n* 0 s ago, alice: three\r\n",
    );
    assert_eq!(alice.received(), "");
    let script = rig.connect_plainly();
    expect_answer(&mut rig, &script, "script", "");
}

#[test]
fn who_is_ignored_is_not_in_the_last_lines_either() {
    let mut rig = room();
    let [alice, bob, eve] = people(&mut rig, ["alice", "bob", "eve"]);
    bob.say("one");
    rig.settle();
    eve.say("two");
    alice.say("/ignore eve");
    rig.settle();
    alice.received();
    expect_answer(&mut rig, &alice, "/last", "* 0 s ago, bob: one\r\n");
    // Its lines do not push others out.
    expect_answer(&mut rig, &alice, "/last 1", "* 0 s ago, bob: one\r\n");
}

#[test]
fn more_lines_are_kept_than_are_shown_and_can_be_searched() {
    let mut rig = room_with(|config| {
        config.interactive.history_lines = Some(1);
        config.interactive.history_kept_lines = Some(4);
    });
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    for line in ["lost", "Tea?", "yes, tea"] {
        alice.say(line);
        rig.settle();
    }
    bob.say("/nick rob");
    bob.say("\u{c9}t\u{e9}, tea");
    rig.settle();
    alice.say("now");
    rig.settle();
    let carol = rig.connect();
    carol.received();
    let joined = "* 0 s ago, alice: now\r\n\
        * welcome, carol. /help lists the commands. 2 others here: alice, rob\r\n";
    expect_answer(&mut rig, &carol, "carol", joined);
    let of_alice = "* 0 s ago, alice: yes, tea\r\n* 0 s ago, alice: now\r\n";
    let tea = "* 0 s ago, alice: Tea?\r\n* 0 s ago, alice: yes, tea\r\n";
    let of_rob = "* 0 s ago, rob: \u{c9}t\u{e9}, tea\r\n";
    for (line, answer) in [
        ("/last 2 alice", of_alice),
        ("/last 2 ALI", of_alice),
        ("/last rob", of_rob),
        ("/find TEA", &[tea, of_rob].concat()),
        ("/find \u{e9}T\u{c9}", of_rob),
        (
            "/find lost",
            "* no line that is kept has \"lost\" in it\r\n",
        ),
        ("/last dora", "* nothing is kept that \"dora\" has said\r\n"),
        (
            "/find",
            "* write /find TEXT: shows the last lines that have TEXT in them\r\n",
        ),
    ] {
        expect_answer(&mut rig, &carol, line, answer);
    }
}

#[test]
fn what_was_told_to_one_person_is_not_kept() {
    let mut rig = room();
    let [alice, _bob] = people(&mut rig, ["alice", "bob"]);
    alice.say("/msg bob a secret");
    rig.settle();
    alice.received();
    let none = "* there is nothing to show\r\n";
    expect_answer(&mut rig, &alice, "/last", none);
}

#[test]
fn the_last_lines_are_limited_in_bytes_as_well() {
    let mut rig = room_with(|config| config.interactive.history_lines = Some(1_000_000));
    let alice = rig.join("alice");
    let line = "x".repeat(4000);
    for _ in 0..1000 {
        alice.say(&line);
        rig.settle();
    }
    let bob = rig.join("bob");
    let shown = bob.received();
    assert_eq!(
        shown.matches(" ago, alice: xxx").count(),
        16,
        "16 times 4039 bytes are kept"
    );
    assert!(shown.len() < 66 << 10, "{}", shown.len());
}

/// 64 of them at once took 28 ms of a turn.
#[test]
fn a_search_through_all_that_is_kept_counts_as_many_commands() {
    let mut rig = room_with(|config| config.limits.max_pending_bytes = 1 << 20);
    let [talker] = people(&mut rig, ["talker"]);
    for _ in 0..200 {
        talker.say(&"x".repeat(380));
        rig.settle();
    }
    let seekers: Vec<Wire> = (0..8).map(|n| rig.join(&format!("seeker{n}"))).collect();
    for seeker in &seekers {
        seeker.received();
        seeker.say(&["/find zzz"; 8].join("\r\n"));
    }
    let mut answers = vec![String::new(); seekers.len()];
    let found = "* no line that is kept has \"zzz\" in it\r\n".repeat(8);
    let mut turns = 0;
    while answers.iter().any(|answer| *answer != found) {
        rig.turn();
        turns += 1;
        assert!(turns < 100, "they are answered: {answers:?}");
        for (answer, seeker) in answers.iter_mut().zip(&seekers) {
            *answer += &seeker.received();
        }
    }
    // Each searches 64 KiB and counts as 16 commands, of which a turn runs 64, and one more may begin.
    assert!(turns >= 64 / 5, "{turns} turns");
}
