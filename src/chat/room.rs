//! A room: its members, the order of its lines, and which members it waits for.
//!
//! A room encodes an entry once for each form in use, and appends it to the log of every form, or to none, so the order is
//! the same for all members. It never refuses an entry. If an append would overwrite lines that a member has yet to get,
//! the entry waits in the room, and its session waits too, until the members have read, or until the room has given up on
//! those that do not read. A room never looks at a clock and never waits itself.

use std::collections::VecDeque;
use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::archive::Outbox;
use super::delivery::Delivered;
use super::entry::Entry;
use super::feed::Feed;
use super::feeds::{EncodedForAll, Feeds};
use super::flow::{Flow, Patience, TICK, Terms};
use super::history::{History, Record};
use super::id::{Now, Position, SessionId};
use super::limits::Limits;
use super::member::Member;
use super::numbers::Numbers;
use super::presence::Presence;
use super::room_note;
use super::sequencer::Stamp;
use crate::protocol::{Form, Name, Scene};

/// The result of appending.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// Sessions whose input has got its place.
    pub(super) asked: Vec<SessionId>,
    /// How many lines were said.
    pub(super) lines: u64,
    /// How many lines before that are gone, and how many that is for all members together.
    pub(super) missing: u64,
    pub(super) skipped: u64,
    /// The entry is not the next one behind the last: others, perhaps from here, do not come any more.
    pub(super) has_jumped: bool,
    /// The room is further in the order of all nodes.
    pub(super) is_further: bool,
    /// Sessions that have waited for the room to be open.
    pub(super) opened: Vec<SessionId>,
    /// How long the room has waited, if it no longer does.
    pub(super) waited: Option<Duration>,
}

/// The state of a room.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Arc<Name>,
    pub(super) numbers: Numbers,
    /// With several nodes: the sequencer has been asked to open it.
    pub(super) is_asked: bool,
    /// With several nodes: the sequencer keeps back what it has of it.
    pub(super) is_held: bool,
    pub(super) feeds: Feeds,
    /// How many members there are, those on other nodes counted.
    members: usize,
    elsewhere: usize,
    /// What waits, and its places if it has them.
    waiting: VecDeque<(Entry, Option<Stamp>)>,
    waiting_bytes: usize,
    pub(super) history: History,
    pub(super) presence: Presence,
    patience: Patience,
    /// When the room last looked at its members, while there is a reason to look.
    looked: Option<Instant>,
    /// There is something new in its logs.
    has_news: bool,
    pub(super) outbox: Outbox,
    /// How many bytes it used when that was last counted.
    pub(super) counted: usize,
    /// When it is due, as that was last noted.
    pub(super) due: Option<Instant>,
}

impl Room {
    /// An empty room in which `said` lines have been said.
    pub(super) fn new(name: Arc<Name>, limits: &Limits, said: u64, epoch: u64) -> Self {
        Self {
            name,
            numbers: Numbers::new(said, epoch),
            is_asked: false,
            is_held: false,
            feeds: Feeds::new(limits.log_size),
            members: 0,
            elsewhere: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            history: History::new(limits.history, limits.log_size / 4),
            presence: Presence::default(),
            patience: Patience::default(),
            looked: None,
            has_news: false,
            outbox: Outbox::default(),
            counted: 0,
            due: None,
        }
    }

    pub(super) fn name(&self) -> &Arc<Name> {
        &self.name
    }

    /// How many members there are on this node.
    pub(super) fn count(&self) -> usize {
        self.members - self.elsewhere
    }

    /// Notes how many members there are on other nodes.
    pub(super) fn count_elsewhere(&mut self, elsewhere: usize) {
        self.members = self.count() + elsewhere;
        self.elsewhere = elsewhere;
    }

    /// How many lines have been said.
    pub(super) fn said(&self) -> u64 {
        self.numbers.said
    }

    pub(super) fn epoch(&self) -> u64 {
        self.numbers.epoch
    }

    /// Returns whether its numbers are known. With several nodes they come when the sequencer opens it.
    pub(super) fn is_open(&self) -> bool {
        !self.is_asked || self.numbers.cursor.is_some()
    }

