//! Who does not read, or not fast enough, pays for it alone: a queue has a limit, a loud speaker is
//! heard in portions, and nobody waits for anybody.

use std::time::Duration;

use line_chat::{Config, Lag};

use crate::support::server::{Client, HaltedServer, RunningServer};
use crate::support::{ARE_YOU_THERE, YES_LINE};

const GOODBYE: &str = "* you are reading too slowly, goodbye\r\n";

/// Longer than any test takes.
const FOREVER: Duration = Duration::from_secs(3600);

/// A round of talk that every queue has room for many times.
fn round(number: usize) -> String {
    let texts = (0..100).map(|line| format!("{number:05}.{line:0190}\r\n"));
    texts.collect()
}

fn heard(nick: &str, typed: &str) -> String {
    let lines = typed.split_inclusive('\n');
    lines.map(|line| format!("{nick}: {line}")).collect()
}

/// Talks for 2 MB, each round only when `listener` has heard the one before, so that only who
/// stalls can fall behind; gives all that there was to hear. It is half of what the kernel would
/// hide of a stalled peer if it were let.
#[track_caller]
fn talk_past_a_stalled_member(speaker: &mut Client, nick: &str, listener: &mut Client) -> String {
    let mut all = String::new();
    for number in 0..100 {
        let typed = round(number);
        speaker.send(&typed);
        let heard = heard(nick, &typed);
        listener.expect(&heard);
        all += &heard;
    }
    all
}

/// Whoever has more than 128 KiB queued is closed.
fn with_small_queues(config: &mut Config) {
    config.limits.lag = Lag::Disconnect;
    config.limits.max_pending_bytes = 128 << 10;
}

#[test]
fn who_never_reads_is_closed_as_too_slow_and_the_others_lose_nothing() {
    let server = RunningServer::start_with(|config| {
        with_small_queues(config);
        config.limits.goodbye_timeout = FOREVER;
    });
    let [mut alice, mut stalled, mut carol] =
        ["alice", "stalled", "carol"].map(|nick| server.join(nick));
    let all = talk_past_a_stalled_member(&mut alice, "alice", &mut carol);
    // It is no member any more.
    server.join("stalled");
    carol.expect_silence();
    alice.expect_silence();
    // What it still gets are whole lines from the beginning, and the reason.
    let received = String::from_utf8(stalled.receive_to_end()).expect("UTF-8");
    let lines = received.strip_suffix(GOODBYE).expect("last words");
    assert!(lines.ends_with("\r\n") && all.starts_with(lines));
}

#[test]
fn who_never_reads_does_not_keep_its_connection() {
    let mut server = HaltedServer::bind_with(|config| {
        with_small_queues(config);
        config.limits.goodbye_timeout = Duration::from_millis(10);
    });
    let mut alice = server.join("alice");
    let _stalled = server.join("stalled");
    let typed = round(0);
    let mut said = 0;
    server.turn_until(|server| {
        said += alice.send_what_fits(&typed.as_bytes()[said % typed.len()..]);
        server.clients() == 1
    });
    let server = server.run();
    server.join("carol").say("still here?");
    alice.expect("carol: still here?\r\n");
}

#[test]
fn a_stalled_member_costs_the_others_nothing() {
    // ncat blocks everybody here. The stalled one stays: nothing reaches its limit.
    let server = RunningServer::start_with(|config| config.limits.max_pending_bytes = 8 << 20);
    let [mut alice, mut stalled, mut carol] =
        ["alice", "stalled", "carol"].map(|nick| server.join(nick));
    let all = talk_past_a_stalled_member(&mut alice, "alice", &mut carol);
    carol.say("and I am heard as well");
    alice.expect("carol: and I am heard as well\r\n");
    // Stalled is not gone: it is as good a member as the others when it reads again.
    stalled.expect(all + "carol: and I am heard as well\r\n");
    stalled.say("back");
    alice.expect("stalled: back\r\n");
}

#[test]
fn a_stalled_member_is_still_heard() {
    let server = RunningServer::start_with(|config| config.limits.max_pending_bytes = 8 << 20);
    let [mut alice, mut stalled, mut carol] =
        ["alice", "stalled", "carol"].map(|nick| server.join(nick));
    talk_past_a_stalled_member(&mut alice, "alice", &mut carol);
    stalled.say("I only read later");
    alice.expect("stalled: I only read later\r\n");
}

#[test]
fn a_burst_of_short_lines_from_a_long_nick_costs_a_healthy_reader_nothing() {
    // 64 KiB become 4 MB. The reader reads all there is after every turn, so it never lags; who
    // judges it before the kernel was offered the bytes cuts it.
    let mut server = HaltedServer::bind();
    let mut reader = server.join("reader");
    let nick = "😀".repeat(32);
    let mut speaker = server.join(&nick);
    let lines = (64 << 10) / 2;
    speaker.send("x\n".repeat(lines));
    let expected = format!("{nick}: x\r\n").repeat(lines);
    server.turn_until_received(&mut reader, expected.len());
    reader.expect(expected);
    let _server = server.run();
    reader.expect_silence();
}

#[test]
fn a_burst_of_questions_costs_its_sender_no_answer() {
    // One read of questions has more answers than the queue holds.
    let mut server = HaltedServer::bind_with(|config| config.limits.max_pending_bytes = 32 << 10);
    let mut client = server.join("client");
    let questions = 50_000;
    client.send(ARE_YOU_THERE.repeat(questions));
    let expected = YES_LINE.repeat(questions);
    server.turn_until_received(&mut client, expected.len());
    client.expect(expected);
}

#[test]
fn the_smallest_queue_that_is_allowed_holds_every_line() {
    let server = RunningServer::start_with(|config| {
        config.limits.max_line_bytes = 100;
        config.limits.max_pending_bytes = config.longest_line_bytes();
    });
    let nick = "😀".repeat(25);
    let mut alice = server.join("alice");
    let mut bob = server.join(&nick);
    for _ in 0..10 {
        bob.send([b"\x01".repeat(100), b"\n".to_vec()].concat());
        alice.expect(format!("{nick}: {}\r\n", "\u{fffd}".repeat(100)));
    }
}
