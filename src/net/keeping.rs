//! What is kept of connections while they are in use, so that another process can go on with them.
//!
//! Sessions and listeners tell it who comes and who goes; whoever keeps connections hears of it through a channel. Where
//! nobody does, all of it does nothing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::channel::mpsc::UnboundedSender;

use super::marks::Marks;
use super::session::KeptSession;
use super::stream::Stream;
use crate::chat::SessionId;

/// What there is to know for whoever keeps connections. There are at most two of them for each connection.
#[derive(Debug)]
pub enum Keep {
    /// A connection has become a session.
    Came(SessionId, Arc<Stream>),
    /// It is over.
    Gone(SessionId),
}

/// Who keeps connections, if anybody does.
#[derive(Debug, Default)]
pub struct Keeping {
    keeper: Mutex<Option<UnboundedSender<Keep>>>,
    marks: OnceLock<Arc<Marks>>,
    frozen: Mutex<Vec<KeptSession>>,
}

impl Keeping {
    /// From now on `keeper` hears of all connections.
    pub fn begin(&self, keeper: UnboundedSender<Keep>, marks: Arc<Marks>) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        // It is the first time, or the marks are those of before.
        let _ = self.marks.set(marks);
    }

    /// Nobody hears of anything any more: the channel ends.
    pub fn end(&self) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says whether connections outlive this process.
    pub fn is_on(&self) -> bool {
        self.marks.get().is_some()
    }

    /// Tells of a connection.
    pub fn tell(&self, keep: Keep) {
        if let Keep::Came(id, _) = &keep
            && let Some(marks) = self.marks.get()
        {
            marks.reserve(*id);
        }
        if let Some(keeper) = &*self.keeper.lock().unwrap_or_else(PoisonError::into_inner) {
            // Whoever does not listen any more does not keep anything.
            let _ = keeper.unbounded_send(keep);
        }
    }

    /// Where connections are marked, if they outlive this process.
    pub fn marks(&self) -> Option<Arc<Marks>> {
        self.marks.get().cloned()
    }

    /// A session has stopped where it stands.
    pub(super) fn freeze(&self, kept: KeptSession) {
        self.frozen.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
    }

    /// All sessions that have stopped.
    pub fn take_frozen(&self) -> Vec<KeptSession> {
        std::mem::take(&mut self.frozen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
