//! The sequencer: gives the entries of a room their one order.
//!
//! The hub submits every entry, and appends only what the sequencer gives back, in that order. In one process the entry
//! comes back at once ([`Local`]). An engine behind this trait can order the entries of several processes: then an
//! entry comes back later, together with those of other processes, and perhaps only after a restart.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::entry::Entry;
use super::id::SessionId;
use crate::protocol::Name;

/// Gives the entries of each room one order.
pub trait Sequencer: Debug + Send {
    /// Takes an entry for a room. [`Sequencer::next`] must return it exactly once, however long that takes: chatd does
    /// not read from its sender until then.
    fn submit(&mut self, room: Arc<Name>, entry: Entry);

    /// Returns whether an entry that this session waits for has yet to come back. The hub asks when it restores a
    /// snapshot.
    fn has(&self, asked_by: SessionId) -> bool;

    /// Returns the next entry in order, with its room; `None` if there is none for now.
    fn next(&mut self) -> Option<(Arc<Name>, Entry)>;

    /// Returns `Ready` if [`Sequencer::next`] has an entry. Otherwise it wakes `cx` as soon as it has one.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The sequencer of a single process: the order in which entries are submitted.
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

    /// Wakes nobody: there is an entry as soon as it is submitted.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.0.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}
