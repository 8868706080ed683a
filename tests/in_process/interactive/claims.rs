//! Coming back as the same person after a lost connection: what `/claim` gives, and what it gives back.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [192, 0, 2, 2];

const WRONG: &str = "* that token is wrong, used up or too old: type another nick\r\n";

/// A person asks for a token. Returns what it is told to type as its nick.
#[track_caller]
fn claim(rig: &mut Rig, person: &Wire, nick: &str) -> String {
    rig.settle();
    person.received();
    person.say("/claim");
    rig.settle();
    let told = unbroken(person);
    let behind = format!("* to be {nick} again after a lost connection, type ");
    let typed = told.strip_prefix(&*behind).expect("a token");
    let typed = typed.strip_suffix(" as your nick\r\n").expect("all of it");
    let (name, token) = typed.split_once(' ').expect("a name and a token");
    assert_eq!(name, nick);
    assert!(token.len() == 32 && token.bytes().all(|it| it.is_ascii_hexdigit()));
    typed.to_owned()
}

/// Somebody connects from an address and types this as its nick.
fn come(rig: &mut Rig, ip: [u8; 4], typed: &str) -> Wire {
    let wire = rig.connect_from(IpAddr::from(ip));
    rig.settle();
    wire.received();
    wire.say(typed);
    rig.settle();
    wire
}

/// A room in which op is an operator.
fn moderated(name: &str) -> (Rig, Wire, TempFile) {
    let file = TempFile::new(name, "secret\n");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(file.path().into()));
    let [op] = people(&mut rig, ["op"]);
    op.say("/op secret");
    (rig, op, file)
}

/// What is told of those who come back, besides how many others are here.
fn welcome_back(nick: &str, others: &str) -> String {
    format!("* welcome back, {nick}; /claim gives a new token. {others}\r\n")
}

#[test]
fn who_claims_a_name_takes_it_over_and_nobody_is_told() {
    let mut rig = room();
    let [alice, bob, carol] = people(&mut rig, ["alice", "bob", "carol"]);
    alice.say("/ignore carol");
    alice.say("/stamp +1h");
    bob.say("/msg alice hi");
    alice.say("/msg bob hi");
    rig.settle();
    let typed = claim(&mut rig, &alice, "alice");
    received([&alice, &bob, &carol]);
    // It has lost its connection, and the server does not know.
    alice.stop_reading();
    let again = come(&mut rig, THERE, &typed);
    let back = welcome_back("alice", "2 others here: bob, carol");
    assert_eq!(unbroken(&again), back);
    assert_eq!(received([&bob, &carol]), ["", ""]);
    alice.read_on();
    rig.settle();
    assert_eq!(
        alice.received(),
        "* you are back over another connection, so this one ends\r\n"
    );
    assert!(alice.has_ended());
    carol.say("can you see this?");
    bob.say("hello");
    rig.settle();
    assert_eq!(again.received(), "01:00 bob: hello\r\n");
    received([&bob, &carol]);
    // Others know it as the same one.
    expect_answer(
        &mut rig,
        &bob,
        "/reply well?",
        "* you tell alice: well?\r\n",
    );
    assert_eq!(again.received(), "01:00 * bob tells you: well?\r\n");
    expect_answer(&mut rig, &again, "/reply yes", "* you tell bob: yes\r\n");
    expect_answer(&mut rig, &again, "/ignore", "* you ignore carol\r\n");
}

#[test]
fn a_token_is_used_once_and_the_last_one_counts() {
    let mut rig = room();
    let [alice, _bob] = people(&mut rig, ["alice", "bob"]);
    let first = claim(&mut rig, &alice, "alice");
    let second = claim(&mut rig, &alice, "alice");
    assert_ne!(first, second);
    for wrong in [
        &*first,
        &second[..second.len() - 1],
        &second.replace("alice", "bob"),
    ] {
        assert_eq!(come(&mut rig, THERE, wrong).received(), WRONG, "{wrong}");
        assert!(!alice.has_ended());
    }
    let again = come(&mut rig, THERE, &second.to_uppercase());
    assert!(again.received().starts_with("* welcome back, alice; "));
    assert!(alice.has_ended());
    assert_eq!(come(&mut rig, THERE, &second).received(), WRONG);
}

