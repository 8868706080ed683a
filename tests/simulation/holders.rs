//! A room that waits for its slowest reader (`--lag wait`): nobody else is kept by it who wants to end
//! the wait, or to leave, whatever the reader is and however it comes back.

use std::time::Duration;

use line_chat::{CloseReason, Config, Eof, Eol, Lag, Profile, Script, Service};

use crate::journal::Peer;
use crate::scene::{INTERACTIVE, PLAIN, Scene, on_both};

const LIMIT: usize = 64 << 10;
const STALL: u64 = 6000;
/// So much of a line end each is what a client may have handled while others wait.
const READ_BYTES: usize = 64;

struct Held {
    scene: Scene,
    holder: Peer,
    speaker: Peer,
    ann: Peer,
    operator: Peer,
    script: Peer,
}

fn config() -> Config {
    let mut config = Config::default();
    config.interactive.enabled = true;
    config.interactive.ops_password = "mustard".parse().ok();
    config.limits.lag = Lag::Wait;
    config.limits.max_pending_bytes = LIMIT;
    config.limits.stall_timeout = Some(Duration::from_millis(STALL));
    config
}

/// Somebody at a prompt, who reads everything.
fn person(scene: &mut Scene, nick: &str) -> Peer {
    let peer = scene.connect(INTERACTIVE, 1 << 20);
    scene.peer(peer).read_greedily();
    scene.say(peer, nick.as_bytes());
    peer
}

/// A room that waits for a holder of this kind.
fn held_by(service: Service, is_veiled: bool) -> Held {
    held_with(config(), service, is_veiled)
}

fn held_with(config: Config, service: Service, is_veiled: bool) -> Held {
    let mut scene = Scene::new(config, is_veiled);
    let speaker = scene.join_reading("floods");
    let ann = person(&mut scene, "ann");
    let operator = person(&mut scene, "operator-bob");
    scene.say(operator, b"/op mustard");
    let script = scene.join_reading("script");
    let holder = hold(&mut scene, service, "troll", speaker);
    Held {
        scene,
        holder,
        speaker,
        ann,
        operator,
        script,
    }
}

fn hold(scene: &mut Scene, service: Service, nick: &str, speaker: Peer) -> Peer {
    let holder = scene.connect(service, 4096);
    scene.peer(holder).peer_reads(usize::MAX);
    scene.say(holder, nick.as_bytes());
    // What is forgiven in two seconds.
    scene.wait(2000);
    let before = scene.said;
    scene.flood(speaker, 200);
    assert!(scene.said < before + 200 * 16, "the room waits");
    holder
}

const WITH_LF: Service = Service::Script(Script {
    eof: Eof::Listen,
    eol: Eol::Lf,
});

const HOLDERS: [Service; 3] = [PLAIN, INTERACTIVE, Service::Chat(Profile::History)];

#[test]
fn an_operator_is_heard_while_the_room_waits_whoever_holds_it_up_and_comes_back() {
    on_both(|is_veiled| {
        for service in HOLDERS {
            let mut held = held_by(service, is_veiled);
            let (scene, operator, ann) = (&mut held.scene, held.operator, held.ann);
            scene.got(ann);
            scene.say(operator, b"somebody is asleep");
            let got = scene.got(ann);
            assert!(
                got.ends_with("operator-bob: somebody is asleep\r\n"),
                "{got}"
            );
            scene.say(operator, b"/kick troll");
            assert_eq!(scene.left(held.holder), Some(CloseReason::Kicked));
            // By another name, and as another kind of client.
            for service in HOLDERS {
                let holder = hold(scene, service, "again", held.speaker);
                scene.say(operator, b"/kick again");
                assert_eq!(scene.left(holder), Some(CloseReason::Kicked));
            }
        }
    });
}

