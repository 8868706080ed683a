//! Prometheus scrapes a server, and its promtool checks the page and the alerts that we ship.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::support::child::{Lines, Server, await_until};
use crate::support::families::FAMILIES;
use crate::support::http::get;
use crate::support::temp_file::TempFolder;
use crate::{installed, report_missing};

const RULES: &str = include_str!("../../src/dist/prometheus.rules.yml");

/// A Prometheus that asks a server ten times a second.
struct Prometheus {
    process: Child,
    addr: SocketAddr,
    _log: Lines,
    _folder: TempFolder,
}

impl Prometheus {
    /// `None` where it is missing, which is said.
    #[track_caller]
    fn scrape(server: SocketAddr) -> Option<Self> {
        let program = program("prometheus")?;
        let folder = TempFolder::new("prometheus");
        let config = format!(
            "global: {{scrape_interval: 100ms}}\n\
             scrape_configs:\n\
             - job_name: line-chat\n  static_configs: [{{targets: ['{server}']}}]\n"
        );
        let path = folder.path_of("prometheus.yml");
        std::fs::write(&path, config).expect("a temporary file");
        let mut process = Command::new(program)
            .arg(format!("--config.file={path}"))
            .arg(format!("--storage.tsdb.path={}", folder.path_of("data")))
            .arg("--web.listen-address=127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it is installed");
        let log = Lines::of(process.stderr.take().expect("it is a pipe"));
        let addr = loop {
            let line = log.next().expect("it listens");
            if let Some((_, rest)) = line.split_once("\"Listening on\"")
                && let Some((_, addr)) = rest.split_once("address=")
            {
                break addr.trim().parse().expect("an address");
            }
        };
        Some(Self {
            process,
            addr,
            _log: log,
            _folder: folder,
        })
    }

    fn get(&self, path: &str) -> String {
        get(self.addr, path).1
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program of the package, if it is installed.
#[track_caller]
fn program(name: &'static str) -> Option<String> {
    let program = installed(&[name]);
    if program.is_none() {
        report_missing(name);
    }
    program
}

/// Runs promtool over an input. `None` where it is missing, which is said.
#[track_caller]
fn promtool(args: &[&str], input: &str) -> Option<(bool, String)> {
    let mut promtool = Command::new(program("promtool")?)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it is installed");
    let mut to = promtool.stdin.take().expect("it is a pipe");
    to.write_all(input.as_bytes()).expect("it reads");
    drop(to);
    let output = promtool.wait_with_output().expect("it is our child");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Some((output.status.success(), said))
}

/// A server with metrics, and where they are.
#[track_caller]
fn server() -> (Server, SocketAddr) {
    let server = Server::start(&["-q", "--metrics", "127.0.0.1:0"]);
    let http = server.announced();
    (server, http)
}

#[test]
fn prometheus_knows_every_metric_with_its_type() {
    // It mostly waits: Prometheus begins five seconds after its start.
    let (server, http) = server();
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    alice.say("hello");
    bob.expect("alice: hello");
    let Some(prometheus) = Prometheus::scrape(http) else {
        return;
    };
    let members = "/api/v1/query?query=sum(line_chat_members)";
    await_until("it has asked the server", || {
        prometheus.get(members).contains(",\"2\"]")
    });
    let metadata = prometheus.get("/api/v1/metadata");
    for (name, kind) in FAMILIES {
        let entry = format!("\"{name}\":[{{\"type\":\"{kind}\",\"help\":\"");
        assert!(metadata.contains(&entry), "{entry} in {metadata}");
    }
    let lines = prometheus.get("/api/v1/query?query=line_chat_delivery_seconds_count");
    assert!(lines.contains(",\"1\"]"), "{lines}");
}

/// The page as older readers know it: the head of a counter has the suffix as well.
fn in_the_older_format(page: &str) -> String {
    let mut older = String::new();
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        let is_head = words.next() == Some("#") && words.next().is_some_and(|it| it != "EOF");
        match words.next().filter(|_| is_head) {
            Some(name) if FAMILIES.contains(&(name, "counter")) => {
                older += &line.replacen(name, &format!("{name}_total"), 1);
            }
            _ => older += line,
        }
        older.push('\n');
    }
    older
}

#[test]
fn promtool_has_nothing_to_say_about_the_page() {
    let (_server, http) = server();
    let page = in_the_older_format(&get(http, "/metrics").1);
    if let Some(said) = promtool(&["check", "metrics"], &page) {
        assert_eq!(said, (true, String::new()));
    }
}

#[test]
fn the_alerts_are_valid_and_name_only_metrics_that_are_on_the_page() {
    let (_server, http) = server();
    let page = get(http, "/metrics").1;
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let expressions = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    let words = expressions.flat_map(|expression| expression.split(|c| !is_part(c)));
    let named = words.filter(|it| it.starts_with("line_chat_") || it.starts_with("process_"));
    let named: Vec<&str> = named.collect();
    assert!(named.len() > 9, "{named:?}");
    for name in named {
        let is_sample = |line: &str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        assert!(page.lines().any(is_sample), "{name} is not on the page");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dist/prometheus.rules.yml");
    if let Some((is_valid, said)) = promtool(&["check", "rules", path], "") {
        assert!(is_valid && said.contains(" 8 rules found"), "{said}");
    }
}
