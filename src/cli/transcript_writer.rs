//! The process that writes the transcript: whole lines from standard input to the end of a file, until the
//! input ends. It may wait for the disk, because nobody waits for it but its input. SIGHUP makes it open
//! the file anew before it writes on, so that logrotate(8) can move it away. Without space on the disk it
//! drops whole lines, and when there is some again it says how many.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

/// How much is read, and written, at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Readable for the group, as logs are.
const MODE: u32 = 0o640;

/// Writes standard input to the file.
///
/// # Errors
/// The file cannot be opened, or the input cannot be read. What cannot be written is no error.
pub(crate) fn run(path: &Path) -> io::Result<()> {
    let is_moved = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, Arc::clone(&is_moved))?;
    // The server ends first, and the last lines come from it; a file that may not grow is an error of
    // write(2).
    for signal in [SIGINT, SIGTERM, SIGXFSZ] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    let mut transcript = Transcript::new(open(path)?, path);
    let mut input = Vec::new();
    let mut chunk = vec![0; READ_BYTES];
    loop {
        let read = match io::stdin().read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        input.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if is_moved.swap(false, Ordering::Relaxed) {
            transcript.reopen();
        }
        let whole = input.iter().rposition(|&byte| byte == b'\n');
        let whole = whole.map_or(0, |end| end.saturating_add(1));
        transcript.write(input.get(..whole).unwrap_or_default());
        // What is left is part of a line, which is no longer than the server's limits allow.
        input.drain(..whole);
    }
    transcript.tell_dropped(b"");
    Ok(())
}

/// Opens a transcript to write at its end.
///
/// # Errors
/// The text names the file, and says what to do.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).mode(MODE).open(path);
    file.map_err(|error| {
        let text = format!(
            "cannot write the transcript {}: {error}; name a file in a folder that the server may write to",
            path.display()
        );
        io::Error::new(error.kind(), text)
    })
}

/// The file, as lines are written to it.
#[derive(Debug)]
struct Transcript<F> {
    file: F,
    path: PathBuf,
    /// Lines that there was no space for, and that the file does not tell of.
    dropped: u64,
    /// The file ends with a part of a line that could not be taken back.
    is_torn: bool,
}

/// A file from whose end bytes can be taken back.
trait Shorten: Write {
    fn shorten(&mut self, bytes: u64) -> io::Result<()>;
}

impl Shorten for File {
    fn shorten(&mut self, bytes: u64) -> io::Result<()> {
        let length = self.metadata()?.len();
        self.set_len(length.saturating_sub(bytes))
    }
}

impl Transcript<File> {
    /// Goes on with the file that has the name now. If that cannot be opened, the old one goes on.
    fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.is_torn = false;
            }
            // Whoever does not read standard error makes only this process wait.
            Err(error) => {
                let _ = writeln!(io::stderr(), "line-chat: {error}");
            }
        }
    }
}

impl<F: Shorten> Transcript<F> {
    fn new(file: F, path: &Path) -> Self {
        Self {
            file,
            path: path.to_owned(),
            dropped: 0,
            is_torn: false,
        }
    }

    /// Writes whole lines, or drops those for which there is no space.
    fn write(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        if self.dropped > 0 && !self.tell_dropped(lines) {
            self.dropped = self.dropped.saturating_add(count(lines));
            return;
        }
        let written = self.write_whole(lines);
        let rest = lines.get(written..).unwrap_or_default();
        self.dropped = self.dropped.saturating_add(count(rest));
    }

    /// Says how many lines were dropped, with the time of the first of the lines that follow, if there
    /// are any. Returns whether the file has it.
    fn tell_dropped(&mut self, lines: &[u8]) -> bool {
        if self.dropped == 0 {
            return true;
        }
        let end = lines.iter().position(|&byte| byte == b' ');
        let time = end.and_then(|end| lines.get(..=end)).unwrap_or_default();
        let noun = if self.dropped == 1 { "line" } else { "lines" };
        let torn = if self.is_torn { "\n" } else { "" };
        let told = format!("* {} {noun} could not be written\n", self.dropped);
        let notice = [torn.as_bytes(), time, told.as_bytes()].concat();
        let is_told = self.write_whole(&notice) == notice.len();
        if is_told {
            self.dropped = 0;
            self.is_torn = false;
        }
        is_told
    }

    /// Writes as many lines as there is space for. Returns how many bytes these are.
    fn write_whole(&mut self, lines: &[u8]) -> usize {
        let mut written = 0_usize;
        while let Some(rest) = lines.get(written..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(n) if n > 0 => written = written.saturating_add(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return self.take_back_part(lines, written),
            }
        }
        written
    }

    /// No more can be written, and the last line may be there in part.
    fn take_back_part(&mut self, lines: &[u8], written: usize) -> usize {
        let there = lines.get(..written).unwrap_or_default();
        let whole = there.iter().rposition(|&byte| byte == b'\n');
        let whole = whole.map_or(0, |end| end.saturating_add(1));
        let part = written.saturating_sub(whole);
        if part > 0 {
            self.is_torn |= self.file.shorten(part as u64).is_err();
        }
        whole
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much space.
    #[derive(Default)]
    struct Disk {
        written: Vec<u8>,
        space: usize,
        can_shorten: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.space - self.written.len());
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shorten for Disk {
        fn shorten(&mut self, bytes: u64) -> io::Result<()> {
            if !self.can_shorten {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let length = self.written.len() - usize::try_from(bytes).expect("a few");
            self.written.truncate(length);
            Ok(())
        }
    }

    const LINES: &str = "12:00 a: one\n12:01 a: two\n12:02 a: three\n";

    /// What the file says at the end, where its disk is full after so many bytes at first.
    fn text(space: usize, can_shorten: bool) -> String {
        let disk = Disk {
            space,
            can_shorten,
            ..Disk::default()
        };
        let mut transcript = Transcript::new(disk, Path::new(""));
        transcript.write(LINES.as_bytes());
        transcript.write(b"12:03 a: four\n");
        transcript.file.space = usize::MAX;
        transcript.write(b"12:04 a: five\n");
        String::from_utf8(transcript.file.written).expect("UTF-8")
    }

    #[test]
    fn lines_are_dropped_whole_and_counted_wherever_the_disk_is_full() {
        for space in 0..LINES.len() + 14 {
            let text = text(space, true);
            let (kept, rest) = text.split_once("12:04 ").expect("what came later");
            let count = 4 - kept.lines().count();
            let noun = if count == 1 { "line" } else { "lines" };
            let told = format!("* {count} {noun} could not be written\n12:04 a: five\n");
            assert_eq!(rest, told, "{space}");
            let all = format!("{LINES}12:03 a: four\n");
            assert!(
                all.starts_with(kept) && (kept.is_empty() || kept.ends_with('\n')),
                "{text}"
            );
        }
    }

    #[test]
    fn a_part_of_a_line_that_stays_is_ended() {
        let expected = "\
12:00 a: one
12:0
12:04 * 3 lines could not be written
12:04 a: five
";
        assert_eq!(text("12:00 a: one\n12:0".len(), false), expected);
    }
}
