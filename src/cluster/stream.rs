//! The stream: the sequencer that the hub has, when the engine gives the order.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};

use super::order::Order;
use super::pending::Pending;
use super::seen::Seen;
use super::settings::Identity;
use super::state::{ACTS, Shared, key_of};
use crate::chat::{Act, Cursor, Entry, Item, Roster, Sequenced, Sequencer, SessionId};
use crate::protocol::Name;

/// Gives items the order of the engine.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    node: Arc<str>,
    known: Known,
}

/// What the hub has of each order: nodes may send it again.
pub type Known = HashMap<String, Seen>;

/// How many counters are left out at a handover: this process may use some until it ends, for nodes that are gone. The
/// engine would drop what the next one gives the same counters.
const LEFT_OUT: u64 = 1000;

/// What the next process needs.
#[derive(Serialize, Deserialize)]
struct Saved {
    incarnation: u64,
    /// The last counter that was used.
    counter: u64,
    items: Vec<SavedItem>,
    #[serde(default)]
    known: Known,
}

#[derive(Serialize, Deserialize)]
struct SavedItem {
    /// The counter of the first part, and how many parts there are.
    first: u64,
    parts: u64,
    /// The hub has it back; replicas have not.
    is_given: bool,
    what: What,
}

#[derive(Serialize, Deserialize)]
enum What {
    Entry(Name, Entry),
    Act(Act),
}

impl Stream {
    pub(super) fn new(shared: Arc<Shared>, known: Known) -> Self {
        let node = Arc::clone(&shared.lock().node);
        Self { shared, node, known }
    }
}

/// Goes on as the process did that has saved this. Returns what its hub had.
pub(super) fn restore(shared: &Shared, saved: &[u8]) -> Known {
    let saved: Saved = match ciborium::from_reader(saved) {
        Ok(saved) => saved,
        Err(error) => {
            log::error!("what was said last may be lost: the state of the engine cannot be read: {error}");
            return Known::new();
        }
    };
    let mut state = shared.lock();
    state.identity = Identity { incarnation: saved.incarnation, replaces: 0 };
    let is_sound = |what: &What| if let What::Entry(_, entry) = what { entry.is_sound() } else { true };
    let items = saved.items.into_iter().filter(|one| is_sound(&one.what));
    let items = items.map(|SavedItem { first, parts, is_given, what }| {
        let item = match what {
            What::Entry(room, entry) => Item::Entry(Arc::new(room), entry),
            What::Act(act) => Item::Act(act),
        };
        Pending { is_given, was_sent: true, ..Pending::new(first, parts, item) }
    });
    state.restore(saved.counter, items);
    saved.known
}

impl Sequencer for Stream {
    fn submit(&mut self, item: Item) {
        self.shared.lock().submit(item);
    }

    fn has(&self, asked_by: SessionId) -> bool {
        self.shared.lock().has(asked_by)
    }

    fn next(&mut self) -> Option<Sequenced> {
        self.shared.lock().next()
    }

    fn is_settled(&self) -> bool {
        self.shared.lock().is_settled()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.lock().poll_ready(cx)
    }

    fn node(&self) -> Option<&Arc<str>> {
        Some(&self.node)
    }

    fn open(&mut self, room: &Arc<Name>, after: Option<Cursor>) {
        let state = &mut *self.shared.lock();
        let order = state.orders.entry(key_of(room).into()).or_insert_with(|| Order::of_room(None));
        order.name = Some(Arc::clone(room));
        order.open(after);
        let known = self.known.remove(key_of(room)).filter(|_| after.is_some());
        known.into_iter().for_each(|seen| order.seen = seen);
        state.reader_is_stale();
    }

    fn close(&mut self, room: &Name) {
        let (state, key) = (&mut *self.shared.lock(), key_of(room));
        if let Some(order) = state.orders.get_mut(key) {
            order.close();
            state.list(key);
            state.tidy(key);
        }
    }

    fn hold(&mut self, room: &Name, is_held: bool) {
        let (state, key) = (&mut *self.shared.lock(), key_of(room));
        let Some(order) = state.orders.get_mut(key) else { return };
        if std::mem::replace(&mut order.is_held, is_held) && !is_held {
            state.list(key);
            state.reader_is_stale();
        }
    }

    fn store(&mut self, roster: Roster, cursor: Cursor) {
        let state = &mut *self.shared.lock();
        state.errands.roster = Some((roster, cursor));
        state.wake_keeper();
    }

    fn follow(&mut self, acts_after: Cursor) {
        let state = &mut *self.shared.lock();
        if let Some(acts) = state.orders.get_mut(ACTS) {
            acts.open(Some(acts_after));
            self.known.remove(ACTS).into_iter().for_each(|seen| acts.seen = seen);
        }
        state.reader_is_stale();
    }

    fn save(&mut self) -> Vec<u8> {
        let state = self.shared.lock();
        let what = |item: &Item| match item {
            Item::Entry(room, entry) => What::Entry(Name::clone(room), entry.clone()),
            Item::Act(act) => What::Act(act.clone()),
        };
        let items = state.pending().map(|one| SavedItem {
            first: one.first,
            parts: one.parts,
            is_given: one.is_given,
            what: what(&one.item),
        });
        let (incarnation, counter) = (state.identity.incarnation, state.counter() + LEFT_OUT);
        let known = state.orders.iter().map(|(key, order)| (key.to_string(), order.seen.clone())).collect();
        let saved = Saved { incarnation, counter, items: items.collect(), known };
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = ciborium::into_writer(&saved, &mut bytes);
        bytes
    }
}
