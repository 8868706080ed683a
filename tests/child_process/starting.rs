//! How the server starts on systems that lack something, and where it listens.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::support::YES;
use crate::support::child::{Client, Server, alone, bare, command, command_after, run};
use crate::support::port::ReservedPort;
use crate::support::strace::command_with_faults;
use crate::support::temp_file::TempFile;
use crate::{FULL, GOODBYE, flood_line};

/// Bob joins at one listener and is heard at the other.
#[track_caller]
fn expect_one_room(addrs: [SocketAddr; 2]) {
    let [mut alice, mut bob] = addrs.map(Client::connect);
    alice.enter("alice");
    bob.enter("bob");
    bob.say("hello");
    alice.expect("bob: hello");
    bob.leave();
    alice.leave();
}

/// What a server warns of that is told to listen there, and serves.
#[track_caller]
fn warnings_of(command: &mut Command) -> Vec<String> {
    let server = Server::spawn(command);
    expect_one_room([server.addr; 2]);
    warnings(&server.stop().log)
}

fn warnings(log: &str) -> Vec<String> {
    let of_line = |line: &str| Some(line.split_once(" WARN ")?.1.trim().to_owned());
    // A room on all addresses without a password or TLS is warned of as well, which is not what is looked for.
    let is_open_room = |line: &&str| {
        line.contains(" everybody who reaches ") || line.contains(" can be read on its way")
    };
    log.lines()
        .filter(|it| !is_open_room(it))
        .filter_map(of_line)
        .collect()
}

/// Whether a test that needs `::1` is to be skipped.
fn lacks_ipv6() -> bool {
    let lacks = TcpListener::bind("[::1]:0").is_err();
    if lacks {
        // Not by eprintln, which a test that passes keeps to itself.
        let _ = writeln!(io::stderr(), "skipped: this machine has no IPv6");
    }
    lacks
}

// Where it listens.

#[test]
fn a_port_alone_is_that_port_on_both_addresses_of_this_machine_ipv4_first() {
    if lacks_ipv6() {
        return;
    }
    for addr in ["0", ":0"] {
        let server = Server::spawn(&mut command(&[addr]));
        let addrs = [server.addr, server.announced()];
        let ips = addrs.map(|addr| addr.ip().to_string());
        assert_eq!(ips, ["127.0.0.1", "::1"]);
        assert_eq!(addrs[0].port(), addrs[1].port());
        expect_one_room(addrs);
        let remains = server.stop();
        assert_eq!((&*remains.stdout, warnings(&remains.log)), ("", vec![]));
    }
}

#[test]
fn all_ipv6_addresses_serve_ipv4_too() {
    if lacks_ipv6() {
        return;
    }
    let server = Server::spawn(&mut command(&["[::]:0"]));
    let port = server.addr.port();
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    expect_one_room([v4, v6]);
    let log = server.stop().log;
    // An IPv4 peer is one in the log as well.
    assert!(log.contains("alice joined from 127.0.0.1:"), "{log}");
}

#[test]
fn all_ipv6_addresses_leave_ipv4_to_a_listener_with_that_port() {
    if lacks_ipv6() {
        return;
    }
    let ip = Ipv4Addr::new(127, 0, 7, 1);
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let args = [format!("[::]:{port}"), format!("{ip}:{port}")];
    let server = Server::spawn(&mut command(&[&args[0], &args[1]]));
    let v4 = server.announced();
    assert_eq!(v4, SocketAddr::from((ip, port)));
    expect_one_room([v4, SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port))]);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}

#[test]
fn an_address_of_one_interface_can_be_listened_on() {
    let Some((ip, interface)) = link_local() else {
        let _ = writeln!(io::stderr(), "skipped: there is no link-local address");
        return;
    };
    let server = Server::spawn(&mut command(&[&format!("[{ip}%{interface}]:0")]));
    expect_one_room([server.addr; 2]);
    for (addr, why) in [
        (
            format!("[{ip}%nowhere]:0"),
            "there is no interface nowhere: No such device (os error 19); ip link lists them",
        ),
        (
            format!("[{ip}]:0"),
            &*format!(
                "a link-local address belongs to an interface; name it, for example [{ip}%eth0]:0"
            ),
        ),
    ] {
        let remains = run(&mut command(&[&addr]));
        assert_eq!(
            remains.log,
            format!("line-chat: cannot listen on {addr}: {why}\n")
        );
        assert_eq!(remains.status.code(), Some(1));
    }
}

