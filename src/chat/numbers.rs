//! The numbers of a room: its epoch, the numbers of its lines, and how far it is in the order that an engine gives.
//!
//! A room of one process counts its lines itself. With several nodes, each entry brings its place, and the room has its
//! numbers from that.

use super::epochs::Epochs;
use super::sequencer::{Cursor, Stamp};

/// Line numbers that one note covers. After a crash, a room goes on with the first number that no note covers.
const NUMBERS_AT_ONCE: u64 = 4096;

/// Largest number that is believed of an engine: behind it there is space to count on.
const MOST: u64 = u64::MAX / 2;

/// Lines that came again, and jumps, as the next process gets them: see [`Numbers`].
pub(super) type Gaps = (Vec<(u64, u64, u32)>, Vec<Cursor>);

pub(super) fn has_no_gap(gaps: &Gaps) -> bool {
    gaps.0.is_empty() && gaps.1.is_empty()
}

/// Most jumps that are remembered: before the next line they are one.
const MAX_JUMPS: usize = 1000;

/// The numbers of a room.
#[derive(Debug)]
pub(super) struct Numbers {
    /// The epoch: tells the room from earlier rooms of the same name.
    pub(super) epoch: u64,
    /// How many lines have been said: the number of the last one.
    pub(super) said: u64,
    /// The last entry that was taken in, also one that waits. `None` if the room counts itself, or is not open yet.
    pub(super) cursor: Option<Cursor>,
    /// The last entry of which something is in the logs: the next process goes on behind it after a crash.
    pub(super) reached: Option<Cursor>,
    /// Numbers below this have been noted for the case of a crash.
    noted: u64,
    /// Lines that came again: the epoch, the number of the first of them, and how many. They are not missing.
    pub(super) repeated: Vec<(u64, u64, u32)>,
    /// Entries that were taken in and are not the next ones behind the last of their epoch: only before these can lines be
    /// missing.
    pub(super) jumps: Vec<Cursor>,
    /// The epochs before this one.
    pub(super) past: Epochs,
}

/// What comes before an entry that is next in the order of all nodes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Before {
    /// So many lines are gone that the members have not got.
    pub(super) missing: u64,
    /// The numbers go back, so the lines before have other ones.
    pub(super) is_back: bool,
    /// Another epoch begins.
    pub(super) begins: bool,
}

impl Numbers {
    pub(super) fn new(said: u64, epoch: u64) -> Self {
        Self {
            epoch,
            said,
            cursor: None,
            reached: None,
            noted: said,
            repeated: Vec::new(),
            jumps: Vec::new(),
            past: Epochs::default(),
        }
    }

    /// Goes on counting where another process has stopped.
    pub(super) fn go_on_after(&mut self, said: u64, epoch: u64) {
        (self.said, self.noted, self.epoch) = (said, said, epoch);
    }

    /// Goes on behind an entry.
    pub(super) fn open_at(&mut self, cursor: Cursor) {
        (self.cursor, self.reached) = (Some(cursor), Some(cursor));
    }

    /// An entry with this place is to be taken in. Returns whether it is new: not one that was taken in before.
    pub(super) fn take(&mut self, cursor: Cursor) -> bool {
        let Some(last) = self.cursor.filter(|last| *last < cursor) else { return false };
        self.cursor = Some(cursor);
        let is_first = last.epoch < cursor.epoch && cursor.entry == 1;
        if !cursor.is_next_to(last) && !is_first && self.jumps.len() < MAX_JUMPS {
            self.jumps.push(cursor);
        }
        true
    }

    /// Lines have come again, with these numbers.
    pub(super) fn repeat(&mut self, stamp: &Stamp, lines: u32) {
        if self.take(stamp.cursor) && lines > 0 {
            self.repeated.push((stamp.cursor.epoch, stamp.seq, lines));
        }
    }

    /// The numbers from here on are those of an entry, of which `done` lines are in the logs already.
    pub(super) fn go_to(&mut self, stamp: &Stamp, done: u32) -> Before {
        let (epoch, said) = (stamp.cursor.epoch, stamp.seq.clamp(1, MOST) - 1 + u64::from(done));
        let is_between = |one: &&(u64, u64, u32)| one.0 == epoch && (self.said + 1..=said).contains(&one.1);
        let repeated = self.repeated.iter().filter(is_between).map(|one| u64::from(one.2)).sum();
        let first_again = self.repeated.iter().filter(|one| one.0 == epoch).map(|one| one.1).min();
        self.repeated.retain(|one| one.0 > epoch || (one.0 == epoch && one.1 > said));
        let has_jumped = self.jumps.iter().any(|jump| *jump <= stamp.cursor);
        self.jumps.retain(|jump| *jump > stamp.cursor);
        let missing = said.saturating_sub(self.said).saturating_sub(repeated);
        let (is_back, begins) = (said < self.said, epoch != self.epoch);
        if begins {
            self.past.push(self.epoch, self.said);
            // What has come again has other numbers now.
            self.past.go_on_after(first_again.map_or(said, |first| said.min(first.saturating_sub(1))));
        }
        (self.epoch, self.said) = (epoch, said);
        Before { missing: if has_jumped { missing } else { 0 }, is_back, begins }
    }

    /// Returns the number of the last line that somebody has who has those up to `seq` of an epoch; 0 if nothing is known
    /// of it. Another node may be in a later epoch, and knows the lines of this one.
    pub(super) fn last_known(&self, seq: u64, epoch: u64) -> u64 {
        let is_ahead = self.cursor.is_some() && epoch > self.epoch;
        let last = if epoch == self.epoch || is_ahead { Some(self.said) } else { self.past.last(epoch) };
        seq.min(last.unwrap_or(0))
    }

