//! A soak: for a while everything that clients can do happens to one server at once, in each of the
//! modes for slow readers, and the server is stopped (SIGSTOP) now and then. Three watchers have to see
//! every line of three reporters, once each and all in the same order; and afterwards descriptors,
//! memory and the CPU time of an idle server are what they were.
//!
//! It runs for `LINE_CHAT_SOAK` seconds a mode, and not at all without that. `LINE_CHAT_SEED` chooses
//! the chances.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;
use socket2::SockRef;

use crate::support::child::{Server, alone, await_until, command};
use crate::support::temp_file::TempFile;
use crate::support::{ARE_YOU_THERE, DEADLINE, hello};

const REPORTERS: usize = 3;
const WATCHERS: usize = 3;

/// How often a reporter says a line.
const EACH: Duration = Duration::from_millis(10);

const PASSWORD: &str = "mustard";

/// What the process may hold more than before, in bytes.
const LEFT_OVER: u64 = 8 << 20;

/// What somebody does who is neither a reporter nor a watcher, until the soak is over.
type Act = fn(&mut Actor) -> std::io::Result<()>;

/// Each kind, and how many of it there are at a time.
const ACTS: [(usize, Act); 10] = [
    (4, visit),
    (3, flood),
    (2, reset),
    (3, stall),
    (4, stay_nickless),
    (3, give_commands),
    (2, send_junk),
    (2, speak_telnet),
    (2, half_close),
    (1, operate),
];

struct Actor {
    addrs: [SocketAddr; 2],
    rng: Rng,
    is_over: Arc<AtomicBool>,
}

#[test]
fn everything_at_once_for_a_long_time() {
    let Ok(seconds) = std::env::var("LINE_CHAT_SOAK") else {
        return;
    };
    let time = Duration::from_secs(seconds.parse().expect("a number of seconds"));
    let seed = std::env::var("LINE_CHAT_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    println!("LINE_CHAT_SEED={seed}");
    let _alone = alone();
    for lag in ["skip", "disconnect", "wait"] {
        soak(lag, time, Rng::with_seed(seed));
    }
}

fn soak(lag: &str, time: Duration, mut rng: Rng) {
    let password = TempFile::new("soak", PASSWORD);
    let server = Server::spawn(&mut command(&[
        "-qq",
        "--interactive",
        "--ops-password-file",
        password.path(),
        "--lag",
        lag,
        "--stall-timeout",
        "2",
        "--login-timeout",
        "2",
        // A watcher that waits for a processor is not closed.
        "--max-pending",
        "67108864",
        "127.0.0.1:0",
        "plain:127.0.0.1:0",
    ]));
    let addrs = [server.addr, server.announced()];
    let clean = server.descriptors();
    // What is allocated once is not counted.
    let warm_up = Duration::from_millis(500);
    run_actors(addrs, &mut rng, || thread::sleep(warm_up));
    await_until("everybody is gone", || server.descriptors() == clean);
    let memory = server.memory();

    let [_, plain] = addrs;
    let watchers: Vec<_> = (0..WATCHERS).map(|n| watch(plain, n)).collect();
    let are_reporters_over = Arc::new(AtomicBool::new(false));
    let reporter = |n| report(plain, n, Arc::clone(&are_reporters_over));
    let reporters: Vec<_> = (0..REPORTERS).map(reporter).collect();
    let mut pauses = rng.fork();
    run_actors(addrs, &mut rng, || {
        pause_now_and_then(&server, time, &mut pauses);
    });
    are_reporters_over.store(true, Ordering::Relaxed);
    let said: Vec<usize> = reporters.into_iter().map(join).collect();
    let heard: Vec<Vec<String>> = watchers.into_iter().map(join).collect();
    for (watcher, lines) in heard.iter().enumerate() {
        for (reporter, said) in said.iter().enumerate() {
            let nick = format!("reporter{reporter}: ");
            let own = lines.iter().filter_map(|line| line.strip_prefix(&nick));
            let own: Vec<usize> = own.map(|n| n.parse().expect("a number")).collect();
            let gap = own.iter().enumerate().find(|&(n, own)| n != *own);
            assert_eq!(gap, None, "{lag}: {nick} as watcher {watcher} saw it");
            assert_eq!(
                own.len(),
                *said,
                "{lag}: {nick} as watcher {watcher} saw it"
            );
        }
        assert!(
            *lines == heard[0],
            "{lag}: watcher {watcher} saw another order"
        );
    }
    await_until("descriptors are back", || server.descriptors() == clean);
    await_until("memory is back", || server.memory() <= memory + LEFT_OVER);
    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(2));
    let idle = server.cpu_time() - before;
    assert!(
        idle <= Duration::from_millis(20),
        "{lag}: {idle:?} while idle"
    );
    println!(
        "{lag}: {} lines of reporters, {} KiB more than before",
        said.iter().sum::<usize>(),
        server.memory().saturating_sub(memory) >> 10
    );
    assert!(server.stop().status.success());
}

