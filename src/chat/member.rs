//! What the two sides of a membership share: the room, which decides, and the session, which reads.
//!
//! A [`Member`] is a handful of atomics, the waker of the session's task and the [`Outlet`] that its
//! lines go to. The room changes it while it has the log to itself, the session while it reads the log;
//! the lock on the log is what makes "I found nothing more, wake me" and "here is more" happen one
//! after the other.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use serde::{Deserialize, Serialize};

use super::Position;
use super::outlet::Outlet;
use super::progress::Progress;
use super::room_log::RoomLog;
use crate::protocol::Form;

/// Whom a member ignores, at most.
pub(super) const MOST_IGNORED: usize = 100;

/// The number of a session: given once, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

impl SessionId {
    /// No session has this: what comes from nobody in particular.
    pub(super) const NOBODY: Self = Self(0);
}

/// What is sent to a member, and where to. Nobody takes a lock on a log while holding this.
#[derive(Debug)]
pub(super) struct Output {
    /// The log that it reads; the room changes it.
    pub(super) room: Arc<RoomLog>,
    pub(super) progress: Progress,
    /// Gone when the session is.
    pub(super) outlet: Option<Arc<dyn Outlet>>,
}

/// A session's membership of a room.
#[derive(Debug)]
pub struct Member {
    id: SessionId,
    /// It has been sent all there was: what comes next can be sent as soon as it is there.
    asleep: AtomicBool,
    /// An input of the session is on its way to the room and has not been acknowledged.
    outstanding: AtomicBool,
    /// The room waits for this member to read.
    awaited: AtomicBool,
    /// The session should try to write, whatever the reactor has said so far.
    retry: AtomicBool,
    /// How far it has been sent the log: a copy of what `output` says, for the room.
    cursor: AtomicU64,
    /// How many bytes the log has moved on over its cursor since the room has looked.
    jumped: AtomicU32,
    /// How many bytes it has been sent since then that were for it alone.
    answered: AtomicU32,
    /// Where the last stretch that it said itself ends.
    own_end: AtomicU64,
    /// Where its reading ends: `u64::MAX` while it stays.
    end: AtomicU64,
    /// It has a name of its own.
    named: AtomicBool,
    /// It ignores somebody.
    choosy: AtomicBool,
    output: Mutex<Output>,
    waker: Mutex<Option<Waker>>,
    skipped: Mutex<Option<Box<Skipped>>>,
    ignored: Mutex<Vec<SessionId>>,
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
    /// A membership that has not begun: it will read `room`, from where that stands when it joins.
    pub fn new(id: SessionId, outlet: Arc<dyn Outlet>, room: Arc<RoomLog>) -> Self {
        Self::with(id, Some(outlet), room)
    }

    fn with(id: SessionId, outlet: Option<Arc<dyn Outlet>>, room: Arc<RoomLog>) -> Self {
        Self {
            id,
            asleep: AtomicBool::new(false),
            outstanding: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            retry: AtomicBool::new(false),
            cursor: AtomicU64::new(0),
            jumped: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            own_end: AtomicU64::new(0),
            end: AtomicU64::new(Position::MAX),
            named: AtomicBool::new(false),
            choosy: AtomicBool::new(false),
            output: Mutex::new(Output { room, progress: Progress::default(), outlet }),
            waker: Mutex::new(None),
            skipped: Mutex::new(None),
            ignored: Mutex::new(Vec::new()),
        }
    }

    /// Of somebody who is gone, and to whom nothing can be sent.
    pub(super) fn without_outlet(id: SessionId, room: Arc<RoomLog>) -> Self {
        Self::with(id, None, room)
    }

    /// Goes on where it stood in another process.
    pub(super) fn put_back(&self, progress: Progress, own_end: Position, end: Position) {
        self.set_cursor(progress.cursor);
        self.set_own_end(own_end);
        self.set_end(end);
        self.output().progress = progress;
    }

    /// Says whether what it has been sent last ends inside of a line.
    pub fn is_torn(&self) -> bool {
        self.output().progress.torn
    }

    /// Whose membership this is.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// It hears what is said in `room` from now on; it has heard nothing yet.
    pub(super) fn begin(&self, room: &Arc<RoomLog>) {
        let head = room.head();
        self.set_cursor(head);
        let mut output = self.output();
        output.progress.cursor = head;
        output.room = Arc::clone(room);
    }

    /// Sets the waker of the session's task.
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

