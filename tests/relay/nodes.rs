//! Servers start together, stand still, die, fall behind, and want the same nick.

use std::thread;
use std::time::{Duration, Instant};

use line_chat::Config;

use crate::nats::{Nats, RawClient};
use crate::node::{ChildNode, Node};
use crate::proxy::Proxy;
use crate::talker::Talker;
use crate::{await_until, needs_nats, scaled, times};

/// It waits for the engine as long as it takes, and declares nobody gone.
fn patient(config: &mut Config) {
    if let Some(relay) = &mut config.relay {
        relay.times.hold_one = scaled(Duration::from_secs(60));
        relay.times.gone = scaled(Duration::from_secs(60));
    }
}

/// Whether this is the answer to who wants a nick that somebody has.
fn is_taken(line: &str) -> bool {
    line.starts_with("* nick \"") && line.contains("\" is taken")
}

/// Asks for a nick. Returns whether it gets it.
#[track_caller]
fn is_let_in(talker: &mut Talker, nick: &str) -> bool {
    talker.say(nick);
    let welcome = format!("* welcome, {nick}.");
    let is_answer = |line: &str| line.starts_with(&welcome) || is_taken(line);
    let answer = talker.until_any(is_answer);
    answer.last().is_some_and(|line| line.starts_with(&welcome))
}

#[test]
fn case_13_one_of_two_gets_the_nick_that_both_want() {
    needs_nats!();
    let nats = Nats::shared();
    let [a, b] = [(); 2].map(|()| Node::start(&nats.url(), "one_nick"));
    for n in 0..20 {
        let nick = format!("bob{n}");
        let mut clients = [a.connect(), b.connect()];
        clients.iter_mut().for_each(|client| {
            client.until("* what is your nick?");
        });
        clients.iter_mut().for_each(|client| client.say(&nick));
        let is_answer = |line: &str| line.starts_with("* welcome") || is_taken(line);
        let answers = clients.iter_mut().map(|client| client.until_any(is_answer));
        let welcomes =
            answers.filter(|it| it.last().is_some_and(|line| line.starts_with("* welcome")));
        assert_eq!(welcomes.count(), 1, "{nick}");
        for node in [&a, &b] {
            node.await_members(&[&nick]);
        }
        drop(clients);
        for node in [&a, &b] {
            node.await_members(&[]);
        }
    }
}

#[test]
fn case_14_the_nick_of_a_dead_server_is_free_when_that_is_gone_and_not_before() {
    needs_nats!();
    let nats = Nats::shared();
    let a = Node::start(&nats.url(), "dead_nick");
    let b = ChildNode::start(&nats.url(), "dead_nick");
    let mut alice = a.join("alice");
    let bob = b.join("bob");
    alice.expect(&["* bob joined"]);
    let killed = Instant::now();
    b.kill();
    let mut other = a.connect();
    other.until("* what is your nick?");
    let mut has_waited = false;
    while !is_let_in(&mut other, "bob") {
        has_waited = true;
        thread::sleep(scaled(Duration::from_millis(50)));
        // A client has few tries.
        other = a.connect();
    }
    // The last beat may be as old as they are apart when it is killed.
    let soonest = times().gone - scaled(Duration::from_millis(600));
    assert!(has_waited && killed.elapsed() > soonest);
    alice.expect(&["* 1 person on another server is gone", "* bob joined"]);
    drop(bob);
}

#[test]
fn a_nick_that_is_refused_for_another_reason_is_free_and_the_one_before_is_kept() {
    needs_nats!();
    let nats = Nats::shared();
    let [a, b] = [(); 2].map(|()| Node::start(&nats.url(), "often"));
    let mut alice = a.join("alice");
    let mut has = "alice".to_owned();
    let wanted = loop {
        let wanted = format!("{has}x");
        alice.say(&format!("/nick {wanted}"));
        let answer = alice.until_any(|line| line.starts_with("* you "));
        if answer.iter().any(|line| line.contains("too often")) {
            break wanted;
        }
        has = wanted;
    };
    b.await_members(&[&has]);
    let mut other = b.connect();
    assert!(!is_let_in(&mut other, &has), "{has} is alice's");
    let mut other = b.connect();
    assert!(is_let_in(&mut other, &wanted), "{wanted} is nobody's");
}

#[test]
fn case_15_of_one_nick_on_both_sides_of_a_split_one_is_renamed() {
    needs_nats!();
    let nats = Nats::shared();
    let way = Proxy::to(nats.addr());
    let a = Node::start(&nats.url(), "two_nicks");
    let b = Node::start(&way.url(), "two_nicks");
    let mut alice = a.join("alice");
    b.await_members(&["alice"]);
    let mut ann = b.join("ann");
    alice.expect(&["* ann joined"]);
    way.cut();
    ann.until("* cut off from the other servers: nobody hears you for now");
    let mut here = a.join("bob");
    let mut there = b.join("bob");
    way.heal();
    there.until("* somebody on another server was bob before you, so you are now bob~2");
    for node in [&a, &b] {
        node.await_members(&["alice", "ann", "bob", "bob~2"]);
    }
    here.say("it is me");
    there.until("bob: it is me");
    there.say("and me");
    here.until("bob~2: and me");
}

