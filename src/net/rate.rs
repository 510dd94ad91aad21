//! The rate limiter of a session: a burst of lines at once, and then so many lines per second.
//!
//! It refuses nothing. Faster lines wait, and the session does not read meanwhile, so TCP slows the sender down.
//! This is the generic cell rate algorithm (ITU-T I.371), which needs one number per session.

use std::time::{Duration, Instant};

use memchr::memchr_iter;

use crate::chat::End;

/// How fast a session may send lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Lines per second; at least one.
    pub per_second: u32,
    /// Lines at once; at least one.
    pub burst: u32,
}

impl Rate {
    /// Returns the time in which a session earns one line.
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second
    }
}

/// How much of its rate a session has used up.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// When the whole burst is free again; `None` if it is.
    whole: Option<Instant>,
}

impl Used {
    /// Makes one for which the whole burst is free after `left`.
    fn until(left: Duration, now: Instant) -> Self {
        Self { whole: now.checked_add(left).filter(|_| !left.is_zero()) }
    }

    /// Returns how long it takes until the whole burst is free.
    fn left(&self, now: Instant) -> Duration {
        self.whole.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now))
    }

    /// Returns how many lines the session may send at `now`: at least one.
    ///
    /// # Errors
    /// The time of the next line, if it may send none.
    fn allowed(&self, rate: Rate, now: Instant) -> Result<u32, Instant> {
        let interval = rate.interval();
        let used = self.whole.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now));
        let free = (interval * rate.burst).saturating_sub(used);
        match (free.as_nanos() / interval.as_nanos()) as u32 {
            0 => Err(now + (interval - free)),
            lines => Ok(lines),
        }
    }

    /// Records that the session has sent this many lines at `now`.
    fn use_up(&mut self, lines: u32, rate: Rate, now: Instant) {
        let from = self.whole.map_or(now, |whole| whole.max(now));
        self.whole = Some(from + rate.interval() * lines);
    }
}

/// The rate limiter of a session, and the clean lines that wait for it.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    used: Used,
    /// When the next line may go to the hub, if it was too early.
    pub(super) next: Option<Instant>,
    text: Vec<u8>,
    /// What follows the waiting lines.
    end: End,
}

impl Limiter {
    /// Makes that of a session of another process: `text` waits, and the whole burst is free after `used`. Returns
    /// `None` if both are empty.
    pub(super) fn resume(text: Vec<u8>, end: End, used: Duration, now: Instant) -> Option<Box<Self>> {
        let is_limited = !text.is_empty() || !used.is_zero();
        is_limited.then(|| Box::new(Self { used: Used::until(used, now), text, end, next: None }))
    }

    /// Returns the waiting lines, and how long it takes until the whole burst is free.
    pub(super) fn into_parts(self, now: Instant) -> (Vec<u8>, Duration) {
        (self.text, self.used.left(now))
    }

    /// Makes these lines wait, with what follows them.
    pub(super) fn hold(&mut self, text: Vec<u8>, end: End) {
        (self.text, self.end) = (text, end);
    }

    /// Returns whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes out as many waiting lines as `rate` allows, all without a rate. Also returns what follows the last line.
    /// Returns `None` if it is too early for any.
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
