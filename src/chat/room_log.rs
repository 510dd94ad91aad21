//! The part of a room that its readers share with it: the log, under a lock that appending takes
//! alone and reading takes together, and how the room learns that those it waits for have read.
//!
//! It decides nothing: the room says for whom it waits, the readers say how far they have come.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

use futures::task::AtomicWaker;

use super::Position;
use super::log::Log;
use super::member::Member;

/// Bytes of inputs on their way to a room beyond which sessions read little at a time.
const MANY_IN_FLIGHT: usize = 4 * 1024 * 1024;

/// The part of a room that its readers share with it.
#[derive(Debug)]
pub struct RoomLog {
    log: RwLock<Log>,
    /// While the room waits: what the cursors of all those it waits for have to reach.
    wanted: AtomicU64,
    /// How many of them have not reached it.
    awaited: AtomicUsize,
    /// Wakes the broker when the last of them has.
    space: AtomicWaker,
    in_flight: AtomicUsize,
    skipped: AtomicU64,
    min_rate: AtomicU64,
}

impl RoomLog {
    pub(super) fn new(capacity: usize, min_rate: u64) -> Arc<Self> {
        Arc::new(Self {
            log: RwLock::new(Log::new(capacity)),
            wanted: AtomicU64::new(0),
            awaited: AtomicUsize::new(0),
            space: AtomicWaker::new(),
            in_flight: AtomicUsize::new(0),
            skipped: AtomicU64::new(0),
            min_rate: AtomicU64::new(min_rate),
        })
    }

    /// The log, for reading. The room cannot append while this is held.
    pub fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log, for appending. Nobody reads while this is held.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.log.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the rate, in bytes a second, below which a member is not waited for.
    pub fn set_min_rate(&self, min_rate: u64) {
        self.min_rate.store(min_rate, Ordering::Relaxed);
    }

    pub(super) fn min_rate(&self) -> u64 {
        self.min_rate.load(Ordering::Relaxed)
    }

    /// Counts an input on its way to the room.
    pub fn begin_input(&self, bytes: usize) {
        self.in_flight.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Says whether so much is on its way that sessions should read only a little at a time.
    pub fn is_crowded(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > MANY_IN_FLIGHT
    }

    /// How many lines members have missed because they did not read.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    pub(super) fn count_skipped(&self, lines: u64) {
        self.skipped.fetch_add(lines, Ordering::Relaxed);
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

    /// An input has been taken in.
    pub(super) fn end_input(&self, bytes: usize) {
        self.in_flight.fetch_sub(bytes, Ordering::Relaxed);
    }
}
