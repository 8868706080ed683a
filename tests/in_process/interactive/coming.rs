//! Coming in and leaving: the greeting, the nick, the welcome, and what the others are told.

use super::*;

const GREETING: &str =
    "* this is a chat room: what you type goes to everybody in it, line by line\r\n";
const ASK: &str = "* what is your nick?\r\n";

#[test]
fn who_connects_is_greeted_and_asked() {
    let mut rig = room();
    let greeting = [OFFER, GREETING.as_bytes(), ASK.as_bytes()].concat();
    assert_eq!(rig.connect().received_bytes(), greeting);
}

#[test]
fn the_greeting_is_the_operators_own_and_clean() {
    let motd = TempFile::new("greeting", "Welcome to \x07\x1b[1mhere\n\nbe kind\n\n");
    let mut rig = room_with(|config| config.interactive.motd_file = Some(motd.path().into()));
    let greeting = "* Welcome to \u{fffd}here\r\n* \r\n* be kind\r\n";
    assert_eq!(rig.connect().received(), [greeting, ASK].concat());
}

#[test]
fn who_joins_is_welcomed_and_the_others_are_told() {
    let mut rig = room();
    let alice = rig.connect();
    alice.received();
    let welcome = "* welcome, alice. /help lists the commands. nobody else is here yet\r\n";
    expect_answer(&mut rig, &alice, "alice", welcome);
    let dave = rig.join("dave");
    dave.received();
    let bob = rig.connect();
    bob.received();
    let welcome = "* welcome, bob. /help lists the commands. 2 others here: alice, dave\r\n";
    expect_answer(&mut rig, &bob, "bob", welcome);
    let [alice, dave, bob] = received([&alice, &dave, &bob]);
    assert_eq!(alice, "* dave joined\r\n* bob joined\r\n");
    assert_eq!(dave, "* bob joined\r\n");
    assert_eq!(bob, "", "who is welcomed is not told that it joined");
}

#[test]
fn a_long_roster_is_cut_with_a_count() {
    let mut rig = room();
    let nicks: Vec<String> = (10..35).map(|n| format!("guest{n}")).collect();
    let _guests: Vec<Wire> = nicks.iter().map(|nick| rig.join(nick)).collect();
    let bob = rig.connect();
    bob.received();
    let named = nicks[..10].join(", ");
    let welcome = format!(
        "* welcome, bob. /help lists the commands. 25 others here: {named} and 15 more\r\n"
    );
    expect_answer(&mut rig, &bob, "bob", &welcome);
}

#[test]
fn what_is_said_comes_between_the_joining_and_the_leaving() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let bob = rig.connect();
    bob.send("bob\r\nhi\r\n");
    bob.hang_up();
    rig.settle();
    assert_eq!(
        alice.received(),
        "* bob joined\r\nbob: hi\r\n* bob left\r\n"
    );
}

#[test]
fn a_nick_that_cannot_be_had_is_refused_with_what_to_do() {
    let mut rig = room();
    let [_bob] = people(&mut rig, ["bob"]);
    let other = rig.connect();
    other.received();
    let taken = "* nick \"BOB\" is taken; BOB2 is free\r\n";
    expect_answer(&mut rig, &other, "BOB", taken);
    let colon = "* a nick has no \":\" in it, choose another\r\n";
    expect_answer(&mut rig, &other, "a:b", colon);
    for _ in 0..7 {
        expect_answer(&mut rig, &other, "a b", "* a nick is one word: try a_b\r\n");
    }
    let last = "* a nick is one word, and that was the last try, goodbye\r\n";
    expect_answer(&mut rig, &other, "a b", last);
    assert!(other.has_ended());
}

#[test]
fn enter_at_the_prompt_shows_it_again_and_counts_as_no_try() {
    let mut rig = room();
    let bob = rig.connect();
    bob.received();
    for _ in 0..9 {
        expect_answer(&mut rig, &bob, "", ASK);
    }
    bob.say("bob");
    rig.settle();
    assert!(bob.received().starts_with("* welcome, bob. "));
    expect_answer(&mut rig, &bob, "", "");
}

#[test]
fn who_leaves_by_itself_left_and_who_is_closed_left_for_a_reason() {
    let mut rig = room_with(|config| {
        config.limits.idle_timeout = 10 * SECOND;
        config.limits.stall_timeout = Some(5 * SECOND);
    });
    let [alice, bob, carol] = people(&mut rig, ["alice", "bob", "carol"]);
    bob.hang_up();
    rig.settle();
    assert_eq!(alice.received(), "* bob left\r\n");
    carol.stop_reading();
    alice.say("hi");
    rig.settle();
    rig.advance(5 * SECOND);
    assert_eq!(alice.received(), "* carol left (stalled)\r\n");
    let dave = rig.join("dave");
    assert_eq!(alice.received(), "* dave joined\r\n");
    rig.advance(9 * SECOND);
    let gone = "* you have been silent for too long, goodbye\r\n";
    assert_eq!(alice.received(), gone, "it was the first to be idle");
    assert!(dave.received().ends_with("* alice left (idle)\r\n"));
}

