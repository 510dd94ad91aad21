//! What the two sides of a membership share: the room, which decides, and the session, which reads.
//!
//! A [`Member`] is a handful of atomics and the waker of the session's task, about a hundred bytes.
//! The room changes it while it has the log to itself, the session while it reads the log; the lock on
//! the log is what makes "I found nothing more, wake me" and "here is more" happen one after the other.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use super::Position;

/// The number of a session: given once, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The session has read all there was and wants to be woken when there is more.
const ASLEEP: u8 = 1;
/// An input of the session is on its way to the room and has not been acknowledged.
const OUTSTANDING: u8 = 1 << 1;
/// The room waits for this member to read.
const AWAITED: u8 = 1 << 2;
/// The session should try to write, whatever the reactor has said so far.
const RETRY: u8 = 1 << 3;

/// A session's membership of a room.
#[derive(Debug)]
pub struct Member {
    id: SessionId,
    flags: AtomicU8,
    /// How far the session has been sent the log. Its own copy is the truth; this one is for the room.
    cursor: AtomicU64,
    /// Where the last stretch that it said itself ends.
    own_end: AtomicU64,
    /// Where its reading ends: `u64::MAX` while it stays.
    end: AtomicU64,
    waker: Mutex<Option<Waker>>,
    skipped: Mutex<Option<Box<Skipped>>>,
}

/// What a member missed because the log moved on over its cursor.
#[derive(Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The rest of the line that it had been sent half of.
    pub rest: Vec<u8>,
    /// The first line that it missed, counted from the room's beginning.
    pub first_line: u64,
    /// How many of the lines it missed were its own.
    pub own_lines: u64,
}

impl Member {
    /// A membership that has not begun: its cursor is set when the room has it join.
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            flags: AtomicU8::new(0),
            cursor: AtomicU64::new(0),
            own_end: AtomicU64::new(0),
            end: AtomicU64::new(Position::MAX),
            waker: Mutex::new(None),
            skipped: Mutex::new(None),
        }
    }

    /// Whose membership this is.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Sets the waker of the session's task; called at each of its polls, hence cheap if it is the same.
    pub fn register(&self, waker: &Waker) {
        let mut mine = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *mine {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Wakes the session's task.
    pub fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    /// Wakes the session's task if it waits for more to read.
    pub fn wake_if_asleep(&self) {
        if self.has(ASLEEP) && self.take(ASLEEP) {
            self.wake();
        }
    }

    /// The session has read everything. Only while it holds the log for reading.
    pub(super) fn fall_asleep(&self) {
        self.set(ASLEEP);
    }

    /// Says whether an input has been sent that the room has not taken in yet. Until it has, the
    /// session reads nothing more: that is what bounds the memory of a room that has to wait.
    pub fn is_outstanding(&self) -> bool {
        self.has(OUTSTANDING)
    }

    /// The session is about to send an input.
    pub fn begin_input(&self) {
        self.set(OUTSTANDING);
    }

    /// The room has taken in the input.
    pub(super) fn acknowledge(&self) {
        self.take(OUTSTANDING);
    }

    /// The session should try to write even if the kernel has not called the socket writable: the kernel
    /// does that only when a third or more of a full buffer is free, which can take a slow reader longer
    /// than it has to show that it reads.
    pub(super) fn retry(&self) {
        self.set(RETRY);
        self.wake();
    }

    /// Says once whether to try; see [`Member::retry`].
    pub fn take_retry(&self) -> bool {
        self.has(RETRY) && self.take(RETRY)
    }

    pub(super) fn cursor(&self) -> Position {
        self.cursor.load(Ordering::Acquire)
    }

    /// Sets how far the member has been sent the log; returns where it was before.
    pub(super) fn set_cursor(&self, cursor: Position) -> Position {
        self.cursor.swap(cursor, Ordering::AcqRel)
    }

    pub(super) fn own_end(&self) -> Position {
        self.own_end.load(Ordering::Acquire)
    }

    pub(super) fn set_own_end(&self, end: Position) {
        self.own_end.store(end, Ordering::Release);
    }

    /// Where the member's reading ends; `Position::MAX` while it stays.
    pub fn end(&self) -> Position {
        self.end.load(Ordering::Acquire)
    }

    /// The member reads no further than `end`.
    pub fn set_end(&self, end: Position) {
        self.end.store(end, Ordering::Release);
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.has(AWAITED)
    }

    pub(super) fn set_awaited(&self, awaited: bool) {
        if awaited {
            self.set(AWAITED);
        } else {
            self.take(AWAITED);
        }
    }

    /// Takes out what it missed.
    pub(super) fn take_skipped(&self) -> Option<Box<Skipped>> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Notes what it misses; keeps what was noted before, and adds to its own lines.
    pub(super) fn note_skipped(&self, own_lines: u64, first: impl FnOnce() -> (Vec<u8>, u64)) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = skipped.get_or_insert_with(|| {
            let (rest, first_line) = first();
            Box::new(Skipped { rest, first_line, own_lines: 0 })
        });
        noted.own_lines += own_lines;
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
    }

    fn take(&self, flag: u8) -> bool {
        self.flags.fetch_and(!flag, Ordering::AcqRel) & flag != 0
    }
}
