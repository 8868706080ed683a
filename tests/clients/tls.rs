//! Real clients that speak TLS: people who talk, and scripts that end by themselves.

use std::process::{Command, Stdio};

use crate::support::child::{Server, bare, command};
use crate::support::temp_file::{TempFile, TempFolder};
use crate::support::terminal::Terminal;
use crate::support::tls::{NAME, Pair};
use crate::support::tools::{are_there, output_of};
use crate::{ASKED, installed, report_missing};

/// A server with two listeners, one of them for TLS, and the certificate that clients trust.
struct Room {
    server: Server,
    port: u16,
    _files: [TempFile; 2],
    cert: String,
}

impl Room {
    #[track_caller]
    fn open(name: &str, profile: &str) -> Self {
        let pair = Pair::self_signed();
        let cert = TempFile::new(&format!("{name}-cert"), &pair.cert);
        let key = TempFile::new(&format!("{name}-key"), &pair.key);
        let server = Server::spawn(&mut command(&[
            "127.0.0.1:0",
            &format!("{profile}tls:127.0.0.1:0"),
            "--tls-cert",
            cert.path(),
            "--tls-key",
            key.path(),
        ]));
        let line = server.printed();
        let port = line.trim_end().trim_end_matches(" (plain)");
        let port = port.rsplit(':').next().and_then(|port| port.parse().ok());
        Self {
            server,
            port: port.unwrap_or_else(|| panic!("no port: {line:?}")),
            cert: cert.path().to_owned(),
            _files: [cert, key],
        }
    }

    /// How each client connects: only the first two look at the certificate by themselves.
    fn client(&self, program: &str) -> Vec<String> {
        let (port, cert) = (self.port, &self.cert);
        let args = match program {
            "socat" => format!("- OPENSSL:127.0.0.1:{port},cafile={cert},commonname={NAME}"),
            "gnutls-cli" => format!(
                "--logfile=/dev/null --x509cafile {cert} --verify-hostname={NAME} -p {port} 127.0.0.1"
            ),
            "openssl" => format!(
                "s_client -quiet -verify_return_error -CAfile {cert} -connect 127.0.0.1:{port}"
            ),
            "ncat" => format!("--ssl 127.0.0.1 {port}"),
            _ => panic!("how does {program} connect?"),
        };
        args.split(' ').map(str::to_owned).collect()
    }
}

const CLIENTS: [&str; 4] = ["socat", "gnutls-cli", "openssl", "ncat"];

#[test]
fn people_talk_with_each_client_of_tls() {
    for program in CLIENTS {
        if installed(&[program]).is_none() {
            report_missing(program);
            continue;
        }
        let room = Room::open(&format!("talk-{program}"), "interactive+");
        let mut bob = room.server.connect();
        bob.enter("bob");
        let mut alice = Terminal::run(program, &room.client(program));
        alice.await_text(ASKED);
        alice.type_line("alice");
        alice.await_line("* welcome, ");
        alice.type_line("h\u{e9}llo, is this private?");
        bob.expect("alice: h\u{e9}llo, is this private?");
        bob.say("on your half of it");
        alice.await_text("bob: on your half of it\n");
        alice.type_line("/quit");
        alice.await_text("* goodbye\n");
    }
}

#[test]
fn scripts_get_their_answers_by_tls_and_end() {
    if !are_there(&["socat", "gnutls-cli", "ncat"]) {
        return;
    }
    let room = Room::open("scripts", "");
    let mut bob = room.server.connect();
    bob.enter("bob");
    for program in ["socat", "gnutls-cli", "ncat"] {
        let mut script = bare("/bin/sh");
        let client = room.client(program).join(" ");
        let flags = if program == "socat" { "-t 20 " } else { "" };
        let line = format!("printf 'bot\\r\\nhello\\r\\n\\377\\366' | {program} {flags}{client}");
        let (answer, _) = output_of(script.args(["-c", &line]));
        assert!(answer.ends_with("* yes\r\n"), "{program}: {answer:?}");
        bob.expect("bot: hello");
    }
}

#[test]
fn openssl_stays_at_the_end_of_its_input() {
    if !are_there(&["openssl"]) {
        return;
    }
    let room = Room::open("stays", "");
    let mut bob = room.server.connect();
    bob.enter("bob");
    let mut script = Command::new("openssl");
    script.args(room.client("openssl")).stderr(Stdio::null());
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().expect("it is installed");
    let mut input = script.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, b"bot\nhello\n").expect("it reads");
    drop(input);
    bob.expect("bot: hello");
    bob.say("still there?");
    let output = script.stdout.take().expect("a pipe");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("a line");
    assert_eq!(line, "bob: still there?\r\n");
    script.kill().expect("it runs");
    script.wait().expect("our child");
}

#[test]
fn browsers_are_refused_by_the_handshake() {
    if !are_there(&["curl"]) {
        return;
    }
    let room = Room::open("browsers", "");
    let url = format!("https://127.0.0.1:{}/", room.port);
    let status = Command::new("curl").args(["-sk", &url]).status();
    // CURLE_SSL_CONNECT_ERROR (libcurl-errors(3)).
    assert_eq!(status.expect("it is installed").code(), Some(35));
    let log = room.server.stop().log;
    let words = "handshake failed: peer doesn't support any known protocol\n";
    assert!(log.contains(words), "{log}");
}

#[test]
fn an_rsa_key_is_warned_of() {
    if !are_there(&["openssl"]) {
        return;
    }
    let folder = TempFolder::new("rsa");
    let (cert, key) = (folder.path_of("cert.pem"), folder.path_of("key.pem"));
    let words = "req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=chat.example";
    let mut openssl = Command::new("openssl");
    openssl.args(words.split(' '));
    output_of(openssl.args(["-keyout", &key, "-out", &cert]));
    let server = Server::spawn(&mut command(&[
        "127.0.0.1:0",
        "tls:127.0.0.1:0",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ]));
    let log = server.stop().log;
    let warning = format!("the key in {key} is one of RSA, and the room waits");
    assert!(log.contains(&warning), "{log}");
}
