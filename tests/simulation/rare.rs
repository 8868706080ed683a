//! What happens in few seeds or in one of a thousand, as a scene of its own; and what the random runs
//! cannot tell, because they do not know in which order an engine works.

use std::time::Duration;

use line_chat::{CloseReason, Config, Eof, Eol, Lag, Script, Service};

use crate::journal::Peer;
use crate::scene::{INTERACTIVE, PLAIN, Scene, on_both};

/// A reader counts as stalled, and has to be told what it missed, in the turn in which it has to
/// go: its last words were followed by the count of lines skipped.
#[test]
fn nothing_is_told_after_the_last_words() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.max_line_bytes = 100;
        config.limits.max_nick_chars = 6;
        config.limits.max_pending_bytes = config.longest_line_bytes();
        config.limits.stall_timeout = Some(Duration::from_millis(1100));
        let mut scene = Scene::new(config, is_veiled);
        let reader = scene.join("reader", 8);
        let writer = scene.join("writer", 1000);
        scene.peer(reader).peer_reads(0);
        let line = "something of some length";
        scene.say(writer, line.as_bytes());
        // The longest there is, for each byte of it becomes three.
        scene.say(writer, &[1; 100]);
        scene.say(writer, &[1; 100]);
        assert!(scene.engine.metrics().lines_skipped > 0);
        scene.wait(1200);
        scene.peer(reader).read_greedily();
        scene.settle();
        let got = scene.got(reader);
        let last_words = "* you have read nothing for too long, goodbye\r\n";
        assert!(got.starts_with(&format!("writer: {line}\r\n")), "{got}");
        assert!(got.ends_with(last_words), "{got}");
        assert!(!got.contains("skipped"), "{got}");
        assert_eq!(scene.left(reader), Some(CloseReason::Stalled));
    });
}

/// A speaker is too fast while most readers lag, and no longer when these have stalled.
#[test]
fn nobody_waits_for_readers_that_have_taken_nothing_for_a_second() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.max_pending_bytes = 520 << 10;
        let mut scene = Scene::new(config, is_veiled);
        let bulk = scene.join("floods", 1000);
        for reader in ["lags", "lags-too"] {
            scene.join(reader, 8);
        }
        scene.join_reading("reader");
        scene.flood(bulk, 65);
        scene.wait(500);
        scene.flood(bulk, 80);
        let (heard, all) = (scene.said, (65 + 80) * 16);
        assert!(heard < all, "most lag");
        scene.wait(400);
        assert_eq!(scene.said, heard, "most still lag");
        scene.wait(150);
        assert_eq!(scene.said, all, "most have stalled");
    });
}

/// However much somebody has said, a second later it is a sparse speaker again.
#[test]
fn a_flood_is_forgiven_in_a_second() {
    on_both(|is_veiled| {
        let mut scene = Scene::new(Config::default(), is_veiled);
        let bulk = scene.join("floods", 1000);
        scene.join_reading("reader");
        scene.flood(bulk, 500);
        let before = scene.bulk;
        assert!(before > 0);
        scene.wait(900);
        scene.say(bulk, b"a line");
        assert_eq!(scene.bulk, before + 1);
        scene.wait(200);
        scene.say(bulk, b"a line");
        assert_eq!(scene.bulk, before + 1);
    });
}

/// The gate stops lines and not clients: in a room that waits, a command before the first line is
/// carried out and answered, and the line is said when the room goes on.
#[test]
fn a_room_that_waits_answers_commands_and_goes_on_where_it_stopped() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.interactive.enabled = true;
        config.limits.lag = Lag::Wait;
        config.limits.max_pending_bytes = 64 << 10;
        let mut scene = Scene::new(config, is_veiled);
        let slow = scene.join("slow", 8);
        let fast = scene.join_reading("floods");
        let person = scene.connect(INTERACTIVE, 1 << 20);
        scene.say(person, b"ann");
        let mut said = 0;
        while scene.said == said {
            scene.flood(fast, 1);
            said += 16;
        }
        scene.got(person);
        let said = scene.said;
        scene.say(person, b"/time\n\xff\xf6/help\nhello\n/who");
        let got = scene.got(person);
        assert!(
            got.starts_with("* it is 1970-01-01 00:00:00 UTC\r\n* yes\r\n"),
            "{got}"
        );
        assert!(
            got.ends_with("rlwrap nc HOST PORT keeps it in sight\r\n"),
            "{got}"
        );
        assert_eq!(scene.said, said, "the room waits");
        scene.peer(slow).read_greedily();
        scene.settle();
        let got = scene.got(person);
        assert!(got.contains("ann, floods, slow\r\n"), "{got}");
        let got = scene.got(slow);
        assert!(got.contains("ann: hello\r\n"), "{got}");
        assert!(!got.contains("skipped"), "{got}");
    });
}

