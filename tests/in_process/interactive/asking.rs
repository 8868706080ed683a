//! Asking the server: help, who is here, the time, and what becomes of a slip of the finger.

use super::*;

#[test]
fn help_lists_the_commands_a_line_each() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let help = "* /help [COMMAND]: lists the commands; with COMMAND, its other names\r\n\
        * /who [NAME]: lists who is here; with NAME, whose names begin with it\r\n\
        * /whois NAME: tells how long NAME has been here, and more\r\n\
        * /nick NAME: changes your name\r\n\
        * /me TEXT: shows an action: /me waves is seen as ** bob waves\r\n\
        * /msg NAME TEXT: tells NAME alone\r\n\
        * /reply TEXT: answers, in private, whoever last told you something\r\n\
        * /ignore [NAME]: hides what NAME says; alone, lists whom you ignore\r\n\
        * /unignore NAME: stops ignoring NAME\r\n\
        * /last [N] [NAME]: shows the last N lines (of NAME), or all that are kept\r\n\
        * /find TEXT: shows the last lines that have TEXT in them\r\n\
        * /quiet [on|off]: hides joins, leaves and renames; again, shows them\r\n\
        * /bell off|private|name: rings for private words, or your name as well\r\n\
        * /stamp [+5h45m|off]: shows the time before each line, at this offset from UTC\r\n\
        * /away [WHY]: marks you as away, and says why; again, as back\r\n\
        * /claim: gives a token that brings your name back after a lost connection\r\n\
        * /time: tells the time, in UTC\r\n\
        * /quit [TEXT]: leaves; TEXT is shown to the others\r\n\
        * //TEXT: says a line that begins with a slash\r\n\
        * ^R: shows again what you have typed; rlwrap nc HOST PORT keeps it in sight\r\n";
    expect_answer(&mut rig, &alice, "/help", help);
    assert!(help.lines().all(|line| line.trim_start().len() <= 79));
}

#[test]
fn help_explains_a_command_by_any_of_its_names() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let msg = "* /msg NAME TEXT: tells NAME alone; also /m, /t, /tell, /pm, /dm, /whisper\r\n";
    for line in ["/help msg", "/h /msg", "/? DM", "/help \u{ff0f}whisper"] {
        expect_answer(&mut rig, &alice, line, msg);
    }
    for (line, answer) in [
        ("/help time", "* /time: tells the time, in UTC\r\n"),
        (
            "/help mgs",
            "* there is no /mgs; did you mean /msg? /help lists what there is\r\n",
        ),
        // Only operators have it.
        ("/help announce", "* this server has no operators\r\n"),
        (
            "/help two words",
            "* write /help [COMMAND]: lists the commands; with COMMAND, its other names\r\n",
        ),
    ] {
        expect_answer(&mut rig, &alice, line, answer);
    }
}

#[test]
fn a_command_has_the_names_that_other_chats_give_it() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    for alias in ["w", "names", "list", "users"] {
        expect_answer(
            &mut rig,
            &alice,
            &format!("/{alias}"),
            "* 2 here: alice, bob\r\n",
        );
    }
    for alias in ["m", "t", "tell", "pm", "dm", "whisper"] {
        let told = "* you tell bob: psst\r\n";
        expect_answer(&mut rig, &alice, &format!("/{alias} bob psst"), told);
        assert_eq!(bob.received(), "* alice tells you: psst\r\n");
    }
    expect_answer(&mut rig, &bob, "/r yes?", "* you tell alice: yes?\r\n");
    assert_eq!(alice.received(), "* bob tells you: yes?\r\n");
    for alias in ["exit", "q", "bye"] {
        let [guest] = people(&mut rig, ["guest"]);
        expect_answer(&mut rig, &guest, &format!("/{alias} now"), "* goodbye\r\n");
        assert_eq!(alice.received(), "* guest joined\r\n* guest left: now\r\n");
    }
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
    let none = "* nobody here has a name that begins with \"x\"\r\n";
    expect_answer(&mut rig, &alice, "/who x", none);
}

