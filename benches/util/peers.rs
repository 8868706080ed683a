//! Servers of other projects, if they are on PATH: started on a free port of loopback, with nothing kept
//! on disk or read from it, and killed like every [`Server`].

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::dialect::Dialect;
use super::launch;
use super::server::Server;

/// How long a server may take to listen.
const DEADLINE: Duration = Duration::from_secs(10);

/// A server that can be started.
#[derive(Debug)]
pub(crate) struct Peer {
    dialect: Dialect,
    path: PathBuf,
}

impl Peer {
    /// Looks for it; says so if it is not there.
    pub(crate) fn find(dialect: Dialect) -> Option<Self> {
        let program = match dialect {
            Dialect::Redis => "redis-server",
            Dialect::Nats => "nats-server",
            Dialect::Ncat => "ncat",
            _ => return None,
        };
        let path = on_path(program);
        if path.is_none() {
            println!("{program}: not on PATH, skipped");
        }
        path.map(|path| Self { dialect, path })
    }

    pub(crate) fn start(&self) -> Server {
        let addr = free_addr();
        let process = launch::program(&self.path)
            .args(self.args(addr.port()).split(' '))
            .current_dir(env::temp_dir())
            // An end of input is the end of ncat.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let server = Server::of_process(
            self.dialect,
            addr.into(),
            process.expect("it can be started"),
        );
        await_listener(addr);
        server
    }

    /// Separated by single blanks; two of them are an empty argument.
    fn args(&self, port: u16) -> String {
        match self.dialect {
            Dialect::Redis => {
                format!("--bind 127.0.0.1 --port {port} --save  --appendonly no --daemonize no")
            }
            Dialect::Nats => format!("-a 127.0.0.1 -p {port}"),
            _ => format!("--chat --listen --max-conns 1000 127.0.0.1 {port}"),
        }
    }
}

/// Where a program is, if it is installed.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file())
}

/// An address that was free a moment ago.
pub(crate) fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

/// Waits until somebody listens, without a connection: ncat ends when one is closed early.
fn await_listener(addr: SocketAddr) {
    // As proc(5) shows a TCP socket of 127.0.0.1 in the state LISTEN.
    let listening = format!("0100007F:{:04X} 00000000:0000 0A", addr.port());
    let start = Instant::now();
    while !fs::read_to_string("/proc/net/tcp").is_ok_and(|all| all.contains(&listening)) {
        assert!(start.elapsed() < DEADLINE, "nobody listens on {addr}");
        thread::sleep(Duration::from_millis(10));
    }
}
