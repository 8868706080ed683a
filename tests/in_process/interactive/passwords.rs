//! Passwords: of the room, before the nick; and what a wrong one costs.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use line_chat::engine::Engine;

use super::*;

const WILL_ECHO: &[u8] = b"\xff\xfb\x01";
const WONT_ECHO: &[u8] = b"\xff\xfc\x01";
const DO_ECHO: &[u8] = b"\xff\xfd\x01";
const DONT_ECHO: &[u8] = b"\xff\xfe\x01";

const GREETING: &[u8] =
    b"\xff\xfd\0\r\0* this is a chat room: what you type goes to everybody in it, line by line\r\n";
const ASK: &[u8] = b"* password?\r\n";
const WRONG: &[u8] = b"* wrong password, try again\r\n";
const LAST: &[u8] = b"* wrong password, and that was the last try, goodbye\r\n";

/// A room with the password `secret`.
fn guarded(name: &str, configure: impl FnOnce(&mut Config)) -> (Rig, TempFile) {
    let file = TempFile::new(name, "secret\n");
    let rig = Rig::new(|config| {
        config.interactive.password_file = Some(file.path().into());
        configure(config);
    });
    (rig, file)
}

fn guarded_for_people(name: &str) -> (Rig, TempFile) {
    guarded(name, |config| config.interactive.enabled = true)
}

#[test]
fn a_password_is_asked_for_before_the_nick_and_not_shown_while_it_is_typed() {
    let (mut rig, _file) = guarded_for_people("room");
    let bob = rig.connect();
    assert_eq!(bob.received_bytes(), [GREETING, WILL_ECHO, ASK].concat());
    bob.send(DO_ECHO);
    rig.settle();
    let asked = b"\xff\xfd\x1f";
    assert_eq!(bob.received_bytes(), asked, "an answer is not answered");
    bob.send("secret\r\n");
    rig.settle();
    let asked = [WONT_ECHO, b"\r\n* what is your nick?\r\n"].concat();
    assert_eq!(bob.received_bytes(), asked);
    bob.send([DONT_ECHO, b"bob\r\n"].concat());
    rig.settle();
    assert!(bob.received().starts_with("* welcome, bob. "));
    bob.send(DO_ECHO);
    rig.settle();
    assert_eq!(
        bob.received_bytes(),
        WONT_ECHO,
        "this one is a new question"
    );
}

#[test]
fn who_refuses_to_be_echoed_can_join_as_well() {
    let (mut rig, _file) = guarded_for_people("refuses");
    let bob = rig.connect();
    bob.send([DONT_ECHO, b"secret\r\nbob\r\n"].concat());
    rig.settle();
    let received = bob.received_bytes();
    let start = [
        GREETING,
        WILL_ECHO,
        ASK,
        b"\xff\xfd\x1f\r\n* what is your nick?\r\n* welcome, bob",
    ];
    assert!(
        received.starts_with(&start.concat()),
        "{}",
        received.escape_ascii()
    );
}

#[test]
fn a_wrong_password_costs_a_second_and_the_third_closes() {
    let (mut rig, _file) = guarded("wrong", |config| {
        config.interactive.enabled = true;
        config.limits.max_refusals = Some(3);
    });
    let eve = rig.connect();
    eve.received_bytes();
    eve.send("one\r\nsecret\r\neve\r\n");
    rig.settle();
    assert_eq!(
        eve.received_bytes(),
        [b"\r\n", WRONG].concat(),
        "the next is heard later"
    );
    rig.advance(SECOND / 2);
    assert_eq!(eve.received_bytes(), b"");
    rig.advance(SECOND / 2);
    assert!(
        eve.received_bytes()
            .starts_with(&[WONT_ECHO, b"\r\n* what"].concat())
    );
    let mallory = rig.connect();
    mallory.received_bytes();
    mallory.send("a\r\nb\r\nc\r\n");
    rig.settle();
    rig.advance(SECOND);
    rig.advance(SECOND);
    let expected = [b"\r\n", WRONG, b"\r\n", WRONG, b"\r\n", LAST].concat();
    assert_eq!(mallory.received_bytes(), expected);
    assert!(mallory.has_ended());
}

#[test]
fn an_over_long_password_is_a_wrong_one() {
    let (mut rig, _file) = guarded("long", |config| config.limits.max_line_bytes = 10);
    let eve = rig.connect();
    eve.received_bytes();
    eve.say(&"x".repeat(99));
    rig.settle();
    assert_eq!(eve.received_bytes(), WRONG);
}

