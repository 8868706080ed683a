//! Readers that are too slow, to the byte and to the second: `--lag`, `--max-pending`,
//! `--max-pending-total` and `--stall-timeout`.
//!
//! A queue holds ten lines here, and [`Rig`]'s clock tells the time.

use std::time::Duration;

use line_chat::{CloseReason, Config, Lag};

use crate::support::rig::{Rig, Wire};

const KIB: usize = 1 << 10;

const SECOND: Duration = Duration::from_secs(1);
const A_MOMENT: Duration = Duration::from_millis(10);
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

const LINE: usize = 100;
const LIMIT: usize = 10 * LINE;

/// What telnet answers may have beyond the limit of a queue.
const ANSWERS: usize = 4 << 10;

fn small_queues(lag: Lag) -> impl FnOnce(&mut Config) {
    move |config| {
        config.limits.max_line_bytes = LINE;
        config.limits.max_pending_bytes = LIMIT;
        config.limits.lag = lag;
    }
}

/// What bob says as his `n`th line, and what the others hear.
fn text(n: usize) -> String {
    format!("{n:093}")
}

fn heard(lines: std::ops::Range<usize>) -> String {
    lines.map(|n| format!("bob: {}\r\n", text(n))).collect()
}

/// Bob, who speaks, carol, who reads, and a sleeper, who does not.
struct Room {
    rig: Rig,
    bob: Wire,
    carol: Wire,
    sleeper: Wire,
    said: usize,
}

impl Room {
    fn new(configure: impl FnOnce(&mut Config)) -> Self {
        let mut rig = Rig::new(configure);
        let [bob, carol, sleeper] = ["bob", "carol", "sleeper"].map(|nick| rig.join(nick));
        sleeper.stop_reading();
        Self {
            rig,
            bob,
            carol,
            sleeper,
            said: 0,
        }
    }

    fn small(lag: Lag) -> Self {
        Self::new(small_queues(lag))
    }

    /// Bob says so many lines more.
    fn say(&mut self, lines: usize) {
        for _ in 0..lines {
            self.bob.say(&text(self.said));
            self.said += 1;
        }
        self.rig.settle();
    }

    /// The sleeper takes so many bytes.
    fn take(&mut self, bytes: usize) {
        self.sleeper.take(bytes);
        self.rig.settle();
    }

    /// All that the sleeper gets from now on, which it takes at once.
    fn read_on(&mut self) -> String {
        self.sleeper.read_on();
        self.rig.settle();
        self.sleeper.received()
    }

    #[track_caller]
    fn expect_closed_for(&self, reason: CloseReason, times: u64) {
        let metrics = self.rig.metrics();
        assert_eq!(metrics.closed_for(reason), times, "{metrics}");
        assert_eq!(metrics.closed(), times, "{metrics}");
    }

    /// Carol has heard everything.
    #[track_caller]
    fn expect_no_loss_for_others(&self) {
        assert_eq!(self.carol.received(), heard(0..self.said));
    }
}

#[test]
fn members_that_do_not_keep_up_are_counted_by_how_far_behind_they_are() {
    for (lag, at_once, later) in [
        (Lag::Skip, (1, 0, 0), (0, 1, 0)),
        (Lag::Wait, (0, 0, 1), (0, 0, 1)),
    ] {
        let mut room = Room::small(lag);
        let behind = |room: &Room| {
            let metrics = room.rig.metrics();
            (metrics.lagging, metrics.stalled, metrics.holding_up)
        };
        assert_eq!(behind(&room), (0, 0, 0));
        room.say(11);
        let longest = room.rig.metrics().longest_queue_bytes;
        assert_eq!((behind(&room), longest / LIMIT), (at_once, 1), "{lag:?}");
        room.rig.advance(2 * SECOND);
        assert_eq!(behind(&room), later, "{lag:?}");
        room.read_on();
        assert_eq!(room.rig.metrics().longest_queue_bytes, 0);
        assert_eq!(behind(&room), (0, 0, 0), "{lag:?}");
    }
}

// --lag skip.

#[test]
fn what_fits_is_queued_to_the_last_byte_and_the_next_line_is_skipped() {
    let mut room = Room::small(Lag::Skip);
    room.say(10);
    let metrics = room.rig.metrics();
    assert_eq!((metrics.pending_bytes, metrics.lines_skipped), (LIMIT, 0));
    room.say(3);
    let metrics = room.rig.metrics();
    assert_eq!((metrics.pending_bytes, metrics.lines_skipped), (LIMIT, 3));
    room.expect_no_loss_for_others();
}

