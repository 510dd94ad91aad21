//! The deadlines of all sessions, in one task with one timer.
//!
//! A timer per session would wake the reactor each time it is set. Sessions set alarms here instead;
//! the task of [`Alarms::run`] sleeps until the first is due and wakes those whose time has come. An
//! alarm may be late by [`GRAIN`], never early, and says nothing about why it was set: the session
//! looks at its own deadlines again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future;
use futures::task::AtomicWaker;

use super::connection::Connection;
use crate::chat::SessionId;
use crate::rt;

/// Alarms that are due within this time of each other fire together.
pub const GRAIN: Duration = Duration::from_millis(10);

/// The alarms of all sessions.
#[derive(Debug, Default)]
pub struct Alarms {
    pending: Mutex<BTreeMap<(Instant, SessionId), Arc<Connection>>>,
    earlier: AtomicWaker,
}

impl Alarms {
    /// Wakes the session of `connection` at `when`. A session has at most one alarm: `alarm` is what it has so far, and
    /// is replaced.
    pub fn set(&self, alarm: &mut Option<Instant>, when: Instant, connection: &Arc<Connection>) {
        let mut pending = self.pending();
        if let Some(before) = alarm.replace(when) {
            pending.remove(&(before, connection.id()));
        }
        let is_first = pending.first_key_value().is_none_or(|((first, _), _)| when < *first);
        pending.insert((when, connection.id()), Arc::clone(connection));
        drop(pending);
        if is_first {
            self.earlier.wake();
        }
    }

    /// Removes the alarm of a session.
    pub fn clear(&self, alarm: &mut Option<Instant>, id: SessionId) {
        if let Some(before) = alarm.take() {
            self.pending().remove(&(before, id));
        }
    }

    /// Wakes sessions when their time has come; never ends.
    pub async fn run(&self) {
        let mut timer = rt::Timer::default();
        let mut set_for = None;
        future::poll_fn(|cx| {
            self.earlier.register(cx.waker());
            loop {
                self.ring(rt::now());
                let first = self.pending().first_key_value().map(|((when, _), _)| *when);
                if first != set_for || !timer.is_set() {
                    set_for = first;
                    match first {
                        Some(when) => timer.set(when + GRAIN),
                        None => timer.clear(),
                    }
                }
                if timer.poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn ring(&self, now: Instant) {
        let mut pending = self.pending();
        while let Some(first) = pending.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().wake();
        }
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<(Instant, SessionId), Arc<Connection>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
