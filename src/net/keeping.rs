//! What is kept of connections while they are in use, so that another process can go on with them.
//!
//! Sessions and listeners tell it who comes and who goes; whoever keeps connections hears of it through a channel. Where
//! nobody does, all of it does nothing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::channel::mpsc::UnboundedSender;

use super::connection::Connection;
use super::crash_table::CrashTable;
use crate::chat::SessionId;

/// What there is to know for whoever keeps connections. There are at most two of them for each connection.
#[derive(Debug)]
pub enum Keep {
    /// A connection has become a session.
    Came(SessionId, Arc<Connection>),
    /// It is over.
    Gone(SessionId),
}

/// Who keeps connections, if anybody does.
#[derive(Debug, Default)]
pub struct Keeping {
    keeper: Mutex<Option<UnboundedSender<Keep>>>,
    table: OnceLock<Arc<CrashTable>>,
}

impl Keeping {
    /// From now on `keeper` hears of all connections.
    pub fn begin(&self, keeper: UnboundedSender<Keep>, table: Arc<CrashTable>) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        // It is the first time, or the table is that of before.
        let _ = self.table.set(table);
    }

    /// Nobody hears of anything any more: the channel ends.
    pub fn end(&self) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns whether connections outlive this process.
    pub fn is_on(&self) -> bool {
        self.table.get().is_some()
    }

    /// Tells of a connection.
    pub fn tell(&self, keep: Keep) {
        if let Keep::Came(id, _) = &keep
            && let Some(table) = self.table.get()
        {
            table.reserve(*id);
        }
        if let Some(keeper) = &*self.keeper.lock().unwrap_or_else(PoisonError::into_inner) {
            // Whoever does not listen any more does not keep anything.
            let _ = keeper.unbounded_send(keep);
        }
    }

    /// Where connections are noted, if they outlive this process.
    pub fn table(&self) -> Option<Arc<CrashTable>> {
        self.table.get().cloned()
    }
}