/// A link-local address of this machine and its interface, as the kernel lists them.
fn link_local() -> Option<(std::net::Ipv6Addr, String)> {
    let list = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    list.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let ip = u128::from_str_radix(words.next()?, 16).ok()?;
        let ip = std::net::Ipv6Addr::from_bits(ip);
        let interface = words.last()?.to_owned();
        ip.is_unicast_link_local().then_some((ip, interface))
    })
}

#[test]
fn an_address_that_is_given_twice_is_one_line_that_says_so() {
    for (args, line) in [
        (
            &["127.0.0.1:7", "127.0.0.1:7"][..],
            "127.0.0.1:7 is given twice: give it once",
        ),
        (
            &["--plain", "127.0.0.1:7", "--", "7"],
            "127.0.0.1:7 is given twice, as 7 and as plain:127.0.0.1:7: give it once",
        ),
        (
            &["0.0.0.0:7", "http:127.0.0.1:7"],
            "0.0.0.0:7 includes 127.0.0.1:7: give only one of them",
        ),
        (
            &["[::1]:7", "[::]:7"],
            "[::]:7 includes [::1]:7: give only one of them",
        ),
    ] {
        let remains = run(&mut command(args));
        assert_eq!(remains.log, format!("line-chat: {line}\n"));
        assert_eq!(remains.status.code(), Some(1));
    }
}

#[test]
fn somebody_elses_port_on_one_address_of_this_machine_is_an_error() {
    if lacks_ipv6() {
        return;
    }
    for ip in ["127.0.0.1", "[::1]"] {
        let owner = TcpListener::bind(format!("{ip}:0")).expect("a free port");
        let port = owner.local_addr().expect("it is bound").port();
        let remains = run(&mut command(&[&port.to_string()]));
        let begin = format!("line-chat: cannot listen on {ip}:{port}: address already in use; ");
        assert!(remains.log.starts_with(&begin), "{}", remains.log);
        assert_eq!(remains.log.lines().count(), 1, "{}", remains.log);
    }
}

// What the system does not have.

#[test]
fn without_ipv6_it_serves_ipv4_and_warns_of_an_address_that_was_asked_for() {
    for (fault, why) in [
        (
            "socket:error=EAFNOSUPPORT:when=2",
            "this machine has no such addresses; choose one of the other IP version",
        ),
        (
            "bind:error=EADDRNOTAVAIL:when=2",
            "no interface of this machine has that address; \
             choose one that it has, or 0.0.0.0 or [::] for all",
        ),
    ] {
        let faults = [fault.to_owned()];
        let Some(mut by_default) = command_with_faults(&faults, &["0"]) else {
            return;
        };
        assert_eq!(warnings_of(&mut by_default), [""; 0], "{fault}");
        let mut asked =
            command_with_faults(&faults, &["127.0.0.1:0", "[::1]:0"]).expect("it is there");
        let expected = format!("line_chat::server] cannot listen on [::1]:0: {why}");
        assert_eq!(warnings_of(&mut asked), [expected]);
    }
}

#[test]
fn without_ipv6_all_addresses_are_those_of_ipv4() {
    let faults = ["socket:error=EAFNOSUPPORT:when=2".to_owned()];
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let addrs = [format!("0.0.0.0:{port}"), format!("[::]:{port}")];
    let Some(mut command) = command_with_faults(&faults, &[&addrs[0], &addrs[1]]) else {
        return;
    };
    let warnings = warnings_of(&mut command);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains(&addrs[1]), "{warnings:?}");
}

