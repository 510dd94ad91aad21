//! Traffic: counters of all rooms together, which every floor can read.
//!
//! Most are for the status line. [`Traffic::is_crowded`] makes sessions read less at a time while more than 4 MiB wait
//! for the hub. The hub itself decides nothing by these counters.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of inputs on their way to the broker. Beyond that, sessions read less at a time.
const MANY_IN_FLIGHT: usize = 4 * 1024 * 1024;

/// The counters. Each but `rooms` only grows.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of inputs on their way to the broker.
    in_flight: AtomicUsize,
    /// Number of lines that members lost because they did not read.
    pub skipped: AtomicU64,
    /// Number of lines that members sent to rooms since the start.
    pub lines: AtomicU64,
    /// Number of rooms now.
    pub rooms: AtomicUsize,
}

impl Traffic {
    /// Counts an input of so many bytes on its way to the broker. Call [`Traffic::end_input`] with the same number
    /// afterwards.
    pub fn begin_input(&self, bytes: usize) {
        self.in_flight.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The hub has taken the input, or the input is dropped.
    pub fn end_input(&self, bytes: usize) {
        self.in_flight.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns whether more than 4 MiB are on their way, so that sessions should read less at a time.
    pub fn is_crowded(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > MANY_IN_FLIGHT
    }
}