/// With `--lag wait`, a reader that asks on while the room waits for it is not sent still more.
#[test]
fn a_reader_that_holds_up_the_room_gets_no_answers_beyond_its_limit() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.lag = Lag::Wait;
        config.limits.max_line_bytes = 100;
        config.limits.max_pending_bytes = 1000;
        let mut scene = Scene::new(config, is_veiled);
        let slow = scene.join("slow", 8);
        scene.send(slow, &b"\xff\xf6".repeat(5000));
        scene.settle();
        let pending = scene.engine.metrics().pending_bytes;
        assert!((900..1100).contains(&pending), "{pending} bytes");
        scene.peer(slow).read_greedily();
        scene.settle();
        assert_eq!(scene.got(slow).matches("* yes\r\n").count(), 5000);
    });
}

/// Notices that do not fit are counted and told where the room goes on, and not at the end only.
#[test]
fn a_room_that_waits_tells_of_the_notices_that_it_left_out() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.interactive.enabled = true;
        config.limits.lag = Lag::Wait;
        config.limits.max_pending_bytes = 64 << 10;
        let mut scene = Scene::new(config, is_veiled);
        let slow = scene.connect(INTERACTIVE, 1000);
        scene.say(slow, b"slow");
        let fast = scene.join_reading("floods");
        // So that most readers keep up.
        scene.join_reading("reads");
        scene.join_reading("reads-too");
        scene.flood(fast, 80);
        scene.join("comes", 1000);
        scene.join("comes-too", 1000);
        scene.peer(slow).read_greedily();
        scene.settle();
        let got = scene.got(slow);
        assert!(
            got.contains("\r\n* 2 lines skipped: your connection was too slow\r\n"),
            "{got}"
        );
        assert!(!got.contains("comes joined"), "{got}");
        assert_eq!(got.matches("floods: ").count(), 80 * 16);
        assert_eq!((scene.said, scene.skipped), (80 * 16, 2));
    });
}

/// Who is skipped is told where the flush resumes, although nobody says anything more.
#[test]
fn a_reader_is_told_what_it_missed_as_soon_as_there_is_room() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.max_line_bytes = 100;
        config.limits.max_pending_bytes = 1000;
        let mut scene = Scene::new(config, is_veiled);
        let slow = scene.join("slow", 8);
        let fast = scene.join("fast", 1000);
        for line in 0..100 {
            scene.say(fast, format!("line {line}").as_bytes());
        }
        scene.peer(slow).read_greedily();
        scene.turn();
        let got = scene.got(slow);
        let seen = got.matches("fast: line ").count() as u64;
        let notice = format!("* {} lines skipped\r\n", 100 - seen);
        assert!(got.ends_with(&notice), "{got}");
        assert_eq!(scene.engine.metrics().lines_skipped, 100 - seen);
    });
}

/// A member that only listens is closed after its own time-out, not after that of the login.
#[test]
fn a_member_that_says_nothing_after_its_nick_is_idle() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.login_timeout = Some(Duration::ZERO);
        config.limits.idle_timeout = Duration::from_secs(5);
        let mut scene = Scene::new(config, is_veiled);
        let member = scene.join_reading("listens");
        assert!(scene.engine.next_deadline().is_some());
        scene.wait(4999);
        assert_eq!(scene.left(member), None);
        scene.wait(1);
        assert_eq!(scene.left(member), Some(CloseReason::Idle));
    });
}

/// What a client has sent and must wait is answered when it is heard, and not when somebody speaks.
#[test]
fn an_answer_to_held_input_is_written_at_once() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.lines_per_second = 1.0;
        config.limits.burst_lines = 1;
        let mut scene = Scene::new(config, is_veiled);
        let member = scene.join_reading("types");
        scene.say(member, b"one\ntwo\n\xff\xf6");
        assert_eq!(scene.got(member), "");
        scene.wait(1000);
        scene.wait(1000);
        assert_eq!(scene.got(member), "* yes\r\n");
    });
}

