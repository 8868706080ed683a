//! Talking: lines, what somebody does, a word with one of the others, names, and not having to see
//! what somebody says.

use super::*;

#[test]
fn lines_are_said_as_on_the_bare_wire_and_not_echoed() {
    let mut rig = room();
    let [alice, bob, carol] = people(&mut rig, ["alice", "bob", "carol"]);
    alice.say("hello");
    alice.say("//help is said");
    alice.say("//");
    rig.settle();
    let said = "alice: hello\r\nalice: /help is said\r\nalice: /\r\n";
    assert_eq!(received([&alice, &bob, &carol]), ["", said, said]);
}

#[test]
fn a_word_and_a_line_can_be_erased_while_they_are_typed() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    let script = rig.connect_plainly();
    script.send("script\r\na\x15b\x17c\r\n");
    rig.settle();
    assert_eq!(
        alice.received(),
        "* script joined\r\nscript: a\u{fffd}b\u{fffd}c\r\n"
    );
    bob.received();
    for key in ["/who", "\x15", "hi then", "\x17", "there", "\r\n"] {
        alice.send(key);
        rig.settle();
    }
    assert_eq!(bob.received(), "alice: hi there\r\n");
}

#[test]
fn what_somebody_does_has_a_form_of_its_own_that_nobody_can_type() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    alice.say("/me waves");
    alice.say("** bob is a liar");
    rig.settle();
    assert_eq!(
        received([&alice, &bob]),
        ["", "** alice waves\r\nalice: ** bob is a liar\r\n"]
    );
}

#[test]
fn commands_are_spoken_by_nobody() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    for command in [
        "/who",
        "/time",
        "/last",
        "/help",
        "/nonsense",
        "/msg",
        "/",
        "/op x",
        " /op secret",
        "\t/time",
        "\u{c}/who",
        "\u{1b}[A/op secret",
        "\u{a0}/op secret",
        "\u{3000}\u{200b}/op secret",
    ] {
        alice.say(command);
    }
    rig.settle();
    assert_eq!(bob.received(), "");
    assert!(alice.received().lines().all(|line| line.starts_with("* ")));
}

#[test]
fn one_person_can_be_told_something_and_answer() {
    let mut rig = room();
    let [alice, bob, carol] = people(&mut rig, ["alice", "bob", "carol"]);
    alice.say("/msg BO a secret: yes");
    rig.settle();
    assert_eq!(
        received([&alice, &bob, &carol]),
        [
            "* you tell bob: a secret: yes\r\n",
            "* alice tells you: a secret: yes\r\n",
            ""
        ]
    );
    bob.say("/reply and mine");
    rig.settle();
    assert_eq!(
        received([&alice, &bob, &carol]),
        [
            "* bob tells you: and mine\r\n",
            "* you tell alice: and mine\r\n",
            ""
        ]
    );
}

#[test]
fn an_answer_goes_to_the_person_and_not_to_the_name() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    alice.say("/msg bob psst");
    alice.say("/nick ann");
    rig.settle();
    received([&alice, &bob]);
    bob.say("/reply yes?");
    rig.settle();
    assert_eq!(
        received([&alice, &bob]),
        ["* bob tells you: yes?\r\n", "* you tell ann: yes?\r\n"]
    );
    alice.hang_up();
    rig.settle();
    let [ann] = people(&mut rig, ["ann"]);
    bob.received();
    let gone = "* alice, who told you something last, has left\r\n";
    expect_answer(&mut rig, &bob, "/reply hello?", gone);
    assert_eq!(ann.received(), "", "it is another one");
}

#[test]
fn nobody_can_be_told_something_who_is_not_there_or_not_clear() {
    let mut rig = room();
    let [alice, _bob, _bonnie] = people(&mut rig, ["alice", "bob", "bonnie"]);
    for (line, answer) in [
        (
            "/msg dave hi",
            "* nobody here is called \"dave\"; /who lists who is here\r\n",
        ),
        (
            "/msg bo hi",
            "* \"bo\" may be bob or bonnie: type more of the name\r\n",
        ),
        ("/msg ali hi", "* that is you: name somebody else\r\n"),
        ("/msg bob", "* write /msg NAME TEXT: tells NAME alone\r\n"),
        (
            "/reply hi",
            "* nobody has told you anything yet: write /msg NAME TEXT\r\n",
        ),
    ] {
        expect_answer(&mut rig, &alice, line, answer);
    }
}

