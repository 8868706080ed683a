//! What the server itself says to a client: [`Notice`], the one place that words it.
//! Every notice is one line that begins with `* `, which no nick can, so nobody else can say it.

use std::io::Write;

use crate::nick::NickError;

/// A line from the server to one client.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Notice<'a> {
    /// The line was no nick that can be had; the next line is taken as one.
    Refused(&'a NickError),
    /// The same, for the last time: the connection ends.
    RefusedFinally(&'a NickError),
    /// A member's line passed the limit and is thrown away.
    LineTooLong { max_line_bytes: usize },
    /// So many lines were left out, because the reader was too far behind.
    Skipped(u64),
    /// The answer to telnet's AYT.
    Yes,
    /// The last words before the server closes.
    Goodbye(&'static str),
}

impl Notice<'_> {
    /// Puts the whole line, with its `* ` and its line end, into `line`, whose old content is
    /// dropped.
    pub(crate) fn write(self, line: &mut Vec<u8>) {
        line.clear();
        let written = match self {
            Self::Refused(why) => write!(line, "* {why}, choose another"),
            Self::RefusedFinally(why) => {
                write!(line, "* {why}, and that was the last try, goodbye")
            }
            Self::LineTooLong { max_line_bytes } => {
                write!(
                    line,
                    "* that line is longer than {max_line_bytes} bytes and was not sent"
                )
            }
            Self::Skipped(count) => write!(line, "* {count} lines skipped"),
            Self::Yes => write!(line, "* yes"),
            Self::Goodbye(words) => write!(line, "* {words}"),
        };
        debug_assert!(written.is_ok(), "a Vec takes every write");
        line.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_one_line_that_begins_with_a_star() {
        let error = NickError::LineTooLong {
            max_line_bytes: 4096,
        };
        for notice in [
            Notice::Refused(&error),
            Notice::RefusedFinally(&error),
            Notice::LineTooLong {
                max_line_bytes: 4096,
            },
            Notice::Skipped(u64::MAX),
            Notice::Yes,
            Notice::Goodbye("server is shutting down"),
        ] {
            let mut line = b"left over".to_vec();
            notice.write(&mut line);
            let text = String::from_utf8(line).expect("notices are UTF-8");
            let words = text
                .strip_prefix("* ")
                .and_then(|text| text.strip_suffix("\r\n"));
            assert!(
                words.is_some_and(|words| !words.contains(['\r', '\n'])),
                "{text:?}"
            );
        }
    }
}
