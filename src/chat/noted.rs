//! What is noted for the case of a crash, of rooms above all.
//!
//! A room of one process has a note with a number that it will not reach for a while, so it seldom needs another. With
//! several nodes a room has two notes, which are exact: the number of its last line, and its last entry. The next process
//! goes on behind that.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use super::directory::Directory;
use super::id::RoomId;
use super::room::Room;
use super::room_note;
use crate::protocol::Name;

/// Stores notes, which are short texts with a number, for the case of a crash: see [`HubSnapshot::from_notes`].
///
/// [`HubSnapshot::from_notes`]: super::HubSnapshot::from_notes
pub trait Notes: Debug + Send {
    /// Stores a note, or replaces its number. A crash loses a note for which there is no space.
    fn set(&mut self, text: &str, number: u64);
    /// Removes a note.
    fn forget(&mut self, text: &str);
    /// Returns the texts of all notes.
    fn texts(&self) -> Vec<String>;
}

/// The notes, if there are any, and what is to be noted.
#[derive(Debug, Default)]
pub(super) struct Noted {
    notes: Option<Box<dyn Notes>>,
    /// Rooms have their numbers from the engine.
    is_exact: bool,
    /// Rooms that go on behind an entry.
    rooms: HashMap<RoomId, Texts>,
    /// Rooms that are further than was noted.
    behind: Vec<RoomId>,
}

/// The texts of the notes of a room.
#[derive(Debug)]
struct Texts {
    epoch: u64,
    name: Arc<Name>,
    /// That of its last line, and that of its last entry.
    texts: [String; 2],
}

impl Noted {
    /// From now on there are notes, and exact ones if rooms have their numbers from the engine. Those of the process before that are not among `known` are removed.
    pub(super) fn begin(&mut self, mut notes: Box<dyn Notes>, known: &HashSet<String>, is_exact: bool) {
        notes.texts().iter().filter(|text| !known.contains(*text)).for_each(|text| notes.forget(text));
        (self.notes, self.is_exact) = (Some(notes), is_exact);
    }

    pub(super) fn is_on(&self) -> bool {
        self.notes.is_some()
    }

    /// Stores a note, or removes it.
    pub(super) fn put(&mut self, text: &str, number: Option<u64>) {
        match (&mut self.notes, number) {
            (Some(notes), Some(number)) => notes.set(text, number),
            (Some(notes), None) => notes.forget(text),
            (None, _) => {}
        }
    }

    /// Notes below what the numbers of a room's lines are, if it counts them itself.
    pub(super) fn note_number(&mut self, room: &mut Room) {
        let Some(notes) = self.notes.as_mut().filter(|_| !self.is_exact) else { return };
        if let Some(below) = room.numbers.number_to_note() {
            notes.set(&room.note(), below);
        }
    }

    /// A room has taken something in that the engine has given: that is to be noted.
    pub(super) fn mark(&mut self, id: RoomId) {
        if self.notes.is_some() {
            self.behind.push(id);
        }
    }

    /// Notes how far those rooms are, each once.
    pub(super) fn note_marked(&mut self, directory: &Directory) {
        let mut behind = std::mem::take(&mut self.behind);
        behind.sort_unstable();
        behind.dedup();
        for id in behind {
            directory.rooms().get(&id).into_iter().for_each(|room| self.note_entry(id, room));
        }
    }

    /// Notes the last line and the last entry of a room: first the line, since a number that is too large does no harm.
    fn note_entry(&mut self, id: RoomId, room: &Room) {
        let Some(reached) = room.numbers.reached else { return };
        let is_known = |known: &Texts| known.epoch == reached.epoch && Arc::ptr_eq(&known.name, room.name());
        if !self.rooms.get(&id).is_some_and(is_known) {
            self.forget_entry(id);
            let (epoch, name) = (reached.epoch, Arc::clone(room.name()));
            let texts = [room_note::write(epoch, &name), room_note::write_entry(epoch, &name)];
            self.rooms.insert(id, Texts { epoch, name, texts });
        }
        if let (Some(notes), Some(Texts { texts: [line, entry], .. })) =
            (&mut self.notes, self.rooms.get(&id))
        {
            notes.set(line, room.said());
            notes.set(entry, reached.entry);
        }
    }

    /// A room is gone.
    pub(super) fn forget(&mut self, id: RoomId, room: &Room) {
        if self.notes.is_some() {
            self.put(&room.note(), None);
            self.forget_entry(id);
        }
    }

    fn forget_entry(&mut self, id: RoomId) {
        if let Some(Texts { texts, .. }) = self.rooms.remove(&id) {
            texts.iter().for_each(|text| self.put(text, None));
        }
    }
}
