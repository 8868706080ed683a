//! The words that were hard to read once, as they are now. Each row of these tables is a line that a person sees;
//! they stand here as they were agreed, so that a new command or a new limit does not take them back.

use super::*;

/// What `/help` says to an operator.
const HELP: [&str; 13] = [
    "* /unignore NAME: stops ignoring NAME",
    "* /ignore [NAME]: hides what NAME says; alone, lists whom you ignore",
    "* /who [NAME]: lists who is here; with NAME, whose names begin with it",
    "* /me TEXT: shows an action: /me waves is seen as ** bob waves",
    "* /msg NAME TEXT: tells NAME alone",
    "* /reply TEXT: answers, in private, whoever last told you something",
    "* /last [N] [NAME]: shows the last N lines (of NAME), or all that are kept",
    "* /time: tells the time, in UTC",
    "* /quit [TEXT]: leaves; TEXT is shown to the others",
    "* /kick NAME [WHY]: disconnects NAME, who can come back",
    "* /mute WHOM [TIME] [WHY]: hides what they say from everybody; TIME: 5m, 2h, 1d",
    "* /unmute WHOM: ends a mute",
    "* //TEXT: says a line that begins with a slash",
];

/// What alice types at her prompt, and the answer.
const ANSWERS: [(&str, &str); 12] = [
    ("/ignore bob", "* ignoring bob; /unignore bob undoes it"),
    (
        "/unignore bob",
        "* you no longer ignore bob (who is robert now)",
    ),
    ("/who x", "* nobody here has a name that begins with \"x\""),
    (
        "/reply yes",
        "* carol, who told you something last, has left",
    ),
    (
        "/msg bot hi",
        "* bot is a script: it cannot be told anything in private",
    ),
    ("/nick Max Power", "* a nick is one word: try Max_Power"),
    ("/nick bot", "* nick \"bot\" is taken; bot2 is free"),
    ("/nick a:b", "* a nick has no \":\" in it"),
    ("/ban a:b", "* only operators can do that"),
    ("/kick robert", "* only operators can do that"),
    ("/nick you", "* nick \"you\" is reserved"),
    (
        "/reply",
        "* write /reply TEXT: answers, in private, whoever last told you something",
    ),
];

#[test]
fn help_says_what_a_command_does_in_plain_words() {
    let file = TempFile::new("help-words", "secret\n");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(file.path().into()));
    let [op] = people(&mut rig, ["op"]);
    op.say("/op secret");
    rig.settle();
    op.received();
    op.say("/help");
    rig.settle();
    let help = unbroken(&op);
    for line in HELP {
        assert!(help.lines().any(|it| it == line), "{line} in {help}");
    }
}

#[test]
fn answers_say_what_is_so_and_what_to_do() {
    let file = TempFile::new("answer-words", "secret\n");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(file.path().into()));
    let [alice, bob, carol] = people(&mut rig, ["alice", "bob", "carol"]);
    let bot = rig.connect_plainly();
    bot.say("bot");
    carol.say("/msg alice hi");
    rig.settle();
    carol.say("/quit");
    rig.settle();
    alice.received();
    for (typed, answer) in ANSWERS {
        expect_answer(&mut rig, &alice, typed, &format!("{answer}\r\n"));
        if typed == "/ignore bob" {
            bob.say("/nick robert");
            rig.settle();
        }
    }
}

#[test]
fn at_the_first_prompt_a_refusal_says_what_to_type() {
    let mut rig = room();
    let max = rig.connect();
    max.received();
    for (typed, answer) in [
        ("Max Power", "* a nick is one word: try Max_Power"),
        ("a:b", "* a nick has no \":\" in it, choose another"),
    ] {
        expect_answer(&mut rig, &max, typed, &format!("{answer}\r\n"));
    }
    max.send(b"m\xffax\r\n");
    rig.settle();
    let unsafe_nick = "* that line holds a key that is no letter (an arrow, ^D), or your client \
        does not send UTF-8: type the nick again\r\n";
    assert_eq!(unbroken(&max), unsafe_nick);
    rig.advance(2 * MINUTE);
    let late = "* you have taken longer than 120 s, goodbye: connect again\r\n";
    assert_eq!(max.received(), late);
}

#[test]
fn people_are_counted_as_people_and_lines_with_their_reason() {
    let mut rig = room_with(|config| config.limits.max_pending_bytes = 64 << 10);
    let [alice] = people(&mut rig, ["alice"]);
    let crowd: Vec<Wire> = (0..60).map(|n| rig.join(&format!("user{n}"))).collect();
    rig.advance(10 * SECOND);
    let told = unbroken(&alice);
    let counted: Vec<&str> = told.lines().filter(|it| it.contains(" people ")).collect();
    assert_eq!(counted, ["* 11 people joined"]);
    alice.stop_reading();
    for _ in 0..40 {
        crowd[5].say(&"x".repeat(4000));
        rig.advance(SECOND);
    }
    alice.read_on();
    rig.settle();
    let told = unbroken(&alice);
    let skipped = told.lines().find(|it| it.contains("skipped"));
    let words = " lines skipped: your connection was too slow";
    assert!(skipped.is_some_and(|it| it.ends_with(words)), "{told}");
}
