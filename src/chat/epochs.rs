//! The earlier epochs of a room. A member that has lines of one of them need not get these again. Pure.

use serde::{Deserialize, Serialize};

/// Most epochs that are remembered. A member that comes back after more gets the whole history.
const MOST: usize = 16;

/// Epochs, the oldest first, each with the number of a line. Up to there, later epochs have the same lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Epochs(Vec<(u64, u64)>);

impl Epochs {
    /// Returns whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// If there are none, they are those.
    pub(super) fn or(&mut self, others: Self) {
        if self.is_empty() {
            *self = others;
        }
    }

    /// An epoch has lines up to the number `last`. Lines of an epoch after it follow, or more of this one.
    pub(super) fn push(&mut self, epoch: u64, last: u64) {
        self.0.pop_if(|(before, _)| *before == epoch);
        self.0.push((epoch, last));
        let excess = self.0.len().saturating_sub(MOST);
        self.0.drain(..excess);
    }

    /// The numbers go on behind `said`.
    pub(super) fn go_on_after(&mut self, said: u64) {
        self.0.iter_mut().for_each(|(_, last)| *last = said.min(*last));
    }

    /// Returns the number of the last line of an epoch; `None` if nothing is known of it.
    pub(super) fn last(&self, epoch: u64) -> Option<u64> {
        self.0.iter().find(|(before, _)| *before == epoch).map(|(_, last)| *last)
    }
}
