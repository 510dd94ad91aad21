//! The pauses between attempts to connect again: short at first, then longer, up to a bound.
//!
//! Everybody's connection is lost at the same time when a daemon stops, so no two should come back at the same time:
//! the caller hands in a number that differs between them. Never waits itself.

use std::time::Duration;

/// The first pause: a daemon that is restarted is back at once.
const FIRST: Duration = Duration::from_millis(250);

/// The longest pause: a daemon that is back should not have to wait for long.
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that has lasted so long was a good one: the next that is lost is a new story.
const STEADY: Duration = Duration::from_secs(10);

/// The pauses so far.
#[derive(Debug, Default)]
pub struct Pauses {
    taken: u32,
}

impl Pauses {
    /// The next pause: twice the one before, more or less a quarter, as `spread` has it.
    pub fn next(&mut self, spread: u32) -> Duration {
        // 250 ms doubled seven times is more than 30 s.
        let pause = (FIRST * (1 << self.taken.min(7))).min(LONGEST);
        self.taken += 1;
        pause * (75 + spread % 51) / 100
    }

    /// A connection has ended that has lasted so long. Says whether that is worth mentioning: it is not while one
    /// after the other ends as soon as it stands.
    pub fn lost(&mut self, lasted: Duration) -> bool {
        if lasted >= STEADY {
            self.taken = 0;
        }
        self.taken == 0
    }
}

/// A number that differs between the processes of a machine, and between machines most of the time.
pub fn spread() -> u32 {
    std::process::id()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew() {
        let mut pauses = Pauses::default();
        let first: Vec<u128> = (0..9).map(|_| pauses.next(25).as_millis()).collect();
        assert_eq!(first, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert!(pauses.lost(STEADY));
        assert_eq!(pauses.next(25), FIRST);
    }

    #[test]
    fn connections_that_do_not_last_are_mentioned_once_and_waited_for_longer_and_longer() {
        let mut pauses = Pauses::default();
        assert!(pauses.lost(Duration::ZERO));
        pauses.next(25);
        assert!(!pauses.lost(Duration::ZERO));
        assert_eq!(pauses.next(25), FIRST * 2);
    }

    #[test]
    fn two_who_wait_do_not_come_back_together() {
        let pause = |spread| Pauses::default().next(spread);
        assert_eq!((pause(0), pause(50)), (FIRST * 75 / 100, FIRST * 125 / 100));
        assert!((0..1000).all(|spread| pause(spread) <= FIRST * 125 / 100));
    }
}
