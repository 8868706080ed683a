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
            let refused = "* alice has left; if you mean alice_, type more of that name\r\n";
            assert_eq!(answer(&mut scene, bob, "/msg alice psst"), refused);
            for (line, nick) in [
                ("/msg ali psst", "alice_"),
                ("/kick tro out", "trolley"),
                ("/mute trol", "trolley"),
                ("/ignore tr", "trolley"),
            ] {
                let typed = line.split(' ').nth(1).unwrap_or_default();
                let may_be = format!(
                    "* \"{typed}\" may also be somebody who has left; if you mean {nick}, type the whole name\r\n"
                );
                assert_eq!(answer(&mut scene, bob, line), may_be);
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
            assert!(answer(&mut scene, bob, "/msg ali psst").contains("may also be"));
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