#[test]
fn whois_tells_operators_more_than_others() {
    let ops = TempFile::new("whois", "secret");
    let mut rig = room_with(|config| {
        config.interactive.ops_password_file = Some(ops.path().into());
    });
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    let script = rig.connect_plainly();
    script.say("script");
    let local = rig.connect_as(4000);
    local.say("local");
    rig.settle();
    rig.advance(2 * MINUTE);
    alice.say("/op secret");
    rig.settle();
    alice.say("/mute bob 5");
    rig.advance(5 * SECOND);
    received([&alice, &bob]);
    let is_bob = "* bob has been here for 2 min, silent for 2 min, without TLS\r\n";
    let told = [
        is_bob,
        "* bob comes from 127.0.0.1\r\n* bob is muted for 5 minutes, by alice\r\n",
    ]
    .concat();
    expect_answer(&mut rig, &alice, "/whois bob", &told);
    for (line, answer) in [
        (
            "/whois ali",
            "* alice has been here for 2 min, silent for 0 s, without TLS, an operator\r\n",
        ),
        (
            "/whois bob",
            "* bob has been here for 2 min, silent for 0 s, without TLS\r\n",
        ),
        (
            "/whois script",
            "* script is a script, silent for 2 min, without TLS\r\n",
        ),
        (
            "/whois x",
            "* nobody here is called \"x\"; /who lists who is here\r\n",
        ),
        ("/who", "* 4 here: alice (operator), bob, local, script\r\n"),
        (
            "/whois local",
            "* local has been here for 2 min, silent for 2 min, over a Unix socket\r\n",
        ),
    ] {
        expect_answer(&mut rig, &bob, line, answer);
    }
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
            "/quti",
            "* there is no /quti; did you mean /quit? /help lists what there is\r\n",
        ),
        (
            "/whispr",
            "* there is no /whispr; did you mean /whisper? /help lists what there is\r\n",
        ),
        (
            "/xyzzy",
            "* there is no /xyzzy; /help lists what there is\r\n",
        ),
        (
            "/",
            "* a line that begins with \"/\" is a command: /help lists them; //TEXT says /TEXT\r\n",
        ),
        ("/nick", "* write /nick NAME: changes your name\r\n"),
        (
            "/last 5 bob now",
            "* write /last [N] [NAME]: shows the last N lines (of NAME), or all that are kept\r\n",
        ),
        (
            "/last 0",
            "* write /last [N] [NAME]: shows the last N lines (of NAME), or all that are kept\r\n",
        ),
        (
            "/last -1",
            "* write /last [N] [NAME]: shows the last N lines (of NAME), or all that are kept\r\n",
        ),
    ] {
        expect_answer(&mut rig, &alice, line, answer);
    }
}

#[test]
fn white_space_may_stand_behind_the_slash() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    for line in [
        "/ who",
        "/\twho",
        "/   WHO",
        "/\u{3000}who",
        " / who",
        "\u{ff0f} ｗｈｏ",
    ] {
        expect_answer(&mut rig, &alice, line, "* 2 here: alice, bob\r\n");
    }
    expect_answer(
        &mut rig,
        &alice,
        "/ msg bob psst",
        "* you tell bob: psst\r\n",
    );
    assert_eq!(bob.received(), "* alice tells you: psst\r\n");
    let usage = "* write /nick NAME: changes your name\r\n";
    expect_answer(&mut rig, &alice, "/ nick", usage);
    let unknown = "* there is no /xyzzy; /help lists what there is\r\n";
    expect_answer(&mut rig, &alice, "/ xyzzy sesame", unknown);
    let nothing =
        "* a line that begins with \"/\" is a command: /help lists them; //TEXT says /TEXT\r\n";
    for line in ["/ ", "/\t", "\u{ff0f}\u{3000}"] {
        expect_answer(&mut rig, &alice, line, nothing);
    }
    assert_eq!(bob.received(), "", "nobody else sees anything of it");
}

// The full-width slash was text: everybody read the password, and so did every newcomer.
#[test]
fn a_slash_of_another_shape_tells_no_password() {
    let ops = TempFile::new("slashes", "sesame");
    for slash in [
        "\u{ff0f}",
        "\u{2044}",
        "\u{2215}",
        "\u{29f8}",
        "\u{3001}",
        "\\",
        "\u{ff3c}",
        "\u{a5}",
        " \u{1b}[A\u{ff0f}",
        "\u{200b}\\ ",
        "\u{ff0f}\u{3000}",
    ] {
        let mut rig =
            room_with(|config| config.interactive.ops_password_file = Some(ops.path().into()));
        let [alice, bob] = people(&mut rig, ["alice", "bob"]);
        let line = format!("{slash}op sesame");
        let done = "* you are an operator; /help lists what you can do\r\n";
        expect_answer(&mut rig, &alice, &line, done);
        assert_eq!(bob.received(), "", "{line:?}");
        let carol = rig.join("carol");
        assert!(!carol.received().contains("sesame"), "{line:?}");
    }
}

#[test]
fn a_slash_of_another_shape_is_a_slash_whatever_stands_behind_it() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    for slash in ["\u{ff0f}", "\u{2044}", "\u{2215}", "\u{29f8}"] {
        let say = |rest: &str| format!("{slash}{rest}");
        let unknown = "* there is no /opp; /help lists what there is\r\n";
        expect_answer(&mut rig, &alice, &say("opp sesame"), unknown);
        assert_eq!(bob.received(), "");
        // Doubled, it says the line.
        expect_answer(&mut rig, &alice, &say(&say("o")), "");
        assert_eq!(bob.received(), format!("alice: {slash}o\r\n"));
    }
}

