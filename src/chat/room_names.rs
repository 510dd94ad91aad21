//! Which room is called what: a room is found by every name that looks like its own.

use std::collections::HashMap;

use super::id::RoomId;
use crate::protocol::Name;

/// The rooms by all names that look like theirs.
#[derive(Debug, Default)]
pub(super) struct RoomNames(HashMap<Box<str>, RoomId>);

impl RoomNames {
    /// Returns the room that is called that, or something that looks like it.
    pub(super) fn find(&self, name: &Name) -> Option<RoomId> {
        name.keys().find_map(|key| self.0.get(key)).copied()
    }

    pub(super) fn insert(&mut self, name: &Name, id: RoomId) {
        self.0.extend(name.keys().map(|key| (key.into(), id)));
    }

    pub(super) fn rename(&mut self, before: &Name, name: &Name, id: RoomId) {
        self.remove(before);
        self.insert(name, id);
    }

    pub(super) fn remove(&mut self, name: &Name) {
        name.keys().for_each(|key| {
            self.0.remove(key);
        });
    }
}
