//! `--state`: bans and mutes that outlast the server, and a file that is never half.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use crate::support::child::{Client, Server, await_until, command, run};
use crate::support::temp_file::{TempFile, TempFolder};

const HEADER: &str = "# line-chat: what is banned and muted; do not edit while the server runs\n";

/// A server for people with operators, which keeps its state there.
#[track_caller]
fn serve(state: &str, ops: &TempFile) -> Server {
    Server::start(&[
        "--interactive",
        "--ops-password-file",
        ops.path(),
        "--state",
        state,
    ])
}

/// An operator, who has read all that it got so far.
#[track_caller]
fn operator(server: &Server) -> Client {
    let mut op = server.connect();
    op.say("op");
    op.say("/op secret");
    read_until(
        &mut op,
        "* you are an operator; /help lists what you can do",
    );
    op
}

#[track_caller]
fn read_until(client: &mut Client, line: &str) {
    while client.line().expect("it comes") != line {}
}

#[track_caller]
fn await_lines(state: &str, lines: usize) {
    await_until("the state is written", || {
        fs::read_to_string(state).is_ok_and(|text| text.lines().count() == lines)
    });
}

#[test]
fn bans_and_mutes_outlast_a_server_that_is_killed() {
    let (folder, ops) = (
        TempFolder::new("state"),
        TempFile::new("state-ops", "secret\n"),
    );
    let state = folder.path_of("bans");
    let server = serve(&state, &ops);
    await_lines(&state, 1);
    let mut op = operator(&server);
    let mut bob = server.connect();
    bob.say("bob");
    read_until(&mut op, "* bob joined");
    op.say("/mute bob 2h too loud");
    op.say("/ban eve 1d");
    op.say("/ban 203.0.113.0/24 sells things");
    op.say("/mute 2001:db8::1");
    await_lines(&state, 5);
    server.signal(Signal::KILL);
    server.wait();
    let mode = fs::metadata(&state)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(folder.names(), ["bans"]);

    let server = serve(&state, &ops);
    let mut op = operator(&server);
    op.say("/bans");
    op.expect("* eve is banned for 1 day, by op");
    op.expect("* 203.0.113.0/24 is banned, by op: sells things");
    op.say("/mutes");
    op.expect("* bob is muted for 2 hours, by op: too loud");
    op.expect("* 2001:db8::/64 is muted, by op");
    // They are in force, and not only listed.
    let mut bob = server.connect();
    bob.say("bob");
    bob.say("hello");
    read_until(&mut bob, "* you are muted, that was not sent");
    let eve = "* nick \"eve\" is banned from this room";
    op.say("/nick eve");
    op.expect("* bob joined");
    op.expect(eve);
    op.say("/unmute bob");
    op.expect("* bob is no longer muted");
    // What is changed last is written as well.
    assert!(server.stop().status.success());
    let text = fs::read_to_string(&state).expect("it is there");
    let kept: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(kept.len(), 3, "{text}");
    assert!(text.starts_with(HEADER) && !text.contains("bob"), "{text}");
}

#[test]
fn what_has_ended_is_not_taken_back() {
    let (folder, ops) = (
        TempFolder::new("ended"),
        TempFile::new("ended-ops", "secret\n"),
    );
    let state = folder.path_of("bans");
    let kept = "ban\tname\teve\t-\top\t\n";
    let text = format!("{HEADER}\nban\tname\tbob\t1\top\tlong ago\n{kept}");
    fs::write(&state, text).expect("a file");
    let server = serve(&state, &ops);
    let mut op = operator(&server);
    op.say("/bans");
    op.expect("* eve is banned, by op");
    let text = fs::read_to_string(&state).expect("it is there");
    assert_eq!(text, format!("{HEADER}{kept}"));
    server.stop();
}

