//! A world: one run of a simulated house, from a seed.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::order::Order;
use super::random::Random;
use super::reader::{Reader, Window};
use super::sequencer::Engine;
use super::shelf::Shelf;
use super::socket::Socket;
use super::talk::{self, Typed};
use crate::chat::testing;
use crate::chat::{
    Arrival, End, Hub, HubSnapshot, Input, Limits, MemberSnapshot, Notes, Now, Read, Reading, SessionId,
    SessionSnapshot, Sink, Standing,
};
use crate::protocol::{Name, Notice, View, Who};

/// How many of the last steps a failure shows.
const SHOWN: usize = 30;

/// Bytes by which the accounted memory may exceed `limits.memory`, for each log in use: the smallest ring, and the index
/// of what lies in it. What is owed to members alone comes on top: it is not given up.
const SLACK: usize = 96 * 1024;

/// The most time in any 30 seconds that a room waits for members that take too little: its patience, a look and a step.
/// It may wait longer for those who take what is appended at `min_rate`.
const MOST_WAITED: Duration = Duration::from_millis(1300);

/// When that is used up, a room looks so soon whether one that it waits for reads.
const MOST_LOOKED: Duration = Duration::from_millis(10);

const ROOMS: [&str; 4] = ["main", "ops", "dev", "attic"];

/// The last steps. A failed run shows them.
pub type Trace = Rc<RefCell<(usize, VecDeque<String>)>>;

/// How fast a member reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Fast,
    /// So many bytes, now and then.
    Slow(usize),
    Stuck,
}

#[derive(Debug)]
struct Person {
    id: SessionId,
    socket: Arc<Socket>,
    reader: Reader,
    pace: Pace,
    /// The number of its last input.
    input: usize,
    /// What it has said that nobody may have heard before it is taken in.
    unsaid: Vec<String>,
    /// What its input ended with, and when.
    end: End,
    ended: Option<Window>,
    has_telnet: bool,
    /// A name that nobody else has.
    called: Option<String>,
}

/// When every process begins.
const BEGAN: Timestamp = Timestamp::UNIX_EPOCH;

/// What is kept for the case of a crash.
#[derive(Clone, Debug, Default)]
struct Noted(Arc<Mutex<BTreeMap<String, u64>>>);

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

/// What a seed decides for all of a run.
#[derive(Debug)]
struct Plan {
    steps: usize,
    members: usize,
    rooms: usize,
    /// How often in a thousand steps.
    handovers: usize,
    crashes: usize,
    is_late: bool,
    is_archived: bool,
    /// Time goes on in small steps, and nobody who is waited for reads at `min_rate`.
    is_patience: bool,
    has_drain: bool,
}

pub struct World {
    random: Random,
    plan: Plan,
    limits: Limits,
    hub: Hub,
    engine: Engine,
    noted: Noted,
    shelf: Shelf,
    has_crashed: bool,
    start: Instant,
    now: Instant,
    people: BTreeMap<SessionId, Person>,
    next: u64,
    step: usize,
    order: Order,
    /// What is certainly in the logs.
    appended: Vec<usize>,
    /// What each session may be called.
    names: HashMap<u64, HashSet<String>>,
    privates: HashMap<String, (Option<u64>, bool)>,
    texts: usize,
    is_draining: bool,
    /// When the room waited.
    waited: VecDeque<(Instant, Instant)>,
    /// How many bytes had been appended to the logs, and when.
    appended_bytes: VecDeque<(Instant, u64)>,
    trace: Trace,
    pub heard: usize,
    pub skipped: u64,
}

impl Plan {
    fn new(seed: u64, random: &mut Random) -> Self {
        let is_crowd = seed % 60 == 7;
        let is_patience = seed % 8 == 3;
        let is_long = seed % 100 == 11;
        Self {
            steps: if is_crowd {
                100
            } else if is_long {
                2000
            } else {
                random.between(80, 300)
            },
            members: if is_crowd { random.between(100, 300) } else { random.between(2, 36) },
            rooms: if is_patience { 1 } else { random.between(1, ROOMS.len()) },
            handovers: if is_patience { 0 } else { random.pick(&[0, 2, 10, 40]) },
            crashes: if is_patience { 0 } else { random.pick(&[0, 0, 0, 3, 20]) },
            is_late: seed % 5 == 4,
            is_archived: seed % 3 == 1,
            is_patience,
            has_drain: random.has_luck(330),
        }
    }
}

