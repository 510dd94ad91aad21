//! Traffic: what goes through all rooms, as numbers that every floor may look at.
//!
//! They are counters for the status line, and one gate: [`Traffic::is_crowded`] has sessions read little at a time while
//! very much waits for the hub already. The hub decides nothing by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes of inputs on their way to the broker beyond which sessions read little at a time.
const MANY_IN_FLIGHT: usize = 4 * 1024 * 1024;

/// What goes through all rooms.
#[derive(Debug)]
pub struct Traffic {
    in_flight: AtomicUsize,
    skipped: AtomicU64,
    lines: AtomicU64,
    rooms: AtomicUsize,
}

impl Traffic {
    /// Nothing has been said yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            skipped: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            rooms: AtomicUsize::new(0),
        })
    }

    /// Goes on counting where another process has stopped.
    pub(super) fn restore(&self, lines: u64, skipped: u64) {
        self.lines.store(lines, Ordering::Relaxed);
        self.skipped.store(skipped, Ordering::Relaxed);
    }

    /// Counts an input on its way to the broker.
    pub fn begin_input(&self, bytes: usize) {
        self.in_flight.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An input has been taken in, or there is none any more.
    pub fn end_input(&self, bytes: usize) {
        self.in_flight.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns whether so much is on its way that sessions should read only a little at a time.
    pub fn is_crowded(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > MANY_IN_FLIGHT
    }

    /// How many lines members have missed because they did not read.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    pub(super) fn count_skipped(&self, lines: u64) {
        self.skipped.fetch_add(lines, Ordering::Relaxed);
    }

    /// How many lines have been said since the start.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    pub(super) fn count_lines(&self, lines: u64) {
        self.lines.fetch_add(lines, Ordering::Relaxed);
    }

    /// How many rooms there are.
    pub fn rooms(&self) -> usize {
        self.rooms.load(Ordering::Relaxed)
    }

    pub(super) fn set_rooms(&self, rooms: usize) {
        self.rooms.store(rooms, Ordering::Relaxed);
    }
}
