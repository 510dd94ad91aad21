//! What happens in a room, as plain values: what is said, by whom, and who comes and goes.
//!
//! Rooms make them, and [`super::view`] shows them. Nothing here knows how they look.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::Name;

/// A member, as others are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The number of its session: never reused, so it tells two of the same name apart.
    pub id: u64,
    /// What it is called.
    pub name: Name,
    /// The kernel says so, not the member.
    pub verified: bool,
}

/// `alice`, or `+alice` if the kernel says so: `+` cannot be part of a name.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.verified { "+" } else { "" };
        write!(f, "{mark}{}", self.name.as_str())
    }
}

/// What kind of thing somebody has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Lines.
    Message,
    /// What `/me` says.
    Emote,
}

/// Lines that somebody has said.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Whether it is a message or an emote.
    pub kind: Kind,
    /// Who has said it.
    pub who: &'a Who,
    /// Where.
    pub room: &'a str,
    /// When the room took it in.
    pub time: Timestamp,
    /// The number of the first line in the order of the room.
    pub seq: u64,
    /// The lines: clean, each with its LF.
    pub text: &'a [u8],
}

/// What happens in a room besides what is said. `plain` is told none of it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// They have come in.
    Joined(&'a [Who]),
    /// They are gone.
    Left(&'a [Who]),
    /// Somebody is called something else now.
    Renamed {
        /// What it was called.
        from: &'a Who,
        /// What it is called now.
        to: &'a Who,
    },
}

/// Where and when something happens, and how many are there then.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The name of the room.
    pub room: &'a str,
    /// When.
    pub time: Timestamp,
    /// How many members the room has, after it.
    pub members: usize,
}
