//! The protocol floor: what the bytes of one session mean, as pure functions and plain values.
//!
//! [`mod@line`] cuts the stream into lines, [`telnet`] takes the telnet commands out of it, [`text`] makes a line
//! safe to show, [`foreign`] recognises other protocols on the port. [`command`] is what a line with a slash asks
//! for, [`disguise`] finds those that cannot be seen, [`name`] what somebody may be called, [`said`] what happens in a room, [`view`] how that is shown to whom; [`notice`] and [`answer`] word
//! the lines that chatd says itself. Sessions and rooms call all of them. Nothing here opens a socket, reads a clock, blocks, or panics, whatever
//! a stranger sends.
//!
//! Every limit of the protocol stands in this file.

pub mod answer;
pub mod command;
pub mod disguise;
pub mod foreign;
mod json;
pub mod line;
pub mod name;
pub mod notice;
pub mod said;
pub mod telnet;
pub mod text;
pub mod view;

pub use answer::Answer;
pub use command::Command;
pub use foreign::{Foreign, Opening};
pub use line::{Ending, Framed, Framer, LineEnd, Rules};
pub use name::{Name, NameError};
pub use notice::Notice;
pub use said::{Event, Kind, Said, Scene, Who};
pub use telnet::Telnet;
pub use view::{Form, View};

/// Most bytes that one read takes, and one [`Framer::feed`] gets: big enough that a paste costs few system
/// calls, small enough that one session cannot hold up the others of its thread.
pub const READ_BYTES: usize = 64 * 1024;

/// Bytes in a line, its ending not counted, unless configured: far more than anybody types, and still a small
/// buffer for a session that never ends its line.
pub const DEFAULT_MAX_LINE: usize = 16 * 1024;

/// Bytes that cleaning can make of one byte, at most: an invalid byte becomes the four of `\xNN`.
/// A buffer of `MAX_GROWTH * (READ_BYTES + max_line) + 1` holds all the text of one feed.
pub const MAX_GROWTH: usize = 4;

/// Bytes of a telnet subnegotiation that are taken out before it counts as broken off: every option is refused,
/// so nobody honest sends one, and the longest that is seen in practice (a terminal type) is far shorter.
pub const SUBNEGOTIATION_BYTES: u16 = 256;

/// Times `max_line` that a line has as it is shown, at most: what cleaning makes longer than that is cut off. In `json`
/// quotes and backslashes take two bytes each, so that a line has at most three times `max_line` there, and what stands
/// round it: with the default less than the 64 KiB that many programs read as one line.
pub const SHOWN_GROWTH: usize = 2;

/// Bytes that are looked at for a foreign protocol: more than a request line has that somebody types.
pub const FOREIGN_BYTES: usize = 1024;
