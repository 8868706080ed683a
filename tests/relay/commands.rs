//! Every command, and what it does on another server.

use crate::nats::Nats;
use crate::needs_nats;
use crate::node::{Node, OPS_PASSWORD};
use crate::talker::Talker;

/// A command that somebody gives on one server: what it gets to read, and what the one on the other server
/// does. A line that ends with `...` is only begun here; `N s` is any number of seconds.
type Row = (
    Who,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

#[derive(Debug, Clone, Copy)]
enum Who {
    /// An operator.
    Alice,
    /// On the other server.
    Bob,
}
use Who::{Alice, Bob};

#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Alice, "/help who", &["* /who [NAME]: lists who is here; with NAME, whose names begin with it; also /w, /names, /list, /users"], &[]),
    (Alice, "/who", &["* 1 here, 2 elsewhere: alice (operator), bob, carol"], &[]),
    (Alice, "/who b", &["* 0 here, 1 elsewhere: bob"], &[]),
    (Alice, "/whois bob", &["* bob has been here for N s, silent for N s, without TLS", "* bob comes from 127.0.0.1"], &[]),
    (Alice, "/me waves", &[], &["** alice waves"]),
    (Alice, "/msg bob psst", &["* you tell bob: psst"], &["* alice tells you: psst"]),
    (Bob, "/msg alice hey", &["* you tell alice: hey"], &["* bob tells you: hey"]),
    (Alice, "/reply yo", &["* you tell bob: yo"], &["* alice tells you: yo"]),
    (Alice, "/ignore carol", &["* ignoring carol; /unignore carol undoes it"], &[]),
    (Alice, "/ignore", &["* you ignore carol"], &[]),
    (Alice, "/unignore carol", &["* you no longer ignore carol"], &[]),
    (Alice, "/last 2", &["* N s ago, alice: fence 10", "* N s ago, bob: fence 10"], &[]),
    (Alice, "/find wave", &["* N s ago, ** alice waves"], &[]),
    (Alice, "/quiet on", &["* joins, leaves and renames are hidden; /quiet shows them again"], &[]),
    (Alice, "/quiet off", &["* joins, leaves and renames are shown again"], &[]),
    (Alice, "/bell off", &["* the bell is off"], &[]),
    (Alice, "/stamp off", &["* lines begin without the time now"], &[]),
    (Alice, "/away lunch", &["* you are away: lunch; /away again when you are back"], &[]),
    (Bob, "/msg alice again", &["* you tell alice: again", "* alice is away: lunch"], &["* bob tells you: again"]),
    (Bob, "/whois alice", &["* alice has been here for N s, silent for N s, without TLS, an operator, away: lunch"], &[]),
    (Alice, "/away", &["* you are back"], &[]),
    (Alice, "/claim", &["* to be alice again after a lost connection, type alice..."], &[]),
    (Alice, "/time", &["* it is 20..."], &[]),
    (Alice, "/nick alicia", &["* you are now alicia"], &["* alice changes nick to alicia"]),
    (Bob, "/msg ali who are you?", &["* you tell alicia: who are you?"], &["* bob tells you: who are you?"]),
    (Alice, "/nick alice", &["* you are now alice"], &["* alicia changes nick to alice"]),
    (Alice, "/announce dinner", &["* announced to 2 others"], &["* alice announces: dinner"]),
    (Alice, "/mute carol 1h", &["* carol is muted for 1 hour"], &[]),
    (Alice, "/mutes", &["* carol is muted for 1 hour, by alice"], &[]),
    (Alice, "/unmute carol", &["* carol is no longer muted"], &[]),
    (Alice, "/ban mallory 1h spam", &["* mallory is banned for 1 hour, but nobody here has that name"], &[]),
    (Alice, "/bans", &["* mallory is banned for 1 hour, by alice: spam"], &[]),
    (Alice, "/unban mallory", &["* mallory is no longer banned"], &[]),
    (Alice, "/ban 192.0.2.7", &["* 192.0.2.7 is banned"], &[]),
    (Alice, "/unban 192.0.2.7", &["* 192.0.2.7 is no longer banned"], &[]),
    (Alice, "/forget bob", &["* 35 lines by bob are forgotten"], &[]),
    (Bob, "/find fence 20", &["* N s ago, alice: fence 20"], &[]),
    (Alice, "/voice bob", &["* bob can talk while the room is moderated"], &["* you can talk while the room is moderated"]),
    (Alice, "/moderate on", &["* only operators and those they /voice can talk; /moderate again ends it"], &["* alice moderates the room: only those with a voice can talk"]),
    (Bob, "/whois carol", &["* carol has been here for N s, silent for N s, without TLS"], &[]),
    (Alice, "/moderate off", &["* everybody can talk again"], &["* alice lets everybody talk again"]),
    (Alice, "/voice bob", &["* bob can no longer talk while the room is moderated"], &["* you can no longer talk while the room is moderated"]),
    (Alice, "/kick carol out", &["* carol was kicked by alice: out"], &["* carol was kicked by alice: out"]),
    (Alice, "/who", &["* 1 here, 1 elsewhere: alice (operator), bob"], &[]),
    (Alice, "/deop", &["* you are no longer an operator"], &[]),
    (Alice, "/kick bob", &["* only operators can do that"], &[]),
    (Alice, "/op sesame", &["* you are an operator; /help lists what you can do"], &[]),
];

