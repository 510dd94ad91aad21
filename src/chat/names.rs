//! Who holds which name. A name is held by one session at a time, in all rooms, and so is everything that looks like
//! it; but the kernel may say of several sessions that they are the same user.

use std::collections::{BTreeSet, HashMap};

use super::id::SessionId;
use crate::protocol::{Name, Who};

/// Who has a name that looks like what: those who came first, first.
#[derive(Debug, Default)]
pub(super) struct Names {
    holders: HashMap<Box<str>, Vec<SessionId>>,
}

impl Names {
    /// A session is called that from now on.
    pub(super) fn give(&mut self, who: &Who) {
        for key in who.name.keys() {
            // Nearly always it stays alone.
            let holders = self.holders.entry(key.into()).or_insert_with(|| Vec::with_capacity(1));
            holders.push(SessionId(who.id));
        }
    }

    /// A session is not called that any more.
    pub(super) fn forget(&mut self, who: &Who) {
        for key in who.name.keys() {
            let Some(holders) = self.holders.get_mut(key) else { continue };
            holders.retain(|id| id.0 != who.id);
            if holders.is_empty() {
                self.holders.remove(key);
            }
        }
    }

    /// Everybody who is called that, or something that looks like it; those who came last, first.
    pub(super) fn holders(&self, name: &Name) -> impl Iterator<Item = SessionId> {
        let ids: BTreeSet<SessionId> =
            name.keys().filter_map(|key| self.holders.get(key)).flatten().copied().collect();
        ids.into_iter().rev()
    }

    /// Returns whether somebody else is called that, or something that looks like it.
    pub(super) fn is_taken(&self, name: &Name, by_others_than: SessionId) -> bool {
        self.holders(name).any(|id| id != by_others_than)
    }

    /// How many there are: for tests.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.holders.len()
    }
}
