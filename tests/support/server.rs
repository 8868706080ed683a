//! A server in this process, and clients on real sockets.
//!
//! Nothing here sleeps. A client reads until it has what it expects, and the deadline only keeps a
//! failing test from hanging. A round trip shows that nothing was sent: the answer to telnet's AYT
//! stands behind everything that was queued before it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use line_chat::{Config, Event, Handle, Metrics, Observer, Peer, Server, Status};
use socket2::SockRef;

use super::{ARE_YOU_THERE, DEADLINE, YES_LINE, hello};

/// How long a turn of a [`HaltedServer`] waits for something to do.
const A_MOMENT: Duration = Duration::from_millis(5);

/// A server that takes its turns on the test's own thread. What is sent between two turns meets the
/// server all at once, so a test decides what one batch of events holds.
#[derive(Debug)]
pub(crate) struct HaltedServer {
    server: Server,
}

impl HaltedServer {
    pub(crate) fn bind() -> Self {
        Self::bind_with(|_| {})
    }

    /// A server on a port of its own, with the default configuration as `configure` changes it.
    pub(crate) fn bind_with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::try_bind_with(configure).expect("the server binds")
    }

    /// [`bind_with`](Self::bind_with), for configurations that may not work.
    pub(crate) fn try_bind_with(configure: impl FnOnce(&mut Config)) -> io::Result<Self> {
        let mut config = Config {
            listen: vec!["127.0.0.1:0".parse().expect("an address")],
            ..Config::default()
        };
        configure(&mut config);
        let server = Server::bind(config)?;
        Ok(Self { server })
    }

    /// A server on one port of `0.0.0.0` and of `[::]`, in this order.
    pub(crate) fn bind_on_both_families() -> Self {
        let bind = || {
            // Somebody else may get the port before it is bound again, hence the tries.
            let port = Self::bind().addrs()[0].port();
            let any = ["0.0.0.0", "[::]"].map(|ip| format!("{ip}:{port}").parse());
            let listen = any.map(|addr| addr.expect("an address"));
            Self::try_bind_with(|config| config.listen = listen.into())
        };
        let is_bad_luck = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        let bound = (0..20)
            .map(|_| bind())
            .find(|bound| !bound.as_ref().is_err_and(is_bad_luck));
        bound
            .expect("a port that is free on both")
            .expect("a server on both")
    }

    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.server.local_addrs()
    }

    pub(crate) fn handle(&self) -> Handle {
        self.server.handle()
    }

    /// What the server has counted, between two turns.
    pub(crate) fn metrics(&self) -> Metrics {
        self.server.metrics()
    }

    pub(crate) fn clients(&self) -> usize {
        self.server.clients()
    }

    /// A client that the server meets in its next turn.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addrs()[0])
    }

    /// A new member, with as many turns as that takes.
    #[track_caller]
    pub(crate) fn join(&mut self, nick: &str) -> Client {
        let mut client = self.connect();
        client.ask_for(nick);
        self.turn_until_received(&mut client, YES_LINE.len());
        client.expect(YES_LINE);
        client
    }

    /// One turn, which waits a moment for something to do.
    #[track_caller]
    pub(crate) fn turn(&mut self) -> Status {
        self.server.turn(Some(A_MOMENT)).expect("a turn")
    }

    /// Takes turns until `done`.
    #[track_caller]
    pub(crate) fn turn_until(&mut self, mut done: impl FnMut(&Server) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(&self.server) {
            assert!(Instant::now() < deadline, "what the server was to do");
            self.turn();
        }
    }

    /// Takes turns until `client` has received `bytes` bytes; it reads after each of them.
    #[track_caller]
    pub(crate) fn turn_until_received(&mut self, client: &mut Client, bytes: usize) {
        self.turn_until(|_| {
            client.read_what_is_there();
            client.received.len() >= bytes
        });
    }

    /// Takes turns until all that `client` has sent is handled; returns what it receives meanwhile. It
    /// reads after each turn.
    #[track_caller]
    pub(crate) fn turn_until_heard(&mut self, client: &mut Client) -> Vec<u8> {
        client.send(ARE_YOU_THERE);
        self.turn_until(|_| {
            client.read_what_is_there();
            client.received.ends_with(YES_LINE)
        });
        let mut received = client.take_received();
        received.truncate(received.len() - YES_LINE.len());
        received
    }

    /// [`Client::expect_silence`], with as many turns as that takes.
    #[track_caller]
    pub(crate) fn expect_silence_toward(&mut self, client: &mut Client) {
        client.send(ARE_YOU_THERE);
        self.turn_until_received(client, YES_LINE.len());
        client.expect(YES_LINE);
        assert_eq!(client.received.escape_ascii().to_string(), "");
    }

    /// From here on the server runs on a thread.
    pub(crate) fn run(mut self) -> RunningServer {
        let addrs = self.addrs();
        let handle = self.handle();
        let (tell, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let result = self.server.run();
            drop(self);
            // The test may have ended before the server.
            let _ = tell.send(result);
        });
        RunningServer {
            addrs,
            handle,
            ended,
            thread: Some(thread),
        }
    }
}

