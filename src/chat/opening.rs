//! Rooms that the sequencer has yet to open: with several nodes, a room may have members elsewhere long before the first
//! one here. Its name as first written, its numbers and its last lines come from the engine.
//!
//! A session that wants to go to such a room waits, and so does one in it that says something, or asks for its numbers or
//! its lines.

use std::sync::Arc;

use super::directory::{Directory, Place};
use super::id::{Now, RoomId, SessionId};
use super::interpreter::Next;
use super::pending::Wait;
use super::recall::Recalled;
use super::recalling;
use super::room::Placed;
use super::sequencer::{Cursor, Stamp};
use crate::protocol::{Command, Name, Notice};

/// With several nodes: has the sequencer give back what is said in a room, unless it does already.
pub(super) fn open(directory: &mut Directory, id: RoomId) {
    if !directory.cluster.is_on {
        return;
    }
    let room = directory.room(id);
    if !std::mem::replace(&mut room.is_asked, true) {
        let (name, cursor) = (Arc::clone(room.name()), room.numbers.cursor);
        directory.sequencer.open(&name, cursor);
    }
}

/// A room has been restored. If somebody is there, the sequencer goes on with it.
pub(super) fn restore(directory: &mut Directory, id: RoomId, now: Now) {
    directory.room(id).feeds.drop_empty();
    directory.drop_if_empty(id, now);
    if directory.get_room(id).is_some() {
        open(directory, id);
    }
}

/// Returns whether what comes next of a session has to wait for a room to be opened. If so, has it opened.
pub(super) fn is_awaited(directory: &mut Directory, id: SessionId, next: &Next) -> bool {
    let Some(place) = directory.place(id) else { return false };
    match next {
        Next::Ask(Command::Join(name)) => is_joining(directory, id, place, name),
        Next::Say(_) | Next::SayRest | Next::Ask(Command::Me(_) | Command::Last(_) | Command::Sync(_)) => {
            !directory.room(place.room).is_open()
        }
        _ => false,
    }
}

/// Returns whether a session has to wait until the room is open where it wants to go.
fn is_joining(directory: &mut Directory, id: SessionId, place: Place, name: &Name) -> bool {
    let there = directory.room_called(name);
    if there.is_some_and(|there| there == place.room || directory.room(there).is_open()) {
        return false;
    }
    let is_new = there.is_none() && !directory.cluster.wanted.closed().any(|wanted| wanted.looks_like(name));
    if is_new && refusal(directory, place).is_some() {
        return false;
    }
    directory.cluster.wanted.put(name, id);
    if is_new {
        directory.sequencer.open(&Arc::new(name.clone()), None);
    }
    true
}

/// Returns why a session cannot go from its place to a room that is not there yet.
pub(super) fn refusal(directory: &mut Directory, place: Place) -> Option<Notice> {
    // A room that this leaves empty does not count.
    let is_last = place.room != RoomId::MAIN && directory.room(place.room).count() == 1;
    let most = directory.limits.max_rooms;
    let wanted =
        directory.cluster.wanted.closed().filter(|name| directory.room_called(name).is_none()).count();
    if directory.rooms().len() + wanted - usize::from(is_last) >= most {
        return Some(Notice::TooManyRooms { max: most });
    }
    directory.is_crowded.then_some(Notice::NoMemory)
}

/// Returns the refusal of a log that is not there, while chatd is short of memory.
pub(super) fn no_memory(directory: &mut Directory, place: Place) -> Option<Notice> {
    let is_crowded = directory.is_crowded;
    let has_log = directory.room(place.room).feeds().any(|feed| feed.form() == place.form);
    (is_crowded && !has_log).then_some(Notice::NoMemory)
}

