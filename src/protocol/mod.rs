//! Floor 0: what the bytes mean.
//!
//! [`line`] frames them into lines, [`text`] makes a line safe to show, [`telnet`] takes telnet's
//! negotiation out, [`foreign`] recognises callers that speak something else, and [`notice`] has the
//! lines that come from chatd itself. Pure functions and plain values: no socket, no clock, no room.
//! All limits of the protocol are here.

pub mod foreign;
pub mod line;
pub mod notice;
pub mod telnet;
pub mod text;

pub use foreign::{Foreign, Opening};
pub use line::{Framed, Framer, Rules};
pub use notice::Notice;

/// Most bytes that are read, and framed, at a time: the size of the read buffer that a thread's
/// sessions share, and of what a session takes in when the daemon stops.
pub const READ_BYTES: usize = 64 * 1024;

/// The default of `max_line`: the longest line, in bytes without its ending.
pub const DEFAULT_MAX_LINE: usize = 16 * 1024;

/// Cleaning makes at most this many bytes of one: a byte that is no UTF-8 becomes `\xNN`.
pub const MAX_GROWTH: usize = 4;

/// A telnet subnegotiation is taken out up to this many bytes. chatd refuses every option, so nobody
/// has a reason to send one; without a bound, two stray bytes would swallow a session's input for ever.
pub const MAX_SUBNEGOTIATION: u16 = 256;

/// The first line of a connection is looked at up to this many bytes to tell whether it is HTTP.
pub const MAX_OPENING: usize = 8 * 1024;
