//! The pages of a listener for HTTP, over real sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::child::{Client, Server, command, run};
use crate::support::families::FAMILIES;
use crate::support::http::{connect, get};
use crate::support::temp_file::TempFolder;

/// A server for two clients, and where it answers HTTP.
fn server() -> (Server, SocketAddr) {
    let args = ["-q", "--max-clients", "2", "--metrics", "127.0.0.1:0"];
    let server = Server::start(&args);
    let http = server.announced();
    (server, http)
}

/// The value of a metric.
#[track_caller]
pub(crate) fn value(page: &str, name: &str) -> f64 {
    let mut values = page
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = values
        .next()
        .unwrap_or_else(|| panic!("{name} is missing:\n{page}"));
    value.parse().expect("a number")
}

#[test]
fn the_page_of_metrics_counts_what_was_said_and_the_process() {
    let (server, http) = server();
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    alice.say("hello");
    bob.expect("alice: hello");
    let (head, page) = get(http, "/metrics");
    let media_type = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(media_type),
        "{head}"
    );
    for (name, expected) in [
        ("line_chat_members{service=\"plain\"}", 2.0),
        ("line_chat_members{service=\"interactive\"}", 0.0),
        ("line_chat_clients_limit", 2.0),
        ("line_chat_clients", 3.0),
        ("line_chat_http_connections", 1.0),
        ("line_chat_lines_total", 1.0),
        ("line_chat_deliveries_total", 1.0),
        ("line_chat_delivery_seconds_count", 1.0),
        ("line_chat_delivery_seconds_bucket{le=\"+Inf\"}", 1.0),
        ("line_chat_closed_total{reason=\"quit\"}", 0.0),
    ] {
        assert_eq!(value(&page, name), expected, "{name}");
    }
    let resident = value(&page, "process_resident_memory_bytes");
    assert!(resident > 1e6 && resident < 1e9, "{resident}");
    let open = value(&page, "process_open_fds");
    // The connection that asked may be closed by now.
    let more = open - server.descriptors() as f64;
    assert!((0.0..=1.0).contains(&more), "{open}");
}

#[test]
fn a_variable_a_flag_and_a_word_are_three_ways_to_ask_for_metrics() {
    let mut command = command(&["127.0.0.1:0", "http:127.0.0.1:0"]);
    let two = "127.0.0.1:0 http:127.0.0.1:0";
    let server = Server::spawn(command.env("LINE_CHAT_METRICS", two));
    for _ in 0..3 {
        assert_eq!(get(server.announced(), "/healthz").1, "ok\n");
    }
    let flags = ["-q", "127.0.0.1:0", "--metrics"];
    let refused = run(&mut self::command(
        &[&flags[..], &["plain:127.0.0.1:0"]].concat(),
    ));
    let why = "metrics and plain do not go together: give one of them";
    assert!(refused.log.contains(why), "{}", refused.log);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_listener_that_shows_the_metrics_to_others_is_warned_of() {
    let folder = TempFolder::new("metrics");
    let socket = format!("unix:{}", folder.path_of("socket"));
    for (args, expected) in [
        (&["--metrics", "127.0.0.1:0"][..], 0),
        (&["--metrics", "[::1]:0"], 0),
        (&["--metrics", &socket], 0),
        (&["127.0.0.1:0"], 0),
        (&["127.0.0.1:0", "--metrics", "0.0.0.0:0"], 1),
        (
            &["127.0.0.1:0", "http:0.0.0.0:0", "--metrics", "0.0.0.0:0"],
            2,
        ),
    ] {
        let log = Server::start(&[args, &["-q"]].concat()).stop().log;
        let is_warning = |line: &&str| {
            line.contains("WARN  line_chat::server] everybody who can reach 0.0.0.0:")
                && line.contains(" can read the metrics: ")
        };
        assert_eq!(log.lines().count(), expected, "{args:?}: {log}");
        assert_eq!(log.lines().filter(is_warning).count(), expected, "{log}");
    }
}

/// Names and types of the metrics on a page, in alphabetical order.
fn families(page: &str) -> Vec<(&str, &str)> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut families: Vec<_> = types.filter_map(|it| it.split_once(' ')).collect();
    families.sort_unstable();
    families
}

