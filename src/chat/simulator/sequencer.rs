//! A sequencer that the test can look into: it gives back at once, or when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::random::Random;
use crate::chat::{Entry, Sequencer, SessionId};
use crate::protocol::Name;

#[derive(Debug, Default)]
struct Queues {
    is_late: bool,
    /// What has no place yet.
    held: BTreeMap<String, VecDeque<(Arc<Name>, Entry)>>,
    /// What has one, and has not been fetched.
    placed: VecDeque<(Arc<Name>, Entry)>,
    /// What the hub has fetched, for the test to look at.
    given: Vec<(String, Entry)>,
    /// Wakes the task that waits for something to be placed.
    waker: Option<Waker>,
}

/// The end that the test holds. The sequencer itself may move from one hub to the next.
#[derive(Clone, Debug, Default)]
pub struct Engine(Arc<Mutex<Queues>>);

impl Engine {
    pub fn new(is_late: bool) -> Self {
        let engine = Self::default();
        engine.0.lock().unwrap().is_late = is_late;
        engine
    }

    /// Gives some entries of some rooms their place: in any order of the rooms, in the one order of each.
    pub fn release(&self, random: &mut Random, most: usize) {
        let queues = &mut *self.0.lock().unwrap();
        for _ in 0..most {
            let rooms: Vec<String> = queues.held.keys().cloned().collect();
            if rooms.is_empty() {
                break;
            }
            let room = &rooms[random.below(rooms.len())];
            let entries = queues.held.get_mut(room).unwrap();
            queues.placed.extend(entries.pop_front());
            if entries.is_empty() {
                queues.held.remove(room);
            }
        }
        if let Some(waker) = queues.waker.take_if(|_| !queues.placed.is_empty()) {
            waker.wake();
        }
    }

    /// Returns whether something has not been given back.
    pub fn is_holding(&self) -> bool {
        let queues = self.0.lock().unwrap();
        !queues.held.is_empty() || !queues.placed.is_empty()
    }

    /// What the hub has fetched since this was last asked.
    pub fn take_given(&self) -> Vec<(String, Entry)> {
        std::mem::take(&mut self.0.lock().unwrap().given)
    }

    /// What has not been given back is lost.
    pub fn crash(&self) {
        let queues = &mut *self.0.lock().unwrap();
        queues.held.clear();
        queues.placed.clear();
    }
}

impl Sequencer for Engine {
    fn submit(&mut self, room: Arc<Name>, entry: Entry) {
        let queues = &mut *self.0.lock().unwrap();
        if queues.is_late {
            queues.held.entry(room.as_str().to_owned()).or_default().push_back((room, entry));
        } else {
            queues.placed.push_back((room, entry));
        }
    }

    fn has(&self, asked_by: SessionId) -> bool {
        let queues = self.0.lock().unwrap();
        let mut entries = queues.held.values().flatten().chain(&queues.placed);
        entries.any(|(_, entry)| entry.asked_by() == Some(asked_by))
    }

    fn next(&mut self) -> Option<(Arc<Name>, Entry)> {
        let queues = &mut *self.0.lock().unwrap();
        let (room, entry) = queues.placed.pop_front()?;
        queues.given.push((room.as_str().to_owned(), entry.clone()));
        Some((room, entry))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let queues = &mut *self.0.lock().unwrap();
        if queues.placed.is_empty() {
            queues.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}
