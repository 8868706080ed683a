//! Bans and mutes as operators see them: times and reasons, who gave them, and addresses.

use std::net::IpAddr;

use super::*;

const HERE: [u8; 4] = [192, 0, 2, 1];
const THERE: [u8; 4] = [192, 0, 2, 2];

/// A room in which op is an operator.
fn moderated(name: &str) -> (Rig, Wire, TempFile) {
    let file = TempFile::new(name, "secret\n");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(file.path().into()));
    let op = rig.join("op");
    op.say("/op secret");
    rig.settle();
    op.received();
    (rig, op, file)
}

/// Somebody joins from an address, and has read all that it got but for its welcome's last line.
fn join_from(rig: &mut Rig, ip: [u8; 4], nick: &str) -> Wire {
    let wire = rig.connect_from(IpAddr::from(ip));
    wire.say(nick);
    rig.settle();
    wire
}

/// The lines behind the welcome.
fn behind_welcome(wire: &Wire) -> String {
    let received = unbroken(wire);
    let (_, welcome) = received.split_once("* welcome, ").expect("it is welcome");
    let (_, rest) = welcome.split_once("\r\n").expect("a line");
    rest.to_owned()
}

#[test]
fn operators_can_list_bans_and_mutes_with_time_author_and_reason() {
    let (mut rig, op, _file) = moderated("lists");
    let bob = join_from(&mut rig, HERE, "bob");
    expect_answer(
        &mut rig,
        &op,
        "/bans",
        "* bob joined\r\n* nobody is banned\r\n",
    );
    expect_answer(&mut rig, &op, "/mutes", "* nobody is muted\r\n");
    for line in [
        "/ban eve 2h sells things",
        "/ban 10.0.0.0/8 1d",
        "/ban 192.0.2.9",
        "/mute bob 90 too loud",
        "/mute 192.0.2.7 5m",
    ] {
        op.say(line);
    }
    rig.settle();
    op.received();
    let told = "* you are muted for 1 hour 30 minutes (too loud): nobody sees what you say\r\n";
    assert_eq!(behind_welcome(&bob), told);
    rig.advance(MINUTE);
    let bans = "* eve is banned for 1 hour 59 minutes, by op: sells things\r\n\
        * 10.0.0.0/8 is banned for 23 hours 59 minutes, by op\r\n\
        * 192.0.2.9 is banned, by op\r\n";
    expect_answer(&mut rig, &op, "/bans", bans);
    let mutes = "* bob is muted for 1 hour 29 minutes, by op: too loud\r\n\
        * 192.0.2.7 is muted for 4 minutes, by op\r\n";
    expect_answer(&mut rig, &op, "/mutes", mutes);
    let refused = "* only operators can do that\r\n";
    expect_answer(&mut rig, &bob, "/mutes", refused);
    expect_answer(&mut rig, &bob, "/bans", refused);
}

#[test]
fn who_is_muted_and_comes_back_under_another_name_is_still_muted() {
    let (mut rig, op, _file) = moderated("back");
    let troll = join_from(&mut rig, HERE, "troll");
    op.say("/mute troll 1h");
    rig.settle();
    troll.say("/quit");
    rig.settle();
    let other = join_from(&mut rig, THERE, "other");
    assert_eq!(behind_welcome(&other), "");
    let again = join_from(&mut rig, HERE, "sweet");
    let told = "* you are muted for 1 hour: nobody sees what you say\r\n";
    assert_eq!(behind_welcome(&again), told);
    op.received();
    again.say("hello");
    rig.settle();
    assert_eq!(op.received(), "");
    expect_answer(
        &mut rig,
        &op,
        "/mutes",
        "* sweet is muted for 1 hour, by op\r\n",
    );
    // Another member that shares the address can talk.
    let neighbour = join_from(&mut rig, HERE, "neighbour");
    assert_eq!(behind_welcome(&neighbour), "");
    op.received();
    neighbour.say("hi");
    rig.settle();
    assert_eq!(op.received(), "neighbour: hi\r\n");
}