/// A server on a thread. Dropped, it is shut down, and must have come to a good end.
#[derive(Debug)]
pub(crate) struct RunningServer {
    addrs: Vec<SocketAddr>,
    handle: Handle,
    ended: Receiver<io::Result<()>>,
    /// Taken when the server has ended.
    thread: Option<JoinHandle<()>>,
}

impl RunningServer {
    pub(crate) fn start() -> Self {
        HaltedServer::bind().run()
    }

    /// As [`HaltedServer::bind_with`].
    pub(crate) fn start_with(configure: impl FnOnce(&mut Config)) -> Self {
        HaltedServer::bind_with(configure).run()
    }

    pub(crate) fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.addrs[0])
    }

    #[track_caller]
    pub(crate) fn join(&self, nick: &str) -> Client {
        Client::join(self.addrs[0], nick)
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    pub(crate) fn shut_down(&self) {
        self.handle.shut_down();
    }

    /// Waits for the end of a server that was told to shut down.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let result = self.ended.recv_timeout(DEADLINE);
        result
            .expect("the server ends, and does not panic")
            .expect("the server can poll");
        thread.join().expect("the server does not panic");
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        if !thread::panicking() {
            // The second request spares the wait for clients that are still connected.
            self.shut_down();
            self.shut_down();
            self.expect_end();
        }
    }
}

/// The nicks and the addresses of members that have joined.
#[derive(Debug, Default)]
pub(crate) struct Joins(pub(crate) Vec<(String, Peer)>);

impl Observer for Joins {
    fn on_event(&mut self, _: Instant, event: Event<'_>) {
        if let Event::Joined { nick, peer, .. } = event {
            self.0.push((nick.to_owned(), peer));
        }
    }
}