#[test]
fn whoever_leaves_is_not_kept_by_a_reader_and_what_it_said_before_is_said() {
    on_both(|is_veiled| {
        for service in HOLDERS {
            let Held {
                mut scene,
                operator,
                ann,
                script,
                ..
            } = held_by(service, is_veiled);
            let more = ["carl", "dora"].map(|nick| person(&mut scene, nick));
            scene.got(operator);
            for (peer, end) in [
                (ann, &b"/quit bye\n"[..]),
                (more[0], b"\x04"),
                (more[1], b""),
            ] {
                scene.say(peer, b"I said this before");
                assert_eq!(scene.left(peer), None);
                assert!(!scene.got(operator).contains("before"), "it waits");
                scene.send(peer, end);
                if end.is_empty() {
                    scene.peer(peer).hang_up();
                }
                scene.settle();
                assert!(scene.left(peer).is_some(), "{end:?}");
                assert!(scene.got(operator).contains(": I said this before\r\n"));
            }
            scene.send(script, b"my last line\n");
            scene.peer(script).hang_up();
            scene.settle();
            assert_eq!(scene.left(script), Some(CloseReason::HungUp));
            assert!(scene.got(operator).contains("script: my last line\r\n"));
        }
    });
}

#[test]
fn the_reader_that_the_room_waits_for_can_leave_as_well() {
    on_both(|is_veiled| {
        for has_hung_up in [false, true] {
            let Held {
                mut scene, holder, ..
            } = held_by(INTERACTIVE, is_veiled);
            if has_hung_up {
                scene.peer(holder).hang_up();
            } else {
                scene.say(holder, b"goodbye to all");
                assert_eq!(scene.left(holder), None);
                scene.send(holder, b"/quit\n");
            }
            scene.settle();
            assert!(scene.left(holder).is_some());
            let said = 200 * 16 + usize::from(!has_hung_up);
            assert_eq!(scene.said, said, "the room goes on");
        }
    });
}

#[test]
fn an_operator_who_floods_a_reader_that_is_waited_for_closes_it_at_twice_its_limit() {
    on_both(|is_veiled| {
        let Held {
            mut scene,
            holder,
            operator,
            ..
        } = held_by(PLAIN, is_veiled);
        let mut most = 0;
        for _ in 0..3 * LIMIT / 1000 {
            scene.say(operator, &b"x".repeat(1000));
            most = most.max(scene.engine.metrics().pending_bytes);
        }
        assert_eq!(scene.left(holder), Some(CloseReason::TooSlow));
        assert!((LIMIT..=2 * LIMIT).contains(&most), "{most} bytes");
        assert!(most > 2 * LIMIT - 2000, "{most} bytes");
    });
}

#[test]
fn a_reader_that_takes_a_little_each_time_is_closed_in_time_whatever_is_said_meanwhile() {
    on_both(|is_veiled| {
        let Held {
            mut scene,
            holder,
            operator,
            ..
        } = held_by(PLAIN, is_veiled);
        for second in 1..=STALL / 1000 {
            assert_eq!(scene.left(holder), None, "after {second} s");
            scene.peer(holder).peer_reads(1400);
            scene.say(operator, b"somebody is slow");
            scene.wait(1000);
        }
        assert_eq!(scene.left(holder), Some(CloseReason::HeldUp));
    });
}

/// The listener that has no word before it is for scripts, and people come in by another one.
#[test]
fn an_operator_who_comes_by_another_listener_while_the_room_waits_ends_the_wait() {
    on_both(|is_veiled| {
        for service in HOLDERS.into_iter().chain([WITH_LF]) {
            let mut config = config();
            config.interactive.enabled = false;
            let listen = ["127.0.0.1:1", "interactive:127.0.0.1:2"];
            config.listen = listen
                .map(|addr| addr.parse().expect("an address"))
                .to_vec();
            let mut scene = Scene::new(config, is_veiled);
            let speaker = scene.join_reading("floods");
            let said = scene.said;
            let holder = hold(&mut scene, service, "troll", speaker);
            let boss = person(&mut scene, "boss");
            let ann = person(&mut scene, "ann");
            scene.say(boss, b"nobody hears this before I am an operator");
            scene.say(ann, b"/op mustard");
            scene.say(ann, b"who is asleep?");
            let got = scene.got(speaker);
            assert!(got.ends_with("ann: who is asleep?\r\n"), "{got}");
            assert!(!got.contains("nobody hears"), "{got}");
            scene.say(ann, b"/kick troll");
            assert_eq!(scene.left(holder), Some(CloseReason::Kicked));
            assert_eq!(scene.said - said, 200 * 16 + 2, "the room goes on");
        }
    });
}

