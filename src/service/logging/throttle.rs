//! At most one log line a minute about the same thing.
//!
//! For errors that repeat as fast as strangers connect: the accept loop keeps one [`Throttle`] for each place that
//! logs. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Lets one log line pass in each period and counts the others.
#[derive(Debug, Clone)]
pub struct Throttle {
    period: Duration,
    passed: Option<Instant>,
    suppressed: u64,
}

impl Throttle {
    /// The period of [`Throttle::default`].
    pub const MINUTE: Duration = Duration::from_secs(60);

    /// One line in each `period`.
    pub const fn new(period: Duration) -> Self {
        Self { period, passed: None, suppressed: 0 }
    }

    /// Returns `None` not to log now; otherwise the number of lines suppressed since the last one that passed.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        match self.passed {
            Some(passed) if now.saturating_duration_since(passed) < self.period => {
                self.suppressed += 1;
                None
            }
            _ => {
                self.passed = Some(now);
                Some(std::mem::take(&mut self.suppressed))
            }
        }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new(Self::MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_passes_and_the_others_are_counted() {
        let mut throttle = Throttle::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.pass(at(0)), Some(0));
        assert_eq!([1, 2, 59].map(|seconds| throttle.pass(at(seconds))), [None; 3]);
        assert_eq!(throttle.pass(at(60)), Some(3));
        assert_eq!(throttle.pass(at(61)), None);
        assert_eq!(throttle.pass(at(1000)), Some(1));
        assert_eq!(throttle.pass(at(2000)), Some(0));
    }
}
