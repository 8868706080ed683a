//! The way between a server and the engine fails, or carries what nobody expects.

use std::thread;
use std::time::Duration;

use line_chat::Config;

use crate::nats::{Cluster, Nats, RawClient};
use crate::node::Node;
use crate::proxy::Proxy;
use crate::support::port::ReservedPort;
use crate::talker::Talker;
use crate::{await_until, needs_nats, scaled, times};

/// It waits for the engine as long as it takes, and declares nobody gone.
fn patient(config: &mut Config) {
    if let Some(relay) = &mut config.relay {
        relay.times.hold_one = scaled(Duration::from_secs(60));
        relay.times.gone = scaled(Duration::from_secs(60));
    }
}

/// It declares nobody gone.
fn trusting(config: &mut Config) {
    if let Some(relay) = &mut config.relay {
        relay.times.gone = scaled(Duration::from_secs(60));
    }
}

/// A person on each server, who know of each other.
fn people<const N: usize>(nodes: [&Node; N], names: [&str; N]) -> [Talker; N] {
    nodes.iter().for_each(|node| node.await_state("Up", 1));
    let mut n = 0;
    let mut people = nodes.map(|node| {
        n += 1;
        let person = node.join(names[n - 1]);
        nodes
            .iter()
            .for_each(|other| other.await_members(&names[..n]));
        person
    });
    people.iter_mut().for_each(|person| {
        person.sync();
    });
    people
}

#[test]
fn case_6_the_others_go_on_while_one_is_cut_off() {
    needs_nats!();
    let nats = Nats::shared();
    let way = Proxy::to(nats.addr());
    let a = Node::start_with(&nats.url(), "one_cut", trusting);
    let b = Node::start_with(&nats.url(), "one_cut", trusting);
    let c = Node::start_with(&way.url(), "one_cut", trusting);
    let [mut alice, mut bob, mut carol] = people([&a, &b, &c], ["alice", "bob", "carol"]);
    way.cut();
    carol.expect(&["* cut off from the other servers: nobody hears you for now"]);
    for n in 0..17 {
        alice.say(&format!("{n}"));
        bob.expect(&[&format!("alice: {n}")]);
        bob.say(&format!("{n}"));
        alice.expect(&[&format!("bob: {n}")]);
    }
    carol.say("one");
    carol.say("two");
    carol.sync();
    way.heal();
    for n in 0..17 {
        carol.expect(&[&format!("alice: {n}"), &format!("bob: {n}")]);
    }
    carol.expect(&[
        "* back: the 34 lines above were said elsewhere",
        "* the others did not hear 2 lines said here",
    ]);
    carol.say("three");
    alice.expect(&["carol: three"]);
    bob.expect(&["carol: three"]);
    for node in [&a, &b, &c] {
        node.await_members(&["alice", "bob", "carol"]);
    }
}

#[test]
fn case_8_the_smaller_side_of_a_partition_is_cut_off_and_comes_back() {
    needs_nats!();
    // What leads to the third server of the engine, and from there to the others.
    let ways = std::sync::Mutex::new(Vec::new());
    let cluster = Cluster::start(|to, from, addr| {
        if to != 2 && from != 2 {
            return addr;
        }
        let way = Proxy::to(addr);
        let addr = way.addr();
        ways.lock().expect("no panic").push(way);
        addr
    });
    let ways = ways.into_inner().expect("no panic");
    let start = |n: usize| {
        Node::start_with(&cluster.servers[n].url(), "r", |config| {
            trusting(config);
            let relay = config.relay.as_mut().expect("a relay");
            relay.replicas = 3;
            // An election on the larger side may take this long.
            let hold = if n == 2 { 1 } else { 60 };
            relay.times.hold_more = scaled(Duration::from_secs(hold));
        })
    };
    let a = start(0);
    a.await_state("Up", 1);
    // A server of nats-server 2.9.10 that leads alone keeps what nobody else has, and says so for ever.
    let mut raw = RawClient::connect(cluster.servers[0].addr());
    await_until("another one than the third leads", || {
        let leader = cluster.leader(0, "r");
        if leader == Some(2) {
            raw.try_request("$JS.API.STREAM.LEADER.STEPDOWN.LC_r", "");
        }
        leader.is_some_and(|leader| leader != 2)
    });
    let b = start(2);
    b.await_state("Up", 1);
    let mut ann = a.join_plainly("ann");
    let [mut alice, mut bob] = {
        b.await_members(&["ann"]);
        let alice = a.join("alice");
        b.await_members(&["alice", "ann"]);
        let bob = b.join("bob");
        a.await_members(&["alice", "ann", "bob"]);
        [alice, bob]
    };
    let mut beth = b.join("beth");
    bob.until("* beth joined");
    a.await_members(&["alice", "ann", "beth", "bob"]);
    for talker in [&mut alice, &mut bob, &mut beth] {
        talker.sync();
    }
    ways.iter().for_each(Proxy::cut);
    bob.say("does anybody hear this?");
    let cut_off = "* cut off from the other servers: only the 2 people here hear each other";
    bob.expect(&[cut_off]);
    beth.expect(&[cut_off, "bob: does anybody hear this?"]);
    alice.say("one");
    ann.expect(&["alice: one"]);
    // A lone server of the engine that knows that nobody leads says how far it has got itself.
    let mut raw = RawClient::connect(cluster.servers[2].addr());
    await_until("it has no leader", || {
        let info = raw.try_request("$JS.API.STREAM.INFO.LC_r", "");
        let is_split = b.journal.entries().last().is_some_and(|it| it == "Split");
        is_split && info.is_some_and(|info| !info.contains("\"leader\""))
    });
    let changes = b.journal.entries().len();
    for n in 0..5 {
        bob.say(&format!("{n}"));
        beth.expect(&[&format!("bob: {n}")]);
        thread::sleep(times().probe);
    }
    assert_eq!(b.journal.entries().len(), changes, "it stays cut off");
    ways.iter().for_each(Proxy::heal);
    b.await_state("Up", 2);
    alice.say("two");
    ann.until("alice: two");
    bob.say("three");
    let heard = alice.until("bob: three");
    for talker in [&mut bob, &mut beth] {
        let expected = [
            "alice: one",
            "* back: the line above was said elsewhere",
            "* the others did not hear 6 lines said here",
        ];
        assert_eq!(talker.until("alice: two"), expected);
    }
    assert!(
        heard.iter().all(|line| !line.starts_with("* ")),
        "{heard:#?}"
    );
}

