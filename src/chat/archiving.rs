//! Archiving: rooms go on from the archive, and members are told that there is one.
//!
//! A member is told once: in `names` and `json` when it comes in, in `plain` when it takes a name or asks for a room or a
//! view. A script that only sends or receives lines is told nothing.

use super::archive::Archiving;
use super::directory::Directory;
use super::id::SessionId;
use super::member::Member;
use super::recall::Recalled;
use super::recalling;
use crate::protocol::{Notice, View};

/// Goes on with rooms of the archive, the one that was used last at the end. What another process has handed over, or
/// left at a crash, is newer than the archive.
pub(super) fn recall(directory: &mut Directory, rooms: Vec<Recalled>) {
    for mut recalled in rooms {
        directory.next_epoch = directory.next_epoch.max(recalled.epoch + 1);
        let Some(id) = directory.room_called(&recalled.name) else {
            if let Some(known) = directory.recall.take(&recalled.name) {
                if known.epoch != recalled.epoch {
                    recalled = known;
                } else {
                    recalled.said = recalled.said.max(known.said);
                }
            } else {
                recalled.said = recalled.said.max(recalled.reserved);
            }
            directory.recall.put(recalled, &directory.limits);
            continue;
        };
        let (limits, began) = (directory.limits, directory.recall.began);
        let room = directory.room(id);
        let is_new = room.said() == 0 && room.epoch() >= began;
        if is_new || room.epoch() == recalled.epoch {
            if is_new {
                recalled.said = recalled.said.max(recalled.reserved);
            }
            recalling::go_on(room, recalled, &limits);
        }
        directory.touched.push(id);
    }
}

/// From now on what rooms take in is archived. Members are told, unless the process before has told them.
pub(super) fn begin(directory: &mut Directory, archiving: Archiving) {
    directory.archiving = Some(archiving);
    directory.rooms_mut().for_each(|room| room.outbox.is_archived = true);
    let ids: Vec<SessionId> = directory.sessions().collect();
    for id in ids {
        if directory.recall.was_archived && is_to_be_told(directory, id) {
            directory.member_mut(id).into_iter().for_each(|member| member.knows_of_archive = true);
        }
        tell(directory, id);
    }
}

/// Tells a member once that what is said is archived.
pub(super) fn tell(directory: &mut Directory, id: SessionId) {
    let Some(Archiving { days }) = directory.archiving else { return };
    if is_to_be_told(directory, id)
        && let Some(member) = directory.member_mut(id).filter(|member| !member.knows_of_archive)
    {
        member.knows_of_archive = true;
        directory.notify(id, &Notice::Archived { days });
    }
}

