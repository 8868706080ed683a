//! The README and the manual, held against the program: their shell lines run, the examples of
//! `--help` as well, and their tables name what the program names.
//!
//! Ports in these lines become ports that the system chooses. What installs or builds something is not
//! run. Where a client is missing its line is not run either, and a message on standard error says
//! so; with `LINE_CHAT_CLIENTS=all` that is a failure.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use line_chat::{CloseReason, Metrics};

use crate::support::child::{Client, Server, await_until, bare, command, run};

const README: &str = include_str!("../../README.md");
const OPERATING: &str = include_str!("../../src/manual/operating.md");
const PROTOCOL: &str = include_str!("../../src/manual/protocol.md");

/// What these lines install or build is not for a test to do.
const NOT_RUN: [&str; 3] = ["apt-get", "cargo", "tests/fuzz/run"];

// Shell lines.

#[test]
fn the_shell_lines_of_the_readme_run() {
    assert_eq!(Shell::run_blocks(README), 8);
}

#[test]
fn the_shell_lines_of_the_manual_run() {
    assert_eq!(Shell::run_blocks(OPERATING), 6);
    assert_eq!(Shell::run_blocks(PROTOCOL), 1);
    assert_eq!(
        Shell::run_blocks(include_str!("../../src/manual/testing.md")),
        0
    );
}

#[test]
fn the_examples_of_help_run() {
    let help = run(&mut command(&["--help"])).stdout;
    let (_, examples) = help.split_once("Examples:\n").expect("examples");
    let lines = examples.lines().take_while(|line| line.starts_with("  "));
    // Behind a line, or below it, stands what it is for.
    let lines = lines.filter_map(|line| line.trim_end().strip_prefix("  ")?.split("   ").next());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    assert_eq!(Shell::default().run_lines(&lines), 4);
}

/// A place where shell lines are typed: a folder with what they name, and the servers they started.
#[derive(Default)]
struct Shell {
    folder: Folder,
    servers: Vec<Server>,
    /// The port that stands in a line, and the one that is meant.
    ports: HashMap<u16, u16>,
}

impl Shell {
    /// Runs each block of a page and returns how many lines were to be run.
    #[track_caller]
    fn run_blocks(page: &str) -> usize {
        let blocks = page.split("```sh\n").skip(1);
        let blocks = blocks.filter_map(|rest| rest.split("```").next());
        blocks
            .map(|block| block.replace("\\\n", ""))
            .map(|block| Self::default().run_lines(&block.lines().collect::<Vec<_>>()))
            .sum()
    }

    /// Runs lines in their order and returns how many were to be run.
    #[track_caller]
    fn run_lines(mut self, lines: &[&str]) -> usize {
        let mut count = 0;
        for line in lines {
            let program = line.split(' ').next().unwrap_or_default();
            match program {
                _ if NOT_RUN.contains(&program) => continue,
                "line-chat" => self.start(line),
                "telnet" | "nc" => self.talk(line, program),
                "printf" => self.pipe(line),
                "curl" => self.ask(line),
                "openssl" => self.make(line),
                _ => panic!("how is this run? {line}"),
            }
            count += 1;
        }
        for server in self.servers {
            assert!(server.stop().status.success());
        }
        count
    }

    /// A line that a shell runs, which becomes its last program.
    fn command(&self, line: &str) -> Command {
        let mut shell = bare("/bin/sh");
        shell.args(["-c", line]).current_dir(&self.folder.0);
        let path = env::var("PATH").unwrap_or_default();
        shell.env("PATH", format!("{}:{path}", self.folder.0.display()));
        shell
    }

    /// A line that starts a server, on ports that the system chooses.
    #[track_caller]
    fn start(&mut self, line: &str) {
        let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
        let words = line
            .split(' ')
            .filter(|word| has_ipv6 || !word.contains("[::"));
        let line = words.collect::<Vec<_>>().join(" ");
        let ports = ports_of(&line);
        let free = ports
            .iter()
            .fold(line, |line, port| line.replace(&format!(":{port}"), ":0"));
        let mut command = self.command(&format!("exec {free}"));
        // A line without an address means the default one, whose port may be taken.
        let server = Server::spawn(command.env("LINE_CHAT_ADDR", "127.0.0.1:0"));
        let ports = if ports.is_empty() { vec![6142] } else { ports };
        let mut meant = HashMap::new();
        for (n, port) in ports.into_iter().enumerate() {
            let addr = if n == 0 {
                server.addr
            } else {
                server.announced()
            };
            meant.entry(port).or_insert(addr.port());
        }
        self.ports.extend(meant);
        self.servers.push(server);
    }

    /// A line for a client, with the port of a server that is there: of this shell, or a new one.
    #[track_caller]
    fn for_client(&mut self, line: &str) -> (String, Client) {
        if self.ports.is_empty() {
            self.start("line-chat 127.0.0.1:6142");
        }
        let alice = self.servers.last().expect("a server").join("alice");
        let line = self
            .ports
            .iter()
            .fold(line.to_owned(), |line, (port, meant)| {
                let with_meant = line.replace(&format!(" {port}"), &format!(" {meant}"));
                with_meant.replace(&format!(":{port}"), &format!(":{meant}"))
            });
        (line, alice)
    }

