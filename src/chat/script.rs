//! A sequencer of a node among several, for the tests of this floor: a test says what comes back, and when.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;

use super::recall::Recalled;
use super::sequencer::{Cursor, EngineEvent, Item, Sequenced, Sequencer, Stamp};
use super::{Entry, SessionId};
use crate::protocol::{Kind, Name, Who};

/// The end that the test holds. The sequencer itself may move from one hub to the next.
#[derive(Clone, Debug)]
pub struct Script {
    node: Arc<str>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Entries that have no place yet.
    submitted: VecDeque<(Arc<Name>, Entry)>,
    /// What has one.
    given: VecDeque<Sequenced>,
    /// Rooms that the hub holds.
    held: HashSet<String>,
    /// What it has been asked to do, since this was last asked.
    calls: Vec<String>,
    /// How many acts there have been.
    acts: u64,
    waker: Option<Waker>,
}

impl State {
    fn next_index(&self) -> Option<usize> {
        let is_free = |item: &Sequenced| match item {
            Sequenced::Entry { room, .. } => !self.held.contains(room.as_str()),
            _ => true,
        };
        self.given.iter().position(is_free)
    }
}

pub fn at(epoch: u64, entry: u64) -> Cursor {
    Cursor { epoch, entry }
}

/// Somebody on another node.
fn stranger() -> Who {
    Who { id: 900, name: Name::parse("zoe").unwrap(), verified: false }
}

/// When the entry with that number got its place: so many seconds after 1970.
pub fn time(cursor: Cursor) -> Timestamp {
    Timestamp::from_second(i64::try_from(cursor.entry).unwrap()).unwrap()
}

