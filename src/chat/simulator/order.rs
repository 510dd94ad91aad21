//! The order of each room, as the sequencer gave it back: the reference that every member is held against.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::chat::Entry;
use crate::protocol::{Event, Form, Kind, Scene, View, Who};

/// What a unit is.
#[derive(Debug)]
pub enum What {
    Said { is_emote: bool, text: String },
    Joined,
    Left,
    Renamed { from: Who },
}

/// One line in the order of a room. Of several who come at once, each is one.
#[derive(Debug)]
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
}

impl Unit {
    /// Returns whether it is a line in a view.
    pub fn is_in(&self, view: View) -> bool {
        match view {
            View::Plain => matches!(self.what, What::Said { .. }),
            View::Names => self.is_first,
            View::Json => true,
        }
    }
}

/// The order of every room.
#[derive(Debug, Default)]
pub struct Order {
    names: Vec<String>,
    units: Vec<Vec<Unit>>,
    said: Vec<u64>,
    by_text: HashMap<String, (usize, usize)>,
}

impl Order {
    pub fn new(names: &[&str]) -> Self {
        let mut order = Self::default();
        names.iter().for_each(|name| {
            order.names.push((*name).to_owned());
            order.units.push(Vec::new());
            order.said.push(0);
        });
        order
    }

    pub fn room(&self, name: &str) -> usize {
        self.names.iter().position(|one| one == name).unwrap_or_else(|| panic!("no room {name}"))
    }

    pub fn name(&self, room: usize) -> &str {
        &self.names[room]
    }

    pub fn units(&self, room: usize) -> &[Unit] {
        &self.units[room]
    }

    /// How many units each room has.
    pub fn lengths(&self) -> Vec<usize> {
        self.units.iter().map(Vec::len).collect()
    }

    pub fn find(&self, text: &str) -> Option<(usize, usize)> {
        self.by_text.get(text).copied()
    }

    /// An entry has got its place. `may_be_called` returns whether a session has asked for that name.
    pub fn add(&mut self, room: &str, entry: &Entry, step: usize, may_be_called: impl Fn(&Who) -> bool) {
        let room = self.room(room);
        let mut push = |author: u64, who: &Who, what: What, is_first: bool, told: String| {
            assert!(may_be_called(who), "{who} (#{}) has not asked for that name", who.id);
            let said = self.said[room];
            self.units[room].push(Unit { author, who: who.clone(), what, step, is_first, told, said });
        };
        match entry {
            Entry::Said { kind, from, who, text, lines, .. } => {
                assert_eq!((from.0, text.last()), (who.id, Some(&b'\n')));
                let text = String::from_utf8(text.clone()).unwrap();
                assert_eq!(text.lines().count(), *lines as usize);
                for line in text.lines() {
                    let is_emote = *kind == Kind::Emote;
                    let is_new =
                        self.by_text.insert(line.to_owned(), (room, self.units[room].len())).is_none();
                    assert!(is_new, "given back twice: {line}");
                    let (said, who) = (self.said[room], Who::clone(who));
                    assert!(may_be_called(&who), "{who} (#{}) has not asked for that name", who.id);
                    let what = What::Said { is_emote, text: line.to_owned() };
                    let told = String::new();
                    self.units[room].push(Unit {
                        author: from.0,
                        who,
                        what,
                        step,
                        is_first: true,
                        told,
                        said,
                    });
                    self.said[room] += 1;
                }
            }
            Entry::Joined(all) | Entry::Left(all) => {
                let is_join = matches!(entry, Entry::Joined(_));
                let author = if let [alone] = &all[..] { alone.id } else { 0 };
                let event = if is_join { Event::Joined(all) } else { Event::Left(all) };
                for (index, who) in all.iter().enumerate() {
                    let what = if is_join { What::Joined } else { What::Left };
                    push(author, who, what, index == 0, told(event));
                }
            }
            Entry::Renamed { from, to, .. } => {
                let event = Event::Renamed { from, to };
                push(to.id, to, What::Renamed { from: Who::clone(from) }, true, told(event));
            }
        }
    }
}

/// How an event looks in `names`, up to the number of members.
fn told(event: Event<'_>) -> String {
    let mut out = Vec::new();
    let scene = Scene { room: "", time: Timestamp::UNIX_EPOCH, members: 0 };
    Form::NAMES.event(event, scene, &mut out);
    let line = String::from_utf8(out).unwrap();
    line.trim_end().trim_end_matches(" (0 here)").to_owned()
}