#[test]
fn case_16_a_server_that_stood_still_is_gone_and_comes_back() {
    needs_nats!();
    let nats = Nats::shared();
    let a = Node::start(&nats.url(), "still");
    let b = ChildNode::start(&nats.url(), "still");
    let mut alice = a.join("alice");
    let mut bob = b.join("bob");
    alice.expect(&["* bob joined"]);
    bob.say("before");
    alice.expect(&["bob: before"]);
    b.halt();
    alice.expect(&["* 1 person on another server is gone"]);
    a.await_members(&["alice"]);
    alice.say("while");
    bob.say("meanwhile");
    b.go_on();
    a.await_members(&["alice", "bob"]);
    alice.say("after");
    let heard = bob.until("alice: after");
    assert!(heard.contains(&"alice: while".to_owned()), "{heard:#?}");
    bob.say("yes");
    let heard = alice.until("bob: yes");
    let meanwhile = heard
        .iter()
        .filter(|line| *line == "bob: meanwhile")
        .count();
    assert!(meanwhile <= 1, "{heard:#?}");
}

#[test]
fn case_17_a_server_that_is_behind_by_more_than_the_log_counts_what_it_lost() {
    needs_nats!();
    let nats = Nats::shared();
    let way = Proxy::to(nats.addr());
    let a = Node::start_with(&nats.url(), "behind", patient);
    let b = Node::start_with(&way.url(), "behind", patient);
    a.await_state("Up", 1);
    b.await_state("Up", 1);
    let mut alice = a.join("alice");
    b.await_members(&["alice"]);
    let mut bob = b.join("bob");
    alice.expect(&["* bob joined"]);
    let mut ann = a.join_plainly("ann");
    bob.until("* ann joined");
    way.cut();
    for n in 0..300 {
        alice.say(&format!("{n}"));
        ann.expect(&[&format!("alice: {n}")]);
    }
    let mut raw = RawClient::connect(nats.addr());
    raw.request("$JS.API.STREAM.PURGE.LC_behind", "{\"keep\":100}");
    way.heal();
    alice.say("end");
    let heard = bob.until("alice: end");
    let lines: Vec<&String> = heard
        .iter()
        .filter(|it| it.starts_with("alice: "))
        .collect();
    let lost = 300 - lines.len();
    assert!((200..300).contains(&lost), "{heard:#?}");
    let notice = format!("* {lost} lines from other servers were lost");
    assert!(heard.contains(&notice), "{heard:#?}");
    let last: Vec<String> = (lost..300).map(|n| format!("alice: {n}")).collect();
    assert_eq!(lines, last.iter().collect::<Vec<_>>());
}

#[test]
fn case_21_a_server_whose_clock_has_jumped_declares_nobody_gone() {
    needs_nats!();
    let nats = Nats::shared();
    let a = Node::start(&nats.url(), "clock");
    let b = Node::start(&nats.url(), "clock");
    let c = ChildNode::start(&nats.url(), "clock");
    let mut alice = a.join("alice");
    b.await_members(&["alice"]);
    let mut bob = b.join("bob");
    alice.expect(&["* bob joined"]);
    let carol = c.join("carol");
    alice.expect(&["* carol joined"]);
    bob.sync();
    for _ in 0..2 {
        c.halt();
        thread::sleep(2 * times().gone);
        c.go_on();
        thread::sleep(times().gone / 3);
    }
    alice.say("do you hear me?");
    let heard = bob.until("alice: do you hear me?");
    let is_gone = "* 1 person on another server is gone";
    assert!(
        heard.iter().filter(|line| *line == is_gone).count() <= 2,
        "{heard:#?}"
    );
    bob.say("yes");
    alice.until("bob: yes");
    // It was the server of carol that was declared gone, and nobody else's.
    let states = |node: &Node| {
        node.journal
            .entries()
            .iter()
            .filter(|it| *it == "Up")
            .count()
    };
    assert_eq!((states(&a), states(&b)), (1, 1), "nobody else came back");
    drop(carol);
}

#[test]
fn case_22_twenty_servers_start_together() {
    needs_nats!();
    let nats = Nats::shared();
    let nodes: Vec<Node> = (0..20)
        .map(|_| Node::start_with(&nats.url(), "twenty", patient))
        .collect();
    let mut people: Vec<Talker> = Vec::new();
    let names: Vec<String> = (10..30).map(|n| format!("p{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (node, name) in nodes.iter().zip(&names) {
        people.push(node.join(name));
    }
    await_until("all know all", || {
        nodes.iter().all(|node| node.members() == names)
    });
    for (n, name) in names.iter().enumerate() {
        people[n].say("hello");
        let line = format!("{name}: hello");
        for (_, other) in people
            .iter_mut()
            .enumerate()
            .filter(|(other, _)| *other != n)
        {
            let before = other.until(&line);
            assert!(
                before.iter().all(|it| it.ends_with(" joined")),
                "{before:#?}"
            );
        }
    }
}
