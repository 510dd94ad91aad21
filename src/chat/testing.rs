//! A hub for the tests of this floor: sessions whose sockets take as much as they are told to, and a clock that
//! stands until it is told to go on.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::dispatcher::Dispatcher;
use super::member::Member;
use super::room::Room;
use super::script::Script;
use super::{
    Archive, Archived, Arrival, End, Hub, HubSnapshot, Input, Limits, Local, Notes, Now, Read, Reading,
    Sequencer, SessionId, Signal, Sink, Transport,
};
use crate::protocol::{Name, NoName};

/// Bytes in each log.
pub const CAPACITY: usize = 4096;

/// `min_rate`, in bytes a second.
pub const RATE: u64 = 1000;

/// A hub and its clock.
pub struct TestHub {
    shared: Rc<RefCell<Shared>>,
    pub limits: Limits,
    pub(super) next: u64,
    /// The sequencer of a node among several.
    script: Option<Script>,
}

struct Shared {
    hub: Hub,
    now: Instant,
    began: Instant,
}

/// A session.
pub struct Person {
    id: SessionId,
    pub socket: Arc<Socket>,
    shared: Rc<RefCell<Shared>>,
}

/// Takes a set number of bytes, as a socket does whose other side does not read.
#[derive(Debug, Default)]
pub struct Socket {
    space: AtomicUsize,
    taken: Mutex<Vec<u8>>,
    /// How many bytes it had taken when its record was written last.
    taken_before_record: AtomicUsize,
    /// Its session waits for its input to be taken in.
    is_outstanding: AtomicBool,
    is_done: AtomicBool,
    /// The other side is gone.
    is_broken: AtomicBool,
    /// It is a unix socket.
    is_unix: bool,
}

impl Socket {
    /// Takes up to `most` bytes from now on.
    pub fn set_space(&self, most: usize) {
        self.space.store(most, Ordering::Relaxed);
    }

    /// What it has taken since this was last asked.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.taken.lock().unwrap())
    }

    pub fn taken_before_record(&self) -> usize {
        self.taken_before_record.load(Ordering::Relaxed)
    }

    pub fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Relaxed)
    }

    pub fn is_outstanding(&self) -> bool {
        self.is_outstanding.load(Ordering::Relaxed)
    }

    pub fn begin_input(&self) {
        self.is_outstanding.store(true, Ordering::Relaxed);
    }
}

/// What is kept for the case of a crash.
#[derive(Clone, Debug, Default)]
pub struct Noted(Arc<Mutex<BTreeMap<String, u64>>>);

impl Noted {
    /// All notes, with their numbers.
    pub fn all(&self) -> Vec<(String, u64)> {
        self.0.lock().unwrap().clone().into_iter().collect()
    }
}

impl Notes for Noted {
    fn set(&mut self, text: &str, number: u64) {
        self.0.lock().unwrap().insert(text.to_owned(), number);
    }

    fn forget(&mut self, text: &str) {
        self.0.lock().unwrap().remove(text);
    }

    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

/// The objects that were archived.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl Archive for Lines {
    fn append(&mut self, archived: Archived) {
        archived.encode(&mut self.0.lock().unwrap());
    }
}

impl Sink for Socket {
    fn send(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let before = self.space.load(Ordering::Relaxed);
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        let sent: Vec<u8> = bytes.take(before).collect();
        self.space.store(before - sent.len(), Ordering::Relaxed);
        self.taken.lock().unwrap().extend(&sent);
        if sent.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(sent.len()) }
    }

    fn record(&self, _standing: &[u8], _ignored: &[u8]) {
        self.taken_before_record.store(self.taken.lock().unwrap().len(), Ordering::Relaxed);
    }

    fn signal(&self, signal: Signal) {
        match signal {
            Signal::Taken => self.is_outstanding.store(false, Ordering::Relaxed),
            Signal::Done => self.is_done.store(true, Ordering::Relaxed),
            _ => {}
        }
    }

    fn transport(&self) -> Transport {
        if self.is_unix { Transport::Unix } else { Transport::Tcp }
    }
}

