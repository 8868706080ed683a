//! What the process holds while clients do not read, or send what has to wait: `--max-pending-total`
//! bounds memory, and what is shortened is given back.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;

use crate::connect_with_small_buffer;
use crate::support::child::{Client, Server, alone, command};
use crate::support::{ARE_YOU_THERE, DEADLINE};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// `--max-pending-total` of the servers, in MiB.
const LIMITS: [u64; 3] = [8, 64, 256];

/// What a process may hold beside that: its pool, what it says in one turn, what malloc keeps.
const SLACK: u64 = 24 * MIB;

/// How often memory is looked at.
const EACH: Duration = Duration::from_millis(20);

/// How long it has not grown when it has come to rest. A loud speaker waits for a second until
/// readers that take nothing no longer count.
const REST: Duration = Duration::from_millis(1500);

/// Resident memory of a process, in bytes (proc(5)).
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|kib| kib.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * KIB
}

fn pid(server: &Server) -> i32 {
    server.pid().as_raw_nonzero().get()
}

/// The most memory that a server holds at any time while `act` runs.
fn worst_while(server: &Server, act: impl FnOnce()) -> u64 {
    let pid = pid(server);
    let (act_is_over, is_over) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let mut worst = 0;
        loop {
            worst = worst.max(resident(pid));
            if is_over.recv_timeout(EACH) != Err(mpsc::RecvTimeoutError::Timeout) {
                return worst.max(resident(pid));
            }
        }
    });
    act();
    drop(act_is_over);
    watch.join().expect("it only looks")
}

/// Waits until a server's memory grows no more.
fn await_rest(server: &Server) {
    await_rest_of(server, REST);
}

/// Waits until a server's memory has not grown for this long.
fn await_rest_of(server: &Server, rest: Duration) {
    let start = Instant::now();
    let (mut most, mut since) = (0, start);
    while since.elapsed() < rest {
        assert!(start.elapsed() < DEADLINE, "its memory never rests");
        let now = resident(pid(server));
        if now > most + 64 * KIB {
            (most, since) = (now, Instant::now());
        }
        thread::sleep(EACH);
    }
}

/// Fails unless a server's memory came near its limit, and not far above it.
#[track_caller]
fn expect_bounded(what: &str, limit: u64, grown: u64) {
    println!("{what}: {} of {} MiB", grown / MIB, limit / MIB);
    assert!(
        grown <= limit + SLACK,
        "{what}: {} MiB above the start with a limit of {} MiB",
        grown / MIB,
        limit / MIB
    );
    // Otherwise there was nothing to bound.
    assert!(
        grown >= limit / 4,
        "{what}: only {} MiB with a limit of {} MiB",
        grown / MIB,
        limit / MIB
    );
}

#[track_caller]
fn start(limit: u64, args: &[&str]) -> Server {
    let total = limit.to_string();
    Server::start(&[&["-q", "--max-pending-total", &total], args].concat())
}

/// A member that reads nothing.
#[track_caller]
fn join_without_reading(server: &Server, nick: &str) -> Client {
    let mut reader = connect_with_small_buffer(server);
    reader.enter(nick);
    reader
}

/// Bob says so many lines of 4 KiB.
#[track_caller]
fn say(bob: &mut Client, lines: usize) {
    let line = ["x".repeat(4000), "\r\n".to_owned()].concat();
    bob.send(line.repeat(lines).as_bytes());
    bob.await_heard();
}

// All queues together take no more memory than their limit, however many readers come that never
// read, and though some that went are still being told why.
#[test]
fn readers_that_never_read_cost_no_more_memory_than_all_queues_may_have() {
    let _alone = alone();
    for limit in LIMITS.map(|limit| limit * MIB) {
        // A queue never gets near its own limit.
        let server = start(limit, &["--max-pending", "67108864"]);
        let mut bob = server.join("bob");
        say(&mut bob, 10);
        let before = server.memory();
        let mut readers = Vec::new();
        let worst = worst_while(&server, || {
            for round in 0..12 {
                let nicks = (0..16).map(|n| format!("reader{round}.{n}"));
                readers.extend(nicks.map(|nick| join_without_reading(&server, &nick)));
                say(&mut bob, 256);
            }
        });
        expect_bounded("queues", limit, worst.saturating_sub(before));
    }
}

