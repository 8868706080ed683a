//! How clients come beside accept(2), and the session that is no chat: each a scene.

use std::time::Duration;

use line_chat::{CloseReason, Config, Profile, Service};

use crate::scene::{INTERACTIVE, PLAIN, Scene, on_both};
use crate::socket::Dialed;

fn for_people() -> Config {
    let mut config = Config::default();
    config.interactive.enabled = true;
    config
}

#[test]
fn health_is_answered_beside_a_room_that_never_sees_it() {
    on_both(|is_veiled| {
        let mut scene = Scene::new(for_people(), is_veiled);
        let (ann, bob) = (scene.join_reading("ann"), scene.join_reading("bob"));
        let probe = scene.connect(Service::Http, 1 << 20);
        scene.send(probe, b"GET /heal");
        scene.say(ann, b"hello");
        scene.send(probe, b"thz HTTP/1.1\r\nHost: x\r\n\r\n");
        scene.settle();
        let response = scene.got(probe);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.ends_with("\r\n\r\nok\n"), "{response}");
        assert!(scene.peer(probe).shut);
        assert_eq!(scene.left(probe), Some(CloseReason::Answered));
        assert_eq!(scene.got(bob), "ann: hello\r\n");
        assert_eq!(scene.engine.metrics().members, 2);
        scene.peer(probe).hang_up();
        scene.settle();
        assert_eq!(scene.engine.clients(), 2);
    });
}

#[test]
fn a_slow_probe_reads_its_answer_in_pieces_and_a_silent_one_is_closed() {
    on_both(|is_veiled| {
        let mut scene = Scene::new(for_people(), is_veiled);
        let slow = scene.connect(Service::Http, 24);
        let silent = scene.connect(Service::Http, 1 << 20);
        scene.send(slow, b"GET /other HTTP/1.0\r\n\r\n");
        scene.settle();
        for _ in 0..100 {
            scene.peer(slow).peer_reads(8);
            scene.settle();
        }
        let response = scene.got(slow);
        assert!(
            response.starts_with("HTTP/1.1 404 Not Found\r\n"),
            "{response}"
        );
        assert!(
            response.ends_with("there are /, /healthz, /readyz and /metrics\n"),
            "{response}"
        );
        scene.wait(4999);
        assert_eq!(scene.left(silent), None);
        scene.wait(1);
        assert_eq!(scene.left(silent), Some(CloseReason::RequestTimeout));
        assert_eq!(scene.got(silent), "", "words are no answer by HTTP");
    });
}

/// 16 connections with half a request each made a server look dead to its supervisor.
#[test]
fn whoever_holds_all_connections_of_http_hides_nothing() {
    // The first one never asks, or does not read its answer.
    for (request, reason) in [
        (&b"GET /"[..], CloseReason::MadeRoom),
        (b"GET / HTTP/1.0\r\n\r\n", CloseReason::Answered),
    ] {
        on_both(|is_veiled| {
            let mut config = for_people();
            config.limits.max_http_connections = 3;
            let mut scene = Scene::new(config, is_veiled);
            let first = scene.connect(Service::Http, 24);
            scene.send(first, request);
            scene.wait(1);
            let others = [(); 2].map(|()| scene.connect(Service::Http, 1 << 20));
            others.iter().for_each(|&it| scene.send(it, b"GET /"));
            scene.wait(999);
            let probe = scene.connect(Service::Http, 1 << 20);
            scene.send(probe, b"GET /healthz HTTP/1.0\r\n\r\n");
            scene.settle();
            assert!(scene.got(probe).starts_with("HTTP/1.1 200 OK\r\n"));
            assert_eq!(scene.left(first), Some(reason));
            let got = scene.got(first);
            assert!(!got.contains("* "), "that is not HTTP: {got}");
            assert_eq!(others.map(|it| scene.left(it)), [None, None]);
            // Nobody has been there for a second now.
            scene.connect(Service::Http, 1 << 20);
            let refused = scene.engine.metrics().closed_for(CloseReason::ServerFull);
            assert_eq!(refused, 1);
        });
    }
}