#[test]
fn what_is_only_like_a_slash_is_text_unless_a_command_follows() {
    let mut rig = room();
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    for line in [
        "\\o/",
        "\\\\server\\who",
        "\u{3001}你好",
        "\u{3001}",
        "\u{a5}500",
        "\\whom did you mean?",
        "C:\\who",
        "a\u{ff0f}who",
    ] {
        expect_answer(&mut rig, &alice, line, "");
        assert_eq!(bob.received(), format!("alice: {line}\r\n"));
    }
    for line in ["\\who", "\u{3001}WHO", "\u{a5} who", "\u{3001}ｗｈｏ"] {
        expect_answer(&mut rig, &alice, line, "* 2 here: alice, bob\r\n");
    }
    // Whoever may not give a command does not tell it to everybody either.
    let none = "* this server has no operators\r\n";
    for line in ["\\op sesame", "\u{3001}kick bob", "\\BAN bob"] {
        expect_answer(&mut rig, &alice, line, none);
    }
    assert_eq!(bob.received(), "");
}

#[test]
fn a_slash_of_another_shape_is_one_before_the_nick_as_well() {
    let mut rig = room();
    let first = "* commands come later: choose a nick first, or /quit\r\n";
    for slash in ["\u{ff0f}", "\u{2215}", "\u{3001}", "\\", "/ "] {
        let bob = rig.connect();
        bob.received();
        expect_answer(&mut rig, &bob, &format!("{slash}time"), first);
        expect_answer(&mut rig, &bob, &format!("{slash}quit"), "* goodbye\r\n");
        assert!(bob.has_ended());
    }
    // Where no command follows, it is the beginning of a nick.
    let bob = rig.join("\\o");
    assert!(bob.received().contains("* welcome, \\o. "));
}

#[test]
fn to_a_script_no_slash_is_a_command() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    let script = rig.connect_plainly();
    script.say("script");
    rig.settle();
    alice.received();
    for line in ["\u{ff0f}op sesame", "\\quit", "\u{3001}who", "/ who"] {
        expect_answer(&mut rig, &script, line, "");
        assert_eq!(alice.received(), format!("script: {line}\r\n"));
    }
}

#[test]
fn nothing_is_suggested_that_the_person_cannot_use() {
    let ops = TempFile::new("suggestions", "secret");
    let none = |name: &str| format!("* there is no /{name}; /help lists what there is\r\n");
    let meant = |name: &str, nearest: &str| {
        format!("* there is no /{name}; did you mean /{nearest}? /help lists what there is\r\n")
    };
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    for name in [
        "silence", "o", "opp", "kcik", "bann", "umnute", "anounce", "kill",
    ] {
        expect_answer(&mut rig, &alice, &format!("/{name}"), &none(name));
    }
    let mut rig =
        room_with(|config| config.interactive.ops_password_file = Some(ops.path().into()));
    let [alice, bob] = people(&mut rig, ["alice", "bob"]);
    expect_answer(&mut rig, &alice, "/opp", &meant("opp", "op"));
    expect_answer(&mut rig, &alice, "/kcik", &none("kcik"));
    alice.say("/op secret");
    rig.settle();
    alice.received();
    for (name, nearest) in [
        ("silence", "mute"),
        ("kcik", "kick"),
        ("bann", "ban"),
        ("umnute", "unmute"),
        ("anounce", "announce"),
    ] {
        expect_answer(&mut rig, &alice, &format!("/{name}"), &meant(name, nearest));
    }
    // Who is muted can say nothing by whatever command.
    expect_answer(&mut rig, &bob, "/mgs", &meant("mgs", "msg"));
    alice.say("/mute bob");
    rig.settle();
    bob.received();
    for name in ["mgs", "nikc", "repyl"] {
        expect_answer(&mut rig, &bob, &format!("/{name}"), &none(name));
    }
    expect_answer(&mut rig, &bob, "/hlep", &meant("hlep", "help"));
}

/// However little a command sends back, it may be as much work as a long line.
#[test]
fn a_turn_obeys_a_bounded_number_of_commands() {
    let mut rig = room();
    let [alice] = people(&mut rig, ["alice"]);
    alice.send("/ignore\n".repeat(1000));
    rig.turn();
    assert_eq!(alice.received().lines().count(), 8);
    rig.settle();
    assert_eq!(alice.received().lines().count(), 992);
}

#[test]
fn a_turn_obeys_a_bounded_number_of_commands_of_all_together() {
    let mut rig = room();
    let names: [String; 20] = std::array::from_fn(|n| format!("person{n}"));
    let people = people(&mut rig, names.each_ref().map(String::as_str));
    for person in &people {
        person.received();
        person.send("/ignore\n".repeat(8));
    }
    let answered = || {
        people
            .iter()
            .map(|it| it.received().lines().count())
            .sum::<usize>()
    };
    for expected in [64, 64, 32, 0] {
        rig.turn();
        assert_eq!(answered(), expected);
    }
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
