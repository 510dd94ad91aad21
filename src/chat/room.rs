//! A room: who hears whom, in which order, and who may hold the others up.
//!
//! [`Room::apply`] takes an input and the time and is over at once; what has to be done about it comes
//! out as [`Effects`]. Appending is never refused: where it would overwrite lines that a member has
//! still to get, the input waits in the room, and with it the session that sent it, until the members
//! have read, or until those who do not read have lost the right to be waited for. The room never
//! performs I/O, never looks at a clock, and never waits itself.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use futures::channel::oneshot;

use super::Position;
use super::log::Log;
use super::member::{Member, SessionId};
use super::reader::{Delivery, News, deliver};
use super::room_log::RoomLog;

/// How often a room that waits looks whether those it waits for read.
pub const TICK: Duration = Duration::from_millis(250);

/// How long a member may take nothing, of the time that the room waits for it, before it is no longer
/// waited for. Also the most that it can save up by reading faster.
const PATIENCE: Duration = Duration::from_secs(1);

/// A member that was given up on is waited for again when it has read at `min_rate` for this long, on
/// top of what it loses meanwhile; or when it has caught up.
const PROBATION: Duration = Duration::from_secs(4);

/// What comes into a room.
#[derive(Debug)]
pub enum Input {
    /// A session comes in. It hears what is said from now on.
    Join(Arc<Member>),
    /// A member says whole lines: `text` is clean, and each of its `lines` lines ends with LF.
    Say {
        /// Who says it.
        from: SessionId,
        /// What is said.
        text: Vec<u8>,
        /// How many lines that is.
        lines: u32,
    },
    /// A member will say nothing more; its reading ends with what has been said so far.
    End(SessionId),
    /// A session is gone.
    Leave(SessionId),
    /// Somebody wants to know whether the broker still works: answered at once, whatever waits.
    Probe(oneshot::Sender<()>),
}

/// What has to be done after inputs have been applied.
#[derive(Debug, Default)]
pub struct Effects {
    /// Whose inputs have been taken in, or whose situation has changed: wake them.
    pub wake: Vec<Arc<Member>>,
    /// There is something new in the log: see [`Room::deliver`].
    pub appended: bool,
}

/// A member as the room sees it.
#[derive(Debug)]
struct Seat {
    member: Arc<Member>,
    /// The room waits for it.
    holds: bool,
    /// Bytes that it may still fall short of `min_rate` before it is given up on; while it is given up
    /// on, bytes that it has shown to read beyond it.
    credit: u64,
    /// Its cursor when this was last looked at.
    mark: Position,
    /// The room has waited for it since this was last looked at.
    was_awaited: bool,
}

/// The state of a room.
#[derive(Debug)]
pub struct Room {
    shared: Arc<RoomLog>,
    seats: BTreeMap<SessionId, Seat>,
    waiting: VecDeque<Input>,
    /// No member that is waited for stands before this.
    low: Position,
    /// Members that are not waited for.
    given_up: usize,
    /// When credit was last reckoned, while there is a reason to.
    reckoned: Option<Instant>,
}

impl Room {
    /// An empty room whose log keeps `capacity` bytes and which waits for members that read at least
    /// `min_rate` bytes a second.
    pub fn new(capacity: usize, min_rate: u64) -> Self {
        let shared = RoomLog::new(capacity, min_rate);
        let (seats, waiting) = (BTreeMap::new(), VecDeque::new());
        Self { shared, seats, waiting, low: 0, given_up: 0, reckoned: None }
    }

    /// What readers of this room need.
    pub fn log(&self) -> &Arc<RoomLog> {
        &self.shared
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.seats.len()
    }

    /// Says whether inputs wait for members to read.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`Room::tick`] wants to be called.
    pub fn next_tick(&self) -> Option<Instant> {
        self.reckoned.map(|last| last + TICK)
    }

    /// Takes in one input at the time `now`.
    pub fn apply(&mut self, input: Input, now: Instant, effects: &mut Effects) {
        match input {
            Input::Join(member) => self.join(member, effects),
            Input::Say { from, text, lines } => self.say(from, text, lines, now, effects),
            Input::End(id) => self.end(id, effects),
            Input::Leave(id) => self.leave(id, now, effects),
            // Whoever asked may have stopped waiting.
            Input::Probe(answer_tx) => drop(answer_tx.send(())),
        }
    }

    /// Looks after those who do not read and takes in what waits, as far as there is room now; to be
    /// called at [`Room::next_tick`] and when [`Room::has_space`].
    pub fn tick(&mut self, now: Instant, effects: &mut Effects) {
        self.reckon(now);
        self.resume(now, effects);
    }

