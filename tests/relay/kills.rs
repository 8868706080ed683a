//! Servers and their engine are ended by SIGKILL while much is said, as by a power cut. In every second round the
//! engine has stood still before, so that servers send again what it has stored already.
//!
//! Each server is the built binary with its usual times, and has a speaker, who says numbered lines, and a listener. What
//! the listeners have heard is compared whole: each line once, in one order, and all of it.
//!
//! `LINE_CHAT_KILLS=120` makes that many rounds of each kind instead of two, `LINE_CHAT_SEED` chooses the moments, and
//! `--nocapture` shows what was counted. A round in which a server was cut off, because the machine was too slow, does
//! not count, and is made again.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fastrand::Rng;

use crate::nats::Nats;
use crate::support::child::Server;
use crate::support::{DEADLINE, YES, hello, http};
use crate::{await_until, needs_nats};

const SERVERS: usize = 3;

/// So many rounds may not count before the test gives up.
const MOST_VOID: u64 = 3;

const DOUBLES: &str = "doubles_total";
const LOST: &str = "lost_lines_total";
const SPLITS: &str = "splits_total";

#[test]
fn what_was_heard_on_a_killed_server_is_heard_everywhere_and_once() {
    needs_nats!();
    let nats = Nats::start();
    let mut servers = Servers::start(&nats.url());
    let dead = |servers: &mut Servers, rng: &mut Rng, flood: &mut Flood| {
        let n = rng.usize(..SERVERS);
        servers.kill(n);
        pause(rng, 0..200);
        servers.replace(n);
        flood.move_to(n, &servers.members[n], rng);
        Some(n)
    };
    run("server", &mut servers, dead);
}

#[test]
fn a_killed_engine_loses_nothing_and_doubles_nothing() {
    needs_nats!();
    let mut nats = Nats::start();
    let mut servers = Servers::start(&nats.url());
    let mut stands_still = false;
    let dead = |_: &mut Servers, rng: &mut Rng, _: &mut Flood| {
        if stands_still {
            // What is sent again after a second is then stored twice.
            nats.halt();
            pause(rng, 1100..1400);
            nats.go_on();
            pause(rng, 50..150);
        }
        let kills = if stands_still { 1 } else { rng.u8(1..3) };
        stands_still = !stands_still;
        for _ in 0..kills {
            nats.kill();
            pause(rng, 0..300);
            nats.run();
            pause(rng, 0..200);
        }
        None
    };
    run("engine", &mut servers, dead);
    assert!(servers.figure(DOUBLES) > 0, "nothing was stored twice");
}

/// Makes rounds: people talk, `kill` kills something and starts it again, and all is compared.
#[track_caller]
fn run(
    what: &str,
    servers: &mut Servers,
    mut kill: impl FnMut(&mut Servers, &mut Rng, &mut Flood) -> Option<usize>,
) {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let seed = number("LINE_CHAT_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LINE_CHAT_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let rounds = number("LINE_CHAT_KILLS").unwrap_or(2);
    let (mut counted, mut void, mut lines, mut unheard) = (0, 0, 0, 0);
    while counted < rounds {
        let splits = servers.figure(SPLITS);
        let mut flood = Flood::start(counted + void, servers, &mut rng);
        pause(&mut rng, 50..400);
        let killed = kill(servers, &mut rng, &mut flood);
        pause(&mut rng, 50..200);
        let heard = flood.end();
        if servers.figure(SPLITS) > splits {
            void += 1;
            println!("round {counted}: a server was cut off");
            assert!(void <= MOST_VOID + rounds / 10, "{void} rounds are void");
            continue;
        }
        heard.check(killed);
        lines += heard.listeners.iter().map(Vec::len).max().unwrap_or(0);
        unheard += heard.unheard(killed);
        assert_eq!(servers.figure(LOST), 0, "round {counted}: lines are lost");
        counted += 1;
    }
    let [batches, doubles, fetched, lost] =
        ["batches_total", DOUBLES, "fetched_total", LOST].map(|it| servers.figure(it));
    println!(
        "{what} killed in {rounds} rounds: {lines} lines heard, {unheard} of killed servers \
         unheard; {batches} batches; servers together: {doubles} doubles, {fetched} fetched, \
         {lost} lost; {void} rounds void"
    );
}

fn pause(rng: &mut Rng, millis: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(rng.u64(millis)));
}

/// The servers of one room.
struct Servers {
    url: String,
    members: Vec<Member>,
    /// What killed servers had counted.
    of_dead: Vec<String>,
}

