//! Histograms of durations. One task observes, and any task reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Number of buckets with an upper bound.
const BUCKETS: usize = 13;

/// The upper bound of each bucket, the bound included. There is one more bucket for all longer durations.
pub const BOUNDS: [Duration; BUCKETS] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
];

/// Counts durations by their length.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BUCKETS + 1],
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < duration);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Returns for each of [`BOUNDS`] how many durations were not longer. The last number counts all.
    pub fn cumulative(&self) -> [u64; BUCKETS + 1] {
        let mut total = 0;
        self.counts.each_ref().map(|count| {
            total += count.load(Ordering::Relaxed);
            total
        })
    }

    /// Returns the sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_every_bucket_whose_bound_it_does_not_exceed() {
        let histogram = Histogram::default();
        for duration in [Duration::ZERO, BOUNDS[0], BOUNDS[0] + Duration::from_nanos(1), 2 * BOUNDS[12]] {
            histogram.observe(duration);
        }
        assert_eq!(histogram.cumulative(), [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]);
        assert_eq!(histogram.sum(), 2 * BOUNDS[0] + Duration::from_nanos(1) + 2 * BOUNDS[12]);
    }

    #[test]
    fn the_bounds_grow() {
        assert!(BOUNDS.is_sorted_by(|one, next| one < next));
    }
}
