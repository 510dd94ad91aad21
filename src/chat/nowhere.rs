//! Nowhere: where operators are who are in no room, for their commands alone.
//!
//! To the hub it is a room in which nothing is said. No list has it, and no other node knows who is there, so an operator
//! gets in while the engine of several nodes is away.

use std::sync::Arc;

use super::act::Act;
use super::activity::Activity;
use super::directory::{Directory, Place};
use super::id::{Now, RoomId, SessionId};
use super::member::Member;
use super::orders;
use super::outage;
use super::sequencer::Item;
use super::sink::{Signal, Sink};
use crate::protocol::{Form, Name, Notice, Proof, View, Who};

/// An operator comes in who wants to be in no room.
pub(super) fn begin(
    directory: &mut Directory,
    id: SessionId,
    sink: Arc<dyn Sink>,
    verified: Option<Name>,
    now: Now,
) {
    let mut member = Member::new(id, Arc::clone(&sink), 0, Activity::since(now.wall));
    member.who = verified.map(|name| Arc::new(Who { id: id.0, name, verified: true }));
    let place = Place { room: RoomId::NOWHERE, form: Form::new(View::Json, false) };
    directory.insert(Box::new(member), place, now);
    directory.changed.push(id);
    sink.signal(Signal::Taken);
    outage::tell_member(directory, id);
}

/// A session wants to be in no room, or is there already. `line` is what it typed, for the log.
pub(super) fn go(directory: &mut Directory, id: SessionId, line: &[u8], now: Now) {
    let Some(place) = directory.place(id) else { return };
    if !directory.operators.is_operator(id) {
        orders::log_refused(directory, id, &Notice::NotOperator, line);
        return directory.notify(id, &Notice::NotOperator);
    }
    if place.room != RoomId::NOWHERE {
        leave(directory, id, place, now);
    }
    directory.notify(id, &Notice::Operating);
}

/// An operator leaves its room. It keeps a verified name, which it does not hold any more.
fn leave(directory: &mut Directory, id: SessionId, place: Place, now: Now) {
    let is_listed = directory.node().is_some() || directory.roster.has(id);
    let Some(member) = directory.member_mut(id) else { return };
    let (who, times) = (member.who(), member.times);
    let is_present = std::mem::take(&mut member.is_present);
    member.who.take_if(|who| !who.verified);
    let form = place.form.with(View::Json, times);
    directory.relocate(id, Place { room: RoomId::NOWHERE, form }, now);
    directory.changed.push(id);
    if is_present {
        directory.room(place.room).presence.left(Who::clone(&who));
        directory.tell_presence(place.room, now);
    }
    if is_listed {
        directory.sequencer.submit(Item::Act(Act::Left(id)));
    }
    directory.drop_if_empty(place.room, now);
}

/// Returns the name of an operator who was here in the process before, which may have been of another node. The roster,
/// which sees to that for all others, does not have it.
pub(super) fn name(directory: &Directory, member: &Member) -> Option<Arc<Who>> {
    let who = member.name().filter(|who| who.verified)?;
    let node = directory.node().filter(|_| member.proof() == Proof::Kernel);
    Some(Arc::new(Who { id: who.id, name: who.name.at(node.as_deref()), verified: true }))
}
