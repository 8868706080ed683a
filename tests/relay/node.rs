//! A server of several: in this process, or in one of its own where it has to be stopped and killed.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use line_chat::{Config, Event, Handle, Observer, RelayConfig, Server};
use rustix::process::{Pid, Signal, kill_process};

use crate::nats::are_all_stopped;
use crate::talker::Talker;
use crate::{await_until, deadline, times};

/// The password of operators.
pub(crate) const OPS_PASSWORD: &str = "sesame";

/// What a server has seen of its engine and of the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(crate) fn entries(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn add(&self, entry: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(entry);
    }
}

impl Observer for Journal {
    fn on_event(&mut self, _: Instant, event: Event<'_>) {
        match event {
            Event::RelayChanged { state } => self.add(format!("{state:?}")),
            Event::EngineOpen { .. } => self.add("open".to_owned()),
            Event::EngineLeaves => self.add("leaves".to_owned()),
            Event::EngineLost { reason, error, .. } => {
                let why = error.map_or_else(|| reason.to_string(), str::to_owned);
                self.add(format!("lost: {why}"));
            }
            Event::EngineForbids { words } => {
                self.add(format!("forbids: {}", String::from_utf8_lossy(words)));
            }
            _ => {}
        }
    }
}

/// How a server is that shares this room, through the engine at this URL.
fn config(url: &str, room: &str) -> Config {
    let mut relay = RelayConfig::new(url.parse().expect("a URL"), room.parse().expect("a name"));
    relay.times = times();
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        relay: Some(relay),
        ..Config::default()
    };
    config.interactive.enabled = true;
    config.interactive.ops_password = Some(OPS_PASSWORD.parse().expect("a password"));
    let plain = "127.0.0.1:0".parse().expect("an address");
    config.listen_plain = vec![plain];
    config
}

/// A server on a thread. Dropped, it is shut down, and must have come to a good end.
pub(crate) struct Node {
    /// For people, and for scripts.
    addrs: Vec<SocketAddr>,
    pub(crate) journal: Journal,
    handle: Handle,
    ended: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts one, and waits until it hears the others.
    #[track_caller]
    pub(crate) fn start(url: &str, room: &str) -> Self {
        let node = Self::start_with(url, room, |_| {});
        node.await_state("Up", 1);
        node
    }

    /// Starts one with another configuration.
    #[track_caller]
    pub(crate) fn start_with(url: &str, room: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(url, room);
        configure(&mut config);
        let journal = Journal::default();
        let server = Server::bind_with(config, Vec::new(), journal.clone());
        let mut server = server.expect("the server binds");
        let (addrs, handle) = (server.local_addrs(), server.handle());
        let (tell, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let result = server.run();
            drop(server);
            // The test may have ended before the server.
            let _ = tell.send(result);
        });
        Self {
            addrs,
            journal,
            handle,
            ended,
            thread: Some(thread),
        }
    }

    /// A person.
    #[track_caller]
    pub(crate) fn join(&self, nick: &str) -> Talker {
        Talker::join(self.addrs[0], nick)
    }

    /// A person that has not said who it is.
    #[track_caller]
    pub(crate) fn connect(&self) -> Talker {
        Talker::connect(self.addrs[0])
    }

    /// A script.
    #[track_caller]
    pub(crate) fn join_plainly(&self, nick: &str) -> Talker {
        Talker::join_plainly(self.addrs[1], nick)
    }

    /// Waits until it has come to this state so many times.
    #[track_caller]
    pub(crate) fn await_state(&self, state: &str, times: usize) {
        let start = Instant::now();
        while self
            .journal
            .entries()
            .iter()
            .filter(|it| *it == state)
            .count()
            < times
        {
            let entries = self.journal.entries();
            assert!(
                start.elapsed() < deadline(),
                "no {state} ({times}): {entries:?}"
            );
            thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Waits until its journal has an entry with this in it.
    #[track_caller]
    pub(crate) fn await_entry(&self, part: &str) {
        let has_it = || self.journal.entries().iter().any(|it| it.contains(part));
        await_until(part, has_it);
    }

    /// The members that it knows, wherever they are.
    pub(crate) fn members(&self) -> Vec<String> {
        self.handle.members().expect("it runs")
    }

    /// Waits until it knows that these are the members.
    #[track_caller]
    pub(crate) fn await_members(&self, members: &[&str]) {
        await_until(&format!("members {members:?}"), || {
            self.members() == members
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("a node's journal: {:?}", self.journal.entries());
            return;
        }
        // The second request spares the wait for clients that are still connected.
        self.handle.shut_down();
        self.handle.shut_down();
        let result = self.ended.recv_timeout(deadline());
        result
            .expect("the server ends, and does not panic")
            .expect("the server can poll");
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic");
        }
    }
}

/// What tells a process that it is to be a server, and which one.
const URL: &str = "RELAY_TEST_URL";
const ROOM: &str = "RELAY_TEST_ROOM";

/// A server in a process of its own.
pub(crate) struct ChildNode {
    process: Child,
    addr: SocketAddr,
}

impl ChildNode {
    #[track_caller]
    pub(crate) fn start(url: &str, room: &str) -> Self {
        let program = env::current_exe().expect("a test");
        let mut command = Command::new(program);
        command.args(["--exact", "node::serves_if_it_is_told_to", "--nocapture"]);
        command.env(URL, url).env(ROOM, room);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = command.spawn().expect("this program");
        let stderr = process.stderr.take().expect("it is a pipe");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let addr = lines.find_map(|line| line.strip_prefix("serves at ")?.parse().ok());
        thread::spawn(move || lines.for_each(drop));
        let addr = addr.expect("it says where it serves");
        Self { process, addr }
    }

    #[track_caller]
    pub(crate) fn join(&self, nick: &str) -> Talker {
        Talker::join(self.addr, nick)
    }

    /// It does nothing from now on, and its connections stand.
    pub(crate) fn halt(&self) {
        self.signal(Signal::STOP);
        await_until("it stands still", || are_all_stopped(self.process.id()));
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it without a word.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it is our child");
        self.process.wait().expect("it is our child");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// No test: what a process does that [`ChildNode`] has started.
#[test]
fn serves_if_it_is_told_to() {
    let (Ok(url), Ok(room)) = (env::var(URL), env::var(ROOM)) else {
        return;
    };
    let server = Server::bind_with(config(&url, &room), Vec::new(), Journal::default());
    let mut server = server.expect("the server binds");
    eprintln!("\nserves at {}", server.local_addrs()[0]);
    server.run().expect("the server can poll");
}