    /// Somebody types into a client.
    #[track_caller]
    fn talk(&mut self, line: &str, program: &str) {
        let (line, mut alice) = self.for_client(line);
        if !is_there(program, None) {
            return;
        }
        let mut client = Typing::into(self.command(&format!("exec {line}")));
        client.send("bob\nhello\n");
        alice.expect("bob: hello");
        // The next line's alice has the same nick.
        alice.leave();
    }

    /// A line makes files.
    #[track_caller]
    fn make(&self, line: &str) {
        if is_there("openssl", None) {
            let made = self.command(line).stderr(Stdio::null()).status();
            assert!(made.expect("a shell").success(), "{line}");
        }
    }

    /// A script says something and ends by itself.
    #[track_caller]
    fn pipe(&mut self, line: &str) {
        let (line, mut alice) = self.for_client(line);
        if !is_there("nc", Some("-N")) {
            return;
        }
        let mut script = self.command(&line);
        let mut script = Running(script.stdout(Stdio::null()).spawn().expect("a shell"));
        alice.expect("bot: hello");
        await_until("the script ends", || {
            let status = script.0.try_wait().expect("it is our child");
            status.is_some_and(|status| status.success())
        });
        alice.leave();
    }

    /// A health check.
    #[track_caller]
    fn ask(&mut self, line: &str) {
        let (line, alice) = self.for_client(line);
        if is_there("curl", None) {
            let output = self.command(&line).output().expect("a shell");
            let answer = String::from_utf8_lossy(&output.stdout);
            match line.contains("/metrics") {
                true => assert!(answer.ends_with("\n# EOF\n"), "{answer}"),
                false => assert_eq!(answer, "ok\n"),
            }
        }
        alice.leave();
    }
}

/// The ports that stand in a line, in their order: numbers behind a colon that begin no IPv4 address.
fn ports_of(line: &str) -> Vec<u16> {
    let after_colons = line.split(':').skip(1);
    let ports = after_colons.filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit());
        let (digits, behind) = rest.split_at(end.unwrap_or(rest.len()));
        digits.parse().ok().filter(|_| !behind.starts_with('.'))
    });
    ports.collect()
}

/// Whether a client is installed, and knows an option. If that is required, it is a failure if not.
#[track_caller]
fn is_there(program: &str, option: Option<&str>) -> bool {
    let help = Command::new(program)
        .arg("-h")
        .stdin(Stdio::null())
        .output();
    let is_there = help.as_ref().is_ok_and(|help| {
        let text = [&*help.stdout, &*help.stderr].concat();
        option.is_none_or(|option| String::from_utf8_lossy(&text).contains(option))
    });
    if !is_there {
        let is_required = env::var_os("LINE_CHAT_CLIENTS").is_some_and(|clients| clients == "all");
        let option = option.unwrap_or_default();
        assert!(!is_required, "there is no {program} {option}");
        eprintln!("there is no {program} {option}: its lines are not run");
    }
    is_there
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client into which somebody types, and who stays at the keyboard.
struct Typing(Running);

impl Typing {
    #[track_caller]
    fn into(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
        Self(Running(command.spawn().expect("a shell")))
    }

    #[track_caller]
    fn send(&mut self, text: &str) {
        let stdin = self.0.0.stdin.as_mut().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("it reads");
    }
}

/// A folder with the binary and the files that the lines name, gone when it is dropped.
struct Folder(PathBuf);

impl Default for Folder {
    fn default() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("line-chat-readme-{}-{count}", std::process::id());
        let folder = Self(env::temp_dir().join(name));
        fs::create_dir(&folder.0).expect("a folder");
        let binary = env!("CARGO_BIN_EXE_line-chat");
        symlink(binary, folder.0.join("line-chat")).expect("a link");
        fs::write(folder.0.join("ops.txt"), "secret\n").expect("a file");
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// Tables.

#[test]
fn the_readme_is_short() {
    assert!(README.lines().count() <= 200);
}

#[test]
fn the_manual_names_each_reason_to_close() {
    let words = CloseReason::ALL.map(|reason| reason.to_string());
    assert_eq!(first_column(PROTOCOL, "| word | goodbye |"), words);
}

#[test]
fn the_manual_names_each_metric() {
    let line = Metrics::default().to_string();
    let names = line.split([',', ';']);
    let name = |text: &str| {
        let (name, _) = text.trim().rsplit_once(' ').expect("a name and a number");
        name.to_owned()
    };
    let names: Vec<String> = names.map(name).collect();
    assert_eq!(
        first_column(OPERATING, "| name | kind | what it counts |"),
        names
    );
}

#[test]
fn the_manual_names_each_target_of_the_log() {
    let log = include_str!("../../src/server/log.rs");
    let targets = log.split("str = \"").skip(1);
    let targets = targets.filter_map(|rest| Some(format!("`{}`", rest.split('"').next()?)));
    let targets: Vec<String> = targets
        .filter(|it| it.starts_with("`line_chat::"))
        .collect();
    assert_eq!(first_column(OPERATING, "| target | lines |"), targets);
}

/// The first cell of each row of a table with this head.
#[track_caller]
fn first_column(page: &str, head: &str) -> Vec<String> {
    let (_, table) = page.split_once(head).expect("a table");
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let cell = |row: &str| row.split('|').nth(1).map(|cell| cell.trim().to_owned());
    rows.filter_map(cell).collect()
}
