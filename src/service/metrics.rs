//! The metrics: what chatd counts and measures, as OpenMetrics text (version 1.0.0).
//!
//! [`METRICS`] has a row for each metric. All values are atomics or in the `/proc` folder of the process, so a scrape
//! asks nobody and nobody waits for it. Nothing here has text that a client sent, so nothing needs escaping.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jiff::Timestamp;

use super::archive::{ArchiveState, Queue};
use super::handover::Survived;
use super::logging;
use crate::chat::histogram::BOUNDS;
use crate::chat::{Histogram, Traffic, Transport};
use crate::net::Net;
use crate::net::http::Page;
use crate::net::tls::CIPHERS;
use crate::protocol::View;
use crate::rt;

/// The type of the text, in HTTP.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until chatd starts anew. Its samples end with `_total`.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// Durations by their length. Its samples end with `_bucket`, `_count` and `_sum`.
    Histogram,
}

impl Kind {
    /// Returns its name in OpenMetrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A row of the table.
pub struct Metric {
    /// Its name, without the suffix of its samples.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it is about, in a sentence.
    pub help: &'static str,
    /// The labels of its samples, without that of buckets.
    pub labels: &'static [&'static str],
    read: fn(&Metrics, &mut Samples<'_>),
}

impl Metric {
    /// Returns the name under which queries find it: that of its samples, and for a histogram that before the suffix.
    pub fn sample_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
        }
    }
}

/// What the metrics are read from.
#[derive(Debug)]
pub struct Metrics {
    net: Arc<Net>,
    traffic: Arc<Traffic>,
    survived: Survived,
    archive: Option<Queue>,
    started: Timestamp,
}

/// The samples of one metric, as text.
struct Samples<'a> {
    metric: &'a Metric,
    text: &'a mut String,
}

impl Samples<'_> {
    /// Adds a sample. `labels` has a value for each label of the metric.
    fn add(&mut self, labels: &[&str], value: impl std::fmt::Display) {
        let name = self.metric.sample_name();
        let labels = self.metric.labels.iter().zip(labels).map(|(name, value)| format!("{name}=\"{value}\""));
        let labels = labels.collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    fn count(&mut self, counter: &AtomicU64) {
        self.add(&[], counter.load(Ordering::Relaxed));
    }

    fn level(&mut self, gauge: &AtomicUsize) {
        self.add(&[], gauge.load(Ordering::Relaxed));
    }

    fn histogram(&mut self, histogram: &Histogram) {
        let (name, cumulative) = (self.metric.name, histogram.cumulative());
        let bounds = BOUNDS.iter().map(|bound| format!("{:?}", bound.as_secs_f64()));
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(cumulative) {
            let _ = writeln!(self.text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let (count, sum) = (cumulative[BOUNDS.len()], histogram.sum().as_secs_f64());
        let _ = writeln!(self.text, "{name}_count {count}\n{name}_sum {sum:?}");
    }
}

const fn metric(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&Metrics, &mut Samples<'_>),
) -> Metric {
    Metric { name, kind, help, labels, read }
}

/// Every metric, in the order in which they are shown. chatd-metrics(7) has the same table.
pub static METRICS: [Metric; 30] = [
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
];

impl Metrics {
    /// Makes the metrics of a server that starts now.
    pub fn new(net: Arc<Net>, traffic: Arc<Traffic>, survived: Survived, archive: Option<Queue>) -> Self {
        Self { net, traffic, survived, archive, started: rt::wall_clock() }
    }

    /// Adds the connections that speak TLS; with a certificate, also that there are none.
    fn tls_sessions(&self, samples: &mut Samples<'_>) {
        let mut counts = self.net.sessions.tls();
        if self.net.settings().tls.is_some() {
            for ((version, cipher), records) in
                CIPHERS.iter().flat_map(|suite| ["kernel", "user"].map(|records| (*suite, records)))
            {
                counts.entry((version, cipher, records)).or_default();
            }
        }
        counts.into_iter().for_each(|((version, cipher, records), count)| {
            samples.add(&[version, cipher, records], count);
        });
    }

    fn archive(&self) -> ArchiveState {
        self.archive.as_ref().map(Queue::state).unwrap_or_default()
    }

    /// Returns the page that has them.
    pub fn into_page(self) -> Arc<Page> {
        Page::new(MEDIA_TYPE, move || self.encode())
    }

    /// Returns all of them as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(8192);
        for metric in &METRICS {
            let Metric { name, kind, help, .. } = metric;
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
            if let Some(unit) = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)) {
                let _ = writeln!(text, "# UNIT {name} {unit}");
            }
            (metric.read)(self, &mut Samples { metric, text: &mut text });
        }
        text.push_str("# EOF\n");
        text
    }
}

/// Returns how many bytes of the process are in RAM (proc(5), statm); `None` without `/proc`.
fn resident_memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