/// One end of a connection to a server, and what came from there and was not yet expected.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects. Each [`send`](Self::send) becomes a segment of its own.
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE).expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a time-out for reads");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("a time-out for writes");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Connects and waits until it is a member.
    #[track_caller]
    pub(crate) fn join(addr: SocketAddr, nick: &str) -> Self {
        let mut client = Self::connect(addr);
        client.ask_for(nick);
        client.expect(YES_LINE);
        client
    }

    /// From here on its kernel takes less of what it does not read, and not more and more of it.
    pub(crate) fn shrink_buffer(&self) {
        let socket = SockRef::from(&self.stream);
        socket.set_recv_buffer_size(16 << 10).expect("SO_RCVBUF");
    }

    /// Sends a nick, and what tells that it was taken: `* yes`, with nothing before it.
    pub(crate) fn ask_for(&mut self, nick: &str) {
        self.send(hello(nick));
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.stream.write_all(bytes.as_ref());
        sent.expect("the server takes what it is sent");
    }

    /// Sends each byte in a segment of its own.
    #[track_caller]
    pub(crate) fn send_bytewise(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Sends as much as the kernel takes now, and returns how much that is.
    pub(crate) fn send_what_fits(&mut self, bytes: &[u8]) -> usize {
        self.without_waiting(|stream| stream.write(bytes))
            .unwrap_or(0)
    }

    /// Sends one byte as urgent data, as telnet does with the DM of its Synch.
    #[track_caller]
    pub(crate) fn send_urgent(&mut self, byte: u8) {
        let sent = SockRef::from(&self.stream).send_out_of_band(&[byte]);
        assert_eq!(sent.expect("urgent data is taken"), 1);
    }

    /// Says a line.
    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) {
        self.send([text, "\r\n"].concat());
    }

    /// Sends FIN, and still reads.
    #[track_caller]
    pub(crate) fn hang_up(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("a FIN");
    }

    /// Leaves with an RST.
    #[track_caller]
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("SO_LINGER");
    }

    /// Waits for exactly `expected`, as the next bytes from the server.
    #[track_caller]
    pub(crate) fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        while self.received.len() < expected.len() && expected.starts_with(&self.received) {
            let read = self.read_some();
            assert!(
                read > 0,
                "the server closed: {}",
                difference(&self.received, expected)
            );
        }
        assert!(
            self.received.starts_with(expected),
            "{}",
            difference(&self.received, expected)
        );
        self.received.drain(..expected.len());
    }

    /// Shows that the server has sent nothing more until now.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self) {
        self.send(ARE_YOU_THERE);
        self.expect(YES_LINE);
        assert_eq!(self.received.escape_ascii().to_string(), "");
    }

    /// Waits for the server's FIN, with nothing before it.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let rest = self.receive_to_end();
        assert_eq!(rest.escape_ascii().to_string(), "");
    }

    /// Everything up to the server's FIN. An RST fails.
    #[track_caller]
    pub(crate) fn receive_to_end(&mut self) -> Vec<u8> {
        while self.read_some() > 0 {}
        std::mem::take(&mut self.received)
    }

    /// The next `bytes` bytes.
    #[track_caller]
    pub(crate) fn receive(&mut self, bytes: usize) -> Vec<u8> {
        while self.received.len() < bytes {
            let read = self.read_some();
            assert!(read > 0, "closed after {} bytes", self.received.len());
        }
        self.received.drain(..bytes).collect()
    }

    /// What was taken in and not yet expected.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    pub(crate) fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Takes in so much of what has arrived at most, without waiting.
    pub(crate) fn read_at_most(&mut self, bytes: usize) {
        let mut chunk = vec![0; bytes];
        if let Ok(n) = self.without_waiting(|stream| stream.read(&mut chunk)) {
            self.received.extend_from_slice(&chunk[..n]);
        }
    }

    /// Takes in what has arrived, without waiting. The end of the stream is no error here.
    pub(crate) fn read_what_is_there(&mut self) {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(n @ 1..) = self.without_waiting(|stream| stream.read(&mut chunk)) {
            self.received.extend_from_slice(&chunk[..n]);
        }
    }

    #[track_caller]
    fn read_some(&mut self) -> usize {
        let mut chunk = vec![0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(n) => {
                self.received.extend_from_slice(&chunk[..n]);
                n
            }
            Err(error) => panic!("{error} after \"{}\"", tail(&self.received).escape_ascii()),
        }
    }

    fn without_waiting<T>(
        &mut self,
        call: impl FnOnce(&mut TcpStream) -> io::Result<T>,
    ) -> io::Result<T> {
        self.stream.set_nonblocking(true)?;
        let result = call(&mut self.stream);
        self.stream.set_nonblocking(false)?;
        result
    }
}

/// Where `received` leaves what was `expected`, with as much of both as can be read.
fn difference(received: &[u8], expected: &[u8]) -> String {
    let same = received.iter().zip(expected).take_while(|(a, b)| a == b);
    let at = same.count();
    let excerpt = |bytes: &[u8]| {
        let from = at.saturating_sub(40);
        let to = bytes.len().min(at + 80);
        bytes[from..to].escape_ascii().to_string()
    };
    format!(
        "at byte {at}:\nreceived \"{}\"\nexpected \"{}\"",
        excerpt(received),
        excerpt(expected)
    )
}

fn tail(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len().saturating_sub(80)..]
}
