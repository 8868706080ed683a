//! What systemd is told, by a socket that stands for its own.

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::DEADLINE;
use crate::support::child::{Client, Server, await_until, bare, command, command_after, run};
use crate::support::strace::{self, await_trace};
use crate::support::temp_file::{TempFile, TempFolder};

/// In microseconds: the server is to show a sign of life at half of it.
const WATCHDOG_USEC: &str = "40000";

struct Manager {
    socket: UnixDatagram,
    folder: TempFolder,
}

impl Manager {
    fn new(name: &str) -> Self {
        let folder = TempFolder::new(name);
        let socket = UnixDatagram::bind(folder.path_of("notify")).expect("a socket");
        let manager = Self { socket, folder };
        manager.wait_at_most(DEADLINE);
        manager
    }

    fn wait_at_most(&self, time: Duration) {
        let set = self.socket.set_read_timeout(Some(time));
        set.expect("a time-out");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(&[args, &["127.0.0.1:0"]].concat());
        self.told_by(&mut command);
        command
    }

    fn told_by<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("NOTIFY_SOCKET", self.folder.path_of("notify"))
    }

    fn try_next(&self) -> io::Result<String> {
        let mut datagram = [0; 256];
        let length = self.socket.recv(&mut datagram)?;
        Ok(String::from_utf8_lossy(&datagram[..length]).into_owned())
    }

    #[track_caller]
    fn next(&self) -> String {
        self.try_next().expect("systemd is told something")
    }
}

#[test]
fn systemd_is_told_that_the_server_is_ready_who_is_there_and_that_it_ends() {
    let manager = Manager::new("told");
    let server = Server::spawn(&mut manager.command(&[]));
    assert_eq!(manager.next(), "READY=1");
    assert_eq!(manager.next(), "STATUS=0 clients, 0 members");
    // Who has come is told after ten seconds, for which this test does not wait.
    let _alice = server.join("alice");
    server.signal(Signal::TERM);
    assert_eq!(manager.next(), "STOPPING=1");
    assert!(server.wait().status.success());
}