#[test]
fn who_is_closed_while_others_are_written_to_is_told_of_in_the_same_turn() {
    let mut rig = room_with(|config| config.limits.lag = line_chat::Lag::Disconnect);
    let [alice, bob, carol] = people(&mut rig, ["alice", "bob", "carol"]);
    bob.stop_reading();
    let line = "x".repeat(4000);
    for _ in 0..300 {
        alice.say(&line);
        rig.settle();
    }
    let [alice, carol] = received([&alice, &carol]);
    assert_eq!(alice, "* bob left (too slow)\r\n");
    assert_eq!(carol.matches("* bob left (too slow)\r\n").count(), 1);
    assert_eq!(carol.matches("alice: xxx").count(), 300);
}

#[test]
fn who_has_no_room_to_be_told_of_a_leaving_leaves_itself_and_is_told_of() {
    let mut rig = room_with(|config| {
        config.limits.lag = line_chat::Lag::Disconnect;
        config.limits.max_pending_bytes = 64 << 10;
    });
    let [alice, dave, bob, carol] = people(&mut rig, ["alice", "dave", "bob", "carol"]);
    bob.stop_reading();
    carol.stop_reading();
    alice.say("/msg bob psst");
    // Bob has a line more than carol, so the last of these has no room with him; and carol has room
    // for it, but not for being told that he has left.
    let frame = "alice: \r\n".len();
    for bytes in [4096; 15].into_iter().chain([4096 - 10]) {
        alice.say(&"x".repeat(bytes - frame));
        rig.settle();
    }
    let told = "* bob left (too slow)\r\n* carol left (too slow)\r\n";
    assert_eq!(
        alice.received(),
        ["* you tell bob: psst\r\n", told].concat()
    );
    assert!(dave.received().ends_with(&["\r\n", told].concat()));
}

#[test]
fn a_shutdown_is_told_once_and_not_as_everybodys_leaving() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    rig.shut_down();
    let goodbye = "* server is shutting down\r\n";
    assert_eq!(received([&alice, &bob]), [goodbye, goodbye]);
}

#[test]
fn who_has_come_to_the_wrong_place_can_leave_before_it_has_a_nick() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let lost = rig.connect();
    lost.received();
    let first = "* commands come later: choose a nick first, or /quit\r\n";
    for _ in 0..5 {
        expect_answer(&mut rig, &lost, "/me waves", first);
    }
    expect_answer(&mut rig, &lost, "/quit", "* goodbye\r\n");
    assert!(lost.has_ended());
    assert_eq!(alice.received(), "");
}

#[test]
fn what_strangers_type_first_is_no_nick() {
    let mut rig = room();
    let [_alice] = people(&mut rig, ["alice"]);
    let lost = rig.connect();
    lost.received();
    let how = "* type a one-word name and press Enter; or type who, or quit\r\n";
    let here = "* 1 here: alice\r\n* what is your nick?\r\n";
    for (line, answer) in [
        ("help", how),
        ("?", how),
        ("/help", how),
        (" HELP ", how),
        ("who", here),
        ("/who", here),
    ] {
        expect_answer(&mut rig, &lost, line, answer);
    }
    expect_answer(&mut rig, &lost, "exit", "* goodbye\r\n");
    assert!(lost.has_ended());
    // In scripts these are nicks.
    let mut rig = Rig::new(|_| {});
    let script = rig.connect();
    expect_answer(&mut rig, &script, "help", "");
    assert_eq!(rig.metrics().members, 1);
}

#[test]
fn notices_to_all_are_broken_in_a_narrow_window_and_what_members_say_is_not() {
    let mut rig = room();
    let [narrow, wide] = people(&mut rig, ["narrow", "wide"]);
    // NAWS: 30 columns.
    narrow.send(b"\xff\xfb\x1f\xff\xfa\x1f\0\x1e\0\x14\xff\xf0");
    rig.settle();
    narrow.received_bytes();
    let [other] = people(&mut rig, ["a_long_name_of_a_guest"]);
    let joined = "* a_long_name_of_a_guest\r\n*   joined\r\n";
    assert_eq!(narrow.received(), joined);
    assert_eq!(wide.received(), "* a_long_name_of_a_guest joined\r\n");
    narrow.say("/stamp");
    rig.settle();
    narrow.received();
    let said = "what somebody says is as long as it is";
    other.say(said);
    other.say("/nick renamed");
    other.say("/quit so long, and thanks");
    rig.settle();
    let before = "00:00 ";
    let got = [
        &format!("{before}a_long_name_of_a_guest: {said}\r\n"),
        &format!(
            "{before}* a_long_name_of_a_guest\r\n{before}*   changes nick to\r\n{before}*   renamed\r\n"
        ),
        &format!("{before}* renamed left: so\r\n{before}*   long, and thanks\r\n"),
    ];
    assert_eq!(narrow.received(), got.map(String::as_str).concat());
}

#[test]
fn a_welcome_fits_however_long_names_may_be() {
    let mut rig = room_with(|config| {
        config.limits.max_nick_chars = 4096;
        config.limits.max_pending_bytes = 64 << 10;
        config.limits.lag = line_chat::Lag::Disconnect;
    });
    let guests: Vec<Wire> = (0..30)
        .map(|n| rig.join(&format!("{n}{}", "x".repeat(3000))))
        .collect();
    let welcome = unbroken(&guests[29]);
    let welcome = welcome
        .lines()
        .nth(2)
        .expect("a greeting and a question come first");
    assert!(welcome.starts_with("* welcome, 29xxx"), "{welcome}");
    assert!(
        welcome.contains(". /help lists the commands. 29 others here: ")
            && welcome.ends_with(" more")
    );
}
