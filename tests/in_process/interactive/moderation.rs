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

/// What an operator is told of the address of a member that it mutes.
fn address_of(nick: &str) -> String {
    format!("* {nick} comes from the same address as you\r\n")
}

#[test]
fn only_operators_moderate() {
    let (mut rig, _file) = moderated("only");
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    let refused = "* only operators can do that\r\n";
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
    let address = "* bob comes from the same address as you\r\n";
    assert_eq!(received([&op, &alice]), [&[told, address].concat(), told]);
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
         * bob comes from the same address as you\r\n"
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
        "* nick \"bob\" is banned from this room\r\n",
    );
    rig.advance(5 * MINUTE);
    expect_answer(&mut rig, &again, "/nick bob", "* you are now bob\r\n");
}

#[test]
fn a_ban_can_be_lifted_and_a_name_be_banned_before_it_comes() {
    let (mut rig, _file) = moderated("lift");
    let (op, []) = operator_and(&mut rig, []);
    expect_answer(
        &mut rig,
        &op,
        "/ban eve",
        "* eve is banned, but nobody here has that name\r\n",
    );
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
fn a_user_of_this_machine_is_banned_with_all_its_clients() {
    let (mut rig, _file) = moderated("user");
    let (op, []) = operator_and(&mut rig, []);
    let [eve, nameless, other] = [1000, 1000, 1001].map(|uid| rig.connect_as(uid));
    eve.say("eve");
    other.say("other");
    rig.settle();
    eve.say("a lie");
    rig.settle();
    received([&op, &eve, &nameless, &other]);
    op.say("/ban uid 1000 1");
    rig.settle();
    let gone = "* you are banned from this room, goodbye\r\n";
    assert_eq!(received([&eve, &nameless]), [gone, gone]);
    assert!(!other.has_ended());
    let told = "* eve left (banned)\r\n* uid 1000 is banned for a minute\r\n";
    assert_eq!(op.received(), told);
    let refused = "* your user is banned from this server\r\n";
    assert_eq!(rig.connect_as(1000).received(), refused);
    assert!(!shown_to_a_newcomer(&mut rig, "dora").contains(&"eve: a lie".to_owned()));
    op.received();
    let lifted = "* uid 1000 is no longer banned\r\n";
    expect_answer(&mut rig, &op, "/unban uid=1000", lifted);
    assert!(!rig.connect_as(1000).has_ended());
    let not = "* uid 1000 is not banned\r\n";
    expect_answer(&mut rig, &op, "/unban uid 1000 (pid 4711)", not);
}

#[test]
fn the_ban_of_a_name_tells_the_user_and_nobody_bans_its_own() {
    let (mut rig, _file) = moderated("own-user");
    let op = rig.connect_as(1000);
    op.say("op");
    op.say("/op secret");
    let eve = rig.connect_as(1001);
    eve.say("eve");
    rig.settle();
    op.received();
    op.say("/ban eve");
    rig.settle();
    assert_eq!(
        op.received(),
        "* eve left (banned)\r\n* eve is banned\r\n\
         * eve is uid 1001 (pid 4711); /ban uid 1001 keeps that user out\r\n"
    );
    let own = "* that is your own user: it is not banned\r\n";
    expect_answer(&mut rig, &op, "/ban uid 1000", own);
    let no_time = "* \"0\" is no time: write 5m, 2h or 1d (at most 366d)\r\n";
    expect_answer(&mut rig, &op, "/ban uid 1001 0", no_time);
    let usage = "* write /unban WHOM: ends a ban\r\n";
    expect_answer(&mut rig, &op, "/unban uid 1001 5", usage);
}

#[test]
fn wrong_passwords_of_a_user_count_for_all_its_clients_and_no_other() {
    let (mut rig, _file) = moderated("tries");
    let attempt = |rig: &mut Rig, uid, nick: &str| {
        let client = rig.connect_as(uid);
        client.say(nick);
        rig.settle();
        client.received();
        client.say("/op wrong");
        rig.settle();
        client.received()
    };
    for n in 0..10 {
        let told = attempt(&mut rig, 1000, &format!("n{n}"));
        assert_eq!(told, "* wrong password, try again\r\n");
    }
    let wait = "* too many tries from your user, try again in 6 s\r\n";
    assert_eq!(attempt(&mut rig, 1000, "late"), wait);
    assert_eq!(
        attempt(&mut rig, 1001, "other"),
        "* wrong password, try again\r\n"
    );
}

#[test]
fn who_is_muted_is_told_so_and_heard_by_nobody() {
    let (mut rig, _file) = moderated("mute");
    let (op, [alice, bob]) = operator_and(&mut rig, ["alice", "bob"]);
    let muted = format!("* bob is muted for 2 minutes\r\n{}", address_of("bob"));
    expect_answer(&mut rig, &op, "/mute bob 2", &muted);
    assert_eq!(
        bob.received(),
        "* you are muted for 2 minutes: nobody sees what you say\r\n"
    );
    let refused = "* you are muted, that was not sent\r\n";
    for line in ["hi", "/me waves", "//x", "/msg alice hi", "/reply hi"] {
        expect_answer(&mut rig, &bob, line, refused);
    }
    let cannot = "* you are muted: you cannot do that\r\n";
    expect_answer(&mut rig, &bob, "/nick rob", cannot);
    expect_answer(
        &mut rig,
        &bob,
        "/who",
        "* 3 here: alice, bob, op (operator)\r\n",
    );
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
    let muted = format!("* script is muted\r\n{}", address_of("script"));
    expect_answer(&mut rig, &op, "/mute script", &muted);
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
fn an_announcement_reaches_everybody_is_confirmed_and_stays_in_the_history() {
    let (mut rig, _file) = moderated("announce");
    let (op, [alice, quiet]) = operator_and(&mut rig, ["alice", "quiet"]);
    let script = rig.connect_plainly();
    script.say("script");
    quiet.say("/ignore op");
    quiet.say("/quiet");
    rig.settle();
    received([&op, &alice, &quiet]);
    op.say("/announce we close at ten");
    rig.settle();
    let said = "* op announces: we close at ten\r\n";
    let done = "* announced to 3 others\r\n";
    let all = [&op, &alice, &quiet, &script];
    assert_eq!(received(all), [done, said, said, said]);
    let last = "* 0 s ago, * op announces: we close at ten\r\n";
    expect_answer(&mut rig, &alice, "/last", last);
}

#[test]
fn operators_are_told_of_their_own_commands() {
    let (mut rig, _file) = moderated("help");
    let (op, [alice]) = operator_and(&mut rig, ["alice"]);
    for (person, has_kick) in [(&op, true), (&alice, false)] {
        person.say("/help");
        rig.settle();
        let help = person.received();
        assert!(help.contains("* /op [PASSWORD]: makes you an operator; alone"));
        assert_eq!(help.contains("* /kick NAME [WHY]: "), has_kick);
    }
}

#[test]
fn a_ban_does_not_hit_somebody_whose_name_only_begins_so() {
    let (mut rig, _file) = moderated("exact");
    let (op, [alice, _bobby]) = operator_and(&mut rig, ["alice", "bobby"]);
    let ahead = "* bob is banned, but is not here; did you mean bobby?\r\n";
    expect_answer(&mut rig, &op, "/ban bob", ahead);
    assert_eq!(alice.received(), "");
    expect_answer(
        &mut rig,
        &op,
        "/who",
        "* 3 here: alice, bobby, op (operator)\r\n",
    );
    let refused = "* a nick does not begin with \"*\" or \"/\"\r\n";
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
    let muted = format!("* bobby is muted\r\n{}", address_of("bobby"));
    expect_answer(&mut rig, &op, "/mute bobb", &muted);
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

#[test]
fn a_name_that_nobody_here_has_is_banned_with_these_words() {
    let (mut rig, _file) = moderated("ahead");
    let (op, [alice, bo, bobby]) = operator_and(&mut rig, ["alice", "bo", "bobby"]);
    let ahead = "is banned, but nobody here has that name";
    for (command, answer) in [
        (
            "/ban ali",
            "* ali is banned, but is not here; did you mean alice?\r\n".to_owned(),
        ),
        (
            "/ban ALIC",
            "* ALIC is banned, but is not here; did you mean alice?\r\n".to_owned(),
        ),
        // Two of them are meant by nobody's name.
        ("/ban b", format!("* b {ahead}\r\n")),
        ("/ban alicia", format!("* alicia {ahead}\r\n")),
        ("/ban 24/7", format!("* 24/7 {ahead}\r\n")),
        (
            "/ban eve 5",
            "* eve is banned for 5 minutes, but nobody here has that name\r\n".to_owned(),
        ),
    ] {
        expect_answer(&mut rig, &op, command, &answer);
    }
    assert_eq!(received([&alice, &bo, &bobby]), ["", "", ""]);
    op.say("/ban bo");
    rig.settle();
    let told = op.received();
    assert!(told.contains("* bo is banned\r\n"), "{told}");
    assert!(bo.has_ended() && !bobby.has_ended());
    expect_answer(&mut rig, &op, "/unban ali", "* ali is no longer banned\r\n");
    expect_answer(&mut rig, &op, "/unban alice", "* alice is not banned\r\n");
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An operator bans `typed`. Then those who are there from `inside` are closed and others from there are
/// refused, and those from `outside` are neither. Lifted with `lifted`, all are let in.
#[track_caller]
fn expect_ban(name: &str, [typed, shown, lifted]: [&str; 3], inside: &[&str], outside: &[&str]) {
    let (mut rig, _file) = moderated(name);
    let (op, []) = operator_and(&mut rig, []);
    let connect = |rig: &mut Rig, ips: &[&str]| -> Vec<Wire> {
        ips.iter().map(|it| rig.connect_from(ip(it))).collect()
    };
    let (gone, stay) = (connect(&mut rig, inside), connect(&mut rig, outside));
    expect_answer(
        &mut rig,
        &op,
        &format!("/ban {typed}"),
        &format!("* {shown} is banned\r\n"),
    );
    assert!(gone.iter().all(Wire::has_ended), "{typed}");
    assert!(!stay.iter().any(Wire::has_ended), "{typed}");
    let (refused, let_in) = (connect(&mut rig, inside), connect(&mut rig, outside));
    for wire in &refused {
        assert_eq!(
            wire.received(),
            "* your address is banned from this server\r\n",
            "{typed}"
        );
    }
    for wire in &let_in {
        assert!(
            wire.received().ends_with("* what is your nick?\r\n"),
            "{typed}"
        );
    }
    let no_longer = format!("* {shown} is no longer banned\r\n");
    expect_answer(&mut rig, &op, &format!("/unban {lifted}"), &no_longer);
    for wire in connect(&mut rig, inside) {
        assert!(!wire.has_ended(), "{typed}");
    }
    expect_answer(
        &mut rig,
        &op,
        &format!("/unban {lifted}"),
        &format!("* {shown} is not banned\r\n"),
    );
}

// Each of these was answered with "is banned", and nobody was.
#[test]
fn a_network_is_banned_with_all_its_addresses() {
    expect_ban(
        "cidr",
        ["10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"],
        &["10.0.0.0", "10.1.2.3", "10.255.255.255", "::ffff:10.9.9.9"],
        &["11.0.0.0", "9.255.255.255", "2001:db8::1"],
    );
    expect_ban(
        "host-bits",
        ["192.0.2.77/25", "192.0.2.0/25", "192.0.2.1/25"],
        &["192.0.2.0", "192.0.2.127"],
        &["192.0.2.128", "192.0.3.1"],
    );
    expect_ban(
        "one",
        ["192.0.2.7/32", "192.0.2.7/32", "192.0.2.7/255.255.255.255"],
        &["192.0.2.7"],
        &["192.0.2.6", "192.0.2.8"],
    );
    expect_ban(
        "star",
        ["10.*", "10.0.0.0/8", "10.*.*.*"],
        &["10.0.0.1", "10.255.255.255"],
        &["11.0.0.1", "110.0.0.1"],
    );
    expect_ban(
        "stars",
        ["192.168.1.*", "192.168.1.0/24", "192.168.1.0/24"],
        &["192.168.1.0", "192.168.1.255"],
        &["192.168.2.1", "192.168.10.1"],
    );
    expect_ban(
        "ipv6",
        ["2001:db8::/32", "2001:db8::/32", "2001:db8:*"],
        &["2001:db8::1", "2001:db8:ffff:ffff::1"],
        &["2001:db9::1", "10.0.0.1"],
    );
    expect_ban(
        "narrow",
        ["2001:db8::7/128", "2001:db8::7/128", "2001:db8::7/128"],
        &["2001:db8::7"],
        &["2001:db8::8"],
    );
    expect_ban(
        "mapped",
        ["::ffff:10.0.0.0/104", "10.0.0.0/8", "10.0.0.0/8"],
        &["10.1.2.3", "::ffff:10.1.2.3"],
        &["11.0.0.1", "::a01:203"],
    );
}

#[test]
fn an_address_is_banned_in_every_form_in_which_it_is_found() {
    expect_ban(
        "port",
        ["203.0.113.5:51234", "203.0.113.5", "203.0.113.5"],
        &["203.0.113.5"],
        &["203.0.113.4", "203.0.113.6"],
    );
    expect_ban(
        "brackets",
        ["[::1]", "::1", "::1"],
        &["::1"],
        &["2001:db8::1"],
    );
    expect_ban(
        "brackets-port",
        ["[2001:db8::1]:51234", "2001:db8::1", "[2001:db8::1]:7"],
        &["2001:db8::1", "2001:db8::2"],
        &["2001:db8:0:1::1"],
    );
    expect_ban(
        "mapped-address",
        ["[::ffff:192.0.2.7]:9", "192.0.2.7", "::ffff:192.0.2.7"],
        &["192.0.2.7"],
        &["192.0.2.8"],
    );
    expect_ban(
        "zone",
        ["[fe80::1%2]:9", "fe80::1", "fe80::1%eth0"],
        &["fe80::1"],
        &["fe81::1"],
    );
    expect_ban(
        "full-width",
        ["１９２.0.2.7", "192.0.2.7", "192.0.2.7"],
        &["192.0.2.7"],
        &["192.0.2.8"],
    );
}

#[test]
fn what_looks_like_an_address_and_is_none_is_refused() {
    let (mut rig, _file) = moderated("none");
    let (op, [_alice]) = operator_and(&mut rig, ["alice"]);
    for word in [
        "192.168.1.300",
        "10.0.0",
        "10.0.0.0/33",
        "2001:db8::/129",
        "10.*.0.1",
        "203.0.113.5:70000",
        "[::1",
        "::ffff:10.0.0.1/24",
        "1.2.3.4-9",
    ] {
        let none = format!(
            "* \"{word}\" is no valid address: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32\r\n"
        );
        expect_answer(&mut rig, &op, &format!("/ban {word}"), &none);
        expect_answer(&mut rig, &op, &format!("/unban {word}"), &none);
    }
    for word in [
        "0.0.0.0/0",
        "10.1.2.3/0",
        "::/0",
        "::ffff:0.0.0.0/96",
        "*.*.*.*",
        "*",
    ] {
        let everybody = format!("* \"{word}\" covers everybody: name a smaller network\r\n");
        expect_answer(&mut rig, &op, &format!("/ban {word}"), &everybody);
    }
    for word in ["127.0.0.0/8", "127.*", "0.0.0.0/1"] {
        op.say(&format!("/ban {word}"));
        rig.settle();
        let told = op.received();
        assert!(told.starts_with("* your own address is in "), "{told}");
        assert!(told.ends_with(": it is not banned\r\n"), "{told}");
    }
    let own = "* that is your own address: it is not banned\r\n";
    for word in ["127.0.0.1", "127.0.0.1:5", "[::ffff:127.0.0.1]"] {
        expect_answer(&mut rig, &op, &format!("/ban {word}"), own);
    }
    rig.connect_from(ip("10.1.2.3"));
    assert_eq!(rig.metrics().refused(), 0);
    // Whoever has it for a name is banned by it, and can be let in again.
    for word in ["192.168.1.300", "1.5", "10.*"] {
        let eve = rig.join(word);
        op.received();
        op.say(&format!("/ban {word}"));
        rig.settle();
        let told = op.received();
        assert!(told.contains(&format!("* {word} is banned\r\n")), "{told}");
        assert!(eve.has_ended());
        let no_longer = match word {
            "10.*" => "10.0.0.0/8",
            word => word,
        };
        let no_longer = format!("* {no_longer} is no longer banned\r\n");
        expect_answer(&mut rig, &op, &format!("/unban {word}"), &no_longer);
        rig.join(word);
        op.received();
    }
}

#[test]
fn an_address_in_a_banned_network_is_not_said_to_be_free() {
    let (mut rig, _file) = moderated("around");
    let (op, []) = operator_and(&mut rig, []);
    expect_answer(
        &mut rig,
        &op,
        "/ban 10.0.0.0/8",
        "* 10.0.0.0/8 is banned\r\n",
    );
    expect_answer(&mut rig, &op, "/ban 10.1.2.3", "* 10.1.2.3 is banned\r\n");
    let with = |whom: &str| {
        format!("* {whom} is banned with 10.0.0.0/8: /unban 10.0.0.0/8 lifts that\r\n")
    };
    for whom in ["10.1.2.3", "10.9.9.9", "10.1.0.0/16"] {
        expect_answer(&mut rig, &op, &format!("/unban {whom}"), &with(whom));
    }
    expect_answer(
        &mut rig,
        &op,
        "/unban 0.0.0.0/4",
        "* 0.0.0.0/4 is not banned\r\n",
    );
    expect_answer(
        &mut rig,
        &op,
        "/unban 10.*",
        "* 10.0.0.0/8 is no longer banned\r\n",
    );
    expect_answer(
        &mut rig,
        &op,
        "/unban 10.1.2.3",
        "* 10.1.2.3 is not banned\r\n",
    );
}

#[test]
fn a_network_is_banned_for_its_time() {
    let (mut rig, _file) = moderated("time");
    let (op, []) = operator_and(&mut rig, []);
    for (command, answer) in [
        (
            "/ban 10.0.0.0/8 2",
            "* 10.0.0.0/8 is banned for 2 minutes\r\n",
        ),
        (
            "/ban 2001:db8:* 2",
            "* 2001:db8::/32 is banned for 2 minutes\r\n",
        ),
        (
            "/ban [2001:db9::1]:7 2",
            "* 2001:db9::1 is banned for 2 minutes\r\n",
        ),
    ] {
        expect_answer(&mut rig, &op, command, answer);
    }
    for (minutes, is_banned) in [(0, true), (1, true), (1, false)] {
        rig.advance(minutes * MINUTE);
        for from in ["10.1.2.3", "2001:db8:7::1", "2001:db9::2"] {
            assert_eq!(rig.connect_from(ip(from)).has_ended(), is_banned);
        }
    }
}

/// What somebody who joins now is shown of what was said before.
fn shown_to_a_newcomer(rig: &mut Rig, nick: &str) -> Vec<String> {
    let newcomer = rig.join(nick);
    let received = newcomer.received();
    let old = received
        .lines()
        .filter_map(|line| line.split_once(" s ago, "));
    old.map(|(_, line)| line.to_owned()).collect()
}

// Whoever came after the operator had closed somebody read everything that this one had said.
#[test]
fn what_a_kicked_or_banned_person_said_is_not_shown_to_newcomers() {
    for (n, commands) in [
        &["/kick eve"][..],
        &["/kick ev so rude"],
        &["/ban eve"],
        &["/ban 192.0.2.7"],
        &["/ban 192.0.2.0/24 5"],
        &["/ban 192.0.2.7:50000"],
        // It renames itself first, or comes again.
        &["eve /nick rob", "/kick rob"],
        &["eve /nick rob", "/ban rob"],
        &["eve /nick rob", "/ban eve"],
        // It has left before anybody could do anything.
        &["eve /quit", "/ban eve"],
        &["eve /quit", "/ban 192.0.2.7"],
        &["eve /nick rob", "eve /quit", "/ban 192.*"],
    ]
    .into_iter()
    .enumerate()
    {
        let (mut rig, _file) = moderated(&format!("shown-{n}"));
        let (op, [alice]) = operator_and(&mut rig, ["alice"]);
        let eve = rig.connect_from(ip("192.0.2.7"));
        eve.say("eve");
        rig.settle();
        alice.say("one");
        eve.say("a lie");
        rig.settle();
        eve.say("/me lies");
        alice.say("two");
        eve.say("//lie");
        rig.settle();
        assert_eq!(
            shown_to_a_newcomer(&mut rig, "carol").len(),
            5,
            "{commands:?}"
        );
        for command in commands {
            match command.strip_prefix("eve ") {
                Some(command) => eve.say(command),
                None => op.say(command),
            }
            rig.settle();
        }
        let expected = ["alice: one", "alice: two"];
        assert_eq!(
            shown_to_a_newcomer(&mut rig, "dora"),
            expected,
            "{commands:?}"
        );
        received([&op, &alice]);
        alice.say("/last");
        rig.settle();
        assert!(!alice.received().contains("lie"), "{commands:?}");
        alice.say("three");
        rig.settle();
        let expected = ["alice: one", "alice: two", "alice: three"];
        assert_eq!(
            shown_to_a_newcomer(&mut rig, "emil"),
            expected,
            "{commands:?}"
        );
    }
}

#[test]
fn what_a_kicked_script_said_is_not_shown_and_what_others_said_is() {
    for command in ["/kick script", "/ban script", "/mute script", "/kick carol"] {
        let (mut rig, _file) = moderated(&format!("shown{}", &command.replace(['/', ' '], "-")));
        let (op, [_carol]) = operator_and(&mut rig, ["carol"]);
        let script = rig.connect_plainly();
        script.say("script");
        script.say("beep");
        rig.settle();
        op.say("hi");
        op.say(command);
        rig.settle();
        let shown = shown_to_a_newcomer(&mut rig, "dora");
        match command {
            "/kick script" | "/ban script" => assert_eq!(shown, ["op: hi"]),
            _ => assert_eq!(shown, ["script: beep", "op: hi"]),
        }
    }
}

#[test]
fn who_is_banned_while_it_cannot_be_told_is_not_shown_either() {
    let file = TempFile::new("slow", "secret\n");
    let mut rig = room_with(|config| {
        config.interactive.ops_password_file = Some(file.path().into());
        config.limits.lag = line_chat::Lag::Disconnect;
        config.limits.max_pending_bytes = 64 << 10;
    });
    let (op, [alice, eve]) = operator_and(&mut rig, ["alice", "eve"]);
    eve.stop_reading();
    for _ in 0..15 {
        alice.say(&"x".repeat(4000));
        rig.settle();
    }
    eve.say("a lie");
    eve.say("/nick rob");
    rig.settle();
    // What is said in the same turn does not fit into its queue any more: it is closed for that.
    op.say(&"x".repeat(4000));
    op.say(&"x".repeat(4000));
    op.say("/ban rob");
    rig.settle();
    eve.read_on();
    rig.settle();
    eve.hang_up();
    rig.settle();
    let too_slow = rig.metrics().closed_for(line_chat::CloseReason::TooSlow);
    assert_eq!(too_slow, 1, "it is closed for what it cannot be told");
    let shown = shown_to_a_newcomer(&mut rig, "dora");
    assert!(!shown.iter().any(|line| line.contains("lie")), "{shown:?}");
}

// What a muted operator cannot say, it cannot say as a reason either, whatever it does before.
#[test]
fn nobody_sees_the_reason_of_a_muted_operator() {
    for way in [
        "at once",
        "reconnects",
        "as another operator",
        "asks for another name",
    ] {
        let (mut rig, _file) = moderated("muted");
        let (op, [mut boss, witness, victim]) =
            operator_and(&mut rig, ["boss", "witness", "victim"]);
        boss.say("/op secret");
        op.say("/mute boss");
        rig.settle();
        match way {
            "reconnects" => {
                boss.hang_up();
                rig.settle();
                boss = rig.join("boss");
                boss.say("/op secret");
            }
            "as another operator" => boss.say("/op secret"),
            "asks for another name" => boss.say("/nick chief"),
            _ => {}
        }
        rig.settle();
        boss.received();
        witness.received();
        op.received();
        let left_out = "* you are muted: your reason was left out\r\n";
        for (command, seen) in [
            ("/mute victim 5", ""),
            ("/ban stranger 5", ""),
            ("/ban 192.0.2.1", ""),
            ("/ban uid 1000", ""),
            ("/kick victim", "* victim was kicked by boss\r\n"),
        ] {
            boss.say(&format!("{command} BUY MY THINGS"));
            rig.settle();
            assert_eq!(witness.received(), seen, "{way}: {command}");
            let told = op.received();
            let of_command = format!("* operator boss: {command}\r\n");
            assert!(told.contains(&of_command), "{way}: {told} {of_command}");
            let answer = boss.received();
            assert_eq!(answer.matches(left_out).count(), 1, "{way}: {answer}");
        }
        let told = victim.received();
        assert!(told.contains("* you are muted for 5 minutes: "), "{told}");
        assert!(told.ends_with("* boss has kicked you\r\n"), "{told}");
        for (command, seen) in [
            ("/mute witness", true),
            ("/kick nobody BUY MY THINGS", false),
        ] {
            boss.say(command);
            rig.settle();
            let answer = boss.received();
            assert!(!answer.contains("left out"), "{way}: {answer}");
            assert_eq!(answer.contains("is muted"), seen, "{way}: {answer}");
        }
    }
}

#[test]
fn a_muted_operator_unmutes_nobody() {
    let (mut rig, _file) = moderated("unmutes");
    let (op, [boss, bob]) = operator_and(&mut rig, ["boss", "bob"]);
    boss.say("/op secret");
    op.say("/mute boss");
    op.say("/mute bob");
    rig.settle();
    [&op, &boss, &bob].iter().for_each(|it| drop(it.received()));
    let refused = "* you are muted: another operator has to do that\r\n";
    for name in ["boss", "bob", "BOSS"] {
        expect_answer(&mut rig, &boss, &format!("/unmute {name}"), refused);
    }
    expect_answer(
        &mut rig,
        &op,
        "/unmute boss",
        "* boss is no longer muted\r\n",
    );
    boss.received();
    expect_answer(
        &mut rig,
        &boss,
        "/unmute bob",
        "* bob is no longer muted\r\n",
    );
}

// Whoever takes one name after the other can be named by an operator all the same.
#[test]
fn a_member_that_renames_all_the_time_can_be_kicked_by_the_name_that_is_seen() {
    let (mut rig, _file) = moderated("renames");
    let (op, [troll]) = operator_and(&mut rig, ["troll"]);
    let mut names = (0..).map(|n| format!("x{n}"));
    let mut is_refused = false;
    // It takes another name every 50 ms, for twenty seconds.
    for _ in 0..400 {
        troll.say(&format!("/nick {}", names.next().expect("numbers")));
        rig.advance(SECOND / 20);
        is_refused |= troll
            .received()
            .contains("you change your nick too often, try again in ");
    }
    assert!(is_refused);
    // The operator sees its name, and has typed a command two seconds later.
    for _ in 0..5 {
        troll.say("boo");
        rig.settle();
        let seen = op.received();
        let line = seen
            .lines()
            .rfind(|line| line.ends_with(": boo"))
            .expect("it is heard");
        let (name, _) = line.split_once(": ").expect("a name");
        for _ in 0..40 {
            troll.say(&format!("/nick {}", names.next().expect("numbers")));
            rig.advance(SECOND / 20);
        }
        op.say(&format!("/kick {name}"));
        rig.settle();
        if troll.has_ended() {
            return;
        }
    }
    panic!("it cannot be kicked");
}

// In a room that is too large for notices as well.
#[test]
fn a_member_that_renames_all_the_time_is_refused_where_nobody_is_told() {
    let mut rig = room_with(|config| config.interactive.quiet_above_members = 1);
    let [troll, witness] = people(&mut rig, ["troll", "witness"]);
    let mut is_refused = false;
    for n in 0..400 {
        troll.say(&format!("/nick x{n}"));
        rig.advance(SECOND / 20);
        is_refused |= troll
            .received()
            .contains("you change your nick too often, try again in ");
    }
    assert!(is_refused);
    assert_eq!(witness.received(), "");
}