/// The sequencer has opened a room, which goes on behind `cursor`. Returns the room; `None` if nobody wants to go there
/// any more.
pub(super) fn opened(
    directory: &mut Directory,
    opened: Recalled,
    cursor: Cursor,
    now: Now,
    placed: &mut Placed,
) -> Option<RoomId> {
    let mut woken = directory.cluster.wanted.take(opened.name());
    woken.retain(|id| directory.member(*id).is_some_and(|member| member.waits_for(Wait::Opened)));
    let there = directory.room_called(opened.name());
    if there.is_none() && woken.is_empty() {
        directory.sequencer.close(opened.name());
        return None;
    }
    let id = there.unwrap_or_else(|| directory.room_or_new(opened.name()));
    directory.rename_room(id, opened.name());
    let limits = directory.limits;
    let room = directory.room(id);
    room.is_asked = true;
    recalling::open_at(room, opened, cursor, &limits, placed);
    if room.count() == 0 && id != RoomId::MAIN {
        directory.cluster.wanted.offer(id, woken.clone());
    }
    placed.asked.extend(lost(directory, id));
    let members = directory.room(id).members();
    woken.extend(members.filter(|member| member.waits_for(Wait::Opened)).map(|member| member.id));
    placed.opened = woken;
    directory.tell_presence(id, now);
    Some(id)
}

/// An entry has come again, at another place, and nobody gets it twice.
pub(super) fn repeated(directory: &mut Directory, name: &Name, stamp: &Stamp, lines: u32) {
    let id = directory.room_called(name);
    if let Some(room) = id.and_then(|id| directory.get_room(id)) {
        room.numbers.repeat(stamp, lines);
    }
}

/// Returns the members of a room who wait for something that the sequencer does not have any more, and that does not
/// wait in the room. It was among the lines that they are told are missing, or the room goes on behind it.
pub(super) fn lost(directory: &Directory, id: RoomId) -> Vec<SessionId> {
    let Some(room) = directory.rooms().get(&id) else { return Vec::new() };
    let waiting = room.members().filter(|member| member.waits_for(Wait::Place)).map(|member| member.id);
    waiting.filter(|id| !is_on_its_way(directory, *id)).collect()
}

/// Returns whether something that a session has sent has yet to come back, or waits in its room.
pub(super) fn is_on_its_way(directory: &Directory, id: SessionId) -> bool {
    let room = directory.place(id).and_then(|place| directory.rooms().get(&place.room));
    let mut waiting = room.into_iter().flat_map(|room| room.waiting());
    directory.sequencer.has(id) || waiting.any(|(entry, _)| entry.asked_by() == Some(id))
}

/// A session has had its turn, or is gone. A room that was opened for it alone, and to which it did not go, is gone.
pub(super) fn end_turn(directory: &mut Directory, id: SessionId, now: Now) {
    if directory.cluster.is_on {
        let over = directory.cluster.wanted.end_turn(id);
        over.into_iter().for_each(|room| directory.drop_if_empty(room, now));
    }
}

#[cfg(test)]
mod tests {
    use crate::chat::script::{Script, at};
    use crate::chat::testing::TestHub;
    use crate::chat::{Arrival, Entry};
    use crate::protocol::{Name, View};

    /// A node whose main room is open.
    fn cluster() -> (TestHub, Script) {
        let script = Script::new();
        let mut hub = TestHub::among_several(&script, |limits| limits.max_rooms = 2);
        script.open("main", at(1, 0), 0);
        hub.settle();
        script.take_calls();
        (hub, script)
    }

    #[test]
    fn a_room_is_opened_before_somebody_goes_there_and_closed_when_nobody_is() {
        let (mut hub, script) = cluster();
        let mut ann = hub.join_as_in_cluster("ann", &script);
        hub.ask(&mut ann, "/join OPS");
        assert!(ann.is_outstanding() && ann.read_all().is_empty());
        assert_eq!(script.take_calls(), ["open OPS"]);
        script.open("ops", at(5, 2), 8);
        hub.settle();
        let heard = ann.read_all();
        assert!(heard.contains("you are in ops now (1 here)"), "as it was first written: {heard}");
        assert!(hub.answer(&mut ann, "/last").contains("before"));
        script.take_submitted();
        hub.ask(&mut ann, "/join main");
        assert_eq!(script.take_calls(), ["close ops"]);
        let told = script.take_submitted();
        assert!(told.iter().any(|entry| matches!(entry, Entry::Left(_))), "others are there: {told:?}");
    }

    #[test]
    fn several_wait_for_one_room_under_names_that_look_alike() {
        let (mut hub, script) = cluster();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.ask(&mut ann, "/join ops");
        hub.ask(&mut ben, "/join OPS");
        assert_eq!(script.take_calls(), ["open ops"]);
        script.open("ops", at(5, 2), 8);
        hub.settle();
        assert!(ann.read_all().contains("(1 here)") && ben.read_all().contains("(2 here)"));
        assert!(script.take_calls().is_empty());
    }

