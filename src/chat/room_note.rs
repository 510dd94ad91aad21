//! The note of a room, for the case of a crash: its epoch and its name, as a text. The number of the note covers the
//! numbers of its lines.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::protocol::Name;

/// What a note of a room begins with.
const NOTE: &str = "room ";

/// What a note of the last entry of a room begins with.
const ENTRY_NOTE: &str = "at ";

/// The text of the note of a room.
pub(super) fn write(epoch: u64, name: &Name) -> String {
    format!("{NOTE}{epoch} {name}")
}

/// The text of the note of the last entry of a room: its number is that of the entry in its epoch.
pub(super) fn write_entry(epoch: u64, name: &Name) -> String {
    format!("{ENTRY_NOTE}{epoch} {name}")
}

/// What is noted of a room.
pub(super) struct RoomNote {
    pub(super) name: Name,
    pub(super) epoch: u64,
    /// The number of its note, and that of its last entry.
    pub(super) number: u64,
    pub(super) entry: Option<u64>,
}

/// Returns what is noted of rooms. Of several with the same name, that is the one with the largest epoch.
pub(super) fn read_all(notes: &[(String, u64)]) -> Vec<RoomNote> {
    let key = |epoch, name: &Name| (epoch, name.as_str().to_owned());
    let entry =
        |(text, entry): &(String, u64)| read_entry(text).map(|(epoch, name)| (key(epoch, &name), *entry));
    let entries: HashMap<(u64, String), u64> = notes.iter().filter_map(entry).collect();
    let room = |(text, number): &(String, u64)| {
        let (epoch, name) = read(text)?;
        let entry = entries.get(&key(epoch, &name)).copied();
        Some(RoomNote { name, epoch, number: *number, entry })
    };
    let mut rooms: Vec<RoomNote> = notes.iter().filter_map(room).collect();
    rooms.sort_by_key(|room| Reverse(room.epoch));
    let mut names = HashSet::new();
    rooms.retain(|room| names.insert(room.name.as_str().to_owned()));
    rooms
}

/// The epoch and the name in a note of a room; `None` if the note is of something else.
fn read(text: &str) -> Option<(u64, Name)> {
    read_after(NOTE, text)
}

/// The epoch and the name in a note of the last entry of a room; `None` if the note is of something else.
fn read_entry(text: &str) -> Option<(u64, Name)> {
    read_after(ENTRY_NOTE, text)
}

fn read_after(beginning: &str, text: &str) -> Option<(u64, Name)> {
    let (epoch, name) = text.strip_prefix(beginning)?.split_once(' ')?;
    Some((epoch.parse().ok()?, Name::parse(name).ok()?))
}