/// How long the server reads nothing from any client before it is taken to read no more.
const PATIENCE: Duration = Duration::from_millis(200);

/// Clients that have said `input` and read nothing, at most as many as there can be descriptors. The
/// server may not read all of it, or close them, to save memory.
#[track_caller]
fn senders(server: &Server, most: usize, input: impl Fn(usize) -> Vec<u8>) -> Vec<TcpStream> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).expect("up to the maximum is allowed");
    let allowed = maximum.map_or(usize::MAX, |most| most.try_into().expect("64 bits"));
    let mut unsent = Vec::new();
    let sender = |number| {
        let mut sender = TcpStream::connect(server.addr).expect("the server listens");
        sender.set_nonblocking(true).expect("a non-blocking socket");
        let mut input = input(number);
        if send_what_fits(&mut sender, &mut input) != Sent::All {
            unsent.push((number, input));
        }
        sender
    };
    let senders = (0..most.min(allowed.saturating_sub(200))).map(sender);
    let mut senders: Vec<TcpStream> = senders.collect();
    let mut since = Instant::now();
    while !unsent.is_empty() && since.elapsed() < PATIENCE {
        unsent.retain_mut(|(number, input)| {
            let sent = send_what_fits(&mut senders[*number], input);
            if sent != Sent::Nothing {
                since = Instant::now();
            }
            sent != Sent::All
        });
        thread::sleep(Duration::from_millis(2));
    }
    senders
}

#[derive(PartialEq, Eq)]
enum Sent {
    /// Or as much as the server will ever take, because it has closed the connection.
    All,
    Some,
    Nothing,
}