#[test]
fn a_name_can_be_changed_and_the_old_one_is_free() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    expect_answer(&mut rig, &bob, "/nick rob", "* you are now rob\r\n");
    bob.say("hi");
    rig.settle();
    assert_eq!(alice.received(), "* bob changes nick to rob\r\nrob: hi\r\n");
    let taken = "* nick \"Alice\" is taken; Alice2 is free\r\n";
    expect_answer(&mut rig, &bob, "/nick Alice", taken);
    let space = "* a nick is one word: try a_b\r\n";
    expect_answer(&mut rig, &bob, "/nick a b", space);
    rig.advance(SECOND);
    expect_answer(&mut rig, &bob, "/nick ROB", "* you are now ROB\r\n");
    assert_eq!(alice.received(), "* rob changes nick to ROB\r\n");
    expect_answer(&mut rig, &bob, "/nick ROB", "* you are now ROB\r\n");
    assert_eq!(alice.received(), "", "nothing has changed");
    rig.join("bob");
}

#[test]
fn who_is_ignored_is_not_seen_whatever_it_does() {
    let mut rig = room();
    let [alice, bob, eve] = people(&mut rig, ["alice", "bob", "eve"]);
    let done = "* ignoring eve; /unignore eve undoes it\r\n";
    expect_answer(&mut rig, &alice, "/ignore eve", done);
    expect_answer(&mut rig, &alice, "/ignore", "* you ignore eve\r\n");
    bob.send("one\r\n");
    eve.send("two\r\n/me three\r\n/msg alice four\r\n");
    rig.settle();
    bob.send("five\r\n");
    rig.settle();
    assert_eq!(alice.received(), "bob: one\r\nbob: five\r\n");
    assert_eq!(bob.received(), "eve: two\r\n** eve three\r\n");
    assert_eq!(
        eve.received(),
        "bob: one\r\n* you tell alice: four\r\nbob: five\r\n",
        "it is not told"
    );
    let done = "* you no longer ignore eve\r\n";
    expect_answer(&mut rig, &alice, "/unignore eve", done);
    let none = "* you do not ignore \"eve\"; /ignore lists whom you do\r\n";
    expect_answer(&mut rig, &alice, "/unignore eve", none);
    expect_answer(&mut rig, &alice, "/ignore", "* you ignore nobody\r\n");
    eve.say("six");
    rig.settle();
    assert_eq!(alice.received(), "eve: six\r\n");
}

#[test]
fn who_is_ignored_stays_so_under_another_name_and_on_another_connection() {
    let mut rig = room();
    let [alice, eve] = people(&mut rig, ["alice", "eve"]);
    alice.say("/ignore eve");
    rig.settle();
    alice.received();
    eve.say("/nick adam");
    eve.say("it is me");
    rig.settle();
    assert_eq!(alice.received(), "", "a name is as good as a line");
    eve.say("/nick eve");
    eve.send("last words\r\n/quit\r\n");
    rig.settle();
    assert_eq!(alice.received(), "* eve left\r\n");
    let again = rig.join("Eve");
    again.say("hi again");
    again.say("/quit and last words");
    rig.settle();
    assert_eq!(
        alice.received(),
        "* Eve joined\r\n* Eve left\r\n",
        "that she leaves, but not her words"
    );
}

#[test]
fn so_many_can_be_ignored_and_no_more() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    for n in 0..33 {
        rig.join(&format!("guest{n:02}"));
        alice.say(&format!("/ignore guest{n:02}"));
    }
    rig.settle();
    let told = alice.received();
    assert!(told.contains("* ignoring guest31;"), "{told}");
    assert!(
        told.ends_with("* you ignore 32 already: /unignore one of them first\r\n"),
        "{told}"
    );
}

#[test]
fn after_quit_nothing_of_the_same_segment_is_heard() {
    let mut rig = room();
    let [alice, bob, carol] = people(&mut rig, ["alice", "bob", "carol"]);
    bob.send("before\r\n/quit see you\r\nafter\r\n/me after\r\n");
    carol.send("/QUIT\r\nafter\r\n");
    rig.settle();
    assert_eq!(
        alice.received(),
        "bob: before\r\n* bob left: see you\r\n* carol left\r\n"
    );
    assert!(bob.received().ends_with("* goodbye\r\n"));
    assert!(bob.has_ended() && carol.has_ended());
    rig.join("bob");
}

