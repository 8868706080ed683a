//! The parts of the process that belong to the binary and not to the library: the limit of
//! descriptors, the log on standard error, and the word on standard output that it runs. The server waits
//! for neither.
//!
//! A pipe that nobody reads takes 64 KiB and then blocks its writer. So a line is written only when
//! poll(2) says that it fits; otherwise it is dropped and counted. `O_NONBLOCK` would do as well, but
//! it belongs to the open file description, which is shared with the shell that started the server.
//!
//! For a terminal, poll(2) says only that one byte fits, and a terminal that hangs (a dead ssh, a
//! stopped emulator) would still block the server. But a terminal can be opened a second time, as a
//! file description that nobody shares.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cli::log_format::Style;
use line_chat::{Config, ListenAddr, Place, Profile, Service};
use log::{Level, LevelFilter, info, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The longest line of the log in bytes, its end included: what poll(2) promises to fit into a pipe
/// (`PIPE_BUF`, pipe(7)).
const MAX_LOG_LINE_BYTES: usize = 4096;

const CUT: &[u8] = b"...\n";

/// How many lines of the log were dropped since the start. The logger belongs to the process and not to
/// the server, so this does as well.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many lines of the log were dropped since the start.
pub(crate) fn log_lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Starts the log on standard error, at `level`. Without one `RUST_LOG` decides, and the default is
/// info.
pub(crate) fn start_log(level: Option<LevelFilter>, style: Style) {
    let mut logger =
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"));
    if let Some(level) = level {
        logger.filter_level(level);
    }
    if style != Style::Text {
        logger.format(move |out, record| style.write(out, record, MAX_LOG_LINE_BYTES));
    }
    let target = LogWriter::new(Standard::new(io::stderr(), "/dev/stderr"), style);
    logger
        .target(env_logger::Target::Pipe(Box::new(target)))
        .init();
}

/// Raises the soft limit of descriptors to the hard one. If that fails, the server takes fewer
/// clients; the log states their number in any case.
pub(crate) fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

/// A place for the log that knows whether a line can be written without waiting.
trait Sink: Write {
    fn is_ready(&self) -> bool;
}

/// A standard stream, as it is written to without waiting.
struct Standard<S> {
    stream: S,
    /// If it is a terminal: the same terminal opened again, non-blocking and not shared.
    terminal: Option<File>,
}

impl<S: IsTerminal> Standard<S> {
    /// `path`: where the stream can be opened again.
    fn new(stream: S, path: &str) -> Self {
        let terminal = stream.is_terminal().then(|| {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
        });
        // The terminal may belong to another user. Then the stream is written to like a pipe.
        let terminal = terminal.and_then(Result::ok).map(File::from);
        Self { stream, terminal }
    }
}

impl<S: AsFd + Write> Sink for Standard<S> {
    fn is_ready(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.stream, PollFlags::OUT)];
        let at_once = Timespec::default();
        poll(&mut descriptors, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }
}