#[test]
fn without_any_address_it_does_not_come_up() {
    let faults = ["socket:error=EAFNOSUPPORT:when=1+".to_owned()];
    for args in [&["0"][..], &["127.0.0.1:0", "[::1]:0"]] {
        let Some(mut command) = command_with_faults(&faults, args) else {
            return;
        };
        let remains = run(&mut command);
        assert!(
            remains
                .log
                .starts_with("line-chat: cannot listen on 127.0.0.1:0: "),
            "{}",
            remains.log
        );
        assert_eq!(remains.log.lines().count(), 1, "{}", remains.log);
        assert_eq!(remains.status.code(), Some(1));
    }
}

/// Every option of a listener's socket, in the order in which they are set. The first is for IPv6
/// alone.
const OPTIONS: [&str; 9] = [
    "IPV6_V6ONLY",
    "SO_REUSEADDR",
    "TCP_NODELAY",
    "SO_OOBINLINE",
    "TCP_NOTSENT_LOWAT",
    "SO_KEEPALIVE",
    "TCP_KEEPIDLE",
    "TCP_KEEPINTVL",
    "TCP_KEEPCNT",
];

/// The options that a server names which serves without them.
#[track_caller]
fn lacking(when: &str, args: &[&str]) -> Option<Vec<String>> {
    let fault = format!("setsockopt:error=ENOPROTOOPT:when={when}");
    let warnings = warnings_of(&mut command_with_faults(&[fault], args)?);
    let option = |line: &String| {
        let text = line.strip_prefix("line_chat::server] this system has no ");
        let option =
            text.and_then(|text| text.split_once(" (Protocol not available (os error 92)): "));
        option.unwrap_or_else(|| panic!("{line}")).0.to_owned()
    };
    Some(warnings.iter().map(option).collect())
}

#[test]
fn an_option_that_the_system_does_not_have_is_named_and_it_serves() {
    for (n, option) in OPTIONS[1..].iter().enumerate() {
        let when = (n + 1).to_string();
        match lacking(&when, &["127.0.0.1:0"]) {
            Some(options) => assert_eq!(options, [*option]),
            None => return,
        }
    }
    // All of them at once, each named once for two listeners; and there are no others.
    let v4 = ["127.0.0.1:0", "127.0.0.1:0"];
    assert_eq!(lacking("1+", &v4).expect("it is there"), &OPTIONS[1..]);
    let beyond = (OPTIONS.len()).to_string();
    assert_eq!(lacking(&beyond, &v4[..1]).expect("it is there"), [""; 0]);
}

#[test]
fn a_listener_that_cannot_leave_ipv4_alone_is_left_out_where_it_would_be_in_the_way() {
    if lacks_ipv6() {
        return;
    }
    let ip = Ipv4Addr::new(127, 0, 7, 3);
    let reserved = ReservedPort::new();
    let port = reserved.number();
    // The first listener has all options but the first.
    let when = OPTIONS.len();
    let fault = [format!("setsockopt:error=ENOPROTOOPT:when={when}")];
    let args = [format!("{ip}:{port}"), format!("[::]:{port}")];
    let Some(mut command) = command_with_faults(&fault, &[&args[0], &args[1]]) else {
        return;
    };
    let warnings = warnings_of(&mut command);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains(&args[1]), "{warnings:?}");
    assert!(warnings[1].contains(OPTIONS[0]), "{warnings:?}");
    // By itself it serves.
    if let Some(options) = lacking("1", &["[::]:0"]) {
        assert_eq!(options, [OPTIONS[0]]);
    }
}

// Signals.

/// The binary in a session of its own, so that it has no terminal.
fn without_terminal(args: &[&str]) -> Command {
    let mut command = bare("setsid");
    command.arg(env!("CARGO_BIN_EXE_line-chat")).args(args);
    command
}

