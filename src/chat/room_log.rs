//! The log of a room in one form, as the room and those who read it share it: the log itself, under a lock that
//! appending takes alone and reading takes together, and how the room learns that those it waits for have read.
//!
//! It decides nothing: the room says for whom it waits, the readers say how far they have come.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

use futures::task::AtomicWaker;

use super::Position;
use super::log::Log;
use super::member::Member;
use super::traffic::Traffic;
use crate::protocol::Form;

/// The log of a room in one form.
#[derive(Debug)]
pub struct RoomLog {
    form: Form,
    log: RwLock<Log>,
    /// While the room waits: what the cursors of all those it waits for have to reach.
    wanted: AtomicU64,
    /// How many of them have not reached it.
    awaited: AtomicUsize,
    /// Wakes the broker when the last of them has.
    space: AtomicWaker,
    traffic: Arc<Traffic>,
}

impl RoomLog {
    pub(super) fn new(form: Form, capacity: usize, traffic: Arc<Traffic>) -> Arc<Self> {
        Arc::new(Self {
            form,
            log: RwLock::new(Log::new(capacity)),
            wanted: AtomicU64::new(0),
            awaited: AtomicUsize::new(0),
            space: AtomicWaker::new(),
            traffic,
        })
    }

    /// The same with what another process has kept of it.
    pub(super) fn with(form: Form, log: Log, traffic: Arc<Traffic>) -> Arc<Self> {
        let mut room = Self::new(form, 1, traffic);
        if let Some(room) = Arc::get_mut(&mut room) {
            room.log = RwLock::new(log);
        }
        room
    }

    /// How the lines in it are encoded.
    pub fn form(&self) -> Form {
        self.form
    }

    /// What goes through all rooms.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The log, for reading. The room cannot append while this is held.
    pub fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the next line will begin.
    pub(super) fn head(&self) -> Position {
        self.read().head()
    }

    /// The log, for appending. Nobody reads while this is held.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.log.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member has read up to `cursor`. Only while holding the log for reading.
    pub(super) fn note_cursor(&self, member: &Member, cursor: Position) {
        let before = member.cursor();
        member.set_cursor(cursor);
        let wanted = self.wanted.load(Ordering::Acquire);
        if before < wanted && cursor >= wanted && member.is_awaited() {
            member.set_awaited(false);
            if self.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.space.wake();
            }
        }
    }

    /// The room waits until `members` of them have read up to `wanted`. Only while holding the log for
    /// appending; those members are marked as awaited.
    pub(super) fn await_cursors(&self, wanted: Position, members: usize) {
        self.awaited.store(members, Ordering::Release);
        self.wanted.store(wanted, Ordering::Release);
    }

    /// The room no longer waits for one of them. Only while holding the log for appending.
    pub(super) fn give_up_one(&self) {
        self.awaited.fetch_sub(1, Ordering::AcqRel);
    }

    /// The room waits for nobody.
    pub(super) fn end_waiting(&self) {
        self.wanted.store(0, Ordering::Release);
    }

    /// Says whether all have read up to where they were awaited; otherwise `waker` will be woken.
    pub(super) fn have_all_read(&self, waker: &Waker) -> bool {
        self.space.register(waker);
        self.awaited.load(Ordering::Acquire) == 0
    }
}
