//! The binary as a child process: [`Server`] starts it on port 0, knows what it prints, logs and
//! costs, and kills it when dropped; [`Client`] is one end of a connection to it.
//!
//! Nothing here sleeps to let something settle. A helper reads until the expected bytes are there, or
//! asks again until a condition holds; [`DEADLINE`] is only for a server that hangs.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};

use super::rig::OFFER;
use super::{ARE_YOU_THERE, DEADLINE, YES, hello};

/// The binary with these arguments, and without the variables that the environment of the tests sets
/// for it.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = bare(env!("CARGO_BIN_EXE_line-chat"));
    command.args(args);
    command
}

/// The binary with these arguments, started by a shell after `setup`.
pub(crate) fn command_after(setup: &str, args: &[&str]) -> Command {
    let mut command = bare("/bin/sh");
    command
        .args(["-c", &format!("{setup}; exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_line-chat"))
        .args(args);
    command
}

/// A program without the variables that the environment of the tests sets for the binary.
pub(crate) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("LINE_CHAT_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A lock for tests that measure a process, load the machine or start terminals: only one of them runs at a
/// time. A test that only waits does without.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // A failed test has ended its server and its clients too.
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command that is to end by itself.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Remains {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    Server::spawn_unannounced(command.stdout(Stdio::piped()), nowhere).wait()
}

/// Raises the limit of descriptors of this process, and so of the servers that it starts, as far as the
/// system allows. Returns the limit.
pub(crate) fn raise_descriptor_limit() -> usize {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("up to the maximum is allowed");
    maximum.map_or(usize::MAX, |most| most.try_into().expect("64 bits"))
}

/// Asks until the condition holds.
#[track_caller]
pub(crate) fn await_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The server in a process of its own.
pub(crate) struct Server {
    process: Child,
    /// The address of the first listener that it announced.
    pub(crate) addr: SocketAddr,
    stdout: Option<Lines>,
    stderr: Lines,
}

/// What a server has left behind.
pub(crate) struct Remains {
    pub(crate) status: ExitStatus,
    /// What it printed after what was read while it ran.
    pub(crate) stdout: String,
    /// All of standard error.
    pub(crate) log: String,
}

impl Server {
    /// Starts it on a port of its own, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::spawn(&mut command(&[args, &["127.0.0.1:0"]].concat()))
    }

    /// Runs a command that becomes the server, and waits until it listens.
    #[track_caller]
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self::spawn_unannounced(command.stdout(Stdio::piped()), unknown);
        server.addr = server.announced();
        server
    }

    /// Runs a command that becomes a server on `addr` and may not be able to say so.
    #[track_caller]
    pub(crate) fn spawn_unannounced(command: &mut Command, addr: SocketAddr) -> Self {
        let mut process = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command exists");
        let stdout = process.stdout.take().map(Lines::of);
        let stderr = Lines::of(process.stderr.take().expect("it is a pipe"));
        Self {
            process,
            addr,
            stdout,
            stderr,
        }
    }

    /// The address in the next line that it prints.
    #[track_caller]
    pub(crate) fn announced(&self) -> SocketAddr {
        let addr = self.announced_if_any();
        addr.unwrap_or_else(|| panic!("it says nothing; {}", self.stderr.rest()))
    }

    /// The address in the next line that it prints, or `None` if it ends without a word.
    #[track_caller]
    pub(crate) fn announced_if_any(&self) -> Option<SocketAddr> {
        let line = self.stdout.as_ref().and_then(Lines::next)?;
        let addr = line
            .strip_prefix("server running on ")
            .and_then(|addr| addr.strip_suffix('\n'))
            .map(|addr| addr.split_once(" (").map_or(addr, |(addr, _)| addr))
            .map(|addr| addr.strip_prefix("proxy:").unwrap_or(addr))
            .and_then(|addr| addr.parse().ok());
        Some(addr.unwrap_or_else(|| panic!("not an address: {line:?}")))
    }

    /// The next line that it prints.
    #[track_caller]
    pub(crate) fn printed(&self) -> String {
        let line = self.stdout.as_ref().and_then(Lines::next);
        line.unwrap_or_else(|| panic!("it says nothing; {}", self.stderr.rest()))
    }

    /// A client without a nick.
    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// A member.
    #[track_caller]
    pub(crate) fn join(&self, nick: &str) -> Client {
        let mut client = self.connect();
        client.enter(nick);
        client
    }

    /// A member whose kernel takes at most some 64 KiB that it does not read.
    #[track_caller]
    pub(crate) fn join_with_small_buffer(&self, nick: &str) -> Client {
        let mut client = Self::connect_with_small_buffer(self.addr);
        client.enter(nick);
        client
    }

    /// A client without a nick whose kernel takes as little.
    #[track_caller]
    pub(crate) fn connect_with_small_buffer(addr: SocketAddr) -> Client {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None);
        let socket = socket.expect("a socket");
        // Before the connection is there, because the window is agreed on with it.
        socket
            .set_recv_buffer_size(32 << 10)
            .expect("a buffer size");
        socket.connect(&addr.into()).expect("the server listens");
        Client::new(socket.into())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server lives");
    }

    /// Whether it runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Remains {
        await_until("the server ends", || !self.is_alive());
        let status = self.process.wait().expect("it is our child");
        Remains {
            status,
            stdout: self.stdout.as_ref().map(Lines::rest).unwrap_or_default(),
            log: self.stderr.rest(),
        }
    }

    /// Ends it with SIGTERM.
    #[track_caller]
    pub(crate) fn stop(self) -> Remains {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// The next line of its log.
    #[track_caller]
    pub(crate) fn log_line(&self) -> String {
        self.stderr.next().expect("the server lives")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    // What it costs, as proc(5) tells it.

    pub(crate) fn threads(&self) -> usize {
        self.entries("task")
    }

    pub(crate) fn descriptors(&self) -> usize {
        self.entries("fd")
    }

    /// How many of its descriptors have a number below this limit. It may have inherited others.
    pub(crate) fn descriptors_below(&self, limit: usize) -> usize {
        let entries = fs::read_dir(self.proc("fd")).expect("the server lives");
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.filter(|&number: &usize| number < limit).count()
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:") << 10
    }

    /// Memory that it has allocated, in bytes: what it holds without the pages of its program, which the system
    /// reads in as they are needed (`RssAnon` in proc(5)).
    pub(crate) fn allocated_memory(&self) -> u64 {
        self.status("RssAnon:") << 10
    }

    /// The most memory that it has ever held, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:") << 10
    }

    /// How often it went to sleep.
    pub(crate) fn sleeps(&self) -> u64 {
        self.status("voluntary_ctxt_switches:")
    }

    /// Time that it has spent on a processor, its system calls included; in steps of 10 ms.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).expect("the server lives");
        // The name before the last parenthesis is the only field that may hold blanks.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u64>().expect("a number"));
        // USER_HZ, which is 100 wherever Linux runs.
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    fn status(&self, key: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("the server lives");
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {key} in {status}"))
    }

    fn entries(&self, name: &str) -> usize {
        let entries = fs::read_dir(self.proc(name)).expect("the server lives");
        entries.count()
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let status = self.process.wait();
        if thread::panicking() {
            // What a failed test has to say about the server's side of it.
            let log: String = self.stderr.0.try_iter().map(|line| text(&line)).collect();
            println!("the server ended with {status:?} and this log:\n{log}");
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// What a child writes to a pipe, read as it comes, so that the child never has to wait for us.
pub(crate) struct Lines(Receiver<Vec<u8>>);

impl Lines {
    pub(crate) fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let line = [line.expect("a pipe can be read"), b"\n".to_vec()].concat();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// The next line, or `None` if the child has closed its end.
    #[track_caller]
    pub(crate) fn next(&self) -> Option<String> {
        match self.0.recv_timeout(DEADLINE) {
            Ok(line) => Some(String::from_utf8(line).expect("UTF-8")),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("waited in vain for a line"),
        }
    }

    /// All that comes before the child closes its end.
    #[track_caller]
    pub(crate) fn rest(&self) -> String {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// One end of a connection to a server.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect(addr).expect("the server listens"))
    }

    /// Each [`send`](Self::send) becomes a segment of its own. With Nagle's algorithm, the second of two in
    /// a row waits 40 ms for an acknowledgment that the server's kernel delays.
    #[track_caller]
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("a deadline");
        Self(BufReader::new(stream))
    }

    /// Sends a nick and waits until it is accepted.
    #[track_caller]
    pub(crate) fn enter(&mut self, nick: &str) {
        self.send(&hello(nick));
        self.expect(YES);
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server reads");
    }

    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) {
        self.send(format!("{text}\r\n").as_bytes());
    }

    /// Waits until the server has handled everything that was sent before.
    #[track_caller]
    pub(crate) fn await_heard(&mut self) {
        self.send(ARE_YOU_THERE);
        self.expect(YES);
    }

    /// The next line, without its end and without the offer with which a greeting begins; `None` if the
    /// server has closed the connection.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Option<String> {
        let line = self.line_as_sent()?;
        let line = line.strip_prefix(OFFER).unwrap_or(&line).to_vec();
        let line = String::from_utf8(line).expect("UTF-8");
        let text = line.strip_suffix("\r\n").map(str::to_owned);
        Some(text.unwrap_or_else(|| panic!("a torn line: {line:?}")))
    }

    /// The next line with its end, and with the telnet commands before it.
    #[track_caller]
    pub(crate) fn line_as_sent(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let read = self.0.read_until(b'\n', &mut line);
        let bytes = read.expect("a line within the deadline");
        (bytes > 0).then_some(line)
    }

    /// The next line, or `None` if the server has closed the connection, be it with a RST.
    #[track_caller]
    pub(crate) fn line_or_reset(&mut self) -> Option<String> {
        match self.0.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            _ => self.line(),
        }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        assert_eq!(self.line().as_deref(), Some(line));
    }

    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.line(), None);
    }

    /// Sends FIN; what the server still sends can be read.
    pub(crate) fn hang_up(&self) {
        self.0
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("a connection");
    }

    /// Sends FIN and waits until the server has closed as well.
    #[track_caller]
    pub(crate) fn leave(mut self) {
        self.hang_up();
        self.expect_end();
    }

    /// Breaks the connection with a RST.
    pub(crate) fn reset(self) {
        SockRef::from(self.0.get_ref())
            .set_linger(Some(Duration::ZERO))
            .expect("a socket option");
    }
}
