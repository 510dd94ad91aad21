//! Following: how far this node follows the acts.

use std::collections::HashSet;

use super::id::SessionId;
use super::names::Names;
use super::roster::Roster;
use super::sequencer::{Cursor, Sequencer};

/// Acts after which a roster is stored anew, if there are fewer sessions.
pub(super) const STORED_AFTER: usize = 1000;

/// How far this node follows the acts.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// The last act in the roster.
    pub(super) cursor: Cursor,
    /// How many acts came since the roster was stored.
    since_stored: usize,
    /// The mark of the last [`Act::Returned`](super::Act::Returned) of this process, until that has its place.
    pub(super) awaited: Option<u64>,
    /// The names that sessions here have told with it.
    pub(super) returning: Names,
    /// All nodes know which sessions are here. Until then acts are those of before: what they mean for sessions here shows
    /// at the end.
    pub(super) is_live: bool,
    /// While acts come again, those up to here have been carried out; all of them, if this process has not seen them.
    pub(super) known: Cursor,
    /// It has been looked whether sessions here stand at a node that this one was before. Once for each roster: a session of
    /// another node may have the number of one here, and two nodes must not declare each other gone for ever.
    pub(super) has_left_earlier: bool,
    /// The bans and mutes that this process was given have what acts up to here say of them.
    pub(super) bans: Cursor,
    /// Sessions here that have got a name while acts came again. If they lose it, they are told at once.
    pub(super) told: HashSet<SessionId>,
}

impl Following {
    /// One act more is in the roster: stores it for nodes that come later, if that is due.
    pub(super) fn count(&mut self, roster: &Roster, sequencer: &mut dyn Sequencer) {
        self.since_stored += 1;
        if sequencer.node().is_some() && self.since_stored >= STORED_AFTER.max(roster.len()) {
            self.since_stored = 0;
            sequencer.store(roster.to_store(), self.cursor);
        }
    }
}
