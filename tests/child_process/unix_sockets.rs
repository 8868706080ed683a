//! Unix sockets: their files, who is at the other end, and what the limits make of that.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Signal, getegid, geteuid};

use crate::support::child::{Client, Lines, Server, bare, command, command_after, run};
use crate::support::strace::{self, await_trace};
use crate::support::temp_file::TempFolder;
use crate::support::{ARE_YOU_THERE, DEADLINE, YES, hello};

/// A client on this machine.
struct Local(BufReader<UnixStream>);

impl Local {
    #[track_caller]
    fn connect(path: &str) -> Self {
        Self::new(UnixStream::connect(path).expect("the server listens"))
    }

    #[track_caller]
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        Self(BufReader::new(stream))
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the server reads");
    }

    #[track_caller]
    fn enter(&mut self, nick: &str) {
        self.send(&hello(nick));
        self.expect(YES);
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        let mut got = String::new();
        self.0.read_line(&mut got).expect("a line in time");
        assert_eq!(got, format!("{line}\r\n"));
    }

    /// Closes its sending half, and returns what comes until the server closes.
    #[track_caller]
    fn leave(mut self) -> String {
        let stream = self.0.get_ref();
        stream.shutdown(Shutdown::Write).expect("a connection");
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("the server closes");
        rest
    }
}

/// A server on a port and on this Unix socket.
#[track_caller]
fn serve(socket: &str) -> Server {
    let server = Server::spawn(&mut command(&["127.0.0.1:0", socket]));
    let (_, path) = socket.split_once(':').expect("a word");
    let path = path.split(',').next().unwrap_or_default();
    assert_eq!(server.printed(), format!("server running on unix:{path}\n"));
    server
}

#[track_caller]
fn expect_refusal(socket: &str, why: &str) {
    let remains = run(&mut command(&[socket]));
    let name = socket.split(',').next().expect("its name");
    let expected = format!("line-chat: cannot listen on {name}: {why}\n");
    assert_eq!((&*remains.log, &*remains.stdout), (&*expected, ""));
    assert_eq!(remains.status.code(), Some(1));
}

// Who talks.

#[test]
fn a_port_and_a_unix_socket_share_a_room_and_the_log_names_the_user() {
    let folder = TempFolder::new("room");
    let path = folder.path_of("chat");
    let server = serve(&format!("unix:{path}"));
    let mut alice = server.join("alice");
    let mut bob = Local::connect(&path);
    bob.enter("bob");
    bob.send(b"hello\n");
    alice.expect("bob: hello");
    alice.say("hi");
    bob.expect("alice: hi");
    assert_eq!(bob.leave(), "");
    alice.leave();
    let log = server.stop().log;
    let uid = geteuid().as_raw();
    let joined = format!("bob joined from uid {uid} (pid {})", std::process::id());
    assert!(log.contains(&joined), "{log}");
}

#[test]
fn a_client_that_closes_its_sending_half_gets_its_answers() {
    let folder = TempFolder::new("half");
    let path = folder.path_of("chat");
    let server = serve(&format!("interactive+unix:{path}"));
    let mut alice = server.join("alice");
    let address = format!("UNIX-CONNECT:{path}");
    for words in [&["nc", "-NU", &path][..], &["socat", "-t20", "-", &address]] {
        let Some(mut client) = Program::start(words, |_| {}) else {
            continue;
        };
        // All at once, with its end behind it.
        client.send(b"bot\n/who\nhello\n");
        drop(client.0.stdin.take());
        let output = client.rest();
        assert!(output.contains("* 2 here: alice, bot\r\n"), "{output}");
        alice.expect("bot: hello");
    }
}

/// A program with pipes for its input and its output, which ends with the test.
struct Program(Child);

