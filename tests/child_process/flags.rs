//! The flags of the binary at their ends: what is no value is a usage error that names the flag, and
//! with the smallest and the largest values people can still chat.

use std::process::Stdio;

use crate::support::child::{Server, command};

/// Flags that take no 0.
const POSITIVE: [&str; 5] = [
    "--max-line",
    "--max-nick",
    "--max-pending",
    "--burst",
    "--max-clients",
];

/// Flags that are off at 0.
const OFF_AT_0: [&str; 7] = [
    "--max-pending-total",
    "--stall-timeout",
    "--rate",
    "--max-clients-per-ip",
    "--connect-rate",
    "--login-timeout",
    "--idle-timeout",
];

/// Expects that clap refuses a flag's value, with a text that names both.
#[track_caller]
fn expect_refusal(flag: &str, value: &str) {
    let output = command(&[flag, value]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let begin = format!("error: invalid value '{value}' for '{flag} <");
    assert!(text.starts_with(&begin), "{text}");
    assert!(
        text.contains("For more information, try '--help'."),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn no_flag_takes_what_is_no_number_of_its_kind() {
    for flag in POSITIVE.iter().chain(&OFF_AT_0) {
        for value in ["-1", "NaN", "", "x", "99999999999999999999999"] {
            expect_refusal(flag, value);
        }
    }
}

#[test]
fn no_flag_takes_a_0_that_would_let_nothing_through() {
    for flag in POSITIVE {
        expect_refusal(flag, "0");
    }
}

#[test]
fn no_flag_takes_more_or_less_than_it_can_keep_to() {
    for flag in ["--stall-timeout", "--login-timeout", "--idle-timeout"] {
        for value in ["1000000000.1", "1e10", "inf", "-0.1"] {
            expect_refusal(flag, value);
        }
    }
    for value in ["0.0009", "1000000.1", "inf", "-0.1"] {
        expect_refusal("--rate", value);
        expect_refusal("--connect-rate", value);
    }
    expect_refusal("--burst", "4294967296");
    for flag in [
        "--max-line",
        "--max-pending",
        "--max-clients",
        "--max-clients-per-ip",
    ] {
        expect_refusal(flag, "18446744073709551616");
        expect_refusal(flag, "1.5");
    }
    expect_refusal("--lag", "sometimes");
}

#[test]
fn a_queue_that_holds_no_line_is_a_usage_error() {
    // 3 bytes for each of a line, a nick, what stands between them, and the line end.
    let least = 3 * 4096 + 4 * 32 + 2 + 2;
    let output = command(&["--max-pending", &(least - 1).to_string()]).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let advice = format!("--max-pending is smaller than the longest line: make it {least} or more");
    assert!(text.contains(&advice), "{text}");
    assert_eq!(output.status.code(), Some(2));
    expect_chat(&["--max-pending", &least.to_string()]);
}

#[test]
fn a_value_of_a_variable_is_refused_like_that_of_a_flag() {
    for flag in POSITIVE.iter().chain(&OFF_AT_0) {
        let name = flag.trim_start_matches('-').replace('-', "_");
        let mut command = command(&[]);
        command.env(format!("LINE_CHAT_{}", name.to_uppercase()), "-1");
        let output = command.stdout(Stdio::piped()).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(&format!("'-1' for '{flag} <")), "{text}");
        assert_eq!(output.status.code(), Some(2));
    }
}

/// Two with the shortest of nicks say the shortest of lines to each other, and ask for telnet's answers.
#[track_caller]
fn expect_chat(args: &[&str]) {
    let server = Server::start(&[args, &["-q"]].concat());
    let [mut a, mut b] = ["a", "b"].map(|nick| server.join(nick));
    for _ in 0..3 {
        a.say("x");
        b.expect("a: x");
        b.say("y");
        a.expect("b: y");
    }
    b.send(b"\xff\xfd\x06\xff\xfd\x01");
    b.say("z");
    a.expect("b: z");
    a.leave();
    drop(b);
    let remains = server.stop();
    assert!(remains.status.success(), "{args:?}: {}", remains.log);
}

#[test]
fn with_every_limit_off_people_can_chat() {
    expect_chat(&OFF_AT_0.map(|flag| [flag, "0"]).concat());
}

#[test]
fn with_every_limit_at_1_people_can_chat() {
    // What has to hold a line has no 1 to offer.
    let at_1 = [
        "--max-line",
        "--max-nick",
        "--burst",
        "--max-clients-per-ip",
    ];
    let mut args = at_1.map(|flag| [flag, "1"]).concat();
    args.extend([
        "--rate",
        "1000",
        "--connect-rate",
        "1",
        "--max-clients",
        "2",
        "--max-pending-total",
        "1",
    ]);
    for lag in ["skip", "disconnect", "wait"] {
        expect_chat(&[&args[..], &["--lag", lag]].concat());
    }
}

#[test]
fn with_every_limit_at_its_maximum_people_can_chat() {
    let most = usize::MAX.to_string();
    let mut args = Vec::new();
    for flag in [
        "--max-line",
        "--max-nick",
        "--max-pending",
        "--max-pending-total",
        "--max-clients-per-ip",
        "--max-clients",
    ] {
        args.extend([flag, &most]);
    }
    for flag in ["--stall-timeout", "--login-timeout", "--idle-timeout"] {
        args.extend([flag, "1000000000"]);
    }
    args.extend(["--rate", "1000000", "--burst", "4294967295"]);
    args.extend(["--connect-rate", "1000000"]);
    for lag in ["skip", "disconnect", "wait"] {
        expect_chat(&[&args[..], &["--lag", lag]].concat());
    }
    expect_chat(&["--rate", "0.001", "--burst", "4294967295"]);
}