#[test]
fn a_signal_that_is_ignored_at_the_start_stays_ignored() {
    let secret = TempFile::new("ignored", "secret\n");
    let args = ["--password-file", secret.path(), "127.0.0.1:0"];
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("TERM", Signal::TERM),
    ] {
        let setup = format!("trap '' {name}");
        let server = Server::spawn(&mut command_after(&setup, &args));
        server.signal(signal);
        // What it hears comes first, so whatever it did would be in the log before the report.
        server.signal(Signal::USR1);
        let lines = std::iter::from_fn(|| Some(server.log_line()));
        let lines: Vec<String> = lines
            .take_while(|line| !line.contains("] clients "))
            .collect();
        let heeded = |line: &String| line.contains("read again") || line.contains("shutting down");
        assert!(!lines.iter().any(heeded), "{name}: {lines:?}");
        server.connect().expect("* password?");
        let other = if signal == Signal::TERM {
            Signal::INT
        } else {
            Signal::TERM
        };
        server.signal(other);
        assert_eq!(server.wait().status.code(), Some(0), "{name}");
    }
}

#[test]
fn a_hang_up_with_nothing_to_read_again_says_so() {
    let fifo = Fifo::new("nothing");
    let fed = fifo.feed("secret\n");
    for args in [
        &["--interactive", "127.0.0.1:0"][..],
        // A FIFO can be read once.
        &["--password-file", fifo.path(), "127.0.0.1:0"],
    ] {
        let server = Server::spawn(&mut without_terminal(args));
        server.signal(Signal::HUP);
        while !server
            .log_line()
            .contains("there is no file to read again at SIGHUP")
        {}
        server.connect().line().expect("it serves");
        assert_eq!(server.stop().status.code(), Some(0));
    }
    fed.join().expect("it was read");
}

#[test]
fn a_terminal_that_hangs_up_ends_a_server_with_its_goodbyes() {
    let _alone = alone();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let window = openpt(flags).expect("a terminal");
    unlockpt(&window).expect("it is ours");
    let terminal = ioctl_tiocgptpeer(&window, flags).expect("its other end");
    let mut command = bare("setsid");
    command.arg("--ctty").arg(env!("CARGO_BIN_EXE_line-chat"));
    command.arg("127.0.0.1:0").stdin(terminal);
    let server = Server::spawn(&mut command);
    drop(command);
    let mut alice = server.join("alice");
    drop(window);
    alice.expect(GOODBYE);
    alice.expect_end();
    drop(alice);
    let remains = server.wait();
    assert_eq!(remains.status.code(), Some(0), "{}", remains.log);
}

// Standard output.

#[test]
fn a_full_standard_output_does_not_hold_the_start_up() {
    let (_reader, mut writer) = io::pipe().expect("a pipe");
    let flags = OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&writer, flags).expect("our end of it");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, OFlags::empty()).expect("our end of it");
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut command = command(&["127.0.0.1:0"]);
    let mut server = Server::spawn_unannounced(command.stdout(writer), nowhere);
    // The log says what standard output does not take.
    let line = loop {
        let line = server.log_line();
        if line.contains(" WARN ") {
            break line;
        }
    };
    let (_, addr) = line
        .split_once("standard output takes nothing: server running on ")
        .unwrap_or_else(|| panic!("{line}"));
    server.addr = addr.trim().parse().expect("an address");
    expect_one_room([server.addr; 2]);
    assert_eq!(server.stop().status.code(), Some(0));
}

// Files with passwords.

