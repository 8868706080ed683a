//! Listeners that a supervisor hands down, as systemd does (sd_listen_fds(3)).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use crate::support::DEADLINE;
use crate::support::child::{Client, Lines, command_after};
use crate::support::temp_file::TempFolder;

/// A shell that becomes the server, with two sockets as the descriptors 3 and 4. Its log is on standard
/// output, behind what it prints.
fn with_sockets(first: OwnedFd, second: OwnedFd, names: &str, args: &[&str]) -> Command {
    let setup = "exec 3<&0 4<&2 0</dev/null 2>&1; export LISTEN_PID=$$";
    let mut command = command_after(setup, args);
    command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", names);
    command.stdin(first).stderr(Stdio::from(second));
    command.stdout(Stdio::piped());
    command
}

/// The server, which ends with the test.
struct Running(Child);

impl Running {
    #[track_caller]
    fn start(mut command: Command) -> (Self, Lines) {
        let mut server = Self(command.spawn().expect("a shell"));
        let lines = Lines::of(server.0.stdout.take().expect("a pipe"));
        (server, lines)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn listeners_that_are_handed_down_serve_what_their_names_say() {
    let folder = TempFolder::new("inherited");
    let path = folder.path_of("chat");
    for (args, more) in [(&["-qq"][..], false), (&["-qq", "127.0.0.1:0"], true)] {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = tcp.local_addr().expect("it is bound");
        let local = UnixListener::bind(&path).expect("a path of our own");
        let names = "interactive:unix+plain";
        let (_server, lines) = Running::start(with_sockets(tcp.into(), local.into(), names, args));
        let next = || lines.next().expect("it runs");
        if more {
            let own = next();
            assert!(own.starts_with("server running on 127.0.0.1:"), "{own}");
            assert!(own.ends_with(" (plain)\n"), "it is as without them: {own}");
        }
        assert_eq!(next(), format!("server running on {addr}\n"));
        assert_eq!(next(), format!("server running on unix:{path} (plain)\n"));

        let script = UnixStream::connect(&path).expect("the server listens");
        script.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let mut script = BufReader::new(script);
        let hello = b"bot\nhello\n\xff\xf6";
        script.get_mut().write_all(hello).expect("the server reads");
        let mut line = String::new();
        script.read_line(&mut line).expect("a line in time");
        assert_eq!(line, "* yes\r\n");
        let mut person = Client::new(TcpStream::connect(addr).expect("the server listens"));
        person.say("alice");
        // What was said before is kept, because somebody at a prompt may come.
        while !person.line().expect("it serves").ends_with(", bot: hello") {}
        std::fs::remove_file(&path).expect("the server leaves it alone");
    }
}

#[test]
fn a_socket_that_cannot_be_used_is_one_line_that_says_why() {
    let listener = || TcpListener::bind("127.0.0.1:0").expect("a free port");
    let connection = |listener: &TcpListener| {
        let addr = listener.local_addr().expect("it is bound");
        TcpStream::connect(addr).expect("it listens")
    };
    let waiting = listener();
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for (second, names, why) in [
        (
            OwnedFd::from(udp),
            "plain:plain",
            "it is neither TCP nor a Unix socket of streams; set ListenStream= in the socket unit",
        ),
        (
            connection(&waiting).into(),
            "chat.socket:chat.socket",
            "it is a connection and not a listener; set Accept=no in the socket unit",
        ),
        (
            listener().into(),
            "plain:http+tls",
            "http and tls do not go together: give one of them",
        ),
    ] {
        let command = with_sockets(listener().into(), second, names, &["-qq"]);
        let (mut server, lines) = Running::start(command);
        let expected = format!("line-chat: cannot use inherited socket 2: {why}\n");
        assert_eq!(lines.rest(), expected);
        assert_eq!(server.0.wait().expect("our child").code(), Some(1));
    }
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let second = tcp.try_clone().expect("a descriptor");
    let args = ["-qq", "127.0.0.1:0"];
    let mut command = command_after("exec 3<&0 4<&2 0</dev/null 2>&1", &args);
    command.env("LISTEN_FDS", "2").env("LISTEN_PID", "1");
    command.stdin(OwnedFd::from(second)).stdout(Stdio::piped());
    let (mut server, lines) = Running::start(command);
    let line = lines.next().expect("it runs");
    assert!(line.starts_with("server running on 127.0.0.1:"), "{line}");
    server.0.kill().expect("it runs");
    assert_eq!(lines.rest(), "");
}
