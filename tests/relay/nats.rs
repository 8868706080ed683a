//! The engine: nats-server as a child process, and a client of it that is no server of ours.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::await_until;
use crate::support::DEADLINE;
use crate::support::port::ReservedPort;
use crate::support::temp_file::TempFolder;

/// A nats-server with JetStream on a port and with a store of its own, which both outlive its process.
pub(crate) struct Nats {
    port: ReservedPort,
    folder: TempFolder,
    process: Option<Child>,
}

impl Nats {
    /// One that nobody else uses.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// One with further lines in its configuration.
    pub(crate) fn start_with(more: &str) -> Self {
        let mut nats = Self::stopped_with(more);
        nats.run();
        nats
    }

    /// One that does not run yet.
    pub(crate) fn stopped() -> Self {
        Self::stopped_with("")
    }

    fn stopped_with(more: &str) -> Self {
        Self::configured(|store| format!("jetstream {{ store_dir: \"{store}\" }}\n{more}"))
    }

    /// One without JetStream.
    pub(crate) fn start_bare(more: &str) -> Self {
        let mut nats = Self::configured(|_| more.to_owned());
        nats.run();
        nats
    }

    /// One that takes leaf nodes at this port, from who has the password.
    pub(crate) fn start_hub(port: u16) -> Self {
        let mut nats = Self::configured(|store| {
            format!(
                "jetstream {{ domain: hub, store_dir: \"{store}\" }}\nleafnodes {{ \
                 listen: \"127.0.0.1:{port}\", authorization {{ user: chat, password: pw }} }}"
            )
        });
        nats.run();
        nats
    }

    /// One that does not run yet, and has this in its configuration. It may keep a store there.
    fn configured(more: impl FnOnce(&str) -> String) -> Self {
        let (port, folder) = (ReservedPort::new(), TempFolder::new("nats"));
        let config = format!(
            "host: 127.0.0.1\nport: {}\nserver_name: n{}\n{}\n",
            port.number(),
            port.number(),
            more(&folder.path_of("store")),
        );
        fs::write(folder.path_of("conf"), config).expect("a file of ours");
        Self {
            port,
            folder,
            process: None,
        }
    }

    /// The one that all tests share which do it no harm. It ends with the last of them.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Nats>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(nats) = shared.upgrade() {
            return nats;
        }
        let nats = Arc::new(Self::start());
        *shared = Arc::downgrade(&nats);
        nats
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number()).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.addr())
    }

    /// Starts it, and waits until it greets.
    #[track_caller]
    pub(crate) fn run(&mut self) {
        self.spawn();
        let addr = self.addr();
        await_until("nats-server greets", || greeting(addr).is_some());
    }

    /// Starts it.
    pub(crate) fn spawn(&mut self) {
        let log = self.folder.path_of("log");
        let mut command = Command::new("nats-server");
        command.args(["-c", &self.folder.path_of("conf"), "-l", &log]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(command.spawn().expect("nats-server is there"));
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it is our child");
            process.wait().expect("it is our child");
        }
    }

    /// Ends it, and its store with it.
    pub(crate) fn kill_with_its_disk(&mut self) {
        self.kill();
        fs::remove_dir_all(self.folder.path_of("store")).expect("a folder of ours");
    }

    /// It does nothing from now on, and its connections stand.
    pub(crate) fn halt(&self) {
        self.signal(Signal::STOP);
        let process = self.process.as_ref().expect("it runs");
        await_until("it stands still", || are_all_stopped(process.id()));
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Has it tell its clients to go elsewhere.
    #[expect(dead_code, reason = "the case is being written")]
    pub(crate) fn begin_lame_duck_mode(&self) {
        self.signal(Signal::USR2);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).expect("it runs");
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path_of("log")).unwrap_or_default();
            let from = log.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
            println!("nats-server's log:\n{}", &log[from..]);
        }
    }
}

/// Whether every thread of a process was stopped by a signal (proc(5)).
pub(crate) fn are_all_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is the only field that may hold blanks.
        let state = stat
            .rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('T'));
        state == Some(true)
    })
}

/// The INFO with which it greets, if it is there.
fn greeting(addr: SocketAddr) -> Option<String> {
    let stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let mut info = String::new();
    BufReader::new(stream).read_line(&mut info).ok()?;
    info.starts_with("INFO ").then_some(info)
}

/// Three nats-servers that keep each stream three times.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Nats>,
}

impl Cluster {
    /// `route` is told where a server is that has this number; it returns where others reach it: the number of
    /// the one that connects comes second.
    pub(crate) fn start(route: impl Fn(usize, usize, SocketAddr) -> SocketAddr) -> Self {
        let routes: Vec<ReservedPort> = (0..3).map(|_| ReservedPort::new()).collect();
        let addr = |n: usize| SocketAddr::from(([127, 0, 0, 1], routes[n].number()));
        let more = |n: usize| {
            let others = (0..3).filter(|&other| other != n);
            let others = others.map(|it| format!("\"nats-route://{}\"", route(it, n, addr(it))));
            let others: Vec<String> = others.collect();
            format!(
                "cluster {{ name: c, listen: \"{}\", advertise: \"{}\", no_advertise: true, \
                 routes: [{}] }}",
                addr(n),
                route(n, 3, addr(n)),
                others.join(", ")
            )
        };
        let mut servers: Vec<Nats> = (0..3).map(|n| Nats::stopped_with(&more(n))).collect();
        servers.iter_mut().for_each(Nats::run);
        // They have to elect a leader before they take a stream.
        await_until("the cluster has a leader", || {
            let mut client = RawClient::connect(servers[0].addr());
            let answer = client.try_request("$JS.API.INFO", "");
            answer.is_some_and(|answer| !answer.contains("\"error\""))
        });
        Self { servers }
    }

