//! The files that come with the program, as real programs take them: man(1)'s formatter, the shells, and
//! systemd's own checks of units.

use std::fs;
use std::process::Command;

use crate::command::FLAGS;
use crate::support::child::command;
use crate::support::temp_file::TempFolder;
use crate::support::tools::{are_there, output_of};

/// The most that `systemd-analyze security` may say, from 0 (safe) to 100.
const MOST_EXPOSED: &str = "--threshold=15";

#[track_caller]
fn generated(file: &str) -> String {
    let (text, stderr) = output_of(&mut command(&["--generate", file]));
    assert_eq!(stderr, "");
    text
}

/// A file of this name in a folder, as it is generated.
#[track_caller]
fn write(folder: &TempFolder, file: &str, name: &str) -> String {
    let path = folder.path_of(name);
    fs::write(&path, generated(file)).expect("it is ours");
    path
}

#[test]
fn the_manual_page_has_every_flag_with_its_variable() {
    if !are_there(&["groff"]) {
        return;
    }
    let folder = TempFolder::new("man");
    let path = write(&folder, "man", "line-chat.1");
    let mut groff = Command::new("groff");
    groff.args(["-ww", "-man", "-Tascii", "-rLL=200n", "-P-cbou"]);
    let (page, warnings) = output_of(groff.arg(path));
    assert_eq!(warnings, "", "of groff");
    for (flag, variable, _) in FLAGS {
        let flag = flag.trim_end_matches("...");
        assert!(page.contains(flag), "{flag}: {page}");
        if !variable.is_empty() {
            let variable = format!("LINE_CHAT_{variable} environment variable");
            assert!(page.contains(&variable), "{variable}: {page}");
        }
    }
    assert!(!page.contains("--write-transcript"), "it is our own");
    for title in ["EXAMPLES", "SIGNALS", "EXIT STATUS", "FILES", "SEE ALSO"] {
        let is_title = |line: &str| line == title;
        assert!(page.lines().any(is_title), "{title}: {page}");
    }
}

#[test]
fn bash_completes_flags_and_their_values() {
    if !are_there(&["bash"]) {
        return;
    }
    let folder = TempFolder::new("bash");
    let path = write(&folder, "complete-bash", "line-chat");
    let script = r#"source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        function=$(complete -p line-chat | sed 's/.* -F \([^ ]*\) .*/\1/')
        "$function" line-chat "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[@]}""#;
    for (typed, offered) in [
        (&["--max-l"][..], "--max-line\n"),
        (&["--lag", "w"], "wait\n"),
        (&["--generate", "al"], "alert-rules\n"),
        (&["--write"], "\n"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, &path, "line-chat"])
            .args(typed);
        assert_eq!(output_of(&mut bash), (offered.into(), String::new()));
    }
}

#[test]
fn zsh_knows_who_completes() {
    if !are_there(&["zsh"]) {
        return;
    }
    let folder = TempFolder::new("zsh");
    write(&folder, "complete-zsh", "_line-chat");
    let script = r#"fpath=("$1" $fpath); autoload -Uz compinit; compinit -u -D
        print $_comps[line-chat]; autoload -Uz +X _line-chat && zsh -n "$1/_line-chat""#;
    let mut zsh = Command::new("zsh");
    zsh.args(["-f", "-c", script, "zsh", folder.path()]);
    assert_eq!(output_of(&mut zsh), ("_line-chat\n".into(), String::new()));
}

