//! The page of metrics: [`page`] writes them in the format of OpenMetrics 1.0, which Prometheus and its
//! like read. The only labels are reasons, of which there is a fixed number: no name and no address is
//! ever on the page.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::{Histogram, Metrics, ProcessStats};
use crate::protocol::close_reason::CloseReason;

/// The media type of the page. Prometheus 3 rejects a page without a version in it.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes the page.
pub(super) fn page(metrics: Metrics, process: Option<ProcessStats>) -> String {
    let mut registry = Registry::with_prefix("line_chat");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    registry.register("build", "The version of the server", Info::new(version));
    registry.register_collector(Box::new(metrics));
    let mut page = String::new();
    let mut all = Registry::default();
    all.register_collector(Box::new(Process(process)));
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode_registry(&mut page, &registry);
    let _ = prometheus_client::encoding::text::encode(&mut page, &all);
    page
}

impl Collector for Metrics {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let bytes = Some(&Unit::Bytes);
        let gauges = [
            (
                "clients",
                "Connections, with a nick or without",
                None,
                self.clients,
            ),
            (
                "http_connections",
                "HTTP connections, which are among the clients",
                None,
                self.http_connections,
            ),
            (
                "members",
                "Clients that are in the room",
                None,
                self.members,
            ),
            (
                "queued",
                "Queued for all clients",
                bytes,
                self.pending_bytes,
            ),
            ("held", "Read and not decoded yet", bytes, self.held_bytes),
            ("buffers", "Memory of all buffers", bytes, self.buffer_bytes),
        ];
        for (name, help, unit, value) in gauges {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            encode(&mut to, name, help, unit, &ConstGauge::new(value))?;
        }
        let counters = [
            (
                "accepted",
                "Connections that were accepted, refused ones included",
                None,
                self.accepted,
            ),
            (
                "lines",
                "Lines that members said to the room",
                None,
                self.lines_in,
            ),
            (
                "deliveries",
                "Lines that were queued for a member",
                None,
                self.deliveries,
            ),
            (
                "skipped_lines",
                "Lines that were left out for a slow member",
                None,
                self.lines_skipped,
            ),
            ("received", "Read from clients", bytes, self.bytes_in),
            ("sent", "Written to clients", bytes, self.bytes_out),
            ("turns", "Turns of the loop", None, self.turns),
        ];
        for (name, help, unit, value) in counters {
            encode(&mut to, name, help, unit, &ConstCounter::new(value))?;
        }
        let help = "Connections that have ended, by reason";
        let mut closed = to.encode_descriptor("closed", help, None, MetricType::Counter)?;
        for reason in CloseReason::ALL {
            let label = [("reason", reason.to_string())];
            let count = ConstCounter::new(self.closed_for(reason));
            count.encode(closed.encode_family(&label)?)?;
        }
        let seconds = Some(&Unit::Seconds);
        let help = "How long turns took, without their waits";
        let turns = to.encode_descriptor("turn", help, seconds, MetricType::Histogram)?;
        encode_histogram(turns, &self.turn_times)?;
        let help = "How long lines took, from the read to the last write of their turn";
        let lines = to.encode_descriptor("delivery", help, seconds, MetricType::Histogram)?;
        encode_histogram(lines, &self.delivery_times)
    }
}

/// The metrics of the process, which have the same names for every program.
#[derive(Debug)]
struct Process(Option<ProcessStats>);

impl Collector for Process {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(stats) = self.0 else {
            return Ok(());
        };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let cpu = ConstCounter::new(stats.cpu.as_secs_f64());
        encode(&mut to, "process_cpu", "Time on a processor", seconds, &cpu)?;
        let count = |n: u64| ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX));
        let memory = count(stats.resident_bytes);
        encode(
            &mut to,
            "process_resident_memory",
            "Resident memory",
            bytes,
            &memory,
        )?;
        let open = count(stats.open_fds);
        encode(&mut to, "process_open_fds", "Open descriptors", None, &open)?;
        let most = count(stats.max_fds);
        encode(
            &mut to,
            "process_max_fds",
            "The limit of open descriptors",
            None,
            &most,
        )?;
        let started = ConstGauge::new(stats.started.as_secs_f64());
        encode(
            &mut to,
            "process_start_time",
            "Start, since 1970",
            seconds,
            &started,
        )
    }
}

fn encode(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    let encoder = to.encode_descriptor(name, help, unit, metric.metric_type())?;
    metric.encode(encoder)
}

fn encode_histogram(mut to: MetricEncoder<'_>, times: &Histogram) -> fmt::Result {
    let bound = |bound: Option<Duration>| bound.map_or(f64::INFINITY, |it| it.as_secs_f64());
    let classes: Vec<(f64, u64)> = times.classes().map(|(it, n)| (bound(it), n)).collect();
    let sum = times.sum().as_secs_f64();
    to.encode_histogram::<NoLabelSet>(sum, times.count(), &classes, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_each_metric_with_its_type_and_ends_as_open_metrics_do() {
        let mut metrics = Metrics {
            members: 3,
            bytes_out: 1234,
            ..Metrics::default()
        };
        metrics.count_closed(CloseReason::Quit);
        metrics.count_turn(Duration::from_micros(30), 2);
        let process = ProcessStats {
            cpu: Duration::from_millis(1500),
            ..ProcessStats::default()
        };
        let page = page(metrics, Some(process));
        for line in [
            "# TYPE line_chat_members gauge",
            "line_chat_members 3",
            "# TYPE line_chat_sent_bytes counter",
            "line_chat_sent_bytes_total 1234",
            "line_chat_closed_total{reason=\"quit\"} 1",
            "line_chat_closed_total{reason=\"kicked\"} 0",
            "# TYPE line_chat_delivery_seconds histogram",
            "line_chat_delivery_seconds_bucket{le=\"0.000025\"} 0",
            "line_chat_delivery_seconds_bucket{le=\"0.00005\"} 2",
            "line_chat_delivery_seconds_bucket{le=\"+Inf\"} 2",
            "line_chat_delivery_seconds_count 2",
            "line_chat_turn_seconds_count 1",
            "process_cpu_seconds_total 1.5",
        ] {
            assert!(
                page.lines().any(|it| it == line),
                "{line} is missing:\n{page}"
            );
        }
        assert!(page.ends_with("\n# EOF\n"), "{page}");
        assert!(!super::page(metrics, None).contains("process_"));
    }
}