    /// Which server leads the stream of this room.
    pub(crate) fn leader(&self, by: usize, room: &str) -> Option<usize> {
        let mut client = RawClient::connect(self.servers[by].addr());
        let info = client.try_request(&format!("$JS.API.STREAM.INFO.LC_{room}"), "")?;
        let (_, leader) = info.split_once("\"leader\":\"n")?;
        let port: u16 = leader.split('"').next()?.parse().ok()?;
        self.servers.iter().position(|it| it.port.number() == port)
    }
}

/// A client of the engine that says what a test wants: what is published, and what is asked of JetStream.
pub(crate) struct RawClient {
    stream: BufReader<TcpStream>,
    last_request: u32,
}

impl RawClient {
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the engine listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let mut client = Self {
            stream: BufReader::new(stream),
            last_request: 0,
        };
        assert!(client.line().is_some_and(|line| line.starts_with("INFO ")));
        let connect = "{\"verbose\":false,\"headers\":true,\"no_responders\":true}";
        client.send(format!("CONNECT {connect}\r\nSUB _INBOX.raw.* 1\r\n").as_bytes());
        client.fence();
        client
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        self.stream
            .get_mut()
            .write_all(bytes)
            .expect("the engine reads");
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let n = self.stream.read_line(&mut line).ok()?;
        (n > 0).then(|| line.trim_end().to_owned())
    }

    /// Waits until all was handled that was sent.
    #[track_caller]
    pub(crate) fn fence(&mut self) {
        self.send(b"PING\r\n");
        while self.line().expect("a PONG within the deadline") != "PONG" {}
    }

    /// Publishes these bytes.
    #[track_caller]
    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) {
        let head = format!("PUB {subject} {}\r\n", payload.len());
        self.send(&[head.as_bytes(), payload, b"\r\n"].concat());
    }

    /// Publishes a batch of one line to the log of a room.
    #[track_caller]
    pub(crate) fn say(&mut self, room: &str, batch: &str) {
        self.publish(&format!("lc.{room}.in"), batch.as_bytes());
    }

    /// Asks JetStream something that is to succeed.
    #[track_caller]
    pub(crate) fn request(&mut self, subject: &str, body: &str) -> String {
        let answer = self.try_request(subject, body).expect("an answer");
        assert!(!answer.contains("\"error\""), "{subject}: {answer}");
        answer
    }

    /// `None` if nobody is there who could answer, or nothing comes in a second.
    pub(crate) fn try_request(&mut self, subject: &str, body: &str) -> Option<String> {
        self.last_request += 1;
        let reply = format!("_INBOX.raw.{}", self.last_request);
        let head = format!("PUB {subject} {reply} {}\r\n", body.len());
        self.send(&[head.as_bytes(), body.as_bytes(), b"\r\n"].concat());
        let stream = self.stream.get_ref();
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .expect("a deadline");
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["PING"] => self.send(b"PONG\r\n"),
                ["MSG", subject, _, bytes] => {
                    let payload = self.payload(bytes);
                    if subject == reply {
                        return Some(String::from_utf8_lossy(&payload).into_owned());
                    }
                }
                // A status, or an entry of a log.
                ["HMSG", subject, _, head, bytes] => {
                    let head: usize = head.parse().expect("a length");
                    let payload = self.payload(bytes).split_off(head);
                    if subject == reply {
                        let text = String::from_utf8_lossy(&payload).into_owned();
                        return Some(text).filter(|it| !it.is_empty());
                    }
                }
                _ => {}
            }
        }
    }

    fn payload(&mut self, bytes: &str) -> Vec<u8> {
        let bytes: usize = bytes.parse().expect("a length");
        let mut payload = vec![0; bytes + 2];
        self.stream.read_exact(&mut payload).expect("a payload");
        payload.truncate(bytes);
        payload
    }

    /// The batch in an entry of the log of a room.
    #[track_caller]
    pub(crate) fn entry(&mut self, room: &str, sequence: u64) -> String {
        let subject = format!("$JS.API.DIRECT.GET.LC_{room}");
        let entry = self.try_request(&subject, &format!("{{\"seq\":{sequence}}}"));
        entry.expect("an entry")
    }

    /// A number in what JetStream tells of the log of a room.
    #[track_caller]
    pub(crate) fn figure(&mut self, room: &str, name: &str) -> u64 {
        let info = self.request(&format!("$JS.API.STREAM.INFO.LC_{room}"), "");
        let (_, behind) = info
            .split_once(&format!("\"{name}\":"))
            .expect("it is told");
        let digits = behind
            .trim_start()
            .split(|c: char| !c.is_ascii_digit())
            .next();
        digits.and_then(|it| it.parse().ok()).expect("a number")
    }
}