// Whatever is started after the service may connect at once.
#[test]
fn systemd_is_told_that_the_server_is_ready_after_every_listener_listens() {
    if !strace::is_there() {
        return;
    }
    let manager = Manager::new("listening");
    let log = manager.folder.path_of("calls");
    let [chat, metrics] = ["chat", "metrics"].map(|it| manager.folder.path_of(it));
    let strace =
        format!(r#"exec strace --daemonize --trace=listen,write --output={log} "$0" "$@""#);
    let (chat, metrics) = (format!("unix:{chat}"), format!("unix:{metrics}"));
    let args = ["127.0.0.1:0", &chat, "--metrics", &metrics];
    let server = Server::spawn(manager.told_by(&mut command_after(&strace, &args)));
    assert_eq!(manager.next(), "READY=1");
    assert!(server.stop().status.success());
    let calls = await_trace(&log);
    let (before, after) = calls.split_once("READY=1").expect("it was sent");
    let is_listen = |call: &&str| call.starts_with("listen(");
    let listeners = |calls: &str| calls.lines().filter(is_listen).count();
    assert_eq!((listeners(before), listeners(after)), (3, 0), "{calls}");
}

#[test]
fn a_server_that_reads_its_files_again_says_so_and_is_ready_afterwards() {
    let motd = TempFile::new("reloading", "welcome\n");
    for (name, args) in [
        ("reload-motd", &["--interactive", "--motd", motd.path()][..]),
        ("reload-nothing", &[]),
    ] {
        let manager = Manager::new(name);
        // Away from the terminal of whoever runs the tests: there, SIGHUP without files means its end.
        let mut command = bare("setsid");
        command.arg(env!("CARGO_BIN_EXE_line-chat")).args(args);
        let server = Server::spawn(manager.told_by(command.arg("127.0.0.1:0")));
        assert_eq!(manager.next(), "READY=1");
        assert_eq!(manager.next(), "STATUS=0 clients, 0 members");
        server.signal(Signal::HUP);
        let reloading = manager.next();
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let since: u64 = since
            .and_then(|it| it.parse().ok())
            .expect("since when it does");
        let uptime = fs::read_to_string("/proc/uptime").expect("proc(5)");
        let uptime: f64 = uptime
            .split(' ')
            .next()
            .and_then(|it| it.parse().ok())
            .expect("seconds");
        let ago = uptime - Duration::from_micros(since).as_secs_f64();
        assert!((-1.0..DEADLINE.as_secs_f64()).contains(&ago), "{ago} s ago");
        assert_eq!(manager.next(), "READY=1");
        assert!(server.stop().status.success());
    }
}

// systemd kills a service whose signs of life stop. A stopped process stands for a turn that hangs.
#[test]
fn a_server_that_hangs_shows_no_sign_of_life() {
    let manager = Manager::new("watchdog");
    let mut command = manager.command(&[]);
    let server = Server::spawn(command.env("WATCHDOG_USEC", WATCHDOG_USEC));
    assert_eq!(manager.next(), "READY=1");
    let mut signs = 0;
    while signs < 3 {
        signs += usize::from(manager.next() == "WATCHDOG=1");
    }
    server.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", server.pid().as_raw_nonzero());
    await_until("it is stopped", || {
        let stat = fs::read_to_string(&stat).expect("it lives");
        stat.contains(") T ")
    });
    manager.wait_at_most(Duration::from_millis(1));
    while manager.try_next().is_ok() {}
    // Ten times as long as it may take.
    manager.wait_at_most(Duration::from_millis(200));
    manager.try_next().expect_err("it hangs");
    server.signal(Signal::CONT);
    manager.wait_at_most(DEADLINE);
    assert_eq!(manager.next(), "WATCHDOG=1");
    server.stop();
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_is_not_fed() {
    let manager = Manager::new("anothers");
    let mut command = manager.command(&[]);
    command
        .env("WATCHDOG_USEC", WATCHDOG_USEC)
        .env("WATCHDOG_PID", "1");
    let server = Server::spawn(&mut command);
    assert_eq!(manager.next(), "READY=1");
    assert_eq!(manager.next(), "STATUS=0 clients, 0 members");
    manager.wait_at_most(Duration::from_millis(200));
    manager.try_next().expect_err("nobody waits for it");
    server.stop();
}

#[test]
fn systemds_socket_may_have_an_abstract_name() {
    let name = format!("line-chat-{}-notify", std::process::id());
    let addr = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&addr).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut command = command(&["127.0.0.1:0"]);
    let server = Server::spawn(command.env("NOTIFY_SOCKET", format!("@{name}")));
    let mut datagram = [0; 256];
    let length = socket.recv(&mut datagram).expect("it is told");
    assert_eq!(&datagram[..length], b"READY=1");
    server.stop();
}

#[test]
fn a_socket_of_systemd_that_is_not_there_is_named() {
    let mut command = command(&["127.0.0.1:0"]);
    let remains = run(command.env("NOTIFY_SOCKET", "/nowhere/notify"));
    assert_eq!(remains.status.code(), Some(1));
    let expected = "line-chat: cannot reach NOTIFY_SOCKET /nowhere/notify: ";
    assert!(remains.log.starts_with(expected), "{}", remains.log);
}

// A dead manager is no reason to end, nor to wait.
#[test]
fn a_server_outlives_the_socket_of_systemd() {
    let manager = Manager::new("gone");
    let mut command = manager.command(&[]);
    let server = Server::spawn(command.env("WATCHDOG_USEC", WATCHDOG_USEC));
    assert_eq!(manager.next(), "READY=1");
    drop(manager);
    let mut alice: Client = server.join("alice");
    alice.await_heard();
    assert!(server.stop().status.success());
}
