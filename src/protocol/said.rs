//! What happens in a room, as plain values: lines with their sender, and members that join, leave or take another name.
//!
//! `chat::room` makes these values, and [`super::form`] encodes them. Nothing here knows how they look.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::Name;

/// A member, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The number of its session: never reused, so it tells two of the same name apart.
    pub id: u64,
    /// Its name.
    pub name: Name,
    /// Whether the name is verified: it comes from the kernel or from a certificate, and not from the member.
    pub verified: bool,
}

impl Who {
    /// Returns a session without a name.
    pub fn guest(id: u64) -> Self {
        Self { id, name: Name::guest(id), verified: false }
    }
}

/// Writes `alice`, or `+alice` if the name is verified. No name contains `+`.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.verified { "+" } else { "" };
        write!(f, "{mark}{}", self.name.as_str())
    }
}

/// What kind of lines a member sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Chat lines.
    Message,
    /// The text of `/me`.
    Emote,
}

/// Consecutive lines of one member.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Whether they are chat lines or an emote.
    pub kind: Kind,
    /// The sender.
    pub who: &'a Who,
    /// The name of the room.
    pub room: &'a str,
    /// When the room took them.
    pub time: Timestamp,
    /// The number of the first line in its room. The others have the next numbers.
    pub seq: u64,
    /// The lines, clean (except with `raw`), each with its LF.
    pub text: &'a [u8],
}

/// What happens in a room besides lines. Members whose view is `plain` get none of it.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// These members joined.
    Joined(&'a [Who]),
    /// These members left.
    Left(&'a [Who]),
    /// A member took another name.
    Renamed {
        /// The member with its name before.
        from: &'a Who,
        /// The member with its name now.
        to: &'a Who,
    },
}

/// Where and when an event happens.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The name of the room.
    pub room: &'a str,
    /// The time of the event.
    pub time: Timestamp,
    /// Number of members of the room after the event.
    pub members: usize,
}
