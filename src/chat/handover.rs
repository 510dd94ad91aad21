//! What the next process takes over of a house: plain values, taken out when nothing more is said and put back before
//! anything is.
//!
//! Nothing is lost on the way: not a line that waits for somebody to read, not the byte inside of one. The outlets,
//! which cannot be written down, come from elsewhere. What is put back may come from another version, or from nobody
//! knows where: it is checked as far as anything here relies on it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::house::{House, Limits, Profile, RoomId};
use super::kept_room::{KeptEntry, KeptRoom};
use super::member::{Member, SessionId};
use super::outlet::Outlet;
use super::progress::Progress;
use super::reader::settled;
use super::room::Room;
use super::{Now, Position};
use crate::protocol::{Form, Kind, Name, View, Who};

/// All that is known of a house.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptHouse {
    /// How many lines have been said.
    pub lines: u64,
    /// How many have been skipped for those who did not read.
    pub skipped: u64,
    /// The main room first.
    pub rooms: Vec<KeptRoom>,
    /// Everybody.
    pub members: Vec<KeptMember>,
}

/// Who a session is, where, and how lines are shown to it: what is known of it even after a crash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its number.
    pub id: SessionId,
    /// What it is called, if anybody knows.
    pub who: Option<Who>,
    /// Where it is.
    pub room: Name,
    /// How lines are shown to it.
    pub view: View,
    /// With times.
    pub times: bool,
    /// It has spoken telnet: its lines end with CR LF.
    #[serde(default)]
    pub is_telnet: bool,
    /// The others know that it is there.
    pub is_present: bool,
    /// It has said something under the name that it has.
    pub has_spoken: bool,
    /// Whom it ignores.
    pub ignored: Vec<SessionId>,
}

/// A member, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptMember {
    /// Who it is.
    pub standing: Standing,
    /// What it has still to get; nothing for one that goes on at the head of its log.
    pub place: Option<Place>,
    /// What is to be said to it alone before anything else: whole lines.
    #[serde(with = "serde_bytes")]
    pub told: Vec<u8>,
}

/// Where a member stands in its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    progress: Progress,
    own_end: Position,
    end: Position,
    /// The room waits for it.
    holds: bool,
}

/// Something that has been kept makes no sense: what, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub &'static str);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Damaged {}

impl Standing {
    /// That of somebody who has asked for nothing, in the main room.
    pub fn plain(id: SessionId) -> Self {
        Self {
            id,
            who: None,
            room: Name::known(super::house::MAIN_NAME),
            view: View::Plain,
            times: false,
            is_telnet: false,
            is_present: false,
            has_spoken: false,
            ignored: Vec::new(),
        }
    }

    /// How lines look that are shown to it.
    pub fn form(&self) -> Form {
        let form = Form::new(self.view, self.times);
        if self.is_telnet { form.with_crlf() } else { form }
    }
}

impl House {
    /// Takes out all that is known of everybody who has an outlet. Nothing may be said any more.
    pub fn keep(&self) -> KeptHouse {
        // First of all: what members have missed is settled then.
        let mut members: Vec<_> = self.profiles.values().map(|profile| self.keep_member(profile)).collect();
        members.sort_by_key(|member| member.standing.id);
        KeptHouse {
            lines: self.traffic().lines(),
            skipped: self.traffic().skipped(),
            rooms: self.rooms.values().map(Room::keep).collect(),
            members,
        }
    }

    /// What is known of a session even after a crash.
    pub(super) fn standing(&self, profile: &Profile) -> Standing {
        let room = self.rooms.get(&profile.room).map(|room| room.name().clone());
        Standing {
            id: profile.member.id(),
            who: profile.who.as_deref().cloned(),
            room: room.unwrap_or_else(|| Name::known(super::house::MAIN_NAME)),
            view: profile.member.form().view(),
            times: profile.times,
            is_telnet: profile.member.form().has_crlf(),
            is_present: profile.is_present,
            has_spoken: profile.has_spoken,
            ignored: profile.member.all_ignored(),
        }
    }

    fn keep_member(&self, profile: &Profile) -> KeptMember {
        let member = &profile.member;
        let holds = self.rooms.get(&profile.room).is_none_or(|room| room.holds(member.id()));
        let place = Place { progress: settled(member), own_end: member.own_end(), end: member.end(), holds };
        // To one that is gone nothing more is sent, wherever it has stood.
        let place = Some(place).filter(|_| !member.is_released());
        KeptMember { standing: self.standing(profile), place, told: Vec::new() }
    }

