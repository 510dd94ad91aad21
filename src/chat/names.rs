//! The holders of names. One session at a time holds a name, and every name that looks like it, in all rooms. Several
//! sessions hold the same name if the same proof says that they are the same user.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use super::id::SessionId;
use crate::protocol::{Name, Who};

/// The holders by what their names look like in lower case. A look is stored as its hash, which nobody can foresee. Two
/// names that do not look alike may have the same hash, so the roster looks at the names, too.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    holders: BTreeSet<(u64, SessionId)>,
    hasher: RandomState,
}

impl Names {
    fn looks(&self, name: &Name) -> impl Iterator<Item = u64> {
        name.keys().map(|key| self.hasher.hash_one(key.to_lowercase()))
    }

    /// Makes a session a holder of its name.
    pub(super) fn give(&mut self, who: &Who) {
        let looks: Vec<u64> = self.looks(&who.name).collect();
        self.holders.extend(looks.into_iter().map(|look| (look, SessionId(who.id))));
    }

    /// Makes a session no longer a holder of its name.
    pub(super) fn forget(&mut self, who: &Who) {
        let looks: Vec<u64> = self.looks(&who.name).collect();
        for look in looks {
            self.holders.remove(&(look, SessionId(who.id)));
        }
    }

    /// Returns the holders of this name and of those that look like it, the latest connection first.
    pub(super) fn holders(&self, name: &Name) -> impl Iterator<Item = SessionId> {
        let with = |look| self.holders.range((look, SessionId(0))..=(look, SessionId(u64::MAX)));
        let ids: BTreeSet<SessionId> = self.looks(name).flat_map(with).map(|(_, id)| *id).collect();
        ids.into_iter().rev()
    }

    /// Returns whether these are all the holders: for tests.
    #[cfg(test)]
    pub(super) fn are<'a>(&self, all: impl Iterator<Item = &'a Who>) -> bool {
        let mut names = Self { holders: BTreeSet::new(), hasher: self.hasher.clone() };
        all.for_each(|who| names.give(who));
        names.holders == self.holders
    }
}
