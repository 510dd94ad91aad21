//! A house: a hub, and the people who are connected to it. A world has one, or one for each node.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::common::Common;
use super::given::{Given, Givens};
use super::order::Order;
use super::person::{Pace, Person};
use super::reader::Reader;
use super::socket::Socket;
use super::talk::{self, Typed};
use super::window::Window;
use crate::chat::testing::{self, Noted};
use crate::chat::{
    Arrival, End, Hub, HubSnapshot, Input, Limits, MemberSnapshot, Now, Read, Reading, Sequencer, SessionId,
    SessionSnapshot, Sink, Standing,
};
use crate::protocol::{Name, Notice, View};

/// Bytes by which the accounted memory may exceed `limits.memory`, for each log in use: the smallest ring, and the index
/// of what lies in it. What is owed to members alone comes on top: it is not given up.
const SLACK: usize = 96 * 1024;

pub const ROOMS: [&str; 4] = ["main", "ops", "dev", "attic"];

/// When every process begins.
pub const BEGAN: Timestamp = Timestamp::UNIX_EPOCH;

pub struct House {
    pub limits: Limits,
    pub hub: Hub,
    pub noted: Noted,
    pub people: BTreeMap<SessionId, Person>,
    pub order: Order,
    /// How many rooms people know of.
    pub rooms: usize,
    /// Reads as slowly as it can without being given up.
    pub is_patience: bool,
    /// By how much its wall clock is ahead.
    pub ahead: SignedDuration,
    given: Givens,
    /// Members may get a name back that they asked for, until all nodes know again who is here.
    is_unsettled: bool,
    /// What is certainly in the logs.
    pub appended: Vec<usize>,
    pub heard: usize,
    pub skipped: u64,
}

impl House {
    /// A house whose sequencer says what it has given.
    pub fn new(limits: Limits, rooms: usize, sequencer: Box<dyn Sequencer>, given: Givens) -> Self {
        let noted = Noted::default();
        let mut hub = Hub::new(limits, sequencer, BEGAN);
        hub.record(Box::new(noted.clone()));
        Self {
            limits,
            hub,
            noted,
            people: BTreeMap::new(),
            order: Order::new(&ROOMS),
            rooms,
            is_patience: false,
            ahead: SignedDuration::ZERO,
            given,
            is_unsettled: false,
            appended: vec![0; ROOMS.len()],
            heard: 0,
            skipped: 0,
        }
    }

    pub fn time(&self, common: &Common) -> Now {
        let since = common.now.saturating_duration_since(common.start);
        let wall = Timestamp::UNIX_EPOCH + SignedDuration::try_from(since).unwrap() + self.ahead;
        Now { instant: common.now, wall }
    }

    pub fn apply(&mut self, input: Input, common: &Common) {
        let now = self.time(common);
        self.hub.apply(input, now);
    }

    /// Goes on with all that can be gone on with, a little at a time, as the broker does.
    pub fn settle(&mut self, common: &mut Common) {
        let (now, mut turns) = (self.time(common), 0);
        while self.hub.has_work() {
            turns += 1;
            assert!(
                turns < 20_000,
                "the hub goes on for ever; behind are {:?}",
                testing::behind(self.hub.dispatcher())
            );
            let most = common.random.pick(&[1, 3, 1024]);
            self.hub.work(now, most);
            for room in self.hub.take_fresh() {
                let most = common.random.pick(&[1, 5, 128]);
                let mut next = Some((0, None));
                while let Some(at) = next {
                    next = self.hub.deliver(room, at, most, now);
                }
            }
        }
        self.absorb(common);
    }

    /// Returns whether all nodes know who is here.
    pub fn is_settled(&self) -> bool {
        let following = &self.hub.directory().following;
        following.is_live && following.awaited.is_none()
    }

