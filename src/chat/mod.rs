//! Floor 1: who hears whom.
//!
//! The [`hub`] has the rooms, the members and the names, and decides, synchronously, from an [`input`] and the time. The
//! `directory` is who is where and called what; the `interpreter` finds out what a session has sent, `commands` does
//! what it asks for, and the `dispatcher` has the [`sequencer`] give every `entry` its place in the order of its
//! [`room`]. A `feed` is the
//! [`log`] of a room in one form with the members who read it; `flow` says for whom the room waits, and [`delivery`]
//! what a `member` is sent, into its [`sink`], many of them from the same `pages`. `history` and `presence` are a room's
//! memory of what was said and who came. [`snapshot`] is what another process takes over. The [`broker`] is the task
//! that owns the hub, and [`traffic`] what it counts. Nothing here knows about paths, signals or where connections come
//! from, and only the broker waits for anything.

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
pub mod limits;
pub mod log;
mod member;
mod names;
mod pages;
pub mod pending;
mod presence;
pub mod reading;
pub mod room;
pub mod sequencer;
#[cfg(test)]
mod simulator;
pub mod sink;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
pub mod traffic;
pub mod version_1;

pub use broker::Broker;
pub use dispatcher::Numbers;
pub use entry::Entry;
pub use hub::Hub;
pub use id::{Now, Position, SessionId};
pub use input::{Arrival, Input, Read};
pub use limits::Limits;
pub use pending::End;
pub use reading::{Phase, Reading};
pub use sequencer::{Local, Sequencer};
pub use sink::{Mark, Signal, Sink};
pub use snapshot::{Damaged, HubSnapshot, MemberSnapshot, RoomSnapshot, SessionSnapshot, Standing};
pub use traffic::Traffic;
