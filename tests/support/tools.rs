//! Programs of the distribution that tests use. Where one is missing, its tests say so on standard error
//! and pass; with `LINE_CHAT_CLIENTS=all` that is a failure.

use std::env;
use std::io::{self, Write};
use std::process::Command;
use std::thread;

/// Whether all of these programs are installed.
#[track_caller]
pub(crate) fn are_there(programs: &[&str]) -> bool {
    programs.iter().all(|program| is_there(program))
}

#[track_caller]
fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = env::split_paths(&path).any(|folder| folder.join(program).exists());
    is_there || skip(&format!("{program} is missing"))
}

/// Says that the test is skipped, and why. Returns `false`.
#[track_caller]
pub(crate) fn skip(why: &str) -> bool {
    let is_required = env::var_os("LINE_CHAT_CLIENTS").is_some_and(|tools| tools == "all");
    assert!(!is_required, "{why}");
    // Not by eprintln, which a test that passes keeps to itself.
    let test = thread::current();
    let test = test.name().unwrap_or_default();
    let _ = writeln!(io::stderr(), "{test} skipped, {why}");
    false
}

/// Runs a program that is to succeed. Returns what it printed, and what it said on standard error.
#[track_caller]
pub(crate) fn output_of(command: &mut Command) -> (String, String) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?}: {}: {stdout}{stderr}",
        output.status
    );
    (stdout, stderr)
}