#[test]
fn the_page_has_every_metric_and_the_manual_names_each() {
    let (_server, http) = server();
    let (_, page) = get(http, "/metrics");
    assert_eq!(families(&page), FAMILIES);
    let manual = include_str!("../../src/manual/operating.md");
    let (_, table) = manual
        .split_once("\n| metric | type | what it is |\n")
        .expect("a table of metrics");
    let rows = table.lines().skip(1).take_while(|row| row.starts_with('|'));
    let named = rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let mut cell = || cells.next().expect("a cell");
        let name = cell().trim_matches('`').split('{').next();
        let kind = cell();
        let suffix = match kind {
            "counter" => "_total",
            _ => "",
        };
        (name.and_then(|name| name.strip_suffix(suffix)), kind)
    });
    let expected = FAMILIES.map(|(name, kind)| (Some(name), kind));
    assert_eq!(named.collect::<Vec<_>>(), expected);
}

#[test]
fn members_are_counted_by_what_their_listener_serves() {
    let args = ["interactive:127.0.0.1:0", "--plain", "127.0.0.1:0"];
    let metrics = ["-q", "--metrics", "127.0.0.1:0"];
    let server = Server::spawn(&mut command(&[&args[..], &metrics].concat()));
    let (plain, http) = (server.announced(), server.announced());
    let mut people = ["alice", "bob"].map(|nick| {
        let mut client = server.connect();
        client.say(nick);
        client
    });
    for client in &mut people {
        while client.line().is_some_and(|it| !it.starts_with("* welcome")) {}
    }
    let mut script = Client::connect(plain);
    script.enter("bot");
    let page = get(http, "/metrics").1;
    assert_eq!(
        value(&page, "line_chat_members{service=\"interactive\"}"),
        2.0
    );
    assert_eq!(value(&page, "line_chat_members{service=\"plain\"}"), 1.0);
}

#[test]
fn an_answer_may_be_longer_than_a_queue() {
    let limits = ["--max-line", "99", "--max-pending", "700", "--metrics"];
    let server = Server::start(&[&limits[..], &["127.0.0.1:0", "-q"]].concat());
    let (_, page) = get(server.announced(), "/metrics");
    assert!(page.len() > 700 && page.ends_with("\n# EOF\n"), "{page}");
}

/// What stands between the tags of an element of a page, of which there is one.
#[track_caller]
fn element<'a>(page: &'a str, tag: &str) -> &'a str {
    let begin = format!("<{tag}>");
    let mut rest = page.split(&begin).skip(1);
    let content = rest
        .next()
        .and_then(|rest| rest.split_once(&format!("</{tag}>")));
    let (content, _) = content.unwrap_or_else(|| panic!("there is no {tag}"));
    assert_eq!(rest.next(), None, "{tag}");
    content
}

/// The SHA-256 of a text as a Content-Security-Policy names it.
#[track_caller]
fn sha256(text: &str) -> String {
    let script = "sha256sum | cut -c1-64 | tr a-f A-F | basenc -d --base16 | base64";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).stdin(Stdio::piped());
    let mut shell = shell.stdout(Stdio::piped()).spawn().expect("a shell");
    let mut input = shell.stdin.take().expect("it is a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = shell.wait_with_output().expect("it is our child").stdout;
    String::from_utf8(output).expect("base64").trim().to_owned()
}

#[test]
fn the_page_for_people_runs_its_own_script_and_no_other_and_asks_for_numbers() {
    let (server, http) = server();
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| server.join(nick));
    alice.say("hello");
    bob.expect("alice: hello");
    let (head, page) = get(http, "/");
    assert!(
        head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"),
        "{head}"
    );
    for tag in ["style", "script"] {
        let allowed = format!("; {tag}-src 'sha256-{}'; ", sha256(element(&page, tag)));
        assert!(head.contains(&allowed), "{allowed:?} in {head}");
    }
    assert!(
        head.contains("Content-Security-Policy: default-src 'none'; "),
        "{head}"
    );
    // Nothing comes from elsewhere, and no attribute is a style or a script.
    for foreign in ["http:", "https:", "//", " src=", " style=", " onclick="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("fetch(\"status.json\""), "{page}");
    let (head, status) = get(http, "/status.json");
    assert!(
        head.contains("\r\nContent-Type: application/json\r\n"),
        "{head}"
    );
    for part in [
        "\"members\":2,",
        "\"max_clients\":2,",
        "\"lines\":1,",
        "\"slowest\":[]",
    ] {
        assert!(status.contains(part), "{part} in {status}");
    }
}

