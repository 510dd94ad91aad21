//! An archive that loses nothing: what it has is held against the order of the rooms, and rooms go on from it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::order::{Order, What};
use crate::chat::{Archive, Archived, Recalled};
use crate::protocol::{Name, Object};

/// What was archived of each room: the epoch, and an object.
type Rooms = BTreeMap<String, Vec<(u64, String)>>;

/// The end that the test holds.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<Mutex<Rooms>>);

impl Archive for Shelf {
    fn append(&mut self, archived: Archived) {
        let mut out = Vec::new();
        archived.encode(&mut out);
        let text = String::from_utf8(out).unwrap();
        let mut rooms = self.0.lock().unwrap();
        let objects = rooms.entry(archived.room.to_string()).or_default();
        objects.extend(text.lines().map(|line| (archived.epoch, line.to_owned())));
    }
}

impl Shelf {
    /// The rooms as they ended.
    pub fn recalled(&self) -> Vec<Recalled> {
        let rooms = self.0.lock().unwrap();
        let recall = |(name, objects): (&String, &Vec<(u64, String)>)| {
            let epoch = objects.last().unwrap().0;
            let mut room = Recalled::new(Name::parse(name).unwrap(), epoch, 0);
            for (_, line) in objects.iter().filter(|(of, _)| *of == epoch) {
                let object: Object<'_> = serde_json::from_str(line).unwrap();
                let is_line = matches!(object, Object::Message(_) | Object::Emote(_));
                assert_eq!(room.push(&object), is_line, "{line}");
            }
            room
        };
        rooms.iter().map(recall).collect()
    }

    /// Checks that lines have the order of their room, that none is there twice, and that no number is. If `is_whole`,
    /// numbers have no gaps, and the first room is complete.
    pub fn check(&self, order: &Order, is_whole: bool) {
        let rooms = self.0.lock().unwrap();
        for (name, objects) in rooms.iter() {
            let (room, mut next, mut last) = (order.room(name), 0, (0, 0));
            for (epoch, line) in objects {
                let object: Object<'_> = serde_json::from_str(line).unwrap();
                let (Object::Message(said) | Object::Emote(said)) = object else { continue };
                let (of, place) = order.find(&said.text).unwrap_or_else(|| panic!("nobody said {line}"));
                assert!(of == room && place >= next, "twice, or too late: {line}");
                assert!(*epoch >= last.0 && (*epoch, said.seq) > last, "{line} in {epoch}, after {last:?}");
                let is_next = *epoch != last.0 || said.seq == last.1 + 1;
                assert!(is_next || !is_whole, "a gap before {line}");
                (next, last) = (place + 1, (*epoch, said.seq));
            }
        }
        if is_whole {
            let lines = order.units(0).iter().filter(|unit| matches!(unit.what, What::Said { .. })).count();
            let archived = rooms.get(order.name(0)).map_or(&[][..], Vec::as_slice);
            let said = archived.iter().filter(|(_, line)| line.contains(r#""seq":"#)).count();
            assert_eq!((said, archived.len()), (lines, order.units(0).len()), "the archive is complete");
        }
    }
}
