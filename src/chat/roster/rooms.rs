//! How many sessions of each of several nodes are in which room.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::seat::Location;
use crate::chat::id::Node;
use crate::protocol::Name;

/// The rooms, by the first of their keys: rooms that look alike are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Rooms(BTreeMap<Box<str>, Tally>);

/// A room.
#[derive(Clone, Debug)]
struct Tally {
    name: Name,
    nodes: BTreeMap<Arc<str>, usize>,
}

impl Rooms {
    /// A session is there.
    pub(super) fn enter(&mut self, Location { node, room, .. }: &Location) {
        let new = || Tally { name: room.clone(), nodes: BTreeMap::new() };
        let tally = self.0.entry(first_key(room).into()).or_insert_with(new);
        *tally.nodes.entry(Arc::clone(node)).or_default() += 1;
    }

    /// It is no longer there.
    pub(super) fn leave(&mut self, Location { node, room, .. }: &Location) {
        let Some(tally) = self.0.get_mut(first_key(room)) else { return };
        if let Some(count) = tally.nodes.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                tally.nodes.remove(node);
            }
        }
        if tally.nodes.is_empty() {
            self.0.remove(first_key(room));
        }
    }

    /// Returns how many sessions of other nodes are in a room.
    pub(super) fn count_elsewhere(&self, room: &Name, own: &Node) -> usize {
        self.0.get(first_key(room)).map_or(0, |tally| tally.elsewhere(own))
    }

    /// Returns the rooms with sessions of other nodes, and how many these are.
    pub(super) fn elsewhere<'a>(&'a self, own: &'a Node) -> impl Iterator<Item = (&'a Name, usize)> {
        let counted = self.0.values().map(|tally| (&tally.name, tally.elsewhere(own)));
        counted.filter(|(_, count)| *count > 0)
    }
}

impl Tally {
    fn elsewhere(&self, own: &Node) -> usize {
        self.nodes.iter().filter(|(node, _)| Some(*node) != own.as_ref()).map(|(_, count)| count).sum()
    }
}

/// Returns the first of the looks of a room.
pub(super) fn first_key(room: &Name) -> &str {
    room.keys().next().unwrap_or_else(|| room.as_str())
}
