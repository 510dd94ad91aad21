//! How fast a session may say lines: a burst at once, and then so many a second.
//!
//! What comes faster is not refused: it waits, and the session is not read meanwhile, so the sender is slowed down by
//! its own connection. This is the generic cell rate algorithm (ITU-T I.371), which needs one number a session.

use std::time::{Duration, Instant};

/// How fast lines may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Lines a second; at least one.
    pub per_second: u32,
    /// Lines at once; at least one.
    pub burst: u32,
}

impl Rate {
    /// The time in which one line is earned.
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

/// How much of its rate a session has used up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When the whole burst is free again, if it is not.
    whole: Option<Instant>,
    /// When the session tries again, if it was too early for the next line.
    pub(super) next: Option<Instant>,
}

impl Pace {
    /// One that takes so long until the whole burst is free; nothing if it is.
    pub(super) fn used(left: Duration, now: Instant) -> Option<Self> {
        (!left.is_zero()).then(|| Self { whole: now.checked_add(left), next: None })
    }

    /// How long it takes until the whole burst is free.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.whole.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now))
    }

    /// How many lines may be said at `now`: at least one.
    ///
    /// # Errors
    /// When the next may be said, if none may.
    pub(super) fn allowed(&self, rate: Rate, now: Instant) -> Result<u32, Instant> {
        let interval = rate.interval();
        let used = self.whole.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now));
        let free = (interval * rate.burst).saturating_sub(used);
        match (free.as_nanos() / interval.as_nanos()) as u32 {
            0 => Err(now + (interval - free)),
            lines => Ok(lines),
        }
    }

    /// So many lines have been said at `now`.
    pub(super) fn use_up(&mut self, lines: u32, rate: Rate, now: Instant) {
        let from = self.whole.map_or(now, |whole| whole.max(now));
        self.whole = Some(from + rate.interval() * lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_burst_is_free_and_then_one_line_each_interval() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(pace.allowed(RATE, at(0)), Ok(3));
        pace.use_up(2, RATE, at(0));
        assert_eq!(pace.allowed(RATE, at(0)), Ok(1));
        pace.use_up(1, RATE, at(0));
        assert_eq!(pace.allowed(RATE, at(0)), Err(at(100)));
        assert_eq!(pace.allowed(RATE, at(60)), Err(at(100)));
        assert_eq!(pace.allowed(RATE, at(100)), Ok(1));
        pace.use_up(1, RATE, at(100));
        assert_eq!(pace.allowed(RATE, at(199)), Err(at(200)));
        assert_eq!(pace.allowed(RATE, at(400)), Ok(3), "whole again, and no more than that");
        assert_eq!(pace.allowed(RATE, at(9_000)), Ok(3));
    }

    #[test]
    fn over_a_long_time_it_is_the_rate() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let rate = Rate { per_second: 7, burst: 1 };
        let (mut now, mut said) = (start, 0);
        while now < start + Duration::from_secs(60) {
            match pace.allowed(rate, now) {
                Ok(lines) => {
                    said += lines;
                    pace.use_up(lines, rate, now);
                }
                Err(next) => now = next,
            }
        }
        assert!((420..=421).contains(&said), "{said}");
    }
}
