//! Handshakes beside a room: each a scene. What a step costs is not known here, only that there is one a
//! turn, and that it comes behind everything that was said.

use line_chat::{CloseReason, Config, Metrics};

use crate::scene::{INTERACTIVE, PLAIN, Scene};
use crate::veil;

fn handshakes(scene: &Scene) -> u64 {
    let metrics: Metrics = scene.engine.metrics();
    metrics.handshakes
}

#[test]
fn a_turn_completes_one_handshake_and_hears_a_typist_all_the_same() {
    let mut scene = Scene::new(Config::default(), true);
    let (ann, bob) = (scene.join_reading("ann"), scene.join_reading("bob"));
    let strangers: Vec<_> = (0..40)
        .map(|_| scene.connect_late(PLAIN, 1 << 20))
        .collect();
    for &stranger in &strangers {
        scene.send(stranger, veil::HELLO);
    }
    let before = handshakes(&scene);
    for turn in 1..=60 {
        scene.send(ann, b"hello\n");
        let so_far = handshakes(&scene);
        scene.turn();
        assert!(handshakes(&scene) <= so_far + 1, "one in turn {turn}");
        assert_eq!(scene.got(bob), "ann: hello\r\n", "in turn {turn}");
    }
    scene.settle();
    assert_eq!(handshakes(&scene) - before, 40);
}

#[test]
fn a_handshake_has_ten_seconds_and_whoever_is_late_is_told_nothing() {
    let mut scene = Scene::new(Config::default(), true);
    let silent = scene.connect_late(INTERACTIVE, 1 << 20);
    let half = scene.connect_late(INTERACTIVE, 1 << 20);
    scene.send(half, &veil::HELLO[..1]);
    scene.wait(9999);
    assert_eq!((scene.left(silent), scene.left(half)), (None, None));
    scene.wait(1);
    for peer in [silent, half] {
        assert_eq!(scene.left(peer), Some(CloseReason::HandshakeTimeout));
        assert_eq!(scene.got(peer), "");
        assert!(scene.peer(peer).shut);
        scene.peer(peer).hang_up();
    }
    scene.settle();
    assert_eq!(scene.engine.clients(), 0);
}

#[test]
fn of_too_many_handshakes_the_oldest_of_whoever_has_most_makes_room() {
    let mut scene = Scene::new(Config::default(), true);
    let peers: Vec<_> = (0..64)
        .map(|_| scene.connect_late(PLAIN, 1 << 20))
        .collect();
    scene.settle();
    assert!(peers.iter().all(|&peer| scene.left(peer).is_none()));
    // Each has an address of its own and less than ten seconds, so the newcomer has to go.
    let newcomer = scene.connect_late(PLAIN, 1 << 20);
    scene.settle();
    assert_eq!(scene.left(newcomer), Some(CloseReason::MadeRoom));
    scene.send(peers[0], veil::HELLO);
    scene.settle();
    let next = scene.connect(PLAIN, 1 << 20);
    scene.say(next, b"bob");
    assert_eq!(scene.left(next), None);
    assert_eq!(scene.engine.members().collect::<Vec<_>>(), ["bob"]);
}