#[test]
fn a_shutdown_answers_who_asks_and_waits_for_nobody_who_may() {
    on_both(|is_veiled| {
        let mut scene = Scene::new(for_people(), is_veiled);
        let stuck = scene.connect(Service::Http, 24);
        let [silent, probe] = [(); 2].map(|()| scene.connect(Service::Http, 1 << 20));
        let ann = scene.join_reading("ann");
        scene.send(stuck, b"GET /other HTTP/1.0\r\n\r\n");
        scene.settle();
        let now = scene.now;
        scene.engine.shut_down(now);
        scene.send(probe, b"GET /readyz HTTP/1.0\r\n\r\n");
        scene.settle();
        assert_eq!(scene.got(ann), "* server is shutting down\r\n");
        assert_eq!(scene.left(silent), None);
        let response = scene.got(probe);
        let why = "\r\n\r\nending: the server shuts down\n";
        assert!(response.ends_with(why), "{response}");
        for peer in [ann, probe] {
            scene.peer(peer).hang_up();
        }
        scene.settle();
        assert!(!scene.engine.is_over(scene.now), "an answer is not read");
        for _ in 0..100 {
            scene.peer(stuck).peer_reads(8);
            scene.settle();
        }
        scene.peer(stuck).hang_up();
        scene.settle();
        assert!(scene.engine.is_over(scene.now), "one is silent");
    });
}

#[test]
fn a_dialed_peer_is_served_when_it_is_connected_and_not_before() {
    let mut scene = Scene::new(for_people(), false);
    let other = scene.join_reading("other");
    let peer = scene.dial(INTERACTIVE);
    scene.settle();
    assert_eq!((scene.engine.clients(), scene.got(peer).as_str()), (2, ""));
    scene.say(other, b"nobody hears this");
    scene.answer(peer, Dialed::Established);
    let got = scene.got(peer);
    assert!(got.ends_with("* what is your nick?\r\n"), "{got}");
    scene.say(peer, b"ann");
    scene.say(peer, b"hello");
    assert_eq!(scene.got(other), "ann: hello\r\n");
}

#[test]
fn a_dialed_peer_that_refuses_or_never_answers_leaves_once() {
    for is_refused in [true, false] {
        let mut config = for_people();
        config.limits.login_timeout = Some(Duration::from_secs(30));
        let mut scene = Scene::new(config, false);
        let peer = scene.dial(PLAIN);
        scene.settle();
        assert_eq!(scene.engine.clients(), 1);
        if is_refused {
            scene.answer(peer, Dialed::Refused);
        } else {
            scene.wait(30_000);
            // Its end cannot be written either.
            scene.wait(5000);
        }
        assert_eq!(scene.left(peer), Some(CloseReason::Unreachable));
        assert_eq!((scene.engine.clients(), scene.freed), (0, 1));
        let metrics = scene.engine.metrics();
        assert_eq!(metrics.pending_bytes + metrics.buffer_bytes, 0, "{metrics}");
    }
}

#[test]
fn a_peer_that_cannot_even_be_dialed_is_an_event_and_no_client() {
    let mut scene = Scene::new(for_people(), false);
    scene.engine.dial(([192, 0, 2, 9], 9).into(), PLAIN);
    scene.settle();
    assert_eq!((scene.dial_failed, scene.engine.clients()), (1, 0));
}

#[test]
fn an_adopted_member_is_in_the_room_without_a_word_to_anybody() {
    on_both(|is_veiled| {
        let mut scene = Scene::new(for_people(), is_veiled);
        let ann = scene.connect(INTERACTIVE, 1 << 20);
        scene.say(ann, b"ann");
        scene.got(ann);
        let bob = scene.adopt(INTERACTIVE, "bob").expect("a free nick");
        if is_veiled {
            scene.send(bob, crate::veil::HELLO);
        }
        scene.settle();
        assert_eq!(
            (scene.got(ann), scene.got(bob)),
            (String::new(), String::new())
        );
        scene.say(ann, b"hello");
        scene.say(bob, b"/me waves");
        assert_eq!(scene.got(bob), "ann: hello\r\n");
        assert_eq!(scene.got(ann), "** bob waves\r\n");
        assert!(scene.adopt(PLAIN, "ANN").is_err(), "the nick is taken");
        assert!(
            scene.adopt(Service::Http, "carl").is_err(),
            "it has no nick"
        );
        assert_eq!(scene.engine.members().collect::<Vec<_>>(), ["ann", "bob"]);
        let history = scene.adopt(Service::Chat(Profile::History), "carl");
        let carl = history.expect("a free nick");
        scene.peer(carl).hang_up();
        scene.settle();
        assert_eq!(scene.got(ann), "* carl left\r\n");
    });
}
