//! Two nodes for tests: their hubs, and the one order of what both submit, which the test can hold back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use jiff::{SignedDuration, Timestamp};

use super::testing::{Person, TestHub};
use super::{
    Act, Cursor, Entry, Hub, HubSnapshot, Input, Item, Local, Reading, Recalled, Roster, Sequenced,
    Sequencer, SessionId, Sink, Stamp,
};
use crate::protocol::Name;

/// What all nodes submit, in order.
#[derive(Debug, Default)]
struct Queue {
    items: Vec<(Arc<str>, Item)>,
    /// Nodes get nothing from here on.
    end: Option<usize>,
    /// How often acts have come again.
    recalls: usize,
    /// The roster as it was stored last, and how many times it was.
    stored: Option<(Roster, Cursor)>,
    times: usize,
}

/// The one order.
#[derive(Clone, Debug, Default)]
pub struct Order(Arc<Mutex<Queue>>);

/// The sequencer of a node.
#[derive(Debug)]
struct Node {
    name: Arc<str>,
    order: Order,
    /// How many items it has given, or passed by.
    at: usize,
    /// Items up to here were given, or were for an earlier process.
    since: usize,
    has_roster: bool,
    recalls: usize,
    /// Rooms that it has been asked to open.
    opening: Vec<Arc<Name>>,
}

impl Queue {
    /// Returns how many lines have been said in a room in the first `count` items.
    fn said(&self, room: &Name, count: usize) -> u64 {
        let lines = |(_, item): &(Arc<str>, Item)| match item {
            Item::Entry(name, Entry::Said { lines, .. }) if name.looks_like(room) => u64::from(*lines),
            _ => 0,
        };
        self.items[..count].iter().map(lines).sum()
    }
}

impl Order {
    fn sequencer(&self, name: &str) -> Box<dyn Sequencer> {
        let since = self.0.lock().unwrap().items.len();
        Box::new(Node {
            name: name.into(),
            order: self.clone(),
            at: 0,
            since,
            has_roster: false,
            recalls: 0,
            opening: Vec::new(),
        })
    }

    /// Gives nothing more to anybody.
    pub fn hold(&self) {
        let queue = &mut *self.0.lock().unwrap();
        queue.end = Some(queue.items.len());
    }

    pub fn release(&self) {
        self.0.lock().unwrap().end = None;
    }

    /// Has all nodes go on with the stored roster, and the acts behind that come again.
    pub fn recall(&self) {
        self.0.lock().unwrap().recalls += 1;
    }

    /// Has an act come from a node.
    pub fn put(&self, node: &str, act: Act) {
        self.0.lock().unwrap().items.push((node.into(), Item::Act(act)));
    }

    /// Has an entry of the main room come from a node.
    pub fn put_entry(&self, node: &str, entry: Entry) {
        let room = Arc::new(Name::parse("main").unwrap());
        self.0.lock().unwrap().items.push((node.into(), Item::Entry(room, entry)));
    }

    pub fn times_stored(&self) -> usize {
        self.0.lock().unwrap().times
    }
}

impl Sequencer for Node {
    fn submit(&mut self, item: Item) {
        self.order.0.lock().unwrap().items.push((Arc::clone(&self.name), item));
    }

    fn has(&self, asked_by: SessionId) -> bool {
        let queue = self.order.0.lock().unwrap();
        let mut items = queue.items[self.at..].iter().filter(|(node, _)| *node == self.name);
        items.any(|(_, item)| item.asked_by() == Some(asked_by))
    }

