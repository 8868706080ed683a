//! Operators: who becomes one, and what they can do.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

/// A room with operators, whose password is `secret`.
fn moderated(name: &str) -> (Rig, TempFile) {
    let file = TempFile::new(name, "secret\n");
    let rig = room_with(|config| config.interactive.ops_password_file = Some(file.path().into()));
    (rig, file)
}

/// An operator, and others, who have read all that they got so far.
fn operator_and<const N: usize>(rig: &mut Rig, nicks: [&str; N]) -> (Wire, [Wire; N]) {
    let operator = rig.join("op");
    operator.say("/op secret");
    let others = people(rig, nicks);
    rig.settle();
    assert!(
        operator
            .received()
            .contains("* you are an operator; /help lists what you can do\r\n")
    );
    (operator, others)
}

#[test]
fn only_operators_moderate() {
    let (mut rig, _file) = moderated("only");
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    let refused = "* only operators can do that: /op PASSWORD makes you one\r\n";
    for command in [
        "/kick bob",
        "/ban bob",
        "/unban bob",
        "/mute bob",
        "/unmute bob",
        "/ban",
        "/announce x",
    ] {
        expect_answer(&mut rig, &alice, command, refused);
    }
    assert_eq!(bob.received(), "");
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let none = "* this server has no operators\r\n";
    expect_answer(&mut rig, &alice, "/op secret", none);
    expect_answer(&mut rig, &alice, "/kick alice", none);
}

#[test]
fn a_wrong_password_of_operators_costs_a_second() {
    let (mut rig, _file) = moderated("wrong");
    let [eve] = people(&mut rig, ["eve"]);
    eve.send("/op wrong\r\n/op secret\r\n");
    rig.settle();
    assert_eq!(eve.received(), "* wrong password, try again\r\n");
    rig.advance(SECOND);
    assert!(eve.received().starts_with("* you are an operator"));
}

#[test]
fn an_address_has_ten_wrong_passwords_of_operators() {
    let (mut rig, _file) = moderated("ten");
    for n in 0..10 {
        let [eve] = people(&mut rig, [&*format!("eve{n}")]);
        expect_answer(&mut rig, &eve, "/op a", "* wrong password, try again\r\n");
    }
    let [eve] = people(&mut rig, ["eve"]);
    let wait = "* too many tries from your address, try again in 6 s\r\n";
    expect_answer(&mut rig, &eve, "/op secret", wait);
}

#[test]
fn who_is_kicked_is_told_by_whom_and_why_and_so_is_the_room() {
    let (mut rig, _file) = moderated("kick");
    let (op, [alice, bob]) = operator_and(&mut rig, ["alice", "bob"]);
    op.say("/kick bo too loud");
    rig.settle();
    assert_eq!(bob.received(), "* op has kicked you: too loud\r\n");
    assert!(bob.has_ended());
    let told = "* bob was kicked by op: too loud\r\n";
    assert_eq!(received([&op, &alice]), [told, told]);
    rig.join("bob");
    received([&op, &alice]);
    op.say("/kick bob");
    rig.settle();
    assert_eq!(alice.received(), "* bob was kicked by op\r\n");
}

#[test]
fn a_name_that_is_banned_is_out_and_stays_out_for_its_time() {
    let (mut rig, _file) = moderated("ban");
    let (op, [alice, bob]) = operator_and(&mut rig, ["alice", "bob"]);
    op.say("/ban bob 5");
    rig.settle();
    assert_eq!(
        bob.received(),
        "* you are banned from this room, goodbye\r\n"
    );
    assert_eq!(alice.received(), "* bob left (banned)\r\n");
    assert_eq!(
        op.received(),
        "* bob left (banned)\r\n* bob is banned for 5 minutes\r\n\
         * bob came from 127.0.0.1; /ban 127.0.0.1 keeps that address out as well\r\n"
    );
    let again = rig.connect();
    again.received();
    let refused = "* nick \"BOB\" is banned from this room, choose another\r\n";
    expect_answer(&mut rig, &again, "BOB", refused);
    again.say("rob");
    rig.settle();
    again.received();
    expect_answer(
        &mut rig,
        &again,
        "/nick bob",
        &refused.replace("BOB", "bob"),
    );
    rig.advance(5 * MINUTE);
    expect_answer(&mut rig, &again, "/nick bob", "* you are now bob\r\n");
}

