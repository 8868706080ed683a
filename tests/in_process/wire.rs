//! The wire over real sockets: a first line is a nick, every later one goes to all the others, and
//! nothing else is ever sent, however the bytes come.

use std::collections::HashMap;
use std::thread;

use line_chat::{Config, ListenAddr, Place};

use crate::support::YES_LINE;
use crate::support::server::{Client, HaltedServer, RunningServer};

/// Says `typed` as the member `x`, and waits for what another one hears; nobody gets anything else.
#[track_caller]
fn expect_heard(typed: impl AsRef<[u8]>, heard: &str) {
    let server = RunningServer::start();
    let mut listener = server.join("listener");
    let mut speaker = server.join("x");
    speaker.send(typed);
    listener.expect(heard);
    speaker.expect_silence();
    listener.expect_silence();
}

// 1. Listening.

#[test]
fn only_this_machine_can_reach_a_server_that_was_told_nothing() {
    let default = Place::Loopback { port: 6142 };
    assert_eq!(Config::default().listen, [ListenAddr::from(default)]);
}

#[test]
fn port_0_is_answered_with_the_port_that_clients_reach() {
    let server = RunningServer::start();
    assert_ne!(server.addrs()[0].port(), 0);
    server.join("alice");
}

#[test]
fn ipv4_and_ipv6_have_the_same_port_and_the_same_room() {
    let server = HaltedServer::bind_on_both_families().run();
    let port = server.addrs()[0].port();
    let mut alice = Client::join(([127, 0, 0, 1], port).into(), "alice");
    let mut bob = Client::join((std::net::Ipv6Addr::LOCALHOST, port).into(), "bob");
    alice.say("four");
    bob.expect("alice: four\r\n");
    bob.say("six");
    alice.expect("bob: six\r\n");
}

#[test]
fn every_listener_leads_to_the_same_room() {
    let server = RunningServer::start_with(|config| {
        let addrs = ["127.0.0.1:0", "127.0.0.1:0", "localhost:0"];
        config.listen = addrs.map(|addr| addr.parse().expect("an address")).into();
    });
    assert!(server.addrs().len() >= 3, "{:?}", server.addrs());
    let mut alice = server.join("alice");
    for (at, &addr) in server.addrs().iter().enumerate() {
        let nick = format!("guest{at}");
        Client::join(addr, &nick).say("hi");
        alice.expect(format!("{nick}: hi\r\n"));
    }
}

#[test]
fn two_hundred_who_come_at_once_are_all_served() {
    // More than the backlog of mio's own listener, and more than a turn accepts. The server takes
    // its first turn when all are there, so no later event tells it of those who still wait.
    let server = HaltedServer::bind();
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    let _server = server.run();
    for (at, client) in clients.iter_mut().enumerate() {
        client.ask_for(&format!("guest{at}"));
    }
    for client in &mut clients {
        client.expect(YES_LINE);
    }
}

// 2. Before the nick.

#[test]
fn nothing_is_sent_before_the_nick_and_nothing_of_the_room_is_heard() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut newcomer = server.connect();
    newcomer.expect_silence();
    alice.say("a secret");
    alice.expect_silence();
    newcomer.expect_silence();
    newcomer.ask_for("bob");
    newcomer.expect(YES_LINE);
    alice.say("hello");
    newcomer.expect("alice: hello\r\n");
}

// 3. Speaking.

#[test]
fn a_line_goes_to_all_the_others_and_not_back() {
    let server = RunningServer::start();
    let [mut alice, mut bob, mut carol] = ["alice", "bob", "carol"].map(|nick| server.join(nick));
    bob.say("hi");
    alice.expect("bob: hi\r\n");
    carol.expect("bob: hi\r\n");
    for client in [&mut alice, &mut bob, &mut carol] {
        client.expect_silence();
    }
}

