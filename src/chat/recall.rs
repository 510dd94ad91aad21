//! Rooms that nobody is in, and that go on where they ended when somebody comes: from the archive, or from earlier in
//! this process.
//!
//! The directory asks here before it makes a room anew. Floor 3 makes the first ones from what the archive has.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use memchr::memchr;

use super::entry::Entry;
use super::epochs::Epochs;
use super::history::{History, Record};
use super::limits::Limits;
use super::room_names::RoomNames;
use crate::protocol::object::Line;
use crate::protocol::{Kind, Name, Object, Who};

/// The part of `memory` that the lines of rooms without members may take: the others need it more.
const PART_OF_MEMORY: usize = 8;

/// A room as it ended: its name, its numbers and its last lines.
#[derive(Clone, Debug)]
pub struct Recalled {
    pub(super) name: Name,
    pub(super) epoch: u64,
    /// Epochs before.
    pub(super) past: Epochs,
    /// The number of its last line.
    pub(super) said: u64,
    /// No number above this has been given to a line; less than `said` if nothing else is known.
    pub(super) reserved: u64,
    pub(super) records: Vec<Record>,
    /// The largest number of a connection that is known.
    pub(super) last_session: u64,
}

impl Recalled {
    /// Returns a room without lines, in which the last line had the number `said`.
    pub fn new(name: Name, epoch: u64, said: u64) -> Self {
        Self { name, epoch, past: Epochs::default(), said, reserved: 0, records: Vec::new(), last_session: 0 }
    }

    /// Returns its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns its epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the number of its last line.
    pub fn said(&self) -> u64 {
        self.said
    }

    /// The last line that is known has the number `said`. There may have been others, up to the number `reserved`: the
    /// room goes on behind that, unless somebody knows better.
    pub fn go_on_after(&mut self, said: u64, reserved: u64) {
        (self.said, self.reserved) = (said, reserved);
    }

    /// Returns the same room with as many lines as a history holds.
    pub fn trimmed(mut self, limits: &Limits) -> Self {
        self.records = self.history(limits).take();
        self
    }

    /// Returns how many of its lines are here.
    pub fn lines(&self) -> usize {
        self.records.iter().map(|record| record.lines).sum()
    }

    /// Returns the largest number of a connection that is known; 0 if none is.
    pub fn last_session(&self) -> u64 {
        self.last_session
    }

    /// Notes the number of a connection that is in the archive.
    pub fn note_session(&mut self, id: u64) {
        self.last_session = self.last_session.max(id);
    }

    /// Adds a line behind those that it has. Returns whether the object is a line, and fits behind them.
    pub fn push(&mut self, object: &Object<'_>) -> bool {
        let (kind, line) = match object {
            Object::Message(line) => (Kind::Message, line),
            Object::Emote(line) => (Kind::Emote, line),
            _ => return false,
        };
        let before = self.records.last().map_or(0, |last| last.seq + last.lines as u64 - 1);
        let (Some(who), Ok(time)) = (sender(line), line.time.parse()) else { return false };
        if line.seq <= before || memchr(b'\n', line.text.as_bytes()).is_some() {
            return false;
        }
        let mut text = line.text.as_bytes().to_vec();
        text.push(b'\n');
        self.said = self.said.max(line.seq);
        self.note_session(line.id);
        match self.records.last_mut() {
            Some(last)
                if line.seq == before + 1 && (last.kind, last.time) == (kind, time) && *last.who == who =>
            {
                last.text.append(&mut text);
                last.lines += 1;
            }
            _ => self.records.push(Record { kind, who: Arc::new(who), time, seq: line.seq, lines: 1, text }),
        }
        true
    }

    /// Adds what was said behind the lines that it has, as the engine has it, in this or an earlier epoch. Ignores all that
    /// is not lines.
    pub fn push_entry(&mut self, entry: Entry, epoch: u64, seq: u64, time: Timestamp) {
        let Entry::Said { kind, who, text, lines, .. } = entry else { return };
        if epoch != self.epoch {
            self.past.push(epoch, seq - 1 + u64::from(lines));
        }
        self.records.push(Record { kind, who, time, seq, lines: lines as usize, text });
    }

    /// Returns the history of the room.
    pub(super) fn history(&mut self, limits: &Limits) -> History {
        let mut history = History::new(limits.history, limits.log_size / 4);
        self.records.drain(..).for_each(|record| history.push(record));
        history
    }

    fn memory(&self) -> usize {
        self.records.iter().map(|record| size_of::<Record>() + record.text.len()).sum()
    }
}

/// Returns who said a line; `None` if that cannot be a name.
fn sender(line: &Line<'_>) -> Option<Who> {
    let text = &*line.from;
    let guest = Name::guest(line.id);
    let name = if guest.as_str() == text { guest } else { Name::any(text).ok()? };
    Some(Who { id: line.id, name, verified: line.verified })
}

