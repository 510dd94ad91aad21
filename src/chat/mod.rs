//! Floor 1: rooms, their members, and what each member gets.
//!
//! The [`hub`] has the rooms, the members and the names. It decides, synchronously, from an [`input`] and the time. The
//! [`broker`] is the task that owns the hub, and [`traffic`] has its counters, some of them a [`histogram`].
//!
//! * From an input to the room: the `interpreter` reads what a session sent, `turn` says what that waits for, `commands`
//!   does what a command asks for (`nick` gives names), and the `dispatcher` has the [`sequencer`] give each `entry` its
//!   place in the order of its [`room`]. `arrival` lets a session in. The `directory` has the rooms and members.
//! * The `roster` says who is on which node and who is called what, from the [`Act`]s in their order; `names` has the holders
//!   of a name, and `keys` what takes it back. `acts` does what follows for the sessions here, and `listing` tells the
//!   other nodes of them; `following` says how far that is.
//! * From the room to the members: a `feed` is the [`log`] of a room in one form, with the members who read it. `flow`
//!   decides for whom the room waits. [`delivery`] sends a `member` what it has yet to get, into its [`sink`], to many
//!   members from the same `pages`. The `quota` bounds the private messages that a member gets.
//! * `history` has the lines of a room for `/last`, and `presence` the members that joined or left and are not yet
//!   announced.
//! * `control` does what operators ask for, `orders` what they ask of all nodes. `nowhere` is where those are who are in no
//!   room. `operators` has what they have arranged,
//!   `overheard` lets them hear rooms without being there, and [`host`] is what the hub asks the daemon around it.
//!   `activity` counts who says how much.
//! * The `archive` is the seam to what stores lines for good, `recall` has the rooms that nobody is in, and `archiving`
//!   tells members of it.
//! * With several nodes, `opening` has the sequencer open rooms, `numbers` has those that the engine gives, `epochs`
//!   how far earlier ones count, `nodes` what waits for that, and `outage` tells members how the engine is. `noted` is
//!   what a crash leaves of the rooms.
//! * [`snapshot`] is what the next process takes over.
//!
//! Nothing here knows about paths, signals or where connections come from, and only the broker waits for anything.

mod act;
mod activity;
mod acts;
mod archive;
mod archiving;
mod arrival;
pub mod broker;
mod commands;
mod control;
mod damaged;
pub mod delivery;
mod directory;
mod dispatcher;
mod entry;
mod epochs;
mod feed;
mod feeds;
mod flow;
mod following;
pub mod histogram;
mod history;
pub mod host;
pub mod hub;
mod id;
pub mod input;
mod interpreter;
mod keys;
pub mod limits;
mod listing;
pub mod log;
mod member;
mod names;
mod nick;
mod nodes;
mod noted;
mod nowhere;
mod numbers;
mod opening;
mod operators;
mod orders;
mod outage;
mod overheard;
mod pages;
#[cfg(test)]
mod pair;
pub mod pending;
mod presence;
mod quota;
pub mod reading;
mod recall;
mod recalling;
pub mod room;
mod room_names;
mod room_note;
mod roster;
#[cfg(test)]
mod script;
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

pub use act::{Act, Claim, Listed};
pub use archive::{Archive, Archived};
pub use broker::Broker;
pub use damaged::Damaged;
pub use entry::Entry;
pub use histogram::Histogram;
pub use host::{ClusterBans, Host, NewBan, Use};
pub use hub::Hub;
pub use id::{Now, Position, SessionId};
pub use input::{Arrival, Input, Read};
pub use keys::{KEY_LIFETIME, LeftKey};
pub use limits::Limits;
pub use noted::Notes;
pub use pending::End;
pub use reading::{Phase, Reading};
pub use recall::Recalled;
pub use roster::Roster;
pub use sequencer::{Cursor, EngineEvent, Item, Local, Sequenced, Sequencer, Stamp};
pub use sink::{Mark, Signal, Sink, Transport};
pub use snapshot::{HubSnapshot, MemberSnapshot, RoomSnapshot, SessionSnapshot};
pub use standing::Standing;
pub use traffic::Traffic;
