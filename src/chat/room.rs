//! A room: who hears whom, in which order, and who may hold the others up.
//!
//! What is said is encoded once for each audience, those to whom it is shown in the same form, and appended to the log
//! of each: to all or to none, so the order is the same for everybody. Appending is never refused: where it would
//! overwrite lines that a member has still to get, it waits in the room, and with it the session that said it, until
//! the members have read, or until those who do not read have lost the right to be waited for. The room never
//! performs I/O, never looks at a clock, and never waits itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::audience::Audience;
use super::comings::Comings;
use super::entry::{Encoded, Entry};
use super::history::{History, Past};
use super::member::{Member, SessionId};
use super::reader::relocate;
use super::room_log::RoomLog;
use super::traffic::Traffic;
use super::{Effects, Now};
use crate::protocol::{Form, Kind, Name, Scene, Who};

/// How often a room that waits looks whether those it waits for read.
pub const TICK: Duration = Duration::from_millis(250);

/// How many are told of at once: what `json` says of them fits into the smallest log.
const MOST_AT_ONCE: usize = 1000;

/// How much a room keeps.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimits {
    /// Bytes in the log of each form in use.
    pub log_size: usize,
    /// Lines for `/last`; 0 for none.
    pub history: usize,
}

/// The state of a room.
#[derive(Debug)]
pub struct Room {
    pub(super) name: Name,
    pub(super) limits: RoomLimits,
    pub(super) traffic: Arc<Traffic>,
    /// In the order of [`Form::ALL`]; those without members need not be there.
    pub(super) audiences: [Option<Audience>; Form::ALL.len()],
    pub(super) members: usize,
    pub(super) waiting: VecDeque<Entry>,
    /// How many of those tell of people who have come or gone.
    pub(super) comings_waiting: usize,
    pub(super) history: History,
    pub(super) comings: Comings,
    /// How many lines have been said.
    pub(super) said: u64,
    /// Numbers below this have been noted: see [`Room::said_to_note`].
    pub(super) noted: u64,
    /// When credit was last reckoned, while there is a reason to.
    pub(super) reckoned: Option<Instant>,
}

