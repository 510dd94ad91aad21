//! Floor 1: who hears whom.
//!
//! [`room`] holds a room's state and decides, synchronously, from an input and the time; [`log`] is
//! the room's recent lines as one ring of bytes, [`room_log`] how its readers share it; [`reader`] is one
//! member's way through that ring; [`member`] is what the two sides of a membership share, [`outlet`] where its lines go; [`broker`] is
//! the task that owns the rooms.
//! Nothing here knows about files, signals or where connections come from, and only the broker waits for anything.

pub mod broker;
pub mod log;
pub mod member;
pub mod outlet;
pub mod reader;
pub mod room;
pub mod room_log;

pub use broker::Broker;
pub use member::{Member, SessionId};
pub use outlet::Outlet;
pub use reader::{Delivery, Reader};
pub use room::{Input, Room};
pub use room_log::RoomLog;

/// A place in a room's log: the number of bytes that were said before it, since the room began.
pub type Position = u64;