#[test]
fn fish_completes_flags_and_their_values() {
    if !are_there(&["fish"]) {
        return;
    }
    let folder = TempFolder::new("fish");
    let path = write(&folder, "complete-fish", "line-chat.fish");
    for (typed, offered) in [
        ("line-chat --max-l", "--max-line\t"),
        ("line-chat --lag w", "wait\t"),
    ] {
        let script = format!("source {path}; complete -C '{typed}'");
        let mut fish = Command::new("fish");
        // It keeps what it is told for ever, in its home.
        fish.args(["--no-config", "-c", &script])
            .env("HOME", folder.path());
        let (told, _) = output_of(&mut fish);
        assert!(told.starts_with(offered), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn systemd_takes_the_units_and_finds_the_service_closed() {
    if !are_there(&["systemd-analyze"]) {
        return;
    }
    let folder = TempFolder::new("units");
    let unit = generated("service");
    let installed = "ExecStart=/usr/bin/line-chat\n";
    assert!(unit.contains(installed), "{unit}");
    let here = format!("ExecStart={}\n", env!("CARGO_BIN_EXE_line-chat"));
    let service = folder.path_of("line-chat.service");
    fs::write(&service, unit.replace(installed, &here)).expect("it is ours");
    let socket = write(&folder, "socket", "line-chat.socket");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", &service, &socket]);
    assert_eq!(output_of(&mut verify), (String::new(), String::new()));
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", MOST_EXPOSED, &service]);
    output_of(&mut security);
}

// Where the Dockerfile is not built, its binary is at least the one that it names.
#[test]
fn the_container_has_a_user_and_a_port() {
    let file = generated("dockerfile");
    let (_, last_stage) = file.split_once("FROM scratch\n").expect("an empty image");
    assert!(!last_stage.contains("RUN "), "there is no shell");
    for line in [
        "USER 65534:65534",
        "EXPOSE 6142",
        "ENTRYPOINT [\"/line-chat\"]",
    ] {
        let is_there = last_stage.lines().any(|it| it == line);
        assert!(is_there, "{line}: {file}");
    }
}

#[test]
fn the_alerts_are_those_that_the_metrics_are_held_against() {
    let rules = include_str!("../../src/dist/prometheus.rules.yml");
    assert_eq!(generated("alert-rules"), rules);
    let (help, _) = output_of(&mut command(&["--help"]));
    assert!(help.contains("alert-rules"), "{help}");
}

// The package is made by cargo-deb from Cargo.toml, and by a script where there is none.
#[test]
fn both_ways_to_make_the_package_put_the_same_files_into_it() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, assets) = manifest.split_once("\nassets = [\n").expect("a list");
    let (assets, _) = assets.split_once("\n]").expect("its end");
    let of_cargo = assets.lines().map(|line| {
        let mut parts = line.split('"').skip(1).step_by(2);
        let mut part = || parts.next().expect("source, place and mode");
        let (source, place, mode) = (part(), part(), part());
        let name = source.rsplit('/').next().unwrap_or_default();
        let place = match place.strip_suffix('/') {
            Some(folder) => format!("{folder}/{name}"),
            None => place.to_owned(),
        };
        format!("{mode} {place}")
    });
    let script = include_str!("../../.ci/packages");
    let of_script = script.lines().filter_map(|line| {
        let words: Vec<&str> = line.strip_prefix("put ")?.split(' ').collect();
        Some(format!("{} {}", words[0], words[2]))
    });
    let sorted = |files: &mut dyn Iterator<Item = String>| {
        let mut files: Vec<String> = files.collect();
        files.sort();
        files
    };
    let (cargo, script) = (sorted(&mut { of_cargo }), sorted(&mut { of_script }));
    assert_eq!(cargo, script);
    assert_eq!(cargo.len(), 10);
}

#[test]
fn the_variables_of_the_service_are_those_of_flags() {
    let file = generated("default");
    let variables = file.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("#LINE_CHAT_")?.split_once('=')?;
        Some(name)
    });
    let variables: Vec<&str> = variables.collect();
    for variable in &variables {
        let is_known = FLAGS.iter().any(|(_, name, _)| name == variable);
        assert!(is_known, "{variable}");
    }
    // What somebody who has installed the package looks for.
    for wanted in ["ADDR", "METRICS", "TRANSCRIPT", "OPS_PASSWORD_FILE"] {
        assert!(variables.contains(&wanted), "{wanted} in {file}");
    }
    let is_comment = |line: &str| line.is_empty() || line.starts_with('#');
    assert!(file.lines().all(is_comment), "it changes nothing by itself");
}
