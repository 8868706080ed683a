//! A name that is not whole reaches nobody whom it was not meant for, whatever others do with their names.

use line_chat::{Profile, Service};

use crate::journal::Peer;
use crate::scene::{INTERACTIVE, PLAIN, Scene, on_both};

const HISTORY: Service = Service::Chat(Profile::History);

/// How many names come and go. The first fault took 64.
const NAMES: usize = 70;

/// How somebody may try to make the server forget a name.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// On one connection after the other, as another listener for people takes them as well.
    Reconnect,
    /// Under one name after the other.
    Rename,
    /// The same at listeners for others.
    AsScript,
    WithHistory,
}

fn scene(is_veiled: bool) -> Scene {
    let mut config = line_chat::Config::default();
    config.interactive.enabled = true;
    config.interactive.ops_password = "mustard".parse().ok();
    Scene::new(config, is_veiled)
}

fn person(scene: &mut Scene, nick: &str) -> Peer {
    let person = scene.connect(INTERACTIVE, 1 << 20);
    scene.peer(person).read_greedily();
    scene.say(person, nick.as_bytes());
    person
}

fn leave(scene: &mut Scene, peer: Peer) {
    scene.peer(peer).hang_up();
    scene.settle();
}

/// What somebody gets in return for a line.
fn answer(scene: &mut Scene, peer: Peer, line: &str) -> String {
    scene.got(peer);
    scene.say(peer, line.as_bytes());
    scene.got(peer)
}

fn churn(scene: &mut Scene, way: Way) {
    let names = (0..NAMES).map(|n| format!("guest{n}"));
    let service = match way {
        Way::Rename => {
            let eve = person(scene, "eve");
            return names.for_each(|name| scene.say(eve, format!("/nick {name}").as_bytes()));
        }
        Way::Reconnect => INTERACTIVE,
        Way::AsScript => PLAIN,
        Way::WithHistory => HISTORY,
    };
    for name in names {
        let guest = scene.connect(service, 1 << 20);
        scene.peer(guest).read_greedily();
        scene.say(guest, name.as_bytes());
        leave(scene, guest);
    }
}

/// `/msg alice` reached alice_ and `/kick tro` reached trolley when alice and troll had left, at once or when
/// enough others had come and gone since.
#[test]
fn a_word_for_somebody_who_has_left_reaches_nobody_else() {
    for way in [Way::Reconnect, Way::Rename, Way::AsScript, Way::WithHistory] {
        println!("{way:?}");
        on_both(|is_veiled| {
            let mut scene = scene(is_veiled);
            let bob = person(&mut scene, "bob");
            scene.say(bob, b"/op mustard");
            let alice = person(&mut scene, "alice");
            let troll = person(&mut scene, "troll");
            let other = person(&mut scene, "alice_");
            let trolley = person(&mut scene, "trolley");
            leave(&mut scene, alice);
            // Taking another name is leaving it.
            scene.say(troll, b"/nick someone");
            churn(&mut scene, way);
            scene.got(other);
            scene.got(trolley);
            let refused = "* alice has left; if you mean alice_, type more of it\r\n";
            assert_eq!(answer(&mut scene, bob, "/msg alice psst"), refused);
            for (line, nick) in [
                ("/msg ali psst", "alice_"),
                ("/kick tro out", "trolley"),
                ("/mute trol", "trolley"),
                ("/ignore tr", "trolley"),
            ] {
                let typed = line.split(' ').nth(1).unwrap_or_default();
                let may_be = format!(
                    "* \"{typed}\" may be somebody who has left; if you mean {nick}, type it all\r\n"
                );
                let answer = answer(&mut scene, bob, line);
                assert_eq!(answer.replace("\r\n*   ", " "), may_be);
            }
            assert_eq!(scene.got(other) + &scene.got(trolley), "");
            assert_eq!(scene.left(trolley), None);
            // Who comes back under the name is another one as well.
            let alice = person(&mut scene, "alice");
            assert!(answer(&mut scene, bob, "/msg ali psst").contains("may be alice or alice_"));
            assert_eq!(
                answer(&mut scene, bob, "/msg alice psst"),
                "* you tell alice: psst\r\n"
            );
            leave(&mut scene, alice);
            // Whole names count, and after ten minutes the others.
            assert_eq!(
                answer(&mut scene, bob, "/msg alice_ psst"),
                "* you tell alice_: psst\r\n"
            );
            scene.wait(599_000);
            assert!(
                answer(&mut scene, bob, "/msg ali psst").contains("may be somebody who has left")
            );
            scene.wait(1_000);
            assert_eq!(
                answer(&mut scene, bob, "/msg ali psst"),
                "* you tell alice_: psst\r\n"
            );
            assert_eq!(
                answer(&mut scene, bob, "/msg tro psst"),
                "* you tell trolley: psst\r\n"
            );
        });
    }
}