/// A client that was refused for the last time is told so, or that it reads too slowly.
#[test]
fn nobody_is_closed_at_the_login_without_a_word() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.max_line_bytes = 100;
        config.limits.max_pending_bytes = 1000;
        config.limits.max_refusals = Some(1);
        let mut scene = Scene::new(config, is_veiled);
        let client = scene.connect(PLAIN, 8);
        scene.send(client, &b"\xff\xf6".repeat(142));
        scene.say(client, b"two words");
        scene.peer(client).read_greedily();
        scene.settle();
        let got = scene.got(client);
        assert!(
            got.ends_with("* you are reading too slowly, goodbye\r\n"),
            "{got}"
        );
        assert_eq!(scene.left(client), Some(CloseReason::TooSlow));
    });
}

/// A half-closed client that takes a byte now and then is closed after `stall_timeout` in all.
#[test]
fn a_client_that_has_hung_up_does_not_stay_for_ever() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.stall_timeout = Some(Duration::from_secs(60));
        let mut scene = Scene::new(config, is_veiled);
        let slow = scene.join("slow", 8);
        let fast = scene.join_reading("floods");
        scene.flood(fast, 20);
        scene.peer(slow).hang_up();
        scene.settle();
        assert_eq!(scene.left(slow), Some(CloseReason::HungUp));
        for _ in 0..59 {
            scene.peer(slow).peer_reads(8);
            scene.wait(1000);
        }
        assert_eq!(scene.freed, 0);
        scene.wait(1000);
        assert_eq!(scene.freed, 1, "its time is up");
        assert_eq!(scene.engine.metrics().pending_bytes, 0);
    });
}

/// What is queued before a late handshake arrives when it is over.
#[test]
fn a_greeting_waits_for_a_late_handshake() {
    let mut config = Config::default();
    config.interactive.enabled = true;
    let mut scene = Scene::new(config, true);
    let person = scene.connect_late(INTERACTIVE, 1 << 20);
    scene.settle();
    assert_eq!(scene.got(person), "");
    scene.send(person, b"H");
    scene.settle();
    assert_eq!(scene.got(person), "");
    scene.send(person, b"F");
    scene.settle();
    assert!(scene.got(person).ends_with("* what is your nick?\r\n"));
}

/// A nick that lies behind a handshake whose answer cannot be sent is read when it is.
#[test]
fn input_behind_a_handshake_is_read_when_the_answer_is_sent() {
    let mut scene = Scene::new(Config::default(), true);
    let client = scene.connect_late(PLAIN, 3);
    scene.send(client, b"HFlate\n");
    scene.settle();
    assert_eq!(scene.engine.metrics().members, 0, "five bytes are owed");
    scene.peer(client).peer_reads(3);
    scene.settle();
    assert_eq!(scene.engine.metrics().members, 1);
}

/// A last line and the end of the stream in one segment: the line is said, and the member leaves in the
/// same breath, with no event behind it.
#[test]
fn the_end_behind_a_last_line_is_seen_at_once() {
    on_both(|is_veiled| {
        let mut scene = Scene::new(Config::default(), is_veiled);
        let (brief, other) = (scene.join_reading("brief"), scene.join_reading("other"));
        scene.send(brief, b"bye");
        scene.send(brief, b"\n");
        scene.peer(brief).hang_up();
        scene.settle();
        assert_eq!(scene.got(other), "brief: bye\r\n");
        assert_eq!(scene.left(brief), Some(CloseReason::HungUp));
        assert_eq!((scene.engine.clients(), scene.freed), (1, 1));
    });
}

/// What was said before a connection broke is heard, and the end of our half takes as many steps as the
/// stream needs.
#[test]
fn a_goodbye_arrives_before_the_end_of_our_half() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.interactive.enabled = true;
        let mut scene = Scene::new(config, is_veiled);
        let person = scene.connect(INTERACTIVE, 1 << 20);
        scene.say(person, b"ann");
        scene.got(person);
        scene.say(person, b"/quit");
        assert_eq!(scene.got(person), "* goodbye\r\n");
        assert!(scene.peer(person).shut);
        assert_eq!(scene.freed, 0, "it lingers");
        scene.peer(person).hang_up();
        scene.settle();
        assert_eq!(scene.freed, 1);
    });
}

