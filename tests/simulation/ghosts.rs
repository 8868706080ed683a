//! Peers that vanish without a FIN or RST, each a scene: what the kernel knows of them decides when they
//! leave, and nothing but that.

use std::time::Duration;

use line_chat::{CloseReason, Config};

use crate::journal::Peer;
use crate::scene::{INTERACTIVE, PLAIN, Scene, on_both};

fn for_people() -> Config {
    let mut config = Config::default();
    config.interactive.enabled = true;
    config
}

/// A person at a prompt who reads everything.
fn person(scene: &mut Scene, nick: &str) -> Peer {
    let person = scene.connect(INTERACTIVE, 1 << 20);
    scene.peer(person).read_greedily();
    scene.say(person, nick.as_bytes());
    scene.got(person);
    person
}

/// alice at a prompt, and a script that is about to vanish.
fn scene_with_ghost(is_veiled: bool) -> (Scene, Peer, Peer) {
    let mut scene = Scene::new(for_people(), is_veiled);
    let alice = person(&mut scene, "alice");
    let ghost = scene.join_reading("ghost");
    // It has shown that it is there.
    scene.say(ghost, b"hello");
    scene.got(alice);
    (scene, alice, ghost)
}

/// Takes all turns that are due within so many seconds.
fn pass(scene: &mut Scene, seconds: u64) {
    let end = scene.now + Duration::from_secs(seconds);
    while let Some(deadline) = scene.engine.next_deadline()
        && deadline <= end
    {
        scene.now = scene.now.max(deadline);
        scene.turn();
        scene.settle();
    }
    scene.now = end;
}

#[test]
fn a_vanished_peer_that_is_written_to_leaves_after_the_time_and_a_round() {
    on_both(|is_veiled| {
        let (mut scene, alice, ghost) = scene_with_ghost(is_veiled);
        scene.peer(ghost).vanish();
        pass(&mut scene, 100);
        assert_eq!(scene.left(ghost), None, "nothing is known");
        scene.say(alice, b"anybody here?");
        pass(&mut scene, 29);
        assert_eq!(scene.left(ghost), None, "it may be back");
        pass(&mut scene, 16);
        assert_eq!(scene.left(ghost), Some(CloseReason::Broken));
        assert_eq!(scene.got(alice), "* ghost left\r\n");
        assert_eq!(scene.engine.clients(), 1);
    });
}

#[test]
fn who_talks_all_the_time_to_a_vanished_peer_finds_it_as_soon() {
    on_both(|is_veiled| {
        let (mut scene, alice, ghost) = scene_with_ghost(is_veiled);
        for n in 0..40 {
            scene.say(alice, format!("line {n}").as_bytes());
            pass(&mut scene, 1);
        }
        scene.peer(ghost).vanish();
        let since = scene.now;
        while scene.left(ghost).is_none() {
            scene.say(alice, b"and now?");
            pass(&mut scene, 1);
        }
        let took = (scene.now - since).as_secs();
        assert!((30..=46).contains(&took), "{took} s");
    });
}

#[test]
fn a_peer_that_comes_back_within_the_time_is_kept() {
    on_both(|is_veiled| {
        let (mut scene, alice, ghost) = scene_with_ghost(is_veiled);
        for _ in 0..10 {
            scene.peer(ghost).vanish();
            scene.say(alice, b"are you still there?");
            pass(&mut scene, 29);
            scene.peer(ghost).come_back();
            pass(&mut scene, 20);
        }
        assert_eq!(scene.left(ghost), None);
        scene.say(ghost, b"yes");
        assert_eq!(scene.got(alice), "ghost: yes\r\n");
    });
}

#[test]
fn a_peer_that_reads_nothing_and_answers_is_kept() {
    on_both(|is_veiled| {
        let (mut scene, alice, _) = scene_with_ghost(is_veiled);
        let sleeper = scene.join("sleeper", 100);
        for _ in 0..10 {
            scene.say(alice, b"a line that fills the window of the sleeper");
        }
        pass(&mut scene, 299);
        assert_eq!(scene.left(sleeper), None);
        assert!(scene.peer(sleeper).asked > 10);
        pass(&mut scene, 2);
        assert_eq!(scene.left(sleeper), Some(CloseReason::Stalled));
    });
}

#[test]
fn who_asks_for_the_nick_of_a_dead_peer_gets_it_at_once() {
    on_both(|is_veiled| {
        let (mut scene, alice, ghost) = scene_with_ghost(is_veiled);
        // No round has to find it.
        scene.peer(ghost).vanish();
        pass(&mut scene, 79);
        for _ in 0..2 {
            scene.peer(ghost).miss_probe();
        }
        let asker = scene.connect(PLAIN, 1 << 20);
        scene.say(asker, b"ghost");
        assert_eq!(
            scene.got(asker),
            "* nick \"ghost\" is taken, choose another\r\n"
        );
        scene.peer(ghost).miss_probe();
        scene.say(asker, b"Ghost\nI am back");
        assert_eq!(scene.left(ghost), Some(CloseReason::Broken));
        assert_eq!(scene.got(asker), "");
        let got = scene.got(alice);
        assert_eq!(
            got,
            "* ghost left\r\n* Ghost joined\r\nGhost: I am back\r\n"
        );
    });
}

