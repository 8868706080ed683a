//! Clients for MUDs, which keep what is typed in a line of their own, on a usual screen and on a small one.
//! TinyFugue knows no UTF-8, and takes lines that begin with a slash as its own commands: `\` is one as well.

use super::*;
use crate::support::terminal::Size;

const USUAL: Size = size(24, 80);
const SMALL: Size = size(20, 40);

/// Alice comes, talks with Bob, and leaves. Returns what was on her screen before that, from her nick on.
#[track_caller]
fn visit_of_alice(kind: Kind, size: Size, slash: &str, words: &str) -> Option<String> {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let mut alice = Terminal::run_at(size, &kind.find()?, &kind.args(&server));
    alice.await_line("* what is your nick?");
    // Its answer comes behind the question for the width of the window.
    alice.type_line("?");
    alice.await_line("* type a one-word");
    alice.type_line("alice");
    alice.await_line("1 other here: bob");
    bob.hears("* alice joined");
    alice.type_line(words);
    bob.hears(&format!("alice: {words}"));
    bob.says(words);
    alice.await_line(&format!("bob: {words}"));
    alice.type_line(&format!("{slash}msg bob psst"));
    bob.hears("* alice tells you: psst");
    bob.says("/nick a_man_called_robert");
    bob.hears("* you are now a_man_called_robert");
    alice.await_line("a_man_called_robert");
    // A client says something of its own behind the last words.
    let screen = alice.screen();
    alice.type_line(&format!("{slash}quit"));
    alice.await_line("* goodbye");
    bob.hears("* alice left");
    // Whether the width was known when the question was answered depends on what came first.
    let begin = screen.find("alice\n").unwrap_or_default();
    Some(screen[begin..].trim_end().to_owned())
}

#[track_caller]
fn expect(seen: Option<String>, expected: &str) {
    if let Some(seen) = seen {
        assert!(
            seen == expected,
            "on the screen is\n{seen}\nand should be\n{expected}"
        );
    }
}

/// On a screen of 80 columns.
fn usual(slash: &str, words: &str) -> String {
    format!(
        "\
alice
* welcome, alice. /help lists the commands. 1 other here: bob
{words}
bob: {words}
{slash}msg bob psst
* you tell bob: psst
* bob changes nick to a_man_called_robert"
    )
}

/// On one of 40 columns.
fn small(slash: &str, words: &str) -> String {
    format!(
        "\
alice
* welcome, alice. /help lists the
*   commands. 1 other here: bob
{words}
bob: {words}
{slash}msg bob psst
* you tell bob: psst
* bob changes nick to
*   a_man_called_robert"
    )
}

#[test]
fn with_tintin_one_talks_and_has_commands() {
    let (slash, words) = ("/", "hello, é 漢字");
    let seen = |size| visit_of_alice(Kind::Tintin, size, slash, words);
    expect(seen(USUAL), &usual(slash, words));
    expect(seen(SMALL), &small(slash, words));
}

#[test]
fn with_tinyfugue_a_backslash_begins_a_command() {
    let (slash, words) = ("\\", "hello");
    let seen = |size| visit_of_alice(Kind::TinyFugue, size, slash, words);
    expect(seen(USUAL), &usual(slash, words));
    expect(seen(SMALL), &small(slash, words));
}
