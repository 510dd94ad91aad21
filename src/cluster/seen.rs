//! Seen: the last entry of each node that the hub has. After a failover nodes send again what may be lost, and what the hub
//! has is not given to it twice.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chat::{Entry, Sequenced};

/// Most nodes whose last entry is remembered: somebody may make up any number of them.
const MAX_WRITERS: usize = 4096;

/// What the hub has of an order: the incarnation of each node, and the counter of its last entry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen(HashMap<Arc<str>, (u64, u64)>);

/// Who wrote an entry.
#[derive(Debug)]
pub struct Writer {
    pub node: Arc<str>,
    /// Its incarnation and the counter of the entry.
    pub count: (u64, u64),
    /// It may have sent the entry before.
    pub is_again: bool,
}

impl Seen {
    /// Looks at what the hub is given next. Returns it, or what stands for it if the hub has it.
    pub fn look(&mut self, sequenced: Sequenced, writer: Option<Writer>, is_own: bool) -> Sequenced {
        match (sequenced, writer) {
            // What follows the room as it stands is not in it.
            (sequenced @ Sequenced::Opened { .. }, _) => {
                self.0.clear();
                sequenced
            }
            // After a roster that was stored before it, an act counts again, as it does for the other nodes.
            (Sequenced::Act { act, node, cursor, time, is_awaited, .. }, Some(writer)) => {
                let is_again = self.pass(&writer);
                Sequenced::Act { act, node, cursor, time, is_again, is_awaited }
            }
            (Sequenced::Entry { room, entry, stamp: Some(stamp) }, Some(writer))
                if self.note(&writer) && !is_own =>
            {
                let lines = if let Entry::Said { lines, .. } = entry { lines } else { 0 };
                Sequenced::Repeated { room, stamp, lines }
            }
            (sequenced, _) => sequenced,
        }
    }

    /// Remembers an entry. Returns whether the hub has it. What its node sends for the first time the hub has not,
    /// whatever counter somebody has written into the stream in the name of that node.
    fn note(&mut self, writer: &Writer) -> bool {
        let last = self.of(writer);
        let is_seen = writer.is_again && last.0 == writer.count.0 && writer.count.1 <= last.1;
        if !is_seen {
            *last = writer.count;
        }
        is_seen
    }

    /// Remembers the highest counter, also when older acts are read again: what an act has a node do once is done.
    /// Returns whether the hub has it.
    fn pass(&mut self, writer: &Writer) -> bool {
        let last = self.of(writer);
        let is_passed = last.0 == writer.count.0 && writer.count.1 <= last.1;
        if !is_passed {
            *last = writer.count;
        }
        is_passed && writer.is_again
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
        let mut pass =
            |counter, is_again| seen.pass(&Writer { node: "alpha".into(), count: (7, counter), is_again });
        assert!((1..=5).all(|counter| !pass(counter, false)));
        // The roster that was stored is behind these, and the last two are sent again.
        assert!(!pass(3, false));
        assert!(pass(4, true) && pass(5, true));
        assert!(!pass(6, true));
    }
}