#[test]
fn the_prefix_stands_before_the_text() {
    let server = RunningServer::start_with(|config| {
        config.prefix = "[{nick}]: ".parse().expect("a prefix");
    });
    let mut alice = server.join("alice");
    server.join("bob").say("{nick}");
    alice.expect("[bob]: {nick}\r\n");
}

#[test]
fn a_prefix_may_have_the_nick_anywhere_and_more_than_once() {
    let server = RunningServer::start_with(|config| {
        config.prefix = "<{nick}|{nick}> ".parse().expect("a prefix");
    });
    let mut alice = server.join("alice");
    server.join("bob").say("hi");
    alice.expect("<bob|bob> hi\r\n");
}

// 4. One order, whole lines.

#[test]
fn one_byte_at_a_time_is_the_same_conversation() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.connect();
    bob.send_bytewise("bob\r\nhéllo, 漢字 👩‍👩‍👧‍👦\r\n\r\nbye\n");
    alice.expect("bob: héllo, 漢字 👩‍👩‍👧‍👦\r\nbob: bye\r\n");
    bob.expect_silence();
}

#[test]
fn a_thousand_lines_in_one_segment_are_a_thousand_lines() {
    let typed: String = (0..1000).map(|at| format!("line {at}\r\n")).collect();
    let heard: String = (0..1000).map(|at| format!("x: line {at}\r\n")).collect();
    expect_heard(typed, &heard);
}

#[test]
fn nick_and_text_in_one_segment_are_both_heard() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    server.connect().send("bob\r\none\r\ntwo\r\n");
    alice.expect("bob: one\r\nbob: two\r\n");
}

#[test]
fn more_than_one_read_of_lines_needs_no_second_event() {
    // Several reads, many turns' budgets, and all of it behind one event.
    let mut server = HaltedServer::bind();
    let mut alice = server.join("alice");
    let mut bob = server.connect();
    let lines = 20_000;
    bob.send("bob\r\n");
    bob.send("abc\r\n".repeat(lines));
    let _server = server.run();
    alice.expect("bob: abc\r\n".repeat(lines));
    alice.expect_silence();
}

const SPEAKERS: usize = 20;
const LINES_EACH: usize = 500;

#[test]
fn twenty_speakers_at_once_lose_tear_and_merge_nothing_and_all_hear_one_order() {
    let server = RunningServer::start();
    let mut observer = server.join("observer");
    let mut speakers: Vec<Client> = (0..SPEAKERS).map(|at| server.join(&nick_of(at))).collect();
    thread::scope(|scope| {
        for (at, speaker) in speakers.iter_mut().enumerate() {
            scope.spawn(move || speak_in_odd_pieces(speaker, at));
        }
    });
    let all: usize = (0..SPEAKERS).map(|at| heard_of(at).concat().len()).sum();
    let observed = String::from_utf8(observer.receive(all)).expect("UTF-8");
    observer.expect_silence();
    assert_each_is_heard_once_and_in_order(&observed);
    for (at, speaker) in speakers.iter_mut().enumerate() {
        let own = format!("{}: ", nick_of(at));
        let of_the_others = observed.split_inclusive('\n');
        let expected: String = of_the_others
            .filter(|line| !line.starts_with(&own))
            .collect();
        speaker.expect(expected);
        speaker.expect_silence();
    }
}

fn nick_of(speaker: usize) -> String {
    format!("speaker{speaker}")
}

/// What the others hear of a speaker, line by line.
fn heard_of(speaker: usize) -> Vec<String> {
    let nick = nick_of(speaker);
    let said = (0..LINES_EACH).map(|line| format!("{nick}: {}\r\n", text_of(speaker, line)));
    said.collect()
}

/// A text that is no other's and no part of another, and not always of the same length.
fn text_of(speaker: usize, line: usize) -> String {
    format!("<{speaker}.{line}{}>", "é".repeat((speaker + line) % 9))
}

