//! The queue between the hub and the thread of the archive.
//!
//! The hub never waits: what does not fit is counted as lost. What the thread has taken counts until it is written, so
//! the memory of the archive is bounded while a disk is full.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::chat::{self, Archived};

/// Most bytes that wait to be written.
const MOST_BYTES: usize = 16 << 20;
/// Most lines that wait to be written: after a crash no room has got further than this behind what is on disk.
pub const MOST_LINES: u64 = 1 << 20;
/// With so many bytes the thread goes on at once.
const MUCH: usize = 1 << 20;

/// How the archive is doing, for the status and for operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveState {
    /// Number of lines that were written.
    pub written: u64,
    /// Number of lines that could not be written, and are lost.
    pub lost: u64,
    /// Why it cannot write, while it cannot.
    pub failing: Option<String>,
}

impl fmt::Display for ArchiveState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "archive: {} lines written, {} lost", self.written, self.lost)?;
        self.failing.iter().try_for_each(|error| write!(f, "; cannot write: {error}"))
    }
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Archived>,
    /// Bytes and lines of these and of what the thread has taken.
    bytes: usize,
    lines: u64,
    /// How many bytes wake the thread: `None` if nothing does.
    wakes_at: Option<usize>,
    has_ended: bool,
}

/// The end that the hub has, and the one of the thread.
#[derive(Clone, Debug, Default)]
pub struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    written: AtomicU64,
    lost: AtomicU64,
    failing: Mutex<Option<String>>,
}

impl chat::Archive for Queue {
    fn append(&mut self, archived: Archived) {
        let (bytes, lines) = (archived.memory(), archived.lines());
        let mut waiting = self.waiting();
        let is_full = waiting.bytes + bytes > MOST_BYTES || waiting.lines + lines > MOST_LINES;
        if waiting.has_ended || (is_full && waiting.bytes > 0) {
            drop(waiting);
            return self.count_lost(lines);
        }
        waiting.items.push_back(archived);
        waiting.bytes += bytes;
        waiting.lines += lines;
        if waiting.wakes_at.is_some_and(|least| waiting.bytes >= least) {
            waiting.wakes_at = None;
            drop(waiting);
            self.0.wake.notify_one();
        }
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic ends the process.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits up to `at_most` until something is there, or until the end. Returns whether it has ended.
    pub fn wait(&self, at_most: Option<Duration>) -> bool {
        self.wait_for(1, at_most)
    }

    /// Waits until much is there, and not longer than `at_most`: to write many lines at once is less work.
    pub fn gather(&self, at_most: Duration) -> bool {
        self.wait_for(MUCH, Some(at_most))
    }

    /// Waits for the end alone, up to `at_most`. Returns whether it has ended.
    pub fn rest(&self, at_most: Duration) -> bool {
        self.wait_for(usize::MAX, Some(at_most))
    }

    fn wait_for(&self, least: usize, at_most: Option<Duration>) -> bool {
        let mut waiting = self.waiting();
        if waiting.has_ended || waiting.bytes >= least {
            return waiting.has_ended;
        }
        waiting.wakes_at = Some(least);
        let is_idle = |waiting: &mut Waiting| !waiting.has_ended && waiting.bytes < least;
        let mut waiting = match at_most {
            Some(time) => {
                let woken = self.0.wake.wait_timeout_while(waiting, time, is_idle);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.0.wake.wait_while(waiting, is_idle).unwrap_or_else(PoisonError::into_inner),
        };
        waiting.wakes_at = None;
        waiting.has_ended
    }

    /// Takes all that is there. It counts as waiting until [`Queue::count_written`] or [`Queue::give_up`].
    pub fn take(&self) -> VecDeque<Archived> {
        std::mem::take(&mut self.waiting().items)
    }

    /// What the thread has taken is written.
    pub fn count_written<'a>(&self, items: impl IntoIterator<Item = &'a Archived>) {
        let lines = self.forget(items);
        self.0.written.fetch_add(lines, Relaxed);
    }

    /// What the thread has taken is never written.
    pub fn give_up<'a>(&self, items: impl IntoIterator<Item = &'a Archived>) {
        let lines = self.forget(items);
        self.count_lost(lines);
    }

    fn forget<'a>(&self, items: impl IntoIterator<Item = &'a Archived>) -> u64 {
        let sum = |(bytes, lines), item: &Archived| (bytes + item.memory(), lines + item.lines());
        let (bytes, lines) = items.into_iter().fold((0, 0), sum);
        let mut waiting = self.waiting();
        waiting.bytes -= bytes;
        waiting.lines -= lines;
        lines
    }

    /// So many lines are lost.
    pub fn count_lost(&self, lines: u64) {
        self.0.lost.fetch_add(lines, Relaxed);
    }

    /// So many lines that were written are lost after all.
    pub fn count_gone(&self, lines: u64) {
        self.0.written.fetch_sub(lines, Relaxed);
        self.count_lost(lines);
    }

    /// The thread can write, or cannot.
    pub fn set_failing(&self, failing: Option<String>) {
        *self.0.failing.lock().unwrap_or_else(PoisonError::into_inner) = failing;
    }

    /// Takes nothing more. The thread ends when it has tried to write what is there.
    pub fn end(&self) {
        self.waiting().has_ended = true;
        self.0.wake.notify_one();
    }

    /// Returns whether it takes nothing more.
    pub fn has_ended(&self) -> bool {
        self.waiting().has_ended
    }

    /// Returns how the archive is doing.
    pub fn state(&self) -> ArchiveState {
        ArchiveState {
            written: self.0.written.load(Relaxed),
            lost: self.0.lost.load(Relaxed),
            failing: self.0.failing.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
