//! The engine is not there, ends, stands still, or loses what it has stored.

use std::thread;
use std::time::Duration;

use line_chat::{Config, RelayTimes};

use crate::nats::{Cluster, Nats, RawClient};
use crate::node::Node;
use crate::proxy::Proxy;
use crate::talker::Talker;
use crate::{needs_nats, scaled};

const CUT_OFF: &str = "* cut off from the other servers: nobody hears you for now";
const BACK: &str = "* back: nothing was said elsewhere";

/// It waits for the engine as long as it takes.
fn patient(config: &mut Config) {
    times(config, |times| {
        times.hold_one = scaled(Duration::from_secs(60));
        times.hold_more = scaled(Duration::from_secs(60));
    });
}

/// No server is declared gone in the time of a test.
fn trusting(config: &mut Config) {
    times(config, |times| times.gone = scaled(Duration::from_secs(60)));
}

fn times(config: &mut Config, change: impl FnOnce(&mut RelayTimes)) {
    if let Some(relay) = &mut config.relay {
        change(&mut relay.times);
    }
}

/// A person on each of two servers, who know of each other.
fn alice_and_bob(a: &Node, b: &Node) -> (Talker, Talker) {
    // An engine that was just started may take longer than they wait for it.
    a.await_state("Up", 1);
    b.await_state("Up", 1);
    let mut alice = a.join("alice");
    b.await_members(&["alice"]);
    let mut bob = b.join("bob");
    alice.expect(&["* bob joined"]);
    bob.sync();
    (alice, bob)
}

/// What one says, the other hears.
#[track_caller]
fn talk(alice: &mut Talker, bob: &mut Talker) {
    alice.say("do you hear me?");
    bob.expect(&["alice: do you hear me?"]);
    bob.say("yes");
    alice.expect(&["bob: yes"]);
}

/// Says lines until it is told to stop, then the last one, `end`. Returns how many there are without that.
fn speak(mut talker: Talker, seconds: u16) -> thread::JoinHandle<(Talker, usize)> {
    thread::spawn(move || {
        let lines = usize::from(seconds) * 200;
        for line in 0..lines {
            talker.say(&format!("{line}"));
            thread::sleep(Duration::from_millis(5));
        }
        talker.say("end");
        (talker, lines)
    })
}

/// Somebody hears these lines of a name, each once, in order, and nothing else.
#[track_caller]
fn expect_all(talker: &mut Talker, name: &str, lines: usize) {
    let heard = talker.until(&format!("{name}: end"));
    let said: Vec<String> = (0..lines).map(|line| format!("{name}: {line}")).collect();
    assert!(
        heard == said,
        "{} lines instead of {lines}: {heard:#?}",
        heard.len()
    );
}

#[test]
fn case_1_the_engine_is_absent_at_the_start() {
    needs_nats!();
    let mut nats = Nats::stopped();
    let url = nats.url();
    let [a, b] = [(); 2].map(|()| Node::start_with(&url, "r", |_| {}));
    a.await_state("Split", 1);
    b.await_state("Split", 1);
    let mut alice = a.join("alice");
    let mut bob = b.join("bob");
    alice.say("nobody hears this");
    assert_eq!(alice.sync(), [""; 0]);
    nats.run();
    a.await_state("Up", 1);
    b.await_state("Up", 1);
    alice.until(BACK);
    alice.until("* the others did not hear 1 line said here");
    bob.until(BACK);
    a.await_members(&["alice", "bob"]);
    b.await_members(&["alice", "bob"]);
    alice.sync();
    bob.sync();
    talk(&mut alice, &mut bob);
}

#[test]
fn case_2_half_a_message_is_thrown_away() {
    needs_nats!();
    let nats = Nats::shared();
    let way = Proxy::to(nats.addr());
    let a = Node::start_with(&nats.url(), "half", trusting);
    let b = Node::start_with(&way.url(), "half", |config| {
        patient(config);
        trusting(config);
    });
    let (mut alice, mut bob) = alice_and_bob(&a, &b);
    for (n, bytes) in [1, 30, 100, 150, 200, 217, 230, 250]
        .into_iter()
        .enumerate()
    {
        let connections = way.connections();
        way.break_after(bytes);
        let mut said = Vec::new();
        // Some of it comes before the link breaks, and some of it is fetched.
        while way.connections() == connections {
            let line = format!("{n} {}", said.len());
            alice.say(&line);
            said.push(format!("alice: {line}"));
            thread::sleep(Duration::from_millis(3));
        }
        alice.say("end");
        assert_eq!(bob.until("alice: end"), said, "broken after {bytes} bytes");
    }
}