impl Script {
    pub fn new() -> Self {
        Self { node: "alpha".into(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn give(&self, sequenced: Sequenced) {
        let mut state = self.state();
        state.given.push_back(sequenced);
        state.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Has the hub be told how the engine is.
    pub fn event(&self, event: EngineEvent) {
        self.give(Sequenced::Engine(event));
    }

    /// Opens a room in which the line `said` was the last one.
    pub fn open(&self, room: &str, cursor: Cursor, said: u64) {
        self.give(Sequenced::Opened { room: Box::new(recalled(room, cursor, said, "before")), cursor });
    }

    /// Somebody on another node has said something, of which the first line has the number `seq`.
    pub fn say(&self, room: &str, cursor: Cursor, seq: u64, text: &str) {
        let (who, lines) = (stranger(), text.lines().count() as u32);
        let (from, who) = (SessionId(who.id), Arc::new(who));
        self.put(
            room,
            cursor,
            seq,
            Entry::Said { kind: Kind::Message, from, who, text: text.into(), lines, done: (0, 0) },
        );
    }

    pub fn put(&self, room: &str, cursor: Cursor, seq: u64, entry: Entry) {
        let (room, time) =
            (Arc::new(Name::parse(room).unwrap_or_else(|_| Name::known("main"))), time(cursor));
        self.give(Sequenced::Entry { room, entry, stamp: Some(Stamp { cursor, seq, time }) });
    }

    /// Gives the entry that was submitted first its place.
    pub fn place(&self, cursor: Cursor, seq: u64) {
        let (room, entry) = self.state().submitted.pop_front().unwrap();
        let stamp = Some(Stamp { cursor, seq, time: time(cursor) });
        self.give(Sequenced::Entry { room, entry, stamp });
    }

    /// Removes what was submitted and returns it.
    pub fn take_submitted(&self) -> Vec<Entry> {
        let submitted = std::mem::take(&mut self.state().submitted);
        submitted.into_iter().map(|(_, entry)| entry).collect()
    }

    pub fn submitted(&self) -> usize {
        self.state().submitted.len()
    }

    /// How many items the hub has not taken.
    pub fn untaken(&self) -> usize {
        self.state().given.len()
    }

    /// How many acts there have been.
    pub fn acts(&self) -> u64 {
        self.state().acts
    }

    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }
}

/// A room as it ended with a line.
pub fn recalled(room: &str, cursor: Cursor, said: u64, text: &str) -> Recalled {
    let name = Name::parse(room).unwrap_or_else(|_| Name::known("main"));
    let mut recalled = Recalled::new(name, cursor.epoch, said);
    let line = format!(
        r#"{{"type":"message","seq":{said},"time":"2026-11-23T15:48:01Z","room":"{room}","id":900,"from":"zoe","verified":false,"text":"{text}"}}"#
    );
    assert!(said == 0 || recalled.push(&serde_json::from_str(&line).unwrap()));
    recalled
}

impl Sequencer for Script {
    fn submit(&mut self, item: Item) {
        let mut state = self.state();
        match item {
            Item::Entry(room, entry) => state.submitted.push_back((room, entry)),
            Item::Act(act) => {
                // Acts have their place at once.
                state.acts += 1;
                let (node, cursor) = (Some(Arc::clone(&self.node)), at(1, state.acts));
                state.given.push_back(Sequenced::Act {
                    act,
                    node,
                    cursor,
                    time: Some(time(cursor)),
                    is_again: false,
                    is_awaited: true,
                });
            }
        }
    }

    fn has(&self, asked_by: SessionId) -> bool {
        let state = self.state();
        let is_its = |entry: &Entry| entry.asked_by() == Some(asked_by);
        let given =
            state.given.iter().any(|one| matches!(one, Sequenced::Entry { entry, .. } if is_its(entry)));
        given || state.submitted.iter().any(|(_, entry)| is_its(entry))
    }

    fn next(&mut self) -> Option<Sequenced> {
        let mut state = self.state();
        let index = state.next_index()?;
        state.given.remove(index)
    }

    fn is_settled(&self) -> bool {
        self.state().submitted.is_empty()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.next_index().is_some() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn node(&self) -> Option<&Arc<str>> {
        Some(&self.node)
    }

    fn open(&mut self, room: &Arc<Name>, after: Option<Cursor>) {
        let after = after.map_or(String::new(), |after| format!(" after {}-{}", after.epoch, after.entry));
        self.state().calls.push(format!("open {room}{after}"));
    }

    fn close(&mut self, room: &Name) {
        self.state().calls.push(format!("close {room}"));
    }

    fn hold(&mut self, room: &Name, is_held: bool) {
        let mut state = self.state();
        state.calls.push(format!("{} {room}", if is_held { "hold" } else { "release" }));
        if is_held {
            state.held.insert(room.as_str().to_owned());
        } else {
            state.held.remove(room.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    use super::*;
    use crate::chat::testing::{Lines, Noted, Person, TestHub, lines};
    use crate::chat::{Arrival, HubSnapshot, MemberSnapshot, Reading, SessionSnapshot, Sink, Standing};
    use crate::protocol::View;

    /// A node whose main room is open, behind line 40.
    fn cluster() -> (TestHub, Script) {
        let script = Script::new();
        let mut hub = TestHub::among_several(&script, |_| {});
        script.open("main", at(7, 3), 40);
        hub.settle();
        script.take_calls();
        (hub, script)
    }

    fn viewing(hub: &mut TestHub, view: View) -> Person {
        let mut person = hub.arrive(Arrival { view, ..Arrival::default() });
        person.read_all();
        person
    }

    #[test]
    fn what_is_said_is_heard_when_it_comes_back_with_the_number_and_the_time_of_the_engine() {
        let (mut hub, script) = cluster();
        let (mut ann, mut eve) = (hub.join(), viewing(&mut hub, View::Json));
        script.take_submitted();
        hub.say(&mut ann, "hello\n");
        assert!(ann.is_outstanding() && eve.read_all().is_empty());
        script.say("main", at(7, 4), 41, "first\n");
        script.place(at(7, 5), 42);
        hub.settle();
        assert!(!ann.is_outstanding());
        assert_eq!(ann.read_all(), "first\n");
        let heard = eve.read_all();
        assert!(heard.contains(r#""seq":41,"time":"1970-01-01T00:00:04.000Z""#), "{heard}");
        assert!(heard.contains(r#""seq":42,"time":"1970-01-01T00:00:05.000Z""#), "{heard}");
        let last = hub.answer(&mut eve, "/last 2");
        assert!(last.contains("00:00:04") && last.contains("00:00:05"), "{last}");
    }

    #[test]
    fn what_was_taken_in_before_is_dropped_and_wakes_nobody() {
        let (mut hub, script) = cluster();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, "one\ntwo\n");
        script.place(at(7, 4), 41);
        script.say("main", at(7, 4), 41, "again\n");
        script.say("main", at(6, 90), 12, "long ago\n");
        script.say("main", at(7, 5), 43, "new\n");
        hub.settle();
        assert_eq!(ben.read_all(), "one\ntwo\nnew\n");
        hub.say(&mut ann, "three\n");
        let Some(Entry::Said { from, who, .. }) = script.take_submitted().pop() else { panic!() };
        let entry =
            Entry::Said { kind: Kind::Message, from, who, text: "x\n".into(), lines: 1, done: (0, 0) };
        script.put("main", at(7, 5), 43, entry);
        hub.settle();
        assert!(ann.is_outstanding(), "that was another one");
    }

    #[test]
    fn lines_that_are_gone_are_told_at_their_place_and_counted() {
        let (mut hub, script) = cluster();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        let gone = hub.join();
        hub.end(&gone);
        script.say("main", at(7, 4), 41, "a\n");
        script.say("main", at(7, 9), 46, "b\n");
        script.say("main", at(7, 11), 48, "c\n");
        hub.settle();
        let skipped = |count: &str| format!("-!- {count} skipped (you were not reading)\n");
        let heard = format!("a\n{}b\n{}c\n", skipped("4 lines"), skipped("1 line"));
        assert_eq!((ann.read_all(), ben.read_all()), (heard.clone(), heard));
        assert_eq!(hub.hub().traffic().skipped.load(Relaxed), 10);
        // Who has read all is told with the next line.
        script.say("main", at(7, 13), 52, "d\n");
        hub.settle();
        assert_eq!(ann.read_all(), format!("{}d\n", skipped("3 lines")));
    }

    #[test]
    fn another_epoch_has_its_own_numbers_and_no_gap() {
        let (mut hub, script) = cluster();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        script.say("main", at(8, 1), 90, "a\n");
        hub.settle();
        assert_eq!(ann.read_all(), "a\n");
        assert!(hub.answer(&mut ben, "/sync x").ends_with("-!- synced x\n"));
        script.say("main", at(7, 99), 41, "late\n");
        script.say("main", at(9, 1), 1, "anew\n");
        hub.settle();
        assert_eq!(ann.read_all(), "anew\n");
        let mut eve = viewing(&mut hub, View::Json);
        assert!(hub.answer(&mut eve, "/sync x").contains(r#""epoch":9,"seq":1"#));
        let last = hub.answer(&mut eve, "/last");
        assert!(last.contains("anew") && !last.contains("before"), "the numbers went back: {last}");
    }

    /// Their rooms had numbers of their own before a restart into a cluster.
    #[test]
    fn programs_that_are_there_when_a_room_opens_are_told_its_epoch() {
        let script = Script::new();
        let mut hub = TestHub::among_several(&script, |_| {});
        let mut eve = viewing(&mut hub, View::Json);
        script.open("main", at(7, 3), 40);
        hub.settle();
        assert_eq!(eve.read_all(), "{\"type\":\"epoch\",\"room\":\"main\",\"epoch\":7,\"seq\":40}\n");
    }

    #[test]
    fn programs_are_told_of_another_epoch_and_go_on_over_it() {
        let (mut hub, script) = cluster();
        let mut people = [viewing(&mut hub, View::Json)];
        script.say("main", at(7, 4), 41, "a\nb\n");
        script.say("main", at(8, 1), 43, "c\n");
        script.say("main", at(8, 2), 44, "d\n");
        hub.settle();
        let heard = people[0].read_all();
        let kinds: Vec<&str> = heard.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
        assert_eq!(kinds, ["message", "message", "epoch", "message", "message"]);
        assert!(heard.contains("{\"type\":\"epoch\",\"room\":\"main\",\"epoch\":8,\"seq\":42}\n"), "{heard}");
        let known = [("41 7", 41), ("42 7", 42), ("99 7", 42), ("43 8", 43), ("43 6", 0)];
        for _ in 0..2 {
            for (place, since) in known {
                let answer = hub.answer(&mut people[0], &format!("/last since {place}"));
                assert!(answer.contains(&format!("\"since\":{since}}}")), "{place}: {answer}");
            }
            hub.move_on(&mut people);
            // The archive knows nothing of epochs before.
            hub.hub().recall(vec![recalled("main", at(8, 2), 44, "d")]);
        }
        // Two lines are lost, and others have their numbers.
        script.say("main", at(9, 1), 43, "e\n");
        hub.settle();
        let last = hub.answer(&mut people[0], "/last since 0 9");
        let texts: Vec<&str> =
            last.split("\"text\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(texts, ["before", "a", "b", "e"]);
    }

    #[test]
    fn who_waits_for_a_line_that_is_lost_goes_on() {
        let (mut hub, script) = cluster();
        let (mut ann, mut ben) = (hub.join(), hub.join());
        hub.say(&mut ann, "lost\n");
        hub.say(&mut ben, "found\n");
        let lost = script.state().submitted.pop_front();
        script.say("main", at(7, 6), 43, "x\n");
        hub.settle();
        assert!(lost.is_some() && !ann.is_outstanding() && ben.is_outstanding());
        script.place(at(7, 7), 44);
        hub.settle();
        assert!(!ben.is_outstanding());
        assert!(ann.read_all().ends_with("x\nfound\n"));
    }

    #[test]
    fn a_full_room_is_held_and_only_one_entry_waits_in_it() {
        let (mut hub, script) = cluster();
        let (mut ann, ben) = (viewing(&mut hub, View::Json), hub.join());
        ben.break_off();
        for entry in 0..9 {
            script.say("main", at(7, 4 + entry), 41 + 10 * entry, &lines(0, 10));
        }
        hub.settle();
        assert!(hub.hub().is_waiting() && script.untaken() > 0);
        assert_eq!(script.take_calls(), ["hold main"]);
        let untaken = script.untaken();
        hub.settle();
        assert_eq!(script.untaken(), untaken);
        let (mut heard, mut calls) = (String::new(), Vec::new());
        while script.untaken() > 0 || hub.hub().is_waiting() {
            heard += &ann.read_all();
            hub.settle();
            calls.extend(script.take_calls());
        }
        heard += &ann.read_all();
        let numbers: Vec<u64> = heard
            .lines()
            .filter_map(|line| line.split(r#""seq":"#).nth(1)?.split(',').next()?.parse().ok())
            .collect();
        assert_eq!(numbers, (41..131).collect::<Vec<u64>>());
        assert_eq!(calls.last().map(String::as_str), Some("release main"));
        // All lines of an entry have one time, also of one that has waited.
        for (entry, chunk) in heard.lines().collect::<Vec<_>>().chunks(10).enumerate() {
            let time = format!("00:00:{:02}.000Z", 4 + entry);
            assert!(chunk.iter().all(|line| line.contains(&time)), "{time}: {chunk:?}");
        }
    }

    #[test]
    fn members_are_told_once_how_the_engine_is() {
        let (mut hub, script) = cluster();
        let (mut plain, mut ann) = (hub.join(), viewing(&mut hub, View::Names));
        let tell = |hub: &mut TestHub, event| {
            script.event(event);
            hub.settle();
        };
        const AWAY: &str = "-!- chatd has lost touch with the rest of its cluster: what you say waits\n";
        const BACK: &str = "-!- chatd is in touch with the rest of its cluster again\n";
        tell(&mut hub, EngineEvent::Back);
        assert_eq!(ann.read_all(), "");
        tell(&mut hub, EngineEvent::Away);
        tell(&mut hub, EngineEvent::Away);
        assert_eq!(ann.read_all(), AWAY);
        let mut eve = hub.arrive(Arrival { view: View::Json, ..Arrival::default() });
        assert!(eve.read_all().contains(r#""code":"engine_away""#));
        tell(&mut hub, EngineEvent::Back);
        assert_eq!(ann.read_all(), BACK);
        assert!(eve.read_all().contains(r#""code":"engine_back""#));
        tell(&mut hub, EngineEvent::Failover);
        assert!(ann.read_all().contains("the cluster had a failure"));
        assert!(eve.read_all().contains(r#""code":"engine_failover""#));
        tell(&mut hub, EngineEvent::Away);
        assert_eq!(ann.read_all(), AWAY);
        let mut people = [plain, ann];
        hub.move_on(&mut people);
        script.event(EngineEvent::Away);
        hub.settle();
        let [again, mut ann] = people;
        plain = again;
        assert_eq!(ann.read_all(), "", "the process before has said so");
        hub.move_on(&mut [plain, ann]);
    }

    #[test]
    fn what_comes_first_after_a_handover_says_that_the_engine_is_back() {
        let (mut hub, script) = cluster();
        let mut people = [viewing(&mut hub, View::Names)];
        script.event(EngineEvent::Away);
        hub.settle();
        hub.move_on(&mut people);
        script.say("main", at(7, 4), 41, "x\n");
        hub.settle();
        let heard = people[0].read_all();
        assert!(heard.contains("what you say waits\n") && heard.contains("again\n"), "{heard}");
        assert_eq!(heard.matches("-!-").count(), 2);
    }

    #[test]
    fn the_next_process_goes_on_behind_what_was_taken_in() {
        let (mut hub, script) = cluster();
        let (mut ann, ben) = (hub.join(), viewing(&mut hub, View::Json));
        script.take_submitted();
        for entry in 0..6 {
            script.say("main", at(7, 4 + entry), 41 + 10 * entry, &lines(0, 10));
        }
        hub.say(&mut ann, "hello\n");
        hub.settle();
        assert!(hub.hub().is_waiting());
        let taken = 6 - script.untaken() as u64;
        script.take_calls();
        let mut people = [ann, ben];
        hub.move_on(&mut people);
        assert_eq!(script.take_calls(), [format!("open main after 7-{}", 3 + taken), "hold main".to_owned()]);
        let [mut ann, mut ben] = people;
        assert!(ann.is_outstanding() && hub.hub().has_input(ann.id()));
        let mut heard = String::new();
        while script.untaken() > 0 || hub.hub().is_waiting() {
            heard += &ben.read_all();
            ann.read_all();
            hub.settle();
        }
        script.place(at(7, 10), 101);
        hub.settle();
        heard += &ben.read_all();
        assert!(!hub.hub().has_input(ann.id()), "its line has its place");
        let number = |line: &str| line.split(r#""seq":"#).nth(1)?.split(',').next()?.parse().ok();
        let numbers: Vec<u64> = heard.lines().filter_map(number).collect();
        assert_eq!(numbers, (41..102).collect::<Vec<u64>>());
        assert!(heard.lines().nth(59).unwrap().contains("00:00:09.000Z"), "{heard}");
    }

    #[test]
    fn a_node_that_is_alone_from_now_on_goes_on_counting() {
        let (mut hub, script) = cluster();
        let mut people = [hub.join(), viewing(&mut hub, View::Json)];
        script.say("main", at(7, 4), 41, "x\n");
        hub.settle();
        hub.leave_cluster();
        hub.move_on(&mut people);
        let [mut ann, mut eve] = people;
        hub.say(&mut ann, "y\n");
        assert!(!ann.is_outstanding());
        assert!(eve.read_all().contains(r#""seq":42"#));
    }

    /// The process dies, and the next one has what was noted.
    fn crash(hub: &mut TestHub, noted: &Noted, person: &Person) {
        let standing = Standing::plain(person.id());
        let member = Some(MemberSnapshot::after_crash(standing, Vec::new()));
        let sessions = vec![SessionSnapshot { id: person.id(), member, reading: Reading::default() }];
        let snapshot = HubSnapshot { sessions, ..HubSnapshot::from_notes(noted.all()) };
        hub.move_to(snapshot, |_| Some(Arc::clone(&person.socket) as Arc<dyn Sink>));
    }

    #[test]
    fn after_a_crash_nothing_is_lost_that_others_said_meanwhile_and_nothing_comes_twice() {
        let (mut hub, script) = cluster();
        let noted = Noted::default();
        hub.hub().record(Box::new(noted.clone()));
        assert_eq!(noted.all(), [("at 7 main".to_owned(), 3), ("room 7 main".to_owned(), 40)]);
        let mut ann = hub.join();
        script.say("main", at(7, 4), 41, "a\nb\n");
        script.say("main", at(7, 5), 43, "c\n");
        hub.settle();
        assert_eq!(ann.read_all(), "a\nb\nc\n");
        assert_eq!(noted.all(), [("at 7 main".to_owned(), 5), ("room 7 main".to_owned(), 43)]);
        script.take_calls();
        crash(&mut hub, &noted, &ann);
        assert_eq!(script.take_calls(), ["open main after 7-5"]);
        hub.hub().record(Box::new(noted.clone()));
        script.say("main", at(7, 5), 43, "c\n");
        script.say("main", at(7, 6), 44, "d\n");
        script.say("main", at(7, 8), 47, "e\n");
        hub.settle();
        assert_eq!(ann.read_all(), "d\n-!- 2 lines skipped (you were not reading)\ne\n");
        script.say("main", at(8, 1), 48, "f\n");
        hub.settle();
        assert_eq!(noted.all(), [("at 8 main".to_owned(), 1), ("room 8 main".to_owned(), 48)]);
    }

    #[test]
    fn an_entry_that_waits_comes_again_after_a_crash() {
        let (mut hub, script) = cluster();
        let noted = Noted::default();
        hub.hub().record(Box::new(noted.clone()));
        let eve = viewing(&mut hub, View::Json);
        for entry in 0..6 {
            script.say("main", at(7, 4 + entry), 41 + entry, &format!("{}\n", "x".repeat(900)));
        }
        hub.settle();
        assert!(hub.hub().is_waiting());
        let in_logs = 6 - script.untaken() as u64 - 1;
        assert_eq!(
            noted.all(),
            [("at 7 main".to_owned(), 3 + in_logs), ("room 7 main".to_owned(), 40 + in_logs)]
        );
        crash(&mut hub, &noted, &eve);
        let after = format!("open main after 7-{}", 3 + in_logs);
        assert_eq!(script.take_calls(), ["hold main", after.as_str()]);
    }

    #[test]
    fn nodes_archive_the_same_in_the_same_order_and_nothing_twice() {
        let archives: Vec<String> = (0..2)
            .map(|node| {
                let (mut hub, script) = cluster();
                let archive = Lines::default();
                hub.hub().archive(Box::new(archive.clone()), None);
                hub.wait(Duration::from_secs(100 * node));
                script.say("main", at(7, 4), 41, "a\nb\n");
                script.put("main", at(7, 5), 43, Entry::Left(vec![stranger()]));
                script.say("main", at(7, 5), 43, "again\n");
                script.say("main", at(7, 6), 43, "c\n");
                hub.settle();
                archive.take()
            })
            .collect();
        assert_eq!(archives[0], archives[1]);
        assert_eq!(archives[0].lines().count(), 4, "{}", archives[0]);
        assert!(!archives[0].contains("again"));
    }

    #[test]
    fn what_the_archive_has_already_is_not_archived_again_after_a_crash() {
        let (mut hub, script) = cluster();
        let noted = Noted::default();
        hub.hub().record(Box::new(noted.clone()));
        let mut ann = hub.join();
        crash(&mut hub, &noted, &ann);
        let archive = Lines::default();
        // It was written until line 42, and the note only has line 40.
        hub.hub().recall(vec![recalled("main", at(7, 3), 42, "b")]);
        hub.hub().archive(Box::new(archive.clone()), None);
        script.say("main", at(7, 4), 41, "a\n");
        script.say("main", at(7, 5), 42, "b\nc\n");
        hub.settle();
        assert_eq!(ann.read_all(), "a\nb\nc\n");
        let archived = archive.take();
        assert!(archived.lines().count() == 1 && archived.contains(r#""seq":43"#), "{archived}");
    }

    #[test]
    fn the_archive_has_older_lines_than_the_engine() {
        for (epoch, expected) in [(7, "old\nbefore\n"), (8, "before\n")] {
            let script = Script::new();
            let mut hub = TestHub::among_several(&script, |_| {});
            hub.hub().recall(vec![recalled("main", at(7, 0), 30, "old")]);
            script.open("main", at(epoch, 3), 40);
            hub.settle();
            let mut ann = hub.join();
            let last = hub.answer(&mut ann, "/last");
            let lines: String = last.split_inclusive('\n').filter(|line| !line.starts_with("-!-")).collect();
            assert_eq!(lines, expected);
        }
    }

    #[test]
    fn a_main_room_that_is_not_open_has_nothing_to_tell_and_its_members_wait() {
        let script = Script::new();
        let mut hub = TestHub::among_several(&script, |_| {});
        assert_eq!(script.take_calls(), ["open main"]);
        let (mut ann, mut ben, mut eve) = (hub.join(), hub.join(), viewing(&mut hub, View::Json));
        hub.say(&mut ann, "hello\n");
        hub.ask(&mut ben, "/last");
        hub.ask(&mut eve, "/sync x");
        script.say("main", at(6, 1), 9, "of another time\n");
        hub.settle();
        assert!(ann.is_outstanding() && ben.is_outstanding() && eve.is_outstanding());
        assert_eq!((script.submitted(), ben.read_all(), eve.read_all()), (0, String::new(), String::new()));
        script.open("main", at(7, 3), 40);
        hub.settle();
        assert!(ben.read_all().contains("before\n") && !ben.is_outstanding());
        assert!(eve.read_all().contains(r#""epoch":7,"seq":40"#));
        let submitted = script.take_submitted();
        assert_eq!(submitted.len(), 2, "that eve is there, and what ann has said: {submitted:?}");
    }
}
