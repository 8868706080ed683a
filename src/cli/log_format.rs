//! How a line of the log is written: for people with the time, for systemd's journal with its priority
//! (sd-daemon(3)), because the journal has the time, and for machines as JSON.

use std::env;
use std::fmt::Display;
use std::io::{self, Write};

use clap::ValueEnum;
use env_logger::fmt::Formatter;
use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, Record};
use rustix::fs::fstat;
use serde_json::{Map, json};

/// Set where standard error is the journal's: the device and the inode of its socket, with a colon
/// between them (systemd.exec(5)).
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// What the log is written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people, with the time, or with a priority if standard error is systemd's journal.
    #[default]
    Text,
    /// One JSON object a line, with time, level, target, message, and a client's number and listener.
    Json,
}

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Text,
    Journal,
    Json,
}

impl Style {
    /// The style of a log on standard error.
    pub(crate) fn on_standard_error(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Text if is_journal() => Self::Journal,
            LogFormat::Text => Self::Text,
        }
    }

    /// Writes what env_logger would, if this is not text for people. `most_bytes` is the longest line.
    pub(crate) fn write(
        self,
        out: &mut Formatter,
        record: &Record<'_>,
        most_bytes: usize,
    ) -> io::Result<()> {
        let (level, target) = (record.level(), record.target());
        match self {
            Self::Text | Self::Journal => {
                let priority = priority(level);
                writeln!(out, "<{priority}>{target}: {}", record.args())
            }
            Self::Json => {
                let time = out.timestamp_millis().to_string();
                let mut fields = Fields(Map::new());
                fields.0.insert("time".to_owned(), time.into());
                fields.0.insert("level".to_owned(), name(level).into());
                fields.0.insert("target".to_owned(), target.into());
                // No value of ours fails to be visited.
                let _ = record.key_values().visit(&mut fields);
                out.write_all(&json_line(fields.0, record.args().to_string(), most_bytes))
            }
        }
    }

    /// A line of the program itself, which does not come from the logger and so has no time.
    pub(crate) fn own_line(self, level: Level, text: &dyn Display) -> Vec<u8> {
        match self {
            Self::Text => format!("line-chat: {text}\n").into_bytes(),
            Self::Journal => format!("<{}>line-chat: {text}\n", priority(level)).into_bytes(),
            Self::Json => {
                let mut fields = Map::new();
                fields.insert("level".to_owned(), name(level).into());
                fields.insert("target".to_owned(), "line_chat".into());
                json_line(fields, text.to_string(), usize::MAX)
            }
        }
    }
}

/// The numbers of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// The object of these fields and a message, of which as much is kept as fits a line.
fn json_line(
    mut fields: Map<String, serde_json::Value>,
    mut message: String,
    most: usize,
) -> Vec<u8> {
    loop {
        fields.insert("message".to_owned(), json!(message));
        let mut line = serde_json::to_vec(&fields).unwrap_or_default();
        line.push(b'\n');
        let over = line.len().saturating_sub(most);
        if over == 0 || message.is_empty() {
            return line;
        }
        // A byte of the message takes one in the line, or more.
        let kept = message
            .len()
            .saturating_sub(over.saturating_add(CUT.len()).max(1));
        message = format!("{}{CUT}", head(&message, kept));
        if kept == 0 {
            message.clear();
        }
    }
}

/// What stands behind a message that was cut.
const CUT: &str = "...";

/// The first characters of a text, together at most `most_bytes` long.
fn head(text: &str, most_bytes: usize) -> &str {
    let starts = text.char_indices().map(|(start, _)| start);
    let end = starts
        .chain([text.len()])
        .take_while(|&end| end <= most_bytes);
    text.get(..end.last().unwrap_or(0)).unwrap_or_default()
}

/// The values of a record beside its message.
struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value
            .to_u64()
            .map_or_else(|| json!(value.to_string()), |it| json!(it));
        self.0.insert(key.to_string(), value);
        Ok(())
    }
}

fn is_journal() -> bool {
    let stream = env::var(JOURNAL_STREAM).unwrap_or_default();
    fstat(io::stderr()).is_ok_and(|it| stream == format!("{}:{}", it.st_dev, it.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_long_is_cut_and_the_line_is_json_still() {
        for message in ["x".repeat(300), "\u{1}".repeat(300), "é\"".repeat(300)] {
            for most in [40, 41, 42, 43, 100, 500] {
                let mut fields = Map::new();
                fields.insert("level".to_owned(), "info".into());
                let line = json_line(fields, message.clone(), most);
                assert!(line.len() <= most, "{most}");
                let object: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
                let kept = object["message"].as_str().expect("a text");
                let kept = kept.strip_suffix(CUT).unwrap_or(kept);
                assert!(message.starts_with(kept));
            }
        }
    }
}