#[test]
fn case_3_a_restart_within_the_grace_is_not_noticed() {
    needs_nats!();
    let mut nats = Nats::start();
    let url = nats.url();
    let [a, b] = [(); 2].map(|()| {
        Node::start_with(&url, "r", |config| {
            patient(config);
            trusting(config);
        })
    });
    let (alice, bob) = alice_and_bob(&a, &b);
    let mut lea = a.join_plainly("lea");
    let mut mia = b.join_plainly("mia");
    b.await_members(&["alice", "bob", "lea", "mia"]);
    let (alice, bob) = (speak(alice, 2), speak(bob, 2));
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(400));
        nats.kill();
        nats.run();
    }
    let (mut alice, lines) = alice.join().expect("it has said all");
    let (mut bob, _) = bob.join().expect("it has said all");
    let is_line = |line: &str| line.contains(": ");
    let both = |reader: &mut Talker| {
        let mut heard = Vec::new();
        while heard
            .iter()
            .filter(|it: &&String| it.ends_with("end"))
            .count()
            < 2
        {
            heard.extend(reader.until_any(is_line));
        }
        heard
    };
    let (of_lea, of_mia) = (both(&mut lea), both(&mut mia));
    assert_eq!(of_lea.len(), 2 * lines + 2, "each line once");
    assert!(of_lea == of_mia, "one order");
    for (reader, name) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        let mut heard = reader.until(&format!("{name}: end"));
        heard.retain(|line| !line.ends_with(" joined"));
        let said: Vec<String> = (0..lines).map(|line| format!("{name}: {line}")).collect();
        assert!(heard == said, "{name}: {heard:#?}");
    }
}

#[test]
fn case_4_a_longer_absence_is_told_once_and_counted() {
    needs_nats!();
    let mut nats = Nats::start();
    let url = nats.url();
    let [a, b] = [(); 2].map(|()| Node::start_with(&url, "r", trusting));
    let (mut alice, mut bob) = alice_and_bob(&a, &b);
    let mut ann = a.join("ann");
    alice.expect(&["* ann joined"]);
    bob.expect(&["* ann joined"]);
    nats.kill();
    alice.until("* cut off from the other servers: only the 2 people here hear each other");
    ann.until("* cut off from the other servers: only the 2 people here hear each other");
    bob.until(CUT_OFF);
    for n in 0..3 {
        alice.say(&format!("{n}"));
        ann.expect(&[&format!("alice: {n}")]);
    }
    bob.say("hello?");
    assert_eq!(bob.sync(), [""; 0]);
    nats.run();
    alice.expect(&[BACK, "* the others did not hear 3 lines said here"]);
    ann.expect(&[BACK, "* the others did not hear 3 lines said here"]);
    bob.expect(&[BACK, "* the others did not hear 1 line said here"]);
    for node in [&a, &b] {
        node.await_members(&["alice", "ann", "bob"]);
    }
    talk(&mut alice, &mut bob);
}

#[test]
fn case_5_an_engine_that_stands_still_loses_and_doubles_nothing() {
    needs_nats!();
    let nats = Nats::start();
    let [a, b] = [(); 2].map(|()| Node::start_with(&nats.url(), "r", trusting));
    let (mut alice, mut bob) = alice_and_bob(&a, &b);
    let mut ann = a.join("ann");
    alice.expect(&["* ann joined"]);
    bob.expect(&["* ann joined"]);
    nats.halt();
    alice.say("before");
    let cut_off = "* cut off from the other servers: only the 2 people here hear each other";
    let read = ann.until_any(|line| line == cut_off);
    assert_eq!(read.len(), 1);
    // It is noticed by what does not come back, long before the link is given up.
    let entries = a.journal.entries();
    assert!(
        !entries.iter().any(|it| it.starts_with("lost")),
        "{entries:?}"
    );
    thread::sleep(scaled(Duration::from_millis(300)));
    nats.go_on();
    // The other one may not have noticed: it had nothing to say.
    a.await_state("Up", 2);
    alice.until_any(|line| line.starts_with("* back: "));
    alice.say("after");
    let of_bob = bob.until("alice: after");
    let of_ann = ann.until("alice: after");
    let heard = |lines: &[String]| lines.iter().filter(|it| *it == "alice: before").count();
    let unheard = "* the others did not hear 1 line said here".to_owned();
    assert_eq!(heard(&of_ann), 1, "{of_ann:#?}");
    // Whether it was stored is the engine's affair; that it was not is told.
    let is_told = usize::from(of_ann.contains(&unheard));
    assert_eq!(heard(&of_bob) + is_told, 1, "{of_bob:#?} {of_ann:#?}");
    talk(&mut alice, &mut bob);
}

