//! Telnet over real sockets, as its clients really speak it (RFC 854, 855, 860, 1123, 1143).
//! What a user of `nc` sees must not change by any of it.

use crate::support::server::{Client, HaltedServer, RunningServer};
use crate::support::{ARE_YOU_THERE, YES_LINE};

/// IAC DO TIMING-MARK, and the refusal that a telnet client waits for after ^C.
const DO_TIMING_MARK: &[u8] = b"\xff\xfd\x06";
const WONT_TIMING_MARK: &[u8] = b"\xff\xfc\x06";

/// IAC DO BINARY: the offer that comes once, behind the first answer.
const DO_BINARY: &[u8] = b"\xff\xfd\x00";

/// What PuTTY sends as soon as it is connected, and the refusals of it, one for each option; behind
/// the first of them BINARY is offered.
const PUTTY: &[u8] =
    b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03";
const TO_PUTTY: &[u8] =
    b"\xff\xfe\x1f\xff\xfd\x00\xff\xfe\x20\xff\xfe\x18\xff\xfe\x27\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03";

/// Says `typed` as a member, and gives what another one hears.
#[track_caller]
fn expect_heard(typed: &[u8], heard: &str) {
    let server = RunningServer::start();
    let mut listener = server.join("listener");
    let mut speaker = server.join("x");
    speaker.send(typed);
    listener.expect(heard);
    speaker.expect_silence();
    listener.expect_silence();
}

#[test]
fn who_never_sends_iac_never_gets_a_binary_byte() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut plain = server.connect();
    plain.send("nc\r\nhi\n\x08\x7f\x1b[c\0\u{80}\r\n");
    alice.expect("nc: hi\r\nnc: \u{fffd}[c\u{fffd}\r\n");
    alice.say("marker");
    plain.expect("alice: marker\r\n");
}

#[test]
fn puttys_first_21_bytes_are_refused_once_and_are_no_nick() {
    assert_eq!(PUTTY.len(), 21);
    let server = RunningServer::start();
    let mut putty = server.connect();
    putty.send(PUTTY);
    putty.expect(TO_PUTTY);
    putty.ask_for("putty");
    putty.expect(YES_LINE);
    let mut alice = server.join("alice");
    putty.say("hi");
    alice.expect("putty: hi\r\n");
}

#[test]
fn puttys_first_bytes_a_byte_at_a_time_get_the_same_answers() {
    let server = RunningServer::start();
    let mut putty = server.connect();
    putty.send_bytewise(PUTTY);
    putty.expect(TO_PUTTY);
    putty.send_bytewise(b"putty\r\0\xff\xf6");
    putty.expect(YES_LINE);
}

#[test]
fn every_option_but_binary_is_refused_and_what_needs_no_answer_gets_none() {
    let server = RunningServer::start();
    let mut client = server.join("client");
    client.send(b"\xff\xfc\x01");
    client.expect(DO_BINARY);
    for option in 1..=255 {
        client.send([0xff, 0xfc, option, 0xff, 0xfe, option]);
        client.send([0xff, 0xfd, option, 0xff, 0xfb, option]);
        client.expect([0xff, 0xfc, option, 0xff, 0xfe, option]);
    }
    client.expect_silence();
}

#[test]
fn an_interrupted_telnet_user_is_not_deaf_for_good() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut user = server.join("user");
    user.send(DO_TIMING_MARK);
    user.expect([WONT_TIMING_MARK, DO_BINARY].concat());
    // ^C, ^Z and ^\ are IP, SUSP (237) and ABORT (238).
    for interrupt in [0xf4, 0xed, 0xee] {
        user.send([&[0xff, interrupt], DO_TIMING_MARK].concat());
        user.expect(WONT_TIMING_MARK);
        alice.say("still there?");
        user.expect("alice: still there?\r\n");
        user.say("yes");
        alice.expect("user: yes\r\n");
    }
}

#[test]
fn a_timing_mark_is_answered_in_its_place_among_the_lines() {
    let server = RunningServer::start();
    let mut user = server.join("user");
    user.send([ARE_YOU_THERE, DO_TIMING_MARK, ARE_YOU_THERE].concat());
    user.expect([YES_LINE, WONT_TIMING_MARK, DO_BINARY, YES_LINE].concat());
}

#[test]
fn are_you_there_is_answered_even_before_the_nick_and_inside_a_line() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut client = server.connect();
    client.expect_silence();
    client.send("b");
    client.expect_silence();
    client.ask_for("ob");
    client.expect(YES_LINE);
    client.send("he");
    client.expect_silence();
    client.say("llo");
    alice.expect("bob: hello\r\n");
}

#[test]
fn commands_that_ask_for_nothing_are_neither_answered_nor_text() {
    // SE, NOP, DM, BRK, IP, AO, GA, EOF, SUSP, ABORT and EOR.
    expect_heard(
        b"a\xff\xf0b\xff\xf1c\xff\xf2d\xff\xf3e\xff\xf4f\xff\xf5g\xff\xf9h\xff\xeci\xff\xedj\xff\xeek\xff\xefl\r\n",
        "x: abcdefghijkl\r\n",
    );
}

#[test]
fn a_doubled_iac_is_a_byte_of_text_and_never_sent_on() {
    expect_heard(b"a\xff\xffb\r\n", "x: a\u{fffd}b\r\n");
}

#[test]
fn erase_character_and_erase_line_edit_the_pending_line() {
    expect_heard(b"wrong\xff\xf8hellp\xff\xf7o\r\n", "x: hello\r\n");
}

#[test]
fn backspace_and_delete_erase_a_code_point_whatever_its_length() {
    expect_heard("é\x08漢\x7f😀\x08e\u{301}\x08!\r\n".as_bytes(), "x: e!\r\n");
}