impl Room {
    /// An empty room.
    pub fn new(name: Name, limits: RoomLimits, traffic: Arc<Traffic>) -> Self {
        let history = History::new(limits.history, limits.log_size / 4);
        Self {
            name,
            limits,
            traffic,
            audiences: Default::default(),
            members: 0,
            waiting: VecDeque::new(),
            comings_waiting: 0,
            history,
            comings: Comings::default(),
            said: 0,
            noted: 0,
            reckoned: None,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.members
    }

    /// The log that members read to whom lines are shown in that form.
    pub fn log(&mut self, form: Form) -> &Arc<RoomLog> {
        self.audience(form).log()
    }

    pub(super) fn audience(&mut self, form: Form) -> &mut Audience {
        let (size, traffic) = (self.limits.log_size, &self.traffic);
        self.audiences[form.index()]
            .get_or_insert_with(|| Audience::new(RoomLog::new(form, size, Arc::clone(traffic))))
    }

    pub(super) fn audiences(&mut self) -> impl Iterator<Item = &mut Audience> {
        self.audiences.iter_mut().flatten()
    }

    /// Says whether something waits for members to read.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`Room::tick`] wants to be called.
    pub fn next_tick(&self) -> Option<Instant> {
        // Those who have been gathered before are told of first.
        let comings = self.comings.due().filter(|_| self.comings_waiting == 0);
        self.reckoned.map(|last| last + TICK).into_iter().chain(comings).min()
    }

    /// Looks after those who do not read, takes in what waits, as far as there is space now, and tells of those who
    /// have come and gone; to be called at [`Room::next_tick`] and when [`Room::has_space`].
    pub fn tick(&mut self, now: Now, effects: &mut Effects) {
        if let Some(last) = self.reckoned.replace(now.instant) {
            // A tick that comes late says that chatd did not run, not that the members did not read.
            let elapsed = now.instant.saturating_duration_since(last).min(2 * TICK);
            self.audiences().for_each(|audience| audience.reckon(elapsed));
        }
        self.resume(now, effects);
        self.tell_comings(now, effects);
    }

    fn resume(&mut self, now: Now, effects: &mut Effects) {
        while let Some(mut entry) = self.waiting.pop_front() {
            if !self.try_append(&mut entry, now, effects) {
                self.waiting.push_front(entry);
                return self.wait(now);
            }
            self.comings_waiting -= usize::from(entry.is_coming());
            self.remember(entry, now);
        }
        self.audiences().for_each(|audience| audience.end_waiting());
        if !self.audiences().any(|audience| audience.is_watching()) {
            self.reckoned = None;
        }
    }

    /// Says whether all have read what the room waited for; otherwise `waker` will be woken.
    pub fn has_space(&mut self, waker: &Waker) -> bool {
        self.is_waiting() && self.audiences().all(|audience| audience.have_all_read(waker))
    }

    /// Sends what is new to up to `most` members of one form, as an audience does. Returns where to go on, if
    /// there are more.
    pub fn deliver(
        &self,
        after: (usize, Option<SessionId>),
        most: usize,
    ) -> Option<(usize, Option<SessionId>)> {
        let (index, after) = after;
        let last = self.audiences[index].as_ref().and_then(|audience| audience.deliver(after, most));
        match last {
            Some(last) => Some((index, Some(last))),
            None => (index + 1..self.audiences.len())
                .find(|next| self.audiences[*next].is_some())
                .map(|next| (next, None)),
        }
    }

    /// Lets a member in whose session has just begun. It hears what is said from now on.
    pub fn begin(&mut self, member: &Arc<Member>, form: Form) {
        self.members += 1;
        let audience = self.audience(form);
        member.begin(audience.log());
        audience.seat(member);
    }

    /// Lets a member in that has been elsewhere.
    pub fn enter(&mut self, member: &Arc<Member>, form: Form) {
        self.members += 1;
        let audience = self.audience(form);
        relocate(member, audience.log());
        audience.seat(member);
    }

    /// A member is gone, or elsewhere.
    pub fn leave(&mut self, id: SessionId, now: Now, effects: &mut Effects) {
        if self.unseat(id) {
            self.members -= 1;
        }
        if self.is_waiting() {
            self.tick(now, effects);
        }
    }

    /// Shows lines to a member in another form.
    pub fn change_form(&mut self, member: &Arc<Member>, form: Form, now: Now, effects: &mut Effects) {
        relocate(member, self.audience(form).log());
        self.unseat(member.id());
        self.audience(form).seat(member);
        if self.is_waiting() {
            self.tick(now, effects);
        }
    }

    /// Says whether it was there. An audience without members is gone, log and all, but for the one that comes first.
    fn unseat(&mut self, id: SessionId) -> bool {
        for slot in &mut self.audiences {
            let Some(audience) = slot else { continue };
            if audience.unseat(id) {
                if audience.is_empty() && audience.log().form() != Form::PLAIN {
                    *slot = None;
                }
                return true;
            }
        }
        false
    }

    /// Somebody says whole lines.
    #[expect(clippy::too_many_arguments, reason = "what is said, by whom, when, and what comes of it")]
    pub fn say(
        &mut self,
        kind: Kind,
        member: &Arc<Member>,
        who: Arc<Who>,
        text: Vec<u8>,
        lines: u32,
        now: Now,
        effects: &mut Effects,
    ) {
        if self.comings.has_joined(who.id) {
            // Nobody speaks under a name that others have not been told of.
            let untold = self.comings.take_all(now.instant);
            self.tell_untold(untold, now, effects);
        }
        let member = Arc::clone(member);
        self.take_in(Entry::Said { kind, member, who, text, lines, done: (0, 0) }, now, effects);
    }

    /// Somebody whose name the others know has come in.
    pub fn joined(&mut self, who: &Who, now: Now, effects: &mut Effects) {
        self.comings.joined(who.clone());
        self.tell_comings(now, effects);
    }

    /// Somebody whose name the others know is gone.
    pub fn left(&mut self, who: &Who, now: Now, effects: &mut Effects) {
        self.comings.left(who.clone());
        self.tell_comings(now, effects);
    }

    /// Somebody is called something else now. Whoever has `asked` for it is acknowledged when the others are told.
    pub fn renamed(
        &mut self,
        (from, to): (Arc<Who>, Arc<Who>),
        asked: Option<Arc<Member>>,
        now: Now,
        effects: &mut Effects,
    ) {
        if !self.comings.renamed(&to) {
            if self.comings.has_left(&to.name) {
                // First that the other one is gone.
                let untold = self.comings.take_all(now.instant);
                self.tell_untold(untold, now, effects);
            }
            self.take_in(Entry::Renamed { from, to, asked }, now, effects);
        }
    }

    /// Says whether others are still to be told that a member is called something else, and it asks for nothing more
    /// until then.
    pub(super) fn has_to_tell_of(&self, member: &Arc<Member>) -> bool {
        let asked = self.waiting.back().and_then(|entry| match entry {
            Entry::Renamed { asked, .. } => asked.as_ref(),
            _ => None,
        });
        asked.is_some_and(|asked| asked.id() == member.id())
    }

    /// Appends up to `most` of the lines that have been said last, by sessions for which that is so, in a form; says how
    /// many.
    pub fn show_last(
        &self,
        most: usize,
        form: Form,
        is_shown: impl Fn(u64) -> bool,
        out: &mut Vec<u8>,
    ) -> usize {
        self.history.show(most, self.name.as_str(), form, is_shown, out)
    }

    fn tell_comings(&mut self, now: Now, effects: &mut Effects) {
        if self.comings_waiting == 0 {
            let untold = self.comings.take(now.instant);
            self.tell_untold(untold, now, effects);
        }
    }

    fn tell_untold(&mut self, untold: Option<(Vec<Who>, Vec<Who>)>, now: Now, effects: &mut Effects) {
        let Some((joined, left)) = untold else { return };
        for who in left.chunks(MOST_AT_ONCE) {
            self.take_in(Entry::Left(who.to_vec()), now, effects);
        }
        for who in joined.chunks(MOST_AT_ONCE) {
            self.take_in(Entry::Joined(who.to_vec()), now, effects);
        }
    }

    /// Appends an entry, or has it wait behind those that wait.
    fn take_in(&mut self, mut entry: Entry, now: Now, effects: &mut Effects) {
        let was_waiting = self.is_waiting();
        if !was_waiting && self.try_append(&mut entry, now, effects) {
            return self.remember(entry, now);
        }
        self.comings_waiting += usize::from(entry.is_coming());
        self.waiting.push_back(entry);
        if !was_waiting {
            self.wait(now);
        }
    }

    /// Appends an entry, in pieces that fit into a log; says whether all of it is appended.
    fn try_append(&mut self, entry: &mut Entry, now: Now, effects: &mut Effects) -> bool {
        loop {
            let (bytes, lines) = self.piece(entry);
            let mut encoded = self.encode(entry, (bytes, lines), now);
            let mut places = self.audiences.iter_mut().zip(&encoded);
            let fits = places.all(|(audience, encoded)| match (audience, encoded) {
                (Some(audience), Some((text, _))) => audience.fits(text.len()),
                _ => true,
            });
            if !fits {
                return false;
            }
            for (audience, encoded) in self.audiences.iter().zip(&mut encoded) {
                if let (Some(audience), Some((text, lines))) = (audience, encoded.take()) {
                    audience.append(entry.from(), &text, lines);
                }
            }
            drop(encoded);
            if self.reckoned.is_none() && self.audiences().any(|audience| audience.is_watching()) {
                self.reckoned = Some(now.instant);
            }
            effects.appended = true;
            self.said += u64::from(lines);
            if entry.advance(bytes, lines) {
                entry.acknowledge(&self.traffic, effects);
                return true;
            }
        }
    }

    /// How many bytes and lines of an entry go in at once.
    fn piece(&self, entry: &Entry) -> (usize, u32) {
        let is_plain = self.audiences[1..].iter().all(Option::is_none);
        entry.piece(if is_plain { usize::MAX } else { self.limits.log_size })
    }

    /// What each audience is to be sent of a piece of an entry.
    fn encode<'e>(
        &self,
        entry: &'e Entry,
        piece: (usize, u32),
        now: Now,
    ) -> [Option<Encoded<'e>>; Form::ALL.len()] {
        let scene = Scene { room: self.name.as_str(), time: now.wall, members: self.members };
        Form::ALL.map(|form| {
            self.audiences[form.index()].as_ref()?;
            Some(entry.encode(form, piece, scene, self.said + 1)).filter(|(text, _)| !text.is_empty())
        })
    }