impl<S: Write> Write for Standard<S> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut self.terminal {
            Some(terminal) => terminal.write(line),
            None => self.stream.write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Says on standard output where the server is to be found, if that takes it at once; otherwise the
/// log says so. A closed standard output is no reason to fail.
pub(crate) fn announce(listeners: &[ListenAddr]) {
    let mut out = LogWriter::new(Standard::new(io::stdout(), "/dev/stdout"), Style::Text);
    for text in announcements(listeners) {
        if !out.try_line(format!("{text}\n").as_bytes()) {
            warn!(target: "line_chat::server", "standard output takes nothing: {text}");
        }
    }
    let _ = out.sink.flush();
}

/// Logs what is served, by which limits, and warns of what everybody can reach.
pub(crate) fn log_start(config: &Config, listeners: &[ListenAddr]) {
    let (interactive, limits) = (&config.interactive, &config.limits);
    let profile = profiles(listeners);
    let password = match interactive.password_file {
        Some(_) => "a password",
        None => "no password",
    };
    let has_tls = listeners.iter().any(|it| it.layers.tls);
    let encryption = if has_tls { "TLS" } else { "no TLS" };
    info!(
        target: "line_chat::server",
        "line-chat {}: {profile}, {password}, {encryption}; max-line {}, max-nick {}, max-pending {}, \
         max-pending-total {}, max-clients-per-ip {}, connect-rate {}, rate {}",
        env!("CARGO_PKG_VERSION"),
        limits.max_line_bytes,
        limits.max_nick_chars,
        limits.max_pending_bytes,
        limits.max_pending_total_bytes,
        limits.max_clients_per_ip,
        limits.connects_per_second,
        limits.lines_per_second,
    );
    let mut public = listeners.iter().filter(|it| is_public_chat(it));
    if let (None, Some(listener)) = (&interactive.password_file, public.next()) {
        warn!(
            target: "line_chat::server",
            "everybody who reaches {} can join: set --password-file to let in only those who know it",
            listener.place
        );
    }
    let mut public = listeners.iter().filter(|it| is_public_chat(it));
    // A proxy may have taken the encryption off.
    if let Some(listener) = public.find(|it| !it.layers.tls && !it.layers.proxy) {
        warn!(
            target: "line_chat::server",
            "what is said on {}, passwords included, can be read on its way: listen on tls:ADDR as well (--tls-cert)",
            listener.place
        );
    }
}

/// What the listeners serve.
fn profiles(listeners: &[ListenAddr]) -> &'static str {
    let is_of_people = |it: &ListenAddr| it.service == Some(Service::Chat(Profile::Interactive));
    let chat = || {
        listeners
            .iter()
            .filter(|it| it.service != Some(Service::Http))
    };
    match (chat().any(is_of_people), chat().all(is_of_people)) {
        (true, true) => "interactive",
        (true, false) => "interactive and plain",
        (false, _) => "plain",
    }
}

/// Whether other machines may reach this listener and join there.
fn is_public_chat(listener: &ListenAddr) -> bool {
    let is_public = match &listener.place {
        Place::Socket(addr) => !addr.ip().to_canonical().is_loopback(),
        _ => false,
    };
    is_public && listener.service != Some(Service::Http)
}

/// One line for each listener, with the words for what stands before its clients. Those for HTTP are named
/// as such, and plain ones only beside those for people.
fn announcements(listeners: &[ListenAddr]) -> impl Iterator<Item = String> {
    let profile = |listener: &ListenAddr| match listener.service {
        Some(Service::Chat(profile)) => Some(profile),
        Some(Service::Script(_)) => Some(Profile::Plain),
        _ => None,
    };
    let mut profiles = listeners.iter().map(profile);
    let has_people = profiles.any(|it| it == Some(Profile::Interactive));
    listeners.iter().map(move |listener| {
        let mark = match (profile(listener), listener.service) {
            (Some(Profile::Plain), _) if has_people => " (plain)",
            (_, Some(Service::Http)) => " (http)",
            _ => "",
        };
        format!("server running on {}{mark}", listener.name())
    })
}

/// Writes the log line by line, and never waits.
struct LogWriter<W> {
    sink: W,
    style: Style,
    /// How many lines were dropped and not reported in the log yet.
    dropped: u64,
    /// The line that was written last is incomplete.
    is_torn: bool,
}

impl<W: Sink> LogWriter<W> {
    fn new(sink: W, style: Style) -> Self {
        Self {
            sink,
            style,
            dropped: 0,
            is_torn: false,
        }
    }

