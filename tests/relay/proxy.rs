//! The way between a server and its engine: a [`Proxy`] passes bytes on, and a test can hold them, cut them in
//! the middle of a frame, or change the first line that the engine says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Dropped, it is cut.
pub(crate) struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    way: Mutex<Way>,
    changed: Condvar,
}

#[derive(Default)]
struct Way {
    is_cut: bool,
    is_held: bool,
    /// After so many more bytes of the engine it is cut.
    cut_after: Option<usize>,
    /// Each byte of the engine is passed on by itself.
    is_bytewise: bool,
    /// What the engine says instead of its first line.
    info: Option<String>,
    /// What the engine seems to say now.
    inserted: Vec<u8>,
    ends: Vec<TcpStream>,
    connections: usize,
}

impl Shared {
    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Way)) {
        change(&mut self.way());
        self.changed.notify_all();
    }

    /// Waits until bytes of the engine may pass.
    fn pass(&self) -> MutexGuard<'_, Way> {
        let mut way = self.way();
        while way.is_held && !way.is_cut {
            let waited = self.changed.wait(way);
            way = waited.unwrap_or_else(PoisonError::into_inner);
        }
        way
    }
}

impl Proxy {
    /// A way to this address.
    pub(crate) fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ours.way().is_cut {
                    continue;
                }
                if let Ok(engine) = TcpStream::connect(upstream) {
                    connect(&ours, client, engine);
                }
            }
        });
        Self { addr, shared }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.addr)
    }

    /// Ends all connections, and makes no new ones.
    pub(crate) fn cut(&self) {
        self.shared.change(Way::cut);
    }

    /// The way is there again.
    pub(crate) fn heal(&self) {
        self.shared.change(|way| {
            way.is_cut = false;
            way.is_held = false;
        });
    }

    /// Nothing that the engine says passes, and the connections stand.
    pub(crate) fn hold(&self) {
        self.shared.change(|way| way.is_held = true);
    }

    /// Cuts it once after so many more bytes of the engine.
    pub(crate) fn break_after(&self, bytes: usize) {
        self.shared.change(|way| way.cut_after = Some(bytes));
    }

    /// Passes each byte of the engine on by itself.
    pub(crate) fn pass_bytewise(&self) {
        self.shared.change(|way| way.is_bytewise = true);
    }

    /// Has the engine greet with this line.
    pub(crate) fn set_info(&self, info: &str) {
        self.shared
            .change(|way| way.info = Some(format!("{info}\r\n")));
    }

    /// Has the engine say this before what it says next.
    pub(crate) fn insert(&self, bytes: &str) {
        self.shared.change(|way| way.inserted = bytes.into());
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.way().connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Way {
    fn cut(&mut self) {
        self.is_cut = true;
        self.end_all();
    }

    fn end_all(&mut self) {
        for end in self.ends.drain(..) {
            // The other end may have ended it.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream, engine: TcpStream) {
    for stream in [&client, &engine] {
        stream.set_nodelay(true).expect("TCP_NODELAY");
    }
    let both = [client.try_clone(), engine.try_clone()].map(|it| it.expect("a descriptor"));
    shared.change(|way| {
        way.ends.extend(both);
        way.connections += 1;
    });
    let copies = [client.try_clone(), engine.try_clone()].map(|it| it.expect("a descriptor"));
    let [to_client, to_engine] = copies;
    let ours = Arc::clone(shared);
    thread::spawn(move || pass_up(&ours, client, to_engine));
    let ours = Arc::clone(shared);
    thread::spawn(move || pass_down(&ours, engine, to_client));
}

fn pass_up(shared: &Shared, mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        if shared.way().is_cut || to.write_all(&chunk[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn pass_down(shared: &Shared, mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; 64 << 10];
    let mut is_greeted = false;
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        let mut way = shared.pass();
        if way.is_cut {
            break;
        }
        let mut bytes = chunk[..n].to_vec();
        if let Some(info) = way.info.as_ref().filter(|_| !is_greeted) {
            // The whole INFO comes in one segment.
            bytes = info.clone().into_bytes();
        }
        is_greeted = true;
        bytes.splice(0..0, way.inserted.drain(..));
        let is_last = match way.cut_after {
            Some(left) if left <= bytes.len() => {
                bytes.truncate(left);
                way.cut_after = None;
                true
            }
            Some(left) => {
                way.cut_after = Some(left - bytes.len());
                false
            }
            None => false,
        };
        let is_bytewise = way.is_bytewise;
        drop(way);
        let size = if is_bytewise { 1 } else { bytes.len().max(1) };
        let mut pieces = bytes.chunks(size);
        if pieces.any(|piece| to.write_all(piece).is_err()) || is_last {
            break;
        }
    }
    // What was passed on may still be read.
    let _ = to.shutdown(Shutdown::Write);
    thread::sleep(Duration::from_millis(1));
    let _ = from.shutdown(Shutdown::Both);
}