struct Member {
    server: Option<Server>,
    addr: SocketAddr,
    page: SocketAddr,
}

impl Servers {
    #[track_caller]
    fn start(url: &str) -> Self {
        let members = (0..SERVERS).map(|_| Member::start(url)).collect();
        Self {
            url: url.to_owned(),
            members,
            of_dead: Vec::new(),
        }
    }

    #[track_caller]
    fn kill(&mut self, n: usize) {
        self.of_dead.push(self.members[n].metrics());
        // Dropped, it is killed.
        self.members[n].server = None;
    }

    #[track_caller]
    fn replace(&mut self, n: usize) {
        self.members[n] = Member::start(&self.url);
    }

    /// What all of them have counted together under this name.
    #[track_caller]
    fn figure(&self, name: &str) -> u64 {
        let pages = self.members.iter().map(Member::metrics);
        pages
            .chain(self.of_dead.iter().cloned())
            .map(|page| figure(&page, name))
            .sum()
    }
}

impl Member {
    /// Starts one, and waits until it hears the others.
    #[track_caller]
    fn start(url: &str) -> Self {
        let room = ["--relay", url, "--relay-room", "kills"];
        let flags = ["--connect-rate", "0", "--metrics", "127.0.0.1:0"];
        let server = Server::start(&[room, flags].concat());
        let member = Self {
            addr: server.addr,
            page: server.announced(),
            server: Some(server),
        };
        await_until("the server is up", || figure(&member.metrics(), "up") == 1);
        member
    }

    #[track_caller]
    fn metrics(&self) -> String {
        http::get(self.page, "/metrics").1
    }
}

/// A figure of the relay on the page of a server.
#[track_caller]
fn figure(page: &str, name: &str) -> u64 {
    let begin = format!("line_chat_relay_{name} ");
    let number = page.lines().find_map(|line| line.strip_prefix(&begin));
    number.expect("a figure").parse().expect("a number")
}

/// People who talk, and those who listen to them.
struct Flood {
    round: u64,
    is_over: Arc<AtomicBool>,
    speakers: Vec<Speaker>,
    /// One on each server, and behind them those on servers that were started meanwhile.
    listeners: Vec<JoinHandle<Vec<String>>>,
}

/// Its nick, and how many lines it has said.
type Speaker = (String, JoinHandle<usize>);

/// What the listeners of a flood have heard, in their order.
struct Heard {
    said: Vec<(String, usize)>,
    listeners: Vec<Vec<String>>,
}

impl Flood {
    /// All listen before the first line is said.
    #[track_caller]
    fn start(round: u64, servers: &Servers, rng: &mut Rng) -> Self {
        let nicks = |role: char| (0..SERVERS).map(move |n| format!("{role}{n}r{round}"));
        let join = |nicks: Vec<String>| -> Vec<TcpStream> {
            let pairs = servers.members.iter().zip(&nicks);
            pairs
                .map(|(member, nick)| join(member.addr, nick))
                .collect()
        };
        let listeners = join(nicks('l').collect());
        let streams = join(nicks('s').collect());
        let is_over = Arc::default();
        let speakers = nicks('s').zip(streams);
        let speakers = speakers.map(|(nick, it)| (nick, speak(it, rng.fork(), &is_over)));
        Self {
            round,
            speakers: speakers.collect(),
            listeners: listeners.into_iter().map(listen).collect(),
            is_over,
        }
    }

    /// Others talk and listen on a server that was killed and started again.
    #[track_caller]
    fn move_to(&mut self, n: usize, member: &Member, rng: &mut Rng) {
        let nicks = ['l', 's'].map(|role| format!("{role}{n}r{}again", self.round));
        let [listener, speaker] = nicks.each_ref().map(|nick| join(member.addr, nick));
        self.listeners.push(listen(listener));
        let [_, nick] = nicks;
        let speaker = (nick, speak(speaker, rng.fork(), &self.is_over));
        self.speakers.push(speaker);
    }

    /// All stop to talk, and are heard to the end.
    #[track_caller]
    fn end(self) -> Heard {
        self.is_over.store(true, Ordering::Relaxed);
        let speakers = self.speakers.into_iter();
        let said = speakers.map(|(nick, it)| (nick, it.join().expect("it ends")));
        let said = said.collect();
        let listeners = self.listeners.into_iter();
        let listeners = listeners.map(|it| it.join().expect("it hears all"));
        Heard {
            said,
            listeners: listeners.collect(),
        }
    }
}

