//! The command: what it prints and logs, which flags and variables it takes, and how it fails. The
//! built binary runs as a child, with real arguments, pipes and exit codes.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::support::child::{Client, Server, await_until, bare, command, command_after, run};
use crate::support::{ARE_YOU_THERE, YES};

/// Runs a command that is to fail with one line that names the thing, and nothing else.
#[track_caller]
fn expect_failure(command: &mut Command, line: &str) {
    let remains = run(command);
    assert_eq!(remains.log, format!("line-chat: {line}\n"));
    assert_eq!(remains.stdout, "");
    assert_eq!(remains.status.code(), Some(1));
}

/// Runs a command that clap is to refuse.
#[track_caller]
fn expect_usage_error(command: &mut Command, part: &str) {
    let remains = run(command);
    let log = remains.log;
    assert!(log.starts_with("error: "), "{log}");
    assert!(log.contains(part), "{log}");
    assert!(log.contains("For more information, try '--help'."), "{log}");
    assert_eq!(remains.stdout, "");
    assert_eq!(remains.status.code(), Some(2), "{log}");
}

/// A port that nobody has, on an address that only this test uses.
fn free_addr(host: u8) -> SocketAddr {
    let listener =
        TcpListener::bind(SocketAddr::from(([127, 0, 6, host], 0))).expect("a loopback address");
    listener.local_addr().expect("it is bound")
}

/// Bob joins, says a line and leaves, and alice hears it.
#[track_caller]
fn chat(server: &Server) {
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.say("hello");
    alice.expect("bob: hello");
    bob.leave();
    alice.leave();
}

// What it prints.

#[test]
fn each_listener_is_announced_with_its_real_port_while_the_server_runs() {
    let server = Server::start(&["127.0.0.1:0"]);
    let addrs = [server.addr, server.announced()];
    assert_ne!(addrs[0].port(), addrs[1].port());
    let [mut alice, mut bob] = addrs.map(Client::connect);
    alice.enter("alice");
    bob.enter("bob");
    bob.say("from the other listener");
    alice.expect("bob: from the other listener");
    assert_eq!(server.stop().stdout, "", "one line for each listener");
}

#[test]
fn ipv6_and_host_names_are_taken() {
    let server = Server::start(&["localhost:0"]);
    assert!(server.addr.ip().is_loopback());
    chat(&server);
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped in part: this machine has no IPv6");
        return;
    }
    let server = Server::spawn(&mut command(&["[::1]:0"]));
    assert_eq!(server.addr.ip().to_string(), "::1");
    chat(&server);
}

#[test]
fn a_closed_standard_output_is_no_reason_to_fail() {
    let addr = free_addr(1);
    let mut command = command_after("exec >&-", &[&addr.to_string()]);
    expect_service(Server::spawn_unannounced(&mut command, addr));
}

#[test]
fn a_standard_output_that_nobody_reads_is_no_reason_to_fail() {
    let addr = free_addr(2);
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let mut command = command(&[&addr.to_string()]);
    expect_service(Server::spawn_unannounced(command.stdout(writer), addr));
}

/// A server that cannot say where it is serves there all the same.
#[track_caller]
fn expect_service(server: Server) {
    await_until("the server listens", || {
        TcpStream::connect(server.addr).is_ok()
    });
    chat(&server);
    let remains = server.stop();
    assert!(remains.status.success(), "{}", remains.log);
    assert!(!remains.log.contains("WARN"), "{}", remains.log);
}

