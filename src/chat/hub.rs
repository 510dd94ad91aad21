//! The hub: the rooms, the members and the names together. It is the only writer of all of them.
//!
//! [`Hub::apply`] takes an input and the time, and never waits. The hub takes what a session has sent piece by piece,
//! lines and commands in their order. A piece that has to wait, for its place in a room or for its sender to read,
//! waits in the member as pending, and [`Hub::work`] goes on with it. The dispatcher sends what is new.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use jiff::Timestamp;

use super::archive::{Archive, Archiving};
use super::archiving;
use super::arrival;
use super::damaged::Damaged;
use super::delivery::Delivered;
#[cfg(test)]
use super::directory::Directory;
use super::dispatcher::Dispatcher;
use super::host::Host;
use super::id::{Now, Position, RoomId, SessionId};
use super::input::{Input, Read};
use super::limits::Limits;
use super::member::Life;
#[cfg(test)]
use super::member::Member;
use super::noted::Notes;
use super::opening;
use super::pending::{End, Pending, Wait};
use super::reading::Reading;
use super::recall::Recalled;
use super::room::Room;
use super::sequencer::Sequencer;
use super::sink::{Signal, Sink};
use super::snapshot::{self, HubSnapshot};
use super::traffic::Traffic;
use super::turn::{self, Step};
use crate::protocol::{Notice, Reason, View};

/// The rooms, the members and the names.
#[derive(Debug)]
pub struct Hub {
    dispatcher: Dispatcher,
    /// Number of sessions that may still send something.
    speaking: usize,
    is_draining: bool,
    is_over: bool,
    /// What stopped sessions have read and not passed on.
    frozen: Vec<(SessionId, Box<Reading>)>,
}

impl Hub {
    /// A hub with one empty room. `began` is the time at which it is made: rooms get their epochs from it.
    pub fn new(limits: Limits, sequencer: Box<dyn Sequencer>, began: Timestamp) -> Self {
        let mut hub = Self::closed(limits, sequencer, began);
        opening::open(&mut hub.dispatcher.directory, RoomId::MAIN);
        hub
    }

    /// The same, before the sequencer gives back what is said in the main room.
    fn closed(limits: Limits, sequencer: Box<dyn Sequencer>, began: Timestamp) -> Self {
        let dispatcher = Dispatcher::new(limits, sequencer, began);
        Self { dispatcher, speaking: 0, is_draining: false, is_over: false, frozen: Vec::new() }
    }