#[test]
fn who_changes_its_nick_to_that_of_a_dead_peer_gets_it_at_once() {
    on_both(|is_veiled| {
        let (mut scene, alice, ghost) = scene_with_ghost(is_veiled);
        let bob = person(&mut scene, "bob");
        scene.got(alice);
        scene.peer(ghost).vanish();
        scene.say(bob, b"/nick ghost");
        assert_eq!(
            scene.got(bob),
            "* nick \"ghost\" is taken; ghost2 is free\r\n"
        );
        pass(&mut scene, 80);
        for _ in 0..3 {
            scene.peer(ghost).miss_probe();
        }
        // Each of these lines is carried out once, in its place.
        scene.say(bob, b"one\n/nick ghost\ntwo\n/nick ghost\n/nick alice");
        let got = scene.got(bob);
        assert_eq!(
            got,
            "* ghost left\r\n* you are now ghost\r\n* you are now ghost\r\n\
             * nick \"alice\" is taken; alice2 is free\r\n"
        );
        let got = scene.got(alice);
        assert_eq!(
            got,
            "bob: one\r\n* ghost left\r\n* bob changes nick to ghost\r\nghost: two\r\n"
        );
    });
}

#[test]
fn a_member_of_another_engine_takes_the_place_of_its_dead_connection() {
    on_both(|is_veiled| {
        let (mut scene, _, ghost) = scene_with_ghost(is_veiled);
        scene.peer(ghost).vanish();
        assert!(scene.adopt(PLAIN, "ghost").is_err());
        pass(&mut scene, 80);
        for _ in 0..3 {
            scene.peer(ghost).miss_probe();
        }
        assert!(scene.adopt(PLAIN, "ghost").is_ok());
        scene.turn();
        assert_eq!(scene.left(ghost), Some(CloseReason::Broken));
        assert_eq!(
            scene.engine.members().collect::<Vec<_>>(),
            ["alice", "ghost"]
        );
    });
}

#[test]
fn the_system_is_asked_in_rounds_as_long_as_something_is_written() {
    on_both(|is_veiled| {
        let (mut scene, alice, ghost) = scene_with_ghost(is_veiled);
        pass(&mut scene, 1000);
        let asked = |scene: &Scene| [alice, ghost].map(|peer| scene.peer(peer).asked);
        let before = asked(&scene);
        let is_idle = |scene: &Scene| scene.engine.next_deadline().is_none();
        assert!(is_idle(&scene), "nobody wakes an idle server");
        scene.say(alice, b"hello");
        pass(&mut scene, 10);
        scene.say(alice, b"how are you?");
        pass(&mut scene, 5);
        // Of whom something was heard since the last round, it is not asked.
        assert_eq!(asked(&scene), [before[0], before[1] + 1]);
        pass(&mut scene, 15);
        assert_eq!(asked(&scene), [before[0] + 1, before[1] + 2]);
        pass(&mut scene, 1000);
        assert_eq!(asked(&scene), [before[0] + 1, before[1] + 2]);
        assert!(is_idle(&scene));
    });
}

/// What was written before somebody was heard may be unacknowledged all the same.
#[test]
fn who_vanishes_directly_after_it_was_heard_is_found() {
    on_both(|is_veiled| {
        let (mut scene, alice, ghost) = scene_with_ghost(is_veiled);
        pass(&mut scene, 1000);
        scene.say(alice, b"hello");
        pass(&mut scene, 10);
        scene.say(ghost, b"hello yourself");
        scene.peer(ghost).vanish();
        scene.say(alice, b"how are you?");
        // One round passes it over, and the next is the first to see what is unacknowledged.
        pass(&mut scene, 15 + 15 + 30);
        assert_eq!(scene.left(ghost), Some(CloseReason::Broken));
    });
}

#[test]
fn a_round_over_many_members_is_spread_over_turns() {
    let mut scene = Scene::new(Config::default(), false);
    let members: Vec<Peer> = (0..90)
        .map(|n| scene.join_reading(&format!("m{n}")))
        .collect();
    pass(&mut scene, 100);
    scene.say(members[0], b"hello");
    let asked = |scene: &Scene| {
        let sockets = scene.sockets.iter().map(|socket| socket.borrow().asked);
        sockets.sum::<u32>()
    };
    let before = asked(&scene);
    scene.now += Duration::from_secs(15);
    scene.turn();
    assert_eq!(asked(&scene), before + 64);
    assert!(scene.engine.has_work());
    scene.turn();
    assert_eq!(asked(&scene), before + 90);
    assert!(!scene.engine.has_work());
}

/// A round over many peers is spread over turns, so that members do not notice it.
#[test]
fn a_turn_asks_about_64_peers_at_most_and_a_round_about_all() {
    on_both(|is_veiled| {
        let mut scene = Scene::new(for_people(), is_veiled);
        let alice = scene.join_reading("alice");
        let ghosts: Vec<Peer> = (0..90)
            .map(|n| scene.join_reading(&format!("ghost{n}")))
            .collect();
        for &ghost in &ghosts {
            scene.peer(ghost).vanish();
        }
        scene.say(alice, b"anybody here?");
        pass(&mut scene, 46);
        let left = ghosts.iter().filter(|&&it| scene.left(it).is_some());
        assert_eq!(left.count(), ghosts.len());
        assert_eq!(scene.most_asked(), 64);
    });
}
