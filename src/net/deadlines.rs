//! The deadlines of a session: since when it has been in which state, and when it must act although nothing happens.

use std::time::{Duration, Instant};

use super::settings::Settings;
use crate::rt;

/// How often a session polls for what it is not told: whether the kernel of a closing connection has sent everything,
/// and whether the hub can take half a line that has waited for `flush_after`.
pub(super) const CHECK: Duration = Duration::from_millis(20);

/// Times of a session.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// When something was last read, or the session began.
    pub(super) last_read: Instant,
    /// Since when the socket has been full.
    pub(super) full: Option<Instant>,
    /// When closing began.
    pub(super) ending: Option<Instant>,
}

/// The reasons why a session waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// For the next bytes of its client.
    pub(super) for_input: bool,
    /// For the rest of a line.
    pub(super) for_rest: bool,
    /// For the kernel to send what it was given.
    pub(super) for_kernel: bool,
}

impl Deadlines {
    /// Makes those of a session that begins now.
    pub(super) fn new() -> Self {
        Self { last_read: rt::now(), full: None, ending: None }
    }

    /// Returns how long the socket may be full.
    fn patience(&self, settings: &Settings) -> Duration {
        if self.ending.is_some() { settings.drain } else { settings.slow_timeout }
    }

    /// Returns whether the socket has been full for too long.
    pub(super) fn is_stalled(&self, settings: &Settings, now: Instant) -> bool {
        self.full.is_some_and(|since| now >= since + self.patience(settings))
    }

    /// Returns whether closing takes too long.
    pub(super) fn is_late(&self, settings: &Settings, now: Instant) -> bool {
        self.ending.is_some_and(|since| now >= since + settings.drain)
    }

    /// Returns the next time at which the session must act although nothing happens.
    pub(super) fn next(&self, settings: &Settings, waits: Waits) -> Option<Instant> {
        let soon = rt::now() + CHECK;
        let last_read = Some(self.last_read).filter(|_| waits.for_input);
        let flush = settings.flush_after.filter(|_| waits.for_rest);
        [
            last_read.zip(flush).map(|(last, wait)| (last + wait).max(soon)),
            last_read.zip(settings.idle_timeout).map(|(last, wait)| (last + wait).max(soon)),
            self.full.map(|since| (since + self.patience(settings)).max(soon)),
            self.ending.filter(|_| waits.for_kernel).map(|since| (since + settings.drain).min(soon)),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
