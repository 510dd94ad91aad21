//! The end of a node: a sequencer whose items travel to the engine and come back.
//!
//! It sends again what has not been acknowledged, with the same counter, and drops what it has given already.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use serde::{Deserialize, Serialize};

use super::engine::{ACTS, Engine, Stored, Stream, Writer, key_of};
use crate::chat::history::Record;
use crate::chat::simulator::given::{Given, Givens};
use crate::chat::simulator::random::Random;
use crate::chat::{
    Act, ClusterBans, Cursor, EngineEvent, Entry, Item, Recalled, Roster, Sequenced, Sequencer, SessionId,
};
use crate::protocol::{Name, Who};

/// Most lines' worth of entries that a room is opened with.
const MOST_RECALLED: usize = 30;

/// What was submitted, and perhaps is where it belongs.
#[derive(Clone, Debug)]
struct Sent {
    counter: u64,
    key: String,
    item: Item,
    /// The engine has said that it has it.
    is_stored: bool,
    /// The hub has got it back.
    is_given: bool,
}

/// The same, as it is written down.
#[derive(Serialize, Deserialize)]
enum Written {
    Entry(u64, bool, Name, Entry),
    Act(u64, bool, Act),
}

/// How far a room has been read; `None` if it is not known yet where it begins.
#[derive(Debug)]
struct Open {
    name: Arc<Name>,
    cursor: Option<Cursor>,
    is_held: bool,
    /// It was closed before that was known.
    is_closed: bool,
}

/// What comes next.
#[derive(Clone, Debug)]
enum Next {
    Item(Box<Stored>, Arc<Name>),
    /// It was given before.
    Again(Box<Stored>, Arc<Name>),
    Opened(Arc<Name>, Cursor, u64, Vec<Stored>),
    Roster(String, Cursor),
    Bans(ClusterBans, Cursor),
    Event(EngineEvent),
}

#[derive(Debug)]
pub struct State {
    random: Random,
    node: Arc<str>,
    incarnation: u64,
    counter: u64,
    sent: VecDeque<Sent>,
    open: BTreeMap<String, Open>,
    acts: Option<Cursor>,
    /// The hub has the bans.
    has_bans: bool,
    /// The last act that counts in them.
    bans_at: Cursor,
    /// The last act that was given.
    pub applied: Option<Cursor>,
    ready: VecDeque<(String, Next)>,
    /// The last entries of each writer that were given, by streams.
    seen: HashMap<(String, Arc<str>), (u64, u64)>,
    given: Givens,
    /// Keeps what it has until the replica has it.
    keeps: bool,
    failovers: u64,
    /// The engine has lost acts that the hub has seen, and the hub has not heard of it.
    has_lost_acts: bool,
    /// The rooms that were opened, and after what.
    pub opened: Vec<(String, Option<Cursor>)>,
    /// How far the hub is in each room.
    pub reached: BTreeMap<String, Cursor>,
    /// The roster, and the last act in it, if the hub has it stored.
    stored: Option<(String, Cursor)>,
    waker: Option<Waker>,
}

/// The sequencer, and the end of it that the test holds.
#[derive(Clone, Debug)]
pub struct End(Arc<Mutex<State>>, Arc<str>);

