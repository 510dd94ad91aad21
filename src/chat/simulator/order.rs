//! The order of each room, as the sequencer gave it back: the reference that every member is held against.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::given::Given;
use crate::chat::history::Record;
use crate::chat::{Cursor, Entry, Stamp};
use crate::protocol::{Event, Form, Kind, Scene, View, Who};

/// What a unit is.
#[derive(Clone, Debug)]
pub enum What {
    Said {
        is_emote: bool,
        text: String,
    },
    Joined,
    Left,
    Renamed {
        from: Who,
    },
    /// A line that the sequencer did not give, and that all are told of.
    Skipped,
}

/// One line in the order of a room. Of several who come at once, each is one.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Who does not get it.
    pub author: u64,
    pub who: Who,
    pub what: What,
    /// The step in which it was given back.
    pub step: usize,
    /// In `names` the first tells of all who come or go at once.
    pub is_first: bool,
    /// How it looks in `names`, up to the number of members.
    pub told: String,
    /// How many lines were said in the room before it.
    pub said: u64,
    /// The epoch and number of a line, and its time, if the sequencer gives them.
    pub stamp: Option<((u64, u64), Timestamp)>,
}

impl Unit {
    /// Returns whether it is a line in a view.
    pub fn is_in(&self, view: View) -> bool {
        match view {
            View::Plain => matches!(self.what, What::Said { .. } | What::Skipped),
            View::Names => self.is_first,
            View::Json => true,
        }
    }
}

/// The order of one room.
#[derive(Debug)]
struct Room {
    name: String,
    units: Vec<Unit>,
    said: u64,
    /// The last entry, and the number of the last line, if the sequencer numbers them.
    last: Option<(Cursor, u64)>,
    /// How many lines were given before that have come again since then, in the epoch of the last entry.
    repeated: u64,
    /// Since then an entry was not the next one of the stream: what is between was not given.
    has_jumped: bool,
    /// Each entry, if it has a place: that, the number of its last line, and how many units there are with it.
    entries: Vec<(Cursor, u64, usize)>,
}

impl Room {
    /// An entry is given, perhaps again.
    fn pass(&mut self, cursor: Cursor) {
        let Some((last, seq)) = self.last else { return };
        assert!(cursor > last, "given again, or too late: {cursor:?}, after {last:?}");
        let is_same = cursor.epoch == last.epoch;
        self.has_jumped |= cursor.entry != if is_same { last.entry + 1 } else { 1 };
        self.repeated = if is_same { self.repeated } else { 0 };
        self.last = Some((cursor, seq));
    }
}

/// The order of every room.
#[derive(Debug, Default)]
pub struct Order {
    rooms: Vec<Room>,
    by_text: HashMap<String, (usize, usize)>,
    /// Lines from before a room was opened: the room, the epoch and number, and the line.
    older: HashMap<String, (usize, (u64, u64), Unit)>,
    /// Lines that have their place, and that the hub was not shown.
    passed: HashSet<String>,
}

impl Order {
    pub fn new(names: &[&str]) -> Self {
        let room = |name: &&str| Room {
            name: (*name).to_owned(),
            units: Vec::new(),
            said: 0,
            last: None,
            repeated: 0,
            has_jumped: false,
            entries: Vec::new(),
        };
        Self { rooms: names.iter().map(room).collect(), ..Self::default() }
    }

    pub fn room(&self, name: &str) -> usize {
        self.rooms.iter().position(|one| one.name == name).unwrap_or_else(|| panic!("no room {name}"))
    }

    pub fn name(&self, room: usize) -> &str {
        &self.rooms[room].name
    }

    pub fn units(&self, room: usize) -> &[Unit] {
        &self.rooms[room].units
    }

    /// How many units each room has.
    pub fn lengths(&self) -> Vec<usize> {
        self.rooms.iter().map(|room| room.units.len()).collect()
    }

    /// The number of the last line that was given in a room.
    pub fn last_line(&self, room: usize) -> Option<u64> {
        self.rooms[room].last.map(|(_, seq)| seq)
    }

    pub fn find(&self, text: &str) -> Option<(usize, usize)> {
        self.by_text.get(text).copied()
    }

    /// Returns whether a line has its place.
    pub fn has(&self, text: &str) -> bool {
        self.by_text.contains_key(text) || self.passed.contains(text)
    }

    /// A line that `/last` may show: its room, its place among those, and what it is.
    pub fn recall(&self, text: &str) -> Option<(usize, (u64, u64), &Unit)> {
        if let Some((room, rank, unit)) = self.older.get(text) {
            return Some((*room, *rank, unit));
        }
        let (room, at) = self.find(text)?;
        let unit = &self.rooms[room].units[at];
        Some((room, unit.stamp.map_or((0, at as u64), |(rank, _)| rank), unit))
    }

    /// Something was given. `may_be_called` returns whether a session has asked for that name.
    pub fn add(&mut self, given: Given, step: usize, may_be_called: impl Fn(&Who) -> bool) {
        match given {
            Given::Entry { room, entry, stamp } => {
                let room = self.room(&room);
                if let Some(stamp) = stamp {
                    self.skip(room, stamp, step);
                }
                self.add_entry(room, entry, stamp, step, may_be_called);
                self.note_end(room);
            }
            Given::Repeated { room, stamp, lines } => {
                let at = self.room(&room);
                let room = &mut self.rooms[at];
                room.pass(stamp.cursor);
                let is_later = room.last.is_some_and(|(_, seq)| stamp.seq > seq);
                room.repeated += if is_later { u64::from(lines) } else { 0 };
            }
            Given::Opened { room, said, cursor, records } => {
                let room = self.room(&room);
                (self.rooms[room].repeated, self.rooms[room].has_jumped) = (0, false);
                self.rooms[room].last = Some((cursor, said));
                self.note_end(room);
                records.iter().for_each(|record| self.add_older(room, cursor.epoch, record));
            }
            Given::Passed(entry) => {
                if let Entry::Said { text, .. } = entry {
                    self.passed.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
                }
            }
            Given::Unsettled => {}
        }
    }