    /// Returns the texts of the room's notes, for the case of a crash.
    pub(super) fn notes(&self) -> Vec<String> {
        let entry = self.numbers.reached.map(|reached| room_note::write_entry(reached.epoch, &self.name));
        iter::once(self.note()).chain(entry).collect()
    }

    /// Returns the text of the note with the number of its lines.
    pub(super) fn note(&self) -> String {
        room_note::write(self.numbers.noted_epoch(), &self.name)
    }

    /// Lines are gone that the members were to get.
    pub(super) fn miss(&mut self, lines: u64, placed: &mut Placed) {
        if lines > 0 {
            placed.missing += lines;
            placed.skipped += lines * self.feeds.skip(lines);
            self.has_news = true;
            self.presence.forget_placing();
        }
    }

    pub(super) fn feed(&mut self, form: Form) -> &mut Feed {
        self.feeds.get(form)
    }

    pub(super) fn feeds(&self) -> impl Iterator<Item = &Feed> {
        self.feeds.iter()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.feeds().flat_map(Feed::members)
    }

    pub(super) fn waiting(&self) -> &VecDeque<(Entry, Option<Stamp>)> {
        &self.waiting
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How much memory it uses, in bytes.
    pub(super) fn memory(&self) -> usize {
        let feeds: usize = self.feeds().map(Feed::memory).sum();
        feeds + self.history.memory() + self.waiting_bytes
    }

    /// Settles what members have missed. Returns how many lines that is.
    pub(super) fn settle(&mut self) -> u64 {
        self.feeds.iter_mut().map(Feed::settle).sum()
    }

    /// How many bytes of that are lines, which can be given up.
    pub(super) fn lines_memory(&self) -> usize {
        self.history.memory() + self.feeds().map(|feed| feed.log().memory()).sum::<usize>()
    }

    /// Drops half of the room's lines, to free memory. Returns how many lines members lose by that.
    pub(super) fn shrink(&mut self) -> u64 {
        self.history.shrink();
        self.feeds.iter_mut().map(Feed::shrink).sum()
    }

    /// When [`Room::tick`] and then [`Presence::take`] have something to do.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        let due = self.presence.due().filter(|_| self.is_open());
        self.next_look().into_iter().chain(due).min()
    }

    /// When it is looked again who reads.
    fn next_look(&self) -> Option<Instant> {
        let last = self.looked?;
        Some(last + if self.is_waiting() { self.patience.interval(last) } else { TICK })
    }

    /// Lets a member in, who has read up to the head of the log.
    pub(super) fn insert(&mut self, mut member: Box<Member>, form: Form, now: Instant) {
        let head: Position = self.feed(form).log().head();
        member.progress.cursor = head;
        let is_strict = self.patience.is_used_up(now);
        member.flow = Flow::new(head, !is_strict);
        self.insert_at(member, form);
        if is_strict {
            self.looked.get_or_insert(now);
        }
    }

    /// Lets a member in where it stands.
    pub(super) fn insert_at(&mut self, member: Box<Member>, form: Form) {
        self.members += 1;
        self.feed(form).insert(member);
    }

    /// Takes a member out. A feed without members is gone, log and all.
    pub(super) fn remove(&mut self, id: SessionId, form: Form) -> Option<Box<Member>> {
        let member = self.feeds.remove(id, form)?;
        self.members -= 1;
        Some(member)
    }

    /// Takes in an entry that has its place in the order of the room: appends it, or has it wait behind those that wait.
    /// Drops one that it has taken in before, and one that comes before the room is open.
    pub(super) fn take_in(&mut self, mut entry: Entry, stamp: Option<Stamp>, now: Now, placed: &mut Placed) {
        if let Some(stamp) = stamp {
            let last = self.numbers.cursor;
            let was_open = last.is_some();
            if !self.numbers.take(stamp.cursor) {
                placed.asked.extend(entry.asked_by().filter(|_| !was_open));
                return;
            }
            if last.is_some_and(|last| !stamp.cursor.is_next_to(last)) {
                placed.has_jumped = true;
                self.presence.forget_placing();
            }
        }
        let was_waiting = self.is_waiting();
        if !was_waiting && self.append(&mut entry, stamp, now, placed) {
            return self.place(entry, stamp, now, placed);
        }
        self.waiting_bytes += entry.memory();
        self.waiting.push_back((entry, stamp));
        if !was_waiting {
            self.wait(now);
        }
    }

