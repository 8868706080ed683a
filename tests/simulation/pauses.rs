//! A process that is stopped for a while (SIGSTOP, a suspended machine) wakes up with every time-out
//! behind it, and with everything that has arrived meanwhile still unread.

use std::time::Duration;

use line_chat::{CloseReason, Config, Service};

use crate::journal::Peer;
use crate::scene::{INTERACTIVE, PLAIN, Scene, on_both};

const LOGIN: u64 = 10_000;
const IDLE: u64 = 60_000;
const STALL: u64 = 20_000;

fn config() -> Config {
    let mut config = Config::default();
    config.interactive.enabled = true;
    config.limits.login_timeout = Some(Duration::from_millis(LOGIN));
    config.limits.idle_timeout = Duration::from_millis(IDLE);
    config.limits.stall_timeout = Some(Duration::from_millis(STALL));
    config
}

/// A stranger of each kind, and members: one that only listens and one that has stopped reading.
struct Room {
    scene: Scene,
    strangers: [Peer; 3],
    listener: Peer,
    stalled: Peer,
}

fn room(is_veiled: bool) -> Room {
    let mut scene = Scene::new(config(), is_veiled);
    let listener = scene.join_reading("listener");
    let stalled = scene.join("stalled", 8);
    scene.say(listener, b"more than it reads");
    let strangers =
        [PLAIN, INTERACTIVE, Service::Http].map(|service| scene.connect(service, 1 << 20));
    Room {
        scene,
        strangers,
        listener,
        stalled,
    }
}

#[test]
fn what_has_arrived_is_read_before_anybody_runs_out_of_time() {
    on_both(|is_veiled| {
        let Room {
            mut scene,
            strangers,
            listener,
            stalled,
        } = room(is_veiled);
        let [plain, person, probe] = strangers;
        scene.send(plain, b"plain\n");
        scene.send(person, b"person\n");
        scene.send(probe, b"GET /healthz HTTP/1.0\r\n\r\n");
        scene.send(listener, b"still here\n");
        scene.peer(stalled).read_greedily();
        scene.send(stalled, b"so am I\n");
        // Not even the clock is set right: all of them have been heard by then.
        scene.wait(2 * IDLE);
        for peer in [plain, person, listener, stalled] {
            assert_eq!(scene.left(peer), None, "{peer}");
        }
        assert_eq!(scene.left(probe), Some(CloseReason::Answered));
        assert_eq!(scene.engine.metrics().members, 4);
    });
}

#[test]
fn whoever_had_time_left_has_it_still_and_no_more() {
    on_both(|is_veiled| {
        let Room {
            mut scene,
            strangers: [plain, person, probe],
            listener,
            stalled,
        } = room(is_veiled);
        // The first deadline of all is a reader's, which stalls after a second.
        scene.pause(1000 + 100 * IDLE);
        scene.settle();
        for (millis, peer, reason) in [
            (4000, probe, CloseReason::RequestTimeout),
            (5000, plain, CloseReason::LoginTimeout),
            (0, person, CloseReason::LoginTimeout),
            (10_000, stalled, CloseReason::Stalled),
            (40_000, listener, CloseReason::Idle),
        ] {
            if millis > 0 {
                scene.wait(millis - 1);
                assert_eq!(scene.left(peer), None, "{reason:?} too soon");
                scene.wait(1);
            }
            assert_eq!(scene.left(peer), Some(reason), "{peer}");
        }
    });
}

#[test]
fn what_was_said_before_is_as_old_as_it_is() {
    on_both(|is_veiled| {
        let Room { mut scene, .. } = room(is_veiled);
        scene.pause(1000 + 3_600_000);
        scene.settle();
        let person = scene.connect(INTERACTIVE, 1 << 20);
        scene.say(person, b"person");
        let got = scene.got(person);
        let line = "* 1 h ago, listener: more than it reads\r\n";
        assert!(got.contains(line), "{got}");
    });
}

#[test]
fn a_shutdown_that_was_stopped_has_its_whole_time_left() {
    let Room { mut scene, .. } = room(false);
    let now = scene.now;
    scene.engine.shut_down(now);
    scene.settle();
    let first = scene.engine.next_deadline().expect("it ends") - now;
    scene.pause(60_000);
    let left = config().limits.goodbye_timeout - first;
    assert!(
        !scene
            .engine
            .is_over(scene.now + left - Duration::from_millis(1))
    );
    assert!(scene.engine.is_over(scene.now + left));
}

/// Unread input puts the end of a client's time off until it was read once, and not for ever.
#[test]
fn who_always_has_more_to_read_runs_out_of_time_all_the_same() {
    on_both(|is_veiled| {
        let mut config = config();
        config.limits.turn_read_bytes = 1;
        config.limits.read_bytes = 16;
        let mut scene = Scene::new(config, is_veiled);
        let crowd = [(); 9].map(|()| scene.connect(PLAIN, 1 << 20));
        for _ in 0..200 {
            scene.now += Duration::from_millis(100);
            for &peer in &crowd {
                let most = scene.peer(peer).window();
                scene.send(peer, &b"\n".repeat(most.min(1000)));
            }
            scene.turn();
        }
        for peer in crowd {
            assert_eq!(scene.left(peer), Some(CloseReason::LoginTimeout));
        }
    });
}
