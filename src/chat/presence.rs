//! Presence: the members that joined or left a room and are not announced yet. One line announces many of them.

use std::time::{Duration, Instant};

use super::entry::Entry;
use crate::protocol::{Name, Who};

/// How long to collect members after the last announcement.
const GATHERING: Duration = Duration::from_secs(1);

/// Most members of one announcement. Their objects in `json` fit into the smallest log.
pub(super) const MOST_AT_ONCE: usize = 1000;

/// Members to announce.
#[derive(Debug, Default)]
pub(super) struct Presence {
    joined: Vec<Who>,
    left: Vec<Who>,
    told: Option<Instant>,
    /// Number of announcements that wait for their place in the room. Meanwhile there are no further ones.
    waiting: usize,
}

impl Presence {
    pub(super) fn joined(&mut self, who: Who) {
        self.joined.push(who);
    }

    /// A member left. If it was not announced yet, nobody hears of it at all.
    pub(super) fn left(&mut self, who: Who) {
        let before = self.joined.len();
        self.joined.retain(|joined| joined.id != who.id);
        if self.joined.len() == before {
            self.left.push(who);
        }
    }

    /// A member took another name. Returns whether it is not announced yet: then it will be, with the new name.
    pub(super) fn renamed(&mut self, to: &Who) -> bool {
        let unnoticed = self.joined.iter_mut().find(|joined| joined.id == to.id);
        unnoticed.map(|joined| *joined = to.clone()).is_some()
    }

    /// Returns the members to announce: those that joined, and those that left.
    pub(super) fn untold(&self) -> (&[Who], &[Who]) {
        (&self.joined, &self.left)
    }

    /// Restores the members to announce, and the number of announcements that wait.
    pub(super) fn restore(joined: Vec<Who>, left: Vec<Who>, waiting: usize, now: Instant) -> Self {
        let is_anybody = !joined.is_empty() || !left.is_empty();
        Self { joined, left, told: is_anybody.then_some(now), waiting }
    }

    /// Returns whether this member joined and is not announced yet.
    pub(super) fn has_joined(&self, id: u64) -> bool {
        self.joined.iter().any(|joined| joined.id == id)
    }

    /// Returns whether a member left that had this name, or one that looks like it, and that is not announced yet.
    pub(super) fn has_left(&self, name: &Name) -> bool {
        self.left.iter().any(|left| left.name.looks_like(name))
    }

    /// Begins to collect members, unless that has begun.
    pub(super) fn begin(&mut self, now: Instant) {
        self.told.get_or_insert(now);
    }

    /// Returns when the next announcement is due; `None` if there is nobody to announce, or an announcement waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_anybody = !self.joined.is_empty() || !self.left.is_empty();
        self.told.filter(|_| is_anybody && self.waiting == 0).map(|told| told + GATHERING)
    }

    /// An announcement has got its place.
    pub(super) fn placed(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Announcements that have no place yet will not come back: they are in what the room goes on after, or are gone.
    pub(super) fn forget_placing(&mut self) {
        self.waiting = 0;
    }

    /// Returns the announcements as entries if they are due.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Entry> {
        let is_early = self.told.is_some_and(|told| now < told + GATHERING);
        if is_early || self.waiting > 0 { Vec::new() } else { self.take_all(now) }
    }

    /// Returns the announcements as entries, due or not.
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