/// A FIFO that is gone when it is dropped.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let name = format!("line-chat-{}-{name}-fifo", std::process::id());
        let fifo = Self(env::temp_dir().join(name));
        let made = Command::new("mkfifo")
            .arg("--mode=600")
            .arg(&fifo.0)
            .status();
        assert!(made.expect("mkfifo(1)").success());
        fifo
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    /// Somebody writes this to it when it is read, and closes it.
    fn feed(&self, text: &'static str) -> thread::JoinHandle<()> {
        let path = self.0.clone();
        thread::spawn(move || fs::write(path, text).expect("it is ours"))
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs a command that must end with one line, which is returned.
#[track_caller]
fn failure(command: &mut Command) -> String {
    let remains = run(command);
    assert_eq!(remains.status.code(), Some(1), "{}", remains.log);
    assert_eq!(
        (&*remains.stdout, remains.log.lines().count()),
        ("", 1),
        "{}",
        remains.log
    );
    remains.log
}

#[test]
fn two_files_with_the_same_password_are_an_error_at_the_start_and_change_nothing_later() {
    let room = TempFile::new("same-room", "open sesame\n");
    let ops = TempFile::new("same-ops", "  open sesame\r\nanother line\n");
    let args = [
        "--interactive",
        "--password-file",
        room.path(),
        "--ops-password-file",
        ops.path(),
        "127.0.0.1:0",
    ];
    let log = failure(&mut command(&args));
    for part in [room.path(), ops.path(), "are the same", "choose two"] {
        assert!(log.contains(part), "{log}");
    }
    ops.write("another\n");
    let server = Server::spawn(&mut command(&args));
    room.write("another\n");
    server.signal(Signal::HUP);
    while !server
        .log_line()
        .contains("nothing was read again: the password of the room")
    {}
    let mut alice = server.connect();
    alice.send(b"open sesame\r\nalice\r\n");
    while !alice
        .line_as_sent()
        .expect("a welcome")
        .starts_with(b"* welcome, alice")
    {}
}

#[test]
fn a_fifo_is_read_at_the_start_and_never_again() {
    let motd = TempFile::new("beside-a-fifo", "old\n");
    let fifo = Fifo::new("once");
    let fed = fifo.feed("secret\n");
    let args = [
        "--interactive",
        "--motd",
        motd.path(),
        "--password-file",
        fifo.path(),
    ];
    let server = Server::start(&args);
    fed.join().expect("it was read");
    motd.write("new\n");
    // It would wait for somebody who writes.
    server.signal(Signal::HUP);
    while !server.log_line().contains("the files were read again") {}
    let mut alice = server.connect();
    alice.expect("* new");
    alice.send(b"wrong\r\nsecret\r\nalice\r\n");
    while !alice
        .line_as_sent()
        .expect("a welcome")
        .starts_with(b"* welcome, alice")
    {}
}

#[test]
fn what_a_shell_hands_over_as_a_file_is_read_to_its_end() {
    let script =
        "exec \"$0\" --password-file <(printf 'open '; sleep 0.2; printf 'sesame\\n') 127.0.0.1:0";
    let mut shell = bare("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_line-chat")]);
    let server = Server::spawn(&mut shell);
    let mut script = server.connect();
    script.expect("* password?");
    script.send(b"open sesame\r\n");
    script.enter("script");
    assert_eq!(warnings(&server.stop().log), [""; 0]);
}

#[test]
fn a_fifo_is_waited_for_at_most_five_seconds() {
    let fifo = Fifo::new("silent");
    let held = Fifo::new("held");
    // Somebody writes to it and does not close it.
    let holder = fs::OpenOptions::new().read(true).write(true).open(&held.0);
    let mut holder = holder.expect("it is ours");
    holder.write_all(b"secret\n").expect("there is room");
    thread::scope(|scope| {
        for fifo in [&fifo, &held] {
            scope.spawn(|| {
                let args = ["--password-file", fifo.path(), "127.0.0.1:0"];
                let log = failure(&mut command(&args));
                let why = "it is a FIFO and was not written to its end within 5 s";
                let expected = format!("line-chat: cannot use {}: {why}\n", fifo.path());
                assert_eq!(log, expected);
            });
        }
    });
}

#[test]
fn a_file_that_others_may_write_is_warned_of() {
    let secret = TempFile::new("writable", "secret\n");
    let path = secret.path();
    let writable =
        format!("line_chat::server] {path} can be written by others than its owner: chmod go-w it");
    let readable =
        format!("line_chat::server] {path} can be read by everybody on this machine: chmod o-r it");
    for (mode, expected) in [
        (0o600, vec![]),
        (0o640, vec![]),
        (0o620, vec![&writable]),
        (0o602, vec![&writable]),
        (0o604, vec![&readable]),
        (0o666, vec![&readable, &writable]),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
        let server = Server::start(&["--password-file", path]);
        assert_eq!(
            warnings(&server.stop().log).iter().collect::<Vec<_>>(),
            expected,
            "{mode:o}"
        );
    }
}

