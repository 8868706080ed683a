//! Scripts beside people: the bare wire of one listener stays bare, in the same room.

use super::*;

#[test]
fn a_script_beside_people_gets_what_they_say_and_nothing_else() {
    let mut rig = room_with(|config| config.interactive.history_lines = Some(5));
    let [alice] = people(&mut rig, ["alice"]);
    alice.say("before");
    rig.settle();
    let script = rig.connect_plainly();
    assert_eq!(script.received(), "", "no greeting");
    expect_answer(&mut rig, &script, "script", "");
    assert_eq!(alice.received(), "* script joined\r\n");
    let bob = rig.join("bob");
    for line in ["hi", "/who", "//slash", "/nick ann", "hi"] {
        alice.say(line);
    }
    bob.say("/quit bye");
    rig.settle();
    let said = "alice: hi\r\nalice: /slash\r\nann: hi\r\n";
    assert_eq!(script.received(), said);
    expect_answer(&mut rig, &script, "", "");
}

#[test]
fn what_somebody_does_is_a_line_to_a_script() {
    let mut rig = room_with(|config| config.prefix = "<{nick}> ".parse().expect("a prefix"));
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    let script = rig.connect_plainly();
    script.say("script");
    rig.settle();
    received([&alice, &bob]);
    alice.say("/me waves");
    bob.say("hi");
    rig.settle();
    assert_eq!(script.received(), "<alice> /me waves\r\n<bob> hi\r\n");
    assert_eq!(alice.received(), "<bob> hi\r\n");
    assert_eq!(bob.received(), "** alice waves\r\n");
}

#[test]
fn a_script_has_no_commands() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let script = rig.connect_plainly();
    script.send("script\r\n/who\r\n//x\r\n/me waves\r\n/quit\r\nstill here\r\n");
    rig.settle();
    assert_eq!(script.received(), "");
    assert_eq!(
        alice.received(),
        "* script joined\r\nscript: /who\r\nscript: //x\r\nscript: /me waves\r\nscript: /quit\r\nscript: still here\r\n"
    );
}

#[test]
fn nothing_private_can_be_told_to_a_script() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let script = rig.connect_plainly();
    script.say("script");
    rig.settle();
    alice.received();
    let refused = "* script is a script: it cannot be told anything in private\r\n";
    expect_answer(&mut rig, &alice, "/msg scr secret", refused);
    assert_eq!(script.received(), "");
}

#[test]
fn a_script_can_be_ignored() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let scripts = ["one", "two"].map(|nick| {
        let script = rig.connect_plainly();
        script.say(nick);
        rig.settle();
        script
    });
    alice.received();
    let done = "* ignoring one; /unignore one undoes it\r\n";
    expect_answer(&mut rig, &alice, "/ignore one", done);
    for script in &scripts {
        script.say("beep");
    }
    rig.settle();
    assert_eq!(alice.received(), "two: beep\r\n");
}

#[test]
fn a_room_without_people_says_nothing_of_who_comes_and_goes() {
    let mut rig = room();
    let scripts = ["one", "two"].map(|nick| {
        let script = rig.connect_plainly();
        script.say(nick);
        rig.settle();
        script
    });
    scripts[0].hang_up();
    rig.settle();
    assert_eq!(scripts[1].received(), "");
    assert_eq!(rig.metrics().deliveries, 0);
}

/// A line with a wide gap is written once for people and once for scripts, so every reader is given
/// its part line by line. That counts as a command does.
#[test]
fn a_turn_says_a_bounded_number_of_lines_that_are_written_twice() {
    let mut rig = room();
    let [_alice] = people(&mut rig, ["alice"]);
    let [speaker, reader] = ["speaker", "reader"].map(|nick| {
        let script = rig.connect_plainly();
        script.say(nick);
        rig.settle();
        script
    });
    let wide = "a            b\n".repeat(1000);
    speaker.send(&wide);
    rig.turn();
    assert_eq!(reader.received().lines().count(), 8);
    rig.settle();
    assert_eq!(reader.received().lines().count(), 992);
}

/// Without people there is one form, whatever is said.
#[test]
fn a_wide_gap_costs_nothing_where_nobody_is_at_a_prompt() {
    let mut rig = room_with(|config| config.interactive.history_lines = Some(0));
    let [speaker, reader] = ["speaker", "reader"].map(|nick| {
        let script = rig.connect_plainly();
        script.say(nick);
        rig.settle();
        script
    });
    speaker.send("a            b\n".repeat(1000));
    rig.turn();
    assert_eq!(reader.received().lines().count(), 1000);
}