#[test]
fn an_erased_character_never_shows_as_u_fffd() {
    expect_heard(b"a\x1b\x08\xc3\x7f\xe6\xbc\xff\xf7b\r\n", "x: ab\r\n");
}

#[test]
fn an_erasure_stops_at_the_beginning_of_the_line() {
    expect_heard(
        b"one\r\n\x08\x7f\xff\xf7\xff\xf8two\r\n",
        "x: one\r\nx: two\r\n",
    );
}

#[test]
fn a_nick_is_edited_like_any_line() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut client = server.connect();
    client.send("wrong\u{7f}\u{7f}");
    client.send(b"\xff\xf8bpb\x08\xff\xf7ob\r\nhi\r\n");
    alice.expect("bob: hi\r\n");
}

#[test]
fn a_subnegotiation_is_skipped_with_what_looks_like_an_end_in_it() {
    expect_heard(
        b"a\xff\xfa\x18\0\xff\xff\xf0xterm\xff\xf0b\r\n",
        "x: ab\r\n",
    );
}

#[test]
fn a_subnegotiation_that_never_ends_does_not_make_the_client_deaf() {
    let server = RunningServer::start();
    let mut listener = server.join("listener");
    let mut speaker = server.join("x");
    speaker.send([b"\xff\xfa".to_vec(), vec![b'z'; 1025]].concat());
    speaker.send("\r\nhello\r\n");
    listener.expect("x: hello\r\n");
}

#[test]
fn every_split_of_telnet_and_text_is_survived() {
    let typed = "hé\u{fffd}".as_bytes();
    let telnet = b"\xff\xfd\x06l\xff\xfb\x01lx\xff\xf7\xff\xfa\x18\xff\xff\xff\xf0o\xff\xff\r\0";
    let bytes = [typed, telnet].concat();
    let server = RunningServer::start();
    let mut listener = server.join("listener");
    let mut speaker = server.join("x");
    speaker.send(DO_TIMING_MARK);
    speaker.expect([WONT_TIMING_MARK, DO_BINARY].concat());
    // Not between CR and NUL, because a line is spoken at its CR.
    for cut in 1..bytes.len() - 1 {
        let (head, rest) = bytes.split_at(cut);
        speaker.send(head);
        // Only now is the head surely read, and the rest surely another read.
        listener.expect_silence();
        speaker.send(rest);
        listener.expect("x: hé\u{fffd}llo\u{fffd}\r\n");
        speaker.expect([WONT_TIMING_MARK, b"\xff\xfe\x01"].concat());
    }
    speaker.send_bytewise(&bytes);
    listener.expect("x: hé\u{fffd}llo\u{fffd}\r\n");
}

#[test]
fn text_around_a_synch_is_heard_without_further_input() {
    let mut server = HaltedServer::bind();
    let listener = server.join("listener");
    let mut speaker = server.join("x");
    // A read stops before urgent data, and the event for all of it is only one.
    speaker.send(b"before\r\n\xff");
    speaker.send_urgent(0xf2);
    speaker.send("after\r\n");
    expect_synched(server, listener);
}

#[test]
fn a_newcomers_synch_is_heard_with_its_nick() {
    let mut server = HaltedServer::bind();
    let listener = server.join("listener");
    let mut speaker = server.connect();
    speaker.send(b"x\r\nbefore\r\n\xff\xf4\xff");
    speaker.send_urgent(0xf2);
    speaker.send("after\r\n");
    speaker.hang_up();
    expect_synched(server, listener);
}

#[track_caller]
fn expect_synched(server: HaltedServer, mut listener: Client) {
    let _server = server.run();
    listener.expect("x: before\r\nx: after\r\n");
    listener.expect_silence();
}

#[test]
fn a_synch_in_a_line_eats_none_of_its_characters() {
    let server = RunningServer::start();
    let mut listener = server.join("listener");
    let mut speaker = server.join("x");
    speaker.send(DO_TIMING_MARK);
    speaker.expect([WONT_TIMING_MARK, DO_BINARY].concat());
    for _ in 0..3 {
        speaker.send(b"be\xff");
        speaker.send_urgent(0xf2);
        listener.expect_silence();
        speaker.send([b"fore\xff\xf4", DO_TIMING_MARK, b"\r\n"].concat());
        listener.expect("x: before\r\n");
        speaker.expect(WONT_TIMING_MARK);
    }
}

#[test]
fn a_piped_telnets_lines_are_heard_and_its_empty_one_says_nothing() {
    let server = RunningServer::start();
    let mut alice = server.join("alice");
    let mut piped = server.connect();
    // What `printf 'a\r\nhi\r\n' | telnet` sends.
    piped.send(b"a\r\0\r\nhi\r\0\r\n");
    piped.hang_up();
    alice.expect("a: hi\r\n");
    piped.expect_end();
    alice.expect_silence();
}

#[test]
fn answers_to_negotiation_are_bounded_like_everything_else() {
    let mut server = HaltedServer::bind_with(|config| {
        config.limits.goodbye_timeout = std::time::Duration::from_millis(10);
    });
    let mut alice = server.join("alice");
    let mut greedy = server.connect();
    server.turn_until(|server| server.clients() == 2);
    let questions = DO_TIMING_MARK.repeat(10_000);
    let mut asked = 0;
    server.turn_until(|server| {
        // A piece may be cut anywhere: the next one goes on where it ended.
        asked += greedy.send_what_fits(&questions[asked % questions.len()..]);
        server.clients() == 1
    });
    server.expect_silence_toward(&mut alice);
}
