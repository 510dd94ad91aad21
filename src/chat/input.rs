//! What comes into the hub.

use std::sync::Arc;

use futures::channel::oneshot;

use super::id::SessionId;
use super::limits::Limits;
use super::pending::End;
use super::reading::Reading;
use super::sink::Sink;
use crate::protocol::{Name, Notice, View};

/// What a session comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// How lines are shown to it.
    pub view: View,
    /// Where it comes in; the main room if `None`.
    pub room: Option<Name>,
    /// What the kernel says it is called.
    pub verified: Option<Name>,
    /// What it is sent first, with its line endings; may be empty.
    pub greeting: Vec<u8>,
}

/// In `plain`, into the main room, as a guest, without a greeting.
impl Default for Arrival {
    fn default() -> Self {
        Self { view: View::Plain, room: None, verified: None, greeting: Vec::new() }
    }
}

/// What came of one read of a session's socket.
#[derive(Debug, Default)]
pub struct Read {
    /// Clean lines, each with its LF: some may be commands.
    pub text: Vec<u8>,
    /// The session has spoken telnet for the first time: its lines end with CR LF from now on (RFC 854).
    pub is_telnet: bool,
    /// Answers that telnet wants.
    pub reply: Vec<u8>,
    /// What the session is told about what it has sent.
    pub notices: Vec<Notice>,
    /// The connection failed: nothing more can be sent to it, but what it has said is still said.
    pub is_broken: bool,
    /// Whether more comes.
    pub end: End,
}

impl Read {
    /// Returns whether the hub need not know of it.
    pub fn is_empty(&self) -> bool {
        let has_words = !self.text.is_empty() || !self.reply.is_empty() || !self.notices.is_empty();
        !has_words && !self.is_telnet && !self.is_broken && self.end == End::No
    }
}

/// What comes into the hub.
#[derive(Debug)]
pub enum Input {
    /// A session comes in. It hears what is said from now on.
    Join {
        /// Its number.
        id: SessionId,
        /// Where its lines go.
        sink: Arc<dyn Sink>,
        /// What it comes with.
        arrival: Box<Arrival>,
    },
    /// A session has read something. It reads nothing more until it gets [`Signal::Taken`](super::Signal::Taken).
    Read(SessionId, Box<Read>),
    /// The socket of a session that was full takes more.
    Writable(SessionId),
    /// A session has not read for `slow_timeout`: it is closed, unless its socket takes something now.
    Stalled(SessionId),
    /// A session is gone.
    Leave(SessionId),
    /// A session has stopped for the next process to go on with it: what it has read and not passed on.
    Frozen(SessionId, Box<Reading>),
    /// Other limits are in force.
    Limits(Limits),
    /// The daemon stops: each session says [`End::Stopped`], and then all are told and closed.
    Drain,
    /// Another process goes on: nobody is waited for any more.
    Freeze,
    /// Somebody wants to know whether the broker still works: answered at once, whatever waits.
    Probe(oneshot::Sender<()>),
}