#[test]
fn a_folder_that_is_closed_to_others_protects_the_file_in_it() {
    let folder = env::temp_dir().join(format!("line-chat-{}-closed", std::process::id()));
    let inner = folder.join("inner");
    fs::create_dir_all(&inner).expect("a temporary folder");
    let path = inner.join("secret");
    fs::write(&path, "secret\n").expect("a temporary file");
    // Containers are handed links to such files.
    let link = env::temp_dir().join(format!("line-chat-{}-link", std::process::id()));
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let set = |path: &PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    set(&inner, 0o755);
    let mut found = Vec::new();
    for (of_folder, of_file) in [
        (0o755, 0o666),
        (0o700, 0o666),
        (0o750, 0o604),
        (0o750, 0o660),
    ] {
        set(&folder, of_folder);
        set(&path, of_file);
        let server = Server::start(&["--password-file", link.to_str().expect("UTF-8")]);
        found.push(warnings(&server.stop().log).len());
    }
    fs::remove_file(&link).expect("it is ours");
    fs::remove_dir_all(&folder).expect("it is ours");
    // Its group can enter the last one.
    assert_eq!(found, [2, 0, 0, 1]);
}

#[test]
fn a_password_file_named_by_an_empty_variable_is_an_error() {
    for name in ["LINE_CHAT_PASSWORD_FILE", "LINE_CHAT_OPS_PASSWORD_FILE"] {
        for value in ["", " "] {
            let mut command = command(&["--interactive", "127.0.0.1:0"]);
            let remains = run(command.env(name, value));
            let text = "no file is named; name one, or unset the variable to have no password";
            assert!(remains.log.contains(text), "{}", remains.log);
            assert_eq!((&*remains.stdout, remains.status.code()), ("", Some(2)));
        }
    }
    // A flag wins over its variable, and other variables may be empty.
    let secret = TempFile::new("beside-a-variable", "secret\n");
    let mut command = command(&["--password-file", secret.path(), "127.0.0.1:0"]);
    command
        .env("LINE_CHAT_PASSWORD_FILE", "")
        .env("LINE_CHAT_MOTD", "");
    Server::spawn(&mut command).connect().expect("* password?");
}

#[test]
fn the_colours_of_a_greeting_are_left_out_with_one_warning() {
    let motd = TempFile::new(
        "colours",
        "\x1b[1;31mwelcome\x1b[0m\n\x1b]0;title\x07to the \x1b[4mroom\n",
    );
    let server = Server::start(&["--interactive", "--motd", motd.path()]);
    let mut alice = server.connect();
    alice.expect("* welcome");
    alice.expect("* to the room");
    let warning = format!(
        "line_chat::server] {} holds escape sequences (colours), which are left out",
        motd.path()
    );
    assert_eq!(warnings(&server.stop().log), [warning]);
}

// Listeners for scripts.

/// A server with alice at a prompt, and the address of its listener for scripts with these attributes.
#[track_caller]
fn alice_and_scripts(attributes: &str, args: &[&str]) -> (Server, Client, SocketAddr) {
    let plain = format!("127.0.0.1:0,{attributes}");
    let server = Server::start(&[&["--interactive", "--plain", &plain], args].concat());
    let scripts = server.announced();
    let mut alice = server.connect();
    alice.send(b"alice\r\n");
    while alice.line_as_sent().expect("a welcome") != WELCOME {}
    (server, alice, scripts)
}

const WELCOME: &[u8] = b"* welcome, alice. /help lists the commands. nobody else is here yet\r\n";

/// A script that says its nick and nothing else, as `echo NICK | ncat` does.
#[track_caller]
fn half_closed(addr: SocketAddr, nick: &str) -> Client {
    let mut script = Client::connect(addr);
    script.send(format!("{nick}\n").as_bytes());
    script.hang_up();
    script
}