#[test]
fn all_of_an_address_can_be_muted() {
    let (mut rig, op, _file) = moderated("address");
    let bob = join_from(&mut rig, HERE, "bob");
    let script = rig.connect_plainly_from(IpAddr::from(HERE));
    script.say("script");
    let other = join_from(&mut rig, THERE, "other");
    rig.settle();
    received([&op, &bob, &other]);
    expect_answer(&mut rig, &op, "/mute 192.0.2.1", "* 192.0.2.1 is muted\r\n");
    assert_eq!(
        bob.received(),
        "* you are muted: nobody sees what you say\r\n"
    );
    for (member, heard) in [(&bob, ""), (&script, ""), (&other, "other: hi\r\n")] {
        member.say("hi");
        rig.settle();
        assert_eq!(op.received(), heard);
    }
    let not_own = "* that is you: name somebody else\r\n";
    expect_answer(&mut rig, &op, "/mute 127.0.0.1", not_own);
    bob.received();
    expect_answer(
        &mut rig,
        &op,
        "/unmute 192.0.2.1",
        "* 192.0.2.1 is no longer muted\r\n",
    );
    assert_eq!(bob.received(), "* you are no longer muted\r\n");
    expect_answer(
        &mut rig,
        &op,
        "/unmute 192.0.2.1",
        "* 192.0.2.1 is not muted\r\n",
    );
}

#[test]
fn who_comes_from_a_muted_address_is_told_so() {
    let (mut rig, op, _file) = moderated("address-late");
    op.say("/mute 192.0.2.1 2h too loud");
    rig.settle();
    let late = join_from(&mut rig, HERE, "late");
    let told = "* you are muted for 2 hours (too loud): nobody sees what you say\r\n";
    assert_eq!(behind_welcome(&late), told);
}

#[test]
fn who_is_muted_already_is_told_of_a_mute_that_lasts_longer_and_of_no_other() {
    let (mut rig, op, _file) = moderated("longer");
    let bob = join_from(&mut rig, HERE, "bob");
    let told = |time| format!("* you are muted{time}: nobody sees what you say\r\n");
    bob.received();
    for (command, heard) in [
        ("/mute bob 2h", told(" for 2 hours")),
        ("/mute 192.0.2.1 5m", String::new()),
        ("/mute 192.0.2.1 2h", String::new()),
        ("/mute 192.0.2.1 3h", told(" for 3 hours")),
        // It replaces its own, so it may be shorter.
        ("/mute 192.0.2.1 150m", told(" for 2 hours 30 minutes")),
        ("/mute bob", told("")),
        ("/mute 192.0.2.1", String::new()),
        ("/mute bob 1m", String::new()),
    ] {
        op.say(command);
        rig.settle();
        assert_eq!(bob.received(), heard, "{command}");
    }
}

#[test]
fn operators_are_told_of_each_mute_that_a_member_is_under() {
    let (mut rig, op, _file) = moderated("twice");
    let _bob = join_from(&mut rig, HERE, "bob");
    op.say("/mute 192.0.2.1 5m");
    op.say("/mute bob 2h rude");
    rig.settle();
    op.received();
    let told = "* bob has been here for 0 s, silent for 0 s, without TLS\r\n\
        * bob comes from 192.0.2.1\r\n\
        * bob is muted for 5 minutes, by op\r\n\
        * bob is muted for 2 hours, by op: rude\r\n";
    expect_answer(&mut rig, &op, "/whois bob", told);
    let script = rig.connect_plainly_from(IpAddr::from(HERE));
    script.say("script");
    rig.settle();
    op.received();
    let told = "* script is a script, silent for 0 s, without TLS\r\n\
        * script comes from 192.0.2.1\r\n\
        * script is muted for 5 minutes, by op\r\n";
    expect_answer(&mut rig, &op, "/whois script", told);
}