#[test]
fn an_address_has_ten_wrong_ones_and_then_has_to_wait() {
    let (mut rig, _file) = guarded_for_people("address");
    let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
    let attempt = |rig: &mut Rig, client: &Wire, password: &str| {
        client.received_bytes();
        client.say(password);
        rig.settle();
        client.received_bytes()
    };
    for n in 0..10 {
        let eve = rig.connect_from(ip);
        let told = attempt(&mut rig, &eve, "a");
        assert_eq!(told, [b"\r\n", WRONG].concat(), "after {n}");
    }
    let eve = rig.connect_from(ip);
    let told = attempt(&mut rig, &eve, "secret");
    let wait = b"\r\n* too many tries from your address, try again in 6 s\r\n";
    assert_eq!(told, wait, "even the right one");
    let bob = rig.connect();
    let told = attempt(&mut rig, &bob, "secret");
    assert!(
        told.starts_with(WONT_ECHO),
        "another address is not concerned"
    );
    rig.advance(6 * SECOND - SECOND / 1000);
    let told = attempt(&mut rig, &eve, "secret");
    assert!(
        told.ends_with(b" try again in 1 s\r\n"),
        "{}",
        told.escape_ascii()
    );
    rig.advance(SECOND / 1000);
    let told = attempt(&mut rig, &eve, "secret");
    assert!(told.starts_with(WONT_ECHO), "it may try again");
}

#[test]
fn a_user_of_a_unix_socket_has_ten_wrong_ones_whatever_others_try() {
    let (mut rig, _file) = guarded_for_people("user");
    let attempt = |rig: &mut Rig, uid: u32, password: &str| {
        let client = rig.connect_as(uid);
        client.received_bytes();
        client.say(password);
        rig.settle();
        String::from_utf8_lossy(&client.received_bytes()).into_owned()
    };
    for n in 0..10 {
        let told = attempt(&mut rig, 1000, "wrong");
        assert!(told.contains("* wrong password, "), "{n}: {told}");
    }
    let told = attempt(&mut rig, 1000, "secret");
    assert!(told.contains("* too many tries "), "{told}");
    let told = attempt(&mut rig, 1001, "secret");
    assert!(told.ends_with("* what is your nick?\r\n"), "{told}");
}

/// Tries of the room's password and of the operators' count together, at each listener and under any name.
#[test]
fn an_address_has_ten_wrong_ones_in_all_whatever_it_tries_them_for() {
    let ops = TempFile::new("all-for-operators", "key\n");
    let (mut rig, _file) = guarded("all", |config| {
        config.interactive.enabled = true;
        config.interactive.ops_password_file = Some(ops.path().into());
    });
    let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
    let answer = |rig: &mut Rig, client: &Wire, line: &str| {
        client.received_bytes();
        client.say(line);
        rig.settle();
        String::from_utf8_lossy(&client.received_bytes()).into_owned()
    };
    let eve = rig.connect_from(ip);
    answer(&mut rig, &eve, "secret\r\neve");
    for n in 0..10 {
        let client = match n % 4 {
            1 => rig.connect_plainly_from(ip),
            _ => rig.connect_from(ip),
        };
        let line = match n % 4 {
            0 | 1 => "wrong".to_owned(),
            2 => format!("secret\r\nguest{n}\r\n/op wrong"),
            _ => format!("secret\r\nguest{n}\r\n/nick other{n}\r\n/op wrong"),
        };
        let told = answer(&mut rig, &client, &line);
        assert!(told.contains("wrong password"), "{n}: {told}");
        client.hang_up();
        rig.settle();
    }
    let (person, script) = (rig.connect_from(ip), rig.connect_plainly_from(ip));
    for (client, line) in [(&person, "secret"), (&script, "secret"), (&eve, "/op key")] {
        let told = answer(&mut rig, client, line);
        assert!(told.contains("* too many tries"), "{line}: {told}");
    }
}

/// Wrong passwords from others leave this address no tries.
fn use_up_the_tries(rig: &mut Rig, ip: IpAddr) {
    for _ in 0..10 {
        let eve = rig.connect_from(ip);
        eve.say("a");
        rig.settle();
    }
}

