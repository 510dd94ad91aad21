//! A name that somebody else has when the connection comes back: it is asked for again until it is free.
//!
//! The daemon may not yet have found out that the connection before was lost, so that one has it oneself. `conversation`
//! tells a claim what becomes of the name, and asks it when to ask again. Never waits itself, and reads no clock.

use std::time::Instant;

use super::pauses::Pauses;

/// What was a name of one's own, and is not now.
#[derive(Debug, Default)]
pub struct Claim {
    pauses: Pauses,
    /// When it is asked for again.
    when: Option<Instant>,
    /// Whether somebody knows that it is.
    is_told: bool,
    /// Whether it is asked for no more.
    is_over: bool,
}

impl Claim {
    /// The name is taken: it is asked for again later. Says whether that is worth mentioning: it is once.
    pub fn refused(&mut self, now: Instant, spread: u32) -> bool {
        if !self.is_over {
            self.when = Some(now + self.pauses.next(spread));
        }
        !std::mem::replace(&mut self.is_told, true)
    }

    /// Somebody wants to be called something else, or it cannot be had: it is asked for no more.
    pub fn give_up(&mut self) {
        (self.is_over, self.when) = (true, None);
    }

    /// Whether it is asked for no more.
    pub fn is_given_up(&self) -> bool {
        self.is_over
    }

    /// When it is asked for again, if it is.
    pub fn when(&self) -> Option<Instant> {
        self.when
    }

    /// Whether that is now; once.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.when.take_if(|when| *when <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_is_asked_for_again_after_pauses_that_grow_and_told_of_once() {
        let (start, mut claim) = (Instant::now(), Claim::default());
        let mut now = start;
        for (pause, is_worth_mentioning) in [(250, true), (500, false), (1000, false)] {
            assert_eq!(claim.refused(now, 25), is_worth_mentioning);
            let when = claim.when().unwrap();
            assert_eq!(when - now, Duration::from_millis(pause));
            assert!(!claim.is_due(when - Duration::from_millis(1)));
            assert!(claim.is_due(when) && !claim.is_due(when), "once");
            now = when;
        }
    }

    #[test]
    fn whoever_wants_to_be_called_something_else_gives_it_up() {
        let (now, mut claim) = (Instant::now(), Claim::default());
        claim.refused(now, 25);
        claim.give_up();
        assert!(claim.is_given_up() && !claim.is_due(now + Duration::from_secs(60)));
        assert!(!claim.refused(now, 25), "that was asked before");
        assert!(claim.when().is_none());
    }
}