    fn next(&mut self) -> Option<Sequenced> {
        let queue = self.order.0.lock().unwrap();
        let recalls = std::mem::replace(&mut self.recalls, queue.recalls);
        if !std::mem::replace(&mut self.has_roster, true) || recalls != queue.recalls {
            let (roster, cursor) = queue.stored.clone().unwrap_or_default();
            self.at = cursor.entry as usize;
            return Some(Sequenced::Roster { roster: Box::new(roster), cursor });
        }
        if let Some(room) = self.opening.pop() {
            let cursor = Cursor { epoch: 1, entry: self.at as u64 };
            let room = Box::new(Recalled::new(Name::clone(&room), 1, queue.said(&room, self.at)));
            return Some(Sequenced::Opened { room, cursor });
        }
        while self.at < queue.end.unwrap_or(queue.items.len()) {
            let (node, item) = queue.items[self.at].clone();
            self.at += 1;
            let is_new = self.at > self.since;
            self.since = self.since.max(self.at);
            let cursor = Cursor { epoch: 1, entry: self.at as u64 };
            let time = Some(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(self.at as i64));
            match item {
                Item::Act(act) => {
                    let (is_again, is_awaited) = (false, is_new && node == self.name);
                    return Some(Sequenced::Act {
                        act,
                        node: Some(node),
                        cursor,
                        time,
                        is_again,
                        is_awaited,
                    });
                }
                Item::Entry(room, entry) if is_new => {
                    let seq = queue.said(&room, self.at - 1) + 1;
                    let stamp = Some(Stamp { cursor, seq, time: Timestamp::UNIX_EPOCH });
                    return Some(Sequenced::Entry { room, entry, stamp });
                }
                Item::Entry(..) => {}
            }
        }
        None
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn node(&self) -> Option<&Arc<str>> {
        Some(&self.name)
    }

    fn store(&mut self, roster: Roster, cursor: Cursor) {
        let text = serde_json::to_string(&roster).unwrap();
        let queue = &mut *self.order.0.lock().unwrap();
        (queue.stored, queue.times) = (Some((serde_json::from_str(&text).unwrap(), cursor)), queue.times + 1);
    }

    fn open(&mut self, room: &Arc<Name>, after: Option<Cursor>) {
        self.opening.extend(after.is_none().then(|| Arc::clone(room)));
    }

    fn follow(&mut self, acts_after: Cursor) {
        (self.has_roster, self.at) = (true, acts_after.entry as usize);
        self.since = self.at;
    }
}

/// Two nodes, alpha and beta. The sessions of beta have numbers from 1001.
pub struct Pair {
    pub order: Order,
    pub alpha: TestHub,
    pub beta: TestHub,
}

impl Default for Pair {
    fn default() -> Self {
        let order = Order::default();
        let hub = |name, next| {
            let mut hub = TestHub::default();
            hub.next = next;
            *hub.hub() = Hub::new(hub.limits, order.sequencer(name), Timestamp::UNIX_EPOCH);
            hub
        };
        let mut pair = Self { alpha: hub("alpha", 1), beta: hub("beta", 1001), order: order.clone() };
        pair.settle();
        pair
    }
}

impl Pair {
    /// Goes on until nothing is left.
    pub fn settle(&mut self) {
        loop {
            let before = self.order.0.lock().unwrap().items.len();
            for hub in [&mut self.alpha, &mut self.beta] {
                let now = hub.time();
                hub.hub().take_sequenced(now);
                hub.settle();
            }
            if self.order.0.lock().unwrap().items.len() == before {
                return;
            }
        }
    }

    /// Has both say which roster they have: the same one.
    pub fn check(&mut self) {
        self.settle();
        let [alpha, beta] = [&self.alpha, &self.beta].map(|hub| hub.hub().directory().roster.clone());
        assert_eq!(alpha, beta);
    }

    /// Alpha goes on in another process: after a handover, or with its sessions as they were before a crash.
    pub fn restart_alpha(&mut self, people: &mut [Person], crashed: Option<HubSnapshot>) {
        self.restart_alpha_as("alpha", people, crashed);
    }

    /// The same, as a node of another name.
    pub fn restart_alpha_as(&mut self, name: &str, people: &mut [Person], crashed: Option<HubSnapshot>) {
        let sockets: HashMap<_, _> =
            people.iter().map(|person| (person.id(), Arc::clone(&person.socket))).collect();
        let ids: Vec<SessionId> = self.alpha.hub().sessions().collect();
        for id in ids {
            self.alpha.apply(Input::Frozen(id, Box::<Reading>::default()));
        }
        let limits = self.alpha.limits;
        let empty = Hub::new(limits, Box::<Local>::default(), Timestamp::UNIX_EPOCH);
        let old = std::mem::replace(&mut *self.alpha.hub(), empty);
        let snapshot = crashed.unwrap_or_else(|| old.into_snapshot().0);
        let now = self.alpha.time();
        let sink_of = |id: SessionId| sockets.get(&id).map(|socket| Arc::clone(socket) as Arc<dyn Sink>);
        let sequencer = self.order.sequencer(name);
        let (hub, _) = Hub::restore(limits, sequencer, snapshot, now, sink_of).unwrap();
        *self.alpha.hub() = hub;
        self.settle();
    }
}
