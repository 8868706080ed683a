//! TLS at a real server: its certificate, who is let in by one, and what is said of bad files.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConnection, StreamOwned};

use crate::support::child::{Client, Server, command, run};
use crate::support::temp_file::{TempFile, TempFolder};
use crate::support::tls::Pair;
use crate::support::{DEADLINE, YES, hello, http};

/// A client that speaks TLS.
struct Encrypted<S: Read + Write>(BufReader<StreamOwned<ClientConnection, S>>);

impl Encrypted<TcpStream> {
    #[track_caller]
    fn connect(addr: SocketAddr, tls: ClientConnection) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        Self::over(stream, tls)
    }

    /// The certificate that the server has shown.
    fn certificate(&self) -> CertificateDer<'static> {
        let shown = self.0.get_ref().conn.peer_certificates();
        shown.expect("a handshake")[0].clone().into_owned()
    }
}

impl<S: Read + Write> Encrypted<S> {
    fn over(stream: S, tls: ClientConnection) -> Self {
        Self(BufReader::new(StreamOwned::new(tls, stream)))
    }

    #[track_caller]
    fn send(&mut self, bytes: &[u8]) {
        let stream = self.0.get_mut();
        stream.write_all(bytes).expect("the server reads");
        stream.flush().expect("the server reads");
    }

    #[track_caller]
    fn line(&mut self) -> String {
        // A greeting begins with a command of telnet.
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).expect("a line in time");
        let line = String::from_utf8_lossy(&line);
        line.trim_end_matches("\r\n").to_owned()
    }

    #[track_caller]
    fn enter(&mut self, nick: &str) {
        self.send(&hello(nick));
        assert_eq!(self.line(), YES);
    }
}

/// A certificate and its key as the files of a server.
struct Files {
    folder: TempFolder,
}

impl Files {
    fn new(name: &str, pair: &Pair) -> Self {
        let files = Self {
            folder: TempFolder::new(name),
        };
        files.write(pair);
        files
    }

    fn write(&self, pair: &Pair) {
        fs::write(self.cert(), &pair.cert).expect("a file");
        self.write_key(&pair.key);
    }

    fn write_key(&self, key: &str) {
        let path = self.key();
        fs::write(&path, key).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("our file");
    }

    fn cert(&self) -> String {
        self.folder.path_of("cert.pem")
    }

    fn key(&self) -> String {
        self.folder.path_of("key.pem")
    }

    /// A server with these files and flags.
    #[track_caller]
    fn serve(&self, args: &[&str]) -> Server {
        let (cert, key) = (self.cert(), self.key());
        let files = ["--tls-cert", &cert, "--tls-key", &key];
        let mut command = command(&[&files[..], args].concat());
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let command = command.stdout(std::process::Stdio::piped());
        Server::spawn_unannounced(command, unknown)
    }

    /// Runs a server that does not start, and returns its last line.
    #[track_caller]
    fn error(&self, args: &[&str]) -> String {
        let (cert, key) = (self.cert(), self.key());
        let files = ["--tls-cert", &cert, "--tls-key", &key];
        let remains = run(&mut command(&[&files[..], args].concat()));
        assert_eq!(remains.status.code(), Some(1), "{}", remains.log);
        remains.log.lines().last().unwrap_or_default().to_owned()
    }
}

/// The address in the next line that a server prints, behind these words.
#[track_caller]
fn announced(server: &Server, words: &str) -> SocketAddr {
    let line = server.printed();
    let addr = line.trim_end().strip_prefix("server running on ");
    let addr = addr.and_then(|addr| addr.strip_prefix(words));
    let addr = addr.unwrap_or_else(|| panic!("{line:?}"));
    let addr = addr.split_once(" (").map_or(addr, |(addr, _)| addr);
    addr.parse().expect("an address")
}

