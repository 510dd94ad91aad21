//! An item of this node on its way: from when it is submitted until the hub has it back, and replicas have it.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::chat::{Cursor, Entry, Item, Sequenced, SessionId, Stamp};
use crate::protocol::{Kind, Name, Who};
use crate::rt;

/// Where the engine has put an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its last entry.
    pub cursor: Cursor,
    /// The number of its first line.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// It is there, and not at some place before.
    pub is_exact: bool,
}

/// An item that waits, or has not come back, or that not enough replicas have.
#[derive(Debug)]
pub struct Pending {
    /// The counter of its first part.
    pub first: u64,
    /// How many parts it has.
    pub parts: u64,
    /// The item.
    pub item: Arc<Item>,
    /// It has been sent to the engine that we talk to.
    pub is_sent: bool,
    /// It has been sent to an engine, perhaps by the process before.
    pub was_sent: bool,
    /// Where it is.
    pub place: Option<Place>,
    /// It waits for the hub.
    pub is_queued: bool,
    /// The hub has it back.
    pub is_given: bool,
    /// Enough replicas have it.
    pub is_safe: bool,
    /// When it was submitted.
    pub since: Instant,
}

impl Pending {
    /// An item with so many parts that has just been submitted.
    pub fn new(first: u64, parts: u64, item: Item) -> Self {
        Self {
            first,
            parts,
            item: Arc::new(item),
            is_sent: false,
            was_sent: false,
            place: None,
            is_queued: false,
            is_given: false,
            is_safe: false,
            since: rt::now(),
        }
    }

    /// Returns whether the engine has it.
    pub fn is_placed(&self) -> bool {
        self.place.is_some() || self.is_given
    }

    /// Returns it as the engine gives it back.
    pub fn sequenced(&self, place: Place, node: &Arc<str>) -> Sequenced {
        let Place { cursor, seq, time, .. } = place;
        match &*self.item {
            Item::Entry(room, entry) => {
                let stamp = Some(Stamp { cursor, seq, time });
                Sequenced::Entry { room: Arc::clone(room), entry: entry.clone(), stamp }
            }
            Item::Act(act) => {
                let (act, node, time) = (act.clone(), Some(Arc::clone(node)), Some(time));
                Sequenced::Act { act, node, cursor, time, is_again: false, is_awaited: true }
            }
        }
    }
}

/// Returns what wakes a session whose item got lost on the way: an entry of a room in which nobody is.
pub fn nowhere(session: SessionId) -> Sequenced {
    let who = Arc::new(Who::guest(session.0));
    let (text, lines, done) = (Vec::new(), 0, (0, 0));
    let entry = Entry::Said { kind: Kind::Message, from: session, who, text, lines, done };
    Sequenced::Entry { room: Arc::new(Name::guest(0)), entry, stamp: None }
}
