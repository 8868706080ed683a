//! What people at a prompt see, to the byte and to the second, and that scripts beside them see
//! nothing of it. It is tested on a chat without sockets ([`rig`](crate::support::rig)), where the time is a test's own to
//! say; what real clients make of it on their screens is tested in `tests/clients`.

mod asking;
mod chaos;
mod claims;
mod coming;
mod history;
mod moderation;
mod names;
mod operators;
mod passwords;
mod plain;
mod sanctions;
mod storms;
mod talking;
mod words;

use std::time::Duration;

use line_chat::Config;

use crate::support::rig::{OFFER, Rig, Wire};
use crate::support::temp_file::TempFile;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A room for people, as `configure` changes it.
fn room_with(configure: impl FnOnce(&mut Config)) -> Rig {
    Rig::new(|config| {
        config.interactive.enabled = true;
        configure(config);
    })
}

fn room() -> Rig {
    room_with(|_| {})
}

/// People who have joined, in this order, and have read all that they got for it.
fn people<const N: usize>(rig: &mut Rig, nicks: [&str; N]) -> [Wire; N] {
    let people = nicks.map(|nick| rig.join(nick));
    for person in &people {
        person.received();
    }
    people
}

/// What each of them has received since this was last asked.
fn received<const N: usize>(people: [&Wire; N]) -> [String; N] {
    people.map(Wire::received)
}

/// A person types a line, and gets this in return.
#[track_caller]
fn expect_answer(rig: &mut Rig, person: &Wire, line: &str, answer: &str) {
    person.say(line);
    rig.settle();
    assert_eq!(unbroken(person), answer, "in return for {line:?}");
}

/// What somebody has received, with lines that were broken for a terminal joined again.
fn unbroken(person: &Wire) -> String {
    person.received().replace("\r\n*   ", " ")
}