#[test]
fn clients_with_and_without_tls_share_the_room_and_both_kinds_of_handshake_are_counted() {
    let pair = Pair::self_signed();
    let files = Files::new("tls-shared", &pair);
    let server = files.serve(&["tls:127.0.0.1:0", "127.0.0.1:0", "--metrics", "127.0.0.1:0"]);
    let encrypted = announced(&server, "tls:");
    let clear = announced(&server, "");
    let page = announced(&server, "");
    let mut alice = Encrypted::connect(encrypted, pair.client(None));
    alice.enter("alice");
    let mut bob = Client::connect(clear);
    bob.enter("bob");
    alice.send("geheim: \u{e9}\r\n".as_bytes());
    bob.expect("alice: geheim: \u{e9}");
    bob.say("heard");
    assert_eq!(alice.line(), "bob: heard");
    let mut stranger = Client::connect(encrypted);
    stranger.say("GET / HTTP/1.1");
    stranger.expect("* this port speaks TLS: openssl s_client -quiet -connect HOST:PORT");
    stranger.expect_end();
    let (_, body) = http::get(page, "/metrics");
    for line in [
        "line_chat_tls_handshakes_total{result=\"completed\"} 1\n",
        "line_chat_tls_handshakes_total{result=\"failed\"} 1\n",
        "line_chat_tls_handshakes_total{result=\"timed out\"} 0\n",
        "line_chat_closed_total{reason=\"handshake failed\"} 1\n",
    ] {
        assert!(body.contains(line), "{line}{body}");
    }
    let log = server.stop().log;
    assert!(log.contains(", no password, TLS; max-line "), "{log}");
    let failed = ": handshake failed: the peer does not speak TLS\n";
    assert!(log.contains(failed), "{log}");
    assert_eq!(log.matches("handshake failed:").count(), 1, "{log}");
}

#[test]
fn whois_tells_who_comes_over_tls() {
    let pair = Pair::self_signed();
    let files = Files::new("tls-whois", &pair);
    let args = ["--interactive", "tls:127.0.0.1:0", "plain:127.0.0.1:0"];
    let server = files.serve(&args);
    let encrypted = announced(&server, "tls:");
    let mut bot = Client::connect(announced(&server, ""));
    bot.enter("bot");
    let mut alice = Encrypted::connect(encrypted, pair.client(None));
    alice.send(b"alice\r\n/whois alice\r\n/whois bot\r\n");
    let mut told = String::new();
    while !told.contains("* bot is a script") {
        told += &alice.line();
        told.push('\n');
    }
    let told: Vec<&str> = told.lines().filter(|it| it.contains("TLS")).collect();
    let [of_alice, of_bot] = told[..] else {
        panic!("{told:?}");
    };
    assert!(of_alice.starts_with("* alice ") && of_alice.ends_with(", over TLS"));
    assert!(of_bot.starts_with("* bot ") && of_bot.ends_with(", without TLS"));
}

#[test]
fn sighup_changes_the_certificate_of_new_connections_and_a_pair_that_does_not_match_changes_nothing()
 {
    let [old, new, other] = [(); 3].map(|()| Pair::self_signed());
    let files = Files::new("tls-reload", &old);
    let server = files.serve(&["tls:127.0.0.1:0"]);
    let addr = announced(&server, "tls:");
    let mut alice = Encrypted::connect(addr, old.client(None));
    alice.enter("alice");
    files.write(&new);
    server.signal(Signal::HUP);
    await_log(&server, "read again");
    let mut bob = Encrypted::connect(addr, new.client(None));
    bob.enter("bob");
    assert_ne!(bob.certificate(), alice.certificate());
    files.write_key(&other.key);
    server.signal(Signal::HUP);
    let error = await_log(&server, "cannot use ");
    let cert = files.cert();
    assert!(
        error.ends_with(&format!(
            "cannot use {}: it is not the key of the certificate in {cert}\n",
            files.key()
        )),
        "{error}"
    );
    let mut carol = Encrypted::connect(addr, new.client(None));
    carol.enter("carol");
    assert_eq!(carol.certificate(), bob.certificate());
    // Who was there before has noticed nothing.
    alice.send(b"still here\r\n");
    for client in [&mut bob, &mut carol] {
        assert_eq!(client.line(), "alice: still here");
    }
}