#[test]
fn the_slowest_reader_is_named_by_its_number_and_by_nothing_else() {
    let (server, http) = server();
    let mut bob = server.join("bob");
    let _sleeper = server.join_with_small_buffer("sleeper");
    let line = "x".repeat(4000);
    let (mut status, mut said) = (String::new(), 0);
    while !status.contains("\"slowest\":[{\"client\":1,\"queued_bytes\":") {
        assert!(said < 1000, "its kernel takes so much? {status}");
        bob.say(&line);
        bob.await_heard();
        said += 1;
        (_, status) = get(http, "/status.json");
    }
    assert!(
        !status.contains("sleeper") && !status.contains("127.0.0.1"),
        "{status}"
    );
    assert!(status.ends_with("}]}\n"), "bob keeps up: {status}");
}

#[test]
fn a_full_server_says_that_it_is_not_ready_and_answers_all_the_same() {
    let (server, http) = server();
    let body = |path| get(http, path).1;
    assert_eq!(body("/readyz"), "ready\n");
    let _members = ["alice", "bob"].map(|nick| server.join(nick));
    let (head, why) = get(http, "/readyz");
    assert!(
        head.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{head}"
    );
    assert_eq!(why, "full: there are 2 of 2 clients\n");
    assert_eq!(body("/healthz"), "ok\n");
    // Those who only connect take no client's place, and sixteen at most.
    let mut idle: Vec<TcpStream> = (0..16).map(|_| connect(http)).collect();
    let mut refused = connect(http);
    assert_eq!(refused.read(&mut [0; 99]).expect("its end"), 0);
    idle.pop();
    while get_or_end(http).is_empty() {}
}

#[test]
fn what_is_no_request_for_a_page_is_told_so() {
    let (_server, http) = server();
    let too_long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(8 << 10));
    for (request, status, part) in [
        (
            "HEAD /healthz HTTP/1.1\r\n\r\n",
            "200 OK",
            "\r\nContent-Length: 3\r\n",
        ),
        (
            "POST / HTTP/1.1\r\n\r\n",
            "405 Method Not Allowed",
            "\r\nAllow: GET, HEAD\r\n",
        ),
        (
            "GET /nowhere HTTP/1.1\r\n\r\n",
            "404 Not Found",
            "/metrics\n",
        ),
        (
            "alice\r\nhello\r\n",
            "400 Bad Request",
            "that is no HTTP request\n",
        ),
        (
            &too_long,
            "431 Request Header Fields Too Large",
            " may have 8192 bytes ",
        ),
    ] {
        let mut stream = connect(http);
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("an answer");
        let begin = format!("HTTP/1.1 {status}\r\n");
        assert!(response.starts_with(&begin), "{response}");
        assert!(response.contains(part), "{part} in {response}");
        let is_bare = response.ends_with("\r\n\r\n");
        assert_eq!(is_bare, request.starts_with("HEAD "), "{response}");
    }
}

// A load balancer that asked during a shutdown was refused, as by a server that has crashed.
#[test]
fn a_server_that_ends_says_that_it_is_not_ready_and_goes_on_to_be_well() {
    let (server, http) = server();
    let mut bob = server.join("bob");
    let sleeper = server.join_with_small_buffer("sleeper");
    // The shutdown waits a few seconds for a client that does not read.
    while queued(http) == 0.0 {
        bob.say(&"x".repeat(4000));
        bob.await_heard();
    }
    let mut early = connect(http);
    early
        .write_all(b"GET /readyz HTTP/1.0\r\n")
        .expect("it reads");
    server.signal(Signal::TERM);
    bob.expect("* server is shutting down");
    early.write_all(b"\r\n").expect("it reads");
    let mut response = String::new();
    early.read_to_string(&mut response).expect("an answer");
    for answer in [
        response,
        get(http, "/readyz").0 + "\r\n\r\n" + &get(http, "/readyz").1,
    ] {
        assert!(
            answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{answer}"
        );
        assert!(
            answer.ends_with("\r\n\r\nending: the server shuts down\n"),
            "{answer}"
        );
    }
    assert!(get(http, "/status.json").1.contains("\"ending\":true,"));
    assert_eq!(get(http, "/healthz").1, "ok\n");
    let refused = TcpStream::connect(server.addr).expect_err("the room is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(sleeper);
    assert!(server.wait().status.success());
}

/// How many bytes are queued for all clients.
fn queued(http: SocketAddr) -> f64 {
    value(&get(http, "/metrics").1, "line_chat_queued_bytes")
}

/// The answer, or nothing if the connection is refused.
fn get_or_end(addr: SocketAddr) -> String {
    let mut stream = connect(addr);
    let mut response = String::new();
    // It may be closed before it has sent anything.
    let sent = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n");
    let read = sent.and_then(|()| stream.read_to_string(&mut response));
    read.map_or_else(|_| String::new(), |_| response)
}