    /// What goes through all rooms.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.dispatcher.traffic
    }

    /// From now on, stores the standing of each member, the keys and the numbers of lines for the case of a crash.
    pub fn record(&mut self, notes: Box<dyn Notes>) {
        self.dispatcher.record(notes);
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> Limits {
        self.dispatcher.directory.limits
    }

    /// Has rooms go on from the archive, the one that was used last at the end. What the hub itself knows is newer. Call
    /// this before [`Hub::archive`].
    pub fn recall(&mut self, rooms: Vec<Recalled>) {
        archiving::recall(&mut self.dispatcher.directory, rooms);
    }

    /// From now on, archives what rooms take in. Tells members that it is stored for so many days, or for ever.
    pub fn archive(&mut self, archive: Box<dyn Archive>, days: Option<u32>) {
        self.dispatcher.archive = Some(archive);
        archiving::begin(&mut self.dispatcher.directory, Archiving { days });
    }

    /// From now on, asks `host` who is an operator, who is muted, and what else operators need.
    pub fn administer(&mut self, host: Box<dyn Host>) {
        self.dispatcher.directory.operators.host = Some(host);
    }

    /// Takes in one input at the time `now`.
    pub fn apply(&mut self, input: Input, now: Now) {
        match input {
            Input::Join { id, sink, arrival } => {
                arrival::join(&mut self.dispatcher.directory, id, sink, *arrival, now);
                self.speaking += 1;
                if self.is_over {
                    self.say_goodbye(id);
                }
                self.dispatcher.flush(now);
            }
            Input::Read(id, read) => self.read(id, *read, now),
            Input::Writable(id) => self.dispatcher.writable(id, now),
            Input::Stalled(id) => self.dispatcher.stalled(id, now),
            Input::Leave(id) => self.leave(id, now),
            Input::Frozen(id, reading) => self.frozen.push((id, reading)),
            Input::Limits(limits) => {
                self.dispatcher.directory.limits = limits;
                self.dispatcher.traffic.memory_limit.store(limits.memory, Relaxed);
            }
            Input::Drain => self.drain(),
            // It is the broker that ends.
            Input::Freeze => {}
            // The caller may have stopped waiting.
            Input::Probe(answer_tx) => drop(answer_tx.send(())),
        }
    }

    /// Returns whether something waits for members to read.
    pub fn is_waiting(&self) -> bool {
        self.dispatcher.is_waiting()
    }

    /// Returns when to call [`Hub::tick`]; `None` if there is nothing to look at.
    pub fn next_tick(&self) -> Option<Instant> {
        self.dispatcher.next_tick()
    }

    /// Looks at members that do not read, and announces members. Call this at [`Hub::next_tick`].
    pub fn tick(&mut self, now: Now) {
        self.dispatcher.tick(now);
    }

    /// Returns `Ready` if there is something for [`Hub::take_sequenced`]. Otherwise the sequencer wakes `cx` as soon as
    /// there is.
    pub fn poll_sequenced(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.dispatcher.directory.sequencer.poll_ready(cx)
    }

    /// Returns whether everything that was submitted has its place, whether it has come back or not.
    pub(super) fn is_settled(&self) -> bool {
        self.dispatcher.directory.sequencer.is_settled()
    }

    /// Takes in what the sequencer has given a place.
    pub fn take_sequenced(&mut self, now: Now) {
        self.dispatcher.flush(now);
    }

    /// The rooms that have something new to deliver, see [`Hub::deliver`].
    pub(super) fn take_fresh(&mut self) -> BTreeSet<RoomId> {
        self.dispatcher.take_fresh()
    }

    /// Sends what is new in a room to up to `most` members. Returns where to go on, if there are more.
    pub(super) fn deliver(
        &mut self,
        room: RoomId,
        at: (usize, Option<SessionId>),
        most: usize,
        now: Now,
    ) -> Option<(usize, Option<SessionId>)> {
        let next = self.dispatcher.deliver(room, at, most, now);
        // What got its place only now may concern operators who are not in the room.
        if !self.dispatcher.directory.told.is_empty() {
            self.dispatcher.flush(now);
        }
        next
    }

    /// Returns whether [`Hub::work`] has something to do, or something new is to be delivered.
    pub fn has_work(&self) -> bool {
        let dispatcher = &self.dispatcher;
        let has_more = !dispatcher.ready.is_empty() || !dispatcher.fresh.is_empty();
        has_more || dispatcher.is_awaiting_delivery() || self.is_ending()
    }

    /// Goes on with what sessions have sent, each in its turn, up to about `most` steps, and up to the first `/last`: that
    /// takes so long that the others are sent something before the next.
    pub fn work(&mut self, now: Now, most: usize) {
        self.dispatcher.has_searched = false;
        self.dispatcher.end_delivery();
        for _ in 0..most {
            if self.dispatcher.has_searched {
                break;
            }
            let Some(id) = self.dispatcher.ready.pop_front() else { break };
            self.go_on(id, now);
        }
        if self.is_ending() {
            self.end(now);
        }
    }

    /// What a session has read.
    fn read(&mut self, id: SessionId, read: Read, now: Now) {
        let Read { text, is_telnet, reply, notices, is_broken, end } = read;
        let Some(place) = self.dispatcher.directory.place(id) else {
            return self.dispatcher.traffic.end_input(text.len());
        };
        let feed = self.dispatcher.directory.room(place.room).feed(place.form);
        if is_broken {
            feed.change(id, |member, _| member.break_off());
            self.dispatcher.delivered(place.room, Delivered::default(), now);
        } else if end == End::SentAway {
            feed.change(id, |member, log| member.end_here(log));
        }
        if let Some(member) = self.dispatcher.directory.member_mut(id) {
            member.activity.count(0, now.wall);
            member.input = Some(Box::new(Pending::new(text, is_telnet, end)));
        }
        if !reply.is_empty() || !notices.is_empty() {
            self.dispatcher.directory.tell(id, |form, out| {
                out.extend_from_slice(&reply);
                notices.iter().for_each(|notice| form.notice(notice, out));
            });
        }
        self.go_on(id, now);
    }

    /// Takes in what a session has sent, up to the first command; the others have their turn after that.
    fn go_on(&mut self, id: SessionId, now: Now) {
        loop {
            let step = turn::take(&mut self.dispatcher, id, self.is_draining, now);
            match step {
                Step::Wait(wait) => self.dispatcher.wait(id, wait),
                Step::Taken => self.end_input(id),
                Step::Go | Step::Nothing => {}
            }
            self.dispatcher.flush(now);
            match step {
                Step::Go => {}
                // Perhaps the room is open already.
                Step::Wait(Wait::Opened) => return,
                _ => return opening::end_turn(&mut self.dispatcher.directory, id, now),
            }
        }
    }

    /// All that a session has sent has been taken in.
    fn end_input(&mut self, id: SessionId) {
        let Some(member) = self.dispatcher.directory.member_mut(id) else { return };
        let Some(input) = member.input.take() else { return };
        self.dispatcher.traffic.end_input(input.weight);
        match input.end {
            End::No => return member.sink.signal(Signal::Taken),
            End::Closed | End::SentAway => self.dispatcher.directory.end(id),
            End::Stopped => {}
        }
        self.stop(id);
    }

    /// A session sends nothing more.
    fn stop(&mut self, id: SessionId) {
        if let Some(member) = self.dispatcher.directory.member_mut(id)
            && member.life == Life::Speaking
        {
            member.life = Life::Silent;
            self.speaking -= 1;
        }
    }

    fn leave(&mut self, id: SessionId, now: Now) {
        let Some(place) = self.dispatcher.directory.place(id) else { return };
        self.stop(id);
        opening::end_turn(&mut self.dispatcher.directory, id, now);
        let member = self.dispatcher.directory.leave(id, now);
        let weight = member.and_then(|member| member.input).map_or(0, |input| input.weight);
        self.dispatcher.traffic.end_input(weight);
        // Perhaps it was the one that the room waited for.
        self.dispatcher.delivered(place.room, Delivered::default(), now);
        self.dispatcher.flush(now);
    }

    /// The daemon stops. A change of the form no longer waits for its member to read.
    fn drain(&mut self) {
        self.is_draining = true;
        let ids: Vec<SessionId> = self.dispatcher.directory.sessions().collect();
        for id in ids {
            self.dispatcher.wake(id, Wait::Reader);
            self.dispatcher.wake(id, Wait::Quota);
        }
    }

    /// Returns whether the daemon stops, and every line has its place.
    fn is_ending(&self) -> bool {
        self.is_draining && !self.is_over && self.speaking == 0 && !self.dispatcher.is_waiting()
    }

    /// Says goodbye to members in `names` and `json`, and ends all sessions: every line has its place.
    fn end(&mut self, now: Now) {
        self.is_over = true;
        let ids: Vec<SessionId> = self.dispatcher.directory.sessions().collect();
        ids.into_iter().for_each(|id| self.say_goodbye(id));
        self.dispatcher.flush(now);
    }

    fn say_goodbye(&mut self, id: SessionId) {
        self.dispatcher.directory.tell(id, |form, out| {
            if form.view() != View::Plain {
                form.notice(&Notice::Closing { reason: Reason::Stopping }, out);
            }
        });
        self.dispatcher.directory.end(id);
        self.stop(id);
    }

    /// Takes a snapshot, with what the stopped sessions have read. No input may come after this.
    pub fn into_snapshot(mut self) -> (HubSnapshot, Box<dyn Sequencer>) {
        let missed: u64 = self.dispatcher.directory.rooms_mut().map(Room::settle).sum();
        let Traffic { lines, skipped, .. } = &*self.dispatcher.traffic;
        let counted = (lines.load(Relaxed), skipped.load(Relaxed) + missed);
        let snapshot = snapshot::take(&self.dispatcher.directory, counted, self.frozen);
        (snapshot, self.dispatcher.directory.sequencer)
    }

    /// Restores a hub. `sink_of` gives the sink of each member. A member without one is gone, but its lines are not.
    /// Also returns what the sessions had read.
    ///
    /// # Errors
    /// The first thing in the snapshot that is damaged.
    pub fn restore(
        limits: Limits,
        sequencer: Box<dyn Sequencer>,
        snapshot: HubSnapshot,
        now: Now,
        sink_of: impl FnMut(SessionId) -> Option<Arc<dyn Sink>>,
    ) -> Result<(Self, Vec<(SessionId, Reading)>), Damaged> {
        let mut hub = Self::closed(limits, sequencer, now.wall);
        hub.dispatcher.traffic.lines.store(snapshot.lines, Relaxed);
        hub.dispatcher.traffic.skipped.store(snapshot.skipped, Relaxed);
        let readings = snapshot::restore(&mut hub.dispatcher.directory, snapshot, now, sink_of)?;
        for id in hub.dispatcher.directory.rooms().keys().copied().collect::<Vec<RoomId>>() {
            opening::restore(&mut hub.dispatcher.directory, id, now);
            hub.dispatcher.touch(id);
            hub.dispatcher.fresh.insert(id);
        }
        for id in hub.dispatcher.directory.sessions().collect::<Vec<SessionId>>() {
            hub.take_back(id);
        }
        hub.dispatcher.traffic.rooms.store(hub.dispatcher.directory.rooms().len(), Relaxed);
        Ok((hub, readings))
    }

    /// Restores the state of a member.
    fn take_back(&mut self, id: SessionId) {
        self.speaking += 1;
        let Some(member) = self.dispatcher.directory.member_mut(id) else { return };
        member.sink.torn().inspect(|mark| mark.set(member.progress.torn));
        if member.progress.end != Position::MAX && member.input.is_none() {
            member.life = Life::Silent;
            self.speaking -= 1;
        }
        let Some(input) = &mut member.input else { return };
        input.weight = input.rest().len();
        self.dispatcher.traffic.begin_input(input.weight);
        let is_in_flight = input.wait == Wait::Place || self.dispatcher.directory.sequencer.has(id);
        self.dispatcher.wait(id, if is_in_flight { Wait::Place } else { Wait::Turn });
    }

    /// The number of every session.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.dispatcher.directory.sessions()
    }

    /// Returns the name of a session, if it is verified.
    pub fn login_of(&self, id: SessionId) -> Option<&str> {
        let who = self.dispatcher.directory.member(id)?.who.as_ref()?;
        who.verified.then(|| who.name.as_str())
    }

    /// Returns whether a session must not read: the hub has not taken all of its input yet, or has taken its end.
    pub fn has_input(&self, id: SessionId) -> bool {
        let member = self.dispatcher.directory.member(id);
        member.is_some_and(|member| member.input.is_some() || member.progress.end != Position::MAX)
    }

    #[cfg(test)]
    pub(super) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    #[cfg(test)]
    pub(super) fn directory(&self) -> &Directory {
        &self.dispatcher.directory
    }

    #[cfg(test)]
    pub(super) fn member(&self, id: SessionId) -> Option<&Member> {
        self.dispatcher.directory.member(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::chat::testing::{Person, TestHub, lines};
    use crate::chat::{Arrival, End, Input, Notes, Read, SessionId};
    use crate::protocol::{Foreign, Notice, View};

    #[test]
    fn who_has_only_its_own_lines_before_it_goes_elsewhere_at_once() {
        let mut hub = TestHub::new(|limits| limits.log_size = 1 << 20);
        let mut ann = hub.arrive(Arrival { view: View::Json, ..Arrival::default() });
        ann.read_all();
        hub.say(&mut ann, &("x\n".repeat(1000) + "/join other\n"));
        assert!(ann.read_all().contains("you are in other now") && !ann.is_outstanding());
    }

    #[test]
    fn one_whose_connection_failed_misses_nothing() {
        let mut hub = TestHub::default();
        let (mut ann, ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 250));
        hub.say(&mut ann, &lines(250, 300));
        hub.wait(Duration::from_secs(3));
        hub.say(&mut ann, &lines(300, 550));
        hub.say(&mut ann, &lines(550, 800));
        let text = b"/join foo\n".to_vec();
        hub.send(&ben, Read { text, is_broken: true, end: End::Closed, ..Read::default() });
        assert!(ben.is_done());
    }

    #[test]
    fn one_that_is_sent_away_is_sent_what_it_is_owed() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 10));
        hub.ask(&mut ann, "/msg guest2 hi");
        let notices = vec![Notice::Foreign { protocol: Foreign::Http }];
        hub.send(&ben, Read { notices, end: End::SentAway, ..Read::default() });
        assert!(ben.read_all().contains("not a web server") && ben.is_done());
    }

    #[test]
    fn what_telnet_is_answered_is_bounded_by_what_is_read() {
        let mut hub = TestHub::default();
        let ben = hub.join();
        while !ben.is_outstanding() {
            hub.send(&ben, Read { reply: b"\xff\xfc\x06".repeat(2000), ..Read::default() });
        }
        assert!(ben.member(|member| member.owed_bytes()) < 32 * 1024);
    }

    #[test]
    fn nothing_is_read_behind_quit_in_the_next_process_either() {
        let mut hub = TestHub::default();
        let mut people = [hub.join(), hub.join()];
        hub.say(&mut people[0], &lines(0, 10));
        hub.ask(&mut people[1], "/quit");
        assert!(people[1].is_outstanding() && !people[1].is_done());
        hub.move_on(&mut people);
        assert!(hub.hub().has_input(people[1].id()));
        assert_eq!(people[1].read_all(), lines(0, 10));
    }

    #[test]
    fn what_waited_is_heard_by_all_of_many_where_the_next_log_is_larger() {
        let mut hub = TestHub::default();
        let mut people: Vec<Person> = (0..8).map(|_| hub.join()).collect();
        hub.say(&mut people[0], &lines(0, 250));
        hub.say(&mut people[0], &lines(250, 260));
        assert!(hub.hub().is_waiting());
        people.iter().for_each(|person| person.socket.set_space(usize::MAX));
        hub.limits.log_size = 1 << 20;
        hub.move_on(&mut people);
        people[1..].iter_mut().for_each(|person| assert_eq!(person.read_all(), lines(0, 260)));
    }

    #[test]
    fn answers_are_bounded_while_the_daemon_stops() {
        let mut hub = TestHub::new(|limits| limits.log_size = 1 << 20);
        let (mut ann, mut ben) = (hub.join(), hub.join());
        (0..10).for_each(|ten| hub.say(&mut ann, &lines(10 * ten, 10 * ten + 10)));
        hub.say(&mut ben, &"/last 1000\n".repeat(2000));
        hub.apply(Input::Drain);
        assert!(!ben.is_outstanding() && ben.member(|member| member.owed_bytes()) < 64 * 1024);
    }

    #[test]
    fn who_reads_at_once_loses_no_line_to_what_others_are_owed() {
        let mut hub = TestHub::new(|limits| (limits.log_size, limits.memory) = (64 * 1024, 256 * 1024));
        let (mut ann, eve) = (hub.join(), hub.join());
        let silent: Vec<Person> = (0..5).map(|_| hub.join()).collect();
        for person in silent.iter().flat_map(|person| std::iter::repeat_n(person, 75)) {
            let text = "x".repeat(900);
            hub.answer(&mut ann, &format!("/msg guest{} {text}", person.id().0));
            hub.wait(Duration::from_millis(250));
        }
        assert!(hub.answer(&mut ann, "/msg guest3 more").contains("is not reading"), "there is an end to it");
        eve.socket.set_space(1 << 30);
        for ten in 0..10 {
            hub.say(&mut ann, &lines(ten * 10, ten * 10 + 10));
            ann.read_all();
        }
        assert_eq!(eve.heard(), lines(0, 100));
    }

    #[test]
    fn private_messages_wait_for_their_sender_and_the_room_is_heard_in_time() {
        let mut hub = TestHub::new(|limits| limits.log_size = 1 << 20);
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join_as("ben"), hub.join());
        let mut flood: Vec<Person> = (0..5).map(|_| hub.join()).collect();
        let text = format!("/msg ben {}\n", "z".repeat(400)).repeat(20);
        let (mut privates, mut most, mut from_eve) = (0, 0, 0);
        for ten in 0..100 {
            // One is gone, and another one takes its place.
            hub.leave(flood.remove(0));
            flood.push(hub.join());
            for person in flood.iter_mut().chain([&mut eve]) {
                person.read_all();
                if !person.is_outstanding() {
                    hub.say(person, if person.id() == SessionId(3) { "/msg ben eve\n" } else { &text });
                }
            }
            hub.say(&mut ann, &lines(ten, ten + 1));
            // 40 kB a second.
            ben.read(4000);
            let heard = ben.heard();
            most = most.max(ben.member(|member| member.owed_bytes()));
            privates += heard.matches("-> you] zzz").count();
            from_eve += heard.matches("-> you] eve").count();
            hub.wait(Duration::from_millis(100));
        }
        assert!(privates > 500 && from_eve > 10, "{privates}, {from_eve}");
        assert!(most < 16 * 1024, "{most} bytes stand before what the room says");
        assert!(!ann.is_outstanding());
    }

    #[test]
    fn whoever_is_ignored_takes_nothing_of_the_quota_of_others() {
        let mut hub = TestHub::new(|limits| limits.log_size = 1 << 20);
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join_as("ben"), hub.join());
        hub.ask(&mut ben, "/ignore guest3");
        for _ in 0..100 {
            assert!(hub.answer(&mut eve, &format!("/msg ben {}", "z".repeat(400))).contains("ignores you"));
        }
        assert!(hub.answer(&mut ann, "/msg ben hello").contains("[you -> ben]") || !ann.is_outstanding());
        assert!(ben.read_all().contains("hello"));
    }

    /// Applies what somebody has sent, and nothing more.
    fn apply(hub: &TestHub, person: &Person, text: &str) {
        person.socket.set_space(usize::MAX);
        person.socket.begin_input();
        let read = Read { text: text.into(), ..Read::default() };
        let now = hub.time();
        hub.hub().apply(Input::Read(person.id(), Box::new(read)), now);
    }

    fn deliver(hub: &TestHub) {
        let (now, mut hub) = (hub.time(), hub.hub());
        for room in hub.take_fresh() {
            let mut next = Some((0, None));
            while let Some(at) = next {
                next = hub.deliver(room, at, 128, now);
            }
        }
    }

    #[test]
    fn nobody_is_told_that_a_line_has_its_place_before_the_others_have_it() {
        let mut hub = TestHub::default();
        let (ann, ben) = (hub.join(), hub.join());
        ben.socket.set_space(usize::MAX);
        let now = hub.time();
        apply(&hub, &ann, "hello\n/sync x\n");
        hub.hub().work(now, 1024);
        assert_eq!((ann.heard().as_str(), ben.heard().as_str()), ("", ""));
        deliver(&hub);
        assert_eq!((ann.heard().as_str(), ben.heard().as_str()), ("", "hello\n"));
        hub.hub().work(now, 1024);
        assert_eq!(ann.heard(), "-!- synced x\n");
    }

    /// Keeps no notes.
    #[derive(Debug)]
    struct Forgetful;

    impl Notes for Forgetful {
        fn set(&mut self, _: &str, _: u64) {}

        fn forget(&mut self, _: &str) {}

        fn texts(&self) -> Vec<String> {
            Vec::new()
        }
    }

    #[test]
    fn nobody_is_told_of_a_name_before_it_is_recorded() {
        let mut hub = TestHub::default();
        hub.hub().record(Box::new(Forgetful));
        let ann = hub.join();
        ann.heard();
        apply(&hub, &ann, "/nick ann\n");
        assert_eq!(ann.socket.taken_before_record(), 0);
        assert!(ann.heard().contains("you are ann now"));
    }

    #[test]
    fn of_many_who_search_each_has_its_turn_after_a_delivery() {
        let mut hub = TestHub::default();
        let mut ann = hub.join();
        hub.say(&mut ann, "hello\n");
        let crowd: Vec<Person> = (0..10).map(|_| hub.join()).collect();
        crowd.iter().for_each(|person| apply(&hub, person, "/last 1 hello\n"));
        let answered = || crowd.iter().filter(|person| !person.heard().is_empty()).count();
        let (now, mut all) = (hub.time(), answered());
        assert_eq!(all, 1);
        while hub.hub().has_work() {
            hub.hub().work(now, 1024);
            let more = answered();
            assert!(more <= 1, "{more} before others are sent anything");
            all += more;
            deliver(&hub);
        }
        assert_eq!(all, crowd.len());
    }

    #[test]
    fn whoever_says_much_has_no_more_turns_than_others() {
        let mut hub = TestHub::new(|limits| limits.log_size = 1 << 20);
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &"a\n/who\n".repeat(20));
        hub.say(&mut ben, &"a\n/who\n".repeat(20));
        let dispatcher = |hub: &TestHub| hub.hub().dispatcher().ready.len();
        assert_eq!(dispatcher(&hub), 0);
        let now = hub.time();
        for person in [&ann, &ben] {
            let text = b"a\n/who\na\n/who\n".to_vec();
            hub.hub().apply(Input::Read(person.id(), Box::new(Read { text, ..Read::default() })), now);
        }
        for _ in 0..20 {
            assert!(dispatcher(&hub) <= 2, "each is in the queue once");
            hub.hub().work(now, 1);
        }
    }
}