/// All lines of a speaker in segments that end anywhere, in the middle of a character too.
fn speak_in_odd_pieces(client: &mut Client, speaker: usize) {
    let said = (0..LINES_EACH).map(|line| text_of(speaker, line) + "\r\n");
    let said: String = said.collect();
    let mut rest = said.as_bytes();
    let mut size = speaker;
    while !rest.is_empty() {
        size = (size * 31 + 7) % 97;
        let (piece, later) = rest.split_at((size + 1).min(rest.len()));
        client.send(piece);
        rest = later;
    }
}

fn assert_each_is_heard_once_and_in_order(observed: &str) {
    let mut heard: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in observed.split_inclusive('\n') {
        let (nick, _) = line.split_once(':').unwrap_or(("nobody", line));
        heard.entry(nick).or_default().push(line);
    }
    assert_eq!(heard.len(), SPEAKERS);
    for speaker in 0..SPEAKERS {
        assert_eq!(heard[&*nick_of(speaker)], heard_of(speaker));
    }
}

// 5. Line ends.

#[test]
fn every_line_end_ends_one_line() {
    expect_heard(
        "crlf\r\nlf\ncrnul\r\0cr\rend\n",
        "x: crlf\r\nx: lf\r\nx: crnul\r\nx: cr\r\nx: end\r\n",
    );
}

#[test]
fn a_line_is_spoken_at_its_cr_and_what_belongs_to_it_is_swallowed_later() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    for late in ["\n", "\0"] {
        bob.send("one\r");
        alice.expect("bob: one\r\n");
        bob.send([late, "two\r"].concat());
        alice.expect("bob: two\r\n");
        bob.send(late);
        bob.expect_silence();
        alice.expect_silence();
    }
}

#[test]
fn only_one_byte_after_a_cr_belongs_to_it() {
    expect_heard(
        "a\r\n\nb\r\0\nc\r\r\nd\n",
        "x: a\r\nx: b\r\nx: c\r\nx: d\r\n",
    );
}

#[test]
fn a_nul_anywhere_else_is_no_operation() {
    expect_heard(
        "a\r\n\0b\r\0\0c\r\r\nd\n\0e\n",
        "x: a\r\nx: b\r\nx: c\r\nx: d\r\nx: e\r\n",
    );
}

#[test]
fn the_line_end_of_a_nick_may_come_in_two_parts_as_well() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.connect();
    bob.send("bob\r");
    bob.expect_silence();
    bob.send("\nhi\r\n");
    alice.expect("bob: hi\r\n");
    alice.expect_silence();
}

#[test]
fn an_empty_line_says_nothing_and_neither_does_a_blank_one() {
    expect_heard("\r\n\n\r\0\r\r\r\n \r\n\t\u{3000}\n.\r\n", "x: .\r\n");
}

#[test]
fn nothing_is_spoken_without_a_line_end() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.send("unfinished");
    bob.expect_silence();
    alice.expect_silence();
    bob.say(" business");
    alice.expect("bob: unfinished business\r\n");
}

// 7. Nicks.

/// The notice for a nick that cannot be had; the next one can.
#[track_caller]
fn expect_refused(server: &RunningServer, nick: impl AsRef<[u8]>, why: &str) {
    let mut client = server.connect();
    client.send([nick.as_ref(), b"\r\n"].concat());
    client.expect(format!("* {why}, choose another\r\n"));
    client.ask_for("second-choice");
    client.expect(YES_LINE);
    client.hang_up();
    client.expect_end();
}

/// The nick as the others see it.
#[track_caller]
fn expect_accepted(server: &RunningServer, nick: &str, shown: &str) {
    let mut listener = server.join("listener");
    let mut client = server.join(nick);
    client.say("hi");
    listener.expect(format!("{shown}: hi\r\n"));
    for mut client in [listener, client] {
        client.hang_up();
        client.expect_end();
    }
}

