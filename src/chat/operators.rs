//! What operators have arranged: who hears which room without being in it.
//!
//! The commands are in `chat::control`. Who is an operator, who is banned or muted, and what else is outside of the hub,
//! the [`Host`] knows.

use std::collections::BTreeMap;

use super::activity::Activity;
use super::host::Host;
use super::id::{RoomId, SessionId};
use super::room::Room;
use crate::protocol::{Name, Watched};

/// Everything that operators have arranged.
#[derive(Debug, Default)]
pub(super) struct Operators {
    /// `None` without a daemon around the hub: then nobody is an operator.
    pub(super) host: Option<Box<dyn Host>>,
    watches: BTreeMap<SessionId, Watched>,
    /// The lines of all rooms.
    pub(super) lines: Activity,
}

impl Operators {
    pub(super) fn is_operator(&self, id: SessionId) -> bool {
        self.host.as_ref().is_some_and(|host| host.is_operator(id))
    }

    pub(super) fn watch(&mut self, id: SessionId, watched: Option<Watched>) {
        match watched {
            Some(watched) => self.watches.insert(id, watched),
            None => self.watches.remove(&id),
        };
    }

    /// Returns what a session hears besides its room.
    pub(super) fn watched_by(&self, id: SessionId) -> Option<&Watched> {
        self.watches.get(&id)
    }

    /// Returns the sessions that hear a room without having to be in it.
    pub(super) fn watchers<'a>(&'a self, room: &'a Name) -> impl Iterator<Item = SessionId> + 'a {
        let hears = |watched: &Watched| match watched {
            Watched::All => true,
            Watched::Room(name) => name.looks_like(room),
        };
        self.watches.iter().filter(move |(_, watched)| hears(watched)).map(|(id, _)| *id)
    }

    /// Notes in each room whether somebody hears it without being in it. Returns the rooms where that begins.
    pub(super) fn note_watches(&self, rooms: &mut BTreeMap<RoomId, Room>) -> Vec<RoomId> {
        let begins = |(id, room): (&RoomId, &mut Room)| {
            let is_watched = self.watchers(room.name()).next().is_some();
            let was_watched = std::mem::replace(&mut room.outbox.is_overheard, is_watched);
            (is_watched && !was_watched).then_some(*id)
        };
        rooms.iter_mut().filter_map(begins).collect()
    }
}
