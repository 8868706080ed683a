//! Asking the server: help, who is here, the time, and what becomes of a slip of the finger.

use super::*;

#[test]
fn help_lists_the_commands_a_line_each() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let help = "* /help: lists the commands\r\n\
        * /who [NAME]: lists who is here, or whose names begin so\r\n\
        * /nick NAME: changes your name\r\n\
        * /me TEXT: says what you do: ** bob waves\r\n\
        * /msg NAME TEXT: tells one person only\r\n\
        * /reply TEXT: answers whoever told you something last\r\n\
        * /ignore [NAME]: hides what they say; without NAME, lists whom you ignore\r\n\
        * /unignore NAME: shows what they say again\r\n\
        * /last [N]: shows the last lines again\r\n\
        * /time: tells the time\r\n\
        * /quit [TEXT]: leaves, with last words\r\n\
        * //TEXT: says a line that begins with a slash\r\n";
    expect_answer(&mut rig, &alice, "/help", help);
    assert!(help.lines().all(|line| line.trim_start().len() <= 80));
}

#[test]
fn who_lists_everybody_by_name_or_those_whose_names_begin_so() {
    let mut rig = room();
    let [alice, _dave, _bob, _bonnie] = people(&mut rig, ["alice", "dave", "Bob", "bonnie"]);
    expect_answer(
        &mut rig,
        &alice,
        "/who",
        "* 4 here: alice, Bob, bonnie, dave\r\n",
    );
    expect_answer(&mut rig, &alice, "/who bO", "* 2 here: Bob, bonnie\r\n");
    let none = "* nobody here has a name that begins so\r\n";
    expect_answer(&mut rig, &alice, "/who x", none);
}

#[test]
fn who_in_a_big_room_is_cut_with_a_count() {
    let mut rig = room();
    let _guests: Vec<Wire> = (0..250)
        .map(|n| rig.join(&format!("guest{n:03}")))
        .collect();
    let [alice] = people(&mut rig, ["alice"]);
    alice.say("/who");
    rig.settle();
    let who = alice.received();
    assert!(
        who.starts_with("* 251 here: alice, guest000, guest001, "),
        "{who}"
    );
    assert!(who.ends_with(", guest098 and 151 more\r\n"), "{who}");
}

#[test]
fn the_time_is_a_date_and_a_time_of_day() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    // The clock of a chat that was given none.
    expect_answer(
        &mut rig,
        &alice,
        "/time",
        "* it is 1970-01-01 00:00:00 UTC\r\n",
    );
}

#[test]
fn what_is_no_command_comes_with_what_to_do() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    for (line, answer) in [
        (
            "/hlep",
            "* there is no /hlep; did you mean /help? /help lists what there is\r\n",
        ),
        (
            "/q",
            "* there is no /q; did you mean /quit? /help lists what there is\r\n",
        ),
        (
            "/xyzzy",
            "* there is no /xyzzy; /help lists what there is\r\n",
        ),
        (
            "/",
            "* a line that begins with \"/\" is a command; /help lists them, // says the line\r\n",
        ),
        ("/nick", "* write /nick NAME: changes your name\r\n"),
        (
            "/last soon",
            "* write /last [N]: shows the last lines again\r\n",
        ),
    ] {
        expect_answer(&mut rig, &alice, line, answer);
    }
}

/// However little a command sends back, it may be as much work as a long line.
#[test]
fn a_turn_obeys_a_bounded_number_of_commands() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    alice.send("/ignore\n".repeat(1000));
    rig.turn();
    let first = alice.received().lines().count();
    assert!((200..=256).contains(&first), "{first}");
    rig.settle();
    assert_eq!(alice.received().lines().count(), 1000 - first);
}

#[test]
fn the_manual_lists_the_commands_as_help_does() {
    let page = include_str!("../../../src/manual/interactive.md");
    let (_, table) = page
        .split_once("\n| typed at the prompt | what it does |\n")
        .expect("a table");
    let rows = table.lines().skip(1).take_while(|row| row.starts_with('|'));
    let rows: Vec<String> = rows
        .map(|row| {
            let row = row.replace("\\|", "/or/").replace('`', "");
            let mut cells = row
                .split('|')
                .skip(1)
                .map(|cell| cell.trim().replace("/or/", "|"));
            let mut cell = || cells.next().expect("a cell");
            format!("* {}: {}", cell(), cell())
        })
        .collect();
    let ops = TempFile::new("manual", "secret");
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(ops.path().into()));
    let [alice] = people(&mut rig, ["alice"]);
    alice.say("/op secret");
    rig.settle();
    alice.received();
    alice.say("/help");
    rig.settle();
    let help = alice.received();
    let help: Vec<&str> = help.lines().collect();
    assert_eq!(rows, help);
}
