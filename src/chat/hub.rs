//! The hub: the rooms, the members and the names together. It is the only writer of all of them.
//!
//! [`Hub::apply`] takes an input and the time and is over at once. What a session has sent is taken in piece by piece,
//! lines and commands in their order; what has to wait, for its place in a room or for its sender to read, waits in the
//! member as pending, and [`Hub::work`] goes on with it. The dispatcher sends what is new.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::commands;
use super::delivery::Delivered;
#[cfg(test)]
use super::directory::Directory;
use super::dispatcher::{Dispatcher, Numbers};
use super::feed::MOST_PUT_ASIDE;
use super::id::{Now, Position, RoomId, SessionId};
use super::input::{Input, Read};
use super::interpreter::{self, Next};
use super::limits::Limits;
#[cfg(test)]
use super::member::Member;
use super::pending::{End, Pending};
use super::reading::Reading;
use super::room::Room;
use super::sequencer::Sequencer;
use super::sink::{Signal, Sink};
use super::snapshot::{self, Damaged, HubSnapshot};
use super::traffic::Traffic;
use crate::protocol::{Command, Kind, Notice, View};

/// A session to which this many bytes are owed has nothing more taken in until they have been sent.
const MOST_UNREAD: usize = 16 * 1024;

/// What came of looking at what a session has sent.
enum Step {
    /// It has to wait, or there is nothing more.
    Wait,
    /// Lines have been taken in.
    Said,
    /// A command has been done, which takes longer.
    Done,
}

/// The rooms, the members and the names.
#[derive(Debug)]
pub struct Hub {
    dispatcher: Dispatcher,
    /// How many sessions may still say something.
    speaking: usize,
    is_draining: bool,
    is_over: bool,
    /// What sessions that have stopped had read.
    frozen: Vec<(SessionId, Box<Reading>)>,
}

impl Hub {
    /// A hub with one empty room.
    pub fn new(limits: Limits, sequencer: Box<dyn Sequencer>) -> Self {
        let dispatcher = Dispatcher::new(limits, sequencer);
        Self { dispatcher, speaking: 0, is_draining: false, is_over: false, frozen: Vec::new() }
    }

