//! Who has come and gone and has not been told of yet: many at once are told in one line.

use std::time::{Duration, Instant};

use crate::protocol::{Name, Who};

/// How long those who come and go are gathered after the last time that somebody was told of.
const GATHERING: Duration = Duration::from_secs(1);

/// Who has come and gone.
#[derive(Debug, Default)]
pub(super) struct Comings {
    joined: Vec<Who>,
    left: Vec<Who>,
    told: Option<Instant>,
}

impl Comings {
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

    /// Somebody is called something else now; says whether nobody has been told of it yet under the name before.
    pub(super) fn renamed(&mut self, to: &Who) -> bool {
        let unnoticed = self.joined.iter_mut().find(|joined| joined.id == to.id);
        unnoticed.map(|joined| *joined = to.clone()).is_some()
    }

    /// Who has not been told of yet: those who have come and those who are gone.
    pub(super) fn untold(&self) -> (&[Who], &[Who]) {
        (&self.joined, &self.left)
    }

    /// Gathers those who had not been told of in another process.
    pub(super) fn put_back(joined: Vec<Who>, left: Vec<Who>, now: Instant) -> Self {
        let is_anybody = !joined.is_empty() || !left.is_empty();
        Self { joined, left, told: is_anybody.then_some(now) }
    }

    /// Says whether others are still to be told that somebody has come.
    pub(super) fn has_joined(&self, id: u64) -> bool {
        self.joined.iter().any(|joined| joined.id == id)
    }

    /// Says whether others are still to be told that somebody is gone who was called that, or seemed to be.
    pub(super) fn has_left(&self, name: &Name) -> bool {
        self.left.iter().any(|left| left.name.looks_like(name))
    }

    /// They are gathered from now on, if they are not.
    pub(super) fn begin(&mut self, now: Instant) {
        self.told.get_or_insert(now);
    }

    /// When they are to be told of; `None` if there is nobody.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_anybody = !self.joined.is_empty() || !self.left.is_empty();
        self.told.filter(|_| is_anybody).map(|told| told + GATHERING)
    }

    /// Takes out who has come and who is gone, if it is time to tell of them.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Vec<Who>, Vec<Who>)> {
        let is_early = self.told.is_some_and(|told| now < told + GATHERING);
        if is_early { None } else { self.take_all(now) }
    }

    /// The same, whether it is time or not.
    pub(super) fn take_all(&mut self, now: Instant) -> Option<(Vec<Who>, Vec<Who>)> {
        if self.joined.is_empty() && self.left.is_empty() {
            return None;
        }
        self.told = Some(now);
        Some((std::mem::take(&mut self.joined), std::mem::take(&mut self.left)))
    }
}
