//! The seam to the archive: what a room has taken in, on its way to where it is stored.
//!
//! A room makes an [`Archived`] of each piece that gets its place, in the order of the room. The dispatcher hands it to
//! the [`Archive`] before it has any member sent something. Floor 3 has the archive: `service::archive`.

use std::fmt::Debug;
use std::sync::Arc;

use jiff::Timestamp;

use super::entry::{Encoded, Entry};
use crate::protocol::{Form, Name, Said, Scene};

/// Stores what rooms take in.
pub trait Archive: Debug + Send {
    /// Takes what a room has taken in. Never waits, so it may have to count it as lost.
    fn append(&mut self, archived: Archived);
}

/// What a room has taken in since it was last passed on.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The archive gets what the room takes in.
    pub(super) is_archived: bool,
    /// An operator who is not in the room gets it.
    pub(super) is_overheard: bool,
    /// The archive has the lines up to this number in this epoch: after a crash they may come again.
    pub(super) archived: (u64, u64),
    taken: Vec<Archived>,
}

impl Outbox {
    /// Stores what a room takes in, if somebody gets it: the epoch and the number of the first line, and when it does and
    /// with how many members.
    pub(super) fn put(
        &mut self,
        room: &Arc<Name>,
        (epoch, seq): (u64, u64),
        (time, members): (Timestamp, usize),
        entry: impl FnOnce() -> Entry,
    ) {
        if self.is_archived || self.is_overheard {
            self.taken.push(Archived { room: Arc::clone(room), epoch, seq, time, members, entry: entry() });
        }
    }

    /// Returns all of it, and removes it.
    pub(super) fn take(&mut self) -> Vec<Archived> {
        std::mem::take(&mut self.taken)
    }
}

/// What members are told of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Archiving {
    /// How long lines are stored, in days; `None` for ever.
    pub(super) days: Option<u32>,
}

/// What a room has taken in at once: lines of one member, or an event.
#[derive(Clone, Debug)]
pub struct Archived {
    /// The name of the room.
    pub room: Arc<Name>,
    /// The room's epoch.
    pub epoch: u64,
    /// The number of its first line. An event has that of the next line.
    pub seq: u64,
    /// When the room took it.
    pub time: Timestamp,
    /// Number of members in the room then.
    pub(super) members: usize,
    /// What it is.
    pub(super) entry: Entry,
}

impl Archived {
    /// Returns the number of lines that members have said; 0 for an event.
    pub fn lines(&self) -> u64 {
        match &self.entry {
            Entry::Said { lines, .. } => u64::from(*lines),
            _ => 0,
        }
    }

    /// Returns what of it is not in an archive that has the lines up to this number in this epoch.
    pub(super) fn after(mut self, (epoch, seq): (u64, u64)) -> Option<Self> {
        let known = if self.epoch == epoch { (seq + 1).saturating_sub(self.seq) } else { 0 };
        if known == 0 {
            return Some(self);
        }
        self.seq += known;
        self.entry.cut_after(known).map(|entry| Self { entry, ..self })
    }

    /// Returns its memory, in bytes.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.entry.memory()
    }

    /// Returns lines that a member has said, for tests.
    #[cfg(test)]
    pub(crate) fn said(room: &Arc<Name>, epoch: u64, seq: u64, time: Timestamp, text: &str) -> Self {
        let who = Arc::new(crate::protocol::Who { id: 7, name: Name::guest(7), verified: false });
        let (kind, from) = (crate::protocol::Kind::Message, super::id::SessionId(7));
        let lines = text.lines().count() as u32;
        let entry = Entry::Said { kind, from, who, text: text.into(), lines, done: (0, 0) };
        Self { room: Arc::clone(room), epoch, seq, time, members: 1, entry }
    }

    /// Returns that a member has joined, for tests.
    #[cfg(test)]
    pub(crate) fn joined(room: &Arc<Name>, epoch: u64, seq: u64, time: Timestamp) -> Self {
        let who = crate::protocol::Who { id: 7, name: Name::guest(7), verified: false };
        Self { room: Arc::clone(room), epoch, seq, time, members: 1, entry: Entry::Joined(vec![who]) }
    }

    /// Appends the objects that members in the view `json` get, one a line.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Entry::Said { kind, who, text, .. } = &self.entry {
            let (room, time, seq) = (self.room.as_str(), self.time, self.seq);
            return Form::JSON.said(&Said { kind: *kind, who, room, time, seq, text }, out);
        }
        out.extend_from_slice(&self.encoded(Form::JSON).0);
    }

    /// Returns what members see, and the number of lines.
    pub(super) fn encoded(&self, form: Form) -> Encoded<'_> {
        let scene = Scene { room: self.room.as_str(), time: self.time, members: self.members };
        self.entry.encode(form, self.entry.piece(usize::MAX), scene, self.seq)
    }
}