impl Program {
    /// Starts it, or says that it is not there.
    fn start(words: &[&str], prepare: impl FnOnce(&mut Command)) -> Option<Self> {
        let mut command = bare(words[0]);
        command.args(&words[1..]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        prepare(&mut command);
        let started = command.spawn();
        if let Err(error) = &started {
            let _ = writeln!(io::stderr(), "skipped: {words:?}: {error}");
        }
        started.ok().map(Self)
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        let input = self.0.stdin.as_mut().expect("it is open");
        input.write_all(bytes).expect("it reads");
    }

    /// All that it writes until it ends, telnet commands included.
    #[track_caller]
    fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let output = self.0.stdout.as_mut().expect("it is open");
        output.read_to_end(&mut rest).expect("a pipe");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// What it writes, as it comes.
    #[track_caller]
    fn lines(&mut self) -> Lines {
        Lines::of(self.0.stdout.take().expect("nobody has it"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clients_of_one_user_are_limited_but_not_our_own() {
    if !geteuid().is_root() {
        let _ = writeln!(io::stderr(), "skipped: only root can be somebody else");
        return;
    }
    let folder = TempFolder::new("limit");
    let path = folder.path_of("chat");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let socket = format!("unix:{path},mode=0666");
    let args = ["--max-clients-per-ip", "1", "127.0.0.1:0", &socket];
    let _server = Server::spawn(&mut command(&args));
    let mut ours = ["one", "two"].map(|nick| {
        let mut client = Local::connect(&path);
        client.enter(nick);
        client
    });
    let nc_of = |uid: u32| {
        let mut nc = Program::start(&["nc", "-U", &path], |nc| {
            nc.uid(uid);
        })?;
        let lines = nc.lines();
        Some((nc, lines))
    };
    let enter = |nc: &mut Program, lines: &Lines, nick| {
        nc.send(&hello(nick));
        assert_eq!(lines.next().as_deref(), Some("* yes\r\n"));
    };
    let Some((mut first, lines)) = nc_of(12345) else {
        return;
    };
    enter(&mut first, &lines, "first");
    // It is refused before it says anything, and may have ended before it could.
    let (_second, lines) = nc_of(12345).expect("it is there");
    let refusal = "* too many connections from your user, try again later\r\n";
    assert_eq!(lines.rest(), refusal);
    let (mut other, lines) = nc_of(12346).expect("it is there");
    enter(&mut other, &lines, "other");
    for client in &mut ours {
        client.send(ARE_YOU_THERE);
        client.expect(YES);
    }
}

// Its file.

#[test]
fn its_file_has_the_permissions_and_the_group_that_were_asked_for() {
    let (group, number) = some_group();
    let (own, root) = (getegid().as_raw(), geteuid().is_root());
    let other = if root { 12345 } else { own };
    for (umask, keys, mode, gid) in [
        ("022", "", 0o755, own),
        ("027", "", 0o750, own),
        ("022", ",mode=0660", 0o660, own),
        ("077", ",mode=0666", 0o666, own),
        ("000", ",mode=0600", 0o600, own),
        ("077", &format!(",group={other}"), 0o660, other),
        ("022", &format!(",mode=0620,group={group}"), 0o620, number),
    ] {
        let folder = TempFolder::new("mode");
        let path = folder.path_of("chat");
        let args = ["127.0.0.1:0", &format!("unix:{path}{keys}")];
        let server = Server::spawn(&mut command_after(&format!("umask {umask}"), &args));
        server.printed();
        let file = fs::symlink_metadata(&path).expect("a socket");
        assert!(file.file_type().is_socket());
        assert_eq!(
            (file.mode() & 0o7777, file.gid()),
            (mode, gid),
            "{umask} {keys}"
        );
        assert_eq!(
            folder.names(),
            ["chat"],
            "nothing is left of its first name"
        );
        drop(server);
    }
}

#[test]
fn nobody_can_connect_before_its_file_has_its_group_and_permissions() {
    if !strace::is_there() {
        return;
    }
    let folder = TempFolder::new("order");
    let (path, log) = (folder.path_of("chat"), folder.path_of("calls"));
    let group = getegid().as_raw();
    let strace = format!(
        r#"exec strace --daemonize --trace='/^(bind|listen|rename|l?chown|f?chmod)' --output={log} "$0" "$@""#
    );
    let socket = format!("unix:{path},mode=0660,group={group}");
    let server = Server::spawn(&mut command_after(&strace, &["127.0.0.1:0", &socket]));
    server.printed();
    assert!(server.stop().status.success());
    let calls = await_trace(&log);
    // Of the socket with a path, from its bind on.
    let (_, calls) = calls.split_once("AF_UNIX").expect("it is bound");
    let names = calls
        .lines()
        .skip(1)
        .filter_map(|call| call.split_once('('));
    let names: Vec<&str> = names.map(|(name, _)| name).take(4).collect();
    assert!(
        names[0].ends_with("chown") || names[0].starts_with("fchownat"),
        "{names:?}"
    );
    assert!(names[1].contains("chmod"), "{names:?}");
    assert_eq!(names[2], "listen");
    assert!(names[3].starts_with("rename"), "{names:?}");
}

/// A group that we may give to a file: its name and its number.
fn some_group() -> (String, u32) {
    let groups = fs::read_to_string("/etc/group").expect("every system has it");
    let mut groups = groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(1)?.parse().ok()?))
    });
    let is_ours = |id: u32| geteuid().is_root() || id == getegid().as_raw();
    let own = getegid().as_raw();
    // Our own group may have no name.
    let named = groups.rfind(|&(_, id)| is_ours(id));
    named.unwrap_or_else(|| (own.to_string(), own))
}

#[test]
fn a_file_that_a_killed_server_left_is_replaced_and_a_live_one_is_not() {
    let folder = TempFolder::new("stale");
    let path = folder.path_of("chat");
    let socket = format!("unix:{path}");
    let killed = serve(&socket);
    killed.signal(Signal::KILL);
    killed.wait();
    assert_eq!(folder.names(), ["chat"], "nobody has removed it");
    let server = serve(&socket);
    let before = fs::symlink_metadata(&path).expect("a socket").ino();
    let running = "already running; stop the server that has it or choose another name";
    expect_refusal(&socket, running);
    let after = fs::symlink_metadata(&path).expect("a socket").ino();
    assert_eq!(after, before, "it was not touched");
    Local::connect(&path).enter("alice");
    server.stop();
    assert_eq!(folder.names(), [""; 0], "a clean end removes it");
}

#[test]
fn a_live_socket_whose_queue_is_full_is_not_replaced() {
    let folder = TempFolder::new("queue");
    let path = folder.path_of("chat");
    let _live = UnixListener::bind(&path).expect("a socket");
    let mut waiting = Vec::new();
    loop {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let addr = socket2::SockAddr::unix(&path).expect("a short path");
        match socket.connect(&addr) {
            Ok(()) => waiting.push(socket),
            Err(_) => break,
        }
    }
    let running = "already running; stop the server that has it or choose another name";
    expect_refusal(&format!("unix:{path}"), running);
}

#[test]
fn a_file_that_is_not_ours_any_more_is_not_removed() {
    let folder = TempFolder::new("ours");
    let path = folder.path_of("chat");
    let server = serve(&format!("unix:{path}"));
    fs::write(folder.path_of("other"), "kept").expect("our folder");
    fs::rename(folder.path_of("other"), &path).expect("our folder");
    let remains = server.stop();
    assert_eq!(remains.status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "kept");
    // Neither is it replaced at the start.
    let why = "there is something else than a socket; remove it or choose another path";
    expect_refusal(&format!("unix:{path}"), why);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "kept");
}