    fn note_end(&mut self, room: usize) {
        let room = &mut self.rooms[room];
        room.entries.extend(room.last.map(|(cursor, seq)| (cursor, seq, room.units.len())));
    }

    /// What was given behind an entry has waited in the room when that crashed: it is given again.
    pub fn rewind(&mut self, room: &str, to: Cursor) {
        let at = self.room(room);
        let room = &mut self.rooms[at];
        let kept = room.entries.iter().take_while(|(cursor, ..)| *cursor <= to).count();
        room.entries.truncate(kept);
        let Some((_, seq, len)) = room.entries.last().copied() else { return };
        (room.last, room.repeated, room.has_jumped) = (Some((to, seq)), 0, false);
        room.said = room.units.get(len).map_or(room.said, |unit| unit.said);
        room.units.truncate(len);
        self.by_text.retain(|_, (of, place)| *of != at || *place < len);
    }

    /// The lines before this one that were not given.
    fn skip(&mut self, room: usize, stamp: Stamp, step: usize) {
        let room = &mut self.rooms[room];
        room.pass(stamp.cursor);
        if let Some((_, seq)) = room.last.filter(|_| room.has_jumped) {
            for _ in 0..(stamp.seq - 1).saturating_sub(seq + room.repeated) {
                let who = Who { id: 0, name: crate::protocol::Name::guest(0), verified: false };
                let (what, told) = (What::Skipped, String::new());
                let said = room.said;
                let unit = Unit { author: 0, who, what, step, is_first: true, told, said, stamp: None };
                room.units.push(unit);
            }
        }
        (room.last, room.repeated, room.has_jumped) = (Some((stamp.cursor, stamp.seq - 1)), 0, false);
    }

    fn add_older(&mut self, room: usize, epoch: u64, record: &Record) {
        let text = String::from_utf8(record.text.clone()).unwrap();
        for (seq, line) in (record.seq..).zip(text.lines()) {
            let unit = Unit {
                author: record.who.id,
                who: Who::clone(&record.who),
                what: What::Said { is_emote: record.kind == Kind::Emote, text: line.to_owned() },
                step: 0,
                is_first: true,
                told: String::new(),
                said: 0,
                stamp: Some(((epoch, seq), record.time)),
            };
            self.older.insert(line.to_owned(), (room, (epoch, seq), unit));
        }
    }

    fn add_entry(
        &mut self,
        room: usize,
        entry: Entry,
        stamp: Option<Stamp>,
        step: usize,
        may_be_called: impl Fn(&Who) -> bool,
    ) {
        let order = &mut self.rooms[room];
        let mut push = |author: u64, who: &Who, what: What, is_first: bool, told: String| {
            assert!(may_be_called(who), "{who} (#{}) has not asked for that name", who.id);
            let line = matches!(what, What::Said { .. });
            if let (true, Some((_, seq))) = (line, &mut order.last) {
                *seq += 1;
            }
            let last = stamp.filter(|_| line).zip(order.last);
            let stamp = last.map(|(stamp, (cursor, seq))| ((cursor.epoch, seq), stamp.time));
            let said = order.said;
            order.said += u64::from(line);
            order.units.push(Unit { author, who: who.clone(), what, step, is_first, told, said, stamp });
        };
        match entry {
            Entry::Said { kind, from, who, text, lines, .. } => {
                assert_eq!((from.0, text.last()), (who.id, Some(&b'\n')));
                let text = String::from_utf8(text).unwrap();
                assert_eq!(text.lines().count(), lines as usize);
                for line in text.lines() {
                    let is_emote = kind == Kind::Emote;
                    push(from.0, &who, What::Said { is_emote, text: line.to_owned() }, true, String::new());
                }
                let first = self.rooms[room].units.len() - lines as usize;
                for (at, line) in (first..).zip(text.lines()) {
                    let is_new = self.by_text.insert(line.to_owned(), (room, at)).is_none();
                    assert!(is_new, "given back twice: {line}");
                }
            }
            Entry::Joined(all) => {
                let told = told(Event::Joined(&all));
                for (index, who) in all.iter().enumerate() {
                    push(only(&all), who, What::Joined, index == 0, told.clone());
                }
            }
            Entry::Left(all) => {
                let told = told(Event::Left(&all));
                for (index, who) in all.iter().enumerate() {
                    push(only(&all), who, What::Left, index == 0, told.clone());
                }
            }
            Entry::Renamed { from, to, .. } => {
                let told = told(Event::Renamed { from: &from, to: &to });
                push(to.id, &to, What::Renamed { from: Who::clone(&from) }, true, told);
            }
        }
    }
}

/// The author of an announcement: the only one that it is about.
fn only(all: &[Who]) -> u64 {
    if let [alone] = all { alone.id } else { 0 }
}

/// How an event looks in `names`, up to the number of members.
fn told(event: Event<'_>) -> String {
    let mut out = Vec::new();
    let scene = Scene { room: "", time: Timestamp::UNIX_EPOCH, members: 0 };
    Form::NAMES.event(event, scene, &mut out);
    let line = String::from_utf8(out).unwrap();
    line.trim_end().trim_end_matches(" (0 here)").to_owned()
}