/// The rooms that nobody is in.
#[derive(Debug, Default)]
pub(super) struct Recall {
    /// The epoch of the first room that was new in this process.
    pub(super) began: u64,
    /// The process before had an archive.
    pub(super) was_archived: bool,
    /// By when they were put here.
    rooms: BTreeMap<u64, Recalled>,
    by_name: RoomNames<u64>,
    next: u64,
    /// Bytes of their lines.
    bytes: usize,
}

impl Recall {
    /// No rooms, in a process whose first room had the epoch `began`.
    pub(super) fn new(began: u64) -> Self {
        Self { began, ..Self::default() }
    }

    /// Stores a room. One that looks the same is gone. Of too many, those are gone that were put here first; of too many
    /// bytes, their lines.
    pub(super) fn put(&mut self, room: Recalled, limits: &Limits) {
        self.take(&room.name);
        self.by_name.insert(&room.name, self.next);
        self.bytes += room.memory();
        self.rooms.insert(self.next, room);
        self.next += 1;
        while self.rooms.len() > limits.max_rooms {
            self.rooms.first_key_value().map(|(_, room)| room.name.clone()).and_then(|name| self.take(&name));
        }
        for room in self.rooms.values_mut() {
            if self.bytes <= limits.memory / PART_OF_MEMORY {
                break;
            }
            self.bytes -= room.memory();
            room.records = Vec::new();
        }
    }

    /// Returns the room of that name, or of one that looks like it, which is not here any more then.
    pub(super) fn take(&mut self, name: &Name) -> Option<Recalled> {
        let room = self.rooms.remove(&self.by_name.find(name)?)?;
        self.by_name.remove(&room.name);
        self.bytes -= room.memory();
        Some(room)
    }

    /// Returns all rooms: name, epoch and number of the last line.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (&Name, u64, u64)> {
        self.rooms.values().map(|room| (&room.name, room.epoch, room.said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            log_size: 1 << 20,
            history: 100,
            max_rooms: 3,
            min_rate: 1,
            memory: 8 * 1000,
            commands: true,
        }
    }

    fn room(name: &str) -> Recalled {
        Recalled::new(Name::parse(name).unwrap(), 7, 3)
    }

    fn line(seq: u64, from: &str, text: &str) -> String {
        format!(
            r#"{{"type":"message","seq":{seq},"time":"2026-11-23T15:48:01.500Z","room":"ops","id":7,"from":"{from}","verified":false,"text":"{text}"}}"#
        )
    }

    fn push(room: &mut Recalled, line: &str) -> bool {
        room.push(&serde_json::from_str(line).unwrap())
    }

    #[test]
    fn a_room_is_found_by_what_its_name_looks_like_and_once() {
        let mut recall = Recall::default();
        recall.put(room("ops"), &limits());
        let found = recall.take(&Name::parse("OPS").unwrap()).unwrap();
        assert_eq!((found.name.as_str(), found.epoch, found.said), ("ops", 7, 3));
        assert!(recall.take(&Name::parse("ops").unwrap()).is_none());
    }

    #[test]
    fn of_too_many_rooms_the_first_are_gone() {
        let mut recall = Recall::default();
        ["a", "b", "c", "d"].into_iter().for_each(|name| recall.put(room(name), &limits()));
        assert_eq!(recall.numbers().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["b", "c", "d"]);
    }

    #[test]
    fn of_too_many_bytes_the_lines_of_the_first_are_gone_and_their_numbers_are_not() {
        let mut recall = Recall::default();
        for name in ["a", "b"] {
            let mut room = room(name);
            assert!(push(&mut room, &line(4, "ann", &"x".repeat(700))));
            recall.put(room, &limits());
        }
        let rooms: Vec<_> = recall.rooms.values().map(|room| (room.said, room.records.len())).collect();
        assert_eq!(rooms, [(4, 0), (4, 1)]);
        recall.take(&Name::parse("a").unwrap());
        recall.take(&Name::parse("b").unwrap());
        assert_eq!(recall.bytes, 0);
    }

    #[test]
    fn lines_of_one_member_become_one_record_and_what_does_not_follow_is_refused() {
        let mut room = Recalled::new(Name::parse("ops").unwrap(), 7, 0);
        assert!(push(&mut room, &line(1, "ann", "one")) && push(&mut room, &line(2, "ann", "two")));
        assert!(push(&mut room, &line(9, "guest7", "three")));
        assert!(!push(&mut room, &line(9, "ann", "again")), "a number that is taken");
        assert!(!push(&mut room, &line(10, "<>", "four")), "no name");
        assert!(!push(&mut room, &line(10, "ann", "a\\nb")), "two lines");
        assert!(!push(&mut room, &line(10, "ann", "x").replace("2026", "now")), "no time");
        assert!(!push(&mut room, r#"{"type":"history_end"}"#));
        let records: Vec<_> = room.records.iter().map(|one| (one.seq, one.lines, &one.text[..])).collect();
        assert_eq!(records, [(1, 2, &b"one\ntwo\n"[..]), (9, 1, b"three\n")]);
        assert_eq!((room.said, room.last_session()), (9, 7));
        assert!(room.records.iter().all(Record::is_sound) && room.records[1].who.name.is_guest());
    }
}
