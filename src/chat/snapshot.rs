//! The snapshot: the whole hub as one value, for the next process.
//!
//! It has one value for each session and for each room. A handover takes it after the last input, and restores it
//! before the first one. Nothing is lost: no line that waits for a reader, and no byte within a line. A snapshot has no
//! sinks: these come from the descriptor store. A snapshot may be of another version, or damaged, so restoring checks
//! everything that the hub relies on.

use std::iter;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::act::Act;
use super::activity::Activity;
use super::commands::MOST_IGNORED;
use super::damaged::Damaged;
use super::directory::{Directory, Place};
use super::entry::Entry;
use super::epochs::Epochs;
use super::feed::Feed;
use super::flow::Flow;
use super::history;
use super::id::{Now, RoomId, SessionId};
use super::keys::LeftKey;
use super::listing;
use super::log::{Log, LogSnapshot};
use super::member::{Member, Progress};
use super::nowhere;
use super::pending::{Pending, Wait};
use super::presence::Presence;
use super::reading::Reading;
use super::recall::Recalled;
use super::room::Room;
use super::room_names;
use super::room_note;
use super::roster::Roster;
use super::sequencer::{Cursor, Item, Stamp};
use super::sink::Sink;
use super::standing::Standing;
use crate::protocol::{Form, Name, Watched, Who};

/// The whole hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HubSnapshot {
    /// Number of lines that members sent to rooms.
    pub lines: u64,
    /// Number of lines that members lost because they did not read.
    pub skipped: u64,
    /// All rooms, the main room first.
    pub rooms: Vec<RoomSnapshot>,
    /// All sessions.
    pub sessions: Vec<SessionSnapshot>,
    /// The keys of connections that are gone.
    #[serde(default)]
    pub keys: Vec<LeftKey>,
    /// The epoch of the next new room; 0 if not known.
    #[serde(default)]
    pub next_epoch: u64,
    /// Whether what rooms take in is archived, and members know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_archived: bool,
    /// Rooms that nobody is in and that go on later: name, epoch and number of the last line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_rooms: Vec<(Name, u64, u64)>,
    /// Whether members have been told that the engine which orders the entries of several nodes is away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_away: bool,
    /// The roster of several nodes, and the last act in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roster: Option<(Roster, Cursor)>,
}

/// A room without its members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoomSnapshot {
    /// Its name.
    pub name: Name,
    /// Its epoch; 0 if not known.
    #[serde(default)]
    pub epoch: u64,
    /// Number of lines that members sent to it: the number of the last one.
    pub said: u64,
    /// The last entry that it has taken in, with several nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Lines that came again, and are not missing; entries before which others are missing.
    #[serde(default, skip_serializing_if = "super::numbers::has_no_gap")]
    pub(super) gaps: super::numbers::Gaps,
    /// Epochs before, with several nodes.
    #[serde(default, skip_serializing_if = "Epochs::is_empty")]
    pub(super) past: Epochs,
    /// What some member has yet to get, in each form.
    pub(super) logs: Vec<(Form, LogSnapshot)>,
    pub(super) waiting: Vec<Entry>,
    /// The places of the last ones that wait, with several nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) stamps: Vec<Stamp>,
    pub(super) history: Vec<history::Record>,
    pub(super) joined: Vec<Who>,
    pub(super) left: Vec<Who>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    /// Its number.
    pub id: SessionId,
    /// Its member; `None` if the hub does not know of the session yet.
    pub member: Option<MemberSnapshot>,
    /// What it has read and not passed on.
    pub reading: Reading,
}

/// A member, and its place in its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberSnapshot {
    pub(super) standing: Standing,
    /// How far it has been sent its log; `None` for the head.
    pub(super) progress: Option<Progress>,
    /// Whether the room waits for it.
    pub(super) holds: bool,
    pub(super) is_broken: bool,
    pub(super) input: Option<Pending>,
    /// Whole lines to send before anything else.
    #[serde(with = "serde_bytes")]
    pub(super) told: Vec<u8>,
    /// What an operator hears besides its room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) watched: Option<Watched>,
}

