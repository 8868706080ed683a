//! What people see: real clients on pseudo-terminals, whose screens are compared whole. Each test
//! starts the built binary and the clients that it is about, and its terminals' screens stand in it
//! as they look; a byte that a terminal cannot show stands there as `<ff>`.
//!
//! A client is a program of the distribution. Where one is missing, its tests say so on standard
//! error and pass; with `LINE_CHAT_CLIENTS=all` that is a failure.

// A helper that cannot go on fails its test.
#![allow(clippy::expect_used, clippy::panic)]

mod class;
mod haproxy;
mod mud;
mod prometheus;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use support::child::{Client, Server, alone};
use support::temp_file::TempFile;
use support::terminal::{Terminal, size};

// Keys, as a terminal sends them.
const CTRL_D: &str = "\x04";
const BACKSPACE: &str = "\x08";
const CTRL_U: &str = "\x15";
const CTRL_W: &str = "\x17";
const CTRL_BRACKET: &str = "\x1d";
const DELETE: &str = "\x7f";

const ASKED: &str = "* what is your nick?\n";
const ASKED_FOR_PASSWORD: &str = "* password?\n";
const GOODBYE: &str = "* goodbye\n";

/// The clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// GNU inetutils' telnet.
    Telnet,
    /// OpenBSD's nc, or else the traditional one.
    Nc,
    /// Nmap's.
    Ncat,
    /// With a raw terminal: it sends each key as it is pressed, and shows nothing of it.
    Socat,
    Busybox,
    /// PuTTY without a window, as a telnet client.
    Plink,
    /// Two clients for MUDs.
    Tintin,
    TinyFugue,
}

impl Kind {
    /// All that show what is said, and nothing else.
    const ALL: [Self; 6] = [
        Self::Telnet,
        Self::Nc,
        Self::Ncat,
        Self::Socat,
        Self::Busybox,
        Self::Plink,
    ];

    /// What it is called in a line of a chat.
    fn name(self) -> &'static str {
        match self {
            Self::Telnet => "telnet",
            Self::Nc => "nc",
            Self::Ncat => "ncat",
            Self::Socat => "socat",
            Self::Busybox => "busybox",
            Self::Plink => "plink",
            Self::Tintin => "tt++",
            Self::TinyFugue => "tf5",
        }
    }

    /// What the program may be called, the surest name first: what is called `nc` may be another
    /// one's stand-in.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Telnet => &["telnet"],
            Self::Nc => &["nc.openbsd", "nc.traditional", "nc"],
            Self::Ncat => &["ncat"],
            Self::Socat => &["socat"],
            Self::Busybox => &["busybox"],
            Self::Plink => &["plink"],
            // Debian keeps it in a folder that only users have in their path.
            Self::Tintin => &["tt++", "/usr/games/tt++"],
            Self::TinyFugue => &["tf5"],
        }
    }

    fn args(self, server: &Server) -> Vec<String> {
        let ip = server.addr.ip();
        let port = server.addr.port();
        let args = match self {
            Self::Telnet | Self::Nc | Self::Ncat => format!("{ip} {port}"),
            Self::Socat => format!("-,raw,echo=0 TCP:{ip}:{port}"),
            Self::Busybox => format!("telnet {ip} {port}"),
            Self::Plink => format!("-telnet -P {port} {ip}"),
            Self::Tintin => {
                let session = format!("#session chat {ip} {port}");
                return ["-G", "-e", &session].map(str::to_owned).into();
            }
            Self::TinyFugue => format!("-n -f -v {ip} {port}"),
        };
        args.split(' ').map(str::to_owned).collect()
    }

    /// What it says before anything else.
    fn banner(self) -> &'static str {
        match self {
            Self::Telnet => {
                "\
Trying 127.0.0.1...
Connected to 127.0.0.1.
Escape character is '^]'.
"
            }
            Self::Busybox => "Connected to 127.0.0.1\n",
            Self::Nc | Self::Ncat | Self::Socat | Self::Plink | Self::Tintin | Self::TinyFugue => {
                ""
            }
        }
    }

    /// What it says when the server has closed the connection.
    fn farewell(self) -> &'static str {
        match self {
            Self::Telnet => "Connection closed by foreign host.\n",
            Self::Busybox => "Connection closed by foreign host\n",
            Self::Nc | Self::Ncat | Self::Socat | Self::Plink | Self::Tintin | Self::TinyFugue => {
                ""
            }
        }
    }

    /// Whether it understands what the server says in telnet's way.
    fn knows_telnet(self) -> bool {
        !matches!(self, Self::Nc | Self::Ncat | Self::Socat)
    }

    /// Whether one sees what one types.
    fn shows_what_is_typed(self) -> bool {
        self != Self::Socat
    }

    /// Whether it goes on without its server, as long as its own input is open.
    fn outlives_its_server(self) -> bool {
        matches!(self, Self::Nc | Self::Ncat)
    }

    /// Runs it on a terminal. `None` where it is missing, which is said.
    #[track_caller]
    fn connect(self, server: &Server) -> Option<Terminal> {
        let program = self.find()?;
        Some(Terminal::run(&program, &self.args(server)))
    }

    /// Its program, if it is installed. If it is not, that is said on standard error, and fails if
    /// `LINE_CHAT_CLIENTS=all` says that every client is there.
    #[track_caller]
    fn find(self) -> Option<String> {
        let program = installed(self.programs());
        let program = program.filter(|_| self != Self::Busybox || busybox_has_telnet());
        if program.is_none() {
            report_missing(self.name());
        }
        program
    }
}