impl End {
    pub fn new(node: &Arc<str>, incarnation: u64, keeps: bool, given: Givens, seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            node: Arc::clone(node),
            incarnation,
            counter: 0,
            sent: VecDeque::new(),
            open: BTreeMap::new(),
            acts: None,
            has_bans: false,
            bans_at: Cursor::default(),
            applied: None,
            ready: VecDeque::new(),
            seen: HashMap::new(),
            given,
            keeps,
            failovers: 0,
            has_lost_acts: false,
            opened: Vec::new(),
            reached: BTreeMap::new(),
            stored: None,
            waker: None,
        };
        Self(Arc::new(Mutex::new(state)), Arc::clone(node))
    }

    /// The end of the next process: after a handover it goes on with what was saved. After a crash it knows who it is.
    pub fn next_process(&self, saved: Option<&[u8]>) -> Self {
        let old = self.state();
        let seed = old.counter + old.incarnation;
        let end = Self::new(&old.node, old.incarnation, old.keeps, old.given.clone(), seed);
        let mut state = end.state();
        (state.seen, state.failovers) = (old.seen.clone(), old.failovers);
        state.has_lost_acts = old.has_lost_acts;
        match saved {
            Some(saved) => {
                let (incarnation, counter, written): (u64, u64, Vec<Written>) =
                    ciborium::from_reader(saved).unwrap();
                assert_eq!(incarnation, old.incarnation);
                state.counter = counter;
                state.sent = written.into_iter().map(Sent::from).collect();
            }
            // What the process before has still sent must not be taken for something of this one.
            None => state.counter = old.counter + 1_000_000,
        }
        drop((old, state));
        end
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// Sends some of what has no place yet. Sometimes the answer is lost.
    pub fn push(&mut self, engine: &mut Engine, is_all: bool) {
        if self.failovers != engine.failovers {
            self.failovers = engine.failovers;
            self.sent.iter_mut().for_each(|sent| sent.is_stored = false);
            self.ready.push_back((String::new(), Next::Event(EngineEvent::Failover)));
        }
        let mut stopped = HashSet::new();
        for sent in &mut self.sent {
            if sent.is_stored || stopped.contains(&sent.key) {
                continue;
            }
            if !is_all && self.random.has_luck(200) {
                stopped.insert(sent.key.clone());
                continue;
            }
            let writer = (Arc::clone(&self.node), self.incarnation, sent.counter);
            engine.append(&sent.key, &writer, &sent.item);
            // Without an answer it is sent again.
            sent.is_stored = is_all || !self.random.has_luck(150);
        }
        let open = &self.open;
        self.sent.retain(|sent| {
            let writer = (Arc::clone(&self.node), self.incarnation, sent.counter);
            // What comes back to nobody is done when it has its place.
            let is_awaited = sent.key == ACTS || open.contains_key(&sent.key);
            let is_kept = self.keeps && !engine.is_replicated(&sent.key, &writer);
            !sent.is_stored || is_kept || (is_awaited && !sent.is_given)
        });
        if let Some((roster, cursor)) = self.stored.take() {
            let is_newer = engine.primary.roster.as_ref().is_none_or(|(before, _)| *before < cursor);
            let last = engine.primary.streams.get(ACTS).map(Stream::last);
            if is_newer && Some(cursor) <= last {
                engine.primary.roster = Some((cursor, roster));
            }
        }
    }

    /// Fetches some of what it has not got yet.
    pub fn pull(&mut self, engine: &mut Engine, is_all: bool) {
        self.pull_acts(engine, is_all);
        let keys: Vec<String> = self.open.keys().cloned().collect();
        for key in keys {
            if is_all || !self.random.has_luck(300) {
                self.pull_room(&key, engine, is_all);
            }
        }
        if self.poll_is_ready()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    fn pull_room(&mut self, key: &str, engine: &mut Engine, is_all: bool) {
        let open = self.open.get_mut(key).unwrap();
        if open.is_held {
            return;
        }
        let most = if is_all { usize::MAX } else { self.random.between(1, 20) };
        let stream = engine.stream(key, &open.name);
        let Some(cursor) = open.cursor else {
            let said = |stored: &&Stored| matches!(stored.item, Item::Entry(_, Entry::Said { .. }));
            let mut last: Vec<Stored> = stream.items.iter().filter(said).cloned().collect();
            last.drain(..last.len().saturating_sub(MOST_RECALLED));
            let opened = Next::Opened(Arc::clone(&stream.name), stream.last(), stream.seq, last);
            self.ready.push_back((key.to_owned(), opened));
            open.cursor = Some(stream.last());
            if open.is_closed {
                self.open.remove(key);
            }
            return;
        };
        let name = Arc::clone(&stream.name);
        for stored in stream.after(cursor).take(most) {
            open.cursor = Some(stored.stamp.cursor);
            let next = Next::Item(Box::new(stored.clone()), Arc::clone(&name));
            self.ready.push_back((key.to_owned(), next));
        }
        self.forget_passed(key, engine);
    }

    /// What was submitted here does not come back if it was trimmed before, or was there before the room was opened. The
    /// hub finds that it is not here any more.
    fn forget_passed(&mut self, key: &str, engine: &Engine) {
        for sent in self.sent.iter_mut().filter(|sent| sent.key == key && sent.is_stored && !sent.is_given) {
            let writer = (Arc::clone(&self.node), self.incarnation, sent.counter);
            let is_on_its_way = self.ready.iter().any(|(_, next)| match next {
                Next::Item(stored, _) => stored.writer == writer,
                _ => false,
            });
            let place = engine.appended.get(&writer).map(|(_, place)| *place);
            if !is_on_its_way && place <= self.open[key].cursor {
                sent.is_given = true;
                if let Item::Entry(_, entry) = &sent.item {
                    self.given.push(Given::Passed(entry.clone()));
                }
            }
        }
        if !self.keeps {
            self.sent.retain(|sent| !sent.is_given);
        }
    }

    fn pull_acts(&mut self, engine: &mut Engine, is_all: bool) {
        let (stored, bans) = (engine.primary.roster.clone(), engine.primary.bans.clone());
        let stream = engine.stream(ACTS, &Arc::new(Name::known("acts")));
        let tells_of_loss = |(_, next): &(String, Next)| matches!(next, Next::Bans(bans, _) if bans.has_lost);
        let has_lost = self.acts.is_some_and(|at| stream.has_lost(at.max(self.bans_at)));
        let is_untold = self.ready.iter().any(tells_of_loss);
        let is_whole = |at: Cursor| !has_lost && !stream.is_trimmed_behind(at);
        let cursor = self
            .acts
            .filter(|at| (*at == Cursor::default() && !has_lost) || is_whole(*at))
            .unwrap_or_else(|| {
                let empty = || (Cursor::default(), serde_json::to_string(&Roster::default()).unwrap());
                let (cursor, roster) = stored.unwrap_or_else(empty);
                self.ready.retain(|(key, _)| key != ACTS);
                self.ready.push_back((ACTS.to_owned(), Next::Roster(roster, cursor)));
                self.has_bans = false;
                cursor
            });
        if !std::mem::replace(&mut self.has_bans, true) {
            let lines = bans.iter().map(|subject| format!("ban {subject}")).collect();
            self.bans_at = stream.last();
            let bans = ClusterBans { id: 1, lines, has_lost: has_lost || is_untold };
            let next = Next::Bans(bans, self.bans_at);
            self.ready.push_back((ACTS.to_owned(), next));
        }
        self.acts = Some(cursor);
        let most = if is_all { usize::MAX } else { self.random.between(0, 10) };
        for stored in stream.after(cursor).take(most) {
            self.acts = Some(stored.stamp.cursor);
            let next = Next::Item(Box::new(stored.clone()), Arc::clone(&stream.name));
            self.ready.push_back((ACTS.to_owned(), next));
        }
    }

    /// Has the hub told how the engine is doing.
    pub fn tell(&mut self, event: EngineEvent) {
        self.ready.push_back((String::new(), Next::Event(event)));
    }

    /// Another engine has taken over.
    pub fn note_failover(&mut self, engine: &Engine) {
        let acts = engine.primary.streams.get(ACTS);
        self.has_lost_acts |= acts.zip(self.applied).is_some_and(|(acts, at)| acts.has_lost(at));
    }

    /// A node is gone, says this one.
    pub fn declare_gone(&mut self, node: &str) {
        self.send(ACTS.to_owned(), Item::Act(Act::Gone(node.to_owned())));
    }

    /// An operator of this node bans somebody, or lifts that; or the node brings what the cluster lacks.
    pub fn change_bans(&mut self, changes: Vec<String>, is_brought: bool) {
        let by = Who { id: 0, name: Name::guest(0), verified: false };
        let (line, about) = ("/ban".to_owned(), None);
        let ordered = || Act::Ordered { by, line, about, changes: changes.clone() };
        let act = if is_brought { Act::Brought(changes.clone()) } else { ordered() };
        self.send(ACTS.to_owned(), Item::Act(act));
    }

    /// Returns what is not as it will be.
    pub fn outstanding(&self, engine: &Engine) -> Vec<String> {
        let is_awaited =
            |sent: &&Sent| !sent.is_stored || sent.key == ACTS || self.open.contains_key(&sent.key);
        let sent = self.sent.iter().filter(|sent| !sent.is_given).filter(is_awaited);
        let mut found: Vec<String> = sent.map(|sent| format!("sent {sent:?}")).collect();
        found.extend(self.ready.iter().map(|(key, next)| format!("{key} {next:?}")));
        let acts = engine.primary.streams.get(ACTS);
        let is_behind = |acts: &Stream| self.acts.is_none_or(|at| acts.after(at).next().is_some());
        found.extend(acts.filter(|acts| is_behind(acts)).map(|acts| format!("acts at {:?}", acts.last())));
        for (key, open) in &self.open {
            let last = engine.primary.streams.get(key).map(Stream::last);
            let is_behind = open.cursor.is_none() || last.is_some_and(|last| open.cursor < Some(last));
            let has_more =
                engine.primary.streams.get(key).is_some_and(|stream| {
                    open.cursor.is_none_or(|cursor| stream.after(cursor).next().is_some())
                });
            if is_behind && (has_more || open.cursor.is_none()) {
                found.push(format!("{key} at {:?} of {last:?}, held {}", open.cursor, open.is_held));
            }
        }
        found
    }

    fn send(&mut self, key: String, item: Item) {
        self.counter += 1;
        let counter = self.counter;
        self.sent.push_back(Sent { counter, key, item, is_stored: false, is_given: false });
    }

    /// Returns whether an item was sent from here, and has not been given.
    fn is_awaited(&self, (node, incarnation, counter): &Writer) -> bool {
        let is_own = *node == self.node && *incarnation == self.incarnation;
        is_own && self.sent.iter().any(|sent| sent.counter == *counter && !sent.is_given)
    }

    /// Notes that an item is given. Returns whether it was given before.
    fn note_given(&mut self, key: &str, (node, incarnation, counter): &Writer) -> bool {
        if *node == self.node && *incarnation == self.incarnation {
            let given = self.sent.iter_mut().find(|sent| sent.counter == *counter);
            given.into_iter().for_each(|sent| sent.is_given = true);
            if !self.keeps {
                self.sent.retain(|sent| !sent.is_given);
            }
        }
        let number = (*incarnation, *counter);
        let last = self.seen.entry((key.to_owned(), Arc::clone(node))).or_default();
        let is_again = *last >= number;
        *last = number.max(*last);
        is_again
    }

    fn is_held(&self, key: &str) -> bool {
        self.open.get(key).is_some_and(|open| open.is_held)
    }

    fn poll_is_ready(&self) -> bool {
        self.ready.iter().any(|(key, _)| !self.is_held(key))
    }

    /// What is given of something that is next; `None` if it was given before.
    fn give(&mut self, key: &str, next: Next) -> Option<Sequenced> {
        match next {
            Next::Event(event) => Some(Sequenced::Engine(event)),
            Next::Roster(roster, cursor) => {
                let roster = Box::new(serde_json::from_str(&roster).unwrap());
                self.applied = Some(cursor);
                if std::mem::take(&mut self.has_lost_acts) {
                    self.given.push(Given::Unsettled);
                }
                Some(Sequenced::Roster { roster, cursor })
            }
            Next::Bans(bans, cursor) => Some(Sequenced::Bans { bans: Arc::new(bans), cursor }),
            Next::Opened(name, cursor, said, last) => {
                self.reached.insert(key.to_owned(), cursor);
                let records: Vec<Record> = last.iter().filter_map(record).collect();
                let mut room = Recalled::new(Name::clone(&name), cursor.epoch, said);
                room.records.clone_from(&records);
                self.given.push(Given::Opened { room: name.as_str().to_owned(), said, cursor, records });
                Some(Sequenced::Opened { room: Box::new(room), cursor })
            }
            Next::Again(stored, name) => {
                let Item::Entry(_, entry) = stored.item else { return None };
                Some(Sequenced::Entry { room: name, entry, stamp: Some(stored.stamp) })
            }
            Next::Item(stored, name) => {
                let is_awaited = self.is_awaited(&stored.writer);
                let is_again = self.note_given(key, &stored.writer);
                if is_again && key != ACTS {
                    let Item::Entry(_, entry) = stored.item else { return None };
                    let lines = if let Entry::Said { lines, .. } = entry { lines } else { 0 };
                    let (room, stamp) = (name.as_str().to_owned(), stored.stamp);
                    self.reached.insert(key.to_owned(), stamp.cursor);
                    self.given.push(Given::Repeated { room, stamp, lines });
                    return Some(Sequenced::Repeated { room: name, stamp, lines });
                }
                if key != ACTS && self.random.has_luck(10) {
                    self.ready.push_front((key.to_owned(), Next::Again(stored.clone(), Arc::clone(&name))));
                }
                let Stored { stamp, writer, item } = *stored;
                Some(match item {
                    Item::Entry(_, entry) => {
                        self.reached.insert(key.to_owned(), stamp.cursor);
                        let room = name.as_str().to_owned();
                        self.given.push(Given::Entry { room, entry: entry.clone(), stamp: Some(stamp) });
                        Sequenced::Entry { room: name, entry, stamp: Some(stamp) }
                    }
                    Item::Act(act) => {
                        self.applied = Some(stamp.cursor);
                        if matches!(&act, Act::Gone(node) if **node == *self.node) {
                            self.given.push(Given::Unsettled);
                        }
                        let (node, cursor, time) = (Some(writer.0), stamp.cursor, Some(stamp.time));
                        Sequenced::Act { act, node, cursor, time, is_again, is_awaited }
                    }
                })
            }
        }
    }
}

impl Sequencer for End {
    fn submit(&mut self, item: Item) {
        let key = match &item {
            Item::Entry(room, _) => key_of(room),
            Item::Act(_) => ACTS.to_owned(),
        };
        self.state().send(key, item);
    }

    fn has(&self, asked_by: SessionId) -> bool {
        let state = self.state();
        let mut sent = state.sent.iter().filter(|sent| !sent.is_given);
        sent.any(|sent| sent.item.asked_by() == Some(asked_by))
    }

    fn is_settled(&self) -> bool {
        self.state().sent.iter().all(|sent| sent.is_stored)
    }

    fn next(&mut self) -> Option<Sequenced> {
        let state = &mut *self.state();
        loop {
            let at = state.ready.iter().position(|(key, _)| !state.is_held(key))?;
            let (key, next) = state.ready.remove(at)?;
            if let Some(given) = state.give(&key, next) {
                return Some(given);
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let state = &mut *self.state();
        if state.poll_is_ready() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn node(&self) -> Option<&Arc<str>> {
        Some(&self.1)
    }

    fn open(&mut self, room: &Arc<Name>, after: Option<Cursor>) {
        let (state, key) = (&mut *self.state(), key_of(room));
        state.opened.push((key.clone(), after));
        after.map(|after| state.reached.insert(key.clone(), after));
        state.ready.retain(|(of, _)| *of != key);
        state
            .open
            .insert(key, Open { name: Arc::clone(room), cursor: after, is_held: false, is_closed: false });
    }

    fn close(&mut self, room: &Name) {
        let (state, key) = (&mut *self.state(), key_of(room));
        state.reached.remove(&key);
        let is_opening = |(of, next): &(String, Next)| *of == key && matches!(next, Next::Opened(..));
        match state.open.get_mut(&key).filter(|open| open.cursor.is_none()) {
            Some(open) => open.is_closed = true,
            None => drop(state.open.remove(&key)),
        }
        state.ready.retain(|ready| ready.0 != key || is_opening(ready));
        state.sent.retain(|sent| sent.key != key || !sent.is_stored);
    }

    fn hold(&mut self, room: &Name, is_held: bool) {
        if let Some(open) = self.state().open.get_mut(&key_of(room)) {
            open.is_held = is_held;
        }
    }

    fn store(&mut self, roster: Roster, cursor: Cursor) {
        self.state().stored = Some((serde_json::to_string(&roster).unwrap(), cursor));
    }

    fn follow(&mut self, acts_after: Cursor) {
        let state = &mut *self.state();
        (state.acts, state.applied) = (Some(acts_after), Some(acts_after));
    }

    fn save(&mut self) -> Vec<u8> {
        let state = self.state();
        let written: Vec<Written> = state.sent.iter().map(Written::from).collect();
        let mut bytes = Vec::new();
        ciborium::into_writer(&(state.incarnation, state.counter, written), &mut bytes).unwrap();
        bytes
    }
}

impl From<&Sent> for Written {
    fn from(sent: &Sent) -> Self {
        match &sent.item {
            Item::Entry(name, entry) => {
                Self::Entry(sent.counter, sent.is_given, Name::clone(name), entry.clone())
            }
            Item::Act(act) => Self::Act(sent.counter, sent.is_given, act.clone()),
        }
    }
}

impl From<Written> for Sent {
    fn from(written: Written) -> Self {
        let (counter, is_given, item) = match written {
            Written::Entry(counter, is_given, name, entry) => {
                (counter, is_given, Item::Entry(Arc::new(name), entry))
            }
            Written::Act(counter, is_given, act) => (counter, is_given, Item::Act(act)),
        };
        let key = match &item {
            Item::Entry(name, _) => key_of(name),
            Item::Act(_) => ACTS.to_owned(),
        };
        Self { counter, key, item, is_stored: false, is_given }
    }
}

/// The lines of an entry, for `/last`.
fn record(stored: &Stored) -> Option<Record> {
    let Item::Entry(_, Entry::Said { kind, who, text, lines, .. }) = &stored.item else { return None };
    Some(Record {
        kind: *kind,
        who: Arc::clone(who),
        time: stored.stamp.time,
        seq: stored.stamp.seq,
        lines: *lines as usize,
        text: text.clone(),
    })
}
