//! A session in two processes: it stops in one, wherever it stands, and goes on in the next as if nothing had been.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use serde::{Deserialize, Serialize};

use super::asking::Unsaid;
use super::pace::Pace;
use super::{Phase, Session};
use crate::chat::{Input, Member, SessionId};
use crate::net::Net;
use crate::net::marks::{READING, WRITING};
use crate::net::stream::Stream;
use crate::protocol::{Framer, Opening};
use crate::rt;

/// All that has to be known of a session to go on with it elsewhere, besides its connection and its membership.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptSession {
    /// Its number.
    pub id: SessionId,
    /// The room has not heard of it yet: it is one that has just connected.
    pub is_new: bool,
    phase: Phase,
    /// The connection has failed, but there may still be something that it has said.
    #[serde(default)]
    is_broken: bool,
    /// Unfinished input.
    framer: Framer,
    /// Whether the first bytes have shown what the other side speaks.
    opening: Opening,
    /// Clean lines that have not been passed on yet, since a command stands before or between them.
    #[serde(with = "serde_bytes")]
    unsaid: Vec<u8>,
    /// How long it takes until it may say a whole burst again.
    used: Duration,
    /// How long it has said nothing.
    idle: Duration,
}

impl KeptSession {
    /// One of which is known what `marks` say.
    pub fn marked(id: SessionId, marks: u8) -> Self {
        // Of a line of which half is lost the rest is not said either.
        let framer = Framer { dropping: marks & READING != 0, ..Framer::default() };
        let opening = Opening { decided: true, ..Opening::default() };
        let (used, idle) = (Duration::ZERO, Duration::ZERO);
        Self {
            id,
            is_new: false,
            phase: Phase::Open,
            is_broken: false,
            framer,
            opening,
            unsaid: Vec::new(),
            used,
            idle,
        }
    }
}

impl Session {
    /// A session that goes on where it has stopped.
    pub fn resume(
        net: Arc<Net>,
        stream: Arc<Stream>,
        member: Arc<Member>,
        inputs_tx: mpsc::Sender<Input>,
        kept: KeptSession,
    ) -> Self {
        let from = stream.peer();
        let now = rt::now();
        let pace = Pace::used(kept.used, now);
        let broken = kept.is_broken.then(|| io::ErrorKind::BrokenPipe.into());
        let mut session = Self::new(net, stream, from, member, inputs_tx);
        if kept.is_broken {
            session.reader.release();
        }
        let ending = matches!(kept.phase, Phase::Finishing | Phase::Lingering).then_some(now);
        Self {
            framer: kept.framer,
            opening: kept.opening,
            unsaid: Unsaid::new(kept.unsaid, session.reader.traffic()),
            pace: pace.map(Box::new),
            phase: kept.phase,
            broken,
            ending,
            last_read: now.checked_sub(kept.idle).unwrap_or(now),
            ..session
        }
    }

    /// Stops here.
    pub(super) fn freeze(mut self, is_new: bool) {
        let now = rt::now();
        self.net.alarms.clear(&mut self.alarm, self.reader.id());
        let kept = KeptSession {
            id: self.reader.id(),
            is_new,
            phase: self.phase,
            is_broken: self.broken.is_some(),
            framer: self.framer,
            opening: self.opening,
            unsaid: self.unsaid.as_deref().map_or_else(Vec::new, |unsaid| unsaid.rest().to_vec()),
            used: self.pace.map_or(Duration::ZERO, |pace| pace.left(now)),
            idle: now.saturating_duration_since(self.last_read),
        };
        self.net.keeping.freeze(kept);
    }

    /// Marks the connection, for the case of a crash, if what is to be known has changed.
    pub(super) fn mark(&mut self) {
        let is_reading = self.framer.dropping || self.framer.has_unfinished();
        let is_writing = self.blocked.is_some() && self.reader.is_torn();
        let mark = if is_reading { READING } else { 0 } | if is_writing { WRITING } else { 0 };
        if mark != self.marked {
            self.marked = mark;
            self.net.keeping.mark(self.stream.socket(), self.reader.id(), mark);
        }
    }
}