/// The first of these programs that is installed.
fn installed(programs: &[&str]) -> Option<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let is_there = |program: &&&str| folders.iter().any(|folder| folder.join(program).exists());
    programs.iter().find(is_there).map(|it| (*it).to_owned())
}

/// Says that a program is missing, and fails if all are required.
#[track_caller]
fn report_missing(name: &str) {
    let is_required = env::var_os("LINE_CHAT_CLIENTS").is_some_and(|tools| tools == "all");
    assert!(!is_required, "{name} is missing");
    // Not by eprintln, which a test that passes keeps to itself.
    let test = thread::current();
    let test = test.name().unwrap_or_default();
    let _ = writeln!(io::stderr(), "{test} skipped, {name} is missing");
}

/// Not every busybox was built with it.
fn busybox_has_telnet() -> bool {
    let list = Command::new("busybox").arg("--list").output();
    list.is_ok_and(|list| {
        list.stdout
            .split(|&byte| byte == b'\n')
            .any(|it| it == b"telnet")
    })
}

/// A server for people.
#[track_caller]
fn room() -> Server {
    Server::start(&["--interactive"])
}

/// A client that has connected to a server for people, and been asked for a nick.
#[track_caller]
fn visit(kind: Kind, server: &Server) -> Option<Terminal> {
    let mut terminal = kind.connect(server)?;
    terminal.await_text(ASKED);
    Some(terminal)
}

/// A client whose user has joined.
#[track_caller]
fn join(kind: Kind, server: &Server, nick: &str) -> Option<Terminal> {
    let mut terminal = visit(kind, server)?;
    enter(&mut terminal, nick);
    Some(terminal)
}

/// Types a nick where it is asked for, and waits until it is taken.
#[track_caller]
fn enter(terminal: &mut Terminal, nick: &str) {
    terminal.type_line(nick);
    terminal.await_line("* welcome, ");
}

/// Leaves the room, and compares all that was on the screen from the beginning to the end. Never by
/// interrupting the client: it may be gone before its terminal shows `^C`.
#[track_caller]
fn quit(kind: Kind, mut terminal: Terminal, screen: &str) {
    terminal.type_line("/quit");
    if kind.outlives_its_server() {
        terminal.await_text(GOODBYE);
        terminal.press(CTRL_D);
    }
    expect_last_screen(terminal, screen);
}

#[track_caller]
fn expect_last_screen(terminal: Terminal, screen: &str) {
    let seen = terminal.last_screen();
    assert!(
        seen == screen,
        "on the screen is\n{seen}\nand should be\n{screen}"
    );
}

/// Bob, who is already there and has no terminal: what he gets is compared line by line.
struct Bob(Client);