#[test]
fn nothing_is_queued_again_before_half_of_the_queue_is_free() {
    let mut room = Room::small(Lag::Skip);
    room.say(11);
    room.take(LIMIT / 2);
    room.say(1);
    assert_eq!(
        room.rig.metrics().lines_skipped,
        2,
        "half is not below half"
    );
    room.take(1);
    room.say(1);
    assert_eq!(room.rig.metrics().lines_skipped, 2);
    let expected = heard(0..10) + "* 2 lines skipped\r\n" + &heard(12..13);
    assert_eq!(room.read_on(), expected);
    room.expect_no_loss_for_others();
}

#[test]
fn how_many_lines_were_skipped_is_told_though_nobody_says_anything() {
    let mut room = Room::small(Lag::Skip);
    room.say(142);
    assert_eq!(room.read_on(), heard(0..10) + "* 132 lines skipped\r\n");
    assert_eq!(room.read_on(), "", "it is told once");
    room.say(1);
    assert_eq!(room.read_on(), heard(142..143));
}

#[test]
fn who_falls_behind_again_and_again_is_told_each_time_how_many_it_missed() {
    let mut room = Room::small(Lag::Skip);
    let mut expected = String::new();
    for round in 0..20 {
        room.say(10 + round);
        expected += &heard(room.said - 10 - round..room.said - round);
        if round > 0 {
            let s = if round == 1 { "" } else { "s" };
            expected += &format!("* {round} line{s} skipped\r\n");
        }
        assert_eq!(room.read_on(), expected);
        expected.clear();
        room.sleeper.stop_reading();
    }
}

#[test]
fn a_notice_is_left_out_and_counted_like_a_line() {
    let mut room = Room::small(Lag::Skip);
    room.say(10);
    room.sleeper.say(&"x".repeat(LINE + 1));
    room.sleeper.send(b"\xff\xf6");
    room.rig.settle();
    assert_eq!(room.read_on(), heard(0..10) + "* 2 lines skipped\r\n");
}

#[test]
fn who_leaves_is_told_how_many_lines_it_missed() {
    let mut room = Room::small(Lag::Skip);
    room.say(12);
    room.sleeper.hang_up();
    room.rig.settle();
    assert_eq!(room.read_on(), heard(0..10) + "* 2 lines skipped\r\n");
    assert!(room.sleeper.is_freed());
}