/// Returns whether a member has a view with notices, or has asked for one or for a name.
fn is_to_be_told(directory: &Directory, id: SessionId) -> bool {
    if directory.is_nowhere(id) {
        return false;
    }
    let is_plain = directory.place(id).is_none_or(|place| place.form.view() == View::Plain);
    let has_asked = |member: &Member| member.is_present || member.name().is_some();
    !is_plain || directory.member(id).is_some_and(has_asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::testing::{Lines, TestHub};
    use crate::chat::{Arrival, Hub, HubSnapshot, Local, RoomSnapshot};
    use crate::protocol::Name;

    fn archived() -> (TestHub, Lines) {
        let (hub, lines) = (TestHub::default(), Lines::default());
        hub.hub().archive(Box::new(lines.clone()), Some(30));
        (hub, lines)
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    const TOLD: &str = "-!- what is said in rooms here is archived for 30 days; private messages are not\n";

    #[test]
    fn what_a_room_takes_in_is_archived_as_json_in_its_order_and_private_messages_are_not() {
        let (mut hub, lines) = archived();
        let (mut ann, mut ben) =
            (hub.join_as("ann"), hub.arrive(Arrival { view: View::Json, ..Arrival::default() }));
        let mut eve = hub.arrive(Arrival { view: View::Json, ..Arrival::default() });
        hub.wait(std::time::Duration::from_secs(3));
        eve.read_all();
        ben.read_all();
        lines.take();
        hub.say(&mut ann, "one\ntwo\n");
        hub.ask(&mut ann, "/me waves");
        hub.ask(&mut ann, "/msg guest2 a secret");
        hub.ask(&mut ben, "/nick ben");
        hub.say(&mut ben, "three\n");
        ann.read_all();
        ben.read_all();
        let heard = eve.read_all();
        let archived = lines.take();
        assert!(heard.contains("\"seq\":3") && heard.contains("\"type\":\"rename\""), "{heard}");
        assert!(heard.lines().filter(|line| !line.contains("\"code\"")).all(|line| archived.contains(line)));
        assert_eq!(archived.matches("\"type\":\"message\"").count(), 3);
        assert!(!archived.contains("secret"));
    }

    #[test]
    fn what_has_no_place_yet_is_not_archived_and_what_goes_in_pieces_is_archived_once() {
        let (mut hub, lines) = archived();
        let (mut ann, mut ben) = (hub.join(), hub.arrive(Arrival { view: View::Json, ..Arrival::default() }));
        ben.read_all();
        lines.take();
        let said: String = (0..310).map(|number| format!("line {number}\n")).collect();
        hub.say(&mut ann, &said);
        assert!(hub.hub().is_waiting());
        let mut archived = lines.take();
        assert!(!archived.contains("line 309"));
        while ann.is_outstanding() {
            ben.read_all();
            archived += &lines.take();
        }
        let numbers: Vec<&str> =
            archived.lines().filter_map(|line| line.split("\"text\":\"line ").nth(1)).collect();
        let expected: Vec<String> = (0..310).map(|number| format!("{number}\"}}")).collect();
        assert_eq!(numbers, expected);
    }

    #[test]
    fn a_member_is_told_once_and_a_script_is_not() {
        let (mut hub, _) = archived();
        let mut names = hub.arrive(Arrival { view: View::Names, ..Arrival::default() });
        assert_eq!(names.read_all(), TOLD);
        assert!(!hub.answer(&mut names, "/join ops").contains("archived"));
        let mut plain = hub.join();
        hub.say(&mut plain, "hello\n");
        assert!(!plain.read_all().contains("archived"));
        assert!(hub.answer(&mut plain, "/nick ann").ends_with(TOLD));
        assert!(!hub.answer(&mut plain, "/nick anna").contains("archived"));
        let mut viewer = hub.join();
        assert!(hub.answer(&mut viewer, "/view names").ends_with(TOLD));
    }

    #[test]
    fn who_is_there_when_the_archive_begins_is_told_and_after_a_handover_nobody_is_told_again() {
        let mut hub = TestHub::default();
        let mut ann = hub.arrive(Arrival { view: View::Names, ..Arrival::default() });
        let mut plain = hub.join();
        let lines = Lines::default();
        hub.hub().archive(Box::new(lines.clone()), Some(30));
        hub.wait(std::time::Duration::from_millis(1));
        hub.say(&mut plain, "x\n");
        assert_eq!(ann.read_all(), format!("{TOLD}<guest2> x\n"));
        let mut people = [ann, plain];
        hub.move_on(&mut people);
        hub.hub().archive(Box::new(lines), Some(30));
        let [mut ann, mut plain] = people;
        hub.say(&mut plain, "y\n");
        assert_eq!(ann.read_all(), "<guest2> y\n");
        assert!(hub.answer(&mut plain, "/nick ben").ends_with(TOLD));
    }

    #[test]
    fn rooms_go_on_from_the_archive_and_again_when_they_were_empty() {
        let (mut hub, _) = archived();
        let main = Recalled::new(name("main"), 5, 40);
        let mut ops = Recalled::new(name("ops"), 6, 8);
        let line = r#"{"type":"message","seq":9,"time":"2026-11-23T15:48:01Z","room":"ops","id":900,"from":"zoe","verified":false,"text":"before"}"#;
        assert!(ops.push(&serde_json::from_str(line).unwrap()));
        hub.hub().recall(vec![ops, main]);
        let mut ann = hub.arrive(Arrival { view: View::Json, ..Arrival::default() });
        assert!(hub.answer(&mut ann, "/sync a").contains("\"epoch\":5,\"seq\":40"));
        for (name, seq) in [("OPS", 9), ("ops", 10)] {
            assert!(
                hub.answer(&mut ann, &format!("/join {name}"))
                    .contains("\"room\":\"ops\",\"members\":1,\"epoch\":6")
            );
            assert!(hub.answer(&mut ann, "/sync a").contains(&format!("\"epoch\":6,\"seq\":{seq}")));
            assert!(hub.answer(&mut ann, "/last").contains("before"));
            hub.say(&mut ann, "again\n");
            hub.ask(&mut ann, "/join main");
            ann.read_all();
        }
        assert!(hub.answer(&mut ann, "/join other").contains("\"epoch\":"));
    }

    #[test]
    fn what_another_process_has_left_is_newer_than_the_archive() {
        let snapshot = HubSnapshot {
            rooms: vec![
                RoomSnapshot::without_lines(name("main"), 5, 4096),
                RoomSnapshot::without_lines(name("ops"), 6, 7),
            ],
            left_rooms: vec![(name("dev"), 8, 20), (name("attic"), 9, 30)],
            ..HubSnapshot::default()
        };
        let hub = TestHub::default();
        let (now, limits) = (hub.time(), hub.hub().directory().limits);
        let local = Box::<Local>::default();
        let (mut restored, _) = Hub::restore(limits, local, snapshot, now, |_| None).unwrap();
        let recalled = |text: &str, epoch, said| Recalled::new(name(text), epoch, said);
        let rooms = vec![recalled("main", 5, 41), recalled("dev", 8, 10), recalled("attic", 1, 99)];
        restored.recall(rooms);
        let main = restored.directory().rooms().values().next().unwrap();
        assert_eq!((main.epoch(), main.said()), (5, 4096));
        let numbers: Vec<_> = restored
            .directory()
            .recall
            .numbers()
            .map(|(name, epoch, said)| (name.to_string(), epoch, said))
            .collect();
        assert_eq!(numbers, [("dev".to_owned(), 8, 20), ("attic".to_owned(), 9, 30)]);
    }
}
