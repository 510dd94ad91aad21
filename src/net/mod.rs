//! Floor 2: from sockets to rooms and back.
//!
//! [`listener`] accepts. [`session`] is the task of one connection, [`connection`] its socket, `intake` frames its
//! input, and `rate` limits it. [`address`] parses addresses, [`options`] sets socket options, `login` finds the user
//! of a unix socket, [`alarm`] wakes sessions at their deadlines, and [`sessions`] lists them. [`keeping`],
//! [`parcel`] and [`crash_table`] let connections outlive the process. Nothing here knows of argv, signals or the
//! environment: floor 3 passes sockets and [`Settings`], and calls [`Net::drain`].

pub mod address;
pub mod alarm;
mod close;
pub mod connection;
pub mod crash_table;
mod deadlines;
mod intake;
pub mod keeping;
pub mod listener;
mod login;
pub mod options;
pub mod parcel;
mod rate;
pub mod session;
pub mod sessions;
pub mod settings;
#[cfg(test)]
pub(crate) mod testing;

pub use address::{Address, AddressError};
pub use listener::Listener;
pub use session::Session;
pub use settings::Settings;

use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use rustix::io::Errno;

use alarm::Alarms;
use keeping::Keeping;
use sessions::Sessions;

/// What all sessions and listeners share.
#[derive(Debug)]
pub struct Net {
    settings: RwLock<Arc<Settings>>,
    /// All sessions.
    pub sessions: Sessions,
    /// The deadlines of sessions.
    pub alarms: Alarms,
    /// The counters since the start.
    pub counters: Counters,
    /// The error of accept(2) that lasts, if any.
    pub accept_failure: AcceptFailure,
    /// The way to the task that stores connections for the next process.
    pub keeping: Keeping,
    stage: AtomicU8,
    drain_until: RwLock<Option<Instant>>,
}

/// The stage of the shutdown, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not stopping.
    Running = 0,
    /// Sessions take what has already arrived and stop reading.
    Draining = 1,
    /// Sessions have stopped where they are, for another process to go on with them. This replaces `Draining`.
    Frozen = 2,
}

/// Counters since the start; each only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that became sessions.
    pub accepted: AtomicU64,
    /// Connections turned away: the daemon was full, or had too many from one address.
    pub refused: AtomicU64,
    /// Sessions closed because they did not read for `slow_timeout`.
    pub slow: AtomicU64,
    /// Sessions closed because they said nothing for `idle_timeout`.
    pub idle: AtomicU64,
    /// Connections that spoke another protocol.
    pub foreign: AtomicU64,
    /// Lines dropped for their length.
    pub too_long: AtomicU64,
}

impl Counters {
    /// Adds one to one of the counters.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The error of accept(2) that lasts, for as long as it does.
///
/// All listeners share it. One that goes on failing sets it again at each attempt, at least once a second, so another
/// one that recovers from the same error hides it for no longer.
#[derive(Debug, Default)]
pub struct AcceptFailure(AtomicI32);

impl AcceptFailure {
    /// Sets the error.
    pub fn set(&self, errno: Errno) {
        self.0.store(errno.raw_os_error(), Ordering::Relaxed);
    }

    /// Clears the error if it is still this one.
    pub fn clear(&self, errno: Errno) {
        // It fails where another listener has set another error since: that one stays.
        let _ = self.0.compare_exchange(errno.raw_os_error(), 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Returns the error; `None` while all listeners can accept.
    pub fn get(&self) -> Option<Errno> {
        Some(self.0.load(Ordering::Relaxed)).filter(|number| *number != 0).map(Errno::from_raw_os_error)
    }
}

impl Net {
    /// Makes one without sessions.
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings: RwLock::new(Arc::new(settings)),
            sessions: Sessions::default(),
            alarms: Alarms::default(),
            counters: Counters::default(),
            accept_failure: AcceptFailure::default(),
            keeping: Keeping::default(),
            stage: AtomicU8::new(Stage::Running as u8),
            drain_until: RwLock::new(None),
        })
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in force from now on. All sessions look at their deadlines again.
    pub fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.sessions.wake_all();
    }

    /// Returns the stage of the shutdown.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Running,
            1 => Stage::Draining,
            _ => Stage::Frozen,
        }
    }

    /// Makes all sessions take what has already arrived and stop reading. They close at `until` at the latest; what is
    /// pending then is lost.
    pub fn drain(&self, until: Instant) {
        *self.drain_until.write().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.stage.store(Stage::Draining as u8, Ordering::Release);
        self.sessions.wake_all();
    }

    /// Makes all sessions stop where they are and pass their unfinished input to the hub.
    pub fn freeze(&self) {
        self.stage.store(Stage::Frozen as u8, Ordering::Release);
        self.sessions.wake_all();
    }

    /// Returns when all sessions must be closed; `None` if chatd is not stopping.
    pub fn drain_until(&self) -> Option<Instant> {
        *self.drain_until.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_clears_only_the_error_that_it_had() {
        let failure = AcceptFailure::default();
        assert_eq!(failure.get(), None);
        failure.set(Errno::PERM);
        failure.set(Errno::MFILE);
        failure.clear(Errno::PERM);
        assert_eq!(failure.get(), Some(Errno::MFILE));
        failure.clear(Errno::MFILE);
        assert_eq!(failure.get(), None);
    }
}