impl Bob {
    /// Joins a room in which nobody is.
    #[track_caller]
    fn join(server: &Server) -> Self {
        let mut client = server.connect();
        client.say("bob");
        client.expect("* this is a chat room: what you type goes to everybody in it, line by line");
        client.expect("* what is your nick?");
        client.expect("* welcome, bob. /help lists the commands. nobody else is here yet");
        Self(client)
    }

    #[track_caller]
    fn hears(&mut self, line: &str) {
        self.0.expect(line);
    }

    #[track_caller]
    fn says(&mut self, text: &str) {
        self.0.say(text);
    }
}

/// Alice, at a client, and Bob say hello.
#[track_caller]
fn greet(alice: &mut Terminal, bob: &mut Bob) {
    alice.type_line("hello, é 漢字");
    bob.hears("alice: hello, é 漢字");
    bob.says("hello alice, é 漢字");
    alice.await_text("bob: hello alice, é 漢字\n");
}

#[test]
fn with_telnet_one_talks_interrupts_and_escapes_and_still_hears() {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let Some(mut alice) = join(Kind::Telnet, &server, "alice") else {
        return;
    };
    bob.hears("* alice joined");
    greet(&mut alice, &mut bob);
    // A telnet that is interrupted shows nothing more until the server has answered it. What is
    // typed next comes behind that question, so who has heard it speaks after the answer.
    alice.interrupt();
    alice.await_text("^C");
    alice.type_line("after ^C");
    bob.hears("alice: after ^C");
    bob.says("do you hear me?");
    alice.await_text("bob: do you hear me?\n");
    alice.press(CTRL_BRACKET);
    alice.await_text("telnet> ");
    alice.type_line("send ayt");
    alice.await_text("* yes\n");
    alice.press(CTRL_BRACKET);
    alice.await_text("telnet> ");
    alice.press("\r");
    bob.says("and now?");
    alice.await_text("bob: and now?\n");
    alice.type_line("yes, after ^]");
    bob.hears("alice: yes, after ^]");
    quit(
        Kind::Telnet,
        alice,
        "\
Trying 127.0.0.1...
Connected to 127.0.0.1.
Escape character is '^]'.
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
alice
* welcome, alice. /help lists the commands. 1 other here: bob
hello, é 漢字
bob: hello alice, é 漢字
^Cafter ^C
bob: do you hear me?
^]
telnet> send ayt
* yes
^]
telnet>
bob: and now?
yes, after ^]
/quit
* goodbye
Connection closed by foreign host.
",
    );
    bob.hears("* alice left");
}

#[test]
fn with_nc_one_is_refused_a_nick_and_talks() {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let Some(mut alice) = visit(Kind::Nc, &server) else {
        return;
    };
    alice.type_line("Bob");
    alice.await_text("* nick \"Bob\" is taken; Bob2 is free\n");
    enter(&mut alice, "alice");
    bob.hears("* alice joined");
    greet(&mut alice, &mut bob);
    quit(
        Kind::Nc,
        alice,
        "\
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
Bob
* nick \"Bob\" is taken; Bob2 is free
alice
* welcome, alice. /help lists the commands. 1 other here: bob
hello, é 漢字
bob: hello alice, é 漢字
/quit
* goodbye
",
    );
    bob.hears("* alice left");
}

#[test]
fn with_ncat_one_talks_has_commands_and_ends_the_input_to_leave() {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let Some(mut alice) = join(Kind::Ncat, &server, "alice") else {
        return;
    };
    bob.hears("* alice joined");
    alice.type_line("hello, é 漢字");
    bob.hears("alice: hello, é 漢字");
    bob.says("/msg alice psst");
    bob.hears("* you tell alice: psst");
    alice.await_text("* bob tells you: psst\n");
    alice.type_line("/who");
    alice.await_text("* 2 here: alice, bob\n");
    alice.press(CTRL_D);
    expect_last_screen(
        alice,
        "\
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
alice
* welcome, alice. /help lists the commands. 1 other here: bob
hello, é 漢字
* bob tells you: psst
/who
* 2 here: alice, bob
",
    );
    bob.hears("* alice left");
}