#[test]
fn a_lost_member_that_others_saw_leave_comes_back_for_ten_minutes() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    alice.say("/ignore bob");
    let typed = claim(&mut rig, &alice, "alice");
    alice.hang_up();
    rig.settle();
    assert_eq!(bob.received(), "* alice left\r\n");
    bob.say("she does not see this");
    rig.advance(10 * MINUTE - SECOND);
    let again = come(&mut rig, HERE, &typed);
    assert_eq!(again.received(), welcome_back("alice", "1 other here: bob"));
    assert_eq!(bob.received(), "* alice joined\r\n");
    let typed = claim(&mut rig, &again, "alice");
    again.hang_up();
    rig.settle();
    rig.advance(10 * MINUTE);
    assert_eq!(come(&mut rig, HERE, &typed).received(), WRONG);
}

#[test]
fn who_wants_to_leave_or_has_to_does_not_come_back() {
    let (mut rig, op, _file) = moderated("claims");
    let [alice, eve, mallory] = people(&mut rig, ["alice", "eve", "mallory"]);
    let tokens = [(&alice, "alice"), (&eve, "eve"), (&mallory, "mallory")];
    let tokens = tokens.map(|(person, nick)| claim(&mut rig, person, nick));
    alice.say("/quit");
    op.say("/kick eve");
    op.say("/ban mallory");
    rig.settle();
    for typed in &tokens {
        assert_eq!(come(&mut rig, HERE, typed).received(), WRONG, "{typed}");
    }
}

#[test]
fn an_operator_comes_back_without_its_rights() {
    let (mut rig, op, _file) = moderated("claims-op");
    let [other] = people(&mut rig, ["other"]);
    other.say("/op secret");
    let typed = claim(&mut rig, &op, "op");
    other.received();
    let again = come(&mut rig, HERE, &typed);
    again.received();
    assert_eq!(other.received(), "* op is no longer an operator\r\n");
    let refused = "* only operators can do that\r\n";
    expect_answer(&mut rig, &again, "/kick other", refused);
}

#[test]
fn a_mute_comes_along() {
    let (mut rig, op, _file) = moderated("claims-mute");
    let troll = come(&mut rig, HERE, "troll");
    let eve = come(&mut rig, HERE, "eve");
    op.say("/mute troll 1h rude");
    rig.settle();
    let typed = claim(&mut rig, &troll, "troll");
    let typed_by_eve = claim(&mut rig, &eve, "eve");
    let again = come(&mut rig, THERE, &typed);
    let told = "* you are muted for 1 hour (rude): nobody sees what you say\r\n";
    assert!(unbroken(&again).ends_with(told));
    // So does the mute of an address.
    op.say("/mute 192.0.2.1 2h");
    rig.settle();
    let again = come(&mut rig, THERE, &typed_by_eve);
    let told = "* you are muted for 2 hours: nobody sees what you say\r\n";
    assert!(unbroken(&again).ends_with(told));
    op.received();
    again.say("hi");
    rig.settle();
    assert_eq!(op.received(), "");
    let mutes = "* troll is muted for 1 hour, by op: rude\r\n\
        * 192.0.2.1 is muted for 2 hours, by op\r\n\
        * eve is muted for 2 hours, by op\r\n";
    expect_answer(&mut rig, &op, "/mutes", mutes);
}