#[test]
fn case_7_a_leader_is_killed_and_nothing_is_lost() {
    needs_nats!();
    let mut cluster = Cluster::start(|_, _, addr| addr);
    let urls: Vec<String> = cluster.servers.iter().map(Nats::url).collect();
    let start = |url: &String| {
        Node::start_with(url, "r", |config| {
            patient(config);
            trusting(config);
            config.relay.as_mut().expect("a relay").replicas = 3;
        })
    };
    // Two of the three serve them; who leads is killed.
    let all = format!("nats://{}", urls.join(",").replace("nats://", ""));
    let [a, b] = [(); 2].map(|()| start(&all));
    a.await_state("Up", 1);
    b.await_state("Up", 1);
    let (alice, bob) = alice_and_bob(&a, &b);
    let (alice, bob) = (speak(alice, 1), speak(bob, 1));
    thread::sleep(Duration::from_millis(300));
    let leader = (0..3)
        .find_map(|by| cluster.leader(by, "r"))
        .expect("a leader");
    cluster.servers[leader].kill();
    let (mut alice, lines) = alice.join().expect("it has said all");
    let (mut bob, _) = bob.join().expect("it has said all");
    expect_all(&mut alice, "bob", lines);
    expect_all(&mut bob, "alice", lines);
}

#[test]
fn case_9_the_log_is_deleted_and_made_anew() {
    needs_nats!();
    let nats = Nats::shared();
    let [a, b] = [(); 2].map(|()| Node::start_with(&nats.url(), "deleted", trusting));
    let (mut alice, mut bob) = alice_and_bob(&a, &b);
    talk(&mut alice, &mut bob);
    let mut raw = RawClient::connect(nats.addr());
    raw.request("$JS.API.STREAM.DELETE.LC_deleted", "");
    // Who joins makes it anew.
    let c = Node::start_with(&nats.url(), "deleted", trusting);
    c.await_state("Up", 1);
    alice.say("is anybody there?");
    for node in [&a, &b, &c] {
        node.await_members(&["alice", "bob"]);
    }
    a.await_state("Up", 2);
    b.await_state("Up", 2);
    let mut carol = c.join("carol");
    alice.until("* carol joined");
    bob.until("* carol joined");
    carol.sync();
    talk(&mut alice, &mut bob);
    carol.expect(&["alice: do you hear me?", "bob: yes"]);
}

#[test]
fn case_10_the_log_is_purged_and_what_is_lost_is_counted() {
    needs_nats!();
    let nats = Nats::shared();
    let way = Proxy::to(nats.addr());
    let a = Node::start_with(&nats.url(), "purged", trusting);
    let b = Node::start_with(&way.url(), "purged", |config| {
        patient(config);
        trusting(config);
    });
    let (mut alice, mut bob) = alice_and_bob(&a, &b);
    let mut ann = a.join("ann");
    alice.expect(&["* ann joined"]);
    bob.expect(&["* ann joined"]);
    way.cut();
    for n in 0..10 {
        alice.say(&format!("{n}"));
        ann.expect(&[&format!("alice: {n}")]);
    }
    let mut raw = RawClient::connect(nats.addr());
    raw.request("$JS.API.STREAM.PURGE.LC_purged", "");
    way.heal();
    b.await_entry("open");
    alice.say("end");
    let told = bob.until("alice: end");
    let is_told = |line: &str| told.iter().filter(|it| *it == line).count();
    assert_eq!(
        is_told("* 10 lines from other servers were lost"),
        1,
        "{told:#?}"
    );
    assert!(is_told(CUT_OFF) <= 1, "{told:#?}");
    b.await_state("Up", 1 + is_told(CUT_OFF));
    bob.sync();
    alice.sync();
    talk(&mut alice, &mut bob);
}

#[test]
fn case_11_a_log_on_a_lost_disk_begins_anew() {
    needs_nats!();
    let mut nats = Nats::start();
    let url = nats.url();
    let [a, b] = [(); 2].map(|()| {
        Node::start_with(&url, "r", |config| {
            patient(config);
            trusting(config);
        })
    });
    let (mut alice, mut bob) = alice_and_bob(&a, &b);
    for _ in 0..5 {
        talk(&mut alice, &mut bob);
    }
    nats.kill_with_its_disk();
    nats.run();
    for talker in [&mut alice, &mut bob] {
        talker.until(BACK);
        talker.sync();
    }
    talk(&mut alice, &mut bob);
    for node in [&a, &b] {
        node.await_members(&["alice", "bob"]);
    }
}