impl World {
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(seed, &mut random);
        Self::with(plan, random, trace)
    }

    /// Its sequencer gives back late, and outlives many hubs; none of them crashes.
    pub fn late(seed: u64, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan {
            is_late: true,
            is_patience: false,
            handovers: 40,
            crashes: 0,
            ..Plan::new(seed, &mut random)
        };
        Self::with(plan, random, trace)
    }

    fn with(plan: Plan, mut random: Random, trace: Trace) -> Self {
        let limits = Limits {
            log_size: random.pick(&[4096, 4096, 8192, 65_536]),
            history: random.pick(&[0, 20, 100]),
            max_rooms: random.between(1, plan.rooms),
            min_rate: random.pick(&[200, 1000, 20_000]),
            memory: random.pick(&[1 << 30, 1 << 30, 1 << 30, 200_000, 500_000, 1 << 20]),
            commands: true,
        };
        let engine = Engine::new(plan.is_late);
        let mut hub = Hub::new(limits, Box::new(engine.clone()), BEGAN);
        let noted = Noted::default();
        hub.record(Box::new(noted.clone()));
        let now = Instant::now();
        trace.borrow_mut().1.push_back(format!("{plan:?} {limits:?}"));
        Self {
            random,
            plan,
            limits,
            hub,
            engine,
            noted,
            shelf: Shelf::default(),
            has_crashed: false,
            start: now,
            now,
            people: BTreeMap::new(),
            next: 1,
            step: 0,
            order: Order::new(&ROOMS),
            appended: vec![0; ROOMS.len()],
            names: HashMap::new(),
            privates: HashMap::new(),
            texts: 0,
            is_draining: false,
            waited: VecDeque::new(),
            appended_bytes: VecDeque::new(),
            trace,
            heard: 0,
            skipped: 0,
        }
    }

    pub fn run(&mut self) {
        self.begin_archive();
        for _ in 0..self.plan.members.div_ceil(2) {
            self.join();
        }
        for step in 1..=self.plan.steps {
            self.step = step;
            self.act();
            if self.random.has_luck(700) {
                self.settle();
            } else {
                self.absorb();
            }
        }
        self.step += 1;
        if self.plan.has_drain {
            self.drain()
        } else {
            self.rest()
        }
        self.shelf.check(&self.order, self.plan.is_archived && !self.has_crashed);
        self.heard += self.people.values().map(|person| person.reader.heard).sum::<usize>();
    }

    /// Goes on from the archive, if there is one.
    fn begin_archive(&mut self) {
        if self.plan.is_archived {
            self.hub.recall(self.shelf.recalled());
            self.hub.archive(Box::new(self.shelf.clone()), None);
        }
    }

    fn time(&self) -> Now {
        let since = self.now.saturating_duration_since(self.start);
        let wall = Timestamp::UNIX_EPOCH + SignedDuration::try_from(since).unwrap();
        Now { instant: self.now, wall }
    }

    fn note(&self, what: String) {
        let trace = &mut *self.trace.borrow_mut();
        trace.0 = self.step;
        trace.1.push_back(format!("{}: {what}", self.step));
        if trace.1.len() > SHOWN + 1 {
            trace.1.remove(1);
        }
    }

    fn apply(&mut self, input: Input) {
        let now = self.time();
        self.hub.apply(input, now);
    }

    /// Goes on with all that can be gone on with, a little at a time, as the broker does.
    fn settle(&mut self) {
        let (now, mut turns) = (self.time(), 0);
        while self.hub.has_work() {
            turns += 1;
            assert!(
                turns < 20_000,
                "the hub goes on for ever; behind are {:?}",
                testing::behind(self.hub.dispatcher())
            );
            let most = self.random.pick(&[1, 3, 1024]);
            self.hub.work(now, most);
            for room in self.hub.take_fresh() {
                let most = self.random.pick(&[1, 5, 128]);
                let mut next = Some((0, None));
                while let Some(at) = next {
                    next = self.hub.deliver(room, at, most, now);
                }
            }
        }
        self.absorb();
    }

    /// Looks at what has come of it: what was given back, taken in and sent.
    fn absorb(&mut self) {
        self.fetch_given();
        let lengths = self.order.lengths();
        if !self.hub.is_waiting() {
            self.appended.clone_from(&lengths);
        }
        let mut privates = Vec::new();
        let mut slow = Vec::new();
        for person in self.people.values_mut() {
            let (taken, is_outstanding, is_slow) = person
                .socket
                .with(|state| (std::mem::take(&mut state.taken), state.is_outstanding, state.is_slow));
            if !taken.is_empty() {
                person.reader.read(&taken, &self.order, self.step);
                let is_torn = person.socket.is_torn();
                assert_eq!(
                    is_torn,
                    person.reader.is_inside_of_a_line(),
                    "#{}: the mark is right",
                    person.id.0
                );
                privates.extend(person.reader.privates.drain(..).map(|private| (person.id.0, private)));
            }
            if !is_outstanding {
                person.acknowledged(&lengths, &self.order);
            }
            slow.extend(is_slow.then_some(person.id));
        }
        for (id, private) in privates {
            let Some((to, is_seen)) = self.privates.get_mut(&private.text) else { panic!("{private:?}") };
            assert!(!std::mem::replace(is_seen, true), "twice: {private:?}");
            assert!(to.is_none_or(|to| to == id), "#{id} hears {private:?}");
            let from = private.text.split('.').nth(1).unwrap().parse().unwrap();
            let is_from = self.names[&from].contains(private.from.trim_start_matches('+'));
            let is_to = private.to.as_ref().is_none_or(|to| self.names[&id].contains(to));
            assert!(is_from && is_to, "names: {private:?}");
        }
        for id in slow {
            self.note(format!("#{} is closed for reading nothing", id.0));
            self.leave(id);
        }
        self.check_memory();
    }

    fn check_memory(&mut self) {
        let (counted, recounted, owed, logs) = testing::memory(self.hub.dispatcher());
        assert_eq!(testing::collisions(self.hub.dispatcher()), [""; 0]);
        assert_eq!(counted, recounted, "memory: as counted, and counted again");
        let most = self.limits.memory.saturating_add(owed + logs * SLACK);
        assert!(counted <= most, "{counted} bytes of memory, with {owed} owed, in {logs} logs");
    }

    fn anybody(&mut self) -> Option<SessionId> {
        let ids: Vec<SessionId> = self.people.keys().copied().collect();
        if ids.is_empty() { None } else { Some(self.random.pick(&ids)) }
    }

    /// One thing happens.
    fn act(&mut self) {
        if self.random.has_luck(self.plan.handovers) {
            return self.hand_over();
        }
        if self.random.has_luck(self.plan.crashes) {
            return self.crash();
        }
        if self.plan.is_late && self.random.has_luck(400) {
            self.release(8);
        }
        let is_full = self.people.len() >= self.plan.members;
        match self.random.below(100) {
            0..50 => self.talk(),
            50..76 => self.make_space(),
            76..84 => self.wait(),
            84..91 if !is_full => self.join(),
            84..91 => self.make_space(),
            91..93 => self.change_pace(),
            93..95 => self.end(),
            95..96 => self.break_off(),
            96..97 => self.change_limits(),
            97..98 => self.stall(),
            98..99 => self.walk_away(),
            _ => self.wait(),
        }
    }

    fn release(&mut self, most: usize) {
        self.engine.release(&mut self.random, most);
        if self.hub.poll_sequenced(&mut Context::from_waker(Waker::noop())).is_ready() {
            let now = self.time();
            self.hub.take_sequenced(now);
        }
    }

    fn pace(&mut self) -> Pace {
        if self.plan.is_patience {
            let slow = Pace::Slow((self.limits.min_rate as usize / 400).max(1));
            return self.random.pick(&[Pace::Fast, Pace::Fast, Pace::Stuck, slow]);
        }
        let bytes = self.random.between(1, 700);
        self.random.pick(&[Pace::Fast, Pace::Slow(bytes), Pace::Slow(10 * bytes), Pace::Stuck])
    }

    fn join(&mut self) {
        let id = SessionId(self.next);
        self.next += 1;
        let room = self.random.pick(&[None, None, Some(self.plan.rooms - 1)]);
        let view = self.random.pick(&[View::Plain, View::Plain, View::Names, View::Json]);
        let verified = self.random.has_luck(60).then(|| self.random.pick(&["root", "zoe"]));
        let greeting =
            if self.random.has_luck(300) { b"-!- welcome\n-!- welcome home\n".to_vec() } else { Vec::new() };
        let pace = self.pace();
        let socket = Arc::new(Socket::default());
        // The kernel vouches for it, or a certificate.
        let is_unix = verified.is_some() && self.random.has_luck(500);
        socket.with(|state| state.is_unix = is_unix);
        socket.with(|state| state.space = if pace == Pace::Fast { usize::MAX } else { 0 });
        let mut names = HashSet::from([format!("guest{}", id.0)]);
        names.extend(verified.map(str::to_owned));
        self.names.insert(id.0, names);
        self.note(format!("#{} joins {room:?}, {view:?}, {verified:?} {is_unix}, {pace:?}", id.0));
        let arrival = Arrival {
            view,
            room: room.map(|room| Name::parse(ROOMS[room]).unwrap()),
            verified: verified.map(|name| Name::login(name).unwrap()),
            no_name: None,
            greeting,
        };
        let place = room.unwrap_or(0);
        let low = self.appended[place];
        self.apply(Input::Join {
            id,
            sink: Arc::clone(&socket) as Arc<dyn Sink>,
            arrival: Box::new(arrival),
        });
        self.fetch_given();
        let high = self.order.units(place).len();
        let reader = Reader::new(id.0, place, view, verified.is_some(), (low, high), ROOMS.len());
        let (end, ended, called) = (End::No, None, None);
        let (input, unsaid, has_telnet) = (0, Vec::new(), false);
        let person = Person { id, socket, reader, pace, input, unsaid, end, ended, has_telnet, called };
        self.people.insert(id, person);
    }

    /// What was given back has its place in the order of its room.
    fn fetch_given(&mut self) {
        let names = &self.names;
        let may_be_called =
            |who: &Who| names.get(&who.id).is_some_and(|names| names.contains(who.name.as_str()));
        for (room, entry) in self.engine.take_given() {
            self.order.add(&room, &entry, self.step, may_be_called);
        }
    }

    /// Somebody types something, if it may.
    fn talk(&mut self) {
        let Some(id) = self.anybody() else { return };
        let person = &self.people[&id];
        if person.end != End::No || person.socket.with(|state| state.is_outstanding || state.is_broken) {
            return;
        }
        let others: Vec<u64> = self.people.keys().map(|id| id.0).collect();
        let parts = self.random.pick(&[1, 1, 1, 2, 3]);
        let rooms = &ROOMS[..self.plan.rooms];
        let mut text = String::new();
        let mut end = End::No;
        for _ in 0..parts {
            let typed = talk::next(&mut self.random, id.0, &others, rooms, self.limits.log_size, self.step);
            let is_quit = matches!(typed, Typed::Quit);
            self.type_in(id, typed, &mut text);
            if is_quit {
                end = End::Closed;
                break;
            }
        }
        let is_telnet = self.random.has_luck(15) && !self.people[&id].has_telnet;
        self.submit(id, Read { text: text.into_bytes(), is_telnet, ..Read::default() }, end);
    }

    fn text(&mut self, filler: usize) -> String {
        self.texts += 1;
        format!("t{} {}", self.texts, talk::filler(filler)).trim_end().to_owned()
    }

    fn type_in(&mut self, id: SessionId, typed: Typed, out: &mut String) {
        let line = match typed {
            Typed::Lines { count, filler } => {
                let texts: Vec<String> = (0..count).map(|_| self.text(filler)).collect();
                let lines = texts.join("\n");
                self.people.get_mut(&id).unwrap().unsaid.extend(texts);
                lines
            }
            Typed::Slashes => {
                let text = format!("/{}", self.text(5));
                let line = format!("/{text}");
                self.people.get_mut(&id).unwrap().unsaid.push(text);
                line
            }
            Typed::Me => {
                let text = self.text(5);
                self.people.get_mut(&id).unwrap().unsaid.push(text.clone());
                format!("/me {text}")
            }
            Typed::Move(line) => {
                if let Some(name) = line.strip_prefix("/nick ") {
                    self.names.get_mut(&id.0).unwrap().insert(name.to_owned());
                }
                let low = self.appended.clone();
                let person = self.people.get_mut(&id).unwrap();
                if let Some(name) = line.strip_prefix("/nick ") {
                    person.called = name.starts_with('u').then(|| name.to_owned());
                }
                person.reader.moves.push_back(Window { low, high: None, input: person.input + 1 });
                line
            }
            Typed::Msg(to) => {
                self.texts += 1;
                let text = format!("pm{}.{}.", self.texts, id.0);
                let only = to.strip_prefix("guest").map(|number| number.parse().unwrap());
                self.privates.insert(text.clone(), (only, false));
                format!("/msg {to} {text}")
            }
            Typed::Ignore(other) => {
                let name = self.people.get(&SessionId(other)).and_then(|person| person.called.clone());
                self.people.get_mut(&id).unwrap().reader.ask_to_ignore(other);
                format!("/ignore {}", name.unwrap_or(format!("guest{other}")))
            }
            Typed::Ask(line) => line,
            Typed::Quit => "/quit".to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }

    fn submit(&mut self, id: SessionId, read: Read, end: End) {
        let shown: String = String::from_utf8_lossy(&read.text).chars().take(90).collect();
        let telnet = if read.is_telnet { " (telnet)" } else { "" };
        self.note(format!("#{} sends {} bytes{telnet}, {:?}: {shown:?}", id.0, read.text.len(), read.end));
        let low = self.appended.clone();
        let person = self.people.get_mut(&id).unwrap();
        person.input += 1;
        person.has_telnet |= read.is_telnet;
        person.reader.may_have_crlf |= read.is_telnet;
        if end != End::No {
            person.end = end;
            person.ended = Some(Window { low, high: None, input: person.input });
        } else {
            person.socket.with(|state| state.is_outstanding = true);
        }
        self.hub.traffic().begin_input(read.text.len());
        self.apply(Input::Read(id, Box::new(read)));
    }

    /// The sockets of some take more.
    fn make_space(&mut self) {
        let count = self.random.between(1, 4);
        for _ in 0..count {
            let Some(id) = self.anybody() else { return };
            if !self.plan.is_patience {
                let pace = self.people[&id].pace;
                self.set_space(id, pace, 1);
            }
            self.tell_writable(id);
        }
    }

    fn set_space(&mut self, id: SessionId, pace: Pace, times: usize) {
        self.people[&id].socket.with(|state| match pace {
            Pace::Fast => state.space = usize::MAX,
            Pace::Slow(bytes) => state.space = bytes * times,
            Pace::Stuck => {}
        });
    }

    fn tell_writable(&mut self, id: SessionId) {
        let is_writable = self.people[&id].socket.with(|state| {
            let is_writable = state.is_full && state.space > 0;
            state.is_full &= !is_writable;
            is_writable
        });
        if is_writable {
            self.apply(Input::Writable(id));
        }
    }

    fn change_pace(&mut self) {
        let Some(id) = self.anybody() else { return };
        let pace = self.pace();
        self.note(format!("#{} reads {pace:?}", id.0));
        self.people.get_mut(&id).unwrap().pace = pace;
        if pace != Pace::Fast {
            self.people[&id].socket.with(|state| state.space = 0);
        }
        self.set_space(id, pace, 1);
        self.tell_writable(id);
    }

    /// Time goes on.
    fn wait(&mut self) {
        if self.plan.is_patience {
            return self.wait_closely();
        }
        let time = match self.random.below(10) {
            0..4 => self.random.between(1, 300),
            4..9 => self.random.between(300, 3000),
            _ => self.random.between(3000, 200_000),
        };
        self.note(format!("{time} ms go by"));
        let end = self.now + Duration::from_millis(time as u64);
        let is_busy = self.random.has_luck(200);
        while let Some(tick) = self.hub.next_tick().filter(|tick| *tick <= end && !is_busy) {
            self.now = self.now.max(tick);
            self.tick();
        }
        self.now = end;
        self.tick();
    }

    fn tick(&mut self) {
        let now = self.time();
        self.hub.tick(now);
        self.settle();
    }

    /// Time goes on, and everybody reads as it does.
    fn wait_closely(&mut self) {
        let pieces = self.random.between(1, 60);
        self.note(format!("{pieces} times 50 ms go by"));
        self.settle();
        for _ in 0..pieces {
            let end = self.now + Duration::from_millis(50);
            let ids: Vec<SessionId> = self.people.keys().copied().collect();
            for id in ids {
                let pace = self.people[&id].pace;
                self.set_space(id, pace, 1);
                self.tell_writable(id);
            }
            self.settle();
            while let Some(tick) = self.hub.next_tick().filter(|tick| *tick <= end) {
                self.go_on_until(tick);
                self.tick();
            }
            self.go_on_until(end);
            self.tick();
        }
    }

    fn go_on_until(&mut self, end: Instant) {
        let end = end.max(self.now);
        self.appended_bytes.push_back((end, testing::appended(self.hub.dispatcher())));
        while self.appended_bytes.front().is_some_and(|(at, _)| *at + Duration::from_secs(31) < end) {
            self.appended_bytes.pop_front();
        }
        if self.hub.is_waiting() && end > self.now {
            self.waited.push_back((self.now, end));
            while self.waited.front().is_some_and(|(_, to)| *to + Duration::from_secs(30) < end) {
                self.waited.pop_front();
            }
            let waited: Duration = self.waited.iter().map(|(from, to)| *to - *from).sum();
            let slow = self.people.values().filter(|person| person.pace != Pace::Fast).count() as u32;
            let bytes: u64 = self
                .appended_bytes
                .iter()
                .zip(self.appended_bytes.iter().skip(1))
                .map(|(one, next)| next.1.saturating_sub(one.1))
                .sum();
            let taken = Duration::from_millis(1000 * bytes / self.limits.min_rate);
            let most = MOST_WAITED + MOST_LOOKED * slow + taken;
            assert!(waited <= most, "the room has waited for {waited:?} in 30 s, {slow} are slow");
        }
        self.now = end;
    }

    fn end(&mut self) {
        let Some(id) = self.anybody() else { return };
        let person = &self.people[&id];
        let is_done = person.socket.with(|state| state.is_done);
        let is_broken = person.socket.with(|state| state.is_broken);
        if is_done && person.end != End::No {
            self.note(format!("#{} is done", id.0));
            self.settle();
            let Some(person) = self.people.get(&id) else { return };
            if let Some(window) = person.ended.as_ref().filter(|_| person.end == End::Closed && !is_broken) {
                person.reader.assert_complete(window, &self.order);
            }
            return self.leave(id);
        }
        if person.end != End::No || person.socket.with(|state| state.is_outstanding || state.is_broken) {
            return;
        }
        let end = self.random.pick(&[End::Closed, End::Closed, End::SentAway]);
        let mut text = String::new();
        if self.random.has_luck(500) {
            self.type_in(id, Typed::Lines { count: 2, filler: 5 }, &mut text);
        }
        let notices = if end == End::SentAway { vec![Notice::Full] } else { Vec::new() };
        self.submit(id, Read { text: text.into_bytes(), notices, end, ..Read::default() }, end);
    }

    fn break_off(&mut self) {
        let Some(id) = self.anybody() else { return };
        let person = &self.people[&id];
        if person.socket.with(|state| state.is_outstanding || state.is_broken) || person.end != End::No {
            return;
        }
        person.socket.with(|state| state.is_broken = true);
        let is_told = self.random.has_luck(500);
        if is_told {
            self.submit(id, Read { is_broken: true, end: End::Closed, ..Read::default() }, End::Closed);
        } else {
            self.note(format!("the connection of #{} fails", id.0));
        }
    }

    fn change_limits(&mut self) {
        self.limits.min_rate =
            if self.plan.is_patience { self.limits.min_rate } else { self.random.pick(&[200, 1000, 20_000]) };
        self.limits.max_rooms = self.random.between(1, self.plan.rooms);
        self.limits.log_size = self.random.pick(&[4096, 8192, 65_536]);
        self.limits.memory = self.random.pick(&[self.limits.memory, 1 << 30]);
        self.note(format!("{:?}", self.limits));
        self.apply(Input::Limits(self.limits));
    }

    fn stall(&mut self) {
        let Some(id) = self.anybody() else { return };
        if self.people[&id].socket.with(|state| state.is_full) {
            self.note(format!("#{} has not read for long", id.0));
            self.apply(Input::Stalled(id));
        }
    }

    fn walk_away(&mut self) {
        let Some(id) = self.anybody() else { return };
        self.note(format!("#{} walks away", id.0));
        self.leave(id);
    }

    fn leave(&mut self, id: SessionId) {
        self.apply(Input::Leave(id));
        if let Some(person) = self.people.remove(&id) {
            self.heard += person.reader.heard;
            self.skipped += person.reader.skipped;
        }
    }

    fn fresh_hub(&mut self) -> Hub {
        let hub = Hub::new(self.limits, Box::new(self.engine.clone()), BEGAN);
        std::mem::replace(&mut self.hub, hub)
    }

    /// Another process goes on, with all that can be written down.
    fn hand_over(&mut self) {
        self.settle();
        let gone: Vec<SessionId> = self.people.keys().copied().filter(|_| self.random.has_luck(20)).collect();
        self.note(format!("a handover; {gone:?} are gone"));
        for id in self.hub.sessions().collect::<Vec<SessionId>>() {
            self.apply(Input::Frozen(id, Box::<Reading>::default()));
        }
        self.absorb();
        let (snapshot, sequencer) = self.fresh_hub().into_snapshot();
        for id in gone {
            self.people.remove(&id);
        }
        self.go_on_with(&snapshot, sequencer);
    }

    fn go_on_with(&mut self, snapshot: &HubSnapshot, sequencer: Box<dyn crate::chat::Sequencer>) {
        let mut bytes = Vec::new();
        ciborium::into_writer(snapshot, &mut bytes).unwrap();
        let read: HubSnapshot = ciborium::from_reader(&bytes[..]).unwrap();
        let mut again = Vec::new();
        ciborium::into_writer(&read, &mut again).unwrap();
        assert!(again == bytes, "what is written is read again");
        let people = &self.people;
        let sink_of = |id| people.get(&id).map(|person| Arc::clone(&person.socket) as Arc<dyn Sink>);
        let (hub, _) = Hub::restore(self.limits, sequencer, read, self.time(), sink_of).unwrap();
        self.hub = hub;
        self.begin_archive();
        self.hub.record(Box::new(self.noted.clone()));
        self.settle();
    }

    /// The process dies at once; the next one knows what was recorded.
    fn crash(&mut self) {
        self.absorb();
        self.note("a crash".to_owned());
        self.has_crashed = true;
        self.engine.crash();
        drop(self.fresh_hub());
        let noted = self.noted.0.lock().unwrap().clone();
        let mut snapshot = HubSnapshot::from_notes(noted.into_iter().collect());
        let is_noted = |name: &str| snapshot.rooms.iter().any(|room| room.name.as_str() == name);
        let (lengths, mut floor) = (self.order.lengths(), vec![0; ROOMS.len()]);
        for person in self.people.values() {
            let seqs = &person.reader.seqs;
            floor.iter_mut().zip(seqs).for_each(|(floor, seq)| *floor = (*floor).max(*seq));
        }
        for (room, floor) in floor.iter_mut().enumerate().filter(|(room, _)| !is_noted(ROOMS[*room])) {
            let _ = (room, std::mem::take(floor));
        }
        for person in self.people.values_mut() {
            let standing = person.socket.with(|state| Standing::decode(&state.standing, &state.ignored));
            let standing = standing.unwrap_or_else(|| Standing::plain(person.id));
            let mut told = Vec::new();
            if person.socket.is_torn() {
                told.push(b'\n');
            }
            if standing.view != View::Plain {
                standing.form().notice(&Notice::Crashed, &mut told);
            }
            person.crash(&standing, &lengths, &floor, self.order.room(standing.room.as_str()), self.step);
            let member = Some(MemberSnapshot::after_crash(standing, told));
            snapshot.sessions.push(SessionSnapshot { id: person.id, member, reading: Reading::default() });
        }
        self.go_on_with(&snapshot, Box::new(self.engine.clone()));
        let ended: Vec<SessionId> =
            self.people.values().filter(|person| person.end != End::No).map(|person| person.id).collect();
        for id in ended {
            let is_broken = self.people[&id].socket.with(|state| state.is_broken);
            self.submit(id, Read { end: End::Closed, is_broken, ..Read::default() }, End::Closed);
        }
        self.settle();
    }

    /// Everybody reads everything, until there is nothing more.
    fn read_all(&mut self) {
        let mut turn = 0;
        while turn < 100_000 {
            turn += 1;
            self.settle();
            self.release(64);
            let mut is_moving = self.hub.has_work() || self.engine.is_holding();
            let ids: Vec<SessionId> = self.people.keys().copied().collect();
            for id in ids {
                self.people.get_mut(&id).unwrap().pace = Pace::Fast;
                self.set_space(id, Pace::Fast, 1);
                is_moving |= self.people[&id].socket.with(|state| state.is_full);
                self.tell_writable(id);
            }
            if !is_moving && !self.hub.is_waiting() {
                return;
            }
            if !is_moving {
                // Whether somebody still has to read is looked at again with each tick.
                assert!(
                    turn < 99_000,
                    "it does not come to rest; behind are {:?}",
                    testing::behind(self.hub.dispatcher())
                );
                turn += 10_000;
                self.now += Duration::from_millis(250);
                self.tick();
            }
        }
        panic!("it does not come to rest; behind are {:?}", testing::behind(self.hub.dispatcher()));
    }

    /// At the end everybody reads, and nobody waits.
    fn rest(&mut self) {
        self.note("everybody reads".to_owned());
        self.read_all();
        let behind = testing::behind(self.hub.dispatcher());
        assert!(!self.hub.is_waiting(), "a room waits, and everybody has read; behind are {behind:?}");
        self.now += Duration::from_secs(3);
        self.tick();
        self.read_all();
        self.check_all(false);
    }

    fn check_all(&self, is_over: bool) {
        let all = Window { low: self.order.lengths(), high: Some(self.order.lengths()), input: 0 };
        for person in self.people.values() {
            let (is_outstanding, is_done, is_broken) =
                person.socket.with(|state| (state.is_outstanding, state.is_done, state.is_broken));
            assert!(!is_outstanding, "#{} waits", person.id.0);
            assert!(
                is_broken || is_done == (is_over || person.end != End::No),
                "#{} is done: {is_done}",
                person.id.0
            );
            if is_broken || person.end == End::SentAway {
                continue;
            }
            let window = person.ended.as_ref().filter(|_| person.end == End::Closed).unwrap_or(&all);
            person.reader.assert_complete(window, &self.order);
        }
    }

    /// The daemon stops.
    fn drain(&mut self) {
        self.note("a drain".to_owned());
        self.is_draining = true;
        self.settle();
        self.apply(Input::Drain);
        for _ in 0..10_000 {
            self.settle();
            let ids: Vec<SessionId> = self.people.keys().copied().collect();
            for id in ids {
                let person = &self.people[&id];
                if person.end == End::No && !person.socket.with(|state| state.is_outstanding) {
                    let mut text = String::new();
                    self.type_in(id, Typed::Lines { count: 1, filler: 5 }, &mut text);
                    let read = Read { text: text.into_bytes(), end: End::Stopped, ..Read::default() };
                    self.submit(id, read, End::Stopped);
                }
            }
            self.settle();
            if self.people.values().all(|person| person.end != End::No) {
                break;
            }
            // Some read; the others have their second.
            self.release(64);
            self.make_space();
            self.now += Duration::from_millis(250);
            self.tick();
        }
        self.read_all();
        self.check_all(true);
    }
}

