//! A server under load: [`Server`] starts it, knows its CPU time, and stops it when dropped. A small room
//! runs on a thread; from [`MEMBERS_FOR_A_PROCESS`] on it gets a process, because otherwise both ends of
//! every connection would count against one limit of descriptors.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use line_chat::{Config, Status};
use rustix::thread::gettid;
use tokio::sync::oneshot;

use super::certificate::Certificate;
use super::cores;
use super::cpu::{CpuClock, own_time};
use super::dialect::Dialect;
use super::figures::milliseconds;
use super::floor::{self, Floor, Kind};
use super::launch;
use super::tokio_chat;
use super::transport::{Address, Transport};

/// See above.
pub(crate) const MEMBERS_FOR_A_PROCESS: usize = 1000;

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) dialect: Dialect,
    pub(crate) addr: Address,
    pub(crate) cpu: CpuClock,
    /// Where it listens for TLS beside that.
    pub(crate) tls_addr: Option<SocketAddr>,
    /// Its turns, if they are counted.
    pub(crate) turns: Arc<Turns>,
    end: End,
}

/// The CPU time of each turn of a server, in milliseconds, written down by its own thread at the end of
/// the turn.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<Vec<f64>>);

impl Turns {
    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Those from the turn `first` on.
    pub(crate) fn since(&self, first: usize) -> Vec<f64> {
        self.lock()[first..].to_vec()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<f64>> {
        self.0.lock().expect("no thread has failed")
    }
}

/// How it is stopped.
enum End {
    Thread(Option<Box<dyn FnOnce()>>, Option<JoinHandle<()>>),
    Process(Child),
}

impl Server {
    /// Line-chat on a transport, for that many members.
    pub(crate) fn start_on(transport: Transport, members: usize) -> Self {
        if members < MEMBERS_FOR_A_PROCESS {
            Self::ours(config(transport), || ())
        } else {
            Self::with(transport, &[])
        }
    }

    /// Where it listens for TCP.
    pub(crate) fn tcp_addr(&self) -> SocketAddr {
        match self.addr {
            Address::Tcp(addr) => addr,
            Address::Unix(_) | Address::Tls(_) => panic!("it listens for TCP"),
        }
    }

    /// One of ours, for that many members.
    pub(crate) fn start(dialect: Dialect, members: usize) -> Self {
        if members < MEMBERS_FOR_A_PROCESS {
            Self::on_a_thread(dialect)
        } else {
            Self::in_a_process(dialect)
        }
    }

    /// Runs ours as a thread of the bench that never sleeps.
    pub(crate) fn spinning() -> Self {
        let mut config = config(Transport::Tcp);
        config.spin = true;
        Self::ours(config, || ())
    }