    fn resume(&mut self, now: Instant, effects: &mut Effects) {
        while let Some(Input::Say { from, text, lines }) = self.waiting.pop_front() {
            if !self.try_append(from, &text, lines, effects) {
                self.waiting.push_front(Input::Say { from, text, lines });
                return self.wait(now);
            }
        }
        self.shared.end_waiting();
        if self.given_up == 0 {
            self.reckoned = None;
        }
    }

    /// Says whether all have read what the room waited for; otherwise `waker` will be woken.
    pub fn has_space(&self, waker: &Waker) -> bool {
        self.shared.have_all_read(waker) && self.is_waiting()
    }

    /// Sends what is new to up to `most` of those who had been sent everything before, beginning behind
    /// `after`. Whoever cannot take all of it at once is woken to see to the rest. Returns behind whom to
    /// go on, if there are more.
    pub fn deliver(&self, after: Option<SessionId>, most: usize) -> Option<SessionId> {
        let log = self.shared.read();
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let seats = self.seats.range((begin, Bound::Unbounded)).take(most);
        let mut last = None;
        let mut news = None;
        let mut turns = Vec::with_capacity(most.min(self.seats.len()));
        for (count, (id, seat)) in seats.enumerate() {
            last = (count + 1 == most).then_some(*id);
            let member = &*seat.member;
            if !member.is_asleep() {
                continue;
            }
            let news = news.get_or_insert_with(|| News::since(&log, member.cursor()));
            if let Some(turn) = news.as_ref().and_then(|news| news.for_member(member)) {
                turns.push(turn);
            } else if !matches!(deliver(&self.shared, &log, member), Ok(Delivery::Complete)) {
                member.set_asleep(false);
                member.wake();
            }
        }
        if let Some(Some(news)) = news {
            news.deliver(&self.shared, turns);
        }
        last
    }

    fn join(&mut self, member: Arc<Member>, effects: &mut Effects) {
        let head = self.shared.read().head();
        member.set_cursor(head);
        member.acknowledge();
        let credit = self.patience();
        let seat = Seat { member: Arc::clone(&member), holds: true, credit, mark: head, was_awaited: false };
        self.seats.insert(member.id(), seat);
        effects.wake.push(member);
    }

    fn say(&mut self, from: SessionId, text: Vec<u8>, lines: u32, now: Instant, effects: &mut Effects) {
        if self.is_waiting() {
            self.waiting.push_back(Input::Say { from, text, lines });
        } else if !self.try_append(from, &text, lines, effects) {
            self.waiting.push_back(Input::Say { from, text, lines });
            self.wait(now);
        }
    }

    fn end(&mut self, id: SessionId, effects: &mut Effects) {
        if let Some(seat) = self.seats.get(&id) {
            seat.member.set_end(self.shared.read().head());
            seat.member.acknowledge();
            effects.wake.push(Arc::clone(&seat.member));
        }
    }

    fn leave(&mut self, id: SessionId, now: Instant, effects: &mut Effects) {
        if let Some(seat) = self.seats.remove(&id) {
            self.given_up -= usize::from(!seat.holds);
            if self.is_waiting() {
                self.tick(now, effects);
            }
        }
    }

