//! Presence: who has come and gone that the others have not been told of yet. Many at once are told in one line.

use std::time::{Duration, Instant};

use super::entry::Entry;
use crate::protocol::{Name, Who};

/// How long those who come and go are gathered after the last time that somebody was told of.
const GATHERING: Duration = Duration::from_secs(1);

/// How many are told of at once: what `json` says of them fits into the smallest log.
const MOST_AT_ONCE: usize = 1000;

/// Who has come and gone.
#[derive(Debug, Default)]
pub(super) struct Presence {
    joined: Vec<Who>,
    left: Vec<Who>,
    told: Option<Instant>,
    /// How many entries that tell of somebody wait for their place in the room: nobody else is told of meanwhile.
    waiting: usize,
}

impl Presence {
    pub(super) fn joined(&mut self, who: Who) {
        self.joined.push(who);
    }

    /// Whoever has come unnoticed goes unnoticed.
    pub(super) fn left(&mut self, who: Who) {
        let before = self.joined.len();
        self.joined.retain(|joined| joined.id != who.id);
        if self.joined.len() == before {
            self.left.push(who);
        }
    }

    /// Somebody is called something else now; returns whether nobody has been told of it yet under the name before.
    pub(super) fn renamed(&mut self, to: &Who) -> bool {
        let unnoticed = self.joined.iter_mut().find(|joined| joined.id == to.id);
        unnoticed.map(|joined| *joined = to.clone()).is_some()
    }

    /// Who has not been told of yet: those who have come and those who are gone.
    pub(super) fn untold(&self) -> (&[Who], &[Who]) {
        (&self.joined, &self.left)
    }

    /// Gathers those who had not been told of in another process; `waiting` entries tell of others.
    pub(super) fn restore(joined: Vec<Who>, left: Vec<Who>, waiting: usize, now: Instant) -> Self {
        let is_anybody = !joined.is_empty() || !left.is_empty();
        Self { joined, left, told: is_anybody.then_some(now), waiting }
    }

    /// Returns whether others are still to be told that somebody has come.
    pub(super) fn has_joined(&self, id: u64) -> bool {
        self.joined.iter().any(|joined| joined.id == id)
    }

    /// Returns whether others are still to be told that somebody is gone who was called that, or seemed to be.
    pub(super) fn has_left(&self, name: &Name) -> bool {
        self.left.iter().any(|left| left.name.looks_like(name))
    }

    /// They are gathered from now on, if they are not.
    pub(super) fn begin(&mut self, now: Instant) {
        self.told.get_or_insert(now);
    }

    /// When they are to be told of; `None` if there is nobody, or others are told of first.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_anybody = !self.joined.is_empty() || !self.left.is_empty();
        self.told.filter(|_| is_anybody && self.waiting == 0).map(|told| told + GATHERING)
    }

    /// An entry that tells of somebody has got its place.
    pub(super) fn placed(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Takes out who has come and who is gone, as entries, if it is time to tell of them.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Entry> {
        let is_early = self.told.is_some_and(|told| now < told + GATHERING);
        if is_early || self.waiting > 0 { Vec::new() } else { self.take_all(now) }
    }

    /// The same, whether it is time or not.
    pub(super) fn take_all(&mut self, now: Instant) -> Vec<Entry> {
        let (joined, left) = (std::mem::take(&mut self.joined), std::mem::take(&mut self.left));
        let left = left.chunks(MOST_AT_ONCE).map(|who| Entry::Left(who.to_vec()));
        let entries: Vec<Entry> =
            left.chain(joined.chunks(MOST_AT_ONCE).map(|who| Entry::Joined(who.to_vec()))).collect();
        if !entries.is_empty() {
            self.told = Some(now);
            self.waiting += entries.len();
        }
        entries
    }
}
