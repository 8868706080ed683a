//! The page of metrics: [`page`] writes them in the format of OpenMetrics 1.0, which Prometheus and its
//! like read. Labels are the words of an enum, of which there is a fixed number: no name and no address
//! is ever on the page.

use std::fmt::{self, Display};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::config::Limits;
use crate::metrics::{AcceptFailure, Histogram, Metrics, ProcessStats, RelayMetrics, RelayState};
use crate::protocol::close_reason::CloseReason;

/// The media type of the page. Prometheus 3 rejects a page without a version in it.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const BYTES: Option<&Unit> = Some(&Unit::Bytes);
const SECONDS: Option<&Unit> = Some(&Unit::Seconds);

/// Writes the page. Limits that an alert compares a metric with are on it, unless they are off.
pub(crate) fn page(metrics: &Metrics, limits: &Limits, process: Option<ProcessStats>) -> String {
    let mut registry = Registry::with_prefix("line_chat");
    registry.register_collector(Box::new(Page(*metrics, limits.clone())));
    let mut page = String::new();
    let mut all = Registry::default();
    all.register_collector(Box::new(Process(process)));
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode_registry(&mut page, &registry);
    let _ = prometheus_client::encoding::text::encode(&mut page, &all);
    page
}

/// The metrics of the server.
#[derive(Debug)]
struct Page(Metrics, Limits);

impl Collector for Page {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(metrics, limits) = self;
        encode_gauges(metrics, &mut to)?;
        encode_limits(limits, &mut to)?;
        encode_counters(metrics, &mut to)?;
        encode_labelled(metrics, &mut to)?;
        if let Some(relay) = &metrics.relay {
            encode_relay(relay, &mut to)?;
        }
        let help = "How long turns took, without their waits";
        let turns = to.encode_descriptor("turn", help, SECONDS, MetricType::Histogram)?;
        encode_histogram(turns, &metrics.turn_times)?;
        let help = "How long lines took, from the read to the last write of their turn";
        let lines = to.encode_descriptor("delivery", help, SECONDS, MetricType::Histogram)?;
        encode_histogram(lines, &metrics.delivery_times)
    }
}

fn encode_gauges(metrics: &Metrics, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (name, help, unit, value) in [
        (
            "clients",
            "Connections, with a nick or without",
            None,
            metrics.clients,
        ),
        (
            "http_connections",
            "HTTP connections, which are among the clients",
            None,
            metrics.http_connections,
        ),
        (
            "queued",
            "Queued for all clients",
            BYTES,
            metrics.pending_bytes,
        ),
        (
            "queued_max",
            "Queued for the client that has most",
            BYTES,
            metrics.longest_queue_bytes,
        ),
        (
            "held",
            "Read and not decoded yet",
            BYTES,
            metrics.held_bytes,
        ),
        (
            "buffers",
            "Memory of all buffers",
            BYTES,
            metrics.buffer_bytes,
        ),
    ] {
        encode(to, name, help, unit, &gauge(value))?;
    }
    Ok(())
}

fn encode_limits(limits: &Limits, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Some(most) = limits.max_clients {
        let help = "The limit of clients, HTTP connections aside";
        encode(to, "clients_limit", help, None, &gauge(most))?;
    }
    let most = limits.max_pending_total_bytes;
    if most > 0 {
        let help = "The limit of the memory of all buffers";
        encode(to, "buffers_limit", help, BYTES, &gauge(most))?;
    }
    Ok(())
}

fn encode_counters(metrics: &Metrics, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (name, help, unit, value) in [
        (
            "accepted",
            "Connections that were accepted, refused ones included",
            None,
            metrics.accepted,
        ),
        (
            "refused",
            "Connections that were accepted only to be told why they are refused",
            None,
            metrics.refused(),
        ),
        (
            "lines",
            "Lines that members said to the room",
            None,
            metrics.lines_in,
        ),
        (
            "deliveries",
            "Lines that were queued for a member",
            None,
            metrics.deliveries,
        ),
        (
            "skipped_lines",
            "Lines that were left out for a slow member",
            None,
            metrics.lines_skipped,
        ),
        ("received", "Read from clients", BYTES, metrics.bytes_in),
        ("sent", "Written to clients", BYTES, metrics.bytes_out),
        (
            "log_lines_dropped",
            "Lines of the log that were dropped, because it was not read",
            None,
            metrics.log_lines_dropped,
        ),
        ("turns", "Turns of the loop", None, metrics.turns),
    ] {
        encode(to, name, help, unit, &ConstCounter::new(value))?;
    }
    Ok(())
}

