//! A person's terminal: [`Terminal`] runs a program on a pseudo-terminal of its own, presses keys, and
//! returns the text on its screen.
//!
//! Nothing here sleeps to let something settle. A test waits until the screen ends with the expected
//! text, and types only then; keys pressed earlier could be echoed before or after incoming text.

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};

use super::DEADLINE;
use super::child::await_until;

/// The rows and columns of a screen.
pub(crate) type Size = [NonZeroU16; 2];

/// More lines than most tests fill, so that nothing scrolls away.
const USUAL: Size = size(40, 80);

pub(crate) const fn size(rows: u16, columns: u16) -> Size {
    [
        NonZeroU16::new(rows).expect("not zero"),
        NonZeroU16::new(columns).expect("not zero"),
    ]
}

/// A program, its pseudo-terminal, and the screen that it has written so far.
pub(crate) struct Terminal {
    program: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn Write + Send>,
    /// What the program writes, read as it comes, so that it never has to wait for us.
    output: Receiver<Vec<u8>>,
    /// All of it so far.
    written: Vec<u8>,
    size: Size,
}

impl Terminal {
    /// Runs a program. One at a time, because until a pseudo-terminal is set up, a child that another
    /// thread starts may inherit it and keep it open.
    pub(crate) fn run(program: &str, args: &[String]) -> Self {
        Self::run_at(USUAL, program, args)
    }

    /// Runs it on a screen of this size.
    pub(crate) fn run_at(size: Size, program: &str, args: &[String]) -> Self {
        let [rows, cols] = size.map(NonZeroU16::get);
        let pty = native_pty_system().openpty(PtySize {
            rows,
            cols,
            ..PtySize::default()
        });
        let pty = pty.expect("a pseudo-terminal");
        let program = pty.slave.spawn_command(command(program, args));
        let reader = pty.master.try_clone_reader();
        let keyboard = pty.master.take_writer();
        Self {
            program: program.expect("the program is installed"),
            keyboard: keyboard.expect("a pseudo-terminal"),
            output: chunks(reader.expect("a pseudo-terminal")),
            written: Vec::new(),
            size,
        }
    }

    /// Presses keys.
    #[track_caller]
    pub(crate) fn press(&mut self, keys: &str) {
        let keyboard = &mut self.keyboard;
        keyboard.write_all(keys.as_bytes()).expect("it is open");
    }

    /// Types a line, and presses Enter.
    #[track_caller]
    pub(crate) fn type_line(&mut self, text: &str) {
        self.press(text);
        self.press("\r");
    }

    /// Presses ^C, when the program has nothing to do but to wait for a key: a program may look for a
    /// signal only when that has woken it, and then one that comes a moment before it sleeps is lost.
    #[track_caller]
    pub(crate) fn interrupt(&mut self) {
        let pid = self.program.process_id().expect("it runs");
        await_until("the program sleeps", || is_asleep(pid));
        self.press("\x03");
    }

    /// Waits until this is the last thing on the screen, directly before the cursor.
    #[track_caller]
    pub(crate) fn await_text(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.before_cursor().ends_with(text) {
            if self.read(end).is_err() {
                panic!("waited in vain for {text:?}:\n{}", self.screen());
            }
        }
    }

    /// Waits until a line with this text is complete, and stands on the screen before the cursor.
    #[track_caller]
    pub(crate) fn await_line(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        let is_there = |seen: &str| seen.rsplit_once(text).is_some_and(|it| it.1.contains('\n'));
        while !is_there(&self.before_cursor()) {
            if self.read(end).is_err() {
                panic!(
                    "waited in vain for a line with {text:?}:\n{}",
                    self.screen()
                );
            }
        }
    }

    /// Waits until the program has ended, and returns the screen that it leaves.
    #[track_caller]
    pub(crate) fn last_screen(mut self) -> String {
        let end = Instant::now() + DEADLINE;
        let why = loop {
            if let Err(why) = self.read(end) {
                break why;
            }
        };
        let has_ended = matches!(why, RecvTimeoutError::Disconnected);
        assert!(has_ended, "it does not end:\n{}", self.screen());
        self.screen()
    }

    /// Whether this was ever on the screen, even if it is erased by now.
    pub(crate) fn has_shown(&self, text: &str) -> bool {
        visible(&self.written).contains(text)
    }

    /// The lines on the screen, without the blanks at their ends.
    pub(crate) fn screen(&self) -> String {
        let screen = shown(&self.written, self.size).screen().contents();
        let lines = screen.lines().map(str::trim_end);
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    fn before_cursor(&self) -> String {
        let parser = shown(&self.written, self.size);
        let (row, column) = parser.screen().cursor_position();
        parser.screen().contents_between(0, 0, row, column)
    }

    fn read(&mut self, end: Instant) -> Result<(), RecvTimeoutError> {
        let left = end.saturating_duration_since(Instant::now());
        let bytes = self.output.recv_timeout(left)?;
        self.written.extend(bytes);
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.program.try_wait() {
            // It may end by itself just now.
            let _ = self.program.kill();
        }
        let _ = self.program.wait();
    }
}

/// The screen of a terminal to which this was written.
fn shown(written: &[u8], [rows, columns]: Size) -> vt100::Parser {
    let mut parser = vt100::Parser::new(rows, columns, 0);
    parser.process(visible(&without_title(written)).as_bytes());
    parser
}

/// What is written, without the titles that a program gives its window (`ESC ] 0 ;`), whose end is a BEL.
fn without_title(written: &[u8]) -> Vec<u8> {
    const BEGIN: &[u8] = b"\x1b]0;";
    let (mut rest, mut text) = (written, Vec::new());
    while let Some(at) = rest.windows(BEGIN.len()).position(|it| it == BEGIN) {
        let (before, title) = rest.split_at(at);
        text.extend_from_slice(before);
        let end = title.iter().position(|&byte| byte == b'\x07');
        rest = end.map_or(&[][..], |end| &title[end + 1..]);
    }
    text.extend_from_slice(rest);
    text
}

/// What is written, with its odd bytes as `<ff>`: those that are no UTF-8, and control characters
/// that no client should be sent. A terminal may show nothing of them, and then a comparison of
/// screens would not find them. NUL is left out: it is padding, and no terminal shows it.
fn visible(written: &[u8]) -> String {
    let mut text = String::new();
    for chunk in written.utf8_chunks() {
        for c in chunk.valid().chars().filter(|&c| c != '\0') {
            if c.is_control() && !"\t\r\n\x08\x1b".contains(c) {
                text += &format!("<{:02x}>", u32::from(c));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("<{byte:02x}>")));
    }
    text
}

/// A program with nothing of the environment that could change what it shows, nor with settings of
/// whoever runs the tests (`~/.telnetrc`, PuTTY's sessions).
fn command(program: &str, args: &[String]) -> CommandBuilder {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut command = CommandBuilder::new(program);
    command.args(args);
    command.env_clear();
    command.env("PATH", path);
    command.env("HOME", "/nonexistent");
    command.env("TERM", "xterm");
    command.env("LC_ALL", "C.UTF-8");
    command.cwd("/");
    command
}

/// Whether a process sleeps until something happens, as proc(5) tells it.
fn is_asleep(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    // The name before the last parenthesis is the only field that may hold blanks.
    stat.rsplit_once(") ")
        .is_some_and(|(_, fields)| fields.starts_with('S'))
}

/// What is read, piece by piece, until the last program on the terminal has closed it.
fn chunks(mut reader: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