#[test]
fn a_half_closed_member_goes_on_listening_where_it_may() {
    let (server, mut alice, scripts) = alice_and_scripts("eof=listen", &[]);
    let mut logger = half_closed(scripts, "logger");
    alice.expect("* logger joined");
    for n in 0..100 {
        alice.say(&format!("line {n}"));
        logger.expect(&format!("alice: line {n}"));
    }
    // Its nick is taken as long as it listens.
    let mut other = Client::connect(scripts);
    other.say("logger");
    let refusal = other.line().expect("a refusal");
    assert!(refusal.contains("is taken"), "{refusal}");
    server.signal(Signal::TERM);
    logger.expect(GOODBYE);
    logger.expect_end();
}

#[test]
fn a_half_closed_member_leaves_where_nothing_else_was_asked_for() {
    for attributes in ["eof=leave", "eol=lf"] {
        let (_server, mut alice, scripts) = alice_and_scripts(attributes, &[]);
        let mut logger = half_closed(scripts, "logger");
        alice.expect("* logger joined");
        alice.expect("* logger left");
        logger.expect_end();
    }
}

#[test]
fn who_hangs_up_before_it_is_a_member_does_not_go_on() {
    let (_server, _alice, scripts) = alice_and_scripts("eof=listen", &[]);
    for begin in ["", "half a ni", "*\n"] {
        let mut nobody = Client::connect(scripts);
        nobody.send(begin.as_bytes());
        nobody.hang_up();
        while nobody.line().is_some() {}
    }
}

#[test]
fn a_half_closed_member_that_is_gone_is_noticed_although_nothing_is_said() {
    let (_server, mut alice, scripts) = alice_and_scripts("eof=listen", &[]);
    let logger = half_closed(scripts, "logger");
    alice.expect("* logger joined");
    logger.reset();
    alice.expect("* logger left");
    // And when something is said: the system answers that nobody is there any more.
    let logger = half_closed(scripts, "logger");
    alice.expect("* logger joined");
    drop(logger);
    alice.say("anybody here?");
    alice.say("you, logger?");
    alice.expect("* logger left");
}

#[test]
fn a_half_closed_member_costs_no_turns() {
    let _alone = alone();
    let (server, mut alice, scripts) = alice_and_scripts("eof=listen", &[]);
    let mut logger = half_closed(scripts, "logger");
    alice.expect("* logger joined");
    alice.say("hello");
    logger.expect("alice: hello");
    let (cpu, sleeps) = (server.cpu_time(), server.sleeps());
    thread::sleep(Duration::from_secs(1));
    let cpu = server.cpu_time() - cpu;
    assert!(cpu <= Duration::from_millis(50), "it spins: {cpu:?}");
    assert!(server.sleeps() - sleeps <= 20, "it wakes up all the time");
}

#[test]
fn a_log_is_written_by_a_pipe_of_the_shell() {
    if Command::new("ncat").arg("--version").output().is_err() {
        let _ = writeln!(io::stderr(), "skipped: there is no ncat");
        return;
    }
    let (server, mut alice, scripts) = alice_and_scripts("eof=listen,eol=lf", &[]);
    let file = TempFile::new("of-ncat", "what was there\n");
    let line = format!(
        "echo logger | ncat 127.0.0.1 {} >> {}",
        scripts.port(),
        file.path()
    );
    let mut shell = bare("/bin/sh")
        .args(["-c", &line])
        .spawn()
        .expect("a shell");
    alice.expect("* logger joined");
    alice.say("one");
    alice.say("two");
    alice.send(b"\xff\xf6");
    alice.expect(YES);
    drop(alice);
    assert!(server.stop().status.success());
    assert!(shell.wait().expect("it is our child").success());
    let log = fs::read_to_string(file.path()).expect("it is ours");
    assert_eq!(
        log,
        format!("what was there\nalice: one\nalice: two\n{GOODBYE}\n")
    );
}