    /// Keeps what has been said for those who ask for it later.
    fn remember(&mut self, entry: Entry, now: Now) {
        if let Entry::Said { kind, who, text, lines, .. } = entry {
            self.traffic.count_lines(u64::from(lines));
            let (seq, lines) = (self.said + 1 - u64::from(lines), lines as usize);
            self.history.push(Past { kind, who, time: now.wall, seq, lines, text });
        }
    }

    /// Notes for whom the first of those that wait has to wait.
    pub(super) fn wait(&mut self, now: Now) {
        let Some(entry) = self.waiting.front() else { return };
        let encoded = self.encode(entry, self.piece(entry), now);
        let lengths = encoded.map(|encoded| encoded.map_or(0, |(text, _)| text.len()));
        for (audience, len) in self.audiences.iter_mut().zip(lengths) {
            if let Some(audience) = audience {
                audience.wait(len);
            }
        }
        self.reckoned.get_or_insert(now.instant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::testing::{Person, RATE, TestHouse, lines};
    use crate::chat::{Delivery, Input};

    #[test]
    fn members_hear_others_in_one_order_and_themselves_not() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, "a\n");
        let mut eve = house.join();
        house.say(&mut ben, "b\n");
        house.say(&mut ann, "c\n");
        assert_eq!(ann.read_all(), "b\n");
        assert_eq!(ben.read_all(), "a\nc\n");
        assert_eq!(eve.read_all(), "b\nc\n", "from when it joined");
    }

