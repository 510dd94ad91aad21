//! Seen: the last entry of each node that has been read. After a failover nodes send again what may be lost, and what has
//! been read before is not given twice.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Most nodes whose last entry is remembered: somebody may make up any number of them.
const MAX_WRITERS: usize = 4096;

/// What has been read of an order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    /// What a node sends again, and has no later counter than here, has been read before.
    last: Last,
    /// Of acts, also what was read before an older roster was recalled: what an act has a node do once is done.
    ever: Last,
}

/// The incarnation of each node, and the counter of its last entry that has been read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Last(HashMap<Arc<str>, (u64, u64)>);

impl Seen {
    /// Remembers an entry. Returns whether it has come before. What its node sends for the first time has not, whatever
    /// counter somebody has written into the stream in the name of that node.
    pub fn note(&mut self, writer: &Arc<str>, count: (u64, u64), is_again: bool) -> bool {
        let last = self.last.of(writer);
        let is_seen = is_again && last.0 == count.0 && count.1 <= last.1;
        if !is_seen {
            *last = count;
        }
        is_seen
    }

    /// Remembers the highest counter of each node, also when older entries are read again. Returns whether this one is not
    /// higher.
    pub fn pass(&mut self, writer: &Arc<str>, count: (u64, u64)) -> bool {
        let last = self.ever.of(writer);
        let is_passed = last.0 == count.0 && count.1 <= last.1;
        if !is_passed {
            *last = count;
        }
        is_passed
    }

    /// Older entries are read again, and have not come a second time by that.
    pub fn read_again(&mut self) {
        self.last = Last::default();
    }
}

impl Last {
    fn of(&mut self, writer: &Arc<str>) -> &mut (u64, u64) {
        if self.0.len() >= MAX_WRITERS && !self.0.contains_key(writer) {
            self.0.clear();
        }
        self.0.entry(Arc::clone(writer)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_makes_nothing_new_of_what_comes_again() {
        let (mut seen, alpha) = (Seen::default(), Arc::from("alpha"));
        for counter in 1..=5 {
            assert!(!seen.pass(&alpha, (7, counter)));
        }
        // The roster that was stored is behind these, and the last one is sent again.
        seen.read_again();
        assert!((3..=5).all(|counter| seen.pass(&alpha, (7, counter))));
        assert!(!seen.pass(&alpha, (7, 6)) && !seen.pass(&alpha, (8, 1)));
    }
}
