//! Peers that vanish without a FIN or RST, and peers that only look as if they had: on two machines with a
//! cable between them that a test pulls (see [`namespace`](crate::support::namespace)).
//!
//! The times are a tenth of the defaults, because TCP keepalive counts in whole seconds.
//! `LINE_CHAT_FULL_TIMES=1` tests with the defaults, which takes three minutes; `--nocapture` shows what
//! was measured.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use line_chat::{Config, Limits};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::child::Lines;
use crate::support::namespace::{Cable, SERVER_IP, on_two_machines};
use crate::support::rig::OFFER;
use crate::support::server::RunningServer;
use crate::support::{YES, hello};

/// The defaults, or a tenth of them.
fn limits() -> Limits {
    let full = Limits::default();
    if env::var_os("LINE_CHAT_FULL_TIMES").is_some_and(|full| full == "1") {
        return full;
    }
    Limits {
        keepalive_idle: full.keepalive_idle / 10,
        keepalive_interval: full.keepalive_interval / 10,
        liveness_interval: full.liveness_interval / 10,
        ack_timeout: full.ack_timeout / 10,
        ..full
    }
}

/// After how much silence TCP keepalive gives a connection up.
fn keepalive_time(limits: &Limits) -> Duration {
    limits.keepalive_idle + limits.keepalive_interval * limits.keepalive_probes
}

/// A server that only asks the system when somebody asks for a nick.
fn only_when_asked() -> Limits {
    Limits {
        liveness_interval: Duration::from_secs(1000),
        keepalive_probes: 100,
        ..limits()
    }
}

/// A server, alice at a prompt on its machine, and a ghost that is a script on the other one.
struct Scene<'c> {
    cable: &'c Cable,
    server: RunningServer,
    limits: Limits,
    alice: Person,
    ghost: Person,
}

impl<'c> Scene<'c> {
    #[track_caller]
    fn new(cable: &'c Cable, limits: Limits) -> Self {
        let server = RunningServer::start_with(|config: &mut Config| {
            let ghosts = format!("plain:{SERVER_IP}:0");
            let listen = [&ghosts, "interactive:127.0.0.1:0"].map(str::parse);
            config.listen = listen.map(|addr| addr.expect("an address")).into();
            config.limits = limits.clone();
        });
        let [from_there, from_here] = server.addrs() else {
            panic!("two listeners: {:?}", server.addrs());
        };
        // Nothing takes longer than a few times this.
        let patience = keepalive_time(&self::limits()) * 3;
        let mut alice = Person::connect(*from_here, patience);
        alice.say("alice");
        alice.await_line("* welcome, alice. /help lists the commands. nobody else is here yet");
        let mut ghost = Person::new(cable.connect(*from_there), patience);
        ghost.send(&hello("ghost"));
        ghost.await_line(YES);
        alice.await_line("* ghost joined");
        // With this line goes the acknowledgement of what it has got.
        ghost.say("hello");
        alice.await_line("ghost: hello");
        Self {
            cable,
            server,
            limits,
            alice,
            ghost,
        }
    }

    /// Pulls the cable, and returns when.
    #[track_caller]
    fn pull(&self) -> Instant {
        self.cable.pull();
        Instant::now()
    }

    /// Somebody else asks for the ghost's nick, and may get it.
    #[track_caller]
    fn is_nick_free(&self) -> Option<Person> {
        let mut newcomer = Person::connect(self.server.addrs()[0], self.limits.keepalive_idle);
        newcomer.send(&hello("ghost"));
        match newcomer.line().as_str() {
            YES => Some(newcomer),
            refusal => {
                assert!(refusal.contains("ghost"), "{refusal}");
                None
            }
        }
    }
}

/// A process that ends with its test, be it stopped or not.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One end of a connection.
struct Person(BufReader<TcpStream>);

impl Person {
    fn connect(addr: SocketAddr, patience: Duration) -> Self {
        Self::new(
            TcpStream::connect(addr).expect("the server listens"),
            patience,
        )
    }

    fn new(stream: TcpStream, patience: Duration) -> Self {
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(patience)).expect("a time-out");
        Self(BufReader::new(stream))
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server reads");
    }

    #[track_caller]
    fn say(&mut self, text: &str) {
        self.send(format!("{text}\r\n").as_bytes());
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).expect("a line in time");
        let text = line.strip_prefix(OFFER).unwrap_or(&line);
        let text = std::str::from_utf8(text).expect("UTF-8");
        text.trim_end().to_owned()
    }

    /// Passes over lines until this one.
    #[track_caller]
    fn await_line(&mut self, wanted: &str) {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "closed before {wanted:?}");
            if line == wanted {
                return;
            }
            assert!(!line.contains(" left"), "{line} before {wanted:?}");
        }
    }

    /// Nothing comes for so long.
    #[track_caller]
    fn expect_silence_for(&mut self, time: Duration) {
        let patience = self.0.get_ref().read_timeout().expect("a time-out");
        let set = |time| self.0.get_ref().set_read_timeout(time);
        set(Some(time)).expect("a time-out");
        let heard = self.0.fill_buf().map(<[u8]>::to_vec);
        let error = heard.expect_err("nothing happens");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        let set = |time| self.0.get_ref().set_read_timeout(time);
        set(patience).expect("a time-out");
    }
}

#[test]
fn a_silent_peer_that_vanishes_is_found_by_keepalive() {
    on_two_machines(|cable| {
        let mut scene = Scene::new(cable, limits());
        let pulled = scene.pull();
        scene.alice.await_line("* ghost left");
        let took = pulled.elapsed();
        let expected = keepalive_time(&scene.limits);
        println!("a silent peer was found after {took:.1?}, of {expected:?}");
        // The kernel counts in ticks, from the last thing that it heard.
        assert!(took > expected.mul_f64(0.9), "{took:?}");
    });
}

