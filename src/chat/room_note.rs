//! The note of a room, for the case of a crash: its epoch and its name, as a text. The number of the note covers the
//! numbers of its lines.

use crate::protocol::Name;

/// What a note of a room begins with.
const NOTE: &str = "room ";

/// The text of the note of a room.
pub(super) fn write(epoch: u64, name: &Name) -> String {
    format!("{NOTE}{epoch} {name}")
}

/// The epoch and the name in a note of a room; `None` if the note is of something else.
pub(super) fn read(text: &str) -> Option<(u64, Name)> {
    let (epoch, name) = text.strip_prefix(NOTE)?.split_once(' ')?;
    Some((epoch.parse().ok()?, Name::parse(name).ok()?))
}