    /// Appends, unless that would overwrite what somebody whom the room waits for has still to get.
    fn try_append(&mut self, from: SessionId, text: &[u8], lines: u32, effects: &mut Effects) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut log = shared.write();
        let tail = log.tail_after(text.len());
        if self.low < tail {
            self.low = self.lowest().map_or(log.head(), |lowest| lowest.min(log.head()));
            if self.low < tail {
                return false;
            }
        }
        if self.given_up > 0 {
            self.note_skipped(&log, tail);
        }
        log.make_room(text.len(), |stretch, lines| {
            let missed = |seat: &&Seat| !seat.holds && seat.member.cursor() <= stretch.start;
            if let Some(seat) = self.seats.get(&stretch.from).filter(missed) {
                seat.member.note_skipped(lines, || (Vec::new(), stretch.first_line));
            }
        });
        log.append(from, text, u64::from(lines));
        if let Some(seat) = self.seats.get(&from) {
            seat.member.set_own_end(log.head());
            seat.member.acknowledge();
            effects.wake.push(Arc::clone(&seat.member));
        }
        shared.end_input(text.len());
        effects.appended = true;
        true
    }

    /// The members that the log is about to move on over: note from where.
    fn note_skipped(&self, log: &Log, tail: Position) {
        for seat in self.seats.values().filter(|seat| !seat.holds) {
            let cursor = seat.member.cursor();
            if cursor >= log.tail() && cursor < tail {
                seat.member.note_skipped(0, || (log.rest_of_line(cursor), log.line_at(cursor)));
            }
        }
    }

    fn lowest(&self) -> Option<Position> {
        self.seats.values().filter(|seat| seat.holds).map(|seat| seat.member.cursor()).min()
    }

    /// Notes for whom the first of the waiting inputs has to wait.
    fn wait(&mut self, now: Instant) {
        let Some(Input::Say { text, .. }) = self.waiting.front() else { return };
        let shared = Arc::clone(&self.shared);
        let log = shared.write();
        let wanted = log.tail_after(text.len());
        let full = self.patience();
        let mut awaited = 0;
        for seat in self.seats.values_mut().filter(|seat| seat.holds) {
            let cursor = seat.member.cursor();
            seat.member.set_awaited(cursor < wanted);
            if cursor < wanted {
                awaited += 1;
                seat.was_awaited = true;
                seat.credit = full.min(seat.credit + cursor.saturating_sub(seat.mark));
                seat.mark = cursor;
            }
        }
        shared.await_cursors(wanted, awaited);
        self.reckoned.get_or_insert(now);
    }

    /// Reckons who has read how much since the last time, and gives up on those without credit.
    fn reckon(&mut self, now: Instant) {
        let Some(last) = self.reckoned.replace(now) else { return };
        // A tick that comes late says that chatd did not run, not that the members did not read.
        let elapsed = now.saturating_duration_since(last).min(2 * TICK);
        let due = bytes_in(elapsed, self.shared.min_rate());
        let (patience, probation) = (self.patience(), bytes_in(PROBATION, self.shared.min_rate()));
        let shared = Arc::clone(&self.shared);
        let log = shared.write();
        for seat in self.seats.values_mut().filter(|seat| !seat.holds || seat.was_awaited) {
            let cursor = seat.member.cursor();
            let taken = cursor.saturating_sub(seat.mark);
            seat.mark = cursor;
            let limit = if seat.holds { patience } else { probation.saturating_add(due) };
            seat.credit = limit.min(seat.credit.saturating_add(taken)).saturating_sub(due);
            let all_read = cursor >= log.head();
            let awaited = seat.member.is_awaited();
            if seat.holds && awaited && seat.credit == 0 {
                seat.holds = false;
                self.given_up += 1;
                seat.member.set_awaited(false);
                shared.give_up_one();
            } else if !seat.holds && (all_read || seat.credit >= probation) {
                seat.holds = true;
                self.given_up -= 1;
                self.low = 0;
            }
            if seat.holds && (all_read || !seat.was_awaited) {
                seat.credit = patience;
            }
            seat.was_awaited = seat.holds && awaited;
            seat.member.retry();
        }
    }

    fn patience(&self) -> u64 {
        bytes_in(PATIENCE, self.shared.min_rate())
    }
}

