//! Whether anybody is at the other end: a daemon that hangs takes a connection, and what fits in it, and says nothing.
//!
//! `pipe` tells it what is handed over, what was taken and that something was heard. A daemon that was heard may take
//! its time; one that was not is given up when it takes nothing for so long. While there is nothing to take, nothing is
//! expected of it, for its greeting may be empty. Never waits itself, and reads no clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the daemon may take to answer what is asked for at the beginning.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Seen {
    /// Whether anything was heard.
    is_heard: bool,
    /// How many pieces there were to be taken, and how many were.
    handed_over: u64,
    taken: u64,
    /// Whether there will be no more, so that the daemon is to close the connection.
    is_all: bool,
    /// Since when the daemon could have done something.
    since: Instant,
}

impl Seen {
    fn is_waiting(&self) -> bool {
        !self.is_heard && (self.is_all || self.taken < self.handed_over)
    }
}

/// What was heard of the other end; clones are one.
#[derive(Clone, Debug)]
pub struct Silence(Arc<Mutex<Seen>>);

impl Silence {
    /// Nothing was heard yet, and nothing is to be taken.
    pub fn new(now: Instant) -> Self {
        let seen = Seen { is_heard: false, handed_over: 0, taken: 0, is_all: false, since: now };
        Self(Arc::new(Mutex::new(seen)))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was heard.
    pub fn hear(&self) {
        self.seen().is_heard = true;
    }

    /// Whether something was.
    pub fn is_heard(&self) -> bool {
        self.seen().is_heard
    }

    /// A piece is to be taken.
    pub fn hand_over(&self, now: Instant) {
        let mut seen = self.seen();
        if !seen.is_waiting() {
            seen.since = now;
        }
        seen.handed_over += 1;
    }

    /// A piece was taken.
    pub fn take(&self, now: Instant) {
        let mut seen = self.seen();
        seen.taken += 1;
        seen.since = now;
    }

    /// All was.
    pub fn take_all(&self, now: Instant) {
        let mut seen = self.seen();
        seen.is_all = true;
        seen.since = now;
    }

    /// When to look again whether it has lasted too long, if it can.
    pub fn until(&self, now: Instant) -> Option<Instant> {
        let seen = self.seen();
        let since = if seen.is_waiting() { seen.since } else { now };
        (!seen.is_heard).then(|| since + ANSWER_TIMEOUT)
    }

    /// Whether it has.
    pub fn is_over(&self, now: Instant) -> bool {
        let seen = self.seen();
        seen.is_waiting() && seen.since + ANSWER_TIMEOUT <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_takes_nothing_is_given_up_and_who_takes_more_is_not() {
        let start = Instant::now();
        let silence = Silence::new(start);
        assert!(!silence.is_over(start + 60 * SECOND), "there is nothing to take");
        assert_eq!(silence.until(start + 60 * SECOND), Some(start + 60 * SECOND + ANSWER_TIMEOUT));
        silence.hand_over(start + 60 * SECOND);
        silence.hand_over(start + 65 * SECOND);
        assert!(!silence.is_over(start + 69 * SECOND) && silence.is_over(start + 70 * SECOND));
        silence.take(start + 69 * SECOND);
        assert!(!silence.is_over(start + 78 * SECOND) && silence.is_over(start + 79 * SECOND));
        silence.take(start + 78 * SECOND);
        assert!(!silence.is_over(start + 178 * SECOND), "more may be said");
        silence.take_all(start + 178 * SECOND);
        assert_eq!(silence.until(start + 180 * SECOND), Some(start + 178 * SECOND + ANSWER_TIMEOUT));
        assert!(!silence.is_over(start + 187 * SECOND) && silence.is_over(start + 188 * SECOND));
    }

    #[test]
    fn who_was_heard_may_take_any_time() {
        let start = Instant::now();
        let silence = Silence::new(start);
        silence.hand_over(start);
        silence.hear();
        assert!(!silence.is_over(start + 3600 * SECOND) && silence.until(start).is_none());
        silence.take_all(start);
        assert!(!silence.is_over(start + 3600 * SECOND) && silence.is_heard());
    }
}