#[test]
fn case_12_a_line_that_is_sent_again_is_heard_once() {
    needs_nats!();
    let nats = Nats::shared();
    let way = Proxy::to(nats.addr());
    let a = Node::start_with(&way.url(), "again", patient);
    let b = Node::start_with(&nats.url(), "again", patient);
    let [mut alice, mut bob] = people([&a, &b], ["alice", "bob"]);
    let mut ann = a.join("ann");
    alice.expect(&["* ann joined"]);
    bob.expect(&["* ann joined"]);
    let mut raw = RawClient::connect(nats.addr());
    for n in 0..5 {
        let before = raw.figure("again", "last_seq");
        // It is stored, and this server does not hear of it, so that it sends it again.
        way.hold();
        alice.say(&format!("{n}"));
        bob.expect(&[&format!("alice: {n}")]);
        let line = format!(" say alice {n}\n");
        await_until("it is stored twice", || {
            let entries = before + 1..=raw.figure("again", "last_seq");
            let entries = entries.map(|it| raw.entry("again", it));
            entries.filter(|it| it.ends_with(&line)).count() > 1
        });
        way.heal();
        ann.expect(&[&format!("alice: {n}")]);
        // It is stored, and the link ends before this server hears of it.
        let connections = way.connections();
        way.break_after(1);
        alice.say(&format!("{n} again"));
        bob.expect(&[&format!("alice: {n} again")]);
        ann.expect(&[&format!("alice: {n} again")]);
        await_until("a new connection", || way.connections() > connections);
    }
    alice.say("end");
    bob.expect(&["alice: end"]);
    ann.expect(&["alice: end"]);
}

/// An INFO as servers of a cluster say it, and more than that.
fn rich_info(bytes: usize) -> String {
    let head = "INFO {\"server_id\":\"NABC\",\"version\":\"2.12.0\",\"proto\":1,\"headers\":true,\
        \"jetstream\":true,\"max_payload\":1048576,\"unknown\":{\"a\":[1,2,{\"b\":null}]},\
        \"client_id\":7,\"cluster\":\"c\",\"connect_urls\":[\"127.0.0.1:1\",\"[::1]:1\",\
        \"nats.example:4222\",\"not an address\",\"\"],\"xkey\":\"";
    let tail = "\",\"ldm\":false}";
    let filler = "x".repeat(bytes - head.len() - tail.len());
    format!("{head}{filler}{tail}")
}

#[test]
fn case_19_an_info_may_be_long_and_strange_and_frames_may_be_split_anywhere() {
    needs_nats!();
    let nats = Nats::shared();
    let way = Proxy::to(nats.addr());
    way.pass_bytewise();
    way.set_info(&rich_info(60 << 10));
    let a = Node::start_with(&way.url(), "rich_info", patient);
    let b = Node::start_with(&nats.url(), "rich_info", patient);
    let [mut alice, mut bob] = people([&a, &b], ["alice", "bob"]);
    for n in 0..20 {
        bob.say(&format!("{n}"));
        alice.expect(&[&format!("bob: {n}")]);
    }
    alice.say("yes");
    bob.expect(&["alice: yes"]);
    // A longer one is none.
    let way = Proxy::to(nats.addr());
    way.set_info(&rich_info(70 << 10));
    let c = Node::start_with(&way.url(), "rich_info", patient);
    c.await_entry("lost: the engine is no nats-server");
}