    /// Takes over what waited in another process.
    pub(super) fn restore_waiting(&mut self, entries: Vec<(Entry, Option<Stamp>)>, now: Now) {
        self.waiting_bytes = entries.iter().map(|(entry, _)| entry.memory()).sum();
        self.waiting = entries.into();
        if self.is_waiting() || self.feeds().any(Feed::is_watching) {
            self.looked = Some(now.instant);
        }
        self.wait(now);
    }

    /// Looks at members that do not read, and gives up on them.
    pub(super) fn tick(&mut self, now: Now, min_rate: u64, delivered: &mut Delivered) {
        let Some(last) = self.looked else { return };
        if self.next_look().is_none_or(|next| now.instant < next) {
            return;
        }
        // A late look means that chatd did not run, and not that the members did not read.
        let elapsed = now.instant.saturating_duration_since(last).min(2 * TICK);
        let read = self.feeds.iter_mut().filter_map(|feed| feed.try_again(delivered)).min();
        let waited = self.patience.look(now.instant, elapsed, read.unwrap_or(0), min_rate);
        let terms = Terms::new(min_rate, elapsed, waited, self.patience.is_used_up(now.instant));
        if self.feeds.iter_mut().fold(false, |has_given_up, feed| feed.look(terms) | has_given_up) {
            self.patience.settle(now.instant);
        }
        let has_reason = self.is_waiting() || self.feeds().any(Feed::is_watching);
        self.looked = has_reason.then_some(now.instant);
    }

    /// Takes in what waits, as far as there is space now.
    pub(super) fn resume(&mut self, now: Now, placed: &mut Placed) {
        if !self.is_waiting() || !self.feeds().all(Feed::have_all_read) {
            return;
        }
        while let Some((mut entry, stamp)) = self.waiting.pop_front() {
            let memory = entry.memory();
            if !self.append(&mut entry, stamp, now, placed) {
                self.waiting.push_front((entry, stamp));
                return self.wait(now);
            }
            self.waiting_bytes = self.waiting_bytes.saturating_sub(memory);
            self.place(entry, stamp, now, placed);
        }
        self.feeds.iter_mut().for_each(Feed::end_waiting);
        placed.waited = Some(self.patience.end(now.instant));
    }

    /// Notes the members that the first waiting entry waits for.
    fn wait(&mut self, now: Now) {
        let Some((entry, stamp)) = self.waiting.front() else { return };
        let encoded = self.encode(entry, self.feeds.piece(entry), time_of(*stamp, now));
        self.feeds.wait(encoded.map(|encoded| encoded.map_or(0, |(text, _)| text.len())));
        self.looked.get_or_insert(now.instant);
        self.patience.begin(now.instant);
    }

    /// Appends an entry, in pieces that fit into a log; returns whether all of it is appended.
    fn append(&mut self, entry: &mut Entry, stamp: Option<Stamp>, now: Now, placed: &mut Placed) -> bool {
        let time = time_of(stamp, now);
        if let Some(stamp) = stamp {
            self.go_to(&stamp, entry.done_lines(), placed);
        }
        loop {
            let (bytes, lines) = self.feeds.piece(entry);
            let mut encoded = self.encode(entry, (bytes, lines), time);
            if !self.feeds.append(entry.author(), &mut encoded) {
                return false;
            }
            drop(encoded);
            self.has_news = true;
            if self.looked.is_none() && self.feeds().any(Feed::is_watching) {
                self.looked = Some(now.instant);
            }
            let (numbers, scene) = ((self.epoch(), self.said() + 1), (time, self.members));
            self.outbox.put(&self.name, numbers, scene, || entry.cut((bytes, lines)));
            if let Some(record) = entry.record_of_piece((bytes, lines), self.said() + 1, time) {
                self.history.push(record);
            }
            self.numbers.said += u64::from(lines);
            if let Some(stamp) = stamp {
                (self.numbers.reached, placed.is_further) = (Some(stamp.cursor), true);
            }
            if entry.advance(bytes, lines) {
                return true;
            }
        }
    }