#[test]
fn what_somebody_has_said_can_be_forgotten() {
    let (mut rig, op, _file) = moderated("forget");
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    bob.say("one");
    bob.say("/nick rob");
    bob.say("two");
    alice.say("three");
    rig.settle();
    received([&op, &alice, &bob]);
    expect_answer(
        &mut rig,
        &op,
        "/forget rob",
        "* 2 lines by rob are forgotten\r\n",
    );
    expect_answer(&mut rig, &alice, "/last", "* 0 s ago, alice: three\r\n");
    let none = "* nothing is kept that \"rob\" has said\r\n";
    expect_answer(&mut rig, &op, "/forget rob", none);
    expect_answer(
        &mut rig,
        &op,
        "/forget alice",
        "* 1 line by alice is forgotten\r\n",
    );
}

#[test]
fn in_a_moderated_room_only_operators_are_heard_and_who_has_a_voice() {
    let (mut rig, op, _file) = moderated("class");
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    let script = rig.connect_plainly();
    script.say("script");
    rig.settle();
    received([&op, &alice, &bob]);
    let own = "* only operators and those they /voice can talk; /moderate again ends it\r\n";
    expect_answer(&mut rig, &op, "/moderate", own);
    let told = "* op moderates the room: only those with a voice can talk\r\n";
    assert_eq!(received([&alice, &bob, &script]), [told, told, ""]);
    let refused = "* the room is moderated, that was not sent; you can /msg an operator\r\n";
    for line in ["hi", "/me waves", "//who", "help"] {
        expect_answer(&mut rig, &alice, line, refused);
    }
    script.say("beep");
    rig.settle();
    let for_scripts = "* the room is moderated, that was not sent\r\n";
    assert_eq!(script.received(), for_scripts);
    expect_answer(
        &mut rig,
        &alice,
        "/msg op may I?",
        "* you tell op: may I?\r\n",
    );
    assert_eq!(received([&op, &bob]), ["* alice tells you: may I?\r\n", ""]);
    expect_answer(
        &mut rig,
        &op,
        "/voice alice",
        "* alice can talk while the room is moderated\r\n",
    );
    assert_eq!(
        alice.received(),
        "* you can talk while the room is moderated\r\n"
    );
    alice.say("thanks");
    rig.settle();
    op.say("well");
    rig.settle();
    assert_eq!(bob.received(), "alice: thanks\r\nop: well\r\n");
    let late = rig.join("late");
    let welcome = "* the room is moderated: you can listen, and /msg an operator\r\n";
    assert!(late.received().ends_with(welcome));
    bob.received();
    bob.say("/quit with words");
    rig.settle();
    assert!(late.received().ends_with("* bob left\r\n"));
    received([&op, &alice]);
    expect_answer(&mut rig, &op, "/moderate", "* everybody can talk again\r\n");
    late.say("hello");
    rig.settle();
    let told = "* op lets everybody talk again\r\nlate: hello\r\n";
    assert_eq!(received([&op, &alice]), ["late: hello\r\n", told]);
}

#[test]
fn each_of_two_muted_members_of_an_address_stays_muted() {
    let (mut rig, op, _file) = moderated("two");
    let [one, two, named] = ["one", "two", "named"].map(|nick| join_from(&mut rig, HERE, nick));
    for nick in ["two", "one", "named"] {
        op.say(&format!("/mute {nick} 1h {nick}"));
        rig.settle();
    }
    // The first who leaves is the first whose mute is taken over, whoever was muted first.
    for wire in [&one, &two, &named] {
        wire.say("/quit");
        rig.settle();
        rig.advance(SECOND);
    }
    op.received();
    let told = |why| format!("* you are muted for 1 hour ({why}): nobody sees what you say\r\n");
    let again = [("named", "named"), ("new", "one"), ("newer", "two")];
    let mut back = Vec::new();
    for (nick, why) in again {
        let wire = join_from(&mut rig, HERE, nick);
        assert_eq!(behind_welcome(&wire), told(why), "{nick}");
        back.push(wire);
    }
    let other = join_from(&mut rig, HERE, "other");
    assert_eq!(behind_welcome(&other), "");
    op.received();
    for wire in back.iter().chain([&other]) {
        wire.say("hello");
        rig.settle();
    }
    assert_eq!(op.received(), "other: hello\r\n");
}