    /// What goes through all rooms.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.dispatcher.traffic
    }

    /// From now on, keeps who everybody is and the numbers of lines for the case of a crash.
    pub fn record(&mut self, numbers: Box<dyn Numbers>) {
        self.dispatcher.record(numbers);
    }

    /// Takes in one input at the time `now`.
    pub fn apply(&mut self, input: Input, now: Now) {
        match input {
            Input::Join { id, sink, arrival } => {
                self.dispatcher.directory.join(id, Arc::clone(&sink), *arrival, now);
                sink.signal(Signal::Taken);
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
            Input::Limits(limits) => self.dispatcher.directory.limits = limits,
            Input::Drain => self.drain(now),
            // It is the broker that ends.
            Input::Freeze => {}
            // Whoever asked may have stopped waiting.
            Input::Probe(answer_tx) => drop(answer_tx.send(())),
        }
    }

    /// Returns whether something waits for members to read.
    pub fn is_waiting(&self) -> bool {
        self.dispatcher.is_waiting()
    }

    /// When [`Hub::tick`] wants to be called.
    pub fn next_tick(&self) -> Option<Instant> {
        self.dispatcher.next_tick()
    }

    /// Looks after those who do not read, and tells who has come and gone; to be called at [`Hub::next_tick`].
    pub fn tick(&mut self, now: Now) {
        self.dispatcher.tick(now);
    }

    /// Takes in what the sequencer has given a place.
    pub fn take_sequenced(&mut self, now: Now) {
        self.dispatcher.take_sequenced(now);
    }

    /// The rooms that have something new to deliver, see [`Hub::deliver`].
    pub(super) fn take_fresh(&mut self) -> BTreeSet<RoomId> {
        std::mem::take(&mut self.dispatcher.fresh)
    }

    /// Sends what is new in a room to up to `most` members. Returns where to go on, if there are more.
    pub(super) fn deliver(
        &mut self,
        room: RoomId,
        at: (usize, Option<SessionId>),
        most: usize,
        now: Now,
    ) -> Option<(usize, Option<SessionId>)> {
        self.dispatcher.deliver(room, at, most, now)
    }

    /// Returns whether [`Hub::work`] has something to do, or something new is to be delivered.
    pub fn has_work(&self) -> bool {
        !self.dispatcher.ready.is_empty() || !self.dispatcher.fresh.is_empty() || self.is_ending()
    }

    /// Goes on with what sessions have sent, each in its turn, up to about `most` steps.
    pub fn work(&mut self, now: Now, most: usize) {
        for _ in 0..most {
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
            feed.break_off(id);
            self.dispatcher.delivered(place.room, Delivered::default(), now);
        } else if end == End::SentAway {
            feed.end_here(id);
        }
        if let Some(member) = self.dispatcher.directory.member_mut(id) {
            member.input = Some(Box::new(Pending::new(text, is_telnet, end)));
        }
        if !reply.is_empty() || !notices.is_empty() {
            self.dispatcher.directory.tell(id, |form, out| {
                out.extend_from_slice(&reply);
                notices.iter().for_each(|notice| notice.encode(form, out));
            });
        }
        self.go_on(id, now);
    }

    /// Takes in what a session has sent, up to the first command; the others have their turn after that.
    fn go_on(&mut self, id: SessionId, now: Now) {
        loop {
            match self.step(id, now) {
                Step::Wait => break,
                Step::Said => self.dispatcher.flush(now),
                Step::Done => {
                    self.dispatcher.ready.push_back(id);
                    break;
                }
            }
        }
        self.dispatcher.flush(now);
    }

    fn step(&mut self, id: SessionId, now: Now) -> Step {
        let has_commands = self.dispatcher.directory.limits.commands;
        let is_draining = self.is_draining;
        let Some((member, log)) = self.dispatcher.directory.feed(id).and_then(|feed| feed.reader(id)) else {
            return Step::Wait;
        };
        let is_named = member.is_named();
        let can_move = is_draining || member.unsent_bytes(log) <= MOST_PUT_ASIDE as u64;
        let has_read = is_draining || member.is_broken || member.owed_bytes() <= MOST_UNREAD;
        let Some(input) = member.input.as_mut().filter(|_| !member.is_in_flight) else { return Step::Wait };
        if input.is_telnet && can_move {
            input.is_telnet = false;
            commands::end_lines_for_telnet(&mut self.dispatcher.directory, id, now);
            return Step::Said;
        }
        if input.is_telnet || (!has_read && (!input.rest().is_empty() || input.end == End::No)) {
            return Step::Wait;
        }
        if input.rest().is_empty() {
            self.end_input(id);
            return Step::Wait;
        }
        let (next, bytes) = match has_commands {
            true => interpreter::next(input.rest(), is_named),
            false => interpreter::all_lines(input.rest()),
        };
        if matches!(&next, Next::Ask(command) if command.moves()) && !can_move {
            return Step::Wait;
        }
        let text = match next {
            Next::Say(_) => input.take(bytes, 0),
            Next::SayRest => input.take(bytes, 1),
            _ => input.take(bytes, bytes),
        };
        self.perform(id, next, text, now)
    }

    fn perform(&mut self, id: SessionId, next: Next, text: Vec<u8>, now: Now) -> Step {
        match next {
            Next::Say(lines) => self.dispatcher.directory.say(id, Kind::Message, text, lines, now),
            Next::SayRest => self.dispatcher.directory.say(id, Kind::Message, text, 1, now),
            Next::Refuse(answer) => self.dispatcher.directory.answer(id, &answer),
            Next::Ask(Command::Quit) => {
                if let Some(input) =
                    self.dispatcher.directory.member_mut(id).and_then(|member| member.input.as_mut())
                {
                    input.quit();
                }
                return Step::Said;
            }
            // There is no time to wait until it has read the answers that it has.
            Next::Ask(command) if command.is_question() && self.has_unread(id) => {}
            Next::Ask(command) => {
                commands::execute(&mut self.dispatcher.directory, id, command, now);
                return Step::Done;
            }
        }
        Step::Said
    }

    /// Returns whether a session has more answers to read than it may have.
    fn has_unread(&self, id: SessionId) -> bool {
        self.dispatcher.directory.member(id).is_some_and(|member| member.owed_bytes() > MOST_UNREAD)
    }

    /// All that a session has sent has been taken in.
    fn end_input(&mut self, id: SessionId) {
        let Some(member) = self.dispatcher.directory.member_mut(id) else { return };
        let Some(input) = member.input.take() else { return };
        self.dispatcher.traffic.end_input(input.weight);
        match input.end {
            End::No => return member.sink.signal(Signal::Taken),
            End::Closed | End::SentAway => {
                self.dispatcher.directory.end(id);
            }
            End::Stopped => {}
        }
        self.stop(id);
    }

    /// A session will say nothing more.
    fn stop(&mut self, id: SessionId) {
        if let Some(member) = self.dispatcher.directory.member_mut(id)
            && !std::mem::replace(&mut member.has_stopped, true)
        {
            self.speaking -= 1;
        }
    }

    fn leave(&mut self, id: SessionId, now: Now) {
        let Some(place) = self.dispatcher.directory.place(id) else { return };
        self.stop(id);
        let member = self.dispatcher.directory.leave(id, now);
        self.dispatcher
            .traffic
            .end_input(member.and_then(|member| member.input).map_or(0, |input| input.weight));
        // Perhaps it was the one that the room waited for.
        self.dispatcher.delivered(place.room, Delivered::default(), now);
        self.dispatcher.flush(now);
    }

    /// The daemon stops. Nobody is waited for in order to be shown lines in another way.
    fn drain(&mut self, now: Now) {
        self.is_draining = true;
        let ids: Vec<SessionId> = self.dispatcher.directory.sessions().collect();
        ids.into_iter().for_each(|id| self.go_on(id, now));
    }

    /// Returns whether the daemon stops, and all has been said that there was to say.
    fn is_ending(&self) -> bool {
        self.is_draining && !self.is_over && self.speaking == 0 && !self.dispatcher.is_waiting()
    }

    /// All has been said: tells all who are shown notices that the daemon stops, and lets everybody go.
    fn end(&mut self, now: Now) {
        self.is_over = true;
        let ids: Vec<SessionId> = self.dispatcher.directory.sessions().collect();
        ids.into_iter().for_each(|id| self.say_goodbye(id));
        self.dispatcher.flush(now);
    }

    fn say_goodbye(&mut self, id: SessionId) {
        self.dispatcher.directory.tell(id, |form, out| {
            if form.view() != View::Plain {
                Notice::Stopping.encode(form, out);
            }
        });
        self.dispatcher.directory.end(id);
        self.stop(id);
    }

    /// All that is known of everybody who has stopped. Nothing may be said any more.
    pub fn into_snapshot(mut self) -> (HubSnapshot, Box<dyn Sequencer>) {
        self.dispatcher.traffic.count_skipped(self.dispatcher.directory.rooms_mut().map(Room::settle).sum());
        let counted = (self.dispatcher.traffic.lines(), self.dispatcher.traffic.skipped());
        (snapshot::take(&self.dispatcher.directory, counted, self.frozen), self.dispatcher.sequencer)
    }

    /// A hub as it was. Lines go to what `sink_of` has for each member; one for whom it has nothing is not there any
    /// more, but what it has said still is. Returns what the sessions had read, too.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn restore(
        limits: Limits,
        sequencer: Box<dyn Sequencer>,
        snapshot: HubSnapshot,
        now: Now,
        sink_of: impl FnMut(SessionId) -> Option<Arc<dyn Sink>>,
    ) -> Result<(Self, Vec<(SessionId, Reading)>), Damaged> {
        let mut hub = Self::new(limits, sequencer);
        hub.dispatcher.traffic.restore(snapshot.lines, snapshot.skipped);
        let readings = snapshot::restore(&mut hub.dispatcher.directory, snapshot, now, sink_of)?;
        let rooms: Vec<RoomId> = hub.dispatcher.directory.rooms().keys().copied().collect();
        for id in rooms {
            hub.dispatcher.directory.room(id).drop_empty_feeds();
            hub.dispatcher.directory.drop_if_empty(id);
            hub.dispatcher.touch(id);
            hub.dispatcher.fresh.insert(id);
        }
        for id in hub.dispatcher.directory.sessions().collect::<Vec<SessionId>>() {
            hub.take_back(id);
        }
        hub.dispatcher.traffic.set_rooms(hub.dispatcher.directory.rooms().len());
        Ok((hub, readings))
    }

    /// Goes on with a member that was in another process.
    fn take_back(&mut self, id: SessionId) {
        self.speaking += 1;
        let Some(member) = self.dispatcher.directory.member_mut(id) else { return };
        member.sink.torn().inspect(|mark| mark.set(member.progress.torn));
        member.is_in_flight |= self.dispatcher.sequencer.has(id);
        if member.progress.end != Position::MAX {
            member.has_stopped = true;
            self.speaking -= 1;
        }
        if let Some(input) = &mut member.input {
            input.weight = input.rest().len();
            self.dispatcher.traffic.begin_input(input.weight);
            self.dispatcher.ready.push_back(id);
        }
    }

    /// The number of every session.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.dispatcher.directory.sessions()
    }

    /// Returns whether a session is not to read: what it has sent has still to be taken in, or its end has been.
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
    use crate::chat::{Arrival, End, Input, Read};
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
        let notices = vec![Notice::Foreign(Foreign::Http)];
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
        }
        assert!(hub.answer(&mut ann, "/msg guest3 more").contains("does not read"), "there is an end to it");
        eve.socket.set_space(1 << 30);
        for ten in 0..10 {
            hub.say(&mut ann, &lines(ten * 10, ten * 10 + 10));
            ann.read_all();
        }
        assert_eq!(eve.heard(), lines(0, 100));
    }
}
