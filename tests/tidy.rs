//! The rules of the house that a compiler does not know, held against the source itself.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Which module may use which others of this crate: the direction of imports. `lib.rs` and
/// `main.rs` may use all of them.
const MAY_USE: &[(&str, &[&str])] = &[
    ("accept", &["chat", "close", "hosting", "seldom"]),
    ("access", &["bucket", "door", "moment", "text"]),
    ("addr", &[]),
    ("bucket", &["moment"]),
    (
        "chat",
        &[
            "access",
            "bucket",
            "close",
            "config",
            "connection",
            "deadlines",
            "door",
            "files",
            "hosting",
            "metrics",
            "moment",
            "pool",
            "pressure",
            "queueing",
            "ready",
            "room",
            "seldom",
        ],
    ),
    ("cli", &["addr", "config", "hosting", "prefix"]),
    ("close", &[]),
    ("comings", &["moment"]),
    ("command", &["nick", "text"]),
    ("config", &["addr", "hosting", "prefix"]),
    (
        "connection",
        &[
            "bucket",
            "close",
            "config",
            "deadlines",
            "decoder",
            "hosting",
            "metrics",
            "moment",
            "pool",
            "skip",
        ],
    ),
    (
        "conversing",
        &[
            "command", "message", "moment", "nick", "room", "roster", "skip", "talk", "text",
        ],
    ),
    ("deadlines", &["moment", "room"]),
    ("decoder", &["line", "telnet"]),
    ("door", &["close", "config"]),
    ("due", &["close", "config", "connection", "moment"]),
    ("files", &["access", "hosting", "text"]),
    ("foreign", &[]),
    (
        "greeting",
        &[
            "access",
            "chat",
            "close",
            "command",
            "connection",
            "hosting",
            "message",
            "moment",
            "queueing",
            "telnet",
            "text",
        ],
    ),
    ("handle", &["metrics"]),
    (
        "hearing",
        &[
            "chat",
            "close",
            "command",
            "config",
            "connection",
            "decoder",
            "foreign",
            "hosting",
            "message",
            "moment",
            "nick",
            "room",
            "skip",
        ],
    ),
    ("history", &["moment", "nick"]),
    ("hosting", &[]),
    (
        "leaving",
        &[
            "chat",
            "close",
            "connection",
            "deadlines",
            "due",
            "moment",
            "room",
        ],
    ),
    ("line", &[]),
    ("listen", &["addr", "config"]),
    ("mail", &["message", "roster", "skip"]),
    (
        "message",
        &["close", "comings", "command", "nick", "prefix", "text"],
    ),
    ("metrics", &["close"]),
    (
        "moderating",
        &[
            "access", "message", "moment", "nick", "room", "roster", "text",
        ],
    ),
    ("moment", &[]),
    ("nick", &["text"]),
    (
        "obeying",
        &[
            "chat", "close", "command", "door", "message", "moment", "nick", "room", "skip", "text",
        ],
    ),
    ("pool", &[]),
    ("prefix", &["text"]),
    ("pressure", &["connection"]),
    ("process", &[]),
    (
        "queueing",
        &[
            "close",
            "config",
            "connection",
            "hosting",
            "message",
            "metrics",
            "moment",
            "pool",
            "skip",
            "talk",
        ],
    ),
    ("ready", &["room", "skip"]),
    (
        "room",
        &[
            "access", "close", "comings", "config", "history", "hosting", "mail", "message",
            "moment", "nick", "prefix", "roster", "skip", "talk", "text",
        ],
    ),
    ("roster", &["nick", "talk"]),
    ("seldom", &[]),
    (
        "server",
        &[
            "accept", "chat", "config", "files", "handle", "hosting", "listen", "metrics",
        ],
    ),
    ("skip", &["config"]),
    ("talk", &["nick", "skip"]),
    ("telnet", &[]),
    ("text", &[]),
    (
        "writing",
        &[
            "chat",
            "close",
            "config",
            "connection",
            "hosting",
            "mail",
            "message",
            "moment",
            "queueing",
        ],
    ),
];

/// The source files, name and text without comments, in the order of their names.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let entries = fs::read_dir(src).expect("src can be read");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let name = |path: &Path| {
        path.file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    paths.iter().map(|path| (name(path), code(path))).collect()
}

fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file is UTF-8");
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn files_with(word: &str) -> Vec<String> {
    let sources = sources().into_iter();
    sources
        .filter(|(_, code)| code.contains(word))
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn imports_go_in_one_direction() {
    for (name, code) in sources() {
        if name == "lib" || name == "main" {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(module, _)| *module == name)
            .unwrap_or_else(|| panic!("src/{name}.rs is not in the list of who may use what"));
        for used in code.split("crate::").skip(1) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            assert!(
                allowed.contains(&&*used),
                "src/{name}.rs must not use crate::{used}"
            );
        }
    }
}

#[test]
fn the_list_of_imports_names_existing_modules() {
    let names: Vec<String> = sources().into_iter().map(|(name, _)| name).collect();
    for (module, _) in MAY_USE {
        assert!(
            names.iter().any(|name| name == module),
            "src/{module}.rs does not exist"
        );
    }
}

#[test]
fn the_clock_is_read_in_one_file() {
    let tests_aside = |(name, code): (String, String)| {
        let code = code
            .split("#[cfg(test)]")
            .next()
            .unwrap_or_default()
            .to_owned();
        (
            name,
            code.matches("Instant::now()").count()
                + code.matches(".elapsed()").count()
                + code.matches("SystemTime::now").count(),
        )
    };
    let readers: Vec<_> = sources()
        .into_iter()
        .map(tests_aside)
        .filter(|(_, n)| *n > 0)
        .collect();
    // When the server is bound, at the beginning and the end of a turn, and to be asked the time of day.
    assert_eq!(readers, [("server".to_owned(), 5)]);
}

#[test]
fn mio_is_known_in_one_file() {
    assert_eq!(files_with("mio::"), ["server"]);
}

#[test]
fn there_is_one_thread_and_no_unsafe() {
    assert_eq!(files_with("thread::"), [""; 0]);
    for root in ["lib", "main"] {
        assert!(files_with("#![forbid(unsafe_code)]").contains(&root.to_owned()));
    }
}

#[test]
fn nothing_panics_on_purpose() {
    for (name, code) in sources() {
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for word in [
            ".unwrap()",
            ".expect(",
            "panic!(",
            "todo!(",
            "unreachable!(",
            "unimplemented!(",
        ] {
            assert!(!code.contains(word), "src/{name}.rs has {word}");
        }
    }
}