#[test]
fn a_ban_can_be_lifted_and_a_name_be_banned_before_it_comes() {
    let (mut rig, _file) = moderated("lift");
    let (op, []) = operator_and(&mut rig, []);
    expect_answer(&mut rig, &op, "/ban eve", "* eve is banned\r\n");
    let eve = rig.connect();
    eve.say("eve");
    rig.settle();
    assert!(
        eve.received()
            .ends_with("is banned from this room, choose another\r\n")
    );
    expect_answer(&mut rig, &op, "/unban EVE", "* EVE is no longer banned\r\n");
    expect_answer(&mut rig, &op, "/unban EVE", "* EVE is not banned\r\n");
    eve.say("eve");
    rig.settle();
    assert!(eve.received().starts_with("* welcome, eve"));
    op.received();
    expect_answer(
        &mut rig,
        &op,
        "/ban op",
        "* that is you: name somebody else\r\n",
    );
}

#[test]
fn an_address_that_is_banned_is_out_with_all_its_clients() {
    let (mut rig, _file) = moderated("address");
    let (op, []) = operator_and(&mut rig, []);
    let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
    let eve = rig.connect_from(ip);
    eve.say("eve");
    rig.settle();
    let nameless = rig.connect_from(ip);
    received([&op, &eve, &nameless]);
    op.say("/ban 192.0.2.7 1");
    rig.settle();
    let gone = "* you are banned from this room, goodbye\r\n";
    assert_eq!(received([&eve, &nameless]), [gone, gone]);
    assert_eq!(
        op.received(),
        "* eve left (banned)\r\n* 192.0.2.7 is banned for a minute\r\n"
    );
    let refused = rig.connect_from(ip);
    assert_eq!(
        refused.received(),
        "* your address is banned from this server\r\n"
    );
    assert!(refused.has_ended());
    assert_eq!(rig.metrics().refused(), 1);
    let other = rig.connect_from(Ipv4Addr::new(192, 0, 2, 8).into());
    assert!(other.received().ends_with("* what is your nick?\r\n"));
    rig.advance(MINUTE);
    let again = rig.connect_from(ip);
    assert!(again.received().ends_with("* what is your nick?\r\n"));
    let own = "* that is your own address: it is not banned\r\n";
    op.received();
    expect_answer(&mut rig, &op, "/ban 127.0.0.1", own);
}

#[test]
fn an_ipv6_address_is_banned_with_its_network() {
    let (mut rig, _file) = moderated("network");
    let (op, []) = operator_and(&mut rig, []);
    op.say("/ban 2001:db8::1");
    rig.settle();
    let ip = |text: &str| text.parse().expect("an address");
    let refused = rig.connect_from(ip("2001:db8::2"));
    assert_eq!(
        refused.received(),
        "* your address is banned from this server\r\n"
    );
    let other = rig.connect_from(ip("2001:db8:0:1::1"));
    assert!(other.received().ends_with("* what is your nick?\r\n"));
    op.received();
    let lifted = "* 2001:db8::3 is no longer banned\r\n";
    expect_answer(&mut rig, &op, "/unban 2001:db8::3", lifted);
}

#[test]
fn who_is_muted_is_told_so_and_heard_by_nobody() {
    let (mut rig, _file) = moderated("mute");
    let (op, [alice, bob]) = operator_and(&mut rig, ["alice", "bob"]);
    expect_answer(
        &mut rig,
        &op,
        "/mute bob 2",
        "* bob is muted for 2 minutes\r\n",
    );
    assert_eq!(
        bob.received(),
        "* you are muted for 2 minutes: nobody sees what you say\r\n"
    );
    let refused = "* you are muted, that was not sent\r\n";
    for line in [
        "hi",
        "/me waves",
        "//x",
        "/msg alice hi",
        "/reply hi",
        "/nick rob",
    ] {
        expect_answer(&mut rig, &bob, line, refused);
    }
    expect_answer(&mut rig, &bob, "/who", "* 3 here: alice, bob, op\r\n");
    bob.say("/quit last words");
    rig.settle();
    assert_eq!(alice.received(), "* bob left\r\n");
    let [bob] = people(&mut rig, ["bob"]);
    expect_answer(&mut rig, &bob, "hi", refused);
    rig.advance(2 * MINUTE);
    expect_answer(&mut rig, &bob, "hi", "");
    assert!(alice.received().ends_with("bob: hi\r\n"));
}

#[test]
fn a_script_can_be_muted_and_is_told_when_it_speaks() {
    let (mut rig, _file) = moderated("script");
    let (op, [alice]) = operator_and(&mut rig, ["alice"]);
    let script = rig.connect_plainly();
    script.say("script");
    rig.settle();
    received([&op, &alice]);
    expect_answer(&mut rig, &op, "/mute script", "* script is muted\r\n");
    assert_eq!(script.received(), "");
    let lines = rig.metrics().lines_in;
    expect_answer(
        &mut rig,
        &script,
        "beep",
        "* you are muted, that was not sent\r\n",
    );
    assert_eq!(rig.metrics().lines_in, lines);
    expect_answer(
        &mut rig,
        &op,
        "/unmute script",
        "* script is no longer muted\r\n",
    );
    expect_answer(&mut rig, &op, "/unmute script", "* script is not muted\r\n");
    expect_answer(&mut rig, &script, "beep", "");
    assert_eq!(alice.received(), "script: beep\r\n");
}

