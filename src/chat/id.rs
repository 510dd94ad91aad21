//! The numbers of sessions, rooms and positions in a log, and the time as the hub gets it.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The number of a session, from 1. chatd never gives it again, not even after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The number of no session. Entries without a single author have it.
    pub(super) const NOBODY: Self = Self(0);
}

/// A node; `None` if there is only one.
pub(super) type Node = Option<Arc<str>>;

/// The number of a room in this process. The hub never gives it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RoomId(pub(super) u64);

impl RoomId {
    /// The main room. It always exists.
    pub(super) const MAIN: Self = Self(0);
    /// Where operators are who are in no room.
    pub(super) const NOWHERE: Self = Self(u64::MAX);
}

/// A position in a log: the number of bytes that were appended before it since the log began.
pub type Position = u64;

/// The time of an input. Everything in `chat` gets it as an argument, and reads no clock.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time, for deadlines.
    pub instant: Instant,
    /// Wall clock, for the times that members see.
    pub wall: Timestamp,
}