#[test]
fn who_is_banned_is_told_the_reason() {
    let (mut rig, op, _file) = moderated("reason");
    let bob = join_from(&mut rig, HERE, "bob");
    let eve = join_from(&mut rig, THERE, "eve");
    let nameless = join_from(&mut rig, THERE, "");
    let script = rig.connect_plainly_from(IpAddr::from(THERE));
    script.say("script");
    rig.settle();
    received([&bob, &eve, &nameless, &script]);
    op.say("/ban bob 5m sells \u{202e}things");
    rig.settle();
    let told = "* you are banned from this room (sells \u{fffd}things), goodbye\r\n";
    let left = "* bob left (banned)\r\n";
    assert_eq!(received([&bob, &eve]), [told, left]);
    op.say("/ban 192.0.2.2 1h too loud");
    rig.settle();
    let told = "* you are banned from this room (too loud), goodbye\r\n";
    let for_scripts = "* you are banned from this room, goodbye\r\n";
    let gone = received([&eve, &nameless, &script]);
    assert_eq!(gone, [told, told, for_scripts]);
    let again = rig.connect_from(IpAddr::from(THERE));
    let refused = "* your address is banned from this server (too loud)\r\n";
    assert_eq!(again.received(), refused);
    let script = rig.connect_plainly_from(IpAddr::from(THERE));
    let refused = "* your address is banned from this server\r\n";
    assert_eq!(script.received(), refused);
}

// The ban ended the connection before the reason was written.
#[test]
fn who_is_kicked_reads_why_also_if_its_address_is_banned_at_once() {
    let (mut rig, op, _file) = moderated("at-once");
    for (command, told) in [
        ("/kick bob rude", "* op has kicked you: rude\r\n"),
        (
            "/ban bob 5m rude",
            "* you are banned from this room (rude), goodbye\r\n",
        ),
    ] {
        let bob = join_from(&mut rig, HERE, "bob");
        bob.received();
        op.send(format!("{command}\r\n/ban 192.0.2.1\r\n"));
        rig.settle();
        assert_eq!(bob.received(), told);
        op.say("/unban 192.0.2.1");
        rig.settle();
    }
}

#[test]
fn a_banned_user_of_a_unix_socket_is_told_of_its_user_and_of_no_address() {
    let (mut rig, op, _file) = moderated("user");
    let eve = rig.connect_as(4000);
    eve.say("eve");
    rig.settle();
    eve.received();
    op.say("/ban uid 4000");
    rig.settle();
    let again = rig.connect_as(4000);
    assert_eq!(
        again.received(),
        "* your user is banned from this server\r\n"
    );
    op.say("/unban uid 4000");
    op.say("/ban uid 4000 1h too loud");
    rig.settle();
    let again = rig.connect_as(4000);
    let refused = "* your user is banned from this server (too loud)\r\n";
    assert_eq!(again.received(), refused);
}

#[test]
fn scripts_get_the_name_of_an_announcer_bare() {
    let (mut rig, op, _file) = moderated("bare");
    let [alice] = people(&mut rig, ["alice"]);
    let script = rig.connect_plainly();
    script.say("script");
    op.say("/nick שלום");
    alice.say("/ignore שלום");
    rig.settle();
    received([&op, &alice, &script]);
    expect_answer(
        &mut rig,
        &op,
        "/announce tea is ready",
        "* announced to 2 others\r\n",
    );
    let people = "* \u{2068}שלום\u{2069} announces: tea is ready\r\n";
    let scripts = "* שלום announces: tea is ready\r\n";
    assert_eq!(received([&alice, &script]), [people, scripts]);
    let late = rig.join("late");
    let kept = "* 0 s ago, * \u{2068}שלום\u{2069} announces: tea is ready\r\n";
    assert_eq!(late.received().matches("tea is ready").count(), 1);
    expect_answer(&mut rig, &late, "/last", kept);
}

