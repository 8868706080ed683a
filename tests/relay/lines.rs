//! What is said on one server is heard on all, in one order.

use std::thread;
use std::time::Duration;

use crate::nats::Nats;
use crate::needs_nats;
use crate::node::Node;
use crate::talker::Talker;

const LINES: usize = 500;

/// Reads this many lines.
fn read(talker: &mut Talker, lines: usize) -> Vec<String> {
    let mut read = Vec::new();
    while read.len() < lines {
        read.extend(talker.until_any(|_| true));
    }
    read
}

#[test]
fn lines_go_everywhere_in_one_order() {
    needs_nats!();
    let nats = Nats::shared();
    let nodes = [(); 3].map(|()| Node::start(&nats.url(), "one_order"));
    let names = ["ann", "bea", "cid"];
    let listeners = ["lea", "mia", "nia"];
    let mut listeners: Vec<Talker> = (0..3)
        .map(|n| nodes[n].join_plainly(listeners[n]))
        .collect();
    let speakers: Vec<Talker> = (0..3).map(|n| nodes[n].join_plainly(names[n])).collect();
    let all = ["ann", "bea", "cid", "lea", "mia", "nia"];
    nodes.iter().for_each(|node| node.await_members(&all));
    let speak = |(n, mut speaker): (usize, Talker)| {
        thread::spawn(move || {
            for line in 0..LINES {
                speaker.say(&format!("{line}"));
            }
            (names[n], read(&mut speaker, 2 * LINES))
        })
    };
    let speakers: Vec<_> = speakers.into_iter().enumerate().map(speak).collect();
    let heard: Vec<_> = listeners.iter_mut().map(|it| read(it, 3 * LINES)).collect();
    assert!(heard[0] == heard[1] && heard[1] == heard[2], "one order");
    for speaker in speakers {
        let (name, has_heard) = speaker.join().expect("it has heard all");
        let prefix = format!("{name}: ");
        let is_own = |line: &&String| line.starts_with(&prefix);
        let own: Vec<&String> = heard[0].iter().filter(is_own).collect();
        let said: Vec<String> = (0..LINES).map(|line| format!("{prefix}{line}")).collect();
        assert_eq!(
            own,
            said.iter().collect::<Vec<_>>(),
            "each line once, in its order"
        );
        let others: Vec<String> = heard[0].iter().filter(|it| !is_own(it)).cloned().collect();
        assert!(
            has_heard == others,
            "{name} hears the others in the same order"
        );
    }
}

#[test]
fn a_server_that_starts_later_tells_how_long_ago_a_line_was_said() {
    needs_nats!();
    let nats = Nats::shared();
    let a = Node::start(&nats.url(), "ages");
    let [mut alice, mut ann] = ["alice", "ann"].map(|nick| a.join(nick));
    alice.say("before you came");
    ann.until("alice: before you came");
    thread::sleep(Duration::from_secs(3));
    let b = Node::start(&nats.url(), "ages");
    b.await_members(&["alice", "ann"]);
    let mut bob = b.connect();
    bob.say("bob");
    let lines = bob.until_any(|line| line.starts_with("* welcome"));
    let seconds = lines.iter().find_map(|line| {
        let age = line.strip_suffix(" s ago, alice: before you came")?;
        age.strip_prefix("* ")?.parse::<u64>().ok()
    });
    assert!(seconds.is_some_and(|it| it >= 3), "{lines:#?}");
}

#[test]
fn who_comes_and_goes_is_told_everywhere_and_counted() {
    needs_nats!();
    let nats = Nats::shared();
    let [a, b] = [(); 2].map(|()| Node::start(&nats.url(), "presence"));
    let mut alice = a.join("alice");
    b.await_members(&["alice"]);
    let mut bob = b.connect();
    bob.say("bob");
    let welcome = bob.until_any(|line| line.starts_with("* welcome"));
    let welcome = welcome.last().map(String::as_str);
    assert_eq!(
        welcome,
        Some("* welcome, bob. /help lists the commands. 1 other here: alice")
    );
    alice.expect(&["* bob joined"]);
    let mut script = a.join_plainly("script");
    bob.until("* script joined");
    bob.say("/who");
    bob.until("* 1 here, 2 elsewhere: alice, bob, script");
    alice.until("* script joined");
    alice.say("/who");
    alice.until("* 2 here, 1 elsewhere: alice, bob, script");
    script.say("hello");
    bob.expect(&["script: hello"]);
    bob.say("/quit see you");
    alice.until("* bob left: see you");
    a.await_members(&["alice", "script"]);
}

#[test]
fn private_words_are_told_to_have_arrived_when_they_have() {
    needs_nats!();
    let nats = Nats::shared();
    let [a, b] = [(); 2].map(|()| Node::start(&nats.url(), "private"));
    let mut alice = a.join("alice");
    let mut bob = b.join("bob");
    alice.until("* bob joined");
    b.await_members(&["alice", "bob"]);
    bob.sync();
    alice.say("/msg bob psst");
    bob.expect(&["* alice tells you: psst"]);
    alice.expect(&["* you tell bob: psst"]);
    bob.say("/away lunch");
    bob.until("* you are away: lunch; /away again when you are back");
    alice.say("/msg bob again");
    bob.expect(&["* alice tells you: again"]);
    alice.expect(&["* you tell bob: again", "* bob is away: lunch"]);
    bob.say("/reply yes");
    alice.expect(&["* bob tells you: yes"]);
    bob.until("* you tell alice: yes");
}
