//! Claims over a link to a real nats-server, on a blocking socket. Where there is no nats-server this says so and
//! passes, unless `LINE_CHAT_CLIENTS=all`.

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use crate::config::relay::{RelayAuth, RelayRoom};
    use crate::protocol::nats::{Subject, encode};
    use crate::protocol::relay_batch::NodeId;
    use crate::relay::claims::{Because, ClaimTimes, Claims, Life, Outcome, Turn};
    use crate::session::relay::link::{Heard, Identity, LinkOut, NatsLink};
    use crate::time::moment::Moment;

    /// How long an answer may take.
    const DEADLINE: Duration = Duration::from_secs(20);

    /// A nats-server, which ends with this.
    struct Server {
        child: Child,
        dir: PathBuf,
        addr: SocketAddr,
        /// It is read to the end of the server.
        log: BufReader<std::process::ChildStderr>,
    }

    impl Server {
        /// `None` where there is none.
        fn start(name: &str) -> Option<Self> {
            let name = format!("line-chat-claims-{name}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            Self::start_in(dir)
        }

        fn start_in(dir: PathBuf) -> Option<Self> {
            let child = Command::new("nats-server")
                .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"])
                .arg(&dir)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            let mut child = match child {
                Ok(child) => child,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let all = std::env::var_os("LINE_CHAT_CLIENTS").is_some_and(|it| it == "all");
                    assert!(!all, "nats-server is missing");
                    eprintln!("nats-server is missing: this is not tested");
                    return None;
                }
                Err(error) => panic!("nats-server: {error}"),
            };
            let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
            let mut addr = None;
            loop {
                let mut line = String::new();
                let read = log.read_line(&mut line).expect("a log");
                assert!(read > 0, "nats-server has ended");
                if let Some((_, it)) = line.split_once("Listening for client connections on ") {
                    addr = it.trim().parse().ok();
                }
                if line.contains("Server is ready") {
                    break;
                }
            }
            let addr = addr.expect("an address");
            Some(Self {
                child,
                dir,
                addr,
                log,
            })
        }

        /// Kills it, as by a failure, and starts it again with what it had stored.
        fn restart(mut self) -> Self {
            self.child.kill().expect("it is ours");
            self.child.wait().expect("it is ours");
            let dir = std::mem::take(&mut self.dir);
            Self::start_in(dir).expect("it was there")
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = self.log.read_to_end(&mut Vec::new());
            if !self.dir.as_os_str().is_empty() {
                let _ = std::fs::remove_dir_all(&self.dir);
            }
        }
    }

    /// One of our servers: its claims and its link.
    struct Node {
        id: u64,
        claims: Claims,
        link: NatsLink,
        stream: TcpStream,
        kept: Vec<u8>,
        /// Nodes that are gone; the others live.
        gone: Vec<NodeId>,
    }

    impl Node {
        fn new(id: u64, server: &Server) -> Self {
            let (link, stream) = Self::connect(id, server);
            let claims = Claims::new(ClaimTimes::default(), NodeId(id));
            let mut node = Self {
                id,
                claims,
                link,
                stream,
                kept: Vec::new(),
                gone: Vec::new(),
            };
            node.join();
            node
        }

        fn connect(id: u64, server: &Server) -> (NatsLink, TcpStream) {
            let identity = Identity {
                room: room(),
                node: id,
                auth: RelayAuth::None,
                replicas: 1,
            };
            let stream = TcpStream::connect(server.addr).expect("it listens");
            stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
            (NatsLink::new(identity, 7), stream)
        }

        /// Connects again, after the link was lost.
        fn reconnect(&mut self, server: &Server) {
            self.claims.on_closed();
            (self.link, self.stream) = Self::connect(self.id, server);
            self.kept.clear();
            self.join();
        }

        /// Waits until the link is open.
        fn join(&mut self) {
            while !self.link.is_open() {
                self.hear();
            }
        }

        /// Does something with the claims.
        fn with(
            &mut self,
            act: impl FnOnce(&mut Claims, &mut Turn<'_, LinkOut<'_, Vec<u8>>, &dyn Fn(NodeId) -> Life>),
        ) {
            let mut out = Vec::new();
            let gone = &self.gone;
            let life = |node| match gone.contains(&node) {
                true => Life::Gone,
                false => Life::Lives,
            };
            let mut turn = Turn {
                now: Moment::BEGINNING,
                engine: &mut self.link.with(&mut out),
                life: &life as &dyn Fn(NodeId) -> Life,
            };
            act(&mut self.claims, &mut turn);
            self.stream.write_all(&out).expect("it is open");
        }

        /// Waits for a piece of input, and handles it.
        fn hear(&mut self) {
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece).expect("an answer in time");
            assert!(count > 0, "the server has closed the connection");
            self.kept.extend_from_slice(&piece[..count]);
            let kept = std::mem::take(&mut self.kept);
            let mut input = &kept[..];
            loop {
                let (mut out, before) = (Vec::new(), input.len());
                let heard = self.link.on_input(&mut input, &mut out).expect("a server");
                self.stream.write_all(&out).expect("it is open");
                match heard {
                    Some(Heard::Open(streams)) => {
                        let (id, claims) = (NodeId(self.id), streams.claims);
                        self.with(|it, turn| {
                            it.on_open(id, &claims.created, claims.last_seq, turn);
                        });
                    }
                    Some(Heard::Claim { request, answer }) => {
                        self.with(|claims, turn| claims.on_answer(request, answer, turn));
                    }
                    _ if input.len() == before => break,
                    _ => {}
                }
            }
            self.kept = input.to_vec();
        }

        /// Waits until every request was answered, and returns what has become of claims.
        fn settle(&mut self) -> Vec<Outcome> {
            while self.link.requests() > 0 {
                self.hear();
            }
            std::iter::from_fn(|| self.claims.next_outcome()).collect()
        }

        fn claim(&mut self, conn: u64, nick: &str) -> Vec<Outcome> {
            self.with(|claims, turn| claims.claim(conn, nick, nick, turn));
            self.settle()
        }

        fn leave(&mut self, conn: u64) {
            self.with(|claims, turn| claims.leave(conn, turn));
            assert_eq!(self.settle(), []);
        }
    }

    fn room() -> RelayRoom {
        "t".parse().expect("a name")
    }

    fn granted(conn: u64) -> Vec<Outcome> {
        vec![Outcome::Granted { conn }]
    }

    fn refused(conn: u64, because: Because) -> Vec<Outcome> {
        vec![Outcome::Refused { conn, because }]
    }

    #[test]
    fn a_nick_has_one_holder_until_it_is_given_up() {
        let Some(server) = Server::start("one") else {
            return;
        };
        let (mut one, mut two) = (Node::new(1, &server), Node::new(2, &server));
        assert_eq!(one.claim(7, "bob"), granted(7));
        assert_eq!(two.claim(7, "bob"), refused(7, Because::Held));
        assert_eq!(two.claim(8, "alice"), granted(8));
        // Given up and claimed anew, and so again for another nick.
        one.leave(7);
        assert_eq!(two.claim(7, "bob"), granted(7));
        assert_eq!(one.claim(9, "bob"), refused(9, Because::Held));
        assert_eq!(two.claim(7, "carol"), granted(7));
        assert_eq!(one.claim(9, "bob"), granted(9));
        // Both at once: the server has one of the requests first.
        one.with(|claims, turn| claims.claim(10, "eve", "eve", turn));
        two.with(|claims, turn| claims.claim(10, "eve", "eve", turn));
        let both = [one.settle(), two.settle()];
        let (yes, no) = (granted(10), refused(10, Because::Held));
        assert!(
            both == [yes.clone(), no.clone()] || both == [no, yes],
            "{both:?}"
        );
    }

    #[test]
    fn what_a_dead_server_had_is_had_by_others() {
        let Some(server) = Server::start("dead") else {
            return;
        };
        let (mut one, mut two) = (Node::new(1, &server), Node::new(2, &server));
        for (conn, nick) in [(7, "bob"), (8, "alice"), (9, "carol")] {
            assert_eq!(one.claim(conn, nick), granted(conn));
        }
        drop(one);
        assert_eq!(two.claim(3, "bob"), refused(3, Because::Held));
        two.gone.push(NodeId(1));
        assert_eq!(two.claim(3, "bob"), granted(3));
        // A sweep gives the others up, and not this one.
        two.with(|claims, turn| {
            claims.sweep(turn);
        });
        assert_eq!(two.settle(), []);
        let mut three = Node::new(3, &server);
        assert_eq!(three.claim(1, "alice"), granted(1));
        assert_eq!(three.claim(2, "carol"), granted(2));
        assert_eq!(three.claim(3, "bob"), refused(3, Because::Held));
    }

    #[test]
    fn a_claim_outlives_a_link_that_is_lost_and_a_server_that_is_killed() {
        let Some(server) = Server::start("lost") else {
            return;
        };
        let mut one = Node::new(1, &server);
        assert_eq!(one.claim(7, "bob"), granted(7));
        // The link is lost while a claim is out.
        one.with(|claims, turn| claims.claim(8, "alice", "alice", turn));
        one.reconnect(&server);
        assert_eq!(one.settle(), granted(8));
        let server = server.restart();
        one.reconnect(&server);
        assert_eq!(one.settle(), []);
        let mut two = Node::new(2, &server);
        assert_eq!(two.claim(1, "bob"), refused(1, Because::Held));
        assert_eq!(two.claim(2, "alice"), refused(2, Because::Held));
        // After a split the server has another id, and its members have their nicks.
        two.gone.push(NodeId(1));
        one.claims.on_split();
        one.id = 3;
        one.reconnect(&server);
        assert_eq!(one.settle(), []);
        assert_eq!(two.claim(1, "bob"), refused(1, Because::Held));
        one.leave(7);
        assert_eq!(two.claim(1, "bob"), granted(1));
    }

    #[test]
    fn a_stream_that_is_full_refuses_and_drops_none() {
        let Some(server) = Server::start("full") else {
            return;
        };
        let (mut one, mut two) = (Node::new(1, &server), Node::new(2, &server));
        // There is room for about eight.
        let mut out = Vec::new();
        let update: Subject = "$JS.API.STREAM.UPDATE.LCN_t".parse().expect("a subject");
        let config = br#"{"name":"LCN_t","subjects":["lc.t.nick.*"],"storage":"file","num_replicas":1,"max_bytes":1000,"max_msgs":-1,"max_msgs_per_subject":1,"max_msg_size":20480,"max_consumers":-1,"discard":"new","allow_direct":true}"#;
        encode::publish(&mut out, &update, None, config);
        one.stream.write_all(&out).expect("it is open");
        let names: Vec<_> = (0..20).map(|number| format!("nick{number}")).collect();
        let mut had = Vec::new();
        for (conn, name) in (1..).zip(&names) {
            match &one.claim(conn, name)[..] {
                [Outcome::Granted { .. }] => had.push((conn, name)),
                other => assert_eq!(other, refused(conn, Because::Full), "{name}"),
            }
        }
        assert!((3..15).contains(&had.len()), "{}", had.len());
        assert_eq!(
            had.last().map(|it| it.0),
            Some(had.len() as u64),
            "the first ones"
        );
        // None of them has made room.
        for (conn, name) in &had {
            assert_eq!(
                two.claim(*conn, name),
                refused(*conn, Because::Held),
                "{name}"
            );
        }
        // One that is given up has.
        let (conn, name) = had[0];
        one.leave(conn);
        assert_eq!(two.claim(1, "other"), granted(1));
        assert_eq!(two.claim(2, name), refused(2, Because::Full));
    }
}