/// How often the server tells that somebody has another name.
fn told(got: &str) -> usize {
    got.matches(" changes nick to ").count()
}

#[test]
fn renames_in_one_read_are_one_notice_before_what_is_said_next() {
    on_both(|is_veiled| {
        let mut scene = scene(is_veiled);
        let ann = person(&mut scene, "ann");
        let bob = person(&mut scene, "bob");
        for (lines, expected) in [
            ("/nick rob", "* bob changes nick to rob\r\n"),
            ("/nick a\n/nick b\n/nick c", "* rob changes nick to c\r\n"),
            ("/nick a\n/nick c", ""),
            (
                "/nick bob\nhello\n/nick c",
                "* c changes nick to bob\r\nbob: hello\r\n",
            ),
        ] {
            scene.wait(60_000);
            scene.got(ann);
            scene.say(bob, lines.as_bytes());
            assert_eq!(scene.got(ann), expected, "{lines}");
        }
        scene.wait(999);
        assert_eq!(scene.got(ann), "");
        scene.wait(1);
        assert_eq!(scene.got(ann), "* bob changes nick to c\r\n");
        // Gathered for two seconds then, and told of before it leaves.
        scene.say(bob, b"/nick d");
        scene.wait(1999);
        assert_eq!(scene.got(ann), "");
        leave(&mut scene, bob);
        assert_eq!(scene.got(ann), "* c changes nick to d\r\n* d left\r\n");
    });
}

/// A loop of two names was a notice each to everybody.
#[test]
fn a_loop_of_renames_is_told_of_now_and_then() {
    for said in ["", "x\n"] {
        let mut scene = scene(false);
        let ann = person(&mut scene, "ann");
        let eve = person(&mut scene, "eve");
        let mut got = String::new();
        for n in 0..60_000 / 50 {
            let lines = format!("/nick a\n{said}/nick b\n{said}/nick c{}\n", n % 7);
            scene.send(eve, lines.repeat(10).as_bytes());
            scene.wait(50);
            got += &scene.got(ann);
        }
        // At once, after 1, 2, 4 and 8 s more, and then every 10 s.
        assert!((8..=12).contains(&told(&got)), "{}", told(&got));
        scene.wait(10_000);
        got += &scene.got(ann);
        // The others know the last name that it has got.
        let own = scene.got(eve);
        let (_, name) = own.rsplit_once("* you are now ").expect("it has got some");
        let name = name.split("\r\n").next().expect("a name");
        let told = got.rsplit_once(" changes nick to ").expect("it is told").1;
        assert_eq!(told.split("\r\n").next(), Some(name), "{said:?}");
        // Each name that is told is the one that was told before.
        let notices = got
            .lines()
            .filter(|line| line.contains(" changes nick to "));
        let mut known_as = "eve".to_owned();
        for notice in notices {
            let words: Vec<&str> = notice.split(' ').collect();
            assert_eq!(words[1], known_as, "{notice}");
            known_as = words[words.len() - 1].to_owned();
        }
    }
}

/// Each connection has a first rename that is told at once, so connections are limited together.
#[test]
fn renames_on_many_connections_are_counted() {
    let mut scene = scene(false);
    let ann = person(&mut scene, "ann");
    scene.wait(2_000);
    scene.got(ann);
    for n in 0..80 {
        let guest = person(&mut scene, &format!("guest{n}"));
        scene.say(guest, b"/nick a");
        scene.say(guest, b"/nick b");
        leave(&mut scene, guest);
    }
    let got = scene.got(ann);
    assert_eq!(got.lines().count(), 50, "{got}");
    assert_eq!(told(&got), 12 + 13);
    scene.wait(1_000);
    let got = scene.got(ann);
    assert_eq!(got, "* 67 people joined, 68 left, 67 changed nick\r\n");
    // A script has no commands: what it types is said.
    let script = scene.join_reading("script");
    scene.got(ann);
    scene.say(script, b"/nick other");
    assert_eq!(scene.got(ann), "script: /nick other\r\n");
}
