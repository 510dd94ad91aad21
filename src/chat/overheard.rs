//! What operators hear of rooms that they are not in.
//!
//! They are not waited for: what one that does not read cannot be owed any more is lost, and it is told how many lines.

use std::sync::Arc;

use super::archive::Archived;
use super::directory::Directory;
use super::id::{RoomId, SessionId};
use super::pending::MOST_OWED;
use crate::protocol::{Form, Name, Notice, View};

/// Tells a member of its new room if an operator hears it without being in it.
pub(super) fn tell_member(directory: &mut Directory, id: SessionId) {
    if directory.place(id).is_some_and(|place| directory.room(place.room).outbox.is_overheard) {
        directory.notify(id, &Notice::Watched);
    }
}

/// Passes on what a room has taken in.
pub(super) fn pass_on(directory: &mut Directory, id: RoomId, taken: &[Archived]) {
    let Some(Archived { room, .. }) = taken.first() else { return };
    for watcher in watchers(directory, id, room) {
        for one in taken {
            let Some(member) = directory.member(watcher) else { break };
            if member.owed_bytes() <= MOST_OWED {
                directory.tell(watcher, |form, out| encode(one, form, out));
            } else if let Some(feed) = directory.feed(watcher) {
                feed.change(watcher, |member, _| member.progress.missed += one.lines());
            }
        }
    }
}

/// Lines of a room are gone that those who hear it without being there were to get.
pub(super) fn miss(directory: &mut Directory, id: RoomId, lines: u64) {
    let Some(room) = directory.get_room(id).filter(|room| room.outbox.is_overheard) else { return };
    let name = Arc::clone(room.name());
    let watchers: Vec<SessionId> = watchers(directory, id, &name);
    for watcher in watchers {
        if let Some(feed) = directory.feed(watcher) {
            feed.change(watcher, |member, _| member.progress.missed += lines);
        }
    }
}

/// Returns those who hear a room without being there.
fn watchers(directory: &Directory, id: RoomId, room: &Name) -> Vec<SessionId> {
    let is_elsewhere = |one: &SessionId| directory.place(*one).is_some_and(|place| place.room != id);
    directory.operators.watchers(room).filter(is_elsewhere).collect()
}

/// Encodes something of another room: in `json` it has the name of the room, otherwise `[room] ` stands before each line.
fn encode(taken: &Archived, form: Form, out: &mut Vec<u8>) {
    let (text, _) = taken.encoded(form);
    if form.view() == View::Json {
        return out.extend_from_slice(&text);
    }
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(format!("[{}] ", taken.room).as_bytes());
        out.extend_from_slice(line);
    }
}
