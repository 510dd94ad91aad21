//! The sequencer: what gives the entries of a room their one order.
//!
//! The hub hands every entry over and appends only what comes back, in the order in which it comes back. In one
//! process that is at once ([`Local`]). Behind this seam an engine may order the entries of several processes: then they
//! come back later, together with those of others, and perhaps only after a restart.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use super::entry::Entry;
use super::id::SessionId;
use crate::protocol::Name;

/// What gives the entries of a room their order.
pub trait Sequencer: Debug + Send {
    /// Takes an entry for a room. It must come back once, however long that takes: whoever has said it is not read from
    /// until then.
    fn submit(&mut self, room: Arc<Name>, entry: Entry);

    /// Returns whether an entry that this session waits for has still to come back. A hub asks when it goes on with
    /// what another process has left.
    fn has(&self, asked_by: SessionId) -> bool;

    /// Returns the next entry that has its place, and in which room.
    fn next(&mut self) -> Option<(Arc<Name>, Entry)>;
}

/// The order in which entries are submitted.
#[derive(Debug, Default)]
pub struct Local(VecDeque<(Arc<Name>, Entry)>);

impl Sequencer for Local {
    fn submit(&mut self, room: Arc<Name>, entry: Entry) {
        self.0.push_back((room, entry));
    }

    fn has(&self, asked_by: SessionId) -> bool {
        self.0.iter().any(|(_, entry)| entry.asked_by() == Some(asked_by))
    }

    fn next(&mut self) -> Option<(Arc<Name>, Entry)> {
        self.0.pop_front()
    }
}
