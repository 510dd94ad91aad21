//! The protocol floor: what the bytes of a session mean, as pure functions and plain values.
//!
//! What comes in: [`foreign`] recognises other protocols on the port, [`telnet`] removes telnet commands from the
//! stream, [`mod@line`] cuts it into lines, [`text`] makes a line safe to show, [`syntax`] reads a line with a slash as a [`command`],
//! [`control`] has what operators can ask for, [`disguise`] finds hidden commands, [`name`] has the rules for names,
//! [`key`] the secrets that take them back, and [`proof`] what proves a name.
//!
//! What goes out: [`said`] is what happens in a room, and [`form`] encodes it for each [`view`]. [`notice`] has the
//! lines of chatd itself, [`report`] those for operators, with [`tls`] and [`nodes`] in them, and [`object`] the lines for programs.
//!
//! Sessions and the hub call all of them. Nothing here opens a socket, reads a clock, blocks, or panics, whatever a
//! stranger sends. The limits of framing stand in this file; those of names and commands stand in their files.

pub mod command;
pub mod control;
pub mod disguise;
pub mod foreign;
pub mod form;
pub mod key;
pub mod line;
pub mod list;
pub mod name;
pub mod nodes;
pub mod notice;
mod notices;
pub mod object;
pub mod proof;
pub mod report;
pub mod said;
pub mod syntax;
pub mod telnet;
pub mod text;
pub mod tls;
pub mod view;

pub use command::Command;
pub use control::{Control, Watched};
pub use foreign::{Foreign, Opening};
pub use form::Form;
pub use key::Key;
pub use line::{Ending, Framed, Framer, LineEnd, Rules};
pub use list::{Person, Reader, RoomCount};
pub use name::{Name, NameError, is_node, is_word};
pub use nodes::{ClusterState, NodeEntry};
pub use notice::{Notice, Reason};
pub use object::Object;
pub use proof::{NoName, Proof};
pub use report::Report;
pub use said::{Event, Kind, Said, Scene, Who};
pub use telnet::Telnet;
pub use tls::{TlsCount, TlsState};
pub use view::View;

/// Most bytes of one read(2), and of one call of [`Framer::feed`]. A paste needs few system calls, and one session
/// cannot hold up the others of its thread.
pub const READ_BYTES: usize = 64 * 1024;

/// Default of `max_line`: most bytes of a line, without its ending. More than anybody types, and still a small buffer
/// for a session that never ends its line.
pub const DEFAULT_MAX_LINE: usize = 16 * 1024;

/// Most bytes that cleaning makes of one byte: a byte that is not UTF-8 becomes the four of `\xNN`. A buffer of
/// `MAX_GROWTH * (READ_BYTES + max_line) + 1` bytes holds all the text of one call of [`Framer::feed`].
pub const MAX_GROWTH: usize = 4;

/// Most bytes of a telnet subnegotiation (RFC 855). After that many, the rest counts as text. chatd refuses every
/// option, so a correct client sends none, and the longest in practice (a terminal type, RFC 1091) is far shorter.
pub const SUBNEGOTIATION_BYTES: u16 = 256;

/// Longest line as it is shown, as a multiple of `max_line`. A line that cleaning makes longer is cut. In `json` a
/// quote or a backslash takes two bytes, so the text of a line has at most three times `max_line` there. With the
/// default, every line in `json` is shorter than the 64 KiB that many programs read as one line.
pub const SHOWN_GROWTH: usize = 2;

/// Most bytes that [`Opening`] looks at. No request line that somebody types is longer.
pub const FOREIGN_BYTES: usize = 1024;