/// How many bytes that is at `rate` bytes a second; at least one, so that no rate is ever "nothing".
fn bytes_in(time: Duration, rate: u64) -> u64 {
    (time.as_micros() as u64).saturating_mul(rate).div_ceil(1_000_000).max(1)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::chat::Outlet;
    use crate::chat::{Delivery, Reader};

    const CAPACITY: usize = 4096;
    const RATE: u64 = 1000;

    /// A room, its members' readers, and a clock that stands until it is told to go on.
    struct Scene {
        room: Room,
        now: Instant,
        effects: Effects,
    }

    struct Person {
        reader: Reader,
        socket: Arc<Socket>,
    }

    /// Takes a set number of bytes, as a socket does whose other side does not read.
    #[derive(Debug, Default)]
    struct Socket {
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
        /// Reads up to `most` bytes.
        fn read(&mut self, most: usize) -> Delivery {
            self.socket.room.store(most, Ordering::Relaxed);
            self.reader.deliver().unwrap()
        }

        fn heard(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.socket.taken.lock().unwrap())).unwrap()
        }

        fn read_all(&mut self) -> String {
            while self.read(usize::MAX) == Delivery::More {}
            self.heard()
        }
    }

    impl Scene {
        fn new() -> Self {
            Self { room: Room::new(CAPACITY, RATE), now: Instant::now(), effects: Effects::default() }
        }

        fn join(&mut self, number: u64) -> Person {
            let socket = Arc::new(Socket::default());
            let member = Arc::new(Member::new(SessionId(number), Arc::clone(&socket) as Arc<dyn Outlet>));
            self.room.apply(Input::Join(Arc::clone(&member)), self.now, &mut self.effects);
            let mut reader = Reader::new(Arc::clone(self.room.log()), member);
            reader.joined();
            Person { reader, socket }
        }

        fn say(&mut self, person: &mut Person, text: &str) {
            let lines = text.matches('\n').count() as u32;
            person.reader.member().begin_input();
            self.room.log().begin_input(text.len());
            let input = Input::Say { from: person.reader.id(), text: text.as_bytes().to_vec(), lines };
            self.room.apply(input, self.now, &mut self.effects);
            // As its session would, woken by the acknowledgement: it goes past what it said itself.
            person.read(0);
        }

        fn wait(&mut self, time: Duration) {
            let end = self.now + time;
            while let Some(tick) = self.room.next_tick().filter(|tick| *tick <= end) {
                self.now = tick.max(self.now);
                self.room.tick(self.now, &mut self.effects);
            }
            self.now = end;
        }

        /// As the broker does when the last of those it waits for has read.
        fn notice_space(&mut self) {
            if self.room.has_space(Waker::noop()) {
                self.room.tick(self.now, &mut self.effects);
            }
        }
    }

    fn lines(from: usize, to: usize) -> String {
        (from..to).map(|number| format!("line {number:010}\n")).collect()
    }

    #[test]
    fn members_hear_others_in_one_order_and_themselves_not() {
        let mut scene = Scene::new();
        let (mut ann, mut ben) = (scene.join(1), scene.join(2));
        scene.say(&mut ann, "a\n");
        let mut eve = scene.join(3);
        scene.say(&mut ben, "b\n");
        scene.say(&mut ann, "c\n");
        assert_eq!(ann.read_all(), "b\n");
        assert_eq!(ben.read_all(), "a\nc\n");
        assert_eq!(eve.read_all(), "b\nc\n", "from when it joined");
    }

    #[test]
    fn a_sender_waits_for_a_member_that_has_still_to_read_and_goes_on_when_it_has() {
        let mut scene = Scene::new();
        let (mut ann, mut ben) = (scene.join(1), scene.join(2));
        scene.say(&mut ann, &lines(0, 250));
        assert!(!ann.reader.member().is_outstanding());
        scene.say(&mut ann, &lines(250, 260));
        assert!(ann.reader.member().is_outstanding() && scene.room.is_waiting());
        let mut heard = String::new();
        for _ in 0..3 {
            ben.read(2000);
            scene.notice_space();
        }
        assert!(!ann.reader.member().is_outstanding() && !scene.room.is_waiting());
        heard.push_str(&ben.read_all());
        assert_eq!(heard, lines(0, 260));
    }

    #[test]
    fn a_member_that_does_not_read_is_waited_for_one_second_and_told_how_much_it_missed() {
        let mut scene = Scene::new();
        let (mut ann, mut ben, mut eve) = (scene.join(1), scene.join(2), scene.join(3));
        scene.say(&mut ann, &lines(0, 250));
        ben.read(7);
        scene.say(&mut eve, &lines(250, 300));
        eve.read_all();
        scene.wait(Duration::from_millis(999));
        assert!(scene.room.is_waiting(), "it has a second");
        scene.wait(Duration::from_millis(2));
        assert!(!scene.room.is_waiting());
        let mut others = ann.read_all() + &eve.read_all();
        scene.say(&mut ben, &lines(1000, 1100));
        others = others + &ann.read_all() + &eve.read_all();
        scene.say(&mut ann, &lines(300, 500));
        assert!(!scene.room.is_waiting(), "the log moves on");
        others += &eve.read_all();
        assert_eq!(others, lines(250, 300) + &lines(1000, 1100).repeat(2) + &lines(300, 500));
        let heard = ben.read_all();
        let kept = heard.rsplit_once("not reading)\n").unwrap().1.lines().count();
        let missed = 500 - 1 - kept;
        assert_eq!(
            heard,
            format!(
                "{}-!- {missed} lines skipped (you were not reading)\n{}",
                lines(0, 1),
                lines(500 - kept, 500)
            )
        );
    }

    #[test]
    fn a_byte_now_and_then_does_not_hold_the_room() {
        let mut scene = Scene::new();
        let (mut ann, mut ben) = (scene.join(1), scene.join(2));
        scene.say(&mut ann, &lines(0, 250));
        scene.say(&mut ann, &lines(250, 251));
        let mut waited = Duration::ZERO;
        let mut said = 251;
        while said < 400 && waited < Duration::from_secs(20) {
            ben.read(20);
            scene.notice_space();
            if scene.room.is_waiting() {
                scene.wait(Duration::from_millis(100));
                waited += Duration::from_millis(100);
            } else {
                scene.say(&mut ann, &lines(said, said + 1));
                said += 1;
            }
        }
        // 20 bytes each 100 ms are 200 a second, where 1,000 are asked for.
        assert!(waited <= Duration::from_millis(1500), "it held the room for {waited:?}");
        assert_eq!(said, 400);
    }

    #[test]
    fn a_member_that_reads_at_the_rate_loses_nothing_however_long_it_takes() {
        let mut scene = Scene::new();
        let (mut ann, mut ben) = (scene.join(1), scene.join(2));
        let mut said = 0;
        for _ in 0..1000 {
            while !ann.reader.member().is_outstanding() {
                scene.say(&mut ann, &lines(said, said + 40));
                said += 40;
            }
            scene.wait(Duration::from_millis(100));
            ben.read(RATE as usize / 10 + 1);
            scene.notice_space();
        }
        while ann.reader.member().is_outstanding() {
            ben.read(1000);
            scene.notice_space();
        }
        assert_eq!(ben.read_all(), lines(0, said));
        assert!(said > 5000, "{said}");
    }

    #[test]
    fn a_member_that_was_given_up_on_is_waited_for_again_when_it_has_caught_up() {
        let mut scene = Scene::new();
        let (mut ann, mut ben) = (scene.join(1), scene.join(2));
        scene.say(&mut ann, &lines(0, 250));
        scene.say(&mut ann, &lines(250, 300));
        scene.wait(Duration::from_secs(2));
        assert!(!scene.room.is_waiting());
        ann.read_all();
        ben.read_all();
        scene.wait(TICK);
        scene.say(&mut ann, &lines(300, 550));
        scene.say(&mut ann, &lines(550, 600));
        assert!(scene.room.is_waiting(), "it is waited for again");
        scene.notice_space();
        assert_eq!(ben.read_all(), lines(300, 550));
        scene.notice_space();
        assert_eq!(ben.read_all(), lines(550, 600));
    }

    #[test]
    fn a_member_that_leaves_holds_nobody_up() {
        let mut scene = Scene::new();
        let (mut ann, mut ben) = (scene.join(1), scene.join(2));
        scene.say(&mut ann, &lines(0, 250));
        scene.say(&mut ann, &lines(250, 300));
        assert!(scene.room.is_waiting());
        ben.reader.release();
        scene.notice_space();
        assert!(!scene.room.is_waiting());
        let ben = ben.reader.id();
        scene.room.apply(Input::Leave(ben), scene.now, &mut scene.effects);
        let mut eve = scene.join(3);
        scene.say(&mut ann, "hello\n");
        assert_eq!(eve.read_all(), "hello\n");
    }

    #[test]
    fn reading_ends_where_the_member_ended() {
        let mut scene = Scene::new();
        let (mut ann, mut ben) = (scene.join(1), scene.join(2));
        scene.say(&mut ann, "before\n");
        let id = ben.reader.id();
        scene.room.apply(Input::End(id), scene.now, &mut scene.effects);
        scene.say(&mut ann, "after\n");
        assert_eq!(ben.read(usize::MAX), Delivery::Ended);
        assert_eq!(ben.heard(), "before\n");
    }

    #[test]
    fn a_notice_never_tears_a_line() {
        let mut scene = Scene::new();
        let (mut ann, mut ben) = (scene.join(1), scene.join(2));
        scene.say(&mut ann, "one line\nanother\n");
        ben.read(3);
        ben.reader.owe(b"-!- notice\n");
        ben.reader.owe(b"-!- second\n");
        ben.read(9);
        ben.reader.owe(b"-!- third\n");
        assert_eq!(ben.read_all(), "one line\n-!- notice\n-!- second\n-!- third\nanother\n");
    }

    #[test]
    fn the_room_sends_to_those_who_had_everything_and_wakes_those_who_cannot_take_it() {
        let mut scene = Scene::new();
        let mut ann = scene.join(1);
        let mut others: Vec<Person> = (2..8).map(|number| scene.join(number)).collect();
        others.iter_mut().for_each(|person| drop(person.read_all()));
        others[2].read(3);
        scene.say(&mut ann, "hello\n");
        assert_eq!(scene.room.deliver(None, 4), Some(SessionId(4)), "four at a time");
        assert_eq!(scene.room.deliver(Some(SessionId(4)), 4), None);
        let heard: Vec<String> = others.iter().map(Person::heard).collect();
        assert_eq!(heard, ["hello\n", "hello\n", "hel", "hello\n", "hello\n", "hello\n"]);
        assert!(!others[2].reader.member().is_asleep(), "its session sees to the rest");
        assert_eq!(others[2].read_all(), "lo\n");
    }
}
