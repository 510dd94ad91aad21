//! How many of the lines that were missed the daemon does not show any more.
//!
//! `missed` tells it where the room was when the connection was lost, and where the lines begin that `/last` shows: a
//! room numbers its lines one after the other, and those of oneself among them are not missed. That is what the numbers
//! say, and no more: a room that has begun anew numbers from 1 again, and looks like one that went on once it has got
//! further than the other was; and one that went on after a crash has left numbers out. So nobody is told how many there
//! were but by their numbers, and where these are known to say nothing, not even that.

use super::own::Own;

/// What was said while there was no connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The lines that are shown.
    pub shown: usize,
    /// If earlier ones are missing, or may be: how many at least, by their numbers; 0 if these do not say.
    pub missing: Option<u64>,
}

impl Count {
    /// What to say before the lines that are shown, if there is anything to say.
    pub fn words(self) -> Option<String> {
        let at_least = |count| match count {
            1 => "by their numbers, at least one line was said meanwhile".to_owned(),
            count => format!("by their numbers, at least {count} lines were said meanwhile"),
        };
        let shown = self.shown as u64;
        let these =
            if shown == 1 { "this is the last".into() } else { format!("these are the last {shown}") };
        Some(match (shown, self.missing) {
            (0, None) => return None,
            (1, None) => "one line was said meanwhile:".into(),
            (_, None) => format!("{shown} lines were said meanwhile:"),
            (0, Some(0)) => "lines may have been said meanwhile, which are not kept here".into(),
            (0, Some(missing)) => format!("{}, and not kept here", at_least(missing)),
            (_, Some(0)) => format!("more lines may have been said meanwhile; {these}:"),
            (_, Some(missing)) => format!("{}; {these}:", at_least(shown.saturating_add(missing))),
        })
    }

    /// What to say to those who see only the lines, if any are missing.
    pub fn missing_words(self) -> Option<String> {
        Some(match self.missing? {
            0 => "lines that were said meanwhile may be missing".into(),
            1 => "by their numbers, at least one line that was said meanwhile is missing".into(),
            missing => {
                format!("by their numbers, at least {missing} lines that were said meanwhile are missing")
            }
        })
    }
}

/// What of it is known while the last lines are read.
#[derive(Debug, Default)]
pub struct Gap {
    /// The numbers that are left out before the first of them.
    left_out: u64,
    /// The lines of one's own that are noted, before the first was read.
    own: usize,
    /// Whether all of these have surely arrived, and there were no others.
    is_own_sure: bool,
    /// How many of them were found.
    found: usize,
    /// Whether numbers may be left out for which there are no lines that could be missed.
    is_doubtful: bool,
}

impl Gap {
    /// The first of the last lines has this number; before, the last that was heard had the other. The server may send
    /// any numbers.
    pub fn new(first: u64, before: u64, own: &Own) -> Self {
        let left_out = first.checked_sub(before.saturating_add(1)).unwrap_or(first.saturating_sub(1));
        let is_own_sure = !own.has_lost() && !own.is_full();
        Self { left_out, own: own.room_lines(), is_own_sure, found: 0, is_doubtful: false }
    }

    /// Numbers may be left out for other reasons than that lines are missing.
    pub fn doubtful(self) -> Self {
        Self { is_doubtful: true, ..self }
    }

    /// A line of one's own was found among them.
    pub fn find(&mut self) {
        self.found += 1;
    }