#[test]
fn what_is_no_nick_is_refused_with_its_reason() {
    let server = RunningServer::start();
    let unsafe_ = "a nick has no control characters and is valid UTF-8";
    for (nick, why) in [
        ("  \t", "a nick needs at least one character"),
        (&*"x".repeat(33), "a nick has at most 32 characters"),
        ("two words", "a nick has no white space inside"),
        ("two\twords", "a nick has no white space inside"),
        ("two\u{3000}words", "a nick has no white space inside"),
        ("bob:", "a nick has no \":\" in it"),
        ("*bob", "a nick does not begin with \"*\" or \"/\""),
        (" *", "a nick does not begin with \"*\" or \"/\""),
        ("/quit", "a nick does not begin with \"*\" or \"/\""),
        ("\u{1b}[31mbob", unsafe_),
        ("bob\u{202e}", unsafe_),
        ("bob\u{85}", unsafe_),
        ("\u{200b}\u{ad}", "a nick needs a character that shows"),
        ("\u{3164}", "a nick needs a character that shows"),
    ] {
        expect_refused(&server, nick, why);
    }
    expect_refused(&server, b"b\xfeb", unsafe_);
}

#[test]
fn what_is_a_nick_is_shown_as_it_was_typed_with_no_white_space_around_it() {
    let server = RunningServer::start();
    for (nick, shown) in [
        ("b", "b"),
        (" \tBob \u{3000}", "Bob"),
        ("Zoë-漢字☃", "Zoë-漢字☃"),
        ("a*/", "a*/"),
        (&*"é".repeat(32), &*"é".repeat(32)),
        ("bo\u{ad}b", "bo\u{ad}b"),
    ] {
        expect_accepted(&server, nick, shown);
    }
}

#[test]
fn look_alikes_of_a_members_nick_are_taken() {
    let server = RunningServer::start();
    let _bob = server.join("Bob");
    let _zoe = server.join("Zoé");
    for nick in [
        "Bob",
        "bob",
        "b\u{ad}ob",
        "bo\u{200d}b",
        "b\u{200b}ob",
        "bob\u{fe0f}",
        "ｂｏｂ",
        "bob\u{3164}",
        "zoe\u{301}",
    ] {
        let owner = if nick.starts_with('z') { "Zoé" } else { "Bob" };
        let why = match nick.eq_ignore_ascii_case(owner) {
            true => format!("nick \"{nick}\" is taken"),
            false => format!("nick \"{nick}\" looks like \"{owner}\", which is taken"),
        };
        expect_refused(&server, nick, &why);
    }
}

#[test]
fn a_nick_in_letters_of_another_script_is_taken_by_whom_it_looks_like() {
    let server = RunningServer::start();
    for (owner, looks_like_it, others) in [
        (
            "alice",
            &["\u{430}lice", "alic\u{435}", "al\u{131}ce", "ALICE\u{323}"][..],
            &["al1ce", "alicia"][..],
        ),
        ("Zoë", &["Zoe", "ZO\u{112}", "zoe\u{301}"], &["Zoey", "Zo"]),
        ("か", &["\u{304b}\u{200b}"], &["が", "き"]),
        ("ВЕРА", &["вера", "ВЕPА", "BEPA"], &["вира", "вере"]),
        ("n1", &["n\u{217c}", "ｎ1"], &["nl", "nI"]),
    ] {
        let held = server.join(owner);
        for nick in looks_like_it {
            let why = match *nick == "вера" {
                true => "nick \"вера\" looks like \"ВЕРА\", which is taken".to_owned(),
                false => format!("nick \"{nick}\" looks like \"{owner}\", which is taken"),
            };
            expect_refused(&server, nick, &why);
        }
        for nick in others {
            expect_accepted(&server, nick, nick);
        }
        drop(held);
    }
}