// The third answer told somebody with the right password that it was wrong, and closed the connection.
#[test]
fn while_an_address_has_no_tries_its_clients_are_told_so_and_lose_none() {
    let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
    let tell =
        |seconds| format!("* too many tries from your address, try again in {seconds} s\r\n");
    for is_interactive in [true, false] {
        let name = format!("no-tries-{is_interactive}");
        let (mut rig, _file) = guarded(&name, |it| {
            it.interactive.enabled = is_interactive;
            it.limits.max_refusals = Some(3);
        });
        let enter = if is_interactive { "\r\n" } else { "" };
        use_up_the_tries(&mut rig, ip);
        let bob = rig.connect_from(ip);
        let attempt = |rig: &mut Rig, password: &str| {
            bob.received_bytes();
            bob.say(password);
            rig.settle();
            String::from_utf8_lossy(&bob.received_bytes()).into_owned()
        };
        for (n, password) in ["secret", "secret", "secret", "wrong", "secret"]
            .iter()
            .enumerate()
        {
            let told = attempt(&mut rig, password);
            assert_eq!(told, [enter, &tell(6 - n)].concat(), "answer {n}");
            // Each answer pauses its client for a second.
            assert_eq!(attempt(&mut rig, ""), "");
            rig.advance(SECOND);
            bob.received_bytes();
        }
        // What is too long to be the password is not looked at either.
        let told = attempt(&mut rig, &"x".repeat(5000));
        assert_eq!(told, [enter, &tell(1)].concat());
        assert!(!bob.has_ended());
        // Nothing of this has made the wait longer, and all three tries are left.
        for (pause, answer) in [(6, WRONG), (6, WRONG), (6, LAST)] {
            rig.advance(pause * SECOND);
            let told = attempt(&mut rig, "wrong");
            assert_eq!(told.as_bytes(), [enter.as_bytes(), answer].concat());
        }
        assert!(bob.has_ended());
    }
}

#[test]
fn who_had_tries_before_has_as_many_after_the_wait() {
    let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
    for wrong_before in [0, 1, 2] {
        let (mut rig, _file) = guarded(&format!("before-{wrong_before}"), |_| {});
        let bob = rig.connect_from(ip);
        for _ in 0..wrong_before {
            bob.say("wrong");
            rig.settle();
            rig.advance(SECOND);
        }
        use_up_the_tries(&mut rig, ip);
        for _ in 0..4 {
            bob.say("secret");
            rig.settle();
        }
        rig.advance(6 * SECOND);
        bob.received_bytes();
        bob.say("wrong");
        rig.settle();
        let answer = if wrong_before == 2 { LAST } else { WRONG };
        assert_eq!(bob.received_bytes(), answer, "after {wrong_before}");
        assert_eq!(bob.has_ended(), wrong_before == 2);
    }
}

#[test]
fn on_the_bare_wire_a_password_is_a_line_like_any_other() {
    let (mut rig, _file) = guarded("bare", |_| {});
    let bob = rig.connect();
    assert_eq!(bob.received_bytes(), ASK);
    bob.send("\r\nnonsense\r\n");
    rig.settle();
    assert_eq!(bob.received_bytes(), WRONG);
    rig.advance(SECOND);
    bob.send("secret\r\nbob\r\n");
    rig.settle();
    assert_eq!(bob.received_bytes(), b"");
    let alice = rig.connect();
    alice.send("secret\r\nalice\r\nhi\r\n");
    rig.settle();
    assert_eq!(bob.received_bytes(), b"alice: hi\r\n");
}

#[test]
fn a_plain_listener_beside_people_has_the_password_as_well() {
    let (mut rig, _file) = guarded_for_people("plain");
    let script = rig.connect_plainly();
    assert_eq!(script.received_bytes(), ASK);
}

#[test]
fn nothing_of_the_room_is_seen_before_the_password() {
    let (mut rig, _file) = guarded_for_people("nothing");
    let bob = rig.connect();
    bob.send("secret\r\nbob\r\n");
    rig.settle();
    let eve = rig.connect();
    eve.received_bytes();
    bob.say("a secret");
    rig.settle();
    rig.advance(119 * SECOND);
    assert_eq!(eve.received_bytes(), b"");
    rig.advance(SECOND);
    assert_eq!(
        eve.received(),
        "* you have taken longer than 120 s for the password, goodbye: connect again\r\n"
    );
}

#[test]
fn who_has_come_to_the_wrong_place_can_leave_before_the_password() {
    let (mut rig, _file) = guarded_for_people("quit");
    let lost = rig.connect();
    lost.received_bytes();
    lost.say("/quit and never come back");
    rig.settle();
    assert_eq!(lost.received_bytes(), b"\r\n* goodbye\r\n");
}

