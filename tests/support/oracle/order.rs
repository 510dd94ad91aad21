//! The order of a room: what those who only listen have heard, as the first of them has heard it.

use std::collections::HashMap;

use super::tally::Tally;
use super::text::{LENGTH, Numbered};

/// A line of a room.
pub struct Entry {
    pub text: [u8; LENGTH],
    pub line: Numbered,
}

/// The order of one room.
#[derive(Default)]
pub struct Order {
    entries: Vec<Entry>,
    /// For each sender, where each of its lines is; none for one that nobody has heard.
    places: HashMap<u32, Vec<Option<usize>>>,
    /// What each sender is called.
    names: HashMap<u32, Vec<u8>>,
    /// How many have said their last line.
    pub lasts: usize,
    /// Over all lines in their order.
    pub sum: u64,
}

impl Order {
    pub fn entry(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn lines(&self, places: std::ops::Range<usize>) -> impl Iterator<Item = Numbered> {
        self.entries[places].iter().map(|entry| entry.line)
    }

    /// Where a line is.
    pub fn place(&self, line: &Numbered) -> Option<usize> {
        *self.places.get(&line.sender)?.get(line.counter as usize)?
    }

    /// Whether somebody who listens has heard a line.
    pub fn has(&self, sender: u32, counter: u32) -> bool {
        self.places
            .get(&sender)
            .is_some_and(|places| places.get(counter as usize).is_some_and(Option::is_some))
    }

    /// Adds a line that nobody has heard before. Returns false if its sender has said later ones already.
    pub fn append(&mut self, line: Numbered) -> bool {
        let places = self.places.entry(line.sender).or_default();
        if (line.counter as usize) < places.len() {
            return false;
        }
        places.resize(line.counter as usize, None);
        places.push(Some(self.entries.len()));
        self.lasts += usize::from(line.is_last);
        let text = line.text();
        let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.sum = text[..15].iter().fold(self.sum, mix);
        self.entries.push(Entry { text, line });
        true
    }

    /// Whether a line that the order does not have would fit where an ear is that has heard what is before `at`: one
    /// that a crash kept from those who were first to hear what came after it.
    pub fn fits(&self, line: &Numbered, at: usize) -> bool {
        let Some(places) = self.places.get(&line.sender) else { return false };
        let Some((before, after)) = places.split_at_checked(line.counter as usize) else { return false };
        let last = before.iter().rev().find_map(|place| *place);
        let next = after.iter().find_map(|place| *place);
        last.is_none_or(|place| place < at) && next.is_some_and(|place| place >= at)
    }

    /// How many lines of a sender were heard, or are known to be lost.
    pub fn known(&self, sender: u32) -> u32 {
        self.places.get(&sender).map_or(0, |places| places.len().try_into().unwrap())
    }

    /// A sender is called the same all the time.
    pub fn check_name(&mut self, sender: u32, name: &[u8], tally: &mut Tally) {
        let known = self.names.entry(sender).or_insert_with(|| name.to_owned());
        if known != name {
            let tell = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            tally.fault(|| format!("{sender} was {} and is {} now", tell(known), tell(name)));
        }
    }
}