#[test]
fn help_shows_examples_and_fits_a_terminal() {
    let help = help();
    for part in [
        "line-chat 0.0.0.0:6142 [::]:6142",
        "telnet localhost 6142",
        "printf 'bot\\nhello\\n' | nc -N localhost 6142",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(help.lines().all(|line| line.len() <= 100), "{help}");
}

/// Each flag, its variable without `LINE_CHAT_`, and its default, in the order of help.
pub(crate) const FLAGS: [(&str, &str, &str); 39] = [
    ("[ADDR]...", "ADDR", "6142"),
    ("--prefix <TEMPLATE>", "PREFIX", "{nick}:"),
    ("--proxy-from <NETWORK>", "PROXY_FROM", "this machine"),
    ("--metrics <ADDR>", "METRICS", ""),
    ("--max-line <BYTES>", "MAX_LINE", "4096"),
    ("--max-nick <CHARS>", "MAX_NICK", "32"),
    ("--check <ADDR>", "", ""),
    ("--spin", "SPIN", ""),
    ("-v, --verbose...", "VERBOSE", ""),
    ("-q, --quiet...", "QUIET", ""),
    ("--transcript <FILE>", "TRANSCRIPT", ""),
    ("--state <FILE>", "STATE", ""),
    ("--log-format <FORMAT>", "LOG_FORMAT", "text"),
    ("--generate <FILE>", "", ""),
    ("--interactive", "INTERACTIVE", ""),
    ("--motd <FILE>", "MOTD", ""),
    (
        "--history <LINES>",
        "HISTORY",
        "20 with --interactive, else 0",
    ),
    (
        "--history-kept <LINES>",
        "HISTORY_KEPT",
        "500, and none with --history 0",
    ),
    ("--quiet-above <MEMBERS>", "QUIET_ABOVE", "1000"),
    ("--password-file <FILE>", "PASSWORD_FILE", ""),
    ("--ops-password-file <FILE>", "OPS_PASSWORD_FILE", ""),
    ("--plain <ADDR>", "PLAIN", ""),
    ("--tls-cert <FILE>", "TLS_CERT", ""),
    ("--tls-key <FILE>", "TLS_KEY", ""),
    ("--tls-client-ca <FILE>", "TLS_CLIENT_CA", ""),
    ("--relay <URL>", "RELAY", ""),
    ("--relay-room <NAME>", "RELAY_ROOM", ""),
    ("--relay-copies <COUNT>", "RELAY_COPIES", "1"),
    ("--max-pending <BYTES>", "MAX_PENDING", "1048576"),
    (
        "--max-pending-total <BYTES>",
        "MAX_PENDING_TOTAL",
        "268435456",
    ),
    ("--lag <MODE>", "LAG", "skip"),
    (
        "--stall-timeout <SECONDS>",
        "STALL_TIMEOUT",
        "300, with --lag wait 30",
    ),
    ("--rate <LINES_PER_S>", "RATE", "0"),
    ("--burst <LINES>", "BURST", "25"),
    (
        "--max-clients <CLIENTS>",
        "MAX_CLIENTS",
        "what the limit of open files (ulimit -n) allows beside what is open",
    ),
    ("--max-clients-per-ip <CLIENTS>", "MAX_CLIENTS_PER_IP", "64"),
    ("--connect-rate <CONNECTIONS_PER_S>", "CONNECT_RATE", "20"),
    (
        "--login-timeout <SECONDS>",
        "LOGIN_TIMEOUT",
        "30, for people 120",
    ),
    ("--idle-timeout <SECONDS>", "IDLE_TIMEOUT", "0"),
];

/// How a flag is written, its variable, and its default.
type Flag = (String, String, String);

#[test]
fn help_names_each_flag_with_its_variable_and_its_default() {
    let expected = FLAGS.map(|(flag, variable, default)| {
        let variable = match variable {
            "" => String::new(),
            name => format!("LINE_CHAT_{name}"),
        };
        (flag.to_owned(), variable, default.to_owned())
    });
    assert_eq!(flags_of_help(), expected);
}

#[test]
fn the_manual_names_each_flag_with_the_variable_and_the_default_of_help() {
    let page = include_str!("../../src/manual/operating.md");
    let (_, table) = page
        .split_once("\n| flag | variable | default |")
        .expect("a table of flags");
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let mut flags: Vec<Flag> = rows
        .map(|row| {
            let mut cells = row.split('|').skip(1).map(|cell| plain(cell.trim()));
            let mut cell = || cells.next().expect("a cell");
            (cell(), cell(), cell())
        })
        .collect();
    let mut expected = flags_of_help();
    flags.sort();
    expected.sort();
    assert_eq!(flags, expected);
}

fn help() -> String {
    let remains = run(&mut command(&["--help"]));
    assert!(remains.status.success());
    remains.stdout
}

/// Every flag that help names, in its order; those that only say something about the command aside.
fn flags_of_help() -> Vec<Flag> {
    let help = help();
    let mut flags: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if (1..8).contains(&indent) && text.starts_with(['-', '[']) {
            flags.push((text.to_owned(), String::new()));
        } else if indent == 0 && !text.is_empty() {
            flags.push((String::new(), String::new()));
        } else if let Some((_, about)) = flags.last_mut() {
            about.push_str(text);
            about.push(' ');
        }
    }
    let about_the_command = ["", "-h, --help", "-V, --version"];
    flags.retain(|(flag, _)| !about_the_command.contains(&&**flag));
    let named = |about: &str, key| plain(between(about, key, "]").trim_end_matches('='));
    flags
        .into_iter()
        .map(|(flag, about)| (flag, named(&about, "[env: "), named(&about, "[default: ")))
        .collect()
}