/// Sends as much as the kernel takes now, and removes it from `input`.
fn send_what_fits(sender: &mut TcpStream, input: &mut Vec<u8>) -> Sent {
    let before = input.len();
    while !input.is_empty() {
        match sender.write(input) {
            Ok(sent) => drop(input.drain(..sent)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return Sent::All,
        }
    }
    match input.len() {
        0 => Sent::All,
        rest if rest < before => Sent::Some,
        _ => Sent::Nothing,
    }
}

/// How many have input that must wait: one read of each, 16 KiB, is 47 MiB together.
const SENDERS: usize = 3000;

/// How many queues are full while they wait.
const READERS: usize = 31;

/// More than a queue and the kernel hold.
const FLOOD_LINES: usize = 4000;

// Input that has to wait is memory as well: what readers have not read and what speakers may not say
// yet is bounded together. Here the room waits for readers that have nearly all that there may be.
#[test]
fn input_that_waits_for_the_room_counts_with_the_queues() {
    let _alone = alone();
    // Side by side, because most of the time nothing happens, and that is waited for.
    thread::scope(|scope| {
        for limit in LIMITS {
            scope.spawn(move || expect_bounded_while_the_room_waits(limit * MIB));
        }
    });
}

#[track_caller]
fn expect_bounded_while_the_room_waits(limit: u64) {
    let each = (limit / (READERS as u64 + 1)).to_string();
    let server = start(limit, &["--lag", "wait", "--max-pending", &each]);
    let before = server.memory();
    let nicks = (0..READERS).map(|n| format!("reader{n}"));
    let nicks = nicks.map(|nick| join_without_reading(&server, &nick));
    let _readers: Vec<Client> = nicks.collect();
    let worst = worst_while(&server, || {
        let mut speaker = TcpStream::connect(server.addr).expect("the server listens");
        let line = ["x".repeat(4000), "\r\n".to_owned()].concat();
        let flood = ["speaker\r\n", &line.repeat(FLOOD_LINES)].concat();
        // The kernel does not take all of it. The end of the server ends it.
        thread::spawn(move || speaker.write_all(flood.as_bytes()));
        await_rest(&server);
        let input = "x\r\n".repeat(7000);
        let _senders = senders(&server, SENDERS, |n| {
            format!("sender{n}\r\n{input}").into_bytes()
        });
        await_rest(&server);
    });
    expect_bounded("queues and held input", limit, worst.saturating_sub(before));
}

// So does input of speakers that wait for their own rate of lines.
#[test]
fn input_that_waits_for_the_rate_of_its_speaker_counts() {
    let _alone = alone();
    let limit = LIMITS[0] * MIB;
    // Each may say one line in a quarter of an hour, and that one is too long for the others.
    let pace = ["--rate", "0.001", "--burst", "1", "--max-line", "16"];
    let server = start(limit, &pace);
    let before = server.memory();
    let input = "this line is too long\r\n".repeat(1000);
    let worst = worst_while(&server, || {
        let _senders = senders(&server, SENDERS, |n| {
            format!("sender{n}\r\n{input}").into_bytes()
        });
        await_rest(&server);
    });
    expect_bounded("held input", limit, worst.saturating_sub(before));
}

// So does a line whose end has not come yet.
#[test]
fn lines_without_an_end_count() {
    let _alone = alone();
    let limit = LIMITS[0] * MIB;
    let long = ["--max-line", "1048576", "--max-pending", "4194304"];
    let server = start(limit, &long);
    let before = server.memory();
    let worst = worst_while(&server, || {
        let _senders = senders(&server, 64, |n| {
            format!("sender{n}\r\n{}", "x".repeat(1 << 20)).into_bytes()
        });
        await_rest(&server);
    });
    expect_bounded("unfinished lines", limit, worst.saturating_sub(before));
}

/// How many clients never give a nick.
const NEWCOMERS: usize = 1000;

/// How much a queue of theirs holds, and what the last words and its buffer add.
const NEWCOMER_QUEUE: u64 = 20 * KIB;

// A client that is no member yet has a short queue: line ends, each of which is answered with a question,
// and nothing that is read.
#[test]
fn clients_without_a_nick_that_read_nothing_cost_little_memory() {
    let _alone = alone();
    for limit in LIMITS.map(|limit| limit * MIB) {
        let server = start(limit, &["--interactive", "--max-clients-per-ip", "0"]);
        drop(server.connect());
        let before = server.memory();
        let line_ends = b"\r\n".repeat(30_000);
        let worst = worst_while(&server, || {
            let _newcomers = senders(&server, NEWCOMERS, |_| line_ends.clone());
            await_rest(&server);
        });
        let grown = worst.saturating_sub(before);
        println!(
            "{} KiB for {NEWCOMERS} clients, limit {} MiB",
            grown / KIB,
            limit / MIB
        );
        assert!(grown <= limit + SLACK, "{} MiB", grown / MIB);
        let most = NEWCOMERS as u64 * NEWCOMER_QUEUE + LEFT_OVER;
        assert!(grown <= most, "{} MiB", grown / MIB);
        assert!(grown >= MIB, "there was something to bound");
    }
}

/// How many clients without a nick there are at a time, and how often each comes.
const GUESTS: usize = 250;
const RETURNS: usize = 2;

/// How long a server that waits for nothing takes at most until it reads them.
const SHORT_REST: Duration = Duration::from_millis(150);

/// How clients without a nick may try to get more memory than that, together.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Each hangs up and comes again, while its last connection may still be ending.
    Reconnect,
    /// At another listener each time.
    OtherListener,
    /// Where nothing but "are you there" is answered.
    AsScript,
    /// By asking for another name before they have one.
    Rename,
}

impl Way {
    /// What a client sends, most of which is answered.
    fn input(self) -> Vec<u8> {
        match self {
            Self::Reconnect | Self::OtherListener => b"\r\n".repeat(12_000),
            Self::AsScript => ARE_YOU_THERE.repeat(20_000),
            Self::Rename => b"/nick a\r\n/nick b\r\n".repeat(2000),
        }
    }
}