#[test]
fn with_socat_on_a_raw_terminal_backspace_and_delete_edit_what_is_pending() {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let Some(mut alice) = visit(Kind::Socat, &server) else {
        return;
    };
    // Each key is sent as it is pressed, and the nick is pending as well.
    for key in ["a", "l", "i", "x", BACKSPACE, "c", "e"] {
        alice.press(key);
    }
    enter(&mut alice, "");
    bob.hears("* alice joined");
    for key in ["h", "é", BACKSPACE, "e", "漢", "l", DELETE, DELETE, "y"] {
        alice.press(key);
    }
    alice.press("\r");
    bob.hears("alice: hey");
    for key in ["n", "o", DELETE, BACKSPACE, BACKSPACE, "o", "k", "\r"] {
        alice.press(key);
    }
    bob.hears("alice: ok");
    bob.says("hello alice, é 漢字");
    alice.await_text("bob: hello alice, é 漢字\n");
    // Nothing echoes, so the screen has only what the server says.
    quit(
        Kind::Socat,
        alice,
        "\
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
* welcome, alice. /help lists the commands. 1 other here: bob
bob: hello alice, é 漢字
* goodbye
",
    );
    bob.hears("* alice left");
}

#[test]
fn with_socat_on_a_raw_terminal_ctrl_u_and_ctrl_w_edit_what_is_pending() {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let Some(mut alice) = visit(Kind::Socat, &server) else {
        return;
    };
    for key in ["a", "n", "n", CTRL_U, "a", "l", "i", "c", "e"] {
        alice.press(key);
    }
    enter(&mut alice, "");
    bob.hears("* alice joined");
    for keys in ["what was that", CTRL_U, "hello", "\r"] {
        alice.press(keys);
    }
    bob.hears("alice: hello");
    // As a terminal's own line editor does it, a word goes with the blanks behind it.
    for keys in ["hello é漢字  ", CTRL_W, "bob", "\r"] {
        alice.press(keys);
    }
    bob.hears("alice: hello bob");
    for keys in ["one", CTRL_W, CTRL_W, CTRL_U, "two", "\r"] {
        alice.press(keys);
    }
    bob.hears("alice: two");
    quit(
        Kind::Socat,
        alice,
        "\
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
* welcome, alice. /help lists the commands. 1 other here: bob
* goodbye
",
    );
    bob.hears("* alice left");
}

/// In many of these, `telnet` takes a byte for one of its own keys, unless BINARY is agreed on.
#[test]
fn with_telnet_characters_of_any_script_arrive_whole() {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let Some(mut alice) = join(Kind::Telnet, &server, "alice") else {
        return;
    };
    bob.hears("* alice joined");
    let texts = [
        ('а'..='я').collect::<String>(),
        ('А'..='Я').collect(),
        "ёЁ".chars().chain(('ぁ'..='ゖ').take(43)).collect(),
        ('ァ'..='ヺ').take(45).collect(),
        ('ァ'..='ヺ').skip(45).take(45).collect(),
        "日本語で話しましょう、今日は天気がいいですね。".to_owned(),
        "“quoted” ‘too’ – Übung, Äpfel, ÖÄÜ ❤".to_owned(),
    ];
    let mut characters = 0;
    for text in texts {
        alice.type_line(&text);
        bob.hears(&format!("alice: {text}"));
        characters += text.chars().filter(|c| !c.is_ascii()).count();
    }
    assert_eq!(characters, 233);
}

#[test]
fn with_busybox_telnet_one_talks_and_stays_in_line_mode() {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let Some(mut alice) = join(Kind::Busybox, &server, "alice") else {
        return;
    };
    bob.hears("* alice joined");
    greet(&mut alice, &mut bob);
    // Its escape character in line mode. The character mode that is asked for then is refused by
    // the server, which would have to echo.
    alice.interrupt();
    alice.await_text(" e      exit telnet\n");
    alice.press("c");
    alice.await_text("Entering line mode\nEscape character is '^C'.\n\n");
    alice.type_line("still here");
    bob.hears("alice: still here");
    quit(
        Kind::Busybox,
        alice,
        "\
Connected to 127.0.0.1
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
alice
* welcome, alice. /help lists the commands. 1 other here: bob
hello, é 漢字
bob: hello alice, é 漢字
^C
Console escape. Commands are:

 l      go to line mode
 c      go to character mode
 z      suspend telnet
 e      exit telnet

Entering character mode
Escape character is '^]'.

Entering line mode
Escape character is '^C'.

still here
/quit
* goodbye
Connection closed by foreign host
",
    );
    bob.hears("* alice left");
}

