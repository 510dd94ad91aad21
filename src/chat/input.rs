//! Inputs: what comes into the hub, from sessions and from floor 3.

use std::sync::Arc;

use futures::channel::oneshot;

use super::id::SessionId;
use super::limits::Limits;
use super::pending::End;
use super::reading::Reading;
use super::sink::Sink;
use crate::protocol::{Name, NoName, Notice, View};

/// What the hub must know of a new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its first view.
    pub view: View,
    /// Its first room; `None` for the main room.
    pub room: Option<Name>,
    /// Its verified name, from the kernel or from a certificate.
    pub verified: Option<Name>,
    /// Why the certificate of its client gives it no name.
    pub no_name: Option<NoName>,
    /// The greeting, with its line endings; may be empty.
    pub greeting: Vec<u8>,
    /// It is an operator who wants to be in no room.
    pub is_control: bool,
}

/// A guest in the main room, in `plain`, without a greeting.
impl Default for Arrival {
    fn default() -> Self {
        Self {
            view: View::Plain,
            room: None,
            verified: None,
            no_name: None,
            greeting: Vec::new(),
            is_control: false,
        }
    }
}

/// The result of one read of a session's socket.
#[derive(Debug, Default)]
pub struct Read {
    /// Clean lines (except with `raw`), each with its LF. Some may be commands.
    pub text: Vec<u8>,
    /// Whether this is the session's first telnet command. Its lines end with CR LF from now on (RFC 854).
    pub is_telnet: bool,
    /// Telnet answers to send back.
    pub reply: Vec<u8>,
    /// Notices for the session about its lines.
    pub notices: Vec<Notice>,
    /// Whether the connection failed. Nothing more can be sent to it, but its lines still go to the room.
    pub is_broken: bool,
    /// Whether more input follows.
    pub end: End,
}

impl Read {
    /// Returns whether there is nothing for the hub.
    pub fn is_empty(&self) -> bool {
        let has_words = !self.text.is_empty() || !self.reply.is_empty() || !self.notices.is_empty();
        !has_words && !self.is_telnet && !self.is_broken && self.end == End::No
    }
}

/// An input of the hub.
#[derive(Debug)]
pub enum Input {
    /// A new session. It gets every line that its room takes from now on.
    Join {
        /// Its number.
        id: SessionId,
        /// Where to send its lines.
        sink: Arc<dyn Sink>,
        /// What to know of it.
        arrival: Box<Arrival>,
    },
    /// A session has read something. It does not read again before [`Signal::Taken`](super::Signal::Taken).
    Read(SessionId, Box<Read>),
    /// The socket of a session, which was full, takes more.
    Writable(SessionId),
    /// A session has read nothing for `slow_timeout`. The hub closes it, unless its socket takes something now.
    Stalled(SessionId),
    /// A session is gone.
    Leave(SessionId),
    /// A session has stopped for a handover. It gives the hub what it has read and not passed on.
    Frozen(SessionId, Box<Reading>),
    /// A reload has changed the limits.
    Limits(Limits),
    /// The daemon stops. When each session has sent [`End::Stopped`], the hub says goodbye and closes all of them.
    Drain,
    /// A handover begins: the hub waits for no reader any more.
    Freeze,
    /// The watchdog asks whether the broker works. The hub answers at once, whatever waits.
    Probe(oneshot::Sender<()>),
}