impl Shared {
    fn time(&self) -> Now {
        Now { instant: self.now, wall: Timestamp::UNIX_EPOCH + (self.now - self.began) }
    }

    fn apply(&mut self, input: Input) {
        let now = self.time();
        self.hub.apply(input, now);
        self.settle();
    }

    /// Goes on with all that can be gone on with, as the broker does.
    fn settle(&mut self) {
        let now = self.time();
        loop {
            self.work(now);
            if self.hub.poll_sequenced(&mut Context::from_waker(Waker::noop())).is_pending() {
                return;
            }
            self.hub.take_sequenced(now);
        }
    }

    fn work(&mut self, now: Now) {
        while self.hub.has_work() {
            self.hub.work(now, 1024);
            for room in self.hub.take_fresh() {
                let mut next = Some((0, None));
                while let Some(at) = next {
                    next = self.hub.deliver(room, at, 3, now);
                }
            }
        }
    }
}

impl Person {
    pub fn id(&self) -> SessionId {
        self.id
    }

    pub fn is_outstanding(&self) -> bool {
        self.socket.is_outstanding()
    }

    pub fn is_done(&self) -> bool {
        self.socket.is_done()
    }

    /// Reads up to `most` bytes.
    pub fn read(&mut self, most: usize) {
        self.socket.set_space(most);
        self.shared.borrow_mut().apply(Input::Writable(self.id));
        self.socket.set_space(0);
    }

    pub fn heard(&self) -> String {
        String::from_utf8(self.socket.take()).unwrap()
    }

    pub fn read_all(&mut self) -> String {
        self.read(usize::MAX);
        self.heard()
    }

    /// Something of the membership.
    pub(super) fn member<T>(&self, ask: impl FnOnce(&Member) -> T) -> T {
        ask(self.shared.borrow().hub.member(self.id).unwrap())
    }

    /// Its connection fails.
    pub fn break_off(&self) {
        self.socket.is_broken.store(true, Ordering::Relaxed);
        let read = Read { is_broken: true, ..Read::default() };
        self.shared.borrow_mut().apply(Input::Read(self.id, Box::new(read)));
    }
}