    /// A house as it was. Lines go to what `outlet_of` has for each member; one for whom it has nothing is not there
    /// any more, but what it has said still is.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn put_back(
        limits: Limits,
        kept: KeptHouse,
        now: Now,
        mut outlet_of: impl FnMut(SessionId) -> Option<Arc<dyn Outlet>>,
    ) -> Result<Self, Damaged> {
        let mut house = Self::new(limits);
        house.traffic().put_back(kept.lines, kept.skipped);
        let mut waiting = Vec::new();
        for room in kept.rooms {
            let id = house.room_named(&room.name);
            house.room(id).put_back(&room, limits.log_size, now)?;
            waiting.push((id, room.waiting));
        }
        for kept in kept.members {
            match outlet_of(kept.standing.id) {
                Some(outlet) => house.put_back_member(kept, outlet)?,
                None => house.tell_of_gone(&kept.standing, now),
            }
        }
        for (id, entries) in waiting {
            let entries = entries.into_iter().map(|entry| house.put_back_entry(id, entry)).collect();
            house.room(id).put_back_waiting(entries, now);
        }
        house.drop_empty_rooms();
        Ok(house)
    }

    /// Others are told of somebody who is gone meanwhile.
    fn tell_of_gone(&mut self, standing: &Standing, now: Now) {
        let name = || Name::guest(standing.id.0);
        let who =
            standing.who.clone().unwrap_or_else(|| Who { id: standing.id.0, name: name(), verified: false });
        if standing.is_present {
            let room = self.room_named(&standing.room);
            self.room(room).gather_left(who, now);
        }
    }

    /// Everybody in it.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.profiles.values().map(|profile| &profile.member)
    }

    /// The room of that name; it is made if it is not there, for whoever is in one has a right to it.
    fn room_named(&mut self, name: &Name) -> RoomId {
        let same = self.rooms.iter().find(|(_, room)| room.name() == name).map(|(id, _)| *id);
        same.unwrap_or_else(|| self.add_room(name.clone()))
    }

    fn put_back_member(&mut self, kept: KeptMember, outlet: Arc<dyn Outlet>) -> Result<(), Damaged> {
        let KeptMember { standing, place, told } = kept;
        if standing.id == SessionId::NOBODY || self.profiles.contains_key(&standing.id) {
            return Err(Damaged("two members are one"));
        }
        let id = standing.id;
        let room = self.room_named(&standing.room);
        let log = Arc::clone(self.room(room).log(standing.form()));
        let member = Arc::new(Member::new(standing.id, outlet, Arc::clone(&log)));
        let holds = place.as_ref().is_none_or(|place| place.holds);
        match place {
            None => member.begin(&log),
            Some(place) => {
                if !log.read().has(place.progress.cursor) {
                    return Err(Damaged("a member stands beside its log"));
                }
                member.put_back(place.progress, place.own_end, place.end);
            }
        }
        member.output().progress.begin_with(told);
        self.room(room).seat(&member, standing.form(), holds);
        member.put_back_ignored(standing.ignored);
        let profile = Profile {
            member: Arc::clone(&member),
            who: None,
            room,
            times: standing.times,
            is_present: standing.is_present,
            has_spoken: standing.has_spoken,
            is_noted: true,
        };
        self.profiles.insert(id, profile);
        if let Some(who) = standing.who {
            if standing.is_present && !who.name.is_guest() {
                member.set_named(true);
            }
            self.give_name(id, Who { id: id.0, ..who });
        }
        Ok(())
    }

    fn put_back_entry(&mut self, room: RoomId, entry: KeptEntry) -> Entry {
        match entry {
            KeptEntry::Joined(who) => Entry::Joined(who),
            KeptEntry::Left(who) => Entry::Left(who),
            KeptEntry::Renamed { from, to } => {
                Entry::Renamed { from: Arc::new(from), to: Arc::new(to), asked: None }
            }
            KeptEntry::Said { kind, from, who, text, lines, done } => {
                if kind == Kind::Message {
                    self.traffic().begin_input(text.len());
                }
                let present = self.profiles.get(&from).map(|profile| Arc::clone(&profile.member));
                let member = present.unwrap_or_else(|| {
                    // Gone meanwhile, but what it has said still goes out.
                    Arc::new(Member::without_outlet(from, Arc::clone(self.room(room).log(Form::PLAIN))))
                });
                member.begin_input();
                Entry::Said { kind, member, who: Arc::new(who), text, lines, done }
            }
        }
    }

    /// Nobody has come into them who was kept.
    fn drop_empty_rooms(&mut self) {
        let ids: Vec<RoomId> = self.rooms.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_if_empty(id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::chat::testing::{Person, TestHouse, lines};
    use crate::chat::{Delivery, Input};

    /// One thing that happens.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Say(usize, usize),
        Ask(usize, &'static str),
        Read(usize, usize),
        Wait(u64),
    }

    /// What nobody is told of who does not ask; but for the names, of which everybody is told at once.
    const QUIET: [&str; 12] = [
        "/nick alice",
        "/nick bob",
        "/nick carol",
        "/view plain",
        "/view names",
        "/view json",
        "/time on",
        "/time off",
        "/me waves",
        "/ignore guest1",
        "/msg guest2 psst",
        "/last 5",
    ];

    /// Those who come into a room, and go, are told of a little later.
    const COMING: [&str; 3] = ["/join attic", "/join main", "/last 5"];

    /// People who ask for such things, and say too little for anybody to have to wait.
    fn small_talk(
        commands: Vec<&'static str>,
        bytes: BoxedStrategy<usize>,
    ) -> impl Strategy<Value = Vec<Step>> {
        let who = 0..4_usize;
        let step = prop_oneof![
            4 => (who.clone(), 1..4_usize).prop_map(|(who, count)| Step::Say(who, count)),
            3 => (who.clone(), proptest::sample::select(commands)).prop_map(|(who, what)| Step::Ask(who, what)),
            4 => (who, bytes).prop_map(|(who, bytes)| Step::Read(who, bytes)),
            2 => (0..1500_u64).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..60)
    }

    /// Some bytes of what there is to read, or all of it.
    fn pieces() -> BoxedStrategy<usize> {
        prop_oneof![0..40_usize, 0..6000_usize].boxed()
    }

    /// People who say more than some of them read.
    fn much_talk() -> impl Strategy<Value = Vec<Step>> {
        let who = 0..4_usize;
        let step = prop_oneof![
            4 => (who.clone(), 1..100_usize).prop_map(|(who, count)| Step::Say(who, count)),
            3 => (who, pieces()).prop_map(|(who, bytes)| Step::Read(who, bytes)),
            3 => (0..1500_u64).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..60)
    }

    /// Four people in a house.
    struct Conversation {
        house: TestHouse,
        people: Vec<Person>,
        heard: [String; 4],
        said: [usize; 4],
        /// Something has had to wait for somebody to read.
        has_waited: bool,
    }

    impl Conversation {
        fn new() -> Self {
            let mut house = TestHouse::default();
            let people = (0..4).map(|_| house.join()).collect();
            Self { house, people, heard: Default::default(), said: [0; 4], has_waited: false }
        }

        /// Everybody is known to everybody.
        fn among_friends() -> Self {
            let mut conversation = Self::new();
            for (who, command) in
                ["/nick ann", "/nick ben", "/view json", "/view names"].into_iter().enumerate()
            {
                conversation.take(Step::Ask(who, command));
            }
            conversation.take(Step::Wait(5000));
            conversation
        }

        fn take(&mut self, step: Step) {
            match step {
                Step::Say(who, count) if !self.people[who].is_outstanding() => {
                    let before = self.said.iter().sum();
                    let text = lines(before, before + count);
                    self.said[who] += count;
                    self.house.say(&mut self.people[who], &text);
                }
                Step::Ask(who, what) if !self.people[who].is_outstanding() => {
                    self.house.ask(&mut self.people[who], what);
                }
                Step::Read(who, bytes) => {
                    self.people[who].read(bytes);
                    self.house.notice_space();
                }
                Step::Wait(time) => self.house.wait(Duration::from_millis(time)),
                _ => {}
            }
            self.has_waited |= self.house.house.is_waiting();
            for (heard, person) in self.heard.iter_mut().zip(&self.people) {
                heard.push_str(&person.heard());
            }
        }

        /// Everybody reads all that there is.
        fn end(&mut self) -> &[String; 4] {
            for _ in 0..20 {
                for (heard, person) in self.heard.iter_mut().zip(&mut self.people) {
                    heard.push_str(&person.read_all());
                }
                self.house.wait(Duration::from_millis(500));
                self.house.notice_space();
            }
            assert!(!self.house.house.is_waiting());
            &self.heard
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn a_house_that_goes_on_in_another_process_at_every_step_sends_the_same_bytes(
            steps in small_talk(QUIET.to_vec(), pieces())
        ) {
            let (mut stays, mut moves) = both(Conversation::among_friends, steps)?;
            prop_assert_eq!(stays.end(), moves.end());
        }

        #[test]
        fn whoever_comes_and_goes_is_where_they_are_in_another_process_too(
            steps in small_talk([&QUIET[..], &COMING].concat(), Just(usize::MAX).boxed())
        ) {
            let (mut stays, mut moves) = both(Conversation::new, steps)?;
            for (one, other) in stays.end().iter().zip(moves.end()) {
                prop_assert_eq!(without_comings(one), without_comings(other));
            }
        }

        #[test]
        fn nobody_misses_a_line_unnoticed_because_the_house_goes_on_elsewhere(steps in much_talk()) {
            let mut moves = Conversation::new();
            for step in steps {
                moves.take(step);
                moves.house.move_on(&mut moves.people);
            }
            let heard = moves.end().clone();
            for (who, heard) in heard.iter().enumerate() {
                let (numbers, skipped) = numbers_and_skipped(heard);
                prop_assert!(numbers.is_sorted_by(|one, next| one < next), "{}", heard);
                let others: usize = (0..4).filter(|other| *other != who).map(|other| moves.said[other]).sum();
                prop_assert_eq!(numbers.len() + skipped, others, "{}", heard);
            }
        }
    }

    /// The same conversation in a house that stays where it is, and in one that goes on in another process at every step.
    fn both(
        begin: impl Fn() -> Conversation,
        steps: Vec<Step>,
    ) -> Result<(Conversation, Conversation), TestCaseError> {
        let (mut stays, mut moves) = (begin(), begin());
        for step in steps {
            stays.take(step);
            moves.take(step);
            moves.house.move_on(&mut moves.people);
        }
        // Then somebody may not have said something yet; and who reads nothing for long may have missed a line.
        prop_assume!(!stays.has_waited && !moves.has_waited);
        prop_assume!(![&mut stays, &mut moves].into_iter().any(|one| one.end().concat().contains("skipped")));
        Ok((stays, moves))
    }

    /// All but those who come and go: they may be told of in another line, by the name that they have by then.
    fn without_comings(heard: &str) -> Vec<&str> {
        let is_coming = |line: &&str| {
            [" here)", " is now ", "\"members\"", "\"rename\""].iter().any(|part| line.contains(part))
        };
        heard.lines().filter(|line| !is_coming(line)).collect()
    }

    /// Which lines somebody has heard, in order, and how many it was told that it has missed.
    fn numbers_and_skipped(heard: &str) -> (Vec<&str>, usize) {
        let numbers = heard.lines().filter_map(|line| line.strip_prefix("line ")).collect();
        let told = heard.lines().filter_map(|line| line.strip_prefix("-!- ")?.split_once(" line"));
        (numbers, told.map(|(count, _)| count.parse::<usize>().unwrap()).sum())
    }

    #[test]
    fn it_goes_on_at_every_byte_of_what_is_sent() {
        for cut in 0..200 {
            let mut house = TestHouse::default();
            let mut people = vec![house.join(), house.join(), house.join()];
            house.ask(&mut people[1], "/nick ben");
            house.say(&mut people[0], &lines(0, 6));
            house.say(&mut people[2], &lines(6, 10));
            people[1].read(cut);
            people[2].read(cut / 2);
            house.move_on(&mut people);
            house.say(&mut people[0], "after\n");
            let heard: Vec<String> = people.iter_mut().map(Person::read_all).collect();
            let names: String =
                (0..10).map(|n| format!("<guest{}> line {n:010}\n", if n < 6 { 1 } else { 3 })).collect();
            assert_eq!(
                heard[1],
                format!("-!- you are ben now; /help says what else there is\n{names}<guest1> after\n")
            );
            assert_eq!(heard[2], lines(0, 6) + "after\n");
            assert_eq!(heard[0], lines(6, 10));
        }
    }

    #[test]
    fn what_waits_for_somebody_to_read_waits_there_too_and_its_sayer_with_it() {
        let mut house = TestHouse::default();
        let mut people = vec![house.join(), house.join()];
        house.say(&mut people[0], &lines(0, 250));
        house.say(&mut people[0], &lines(250, 260));
        assert!(people[0].is_outstanding());
        house.move_on(&mut people);
        assert!(people[0].is_outstanding() && house.house.is_waiting());
        assert_eq!(people[1].read_all(), lines(0, 250));
        house.notice_space();
        assert!(!people[0].is_outstanding() && !house.house.is_waiting());
        assert_eq!(people[1].read_all(), lines(250, 260));
    }

    #[test]
    fn who_is_not_there_any_more_is_told_of_and_what_it_said_is_said() {
        let mut house = TestHouse::default();
        let mut people = vec![house.join_as("ann"), house.join_as("ben"), house.join_as("eve")];
        house.wait(Duration::from_secs(2));
        people[0].read_all();
        house.say(&mut people[1], &lines(0, 186));
        house.say(&mut people[1], "the last\n");
        assert!(house.house.is_waiting());
        let ben = people.remove(1);
        house.move_on(&mut people);
        drop(ben);
        people[1].read_all();
        let mut heard = people[0].read_all();
        house.notice_space();
        house.wait(Duration::from_secs(2));
        heard.push_str(&people[0].read_all());
        assert!(heard.ends_with("<ben> the last\n-!- ben left (2 here)\n"), "{heard}");
    }

    #[test]
    fn in_a_quiet_room_others_are_told_of_who_is_not_there_any_more() {
        let mut house = TestHouse::default();
        let mut people = vec![house.join_as("ann"), house.join_as("ben")];
        house.wait(Duration::from_secs(5));
        people[0].read_all();
        drop(people.pop());
        house.move_on(&mut people);
        house.wait(Duration::from_secs(5));
        assert_eq!(people[0].read_all(), "-!- ben left (1 here)\n");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut house = TestHouse::default();
        let mut people = [house.join(), house.join()];
        house.say(&mut people[0], "hello\n");
        let kept = house.house.keep();
        let put_back = |kept| {
            let outlet_of = |id| people.iter().find(|one| one.id() == id).map(|one| one.socket.clone() as _);
            House::put_back(house.house.limits, kept, house.time(), outlet_of).map(|_| ())
        };
        assert_eq!(put_back(kept.clone()), Ok(()));
        let mut twice = kept.clone();
        twice.members.push(twice.members[0].clone());
        assert_eq!(put_back(twice), Err(Damaged("two members are one")));
        let mut beside = kept;
        beside.members[0].place.as_mut().unwrap().progress.cursor = 1000;
        assert_eq!(put_back(beside), Err(Damaged("a member stands beside its log")));
    }

    #[test]
    fn who_has_missed_lines_is_told_how_many_there() {
        let [stays, moves] = [false, true].map(|moves| {
            let mut house = TestHouse::default();
            let mut people = vec![house.join(), house.join()];
            (0..25).for_each(|ten| house.say(&mut people[0], &lines(10 * ten, 10 * ten + 10)));
            people[1].read(7);
            let mut heard = people[1].heard();
            house.say(&mut people[0], &lines(250, 260));
            house.wait(Duration::from_secs(2));
            for ten in 26..40 {
                house.say(&mut people[0], &lines(10 * ten, 10 * ten + 10));
                if moves {
                    house.move_on(&mut people);
                }
            }
            heard.push_str(&people[1].read_all());
            heard
        });
        assert!(stays.contains(" lines skipped (you were not reading)\n"), "{stays}");
        assert_eq!(stays, moves);
    }

    #[test]
    fn an_end_stays_where_it_was() {
        let mut house = TestHouse::default();
        let mut people = vec![house.join(), house.join()];
        house.say(&mut people[0], "before\n");
        house.apply(Input::End(people[1].id()));
        house.say(&mut people[0], "after\n");
        house.move_on(&mut people);
        assert_eq!(people[1].read(usize::MAX), Delivery::Ended);
        assert_eq!(people[1].heard(), "before\n");
    }
}