#[test]
fn with_plink_one_talks_whatever_it_negotiates_first() {
    let _alone = alone();
    let server = room();
    let mut bob = Bob::join(&server);
    let Some(mut alice) = join(Kind::Plink, &server, "alice") else {
        return;
    };
    bob.hears("* alice joined");
    greet(&mut alice, &mut bob);
    alice.type_line("/me waves");
    bob.hears("** alice waves");
    quit(
        Kind::Plink,
        alice,
        "\
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
alice
* welcome, alice. /help lists the commands. 1 other here: bob
hello, é 漢字
bob: hello alice, é 漢字
/me waves
/quit
* goodbye
",
    );
    bob.hears("* alice left");
}

#[test]
fn two_different_clients_talk_with_each_other_in_every_pairing() {
    let _alone = alone();
    let installed: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| kind.find().is_some())
        .collect();
    for (n, &first) in installed.iter().enumerate() {
        for &second in &installed[n + 1..] {
            talk(first, second);
        }
    }
}

/// Alice at one client and Bob at another, in a room of their own.
#[track_caller]
fn talk(alices: Kind, bobs: Kind) {
    println!("{} and {}", alices.name(), bobs.name());
    let server = room();
    let mut alice = join(alices, &server, "alice").expect("it was found");
    let mut bob = join(bobs, &server, "bob").expect("it was found");
    alice.await_text("* bob joined\n");
    alice.type_line(&format!("hello from {}, é 漢字", alices.name()));
    bob.await_text(&format!("alice: hello from {}, é 漢字\n", alices.name()));
    bob.type_line(&format!("hello from {}, é 漢字", bobs.name()));
    alice.await_text(&format!("bob: hello from {}, é 漢字\n", bobs.name()));
    quit(alices, alice, &alices_screen(alices, bobs));
    bob.await_text("* alice left\n");
    quit(bobs, bob, &bobs_screen(alices, bobs));
}

fn alices_screen(alices: Kind, bobs: Kind) -> String {
    let (her, his) = (alices.name(), bobs.name());
    as_shown_by(
        alices,
        &format!(
            "\
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
> alice
* welcome, alice. /help lists the commands. nobody else is here yet
* bob joined
> hello from {her}, é 漢字
bob: hello from {his}, é 漢字
> /quit
* goodbye
"
        ),
    )
}

fn bobs_screen(alices: Kind, bobs: Kind) -> String {
    let (her, his) = (alices.name(), bobs.name());
    as_shown_by(
        bobs,
        &format!(
            "\
* this is a chat room: what you type goes to everybody in it, line by line
* what is your nick?
> bob
* welcome, bob. /help lists the commands. 1 other here: alice
alice: hello from {her}, é 漢字
> hello from {his}, é 漢字
* alice left
> /quit
* goodbye
"
        ),
    )
}

/// A whole screen, from what passed between a server and its client. What is typed (`> `) is there
/// if the client shows it.
fn as_shown_by(kind: Kind, lines: &str) -> String {
    let mut screen = kind.banner().to_owned();
    for line in lines.split_inclusive('\n') {
        match line.strip_prefix("> ") {
            Some(typed) if kind.shows_what_is_typed() => screen.push_str(typed),
            Some(_) => {}
            None => screen.push_str(line),
        }
    }
    screen + kind.farewell()
}

/// A room for people, with a password.
struct GuardedRoom {
    server: Server,
    _password: TempFile,
}

impl GuardedRoom {
    #[track_caller]
    fn new() -> Self {
        let password = TempFile::new("password", "secret\n");
        let server = Server::start(&["--interactive", "--password-file", password.path()]);
        Self {
            server,
            _password: password,
        }
    }

    /// A client that has been asked for the password.
    #[track_caller]
    fn visit(&self, kind: Kind) -> Option<Terminal> {
        let mut terminal = kind.connect(&self.server)?;
        terminal.await_text(ASKED_FOR_PASSWORD);
        Some(terminal)
    }
}