    /// Returns the epoch for the note of the room.
    pub(super) fn noted_epoch(&self) -> u64 {
        self.reached.map_or(self.epoch, |reached| reached.epoch)
    }

    /// Returns below what the numbers of its lines are to be noted, if they are not.
    pub(super) fn number_to_note(&mut self) -> Option<u64> {
        (self.said >= self.noted).then(|| {
            self.noted = self.said + NUMBERS_AT_ONCE;
            self.noted
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn stamp(epoch: u64, entry: u64, seq: u64) -> Stamp {
        Stamp { cursor: Cursor { epoch, entry }, seq, time: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn what_is_missing_is_counted() {
        let mut numbers = Numbers::new(7, 1);
        numbers.open_at(Cursor { epoch: 1, entry: 0 });
        let entries = [(1, 1), (1, 3), (2, 1), (3, 1), (4, 7)];
        assert!(entries.into_iter().all(|(epoch, entry)| numbers.take(Cursor { epoch, entry })));
        let before = |missing, is_back, begins| Before { missing, is_back, begins };
        assert_eq!(numbers.go_to(&stamp(1, 1, 8), 0), before(0, false, false));
        assert_eq!(numbers.go_to(&stamp(1, 3, 12), 0), before(4, false, false));
        assert_eq!(numbers.go_to(&stamp(2, 1, 90), 0), before(0, false, true), "another epoch");
        assert_eq!(numbers.go_to(&stamp(3, 1, 1), 0), before(0, true, true));
        assert_eq!((numbers.epoch, numbers.said), (3, 0));
        assert_eq!(
            numbers.go_to(&stamp(4, 7, 6), 0),
            before(5, false, true),
            "the first of an epoch were trimmed"
        );
        numbers.said = 2;
        let before_rest = numbers.go_to(&stamp(4, 1, 1), 2);
        assert_eq!(before_rest, before(0, false, false), "its first two lines are in the logs");
    }

    #[test]
    fn numbers_of_epochs_before_count_as_far_as_later_ones_went_on_from_them() {
        let mut numbers = Numbers::new(0, 1);
        let go_to = |numbers: &mut Numbers, epoch, seq| {
            numbers.go_to(&stamp(epoch, 1, seq), 0);
            numbers.said = seq + 9;
            [1, 2, 3, 9].map(|epoch| numbers.last_known(25, epoch))
        };
        assert_eq!(go_to(&mut numbers, 1, 1), [10, 0, 0, 0]);
        assert_eq!(go_to(&mut numbers, 2, 14), [10, 23, 0, 0]);
        numbers.repeated.push((3, 22, 2));
        assert_eq!(go_to(&mut numbers, 3, 24), [10, 21, 25, 0], "22 and 23 were lost, and have come again");
        assert_eq!(go_to(&mut numbers, 4, 6), [5, 5, 5, 0]);
        for epoch in 5..100 {
            go_to(&mut numbers, epoch, 6);
        }
        assert_eq!([82, 83].map(|epoch| numbers.past.last(epoch)), [None, Some(5)]);
        assert_eq!(numbers.last_known(7, 200), 0);
        numbers.open_at(Cursor { epoch: 99, entry: 1 });
        assert_eq!(numbers.last_known(7, 200), 7, "another node is ahead");
    }

    /// The next process goes on with the next entry after a crash amid one, and somebody may have made the number up.
    #[test]
    fn nothing_is_missing_before_the_next_entry() {
        let mut numbers = Numbers::new(7, 1);
        numbers.open_at(Cursor { epoch: 1, entry: 1 });
        numbers.take(Cursor { epoch: 1, entry: 2 });
        assert_eq!(numbers.go_to(&stamp(1, 2, 12), 0), Before::default());
        assert_eq!(numbers.said, 11);
    }

    #[test]
    fn what_has_come_again_is_not_missing() {
        let mut numbers = Numbers::new(7, 1);
        numbers.open_at(Cursor { epoch: 1, entry: 1 });
        numbers.repeat(&stamp(1, 2, 8), 3);
        numbers.repeat(&stamp(1, 2, 8), 3);
        numbers.repeat(&stamp(1, 3, 11), 2);
        assert!(numbers.take(Cursor { epoch: 1, entry: 5 }));
        numbers.repeat(&stamp(1, 7, 20), 1);
        assert!(numbers.take(Cursor { epoch: 1, entry: 8 }));
        assert_eq!(numbers.go_to(&stamp(1, 5, 14), 0).missing, 1, "13 alone");
        assert_eq!(numbers.go_to(&stamp(1, 8, 21), 0).missing, 6, "14 to 19");
        assert!(numbers.repeated.is_empty() && numbers.jumps.is_empty());
    }

    #[test]
    fn an_entry_is_taken_once_and_only_by_an_open_room() {
        let mut numbers = Numbers::new(0, 1);
        let at = |epoch, entry| Cursor { epoch, entry };
        assert!(!numbers.take(at(1, 1)), "it is not open");
        numbers.open_at(at(1, 1));
        let taken = [at(1, 1), at(1, 2), at(1, 2), at(2, 1), at(1, 3)].map(|cursor| numbers.take(cursor));
        assert_eq!(taken, [false, true, false, true, false]);
    }

    #[test]
    fn numbers_that_nobody_can_count_on_are_not_believed() {
        let mut numbers = Numbers::new(0, 1);
        numbers.go_to(&stamp(1, 1, u64::MAX), 7);
        assert!(numbers.said < u64::MAX / 2 + 7);
        numbers.go_to(&stamp(1, 1, 0), 0);
        assert_eq!(numbers.said, 0);
    }
}
