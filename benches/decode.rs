//! Bytes a second through the decoders, by length of line, by kind of text, whole and split.
//!
//! `cargo bench --bench decode`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use line_chat::decoder::{Decoder, Heard, Input};
use line_chat::line::LineDecoder;
use line_chat::telnet::TelnetDecoder;
use line_chat::text;

const LINE_BYTES: [usize; 4] = [16, 64, 512, 4096];

/// As much as one read of the server takes.
const READ_BYTES: usize = 16 << 10;

/// A read full of lines of `line_bytes`, their line ends included.
fn lines(sample: &str, line_bytes: usize) -> Vec<u8> {
    let text = sample.repeat(line_bytes / sample.len() + 1);
    let mut end = line_bytes - 2;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = [&text.as_bytes()[..end], b"\r\n"].concat();
    line.repeat(READ_BYTES / line.len())
}

const ASCII: &str = "the quick brown fox jumps over the lazy dog, ";
const UTF8: &str = "Füchse springen, 狐が跳ぶ, лиса прыгает 🦊, ";

fn by_length(c: &mut Criterion, name: &str, sample: &str, mut decode: impl FnMut(&[u8]) -> usize) {
    let mut group = c.benchmark_group(name);
    for line_bytes in LINE_BYTES {
        let bytes = lines(sample, line_bytes);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(line_bytes),
            &bytes,
            |b, bytes| {
                b.iter(|| decode(black_box(bytes)));
            },
        );
    }
    group.finish();
}

/// How many lines `decoder` hears in `bytes`.
fn heard(decoder: &mut Decoder, bytes: &[u8]) -> usize {
    let mut input = Input::new(bytes);
    let mut lines = 0;
    while let Some(heard) = decoder.next(&mut input) {
        lines += usize::from(matches!(heard, Heard::Line(_)));
    }
    lines
}

fn decode(c: &mut Criterion) {
    let mut line = LineDecoder::new(4096);
    by_length(c, "line", ASCII, |mut bytes| {
        let mut count = 0;
        while line.next(&mut bytes).is_some() {
            count += 1;
        }
        count
    });

    let mut telnet = TelnetDecoder::default();
    by_length(c, "telnet", ASCII, |mut bytes| {
        let mut count = 0;
        while telnet.next(&mut bytes).is_some() {
            count += 1;
        }
        count
    });

    let mut decoder = Decoder::new(4096);
    by_length(c, "both, whole reads", ASCII, |bytes| {
        heard(&mut decoder, bytes)
    });
    for piece_bytes in [1, 7, 1460] {
        let name = format!("both, reads of {piece_bytes}");
        by_length(c, &name, ASCII, |bytes| {
            bytes
                .chunks(piece_bytes)
                .map(|piece| heard(&mut decoder, piece))
                .sum()
        });
    }

    let mut scratch = String::new();
    for (name, sample) in [("text, ASCII", ASCII), ("text, UTF-8", UTF8)] {
        by_length(c, name, sample, |bytes| {
            let lines = bytes.split_inclusive(|&byte| byte == b'\n');
            lines
                .map(|line| {
                    text::clean(&line[..line.len() - 2], &mut scratch)
                        .as_str()
                        .len()
                })
                .sum()
        });
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