/// Gives a wrong password, and then the right one, with a slip that is corrected; then joins, which
/// is to be seen, and leaves.
#[track_caller]
fn pass(kind: Kind, mut terminal: Terminal, screen: &str) {
    terminal.type_line("wrong");
    terminal.await_text("* wrong password, try again\n");
    terminal.type_line(&format!("secrex{DELETE}t"));
    terminal.await_text(ASKED);
    let has_shown_it = terminal.has_shown("wrong\r") || terminal.has_shown("secr");
    assert_eq!(has_shown_it, !kind.knows_telnet());
    enter(&mut terminal, "alice");
    quit(kind, terminal, screen);
}

#[test]
fn telnet_does_not_show_a_password_while_it_is_typed() {
    let _alone = alone();
    let room = GuardedRoom::new();
    let Some(terminal) = room.visit(Kind::Telnet) else {
        return;
    };
    pass(
        Kind::Telnet,
        terminal,
        "\
Trying 127.0.0.1...
Connected to 127.0.0.1.
Escape character is '^]'.
* this is a chat room: what you type goes to everybody in it, line by line
* password?

* wrong password, try again

* what is your nick?
alice
* welcome, alice. /help lists the commands. nobody else is here yet
/quit
* goodbye
Connection closed by foreign host.
",
    );
}

#[test]
fn plink_does_not_show_a_password_while_it_is_typed() {
    let _alone = alone();
    let room = GuardedRoom::new();
    let Some(terminal) = room.visit(Kind::Plink) else {
        return;
    };
    pass(
        Kind::Plink,
        terminal,
        "\
* this is a chat room: what you type goes to everybody in it, line by line
* password?

* wrong password, try again

* what is your nick?
alice
* welcome, alice. /help lists the commands. nobody else is here yet
/quit
* goodbye
",
    );
}

#[test]
fn busybox_telnet_does_not_show_a_password_while_it_is_typed() {
    let _alone = alone();
    let room = GuardedRoom::new();
    let Some(terminal) = room.visit(Kind::Busybox) else {
        return;
    };
    pass(
        Kind::Busybox,
        terminal,
        "\
Connected to 127.0.0.1

Entering character mode
Escape character is '^]'.

* this is a chat room: what you type goes to everybody in it, line by line
* password?

* wrong password, try again

Entering line mode
Escape character is '^C'.


* what is your nick?
alice
* welcome, alice. /help lists the commands. nobody else is here yet
/quit
* goodbye
Connection closed by foreign host
",
    );
}

#[test]
fn nc_shows_three_odd_bytes_where_a_password_is_asked_for() {
    let _alone = alone();
    let room = GuardedRoom::new();
    let Some(terminal) = room.visit(Kind::Nc) else {
        return;
    };
    pass(
        Kind::Nc,
        terminal,
        "\
* this is a chat room: what you type goes to everybody in it, line by line
<ff><fb><01>* password?
wrong

* wrong password, try again
secret
<ff><fc><01>
* what is your nick?
alice
* welcome, alice. /help lists the commands. nobody else is here yet
/quit
* goodbye
",
    );
}

/// A screen on which lines are told to be as old as they are said.
fn without_ages(screen: &str) -> String {
    let mut lines = String::new();
    for line in screen.split_inclusive('\n') {
        let age = line.split_once(" s ago, ");
        match age.filter(|(age, _)| age.starts_with("* ")) {
            Some((_, said)) => lines.extend(["* N s ago, ", said]),
            None => lines += line,
        }
    }
    lines
}

/// Reads until a line begins so.
#[track_caller]
fn await_line(client: &mut Client, beginning: &str) {
    while !client
        .line()
        .is_some_and(|line| line.starts_with(beginning))
    {}
}