/// A script.
#[track_caller]
fn join(addr: SocketAddr, nick: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("the server listens");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.write_all(&hello(nick)).expect("the server reads");
    // Nothing else is said to a newcomer before somebody talks, so no line of it is read here.
    let mut answer = [0; YES.len() + 2];
    io::Read::read_exact(&mut stream, &mut answer).expect("an answer");
    assert_eq!(answer, format!("{YES}\r\n").as_bytes());
    stream
}

/// Says numbered lines until it is over, and then `end`, or until the server is dead. Returns how many it said before
/// the end.
fn speak(mut stream: TcpStream, mut rng: Rng, is_over: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let is_over = Arc::clone(is_over);
    let mut unread = stream.try_clone().expect("a descriptor");
    // What it hears is read, lest its server keeps it.
    thread::spawn(move || io::copy(&mut unread, &mut io::sink()));
    thread::spawn(move || {
        let mut said = 0;
        while !is_over.load(Ordering::Relaxed) {
            let more = said + rng.usize(1..8);
            let lines: String = (said..more).map(|n| format!("{n}\r\n")).collect();
            said = more;
            if stream.write_all(lines.as_bytes()).is_err() {
                return said;
            }
            thread::sleep(Duration::from_micros(rng.u64(100..1500)));
        }
        // Its server may be dead.
        let _ = stream.write_all(b"end\r\n");
        said
    })
}

/// Hears all that is said, until the speakers of all servers have said that it is the end, or its own is dead.
fn listen(stream: TcpStream) -> JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let (mut heard, mut ends) = (Vec::new(), 0);
        while ends < SERVERS {
            let mut line = String::new();
            match stream.read_line(&mut line) {
                Ok(_) => {}
                // Where a server was cut off, not all that was said comes; else the end is found to be missing.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error} after {:?}", heard.last()),
            }
            // What was not sent to its end was not heard.
            let Some(line) = line.strip_suffix("\r\n") else {
                break;
            };
            ends += usize::from(line.ends_with(": end"));
            heard.push(line.to_owned());
        }
        heard
    })
}

impl Heard {
    /// Whether all that was said was heard once and in one order. A server may have been killed.
    #[track_caller]
    fn check(&self, killed: Option<usize>) {
        let others = (0..SERVERS).filter(|&n| Some(n) != killed);
        let mut others = others.map(|n| &self.listeners[n]);
        let all = others.next().expect("a server that was not killed");
        for heard in others {
            assert_same(all, heard, "two servers");
        }
        for (n, (nick, said)) in self.said.iter().enumerate() {
            let prefix = format!("{nick}: ");
            let mut heard: Vec<&str> = all
                .iter()
                .filter_map(|it| it.strip_prefix(&prefix))
                .collect();
            if Some(n) != killed {
                assert_eq!(heard.pop(), Some("end"), "of {nick}");
                assert_eq!(heard.len(), *said, "of {nick}");
            }
            for (number, heard) in heard.iter().enumerate() {
                assert_eq!(*heard, number.to_string(), "of {nick}");
            }
        }
        let of_all: usize = self.said.iter().map(|(nick, _)| count(all, nick)).sum();
        assert_eq!(of_all, all.len(), "nothing else is heard");
        if let Some(n) = killed {
            let dead = &self.listeners[n];
            assert_same(&all[..dead.len()], dead, "a server that was killed");
            let again = &self.listeners[SERVERS];
            let from = all.len() - again.len();
            assert_same(&all[from..], again, "a server that was started");
        }
    }

    /// How many lines nobody has heard, since their server was killed.
    fn unheard(&self, killed: Option<usize>) -> usize {
        killed.map_or(0, |n| {
            let (nick, said) = &self.said[n];
            said - count(&self.listeners[(n + 1) % SERVERS], nick)
        })
    }
}

/// How many lines of somebody were heard.
fn count(heard: &[String], nick: &str) -> usize {
    let prefix = format!("{nick}: ");
    heard
        .iter()
        .filter(|line| line.starts_with(&prefix))
        .count()
}

#[track_caller]
fn assert_same(one: &[String], other: &[String], what: &str) {
    let pairs = one.iter().zip(other);
    let differs = pairs.clone().position(|(one, other)| one != other);
    let pair = differs.map(|at| (&one[at], &other[at]));
    assert!(differs.is_none(), "{what} differ at {differs:?}: {pair:?}");
    assert_eq!(one.len(), other.len(), "{what}");
}