#[test]
fn a_word_that_notices_begin_with_is_no_nick() {
    let server = RunningServer::start();
    for nick in ["server", "You", "NOBODY", "everybody", "Operator"] {
        expect_refused(&server, nick, &format!("nick \"{nick}\" is reserved"));
    }
    for (nick, word) in [
        ("s\u{435}rver", "server"),
        ("ｙｏｕ", "you"),
        ("n\u{f3}body", "nobody"),
    ] {
        let why = format!("nick \"{nick}\" looks like \"{word}\", which is reserved");
        expect_refused(&server, nick, &why);
    }
    for nick in ["servers", "youssef", "0perator", "somebody"] {
        expect_accepted(&server, nick, nick);
    }
}

#[test]
fn a_plain_client_sees_a_nick_from_right_to_left_as_it_is() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut other = server.join("שלום");
    other.say("hi");
    alice.expect("שלום: hi\r\n");
    expect_refused(
        &server,
        "ש\u{200b}לום",
        "nick \"ש\u{200b}לום\" looks like \"שלום\", which is taken",
    );
}

#[test]
fn the_limit_of_a_nick_is_the_configs() {
    let server = RunningServer::start_with(|config| config.limits.max_nick_chars = 20);
    let too_long = "a nick has at most 20 characters";
    expect_refused(&server, "x".repeat(21), too_long);
    expect_accepted(&server, &"x".repeat(20), &"x".repeat(20));
}

#[test]
fn empty_lines_before_the_nick_are_no_tries() {
    let server = RunningServer::start();
    let mut client = server.connect();
    client.send("\r\n\n\r\0\r\n\r\n");
    client.expect_silence();
    client.ask_for("bob");
    client.expect(YES_LINE);
}

#[test]
fn the_third_refusal_closes_and_what_comes_behind_it_is_not_heard() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut client = server.connect();
    client.send("a:\r\n\r\n");
    client.expect("* a nick has no \":\" in it, choose another\r\n");
    client.send("ALICE\r\n");
    client.expect("* nick \"ALICE\" is taken, choose another\r\n");
    client.send("/\r\nbob\r\nhello\r\n");
    client.expect(
        "* a nick does not begin with \"*\" or \"/\", and that was the last try, goodbye\r\n",
    );
    client.expect_end();
    alice.expect_silence();
    server.join("bob");
}

#[test]
fn an_over_long_line_before_the_nick_is_one_refusal() {
    let server = RunningServer::start();
    let mut client = server.connect();
    let why = "* that line is longer than 4096 bytes, which is no nick, ";
    client.send("x".repeat(10_000));
    client.expect([why, "choose another\r\n"].concat());
    client.send(["x".repeat(10_000), "\r\n".into()].concat());
    client.expect_silence();
    client.send([&"y".repeat(4097), "\r\n"].concat());
    client.expect([why, "choose another\r\n"].concat());
    client.send("z".repeat(4097));
    client.expect([why, "and that was the last try, goodbye\r\n"].concat());
    client.expect_end();
}

// 8. Notices.

#[test]
fn nobody_can_forge_a_notice() {
    let forged = "* server is shutting down\r\n";
    let breaks = ["a\u{2028}", "b\u{2029}", "c\u{85}", "d\u{b}", "e\u{c}"];
    let typed = breaks.map(|text| [text, forged].concat()).concat();
    let shown = ["a", "b", "c", "d", "e"].map(|text| format!("x: {text}\u{fffd}{forged}"));
    expect_heard(
        [forged, &typed].concat(),
        &format!("x: {forged}{}", shown.concat()),
    );
}

// 9. Clean text.

#[test]
fn what_a_terminal_would_obey_arrives_as_u_fffd_one_for_one() {
    let unsafe_ = ('\x01'..='\u{1f}')
        .filter(|c| !matches!(c, '\t' | '\n' | '\r' | '\x08'))
        .chain('\u{80}'..='\u{9f}')
        .chain('\u{2028}'..='\u{202e}')
        .chain('\u{2066}'..='\u{2069}');
    let typed: String = unsafe_.clone().map(|c| format!("a{c}b\r\n")).collect();
    let heard: String = unsafe_.map(|_| "x: a\u{fffd}b\r\n").collect();
    expect_heard(typed, &heard);
}