fn encode_labelled(metrics: &Metrics, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    Family {
        name: "build_info",
        help: "Always 1",
        label: "version",
    }
    // A gauge, because promtool knows no infos.
    .encode_gauges(to, [(env!("CARGO_PKG_VERSION"), 1)])?;
    let scripts = metrics.members.saturating_sub(metrics.people);
    Family {
        name: "members",
        help: "Clients that are in the room, by what their listener serves",
        label: "service",
    }
    .encode_gauges(to, [("interactive", metrics.people), ("plain", scripts)])?;
    Family {
        name: "members_behind",
        help: "Members that do not keep up: with a quarter of a queue, for a second, or for all",
        label: "state",
    }
    .encode_gauges(
        to,
        [
            ("lagging", metrics.lagging),
            ("stalled", metrics.stalled),
            ("holding up", metrics.holding_up),
        ],
    )?;
    let by_reason = CloseReason::ALL.map(|reason| (reason, metrics.closed_for(reason)));
    Family {
        name: "closed",
        help: "Connections that have ended, by reason",
        label: "reason",
    }
    .encode_counters(to, by_reason)?;
    let by_result = [
        ("completed", metrics.handshakes),
        ("failed", metrics.closed_for(CloseReason::HandshakeFailed)),
        (
            "timed out",
            metrics.closed_for(CloseReason::HandshakeTimeout),
        ),
    ];
    Family {
        name: "tls_handshakes",
        help: "Handshakes of clients that connected by TLS, by their result",
        label: "result",
    }
    .encode_counters(to, by_result)?;
    let by_error = AcceptFailure::ALL.map(|it| (it, metrics.accept_failed_for(it)));
    Family {
        name: "accept_errors",
        help: "Connections that could not be accepted, by what the error means",
        label: "error",
    }
    .encode_counters(to, by_error)
}

/// What is known of the other servers of the room.
fn encode_relay(relay: &RelayMetrics, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let is_up = usize::from(relay.state == RelayState::Up);
    for (name, help, value) in [
        (
            "relay_up",
            "1 if what is said here is heard on all servers",
            is_up,
        ),
        (
            "relay_nodes",
            "Servers that share the room, this one included",
            relay.nodes,
        ),
        (
            "relay_members_elsewhere",
            "Members that are connected to other servers",
            relay.members_elsewhere,
        ),
        (
            "relay_parked",
            "Batches of others that wait for one before them",
            relay.parked,
        ),
    ] {
        encode(to, name, help, None, &gauge(value))?;
    }
    for (name, help, value) in [
        (
            "relay_batches",
            "Batches that were published",
            relay.batches,
        ),
        ("relay_lines", "Lines in those batches", relay.lines),
        (
            "relay_fetched",
            "Entries that did not come, and were fetched",
            relay.fetched,
        ),
        (
            "relay_lost_lines",
            "Lines of other servers that can be had no more",
            relay.lost_lines,
        ),
        (
            "relay_doubles",
            "Batches that were stored twice, of which one was left out",
            relay.doubles,
        ),
        (
            "relay_malformed",
            "Entries that no server of the room can have written",
            relay.malformed,
        ),
        (
            "relay_splits",
            "How often this server was cut off from the others",
            relay.splits,
        ),
    ] {
        encode(to, name, help, None, &ConstCounter::new(value))?;
    }
    let help = "How long the server was in each state of its relay";
    let mut family = to.encode_descriptor("relay_state", help, SECONDS, MetricType::Counter)?;
    for state in RelayState::ALL {
        let label = [("state", state.to_string())];
        let time = ConstCounter::new(relay.time_in(state).as_secs_f64());
        time.encode(family.encode_family(&label)?)?;
    }
    let help = "How long it took until what was published was read back";
    let trips = to.encode_descriptor("relay_round_trip", help, SECONDS, MetricType::Histogram)?;
    encode_histogram(trips, &relay.round_trips)
}

/// A metric with one label, whose values are the words of an enum.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    label: &'static str,
}

impl Family {
    fn encode_counters(
        &self,
        to: &mut DescriptorEncoder<'_>,
        counts: impl IntoIterator<Item = (impl Display, u64)>,
    ) -> fmt::Result {
        let counts = counts.into_iter();
        let counters = counts.map(|(word, count)| (word, ConstCounter::new(count)));
        self.encode(to, MetricType::Counter, counters)
    }