#[test]
fn a_slash_of_another_shape_leaves_before_the_password_as_well() {
    let (mut rig, _file) = guarded_for_people("slashes");
    for line in [
        "\u{ff0f}quit",
        "\u{2044}QUIT bye",
        "\u{3001}quit",
        "\\quit",
        "/ quit",
    ] {
        let lost = rig.connect();
        lost.received_bytes();
        lost.say(line);
        rig.settle();
        assert_eq!(lost.received_bytes(), b"\r\n* goodbye\r\n", "{line}");
    }
    // Other commands are passwords, and so is what is only like a slash.
    for line in ["\u{ff0f}who", "\\quiet", "\u{3001}quitt"] {
        let eve = rig.connect();
        eve.received_bytes();
        eve.say(line);
        rig.settle();
        assert_eq!(eve.received_bytes(), [b"\r\n", WRONG].concat(), "{line}");
    }
}

#[test]
fn a_password_may_look_like_a_command() {
    let (mut rig, file) = guarded_for_people("command");
    for password in ["/quit", "\u{ff0f}quit", "\\quit", "/ quit"] {
        file.write(password);
        rig.read_files_again();
        let bob = rig.connect();
        bob.received_bytes();
        bob.say(password);
        rig.settle();
        assert!(bob.received_bytes().starts_with(WONT_ECHO), "{password}");
    }
}

#[test]
fn enter_at_the_password_shows_the_prompt_again() {
    let (mut rig, _file) = guarded_for_people("enter");
    let bob = rig.connect();
    bob.received_bytes();
    bob.send("\r\n");
    rig.settle();
    assert_eq!(bob.received_bytes(), [b"\r\n", ASK].concat());
}

#[test]
fn another_protocol_is_no_wrong_password() {
    let (mut rig, _file) = guarded("protocol", |_| {});
    for _ in 0..12 {
        let browser = rig.connect();
        browser.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        rig.settle();
        let goodbye = b"* this is a chat server for telnet, goodbye\r\n";
        assert_eq!(browser.received_bytes(), [ASK, goodbye].concat());
    }
    let bob = rig.connect();
    bob.send("secret\r\nbob\r\n");
    rig.settle();
    assert_eq!(bob.received_bytes(), ASK, "the address may try");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_password() {
    let file = TempFile::new("marked", "\u{feff}secret\n");
    let motd = TempFile::new("marked greeting", "\u{feff}hello\n");
    let mut rig = Rig::new(|config| {
        config.interactive.enabled = true;
        config.interactive.password_file = Some(file.path().into());
        config.interactive.motd_file = Some(motd.path().into());
    });
    for typed in ["secret\r\n", "\u{feff}secret\r\n", "\r\n\u{feff}secret\r\n"] {
        let bob = rig.connect();
        let greeting = [OFFER, b"* hello\r\n", WILL_ECHO, ASK].concat();
        assert_eq!(bob.received_bytes(), greeting);
        bob.send(typed);
        rig.settle();
        assert!(bob.received_bytes().ends_with(b"* what is your nick?\r\n"));
    }
    let bob = rig.connect();
    bob.send("wrong\r\n\u{feff}secret\r\n");
    rig.advance(2 * SECOND);
    let received = bob.received_bytes();
    assert!(received.ends_with(WRONG), "{}", received.escape_ascii());
}

#[test]
fn a_file_in_utf_16_is_refused_with_what_to_do() {
    for text in [&b"\xff\xfes\0e\0c\0"[..], b"\xfe\xff\0s\0e\0c"] {
        let file = TempFile::new("wide", "");
        std::fs::write(file.path(), text).expect("it can be written");
        let mut config = Config::default();
        config.interactive.password_file = Some(file.path().into());
        let engine = Engine::<Wire>::new(config, (), Instant::now());
        let error = engine.map(drop).expect_err("it is UTF-16").to_string();
        assert!(error.ends_with("it is UTF-16: save it as UTF-8"), "{error}");
    }
}

/// A client whose address has no tries left gets no more answers than seconds go by.
#[test]
fn passwords_that_are_not_looked_at_are_answered_one_a_second() {
    let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, 7));
    let (mut rig, _file) = guarded("unseen", |_| {});
    use_up_the_tries(&mut rig, ip);
    let flooder = rig.connect_from(ip);
    flooder.received_bytes();
    flooder.send("x\n".repeat(1000));
    rig.settle();
    assert_eq!(flooder.received().lines().count(), 1);
    for _ in 0..3 {
        rig.advance(SECOND);
        assert_eq!(flooder.received().lines().count(), 1);
    }
}