#[test]
fn what_only_marks_something_is_left_out() {
    let marks = ['\u{200e}', '\u{200f}', '\u{61c}', '\u{feff}', '\0'];
    let marks = marks.into_iter().chain('\u{e0000}'..='\u{e007f}');
    let typed: String = marks.clone().map(|c| format!("a{c}b\r\n")).collect();
    let heard: String = marks.map(|_| "x: ab\r\n").collect();
    expect_heard(typed, &heard);
}

#[test]
fn invalid_utf_8_arrives_as_the_lossy_decoding_shows_it() {
    let typed = b"a\x80b\xc3(\xe6\xbc.\xf0\x9f\x98 \xed\xa0\x80 \xc0\xaf \xf5 \xe6\xbc\r\n";
    let text = String::from_utf8_lossy(&typed[..typed.len() - 2]);
    expect_heard(typed, &format!("x: {text}\r\n"));
}

#[test]
fn all_other_text_arrives_as_it_was_sent() {
    let lines = [
        "a\tb  c ~ \\ {nick}",
        "Füße, naïve, Ελληνικά, Русский",
        "漢字かな交じり文 한국어 \u{3000}!",
        "👩‍👩‍👧‍👦 🏳️‍🌈 ❤️ e\u{301}",
        "عربى עברית",
        "soft\u{ad}hyphen zero\u{200b}width \u{200c}\u{200d} \u{2060}",
        "\u{fffd}\u{a0}\u{e000}\u{10ffff}",
    ];
    let typed = lines.map(|line| format!("{line}\r\n")).concat();
    let heard = lines.map(|line| format!("x: {line}\r\n")).concat();
    expect_heard(typed, &heard);
}

// 10. Long lines.

const TOO_LONG: &str = "* that line is longer than 4096 bytes and was not sent\r\n";

#[test]
fn a_line_of_just_the_limit_is_whole_even_if_all_of_it_grows() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    for byte in [b"x", b"\xc3"] {
        let text = byte.repeat(4096);
        bob.send([&text, &b"\r\n"[..]].concat());
        alice.expect(format!("bob: {}\r\n", String::from_utf8_lossy(&text)));
    }
    bob.expect_silence();
}

#[test]
fn a_line_beyond_the_limit_is_thrown_away_with_one_notice_and_the_next_is_whole() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    for bytes in [4097, 5000, 100_000] {
        bob.send(["x".repeat(bytes), "\r\nnext\r\n".into()].concat());
        bob.expect(TOO_LONG);
        alice.expect("bob: next\r\n");
    }
    bob.expect_silence();
    alice.expect_silence();
}

#[test]
fn the_notice_of_an_over_long_line_does_not_wait_for_its_end() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.send("x".repeat(4097));
    bob.expect(TOO_LONG);
    // What is erased meanwhile does not bring the line back.
    bob.send(b"y\xff\xf8\x7f\xff\xf7z".repeat(5000));
    bob.expect_silence();
    bob.send("\r");
    bob.send("\nnext\r\n");
    alice.expect("bob: next\r\n");
    bob.expect_silence();
}

#[test]
fn what_was_erased_does_not_count_as_length() {
    let erased = "xy\u{7f}\u{7f}".repeat(4096);
    expect_heard([&erased, "short\r\n"].concat(), "x: short\r\n");
}

#[test]
fn the_limit_of_a_line_is_the_configs() {
    let server = RunningServer::start_with(|config| config.limits.max_line_bytes = 10);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.send("0123456789\r\n0123456789a\r\n");
    alice.expect("bob: 0123456789\r\n");
    bob.expect("* that line is longer than 10 bytes and was not sent\r\n");
    alice.expect_silence();
}
