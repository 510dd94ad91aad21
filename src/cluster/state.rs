//! What the hub and the tasks share: the orders, with what waits to be appended and what has been read.
//!
//! The hub locks it for a moment in each call, the tasks for a moment between two commands. Nothing here waits.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::order::{Given, Opening, Order};
use super::pending::Pending;
use super::settings::{Identity, Settings};
use super::status::{EngineState, Health};
use super::wire;
use crate::chat::{Cursor, EngineEvent, Item, Roster, Sequenced, SessionId};
use crate::protocol::Name;
use crate::rt;

/// The key of the order of acts: no room has it.
pub const ACTS: &str = "";

/// What has something for the hub.
#[derive(Debug)]
enum Ready {
    /// The queue of an order.
    Order(Arc<str>),
    /// Something about the engine.
    Engine(EngineEvent),
}

/// Tasks that wait for something to do.
#[derive(Debug, Default)]
pub struct Wakers {
    hub: Option<Waker>,
    writer: Option<Waker>,
    keeper: Option<Waker>,
    end: Option<Waker>,
}

/// What the keeper has to do besides what it does by itself.
#[derive(Debug, Default)]
pub struct Errands {
    /// The reader has to look at what it reads: there is more.
    pub reader_is_stale: bool,
    /// The reader waits in the engine.
    pub reader_is_blocked: bool,
    /// The roster is to be stored.
    pub roster: Option<(Roster, Cursor)>,
}

/// How the tasks are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The next process goes on as the same node.
    HandOver,
    /// The node leaves the cluster, once the engine and its replicas have what was said.
    Leave,
    /// It leaves at once: replicas do not answer.
    LeaveNow,
}

/// What is shared.
#[derive(Debug)]
pub struct State {
    pub identity: Identity,
    pub node: Arc<str>,
    pub replicas: u8,
    /// The last counter that was used.
    counter: u64,
    /// How many items have yet to come back for which a session waits.
    asked: HashMap<SessionId, usize>,
    pub orders: HashMap<Arc<str>, Order>,
    /// The last act that an engine was seen to have.
    pub last_act: Cursor,
    ready: VecDeque<Ready>,
    wakers: Wakers,
    pub errands: Errands,
    /// What floor 3 can know; how many lines wait, and for how long, is counted when somebody asks.
    pub engine: EngineState,
    pub health: Health,
    /// Number of sessions of this node.
    pub sessions: u64,
    /// Orders in which something waits to be sent.
    due: VecDeque<Arc<str>>,
    /// The first numbers of blocks in stock.
    pub blocks: VecDeque<u64>,
    /// A number of a session that is taken for sure.
    pub numbers_above: u64,
    pub wants_blocks: Vec<Waker>,
    /// Everything that the hub wanted has been open once.
    pub has_opened: bool,
    pub ending: Option<Ending>,
    pub has_ended: bool,
    pub wants_end: Vec<Waker>,
}

/// What is shared, behind its lock.
#[derive(Debug)]
pub struct Shared(Mutex<State>);

