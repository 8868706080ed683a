//! The rules of the house that a compiler does not know, held against the source itself.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

use std::fs;
use std::path::Path;

/// The floors of the house, from the ground up. A file may use its own folder and the folders on the
/// floors below; folders that share a floor know nothing of each other. `lib.rs` and `main.rs` may use
/// everything.
const FLOORS: &[&[&str]] = &[
    &["time", "client_id", "peer"],
    &["text"],
    &["config"],
    &["protocol"],
    &["metrics"],
    &["events", "broadcast", "relay"],
    &["conn", "room"],
    &["session"],
    &["engine"],
    &["server"],
    &["cli"],
];

fn floor(folder: &str) -> usize {
    let floor = FLOORS.iter().position(|floor| floor.contains(&folder));
    floor.unwrap_or_else(|| panic!("src/{folder} has no floor in tests/tidy.rs"))
}

/// The source files, path below `src` without its ending and text without comments, in the order of
/// their paths. Folders of tests are left out.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("an entry").path();
            match path.extension() {
                _ if path.ends_with("tests") => {}
                _ if path.is_dir() => folders.push(path),
                Some(ending) if ending == "rs" => paths.push(path),
                _ => {}
            }
        }
    }
    paths.sort();
    let name = |path: &Path| {
        let path = path.strip_prefix(&src).expect("a path below src");
        path.with_extension("").to_string_lossy().into_owned()
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
fn imports_go_down_only() {
    for (name, code) in sources() {
        let folder = name.split('/').next().expect("a path");
        if ["lib", "main"].contains(&folder) {
            continue;
        }
        for used in code.split("crate::").skip(1) {
            let end = used.find(|c: char| !c.is_alphanumeric() && c != '_');
            let used = &used[..end.unwrap_or(used.len())];
            assert!(
                used == folder || floor(used) < floor(folder),
                "src/{name}.rs must not use crate::{used}"
            );
        }
    }
}

#[test]
fn only_the_engine_sees_the_slab() {
    assert_eq!(files_with("Slab<"), ["engine/flush", "engine/mod"]);
}

#[test]
fn the_clock_is_read_by_the_server_and_by_who_waits_for_one() {
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
    // When the server is bound, at the beginning and the end of a turn, for what happens outside of
    // turns, and to be asked the time of day, as for the end of a certificate. The other is no server: it waits for one to answer.
    let server = ("server/mod".to_owned(), 7);
    assert_eq!(readers, [("cli/check".to_owned(), 2), server]);
}

#[test]
fn mio_is_known_in_one_folder() {
    let files = [
        "server/mod",
        "server/transport/listener",
        "server/transport/mod",
        "server/transport/tcp",
        "server/transport/unix",
    ];
    assert_eq!(files_with("mio::"), files);
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

// A panic is a defect, and the process ends with it instead of going on with half of a turn done.
#[test]
fn a_release_ends_at_a_panic_and_holds_no_symbols() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(path).expect("it is there");
    let (_, profile) = manifest
        .split_once("\n[profile.release]\n")
        .expect("the profile");
    let (profile, _) = profile.split_once("\n\n").expect("another section");
    for line in ["panic = \"abort\"", "strip = true"] {
        assert!(profile.lines().any(|it| it == line), "{line}: {profile}");
    }
    assert_eq!(files_with("catch_unwind"), [""; 0]);
}
