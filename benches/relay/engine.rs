//! The engine: `nats-server` with JetStream as a process, with a store and a port of its own, which keeps
//! both when it is killed and started again; and the servers around it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::bare;
use crate::util::cpu::CpuClock;
use crate::util::launch;
use crate::util::peers::{free_addr, on_path};
use crate::util::server::Server;

/// How long the engine may take until it can be used.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running nats-server.
#[derive(Debug)]
pub(crate) struct Engine {
    path: PathBuf,
    store: PathBuf,
    pub(crate) addr: SocketAddr,
    process: Child,
}

impl Engine {
    /// Starts one, if it is installed; says so if it is not.
    pub(crate) fn start() -> Option<Self> {
        let Some(path) = on_path("nats-server") else {
            println!("nats-server: not on PATH, nothing is measured");
            return None;
        };
        let store = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let store = store.join(format!("relay-{}", process::id()));
        let addr = free_addr();
        let process = spawn(&path, &store, addr);
        let engine = Self {
            path,
            store,
            addr,
            process,
        };
        engine.await_port();
        Some(engine)
    }

    /// The CPU time of its process.
    pub(crate) fn cpu(&self) -> CpuClock {
        CpuClock::of_process(self.process.id())
    }

    /// Ends it at once, as a power failure does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again on what it has stored. Returns at once.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.path, &self.store, self.addr);
    }

    /// Whether somebody listens there.
    pub(crate) fn is_listening(&self) -> bool {
        TcpStream::connect(self.addr).is_ok()
    }

    /// A server with a room of this name, which is shared by all that are started so.
    pub(crate) fn server(&self, room: &str) -> Relayed {
        let metrics = free_addr();
        let url = format!("nats://{}", self.addr);
        let metrics_at = metrics.to_string();
        let args = ["--relay", &url, "--relay-room", room];
        let server = Server::anywhere(&[&args[..], &["--metrics", &metrics_at]].concat());
        Relayed { server, metrics }
    }

    fn await_port(&self) {
        let start = Instant::now();
        while !self.is_listening() {
            assert!(start.elapsed() < DEADLINE, "nats-server does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        bare::make_stream(self.addr);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
        // What is left lies in the target directory.
        let _ = fs::remove_dir_all(&self.store);
    }
}

fn spawn(path: &Path, store: &Path, addr: SocketAddr) -> Child {
    let mut command = launch::anywhere(path);
    command.args(["-js", "-a", &Ipv4Addr::LOCALHOST.to_string()]);
    command
        .args(["-p", &addr.port().to_string(), "-sd"])
        .arg(store);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("nats-server can be started")
}

/// One of the servers that share a room.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) server: Server,
    /// Where it tells its metrics.
    metrics: SocketAddr,
}

impl Relayed {
    /// One of its metrics.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = bare::http(self.metrics, "/metrics");
        let values = page.lines().filter_map(|line| line.strip_prefix(name));
        let value = values.filter_map(|rest| rest.trim().parse().ok()).next();
        value.unwrap_or_else(|| panic!("no {name} in {page}"))
    }
}
