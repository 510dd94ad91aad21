//! What the directory knows of a cluster: how the engine is, and which rooms the sequencer has yet to open.

use super::id::{RoomId, SessionId};
use super::sequencer::Sequencer;
use crate::protocol::Name;

/// What the directory knows of a cluster.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    /// This node is one of several.
    pub(super) is_on: bool,
    /// Rooms that sessions want to go to, and that are not open.
    pub(super) wanted: Wanted,
    /// Members know that the engine is away.
    pub(super) is_away: bool,
    /// The process before has told them so, and this one has not heard of the engine yet.
    pub(super) was_away: bool,
}

impl Cluster {
    /// A room is gone: has the sequencer give back nothing more of it. One that sessions wait for is opened all the same,
    /// and closed then if none of them is left.
    pub(super) fn close(&self, room: &Name, sequencer: &mut dyn Sequencer) {
        if !self.wanted.closed().any(|wanted| wanted.looks_like(room)) {
            sequencer.close(room);
        }
    }
}

/// Rooms that are not open, and the sessions that want to go there.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Those that are not open.
    closed: Vec<(Name, Vec<SessionId>)>,
    /// Those that are open and empty. The sessions have their turn to go there.
    offered: Vec<(RoomId, Vec<SessionId>)>,
}

impl Wanted {
    /// Returns the names of those that are not open.
    pub(super) fn closed(&self) -> impl Iterator<Item = &Name> {
        self.closed.iter().map(|(name, _)| name)
    }

    /// A session wants to go to a room that is not open.
    pub(super) fn put(&mut self, name: &Name, id: SessionId) {
        let known = self.closed.iter_mut().find(|(wanted, _)| wanted.looks_like(name));
        match known {
            Some((_, sessions)) if sessions.contains(&id) => {}
            Some((_, sessions)) => sessions.push(id),
            None => self.closed.push((name.clone(), vec![id])),
        }
    }

    /// Returns the sessions that want to go to a room, which is open now.
    pub(super) fn take(&mut self, name: &Name) -> Vec<SessionId> {
        let index = self.closed.iter().position(|(wanted, _)| wanted.looks_like(name));
        index.map_or_else(Vec::new, |index| self.closed.swap_remove(index).1)
    }

    /// An empty room is for these sessions.
    pub(super) fn offer(&mut self, room: RoomId, sessions: Vec<SessionId>) {
        self.offered.push((room, sessions));
    }

    /// A session has had its turn, or is gone. Returns the rooms that were for it alone.
    pub(super) fn end_turn(&mut self, id: SessionId) -> Vec<RoomId> {
        let mut over = Vec::new();
        self.offered.retain_mut(|(room, sessions)| {
            sessions.retain(|one| *one != id);
            over.extend(sessions.is_empty().then_some(*room));
            !sessions.is_empty()
        });
        over
    }
}