impl Person {
    /// All that it has sent so far is taken in.
    fn acknowledged(&mut self, lengths: &[usize], order: &Order) {
        let input = self.input;
        if self.ended.is_none() {
            for text in self.unsaid.drain(..) {
                assert!(
                    order.find(&text).is_some(),
                    "#{} may go on, and this was not said: {text}",
                    self.id.0
                );
            }
        }
        let open = self.reader.moves.iter_mut().chain(&mut self.ended);
        for window in open.filter(|window| window.input <= input && window.high.is_none()) {
            if self.end == End::No || window.input < input {
                window.high = Some(lengths.to_vec());
            }
        }
    }

    /// The hub is gone.
    fn crash(&mut self, standing: &Standing, lengths: &[usize], floor: &[u64], room: usize, step: usize) {
        let is_named = standing.who.as_ref().is_some_and(|who| !who.name.is_guest());
        self.reader.crash(room, standing.view, standing.times, is_named, lengths[room]);
        let ignored: Vec<u64> = standing.ignored.iter().map(|id| id.0).collect();
        self.reader.ignores(&ignored, step);
        self.reader.floor = floor.to_vec();
        self.unsaid.clear();
        self.ended = None;
        self.socket.with(|state| {
            state.is_outstanding = false;
            state.is_done = false;
            state.is_full = false;
        });
    }
}