#[test]
fn a_notice_cannot_be_forged_by_any_text() {
    let mut rig = room();
    let [alice, eve] = people(&mut rig, ["alice", "eve"]);
    for text in [
        "* bob joined",
        "x\u{2028}* bob joined",
        "x\u{85}* bob joined",
        "/me x\u{b}* bob joined",
        "/quit (kicked)\u{c}* bob joined",
    ] {
        eve.say(text);
    }
    rig.settle();
    let told = alice.received();
    let lines: Vec<&str> = told.split_terminator("\r\n").collect();
    assert_eq!(lines.len(), 5, "{told:?}");
    for (line, start) in
        lines
            .iter()
            .zip(["eve: * ", "eve: x", "eve: x", "** eve x", "* eve left: ("])
    {
        assert!(line.starts_with(start), "{line:?}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

#[test]
fn a_private_flood_does_not_push_out_what_is_typed() {
    let mut rig = room();
    let [alice, bob, eve] = people(&mut rig, ["alice", "bob", "eve"]);
    alice.stop_reading();
    let line = format!("/msg alice {}", "x".repeat(3000));
    for _ in 0..1000 {
        eve.say(&line);
        rig.settle();
        eve.received();
    }
    bob.say("can you hear me?");
    rig.settle();
    alice.read_on();
    rig.settle();
    assert!(alice.received().contains("bob: can you hear me?\r\n"));
}

#[test]
fn commands_count_as_lines_where_lines_are_limited() {
    let mut rig = room_with(|config| {
        config.limits.lines_per_second = 1.0;
        config.limits.burst_lines = 2;
    });
    let [alice] = people(&mut rig, ["alice"]);
    for _ in 0..4 {
        alice.say("/who");
    }
    rig.settle();
    let here = "* 1 here: alice\r\n";
    let told = "* 2 of your lines wait: 1 a second is the limit here\r\n";
    assert_eq!(alice.received(), [here, here, told].concat());
    rig.advance(SECOND);
    assert_eq!(alice.received(), here);
}

#[test]
fn what_is_meant_for_somebody_who_has_left_reaches_nobody_else() {
    let mut rig = room();
    let [alice, bob, bob2] = people(&mut rig, ["alice", "bob", "bob2"]);
    bob.hang_up();
    rig.settle();
    received([&alice, &bob2]);
    let refused = "* bob has left; if you mean bob2, type more of it\r\n";
    expect_answer(&mut rig, &alice, "/msg bob my secret", refused);
    assert_eq!(bob2.received(), "");
    alice.say("/msg bob2 hi");
    rig.settle();
    assert_eq!(bob2.received(), "* alice tells you: hi\r\n");
}

#[test]
fn who_is_ignored_can_be_seen_again_though_another_name_begins_so() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    alice.say("/ignore bob");
    bob.hang_up();
    rig.settle();
    let _bobby = rig.join("bobby");
    alice.received();
    let done = "* you no longer ignore bob\r\n";
    expect_answer(&mut rig, &alice, "/unignore bob", done);
}

#[test]
fn a_nick_is_as_clean_when_it_is_changed_as_when_it_is_chosen() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let refused = "* that line holds a key that is no letter (an arrow, ^D), or your client does not \
        send UTF-8: type the nick again\r\n";
    expect_answer(&mut rig, &alice, "/nick \u{202e}evil", refused);
}

#[test]
fn who_gives_many_commands_is_heard_after_those_who_talk() {
    let mut rig = room();
    let [eve, alice, bob] = people(&mut rig, ["eve", "alice", "bob"]);
    for (commands, said) in [
        (9, "eve: a\r\nalice: b\r\n"),
        (65, "alice: b\r\neve: a\r\n"),
    ] {
        eve.send("/ignore\n".repeat(commands));
        rig.settle();
        eve.say("a");
        alice.say("b");
        rig.settle();
        assert_eq!(bob.received(), said, "after {commands} commands");
    }
}