/// Sends what the kernel takes from clients that read nothing, and drops each where the next one comes.
#[track_caller]
fn come_again(server: &Server, listeners: &[SocketAddr], input: &[u8]) {
    let mut guests: Vec<TcpStream> = Vec::new();
    for round in 0..RETURNS {
        for guest in 0..GUESTS {
            let listener = listeners[(guest + round) % listeners.len()];
            let mut stream = TcpStream::connect(listener).expect("the server listens");
            let socket = SockRef::from(&stream);
            socket.set_recv_buffer_size(4 << 10).expect("SO_RCVBUF");
            stream.set_nonblocking(true).expect("a non-blocking socket");
            send_what_fits(&mut stream, &mut input.to_vec());
            match guests.get_mut(guest) {
                Some(last) => *last = stream,
                None => guests.push(stream),
            }
        }
        await_rest_of(server, SHORT_REST);
    }
}

// However such clients come, and come again.
#[test]
fn clients_without_a_nick_get_no_more_memory_by_another_way_in() {
    let _alone = alone();
    let limit = LIMITS[1];
    let total = (limit * MIB).to_string();
    let people = ["interactive:127.0.0.1:0", "interactive:127.0.0.1:0"];
    let scripts = ["plain:127.0.0.1:0", "plain:127.0.0.1:0"];
    let flags = ["-q", "--max-clients-per-ip", "0", "--max-pending-total"];
    let args = [&flags[..], &[&total], &people, &scripts].concat();
    for way in [
        Way::Reconnect,
        Way::OtherListener,
        Way::AsScript,
        Way::Rename,
    ] {
        let server = Server::spawn(&mut command(&args));
        let people = [server.addr, server.announced()];
        let scripts = [server.announced(), server.announced()];
        let all = [people, scripts].concat();
        let listeners = match way {
            Way::Reconnect | Way::Rename => &people[..1],
            Way::OtherListener => &all[..],
            Way::AsScript => &scripts[..],
        };
        let before = server.memory();
        let worst = worst_while(&server, || come_again(&server, listeners, &way.input()));
        let grown = worst.saturating_sub(before);
        println!("{way:?}: {} KiB", grown / KIB);
        // Each has two connections at most that have not ended.
        let most = 2 * GUESTS as u64 * NEWCOMER_QUEUE + LEFT_OVER;
        assert!(grown <= most, "{way:?}: {} MiB", grown / MIB);
        assert!(grown >= MIB / 2, "{way:?}: only {} KiB", grown / KIB);
    }
}

/// How many readers have queues that become shorter.
const LAGGARDS: usize = 32;

/// What a server may keep of what it gives back: its pool, and what malloc keeps.
const LEFT_OVER: u64 = 8 * MIB;

/// Waits until a server holds no more than `most` bytes beside what it held `before`. Every client
/// that it has now has to be still there: what goes with its client was not given back before.
#[track_caller]
fn expect_memory_back(server: &Server, before: u64, most: u64) {
    let descriptors = server.descriptors();
    let start = Instant::now();
    loop {
        let grown = server.memory().saturating_sub(before);
        assert!(
            server.descriptors() == descriptors && start.elapsed() < DEADLINE,
            "{} MiB are held though {} are enough",
            grown / MIB,
            most / MIB
        );
        if grown <= most {
            return;
        }
        thread::sleep(EACH);
    }
}

/// Readers that read nothing, and bob, who has said `lines` lines of 4 KiB to them; the server's
/// memory before that.
#[track_caller]
fn laggards(server: &Server, lines: usize) -> (Client, Vec<Client>, u64) {
    let mut bob = server.join("bob");
    say(&mut bob, 10);
    let before = server.memory();
    let nicks = (0..LAGGARDS).map(|n| format!("reader{n}"));
    let readers = nicks.map(|nick| join_without_reading(server, &nick));
    let readers: Vec<Client> = readers.collect();
    let worst = worst_while(server, || say(&mut bob, lines));
    let grown = worst.saturating_sub(before);
    assert!(grown > LAGGARDS as u64 * MIB, "only {} MiB", grown / MIB);
    (bob, readers, before)
}

