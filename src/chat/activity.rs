//! Activity: when something was done last, and how often it was done in the last minute.

use jiff::Timestamp;

/// A counter of events in the last minute. Its time is that of the wall clock, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    last: u32,
    minute: u32,
    /// Events in this minute.
    now: u32,
    /// Events in the minute before.
    before: u32,
}

fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.as_second()).unwrap_or(0)
}

impl Activity {
    /// Begins at this time.
    pub(super) fn since(time: Timestamp) -> Self {
        Self { last: seconds(time), ..Self::default() }
    }

    /// Something is done, and counts as so many events.
    pub(super) fn count(&mut self, events: u64, time: Timestamp) {
        self.last = seconds(time);
        let minute = self.last / 60;
        if minute != self.minute {
            self.before = if minute == self.minute.wrapping_add(1) { self.now } else { 0 };
            (self.minute, self.now) = (minute, 0);
        }
        self.now = self.now.saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
    }

    /// Returns for how many seconds nothing was done.
    pub(super) fn idle(self, time: Timestamp) -> u64 {
        seconds(time).saturating_sub(self.last).into()
    }

    /// Returns the events per second in the last minute, in tenths.
    pub(super) fn rate(mut self, time: Timestamp) -> f64 {
        self.count(0, time);
        let left = f64::from(60 - self.last % 60) / 60.0;
        let per_second = (f64::from(self.before) * left + f64::from(self.now)) / 60.0;
        (per_second * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let at = |seconds: i64| Timestamp::from_second(6000 + seconds).unwrap();
        let mut activity = Activity::since(at(0));
        assert_eq!((activity.rate(at(5)), activity.idle(at(5))), (0.0, 5));
        activity.count(600, at(10));
        assert_eq!((activity.rate(at(20)), activity.idle(at(20))), (10.0, 10));
        // Half of the minute before counts.
        assert_eq!(activity.rate(at(90)), 5.0);
        assert_eq!(activity.rate(at(120)), 0.0);
        activity.count(60, at(90));
        assert_eq!(activity.rate(at(90)), 6.0);
        // A clock that is set back.
        assert_eq!(activity.idle(at(0)), 0);
    }
}