#[test]
fn a_telnet_answer_is_not_skipped() {
    let mut room = Room::small(Lag::Skip);
    room.say(12);
    // TIMING-MARK: without its answer a telnet client shows nothing any more.
    room.sleeper.send(b"\xff\xfd\x06");
    room.rig.settle();
    room.sleeper.read_on();
    room.rig.settle();
    let received = room.sleeper.received_bytes();
    let expected = [
        heard(0..10).as_bytes(),
        b"\xff\xfc\x06\xff\xfd\0* 2 lines skipped\r\n",
    ]
    .concat();
    assert_eq!(
        received.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

#[test]
fn who_wants_more_telnet_answers_than_it_takes_is_closed_in_every_mode() {
    for lag in [Lag::Skip, Lag::Disconnect, Lag::Wait] {
        let mut room = Room::small(lag);
        room.sleeper
            .send(b"\xff\xfd\x06".repeat((LIMIT + ANSWERS) / 3 - 1)); // and one offer
        room.rig.settle();
        assert_eq!(room.rig.metrics().members, 3, "{lag:?}");
        room.sleeper.send(b"\xff\xfd\x06");
        room.rig.settle();
        assert_eq!(room.rig.metrics().members, 2, "{lag:?}");
        // It is closed though it takes nothing.
        room.rig.advance(6 * SECOND);
        room.expect_closed_for(CloseReason::TooSlow, 1);
    }
}

#[test]
fn who_has_no_nick_and_lets_more_be_queued_than_may_is_closed_in_every_mode() {
    for lag in [Lag::Skip, Lag::Disconnect, Lag::Wait] {
        let mut rig = Rig::new(small_queues(lag));
        let client = rig.connect();
        client.stop_reading();
        let yes = "* yes\r\n".len();
        client.send(b"\xff\xf6".repeat(LIMIT / yes));
        rig.settle();
        assert_eq!(rig.metrics().pending_bytes, LIMIT / yes * yes, "{lag:?}");
        client.send(b"\xff\xf6");
        rig.settle();
        client.read_on();
        rig.settle();
        rig.advance(2 * SECOND);
        assert_eq!(
            client.received(),
            "* yes\r\n* you are reading too slowly, goodbye\r\n"
        );
        assert_eq!(rig.metrics().closed_for(CloseReason::TooSlow), 1);
    }
}

// --lag disconnect.

#[test]
fn a_line_more_than_fits_disconnects_and_what_was_begun_is_ended_before_the_reason() {
    let mut room = Room::small(Lag::Disconnect);
    room.say(1);
    room.take(LINE / 2);
    room.say(9);
    // The last byte that fits.
    room.bob.say(&"x".repeat(LINE / 2 - 7));
    room.rig.settle();
    let metrics = room.rig.metrics();
    assert_eq!((metrics.pending_bytes, metrics.members), (LIMIT, 3));
    room.bob.say("x");
    room.rig.settle();
    assert_eq!(room.rig.metrics().members, 2);
    let goodbye = "* you are reading too slowly, goodbye\r\n";
    assert_eq!(room.read_on(), heard(0..1) + goodbye);
    assert!(room.sleeper.has_ended());
    room.rig.advance(2 * SECOND);
    room.expect_closed_for(CloseReason::TooSlow, 1);
    assert_eq!(room.rig.metrics().lines_skipped, 0);
}

#[test]
fn who_is_disconnected_and_takes_nothing_is_counted_all_the_same() {
    let mut room = Room::small(Lag::Disconnect);
    room.say(11);
    room.expect_no_loss_for_others();
    room.rig.advance(6 * SECOND);
    room.expect_closed_for(CloseReason::TooSlow, 1);
    assert_eq!(room.sleeper.received(), "");
    assert!(room.sleeper.is_freed());
}

// --lag wait.

#[test]
fn while_one_is_over_the_limit_nobody_is_heard_but_logins_and_flushing_go_on() {
    let mut room = Room::small(Lag::Wait);
    // The limit is passed by the line that does not fit, and by no more.
    room.say(15);
    let metrics = room.rig.metrics();
    assert_eq!((metrics.lines_in, metrics.pending_bytes), (11, 11 * LINE));
    assert_eq!(room.carol.received(), heard(0..11));
    room.carol.say("nobody hears me");
    let newcomer = room.rig.join("newcomer");
    assert_eq!(newcomer.received(), "");
    room.take(6 * LINE);
    assert_eq!(room.rig.metrics().lines_in, 11, "half is not below half");
    room.take(1);
    assert_eq!(room.rig.metrics().lines_in, 16);
    let received = room.read_on();
    assert!(received.starts_with(&heard(0..11)));
    let rest = &received[heard(0..11).len()..];
    let (carols, bobs) = ("carol: nobody hears me\r\n", heard(11..15));
    assert!(
        rest.contains(carols) && rest.replace(carols, "") == bobs,
        "{rest}"
    );
    assert_eq!(newcomer.received(), rest, "the order is the same for all");
}

#[test]
fn who_hangs_up_while_the_room_waits_is_noticed_at_once_with_its_last_line() {
    let mut room = Room::small(Lag::Wait);
    room.say(11);
    room.carol.say("goodbye");
    room.carol.hang_up();
    room.rig.settle();
    assert_eq!(room.rig.metrics().members, 2);
    let expected = heard(0..11) + "carol: goodbye\r\n";
    assert_eq!(room.read_on(), expected);
    room.expect_closed_for(CloseReason::HungUp, 1);
}

#[test]
fn who_holds_up_the_room_is_closed_in_time_though_it_takes_a_byte_now_and_then() {
    let mut room = Room::new(|config| {
        small_queues(Lag::Wait)(config);
        config.limits.stall_timeout = Some(10 * SECOND);
    });
    room.say(15);
    for _ in 0..9 {
        room.rig.advance(SECOND);
        room.take(1);
    }
    room.rig.advance(SECOND - A_MOMENT);
    assert_eq!(room.rig.metrics().members, 3);
    room.rig.advance(2 * A_MOMENT);
    assert_eq!(room.rig.metrics().members, 2);
    room.expect_no_loss_for_others();
    let goodbye = "* you have held up the room for too long, goodbye\r\n";
    assert_eq!(room.read_on(), heard(0..1) + goodbye);
    room.rig.advance(2 * SECOND);
    room.expect_closed_for(CloseReason::HeldUp, 1);
}

#[test]
fn each_stretch_in_which_one_holds_up_the_room_counts_by_itself() {
    let mut room = Room::new(|config| {
        small_queues(Lag::Wait)(config);
        config.limits.stall_timeout = Some(10 * SECOND);
    });
    for _ in 0..5 {
        room.say(11);
        room.rig.advance(9 * SECOND);
        room.read_on();
        room.sleeper.stop_reading();
    }
    assert_eq!(room.rig.metrics().members, 3);
    // Below the limit it may take nothing for as long as it likes.
    room.say(10);
    room.rig.advance(A_YEAR);
    assert_eq!(room.rig.metrics().members, 3);
}

// --stall-timeout.

fn stall_timeout(lag: Lag, timeout: Option<Duration>) -> Room {
    Room::new(|config| {
        config.limits.lag = lag;
        config.limits.stall_timeout = timeout;
    })
}

#[test]
fn who_takes_nothing_for_the_stall_timeout_is_closed_and_who_takes_a_byte_is_not() {
    for lag in [Lag::Skip, Lag::Disconnect] {
        let mut room = stall_timeout(lag, Some(10 * SECOND));
        room.say(2);
        for _ in 0..9 {
            room.rig.advance(10 * SECOND - A_MOMENT);
            assert_eq!(room.rig.metrics().members, 3, "{lag:?}");
            room.take(1);
        }
        room.rig.advance(10 * SECOND + A_MOMENT);
        assert_eq!(room.rig.metrics().members, 2, "{lag:?}");
        let goodbye = "* you have read nothing for too long, goodbye\r\n";
        assert_eq!(room.read_on(), heard(0..1) + goodbye);
        room.rig.advance(2 * SECOND);
        room.expect_closed_for(CloseReason::Stalled, 1);
    }
}

#[test]
fn who_has_nothing_queued_is_not_stalled() {
    let mut room = stall_timeout(Lag::Skip, Some(SECOND));
    room.sleeper.read_on();
    room.say(1);
    room.sleeper.stop_reading();
    room.rig.advance(A_YEAR);
    assert_eq!(room.rig.metrics().members, 3);
}

#[test]
fn a_stall_timeout_of_0_is_for_ever() {
    for lag in [Lag::Skip, Lag::Disconnect, Lag::Wait] {
        let mut room = Room::new(|config| {
            small_queues(lag)(config);
            config.limits.stall_timeout = Some(Duration::ZERO);
        });
        room.say(if lag == Lag::Wait { 11 } else { 10 });
        room.rig.advance(A_YEAR);
        assert_eq!(room.rig.metrics().members, 3, "{lag:?}");
        assert!(!room.rig.has_deadline(), "{lag:?}");
    }
}

#[test]
fn the_stall_timeout_is_five_minutes_or_half_a_minute_where_all_wait() {
    for (lag, seconds) in [(Lag::Skip, 300), (Lag::Disconnect, 300), (Lag::Wait, 30)] {
        let mut room = Room::small(lag);
        room.say(if lag == Lag::Wait { 11 } else { 10 });
        room.rig.advance(seconds * SECOND - A_MOMENT);
        assert_eq!(room.rig.metrics().members, 3, "{lag:?}");
        room.rig.advance(2 * A_MOMENT);
        assert_eq!(room.rig.metrics().members, 2, "{lag:?}");
    }
}

#[test]
fn who_half_closed_and_takes_nothing_is_dropped_after_the_stall_timeout() {
    let mut room = stall_timeout(Lag::Skip, Some(10 * SECOND));
    room.say(2);
    room.sleeper.hang_up();
    room.rig.settle();
    room.rig.advance(10 * SECOND - A_MOMENT);
    assert!(!room.sleeper.is_freed());
    room.rig.advance(2 * A_MOMENT);
    assert!(room.sleeper.is_freed());
    room.expect_closed_for(CloseReason::HungUp, 1);
}

// --max-pending-total.

const OUT_OF_MEMORY: &str = "* server is short of memory and you are furthest behind, goodbye\r\n";

/// How much memory the buffers of a room hold after each line that bob says, in bytes.
fn memory_line_by_line(lines: usize, prepare: impl Fn(&mut Room)) -> Vec<usize> {
    let mut room = Room::new(|_| {});
    prepare(&mut room);
    let mut memory = Vec::new();
    for _ in 0..lines {
        room.say(1);
        memory.push(room.rig.metrics().buffer_bytes);
    }
    memory
}

#[test]
fn when_all_buffers_are_too_large_together_the_longest_queue_goes_in_every_mode() {
    // A buffer grows in steps: as many lines as fit, and the one that makes one of them grow.
    let memory = memory_line_by_line(1600, |_| {});
    let limit = memory[800];
    let fits = memory.iter().take_while(|&&bytes| bytes <= limit).count();
    for lag in [Lag::Skip, Lag::Disconnect, Lag::Wait] {
        let mut room = Room::new(|config| {
            config.limits.lag = lag;
            config.limits.max_pending_total_bytes = limit;
        });
        let second = room.rig.join("second");
        second.take(fits * LINE);
        (0..fits).for_each(|_| room.say(1));
        let metrics = room.rig.metrics();
        assert_eq!((metrics.buffer_bytes, metrics.members), (limit, 4));
        room.say(1);
        assert_eq!(room.rig.metrics().members, 3, "{lag:?}");
        assert_eq!(room.read_on(), heard(0..1) + OUT_OF_MEMORY, "{lag:?}");
        room.rig.advance(2 * SECOND);
        room.expect_closed_for(CloseReason::OutOfMemory, 1);
        // There is room again, and nobody else has lost anything.
        room.say(1);
        second.read_on();
        room.rig.settle();
        assert_eq!(second.received(), heard(0..fits + 2), "{lag:?}");
        room.expect_no_loss_for_others();
    }
}

#[test]
fn no_more_go_than_are_too_many() {
    let stop_others = |room: &mut Room| {
        let others: Vec<Wire> = (0..9).map(|n| room.rig.join(&format!("n{n}"))).collect();
        others.iter().for_each(Wire::stop_reading);
    };
    let memory = memory_line_by_line(400, stop_others);
    let limit = memory[160];
    let fits = memory.iter().take_while(|&&bytes| bytes <= limit).count();
    let mut room = Room::new(|config| config.limits.max_pending_total_bytes = limit);
    stop_others(&mut room);
    (0..fits).for_each(|_| room.say(1));
    let metrics = room.rig.metrics();
    assert_eq!((metrics.buffer_bytes, metrics.members), (limit, 12));
    room.say(1);
    let metrics = room.rig.metrics();
    assert!(metrics.buffer_bytes <= limit, "{metrics}");
    // The ten buffers grow one after the other, and each that goes makes room for the next.
    assert!((4..12).contains(&metrics.members), "{metrics}");
}

#[test]
fn a_total_of_a_few_buffers_leaves_only_those_who_take_everything_at_once() {
    let mut room = Room::new(|config| config.limits.max_pending_total_bytes = 1);
    (0..70).for_each(|_| room.say(10));
    assert_eq!(room.rig.metrics().members, 2);
    (0..10).for_each(|_| room.say(10));
    room.expect_no_loss_for_others();
    room.rig.advance(6 * SECOND);
    room.expect_closed_for(CloseReason::OutOfMemory, 1);
}

// A line that has no end yet is memory too. It is freed with its sender, so no second one has to go.
#[test]
fn only_the_largest_of_the_unfinished_lines_costs_a_connection() {
    let mut rig = Rig::new(|config| {
        config.limits.max_pending_total_bytes = 128 * KIB;
        config.limits.max_line_bytes = 64 * KIB;
    });
    let senders = [20, 36, 24].map(|kib| (kib, rig.join(&format!("n{kib}"))));
    for (kib, wire) in &senders {
        wire.send("x".repeat(kib * KIB));
        rig.settle();
    }
    assert_eq!(rig.metrics().members, 3);
    // A buffer doubles, and that is too much.
    senders[0].1.send("x".repeat(16 * KIB));
    rig.settle();
    assert_eq!(rig.metrics().members, 2);
    rig.advance(6 * SECOND);
    assert_eq!(rig.metrics().closed_for(CloseReason::OutOfMemory), 1);
    let ended = senders.map(|(_, wire)| wire.has_ended());
    assert_eq!(ended, [false, true, false]);
}

#[test]
fn a_total_of_0_and_one_that_is_never_reached_are_no_limit() {
    for most in [0, usize::MAX] {
        let mut room = Room::new(|config| config.limits.max_pending_total_bytes = most);
        room.say(500);
        assert_eq!(room.read_on(), heard(0..500));
        assert_eq!(room.rig.metrics().closed(), 0);
    }
}