/// Lets everybody act until `wait` returns.
fn run_actors(addrs: [SocketAddr; 2], rng: &mut Rng, wait: impl FnOnce()) {
    let is_over = Arc::new(AtomicBool::new(false));
    let mut actors = Vec::new();
    for (count, act) in ACTS {
        for _ in 0..count {
            let mut actor = Actor {
                addrs,
                rng: rng.fork(),
                is_over: Arc::clone(&is_over),
            };
            actors.push(thread::spawn(move || {
                while !actor.is_over() {
                    // The server may have closed the connection, for one of many good reasons.
                    let _ = act(&mut actor);
                }
            }));
        }
    }
    wait();
    is_over.store(true, Ordering::Relaxed);
    actors.into_iter().for_each(join);
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("it has not failed")
}

fn pause_now_and_then(server: &Server, time: Duration, rng: &mut Rng) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(rng.u64(200..2000)));
        server.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(rng.u64(1..3000)));
        server.signal(Signal::CONT);
    }
}

// Who has to see everything, and be seen.

/// A member that is in, and reads without waiting for more than a moment.
fn enter(addr: SocketAddr, nick: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream.write_all(&hello(nick)).expect("the server reads");
    stream.write_all(ARE_YOU_THERE).expect("the server reads");
    let mut received = Vec::new();
    while !received.ends_with(b"* yes\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        received.extend(byte);
    }
    stream
}

/// Sees all lines of reporters until each of them has said its last.
fn watch(addr: SocketAddr, number: usize) -> JoinHandle<Vec<String>> {
    let mut stream = enter(addr, &format!("watcher{number}"));
    thread::spawn(move || {
        let (mut lines, mut begun, mut ends) = (Vec::new(), Vec::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        while ends < REPORTERS {
            let n = stream.read(&mut buffer).expect("the server goes on");
            assert!(n > 0, "watcher {number} is closed");
            begun.extend_from_slice(&buffer[..n]);
            let end = begun
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |end| end + 1);
            for line in begun[..end].split(|&byte| byte == b'\n') {
                let Some(line) = line
                    .strip_suffix(b"\r")
                    .filter(|it| it.starts_with(b"reporter"))
                else {
                    continue;
                };
                let line = String::from_utf8(line.to_vec()).expect("UTF-8");
                match line.ends_with(": end") {
                    true => ends += 1,
                    false => lines.push(line),
                }
            }
            begun.drain(..end);
        }
        lines
    })
}

/// Says numbered lines until the soak is over. Returns how many.
fn report(addr: SocketAddr, number: usize, is_over: Arc<AtomicBool>) -> JoinHandle<usize> {
    let mut stream = enter(addr, &format!("reporter{number}"));
    let mut reader = stream.try_clone().expect("a descriptor");
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while reader.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    thread::spawn(move || {
        let mut said = 0;
        while !is_over.load(Ordering::Relaxed) {
            stream
                .write_all(format!("{said}\r\n").as_bytes())
                .expect("the server reads");
            said += 1;
            thread::sleep(EACH);
        }
        stream.write_all(b"end\r\n").expect("the server reads");
        // It must not leave before its last line is heard.
        thread::sleep(Duration::from_secs(5));
        stream.shutdown(Shutdown::Both).expect("a connection");
        said
    })
}

// What everybody else does.

