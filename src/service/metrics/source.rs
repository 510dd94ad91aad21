//! What metrics are read from, and how a metric is written.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jiff::Timestamp;

use crate::chat::histogram::BOUNDS;
use crate::chat::{Histogram, Traffic};
use crate::net::Net;
use crate::net::tls::CIPHERS;
use crate::protocol::ClusterState;
use crate::rt;
use crate::service::archive::{ArchiveState, Queue};
use crate::service::cluster::ClusterStatus;
use crate::service::handover::Survived;

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

/// A row of the table of metrics.
pub struct Metric {
    /// Its name, without the suffix of its samples.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it is about, in a sentence.
    pub help: &'static str,
    /// The labels of its samples, without that of buckets.
    pub labels: &'static [&'static str],
    pub(super) read: Read,
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
    pub(super) net: Arc<Net>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) survived: Survived,
    archive: Option<Queue>,
    cluster: Option<ClusterStatus>,
    pub(super) started: Timestamp,
}

/// The samples of one metric, as text.
pub(super) struct Samples<'a> {
    metric: &'a Metric,
    text: &'a mut String,
}

impl<'a> Samples<'a> {
    /// Writes the samples of a metric into `text`.
    pub(super) fn of(metric: &'a Metric, text: &'a mut String) -> Self {
        Self { metric, text }
    }

    /// Adds a number of the cluster; nothing without one.
    pub(super) fn of_cluster(&mut self, metrics: &Metrics, number: impl Fn(&ClusterState) -> f64) {
        if let Some(cluster) = metrics.cluster() {
            self.add(&[], number(&cluster));
        }
    }

    /// Adds a sample. `labels` has a value for each label of the metric.
    pub(super) fn add(&mut self, labels: &[&str], value: impl std::fmt::Display) {
        let name = self.metric.sample_name();
        let labels = self.metric.labels.iter().zip(labels).map(|(name, value)| format!("{name}=\"{value}\""));
        let labels = labels.collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    pub(super) fn count(&mut self, counter: &AtomicU64) {
        self.add(&[], counter.load(Ordering::Relaxed));
    }

    pub(super) fn level(&mut self, gauge: &AtomicUsize) {
        self.add(&[], gauge.load(Ordering::Relaxed));
    }

    pub(super) fn histogram(&mut self, histogram: &Histogram) {
        let (name, cumulative) = (self.metric.name, histogram.cumulative());
        let bounds = BOUNDS.iter().map(|bound| format!("{:?}", bound.as_secs_f64()));
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(cumulative) {
            let _ = writeln!(self.text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let (count, sum) = (cumulative[BOUNDS.len()], histogram.sum().as_secs_f64());
        let _ = writeln!(self.text, "{name}_count {count}\n{name}_sum {sum:?}");
    }
}

/// Reads the samples of a metric.
type Read = fn(&Metrics, &mut Samples<'_>);

/// Makes a row of a counter without labels.
pub(super) const fn counter(name: &'static str, help: &'static str, read: Read) -> Metric {
    metric(name, Kind::Counter, help, &[], read)
}

/// Makes a row of a gauge without labels.
pub(super) const fn gauge(name: &'static str, help: &'static str, read: Read) -> Metric {
    metric(name, Kind::Gauge, help, &[], read)
}

/// Makes a row of a histogram.
pub(super) const fn histogram(name: &'static str, help: &'static str, read: Read) -> Metric {
    metric(name, Kind::Histogram, help, &[], read)
}

/// Makes a row.
pub(super) const fn metric(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [&'static str],
    read: Read,
) -> Metric {
    Metric { name, kind, help, labels, read }
}

impl Metrics {
    /// Makes the metrics of a server that starts now.
    pub fn new(
        net: Arc<Net>,
        traffic: Arc<Traffic>,
        survived: Survived,
        archive: Option<Queue>,
        cluster: Option<ClusterStatus>,
    ) -> Self {
        Self { net, traffic, survived, archive, cluster, started: rt::wall_clock() }
    }

    /// Adds the connections that speak TLS; with a certificate, also that there are none.
    pub(super) fn tls_sessions(&self, samples: &mut Samples<'_>) {
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

    /// Returns how the cluster is doing; `None` without one.
    pub(super) fn cluster(&self) -> Option<ClusterState> {
        self.cluster.as_ref().map(|cluster| cluster.state(rt::wall_clock()))
    }

    /// Returns how the archive is doing.
    pub(super) fn archive(&self) -> ArchiveState {
        self.archive.as_ref().map(Queue::state).unwrap_or_default()
    }
}

/// Returns how many bytes of the process are in RAM (proc(5), statm); `None` without `/proc`.
pub(super) fn resident_memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
