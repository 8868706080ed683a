//! Two simulated machines with a cable between them: network namespaces and a veth pair
//! (network_namespaces(7), veth(4)). A test runs once more, in a process of its own that unshare(1) starts
//! as root of new namespaces. The server is in the first of them; a thread of the test is in the second,
//! and creates the sockets of clients there.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::DEADLINE;
use super::child::Lines;

/// Set in the process inside the namespaces.
const INSIDE: &str = "LINE_CHAT_INSIDE_NAMESPACE";

/// The server's end of the cable, and the client's.
const SERVER_END: &str = "server-end";
const CLIENT_END: &str = "client-end";
pub(crate) const SERVER_IP: &str = "10.99.0.1";
const CLIENT_IP: &str = "10.99.0.2";

/// Runs a test where it may set up networks of its own. Where that is not permitted, it says so on
/// standard error, and the test passes. With `LINE_CHAT_CLIENTS=all`, a missing program is a failure.
#[track_caller]
pub(crate) fn on_two_machines(test: impl FnOnce(&Cable)) {
    if env::var_os(INSIDE).is_some() {
        return test(&Cable::new());
    }
    if let Some(reason) = obstacle() {
        let thread = thread::current();
        let name = thread.name().unwrap_or_default();
        // Not eprintln, whose output is hidden if the test passes.
        let _ = writeln!(io::stderr(), "{name} skipped: {reason}");
        return;
    }
    let name = thread::current().name().map(str::to_owned);
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .arg(env::current_exe().expect("the test is a program"))
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .arg(name.expect("a test has a name"))
        .env(INSIDE, "1")
        .output();
    let output = output.expect("unshare was there before");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{stdout}{stderr}");
    let has_run = stdout.contains("test result: ok. 1 passed");
    assert!(output.status.success() && has_run, "it failed inside");
}

/// Returns the reason why tests cannot set up networks of their own, if there is one.
fn obstacle() -> Option<String> {
    let is_required = env::var_os("LINE_CHAT_CLIENTS").is_some_and(|tools| tools == "all");
    for (program, argument) in [("unshare", "--version"), ("ip", "-V")] {
        let tried = Command::new(program).arg(argument).output();
        if let Err(error) = tried {
            assert!(!is_required, "{program}: {error}");
            return Some(format!("{program}: {error}"));
        }
    }
    let tried = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--"])
        .args(["ip", "link", "add", SERVER_END, "type", "veth"])
        .output();
    let output = tried.expect("unshare is there");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then(|| format!("network namespaces: {}", stderr.trim()))
}

/// Runs a program, which must succeed.
#[track_caller]
fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {stderr}");
}

/// A function to run on the client's machine.
type Task = Box<dyn FnOnce() + Send>;

/// A cable from the server's machine to the client's.
pub(crate) struct Cable {
    there: Sender<Task>,
    /// The process that keeps the client's machine. It ends when its input ends.
    _machine: Child,
}

impl Cable {
    #[track_caller]
    fn new() -> Self {
        let mut machine = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo up; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare was there before");
        let output = Lines::of(machine.stdout.take().expect("it is a pipe"));
        assert_eq!(output.next().as_deref(), Some("up\n"));
        let pid = machine.id().to_string();
        let network = File::open(format!("/proc/{pid}/ns/net")).expect("it lives");
        let (there, tasks) = mpsc::channel::<Task>();
        thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).expect("it is root here");
            for task in tasks {
                task();
            }
        });
        run("ip", &["link", "set", "lo", "up"]);
        let peer = ["type", "veth", "peer", "name", CLIENT_END, "netns", &pid];
        run("ip", &[&["link", "add", SERVER_END][..], &peer].concat());
        let cable = Self {
            there,
            _machine: machine,
        };
        set_up(SERVER_END, SERVER_IP);
        cable.there(|| set_up(CLIENT_END, CLIENT_IP));
        cable
    }

    /// Runs a function on the client's machine.
    #[track_caller]
    fn there<T: Send + 'static>(&self, act: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, result): (_, Receiver<T>) = mpsc::channel();
        let task = move || {
            let _ = tell.send(act());
        };
        let sent = self.there.send(Box::new(task));
        sent.expect("the other machine is there");
        result.recv_timeout(DEADLINE).expect("it is done there")
    }

    /// Opens a connection from the client's machine.
    #[track_caller]
    pub(crate) fn connect(&self, to: SocketAddr) -> TcpStream {
        let connected = self.there(move || TcpStream::connect_timeout(&to, DEADLINE));
        connected.expect("the server listens")
    }

    /// Pulls the cable: nothing passes any more, and neither machine closes anything.
    #[track_caller]
    pub(crate) fn pull(&self) {
        self.there(|| run("ip", &["link", "set", CLIENT_END, "down"]));
    }

    /// The client's machine receives nothing any more, although the cable is connected: what is sent to
    /// it is lost.
    #[track_caller]
    pub(crate) fn lose(&self) {
        let addr = format!("{CLIENT_IP}/24");
        self.there(move || run("ip", &["addr", "del", &addr, "dev", CLIENT_END]));
    }

    #[track_caller]
    pub(crate) fn plug_in(&self) {
        self.there(|| run("ip", &["link", "set", CLIENT_END, "up"]));
    }
}

#[track_caller]
fn set_up(end: &str, ip: &str) {
    run("ip", &["addr", "add", &format!("{ip}/24"), "dev", end]);
    run("ip", &["link", "set", end, "up"]);
}