    #[test]
    fn a_sender_waits_for_a_member_that_has_still_to_read_and_goes_on_when_it_has() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, &lines(0, 250));
        assert!(!ann.is_outstanding());
        house.say(&mut ann, &lines(250, 260));
        assert!(ann.is_outstanding() && house.house.is_waiting());
        let mut heard = String::new();
        for _ in 0..3 {
            ben.read(2000);
            house.notice_space();
        }
        assert!(!ann.is_outstanding() && !house.house.is_waiting());
        heard.push_str(&ben.read_all());
        assert_eq!(heard, lines(0, 260));
    }

    #[test]
    fn a_member_that_does_not_read_is_waited_for_one_second_and_told_how_much_it_missed() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben, mut eve) = (house.join(), house.join(), house.join());
        house.say(&mut ann, &lines(0, 250));
        ben.read(7);
        house.say(&mut eve, &lines(250, 300));
        eve.read_all();
        house.wait(Duration::from_millis(999));
        assert!(house.house.is_waiting(), "it has a second");
        house.wait(Duration::from_millis(2));
        assert!(!house.house.is_waiting());
        let mut others = ann.read_all() + &eve.read_all();
        house.say(&mut ben, &lines(1000, 1100));
        others = others + &ann.read_all() + &eve.read_all();
        house.say(&mut ann, &lines(300, 500));
        assert!(!house.house.is_waiting(), "the log moves on");
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
        let mut house = TestHouse::default();
        let (mut talkers, mut ben) = ([house.join(), house.join()], house.join());
        let (mut said, mut waited) = (0, Duration::ZERO);
        // Twice as much as it would have to read.
        for turn in 0..600 {
            if house.house.is_waiting() {
                waited += Duration::from_millis(100);
            } else {
                house.say(&mut talkers[turn % 2], &lines(said, said + 12));
                said += 12;
            }
            for talker in &mut talkers {
                talker.read_all();
            }
            house.wait(Duration::from_millis(100));
            // Its session tries again and again, and sends nothing.
            ben.read(0);
        }
        assert!(waited <= Duration::from_millis(1300), "{waited:?}");
        assert!(ben.read_all().starts_with("-!- "));
    }

    #[test]
    fn many_that_never_read_are_not_waited_for_one_after_the_other() {
        let mut house = TestHouse::default();
        let mut talkers = [house.join(), house.join()];
        let mut others = Vec::new();
        let (mut said, mut waited) = (0, Duration::ZERO);
        for turn in 0..600 {
            if others.len() < 20 {
                others.push(house.join());
            }
            if house.house.is_waiting() {
                waited += Duration::from_millis(100);
            } else {
                house.say(&mut talkers[turn % 2], &lines(said, said + 6));
                said += 6;
            }
            for talker in &mut talkers {
                talker.read_all();
            }
            house.wait(Duration::from_millis(100));
            for other in &mut others {
                other.read(0);
            }
        }
        assert!(waited <= Duration::from_millis(1300), "{waited:?}");
    }

    #[test]
    fn a_byte_now_and_then_does_not_hold_the_room() {
        // 20 bytes each 100 ms are 200 a second, where 1,000 are asked for; 50 are half of that.
        for (bytes, most) in [(20, 1500), (50, 2500)] {
            let mut house = TestHouse::default();
            let (mut ann, mut ben) = (house.join(), house.join());
            house.say(&mut ann, &lines(0, 250));
            house.say(&mut ann, &lines(250, 251));
            let mut waited = Duration::ZERO;
            let mut said = 251;
            while said < 400 && waited < Duration::from_secs(20) {
                ben.read(bytes);
                house.notice_space();
                if house.house.is_waiting() {
                    house.wait(Duration::from_millis(100));
                    waited += Duration::from_millis(100);
                } else {
                    house.say(&mut ann, &lines(said, said + 1));
                    said += 1;
                }
            }
            assert!(waited <= Duration::from_millis(most), "{bytes} bytes held the room for {waited:?}");
            assert_eq!(said, 400);
        }
    }

    #[test]
    fn a_member_that_the_room_waits_for_is_to_try_again_whatever_the_kernel_says() {
        let mut house = TestHouse::default();
        let (mut ann, ben) = (house.join(), house.join());
        house.say(&mut ann, &lines(0, 250));
        house.say(&mut ann, &lines(250, 260));
        assert!(house.house.is_waiting() && !ben.reader.member().take_retry());
        for _ in 0..3 {
            house.wait(TICK);
            assert!(ben.reader.member().take_retry(), "each time that it is looked at");
        }
    }

    #[test]
    fn a_member_that_reads_at_the_rate_loses_nothing_however_long_it_takes() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        let mut said = 0;
        for _ in 0..1000 {
            while !ann.is_outstanding() {
                house.say(&mut ann, &lines(said, said + 40));
                said += 40;
            }
            house.wait(Duration::from_millis(100));
            ben.read(RATE as usize / 10 + 1);
            house.notice_space();
        }
        while ann.is_outstanding() {
            ben.read(1000);
            house.notice_space();
        }
        assert_eq!(ben.read_all(), lines(0, said));
        assert!(said > 5000, "{said}");
    }

    #[test]
    fn nothing_is_put_aside_for_one_that_is_gone() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, &lines(0, 100));
        ben.reader.release();
        house.ask(&mut ben, "/view names");
        assert_eq!(ben.reader.owed_bytes(), 0);
    }

    #[test]
    fn it_is_known_whether_a_delivery_ended_inside_of_a_line() {
        let mut house = TestHouse::new(|limits| limits.log_size = 1 << 20);
        let (mut ann, mut ben) = (house.join(), house.join());
        let line = format!("{}\n", "x".repeat(999));
        house.say(&mut ann, &line.repeat(700));
        let mut torn = 0;
        while ben.read(usize::MAX) == Delivery::More {
            assert_eq!(ben.reader.member().is_torn(), !ben.heard().ends_with('\n'));
            torn += u32::from(ben.reader.member().is_torn());
        }
        assert!(torn > 0 && !ben.reader.member().is_torn());
    }

    #[test]
    fn a_delivery_does_not_end_inside_of_a_line_that_is_not_sent() {
        let mut house = TestHouse::new(|limits| limits.log_size = 1 << 20);
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, "from ann\n");
        // His own, more than one delivery goes over.
        house.say(&mut ben, &format!("{}\n", "x".repeat(999)).repeat(700));
        ben.read(usize::MAX);
        assert_eq!(ben.heard(), "from ann\n");
        assert!(!ben.reader.member().is_torn());
        ben.reader.owe(b"answer\n");
        assert_eq!(ben.read_all(), "answer\n");
    }

    #[test]
    fn what_a_member_has_said_itself_is_not_what_it_missed() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ben, "before\n");
        house.say(&mut ann, &lines(0, 100));
        // Ann has gone past the first hundred lines of hers, and then says more.
        ann.read_all();
        let member = Arc::clone(ann.reader.member());
        member.begin_input();
        house.apply(Input::Say { from: ann.id(), text: lines(100, 250).into_bytes(), lines: 150 });
        house.say(&mut ben, &lines(250, 300));
        house.wait(Duration::from_secs(2));
        assert!(!house.house.is_waiting());
        assert_eq!(ann.read_all(), lines(250, 300));
    }

    #[test]
    fn an_answer_is_no_slowness_of_who_reads_it() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        (0..25).for_each(|ten| house.say(&mut ann, &lines(10 * ten, 10 * ten + 10)));
        (0..3).for_each(|_| house.ask(&mut ben, "/last 100"));
        let answers = ben.reader.owed_bytes();
        house.say(&mut ann, &lines(250, 260));
        let mut waited = Duration::ZERO;
        while house.house.is_waiting() {
            house.wait(Duration::from_millis(100));
            waited += Duration::from_millis(100);
            ben.read(RATE as usize / 10 + 1);
            house.notice_space();
        }
        assert!(answers > 2 * RATE as usize && waited > Duration::from_secs(2), "{answers} in {waited:?}");
        ben.read(usize::MAX);
        let heard = ben.heard();
        assert_eq!(heard.rsplit_once("-!-").unwrap().1, format!(" that was the last\n{}", lines(0, 260)));
    }

    #[test]
    fn nobody_holds_the_room_by_asking_for_ever() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        (0..25).for_each(|ten| house.say(&mut ann, &lines(10 * ten, 10 * ten + 10)));
        house.say(&mut ann, &lines(250, 260));
        let mut waited = Duration::ZERO;
        while house.house.is_waiting() && waited < Duration::from_secs(1000) {
            house.ask(&mut ben, "/last 100");
            // Ten times as fast as it has to, and never beyond the answers.
            ben.read(RATE as usize);
            house.wait(Duration::from_millis(100));
            waited += Duration::from_millis(100);
        }
        assert_eq!(ben.reader.member().cursor(), 0);
        assert!((13..20).contains(&waited.as_secs()), "{waited:?}");
    }

    #[test]
    fn a_member_that_was_given_up_on_is_waited_for_again_when_it_has_caught_up() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, &lines(0, 250));
        house.say(&mut ann, &lines(250, 300));
        house.wait(Duration::from_secs(2));
        assert!(!house.house.is_waiting());
        ann.read_all();
        ben.read_all();
        house.wait(TICK);
        house.say(&mut ann, &lines(300, 550));
        house.say(&mut ann, &lines(550, 600));
        assert!(house.house.is_waiting(), "it is waited for again");
        house.notice_space();
        assert_eq!(ben.read_all(), lines(300, 550));
        house.notice_space();
        assert_eq!(ben.read_all(), lines(550, 600));
    }

    #[test]
    fn a_member_that_leaves_holds_nobody_up() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, &lines(0, 250));
        house.say(&mut ann, &lines(250, 300));
        assert!(house.house.is_waiting());
        ben.reader.release();
        house.notice_space();
        assert!(!house.house.is_waiting());
        let ben = ben.reader.id();
        house.apply(Input::Leave(ben));
        let mut eve = house.join();
        house.say(&mut ann, "hello\n");
        assert_eq!(eve.read_all(), "hello\n");
    }

    #[test]
    fn reading_ends_where_the_member_ended() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, "before\n");
        let id = ben.reader.id();
        house.apply(Input::End(id));
        house.say(&mut ann, "after\n");
        assert_eq!(ben.read(usize::MAX), Delivery::Ended);
        assert_eq!(ben.heard(), "before\n");
    }

    #[test]
    fn a_notice_never_tears_a_line() {
        let mut house = TestHouse::default();
        let (mut ann, mut ben) = (house.join(), house.join());
        house.say(&mut ann, "one line\nanother\n");
        ben.read(3);
        ben.reader.owe(b"-!- notice\n");
        ben.reader.owe(b"-!- second\n");
        ben.read(9);
        ben.reader.owe(b"-!- third\n");
        assert_eq!(ben.read_all(), "one line\n-!- notice\n-!- second\n-!- third\nanother\n");
    }

    #[test]
    fn the_room_sends_to_those_who_had_everything_and_wakes_those_who_cannot_take_it() {
        let mut house = TestHouse::default();
        let mut ann = house.join();
        let mut others: Vec<Person> = (2..8).map(|_| house.join()).collect();
        others.iter_mut().for_each(|person| drop(person.read_all()));
        others[2].read(3);
        house.say(&mut ann, "hello\n");
        let fresh = house.house.take_fresh().unwrap();
        let next = house.house.deliver(fresh, (0, None), 4);
        assert_eq!(next, Some((0, Some(SessionId(4)))), "four at a time");
        assert_eq!(house.house.deliver(fresh, next.unwrap(), 4), None);
        assert!(house.house.take_fresh().is_none());
        let heard: Vec<String> = others.iter().map(Person::heard).collect();
        assert_eq!(heard, ["hello\n", "hello\n", "hel", "hello\n", "hello\n", "hello\n"]);
        assert!(!others[2].reader.member().is_asleep(), "its session sees to the rest");
        assert_eq!(others[2].read_all(), "lo\n");
    }
}
