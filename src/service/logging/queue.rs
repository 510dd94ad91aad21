//! The queue between the callers of `log::info!` and the thread that writes.
//!
//! Bounded: a full queue counts new lines instead of taking them, and the count takes the place of the lost lines.
//! The lock is held only to push or pop one entry, never to format or write, so [`Queue::push`] never makes an executor
//! thread wait for anything slow.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use log::Level;

use super::escape::one_line;

/// The most log lines that wait to be written; with the longest line of 4 KiB that is 4 MiB.
pub const QUEUE_LINES: usize = 1024;

/// How many log lines have been lost since the start. A process has one log.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Returns how many log lines have been lost since the start, because the log was slow or away.
pub fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// One log line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) level: Level,
    /// When it was logged, not when it was written.
    pub(super) time: SystemTime,
    /// Printable, one line, bounded: see `escape`.
    pub(super) text: String,
    /// How many log lines are lost if this entry is: 1, or all that it reports.
    lines: u64,
    is_report: bool,
}

impl Entry {
    pub(super) fn new(level: Level, arguments: fmt::Arguments<'_>) -> Self {
        Self { level, time: SystemTime::now(), text: one_line(arguments), lines: 1, is_report: false }
    }

    fn report(lost: u64) -> Self {
        Self {
            lines: lost,
            is_report: true,
            ..Self::new(Level::Warn, format_args!("log lines lost: {lost}"))
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something to write, or closed: the writer waits here.
    filled: Condvar,
    /// Closed: the writer waits here between two attempts.
    closing: Condvar,
    /// Nothing left to write: a flush waits here.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    /// Lines lost since the last entry in the queue.
    lost: u64,
    /// The last write failed: a report now would only fail as well, and again, without end.
    failing: bool,
    /// The writer has an entry in hand.
    writing: bool,
    closed: bool,
}

impl State {
    /// Moves the count of lost lines into the queue, as a line in their place.
    fn report_lost(&mut self) {
        match std::mem::take(&mut self.lost) {
            0 => {}
            lost => self.entries.push_back(Entry::report(lost)),
        }
    }

    fn is_drained(&self) -> bool {
        self.entries.is_empty() && !self.writing && (self.lost == 0 || self.failing)
    }
}

impl Queue {
    /// Adds a line, or counts it as lost when there is no room. After [`Queue::close`] it does nothing.
    pub(super) fn push(&self, entry: Entry) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        // One place is reserved for the report of lost lines.
        if state.entries.len() + 1 >= QUEUE_LINES {
            state.lost += 1;
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.report_lost();
        state.entries.push_back(entry);
        drop(state);
        self.filled.notify_one();
    }

    /// The next line to write, or `None` when the queue is closed and empty. Waits; only for the writer.
    ///
    /// Each line is followed by a call of [`Queue::settle`].
    pub(super) fn pop(&self) -> Option<Entry> {
        let mut state = self.lock();
        loop {
            if state.entries.is_empty() && !state.failing {
                state.report_lost();
            }
            if let Some(entry) = state.entries.pop_front() {
                state.writing = true;
                return Some(entry);
            }
            self.drained.notify_all();
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reports whether the line last popped was written. The count of lost lines follows the next line that is written.
    pub(super) fn settle(&self, entry: &Entry, written: bool) {
        let mut state = self.lock();
        state.writing = false;
        state.failing = !written;
        if !written {
            state.lost += entry.lines;
            // Those that a report counts have been counted.
            LOST.fetch_add(u64::from(!entry.is_report), Ordering::Relaxed);
        }
    }

    /// Waits for `pause`, or until the queue is closed; `false` if it is closed. Only for the writer.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let closed = |state: &mut State| !state.closed;
        let waited = self.closing.wait_timeout_while(self.lock(), pause, closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Takes no more lines; what is in the queue is still written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.closing.notify_all();
    }

    /// Waits until everything is written, at most for `patience`; `false` if something is left.
    pub(super) fn wait_drained(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while !state.is_drained() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.drained.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// A panic elsewhere must not take the log with it: the state is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry::new(Level::Info, format_args!("{text}"))
    }

    fn texts(queue: &Queue) -> Vec<String> {
        queue.close();
        std::iter::from_fn(|| queue.pop()).map(|entry| entry.text).collect()
    }

    #[test]
    fn lines_come_out_in_order_and_also_after_the_close() {
        let queue = Queue::default();
        queue.push(entry("one"));
        queue.push(entry("two"));
        queue.close();
        queue.push(entry("too late"));
        assert_eq!(texts(&queue), ["one", "two"]);
    }

    #[test]
    fn a_full_queue_counts_what_it_loses() {
        let queue = Queue::default();
        for n in 0..QUEUE_LINES + 9 {
            queue.push(entry(&n.to_string()));
        }
        let texts = texts(&queue);
        assert_eq!(texts.len(), QUEUE_LINES);
        assert_eq!(
            texts[QUEUE_LINES - 2..],
            [(QUEUE_LINES - 2).to_string(), "log lines lost: 10".to_owned()]
        );
    }

    #[test]
    fn the_loss_is_told_where_it_happened() {
        let queue = Queue::default();
        for n in 0..QUEUE_LINES {
            queue.push(entry(&n.to_string()));
        }
        queue.pop();
        queue.pop();
        queue.push(entry("after"));
        assert_eq!(texts(&queue)[QUEUE_LINES - 3..], ["log lines lost: 1", "after"]);
    }

    #[test]
    fn everybody_who_waits_is_let_go_by_the_close() {
        let queue = Queue::default();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| queue.pop());
            let pausing = scope.spawn(|| queue.pause(Duration::from_secs(60)));
            queue.close();
            assert_eq!(writer.join().unwrap(), None);
            assert!(!pausing.join().unwrap());
        });
    }

    #[test]
    fn a_flush_waits_for_the_line_in_hand_and_not_for_ever() {
        let queue = Queue::default();
        assert!(queue.wait_drained(Duration::ZERO));
        queue.push(entry("one"));
        let entry = queue.pop().unwrap();
        assert!(!queue.wait_drained(Duration::ZERO));
        queue.settle(&entry, true);
        assert!(queue.wait_drained(Duration::ZERO));
    }
}