    /// Writes the line if it fits. Returns whether all of it is written.
    fn try_line(&mut self, line: &[u8]) -> bool {
        if !self.sink.is_ready() {
            return false;
        }
        match self.sink.write(line) {
            Ok(n) => {
                self.is_torn = n < line.len();
                !self.is_torn
            }
            // A closed standard error loses nothing that anybody reads.
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

impl<W: Sink> Write for LogWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.dropped > 0 {
            let lines = if self.dropped == 1 { "line" } else { "lines" };
            let were = if self.dropped == 1 { "was" } else { "were" };
            let text = format!("{} {lines} of this log {were} dropped", self.dropped);
            let mut told = self.style.own_line(Level::Warn, &text);
            if self.is_torn {
                told.insert(0, b'\n');
            }
            if self.try_line(&told) {
                self.dropped = 0;
            }
        }
        let is_written = if line.len() <= MAX_LOG_LINE_BYTES {
            self.try_line(line)
        } else {
            self.try_line(&cut(line))
        };
        if !is_written {
            self.dropped = self.dropped.saturating_add(1);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As much of a line as the log takes, ending with a whole character and a sign that it was cut.
fn cut(line: &[u8]) -> Vec<u8> {
    let most = MAX_LOG_LINE_BYTES.saturating_sub(CUT.len());
    let begins_character = |byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    let mut ends = line.iter().take(most.saturating_add(1));
    let end = ends.rposition(begins_character).unwrap_or(0);
    [line.get(..end).unwrap_or_default(), CUT].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_has_a_line_that_says_how_to_reach_it() {
        let lines_of = |addrs: &[&str]| {
            let parse = |addr: &&str| addr.parse().expect("an address");
            let listeners: Vec<ListenAddr> = addrs.iter().map(parse).collect();
            let lines = announcements(&listeners).collect::<Vec<String>>();
            lines.join("\n").replace("server running on ", "")
        };
        assert_eq!(lines_of(&["plain:127.0.0.1:7"]), "127.0.0.1:7");
        assert_eq!(
            lines_of(&[
                "interactive:[::1]:7",
                "interactive+proxy:127.0.0.1:8",
                "plain+proxy:127.0.0.1:9,eol=lf",
                "plain+unix:@scripts",
                "http:127.0.0.1:10",
            ]),
            "[::1]:7\n\
             proxy:127.0.0.1:8\n\
             proxy:127.0.0.1:9 (plain)\n\
             unix:@scripts (plain)\n\
             127.0.0.1:10 (http)"
        );
    }

    #[derive(Default)]
    struct Pipe {
        is_full: bool,
        /// How much of a write a terminal takes; 0: nothing, `None`: all.
        room: Option<usize>,
        written: Vec<u8>,
    }

    impl Sink for Pipe {
        fn is_ready(&self) -> bool {
            !self.is_full
        }
    }

    impl Write for Pipe {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            assert!(!self.is_full, "this would block");
            assert!(line.len() <= MAX_LOG_LINE_BYTES, "this may block");
            let taken = self.room.unwrap_or(line.len());
            self.written.extend_from_slice(&line[..taken]);
            match taken {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                taken => Ok(taken),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let mut log = LogWriter::new(Pipe::default(), Style::Text);
        let mut say = |line: &str, is_full| {
            log.sink.is_full = is_full;
            log.write_all(line.as_bytes()).expect("it never fails");
        };
        say("one\n", false);
        say("two\n", true);
        say("three\n", true);
        say("four\n", false);
        say("five\n", false);
        let expected = "one\nline-chat: 2 lines of this log were dropped\nfour\nfive\n";
        assert_eq!(String::from_utf8_lossy(&log.sink.written), expected);
    }

    #[test]
    fn what_a_terminal_takes_in_part_or_not_at_all_is_dropped_and_what_follows_stays_apart() {
        let mut log = LogWriter::new(Pipe::default(), Style::Text);
        let mut say = |line: &str, room| {
            log.sink.room = room;
            log.write_all(line.as_bytes()).expect("it never fails");
        };
        say("one\n", None);
        say("two\n", Some(2));
        say("three\n", Some(0));
        say("four\n", None);
        let expected = "one\ntw\nline-chat: 2 lines of this log were dropped\nfour\n";
        assert_eq!(String::from_utf8_lossy(&log.sink.written), expected);
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters() {
        for line in ["x".repeat(5000), "é".repeat(5000), "€".repeat(5000)] {
            let mut log = LogWriter::new(Pipe::default(), Style::Text);
            log.write_all(format!("{line}\n").as_bytes())
                .expect("it never fails");
            let written = String::from_utf8(log.sink.written).expect("UTF-8");
            let kept = written
                .strip_suffix("...\n")
                .expect("a sign that it is cut");
            assert!(line.starts_with(kept) && kept.len() > 4085);
        }
    }
}