impl HubSnapshot {
    /// Returns a snapshot with the rooms and keys in the notes that outlived a crash, in any order. Ignores notes about
    /// something else, and all but the last of several rooms with the same name.
    pub fn from_notes(notes: Vec<(String, u64)>) -> Self {
        let mut snapshot = Self::default();
        for note in room_note::read_all(&notes) {
            let mut room = RoomSnapshot::without_lines(note.name, note.epoch, note.number);
            room.cursor = note.entry.map(|entry| Cursor { epoch: note.epoch, entry });
            snapshot.rooms.push(room);
        }
        let keys = notes.iter().filter_map(|(text, number)| LeftKey::from_note(text, *number));
        snapshot.keys = keys.collect();
        snapshot
    }
}

impl RoomSnapshot {
    /// Returns a room without lines, with its name, its epoch, and a number that is not less than that of its last
    /// line.
    pub fn without_lines(name: Name, epoch: u64, said: u64) -> Self {
        Self {
            name,
            epoch,
            said,
            cursor: None,
            gaps: Default::default(),
            past: Epochs::default(),
            logs: Vec::new(),
            waiting: Vec::new(),
            stamps: Vec::new(),
            history: Vec::new(),
            joined: Vec::new(),
            left: Vec::new(),
        }
    }

    fn of(room: &Room) -> Self {
        let (joined, left) = room.presence.untold();
        Self {
            cursor: room.numbers.cursor,
            gaps: (room.numbers.repeated.clone(), room.numbers.jumps.clone()),
            past: room.numbers.past.clone(),
            logs: room.feeds().filter_map(Feed::snapshot).collect(),
            waiting: room.waiting().iter().map(|(entry, _)| entry.clone()).collect(),
            stamps: room.waiting().iter().filter_map(|(_, stamp)| *stamp).collect(),
            history: room.history.iter().cloned().collect(),
            joined: joined.to_vec(),
            left: left.to_vec(),
            ..Self::without_lines(Name::clone(room.name()), room.epoch(), room.said())
        }
    }

    /// Restores the room without the entries that wait: these follow after the members.
    fn restore(&self, directory: &mut Directory, now: Now) -> Result<(), Damaged> {
        if !self.waiting.iter().all(Entry::is_sound) {
            return Err(Damaged("what waits in a room is not what it is said to be"));
        }
        if self.stamps.len() > self.waiting.len() {
            return Err(Damaged("there are more places than entries that wait in a room"));
        }
        let id = match directory.room_called(&self.name) {
            Some(id) if directory.room(id).feeds().next().is_some() || directory.room(id).said() > 0 => {
                return Err(Damaged("two rooms are one"));
            }
            Some(id) => id,
            None => directory.add_room(self.name.clone(), self.said),
        };
        let (log_size, is_cluster) = (directory.limits.log_size, directory.cluster.is_on);
        let room = directory.room(id);
        let epoch = if self.epoch == 0 { room.epoch() } else { self.epoch };
        room.numbers.go_on_after(self.said, epoch);
        self.cursor.filter(|_| is_cluster).into_iter().for_each(|cursor| room.numbers.open_at(cursor));
        (room.numbers.repeated, room.numbers.jumps) = self.gaps.clone();
        room.numbers.past.clone_from(&self.past);
        for (form, log) in &self.logs {
            let log = Log::restore(log, log_size).ok_or(Damaged("a log is not in order"))?;
            room.feeds.restore_log(*form, log);
        }
        self.history.iter().filter(|record| record.is_sound()).for_each(|one| room.history.push(one.clone()));
        let waiting = self.waiting.iter().filter(|entry| entry.is_presence()).count();
        room.presence = Presence::restore(self.joined.clone(), self.left.clone(), waiting, now.instant);
        Ok(())
    }
}

impl MemberSnapshot {
    /// Returns a member after a crash: its standing, and what to send it first.
    pub fn after_crash(standing: Standing, told: Vec<u8>) -> Self {
        let (progress, input) = (None, None);
        Self { standing, progress, holds: true, is_broken: false, input, told, watched: None }
    }