#[test]
fn a_state_that_cannot_be_read_or_written_is_refused_with_what_to_do() {
    let folder = TempFolder::new("broken");
    let state = folder.path_of("bans");
    let fields = "it has not six fields with tabs between them";
    for (line, why) in [
        ("ban\tname\teve", fields),
        (
            "kick\tname\teve\t-\top\t",
            "it is neither a ban nor a mute, of a name or of peers",
        ),
        ("ban\tname\ta b\t-\top\t", "that is no nick here"),
        (
            "mute\tpeers\teve\t-\top\t",
            "that is no address, network or uid",
        ),
        (
            "ban\tname\teve\tsoon\top\t",
            "its end is no number of seconds",
        ),
        (
            "ban\tname\teve\t-\top\t\u{1b}[31m",
            "it holds characters that no ban or mute has",
        ),
    ] {
        let text = format!("{HEADER}{line}\n");
        fs::write(&state, &text).expect("a file");
        let remains = run(&mut command(&[
            "--interactive",
            "--state",
            &state,
            "127.0.0.1:0",
        ]));
        let told =
            format!("line-chat: the state {state}: line 2: {why}: mend or remove that line\n");
        assert!(remains.log.ends_with(&told), "{}", remains.log);
        assert_eq!(remains.status.code(), Some(1));
        let left = fs::read_to_string(&state).expect("it is there");
        assert_eq!(left, text, "it is not touched");
        assert_eq!(folder.names(), ["bans"], "nothing is left beside it");
    }
    fs::write(&state, b"ban\tname\t\xff\t-\top\t\n").expect("a file");
    let remains = run(&mut command(&["--state", &state, "127.0.0.1:0"]));
    let told = format!("line-chat: the state {state}: it is not UTF-8\n");
    assert!(remains.log.ends_with(&told), "{}", remains.log);
    let a_folder = folder.path_of("");
    let remains = run(&mut command(&["--state", &a_folder, "127.0.0.1:0"]));
    let told = format!("line-chat: the state {a_folder}: Is a directory (os error 21)\n");
    assert!(remains.log.ends_with(&told), "{}", remains.log);
    let nowhere = folder.path_of("nowhere/bans");
    let remains = run(&mut command(&["--state", &nowhere, "127.0.0.1:0"]));
    let told = format!("line-chat: the state {nowhere}: No such file or directory (os error 2)\n");
    assert!(remains.log.ends_with(&told), "{}", remains.log);
}

#[test]
fn what_a_crash_has_left_beside_the_state_does_not_get_into_it() {
    let folder = TempFolder::new("crashed");
    let state = folder.path_of("bans");
    fs::write(format!("{state}.new"), "x".repeat(1000)).expect("a file");
    let server = Server::start(&["--interactive", "--state", &state]);
    await_lines(&state, 1);
    assert_eq!(fs::read_to_string(&state).expect("it is there"), HEADER);
    assert_eq!(folder.names(), ["bans"]);
    server.stop();
}

/// A child that writes this text to the state.
fn write(state: &str, text: &str, folder: &TempFolder) -> Child {
    let input = folder.path_of("input");
    fs::write(&input, text).expect("a file");
    let mut command = command(&["--write-state", state]);
    let input = File::open(&input).expect("it is there");
    command.stdin(input).spawn().expect("it starts")
}

/// Another writer, perhaps of a server that was killed, is writing the new file.
fn lock_new(state: &str) -> File {
    let new = File::create(format!("{state}.new")).expect("a file");
    // The weaker lock: it keeps out only who asks for the whole file.
    flock(&new, FlockOperation::LockShared).expect("nobody else has it");
    new
}

