//! Arrivals: what the hub does when a session comes in.

use std::sync::Arc;

use super::activity::Activity;
use super::archiving;
use super::directory::{Directory, Place};
use super::id::{Now, RoomId, SessionId};
use super::input::Arrival;
use super::member::Member;
use super::overheard;
use super::sink::Sink;
use crate::protocol::{Form, Name, Notice, View, Who};

/// A session comes in.
pub(super) fn join(
    directory: &mut Directory,
    id: SessionId,
    sink: Arc<dyn Sink>,
    arrival: Arrival,
    now: Now,
) {
    let Arrival { view, room, verified, greeting } = arrival;
    // A room that the operator has configured does not count against `max_rooms`.
    let room = room.map_or(RoomId::MAIN, |name| directory.room_or_new(&name));
    let form = Form::new(view, false);
    let member = Member::new(id, sink, 0, Activity::since(now.wall));
    directory.insert(Box::new(member), Place { room, form }, now);
    directory.tell(id, |form, out| greet(&greeting, form, out));
    if let Some(name) = verified {
        verify(directory, id, name);
    }
    if view != View::Plain {
        directory.introduce(id, now);
    }
    directory.changed.push(id);
    archiving::tell(directory, id);
    overheard::tell_member(directory, id);
}

/// Gives a session its name from the kernel. Makes guests of the members that have taken this name, or one that looks
/// like it.
fn verify(directory: &mut Directory, id: SessionId, name: Name) {
    let holders: Vec<SessionId> = directory.names.holders(&name).collect();
    for holder in holders {
        let name = name.to_string();
        directory.depose(holder, |_, now| Notice::Deposed { name, now });
    }
    directory.give_name(id, Who { id: id.0, name, verified: true });
}

/// What a session is sent first; to a program, as an object for each line.
fn greet(greeting: &[u8], form: Form, out: &mut Vec<u8>) {
    if form.view() != View::Json {
        return out.extend_from_slice(greeting);
    }
    String::from_utf8_lossy(greeting)
        .lines()
        .for_each(|line| form.notice(&Notice::Greeting { greeting: line.to_owned() }, out));
}
