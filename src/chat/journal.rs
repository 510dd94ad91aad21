//! What is written down of a house while it is in use, for the case that its process dies: who everybody is, where,
//! and how lines are shown to them. Nothing of what is said.
//!
//! Only changes are noted, and nothing of a session that has asked for nothing: most come and go without a note. How
//! notes are kept is not known here.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::handover::Standing;
use super::house::{House, RoomId};
use super::member::SessionId;
use crate::protocol::Name;

/// Numbers of lines are noted so many at a time: after a crash a room goes on with the first that was not.
pub const SAID_AT_ONCE: u64 = 4096;

/// One thing that is noted; it takes the place of what was noted before of the same session or room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// Who a session is.
    Standing(Standing),
    /// A session is gone.
    Gone(SessionId),
    /// Lines have been said in a room.
    Said {
        /// Its name.
        room: Name,
        /// Their numbers are below this.
        below: u64,
    },
}

/// Where notes are kept.
pub trait Journal: Debug + Send {
    /// Keeps a note. What cannot be kept is told to the log, and lost if the process dies.
    fn note(&mut self, note: &Note);

    /// Says whether there are so many notes that it is time for [`Journal::begin_anew`].
    fn is_long(&self) -> bool;

    /// Keeps these notes instead of all that it has.
    fn begin_anew(&mut self, notes: &[Note]);
}

impl House {
    /// Notes in `journal`, from now on, what there is and what changes.
    pub fn keep_journal(&mut self, mut journal: Box<dyn Journal>) {
        journal.begin_anew(&self.notes());
        self.journal = Some(journal);
    }

    /// Notes who a session is now, unless there is nothing to be known of it.
    pub(super) fn note(&mut self, id: SessionId) {
        let Some(profile) = self.profiles.get(&id).filter(|_| self.journal.is_some()) else { return };
        let standing = without_guest(self.standing(profile));
        if profile.is_noted || standing != Standing::plain(id) {
            self.write(&Note::Standing(standing));
            self.profiles.entry(id).and_modify(|profile| profile.is_noted = true);
        }
    }

    /// Notes that a session is gone.
    pub(super) fn note_gone(&mut self, id: SessionId) {
        self.write(&Note::Gone(id));
    }

    /// Notes that lines have been said in a room, if there is reason to.
    pub(super) fn note_said(&mut self, id: RoomId) {
        if self.journal.is_none() {
            return;
        }
        let Some(below) = self.room(id).said_to_note() else { return };
        let note = Note::Said { room: self.room(id).name().clone(), below };
        self.write(&note);
    }

    fn write(&mut self, note: &Note) {
        let Some(journal) = &mut self.journal else { return };
        journal.note(note);
        if journal.is_long() {
            let notes = self.notes();
            if let Some(journal) = &mut self.journal {
                journal.begin_anew(&notes);
            }
        }
    }

    /// All that is to be known after a crash.
    fn notes(&self) -> Vec<Note> {
        let standings = self.profiles.values().map(|profile| without_guest(self.standing(profile)));
        let standings = standings.filter(|standing| *standing != Standing::plain(standing.id));
        let rooms = self.rooms.values().filter_map(|room| {
            let below = room.said_noted();
            (below > 0).then(|| Note::Said { room: room.name().clone(), below })
        });
        standings.map(Note::Standing).chain(rooms).collect()
    }
}

/// What it is called as a guest follows from its number.
fn without_guest(standing: Standing) -> Standing {
    let who = standing.who.filter(|who| !who.name.is_guest());
    Standing { who, has_spoken: false, ..standing }
}
