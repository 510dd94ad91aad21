//! Which room is called what: a room is found by every name that looks like its own.

use std::collections::HashMap;

use crate::protocol::Name;

/// Returns the name that stands for no room where that of a room is stored: no room can be called so.
pub(super) fn nowhere() -> Name {
    Name::guest(0)
}

/// The rooms by all names that look like theirs.
#[derive(Debug)]
pub(super) struct RoomNames<T>(HashMap<Box<str>, T>);

impl<T> Default for RoomNames<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Copy> RoomNames<T> {
    /// Returns the room that is called that, or something that looks like it.
    pub(super) fn find(&self, name: &Name) -> Option<T> {
        name.keys().find_map(|key| self.0.get(key)).copied()
    }

    pub(super) fn insert(&mut self, name: &Name, id: T) {
        self.0.extend(name.keys().map(|key| (key.into(), id)));
    }

    pub(super) fn rename(&mut self, before: &Name, name: &Name, id: T) {
        self.remove(before);
        self.insert(name, id);
    }

    pub(super) fn remove(&mut self, name: &Name) {
        name.keys().for_each(|key| {
            self.0.remove(key);
        });
    }
}