#[test]
fn a_failed_start_leaves_no_file() {
    let folder = TempFolder::new("failed");
    let socket = format!("unix:{}", folder.path_of("chat"));
    let remains = run(&mut command(&[&socket, "192.0.2.1:7"]));
    assert_eq!(remains.status.code(), Some(1), "{}", remains.log);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_path_may_have_107_bytes() {
    let folder = TempFolder::new("long");
    let room = 107 - folder.path().len() - 1;
    let longest = folder.path_of(&"x".repeat(room));
    let server = serve(&format!("unix:{longest}"));
    Local::connect(&longest).enter("alice");
    server.stop();
    assert_eq!(folder.names(), [""; 0]);
    let why = "the path has 108 bytes, and that of a socket has at most 107; choose a shorter one";
    expect_refusal(&format!("unix:{longest}x"), why);
}

#[test]
fn what_keeps_a_socket_from_its_path_is_said() {
    let folder = TempFolder::new("errors");
    let path = folder.path_of("chat");
    for (socket, why) in [
        (
            "unix:/nowhere/at/all",
            "there is no such folder; create it or choose another path",
        ),
        (
            &format!("unix:{path},group=no-such-group"),
            "there is no group no-such-group; getent group lists them",
        ),
    ] {
        expect_refusal(socket, why);
    }
    assert_eq!(folder.names(), [""; 0]);
}

// Without a file.

#[test]
fn an_abstract_name_is_no_file() {
    let name = format!("line-chat-{}-abstract", std::process::id());
    let socket = format!("unix:@{name}");
    let server = serve(&socket);
    let addr = SocketAddr::from_abstract_name(&name).expect("a short name");
    let stream = UnixStream::connect_addr(&addr).expect("the server listens");
    Local::new(stream).enter("alice");
    let running = "already running; stop the server that has it or choose another name";
    expect_refusal(&socket, running);
    let name = "x".repeat(108);
    let why = "the name has 108 bytes, and that of a socket has at most 107; choose a shorter one";
    expect_refusal(&format!("unix:@{name}"), why);
    drop(server);
}

// How it is asked for.

#[test]
fn variables_and_flags_name_unix_sockets_and_plain_ones_are_marked_beside_people() {
    let folder = TempFolder::new("grammar");
    let paths = ["people", "scripts", "health"].map(|name| folder.path_of(name));
    let [people, scripts, health] = &paths;
    let mut command = command(&["--interactive", "127.0.0.1:0"]);
    command.args([
        "--",
        &format!("unix:{people},mode=0600"),
        &format!("unix+http:{health}"),
    ]);
    command.env(
        "LINE_CHAT_PLAIN",
        format!("unix:{scripts},eol=lf 127.0.0.1:0"),
    );
    let server = Server::spawn(&mut command);
    assert_eq!(
        server.printed(),
        format!("server running on unix:{people}\n")
    );
    assert_eq!(
        server.printed(),
        format!("server running on unix:{health} (http)\n")
    );
    assert_eq!(
        server.printed(),
        format!("server running on unix:{scripts} (plain)\n")
    );
    let tcp = server.printed();
    assert!(tcp.ends_with(" (plain)\n"), "{tcp}");
    let mut script = Local::connect(scripts);
    script.send(b"bot\n\xff\xf6");
    let mut line = String::new();
    script.0.read_line(&mut line).expect("a line in time");
    assert_eq!(line, "* yes\n");
    let mut probe = Local::connect(health);
    probe.send(b"GET /healthz HTTP/1.0\r\n\r\n");
    assert!(probe.leave().starts_with("HTTP/1.1 200 OK\r\n"));
    let mut person = Client::connect(server.addr);
    assert_eq!(
        person.line().as_deref(),
        Some("* this is a chat room: what you type goes to everybody in it, line by line")
    );
}

#[test]
fn a_wrong_key_is_a_usage_error_that_names_the_listener_and_the_key() {
    for (args, text) in [
        (
            &["127.0.0.1:1 unix:/a,mode=0600,mode=0600"][..],
            "unix:/a: key \"mode\": it is given twice: give it once",
        ),
        (
            &["--plain", "127.0.0.1:1,group=chat"],
            "127.0.0.1:1: key \"group\": it is only for the path of a Unix socket, \
             such as unix:/run/line-chat/chat.sock",
        ),
        (
            &["tls:127.0.0.1:1,mode=0600"],
            "tls:127.0.0.1:1: key \"mode\": it is only for the path of a Unix socket, \
             such as unix:/run/line-chat/chat.sock",
        ),
    ] {
        let remains = run(&mut command(args));
        assert!(remains.log.contains(text), "{}", remains.log);
        assert_eq!(remains.status.code(), Some(2));
    }
}
