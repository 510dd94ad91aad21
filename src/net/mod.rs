//! Floor 2: from sockets to rooms and back.
//!
//! [`listener`] accepts. [`session`] is the task of one connection, [`connection`] its socket, `intake` frames its
//! input, and `rate` limits it. [`address`] parses addresses, [`options`] sets socket options, `login` finds the user
//! of a unix socket, [`alarm`] wakes sessions at their deadlines, [`sessions`] lists them, and [`numbers`] has their numbers. [`keeping`],
//! [`parcel`] and [`crash_table`] let connections outlive the process. [`access`] and [`bans`] say who may connect,
//! [`registry`] holds the bans in force, and `admission` asks both. [`proxy`] reads who is behind a load balancer, and
//! [`http`] answers those who ask for metrics. Nothing here knows of argv, signals or the
//! environment: floor 3 passes sockets and [`Settings`], and calls [`Net::drain`].

pub mod access;
pub mod address;
mod admission;
pub mod alarm;
pub mod bans;
mod close;
pub mod connection;
pub mod crash_table;
mod deadlines;
pub mod http;
mod intake;
pub mod keeping;
pub mod listener;
pub mod login;
pub mod networks;
pub mod numbers;
pub mod options;
pub mod parcel;
pub mod proxy;
mod rate;
pub mod registry;
pub mod session;
pub mod sessions;
pub mod settings;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;

pub use address::{Address, AddressError};
pub use listener::Listener;
pub use session::Session;
pub use settings::Settings;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::chat::{SessionId, Traffic};
use crate::protocol::{Notice, Reason};
use crate::rt;

/// How long a restart waits for clients of which none takes anything. The kernel sends what was lost on its way again
/// within this time.
const STANDSTILL: Duration = Duration::from_secs(1);

use alarm::Alarms;
use connection::Connection;
use keeping::Keeping;
use registry::Registry;
use sessions::{Refusal, Sessions};

/// What all sessions and listeners share.
#[derive(Debug)]
pub struct Net {
    settings: RwLock<Arc<Settings>>,
    /// The bytes under way to the hub, and its counters.
    pub traffic: Arc<Traffic>,
    /// All sessions.
    pub sessions: Sessions,
    /// The bans and mutes in force.
    pub registry: Registry,
    /// The deadlines of sessions.
    pub alarms: Alarms,
    /// The counters since the start.
    pub counters: Counters,
    /// The error of accept(2) that lasts, if any.
    pub accept_failure: AcceptFailure,
    /// The way to the task that stores connections for the next process.
    pub keeping: Keeping,
    /// The ID of the group of the operators; `u32::MAX` for none.
    operators: AtomicU32,
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
    /// Connections turned away, for any reason.
    pub refused: AtomicU64,
    /// The same for each [`Refusal`].
    refused_by: [AtomicU64; Refusal::REASONS.len()],
    /// Sessions that the client ended, or that got everything before the end.
    pub ended: AtomicU64,
    /// Sessions whose connection failed.
    pub failed: AtomicU64,
    /// Sessions that had not read everything within `drain`.
    pub late: AtomicU64,
    /// Bytes received from clients.
    pub bytes_received: AtomicU64,
    /// Sessions closed because they did not read for `slow_timeout`.
    pub slow: AtomicU64,
    /// Sessions closed because they said nothing for `idle_timeout`.
    pub idle: AtomicU64,
    /// Connections that spoke another protocol.
    pub foreign: AtomicU64,
    /// Sessions closed because the lists of networks, a ban or an operator did not let them stay.
    pub dismissed: AtomicU64,
    /// Lines dropped for their length.
    pub too_long: AtomicU64,
    /// Handshakes of TLS that were finished.
    pub handshakes: AtomicU64,
    /// Connections that began with a handshake of TLS, or had to, and did not finish it.
    pub failed_handshakes: AtomicU64,
}

impl Counters {
    /// Adds one to one of the counters.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that is turned away.
    pub fn refuse(&self, refusal: &Refusal) {
        Self::count(&self.refused);
        Self::count(&self.refused_by[refusal.index()]);
    }

    /// Returns how many connections were turned away for which reason.
    pub fn refused(&self) -> [(&'static str, u64); Refusal::REASONS.len()] {
        std::array::from_fn(|at| (Refusal::REASONS[at], self.refused_by[at].load(Ordering::Relaxed)))
    }

    /// Returns how many sessions have ended for which reason. A session that another process goes on with has not.
    pub fn closed(&self) -> [(&'static str, u64); 7] {
        [
            ("ended", &self.ended),
            ("failed", &self.failed),
            ("slow", &self.slow),
            ("idle", &self.idle),
            ("foreign", &self.foreign),
            ("dismissed", &self.dismissed),
            ("drain", &self.late),
        ]
        .map(|(reason, counter)| (reason, counter.load(Ordering::Relaxed)))
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
    /// Makes one without sessions, for a hub with these counters.
    pub fn new(settings: Settings, traffic: Arc<Traffic>) -> Arc<Self> {
        Arc::new(Self {
            settings: RwLock::new(Arc::new(settings)),
            traffic,
            sessions: Sessions::default(),
            registry: Registry::default(),
            alarms: Alarms::default(),
            counters: Counters::default(),
            accept_failure: AcceptFailure::default(),
            keeping: Keeping::default(),
            operators: AtomicU32::new(u32::MAX),
            stage: AtomicU8::new(Stage::Running as u8),
            drain_until: RwLock::new(None),
        })
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other settings in force from now on. All sessions look at their deadlines again. Those close that may not
    /// be connected any more.
    pub fn set_settings(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.examine_all();
        self.sessions.wake_all();
    }

    /// Makes the members of this group operators from now on; without a group, only root is one.
    pub fn set_operators(&self, group: Option<u32>) {
        self.operators.store(group.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Returns whether a session is that of an operator, as the kernel says.
    pub fn is_operator(&self, id: SessionId) -> bool {
        self.sessions.get(id).is_some_and(|connection| self.is_of_operator(&*connection))
    }

    /// Returns whether a socket is that of an operator.
    fn is_of_operator(&self, socket: impl AsFd) -> bool {
        let group = Some(self.operators.load(Ordering::Relaxed)).filter(|group| *group != u32::MAX);
        login::is_operator(socket, group)
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

    /// Closes the sessions whose TLS keys end with this process, for it does. They get what is pending; waits for them, but
    /// not longer than `most`, and as long as one of them reads: nobody else may wait for those that do not.
    pub async fn close_unkept(&self, most: Duration) {
        let ends = |one: &Connection| one.ends_with_process();
        let closing = |one: &Connection| ends(one).then_some(Notice::Closing { reason: Reason::Restarting });
        let (until, mut last, mut since) = (rt::now() + most, (0, 0), rt::now());
        loop {
            self.sessions.dismiss(closing);
            let (taken, now) = (self.sessions.acknowledged(ends), rt::now());
            if taken != last {
                (last, since) = (taken, now);
            }
            if taken.0 == 0 || now >= until.min(since + STANDSTILL) {
                return;
            }
            rt::sleep(deadlines::CHECK).await;
        }
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
