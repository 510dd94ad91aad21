//! The deadlines of a session: since when what has been so, and when something has to be done though nothing happens.

use std::time::{Duration, Instant};

use super::settings::Settings;
use crate::rt;

/// How often a session looks again for what nobody tells it: whether the kernel of a closing connection has got rid of
/// what it was given, and whether half a line that has waited long enough can be taken in by now.
pub(super) const CHECK: Duration = Duration::from_millis(20);

/// Since when what has been so.
#[derive(Debug)]
pub(super) struct Deadlines {
    /// When something was last read, or the session began.
    pub(super) last_read: Instant,
    /// Since when the socket has been full.
    pub(super) full: Option<Instant>,
    /// When closing began.
    pub(super) ending: Option<Instant>,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// The next bytes of its caller.
    pub(super) for_input: bool,
    /// The rest of a line.
    pub(super) for_rest: bool,
    /// The kernel to get rid of what it was given.
    pub(super) for_kernel: bool,
}

impl Deadlines {
    /// Those of a session that begins now.
    pub(super) fn new() -> Self {
        Self { last_read: rt::now(), full: None, ending: None }
    }

    /// How long the socket may be full.
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

    /// The next time at which something has to be done though nothing happens.
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