impl Default for TestHub {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl TestHub {
    pub fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            log_size: CAPACITY,
            history: 100,
            max_rooms: 3,
            min_rate: RATE,
            memory: 1 << 30,
            commands: true,
        };
        change(&mut limits);
        Self::with(Box::<Local>::default(), limits, None)
    }

    /// A node among several, whose sequencer does what the script says.
    pub fn among_several(script: &Script, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Self::default().limits;
        change(&mut limits);
        Self::with(Box::new(script.clone()), limits, Some(script.clone()))
    }

    fn with(sequencer: Box<dyn Sequencer>, limits: Limits, script: Option<Script>) -> Self {
        let hub = Hub::new(limits, sequencer, Timestamp::UNIX_EPOCH);
        let now = Instant::now();
        Self { shared: Rc::new(RefCell::new(Shared { hub, now, began: now })), limits, next: 1, script }
    }

    /// The next process is alone.
    pub fn leave_cluster(&mut self) {
        self.script = None;
    }

    pub fn hub(&self) -> RefMut<'_, Hub> {
        RefMut::map(self.shared.borrow_mut(), |shared| &mut shared.hub)
    }

    pub fn time(&self) -> Now {
        self.shared.borrow().time()
    }

    pub fn apply(&mut self, input: Input) {
        self.shared.borrow_mut().apply(input);
    }

    /// Goes on with all that can be gone on with.
    pub fn settle(&mut self) {
        self.shared.borrow_mut().settle();
    }

    pub fn join(&mut self) -> Person {
        self.arrive(Arrival::default())
    }

    /// Somebody arrives: over a unix socket if the name is verified, else over TCP.
    pub fn arrive(&mut self, arrival: Arrival) -> Person {
        let is_unix = arrival.verified.is_some();
        self.arrive_at(is_unix, arrival)
    }

    /// Somebody with a certificate arrives, which says so.
    pub fn arrive_with_certificate(&mut self, name: Result<&str, NoName>) -> Person {
        let verified = name.ok().map(|name| Name::parse(name).unwrap());
        self.arrive_at(false, Arrival { verified, no_name: name.err(), ..Arrival::default() })
    }

    fn arrive_at(&mut self, is_unix: bool, arrival: Arrival) -> Person {
        let (id, socket) = (SessionId(self.next), Arc::new(Socket { is_unix, ..Socket::default() }));
        self.next += 1;
        let sink = Arc::clone(&socket) as Arc<dyn Sink>;
        socket.begin_input();
        self.apply(Input::Join { id, sink, arrival: Box::new(arrival) });
        Person { id, socket, shared: Rc::clone(&self.shared) }
    }

    /// Somebody who is called that, and has read all there was to read about it.
    pub fn join_as(&mut self, name: &str) -> Person {
        let mut person = self.join();
        self.ask(&mut person, &format!("/nick {name}"));
        person.read_all();
        person
    }

    /// Somebody who is present, as the others are told at once.
    pub fn join_as_in_cluster(&mut self, name: &str, script: &Script) -> Person {
        let mut person = self.join();
        self.ask(&mut person, &format!("/nick {name}"));
        script.take_submitted();
        person.read_all();
        person
    }

    /// Has somebody send what came of one read.
    pub fn send(&mut self, person: &Person, read: Read) {
        assert!(!person.is_outstanding(), "a session has one input under way");
        person.socket.begin_input();
        self.hub().traffic().begin_input(read.text.len());
        self.apply(Input::Read(person.id, Box::new(read)));
    }

    pub fn say(&mut self, person: &mut Person, text: &str) {
        self.send(person, Read { text: text.as_bytes().to_vec(), ..Read::default() });
    }

    /// Has somebody type a command.
    pub fn ask(&mut self, person: &mut Person, line: &str) {
        self.say(person, &format!("{line}\n"));
    }

    /// Has somebody type a command, and returns what that hears then.
    pub fn answer(&mut self, person: &mut Person, line: &str) -> String {
        person.read_all();
        self.ask(person, line);
        person.read_all()
    }

    /// Somebody says nothing more.
    pub fn end(&mut self, person: &Person) {
        self.send(person, Read { end: End::Closed, ..Read::default() });
    }

    pub fn leave(&mut self, person: Person) {
        self.apply(Input::Leave(person.id));
    }

    /// All that is known of the sessions `ids`.
    pub fn snapshot(&mut self, ids: &[SessionId]) -> HubSnapshot {
        ids.iter().for_each(|id| self.apply(Input::Frozen(*id, Box::<Reading>::default())));
        let limits = self.limits;
        let hub = std::mem::replace(
            &mut *self.hub(),
            Hub::new(limits, Box::<Local>::default(), Timestamp::UNIX_EPOCH),
        );
        hub.into_snapshot().0
    }

    /// Goes on in another process: with what can be written down, and nothing else.
    pub fn move_on(&mut self, people: &mut [Person]) {
        let sockets: HashMap<_, _> =
            people.iter().map(|person| (person.id, Arc::clone(&person.socket))).collect();
        let ids = self.hub().sessions().collect::<Vec<_>>();
        let snapshot = self.snapshot(&ids);
        self.move_to(snapshot, |id| sockets.get(&id).map(|socket| Arc::clone(socket) as Arc<dyn Sink>));
    }

    /// Goes on with a snapshot.
    pub fn move_to(
        &mut self,
        snapshot: HubSnapshot,
        sink_of: impl FnMut(SessionId) -> Option<Arc<dyn Sink>>,
    ) -> Vec<(SessionId, Reading)> {
        let mut bytes = Vec::new();
        ciborium::into_writer(&snapshot, &mut bytes).unwrap();
        let read: HubSnapshot = ciborium::from_reader(&bytes[..]).unwrap();
        let mut again = Vec::new();
        ciborium::into_writer(&read, &mut again).unwrap();
        assert!(again == bytes, "what is written is read again");
        let now = self.time();
        let sequencer: Box<dyn Sequencer> = match &self.script {
            Some(script) => Box::new(script.clone()),
            None => Box::<Local>::default(),
        };
        let (hub, readings) = Hub::restore(self.limits, sequencer, read, now, sink_of).unwrap();
        *self.hub() = hub;
        self.settle();
        readings
    }

    pub fn wait(&mut self, time: Duration) {
        let end = self.shared.borrow().now + time;
        loop {
            let tick = self.hub().next_tick().filter(|tick| *tick <= end);
            let mut shared = self.shared.borrow_mut();
            shared.now = tick.unwrap_or(end).max(shared.now);
            let now = shared.time();
            shared.hub.tick(now);
            shared.settle();
            if tick.is_none() {
                return;
            }
        }
    }
}