/// Each who leaves while the room waits leaves a place in a run queue, and who comes next has its number.
#[test]
fn who_came_and_went_while_the_room_waited_is_read_no_more_often_than_others() {
    on_both(|is_veiled| {
        let mut config = config();
        config.limits.read_bytes = READ_BYTES;
        let Held {
            mut scene,
            holder,
            script,
            ..
        } = held_with(config, PLAIN, is_veiled);
        for _ in 0..20 {
            let comer = scene.join("comer", 1000);
            scene.say(comer, b"I say this and go");
            scene.peer(comer).hang_up();
            scene.settle();
            assert_eq!(scene.left(comer), Some(CloseReason::HungUp));
        }
        let comer = scene.join_reading("comer");
        let both = [comer, script];
        for peer in both {
            let more = b"\n".repeat(100 * READ_BYTES);
            scene.send(peer, &[b"I stay", &more[..]].concat());
        }
        scene.settle();
        let before = both.map(|peer| scene.reads(peer).bytes);
        scene.peer(holder).read_greedily();
        for _ in 0..10 {
            scene.turn();
        }
        let after = both.map(|peer| scene.reads(peer).bytes);
        let [comers, scripts] = [0, 1].map(|it| after[it] - before[it]);
        assert!(
            comers.abs_diff(scripts) <= READ_BYTES,
            "{comers}, {scripts}"
        );
        assert!((5..20).contains(&(comers / READ_BYTES)), "{comers}");
    });
}

/// What says nothing has nothing to wait for, and neither has a command behind it.
#[test]
fn a_line_that_says_nothing_does_not_wait() {
    on_both(|is_veiled| {
        let Held { mut scene, ann, .. } = held_by(PLAIN, is_veiled);
        for blank in ["", " \t ", "\u{200e}"] {
            scene.got(ann);
            scene.send(ann, format!("{blank}\n/who\n").as_bytes());
            scene.settle();
            let got = scene.got(ann);
            assert!(got.contains("operator-bob"), "{blank:?}: {got:?}");
        }
    });
}

/// A script that is not at the end of its input has time, and so has one that goes on listening.
#[test]
fn whoever_only_speaks_waits() {
    on_both(|is_veiled| {
        let Held {
            mut scene,
            holder,
            speaker,
            ann,
            script,
            ..
        } = held_by(PLAIN, is_veiled);
        let said = scene.said;
        scene.say(ann, b"are you asleep?");
        scene.say(script, b"a line");
        scene.wait(1000);
        assert_eq!(scene.said, said, "they wait");
        scene.peer(holder).read_greedily();
        scene.settle();
        assert_eq!(scene.said, 200 * 16 + 2);
        assert_eq!(scene.left(speaker), None);
    });
}

/// A turn has 64 KiB for them, and they have more than that to search again each time.
#[test]
fn an_operator_is_heard_at_once_beside_many_who_wait_and_send_a_byte_at_a_time() {
    let Held {
        mut scene,
        ann,
        operator,
        ..
    } = held_by(PLAIN, false);
    let crowd: Vec<Peer> = (0..60)
        .map(|number| person(&mut scene, &format!("waits{number}")))
        .collect();
    for &peer in &crowd {
        scene.send(peer, &b"\n".repeat(15_000));
    }
    scene.settle();
    let mut turns = 0;
    scene.got(ann);
    scene.send(operator, b"still here?\n");
    while !scene.got(ann).contains("still here?") {
        turns += 1;
        assert!(turns <= 2, "the operator waits");
        for &peer in &crowd {
            scene.send(peer, b"\n");
        }
        scene.turn();
    }
    scene.send(ann, b"/quit\n");
    let mut turns = 0;
    while scene.left(ann).is_none() {
        turns += 1;
        // A turn searches what four of them have sent.
        assert!(turns <= 20, "one who leaves waits");
        for &peer in &crowd {
            scene.send(peer, b"\n");
        }
        scene.turn();
    }
}