impl Actor {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn connect(&mut self) -> std::io::Result<TcpStream> {
        let addr = self.addrs[self.rng.usize(..2)];
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(4)))?;
        Ok(stream)
    }

    fn nick(&mut self) -> String {
        format!("n{}", self.rng.u32(..200))
    }

    fn join(&mut self) -> std::io::Result<TcpStream> {
        let mut stream = self.connect()?;
        let nick = self.nick();
        stream.write_all(&hello(&nick))?;
        Ok(stream)
    }

    fn sleep(&mut self, most_millis: u64) {
        let end = Instant::now() + Duration::from_millis(self.rng.u64(..most_millis));
        while Instant::now() < end && !self.is_over() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Reads what is there, perhaps after a moment.
    fn read(&mut self, stream: &mut TcpStream) -> std::io::Result<()> {
        match stream.read(&mut [0; 1 << 14]) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn visit(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = actor.join()?;
    stream.write_all(b"hello\r\nand goodbye\r\n")?;
    actor.read(&mut stream)?;
    actor.sleep(20);
    Ok(())
}

fn flood(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = actor.join()?;
    let line = b"the quick brown fox jumps over the lazy dog\r\n".repeat(actor.rng.usize(1..200));
    for _ in 0..actor.rng.usize(1..500) {
        if actor.is_over() {
            break;
        }
        stream.write_all(&line)?;
        actor.read(&mut stream)?;
    }
    Ok(())
}

fn reset(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = actor.join()?;
    stream.write_all(b"in the middle of a li")?;
    actor.sleep(20);
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))
}

fn stall(actor: &mut Actor) -> std::io::Result<()> {
    let _stream = actor.join()?;
    actor.sleep(3000);
    Ok(())
}

fn stay_nickless(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = actor.connect()?;
    for _ in 0..actor.rng.usize(..100) {
        stream.write_all(b"\r\n\xff\xf6")?;
    }
    actor.sleep(3000);
    Ok(())
}

fn give_commands(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = actor.join()?;
    for _ in 0..actor.rng.usize(1..200) {
        let (one, other) = (actor.nick(), actor.nick());
        let commands = [
            format!("/nick {one}"),
            format!("/msg {other} hello"),
            format!("/ignore {other}"),
            format!("/unignore {one}"),
            "/who".to_owned(),
            "/me waves".to_owned(),
            "/last".to_owned(),
            "/quit".to_owned(),
        ];
        let command = actor.rng.choice(commands).unwrap_or_default();
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        actor.read(&mut stream)?;
    }
    Ok(())
}

fn send_junk(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = actor.connect()?;
    for _ in 0..actor.rng.usize(1..20) {
        let junk: Vec<u8> = (0..actor.rng.usize(1..3000))
            .map(|_| actor.rng.u8(..))
            .collect();
        stream.write_all(&junk)?;
        actor.read(&mut stream)?;
    }
    Ok(())
}

fn speak_telnet(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = actor.join()?;
    for _ in 0..actor.rng.usize(1..50) {
        let negotiation = [255, actor.rng.u8(251..=254), actor.rng.u8(..)];
        stream.write_all(&negotiation)?;
        stream.write_all(b"caf\xc3\xa9\xff\xf7\r\0\xff\xf4\xff\xfd\x06")?;
        actor.read(&mut stream)?;
    }
    Ok(())
}

fn half_close(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = actor.join()?;
    stream.write_all(b"one\r\ntwo")?;
    stream.shutdown(Shutdown::Write)?;
    while !actor.is_over() {
        actor.read(&mut stream)?;
    }
    Ok(())
}

fn operate(actor: &mut Actor) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(actor.addrs[0])?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(4)))?;
    stream.write_all(format!("boss\r\n/op {PASSWORD}\r\n").as_bytes())?;
    for _ in 0..actor.rng.usize(1..100) {
        let victim = actor.nick();
        let commands = ["kick", "mute", "unmute", "ban", "unban"];
        let command = actor.rng.choice(commands).unwrap_or_default();
        stream.write_all(format!("/{command} {victim} 1\r\n").as_bytes())?;
        actor.read(&mut stream)?;
        actor.sleep(50);
    }
    Ok(())
}