#[test]
fn a_reload_in_the_middle_of_what_is_said_loses_nothing() {
    const LINES: usize = 3000;
    let pair = Pair::self_signed();
    let files = Files::new("tls-load", &pair);
    let server = files.serve(&["tls:127.0.0.1:0"]);
    let addr = announced(&server, "tls:");
    let [mut alice, mut bob] = ["alice", "bob"].map(|nick| {
        let mut client = Encrypted::connect(addr, pair.client(None));
        client.enter(nick);
        client
    });
    let speaker = thread::spawn(move || {
        for n in 0..LINES {
            alice.send(format!("line {n}\r\n").as_bytes());
        }
        alice
    });
    for n in 0..LINES {
        if n % 300 == 0 {
            files.write(&Pair::self_signed());
            server.signal(Signal::HUP);
            let line = await_log(&server, "read again");
            assert!(line.contains("the files were read again"), "{line}");
        }
        assert_eq!(bob.line(), format!("alice: line {n}"));
    }
    drop(speaker.join().expect("it has said all"));
}

/// Reads the log up to a line that has these words.
#[track_caller]
fn await_log(server: &Server, words: &str) -> String {
    loop {
        let line = server.log_line();
        if line.contains(words) {
            return line;
        }
    }
}

/// A certificate of an authority, and one for a client that the authority has signed.
fn authority_and_client() -> (String, Pair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["alice".to_owned()]).expect("a name");
    let cert = params.signed_by(&key, &issuer).expect("a certificate");
    let client = Pair {
        cert: cert.pem(),
        key: key.serialize_pem(),
    };
    (authority, client)
}

#[test]
fn who_has_a_certificate_of_the_authority_is_not_asked_for_the_password() {
    let (authority, own) = authority_and_client();
    let pair = Pair::self_signed();
    let files = Files::new("tls-clients", &pair);
    let authority = TempFile::new("tls-authority", &authority);
    let password = TempFile::new("tls-password", "sesame");
    let server = files.serve(&[
        "tls:127.0.0.1:0",
        "--tls-client-ca",
        authority.path(),
        "--password-file",
        password.path(),
    ]);
    let addr = announced(&server, "tls:");
    let mut alice = Encrypted::connect(addr, pair.client(Some(&own)));
    alice.enter("alice");
    let mut bob = Encrypted::connect(addr, pair.client(None));
    assert_eq!(bob.line(), "* password?");
    bob.send(b"wrong\r\n");
    assert_eq!(bob.line(), "* wrong password, try again");
    bob.send(b"sesame\r\n");
    bob.enter("bob");
    // A certificate of somebody else's is worse than none.
    let (_, foreign) = authority_and_client();
    let mut carol = Encrypted::connect(addr, pair.client(Some(&foreign)));
    carol.send(b"carol\r\n");
    let refused = carol.0.read_line(&mut String::new());
    let error = refused.expect_err("no certificate that counts");
    assert!(error.to_string().contains("fatal alert"), "{error}");
}