#[test]
fn each_command_works_between_servers_or_says_that_it_does_not() {
    needs_nats!();
    let nats = Nats::shared();
    let [a, b] = [(); 2].map(|()| Node::start(&nats.url(), "commands"));
    let mut alice = a.join("alice");
    let mut bob = b.join("bob");
    alice.until("* bob joined");
    let mut carol = b.join("carol");
    alice.until("* carol joined");
    bob.until("* carol joined");
    alice.say(&format!("/op {OPS_PASSWORD}"));
    alice.until("* you are an operator; /help lists what you can do");
    alice.say("/help");
    alice.say("/time");
    let help = alice.until_any(|line| line.starts_with("* it is "));
    let names = help.iter().filter_map(|line| line.strip_prefix("* /"));
    let names = names.map(|line| line.split([' ', ':']).next().unwrap_or_default());
    let names: Vec<&str> = names.filter(|it| !it.starts_with('/')).collect();
    assert_eq!(names.len(), 31, "{help:#?}");
    let mut wrong = Vec::new();
    for (n, (who, command, reads, other_reads)) in TABLE.iter().enumerate() {
        let (giver, other) = match who {
            Alice => (&mut alice, &mut bob),
            Bob => (&mut bob, &mut alice),
        };
        let read = exchange(giver, other, command, n);
        if !is_like(&read.0, reads) || !is_like(&read.1, other_reads) {
            wrong.push(format!(
                "({who:?}, {command:?}, &{:?}, &{:?}),",
                read.0, read.1
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "these rows are right:\n{}",
        wrong.join("\n")
    );
    for name in names {
        let is_it = |command: &str| command.split(' ').next() == Some(&format!("/{name}"));
        let is_shown = TABLE.iter().any(|row| is_it(row.1)) || name == "quit";
        assert!(is_shown, "no row for /{name}");
    }
    let read = carol.until_end();
    for told in [
        "* you are muted for 1 hour: nobody sees what you say",
        "* you are no longer muted",
        "* alice has kicked you: out",
    ] {
        assert!(
            read.iter().any(|line| line == told),
            "no \"{told}\" in {read:#?}"
        );
    }
    // A ban holds on all servers.
    exchange(&mut alice, &mut bob, "/ban carol", TABLE.len());
    for node in [&a, &b] {
        let mut carol = node.connect();
        carol.say("carol");
        carol.until_any(|line| line.contains("banned"));
    }
    alice.say("/quit bye");
    bob.expect(&["* alice left: bye"]);
    alice.until_end();
}

/// Gives a command, and returns what both get to read of it.
fn exchange(
    giver: &mut Talker,
    other: &mut Talker,
    command: &str,
    n: usize,
) -> (Vec<String>, Vec<String>) {
    giver.say(command);
    let mut reads = giver.sync();
    giver.say(&format!("fence {n}"));
    let ends = |line: &str| line.ends_with(&format!("fence {n}"));
    let mut other_reads = other.until_any(ends);
    other_reads.pop();
    other.say(&format!("fence {n}"));
    reads.extend(giver.until_any(ends));
    reads.pop();
    (reads, other_reads)
}

fn is_like(lines: &[String], expected: &[&str]) -> bool {
    let is_one = |(line, expected): (&String, &&str)| match expected.strip_suffix("...") {
        Some(begin) => line.starts_with(begin),
        None => timeless(line) == *expected,
    };
    lines.len() == expected.len() && lines.iter().zip(expected).all(is_one)
}

/// The line with `N s` for each number of seconds.
fn timeless(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    for n in 1..words.len() {
        let is_number = words[n - 1].bytes().all(|byte| byte.is_ascii_digit());
        if words[n].trim_end_matches(',') == "s" && is_number {
            words[n - 1] = "N";
        }
    }
    words.join(" ")
}