/// What stands between `begin` and the next `end`, or nothing.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let after = text.split_once(begin).map_or("", |(_, after)| after);
    after.split_once(end).map_or("", |(inside, _)| inside)
}

/// Text without the marks that say that it is to be read literally.
fn plain(text: &str) -> String {
    text.trim_matches(['`', '"']).trim().to_owned()
}

#[test]
fn version_is_that_of_the_crate() {
    let remains = run(&mut command(&["--version"]));
    assert!(remains.status.success());
    let version = concat!("line-chat ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((&*remains.stdout, &*remains.log), (version, ""));
}

// How it fails.

#[test]
fn usage_errors_are_claps_and_exit_with_2() {
    for (args, part) in [
        (&["--prefix", "no place"][..], "{nick}"),
        (&["--max-line", "0"], "--max-line"),
        (&["--max-pending", "0"], "--max-pending"),
        (&["--max-nick", "0"], "--max-nick"),
        (&["--max-line", "4x"], "give bytes, or a whole number"),
        (&["--max-pending", "12419"], "make it 12420 or more"),
        (&["[nowhere]:1"], "not an address with a port"),
        (
            &["localhost"],
            "the port is missing: write for example localhost:6142",
        ),
        (&["127.0.0.1:70000"], "\"70000\" is not a port"),
        (&["70000"], "\"70000\" is not a port"),
        (&["--plain", "[::1]:port"], "\"port\" is not a port"),
        (
            &["192.168.1.300:6142"],
            "\"192.168.1.300\" is not an IPv4 address",
        ),
        (&["::1:6142"], "an IPv6 address stands in brackets"),
        (&["-v", "-q"], "cannot be used with"),
        (&["--relay", "nats://127.0.0.1"], "--relay-room <NAME>"),
        (&["--relay-room", "lobby"], "--relay <URL>"),
        (
            &["--relay", "127.0.0.1", "--relay-room", "lobby"],
            "nats://",
        ),
        (&["--relay", "nats://h", "--relay-room", "The Lobby"], "a-z"),
        (
            &[
                "--relay",
                "nats://127.0.0.1",
                "--relay-room",
                "lobby",
                "--lag",
                "wait",
            ],
            "use skip or disconnect",
        ),
        (&["--unknown"], "--unknown"),
    ] {
        expect_usage_error(&mut command(args), part);
    }
}

#[test]
fn an_address_in_use_is_one_line_and_exit_1() {
    let owner = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = owner.local_addr().expect("it is bound").to_string();
    let line = format!(
        "cannot listen on {addr}: address already in use; \
         stop the server that has it or choose another port"
    );
    expect_failure(&mut command(&[&addr]), &line);
    // The first address of two works, and is neither announced nor logged.
    expect_failure(&mut command(&["127.0.0.1:0", &addr]), &line);
    expect_failure(&mut command(&["-vv", "127.0.0.1:0", &addr]), &line);
}

#[test]
fn a_host_that_does_not_resolve_is_one_line_and_exit_1() {
    let remains = run(&mut command(&["nohost.invalid:1"]));
    // What stands between is the resolver's.
    let begin = "line-chat: cannot resolve host \"nohost.invalid\": ";
    let end = "; check its spelling or give an IP address\n";
    let log = remains.log;
    assert!(log.starts_with(begin) && log.ends_with(end), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert_eq!(remains.status.code(), Some(1));
}

#[test]
fn an_address_of_no_interface_is_one_line_and_exit_1() {
    expect_failure(
        &mut command(&["192.0.2.1:0"]),
        "cannot listen on 192.0.2.1:0: no interface of this machine has that address; \
         choose one that it has, or 0.0.0.0 or [::] for all",
    );
}

#[test]
fn a_port_that_needs_root_is_one_line_and_exit_1() {
    let name = "a_port_that_needs_root_is_one_line_and_exit_1";
    let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first_free.is_ok_and(|port| port.trim() == "0") {
        eprintln!("{name}: skipped, no port needs root here");
        return;
    }
    let mut command = command(&["127.0.0.1:1"]);
    if TcpListener::bind("127.0.0.1:1").is_ok() {
        let Some(unprivileged) = without_privilege(&command) else {
            eprintln!("{name}: skipped, we may have any port, and there is no setpriv");
            return;
        };
        command = unprivileged;
    }
    expect_failure(
        &mut command,
        "cannot listen on 127.0.0.1:1: permission denied; ports below 1024 need root or \
         CAP_NET_BIND_SERVICE, so choose a higher one",
    );
}

/// The command without root's right to any port, if setpriv(1) is there to take it.
fn without_privilege(command: &Command) -> Option<Command> {
    let setpriv = || {
        let mut setpriv = bare("setpriv");
        setpriv.args(["--bounding-set", "-net_bind_service"]);
        setpriv.args(["--inh-caps", "-net_bind_service"]);
        setpriv
    };
    let works = setpriv().arg("true").status().ok()?.success();
    let mut wrapped = setpriv();
    wrapped.arg(command.get_program()).args(command.get_args());
    works.then_some(wrapped)
}

// Flags and variables.

#[test]
fn variables_stand_for_flags_and_addresses() {
    let mut command = command(&[]);
    command
        .env("LINE_CHAT_ADDR", "127.0.0.1:0 127.0.0.1:0")
        .env("LINE_CHAT_PREFIX", "[{nick}]: ")
        .env("LINE_CHAT_MAX_LINE", "5")
        .env("LINE_CHAT_MAX_NICK", "3")
        .env("LINE_CHAT_VERBOSE", "1");
    let server = Server::spawn(&mut command);
    assert_ne!(server.addr, server.announced());
    let mut alice = server.join("al");
    let mut bob = server.join("bob");
    bob.say("123456");
    bob.expect("* that line is longer than 5 bytes and was not sent");
    bob.say("12345");
    alice.expect("[bob]: 12345");
    let mut carol = server.connect();
    carol.say("carol");
    let refusal = carol.line().expect("an answer");
    assert!(refusal.contains("3 characters"), "{refusal}");
    let log = server.stop().log;
    assert!(log.contains("DEBUG") && log.contains("12345"), "{log}");
}

#[test]
fn variables_are_checked_like_flags() {
    for (name, value, part) in [
        (
            "LINE_CHAT_ADDR",
            "127.0.0.1:0 70000",
            "\"70000\" is not a port",
        ),
        ("LINE_CHAT_PREFIX", "no place", "{nick}"),
        ("LINE_CHAT_MAX_LINE", "0", "--max-line"),
        ("LINE_CHAT_MAX_PENDING", "1", "--max-pending"),
        ("LINE_CHAT_MAX_NICK", "x", "--max-nick"),
    ] {
        expect_usage_error(command(&[]).env(name, value), part);
    }
}

#[test]
fn a_variable_of_a_switch_says_yes_or_no_in_several_words() {
    for (words, is_on) in [
        (["true", "yes", "on", "1"], true),
        (["false", "no", "off", "0"], false),
    ] {
        for word in words {
            let mut command = command(&["127.0.0.1:0"]);
            let server = Server::spawn(command.env("LINE_CHAT_INTERACTIVE", word));
            let mut alice = server.connect();
            // The answer is the first line, unless there is a greeting.
            alice.send(ARE_YOU_THERE);
            let line = alice.line().expect("an answer");
            assert_eq!(line != YES, is_on, "{word}: {line}");
        }
    }
    expect_usage_error(command(&[]).env("LINE_CHAT_SPIN", "perhaps"), "perhaps");
}

#[test]
fn a_variable_that_is_not_known_is_warned_of() {
    let mut command = command(&["-q", "127.0.0.1:0"]);
    command
        .env("LINE_CHAT_MAX_LINES", "5")
        .env("LINE_CHAT_ROOM", "x")
        .env("LINE_CHAT_MOTD", "")
        .env("LINE_CHAT_SERVICE_HOST", "10.0.0.1")
        .env("LINE_CHAT_PORT", "tcp://10.0.0.1:6142");
    let log = Server::spawn(&mut command).stop().log;
    let texts = log.lines().filter_map(|line| line.split_once("server] "));
    let texts: Vec<&str> = texts.map(|(_, text)| text).collect();
    let expected = [
        "LINE_CHAT_MAX_LINES is not a variable of line-chat: did you mean LINE_CHAT_MAX_LINE?",
        "LINE_CHAT_ROOM is not a variable of line-chat: line-chat --help names them",
    ];
    assert_eq!(texts, expected, "{log}");
}

#[test]
fn a_flag_wins_over_its_variable() {
    let mut command = command(&["--prefix", "<{nick}> ", "--max-line", "6", "127.0.0.1:0"]);
    command
        .env("LINE_CHAT_ADDR", "192.0.2.1:0")
        .env("LINE_CHAT_PREFIX", "[{nick}]: ")
        .env("LINE_CHAT_MAX_LINE", "2");
    let server = Server::spawn(&mut command);
    let mut alice = server.join("alice");
    let mut bob = server.join("bob");
    bob.say("123456");
    alice.expect("<bob> 123456");
}

#[test]
fn a_flag_wins_over_the_variable_of_its_opposite() {
    for (flag, name, debug, info) in [
        ("-q", "LINE_CHAT_VERBOSE", false, false),
        ("-v", "LINE_CHAT_QUIET", true, true),
    ] {
        let mut command = command(&[flag, "127.0.0.1:0"]);
        let server = Server::spawn(command.env(name, "1"));
        chat(&server);
        let log = server.stop().log;
        assert_eq!(log.contains("DEBUG"), debug, "{flag}: {log}");
        assert_eq!(log.contains("INFO"), info, "{flag}: {log}");
    }
    let mut command = command(&[]);
    command
        .env("LINE_CHAT_VERBOSE", "1")
        .env("LINE_CHAT_QUIET", "1");
    expect_usage_error(&mut command, "cannot be used with");
}

// The log.

/// What is logged by `command` while people chat.
#[track_caller]
fn log_of_a_chat(command: &mut Command) -> String {
    let server = Server::spawn(command);
    chat(&server);
    server.stop().log
}

#[test]
fn coming_joining_and_going_with_its_reason_are_logged_at_info() {
    let server = Server::start(&[]);
    let alone = server.descriptors();
    server.join("bob").leave();
    server.join("carol").reset();
    server.connect().leave();
    await_until("all are gone", || server.descriptors() == alone);
    let mut nameless = server.connect();
    nameless.send(b"*\r\n*\r\n*\r\n");
    while nameless.line().is_some() {}
    let _alice = server.join("alice");
    let log = server.stop().log;
    for line in [
        "bob joined from 127.0.0.1:",
        "bob left: hung up (client 0 on 127.0.0.1:",
        "carol left: connection broken (client ",
        " left without a word: hung up (client ",
        " left without a nick: no acceptable nick (client ",
        "alice left: server is shutting down (client ",
    ] {
        assert!(log.contains(line), "{line:?} in {log}");
    }
    assert!(log.lines().all(|line| line.contains(" INFO ")), "{log}");
}

#[test]
fn lines_are_logged_with_v_only() {
    assert!(!log_of_a_chat(&mut command(&["127.0.0.1:0"])).contains("hello"));
    let log = log_of_a_chat(&mut command(&["-v", "127.0.0.1:0"]));
    let line = log.lines().find(|line| line.contains("hello"));
    assert!(
        line.is_some_and(|line| line.contains(" DEBUG ") && line.ends_with("] bob: hello")),
        "{log}"
    );
}

#[test]
fn q_leaves_warnings_only() {
    assert_eq!(log_of_a_chat(&mut command(&["-q", "127.0.0.1:0"])), "");
}

#[test]
fn rust_log_is_honoured_unless_a_flag_says_otherwise() {
    let log = log_of_a_chat(command(&["127.0.0.1:0"]).env("RUST_LOG", "line_chat=debug"));
    assert!(log.contains("bob: hello"), "{log}");
    let log = log_of_a_chat(command(&["127.0.0.1:0"]).env("RUST_LOG", "off"));
    assert_eq!(log, "");
    let log = log_of_a_chat(command(&["-q", "127.0.0.1:0"]).env("RUST_LOG", "debug"));
    assert_eq!(log, "");
}

#[test]
fn what_a_peer_sent_never_reaches_the_log_raw() {
    let server = Server::start(&["-vv"]);
    let mut alice = server.join("alice");
    let mut bob = server.connect();
    // A window title as a nick, as a nick after telnet's NUL, and as text, between C1 controls,
    // what is no UTF-8, and line ends of other scripts.
    bob.send(b"\x1b]0;owned\x07\r\n");
    bob.line().expect("a refusal");
    bob.send(b"x\0\x1b[31m\xc2\x9b\r\n");
    bob.line().expect("a refusal");
    bob.enter("bob");
    bob.send("\x1b]0;owned\x07 \u{9b}5n \u{2028}INFO forged \u{202e}\r\n".as_bytes());
    bob.send(b"\xff\xfa\x18\x1b[2J\xff\xf0\xff\xfd\x1b \xe2\x28 \x9b\r\n");
    alice.line().expect("the first line");
    alice.line().expect("the second line");
    bob.reset();
    alice.leave();
    let log = server.stop().log;
    assert!(log.contains("owned"), "the line is there: {log}");
    let raw =
        |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{2029}\u{202e}\u{feff}".contains(c));
    assert!(!log.contains(raw), "{log:?}");
}
