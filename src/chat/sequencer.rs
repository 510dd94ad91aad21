//! The sequencer: gives the entries of a room their one order, and the acts of all nodes another one.
//!
//! The hub submits every entry and every act, and takes in only what the sequencer gives back, in that order. In one
//! process everything comes back at once ([`Local`]). An engine behind this trait orders what several nodes submit: then
//! an item comes back later, with those of other nodes, and perhaps only after a restart.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::act::Act;
use super::entry::Entry;
use super::host::ClusterBans;
use super::id::SessionId;
use super::recall::Recalled;
use super::roster::Roster;
use crate::protocol::Name;

/// What the hub has put in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An entry for a room.
    Entry(Arc<Name>, Entry),
    /// What all nodes have to know in one order.
    Act(Act),
}

impl Item {
    /// Returns the session whose input waits until the item has its place.
    pub fn asked_by(&self) -> Option<SessionId> {
        match self {
            Self::Entry(_, entry) => entry.asked_by(),
            Self::Act(act) => act.asked_by(),
        }
    }
}

/// The place of an entry in its room, as the engine gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Where the entry is, for [`Sequencer::open`].
    pub cursor: Cursor,
    /// The number of the first line of the entry, or of the next line if it has none.
    pub seq: u64,
    /// When the engine took it.
    #[serde(with = "super::history::micros")]
    pub time: Timestamp,
}

/// A position in the order of a room: an entry and everything before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// The epoch of the room. A larger one is later.
    pub epoch: u64,
    /// The number of the entry in its epoch, from 1.
    pub entry: u64,
}

impl Cursor {
    /// Returns whether this is the entry behind another one, in the same epoch.
    pub(super) fn is_next_to(self, last: Self) -> bool {
        self == Self { entry: last.entry.saturating_add(1), ..last }
    }
}

/// What the sequencer gives back.
#[derive(Debug)]
pub enum Sequenced {
    /// An entry has its place. Without a stamp, the room itself counts.
    Entry {
        /// Its room.
        room: Arc<Name>,
        /// The entry.
        entry: Entry,
        /// Its place.
        stamp: Option<Stamp>,
    },
    /// An entry has come again, because another engine has taken over: nobody is given it twice, and its numbers are not
    /// missing. Or it breaks a rule, and has no lines.
    Repeated {
        /// Its room.
        room: Arc<Name>,
        /// Where it is now.
        stamp: Stamp,
        /// How many lines it has.
        lines: u32,
    },
    /// An act has its place.
    Act {
        /// The act.
        act: Act,
        /// The node that submitted it; `None` if there is only one.
        node: Option<Arc<str>>,
        /// Where it is in the order of acts; the default if there is only one node.
        cursor: Cursor,
        /// When the engine took it; the same for all nodes.
        time: Option<Timestamp>,
        /// It was given back before, and its node sent it again because the engine has lost it.
        is_again: bool,
        /// This process submitted it, or the one before a handover, and it comes back for the first time.
        is_awaited: bool,
    },
    /// A room that was opened without a cursor: how it stands, and its last lines. What comes next follows that.
    Opened {
        /// How the room stands.
        room: Box<Recalled>,
        /// The last entry before.
        cursor: Cursor,
    },
    /// What all acts up to a cursor have made of the roster: comes before the first act, and when acts are lost.
    Roster {
        /// The roster.
        roster: Box<Roster>,
        /// The last act in it.
        cursor: Cursor,
    },
    /// The bans and mutes that the cluster has: comes once to each process, and after each [`Sequenced::Roster`], before
    /// the next act.
    Bans {
        /// The bans and mutes.
        bans: Arc<ClusterBans>,
        /// The last act that counts in them.
        cursor: Cursor,
    },
    /// How the engine is doing.
    Engine(EngineEvent),
}

/// What members are told of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// It has not answered for a second: what members say waits.
    Away,
    /// It answers again.
    Back,
    /// Another engine has taken over, or it has lost entries. The order of the last lines may differ between nodes.
    Failover,
}

/// Gives the entries of each room one order, and all acts one.
pub trait Sequencer: Debug + Send {
    /// Takes an item. [`Sequencer::next`] must return it exactly once, however long that takes: chatd does not read from
    /// its sender until then.
    fn submit(&mut self, item: Item);

    /// Returns whether an item that this session waits for has yet to come back. The hub asks when it restores a
    /// snapshot.
    fn has(&self, asked_by: SessionId) -> bool;

    /// Returns the next item in order; `None` if there is none for now.
    fn next(&mut self) -> Option<Sequenced>;

    /// Returns whether everything that was submitted has got its place, whether it has come back or not. The broker does
    /// not end at a stop before that.
    fn is_settled(&self) -> bool {
        true
    }

    /// Returns `Ready` if [`Sequencer::next`] has something. Otherwise it wakes `cx` as soon as it has, or is settled.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Returns the name of this node among several; `None` if it is alone.
    fn node(&self) -> Option<&Arc<str>> {
        None
    }

    /// Has it give back what follows `after` in a room. Without `after`, [`Sequenced::Opened`] comes first, also for a
    /// room that was closed before it came.
    fn open(&mut self, _room: &Arc<Name>, _after: Option<Cursor>) {}

    /// Has it give back nothing more of a room: nobody is there.
    fn close(&mut self, _room: &Name) {}

    /// Has it keep back what it has of a room, which waits for a reader, or no longer.
    fn hold(&mut self, _room: &Name, _is_held: bool) {}

    /// Stores the roster for nodes that come later: all acts up to `cursor` have made it.
    fn store(&mut self, _roster: Roster, _cursor: Cursor) {}

    /// Goes on after this act: the hub has restored the roster. Otherwise the first thing is [`Sequenced::Roster`].
    fn follow(&mut self, _acts_after: Cursor) {}

    /// Returns what the next process needs to go on with what has not come back; empty if there is nothing.
    fn save(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// The sequencer of a single process: the order in which items are submitted.
#[derive(Debug, Default)]
pub struct Local(VecDeque<Item>);

impl Sequencer for Local {
    fn submit(&mut self, item: Item) {
        self.0.push_back(item);
    }

    fn has(&self, asked_by: SessionId) -> bool {
        self.0.iter().any(|item| item.asked_by() == Some(asked_by))
    }

    fn next(&mut self) -> Option<Sequenced> {
        self.0.pop_front().map(|item| match item {
            Item::Entry(room, entry) => Sequenced::Entry { room, entry, stamp: None },
            Item::Act(act) => {
                let (node, cursor, time) = (None, Cursor::default(), None);
                Sequenced::Act { act, node, cursor, time, is_again: false, is_awaited: true }
            }
        })
    }

    /// Wakes nobody: there is an item as soon as it is submitted.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.0.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}
