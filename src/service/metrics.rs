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
use source::{Samples, counter, gauge, histogram, metric, resident_memory};

/// The type of the text, in HTTP.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric, in the order in which they are shown. chatd-metrics(7) has the same table.
pub static METRICS: [Metric; 39] = [
    metric("chatd_build_info", Kind::Gauge, "1, with the version of chatd.", &["version"], |_, samples| {
        samples.add(&[env!("CARGO_PKG_VERSION")], 1);
    }),
    gauge(
        "process_start_time_seconds",
        "When this process started, in seconds since 1970.",
        |metrics, samples| {
            samples.add(&[], format_args!("{:?}", metrics.started.as_millisecond() as f64 / 1e3))
        },
    ),
    gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", |_, samples| {
        if let Some(bytes) = resident_memory() {
            samples.add(&[], bytes);
        }
    }),
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
        "Connections that are in a room, and operators in no room, in json.",
        &["view", "transport"],
        |metrics, samples| {
            for (view, transport) in View::ALL.iter().flat_map(|view| Transport::ALL.map(|one| (*view, one)))
            {
                samples.add(&[view.name(), transport.name()], metrics.traffic.sessions(view, transport));
            }
        },
    ),
    gauge("chatd_sessions_limit", "The key max_clients.", |metrics, samples| {
        samples.add(&[], metrics.net.settings().max_clients);
    }),
    counter("chatd_connections_accepted", "Connections that became sessions.", |metrics, samples| {
        samples.count(&metrics.net.counters.accepted)
    }),
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
    gauge(
        "chatd_accept_failing",
        "1 while chatd cannot accept connections, otherwise 0.",
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
    counter("chatd_tls_handshakes", "TLS handshakes that were finished.", |metrics, samples| {
        samples.count(&metrics.net.counters.handshakes)
    }),
    counter(
        "chatd_tls_handshakes_failed",
        "TLS handshakes that failed, and connections without one where it is required.",
        |metrics, samples| samples.count(&metrics.net.counters.failed_handshakes),
    ),
    gauge(
        "chatd_tls_certificate_expiry_timestamp_seconds",
        "When the certificate ends, in seconds since 1970.",
        |metrics, samples| {
            if let Some(identity) = &metrics.net.settings().tls {
                samples.add(&[], identity.not_after.as_second());
            }
        },
    ),
    gauge("chatd_rooms", "Rooms.", |metrics, samples| {
        samples.level(&metrics.traffic.rooms);
    }),
    counter("chatd_lines_received", "Lines sent to rooms.", |metrics, samples| {
        samples.count(&metrics.traffic.lines);
    }),
    counter("chatd_received_bytes", "Bytes received from clients.", |metrics, samples| {
        samples.count(&metrics.net.counters.bytes_received);
    }),
    counter(
        "chatd_lines_sent",
        "Lines sent to clients, one for each receiver, with notices and answers.",
        |metrics, samples| samples.count(&metrics.traffic.lines_sent),
    ),
    counter("chatd_sent_bytes", "Bytes sent to clients.", |metrics, samples| {
        samples.count(&metrics.traffic.bytes_sent);
    }),
    counter(
        "chatd_deliveries",
        "Times that a client was sent something; one can have many lines.",
        |metrics, samples| samples.count(&metrics.traffic.deliveries),
    ),
    counter(
        "chatd_lines_skipped",
        "Lines that clients missed because they did not read, one for each client.",
        |metrics, samples| samples.count(&metrics.traffic.skipped),
    ),
    counter("chatd_lines_too_long", "Lines that were dropped for their length.", |metrics, samples| {
        samples.count(&metrics.net.counters.too_long)
    }),
    histogram(
        "chatd_room_wait_seconds",
        "How long full rooms waited for members to read.",
        |metrics, samples| samples.histogram(&metrics.traffic.waits),
    ),
    histogram(
        "chatd_broker_round_seconds",
        "How long the broker took from an input until everything new was sent.",
        |metrics, samples| samples.histogram(&metrics.traffic.rounds),
    ),
    gauge(
        "chatd_memory_bytes",
        "Memory for lines, answers and private messages, as the key memory limits it.",
        |metrics, samples| samples.level(&metrics.traffic.memory),
    ),
    gauge("chatd_memory_limit_bytes", "The key memory.", |metrics, samples| {
        samples.level(&metrics.traffic.memory_limit);
    }),
    counter(
        "chatd_log_lines_lost",
        "Log lines that were lost because the log was slow or away.",
        |_, samples| samples.add(&[], logging::lost_lines()),
    ),
    counter("chatd_archive_lines_written", "Lines that were written to the archive.", |metrics, samples| {
        samples.add(&[], metrics.archive().written)
    }),
    counter(
        "chatd_archive_lines_lost",
        "Lines that could not be written to the archive.",
        |metrics, samples| samples.add(&[], metrics.archive().lost),
    ),
    gauge(
        "chatd_archive_failing",
        "1 while the archive cannot be written, otherwise 0.",
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
    gauge("chatd_cluster_up", "1 while the engine answers, otherwise 0.", |metrics, samples| {
        samples.of_cluster(metrics, |one| f64::from(u8::from(one.away.is_none())))
    }),
    gauge("chatd_cluster_nodes", "Nodes that are there, as this one sees it.", |metrics, samples| {
        samples.of_cluster(metrics, |one| one.nodes as f64)
    }),
    gauge(
        "chatd_cluster_lag_lines",
        "Lines that came from the engine and that this node has yet to take in.",
        |metrics, samples| samples.of_cluster(metrics, |one| one.lag_lines as f64),
    ),
    gauge(
        "chatd_cluster_lag_seconds",
        "How long the oldest line from this node has waited for its place.",
        |metrics, samples| samples.of_cluster(metrics, |one| one.lag_seconds),
    ),
    counter(
        "chatd_cluster_retries",
        "Times that something was sent to the engine again.",
        |metrics, samples| samples.of_cluster(metrics, |one| one.retries as f64),
    ),
    counter(
        "chatd_cluster_failovers",
        "Times that another engine took over, or an engine had lost entries.",
        |metrics, samples| samples.of_cluster(metrics, |one| one.failovers as f64),
    ),
    counter(
        "chatd_cluster_epochs",
        "Rooms, and the order of acts, that began a new epoch: an engine had lost entries of theirs.",
        |metrics, samples| samples.of_cluster(metrics, |one| one.epochs as f64),
    ),
    counter(
        "chatd_cluster_entries_skipped",
        "Entries that this node skipped because of what was in them.",
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