#[test]
fn an_operator_is_told_an_address_unless_it_is_its_own() {
    let (mut rig, op, _file) = moderated("theirs");
    for (ip, nick) in [
        (HERE, "bob"),
        (HERE, "eve"),
        (THERE, "joe"),
        ([127, 0, 0, 1], "mac"),
    ] {
        join_from(&mut rig, ip, nick);
    }
    op.received();
    for (command, told) in [
        (
            "/mute bob",
            "* bob is muted\r\n* bob comes from 192.0.2.1; /mute 192.0.2.1 mutes it\r\n",
        ),
        (
            "/kick eve",
            "* eve was kicked by op\r\n* eve came from 192.0.2.1; /ban 192.0.2.1 keeps it out\r\n",
        ),
        (
            "/ban joe",
            "* joe left (banned)\r\n* joe is banned\r\n\
             * joe came from 192.0.2.2; /ban 192.0.2.2 keeps it out\r\n",
        ),
        (
            "/mute mac",
            "* mac is muted\r\n* mac comes from the same address as you\r\n",
        ),
    ] {
        expect_answer(&mut rig, &op, command, told);
    }
    let user = rig.connect_as(1000);
    user.say("user");
    user.say("/op secret");
    let same = rig.connect_as(1000);
    same.say("same");
    rig.settle();
    user.received();
    let told = "* same was kicked by user\r\n* same is the same user as you\r\n";
    expect_answer(&mut rig, &user, "/kick same", told);
}

#[test]
fn a_room_is_moderated_or_not_as_it_is_said() {
    let (mut rig, op, _file) = moderated("switch");
    let [alice] = people(&mut rig, ["alice"]);
    op.received();
    let on = "* only operators and those they /voice can talk; /moderate again ends it\r\n";
    let off = "* everybody can talk again\r\n";
    let told_on = "* op moderates the room: only those with a voice can talk\r\n";
    let told_off = "* op lets everybody talk again\r\n";
    for (command, own, told) in [
        ("/moderate on", on, told_on),
        ("/moderate ON", on, ""),
        ("/moderate", off, told_off),
        ("/moderate off", off, ""),
        ("/moderate", on, told_on),
        ("/moderate off", off, told_off),
    ] {
        expect_answer(&mut rig, &op, command, own);
        assert_eq!(alice.received(), told, "{command}");
    }
    let usage = "* write /moderate [on|off]: lets only operators and those with /voice talk\r\n";
    expect_answer(&mut rig, &op, "/moderate now", usage);
    let hidden = "* joins, leaves and renames are hidden; /quiet shows them again\r\n";
    expect_answer(&mut rig, &alice, "/quiet on", hidden);
    expect_answer(&mut rig, &alice, "/quiet on", hidden);
    let shown = "* joins, leaves and renames are shown again\r\n";
    expect_answer(&mut rig, &alice, "/quiet off", shown);
}

#[test]
fn what_is_no_time_is_told_so() {
    let (mut rig, op, _file) = moderated("no-time");
    let [_bob] = people(&mut rig, ["bob"]);
    op.received();
    for (command, word) in [
        ("/ban eve 5y", "5y"),
        ("/mute bob 0", "0"),
        ("/mute bob 367d spam", "367d"),
    ] {
        let told = format!("* \"{word}\" is no time: write 5m, 2h or 1d (at most 366d)\r\n");
        expect_answer(&mut rig, &op, command, &told);
    }
    expect_answer(&mut rig, &op, "/bans", "* nobody is banned\r\n");
}

#[test]
fn what_is_forgotten_goes_by_the_name_and_by_the_member() {
    let (mut rig, op, _file) = moderated("by-name");
    let [second, bob] = people(&mut rig, ["second", "bob"]);
    second.say("/op secret");
    bob.say("one");
    bob.say("/nick rob");
    bob.say("two");
    rig.settle();
    received([&op, &second]);
    // Nobody has that name any more: only what was said under it is meant.
    let told = "* 1 line by bob is forgotten\r\n";
    expect_answer(&mut rig, &op, "/forget bob", told);
    assert_eq!(second.received(), "* operator op: /forget bob\r\n");
    let none = "* nothing is kept that \"bob\" has said\r\n";
    expect_answer(&mut rig, &op, "/forget bob", none);
    assert_eq!(second.received(), "", "nothing has changed");
    expect_answer(&mut rig, &op, "/last", "* 0 s ago, rob: two\r\n");
}

