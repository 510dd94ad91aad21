//! What goes through all rooms, as numbers that every floor may look at.

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
    min_rate: AtomicU64,
}

impl Traffic {
    /// Nothing has been said yet. A room waits for members that read at least `min_rate` bytes a second.
    pub fn new(min_rate: u64) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            skipped: AtomicU64::new(0),
            lines: AtomicU64::new(0),
            rooms: AtomicUsize::new(0),
            min_rate: AtomicU64::new(min_rate),
        })
    }

    /// Goes on counting where another process has stopped.
    pub(super) fn put_back(&self, lines: u64, skipped: u64) {
        self.lines.store(lines, Ordering::Relaxed);
        self.skipped.store(skipped, Ordering::Relaxed);
    }

    /// Changes the rate, in bytes a second, below which a member is not waited for.
    pub fn set_min_rate(&self, min_rate: u64) {
        self.min_rate.store(min_rate, Ordering::Relaxed);
    }

    pub(super) fn min_rate(&self) -> u64 {
        self.min_rate.load(Ordering::Relaxed)
    }

    /// Counts an input on its way to the broker.
    pub fn begin_input(&self, bytes: usize) {
        self.in_flight.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An input has been taken in, or there is none any more.
    pub fn end_input(&self, bytes: usize) {
        self.in_flight.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Says whether so much is on its way that sessions should read only a little at a time.
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
