//! How many restarts and crashes connections have survived, since the service was started.
//!
//! The numbers are notes in the crash table, which both a restart and a crash leave to the next process.

use jiff::Timestamp;

use crate::net::crash_table::Notes;

/// The notes, by their texts.
const RESTARTS: &str = "restarts";
const CRASHES: &str = "crashes";
const BEGAN: &str = "began";

/// The numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survived {
    /// Number of planned restarts.
    pub restarts: u64,
    /// Number of crashes.
    pub crashes: u64,
    /// When the service was started, in seconds since 1970; 0 if not known.
    pub began: u64,
}

impl Survived {
    /// Returns the numbers in the notes of the process before; 0 for what is missing.
    pub(super) fn read(notes: &[(String, u64)]) -> Self {
        let number =
            |name: &str| notes.iter().find(|(text, _)| text == name).map_or(0, |(_, number)| *number);
        Self { restarts: number(RESTARTS), crashes: number(CRASHES), began: number(BEGAN) }
    }

    /// Returns the same, with the service started at `now` if that is not known.
    pub fn or_begun(self, now: Timestamp) -> Self {
        let now = u64::try_from(now.as_second()).unwrap_or(0);
        Self { began: if self.began == 0 { now } else { self.began }, ..self }
    }

    /// Writes the numbers for the next process.
    pub fn write(self, notes: &mut Notes) {
        for (name, number) in [(RESTARTS, self.restarts), (CRASHES, self.crashes), (BEGAN, self.began)] {
            if let Err(error) = notes.set(name, number) {
                // It costs a number in the metrics, and nothing else.
                log::debug!("cannot store the number of {name} for the next process: {error}");
            }
        }
    }

    /// Returns whether a note is one of these.
    pub(super) fn has(text: &str) -> bool {
        [RESTARTS, CRASHES, BEGAN].contains(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat;
    use crate::net::crash_table::CrashTable;
    use std::os::fd::AsFd;

    #[test]
    fn the_numbers_go_from_process_to_process_and_the_hub_does_not_see_them() {
        let table = CrashTable::new().unwrap();
        let file = table.as_fd().try_clone_to_owned().unwrap();
        let mut notes = table.notes().unwrap();
        notes.set("room 1 main", 5).unwrap();
        assert_eq!(Survived::read(&[]), Survived::default());
        let survived = Survived { restarts: 7, crashes: 2, began: 1000 };
        survived.write(&mut notes);
        assert_eq!(chat::Notes::texts(&notes), ["room 1 main"]);
        drop((notes, table));
        let (_, left) = CrashTable::take_over(file).unwrap();
        assert_eq!(Survived::read(&left.notes), survived);
    }
}