    #[test]
    fn a_room_to_which_nobody_goes_any_more_is_closed() {
        let (mut hub, script) = cluster();
        let mut ann = hub.join();
        hub.ask(&mut ann, "/join ops");
        hub.leave(ann);
        script.open("ops", at(5, 2), 8);
        hub.settle();
        assert_eq!(script.take_calls(), ["open ops", "close ops"]);
        assert_eq!(hub.hub().directory().rooms().len(), 1);
    }

    #[test]
    fn a_room_that_somebody_waits_for_is_not_closed_when_the_last_one_there_leaves() {
        let (mut hub, script) = cluster();
        let mut ann = hub.join();
        hub.ask(&mut ann, "/join ops");
        let arrival = || Arrival { room: Some(Name::parse("OPS").unwrap()), ..Arrival::default() };
        let ben = hub.arrive(arrival());
        hub.leave(ben);
        assert_eq!(script.take_calls(), ["open ops", "open OPS"]);
        script.open("ops", at(5, 2), 8);
        hub.settle();
        assert_eq!(ann.read_all(), "-!- you are in ops now (1 here)\n");
        // It is closed if she is gone before it is open.
        hub.ask(&mut ann, "/join main");
        hub.ask(&mut ann, "/join ops");
        let ben = hub.arrive(arrival());
        hub.leave(ann);
        hub.leave(ben);
        assert_eq!(script.take_calls(), ["close ops", "open ops", "open OPS"]);
        script.open("ops", at(5, 3), 9);
        hub.settle();
        assert_eq!(script.take_calls(), ["close ops"]);
    }

    #[test]
    fn rooms_that_are_being_opened_count() {
        let (mut hub, script) = cluster();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.ask(&mut ann, "/join ops");
        assert!(hub.answer(&mut ben, "/join dev").contains("there are 2 rooms already"));
        script.open("ops", at(5, 2), 8);
        hub.settle();
        assert!(ann.read_all().contains("you are in ops"));
        // The one that she leaves empty does not count.
        script.take_calls();
        hub.ask(&mut ann, "/join dev");
        script.open("dev", at(6, 0), 0);
        hub.settle();
        assert!(ann.read_all().contains("you are in dev"));
        assert_eq!(script.take_calls(), ["open dev", "close ops"]);
    }

    #[test]
    fn the_room_of_a_listener_is_opened_when_somebody_comes_who_says_something_later() {
        let (mut hub, script) = cluster();
        let room = Some(Name::parse("Ops").unwrap());
        let mut ann = hub.arrive(Arrival { room, view: View::Names, ..Arrival::default() });
        assert_eq!(script.take_calls(), ["open Ops"]);
        hub.say(&mut ann, "hello\n");
        assert!(ann.is_outstanding() && script.submitted() == 0);
        script.open("ops", at(5, 2), 8);
        hub.settle();
        assert_eq!(script.submitted(), 2, "that she is there, and what she says");
        let mut ben = hub.join();
        assert!(hub.answer(&mut ben, "/join OPS").contains("you are in ops now"));
        hub.leave(ann);
        hub.leave(ben);
        assert_eq!(script.take_calls(), ["close ops"]);
    }

    #[test]
    fn a_session_that_goes_on_in_another_process_asks_again() {
        let (mut hub, script) = cluster();
        let mut ann = hub.join();
        hub.ask(&mut ann, "/join ops");
        let mut people = [ann];
        hub.move_on(&mut people);
        assert_eq!(script.take_calls(), ["open ops", "open main after 1-0", "open ops"]);
        script.open("ops", at(5, 2), 8);
        hub.settle();
        assert!(people[0].read_all().contains("you are in ops"));
    }

    #[test]
    fn a_room_that_is_opened_again_tells_what_is_missing() {
        let (mut hub, script) = cluster();
        let mut ann = hub.join();
        script.open("main", at(1, 7), 9);
        script.open("main", at(1, 3), 4);
        script.say("main", at(1, 8), 10, "x\n");
        hub.settle();
        assert_eq!(ann.read_all(), "-!- 9 lines skipped (you were not reading)\nx\n");
    }
}
