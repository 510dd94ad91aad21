//! The stream: the sequencer that the hub has, when the engine gives the order.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};

use super::order::Order;
use super::pending::Pending;
use super::seen::{Last, Seen};
use super::settings::Identity;
use super::state::{ACTS, Shared, key_of};
use crate::chat::{Act, Cursor, Entry, Item, Roster, Sequenced, Sequencer, SessionId};
use crate::protocol::Name;

/// Gives items the order of the engine.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    node: Arc<str>,
    given: Given,
}

/// What the hub has been given of each order: nodes may send it again.
pub type Given = HashMap<String, Last>;

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
    given: Given,
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
    pub(super) fn new(shared: Arc<Shared>, given: Given) -> Self {
        let node = Arc::clone(&shared.lock().node);
        Self { shared, node, given }
    }
}

/// Goes on as the process did that has saved this. Returns what its hub had been given. If it cannot be read, this is
/// another incarnation of the node: the engine would leave out what has the counters of the one before.
pub(super) fn restore(shared: &Shared, saved: &[u8]) -> Given {
    let saved: Saved = match ciborium::from_reader(saved) {
        Ok(saved) => saved,
        Err(error) => {
            log::error!("what was said last may be lost: the state of the engine cannot be read: {error}");
            return Given::new();
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
    let mut given = saved.given;
    if let Some(acts) = state.orders.get_mut(ACTS) {
        acts.seen = Seen::of(given.remove(ACTS).unwrap_or_default());
    }
    given
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
        let given = self.given.remove(key_of(room)).filter(|_| after.is_some());
        given.into_iter().for_each(|given| order.seen = Seen::of(given));
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
        let given = |(key, order): (&Arc<str>, &Order)| (key.to_string(), order.seen.given().clone());
        let given = state.orders.iter().map(given).collect();
        let saved = Saved { incarnation, counter, items: items.collect(), given };
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = ciborium::into_writer(&saved, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::cluster::Settings;
    use crate::cluster::wire::{Content, Fetched};

    const IDENTITY: Identity = Identity { incarnation: 9, replaces: 7 };

    /// A process that goes on with what the one before has saved.
    fn next_process(saved: &[u8]) -> Stream {
        let shared = Arc::new(Shared::new(&Settings::for_tests(), IDENTITY));
        let given = restore(&shared, saved);
        Stream::new(shared, given)
    }

    fn act(counter: u64, is_again: bool) -> Fetched {
        Fetched {
            cursor: Cursor { epoch: 1, entry: counter },
            node: "beta".into(),
            count: (3, counter),
            is_again,
            time: Timestamp::UNIX_EPOCH,
            seq: 1,
            lines: 0,
            content: Content::Act(Act::Gone("gamma".to_owned())),
        }
    }

    /// Takes in an act; returns whether the hub is told that it comes again.
    fn is_again(stream: &mut Stream, fetched: Fetched) -> bool {
        let mut state = stream.shared.lock();
        let acts = state.orders.get_mut(ACTS).unwrap();
        acts.take(fetched, &stream.node, 9);
        match acts.next(false).map(|given| given.sequenced) {
            Some(Sequenced::Act { is_again, .. }) => is_again,
            other => panic!("{other:?}"),
        }
    }

    /// Otherwise a failover soon after a handover has a node do again what acts have it do once.
    #[test]
    fn the_next_process_knows_which_acts_the_hub_was_given() {
        let mut stream = next_process(&[]);
        assert!(!is_again(&mut stream, act(1, false)));
        let node = Arc::clone(&stream.node);
        stream.shared.lock().orders.get_mut(ACTS).unwrap().take(act(2, false), &node, 9);
        // The second one waits for the hub, which has yet to get a roster.
        let mut stream = next_process(&stream.save());
        assert!(is_again(&mut stream, act(1, true)));
        assert!(!is_again(&mut stream, act(2, true)));
    }

    /// With the incarnation of the one before, the engine would leave out what has counters that were used.
    #[test]
    fn a_state_that_cannot_be_read_makes_another_incarnation() {
        let mut stream = next_process(&[]);
        stream.shared.lock().identity.incarnation = 7;
        let saved = stream.save();
        assert_eq!(next_process(&saved).shared.lock().identity, Identity { incarnation: 7, replaces: 0 });
        assert_eq!(next_process(&saved[1..]).shared.lock().identity, IDENTITY);
    }
}
