//! HAProxy in front of a server, as the manual configures it: clients keep their addresses, and a server that
//! ends gets no more of them.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::support::child::{Client, Lines, Server, await_until, command};
use crate::support::port::ReservedPort;
use crate::support::temp_file::TempFile;
use crate::{installed, report_missing};

const MANUAL: &str = include_str!("../../src/manual/operating.md");

/// Where the clients of a test come from; HAProxy itself comes from 127.0.0.1.
const CLIENT: &str = "127.0.0.7";

struct HaProxy {
    process: Child,
    addr: SocketAddr,
    log: Lines,
    _config: TempFile,
    _port: ReservedPort,
}

impl HaProxy {
    /// In front of a server that answers HTTP at `http`, with the configuration of the manual. `None` where
    /// it is missing, which is said.
    #[track_caller]
    fn start(server: SocketAddr, http: SocketAddr, version: &str) -> Option<Self> {
        let Some(program) = installed(&["haproxy"]) else {
            report_missing("haproxy");
            return None;
        };
        let port = ReservedPort::new();
        let addr = SocketAddr::from(([127, 0, 0, 1], port.number()));
        let config = TempFile::new(version, &configuration(addr, server, http, version));
        let mut process = Command::new(program)
            .args(["-db", "-f", config.path()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let log = Lines::of(process.stderr.take().expect("it is a pipe"));
        Some(Self {
            process,
            addr,
            log,
            _config: config,
            _port: port,
        })
    }

    /// A client of the server.
    #[track_caller]
    fn connect(&self) -> Client {
        let mut connected = None;
        await_until("HAProxy listens", || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let from = SocketAddr::new(CLIENT.parse().expect("an address"), 0);
            socket.bind(&from.into()).expect("an address of loopback");
            let result = socket.connect(&self.addr.into());
            connected = result.is_ok().then_some(socket);
            connected.is_some()
        });
        Client::new(connected.expect("it was awaited").into())
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the manual says, with the addresses of a test and a check that does not let it wait.
fn configuration(own: SocketAddr, server: SocketAddr, http: SocketAddr, version: &str) -> String {
    let (_, config) = MANUAL
        .split_once("```text\nfrontend chat\n")
        .expect("it is there");
    let (config, _) = config.split_once("```").expect("it ends");
    let mut config = format!("frontend chat\n{config}");
    for (of_manual, of_test) in [
        ("192.0.2.1:6142", own.to_string()),
        ("10.0.0.2:6142", server.to_string()),
        (" send-proxy-v2 ", format!(" {version} ")),
        ("port 9180", format!("port {} inter 100ms", http.port())),
        // Without it, an answer has to come within the interval, which it does not on a busy machine.
        (
            "timeout connect 5s",
            "timeout connect 5s\n    timeout check 10s".to_owned(),
        ),
    ] {
        assert_eq!(
            config.matches(of_manual).count(),
            1,
            "{of_manual} in {config}"
        );
        config = config.replace(of_manual, &of_test);
    }
    config
}

#[test]
fn clients_keep_their_addresses_and_a_server_that_ends_gets_no_more_of_them() {
    let args = [
        "127.0.0.1:0",
        "proxy:127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ];
    for version in ["send-proxy", "send-proxy-v2"] {
        let server = Server::spawn(&mut command(&args));
        let (behind, http) = (server.announced(), server.announced());
        let Some(proxy) = HaProxy::start(behind, http, version) else {
            return;
        };
        let [mut alice, mut bob] = ["alice", "bob"].map(|nick| {
            let mut client = proxy.connect();
            client.enter(nick);
            client
        });
        alice.say("hello");
        bob.expect("alice: hello");
        // The shutdown waits a few seconds for a client that does not read.
        let _sleeper = server.join_with_small_buffer("sleeper");
        for _ in 0..100 {
            bob.say(&"x".repeat(4000));
        }
        bob.await_heard();
        server.signal(Signal::TERM);
        let down = proxy.log.next().expect("it lives");
        assert!(
            down.contains("Server chat/chat is DOWN, reason: Layer7 wrong status, code: 503"),
            "{down}"
        );
        server.signal(Signal::TERM);
        let log = server.wait().log;
        for nick in ["alice", "bob"] {
            let joined = format!("{nick} joined from {CLIENT}:");
            assert!(log.contains(&joined), "{joined}: {log}");
        }
        assert!(!log.contains("left without"), "{log}");
    }
}