#[test]
fn a_vanished_peer_that_is_written_to_is_found_without_acknowledgements() {
    on_two_machines(|cable| {
        let mut scene = Scene::new(cable, limits());
        let pulled = scene.pull();
        scene.alice.say("anybody here?");
        scene.alice.expect_silence_for(scene.limits.ack_timeout / 2);
        scene.alice.say("nobody?");
        scene.alice.await_line("* ghost left");
        let took = pulled.elapsed();
        let least = scene.limits.ack_timeout;
        println!("a peer that is written to was found after {took:.1?}, of {least:?} and a round");
        assert!(took >= least, "{took:?}");
        assert!(took < keepalive_time(&scene.limits), "{took:?}");
        assert!(scene.is_nick_free().is_some());
    });
}

#[test]
fn who_asks_for_the_nick_of_a_vanished_peer_that_was_written_to_gets_it_at_once() {
    on_two_machines(|cable| {
        let mut scene = Scene::new(cable, only_when_asked());
        assert!(scene.is_nick_free().is_none());
        scene.cable.lose();
        let pulled = Instant::now();
        scene.alice.say("anybody here?");
        let time = scene.limits.ack_timeout;
        let mut heir = None;
        while heir.is_none() {
            // Nobody finds it before somebody asks.
            scene.alice.expect_silence_for(time / 30);
            heir = scene.is_nick_free();
            assert!(pulled.elapsed() < time * 2, "the ghost is dead");
        }
        assert!(pulled.elapsed() >= time, "it may come back");
        let mut heir = heir.expect("the ghost is dead");
        println!("the nick was got after {:.1?}", pulled.elapsed());
        for line in ["* ghost left", "* ghost joined"] {
            assert_eq!(scene.alice.line(), line);
        }
        heir.say("I am back");
        scene.alice.await_line("ghost: I am back");
    });
}

#[test]
fn who_asks_for_the_nick_of_a_silent_peer_that_vanished_gets_it_at_once() {
    on_two_machines(|cable| {
        let mut scene = Scene::new(cable, only_when_asked());
        let pulled = scene.pull();
        let limits = &scene.limits;
        let probed =
            limits.keepalive_idle + limits.keepalive_interval * limits.max_unanswered_probes;
        for (command, is_free) in [("/nick Ghost", false), ("/nick GHOST", true)] {
            if is_free {
                scene.alice.expect_silence_for(probed);
            }
            scene.alice.say(command);
            match is_free {
                false => assert!(scene.alice.line().contains("taken")),
                true => {
                    assert_eq!(scene.alice.line(), "* ghost left");
                    assert_eq!(scene.alice.line(), "* you are now GHOST");
                }
            }
        }
        println!("the nick was got after {:.1?}", pulled.elapsed());
    });
}

#[test]
fn a_stopped_client_that_lives_is_kept_with_a_closed_window() {
    on_two_machines(|cable| {
        let mut scene = Scene::new(cable, limits());
        // A process whose input is the connection.
        let stream = cable.connect(scene.server.addrs()[0]);
        let input = stream.try_clone().expect("a descriptor");
        let client = Command::new("cat")
            .stdin(Stdio::from(OwnedFd::from(input)))
            .stdout(Stdio::piped())
            .spawn()
            .expect("cat(1)");
        let mut client = Running(client);
        let output = Lines::of(client.0.stdout.take().expect("it is a pipe"));
        let mut stream = stream;
        stream
            .write_all(&hello("sleeper"))
            .expect("the server reads");
        assert_eq!(output.next().as_deref(), Some("* yes\r\n"));
        scene.alice.await_line("* sleeper joined");
        let pid = Pid::from_child(&client.0);
        kill_process(pid, Signal::STOP).expect("it lives");
        let lines = 500;
        for n in 0..lines {
            scene.ghost.say(&format!("{n:0>1000}"));
            scene.alice.await_line(&format!("ghost: {n:0>1000}"));
        }
        let pending = scene.server.handle().metrics().expect("it runs");
        assert!(pending.pending_bytes > 0, "its window is not closed");
        // Longer than any of the times.
        let time = keepalive_time(&scene.limits).mul_f64(1.2);
        scene.alice.expect_silence_for(time / 2);
        let mut other = Person::connect(scene.server.addrs()[0], time);
        other.send(&hello("sleeper"));
        let refusal = other.line();
        assert!(refusal.contains("taken"), "{refusal}");
        scene.alice.expect_silence_for(time / 2);
        kill_process(pid, Signal::CONT).expect("it lives");
        for n in 0..lines {
            let line = output.next();
            assert_eq!(line, Some(format!("ghost: {n:0>1000}\r\n")));
        }
    });
}

#[test]
fn a_peer_that_comes_back_within_the_time_is_kept() {
    on_two_machines(|cable| {
        let mut scene = Scene::new(cable, limits());
        let pulled = scene.pull();
        scene.alice.say("are you still there?");
        scene.alice.expect_silence_for(scene.limits.ack_timeout / 3);
        // The system is asked while nothing comes from it.
        assert!(scene.is_nick_free().is_none());
        cable.plug_in();
        println!("the cable was out for {:.1?}", pulled.elapsed());
        scene.ghost.await_line("alice: are you still there?");
        let time = scene.limits.ack_timeout + scene.limits.liveness_interval;
        scene.alice.expect_silence_for(time * 2);
        assert!(scene.is_nick_free().is_none());
        scene.ghost.say("yes");
        scene.alice.await_line("ghost: yes");
    });
}