#[test]
fn a_voice_is_taken_back_by_the_same_command_and_other_operators_are_told() {
    let (mut rig, op, _file) = moderated("voice");
    let [second, alice] = people(&mut rig, ["second", "alice"]);
    second.say("/op secret");
    op.say("/moderate");
    rig.settle();
    received([&op, &second, &alice]);
    for (has_voice, own, told) in [
        (
            true,
            "* alice can talk while the room is moderated\r\n",
            "* you can talk while the room is moderated\r\n",
        ),
        (
            false,
            "* alice can no longer talk while the room is moderated\r\n",
            "* you can no longer talk while the room is moderated\r\n",
        ),
    ] {
        expect_answer(&mut rig, &op, "/voice alice", own);
        assert_eq!(second.received(), "* operator op: /voice alice\r\n");
        assert_eq!(alice.received(), told);
        alice.say("hello");
        rig.settle();
        let heard = if has_voice { "alice: hello\r\n" } else { "" };
        assert_eq!(second.received(), heard);
        received([&op, &alice]);
    }
    let own = "* that is you: name somebody else\r\n";
    expect_answer(&mut rig, &op, "/voice op", own);
}

#[test]
fn who_wants_no_joins_is_told_that_the_room_is_moderated() {
    let (mut rig, op, _file) = moderated("quiet");
    let [alice] = people(&mut rig, ["alice"]);
    alice.say("/quiet");
    rig.settle();
    alice.received();
    op.say("/moderate");
    rig.settle();
    let told = "* op moderates the room: only those with a voice can talk\r\n";
    assert_eq!(alice.received(), told);
}

#[test]
fn a_muted_operator_announces_nothing() {
    let (mut rig, op, _file) = moderated("silent");
    let [second, alice] = people(&mut rig, ["second", "alice"]);
    second.say("/op secret");
    op.say("/mute second");
    rig.settle();
    received([&second, &alice]);
    let refused = "* you are muted, that was not sent\r\n";
    expect_answer(&mut rig, &second, "/announce listen", refused);
    assert_eq!(alice.received(), "");
    let refused = "* you are muted: you cannot do that\r\n";
    expect_answer(&mut rig, &second, "/nick third", refused);
    expect_answer(&mut rig, &second, "/away", refused);
}

#[test]
fn what_is_kept_of_a_mute_follows_whom_it_is_for_and_ends_no_sooner() {
    let (mut rig, op, _file) = moderated("kept");
    let troll = join_from(&mut rig, HERE, "troll");
    op.say("/mute troll 5m spam");
    rig.settle();
    rig.advance(SECOND / 2);
    let (text, version) = rig.sanctions();
    let kept = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    // Until when in whole seconds, rounded up.
    assert_eq!(kept(&text), ["mute\tname\ttroll\t300\top\tspam"]);
    troll.say("/quit");
    rig.settle();
    assert_eq!(rig.sanctions().1, version, "nothing to write");
    join_from(&mut rig, HERE, "sweet");
    let (text, later) = rig.sanctions();
    assert_ne!(later, version, "that is to be written");
    assert_eq!(kept(&text), ["mute\tname\tsweet\t300\top\tspam"]);
}

#[test]
fn more_bans_than_there_may_be_are_not_taken_back_silently() {
    let bans = |kind: &str, named: &str| -> String {
        let whom = |n: usize| match named {
            "peers" => format!("10.0.{}.{}", n / 256, n % 256),
            _ => format!("n{n}"),
        };
        let line = |n| format!("{kind}\t{named}\t{}\t-\top\t\n", whom(n));
        (0..1001).map(line).collect()
    };
    for (kind, named) in [
        ("ban", "peers"),
        ("ban", "name"),
        ("mute", "name"),
        ("mute", "peers"),
    ] {
        let (mut rig, _op, _file) = moderated("many");
        let refused = rig.restore(&bans(kind, named));
        let why = "line 1001: there are too many before it";
        assert_eq!(refused, Err(why.to_owned()), "{kind} {named}");
    }
}