    /// An entry is next, and the room has its numbers from the place of that.
    fn go_to(&mut self, stamp: &Stamp, done: u32, placed: &mut Placed) {
        let before = self.numbers.go_to(stamp, done);
        if before.is_back {
            self.history.cut_after(self.numbers.said);
        }
        if before.begins {
            self.feeds.begin_epoch(&self.name, self.numbers.epoch, self.numbers.said);
        }
        self.miss(before.missing, placed);
    }

    /// Encodes a piece of an entry in each form in use.
    fn encode<'e>(&self, entry: &'e Entry, piece: (usize, u32), time: Timestamp) -> EncodedForAll<'e> {
        let scene = Scene { room: self.name.as_str(), time, members: self.members };
        self.feeds.encode(entry, piece, scene, self.said() + 1)
    }

    /// Counts an entry as appended: its session goes on, and the history stores its lines.
    fn place(&mut self, entry: Entry, stamp: Option<Stamp>, now: Now, placed: &mut Placed) {
        placed.asked.extend(entry.asked_by());
        if entry.is_presence() {
            self.presence.placed();
        }
        if let Entry::Said { kind, who, text, lines, done, .. } = entry {
            placed.lines += u64::from(lines);
            if done == (0, 0) {
                let (seq, lines) = (self.said() + 1 - u64::from(lines), lines as usize);
                self.history.push(Record { kind, who, time: time_of(stamp, now), seq, lines, text });
            }
        }
    }

    /// Returns once whether there is something new to deliver.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Sends what is new to up to `most` members of one form. Returns where to go on, if there are more.
    pub(super) fn deliver(
        &mut self,
        at: (usize, Option<SessionId>),
        most: usize,
        delivered: &mut Delivered,
    ) -> Option<(usize, Option<SessionId>)> {
        self.feeds.deliver(at, most, delivered)
    }
}