/// A script that closes its sending half goes on listening, its lines end with LF alone, and it is
/// told what it missed as anybody is.
#[test]
fn a_script_that_only_listens_gets_lines_with_lf_until_it_is_gone() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.max_line_bytes = 100;
        config.limits.max_pending_bytes = config.longest_line_bytes();
        let mut scene = Scene::new(config, is_veiled);
        let script = Service::Script(Script {
            eof: Eof::Listen,
            eol: Eol::Lf,
        });
        let log = scene.connect(script, 8);
        scene.read_all();
        scene.say(log, b"log");
        scene.peer(log).hang_up();
        scene.settle();
        assert_eq!(scene.left(log), None, "it listens");
        let bob = scene.join("bob", 1000);
        let mut expected = String::new();
        for n in 0..3 {
            scene.say(bob, format!("line {n}").as_bytes());
            expected += &format!("bob: line {n}\n");
        }
        // It takes a few bytes at a time, so a line may be cut anywhere.
        for _ in 0..expected.len() {
            scene.peer(log).peer_reads(1);
            scene.settle();
        }
        scene.read_all();
        assert_eq!(scene.got(log), expected);
        scene.peer(log).peer_reads(0);
        for _ in 0..50 {
            scene.say(bob, &[b'x'; 100]);
        }
        scene.read_all();
        let got = scene.got(log);
        assert!(got.contains(" lines skipped\n"), "{got}");
        assert!(!got.contains('\r'), "{got}");
        // That it is gone shows when something is written to it.
        scene.peer(log).reset();
        scene.say(bob, b"gone?");
        assert_eq!(scene.left(log), Some(CloseReason::Broken));
    });
}

/// What a client that leaves has not read is memory, and its time is not waited for when memory is short:
/// of all it holds the most, and it is freed at once. The others stay.
#[test]
fn one_that_leaves_with_the_longest_queue_is_freed_when_memory_is_short() {
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.max_pending_total_bytes = 300 << 10;
        let mut scene = Scene::new(config, is_veiled);
        let leaver = scene.join("leaves", 8);
        let fast = scene.join_reading("floods");
        scene.flood(fast, 150);
        scene.peer(leaver).hang_up();
        scene.settle();
        assert_eq!(scene.left(leaver), Some(CloseReason::HungUp));
        let slow = scene.join("slow", 8);
        scene.flood(fast, 30);
        assert_eq!(scene.freed, 0, "there is memory for both");
        scene.flood(fast, 25);
        assert_eq!(scene.freed, 1, "nobody has waited");
        assert_eq!(scene.left(slow), None);
        scene.peer(slow).read_greedily();
        scene.settle();
        assert_eq!(scene.got(slow).matches("floods: ").count(), 55 * 16);
    });
}

/// A line that has begun is written to its end, and so are last words; but where many readers have one long
/// line each, that would be all that they hold. Then they go without, and no more of them than have to.
#[test]
fn many_readers_with_a_line_each_are_not_all_closed_and_hold_no_more_than_they_may() {
    const READERS: usize = 60;
    const TOTAL: usize = 128 << 10;
    on_both(|is_veiled| {
        let mut config = Config::default();
        config.limits.max_pending_total_bytes = TOTAL;
        let mut scene = Scene::new(config, is_veiled);
        let readers: Vec<Peer> = (0..READERS)
            .map(|number| scene.join(&format!("reader{number}"), 8))
            .collect();
        let bob = scene.join_reading("bob");
        for _ in 0..2 {
            scene.say(bob, &[b'x'; 4000]);
            let memory = scene.engine.metrics().buffer_bytes;
            assert!(memory <= TOTAL, "{memory} bytes");
        }
        let gone = readers.iter().filter(|&&it| scene.left(it).is_some());
        let stay = READERS - gone.count();
        // Each has two lines, in a buffer of 12 KiB.
        assert!((8..=16).contains(&stay), "{stay} stay");
    });
}

/// The system has no buffers for a while: whatever call finds that is made again by the clock, because
/// no event will tell when there are some.
#[test]
fn a_want_of_memory_costs_nobody_a_line_and_is_not_tried_without_a_pause() {
    let mut scene = Scene::new(Config::default(), false);
    let (ann, bob) = (scene.join_reading("ann"), scene.join_reading("bob"));
    scene.peer(bob).is_starved = true;
    scene.say(ann, b"one");
    scene.send(bob, b"two\n");
    scene.settle();
    let end = scene.now + Duration::from_secs(5);
    scene.wait_until(end);
    let calls = scene.peer(bob).starved_calls;
    assert!((60..=70).contains(&calls), "{calls} calls in 5 s");
    assert_eq!((scene.left(bob), scene.got(ann).as_str()), (None, ""));
    scene.peer(bob).is_starved = false;
    let end = scene.now + Duration::from_secs(1);
    scene.wait_until(end);
    assert_eq!(scene.got(bob), "ann: one\r\n");
    assert_eq!(scene.got(ann), "bob: two\r\n");
}