    /// Returns whether the bytes sent last end within a line.
    pub fn is_torn(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.torn)
    }

    fn of(directory: &Directory, member: &Member) -> Option<Self> {
        Some(Self {
            standing: Standing::of(directory, member)?,
            progress: Some(member.progress.clone()),
            holds: member.flow.holds,
            is_broken: member.is_broken,
            input: member.input.as_deref().cloned(),
            told: Vec::new(),
            watched: directory.operators.watched_by(member.id).cloned(),
        })
    }

    /// Restores the member, with `sink` for its lines.
    fn restore(
        self,
        directory: &mut Directory,
        sink: Arc<dyn Sink>,
        activity: Activity,
    ) -> Result<(), Damaged> {
        let standing = self.standing;
        let id = standing.id;
        if id == SessionId::NOBODY || directory.place(id).is_some() {
            return Err(Damaged("two members are one"));
        }
        if self.input.as_ref().is_some_and(|input| !input.is_sound()) {
            return Err(Damaged("what a member has sent is not whole lines"));
        }
        let is_nowhere = standing.room == room_names::nowhere();
        let room = if is_nowhere { RoomId::NOWHERE } else { directory.room_or_new(&standing.room) };
        let form = standing.form();
        let log = directory.room(room).feed(form).log();
        let mut member = Box::new(Member::new(id, sink, log.head(), activity));
        if let Some(mut progress) = self.progress {
            if !log.has(progress.cursor) {
                return Err(Damaged("a member stands beside its log"));
            }
            progress.owed.iter_mut().for_each(|owed| owed.at = owed.at.min(log.head()));
            member.flow = Flow::new(progress.cursor, self.holds);
            member.progress = progress;
        }
        member.begin_with(self.told);
        member.who = standing.who.map(|who| Arc::new(Who { id: id.0, ..who }));
        if is_nowhere {
            member.who = nowhere::name(directory, &member);
        } else {
            listing::restore(directory, &mut member, (standing.room, standing.key, standing.is_present));
        }
        (member.times, member.is_present) = (standing.times, standing.is_present);
        member.has_spoken = standing.has_spoken;
        directory.operators.watch(id, self.watched);
        member.set_ignored(standing.ignored.into_iter().take(MOST_IGNORED).collect());
        member.input = self.input.map(Box::new);
        member.is_broken = self.is_broken;
        directory.restore(member, Place { room, form });
        Ok(())
    }
}

/// Takes a snapshot, with what the sessions have read and not passed on.
pub(super) fn take(
    directory: &Directory,
    counted: (u64, u64),
    readings: Vec<(SessionId, Box<Reading>)>,
) -> HubSnapshot {
    let session = |(id, reading): (SessionId, Box<Reading>)| {
        let member = directory.member(id).and_then(|member| MemberSnapshot::of(directory, member));
        SessionSnapshot { id, member, reading: *reading }
    };
    let mut sessions: Vec<SessionSnapshot> = readings.into_iter().map(session).collect();
    sessions.sort_by_key(|session| session.id);
    let rooms = directory.rooms().values().map(RoomSnapshot::of).collect();
    let mut keys: Vec<LeftKey> = directory.roster.keys.left().cloned().collect();
    keys.sort_by_key(|left| (left.until, left.name.to_string()));
    let left_rooms = directory.recall.numbers().map(|(name, epoch, last)| (name.clone(), epoch, last));
    HubSnapshot {
        lines: counted.0,
        skipped: counted.1,
        rooms,
        sessions,
        keys,
        next_epoch: directory.next_epoch,
        is_archived: directory.archiving.is_some(),
        is_away: directory.cluster.is_away,
        left_rooms: left_rooms.collect(),
        roster: directory.following.is_live.then(|| (directory.roster.clone(), directory.following.cursor)),
    }
}

/// Restores a directory. `sink_of` gives the sink of each member. A member without one is gone, but its lines are not.
/// Returns what the other sessions had read.
///
/// # Errors
/// The first thing that is damaged.
pub(super) fn restore(
    directory: &mut Directory,
    snapshot: HubSnapshot,
    now: Now,
    mut sink_of: impl FnMut(SessionId) -> Option<Arc<dyn Sink>>,
) -> Result<Vec<(SessionId, Reading)>, Damaged> {
    snapshot.rooms.iter().try_for_each(|room| room.restore(directory, now))?;
    for (name, epoch, said) in snapshot.left_rooms {
        directory.recall.put(Recalled::new(name, epoch, said), &directory.limits);
    }
    directory.recall.was_archived = snapshot.is_archived;
    directory.roster.keys.restore(snapshot.keys);
    directory.cluster.is_away = snapshot.is_away && directory.cluster.is_on;
    directory.cluster.was_away = directory.cluster.is_away;
    if snapshot.next_epoch > 0 {
        directory.next_epoch = snapshot.next_epoch;
    }
    let mut readings = Vec::new();
    for SessionSnapshot { id, member, reading } in snapshot.sessions {
        match (member, sink_of(id)) {
            (Some(member), Some(sink)) => {
                let heard = now.wall.checked_sub(reading.idle).unwrap_or(now.wall);
                member.restore(directory, sink, Activity::since(heard))?;
            }
            (Some(member), None) => tell_of_gone(directory, &member.standing, now),
            (None, _) => {}
        }
        readings.push((id, reading));
    }
    snapshot.roster.into_iter().for_each(|followed| listing::go_on(directory, followed));
    directory.note_watches();
    restore_waiting(directory, snapshot.rooms, now);
    Ok(readings)
}

