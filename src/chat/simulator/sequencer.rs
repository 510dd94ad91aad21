//! A sequencer that the test can look into: it gives back at once, or when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::given::{Given, Givens};
use super::random::Random;
use crate::chat::{Cursor, Item, Sequenced, Sequencer, SessionId};

#[derive(Debug, Default)]
struct Queues {
    is_late: bool,
    /// What has no place yet: of each room, and of acts.
    held: BTreeMap<String, VecDeque<Item>>,
    /// What has one, and has not been fetched.
    placed: VecDeque<Item>,
    given: Givens,
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

    /// What the hub has fetched, for the test to look at.
    pub fn given(&self) -> Givens {
        self.0.lock().unwrap().given.clone()
    }

    /// What has not been given back is lost.
    pub fn crash(&self) {
        let queues = &mut *self.0.lock().unwrap();
        queues.held.clear();
        queues.placed.clear();
    }
}

impl Sequencer for Engine {
    fn submit(&mut self, item: Item) {
        let queues = &mut *self.0.lock().unwrap();
        if queues.is_late {
            let room = match &item {
                Item::Entry(room, _) => room.to_string(),
                Item::Act(_) => String::new(),
            };
            queues.held.entry(room).or_default().push_back(item);
        } else {
            queues.placed.push_back(item);
        }
    }

    fn has(&self, asked_by: SessionId) -> bool {
        let queues = self.0.lock().unwrap();
        let mut items = queues.held.values().flatten().chain(&queues.placed);
        items.any(|item| item.asked_by() == Some(asked_by))
    }

    fn next(&mut self) -> Option<Sequenced> {
        let queues = &mut *self.0.lock().unwrap();
        Some(match queues.placed.pop_front()? {
            Item::Entry(room, entry) => {
                let name = room.as_str().to_owned();
                queues.given.push(Given::Entry { room: name, entry: entry.clone(), stamp: None });
                Sequenced::Entry { room, entry, stamp: None }
            }
            Item::Act(act) => {
                let (node, cursor, time) = (None, Cursor::default(), None);
                Sequenced::Act { act, node, cursor, time, is_again: false, is_awaited: true }
            }
        })
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