// A queue that is cut gives its memory back at once, while its client is still being told why.
#[test]
fn a_queue_that_is_cut_gives_its_memory_back() {
    let _alone = alone();
    let server = Server::start(&["-q", "--lag", "disconnect", "--max-pending", "2097152"]);
    let (_bob, readers, before) = laggards(&server, 800);
    expect_memory_back(&server, before, LEFT_OVER);
    drop(readers);
}

// A queue of which most was read gives back what it needs no more, though it is never empty.
#[test]
fn a_queue_of_which_most_was_read_gives_its_memory_back() {
    let _alone = alone();
    let server = Server::start(&["-q", "--max-pending", "16777216"]);
    let (said, unread) = (600, 96);
    let (_bob, mut readers, before) = laggards(&server, said);
    for reader in &mut readers {
        for _ in unread..said {
            reader.line().expect("the server is there");
        }
    }
    // What is unread may be in the queue or in the kernel.
    let most = (LAGGARDS * unread * 4) as u64 * KIB;
    expect_memory_back(&server, before, most + LEFT_OVER);
}

/// How much is queued at the worst moment of a burst.
const BURST: u64 = 500 * MIB;

// After a burst the process is as small as it was, time after time, whether its readers read or go.
#[test]
fn after_each_of_several_bursts_memory_goes_back() {
    let _alone = alone();
    let server = start(0, &["--max-pending", "67108864"]);
    let mut bob = server.join("bob");
    say(&mut bob, 10);
    let before = server.memory();
    // What each reader has in its queue, and in the kernel.
    let lines = (BURST / LAGGARDS as u64 / (4 * KIB)) as usize + 600;
    for round in 0..3 {
        let nicks = (0..LAGGARDS).map(|n| format!("reader{round}.{n}"));
        let nicks = nicks.map(|nick| join_without_reading(&server, &nick));
        let mut readers: Vec<Client> = nicks.collect();
        let worst = worst_while(&server, || say(&mut bob, lines));
        let grown = worst.saturating_sub(before);
        assert!(grown >= BURST, "only {} MiB", grown / MIB);
        if round % 2 == 0 {
            for reader in &mut readers {
                (0..lines).for_each(|_| drop(reader.line().expect("the server is there")));
            }
        }
        drop(readers);
        let start = Instant::now();
        while server.memory() > before + LEFT_OVER {
            let grown = server.memory().saturating_sub(before);
            assert!(
                start.elapsed() < DEADLINE,
                "round {round}: {} MiB",
                grown / MIB
            );
            thread::sleep(EACH);
        }
        println!("round {round}: {} MiB at most", grown / MIB);
    }
}

/// How many readers have short queues, and how much of them is queued at the worst moment.
const MANY: usize = 800;
const MANY_QUEUED: u64 = 64 * MIB;

// So it is when many queues are short, and clients come meanwhile that stay: what malloc gives them must not
// keep all that lies before it.
#[test]
fn after_a_burst_of_short_queues_memory_goes_back_though_others_have_come() {
    let _alone = alone();
    let server = start(0, &["--max-pending", "16777216"]);
    let mut bob = server.join("bob");
    say(&mut bob, 10);
    let before = server.memory();
    let nicks = (0..MANY).map(|n| format!("reader{n}"));
    let nicks = nicks.map(|nick| join_without_reading(&server, &nick));
    let readers: Vec<Client> = nicks.collect();
    let mut others = Vec::new();
    while server.memory() < before + MANY_QUEUED {
        assert!(others.len() < 1000, "the kernel takes everything");
        bob.send("x".repeat(2000).as_bytes());
        bob.send(b"\r\n");
        bob.await_heard();
        for _ in 0..4 {
            others.push(server.join(&format!("é{}", others.len())));
        }
    }
    drop(readers);
    let start = Instant::now();
    while server.memory() > before + LEFT_OVER {
        let grown = server.memory().saturating_sub(before);
        assert!(start.elapsed() < DEADLINE, "{} MiB stay", grown / MIB);
        thread::sleep(EACH);
    }
}
