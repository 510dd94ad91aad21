//! The way from sessions and listeners to the task that stores connections for the next process.
//!
//! Sessions and listeners report new and ended connections; the task gets them through a channel. Without that task,
//! all of this does nothing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::channel::mpsc::UnboundedSender;

use super::connection::Connection;
use super::crash_table::CrashTable;
use super::numbers::is_at_random;
use crate::chat::SessionId;

/// A report for the task that stores connections.
#[derive(Debug)]
pub enum Keep {
    /// A connection has become a session.
    Came(SessionId, Arc<Connection>),
    /// It has ended, or will end with this process. This may come several times.
    Gone(SessionId),
}

/// The way to the task that stores connections, if there is one.
#[derive(Debug, Default)]
pub struct Keeping {
    keeper: Mutex<Option<UnboundedSender<Keep>>>,
    table: OnceLock<Arc<CrashTable>>,
}

impl Keeping {
    /// Reports all connections to `keeper` from now on.
    pub fn begin(&self, keeper: UnboundedSender<Keep>, table: Arc<CrashTable>) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        // It fails at a second call, which has the same table.
        let _ = self.table.set(table);
    }

    /// Ends the channel; later reports are dropped.
    pub fn end(&self) {
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns whether connections outlive this process.
    pub fn is_on(&self) -> bool {
        self.table.get().is_some()
    }

    /// Reports a connection.
    pub fn tell(&self, keep: Keep) {
        if let Keep::Came(id, _) = &keep
            && !is_at_random(*id)
            && let Some(table) = self.table.get()
        {
            table.reserve(*id);
        }
        if let Some(keeper) = &*self.keeper.lock().unwrap_or_else(PoisonError::into_inner) {
            // It fails if the task has ended.
            let _ = keeper.unbounded_send(keep);
        }
    }

    /// Tells the next process when chatd stops, in seconds since 1970; `None` if it does not.
    pub fn set_stop(&self, at: Option<u64>) {
        self.table.get().inspect(|table| table.set_stop(at));
    }

    /// Returns the crash table, if connections outlive this process.
    pub fn table(&self) -> Option<Arc<CrashTable>> {
        self.table.get().cloned()
    }
}
