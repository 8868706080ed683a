//! What stands behind a flag, as an operator writes it: a size such as `4096` or `4k`, a time such as `90`
//! or `1m30s`, a count, a rate.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::config::{MAX_TIMEOUT, RATE_RANGE_HINT, RATES};

const WOULD_STOP_ALL: &str = "0 would let nothing through; give 1 or more";

/// Parses a limit that cannot be switched off.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err(WOULD_STOP_ALL.to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}; give a whole number")),
    }
}

/// Parses a size in bytes: `k`, `M` or `G` behind the number stands for 2^10, 2^20 or 2^30.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 1 << 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 1 << 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 1 << 30),
        _ => (Some(text), 1),
    };
    let number: Option<usize> = number.and_then(|number| number.parse().ok());
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| "give bytes, or a whole number with k, M or G behind it".to_owned())
}

/// Parses a size that cannot be 0.
pub(super) fn positive_size(text: &str) -> Result<usize, String> {
    match size(text) {
        Ok(0) => Err(WOULD_STOP_ALL.to_owned()),
        other => other,
    }
}

/// Parses a time: seconds, or numbers with units such as `500ms`, `5m`, `1h30m` or `2d`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let is_plain = text.parse::<f64>();
    let time = match is_plain {
        Ok(seconds) => seconds_of(seconds),
        Err(_) => span_of(text),
    };
    time.filter(|&time| time <= MAX_TIMEOUT).ok_or_else(|| {
        let most = MAX_TIMEOUT.as_secs();
        format!("give seconds, from 0 to {most}, or a time such as 5m or 1h30m")
    })
}

/// A time that is not zero must not be rounded to zero, which would mean for ever.
fn seconds_of(seconds: f64) -> Option<Duration> {
    match Duration::try_from_secs_f64(seconds).ok()? {
        Duration::ZERO if seconds != 0.0 => Some(Duration::from_nanos(1)),
        time => Some(time),
    }
}

fn span_of(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let days = SpanRelativeTo::days_are_24_hours();
    span.to_duration(days).ok()?.try_into().ok()
}

/// Parses a rate a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    rate.filter(|rate| *rate == 0.0 || RATES.contains(rate))
        .ok_or_else(|| RATE_RANGE_HINT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bytes_or_has_a_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("4k", Some(4096)),
            ("4K", Some(4096)),
            ("64M", Some(64 << 20)),
            ("1m", Some(1 << 20)),
            ("2g", Some(2 << 30)),
            ("0k", Some(0)),
            ("17179869183G", Some(17_179_869_183 << 30)),
            ("17179869184G", None),
            ("k", None),
            ("", None),
            ("4 k", None),
            ("4kb", None),
            ("1.5M", None),
            ("-1k", None),
            ("4é", None),
        ] {
            assert_eq!(size(text).ok(), expected, "{text}");
            let positive = expected.filter(|&it| it > 0);
            assert_eq!(positive_size(text).ok(), positive, "{text}");
        }
    }

    #[test]
    fn a_time_is_seconds_or_has_units() {
        let millis = |n| Some(Duration::from_millis(n));
        for (text, expected) in [
            ("0", millis(0)),
            ("1.5", millis(1500)),
            ("90", millis(90_000)),
            ("500ms", millis(500)),
            ("30s", millis(30_000)),
            ("5m", millis(300_000)),
            ("1h30m", millis(5_400_000)),
            ("1h 30m", millis(5_400_000)),
            ("2d", millis(172_800_000)),
            ("0s", millis(0)),
            ("1e-12", Some(Duration::from_nanos(1))),
            ("1000000000", Some(MAX_TIMEOUT)),
            ("1000000000.1", None),
            ("11575d", None),
            ("-5m", None),
            ("5m ago", None),
            ("1mo", None),
            ("5x", None),
            ("5 ", None),
            ("m", None),
            ("", None),
            ("inf", None),
            ("NaN", None),
        ] {
            assert_eq!(time(text).ok(), expected, "{text}");
        }
    }
}
