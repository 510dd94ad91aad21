//! What operators hear of rooms that they are not in.
//!
//! They are not waited for: what one that does not read cannot be owed any more is lost, and it is told how many lines.

use super::archive::Archived;
use super::directory::Directory;
use super::id::{RoomId, SessionId};
use super::pending::MOST_OWED;
use crate::protocol::{Form, Notice, View};

/// Tells a member of its new room if an operator hears it without being in it.
pub(super) fn tell_member(directory: &mut Directory, id: SessionId) {
    if directory.place(id).is_some_and(|place| directory.room(place.room).outbox.is_overheard) {
        directory.notify(id, &Notice::Watched);
    }
}

/// Passes on what a room has taken in.
pub(super) fn pass_on(directory: &mut Directory, id: RoomId, taken: &[Archived]) {
    let Some(Archived { room, .. }) = taken.first() else { return };
    let is_elsewhere = |one: &SessionId| directory.place(*one).is_some_and(|place| place.room != id);
    let watchers: Vec<SessionId> = directory.operators.watchers(room).filter(is_elsewhere).collect();
    for watcher in watchers {
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
