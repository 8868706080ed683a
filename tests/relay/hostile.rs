//! Somebody who may publish on the engine publishes what no server would.

use crate::nats::{Nats, RawClient};
use crate::needs_nats;
use crate::node::Node;

#[test]
fn case_18_hostile_payloads_are_dropped_and_nobody_is_forged() {
    needs_nats!();
    let nats = Nats::shared();
    let room = "hostile";
    let [a, b] = [(); 2].map(|()| Node::start(&nats.url(), room));
    let mut alice = a.join("alice");
    b.await_members(&["alice"]);
    let mut bob = b.join("bob");
    alice.expect(&["* bob joined"]);
    alice.say("before");
    bob.until("alice: before");
    let mut raw = RawClient::connect(nats.addr());
    let last = raw.figure(room, "last_seq");
    let entries: Vec<String> = (1..=last).map(|it| raw.entry(room, it)).collect();
    let of_alice = entries
        .iter()
        .find(|it| it.ends_with(" say alice before\n"));
    let of_alice = of_alice.expect("her line").clone();
    let eve = "00000000000000ee";
    let node = of_alice.split(' ').nth(1).expect("a node").to_owned();
    let say = |line: &str| format!("1 {eve} 0 0 1\n1 say {line}\n");
    let dropped = [
        String::new(),
        "\n".to_owned(),
        "hello".to_owned(),
        // Her own entry again, and another text under its number.
        of_alice.clone(),
        of_alice.replace("before", "forged"),
        format!("1 {node} 0 0 1\n1 say alice forged\n"),
        // What could leave its line, or the screen.
        say("eve \x1b[2Jgone"),
        say("eve one\r\n* bob left"),
        say("eve one\n2 say eve two"),
        say("eve \u{9b}31m"),
        say("eve a\tb"),
        say("* eve joined"),
        say("*eve eve"),
        say(""),
        say(&format!("eve {}", "x".repeat(20_000))),
        // A format that is none of ours.
        format!("2 {eve} 0 0 1\n1 say eve two\n"),
        format!("1 {eve} 00 0 1\n1 say eve two\n"),
        format!("1 {eve} 0 0 2\n1 say eve two\n"),
        format!("1 {eve} 0 0 99\n1 say eve two\n"),
        format!("1 {eve} 0 0 1\n1 shout eve two\n"),
        format!("1 {eve} 18446744073709551615 18446744073709551615 0\n1 beat \n"),
        format!("1 {eve} 0 0 1\n1 kick alice\n"),
        format!("1 {eve} 0 0 1\n1 gone {eve}\n"),
    ];
    for payload in &dropped {
        raw.say(room, payload);
    }
    let subjects = ["in", "out", &format!("to.{node}")].map(|it| format!("lc.{room}.{it}"));
    for subject in &subjects {
        raw.publish(subject, b"1 \xff\xfe 0 0 1\n1 say eve \xc3\n");
        raw.publish(subject, &[0; 30_000]);
    }
    // This one is not stored, so nobody comes upon it again.
    raw.publish(&subjects[0], &vec![b'x'; 1 << 20]);
    raw.publish(&format!("lc.{room}.to.{node}"), say("eve hello").as_bytes());
    raw.publish(
        &format!("lc.{room}.to.{node}"),
        format!("1 {eve} 0 0 1\n1 word 1 1 * you are banned\n").as_bytes(),
    );
    raw.fence();
    alice.say("after");
    let heard = bob.until("alice: after");
    assert_eq!(heard, [""; 0]);
    bob.say("yes");
    assert_eq!(alice.until("bob: yes"), [""; 0]);
    for node in [&a, &b] {
        node.await_members(&["alice", "bob"]);
        let entries = node.journal.entries();
        assert_eq!(entries, ["open", "Up"]);
    }
    // What does not come from the log may be of any length: the link is given up, and made again.
    raw.publish(&subjects[1], &vec![b'x'; 1 << 20]);
    for talker in [&mut alice, &mut bob] {
        talker.expect(&[
            "* cut off from the other servers: nobody hears you for now",
            "* back: nothing was said elsewhere",
        ]);
    }
    for node in [&a, &b] {
        node.await_state("Up", 2);
        node.await_members(&["alice", "bob"]);
    }
    alice.say("again");
    bob.expect(&["alice: again"]);
}
