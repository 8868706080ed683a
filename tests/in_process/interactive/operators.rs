//! Operators among themselves: how one becomes an operator and ceases to be one, and what the others are told.

use super::*;

const ASKED: &str = "* operator password? Enter alone cancels\r\n";
const IS_OPERATOR: &str = "* you are an operator; /help lists what you can do\r\n";

const WILL_ECHO: &[u8] = b"\xff\xfb\x01";
const WONT_ECHO: &[u8] = b"\xff\xfc\x01";

/// A room with operators, in which alice and bob are.
fn moderated(name: &str) -> (Rig, [Wire; 2], TempFile) {
    let file = TempFile::new(name, "secret\n");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(file.path().into()));
    let people = people(&mut rig, ["alice", "bob"]);
    (rig, people, file)
}

#[test]
fn the_password_of_operators_is_asked_for_and_not_shown() {
    let (mut rig, [alice, bob], _file) = moderated("unseen");
    alice.say("/op");
    rig.settle();
    assert_eq!(
        alice.received_bytes(),
        [WILL_ECHO, ASKED.as_bytes()].concat()
    );
    alice.say("wrong");
    rig.settle();
    assert_eq!(alice.received(), "\r\n* wrong password, try again\r\n");
    bob.say("hello");
    rig.advance(SECOND);
    assert_eq!(alice.received(), "bob: hello\r\n");
    alice.say("secret");
    rig.settle();
    let done = [b"\r\n", WONT_ECHO, IS_OPERATOR.as_bytes()].concat();
    assert_eq!(alice.received_bytes(), done);
    alice.say("hi bob");
    rig.settle();
    assert_eq!(bob.received(), "alice: hi bob\r\n", "it saw no password");
}

#[test]
fn who_does_not_know_the_password_of_operators_can_leave_it() {
    let (mut rig, [alice, bob], _file) = moderated("leave-it");
    alice.say("/op");
    alice.say("");
    alice.say("hi bob");
    rig.settle();
    let cancelled = b"\r\n* cancelled: what you type goes to everybody again\r\n";
    let asked = [WILL_ECHO, ASKED.as_bytes(), cancelled, WONT_ECHO].concat();
    assert_eq!(alice.received_bytes(), asked);
    assert_eq!(bob.received(), "alice: hi bob\r\n");
    alice.say("/op");
    alice.say("/quit");
    rig.settle();
    assert!(alice.has_ended());
    bob.say("/op");
    bob.send(b"\x04");
    rig.settle();
    assert!(bob.has_ended());
}

#[test]
fn a_client_that_refuses_to_be_echoed_is_not_asked_again() {
    let (mut rig, [alice, _bob], _file) = moderated("refused");
    alice.say("/op");
    rig.settle();
    alice.received_bytes();
    alice.send(b"\xff\xfe\x01");
    rig.settle();
    let width = b"\xff\xfd\x1f";
    assert_eq!(alice.received_bytes(), width);
    expect_answer(&mut rig, &alice, "secret", &["\r\n", IS_OPERATOR].concat());
}

#[test]
fn operators_are_told_what_others_do() {
    let (mut rig, [alice, bob], _file) = moderated("told");
    let [carol] = people(&mut rig, ["carol"]);
    received([&alice, &bob]);
    expect_answer(&mut rig, &alice, "/op secret", IS_OPERATOR);
    expect_answer(&mut rig, &bob, "/op secret", IS_OPERATOR);
    assert_eq!(alice.received(), "* bob is an operator now\r\n");
    for (line, told) in [
        ("/mute carol 5", "* operator bob: /mute carol 5\r\n"),
        ("/unmute carol", "* operator bob: /unmute carol\r\n"),
        ("/unmute carol", ""),
        ("/ban dora", "* operator bob: /ban dora\r\n"),
        ("/ban 192.0.2.1", "* operator bob: /ban 192.0.2.1\r\n"),
        ("/unban 192.0.2.1", "* operator bob: /unban 192.0.2.1\r\n"),
        ("/unban nobody2", ""),
        ("/kick x why", ""),
    ] {
        bob.say(line);
        rig.settle();
        assert_eq!(alice.received(), told, "{line}");
    }
    received([&bob, &carol]);
    bob.say("/kick carol go away");
    rig.settle();
    let told = "* carol was kicked by bob: go away\r\n* operator bob: /kick carol go away\r\n";
    assert_eq!(alice.received(), told);
    assert_eq!(carol.received(), "* bob has kicked you: go away\r\n");
    bob.received();
    expect_answer(
        &mut rig,
        &bob,
        "/deop",
        "* you are no longer an operator\r\n",
    );
    assert_eq!(alice.received(), "* bob is no longer an operator\r\n");
    expect_answer(
        &mut rig,
        &bob,
        "/kick alice",
        "* only operators can do that\r\n",
    );
}

#[test]
fn an_operator_that_is_kicked_reads_nothing_behind_its_last_words() {
    let (mut rig, [alice, bob], _file) = moderated("kicked-op");
    alice.say("/op secret");
    bob.say("/op secret");
    rig.settle();
    received([&alice, &bob]);
    alice.say("/kick bob");
    rig.settle();
    assert_eq!(bob.received(), "* alice has kicked you\r\n");
}
