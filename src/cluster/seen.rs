//! Seen: the last entry of each node that has been read. After a failover nodes send again what may be lost, and the hub is
//! not given again what it has, or what waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chat::Sequenced;

/// Most nodes whose last entry is remembered: somebody may make up any number of them.
const MAX_WRITERS: usize = 4096;

/// What has been read of an order, and what of that the hub has been given.
#[derive(Debug, Default)]
pub struct Seen {
    read: Last,
    given: Last,
}

/// The incarnation of each node, and the counter of its last entry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Last(HashMap<Arc<str>, (u64, u64)>);

/// Who wrote an entry.
#[derive(Clone, Debug)]
pub struct Writer {
    pub node: Arc<str>,
    /// Its incarnation and the counter of the entry.
    pub count: (u64, u64),
    /// It may have sent the entry before.
    pub is_again: bool,
}

impl Seen {
    /// The hub of this process, or of the one before, has been given that.
    pub fn of(given: Last) -> Self {
        Self { read: given.clone(), given }
    }

    /// Returns what the hub has been given.
    pub fn given(&self) -> &Last {
        &self.given
    }

    /// What has been read and not given is read again.
    pub fn read_again(&mut self) {
        self.read = self.given.clone();
    }

    /// Remembers an entry of a room that is read. Returns whether that has been read before.
    pub fn read(&mut self, writer: &Writer) -> bool {
        self.read.note(writer)
    }

    /// Remembers what the hub is given. An act says whether it was given before.
    pub fn give(&mut self, sequenced: &mut Sequenced, writer: &Writer) {
        match sequenced {
            Sequenced::Act { is_again, .. } => *is_again = self.give_act(writer),
            _ => _ = self.given.note(writer),
        }
    }

    /// Remembers an act. Returns whether it was given before, also if the hub goes on from an older roster now: what an act
    /// has a node do once is done.
    fn give_act(&mut self, writer: &Writer) -> bool {
        let last = self.given.of(writer);
        let is_given = last.0 == writer.count.0 && writer.count.1 <= last.1;
        if !is_given {
            *last = writer.count;
        }
        is_given && writer.is_again
    }
}

impl Last {
    /// Remembers an entry. Returns whether it has come before. What its node sends for the first time has not, whatever
    /// counter somebody has written into the stream in the name of that node.
    fn note(&mut self, writer: &Writer) -> bool {
        let last = self.of(writer);
        let is_seen = writer.is_again && last.0 == writer.count.0 && writer.count.1 <= last.1;
        if !is_seen {
            *last = writer.count;
        }
        is_seen
    }

    fn of(&mut self, writer: &Writer) -> &mut (u64, u64) {
        if self.0.len() >= MAX_WRITERS && !self.0.contains_key(&writer.node) {
            self.0.clear();
        }
        self.0.entry(Arc::clone(&writer.node)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_makes_nothing_new_of_what_comes_again() {
        let mut seen = Seen::default();
        let mut give = |incarnation, counter, is_again| {
            seen.give_act(&Writer { node: "alpha".into(), count: (incarnation, counter), is_again })
        };
        assert!((1..=5).all(|counter| !give(7, counter, false)));
        // The roster that was stored is behind these, and the last two are sent again.
        assert!(!give(7, 3, false));
        assert!(give(7, 4, true) && give(7, 5, true));
        assert!(!give(7, 6, true) && !give(8, 1, true));
    }
}
