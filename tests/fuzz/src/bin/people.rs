//! Whatever people and scripts send, in whatever pieces and pauses: nothing panics, what each of them
//! gets is whole lines of clean text and telnet commands of three bytes, and a line that begins with
//! a star is the server's or says whose it is.
#![no_main]

#[path = "../../../support/rig.rs"]
#[allow(
    dead_code,
    reason = "the tests compile all of this as well, and use more"
)]
mod rig;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use line_chat::Lag;
use rig::{Rig, Wire};

/// A file with the password `x` of the room, and one with `y` of operators.
static PASSWORDS: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    ["x", "y"].map(|password| {
        let name = format!("line-chat-fuzz-{}-{password}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, password).expect("a temporary file");
        path
    })
});

const CLIENTS: usize = 5;
const IAC: u8 = 255;

/// What a client has got is as it should be.
fn check(received: &[u8]) {
    let mut text = Vec::new();
    let mut rest = received;
    while let Some(place) = rest.iter().position(|&byte| byte == IAC) {
        text.extend_from_slice(&rest[..place]);
        rest = match &rest[place..] {
            [IAC, 251..=254, _, rest @ ..] => rest,
            // NOP: a keep-alive is answered.
            [IAC, 241, rest @ ..] => rest,
            torn => panic!("{torn:?} is no telnet command"),
        };
        // It hides the offer with which a greeting begins.
        rest = rest.strip_prefix(b"\r\0").unwrap_or(rest);
    }
    text.extend_from_slice(rest);
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(
        text.is_empty() || text.ends_with("\r\n"),
        "a torn line: {text:?}"
    );
    for line in text.split_terminator("\r\n") {
        assert!(
            !line.contains(|c: char| c.is_control() && c != '\t'),
            "{line:?}"
        );
        if line.starts_with('*') {
            assert!(
                line.starts_with("* ") || line.starts_with("** "),
                "{line:?}"
            );
        }
    }
}

fn room(choice: u8) -> Rig {
    Rig::new(|config| {
        config.interactive.enabled = true;
        config.interactive.quiet_above_members = usize::from(choice & 3);
        config.interactive.history_lines = Some(usize::from(choice >> 6));
        config.interactive.ops_password_file = Some(PASSWORDS[1].clone());
        if choice & 4 != 0 {
            config.interactive.password_file = Some(PASSWORDS[0].clone());
        }
        config.limits.lag =
            [Lag::Skip, Lag::Disconnect, Lag::Wait, Lag::Skip][usize::from(choice >> 3 & 3)];
        config.limits.max_pending_bytes = 64 << 10;
        config.limits.max_line_bytes = 200;
        if choice & 32 != 0 {
            config.limits.lines_per_second = 10.0;
        }
    })
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut rest)) = input.split_first() else {
        return;
    };
    let mut rig = room(choice);
    let mut clients: Vec<Option<Wire>> = vec![None; CLIENTS];
    while let [step, len, more @ ..] = rest {
        let client = &mut clients[usize::from(*step) % CLIENTS];
        let wire = client.get_or_insert_with(|| match step & 64 {
            0 => rig.connect(),
            _ => rig.connect_plainly(),
        });
        let (bytes, more) = more.split_at(more.len().min(usize::from(*len)));
        wire.send(bytes);
        match step >> 3 & 7 {
            0 => wire.hang_up(),
            1 => rig.advance(Duration::from_millis(700)),
            2 => wire.stop_reading(),
            3 => wire.read_on(),
            _ => {}
        }
        rig.settle();
        if wire.is_freed() {
            *client = None;
        }
        rest = more;
    }
    for wire in clients.iter().flatten() {
        wire.read_on();
    }
    rig.advance(Duration::from_secs(1));
    for wire in clients.iter().flatten() {
        check(&wire.received_bytes());
    }
    rig.metrics();
});
