//! What the differential tests share: a real NATS server, line-chat's codec on a blocking socket to it, the
//! official client beside it, and messages as both see them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use line_chat::RelayUrl;
use line_chat::protocol::nats::decode::ServerErrorKind;
use line_chat::protocol::nats::encode::{self, Connect};
use line_chat::protocol::nats::jetstream::Request;
use line_chat::protocol::nats::{Decoder, Filter, Frame, Info, Message, Subject};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How much is read at once: so little that every frame comes in pieces.
const READ_BYTES: usize = 7;

/// A NATS server of its own, which ends with this.
#[derive(Debug)]
pub struct Server {
    child: Child,
    dir: PathBuf,
    addr: SocketAddr,
    /// Where other servers of its cluster connect, if it is part of one.
    cluster_addr: Option<SocketAddr>,
}

impl Server {
    /// Starts a server with JetStream and this configuration beside. `None` where there is no nats-server:
    /// then the test says so and passes, unless `LINE_CHAT_CLIENTS=all`.
    pub fn start(config: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("line-chat-oracle-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).expect("a folder");
        let store = dir.join("store");
        let config = format!(
            "listen: \"127.0.0.1:-1\"\njetstream: {{ store_dir: {store:?} }}\n\
             ports_file_dir: {dir:?}\n{config}\n"
        );
        fs::write(dir.join("config"), config).expect("a file");
        let child = Command::new("nats-server")
            .arg("-c")
            .arg(dir.join("config"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("log")).expect("a file"))
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let all = std::env::var_os("LINE_CHAT_CLIENTS").is_some_and(|it| it == "all");
                assert!(!all, "nats-server is missing");
                eprintln!("nats-server is missing: this is not tested");
                return None;
            }
            Err(error) => panic!("nats-server: {error}"),
        };
        let mut server = Self {
            child,
            dir,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            cluster_addr: None,
        };
        let ports = server.wait_for_its_ports();
        let addr = |name: &str| {
            let addr = ports[name][0].as_str()?.strip_prefix("nats://")?;
            addr.parse().ok()
        };
        server.addr = addr("nats").expect("an address");
        server.cluster_addr = addr("cluster");
        Some(server)
    }

    /// The server writes its ports into a file once it listens.
    fn wait_for_its_ports(&mut self) -> serde_json::Value {
        let file = format!("nats-server_{}.ports", self.child.id());
        let since = Instant::now();
        loop {
            let text = fs::read_to_string(self.dir.join(&file)).unwrap_or_default();
            if let Ok(ports) = serde_json::from_str(&text) {
                return ports;
            }
            let log = || fs::read_to_string(self.dir.join("log"));
            let ended = self.child.try_wait().expect("it is ours");
            assert!(ended.is_none() && since.elapsed() < DEADLINE, "{:?}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its address, `127.0.0.1:PORT`.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where other servers of its cluster connect.
    pub fn cluster_addr(&self) -> SocketAddr {
        self.cluster_addr.expect("it is part of a cluster")
    }

    /// Makes it ask its clients to go elsewhere.
    pub fn begin_lame_duck_mode(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-USR2", &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Connects with the official client and these options.
    pub async fn official(
        &self,
        options: async_nats::ConnectOptions,
    ) -> Result<async_nats::Client, async_nats::ConnectError> {
        options.connect(format!("nats://{}", self.addr)).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A frame that outlives its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owned {
    /// INFO, parsed.
    Info(Info),
    /// A message.
    Message(OwnedMessage),
    /// The answer to a PING of ours.
    Pong,
    /// The text of an -ERR, and what it is about.
    Error(String, ServerErrorKind),
    /// The server has closed the connection.
    Closed,
}

/// A message that outlives its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedMessage {
    pub subject: Vec<u8>,
    pub reply: Option<Vec<u8>>,
    pub header_block: Vec<u8>,
    pub payload: Vec<u8>,
}

impl OwnedMessage {
    fn new(message: &Message<'_>) -> Self {
        Self {
            subject: message.subject.to_vec(),
            reply: message.reply.map(<[u8]>::to_vec),
            header_block: message.header_block.to_vec(),
            payload: message.payload.to_vec(),
        }
    }

    /// The message as it was decoded.
    pub fn message(&self) -> Message<'_> {
        Message {
            subject: &self.subject,
            sid: 0,
            reply: self.reply.as_deref(),
            header_block: &self.header_block,
            payload: &self.payload,
        }
    }
}

/// line-chat's codec on a blocking socket.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    decoder: Decoder,
    kept: Vec<u8>,
    /// The first INFO.
    pub info: Info,
    last_inbox: u32,
}

impl Link {
    /// Connects; `user` is what stands before the host in a URL.
    ///
    /// # Errors
    /// The text of the server's -ERR, and what it is about.
    pub fn connect(server: &Server, user: &str) -> Result<Self, (String, ServerErrorKind)> {
        let stream = TcpStream::connect(server.addr()).expect("it listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        let mut link = Self {
            stream,
            decoder: Decoder::default(),
            kept: Vec::new(),
            info: Info::default(),
            last_inbox: 0,
        };
        let Owned::Info(info) = link.frame() else {
            panic!("INFO comes first");
        };
        link.info = info;
        let url: RelayUrl = format!("nats://{user}{}", server.addr())
            .parse()
            .expect("a URL");
        let connect = Connect {
            name: "oracle",
            auth: &url.auth,
            echo: true,
        };
        link.send(|out| {
            encode::connect(out, &connect);
            encode::ping(out);
        });
        loop {
            match link.frame() {
                Owned::Pong => return Ok(link),
                // Of a cluster, once it knows what we are.
                Owned::Info(info) => link.info = info,
                Owned::Error(text, kind) => return Err((text, kind)),
                other => panic!("{other:?} instead of a PONG"),
            }
        }
    }

    /// Sends what is encoded.
    pub fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        // A server that has closed the connection is seen by `frame`.
        let _ = self.stream.write_all(&out);
    }

    /// Waits for the next frame but +OK. A PING is answered.
    pub fn frame(&mut self) -> Owned {
        loop {
            let mut input = &self.kept[..];
            let frame = self.decoder.next(&mut input).expect("a server speaks NATS");
            let owned = frame.map(|frame| match frame {
                Frame::Info(json) => Some(Owned::Info(Info::parse(json).expect("an INFO"))),
                Frame::Message(message) => Some(Owned::Message(OwnedMessage::new(&message))),
                Frame::Pong => Some(Owned::Pong),
                Frame::Error(error) => {
                    let text = String::from_utf8_lossy(error.0).into_owned();
                    Some(Owned::Error(text, error.kind()))
                }
                Frame::Ping => {
                    (&self.stream).write_all(b"PONG\r\n").expect("it is open");
                    None
                }
                Frame::Ok => None,
            });
            self.kept = input.to_vec();
            match owned {
                Some(Some(owned)) => return owned,
                Some(None) => {}
                None => {
                    let mut more = [0; READ_BYTES];
                    match self.stream.read(&mut more) {
                        Ok(0) => return Owned::Closed,
                        Ok(count) => self.kept.extend_from_slice(&more[..count]),
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                            return Owned::Closed;
                        }
                        Err(error) => panic!("waiting for a frame: {error}"),
                    }
                }
            }
        }
    }

    /// Waits for the next message.
    pub fn message(&mut self) -> OwnedMessage {
        match self.frame() {
            Owned::Message(message) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Subscribes, and waits until the server knows.
    pub fn subscribe(&mut self, filter: &str, sid: u64) {
        let filter: Filter = filter.parse().expect("a filter");
        self.send(|out| encode::subscribe(out, &filter, sid));
        self.flush();
    }

    /// Waits until the server has done all that it was sent. No message may come before.
    pub fn flush(&mut self) {
        self.send(encode::ping);
        assert_eq!(self.frame(), Owned::Pong);
    }

    /// Publishes with a reply subject of its own, and waits for the answer.
    pub fn ask(&mut self, write: impl FnOnce(&mut Vec<u8>, &Subject)) -> OwnedMessage {
        self.last_inbox += 1;
        let inbox = format!("_INBOX.ours.{}.{}", std::process::id(), self.last_inbox);
        let (filter, inbox) = (
            inbox.parse().expect("a filter"),
            inbox.parse().expect("a subject"),
        );
        let sid = 1000 + u64::from(self.last_inbox);
        self.send(|out| {
            encode::subscribe(out, &filter, sid);
            encode::unsubscribe(out, sid, Some(1));
            write(out, &inbox);
        });
        let answer = self.message();
        assert_eq!(answer.subject, filter.as_str().as_bytes(), "{answer:?}");
        answer
    }

    /// Sends a request, and waits for the answer.
    pub fn request(&mut self, request: &Request) -> OwnedMessage {
        self.ask(|out, inbox| encode::publish(out, &request.subject, Some(inbox), &request.body))
    }
}

/// A message as both clients see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    pub subject: String,
    pub reply: Option<String>,
    pub status: Option<(u16, String)>,
    /// The values of each key, in their order.
    pub headers: BTreeMap<String, Vec<String>>,
    pub payload: Vec<u8>,
}

impl From<&OwnedMessage> for Seen {
    fn from(owned: &OwnedMessage) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let message = owned.message();
        let parsed = message.headers().expect("headers");
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for (key, value) in parsed.iter() {
            headers.entry(text(key)).or_default().push(text(value));
        }
        let status = parsed.status();
        Self {
            subject: text(message.subject),
            reply: message.reply.map(text),
            status: status.map(|status| (status.code, text(status.description))),
            headers,
            payload: message.payload.to_vec(),
        }
    }
}

impl From<&async_nats::Message> for Seen {
    fn from(message: &async_nats::Message) -> Self {
        let status = message.status.map(|status| {
            let description = message.description.clone();
            (status.as_u16(), description.unwrap_or_default())
        });
        Self {
            subject: message.subject.to_string(),
            reply: message.reply.as_ref().map(ToString::to_string),
            status,
            headers: message.headers.as_ref().map(fields).unwrap_or_default(),
            payload: message.payload.to_vec(),
        }
    }
}

/// The headers of the official client.
pub fn fields(headers: &async_nats::HeaderMap) -> BTreeMap<String, Vec<String>> {
    let fields = headers.iter().map(|(key, values)| {
        let values = values.iter().map(ToString::to_string);
        (key.to_string(), values.collect())
    });
    fields.collect()
}

/// Runs what the official client does, until it is done.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let done = tokio::time::timeout(2 * DEADLINE, work);
        done.await.expect("it does not take for ever")
    })
}
