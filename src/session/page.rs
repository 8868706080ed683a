//! The page for people who look after a server: one file of HTML with its style and its script, which
//! asks for [`status`] every two seconds. It names no member and no address; a slow reader is the number
//! of its client, as in the log.

use std::fmt::{self, Display, Write as _};

use crate::config::Limits;
use crate::metrics::{SlowReader, Survey};

/// The page.
pub(super) const PAGE: &str = include_str!("page.html");

/// The header fields of the page. Only the style and the script that are in it, known by their SHA-256,
/// are run, and it may ask only this server.
pub(super) const FIELDS: &str = "\
    Content-Security-Policy: default-src 'none'; connect-src 'self'; img-src data:; \
    style-src 'sha256-C8qMMOnPYg7galdZ+MCZARwpzTaADGQZuO4IhYzNjFI='; \
    script-src 'sha256-430otm6NPRB8bskdEBZe2Jx+sgMcMeWRW6R915nYy5w='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    Referrer-Policy: no-referrer\r\n";

/// Writes what the page shows, as JSON. Counters count from the start, so the page computes rates from
/// two answers.
pub(super) fn status(survey: &Survey, limits: &Limits, is_ending: bool) -> String {
    let Survey {
        metrics,
        slowest,
        uptime,
    } = survey;
    let (bounds, counts): (Vec<_>, Vec<u64>) = metrics.delivery_times.classes().unzip();
    let bounds = bounds.into_iter().flatten();
    let numbers: &[(&str, &dyn Display)] = &[
        ("uptime_seconds", &uptime.as_secs_f64()),
        ("ending", &is_ending),
        ("clients", &metrics.clients),
        ("max_clients", &OrNull(limits.max_clients)),
        ("http_connections", &metrics.http_connections),
        ("members", &metrics.members),
        ("people", &metrics.people),
        ("lagging", &metrics.lagging),
        ("stalled", &metrics.stalled),
        ("holding_up", &metrics.holding_up),
        ("lines", &metrics.lines_in),
        ("deliveries", &metrics.deliveries),
        ("skipped", &metrics.lines_skipped),
        ("queued_bytes", &metrics.pending_bytes),
        ("longest_queue_bytes", &metrics.longest_queue_bytes),
        ("delivery_counts", &List(counts)),
        (
            "delivery_bounds",
            &List(bounds.map(|it| it.as_secs_f64()).collect()),
        ),
        ("slowest", &List(slowest.iter().map(Reader).collect())),
    ];
    let mut json = format!("{{\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    for (name, number) in numbers {
        // Writing to a string does not fail.
        let _ = write!(json, ",\"{name}\":{number}");
    }
    json.push_str("}\n");
    json
}

/// A number of JSON, or its null.
struct OrNull(Option<usize>);

impl Display for OrNull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// An array of JSON.
struct List<T>(Vec<T>);

impl<T: Display> Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (n, item) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{item}")?;
        }
        f.write_str("]")
    }
}

struct Reader<'a>(&'a SlowReader);

impl Display for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SlowReader {
            id,
            queued_bytes,
            blocked_for,
        } = self.0;
        write!(
            f,
            "{{\"client\":{},\"queued_bytes\":{queued_bytes},\"blocked_seconds\":{}}}",
            id.index(),
            blocked_for.as_secs_f64()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_id::ClientId;
    use std::time::Duration;

    #[test]
    fn the_status_is_json_of_numbers() {
        let mut survey = Survey {
            uptime: Duration::from_millis(1500),
            ..Survey::default()
        };
        survey.metrics.people = 2;
        survey.metrics.count_turn(Duration::from_micros(40), 7);
        for (client, queued_bytes) in [(3, 99), (4, 5)] {
            survey.slowest.push(SlowReader {
                id: ClientId::from_index(client),
                queued_bytes,
                blocked_for: Duration::from_millis(250),
            });
        }
        let expected = concat!(
            "{\"version\":\"",
            env!("CARGO_PKG_VERSION"),
            "\",\"uptime_seconds\":1.5,\"ending\":false,\"clients\":0,\"max_clients\":null,\"http_connections\":0,",
            "\"members\":0,\"people\":2,\"lagging\":0,\"stalled\":0,\"holding_up\":0,\"lines\":0,",
            "\"deliveries\":0,\"skipped\":0,\"queued_bytes\":0,",
            "\"longest_queue_bytes\":0,\"delivery_counts\":[0,7,0,0,0,0,0,0,0,0,0,0,0,0,0],",
            "\"delivery_bounds\":[0.000025,0.00005,0.0001,0.00025,0.0005,0.001,0.0025,0.005,0.01,",
            "0.025,0.1,0.5,1,5],",
            "\"slowest\":[{\"client\":3,\"queued_bytes\":99,\"blocked_seconds\":0.25},",
            "{\"client\":4,\"queued_bytes\":5,\"blocked_seconds\":0.25}]}\n",
        );
        assert_eq!(status(&survey, &Limits::default(), false), expected);
    }
}