    /// Says whether it has been sent all there was.
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Acquire)
    }

    /// Sets whether it has been sent all there was. Only while the log is held for reading.
    pub(super) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::Release);
    }

    /// The log that it reads now.
    pub fn room(&self) -> Arc<RoomLog> {
        Arc::clone(&self.output().room)
    }

    /// How lines are shown to it now.
    pub fn form(&self) -> Form {
        self.output().room.form()
    }

    /// What is sent to it, and where to. To change what is in it, its log has to be held for reading.
    pub(super) fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether an input has been sent that the room has not taken in yet. Until it has, the
    /// session reads nothing more: that is what bounds the memory of a room that has to wait.
    pub fn is_outstanding(&self) -> bool {
        self.outstanding.load(Ordering::Acquire)
    }

    /// The session is about to send an input.
    pub fn begin_input(&self) {
        self.outstanding.store(true, Ordering::Release);
    }

    /// The room has taken in the input.
    pub(super) fn acknowledge(&self) {
        self.outstanding.store(false, Ordering::Release);
    }

    /// The session should try to write even if the kernel has not called the socket writable: the kernel
    /// does that only when a third or more of a full buffer is free, which can take a slow reader longer
    /// than it has to show that it reads.
    pub(super) fn retry(&self) {
        self.retry.store(true, Ordering::Release);
        self.wake();
    }

    /// Says once whether to try; the room asks for it while it waits.
    pub fn take_retry(&self) -> bool {
        self.retry.swap(false, Ordering::AcqRel)
    }

    pub(super) fn cursor(&self) -> Position {
        self.cursor.load(Ordering::Acquire)
    }

    pub(super) fn set_cursor(&self, cursor: Position) {
        self.cursor.store(cursor, Ordering::Release);
    }

    /// How many bytes the log has moved on over its cursor since this was last asked.
    pub(super) fn take_jumped(&self) -> u64 {
        self.jumped.swap(0, Ordering::AcqRel).into()
    }

    /// The log has moved on over `bytes` more: all of it, at most. Only while its output is held.
    pub(super) fn note_jumped(&self, bytes: u64) {
        self.jumped.fetch_add(u32::try_from(bytes).unwrap_or(u32::MAX), Ordering::AcqRel);
    }

    /// How many bytes it has been sent since this was last asked that were for it alone.
    pub(super) fn take_answered(&self) -> u64 {
        self.answered.swap(0, Ordering::AcqRel).into()
    }

    /// It has been sent `bytes` more that were for it alone. Only while its output is held.
    pub(super) fn note_answered(&self, bytes: usize) {
        self.answered.fetch_add(u32::try_from(bytes).unwrap_or(u32::MAX), Ordering::AcqRel);
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
        self.awaited.load(Ordering::Acquire)
    }

    pub(super) fn set_awaited(&self, awaited: bool) {
        self.awaited.store(awaited, Ordering::Release);
    }

    /// Says whether it has a name of its own.
    pub fn is_named(&self) -> bool {
        self.named.load(Ordering::Acquire)
    }

    pub(super) fn set_named(&self, named: bool) {
        self.named.store(named, Ordering::Release);
    }

    /// How many bytes are owed to it alone.
    pub(super) fn owed(&self) -> usize {
        self.output().progress.owed.len()
    }

    /// Says whether its session is gone: nothing can be sent to it any more.
    pub(super) fn is_released(&self) -> bool {
        self.output().outlet.is_none()
    }

    /// Says whether it is not shown what that session says: its own lines, and those of whom it ignores.
    pub(super) fn hides(&self, from: SessionId) -> bool {
        from == self.id || (self.is_choosy() && self.ignores(from))
    }

    /// Beyond this place in its log there is nothing that it is not shown.
    pub(super) fn hidden_end(&self) -> Position {
        if self.is_choosy() { Position::MAX } else { self.own_end() }
    }

    /// Says whether it ignores anybody.
    pub(super) fn is_choosy(&self) -> bool {
        self.choosy.load(Ordering::Acquire)
    }

    /// Says whether it ignores that session.
    pub(super) fn ignores(&self, from: SessionId) -> bool {
        self.ignored().contains(&from)
    }

    /// Ignores a session from now on, or no more; says which. Nothing if it ignores [`MOST_IGNORED`] already that are
    /// there.
    ///
    /// Nobody sends to it meanwhile: what is half sent is finished by the same rule by which it was begun.
    pub(super) fn toggle_ignored(
        &self,
        other: SessionId,
        is_there: impl Fn(SessionId) -> bool,
    ) -> Option<bool> {
        let room = self.room();
        let log = room.read();
        let output = &mut *self.output();
        output.progress.finish_begun(&room, &log, self);
        let mut ignored = self.ignored();
        let count = ignored.len();
        ignored.retain(|id| *id != other);
        let is_new = ignored.len() == count;
        if is_new && count == MOST_IGNORED {
            // A session that is gone says nothing more.
            ignored.retain(|id| is_there(*id));
        }
        if is_new && ignored.len() == MOST_IGNORED {
            return None;
        }
        if is_new {
            ignored.push(other);
        }
        self.choosy.store(!ignored.is_empty(), Ordering::Release);
        Some(is_new)
    }

    /// Whom it ignores.
    pub(super) fn all_ignored(&self) -> Vec<SessionId> {
        self.ignored().clone()
    }

    pub(super) fn put_back_ignored(&self, mut ignored: Vec<SessionId>) {
        ignored.truncate(MOST_IGNORED);
        self.choosy.store(!ignored.is_empty(), Ordering::Release);
        *self.ignored() = ignored;
    }

    fn ignored(&self) -> MutexGuard<'_, Vec<SessionId>> {
        self.ignored.lock().unwrap_or_else(PoisonError::into_inner)
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
}