/// The next line as it was sent, as text.
#[track_caller]
fn sent(client: &mut Client) -> String {
    let line = client.line_as_sent().expect("a line");
    String::from_utf8(line).expect("UTF-8")
}

#[test]
fn all_that_a_client_receives_ends_with_lf_where_it_was_asked_for() {
    let secret = TempFile::new("lf", "secret\n");
    let args = [
        "--password-file",
        secret.path(),
        "--plain",
        "127.0.0.1:0,eol=lf",
    ];
    let server = Server::start(&args);
    let lf = server.announced();
    let mut bob = server.connect();
    bob.expect("* password?");
    bob.say("secret");
    bob.enter("bob");
    let mut script = Client::connect(lf);
    assert_eq!(sent(&mut script), "* password?\n");
    script.send(b"wrong\n");
    assert_eq!(sent(&mut script), "* wrong password, try again\n");
    script.send(b"secret\nbob\n");
    assert_eq!(
        sent(&mut script),
        "* nick \"bob\" is taken, choose another\n"
    );
    script.send(b"script\n\xff\xf6");
    assert_eq!(sent(&mut script), "* yes\n");
    // Lines of others around its own, in one batch or in several.
    for n in 0..50 {
        bob.send(format!("a{n}\r\nb{n}\r\n").as_bytes());
        script.send(format!("own {n}\n").as_bytes());
        bob.send(format!("c{n}\r\n").as_bytes());
        for line in ["a", "b", "c"] {
            assert_eq!(sent(&mut script), format!("bob: {line}{n}\n"));
        }
        assert_eq!(sent(&mut bob), format!("script: own {n}\r\n"));
    }
    script.send(&[&[b'x'; 5000][..], b"\n"].concat());
    let too_long = "* that line is longer than 4096 bytes and was not sent\n";
    assert_eq!(sent(&mut script), too_long);
    // A telnet answer is none of its lines.
    script.send(b"\xff\xfb\x0d\xff\xfb\x0a\xff\xf6");
    let answer = script.line_as_sent().expect("an answer");
    assert_eq!(answer, b"\xff\xfe\x0d\xff\xfd\0\xff\xfe\x0a");
    assert_eq!(sent(&mut script), "* yes\n");
    server.signal(Signal::TERM);
    assert_eq!(sent(&mut script), format!("{GOODBYE}\n"));
    assert_eq!(sent(&mut bob), format!("{GOODBYE}\r\n"));
}

#[test]
fn who_is_refused_is_told_so_with_lf_as_well() {
    let server = Server::start(&["--max-clients", "1", "--plain", "127.0.0.1:0,eol=lf"]);
    let lf = server.announced();
    let _alice = server.join("alice");
    assert_eq!(sent(&mut Client::connect(lf)), format!("{FULL}\n"));
    assert_eq!(sent(&mut server.connect()), format!("{FULL}\r\n"));
}

#[test]
fn a_reader_that_is_behind_is_told_with_lf_what_it_has_missed() {
    let args = ["--max-pending", "65536", "--plain", "127.0.0.1:0,eol=lf"];
    let server = Server::start(&args);
    let mut lf = Server::connect_with_small_buffer(server.announced());
    lf.send(b"script\n\xff\xf6");
    assert_eq!(sent(&mut lf), "* yes\n");
    let mut bob = server.join("bob");
    let said = 2000;
    for n in 0..said {
        bob.say(&flood_line(n));
    }
    bob.await_heard();
    let mut seen = 0;
    let skipped = loop {
        let line = sent(&mut lf);
        assert!(!line.contains('\r'), "{line:?}");
        match line
            .strip_prefix("* ")
            .and_then(|it| it.strip_suffix(" lines skipped\n"))
        {
            Some(skipped) => break skipped.parse::<usize>().expect("a number"),
            None => assert_eq!(line, format!("bob: {}\n", flood_line(seen))),
        }
        seen += 1;
    };
    assert_eq!(seen + skipped, said);
}