    fn encode_gauges(
        &self,
        to: &mut DescriptorEncoder<'_>,
        values: impl IntoIterator<Item = (impl Display, usize)>,
    ) -> fmt::Result {
        let values = values.into_iter();
        let gauges = values.map(|(word, value)| (word, gauge(value)));
        self.encode(to, MetricType::Gauge, gauges)
    }

    fn encode(
        &self,
        to: &mut DescriptorEncoder<'_>,
        metric_type: MetricType,
        metrics: impl Iterator<Item = (impl Display, impl EncodeMetric)>,
    ) -> fmt::Result {
        let mut family = to.encode_descriptor(self.name, self.help, None, metric_type)?;
        for (word, metric) in metrics {
            let label = [(self.label, word.to_string())];
            metric.encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

fn gauge(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The metrics of the process, which have the same names for every program.
#[derive(Debug)]
struct Process(Option<ProcessStats>);

impl Collector for Process {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(stats) = self.0 else {
            return Ok(());
        };
        let cpu = ConstCounter::new(stats.cpu.as_secs_f64());
        encode(&mut to, "process_cpu", "Time on a processor", SECONDS, &cpu)?;
        let count = |n: u64| ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX));
        let memory = count(stats.resident_bytes);
        encode(
            &mut to,
            "process_resident_memory",
            "Resident memory",
            BYTES,
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
            SECONDS,
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
            people: 2,
            stalled: 1,
            bytes_out: 1234,
            longest_queue_bytes: 77,
            ..Metrics::default()
        };
        metrics.count_closed(CloseReason::Quit);
        metrics.count_closed(CloseReason::ServerFull);
        metrics.count_accept_failure(AcceptFailure::NoDescriptor);
        metrics.count_turn(Duration::from_micros(30), 2);
        let process = ProcessStats {
            cpu: Duration::from_millis(1500),
            ..ProcessStats::default()
        };
        let limits = Limits {
            max_clients: Some(9),
            max_pending_total_bytes: 1 << 20,
            ..Limits::default()
        };
        let page = page(&metrics, &limits, Some(process));
        for line in [
            "# TYPE line_chat_members gauge",
            "line_chat_members{service=\"interactive\"} 2",
            "line_chat_members{service=\"plain\"} 1",
            "line_chat_members_behind{state=\"lagging\"} 0",
            "line_chat_members_behind{state=\"stalled\"} 1",
            "line_chat_clients_limit 9",
            "line_chat_buffers_limit_bytes 1048576",
            "line_chat_queued_max_bytes 77",
            "# TYPE line_chat_sent_bytes counter",
            "line_chat_sent_bytes_total 1234",
            "line_chat_closed_total{reason=\"quit\"} 1",
            "line_chat_closed_total{reason=\"kicked\"} 0",
            "line_chat_refused_total 1",
            "line_chat_accept_errors_total{error=\"no descriptor\"} 1",
            "line_chat_accept_errors_total{error=\"lasting\"} 0",
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
    }

    #[test]
    fn a_server_of_several_tells_how_it_stands_to_the_others() {
        let mut relay = RelayMetrics {
            state: RelayState::Split,
            nodes: 1,
            lost_lines: 7,
            ..RelayMetrics::default()
        };
        relay.count_time(RelayState::Up, Duration::from_millis(2500));
        relay.round_trips.record(Duration::from_micros(90), 3);
        let metrics = Metrics {
            relay: Some(relay),
            ..Metrics::default()
        };
        let page = page(&metrics, &Limits::default(), None);
        for line in [
            "line_chat_relay_up 0",
            "line_chat_relay_nodes 1",
            "line_chat_relay_lost_lines_total 7",
            "line_chat_relay_state_seconds_total{state=\"up\"} 2.5",
            "line_chat_relay_state_seconds_total{state=\"split\"} 0.0",
            "line_chat_relay_round_trip_seconds_bucket{le=\"0.0001\"} 3",
        ] {
            assert!(
                page.lines().any(|it| it == line),
                "{line} is missing:\n{page}"
            );
        }
    }

    #[test]
    fn what_is_not_known_or_not_limited_is_not_on_the_page() {
        let limits = Limits {
            max_clients: None,
            max_pending_total_bytes: 0,
            ..Limits::default()
        };
        let page = page(&Metrics::default(), &limits, None);
        assert!(
            !page.contains("process_") && !page.contains("_limit") && !page.contains("relay"),
            "{page}"
        );
    }
}
