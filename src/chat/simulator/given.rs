//! What a sequencer has given a hub, for the test to look at.

use std::sync::{Arc, Mutex};

use crate::chat::history::Record;
use crate::chat::{Cursor, Entry, Stamp};

/// One thing that a hub was given.
#[derive(Debug)]
pub enum Given {
    /// An entry has its place in a room.
    Entry { room: String, entry: Entry, stamp: Option<Stamp> },
    /// An entry that was given before has another place now, and so many lines.
    Repeated { room: String, stamp: Stamp, lines: u32 },
    /// A room was opened that goes on after this.
    Opened { room: String, said: u64, cursor: Cursor, records: Vec<Record> },
    /// An entry has its place, which the hub was not shown: it is trimmed.
    Passed(Entry),
    /// Acts come again that the engine has lost, or all nodes have heard that this one is gone.
    Unsettled,
}

/// All that was given and has not been looked at.
#[derive(Clone, Debug, Default)]
pub struct Givens(Arc<Mutex<Vec<Given>>>);

impl Givens {
    pub fn push(&self, given: Given) {
        self.0.lock().unwrap().push(given);
    }

    pub fn take(&self) -> Vec<Given> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
