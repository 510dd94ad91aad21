//! The numbers that name sessions, rooms and places in a log, and the time as the hub is told it.

use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The number of a session. It is given once and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

impl SessionId {
    /// No session has this number. A line from nobody in particular has it.
    pub(super) const NOBODY: Self = Self(0);
}

/// The number of a room in this process. It is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RoomId(pub(super) u64);

impl RoomId {
    /// The room that everybody enters first. It never goes away.
    pub(super) const MAIN: Self = Self(0);
}

/// A place in a log: the number of bytes that were appended before it, since the log began.
pub type Position = u64;

/// The time, as it is told to everything in `chat`.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For people.
    pub wall: Timestamp,
}