#[test]
fn an_announcement_reaches_people_as_the_servers_own() {
    let (mut rig, _file) = moderated("announce");
    let (op, [alice]) = operator_and(&mut rig, ["alice"]);
    let script = rig.connect_plainly();
    script.say("script");
    rig.settle();
    received([&op, &alice]);
    op.say("/announce we close at ten");
    rig.settle();
    let said = "* op announces: we close at ten\r\n";
    assert_eq!(received([&op, &alice, &script]), ["", said, ""]);
}

#[test]
fn operators_are_told_of_their_own_commands() {
    let (mut rig, _file) = moderated("help");
    let (op, [alice]) = operator_and(&mut rig, ["alice"]);
    for (person, has_kick) in [(&op, true), (&alice, false)] {
        person.say("/help");
        rig.settle();
        let help = person.received();
        assert!(help.contains("* /op PASSWORD: makes you an operator\r\n"));
        assert_eq!(help.contains("* /kick NAME [WHY]: "), has_kick);
    }
}

#[test]
fn a_ban_does_not_hit_somebody_whose_name_only_begins_so() {
    let (mut rig, _file) = moderated("exact");
    let (op, [alice, _bobby]) = operator_and(&mut rig, ["alice", "bobby"]);
    expect_answer(&mut rig, &op, "/ban bob", "* bob is banned\r\n");
    assert_eq!(alice.received(), "");
    expect_answer(&mut rig, &op, "/who", "* 3 here: alice, bobby, op\r\n");
    let refused = "* a nick does not begin with \"*\" or \"/\", choose another\r\n";
    expect_answer(&mut rig, &op, "/ban *x", refused);
}

#[test]
fn a_mute_can_be_lifted_though_another_name_begins_so() {
    let (mut rig, _file) = moderated("unmute");
    let (op, [bob]) = operator_and(&mut rig, ["bob"]);
    op.say("/mute bob");
    bob.hang_up();
    rig.settle();
    let bobby = rig.join("bobby");
    received([&op, &bobby]);
    expect_answer(&mut rig, &op, "/unmute bob", "* bob is no longer muted\r\n");
    assert_eq!(bobby.received(), "");
    expect_answer(&mut rig, &op, "/mute bobb", "* bobby is muted\r\n");
    expect_answer(
        &mut rig,
        &op,
        "/unmute bobb",
        "* bobby is no longer muted\r\n",
    );
}

#[test]
fn nobody_has_an_address_banned_by_taking_it_for_a_name() {
    let (mut rig, _file) = moderated("squatter");
    let (op, [eve]) = operator_and(&mut rig, ["192.0.2.7"]);
    let victim = rig.connect_from(IpAddr::from([192, 0, 2, 7]));
    op.say("/ban 192.0.2.7");
    rig.settle();
    assert!(eve.has_ended() && !victim.has_ended());
    op.received();
    expect_answer(&mut rig, &op, "/ban 192.0.2.7", "* 192.0.2.7 is banned\r\n");
    assert!(victim.has_ended());
    let lifted = "* 192.0.2.7 is no longer banned\r\n";
    expect_answer(&mut rig, &op, "/unban 192.0.2.7", lifted);
    rig.join("192.0.2.7");
    rig.connect_from(IpAddr::from([192, 0, 2, 7]));
    assert_eq!(rig.metrics().refused(), 0);
}

#[test]
fn one_leaving_is_one_notice_though_there_is_no_room_for_the_reason() {
    let file = TempFile::new("one", "secret\n");
    let mut rig = room_with(|config| {
        config.interactive.ops_password_file = Some(file.path().into());
        config.limits.lag = line_chat::Lag::Disconnect;
        config.limits.max_pending_bytes = 64 << 10;
    });
    let (op, [alice, bob]) = operator_and(&mut rig, ["alice", "bob"]);
    bob.stop_reading();
    // Ten bytes are left in bob's queue.
    let frame = "alice: \r\n".len();
    for bytes in [4096; 15].into_iter().chain([4096 - 10]) {
        alice.say(&"x".repeat(bytes - frame));
        rig.settle();
    }
    op.say("/kick bob for good reasons");
    rig.settle();
    assert_eq!(
        alice.received(),
        "* bob was kicked by op: for good reasons\r\n"
    );
    bob.read_on();
    rig.settle();
    assert!(
        bob.received()
            .ends_with("\r\n* op has kicked you: for good reasons\r\n")
    );
}
