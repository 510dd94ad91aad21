//! The quota of private messages that a member gets, so that the lines of its room reach it in time.
//!
//! When a member has used up its quota, the sender of a further message waits, with everything that it has sent after
//! that. A sender of many messages so holds up only itself, and other senders to the same member.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::id::SessionId;

/// How often the quota is renewed.
const INTERVAL: Duration = Duration::from_millis(250);

/// Bytes of private messages for a member in each [`INTERVAL`], in the long run: half of the default `min_rate`. A
/// longer message is sent too, and counts for the next intervals.
const BYTES: usize = 8 * 1024;

/// The used quota of each member.
#[derive(Debug, Default)]
pub(super) struct Quota {
    used: HashMap<SessionId, usize>,
    /// The senders that wait, in order.
    waiting: Vec<SessionId>,
    /// When the quota is renewed; `None` if none is used.
    pub(super) due: Option<Instant>,
}

impl Quota {
    /// Returns whether a member has used up its quota.
    pub(super) fn is_used_up(&self, to: SessionId) -> bool {
        self.used.get(&to).is_some_and(|used| *used >= BYTES)
    }

    /// Counts the bytes of a message to a member.
    pub(super) fn count(&mut self, to: SessionId, bytes: usize, now: Instant) {
        *self.used.entry(to).or_default() += bytes;
        self.due.get_or_insert(now + INTERVAL);
    }

    /// Makes a sender wait until [`Quota::renew`] returns it.
    pub(super) fn wait(&mut self, from: SessionId) {
        self.waiting.push(from);
    }

    /// Returns whether a sender waits.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Renews the quota if it is time. Returns the senders that waited, in order.
    pub(super) fn renew(&mut self, now: Instant) -> Vec<SessionId> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.used.retain(|_, used| {
            *used = used.saturating_sub(BYTES);
            *used > 0
        });
        self.due = Some(now + INTERVAL).filter(|_| !self.used.is_empty());
        std::mem::take(&mut self.waiting)
    }
}