/// Returns when an entry was said: when it got its place, or now.
fn time_of(stamp: Option<Stamp>, now: Now) -> Timestamp {
    stamp.map_or(now.wall, |stamp| stamp.time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::testing::{Person, RATE, TestHub, lines};
    use crate::chat::{End, Read};
    use crate::protocol::Notice;

    #[test]
    fn members_hear_others_in_one_order_and_themselves_not() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, "a\n");
        let mut eve = hub.join();
        hub.say(&mut ben, "b\n");
        hub.say(&mut ann, "c\n");
        assert_eq!(ann.read_all(), "b\n");
        assert_eq!(ben.read_all(), "a\nc\n");
        assert_eq!(eve.read_all(), "b\nc\n", "from when it joined");
    }

    #[test]
    fn one_that_has_heard_all_it_is_to_hear_holds_nobody_up() {
        for end in [End::Closed, End::SentAway] {
            let mut hub = TestHub::default();
            let (mut ann, mut ben) = (hub.join(), hub.join());
            let mut eve = hub.join();
            hub.say(&mut ann, "before\n");
            hub.send(&ben, Read { end, ..Read::default() });
            ben.read_all();
            assert!(ben.is_done());
            hub.say(&mut ann, &lines(0, 250));
            hub.say(&mut ann, &lines(250, 260));
            assert!(ann.is_outstanding(), "for eve");
            eve.read_all();
            assert!(!ann.is_outstanding());
        }
    }

    #[test]
    fn a_sender_goes_on_at_once_when_the_one_it_waits_for_is_shown_lines_in_another_way() {
        for command in ["/view json", "/join ops", "/quit"] {
            let mut hub = TestHub::default();
            let (mut ann, mut ben) = (hub.join(), hub.join());
            hub.say(&mut ann, &lines(0, 250));
            hub.say(&mut ann, &lines(250, 260));
            assert!(ann.is_outstanding());
            hub.ask(&mut ben, command);
            assert_eq!(ann.is_outstanding(), command == "/quit");
        }
    }

    #[test]
    fn one_that_is_sent_away_still_gets_its_answers_and_is_done() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, "not read\n");
        hub.ask(&mut ben, "/who");
        hub.send(&ben, Read { end: End::SentAway, ..Read::default() });
        assert_eq!(ben.read_all(), "-!- 2 here: guest1, guest2\n");
        assert!(ben.is_done());
    }

    #[test]
    fn one_that_has_missed_the_end_is_told_so_before_it_is_done() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 200));
        hub.end(&ben);
        (0..3).for_each(|_| hub.wait(Duration::from_secs(1)));
        for number in 2..6 {
            hub.say(&mut ann, &lines(100 * number, 100 * number + 100));
            hub.wait(Duration::from_secs(3));
        }
        ben.read(0);
        assert!(!ben.is_done());
        assert!(ben.read_all().ends_with(" lines skipped (you were not reading)\n"));
        assert!(ben.is_done());
    }

    #[test]
    fn what_comes_after_its_end_a_member_does_not_miss() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 200));
        hub.wait(Duration::from_secs(3));
        hub.say(&mut ann, &lines(200, 300));
        hub.wait(Duration::from_secs(3));
        hub.say(&mut ben, "mine\n");
        hub.end(&ben);
        for number in 3..12 {
            hub.say(&mut ann, &lines(100 * number, 100 * number + 100));
            hub.wait(Duration::from_secs(3));
        }
        assert_eq!(ben.read_all(), "-!- 300 lines skipped (you were not reading)\n");
        assert!(ben.is_done());
        for number in 12..16 {
            hub.say(&mut ann, &lines(100 * number, 100 * number + 100));
            hub.wait(Duration::from_secs(3));
        }
        let mut people = [ann, ben];
        hub.move_on(&mut people);
        assert_eq!(people[1].read_all(), "", "nor in the next process");
    }

    #[test]
    fn nothing_is_left_to_do_for_one_that_has_missed_lines_and_is_broken() {
        let mut hub = TestHub::default();
        let (mut ann, ben) = (hub.join(), hub.join());
        for number in 0..6 {
            hub.say(&mut ann, &lines(100 * number, 100 * number + 100));
            hub.wait(Duration::from_secs(3));
        }
        hub.say(&mut ann, &lines(600, 800));
        ben.break_off();
        hub.say(&mut ann, "more\n");
        assert!(!hub.hub().has_work());
    }

    #[test]
    fn a_sender_waits_for_a_member_that_has_still_to_read_and_goes_on_when_it_has() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 250));
        assert!(!ann.is_outstanding());
        hub.say(&mut ann, &lines(250, 260));
        assert!(ann.is_outstanding() && hub.hub().is_waiting());
        let mut heard = String::new();
        for _ in 0..3 {
            ben.read(2000);
        }
        assert!(!ann.is_outstanding() && !hub.hub().is_waiting());
        heard.push_str(&ben.read_all());
        assert_eq!(heard, lines(0, 260));
    }

    #[test]
    fn a_member_that_does_not_read_is_waited_for_one_second_and_told_how_much_it_missed() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 250));
        ben.read(7);
        hub.say(&mut eve, &lines(250, 300));
        eve.read_all();
        hub.wait(Duration::from_millis(999));
        assert!(hub.hub().is_waiting(), "it has a second");
        hub.wait(Duration::from_millis(2));
        assert!(!hub.hub().is_waiting());
        let mut others = ann.read_all() + &eve.read_all();
        hub.say(&mut ben, &lines(1000, 1100));
        others = others + &ann.read_all() + &eve.read_all();
        hub.say(&mut ann, &lines(300, 500));
        assert!(!hub.hub().is_waiting(), "the log moves on");
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
    fn a_member_that_never_reads_is_waited_for_once() {
        let mut hub = TestHub::default();
        let (mut talkers, mut ben) = ([hub.join(), hub.join()], hub.join());
        let (mut said, mut waited) = (0, Duration::ZERO);
        // Twice as much as it would have to read.
        for turn in 0..600 {
            if hub.hub().is_waiting() {
                waited += Duration::from_millis(100);
            } else {
                hub.say(&mut talkers[turn % 2], &lines(said, said + 12));
                said += 12;
            }
            for talker in &mut talkers {
                talker.read_all();
            }
            hub.wait(Duration::from_millis(100));
            // Its session tries again and again, and sends nothing.
            ben.read(0);
        }
        assert!(waited <= Duration::from_millis(1300), "{waited:?}");
        assert!(ben.read_all().starts_with("-!- "));
    }

    #[test]
    fn many_that_never_read_are_not_waited_for_one_after_the_other() {
        let mut hub = TestHub::default();
        let mut talkers = [hub.join(), hub.join()];
        let mut others = Vec::new();
        let (mut said, mut waited) = (0, Duration::ZERO);
        for turn in 0..600 {
            if others.len() < 20 {
                others.push(hub.join());
            }
            if hub.hub().is_waiting() {
                waited += Duration::from_millis(100);
            } else {
                hub.say(&mut talkers[turn % 2], &lines(said, said + 6));
                said += 6;
            }
            for talker in &mut talkers {
                talker.read_all();
            }
            hub.wait(Duration::from_millis(100));
            for other in &mut others {
                other.read(0);
            }
        }
        assert!(waited <= Duration::from_millis(1300), "{waited:?}");
    }

    /// The longest that a room waits within 30 seconds, of ten minutes in which it is always talked in, while each of so
    /// many others in turn reads all it can, `stall` after the room began to wait.
    fn longest_wait(members: usize, stall: u32) -> Duration {
        const STEP: Duration = Duration::from_millis(50);
        let mut hub = TestHub::default();
        let (mut ann, mut eve) = (hub.join(), hub.join());
        let mut others: Vec<Person> = (0..members).map(|_| hub.join()).collect();
        let (mut waits, mut said, mut turn, mut waited) = (Vec::new(), 0, 0, 0);
        for _ in 0..12_000 {
            if !ann.is_outstanding() {
                hub.say(&mut ann, &lines(said, said + 10));
                said += 10;
            }
            eve.read_all();
            waits.push(hub.hub().is_waiting());
            waited = if hub.hub().is_waiting() { waited + 1 } else { 0 };
            if waited > stall {
                others[turn % members].read_all();
                (turn, waited) = (turn + 1, 0);
            }
            hub.wait(STEP);
        }
        assert!(said > 50_000, "{said}");
        let windows = waits.windows(30 * 20).map(|window| window.iter().filter(|waits| **waits).count());
        STEP * windows.max().unwrap() as u32
    }

    #[test]
    fn members_who_take_turns_hold_a_room_up_for_a_second_in_any_thirty() {
        for (members, stall) in [(1, 18), (3, 10), (3, 18), (10, 4), (10, 12), (30, 2)] {
            let longest = longest_wait(members, stall);
            assert!(longest <= Duration::from_millis(1300), "{members}, {stall}: {longest:?}");
        }
    }

    #[test]
    fn a_byte_now_and_then_does_not_hold_the_room() {
        // 20 bytes each 100 ms are 200 a second, where 1,000 are asked for; 50 are half of that.
        for (bytes, most) in [(20, 1500), (50, 2500)] {
            let mut hub = TestHub::default();
            let (mut ann, mut ben) = (hub.join(), hub.join());
            hub.say(&mut ann, &lines(0, 250));
            hub.say(&mut ann, &lines(250, 251));
            let mut waited = Duration::ZERO;
            let mut said = 251;
            while said < 400 && waited < Duration::from_secs(20) {
                ben.read(bytes);
                if hub.hub().is_waiting() {
                    hub.wait(Duration::from_millis(100));
                    waited += Duration::from_millis(100);
                } else {
                    hub.say(&mut ann, &lines(said, said + 1));
                    said += 1;
                }
            }
            assert!(waited <= Duration::from_millis(most), "{bytes} bytes held the room for {waited:?}");
            assert_eq!(said, 400);
        }
    }

    #[test]
    fn a_member_that_the_room_waits_for_is_sent_more_whatever_the_kernel_says() {
        let mut hub = TestHub::default();
        let (mut ann, ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 250));
        hub.say(&mut ann, &lines(250, 260));
        assert!(hub.hub().is_waiting());
        for _ in 0..3 {
            // Nobody says that it is writable.
            ben.socket.set_space(7);
            hub.wait(TICK);
            assert_eq!(ben.heard().len(), 7, "each time that it is looked at");
        }
    }

    #[test]
    fn a_member_that_reads_at_the_rate_loses_nothing_however_long_it_takes() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        let mut said = 0;
        for _ in 0..1000 {
            while !ann.is_outstanding() {
                hub.say(&mut ann, &lines(said, said + 40));
                said += 40;
            }
            hub.wait(Duration::from_millis(100));
            ben.read(RATE as usize / 10 + 1);
        }
        while ann.is_outstanding() {
            ben.read(1000);
        }
        assert_eq!(ben.read_all(), lines(0, said));
        assert!(said > 5000, "{said}");
    }

    #[test]
    fn nothing_is_put_aside_for_one_that_is_gone() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 100));
        ben.break_off();
        hub.ask(&mut ben, "/view names");
        assert_eq!(ben.member(Member::owed_bytes), 0);
        assert!(!ben.is_outstanding(), "but it may say more");
        hub.end(&ben);
        assert!(ben.is_done());
    }

    #[test]
    fn it_is_known_whether_a_delivery_ended_inside_of_a_line() {
        let mut hub = TestHub::new(|limits| limits.log_size = 1 << 20);
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &format!("{}\n", "x".repeat(999)).repeat(700));
        let (mut torn, mut heard) = (0, 0);
        while heard < 700_000 {
            ben.read(77_777);
            let text = ben.heard();
            assert_eq!(ben.member(|member| member.progress.torn), !text.ends_with('\n'));
            torn += u32::from(!text.ends_with('\n'));
            heard += text.len();
        }
        assert!(torn > 0 && !ben.member(|member| member.progress.torn));
    }

    #[test]
    fn a_delivery_does_not_end_inside_of_a_line_that_is_not_sent() {
        let mut hub = TestHub::new(|limits| limits.log_size = 1 << 20);
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, "from ann\n");
        // His own, more than one delivery goes over.
        hub.say(&mut ben, &format!("{}\n", "x".repeat(999)).repeat(700));
        ben.read(usize::MAX);
        assert_eq!(ben.heard(), "from ann\n");
        assert!(!ben.member(|member| member.progress.torn));
        assert_eq!(hub.answer(&mut ben, "/rooms"), "-!- 1 room: main (2)\n");
    }

    #[test]
    fn what_a_member_has_said_itself_is_not_what_it_missed() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ben, "before\n");
        hub.say(&mut ann, &lines(0, 100));
        // Ann has gone past the first hundred lines of hers, and then says more.
        ann.read_all();
        hub.say(&mut ann, &lines(100, 250));
        ann.socket.set_space(0);
        hub.say(&mut ben, &lines(250, 300));
        hub.wait(Duration::from_secs(2));
        assert!(!hub.hub().is_waiting());
        assert_eq!(ann.read_all(), lines(250, 300));
    }

    #[test]
    fn an_answer_is_no_slowness_of_who_reads_it() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        (0..10).for_each(|ten| hub.say(&mut ann, &lines(10 * ten, 10 * ten + 10)));
        ben.read_all();
        (0..3).for_each(|_| hub.ask(&mut ben, "/last 100"));
        let answers = ben.member(Member::owed_bytes);
        hub.say(&mut ann, &lines(100, 350));
        hub.say(&mut ann, &lines(350, 360));
        let (mut waited, mut heard) = (Duration::ZERO, String::new());
        while hub.hub().is_waiting() {
            hub.wait(Duration::from_millis(100));
            waited += Duration::from_millis(100);
            ben.read(RATE as usize / 10 + 1);
            heard += &ben.heard();
        }
        assert!(answers > 2 * RATE as usize && waited > Duration::from_secs(2), "{answers} in {waited:?}");
        heard += &ben.read_all();
        assert_eq!(heard.rsplit_once("-!-").unwrap().1, format!(" that was the last\n{}", lines(100, 360)));
    }

    #[test]
    fn answers_and_private_messages_share_the_way_with_what_the_room_says() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join_as("ben"), hub.join());
        let (mut said, mut heard) = (0, String::new());
        for _ in 0..300 {
            // As much as he takes, and more.
            for _ in 0..2 {
                if !eve.is_outstanding() {
                    hub.ask(&mut eve, "/msg ben 01234567890123456789");
                }
            }
            eve.read_all();
            if !ben.is_outstanding() {
                hub.ask(&mut ben, "/who");
            }
            hub.say(&mut ann, &lines(said, said + 1));
            said += 1;
            ben.read(150);
            heard += &ben.heard();
        }
        let told = heard.matches("<guest1> line ").count();
        assert!(told > 250, "{told} of {said} lines");
    }

    #[test]
    fn a_member_that_was_given_up_on_is_waited_for_again_when_it_has_caught_up() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 250));
        hub.say(&mut ann, &lines(250, 300));
        hub.wait(Duration::from_secs(2));
        assert!(!hub.hub().is_waiting());
        ann.read_all();
        ben.read_all();
        // Until then the room has no patience for anybody.
        hub.wait(Duration::from_secs(31));
        hub.say(&mut ann, &lines(300, 550));
        hub.say(&mut ann, &lines(550, 600));
        assert!(hub.hub().is_waiting(), "it is waited for again");
        assert_eq!(ben.read_all(), lines(300, 600));
    }

    #[test]
    fn a_member_that_leaves_holds_nobody_up() {
        let mut hub = TestHub::default();
        let (mut ann, ben) = (hub.join(), hub.join());
        hub.say(&mut ann, &lines(0, 250));
        hub.say(&mut ann, &lines(250, 300));
        assert!(hub.hub().is_waiting());
        ben.break_off();
        assert!(!hub.hub().is_waiting());
        hub.leave(ben);
        let mut eve = hub.join();
        hub.say(&mut ann, "hello\n");
        assert_eq!(eve.read_all(), "hello\n");
    }

    #[test]
    fn reading_ends_where_the_member_ended() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, "before\n");
        hub.end(&ben);
        hub.say(&mut ann, "after\n");
        assert_eq!(ben.read_all(), "before\n");
        assert!(ben.is_done());
    }

    #[test]
    fn a_notice_never_tears_a_line() {
        let mut hub = TestHub::default();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        let notice = || Read { notices: vec![Notice::Full], ..Read::default() };
        hub.say(&mut ann, "one line\nanother\n");
        ben.read(3);
        hub.send(&ben, notice());
        hub.say(&mut ann, "third\n");
        ben.read(9);
        hub.send(&ben, notice());
        let heard = ben.heard() + &ben.read_all();
        assert_eq!(heard, "one line\nanother\n-!- server full\nthird\n-!- server full\n");
    }

    #[test]
    fn all_are_sent_what_is_new_and_who_cannot_take_it_gets_the_rest_when_it_can() {
        let mut hub = TestHub::default();
        let mut ann = hub.join();
        let mut others: Vec<Person> = (2..8).map(|_| hub.join()).collect();
        others.iter().for_each(|person| person.socket.set_space(1000));
        others[2].socket.set_space(3);
        hub.say(&mut ann, "hello\n");
        let heard: Vec<String> = others.iter().map(Person::heard).collect();
        assert_eq!(heard, ["hello\n", "hello\n", "hel", "hello\n", "hello\n", "hello\n"]);
        assert_eq!(others[2].read_all(), "lo\n");
    }
}