    /// Looks at what has come of it: what was given back, taken in and sent.
    pub fn absorb(&mut self, common: &mut Common) {
        self.fetch_given(common);
        let lengths = self.order.lengths();
        if !self.hub.is_waiting() {
            self.appended.clone_from(&lengths);
        }
        let mut slow = Vec::new();
        for person in self.people.values_mut() {
            person.reader.may_have_back |= self.is_unsettled;
            let (taken, is_outstanding, is_slow) = person
                .socket
                .with(|state| (std::mem::take(&mut state.taken), state.is_outstanding, state.is_slow));
            if !taken.is_empty() {
                person.reader.read(&taken, &self.order, common.step);
                let is_torn = person.socket.is_torn();
                let is_inside = person.reader.is_inside_of_a_line();
                assert_eq!(is_torn, is_inside, "#{}: the mark is right", person.id.0);
                person
                    .reader
                    .privates
                    .drain(..)
                    .for_each(|private| common.read_private(person.id.0, &private));
            }
            if !is_outstanding {
                person.acknowledged(&lengths, &self.order);
            }
            slow.extend(is_slow.then_some(person.id));
        }
        self.is_unsettled &= !self.is_settled();
        for person in self.people.values_mut() {
            let is_owed = || self.hub.directory().member(person.id).is_some_and(|one| one.owed_bytes() > 0);
            person.reader.may_have_back &= self.is_unsettled || is_owed();
        }
        for id in slow {
            common.note(format!("#{} is closed for reading nothing", id.0));
            self.leave(id, common);
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

    pub fn anybody(&self, common: &mut Common) -> Option<SessionId> {
        let ids: Vec<SessionId> = self.people.keys().copied().collect();
        if ids.is_empty() { None } else { Some(common.random.pick(&ids)) }
    }

    fn pace(&self, common: &mut Common) -> Pace {
        if self.is_patience {
            let slow = Pace::Slow((self.limits.min_rate as usize / 400).max(1));
            return common.random.pick(&[Pace::Fast, Pace::Fast, Pace::Stuck, slow]);
        }
        let bytes = common.random.between(1, 700);
        common.random.pick(&[Pace::Fast, Pace::Slow(bytes), Pace::Slow(10 * bytes), Pace::Stuck])
    }

    pub fn join(&mut self, common: &mut Common) {
        let id = SessionId(common.next_session());
        let room = common.random.pick(&[None, None, Some(self.rooms - 1)]);
        let view = common.random.pick(&[View::Plain, View::Plain, View::Names, View::Json]);
        let verified = common.random.has_luck(60).then(|| common.random.pick(&["root", "zoe"]));
        let is_greeted = common.random.has_luck(300);
        let greeting = if is_greeted { b"-!- welcome\n-!- welcome home\n".to_vec() } else { Vec::new() };
        let pace = self.pace(common);
        let socket = Arc::new(Socket::default());
        // The kernel vouches for it, or a certificate.
        let is_unix = verified.is_some() && common.random.has_luck(500);
        socket.with(|state| state.is_unix = is_unix);
        socket.with(|state| state.space = if pace == Pace::Fast { usize::MAX } else { 0 });
        let mut names = HashSet::from([format!("guest{}", id.0)]);
        let node = self.hub.directory().node().filter(|_| is_unix);
        let shown = |name| node.map_or_else(|| String::from(name), |node| format!("{name}@{node}"));
        names.extend(verified.map(shown));
        common.names.insert(id.0, names);
        common.note(format!("#{} joins {room:?}, {view:?}, {verified:?} {is_unix}, {pace:?}", id.0));
        let arrival = Arrival {
            view,
            room: room.map(|room| Name::parse(ROOMS[room]).unwrap()),
            verified: verified.map(|name| Name::login(name).unwrap()),
            greeting,
            ..Arrival::default()
        };
        let place = room.unwrap_or(0);
        let low = self.appended[place];
        socket.with(|state| state.is_outstanding = true);
        let sink = Arc::clone(&socket) as Arc<dyn Sink>;
        self.apply(Input::Join { id, sink, arrival: Box::new(arrival) }, common);
        self.fetch_given(common);
        let high = self.order.units(place).len();
        let reader = Reader::new(id.0, place, view, verified.is_some(), (low, high), ROOMS.len());
        let (end, ended, called) = (End::No, None, None);
        let (input, unsaid, has_telnet) = (0, Vec::new(), false);
        let person = Person { id, socket, reader, pace, input, unsaid, end, ended, has_telnet, called };
        self.people.insert(id, person);
    }

    /// What was given back has its place in the order of its room.
    fn fetch_given(&mut self, common: &Common) {
        for given in self.given.take() {
            self.is_unsettled |= matches!(given, Given::Unsettled);
            self.order.add(given, common.step, |who| common.may_be_called(who));
        }
    }

    /// Somebody types something, if it may. `others` may be written to.
    pub fn talk(&mut self, others: &[u64], common: &mut Common) {
        let Some(id) = self.anybody(common) else { return };
        if !self.people[&id].may_type() {
            return;
        }
        let parts = common.random.pick(&[1, 1, 1, 2, 3]);
        let rooms = &ROOMS[..self.rooms];
        let mut text = String::new();
        let mut end = End::No;
        for _ in 0..parts {
            let (size, step) = (self.limits.log_size, common.step);
            let typed = talk::next(&mut common.random, id.0, others, rooms, size, step);
            let is_quit = matches!(typed, Typed::Quit);
            self.type_in(id, typed, &mut text, common);
            if is_quit {
                end = End::Closed;
                break;
            }
        }
        let is_telnet = common.random.has_luck(15) && !self.people[&id].has_telnet;
        self.submit(id, Read { text: text.into_bytes(), is_telnet, ..Read::default() }, end, common);
    }

    pub fn type_in(&mut self, id: SessionId, typed: Typed, out: &mut String, common: &mut Common) {
        let called = |other: u64| self.people.get(&SessionId(other)).and_then(|person| person.called.clone());
        let line = match typed {
            Typed::Lines { count, filler } => {
                let texts: Vec<String> = (0..count).map(|_| common.text(filler)).collect();
                let lines = texts.join("\n");
                self.people.get_mut(&id).unwrap().unsaid.extend(texts);
                lines
            }
            Typed::Slashes => {
                let text = format!("/{}", common.text(5));
                let line = format!("/{text}");
                self.people.get_mut(&id).unwrap().unsaid.push(text);
                line
            }
            Typed::Me => {
                let text = common.text(5);
                self.people.get_mut(&id).unwrap().unsaid.push(text.clone());
                format!("/me {text}")
            }
            Typed::Move(line) => {
                let low = self.appended.clone();
                let person = self.people.get_mut(&id).unwrap();
                let name = line.strip_prefix("/nick ").map(str::to_owned);
                if let Some(name) = &name {
                    common.names.get_mut(&id.0).unwrap().insert(name.to_owned());
                    person.reader.asked.insert(name.to_owned());
                    person.called = name.starts_with('u').then(|| name.to_owned());
                }
                let input = person.input + 1;
                person.reader.moves.push_back(Window { low, high: None, input, name });
                line
            }
            Typed::Msg(to) => format!("/msg {to} {}", common.private(id.0, &to)),
            Typed::Ignore(other) => {
                let name = called(other).unwrap_or(format!("guest{other}"));
                self.people.get_mut(&id).unwrap().reader.ignored.ask(other);
                format!("/ignore {name}")
            }
            Typed::Ask(line) => line,
            Typed::Quit => "/quit".to_owned(),
        };
        out.push_str(&line);
        out.push('\n');
    }

    pub fn submit(&mut self, id: SessionId, read: Read, end: End, common: &Common) {
        let shown: String = String::from_utf8_lossy(&read.text).chars().take(90).collect();
        let telnet = if read.is_telnet { " (telnet)" } else { "" };
        common.note(format!("#{} sends {} bytes{telnet}, {:?}: {shown:?}", id.0, read.text.len(), read.end));
        let low = self.appended.clone();
        let person = self.people.get_mut(&id).unwrap();
        person.input += 1;
        person.has_telnet |= read.is_telnet;
        person.reader.may_have_crlf |= read.is_telnet;
        if end != End::No {
            person.end = end;
            person.ended = Some(Window { low, high: None, input: person.input, name: None });
        } else {
            person.socket.with(|state| state.is_outstanding = true);
        }
        self.hub.traffic().begin_input(read.text.len());
        self.apply(Input::Read(id, Box::new(read)), common);
    }

    /// The sockets of some take more.
    pub fn make_space(&mut self, common: &mut Common) {
        let count = common.random.between(1, 4);
        for _ in 0..count {
            let Some(id) = self.anybody(common) else { return };
            if !self.is_patience {
                self.set_space(id);
            }
            self.tell_writable(id, common);
        }
    }

    pub fn set_space(&mut self, id: SessionId) {
        let person = &self.people[&id];
        person.socket.with(|state| match person.pace {
            Pace::Fast => state.space = usize::MAX,
            Pace::Slow(bytes) => state.space = bytes,
            Pace::Stuck => {}
        });
    }

    pub fn tell_writable(&mut self, id: SessionId, common: &Common) {
        let is_writable = self.people[&id].socket.with(|state| {
            let is_writable = state.is_full && state.space > 0;
            state.is_full &= !is_writable;
            is_writable
        });
        if is_writable {
            self.apply(Input::Writable(id), common);
        }
    }

    pub fn change_pace(&mut self, common: &mut Common) {
        let Some(id) = self.anybody(common) else { return };
        let pace = self.pace(common);
        common.note(format!("#{} reads {pace:?}", id.0));
        self.people.get_mut(&id).unwrap().pace = pace;
        if pace != Pace::Fast {
            self.people[&id].socket.with(|state| state.space = 0);
        }
        self.set_space(id);
        self.tell_writable(id, common);
    }

    pub fn tick(&mut self, common: &mut Common) {
        let now = self.time(common);
        self.hub.tick(now);
        self.settle(common);
    }

    pub fn end(&mut self, common: &mut Common) {
        let Some(id) = self.anybody(common) else { return };
        let person = &self.people[&id];
        let is_done = person.socket.with(|state| state.is_done);
        let is_broken = person.socket.with(|state| state.is_broken);
        if is_done && person.end != End::No {
            common.note(format!("#{} is done", id.0));
            self.settle(common);
            let Some(person) = self.people.get(&id) else { return };
            if let Some(window) = person.ended.as_ref().filter(|_| person.end == End::Closed && !is_broken) {
                person.reader.assert_complete(window, &self.order);
            }
            return self.leave(id, common);
        }
        if !person.may_type() {
            return;
        }
        let end = common.random.pick(&[End::Closed, End::Closed, End::SentAway]);
        let mut text = String::new();
        if common.random.has_luck(500) {
            self.type_in(id, Typed::Lines { count: 2, filler: 5 }, &mut text, common);
        }
        let notices = if end == End::SentAway { vec![Notice::Full] } else { Vec::new() };
        self.submit(id, Read { text: text.into_bytes(), notices, end, ..Read::default() }, end, common);
    }

    pub fn break_off(&mut self, common: &mut Common) {
        let Some(id) = self.anybody(common) else { return };
        let person = &self.people[&id];
        if !person.may_type() {
            return;
        }
        person.socket.with(|state| state.is_broken = true);
        if common.random.has_luck(500) {
            let read = Read { is_broken: true, end: End::Closed, ..Read::default() };
            self.submit(id, read, End::Closed, common);
        } else {
            common.note(format!("the connection of #{} fails", id.0));
        }
    }

    pub fn stall(&mut self, common: &mut Common) {
        let Some(id) = self.anybody(common) else { return };
        if self.people[&id].socket.with(|state| state.is_full) {
            common.note(format!("#{} has not read for long", id.0));
            self.apply(Input::Stalled(id), common);
        }
    }

    pub fn walk_away(&mut self, common: &mut Common) {
        let Some(id) = self.anybody(common) else { return };
        common.note(format!("#{} walks away", id.0));
        self.leave(id, common);
    }

    pub fn leave(&mut self, id: SessionId, common: &Common) {
        self.apply(Input::Leave(id), common);
        self.forget(id);
    }

    /// Somebody is not here any more.
    pub fn forget(&mut self, id: SessionId) {
        if let Some(person) = self.people.remove(&id) {
            self.heard += person.reader.heard;
            self.skipped += person.reader.skipped;
        }
    }

    /// Ends a hub in order: returns all that can be written down, and the sequencer. Some people are gone.
    pub fn stop_for_handover(&mut self, common: &mut Common) -> (HubSnapshot, Box<dyn Sequencer>) {
        self.settle(common);
        let ids: Vec<SessionId> = self.people.keys().copied().collect();
        let gone: Vec<SessionId> = ids.into_iter().filter(|_| common.random.has_luck(20)).collect();
        common.note(format!("a handover; {gone:?} are gone"));
        for id in self.hub.sessions().collect::<Vec<SessionId>>() {
            self.apply(Input::Frozen(id, Box::<Reading>::default()), common);
        }
        self.absorb(common);
        gone.into_iter().for_each(|id| self.forget(id));
        self.take_hub().into_snapshot()
    }

    /// Takes the hub, as if the process had ended.
    pub fn take_hub(&mut self) -> Hub {
        let hub = Hub::new(self.limits, Box::<crate::chat::Local>::default(), BEGAN);
        std::mem::replace(&mut self.hub, hub)
    }

    /// Another process goes on; `begin` is what it does first.
    pub fn go_on_with(
        &mut self,
        snapshot: &HubSnapshot,
        sequencer: Box<dyn Sequencer>,
        begin: impl FnOnce(&mut Hub),
        common: &mut Common,
    ) {
        let mut bytes = Vec::new();
        ciborium::into_writer(snapshot, &mut bytes).unwrap();
        let read: HubSnapshot = ciborium::from_reader(&bytes[..]).unwrap();
        let mut again = Vec::new();
        ciborium::into_writer(&read, &mut again).unwrap();
        assert!(again == bytes, "what is written is read again");
        let people = &self.people;
        // The next process says again who has been sent all.
        people.values().for_each(|person| person.socket.with(|state| state.is_done = false));
        let sink_of = |id| people.get(&id).map(|person| Arc::clone(&person.socket) as Arc<dyn Sink>);
        let now = self.time(common);
        let (hub, _) = Hub::restore(self.limits, sequencer, read, now, sink_of).unwrap();
        self.hub = hub;
        begin(&mut self.hub);
        self.hub.record(Box::new(self.noted.clone()));
        self.settle(common);
    }

    /// What the next process knows after a crash. The hub is gone.
    pub fn crash(&mut self, common: &Common) -> HubSnapshot {
        drop(self.take_hub());
        let mut snapshot = HubSnapshot::from_notes(self.noted.all());
        for room in &snapshot.rooms {
            room.cursor.into_iter().for_each(|cursor| self.order.rewind(room.name.as_str(), cursor));
        }
        let is_noted = |name: &str| snapshot.rooms.iter().any(|room| room.name.as_str() == name);
        let mut floor = vec![0; ROOMS.len()];
        for person in self.people.values() {
            let seqs = &person.reader.seqs;
            floor.iter_mut().zip(seqs).for_each(|(floor, seq)| *floor = (*floor).max(*seq));
        }
        for (_, floor) in floor.iter_mut().enumerate().filter(|(room, _)| !is_noted(ROOMS[*room])) {
            *floor = 0;
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
            person.crash(&standing, &self.order, &floor, common.step);
            let member = Some(MemberSnapshot::after_crash(standing, told));
            snapshot.sessions.push(SessionSnapshot { id: person.id, member, reading: Reading::default() });
        }
        snapshot
    }

    /// Those whose input had ended before a crash end again.
    pub fn end_again(&mut self, common: &mut Common) {
        let ended: Vec<SessionId> =
            self.people.values().filter(|person| person.end != End::No).map(|person| person.id).collect();
        for id in ended {
            let is_broken = self.people[&id].socket.with(|state| state.is_broken);
            let read = Read { end: End::Closed, is_broken, ..Read::default() };
            self.submit(id, read, End::Closed, common);
        }
        self.settle(common);
    }

    /// Everybody reads as fast as it can; returns whether somebody was behind.
    pub fn read_on(&mut self, common: &Common) -> bool {
        let mut is_moving = self.hub.has_work();
        let ids: Vec<SessionId> = self.people.keys().copied().collect();
        for id in ids {
            self.people.get_mut(&id).unwrap().pace = Pace::Fast;
            self.set_space(id);
            is_moving |= self.people[&id].socket.with(|state| state.is_full);
            self.tell_writable(id, common);
        }
        is_moving
    }

    /// Time goes on until something is due.
    pub fn wait_for_tick(&mut self, common: &mut Common, time: Duration, is_busy: bool) {
        let end = common.now + time;
        while let Some(tick) = self.hub.next_tick().filter(|tick| *tick <= end && !is_busy) {
            common.now = common.now.max(tick);
            self.tick(common);
        }
        common.now = end;
        self.tick(common);
    }

    /// Nobody waits, and everybody has been sent all there is.
    pub fn check_all(&self, is_over: bool) {
        let all =
            Window { low: self.order.lengths(), high: Some(self.order.lengths()), input: 0, name: None };
        for person in self.people.values() {
            let (is_outstanding, is_done, is_broken) =
                person.socket.with(|state| (state.is_outstanding, state.is_done, state.is_broken));
            assert!(!is_outstanding, "#{} waits", person.id.0);
            let is_to_be_done = is_over || person.end != End::No;
            assert!(is_broken || is_done == is_to_be_done, "#{} is done: {is_done}", person.id.0);
            if is_broken || person.end == End::SentAway {
                continue;
            }
            let window = person.ended.as_ref().filter(|_| person.end == End::Closed).unwrap_or(&all);
            person.reader.assert_complete(window, &self.order);
        }
    }
}