#[test]
fn case_20_what_the_engine_refuses_is_said_in_words() {
    needs_nats!();
    let users = "accounts { A { jetstream: enabled, users: [ \
        { user: ok, password: pw }, \
        { user: mute, password: pw, permissions: { publish: { deny: [\"lc.r.in\"] } } } ] } }";
    let nats = Nats::start_with(users);
    let url = |who: &str| format!("nats://{who}@{}", nats.addr());
    let a = Node::start_with(&url("ok:pw"), "r", trusting);
    a.await_state("Up", 1);
    let b = Node::start_with(&url("mute:pw"), "r", trusting);
    b.await_entry("forbids: Permissions Violation for Publish to \"lc.r.in\"");
    let c = Node::start_with(&url("ok:wrong"), "r", trusting);
    c.await_entry("lost: the engine does not let this server in: Authorization Violation");
    c.await_state("Split", 1);
    let d = Node::start_with(&nats.url(), "r", trusting);
    d.await_entry("lost: the engine does not let this server in");
    // Who may not publish is alone, and is served.
    b.await_state("Split", 1);
    let mut bob = b.join("bob");
    bob.say("nobody hears this");
    bob.sync();
    let small = Nats::start_with("max_payload: 4096");
    let e = Node::start_with(&small.url(), "r", trusting);
    e.await_entry("lost: the engine takes no more than 4096 bytes in a message");
    let without = Nats::start_bare("");
    let f = Node::start_with(&without.url(), "r", trusting);
    f.await_entry("lost: the engine has no JetStream: start nats-server with -js");
}

#[test]
fn case_23_a_server_of_the_engine_that_is_about_to_end_is_left() {
    needs_nats!();
    let nats = Nats::shared();
    let way = Proxy::to(nats.addr());
    let other = Proxy::to(nats.addr());
    let urls = format!("nats://{},{}", way.addr(), other.addr());
    let a = Node::start_with(&urls, "lame_duck", patient);
    let b = Node::start_with(&nats.url(), "lame_duck", patient);
    let [mut alice, mut bob] = people([&a, &b], ["alice", "bob"]);
    assert_eq!((way.connections(), other.connections()), (1, 0));
    way.insert(
        "INFO {\"headers\":true,\"jetstream\":true,\"max_payload\":1048576,\"ldm\":true}\r\n",
    );
    for n in 0..50 {
        bob.say(&format!("{n}"));
        alice.expect(&[&format!("bob: {n}")]);
    }
    a.await_entry("leaves");
    await_until("it goes elsewhere", || other.connections() == 1);
    alice.say("yes");
    bob.expect(&["alice: yes"]);
}

#[test]
fn servers_meet_through_leaf_nodes() {
    needs_nats!();
    let port = ReservedPort::new();
    let _hub = Nats::start_hub(port.number());
    let leaf = || {
        Nats::start_bare(&format!(
            "leafnodes {{ remotes: [ {{ url: \"nats://chat:pw@127.0.0.1:{}\" }} ] }}\n\
             mappings: {{ \"$JS.API.>\": \"$JS.hub.API.>\" }}",
            port.number()
        ))
    };
    let leaves = [leaf(), leaf()];
    let [a, b] = leaves
        .each_ref()
        .map(|leaf| Node::start_with(&leaf.url(), "leaf", patient));
    let [mut alice, mut bob] = people([&a, &b], ["alice", "bob"]);
    for n in 0..20 {
        alice.say(&format!("{n}"));
        bob.expect(&[&format!("alice: {n}")]);
    }
    bob.say("yes");
    alice.expect(&["bob: yes"]);
    // What was said before is fetched.
    let c = Node::start_with(&leaves[0].url(), "leaf", patient);
    c.await_members(&["alice", "bob"]);
    let mut carol = c.join("carol");
    carol.say("/last 1");
    carol.until_any(|line| line.ends_with(", bob: yes"));
}

#[test]
fn an_address_where_nobody_is_does_no_harm() {
    needs_nats!();
    let nats = Nats::shared();
    let nobody = ReservedPort::new();
    let urls = format!("nats://127.0.0.1:{},{}", nobody.number(), nats.addr());
    let a = Node::start_with(&urls, "nobody_there", patient);
    let b = Node::start_with(&nats.url(), "nobody_there", patient);
    let [mut alice, mut bob] = people([&a, &b], ["alice", "bob"]);
    alice.say("yes");
    bob.expect(&["alice: yes"]);
}
