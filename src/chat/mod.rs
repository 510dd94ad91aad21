//! Floor 1: rooms, their members, and what each member gets.
//!
//! The [`hub`] has the rooms, the members and the names. It decides, synchronously, from an [`input`] and the time. The
//! [`broker`] is the task that owns the hub, and [`traffic`] has its counters.
//!
//! * From an input to the room: the `interpreter` reads what a session sent, `turn` says what that waits for, `commands`
//!   does what a command asks for (`nick` gives names), and the `dispatcher` has the [`sequencer`] give each `entry` its place in the order of its [`room`]. The
//!   `directory` has the rooms and members, `names` who holds which name, and `keys` what takes a name back.
//! * From the room to the members: a `feed` is the [`log`] of a room in one form, with the members who read it. `flow`
//!   decides for whom the room waits. [`delivery`] sends a `member` what it has yet to get, into its [`sink`], to many
//!   members from the same `pages`. The `quota` bounds the private messages that a member gets.
//! * `history` has the lines of a room for `/last`, and `presence` the members that joined or left and are not yet
//!   announced.
//! * [`snapshot`] is what the next process takes over.
//!
//! Nothing here knows about paths, signals or where connections come from, and only the broker waits for anything.

pub mod broker;
mod commands;
pub mod delivery;
mod directory;
mod dispatcher;
mod entry;
mod feed;
mod flow;
mod history;
pub mod hub;
mod id;
pub mod input;
mod interpreter;
mod keys;
pub mod limits;
pub mod log;
mod member;
mod names;
mod nick;
mod pages;
pub mod pending;
mod presence;
mod quota;
pub mod reading;
pub mod room;
pub mod sequencer;
#[cfg(test)]
mod simulator;
pub mod sink;
pub mod snapshot;
mod standing;
#[cfg(test)]
pub(crate) mod testing;
pub mod traffic;
mod turn;
pub mod version_1;

pub use broker::Broker;
pub use dispatcher::Notes;
pub use entry::Entry;
pub use hub::Hub;
pub use id::{Now, Position, SessionId};
pub use input::{Arrival, Input, Read};
pub use keys::{KEY_LIFETIME, LeftKey};
pub use limits::Limits;
pub use pending::End;
pub use reading::{Phase, Reading};
pub use sequencer::{Local, Sequencer};
pub use sink::{Mark, Signal, Sink};
pub use snapshot::{Damaged, HubSnapshot, MemberSnapshot, RoomSnapshot, SessionSnapshot};
pub use standing::Standing;
pub use traffic::Traffic;
