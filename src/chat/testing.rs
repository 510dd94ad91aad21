//! A house for the tests of this floor: sessions whose sockets take as much as they are told to, and a clock that
//! stands until it is told to go on.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{
    Arrival, Delivery, Effects, House, Input, KeptHouse, Limits, Member, Now, Outlet, Reader, SessionId,
};
use crate::protocol::command::{self, Line};

/// Bytes in each log.
pub const CAPACITY: usize = 4096;

/// `min_rate`, in bytes a second.
pub const RATE: u64 = 1000;

/// A house and its clock.
pub struct TestHouse {
    pub house: House,
    pub now: Instant,
    pub effects: Effects,
    next: u64,
}

/// A session.
pub struct Person {
    pub reader: Reader,
    pub socket: Arc<Socket>,
}

/// Takes a set number of bytes, as a socket does whose other side does not read.
#[derive(Debug, Default)]
pub struct Socket {
    room: AtomicUsize,
    taken: Mutex<Vec<u8>>,
}

impl Outlet for Socket {
    fn send(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        let before = self.room.load(Ordering::Relaxed);
        let sent: Vec<u8> = bytes.take(before).collect();
        self.room.store(before - sent.len(), Ordering::Relaxed);
        self.taken.lock().unwrap().extend(&sent);
        if sent.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(sent.len()) }
    }
}

impl Person {
    pub fn id(&self) -> SessionId {
        self.reader.id()
    }

    pub fn is_outstanding(&self) -> bool {
        self.reader.member().is_outstanding()
    }

    /// Reads up to `most` bytes.
    pub fn read(&mut self, most: usize) -> Delivery {
        self.socket.room.store(most, Ordering::Relaxed);
        self.reader.deliver().unwrap()
    }

    pub fn heard(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.socket.taken.lock().unwrap())).unwrap()
    }

    pub fn read_all(&mut self) -> String {
        while self.read(usize::MAX) == Delivery::More {}
        self.heard()
    }
}

impl Default for TestHouse {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl TestHouse {
    pub fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits { log_size: CAPACITY, history: 100, max_rooms: 3, min_rate: RATE };
        change(&mut limits);
        Self { house: House::new(limits), now: Instant::now(), effects: Effects::default(), next: 1 }
    }

    pub fn time(&self) -> Now {
        Now { instant: self.now, wall: Timestamp::UNIX_EPOCH }
    }

    pub fn apply(&mut self, input: Input) {
        let now = self.time();
        self.house.apply(input, now, &mut self.effects);
    }

    pub fn join(&mut self) -> Person {
        self.arrive(Arrival::default())
    }

    pub fn arrive(&mut self, arrival: Arrival) -> Person {
        let socket = Arc::new(Socket::default());
        let outlet = Arc::clone(&socket) as Arc<dyn Outlet>;
        let member = Arc::new(Member::new(SessionId(self.next), outlet, self.house.entrance()));
        self.next += 1;
        self.apply(Input::Join { member: Arc::clone(&member), arrival });
        Person { reader: Reader::new(member), socket }
    }

    /// Somebody who is called that, and has read all there was to read about it.
    pub fn join_as(&mut self, name: &str) -> Person {
        let mut person = self.join();
        self.ask(&mut person, &format!("/nick {name}"));
        person.read_all();
        person
    }

    pub fn say(&mut self, person: &mut Person, text: &str) {
        let lines = text.matches('\n').count() as u32;
        person.reader.member().begin_input();
        person.reader.traffic().begin_input(text.len());
        self.apply(Input::Say { from: person.id(), text: text.as_bytes().to_vec(), lines });
        // As its session would, woken by the acknowledgement: it goes past what it said itself.
        person.read(0);
    }

    /// Sends what is new to all who had been sent everything before, as the broker does.
    pub fn deliver(&mut self) {
        while let Some(room) = self.house.take_fresh() {
            let mut next = self.house.deliver(room, (0, None), usize::MAX);
            while let Some(after) = next {
                next = self.house.deliver(room, after, usize::MAX);
            }
        }
    }

    /// Has somebody type a command.
    pub fn ask(&mut self, person: &mut Person, line: &str) {
        let Line::Command(command) = command::read(line.as_bytes()) else { panic!("{line} is no command") };
        person.reader.member().begin_input();
        self.apply(Input::Ask { from: person.id(), command });
    }

    /// Has somebody type a command, and says what that hears then.
    pub fn answer(&mut self, person: &mut Person, line: &str) -> String {
        person.read_all();
        self.ask(person, line);
        person.read_all()
    }

    pub fn leave(&mut self, mut person: Person) {
        person.reader.release();
        self.apply(Input::Leave(person.id()));
    }

    /// Goes on in another process: with what can be written down, and nothing else.
    pub fn move_on(&mut self, people: &mut [Person]) {
        let sockets: HashMap<_, _> =
            people.iter().map(|person| (person.id(), Arc::clone(&person.socket))).collect();
        self.move_on_with(|id| sockets.get(&id).map(|socket| Arc::clone(socket) as Arc<dyn Outlet>));
        people.iter_mut().for_each(|person| person.reader = Reader::new(self.member(person.id())));
    }

    /// As [`TestHouse::move_on`], with the sockets that `outlet_of` has.
    pub fn move_on_with(&mut self, outlet_of: impl FnMut(SessionId) -> Option<Arc<dyn Outlet>>) {
        let mut bytes = Vec::new();
        ciborium::into_writer(&self.house.keep(), &mut bytes).unwrap();
        let kept: KeptHouse = ciborium::from_reader(&bytes[..]).unwrap();
        assert_eq!(kept, self.house.keep());
        self.house = House::put_back(self.house.limits, kept, self.time(), outlet_of).unwrap();
    }

    /// The membership of somebody who is there.
    pub fn member(&self, id: SessionId) -> Arc<Member> {
        self.house.members().find(|member| member.id() == id).cloned().unwrap()
    }

    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(tick) = self.house.next_tick().filter(|tick| *tick <= end) {
            self.now = tick.max(self.now);
            self.tick();
        }
        self.now = end;
    }

    /// As the broker does when the last of those it waits for has read.
    pub fn notice_space(&mut self) {
        if self.house.has_space(Waker::noop()) {
            self.tick();
        }
    }

    fn tick(&mut self) {
        let now = self.time();
        self.house.tick(now, &mut self.effects);
    }
}

/// Numbered lines.
pub fn lines(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("line {number:010}\n")).collect()
}
