//! How the server starts on systems that lack something, and where it listens.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use crate::support::child::{Client, Server, command, run};
use crate::support::strace::command_with_faults;

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
    log.lines().filter_map(of_line).collect()
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

/// A port that nobody has by IPv4 on this address.
fn free_port(ip: Ipv4Addr) -> u16 {
    let listener = TcpListener::bind((ip, 0)).expect("a loopback address");
    listener.local_addr().expect("it is bound").port()
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
    let port = free_port(ip);
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
            "127.0.0.1:7 is given twice, as 7 and as 127.0.0.1:7: give it once",
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
    let port = free_port(Ipv4Addr::new(127, 0, 7, 2));
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
const OPTIONS: [&str; 10] = [
    "IPV6_V6ONLY",
    "SO_REUSEADDR",
    "TCP_NODELAY",
    "SO_OOBINLINE",
    "TCP_NOTSENT_LOWAT",
    "SO_KEEPALIVE",
    "TCP_KEEPIDLE",
    "TCP_KEEPINTVL",
    "TCP_KEEPCNT",
    "TCP_USER_TIMEOUT",
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
    let port = free_port(ip);
    let fault = ["setsockopt:error=ENOPROTOOPT:when=10".to_owned()];
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