    /// They are all read: how many lines are missing at least, if any are or may be; 0 if nobody knows. `own` is what is
    /// left.
    pub fn missing(&self, own: &Own) -> Option<u64> {
        // What is left was said after the last that was found, if one was.
        let after = if self.found > 0 { own.room_lines() } else { 0 };
        let most_own = self.own.saturating_sub(self.found).saturating_sub(after) as u64;
        let is_all_own = self.is_own_sure && !self.is_doubtful && self.left_out == most_own;
        if self.left_out == 0 || is_all_own {
            return None;
        }
        let is_unknown = self.is_doubtful || own.is_full();
        Some(if is_unknown { 0 } else { self.left_out.saturating_sub(most_own) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(count: usize) -> Own {
        let mut own = Own::default();
        (0..count).for_each(|_| own.say(Some("ann"), Some("hi".into()), "hi"));
        own
    }

    fn missing(first: u64, before: u64, own: &Own) -> Option<u64> {
        Gap::new(first, before, own).missing(own)
    }

    #[test]
    fn what_is_left_out_is_missing_but_for_what_one_has_said() {
        assert_eq!(missing(6, 5, &own(0)), None);
        assert_eq!(missing(301, 5, &own(0)), Some(295));
        assert_eq!(missing(301, 0, &own(0)), Some(300), "nothing had been said");
        assert_eq!(missing(301, 5, &own(10)), Some(285));
        assert_eq!(missing(7, 5, &own(1)), None, "that is one's own");
        assert_eq!(missing(7, 5, &own(3)), Some(0), "some of it may be");
        let mut lost = own(1);
        lost.lose();
        assert_eq!(missing(7, 5, &lost), Some(0), "nobody knows whether it has arrived");
    }

    #[test]
    fn a_room_that_has_begun_anew_misses_what_was_said_there() {
        assert_eq!(missing(1, 5, &own(0)), None);
        assert_eq!(missing(3, 5, &own(0)), Some(2));
        assert_eq!(missing(0, 5, &own(0)), None, "no room of chatd does that");
    }

    #[test]
    fn a_server_may_send_any_numbers() {
        assert_eq!(missing(u64::MAX, 0, &own(0)), Some(u64::MAX - 1));
        assert_eq!(missing(u64::MAX, u64::MAX, &own(0)), None);
        assert_eq!(missing(1, u64::MAX, &own(0)), None);
        let words = Count { shown: 200, missing: Some(u64::MAX) }.words().unwrap();
        assert!(words.contains(&u64::MAX.to_string()), "{words}");
    }

    #[test]
    fn numbers_for_which_there_may_be_no_lines_count_none() {
        assert_eq!(Gap::new(6, 5, &own(0)).doubtful().missing(&own(0)), None);
        for mine in [0, 1, 10] {
            let own = own(mine);
            assert_eq!(Gap::new(7, 5, &own).doubtful().missing(&own), Some(0));
        }
    }

    #[test]
    fn ones_own_lines_that_are_shown_are_not_among_the_missing() {
        let mut own = own(5);
        let mut gap = Gap::new(10, 5, &own);
        for _ in 0..3 {
            assert!(own.take("ann", "hi"));
            gap.find();
        }
        assert_eq!(gap.missing(&own), Some(4), "two are left, which were said after them");
    }

    #[test]
    fn more_lines_of_ones_own_than_are_noted_make_it_unknown() {
        assert_eq!(missing(9000, 5, &own(5000)), Some(0));
    }

    #[test]
    fn counts_are_worded() {
        let words = |shown, missing| Count { shown, missing }.words().unwrap_or_default();
        for (shown, missing, expected) in [
            (0, None, ""),
            (1, None, "one line was said meanwhile:"),
            (3, None, "3 lines were said meanwhile:"),
            (0, Some(0), "lines may have been said meanwhile, which are not kept here"),
            (0, Some(1), "by their numbers, at least one line was said meanwhile, and not kept here"),
            (1, Some(0), "more lines may have been said meanwhile; this is the last:"),
            (1, Some(1), "by their numbers, at least 2 lines were said meanwhile; this is the last:"),
            (
                200,
                Some(300),
                "by their numbers, at least 500 lines were said meanwhile; these are the last 200:",
            ),
        ] {
            assert_eq!(words(shown, missing), expected);
        }
        let of_missing = |missing| Count { shown: 3, missing }.missing_words().unwrap_or_default();
        assert_eq!(of_missing(None), "");
        assert_eq!(of_missing(Some(0)), "lines that were said meanwhile may be missing");
        assert_eq!(
            of_missing(Some(1)),
            "by their numbers, at least one line that was said meanwhile is missing"
        );
        assert_eq!(
            of_missing(Some(7)),
            "by their numbers, at least 7 lines that were said meanwhile are missing"
        );
    }
}
