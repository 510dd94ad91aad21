//! Floor 1: who hears whom.
//!
//! [`house`] has the rooms and everybody's names, and decides, synchronously, from an input and the time; `commands` is
//! what it does for those who ask, `names` who holds which name. [`room`] is who hears whom, `entry` what is appended
//! there; `audience` those of them to whom lines are shown in the same form, [`log`] their recent lines as one ring of
//! bytes, [`room_log`] how they share it; [`reader`] is one member's way through that ring, [`progress`] where on it
//! the member stands, `slices` what it is sent at once. [`member`] is what the two sides of a membership share,
//! [`outlet`] where its lines go, `pages` how many get the same at once, [`traffic`] what goes through all of it;
//! `history` and `comings` are a room's memory of what was said and who came. [`handover`] and `kept_room` are what
//! another process takes over, [`journal`] what it would know after a crash. [`broker`] is the task that owns the
//! house. Nothing here knows about paths, signals or where connections come from, and only the broker waits for
//! anything.

use std::time::Instant;

use jiff::Timestamp;

mod audience;
pub mod broker;
mod comings;
mod commands;
mod entry;
pub mod handover;
mod history;
pub mod house;
pub mod journal;
mod kept_room;
pub mod log;
pub mod member;
mod names;
pub mod outlet;
mod pages;
pub mod progress;
pub mod reader;
pub mod room;
pub mod room_log;
mod slices;
#[cfg(test)]
pub(crate) mod testing;
pub mod traffic;

pub use broker::Broker;
pub use handover::{Damaged, KeptHouse, KeptMember, Standing};
pub use house::{Arrival, House, Input, Limits};
pub use journal::{Journal, Note};
pub use kept_room::KeptRoom;
pub use member::{Member, SessionId};
pub use outlet::Outlet;
pub use progress::Delivery;
pub use reader::Reader;
pub use room::Room;
pub use room_log::RoomLog;
pub use traffic::Traffic;

/// A place in a room's log: the number of bytes that were said before it, since the log began.
pub type Position = u64;

/// The time, as it is told to everything here.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For what is due when.
    pub instant: Instant,
    /// For people.
    pub wall: Timestamp,
}

/// What has to be done after inputs have been applied.
#[derive(Debug, Default)]
pub struct Effects {
    /// Whose inputs have been taken in, or whose situation has changed: wake them.
    pub wake: Vec<std::sync::Arc<Member>>,
    /// There is something new in the log of the room that was at work.
    pub appended: bool,
}