impl Shared {
    pub fn new(settings: &Settings, identity: Identity) -> Self {
        let mut orders = HashMap::new();
        orders.insert(ACTS.into(), Order::of_acts());
        Self(Mutex::new(State {
            identity,
            node: settings.node.as_str().into(),
            replicas: settings.replicas,
            counter: 0,
            asked: HashMap::new(),
            orders,
            last_act: Cursor::default(),
            ready: VecDeque::new(),
            wakers: Wakers::default(),
            errands: Errands::default(),
            engine: EngineState::default(),
            health: Health::default(),
            sessions: 0,
            due: VecDeque::new(),
            blocks: VecDeque::new(),
            numbers_above: 0,
            wants_blocks: Vec::new(),
            has_opened: false,
            ending: None,
            has_ended: false,
            wants_end: Vec::new(),
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the key of a room: names that look alike have the same.
pub fn key_of(room: &Name) -> &str {
    room.keys().next().unwrap_or_else(|| room.as_str())
}

impl State {
    /// Puts an item behind those that wait.
    pub fn submit(&mut self, item: Item) {
        let parts = wire::count_parts(&item);
        let first = self.counter + 1;
        self.counter += parts;
        item.asked_by().into_iter().for_each(|session| *self.asked.entry(session).or_default() += 1);
        let (key, name) = match &item {
            Item::Entry(room, _) => (key_of(room), Some(room)),
            Item::Act(_) => (ACTS, None),
        };
        if !self.orders.contains_key(key) {
            self.orders.insert(key.into(), Order::of_room(name.map(Arc::clone)));
        }
        let Some((key, _)) = self.orders.get_key_value(key) else { return };
        let key = Arc::clone(key);
        if let Some(order) = self.orders.get_mut(&*key) {
            order.pending.push_back(Pending::new(first, parts, item));
        }
        self.make_due(&key);
    }

    /// Has the writer look at an order in which something waits.
    pub fn make_due(&mut self, key: &Arc<str>) {
        let Some(order) = self.orders.get_mut(key) else { return };
        let has_unsent = order.pending.back().is_some_and(|one| !one.is_sent);
        if has_unsent && order.is_writable() && !std::mem::replace(&mut order.is_due, true) {
            self.due.push_back(Arc::clone(key));
            self.wake_writer();
        }
    }

    /// Returns an order in which something waits to be sent, once.
    pub fn take_due(&mut self) -> Option<Arc<str>> {
        let key = self.due.pop_front()?;
        if let Some(order) = self.orders.get_mut(&*key) {
            order.is_due = false;
        }
        Some(key)
    }

    /// Puts an order that has been taken back in front.
    pub fn put_back_due(&mut self, key: Arc<str>) {
        if let Some(order) = self.orders.get_mut(&*key) {
            order.is_due = true;
            self.due.push_front(key);
        }
    }

    /// The engine has answered. While another node has the name of this one, that helps nobody.
    pub fn answered(&mut self) {
        if self.engine.name_held_by.is_some() {
            return;
        }
        self.health.silence = 0;
        if self.health.is_away {
            self.health.is_away = false;
            self.engine.away_since = None;
            self.tell(EngineEvent::Back);
            log::info!("the engine answers: what members say has its place again");
        }
    }

    /// The connection to the engine is gone, or another node has the name.
    pub fn disconnected(&mut self, why: String, name_held_by: Option<u64>) {
        self.engine.name_held_by = name_held_by;
        self.engine.address = None;
        self.last_act = self.last_act.max(self.orders.get(ACTS).map_or(self.last_act, |acts| acts.read));
        self.engine.problem = Some(why);
        self.engine.away_since.get_or_insert_with(rt::wall_clock);
        (self.errands.reader_is_blocked, self.errands.reader_is_stale) = (false, false);
        let keys: Vec<Arc<str>> = self.orders.keys().cloned().collect();
        for key in &keys {
            let Some(order) = self.orders.get_mut(key) else { continue };
            order.disconnected();
            self.make_due(key);
        }
    }

    /// Has everything that was refused tried again.
    pub fn try_refused_again(&mut self) {
        let refused = self.orders.iter().filter(|(_, order)| order.is_refused);
        let refused: Vec<Arc<str>> = refused.map(|(key, _)| Arc::clone(key)).collect();
        for key in &refused {
            let Some(order) = self.orders.get_mut(key) else { continue };
            order.is_refused = false;
            if order.opening != Opening::Done {
                self.reader_is_stale();
            }
            self.make_due(key);
        }
    }

    /// Takes over what another process has saved: the last counter that was used, and what is not done.
    pub fn restore(&mut self, counter: u64, items: impl Iterator<Item = Pending>) {
        self.counter = counter;
        for one in items {
            let asked_by = one.item.asked_by().filter(|_| !one.is_given);
            asked_by.into_iter().for_each(|session| *self.asked.entry(session).or_default() += 1);
            let (key, name) = match &*one.item {
                Item::Entry(room, _) => (key_of(room), Some(Arc::clone(room))),
                Item::Act(_) => (ACTS, None),
            };
            let order = self.orders.entry(key.into()).or_insert_with(|| Order::of_room(name));
            order.pending.push_back(one);
        }
        let keys: Vec<Arc<str>> = self.orders.keys().cloned().collect();
        keys.iter().for_each(|key| self.make_due(key));
    }

    /// Returns the last counter that was used.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// Returns what is not done.
    pub fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.orders.values().flat_map(|order| &order.pending)
    }

    /// Returns whether an item has yet to come back for which this session waits.
    pub fn has(&self, session: SessionId) -> bool {
        self.asked.contains_key(&session)
    }

    /// Returns how many lines have been fetched and have yet to be taken in.
    pub fn lag_lines(&self) -> u64 {
        self.orders.values().map(Order::waiting).sum()
    }

    /// Returns whether everything that was submitted has its place.
    pub fn is_settled(&self) -> bool {
        self.pending().all(Pending::is_placed)
    }

    /// Returns the next thing for the hub.
    pub fn next(&mut self) -> Option<Sequenced> {
        loop {
            let key = match self.ready.front()? {
                Ready::Engine(event) => {
                    let event = *event;
                    self.ready.pop_front();
                    return Some(Sequenced::Engine(event));
                }
                Ready::Order(key) => Arc::clone(key),
            };
            let given = self.orders.get_mut(&*key).and_then(|order| order.next(self.replicas > 0));
            match given {
                Some(Given { sequenced, makes_room, asked_by }) => {
                    if let Some(Entry::Occupied(mut asked)) =
                        asked_by.map(|session| self.asked.entry(session))
                    {
                        *asked.get_mut() -= 1;
                        if *asked.get() == 0 {
                            asked.remove();
                        }
                    }
                    if makes_room {
                        self.reader_is_stale();
                    }
                    return Some(sequenced);
                }
                None => {
                    self.ready.pop_front();
                    if let Some(order) = self.orders.get_mut(&*key) {
                        order.is_listed = false;
                    }
                    self.tidy(&key);
                }
            }
        }
    }

    /// Registers the hub to be woken. Returns `Ready` if there is something for it.
    pub fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.wakers.hub = Some(cx.waker().clone());
        if self.ready.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Something happened to the engine that members are told.
    pub fn tell(&mut self, event: EngineEvent) {
        self.ready.push_back(Ready::Engine(event));
        self.wake_hub();
    }

    /// Has the hub fetch what an order has for it.
    pub fn list(&mut self, key: &str) {
        let Some((name, order)) = self.orders.get_key_value(key) else { return };
        if order.has_something() && !order.is_listed {
            self.ready.push_back(Ready::Order(Arc::clone(name)));
            if let Some(order) = self.orders.get_mut(key) {
                order.is_listed = true;
            }
            self.wake_hub();
        }
    }

    /// Forgets an order that nobody needs.
    pub fn tidy(&mut self, key: &str) {
        if key != ACTS && self.orders.get(key).is_some_and(Order::is_done) {
            self.orders.remove(key);
        }
    }

    /// The reader has something else to read, or more room.
    pub fn reader_is_stale(&mut self) {
        self.errands.reader_is_stale = true;
        self.wake_keeper();
    }

    /// Wakes the hub: there is something for it, or everything is settled.
    pub fn wake_hub(&mut self) {
        self.wakers.hub.take().into_iter().for_each(Waker::wake);
    }

    /// Wakes the writer.
    pub fn wake_writer(&mut self) {
        self.wakers.writer.take().into_iter().for_each(Waker::wake);
    }

    /// Wakes the keeper.
    pub fn wake_keeper(&mut self) {
        self.wakers.keeper.take().into_iter().for_each(Waker::wake);
    }

    /// Wakes those who wait for numbers of sessions.
    pub fn wake_for_numbers(&mut self) {
        self.wants_blocks.drain(..).for_each(Waker::wake);
    }

    /// Wakes all tasks: they are to end, or have ended.
    pub fn wake_all(&mut self) {
        self.wake_hub();
        self.wake_writer();
        self.wake_keeper();
        self.wakers.end.take().into_iter().for_each(Waker::wake);
        self.wake_for_numbers();
        self.wants_end.drain(..).for_each(Waker::wake);
    }

    pub fn register_writer(&mut self, cx: &Context<'_>) {
        self.wakers.writer = Some(cx.waker().clone());
    }

    pub fn register_keeper(&mut self, cx: &Context<'_>) {
        self.wakers.keeper = Some(cx.waker().clone());
    }

    pub fn register_end(&mut self, cx: &Context<'_>) {
        self.wakers.end = Some(cx.waker().clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Settings;

    /// It would say each second that the engine is away, and that it answers again.
    #[test]
    fn an_engine_that_refuses_the_name_stays_away() {
        let settings = Settings::for_tests();
        let shared = Shared::new(&settings, Identity { incarnation: 7, replaces: 0 });
        let state = &mut *shared.lock();
        state.health.is_away = true;
        state.disconnected("another chatd has the name of this node".to_owned(), Some(5));
        state.answered();
        assert!(state.health.is_away && state.next().is_none());
        state.engine.name_held_by = None;
        state.answered();
        assert!(!state.health.is_away && matches!(state.next(), Some(Sequenced::Engine(EngineEvent::Back))));
    }
}