/// Restores the entries that wait in rooms, with their places if there are several nodes.
fn restore_waiting(directory: &mut Directory, rooms: Vec<RoomSnapshot>, now: Now) {
    for RoomSnapshot { name, waiting, mut stamps, .. } in rooms {
        for id in waiting.iter().filter_map(Entry::asked_by) {
            if let Some(member) = directory.member_mut(id) {
                member.input.get_or_insert_default().wait = Wait::Place;
            }
        }
        stamps.truncate(if directory.cluster.is_on { usize::MAX } else { 0 });
        let bare = waiting.len() - stamps.len();
        let stamps = iter::repeat_n(None, bare).chain(stamps.into_iter().map(Some));
        let room = directory.room_or_new(&name);
        directory.room(room).restore_waiting(waiting.into_iter().zip(stamps).collect(), now);
    }
}

/// Announces that a member is gone.
fn tell_of_gone(directory: &mut Directory, standing: &Standing, now: Now) {
    if directory.sequencer.has(standing.id) {
        directory.sequencer.submit(Item::Act(Act::Left(standing.id)));
    }
    if !standing.is_present {
        return;
    }
    let who = standing.who.clone().unwrap_or_else(|| Who::guest(standing.id.0));
    let room = directory.room_or_new(&standing.room);
    let presence = &mut directory.room(room).presence;
    presence.left(who);
    presence.begin(now.instant);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::chat::testing::{Person, TestHub, lines};
    use crate::chat::{End, Hub, Local};

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

    /// Four people in a hub.
    struct Conversation {
        hub: TestHub,
        people: Vec<Person>,
        heard: [String; 4],
        said: [usize; 4],
        /// Something has had to wait for somebody to read.
        has_waited: bool,
    }

    impl Conversation {
        fn new() -> Self {
            let mut hub = TestHub::default();
            let people = (0..4).map(|_| hub.join()).collect();
            Self { hub, people, heard: Default::default(), said: [0; 4], has_waited: false }
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
                    self.hub.say(&mut self.people[who], &text);
                }
                Step::Ask(who, what) if !self.people[who].is_outstanding() => {
                    self.hub.ask(&mut self.people[who], what);
                }
                Step::Read(who, bytes) => {
                    self.people[who].read(bytes);
                }
                Step::Wait(time) => self.hub.wait(Duration::from_millis(time)),
                _ => {}
            }
            self.has_waited |= self.hub.hub().is_waiting();
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
                self.hub.wait(Duration::from_millis(500));
            }
            assert!(!self.hub.hub().is_waiting());
            self.heard.iter_mut().for_each(|heard| *heard = without_keys(heard));
            &self.heard
        }
    }

    /// What was heard, with other bits in the keys, which are random.
    fn without_keys(heard: &str) -> String {
        let mut parts = heard.split("\"key\":\"");
        let mut masked = parts.next().unwrap_or_default().to_owned();
        parts.for_each(|part| masked.push_str(&format!("\"key\":\"{}", &part[32..])));
        masked
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
                moves.hub.move_on(&mut moves.people);
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

    /// The same conversation in a hub that stays where it is, and in one that goes on in another process at every step.
    fn both(
        begin: impl Fn() -> Conversation,
        steps: Vec<Step>,
    ) -> Result<(Conversation, Conversation), TestCaseError> {
        let (mut stays, mut moves) = (begin(), begin());
        for step in steps {
            stays.take(step);
            moves.take(step);
            moves.hub.move_on(&mut moves.people);
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
            let mut hub = TestHub::default();
            let mut people = vec![hub.join(), hub.join(), hub.join()];
            hub.ask(&mut people[1], "/nick ben");
            hub.say(&mut people[0], &lines(0, 6));
            hub.say(&mut people[2], &lines(6, 10));
            people[1].read(cut);
            people[2].read(cut / 2);
            hub.move_on(&mut people);
            hub.say(&mut people[0], "after\n");
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
        let mut hub = TestHub::default();
        let mut people = vec![hub.join(), hub.join()];
        hub.say(&mut people[0], &lines(0, 250));
        hub.say(&mut people[0], &lines(250, 260));
        assert!(people[0].is_outstanding());
        hub.move_on(&mut people);
        assert!(people[0].is_outstanding() && hub.hub().is_waiting());
        assert_eq!(people[1].read_all(), lines(0, 260));
        assert!(!people[0].is_outstanding() && !hub.hub().is_waiting());
    }

    #[test]
    fn who_is_not_there_any_more_is_told_of_and_what_it_said_is_said() {
        let mut hub = TestHub::default();
        let mut people = vec![hub.join_as("ann"), hub.join_as("ben"), hub.join_as("eve")];
        hub.wait(Duration::from_secs(2));
        people[0].read_all();
        let mut said = 0;
        while !people[1].is_outstanding() {
            hub.say(&mut people[1], &lines(said, said + 1));
            said += 1;
        }
        assert!(hub.hub().is_waiting());
        let ben = people.remove(1);
        hub.move_on(&mut people);
        drop(ben);
        people[1].read_all();
        let mut heard = people[0].read_all();
        hub.wait(Duration::from_secs(2));
        heard.push_str(&people[0].read_all());
        let last = format!("<ben> {}-!- ben left (2 here)\n", lines(said - 1, said));
        assert!(heard.ends_with(&last), "{heard}");
    }

    #[test]
    fn in_a_quiet_room_others_are_told_of_who_is_not_there_any_more() {
        let mut hub = TestHub::default();
        let mut people = vec![hub.join_as("ann"), hub.join_as("ben")];
        hub.wait(Duration::from_secs(5));
        people[0].read_all();
        drop(people.pop());
        hub.move_on(&mut people);
        hub.wait(Duration::from_secs(5));
        assert_eq!(people[0].read_all(), "-!- ben left (1 here)\n");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut hub = TestHub::default();
        let mut people = [hub.join(), hub.join()];
        hub.say(&mut people[0], "hello\n");
        let snapshot = hub.snapshot(&[people[0].id(), people[1].id()]);
        let restore = |snapshot| {
            let sink_of = |id| people.iter().find(|one| one.id() == id).map(|one| one.socket.clone() as _);
            Hub::restore(hub.limits, Box::<Local>::default(), snapshot, hub.time(), sink_of).map(drop)
        };
        assert_eq!(restore(snapshot.clone()), Ok(()));
        let mut twice = snapshot.clone();
        twice.sessions.push(twice.sessions[0].clone());
        assert_eq!(restore(twice), Err(Damaged("two members are one")));
        let mut half = snapshot.clone();
        half.sessions[0].member.as_mut().unwrap().input =
            Some(Pending::new(b"half a line".to_vec(), false, End::No));
        assert_eq!(restore(half), Err(Damaged("what a member has sent is not whole lines")));
        let mut beside = snapshot;
        beside.sessions[0].member.as_mut().unwrap().progress.as_mut().unwrap().cursor = 1000;
        assert_eq!(restore(beside), Err(Damaged("a member stands beside its log")));
    }

    #[test]
    fn who_has_missed_lines_is_told_how_many_there() {
        let [stays, moves] = [false, true].map(|moves| {
            let mut hub = TestHub::default();
            let mut people = vec![hub.join(), hub.join()];
            (0..25).for_each(|ten| hub.say(&mut people[0], &lines(10 * ten, 10 * ten + 10)));
            people[1].read(7);
            let mut heard = people[1].heard();
            hub.say(&mut people[0], &lines(250, 260));
            hub.wait(Duration::from_secs(2));
            for ten in 26..40 {
                hub.say(&mut people[0], &lines(10 * ten, 10 * ten + 10));
                if moves {
                    hub.move_on(&mut people);
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
        let mut hub = TestHub::default();
        let mut people = vec![hub.join(), hub.join()];
        hub.say(&mut people[0], "before\n");
        hub.end(&people[1]);
        hub.say(&mut people[0], "after\n");
        hub.move_on(&mut people);
        assert_eq!(people[1].read_all(), "before\n");
        assert!(people[1].is_done());
    }
}
