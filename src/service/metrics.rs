//! The metrics: what chatd counts and measures, as OpenMetrics text (version 1.0.0).
//!
//! [`METRICS`] has a row for each metric. All values are atomics or in the `/proc` folder of the process, so a scrape
//! asks nobody and nobody waits for it. Nothing here has text that a client sent, so nothing needs escaping.

mod source;

use std::fmt::Write as _;
use std::sync::Arc;

use super::logging;
use crate::chat::Transport;
use crate::net::http::Page;
use crate::protocol::View;

pub use source::{Kind, Metric, Metrics};
use source::{Samples, metric, resident_memory};

/// The type of the text, in HTTP.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric, in the order in which they are shown. chatd-metrics(7) has the same table.
pub static METRICS: [Metric; 38] = [
    metric("chatd_build_info", Kind::Gauge, "1, with the version of chatd.", &["version"], |_, samples| {
        samples.add(&[env!("CARGO_PKG_VERSION")], 1);
    }),
    metric(
        "process_start_time_seconds",
        Kind::Gauge,
        "When this process started, in seconds since 1970.",
        &[],
        |metrics, samples| {
            samples.add(&[], format_args!("{:?}", metrics.started.as_millisecond() as f64 / 1e3))
        },
    ),
    metric(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Memory of the process that is in RAM.",
        &[],
        |_, samples| {
            if let Some(bytes) = resident_memory() {
                samples.add(&[], bytes);
            }
        },
    ),
    metric(
        "chatd_restarts_survived",
        Kind::Counter,
        "Restarts and crashes that connections survived, since the service was started.",
        &["cause"],
        |metrics, samples| {
            samples.add(&["restart"], metrics.survived.restarts);
            samples.add(&["crash"], metrics.survived.crashes);
        },
    ),
    metric(
        "chatd_sessions",
        Kind::Gauge,
        "Connections that are in a room.",
        &["view", "transport"],
        |metrics, samples| {
            for (view, transport) in View::ALL.iter().flat_map(|view| Transport::ALL.map(|one| (*view, one)))
            {
                samples.add(&[view.name(), transport.name()], metrics.traffic.sessions(view, transport));
            }
        },
    ),
    metric("chatd_sessions_limit", Kind::Gauge, "The key max_clients.", &[], |metrics, samples| {
        samples.add(&[], metrics.net.settings().max_clients);
    }),
    metric(
        "chatd_connections_accepted",
        Kind::Counter,
        "Connections that became sessions.",
        &[],
        |metrics, samples| samples.count(&metrics.net.counters.accepted),
    ),
    metric(
        "chatd_connections_refused",
        Kind::Counter,
        "Connections that were turned away.",
        &["reason"],
        |metrics, samples| {
            let refused = metrics.net.counters.refused();
            refused.iter().for_each(|(reason, count)| samples.add(&[reason], *count));
        },
    ),
    metric(
        "chatd_accept_failing",
        Kind::Gauge,
        "1 while chatd cannot accept connections, otherwise 0.",
        &[],
        |metrics, samples| samples.add(&[], u8::from(metrics.net.accept_failure.get().is_some())),
    ),
    metric(
        "chatd_sessions_closed",
        Kind::Counter,
        "Sessions that ended.",
        &["reason"],
        |metrics, samples| {
            let closed = metrics.net.counters.closed();
            closed.iter().for_each(|(reason, count)| samples.add(&[reason], count));
        },
    ),
    metric(
        "chatd_tls_sessions",
        Kind::Gauge,
        "Connections that speak TLS.",
        &["version", "cipher", "records"],
        |metrics, samples| metrics.tls_sessions(samples),
    ),
    metric(
        "chatd_tls_handshakes",
        Kind::Counter,
        "TLS handshakes that were finished.",
        &[],
        |metrics, samples| samples.count(&metrics.net.counters.handshakes),
    ),
    metric(
        "chatd_tls_handshakes_failed",
        Kind::Counter,
        "TLS handshakes that failed, and connections without one where it is required.",
        &[],
        |metrics, samples| samples.count(&metrics.net.counters.failed_handshakes),
    ),
    metric(
        "chatd_tls_certificate_expiry_timestamp_seconds",
        Kind::Gauge,
        "When the certificate ends, in seconds since 1970.",
        &[],
        |metrics, samples| {
            if let Some(identity) = &metrics.net.settings().tls {
                samples.add(&[], identity.not_after.as_second());
            }
        },
    ),
    metric("chatd_rooms", Kind::Gauge, "Rooms.", &[], |metrics, samples| {
        samples.level(&metrics.traffic.rooms);
    }),
    metric("chatd_lines_received", Kind::Counter, "Lines sent to rooms.", &[], |metrics, samples| {
        samples.count(&metrics.traffic.lines);
    }),
    metric("chatd_received_bytes", Kind::Counter, "Bytes received from clients.", &[], |metrics, samples| {
        samples.count(&metrics.net.counters.bytes_received);
    }),
    metric(
        "chatd_lines_sent",
        Kind::Counter,
        "Lines sent to clients, one for each receiver, with notices and answers.",
        &[],
        |metrics, samples| samples.count(&metrics.traffic.lines_sent),
    ),
    metric("chatd_sent_bytes", Kind::Counter, "Bytes sent to clients.", &[], |metrics, samples| {
        samples.count(&metrics.traffic.bytes_sent);
    }),
    metric(
        "chatd_deliveries",
        Kind::Counter,
        "Times that a client was sent something; one can have many lines.",
        &[],
        |metrics, samples| samples.count(&metrics.traffic.deliveries),
    ),
    metric(
        "chatd_lines_skipped",
        Kind::Counter,
        "Lines that clients missed because they did not read, one for each client.",
        &[],
        |metrics, samples| samples.count(&metrics.traffic.skipped),
    ),
    metric(
        "chatd_lines_too_long",
        Kind::Counter,
        "Lines that were dropped for their length.",
        &[],
        |metrics, samples| samples.count(&metrics.net.counters.too_long),
    ),
    metric(
        "chatd_room_wait_seconds",
        Kind::Histogram,
        "How long full rooms waited for members to read.",
        &[],
        |metrics, samples| samples.histogram(&metrics.traffic.waits),
    ),
    metric(
        "chatd_broker_round_seconds",
        Kind::Histogram,
        "How long the broker took from an input until everything new was sent.",
        &[],
        |metrics, samples| samples.histogram(&metrics.traffic.rounds),
    ),
    metric(
        "chatd_memory_bytes",
        Kind::Gauge,
        "Memory for lines, answers and private messages, as the key memory limits it.",
        &[],
        |metrics, samples| samples.level(&metrics.traffic.memory),
    ),
    metric("chatd_memory_limit_bytes", Kind::Gauge, "The key memory.", &[], |metrics, samples| {
        samples.level(&metrics.traffic.memory_limit);
    }),
    metric(
        "chatd_log_lines_lost",
        Kind::Counter,
        "Log lines that were lost because the log was slow or away.",
        &[],
        |_, samples| samples.add(&[], logging::lost_lines()),
    ),
    metric(
        "chatd_archive_lines_written",
        Kind::Counter,
        "Lines that were written to the archive.",
        &[],
        |metrics, samples| samples.add(&[], metrics.archive().written),
    ),
    metric(
        "chatd_archive_lines_lost",
        Kind::Counter,
        "Lines that could not be written to the archive.",
        &[],
        |metrics, samples| samples.add(&[], metrics.archive().lost),
    ),
    metric(
        "chatd_archive_failing",
        Kind::Gauge,
        "1 while the archive cannot be written, otherwise 0.",
        &[],
        |metrics, samples| samples.add(&[], u8::from(metrics.archive().failing.is_some())),
    ),
    metric(
        "chatd_cluster_node_info",
        Kind::Gauge,
        "1, with the name of this node. Only in a cluster, as all metrics of it.",
        &["node"],
        |metrics, samples| {
            if let Some(cluster) = metrics.cluster() {
                samples.add(&[&cluster.node], 1);
            }
        },
    ),
    metric(
        "chatd_cluster_up",
        Kind::Gauge,
        "1 while the engine answers, otherwise 0.",
        &[],
        |metrics, samples| samples.of_cluster(metrics, |one| f64::from(u8::from(one.away.is_none()))),
    ),
    metric(
        "chatd_cluster_nodes",
        Kind::Gauge,
        "Nodes that are there, as this one sees it.",
        &[],
        |metrics, samples| samples.of_cluster(metrics, |one| one.nodes as f64),
    ),
    metric(
        "chatd_cluster_lag_lines",
        Kind::Gauge,
        "Lines that came from the engine and that this node has yet to take in.",
        &[],
        |metrics, samples| samples.of_cluster(metrics, |one| one.lag_lines as f64),
    ),
    metric(
        "chatd_cluster_lag_seconds",
        Kind::Gauge,
        "How long the oldest line from this node has waited for its place.",
        &[],
        |metrics, samples| samples.of_cluster(metrics, |one| one.lag_seconds),
    ),
    metric(
        "chatd_cluster_retries",
        Kind::Counter,
        "Times that something was sent to the engine again.",
        &[],
        |metrics, samples| samples.of_cluster(metrics, |one| one.retries as f64),
    ),
    metric(
        "chatd_cluster_failovers",
        Kind::Counter,
        "Times that another engine took over, or an engine had lost entries.",
        &[],
        |metrics, samples| samples.of_cluster(metrics, |one| one.failovers as f64),
    ),
    metric(
        "chatd_cluster_entries_skipped",
        Kind::Counter,
        "Entries that this node skipped because of what was in them.",
        &[],
        |metrics, samples| samples.of_cluster(metrics, |one| one.skipped as f64),
    ),
];

/// Returns the page that has the metrics.
pub fn page(metrics: Metrics) -> Arc<Page> {
    Page::new(MEDIA_TYPE, move || encode(&metrics))
}

/// Returns all of them as OpenMetrics text.
pub fn encode(metrics: &Metrics) -> String {
    let mut text = String::with_capacity(8192);
    for metric in &METRICS {
        let Metric { name, kind, help, .. } = metric;
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        if let Some(unit) = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        (metric.read)(metrics, &mut Samples::of(metric, &mut text));
    }
    text.push_str("# EOF\n");
    text
}
