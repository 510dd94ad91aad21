//! Names taken: what `/nick` asks for, and what follows when the roster has given it.

use std::sync::Arc;

use super::act::{Act, Claim};
use super::archiving;
use super::directory::{Directory, Place};
use super::entry::Entry;
use super::id::{Now, SessionId};
use super::keys;
use super::opening;
use crate::protocol::{Form, Key, Name, Notice, View, Who};

/// Claims a name for a session, which is answered when the claim has its place.
pub(super) fn claim(
    directory: &mut Directory,
    from: SessionId,
    name: Name,
    key: Option<Key>,
) -> Option<Notice> {
    let place = directory.place(from)?;
    let form = form_with_name(directory, from)?;
    if let Some(refusal) = opening::no_memory(directory, Place { form, ..place }) {
        return Some(refusal);
    }
    let new_key = (form.view() == View::Json).then(keys::new_key).flatten();
    let room = Name::clone(directory.room(place.room).name());
    directory.ask(from, Act::Claimed(Claim { id: from, room, name, key, new_key }));
    None
}

/// Returns the form in which a session sees lines when it has a name: with the first one, a view with names.
fn form_with_name(directory: &Directory, id: SessionId) -> Option<Form> {
    let (member, form) = (directory.member(id)?, directory.place(id)?.form);
    let is_first = member.name().is_none() && form.view() == View::Plain;
    Some(if is_first { form.with(View::Names, member.times) } else { form })
}

/// A session has the name that the roster says; the others in its room are told. Returns whether its input waits until
/// they are.
pub(super) fn take(directory: &mut Directory, id: SessionId, key: Option<Key>, now: Now) -> bool {
    let Some(who) = directory.roster.name_of(id).cloned() else { return false };
    let Some(form) = form_with_name(directory, id) else { return false };
    let Some(member) = directory.member_mut(id) else { return false };
    let before = member.who();
    let is_known = member.is_present || std::mem::take(&mut member.has_spoken);
    let is_other = before.name != who.name;
    member.who = Some(Arc::clone(&who));
    directory.change_form(id, form, now);
    let mut waits = false;
    if !is_known {
        directory.introduce(id, now);
    } else if is_other {
        directory.member_mut(id).into_iter().for_each(|member| member.is_present = true);
        waits = renamed(directory, id, before, now);
    }
    directory.changed.push(id);
    let key = key.filter(|_| form.view() == View::Json);
    directory.notify(id, &Notice::Named { name: who.name.to_string(), key });
    archiving::tell(directory, id);
    waits
}

/// Announces the new name of a session, if others know it under the name before. Returns whether its input waits
/// until then.
fn renamed(directory: &mut Directory, id: SessionId, before: Arc<Who>, now: Now) -> bool {
    let (Some(place), Some(member)) = (directory.place(id), directory.member_mut(id)) else { return false };
    let who = member.who();
    let presence = &mut directory.room(place.room).presence;
    if presence.renamed(&who) {
        return false;
    }
    if presence.has_left(&who.name) {
        // First that the other one is gone.
        directory.tell_presence_now(place.room, now);
    }
    directory.wait_for_place(id);
    directory.submit(place.room, Entry::Renamed { from: before, to: who, asked: Some(id) });
    true
}