#[test]
fn without_a_password_every_client_of_an_authority_needs_a_certificate() {
    let (authority, own) = authority_and_client();
    let pair = Pair::self_signed();
    let files = Files::new("tls-required", &pair);
    let authority = TempFile::new("tls-only-authority", &authority);
    let server = files.serve(&["tls:127.0.0.1:0", "--tls-client-ca", authority.path()]);
    let addr = announced(&server, "tls:");
    Encrypted::connect(addr, pair.client(Some(&own))).enter("alice");
    let mut bob = Encrypted::connect(addr, pair.client(None));
    bob.send(b"bob\r\n");
    let refused = bob.0.read_line(&mut String::new());
    let error = refused.expect_err("a certificate is needed");
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[test]
fn tls_stands_behind_the_header_of_a_proxy_and_on_unix_sockets() {
    let pair = Pair::self_signed();
    let files = Files::new("tls-proxy", &pair);
    let socket = files.folder.path_of("chat.sock");
    let server = files.serve(&["proxy+tls:127.0.0.1:0", &format!("unix+tls:{socket}")]);
    let addr = announced(&server, "proxy+tls:");
    let mut tls = pair.client(None);
    // The header and the hello in one segment.
    let mut first = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 6142\r\n".to_vec();
    tls.write_tls(&mut first).expect("memory takes it");
    let mut stream = TcpStream::connect(addr).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.write_all(&first).expect("the server reads");
    let mut alice = Encrypted::over(stream, tls);
    alice.enter("alice");
    let stream = UnixStream::connect(&socket).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut bob = Encrypted::over(stream, pair.client(None));
    bob.enter("bob");
    bob.send(b"hello\r\n");
    assert_eq!(alice.line(), "bob: hello");
    let log = server.stop().log;
    assert!(log.contains("alice joined from 192.0.2.1:56324"), "{log}");
    assert!(log.contains("bob joined from uid "), "{log}");
}

#[test]
fn a_certificate_that_ends_soon_and_a_key_that_all_can_read_are_warned_of() {
    for (days, words) in [
        (-1, Some(" has ended: renew it, then send SIGHUP")),
        (1, Some(" ends in 1 day: renew it, then send SIGHUP")),
        (13, Some(" ends in 13 days: renew it, then send SIGHUP")),
        (16, None),
    ] {
        let ends = std::time::SystemTime::now();
        let day = std::time::Duration::from_secs(24 * 3600);
        let ends = match days {
            -1 => ends - day,
            days => ends + day * days as u32,
        };
        let pair = Pair::with(|params| params.not_after = ends.into());
        let files = Files::new("tls-ends", &pair);
        let server = files.serve(&["tls:127.0.0.1:0"]);
        announced(&server, "tls:");
        let log = server.stop().log;
        let cert = files.cert();
        match words {
            Some(words) => {
                let warning = format!("the certificate in {cert}{words}\n");
                assert!(log.contains(&warning), "{log}");
            }
            None => assert!(!log.contains("the certificate in"), "{log}"),
        }
        assert!(!log.contains(&files.key()), "{log}");
    }
    let files = Files::new("tls-readable", &Pair::self_signed());
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(files.key(), mode).expect("our file");
    let folder = fs::Permissions::from_mode(0o755);
    fs::set_permissions(files.folder.path(), folder).expect("our folder");
    let server = files.serve(&["tls:127.0.0.1:0"]);
    announced(&server, "tls:");
    let log = server.stop().log;
    let warning = format!("{} can be read by ", files.key());
    assert!(log.contains(&warning), "{log}");
}

#[test]
fn files_that_cannot_be_used_are_one_line_that_names_them() {
    let pair = Pair::self_signed();
    let files = Files::new("tls-errors", &pair);
    let (cert, key) = (files.cert(), files.key());
    let error = |what: &str| files.error(&["tls:127.0.0.1:0"]).contains(what);
    fs::write(&cert, "").expect("a file");
    let words = "it holds no certificate in PEM: write one there";
    assert!(error(&format!("cannot use {cert}: {words}")));
    fs::write(&cert, &pair.key).expect("a file");
    assert!(error(&format!("cannot use {cert}: {words}")));
    files.write(&pair);
    fs::write(&key, &pair.cert).expect("a file");
    let words = "it holds no private key in PEM: write one there";
    assert!(error(&format!("cannot use {key}: {words}")));
    files.write(&pair);
    files.write_key(&Pair::self_signed().key);
    let words = format!("it is not the key of the certificate in {cert}");
    assert!(error(&format!("cannot use {key}: {words}")));
    fs::remove_file(&key).expect("our file");
    assert!(error(&format!("{key}: No such file or directory")));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    files.write(&pair);
    fs::write(&cert, broken).expect("a file");
    assert!(error(&format!(
        "cannot use {cert}: its first certificate is not one of X.509"
    )));
}

#[test]
fn flags_of_tls_that_do_not_go_together_are_refused() {
    for (args, words) in [
        (
            &["tls:127.0.0.1:0"][..],
            "a listener for TLS needs a certificate and its key: name both (--tls-cert and --tls-key)",
        ),
        (&["--tls-cert", "x"], "--tls-key <FILE>"),
        (&["--tls-client-ca", "x"], "--tls-cert <FILE>"),
    ] {
        let remains = run(&mut command(args));
        assert!(!remains.status.success());
        assert!(remains.log.contains(words), "{}", remains.log);
    }
    // A blank name would let everybody in who was to be kept out.
    let remains = run(command(&["0"]).env("LINE_CHAT_TLS_CLIENT_CA", " "));
    assert!(remains.log.contains("no file is named"), "{}", remains.log);
}
