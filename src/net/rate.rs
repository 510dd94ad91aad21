//! The rate limit: how fast a session may say lines: a burst at once, and then so many a second.
//!
//! What comes faster is not refused: it waits, and the session is not read meanwhile, so the sender is slowed down by
//! its own connection. This is the generic cell rate algorithm (ITU-T I.371), which needs one number a session.

use std::time::{Duration, Instant};

use memchr::memchr_iter;

use crate::chat::End;

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
struct Used {
    /// When the whole burst is free again, if it is not.
    whole: Option<Instant>,
}

impl Used {
    /// So much that it takes `left` until the whole burst is free.
    fn until(left: Duration, now: Instant) -> Self {
        Self { whole: now.checked_add(left).filter(|_| !left.is_zero()) }
    }

    /// How long it takes until the whole burst is free.
    fn left(&self, now: Instant) -> Duration {
        self.whole.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now))
    }

    /// How many lines may be said at `now`: at least one.
    ///
    /// # Errors
    /// When the next may be said, if none may.
    fn allowed(&self, rate: Rate, now: Instant) -> Result<u32, Instant> {
        let interval = rate.interval();
        let used = self.whole.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now));
        let free = (interval * rate.burst).saturating_sub(used);
        match (free.as_nanos() / interval.as_nanos()) as u32 {
            0 => Err(now + (interval - free)),
            lines => Ok(lines),
        }
    }

    /// So many lines have been said at `now`.
    fn use_up(&mut self, lines: u32, rate: Rate, now: Instant) {
        let from = self.whole.map_or(now, |whole| whole.max(now));
        self.whole = Some(from + rate.interval() * lines);
    }
}

/// The rate limit of a session, and the clean lines that wait for it.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    used: Used,
    /// When the next line may be passed on, if it was too early.
    pub(super) next: Option<Instant>,
    text: Vec<u8>,
    /// What comes behind them.
    end: End,
}

impl Limiter {
    /// That of a session that goes on in another process, where `text` waits and it takes `used` until the whole burst is
    /// free; `None` if there is nothing of that.
    pub(super) fn resume(text: Vec<u8>, end: End, used: Duration, now: Instant) -> Option<Box<Self>> {
        let is_limited = !text.is_empty() || !used.is_zero();
        is_limited.then(|| Box::new(Self { used: Used::until(used, now), text, end, next: None }))
    }

    /// What waits, and how long it takes until the whole burst is free.
    pub(super) fn into_parts(self, now: Instant) -> (Vec<u8>, Duration) {
        (self.text, self.used.left(now))
    }

    /// Has these lines wait, and what comes behind them.
    pub(super) fn hold(&mut self, text: Vec<u8>, end: End) {
        (self.text, self.end) = (text, end);
    }

    /// Returns whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes out as many of the lines that wait as `rate` allows, if there is one, and what comes behind the last of them;
    /// `None` if it is too early for any.
    pub(super) fn take(&mut self, rate: Option<Rate>, now: Instant) -> Option<(Vec<u8>, End)> {
        let allowed = rate.map_or(Ok(u32::MAX), |rate| self.used.allowed(rate, now));
        self.next = allowed.err();
        let ends = memchr_iter(b'\n', &self.text).take(allowed.ok()? as usize);
        let (lines, end) = ends.fold((0, 0), |(lines, _), end| (lines + 1, end + 1));
        let rest = self.text.split_off(end);
        if let Some(rate) = rate {
            self.used.use_up(lines, rate, now);
        }
        let end = if rest.is_empty() { std::mem::take(&mut self.end) } else { End::No };
        Some((std::mem::replace(&mut self.text, rest), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_burst_is_free_and_then_one_line_each_interval() {
        let (mut used, start) = (Used::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(used.allowed(RATE, at(0)), Ok(3));
        used.use_up(2, RATE, at(0));
        assert_eq!(used.allowed(RATE, at(0)), Ok(1));
        used.use_up(1, RATE, at(0));
        assert_eq!(used.allowed(RATE, at(0)), Err(at(100)));
        assert_eq!(used.allowed(RATE, at(60)), Err(at(100)));
        assert_eq!(used.allowed(RATE, at(100)), Ok(1));
        used.use_up(1, RATE, at(100));
        assert_eq!(used.allowed(RATE, at(199)), Err(at(200)));
        assert_eq!(used.allowed(RATE, at(400)), Ok(3), "whole again, and no more than that");
        assert_eq!(used.allowed(RATE, at(9_000)), Ok(3));
    }

    #[test]
    fn over_a_long_time_it_is_the_rate() {
        let (mut used, start) = (Used::default(), Instant::now());
        let rate = Rate { per_second: 7, burst: 1 };
        let (mut now, mut said) = (start, 0);
        while now < start + Duration::from_secs(60) {
            match used.allowed(rate, now) {
                Ok(lines) => {
                    said += lines;
                    used.use_up(lines, rate, now);
                }
                Err(next) => now = next,
            }
        }
        assert!((420..=421).contains(&said), "{said}");
    }
}