#[test]
fn who_is_back_is_told_of_no_mute_for_which_there_is_no_room() {
    let (mut rig, op, _file) = moderated("claims-full");
    let troll = come(&mut rig, HERE, "troll");
    let typed = claim(&mut rig, &troll, "troll");
    op.say("/mute 192.0.2.1");
    rig.settle();
    let there_was = "* you are muted: nobody sees what you say\r\n";
    assert_eq!(troll.received(), there_was);
    for n in 1..1000_u32 {
        op.say(&format!("/mute {}", Ipv4Addr::from_bits(0x0a00_0000 + n)));
    }
    rig.settle();
    let too_many = "* there are 1000 of these already: lift one first\r\n";
    op.received();
    expect_answer(&mut rig, &op, "/mute 198.51.100.1", too_many);
    let again = come(&mut rig, THERE, &typed);
    assert_eq!(again.received(), welcome_back("troll", "1 other here: op"));
    again.say("hi");
    rig.settle();
    assert_eq!(op.received(), "troll: hi\r\n");
}

// Another one of its address had left, whose mute waited for a newcomer.
#[test]
fn who_is_back_takes_over_no_mute_of_another() {
    let (mut rig, op, _file) = moderated("claims-other");
    let alice = come(&mut rig, HERE, "alice");
    let troll = come(&mut rig, HERE, "troll");
    let typed = claim(&mut rig, &alice, "alice");
    op.say("/mute troll 1h");
    rig.settle();
    troll.say("/quit");
    rig.settle();
    let again = come(&mut rig, HERE, &typed);
    assert!(!again.received().contains("you are muted"));
    let newcomer = come(&mut rig, HERE, "newcomer");
    assert!(newcomer.received().contains("* you are muted for 1 hour"));
}

#[test]
fn a_claim_goes_by_the_name_that_was_shown_and_by_the_one_of_now() {
    for name in ["alice", "anna"] {
        let mut rig = room();
        let [alice, _bob] = people(&mut rig, ["alice", "bob"]);
        let typed = claim(&mut rig, &alice, "alice");
        alice.say("/nick anna");
        rig.settle();
        let again = come(&mut rig, HERE, &typed.replace("alice", name));
        assert!(
            again.received().contains("* welcome back, anna; "),
            "{name}"
        );
    }
}

#[test]
fn a_name_that_somebody_else_has_by_now_is_taken() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let typed = claim(&mut rig, &alice, "alice");
    alice.hang_up();
    rig.settle();
    let other = rig.join("alice");
    let again = come(&mut rig, HERE, &typed);
    let taken = "* nick \"alice\" is taken; alice2 is free\r\n";
    assert_eq!(again.received(), taken);
    other.say("/quit");
    rig.settle();
    again.say(&typed);
    rig.settle();
    assert!(again.received().starts_with("* welcome back, alice; "));
}

#[test]
fn wrong_tokens_count_as_wrong_passwords() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let typed = claim(&mut rig, &alice, "alice");
    let wrong = format!("alice {}", "0".repeat(32));
    let thief = come(&mut rig, THERE, &wrong);
    assert_eq!(thief.received(), WRONG);
    thief.say(&wrong);
    rig.settle();
    assert_eq!(thief.received(), "", "it waits a second");
    for _ in 0..8 {
        rig.advance(SECOND / 2);
        assert_eq!(come(&mut rig, THERE, &wrong).received(), WRONG);
    }
    let many = come(&mut rig, THERE, &typed).received();
    assert!(
        many.starts_with("* too many tries from your address, "),
        "{many}"
    );
    assert!(!alice.has_ended());
    let again = come(&mut rig, HERE, &typed);
    assert!(again.received().starts_with("* welcome back, alice; "));
}

#[test]
fn a_script_has_a_nick_and_no_token() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let typed = claim(&mut rig, &alice, "alice");
    let script = rig.connect_plainly();
    script.say(&typed);
    rig.settle();
    assert_eq!(
        script.received(),
        "* a nick has no white space inside, choose another\r\n"
    );
    assert!(!alice.has_ended());
}