/// How many bytes all rooms use: as counted, and counted again. And how many of them are owed to members alone, and
/// how many logs there are.
pub(super) fn memory(dispatcher: &Dispatcher) -> (usize, usize, usize, usize) {
    let rooms = || dispatcher.directory.rooms().values();
    let owed = rooms().flat_map(Room::members).map(Member::owed_bytes).sum();
    (dispatcher.memory, rooms().map(Room::memory).sum(), owed, rooms().flat_map(Room::feeds).count())
}

/// Verified names that look alike, of one node or none, and have not the same proof: there are none.
pub(super) fn collisions(dispatcher: &Dispatcher) -> Vec<String> {
    let members = dispatcher.directory.rooms().values().flat_map(Room::members);
    let verified: Vec<_> = members.filter(|member| member.who().verified).collect();
    let pairs = verified.iter().flat_map(|one| verified.iter().map(move |other| (one, other)));
    let collisions = pairs
        .filter(|(one, other)| {
            one.proof() != other.proof() && one.who().name.node() == other.who().name.node()
        })
        .filter(|(one, other)| one.who().name.looks_like(&other.who().name));
    collisions.map(|(one, other)| format!("{} and {}", one.who(), other.who())).collect()
}

/// How many bytes have been appended to the logs there are.
pub(super) fn appended(dispatcher: &Dispatcher) -> u64 {
    dispatcher.directory.rooms().values().flat_map(Room::feeds).map(|feed| feed.log().head()).sum()
}

/// For each member that has not been sent all there is: its number, whether it is full, broken, done, held.
pub(super) fn behind(dispatcher: &Dispatcher) -> Vec<String> {
    let feeds = dispatcher.directory.rooms().values().flat_map(Room::feeds);
    let behind = feeds.flat_map(|feed| {
        feed.members().filter(|member| member.wants(feed.log())).map(|member| {
            let progress = &member.progress;
            let owed: Vec<_> = progress.owed.iter().map(|owed| (owed.at, owed.text.len())).collect();
            let state = (member.is_full, member.is_broken, member.life, member.flow.holds);
            let log = (feed.log().tail(), feed.log().head());
            format!(
                "#{} {state:?} at {} to {} in {log:?}, owed {owed:?}, missed {}",
                member.id.0, progress.cursor, progress.end, progress.missed
            )
        })
    });
    let rooms = dispatcher.directory.rooms().values().filter(|room| room.is_waiting());
    behind
        .chain(rooms.map(|room| {
            let feeds: Vec<String> = room.feeds().map(|feed| feed.awaited_in()).collect();
            format!(
                "room {} waits with {} entries, due {:?}: {feeds:?}, ready {}",
                room.name(),
                room.waiting().len(),
                room.next_tick().is_some(),
                dispatcher.ready.len()
            )
        }))
        .collect()
}

/// Numbered lines.
pub fn lines(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("line {number:010}\n")).collect()
}