/// On a small screen, what was said last and who is here are both to be seen.
#[test]
fn on_a_screen_of_40_columns_the_last_lines_and_the_welcome_are_both_there() {
    let _alone = alone();
    let server = room();
    let mut guests = Vec::new();
    for n in 10..35 {
        let mut guest = server.connect();
        guest.say(&format!("a_guest_called{n}"));
        await_line(&mut guest, "* welcome, ");
        guests.push(guest);
    }
    for n in 1..=5 {
        guests[0].say(&format!("this is line {n}"));
    }
    guests[0].say("/msg a_guest_called11 was that all?");
    await_line(&mut guests[0], "* you tell ");
    for kind in Kind::ALL {
        let Some(program) = kind.find() else {
            continue;
        };
        let mut alice = Terminal::run_at(size(20, 40), &program, &kind.args(&server));
        alice.await_text(ASKED);
        // Its answer comes behind the question for the width of the window.
        alice.type_line("?");
        alice.await_text("or quit\n");
        alice.type_line("alice");
        alice.await_text(" more\n");
        let seen = without_ages(&alice.screen());
        let expected = match kind.knows_telnet() {
            true => AT_40_COLUMNS,
            false => AT_UNKNOWN_COLUMNS,
        };
        assert!(seen.ends_with(expected), "{kind:?} shows\n{seen}");
        alice.type_line("/quit");
        await_line(&mut guests[0], "* alice left");
    }
}

/// What a client shows that has told its width.
const AT_40_COLUMNS: &str = "\
* N s ago, a_guest_called10: this is line 1
* N s ago, a_guest_called10: this is line 2
* N s ago, a_guest_called10: this is line 3
* N s ago, a_guest_called10: this is line 4
* N s ago, a_guest_called10: this is line 5
* welcome, alice. /help lists the
*   commands. 25 others here:
*   a_guest_called10, a_guest_called11,
*   a_guest_called12, a_guest_called13,
*   a_guest_called14, a_guest_called15,
*   a_guest_called16, a_guest_called17,
*   a_guest_called18, a_guest_called19
*   and 15 more
";

/// What a client shows that tells no width: its terminal breaks these lines once more.
const AT_UNKNOWN_COLUMNS: &str = "\
* N s ago, a_guest_called10: this is line 1
* N s ago, a_guest_called10: this is line 2
* N s ago, a_guest_called10: this is line 3
* N s ago, a_guest_called10: this is line 4
* N s ago, a_guest_called10: this is line 5
* welcome, alice. /help lists the commands. 25 others here: a_guest_called10,
*   a_guest_called11, a_guest_called12, a_guest_called13, a_guest_called14,
*   a_guest_called15, a_guest_called16, a_guest_called17, a_guest_called18,
*   a_guest_called19 and 15 more
";

#[test]
fn on_the_bare_wire_telnet_and_nc_show_what_the_readme_shows() {
    let _alone = alone();
    // Loud enough to tell when a nick is taken and when telnet is answered, because nothing on a
    // screen does.
    let server = Server::start(&["-vv"]);
    let (Some(mut alice), Some(mut bob)) =
        (Kind::Telnet.connect(&server), Kind::Nc.connect(&server))
    else {
        return;
    };
    alice.await_text("Escape character is '^]'.\n");
    alice.type_line("alice");
    await_log(&server, "alice joined");
    bob.type_line("bob");
    await_log(&server, "bob joined");
    alice.type_line("hello from telnet, é 漢字 👩‍👩‍👧");
    bob.await_text("alice: hello from telnet, é 漢字 👩‍👩‍👧\n");
    bob.type_line("hi from nc");
    alice.await_text("bob: hi from nc\n");
    alice.interrupt();
    // WONT TIMING-MARK, before which telnet shows nothing.
    await_log(&server, "[255, 252, 6]");
    bob.type_line("still there, alice?");
    alice.await_text("bob: still there, alice?\n");
    alice.type_line("yes, after ^C");
    bob.await_text("alice: yes, after ^C\n");
    server.stop();
    bob.await_text("* server is shutting down\n");
    bob.press(CTRL_D);
    expect_last_screen(
        bob,
        "\
bob
alice: hello from telnet, é 漢字 👩‍👩‍👧
hi from nc
still there, alice?
alice: yes, after ^C
* server is shutting down
",
    );
    expect_last_screen(
        alice,
        "\
Trying 127.0.0.1...
Connected to 127.0.0.1.
Escape character is '^]'.
alice
hello from telnet, é 漢字 👩‍👩‍👧
bob: hi from nc
^Cbob: still there, alice?
yes, after ^C
* server is shutting down
Connection closed by foreign host.
",
    );
}

/// Waits until the server's log says this.
#[track_caller]
fn await_log(server: &Server, words: &str) {
    while !server.log_line().contains(words) {}
}