#[test]
fn a_writer_waits_for_the_one_before_and_so_does_the_next_server() {
    let folder = TempFolder::new("writers");
    let state = folder.path_of("bans");
    let kept = |name: &str| format!("{HEADER}ban\tname\t{name}\t-\top\t\n");
    let finish = |mut new: File, text: &str| {
        new.write_all(text.as_bytes()).expect("there is room");
        fs::rename(format!("{state}.new"), &state).expect("it is there");
    };
    let older = lock_new(&state);
    let mut newer = write(&state, &kept("newer"), &folder);
    await_until("it waits, or has ended", || {
        let has_ended = newer.try_wait().expect("a child").is_some();
        has_ended || has_open(newer.id(), &format!("{state}.new"))
    });
    finish(older, &kept("older"));
    assert!(newer.wait().expect("a child").success());
    assert_eq!(
        fs::read_to_string(&state).expect("it is there"),
        kept("newer")
    );

    let older = lock_new(&state);
    let mut server = command(&["--interactive", "--state", &state, "127.0.0.1:0"]);
    let server = server.stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = server.spawn().expect("it starts");
    await_until("it waits, or serves", || {
        has_open(server.id(), &format!("{state}.new"))
            || fs::read_to_string(&state).is_ok_and(|text| text != kept("newer"))
    });
    finish(older, &kept("older"));
    await_until("it has read what came last", || {
        fs::read_to_string(&state).is_ok_and(|text| text == kept("older"))
            && !has_open(server.id(), &state)
    });
    server.kill().expect("it serves");
    server.wait().expect("a child");
    assert_eq!(
        fs::read_to_string(&state).expect("it is there"),
        kept("older")
    );
}

/// Whether a process has this file open.
fn has_open(pid: u32, path: &str) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut files = files.into_iter().flatten().flatten();
    files.any(|file| fs::read_link(file.path()).is_ok_and(|it| it == Path::new(path)))
}

#[test]
fn a_disk_that_stalls_keeps_no_server_from_ending() {
    let (folder, ops) = (
        TempFolder::new("stalled"),
        TempFile::new("stalled-ops", "secret\n"),
    );
    let state = folder.path_of("bans");
    let server = serve(&state, &ops);
    await_lines(&state, 1);
    let mut op = operator(&server);
    let stalled = lock_new(&state);
    for name in ["eve", "mallory"] {
        op.say(&format!("/ban {name}"));
        read_until(
            &mut op,
            &format!("* {name} is banned, but nobody here has that name"),
        );
    }
    server.signal(Signal::TERM);
    let told = format!("bans and mutes are still being written to {state}");
    while !server.log_line().contains(&told) {}
    // The disk is well again.
    drop(stalled);
    assert!(server.wait().status.success());
    await_lines(&state, 3);
    await_until("nobody writes any more", || folder.names() == ["bans"]);
}

/// A muted client that comes back again and again changes a mute each time.
#[test]
fn the_state_is_written_once_a_second_at_most() {
    let (folder, ops) = (
        TempFolder::new("often"),
        TempFile::new("often-ops", "secret\n"),
    );
    let state = folder.path_of("bans");
    let server = serve(&state, &ops);
    let mut op = operator(&server);
    let start = Instant::now();
    for (lines, name) in (2..).zip(["eve", "mallory", "trudy"]) {
        op.say(&format!("/ban {name}"));
        await_lines(&state, lines);
    }
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(server.stop().status.success());
}

#[test]
fn a_writer_that_fails_leaves_the_old_state_and_is_told_of() {
    let (folder, ops) = (
        TempFolder::new("failing"),
        TempFile::new("failing-ops", "secret\n"),
    );
    let state = folder.path_of("bans");
    let server = serve(&state, &ops);
    let mut op = operator(&server);
    // A folder where the new file would be written.
    fs::create_dir(format!("{state}.new")).expect("a folder");
    op.say("/ban eve");
    read_until(&mut op, "* eve is banned, but nobody here has that name");
    while !server
        .log_line()
        .contains(&format!("cannot keep bans and mutes in {state}: "))
    {}
    assert_eq!(fs::read_to_string(&state).expect("it is there"), HEADER);
    fs::remove_dir(format!("{state}.new")).expect("it is empty");
    assert!(server.stop().status.success());
    let text = fs::read_to_string(&state).expect("it is there");
    assert_eq!(text, format!("{HEADER}ban\tname\teve\t-\top\t\n"));
}
