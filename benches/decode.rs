//! Bytes a second through the decoders: by length of line, by kind of text, and by how the bytes are
//! split, because a decoder that is fast on whole reads may still be slow on the pieces that a network
//! delivers.
//!
//! `cargo bench --bench decode`, or with a part of a name: `-- 'line, UTF-8'`.
//!
//! `benches/instructions` counts instructions instead: it runs this executable under callgrind as
//! `decode count ROW ROUNDS`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use line_chat::protocol::decoder::{Decoded, Decoder, Input};
use line_chat::protocol::line::LineDecoder;
use line_chat::protocol::telnet::TelnetDecoder;
use line_chat::text;

const LINE_BYTES: [usize; 4] = [16, 64, 512, 4096];

/// The longest line that a decoder takes.
const MAX_LINE_BYTES: usize = 4096;

/// The most that one read of the server takes.
const READ_BYTES: usize = 16 << 10;

/// How much comes at once: all of a read, a segment of Ethernet, a few keystrokes.
const PIECES: [(&str, usize); 3] = [
    ("whole", READ_BYTES),
    ("split at 1460", 1460),
    ("split at 7", 7),
];

const TEXTS: [(&str, &str); 2] = [
    ("ASCII", "the quick brown fox jumps over the lazy dog, "),
    ("UTF-8", "Füchse springen, 狐が跳ぶ, лиса прыгает 🦊, "),
];

/// Where the rows go: to a stopwatch, or one of them to a tool that counts instructions.
enum Runner {
    Timed(Box<Criterion>),
    Counted { row: String, rounds: u32 },
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, row, rounds] = &args[..]
        && mode == "count"
    {
        let row = row.clone();
        let rounds = rounds.parse().unwrap_or(0);
        return all(&mut Runner::Counted { row, rounds });
    }
    let criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .sample_size(20);
    let mut runner = Runner::Timed(Box::new(criterion.configure_from_args()));
    all(&mut runner);
    if let Runner::Timed(criterion) = runner {
        criterion.final_summary();
    }
}

fn all(c: &mut Runner) {
    line(c);
    telnet(c);
    both(c);
    cleaning(c);
}

/// Line ends alone, without and with line editing.
fn line(c: &mut Runner) {
    let plain = LineDecoder::new(MAX_LINE_BYTES);
    lines_of(c, "line", plain.clone());
    lines_of(c, "editing", plain.with_line_editing());
}

fn lines_of(c: &mut Runner, name: &str, mut decoder: LineDecoder) {
    by_text_and_piece(c, name, |mut bytes| {
        let mut count = 0;
        while decoder.next(&mut bytes).is_some() {
            count += 1;
        }
        count
    });
}

/// Telnet commands alone, of which there are none, as in nearly everything that is ever said.
fn telnet(c: &mut Runner) {
    let mut decoder = TelnetDecoder::default();
    by_text_and_piece(c, "telnet", |mut bytes| {
        let mut count = 0;
        while decoder.next(&mut bytes).is_some() {
            count += 1;
        }
        count
    });
}

/// As the server has them, one behind the other.
fn both(c: &mut Runner) {
    let mut decoder = Decoder::new(MAX_LINE_BYTES);
    by_text_and_piece(c, "both", |bytes| {
        let mut input = Input::new(bytes);
        let mut lines = 0;
        while let Some(heard) = decoder.next(&mut input) {
            lines += usize::from(matches!(heard, Decoded::Line(_)));
        }
        lines
    });
}

/// What becomes of a line before others see it. It is never split: it comes from a decoder.
fn cleaning(c: &mut Runner) {
    let mut scratch = String::new();
    for (kind, sample) in TEXTS {
        by_length(c, &format!("text, {kind}"), sample, |bytes| {
            let lines = bytes.split_inclusive(|&byte| byte == b'\n');
            let texts = lines.map(|line| &line[..line.len() - "\r\n".len()]);
            texts
                .map(|text| text::clean(text, &mut scratch).as_str().len())
                .sum()
        });
    }
}

/// `decode` takes one piece and says how much it found in it.
fn by_text_and_piece(c: &mut Runner, name: &str, mut decode: impl FnMut(&[u8]) -> usize) {
    for (kind, sample) in TEXTS {
        for (pieces, piece_bytes) in PIECES {
            by_length(c, &format!("{name}, {kind}, {pieces}"), sample, |bytes| {
                bytes.chunks(piece_bytes).map(&mut decode).sum()
            });
        }
    }
}

fn by_length(c: &mut Runner, name: &str, sample: &str, mut decode: impl FnMut(&[u8]) -> usize) {
    let c = match c {
        Runner::Timed(criterion) => criterion,
        Runner::Counted { row, rounds } => return count(row, *rounds, name, sample, decode),
    };
    let mut group = c.benchmark_group(name);
    for line_bytes in LINE_BYTES {
        let bytes = lines(sample, line_bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let id = BenchmarkId::from_parameter(line_bytes);
        group.bench_with_input(id, &bytes, |b, bytes| {
            b.iter(|| decode(black_box(bytes)));
        });
    }
    group.finish();
}

/// Runs a row for a number of rounds, if it is `row`. Prints the number of bytes that a round decodes.
fn count(row: &str, rounds: u32, name: &str, sample: &str, mut decode: impl FnMut(&[u8]) -> usize) {
    for line_bytes in LINE_BYTES {
        if row == format!("{name}/{line_bytes}") {
            let bytes = lines(sample, line_bytes);
            println!("{}", bytes.len());
            for _ in 0..rounds {
                black_box(decode(black_box(&bytes)));
            }
        }
    }
}

/// A read full of lines of `line_bytes`, their line ends included.
fn lines(sample: &str, line_bytes: usize) -> Vec<u8> {
    let text = sample.repeat(line_bytes / sample.len() + 1);
    let mut end = line_bytes - "\r\n".len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = [&text.as_bytes()[..end], b"\r\n"].concat();
    line.repeat(READ_BYTES / line.len())
}