    /// One of ours for people at a prompt, whose turns are counted. It can be reached at every address
    /// 127.x.x.x.
    pub(crate) fn for_people() -> Self {
        let mut config = config(Transport::Tls);
        let listen = ["0.0.0.0:0", "tls:0.0.0.0:0"].map(|addr| addr.parse().expect("an address"));
        config.listen = listen.into();
        config.interactive.enabled = true;
        let turns = Arc::new(Turns::default());
        let (counted, mut began) = (Arc::clone(&turns), Duration::ZERO);
        let mut server = Self::ours(config, move || {
            let ended = own_time();
            counted.lock().push(milliseconds(ended - began));
            began = ended;
        });
        server.turns = turns;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, server.tcp_addr().port()));
        server.addr = addr.into();
        server
    }

    /// Runs ours as a thread of the bench, with a call after each turn.
    fn ours(config: Config, mut after_turn: impl FnMut() + Send + 'static) -> Self {
        let mut server = line_chat::Server::bind(config).expect("a free port");
        let tls_addr = server.local_addrs().get(1).copied();
        let addr = server.listeners()[0].name();
        let (addr, handle) = (addr.parse().expect("an address"), server.handle());
        let stop = move || {
            // The second request saves the wait for clients that are still connected.
            handle.shut_down();
            handle.shut_down();
        };
        let run = move || {
            while server.turn(None)? == Status::Running {
                after_turn();
            }
            Ok(())
        };
        let mut server = Self::spawn(Dialect::LineChat, addr, stop, run);
        server.tls_addr = tls_addr;
        server
    }

    /// Runs as a thread of the bench.
    pub(crate) fn on_a_thread(dialect: Dialect) -> Self {
        match dialect {
            Dialect::LineChat => Self::ours(config(Transport::Tcp), || ()),
            Dialect::Floor => Self::floor(Kind::Copying),
            Dialect::Tokio(writes) => {
                let listener = floor::listen().expect("a free port");
                let addr = listener.local_addr().expect("bound");
                let (stop, stopped) = oneshot::channel();
                // It may have ended by itself, which is seen when it is joined.
                let stop = move || {
                    let _ = stop.send(());
                };
                let run = move || tokio_chat::run(listener, writes, stopped);
                Self::spawn(dialect, addr.into(), stop, run)
            }
            _ => panic!("{} runs as a process", dialect.name()),
        }
    }

    /// Runs a floor as a thread of the bench.
    pub(crate) fn floor(kind: Kind) -> Self {
        let mut floor = Floor::bind(kind).expect("a free port");
        let (addr, stopper) = (floor.local_addr().expect("bound"), floor.stopper());
        let stop = move || stopper.wake().expect("an eventfd");
        Self::spawn(Dialect::Floor, addr.into(), stop, move || floor.run())
    }

    fn spawn(
        dialect: Dialect,
        addr: Address,
        stop: impl FnOnce() + 'static,
        run: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    ) -> Self {
        let (tell, id) = mpsc::channel();
        // By its name perf(1) can tell it from the load.
        let thread = thread::Builder::new().name(dialect.name().to_owned());
        let thread = thread.spawn(move || {
            cores::pin_to_server_core();
            tell.send(gettid()).expect("the bench waits for it");
            run().expect("the server can poll");
        });
        Self {
            dialect,
            addr,
            cpu: CpuClock::of_thread(id.recv().expect("a thread")),
            tls_addr: None,
            turns: Arc::default(),
            end: End::Thread(Some(Box::new(stop)), thread.ok()),
        }
    }

    /// Line-chat as a process, on a transport and with these arguments.
    pub(crate) fn with(transport: Transport, args: &[&str]) -> Self {
        let mut command = launch::program(env!("CARGO_BIN_EXE_line-chat"));
        command.args(args).args(["-qq", &transport.listener()]);
        if let Some(certificate) = transport.certificate() {
            command.arg("--tls-cert").arg(&certificate.cert_file);
            command.arg("--tls-key").arg(&certificate.key_file);
        }
        Self::announced(Dialect::LineChat, &mut command)
    }

    /// Line-chat as a process on whatever core is free, with these arguments.
    pub(crate) fn anywhere(args: &[&str]) -> Self {
        let mut command = launch::anywhere(env!("CARGO_BIN_EXE_line-chat"));
        command.args(args).args(["-qq", "127.0.0.1:0"]);
        Self::announced(Dialect::LineChat, &mut command)
    }

    /// How much memory its process holds, and the most that it has held, in bytes (proc(5)). A server on
    /// a thread has none of its own.
    pub(crate) fn memory(&self) -> Option<(u64, u64)> {
        let End::Process(process) = &self.end else {
            return None;
        };
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
        let bytes = |name| {
            let kib = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(kib.split_whitespace().next()?.parse::<u64>().ok()? << 10)
        };
        Some((bytes("VmRSS:")?, bytes("VmHWM:")?))
    }

    /// Runs as a process, and says on its standard output where.
    pub(crate) fn in_a_process(dialect: Dialect) -> Self {
        if dialect == Dialect::LineChat {
            return Self::with(Transport::Tcp, &[]);
        }
        let mut command = match dialect {
            Dialect::Floor => launch::floor(),
            Dialect::Tokio(writes) => launch::tokio_chat(writes),
            _ => panic!("{} is started elsewhere", dialect.name()),
        };
        Self::announced(dialect, &mut command)
    }

    /// Runs a command that becomes a server and says on its standard output where.
    fn announced(dialect: Dialect, command: &mut Command) -> Self {
        let mut process = spawn(command.stdout(Stdio::piped()));
        let stdout = process.stdout.take().expect("a pipe");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("the server says where it is");
        let addr = line.trim_end().rsplit(' ').next();
        let addr = addr.and_then(|addr| addr.parse().ok());
        Self::of_process(dialect, addr.expect("an address"), process)
    }

    /// Any program that serves on `addr`.
    pub(crate) fn of_process(dialect: Dialect, addr: Address, process: Child) -> Self {
        Self {
            dialect,
            addr,
            cpu: CpuClock::of_process(process.id()),
            tls_addr: None,
            turns: Arc::default(),
            end: End::Process(process),
        }
    }
}

/// The configuration that is measured: the default, where nobody else listens.
fn config(transport: Transport) -> Config {
    Config {
        listen: vec![transport.listener().parse().expect("an address")],
        tls: transport.certificate().map(Certificate::files),
        ..Config::default()
    }
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().expect("the server can be started")
}

impl Drop for Server {
    fn drop(&mut self) {
        match &mut self.end {
            End::Thread(stop, thread) => {
                if let Some(stop) = stop.take() {
                    stop();
                }
                let ended = thread.take().map(JoinHandle::join);
                assert!(
                    thread::panicking() || matches!(ended, Some(Ok(()))),
                    "the server came to a bad end"
                );
            }
            End::Process(process) => {
                // It may have ended by itself.
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread(..) => "Thread",
            Self::Process(_) => "Process",
        })
    }
}
