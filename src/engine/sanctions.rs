//! Bans and mutes as text, so that they can outlast the process: [`Engine::sanctions`] writes what is in force,
//! a line each, and [`Engine::restore_sanctions`] takes it back. Where the text is kept is not known here.
//!
//! A line has six fields with tabs between them, which clean text never has: what it is (`ban` or `mute`), how
//! it is named (`name` or `peers`), whom it is for, until when in seconds since 1970 (`-`: for ever), who gave
//! it, and why, which may be empty.

use std::fmt;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use crate::conn::stream::Stream;
use crate::engine::Engine;
use crate::events::Observer;
use crate::protocol::target::TypedPeers;
use crate::room::kept::{Kept, Whom};
use crate::room::sanction::{Sanction, TOO_MANY};
use crate::text;

const HEADER: &str = "# line-chat: what is banned and muted; do not edit while the server runs\n";

const NEITHER: &str = "it is neither a ban nor a mute, of a name or of peers";
const NO_PEERS: &str = "that is no address, network or uid";

/// Why a text cannot be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SanctionsError {
    /// The first line that is wrong, from 1 on.
    pub line: usize,
    why: &'static str,
}

impl fmt::Display for SanctionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for SanctionsError {}

impl<S: Stream, O: Observer> Engine<S, O> {
    /// Another number whenever bans or mutes have changed.
    pub fn sanctions_version(&self) -> u64 {
        self.room.sanctions_version()
    }

    /// All bans and mutes that are in force.
    pub fn sanctions(&self) -> String {
        let wall_clock = (self.env.wall_clock)();
        let now = self.env.now;
        let mut text = HEADER.to_owned();
        for (ban, time) in self.auth.banned.entries(now) {
            let kept = Kept {
                is_ban: true,
                whom: Whom::Peers(ban.whom),
                by: &ban.by,
                why: &ban.why,
            };
            write_line(&mut text, &kept, time, wall_clock);
        }
        self.room.each_kept(now, |kept, time| {
            write_line(&mut text, &kept, time, wall_clock);
        });
        text
    }

    /// Adds bans and mutes, but for those that have ended since they were written.
    ///
    /// # Errors
    /// A line is none of these. Those before it were added.
    pub fn restore_sanctions(&mut self, text: &str) -> Result<(), SanctionsError> {
        for (n, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line_number = n.saturating_add(1);
            self.restore_one(line).map_err(|why| SanctionsError {
                line: line_number,
                why,
            })?;
        }
        Ok(())
    }

    fn restore_one(&mut self, line: &str) -> Result<(), &'static str> {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[kind, named, whom, until, by, why] = &*fields else {
            return Err("it has not six fields with tabs between them");
        };
        let mut scratch = String::new();
        let mut fields = fields.iter();
        if fields.any(|it| text::clean(it.as_bytes(), &mut scratch).as_str() != *it) {
            return Err("it holds characters that no ban or mute has");
        }
        let Some(time) = self.time_until(until)? else {
            return Ok(());
        };
        let is_ban = match kind {
            "ban" => true,
            "mute" => false,
            _ => return Err(NEITHER),
        };
        let whom = match named {
            "name" => Whom::Name(whom),
            "peers" => Whom::Peers(TypedPeers::parse(whom).ok_or(NO_PEERS)?.set),
            _ => return Err(NEITHER),
        };
        let now = self.env.now;
        if let (true, Whom::Peers(peers)) = (is_ban, whom) {
            let ban = Sanction::kept(peers, by, why);
            let has_room = self.auth.banned.add(ban, time, now);
            return has_room.then_some(()).ok_or(TOO_MANY);
        }
        let kept = Kept {
            is_ban,
            whom,
            by,
            why,
        };
        self.room.restore(kept, time, now)
    }

    /// How much longer something is in force; `Some(None)`: for ever. `None` if it has ended.
    fn time_until(&self, until: &str) -> Result<Option<Option<Duration>>, &'static str> {
        if until == "-" {
            return Ok(Some(None));
        }
        let seconds = until
            .parse()
            .map_err(|_| "its end is no number of seconds")?;
        let until = Duration::from_secs(seconds);
        let wall_clock = (self.env.wall_clock)();
        let now = wall_clock.duration_since(SystemTime::UNIX_EPOCH);
        let left = until.checked_sub(now.unwrap_or_default());
        Ok(left.filter(|left| !left.is_zero()).map(Some))
    }
}

fn write_line(text: &mut String, kept: &Kept<'_>, time: Option<Duration>, now: SystemTime) {
    let kind = if kept.is_ban { "ban" } else { "mute" };
    let until = time.map_or_else(
        || "-".to_owned(),
        |time| {
            let since = now
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            // Rounded up: nothing ends early.
            let until = since
                .saturating_add(time)
                .saturating_add(Duration::from_millis(999));
            until.as_secs().to_string()
        },
    );
    let (by, why) = (kept.by, kept.why);
    // Writing to a string does not fail.
    let _ = match &kept.whom {
        Whom::Name(nick) => writeln!(text, "{kind}\tname\t{nick}\t{until}\t{by}\t{why}"),
        Whom::Peers(peers) => writeln!(text, "{kind}\tpeers\t{peers}\t{until}\t{by}\t{why}"),
    };
}
